# %% [markdown]
# # 06 Generating
#
# - **Question:** A model gives every next token a probability. How do you get a good text out of that?
# - **Teaches:** greedy decoding and why the most likely text is not the one we want, temperature, top-k, top-p and
#   min-p, the repetition penalty, the KV cache, beam search with length normalization; each of them measured
# - **Minutes:** 120 to read and solve, 1 to run
#
# You need: entropy and nats (lesson 01), attention (lesson 03), and the GPT that is trained here in one cell (lessons
# 04 and 05).
#
# Dimension letters, here and throughout the library: B batch, T number of new tokens, S number of tokens seen, C
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
from llmasos.datasets.storyworld import stories
from llmasos.datasets.storyworld.proof import possible
from llmasos.generation import BeamOptions, SamplingOptions, beam_search, generate, sampling
from llmasos.models import GPT, ModelConfig
from llmasos.objectives import CausalLM
from llmasos.tokenizers import BPETokenizer
from llmasos.training.optimizers import make_optimizers, set_learning_rate
from llmasos.training.recipe import TrainingSettings
from llmasos.training.schedules import learning_rate_factor

SEED = seed()
torch.manual_seed(SEED)
torch.set_num_threads(min(2, torch.get_num_threads()))
torch.set_printoptions(precision=2, sci_mode=False)

# %% [markdown]
# ## 6.1 From the next token to a text
#
# A language model answers one question: which token comes next? It answers with V numbers, the **logits** $z$, and
# the softmax turns them into probabilities. A text $y = y_1 \dots y_n$ is then probable as the product of its tokens,
# each given all before it. This is the chain rule of probability. It is exact, and it holds for every distribution:
#
# $$ P(y) = \prod_{t=1}^{n} P(y_t \mid y_1 \dots y_{t-1}), \qquad
#    \log P(y) = \sum_{t=1}^{n} \log P(y_t \mid y_1 \dots y_{t-1}). $$
#
# The last token $y_n$ is the one that says that the text is over. Because of it the probabilities of all texts, of all
# lengths, sum to one (as long as the model never goes on forever): who rates next tokens rates every text there is.
#
# So the model *is* a distribution over texts. What it does not say is what to do with it. Shall we draw a text from it?
# Look for the most likely? Something in between? This is called **decoding**, and the same model writes well or badly
# by it. Nothing in this lesson changes a single weight.

# %% [markdown]
# ## 6.2 A model to write with
#
# We train a small GPT on the *beginnings* of stories, their first four sentences. A beginning fits into the context
# as a whole, and begins and ends with the token `<|endoftext|>`. All of this is from lessons 02, 04 and 05.

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
    """For each text the nats -log P of each of its tokens under the model, the end included."""
    ids = [torch.from_numpy(row) for row in encode(texts)]
    padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=END)  # (B, T)
    nats = F.cross_entropy(model(padded[:, :-1]).mT, padded[:, 1:], reduction="none")  # (B, T - 1)
    return [row[: len(i) - 1] for row, i in zip(nats, ids, strict=True)]


print(f"{sum(p.numel() for p in model.parameters()):,} weights, {V} tokens, at most {LONGEST} of them in a beginning")
result("held-out beginnings, nats per token", torch.cat(surprises(val_texts)).mean().item(), 0.52, 0.04)

# %% [markdown]
# The writer below is all that generation is. It begins with `<|endoftext|>`, asks for logits, lets a **rule** turn
# them into probabilities, draws, appends, asks again. It writes n texts side by side, and it shows the model only the
# newest token: what the model has seen before is in a cache, which section 6.8 explains. For now it is enough to know
# that it changes nothing but the time.
#
# Everything that follows is a choice of `rule`: logits (B, V) → probabilities (B, V).


# %%
@torch.inference_mode()
def write(rule, n, number=0):
    """Let the model write n beginnings by a rule."""
    generator = torch.Generator().manual_seed(1000 * SEED + number)
    cache = model.make_cache(n)
    ids = torch.full((n, 1), END)  # (B, 1)
    over = torch.zeros(n, 1, dtype=torch.bool)
    for position in range(LONGEST - 1):
        here = torch.full((n, 1), position)
        hidden = model.decode(ids[:, -1:], here, cache)  # (B, 1, C)
        probabilities = rule(model.lm_head(hidden[:, 0]))  # (B, V)
        token = torch.multinomial(probabilities, 1, generator=generator)  # (B, 1)
        ids = torch.cat([ids, token.masked_fill(over, END)], dim=1)
        over |= token == END
        if over.all():
            break
    return [tokenizer.decode([i for i in row if i != END]) for row in ids.tolist()]


def greedy_rule(logits):
    return F.one_hot(logits.argmax(dim=-1), V).float()  # all of the probability to the most likely token


def as_it_is(logits):
    return logits.softmax(dim=-1)


for name, rule in (("greedy", greedy_rule), ("as it is", as_it_is)):
    for text in write(rule, 3):
        print(f"{name:>8}: {text}\n")

# %% [markdown]
# **What to see.** Greedy writes one text, again and again. Drawing from the distribution *as it is* gives a new text
# each time, and sooner or later something in it goes wrong: a boy becomes *she*, a word falls apart.

# %% [markdown]
# ## 6.3 The most likely text is not the one we want
#
# **Greedy decoding** takes the most likely token at every step. Two questions should be kept apart here.
#
# *Is the greedy text the most likely text?* Not in general. The best first step may lead to a place from where no
# step is good. Finding the most likely of all texts means comparing all of them, and there are Vⁿ. Section 6.9 looks
# for better ones.
#
# *If we had the most likely text, would we want it?* Toss a bent coin a hundred times, heads with probability 0.6.
# The most likely of all sequences is a hundred heads. It is likelier than every other single one, and you will never
# see it.

# %%
heads, tosses, p = 60, 100, 0.6
one = p**heads * (1 - p) ** (tosses - heads)
print(f"a hundred heads: probability {p**tosses:.1e}")
print(f"one particular sequence with 60 heads: {one:.1e}; there are {math.comb(tosses, heads):.1e} of them")
print(f"some sequence with 60 heads: {one * math.comb(tosses, heads):.3f}")
predict("the real stories and the greedy one: which has more nats per token under the model, and by how much?")

# %% [markdown]
# What one *sees* of a distribution is not its peak but the great crowd of sequences that are each improbable, and
# whose surprise per toss is close to the entropy (information theory calls them the **typical set**; Cover & Thomas
# 2006, chapter 3). Real text lies there too: now and then it says what nobody could have guessed. That is what makes
# it worth reading. Let us follow the surprise, $-\log P(y_t \mid y_{<t})$, along a real text and along the greedy
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
    "What the model did not expect", "token", "nats", "06-surprise",
)  # fmt: skip
print(f"all real texts: {torch.cat(surprises(val_texts)).mean():.2f} nats per token")
result("the greedy text, nats per token", greedy_nats.mean().item(), 0.33, 0.1)

# %% [markdown]
# **What to see.** The real text is a line of peaks: a name, a place, a thing; what the story could have left open and
# did not. In between it is as predictable as anything. The greedy text has lower peaks and fewer of them. This is the
# picture of Holtzman et al. (2020, figure 2), who drew it for GPT-2 and beam search (6.9), with probability upwards
# where we have surprise: text of people jumps up and down, text that maximizes probability is smooth and expected.
#
# One text hides the worst. Let greedy continue forty *different* first sentences, and count how many different second
# sentences come out.

# %%
first = [story.sentences[0] for story in val_stories[:40]]
greedy = SamplingOptions(max_new_tokens=LONGEST, temperature=0.0)


def second_sentences(prompts, texts):
    """What follows each prompt, up to the next period."""
    return [text[len(prompt) :].split(".")[0].strip() for prompt, text in zip(prompts, texts, strict=True)]


continued = [prompt + g.text for prompt, g in zip(first, generate(model, tokenizer, first, greedy), strict=True)]
real_second = set(second_sentences(first, val_texts[:40]))
greedy_second = second_sentences(first, continued)
most_common = max(greedy_second, key=greedy_second.count)
print(f"the most common, {greedy_second.count(most_common)} times: {most_common}")
result("real second sentences, share that is different", len(real_second) / 40, 1.0, 0.01)
result("greedy second sentences, share that is different", len(set(greedy_second)) / 40, 0.6, 0.25)

# %% [markdown]
# Forty real stories continue in forty ways, greedy continues in twenty to thirty, though it is given forty
# different beginnings. Our texts end after four sentences. Where a model continues without an end, as GPT-2 does, the
# same force makes it say one sentence over and over (Holtzman et al. 2020, figure 1): what has been said once is likely
# to be said again, and saying it makes it likelier still.

# %% [markdown]
# ## 6.4 Temperature
#
# Between always taking the best and drawing as it is there is a dial. Divide the logits by a **temperature** $t$
# before the softmax (Ackley, Hinton & Sejnowski 1985):
#
# $$ p_i(t) = \frac{\exp(z_i / t)}{\sum_j \exp(z_j / t)} \;\propto\; p_i^{\,1/t} $$
#
# The second form follows because $z_i = \log p_i + \text{const}$, and says what happens: every *ratio* of probabilities
# is raised to the power $1/t$. Logits ln 4 and ln 1 are a ratio of 4 to 1. At $t = 1/2$ it becomes 16 to 1, at $t = 2$
# it becomes 2 to 1. As $t \to 0$ the most likely token gets everything, which is greedy; as $t \to \infty$ all tokens
# become alike. The order of the tokens never changes.
#
# How unsure is the choice? Write $\beta = 1/t$ and $Z = \sum_j e^{\beta z_j}$. The entropy is
#
# $$ \mathcal{H} = -\sum_i p_i \log p_i = \log Z - \beta\, \mathrm{E}[z], \qquad
#    \frac{d\mathcal{H}}{d\beta} = \mathrm{E}[z] - \mathrm{E}[z] - \beta \frac{d\,\mathrm{E}[z]}{d\beta}
#    = -\beta\, \mathrm{Var}(z) \le 0, $$
#
# since $d \log Z / d\beta = \mathrm{E}[z]$ and $d\,\mathrm{E}[z] / d\beta = \mathrm{Var}(z)$, all under $p(t)$. So
# entropy falls as $\beta$ grows, and rises with the temperature, always. It rises from 0 to $\log V$. Where between
# the two the rise lies depends on the context.


# %%
@torch.no_grad()
def next_logits(text):
    return model(torch.tensor([[END, *tokenizer.encode(text)]]))[0, -1]  # (V,)


UNSURE, SURE = "Once there was a", "Once there was a shy boy called Tom, who lived next to the old"
for text in (UNSURE, SURE):
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
                         for t in temperatures] for text in (UNSURE, SURE)},
    f"Temperature and entropy (ln V is {math.log(V):.2f})", "temperature", "nats", "06-temperature",
)  # fmt: skip
predict("at t = 1 nearly all the probability is on sensible tokens. What happens to the texts at t = 1.5?")

# %% [markdown]
# **What to see.** Both curves only rise. After *Once there was a* the model is unsure for a good reason: several
# words fit. After *next to the old* one word fits, and below $t = 1$ there is nothing to choose. But beyond 1 its
# curve climbs, too, and soon it is the steeper one: the heat lets in a thousand tokens that have no business there.
#
# Exercise **temperature** asks for this function. Mind large logits: $e^{1000}$ is infinite in floating point.

# %%
# `run 6 --mine` puts your own functions here
temperature = part("temperature", lambda logits, t: sampling.temperature(logits, t).softmax(-1))

for t in (0.5, 1.5):
    print(f"t = {t}: {write(lambda logits, t=t: temperature(logits, t), 2)[1]}\n")

# %% [markdown]
# ## 6.5 Cutting off the tail
#
# Where do the broken words come from? Not from the top of the list. A token with probability 0.0001 is harmless. But
# the **tail** has about a thousand of them. How much do they hold together?

# %%
batch = objective.collate(val[:50])
with torch.no_grad():
    each = model(batch["ids"]).softmax(-1)[batch["targets"] != -100]  # (positions, V)
tail = (each * (each < 0.01)).sum(-1).mean().item()  # what all tokens below 1 % hold together
print(f"{(each < 0.01).sum(-1).float().mean():.0f} of {V} tokens are below 1 %")
result("and hold together, as a fraction of the probability", tail, 0.017, 0.005)
print(f"so 70 tokens are all chosen from above it with probability {(1 - tail) ** 70:.2f}")

# %% [markdown]
# If one step goes wrong with probability $\epsilon$, all of $n$ go well with probability $(1 - \epsilon)^n$. A small
# $\epsilon$ does not help when $n$ is a whole text. And after the first broken word the model has to continue from a
# text that it has never seen the like of. (Not everything in the tail is broken: some of it is the rare thing that was
# true.)
#
# So cut the tail off: choose a set $A$ of tokens, give the others probability zero, and let the set share the whole
# in the old proportions,
#
# $$ p'_i = \frac{p_i}{\sum_{j \in A} p_j} \;\text{ for } i \in A, \qquad p'_i = 0 \;\text{ otherwise.} $$
#
# In logits: set those outside to $-\infty$, and take the softmax. (Not to 0: $e^0 = 1$ is an ordinary weight, as in
# section 3.5.) The rules differ in $A$ only.
#
# - **top-k**: the $k$ most likely (Fan et al. 2018, section 5.4). Of tokens that tie with the $k$-th, this library
#   keeps all.
# - **top-p**, or nucleus: the *fewest* most likely tokens that together hold at least $p$ (Holtzman et al. 2020,
#   section 3.1). Sort by probability, add up from the top, stop when the sum reaches $p$. The token that carries it
#   across is in: without it the set would hold less than $p$.
# - **min-p**: all that are at least $p$ times as likely as the most likely one, $p_i \ge p \cdot \max_j p_j$ (Nguyen
#   et al. 2024). A ratio of probabilities is a difference of logits: $z_i \ge \max_j z_j + \ln p$.
#
# An example by hand. Probabilities 0.50, 0.25, 0.15, 0.10. Top-k with $k = 3$ keeps the first three. Top-p with $p =
# 0.6$ keeps two: 0.50 is not enough, 0.75 is. They become 2/3 and 1/3. Min-p with $p = 0.25$ has the bound 0.125, and
# keeps three. In tensors, the set of top-k is one comparison of every row with its own $k$-th largest logit:

# %%
four = torch.tensor([[0.10, 0.50, 0.15, 0.25]]).log()  # (1, V): not sorted, as a vocabulary is not
third = four.topk(3).values[:, -1:]  # (1, 1): the third largest
print(four.masked_fill(four < third, -math.inf).softmax(-1))  # 0.10 is gone; the other three share the whole

descending, order = four.softmax(-1).sort(descending=True, stable=True)
print("sorted", descending[0], "token", order[0], "sums", descending.cumsum(-1)[0])
predict("top-k 10, top-p 0.9, min-p 0.1: which one keeps the same number of tokens whether the model is sure or not?")

# %% [markdown]
# The sums are those of the *sorted* row, so the decision is made in sorted order too, and must be carried back to the
# order of the vocabulary. `order` says which token stands at each place of the sorted row; `x.scatter(-1, order,
# kept)` writes the decision about place $i$ to token `order[i]`. (`kept[order]` does something else. Try it with
# three tokens on paper.)
#
# Now the sets on two real contexts, the unsure one and the sure one.

# %%
for text, file in ((UNSURE, "06-unsure"), (SURE, "06-sure")):
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
# **What to see.** The bars are the model's probabilities, the marks say who is kept. Top-k keeps ten in both. That is
# about right where the model is unsure and wrong where it is sure: nine tokens stay that nobody would say there. Top-p
# and min-p follow the shape: many where there are many, one where there is one. They differ in how they look. Top-p
# counts from above until enough is held: of nine words that fit equally well it may cut the last one, and a flat tail
# can slip in when the top holds just less than $p$. Min-p looks down from the most likely token: what is nearly as
# likely stays, and when that one is sure of itself, the bar is high for all others.
#
# Exercises **min_p** and **top_p** ask for the two. Temperature comes before them in this library's chain (penalty →
# temperature → top-k → top-p → min-p), because they look at probabilities, which temperature changes; top-k looks at
# the order only and would not notice.

# %% [markdown]
# ## 6.6 How good is it? Measured
#
# Two things are wanted of a writer: that what it writes can be, and that it does not always write the same. In the
# storyworld both can be measured.
#
# - **Possible.** The generator of the stories is known, so we can ask it: how far does this text agree with *some*
#   story that you could tell? `possible(text)` searches all ways on, and gives the number of characters before the
#   first impossible word. The fraction of the text that this is, averaged over texts, is our measure of sense. It is
#   strict: the first *he* about a girl ends it.
# - **Variety.** The fraction of different runs of four words among all runs of four words in all texts, *distinct-4*
#   (after Li et al. 2016, who had it for one and two). It depends on how many texts there are: here always thirty-two.
#
# And beside them the nats per token under the model itself.

# %%
N = 32
min_p = part("min_p", lambda logits, p: sampling.min_p(logits, p).softmax(-1))
top_p = part("top_p", lambda logits, p: sampling.top_p(logits, p).softmax(-1))


def distinct(texts, n=4):
    runs = [tuple(words[i : i + n]) for words in map(str.split, texts) for i in range(len(words) - n + 1)]
    return len(set(runs)) / len(runs)


@functools.cache
def share_possible(text):
    return possible(text) / max(1, len(text))


def sense(texts):
    return sum(map(share_possible, texts)) / len(texts)


def measure(name, texts):
    """Print a line of the table; returns variety and sense."""
    nats = torch.cat(surprises(texts)).mean().item()
    found = distinct(texts), sense(texts)
    print(f"{name:<20} {nats:8.2f} {found[0]:10.2f} {found[1]:10.2f}     {texts[1][:50]}…")
    return found


RULES = {
    "temperature": [(f"t = {t}", lambda z, t=t: temperature(z, t)) for t in (0.4, 0.7, 1.0, 1.5)],
    "top-p": [(f"top-p {p}", lambda z, p=p: top_p(z, p)) for p in (0.5, 0.9)],
    "min-p": [(f"min-p {p}", lambda z, p=p: min_p(z, p)) for p in (0.2, 0.05)],
    "hot, then a cut": [
        ("t = 1.5, top-p 0.9", lambda z: top_p(z / 1.5, 0.9)),
        ("t = 1.5, min-p 0.05", lambda z: min_p(z / 1.5, 0.05)),
    ],
}
predict("at t = 1.5 the texts fall to pieces. Will top-p 0.9, after the temperature, save them? And min-p 0.05?")

# %%
print(f"{'rule':<20} {'nats':>8} {'variety':>10} {'possible':>10}")
measure("real", val_texts[:N])
measure("greedy", [greedy_text] * N)
lines, found = {}, {}
for number, (family, rules) in enumerate(RULES.items()):
    for name, rule in rules:
        found[name] = measure(name, write(rule, N, number))
    lines[family] = [found[name] for name, _ in rules]
curves(lines, "More variety, less sense", "variety (distinct-4)", "share that is possible", "06-trade")

# %%
for name, variety, share, spread in (
    ("t = 0.4", 0.61, 0.47, 0.2),
    ("t = 1.0", 0.88, 0.36, 0.15),
    ("t = 1.5", 0.95, 0.14, 0.1),
    ("t = 1.5, min-p 0.05", 0.89, 0.35, 0.15),
):
    result(f"{name}: variety", found[name][0], variety, 0.08)
    result(f"{name}: possible share", found[name][1], share, spread)

# %% [markdown]
# **What to see.** Go down the temperatures: variety rises, sense falls. At 1.5 the variety is higher than that of
# real texts, and that is no merit: a word that does not exist is a new word. Greedy has no variety at all, and
# whether its one text makes sense is a matter of luck.
#
# Look at the nats. If the model were the truth, texts drawn as it is (t = 1.0) would surprise it as much as real
# texts do, by 0.5 nats or a little more. They come out at 0.8. We suppose that each slip leads the model where it has
# never been, and that it slips there again. Top-p 0.9 and min-p 0.05 bring the nats back to those of real texts, at
# nearly the variety of real texts. A cut leaves several good choices as they are, and takes from the tail alone.
#
# Is a cut better than some cooling, then? In the picture the lines of temperature, top-p and min-p run close
# together, and a share from 32 texts has a standard error of about 0.05: at these temperatures **nothing is decided
# here**. The difference is in the heat. At t = 1.5 the tail is heavy. Min-p does not care: what is less than a
# twentieth as likely as the best is cut, however much there is of it, and the texts make as much sense as at t = 1,
# and are as varied. Top-p 0.9 has to fill up 90 %, and where the best tokens hold less than that after the heating,
# it fills up from the tail. It ends at 1.6 nats per token, min-p at 0.9. This is what min-p was made for (Nguyen et
# al. 2024).
#
# Even the most careful rule leaves half of the text impossible. Often it is a *he* that was a *she*. That is not in
# the tail: the model is simply not sure of it, and no rule can know better than the model. (The results are means
# over five seeds; the spread is a little more than the seeds differed by.)

# %% [markdown]
# ## 6.7 Forbidding what was said
#
# Greedy and cold writers repeat themselves. The **repetition penalty** of Keskar et al. (2019, section 4.1) works
# against it. Before the softmax, the logit of every token that has occurred already is divided by some $\theta > 1$:
#
# $$ z'_i = z_i / \theta \;\text{ if } i \text{ has occurred}, \qquad z'_i = z_i \;\text{ otherwise.} $$
#
# There is a trap in it. Dividing makes a *positive* logit smaller; a negative one moves toward zero, and the token
# that was to be punished becomes likelier. Yet logits have no zero of their own: adding the same number to all of them
# changes nothing for the softmax, and everything here. So implementations, ours too, multiply where a logit is
# negative. That mends the sign, but not that the strength of the rule depends on a number that means nothing.
#
# And should a text not repeat itself? A story about Rosa says *Rosa*, and *she*, and ends every sentence with a full
# stop.

# %%
said = torch.tensor([True, False, True, False])
print(sampling.repetition_penalty(torch.tensor([[3.0, 3.0, -3.0, -3.0]]), said, 1.3))
predict("greedy from the forty first sentences, with a penalty of 1.3: more possible text, or less?")

# %%
penalised = SamplingOptions(max_new_tokens=LONGEST, temperature=0.0, repetition_penalty=1.3)
punished = [prompt + g.text for prompt, g in zip(first, generate(model, tokenizer, first, penalised), strict=True)]
worst = max(range(40), key=lambda i: share_possible(continued[i]) - share_possible(punished[i]))
print(f"greedy:       {continued[worst]}\nwith penalty: {punished[worst]}\n")
for name, texts in (("greedy", continued), ("with penalty 1.3", punished)):
    print(f"{name:<18} distinct-4 {distinct(texts):.2f}   possible {sense(texts):.2f}")
result("possible share lost by a penalty of 1.3", sense(continued) - sense(punished), 0.10, 0.13)

# %% [markdown]
# **What to see.** A little more variety at best (with two of five seeds none), and paid for dearly: a text that has
# said *she* must not say it again, so it says something else. The penalty is a remedy for a model that loops. Where
# the model does not loop, it is an illness.

# %% [markdown]
# ## 6.8 The KV cache: reading each token once
#
# To write token number $m + 1$, the model needs the logits at the last of $m$ positions. The plain way runs it over
# the whole text, every time:
#
#     A        → B          A is read
#     A B      → C          A and B are read; A for the second time
#     A B C    → D          …
#
# What is computed again that was known already? In a causal model a position sees only itself and what is before it.
# So nothing at position 0 changes when position 1 arrives: not its vector after the first block, not after the last,
# not its **keys** and **values** in any layer. The new token needs these, and nothing else of the past: its query
# meets the old keys, and the weights mix the old values. The old *queries* are never asked for again. So keep keys
# and values, and read only what is new:
#
#     read A      keep k_A, v_A                       → B
#     read B      append k_B, v_B; q_B meets k_A k_B  → C
#     read C      append k_C, v_C; …                  → D
#
# Three things are easy to get wrong. The new token stands at **position S**, the number of tokens in the cache, not at
# 0, though it comes alone. It must see **itself**: append first, then attend. And when T tokens arrive at once (a
# prompt), new token number $t$ is at position $S + t$ and sees the keys $s \le S + t$: the mask of section 3.5 with
# fewer queries than keys. Exercise **cached_attention** asks for one head of this.
#
# Is it the same? Let the model read a real text at once, and then token by token through the cache.

# %%
text = torch.from_numpy(val[0])[None, :-1]  # (1, S)
with torch.no_grad():
    whole = model.lm_head(model.hidden_states(text))[0]  # (S, V): all at once
    cache, rows = model.make_cache(1), []
    for position in range(text.size(1)):
        token, here = text[:, position : position + 1], torch.tensor([[position]])  # (1, 1), (1, 1)
        rows.append(model.lm_head(model.decode(token, here, cache))[0, 0])
print(f"{len(rows)} × {V} logits; the largest difference is {(whole - torch.stack(rows)).abs().max():.0e}")

cached_attention = part("cached_attention", None)
if cached_attention is not None:
    x, table, *weights = (torch.randn(n, 16) for n in (6, 8, 16, 16, 16))
    at_once, _ = cached_attention(x, table, *weights)
    kept, outs = None, []
    for piece in x.split([3, 1, 1, 1]):
        out, kept = cached_attention(piece, table, *weights, kept)
        outs.append(out)
    print(f"yours, whole and in four pieces: the largest difference is {(at_once - torch.cat(outs)).abs().max():.0e}")

# %% [markdown]
# Equal, but for the rounding of sums in another order. Now count. A matrix of n weights costs 2n operations for each
# token that passes through it (a product and a sum for each weight). With N weights in all matrices, a text of n
# tokens costs, with the cache and without,
#
# $$ 2N \cdot n \qquad\text{and}\qquad 2N \cdot (1 + 2 + \dots + n) = 2N \cdot \frac{n(n+1)}{2}, $$
#
# that is $(n+1)/2$ times as much: 50 times for a hundred tokens. Attention comes on top, $q k^\top$ and weights times
# $v$, each 2·C operations for a pair of positions: with the cache $4 L C \cdot (1 + 2 + \dots + n)$, without it $4 L
# C \cdot (1^2 + 2^2 + \dots + n^2)$. So a cache turns n² into n for the matrices, and n³ into n² for attention.

# %%
predict("how many times faster will 100 tokens be with a cache? The operations say 50.")
big = GPT(ModelConfig(vocab_size=64, context_length=100, n_layers=4, n_heads=4, d_model=256, activation="gelu")).eval()
read = []
counter = big.blocks[0].register_forward_hook(lambda module, inputs, output: read.append(output.size(1)))


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


took, n_read = {}, {}
for cached in (False, True):
    read.clear()
    start = time.perf_counter()
    write_greedily(big, 100, cached)
    took[cached], n_read[cached] = time.perf_counter() - start, sum(read)
    print(f"{'with' if cached else 'without':>8} a cache: {n_read[cached]:>5,} tokens read")
counter.remove()
print(f"time without, over time with: {took[False] / took[True]:.1f}")
result("tokens read without a cache, over with", n_read[False] / n_read[True], 50.5, 0.01)

# %% [markdown]
# **What to see.** Fifty times fewer operations, and not nearly fifty times faster. A processor multiplies a matrix by
# fifty vectors in far less than fifty times the time of one: for one vector it spends its time on fetching the
# weights from memory, not on multiplying (and in a model as small as this, on calling functions). That is why servers
# write many texts side by side, and let each weight that was fetched do its work for all of them.
#
# **The price is memory.** Each position keeps a key and a value, in every layer, for every key/value head:
#
# $$ \text{bytes} = 2 \cdot L \cdot H_{kv} \cdot D \cdot S \cdot \text{bytes per number}, $$
#
# for *each* text. (With H_kv = H it is 2·L·C·S numbers. Models with fewer key/value heads than query heads, Shazeer
# 2019 and Ainslie et al. 2023, are made for this formula; lesson 12.)


# %%
def cache_bytes(layers, kv_heads, head_size, tokens, bytes_each):
    return 2 * layers * kv_heads * head_size * tokens * bytes_each


formula = cache_bytes(config.n_layers, config.n_kv_heads, config.head_size, LONGEST, 4)
held = sum(t.numel() * t.element_size() for pair in model.make_cache(1).layers for t in pair)
print(f"our model: {formula:,} bytes by the formula, {held:,} in memory")
for name, sizes in (
    ("GPT-2 small, 1,024 tokens", (12, 12, 64, 1024, 2)),
    ("Llama 2 7B, 4,096 tokens", (32, 32, 128, 4096, 2)),
    ("Llama 3 8B, 8,192 tokens", (32, 8, 128, 8192, 2)),
):
    print(f"{name}, 2 bytes a number: {cache_bytes(*sizes) / 2**20:,.0f} MiB for each text")

# %% [markdown]
# ## 6.9 Beam search: looking for the most likely text
#
# There are tasks where the most likely text *is* wanted. A translation should say what the source says, and nothing
# that would surprise. Greedy is poor at it, because it cannot take a token back. Here is a garden path, two words of
# weather:

# %%
first_word = {"sun": 0.6, "rain": 0.4}
second_word = {"sun": {"wind": 0.4, "hail": 0.35, "fog": 0.25}, "rain": {"wind": 0.05, "hail": 0.05, "fog": 0.9}}
for a, p in first_word.items():
    print("   ".join(f"{a} {b}: {p} × {q} = {p * q:.3f}" for b, q in second_word[a].items()))

# %% [markdown]
# Greedy takes *sun* and ends with *sun wind*, 0.24. The most likely text is *rain fog*, 0.36: after the second best
# first word the model is sure, after the best it is not. Keep *two* beginnings, and it is found.
#
# **Beam search** keeps K unfinished texts, the *beam*, each with its log-probability. It begins with one, the empty
# text. In each step:
#
# 1. Extend every text of the beam by every token: candidates. Logarithms are added. Sort all candidates together.
# 2. Of the K best, those that end with the end token are finished. Set them aside.
# 3. The K best that are not finished are the next beam.
#
# All candidates of one step have the same length, so they can be compared as they are. (Begin with *one* empty text,
# not with K: K equal texts have equal continuations, and the beam would be full of duplicates.) With K = 1 this is
# greedy decoding, and stops where that stops. With K as large as the number of all beginnings nothing is ever lost, and
# the most likely text is found for certain. In between there is no promise; exercise **beams_lose** has you fool two
# beams.
#
# **Finished texts differ in length.** Every token multiplies the probability by a number below 1. Suppose every token
# of a text has probability 0.8: two tokens make 0.64, ten make 0.11. Whoever ranks by $\log P$ prefers short texts, for
# no other reason than that they are short. Search hard enough, and in translation models the most likely output of
# all is often the empty one (Stahlberg & Byrne 2019). The usual remedy is to rank finished texts not by $\log P$ but by
# a **score** that divides it by a growing function of the length, here that of Wu et al. (2016, equation 14), where $n$
# counts the tokens, the end included:
#
# $$ \mathrm{score}(y) = \frac{\log P(y)}{\mathrm{lp}(n)}, \qquad
#    \mathrm{lp}(n) = \left(\frac{5 + n}{6}\right)^{\alpha}. $$
#
# $\alpha = 0$ is no normalization. Mind the sign: $\log P$ is negative, so dividing by a larger number makes the
# score *better*.

# %%
for alpha in (0.0, 0.6, 1.0):
    scores = {n: n * math.log(0.8) / ((5 + n) / 6) ** alpha for n in (2, 5, 10)}
    print(f"alpha {alpha}: " + ", ".join(f"{n} tokens {score:.2f}" for n, score in scores.items()))
predict("4 beams instead of greedy, from 24 first sentences: how many nats likelier? And is there more sense in them?")

# %% [markdown]
# Even $\alpha = 1$ leaves a little of the preference here: $\mathrm{lp}$ grows more gently than the length. Now the
# model. Twenty-four first sentences are to be continued: greedily, by four beams, and by four beams with a preference
# for long texts that is far too strong.

# %%
M = 24
print(f"{'':22} {'log P':>7} {'tokens':>7} {'variety':>8} {'possible':>9}")


def compare(name, log_p, length, texts):
    """Print a line of the table; returns its numbers."""
    numbers = log_p, length, distinct(texts), sense(texts)
    print(f"{name:22} {log_p:7.1f} {length:7.1f} {numbers[2]:8.2f} {numbers[3]:9.2f}")
    return numbers


read_before = [1 + len(tokenizer.encode(prompt)) for prompt in first[:M]]
log_ps = [-nats[n - 1 :].sum().item() for nats, n in zip(surprises(val_texts[:M]), read_before, strict=True)]
lengths = [len(ids) - n for ids, n in zip(val[:M], read_before, strict=True)]
compare("real", sum(log_ps) / M, sum(lengths) / M, val_texts[:M])
beams = {}
for name, K, alpha in (("greedy", 1, 0.0), ("4 beams", 4, 0.0), ("4 beams, alpha = 4", 4, 4.0)):
    best = [found[0] for found in beam_search(model, tokenizer, first[:M], BeamOptions(K, alpha, LONGEST))]
    texts = [prompt + h.text for prompt, h in zip(first[:M], best, strict=True)]
    beams[name] = compare(name, sum(h.logprob for h in best) / M, sum(len(h.ids) for h in best) / M, texts)
print(f"\n4 beams, alpha = 4: {texts[0]}\n")
result("nats gained by 4 beams over greedy", beams["4 beams"][0] - beams["greedy"][0], 3.0, 2.2)
result("possible share gained by 4 beams over greedy", beams["4 beams"][3] - beams["greedy"][3], 0.08, 0.2)
result("tokens more at alpha 4 than at alpha 0", beams["4 beams, alpha = 4"][1] - beams["4 beams"][1], 40, 8)

your_search = part("beam_search", None)
if your_search is not None:
    found = your_search(lambda ids: model(torch.tensor([[END, *ids]]))[0, -1].log_softmax(-1).tolist(), 2, 60, END, 0.0)
    print(f"your two beams, from nothing: {found[0][1]:.1f}, {tokenizer.decode(found[0][0])}")

# %% [markdown]
# **What to see.** Beams find texts that are two to four nats likelier than the greedy ones: e³ = 20 times as probable.
# So greedy is far from the most likely text. Is there more sense in them? With most seeds a little, with some none;
# by 24 texts it is not settled.
#
# And the other columns say what section 6.3 said. Real texts are ten to thirteen nats *less* probable than what the
# beams find, and far more varied: 0.88 against 0.5. The beam gives each beginning the continuation of which the model
# is surest. Where there is one good answer, as in a translation, that is what we want. Where there should be many, it
# is not.
#
# With α = 4 the score pays for length more than for probability. Of all the texts that have finished on the way,
# those win that went on longest, however improbable: they ramble until there is no room. The opposite, short texts at
# α = 0, does *not* show here. All our texts have four sentences, so the model knows when to stop, and stopping early
# is improbable. For a translation model α is chosen on held-out data; this library's default is 0.6.

# %% [markdown]
# ## 6.10 What was left out
#
# - **Other rules.** Locally typical sampling (Meister et al. 2023) keeps the tokens whose surprise is near the entropy,
#   and may drop the most likely. Contrastive decoding (Li et al. 2023) subtracts the opinion of a weaker model.
# - **Constraints**: only tokens that keep a text valid JSON, say. It is one more set $A$.
# - **Speculative decoding** (Leviathan et al. 2023): a small model guesses several tokens, the large one reads them
#   as one piece through its cache and accepts what it would have drawn itself. The distribution stays the same.
# - **When the cache is full**, and how rows of different lengths share one: `llmasos/generation/decoder.py` and
#   `llmasos/nn/cache.py`. Serving is lesson 17.
# - **Beam search for translation**, and how to choose α there: lesson 10.
# - **Better models.** Decoding chooses among what the model offers. A boy who becomes *she* is the model's mistake,
#   and no rule mends it for good.
#
# **Further reading.** Holtzman et al. 2020, *The Curious Case of Neural Text Degeneration*. Fan, Lewis & Dauphin
# 2018, *Hierarchical Neural Story Generation*, section 5.4. Nguyen et al. 2024, *Turning Up the Heat: Min-p Sampling
# for Creative and Coherent LLM Outputs*. Keskar et al. 2019, *CTRL: A Conditional Transformer Language Model for
# Controllable Generation*, section 4.1. Wu et al. 2016, *Google's Neural Machine Translation System*, section 7.
# Stahlberg & Byrne 2019, *On NMT Search Errors and Model Errors: Cat Got Your Tongue?* Shazeer 2019, *Fast
# Transformer Decoding: One Write-Head is All You Need*. Ainslie et al. 2023, *GQA*.
#
# **Now you.** `python -m lessons check 6` creates your file, `lessons/mine/06_generating.py`, with seven exercises in
# it. When the checks pass, `python -m lessons run 6 --mine` lets the model write by your rules.
