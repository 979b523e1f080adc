# %% [markdown]
# # 03 Attention
#
# - **Question:** How can a model use any word it has read, and not just the last one?
# - **Teaches:** attention from an average over the past to several causal heads: queries, keys and values, the scale
#   √D, masks, heads, and why attention by itself does not know the order of words
# - **Minutes:** 90 to read and solve, 1 to run
#
# You need matrix products, the softmax, and a loss in nats (lesson 01). The formulas come from *Attention Is All You
# Need* (Vaswani et al. 2017), section 3.2, unless stated otherwise.
#
# Dimension letters, here and throughout the library: B batch, T number of queries, S number of keys, C width of the
# model, H heads, D = C / H the width of one head, V size of the vocabulary.

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
from llmasos.nn import MultiHeadAttention, causal_mask, naive_attention
from llmasos.objectives import CausalLM
from llmasos.tokenizers import CharTokenizer

torch.manual_seed(seed())
torch.set_num_threads(min(2, torch.get_num_threads()))
torch.set_printoptions(precision=2, sci_mode=False)

# %% [markdown]
# ## 3.1 What the last word does not tell you
#
# > *Rosa planted the seed beside the gate. Every morning before school … and by summer there was a cabbage. Then came
# > the great heat … She gave the* ▢
#
# The missing word was mentioned two sentences ago. The bigram model of lesson 01, which sees only one word, can get it
# right only by luck. Could we show it more? A table of counts for the last two words has V² rows, and for the last ten
# V¹⁰: no text is long enough to fill it. Besides, most of the last ten words do not matter. What matters is *which*
# earlier word to look at, and that changes from sentence to sentence.
#
# So here is the question of this lesson. Every position in a text has a vector of C numbers. We want to give each
# position a second vector that gathers whatever is useful *to this position* from all the positions before it. It
# should need no table, work for any length, and have a gradient, so that the model can learn what is useful.

# %% [markdown]
# ## 3.2 An average over the past
#
# The simplest way to gather is to weight everything equally: take the mean of all vectors so far, including the
# position's own.
#
# $$ y_t = \frac{1}{t+1} \sum_{s=0}^{t} x_s $$
#
# A weighted sum is a matrix product. Put the weights of position $t$ into row $t$ of a matrix $W$ (T, T); then $y = W
# x$. What does this matrix look like for four positions?

# %%
x = torch.tensor([[2.0, 0.0], [4.0, 0.0], [0.0, 6.0], [2.0, 2.0]])  # (T, C): four positions, two features
W = causal_mask(4).float()  # (T, T): ones on and below the diagonal
W = W / W.sum(dim=1, keepdim=True)
print(W)
print(W @ x)  # (T, T) @ (T, C) → (T, C)

# %% [markdown]
# Two properties of $W$ hold throughout the lesson. **Every row sums to one**: each position has one unit of attention
# to distribute. And **the upper triangle is zero**: no position looks ahead, because each one will have to predict what
# comes next, and looking ahead would reveal the answer.
#
# The weakness is that the weights do not depend on the text. The mean of a long text is a gray soup in which the
# cabbage is one part in fifty. Exercise **average_past** asks for this mean, for a batch.

# %% [markdown]
# ## 3.3 Weights that depend on the content
#
# Let every position compute three vectors, each a linear function of its vector $x$:
#
# - a **query** $q = W_q x$: what am I looking for?
# - a **key** $k = W_k x$: what do I contain, for a query that is looking?
# - a **value** $v = W_v x$: what do I pass on if I am attended to?
#
# How well does the key of $s$ match the query of $t$? Take their dot product $q_t \cdot k_s$, the **score**. It is
# large when the two vectors point in the same direction. The softmax turns the scores of one query over all keys into
# positive weights that sum to one, and the output is the weighted mean of the values:
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
# we divide by √D is the subject of the next section. Here is one query with two keys:

# %%
q = torch.tensor([[2.0, 0.0, 0.0, 0.0]])  # (T, D): one query
k = torch.tensor([[1.0, 0.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0]])  # (S, D): two keys
v = torch.tensor([[6.0, 0.0, 0.0, 0.0], [0.0, 6.0, 0.0, 0.0]])  # (S, D): and their values

scores = q @ k.T / math.sqrt(q.size(-1))  # (T, D) @ (D, S) → (T, S)
print("scores ", scores)
predict("the keys score 1 and -1. What fraction of the attention does the first get: 0.73, 0.88 or 1.00?")

# %%
weights = scores.softmax(dim=-1)  # (T, S), every row sums to 1
print("weights", weights)
print("output ", weights @ v)  # (T, S) @ (S, D) → (T, D)

# %% [markdown]
# The scores differ by 2, so the first weight is $e^2$ = 7.4 times the second: 0.88 and 0.12. Attention is a *soft*
# dictionary lookup: a Python dictionary returns the value whose key equals the query; attention returns the mean of
# all values, weighted by how well their keys match the query. Because it is soft, it has a gradient everywhere, so the
# three matrices can be learned.
#
# The library has exactly this function, for any batch size and number of heads: `naive_attention(q, k, v)` in
# `llmasos/nn/attention.py`, with q (B, H, T, D). You will write it in exercise **attention**.

# %%
output, weights = naive_attention(q[None, None], k[None, None], v[None, None])  # B = H = 1
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
# √D brings the standard deviation back to 1, whatever the head size (section 3.2.1, footnote 4 of the paper).
#
# Why does the size of the scores matter? Because of the derivative of the softmax,
#
# $$ \frac{\partial w_i}{\partial s_j} = w_i (\delta_{ij} - w_j). $$
#
# If one weight is nearly 1 and the others nearly 0, all of these products are nearly 0: the softmax is *saturated*. A
# head that starts out certain, only because it is wide, cannot learn that it is wrong.

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
# Read the table from top to bottom. Without scaling, the largest of the 16 weights approaches 1 and the gradient
# vanishes as heads get wider. Divided by √D, the numbers hardly depend on D: that is the purpose of the root. Divided
# by D, a common mistake, wide heads weight all sixteen keys equally (1/16 = 0.06), and we are back at the average of
# section 3.2.

# %% [markdown]
# ## 3.5 Hiding the future: masks
#
# A position must not see the token it has to predict. A **mask** says which query may attend to which key. In this
# library every mask is boolean and **True means: may attend**. (Elsewhere you will meet 0 and 1, 0 and -inf, and
# `nn.MultiheadAttention`, where True means *hidden*. Whenever you use a mask, look up its convention.)

# %%
print(causal_mask(3).int())
print(causal_mask(2, 4).int())

# %% [markdown]
# Each row is a query and each column a key. The second mask has fewer queries than keys. This happens when a model
# continues a text: four positions have keys, but only the last two are queries. Query $t$ is then at position $t + S -
# T$, and it sees the keys up to and including its own position.
#
# How do we hide a key? Its weight must be zero *and the others must still sum to one*. Setting the weight to zero
# after the softmax violates the second condition; setting the score to zero violates even the first, since $e^0 = 1$ is
# an ordinary weight. What works is a score of $-\infty$, or a very large negative number, before the softmax:
# $e^{-\infty} = 0$, so the denominator sums over only the other keys.

# %%
scores = torch.tensor([1.0, 1.0, 1.0])
hidden = torch.tensor([True, True, False])  # the third key is the future
print("score -inf before the softmax ", scores.masked_fill(~hidden, -math.inf).softmax(-1))
print("score 0 before the softmax    ", scores.masked_fill(~hidden, 0.0).softmax(-1))
print("weight 0 after the softmax    ", scores.softmax(-1) * hidden)

# %% [markdown]
# The best test of a mask does not look at the mask at all. **Change the future, and see which outputs move.** If
# position 3 of a text is changed, the outputs at positions 0, 1 and 2 must not change by a single bit.

# %%
text = torch.randn(1, 1, 5, 8)  # (B, H, T, D)
changed = text.clone()
changed[..., 3, :] += 1.0
for causal in (True, False):
    before, after = (naive_attention(a, a, a, causal=causal)[0] for a in (text, changed))
    moved = (before != after).any(dim=-1)[0, 0]
    print("causal:    " if causal else "no mask:   ", ["moved" if m else "same" for m in moved])

# %% [markdown]
# Exercise **causal_mask** asks for the mask; exercise **attention** uses it.

# %% [markdown]
# ## 3.6 Several heads
#
# One softmax gives one mixture. But a word may need to look at two places for two reasons: a verb looks at its subject
# to agree with it, and at the previous word to follow it. Averaging the two values would blur them. So we run H
# attentions in parallel, each in its own D = C / H dimensions, with its own queries, keys and values:
#
# $$ \mathrm{head}_h = \operatorname{attention}(x W_q^{h\top}, x W_k^{h\top}, x W_v^{h\top}), \qquad
#    \mathrm{multihead}(x) = [\mathrm{head}_0, \dots, \mathrm{head}_{H-1}]\, W_o^\top $$
#
# (section 3.2.2; we write weights as `nn.Linear` stores them, (out, in), so that a projection is $x W^\top$.) The
# heads' outputs are concatenated, and $W_o$ mixes them. H heads of width C / H cost as many multiplications as one head
# of width C.
#
# In practice, the heads are not computed one by one. One product with a (C, C) matrix gives the queries of all heads
# at once; splitting the C features into H groups of D is a `view`:
#
#     (B, T, C)  →  view  (B, T, H, D)  →  swap T and H  (B, H, T, D)
#
# **The transpose is not optional.** `view` never moves a number; it only changes how the same sequence of numbers is
# read. Watch what happens to two positions with four features when we go straight to (H, T, D):

# %%
x = torch.tensor([[0, 1, 2, 3], [10, 11, 12, 13]])  # (T, C): tens are the position, units the feature
print("head 0 by view and transpose:\n", x.view(2, 2, 2).transpose(0, 1)[0])  # (T, H, D) → (H, T, D)
print("head 0 by view alone:\n", x.view(2, 2, 2)[0])

# %% [markdown]
# With `view` alone, head 0 is all of position 0: its "positions" are halves of one vector. The shapes agree, nothing
# fails, and the model still learns a little, which makes this mistake so common and so hard to find.
#
# `MultiHeadAttention` in `llmasos/nn/attention.py` is this section in code; in exercise **multi_head_attention**, you
# write it as one function.

# %%
module = MultiHeadAttention(d_model=64, n_heads=4, bias=False)
print(module(torch.randn(2, 10, 64), causal=True).shape)  # (B, T, C) → (B, T, C)
print(f"{sum(p.numel() for p in module.parameters()):,} weights: four matrices of 64 × 64")

# %% [markdown]
# ## 3.7 What attention does not see: order
#
# Where in the formula does it say that one key comes *before* another? Nowhere. The output $\sum_s w_{ts} v_s$ is a
# sum, and a sum does not depend on the order of its terms; a score depends on one query and one key, not on their
# positions. Let $P$ reorder the positions: $PK$ and $PV$ have the same rows as $K$ and $V$ in another order. Then
# (omitting √D)
#
# $$ \operatorname{softmax}(Q (PK)^\top)\, PV = \operatorname{softmax}(Q K^\top P^\top)\, PV =
#    \operatorname{softmax}(Q K^\top) P^\top P V = \operatorname{softmax}(Q K^\top) V, $$
#
# because the softmax of reordered columns is the reordered softmax, and $P^\top P = 1$. To attention without a mask, a
# text is a *bag* of words: "the dog bit the man" and "the man bit the dog" are identical. A causal mask helps a little
# (the first word sees one key, the second two), but within the past, the order is still lost.
#
# The solution is a position embedding: add a second vector to each position's vector that depends only on the
# position, and is learned like everything else. Lesson 04 compares this with better schemes. Exercise
# **same_to_attention** asks you to fool attention yourself, and to explain how.

# %% [markdown]
# ## 3.8 A model that looks back
#
# Enough parts; let us train something. The model is as small as possible, so that attention is all there is to it:
#
#     ids (B, T) → embedding + position (B, T, C) → add the gathered vector (B, T, C) → logits (B, T, V)
#
# We train it four times on the same stories, character by character, and change only how it gathers: not at all, by
# the mean of the past, by attention with one head, and by attention with four.

# %%
SEED, T, C, BATCH, STEPS = seed(), 64, 64, 32, 600

train_text = "\n".join(story.text for story in stories("train", 1500))
val_text = "\n".join(story.text for story in stories("val", 60))
tokenizer = CharTokenizer.train([train_text])
V = tokenizer.vocab_size
train = Windows(np.array(tokenizer.encode(train_text)), T)
val = Windows(np.array(tokenizer.encode(val_text)), T, "val").validation_windows()
print(f"{len(train_text):,} characters to train on, {len(val_text):,} to validate on, {V} distinct characters")

# `run 3 --mine` puts your own functions here
average_past = part("average_past", None)
multi_head_attention = part("multi_head_attention", None)


class LookBack(nn.Module):
    """The smallest language model that gathers context by "nothing", "mean", or a number of heads."""

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
            return a.out_proj(naive_attention(alike, alike, values[:, None], causal=True)[0][:, 0])
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
    "a model that sees only the last character reaches 2.27 nats per character. What will the mean of the past reach, "
    "and one head, and four? (Guessing a character at random gives ln V = 4.1.)"
)

# %%
models, lines = {}, {}
for gather, name, expected, spread in (
    ("nothing", "nothing: only the last character", 2.274, 0.01),
    ("mean", "the mean of the past", 2.22, 0.01),
    (1, "attention, one head", 1.90, 0.04),
    (4, "attention, four heads", 1.68, 0.05),
):
    models[name], loss, lines[name] = train_model(gather)
    result(f"{name}, nats per character", loss, expected, spread)

# %%
curves({name: line[1:] for name, line in lines.items()}, "Four ways to look back", "step", "training loss", "03-curves")

# %% [markdown]
# **What to see.** The mean of the past hardly helps: when everything is mixed, little can be recovered. One head is
# far better, and four heads, each a quarter as wide, are better still with *the same number of weights*: the four
# matrices are 64 × 64 in both. (The numbers are means over five seeds; the spread is slightly larger than the range
# over the seeds.)
#
# The floor for these stories, the randomness that no model can predict, is 0.06 nats per character. One layer of
# attention is far from it. It knows which characters came where, but it cannot *compute* anything from what it has
# gathered. That is the subject of lesson 04.
#
# Now let us see what the four heads attend to.

# %%
model = models["attention, four heads"]
sentence = "the old fisherman had lost the key to his boat"
ids = torch.tensor([list(tokenizer.encode(sentence))])  # (1, T)
model.attention.recorded_weights = []  # from now on it records its weights
with torch.no_grad():
    model.attention(model.embed(ids), causal=True)
(maps,) = model.attention.recorded_weights  # (B, H, T, S)
model.attention.recorded_weights = None

print("fraction of attention by distance: 0 is the character itself, 1 the one before it, …")
print("        " + "".join(f"{distance:>7}" for distance in range(6)) + "   farther")
for h, weights in enumerate(maps[0]):
    shares = [weights.diagonal(-distance)[8:].mean().item() for distance in range(6)]
    print(f"head {h}: " + "".join(f"{share:7.2f}" for share in shares) + f"{1 - sum(shares):10.2f}")

sharpest = int(torch.stack([w.diagonal(-1)[8:].mean() for w in maps[0]]).argmax())
letters = [c if c != " " else "·" for c in sentence]
heatmap(maps[0, sharpest].tolist(), letters, letters, f"Head {sharpest}: rows are queries, columns are keys", "03-map")

# %% [markdown]
# **What to see.** Nothing told the heads where to look, yet most of their attention, in most heads about nine tenths
# of it, goes to the last five characters, in different proportions in every head. Together they keep the last few
# characters apart, where the mean had blended them into one: this is the n-gram model of lesson 01 without its table.
# In the map, most of each row is on the diagonal or just below it; anything above it would be a bug. And no two rows
# are alike: some characters attend to themselves, some to the one before, some to several. What a head prefers also
# differs from seed to seed.

# %% [markdown]
# ## 3.9 What was left out
#
# - **Processing what was gathered**: residual connections, norms and the feed-forward layer, in lesson 04.
# - **Better positions**: sinusoidal and rotary embeddings, in lessons 04 and 12.
# - **Attention to another text**, or cross-attention, in translation: the queries come from one sequence, the keys
#   and values from another. It is the same function (lesson 10).
# - **The cost.** The weights are T × S numbers per head: twice the text means four times the work. The fused kernels
#   behind `fused_attention` never store them (Dao et al. 2022), and generation caches its keys and values (lesson 06).
# - **What heads learn in large models**, and whether a weight is an explanation: lesson 20.
#
# **Further reading.** Bahdanau, Cho & Bengio 2014, *Neural Machine Translation by Jointly Learning to Align and
# Translate* (the origin of attention). Vaswani et al. 2017, *Attention Is All You Need*, section 3.2. Clark et al.
# 2019, *What Does BERT Look At?* Dao et al. 2022, *FlashAttention*, sections 2 and 3.1. Phuong & Hutter 2022, *Formal
# Algorithms for Transformers*, for every detail in pseudocode.
#
# **Now you.** `python -m lessons check 3` creates your file, `lessons/mine/03_attention.py`, with six exercises. When
# the checks pass, `python -m lessons run 3 --mine` trains the model above with your own attention.
