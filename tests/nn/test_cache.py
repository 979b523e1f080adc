"""The key/value cache: slot p holds position p, whatever the order in which the positions arrive."""

import torch
from model_helpers import layers_of

from llmasos.nn import KVCache

L, B, H, P, D = 2, 3, 2, 8, 4


def new_keys_values(t, seed):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(B, H, t, D, generator=generator) for _ in range(2))


def test_a_cache_is_allocated_whole_and_empty():
    cache = KVCache.empty(L, B, H, P, D, dtype=torch.bfloat16)
    assert cache.length == P and len(layers_of(cache)) == L
    for pair in layers_of(cache):
        for tensor in pair:
            assert tensor.shape == (B, H, P, D) and tensor.dtype == torch.bfloat16 and not tensor.any()
    assert len({tensor.data_ptr() for pair in layers_of(cache) for tensor in pair}) == 2 * L


def test_keys_and_values_land_in_the_slots_of_their_positions():
    cache = KVCache.empty(L, B, H, P, D)
    positions = torch.tensor([[0, 1], [3, 4], [6, 2]])
    k, v = new_keys_values(2, seed=0)
    all_k, all_v = cache.layer(1, positions, end=7).update(k, v)
    assert all_k.shape == all_v.shape == (B, H, 7, D)
    for b in range(B):
        for t in range(2):
            assert torch.equal(all_k[b, :, positions[b, t]], k[b, :, t])
            assert torch.equal(all_v[b, :, positions[b, t]], v[b, :, t])
        empty = [p for p in range(7) if p not in positions[b].tolist()]
        assert not all_k[b, :, empty].any() and not all_v[b, :, empty].any()
    assert not layers_of(cache)[0][0].any()  # the other layer is untouched
    assert torch.equal(layers_of(cache)[1][0][:, :, :7], all_k)


def test_a_second_update_keeps_the_first_and_overwrites_only_its_own_slots():
    cache = KVCache.empty(1, B, H, P, D)
    k, v = new_keys_values(3, seed=0)
    cache.layer(0, torch.arange(3).expand(B, 3), 3).update(k, v)
    later_k, later_v = new_keys_values(1, seed=1)
    all_k, _ = cache.layer(0, torch.tensor([[3], [2], [1]]), 4).update(later_k, later_v)
    assert torch.equal(all_k[0, :, :3], k[0]) and torch.equal(all_k[0, :, 3], later_k[0, :, 0])
    assert torch.equal(all_k[1, :, 2], later_k[1, :, 0]) and torch.equal(all_k[1, :, :2], k[1, :, :2])
    assert torch.equal(all_k[2, :, 1], later_k[2, :, 0]) and torch.equal(all_k[2, :, 2], k[2, :, 2])


def test_one_row_of_positions_serves_all_sequences():
    cache = KVCache.empty(1, B, H, P, D)
    k, v = new_keys_values(2, seed=0)
    all_k, _ = cache.layer(0, torch.tensor([[4, 5]]), 6).update(k, v)
    assert torch.equal(all_k[:, :, 4:], k)


def filled(batch_size, seed):
    cache = KVCache.empty(L, batch_size, H, P, D)
    generator = torch.Generator().manual_seed(seed)
    for pair in layers_of(cache):
        for tensor in pair:
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
    return cache


def test_select_copies_the_chosen_sequences_in_order():
    cache = filled(B, seed=0)
    chosen = cache.select(torch.tensor([2, 0, 2]))
    for (k, v), (new_k, new_v) in zip(layers_of(cache), layers_of(chosen), strict=True):
        assert torch.equal(new_k, k[[2, 0, 2]]) and torch.equal(new_v, v[[2, 0, 2]])
    before = layers_of(cache)[0][0].clone()
    layers_of(chosen)[0][0].zero_()
    assert torch.equal(layers_of(cache)[0][0], before)


def test_write_rows_overwrites_the_chosen_sequences_only():
    cache, other = filled(B, seed=0), filled(2, seed=1)
    before = [(k.clone(), v.clone()) for k, v in layers_of(cache)]
    cache.write_rows(torch.tensor([2, 0]), other)
    for pair, old, new in zip(layers_of(cache), before, layers_of(other), strict=True):
        for tensor, was, source in zip(pair, old, new, strict=True):
            assert torch.equal(tensor[2], source[0]) and torch.equal(tensor[0], source[1])
            assert torch.equal(tensor[1], was[1])
