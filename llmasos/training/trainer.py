"""The training loop, the same for every model and every objective; all randomness is a function of the seed and step.

It is given a model, an objective, data and settings, and for each step computes:

    examples of this step  →  micro-batches  →  loss  →  gradients  →  clipping  →  optimizer

Each term of the loss is summed over its targets and divided by their number in the *whole* global batch: all
micro-batches and all processes. So the number of parts into which a batch is split makes no difference. Then the terms
are added.

Everything random is a function of (seed, step, row or rank). So a step can be replayed by itself, a checkpoint needs no
state of a random number generator, and the number of processes does not change what the model is trained on.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from llmasos.console import Say, say, track
from llmasos.errors import UserError, explain_out_of_memory
from llmasos.models import Model
from llmasos.models.memory_checks import check_fits
from llmasos.objectives import LOAD_BALANCING, Batch, LoadBalancing, Objective
from llmasos.signals import stop_requests
from llmasos.training.checkpoints import (
    TrainingState,
    all_checkpoints,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from llmasos.training.device import autocast, compile_model, known_matmul_peak, pick_precision, seed_generators
from llmasos.training.distributed import DistributedContext, maybe_no_sync, to_device
from llmasos.training.log import RunLog
from llmasos.training.optimizers import learning_rate_factor, make_optimizers, set_learning_rate
from llmasos.training.recipe import TrainingSettings

STOPPING = "stopping, as soon as it can be saved; press Ctrl-C again to stop at once."
STOPPED_ELSEWHERE = 143  # the exit status if another process was asked to stop: that of SIGTERM


class TrainingData(Protocol):
    """An endless stream of training examples, in an order that depends only on the seed.

    A source that produces several examples at once faster, such as texts that the model itself generates, also has a
    method `examples(seed, indices)`; validation examples may have one, too.
    """

    examples_per_epoch: int  # after this many examples, all data has been seen about once

    def example(self, seed: int, index: int) -> Any:
        """Training example number `index` (0, 1, 2, …)."""


@dataclass(frozen=True)
class StepResult:
    """The result of one optimizer step, over the global batch of all processes.

    Attributes:
        loss: the mean loss of the targets in nats, added up over the terms of the objective.
        n_targets: the number of targets, of all terms.
        grad_norm: the norm of the gradient before clipping.
        stop_requested: whether any process has been asked to stop.
        terms: the mean of each term of the objective.
    """

    loss: float
    n_targets: float
    grad_norm: float
    stop_requested: bool
    terms: dict[str, float]


@dataclass(frozen=True)
class Result:
    """The outcome of a run.

    Attributes:
        state: the training state after the last step.
        val_loss: the loss of the last validation, in nats; None if there was none.
        stop_status: if a signal stopped it early, with everything saved, the exit status for the shell; else 0.
    """

    state: TrainingState
    val_loss: float | None
    stop_status: int = 0

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C, SIGTERM or a closed terminal stopped it early."""
        return self.stop_status != 0


class Trainer:
    """Trains a model: create a trainer, call `resume()` to continue a run, then `train()`.

    Args:
        model: the model, on its device.
        objective: turns examples into batches, and a model and a batch into a loss.
        train: the source of training examples.
        val: the validation examples; every validation uses all of them.
        settings: the hyperparameters.
        run: the run's folder.
        save_tokenizer: writes the tokenizer into a checkpoint's folder.
        origin: the settings and inputs that the run was started with, saved in every checkpoint (see `run_folder`).
        context: this process's rank among several.
        flops_per_token: the cost of a prediction, for the MFU; None = not shown.
        unit: what a target is, in the plural ("tokens"), for the throughput.
        after_validation: called in the main process with (step, val_loss); returns further numbers for the log.
        say: prints one line for the user.
    """

    def __init__(
        self,
        model: Model,
        objective: Objective,
        train: TrainingData,
        val: Sequence[Any],
        settings: TrainingSettings,
        run: Path,
        save_tokenizer: Callable[[Path], None] = lambda folder: None,
        origin: Mapping[str, Any] | None = None,
        context: DistributedContext | None = None,
        flops_per_token: float | None = None,
        unit: str = "tokens",
        after_validation: Callable[[int, float], dict[str, float]] = lambda step, val_loss: {},
        say: Say = say,
    ):
        c = model.config
        uses_experts = c.n_experts > 1 and (c.router_aux_loss_coef or c.capacity_factor)
        self.load_balancing = LoadBalancing(objective, model.config) if uses_experts else None
        self.objective: Objective = self.load_balancing or objective
        self.model, self.train_data, self.val = model, train, val
        self.settings, self.run, self.save_tokenizer = settings, Path(run), save_tokenizer
        self.origin = origin or {}
        self.context, self.say = context or DistributedContext(), say
        self.flops_per_token, self.unit, self.after_validation = flops_per_token, unit, after_validation
        self.rows = self.context.shard(settings.batch_size)
        if len(self.rows) % settings.gradient_accumulation_steps:
            raise UserError(
                f"each process has {len(self.rows)} rows of the batch, which cannot be split into "
                f"{settings.gradient_accumulation_steps} equal micro-batches; choose another batch_size or "
                "gradient_accumulation_steps."
            )
        self.device = next(model.parameters()).device
        self.weights: Mapping[str, float] | None = getattr(self.objective, "weights", None)
        self.val_weights: Mapping[str, float] | None = getattr(self.objective, "val_weights", self.weights)
        self.val_terms: dict[str, float] = {}  # the mean of each term in the last validation
        self.check_batch_fits()
        self.precision = pick_precision(settings.precision, self.device)
        self.optimizers = make_optimizers(model, settings)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")
        self.state = TrainingState()

    def train(self) -> Result:
        """Run the remaining steps, with a validation and a checkpoint every `eval_interval` steps and at the end.

        Raises:
            UserError: the loss is no longer a number, the memory is full, or a checkpoint cannot be written. Earlier
                ones are intact.
        """
        settings, state = self.settings, self.state
        train_loss = val_loss = None
        if settings.compile:
            compile_model(self.model, self.say)
        ddp_model = self.context.wrap(self.model)
        stop_signals = stop_requests(STOPPING if self.context.is_main else None)
        with explain_out_of_memory(self.memory_advice), stop_signals as stop, self.open_log() as log:
            stopping = False
            while True:
                if should_validate := not stopping and self.should_validate():
                    loss = self.validate(stop.is_set)
                    if stopping := loss is None:
                        continue
                    val_loss = loss
                    self.record_validation(train_loss, val_loss, log)
                if should_validate or stopping:
                    self.save()
                if stopping or state.step >= settings.max_steps:
                    break
                start = time.perf_counter()
                result = self.step(ddp_model, stop.is_set)
                seconds = time.perf_counter() - start
                state.step += 1
                train_loss, stopping = result.loss, result.stop_requested
                should_log = state.step == settings.max_steps or state.step % settings.log_interval == 0
                log.step(state.step, result, self.learning_rate(state.step - 1), seconds, should_log)
        if stop.is_set():
            return Result(state, val_loss, stop.status)
        return Result(state, val_loss, STOPPED_ELSEWHERE if stopping else 0)

    def should_validate(self) -> bool:
        """Whether a validation is due (every `eval_interval` steps and at the end) and has not run at this step."""
        step, settings = self.state.step, self.settings
        is_due = step >= settings.max_steps or step % settings.eval_interval == 0
        return is_due and step > 0 and step != self.state.validated_step

    def step(self, ddp_model: nn.Module, stop_requested: Callable[[], bool] = lambda: False) -> StepResult:
        """Run one step: one optimizer update on a batch, or several on the same batch (`updates_per_batch`).

        Args:
            ddp_model: the model, wrapped for data-parallel training if there are several processes.
            stop_requested: whether this process has been asked to stop.
        """
        batches = list(self.micro_batches(self.state.step))
        n_targets = self.total_targets(batches)
        first, *_ = [
            self.update(ddp_model, batches, n_targets, update, stop_requested)
            for update in range(self.settings.updates_per_batch)
        ]
        return first

    def update(
        self,
        ddp_model: nn.Module,
        batches: Sequence[Batch],
        n_targets: dict[str, float],
        update: int,
        stop_requested: Callable[[], bool],
    ) -> StepResult:
        """Run one optimizer update on the micro-batches of a step.

        Args:
            ddp_model, stop_requested: as in `step`.
            batches: the micro-batches of this process.
            n_targets: the number of targets in the whole global batch, for each term.
            update: the index of the update within its step.
        """
        ddp_model.train()
        if self.load_balancing is not None:
            self.load_balancing.n_chosen = self.count_choices(self.load_balancing, batches, update)
        local = torch.zeros(len(n_targets), device=self.device)  # the part of each term that this process computes
        for i, batch in enumerate(batches):
            self.seed_dropout(update * len(batches) + i)
            with maybe_no_sync(ddp_model, last=i == len(batches) - 1):
                with autocast(self.device, self.precision):
                    loss_sums = self.objective.loss_sums(ddp_model, batch)
                    means = {term: loss_sums[term] / n_targets[term] for term in n_targets}
                    batch_loss = weighted_sum(means, self.weights)
                # DDP averages gradients over the processes, but this loss is already divided by the targets of all
                # of them. Multiplying by the number of processes turns the average into the sum.
                self.scaler.scale(batch_loss * self.context.size).backward()
            local += torch.stack([mean.detach() for mean in means.values()])
        *means_of_all, stopping = self.context.all_reduce_sum([*local.tolist(), float(stop_requested())], self.device)
        terms = dict(zip(n_targets, means_of_all, strict=True))
        loss = weighted_sum(terms, self.weights)
        if not math.isfinite(loss):
            raise UserError(self.explain_divergence("loss", loss))

        for optimizer in self.optimizers:
            self.scaler.unscale_(optimizer)
        grad_norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.grad_clip or math.inf).item()
        if math.isfinite(grad_norm):
            set_learning_rate(self.optimizers, self.learning_rate(self.state.step))
            for optimizer in self.optimizers:
                self.scaler.step(optimizer)
        elif not self.scaler.is_enabled():
            raise UserError(self.explain_divergence("gradient", grad_norm))
        # else an fp16 gradient overflowed, which is expected: skip this step, and `update` lowers the scale
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.scaler.update()
        counted = [n for term, n in learned(n_targets, self.weights).items() if term != LOAD_BALANCING]
        return StepResult(loss, sum(counted), grad_norm, stopping > 0.0, terms)

    def count_choices(self, objective: LoadBalancing, batches: Sequence[Batch], update: int) -> torch.Tensor | None:
        """How often each expert is chosen in the global batch; None if it is a single micro-batch."""
        if len(batches) == 1 and self.context.size == 1:
            return None
        counts = []
        for i, batch in enumerate(batches):
            self.seed_dropout(update * len(batches) + i)
            with autocast(self.device, self.precision):
                counts.append(objective.count_choices(self.model, batch))
        local = torch.stack(counts).sum(dim=0)  # (layers, E)
        total = self.context.all_reduce_sum(local.flatten().tolist(), self.device)
        return local.new_tensor(total).view_as(local)

    def seed_dropout(self, micro_batch: int) -> None:
        """Set torch's random generator for a micro-batch of this step, counted over the updates of the step."""
        seed = derive_seed(self.settings.seed, self.state.step, self.context.rank, micro_batch)
        seed_generators(seed, self.device)

    def micro_batches(self, step: int) -> Iterator[Batch]:
        """This process's rows of a step's global batch, as `gradient_accumulation_steps` batches on the device."""
        seed, n = self.settings.seed, len(self.rows) // self.settings.gradient_accumulation_steps
        for first in range(self.rows.start, self.rows.stop, n):
            rows = range(first, first + n)
            indices = range(step * self.settings.batch_size + first, step * self.settings.batch_size + first + n)
            examples = examples_of(self.train_data, seed, indices)
            rngs = [lambda row=row: np.random.default_rng([seed, step, row]) for row in rows]  # binds each row now
            yield to_device(self.objective.collate(examples, rngs), self.device)

    def total_targets(self, batches: Sequence[Batch]) -> dict[str, float]:
        """For each term of the loss, the number of targets in these batches of all processes (at least 1)."""
        counts = [self.objective.n_targets(batch) for batch in batches]
        terms = list(counts[0])
        totals = self.context.all_reduce_sum([float(sum(n[term] for n in counts)) for term in terms], self.device)
        return {term: max(1.0, total) for term, total in zip(terms, totals, strict=True)}

    @torch.inference_mode()
    def validate(self, stop_requested: Callable[[], bool] = lambda: False) -> float | None:
        """The loss over the whole validation set, each target once, in nats per target.

        Args:
            stop_requested: whether this process has been asked to stop. If any has, the result is None.
        """
        self.model.eval()
        n = 2 * len(self.rows) // self.settings.gradient_accumulation_steps  # without gradients, twice as many rows fit
        terms = list(self.objective.n_targets(self.val_batch(range(1))))
        sums, counts = dict.fromkeys(terms, 0.0), dict.fromkeys(terms, 0.0)
        starts = range(self.context.rank * n, len(self.val), self.context.size * n)
        for start in track(starts, "validation") if self.context.is_main else starts:
            if stop_requested():
                break
            batch = self.val_batch(range(start, min(start + n, len(self.val))))
            with autocast(self.device, self.precision):
                loss_sums = self.objective.loss_sums(self.model, batch)
            for term, count in self.objective.n_targets(batch).items():
                sums[term] += loss_sums[term].item()
                counts[term] += count
        numbers = [float(stop_requested()), *sums.values(), *counts.values()]
        stopping, *totals = self.context.all_reduce_sum(numbers, self.device)
        if stopping:
            return None
        means = [s / c for s, c in zip(totals[: len(terms)], totals[len(terms) :], strict=True)]
        self.val_terms = dict(zip(terms, means, strict=True))
        return weighted_sum(self.val_terms, self.val_weights)

    def val_batch(self, rows: range) -> Batch:
        """The validation examples `rows` as a batch on the device, the same in every validation."""
        rngs = [lambda row=row: np.random.default_rng([self.settings.seed, row]) for row in rows]
        return to_device(self.objective.collate(examples_of(self.val, self.settings.seed, rows), rngs), self.device)

    def record_validation(self, train_loss: float | None, val_loss: float, log: RunLog) -> None:
        """Report the validation loss and keep the best one. Raises UserError if it is not a number."""
        state = self.state
        if not math.isfinite(val_loss):
            raise UserError(self.explain_divergence("validation loss", val_loss, state.step))
        if state.best_loss is None or val_loss < state.best_loss:
            state.best_loss, state.best_step = val_loss, state.step
        state.validated_step = state.step
        last = "" if train_loss is None else f"  train loss {train_loss:.4f}"
        measured = {t: mean for t, mean in self.val_terms.items() if self.weights and not self.weights[t]}
        besides = "".join(f"  {term} {mean:.4g}" for term, mean in measured.items())
        self.say(f"step {state.step:>6,}{last}  val loss {val_loss:.4f}{besides}")
        if self.context.is_main:
            numbers = {f"val_{term}": mean for term, mean in measured.items()}
            log.write(state.step, val_loss=val_loss, **numbers, **self.after_validation(state.step, val_loss))

    def open_log(self) -> RunLog:
        """Open the run's log. For the MFU, the machine's peak rate is measured first."""
        mfu_per_rate = None
        if self.flops_per_token:
            mfu_per_rate = self.flops_per_token / (known_matmul_peak(self.device, self.precision) * self.context.size)
        steps = self.state.step, self.settings.max_steps, self.state.validated_step
        return RunLog(self.run, *steps, self.unit, mfu_per_rate, self.context.is_main)

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step (counted from 0)."""
        s = self.settings
        return s.learning_rate * learning_rate_factor(step, s.max_steps, s.warmup_steps, s.schedule, s.min_lr_ratio)

    def save(self) -> None:
        """Write a checkpoint (in the main process, while the others wait)."""
        if self.context.is_main:
            self.state.scaler = self.scaler.state_dict()
            save_checkpoint(self.run, self.state, self.model, self.optimizers, self.save_tokenizer, self.origin)
        self.context.barrier()

    def resume(self) -> None:
        """Load the run's newest valid checkpoint; corrupt ones are reported and skipped.

        A run that was stopped before its first checkpoint starts from the beginning.
        """
        if not all_checkpoints(self.run):
            return
        self.state = load_checkpoint(latest_checkpoint(self.run, self.say), self.model, self.optimizers)
        if self.state.scaler:
            self.scaler.load_state_dict(self.state.scaler)

    def check_batch_fits(self) -> None:
        """Raise UserError if the ids of a step and the residual stream of a micro-batch alone exceed the memory."""
        config, example = self.model.config, self.train_data.example(self.settings.seed, 0)
        batch = self.objective.collate([example], [lambda: np.random.default_rng([self.settings.seed, 0])])
        n_tokens = min(config.context_length, max(tensor.shape[-1] if tensor.dim() else 1 for tensor in batch.values()))
        n_bytes = 8 * len(self.rows) * n_tokens  # of the ids
        n_rows = len(self.rows) // self.settings.gradient_accumulation_steps
        n_bytes += 2 * n_rows * n_tokens * config.n_layers * config.d_model
        check_fits(f"a step with batch_size {self.settings.batch_size:,}", n_bytes, self.memory_advice(), self.device)

    def memory_advice(self) -> str:
        """Advice on what to change when memory runs out."""
        s, checkpoints = self.settings, all_checkpoints(self.run)
        last = f"the last checkpoint, {checkpoints[-1]}, is intact" if checkpoints else "there is no checkpoint yet"
        return (
            f"lower --batch-size (now {s.batch_size}), raise --gradient-accumulation-steps (now "
            f"{s.gradient_accumulation_steps}), or choose a smaller --context-length or model; {last}"
        )

    def explain_divergence(self, what: str, value: float, step: int | None = None) -> str:
        """The message for a loss or a gradient that is no longer finite."""
        s, checkpoints = self.settings, all_checkpoints(self.run)
        last = f"the last good checkpoint is {checkpoints[-1]}" if checkpoints else "there is no checkpoint yet"
        clipping = f"lower --grad-clip from {s.grad_clip:g}" if s.grad_clip else "clip them with --grad-clip 1"
        overflow = "the number format overflows: try --precision bf16 or fp32"
        other = "something in the model or the objective divides by zero or takes the logarithm of zero"
        return (
            f"the {what} is {value} at step {step or self.state.step + 1}, so training stops; {last}. Likely causes: "
            f"(1) the learning rate {s.learning_rate:g} is too high: try a third of it, or more than {s.warmup_steps} "
            f"warmup steps; (2) gradients explode: {clipping}; "
            f"(3) {overflow if self.precision == 'fp16' else other}."
        )


def examples_of(source: Any, seed: int, indices: range) -> list[Any]:
    """The training examples (see `TrainingData`) or validation examples (a sequence) with these indices."""
    if hasattr(source, "examples"):
        return source.examples(seed, indices)
    if hasattr(source, "example"):
        return [source.example(seed, index) for index in indices]
    return [source[index] for index in indices]


def learned(terms: Mapping[str, Any], weights: Mapping[str, float] | None) -> dict[str, Any]:
    """The terms that are part of the loss: all, or those whose weight is not 0."""
    return {term: value for term, value in terms.items() if weights is None or weights[term]}


def weighted_sum(terms: Mapping[str, Any], weights: Mapping[str, float] | None) -> Any:
    """The sum of the terms in the loss, numbers or tensors, each times its weight if there are weights."""
    return sum(value if weights is None else weights[term] * value for term, value in learned(terms, weights).items())


def derive_seed(*numbers: int) -> int:
    """One seed from several numbers; a change in any of them gives an unrelated seed."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
