"""Every mask of the library, in one convention: boolean, True = may attend, broadcastable to (B, H, T, S).

Masks of this form combine with `&`. There is no other convention here: no 0/1 floats, no -10000, no lists of lengths.
"""

import torch
from torch import Tensor


def causal_mask(T: int, S: int | None = None, device: torch.device | str | None = None) -> Tensor:
    """(T, S) mask that hides the future from the last T of S positions.

    Query t is at position t + S - T and sees the keys up to and including its own.

    >>> causal_mask(3).int()
    tensor([[1, 0, 0],
            [1, 1, 0],
            [1, 1, 1]], dtype=torch.int32)
    >>> causal_mask(2, 4).int()
    tensor([[1, 1, 1, 0],
            [1, 1, 1, 1]], dtype=torch.int32)
    """
    S = T if S is None else S
    return torch.ones(T, S, dtype=torch.bool, device=device).tril(diagonal=S - T)


def padding_mask(attention_mask: Tensor | None) -> Tensor | None:
    """(B, S), True = a real token, to a mask (B, 1, 1, S) that hides the padding from every query; None stays None."""
    return None if attention_mask is None else attention_mask[:, None, None, :].bool()


def cached_causal_mask(positions: Tensor, S: int) -> Tensor:
    """(B, 1, T, S) causal mask for queries at any positions (B, T) over keys at positions 0 … S - 1.

    Cached generation needs it: the sequences of a batch may be at different positions.

    >>> cached_causal_mask(torch.tensor([[1], [3]]), 4).int().squeeze()
    tensor([[1, 1, 0, 0],
            [1, 1, 1, 1]], dtype=torch.int32)
    """
    return torch.arange(S, device=positions.device) <= positions[:, None, :, None]


def local_mask(T: int, reach: int, device: torch.device | str | None = None) -> Tensor:
    """(T, T) mask of the positions at most `reach` away, on both sides: the window of an encoder (ModernBERT).

    >>> local_mask(4, 1).int()
    tensor([[1, 1, 0, 0],
            [1, 1, 1, 0],
            [0, 1, 1, 1],
            [0, 0, 1, 1]], dtype=torch.int32)
    """
    positions = torch.arange(T, device=device)
    return (positions - positions[:, None]).abs() <= reach


def sliding_window_mask(positions: Tensor, S: int, window: int) -> Tensor:
    """(B, 1, T, S): which keys are among the last `window` for queries at positions (B, T), their own included.

    Combined with a causal mask, it is sliding-window attention (Beltagy et al. 2020; Jiang et al. 2023, "Mistral 7B"):
    a token sees `window` tokens, but through L layers the L times as many before it.

    >>> (sliding_window_mask(torch.tensor([[0, 1, 2, 3]]), 4, 2)[0, 0] & causal_mask(4)).int()
    tensor([[1, 0, 0, 0],
            [1, 1, 0, 0],
            [0, 1, 1, 0],
            [0, 0, 1, 1]], dtype=torch.int32)
    """
    return torch.arange(S, device=positions.device) > positions[:, None, :, None] - window
