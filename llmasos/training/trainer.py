"""The training loop: one for every model and every objective.

It knows a model, an objective, data and a recipe, and does for each step:

    examples of this step  →  micro-batches  →  loss  →  gradients  →  clip  →  optimizer

The loss of a step is the sum of the losses of all its predictions, divided by their number over the *whole* global
batch: all accumulation steps and all processes. So it makes no difference in how many parts a batch is computed.

Everything random is a function of (seed, step, row or rank). A step can be replayed alone, a resumed run needs nothing
but its step number, and the number of processes does not change what is learned from.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from llmasos.errors import UserError
from llmasos.objectives import Batch, Objective
from llmasos.training.checkpoints import State, all_checkpoints, latest_checkpoint, load_checkpoint, save_checkpoint
from llmasos.training.device import autocast, compile_model, matmul_peak, pick_precision
from llmasos.training.distributed import DistributedContext, maybe_no_sync, to_device
from llmasos.training.log import MetricsLog, Progress
from llmasos.training.optimizers import make_optimizers, set_learning_rate
from llmasos.training.recipe import Recipe
from llmasos.training.schedules import learning_rate_factor


class TrainingData(Protocol):
    """An endless stream of training examples, in an order that depends on the seed alone."""

    examples_per_epoch: int  # after so many, everything has been seen about once

    def example(self, seed: int, index: int) -> Any:
        """Training example number `index` (0, 1, 2, …)."""


@dataclass
class Result:
    """How a run ended."""

    state: State
    val_loss: float | None  # of the last validation, in nats per prediction
    interrupted: bool  # stopped early by Ctrl-C or SIGTERM, with everything saved


class Trainer:
    """One run: put together here, carried out by `train()`.

    Args:
        model: on its device.
        objective: what to learn.
        train: where training examples come from.
        val: the validation examples; every one of them is used in every validation.
        recipe: how to learn.
        run: the run's folder.
        save_tokenizer: writes the tokenizer into a checkpoint's folder.
        world: this process's place among others.
        flops_per_token: what a prediction costs, for the MFU; None = not shown.
        unit: what is predicted, in the plural, for the speed.
        after_validation: called in the main process with (step, val_loss); returns further numbers for the log.
        say: prints one line for the user.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        train: TrainingData,
        val: Sequence[Any],
        recipe: Recipe,
        run: Path,
        save_tokenizer: Callable[[Path], None] = lambda folder: None,
        world: DistributedContext | None = None,
        flops_per_token: float | None = None,
        unit: str = "tokens",
        after_validation: Callable[[int, float], dict[str, float]] = lambda step, val_loss: {},
        say: Callable[[str], None] = print,
    ):
        self.model, self.objective, self.train_data, self.val = model, objective, train, val
        self.recipe, self.run, self.save_tokenizer = recipe, Path(run), save_tokenizer
        self.world, self.say = world or DistributedContext(), say
        self.flops_per_token, self.unit, self.after_validation = flops_per_token, unit, after_validation
        self.rows = self.world.shard(recipe.batch_size)
        if len(self.rows) % recipe.gradient_accumulation_steps:
            raise UserError(
                f"each process has {len(self.rows)} rows of the batch, which cannot be computed in "
                f"{recipe.gradient_accumulation_steps} equal parts; choose another batch_size or gradient_accumulation_steps."
            )
        self.device = next(model.parameters()).device
        self.precision = pick_precision(recipe.precision, self.device)
        self.optimizers = make_optimizers(model, recipe)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")
        self.state = State()

    def resume(self) -> None:
        """Go back to the run's newest sound checkpoint; damaged ones are named and skipped.

        A run that was stopped before its first checkpoint begins again.
        """
        if not all_checkpoints(self.run):
            return
        self.state = load_checkpoint(latest_checkpoint(self.run, self.say), self.model, self.optimizers)
        if self.state.scaler:
            self.scaler.load_state_dict(self.state.scaler)

    def train(self) -> Result:
        """Take the steps that are left, with a validation and a checkpoint every `eval_interval` and at the end.

        Raises:
            UserError: the loss is no longer a number, or a checkpoint cannot be written. Earlier ones are intact.
        """
        recipe, main = self.recipe, self.world.is_main
        if recipe.compile:
            compile_model(self.model, self.say)
        ddp_model = self.world.wrap(self.model)
        peak = matmul_peak(self.device, self.precision) * self.world.size if self.flops_per_token else None
        log = MetricsLog(self.run, self.state.step) if main else None
        progress = Progress(self.state.step, recipe.max_steps, self.unit, main)
        val_loss, smooth_seconds = None, 0.0
        try:
            with stop_signals() as stop:
                while self.state.step < recipe.max_steps:
                    start = time.perf_counter()
                    loss, tokens, gradient_norm, stopping = self.step(ddp_model, stop.is_set)
                    self.state.step += 1
                    elapsed = time.perf_counter() - start
                    smooth_seconds = 0.9 * smooth_seconds + 0.1 * elapsed if smooth_seconds else elapsed
                    rate = tokens / smooth_seconds
                    mfu = rate * self.flops_per_token / peak if peak else None
                    progress.update(loss, rate, mfu)
                    step = self.state.step
                    if main and (step % recipe.log_interval == 0 or step == recipe.max_steps):
                        log.write(
                            step,
                            loss=loss,
                            learning_rate=self.learning_rate(step - 1),
                            gradient_norm=gradient_norm,
                            mfu=mfu,
                            **{f"{self.unit}_per_second": round(rate)},
                        )
                    if step % recipe.eval_interval == 0 or step == recipe.max_steps:
                        val_loss = self.validate()
                        if not math.isfinite(val_loss):
                            raise UserError(self.explain_divergence("validation loss", val_loss))
                        if self.state.best_loss is None or val_loss < self.state.best_loss:
                            self.state.best_loss, self.state.best_step = val_loss, step
                        self.say(f"step {step:>6,}  train loss {loss:.4f}  val loss {val_loss:.4f}")
                        if main:
                            log.write(step, val_loss=val_loss, **self.after_validation(step, val_loss))
                        self.save()
                    elif stopping:
                        self.save()
                    if stopping and step < recipe.max_steps:
                        return Result(self.state, val_loss, interrupted=True)
        finally:
            progress.close()
            if log is not None:
                log.close()
        return Result(self.state, val_loss, interrupted=False)

    def step(
        self, ddp_model: nn.Module, asked_to_stop: Callable[[], bool] = lambda: False
    ) -> tuple[float, int, float, bool]:
        """One optimizer step.

        Args:
            ddp_model: the model, wrapped for data-parallel training if there are several processes.
            asked_to_stop: whether this process has been asked to stop.

        Returns:
            The loss in nats per prediction, the number of predictions, the norm of the gradient before clipping, and
            whether any process has been asked to stop.
        """
        step, recipe = self.state.step, self.recipe
        ddp_model.train()
        batches = list(self.micro_batches(step))
        counts = self.total_counts(batches)

        total = torch.zeros((), device=self.device)  # the step's loss, as far as it was computed in this process
        for i, batch in enumerate(batches):
            last = i == len(batches) - 1
            torch.manual_seed(derive_seed(recipe.seed, step, self.world.rank, i))  # for dropout
            with maybe_no_sync(ddp_model, last):
                with autocast(self.device, self.precision):
                    losses = self.objective.loss_sums(ddp_model, batch)
                    loss = sum(losses[name] / counts[name] for name in losses)
                # DDP averages over processes; the loss is already divided by the count of all, so undo that
                self.scaler.scale(loss * self.world.size).backward()
            total += loss.detach()
        value, stopping = self.world.all_reduce_sum([total.item(), float(asked_to_stop())], self.device)
        if not math.isfinite(value):
            raise UserError(self.explain_divergence("loss", value))

        for optimizer in self.optimizers:
            self.scaler.unscale_(optimizer)
        limit = recipe.grad_clip or math.inf
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), limit).item()
        if math.isfinite(norm):
            set_learning_rate(self.optimizers, self.learning_rate(step))
            for optimizer in self.optimizers:
                self.scaler.step(optimizer)
        elif not self.scaler.is_enabled():
            raise UserError(self.explain_divergence("gradient", norm))
        # else an fp16 gradient overflowed, which is no accident: skip this step, and `update` lowers the scale
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.scaler.update()
        return value, sum(counts.values()), norm, stopping > 0.0

    def micro_batches(self, step: int) -> Iterator[Batch]:
        """This process's rows of the global batch of a step, in `gradient_accumulation_steps` parts, on the device."""
        seed, n = self.recipe.seed, len(self.rows) // self.recipe.gradient_accumulation_steps
        for first in range(self.rows.start, self.rows.stop, n):
            rows = range(first, first + n)
            examples = [self.train_data.example(seed, step * self.recipe.batch_size + row) for row in rows]
            rngs = [lambda row=row: np.random.default_rng([seed, step, row]) for row in rows]
            yield to_device(self.objective.collate(examples, rngs), self.device)

    def total_counts(self, batches: Sequence[Batch]) -> dict[str, float]:
        """For each term of the loss, the number of predictions in these batches of all processes (at least 1)."""
        counts = [self.objective.n_targets(batch) for batch in batches]
        names = list(counts[0])
        totals = self.world.all_reduce_sum([float(sum(count[name] for count in counts)) for name in names], self.device)
        return {name: max(1.0, total) for name, total in zip(names, totals, strict=True)}

    @torch.inference_mode()
    def validate(self) -> float:
        """The loss over the whole validation set, each prediction once, in nats per prediction."""
        self.model.eval()
        n = (
            2 * len(self.rows) // self.recipe.gradient_accumulation_steps
        )  # without gradients there is room for twice the rows
        names = list(self.objective.n_targets(self.val_batch(range(1))))
        sums, counts = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
        for start in range(self.world.rank * n, len(self.val), self.world.size * n):
            batch = self.val_batch(range(start, min(start + n, len(self.val))))
            with autocast(self.device, self.precision):
                losses = self.objective.loss_sums(self.model, batch)
            for name, count in self.objective.n_targets(batch).items():
                sums[name] += losses[name].item()
                counts[name] += count
        totals = self.world.all_reduce_sum([*sums.values(), *counts.values()], self.device)
        return sum(s / c for s, c in zip(totals[: len(names)], totals[len(names) :], strict=True))

    def val_batch(self, rows: range) -> Batch:
        """Some of the validation examples as a batch on the device, the same in every validation."""
        rngs = [lambda row=row: np.random.default_rng([self.recipe.seed, row]) for row in rows]
        return to_device(self.objective.collate([self.val[row] for row in rows], rngs), self.device)

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step (counted from 0)."""
        r = self.recipe
        factor = learning_rate_factor(step, r.max_steps, r.warmup_steps, r.schedule, r.min_lr_ratio)
        return r.learning_rate * factor

    def save(self) -> None:
        """Write a checkpoint (the main process does; the others wait)."""
        if self.world.is_main:
            self.state.scaler = self.scaler.state_dict()
            save_checkpoint(self.run, self.state, self.model, self.optimizers, self.save_tokenizer)
        self.world.barrier()

    def explain_divergence(self, what: str, value: float) -> str:
        """What to tell the user when the loss, or another number that decides, is no longer a number."""
        r, kept = self.recipe, all_checkpoints(self.run)
        good = f"the last good checkpoint is {kept[-1]}" if kept else "there is no checkpoint yet"
        clipping = (
            f"clip them harder than --grad-clip {r.grad_clip:g}" if r.grad_clip else "clip them with --grad-clip 1"
        )
        overflow = "the number format overflows: try --precision bf16 or fp32"
        other = "something in the model or the objective divides by zero or takes the logarithm of zero"
        return (
            f"the {what} is {value} at step {self.state.step + 1}, so training stops; {good}. Likely causes: "
            f"(1) the learning rate {r.learning_rate:g} is too high: try a third, or a longer warmup than {r.warmup_steps}; "
            f"(2) gradients explode: {clipping}; (3) {overflow if self.precision == 'fp16' else other}."
        )


def derive_seed(*numbers: int) -> int:
    """One seed from several numbers, such that any change gives an unrelated seed."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


@contextmanager
def stop_signals():
    """While open, Ctrl-C and SIGTERM only set the event that it yields; a second Ctrl-C interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # Python delivers signals to the main thread only
        yield stop
        return

    def ask_to_stop(number, frame):
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
