"""The load-balancing loss: equal to transformers', independent of how a batch is divided, and it balances."""

import pytest
import torch
from model_helpers import assert_all_close, random_ids, randomize
from training_helpers import tiny_model, tiny_settings, tiny_tokens, tiny_trainer, weights
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from llmasos.models import ModelConfig, build_model
from llmasos.nn import MixtureOfExperts
from llmasos.objectives import LOAD_BALANCING, CausalLM, LoadBalancing, MaskedLM, Seq2Seq
from llmasos.objectives.load_balancing import real_tokens, recorded_routing
from llmasos.training.log import read_metrics

EXPERTS = {"n_experts": 4, "d_ff": 12}


class Ragged:
    """Rows of very different lengths, so that a mean of means differs from the mean."""

    def example(self, seed, index):
        return tiny_tokens(400)[index * 3 : index * 3 + 3 + index % 7].astype("int64")


def ragged_batch():
    return CausalLM().collate([Ragged().example(0, i) for i in range(4)])


def test_one_layer_is_transformers_loss_and_several_are_averaged():
    model, batch = tiny_model(**EXPERTS).double(), ragged_batch()
    objective = LoadBalancing(CausalLM(), model.config)
    with recorded_routing(model) as routings:
        model(batch["ids"])
    mask = (batch["targets"] != -100).long()
    assert not mask.all(), "some rows are padded"
    by_layer = [load_balancing_loss_func((calls[0].probs.log().flatten(0, 1),), 4, 2, mask)
                for calls in routings.values()]  # fmt: skip
    sums, n_targets = objective.loss_sums(model, batch), objective.n_targets(batch)
    assert n_targets == {"causal": int(mask.sum()), LOAD_BALANCING: 2 * int(mask.sum())}
    # theirs counts all k choices of a token as one, so that its lowest value is k
    expected = sum(by_layer) / 2 / 2
    torch.testing.assert_close(sums[LOAD_BALANCING] / n_targets[LOAD_BALANCING], expected)
    parameters = list(model.parameters())
    ours = torch.autograd.grad(sums[LOAD_BALANCING] / n_targets[LOAD_BALANCING], parameters, materialize_grads=True)
    theirs = torch.autograd.grad(expected, parameters, materialize_grads=True)
    assert_all_close(ours, theirs)


def test_it_is_one_for_even_use_and_the_number_of_experts_for_a_single_one():
    model, batch = tiny_model(**EXPERTS, n_active_experts=1), ragged_batch()
    objective = LoadBalancing(CausalLM(), model.config)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, MixtureOfExperts):
                layer.router.weight.zero_()
    loss = objective.loss_sums(model, batch)[LOAD_BALANCING] / objective.n_targets(batch)[LOAD_BALANCING]
    assert loss.item() == pytest.approx(1.0)  # all probabilities are equal, whatever the choices
    with torch.no_grad():
        for block in model.blocks:
            block.feed_forward_residual.norm.weight.zero_()
            block.feed_forward_residual.norm.bias.fill_(1.0)
            block.feed_forward.router.weight[2] = 5.0
    loss = objective.loss_sums(model, batch)[LOAD_BALANCING] / objective.n_targets(batch)[LOAD_BALANCING]
    assert loss.item() == pytest.approx(4.0)


def test_neither_the_loss_nor_the_gradient_depends_on_the_number_of_parts(tmp_path):
    results = []
    for parts in (1, 4):
        model = tiny_model(**EXPERTS, router_aux_loss_coef=1.0).double()
        settings = tiny_settings(gradient_accumulation_steps=parts)
        trainer = tiny_trainer(tmp_path / str(parts), model, settings, train=Ragged())
        steps = []
        for _ in range(3):
            steps.append(trainer.step(model))
            trainer.state.step += 1
        results.append((steps, weights(model)))
    (whole_steps, whole), (part_steps, part) = results
    for a, b in zip(whole_steps, part_steps, strict=True):
        assert a.terms == pytest.approx(b.terms, rel=1e-5)
        assert a.loss == pytest.approx(a.terms["causal"] + a.terms[LOAD_BALANCING], rel=1e-6)
        assert a.n_targets == b.n_targets
    for name in whole:
        torch.testing.assert_close(part[name], whole[name], rtol=1e-6, atol=1e-9)


def test_the_choices_are_counted_under_the_dropout_of_the_step_itself(tmp_path, monkeypatch):
    model = tiny_model(**EXPERTS, dropout=0.5)
    trainer = tiny_trainer(tmp_path, model, tiny_settings(gradient_accumulation_steps=2), train=Ragged())
    counts, totals = [], LoadBalancing.totals
    monkeypatch.setattr(LoadBalancing, "totals", lambda *args: counts.append(totals(*args)[1]) or totals(*args))
    trainer.step(model)
    assert len(counts) == 4 and not torch.equal(counts[0], counts[1])
    assert torch.equal(counts[0], counts[2]) and torch.equal(counts[1], counts[3])


def test_it_is_logged_apart_weighted_by_the_config_and_no_part_of_the_validation_loss(tmp_path):
    model = tiny_model(**EXPERTS, router_aux_loss_coef=0.25)
    trainer = tiny_trainer(tmp_path, model)
    expected = tiny_trainer(tmp_path / "2", model=without_term(model)).validate()
    assert trainer.validate() == pytest.approx(expected, rel=1e-6)
    trainer.train()
    steps = [line for line in read_metrics(tmp_path) if "loss" in line]
    assert len(steps) == 12
    for line in steps:
        assert line["loss"] == pytest.approx(line["causal"] + 0.25 * line[LOAD_BALANCING], rel=1e-5)
        assert 1.0 <= line[LOAD_BALANCING] < 4.0


@pytest.mark.parametrize("coef", [0.0, 0.01])
def test_in_training_a_longer_row_of_the_batch_changes_nothing_for_a_shorter_one(tmp_path, coef):
    """Capacity counts only real tokens, in the trainer's objective."""
    model = randomize(tiny_model(**EXPERTS, capacity_factor=0.6, router_aux_loss_coef=coef)).double().train()
    objective = tiny_trainer(tmp_path, model).objective
    windows = [tiny_tokens(60)[:n].astype("int64") for n in (4, 9, 6)]
    single = [objective.loss_sums(model, CausalLM().collate([window]))["causal"].item() for window in windows]
    together = objective.loss_sums(model, CausalLM().collate(windows))["causal"].item()
    assert together == pytest.approx(sum(single), rel=1e-6)
    kept = CausalLM().loss_sums(model.eval(), CausalLM().collate(windows))["causal"].item()
    assert kept != pytest.approx(together, rel=1e-3), "no token was dropped"
    assert all(layer.is_real is None for layer in model.modules() if isinstance(layer, MixtureOfExperts))


def without_term(model):
    """The same weights with a coefficient of zero: then the trainer does not change the objective."""
    other = tiny_model(**EXPERTS, router_aux_loss_coef=0.0)
    other.load_state_dict(model.state_dict())
    return other


def test_the_throughput_counts_tokens_once(tmp_path):
    model = tiny_model(**EXPERTS)
    result = tiny_trainer(tmp_path, model).step(model)
    assert result.n_targets == 4 * 8


def test_collapse_and_its_cure():
    """A router that prefers one expert stays with it without the term, and uses all of them with it."""
    used = {}
    for coef in (0.0, 1.0):
        model = tiny_model(**EXPERTS, n_active_experts=1, router_aux_loss_coef=coef, n_layers=1)
        layer = model.blocks[0].feed_forward
        with torch.no_grad():
            model.blocks[0].feed_forward_residual.norm.bias.fill_(0.3)
            layer.router.weight[0] += 0.5
        objective = LoadBalancing(CausalLM(), model.config)
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        batch = CausalLM().collate([tiny_tokens(9, seed=s).astype("int64") for s in range(16)])
        for _ in range(25):
            sums, n = objective.loss_sums(model, batch), objective.n_targets(batch)
            optimizer.zero_grad()
            sum(objective.weights[term] * sums[term] / n[term] for term in n).backward()
            optimizer.step()
        share = objective.count_choices(model, batch)[0] / (16 * 8)
        used[coef] = share.max().item()
    assert used[0.0] > 0.9 and used[1.0] < 0.5, used


def test_padding_does_not_count_in_any_family():
    bert = build_model(ModelConfig(family="bert", vocab_size=29, n_layers=2, n_heads=2, d_model=16, **EXPERTS))
    mask = torch.arange(9) < torch.tensor([[9], [4]])
    targets = torch.where(torch.arange(9) == 1, 5, -100).expand(2, 9)
    batch = {"ids": random_ids(2, 9), "attention_mask": mask, "segments": torch.zeros(2, 9).long(), "targets": targets}
    objective = LoadBalancing(MaskedLM.__new__(MaskedLM), bert.config)
    assert real_tokens(batch).sum() == 13 and objective.n_targets(batch)[LOAD_BALANCING] == 26
    first = objective.loss_sums(bert, batch)[LOAD_BALANCING]
    batch["ids"] = batch["ids"].where(mask, 7)
    torch.testing.assert_close(objective.loss_sums(bert, batch)[LOAD_BALANCING], first)

    config = ModelConfig(family="transformer", positions="sinusoidal", vocab_size=29, n_layers=2, n_decoder_layers=1,
                         n_heads=2, d_model=16, **EXPERTS)  # fmt: skip
    targets = torch.tensor([[3, 4, 0], [5, -100, -100]])
    batch = {"source": random_ids(2, 9), "source_attention_mask": mask, "target": random_ids(2, 3), "targets": targets}
    objective = LoadBalancing(Seq2Seq.__new__(Seq2Seq), config)
    assert objective.n_targets(batch)[LOAD_BALANCING] == 2 * 13 + 4
    model = build_model(config).eval()
    counts = LoadBalancing(Both(), config).count_choices(model, batch)
    assert counts.sum(dim=1).tolist() == [26, 26, 8]  # two choices of each token


class Both:
    """The forward pass of an encoder–decoder, as an objective."""

    def loss_sums(self, model, batch):
        return {"target": model(batch["source"], batch["target"], batch["source_attention_mask"]).sum()}
