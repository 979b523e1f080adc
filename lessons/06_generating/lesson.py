# %% [markdown]
# # 06 Generating
#
# - **Question:** A model gives every next token a probability. How do you get good text out of that?
# - **Teaches:** greedy decoding and why the most likely text is not the one we want, temperature, top-k, top-p and
#   min-p, the repetition penalty, the KV cache, beam search with length normalization; each of them measured
# - **Minutes:** 120 to read and solve, 1 to run
#
# You need: entropy and nats (lesson 01), attention (lesson 03), and the GPT that we train here in one cell (lessons 04
# and 05).
#
# Dimension letters, here and throughout the library: B batch, T number of new tokens, S number of earlier tokens, C
# width of the model, H heads, D = C / H the width of one head, L layers, V size of the vocabulary, K number of beams.

# %% [setup]
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# %%
import functools
import math
import time

import numpy as np
import torch
from torch.nn import functional as F

from lessons.machinery.lesson_api import part, predict, result, seed
from lessons.machinery.pictures import choices, curves
from llmasos.datasets.storyworld import stories, valid_prefix_length
from llmasos.generation import BeamOptions, SamplingOptions, beam_search, generate, sampling
from llmasos.models import GPT, ModelConfig
from llmasos.objectives import CausalLM
from llmasos.tokenizers import BPETokenizer
from llmasos.training.optimizers import learning_rate_factor, make_optimizers, set_learning_rate
from llmasos.training.recipe import TrainingSettings

SEED = seed()
torch.manual_seed(SEED)
torch.set_num_threads(min(2, torch.get_num_threads()))
torch.set_printoptions(precision=2, sci_mode=False)

# %% [markdown]
# ## 6.1 From the next token to a text
#
# A language model answers one question: which token comes next? It answers with V numbers, the **logits** $z$, and the
# softmax turns them into probabilities. The probability of a text $y = y_1 \dots y_n$ is then the product of the
# probabilities of its tokens, each given all tokens before it. This is the chain rule of probability. It is exact, and
# it holds for every distribution:
#
# $$ P(y) = \prod_{t=1}^{n} P(y_t \mid y_1 \dots y_{t-1}), \qquad
#    \log P(y) = \sum_{t=1}^{n} \log P(y_t \mid y_1 \dots y_{t-1}). $$
#
# The last token $y_n$ marks the end of the text. Because of it, the probabilities of all texts, of all lengths, sum to
# one (as long as the model does end its texts): a model that gives probabilities to next tokens gives one to every
# possible text.
#
# So the model *is* a distribution over texts. What it does not say is what to do with it. Should we draw a text from
# it? Look for the most likely one? Something in between? This choice is called **decoding**, and it decides whether the
# same model writes well or badly. Nothing in this lesson changes a single weight.

# %% [markdown]
# ## 6.2 A model to write with
#
# We train a small GPT on the *beginnings* of stories, their first four sentences. A whole beginning fits into the
# context, and it starts and ends with the token `<|endoftext|>`. All of this is from lessons 02, 04 and 05.

# %%
SENTENCES, STEPS, BATCH, PEAK = 4, 400, 16, 0.015


def beginning(story):
    return " ".join(story.sentences[:SENTENCES])


train_texts = [beginning(story) for story in stories("train", 6000)]
val_stories = list(stories("val", 200))
val_texts = [beginning(story) for story in val_stories]
tokenizer = BPETokenizer.train(train_texts[:1000], 1024)
END, V = tokenizer.end_of_text, tokenizer.vocab_size


def encode(texts):
    return [np.array([END, *tokenizer.encode(text), END]) for text in texts]


train, val = encode(train_texts), encode(val_texts)
LONGEST = max(map(len, train + val))
config = ModelConfig(vocab_size=V, context_length=LONGEST, n_layers=2, n_heads=4, d_model=64, activation="gelu")
model, objective = GPT(config), CausalLM()
settings = TrainingSettings(optimizer="muon", learning_rate=PEAK, precision="fp32", seed=SEED)
optimizers = make_optimizers(model, settings)
shuffle = np.random.default_rng(SEED)
for step in range(STEPS):
    set_learning_rate(optimizers, PEAK * learning_rate_factor(step, STEPS, 30, "linear", 0.0))
    batch = objective.collate([train[i] for i in shuffle.integers(len(train), size=BATCH)])  # ids, targets (B, T)
    loss = objective.loss_sums(model, batch)["causal"] / objective.n_targets(batch)["causal"]
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
model.eval()


@torch.no_grad()
def surprises(texts):
    """Return for each text the nats -log P of each of its tokens under the model, including the end token."""
    ids = [torch.from_numpy(row) for row in encode(texts)]
    padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=END)  # (B, T)
    nats = F.cross_entropy(model(padded[:, :-1]).mT, padded[:, 1:], reduction="none")  # (B, T - 1)
    return [row[: len(i) - 1] for row, i in zip(nats, ids, strict=True)]


print(f"{sum(p.numel() for p in model.parameters()):,} weights, {V} tokens, at most {LONGEST} of them in a beginning")
result("held-out beginnings, nats per token", torch.cat(surprises(val_texts)).mean().item(), 0.52, 0.04)

# %% [markdown]
# The function below is all there is to generation. It starts with `<|endoftext|>`, computes logits, lets a **rule**
# turn them into probabilities, draws a token, appends it, and repeats. It writes n texts side by side, and it passes
# only the newest token to the model: everything earlier is in a cache, which section 6.8 explains. For now it is enough
# to know that the cache changes nothing but the speed.
#
# Everything that follows is a choice of `rule`: logits (B, V) → probabilities (B, V).


# %%
@torch.inference_mode()
def write(rule, n, number=0):
    """Let the model write n beginnings with a rule."""
    generator = torch.Generator().manual_seed(1000 * SEED + number)
    cache = model.make_cache(n)
    ids = torch.full((n, 1), END)  # (B, 1)
    finished = torch.zeros(n, 1, dtype=torch.bool)
    for position in range(LONGEST - 1):
        positions = torch.full((n, 1), position)
        hidden = model.decode(ids[:, -1:], positions, cache)  # (B, 1, C)
        probabilities = rule(model.lm_head(hidden[:, 0]))  # (B, V)
        token = torch.multinomial(probabilities, 1, generator=generator)  # (B, 1)
        ids = torch.cat([ids, token.masked_fill(finished, END)], dim=1)
        finished |= token == END
        if finished.all():
            break
    return [tokenizer.decode([i for i in row if i != END]) for row in ids.tolist()]


def greedy_rule(logits):
    return F.one_hot(logits.argmax(dim=-1), V).float()  # all of the probability to the most likely token


def unchanged_rule(logits):
    return logits.softmax(dim=-1)


for name, rule in (("greedy", greedy_rule), ("unchanged", unchanged_rule)):
    for text in write(rule, 3):
        print(f"{name:>9}: {text}\n")

# %% [markdown]
# **What to see.** Greedy decoding writes one text, again and again. Sampling from the *unchanged* distribution gives a
# new text each time, and sooner or later something in it goes wrong: a boy becomes *she*, a word falls apart.

# %% [markdown]
# ## 6.3 The most likely text is not the one we want
#
# **Greedy decoding** takes the most likely token at every step. This raises two separate questions.
#
# *Is the greedy text the most likely text?* Not in general. The best first step may lead to a place from which no step
# is good. To find the most likely of all texts you would have to compare all of them, and there are Vⁿ. Section 6.9
# looks for better ones.
#
# *If we had the most likely text, would we want it?* Toss a biased coin a hundred times, heads with probability 0.6.
# The most likely of all sequences is a hundred heads. It is more likely than any other single sequence, and you will
# never see it.

# %%
heads, tosses, p = 60, 100, 0.6
one_sequence = p**heads * (1 - p) ** (tosses - heads)
print(f"a hundred heads: probability {p**tosses:.1e}")
print(f"one particular sequence with 60 heads: {one_sequence:.1e}; there are {math.comb(tosses, heads):.1e} of them")
print(f"some sequence with 60 heads: {one_sequence * math.comb(tosses, heads):.3f}")
predict("the real stories and the greedy one: which has more nats per token under the model, and by how much?")

# %% [markdown]
# What you *see* of a distribution is not its peak. You see the vast number of sequences that are each improbable and
# have a surprise per toss close to the entropy (information theory calls them the **typical set**; Cover & Thomas 2006,
# chapter 3). Real text is typical too: now and then it says something that nobody could have predicted. That is what
# makes it worth reading. Let us follow the surprise, $-\log P(y_t \mid y_{<t})$, along a real text and along the greedy
# one.

# %%
greedy_text = write(greedy_rule, 1)[0]
real_nats, greedy_nats = surprises(val_texts[:1])[0], surprises([greedy_text])[0]
print(f"real:   {val_texts[0]}\ngreedy: {greedy_text}\n")
curves(
    {
        "a real text": list(enumerate(real_nats.tolist())),
        "the greedy text": list(enumerate(greedy_nats.tolist())),
    },
    "Surprise of the model", "token", "nats", "06-surprise",
)  # fmt: skip
print(f"all real texts: {torch.cat(surprises(val_texts)).mean():.2f} nats per token")
result("the greedy text, nats per token", greedy_nats.mean().item(), 0.33, 0.1)

# %% [markdown]
# **What to see.** The real text is a row of peaks: a name, a place, a thing; choices that the story could have made
# differently. In between, it is as predictable as anything. The greedy text has fewer and lower peaks. This is the
# picture of Holtzman et al. (2020, figure 2), who drew it for GPT-2 and beam search (6.9), with probability upward
# where we have surprise: human text jumps up and down, text that maximizes probability is smooth and predictable.
#
# One text hides the worst. Let greedy decoding continue forty *different* first sentences, and count how many different
# second sentences it writes.

# %%
first = [story.sentences[0] for story in val_stories[:40]]
greedy = SamplingOptions(max_new_tokens=LONGEST, temperature=0.0)


def second_sentences(prompts, texts):
    """Return what follows each prompt, up to the next period."""
    return [text[len(prompt) :].split(".")[0].strip() for prompt, text in zip(prompts, texts, strict=True)]


continued = [prompt + g.text for prompt, g in zip(first, generate(model, tokenizer, first, greedy), strict=True)]
real_second = set(second_sentences(first, val_texts[:40]))
greedy_second = second_sentences(first, continued)
most_common = max(greedy_second, key=greedy_second.count)
print(f"the most common, {greedy_second.count(most_common)} times: {most_common}")
result("real second sentences, fraction distinct", len(real_second) / 40, 1.0, 0.01)
result("greedy second sentences, fraction distinct", len(set(greedy_second)) / 40, 0.6, 0.25)

# %% [markdown]
# Forty real stories continue in forty ways. Greedy decoding continues in twenty to thirty, although it gets forty
# different beginnings. Our texts end after four sentences. Where a model continues without an end, as GPT-2 does, the
# same effect makes it repeat one sentence over and over (Holtzman et al. 2020, figure 1): a sentence that has occurred
# once is likely to occur again, and each repetition makes it more likely still.

# %% [markdown]
# ## 6.4 Temperature
#
# There is a dial between always taking the most likely token and sampling from the unchanged distribution. Divide the
# logits by a **temperature** $t$ before the softmax (Ackley, Hinton & Sejnowski 1985):
#
# $$ p_i(t) = \frac{\exp(z_i / t)}{\sum_j \exp(z_j / t)} \;\propto\; p_i^{\,1/t} $$
#
# The second form follows because $z_i = \log p_i + \text{const}$, and it shows what happens: every *ratio* of
# probabilities is raised to the power $1/t$. The logits ln 4 and ln 1 mean a ratio of 4 to 1. At $t = 1/2$ it becomes
# 16 to 1, at $t = 2$ it becomes 2 to 1. As $t \to 0$, the most likely token gets everything, which is greedy decoding;
# as $t \to \infty$, all tokens become equally likely. The order of the tokens never changes.
#
# How uncertain is the choice? Write $\beta = 1/t$ and $Z = \sum_j e^{\beta z_j}$. The entropy is
#
# $$ \mathcal{H} = -\sum_i p_i \log p_i = \log Z - \beta\, \mathrm{E}[z], \qquad
#    \frac{d\mathcal{H}}{d\beta} = \mathrm{E}[z] - \mathrm{E}[z] - \beta \frac{d\,\mathrm{E}[z]}{d\beta}
#    = -\beta\, \mathrm{Var}(z) \le 0, $$
#
# since $d \log Z / d\beta = \mathrm{E}[z]$ and $d\,\mathrm{E}[z] / d\beta = \mathrm{Var}(z)$, all under $p(t)$. So
# entropy falls as $\beta$ grows, and always rises with the temperature, from 0 to $\log V$. At which temperatures it
# rises depends on the context.


# %%
@torch.no_grad()
def next_logits(text):
    return model(torch.tensor([[END, *tokenizer.encode(text)]]))[0, -1]  # (V,)


UNCERTAIN, CERTAIN = "Once there was a", "Once there was a shy boy called Tom, who lived next to the old"
for text in (UNCERTAIN, CERTAIN):
    best = next_logits(text).softmax(-1).topk(5)
    shown = ", ".join(
        f"{tokenizer.decode([i])!r} {p:.3f}" for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    )
    print(f"… {text[-30:]}: {shown}")


def entropy(probabilities):
    return -(probabilities * probabilities.clamp(min=1e-30).log()).sum(-1)


temperatures = [0.1 * i for i in range(1, 31)]
curves(
    {f"… {text[-16:].strip()}": [(t, entropy(sampling.temperature(next_logits(text), t).softmax(-1)).item())
                         for t in temperatures] for text in (UNCERTAIN, CERTAIN)},
    f"Temperature and entropy (ln V is {math.log(V):.2f})", "temperature", "nats", "06-temperature",
)  # fmt: skip
predict("at t = 1 nearly all the probability is on sensible tokens. What happens to the texts at t = 1.5?")

# %% [markdown]
# **What to see.** Both curves only rise. After *Once there was a*, the model is uncertain for a good reason: several
# words fit. After *next to the old*, one word fits, and below $t = 1$ there is nothing to choose. But above 1 its curve
# climbs too, and soon it is the steeper one: the heat lets in a thousand tokens that make no sense there.
#
# Exercise **temperature** asks for this function. Watch out for large logits: $e^{1000}$ is infinite in floating point.

# %%
# `run 6 --mine` puts your own functions here
temperature = part("temperature", lambda logits, t: sampling.temperature(logits, t).softmax(-1))

for t in (0.5, 1.5):
    print(f"t = {t}: {write(lambda logits, t=t: temperature(logits, t), 2)[1]}\n")

# %% [markdown]
# ## 6.5 Cutting off the tail
#
# Where do the broken words come from? Not from the top of the list. One token with probability 0.0001 is harmless. But
# there are about a thousand tokens in the **tail**. How much probability do they have together?

# %%
batch = objective.collate(val[:50])
with torch.no_grad():
    probabilities = model(batch["ids"]).softmax(-1)[batch["targets"] != -100]  # (positions, V)
is_tail = probabilities < 0.01
tail = (probabilities * is_tail).sum(-1).mean().item()  # the total probability of all tokens below 1 %
print(f"{is_tail.sum(-1).float().mean():.0f} of {V} tokens are below 1 %")
result("their total probability", tail, 0.017, 0.005)
print(f"the probability that none of 70 tokens comes from this tail: {(1 - tail) ** 70:.2f}")

# %% [markdown]
# If one step goes wrong with probability $\epsilon$, all $n$ steps go well with probability $(1 - \epsilon)^n$. A small
# $\epsilon$ does not help when $n$ is a whole text. And after the first broken word, the model has to continue a text
# unlike anything it has seen. (Not everything in the tail is broken: some of it is rare but right.)
#
# So cut off the tail: choose a set $A$ of tokens, give all others probability zero, and renormalize, so that the tokens
# in the set keep their proportions and sum to one,
#
# $$ p'_i = \frac{p_i}{\sum_{j \in A} p_j} \;\text{ for } i \in A, \qquad p'_i = 0 \;\text{ otherwise.} $$
#
# In logits: set those outside the set to $-\infty$ and take the softmax. (Not to 0: $e^0 = 1$ is an ordinary weight, as
# in section 3.5.) The rules differ only in $A$.
#
# - **top-k**: the $k$ most likely tokens (Fan et al. 2018, section 5.4). If tokens tie with the $k$-th, this library
#   keeps all of them.
# - **top-p**, or nucleus sampling: the *fewest* most likely tokens that together have at least probability $p$
#   (Holtzman et al. 2020, section 3.1). Sort by probability, add up from the top, stop when the sum reaches $p$. The
#   token that crosses $p$ is in the set: without it, the set would have less than $p$.
# - **min-p**: all tokens that are at least $p$ times as likely as the most likely one, $p_i \ge p \cdot \max_j p_j$
#   (Nguyen et al. 2024). A ratio of probabilities is a difference of logits: $z_i \ge \max_j z_j + \ln p$.
#
# An example by hand. Probabilities 0.50, 0.25, 0.15, 0.10. Top-k with $k = 3$ keeps the first three. Top-p with $p =
# 0.6$ keeps two: 0.50 is not enough, 0.75 is. They become 2/3 and 1/3. Min-p with $p = 0.25$ has the threshold 0.125
# and keeps three. In tensors, top-k is a single comparison of every row with its own $k$-th largest logit:

# %%
four = torch.tensor([[0.10, 0.50, 0.15, 0.25]]).log()  # (1, V): not sorted, as a vocabulary is not
third = four.topk(3).values[:, -1:]  # (1, 1): the third largest
print(four.masked_fill(four < third, -math.inf).softmax(-1))  # 0.10 is gone; the other three sum to 1

descending, order = four.softmax(-1).sort(descending=True, stable=True)
print("sorted", descending[0], "token", order[0], "sums", descending.cumsum(-1)[0])
predict("top-k 10, top-p 0.9, min-p 0.1: which one keeps the same number of tokens, certain or not?")

# %% [markdown]
# The sums belong to the *sorted* row, so the decision is made in sorted order too, and must be mapped back to the order
# of the vocabulary. `order` says which token is at each place of the sorted row; `x.scatter(-1, order, kept)` writes
# the decision about place $i$ to token `order[i]`. (`kept[order]` does something else. Try it with three tokens on
# paper.)
#
# Now the sets for two real contexts, the uncertain one and the certain one.

# %%
for text, file in ((UNCERTAIN, "06-uncertain"), (CERTAIN, "06-certain")):
    logits = next_logits(text)[None]  # (1, V)
    order = logits[0].argsort(descending=True)[:14]
    sets = {
        "top-k 10": sampling.top_k(logits, 10),
        "top-p 0.9": sampling.top_p(logits, 0.9),
        "min-p 0.1": sampling.min_p(logits, 0.1),
    }
    names = [tokenizer.decode([i]).replace(" ", "·").replace("\ufffd", "?") for i in order.tolist()]
    kept = {name: (left[0, order] > -math.inf).tolist() for name, left in sets.items()}
    choices(names, logits.softmax(-1)[0, order].tolist(), kept, f"… {text[-16:].strip()}", file)

# %% [markdown]
# **What to see.** The bars are the model's probabilities, and the marks show which tokens each rule keeps. Top-k keeps
# ten in both. That is about right where the model is uncertain and wrong where it is certain: nine tokens remain that
# make no sense there. Top-p and min-p adapt to the shape: they keep many where many are likely, one where one is. They
# differ in where they measure from. Top-p counts from above until the sum is large enough: of nine words that fit
# equally well it may cut the last one, and a flat tail can slip in when the top has just less than $p$. Min-p measures
# down from the most likely token: whatever is nearly as likely stays, and when that token has a high probability, so
# has the threshold.
#
# Exercises **min_p** and **top_p** ask for these two. Temperature comes before them in this library's chain (penalty →
# temperature → top-k → top-p → min-p), because they look at probabilities, which temperature changes; top-k looks only
# at the order, which it does not change.

# %% [markdown]
# ## 6.6 How good is it? Measured
#
# We want two things from generated text: it should make sense, and it should not always be the same. In the storyworld,
# we can measure both.
#
# - **Possible.** We know the grammar that generates the stories, so we can test how far a text agrees with *some* story
#   that the grammar allows. `valid_prefix_length(text)` searches all derivations and returns the number of characters
#   before the first impossible one. This number as a fraction of the text, averaged over texts, is our measure of
#   sense. It is strict: the first *he* about a girl ends it.
# - **Variety.** The fraction of distinct 4-grams of words among all 4-grams of all texts, *distinct-4* (after Li et al.
#   2016, who used it for unigrams and bigrams). It depends on the number of texts: here always thirty-two.
#
# We also report the nats per token under the model itself.

# %%
N = 32
min_p = part("min_p", lambda logits, p: sampling.min_p(logits, p).softmax(-1))
top_p = part("top_p", lambda logits, p: sampling.top_p(logits, p).softmax(-1))


def distinct(texts, n=4):
    runs = [tuple(words[i : i + n]) for words in map(str.split, texts) for i in range(len(words) - n + 1)]
    return len(set(runs)) / len(runs)


@functools.cache
def possible_fraction(text):
    return valid_prefix_length(text) / max(1, len(text))


def sense(texts):
    return sum(map(possible_fraction, texts)) / len(texts)


def measure(name, texts):
    """Print a line of the table; return variety and sense."""
    nats = torch.cat(surprises(texts)).mean().item()
    variety, possible_text = distinct(texts), sense(texts)
    print(f"{name:<20} {nats:8.2f} {variety:10.2f} {possible_text:10.2f}     {texts[1][:50]}…")
    return variety, possible_text


RULES = {
    "temperature": [(f"t = {t}", lambda z, t=t: temperature(z, t)) for t in (0.4, 0.7, 1.0, 1.5)],
    "top-p": [(f"top-p {p}", lambda z, p=p: top_p(z, p)) for p in (0.5, 0.9)],
    "min-p": [(f"min-p {p}", lambda z, p=p: min_p(z, p)) for p in (0.2, 0.05)],
    "high t, then a cut": [
        ("t = 1.5, top-p 0.9", lambda z: top_p(z / 1.5, 0.9)),
        ("t = 1.5, min-p 0.05", lambda z: min_p(z / 1.5, 0.05)),
    ],
}
predict("at t = 1.5 the texts fall apart. Will top-p 0.9, after the temperature, save them? And min-p 0.05?")

# %%
print(f"{'rule':<20} {'nats':>8} {'variety':>10} {'possible':>10}")
measure("real", val_texts[:N])
measure("greedy", [greedy_text] * N)
lines, measured = {}, {}
for number, (family, rules) in enumerate(RULES.items()):
    for name, rule in rules:
        measured[name] = measure(name, write(rule, N, number))
    lines[family] = [measured[name] for name, _ in rules]
curves(lines, "More variety, less sense", "variety (distinct-4)", "possible fraction", "06-trade-off")

# %%
for name, variety, fraction, spread in (
    ("t = 0.4", 0.61, 0.47, 0.2),
    ("t = 1.0", 0.88, 0.36, 0.15),
    ("t = 1.5", 0.95, 0.14, 0.1),
    ("t = 1.5, min-p 0.05", 0.89, 0.35, 0.15),
):
    result(f"{name}: variety", measured[name][0], variety, 0.08)
    result(f"{name}: possible fraction", measured[name][1], fraction, spread)

# %% [markdown]
# **What to see.** Go down the temperatures: variety rises, sense falls. At 1.5 the variety is higher than that of real
# texts, and that is no merit: a word that does not exist is a new word. Greedy decoding has no variety at all, and
# whether its one text makes sense is a matter of luck.
#
# Look at the nats. If the model were perfect, unchanged samples (t = 1.0) would surprise it as much as real texts do,
# by 0.5 nats or a little more. They come out at 0.8. Our guess is that each slip leads the model into unfamiliar
# territory, where it slips again. Top-p 0.9 and min-p 0.05 bring the nats back to those of real texts, at nearly the
# variety of real texts. A cut leaves the good choices as they are and removes only the tail.
#
# So is a cut better than a moderate temperature? In the picture, the lines of temperature, top-p and min-p are close
# together, and a fraction from 32 texts has a standard error of about 0.05: at these temperatures, **the results do not
# decide it**. The difference shows at t = 1.5, where the tail is heavy. Min-p does not care: it cuts whatever is
# less than a twentieth as likely as the best token, however much there is of it, and the texts make as much sense as at
# t = 1 and are as varied. Top-p 0.9 has to collect 90 %, and where the best tokens have less than that after the
# heating, it collects the rest from the tail. It ends at 1.6 nats per token, min-p at 0.9. This is what min-p was made
# for (Nguyen et al. 2024).
#
# Even the most careful rule leaves half of the text impossible. Often it is a *he* that should be a *she*. Such a token
# is not in the tail: the model is simply not sure of it, and no decoding rule knows better than the model. (The results
# are means over five seeds; the tolerance is a little wider than the spread of those five.)

# %% [markdown]
# ## 6.7 Penalizing repetition
#
# Greedy decoding and low temperatures lead to repetition. The **repetition penalty** of Keskar et al. (2019, section
# 4.1) works against it. Before the softmax, the logit of every token that has already occurred is divided by some
# $\theta > 1$:
#
# $$ z'_i = z_i / \theta \;\text{ if } i \text{ has occurred}, \qquad z'_i = z_i \;\text{ otherwise.} $$
#
# There is a trap. Division makes a *positive* logit smaller, but moves a negative one toward zero, and the token that
# should be penalized becomes more likely. But logits have no natural zero: adding the same number to all of them
# changes nothing for the softmax, yet it changes everything here. So implementations, including ours, multiply where a
# logit is negative. That fixes the sign, but the strength of the rule still depends on an arbitrary offset.
#
# And should a text not repeat itself at all? A story about Rosa says *Rosa* and *she*, and ends every sentence with a
# period.

# %%
occurred = torch.tensor([True, False, True, False])
print(sampling.repetition_penalty(torch.tensor([[3.0, 3.0, -3.0, -3.0]]), occurred, 1.3))
predict("greedy from the forty first sentences, with a penalty of 1.3: more possible text, or less?")

# %%
penalty = SamplingOptions(max_new_tokens=LONGEST, temperature=0.0, repetition_penalty=1.3)
penalized = [prompt + g.text for prompt, g in zip(first, generate(model, tokenizer, first, penalty), strict=True)]
worst = max(range(40), key=lambda i: possible_fraction(continued[i]) - possible_fraction(penalized[i]))
print(f"greedy:       {continued[worst]}\nwith penalty: {penalized[worst]}\n")
for name, texts in (("greedy", continued), ("with penalty 1.3", penalized)):
    print(f"{name:<18} distinct-4 {distinct(texts):.2f}   possible {sense(texts):.2f}")
result("possible fraction lost with a penalty of 1.3", sense(continued) - sense(penalized), 0.10, 0.13)

# %% [markdown]
# **What to see.** A little more variety at best (none with two of five seeds), at a high price: a text that has used
# *she* is penalized for using it again, so it says something else. The penalty is a remedy for a model that loops.
# Where the model does not loop, it does harm.

# %% [markdown]
# ## 6.8 The KV cache: reading each token once
#
# To write token number $m + 1$, the model needs the logits at the last of $m$ positions. The naive way runs the model
# over the whole text every time:
#
#     A        → B          A is read
#     A B      → C          A and B are read; A for the second time
#     A B C    → D          …
#
# Which of these computations repeat earlier ones? In a causal model, a position sees only itself and the positions
# before it. So nothing at position 0 changes when position 1 arrives: not its vector after the first block, not the one
# after the last block, not its **keys** and **values** in any layer. The new token needs these keys and values, and
# nothing else from the past: its query is compared with the old keys, and the attention weights average the old values.
# The old *queries* are never needed again. So keep the keys and values, and process only the new token:
#
#     read A      keep k_A, v_A                               → B
#     read B      append k_B, v_B; q_B attends to k_A, k_B    → C
#     read C      append k_C, v_C; …                          → D
#
# Three things are easy to get wrong. The new token is at **position S**, the number of tokens in the cache, not at 0,
# even though it arrives alone. It must see **itself**: append first, then attend. And when T tokens arrive at once (a
# prompt), new token number $t$ is at position $S + t$ and sees the keys $s \le S + t$: the mask of section 3.5 with
# fewer queries than keys. Exercise **cached_attention** asks for one head of this.
#
# Is the result the same? Let the model read a real text at once, and then token by token through the cache.

# %%
text = torch.from_numpy(val[0])[None, :-1]  # (1, S)
with torch.no_grad():
    whole = model.lm_head(model.hidden_states(text))[0]  # (S, V): all at once
    cache, rows = model.make_cache(1), []
    for position in range(text.size(1)):
        token, positions = text[:, position : position + 1], torch.tensor([[position]])  # (1, 1), (1, 1)
        rows.append(model.lm_head(model.decode(token, positions, cache))[0, 0])
print(f"{len(rows)} × {V} logits; largest difference {(whole - torch.stack(rows)).abs().max():.0e}")

cached_attention = part("cached_attention", None)
if cached_attention is not None:
    x, table, *weights = (torch.randn(n, 16) for n in (6, 8, 16, 16, 16))
    at_once, _ = cached_attention(x, table, *weights)
    kv_cache, outs = None, []
    for piece in x.split([3, 1, 1, 1]):
        out, kv_cache = cached_attention(piece, table, *weights, kv_cache)
        outs.append(out)
    print(f"yours, whole and in four pieces: largest difference {(at_once - torch.cat(outs)).abs().max():.0e}")

# %% [markdown]
# Equal, up to rounding from a different order of summation. Now count operations. A matrix of n weights costs 2n
# operations for each token that passes through it (one multiplication and one addition per weight). With N weights in
# all matrices, a text of n tokens costs, with the cache and without,
#
# $$ 2N \cdot n \qquad\text{and}\qquad 2N \cdot (1 + 2 + \dots + n) = 2N \cdot \frac{n(n+1)}{2}, $$
#
# which is $(n+1)/2$ times as much without: 50 times for a hundred tokens. Attention comes on top, $q k^\top$ and
# weights times $v$, each 2·C operations for a pair of positions: with the cache $4 L C \cdot (1 + 2 + \dots + n)$,
# without it $4 L C \cdot (1^2 + 2^2 + \dots + n^2)$. So a cache turns n² into n for the matrices, and n³ into n² for
# attention.

# %%
predict("how many times faster are 100 tokens with a cache? The number of operations says 50.")
big = GPT(ModelConfig(vocab_size=64, context_length=100, n_layers=4, n_heads=4, d_model=256, activation="gelu")).eval()
tokens_read = []
counter = big.blocks[0].register_forward_hook(lambda module, inputs, output: tokens_read.append(output.size(1)))


@torch.inference_mode()
def write_greedily(model, n, cached):
    ids, cache = torch.tensor([[0]]), model.make_cache(1)
    for position in range(n):
        if cached:
            hidden = model.decode(ids[:, -1:], torch.tensor([[position]]), cache)
        else:
            hidden = model.hidden_states(ids)
        ids = torch.cat([ids, model.lm_head(hidden[:, -1:]).argmax(dim=-1)], dim=1)  # (1, position + 2)
    return ids


seconds, n_read = {}, {}
for cached in (False, True):
    tokens_read.clear()
    start = time.perf_counter()
    write_greedily(big, 100, cached)
    seconds[cached], n_read[cached] = time.perf_counter() - start, sum(tokens_read)
    print(f"{'with' if cached else 'without':>8} a cache: {n_read[cached]:>5,} tokens read")
counter.remove()
print(f"time without a cache, divided by time with: {seconds[False] / seconds[True]:.1f}")
result("tokens read without a cache, divided by with", n_read[False] / n_read[True], 50.5, 0.01)

# %% [markdown]
# **What to see.** Fifty times fewer operations, but not nearly fifty times faster. A processor multiplies a matrix by
# fifty vectors in far less than fifty times the time for one: with a single vector, it spends its time fetching the
# weights from memory, not multiplying (and, in a model as small as this, calling functions). That is why servers
# generate many texts in one batch: each weight is fetched once and used for all of them.
#
# **The price is memory.** Each position stores a key and a value, in every layer, for every key/value head:
#
# $$ \text{bytes} = 2 \cdot L \cdot H_{kv} \cdot D \cdot S \cdot \text{bytes per number}, $$
#
# for *each* text. (With H_kv = H it is 2·L·C·S numbers. Models with fewer key/value heads than query heads, Shazeer
# 2019 and Ainslie et al. 2023, were designed to make this number smaller; lesson 12.)


# %%
def cache_bytes(layers, kv_heads, head_size, tokens, bytes_each):
    return 2 * layers * kv_heads * head_size * tokens * bytes_each


formula = cache_bytes(config.n_layers, config.n_kv_heads, config.head_size, LONGEST, 4)
allocated = model.make_cache(1).kv.nbytes
print(f"our model: {formula:,} bytes by the formula, {allocated:,} in memory")
for name, sizes in (
    ("GPT-2 small, 1,024 tokens", (12, 12, 64, 1024, 2)),
    ("Llama 2 7B, 4,096 tokens", (32, 32, 128, 4096, 2)),
    ("Llama 3 8B, 8,192 tokens", (32, 8, 128, 8192, 2)),
):
    print(f"{name}, 2 bytes per number: {cache_bytes(*sizes) / 2**20:,.0f} MiB per text")

# %% [markdown]
# ## 6.9 Beam search: looking for the most likely text
#
# For some tasks, the most likely text *is* the one you want. A translation should say what the source says, without
# surprises. Greedy decoding is poor at this, because it cannot take a token back. Here is a garden path, two words of
# weather:

# %%
first_word = {"sun": 0.6, "rain": 0.4}
second_word = {"sun": {"wind": 0.4, "hail": 0.35, "fog": 0.25}, "rain": {"wind": 0.05, "hail": 0.05, "fog": 0.9}}
for a, p in first_word.items():
    print("   ".join(f"{a} {b}: {p} × {q} = {p * q:.3f}" for b, q in second_word[a].items()))

# %% [markdown]
# Greedy decoding takes *sun* and ends with *sun wind*, 0.24. The most likely text is *rain fog*, 0.36: after the second
# best first word the model is sure, after the best one it is not. If you keep *two* beginnings, you find it.
#
# **Beam search** keeps K unfinished texts, the *beam*, each with its log-probability. It starts with one, the empty
# text. In each step:
#
# 1. Extend every text of the beam by every token: these are the candidates. Add up the log-probabilities. Sort all
#    candidates together.
# 2. Of the K best, those that end with the end token are finished. Set them aside.
# 3. The K best unfinished candidates are the next beam.
#
# All candidates of one step have the same length, so they can be compared directly. (Start with *one* empty text, not
# with K: K equal texts have equal continuations, and the beam would be full of duplicates.) With K = 1 this is greedy
# decoding and stops where greedy decoding stops. If K is as large as the number of all beginnings, nothing is ever
# lost, and the search is certain to find the most likely text. In between there is no guarantee; exercise
# **beams_lose** asks you to fool two beams.
#
# **Finished texts differ in length.** Every token multiplies the probability by a number below 1. Suppose every token
# of a text has probability 0.8: two tokens give 0.64, ten give 0.11. A ranking by $\log P$ prefers short texts just
# because they are short. If you search hard enough in a translation model, the most likely output is often the empty
# one (Stahlberg & Byrne 2019). The usual remedy is to rank finished texts not by $\log P$ but by a **score** that
# divides it by a growing function of the length, here that of Wu et al. (2016, equation 14), where $n$ counts the
# tokens, including the end token:
#
# $$ \mathrm{score}(y) = \frac{\log P(y)}{\mathrm{lp}(n)}, \qquad
#    \mathrm{lp}(n) = \left(\frac{5 + n}{6}\right)^{\alpha}. $$
#
# $\alpha = 0$ means no normalization. Watch the sign: $\log P$ is negative, so dividing by a larger number makes the
# score *better*.

# %%
for alpha in (0.0, 0.6, 1.0):
    scores = {n: n * math.log(0.8) / ((5 + n) / 6) ** alpha for n in (2, 5, 10)}
    print(f"alpha {alpha}: " + ", ".join(f"{n} tokens {score:.2f}" for n, score in scores.items()))
predict("4 beams instead of greedy, from 24 first sentences: how much does log P rise? Do the texts make more sense?")

# %% [markdown]
# Even $\alpha = 1$ keeps a slight preference for short texts here: $\mathrm{lp}$ grows more slowly than the length. Now
# the model. We continue twenty-four first sentences: greedily, with four beams, and with four beams and a preference
# for long texts that is far too strong.

# %%
M = 24
print(f"{'':22} {'log P':>7} {'tokens':>7} {'variety':>8} {'possible':>9}")


def compare(name, log_p, length, texts):
    """Print a line of the table; return its numbers."""
    numbers = log_p, length, distinct(texts), sense(texts)
    print(f"{name:22} {log_p:7.1f} {length:7.1f} {numbers[2]:8.2f} {numbers[3]:9.2f}")
    return numbers


n_prompt = [1 + len(tokenizer.encode(prompt)) for prompt in first[:M]]
log_ps = [-nats[n - 1 :].sum().item() for nats, n in zip(surprises(val_texts[:M]), n_prompt, strict=True)]
lengths = [len(ids) - n for ids, n in zip(val[:M], n_prompt, strict=True)]
compare("real", sum(log_ps) / M, sum(lengths) / M, val_texts[:M])
beams = {}
for name, K, alpha in (("greedy", 1, 0.0), ("4 beams", 4, 0.0), ("4 beams, alpha = 4", 4, 4.0)):
    best = [hypotheses[0] for hypotheses in beam_search(model, tokenizer, first[:M], BeamOptions(K, alpha, LONGEST))]
    texts = [prompt + h.text for prompt, h in zip(first[:M], best, strict=True)]
    beams[name] = compare(name, sum(h.logprob for h in best) / M, sum(len(h.ids) for h in best) / M, texts)
print(f"\n4 beams, alpha = 4: {texts[0]}\n")
result("nats gained by 4 beams over greedy", beams["4 beams"][0] - beams["greedy"][0], 3.0, 2.2)
result("possible fraction gained by 4 beams over greedy", beams["4 beams"][3] - beams["greedy"][3], 0.08, 0.2)
result("additional tokens at alpha 4", beams["4 beams, alpha = 4"][1] - beams["4 beams"][1], 40, 8)

your_search = part("beam_search", None)
if your_search is not None:
    best = your_search(lambda ids: model(torch.tensor([[END, *ids]]))[0, -1].log_softmax(-1).tolist(), 2, 60, END, 0.0)
    print(f"your two beams, from the empty text: {best[0][1]:.1f}, {tokenizer.decode(best[0][0])}")

# %% [markdown]
# **What to see.** Beam search finds texts that are two to four nats more likely than the greedy ones: e³ = 20 times as
# probable. So the greedy text is far from the most likely one. Do the texts make more sense? With most seeds a little,
# with some not at all; 24 texts are too few to settle it.
#
# And the other columns confirm section 6.3. Real texts are ten to thirteen nats *less* probable than the texts that
# beam search finds, and far more varied: 0.88 against 0.5. Beam search gives each beginning the continuation the model
# is most certain of. Where there is one good answer, as in a translation, that is what we want. Where there should be
# many, it is not.
#
# With α = 4 the score rewards length more than probability. Of all texts that finished along the way, the longest win,
# however improbable: they ramble until there is no room left. The opposite, short texts at α = 0, does *not* happen
# here. All our texts have four sentences, so the model knows when to stop, and stopping early is improbable. For a
# translation model, choose α on held-out data; this library's default is 0.6.

# %% [markdown]
# ## 6.10 What was left out
#
# - **Other rules.** Locally typical sampling (Meister et al. 2023) keeps the tokens with a surprise near the entropy,
#   and may drop the top one. Contrastive decoding (Li et al. 2023) subtracts a weaker model's log-probabilities.
# - **Constraints**: allow only tokens that keep a text valid JSON, for example. That is one more set $A$.
# - **Speculative decoding** (Leviathan et al. 2023): a small model drafts several tokens; the large one processes them
#   in one pass through its cache and accepts them with a rule that leaves its distribution unchanged.
# - **When the cache is full**, and how rows of different lengths share one: `llmasos/generation/decoder.py` and
#   `llmasos/nn/cache.py`. A server for many readers: `llmasos/serving/README.md`.
# - **Beam search for translation**, and how to choose α there: lesson 10.
# - **Better models.** Decoding only chooses among what the model offers. A boy who becomes *she* is the model's
#   mistake, and no decoding rule can reliably fix it.
#
# **Further reading.** Holtzman et al. 2020, *The Curious Case of Neural Text Degeneration*. Fan, Lewis & Dauphin 2018,
# *Hierarchical Neural Story Generation*, section 5.4. Nguyen et al. 2024, *Turning Up the Heat: Min-p Sampling for
# Creative and Coherent LLM Outputs*. Keskar et al. 2019, *CTRL: A Conditional Transformer Language Model for
# Controllable Generation*, section 4.1. Wu et al. 2016, *Google's Neural Machine Translation System*, section 7.
# Stahlberg & Byrne 2019, *On NMT Search Errors and Model Errors: Cat Got Your Tongue?* Shazeer 2019, *Fast Transformer
# Decoding: One Write-Head is All You Need*. Ainslie et al. 2023, *GQA*.
#
# **Now you.** `python -m lessons check 6` creates your file, `lessons/mine/06_generating.py`, with seven exercises in
# it. When the checks pass, `python -m lessons run 6 --mine` lets the model write with your rules.
