"""Datasets: text and examples of every format, from names, files and folders, and token arrays on disk.

There are two paths through this package:

- **Running text**: `open_text` (text.py) opens a name or a path as a `TextSource` (source.py). `build_tokens`
  (tokens.py) turns it into memory-mapped ids, and `Windows` (windows.py) or `DocumentRows` (documents.py) turn those
  into examples. Or the text is split into sentences (sentences.py), which `SentencePairs` (sentence_pairs.py) pairs up.
- **Examples**: `open_examples` (formats.py) opens a name or a path as `Splits` of examples (examples.py). `Examples`
  and `pad` (batching.py) group them by length and make a batch of them.

Pictures are drawn, `draw_digits` (digits.py) and `draw_scenes` with captions (scenes.py), or read from a folder:
`read_pictures` (picture_folder.py).

The names of all datasets are in catalog.py, which also says how to add one.
"""

from typing import TYPE_CHECKING

from llmasos.lazy import lazy_exports

if TYPE_CHECKING:  # each on first use
    from llmasos.datasets.batching import Examples, by_length, pad
    from llmasos.datasets.catalog import dataset_names, is_dataset
    from llmasos.datasets.digits import Digits, draw_digits
    from llmasos.datasets.documents import DocumentRows
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
    from llmasos.datasets.faq import FAQEntry, read_faq
    from llmasos.datasets.formats import open_examples
    from llmasos.datasets.picture_folder import PictureFolder, read_pictures, split_pictures
    from llmasos.datasets.scenes import Scenes, draw_scenes
    from llmasos.datasets.sentence_pairs import SentencePair, SentencePairs
    from llmasos.datasets.sentences import documents_of_sentences, split_sentences
    from llmasos.datasets.source import TextSource
    from llmasos.datasets.text import open_text
    from llmasos.datasets.tokens import TokenData, TokenSplit, build_tokens
    from llmasos.datasets.windows import Windows

__all__ = [
    "QA",
    "Answer",
    "Conversation",
    "Digits",
    "DocumentRows",
    "Examples",
    "FAQEntry",
    "LabeledText",
    "Pair",
    "PictureFolder",
    "Preference",
    "Prompt",
    "Query",
    "Scenes",
    "ScoredText",
    "SentencePair",
    "SentencePairs",
    "Splits",
    "TaggedText",
    "TextSource",
    "TokenData",
    "TokenSplit",
    "Windows",
    "build_tokens",
    "by_length",
    "dataset_names",
    "documents_of_sentences",
    "draw_digits",
    "draw_scenes",
    "is_dataset",
    "open_examples",
    "open_text",
    "pad",
    "read_faq",
    "read_pictures",
    "split_pictures",
    "split_sentences",
]
lazy_exports(__name__)
