"""The checks of lesson NN, and the known mistakes."""

from random import Random

import numpy as np
import torch
from torch import Tensor

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer


def random(*shape: int, seed: int = 0) -> Tensor:
    """Reproducible normal random numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def more_numbers(seed: int) -> list[Case]:
    """Lists of other lengths, for `grade`."""
    draw = Random(seed)
    return [Case(f"{T} numbers", x=random(T, seed=draw.randrange(10**6))) for T in draw.sample(range(5, 30), 3)]


# 1. largest_so_far


def by_loop(x: Tensor) -> Tensor:
    largest, out = x[0], []
    for number in x:
        largest = torch.maximum(largest, number)
        out.append(largest)
    return torch.stack(out)


def strict_past(x: Tensor) -> Tensor:
    return torch.cat([x[:1], x.cummax(0).values[:-1]])


largest_so_far = Exercise(
    name="largest_so_far",
    asks="Replace each number with the largest of all numbers up to and including itself.",
    reference=lambda x: x.cummax(0).values,
    section="NN.1",
    cases=[
        # small ones first: a student sees the first case that fails
        Case("three numbers", x=torch.tensor([2.0, 9.0, 4.0])),
        Case("falling numbers", x=torch.tensor([5.0, 3.0, 1.0])),
        # one for each promise of the docstring: sizes, signs, ties, layout, large numbers
        Case("one number", x=torch.tensor([7.0])),
        Case("negative numbers", x=torch.tensor([-4.0, -6.0, -1.0, -9.0])),
        Case("equal numbers", x=torch.tensor([3.0, 1.0, 3.0, 2.0])),
        Case("every second number of a tensor", x=random(12, seed=1)[::2]),
        Case("two hundred numbers", x=random(200, seed=2)),
    ],
    random_cases=more_numbers,
    misconceptions=[
        Misconception(
            "the future is seen too",
            lambda x: x.max().expand_as(x),
            "You took the largest of all numbers, so each position sees what comes after it.",
            "For position t, only x[0] … x[t] count.",
            "NN.1",
        ),
        Misconception(
            "a position leaves itself out",
            strict_past,
            "You took the largest of the numbers before each position, without its own.",
            "x[:t] ends before t; x[:t + 1] includes it.",
            "NN.1",
        ),
        Misconception(
            "the search begins with 0",
            lambda x: x.cummax(0).values.clamp(min=0),
            "Your largest number so far begins with 0, so negative numbers are never the largest.",
            "What is the largest number so far at position 0?",
            "NN.1",
        ),
        Misconception(
            "the smallest instead of the largest",
            lambda x: x.cummin(0).values,
            "You took the smallest of the numbers so far instead of the largest.",
            "Compare your result with the example.",
            "NN.1",
        ),
        Misconception(
            "a sum, not a maximum",
            lambda x: x.cumsum(0),
            "You added the numbers so far; the task is to find the largest of them.",
            "What is the result for 2, 9, 4?",
            "NN.1",
        ),
        Misconception(
            "positions instead of numbers",
            lambda x: x.cummax(0).indices,
            "You returned where the largest number is. The result is the number itself.",
            "torch.cummax returns two tensors.",
            "NN.1",
        ),
        Misconception(
            "time runs backwards",
            lambda x: x.flip(0).cummax(0).values.flip(0),
            "You looked from each position to the end; the past is on the other side.",
            "Which numbers are known at position 0?",
            "NN.1",
        ),
    ],
    accepted={
        "a loop": by_loop,
        "NumPy": lambda x: torch.from_numpy(np.maximum.accumulate(x.numpy())),
        "a triangle": lambda x: torch.where(torch.ones(len(x), len(x)).tril().bool(), x, -torch.inf).amax(1),
    },
    hints=[
        "Write the result for 2, 9, 4, 10 on paper. Which numbers do you compare at each position?",
        "Keep the largest number so far in a variable, and go from left to right.",
        "torch.cummax does it in one call; look at what it returns.",
    ],
)


EXERCISES = [
    largest_so_far,
    WrittenAnswer(
        "WHY_LARGEST",
        "Why is the result never smaller than the number before it?",
        words=20,
        hints=["Compare the numbers that position t sees with those that position t + 1 sees."],
        section="NN.1",
    ),
]
