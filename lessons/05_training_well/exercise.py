"""Exercises of lesson 05: training well.

    python -m lessons check 5                     # what is right, what is wrong, and why
    python -m lessons check 5 --only adamw_step
    python -m lessons hint 5 adamw_step           # one more hint each time
    python -m lessons run 5 --mine                # the lesson's last model, trained with your own functions

Replace each `raise NotImplementedError` with your own code. Plain Python, `math` and tensor operations are all you
need; the ready-made optimizers and clipping functions of torch and llmasos are not allowed. Do not modify the inputs
(unless an exercise says so), and create every tensor on the `device` of the inputs.

Dimension letters: B rows of a micro-batch, T tokens in a row, V size of the vocabulary.
"""

from torch import Tensor, nn


def clip_gradients(gradients: list[Tensor], max_norm: float) -> tuple[list[Tensor], float]:
    """1 (easy). Scale down the gradient of a model if it is too long; never change its direction.

    The gradient of a model is one long vector that happens to be stored as several tensors, one for each parameter. Its
    norm is the square root of the sum of the squares of *all* numbers in *all* tensors. If the norm is larger than
    max_norm, multiply every number by max_norm / norm. If not, leave everything as it is.

    Args:
        gradients: tensors of any shapes; all of their numbers may be zero. They may be in half precision (fp16), in
            which the square of 300 is already infinite: compute the norm in fp32.
        max_norm: the maximum gradient norm, above 0.

    Returns:
        The new gradients, a list of new tensors in the same order and of the same shapes; and the norm *before*
        clipping, as a number (this is the one you want to see in a log).

    Example: clip_gradients([tensor([3.0]), tensor([4.0])], 1.0) is ([tensor([0.6]), tensor([0.8])], 5.0).
    """
    raise NotImplementedError


def warmup_cosine(step: int, steps: int, warmup: int, final: float) -> float:
    """2 (easy). The factor by which a learning-rate schedule multiplies the peak learning rate.

    - Warmup: the factor rises in equal increments over steps 0 … warmup - 1. The first step has the factor 1 / warmup
      (not 0: a step with learning rate 0 would be wasted), the last warmup step has the factor 1.
    - After that: half a cosine wave. Step `warmup` still has the factor 1, the last step of the run, steps - 1, has
      the factor `final`, and halfway between these two the factor is halfway between 1 and `final`. If only one step
      is left after the warmup (warmup = steps - 1), it has the factor 1.
    - For steps after the last one, the factor stays at `final` (also if warmup = steps - 1).

    Args:
        step: the step, counted from 0.
        steps: the number of steps in the run.
        warmup: the number of warmup steps; 0 = none, then step 0 has the factor 1. It may be as large as `steps` or
            larger; the factor then rises from the first step of the run to the last, and nothing is asked about steps
            after that.
        final: the factor at the end, 0 … 1.

    Returns:
        The factor, a number.

    Example: with steps = 7, warmup = 2, final = 0 the factors are 0.5, 1, 1, 0.85, 0.5, 0.15, 0 (rounded).
    """
    raise NotImplementedError


def adamw_step(
    w: Tensor,
    gradient: Tensor,
    m: Tensor,
    v: Tensor,
    t: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """3 (medium). Take one step of AdamW for one parameter.

    As in sections 5.3 and 5.4 of the lesson: update both running means with the gradient; compute bias-corrected copies
    of both; shrink the weight by the fraction lr · weight_decay; and from there move lr · m̂ / (√v̂ + eps) downhill. eps
    is added after the bias correction and outside the root. The decay does not enter either running mean.

    Args:
        w: the parameter, of any shape, contiguous in memory or not (a transposed tensor).
        gradient: the gradient of the loss with respect to w, same shape.
        m, v: the running means of the gradient and of its square after step t - 1, same shape; zeros before step 1.
        t: the step, counted from 1.
        lr, beta1, beta2, eps, weight_decay: numbers.

    Returns:
        The new w, m and v, as new tensors. m and v are the running means themselves, without bias correction.

    Example: w = 1, gradient = 2, m = v = 0, t = 1, lr = 0.1, betas 0.9 and 0.99, eps = 0, weight_decay = 0 gives
    w = 0.9, m = 0.2, v = 0.04.
    """
    raise NotImplementedError


def accumulated_gradient(model: nn.Module, parts: list[tuple[Tensor, Tensor]]) -> float:
    """4 (hard). Compute the gradient of a whole batch that arrives in parts, as if it had arrived at once.

    A part (a micro-batch) is a pair of ids and targets. `model(ids)` gives logits (B, T, V). A target of -100 means
    that there is nothing to predict at this position: it contributes no loss and is not counted. The loss of the whole
    batch is the *sum* of the losses of all targets in all parts, divided by *their number* in all parts. The loss of
    one target is its cross-entropy, in nats. (You may use torch.nn.functional.cross_entropy. It skips targets of -100
    by default; reduction="sum" gives a sum instead of a mean.)

    Afterwards, the `.grad` of every parameter of the model must be the gradient of this loss and nothing else: whatever
    an earlier step left in `.grad` must be gone. The parameters themselves stay as they are (no optimizer step), and so
    does the mode of the model, training or evaluation.

    Args:
        model: maps ids (B, T) to logits (B, T, V).
        parts: pairs of ids and targets, both (B, T) integers. B and T may differ from part to part. All targets of a
            part may be -100, but at least one part has at least one real target.

    Returns:
        The loss of the whole batch, a number.
    """
    raise NotImplementedError


def opposite_steps() -> tuple[list[float], list[float]]:
    """5 (break it, and explain). Find two micro-batches for which the mean of means points the wrong way.

    Consider one single weight. Each token of a micro-batch has a gradient of its loss with respect to this weight: one
    number per token. The gradient of the whole batch is the mean over all tokens of both micro-batches. If you average
    within each micro-batch, and then average the two results, you get a different number. Find micro-batches for which
    the two numbers even have different signs, so that the weight moves the wrong way.

    Returns:
        Two nonempty lists of numbers between -1 and 1. The mean over all their numbers is at least 0.1; the mean of the
        two lists' means is at most -0.1.

    Then explain below, in WHY_OPPOSITE, whose gradient the mean of means is (which tokens weigh more in it, and by how
    much), for which types of data this happens, and why nobody sees it in the loss curve.
    """
    raise NotImplementedError


WHY_OPPOSITE = """
"""


# 6 (open). Break the run of section 5.12 in a way that is not among its eight faults. First sketch the curve that you
# expect; then train. Show the curve to someone who has solved this lesson and let them find the cause. Write down what
# you broke, what you predicted and why, what happened, and which symptom tells your fault apart from similar ones.
EXPERIMENT = """
"""
