# %% [markdown]
# # 21 Scaling
#
# - **Question:** How can you know what a large model will be worth before you have trained it?
# - **Teaches:** power laws of the loss and where they come from, fits with a known and with an unknown floor, compute-
#   optimal sizes, learning rates that carry over from narrow to wide models, plans for models of any size
# - **Minutes:** 120 to read and solve, 1 to run
#
# You need: cross-entropy, entropy and the Kullback-Leibler divergence (lesson 01), training (lesson 05), the singular
# value decomposition, and the idea of a straight line fitted by least squares.
#
# Letters: N parameters, D training tokens, C operations (FLOPs) of a training run, L loss in nats, E the floor that no
# model can get below; d width, V size of the vocabulary. All logarithms are natural unless a base is given.

# %% [setup]
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# %%
import math

import numpy as np
import torch
from torch.nn import functional as F

from lessons.machinery.lesson_api import part, predict, result, seed
from lessons.machinery.pictures import curves
from llmasos.models import GPT, ModelConfig
from llmasos.planning import DEVICES, optimal_size, plan_training, shape_with
from llmasos.planning.published import PUBLISHED
from llmasos.training.optimizers import make_optimizers, set_learning_rate
from llmasos.training.recipe import TrainingSettings

SEED = seed()
torch.manual_seed(SEED)
torch.set_num_threads(1)

# `run 21 --mine` puts your own functions here
fit_power_law = part("fit_power_law", None)
fit_with_floor = part("fit_with_floor", None)
best_size = part("best_size", None)
optimal_allocation = part("optimal_allocation", None)
mup_factors = part("mup_factors", None)

# %% [markdown]
# ## 21.1 A language whose floor we know
#
# GPT-4's final loss was predicted from models that had used a ten-thousandth of its compute or less (OpenAI 2023,
# figure 1). Nobody can afford a large model twice, so anyone who plans one must know the result in advance. What makes
# that possible is a curious fact: over many orders of magnitude, the loss of language models falls as a **power law**
# (Hestness et al. 2017; Kaplan et al. 2020),
#
# $$ L(N) = E + A \, N^{-\alpha}, $$
#
# with the number of parameters, of tokens, or of operations. E is the **irreducible loss**, the entropy of text itself,
# and the rest is **reducible**. With real text, E is unknown, and that is a problem, as we will see. So we begin with
# a language whose entropy we know, and in which we can even say *why* there is a power law, and with which exponent.
#
# The language has V = 256 words, and texts of two words. The first is any word, all equally likely. The second one has
# a probability that depends on the first, $P(y \mid x) = \mathrm{softmax}(Z)_{xy}$, with a table of logits Z. Its floor
# is the mean entropy of the rows of P.
#
# What is there to learn in such a table? Write it as a sum of simple regularities,
#
# $$ Z = \sum_{k=1}^{V} s_k \, u_k v_k^\top, $$
#
# its singular value decomposition: the words x have a property, $u_k$, the words y another one, $v_k$, and they go
# together with the strength $s_k$. A few regularities are strong, and more and more are weak. We choose the strengths
# so that what remains after the first d of them is a power of d, $\sum_{k>d} s_k^2 = \sigma^2 V^2 \, d^{-1}$, with
# $\sigma = 0.6$. Real data have such spectra, too: few common patterns and a long tail of rare ones (Bahri et al. 2021;
# Michaud et al. 2023; Maloney et al. 2022).
#
# The model is the smallest language model of all: an embedding of width d, and an output layer. Its logits are $XU$
# with X (V, d) and U (d, V), a matrix of rank d. So **a model of width d has room for d regularities**. At best it
# learns the d strongest. How much does it lose without the others? For logits that are off by a small $\Delta$, the
# Kullback-Leibler divergence is half the variance of $\Delta$ under P. The missing regularities have nothing to do with
# where P is large, so we take the plain mean of $\Delta^2$ over the V² entries of the table instead. This mean is the
# sum of the missing $s_k^2$, divided by V²:
#
# $$ L - E \;\approx\; \frac12 \, \frac{1}{V^2} \sum_{k > d} s_k^2 \;=\; \frac{\sigma^2}{2} \, d^{-1}. $$
#
# That is a prediction with nothing left to fit: a reducible loss of 0.18 / d. The model has N = 2Vd parameters, so in N
# it is a power law, too, with the exponent α = 1.

# %%
V, SIGMA = 256, 0.6


def make_language():
    """P (V, V): row x is the distribution of the second word after x."""
    generator = torch.Generator().manual_seed(SEED)
    u, v = (torch.linalg.qr(torch.randn(V, V, generator=generator)).Q for _ in range(2))
    remains = 1 / torch.arange(1, V + 1)  # after the first k regularities
    squares = torch.cat([torch.ones(1), remains[:-1] - remains[1:]])  # the first one is as strong as all others
    squares[-1] += remains[-1]
    Z = SIGMA * V * (u * squares.sqrt()) @ v.T
    return Z.softmax(dim=1)


P = make_language()
FLOOR = -(P * P.log()).sum(dim=1).mean().item()
print(f"floor {FLOOR:.3f} nats; a model that knows nothing: {math.log(V):.3f}")


def new_model(d, copies=1, seed=SEED):
    """An embedding (copies, V, d) and an output layer (copies, d, V)."""
    generator = torch.Generator().manual_seed(seed + 1)
    embedding = torch.randn(copies, V, d, generator=generator)
    output = 0.1 / math.sqrt(d) * torch.randn(copies, d, V, generator=generator)
    return embedding.requires_grad_(), output.requires_grad_()


def expected_loss(embedding, output):
    """The exact loss, over all pairs of words with their true probabilities: (copies,)."""
    return -(P * (embedding @ output).log_softmax(dim=2)).sum(dim=(1, 2)) / V


def train_without_noise(d, steps=400, rate=0.06):
    """The loss of width d after training with as much data as one could wish: on the true probabilities."""
    model = new_model(d)
    optimizer = torch.optim.AdamW(model, lr=rate, weight_decay=0.0, fused=True)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * min(1.0, 2 * (1 - step / steps))  # constant, then down to 0
        loss = expected_loss(*model).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


# %%
predict("a model of twice the width: by which factor does the reducible loss fall?")

# %%
widths = [2, 3, 4, 6, 8, 12, 16, 32]
losses = [train_without_noise(d) for d in widths]
print(" d   parameters   loss    reducible   formula")
for d, loss in zip(widths, losses, strict=True):
    print(f"{d:2} {2 * V * d:11,} {loss:8.4f} {loss - FLOOR:10.4f} {SIGMA**2 / 2 / d:10.4f}")
for d, loss in zip(widths, losses, strict=True):
    if d in (2, 16):
        result(f"width {d}: reducible loss over the formula", (loss - FLOOR) / (SIGMA**2 / 2 / d), 0.96, 0.04)

# %% [markdown]
# **What to see.** Twice the width halves the reducible loss. A formula that has seen none of the eight models predicts
# all of them within about five percent. (They are a little better than the formula, since the divergence is not exactly
# quadratic, and they may choose which d directions matter most.) So here is one answer to the question of where power
# laws come from: **the world has a power law of ever weaker regularities, and a model of size N has room for the first
# ones.** The exponent says more about the data than about the model, and indeed, different architectures differ in A
# much more than in α (Kaplan et al. 2020).

# %% [markdown]
# ## 21.2 Seven sizes, and the eighth
#
# Now forget the theory, as for real text, but keep the floor. A power law is a straight line in logarithms:
#
# $$ \log (L - E) = \log A - \alpha \log N . $$
#
# Fit the line to the seven smaller models by least squares, and extend it to the eighth, which is twice as large as the
# largest of them. Exercise **fit_power_law** asks for the fit.


# %%
def line(sizes, losses, floor):
    """A, α and the sum of squared residuals of log(L - floor) = log A - α log N."""
    x, y = np.log(sizes), np.log(np.array(losses) - floor)
    slope, intercept = np.polyfit(x, y, 1)
    return math.exp(intercept), -float(slope), ((y - slope * x - intercept) ** 2).sum()


sizes = [2 * V * d for d in widths]
A, alpha, _ = line(sizes[:7], losses[:7], FLOOR)
if fit_power_law is not None:
    print("your fit_power_law:", fit_power_law(sizes[:7], losses[:7], FLOOR), "ours:", (A, alpha))
predicted = A * sizes[7] ** -alpha
reducible = losses[7] - FLOOR
print(f"L = {FLOOR:.3f} + {A:.3g} · N^-{alpha:.3f}")
print(f"eighth model: predicted {FLOOR + predicted:.5f}, measured {losses[7]:.5f} nats")
result("exponent α", alpha, 1.01, 0.03)
result("predicted over measured reducible loss", predicted / reducible, 0.985, 0.05)
curves(
    {
        "measured": [(math.log10(n), math.log10(x - FLOOR)) for n, x in zip(sizes, losses, strict=True)],
        "fit to the first seven": [(math.log10(n), math.log10(A * n**-alpha)) for n in sizes],
        "L itself, minus 5 nats": [(math.log10(n), math.log10(x - 5)) for n, x in zip(sizes, losses, strict=True)],
    },
    "The reducible loss, and the loss with a wrong floor", "log10 of the parameters", "log10 of the loss", "21-law",
)  # fmt: skip

# %% [markdown]
# **What to see.** The reducible loss is a straight line, and the eighth model lies on it: predicted within 3 percent of
# the reducible part. (We had expected up to 5; with five seeds it was 0.1 to 2.4.) The third curve shows what a wrong
# floor does: the line bends.
#
# ### Without knowing the floor
#
# For real text E must be fitted, too. Take many candidates for E, fit a line for each, and keep the one that fits best
# (exercise **fit_with_floor**). But what does "fits best" mean? There are two ways to add up the errors: in logarithms,
# where the line was fitted, or in nats, the difference between the law and the measured loss. To see whether it
# matters, give the losses a small error: 1 percent of the reducible part, much less than two seeds differ.

# %%
predict("will the fit find the true floor within 0.001, 0.01 or 0.1 nats? And does it matter how errors are added up?")


# %%
def fit_unknown(sizes, losses, in_nats=True):
    """A, α and E of the candidate floor that fits best."""
    candidates = [min(losses) - gap for gap in np.geomspace(1e-4, 0.5, 300)]
    if fit_with_floor is not None and in_nats:
        return fit_with_floor(sizes, [float(x) for x in losses], candidates)

    def badness(floor):
        A, alpha, squares = line(sizes, losses, floor)
        return ((floor + A * np.array(sizes) ** -alpha - losses) ** 2).sum() if in_nats else squares

    floor = min(candidates, key=badness)
    return (*line(sizes, losses, floor)[:2], floor)


A_fit, alpha_fit, floor_fit = fit_unknown(sizes[:7], losses[:7])
predicted_fit = floor_fit + A_fit * sizes[7] ** -alpha_fit
print(f"without noise: floor {floor_fit:.4f}, truly {FLOOR:.4f}; α {alpha_fit:.3f}; eighth model {predicted_fit:.5f}")
result("error of the fitted floor, thousandths of a nat", 1000 * (floor_fit - FLOOR), 0.0, 2.0)
result("error of the eighth loss, over its reducible part", (predicted_fit - losses[7]) / reducible, 0.0, 0.15)
generator = np.random.default_rng(SEED)
noisy = [FLOOR + (np.array(losses[:7]) - FLOOR) * (1 + 0.01 * generator.standard_normal(7)) for _ in range(30)]
print("with 1 % of noise, 30 times:")
for words, in_nats in (("errors in nats", True), ("errors in logarithms", False)):
    fits = np.array([fit_unknown(sizes[:7], each, in_nats) for each in noisy])
    floors, alphas = fits[:, 2], fits[:, 1]
    print(f"  {words:<21} floor off by {floors.mean() - FLOOR:+.4f} ± {floors.std():.4f}, "
          f"α {alphas.mean():.3f} ± {alphas.std():.3f}; worst floor {floors.min() - FLOOR:+.3f}")  # fmt: skip
    if in_nats:
        spread, correlation = floors.std(), float(np.corrcoef(floors, alphas)[0, 1])
result("spread of the floor, errors in nats, thousandths", 1000 * spread, 0.7, 0.6)
result("correlation of the floor with α, errors in nats", correlation, 0.97, 0.04)

# %% [markdown]
# **What to see.** With errors in nats, the floor comes out within a thousandth of a nat or so. With errors in
# logarithms, some of the 30 fits put it as far down as the candidates reach, half a nat, with an exponent near 0.07:
# with a floor far below all losses, the logarithms of the differences hardly vary, and then *any* flat line is close to
# them. Nothing in the program warns you. The danger is real. The fit of the Chinchilla paper had an optimizer that
# stopped too early, and refitted, its constants move by more than their published confidence intervals (Besiroglu et
# al. 2024).
#
# And even in the good fit, the errors of floor and exponent are tied together, with a correlation near 1: put the floor
# a little higher, and a steeper law fits nearly as well. What is well determined is the *curve*, where it was measured
# and a little beyond, while each of the three numbers alone is not. Exercise **two_laws** asks you for two laws that
# agree on everything that was measured, and diverge far beyond it.

# %% [markdown]
# ## 21.3 A budget: larger model, or more text?
#
# So far our models could train for as long as they needed. In practice there is a budget of C operations, and training
# costs about 6 operations for each parameter that is multiplied and each token: $C = 6 N D$ (`llmasos/models/flops.py`
# derives it). A larger model sees fewer tokens. Which size is best?
#
# For given constants of the law $L = E + A N^{-\alpha} + B D^{-\beta}$ the answer has a closed form (Hoffmann et al.
# 2022, equation 4): at the optimum the two terms are in the ratio $\beta : \alpha$, and
#
# $$ N^* = G \left( \frac{C}{6} \right)^{\beta / (\alpha + \beta)}, \qquad
#    D^* = \frac1G \left( \frac{C}{6} \right)^{\alpha / (\alpha + \beta)}, \qquad
#    G = \left( \frac{\alpha A}{\beta B} \right)^{1 / (\alpha + \beta)} . $$
#
# (Exercise **optimal_allocation**.) You can also measure it: train several sizes with the same budget each, plot the
# loss over the size, and find the bottom of the valley. Such a curve is called an **IsoFLOP** profile. Do it for two
# budgets, and you know how the best size grows.
#
# What should we expect here? Too small a model lacks room, $\frac{\sigma^2}{2d}$. Too large a model has too little
# data: classical statistics says that estimating N numbers from D samples costs at least about $N / 2D$ nats. Here $N =
# 2Vd$ numbers are estimated. But a token is multiplied only by the output layer, with V·d of them (the embedding is
# looked up), so $D = C / (6 V d)$. The cost is then proportional to $d^2 / C$. The sum is smallest where $d^3$ is
# proportional to C, so **eight times the budget should double the best width** (H). Chinchilla's rule for real text,
# $N^* \propto \sqrt{C}$, would give 2.8.
#
# Each model trains on sampled pairs of words, each of which it sees once; three copies train at the same time, and we
# average their losses.


# %%
def train_with_budget(C, d, copies=3, steps=300, rate=0.1):
    """The mean reducible loss of several copies of width d after C operations on sampled words."""
    model = new_model(d, copies)
    batch = round(C / (6 * V * d) / steps)  # tokens in a step
    cumulative, generator = P.cumsum(dim=1), torch.Generator().manual_seed(SEED + 7)
    optimizer = torch.optim.AdamW(model, lr=rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    copy = torch.arange(copies)[:, None]
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps) * min(1.0, (step + 1) / 15)
        x = torch.randint(V, (copies, batch), generator=generator)
        u = torch.rand(copies, batch, 1, generator=generator)
        y = torch.searchsorted(cumulative[x], u).clamp(max=V - 1).squeeze(2)  # drawn from P's row x
        logits = model[0][copy, x] @ model[1]  # (copies, batch, V)
        loss = copies * F.cross_entropy(logits.flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return expected_loss(*model).mean().item() - FLOOR


def bottom(sizes, losses):
    """The size at the bottom of a parabola over log size, through the lowest point and two on each side."""
    if best_size is not None:
        return best_size(sizes, losses)
    lowest = min(max(int(np.argmin(losses)), 2), len(sizes) - 3)
    x, y = np.log(sizes[lowest - 2 : lowest + 3]), losses[lowest - 2 : lowest + 3]
    a, b, _ = np.polyfit(x, y, 2)
    return math.exp(-b / (2 * a))


predict("eight times the budget: how much wider is the best model?")

# %%
profiles, best = {}, {}
for C, tried in ((2e8, [1, 2, 3, 4, 6, 8]), (1.6e9, [2, 3, 4, 6, 8, 12])):
    profile = [train_with_budget(C, d) for d in tried]
    best[C] = bottom(tried, profile)
    profiles[f"{C:.1g} operations"] = [(math.log2(d), x) for d, x in zip(tried, profile, strict=True)]
    print(f"{C:.1g} operations: " + ", ".join(f"{d}: {x:.3f}" for d, x in zip(tried, profile, strict=True)))
    print(f"  best width {best[C]:.1f}, with {C / (6 * V * best[C]):,.0f} tokens")
curves(profiles, "Two budgets", "log2 of the width", "reducible loss, nats", "21-isoflop")
result("best width with 8 times the budget, ratio", best[1.6e9] / best[2e8], 1.95, 0.35)
if optimal_allocation is not None:
    print("your optimal_allocation with Chinchilla's constants for 5.76e23 operations:",
          [f"{x:.3g}" for x in optimal_allocation(5.76e23, 406.4, 0.34, 410.7, 0.28)])  # fmt: skip

# %% [markdown]
# **What to see.** Two valleys. On the left, models without room; on the right, models without data. With eight times
# the budget, the bottom moves to the right by a factor of two, as expected (1.88 to 2.03 with five seeds). The
# valleys are flat, so their bottoms are known only roughly; Hoffmann et al. had nine budgets, and still their three
# methods gave exponents from 0.46 to 0.50. Note that the exponent of *this* language is about 1/3 and that of real
# text is 1/2. **Twenty tokens per parameter is a law about a data set, an architecture and an optimizer**, not about
# nature.
#
# (The published constants of Hoffmann et al., A = 406.4, α = 0.34, B = 410.7 and β = 0.28, put into the formula above
# with the 5.76 · 10²³ operations of Chinchilla, give 32 billion parameters and not its 70 billion. Compute it.)
#
# And it is the best use of *training* compute. A model that answers a billion questions should be smaller and trained
# for longer: Llama 3 8B saw 1,900 tokens per parameter (Dubey et al. 2024; Sardana et al. 2023).

# %% [markdown]
# ## 21.4 The rate that does not move
#
# A law can only be extended if each model on it was trained as well as possible. Above all, that means the right
# learning rate. But the best rate falls with the width, and a large model cannot be trained seven times to find it.
#
# Why does it fall? Take a matrix with d inputs. A step of AdamW changes each of its numbers by about η, with signs that
# agree with the inputs. So an output changes by a sum of d terms of the same sign, $d \cdot \eta$: four times as wide,
# four times as much change. **Maximal update parametrization** (muP, Yang et al. 2022) corrects this, separately for
# each type of parameter. With m the width, as a multiple of a base width:
#
# | | initial standard deviation | rate of AdamW |
# |---|---|---|
# | embeddings, norms, biases | 1 | 1 |
# | matrices inside the blocks | $1/\sqrt m$ | $1/m$ |
# | the output layer | $1/m$ | $1/m$ |
#
# (Exercise **mup_factors**; the reasons are in `llmasos/models/mup.py`.) In the library it is one field of the config,
# `mup_base_width`. We train GPTs with one block on our language, of widths 16, 64 and 128, for 30 steps with each of
# several rates.


# %%
def gpt_loss(width, rate, base, steps=30):
    """The reducible loss of a GPT with one block after a few steps on the true probabilities."""
    torch.manual_seed(SEED)
    model = GPT(
        ModelConfig(vocab_size=V, context_length=1, n_layers=1, n_heads=width // 16, d_model=width, bias=False,
                    tie_embeddings=False, mup_base_width=base)
    )  # fmt: skip
    settings = TrainingSettings(optimizer="adamw", learning_rate=rate, weight_decay=0.0, precision="fp32")
    optimizers, words = make_optimizers(model, settings), torch.arange(V)[:, None]
    for step in range(steps + 1):
        loss = -(P * model(words)[:, 0].log_softmax(dim=1)).sum() / V
        if step == steps:
            return loss.item() - FLOOR
        set_learning_rate(optimizers, rate * (1 - step / steps))
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()


predict("without muP: by which factor must the rate fall from width 16 to width 128?")

# %%
lines, best_rate = {}, {}
for base, powers in ((16, range(-8, -3)), (None, range(-11, -5))):
    for width in (16, 64, 128):
        if base is None and width == 16:
            continue  # at the base width, muP changes nothing
        measured = [(k, gpt_loss(width, 2.0**k, base)) for k in powers]
        name = f"width {width}" + ("" if width == 16 else ", muP" if base else ", without")
        lines[name], best_rate[base, width] = measured, min(measured, key=lambda point: point[1])[0]
        print(f"{name:>18}: " + ", ".join(f"2^{k}: {x:.3f}" for k, x in measured))
curves(lines, "Loss after 30 steps", "log2 of the learning rate", "reducible loss, nats", "21-mup")
shift = best_rate[16, 128] - best_rate[16, 16]
result("muP: best rate of width 128, powers of 2 from width 16", shift, 0, 1)
result("without: best rate of width 128, powers of 2", best_rate[None, 128] - best_rate[16, 16], -3, 1)
if mup_factors is not None:
    print(
        "your mup_factors for 128 over 16:",
        {kind: mup_factors(kind, 8.0) for kind in ("embedding", "hidden", "output")},
    )

# %% [markdown]
# **What to see.** Without muP the best rate falls by a factor of eight, as much as the width grows. With muP the
# bottoms of the three valleys are at the same rate, with every seed that we tried, and at this rate the wider model is
# better, as it should be. So tune the rate on the narrow model, and use it for the wide one. Yang et al. did so for a
# model with 6.7 billion parameters, at 7 % of the cost of training it once.

# %% [markdown]
# ## 21.5 A plan for 10¹² parameters
#
# With a law for the loss, a rule for the size and a rate that carries over, what is left is arithmetic: memory,
# operations, time, traffic. `python -m llmasos plan` does it in half a second, with formulas that have their sources in
# their docstrings. How good are they? `python -m llmasos plan --published` compares them with what others have
# published about their runs:

# %%
print(f"{'':<44} {'published':>12} {'formula':>12}   error")
for p in PUBLISHED:
    print(f"{p.what:<44} {p.published:12.4g} {p.predict():12.4g}  {p.error:+6.1%}")
errors = [abs(p.error) for p in PUBLISHED]
result("published numbers within 10 % of their formula", sum(e < 0.1 for e in errors) / len(errors), 1.0, 0.001)
result("largest error", max(errors), 0.078, 0.005)
predict("a trillion parameters on 16,384 H100s: a week, a month, or a year? And does it fit?")

# %%
config = shape_with(1e12)
plan = plan_training(config, DEVICES["h100"], 16_384, tensor_parallel=8)
print(f"{plan.n_parameters:,} parameters: {config.n_layers} layers of width {config.d_model:,}")
print(f"{plan.n_tokens:.3g} tokens, {plan.flops:.3g} operations, {plan.seconds / 86_400:,.0f} days at 40 % of the peak")
for name, n_bytes in plan.state_bytes.items():
    whole = (n_bytes + plan.checkpointed_bytes) / 1e9
    fits = "fits" if whole < 80 else "does not fit"
    print(
        f"  {name:>5}: {whole:8.1f} GB on each device ({fits}), {plan.traffic_bytes[name] / 1e9:.0f} GB sent per step"
    )
result("operations over 6·N·D", plan.flops / (6 * plan.n_parameters * plan.n_tokens), 1.073, 0.01)
result("size for this budget by C = 120·N², over N", optimal_size(plan.flops) / plan.n_parameters, 1.036, 0.01)
print(f"the same run on one device: {plan.seconds * 16_384 / 86_400 / 365:,.0f} years")

# %% [markdown]
# **What to see.** All 18 published numbers are within 8 percent of their formulas, all but one within 3, and GPT-2's
# 124 million parameters are right to the last one. And a model with a trillion parameters takes sixteen thousand GPUs
# most of a year, and fits only if all of its state is sharded (lesson 22), with each layer split over eight devices.
# The 7 percent above $6 N D$ are attention, which the rule of thumb leaves out. The plan says nothing about failures,
# or about data: where do $2 \cdot 10^{13}$ tokens come from? (Repeating them helps for about four epochs; Muennighoff
# et al. 2023.)

# %% [markdown]
# ## 21.6 What was left out
#
# - **Loss is not ability.** Some abilities appear suddenly, or seem to, depending on how they are scored (Wei et al.
#   2022; Schaeffer et al. 2023). The loss falls smoothly all the while.
# - **Depth, batch size, schedule.** muP as given here is about width alone. The best batch grows with training
#   (McCandlish et al. 2018). A cosine schedule must end where the run ends, which is one reason why Kaplan et al. found
#   a different exponent from that of Hoffmann et al. (Porian et al. 2024).
# - **Other axes.** Experts (lesson 13) add parameters without operations. Thinking for longer at test time has scaling
#   laws of its own (Snell et al. 2024), and so does quantization (Dettmers & Zettlemoyer 2023).
#
# **Further reading.** Hestness et al. 2017, *Deep Learning Scaling is Predictable, Empirically*. Kaplan et al. 2020,
# *Scaling Laws for Neural Language Models*. Hoffmann et al. 2022, *Training Compute-Optimal Large Language Models*.
# Besiroglu et al. 2024, *Chinchilla Scaling: A replication attempt*. Bahri et al. 2021, *Explaining Neural Scaling
# Laws*. Maloney et al. 2022, *A Solvable Model of Neural Scaling Laws*. Michaud et al. 2023, *The Quantization Model of
# Neural Scaling*. Yang et al. 2022, *Tensor Programs V*. OpenAI 2023, *GPT-4 Technical Report*, section 3.
#
# **Now you.** `python -m lessons check 21` creates your file, `lessons/mine/21_scaling.py`, with seven exercises in it.
# When the checks pass, `python -m lessons run 21 --mine` makes its predictions with your functions.
