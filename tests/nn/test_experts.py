"""A mixture of experts: transformers' Mixtral block is the oracle; capacity, a single choice, gradients."""

import pytest
import torch
from model_helpers import assert_all_close, gradients, randomize
from transformers import MixtralConfig
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

from llmasos.nn import FeedForward, MixtureOfExperts, SwiGLU, route
from llmasos.nn.experts import capacity_of, within_capacity

E, C = 5, 6


def mixture(k=2, capacity_factor=0.0, expert=lambda: SwiGLU(C, 7), seed=0):
    return randomize(MixtureOfExperts([expert() for _ in range(E)], C, k, capacity_factor).double(), seed)


def sample(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("k", [2, 3, E])
def test_it_is_mixtrals_block_in_values_and_gradients(k):
    ours, x = mixture(k).float(), sample(3, 9, C).float().detach().requires_grad_()
    oracle = MixtralSparseMoeBlock(MixtralConfig(hidden_size=C, intermediate_size=7, num_local_experts=E,
                                                 num_experts_per_tok=k))  # fmt: skip
    weights = {"gate.weight": ours.router.weight}
    for i, expert in enumerate(ours.experts):
        layers = {"w1": expert.gate_proj, "w2": expert.down_proj, "w3": expert.up_proj}
        weights |= {f"experts.{i}.{name}.weight": layer.weight for name, layer in layers.items()}
    oracle.load_state_dict({name: weight.detach() for name, weight in weights.items()})
    expected = oracle(x)[0]
    torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-5)
    theirs = dict(oracle.named_parameters())
    assert_all_close(
        gradients(ours(x), [x, *weights.values()]),
        gradients(expected, [x, *(theirs[name] for name in weights)]),
        rtol=1e-4,
        atol=1e-5,
    )


def by_definition(layer, x):
    """One token at a time: Σ g_i · expert_i(x) over the k experts with the highest probability."""
    rows = []
    for token in x.flatten(0, -2):
        p = (layer.router.weight @ token).softmax(0)
        chosen = p.argsort(descending=True)[: layer.n_active]
        g = p[chosen] / (p[chosen].sum() if layer.n_active > 1 else 1.0)
        rows.append(sum(g[j] * layer.experts[int(i)](token) for j, i in enumerate(chosen)))
    return torch.stack(rows).view_as(x)


@pytest.mark.parametrize("k", [1, 2, E])
@pytest.mark.parametrize("expert", [lambda: SwiGLU(C, 7, bias=True), lambda: FeedForward(C, 7, "relu")])
def test_it_is_its_definition_token_by_token(k, expert):
    layer, x = mixture(k, expert=expert), sample(2, 5, C)
    torch.testing.assert_close(layer(x), by_definition(layer, x))
    inputs = [x, *layer.parameters()]
    assert_all_close(gradients(layer(x), inputs), gradients(by_definition(layer, x), inputs))
    torch.testing.assert_close(layer.eval()(x[:, 0]), layer(x)[:, 0])  # any shape


def test_a_single_expert_is_weighted_by_its_probability_so_that_the_router_learns():
    layer, x = mixture(k=1), sample(2, 5, C)
    (grad,) = gradients(layer(x), [layer.router.weight])
    assert grad.abs().max() > 1e-3
    assert route(torch.tensor([0.0, 0.0]), 1).weights.item() == 0.5


@pytest.mark.parametrize("k, factor", [(1, 1.0), (2, 0.5), (2, 1.25)])
def test_an_expert_takes_no_more_than_its_capacity_of_a_row_in_training(k, factor):
    layer, x = mixture(k, factor), sample(3, 20, C)
    layer.recorded_routing = []
    dropped, kept = layer(x), layer.eval()(x)
    chosen, weights = layer.recorded_routing[0].chosen, layer.recorded_routing[0].weights
    capacity = -int(-factor * k * 20 // E)
    expected = kept.clone()
    n_dropped = 0
    for b in range(3):
        room = [capacity] * E
        for t in range(20):
            for i, weight in zip(chosen[b, t].tolist(), weights[b, t], strict=True):
                if room[i] == 0:
                    expected[b, t] -= weight * layer.experts[i](x[b, t])
                    n_dropped += 1
                else:
                    room[i] -= 1
    assert n_dropped > 0
    torch.testing.assert_close(dropped, expected)


def test_what_happens_to_a_token_depends_on_no_later_token_and_on_no_other_row():
    layer, x, other = mixture(2, 0.6), sample(2, 12, C), sample(2, 12, C, seed=1)
    y = layer(x)
    torch.testing.assert_close(layer(torch.cat((x[:, :7], other[:, 7:]), dim=1))[:, :7], y[:, :7])
    torch.testing.assert_close(layer(torch.stack((x[0], other[1])))[0], y[0])
    choices = torch.tensor([[[1], [1], [0]], [[0], [1], [1]]])
    assert within_capacity(choices, 2, 1).flatten().tolist() == [True, False, True, True, True, False]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("factor", [0.0, 0.75])
def test_padding_on_either_side_is_sent_to_no_expert_and_takes_no_room(factor, training):
    layer = mixture(2, factor).train(training)
    rows, rng = [sample(T, C, seed=T) for T in (14, 5, 1)], torch.Generator().manual_seed(0)
    alone = [layer(row[None])[0] for row in rows]
    for side in ("right", "left"):
        x = torch.randn(3, 20, C, generator=rng, dtype=torch.float64)
        is_real = torch.zeros(3, 20, dtype=torch.bool)
        for b, row in enumerate(rows):
            place = slice(len(row)) if side == "right" else slice(20 - len(row), None)
            x[b, place], is_real[b, place] = row.detach(), True
        layer.is_real = is_real
        y = layer(x)
        layer.is_real = None
        torch.testing.assert_close(y[is_real], torch.cat(alone))
        assert not y[~is_real].any()


def test_the_capacity_is_rounded_up_from_the_exact_product():
    for n in range(1, 400):
        assert capacity_of(0.1, 3, 10 * n, 3) == n and capacity_of(1.1, 1, 30 * n, 3) == 11 * n
    assert capacity_of(1.0, 1, 7, 3) == 3 and capacity_of(0.01, 1, 7, 3) == 1


def test_every_expert_has_a_gradient_also_without_a_token():
    layer = mixture(1)
    layer(sample(1, 1, C)).sum().backward()
    gradients_of = [[p.grad for p in expert.parameters()] for expert in layer.experts]
    assert all(g is not None for gs in gradients_of for g in gs), "DDP waits for every parameter"
    assert sum(any(g.any() for g in gs) for gs in gradients_of) == 1


def test_the_router_decides_in_float32_under_autocast():
    layer, x = mixture(2).float(), sample(2, 5, C).float()
    with torch.autocast("cpu", torch.bfloat16):
        layer.recorded_routing = []
        assert layer(x).isfinite().all()
    assert layer.recorded_routing[0].probs.dtype == torch.float32
