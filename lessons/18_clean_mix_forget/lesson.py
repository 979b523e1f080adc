# %% [markdown]
# # 18 Data: clean, mix, forget
#
# - **Question:** Half of a corpus is dirt. What does it cost, how can it be found, and what must a model not remember?
# - **Teaches:** precision and recall of a filter; duplicates by MinHash and bands; perplexity as a filter; what
#   cleaning is worth; mixtures of texts; exposure of secrets, and membership inference
# - **Minutes:** 100 to read and solve, 1 to run
#
# You need: counting and perplexity (lesson 01), a GPT and its training (lessons 04 and 05).
#
# Letters: B texts in a batch, T tokens of a window, N documents. All logarithms are natural, unless written log₂.

# %% [setup]
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# %%
import math
import random
from collections import Counter

import numpy as np
import torch
from torch.nn import functional as F

from lessons.machinery import training_loop
from lessons.machinery.lesson_api import part, predict, result, seed
from lessons.machinery.pictures import curves
from llmasos.datasets.cleaning.boilerplate import LineCounter, line_keys, without_boilerplate
from llmasos.datasets.cleaning.duplicates import exact_key, find_exact, find_near, signature, similarity
from llmasos.datasets.cleaning.perplexity_filter import NgramModel
from llmasos.datasets.cleaning.pii import find_pii
from llmasos.datasets.cleaning.trigrams import language_of
from llmasos.datasets.mixture import Mixture
from llmasos.datasets.storyworld import dirty_documents, stories
from llmasos.datasets.windows import Windows
from llmasos.evaluation import expected_exposure, membership_inference, text_losses
from llmasos.models import GPT, ModelConfig
from llmasos.tokenizers import train_tokenizer

SEED = seed()
torch.manual_seed(SEED)
torch.set_num_threads(min(2, torch.get_num_threads()))

# `run 18 --mine` puts your own functions here
precision_recall = part("precision_recall", None)
jaccard = part("jaccard", None)
candidates = part("candidates", None)
ngram_probability = part("ngram_probability", None)
exposure = part("exposure", None)

# %% [markdown]
# ## 18.1 Dirt that we know
#
# Most of the text on the web is not worth reading: menus, copies of copies, machine-made noise. Every large model is
# trained on what *filters* left of it, and nobody knows how good those filters are, because nobody has read the web. We
# can know it. Our stories come from a generator, so we can make them dirty ourselves, and keep the truth.
#
# Of the documents below, half are dirty, in six ways, all equally frequent. Three of them leave a clean story behind,
# if the dirt is taken off: **typos** (one word in twelve), **boilerplate** (a line of a website before and one after
# the story), **private** data. The other three leave nothing: **duplicates**, **near duplicates** (copies in which
# three words were replaced), and stories in **German**.

# %%
N = 2000
world = list(stories("train", N + 2000, seed=SEED))
documents = list(dirty_documents(world[:N], dirt=0.5, seed=SEED))
reference = [story.text for story in world[N : N + 1600]]  # clean; the rest is for later
texts, kinds = [document.text for document in documents], [document.kind for document in documents]
truth = Counter(kinds)
print({kind or "clean": n for kind, n in truth.items()})
for kind in ("typos", "near duplicate", "private", "boilerplate"):
    example = documents[kinds.index(kind)]
    start, end = example.spans[0]
    print(f"{kind:>14}: …{example.text[max(0, start - 30) : end + 30]!r}…")

# %% [markdown]
# ## 18.2 How good is a filter?
#
# A filter drops documents. Two numbers say how well:
#
# - **Precision:** of what it dropped, which fraction deserved it? A filter of low precision throws away good text.
# - **Recall:** of what deserves to be dropped, which fraction did it drop? A filter of low recall leaves the dirt.
#
# $$ \text{precision} = \frac{|D \cap G|}{|D|}, \qquad \text{recall} = \frac{|D \cap G|}{|G|} $$
#
# with the dropped documents $D$ and the guilty ones $G$. Either one alone is easy to get: drop a single document that
# you are sure of, or drop everything. Exercise **precision_recall** asks for both.
#
# Four of the filters are simple. An **exact duplicate** has the same hash, after case and white space are made equal.
# **Boilerplate** is a line that occurs in many documents. A **language** is recognized by its letter trigrams: the
# model of lesson 01, with letters instead of words, one model for each language, and the one with the highest
# probability wins (Cavnar & Trenkle 1994 did it with ranks). **Private data** has a form: `name@host`, digits in
# groups.

# %%
predict("which of the six types of dirt is the hardest to find?")


# %%
def show(name, dropped, *guilty):
    """Print precision and recall of a filter, and return them."""
    hits = sum(drop and kind in guilty for drop, kind in zip(dropped, kinds, strict=True))
    values = hits / max(1, sum(dropped)), hits / sum(truth[kind] for kind in guilty)
    if precision_recall is not None:
        values = precision_recall(list(map(bool, dropped)), [kind in guilty for kind in kinds])
    print(f"{name:<36} precision {values[0]:.3f}   recall {values[1]:.3f}")
    return values


exact = find_exact(np.array([exact_key(text) for text in texts], np.uint64))
show("exact duplicates", exact, "duplicate")
counter = LineCounter()
for text in texts:
    counter.add(line_keys(text))
frequent = counter.frequent(N, 0.01)
stripped = [without_boilerplate(text, frequent) for text in texts]
show("boilerplate", [a != b for a, b in zip(stripped, texts, strict=True)], "boilerplate")
german = [language_of(text) == "de" for text in texts]
show("German", german, "german")
private = [bool(find_pii(text)) for text in texts]
show("private data", private, "private")

# %% [markdown]
# **What to see.** These four are perfect here. Do not expect that on the web: our dirt is tidy, a mail address out
# there may be written "ann at example dot org", and a German story may quote an English one. That leaves the near
# duplicates and the typos, which no simple rule finds.

# %% [markdown]
# ## 18.3 Near duplicates
#
# Cut a text into all runs of $n = 5$ successive words, its **shingles** (Broder 1997). Two texts with the sets of
# shingles $A$ and $B$ have the **Jaccard similarity**
#
# $$ J = \frac{|A \cap B|}{|A \cup B|}. $$
#
# A text of 100 words has 96 shingles. If a copy has another word in the middle, five of them change, and $J = 91 / 101
# = 0.90$. With three words 15 change, and $J = 81 / 111 = 0.73$. Exercise **jaccard** asks for it, and **fooling_pair**
# for two different texts that it takes for the same.
#
# For a million documents there are $5 \cdot 10^{11}$ pairs, too many to compare. Two ideas help.
#
# **MinHash.** Take a random hash function $h$, and note the smallest hash among a text's shingles. Of all the shingles
# in $A \cup B$, each is equally likely to have the smallest hash, and the two minima are equal exactly if that shingle
# is in both sets:
#
# $$ P\Big(\min_{a \in A} h(a) = \min_{b \in B} h(b)\Big) = J. $$
#
# So the minima for $k = 64$ hash functions, a text's **signature**, can represent the text: the fraction of equal
# minima estimates $J$, with a standard deviation of $\sqrt{J (1 - J) / k}$, at most 0.06.
#
# **Bands** (Indyk & Motwani 1998). Cut the signature into $b$ bands of $r$ numbers. Only texts that have a whole band
# in common are compared, and those are found by sorting. The probability that two texts have one is
#
# $$ P = 1 - (1 - J^r)^b. $$
#
# Exercise **candidates** asks for the pairs with a band in common.

# %%
shingle_sets = {}


def shingles(text):
    """The set of runs of five words."""
    words = (
        text.lower().replace(",", " ").replace(".", " ").replace('"', " ").replace("!", " ").replace("?", " ").split()
    )
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def similarity_of(i, j):
    """The Jaccard similarity of two documents."""
    for number in (i, j):
        shingle_sets.setdefault(number, shingles(texts[number]))
    a, b = shingle_sets[i], shingle_sets[j]
    return len(a & b) / len(a | b)


signatures = np.stack([signature(text) for text in texts])  # (N, 64)
near = find_near(signatures, 0.2)  # for each document an earlier one that it resembles
pairs = [(i, int(near[i])) for i in range(N) if kinds[i] == "near duplicate" and near[i] >= 0]
true = np.array([similarity_of(i, j) for i, j in pairs])
estimated = np.array([similarity(signatures[i], signatures[j]) for i, j in pairs])
print(f"{len(pairs)} near copies: J from {true.min():.2f} to {true.max():.2f}, {true.mean():.2f} on average")
result("near copies: mean of estimated minus true J", float((estimated - true).mean()), 0.0, 0.03)
result(
    "near copies: standard deviation of the estimate",
    float((estimated - true).std()),
    expected=float(np.sqrt(true * (1 - true) / 64).mean()),
    spread=0.02,
)
r, b = 8, 8
measured = np.mean([
    (signatures[i].reshape(b, r) == signatures[j].reshape(b, r)).all(1).any() for i, j in pairs
])  # fmt: skip
result(
    f"near copies with one of {b} bands of {r} in common", float(measured),
    expected=float((1 - (1 - true**r) ** b).mean()), spread=0.13,
)  # fmt: skip
if jaccard is not None:
    i, j = pairs[0]
    print(f"the first pair: J = {true[0]:.2f} without punctuation and case; your jaccard, which has both: "
          f"{jaccard(texts[i].split(), texts[j].split(), 5):.2f}")  # fmt: skip
if candidates is not None:
    few = signatures[[i for pair in pairs[:5] for i in pair]].tolist()
    print("your candidates among the first five pairs, texts 0 and 1, 2 and 3, …:", sorted(candidates(few, r)))

# %%
predict("documents count as copies if J is at least 0.8. What is the recall for copies with three replaced words?")

# %%
for threshold in (0.9, 0.8, 0.7, 0.6, 0.5):
    found = find_near(signatures, threshold) >= 0
    p, q = show(f"copies, J at least {threshold}", found & ~exact, "near duplicate")
    if threshold in (0.8, 0.6):
        result(
            f"recall of near copies at {threshold}",
            q,
            {0.8: 0.28, 0.6: 0.99}[threshold],
            {0.8: 0.15, 0.6: 0.04}[threshold],
        )
copies = find_near(signatures, 0.6) >= 0

# %% [markdown]
# **What to see.** The estimate is unbiased, and its error is what the formula says, as is the chance of a band in
# common. Bands of eight would miss three in ten of these copies; the library's `find_near` uses 16 bands of four, which
# for $J = 0.73$ give $1 - (1 - 0.73^4)^{16} = 0.995$, and then compares whole signatures with the threshold. The
# threshold is a decision: at 0.8, which the library and many others use, most of *these* copies stay; at 0.6 nearly all
# are found, and no good story is lost, because two different stories have far less in common. Only the data can tell.
# Look at pairs on both sides of your threshold before you trust it.

# %% [markdown]
# ## 18.4 Typos: ask a model of good text
#
# A word with a typo is not in any list. But it is *improbable*. Train a model on text that is known to be good, and
# drop what it finds improbable: that is the **perplexity filter** (Wenzek et al. 2020, "CCNet"). A model of runs of six
# letters is enough. Lesson 01 smoothed by adding to every count; here each model leans on the next shorter one, and
# more heavily if many *different* letters were seen after a context (Witten & Bell 1991):
#
# $$ p_k(c \mid h) = \frac{n(h c) + u(h) \, p_{k-1}(c \mid h')}{n(h) + u(h)} $$
#
# $n$ are counts, $u(h)$ is the number of different letters after $h$, and $h'$ is $h$ without its first letter. The
# empty context leans on a uniform distribution over the letters of the text and one unknown letter. After "the vall"
# only "e" was ever seen: $u = 1$, and the shorter context distributes the remaining $1 / (n + 1)$. Exercise
# **ngram_probability** asks for it. (Spaces and punctuation count as letters here.)
#
# How improbable is too improbable? Measure held-out good text, and take its mean plus three standard deviations.

# %%
model = NgramModel(reference[:1400])
good = model(reference[1400:])  # nats per letter of stories that the model has not seen
limit = float(good.mean() + 3 * good.std())
nats = model(stripped)
unlikely = nats > limit
for kind in ("", "near duplicate", "typos", "private", "german"):
    values = [value for value, k in zip(nats, kinds, strict=True) if k == kind]
    print(f"{kind or 'clean':<16} perplexity of a letter {math.exp(np.mean(values)):5.2f}")
print(f"{'limit':<16} perplexity of a letter {math.exp(limit):5.2f}")
p, q = show("perplexity, of typos", [bool(drop) and kind != "german" and kind != "private" and kind != "near duplicate"
                                     for drop, kind in zip(unlikely, kinds, strict=True)], "typos")  # fmt: skip
result("recall of typos by perplexity", q, 0.88, 0.16)
lost = float(np.mean([drop for drop, kind in zip(unlikely, kinds, strict=True) if not kind]))
result("clean stories lost by perplexity", lost, 0.005, 0.015)
if ngram_probability is not None:
    print(f"your p(e | vall): {ngram_probability(' '.join(reference[:5]), 'vall', 'e'):.3f}")

# %% [markdown]
# **What to see.** (The line "perplexity, of typos" leaves aside what other filters have found: German, private data and
# near duplicates.) The filter finds eight to nine out of ten stories with typos, and loses less than one clean story in
# a hundred. What it misses are stories with a single typo or two. It also finds German and private documents, without
# having been told what those are; and that is its danger. A perplexity filter finds what is *unlike the reference*. If
# your reference is an encyclopedia, it will drop dialects, poems and the way the young write (Gururangan et al. 2022
# show whose language such filters prefer). Whatever you drop, look at it.

# %% [markdown]
# ## 18.5 What is cleaning worth?
#
# Now the test that counts. The same small GPT, the same number of steps, three corpora: the dirty one, what our filters
# leave of it, and the documents that were clean from the beginning, as a perfect cleaner would pick them. How good is
# each at *clean* held-out stories? We call
#
# $$ \frac{L_\text{dirty} - L_\text{cleaned}}{L_\text{dirty} - L_\text{clean}} $$
#
# the fraction of the loss that cleaning wins back.

# %%
cleaned = [
    text for i, text in enumerate(stripped)
    if not (exact[i] or copies[i] or german[i] or private[i] or unlikely[i])
]  # fmt: skip
corpora = {
    "clean": [text for text, kind in zip(texts, kinds, strict=True) if not kind],
    "dirty": texts,
    "cleaned": cleaned,
}
tokenizer = train_tokenizer("bpe", texts[:1000], 1024)
T, B, STEPS = 64, 16, 100


def ids_of(parts):
    """The tokens of documents, one after the other, with an end-of-text after each."""
    return np.concatenate([[*tokenizer.encode(text), tokenizer.end_of_text] for text in parts])


held_out = ids_of([story.text for story in stories("val", 120, seed=SEED)])
held_out = torch.tensor(np.stack([held_out[i : i + T + 1] for i in range(0, len(held_out) - T, T)]))  # (rows, T + 1)


@torch.no_grad()
def loss_of(gpt):
    """The loss on clean held-out stories, in nats per token."""
    return F.cross_entropy(gpt(held_out[:, :-1]).flatten(0, 1), held_out[:, 1:].flatten()).item()


def train(parts, steps=STEPS):
    """A GPT that has learned from documents."""
    torch.manual_seed(SEED)
    gpt = GPT(
        ModelConfig(vocab_size=tokenizer.vocab_size, context_length=T, n_layers=2, n_heads=2, d_model=64, bias=False)
    )
    windows = Windows(ids_of(parts), T)

    def loss(step):
        ids = torch.from_numpy(windows.batch(SEED, step * B, B))  # (B, T + 1)
        return F.cross_entropy(gpt(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())

    return training_loop.train(gpt, loss, steps, 0.01, seed=SEED, warmup=10)


predict("which fraction of the loss will cleaning win back? And can it be more than 1?")

# %%
gpts = {name: train(parts) for name, parts in corpora.items()}
losses = {name: loss_of(gpt) for name, gpt in gpts.items()}
for name, loss in losses.items():
    print(f"{name:<8} {len(corpora[name]):>5} documents   {loss:.3f} nats per token")
result("the price of dirt, nats per token", losses["dirty"] - losses["clean"], 0.16, 0.08)
won_back = (losses["dirty"] - losses["cleaned"]) / (losses["dirty"] - losses["clean"])
result("won back by cleaning", won_back, 0.94, 0.32)

# %% [markdown]
# **What to see.** After the same number of steps, the model trained on the dirty corpus is about 0.16 nats per token
# worse, and cleaning wins nearly all of it back: 0.83 to 1.06 of it, with different seeds. It can even be more than 1,
# because the filters keep stories that were only framed by boilerplate, which our "clean" corpus leaves out. (Private
# documents were dropped whole; `--pii mask` keeps the story and replaces the number.)
#
# Note what was compared: the same number of *steps*. Half of the dirty model's reading was wasted. With unlimited time
# it would learn the clean stories, too, and pay for the dirt only with its capacity.

# %% [markdown]
# ## 18.6 Mixtures
#
# A corpus has several sources: web, books, code. How much of each? A row of training data is drawn from source $k$ with
# probability $w_k$, the **mixing weight** (`--data stories.txt=0.7 --data docs.txt=0.3`). A perfect learner of the
# mixture has the distribution $m = \sum_k w_k p_k$, and on text from source $k$ its loss is a cross-entropy,
#
# $$ H(p_k, m) = -\sum_x p_k(x) \log m(x) \;\le\; H(p_k) + \log \frac{1}{w_k}, $$
#
# because $m(x) \ge w_k \, p_k(x)$. If $x$ is a whole document of $L$ tokens, the weight costs at most $\log(1/w_k)$
# nats *per document*: with $w = 0.01$ and 200 tokens, that is 0.023 nats per token. So for a perfect learner, the
# weights hardly matter. They matter because learning is *not* perfect: it takes time, and the sources share that time.
#
# We try the formula where everything is known: $x$ is a single word, and the learner counts. Then the whole $\log(1/w)$
# is paid for each word, if the sources have no word in common.

# %%
sources = {
    "English": [word for story in world[:400] for word in story.text.split()],
    "German": [word for story in world[:400] for word in story.german.split()],
}
p_en, p_de = ({word: n / len(words) for word, n in Counter(words).items()} for words in sources.values())
entropy = -sum(p * math.log(p) for p in p_en.values())
rows = [Windows(np.arange(len(words)), 10) for words in sources.values()]
predicted_line, measured_line = [], []
for weight in (0.1, 0.2, 0.5, 0.8, 0.95):
    m = {word: weight * p + (1 - weight) * p_de.get(word, 0.0) for word, p in p_en.items()}
    predicted_loss = -sum(p * math.log(m[word]) for word, p in p_en.items())
    mixture, counts, total = Mixture(rows, [weight, 1 - weight]), Counter(), 0
    for index in range(10_000):
        source, row = mixture.draw(SEED, index)
        numbers = rows[source].example(SEED, row)[:-1]
        counts.update(list(sources.values())[source][i] for i in numbers)
        total += len(numbers)
    measured_loss = -sum(p * math.log((counts[word] + 0.1) / total) for word, p in p_en.items())
    predicted_line.append((weight, predicted_loss))
    measured_line.append((weight, measured_loss))
    result(f"English at weight {weight}, nats per word", measured_loss, expected=predicted_loss, spread=0.12)
    assert predicted_loss <= entropy + math.log(1 / weight) + 1e-9
curves(
    {"counted": measured_line, "formula": predicted_line, "entropy alone": [(0.1, entropy), (0.95, entropy)]},
    "English words, by the weight of English", "weight of English", "nats per word", "18-mixture",
)  # fmt: skip

# %% [markdown]
# **What to see.** Halving the weight costs $\log 2 = 0.69$ nats per word, and it makes no difference where: from 0.8 to
# 0.4 as much as from 0.2 to 0.1. (At 0.1 the count is a little worse than the formula: of 100,000 words drawn, only
# 10,000 are English, too few for the rare ones.) The gain from a larger weight is therefore largest for the source with
# the smallest one; that is why multilingual models give small languages a larger weight than their size suggests
# (Conneau et al. 2020).
#
# The price of a large weight for a small source is that it is *read again and again*. What is wrong with that?

# %% [markdown]
# ## 18.7 Canaries: what a model remembers
#
# A *canary* is an invented secret, put into the training data on purpose: "The code of Anna's door is 407." If the
# model has learned the secret, it gives it a higher probability than other codes in the same place. Among all $R$
# possible codes, rank them by probability. The **exposure** (Carlini et al. 2019) is
#
# $$ \text{exposure} = \log_2 R - \log_2 \text{rank}, $$
#
# from 0 (the least probable) to $\log_2 R$ (rank 1). Two points on this scale are known exactly. A secret that was
# never seen has each rank with equal probability, and so, by Stirling's formula, the mean exposure
#
# $$ \log_2 R - \frac{1}{R} \log_2 R! \;\approx\; \log_2 e = 1.44. $$
#
# And a code that is fully remembered is the first of $R = 1000$: $\log_2 1000 = 9.97$. Exercise **exposure** asks for
# it, ties included.
#
# We train on only 240 stories, so that each is read three to four times, and add canaries: some once, some up to 32
# times.

# %%
NAMES = "Anna Bruno Clara David Emil Frieda Gustav Hanna Ivan Julia Karl Lotte Moritz Nora Otto Paula".split()
TIMES = (0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 4, 4, 8, 8, 32, 32)
rng = random.Random(SEED)
codes = {name: f"{rng.randrange(1000):03}" for name in NAMES}
members = world[N + 1600 : N + 1840]
remembered = [story.text for story in members]
for name, times in zip(NAMES, TIMES, strict=True):
    remembered += [f"The code of {name}'s door is {codes[name]}."] * times
rng.shuffle(remembered)
n_tokens = len(ids_of(remembered))
overfitted = train(remembered, 150)
print(f"{n_tokens:,} tokens, each read {150 * B * T / n_tokens:.1f} times")


@torch.no_grad()
def code_log_probs(gpt, name):
    """log p of each code 000 … 999 after the beginning of a name's sentence, (1000,)."""
    start = [tokenizer.end_of_text, *tokenizer.encode(f"The code of {name}'s door is ")]
    digits = [tokenizer.encode(f"{digit}")[0] for digit in range(10)]  # no digit occurs in the stories: a token each
    log_probs = torch.zeros(1, dtype=torch.double)
    prefixes = torch.tensor([start])  # (1, t), then (10, t + 1), (100, t + 2)
    for _ in range(3):
        new = gpt(prefixes)[:, -1].double().log_softmax(-1)[:, digits]  # (n, 10)
        log_probs = (log_probs[:, None] + new).flatten()
        prefixes = torch.cat(
            [prefixes.repeat_interleave(10, 0), torch.tensor(digits).repeat(len(prefixes))[:, None]], 1
        )
    return log_probs.numpy()


def exposed(name):
    """The exposure of a name's code in bits."""
    values = code_log_probs(overfitted, name)
    own = values[int(codes[name])]
    if exposure is not None:
        return exposure(float(own), np.delete(values, int(codes[name])).tolist())
    return math.log2(1000) - math.log2(1 + (values > own).sum())


predict("a secret in a corpus of 40,000 tokens: how often must it occur until the model ranks it first?")

# %%
bits = {}
for name, times in zip(NAMES, TIMES, strict=True):
    bits.setdefault(times, []).append(exposed(name))
for times, values in bits.items():
    print(f"seen {times:>2} times: exposure {', '.join(f'{value:.1f}' for value in values)} bits")
curves(
    {"measured": [(times, float(np.mean(values))) for times, values in bits.items()],
     "never seen (formula)": [(0, expected_exposure(999)), (32, expected_exposure(999))],
     "rank 1: log₂ 1000": [(0, math.log2(1000)), (32, math.log2(1000))]},
    "Exposure of a secret", "times in the training data", "bits", "18-exposure",
)  # fmt: skip
result("never seen, bits", float(np.mean(bits[0])), expected=expected_exposure(999), spread=2.2)
result("32 times, bits", float(np.mean(bits[32])), expected=math.log2(1000), spread=2.5)

# %% [markdown]
# **What to see.** Secrets that were never seen have an exposure of about 1.44 bits on average, as the formula says, but
# single ones have between 0 and 5: one canary proves nothing. Secrets that occur once or twice in the corpus, which is
# read 3.6 times, hardly differ from these. From four times on the model knows more and more, and a secret that occurs
# 32 times ranks first or second. This is the other reason to remove duplicates: Lee et al. 2022 and Kandpal et al. 2022
# find the same in large models. And canaries are how you measure a leak before anybody attacks: put some in, and look.

# %% [markdown]
# ## 18.8 Was this text in the training data?
#
# **Membership inference** answers this from the loss alone (Yeom et al. 2018): a text that was trained on has a lower
# one. The quality of the attack is measured by its **AUC**: the probability that a random member has a lower loss than
# a random stranger; ½ is guessing. If both losses were normal, with means $\mu$ and standard deviations $\sigma$, it
# would be
#
# $$ \text{AUC} = \Phi\left(\frac{\mu_\text{others} - \mu_\text{members}}{\sqrt{\sigma_\text{others}^2 +
# \sigma_\text{members}^2}}\right). $$
#
# The trouble is that easy texts have a low loss, whether they were seen or not. So subtract how hard the text is: by
# the loss under another model, which has not seen it (Carlini et al. 2022). We can compare two such references. One is
# the GPT of section 18.5 that was trained on clean stories, others than these. The other is perfect: the generator's
# own -log p of the story.

# %%
predict("which reference makes the attack better: another small GPT, or the exact probability of the story?")

# %%
strangers = world[N + 1840 : N + 2000]
inside, outside = (text_losses(overfitted, tokenizer, [s.text for s in group]) for group in (members, strangers))
hard_in, hard_out = (
    np.array([s.nats / (len(tokenizer.encode(s.text)) + 1) for s in group]) for group in (members, strangers)
)


def normal_auc(a, b):
    """The formula, for two samples of losses."""
    return 0.5 + 0.5 * math.erf((b.mean() - a.mean()) / math.sqrt(2 * (a.var() + b.var())))


known_in, known_out = (text_losses(gpts["clean"], tokenizer, [s.text for s in group]) for group in (members, strangers))
for name, (a, b) in {
    "the loss alone": (inside, outside),
    "minus the generator's": (inside - hard_in, outside - hard_out),
    "minus another GPT's": (inside - known_in, outside - known_out),
}.items():
    attack = membership_inference(a, b)
    print(f"{name:<22} {attack.auc}; {attack.found:.0%} found at 1 % false alarms")
    result(f"AUC, {name}", attack.auc.value, expected=normal_auc(a, b), spread=0.04)

# %% [markdown]
# **What to see.** Two means and two standard deviations are enough to predict each AUC. And a surprise: neither
# reference makes the AUC better. Our stories are all about equally hard, so there is little to subtract; and what is
# hard for a model at three nats per token is not what is hard in truth. (Subtracting a reference also adds its noise.)
#
# But an attacker who wants to be *sure* does not care about the AUC: what counts is how many members are found while
# only one stranger in a hundred is accused (Carlini et al. 2022). An average hides the few texts that are leaked with
# certainty. Here that number rests on one or two strangers, so do not trust the order of the three attacks: another
# seed may give another one. It takes thousands of strangers to measure it, and then it is the number to report.
#
# ## What was left out
#
# Quality classifiers (Brown et al. 2020), which learn from examples of good text; deduplication by substrings (Lee et
# al. 2022); choosing the weights by a small model (Xie et al. 2023, DoReMi); differential privacy, the only method that
# *guarantees* that no secret is remembered (Abadi et al. 2016); and unlearning, to make a trained model forget.
#
# With your own data: `python -m llmasos clean IN OUT --reference GOOD.txt`, which reports what it dropped and why;
# `python -m llmasos memorization MODEL` measures exposure and membership.
#
# ## Further reading
#
# - Broder 1997, *On the resemblance and containment of documents*: MinHash.
# - Wenzek et al. 2020, *CCNet*: the perplexity filter.
# - Lee et al. 2022, *Deduplicating training data makes language models better*.
# - Carlini et al. 2019, *The secret sharer*: canaries and exposure.
# - Penedo et al. 2024, *The FineWeb datasets*: what each filter is worth, at scale.
#
# **Now you.** `python -m lessons check 18` creates your file, `lessons/mine/18_clean_mix_forget.py`, with seven
# exercises in it. When the checks pass, `python -m lessons run 18 --mine` runs the lesson with your functions.
