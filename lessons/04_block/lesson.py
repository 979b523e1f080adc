# %% [markdown]
# # 04 The GPT block
#
# - **Question:** What turns attention into a deep network that learns, and then tells stories?
# - **Teaches:** the GPT block piece by piece: feed-forward, residual connections, LayerNorm before or after,
#   initialization, positions; the whole GPT and its size; the next-token loss; an ablation that measures what each
#   piece contributes
# - **Minutes:** 120 to read and solve, 1 to run
#
# You need lesson 03 (attention), lesson 02 (tokens), and, from lesson 01, what a loss in nats and its floor are.
#
# Dimension letters, here and throughout the library: B batch, T length, C width of the model, H heads, V size of the
# vocabulary, L number of blocks.

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
from llmasos.generation import SamplingOptions, generate
from llmasos.models import GPT, ModelConfig, n_parameters_of
from llmasos.nn import FeedForward, SinusoidalPositions, gelu
from llmasos.objectives import CausalLM
from llmasos.tokenizers import END_OF_TEXT, BPETokenizer

SEED = seed()
torch.manual_seed(SEED)
torch.set_num_threads(min(2, torch.get_num_threads()))
torch.set_printoptions(precision=2, sci_mode=False)

# `run 4 --mine` puts your own functions here
layer_norm, block, next_token_loss = (part(name, None) for name in ("layer_norm", "block", "next_token_loss"))
sinusoidal = part("sinusoidal", lambda T, C: SinusoidalPositions(T, C).table)
n_parameters = part(
    "n_parameters",
    lambda V, T, C, L, H, tied: n_parameters_of(
        ModelConfig(vocab_size=V, context_length=T, d_model=C, n_layers=L, n_heads=H, tie_embeddings=tied)
    ),
)

# %% [markdown]
# ## 4.1 What attention cannot do
#
# The model of lesson 03 ended with attention and predicted correctly from what it had gathered, but its loss stayed far
# from the floor. What is it that attention cannot do?
#
# Once its weights are fixed, attention is a *mean*: $y_t = \sum_s w_{ts} W_v x_s$. A mean can bring facts together, but
# it cannot draw conclusions from them. Take two facts of a story:
#
# - $a$ = 1 if Maya wants the skipping rope, else 0;
# - $b$ = 1 if Greta wants it, else 0.
#
# If exactly one of them wants the rope, she plays with it in peace: 1. If both want it, they quarrel, and if neither
# does, it stays in the grass: 0. Suppose attention has placed $a$ and $b$ side by side in one vector. Is there a linear
# function $u a + v b + c$ that gives these answers? From (0, 0) it follows that $c = 0$; from (1, 0) and (0, 1), that
# $u = v = 1$; but then (1, 1) gets 2 instead of 0. So there is none. (This function is the exclusive *or*, on which the
# perceptrons of the 1960s failed: Minsky & Papert 1969.) A second linear layer does not help either, because a linear
# function of a linear function is linear.
#
# We need a **nonlinearity**. With $\operatorname{relu}(z) = \max(0, z)$, two hidden units are enough:

# %%
facts = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])  # (4, 2): four situations, two facts
hidden = F.relu(facts @ torch.ones(2, 2) + torch.tensor([0.0, -1.0]))  # (4, 2): relu(a + b), relu(a + b - 1)
print("in peace:", hidden @ torch.tensor([1.0, -2.0]))  # (4,)

# %% [markdown]
# The first hidden unit counts the wishes; the second is nonzero only if there are two. Linear, nonlinearity, linear:
# that is the whole idea of the next section.

# %% [markdown]
# ## 4.2 The feed-forward
#
# After attention, every position goes **on its own** through two linear layers with a nonlinearity between them
# (Vaswani et al. 2017, section 3.3, equation 2):
#
# $$ \operatorname{FFN}(x) = \operatorname{act}(x W_1 + b_1)\, W_2 + b_2, \qquad
#    W_1: C \times 4C, \quad W_2: 4C \times C $$
#
# The hidden layer is four times as wide as the model (512 and 2048 in the paper). Each of the 4C hidden units asks a
# question about the position: its column of $W_1$. If the answer is yes, its row of $W_2$ is added to the result. Many
# questions are useful, but the result must have width C again.
#
# The paper's nonlinearity is the ReLU. GPT and BERT use the **GELU** (Hendrycks & Gimpel 2016): the input times the
# probability that a standard normal random number is below it,
#
# $$ \operatorname{gelu}(z) = z \, \Phi(z) = \frac{z}{2}\left(1 + \operatorname{erf}\frac{z}{\sqrt 2}\right). $$

# %%
z = torch.linspace(-3, 2, 101)
curves(
    {"ReLU": list(zip(z.tolist(), F.relu(z).tolist(), strict=True)),
     "GELU": list(zip(z.tolist(), gelu(z).tolist(), strict=True))},
    "Two activation functions", "z", "act(z)", "04-bends",
)  # fmt: skip
print(f"the lowest point of the GELU: {gelu(z).min():.2f} at z = {z[gelu(z).argmin()]:.2f}")

# %% [markdown]
# **What to see.** Far from zero the two agree: 0 on the left, $z$ on the right. In between, the GELU is smooth and dips
# a little below zero. The slope of the ReLU is exactly 0 left of zero, so a hidden unit that is negative for every text
# gets no gradient and never recovers; the slope of the GELU is exactly 0 at a single point only.
#
# We can test "on its own" the way we tested masks in lesson 03: change one position and see which outputs change.

# %%
feed_forward = FeedForward(d_model=8, d_ff=32, activation="gelu")
text = torch.randn(1, 5, 8)  # (B, T, C)
changed = text.clone()
changed[:, 3] += 1.0
predict("we change position 3 of five. Which positions of the feed-forward's output change? (Of attention's: 3 and 4.)")

# %%
print(["changed" if m else "same" for m in (feed_forward(text) != feed_forward(changed)).any(dim=-1)[0]])

# %% [markdown]
# Only position 3 does. So the two parts of a block divide the work: **attention moves information between positions but
# computes nothing new from it; the feed-forward computes at each position but moves nothing.** The feed-forward also
# has most of the weights: attention has four matrices C × C, together 4C²; the feed-forward has 2 · 4C² = 8C², twice as
# many.

# %% [markdown]
# ## 4.3 Depth, and why it needs residual connections
#
# One round of gathering and computing is not enough. "*She* gave *the cabbage* every drop": the model must work out who
# *she* is before it can look up what she planted. So we stack blocks, each with its own weights. What happens to the
# gradient on its long way back?
#
# Let $x_{\ell+1} = f_\ell(x_\ell)$ for $\ell = 0 \dots L-1$. By the chain rule, the gradient at the bottom is the
# gradient at the top multiplied by all the derivatives in between:
#
# $$ \frac{\partial E}{\partial x_0} = \frac{\partial E}{\partial x_L} J_{L-1} J_{L-2} \cdots J_0,
#    \qquad J_\ell = \frac{\partial f_\ell}{\partial x_\ell}. $$
#
# If each factor shrinks a vector to a sixth of its length, then after 24 of them $6^{-24} \approx 10^{-19}$ is left. He
# et al. (2016, *Deep Residual Learning*) let each layer only **add** to what is already there:
#
# $$ x_{\ell+1} = x_\ell + f_\ell(x_\ell), \qquad
#    \frac{\partial E}{\partial x_0} = \frac{\partial E}{\partial x_L} (1 + J_{L-1}) \cdots (1 + J_0). $$
#
# Multiply this out: besides products of all kinds, there is one term without any $J$. The gradient of the loss reaches
# the bottom *directly*, whatever the layers in between do (equation 5 of He et al. 2016, *Identity Mappings in Deep
# Residual Networks*). In a Transformer, the $x_\ell$ are called the **residual stream**: each part reads from it and
# writes into it by addition.
#
# Let us measure it: 24 feed-forwards of width 64 with torch's default initialization, once without and once with
# residual connections. The loss is the dot product of the output with a random direction. How long is the gradient at
# each layer?


# %%
def gradient_lengths(residual, depth=24, width=64):
    """Return the norm of the gradient at the input of each layer, from the first to the last."""
    torch.manual_seed(SEED)
    layers = [FeedForward(width, 4 * width, "gelu") for _ in range(depth)]
    stream = [torch.randn(256, width, requires_grad=True)]  # 256 positions
    for layer in layers:
        x = stream[-1]
        stream.append(x + layer(x) if residual else layer(x))
    direction = torch.randn(256, width) / 16
    return [g.norm().item() for g in torch.autograd.grad((stream[-1] * direction).sum(), stream)]


predict("24 layers without residuals: how long is the gradient at the first layer, if it is about 8 at the last?")

# %%
lengths = {"without residuals": gradient_lengths(False), "with residuals": gradient_lengths(True)}
for name, line in lengths.items():
    print(f"{name:<18}" + "".join(f"{line[i]:10.1e}" for i in (24, 18, 12, 6, 0)) + "   (after layer 24, 18, …, 0)")
shrinks = {name: (line[24] / line[0]) ** (1 / 24) for name, line in lengths.items()}
result("without residuals, each layer shrinks the gradient by", shrinks["without residuals"], 6, 0.5)
result("with residuals, each layer shrinks the gradient by", shrinks["with residuals"], 0.975, 0.01)
curves(
    {name: [(i, math.log10(g)) for i, g in enumerate(line)] for name, line in lengths.items()},
    "The gradient on its way back", "layer", "log10 of the gradient's length", "04-gradients",
)  # fmt: skip

# %% [markdown]
# **What to see.** Without residuals, the curve is a straight line on the logarithmic scale: each layer shrinks the
# gradient by the same factor, and the lowest layers learn nothing. With residuals, the line is nearly level. It even
# rises a little toward the bottom, because the layers contribute some gradient too.

# %% [markdown]
# ## 4.4 LayerNorm
#
# A stream that every part adds to has no fixed scale. It grows from block to block and from one training step to the
# next, and attention's softmax and the feed-forward's nonlinearity are very sensitive to scale. So each part reads the
# stream through a **norm** (Ba et al. 2016, section 3). For one position with the features $x_1 \dots x_C$:
#
# $$ \mu = \frac1C \sum_c x_c, \qquad \sigma^2 = \frac1C \sum_c (x_c - \mu)^2, \qquad
#    \operatorname{norm}(x)_c = \frac{x_c - \mu}{\sqrt{\sigma^2 + \varepsilon}} \cdot g_c + b_c. $$
#
# Every detail of the formula has a reason:
#
# - **Over the features of one position**, never over positions or texts. A mean over the positions would leak the
#   future into each of them, and a mean over the batch would make a text depend on its neighbors. (Batch norm, from
#   which LayerNorm is descended, does just that.)
# - **The variance divides by C**, not by C - 1 as in statistics (and as in torch's `var`, by default). Nothing is being
#   estimated here: these C numbers are the whole population.
# - **ε is inside the root** and keeps it away from zero when all features are equal. GPT-2 uses 1e-5, BERT 1e-12.
# - **Gain $g$ and bias $b$** come last, one number each per feature. They start at 1 and 0 and are learned: a norm that
#   could only equalize would never let one feature matter more than another.
#
# By hand, for one position with four features:

# %%
x = torch.tensor([1.0, 1.0, 5.0, 5.0])  # (C,)
mu = x.sum() / 4
deviations = x - mu
print(f"mean {mu:.0f}, deviations {deviations.tolist()}, variance {(deviations * deviations).sum() / 4:.0f}")
print("normalized:        ", F.layer_norm(x, (4,)))
print("ten times as large:", F.layer_norm(10 * x, (4,)))
print("seven added:       ", F.layer_norm(x + 7, (4,)))

# %% [markdown]
# Scale and offset are gone; what is left is the *shape* of the vector. In exercise **layer_norm** you write it for any
# number of dimensions.
#
# Now a question that is more interesting than it looks. In section 4.3, the network without residuals failed because
# its scale went wrong at every layer. A norm before each part fixes the scale. Do we still need residuals then? We
# build a GPT of 24 blocks, remove the residuals, keep the norms, and let it read a text of 32 random tokens.


# %%
class NoResidual(nn.Module):
    """A sublayer without a residual connection: it returns only its output for the normalized input."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x, function):
        return function(self.norm(x))


def new_gpt(L, C=64, T=32, std=None, writers=1.0, **config):
    """A GPT whose blocks and token embedding are initialized with standard deviation `std` (None: blocks 1 / √C).

    Matrices that write into the stream get `writers` times as much; positions (and tokens, if `std` is None) get 0.02.
    """
    config = {"vocab_size": 512, "n_heads": 4, "activation": "gelu", **config}
    model = GPT(ModelConfig(context_length=T, n_layers=L, d_model=C, **config))
    for name, weight in model.named_parameters():
        if weight.dim() == 2 and name.startswith(("blocks", "token") if std else "blocks"):
            writes = name.endswith(("out_proj.weight", "down_proj.weight"))
            nn.init.normal_(weight, std=(std or C**-0.5) * (writers if writes else 1.0))
    return model


predict(
    "after 24 blocks without residuals, how similar are the vectors of two positions of the text? (cosine, -1 to 1)"
)

# %%
similarity = {}
for residual in (True, False):
    torch.manual_seed(SEED)
    model, ids = new_gpt(24), torch.randint(512, (1, 32))
    with torch.no_grad():
        x = model.token_embedding(ids) + model.position_embedding(torch.arange(32))  # (1, T, C)
        line = []
        for b in model.blocks:
            unit = F.normalize(x[0], dim=-1)  # (T, C), every row has length 1
            line.append(((unit @ unit.T).sum().item() - 32) / (32 * 31))  # the mean cosine of two different positions
            if not residual:
                b.attention_residual = NoResidual(b.attention_residual.norm)
                b.feed_forward_residual = NoResidual(b.feed_forward_residual.norm)
            x = b(x)
    name = "with residuals" if residual else "without"
    similarity[name] = list(enumerate(line))
    print(f"{name:<15} cosine before block 0, 4, 8, …, 20: " + "  ".join(f"{line[i]:5.2f}" for i in range(0, 24, 4)))
result("without residuals, cosine before the last block", similarity["without"][-1][1], 1.0, 0.01)
curves(similarity, "How similar the positions of a text become", "block", "mean cosine", "04-alike")

# %% [markdown]
# **What to see.** Without residuals, after half a dozen blocks *all positions hold the same vector*. The norms have
# kept the scale; what is lost is the text. Attention is a mean, and a mean of means of means is one gray average. (Dong
# et al. 2021 prove that stacked attention alone collapses like this, doubly exponentially with depth.) With residuals,
# the positions also become more similar, but each keeps what it was, because nothing is ever removed from the stream.
# So the residual stream has two jobs: it carries the gradient down and the text up.

# %% [markdown]
# ## 4.5 Before or after?
#
# Where does the norm belong? The Transformer of 2017, and BERT after it, normalize the *sum*:
#
# $$ \text{post-norm:} \quad x \leftarrow \operatorname{norm}(x + f(x)). $$
#
# GPT-2 and nearly every model since normalize what the part *reads* and leave the stream alone:
#
# $$ \text{pre-norm:} \quad x \leftarrow x + f(\operatorname{norm}(x)). $$
#
# It looks like a matter of taste, but it is not. In pre-norm, the direct path through the network is *really* direct:
# nothing but additions from the first block to the last. (That is why one more norm is needed at the end, before the
# output layer, which would otherwise read a stream of unknown scale.) In post-norm, the direct path goes through every
# norm. Xiong et al. (2020) worked out what follows for the first step of training: with post-norm, the gradient of the
# last block's feed-forward is large, *however deep the network is*; with pre-norm, it falls like $1/\sqrt L$, so that
# many blocks together do not push harder than a few. We measure the same gradient:

# %%
depths, length = (2, 4, 8, 16), {}
for where in ("pre", "post"):
    for L in depths:
        length[where, L] = 0.0
        for trial in range(4):
            torch.manual_seed(100 * SEED + trial)
            model, windows = new_gpt(L, norm_position=where), torch.randint(512, (8, 33))
            logits = model(windows[:, :-1])  # (B, T, V)
            F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten()).backward()
            length[where, L] += model.blocks[-1].feed_forward.down_proj.weight.grad.norm().item() / 4
print("gradient of the last block's W2, relative to that with 2 blocks\n  L     " + "".join(f"{L:8}" for L in depths))
for where in ("pre", "post"):
    print(f"{where}-norm".ljust(9) + "".join(f"{length[where, L] / length[where, 2]:8.2f}" for L in depths))
print("√(2 / L) ".ljust(9) + "".join(f"{math.sqrt(2 / L):8.2f}" for L in depths))
result("pre-norm, gradient at L = 16 over L = 2", length["pre", 16] / length["pre", 2], 0.33, 0.08)
result("post-norm, gradient at L = 16 over L = 2", length["post", 16] / length["post", 2], 1.0, 0.2)

# %% [markdown]
# With post-norm, a learning rate that is right for the middle of training is too large for the first steps: hence the
# *warmup*, in which the learning rate rises slowly from zero (lesson 05). With pre-norm, Xiong et al. could leave it
# out.
#
# The pre-norm block is now complete. It has two norms, in this order:
#
# 1. attention reads the stream through the first norm; its result is added to the stream;
# 2. the feed-forward reads *the new stream* through the second norm; its result is added too.
#
# In exercise **block** you put it together. The library's version is `DecoderBlock` in `llmasos/nn/blocks.py`.

# %% [markdown]
# ## 4.6 Initialization
#
# Before the first step, the weights are random. How large should they be? GPT-1 and GPT-2 draw them from a normal
# distribution with standard deviation **0.02** (Radford et al. 2018, section 4.1), and GPT-2 divides those of the
# matrices that write into the stream, attention's $W_o$ and the feed-forward's $W_2$, by the square root of the number
# of residual layers (Radford et al. 2019, section 2.3). A block has two of them, so the factor is $1 / \sqrt{2L}$.
#
# The reason for the root is the one we know from lesson 03: variances of independent terms add up. If each of the $2L$
# writes has variance $v$, the variance of the stream grows by a factor of $1 + 2L v$; divide each write by $\sqrt{2L}$,
# and the factor is $1 + v$ at any depth. We send a random stream of standard deviation 1 through new blocks:

# %%
print("standard deviation of the stream after the last block\n  L       plain   writes / √(2L)")
for L in (2, 8, 32):
    line = f"{L:>3} "
    for writers in (1.0, 1 / math.sqrt(2 * L)):
        torch.manual_seed(SEED)
        x = torch.randn(4, 32, 64)  # (B, T, C)
        with torch.no_grad():
            for b in new_gpt(L, writers=writers).blocks:
                x = b(x)
        line += f"{x.std():10.2f}"
    print(line)
result("stream after 32 blocks, writes / √(2L)", x.std().item(), 1.4, 0.1)

# %% [markdown]
# With $v = 1$ the formula gives 2.2, 4.1 and 8.1 for the plain writes and 1.4 for the divided ones, close to what we
# measured.
#
# And why 0.02? Compare it with the width. The sum of C products of a normalized feature with a weight of standard
# deviation $s$ has standard deviation $s\sqrt C$. With 0.02 and GPT-2 small's C = 768, that is 0.55: a layer's output
# is about half as large as its normalized input, neither tiny nor huge. So 0.02 is not a law of nature but about
# $0.5 / \sqrt C$ *for that width*. Our story model has C = 64. For it, the same rule gives 0.0625, and we will use that
# for blocks and tokens (section 4.10 shows what 0.02 would have done). Biases start at 0, gains at 1.

# %% [markdown]
# ## 4.7 The position of a token
#
# Lesson 03 ended with a flaw: attention treats a text as a bag of words. The model must be given the position of each
# token. There are four ways:
#
# - **Not at all.** A causal mask alone reveals a little: the first position sees one key, the second two. Models
#   without positions do learn something about order from that (Haviv et al. 2022).
# - **Learned**: a table of T rows, one vector for each position, added to the token's embedding and trained like it
#   (GPT-2, BERT). This is simple, but a table of 1024 rows has no position 1024.
# - **Sinusoidal**: a table computed from a formula (Vaswani et al. 2017, section 3.5).
# - **Rotary**: queries and keys are rotated by an angle that depends on their position (lesson 12).
#
# The sinusoidal table has a pair of features for each of C/2 frequencies $\omega_i$, from one radian per position down
# to nearly one radian per ten thousand positions:
#
# $$ PE(p, 2i) = \sin(\omega_i p), \qquad PE(p, 2i + 1) = \cos(\omega_i p), \qquad
#    \omega_i = 10000^{-2i/C}, \quad i = 0 \dots C/2 - 1. $$
#
# Think of it as a row of clocks. The fast hands tell neighbors apart, the slow ones tell near from far, like the digits
# of a number, but smoothly. In exercise **sinusoidal** you compute the table; here is what it looks like.

# %%
T, C = 32, 16
waves = sinusoidal(T, C).float()  # (T, C)
rows, columns = [str(p) if p % 4 == 0 else "" for p in range(T)], [str(c) if c % 2 == 0 else "" for c in range(C)]
heatmap(((waves + 1) / 2).tolist(), rows, columns, "Sinusoidal positions: one row per position", "04-positions")

# %% [markdown]
# **What to see.** Rows are positions, columns are features; light is -1, dark is 1. On the left are the fast waves: the
# first pair repeats about every six rows ($2\pi$ = 6.28). To the right they get longer, and the last columns look
# constant: over 32 positions, the slowest hands hardly move.
#
# Why sine *and* cosine? Because then a shift is a rotation. By the angle addition formulas, for any distance $k$,
#
# $$ \begin{pmatrix} \sin \omega(p + k) \\ \cos \omega(p + k) \end{pmatrix} =
#    \begin{pmatrix} \cos \omega k & \sin \omega k \\ -\sin \omega k & \cos \omega k \end{pmatrix}
#    \begin{pmatrix} \sin \omega p \\ \cos \omega p \end{pmatrix}. $$
#
# The matrix depends only on the distance $k$, not on $p$. So "three to the left" is the same linear map everywhere in
# the text, and a head whose $W_q$ contains it can look three to the left from anywhere. For the same reason, the dot
# product of two positions depends only on their distance:
#
# $$ PE(p) \cdot PE(p + k) = \sum_i \left( \sin \omega_i p \, \sin \omega_i (p + k) +
#    \cos \omega_i p \, \cos \omega_i (p + k) \right) = \sum_i \cos \omega_i k. $$

# %%
k = 3
turns = torch.zeros(C, C)
for i in range(C // 2):
    angle = k * 10000 ** (-2 * i / C)
    turns[2 * i, 2 * i : 2 * i + 2] = torch.tensor([math.cos(angle), math.sin(angle)])
    turns[2 * i + 1, 2 * i : 2 * i + 2] = torch.tensor([-math.sin(angle), math.cos(angle)])
print(f"largest error of the shift by {k}, over all positions: {(waves[:-k] @ turns.T - waves[k:]).abs().max():.6f}")
for p in (0, 10, 20):
    print(f"position {p:>2} with {p}, {p + 1}, {p + 3}, {p + 6}:", waves[[p, p + 1, p + 3, p + 6]] @ waves[p])

# %% [markdown]
# In the paper's own comparison, learned and sinusoidal positions gave nearly the same results (table 3, row E).

# %% [markdown]
# ## 4.8 The whole GPT, and how large it is
#
#     ids (B, T) → token embedding + position (B, T, C) → L blocks (B, T, C) → norm → logits (B, T, V)
#
# The output layer compares the last vector with V rows of C numbers, one for each token. The embedding at the bottom is
# also a table of V rows of C numbers, one for each token. Both can use **the same table** (weight tying; Press & Wolf
# 2017). That saves V · C parameters, a lot in a small model, and what is learned about a rare word on one side helps on
# the other.
#
# How many parameters does a GPT have? Its matrices:
#
# | where | matrices | parameters |
# |---|---|---|
# | token embedding (and output, if tied) | V × C | VC |
# | learned positions | T × C | TC |
# | attention, in each block | $W_q, W_k, W_v, W_o$: C × C each | 4C² |
# | feed-forward, in each block | $W_1$: C × 4C, $W_2$: 4C × C | 8C² |
#
# Together $VC + TC + 12 L C^2$. The number of heads does not appear: more heads are narrower heads. What is missing is
# small: biases and norms. Each of the six linear layers in a block has a bias as long as its output is wide; the output
# layer has none. Each LayerNorm has a gain and a bias; there are two in each block and one after the last. In exercise
# **n_parameters** you compute the exact number.

# %%
predict(
    "GPT-2 small: V = 50257, T = 1024, C = 768, L = 12. How many million parameters does it have? And what "
    "fraction of them are embeddings?"
)

# %%
print("                    V     T     C   L       matrices          exact   embeddings")
for name, V, T, C, L, H in (
    ("GPT-2 small", 50257, 1024, 768, 12, 12),
    ("GPT-2 xl", 50257, 1024, 1600, 48, 25),
    ("ours, below", 1024, 64, 64, 3, 4),
):
    exact, matrices = n_parameters(V, T, C, L, H, True), (V + T) * C + 12 * L * C**2
    print(f"{name:<13}{V:>8}{T:>6}{C:>6}{L:>4}{matrices:>15,}{exact:>15,}{(V + T) * C / exact:>13.0%}")

# %% [markdown]
# The biases and norms of GPT-2 are a thousandth of its parameters. A rule of thumb: a large GPT has about $12 L C^2$
# parameters.

# %% [markdown]
# ## 4.9 The loss: predict the next token, everywhere
#
# A causal model returns a prediction at *every* position, and each one is about the token that comes next. So a text
# provides its own labels: the **labels are the text, shifted by one**.
#
#     position        0         1        2         3
#     ids             Rosa      planted  the       seed
#     label           planted   the      seed      —
#
# $$ \text{loss} = -\frac{1}{N} \sum_{b, t} \ln p(\text{ids}_{b, t+1} \mid \text{ids}_{b, 0}, \dots,
#    \text{ids}_{b, t}), $$
#
# with $p$ the softmax of `logits[b, t]`, over all N pairs of a position and a next token. One text of T tokens gives
# T - 1 predictions at once; the causal mask makes sure that none of them can see its answer. Three things are easy to
# get wrong, and none of them raises an error:
#
# - **The shift.** `logits[:, t]` belongs to `ids[:, t + 1]`: drop the last of the logits and the first of the ids.
#   (Many data loaders cut windows of T + 1 tokens and shift there; then the loss must not shift again.)
# - **Padding.** Texts of unequal length are padded at the end to make a rectangle. Padding is not text: a prediction
#   whose *label* is padding does not count, neither in the sum nor in N.
# - **The mean.** One sum over the batch, divided once by N. A mean of the rows' means would give a token in a short row
#   more weight than one in a long row.
#
# In numbers: take a batch of two rows, one with three tokens and one with two. Suppose that the model gave the correct
# next tokens probability 1/2 and 1/4 in the first row and 1/8 in the second.

# %%
p_next = torch.tensor(
    [[0.5, 0.25], [0.125, 0.9]]
)  # (B, T - 1); the last one is for padding, so its value does not matter
label_is_real = torch.tensor([[True, True], [True, False]])
losses = -p_next.log()
print(f"correct: {losses[label_is_real].mean():.3f}")
print(f"padding counted: {losses.mean():.3f}   mean of the rows' means: {(losses[0].mean() + losses[1, 0]) / 2:.3f}")

# %% [markdown]
# In exercise **next_token_loss** you compute it from the logits. And now two checks that cost nothing and find most
# bugs.
#
# **The loss before the first step.** A model that has learned nothing gives every token probability 1/V. Its loss is
# $\ln V$, whatever the text. If the loss is far above that, your initial weights are too large; if it is below, the
# labels leak.
#
# **Overfit one batch.** Train on the same few windows again and again. A model with enough parameters must memorize
# them, down to a loss near 0. If it does not, something is broken, and more data will not help.
#
# Here are our text and our model. The byte-pair encoding of lesson 02 cuts the text into tokens from a vocabulary of
# 1,024, with a special token between stories. To keep the training time to one minute, the model reads only two types
# of stories: those about lost things and those about storms.

# %%
T, C, L, BATCH, RATE = 64, 64, 3, 16, 0.02


def read(split, n):
    """Return the stories with two of the plots among the first n of a split, and each one's entropy in nats.

    There are 14 equally likely plots. A model that reads only two of them has ln 7 nats less to predict.
    """
    chosen = [story for story in stories(split, n) if story.plot in ("lost", "storm")]
    return [story.text for story in chosen], [story.nats - math.log(7) for story in chosen]


def encode(texts):
    """Return the ids of all texts in one row, with a special token before, between and after them."""
    end = tokenizer.special_tokens[END_OF_TEXT]
    return np.array([end] + [id for text in texts for id in [*tokenizer.encode(text), end]])


(train_texts, _), (val_texts, nats) = read("train", 8000), read("val", 300)
tokenizer = BPETokenizer.train(train_texts, 1024)
V = tokenizer.vocab_size
train_ids, val_ids = encode(train_texts), encode(val_texts)
train, val = Windows(train_ids, T), Windows(val_ids, T, "val").validation_windows()
FLOOR = sum(nats) / (len(val_ids) - 1)
print(f"{len(train_ids):,} training tokens, {len(val_ids):,} held-out tokens, a vocabulary of {V}")
print("the text begins:", tokenizer.decode(train_ids[1:20].tolist()), "…")

# %% [markdown]
# The model is the library's `GPT`, and we take parts out of it or put yours into it.


# %%
class Zero(nn.Module):
    """A sublayer that returns zeros: added to the stream, it changes nothing."""

    def forward(self, x):
        return torch.zeros_like(x)


class YourNorm(nn.Module):
    """A LayerNorm that calls your function."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        return layer_norm(x, self.norm.weight, self.norm.bias, self.norm.eps).to(x.dtype)


class YourBlock(nn.Module):
    """A block of the library whose parts are combined by your function."""

    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def forward(self, x, mask=None, rotary=None, cache=None):
        b = self.parts

        def attention(h):
            return b.attention(h, mask=mask, causal=cache is None, rotary=rotary, cache=cache)

        return block(x, attention, b.feed_forward, b.attention_residual.norm, b.feed_forward_residual.norm)


def story_gpt(change=""):
    """Return a new GPT for our stories; `change` names the one thing that is different."""
    torch.manual_seed(SEED)
    std = 0.02 if change == "initialized with 0.02" else 0.5 / math.sqrt(C)
    positions = "none" if change == "without positions" else "learned"
    model = new_gpt(L, C, T, std, 1 / math.sqrt(2 * L), vocab_size=V, positions=positions)
    for b in model.blocks:
        for residual in ("attention_residual", "feed_forward_residual"):
            if layer_norm is not None:
                getattr(b, residual).norm = YourNorm(getattr(b, residual).norm)
            if change == "without norms":
                getattr(b, residual).norm = nn.Identity()
            if change == "without residuals":
                setattr(b, residual, NoResidual(getattr(b, residual).norm))
        if change == "without feed-forward":
            b.feed_forward = Zero()
    if change == "without norms":
        model.final_norm = nn.Identity()
    if block is not None and change != "without residuals":
        model.blocks = nn.ModuleList(YourBlock(b) for b in model.blocks)
    return model


def loss_of(model, windows):
    """Return the mean next-token loss of windows (B, T + 1), in nats."""
    if next_token_loss is not None:
        return next_token_loss(model(windows[:, :-1]), windows[:, :-1], torch.ones_like(windows[:, :-1]).bool())
    logits = model(windows[:, :-1])  # (B, T, V)
    return F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())


def train_model(model, batches):
    """Train on these batches (N, B, T + 1) and return the points of a smoothed loss curve."""
    optimizer, points, smooth = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), fused=True), [], None
    for step, windows in enumerate(batches):
        optimizer.param_groups[0]["lr"] = RATE * min(1, (step + 1) / 20) * (1 - step / len(batches))
        loss = loss_of(model, windows)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        smooth = loss.item() if smooth is None else 0.9 * smooth + 0.1 * loss.item()
        if step % 10 == 9:
            points.append((step + 1, smooth))
    return points


def stream(steps):
    """Return `steps` batches of training windows (B, T + 1)."""
    return [torch.from_numpy(train.batch(SEED, step * BATCH, BATCH)) for step in range(steps)]


@torch.no_grad()
def held_out(model):
    """Return the loss on the held-out stories, in nats per token."""
    objective = CausalLM()
    batch = objective.collate(val)
    return objective.loss_sums(model, batch)["causal"].item() / objective.n_targets(batch)["causal"]


predict(f"a vocabulary of {V} tokens: what is the loss of a new model? And after 100 steps on the same four windows?")

# %%
model, few = story_gpt(), stream(1)[0][:4]  # (4, T + 1)
print(f"ln V = {math.log(V):.2f}")
result("loss before the first step, nats", loss_of(model, few).item(), 7.03, 0.1)
with torch.no_grad():
    just_read = model(few[:, :-1]).softmax(dim=-1).gather(-1, few[:, :-1, None]).mean()  # p of the last token read
print(f"the new model repeats the last token with p = {just_read:.3f}; 1 / V = {1 / V:.3f}")
train_model(model, [few] * 100)
result("loss after 100 steps on one batch, nats", loss_of(model, few).item(), 0.0, 0.02)

# %% [markdown]
# Both checks pass. The first loss is a little *above* ln V, because the initial logits are not all equal: they have a
# standard deviation of about 0.5, which adds half their variance, 0.125, to the loss. The second loss is nearly zero:
# using its positions and the first few tokens, the model has memorized four windows. (It has learned nothing else, of
# course.)
#
# The line between the two shows a curiosity of tied embeddings. The stream of a new model still holds the embedding of
# the last token, and the output layer compares it with the very same table, so the model tends to repeat the last
# token. That is hardly ever the correct one, so the loss barely shows it.
#
# ## 4.10 What does each part contribute?
#
# Now we train the same model on the real stories, once with everything and then five times with one thing changed (an
# *ablation*). All see the same batches in the same order and start from the same seed:
#
# - **without residuals**: each part passes on only its own output (`NoResidual` above);
# - **without norms**: attention, the feed-forward and the output layer read the stream as it is;
# - **without positions**: nothing is added to the token embeddings;
# - **without feed-forward**: three rounds of attention with nothing between them;
# - **initialized with 0.02**: everything is there, but all matrices start as in GPT-2, which is twelve times as wide.
#
# For comparison, two baselines without a network, both from counting (lesson 01): one knows only how frequent each
# token is, the other is a table of pairs that also knows the last token.

# %%
frequent = np.bincount(train_ids, minlength=V) + 1.0  # (V,)
frequent /= frequent.sum()
pairs = 10 * np.tile(frequent, (V, 1))  # (V, V): smoothed with ten pseudo-counts per row, in overall proportions
np.add.at(pairs, (train_ids[:-1], train_ids[1:]), 1.0)
pairs /= pairs.sum(axis=1, keepdims=True)
print(f"frequencies only: {-np.log(frequent[val_ids[1:]]).mean():.2f} nats per token")
print(f"a table of pairs: {-np.log(pairs[val_ids[:-1], val_ids[1:]]).mean():.2f} nats per token")
predict(
    "which loss is worst: the one without residuals, norms, positions or feed-forward? And which of the four parts "
    "hardly matters?"
)

# %%
lines, batches = {}, stream(60)
for change, expected, spread in (
    ("everything", 2.54, 0.15),
    ("without residuals", 5.55, 0.04),
    ("without norms", 3.58, 0.35),
    ("without positions", 2.41, 0.15),
    ("without feed-forward", 4.85, 0.5),
    ("initialized with 0.02", 4.78, 0.5),
):
    model = story_gpt(change)
    lines[change] = train_model(model, batches)
    result(f"{change}, nats per token", held_out(model), expected, spread)
curves(lines, "A GPT with one thing changed", "step", "training loss", "04-parts")

# %% [markdown]
# **What to see.**
#
# - **Without residuals** the model has learned how frequent each token is, and nothing else: its loss is that of the
#   frequencies. Section 4.4 explained why. If all positions hold the same vector, the prediction is the same
#   everywhere, and the best constant prediction is the frequencies. And this happens with only three blocks.
# - **Without feed-forward** it takes long to beat the frequencies. Attention can fetch information, but little can be
#   made of what it fetches.
# - **Without norms** it learns, but more slowly. Three blocks are a shallow network; section 4.6 showed how the stream
#   grows with depth.
# - **Without positions** it learns *no worse*, even a little faster. Was section 4.7 for nothing? The causal mask
#   reveals some of the order; our windows begin anywhere in a story, so the position in the window means little; and in
#   60 steps, the position vectors are mostly noise that is added to every token. What happens with more steps is a good
#   topic for exercise 7.
# - **Initialized with 0.02**, right for a width of 768, our narrow model loses more than without norms.
#
# These are *early* losses, after 60 steps: they show how fast a model gets going, not how good it would be in the end.
# The table of pairs still beats them all; in the next section it will not. In all five of our seeds "without positions"
# came first, then "everything", then "without norms", and "without residuals" last. The other two vary a lot from seed
# to seed and change places: when they improve on the frequencies is a matter of chance.
#
# ## 4.11 Stories
#
# We now train the model with everything for four times as many steps, and then it tells stories. Next to its loss we
# print the floor, which we know because we know the generator: the entropy of the held-out stories themselves (name,
# place, thing, weather, and which of several sentences), in nats per token.

# %%
model = story_gpt()
points = train_model(model, stream(240))
result("the story model, nats per token", held_out(model), 0.764, 0.03)
print(f"the floor:                        {FLOOR:.3f}")

# %%
options = SamplingOptions(150, temperature=0.7, top_p=0.95, seed=SEED)
for text in generate(model, tokenizer, ["Once there was a"], options, n_samples=3):
    print(f"Once there was a{text.text}\n")

# %% [markdown]
# **What to see.** Nobody taught the model what a word is, or a sentence, or a story. Most sentences are now correct on
# their own, and they come in a sensible order: first a child and a place, then a thing or a storm, then fear, a search,
# and an ending. What goes wrong is the *cast*. A boy may have a girl's name, "he" becomes "she", the ram of the
# beginning is a foal in the middle and a goat at the end. The form of a sentence can be learned from nearby words; who
# it is about was said far back, perhaps outside the window of 64 tokens.
#
# There is still a good deal of room between the loss and the floor. `python train.py gpt-storyworld` trains a larger
# model of the same design (4 blocks, C = 128, 128 tokens) for about two minutes, on all types of stories.
#
# ## 4.12 What was left out
#
# - **How to train well**: AdamW, warmup and gradient clipping, used above without a word of explanation: lesson 05.
# - **How to choose the next token** (`SamplingOptions`), and the cache that makes generation fast: lesson 06.
# - **Dropout**, which zeroes random features during training. Our model sees each story once or twice and has no time
#   to memorize them.
# - **RMSNorm, rotary positions, gated feed-forwards**: what has since replaced three parts of this block: lesson 12.
# - **Blocks that attend in both directions** (BERT, lesson 07), and blocks that attend to another text (lesson 10).
# - **What the stream holds** at each depth: lesson 20.
#
# **Further reading.** He, Zhang, Ren & Sun 2016, *Deep Residual Learning for Image Recognition*, and by the same,
# *Identity Mappings in Deep Residual Networks*. Ba, Kiros & Hinton 2016, *Layer Normalization*. Hendrycks & Gimpel
# 2016, *Gaussian Error Linear Units*. Vaswani et al. 2017, *Attention Is All You Need*, sections 3.3 to 3.5. Press &
# Wolf 2017, *Using the Output Embedding to Improve Language Models*. Radford et al. 2018, *Improving Language
# Understanding by Generative Pre-Training* (GPT-1), section 4.1. Radford et al. 2019, *Language Models are
# Unsupervised Multitask Learners* (GPT-2), section 2.3. Xiong et al. 2020, *On Layer Normalization in the Transformer
# Architecture*. Dong, Cordonnier & Loukas 2021, *Attention Is Not All You Need: Pure Attention Loses Rank Doubly
# Exponentially with Depth*. Haviv et al. 2022, *Transformer Language Models without Positional Encodings Still Learn
# Positional Information*.
#
# **Now you.** `python -m lessons check 4` creates your file, `lessons/mine/04_block.py`, with seven exercises. When the
# checks pass, `python -m lessons run 4 --mine` builds the story model from your parts.
