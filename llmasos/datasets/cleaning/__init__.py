"""Cleaning text before training: duplicates, boilerplate, foreign languages, noise, personal data.

    from llmasos.datasets.cleaning import CleaningSettings, clean

    report = clean("crawl.jsonl", "clean.jsonl", CleaningSettings(languages="en,de"))
    print(report)

| rule | drops or changes |
|---|---|
| `boilerplate.py` | lines that occur in many documents ("Subscribe to our newsletter") |
| `pii.py` | email addresses, phone, card and account numbers, street addresses: masked, or the document dropped |
| `trigrams.py` | documents in another language, and with a reference text those that are unlike it |
| `duplicates.py` | copies of an earlier document, exact or near (MinHash) |

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
