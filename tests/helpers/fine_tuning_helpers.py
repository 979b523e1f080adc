"""Shared by the tests of the fine-tuning objectives: the families, each with a suitable tokenizer."""

from functools import cache

from llmasos.datasets.storyworld import stories
from llmasos.tokenizers import Tokenizer, train_tokenizer

FAMILIES = {
    "bert": {"family": "bert", "norm_position": "post", "activation": "gelu"},
    "gpt": {"family": "gpt"},
    "transformer": {"family": "transformer", "positions": "sinusoidal"},
}
KINDS = {"bert": "wordpiece", "gpt": "bpe", "transformer": "char"}


@cache
def story_tokenizer(kind: str, lowercase: bool = False) -> Tokenizer:
    """A tokenizer of this type, trained on a few stories."""
    texts = [story.text for story in stories("train", 200)]
    return train_tokenizer(kind, [*texts, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"], vocab_size=700, lowercase=lowercase)


def tokenizer_of(family: str) -> Tokenizer:
    """The tokenizer for the tests of a family."""
    return story_tokenizer(KINDS[family])
