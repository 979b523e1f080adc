"""The naive search for every way to tell a text: each branch starts over, and its words are compared one by one."""

from os.path import commonprefix

from llmasos.datasets.storyworld.chooser import ForcedChooser
from llmasos.datasets.storyworld.lines import parse_blocks
from llmasos.datasets.storyworld.story import tell
from llmasos.datasets.storyworld.teller import Teller


class Differs(Exception):
    """The words are not those of the target; the argument is the number of equal characters."""


class ComparingTeller(Teller):
    """Compares each piece of a sentence with the target as soon as it has words."""

    def __init__(self, chooser, target):
        super().__init__(chooser)
        self.target, self.length = target, 0

    def compare(self, text):
        if not self.target.startswith(text, self.length):
            raise Differs(self.length + len(commonprefix((text, self.target[self.length :]))))
        self.length += len(text)

    def say(self, *blocks):
        if self.sentences:
            self.compare(" ")
        rows = parse_blocks(blocks)
        row = rows[0] if len(rows) == 1 else self.chooser.pick(rows)
        line = row[0] if len(row) == 1 else self.chooser.pick(row)
        pronoun = line.topical and self.hero_is_topic
        start = self.length
        for part in line.flat:
            if part.__class__ is not str:
                for role in part.roles:
                    if role in self.planned:
                        self.resolve(role)
                part = part.english(self.roles, pronoun)
            self.compare(part)
        self.add(line, pronoun, self.target[start : self.length])


def search_naive(text):
    """Return every (decisions, nats) that tell `text`, and the length of its longest prefix that can be told."""
    results, furthest = [], 0
    unexplored = [()]
    while unexplored:
        chooser = ForcedChooser(unexplored.pop())
        try:
            teller = ComparingTeller(chooser, text)
            story = tell(teller)
            furthest = max(furthest, teller.length)
            if story.text == text:
                results.append((tuple(chooser.taken), chooser.nats))
        except Differs as difference:
            furthest = max(furthest, difference.args[0])
        unexplored += chooser.open
    return results, furthest
