# %% [markdown]
# # 04 The GPT block
#
# - **Question:** What does it take to turn attention into a deep network that learns, and then tells stories?
# - **Teaches:** the GPT block piece by piece: feed-forward, residual connections, LayerNorm before or after, first
#   weights, positions; the whole GPT and its size; the next-token loss; which piece is needed for what, measured
# - **Minutes:** 120 to read and solve, 1 to run
#
# You need lesson 03 (attention), lesson 02 (tokens), and from lesson 01 what a loss in nats and its floor are.
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
# ## 4.1 Gathered, and then?
#
# The model of lesson 03 ended with attention, and guessed right from what it had gathered. It stayed far from the
# floor. What is it that attention cannot do?
#
# Once the weights are fixed, attention is a *mean*: $y_t = \sum_s w_{ts} W_v x_s$. A mean can bring facts together, but
# it draws no conclusions from them. Take two facts of a story:
#
# - $a$ = 1 if Maya wants the skipping rope, else 0;
# - $b$ = 1 if Greta wants it, else 0.
#
# If exactly one of them wants it, it is used in peace: 1. If both do, they quarrel, and if neither does, it lies in
# the grass: 0. Suppose that attention has laid $a$ and $b$ side by side in one vector. Is there a linear function
# $u a + v b + c$ with the right answers? From (0, 0) follows $c = 0$, from (1, 0) and (0, 1) then $u = v = 1$, and so
# (1, 1) gets 2, where it should be 0. No. (This is the exclusive *or*, on which the perceptrons of the 1960s foundered:
# Minsky & Papert 1969.) Nor does a second linear layer help, because a linear function of a linear function is linear.
#
# It takes a **bend**. With $\operatorname{relu}(z) = \max(0, z)$ two hidden numbers are enough:

# %%
facts = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])  # (4, 2): four worlds, two facts
hidden = F.relu(facts @ torch.ones(2, 2) + torch.tensor([0.0, -1.0]))  # (4, 2): relu(a + b), relu(a + b - 1)
print("in peace:", hidden @ torch.tensor([1.0, -2.0]))  # (4,)

# %% [markdown]
# The first hidden number counts the wishes, the second is there only if there are two. Linear, bend, linear: that is
# the whole idea of the next section.

# %% [markdown]
# ## 4.2 The feed-forward
#
# After attention, every position goes **by itself** through two linear layers with a bend between them (Vaswani et al.
# 2017, section 3.3, equation 2):
#
# $$ \operatorname{FFN}(x) = \operatorname{act}(x W_1 + b_1)\, W_2 + b_2, \qquad
#    W_1: C \times 4C, \quad W_2: 4C \times C $$
#
# The middle is four times as wide as the model (512 and 2048 in the paper). Each of the 4C hidden numbers is a
# question about the position, the column of $W_1$; if the answer is yes, the row of $W_2$ is added to the result. There
# should be many questions, but the result must have width C again.
#
# The paper's bend is the ReLU. GPT and BERT have the **GELU** (Hendrycks & Gimpel 2016): the number times the
# probability that a normal random number is below it,
#
# $$ \operatorname{gelu}(z) = z \, \Phi(z) = \frac{z}{2}\left(1 + \operatorname{erf}\frac{z}{\sqrt 2}\right). $$

# %%
z = torch.linspace(-3, 2, 101)
curves(
    {"ReLU": list(zip(z.tolist(), F.relu(z).tolist(), strict=True)),
     "GELU": list(zip(z.tolist(), gelu(z).tolist(), strict=True))},
    "Two bends", "z", "act(z)", "04-bends",
)  # fmt: skip
print(f"the lowest point of the GELU: {gelu(z).min():.2f} at z = {z[gelu(z).argmin()]:.2f}")

# %% [markdown]
# **What to see.** Far from zero the two agree: nothing on the left, $z$ on the right. Between them the GELU is round,
# and dips a little below zero. The slope of the ReLU is exactly 0 left of zero, so a hidden number that is negative for
# every text gets no gradient and never comes back; the GELU's slope is exactly 0 at a single point.
#
# "By itself" can be tested as we tested masks in lesson 03: change one position, and see who notices.

# %%
feed_forward = FeedForward(d_model=8, d_ff=32, activation="gelu")
text = torch.randn(1, 5, 8)  # (B, T, C)
changed = text.clone()
changed[:, 3] += 1.0
predict("position 3 of five is changed. Which positions of the feed-forward's output move? (attention: 3 and 4)")

# %%
print(["moved" if m else "same" for m in (feed_forward(text) != feed_forward(changed)).any(dim=-1)[0]])

# %% [markdown]
# Only position 3. So the two parts of a block share the work: **attention moves information between positions and does
# not think; the feed-forward thinks and moves nothing.** It also has most of the weights: attention has four matrices
# C × C, together 4C²; the feed-forward has 2 · 4C² = 8C², twice as many.

# %% [markdown]
# ## 4.3 Depth, and why it needs residual connections
#
# One round of gathering and thinking is not enough. "*She* gave *the cabbage* every drop": who *she* is must be found
# out first, and only then can one ask what she planted. So let blocks follow each other, each with weights of its own.
# What happens to the gradient on its long way back?
#
# Let $x_{\ell+1} = f_\ell(x_\ell)$ for $\ell = 0 \dots L-1$. By the chain rule the gradient at the bottom is the one at
# the top, multiplied by all the derivatives between them:
#
# $$ \frac{\partial E}{\partial x_0} = \frac{\partial E}{\partial x_L} J_{L-1} J_{L-2} \cdots J_0,
#    \qquad J_\ell = \frac{\partial f_\ell}{\partial x_\ell}. $$
#
# If each factor shrinks a vector to a sixth of its length, what is left after 24 of them is $6^{-24} \approx 10^{-19}$.
# He et al. (2016, *Deep Residual Learning*) let each part only **add** to what is there:
#
# $$ x_{\ell+1} = x_\ell + f_\ell(x_\ell), \qquad
#    \frac{\partial E}{\partial x_0} = \frac{\partial E}{\partial x_L} (1 + J_{L-1}) \cdots (1 + J_0). $$
#
# Multiply this out: besides all types of products there is a term without any $J$. The gradient of the loss reaches
# the bottom *directly*, whatever the parts between do (equation 5 of He et al. 2016, *Identity Mappings in Deep
# Residual Networks*). In a Transformer the $x_\ell$ are called the **residual stream**: each part reads from it, and
# writes into it by addition.
#
# We measure it: 24 feed-forwards of width 64 with the first weights that torch gives them, once in a plain row, once
# with residual connections. The loss is the scalar product of what comes out with a random direction. How long is the
# gradient at each layer?


# %%
def gradient_lengths(residual, depth=24, width=64):
    """The length of the gradient that arrives in front of each layer, from the first to the last."""
    torch.manual_seed(SEED)
    layers = [FeedForward(width, 4 * width, "gelu") for _ in range(depth)]
    stream = [torch.randn(256, width, requires_grad=True)]  # 256 positions
    for layer in layers:
        x = stream[-1]
        stream.append(x + layer(x) if residual else layer(x))
    direction = torch.randn(256, width) / 16
    return [g.norm().item() for g in torch.autograd.grad((stream[-1] * direction).sum(), stream)]


predict("24 layers, no residuals: how long is the first layer's gradient, if the last one's is about 8?")

# %%
lengths = {"without residuals": gradient_lengths(False), "with residuals": gradient_lengths(True)}
for name, line in lengths.items():
    print(f"{name:<18}" + "".join(f"{line[i]:10.1e}" for i in (24, 18, 12, 6, 0)) + "   (after layer 24, 18, …, 0)")
shrinks = {name: (line[24] / line[0]) ** (1 / 24) for name, line in lengths.items()}
result("without residuals, each layer shrinks it by", shrinks["without residuals"], 6, 0.5)
result("with residuals, each layer shrinks it by", shrinks["with residuals"], 0.975, 0.01)
curves(
    {name: [(i, math.log10(g)) for i, g in enumerate(line)] for name, line in lengths.items()},
    "The gradient on its way back", "layer", "log10 of the gradient's length", "04-gradients",
)  # fmt: skip

# %% [markdown]
# **What to see.** Without residuals a straight line on a logarithmic scale: each layer takes the same factor, and the
# lowest layers learn nothing. With residuals the line is nearly level. It even rises a little toward the bottom: the
# parts add something to the gradient as well.

# %% [markdown]
# ## 4.4 LayerNorm
#
# A stream to which everybody adds has no fixed scale. It gets louder from block to block, and from one training step to
# the next; and attention's softmax and the bend of the feed-forward care about scale very much. So each part reads the
# stream through a **norm** (Ba et al. 2016, section 3). For one position with the features $x_1 \dots x_C$:
#
# $$ \mu = \frac1C \sum_c x_c, \qquad \sigma^2 = \frac1C \sum_c (x_c - \mu)^2, \qquad
#    \operatorname{norm}(x)_c = \frac{x_c - \mu}{\sqrt{\sigma^2 + \varepsilon}} \cdot g_c + b_c. $$
#
# Every detail of the formula has a reason:
#
# - **Over the features of one position**, never over positions or texts. A mean over the positions would tell each of
#   them about the future, and one over the batch would make a text depend on its neighbors. (Batch norm, from which
#   this is descended, does just that.)
# - **The variance divides by C**, not by C - 1 as in statistics (and as in torch's `var`, if one does not say
#   otherwise). Nothing is estimated here: these C numbers are all there are.
# - **ε stands inside the root**, and keeps it from being zero when all features are alike. GPT-2 has 1e-5, BERT 1e-12.
# - **Gain $g$ and bias $b$** come last, a number each for every feature. They start at 1 and 0 and are learned: a norm
#   that could only equalize would forbid one feature to matter more than another.
#
# By hand, for one position with four features:

# %%
one = torch.tensor([1.0, 1.0, 5.0, 5.0])  # (C,)
mu = one.sum() / 4
deviations = one - mu
print(f"mean {mu:.0f}, deviations {deviations.tolist()}, variance {(deviations * deviations).sum() / 4:.0f}")
print("normed:           ", F.layer_norm(one, (4,)))
print("ten times as loud:", F.layer_norm(10 * one, (4,)))
print("seven added:      ", F.layer_norm(one + 7, (4,)))

# %% [markdown]
# Loudness and offset are gone; what is left is the *shape* of the vector. Exercise **layer_norm** asks for it in any
# number of dimensions.
#
# Now a question that is more interesting than it looks. In section 4.3 the plain row failed because its scale went
# wrong at every layer. A norm in front of each part repairs the scale. Then do we still need residuals? We build a GPT
# of 24 blocks, take the residuals out, leave the norms in, and let it read a text of 32 random tokens.


# %%
class NoResidual(nn.Module):
    """A part without the stream around it: only what it makes of its normed input is handed on."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x, function):
        return function(self.norm(x))


def new_gpt(L, C=64, T=32, std=None, writers=1.0, **config):
    """A GPT whose blocks have first weights of standard deviation `std` (None = 1 / √C), and its token embedding too.

    Matrices that write into the stream have `writers` times as much; positions (and without `std` tokens) have 0.02.
    """
    config = {"vocab_size": 512, "n_heads": 4, "activation": "gelu", **config}
    model = GPT(ModelConfig(context_length=T, n_layers=L, d_model=C, **config))
    for name, weight in model.named_parameters():
        if weight.dim() == 2 and name.startswith(("blocks", "token") if std else "blocks"):
            writes = name.endswith(("out_proj.weight", "down_proj.weight"))
            nn.init.normal_(weight, std=(std or C**-0.5) * (writers if writes else 1.0))
    return model


predict("after 24 blocks without residuals: how alike are the vectors of two positions of the text? (cosine, -1 to 1)")

# %%
alike = {}
for residual in (True, False):
    torch.manual_seed(SEED)
    model, ids = new_gpt(24), torch.randint(512, (1, 32))
    with torch.no_grad():
        x = model.token_embedding(ids) + model.position_embedding(torch.arange(32))  # (1, T, C)
        line = []
        for b in model.blocks:
            unit = F.normalize(x[0], dim=-1)  # (T, C), every row of length 1
            line.append(((unit @ unit.T).sum().item() - 32) / (32 * 31))  # the mean cosine of two different positions
            if not residual:
                b.attention_residual = NoResidual(b.attention_residual.norm)
                b.feed_forward_residual = NoResidual(b.feed_forward_residual.norm)
            x = b(x)
    name = "with residuals" if residual else "without"
    alike[name] = list(enumerate(line))
    print(f"{name:<15} cosine before block 0, 4, 8, …, 20: " + "  ".join(f"{line[i]:5.2f}" for i in range(0, 24, 4)))
result("without residuals, cosine before the last block", alike["without"][-1][1], 1.0, 0.01)
curves(alike, "How alike the positions of a text become", "block", "mean cosine", "04-alike")

# %% [markdown]
# **What to see.** Without residuals, after half a dozen blocks *all positions hold the same vector*. The norms have
# kept the scale; what is lost is the text. Attention is a mean, and a mean of means of means is one gray number.
# (Dong et al. 2021 prove that stacked attention alone collapses like this, doubly exponentially fast.) With residuals
# the positions grow alike too, but each keeps what it was, because nothing was ever taken out of the stream. So the
# residual stream has two jobs: it brings the gradient down, and the text up.

# %% [markdown]
# ## 4.5 Before or after?
#
# Where does the norm stand? The Transformer of 2017, and BERT after it, norm the *sum*:
#
# $$ \text{post-norm:} \quad x \leftarrow \operatorname{norm}(x + f(x)). $$
#
# GPT-2 and nearly everything since norm what the part *reads*, and leave the stream alone:
#
# $$ \text{pre-norm:} \quad x \leftarrow x + f(\operatorname{norm}(x)). $$
#
# It looks like a matter of taste, and is none. In pre-norm the straight way through the network is *really* straight:
# nothing but additions from the first block to the last. (That is why one more norm is needed at the end, before the
# output layer, which would otherwise read a stream of unknown loudness.) In post-norm the straight way goes through
# every norm. Xiong et al. (2020) worked out what follows at the first step of training: with post-norm the gradient of
# the last block's feed-forward is large, *however deep the network is*; with pre-norm it falls like $1/\sqrt L$, so
# that many blocks together do not push harder than a few. We measure the same:

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
print("gradient of the last block's W2, in parts of that with 2 blocks\n  L     " + "".join(f"{L:8}" for L in depths))
for where in ("pre", "post"):
    print(f"{where}-norm".ljust(9) + "".join(f"{length[where, L] / length[where, 2]:8.2f}" for L in depths))
print("√(2 / L) ".ljust(9) + "".join(f"{math.sqrt(2 / L):8.2f}" for L in depths))
result("pre-norm, gradient at L = 16 over L = 2", length["pre", 16] / length["pre", 2], 0.33, 0.08)
result("post-norm, gradient at L = 16 over L = 2", length["post", 16] / length["post", 2], 1.0, 0.2)

# %% [markdown]
# With post-norm a learning rate that is right in the middle of training is too large for the first steps: hence the
# *warmup*, in which the learning rate rises slowly from zero (lesson 05). Xiong et al. could leave it out with
# pre-norm.
#
# A pre-norm block is now complete. With two norms of its own, in this order:
#
# 1. attention reads the stream through the first norm; its result is added to the stream;
# 2. the feed-forward reads *the new stream* through the second norm; its result is added too.
#
# Exercise **block** has you put it together. `DecoderBlock` in `llmasos/nn/blocks.py` is the library's.

# %% [markdown]
# ## 4.6 The first weights
#
# Before the first step the weights are random. Of what size? GPT-1 and GPT-2 take normal random numbers of standard
# deviation **0.02** (Radford et al. 2018, section 4.1), and GPT-2 divides those of the matrices that write into the
# stream, $W_o$ of the attention and $W_2$ of the feed-forward, by the root of the number of residual layers (Radford
# et al. 2019, section 2.3). A block has two of them, so the factor is $1 / \sqrt{2L}$.
#
# The root has the reason that we know from lesson 03: variances of independent things add. If each of the $2L$ writes
# has variance $v$, the stream at the end has $1 + 2L v$ times the variance of the start; divide each write by
# $\sqrt{2L}$, and it is $1 + v$ for any depth. We send a random stream of standard deviation 1 through new blocks:

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
# With $v = 1$ the formula gives 2.2, 4.1 and 8.1 for the plain writes, and 1.4 for the divided ones: about what came
# out.
#
# And why 0.02? Look at it beside the width. The sum of C products of a normed number with a weight of standard
# deviation $s$ has standard deviation $s\sqrt C$. With 0.02 and GPT-2 small's C = 768 that is 0.55: what a layer makes
# of a normed vector is half as loud as the vector, neither a whisper nor a scream. So 0.02 is no law of nature, but
# about $0.5 / \sqrt C$ *for that width*. Our story model has C = 64. For it, the same rule gives 0.0625, and we will
# use that for blocks and tokens (and see in section 4.10 what 0.02 would have done). Biases start at 0, gains at 1.

# %% [markdown]
# ## 4.7 Where a token stands
#
# Lesson 03 ended with a flaw: attention takes a text for a bag of words. Each token has to be told where it stands.
# Four ways:
#
# - **Not at all.** A causal mask alone gives a little away: the first position sees one key, the second two. Models
#   without positions do learn something about order from that (Haviv et al. 2022).
# - **Learned**: a table of T rows, one vector for each position, added to the token's embedding and trained like it
#   (GPT-2, BERT). Simple; but position 1024 of a table of 1024 rows does not exist.
# - **Sinusoidal**: a table that is computed (Vaswani et al. 2017, section 3.5).
# - **Rotary**: queries and keys are turned by their position (lesson 12).
#
# The sinusoidal table has a pair of features for each of C/2 frequencies $\omega_i$, from one radian per position down
# to nearly one in ten thousand:
#
# $$ PE(p, 2i) = \sin(\omega_i p), \qquad PE(p, 2i + 1) = \cos(\omega_i p), \qquad
#    \omega_i = 10000^{-2i/C}, \quad i = 0 \dots C/2 - 1. $$
#
# It is a row of clocks. The fast hands tell neighbors apart, the slow ones near from far, as the digits of a number
# do, but smoothly. Exercise **sinusoidal** asks for the table; here is what it looks like.

# %%
T, C = 32, 16
waves = sinusoidal(T, C).float()  # (T, C)
rows, columns = [str(p) if p % 4 == 0 else "" for p in range(T)], [str(c) if c % 2 == 0 else "" for c in range(C)]
heatmap(((waves + 1) / 2).tolist(), rows, columns, "Sinusoidal positions: a row for each position", "04-positions")

# %% [markdown]
# **What to see.** Rows are positions, columns features; light is -1, dark is 1. On the left the fast waves: the
# first pair repeats about every six rows ($2\pi$ = 6.28). To the right they get longer; the last columns look constant:
# over 32 positions the slowest hands hardly move.
#
# Why sine *and* cosine? Because then a shift is a rotation. By the addition theorems, for any distance $k$,
#
# $$ \begin{pmatrix} \sin \omega(p + k) \\ \cos \omega(p + k) \end{pmatrix} =
#    \begin{pmatrix} \cos \omega k & \sin \omega k \\ -\sin \omega k & \cos \omega k \end{pmatrix}
#    \begin{pmatrix} \sin \omega p \\ \cos \omega p \end{pmatrix}. $$
#
# The matrix depends on the distance $k$ only, not on $p$. So "three to the left" is one and the same linear map
# everywhere in the text, and a head whose $W_q$ contains it can look three to the left from anywhere. For the same
# reason the scalar product of two positions depends on their distance alone:
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
# In the paper's own comparison, learned and sinusoidal positions came out nearly the same (table 3, row E).

# %% [markdown]
# ## 4.8 The whole GPT, and how large it is
#
#     ids (B, T) → token embedding + position (B, T, C) → L blocks (B, T, C) → norm → logits (B, T, V)
#
# The output layer compares the last vector with V rows of C numbers, one for each token. The embedding at the bottom is
# a table of V rows of C numbers, one for each token. They can be **the same table** (weight tying; Press & Wolf 2017).
# That saves V · C numbers, which is a lot in a small model, and what is learned about a rare word on one side helps on
# the other.
#
# How many numbers does a GPT learn? Its matrices:
#
# | where | matrices | numbers |
# |---|---|---|
# | token embedding (and output, if tied) | V × C | VC |
# | learned positions | T × C | TC |
# | attention, in each block | $W_q, W_k, W_v, W_o$: C × C each | 4C² |
# | feed-forward, in each block | $W_1$: C × 4C, $W_2$: 4C × C | 8C² |
#
# Together $VC + TC + 12 L C^2$. The number of heads does not occur: more heads are narrower heads. What is missing are
# the small fry, biases and norms. Each linear layer in a block (six of them) has a bias, as long as its output is wide;
# the output layer has none; each LayerNorm has a gain and a bias, and there are two in a block and one after the last.
# Exercise **n_parameters** asks for the exact number.

# %%
predict("GPT-2 small: V = 50257, T = 1024, C = 768, L = 12. How many millions? And which part of it is embeddings?")

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
# The biases and norms of GPT-2 are a thousandth of it. A rule for the road: a large GPT has about $12 L C^2$
# parameters.

# %% [markdown]
# ## 4.9 The loss: guess the next token, everywhere
#
# A causal model returns a guess at *every* position, and each guess is about the token that comes next. So a text of
# tokens is its own exercise book: the **labels are the text, shifted by one**.
#
#     position        0         1        2         3
#     ids             Rosa      planted  the       seed
#     label           planted   the      seed      —
#
# $$ \text{loss} = -\frac{1}{N} \sum_{b, t} \ln p(\text{ids}_{b, t+1} \mid \text{ids}_{b, 0}, \dots,
#    \text{ids}_{b, t}), $$
#
# with $p$ the softmax of `logits[b, t]`, over all N pairs of a position and a next token. One text of T tokens gives
# T - 1 exercises at once; the causal mask sees to it that none of them knows its answer. Three things are easily
# got wrong, and none of them shows as an error:
#
# - **The shift.** `logits[:, t]` belongs with `ids[:, t + 1]`: of the logits the last is dropped, of the ids the first.
#   (Many data loaders cut windows of T + 1 tokens and shift there; then the loss must not shift again.)
# - **Padding.** Texts of unequal length are padded at the end to make a rectangle. Padding is not text: a guess
#   whose *label* is padding does not count, neither in the sum nor in N.
# - **The mean.** One sum over the batch, divided once by N. A mean of the rows' means weighs a token in a short row
#   more than one in a long row.
#
# In numbers: a batch of two rows with three tokens and with two. Say that the model gave the right next tokens
# probability 1/2 and 1/4 in the first row, and 1/8 in the second.

# %%
p_next = torch.tensor([[0.5, 0.25], [0.125, 0.9]])  # (B, T - 1); the last one is about padding, whatever it says
label_is_real = torch.tensor([[True, True], [True, False]])
losses = -p_next.log()
print(f"right: {losses[label_is_real].mean():.3f}")
print(f"padding counted: {losses.mean():.3f}   mean of the rows' means: {(losses[0].mean() + losses[1, 0]) / 2:.3f}")

# %% [markdown]
# Exercise **next_token_loss** asks for it from the logits on. And now two checks that cost nothing and find most bugs.
#
# **The loss before the first step.** A model that has learned nothing gives every token probability 1/V. Its loss is
# $\ln V$, whatever the text. Far above it, and your first weights are too loud; below it, and the labels leak.
#
# **Overfit one batch.** Train on the same few windows again and again. A model with enough parameters must learn them
# by heart, down to a loss near 0. If it does not, something is broken: it is not a matter of data.
#
# Here are our text and our model. The text is cut into 1,024 types of tokens by the byte-pair encoding of lesson 02,
# with a special token between stories. So that one minute is enough, the model reads stories of two kinds only, of
# things lost and of storms.

# %%
T, C, L, BATCH, RATE = 64, 64, 3, 16, 0.02


def read(split, n):
    """The stories of two kinds among the first n of a split, and what each leaves to chance, in nats.

    There are 14 kinds, equally likely. Who reads two only need not guess which two: that is ln 7 nats less.
    """
    chosen = [story for story in stories(split, n) if story.plot in ("lost", "storm")]
    return [story.text for story in chosen], [story.nats - math.log(7) for story in chosen]


def encode(texts):
    """All texts in a row, a special token before, between and after them."""
    end = tokenizer.special_tokens[END_OF_TEXT]
    return np.array([end] + [id for text in texts for id in [*tokenizer.encode(text), end]])


(train_texts, _), (val_texts, nats) = read("train", 8000), read("val", 300)
tokenizer = BPETokenizer.train(train_texts, 1024)
V = tokenizer.vocab_size
train_ids, val_ids = encode(train_texts), encode(val_texts)
train, val = Windows(train_ids, T), Windows(val_ids, T, "val").validation_windows()
FLOOR = sum(nats) / (len(val_ids) - 1)
print(f"{len(train_ids):,} tokens to learn from, {len(val_ids):,} to test on, {V} kinds")
print("it begins:", tokenizer.decode(train_ids[1:20].tolist()), "…")

# %% [markdown]
# The model is the library's `GPT`, and we take parts out of it, or put yours into it.


# %%
class Nothing(nn.Module):
    """A part that makes nothing: added to the stream, it changes nothing."""

    def forward(self, x):
        return torch.zeros_like(x)


class YourNorm(nn.Module):
    """A LayerNorm that calculates with your function."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        return layer_norm(x, self.norm.weight, self.norm.bias, self.norm.eps).to(x.dtype)


class YourBlock(nn.Module):
    """A block of the library whose parts are put together by your function."""

    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def forward(self, x, mask=None, rotary=None, cache=None):
        b = self.parts

        def attention(h):
            return b.attention(h, mask=mask, causal=cache is None, rotary=rotary, cache=cache)

        return block(x, attention, b.feed_forward, b.attention_residual.norm, b.feed_forward_residual.norm)


def story_gpt(change=""):
    """A new GPT for our stories; `change` names the one thing that is different."""
    torch.manual_seed(SEED)
    std = 0.02 if change == "first weights 0.02" else 0.5 / math.sqrt(C)
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
            b.feed_forward = Nothing()
    if change == "without norms":
        model.final_norm = nn.Identity()
    if block is not None and change != "without residuals":
        model.blocks = nn.ModuleList(YourBlock(b) for b in model.blocks)
    return model


def loss_of(model, windows):
    """The mean next-token loss of windows (B, T + 1), in nats."""
    if next_token_loss is not None:
        return next_token_loss(model(windows[:, :-1]), windows[:, :-1], torch.ones_like(windows[:, :-1]).bool())
    logits = model(windows[:, :-1])  # (B, T, V)
    return F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())


def train_model(model, batches):
    """Train on these batches (N, B, T + 1); returns the points of a smoothed loss curve."""
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
    """`steps` batches of training windows (B, T + 1)."""
    return [torch.from_numpy(train.batch(SEED, step * BATCH, BATCH)) for step in range(steps)]


@torch.no_grad()
def held_out(model):
    """The loss over the held-out stories, in nats per token."""
    objective = CausalLM()
    batch = objective.collate(val)
    return objective.loss_sums(model, batch)["causal"].item() / objective.n_targets(batch)["causal"]


predict(f"{V} types of tokens: what is the loss of a new model? And after 100 steps on the same four windows?")

# %%
model, few = story_gpt(), stream(1)[0][:4]  # (4, T + 1)
print(f"ln V = {math.log(V):.2f}")
result("loss before the first step, nats", loss_of(model, few).item(), 7.03, 0.1)
with torch.no_grad():
    just_read = model(few[:, :-1]).softmax(dim=-1).gather(-1, few[:, :-1, None]).mean()  # p of the token just read
print(f"the new model would repeat the token that it has just read with p = {just_read:.3f}; 1 / V = {1 / V:.3f}")
train_model(model, [few] * 100)
result("loss after 100 steps on one batch, nats", loss_of(model, few).item(), 0.0, 0.02)

# %% [markdown]
# Both checks are passed. The first loss is a little *above* ln V, because the first logits are not all alike: they have
# a standard deviation of about 0.5, and the surprise about them is half their variance, 0.125. The second loss is
# nearly zero: with the help of its positions and its first few tokens, the model has learned four windows by heart. (It
# has learned nothing else, of course.)
#
# The line between the two is a curiosity of tied embeddings. The stream of a new model still holds the embedding of the
# token just read, and the output layer compares it with the very same table: so the model leans toward repeating what
# it has read. It is hardly ever right with that, and so its loss does not show it.
#
# ## 4.10 Which part is needed for what?
#
# Now the same model on the real stream of stories, once with everything and then five times with one thing changed. All
# see the same batches in the same order, from first weights with the same seed:
#
# - **without residuals**: each part hands on only what it made (`NoResidual` above);
# - **without norms**: attention and feed-forward read the stream as it is, and so does the output layer;
# - **without positions**: nothing is added to the token embeddings;
# - **without feed-forward**: three rounds of attention, with nothing between them;
# - **first weights 0.02**: everything is there, but all matrices begin as in GPT-2, which is twelve times as wide.
#
# Two losses that need no network stand beside them, both from counting (lesson 01): that of a guess which knows only
# how frequent each token is, and that of a table of pairs, which knows the last token too.

# %%
frequent = np.bincount(train_ids, minlength=V) + 1.0  # (V,)
frequent /= frequent.sum()
pairs = 10 * np.tile(frequent, (V, 1))  # (V, V): as if each row had been seen ten times before, in general proportions
np.add.at(pairs, (train_ids[:-1], train_ids[1:]), 1.0)
pairs /= pairs.sum(axis=1, keepdims=True)
print(f"frequencies only: {-np.log(frequent[val_ids[1:]]).mean():.2f} nats per token")
print(f"a table of pairs: {-np.log(pairs[val_ids[:-1], val_ids[1:]]).mean():.2f} nats per token")
predict("which loss is worst: without residuals, norms, positions or feed-forward? And which hardly suffers?")

# %%
lines, batches = {}, stream(60)
for change, expected, spread in (
    ("everything", 2.54, 0.15),
    ("without residuals", 5.55, 0.04),
    ("without norms", 3.58, 0.35),
    ("without positions", 2.41, 0.15),
    ("without feed-forward", 4.85, 0.5),
    ("first weights 0.02", 4.78, 0.5),
):
    model = story_gpt(change)
    lines[change] = train_model(model, batches)
    result(f"{change}, nats per token", held_out(model), expected, spread)
curves(lines, "A GPT with one thing changed", "step", "training loss", "04-parts")

# %% [markdown]
# **What to see.**
#
# - **Without residuals** the model has learned how frequent each token is, and not a thing more: its loss is that of
#   the frequencies. Section 4.4 told why. If all positions hold the same vector, the guess is the same everywhere, and
#   the best guess that is the same everywhere is the frequencies. And this with three blocks only.
# - **Without feed-forward** it gets away from the frequencies late. Attention can fetch, but hardly anything can be
#   made of what it fetches.
# - **Without norms** it learns, but later. Three blocks are a shallow network; section 4.6 showed how
#   the stream grows with depth.
# - **Without positions** it learns *no worse*, even a little faster. Was section 4.7 for nothing? The causal mask gives
#   away some order; our windows begin anywhere in a story, so that the position in the window means little; and in 60
#   steps the position vectors are mostly noise that is added to every token. How it is with more steps is a good
#   subject for exercise 7.
# - **First weights of 0.02**, right for a width of 768, cost our narrow model more than the lack of norms.
#
# These are *early* losses, of 60 steps: they tell how fast a model gets going, not how good it would be in the end. The
# table of pairs still beats them all; in the next section it will not. In all five of our seeds "without positions"
# came first, then "everything", then "without norms", and "without residuals" last. The two between them differ much
# from seed to seed and change places: it hangs on chance when they leave the frequencies behind.
#
# ## 4.11 Stories
#
# Four times as many steps for the model with everything, and it may tell stories. Beside its loss stands the floor,
# known because we know the generator: what the held-out stories themselves leave to chance (name, place, thing,
# weather, and which of several sentences), in nats for each token.

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
# **What to see.** Nothing told the model what a word is, or a sentence, or a story. Most sentences are now right by
# themselves, and they come in a sensible order: first a child and a place, then a thing or a storm, then fear, search,
# and an end. What goes wrong is the *cast*. A boy may have a girl's name, he becomes she, the ram of the beginning is a
# foal in the middle and a goat at the end. A sentence can be learned from what is near; who it is about stands far
# back, perhaps outside the window of 64 tokens.
#
# Between the loss and the floor there is still a good deal. `python train.py` trains a larger model of the same make (4
# blocks, C = 128, 128 tokens) for about two minutes, on all types of stories.
#
# ## 4.12 What was left out
#
# - **How to train well**: AdamW, warmup, clipping, which were used above without a word of explanation: lesson 05.
# - **How to choose the next token** (`SamplingOptions`), and the cache that makes it fast: lesson 06.
# - **Dropout**, which silences random features in training. Our model sees each story once or twice, and has no time to
#   learn them by heart.
# - **RMSNorm, rotary positions, gated feed-forwards**: what has replaced three parts of this block since: lesson 12.
# - **Blocks that look both ways** (BERT, lesson 07), and blocks that look across at another text (lesson 10).
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
# **Now you.** `python -m lessons check 4` creates your file, `lessons/mine/04_block.py`, with seven exercises in it.
# When the checks pass, `python -m lessons run 4 --mine` builds the story model of your parts.
