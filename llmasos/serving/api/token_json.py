"""Tokens and numbers in the JSON form of the views of `/v1/inspect`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from llmasos.tokenizers import Tokenizer

DIGITS = 4


def token_to_dict(tokenizer: Tokenizer, id: int) -> dict[str, Any]:
    """A token with its text and its bytes, which may be a part of a character."""
    return {"id": id, "text": tokenizer.token_text(id), "bytes": list(tokenizer.token_bytes(id))}


def token_list(tokenizer: Tokenizer, ids: Sequence[int]) -> list[dict[str, Any]]:
    """The same for each token of a text."""
    return [token_to_dict(tokenizer, id) for id in ids]


def rounded(numbers: Tensor) -> list:
    """A tensor as nested lists of numbers with at most four decimals."""
    return np.round(numbers.double().cpu().numpy(), DIGITS).tolist()
