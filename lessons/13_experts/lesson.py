# %% [markdown]
# # 13 Experts
#
# - **Question:** How can a model have eight times the weights and yet compute no more for each token?
# - **Teaches:** the router and its top-k choice, dispatch and combine, why some experts starve and the loss that feeds
#   them, capacity and dropped tokens, parameters against FLOPs against seconds; formulas next to measurements
# - **Minutes:** 120 to read and solve, 1 to run
#
# You need: the GPT block and its feed-forward layer (lesson 04), training with AdamW or Muon (lesson 05), a loss in
# nats and its floor (lesson 01).
#
# Letters: E experts, of which each token uses k; N tokens; B rows of T tokens; C width of the model, d_ff width inside
# an expert. An index i is an expert, an index t a token.

# %% [setup]
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# %%
import dataclasses
import math
import time
from collections import Counter

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from lessons.machinery.lesson_api import part, predict, result, seed
from lessons.machinery.pictures import curves, heatmap
from llmasos import nn, objectives
from llmasos.datasets.storyworld import generate, prefix_log_prob
from llmasos.models import GPT, ModelConfig, flops_per_token, n_active_parameters_of, n_parameters_of
from llmasos.nn.experts import within_capacity as find_room
from llmasos.objectives import CausalLM, LoadBalancing
from llmasos.objectives.load_balancing import real_tokens, recorded_routing
from llmasos.tokenizers import BPETokenizer
from llmasos.training.optimizers import learning_rate_factor, make_optimizers, set_learning_rate
from llmasos.training.recipe import TrainingSettings

SEED = seed()
torch.manual_seed(SEED)
torch.set_num_threads(min(2, torch.get_num_threads()))
torch.set_printoptions(precision=3, sci_mode=False)

# `run 13 --mine` puts your own functions here
route = part("route", lambda logits, k: nn.route(logits, k)[1:])
mixture = part("mixture", None)
load_balancing_loss = part("load_balancing_loss", None)
within_capacity = part(
    "within_capacity", lambda chosen, is_real, n_experts, capacity: find_room(chosen, n_experts, capacity, is_real)
)
expected_dropped = part("expected_dropped", None)

# %% [markdown]
# ## 13.1 Weights that wait
#
# In lesson 04 every token went through every weight. If the model is to know more, it needs more weights, and then each
# token takes longer. But does the word "Grandmother" need the weights that know how German verbs end? A library has a
# hundred thousand books, and you read three.
#
# About two thirds of the weights in a GPT block are in the feed-forward layer, which treats each token by itself. So
# take E feed-forward layers instead of one, call them **experts**, and add a small layer that decides for each token
# which k of them it goes through: the **router**. The model is a **mixture of experts** (Shazeer et al. 2017). Its
# weights grow with E, the work per token with k. Mixtral has 8 experts and uses 2: 47 billion weights, of which each
# token uses 13 billion (Jiang et al. 2024). DeepSeek-V3 has 256 and uses 8 (and one more that every token uses).
#
# Two questions run through this lesson. *Who decides* what each expert learns? (Nobody; and that goes wrong.) And *what
# does it cost*, in weights, in multiplications, in seconds? We start with the machine itself.

# %% [markdown]
# ## 13.2 The router
#
# The router is one matrix $W_r$ (E, C). For the vector $x$ of a token it computes a number for each expert, and a
# softmax turns these into probabilities:
#
# $$ p = \mathrm{softmax}(W_r x), \qquad p_1 + \dots + p_E = 1. $$
#
# The k experts with the largest $p_i$ are **chosen**; call this set $S$. The output is the weighted sum of what they
# compute,
#
# $$ y = \sum_{i \in S} g_i \, \mathrm{expert}_i(x). $$
#
# The choice is a hard one, a yes or no, and has no gradient: a tiny change of $W_r$ changes no choice. The router
# learns only through the weights $g_i$. So what should they be?
#
# - With k > 1: $g_i = p_i / \sum_{j \in S} p_j$, so that they sum to 1 (Mixtral, section 2.1).
# - With k = 1 that would be $p_i / p_i = 1$, a constant, and the router would get *no gradient at all*. So there
#   $g_i = p_i$ itself (Fedus et al. 2021, "Switch Transformers", equation 2).
#
# An example: the logits are log 4, log 3, log 2, log 1, so $p$ = 0.4, 0.3, 0.2, 0.1. With k = 2 the first two are
# chosen, with the weights 4/7 and 3/7; with k = 1, the first one with 0.4.

# %%
logits = torch.tensor([4.0, 3.0, 2.0, 1.0]).log().requires_grad_()
for k in (1, 2, 3):
    chosen, weights = route(logits, k)
    print(f"k = {k}: experts {chosen.tolist()} with the weights {[round(w, 3) for w in weights.tolist()]}")
_, weights = route(logits, 1)
(gradient,) = torch.autograd.grad(weights.sum(), logits)
print("k = 1, gradient of the weight:", gradient)
result("k = 1: gradient of the weight by its own logit", gradient[0].item(), 0.4 * 0.6, 1e-4)

# %% [markdown]
# The gradient is that of a softmax, $\partial p_i / \partial z_i = p_i (1 - p_i) = 0.24$, where $z$ are the logits. If
# an expert's output is useful, its weight rises, and with it the probability that it is chosen again. Remember this
# sentence; 13.4 is about it.
#
# What if two experts have the same probability? The formula does not say. `torch.topk` does not promise anything
# either; in exercise **route** the expert with the smaller number comes first.

# %% [markdown]
# ## 13.3 Dispatch and combine
#
# The definition treats each token by itself: look up its experts, apply them, add. That would be N small products of a
# vector and a matrix, each of which reads the whole matrix for a single token. So we turn the loop inside out: for each
# *expert*, collect the tokens that chose it (**dispatch**), compute them together as one matrix, multiply by the
# weights, and add each result to the row of its token (**combine**):
#
#     y = zeros (N, C)
#     for each expert i:
#         t = the tokens that chose expert i
#         y[t] += weights of these choices · expert_i(x[t])
#
# Both orders give the same sum. Let us check that for the library's layer, `llmasos/nn/experts.py`, which is written
# like this. Exercise **mixture** asks for it.

# %%
layer = nn.MixtureOfExperts([nn.FeedForward(16, 32, "gelu") for _ in range(4)], d_model=16, n_active=2)
x = torch.randn(10, 16)  # (N, C)
with torch.no_grad():
    if mixture is None:
        by_expert = layer(x)  # (N, C)
    else:
        chosen, weights = route(layer.router(x), 2)  # (N, k)
        by_expert = mixture(x, chosen, weights, torch.ones_like(chosen, dtype=torch.bool), list(layer.experts))
    by_token = torch.zeros(10, 16)
    for t, row in enumerate(x):
        chosen, weights = route(layer.router(row), 2)
        for i, weight in zip(chosen.tolist(), weights, strict=True):
            by_token[t] += weight * layer.experts[i](row)
print(f"largest difference: {(by_expert - by_token).abs().max():.1e}")
result("largest difference of the two orders", (by_expert - by_token).abs().max().item(), 0.0, 1e-4)

# %% [markdown]
# ## 13.4 What happens if nobody watches
#
# Now a real model. Its texts are the first sentences of stories, half of them in English and half in German: a mixture
# that seems to call for specialists. And as always we know the floor. The storyworld knows the probability of each
# English sentence, and each German sentence is the translation of one (in 3,000 stories, no two different English first
# sentences had the same German one). So the floor *per sentence* is the same for both: -log p of the English sentence,
# plus log 2, because each language is as likely as the other.


# %%
def first_sentences(corpus, n):
    """The first sentences of n stories: in English and in German, two lists."""
    stories = [generate(corpus, number) for number in range(n)]
    return [story.sentences[0] for story in stories], [story.german_sentences[0] for story in stories]


english, german = first_sentences(1000 + SEED, 3000)
val_english, val_german = first_sentences(0, 150)
print(val_english[0])
print(val_german[0])
tokenizer = BPETokenizer.train(english[:1500] + german[:1500], 700)
END = tokenizer.end_of_text


def encode(texts):
    return [np.array([END, *tokenizer.encode(text)]) for text in texts]


train_rows, val_rows = encode(english) + encode(german), {"English": encode(val_english), "German": encode(val_german)}
LONGEST = max(len(row) for row in [*train_rows, *val_rows["English"], *val_rows["German"]])
nats = -sum(map(prefix_log_prob, val_english)) + len(val_english) * math.log(2)  # log 2: which language?
FLOORS = {language: nats / sum(len(row) - 1 for row in rows) for language, rows in val_rows.items()}
print({language: f"floor {floor:.3f} nats per token" for language, floor in FLOORS.items()})

# %% [markdown]
# The model is a small GPT with two blocks. Each has E = 8 experts, and each token uses k = 1 of them. An expert has the
# width 128, twice that of the model. Nothing tells the router what to do: we minimize the cross-entropy, nothing else.
#
# To see how evenly the experts are used, we need one number. Let $f_i$ be the fraction of the choices that fall on
# expert i. If all are used equally, each $f_i$ is 1/E; if only one is used, its $f_i$ is 1. Between the two,
#
# $$ \text{effective number of experts} = \frac{1}{\sum_i f_i^2} $$
#
# is E in the first case, 1 in the second, and m if m experts share the work evenly.

# %%
CONFIG = ModelConfig(
    vocab_size=tokenizer.vocab_size, context_length=LONGEST, n_layers=2, n_heads=4, d_model=64, d_ff=128,
    activation="gelu", n_experts=8, n_active_experts=1, router_aux_loss_coef=0.0,
)  # fmt: skip
STEPS, ROWS, RATE = 200, 32, 0.01


def balancing_of(model, batch, objective):
    """The loss of a batch, and its load-balancing loss (13.5), averaged over the layers."""
    if load_balancing_loss is None or model.config.n_experts == 1:
        sums, n_targets = objective.loss_sums(model, batch), objective.n_targets(batch)
        means = {term: sums[term] / n_targets[term] for term in sums}
        return means["causal"], means.get(objectives.LOAD_BALANCING, torch.tensor(0.0))
    is_real, causal = real_tokens(batch), CausalLM()
    with recorded_routing(model, batch) as routings:
        loss = causal.loss_sums(model, batch)["causal"] / causal.n_targets(batch)["causal"]
    by_layer = [load_balancing_loss(call.probs, call.chosen, is_real) for calls in routings.values() for call in calls]
    return loss, torch.stack(by_layer).mean()


@torch.no_grad()
def usage(model, rows):
    """f: the fraction of the choices of each layer that falls on each expert, (layers, E)."""
    counts = LoadBalancing(CausalLM(), model.config).count_choices(model, CausalLM().collate(rows))
    return counts / counts.sum(dim=1, keepdim=True)


def effective(f):
    """The effective number of experts, averaged over the layers."""
    return (1 / f.square().sum(dim=1)).mean().item()


def train(config):
    """Train a model. Returns it, [(step, effective number of experts), …], and seconds of processor time per step."""
    torch.manual_seed(SEED)
    model, draw, looks = GPT(config), np.random.default_rng(SEED), []
    objective = LoadBalancing(CausalLM(), config) if config.n_experts > 1 else CausalLM()
    settings = TrainingSettings(optimizer="muon", learning_rate=RATE, weight_decay=0.0, precision="fp32", seed=SEED)
    optimizers = make_optimizers(model.train(), settings)
    seconds = 0.0
    for step in range(STEPS):
        if config.n_experts > 1 and step % 20 == 0:
            looks.append((step, effective(usage(model, LOOK))))
        start = time.process_time()
        set_learning_rate(optimizers, RATE * learning_rate_factor(step, STEPS, 20, "linear", 0.0))
        batch = CausalLM().collate([train_rows[i] for i in draw.integers(len(train_rows), size=ROWS)])
        loss, balancing = balancing_of(model, batch, objective)
        for optimizer in optimizers:
            optimizer.zero_grad()
        (loss + config.router_aux_loss_coef * balancing).backward()
        for optimizer in optimizers:
            optimizer.step()
        seconds += time.process_time() - start
    return model.eval(), looks, seconds / STEPS


@torch.no_grad()
def above_floor(model):
    """The validation loss above the floor, in nats per token: the mean of the two languages."""
    gaps = []
    for language, rows in val_rows.items():
        batch = CausalLM().collate(rows)
        loss = CausalLM().loss_sums(model, batch)["causal"] / CausalLM().n_targets(batch)["causal"]
        gaps.append(loss.item() - FLOORS[language])
    return sum(gaps) / 2


LOOK = [*val_rows["English"], *val_rows["German"]]  # 300 rows
predict("eight experts, two layers, no balancing. How many of the eight will be used, effectively: 8, 4 or 1?")

# %%
alone, alone_looks, alone_seconds = train(CONFIG)
f_alone = usage(alone, LOOK)  # (layers, E)
for number, row in enumerate(f_alone, 1):
    print(f"layer {number}: " + "  ".join(f"{100 * fraction:4.1f} %" for fraction in row.tolist()))
result("without balancing: effective number of experts", effective(f_alone), 4.7, 1.5)
result("without balancing: fraction of the busiest expert", f_alone.max().item(), 0.45, 0.25)

# %% [markdown]
# **What to see.** Papers warn of a collapse in which one expert gets everything. It is not that bad here. But in the
# first layer a single expert gets about half of all tokens, while others get two in a hundred, or fewer. In effect
# 4.4 to 4.9 of the eight experts are used (three seeds).
#
# Why? An expert that is chosen often gets many gradients and learns fast; its output becomes useful; so its weight
# rises (13.2), and it is chosen more often. One that is not chosen gets no gradient at all and stays as it was
# initialized. The rich get richer. The starved experts take up memory and do almost nothing in return.

# %% [markdown]
# ## 13.5 The balancing loss
#
# We want a number that is small if all experts are used equally, and that has a gradient. The fractions $f_i$ have
# none: they count choices. The mean probabilities do,
#
# $$ f_i = \frac{\text{choices of expert } i}{k N}, \qquad P_i = \frac{1}{N} \sum_{t=1}^{N} p_i(x_t), $$
#
# and so Fedus et al. (2021, equations 4 to 6) take
#
# $$ L_\mathrm{bal} = E \sum_{i=1}^{E} f_i P_i. $$
#
# (N counts real tokens only. Padding is not sent to any expert.) What does this do? Take one token with probabilities
# $p$ and router logits $z$. It contributes $p_i/N$ to each $P_i$; the $f_i$ are constants. With the derivative of the
# softmax, $\partial p_i / \partial z_j = p_i (\delta_{ij} - p_j)$, where $\delta_{ij}$ is 1 if $i = j$ and 0 otherwise,
#
# $$ \frac{\partial L_\mathrm{bal}}{\partial z_j} = \frac{E}{N} \, p_j \Big( f_j - \sum_i f_i \, p_i \Big). $$
#
# Read the bracket: it is the load of expert j, minus the mean load of all experts, weighted by this token's
# probabilities. Experts with more are pushed down, experts with less are pulled up, **whatever the token is**. Let us
# check this with autograd.

# %%
z = torch.randn(50, 8, dtype=torch.float64).requires_grad_()  # (N, E)
p = z.softmax(dim=-1)
f = torch.bincount(p.argmax(dim=-1), minlength=8) / 50
balancing = 8 * (f * p.mean(dim=0)).sum()
(gradient,) = torch.autograd.grad(balancing, z)
by_formula = 8 / 50 * p * (f - (p * f).sum(dim=-1, keepdim=True))
result("largest difference of gradient and formula", (gradient - by_formula).abs().max().item(), 0.0, 1e-8)

# %% [markdown]
# Which values can the loss take? Three cases are simple enough to do in your head:
#
# - All $f_i$ are 1/E: then $L = \sum_i P_i = 1$, whatever the probabilities are.
# - All $P_i$ are 1/E: then $L = \sum_i f_i = 1$, whatever the choices are. (A router that is all zeros has the loss 1
#   and sends everything to one expert. A loss of 1 does not *prove* that the load is even.)
# - One expert is always chosen, with probability 1: $L = E$.
#
# And if the router is always sure of its choice, $P_i = f_i$. Write $f_i = (1 + c_i)/E$, where $c_i$ is how far expert
# i is above its even share; the $c_i$ sum to 0. Then
#
# $$ L_\mathrm{bal} = E \sum_i f_i^2 = 1 + \frac{1}{E} \sum_i c_i^2 = 1 + \mathrm{CV}^2, $$
#
# with CV the coefficient of variation of the load, its standard deviation divided by its mean. It is also E divided by
# the effective number of experts. So for a router that is always sure the minimum is 1, at even load. For an unsure one
# it is *not*: exercise **below_one** asks you to find a router with a loss below 1.
#
# How close to 1 can a batch come? Even a perfectly fair router is not perfectly even. If each of N tokens chooses one
# expert at random, the number of tokens of an expert is binomial, with mean N/E and variance $N \frac1E (1 - \frac1E)$.
# The variance divided by the square of the mean gives the expected value
#
# $$ \mathrm{E}[\mathrm{CV}^2] = \frac{E - 1}{N}. $$

# %%
E, N, draws = 8, 64, 4000
choices = torch.randint(E, (draws, N), generator=torch.Generator().manual_seed(SEED))
f = torch.nn.functional.one_hot(choices, E).double().mean(dim=1)  # (draws, E)
fair = E * f.square().sum(dim=1)  # (draws,): the loss of each batch, with P = f
cv = f.std(dim=1, correction=0) / f.mean(dim=1)
print(f"largest difference of the loss and 1 + CV²: {(fair - 1 - cv.square()).abs().max():.1e}")
result("a fair router on 64 tokens: mean loss", fair.mean().item(), 1 + (E - 1) / N, 0.01)

# %% [markdown]
# ## 13.6 The cure
#
# We add the loss to the cross-entropy, with a small weight. Fedus et al. used 0.01 after trying several: large enough
# to keep the load even, small enough not to disturb the training. Our training is short, so we take 0.05. All else is
# as before: the same start, the same rows in the same order.

# %%
predict("what does the balancing cost: will the loss above the floor be better, the same, or worse?")

# %%
balanced, balanced_looks, balanced_seconds = train(dataclasses.replace(CONFIG, router_aux_loss_coef=0.05))
f_balanced = usage(balanced, LOOK)
for number, row in enumerate(f_balanced, 1):
    print(f"layer {number}: " + "  ".join(f"{100 * fraction:4.1f} %" for fraction in row.tolist()))
curves(
    {"without balancing": alone_looks, "with balancing": balanced_looks},
    "Effective number of experts (of 8)", "step", "experts", "13-balance",
)  # fmt: skip
result("with balancing: effective number of experts", effective(f_balanced), 7.7, 0.7)
result("with balancing: fraction of the busiest expert", f_balanced.max().item(), 0.18, 0.09)
GAPS = {"experts, no balancing": above_floor(alone), "experts, balanced": above_floor(balanced)}

# %% [markdown]
# **What to see.** Now the load is nearly even: in effect 7.7 to 8.0 of the eight experts are used (four seeds), and the
# busiest one gets 14 to 19 % of the tokens instead of about half. The picture shows when it is decided: in the first
# twenty steps, when the experts that happen to be ahead learn fastest. Without balancing, only two or three experts are
# in use at that point, and then some of the others come back. With it, all of them do.

# %% [markdown]
# ## 13.7 Who learns what
#
# Half of the texts are German. Nobody told the router. We send the held-out sentences through the balanced model and
# write down for each token which expert it went to. (A token here is the *input* at that position: the word that the
# model has just read, before it predicts the next.) Knowing only the expert, how often could you guess the language?
# Without any information: ½. With it, you would guess for each expert the language that it sees more often. We do the
# same for the model without balancing.

# %%
predict("knowing only the expert of a token, how often can you guess its language: 50 %, 70 % or 95 %?")


# %%
@torch.no_grad()
def visits(model, rows):
    """Which expert each real token of some rows goes to: for each layer, a list of (token, expert)."""
    batch = CausalLM().collate(rows)
    is_real = real_tokens(batch)
    with recorded_routing(model, batch) as routings:
        model(batch["ids"])
    tokens = batch["ids"][is_real].tolist()
    return [list(zip(tokens, calls[0].chosen[is_real][:, 0].tolist(), strict=True)) for calls in routings.values()]


def language_table(by_language, number):
    """For one layer, the fraction of each language's tokens that goes to each expert: (2, E)."""
    counts = [Counter(i for token, i in layers[number] if token != END) for layers in by_language.values()]
    table = torch.tensor([[counter[i] for i in range(8)] for counter in counts], dtype=torch.double)
    return table / table.sum(dim=1, keepdim=True)


for name, model, stated in (("without balancing", alone, (0.62, 0.8)), ("with balancing", balanced, (0.77, 0.73))):
    by_language = {language: visits(model, rows) for language, rows in val_rows.items()}
    tables = [language_table(by_language, number) for number in range(2)]
    for number, table in enumerate(tables, 1):
        guessed = table.max(dim=0).values.sum().item() / 2  # each language counts alike
        result(f"layer {number}, {name}: language guessed", guessed, stated[number - 1], 0.25)
heatmap(
    torch.cat(tables).tolist(), [f"layer {number}, {language}" for number in (1, 2) for language in val_rows],
    [str(i) for i in range(8)], "Who goes to which expert", "13-languages",
)  # fmt: skip

# %% [markdown]
# **What to see.** There is no English expert and no German one. Knowing the expert of a token, you would be right about
# its language in 68 to 82 % of the cases with balancing (four seeds), which is far from chance and far from certain.
# Without balancing it is about 60 % in the first layer, where half of everything goes to one expert, and 70 to 90 % in
# the second (three seeds). Nobody asked for an expert for each language, only for an even load, and there are many ways
# to have one.

# %%
visitors = [by_language["English"][number] + by_language["German"][number] for number in range(2)]  # with balancing
for number, pairs in enumerate(visitors, 1):
    print(f"layer {number}, the most common words of each expert:")
    for i in range(8):
        common = Counter(tokenizer.decode([token]).strip() for token, chosen in pairs if chosen == i and token != END)
        print(f"  {i}: " + ", ".join(f"{word} ({n})" for word, n in common.most_common(9)))
for number, pairs in enumerate(visitors, 1):
    uses = {}
    for token, i in pairs:
        uses.setdefault(token, Counter())[i] += 1
    often = [counter for counter in uses.values() if counter.total() >= 10]
    usual = sum(max(counter.values()) for counter in often) / sum(counter.total() for counter in often)
    result(f"layer {number}: a word goes to its usual expert", usual, (0.89, 0.8)[number - 1], 0.15)

# %% [markdown]
# **What to see.** Look at a few lists. They are not topics, and hardly languages; they are *words*. A word that occurs
# often goes to its usual expert in about nine out of ten cases in the first layer, and in about eight out of ten in the
# second, where its vector already holds more of what comes before it. Large models do the same: Xue et al. (2024,
# "OpenMoE") found that routing depends mostly on the token and is fixed early in training. "Expert" is a big word for
# it.

# %% [markdown]
# ## 13.8 Capacity
#
# On one computer it does not matter if an expert gets 50 tokens of one batch and 90 of the next. But large models keep
# their experts on different devices, and there each expert has a buffer of fixed size. So each expert is given a
# **capacity**: it takes at most
#
# $$ c = \Big\lceil f_\mathrm{cap} \cdot \frac{k T}{E} \Big\rceil $$
#
# of the T tokens of a row (of the real ones; padding does not count), where $f_\mathrm{cap}$ is the **capacity factor**
# and $kT/E$ the even share. ($\lceil u \rceil$ rounds up.) The tokens are taken in order. A token whose expert is
# already full is **dropped**: it skips this expert, and only the residual connection carries it forward. With T = 16, E
# = 8, k = 1 and the factor 1, an expert takes 2 tokens; with 1.25, 3.
#
# How many tokens are dropped? For a fair router there is a formula. The number of tokens $X$ that choose one given
# expert is binomial with T draws and probability 1/E, and it drops $X - c$ of them if that is positive. Over all E
# experts, as a fraction of the T tokens,
#
# $$ \text{dropped} = \frac{E}{T} \sum_{n=c+1}^{T} (n - c) \binom{T}{n} \Big(\frac1E\Big)^{n}
#    \Big(1 - \frac1E\Big)^{T-n}. $$
#
# A small case by hand: two tokens, two experts, capacity 1. With probability ½ both want the same one, and one of the
# two is dropped: ¼ of the tokens, and the formula has a single summand, $\frac22 \cdot 1 \cdot \frac14$. Exercise
# **expected_dropped**.

# %%
predict("64 tokens, 8 experts, room for exactly 8 in each. What fraction will a fair router drop: 1 %, 13 % or 30 %?")


# %%
def dropped_by_formula(T, E, c):
    """The expected fraction that a fair router drops, by the formula above."""
    if expected_dropped is not None:
        return expected_dropped(T, E, c)
    log_choose = np.array([math.lgamma(T + 1) - math.lgamma(n + 1) - math.lgamma(T - n + 1) for n in range(T + 1)])
    n = np.arange(T + 1)
    probability = np.exp(log_choose - n * math.log(E) + (T - n) * math.log(1 - 1 / E))
    return float(E / T * (np.maximum(n - c, 0) * probability).sum())


T = 64
choices = torch.randint(8, (2000, T, 1), generator=torch.Generator().manual_seed(SEED))  # (B, T, k): a fair router
everyone = torch.ones(2000, T, dtype=torch.bool)
formula, measured = [], []
for factor in (0.5, 0.75, 1.0, 1.25, 1.5, 2.0):
    c = math.ceil(factor * T / 8)
    kept = within_capacity(choices, everyone, 8, c)
    formula.append((factor, dropped_by_formula(T, 8, c)))
    measured.append((factor, 1 - kept.double().mean().item()))
    print(f"factor {factor:4.2f}, capacity {c:2d}: formula {formula[-1][1]:.4f}, measured {measured[-1][1]:.4f}")
    if factor in (0.5, 1.0, 1.25, 2.0):
        result(f"factor {factor:g}: dropped by a fair router", measured[-1][1], formula[-1][1], 0.006)

# %% [markdown]
# And our trained routers? Here T is the length of a sentence, which varies, so we add up the formula over the
# sentences.


# %%
@torch.no_grad()
def dropped_by(model, factor):
    """The fraction of the tokens that a trained router drops, and that a fair one would: the mean of all layers."""
    batch = CausalLM().collate(LOOK)
    is_real = real_tokens(batch)
    lengths = is_real.sum(dim=1).tolist()
    rooms = [math.ceil(factor * n / 8) for n in lengths]
    with recorded_routing(model, batch) as routings:
        model(batch["ids"])
    kept = 0
    for (call,) in routings.values():
        for chosen, is_real_row, room in zip(call.chosen, is_real, rooms, strict=True):
            kept += within_capacity(chosen[None], is_real_row[None], 8, room).sum().item()
    fair = sum(n * dropped_by_formula(n, 8, room) for n, room in zip(lengths, rooms, strict=True)) / sum(lengths)
    return 1 - kept / (len(routings) * sum(lengths)), fair


lines = {"a fair router, by formula": [], "without balancing": [], "with balancing": []}
for factor in (0.5, 1.0, 1.5, 2.0, 3.0):
    for name, model in (("without balancing", alone), ("with balancing", balanced)):
        drops, fair = dropped_by(model, factor)
        lines[name].append((factor, drops))
    lines["a fair router, by formula"].append((factor, fair))
    print(f"factor {factor:g}: " + ", ".join(f"{name} {points[-1][1]:.3f}" for name, points in lines.items()))
curves(lines, "Dropped tokens", "capacity factor", "fraction of the tokens", "13-dropped")
at_one = {name: points[1][1] for name, points in lines.items()}
result("factor 1: dropped by a fair router on our rows", at_one["a fair router, by formula"], 0.186, 0.01)
result("factor 1: dropped, without balancing", at_one["without balancing"], 0.38, 0.16)
result("factor 1: dropped, with balancing", at_one["with balancing"], 0.25, 0.1)

# %% [markdown]
# **What to see.** With the factor 1, a fair router would drop 19 % of our tokens; the sentences are short, so chance is
# large. Without balancing it is 36 to 40 % (three seeds), and with twice the even share still 17 to 20 %. With
# balancing it is 22 to 27 % (four seeds), more than fair, although the load over all texts is nearly even. The reason
# is that capacity is counted within a row, and the words of a row are not independent: they are all of one language,
# and a word that occurs twice mostly goes to the same expert twice. The formula is what you can hope for, not what you
# get.

# %% [markdown]
# ## 13.9 Parameters, FLOPs, seconds
#
# Three different prices, and experts separate them.
#
# - **Parameters** fill the memory. Each expert has 2 · C · d_ff weights (3 · C · d_ff if it is gated, as SwiGLU is),
#   the router E · C, so together $E \cdot 2 C d_\mathrm{ff} + E C$.
# - **FLOPs**, floating-point operations, are work. A matrix with n weights costs n multiplications and n additions per
#   token, and a token goes through k experts and the router: $2 \, (k \cdot 2 C d_\mathrm{ff} + E C)$ forward. The
#   backward pass costs twice that, one product for the gradient of the input and one for that of the weights.
# - **Seconds** are what you wait for. They depend on the machine, and on how large the pieces are.
#
# Exercise **mixture_size** asks for the first two. The library's formulas cover a whole model (with the biases); torch
# can count the operations.

# %%
DENSE = dataclasses.replace(CONFIG, n_experts=1, n_active_experts=1)
torch.manual_seed(SEED)
ids = torch.randint(tokenizer.vocab_size, (4, 16))
print(f"{'':22}{'parameters':>12}{'per token':>12}{'FLOPs, formula':>16}{'counted':>10}")
for name, config in {"dense": DENSE, "8 experts, 1 active": CONFIG,
                     "8 experts, 2 active": dataclasses.replace(CONFIG, n_active_experts=2)}.items():  # fmt: skip
    model = GPT(dataclasses.replace(config, fused=False))
    with FlopCounterMode(display=False) as counter:
        model(ids).square().mean().backward()
    counted, formula = counter.get_total_flops() // ids.numel(), flops_per_token(config, 16)
    n_parameters = sum(p.numel() for p in model.parameters())
    print(f"{name:22}{n_parameters:>12,}{n_active_parameters_of(config):>12,}{formula:>16,}{counted:>10,}")
    result(f"{name}: parameters / formula", n_parameters / n_parameters_of(config), 1.0, 1e-9)
    result(f"{name}: FLOPs counted / formula", counted / formula, 1.0, 1e-9)

# %% [markdown]
# **What to see.** A model with one feed-forward layer in each block, as in lesson 04, is called **dense**. With eight
# experts, one of them active, the model has three times the parameters of the dense one (embeddings and attention do
# not grow) and needs only 1 % more FLOPs, for its routers. And the seconds?

# %%
dense, _, dense_seconds = train(DENSE)
GAPS["dense, equal FLOPs"] = above_floor(dense)
for name, seconds in (("without balancing", alone_seconds), ("with balancing", balanced_seconds)):
    print(f"a training step with 8 experts, {name}: {seconds / dense_seconds:.1f} times the time of a dense one")

# %% [markdown]
# **What to see.** The number on your machine is your own; on ours a step took about twice as long. FLOPs are not
# seconds. Our 500 tokens of a batch are divided into groups of sixty, each with its own small matrix product, and each
# product has a price of its own that does not depend on its size: the call, and reading the expert's weights from
# memory. And the optimizer updates *all* weights. In a large model on GPUs, the products are large enough, and the
# price is paid elsewhere: tokens travel to the device of their expert and back.
#
# There is a case where the price cannot be avoided. While a model *writes*, it computes one token at a time. A token
# reads k experts; but a batch of 32 texts reads nearly all of them. The probability that a given expert is read by
# none of n tokens is $(1 - \frac{k}{E})^n$ for a fair router: with E = 8 and k = 1 it is 0.875 for one token and 0.014
# for 32.

# %% [markdown]
# ## 13.10 Is it worth it?
#
# Equal FLOPs, equal data, equal steps. What remains above the floor?

# %%
for name, gap in GAPS.items():
    print(f"{name:24} {gap:.3f} nats per token above the floor")
result("dense: nats above the floor", GAPS["dense, equal FLOPs"], 0.022, 0.025)
result("experts, no balancing: nats above the floor", GAPS["experts, no balancing"], 0.025, 0.035)
result("experts, balanced: nats above the floor", GAPS["experts, balanced"], 0.027, 0.04)

# %% [markdown]
# **What to see.** One would expect three times the parameters to help. Here they do not: in our runs all three models
# ended 0.018 to 0.034 nats above the floor, and which of them was ahead changed from seed to seed. The dense model has
# learned nearly all there is to know about first sentences, and room for more knowledge is not what it lacks. Nor did
# the starved experts cost anything in the loss.
#
# Experts pay where there is more to know than the weights can hold. Fedus et al. (2021) trained on a large part of the
# web, and report that experts reached the loss of a dense model with the same FLOPs per token up to seven times faster.
# That is the question to ask before you take eight experts and twice the seconds: is it *memory* that your model lacks?

# %% [markdown]
# ## 13.11 What was left out
#
# - **The z-loss** (Zoph et al. 2022, "ST-MoE", equation 5): $(\log \sum_j e^{z_j})^2$, averaged over the tokens and
#   added with a small weight, keeps the router's logits $z$ small, so that rounding changes no choice.
# - **Noise in the router.** Shazeer et al. (2017) add random noise before they choose, so that experts that are never
#   chosen get a chance.
# - **Balance without a loss.** DeepSeek-V3 adds a bias to each expert's score for the choice only, and raises it a
#   little if the expert has too little to do (Wang et al. 2024). There is no extra gradient that could disturb the
#   training of the model.
# - **Experts choose tokens**, not the other way round (Zhou et al. 2022): the load is even by construction, but a token
#   then depends on later ones, which a model that writes cannot allow.
# - **Shared experts** that every token uses, and many small ones (Dai et al. 2024, "DeepSeekMoE").
#
# **Further reading.** Jacobs et al. 1991, *Adaptive Mixtures of Local Experts*, where it began. Shazeer et al. 2017,
# *Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer*. Lepikhin et al. 2020, *GShard*.
# Fedus, Zoph & Shazeer 2021, *Switch Transformers*. Zoph et al. 2022, *ST-MoE: Designing Stable and Transferable Sparse
# Expert Models*. Jiang et al. 2024, *Mixtral of Experts*. Qiu et al. 2025, *Demons in the Detail*, on balancing over a
# whole batch.
#
# **Now you.** `python -m lessons check 13` creates your file, `lessons/mine/13_experts.py`, with eight exercises in it.
# When the checks pass, `python -m lessons run 13 --mine` trains with your functions. The library trains such a model
# with `python train.py storyworld --n-experts 8 --n-active-experts 1`.
