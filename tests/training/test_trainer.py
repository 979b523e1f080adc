"""The training loop: its results, splitting and resuming, and stopping."""

import signal

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from training_helpers import tiny_model, tiny_settings, tiny_tokens, tiny_trainer, weights

from llmasos.errors import UserError
from llmasos.objectives import IGNORE_INDEX, CausalLM
from llmasos.training.log import read_metrics


def assert_same(a, b):
    """Check that all tensors are equal, bit for bit."""
    for name in a:
        assert torch.equal(a[name], b[name]), f"{name} differs by {(a[name] - b[name]).abs().max()}"


class Ragged:
    """Examples of very different lengths, so that a mean of means differs from the mean."""

    def example(self, seed, index):
        return tiny_tokens(400)[index * 3 : index * 3 + 3 + index % 7].astype(np.int64)


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulated_equals_whole_batch_even_with_ragged_rows(tmp_path, parts):
    results = []
    for accumulation in (1, parts):
        model = tiny_model().double()
        settings = tiny_settings(gradient_accumulation_steps=accumulation, max_steps=6, optimizer="adamw")
        trainer = tiny_trainer(tmp_path / str(accumulation), model, settings, train=Ragged())
        losses = []
        for _ in range(6):
            losses.append(trainer.step(model).loss)
            trainer.state.step += 1
        results.append((losses, weights(model)))
    (whole_losses, whole), (part_losses, part) = results
    assert part_losses == pytest.approx(whole_losses, rel=1e-5)  # the running total is kept in float32
    for name in whole:
        torch.testing.assert_close(part[name], whole[name], rtol=1e-6, atol=1e-9)


def test_the_loss_of_a_step_is_the_mean_over_all_its_predictions(tmp_path):
    model = tiny_model()
    trainer = tiny_trainer(tmp_path, model, train=Ragged())
    batch = CausalLM().collate([Ragged().example(0, i) for i in range(4)])
    targets = batch["targets"].flatten()
    expected = F.cross_entropy(model(batch["ids"]).flatten(0, 1), targets, ignore_index=IGNORE_INDEX).item()
    result = trainer.step(model)
    assert result.loss == pytest.approx(expected, rel=1e-6)
    assert result.n_targets == (targets != IGNORE_INDEX).sum() and result.grad_norm > 0


def test_validation_counts_every_token_but_the_first_exactly_once(tmp_path):
    model, tokens = tiny_model(), torch.from_numpy(tiny_tokens(61, seed=1).astype(np.int64))
    losses = []
    for start in range(0, 60, 8):  # the plain way: one window after the other
        window = tokens[start : start + 9]
        losses.append(F.cross_entropy(model(window[None, :-1])[0], window[1:], reduction="sum").item())
    expected = sum(losses) / 60
    assert tiny_trainer(tmp_path, model).validate() == pytest.approx(expected, rel=1e-6)
    odd = tiny_trainer(tmp_path, model, tiny_settings(batch_size=1))
    assert odd.validate() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_loop_learns(tmp_path, optimizer):
    settings = tiny_settings(max_steps=150, optimizer=optimizer, learning_rate=0.01, eval_interval=150, batch_size=16)
    trainer = tiny_trainer(tmp_path, settings=settings)
    before = trainer.validate()
    result = trainer.train()
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))  # of tiny_tokens, in nats
    assert before > 2.2, "an untrained model should be near ln 11"
    assert entropy - 0.08 < result.val_loss < entropy + 0.12, "60 predictions of a source whose entropy is 0.56"


@pytest.mark.parametrize("changes", [{"dropout": 0.2}, {"optimizer": "muon"}, {"gradient_accumulation_steps": 2}])
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path, changes):
    dropout = changes.pop("dropout", 0.0)
    settings = tiny_settings(**changes)
    model = tiny_model(dropout=dropout)
    tiny_trainer(tmp_path / "whole", model, settings).train()

    tiny_trainer(tmp_path / "parts", tiny_model(dropout=dropout), settings).train()  # to its end …
    for folder in (tmp_path / "parts" / "checkpoints").glob("step-00000012"):  # … and then lose its last part
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    other = tiny_model(seed=5, dropout=dropout)
    trainer = tiny_trainer(tmp_path / "parts", other, settings)
    trainer.resume()
    assert trainer.state.step == 6
    torch.rand(17)  # whatever else used the global generator makes no difference
    trainer.train()
    assert_same(weights(model), weights(other))
    whole, parts = (
        [(m["step"], m["loss"]) for m in read_metrics(tmp_path / name) if "loss" in m] for name in ("whole", "parts")
    )
    assert whole == parts, "the log of a resumed run has every step once, with the same loss"


def test_dropout_differs_between_steps_and_repeats_with_the_seed(tmp_path):
    model = tiny_model(dropout=0.5)
    trainer = tiny_trainer(tmp_path, model, tiny_settings(learning_rate=1e-9, weight_decay=0.0), train=Same())
    losses = []
    for step in (0, 1, 0):
        trainer.state.step = step
        losses.append(trainer.step(model).loss)
    assert losses[0] != pytest.approx(losses[1], rel=1e-4), "two steps on the same example drop different activations"
    assert losses[0] == pytest.approx(losses[2], rel=1e-5), "the same step drops the same ones"


class Same:
    """The same example forever."""

    def example(self, seed, index):
        return tiny_tokens()[:9].astype(np.int64)


def test_a_loss_that_is_no_number_stops_with_step_checkpoint_and_causes(tmp_path):
    class Poisoned(CausalLM):
        calls = 0

        def loss_sums(self, model, batch):
            losses = super().loss_sums(model, batch)
            if model.training:
                self.calls += 1
            return {"causal": losses["causal"] * (float("nan") if self.calls == 9 else 1.0)}

    model = tiny_model()
    with pytest.raises(UserError) as error:
        tiny_trainer(tmp_path, model, objective=Poisoned()).train()
    text = str(error.value)
    assert "nan at step 9" in text and "step-00000006" in text
    assert "(1)" in text and "(2)" in text and "(3)" in text
    assert all(torch.isfinite(p).all() for p in model.parameters()), "the poisoned step must not touch the weights"


def test_a_gradient_that_is_no_number_stops_before_it_touches_the_weights(tmp_path):
    class Poisoned(CausalLM):
        """An objective with a finite loss whose gradient (of a square root at zero) is not finite."""

        def loss_sums(self, model, batch):
            losses = super().loss_sums(model, batch)
            zero = (losses["causal"] * 0.0).sqrt() if model.training else 0.0
            return {"causal": losses["causal"] + zero}

    model = tiny_model()
    with pytest.raises(UserError, match="the gradient is nan at step 1"):
        tiny_trainer(tmp_path, model, objective=Poisoned()).train()
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert not (tmp_path / "checkpoints").exists()


def test_ctrl_c_finishes_the_step_saves_and_can_be_resumed(tmp_path):
    class Interrupting(Same):
        def example(self, seed, index):
            if index == 4 * 3:  # in the middle of step 4
                signal.raise_signal(signal.SIGINT)
            return super().example(seed, index)

    handler = signal.getsignal(signal.SIGINT)
    result = tiny_trainer(tmp_path, train=Interrupting()).train()
    assert result.interrupted and result.state.step == 4
    trainer = tiny_trainer(tmp_path)
    trainer.resume()
    assert trainer.state.step == 4
    assert signal.getsignal(signal.SIGINT) is handler, "the handler is given back"


class Ringing(list):
    """Validation examples, one of which sends a signal when it is read for the nth time."""

    def __init__(self, examples, number, nth):
        super().__init__(examples)
        self.number, self.left = number, nth

    def __getitem__(self, index):
        if index == 5:
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(self.number)
        return super().__getitem__(index)


@pytest.mark.parametrize("nth, step", [(1, 6), (2, 12)])  # in the first validation, in that of the last step
def test_a_stop_in_a_validation_is_heard_and_a_resumed_run_repeats_it(nth, step, tmp_path, capsys):
    whole_model, model = tiny_model(), tiny_model()
    whole = tiny_trainer(tmp_path / "whole", whole_model)
    whole.train()
    stopped = tiny_trainer(tmp_path / "run", model)
    stopped.val = Ringing(stopped.val, signal.SIGTERM, nth)
    result = stopped.train()
    assert result.interrupted and result.stop_status == 143 and result.state.step == step
    assert capsys.readouterr().err.count("stopping, as soon as it can be saved") == 1
    assert [m["step"] for m in read_metrics(tmp_path / "run") if "val_loss" in m] == [6][: nth - 1]
    resumed = tiny_trainer(tmp_path / "run", model)
    resumed.resume()
    result = resumed.train()
    assert not result.interrupted and result.state == whole.state
    assert_same(weights(whole_model), weights(model))
    losses = [[m for m in read_metrics(tmp_path / run) if "val_loss" in m] for run in ("run", "whole")]
    assert losses[0] == losses[1]


def test_a_stop_after_the_last_validation_is_heard(tmp_path):
    def sample(step, val_loss):
        signal.raise_signal(signal.SIGINT)
        return {}

    result = tiny_trainer(tmp_path, settings=tiny_settings(eval_interval=12), after_validation=sample).train()
    assert result.stop_status == 130 and result.state.validated_step == 12


def test_validation_leaves_no_trace_in_training(tmp_path):
    often, seldom = tiny_model(dropout=0.1), tiny_model(dropout=0.1)
    tiny_trainer(tmp_path / "a", often, tiny_settings(eval_interval=1)).train()
    tiny_trainer(tmp_path / "b", seldom, tiny_settings(eval_interval=12)).train()
    assert_same(weights(often), weights(seldom))


def test_metrics_are_json_lines_with_what_a_plot_needs(tmp_path):
    tiny_trainer(tmp_path, after_validation=lambda step, loss: {"perplexity": 2.0}).train()
    lines = read_metrics(tmp_path)
    assert [m["step"] for m in lines if "val_loss" in m] == [6, 12]
    assert all("perplexity" in m for m in lines if "val_loss" in m)
    assert {"loss", "learning_rate", "grad_norm", "tokens_per_second"} <= set(lines[0])


def test_bf16_trains_on_the_cpu_and_keeps_its_weights_in_fp32(tmp_path):
    model = tiny_model()
    result = tiny_trainer(tmp_path, model, tiny_settings(precision="bf16")).train()
    assert np.isfinite(result.val_loss) and all(p.dtype == torch.float32 for p in model.parameters())
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        tiny_trainer(tmp_path, settings=tiny_settings(precision="fp16"))


def test_compile_without_a_compiler_is_reported_and_training_continues(tmp_path, monkeypatch):
    def no_compiler(*args, **kwargs):
        raise RuntimeError("no C++ compiler found\nand a long trace")

    monkeypatch.setattr(torch, "compile", no_compiler)
    printed = []
    result = tiny_trainer(tmp_path, settings=tiny_settings(compile=True), say=printed.append).train()
    assert result.val_loss and any("no C++ compiler found" in line and "without it" in line for line in printed)


# ── memory ──

ALLOCATORS = [
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to …"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),  # on Windows
    RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError(),
]


@pytest.mark.parametrize("error", ALLOCATORS, ids=["cpu", "windows", "mps", "cuda", "python"])
def test_a_full_memory_says_what_to_change_and_the_last_checkpoint_is_intact(error, tmp_path, monkeypatch):
    trainer = tiny_trainer(tmp_path, settings=tiny_settings(max_steps=8, eval_interval=2))
    step = trainer.step

    def step_or_fail(*arguments):
        if trainer.state.step == 5:
            raise error
        return step(*arguments)

    monkeypatch.setattr(trainer, "step", step_or_fail)
    with pytest.raises(UserError, match=r"not enough memory: lower --batch-size .*step-00000004, is intact\.$"):
        trainer.train()
    again = tiny_trainer(tmp_path)
    again.resume()
    assert again.state.step == 4


def test_another_error_is_not_about_memory(tmp_path, monkeypatch):
    trainer = tiny_trainer(tmp_path)
    monkeypatch.setattr(trainer, "step", lambda *arguments: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="size"):
        trainer.train()


def test_a_batch_that_cannot_fit_is_refused_before_it_is_made(tmp_path):
    with pytest.raises(
        UserError, match="a step with batch_size 2,000,000,000 needs at least .* GiB of memory, and this"
    ):
        tiny_trainer(tmp_path, settings=tiny_settings(batch_size=2_000_000_000))
