"""muP: one step changes a wide model as much as a narrow one, and at the base width nothing changes."""

import pytest
import torch
from torch.nn import functional as F
from training_helpers import tiny_settings

from llmasos.errors import UserError
from llmasos.models import GPT, ModelConfig
from llmasos.models.mup import init_factor, rate_factor
from llmasos.training.optimizers import make_optimizers, set_learning_rate

BASE = 32


def config(width, **fields):
    """The config of a GPT with heads of size 16."""
    fields = {"n_layers": 2, "bias": False, "tie_embeddings": False, "mup_base_width": BASE, **fields}
    return ModelConfig(vocab_size=50, context_length=8, d_model=width, n_heads=width // 16, **fields)


def change_of_logits(width, optimizer, steps=3, **fields):
    """The root mean square change of the logits after a few steps."""
    torch.manual_seed(0)
    model = GPT(config(width, **fields))
    ids = torch.randint(50, (4, 8), generator=torch.Generator().manual_seed(1))
    optimizers = make_optimizers(model, tiny_settings(optimizer=optimizer, weight_decay=0.0))
    set_learning_rate(optimizers, 4e-3)
    before = model(ids).detach()
    for _ in range(steps):
        F.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
        for each in optimizers:
            each.step()
            each.zero_grad()
    return (model(ids) - before).square().mean().sqrt().item()


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_step_changes_a_wide_model_as_much_as_a_narrow_one(optimizer):
    """The "coordinate check" of Yang et al. 2022, appendix D.1."""
    narrow, wide = (change_of_logits(width, optimizer) for width in (64, 256))
    assert 0.7 < wide / narrow < 1.4
    narrow, wide = (change_of_logits(width, optimizer, mup_base_width=None) for width in (64, 256))
    assert wide / narrow > 2


def test_at_the_base_width_nothing_is_different():
    models = []
    for base in (BASE, None):
        torch.manual_seed(0)
        models.append(GPT(config(BASE, mup_base_width=base, n_experts=2)))
    for a, b in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(a, b)
    groups = [[g["factor"] for o in make_optimizers(m, tiny_settings()) for g in o.param_groups] for m in models]
    assert groups[0] == groups[1] and set(groups[0]) == {1.0}


def test_initial_sizes_and_rates_of_each_kind_of_parameter():
    models = []
    for base in (BASE, None):
        torch.manual_seed(0)
        models.append(GPT(config(4 * BASE, n_experts=2, mup_base_width=base)))
    wide, plain = models
    expected = {  # m = 4: factors of the standard deviation and of AdamW's rate
        "token_embedding.weight": (1, 1),
        "blocks.0.attention.q_proj.weight": (1 / 2, 1 / 4),
        "blocks.1.feed_forward.experts.1.down_proj.weight": (1 / 2, 1 / 4),
        "blocks.1.feed_forward.router.weight": (1 / 4, 1 / 4),
        "final_norm.weight": (1, 1),
        "lm_head.weight": (1 / 4, 1 / 4),
    }
    ours, theirs = dict(wide.named_parameters()), dict(plain.named_parameters())
    factors = {
        p: g["factor"] for o in make_optimizers(wide, tiny_settings()) for g in o.param_groups for p in g["params"]
    }
    for name, (std, rate) in expected.items():
        assert (
            init_factor(name, ours[name].ndim, 4.0) == std and rate_factor(name, ours[name].ndim, 4.0, "adamw") == rate
        )
        if ours[name].ndim > 1:
            torch.testing.assert_close(ours[name], theirs[name] * std)
        assert factors[ours[name]] == rate


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"tie_embeddings": True}, "tie_embeddings"),
        ({"family": "transformer"}, "family gpt"),
        ({"mup_base_width": 0}, "mup_base_width"),
        ({"mup_base_width": 2.5}, "mup_base_width"),
    ],
)
def test_what_does_not_fit_is_refused(fields, words):
    with pytest.raises(UserError, match=words):
        config(64, **fields)


def test_an_adapters_factors_are_left_alone():
    assert rate_factor("blocks.0.attention.q_proj.lora_A.weight", 2, 4.0, "adamw") == 1.0
