"""Storyworld as examples for every task: endings, translation, summaries and questions, all from the same stories.

Held out are the stories of `val`: combinations of hero, plot and thing that training never shows. Two tasks need more
care than taking what a story offers:

- **Translation.** Stories share sentences ("And that was just as it should be." ends 889 of 12,000), so most sentences
  of a held-out story are in the training stories too. Only those whose source sentence is *not* are held out, each
  once; else a score would measure memory, and a few frequent sentences most. Training has every sentence as often as
  the stories do: each of them once, and the fixed phrases that hold a story together would hardly be learned.
- **Unanswerable questions.** One question in five has no answer. It presupposes somebody or something that the story
  does not hold: a child who does not occur ("Where did Maya live?" in a story without Maya), or an event of another
  plot ("Who had a birthday?" where there is none). It is asked only of a story of another plot in which the one word
  that names the child or the event does not stand, so that it is unanswerable for a reader too.
"""

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator

from llmasos.datasets.examples import QA, Answer, Labelled, Pair, Splits
from llmasos.datasets.storyworld import Story, stories
from llmasos.datasets.storyworld.lines import Line
from llmasos.datasets.storyworld.people import CHILDREN
from llmasos.datasets.storyworld.plots import PLOTS
from llmasos.datasets.storyworld.text_source import StoryworldText

LANGUAGES = ("de-en", "en-de")
UNANSWERABLE_SHARE = 1 / 5

# (plot, label of its question, the word without which a story cannot answer it)
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


def world_labelled(n_train: int) -> Splits[Labelled]:
    """Return stories with their endings, "happy" (three in four) or "sad", as labels."""
    source = StoryworldText(n_train)
    train, val = ([Labelled(story.text, story.ending) for story in _stories(source, split)] for split in source.counts)
    return _splits(source, "endings", f"happy and sad endings of {source.description}", train, val)


def world_pairs(n_train: int, languages: str = LANGUAGES[0]) -> Splits[Pair]:
    """Return German and English sentences that say the same: of training stories all, of held-out ones each new one.

    Arguments:
        n_train: how many stories the training sentences are taken from.
        languages: "de-en" from German to English, "en-de" the other way.
    """
    source = StoryworldText(n_train)
    train = _sentence_pairs(_stories(source, "train"), languages)
    known = {pair.source for pair in train}
    all_val = list(dict.fromkeys(_sentence_pairs(_stories(source, "val"), languages)))
    val = [pair for pair in all_val if pair.source not in known]
    what = (
        f"{len(train):,} {languages} sentence pairs of {n_train:,} generated stories to train on;"
        f" held out are those {len(val):,} of {len(all_val):,} in {source.counts['val']:,} stories of other"
        " combinations whose source sentence is never trained on"
    )
    return _splits(source, languages, what, train, val)


def world_summaries(n_train: int) -> Splits[Pair]:
    """Return stories with their summaries of one sentence."""
    source = StoryworldText(n_train)
    train, val = ([Pair(story.text, story.summary) for story in _stories(source, split)] for split in source.counts)
    return _splits(source, "summaries", f"one-sentence summaries of {source.description}", train, val)


def world_questions(n_train: int) -> Splits[QA]:
    """Return all questions that the stories answer, and one unanswerable question for every four of them."""
    source = StoryworldText(n_train)
    train, val = (
        [
            question
            for number, story in enumerate(_stories(source, split))
            for question in story_questions(story, f"{split}-{number}")
        ]
        for split in source.counts
    )
    what = f"{len(train):,} and {len(val):,} questions, one in five without an answer, about {source.description}"
    return _splits(source, "questions", what, train, val)


def story_questions(story: Story, name: str) -> list[QA]:
    """Return the questions that a story answers, in the order of the text, then some that it does not answer.

    Arguments:
        name: begins the `id` of each question.
    """
    answered = [
        QA(story.text, question.question, (Answer(question.answer, question.start),), f"{name}-{question.label}")
        for question in story.questions
    ]
    uniform = random.Random(f"questions {story.text}").random  # decided by the story alone
    n_more = sum(uniform() < UNANSWERABLE_SHARE / (1 - UNANSWERABLE_SHARE) for _ in answered)
    n_events = sum(uniform() < 0.5 for _ in range(n_more))
    asked = _draw(_event_questions(story), n_events, uniform)
    asked += _draw(_child_questions(story), n_more - n_events, uniform)
    return answered + [
        QA(story.text, Line(question, "").english(story.cast), (), f"{name}-none-{i}")
        for i, question in enumerate(asked)
    ]


def _draw(questions: list[str], n: int, uniform: Callable[[], float]) -> list[str]:
    """Return `n` different ones of the questions; `uniform` gives the numbers that decide which."""
    return sorted(questions, key=lambda _: uniform())[:n]


def _event_questions(story: Story) -> list[str]:
    """Return the questions of other plots, with slots, about what does not happen in this story."""
    text = story.text.lower()
    return [_WORDING[plot][label] for plot, label, word in _EVENTS if plot != story.plot and word not in text]


def _child_questions(story: Story) -> list[str]:
    """Return questions about children who do not occur in this story."""
    absent = [child.en for child in CHILDREN if child.en not in story.text]
    return [question for name in absent for question in (f"Where did {name} live?", f"What was {name} like?")]


def _sentence_pairs(corpus: Iterable[Story], languages: str) -> list[Pair]:
    """Return the sentence pairs of some stories in their order."""
    pairs = []
    for story in corpus:
        for english, german in zip(story.sentences, story.german_sentences, strict=True):
            pairs.append(Pair(german, english) if languages == "de-en" else Pair(english, german))
    return pairs


def _stories(source: StoryworldText, split: str) -> Iterator[Story]:
    return stories(split, source.counts[split])


def _splits(source: StoryworldText, task: str, description: str, train: list, val: list) -> Splits:
    fingerprint = hashlib.sha256(f"{task} {source.fingerprint()}".encode()).hexdigest()
    return Splits(source.name, description, train, val, test=None, fingerprint=fingerprint)
