# %% [markdown]
# # 12 The modern block, and longer texts
#
# - **Question:** What has changed in the block since GPT-2, and what does each change gain? And why can a model that
#   was trained on short texts not simply read long ones?
# - **Teaches:** RMSNorm, rotary positions, SwiGLU, grouped-query attention, each measured at equal size; longer texts:
#   position interpolation, NTK and YaRN scaling, ALiBi, no positions, sliding windows; latent attention; the bytes of a
#   key/value cache, by formula and in memory
# - **Minutes:** 120 to read and solve, 2 to run
#
# You need: attention and masks (lesson 03), the GPT block (lesson 04), seeds and luck (lesson 05), the key/value cache
# (lesson 06).
#
# Dimension letters: B batch, T positions, S cached tokens, C width of the model, H heads, Hkv key/value heads, D head
# size, L layers, V vocabulary, W window.

# %% [setup]
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# %%
import dataclasses
import math

import numpy as np
import torch
from torch.nn import functional as F

from lessons.machinery.lesson_api import part, predict, result, seed
from lessons.machinery.pictures import curves, heatmap
from llmasos import nn, planning
from llmasos.datasets.storyworld import World, prefix_log_prob
from llmasos.datasets.storyworld import generate as tell
from llmasos.models import GPT, ModelConfig, extend_context, n_parameters_of
from llmasos.nn import RopeScaling, dynamic_ntk
from llmasos.training.optimizers import learning_rate_factor, make_optimizers, set_learning_rate
from llmasos.training.recipe import TrainingSettings

SEED = seed()
torch.manual_seed(SEED)
torch.set_num_threads(min(2, torch.get_num_threads()))
torch.set_printoptions(precision=3, sci_mode=False)


def our_rotate(x, positions, base):
    cos, sin = nn.RotaryEmbedding(1001, x.size(1), base)(positions[None])  # (1, 1, T, D/2) each
    return nn.apply_rotary(x[None, None], cos, sin)[0, 0]


def our_frequencies(D, base, factor, method):
    unscaled = base ** (-torch.arange(0, D, 2) / D)
    return RopeScaling(factor, type=method).scale(unscaled, base)


def our_alibi(H, T):
    bias = nn.alibi_bias(nn.alibi_slopes(H), torch.arange(T)[None], T)[0]
    return bias.masked_fill(~nn.causal_mask(T), -math.inf)


def our_window(T, W):
    return nn.sliding_window_mask(torch.arange(T)[None], T, W)[0, 0] & nn.causal_mask(T)


def our_bytes(L, Hkv, D, S, window=None, latent=None, size=2):
    kept = S if window is None else min(S, window)
    if latent is not None:
        return planning.latent_cache_bytes(L, *latent, kept, size)
    config = ModelConfig(n_layers=L, n_heads=Hkv, head_size=D, d_model=Hkv * D, sliding_window=window)
    return planning.cache_bytes(config, S, size)


# `run 12 --mine` puts your own functions here
rotate = part("rotate", our_rotate)
repeat_kv = part("repeat_kv", nn.attention.repeat_kv)
scaled_frequencies = part("scaled_frequencies", our_frequencies)
alibi_bias = part("alibi_bias", our_alibi)
window_mask = part("window_mask", our_window)
cache_bytes = part("cache_bytes", our_bytes)

# %% [markdown]
# ## 12.1 Five years of small changes
#
# The block of lesson 04 is that of GPT-2, from 2019. Compare it with the block of a recent model, Llama 3 for example,
# and five things are different:
#
# | | GPT-2 (2019) | Llama 3 (2024) | here |
# |---|---|---|---|
# | norm | LayerNorm | RMSNorm | 12.2 |
# | biases | everywhere | nowhere | 12.2 |
# | positions | a learned table | rotary | 12.3 |
# | feed-forward | GELU, two matrices | SwiGLU, three matrices | 12.4 |
# | key/value heads | as many as query heads | a fraction of them | 12.5 |
#
# The plan has not changed: attention, feed-forward, residuals, norms before each part. What does each change gain? We
# will measure that, one after the other, at equal size and equal training (12.6). One of the five has also made a new
# question possible: can a model that was trained on short texts read long ones? The rest of the lesson is about that
# (12.7 and 12.8), and about the memory that long texts cost (12.9).
#
# Our texts are the stories of a small storyworld again, with one change: **each word is a token**, its punctuation
# included. A small world has few different words, and the generator knows the exact probability of each next word. So
# for every single position we know the floor: the loss that remains when everything is known except the generator's
# dice.

# %%
WORLD = World(names=4, things=2, plots=1)
SHORT, LONG, END = 48, 192, "<end>"  # the context of training; the longest text that is read; between two stories
texts = [tell(SEED, number, WORLD).text.split(" ") for number in range(1000)]
tests = [tell(SEED + 1000, number, WORLD) for number in range(100)]
vocabulary = sorted({word for text in texts for word in text} | {w for s in tests for w in s.text.split(" ")} | {END})
number_of = {word: i for i, word in enumerate(vocabulary)}
V = len(vocabulary)
train_ids = np.array([number_of[word] for text in texts for word in [END, *text]])
test_ids = np.array([number_of[word] for story in tests for word in [END, *story.text.split(" ")]])
print(f"{len(train_ids):,} words of training, {V} different ones; a story has {len(test_ids) / len(tests):.0f} words")
print(tests[0].text)


def nats_of_words(words):
    """-log p of each word of a story, given the words before it: exact, from the generator."""
    log_probs = {0: 0.0, len(words): prefix_log_prob(" ".join(words), WORLD)}

    def between(a, b):  # where the first and the last are equal, no word between them was a choice
        if b - a > 1:
            middle = (a + b) // 2
            certain = log_probs[a] - log_probs[b] < 1e-9
            log_probs[middle] = log_probs[a] if certain else prefix_log_prob(" ".join(words[:middle]), WORLD)
            between(a, middle)
            between(middle, b)

    between(0, len(words))
    return [log_probs[i] - log_probs[i + 1] for i in range(len(words))]


rows, floors = [], []  # each row: story after story from the beginning of one, LONG + 1 words
for first, second in zip(tests[:24:2], tests[1:24:2], strict=True):
    row, floor = [number_of[END]], []
    for story in (first, second):
        words = story.text.split(" ")[: LONG + 1 - len(row)]
        floor += nats_of_words(words)
        row += [number_of[word] for word in words]
        if len(row) <= LONG:  # the story is whole; that it ends here may be a choice, too
            floor.append(story.information - sum(floor[-len(words) :]))
            row.append(number_of[END])
    rows.append(row[: LONG + 1])
    floors.append(floor[:LONG])
rows, floors = torch.tensor(rows), torch.tensor(floors)  # (B, LONG + 1), (B, LONG)
print(f"the floor: {floors.mean():.3f} nats per word")

# %% [markdown]
# The model reads 48 words at a time, less than half a story, in windows that begin anywhere in the text. The rows
# above are for testing: two stories each, from the beginning, 192 words. Every word of them has its own floor.
#
# The training loop is that of the earlier lessons, with Muon for the matrices (lesson 05). All models below see the
# same windows in the same order.

# %%
STEPS = 100


def train(model, context, rows_per_step, steps, rate=0.015, warmup=20):
    """Train a model on windows of the training text, always the same ones. Returns it."""
    settings = TrainingSettings(optimizer="muon", learning_rate=rate, weight_decay=0.1, precision="fp32", seed=SEED)
    optimizers, draw = make_optimizers(model.train(), settings), np.random.default_rng(SEED)
    for step in range(steps):
        set_learning_rate(optimizers, rate * learning_rate_factor(step, steps, warmup, "linear", 0.0))
        starts = draw.integers(len(train_ids) - context - 1, size=rows_per_step)
        ids = torch.from_numpy(train_ids[starts[:, None] + np.arange(context + 1)])  # (B, T + 1)
        loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
    return model.eval()


@torch.no_grad()
def losses(model, ids):
    """-log p of each next word, in nats: (B, T + 1) → (B, T)."""
    return F.cross_entropy(model(ids[:, :-1]).transpose(1, 2), ids[:, 1:], reduction="none")


# %% [markdown]
# ## 12.2 RMSNorm: is the mean needed?
#
# LayerNorm subtracts the mean of the C features, divides by their standard deviation, multiplies by a gain and adds a
# bias. **RMSNorm** (Zhang & Sennrich 2019, equation 4) leaves out half of that: it divides by the root mean square and
# multiplies by a gain.
#
# $$ \operatorname{rms}(x) = \sqrt{\tfrac1C \sum_c x_c^2 + \varepsilon}, \qquad
#    \operatorname{RMSNorm}(x)_c = \frac{x_c}{\operatorname{rms}(x)} \, g_c $$
#
# For (1, 1, 5, 5) the mean square is 13, and the result (0.28, 0.28, 1.39, 1.39); LayerNorm gave (-1, -1, 1, 1). The
# vector keeps its direction, apart from the gain; only its length is fixed. One thing is lost: a constant that is added
# to all features no longer vanishes. That costs nothing, because the matrices that write into the stream can learn to
# write vectors with mean 0. What is gained is time on a GPU: one fewer sum over the features.
#
# The **biases** went at the same time, those of the norms and of all linear layers. Again nothing is lost that
# matters: a feature that is always on can serve as a bias. PaLM (Chowdhery et al. 2022, section 2) reports more stable
# training of large models without them.
#
# ## 12.3 Rotary positions: only the distance counts
#
# Lesson 04 ended its section on positions with an observation: the dot product of two sinusoidal vectors depends only
# on their distance. But there they are *added* to the word's vector, and then everything goes through $W_q$ and $W_k$
# together; what arrives in the score is a mixture of words, positions, and both.
#
# **Rotary positions** (Su et al. 2021, section 3.2) put them where they are needed, into the dot product of query and
# key, and nowhere else. Take two features of a query as a point of the plane and rotate it by an angle proportional to
# its position $t$; do the same with the key at position $s$. With the rotation matrix $R_\varphi$,
#
# $$ (R_{\omega t}\, q) \cdot (R_{\omega s}\, k) = q^\top R_{\omega t}^\top R_{\omega s}\, k
#    = q^\top R_{\omega (s - t)}\, k, $$
#
# because rotating back by $\omega t$ and forward by $\omega s$ is one rotation by the difference. So **the score
# depends on the words and on the distance, never on the positions themselves**. Rotations keep lengths, so no word
# becomes louder or quieter by its place. Values are not rotated: *where* to look depends on the position, *what* is
# fetched does not.
#
# A head of size D has D/2 such planes, here the features $i$ and $i + D/2$, with the frequencies (radians per
# position)
#
# $$ \omega_i = \mathrm{base}^{-2i/D}, \qquad i = 0 \dots D/2 - 1, \qquad \mathrm{base} = 10000: $$
#
# again a row of clocks. The fastest moves by one radian per position; the slowest, if D is large, by little more than
# one in ten thousand positions. The formula for one plane, with $\varphi = \omega_i t$, is
# $(a, b) \to (a \cos\varphi - b \sin\varphi,\; a \sin\varphi + b \cos\varphi)$. For example, (1, 0) at position 1 in
# plane 0 becomes (cos 1, sin 1) = (0.54, 0.84). Exercise **rotate** asks for all planes.

# %%
generator = torch.Generator().manual_seed(SEED)
q, k = torch.randn(2, 1, 16, generator=generator)  # (1, D) each
print("a query and a key, three positions apart:")
for t in (3, 10, 500, 1000):
    score = (rotate(q, torch.tensor([t]), 10000.0) @ rotate(k, torch.tensor([t - 3]), 10000.0).T).item()
    print(f"  query at {t:>4}: score {score:.4f}")

# %% [markdown]
# The score is the same wherever the two are, as long as their distance is the same. There is no table of positions any
# more, and so there is no last position: the formula exists for position 1,000,000. Keep that in mind for 12.7.
#
# ## 12.4 SwiGLU: a feed-forward with a gate
#
# The feed-forward layer of lesson 04 computes many features of a position and adds up what they contribute. A **gated**
# one multiplies pairs of them (Dauphin et al. 2017; Shazeer 2020, equation 6):
#
# $$ \operatorname{SwiGLU}(x) = \big(\operatorname{silu}(x W_g) \odot x W_1\big) W_2, \qquad
#    \operatorname{silu}(z) = z \, \sigma(z) = \frac{z}{1 + e^{-z}} $$
#
# $\odot$ multiplies element by element. The silu looks like the GELU. One factor says *how much*, the other *what*, and
# their product can say "if both", which a sum cannot.
#
# It has three matrices where the old one has two. For a fair comparison, the hidden layer is made narrower: two
# matrices of $C \times 4C$ have $8C^2$ weights, and so have three of $C \times \tfrac83 C$. Shazeer found slightly
# lower losses with it, and offered no explanation but "divine benevolence".
#
# ## 12.5 Grouped-query attention: fewer keys and values
#
# When a model writes, the keys and values of all earlier words are kept in a cache (lesson 06), and for every new word
# all of them are read. For long texts, this is most of the memory and most of the time. **Multi-query attention**
# (Shazeer 2019) keeps one key and one value per word for *all* query heads. **Grouped-query attention** (Ainslie et
# al. 2023, section 2.2) goes halfway: H query heads form Hkv groups, and each group shares one key/value head. With H
# = 4 and Hkv = 2, query heads 0 and 1 use key/value head 0, and query heads 2 and 3 use head 1. The cache is half as
# large.
#
# Attention itself does not change: repeat each key/value head for its group, and continue as before. Exercise
# **repeat_kv** asks for it. (Fast programs for GPUs copy nothing; they read the same head several times.)

# %%
x = torch.randn(1, 6, 64, generator=generator)  # (B, T, C)
grouped = nn.MultiHeadAttention(64, n_heads=4, n_kv_heads=2, bias=False)
with torch.no_grad():
    q = nn.attention.split_heads(grouped.q_proj(x), 4)  # (1, 4, 6, 16)
    k, v = grouped.keys_values(x)  # (1, 2, 6, 16)
    out, _ = nn.naive_attention(q, repeat_kv(k, 4), repeat_kv(v, 4), causal=True)  # (1, 4, 6, 16)
    difference = (grouped.out_proj(out.transpose(1, 2).flatten(2)) - grouped(x, causal=True)).abs().max()
print(f"keys {tuple(k.shape)}, repeated {tuple(repeat_kv(k, 4).shape)}; largest difference: {difference:.1e}")

# %% [markdown]
# ## 12.6 The ladder
#
# Now all five, one on top of the other: GPT-2, then RMSNorm (and no biases), then rotary positions, then SwiGLU, then
# two key/value heads for four query heads. Each rung may only replace parts, not add any: without biases, a table of
# positions, or half of the keys, weights are saved, and the feed-forward gets them. So all five models have the same
# number of parameters, up to about a thousandth. They start from the same seed and see the same words.

# %%
GPT2 = ModelConfig(vocab_size=V, context_length=SHORT, n_layers=2, n_heads=4, d_model=64, activation="gelu")
changes = {
    "GPT-2": {},
    "RMSNorm": {"norm": "rmsnorm", "bias": False},
    "rotary": {"positions": "rotary"},
    "SwiGLU": {"activation": "swiglu"},
    "GQA": {"n_kv_heads": 2},
}


def with_size(config, n_parameters):
    """The config with the d_ff with which it has most nearly this many parameters."""
    options = [dataclasses.replace(config, d_ff=d_ff) for d_ff in range(100, 400)]
    return min(options, key=lambda option: abs(n_parameters_of(option) - n_parameters))


ladder, config = {}, GPT2
for name, change in changes.items():
    config = dataclasses.replace(config, **change)
    ladder[name] = with_size(config, n_parameters_of(GPT2))
    n = n_parameters_of(ladder[name])
    print(f"{name:<8} {n:,} parameters ({n / n_parameters_of(GPT2) - 1:+.2%}), d_ff {ladder[name].d_ff:>3}")

# %%
predict("which of the four changes lowers the loss most after 100 steps? And does any of them raise it?")

# %%
starts = np.random.default_rng(SEED).integers(len(test_ids) - SHORT - 1, size=256)
windows = torch.from_numpy(test_ids[starts[:, None] + np.arange(SHORT + 1)])  # (256, SHORT + 1)


def trained(config):
    """A new model of this config, trained."""
    torch.manual_seed(SEED)
    return train(GPT(config), SHORT, 8, STEPS)


models = {name: trained(config) for name, config in ladder.items()}
by_word = {name: losses(model, windows) for name, model in models.items()}  # (256, SHORT) each
previous = None
for name, values in by_word.items():
    step = "" if previous is None else f"{(values - by_word[previous]).mean():+.3f}"
    print(f"{name:<8} {values.mean():.3f} nats per word {step}")
    previous = name
stated = {
    "GPT-2": (1.47, 0.16),
    "RMSNorm": (1.41, 0.15),
    "rotary": (1.14, 0.15),
    "SwiGLU": (1.21, 0.17),
    "GQA": (1.25, 0.19),
}
for name, (expected, spread) in stated.items():
    result(f"{name}, nats per word", by_word[name].mean().item(), expected, spread)
gain = (by_word["RMSNorm"] - by_word["rotary"]).mean().item()
result("gained by rotary positions, nats per word", gain, 0.27, 0.13)

# %% [markdown]
# **What to see.** One step is large: **rotary positions gain a quarter of a nat per word**, between 0.24 and 0.31 with
# five seeds. A table of positions has to learn each of its 48 rows separately, and then that "three places back" means
# the same for all of them; with a rotation, that holds from the start. The other three steps are smaller. RMSNorm
# without biases gains 0.03 to 0.11. SwiGLU gains nothing here: it *loses* 0.05 to 0.11. Two key/value heads instead of
# four lose 0.00 to 0.06, and halve the cache.
#
# How much of that is luck? From seed to seed, which also means other stories, the loss of one and the same model has a
# standard deviation of 0.02 to 0.05. We had expected most steps to lie within this noise, and if you compared a single
# run of one model with a single run of another, three of the four would: SwiGLU could easily come out as the better
# one. Compared within a run, with the same seed and the same words for both, the differences vary less, and all four
# had the same sign with all five seeds. **Pair your runs, and repeat them.** If somebody shows you a block that is
# better by 0.02, ask for the number of seeds.
#
# And keep in mind what was measured: the loss after 100 steps, of tiny models, with one learning rate for all. RMSNorm
# and grouped queries were not even meant to lower the loss. One is cheaper on a GPU, the other needs less memory, and
# the ladder shows what they cost: little or nothing. SwiGLU was measured on larger models that were trained for much
# longer (Shazeer 2020, table 1); our ladder says nothing about those. Narang et al. (2021) tried dozens of changes to
# the block in a single codebase and found that most of them do not help. Gated feed-forwards and RMSNorm were among the
# few that did.
#
# ## 12.7 Longer texts: what a model has never seen
#
# The rotary model was trained on windows of 48 words. Its formula works for any position. Does the *model*?
#
# Look at the planes of a head with D = 16, and at how far each of them rotates within 48 positions.

# %%
D, BASE = 16, 10000.0
plain = scaled_frequencies(D, BASE, 1.0, "linear")
rotations = SHORT * plain / (2 * math.pi)
table = {"unscaled": plain}
table |= {name: scaled_frequencies(D, BASE, 4.0, name) for name in ("linear", "ntk")}
table["yarn"] = RopeScaling(4.0, type="yarn", original_context_length=SHORT).scale(plain, BASE)
print("plane                " + "".join(f"{i:>8}" for i in range(D // 2)))
print("rotations in 48      " + "".join(f"{r:8.3f}" for r in rotations.tolist()))
for name, frequencies in table.items():
    print(f"{name:<9} slowed by  " + "".join(f"{f:8.2f}" for f in (plain / frequencies).tolist()))

# %% [markdown]
# Planes 0 and 1 have completed several rotations: whatever the distance, its angle has been seen. But plane 3 has only
# made a quarter of a rotation, and plane 5 hardly moved. At distance 150, plane 3 reaches angles that have never
# occurred in training. The queries and keys have learned what the first quarter of the circle means, and nothing about
# the rest.
#
# Here are seven ways out of this that have been proposed.
#
# **Position interpolation** (Chen et al. 2023, equation 4): divide every position by the factor, here 192/48 = 4. Then
# no angle is new. But neighbors, which used to be one radian apart in plane 0, are now a quarter of a radian apart, a
# distance that has never occurred *between words* either. Some more training is needed to get used to it.
#
# **NTK scaling** (a post by the user bloc97, 2023; Peng et al. 2023, section 3.1): change the base instead. A plane
# that rotates many times must keep telling neighbors apart and needs no scaling; the slowest one needs all of it. With
# the new base $b'$, the last plane $i = D/2 - 1$ should be slower by exactly the factor $f$:
#
# $$ b'^{-(D-2)/D} = \frac1f \, b^{-(D-2)/D} \quad\Rightarrow\quad b' = b \cdot f^{D/(D-2)}. $$
#
# The planes in between are slowed down by a factor between 1 and $f$. For D = 4 and f = 4: plane 0 keeps the frequency
# 1, and plane 1 goes from 0.01 to 0.0025. Exercise **scaled_frequencies** asks for both methods.
#
# **Dynamic NTK** (Peng et al., section 3.3): $f$ is the length of the text so far divided by the training length, and
# never less than 1. A short text is read as always. What this does to a cache is the subject of exercise **stale_key**.
#
# **YaRN** (Peng et al., sections 3.2 and 3.4): look at the rotations. A plane with more than 32 rotations within the
# training length is left alone, the frequency of one with less than 1 is divided by $f$, and there is a ramp between
# them; all scores grow a little, because a softmax over more words is flatter. The table above shows what linear
# interpolation, NTK and YaRN do to our planes.
#
# **ALiBi** (Press et al. 2022, section 3): no rotation at all. Each head subtracts from its scores the distance, times
# a slope: $-m_h (t - s)$ with $m_h = 2^{-8h/H}$ for the heads $h = 1 \dots H$. With four heads, the slopes are 1/4,
# 1/16, 1/64 and 1/256: the first head looks at about four words, the last one at hundreds. Far words fade away, so
# words at distances never seen in training cannot do much harm. Exercise **alibi_bias**.
#
# **A sliding window** (Beltagy et al. 2020; Jiang et al. 2023, section 2): each word sees the last W words, itself
# included. Then distances of W or more never occur, in training or later. It can also be put on a finished model,
# without any training. Two layers see nearly twice as far, because each word in the window has attended to a window of
# its own. Exercise **window_mask**.
#
# And **no positions** (NoPE; Haviv et al. 2022, Kazemnejad et al. 2023): the causal mask alone reveals a little of the
# order, and nothing in the model depends on how long a text may be. On small reasoning tasks, Kazemnejad et al. found
# that it reads longer texts better than all others. Here are the bias of ALiBi and a window, as pictures:

# %%
heatmap((alibi_bias(4, 12)[0].exp()).tolist(), [f"query {t}" for t in range(12)], [str(s) for s in range(12)],
        "exp of ALiBi's bias, first head of four", "12-alibi")  # fmt: skip
heatmap(window_mask(12, 4).float().tolist(), [f"query {t}" for t in range(12)], [str(s) for s in range(12)],
        "A window of four", "12-window")  # fmt: skip

# %% [markdown]
# **What to see.** Rows are queries, columns are keys, and the future is white in both. ALiBi's weight fades with the
# distance; the window ends.
#
# ## 12.8 Trained on 48 words, reading 192
#
# Now the experiment. One model of the ladder, with rotary positions, and three others that differ only in their
# positions: sinusoidal, ALiBi, none. (Learned positions cannot take part: their table has 48 rows, and there is no
# 49th.) All were trained on 48 words. The rotary one then reads in seven ways that need no training: as it is, with
# the four scalings, and with two windows; and in two ways with 20 more steps of training on 192 words. For comparison,
# there is a model that was trained on 192 words from the start. Every step of all of them has the same number of words:
# eight rows of 48, or two of 192.
#
# We measure the loss of each word *above its floor*. For a perfect model all numbers would be 0. Beyond word 48, even a
# perfect model with a memory of 48 words would be above it, because it has forgotten how the story began.

# %%
predict("which of these will be about as good at word 190 as at word 40? And which will be worst?")

# %%
rotary = ladder["rotary"]
base = {"rotary": models["rotary"]}
for scheme in ("sinusoidal", "alibi", "none"):
    base[scheme] = trained(dataclasses.replace(rotary, positions=scheme))


def above_floor(model):
    """How far the loss of each word is above the floor, in nats: (B, T)."""
    T = min(LONG, model.config.context_length)
    return losses(model, rows[:, : T + 1]) - floors[:, :T]


def with_window(model, window, length):
    """The model with a sliding window, for texts of this length."""
    new = GPT(dataclasses.replace(model.config, sliding_window=window, context_length=length))
    new.load_state_dict(model.state_dict())
    return new.eval()


def dynamic(model):
    """`above_floor` with dynamic NTK scaling: every 24 words, the model is extended to the length that the text has."""
    parts = []
    for end in range(24, LONG + 1, 24):
        longer = extend_context(model, end, dynamic_ntk(end, SHORT))
        parts.append(above_floor(longer)[:, end - 24 : end])
    return torch.cat(parts, dim=1)


def scaled(kind):
    return extend_context(models["rotary"], LONG, RopeScaling(4.0, type=kind, original_context_length=SHORT))


excess = {f"{name}": above_floor(extend_context(model, LONG)) for name, model in base.items()}
excess |= {f"rotary, {kind}": above_floor(scaled(kind)) for kind in ("linear", "ntk", "yarn")}
excess["rotary, dynamic"] = dynamic(models["rotary"])
excess["rotary, window 48"] = above_floor(with_window(models["rotary"], SHORT, LONG))
excess["rotary, window 24"] = above_floor(with_window(models["rotary"], 24, LONG))
excess["linear, 20 steps more"] = above_floor(train(scaled("linear"), LONG, 2, 20, rate=0.005, warmup=5))
excess["ntk, 20 steps more"] = above_floor(train(scaled("ntk"), LONG, 2, 20, rate=0.005, warmup=5))
torch.manual_seed(SEED)
excess["trained at 192"] = above_floor(train(GPT(dataclasses.replace(rotary, context_length=LONG)), LONG, 2, STEPS))
print(f"{'nats above the floor, words':<24}" + "".join(f"{f'{i + 1}–{i + 24}':>9}" for i in range(0, LONG, 24)))
for name, values in excess.items():
    print(f"{name:<24}   " + "".join(f"{values[:, i : i + 24].mean():9.2f}" for i in range(0, LONG, 24)))
shown = ("rotary", "alibi", "none", "rotary, linear", "rotary, yarn", "rotary, window 48")
curves(
    {name: [(i + 12, excess[name][:, i : i + 24].mean().item()) for i in range(0, LONG, 24)] for name in shown},
    "Trained on 48 words", "word", "nats above the floor", "12-longer",
)  # fmt: skip
near = {
    "rotary": (0.56, 0.19),
    "sinusoidal": (1.93, 0.43),
    "alibi": (0.46, 0.15),
    "none": (0.73, 0.15),
    "rotary, linear": (0.8, 0.23),
}
far = {
    "rotary": (1.16, 0.3),
    "sinusoidal": (4.42, 0.77),
    "alibi": (0.62, 0.3),
    "none": (1.57, 0.3),
    "rotary, linear": (1.32, 0.3),
    "rotary, ntk": (1.18, 0.32),
    "rotary, yarn": (1.07, 0.3),
    "rotary, dynamic": (1.18, 0.33),
    "rotary, window 48": (0.8, 0.3),
    "rotary, window 24": (0.74, 0.3),
    "linear, 20 steps more": (0.94, 0.3),
    "ntk, 20 steps more": (0.87, 0.34),
    "trained at 192": (1.09, 0.31),
}
for name, (expected, spread) in near.items():
    result(f"{name}: words 1 to 48", excess[name][:, :SHORT].mean().item(), expected, spread)
for name, (expected, spread) in far.items():
    result(f"{name}: words 97 to 192", excess[name][:, 96:].mean().item(), expected, spread)

# %% [markdown]
# **What to see.** Compare the words 97 to 192 with the words 1 to 48. (Words 73 to 120 are difficult for all models:
# there one story comes to its end and the next begins.) In parentheses: the range over five seeds.
#
# - **Rotary, as it is**, is good up to word 48 (0.49 to 0.61), and beyond, its loss above the floor doubles (1.04 to
#   1.22). **Sinusoidal** positions are far worse (4.20 to 4.62): beyond word 48, vectors never seen in training are
#   added to every word, and everything computed from them is nonsense.
# - **Interpolation without training** is worse than doing nothing, even on the first 48 words (0.72 to 0.85): the
#   distances between neighbors have changed. With 20 more steps on long texts it recovers (0.84 to 1.00), and NTK
#   scaling, which starts from a better place, even more (0.73 to 0.94).
# - Without training, **NTK and dynamic scaling** change next to nothing here, and **YaRN** gains a little on long
#   texts (1.01 to 1.13) and loses a little on short ones. All three were made for models whose heads have many planes
#   that rotate many times. Ours have two.
# - **A window**, put on the finished model, does better than all scalings, without a single step (0.70 to 0.86 with
#   48 words, 0.63 to 0.81 with 24): no distance is new any more. What is farther back is forgotten, but the model
#   never learned to look there.
# - **ALiBi** is nearly as good at word 190 as at word 40 (0.52 to 0.70), without any further step, and in this short
#   training it is also the best on short texts (0.42 to 0.49). Looking at nearby words first is a good start.
# - **No positions** does not help here (1.51 to 1.63). There is no table to run out of; but what such a model learns
#   about order from the mask, it learns for at most 48 words. On their reasoning tasks, Kazemnejad et al. (2023) found
#   the opposite.
# - **Trained on 192 words from the start**, for 100 steps with as many words in each, the model is worse, on short
#   texts (0.74 to 1.04) and on long ones (0.99 to 1.17), than the one that was trained on 48 words for 100 steps and
#   then on 192 for 20. Short texts first is also how large models are trained: Llama 3 on 8,192 tokens, and at the end,
#   in stages, on 131,072 (Dubey et al. 2024, section 3.4.2).
#
# A loss that does not grow is not yet a model that *uses* a long text. ALiBi and windows do well because they forget.
#
# Dynamic scaling has another price, which no loss shows. A language model is *causal*: what comes later changes
# nothing before it (lesson 03), and the whole idea of a cache depends on that. Here the frequencies depend on the
# length of the text. So we ask the model for its predictions after the words 25 to 48 of the same texts, and let it
# read more and more of what follows.

# %%
text = rows[:, :LONG]  # (B, LONG)
with torch.no_grad():
    probabilities = {}
    for n in (SHORT, SHORT + 1, 96, LONG):
        longer = extend_context(models["rotary"], n, dynamic_ntk(n, SHORT))
        probabilities[n] = longer(text[:, :n])[:, 24:SHORT].softmax(dim=-1)  # (B, 24, V)
for n, p in probabilities.items():
    moved = (p - probabilities[SHORT]).abs().sum(dim=-1).mean().item() / 2
    print(f"after reading {n:>3} words: {moved:.2%} of the probability has moved to other words")

# %% [markdown]
# **What to see.** Up to 48 words nothing changes. Beyond that, the predictions after a word far in the past change
# because there is more text after it. Either all keys are computed again for every new word, or you accept keys that
# were rotated with other frequencies. That is why the library offers dynamic scaling as a function of a known length
# (`dynamic_ntk`), and not as a property of a model.
#
# ## 12.9 What a long text costs: the bytes of the cache
#
# A text of S words keeps, in each of L layers, a key and a value of D numbers for each of Hkv heads:
#
# $$ \mathrm{bytes} = L \cdot \min(S, W) \cdot 2 \, H_{kv} D \cdot (\text{bytes of a number}), $$
#
# with the minimum only if there is a window. For L = 2, Hkv = 3, D = 4, S = 5 and two bytes, $2 \cdot 5 \cdot 24 \cdot
# 2 = 480$. The window's words can be kept in a **ring** of W slots: the word at position $p$ overwrites slot $p \bmod
# W$. It does not matter that the slots are out of order, since attention is a sum over keys, and each key was rotated
# before it was stored.
#
# **Latent attention** (MLA, DeepSeek-AI 2024, "DeepSeek-V2", section 2.1) saves memory in another way. All heads have
# their own keys and values, but these are computed, when they are needed, from one short vector per word, $c = W_c x$
# with N numbers: $k_h = W_h^k c$, $v_h = W_h^v c$. Only $c$ is kept. It is a low-rank factorization of all the key and
# value matrices together. And the keys never have to be reconstructed: $q \cdot (W_h^k c) = (W_h^{k\top} q) \cdot c$,
# so the query can be projected into the space of the latent vector instead.
#
# Rotary positions do not fit into this: with $R_{\omega s}$ between the two, the matrix would be different for each
# position. So each word has one more short key of R numbers that is rotated, shared by all heads, and a score is the
# sum of the two dot products. Together, that makes N + R numbers per word and layer, whatever the number of heads.
# DeepSeek-V2 has N = 512 and R = 64 for 128 heads of 128. The library has it in one short file,
# `llmasos/nn/latent_attention.py`.
#
# Exercise **cache_bytes** asks for the formula. Here it is next to the tensors.

# %%
shapes = {
    "multi-head": {},
    "grouped-query, 2 of 4": {"n_kv_heads": 2},
    "multi-query": {"n_kv_heads": 1},
    "multi-head, window 24": {"sliding_window": 24},
}
print(f"{LONG} words, 32 bits            formula   in memory")
for name, change in shapes.items():
    c = dataclasses.replace(rotary, context_length=LONG, **change)
    cache = GPT(c).make_cache(batch_size=1, length=c.sliding_window)  # None: the whole context
    in_memory = cache.kv.nbytes
    formula = cache_bytes(c.n_layers, c.n_kv_heads, c.head_size, LONG, c.sliding_window, None, 4)
    print(f"{name:<28} {formula:>9,} {in_memory:>11,}")
    result(f"{name}: bytes in memory / formula", in_memory / formula, 1.0, 0.0)
latent = nn.LatentAttention(d_model=64, n_heads=4, head_size=16, latent_size=32, rotary_size=8)
with torch.no_grad():
    _, cache = latent(torch.randn(1, LONG, 64), nn.RotaryEmbedding(LONG, 8)(torch.arange(LONG)[None]))
in_memory = rotary.n_layers * sum(tensor.nbytes for tensor in cache)
formula = cache_bytes(rotary.n_layers, 4, 16, LONG, None, (32, 8), 4)
print(f"{'latent, 32 + 8':<28} {formula:>9,} {in_memory:>11,}")
result("latent: bytes in memory / formula", in_memory / formula, 1.0, 0.0)

# %%
model = with_window(models["rotary"], 24, LONG)
ring = nn.KVCache.empty(2, 1, 4, 24, 16)  # layers, texts, key/value heads, slots, head size
differences = []
with torch.no_grad():
    whole = model(text[:1, :100])[0]  # (100, V)
    for t in range(100):
        layers = [ring.rolling_layer(i, torch.tensor([[t]])) for i in range(2)]
        hidden = model.run_blocks(text[:1, t : t + 1], torch.tensor([[t]]), None, layers)  # (1, 1, C)
        differences.append((model.lm_head(hidden)[0, 0] - whole[t]).abs().max().item())
print(f"100 words with a ring of 24 slots: the logits differ by at most {max(differences):.1e}")

# %%
big = {
    "GPT-3, multi-head": (96, 96, 128, None),
    "Llama 3 405B, 8 of 128 heads": (126, 8, 128, None),
    "DeepSeek-V2, latent 512 + 64": (60, 128, 128, (512, 64)),
    "the same with ordinary heads": (60, 128, 128, None),
}
print("one text of 100,000 tokens, 16 bits")
for name, (n_layers, n_kv_heads, head_size, latent) in big.items():
    print(f"{name:<30} {cache_bytes(n_layers, n_kv_heads, head_size, 100_000, None, latent, 2) / 1e9:8.1f} GB")

# %% [markdown]
# **What to see.** Formula and memory agree to the byte, and a model with a window of 24 words needs no more than 24
# slots, however long the text. For the large ones, the lesson is in the last two lines: the 128 heads of DeepSeek-V2
# would need 393 GB for a single text of 100,000 tokens, more than any one GPU has; its latent vectors need 6.9 GB.
#
# What does it cost in quality? For grouped queries, you have seen it in 12.6. For latent attention, DeepSeek-AI (2024,
# appendix D) report better losses than with ordinary attention. We have not measured that.
#
# ## 12.10 What was left out
#
# - **Longer training.** Nearly all numbers here are after 100 steps. For a large model, only the end of its training
#   counts.
# - **Speed.** RMSNorm and grouped queries are there for the sake of time and memory on a GPU; on our tiny models on a
#   CPU, they make nothing faster.
# - **Norms of queries and keys** (Qwen3), squared ReLU, and other parts of the default recipe: lesson 05 measures
#   each. Experts: lesson 13. Caches of many texts at once: `llmasos/generation/continuous_batching.py`.
# - **Using a long text.** A low loss at word 190 does not mean that the model *uses* what it read 150 words before. A
#   test for that hides a fact early in the text and asks for it at the end ("a needle in a haystack"; Hsieh et al.
#   2024, "RULER").
# - **A command.** `python train.py --init-from MODEL --context-length 256 --rope-scaling yarn` trains a rotary model
#   further on longer texts; `--positions`, `--norm`, `--activation`, `--n-kv-heads` and `--sliding-window` choose the
#   parts of a new one.
#
# **Further reading.** Zhang & Sennrich 2019, *Root Mean Square Layer Normalization*. Su et al. 2021, *RoFormer:
# Enhanced Transformer with Rotary Position Embedding*. Shazeer 2020, *GLU Variants Improve Transformer*; and 2019,
# *Fast Transformer Decoding: One Write-Head is All You Need*. Ainslie et al. 2023, *GQA: Training Generalized
# Multi-Query Transformer Models from Multi-Head Checkpoints*. Narang et al. 2021, *Do Transformer Modifications
# Transfer Across Implementations and Applications?*, which asks the question of 12.6 of fifty changes. Chen et al.
# 2023, *Extending Context Window of Large Language Models via Positional Interpolation*. Peng et al. 2023, *YaRN:
# Efficient Context Window Extension of Large Language Models*. Press, Smith & Lewis 2022, *Train Short, Test Long*.
# Kazemnejad et al. 2023, *The Impact of Positional Encoding on Length Generalization in Transformers*. Jiang et al.
# 2023, *Mistral 7B*. DeepSeek-AI 2024, *DeepSeek-V2*.
#
# **Now you.** `python -m lessons check 12` creates your file, `lessons/mine/12_modern_block.py`, with eight exercises.
# When the checks pass, `python -m lessons run 12 --mine` uses your functions wherever the lesson shows them.
