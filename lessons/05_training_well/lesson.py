# %% [markdown]
# # 05 Training well
#
# - **Question:** The model is right and the data are right. Why does it learn badly all the same, and how do I find
#   out?
# - **Teaches:** SGD, momentum, Adam and AdamW by hand; warmup, decay, clipping, batches in parts, 16-bit numbers; how
#   much of a result is luck; how to read a loss curve, and nine runs with something wrong in them
# - **Minutes:** 120 to read and solve, 1 to run
#
# You need: gradients, the GPT of lesson 04 and its loss in nats a token (lesson 01). The sources are Kingma & Ba 2015,
# *Adam*, and Loshchilov & Hutter 2019, *Decoupled Weight Decay Regularization*, unless another one is named.
#
# Letters: $w$ the weights, $g_t$ the gradient at step $t$, $\eta$ the learning rate, $\lambda$ the weight decay; B rows
# of a batch, T tokens in a row, C width of the model, V size of the vocabulary.

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
from llmasos.training.optimizers import make_optimizers, set_learning_rate, split_parameters
from llmasos.training.recipe import TrainingSettings
from llmasos.training.schedules import learning_rate_factor
from llmasos.training.trainer import Trainer

torch.manual_seed(seed())
torch.set_num_threads(min(2, torch.get_num_threads()))

# %% [markdown]
# ## 5.1 Downhill, one step at a time
#
# Lesson 04 ended with a model that can learn. Whether it does depends on a dozen lines that came with it and were not
# explained: an optimizer called AdamW, a learning rate that rises and falls, a gradient that is cut when it is long.
# Leave one of them out and the model may learn half as well, or nothing, and *no line of code will complain*. A wrong
# shape stops a program. A wrong learning rate gives you a model, only a bad one.
#
# So this lesson takes the dozen lines apart. In the first half we build the optimizer, from one line to five. In the
# second half we train small models well, then badly on purpose, until you can tell from a curve what is wrong.
#
# It begins with one line. The gradient $g_t$ of the loss says in which direction the loss rises fastest; go a little
# the other way:
#
# $$ w_t = w_{t-1} - \eta \, g_t $$
#
# This is **gradient descent**, and with $g_t$ taken from a few random rows of the data instead of all, *stochastic*
# gradient descent, SGD. All its wisdom is in $\eta$. What happens if it is too small is plain: one arrives late. To see
# what happens if it is too large, take a loss of two weights that is a valley, 25 times as steep across as along:
#
# $$ L(a, b) = \tfrac{1}{2} (a^2 + 25 \, b^2), \qquad \frac{\partial L}{\partial a} = a, \qquad
#    \frac{\partial L}{\partial b} = 25 \, b $$
#
# One step of gradient descent multiplies $a$ by $1 - \eta$ and $b$ by $1 - 25 \eta$. A weight that is multiplied again
# and again by the same number shrinks if this number lies between -1 and 1, and grows without end if it does not. So
# the steep direction allows $\eta < 2/25 = 0.08$, and not a hair more.

# %%
START = (10.0, 1.0)


def valley(w):
    return 0.5 * (w[0] ** 2 + 25 * w[1] ** 2)


def descend(optimizer_class, steps=60, **settings):
    """The points that an optimizer visits on its way down the valley."""
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
# The best rate lies shortly below the edge, and just beyond the edge the loss explodes. Remember this shape: *better
# and better, then suddenly worse*. You will meet it again with a real model (5.6).
#
# And the valley is a nuisance. The steep direction forbids rates above 0.08, and at such a rate the flat direction
# keeps 92 % of its error at every step. A model has as many directions as weights, some of them far
# steeper than others. The two cures for this are the two halves of Adam.

# %% [markdown]
# ## 5.2 Momentum: steps that remember
#
# Across the valley the gradient changes its sign at every step; along it, it always points the same way. So let the
# steps *add up*: what alternates cancels, what persists grows.
#
# $$ u_t = \beta \, u_{t-1} + g_t, \qquad w_t = w_{t-1} - \eta \, u_t $$
#
# (Polyak 1964.) $\beta$ between 0 and 1 is the memory. Were the gradient always the same $g$, $u$ would tend to
# $g (1 + \beta + \beta^2 + \dots) = g / (1 - \beta)$: with $\beta = 0.9$ a step ten times as long as without momentum.
# This is why a learning rate that was good without momentum is too large with it.
#
# Written as a **running mean**, $m_t = \beta m_{t-1} + (1 - \beta) g_t$, the same idea keeps its size: the weights
# $1 - \beta$, $(1 - \beta)\beta$, $(1 - \beta)\beta^2$, … of the last gradient, the one before it, and so on add up to
# 1. It looks back over some $1 / (1 - \beta)$ steps. torch's `SGD(momentum=…)` is the sum, Adam has the mean.

# %%
paths = {
    "SGD": descend(torch.optim.SGD, steps=30, lr=0.07),
    "with momentum": descend(torch.optim.SGD, steps=30, lr=0.03, momentum=0.7),
}
for name, path in paths.items():
    print(f"{name:<15} loss after 10, 20, 30 steps:", *(f"{valley(path[i]):10.5f}" for i in (10, 20, 30)))
curves(paths, "Down the valley, thirty steps", "a (flat)", "b (steep)", "05-valley")

# %% [markdown]
# **What to see.** Both come from the right. SGD zigzags: the steep weight $b$ jumps from one side of the valley to the
# other at every step, because the rate is just below what it bears. Momentum turns the zigzag into long waves. It
# crosses the valley less often, gets farther along it in each step, and after thirty steps its loss is less than a
# hundredth of the other's.

# %% [markdown]
# ## 5.3 Adam: a rate for every weight
#
# The second cure: if one direction is 25 times as steep as the other, *divide by the steepness*. Nobody knows it, but
# the size of the gradient tells something about it, weight by weight. So keep a second running mean, of the *square*
# of each gradient, and divide by its root. This is Adam (Kingma & Ba 2015, Algorithm 1). Everything is meant for each
# weight by itself; $m_0 = v_0 = 0$; $t$ counts from 1:
#
# $$ \begin{aligned}
#    m_t &= \beta_1 m_{t-1} + (1 - \beta_1)\, g_t       && \text{running mean of the gradient} \\
#    v_t &= \beta_2 v_{t-1} + (1 - \beta_2)\, g_t^2     && \text{running mean of its square} \\
#    \hat m_t &= m_t / (1 - \beta_1^t)                  && \text{corrected for the zero it began with} \\
#    \hat v_t &= v_t / (1 - \beta_2^t)                  && \text{likewise} \\
#    w_t &= w_{t-1} - \eta \, \hat m_t / (\sqrt{\hat v_t} + \epsilon)
#    \end{aligned} $$
#
# ($\beta_1^t$ is a power: $\beta_1$ times itself, $t$ times.) Three things follow.
#
# **The scale of the gradient does not matter.** Multiply the loss by 1000: $m$ grows by 1000, $\sqrt v$ too, and the
# step stays what it was. (Only $\epsilon$, usually $10^{-8}$, notices. It is there so that a weight whose gradient has
# always been zero gets $0 / \epsilon = 0$ and not $0 / 0$. It stands *outside* the root: inside, $10^{-8}$ would
# act like $10^{-4}$ beside the gradient.)
#
# **The learning rate has a unit.** If the gradient of a weight is always the same, $\hat m = g$, $\sqrt{\hat v} =
# |g|$, and the step is $\eta$, whatever $g$ is. If it changes its sign at random, $\hat m$ is small beside $\sqrt{\hat
# v}$ and so is the step. So $\eta$ is about the farthest a weight moves in one step (section 2.1 of the paper), and a
# weight moves that far only if its gradients agree with each other.
#
# **The first step is a full one.** At $t = 1$ both means know one gradient only: $\hat m_1 / \sqrt{\hat v_1} = g /
# |g|$. *Every* weight moves by $\eta$, up or down, on the word of a single batch. Keep this in mind for section 5.7.
#
# ### Why the correction
#
# Unroll the running mean of gradients that all have the expectation $\mathrm{E}[g]$ (section 3 of the paper):
#
# $$ m_t = (1 - \beta_1) \sum_{i=1}^{t} \beta_1^{t-i} g_i, \qquad
#    \mathrm{E}[m_t] = \mathrm{E}[g]\,(1 - \beta_1) \sum_{i=1}^{t} \beta_1^{t-i} = \mathrm{E}[g]\,(1 - \beta_1^t), $$
#
# the last by the sum of a geometric series. The mean is too small by the factor $1 - \beta_1^t$, because it began at
# zero and has not forgotten it yet. Dividing by this factor makes it right, and as $t$ grows the factor goes to 1 and
# the correction disappears by itself. The same holds for $v$ with $\beta_2$.
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
# With the paper's betas the first step is 3.2 times too long ($0.1 / \sqrt{0.001}$) and the tenth 6.5 times, and after
# a hundred steps it is still three times too long. It is the *slow* mean, in the denominator, that does the harm: the
# longer its memory, the longer it remembers its zero. With $\beta_2$ = 0.99, the library's choice for short runs, the
# first step has the right size by accident and the tenth is twice too long. Somebody who tests a homemade Adam on its
# first step with these betas will not notice that the correction is missing.

# %% [markdown]
# ## 5.4 AdamW: decay beside the gradient
#
# Weights that are not needed should be small: large weights fit the accidents of the training text. The old recipe is a
# penalty $\frac{\lambda}{2} w^2$ in the loss (**L2 regularization**). Its gradient is $\lambda w$, so plain gradient
# descent becomes
#
# $$ w_t = w_{t-1} - \eta (g_t + \lambda w_{t-1}) = (1 - \eta \lambda)\, w_{t-1} - \eta\, g_t : $$
#
# every step shrinks each weight by the share $\eta \lambda$. Hence the other name, **weight decay**. For SGD the two
# are the same thing. For Adam they are not (Loshchilov & Hutter 2019, proposition 2), and for years everybody's Adam
# did the wrong one. If $\lambda w$ is added to the gradient, it goes through $m$ and $v$ with it, and is *divided by
# $\sqrt{\hat v}$*. A weight with large gradients is then hardly decayed, one with small gradients very much. But a
# weight with large gradients is the one that fits the accidents.
#
# **AdamW** (their Algorithm 2) leaves the gradient alone and lets the decay stand beside it:
#
# $$ w_t = (1 - \eta \lambda)\, w_{t-1} - \eta\, \frac{\hat m_t}{\sqrt{\hat v_t} + \epsilon} $$
#
# with $m$, $v$ and their corrections as in Adam, from $g_t$ alone. The decay takes its fraction of the *old* weight.
# (In the paper the decay is multiplied by the schedule, but not by $\eta$ itself. torch, this library, and nearly
# everybody else multiply it by the whole learning rate of the step, so that is what we do: with $\eta = 0.01$ and
# $\lambda = 0.1$ a weight loses a thousandth at each step, and half of itself in 700 steps.)
#
# Two weights, both 1. Their gradients go to and fro, +10, -10, +10, … and +0.1, -0.1, +0.1, …, and on the whole say
# nothing: only the decay should move them.

# %%
predict("2,000 steps with η = 0.01 and λ = 0.1. A share of 0.999²⁰⁰⁰ = 0.135 should be left of each weight. What does "
        "L2 leave of the one with gradients ± 10, and of the one with ± 0.1?")  # fmt: skip

# %%
for name, optimizer_class in (("L2 inside Adam's gradient", torch.optim.Adam), ("AdamW", torch.optim.AdamW)):
    w = torch.ones(2, requires_grad=True)
    optimizer = optimizer_class([w], lr=0.01, weight_decay=0.1, betas=(0.9, 0.99))
    for t in range(2000):
        w.grad = torch.tensor([10.0, 0.1]) * (-1) ** t
        optimizer.step()
    print(f"{name:<28} gradients ± 10: {w[0]:.3f}    gradients ± 0.1: {w[1]:.3f}")

# %% [markdown]
# The same λ, and one weight keeps four fifths of itself while the other is gone. With AdamW both keep what they should.
#
# **Which weights decay?** A matrix maps features to features, and a smaller one is a smoother map. But a bias, or the
# weight of a norm that begins at 1, is not better for being near zero: pulling the norm's weights down only dims the
# whole layer. So the library decays whatever has two dimensions, matrices and embeddings, and nothing else:
# `split_parameters` in `llmasos/training/optimizers.py` sorts them. Section 5.5 prints what it makes of our model.
#
# Exercise **adamw_step** asks for the five lines.

# %% [markdown]
# ## 5.5 A model to train, and four optimizers
#
# The model is the GPT of lesson 04, made small so that we can afford to train it some thirty times: two blocks, width
# 32, and it reads 32 letters at a time. Two hundred steps are a second or two. It will not tell stories; it will tell
# us the difference between two ways of training.
#
# One thing has to be adapted. The library's initial weights have a standard deviation of 0.02, which suits models that
# are many hundreds wide. A sum of only 32 such terms would be next to nothing, so we begin with weights five times as
# large. The first loss tells us whether that was sensible: a model that has learned nothing should say so, and its
# loss be $\ln V$.

# %%
SEED, T, C, BATCH, STEPS, WARMUP, PEAK = seed(), 32, 32, 16, 200, 20, 0.01

train_stories, val_stories = list(stories("train", 1500)), list(stories("val", 30))
train_text, val_text = ("\n".join(story.text for story in some) for some in (train_stories, val_stories))
tokenizer = CharTokenizer.train([train_text])
V = tokenizer.vocab_size


def windows(text):
    return Windows(np.array(tokenizer.encode(text)), T)


train, val = windows(train_text), windows(val_text).validation_windows()
floor = sum(story.nats for story in val_stories) / len(val_text)
objective = CausalLM()


def gpt(which=SEED, larger=5.0, dropout=0.0):
    """A new model; the seed `which` decides its weights."""
    torch.manual_seed(which)
    config = ModelConfig(
        vocab_size=V, context_length=T, n_layers=2, n_heads=2, d_model=C, activation="gelu", dropout=dropout
    )
    model = GPT(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight *= larger
    return model


def nats(model, batch):
    """The loss of a batch: a sum divided by the number of targets."""
    return objective.loss_sums(model, batch)["causal"] / objective.n_targets(batch)["causal"]


def measure(model, examples=val):
    """The validation loss, in nats a letter."""
    model.eval()
    with torch.no_grad():
        return nats(model, objective.collate(examples)).item()


model = gpt()
_, decayed, plain = split_parameters(model, "adamw")
print(f"with decay {sum(p.numel() for p in decayed):,} weights, without {sum(p.numel() for p in plain):,}")
print(f"first loss {measure(model):.2f} nats a letter; ln V = {math.log(V):.2f}; the floor is {floor:.2f}")

# %% [markdown]
# And here is the whole training, in one function. Its arguments are this lesson's questions.

# %%


def train_model(optimizer="AdamW", peak=PEAK, warmup=WARMUP, final=0.1, clip=1.0, steps=STEPS, which=SEED, keep=None):
    """Train one model; returns its validation loss and the points (step, training loss) of its curve.

    optimizer: "SGD", "momentum", "AdamW" or "Muon". peak, warmup, final: of the learning rate. clip: the longest
    gradient; 0 = do not clip. which: the seed. keep: the number format in which the weights are kept between steps.
    """
    model, points, smooth = gpt(which), [], None
    if optimizer in ("SGD", "momentum"):
        optimizers = [torch.optim.SGD(model.parameters(), momentum=0.9 if optimizer == "momentum" else 0.0)]
    else:
        optimizers = make_optimizers(model, TrainingSettings(optimizer=optimizer.lower(), precision="fp32"))
    for step in range(steps):
        for group in [group for each in optimizers for group in each.param_groups]:
            group["lr"] = peak * learning_rate_factor(step, steps, warmup, "cosine", final)
        loss = nats(model, objective.collate(train.batch(which, step * BATCH, BATCH)))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip or math.inf)
        for each in optimizers:
            each.step()
        model.zero_grad()
        if keep is not None:
            with torch.no_grad():
                for weight in model.parameters():
                    weight.copy_(weight.to(keep))  # rounded, and back to fp32 for the next step
        smooth = loss.item() if smooth is None else 0.9 * smooth + 0.1 * loss.item()
        if step % 5 == 4:
            points.append((step + 1, smooth))
    return measure(model), points


# %% [markdown]
# Each optimizer gets a peak of its own, from a few trials with one seed on these same validation stories. The trials
# were not equally many, and you should know that before you compare. SGD: 0.3, 0.5 and 1 gave 2.38, 2.35 and 2.34.
# Momentum: 0.05, 0.1, 0.2 and 0.4 gave 2.48, 2.42, 2.39 and 2.43. AdamW: seven, from 0.0003 to 0.3, of which 0.01 and
# 0.03 are about equally good (5.6). Muon: 0.03 only, with these weights. (Muon, Jordan et al. 2024, keeps a running
# mean of a matrix's gradient and makes all directions of it equally strong; see `llmasos/training/muon.py`.)

# %%
predict("SGD, SGD with momentum, AdamW, Muon: put them in order. The last letter alone, lesson 03's model without "
        "attention, is good for 2.27 nats a letter. Which of the four are below that after 200 steps?")  # fmt: skip

# %%
lines, reached = {}, {}
for optimizer, peak, expected, spread in (
    ("SGD", 0.5, 2.34, 0.06), ("momentum", 0.2, 2.33, 0.12), ("AdamW", PEAK, 2.14, 0.1), ("Muon", 0.03, 1.91, 0.06),
):  # fmt: skip
    reached[optimizer], lines[optimizer] = train_model(optimizer, peak)
    result(f"{optimizer}, peak {peak}, nats per letter", reached[optimizer], expected, spread)
curves(lines, "Four optimizers, two hundred steps", "step", "training loss", "05-optimizers")

# %% [markdown]
# **What to see.** All four fall together at first, while they learn how common each letter is. That is worth 3.0 nats,
# and there they part. Momentum stays at this step longest. It did wonders in the valley; here, with a rate looked for
# in both, it ends close to plain SGD. Adam's own rate for every weight is worth about 0.2 nats, and with it the model
# gets past what the last letter alone can tell. Muon is as far ahead again. These are 200 steps of a tiny model, and
# no verdict on other models; the library's recipes use both.

# %% [markdown]
# ## 5.6 How large a step? And how much of it is luck?
#
# The learning rate is the one number that has to be looked for. Look for it in *factors* of three, not in steps of
# 0.001: what matters is its order of magnitude.

# %%
predict("five peaks from 0.001 to 0.1, AdamW, 200 steps. Draw the curve of the validation loss over the peak.")

# %%
sweep, sweep_lines = {PEAK: reached["AdamW"]}, {}
for peak in (0.001, 0.003, 0.03, 0.1):
    sweep[peak], sweep_lines[peak] = train_model(peak=peak)
for peak, expected, spread in (
    (0.001, 2.47, 0.06), (0.003, 2.28, 0.07), (0.01, 2.14, 0.1), (0.03, 2.16, 0.18), (0.1, 2.65, 0.3),
):  # fmt: skip
    result(f"AdamW, peak {peak}, nats per letter", sweep[peak], expected, spread)
points = [(math.log10(peak), loss) for peak, loss in sorted(sweep.items())]
curves({"AdamW, 200 steps": points}, "The learning rate", "log10 of the peak", "validation loss", "05-sweep")

# %% [markdown]
# **What to see.** A U with one steep side. Between 0.01 and 0.03 it hardly matters which rate one takes; to the left
# of it one pays slowly, to the right suddenly, as in the valley of 5.1: at 0.1 more is lost than at 0.001. Nothing
# crashed. Since a rate that is a little too low costs little and one that is a little too high costs much, stay *left*
# of the lowest point. And one more warning: the U belongs to this model, this batch size and this number of steps.
# Change one of them and look again.
#
# Is 0.03 better than 0.01? Their losses differ by a few hundredths. Before you believe in them, find out what a
# hundredth is worth.

# %%
predict("the same training with three other seeds (other first weights, another order of the text). Which digit of the "
        "loss will differ?")  # fmt: skip

# %%
others = [train_model(which=SEED + 100 * i)[0] for i in (1, 2, 3)]
four = [sweep[PEAK], *others]
print(f"peak {PEAK}, four seeds:", " ".join(f"{loss:.3f}" for loss in four), f"  at 0.03, one seed: {sweep[0.03]:.3f}")
result("mean of four seeds, nats per letter", float(np.mean(four)), 2.15, 0.06)
result("standard deviation of four seeds", float(np.std(four, ddof=1)), 0.03, 0.03)

# %% [markdown]
# The second digit after the point is luck. The **spread over seeds** is the unit in which every comparison is to be
# measured: AdamW against SGD is several times this unit. 0.03 against 0.01 is not: with some seeds the one wins, with
# some the other. To tell those two apart one needs several seeds for *each*: the mean of $n$ runs has a standard error
# of $s / \sqrt n$, where $s$ is the standard deviation of one run, so four runs each halve the noise.
#
# And a seed must never be chosen by its result. "We tried ten seeds and report the best" reports the luck of ten
# tickets. All stated results of this course are means over five seeds, with a spread that is a little wider than what
# they differed by; `python -m lessons run 5 --seed 3` draws another ticket.

# %% [markdown]
# ## 5.7 Up, then down: warmup and decay
#
# One rate for the whole run is a compromise, and at both of its ends a bad one.
#
# **At the beginning** Adam knows little, and steps all the same. Its first step moves every weight by η on the word of
# one batch (5.3), and for some steps $\hat v$ is a mean of a handful of squares (Liu et al. 2020 make this precise).
# Random weights have steep surroundings, too. So the first steps are made short and grow: **warmup** (Vaswani et al.
# 2017, section 5.3; Goyal et al. 2017, section 2.2).
#
# **At the end** the rate is too large. Each batch points somewhere else, so the weights tremble around the bottom of
# their valley, and the farther, the larger η is. A smaller rate lets them settle: **decay**. A popular way down is
# half a cosine wave (Loshchilov & Hutter 2017, equation 5): it leaves slowly, falls, and arrives slowly. With $S$
# steps counted from 0, of which the first $W$ are warmup, and the final share $f$, the rate at step $s$ is the peak
# times
#
# $$ \frac{s + 1}{W} \ \text{ for } s < W, \qquad f + (1 - f)\, \tfrac{1}{2} \left(1 + \cos \pi p \right), \ \
#    p = \frac{s - W}{S - 1 - W} \ \text{ for } s \ge W. $$
#
# Mind the ends. Step 0 has the share $1 / W$, not 0. The last step of the warmup, $W - 1$, has 1, and so has step $W$
# ($p = 0$). The last step of all, $S - 1$, has exactly $f$ ($p = 1$). Off-by-ones at these places are common and cost
# little, which is why they live long. Exercise **warmup_cosine**.

# %%
factors = {
    f"{name}, final {final}": [(step, learning_rate_factor(step, 200, 20, name, final)) for step in range(0, 200, 3)]
    for name, final in (("cosine", 0.1), ("linear", 0.0), ("constant", 0.0))
}
curves(factors, "Three schedules of 200 steps, 20 of them warmup", "step", "fraction of the peak", "05-schedules")

# %% [markdown]
# **What to see.** All rise alike. "Constant" keeps the peak and goes down in the last fifth only; such a run can be
# made longer afterwards without having planned it.
#
# What are the two ends worth? We take the highest rate that was still good, 0.03, where mistakes are not forgiven.

# %%
predict("with a peak of 0.03: which costs more, leaving out the warmup of 20 steps or the decay?")

# %%
lines = {"both": sweep_lines[0.03]}
result("both, peak 0.03, nats per letter", sweep[0.03], 2.16, 0.18)
for name, warmup, final, expected, spread in (
    ("warmup only", WARMUP, 1.0, 2.21, 0.13), ("decay only", 0, 0.1, 2.53, 0.18), ("neither", 0, 1.0, 2.57, 0.18),
):  # fmt: skip
    loss, lines[name] = train_model(peak=0.03, warmup=warmup, final=final)
    result(f"{name}, peak 0.03, nats per letter", loss, expected, spread)
curves(lines, "Warmup and decay, peak 0.03", "step", "training loss", "05-warmup")

# %% [markdown]
# **What to see.** Two pairs. Without the warmup the curve is ahead for the first twenty steps, then stays behind for
# good: the first full steps have thrown the weights somewhere from where learning is slow, and the rate that follows
# cannot fix it. The decay is worth less here, and you see *when* it pays: within each pair the curves run together
# for the first half, and with decay one comes out ahead in the second. (So with this seed. With one of our five the
# decay made no difference.) Warmup does not make a model better; it makes *higher rates* bearable, and these make it
# better.

# %% [markdown]
# ## 5.8 Clipping: one bad batch
#
# Sooner or later a batch comes whose gradient is a hundred times as long as the others': a garbled line, a rare word, a
# place where the loss is a cliff. What does it do to Adam? Its step is at most about η, so one might think: nothing.
# Let a single weight get the gradient 1 at every step, and once, at step 50, the gradient 100.

# %%
predict("the gradient is always 1, so the steps are 1 η long; at step 50 it is 100. How long are the steps at 60, "
        "at 100 and at 400, with betas 0.9 and 0.999?")  # fmt: skip

# %%
shown = (49, 50, 60, 80, 100, 200, 400, 1000)
print("step                 " + "".join(f"{t:>7}" for t in shown))
for beta2, limit in ((0.999, math.inf), (0.99, math.inf), (0.999, 1.0)):
    w = torch.zeros(1, requires_grad=True)
    optimizer, sizes = torch.optim.Adam([w], lr=1.0, betas=(0.9, beta2)), {}
    for t in range(1, 1001):
        before = w.item()
        w.grad = torch.tensor([min(limit, 100.0 if t == 50 else 1.0)])
        optimizer.step()
        sizes[t] = before - w.item()
    name = f"β₂ {beta2}" + (", clipped" if limit == 1.0 else "")
    print(f"{name:<21}" + "".join(f"{sizes[t]:7.2f}" for t in shown))

# %% [markdown]
# The bad batch does not make Adam jump. It makes it *crawl*: the mean of squares has seen $100^2$ and cannot forget it,
# for some $1 / (1 - \beta_2)$ steps, while the mean of the gradient forgot it long ago. With $\beta_2$ = 0.999 the
# weight moves at a tenth to a fifth of its rate for hundreds of steps. With SGD it is the other way around: one step
# a hundred times too long, and whatever was learned may be gone.
#
# Both are prevented by **clipping** (Pascanu, Mikolov & Bengio 2013, Algorithm 1): if the gradient is longer than a
# limit $c$, make it as long as $c$,
#
# $$ g \leftarrow g \cdot \min\!\left(1, \frac{c}{\lVert g \rVert}\right), \qquad
#    \lVert g \rVert = \sqrt{\textstyle\sum_p \sum_i g_{p,i}^2}, $$
#
# where the sum runs over *all* weights $i$ of *all* parameters $p$: the **global norm**. One factor for everything
# keeps the direction. It happens before the optimizer sees the gradient, and after all parts of a batch have been added
# up (5.9). Cutting each parameter, or each number, by itself is another thing: it turns the gradient. By how much?

# %%
model = gpt()
nats(model, objective.collate(train.batch(SEED, 0, BATCH))).backward()
gradients = [weight.grad.clone() for weight in model.parameters()]
flat = torch.cat([g.flatten() for g in gradients])  # (number of weights,)
norm = flat.norm().item()
limit, n, N = norm / 4, len(gradients), len(flat)
in_three_ways = {  # the limits are chosen so that the norm of the whole is at most `limit` in each of them
    "by the global norm": flat * limit / norm,
    "each parameter by itself": torch.cat([g.flatten() * min(1, limit / n**0.5 / g.norm().item()) for g in gradients]),
    "each number by itself": flat.clamp(-limit / N**0.5, limit / N**0.5),
}
print(f"{n} parameters, {N:,} weights, norm of the gradient {norm:.2f}")
for name, clipped in in_three_ways.items():
    angle = math.degrees(math.acos(min(1.0, torch.cosine_similarity(flat, clipped, dim=0).item())))
    print(f"{name:<26} turns it by {angle:4.0f} degrees")

# %% [markdown]
# The usual limit, also the library's, is 1. Look at the norms of your run, and choose a limit that cuts the outliers
# and not the rule: the model of this lesson begins with a norm of 2 and is at 0.5 after fifty steps. And log the norm
# *before* clipping: after it, every catastrophe looks like 1.00. Exercise **clip_gradients**.

# %% [markdown]
# ## 5.9 A batch in parts
#
# A large batch has a less noisy gradient, and needs more memory than there is. But a gradient of a sum is the sum of
# the gradients: compute the batch in parts (**micro-batches**), add up, step once. torch does the adding by itself,
# because `backward()` *adds* to `.grad`. This is **gradient accumulation**, and it is exact, if one thing is done
# right.
#
# The loss of a batch is a mean over tokens. Let part $i$ have $n_i$ targets with the losses $\ell_{i1}, \ell_{i2}, …$
#
# $$ L = \frac{\sum_i \sum_j \ell_{ij}}{\sum_i n_i} = \sum_i \frac{n_i}{N} L_i, \qquad
#    L_i = \frac{1}{n_i} \sum_j \ell_{ij}, \quad N = \sum_i n_i. $$
#
# The parts' means $L_i$ enter with the weights $n_i / N$. What is easily written instead is $\frac{1}{k} \sum_i L_i$
# with $k$ parts, the **mean of means**: take the mean loss of each part, divide by the number of parts. If all parts
# have equally many targets, the two are equal, and every test on equal parts passes. If rows are sentences of different
# lengths, padded with padding, they are not: a token in a short part counts for more than one in a long part, and
# *how the batch happened to be cut* decides what is learned. Widely used libraries did this for years (Hugging Face
# 2024, *Fixing Gradient Accumulation*).
#
# So: **sum over everything, count over everything, divide once.** The count has to be known before the first
# `backward()`. That is no problem: the targets are known, and counting them needs no model. A position without a target
# is marked with -100 in this library (`IGNORE_INDEX`), and counts neither in the sum nor in the number.
#
# Here are sixteen rows. Eight of them are answers to questions about the stories, a few letters each; they are one
# part. Eight are beginnings of stories, as long as the model's window; they are the other. (The gradient of each part's
# mean is kept as a vector of its own, so that we can add them up in both ways.)

# %%
answers = [story.questions[0].answer for story in train_stories[:8]]
rows = [np.array(tokenizer.encode(text)) for text in answers + [story.text[: T + 1] for story in train_stories[:8]]]
print(" | ".join(answers))


def gradient_of_mean(rows):
    """The gradient of the mean loss of these rows as one vector, and how many targets they have."""
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
# Weighted by their targets, the parts give the gradient of the whole, but for rounding. The mean of means is another
# vector, off by a third of its length: a letter of an answer counts nearly three times as much in it as a letter of a
# story. Nothing crashes, and the loss falls; only what is learned is not what was meant. Exercise
# **accumulated_gradient** asks you to write it; exercise **opposite_steps** asks for a case in which the mean of
# means even has the wrong sign.
#
# The same arithmetic returns when a batch is split over several machines (lesson 16).

# %% [markdown]
# ## 5.10 Sixteen bits
#
# A number of 32 bits (fp32) has a sign, 8 bits of exponent and 23 of fraction. Two formats of 16 bits halve the memory
# and multiply twice as fast or faster on hardware made for them. They save in different places:
#
# | | exponent | fraction | largest | smallest above 0 | next number after 1 |
# |---|---|---|---|---|---|
# | fp32 | 8 bits | 23 bits | 3.4 · 10³⁸ | 1.4 · 10⁻⁴⁵ | 1.00000012 |
# | bf16 | 8 bits | 7 bits | 3.4 · 10³⁸ | 9.2 · 10⁻⁴¹ | 1.0078 |
# | fp16 | 5 bits | 10 bits | 65504 | 6.0 · 10⁻⁸ | 1.00098 |
#
# **bf16** has the range of fp32 and two to three decimal digits. **fp16** has one digit more, and hardly any range.
# Neither is a problem for a matrix product. Both are a problem in their own place.

# %%
predict("a weight of 0.1 takes a step of 0.0001, a thousand times over. It should arrive at 0.2. Where does it arrive "
        "in bf16, and where in fp16?")  # fmt: skip

# %%
for kind in (torch.float32, torch.bfloat16, torch.float16):
    once = torch.tensor(0.1, dtype=kind) + 1e-4
    x = torch.tensor(0.1, dtype=kind)
    for _ in range(1000):
        x = x + 1e-4
    print(f"{str(kind)[6:]:<9} 0.1 + 0.0001 = {once.item():.6f}   a thousand times: {x.item():.4f}")

# %% [markdown]
# In bf16, 0.1 + 0.0001 *is* 0.1 (the nearest there is, 0.1001). Between 1/16 and 1/8 there are $2^7$ numbers, each
# $2^{-11}$ = 0.0005 from the next. A step of 0.0001 is less than half of that, so the sum is rounded back to where it
# was: the weight does not move slowly, it does not move. In fp16 the numbers there are 0.00006 apart. The step is
# rounded up to two of these, and one arrives too far.
#
# And it is the end of a training, with its small learning rates, that suffers. So the rule of **mixed precision** is
# (Micikevicius et al. 2018, section 3.1): multiply in 16 bits, *keep the weights, and what the optimizer remembers, in
# fp32*. This is what `--precision bf16` does in this library. To see what it is good for, we round the weights after
# each step:

# %%
loss, _ = train_model(peak=0.001, keep=torch.bfloat16)
print(f"peak 0.001: weights kept in fp32 {sweep[0.001]:.3f} nats, in bf16 {loss:.3f} nats")
result("bf16 worse by, nats per letter", loss - sweep[0.001], 0.07, 0.04)

# %% [markdown]
# Many of the small steps vanish, and the model is behind. No line of the program is wrong, and the loss curve does not
# say why it lies higher.
#
# fp16 has the other problem, its range. Gradients are small numbers; those below $3 \cdot 10^{-8}$, half of its
# smallest, are rounded to 0, and their weights learn nothing. The remedy is **loss scaling** (their section 3.2):
# multiply the loss by a large number $S$ before `backward()`. By the chain rule every gradient is multiplied by $S$ and
# comes out of the range where numbers vanish. Divide by $S$ in fp32, *before* clipping (or one would clip S times too
# hard), and step.

# %%
gradient, scale = 2e-8, 65536.0
print("fp16:            ", torch.tensor(gradient).half().item())
print("fp16, scaled:    ", (torch.tensor(gradient) * scale).half().float().item() / scale)
print("scaled too much: ", (torch.tensor(2.0) * scale).half().item())

# %% [markdown]
# How large may $S$ be? As large as possible, until something overflows to infinity. Then the step is left out and $S$
# halved; if all goes well for a while, it is doubled (`torch.amp.GradScaler`, which the library's loop uses). bf16
# needs none of this, and so the library takes bf16 where the hardware is made for it.

# %% [markdown]
# ## 5.11 How to read a loss curve
#
# You know four numbers *before* the run. Write them down:
#
# 1. **The first loss** of a model that has learned nothing is $\ln V$, here 4.1. Much more: it is sure of itself and
#    wrong; look at the first weights. Much less: it sees the answer.
# 2. **The loss of a model that only counts.** Knowing how common each letter is gives 3.0 here, as the next cell
#    computes; knowing the last letter, 2.27 (lesson 03). A model that stays at one of these has not learned what only
#    it can.
# 3. **The floor.** Below it there is nothing to be learned, only to be seen or memorized. With real text nobody knows
#    the floor, but for our stories we do: 0.06.
# 4. **What the last run reached**, and how far seeds lie apart.
#
# And there are four things to look at besides the training loss: the loss on text it was not trained on, measured in
# evaluation mode; the same *a second time*, which must give the same number; the norm of the gradient; and the learning
# rate itself (a schedule with a slip in it is common). A healthy curve falls steeply, then ever more slowly, noisy from
# batch to batch, and calmer toward the end, as the learning rate goes down.
#
# If it looks wrong, make it *small*. One batch, again and again, no dropout, no decay: a sound model learns it by
# heart, down to a loss near zero. One that cannot has a fault in the model or in the loss, and all else can wait. One
# that can has it in the data, the validation, or the recipe.

# %%
shares = np.bincount(tokenizer.encode(train_text)) / len(train_text)
by_frequency = -sum(share * math.log(share) for share in shares if share > 0)
print(f"ln V {math.log(V):.2f}, letters by their frequency {by_frequency:.2f}, floor {floor:.2f}")

model, batch = gpt(), objective.collate(train.batch(SEED, 0, 2))  # two rows, 64 letters
(optimizer,) = make_optimizers(model, TrainingSettings(learning_rate=PEAK, weight_decay=0.0, precision="fp32"))
for step in range(61):
    loss = nats(model, batch)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if step % 20 == 0:
        print(f"step {step:>3}, always the same two rows: {loss.item():.3f} nats a letter")
result("two rows by heart, nats per letter", loss.item(), 0.003, 0.02)

# %% [markdown]
# ## 5.12 Eight broken runs
#
# Now you are the doctor. Eight runs follow, each with exactly one thing wrong, and after them a healthy one for
# comparison. All else is as above. These are the things, in no order:
#
# - the learning rate is thirty times too high;
# - the learning rate is a hundred times too low;
# - the first weights are fifty times too large;
# - the labels are not shifted: the target of each position is its own letter, not the next;
# - `zero_grad` was forgotten, so every gradient is the sum of all before it;
# - the data are sorted: half of the training text is in German (all umlauts spelled out), and all of it comes last;
# - the validation text is the training text (and there is little of it);
# - dropout, 0.3, is left on in the validation: somebody forgot `model.eval()`.
#
# The code below plants them. The letters A to H are dealt by a shuffled deck, so reading it will not tell you.

# %%
FAULTS = [
    "learning rate too high", "learning rate too low", "first weights too large", "labels not shifted",
    "zero_grad forgotten", "data sorted", "validated on the training text", "dropout on in validation",
]  # fmt: skip
GALLERY = 120  # steps of each run
quick_val = [val[i] for i in range(60)]
few_text = "\n".join(story.text for story in train_stories[:6])
spelled_out = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"})
german = "\n".join(story.german for story in train_stories[:100]).translate(spelled_out)
german = "".join(letter for letter in german if letter in set(tokenizer.decode(range(V))))
HALF = GALLERY // 2 * BATCH * T  # letters
sorted_ids = np.array(tokenizer.encode(train_text[:HALF] + german[: HALF + 1]))


def broken_run(fault, steps=GALLERY):
    """A run with one fault (or none): the losses and gradient norms of its steps, and what its validation says."""
    factor = {"learning rate too high": 30, "learning rate too low": 0.01}.get(fault, 1)
    model = gpt(
        larger=250.0 if fault == "first weights too large" else 5.0,
        dropout=0.3 if fault == "dropout on in validation" else 0.0,
    )
    (optimizer,) = make_optimizers(model, TrainingSettings(precision="fp32"))
    text = windows(few_text) if fault == "validated on the training text" else train
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
    seen = {"losses": losses, "norms": norms, "val": validate(), "again": validate()}
    return {**seen, "fresh": measure(model, quick_val)}


def smoothed(losses, width=10):
    means = [(i + width, float(np.mean(losses[i : i + width]))) for i in range(0, len(losses) - width + 1, 5)]
    return [(step, min(loss, 4.5)) for step, loss in means]  # cut off at the top, so that one does not hide the others


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
        f"Runs {letters[0]} to {letters[-1]}", "step", "training loss (at most 4.5)", f"05-runs-{letters}",
    )  # fmt: skip

# %%
predict("which fault has which run? Write down eight letters with your reasons, before you continue.")

# %%
for letter, fault in patients.items():
    print(f"{letter}: {fault:<32} on fresh text, in evaluation mode: {runs[letter]['fresh']:.2f}")
print(f"healthy: {healthy['fresh']:>56.2f}")
of = {fault: runs[letter] for letter, fault in patients.items()}
result("labels not shifted, validation", of["labels not shifted"]["val"], 0.006, 0.01)
result("learning rate too high, validation", of["learning rate too high"]["val"], 2.98, 0.2)
jumped = of["data sorted"]
result("data sorted, validation above training", jumped["val"] - float(np.mean(jumped["losses"][-10:])), 0.49, 0.15)
trained_on = of["validated on the training text"]
result("validated on the training text: fresh above shown", trained_on["fresh"] - trained_on["val"], 0.21, 0.15)
result("healthy, nats per letter", healthy["fresh"], 2.29, 0.1)

# %% [markdown]
# **What to see**, one by one.
#
# - *Labels not shifted*: the loss falls below the **floor**, and no model can do that by learning. It copies its
#   input; on the real task it is far worse than a guess. Had we no floor, we might have been proud of it. (A mask that
#   lets the model look ahead does the same. Lesson 03's test tells them apart: change the future and see who notices.)
# - *First weights too large*: the **first loss** is far above ln V, and the gradients are tens of times as long as the
#   healthy ones. The run spends its time on unlearning.
# - *Learning rate too high*: ends **at the letters' frequencies**, a number that you know from counting. The weights
#   have been thrown so far that the blocks say nothing any more; small gradients, no way back.
# - *Learning rate too low*: also bad, but smooth, and **still falling** when the run ends. Compare it with the one
#   above: same kind of loss, opposite medicine.
# - *zero_grad forgotten*: the norm of the gradient stays **more than twice the healthy one's**, since it is the sum of
#   all gradients so far, and the loss is slow to fall, as each step goes where the past wanted to go. (It learns at all
#   only thanks to clipping, which cuts the sum down at each step.)
# - *Data sorted*: a **jump in the middle** of the training loss, and at the end a validation loss far above it. The
#   model has learned German and forgotten English. Overfitting does not look like this: here every text was read once.
# - *Validated on the training text*: looks like the **best run of all**: better than the healthy one, which had more
#   text, and as low in validation as in training, although it has read its six stories nineteen times. What
#   gives it away is only that it is too good. Keep the validation text away from everything that learns, the tokenizer
#   included.
# - *Dropout on in validation*: the second validation of the **same model gives another number**. And training and
#   validation are equal, where a model with dropout should be better in validation than in training.
#
# Three of the eight (high rate, low rate, German) would have shown on the training curve alone. Three show only beside
# a number that one has to know: the floor, ln V, the healthy run's norm. Two show only in the validation. This is why
# the previous section asks you to write the numbers down first.

# %% [markdown]
# ## 5.13 All of it together
#
# Now the library's own loop, `llmasos/training/trainer.py`. You have met every line of its `step`: the batch in parts,
# the sum divided by the count, the global norm, the schedule, AdamW with decay for matrices only. We train the same
# small model a little longer, in two parts a batch. Under `python -m lessons run 5 --mine` your functions take its
# place, as far as you have written them: your accumulation, your clipping, your schedule, your AdamW.

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
memory = {}  # of adamw_step: for each parameter m and v


def my_step(step):
    """One step like the trainer's, from the student's functions where there are some."""
    batches = list(trainer.micro_batches(step))
    if accumulated_gradient is not None:
        loss = accumulated_gradient(model, [(batch["ids"], batch["targets"]) for batch in batches])
    else:
        loss = sum(nats(model, batch) for batch in batches) / len(batches)  # all parts have equally many targets here
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
                m, v = memory.get(id(w), (torch.zeros_like(w), torch.zeros_like(w)))
                decay = settings.weight_decay if id(w) in decays else 0.0
                new, m, v = adamw_step(w, w.grad, m, v, step + 1, rate, settings.beta1, settings.beta2, 1e-8, decay)
                w.copy_(new)
                memory[id(w)] = m, v
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
result("300 steps, nats per letter", measure(model), 1.99, 0.1)

# %% [markdown]
# Nothing new was needed for this, only more steps: 300 instead of 200. The floor, 0.06, is far away. A larger model,
# more text and the same loop get much nearer (`python train.py`, two minutes).

# %% [markdown]
# ## 5.14 What was left out
#
# - **Other optimizers.** Muon was seen in 5.5 (`llmasos/training/muon.py`); there are dozens more. Which of two is
#   better can be said only when the learning rate of *both* has been looked for.
# - **Weights averaged** over the last steps, early stopping, gradient noise scale, how batch size and learning rate go
#   together (Goyal et al. 2017): a rate that is right for one batch size is not for another.
# - **Where to put a given amount of computing**: a larger model or more text, lesson 21.
# - **Several machines**: lesson 16. **Saving and resuming**: `llmasos/training/checkpoints.py`.
#
# **Further reading.** Kingma & Ba 2015, *Adam: A Method for Stochastic Optimization*, sections 2 and 3. Loshchilov &
# Hutter 2019, *Decoupled Weight Decay Regularization*; and their *SGDR*, 2017, for the cosine. Pascanu, Mikolov &
# Bengio 2013, *On the Difficulty of Training Recurrent Neural Networks*. Micikevicius et al. 2018, *Mixed Precision
# Training*. Goyal et al. 2017, *Accurate, Large Minibatch SGD*, sections 2 and 3, for warmup and a list of slips. Liu
# et al. 2020, *On the Variance of the Adaptive Learning Rate and Beyond*. Kunstner et al. 2024, *Heavy-Tailed Class
# Imbalance and Why Adam Outperforms Gradient Descent on Language Models*.
#
# **Now you.** `python -m lessons check 5` creates your file, `lessons/mine/05_training_well.py`, with six exercises.
# When the checks pass, `python -m lessons run 5 --mine` trains the last model by your own functions.
