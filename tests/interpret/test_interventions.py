"""Interventions are exact: patches take effect, contributions add up to the logit, probes find what is there."""

import math

import pytest
import torch
from model_helpers import random_ids, randomize

from llmasos.errors import UserError
from llmasos.interpret import (
    Site,
    ablation,
    activation_patching,
    attention_maps,
    induction_scores,
    intervened,
    logit_attribution,
    logit_difference,
    recorded,
    replaced,
    shifted,
    sites_of,
    train_probe,
)
from llmasos.interpret.logit_lens import residual_stream
from llmasos.models import GPT, ModelConfig, build_model

SMALL = {"vocab_size": 29, "n_layers": 2, "n_heads": 4, "d_model": 16, "context_length": 16}
MODELS = {
    "gpt2": {"family": "gpt"},
    "llama": {"family": "gpt", "positions": "rotary", "norm": "rmsnorm", "activation": "swiglu", "n_kv_heads": 2,
              "qk_norm": True, "bias": False},
    "post-norm": {"family": "gpt", "norm_position": "post", "positions": "sinusoidal"},
    "bert": {"family": "bert", "norm_position": "post", "head": "pretraining"},
    "transformer": {"family": "transformer", "norm_position": "pre"},
}  # fmt: skip


def make(name):
    return randomize(build_model(ModelConfig(**SMALL | MODELS[name]))).eval()


def outputs(model, ids):
    if model.config.family == "transformer":
        return model(ids, ids)
    return model.hidden_states(ids)


def all_sites(model):
    kinds = ["residual", "attention", "feed_forward", "head"]
    sites = [site for kind in kinds for site in sites_of(model, kind)]
    if model.config.family == "transformer":
        sites += sites_of(model, "cross_attention")
        sites += [Site(site.kind, site.layer, site.head, "encoder") for site in sites if site.kind != "cross_attention"]
    return sites


@torch.inference_mode()
@pytest.mark.parametrize("name", MODELS)
def test_what_is_put_back_changes_nothing_and_what_is_changed_changes_the_output(name):
    model, ids = make(name), random_ids(2, 7, vocab_size=29)
    sites, expected = all_sites(model), outputs(model, ids)
    with recorded(model, sites) as values:
        assert torch.equal(outputs(model, ids), expected)
    assert set(values) == set(sites)
    for site in sites:
        width = model.config.head_size if site.kind == "head" else model.config.d_model
        assert values[site].shape == (2, 7, width)
        with intervened(model, {site: replaced(values[site])}):
            torch.testing.assert_close(outputs(model, ids), expected)
        with intervened(model, {site: lambda x: x + 1.0 + x.abs()}):
            assert not torch.allclose(outputs(model, ids), expected), site
    assert torch.equal(outputs(model, ids), expected)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@torch.inference_mode()
def test_the_residual_sites_are_those_of_the_logit_lens():
    model, ids = make("llama"), random_ids(1, 7, vocab_size=29)
    with recorded(model, sites_of(model, "residual")) as values:
        model(ids)
    for site, stream in zip(sites_of(model, "residual"), residual_stream(model, ids[0]), strict=True):
        torch.testing.assert_close(values[site], stream)


def test_gradients_flow_through_an_intervention():
    model, ids = make("gpt2"), random_ids(1, 5, vocab_size=29)
    direction = torch.zeros(16, requires_grad=True)
    with intervened(model, {Site("residual", 1): shifted(direction, 2)}):
        model(ids)[0, 4, 3].backward()
    assert direction.grad.norm() > 0
    later = torch.zeros(16, requires_grad=True)
    with intervened(model, {Site("residual", 1): shifted(later, 4)}):
        model(ids)[0, 3, 3].backward()
    assert later.grad.norm() == 0  # a later position changes no earlier one


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert"])
def test_patching_everything_restores_the_clean_run_and_nothing_leaks_back(name):
    model = make(name)
    clean, corrupted = random_ids(1, 6, vocab_size=29)[0], random_ids(1, 6, vocab_size=29)[0]
    corrupted = clean.clone()
    corrupted[2] = (clean[2] + 1) % 29
    result = activation_patching(model, clean, corrupted, logit_difference(3, 4))
    assert result.restored.shape == (3, 6)
    assert result.restored[0, 2] == pytest.approx(1, abs=1e-4)  # the embedding of the only token that differs
    assert result.restored[0, [0, 1, 3, 4, 5]] == pytest.approx(torch.zeros(5), abs=1e-4)
    assert result.restored[2, 5] == pytest.approx(1, abs=1e-4)  # the last stream at the position that is read
    assert result.restored[2, :5] == pytest.approx(torch.zeros(5), abs=1e-4)
    if name != "bert":
        assert result.restored[:, :2].abs().max() < 1e-4  # before the difference there is none


def test_ablating_a_part_that_does_nothing_changes_nothing():
    model, ids = make("gpt2"), random_ids(1, 6, vocab_size=29)[0]
    model.blocks[1].attention.out_proj.weight.data[:, 4:8] = 0.0  # the output of head 1
    metric = logit_difference(3, 4)
    zero, mean = (ablation(model, ids, metric, sites_of(model, "head"), mean=m) for m in (False, True))
    with torch.inference_mode():
        whole = metric(model(ids[None]))
    for results in (zero, mean):
        assert results[5] == pytest.approx(whole, abs=1e-5)
        assert (results[[0, 1, 2, 3, 4, 6, 7]] - whole).abs().min() > 1e-5


@torch.inference_mode()
@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("position", [-1, 2])
def test_shares_add_up_to_the_logit(name, position):
    model, ids = make(name), random_ids(1, 7, vocab_size=29)[0]
    shares = logit_attribution(model, ids, token=5, position=position)
    assert len(shares) == 1 + 2 * (4 + 1) + 1
    assert sum(shares.values()) == pytest.approx(float(model(ids[None])[0, position, 5]), abs=1e-4)


def test_a_probe_finds_a_direction_that_is_there_and_none_that_is_not():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (600,), generator=generator)
    directions = torch.randn(3, 20, generator=generator)
    activations = 2.0 * directions[labels] + torch.randn(600, 20, generator=generator)
    probe = train_probe(activations, labels)
    assert probe.accuracy > 0.97 and probe.interval[0] < probe.accuracy <= probe.interval[1]
    control = train_probe(activations, labels[torch.randperm(600, generator=generator)])
    assert control.interval[0] < 0.42  # chance is a third
    moved = activations + 25.0 * probe.steering(0, 2)
    is_first = labels == 0
    assert (probe(moved)[is_first] == 2).float().mean() > 0.9  # the edit changes the probe's prediction


def test_steering_moves_the_difference_of_two_logits_by_what_it_says():
    torch.manual_seed(0)
    x, y = torch.randn(200, 8), torch.randint(2, (200,))
    probe = train_probe(x, y)

    def margin(activations):
        logits = ((activations - probe.mean) / probe.scale) @ probe.weight.T
        return logits[:, 1] - logits[:, 0]

    torch.testing.assert_close(margin(x + 3.0 * probe.steering(0, 1)), margin(x) + 3.0, atol=1e-4, rtol=1e-4)


def induction_by_hand() -> GPT:
    """Two layers with one head, without training: the first copies the previous token, the second attends to it."""
    V, P = 12, 24
    config = ModelConfig(vocab_size=V, context_length=P, n_layers=2, n_heads=1, d_model=3 * V + P, d_ff=1,
                         tie_embeddings=False, fused=False)  # fmt: skip
    model = build_model(config).eval()
    for parameter in model.parameters():
        parameter.data.zero_()
    C, token, before, answer, place = 3 * V + P, slice(0, V), slice(V, 2 * V), slice(2 * V, 3 * V), slice(3 * V, None)
    model.token_embedding.weight.data[:, token] = torch.eye(V)
    model.position_embedding.weight.data[:, place] = torch.eye(P)
    for block in model.blocks:
        for residual in (block.attention_residual, block.feed_forward_residual):
            residual.norm = torch.nn.Identity()
    model.final_norm = torch.nn.Identity()
    first, second = (block.attention for block in model.blocks)

    def matrix(rows, columns, values):
        weight = torch.zeros(C, C)
        weight[rows, columns] = values
        return weight

    def set_weights(attention, query, key, value, output):
        for name, weight in (("q_proj", query), ("k_proj", key), ("v_proj", value), ("out_proj", output)):
            getattr(attention, name).weight.data.copy_(weight)

    sharp = 100.0 * math.sqrt(C)
    one = torch.eye(V)
    previous = matrix(place, place, sharp * torch.diag(torch.ones(P - 1), 1))
    set_weights(
        first, previous, matrix(place, place, torch.eye(P)), matrix(token, token, one), matrix(before, token, one)
    )
    same = matrix(token, token, sharp * one)
    set_weights(second, same, matrix(token, before, one), matrix(token, token, one), matrix(answer, token, one))
    model.lm_head.weight.data[:, answer] = 20.0 * torch.eye(V)
    return model


def test_scores_of_a_model_whose_heads_are_known():
    """With permutations: each token occurs once in each half, so the head has a single position to attend to."""
    model = induction_by_hand()
    ids = torch.stack([torch.randperm(12) for _ in range(4)]).repeat(1, 2)
    maps = list(attention_maps(model, ids).values())
    previous = maps[0][:, 0].diagonal(offset=-1, dim1=1, dim2=2)
    assert previous.min() > 0.99
    after = maps[1][:, 0, 12:23, 1:].diagonal(dim1=1, dim2=2)
    assert after[:, 1:].min() > 0.99  # position 0 has no previous token, so its head sees itself, as a second match
    scores = induction_scores(model, 12, 8, tokens=torch.arange(12))
    assert scores.previous_token[0, 0] > 0.99 and scores.previous_token[1, 0] < 0.6
    assert scores.induction[1, 0] > 5 * scores.uniform  # tokens repeat within a half, which misleads it
    assert scores.induction[0, 0] < 0.01
    assert scores.second_loss < scores.first_loss


def test_a_random_model_has_uniform_scores_and_the_loss_of_guessing():
    scores = induction_scores(build_model(ModelConfig(**SMALL)), 8)
    assert scores.induction == pytest.approx(torch.full((2, 4), scores.uniform), abs=0.02)
    assert scores.first_loss == pytest.approx(math.log(29), abs=0.1) == pytest.approx(scores.second_loss, abs=0.1)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda model, ids: sites_of(model, "heads"), "choose one of"),
        (lambda model, ids: record(model, Site("residual", 3)), "2 blocks"),
        (lambda model, ids: record(model, Site("head", 0)), "from 0 to 3"),
        (lambda model, ids: record(model, Site("head", 0, 4)), "from 0 to 3"),
        (lambda model, ids: record(model, Site("attention", 0, 1)), "other kinds have none"),
        (lambda model, ids: record(model, Site("cross_attention", 0)), "only the decoder blocks of a transformer"),
        (lambda model, ids: activation_patching(model, ids, ids[:3], logit_difference(1, 2)), "as many tokens"),
        (lambda model, ids: activation_patching(model, ids, ids, logit_difference(1, 2)), "nothing to restor"),
        (lambda model, ids: logit_attribution(make("post-norm"), ids, 1), "norms before"),
        (lambda model, ids: activation_patching(make("transformer"), ids, ids + 1, logit_difference(1, 2)), "a gpt"),
        (lambda model, ids: induction_scores(make("bert")), "in a gpt"),
        (lambda model, ids: induction_scores(model, 9), "must fit"),
        (lambda model, ids: train_probe(torch.zeros(8, 2), torch.zeros(8)), "at least two labels"),
        (lambda model, ids: train_probe(torch.zeros(8, 2), torch.arange(7)), "8 activations, 7 labels"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(call, message):
    with pytest.raises(UserError, match=message):
        call(make("gpt2"), random_ids(1, 6, vocab_size=28)[0])


def record(model, site):
    with recorded(model, [site]):
        pass
