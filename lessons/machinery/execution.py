"""Try a function on a case and note everything that happens: its output, its gradients, and what it should not do.

The same few lines watch the student's function (in a process of its own), the reference and the misconceptions, so that
what is compared is always like with like.
"""

import copy
import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lessons.machinery.comparison import Foreign, decode, difference, encode
from lessons.machinery.exercises import Case


@dataclass
class Failure:
    """An exception, as the student needs to see it.

    Attributes:
        kind: the exception's class; "Forbidden", "Refused" and "TimeUp" are the grader's own.
        message: what it says.
        line: the line of the student's file that it comes from, counted from 1; None if from none of them.
    """

    kind: str
    message: str
    line: int | None = None


@dataclass
class Observation:
    """What happened when a function was tried on a case.

    Attributes:
        output: what it returned.
        gradients: one for each floating-point input, None where none arrived; None if they were not asked for.
        flows: whether the output depends on its inputs by differentiable operations at all.
        changed: the inputs that were different afterwards.
        second: the output of a second call with the same inputs, if it differs.
        failure: the exception, if one ended the call.
        gradient_failure: the exception, if computing the gradients ended in one.
        device: why the function would fail on another device than the CPU, if it would.
        printed: what was printed.
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
        """As JSON, to be sent to another process."""
        fields = dict(vars(self))
        for name in ("output", "gradients", "second"):
            fields[name] = encode(fields[name])
        for name in ("failure", "gradient_failure"):
            fields[name] = vars(fields[name]) if fields[name] else None
        return fields

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Observation":
        """The reverse of `to_json`, for a message that nobody vouches for. Raises ValueError if it is none."""
        try:
            values = {name: decode(fields[name]) for name in ("output", "gradients", "second")}
            failures = {
                name: Failure(str(f["kind"]), str(f["message"])[:2000], f["line"] if type(f["line"]) is int else None)
                if (f := fields[name])
                else None
                for name in ("failure", "gradient_failure")
            }
            changed = [str(name) for name in fields["changed"]][:20]
            device = None if fields["device"] is None else str(fields["device"])[:500]
            flags = {name: bool(fields[name]) for name in ("flows", "unstable")}
            return cls(**values, **failures, **flags, changed=changed, device=device, printed=str(fields["printed"]))
        except (KeyError, TypeError, AttributeError, RuntimeError, RecursionError) as error:
            raise ValueError(f"not an observation: {error}") from error


def observe(
    function: Callable[..., Any],
    case: Case,
    gradients: bool = False,
    file: str | None = None,
    on_devices: bool = False,
    printed: Callable[[], str] = lambda: "",
) -> Observation:
    """Call the function on the case: once for its output, and once more, with other random numbers, for gradients.

    Args:
        function: the student's, the reference, or a misconception.
        case: what to try it on.
        gradients: whether to ask for gradients.
        file: the student's file, whose lines are reported.
        on_devices: whether to find out if it would work on another device.
        printed: gives what the function has printed so far.
    """
    seen = Observation()
    inputs = copy.deepcopy(case.inputs)
    try:
        seed_everything(0)
        seen.output = case.call(function, inputs)
        seen.changed = [name for name, value in case.inputs.items() if was_changed(value, inputs[name])]
        if isinstance(seen.output, Tensor):  # a later in-place operation must not reach what was returned
            seen.output = seen.output.detach().clone()
    except BaseException as error:
        seen.failure = describe(error, file)
    seen.printed = printed()
    if seen.failure is not None:
        return seen

    try:
        seed_everything(1)
        inputs = copy.deepcopy(case.inputs)
        leaves = [x.requires_grad_() for x in inputs.values() if is_float(x)] if gradients else []
        output = case.call(function, inputs)
        if difference(decode(encode(seen.output)), decode(encode(output)), 1e-3, 1e-4) is not None:
            seen.second, seen.unstable = output, not isinstance(decode(encode(output)), Foreign)
        if gradients:
            loss = weighted_sum(output)
            seen.flows = loss is not None
            if loss is not None:
                seen.gradients = list(torch.autograd.grad(loss, leaves, allow_unused=True))
    except BaseException as error:
        seen.gradient_failure = describe(error, file)
    if on_devices and seen.gradient_failure is None:
        seen.device = device_trouble(function, case)
    return seen


def weighted_sum(output: Any) -> Tensor | None:
    """One number that depends on every number of the output differently; None if nothing in it has a gradient."""
    tensors = [output] if isinstance(output, Tensor) else list(output) if isinstance(output, list | tuple) else []
    tensors = [x for x in tensors if is_float(x) and x.requires_grad]
    if not tensors:
        return None
    return sum((x.double() * torch.linspace(-1, 2, x.numel()).view_as(x)).sum() for x in tensors)


def device_trouble(function: Callable[..., Any], case: Case) -> str | None:
    """Why the function would fail on a GPU, found out without one.

    torch's "meta" device computes shapes only. A tensor that was made without `device=…` lies on the CPU, and meeting
    one on the meta device is the same error as on a GPU. Anything else that fails there proves nothing.
    """
    if case.run is not None or not any(isinstance(x, Tensor) for x in case.inputs.values()):
        return None
    try:
        case.call(function, {n: x.to("meta") if isinstance(x, Tensor) else x for n, x in case.inputs.items()})
    except BaseException as error:
        message = str(error)
        if "same device" in message or "two devices" in message or "meta, " in message:
            return "a tensor is made on the CPU whatever device the inputs are on; give it device=x.device."
    return None


def was_changed(before: Any, after: Any) -> bool:
    """Whether an input is another one now; of objects that cannot be compared nothing is claimed."""
    before = decode(encode(before))
    return not isinstance(before, Foreign) and difference(before, decode(encode(after)), 0.0, 0.0) is not None


def is_float(value: Any) -> bool:
    """Whether the value can have a gradient."""
    return isinstance(value, Tensor) and value.is_floating_point()


def seed_everything(seed: int) -> None:
    """Set every global random generator, so that code which uses one by mistake at least does so reproducibly."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def describe(error: BaseException, file: str | None) -> Failure:
    """The exception with the last line of the student's file that took part in it."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    message = " ".join(str(error).split())[:1000]
    return Failure(type(error).__name__, message, lines[-1] if lines else None)
