"""Call a function on a case and record what happens: its output, its gradients, and anything that it should not do.

The same few lines observe the student's function (in its own process), the reference and the misconceptions, so the
comparison is always like with like.
"""

import copy
import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lessons.machinery.comparison import Opaque, decode, difference, encode
from lessons.machinery.exercises import Case
from lessons.machinery.sandbox import refusal_in


@dataclass
class Failure:
    """An exception, with the facts that the student needs to know about it.

    Attributes:
        kind: the exception's class, or one of the grader's own: "Forbidden", "Refused" and "TimeUp".
        message: the exception's message.
        line: the line of the student's file that raised it, counted from 1; None if none did.
    """

    kind: str
    message: str
    line: int | None = None


@dataclass
class Observation:
    """What happened when a function was called on a case.

    Attributes:
        output: the value that it returned.
        gradients: one for each floating-point input, None where no gradient arrived; None if not requested.
        flows: whether the output depends on its inputs through differentiable operations.
        changed: the inputs that the call modified.
        second: the output of a second call with the same inputs, if it differs.
        failure: the exception, if one ended the call.
        gradient_failure: the exception, if computing the gradients ended in one.
        device: why the function would fail on a device other than the CPU, if it would.
        printed: the text that it printed.
    """

    output: Any = None
    gradients: list[Any] | None = None
    flows: bool = True
    changed: list[str] = field(default_factory=list)
    second: Any = None
    unstable: bool = False
    failure: Failure | None = None
    gradient_failure: Failure | None = None
    device: str | None = None
    printed: str = ""

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, to be sent to another process."""
        fields = dict(vars(self))
        for name in ("output", "gradients", "second"):
            fields[name] = encode(fields[name])
        for name in ("failure", "gradient_failure"):
            fields[name] = vars(fields[name]) if fields[name] else None
        return fields

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Observation":
        """Reverse `to_json`, for an untrusted message. Raises ValueError if it is malformed."""
        try:
            values = {name: decode(fields[name]) for name in ("output", "gradients", "second")}
            failures = {
                name: Failure(
                    one_line(f["kind"]), one_line(f["message"]), f["line"] if type(f["line"]) is int else None
                )
                if (f := fields[name])
                else None
                for name in ("failure", "gradient_failure")
            }
            changed = [one_line(name) for name in fields["changed"]][:20]
            device = None if fields["device"] is None else one_line(fields["device"])
            flags = {name: bool(fields[name]) for name in ("flows", "unstable")}
            return cls(**values, **failures, **flags, changed=changed, device=device, printed=str(fields["printed"]))
        except (KeyError, TypeError, AttributeError, RuntimeError, RecursionError) as error:
            raise ValueError(f"not an observation: {error}") from error


def one_line(text: Any) -> str:
    """A text of the submission in one line: in a table, a second line could be that of another submission."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(str(text).split()))[:500]


def observe(
    function: Callable[..., Any],
    case: Case,
    gradients: bool = False,
    file: str | None = None,
    on_devices: bool = False,
    printed: Callable[[], str] = lambda: "",
) -> Observation:
    """Call the function on the case: once for its output, and again, with other random numbers, for gradients.

    Args:
        function: the student's function, the reference, or a misconception.
        case: the inputs.
        gradients: whether to compute gradients.
        file: the student's file, whose lines are reported.
        on_devices: whether to check that it would work on another device.
        printed: a function that returns the text printed so far.
    """
    observation = Observation()
    inputs = copy.deepcopy(case.inputs)
    try:
        seed_everything(0)
        observation.output = case.call(function, inputs)
        observation.changed = [name for name, value in case.inputs.items() if was_modified(value, inputs[name])]
        if isinstance(observation.output, Tensor):  # a later in-place operation must not change the recorded output
            observation.output = observation.output.detach().clone()
    except BaseException as error:
        observation.failure = describe(error, file)
    observation.printed = printed()
    if observation.failure is not None:
        return observation

    try:
        seed_everything(1)
        inputs = copy.deepcopy(case.inputs)
        leaves = [x.requires_grad_() for x in inputs.values() if is_float(x)] if gradients else []
        output = case.call(function, inputs)
        if difference(decode(encode(observation.output)), decode(encode(output)), 1e-3, 1e-4) is not None:
            observation.second, observation.unstable = output, not isinstance(decode(encode(output)), Opaque)
        if gradients:
            loss = weighted_sum(output)
            observation.flows = loss is not None
            if loss is not None:
                observation.gradients = list(torch.autograd.grad(loss, leaves, allow_unused=True))
    except BaseException as error:
        observation.gradient_failure = describe(error, file)
    if on_devices and observation.gradient_failure is None:
        observation.device = device_problem(function, case)
    return observation


def weighted_sum(output: Any) -> Tensor | None:
    """A number that depends differently on every number of the output; None if nothing in it has a gradient."""
    tensors = [output] if isinstance(output, Tensor) else list(output) if isinstance(output, list | tuple) else []
    tensors = [x for x in tensors if is_float(x) and x.requires_grad]
    if not tensors:
        return None
    return sum((x.double() * torch.linspace(-1, 2, x.numel()).view_as(x)).sum() for x in tensors)


def device_problem(function: Callable[..., Any], case: Case) -> str | None:
    """Why the function would fail on a GPU, determined without one.

    torch's "meta" device computes shapes only. A tensor created without `device=…` is on the CPU, and combining it
    with one on the meta device raises the same error as on a GPU. Any other failure there proves nothing.
    """
    if case.run is not None or not any(isinstance(x, Tensor) for x in case.inputs.values()):
        return None
    try:
        case.call(function, {n: x.to("meta") if isinstance(x, Tensor) else x for n, x in case.inputs.items()})
    except BaseException as error:
        message = str(error)
        if "same device" in message or "two devices" in message or "meta, " in message:
            return "a tensor is created on the CPU regardless of the inputs' device; pass device=x.device."
    return None


def was_modified(before: Any, after: Any) -> bool:
    """Whether a call modified an input; always False for objects that cannot be compared."""
    before = decode(encode(before))
    return not isinstance(before, Opaque) and difference(before, decode(encode(after)), 0.0, 0.0) is not None


def is_float(value: Any) -> bool:
    """Whether the value can have a gradient."""
    return isinstance(value, Tensor) and value.is_floating_point()


def seed_everything(seed: int) -> None:
    """Seed every global random generator, so that even code that uses one by mistake is reproducible.

    `torch.manual_seed` also looks for GPUs, which takes a millisecond, several times as long as most cases.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)


def describe(error: BaseException, file: str | None) -> Failure:
    """Describe an exception, with the last line of the student's file in its traceback."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    line = lines[-1] if lines else None
    if (refusal := refusal_in(error)) is not None:
        return Failure("SandboxViolation", refusal[:500], line)
    return Failure(type(error).__name__, " ".join(str(error).split())[:500], line)


def judged(case: Case, observation: Observation) -> Observation:
    """Replace the output in a worker's observation by the judge's result for it, if the case has a judge."""
    if case.judge is None or observation.failure is not None:
        return observation
    output = case.verdict(observation.output)
    unstable = observation.unstable and difference(output, case.verdict(observation.second), 0.0, 0.0) is not None
    return replace(observation, output=output, unstable=unstable)
