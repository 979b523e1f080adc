"""Masks: what each hides, and that combinations hide the same."""

import pytest
import torch

from llmasos.nn import cached_causal_mask, causal_mask, padding_mask, position_ids


@pytest.mark.parametrize("T, S", [(1, 1), (4, 4), (2, 5), (5, 2)])
def test_a_causal_query_sees_itself_and_everything_before_it(T, S):
    mask = causal_mask(T, S)
    assert mask.shape == (T, S) and mask.dtype == torch.bool
    for t in range(T):
        for s in range(S):
            assert mask[t, s] == (s <= t + S - T)


def test_without_a_key_length_the_causal_mask_is_square():
    assert torch.equal(causal_mask(4), causal_mask(4, 4))


@pytest.mark.parametrize("dtype", [torch.bool, torch.long, torch.float32])
def test_padding_is_hidden_from_every_query_and_head(dtype):
    attention_mask = torch.tensor([[True, True, False], [False, True, True]])
    mask = padding_mask(attention_mask.to(dtype))
    assert mask.shape == (2, 1, 1, 3) and mask.dtype == torch.bool
    assert torch.equal(mask.expand(2, 4, 5, 3), attention_mask[:, None, None, :].expand(2, 4, 5, 3))


def test_cached_causal_mask_is_the_causal_mask_when_positions_count_up():
    for T, S in [(4, 4), (2, 6)]:
        positions = torch.arange(S - T, S).expand(3, T)
        assert torch.equal(cached_causal_mask(positions, S), causal_mask(T, S).expand(3, 1, T, S))


def test_cached_causal_mask_treats_each_sequence_by_its_own_positions():
    mask = cached_causal_mask(torch.tensor([[0, 1], [4, 5]]), 6)
    assert mask.sum(dim=-1).squeeze(1).tolist() == [[1, 2], [5, 6]]


def test_real_tokens_count_up_from_zero_wherever_the_padding_is():
    generator = torch.Generator().manual_seed(0)
    attention_mask = torch.rand(20, 9, generator=generator) < 0.6
    positions = position_ids(torch.zeros(20, 9), attention_mask)
    for row, keep in zip(positions, attention_mask, strict=True):
        assert row[keep].tolist() == list(range(int(keep.sum())))
        assert (row[~keep] == 0).all()


def test_a_sequence_of_nothing_but_padding_has_positions_within_the_table():
    assert position_ids(torch.zeros(1, 3), torch.zeros(1, 3, dtype=torch.bool)).tolist() == [[0, 0, 0]]
