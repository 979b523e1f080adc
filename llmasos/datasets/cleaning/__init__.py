"""Cleaning text before training: duplicates, boilerplate, foreign languages, noise, personal data.

    from llmasos.datasets.cleaning import CleaningSettings, clean

    report = clean("crawl.jsonl", "clean.jsonl", CleaningSettings(languages="en,de"))
    print(report)

| rule | drops or changes |
|---|---|
| `boilerplate.py` | lines that occur in many documents ("Subscribe to our newsletter") |
| `pii.py` | email addresses, phone, card and account numbers, street addresses: masked, or the document dropped |
| `trigrams.py` | documents in another language |
| `perplexity_filter.py` | documents that are unlike a text known to be good, by n-grams or by a GPT |
| `duplicates.py` | copies of an earlier document, exact or near (MinHash) |

On the known dirt of `storyworld` (4,000 documents, of which half are dirty; each rule alone):

| rule | is to find | precision | recall |
|---|---|---|---|
| exact duplicates | copies | 1.000 | 1.000 |
| near duplicates, at 0.8; 0.7; 0.6 | copies with three other words in about a hundred | 1.000 | 0.28; 0.87; 0.99 |
| boilerplate | a line before the story and one after it; what is left is the story | 1.000 | 1.000 |
| languages | German stories | 1.000 | 1.000 |
| personal data | a mail address and a phone number; the name beside them stays | 1.000 | 1.000 |
| perplexity, margin 4; 3 | one word in twelve misspelled (all German and private ones, too) | 1.000 | 0.84; 0.91 |

These documents are easy: a mail address from real life may have another form, and a good text may be unlike every
reference. `tests/datasets/test_cleaning.py` measures it again.

`pipeline.py` puts them together: a corpus may be larger than memory, several processes share the work, and the result
does not depend on their number.
"""

from typing import TYPE_CHECKING

from llmasos.lazy import lazy_exports

if TYPE_CHECKING:  # each on first use
    from llmasos.datasets.cleaning.pipeline import Report, clean, write_report
    from llmasos.datasets.cleaning.settings import CleaningSettings

__all__ = ["CleaningSettings", "Report", "clean", "write_report"]
lazy_exports(__name__)
