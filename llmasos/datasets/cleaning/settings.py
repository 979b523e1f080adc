"""Settings of cleaning: the flags of `python -m llmasos clean`."""

from dataclasses import dataclass

from llmasos.errors import UserError, nearest
from llmasos.settings import Settings, setting

PII_CHOICES = ("mask", "drop", "keep")


@dataclass(frozen=True)
class CleaningSettings(Settings):
    """The settings that say what is removed from a corpus."""

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
        4.0, "how unlike: this many standard deviations above the mean log-perplexity of the reference", above=0
    )
    perplexity_model: str = setting(
        "", "a GPT (folder or name) that measures perplexity, in place of the n-grams of the reference"
    )
    max_perplexity: float | None = setting(
        None, "drop documents above this perplexity of a character, in place of the margin", above=1
    )
    keep_fraction: float = setting(
        1.0, "of what all other rules keep, this fraction with the lowest perplexity, in place of the margin",
        above=0, at_most=1,
    )  # fmt: skip
    exact_duplicates: bool = setting(True, "drop exact copies of an earlier document, ignoring case and white space")
    near_duplicates: float = setting(
        0.8, "drop documents that share this fraction of their shingles with an earlier one; 1 = keep them",
        above=0, at_most=1,
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        limits = (self.max_perplexity is not None, self.keep_fraction < 1)
        if any(limits) and not (self.reference or self.perplexity_model):
            flag = "--max-perplexity" if limits[0] else "--keep-fraction"
            raise UserError(f"{flag} needs a model of good text; add --reference TEXT or --perplexity-model MODEL.")
        if all(limits):
            raise UserError("--max-perplexity and --keep-fraction are two limits for one thing; choose one of them.")
        if self.perplexity_model and not (self.reference or any(limits)):
            raise UserError("--perplexity-model needs a limit: --max-perplexity, --keep-fraction or --reference TEXT.")
        if not self.languages:
            return
        from llmasos.datasets.cleaning.trigrams import LANGUAGES  # here, because --help needs no numpy

        for language in filter(None, map(str.strip, self.languages.split(","))):
            if language not in LANGUAGES:
                hint = nearest(language, LANGUAGES)
                raise UserError(f"--languages has {language!r}; known are: {', '.join(LANGUAGES)}{hint or '.'}")
