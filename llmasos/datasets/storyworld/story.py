"""A story as an object: its text, its information, and everything that is derived from it.

`tell(teller)` is the generator. `Story` keeps the lines and the cast, so the German version, the questions and the
other derived data are computed from the same story on demand.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from llmasos.datasets.storyworld import scenes, splits
from llmasos.datasets.storyworld.lines import Cast, Line
from llmasos.datasets.storyworld.plots import PLOTS
from llmasos.datasets.storyworld.plots.plot import Plot
from llmasos.datasets.storyworld.teller import Teller

MENTIONED = {  # role → type of the mentions of the entity that plays it
    "hero": "HERO",
    **dict.fromkeys(("friend", "elder", "elder2", "giver", "passer", "stranger"), "PERSON"),
    "thing": "THING",
    **dict.fromkeys(("place", "place2"), "PLACE"),
}


class OtherSplit(Exception):
    """The story does not belong to the requested split."""


@dataclass(frozen=True)
class Question:
    """A question whose answer is the span `text[start : start + len(answer)]` of the story."""

    label: str
    question: str
    answer: str
    start: int


class Story:
    """One story of the valley.

    Attributes:
        text: the English story, one paragraph.
        sentences, german_sentences: its units, aligned one to one.
        ending: "happy" or "sad".
        world: the world in which it takes place.
        combination: (hero, plot, thing), which determines the split.
        information: -log p(text) in nats, over both splits.
        nats: -log p(text) in nats, given the story's split: the floor for a language model.
    """

    def __init__(self, plot: Plot, outcome: str, teller: Teller):
        self.plot = plot.name
        self.outcome = outcome
        self.ending = plot.outcomes[outcome][0]
        self.cast: Cast = teller.roles
        self.lines: list[tuple[Line, bool]] = teller.lines
        self.sentences: list[str] = teller.sentences
        self.text = " ".join(teller.sentences)
        self.combination = combination(teller, plot)
        self.split = splits.split_of(*self.combination)
        self.information = teller.chooser.nats
        self.nats = self.information + splits.log_probability(self.split, teller.world)
        self.world, self._plot = teller.world, plot

    @property
    def title(self) -> str:
        """A title, for prompts and listings; it is not part of the text."""
        return _fill("{Hero} and {the thing}", self.cast)

    @cached_property
    def german_sentences(self) -> list[str]:
        """The story in German, one entry for each entry of `sentences`."""
        return [line.german(self.cast, pronoun) for line, pronoun in self.lines]

    @property
    def german(self) -> str:
        """The whole story in German."""
        return " ".join(self.german_sentences)

    @property
    def summary(self) -> str:
        """The story in one sentence."""
        return _fill(self._plot.outcomes[self.outcome][1], self.cast)

    @cached_property
    def questions(self) -> list[Question]:
        """Every question that this text answers, in the order of the answers in the text."""
        wording = {**scenes.QUESTIONS, **self._plot.questions}
        questions: dict[str, Question] = {}
        offset = 0
        for (line, pronoun), sentence in zip(self.lines, self.sentences, strict=True):
            if line.labels:
                for label, (start, end) in line.spans(self.cast, pronoun).items():
                    if label not in questions:
                        question = _fill(wording[label], self.cast)
                        questions[label] = Question(label, question, sentence[start:end], offset + start)
            offset += len(sentence) + 1
        return sorted(questions.values(), key=lambda q: q.start)

    @cached_property
    def mentions(self) -> list[tuple[str, int, int]]:
        """Every mention of the hero, another person, the thing or a place by name: (type, start, end), in order.

        Pronouns do not count, and neither do people, things and places that are only scenery.
        """
        mentions, offset = [], 0
        for (line, pronoun), sentence in zip(self.lines, self.sentences, strict=True):
            found = line.mentions(self.cast, pronoun, MENTIONED)
            mentions += [(type, offset + start, offset + end) for type, start, end in found]
            offset += len(sentence) + 1
        return mentions

    @property
    def sentence_pairs(self) -> list[tuple[str, str]]:
        """Each sentence with the next one."""
        return list(zip(self.sentences, self.sentences[1:], strict=False))

    @property
    def instructions(self) -> list[tuple[str, str]]:
        """(prompt, answer) pairs about this story, for instruction tuning."""
        pairs = [
            (_fill("Tell me a story about {hero} and {a thing}.", self.cast), self.text),
            (f"Summarise this story in one sentence.\n\n{self.text}", self.summary),
            (f"Does this story have a happy or a sad ending?\n\n{self.text}", self.ending),
            (f"Continue this story.\n\n{' '.join(self.sentences[:3])}", " ".join(self.sentences[3:])),
            (f"Translate into German.\n\n{self.sentences[0]}", self.german_sentences[0]),
        ]
        pairs += [(f"{q.question}\n\n{self.text}", q.answer) for q in self.questions]
        return pairs


def _fill(template: str, cast: Cast) -> str:
    return Line(template, "").english(cast)


def combination(teller: Teller, plot: Plot) -> tuple[str, str, str]:
    """Return (hero, plot, thing), the combination that determines the split."""
    return teller.roles["hero"].en, plot.name, teller.roles["thing"].en


def tell(teller: Teller, split: str | None = None) -> Story | None:
    """Tell one story.

    Args:
        teller: a teller whose chooser makes the decisions.
        split: return None as soon as it is clear that the story belongs to another split.
    """
    scenes.opening(teller)
    plot = teller.chooser.pick(PLOTS[: teller.world.plots])
    teller.plan("thing", plot.things[: teller.world.things])

    def check_split() -> None:
        if splits.split_of(*combination(teller, plot)) != split:
            raise OtherSplit

    if split is not None:
        teller.watch("thing", check_split)
    try:
        outcome = plot.tell(teller)
    except OtherSplit:
        return None
    return Story(plot, outcome, teller)
