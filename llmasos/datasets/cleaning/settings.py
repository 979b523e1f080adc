"""What is removed: the flags of `python -m llmasos clean`."""

from dataclasses import dataclass

from llmasos.errors import UserError, nearest
from llmasos.settings import Settings, setting

PII_CHOICES = ("mask", "drop", "keep")


@dataclass(frozen=True)
class CleaningSettings(Settings):
    """What is removed from a corpus."""

    min_words: int = setting(5, "drop documents with fewer words", at_least=0)
    boilerplate: float = setting(
        0.01,
        "drop lines that occur in this fraction of all documents, and in at least ten; 0 = keep",
        at_least=0,
        at_most=1,
    )
    pii: str = setting("mask", "what to do with personal data", choices=PII_CHOICES)
    languages: str = setting("", "keep only documents in these languages, such as en,de (default: all languages)")
    reference: str = setting("", "a text known to be good: drop documents that are very unlike it")
    reference_margin: float = setting(
        4.0, "how unlike: this many standard deviations above the mean bits per character of the reference", above=0
    )
    exact_duplicates: bool = setting(True, "drop exact copies of an earlier document, ignoring case and white space")
    near_duplicates: float = setting(
        0.8, "drop documents that share this fraction of their shingles with an earlier one; 1 = keep them",
        above=0, at_most=1,
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.languages:
            return
        from llmasos.datasets.cleaning.trigrams import LANGUAGES  # here, because --help needs no numpy

        for language in filter(None, map(str.strip, self.languages.split(","))):
            if language not in LANGUAGES:
                hint = nearest(language, LANGUAGES)
                raise UserError(f"--languages has {language!r}; known are: {', '.join(LANGUAGES)}{hint or '.'}")
