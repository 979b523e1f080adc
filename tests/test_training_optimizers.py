"""Which optimizer owns which parameter, and that what it remembers survives the disk."""

import pytest
import torch
from training_helpers import tiny_model, tiny_recipe, weights

from llmasos.models import ModelConfig, build_model
from llmasos.training.optimizers import load_optimizer_tensors, make_optimizers, optimizer_tensors, split_parameters


@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("tied", [True, False])
def test_every_parameter_belongs_to_exactly_one_group(kind, tied):
    model = tiny_model(tie_embeddings=tied)
    owned = [
        p for o in make_optimizers(model, tiny_recipe(optimizer=kind)) for g in o.param_groups for p in g["params"]
    ]
    assert sorted(map(id, owned)) == sorted(map(id, model.parameters()))


def test_muon_gets_the_matrices_of_the_blocks_and_adamw_decays_no_vector():
    model = tiny_model()
    names = {id(p): name for name, p in model.named_parameters()}
    matrices, decayed, plain = ([names[id(p)] for p in group] for group in split_parameters(model, "muon"))
    assert len(matrices) == 2 * 6 and all(name.startswith("blocks.") for name in matrices)
    assert decayed == ["token_embedding.weight", "position_embedding.weight"]
    assert all(name.endswith("bias") or "norm" in name for name in plain)


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

    recipe, models = tiny_recipe(optimizer=kind), [tiny_model(), tiny_model()]
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
