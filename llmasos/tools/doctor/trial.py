"""Does training work here? One real step of a small model is the best answer."""

import math

import torch

from llmasos.models import preset
from llmasos.tools.bench.training_step import make_step
from llmasos.tools.doctor.check import OK, PROBLEM, Finding


def training_step(device: torch.device) -> Finding:
    """Take one step of the training loop with the default model."""
    try:
        loss = make_step(preset("gpt-laptop", vocab_size=1024), batch_size=2, device=device)()
        if not math.isfinite(loss):
            raise ArithmeticError(f"the loss is {loss}")
    except Exception as error:  # whatever it is, the user had better learn of it here than in the middle of a run
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        advice = "choose another --device" if device.type != "cpu" else "reinstall torch, or try another version of it"
        return Finding("training step", PROBLEM, f"fails on {device}: {reason}", advice)
    return Finding("training step", OK, f"one step of the default model works on {device}")
