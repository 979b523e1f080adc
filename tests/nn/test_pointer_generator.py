"""The pointer-generator's mixture: a distribution, equal to the sum by hand, with no probability for padding."""

import torch
from model_helpers import assert_all_close, gradients

from llmasos.nn import CopyHead, copy_distribution

B, T, S, V, C = 2, 3, 7, 5, 8


def inputs():
    generator = torch.Generator().manual_seed(0)
    p_gen = torch.rand(B, T, generator=generator, dtype=torch.float64)
    vocabulary = torch.randn(B, T, V, generator=generator, dtype=torch.float64).softmax(-1)
    attention = torch.randn(B, T, S, generator=generator, dtype=torch.float64).softmax(-1)
    tensors = [x.requires_grad_() for x in (p_gen, vocabulary, attention)]
    return *tensors, torch.randint(V, (B, S), generator=generator)


def by_hand(p_gen, vocabulary, attention, source):
    """Equation 9 of See et al. 2017, one number at a time."""
    return torch.stack([
        p_gen[b, t] * vocabulary[b, t, w]
        + (1 - p_gen[b, t]) * sum(attention[b, t, s] for s in range(S) if source[b, s] == w)
        for b in range(B) for t in range(T) for w in range(V)
    ]).view(B, T, V)  # fmt: skip


def test_the_mixture_and_its_gradients_are_those_of_the_sum_by_hand():
    *tensors, source = inputs()
    ours, reference = copy_distribution(*tensors, source), by_hand(*tensors, source)
    torch.testing.assert_close(ours, reference)
    torch.testing.assert_close(ours.sum(-1), torch.ones(B, T, dtype=torch.float64))
    assert_all_close(gradients(ours, tensors), gradients(reference, tensors))


def test_the_head_points_at_real_tokens_only():
    torch.manual_seed(0)
    head, mask = CopyHead(C), torch.arange(S) < torch.tensor([[S], [S - 3]])
    x, memory = torch.randn(B, T, C), torch.randn(B, S, C)
    p_gen, attention = head(x, memory, mask)
    assert p_gen.shape == (B, T) and bool(((p_gen > 0) & (p_gen < 1)).all())
    assert bool((attention[1, :, S - 3 :] == 0).all())
    torch.testing.assert_close(attention.sum(-1), torch.ones(B, T))
    changed = memory.clone()
    changed[1, S - 3 :] += 100.0
    torch.testing.assert_close(head(x, changed, mask)[1], attention)
    torch.testing.assert_close(head(x[:1], memory[:1])[1], attention[:1])  # without a mask nothing is padding
