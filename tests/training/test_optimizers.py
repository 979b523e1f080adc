"""Which optimizer trains which parameter, and that optimizer state survives saving and loading."""

import pytest
import torch
from training_helpers import tiny_model, tiny_settings, weights

from llmasos.errors import UserError
from llmasos.models import ModelConfig, build_model
from llmasos.training.optimizers import (
    freeze,
    learning_rate_factors,
    load_optimizer_tensors,
    make_optimizers,
    optimizer_tensors,
    set_learning_rate,
    split_parameters,
)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("tied", [True, False])
def test_every_parameter_belongs_to_exactly_one_group(kind, tied):
    model = tiny_model(tie_embeddings=tied)
    owned = [
        p for o in make_optimizers(model, tiny_settings(optimizer=kind)) for g in o.param_groups for p in g["params"]
    ]
    assert sorted(map(id, owned)) == sorted(map(id, model.parameters()))


def test_muon_gets_the_matrices_of_the_blocks_and_adamw_decays_no_vector():
    model = tiny_model()
    names = {id(p): name for name, p in model.named_parameters()}
    matrices, decayed, plain = ([names[id(p)] for p in group] for group in split_parameters(model, "muon"))
    assert len(matrices) == 2 * 6 and all(name.startswith("blocks.") for name in matrices)
    assert decayed == ["token_embedding.weight", "position_embedding.weight"]
    assert all(name.endswith("bias") or "norm" in name for name in plain)


def test_muon_gets_the_matrices_of_each_expert_and_not_the_router():
    matrices, decayed, _ = split_parameters(model := tiny_model(n_experts=3), "muon")
    assert len(matrices) == 2 * (4 + 3 * 2)
    assert {id(block.feed_forward.router.weight) for block in model.blocks} <= set(map(id, decayed))


def test_muon_finds_the_stacks_of_an_encoder_decoder():
    c = ModelConfig(family="transformer", vocab_size=11, n_layers=1, d_model=16, n_heads=2, positions="sinusoidal")
    matrices, _, _ = split_parameters(build_model(c), "muon")
    assert len(matrices) == 6 + 10  # attention and feed-forward; in the decoder cross-attention too


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_state_that_was_saved_and_loaded_takes_the_same_step(kind):
    def gradients(model, seed):
        torch.manual_seed(seed)
        for p in model.parameters():
            p.grad = torch.randn_like(p)

    recipe, models = tiny_settings(optimizer=kind), [tiny_model(), tiny_model()]
    first, second = (make_optimizers(model, recipe) for model in models)
    for seed in range(3):
        gradients(models[0], seed)
        [o.step() for o in first]
    models[1].load_state_dict(models[0].state_dict())
    tensors = {name: tensor.clone() for name, tensor in optimizer_tensors(models[0], first).items()}
    load_optimizer_tensors(models[1], second, tensors)
    for model, optimizers in zip(models, (first, second), strict=True):
        gradients(model, 99)
        [o.step() for o in optimizers]
    for name, tensor in weights(models[0]).items():
        assert torch.equal(tensor, weights(models[1])[name]), name


def test_each_layer_learns_more_slowly_than_the_one_above():
    model = tiny_model()
    n = model.config.n_layers
    factors = {name: learning_rate_factors(model, 0.5)[p] for name, p in model.named_parameters()}
    assert factors["final_norm.weight"] == 1.0
    assert factors[f"blocks.{n - 1}.attention.q_proj.weight"] == 0.5
    assert factors["blocks.0.feed_forward.up_proj.bias"] == 0.5**n
    assert factors["token_embedding.weight"] == factors["position_embedding.weight"] == 0.5 ** (n + 1)

    optimizers = make_optimizers(model, tiny_settings(layerwise_lr_decay=0.5))
    set_learning_rate(optimizers, 0.1)
    rates = {id(p): group["lr"] for o in optimizers for group in o.param_groups for p in group["params"]}
    for name, p in model.named_parameters():
        assert rates[id(p)] == pytest.approx(0.1 * factors[name]), name


def test_a_decoder_lies_on_its_encoder():
    c = ModelConfig(
        family="transformer",
        vocab_size=11,
        n_layers=2,
        n_decoder_layers=1,
        d_model=16,
        n_heads=2,
        positions="sinusoidal",
    )
    model = build_model(c)
    factors = {name: learning_rate_factors(model, 0.5)[p] for name, p in model.named_parameters()}
    assert factors["decoder_blocks.0.cross_attention.q_proj.weight"] == 0.5
    assert factors["encoder_blocks.1.attention.q_proj.weight"] == factors["encoder_norm.weight"] == 0.25
    assert factors["final_norm.weight"] == 1.0


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_what_is_frozen_is_owned_by_nobody_and_stays(kind):
    model = tiny_model()
    before = {name: tensor.clone() for name, tensor in weights(model).items()}
    freeze(model, 1)
    optimizers = make_optimizers(model, tiny_settings(optimizer=kind))
    model(torch.tensor([[1, 2, 3]])).logsumexp(-1).sum().backward()
    set_learning_rate(optimizers, 0.1)
    [o.step() for o in optimizers]
    for name, tensor in weights(model).items():
        frozen = "embedding" in name or name.startswith("blocks.0.")
        assert torch.equal(before[name], tensor) == frozen, name


def test_more_layers_than_there_are_cannot_be_frozen():
    with pytest.raises(UserError, match="freeze_layers is 9, and the model has 2 layers"):
        freeze(tiny_model(), 9)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_parts_of_a_larger_tensor_are_trained_like_tensors_of_their_own(optimizer):
    """GPT-2's published queries, keys and values are one matrix (in, out)."""
    model, twin = tiny_model(), tiny_model()
    attention = model.blocks[0].attention
    projections = [attention.q_proj, attention.k_proj, attention.v_proj]
    published = torch.cat([layer.weight.detach() for layer in projections]).T.contiguous()
    for layer, part in zip(projections, published.T.split([len(layer.weight) for layer in projections]), strict=True):
        layer.weight = torch.nn.Parameter(part)
    for m in (model, twin):
        optimizers = make_optimizers(m, tiny_settings(optimizer=optimizer, learning_rate=1e-2))
        for _ in range(2):
            for p in m.parameters():
                p.grad = torch.arange(p.numel(), dtype=p.dtype).sin().view(p.shape)
            for o in optimizers:
                o.step()
    for (name, p), q in zip(model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q, msg=name)
