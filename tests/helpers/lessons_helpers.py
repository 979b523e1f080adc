"""A right solution of lesson 03 as a student would hand it in, and a tiny lesson that is checked in a moment."""

from pathlib import Path

SOLUTION_03 = '''
import math
import torch


def average_past(x):
    total, out = 0, []
    for t in range(x.size(1)):
        total = total + x[:, t]
        out.append(total / (t + 1))
    return torch.stack(out, dim=1)


def causal_mask(T, S):
    return torch.arange(S)[None, :] <= torch.arange(S - T, S)[:, None]


def attention(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(dim=-1) @ v


def multi_head_attention(x, w_q, w_k, w_v, w_o, n_heads):
    B, T, C = x.shape
    q, k, v = ((x @ w.T).view(B, T, n_heads, C // n_heads).transpose(1, 2) for w in (w_q, w_k, w_v))
    out = attention(q, k, v, causal_mask(T, T))
    return out.transpose(1, 2).reshape(B, T, C) @ w_o.T


def same_to_attention():
    a = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
    return a, a[[1, 0, 2]]


WHY_SAME = """The result is a sum of values with weights, and neither a sum nor a weight knows where a key stands: the
score depends on the two vectors only. So the dog and the man can change places and nobody notices. Add to every vector
one that tells its position, and the two sentences become different."""

EXPERIMENT = """I took away the scale. I predicted a slightly worse loss, 1.75 instead of 1.68, because the heads are
only 16 wide and the root of 16 is 4, which the weights of the queries can make up for as they are learned. It came out
hardly worse than before. I think that with such narrow heads and a trained query matrix the scale matters at the start
only, and that it would matter far more in a head of width 1024."""
'''

TINY_CHECKS = """
import torch
from lessons.machinery.exercises import Case, Exercise, Misconception

COMMON = dict(
    asks="Twice x.", reference=lambda x: 2 * x,
    misconceptions=[Misconception("squared", lambda x: x**2, "You squared it.", "Add.", "1.1"),
                    Misconception("left alone", lambda x: x.clone(), "You did nothing.", "Add.", "1.1")],
    hints=["Add it to itself.", "x + x"], section="1.1", gradients=True, seconds=1.0,
    forbidden={"torch.nn.functional.scaled_dot_product_attention": "too easy", "torch.roll": "too easy"},
)
TWO, FOUR = Case("two numbers", x=torch.tensor([1.0, 2.0])), Case("four", x=torch.ones(2, 2))
EXERCISES = [
"""
TINY_LESSON = """# %% [markdown]
# # 90 Tiny
#
# - **Question:** Why
#   not?
# - **Teaches:** nothing
# - **Minutes:** 1
#
# ## 1.1 Twice

# %% [setup]
raise SystemExit("the notebook has another setup")

# %%
from lessons.machinery.lesson_api import part, result

double = part("double", lambda x: 2 * x)
result("twice two", double(2), 4.0, 0.1)
"""


def tiny_lesson(folder: Path, names=("double", "other")) -> Path:
    """Write a lesson with one exercise per name, each of which is to double a tensor; returns its folder."""
    lesson = folder / "90_tiny"
    lesson.mkdir(parents=True)
    stub = "".join(f'def {name}(x):\n    """Twice x."""\n    raise NotImplementedError\n\n\n' for name in names)
    exercises = "".join(f"    Exercise(name={name!r}, cases=[TWO, FOUR], **COMMON),\n" for name in names)
    checks = f"{TINY_CHECKS}{exercises}]\n"
    for name, text in (("exercise.py", stub), ("checks.py", checks), ("lesson.py", TINY_LESSON)):
        (lesson / name).write_text(text, encoding="utf-8")
    return lesson
