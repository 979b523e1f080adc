"""Exercises of lesson NN: TITLE.

    python -m lessons check NN                     # what is right, what is wrong, and why
    python -m lessons check NN --only largest_so_far
    python -m lessons hint NN largest_so_far       # one more hint each time
    python -m lessons run NN --mine                # the lesson, with your own functions

Replace each `raise NotImplementedError` with your own code. Plain tensor operations are all you need. Import what you
need at the top. Do not modify the inputs, and create every tensor on the `device` of the inputs. An input may be a view
of another tensor (a transposed one, for example), so do not rely on its layout in memory.

Letters: T number of positions.
"""

from torch import Tensor


def largest_so_far(x: Tensor) -> Tensor:
    """1 (easy). Replace each number with the largest of all numbers up to and including itself.

    Args:
        x: (T,) floating-point numbers, T at least 1; they may be negative.

    Returns:
        (T,): result[t] is the largest of x[0], x[1], …, x[t].

    Example: 2, 9, 4 becomes 2, 9, 9.
    """
    raise NotImplementedError


WHY_LARGEST = """
"""
