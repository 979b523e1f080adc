# %% [markdown]
# # 05 Training well
#
# - **Question:** The model is right and the data are right. Why does it still learn badly, and how do I find out?
# - **Teaches:** SGD, momentum, Adam and AdamW by hand; warmup, decay, gradient clipping, gradient accumulation, mixed
#   precision; how much of a result is luck; how to read a loss curve, and eight broken runs to diagnose
# - **Minutes:** 120 to read and solve, 1 to run
#
# You need: gradients, the GPT of lesson 04, and its loss in nats per token (lesson 01). Unless stated otherwise, the
# sources are Kingma & Ba 2015, *Adam*, and Loshchilov & Hutter 2019, *Decoupled Weight Decay Regularization*.
#
# Symbols: $w$ the weights, $g_t$ the gradient at step $t$, $\eta$ the learning rate, $\lambda$ the weight decay; B rows
# in a batch, T tokens in a row, C width of the model, V size of the vocabulary.

# %% [setup]
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# %%
import math
import random

import numpy as np
import torch
from torch import nn

from lessons.machinery.lesson_api import part, predict, result, seed
from lessons.machinery.pictures import curves
from llmasos.datasets import Windows
from llmasos.datasets.storyworld import stories
from llmasos.models import GPT, ModelConfig
from llmasos.objectives import CausalLM
from llmasos.tokenizers import CharTokenizer
from llmasos.training.optimizers import learning_rate_factor, make_optimizers, set_learning_rate, split_parameters
from llmasos.training.recipe import TrainingSettings
from llmasos.training.trainer import Trainer

torch.manual_seed(seed())
torch.set_num_threads(min(2, torch.get_num_threads()))

# %% [markdown]
# ## 5.1 Downhill, one step at a time
#
# Lesson 04 ended with a model that can learn. Whether it actually does depends on a dozen lines that we used without
# explaining them: an optimizer called AdamW, a learning rate that rises and falls, a gradient that is clipped when it
# gets too long. Leave one of them out and the model may learn half as well, or nothing at all, and *no line of code
# will complain*. A wrong shape stops a program. A wrong learning rate still gives you a model, just a bad one.
#
# So this lesson takes those dozen lines apart. In the first half we build the optimizer, growing it from one line to
# five. In the second half we train small models, first well and then badly on purpose, until you can tell from a curve
# what is wrong.
#
# We start with one line. The gradient $g_t$ of the loss points in the direction in which the loss rises fastest, so
# take a small step the other way:
#
# $$ w_t = w_{t-1} - \eta \, g_t $$
#
# This is **gradient descent**. When $g_t$ comes from a few random rows of the data instead of all of them, it is
# *stochastic* gradient descent, SGD. The only choice is $\eta$. If it is too small, the result is no surprise: you
# arrive late. To see what happens when it is too large, take a loss of two weights that forms a valley, 25 times as
# steep across as along:
#
# $$ L(a, b) = \tfrac{1}{2} (a^2 + 25 \, b^2), \qquad \frac{\partial L}{\partial a} = a, \qquad
#    \frac{\partial L}{\partial b} = 25 \, b $$
#
# One step of gradient descent multiplies $a$ by $1 - \eta$ and $b$ by $1 - 25 \eta$. A weight that is multiplied by the
# same number over and over shrinks if that number is between -1 and 1, and otherwise grows without bound. So the steep
# direction requires $\eta < 2/25 = 0.08$, and not a hair more.

# %%
START = (10.0, 1.0)


def valley(w):
    return 0.5 * (w[0] ** 2 + 25 * w[1] ** 2)


def descend(optimizer_class, steps=60, **settings):
    """Return the points that an optimizer visits on its way down the valley."""
    w = torch.tensor(START, requires_grad=True)  # (2,)
    optimizer, path = optimizer_class([w], **settings), [START]
    for _ in range(steps):
        optimizer.zero_grad()
        valley(w).backward()
        optimizer.step()
        path.append(tuple(w.tolist()))
    return path


predict("at which of the rates 0.01, 0.04, 0.07, 0.079, 0.081 is the loss lowest after 60 steps? It starts at 62.5.")

# %%
print("  rate   loss after 20 steps     40 steps     60 steps")
for rate in (0.01, 0.04, 0.07, 0.079, 0.081):
    path = descend(torch.optim.SGD, lr=rate)
    print(f"{rate:6.3f} {valley(path[20]):19.4f} {valley(path[40]):12.4f} {valley(path[60]):12.4f}")

# %% [markdown]
# From 0.01 to 0.07 the larger rate is the better one. At 0.079, close to the edge, it is not any more: the steep weight
# is multiplied by -0.975 at each step, so it jumps from side to side and hardly shrinks. A hair beyond the edge, at
# 0.081, the loss explodes. Remember this shape: *slowly better and better, then much worse within a small step*. You
# will see it again with a real model (5.6).
#
# The valley also shows a dilemma. The steep direction rules out rates above 0.08, and at such a rate the flat direction
# keeps 92 % of its error at every step. A model has as many directions as weights, and some are far steeper than
# others. The two remedies for this are the two halves of Adam.

# %% [markdown]
# ## 5.2 Momentum: steps that remember
#
# Across the valley, the gradient changes its sign at every step; along the valley, it always points the same way. So
# let the steps *accumulate*: what alternates cancels out, and what persists grows.
#
# $$ u_t = \beta \, u_{t-1} + g_t, \qquad w_t = w_{t-1} - \eta \, u_t $$
#
# (Polyak 1964.) $\beta$, between 0 and 1, controls how long the memory is. If the gradient were always the same $g$,
# $u$ would approach $g (1 + \beta + \beta^2 + \dots) = g / (1 - \beta)$: with $\beta = 0.9$, steps ten times as long as
# without momentum. This is why a learning rate that worked well without momentum is too large with it.
#
# Written as a **running mean**, $m_t = \beta m_{t-1} + (1 - \beta) g_t$, the same idea keeps its scale: the weights
# $1 - \beta$, $(1 - \beta)\beta$, $(1 - \beta)\beta^2$, … of the last gradient, the one before it, and so on, sum to 1.
# It averages over roughly the last $1 / (1 - \beta)$ steps. torch's `SGD(momentum=…)` uses the sum, Adam uses the mean.

# %%
paths = {
    "SGD": descend(torch.optim.SGD, steps=30, lr=0.07),
    "with momentum": descend(torch.optim.SGD, steps=30, lr=0.03, momentum=0.7),
}
for name, path in paths.items():
    print(f"{name:<15} loss after 10, 20, 30 steps:", *(f"{valley(path[i]):10.5f}" for i in (10, 20, 30)))
curves(paths, "Down the valley, thirty steps", "a (flat)", "b (steep)", "05-valley")

# %% [markdown]
# **What to see.** Both paths start on the right. SGD zigzags: the steep weight $b$ jumps from one side of the valley to
# the other at every step, because the rate is just below the limit. Momentum turns the zigzag into long waves. It
# crosses the valley less often, gets farther along it with each step, and after thirty steps its loss is less than a
# hundredth of SGD's.

# %% [markdown]
# ## 5.3 Adam: a rate for every weight
#
# The second remedy: if one direction is 25 times as steep as the other, *divide by the steepness*. We don't know the
# steepness, but the size of the gradient gives us an estimate, weight by weight. So keep a second running mean, of the
# *square* of each gradient, and divide by its square root. This is Adam (Kingma & Ba 2015, Algorithm 1). All operations
# are elementwise, one weight at a time; $m_0 = v_0 = 0$, and $t$ counts from 1:
#
# $$ \begin{aligned}
#    m_t &= \beta_1 m_{t-1} + (1 - \beta_1)\, g_t       && \text{running mean of the gradient} \\
#    v_t &= \beta_2 v_{t-1} + (1 - \beta_2)\, g_t^2     && \text{running mean of its square} \\
#    \hat m_t &= m_t / (1 - \beta_1^t)                  && \text{bias correction: it started at zero} \\
#    \hat v_t &= v_t / (1 - \beta_2^t)                  && \text{the same for } v \\
#    w_t &= w_{t-1} - \eta \, \hat m_t / (\sqrt{\hat v_t} + \epsilon)
#    \end{aligned} $$
#
# ($\beta_1^t$ is a power: $\beta_1$ times itself, $t$ times.) Three things follow.
#
# **The scale of the gradient does not matter.** Multiply the loss by 1000: $m$ grows by a factor of 1000, so does
# $\sqrt v$, and the step stays the same. (Only $\epsilon$, usually $10^{-8}$, breaks this. It is there so that a weight
# whose gradient has always been zero gets $0 / \epsilon = 0$ and not $0 / 0$. It is added *outside* the root: inside,
# $10^{-8}$ would act like a threshold of $10^{-4}$ for gradients.)
#
# **The learning rate is measured in units of the weights.** If the gradient of a weight is always the same, $\hat m =
# g$, $\sqrt{\hat v} = |g|$, and the step is $\eta$, whatever $g$ is. If its sign changes at random, $\hat m$ is small
# compared with $\sqrt{\hat v}$, and so is the step. So $\eta$ is about the farthest a weight can move in one step
# (section 2.1 of the paper), and a weight moves that far only if its gradients agree with each other.
#
# **The first step is a full one.** At $t = 1$, both means have seen only one gradient: $\hat m_1 / \sqrt{\hat v_1} = g
# / |g|$. *Every* weight moves by $\eta$, up or down, on the evidence of a single batch. Keep this in mind for section
# 5.7.
#
# ### Why the correction
#
# Unroll the running mean of gradients that all have the expectation $\mathrm{E}[g]$ (section 3 of the paper):
#
# $$ m_t = (1 - \beta_1) \sum_{i=1}^{t} \beta_1^{t-i} g_i, \qquad
#    \mathrm{E}[m_t] = \mathrm{E}[g]\,(1 - \beta_1) \sum_{i=1}^{t} \beta_1^{t-i} = \mathrm{E}[g]\,(1 - \beta_1^t), $$
#
# where the last step sums a geometric series. The mean is too small by a factor of $1 - \beta_1^t$, because it started
# at zero and still remembers that. Dividing by this factor removes the bias. As $t$ grows, the factor goes to 1 and the
# correction disappears by itself. The same holds for $v$ with $\beta_2$.
#
# Without the correction, is the first step too short or too long? Both means are too small, and one divides the other.

# %%
predict("the gradient is always 1, so each step should be 1 η long. Without correction, with betas 0.9 and 0.999, is "
        "the first step shorter or longer? And the tenth?")  # fmt: skip

# %%
ts = (1, 2, 5, 10, 20, 50, 100, 1000)
print("step                    " + "".join(f"{t:>7}" for t in ts))
for beta1, beta2 in ((0.9, 0.999), (0.9, 0.99), (0.9, 0.9)):
    m = v = 0.0
    sizes = {}
    for t in range(1, 1001):
        m, v = m + (1 - beta1) * (1 - m), v + (1 - beta2) * (1 - v)  # the gradient is 1, its square too
        sizes[t] = m / math.sqrt(v)
    print(f"size, betas {beta1}, {beta2:<6}" + "".join(f"{sizes[t]:7.2f}" for t in ts))

# %% [markdown]
# With the paper's betas, the first step is 3.2 times too long ($0.1 / \sqrt{0.001}$), the tenth is 6.5 times too long,
# and after a hundred steps it is still three times too long. The *slow* mean, in the denominator, does the damage: the
# longer its memory, the longer it remembers its zero. With $\beta_2$ = 0.99, the library's choice for short runs, the
# first step happens to have the right size, and the tenth is twice too long. If you test a homemade Adam only on its
# first step with these betas, you will not notice that the correction is missing.

# %% [markdown]
# ## 5.4 AdamW: decay beside the gradient
#
# Weights that are not needed should be small: large weights fit the accidents of the training text. The classic recipe
# is a penalty $\frac{\lambda}{2} w^2$ in the loss (**L2 regularization**). Its gradient is $\lambda w$, so plain
# gradient descent becomes
#
# $$ w_t = w_{t-1} - \eta (g_t + \lambda w_{t-1}) = (1 - \eta \lambda)\, w_{t-1} - \eta\, g_t : $$
#
# every step shrinks each weight by the fraction $\eta \lambda$. Hence its other name, **weight decay**. For SGD the two
# are the same thing. For Adam they are not (Loshchilov & Hutter 2019, proposition 2), and for years the popular
# implementations of Adam used the wrong one. If $\lambda w$ is added to the gradient, it goes through $m$ and $v$ as
# well and is *divided by $\sqrt{\hat v}$*. A weight with large gradients is then hardly decayed, and one with small
# gradients is decayed a lot. But the weights with large gradients are the ones that fit the accidents.
#
# **AdamW** (their Algorithm 2) leaves the gradient alone and applies the decay next to it:
#
# $$ w_t = (1 - \eta \lambda)\, w_{t-1} - \eta\, \frac{\hat m_t}{\sqrt{\hat v_t} + \epsilon} $$
#
# with $m$, $v$ and their corrections as in Adam, computed from $g_t$ alone. The decay takes its fraction of the *old*
# weight. (In the paper, the decay is multiplied by the schedule but not by $\eta$ itself. torch, this library, and
# nearly everybody else multiply it by the full learning rate of the step, so we do the same: with $\eta = 0.01$ and
# $\lambda = 0.1$, a weight loses a thousandth of itself at each step and half of itself in 700 steps.)
#
# Take two weights, both 1. Their gradients alternate, +10, -10, +10, … and +0.1, -0.1, +0.1, …, so on average they say
# nothing: only the decay should move the weights.

# %%
predict("2,000 steps with η = 0.01 and λ = 0.1. The fraction 0.999²⁰⁰⁰ = 0.135 should be left of each weight. How much "
        "does L2 leave of the one with gradients ± 10, and of the one with ± 0.1?")  # fmt: skip

# %%
for name, optimizer_class in (("L2 inside Adam's gradient", torch.optim.Adam), ("AdamW", torch.optim.AdamW)):
    w = torch.ones(2, requires_grad=True)
    optimizer = optimizer_class([w], lr=0.01, weight_decay=0.1, betas=(0.9, 0.99))
    for t in range(2000):
        w.grad = torch.tensor([10.0, 0.1]) * (-1) ** t
        optimizer.step()
    print(f"{name:<28} gradients ± 10: {w[0]:.3f}    gradients ± 0.1: {w[1]:.3f}")

# %% [markdown]
# The same λ, but one weight keeps four fifths of its value while the other is gone. With AdamW, both keep what they
# should.
#
# **Which weights decay?** A matrix maps features to features, and a smaller one is a smoother map. But a bias, or the
# weight of a norm that starts at 1, is no better near zero: shrinking a norm's weights only scales the whole layer
# down. So the library decays everything that has two dimensions, matrices and embeddings, and nothing else:
# `split_parameters` in `llmasos/training/optimizers.py` sorts them. Section 5.5 prints the result for our model.
#
# Exercise **adamw_step** asks for the five lines.

# %% [markdown]
# ## 5.5 A model to train, and four optimizers
#
# The model is the GPT of lesson 04, small enough that we can afford to train it 25 times: two blocks, width
# 32, and a context of 32 characters. Two hundred steps take a second or two. It will not tell stories, but it will show
# us the difference between two ways of training.
#
# One thing has to be adapted. The library's initial weights have a standard deviation of 0.02, which suits models that
# are many hundreds wide. A sum of only 32 such terms would be close to zero, so we start with weights five times as
# large. The first loss tells us whether that was sensible: a model that has learned nothing should be uniform over the
# vocabulary, with a loss of $\ln V$.

# %%
SEED, T, C, BATCH, STEPS, WARMUP, PEAK = seed(), 32, 32, 16, 200, 20, 0.01

train_stories, val_stories = list(stories("train", 1500)), list(stories("val", 30))
train_text, val_text = ("\n".join(story.text for story in split) for split in (train_stories, val_stories))
tokenizer = CharTokenizer.train([train_text])
V = tokenizer.vocab_size


def windows(text):
    return Windows(np.array(tokenizer.encode(text)), T)


train, val = windows(train_text), windows(val_text).validation_windows()
floor = sum(story.nats for story in val_stories) / len(val_text)
objective = CausalLM()


def gpt(run_seed=SEED, init_scale=5.0, dropout=0.0):
    """Build a new model with weights drawn from `run_seed`, `init_scale` times the library's."""
    torch.manual_seed(run_seed)
    config = ModelConfig(
        vocab_size=V, context_length=T, n_layers=2, n_heads=2, d_model=C, activation="gelu", dropout=dropout
    )
    model = GPT(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight *= init_scale
    return model


def nats(model, batch):
    """Return the loss of a batch: a sum divided by the number of targets."""
    return objective.loss_sums(model, batch)["causal"] / objective.n_targets(batch)["causal"]


def measure(model, examples=val):
    """Return the validation loss, in nats per character."""
    model.eval()
    with torch.no_grad():
        return nats(model, objective.collate(examples)).item()


model = gpt()
_, decayed, plain = split_parameters(model, "adamw")
print(f"with decay {sum(p.numel() for p in decayed):,} weights, without {sum(p.numel() for p in plain):,}")
print(f"first loss {measure(model):.2f} nats per character; ln V = {math.log(V):.2f}; the floor is {floor:.2f}")

# %% [markdown]
# Here is the whole training loop, in one function. Its arguments are the questions of this lesson.

# %%


def train_model(
    optimizer="AdamW", peak=PEAK, warmup=WARMUP, final=0.1, clip=1.0, steps=STEPS, run_seed=SEED, dtype=None
):
    """Train one model; return its validation loss and the points (step, training loss) of its curve.

    Args:
        optimizer: "SGD", "momentum", "AdamW" or "Muon".
        peak, warmup, final: the learning-rate schedule.
        clip: the maximum gradient norm; 0 disables clipping.
        steps: the number of steps.
        run_seed: the seed of the weights and of the order of the text.
        dtype: the number format to which the weights are rounded after each step; None = no rounding.
    """
    model, points, smooth = gpt(run_seed), [], None
    if optimizer in ("SGD", "momentum"):
        optimizers = [torch.optim.SGD(model.parameters(), momentum=0.9 if optimizer == "momentum" else 0.0)]
    else:
        optimizers = make_optimizers(model, TrainingSettings(optimizer=optimizer.lower(), precision="fp32"))
    for step in range(steps):
        for group in [group for each in optimizers for group in each.param_groups]:
            group["lr"] = peak * learning_rate_factor(step, steps, warmup, "cosine", final)
        loss = nats(model, objective.collate(train.batch(run_seed, step * BATCH, BATCH)))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip or math.inf)
        for each in optimizers:
            each.step()
        model.zero_grad()
        if dtype is not None:
            with torch.no_grad():
                for weight in model.parameters():
                    weight.copy_(weight.to(dtype))  # rounded, and back to fp32 for the next step
        smooth = loss.item() if smooth is None else 0.9 * smooth + 0.1 * loss.item()
        if step % 5 == 4:
            points.append((step + 1, smooth))
    return measure(model), points


# %% [markdown]
# Each optimizer gets its own peak learning rate, from a few trials with one seed on these same validation stories. The
# number of trials differed, and you should know that before you compare. SGD: 0.3, 0.5 and 1 gave 2.38, 2.35 and 2.34.
# Momentum: 0.05, 0.1, 0.2 and 0.4 gave 2.48, 2.42, 2.39 and 2.43. AdamW: seven rates from 0.0003 to 0.3, of which 0.01
# and 0.03 are about equally good (5.6). Muon: only 0.03 with these weights. (Muon, Jordan et al. 2024, keeps a running
# mean of a matrix's gradient and gives all of its directions the same strength; see `llmasos/training/muon.py`.)

# %%
predict("SGD, SGD with momentum, AdamW, Muon: put them in order. Knowing only the last character (lesson 03's "
        "model without attention) gives 2.27 nats. Which of the four are below that after 200 steps?")  # fmt: skip

# %%
lines, reached = {}, {}
for optimizer, peak, expected, spread in (
    ("SGD", 0.5, 2.34, 0.06), ("momentum", 0.2, 2.33, 0.12), ("AdamW", PEAK, 2.14, 0.1), ("Muon", 0.03, 1.91, 0.06),
):  # fmt: skip
    reached[optimizer], lines[optimizer] = train_model(optimizer, peak)
    result(f"{optimizer}, peak {peak}, nats per character", reached[optimizer], expected, spread)
curves(lines, "Four optimizers, 200 steps", "step", "training loss", "05-optimizers")

# %% [markdown]
# **What to see.** At first all four fall together, while they learn how frequent each character is. That gets them to
# 3.0 nats, and there they part. Momentum stays on this plateau the longest. It did wonders in the valley; here, with
# the rate tuned for both, it ends close to plain SGD. Adam's separate rate for every weight is worth about 0.2 nats,
# and takes the model past what the last character alone can tell. Muon is about as far ahead again. These are 200 steps
# of a tiny model, not a verdict on other models; the library's recipes use both.

# %% [markdown]
# ## 5.6 How large a step? And how much of it is luck?
#
# The learning rate is the one number you always have to tune. Search in *factors* of three, not in steps of 0.001: what
# matters is the order of magnitude.

# %%
predict("five peaks from 0.001 to 0.1, AdamW, 200 steps. Sketch the validation loss as a function of the peak.")

# %%
sweep, sweep_lines = {PEAK: reached["AdamW"]}, {}
for peak in (0.001, 0.003, 0.03, 0.1):
    sweep[peak], sweep_lines[peak] = train_model(peak=peak)
for peak, expected, spread in (
    (0.001, 2.47, 0.06), (0.003, 2.28, 0.07), (0.01, 2.14, 0.1), (0.03, 2.16, 0.18), (0.1, 2.65, 0.3),
):  # fmt: skip
    result(f"AdamW, peak {peak}, nats per character", sweep[peak], expected, spread)
points = [(math.log10(peak), loss) for peak, loss in sorted(sweep.items())]
curves({"AdamW, 200 steps": points}, "The learning rate", "log10 of the peak", "validation loss", "05-sweep")

# %% [markdown]
# **What to see.** A U with one steep side. Between 0.01 and 0.03 the rate hardly matters; to the left the loss grows
# slowly, to the right quickly, as in the valley of 5.1: a rate of 0.1 loses more than a rate of 0.001. Nothing
# crashed. A rate that is a little too low costs little and one that is a little too high costs a lot, so stay *left* of
# the lowest point. And one more warning: this U belongs to this model, this batch size and this number of steps. Change
# one of them and search again.
#
# Is 0.03 better than 0.01? Their losses differ by a few hundredths. Before you trust that difference, find out how much
# a hundredth means.

# %%
predict("the same training with three other seeds (other initial weights, another order of the text). Which digit of "
        "the loss will differ?")  # fmt: skip

# %%
losses = [sweep[PEAK], *(train_model(run_seed=SEED + 100 * i)[0] for i in (1, 2, 3))]
print(f"peak {PEAK}, four seeds:", *(f"{loss:.3f}" for loss in losses), f"  at 0.03, one seed: {sweep[0.03]:.3f}")
result("mean of four seeds, nats per character", float(np.mean(losses)), 2.15, 0.06)
result("standard deviation of four seeds", float(np.std(losses, ddof=1)), 0.03, 0.03)

# %% [markdown]
# The second decimal is luck. The **spread over seeds** is the unit in which to measure every comparison: AdamW against
# SGD is several of these units. 0.03 against 0.01 is not: with some seeds one wins, with some the other. To tell these
# two apart you need several seeds for *each*: the mean of $n$ runs has a standard error of $s / \sqrt n$, where $s$ is
# the standard deviation of one run, so four runs each halve the noise.
#
# And never choose a seed by its result. "We tried ten seeds and report the best" reports the luck of ten lottery
# tickets. All stated results of this course are means over five seeds, with a tolerance a little wider than the spread
# of those five; `python -m lessons run 5 --seed 3` draws another ticket.

# %% [markdown]
# ## 5.7 Up, then down: warmup and decay
#
# One rate for the whole run is a compromise, and a bad one at both ends.
#
# **At the beginning**, Adam knows little but takes full steps anyway. Its first step moves every weight by η on the
# evidence of one batch (5.3), and for some steps $\hat v$ is a mean of only a handful of squares (Liu et al. 2020 make
# this precise). The loss around random weights is also steep. So the first steps are kept short and then grow:
# **warmup** (Vaswani et al. 2017, section 5.3; Goyal et al. 2017, section 2.2).
#
# **At the end**, the rate is too large. Every batch points somewhere else, so the weights jitter around the bottom of
# their valley, and the larger η is, the farther they jump. A smaller rate lets them settle: **decay**. A popular
# learning-rate schedule is half a cosine wave (Loshchilov & Hutter 2017, equation 5): it starts flat, falls, and ends
# flat. With $S$ steps counted from 0, of which the first $W$ are warmup, and the final fraction $f$, the rate at step
# $s$ is the peak times
#
# $$ \frac{s + 1}{W} \ \text{ for } s < W, \qquad f + (1 - f)\, \tfrac{1}{2} \left(1 + \cos \pi p \right), \ \
#    p = \frac{s - W}{S - 1 - W} \ \text{ for } s \ge W. $$
#
# Check the ends. Step 0 has the factor $1 / W$, not 0. The last warmup step, $W - 1$, has the factor 1, and so does
# step $W$ ($p = 0$). The last step of all, $S - 1$, has exactly $f$ ($p = 1$). Off-by-one errors at these places are
# common and cost little, which is why they survive so long. Exercise **warmup_cosine**.

# %%
factors = {
    f"{name}, final {final}": [(step, learning_rate_factor(step, 200, 20, name, final)) for step in range(0, 200, 3)]
    for name, final in (("cosine", 0.1), ("linear", 0.0), ("wsd", 0.0))
}
curves(factors, "Three schedules of 200 steps, 20 of them warmup", "step", "fraction of the peak", "05-schedules")

# %% [markdown]
# **What to see.** All three rise alike. "wsd" (warmup, stable, decay) keeps the peak and decays only in the last fifth;
# such a run can be extended later without having been planned that way.
#
# What are the two ends worth? We take the highest rate that was still good, 0.03, where mistakes are not forgiven.

# %%
predict("with a peak of 0.03: which costs more, leaving out the warmup of 20 steps or the decay?")

# %%
lines = {"both": sweep_lines[0.03]}
result("both, peak 0.03, nats per character", sweep[0.03], 2.16, 0.18)
for name, warmup, final, expected, spread in (
    ("warmup only", WARMUP, 1.0, 2.21, 0.13), ("decay only", 0, 0.1, 2.53, 0.18), ("neither", 0, 1.0, 2.57, 0.18),
):  # fmt: skip
    loss, lines[name] = train_model(peak=0.03, warmup=warmup, final=final)
    result(f"{name}, peak 0.03, nats per character", loss, expected, spread)
curves(lines, "Warmup and decay, peak 0.03", "step", "training loss", "05-warmup")

# %% [markdown]
# **What to see.** Two pairs. Without warmup, the curve is ahead for the first twenty steps, then stays behind for good:
# the first full steps have thrown the weights to a place where learning is slow, and the schedule that follows cannot
# fix it. The decay is worth less here, and you can see *when* it pays off: within each pair the curves run together for
# the first half, and the run with decay comes out ahead in the second. (At least with this seed. With one of our five,
# the decay made no difference.) Warmup does not make a model better; it makes *higher learning rates* usable, and those
# make it better.

# %% [markdown]
# ## 5.8 Clipping: one bad batch
#
# Sooner or later there is a batch whose gradient is a hundred times as long as usual: a garbled line, a rare word, a
# place where the loss is a cliff. What does it do to Adam? Its step is at most about η, so you might think: nothing.
# Let a single weight have the gradient 1 at every step except step 50, where it is 100.

# %%
predict("the gradient is always 1, so the steps are 1 η long; at step 50 it is 100. How long are the steps at 60, "
        "at 100 and at 400, with betas 0.9 and 0.999?")  # fmt: skip

# %%
shown_steps = (49, 50, 60, 80, 100, 200, 400, 1000)
print("step                 " + "".join(f"{t:>7}" for t in shown_steps))
for beta2, limit in ((0.999, math.inf), (0.99, math.inf), (0.999, 1.0)):
    w = torch.zeros(1, requires_grad=True)
    optimizer, sizes = torch.optim.Adam([w], lr=1.0, betas=(0.9, beta2)), {}
    for t in range(1, 1001):
        before = w.item()
        w.grad = torch.tensor([min(limit, 100.0 if t == 50 else 1.0)])
        optimizer.step()
        sizes[t] = before - w.item()
    name = f"β₂ {beta2}" + (", clipped" if limit == 1.0 else "")
    print(f"{name:<21}" + "".join(f"{sizes[t]:7.2f}" for t in shown_steps))

# %% [markdown]
# The bad batch does not make Adam jump. It makes Adam *crawl*: the mean of squares has seen $100^2$ and cannot forget
# it for about $1 / (1 - \beta_2)$ steps, while the mean of the gradient forgot it long ago. With $\beta_2$ = 0.999, the
# weight moves at a tenth to a fifth of its rate for hundreds of steps. With SGD it is the other way around: one step
# that is a hundred times too long, and everything learned so far may be lost.
#
# **Gradient clipping** prevents both (Pascanu, Mikolov & Bengio 2013, Algorithm 1): if the gradient is longer than a
# limit $c$, scale it down to length $c$,
#
# $$ g \leftarrow g \cdot \min\!\left(1, \frac{c}{\lVert g \rVert}\right), \qquad
#    \lVert g \rVert = \sqrt{\textstyle\sum_p \sum_i g_{p,i}^2}, $$
#
# where the sum runs over *all* weights $i$ of *all* parameters $p$: the **global norm**. One factor for everything
# preserves the direction. Clipping happens before the optimizer sees the gradient, and after all micro-batches have
# been added up (5.9). Clipping each parameter or each number on its own is something else: it changes the direction of
# the gradient. By how much?

# %%
model = gpt()
nats(model, objective.collate(train.batch(SEED, 0, BATCH))).backward()
gradients = [weight.grad.clone() for weight in model.parameters()]
flat = torch.cat([g.flatten() for g in gradients])  # (number of weights,)
norm = flat.norm().item()
limit, n, N = norm / 4, len(gradients), len(flat)
in_three_ways = {  # the limits are chosen so that in each case the norm of the whole gradient is at most `limit`
    "by the global norm": flat * limit / norm,
    "each parameter by itself": torch.cat([g.flatten() * min(1, limit / n**0.5 / g.norm().item()) for g in gradients]),
    "each number by itself": flat.clamp(-limit / N**0.5, limit / N**0.5),
}
print(f"{n} parameters, {N:,} weights, norm of the gradient {norm:.2f}")
for name, clipped in in_three_ways.items():
    angle = math.degrees(math.acos(min(1.0, torch.cosine_similarity(flat, clipped, dim=0).item())))
    print(f"{name:<26} turns it by {angle:4.0f} degrees")

# %% [markdown]
# The usual limit, also in this library, is 1. Look at the norms of your run and choose a limit that clips the outliers,
# not the typical gradient: the model of this lesson starts with a norm of 2 and is at 0.5 after fifty steps. And log
# the norm *before* clipping: after it, every catastrophe looks like 1.00. Exercise **clip_gradients**.

# %% [markdown]
# ## 5.9 A batch in parts
#
# A large batch has a less noisy gradient, but may need more memory than you have. The gradient of a sum is the sum of
# the gradients, so compute the batch in parts (**micro-batches**), add up their gradients, and take one step. torch
# does the adding by itself, because `backward()` *adds* to `.grad`. This is **gradient accumulation**, and it is exact,
# if you get one thing right.
#
# The loss of a batch is a mean over tokens. Let part $i$ have $n_i$ targets with the losses $\ell_{i1}, \ell_{i2}, …$
#
# $$ L = \frac{\sum_i \sum_j \ell_{ij}}{\sum_i n_i} = \sum_i \frac{n_i}{N} L_i, \qquad
#    L_i = \frac{1}{n_i} \sum_j \ell_{ij}, \quad N = \sum_i n_i. $$
#
# The means $L_i$ of the parts have the weights $n_i / N$. The easy thing to write instead is $\frac{1}{k} \sum_i L_i$
# with $k$ parts, the **mean of means**: take the mean loss of each part and divide by the number of parts. If all parts
# have the same number of targets, the two are equal, and every test on equal parts passes. If the rows are sentences of
# different lengths, made equally long with padding, they are not equal: a token in a short part counts for more than
# one in a long part, and *how the batch happened to be split* decides what is learned. Widely used libraries did this
# for years (Hugging Face 2024, *Fixing Gradient Accumulation*).
#
# So: **sum over everything, count over everything, divide once.** The count has to be known before the first
# `backward()`. That is no problem: the targets are known, and counting them needs no model. A position without a target
# is marked with -100 in this library (`IGNORE_INDEX`), and counts neither in the sum nor in the number of targets.
#
# Here are sixteen rows. Eight are answers to questions about the stories, a few characters each; they form one part.
# The other eight are beginnings of stories, as long as the model's context; they form the other. (We keep the gradient
# of each part's mean as a separate vector, so that we can add them up in both ways.)

# %%
answers = [story.questions[0].answer for story in train_stories[:8]]
rows = [np.array(tokenizer.encode(text)) for text in answers + [story.text[: T + 1] for story in train_stories[:8]]]
print(" | ".join(answers))


def gradient_of_mean(rows):
    """Return the gradient of the mean loss of these rows as one vector, and their number of targets."""
    model, batch = gpt(), objective.collate(rows)
    gradients = torch.autograd.grad(nats(model, batch), list(model.parameters()))
    return torch.cat([g.flatten() for g in gradients]), objective.n_targets(batch)["causal"]


whole, _ = gradient_of_mean(rows)
(short, n_short), (long, n_long) = gradient_of_mean(rows[:8]), gradient_of_mean(rows[8:])
print(f"targets: {n_short} in the short half, {n_long} in the long half")
for name, vector in (
    ("weighted by their targets", (n_short * short + n_long * long) / (n_short + n_long)),
    ("mean of means", (short + long) / 2),
):
    print(f"{name:<26} off by {(vector - whole).norm() / whole.norm():.1e} of the gradient's length")

# %% [markdown]
# Weighted by their targets, the parts give the gradient of the whole batch, up to rounding. The mean of means is a
# different vector, off by a third of its length: in it, a character of an answer counts nearly three times as much as a
# character of a story. Nothing crashes and the loss falls, but the model learns something other than what you meant.
# Exercise **accumulated_gradient** asks you to write this; exercise **opposite_steps** asks for a case in which the
# mean of means even has the wrong sign.
#
# The same arithmetic returns when a batch is split over several machines (lesson 22).

# %% [markdown]
# ## 5.10 Sixteen bits
#
# A 32-bit number (fp32) has a sign, 8 bits of exponent and 23 bits of fraction. Two 16-bit formats need half the memory
# and multiply at least twice as fast on hardware made for them. They save bits in different places:
#
# | | exponent | fraction | largest | smallest above 0 | next number after 1 |
# |---|---|---|---|---|---|
# | fp32 | 8 bits | 23 bits | 3.4 · 10³⁸ | 1.4 · 10⁻⁴⁵ | 1.00000012 |
# | bf16 | 8 bits | 7 bits | 3.4 · 10³⁸ | 9.2 · 10⁻⁴¹ | 1.0078 |
# | fp16 | 5 bits | 10 bits | 65504 | 6.0 · 10⁻⁸ | 1.00098 |
#
# **bf16** has the range of fp32 and two to three decimal digits. **fp16** has one more digit, but hardly any range.
# Neither is a problem in a matrix product. Elsewhere, each has a problem of its own.

# %%
predict("a weight of 0.1 takes a thousand steps of 0.0001. It should end at 0.2. Where does it end in bf16, and where "
        "in fp16?")  # fmt: skip

# %%
for dtype in (torch.float32, torch.bfloat16, torch.float16):
    once = torch.tensor(0.1, dtype=dtype) + 1e-4
    x = torch.tensor(0.1, dtype=dtype)
    for _ in range(1000):
        x = x + 1e-4
    print(f"{str(dtype)[6:]:<9} 0.1 + 0.0001 = {once.item():.6f}   a thousand times: {x.item():.4f}")

# %% [markdown]
# In bf16, 0.1 + 0.0001 *is* 0.1 (more precisely, 0.1001, the nearest number). Between 1/16 and 1/8 there are $2^7$
# numbers, each $2^{-11}$ = 0.0005 from the next. A step of 0.0001 is less than half of that, so the sum is rounded back
# to where it was: the weight does not move slowly, it does not move at all. In fp16 the numbers there are 0.00006
# apart. The step is rounded up to two of these, and the weight ends up too far.
#
# The end of training suffers most, because its learning rates are small. So the rule of **mixed precision** is
# (Micikevicius et al. 2018, section 3.1): multiply in 16 bits, but *keep the weights and the optimizer state in fp32*.
# This is what `--precision bf16` does in this library. To see what it is good for, we round the weights after each
# step:

# %%
loss, _ = train_model(peak=0.001, dtype=torch.bfloat16)
print(f"peak 0.001: weights kept in fp32 {sweep[0.001]:.3f} nats, in bf16 {loss:.3f} nats")
result("bf16 weights worse by, nats per character", loss - sweep[0.001], 0.07, 0.04)

# %% [markdown]
# Many of the small steps vanish, and the model falls behind. No line of the program is wrong, and the loss curve does
# not say why it is higher.
#
# fp16 has the other problem, its range. Gradients are small numbers; those below $3 \cdot 10^{-8}$, half of the
# smallest fp16 number, are rounded to 0, and their weights learn nothing. The remedy is **loss scaling** (their section
# 3.2): multiply the loss by a large number $S$ before `backward()`. By the chain rule, every gradient is multiplied by
# $S$ too, which lifts it out of the range where numbers vanish. Divide by $S$ in fp32, *before* clipping (or you would
# clip $S$ times too hard), and take the step.

# %%
gradient, scale = 2e-8, 65536.0
print("fp16:            ", torch.tensor(gradient).half().item())
print("fp16, scaled:    ", (torch.tensor(gradient) * scale).half().float().item() / scale)
print("scaled too much: ", (torch.tensor(2.0) * scale).half().item())

# %% [markdown]
# How large may $S$ be? As large as possible without an overflow to infinity. When something overflows, the step is
# skipped and $S$ is halved; when all goes well for a while, $S$ is doubled (`torch.amp.GradScaler`, which the library's
# loop uses). bf16 needs none of this, so the library uses bf16 where the hardware supports it well.

# %% [markdown]
# ## 5.11 How to read a loss curve
#
# You know four numbers *before* the run. Write them down:
#
# 1. **The first loss** of a model that has learned nothing is $\ln V$, here 4.1. Much more: it is confident and wrong;
#    look at the initial weights. Much less: it sees the answer.
# 2. **The loss of a model that only counts.** Knowing how frequent each character is gives 3.0 here, as the next cell
#    computes; knowing the last character gives 2.27 (lesson 03). A model that stays at one of these numbers has not
#    learned anything that counting could not tell it.
# 3. **The floor.** Below it there is nothing to learn: a lower loss means a leak or memorized text. For real text
#    nobody knows the floor, but for our stories we do: 0.06.
# 4. **What the last run reached**, and the spread over seeds.
#
# And there are four things to look at besides the training loss: the loss on held-out text, measured in evaluation
# mode; the same *a second time*, which must give the same number; the norm of the gradient; and the learning rate
# itself (bugs in the schedule are common). A healthy curve falls steeply, then ever more slowly, noisy from batch to
# batch, and calmer toward the end as the learning rate goes down.
#
# If it looks wrong, make it *small*. Train on one batch, over and over, without dropout or weight decay: a correct
# model memorizes it, down to a loss near zero. If it cannot, the bug is in the model or in the loss, and everything
# else can wait. If it can, the bug is in the data, the validation, or the recipe.

# %%
frequencies = np.bincount(tokenizer.encode(train_text)) / len(train_text)
by_frequency = -sum(p * math.log(p) for p in frequencies if p > 0)
print(f"ln V {math.log(V):.2f}, character frequencies {by_frequency:.2f}, floor {floor:.2f}")

model, batch = gpt(), objective.collate(train.batch(SEED, 0, 2))  # two rows, 64 characters
(optimizer,) = make_optimizers(model, TrainingSettings(learning_rate=PEAK, weight_decay=0.0, precision="fp32"))
for step in range(61):
    loss = nats(model, batch)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if step % 20 == 0:
        print(f"step {step:>3}, the same two rows every time: {loss.item():.3f} nats per character")
result("two memorized rows, nats per character", loss.item(), 0.003, 0.02)

# %% [markdown]
# ## 5.12 Eight broken runs
#
# Now you are the doctor. Nine runs follow: eight patients, each with exactly one thing wrong, and a healthy run for
# comparison. Everything else is as above. These are the eight faults, in no particular order:
#
# - the learning rate is thirty times too high;
# - the learning rate is a hundred times too low;
# - the initial weights are fifty times too large;
# - the labels are not shifted: the target at each position is the character at that position, not the next one;
# - `zero_grad` was forgotten, so every gradient is the sum of all gradients so far;
# - the data are sorted: half of the training text is in German (all umlauts spelled out), and all of it comes last;
# - the validation text is the training text (and there is little of it);
# - dropout, 0.3, is left on during validation: somebody forgot `model.eval()`.
#
# The code below plants them. A shuffled deck assigns the letters A to H, so reading the code will not give them away.

# %%
FAULTS = [
    "learning rate too high", "learning rate too low", "initial weights too large", "labels not shifted",
    "zero_grad forgotten", "data sorted", "validated on the training text", "dropout on in validation",
]  # fmt: skip
GALLERY = 120  # steps of each run
quick_val = [val[i] for i in range(60)]
small_text = "\n".join(story.text for story in train_stories[:6])
spelled_out = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"})
german = "\n".join(story.german for story in train_stories[:100]).translate(spelled_out)
german = "".join(character for character in german if character in set(tokenizer.decode(range(V))))
HALF = GALLERY // 2 * BATCH * T  # characters
sorted_ids = np.array(tokenizer.encode(train_text[:HALF] + german[: HALF + 1]))


def broken_run(fault, steps=GALLERY):
    """Train with one fault (or none); return the losses and gradient norms of its steps and its validation losses."""
    factor = {"learning rate too high": 30, "learning rate too low": 0.01}.get(fault, 1)
    model = gpt(
        init_scale=250.0 if fault == "initial weights too large" else 5.0,
        dropout=0.3 if fault == "dropout on in validation" else 0.0,
    )
    (optimizer,) = make_optimizers(model, TrainingSettings(precision="fp32"))
    text = windows(small_text) if fault == "validated on the training text" else train
    examples = [text.example(1, i) for i in range(60)] if fault == "validated on the training text" else quick_val
    losses, norms = [], []

    def loss_of(rows):
        batch = dict(objective.collate(rows))
        if fault == "labels not shifted":
            batch["targets"] = batch["ids"]
        return nats(model, batch)

    def validate():
        model.train(fault == "dropout on in validation")  # else evaluation mode
        with torch.no_grad():
            return loss_of(examples).item()

    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = factor * PEAK * learning_rate_factor(step, steps, WARMUP, "cosine", 0.1)
        rows = text.batch(SEED, step * BATCH, BATCH)  # (B, T + 1)
        if fault == "data sorted":
            rows = [sorted_ids[i * T : (i + 1) * T + 1] for i in range(step * BATCH, (step + 1) * BATCH)]
        model.train()
        loss = loss_of(rows)
        loss.backward()
        norms.append(nn.utils.clip_grad_norm_(model.parameters(), 1.0).item())
        losses.append(loss.item())
        optimizer.step()
        if fault != "zero_grad forgotten":
            optimizer.zero_grad()
    record = {"losses": losses, "norms": norms, "val": validate(), "again": validate()}
    return {**record, "fresh": measure(model, quick_val)}


def smoothed(losses, width=10):
    means = [(i + width, float(np.mean(losses[i : i + width]))) for i in range(0, len(losses) - width + 1, 5)]
    return [(step, min(loss, 4.5)) for step, loss in means]  # capped, so that one curve does not hide the others


deck = FAULTS.copy()
random.Random(5).shuffle(deck)
patients = dict(zip("ABCDEFGH", deck, strict=True))
runs = {letter: broken_run(fault) for letter, fault in patients.items()}
healthy = broken_run(None)

print("                 training loss            validation      norm of the gradient")
print("run         first   middle     end      once    again       early      late")
for letter, run in {**runs, "healthy": healthy}.items():
    losses, norms = run["losses"], run["norms"]
    print(
        f"{letter:<8} {losses[0]:8.2f} {np.mean(losses[55:65]):8.2f} {np.mean(losses[-10:]):7.2f}  "
        f"{run['val']:8.3f} {run['again']:8.3f}    {np.median(norms[20:40]):8.2f}  {np.median(norms[-20:]):8.2f}"
    )
for letters in ("ABCD", "EFGH"):
    curves(
        {letter: smoothed(run["losses"]) for letter, run in runs.items() if letter in letters}
        | {"healthy": smoothed(healthy["losses"])},
        f"Runs {letters[0]} to {letters[-1]}", "step", "training loss (capped at 4.5)", f"05-runs-{letters}",
    )  # fmt: skip

# %%
predict("which run has which fault? Write down eight letters with your reasons before you continue.")

# %%
for letter, fault in patients.items():
    print(f"{letter}: {fault:<32} on fresh text, in evaluation mode: {runs[letter]['fresh']:.2f}")
print(f"healthy: {healthy['fresh']:>56.2f}")
by_fault = {fault: runs[letter] for letter, fault in patients.items()}
result("labels not shifted, validation", by_fault["labels not shifted"]["val"], 0.006, 0.01)
result("learning rate too high, validation", by_fault["learning rate too high"]["val"], 2.98, 0.2)
sorted_run = by_fault["data sorted"]
result(
    "data sorted, validation above training", sorted_run["val"] - float(np.mean(sorted_run["losses"][-10:])), 0.49, 0.15
)
leaked_run = by_fault["validated on the training text"]
result("validated on the training text: fresh text worse by", leaked_run["fresh"] - leaked_run["val"], 0.21, 0.15)
result("healthy, nats per character", healthy["fresh"], 2.29, 0.1)

# %% [markdown]
# **What to see**, fault by fault.
#
# - *Labels not shifted*: the loss falls below the **floor**, and no model can do that by learning. It copies its input;
#   on the real task it is far worse than chance. Without a known floor, we might have been proud of it. (A mask that
#   lets the model look ahead has the same effect. Lesson 03's test tells them apart: change the future and see which
#   outputs change.)
# - *Initial weights too large*: the **first loss** is far above ln V, and the gradients are tens of times as long as
#   the healthy ones. The run spends its time unlearning.
# - *Learning rate too high*: ends **at the loss of the character frequencies**, a number that you know from counting.
#   The weights have been thrown so far that the blocks contribute nothing useful any more; the gradients are small, and
#   there is no way back.
# - *Learning rate too low*: also bad, but smooth, and **still falling** when the run ends. Compare it with the one
#   above: a similar loss, the opposite medicine.
# - *zero_grad forgotten*: the norm of the gradient stays **more than twice the healthy one's**, since it is the sum of
#   all gradients so far, and the loss falls slowly, because each step mostly follows old gradients. (It learns at all
#   only thanks to clipping, which scales the sum down at each step.)
# - *Data sorted*: a **jump in the middle** of the training loss, and at the end a validation loss far above it. The
#   model has learned German and forgotten English. Overfitting does not look like this: here, every text was read only
#   once.
# - *Validated on the training text*: looks like the **best run of all**: better than the healthy one, which had more
#   text, and as low in validation as in training, although it has read its six stories nineteen times. The only
#   giveaway is that it is too good. Keep the validation text away from everything that learns, including the tokenizer.
# - *Dropout on in validation*: validating the **same model a second time gives a different number**. And training and
#   validation loss are equal, although a model with dropout should do better in validation than in training.
#
# Three of the eight (high rate, low rate, German) show in the training curve alone. Three show only next to a number
# that you have to know: the floor, ln V, the healthy run's norm. Two show only in the validation. This is why the
# previous section asks you to write the numbers down first.

# %% [markdown]
# ## 5.13 All of it together
#
# Now the library's own loop, `llmasos/training/trainer.py`. You have met every line of its `step`: gradient
# accumulation, the sum divided by the count, the global norm, the schedule, AdamW with decay for matrices only. We
# train the same small model a little longer, with two micro-batches per step. With `python -m lessons run 5 --mine`,
# your own functions take over, as far as you have written them: your accumulation, your clipping, your schedule, your
# AdamW.

# %%
clip_gradients = part("clip_gradients", None)
warmup_cosine = part("warmup_cosine", None)
adamw_step = part("adamw_step", None)
accumulated_gradient = part("accumulated_gradient", None)

settings = TrainingSettings(
    max_steps=300, batch_size=BATCH, gradient_accumulation_steps=2, learning_rate=PEAK, warmup_steps=WARMUP,
    precision="fp32", seed=SEED, weight_decay=0.1, beta1=0.9, beta2=0.99, grad_clip=1.0,
)  # fmt: skip
model = gpt()
trainer = Trainer(model, objective, train, val, settings, run=Path("unused"))
decays = {id(weight) for weight in split_parameters(model, "adamw")[1]}
moments = {}  # for adamw_step: m and v of each parameter


def my_step(step):
    """Take one step like the trainer's, with the student's functions where they exist."""
    batches = list(trainer.micro_batches(step))
    if accumulated_gradient is not None:
        loss = accumulated_gradient(model, [(batch["ids"], batch["targets"]) for batch in batches])
    else:
        loss = sum(nats(model, batch) for batch in batches) / len(batches)  # all have the same number of targets here
        loss.backward()
    weights = list(model.parameters())
    if clip_gradients is not None:
        for weight, gradient in zip(
            weights, clip_gradients([w.grad for w in weights], settings.grad_clip)[0], strict=True
        ):
            weight.grad = gradient
    else:
        nn.utils.clip_grad_norm_(weights, settings.grad_clip)
    rate = trainer.learning_rate(step)
    if warmup_cosine is not None:
        rate = PEAK * warmup_cosine(step, settings.max_steps, settings.warmup_steps, settings.min_lr_ratio)
    if adamw_step is not None:
        with torch.no_grad():
            for w in weights:
                m, v = moments.get(id(w), (torch.zeros_like(w), torch.zeros_like(w)))
                decay = settings.weight_decay if id(w) in decays else 0.0
                new, m, v = adamw_step(w, w.grad, m, v, step + 1, rate, settings.beta1, settings.beta2, 1e-8, decay)
                w.copy_(new)
                moments[id(w)] = m, v
    else:
        set_learning_rate(trainer.optimizers, rate)
        trainer.optimizers[0].step()
    model.zero_grad()
    return float(loss)


mine = any(f is not None for f in (clip_gradients, warmup_cosine, adamw_step, accumulated_gradient))
for step in range(settings.max_steps):
    model.train()
    loss = my_step(step) if mine else trainer.step(model).loss
    trainer.state.step += 1
    if step % 50 == 49:
        print(f"step {step + 1:>4}  training loss {loss:.2f}")
result("300 steps, nats per character", measure(model), 1.99, 0.1)

# %% [markdown]
# Nothing new was needed for this, only more steps: 300 instead of 200. The floor, 0.06, is still far away. A larger
# model, more text and the same loop get much closer (`python train.py`, two minutes).

# %% [markdown]
# ## 5.14 What was left out
#
# - **Other optimizers.** Muon appeared in 5.5 (`llmasos/training/muon.py`); there are dozens more. You can say which of
#   two is better only after tuning the learning rate of *both*.
# - **Averaging the weights** of the last steps, early stopping, the gradient noise scale, how batch size and learning
#   rate depend on each other (Goyal et al. 2017): a rate that is right for one batch size is not right for another.
# - **How to spend a given amount of compute**: on a larger model or on more text, lesson 21.
# - **What else the default recipe does.** `python train.py` ends 0.05 above the floor. What each of its parts gains is
#   measured by leaving it out and training for the same processor time (`python -m llmasos.tools.ablation`; here 20
#   seconds on one slow core, which is a tenth of the default run, and five seeds):
#
#   | part left out | loss (lowest to highest) | worse by | steps in 20 s | better by, if added alone |
#   |---|---|---|---|---|
#   | nothing | 0.651 (0.642–0.662) |  | 161 | |
#   | embeddings of 2- and 3-grams | 1.222 (1.184–1.269) | 0.571 | 157 | 1.701 |
#   | two layers instead of four | 1.047 (1.015–1.081) | 0.396 | 86 | 0.769 |
#   | an output layer of its own | 0.797 (0.784–0.807) | 0.147 | 147 | 0.248 |
#   | rotary positions, no biases | 0.796 (0.784–0.817) | 0.145 | 153 | 0.124 |
#   | rows that begin where a document begins | 0.786 (0.761–0.806) | 0.135 | 99 | 0.680 |
#   | blocks that start as the identity | 0.771 (0.763–0.778) | 0.120 | 142 | −0.073 |
#   | a learning rate that falls linearly from 0.015 to 0 | 0.761 (0.743–0.776) | 0.111 | 161 | 0.636 |
#   | squared ReLU | 0.711 (0.697–0.726) | 0.061 | 159 | −0.120 |
#   | value embeddings | 0.704 (0.696–0.720) | 0.054 | 151 | −0.108 |
#   | two heads, q and k normalized | 0.694 (0.683–0.706) | 0.043 | 160 | −0.070 |
#
#   With four layers a step takes nearly twice the time, and with windows anywhere, which are longer than a story, more
#   than one and a half times. Every part gains this early. On a machine that takes twice as many steps in 20 seconds,
#   the whole recipe ends at 0.50, and value embeddings and the two heads gain nothing any more (two to three seeds):
#   the nearer to the floor, the less is left to gain.
#
#   The last column is the opposite experiment: one part added to a plain GPT-2, which ends at 3.83 (3.81–3.85) after
#   58 steps (five seeds; 10 seconds on a core that is twice as fast). Four parts that help in the full recipe *hurt*
#   here. What a part gains depends on the others, so always ask what it was measured with.
# - **Several machines**: lesson 22. **Saving and resuming**: `llmasos/training/checkpoints.py`.
#
# **Further reading.** Kingma & Ba 2015, *Adam: A Method for Stochastic Optimization*, sections 2 and 3. Loshchilov &
# Hutter 2019, *Decoupled Weight Decay Regularization*; and their *SGDR*, 2017, for the cosine. Pascanu, Mikolov &
# Bengio 2013, *On the Difficulty of Training Recurrent Neural Networks*. Micikevicius et al. 2018, *Mixed Precision
# Training*. Goyal et al. 2017, *Accurate, Large Minibatch SGD*, sections 2 and 3, for warmup and a list of common
# mistakes. Liu et al. 2020, *On the Variance of the Adaptive Learning Rate and Beyond*. Kunstner et al. 2024,
# *Heavy-Tailed Class Imbalance and Why Adam Outperforms Gradient Descent on Language Models*.
#
# **Now you.** `python -m lessons check 5` creates your file, `lessons/mine/05_training_well.py`, with six exercises.
# When the checks pass, `python -m lessons run 5 --mine` trains the last model with your own functions.
