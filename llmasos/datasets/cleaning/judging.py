"""The rules that look at each document separately, applied by the processes of `pipeline.py` to their portions.

They import this file and not the pipeline, so that they start quickly.
"""

import re
from dataclasses import dataclass, field

from llmasos.datasets.cleaning.boilerplate import line_keys, without_boilerplate
from llmasos.datasets.cleaning.duplicates import exact_key, signature
from llmasos.datasets.cleaning.perplexity_filter import NgramModel, Score
from llmasos.datasets.cleaning.pii import mask_pii
from llmasos.datasets.cleaning.settings import CleaningSettings
from llmasos.datasets.cleaning.trigrams import language_of

LONG = 100_000  # characters; the beginning of a longer text is enough
WITHOUT_SPACES = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]")  # Thai, Japanese, Chinese

Portion = list[str]


def count_lines(portion: Portion) -> list[set[bytes]]:
    """The keys of the lines of each document."""
    return [line_keys(text) for text in portion]


@dataclass(slots=True)
class Judgment:
    """The result of pass 2 for one document: its text after the changes, or the reason why it is dropped."""

    text: str | None = None  # None = as it was, so that it need not be sent back
    dropped: str = ""
    changed: list[str] = field(default_factory=list)
    key: int = 0
    signature: bytes = b""  # as bytes it is sent several times as fast
    nats: float = 0.0  # per character


@dataclass(frozen=True)
class Judge:
    """The rules that look at each document separately; sent to every process."""

    settings: CleaningSettings
    boilerplate: frozenset[bytes] = frozenset()
    reference: NgramModel | None = None

    def __call__(self, portion: Portion) -> list[Judgment]:
        judgments = [self.judge(text) for text in portion]
        if self.reference is not None:
            measure(self.reference, portion, judgments)
        return judgments

    def judge(self, text: str) -> Judgment:
        """Apply the rules in order, until one of them drops the document."""
        settings, original, changed = self.settings, text, []
        shorter = without_boilerplate(text, self.boilerplate)
        if shorter != text:
            text = shorter
            changed.append("boilerplate removed")
        if is_short(text, max(1, settings.min_words)):
            return Judgment(dropped="too short")
        if settings.pii != "keep":
            found: list[tuple[str, str]] = []
            masked = mask_pii(text, found)
            if found and settings.pii == "drop":
                return Judgment(dropped="personal data")
            if found:
                text = masked
                changed.append("personal data masked")
        if settings.languages and (language := language_of(text)):
            if language not in settings.languages:
                return Judgment(dropped=f"language: {language}")
        judgment = Judgment(None if text == original else text, changed=changed)
        if settings.exact_duplicates:
            judgment.key = exact_key(text)
        if settings.near_duplicates < 1:
            judgment.signature = signature(text).tobytes()
        return judgment


def is_short(text: str, n_words: int) -> bool:
    """Whether a text has fewer than `n_words` words. Without spaces between them, as in Chinese, a word is counted as
    two characters.

    >>> is_short("One two three.", 4), is_short("房子在山上没有人能告诉我", 4)
    (True, False)
    """
    missing = n_words - len(text.split(None, n_words))
    return missing > 0 and len(WITHOUT_SPACES.findall(text[:LONG])) < 2 * missing


def measure(score: Score, portion: Portion, judgments: list[Judgment]) -> None:
    """Set the nats per character of the documents that are not dropped."""
    pairs = [(text, judgment) for text, judgment in zip(portion, judgments, strict=True) if not judgment.dropped]
    texts = [text if judgment.text is None else judgment.text for text, judgment in pairs]
    for (_, judgment), nats in zip(pairs, score(texts) if texts else [], strict=True):
        judgment.nats = float(nats)
