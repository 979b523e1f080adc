# %% [markdown]
# # 03 Attention
#
# - **Question:** How can a model use any word it has read, and not just the last one?
# - **Teaches:** attention from an average over the past to several causal heads: queries, keys and values, the scale
#   √D, masks, heads, and why attention by itself does not know the order of words
# - **Minutes:** 90 to read and solve, 1 to run
#
# You need: matrix products, the softmax, and what a loss in nats is (lesson 01). The formulas are from
# *Attention Is All You Need* (Vaswani et al. 2017), section 3.2, unless another source is named.
#
# Letters, here and in the whole library: B batch, T number of queries, S number of keys, C width of the model, H heads,
# D = C / H the width of one head, V size of the vocabulary.

# %% [setup]
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# %%
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lessons.machinery.lesson_api import part, predict, result, seed
from lessons.machinery.pictures import curves, heatmap
from llmasos.datasets import Windows
from llmasos.datasets.storyworld import stories
from llmasos.nn import MultiHeadAttention, causal_mask, explicit_attention
from llmasos.objectives import CausalLM
from llmasos.tokenizers import CharTokenizer

torch.manual_seed(seed())
torch.set_num_threads(min(2, torch.get_num_threads()))
torch.set_printoptions(precision=2, sci_mode=False)

# %% [markdown]
# ## 3.1 What the last word does not tell
#
# > *Rosa planted the seed beside the gate. Every morning before school … and by summer there was a cabbage. Then came
# > the great heat … She gave the* ▢
#
# The missing word was mentioned two sentences ago. The bigram model of lesson 01, which knows one word only, cannot get
# it right except by luck. Could we let it know more? A table of counts for the last two words has V² rows, for the last
# ten V¹⁰: no text is long enough to fill it. And most of what stands in the last ten words does not matter anyway. What
# matters is *which* earlier word is the one to look at, and that changes from sentence to sentence.
#
# So here is the question of this lesson. Every position of a text has a vector, C numbers long. We want to give each
# position a second vector that gathers, from all the positions before it, what is useful *to this one*. It should cost
# no table, work for any length, and have a gradient, so that what is useful can be learned.

# %% [markdown]
# ## 3.2 An average over the past
#
# The simplest way to gather is to gather everything alike: the mean of all vectors so far, the position's own included.
#
# $$ y_t = \frac{1}{t+1} \sum_{s=0}^{t} x_s $$
#
# A sum with weights is a matrix product. Put the weights of position $t$ into row $t$ of a matrix $W$ (T, T); then
# $y = W x$. What does this matrix look like for four positions?

# %%
x = torch.tensor([[2.0, 0.0], [4.0, 0.0], [0.0, 6.0], [2.0, 2.0]])  # (T, C): four positions, two features
W = causal_mask(4).float()  # (T, T): ones on and below the diagonal
W = W / W.sum(dim=1, keepdim=True)
print(W)
print(W @ x)  # (T, T) @ (T, C) → (T, C)

# %% [markdown]
# Two things about $W$ will stay with us to the end of the lesson. **Every row sums to one**: a position has one unit of
# attention to give away. And **the upper triangle is zero**: nobody looks ahead, because in the end each position is to
# guess what comes next, and looking ahead is reading the answer.
#
# What is poor about it: the weights are the same whatever the text says. The mean of a long text is a grey soup in
# which the cabbage is one part in fifty. Exercise **average_past** asks for this mean, for a batch.

# %% [markdown]
# ## 3.3 Weights that depend on what is said
#
# Let every position say three things about itself, each a linear function of its vector $x$:
#
# - a **query** $q = W_q x$: what am I looking for?
# - a **key** $k = W_k x$: what am I, to somebody who looks?
# - a **value** $v = W_v x$: what do I hand over, if I am chosen?
#
# How well does the key of $s$ answer the query of $t$? Take their scalar product $q_t \cdot k_s$, the **score**. It is
# large when the two point the same way. The softmax turns the scores of one query over all keys into positive weights
# that sum to one, and with these we take the mean of the values:
#
# $$ w_{ts} = \frac{\exp(q_t \cdot k_s / \sqrt{D})}{\sum_{r} \exp(q_t \cdot k_r / \sqrt{D})}, \qquad
#    y_t = \sum_s w_{ts} \, v_s $$
#
# In matrices, with the queries as the rows of $Q$ (T, D), the keys of $K$ (S, D) and the values of $V$ (S, D), this is
# equation 1 of the paper:
#
# $$ \operatorname{attention}(Q, K, V) = \operatorname{softmax}\!\left(\frac{Q K^\top}{\sqrt{D}}\right) V $$
#
# The softmax is taken along the keys, which are the *columns* of $Q K^\top$ (T, S), so that each row sums to one. Why
# we divide by √D is the subject of the next section. Here is one query that meets two keys:

# %%
q = torch.tensor([[2.0, 0.0, 0.0, 0.0]])  # (T, D): one query
k = torch.tensor([[1.0, 0.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0]])  # (S, D): two keys
v = torch.tensor([[6.0, 0.0, 0.0, 0.0], [0.0, 6.0, 0.0, 0.0]])  # (S, D): and their values

scores = q @ k.T / math.sqrt(q.size(-1))  # (T, D) @ (D, S) → (T, S)
print("scores ", scores)
predict("the keys score 1 and -1. Which share of the attention does the first get: 0.73, 0.88 or 1.00?")

# %%
weights = scores.softmax(dim=-1)  # (T, S), every row sums to 1
print("weights", weights)
print("output ", weights @ v)  # (T, S) @ (S, D) → (T, D)

# %% [markdown]
# The difference of the scores is 2, so the first weight is $e^2$ = 7.4 times the second: 0.88 and 0.12. Attention is a
# *soft* look-up in a table: a Python dictionary returns the value whose key equals the query; attention returns a mean
# of all values, weighted by how well their keys match it. Because it is soft, it has a gradient everywhere, and the
# three matrices can be learned.
#
# The library has exactly this, for any number of batches and heads: `explicit_attention(q, k, v)` in
# `llmasos/nn/attention.py`, with q (B, H, T, D). You will write it in exercise **attention**.

# %%
output, weights = explicit_attention(q[None, None], k[None, None], v[None, None])  # B = H = 1
print(output.shape, weights.shape)
print(output[0, 0])

# %% [markdown]
# ## 3.4 Why the root of D
#
# Suppose the components of $q$ and $k$ are independent, with mean 0 and variance 1. The score is a sum of D products,
#
# $$ q \cdot k = \sum_{i=1}^{D} q_i k_i, \qquad \mathrm{E}[q_i k_i] = 0, \qquad
#    \mathrm{Var}[q_i k_i] = \mathrm{E}[q_i^2]\,\mathrm{E}[k_i^2] = 1, $$
#
# and variances of independent terms add up: the score has variance D, that is, a standard deviation of √D. Dividing by
# √D brings it back to 1, for heads of any width (section 3.2.1, footnote 4 of the paper).
#
# Why should it matter how large scores are? Because of the softmax's derivative,
#
# $$ \frac{\partial w_i}{\partial s_j} = w_i (\delta_{ij} - w_j). $$
#
# If one weight is nearly 1 and the others nearly 0, all of these products are nearly 0: the softmax is *saturated*. A
# head that is sure of itself from the start, for no reason but its width, cannot learn that it is wrong.

# %%
predict("16 random keys of width D = 1024, scores not scaled. How large is the largest weight: 0.2, 0.5 or nearly 1?")

# %%
print("              not scaled                divided by √D             divided by D")
print("   D      weight  gradient          weight  gradient          weight  gradient")
generator = torch.Generator().manual_seed(0)
for D in (4, 16, 64, 256, 1024):
    many_q, many_k = (torch.randn(400, n, D, generator=generator) for n in (1, 16))  # 400 trials
    line = f"{D:>4}"
    for scale in (1.0, math.sqrt(D), D):
        w = (many_q @ many_k.mT / scale).softmax(dim=-1)[:, 0]  # (400, S)
        slope = torch.diag_embed(w) - w[:, :, None] * w[:, None, :]  # (400, S, S): the derivative above
        line += f"      {w.max(dim=-1).values.mean():8.2f}  {slope.norm(dim=(1, 2)).mean():8.3f}"
    print(line)

# %% [markdown]
# Read the table downwards. Not scaled, the largest of 16 weights creeps up to 1 and the gradient dies as heads get
# wider. Divided by √D, hardly anything depends on D: that is what the root is for. Divided by D, a common slip, wide
# heads look at all sixteen keys alike (1/16 = 0.06), and we are back at the average of section 3.2.

# %% [markdown]
# ## 3.5 Not the future: masks
#
# A position must not see what it is to predict. A **mask** says who may look at whom. In this library every mask is
# boolean and **True means: may attend**. (Elsewhere you will meet 0 and 1, 0 and -inf, and `nn.MultiheadAttention`,
# where True means *hidden*. Whenever you use a mask, look up which it is.)

# %%
print(causal_mask(3).int())
print(causal_mask(2, 4).int())

# %% [markdown]
# A row is a query, a column a key. The second mask has fewer queries than keys. That happens when a text is continued:
# four positions have been read, only the last two ask. Query $t$ then stands at position $t + S - T$, and sees the keys
# up to and including its own position.
#
# How is a key hidden? Its weight must be zero *and the others must still sum to one*. Setting the weight to zero after
# the softmax breaks the second; setting the score to zero does not even do the first, since $e^0 = 1$ is an ordinary
# weight. What works is a score of $-\infty$ before the softmax, or a hugely negative number: $e^{-\infty} = 0$, and the
# sum in the denominator is over the others only.

# %%
scores = torch.tensor([1.0, 1.0, 1.0])
hidden = torch.tensor([True, True, False])  # the third key is the future
print("score -inf before the softmax ", scores.masked_fill(~hidden, -math.inf).softmax(-1))
print("score 0 before the softmax    ", scores.masked_fill(~hidden, 0.0).softmax(-1))
print("weight 0 after the softmax    ", scores.softmax(-1) * hidden)

# %% [markdown]
# The best test of a mask does not look at it at all. **Change the future, and see who notices.** If position 3 of a
# text is changed, the outputs at positions 0, 1 and 2 must not move by a single bit.

# %%
text = torch.randn(1, 1, 5, 8)  # (B, H, T, D)
changed = text.clone()
changed[..., 3, :] += 1.0
for causal in (True, False):
    before, after = (explicit_attention(a, a, a, causal=causal)[0] for a in (text, changed))
    moved = (before != after).any(dim=-1)[0, 0]
    print("causal:    " if causal else "no mask:   ", ["moved" if m else "same" for m in moved])

# %% [markdown]
# Exercise **causal_mask** asks for the mask, exercise **attention** for its use.

# %% [markdown]
# ## 3.6 Several heads
#
# One softmax gives one mixture. But a word may have to look at two places for two reasons: a verb at its subject, to
# agree with it, and at the word before, to follow it. Averaged together, the two values would blur. So let H attentions
# run side by side, each in its own D = C / H dimensions, with queries, keys and values of its own:
#
# $$ \mathrm{head}_h = \operatorname{attention}(x W_q^{h\top}, x W_k^{h\top}, x W_v^{h\top}), \qquad
#    \mathrm{multihead}(x) = [\mathrm{head}_0, \dots, \mathrm{head}_{H-1}]\, W_o^\top $$
#
# (section 3.2.2; we write weights as `nn.Linear` stores them, (out, in), so that a projection is $x W^\top$.) The
# heads' results are put side by side, and $W_o$ lets them speak to each other. H heads of width C / H cost as many
# multiplications as one head of width C.
#
# Nobody computes the heads one by one. One product with a (C, C) matrix gives the queries of all heads at once; cutting
# the C features into H runs of D is a `view`:
#
#     (B, T, C)  →  view  (B, T, H, D)  →  exchange T and H  (B, H, T, D)
#
# **The exchange is not optional.** `view` never moves a number; it only says how the same row of numbers is to be read.
# Watch what happens to two positions of four features when we go straight to (H, T, D):

# %%
x = torch.tensor([[0, 1, 2, 3], [10, 11, 12, 13]])  # (T, C): tens are the position, units the feature
print("head 0 by view and transpose:\n", x.view(2, 2, 2).transpose(0, 1)[0])  # (T, H, D) → (H, T, D)
print("head 0 by view alone:\n", x.view(2, 2, 2)[0])

# %% [markdown]
# By view alone head 0 is all of position 0: its "positions" are halves of one vector. The shapes agree, nothing fails,
# and the model learns a little all the same, which is what makes this mistake so common and so hard to find.
#
# `MultiHeadAttention` in `llmasos/nn/attention.py` is this section in code; exercise **multi_head_attention** has you
# write it as one function.

# %%
module = MultiHeadAttention(d_model=64, n_heads=4, bias=False)
print(module(torch.randn(2, 10, 64), causal=True).shape)  # (B, T, C) → (B, T, C)
print(f"{sum(p.numel() for p in module.parameters()):,} weights: four matrices of 64 × 64")

# %% [markdown]
# ## 3.7 What attention does not know
#
# Where in the formula does it say that one key comes *before* another? Nowhere. The output $\sum_s w_{ts} v_s$ is a
# sum, and a sum does not know the order of its terms; a score depends on one query and one key, not on where they
# stand. Let $P$ reorder the positions: $PK$ and $PV$ have the same rows as $K$ and $V$ in another order. Then (the √D
# left out)
#
# $$ \operatorname{softmax}(Q (PK)^\top)\, PV = \operatorname{softmax}(Q K^\top P^\top)\, PV =
#    \operatorname{softmax}(Q K^\top) P^\top P V = \operatorname{softmax}(Q K^\top) V, $$
#
# because the softmax of reordered columns is the reordered softmax, and $P^\top P = 1$. To attention without a mask, a
# text is a *bag* of words: "the dog bit the man" and "the man bit the dog" are one and the same. A causal mask helps a
# little (the first word sees one key, the second two), but within the past, order is still lost.
#
# The cure is to tell every position where it stands: add to its vector another one that depends on the position only,
# and is learned like everything else. Lesson 04 compares this with cleverer ways. Exercise **same_to_attention** asks
# you to fool attention yourself, and to explain how.

# %% [markdown]
# ## 3.8 A model that looks back
#
# Enough parts; now something that learns. The model is as small as can be, so that attention is all there is to it:
#
#     ids (B, T) → embedding + position (B, T, C) → add what was gathered (B, T, C) → logits (B, T, V)
#
# We train it four times on the same stories, letter by letter, and change only how it gathers: not at all, by the mean
# of the past, by attention with one head, by attention with four.

# %%
SEED, T, C, BATCH, STEPS = seed(), 64, 64, 32, 600

train_text = "\n".join(story.text for story in stories("train", 1500))
val_text = "\n".join(story.text for story in stories("val", 60))
tokenizer = CharTokenizer.train([train_text])
V = tokenizer.vocab_size
train = Windows(np.array(tokenizer.encode(train_text)), T)
val = Windows(np.array(tokenizer.encode(val_text)), T, "val").validation_windows()
print(f"{len(train_text):,} letters to learn from, {len(val_text):,} to test on, {V} different ones")

# `run 3 --mine` puts your own functions here
average_past = part("average_past", None)
multi_head_attention = part("multi_head_attention", None)


class LookBack(nn.Module):
    """The smallest language model with a way to gather: "nothing", "mean", or a number of heads."""

    def __init__(self, gather: str | int):
        super().__init__()
        self.gather = gather
        self.token, self.position = nn.Embedding(V, C), nn.Embedding(T, C)
        self.attention = MultiHeadAttention(C, gather if isinstance(gather, int) else 1, bias=False)
        self.guess = nn.Linear(C, V)
        for weight, std in ((self.token.weight, 0.3), (self.position.weight, 0.1)):
            nn.init.normal_(weight, std=std)
        for weight in self.attention.parameters():
            nn.init.normal_(weight, std=C**-0.5)

    def embed(self, ids):  # (B, T) → (B, T, C)
        return self.token(ids) + self.position(torch.arange(ids.size(1)))

    def gathered(self, x):  # (B, T, C) → (B, T, C)
        a = self.attention
        if self.gather == "nothing":
            return torch.zeros_like(x)
        if self.gather == "mean":
            values = a.v_proj(x)
            if average_past is not None:
                return a.out_proj(average_past(values))
            alike = torch.zeros_like(x)[:, None]  # all scores 0, so all weights equal
            return a.out_proj(explicit_attention(alike, alike, values[:, None], causal=True)[0][:, 0])
        if multi_head_attention is None:
            return a(x, causal=True)
        weights = (a.q_proj.weight, a.k_proj.weight, a.v_proj.weight, a.out_proj.weight)
        return multi_head_attention(x, *weights, a.n_heads)

    def forward(self, ids):  # (B, T) → (B, T, V)
        x = self.embed(ids)
        return self.guess(x + self.gathered(x))


def train_model(gather):
    """Train one model; returns it with its validation loss and the points of its loss curve."""
    torch.manual_seed(SEED)
    model, objective, points, smooth = LookBack(gather), CausalLM(), [], None
    optimizer = torch.optim.AdamW(model.parameters())
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = 0.01 * min(1, (step + 1) / 30) * (1 - step / STEPS)  # up, then slowly down
        windows = torch.from_numpy(train.batch(SEED, step * BATCH, BATCH))  # (B, T + 1)
        logits = model(windows[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        smooth = loss.item() if smooth is None else 0.95 * smooth + 0.05 * loss.item()
        if step % 20 == 0:
            points.append((step, smooth))
    with torch.no_grad():
        batch = objective.collate(val)
        val_loss = objective.loss_sums(model, batch)["causal"].item() / objective.n_targets(batch)["causal"]
    return model, val_loss, points


# %%
predict(
    "a model that sees the last letter only reaches 2.27 nats a letter. Where will the mean of the past get it, "
    "and one head, and four? (A guess at random among the letters is ln V = 4.1.)"
)

# %%
models, lines = {}, {}
for gather, name, expected, spread in (
    ("nothing", "nothing: the last letter only", 2.274, 0.01),
    ("mean", "the mean of the past", 2.22, 0.01),
    (1, "attention, one head", 1.90, 0.04),
    (4, "attention, four heads", 1.68, 0.05),
):
    models[name], loss, lines[name] = train_model(gather)
    result(f"{name}, nats per letter", loss, expected, spread)

# %%
curves({name: line[1:] for name, line in lines.items()}, "Four ways to look back", "step", "training loss", "03-curves")

# %% [markdown]
# **What to see.** The mean of the past helps hardly at all: where everything is mixed, little can be found. One head
# is a different world, and four heads of a quarter of the width each are better still, with *the same number of
# weights*: the four matrices are 64 × 64 in both. (The numbers are means over five seeds; the spread is a little more
# than the seeds differed by.)
#
# The floor for these stories, what no model can go below because the stories leave it to chance, is 0.06 nats per
# letter. One layer of attention is far from it. It knows which letters stood where, but it has no means to *think*
# about what it has gathered. That is the business of lesson 04.
#
# Now let us look at what the four heads look at.

# %%
model = models["attention, four heads"]
sentence = "the old fisherman had lost the key to his boat"
ids = torch.tensor([list(tokenizer.encode(sentence))])  # (1, T)
model.attention.recorded_weights = []  # from now on it notes its weights
with torch.no_grad():
    model.attention(model.embed(ids), causal=True)
(maps,) = model.attention.recorded_weights  # (B, H, T, S)
model.attention.recorded_weights = None

print("share of attention by distance: 0 is the letter itself, 1 the one before it, …")
print("        " + "".join(f"{distance:>7}" for distance in range(6)) + "   farther")
for h, weights in enumerate(maps[0]):
    shares = [weights.diagonal(-distance)[8:].mean().item() for distance in range(6)]
    print(f"head {h}: " + "".join(f"{share:7.2f}" for share in shares) + f"{1 - sum(shares):10.2f}")

sharpest = int(torch.stack([w.diagonal(-1)[8:].mean() for w in maps[0]]).argmax())
letters = [c if c != " " else "·" for c in sentence]
heatmap(maps[0, sharpest].tolist(), letters, letters, f"Head {sharpest}: rows ask, columns answer", "03-map")

# %% [markdown]
# **What to see.** Nobody told the heads where to look, and most of their attention, in most heads about nine tenths of
# it, goes to the last five letters, in other proportions in every head. So together they lay the last few letters side
# by side, where the mean had stirred them into one: this is the n-gram model of lesson 01, but without its table. In
# the map, most of a row stands on the diagonal or just below it; a shade above it would be a bug. And no two rows are
# alike: some letters look at themselves, some at the one before, some at several. What a head prefers also differs from
# seed to seed.

# %% [markdown]
# ## 3.9 What was left out
#
# - **What to do with what was gathered**: residual connections, norms and the feed-forward layer, in lesson 04.
# - **Better positions**: sinusoidal and rotary ones, in lessons 04 and 12.
# - **Attention to another text**, in translation: the queries come from one sequence, the keys and values from another.
#   It is the same function (lesson 10).
# - **The cost.** The weights are T × S numbers for each head: twice the text, four times the work. The fused kernels
#   that `fused_attention` calls never store them (Dao et al. 2022), and generation keeps its keys and values (lesson
#   06).
# - **What heads learn in large models**, and whether a weight is an explanation: lesson 20.
#
# **Further reading.** Bahdanau, Cho & Bengio 2014, *Neural Machine Translation by Jointly Learning to Align and
# Translate* (where attention comes from). Vaswani et al. 2017, *Attention Is All You Need*, section 3.2. Clark et al.
# 2019, *What Does BERT Look At?* Dao et al. 2022, *FlashAttention*, sections 2 and 3.1. Phuong & Hutter 2022, *Formal
# Algorithms for Transformers*, for every detail in pseudocode.
#
# **Now you.** `python -m lessons check 3` makes your file, `lessons/mine/03_attention.py`, with six exercises in it.
# When the checks are content, `python -m lessons run 3 --mine` trains the model above with your attention in it.
