"""What the tests of the fine-tuning objectives share: the families, each with a tokenizer that suits it."""

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
    """A tokenizer of this kind that has learned from a few stories."""
    texts = [story.text for story in stories("train", 200)]
    return train_tokenizer(kind, [*texts, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"], vocab_size=700, lowercase=lowercase)


def tokenizer_of(family: str) -> Tokenizer:
    """The tokenizer with which a family is tested."""
    return story_tokenizer(KINDS[family])
