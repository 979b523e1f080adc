"""The adapted linear layer: its formula, initial weights, gradients, and merging."""

import pytest
import torch
from torch import nn

from llmasos.errors import UserError
from llmasos.nn import LoRALinear


def random_lora(rank: int = 2, bias: bool = True) -> tuple[nn.Linear, LoRALinear]:
    """A layer from 6 to 4 features and its adapted form, in float64, B not zero."""
    torch.manual_seed(0)
    layer = nn.Linear(6, 4, bias=bias).double()
    lora = LoRALinear(layer, rank, alpha=3.0)
    nn.init.normal_(lora.lora_B.weight)
    return layer, lora


@pytest.mark.parametrize("bias", [True, False])
def test_the_output_is_that_of_the_formula(bias):
    layer, lora = random_lora(bias=bias)
    x = torch.randn(5, 6, dtype=torch.float64)
    A, B = lora.lora_A.weight, lora.lora_B.weight
    torch.testing.assert_close(lora(x), layer(x) + 3.0 / 2 * x @ A.T @ B.T)
    torch.testing.assert_close(lora(x), x @ (layer.weight + lora.delta()).T + (layer.bias if bias else 0.0))
    with torch.no_grad():  # the path of a single vector
        torch.testing.assert_close(lora(x[:1]), lora(x)[:1])


def test_it_starts_as_the_pretrained_layer_and_its_first_gradient_is_that_of_b():
    layer = nn.Linear(6, 4)
    lora = LoRALinear(layer, 2, alpha=8.0)
    x = torch.randn(5, 6)
    assert torch.equal(lora(x), layer(x)) and lora.weight is layer.weight and lora.bias is layer.bias
    assert lora.lora_A.weight.abs().max() <= 6**-0.5 and lora.lora_A.weight.std() > 0.1
    lora(x).square().sum().backward()
    assert not lora.lora_A.weight.grad.any() and lora.lora_B.weight.grad.any()


def test_gradients_are_right_by_finite_differences():
    _, lora = random_lora()
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    A, B = lora.lora_A.weight, lora.lora_B.weight

    def function(x, A, B):
        return torch.func.functional_call(lora, {"lora_A.weight": A, "lora_B.weight": B}, (x,))

    assert torch.autograd.gradcheck(function, (x, A, B))


def test_merged_and_original_are_ordinary_layers():
    layer, lora = random_lora()
    x, before = torch.randn(5, 6, dtype=torch.float64), layer.weight.detach().clone()
    adapted = lora(x)
    assert torch.equal(lora.original()(x), x @ before.T + layer.bias)
    merged = lora.merged()
    assert type(merged) is nn.Linear and merged.weight is layer.weight
    torch.testing.assert_close(merged(x), adapted)
    assert torch.linalg.matrix_rank(merged.weight - before) == 2


@pytest.mark.parametrize("rank", [0, 5])
def test_a_rank_above_the_width_is_refused(rank):
    with pytest.raises(UserError, match=f"lora_rank is {rank}, and a layer from 6 to 4 features has at most rank 4"):
        LoRALinear(nn.Linear(6, 4), rank, alpha=1.0)
