"""Where a story's object is, sentence by sentence: labels for a probe of what a model keeps track of.

    for story, places in lost_thing_stories("train", 100):
        list(zip(story.sentences, places))      # [("… the key was not there.", "lost"), …]

In the plot "lost" the hero's thing is lost, and is found, brought back, stolen or never seen again. The teller knows at
each sentence where it is.
"""

from collections.abc import Iterator

from llmasos.datasets.storyworld.chooser import Chooser
from llmasos.datasets.storyworld.lines import Line
from llmasos.datasets.storyworld.places import PLACES
from llmasos.datasets.storyworld.story import Story, tell
from llmasos.datasets.storyworld.teller import Teller
from llmasos.datasets.storyworld.world import World

WHEREABOUTS = ("with its owner", "lost", "in other hands")


class WatchingTeller(Teller):
    """A teller that notes where the thing is when each sentence is said."""

    def __init__(self, chooser: Chooser, world: World):
        """Start a story of a world."""
        super().__init__(chooser, world)
        self.seen: list[str | None] = []

    def add(self, line: Line, pronoun: bool, sentence: str) -> None:
        """Add a sentence."""
        where = self.where.get("thing")  # a place, or the role of its holder
        holder = "with its owner" if where == "hero" else "in other hands"
        self.seen.append(None if where is None else "lost" if where in PLACES else holder)
        super().add(line, pronoun, sentence)


def lost_thing_stories(split: str, n: int, seed: int = 0) -> Iterator[tuple[Story, list[str | None]]]:
    """Yield the first stories of a split whose plot is "lost", with one of `WHEREABOUTS` for each sentence.

    Sentences before the thing appears have None. A label never anticipates the text: a thing that was dropped in the
    forest unnoticed is "lost" from the next sentence on.

    Args:
        split: "train" or "val".
        n: the number of stories.
        seed: another seed gives other stories.
    """
    world, index = World(plots=1), 0
    while n > 0:
        teller = WatchingTeller(Chooser(seed, index), world)
        story = tell(teller, split)
        index += 1
        if story is not None:
            yield story, teller.seen
            n -= 1
