# %% [markdown]
# # 20 Looking inside
#
# - **Question:** A model does something right. Where in it does that happen, and how would you prove it?
# - **Teaches:** induction heads and the cliff at which they appear; ablation, activation patching, attribution of a
#   logit, linear probes, edits; which of them shows a cause, and the control that each one needs
# - **Minutes:** 120 to read and solve, 1 to run
#
# You need: attention and its weights (lesson 03), the block, the residual stream and the norm (lesson 04),
# cross-entropy in nats (lesson 01).
#
# Letters: B texts, T positions, H heads, C width of the residual stream, D width of a head, V size of the vocabulary,
# L blocks. All logarithms are natural.

# %% [setup]
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# %%
import math

import torch
from torch import nn
from torch.nn import functional as F

from lessons.machinery import training_loop
from lessons.machinery.lesson_api import part, predict, result, seed
from lessons.machinery.pictures import curves, heatmap
from llmasos import hub
from llmasos.interpret import (
    Site,
    activation_patching,
    attention_maps,
    intervened,
    logit_attribution,
    logit_difference,
    recorded,
    replaced,
    sites_of,
    train_probe,
)
from llmasos.models import GPT, ModelConfig

SEED = seed()
torch.manual_seed(SEED)
torch.set_num_threads(min(2, torch.get_num_threads()))
torch.set_printoptions(precision=2, sci_mode=False)

# `run 20 --mine` puts your own functions here
induction_score = part("induction_score", None)
mean_ablation = part("mean_ablation", None)
patching_effect = part("patching_effect", None)
logit_shares = part("logit_shares", None)
ridge_probe = part("ridge_probe", None)
rank_one_edit = part("rank_one_edit", None)

# %% [markdown]
# ## 20.1 Looking is not enough
#
# All numbers inside a model are there to be read. That is a great advantage over a brain, and yet it does not answer
# the question. A vector of 64 numbers does not say what it means, and a picture of attention weights shows where a head
# looked, but not whether it mattered. So interpretability has two halves:
#
# - **Reading.** Record an activation, and show that something can be computed from it: a map, a probe, an attribution.
# - **Changing.** Replace an activation, and see what the model says then: an ablation, a patch, an edit.
#
# Reading finds what goes *along* with a behavior; only changing shows what *causes* it. In both cases the question is:
# compared with what? Each measurement of this lesson has a **control**, a case in which we know that there is nothing
# to be found.
#
# The library has one mechanism for both halves. A `Site` is a place in the model: the residual stream before a block,
# what a sublayer adds to it, or the output of one head. `recorded(model, sites)` keeps the tensors there;
# `intervened(model, {site: change})` applies a function to them and puts the results in their place.
#
# Recall from lesson 04 what flows there. With norms before the sublayers, the stream at one position is a plain sum,
#
# $$ x_L = e + \sum_{l=1}^{L} (a_l + f_l), $$
#
# of the embedding $e$ and what each attention $a_l$ and each feed-forward $f_l$ has added. Nothing is ever overwritten;
# every part of the model reads a sum, and adds to it.

# %% [markdown]
# ## 20.2 Induction
#
# We begin with something that every language model of sufficient depth can do: continue a sequence that it has seen
# only once, in its context. *"Aunt Petronella opened the door. I have never seen Aunt …"* No table of counts can know
# this name. The rule is: **find the earlier occurrence of the current token, and predict what followed it.** A head
# that looks there is called an **induction head** (Elhage et al. 2021; Olsson et al. 2022).
#
# To see it alone, take texts in which nothing else helps. Draw $n = 16$ different tokens (`N` in the code) at random
# out of $V = 32$; after them come 16 pairs: a random one of these tokens, except the last, and the token that followed
# it.
#
#     7 3 19 12 … 25 8 | 3 19 | 25 8 | 7 3 | …
#
# The second token of each pair can be known, by induction, and nothing else in the text can. How large is the loss
# there?
#
# - A model that knows nothing: $\log 32 = 3.47$ nats.
# - A model that knows which tokens occur in the text, but not which one follows which: the answer is one of the $n - 1$
#   tokens that have a predecessor, but not the current token itself, all equally likely. If the current token is the
#   first one of the text, there are $n - 1$ candidates, otherwise $n - 2$:
#   $\big[(n-2) \log (n-2) + \log (n-1)\big] / (n-1) = 2.64$ nats.
# - A model with induction: 0.
#
# Our models have attention and nothing else, no feed-forward, so that there is little to understand. How many layers
# does it take? **One cannot do it.** What a single layer of attention writes at position $t$ is
# $\sum_s w_{ts} W x_s$, and a vector $x_s$ depends on the token at $s$ and on the place $s$ alone. For the answer, the
# layer would have to give more weight to the token *after* the earlier occurrence. But neither the key at that place,
# nor the query, knows what came before that place. The scores of all candidates are the same, apart from the effect of
# their own token and place, which are random. So no setting of the weights does better than 2.64 nats, on average.
#
# **Two layers can** (Elhage et al. 2021). A head of the first layer looks at the previous token, and writes down which
# one it was. The stream at each position then says: "I came after 3." In the second layer, the query of a 3 looks for
# a key that says so. The keys of the second layer are made from the *output* of the first, which is called
# **composition**.
#
# This argument can be tested. If the only thing missing in one layer is "I came after 3", then one layer must be able
# to do it as soon as we *tell* it the previous token. That is our control: the same model with one layer, where each
# embedding is the sum of two, for the token and for the one before it. (Olsson et al. 2022, argument 2, do this with
# "smeared keys".)

# %%
V, N, PAIRS = 32, 16, 16
T = N + 2 * PAIRS - 1  # the last token is only a target
SEEN = ((N - 2) * math.log(N - 2) + math.log(N - 1)) / (N - 1)  # nats: which tokens, but not which follows which


def draw_texts(n, generator):
    """Texts (n, T + 1): N different tokens, then pairs of neighbors among them."""
    first = torch.rand(n, V, generator=generator).argsort(dim=1)[:, :N]
    j = torch.randint(N - 1, (n, PAIRS), generator=generator)
    pairs = torch.stack([first.gather(1, j), first.gather(1, j + 1)], dim=2)  # (n, PAIRS, 2)
    return torch.cat([first, pairs.flatten(1)], dim=1)


class Nothing(nn.Module):
    """In place of a feed-forward: it adds zero."""

    def forward(self, x):
        return torch.zeros_like(x)


class TokenAndPrevious(nn.Module):
    """An embedding that also knows the token before: the sum of two tables."""

    def __init__(self, tokens):
        super().__init__()
        self.tokens, self.previous = tokens, nn.Embedding(*tokens.weight.shape)
        nn.init.normal_(self.previous.weight, std=0.02)

    def forward(self, ids):
        return self.tokens(ids) + F.pad(self.previous(ids)[:, :-1], (0, 0, 1, 0))  # one place to the right


def attention_only(n_layers, previous=False):
    """A GPT with one head per layer and no feed-forward."""
    torch.manual_seed(SEED)
    model = GPT(
        ModelConfig(vocab_size=V, context_length=T, n_layers=n_layers, n_heads=1, d_model=64, d_ff=1, bias=False,
                    tie_embeddings=False)
    )  # fmt: skip
    for block in model.blocks:
        block.feed_forward = Nothing()
    if previous:
        model.token_embedding = TokenAndPrevious(model.token_embedding)
    return model


def train(model, draw, steps, look=None):
    """Train on new texts at every step. look(step) is called every ten steps, before the step."""
    generator = torch.Generator().manual_seed(SEED)

    def loss(step):
        if look is not None and step % 10 == 0:
            look(step)
        ids = draw(32, generator)  # (B, T + 1)
        return F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())

    training_loop.train(model, loss, steps + 1, 0.01, seed=SEED)


test = draw_texts(128, torch.Generator().manual_seed(1_000_000 + SEED))


@torch.no_grad()
def loss_of_pairs(model):
    """The loss of the second token of each pair, in nats."""
    logits, targets = model(test[:, :-1])[:, N::2], test[:, N + 1 :: 2]
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()


# %%
predict("the loss of two layers while they learn: a straight line down, a slow curve, or something else?")

# %%
lines, models = {}, {}
for name, n_layers, previous, steps in (
    ("two layers", 2, False, 250),
    ("one layer", 1, False, 250),
    ("one layer with the previous token", 1, True, 150),
):
    models[name] = attention_only(n_layers, previous)
    points = lines[name] = []
    train(
        models[name], draw_texts, steps,
        lambda step, model=models[name], points=points: points.append((step, loss_of_pairs(model))),
    )  # fmt: skip
curves(
    lines | {"which tokens occur (formula)": [(0, SEEN), (250, SEEN)]},
    "The second token of a pair", "step", "nats", "20-cliff",
)  # fmt: skip
two = lines["two layers"]
falls = [step for step, loss in two if loss < SEEN]
print(f"two layers: below {SEEN:.2f} nats for the first time at step {falls[0]}")
print(f"formula for one layer: at least {SEEN:.3f}")
result("one layer, nats", lines["one layer"][-1][1], 2.83, 0.12)
result("two layers, nats", two[-1][1], 0.04, 0.06)
result("one layer with the previous token, nats", lines["one layer with the previous token"][-1][1], 0.06, 0.25)
steepest = max(a[1] - b[1] for a, b in zip(two, two[4:], strict=False))
result("two layers: the largest fall within 40 steps, nats", steepest, 2.3, 0.4)

# %% [markdown]
# **What to see.** For the first hundred steps or so, the two layers do what one layer does: they learn which tokens
# occur. Nothing on the curve announces what comes next. Then the loss falls off a **cliff**: within 40 steps, by about
# 2 nats, down to nearly 0. A previous-token head is useless as long as no other head reads what it writes, and an
# induction head is useless as long as there is nothing for it to read; each of them pays off only when the other is
# there. In large models the same happens once, early in training, for all of text (Olsson et al. 2022).
#
# One layer has arrived at 2.83 nats after 250 steps, and by our argument it will never get below the line that the
# formula draws. And one layer that knows the previous token manages it, even sooner than two layers: it need not learn
# the first head. That was indeed all that was missing.
#
# (With five seeds: one layer 2.83 to 2.84, two layers 0.026 to 0.043, one layer with the previous token 0.04 to 0.14
# after 150 steps. Two layers cross the line at step 120 or 130 and lose 2.1 to 2.4 nats within 40 steps.)
#
# ### Where do the heads look?
#
# So far we have seen only losses. Now the weights. An **induction score** measures how much a head looks where it
# should: for each query whose token occurred before, the weight on the tokens that followed the earlier occurrences;
# then the mean over these queries. (Olsson et al. call it *prefix matching*.) Exercise **induction_score** asks for it.

# %%
ids = test[:, :-1]
maps = [weights[:, 0] for weights in attention_maps(models["two layers"], ids).values()]  # two times (B, T, T)
earlier = (ids[:, :, None] == ids[:, None, :]).tril(-1)  # (B, T, T): the same token, earlier
followers = F.pad(earlier, (1, 0))[:, :, :-1]  # the places after those
first_of_pair = torch.arange(T) >= N
first_of_pair[N + 1 :: 2] = False
previous_weight = maps[0].diagonal(-1, dim1=1, dim2=2)[:, : N - 1].mean().item()  # in the first N tokens
before = torch.tensor([1 / (t + 1) for t in range(1, N)]).mean().item()
at_followers = (maps[1] * followers).sum(dim=2)[:, first_of_pair].mean().item()
equal = torch.tril(torch.ones(T, T)) / torch.arange(1, T + 1)[:, None]  # equal weights on all that is visible
by_chance = (equal * followers).sum(dim=2)[:, first_of_pair].mean().item()
print(f"layer 0, weight on the previous token: {previous_weight:.2f}; with equal weights it would be {before:.2f}")
print(f"layer 1, weight on what followed:      {at_followers:.2f}; with equal weights it would be {by_chance:.2f}")
if induction_score is not None:
    print(f"your induction_score for the first text: {induction_score(maps[1][:1], ids[0]).item():.2f}")
result("layer 1: weight on what followed, first of each pair", at_followers, 0.65, 0.12)
rows = list(range(N, N + 16, 2))
heatmap(
    maps[1][0, rows, :N].tolist(), [f"query {ids[0, t]}" for t in rows], [str(token) for token in ids[0, :N].tolist()],
    "Layer 1: where eight pairs look", "20-induction",
)  # fmt: skip

# %% [markdown]
# **What to see.** In each row the darkest square is one to the *right* of the query's own token: the head looks at what
# followed. (Where a pair occurs for the second time, some of the weight goes to its first copy, outside the picture.)
# The head of the first layer is less tidy. It gives the previous token two to three times what equal weights would, and
# that is enough: the second layer only needs to know which token came before, not which came long before.

# %% [markdown]
# ## 20.3 Ablation: what is lost without it?
#
# That a head looks somewhere does not prove that it matters. So remove it. What should take its place? Zero is a bad
# choice: a head's output has a mean that later parts have come to rely on. The **mean ablation** replaces each output
# with its mean over many texts and positions, so that what is constant stays, and what *depends on the text* is gone.
# Exercise **mean_ablation** asks for it.
#
# For our two heads the theory says what must happen. With either head replaced with a constant, what is left is a model
# with one layer, and one layer cannot get below 2.64 nats.


# %%
def constant(x):
    """Mean ablation of (B, T, D)."""
    if mean_ablation is not None:
        return mean_ablation(x, torch.ones(x.shape[:2], dtype=torch.bool))
    return x.mean(dim=(0, 1)).expand_as(x)


predict("without the second head, the loss is at least 2.64. And without the first?")

# %%
for layer, expected, spread in ((0, 3.45, 0.4), (1, 3.45, 0.4)):
    with intervened(models["two layers"], {Site("head", layer, 0): constant}):
        result(
            f"two layers without the head of layer {layer}, nats", loss_of_pairs(models["two layers"]), expected, spread
        )

# %% [markdown]
# **What to see.** Without either one, induction is gone, as the theory says. The loss is not just above 2.64; it is
# about 3.45 nats (3.39 to 3.51 with five seeds), nearly the 3.47 of knowing nothing: what is left was trained together
# with the other head, and has learned nothing that would help without it.
#
# Note what ablation does *not* say. Both heads are necessary, but ablation does not tell us which of them does what.
# And in a large model the opposite trap is common: a head is removed and nothing is lost, because another one takes
# over (Wang et al. 2022, "backup heads").

# %% [markdown]
# ## 20.4 A model of stories
#
# A tool should also be tried on a model that was not made for it. The library ships with `storyworld-gpt`, five blocks
# and 1.2 million weights, which has read 180,000 stories about the children of a valley. It has never been told what a
# pronoun is, but it knows who is a girl:

# %%
stories, tokenizer = hub.load_pretrained("storyworld-gpt")[:2]
SHE, HE = (tokenizer.encode(word)[0] for word in (" she", " he"))  # each is one token


def opening(name):
    """The beginning of a story (T,)."""
    return torch.tensor(tokenizer.encode_prompt(f"Everyone in the valley knew {name}. One windy morning"))


@torch.no_grad()
def she_minus_he(ids):
    """The logit of "she" minus that of "he", after a text (T,)."""
    logits = stories(ids[None])[0, -1]
    return (logits[SHE] - logits[HE]).item()


for name in ("Anna", "Paul"):
    print(f"Everyone in the valley knew {name}. One windy morning ▢: she - he = {she_minus_he(opening(name)):.2f}")

# %% [markdown]
# ## 20.5 Patching: "Anna … she" against "Paul … he"
#
# Which activations carry the difference between the two? Take one out of the first run, put it into the second, and see
# whether the model changes its mind. This is **activation patching** (Vig et al. 2020; Meng et al. 2022). The text that
# the activation comes from is called the **clean** one, the other the **corrupted** one. They differ in a single token,
# so that everything else is its own control.
#
# As a measure, take the difference of two logits, $d = z_\text{she} - z_\text{he}$, because the logits themselves may
# all rise together without changing any probability. The **effect** of a patch is the restored fraction of the
# difference,
#
# $$ \text{effect} = \frac{d_\text{patched} - d_\text{corrupted}}{d_\text{clean} - d_\text{corrupted}}. $$
#
# It is 0 if nothing changes, and 1 if the model answers as for the clean text. For example, with the differences 2
# (clean), -2 (corrupted) and 0 (patched), it is 0.5. Exercise **patching_effect** asks for it.
#
# We patch the residual stream before each block, and after the last, at each position. Some of the results are known
# beforehand. Before block 0 the stream is the embedding, and the texts differ in the name alone: so the effect is 1 at
# the name and 0 elsewhere. After the last block, only the last position is read, so it is 1 there and 0 elsewhere.
# Positions before the name see nothing of it, so they are 0 in every row. In between, the difference must travel from
# the name to the end.

# %%
predict("before each of five blocks, and after the last: in which row is the difference no longer at the name?")

# %%
clean, corrupted = opening("Anna"), opening("Paul")
place = int((clean != corrupted).nonzero())  # the position of the name
patching = activation_patching(stories, clean, corrupted, logit_difference(SHE, HE))
tokens = [tokenizer.token_text(id) for id in corrupted.tolist()]
heatmap(
    patching.restored.clamp(0, 1).tolist(), [f"before block {n}" for n in range(5)] + ["after the last"],
    tokens, "The stream of Anna in the text of Paul", "20-patching",
)  # fmt: skip
print("row by row:  at the name   at the end   elsewhere, largest")
for n, effects in enumerate(patching.restored):
    rest = effects.clone()
    rest[[place, -1]] = 0
    print(f"{n:>10} {effects[place]:12.2f} {effects[-1]:12.2f} {rest.abs().max():12.2f}")
if patching_effect is not None:
    site = Site("residual", 2)
    with torch.no_grad():
        runs = [stories(ids[None])[0, -1] for ids in (clean, corrupted)]
        with recorded(stories, [site]) as values:
            stories(clean[None])
        with intervened(stories, {site: replaced(values[site], place)}):
            patched = stories(corrupted[None])[0, -1]
    print(f"your patching_effect, before block 2, at the name: {patching_effect(*runs, patched, SHE, HE).item():.2f}")
result("before block 0, at the name", patching.restored[0, place].item(), 1.0, 0.001)
result("after the last block, at the end", patching.restored[-1, -1].item(), 1.0, 0.001)
result("before block 4, at the name", patching.restored[4, place].item(), 1.0, 0.03)
result("before block 4, at the end", patching.restored[4, -1].item(), 0.03, 0.03)
result("before the name, anywhere", patching.restored[:, :place].abs().max().item(), 0.0, 0.001)
by_head = activation_patching(stories, clean, corrupted, logit_difference(SHE, HE), "head")
best = int(by_head.restored[:, -1].argmax())
result("the strongest head, at the end", by_head.restored[best, -1].item(), 0.99, 0.05)
print(f"the strongest head at the end: head {by_head.sites[best].head} of block {by_head.sites[best].layer}, "
      f"effect {by_head.restored[best, -1]:.2f}")  # fmt: skip

# %% [markdown]
# **What to see.** The known corners are exactly as predicted; that is the check of the method. Even before block 4, the
# last one, all of the difference is still at the name (1.00) and next to nothing at the end (0.03). Then block 4
# carries it to the end of the text, in one step, and a single head of it does nearly all the work (0.99). At no other
# position is there anything to see: the model does not spread what it knows about the name, it fetches it where it is
# needed. That is what attention is for.
#
# The effects of the heads need not add up to 1: what a head writes goes through the blocks after it, and they are not
# linear.

# %% [markdown]
# ## 20.6 Attribution: a logit is a sum
#
# The stream is a sum, and the logit of a token is nearly a linear function of it: the last norm, then a dot product
# with the token's row $u$ of the output layer. Only the norm's division is not linear. **Direct logit attribution**
# freezes it: take the square root as the constant that it is for this text (Elhage et al. 2021). With $c(p) = p - \bar
# p$, where $\bar p$ is the mean of the C numbers of $p$, and the norm's weight $\gamma$ and bias $\beta$,
#
# $$ z = \sum_{\text{parts } p} \underbrace{\frac{c(p)}{\sqrt{\mathrm{Var}(x_L) + \varepsilon}} \cdot (\gamma \odot u)
#    }_{\text{share of } p} + \; \beta \cdot u, $$
#
# because the mean of a sum is the sum of the means ($\odot$ multiplies number by number). The shares add up to the
# logit *exactly*. They show what each part writes *directly*; what it does by way of later parts is counted there.
# Exercise **logit_shares** asks for them.
#
# Take the two layers of 20.2, and a text that ends after the first token of its first pair.

# %%
predict("of the right answer's logit: which part has the largest share, the embedding, the first head or the second?")

# %%
induction = models["two layers"]
text, answer = test[0, : N + 1], int(test[0, N + 1])
shares = logit_attribution(induction, text, answer)
for name in ("embedding", "0.head.0", "1.head.0"):
    print(f"{name:>10}: {shares[name]:7.3f}")
with torch.no_grad():
    logit = induction(text[None])[0, -1, answer].item()
print(f"{'sum':>10}: {sum(shares.values()):7.3f}\n{'logit':>10}: {logit:7.3f}")
result("sum of the shares minus the logit", sum(shares.values()) - logit, 0.0, 0.001)
means = {"0.head.0": [], "1.head.0": []}
for ids in test[:64]:
    each = logit_attribution(induction, ids[: N + 1], int(ids[N + 1]))
    for name, values in means.items():
        values.append(each[name])
second = sum(means["1.head.0"]) / 64
print(f"mean over 64 texts: first head {sum(means['0.head.0']) / 64:.2f}, second head {second:.2f}")
if logit_shares is not None:
    sites = [Site("residual", 0), *sites_of(induction, "attention")]
    with torch.no_grad(), recorded(induction, sites) as values:
        induction(text[None])
        norm, reader = induction.final_norm, induction.lm_head.weight[answer]
        parts = torch.stack([values[site][0, -1] for site in sites])
        mine = logit_shares(parts, norm.weight, torch.zeros(64), reader, induction.config.norm_eps)
    print(f"your logit_shares: {mine}, sum {mine.sum():.3f}")

# %% [markdown]
# **What to see.** The sum of the shares is the logit, to the last digit shown. Nearly all of the logit comes from the
# second head, the one that looks at what followed. The first head hardly writes anything for the *output*; it writes
# for the second head to read. But without it there is no induction (20.3). So a small share does not mean that a part
# is unimportant: attribution sees the last step only.

# %% [markdown]
# ## 20.7 A probe: does it know what came before?
#
# According to 20.2, the stream between the two layers must say of each token which one it came after. Let us look for
# that. Think of the 32 tokens as places, and of a text as a tour through 16 of them: then the stream at each stop
# should know the *previous place*, and the second layer uses it to find the *next place*.
#
# A **linear probe** is a linear classifier from an activation to something that we hope to find there (Alain & Bengio
# 2016). We take the stream at stops 1 to 15, before block 1, and try to read off the previous place. The probe is
# tested on different tours from those that it was trained on.
#
# Does success mean that the model has *learned* it? Not yet; a probe is a little model that can learn by itself. The
# control is **the same probe on the same model before training**, with random weights. Random attention mixes the
# tokens of a text, too, so something can always be read off; only what the trained model has *beyond* that was learned.
# (Another control is to assign the labels at random, Hewitt & Liang 2019.) Guessing is right in 1 of 32 cases. Before
# block 0 the stream holds nothing but the stop itself: the previous place can be any of the 31 others, all equally
# likely, and no probe can do better than 1 in 31.
#
# The library fits a logistic regression by iteration. Least squares has a closed form. With the activations $X$ (N, D)
# and one-hot targets $Y$ (N, K), both with their means over the N examples subtracted, minimize
# $\lVert X W^\top - Y \rVert^2 + \lambda \lVert W \rVert^2$. The gradient is
# $2 \, (W X^\top X - Y^\top X + \lambda W)$; where it is zero,
#
# $$ W^\top = (X^\top X + \lambda \, 1)^{-1} X^\top Y, \qquad b = \bar y - W \bar x. $$
#
# Here $1$ is the identity matrix, and the bias $b$ puts back the means $\bar x$ and $\bar y$ that were subtracted.
# Exercise **ridge_probe** asks for it.

# %%
predict("how often is the probe right before block 1, in the trained model and with random weights?")

# %%
examples = draw_texts(400, torch.Generator().manual_seed(2_000_000 + SEED))[:, : N + 1]
tours = draw_texts(200, torch.Generator().manual_seed(3_000_000 + SEED))[:, : N + 1]
untrained = attention_only(2).eval()  # the weights from which training started


def stops(model, ids, layer):
    """The stream before a block at stops 1 to 15, (n · 15, C), and the previous places (n · 15,)."""
    with torch.no_grad(), recorded(model, [Site("residual", layer)]) as values:
        model(ids)
    return values[Site("residual", layer)][:, 1:N].flatten(0, 1), ids[:, : N - 1].flatten()


right = {}
for name, each, layer in (
    ("trained, before block 0", induction, 0),
    ("trained, before block 1", induction, 1),
    ("random weights, before block 1", untrained, 1),
):
    x, labels = stops(each, examples, layer)
    probe_of_this = train_probe(x, labels, steps=40)
    x_test, labels_test = stops(each, tours, layer)
    right[name] = (probe_of_this(x_test) == labels_test).float().mean().item()
    print(f"{name:>31}: {right[name]:.3f}")
    if (each, layer) == (induction, 1):
        probe = probe_of_this
        if ridge_probe is not None:
            weight, bias = ridge_probe(x, labels, V, 1e-3)
            mine = ((x_test @ weight.T + bias).argmax(dim=1) == labels_test).float().mean()
            print(f"{'with your ridge_probe':>31}: {mine:.3f}")
result("before block 0 (1 in 31 by chance)", right["trained, before block 0"], 1 / 31, 0.025)
result("previous place, trained", right["trained, before block 1"], 0.97, 0.04)
result("previous place, random weights", right["random weights, before block 1"], 0.15, 0.08)

# %% [markdown]
# **What to see.** The model has never been asked for the previous place, and yet the probe finds it in 96 to 98 cases
# out of 100 (five seeds). With random weights the same probe is right in 14 to 16 out of 100: a random average over the
# tour holds a trace of everything. That is why the control is needed; and it is how we know that the 96 were learned.
# Compare this with the map of the first head in 20.2: it gives the previous token only about 0.3 of its weight. Looking
# at the weights alone, you might have thought that the model knows what came before only vaguely.

# %% [markdown]
# ## 20.8 An edit: what if it had come after another place?
#
# A probe shows that something is there; it does not show that the model *uses* it. The test is an edit (Li et al. 2023,
# "Othello-GPT"): change the activation so that the *probe* reads something else. If the model then behaves as if that
# were true, it reads the direction that the probe has found.
#
# Here the prediction is definite. Take two stops of a tour: $X$, which came after $A$, and $Y$, which came after $B$.
# Change the two activations so that the probe reads "came after B" at $X$ and "came after A" at $Y$. Not a single token
# is changed. Then ask for what follows $A$. The tour says $X$; the edited model should say $Y$.
#
# What is the smallest such change? The probe prefers the new label to the old one by $(w_\text{new} - w_\text{old})
# \cdot x + b_\text{new} - b_\text{old}$. So we look for the nearest vector whose dot product with a direction $w$ has a
# given value $v$. A change orthogonal to $w$ achieves nothing, so the shortest one is a multiple of $w$, and $(x + a w)
# \cdot w = v$ gives
#
# $$ x' = x + \frac{v - w \cdot x}{\lVert w \rVert^2} \, w
#       = \Big(1 - \frac{w w^\top}{\lVert w \rVert^2}\Big) x + \frac{v}{\lVert w \rVert^2} \, w. $$
#
# The matrix $w w^\top$ has rank one: the activation stays as it is, except in a single direction. Exercise
# **rank_one_edit** asks for it. We choose $v$ such that the probe's logit of the new label is 10 above that of the old
# one. The control is a change of the same length in a random direction.

# %%
predict("how often does the model name Y after the edit? And after random changes of the same length?")

# %%
MARGIN = 10.0
generator, number = torch.Generator().manual_seed(SEED), torch.arange(len(tours))
two_stops = torch.rand(len(tours), N - 1, generator=generator).argsort(dim=1)[:, :2] + 1  # two of 1 … 15
stop_x, stop_y = two_stops.unbind(dim=1)
asked = tours.clone()
A, B = asked[number, stop_x - 1], asked[number, stop_y - 1]
asked[:, N] = A  # the last token: what follows A?
X, Y = asked[number, stop_x], asked[number, stop_y]
between = Site("residual", 1)
with torch.no_grad(), recorded(induction, [between]) as values:
    before_edit = induction(asked)[:, N].argmax(dim=1)
stream = values[between]


def edit(stop, old, new):
    """The change (n, C) of the stream at a stop after which the probe prefers new to old by MARGIN."""
    x = stream[number, stop]
    if rank_one_edit is not None:
        w = (probe.weight[new] - probe.weight[old]) / probe.scale  # (n, C): on activations as they are
        constant = probe.bias[new] - probe.bias[old] - w @ probe.mean
        return rank_one_edit(x, w, MARGIN - constant) - x
    logits = (x - probe.mean) / probe.scale @ probe.weight.T + probe.bias  # (n, V): of the probe
    preference = logits[number, new] - logits[number, old]
    directions = [probe.steering(a, b) for a, b in zip(old.tolist(), new.tolist(), strict=True)]
    return (MARGIN - preference)[:, None] * torch.stack(directions)


@torch.no_grad()
def next_place(change_x, change_y):
    """The place that the model names, with the stream changed at both stops."""

    def change(x):
        x = x.clone()
        x[number, stop_x] += change_x
        x[number, stop_y] += change_y
        return x

    with intervened(induction, {between: change}):
        return induction(asked)[:, N].argmax(dim=1)


def random_like(change):
    """Changes of the same lengths in random directions."""
    return F.normalize(torch.randn(change.shape, generator=generator), dim=1) * change.norm(dim=1, keepdim=True)


change_x, change_y = edit(stop_x, A, B), edit(stop_y, B, A)
after_edit = next_place(change_x, change_y)
after_noise = next_place(random_like(change_x), random_like(change_y))
length = change_x.norm(dim=1).mean() / stream[number, stop_x].norm(dim=1).mean()
print(f"length of an edit: {length:.2f} of the stream's")
print("                 names X   names Y")
for name, named in (("before", before_edit), ("edited", after_edit), ("random change", after_noise)):
    print(f"{name:>15} {(named == X).float().mean():8.2f} {(named == Y).float().mean():9.2f}")
result("Y is named after the edit", (after_edit == Y).float().mean().item(), 0.98, 0.08)
result("Y is named after a random change", (after_noise == Y).float().mean().item(), 0.0, 0.06)
result("X is named before", (before_edit == X).float().mean().item(), 1.0, 0.05)

# %% [markdown]
# **What to see.** Not one token has changed, and the model names $Y$ instead of $X$ in 96 to 99 cases out of 100 (five
# seeds). Each of the two changes is about half as long as the stream itself, in one direction of 64. Random changes of
# the same length, also at both stops, leave the answer unchanged in nine cases out of ten, and practically never
# produce $Y$. So the direction that the probe has found is one that the second layer *reads*. If the edit had failed,
# the probe would have found something that merely goes along with the previous place. That happens, and without the
# edit you would not notice.
#
# It also closes the argument of 20.2. We claimed that the first layer writes "I came after A" and that the second layer
# looks for it. Now we have written it ourselves, and the second layer found it.

# %% [markdown]
# ## 20.9 A weight is not an explanation
#
# In 20.2 we looked at attention weights, and they told the truth. They need not. What a head contributes to a logit is
#
# $$ \sum_s w_s \, (v_s \cdot r), $$
#
# where $v_s$ is the value of key $s$, and $r$ is what reads it (the output projection and the output layer, taken
# together). A weight of 0.9 on a key whose $v_s \cdot r$ is 0 contributes nothing, and 0.1 on a key where it is 100
# decides everything (Kobayashi et al. 2020; Jain & Wallace 2019). Many heads look at the first token most of the time,
# because their weights must sum to 1 even when there is nothing to find, and its value is small (Xiao et al. 2023). In
# exercise **looks_but_does_not_matter** you build such a head.
#
# Here is what each tool can and cannot show:
#
# | tool | shows | does not show | control |
# |---|---|---|---|
# | attention map | where a head looked | what it took, whether it mattered | equal weights |
# | attribution | what a part writes to a logit | what later parts make of it | the sum is the logit |
# | probe | that something can be read off | that the model reads it | random weights, random labels |
# | ablation | what is lost without a part | what it does; what a spare part does | a part that does nothing |
# | patching | which activation carries a difference | what else it carries | texts that differ in one word |
# | edit | that a direction is read | that it is the only one | a random direction |

# %% [markdown]
# ## 20.10 What was left out
#
# - **Real models.** The same functions work on any GPT, BERT or Transformer that this library opens.
# - **Features without a label.** Sparse autoencoders look for directions that nobody has thought of in advance
#   (Bricken et al. 2023; Cunningham et al. 2023).
# - **Circuits**: all parts that a behavior needs, and the connections between them (Wang et al. 2022), found
#   automatically (Conmy et al. 2023).
# - **Edits of weights.** ROME changes a fact with a rank-one change of a weight matrix (Meng et al. 2022).
# - **The logit lens**: the output layer applied to the stream after each block (`llmasos.interpret.logit_lens`).
#
# **Further reading.** Elhage et al. 2021, *A Mathematical Framework for Transformer Circuits*. Olsson et al. 2022,
# *In-context Learning and Induction Heads*. Alain & Bengio 2016, *Understanding Intermediate Layers Using Linear
# Classifier Probes*. Hewitt & Liang 2019, *Designing and Interpreting Probes with Control Tasks*. Li et al. 2023,
# *Emergent World Representations*. Meng et al. 2022, *Locating and Editing Factual Associations in GPT*. Wang et al.
# 2022, *Interpretability in the Wild*. Kobayashi et al. 2020, *Attention is Not Only a Weight*. Jain & Wallace 2019,
# *Attention is not Explanation*. Xiao et al. 2023, *Efficient Streaming Language Models with Attention Sinks*.
#
# **Now you.** `python -m lessons check 20` creates your file, `lessons/mine/20_looking_inside.py`, with eight
# exercises. When the checks pass, `python -m lessons run 20 --mine` looks inside the models with your functions.
