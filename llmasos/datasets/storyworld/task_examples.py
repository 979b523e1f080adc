"""Storyworld as examples of every format: endings, translations, summaries, questions, conversations.

All come from the same stories. The stories of `val` are held out: combinations of hero, plot and thing that never occur
in training. Two tasks need extra care:

- **Translation.** Stories share sentences ("And that was just as it should be." ends 889 of 12,000), so most sentences
  of a held-out story also occur in training stories. The held-out pairs are only those whose source sentence does
  *not*, each once; otherwise a score would measure memory, mostly of a few frequent sentences. Training has every
  sentence as often as the stories do: with each sentence only once, the model would hardly learn the fixed phrases that
  hold a story together.
- **Unanswerable questions.** One question in five has no answer. It presupposes a person or an event that the story
  does not contain: a child who does not occur ("Where did Maya live?" in a story without Maya), or an event of another
  plot ("Who had a birthday?" without a birthday). It is asked only about a story of another plot that lacks the one
  word that names the child or the event, so it is unanswerable for a human reader too.
"""

import hashlib
import math
import random
from collections.abc import Callable, Iterable, Iterator

from llmasos.datasets.examples import (
    QA,
    Answer,
    Conversation,
    LabeledText,
    Pair,
    Preference,
    Prompt,
    Query,
    ScoredText,
    Splits,
    TaggedText,
)
from llmasos.datasets.storyworld import Story, stories
from llmasos.datasets.storyworld.lines import Line
from llmasos.datasets.storyworld.plots import PLOTS
from llmasos.datasets.storyworld.text_source import StoryworldText
from llmasos.datasets.tagging import tagged_spans
from llmasos.errors import UserError

LANGUAGES = ("de-en", "en-de")
UNANSWERABLE = 1 / 5  # fraction of the questions
INSTRUCTIONS_PER_STORY = 2
HAPPY_REWARD = 3.0  # reward of a happy ending; a sad one has 0 (the difference is the log odds of the preference)

# (plot, label of its question, a word that every story with the answer contains)
_EVENTS = (
    ("confess", "blamed", "blame"),
    ("confess", "hiding", "pieces"),
    ("gift", "long", "secret"),
    ("gift", "receiver", "birthday"),
    ("grow", "danger", "plant"),
    ("grow", "giver", "seed"),
    ("grow", "prize", "fair"),
    ("grow", "where", "seed"),
    ("meal", "guest", "cook"),
    ("meal", "missing", "kitchen"),
    ("mend", "thanks", "thank"),
    ("quarrel", "gift", "peace"),
    ("quarrel", "where", "quarrel"),
    ("race", "practice", "practis"),
    ("race", "prize", "race"),
    ("rescue", "adviser", "animal"),
    ("skill", "laughed", "laugh"),
    ("storm", "outside", "storm"),
    ("storm", "tool", "storm"),
)

_WORDING = {plot.name: plot.questions for plot in PLOTS}


def storyworld_labeled_texts(source: int | StoryworldText) -> Splits[LabeledText]:
    """Return stories with their endings, "happy" (three in four) or "sad", as labels."""
    source = _source(source)
    train, val = (
        [LabeledText(story.text, story.ending) for story in _stories(source, split)] for split in source.counts
    )
    return _splits(source, "endings", f"happy and sad endings of {source.description}", train, val)


def storyworld_scored_texts(source: int | StoryworldText) -> Splits[ScoredText]:
    """Return stories with their information, -log p(story) in nats under the generator, as scores."""
    source = _source(source)
    train, val = (
        [ScoredText(story.text, story.information) for story in _stories(source, split)] for split in source.counts
    )
    return _splits(source, "information", f"the information (nats) in {source.description}", train, val)


def storyworld_tagged_texts(source: int | StoryworldText) -> Splits[TaggedText]:
    """Return stories in which every mention of the hero, of other people, of the thing and of places is tagged."""
    source = _source(source)
    train, val = (
        [tagged_spans(story.text, story.mentions) for story in _stories(source, split)] for split in source.counts
    )
    return _splits(source, "mentions", f"HERO, PERSON, THING and PLACE in {source.description}", train, val)


def storyworld_pairs(source: int | StoryworldText, languages: str = LANGUAGES[0]) -> Splits[Pair]:
    """Return aligned German and English sentences: all of the training stories, but only new ones of held-out stories.

    Args:
        source: the source of the stories, or their number in the default world.
        languages: "de-en" from German to English, "en-de" from English to German.
    """
    source = _source(source)
    train = _sentence_pairs(_stories(source, "train"), languages)
    known = {pair.source for pair in train}
    all_val = list(dict.fromkeys(_sentence_pairs(_stories(source, "val"), languages)))
    val = [pair for pair in all_val if pair.source not in known]
    description = (
        f"{len(train):,} {languages} sentence pairs of {source.counts['train']:,} generated stories to train on;"
        f" held out are those {len(val):,} of {len(all_val):,} in {source.counts['val']:,} stories of other"
        " combinations whose source sentence is never trained on"
    )
    return _splits(source, languages, description, train, val)


def storyworld_summaries(source: int | StoryworldText) -> Splits[Pair]:
    """Return stories with their one-sentence summaries."""
    source = _source(source)
    train, val = ([Pair(story.text, story.summary) for story in _stories(source, split)] for split in source.counts)
    return _splits(source, "summaries", f"one-sentence summaries of {source.description}", train, val)


def storyworld_questions(source: int | StoryworldText) -> Splits[QA]:
    """Return all questions that the stories answer, and one unanswerable question for every four of them."""
    source = _source(source)
    train, val = (
        [
            question
            for number, story in enumerate(_stories(source, split))
            for question in story_questions(story, f"{split}-{number}")
        ]
        for split in source.counts
    )
    counts = f"{len(train):,} and {len(val):,} questions"
    description = f"{counts}, one in five without an answer, about {source.description}"
    return _splits(source, "questions", description, train, val)


def story_questions(story: Story, name: str) -> list[QA]:
    """Return the questions that a story answers, in the order of the text, then some that it does not answer.

    Args:
        story: the story that the questions are about.
        name: the prefix of each question's `id`.
    """
    answered = [
        QA(story.text, question.question, (Answer(question.answer, question.start),), f"{name}-{question.label}")
        for question in story.questions
    ]
    uniform = random.Random(f"questions {story.text}").random  # depends on the story alone
    n_more = sum(uniform() < UNANSWERABLE / (1 - UNANSWERABLE) for _ in answered)
    n_events = sum(uniform() < 0.5 for _ in range(n_more))
    chosen = _draw(_event_questions(story), n_events, uniform)
    chosen += _draw(_child_questions(story), n_more - n_events, uniform)
    return answered + [
        QA(story.text, Line(question, "").english(story.cast), (), f"{name}-none-{i}")
        for i, question in enumerate(chosen)
    ]


def storyworld_conversations(source: int | StoryworldText) -> Splits[Conversation]:
    """Return instructions about the stories with their answers: a few for each story."""
    source = _source(source)
    train, val = (
        [conversation for story in _stories(source, split) for conversation in story_conversations(story)]
        for split in source.counts
    )
    known = {conversation.prompt for conversation in train}  # first sentences (to translate) recur in other stories
    val = [conversation for conversation in val if conversation.prompt not in known]
    description = f"{len(train):,} and {len(val):,} instructions with answers about {source.description}"
    return _splits(source, f"conversations {INSTRUCTIONS_PER_STORY}", description, train, val)


def story_conversations(story: Story) -> list[Conversation]:
    """Return some of a story's instructions as conversations; the choice depends on the story alone."""
    rng = random.Random(f"conversations {story.text}")
    chosen = rng.sample(story.instructions, INSTRUCTIONS_PER_STORY)
    return [Conversation((("user", prompt), ("assistant", answer))) for prompt, answer in chosen]


def storyworld_preferences(source: int | StoryworldText) -> Splits[Preference]:
    """Return pairs of stories, one of which a simulated reader with a taste for happy endings prefers.

    Each pair has a happy and a sad story. The reader follows Bradley and Terry (1952) with the reward `HAPPY_REWARD`
    for a happy ending and 0 for a sad one, so the happy story is preferred with the probability σ(3) = 0.953. The
    reward that a model should learn and the optimal policy for it are known.
    """
    source = _source(source)
    train, val = (_preferences(_stories(source, split), split) for split in source.counts)
    description = f"{len(train):,} and {len(val):,} pairs of stories, compared by a reader who likes happy endings"
    return _splits(source, "preferences", description, train, val)


def _preferences(corpus: Iterable[Story], split: str) -> list[Preference]:
    """Pair happy with sad stories and draw the reader's preferences, which depend on the pair's number alone."""
    happy: list[Story] = []
    sad: list[Story] = []
    for story in corpus:
        (happy if story.ending == "happy" else sad).append(story)
    pairs = []
    for number, (liked, other) in enumerate(zip(happy, sad, strict=False)):  # three stories in four are happy
        prefers_happy = random.Random(f"preference {split} {number}").random() < 1 / (1 + math.exp(-HAPPY_REWARD))
        chosen, rejected = (liked, other) if prefers_happy else (other, liked)
        pairs.append(Preference("", chosen.text, rejected.text))
    return pairs


def storyworld_prompts(source: int | StoryworldText) -> Splits[Prompt]:
    """Return the empty prompt, which asks for a new story."""
    source = _source(source)
    return _splits(source, "prompts", "the empty prompt, after which a new story begins", [Prompt("")], [Prompt("")])


def storyworld_queries(source: int | StoryworldText) -> Splits[Query]:
    """Return questions with the stories that answer them, one for each story.

    A question alone ("Where did Maya live?") fits many stories, so it comes with the title of its story, "Maya and the
    skipping rope", which is not in the text. Of held-out stories with the same title, only the first is used.
    """
    source = _source(source)
    train, val = (_queries(_stories(source, split)) for split in source.counts)
    val = list({query.query.partition(":")[0]: query for query in reversed(val)}.values())[::-1]
    description = f"{len(train):,} and {len(val):,} questions with the stories that answer them"
    return _splits(source, "queries", description, train, val)


def _queries(corpus: Iterable[Story]) -> list[Query]:
    """Choose one question about each story; the choice depends on the story alone."""
    queries = []
    for story in corpus:
        if story.questions:
            question = random.Random(f"query {story.text}").choice(story.questions).question
            queries.append(Query(f"{story.title}: {question}", story.text))
    return queries


def _draw(questions: list[str], n: int, uniform: Callable[[], float]) -> list[str]:
    """Draw `n` different questions at random, with random numbers from `uniform`."""
    return sorted(questions, key=lambda _: uniform())[:n]


def absent_questions(story: Story) -> list[str]:
    """Return all questions about events and children that a story does not answer, with their slots."""
    return [*_event_questions(story), *_child_questions(story)]


def _event_questions(story: Story) -> list[str]:
    """Return the questions of other plots, with slots, about events that do not happen in this story."""
    text = story.text.lower()
    return [_WORDING[plot][label] for plot, label, word in _EVENTS if plot != story.plot and word not in text]


def _child_questions(story: Story) -> list[str]:
    """Return questions about children who do not occur in this story."""
    absent = [child.en for child in story.world.children if child.en not in story.text]
    return [question for name in absent for question in (f"Where did {name} live?", f"What was {name} like?")]


def _sentence_pairs(corpus: Iterable[Story], languages: str) -> list[Pair]:
    """Return the sentence pairs of stories in order."""
    pairs = []
    for story in corpus:
        for english, german in zip(story.sentences, story.german_sentences, strict=True):
            pairs.append(Pair(german, english) if languages == "de-en" else Pair(english, german))
    return pairs


def _source(source: int | StoryworldText) -> StoryworldText:
    """Return the source of stories for examples. Raises UserError if it is dirty."""
    source = StoryworldText(source) if isinstance(source, int) else source
    if source.dirt:
        raise UserError(f"{source.name} has dirt, which is for running text; leave dirt out.")
    return source


def _stories(source: StoryworldText, split: str) -> Iterator[Story]:
    return stories(split, source.counts[split], world=source.world)


def _splits(source: StoryworldText, task: str, description: str, train: list, val: list) -> Splits:
    fingerprint = hashlib.sha256(f"{task} {source.fingerprint()}".encode()).hexdigest()
    return Splits(source.name, description, train, val, test=None, fingerprint=fingerprint)
