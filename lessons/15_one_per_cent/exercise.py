"""Exercises of lesson 15: adapters of low rank, and distillation.

    python -m lessons check 15                    # what is right, what is wrong, and why
    python -m lessons check 15 --only lora_forward
    python -m lessons hint 15 lora_forward        # one more hint each time
    python -m lessons run 15 --mine               # the lesson's experiments, with your functions

Replace each `raise NotImplementedError` with your own code. Plain torch is all you need: `@`, `softmax`,
`log_softmax`, `torch.linalg.svd`, `torch.rand`. Import what you need at the top. Do not modify the inputs. An input may
be a view of another tensor (a transposed one, for example), so do not rely on its layout in memory.

Letters: r is the rank, α ("alpha") the adapter's strength, N the number of predictions, V the size of the vocabulary,
T the temperature; n_in and n_out are the numbers of features that a linear layer reads and writes.
"""

from torch import Generator, Tensor


def lora_forward(x: Tensor, W: Tensor, b: Tensor | None, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    """1 (easy). Compute an adapted linear layer: W x + b, plus α / r times B A x.

    Nothing is frozen in here: gradients flow into all inputs. Freezing W and b is the caller's business.

    Args:
        x: (…, n_in), with any number of leading dimensions, including none.
        W: the pretrained weight (n_out, n_in), as in nn.Linear.
        b: the pretrained bias (n_out,); None = the layer has none.
        A: (r, n_in), with r at least 1.
        B: (n_out, r).
        alpha: α.

    Returns:
        (…, n_out).

    Example: with one feature, x = 3, W = 2, b = None, A = 1, B = 5 and α = 2, the result is 6 + 2 · 15 = 36.
    """
    raise NotImplementedError


def new_adapter(n_in: int, n_out: int, rank: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """2 (easy). Make the two matrices of an adapter as they are before training.

    Args:
        n_in, n_out: the numbers of features that the layer reads and writes.
        rank: r.
        generator: the source of the random numbers; pass it to every draw.

    Returns:
        A, B: both float32. A is (r, n_in): each number is drawn independently and uniformly between -1/√n_in and
        1/√n_in. B is (n_out, r): all zeros.
    """
    raise NotImplementedError


def plan_adapter(shapes: list[tuple[int, int]], budget: int) -> tuple[int, int, int]:
    """3 (easy). Find the largest rank that a budget allows, and what it costs.

    Every layer gets an adapter of the same rank r. In no layer may r be larger than n_in or than n_out. All adapters
    together may have at most `budget` weights.

    Args:
        shapes: (n_out, n_in) of each layer's weight; at least one layer.
        budget: the largest number of trained weights, at least 0.

    Returns:
        The rank (0 if even rank 1 is too expensive), the number of weights of all adapters together, and the bytes
        that training with AdamW needs for them *besides* the weights themselves: a gradient and two averages for each
        weight, 4 bytes each.

    Example: one layer that reads 6 features and writes 4 has shapes [(4, 6)]. With a budget of 25, the rank is 2: 20
    weights, 240 bytes.
    """
    raise NotImplementedError


def best_adapter(W: Tensor, W_new: Tensor, rank: int, alpha: float) -> tuple[Tensor, Tensor]:
    """4 (medium). Turn a fully fine-tuned matrix into the best adapter of a given rank.

    Find A and B for which the adapted weight W + (α / r) · B A is as close to W_new as possible: the sum of the squared
    differences is as small as any A and B of this rank can make it. How you distribute the scale between A and B is up
    to you. In every test there is only one best product B A.

    Args:
        W: the weight before fine-tuning (n_out, n_in).
        W_new: the weight after it (n_out, n_in).
        rank: r, at most n_in and at most n_out.
        alpha: α, above 0.

    Returns:
        A: (r, n_in), B: (n_out, r).

    Example: W_new - W = ((3, 0), (0, 1)), r = 1 and α = 1. The best product B A is ((3, 0), (0, 0)).
    """
    raise NotImplementedError


def distillation_loss(
    logits: Tensor, teacher_logits: Tensor, targets: Tensor, temperature: float, weight: float
) -> Tensor:
    """5 (hard). Combine what the text says with what a teacher says.

    For each prediction, the loss is (1 - w) · (-log q₁(target)) + w · T² · KL(p ‖ q), with

        p = softmax(teacher_logits / T)    q = softmax(logits / T)    q₁ = softmax(logits)    KL = Σ p · log (p / q)

    A target of -100 means: there is nothing to predict here. Such a prediction counts nowhere, neither in the sums nor
    in the number of predictions.

    Args:
        logits: the student's logits (N, V).
        teacher_logits: the teacher's logits (N, V). Some may be -inf: p is then 0 there, and that term of the KL is 0.
        targets: (N,) token ids (int64) or -100; at least one is an id.
        temperature: T, above 0.
        weight: w, from 0 to 1.

    Returns:
        The mean over the predictions that count: a scalar in nats, through which gradients flow into `logits`.
    """
    raise NotImplementedError


def two_in_name_only() -> tuple[Tensor, Tensor]:
    """6 (break it, and explain). Find an adapter of rank 2 that can learn, but only ever becomes a matrix of rank 1.

    The adapter has two rows in A and two columns in B, and B A is zero at the start, as it should be. It is trained by
    plain gradient descent on A and B at once. Choose its first A and B so that, whatever the data are, B A does change,
    but after any number of steps it has rank 1 at most.

    Returns:
        A: (2, n_in) and B: (n_out, 2), with n_in and n_out at least 3 and no number larger than 10 in absolute value.

    Then explain in WHY_ONE below why the second dimension stays unused, what would happen if A and B were both zero,
    and what the usual start does to avoid both.
    """
    raise NotImplementedError


WHY_ONE = """
"""


# 7 (open). Change one thing about the adapters of the lesson — the scale α / r, which layers get one, which of A and B
# is trained, how A starts — and run it again. For the scale and for what is trained, change your lora_forward (keep the
# right one as a comment) and use python -m lessons run 15 --mine. For the rest, change the lesson's notebook
# (python -m lessons notebook 15) or a copy of lesson.py. Predict the losses first. Write down what you changed, what
# you predicted and why, what came out, and what you make of it.
EXPERIMENT = """
"""
