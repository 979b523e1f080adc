"""Examples in: text and examples of every task, from names, files and folders, and token arrays on disk.

Two ways lead through this room:

- **Running text**: `open_text` (text.py) turns what the user typed into a `TextSource` (source.py). `build_tokens`
  (tokens.py) turns that into memory-mapped ids and `Windows` (windows.py) those into examples; or it is cut into
  sentences (sentences.py), which `SentencePairs` (sentence_pairs.py) takes in pairs.
- **Examples of a task**: `open_labelled`, `open_pairs`, `open_summaries` and `open_questions` turn what the user typed
  into `Splits` of examples (examples.py). `Examples` (bucketing.py) deals them out by length, `pad` (padding.py) makes
  a batch of them.
"""

from llmasos.datasets.bucketing import Examples, by_length
from llmasos.datasets.catalog import dataset_names, is_dataset
from llmasos.datasets.conversations import open_conversations
from llmasos.datasets.examples import QA, Answer, Conversation, Labelled, Pair, Splits
from llmasos.datasets.labelled import open_labelled
from llmasos.datasets.padding import pad
from llmasos.datasets.pairs import open_pairs, open_summaries
from llmasos.datasets.questions import open_questions
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
    "Examples",
    "Labelled",
    "Pair",
    "SentencePair",
    "SentencePairs",
    "Splits",
    "TextSource",
    "TokenData",
    "TokenSplit",
    "Windows",
    "build_tokens",
    "by_length",
    "dataset_names",
    "documents_of_sentences",
    "is_dataset",
    "open_conversations",
    "open_labelled",
    "open_pairs",
    "open_questions",
    "open_summaries",
    "open_text",
    "pad",
    "split_sentences",
]
