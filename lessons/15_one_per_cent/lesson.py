# %% [markdown]
# # 15 One per cent
#
# - **Question:** A model has a million weights, or a trillion. How many must change for it to learn something new?
# - **Teaches:** adapters of low rank (LoRA) and why they start as they do, what they cost and what they can hold, their
#   learning rate; distillation from a larger model and from the true probabilities
# - **Minutes:** 120 to read and solve, 2 to run
#
# You need: linear layers and the GPT block (lesson 04), AdamW and the learning rate (lesson 05), cross-entropy and nats
# (lesson 01). Formulas are from *LoRA: Low-Rank Adaptation of Large Language Models* (Hu et al. 2021), section 4.1,
# unless stated otherwise.
#
# Letters, here and in the exercises: n_in and n_out are the numbers of features that a linear layer reads and writes, r
# is the rank and α the strength of an adapter, η the learning rate, N the number of predictions, V the size of the
# vocabulary.

# %% [setup]
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# %%
import copy
import math

import numpy as np
import torch

from lessons.machinery.lesson_api import part, predict, result, seed
from lessons.machinery.pictures import curves
from llmasos.datasets.storyworld import World, generate, next_word_probs, prefix_log_prob
from llmasos.generation import SamplingOptions
from llmasos.generation import generate as write
from llmasos.hub import load_pretrained
from llmasos.models import GPT, ModelConfig
from llmasos.models.adapter import adaptable_layers, add_adapter, lora_layers, merge_adapter
from llmasos.objectives import CausalLM, Distillation, ModelTeacher, ProbabilityTeacher
from llmasos.training.optimizers import learning_rate_factor, make_optimizers, optimizer_tensors, set_learning_rate
from llmasos.training.recipe import TrainingSettings

SEED = seed()
torch.manual_seed(SEED)
torch.set_num_threads(min(2, torch.get_num_threads()))
torch.set_printoptions(precision=2, sci_mode=False)

# %% [markdown]
# ## 15.1 New children in the valley
#
# `storyworld-gpt` ships with this library: 1.2 million weights, trained for two hours on the stories of a valley with
# twenty-four children. Now twenty-four other children move in: Frieda, Theo, Judith, … The model has never read these
# names. Everything else about their stories is as before.
#
# We need stories about them to train on, and others to validate on. To save time we take only their first sentence,
# where the name is. And as always in this course we know the floor, the randomness of the stories that no model can
# predict: `prefix_log_prob` adds up the probabilities of all ways in which a story can begin with these words. (The
# world with both groups has 48 children, and we keep the stories of half of them. Given that the hero is one of these,
# every story is twice as likely: that is the ln 2.)

# %%
BASE = "storyworld-gpt"
base, tokenizer, *_ = load_pretrained(BASE)
base = base.float().eval()
objective, END = CausalLM(), tokenizer.end_of_text
VALLEY = World(names=48)
OLD = {child.en for child in World().children}


def about_newcomers(number, n):
    """Return n stories whose hero is one of the new children, from the corpus of this number."""
    found, index = [], 0
    while len(found) < n:
        story = generate(number, index, VALLEY)
        index += 1
        if story.combination[0] not in OLD:
            found.append(story)
    return found


def encode(texts):
    return [np.array([END, *tokenizer.encode(text)]) for text in texts]


def mean_loss(model, rows):
    """Return the mean loss of some rows, in nats per token, as a tensor with a gradient."""
    batch = objective.collate(rows)  # ids, targets (B, T)
    return objective.loss_sums(model, batch)["causal"] / objective.n_targets(batch)["causal"]


@torch.no_grad()
def measure(model, rows):
    """Return the validation loss, in nats per token."""
    return mean_loss(model.eval(), rows).item()


train_stories, val_stories = about_newcomers(1000 + SEED, 1600), about_newcomers(0, 200)
val_texts = [story.sentences[0] for story in val_stories]
names_train = encode([story.sentences[0] for story in train_stories])
names_val = encode(val_texts)
n_targets = sum(len(row) - 1 for row in names_val)
floor = -sum(prefix_log_prob(text, VALLEY) + math.log(2) for text in val_texts) / n_targets
print(val_texts[0])
print(f"\nbefore: {measure(base, names_val):.3f} nats per token; the floor is {floor:.3f}")

# %% [markdown]
# The names are all that is new, and yet they cost three nats per token, averaged over *all* tokens of the sentence: for
# the names themselves, and for the confusion after them.
#
# The obvious remedy is **full fine-tuning**: continue the training of lesson 05 on the new stories, with all weights.
# It works. What does it cost? AdamW in fp32 keeps four numbers of 4 bytes for each weight: the weight itself, its
# gradient, and two averages. That makes 16 bytes, or 19 MB for our model; for one with 70 billion weights it is 1.1 TB,
# more than any single GPU holds. And afterwards you have a second model, as large as the first, for every customer,
# every task, every valley.
#
# Must all of the weights change? The new children have twenty-four names. It seems absurd that 1.2 million numbers
# should be needed to say so.

# %% [markdown]
# ## 15.2 A change of low rank
#
# Fine-tuning turns a weight matrix $W$ (n_out, n_in) into $W + \Delta$. The simplest change that is not zero is an
# *outer product*: a column $b$ times a row $a^\top$. Applied to $x$ it is $b\,(a^\top x)$: look for one thing in the
# input, the direction $a$, and where you find it write one thing into the output, the direction $b$. This takes n_in +
# n_out numbers instead of n_in · n_out. A sum of r outer products is
#
# $$ \Delta = \sum_{j=1}^{r} b_j a_j^\top = B A, \qquad A: (r, \text{n\_in}), \quad B: (\text{n\_out}, r), $$
#
# a matrix of **rank** at most r: it reads r directions and ignores all others. No matrix has a rank above its shorter
# side, so with r = min(n_in, n_out) every change can be written this way.
#
# How good can rank r be? The singular value decomposition writes any $\Delta$ as $\sum_i \sigma_i u_i v_i^\top$ with
# orthogonal unit vectors $u_i$, orthogonal unit vectors $v_i$, and $\sigma_1 \ge \sigma_2 \ge \dots \ge 0$. The theorem
# of Eckart and Young (1936) says that the first r terms are the closest matrix of rank r, and how far away it is:
#
# $$ \min_{\operatorname{rank}(BA) \le r} \lVert \Delta - BA \rVert^2 = \sum_{i > r} \sigma_i^2,
#    \qquad \lVert M \rVert^2 = \sum_{o,i} M_{oi}^2. $$
#
# ($\lVert M \rVert$ is called the Frobenius norm.) So a change is cheap if its singular values fall quickly. But the
# theorem only says that a good A and B *exist*. Does gradient descent find them? The loss is a polynomial of degree
# four in the numbers of A and B, with many saddle points. Baldi and Hornik (1989) proved that it has no local minima
# other than the global one. Let us see.

# %%
predict("a change of 48 × 64 numbers with the singular values 1, 0.9, 0.81, 0.729, … What fraction of its squared "
        "norm is lost at rank 16, a third of the full rank?")  # fmt: skip

# %%
generator = torch.Generator().manual_seed(SEED)
U = torch.linalg.qr(torch.randn(48, 48, generator=generator)).Q  # orthogonal columns
V = torch.linalg.qr(torch.randn(64, 48, generator=generator)).Q
sigma = 0.9 ** torch.arange(48)  # σ_1 … σ_48
change = U * sigma @ V.T  # (n_out, n_in)
for rank in (1, 4, 16):
    A = torch.randn(rank, 64, generator=generator) / 8
    B = torch.zeros(48, rank)
    A.requires_grad_(), B.requires_grad_()
    optimizer = torch.optim.Adam([A, B], lr=0.02)
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 0.02 * (1 - step / 400)
        error = (change - B @ A).square().sum()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    bound = (sigma[rank:] ** 2).sum().item()
    fraction = bound / (sigma**2).sum().item()
    print(f"rank {rank:>2}: by the theorem {bound:.4f} is lost, a fraction of {fraction:.3f}; here {error.item():.4f}")
    result(f"rank {rank}: lost by gradient descent / by the theorem", error.item() / bound, 1.0, 0.01)

# %% [markdown]
# From a random start, gradient descent ends at the theorem's number, for every rank.
#
# Are the changes in real fine-tuning of low rank? Aghajanyan et al. (2020) found that a few hundred well-chosen
# directions among all weights suffice for many tasks, and that is what led to LoRA. The truth is more interesting: it
# depends on *how much there is to learn*. You will see both cases. Exercise **best_adapter** asks you to squeeze a
# fine-tuned matrix into an adapter.

# %% [markdown]
# ## 15.3 The adapted layer
#
# Instead of finding $\Delta$ first and approximating it afterwards, **LoRA** trains A and B directly, and nothing else.
# A linear layer with weight W and bias b becomes
#
# $$ y = W x + b + \frac{\alpha}{r}\, B A x. $$
#
# W and b are **frozen**: they get no gradient, and the optimizer does not know about them. $\alpha$ is a constant, by
# default 32 in this library; 15.5 shows what the division by r is for. Compute $A x$ first, which is only r numbers,
# and the adapter costs r · (n_in + n_out) multiplications per token. Exercise **lora_forward**.
#
# **How do A and B start?** At first the model should be what it was, so $BA = 0$. There are several ways to achieve
# that, and most of them are bad. Let $g = \partial L / \partial y$ be the gradient that arrives at the layer's output.
# For a single input x, the matrix W itself would have the gradient $G = g x^\top$ (for a batch, $G$ is the sum over all
# positions). By the chain rule,
#
# $$ \frac{\partial L}{\partial B} = \frac{\alpha}{r}\, g\, (A x)^\top = \frac{\alpha}{r}\, G A^\top, \qquad
#    \frac{\partial L}{\partial A} = \frac{\alpha}{r}\, B^\top g\, x^\top = \frac{\alpha}{r}\, B^\top G. $$
#
# Each gradient contains the *other* matrix. If both are zero, both gradients are zero, now and after every step. So one
# of them has to be different from zero, and then the other one must be zero, for the sake of $BA = 0$. The convention:
#
# - **B is zero.** In the first step, A does not move, and B gets $\frac{\alpha}{r} G A^\top$: what the full gradient
#   says about the r directions that A happens to read.
# - **A is random**: each number uniform between $-1/\sqrt{\text{n\_in}}$ and $1/\sqrt{\text{n\_in}}$, independently.
#   Then the components of $Ax$ have a similar size for all widths, just like the scores of lesson 03 after dividing by
#   √D. That it is *random* matters as much as that it is not zero.
#
# Exercise **new_adapter** makes the two matrices; in exercise **two_in_name_only** you choose them so badly that half
# of the adapter is wasted for good.

# %%
# `run 15 --mine` puts your own functions here
lora_forward = part("lora_forward", None)
plan_adapter = part("plan_adapter", None)
your_distillation_loss = part("distillation_loss", None)


def adapted(rank, targets="all", new=()):
    """Return a copy of the base model with adapters."""
    torch.manual_seed(SEED)
    model = add_adapter(copy.deepcopy(base), BASE, rank, targets=targets, new=new)
    for layer in lora_layers(model).values() if lora_forward is not None else ():
        layer.forward = lambda x, l=layer: lora_forward(x, l.weight, l.bias, l.lora_A.weight, l.lora_B.weight, l.alpha)
    return model


print(next(iter(lora_layers(adapted(2)).values())))
for start in ("as it should be", "both zero", "both random"):
    model = adapted(2)
    layer = lora_layers(model)["blocks.0.attention.q_proj"]
    with torch.no_grad():
        if start == "both zero":
            layer.lora_A.weight.zero_()
        if start == "both random":
            layer.lora_B.weight.uniform_(-0.7, 0.7)
    loss = mean_loss(model, names_train[:32])
    loss.backward()
    norm_A, norm_B = (m.weight.grad.norm().item() for m in (layer.lora_A, layer.lora_B))
    print(f"{start:<16} first loss {loss.item():.3f}, gradient of A {norm_A:.4f}, of B {norm_B:.4f}")

# %% [markdown]
# The line "as it should be" shows the convention: the loss of the pretrained model, and a gradient for B alone. (In the
# other two lines, only the first layer's adapter was spoiled.)

# %% [markdown]
# ## 15.4 One per cent, counted
#
# An adapter of rank r has r · (n_in + n_out) weights. The library gives one to every linear layer of the blocks:
# queries, keys, values and output of the attention, and the three matrices of the feed-forward. It gives none to
# embeddings, output layer and norms. (If a new *output* is needed, such as a classifier's head, it is trained in full.)
#
# AdamW's two averages and the gradient exist for trained weights only: 12 bytes for each trained weight, on top of the
# 4 of the weight itself.

# %%
shapes = [tuple(layer.weight.shape) for layer in adaptable_layers(base).values()]  # (n_out, n_in) of each
n_all = sum(weight.numel() for weight in base.parameters())
per_rank = sum(n_out + n_in for n_out, n_in in shapes)
print(f"{len(shapes)} layers; one block: {shapes[:7]}")
predict(f"{n_all:,} weights in all. How many does an adapter of rank 1 have?")

# %%
print(f"{'':8} {'trained':>9} {'by formula':>11} {'of all':>7} {'gradient and averages':>22} {'by formula':>11}")
for rank in (None, 1, 4, 16):
    model = copy.deepcopy(base) if rank is None else adapted(rank)
    (optimizer,) = make_optimizers(model, TrainingSettings(learning_rate=1e-4, precision="fp32"))
    mean_loss(model.train(), names_train[:8]).backward()
    optimizer.step()
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    formula = n_all if rank is None else rank * per_rank
    state = [t for name, t in optimizer_tensors(model, [optimizer]).items() if name.startswith("exp_avg")]
    kept = sum(t.nbytes for t in state) + sum(w.grad.nbytes for w in model.parameters() if w.grad is not None)
    name = "full" if rank is None else f"rank {rank}"
    print(f"{name:8} {trained:9,} {formula:11,} {trained / n_all:7.2%} {kept:22,} {12 * formula:11,}")
    if rank == 1:
        result("rank 1: trained weights, % of all", 100 * trained / n_all, 100 * per_rank / n_all, 1e-6)
        result("rank 1: bytes besides the weights", kept, 12 * per_rank, 0.5)

# %% [markdown]
# Rank 1 is one per cent of the model. The formula also gives the paper's famous number. GPT-3 has 96 layers of width
# 12,288; rank 4 on queries and values is 96 · 2 · 4 · (12,288 + 12,288) = 18.9 million weights of 175 billion, 38 MB in
# 16 bits. The paper says that a checkpoint shrinks "from 350GB to 35MB". Exercise **plan_adapter** turns the formula
# around: what rank does a budget allow?
#
# And time? A matrix of n weights costs 2n operations per token in the forward pass, 2n to carry the gradient to its
# input, and 2n for its own gradient. A frozen matrix needs the first two only: the gradient has to pass *through* it to
# reach the adapters below. So LoRA saves at most a third of the operations, not 99 %. What it saves is memory.

# %% [markdown]
# ## 15.5 How large a step?
#
# Before we compare an adapter with full fine-tuning, each needs its own learning rate (lesson 05). What should we
# expect of an adapter's? Its first step can be calculated.
#
# Adam's first step moves every number by η, against the sign of its gradient (5.3). With full fine-tuning, the change
# of W is $-\eta \operatorname{sign}(G)$, and the loss falls, to first order, by $\eta \sum_{o,i} |G_{oi}|$. If the
# entries of row o of G look like draws from a normal distribution, the mean of $|G_{oi}|$ is $\sqrt{2/\pi}$ times their
# root mean square $\lVert G_o \rVert / \sqrt{\text{n\_in}}$, and the sum over the row is
# $\sqrt{2\,\text{n\_in}/\pi}\,\lVert G_o \rVert$.
#
# In an adapter, only B moves: by $-\eta \operatorname{sign}(G A^\top)$. That changes the layer by $\frac{\alpha}{r}$
# times this times A, and the loss falls by
#
# $$ \eta\, \frac{\alpha}{r} \sum_o \sum_{j=1}^{r} \big| (G A^\top)_{oj} \big|
#    \approx \eta\, \alpha \sum_o \sqrt{\frac{2}{3 \pi\, \text{n\_in}}}\; \lVert G_o \rVert, $$
#
# since $(G A^\top)_{oj}$ is a sum of n_in terms with A's variance, $1/(3\,\text{n\_in})$: nearly normal, with the
# standard deviation $\lVert G_o \rVert / \sqrt{3\,\text{n\_in}}$. The r terms of the sum cancel the r of the scale:
# **the first step does not depend on the rank.** That is what α / r is for. And the ratio of the two first steps says
# how much larger the rate must be for the same progress:
#
# $$ \frac{\text{full}}{\text{adapter}} = \frac{\sqrt{2\,\text{n\_in}/\pi}}{\alpha \sqrt{2/(3\pi\,\text{n\_in})}}
#    = \frac{\sqrt 3\; \text{n\_in}}{\alpha}, $$
#
# which is 6.9 for our layers with n_in = 128, and 19 for those with 352. Does this hold for real gradients, after all
# these approximations?


# %%
def first_step(rank):
    """Return by how much one step of AdamW lowers the loss to first order, per unit of the learning rate."""
    rate, model = 1e-6, copy.deepcopy(base) if rank is None else adapted(rank)
    optimizers = make_optimizers(model, TrainingSettings(learning_rate=rate, weight_decay=0.0, precision="fp32"))
    before = {name: layer.weight.detach().clone() for name, layer in adaptable_layers(base).items()}
    mean_loss(model.train(), names_train[:64]).backward()
    for optimizer in optimizers:
        optimizer.step()
    layers = adaptable_layers(model) if rank is None else lora_layers(model)
    moved = {name: layer.weight - before[name] if rank is None else layer.delta() for name, layer in layers.items()}
    return -sum((moved[name] * gradients[name]).sum().item() for name in moved) / rate


model = copy.deepcopy(base)
mean_loss(model, names_train[:64]).backward()
gradients = {name: layer.weight.grad.clone() for name, layer in adaptable_layers(model).items()}  # G of each layer
formula = 32 * sum(G.norm(dim=1).sum().item() * math.sqrt(2 / (3 * math.pi * G.size(1))) for G in gradients.values())
for rank in (1, 4, 64):
    step = first_step(rank)
    print(f"rank {rank:>2}: the loss falls by {step:.1f} η, by the formula {formula:.1f} η")
    result(f"rank {rank}: first step / formula", step / formula, 1.0, 0.25 if rank == 1 else 0.1)
full_step = first_step(None)
print(f"full: the loss falls by {full_step:.1f} η, {full_step / formula:.1f} times as much")

# %% [markdown]
# The formula holds, with the same number for rank 1 and rank 64. (The fewer rows A has, the more the draw matters: at
# rank 1, expect the largest deviation.) At the same rate, full fine-tuning goes about eight times as far. After the
# first step, everything is more complicated: A moves too, the gradients change, and an adapter's speed depends on how
# large A and B have become. Schulman et al. (2025) measured fourteen language models and found the adapter's best rate
# at about *ten times* that of full fine-tuning, nearly independent of the rank. Our formula would grow with the width.
# So it explains the beginning, not the whole.
#
# Now the whole. This is the training loop of lesson 05, in one function.


# %%
def train(model, rows, steps, batch, rate, objective=objective, optimizer="adamw"):
    """Train a model; return the points (tokens read, loss of a batch before it was trained on)."""
    settings = TrainingSettings(optimizer=optimizer, learning_rate=rate, weight_decay=0.0, precision="fp32")
    optimizers = make_optimizers(model.train(), settings)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    shuffle = np.random.default_rng(SEED)
    order = np.concatenate([shuffle.permutation(len(rows)) for _ in range(-(-steps * batch // len(rows)))])
    points, n_read = [], 0
    for step in range(steps):
        set_learning_rate(optimizers, rate * learning_rate_factor(step, steps, 5, "linear", 0.0))
        data = objective.collate([rows[i] for i in order[step * batch : (step + 1) * batch]])
        n = objective.n_targets(data)["causal"]
        loss = objective.loss_sums(model, data)["causal"] / n
        for each in optimizers:
            each.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        for each in optimizers:
            each.step()
        points.append((n_read, loss.item()))
        n_read += n
    model.eval()
    return points


def fine_tune(model, rows, val_rows, batch, rate):
    """Train for 100 steps on new texts in each; return the validation loss and the points of the training."""
    points = train(model, rows, 100, batch, rate)
    return measure(model, val_rows), points


def best_rate(losses):
    """Return the rate at the bottom of the parabola through three points (log rate, loss), within their range."""
    (x1, y1), (x2, y2), (x3, y3) = ((math.log(rate), loss) for rate, loss in sorted(losses.items()))
    a = ((y3 - y2) / (x3 - x2) - (y2 - y1) / (x2 - x1)) / (x3 - x1)
    b = (y2 - y1) / (x2 - x1) - a * (x1 + x2)
    return math.exp(min(x3, max(x1, -b / (2 * a)))) if a > 0 else min(losses, key=losses.get)


FULL_RATE, RATE = 0.003, 0.01
predict("full fine-tuning is best at about 0.003 here. Where is the best rate of an adapter of rank 4?")

# %%
tried = {"full": {}, "rank 4": {}}
for name, rank, rate, expected, spread in (
    ("full", None, 0.001, 0.568, 0.02), ("full", None, 0.003, 0.558, 0.02), ("full", None, 0.01, 0.567, 0.02),
    ("rank 4", 4, 0.003, 0.64, 0.025), ("rank 4", 4, 0.01, 0.61, 0.02), ("rank 4", 4, 0.02, 0.654, 0.04),
):  # fmt: skip
    model = copy.deepcopy(base) if rank is None else adapted(rank)
    loss, points = fine_tune(model, names_train, names_val, 16, rate)
    tried[name][rate] = loss
    result(f"{name}, rate {rate}, nats per token", loss, expected, spread)
    if name == "full" and rate == FULL_RATE:
        full_model, full_points, full_loss = model, points, loss
    if name == "rank 4" and rate == RATE:
        rank_4_loss = loss
sweeps = {name: [(math.log10(rate), loss) for rate, loss in each.items()] for name, each in tried.items()}
curves(sweeps, "100 steps on the new names", "log10 of the peak rate", "validation loss", "15-rates")
ratio = best_rate(tried["rank 4"]) / best_rate(tried["full"])
result("best rate of rank 4 / best rate of full", ratio, 2.2, 1.0)

# %% [markdown]
# **What to see.** Two U-shaped curves. Rank 4 learns best at a rate about twice that of full fine-tuning: more, as our
# formula says, but neither eight nor ten times. What stops it is the steep side on the right: at 0.02 the adapter is
# already worse, and at 0.03, which is not in the picture, it ended above 1 nat in our trials. The scale α / r
# multiplies the adapter's jitter as it multiplies its steps, and our model is narrow and trained for a hundred steps
# only; the factor of ten was found in models ten to a hundred times as wide, trained for longer. What you can take home
# is the direction: *try a larger rate than for full fine-tuning, and tune it on its own.* A comparison of the two at
# the same rate compares rates. (The results that this lesson states for its training runs are means over two to five
# seeds.)

# %% [markdown]
# ## 15.6 Little to learn: twenty-four names
#
# Each name is a chain of two to six tokens, most often three or four: *Frieda* is *F*, then *ried*, then *a*.
# Twenty-four such chains are all there is to learn. The hypothesis: this is so little that rank 1, with one per cent of
# the weights, is as good as training them all.

# %%
predict(f"full fine-tuning ends at {full_loss:.2f}, and the floor is {floor:.2f}. Rank 1, after the same 100 steps?")

# %%
rank_1 = adapted(1)
rank_1_loss, _ = fine_tune(rank_1, names_train, names_val, 16, RATE)
result("rank 1, nats per token", rank_1_loss, 0.65, 0.035)
result("rank 1 worse than full by", rank_1_loss - full_loss, 0.091, 0.035)

# %% [markdown]
# The hypothesis is wrong. Of the three nats above the floor, rank 1 has removed more than 95 %, but full fine-tuning
# removed nearly all of them: measured by what is *left*, rank 1 is five times as far from the floor. Is the rank
# too small? Then a larger one should help:

# %%
rank_16_loss, _ = fine_tune(adapted(16), names_train, names_val, 16, RATE)
result("rank 16, nats per token", rank_16_loss, 0.605, 0.02)

# %% [markdown]
# A little. Sixteen times as many weights close about half of the gap. So the low rank is not the main problem. What
# else is different? An adapter changes the linear layers of the blocks, and nothing else. Full fine-tuning also changes
# the **embeddings**: the vectors by which the model recognizes its tokens, and those by which its output layer predicts
# them. (In this model these are two tables. Where they are tied, as in lesson 04, they are one.) Here is the experiment
# that separates the two: train the matrices of the blocks *in full*, and freeze the embeddings, both tables.

# %%
predict("all weights of the blocks trained, the embeddings frozen: nearer to full fine-tuning, or to rank 16?")

# %%
TABLES = "token_embedding", "lm_head"  # a row for each token: read, and predicted
no_embeddings = copy.deepcopy(base)
for name in TABLES:
    no_embeddings.get_submodule(name).requires_grad_(False)
frozen_loss, _ = fine_tune(no_embeddings, names_train, names_val, 16, FULL_RATE)
result("full, embeddings frozen, nats per token", frozen_loss, 0.61, 0.02)
with_embeddings = adapted(1, new=TABLES)
with_loss, _ = fine_tune(with_embeddings, names_train, names_val, 16, RATE)
result("rank 1 and the embeddings, nats per token", with_loss, 0.573, 0.02)
result("rank 1 and the embeddings worse than full by", with_loss - full_loss, 0.015, 0.02)
result("rank 4 worse than full, both without embeddings", rank_4_loss - frozen_loss, 0.004, 0.02)

# %% [markdown]
# There is the answer. With frozen embeddings, all the weights of the blocks, 78 % of the model, are no better than an
# adapter of rank 4 on the same matrices: in this fair comparison, the hypothesis holds to about 0.01 nats (at rank 1
# some 0.04 are missing). And rank 1 *with* trained embeddings beats all of them: most of the gap to full fine-tuning is
# gone. The new names are made of tokens that hardly ever occur in the old valley:

# %%
old_text = " ".join(generate(3, index).sentences[0] for index in range(2000))
seen = np.bincount(tokenizer.encode(old_text), minlength=len(base.token_embedding.weight))
new_names = sorted({child.en for child in VALLEY.children} - OLD)
for name in new_names[:5]:
    ids = tokenizer.encode(" " + name)
    print(f"{name:<8}", "   ".join(f"{tokenizer.decode([i])!r}: {seen[i]:,}" for i in ids))
rare = sum(min(seen[i] for i in tokenizer.encode(" " + name)) < 10 for name in new_names)
print(f"{rare} of {len(new_names)} names have a token that occurs fewer than ten times in 2,000 old sentences")

# %% [markdown]
# A token that the model has hardly ever read has an embedding that says nothing, and an adapter cannot change it: it
# would have to tell such tokens apart by their position in a space in which they are not arranged. This is why recipes
# for new vocabulary, such as a chat model's special tokens, train the embeddings too (`new=` here, `modules_to_save` in
# the library peft). So the lesson's first answer to its question: **what matters first is which weights, and only then
# how many.**
#
# Now use the adapter. Merged, $W + \frac{\alpha}{r} BA$ is an ordinary matrix, and the model has its old size and
# speed. And what has become of the old children?

# %%
batch = objective.collate(names_val[:16])["ids"]
with torch.no_grad():
    before = with_embeddings(batch)
    merged = merge_adapter(copy.deepcopy(with_embeddings))
    difference = (merged(batch) - before).abs().max().item()
print(f"{len(lora_layers(merged))} adapted layers are left; logits of size {before.abs().mean():.1f}")
result("largest difference of a logit after merging", difference, 0.0, 1e-3)
prompts = ["Once there was a brave girl called", "At the", "Everyone in the valley knew"]
for generation, prompt in zip(
    write(merged, tokenizer, prompts, SamplingOptions(max_new_tokens=16, temperature=0.5)), prompts, strict=True
):
    print(f"  {prompt}{generation.text}")
old_rows = encode([generate(2, index).sentences[0] for index in range(200)])
print(f"\nthe old children's stories, nats per token, before: {measure(base, old_rows):.3f}")
result("after full fine-tuning", measure(full_model, old_rows), 1.25, 0.2)
result("after rank 1 without embeddings", measure(rank_1, old_rows), 1.13, 0.35)

# %% [markdown]
# **What to see.** The merged model has no adapters left and computes the same. It tells of the new children, if not yet
# well: whether Peter is a girl takes more than a hundred steps to learn. And it tells of nobody else, since no text
# said that the old ones still live here. Their stories cost more than before with both kinds of training, because every
# probability for a new name is taken from an old one. (Biderman et al. 2024 found in larger models that LoRA "learns
# less and forgets less".) But there is a difference that no loss shows: from an adapter you can go back. Take it out,
# and the pretrained model is there, bit for bit.

# %% [markdown]
# ## 15.7 Much to learn: German
#
# The same stories exist in German, and our model has never read a word of it. Here everything is new: the words, the
# genders, the order. Again we take first sentences; they are two and a half times as long in tokens, since the
# tokenizer has no tokens for German words.

# %%
german_train = encode([story.german_sentences[0] for story in train_stories])
german_val = encode([story.german_sentences[0] for story in val_stories])
print(val_stories[0].german_sentences[0])
print(f"before: {measure(base, german_val):.2f} nats per token; the uniform distribution has {math.log(1024):.2f}")
predict("rank 1, 4, 16 and full fine-tuning, 100 steps each. How far apart are they?")

# %%
attention_shapes = [tuple(m.weight.shape) for name, m in adaptable_layers(base).items() if ".attention." in name]
budget = 4 * per_rank  # the weights of rank 4 on all layers
attention_rank = budget // sum(map(sum, attention_shapes))
if plan_adapter is not None:
    attention_rank = plan_adapter(attention_shapes, budget)[0]
print(f"rank {attention_rank} on attention: {attention_rank * sum(map(sum, attention_shapes)):,} of {budget:,} weights")
german = {}
for name, rank, targets, expected, spread in (
    ("rank 1", 1, "all", 1.83, 0.6),
    ("rank 4", 4, "all", 0.92, 0.07),
    ("rank 16", 16, "all", 0.815, 0.04),
    (f"rank {attention_rank}, attention only", attention_rank, "attention", 1.45, 0.3),
    ("full, embeddings frozen", None, "", 0.745, 0.03),
    ("full", None, "", 0.256, 0.02),
):
    model = copy.deepcopy(base) if rank is None else adapted(rank, targets)
    if name.endswith("frozen"):
        for table in TABLES:
            model.get_submodule(table).requires_grad_(False)
    german[name] = fine_tune(model, german_train, german_val, 8, RATE)
    result(f"German, {name}, nats per token", german[name][0], expected, spread)
curves(
    {name: [(n, min(loss, 5.0)) for n, loss in points[::3]] for name, (_, points) in german.items()},
    "Learning German (losses above 5 drawn at 5)", "tokens read", "loss", "15-german",
)  # fmt: skip

# %% [markdown]
# **What to see.** All curves begin at 14 nats, twice as bad as knowing nothing: a model of English is *sure* that
# no German follows. Then they part, and now the rank counts. Rank 1 stays far behind. The fair comparison is again
# the run with frozen embeddings: full training of the same matrices. Rank 4 comes near it and rank 16 nearer: with the
# rank, this gap closes. The gap to full fine-tuning of everything does not close at any rank. It is the one from 15.6,
# only larger: hardly any German token was ever read before.
#
# And the attention alone, with as many weights as rank 4 on all layers? It ends nearer to rank 1, which has a
# quarter as many. The feed-forward has nearly three quarters of the weights in a block, and much of what a model knows
# is stored there. The first papers adapted only queries and values; Schulman et al. (2025) found, as we do, that an
# adapter belongs on *all* layers.

# %% [markdown]
# ## 15.8 How many bits?
#
# "Little" and "much" can be measured, in bits. Imagine sending the training texts to somebody who has the same base
# model, and who trains it just as you do while the texts arrive. Each batch costs its loss *before* the model was
# trained on it, in nats; divided by ln 2, in bits. That is the **prequential code** (Dawid 1984; Rissanen 1984).
# Somebody who already knew everything would pay only the final loss for each token. The difference is what the texts
# had to teach:
#
# $$ I = \frac{1}{\ln 2} \sum_t n_t\, (L_t - L_\infty), $$
#
# with the number of targets $n_t$ of batch t, the loss $L_t$ on it before training, and the final validation loss
# $L_\infty$: the area between the curve and its end. A slow learner pays more, so I is an upper bound for the
# information (Blier & Ollivier 2018).
#
# How much does an adapter hold? Allen-Zhu & Li (2024) found about **two bits per weight**, for many models and after
# much training. Schulman et al. (2025) compare this capacity with the information in the training data, and expect an
# adapter to fall behind when the data hold more than it can store.


# %%
def bits(points, final):
    """Return the area between a training curve and the final loss, in bits."""
    ends = [n for n, _ in points[1:]] + [2 * points[-1][0] - points[-2][0]]
    return sum((loss - final) * (end - n) for (n, loss), end in zip(points, ends, strict=True)) / math.log(2)


names_bits, german_bits = bits(full_points, full_loss), bits(german["full"][1], german["full"][0])
print(f"rank 1 has {per_rank:,} weights: at two bits each, {2 * per_rank:,} bits")
result("bits in the names, thousands", names_bits / 1000, 9.2, 1.0)
result("bits in the German sentences, thousands", german_bits / 1000, 37.0, 3.3)

# %% [markdown]
# If the two bits per weight are right, the names need at most two fifths of what rank 1 can hold. For German our
# estimate is 1.6 times what rank 1 holds: 19,000 weights, rank 2. And that is where we saw the change, between rank
# 1, far from the control, and rank 4, near it. It is a rough calculation, with an upper bound on one side and a rule
# of thumb on the other, and a run of a hundred steps is not the long training for which the rule was found. But it
# asks the right question first: not "which rank is usual?" but "how much is there to learn?"

# %% [markdown]
# ## 15.9 Distillation: learning from probabilities
#
# So far the new knowledge came from texts. Suppose you have a *model* that knows it, perhaps one far too large to run
# where you need it. You could let it write texts and train on those. But it can tell you more. Where a text says "the
# next word was *boy*", a model says "*boy* 0.46, *girl* 0.49, …": everything that could have come, and how likely it
# was. Training a **student** on the probabilities of a **teacher** is **distillation** (Hinton, Vinyals & Dean 2015).
#
# Let p be the teacher's probabilities for the next token, and q the student's, the softmax of its logits z. The loss is
# the **Kullback–Leibler divergence**, the number of nats that are lost by believing q where p is true:
#
# $$ \operatorname{KL}(p \,\Vert\, q) = \sum_i p_i \log \frac{p_i}{q_i}
#    = \underbrace{-\sum_i p_i \log q_i}_{\text{cross-entropy}} -
#    \underbrace{\Big(-\sum_i p_i \log p_i\Big)}_{\text{entropy of } p}
#    \ \ge 0, \qquad \frac{\partial}{\partial z} \operatorname{KL}(p \,\Vert\, q) = q - p. $$
#
# Compare the gradient with that of the usual loss $-\log q_y$ for the token y that came in the text: $q - e_y$, where
# $e_y$ is 1 at y and 0 elsewhere. If the text was drawn from p, then $\mathrm{E}[e_y] = p$: **on average the two
# gradients are the same**. A text is an honest teacher. It is also a noisy one:
#
# $$ \mathrm{E}\,\lVert (q - e_y) - (q - p) \rVert^2 = \mathrm{E}\,\lVert e_y - p \rVert^2
#    = \mathrm{E}\,\lVert e_y \rVert^2 - \lVert p \rVert^2 = 1 - \sum_i p_i^2. $$
#
# Where the next word is certain, the noise is 0; where it is one of ten equally likely ones, 0.9. With probabilities,
# this noise is gone. No ordinary corpus can show you that, because nobody knows its p. Ours can: `next_word_probs` *is*
# the truth. For this section we take a smaller valley, with 8 children, 3 plots and 4 things for each, and make every
# word a token, so that the student and the generator give probabilities to the same things.

# %%
SMALL = World(names=8, things=4, plots=3)
corpus, held_out = (
    [" ".join(generate(corpus_number, index, SMALL).sentences[:2]) for index in range(n)]
    for corpus_number, n in ((2000 + SEED, 3000), (1, 300))
)
words = sorted({word for text in corpus + held_out for word in text.split()})
number = {word: i + 1 for i, word in enumerate(words)}  # 0 begins every text
V = 1 + len(words)


def word_rows(texts):
    return [np.array([0, *(number[word] for word in text.split())]) for text in texts]


corpus_rows, held_out_rows = word_rows(corpus), word_rows(held_out)
few_rows = corpus_rows[:200]
truths = {}  # ids so far → the probabilities of the next word (V,)


def truth(ids):
    """Return the true probabilities of the next word after these ids."""
    if tuple(ids) not in truths:
        p = np.zeros(V, dtype=np.float32)
        for word, probability in next_word_probs(" ".join(words[i - 1] for i in ids[1:]), SMALL).items():
            if word in number:
                p[number[word]] = probability
        truths[tuple(ids)] = p / p.sum()
    return truths[tuple(ids)]


predict(f"{V} words. The noise of one token is 1 - Σ p², between 0 and 1. How large is it on average?")

# %%
noise, predicted_noise = [], []
for row in few_rows:
    ids = row.tolist()
    for t in range(1, len(ids)):
        p = truth(ids[:t])
        noise.append(np.square(np.eye(1, V, ids[t])[0] - p).sum())
        predicted_noise.append(1 - np.square(p).sum())
print(f"{len(noise):,} tokens: measured {np.mean(noise):.3f}, by the formula {np.mean(predicted_noise):.3f}")
result("noise of a token, measured / by the formula", np.mean(noise) / np.mean(predicted_noise), 1.0, 0.05)

# %% [markdown]
# **Temperature.** A good teacher is often nearly certain, and then p says little more than the text. What it thinks of
# the *other* words hides in tiny probabilities: Hinton et al. call it dark knowledge. A temperature T > 1 (lesson 06)
# brings it out: p = softmax(v / T) for the teacher's logits v, q = softmax(z / T) for the student's. By the chain rule
# the gradient gets a factor 1/T, and since both p and q approach 1/V as T grows, q - p shrinks like 1/T, too: for large
# T, $e^{z_i/T} \approx 1 + z_i / T$, so that
#
# $$ \frac{\partial \operatorname{KL}}{\partial z_i} = \frac{q_i - p_i}{T}
#    \approx \frac{1}{T^2 V} \big( (z_i - \bar z) - (v_i - \bar v) \big), $$
#
# with the means $\bar z$, $\bar v$ (their equation 4, which assumes means of zero). Two things follow. The loss is
# multiplied by **T²**, so that the size of its gradient stays roughly the same for every T. And at high temperature the
# student simply matches logits.

# %%
z, v = (torch.randn(20, generator=generator) for _ in range(2))  # logits of a student and a teacher, V = 20
limit = ((z - z.mean()) - (v - v.mean())) / 20
for T in (1, 3, 10, 100):
    leaf = z.clone().requires_grad_()
    p, log_q = (v / T).softmax(-1), (leaf / T).log_softmax(-1)
    (p * (p.log() - log_q)).sum().backward()
    print(f"T = {T:>3}: length of the gradient {leaf.grad.norm():.6f}, times T² {T * T * leaf.grad.norm():.4f}")
result("T = 100: T² × gradient / the limit", (T * T * leaf.grad.norm() / limit.norm()).item(), 1.0, 0.03)

# %% [markdown]
# Often both terms are used: the text with its tokens, at T = 1 because that is how the model will be used, and the
# teacher with the weight w:
#
# $$ L = (1 - w) \left(-\log q_1(y)\right) + w\, T^2 \operatorname{KL}(p \,\Vert\, q), \qquad
#    q_1 = \operatorname{softmax}(z). $$
#
# Exercise **distillation_loss**. One trap: a probability of exactly 0, which our truth has in plenty. $p \log p \to 0$
# as $p \to 0$, but `0 * log(0)` is NaN.

# %% [markdown]
# ## 15.10 Three teachers
#
# Three students of the same size (two layers, width 64) start from the same random weights and get the same 200
# beginnings, twelve times over. They differ only in who teaches them:
#
# - **the text** itself, the usual loss;
# - **a larger model** (three layers, width 96), which has read 2,400 beginnings, once each, and gives its
#   probabilities;
# - **the truth**: the generator's own probabilities of the next word.
#
# Validation is on other beginnings, by the usual loss.


# %%
CONTEXT = max(map(len, corpus_rows + held_out_rows))


def new_gpt(n_layers, d_model):
    torch.manual_seed(SEED)
    size = dict(n_layers=n_layers, d_model=d_model, n_heads=d_model // 32, context_length=CONTEXT)
    return GPT(ModelConfig(vocab_size=V, activation="gelu", **size))


class YourDistillation(Distillation):
    """The library's, with your loss."""

    def loss_sums(self, model, batch):
        logits, targets = self.objective.predictions(model, batch)
        loss = your_distillation_loss(logits, self.teacher(batch), targets, self.temperature, self.weight)
        return {"causal": loss * self.n_targets(batch)["causal"]}


distilled_from = Distillation if your_distillation_loss is None else YourDistillation
small_floor = -sum(prefix_log_prob(text, SMALL) for text in held_out) / sum(len(row) - 1 for row in held_out_rows)
teacher = new_gpt(3, 96)
train(teacher, corpus_rows, 150, 16, 0.01, optimizer="muon")
teacher_loss = measure(teacher, held_out_rows)
print(f"the teacher: {teacher_loss:.3f} nats per word; the floor is {small_floor:.3f}")
predict("order the three students by their validation loss. Which of them gets below the teacher's?")

# %%
students = {}
for name, task, expected, spread in (
    ("the text", objective, 0.81, 0.06),
    ("a larger model", distilled_from(objective, ModelTeacher(teacher, objective)), 0.63, 0.05),
    ("the truth", distilled_from(objective, ProbabilityTeacher(truth)), 0.595, 0.02),
):
    student = new_gpt(2, 64)
    train(student, few_rows, 150, 16, 0.01, task, optimizer="muon")
    students[name] = measure(student, held_out_rows)
    print(f"{name:<16} on its own 200 texts {measure(student, few_rows):.3f}, on others:")
    result(f"taught by {name}, nats per word", students[name], expected, spread)

# %% [markdown]
# **What to see.** The student of the text has learned its 200 beginnings, far below the floor: it knows by heart which
# name came in which of them. On other beginnings it pays for that. The other two students read the *same* 200
# beginnings as often, and there is nothing in them to learn by heart, because no target says that *this* boy was called
# Ben: it says that each of the names was equally likely. So the truth as a teacher comes close to the floor after 200
# texts. The larger model is nearly as good a teacher, and what it lacks is mostly its own error, which the student
# learns along with the rest. The student of the truth even beats the model that read twelve times as many texts.
#
# The truth, then the larger model, then the text: that is the order you would guess, and this time the guess holds, for
# every seed that we tried. In practice: if you have few texts and a good model, let the model say how likely everything
# was. And one caveat: with unlimited text, the text's noise averages out. Its student then catches up, and passes the
# one that has learned the larger model's errors.

# %% [markdown]
# ## 15.11 What was left out
#
# - **Variants.** rsLoRA divides by √r (Kalajdzievski 2023); LoRA+ gives B a larger rate than A (Hayou et al. 2024);
#   DoRA separates the length of a change from its direction (Liu et al. 2024); QLoRA keeps the frozen weights in four
#   bits, an eighth of what fp32 takes (Dettmers et al. 2023).
# - **Other small changes**: adapters as extra layers (Houlsby et al. 2019), vectors in front of the text (Li & Liang
#   2021), biases alone (Ben Zaken et al. 2021).
# - **Other knowledge to distill**: hidden states and attention maps (Sanh et al. 2019; Jiao et al. 2019), whole texts
#   that the teacher writes (Kim & Rush 2016), and what the *student* writes, judged by the teacher (Agarwal et al.
#   2023).
# - **The commands.** `python train.py --init-from storyworld-gpt --data my_book.txt --lora-rank 4` trains an adapter on
#   your own text. It is stored in the format that peft reads and writes, and `--adapter` opens it. `--teacher`
#   distills.
#
# **Further reading.** Hu et al. 2021, *LoRA: Low-Rank Adaptation of Large Language Models*. Aghajanyan, Zettlemoyer &
# Gupta 2020, *Intrinsic Dimensionality Explains the Effectiveness of Language Model Fine-Tuning*. Biderman et al. 2024,
# *LoRA Learns Less and Forgets Less*. Schulman et al. 2025, *LoRA Without Regret*. Eckart & Young 1936, *The
# Approximation of One Matrix by Another of Lower Rank*. Baldi & Hornik 1989, *Neural Networks and Principal Component
# Analysis*. Blier & Ollivier 2018, *The Description Length of Deep Learning Models*. Allen-Zhu & Li 2024, *Physics of
# Language Models: Part 3.3, Knowledge Capacity Scaling Laws*. Hinton, Vinyals & Dean 2015, *Distilling the Knowledge in
# a Neural Network*. Kim & Rush 2016, *Sequence-Level Knowledge Distillation*.
#
# **Now you.** `python -m lessons check 15` creates your file, `lessons/mine/15_one_per_cent.py`, with seven exercises
# in it. When the checks pass, `python -m lessons run 15 --mine` trains the adapters and the students with your own
# functions.
