# %% [markdown]
# # 01 Counting and perplexity
#
# - **Question:** How well can you continue a text by counting alone, and how do you measure it?
# - **Teaches:** language models from scratch: tokens and tensors, bigrams by counting and by gradient descent,
#   smoothing, cross-entropy, perplexity, bits per byte, training, validation and test sets, n-grams, and entropy as a
#   floor
# - **Minutes:** 120 to read and solve, 1 to run
#
# You need Python, logarithms, and derivatives. Everything else is built here. If you have never seen a tensor, section
# 1.2 is your introduction; keep a Python prompt open and try each line with your own numbers.
#
# How a lesson works: read it, run it (`python -m lessons run 1`), answer its predictions *before* you read on, and look
# at its pictures. Then do the exercises (`python -m lessons check 1`). The checks tell you what is wrong and why.
#
# Dimension letters, here and throughout the library: B batch, T length of a text, V size of the vocabulary, N a
# number of tokens. *ln* is the natural logarithm.

# %% [setup]
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# %%
import math
import re
from collections import Counter

import numpy as np
import torch
from torch import nn

from lessons.machinery.lesson_api import part, predict, result, seed
from lessons.machinery.pictures import curves, heatmap
from llmasos.datasets import Windows
from llmasos.datasets.storyworld import stories
from llmasos.datasets.storyworld.entropy import per_unit
from llmasos.datasets.storyworld.people import CHILDREN
from llmasos.datasets.storyworld.proof import readings
from llmasos.objectives import CausalLM
from llmasos.tokenizers import CharTokenizer

torch.manual_seed(seed())
torch.set_num_threads(min(2, torch.get_num_threads()))
torch.set_printoptions(precision=2, sci_mode=False)

# %% [markdown]
# ## 1.1 A game of guessing
#
# > *Once there was a sh* ▢
#
# Which character comes next? Perhaps y (a *shy boy*), perhaps a, e or o; hardly x. You have just been a **language
# model**: a rule that looks at the beginning of a text and gives a probability to each token that could come next. (A
# *token* is a unit that the text is cut into: characters for now, words later in this lesson, pieces of words in lesson
# 02.)
#
# This is all that even the largest language models do. It is enough, for two reasons. A model that predicts the next
# token can *write*: sample a token from these probabilities, append it, and repeat. And it gives a probability to a
# whole text $x_1 x_2 \dots x_N$, because by the definition of conditional probability
#
# $$ p(x_1, \dots, x_N) = p(x_1)\; p(x_2 \mid x_1)\; p(x_3 \mid x_1 x_2) \cdots p(x_N \mid x_1 \dots x_{N-1}). $$
#
# This is the **chain rule**. It assumes nothing and loses nothing. All the difficulty is in the last factor: there are
# so many different beginnings $x_1 \dots x_{N-1}$ that hardly any occurs twice. So we have to forget something. In this
# lesson, we forget nearly everything and keep **only the last token**:
#
# $$ p(x_t \mid x_1 \dots x_{t-1}) \approx p(x_t \mid x_{t-1}). $$
#
# A model of pairs is called a **bigram** model. Markov counted by hand how vowels and consonants follow one another in
# 20,000 letters of Pushkin's *Eugene Onegin* (1913), and Shannon sampled imitations of English letter by letter from
# such statistics (1948, section 3). Two questions guide this lesson: how good can this be, and what does "good" mean?

# %% [markdown]
# ## 1.2 Text as numbers
#
# Our texts are stories from a small world that comes with the library. A program generates them (`storyworld`,
# described in `data/storyworld/README.md`), so there are as many as we like. A second reason makes them better for
# learning than any real text: see section 1.10.

# %%
train_stories = list(stories("train", 2000, seed=seed()))
held_out = list(stories("val", 600, seed=seed()))
val_stories, test_stories = held_out[:300], held_out[300:]


def one_text(selection) -> str:
    """Join the stories, with a line break before each one and after the last."""
    return "\n" + "\n".join(story.text for story in selection) + "\n"


train_text, val_text, test_text = one_text(train_stories), one_text(val_stories), one_text(test_stories)
print(val_stories[0].text)
print(
    f"\n{len(train_text):,} characters for training, {len(val_text):,} for validation, {len(test_text):,} for the test"
)

# %% [markdown]
# Three texts, for three purposes:
#
# - on the **training** text, the model learns: here, it counts;
# - on the **validation** text, we try out what it has learned and *choose* between settings;
# - on the **test** text, we measure the result of our choices, once, at the end.
#
# Why not one? Because a model does best on text it has already seen, and we want to know how it does on new text. Why
# not two? Because if you try a hundred settings and keep the best, you pick the one that suits this validation text,
# luck included. A number used for choosing is no longer an honest measure. In `storyworld`, the two held-out texts
# contain combinations of child, plot and thing that no training story has.
#
# A model computes with numbers, so every token gets a number, its **id**. The library's `CharTokenizer` collects the
# characters of the training text and numbers them.

# %%
tokenizer = CharTokenizer.train([train_text])
V = tokenizer.vocab_size
print(V, "ids:", repr(tokenizer.characters), "and", list(tokenizer.special_tokens))
print("a shy boy →", list(tokenizer.encode("a shy boy")))

# %% [markdown]
# We keep rows of numbers in **tensors**: numbers of one type (`dtype`) in a rectangle of some **shape**. One
# dimension: a row, shape (N,). Two: a table, shape (rows, columns). Three and more will come. When code goes wrong,
# print the shapes first; this is why the code in this course has them in comments.

# %%
ids = torch.tensor(tokenizer.encode("a shy boy"))  # (9,)
print(ids.shape, ids.dtype)
print("all but the last ", ids[:-1])  # (8,)
print("all but the first", ids[1:])  # (8,)

table = torch.tensor([[1.0, 3.0], [2.0, 2.0]])  # (2, 2)
print("row 0:", table[0], "  column 0:", table[:, 0], "  row 0, column 1:", table[0, 1].item())
rows, columns = torch.tensor([0, 0, 1]), torch.tensor([1, 1, 0])
print("three entries at once:", table[rows, columns])  # (3,): table[0, 1], table[0, 1], table[1, 0]

# %% [markdown]
# Compare the two slices above: aligned, `ids[:-1]` and `ids[1:]` pair every token with the one that follows it. N
# tokens have N - 1 such pairs. This whole course is built on these two slices.

# %% [markdown]
# ## 1.3 Counting pairs
#
# How probable is it that b comes after a? Count how often it did. Let $N_{ab}$ be the number of times that b followed
# a in the training text; then
#
# $$ p(b \mid a) = \frac{N_{ab}}{\sum_{j} N_{aj}}. $$
#
# The sum runs over everything that may come next, so for each a, the probabilities of all b sum to one. For two
# characters, with plain Python:

# %%
pairs = Counter(zip(train_text, train_text[1:], strict=False))  # (a, b) → how often
for a in "qh":
    after = {b: times for (first, b), times in pairs.items() if first == a}
    best = sorted(after, key=after.get, reverse=True)[:5]
    print(f"after {a}: ", ",  ".join(f"{b!r} {after[b] / sum(after.values()):.2f}" for b in best))

# %% [markdown]
# q is always followed by u (*quickly, quarrel, squirrel*). For the model, we want everything in one table of shape (V,
# V): **the row is the known character, the column the one to predict.** Each row must be divided by its sum, and here
# is the first trap. What is wrong with the second line?

# %%
N2 = torch.tensor([[6.0, 2.0], [1.0, 1.0]])  # (2, 2): counts; the rows sum to 8 and 2
predict("N2 / N2.sum(dim=1): which numbers are in row 0? Shouldn't they be 6/8 and 2/8?")

# %%
print("sum(dim=1)               ", N2.sum(dim=1).shape, (N2 / N2.sum(dim=1)).tolist())
print("sum(dim=1, keepdim=True) ", N2.sum(dim=1, keepdim=True).shape, (N2 / N2.sum(dim=1, keepdim=True)).tolist())

# %% [markdown]
# `dim=1` says that the *columns* are added up: one sum for each row, shape (2,). But when a table (2, 2) is divided by
# a row (2,), torch aligns the row with the columns and repeats it downward. This is **broadcasting**: shapes are
# compared from the right, and a missing dimension, or one of size 1, is repeated. So the count in column b was divided
# by the sum of row b, whatever its own row, and no shape error warns you. With `keepdim=True` the sums have shape (2,
# 1), a column, which is repeated to the right.
#
# The second trap is in counting. `N[a, b] += 1` counts one pair. With *tensors* of indices, it does not count
# repetitions: torch reads all the entries, adds one to each, and writes them back; for equal pairs, only one result is
# kept.

# %%
N3 = torch.zeros(2, 2)
N3[rows, columns] += 1  # the pairs (0, 1), (0, 1), (1, 0) from above
print(N3)

# %% [markdown]
# There should be a 2. A loop gets it right; so does `torch.bincount`, which counts how often each whole number occurs,
# and it is fast. We only have to encode the pair (a, b) as the single number a · V + b. Here are the 1.1 million pairs
# of our text.

# %%
train_ids, val_ids = (torch.tensor(tokenizer.encode(text)) for text in (train_text, val_text))
before, after = train_ids[:-1], train_ids[1:]  # (N - 1,) each
N = torch.bincount(before * V + after, minlength=V * V).view(V, V)  # (V, V): whole numbers
print(f"{int(N.sum()):,} pairs, {int((N > 0).sum())} distinct ones, out of {V * V:,} possible")

letters = [" ", ",", ".", *"abcdefghijklmnopqrstuvwxyz"]
letter_ids = torch.tensor(tokenizer.encode("".join(letters)))  # (29,)
fractions = [[N[a, b].item() / N[a].sum().item() for b in letter_ids] for a in letter_ids]
names = ["·", *letters[1:]]
heatmap(
    fractions, names, names, "What comes next: the row is the known character, the column the next one", "01-bigrams"
)

# %% [markdown]
# **What to see.** · is the space. A row with one dark square leaves no doubt: q is followed by u, z by e, a comma or a
# period by a space. A pale row leaves everything open: after a space, a word begins, with t, a, w, s or many other
# letters. A column shaded nearly all the way down belongs to a character that can follow almost anything: the space, e,
# o. The row of t is darkest at h and at the space, and the row of h at e: you can read *the* in the picture. And most
# consonants are shaded in the columns of vowels, which is what Markov counted.
#
# A table of probabilities can write. Sample a character from the row of the last one, append it, and repeat:


# %%
def draw(weights, generator) -> int:
    """Sample an index in proportion to the weights."""
    return int(torch.multinomial(weights, 1, generator=generator))


generator = torch.Generator().manual_seed(seed())
text = list(tokenizer.encode("\n"))
for _ in range(120):
    text.append(draw(N[text[-1]].float(), generator))
print(tokenizer.decode(text).strip())

# %% [markdown]
# These are not words, but the letters follow each other as in English: you could read it aloud. In exercise
# **bigram_table**, you compute the whole table (with the smoothing of section 1.5).

# %% [markdown]
# ## 1.4 How good is a prediction?
#
# A model is good if it gave a high probability to what actually happened. So look at the probability it gave to the
# whole held-out text: the product over its tokens. Products have a practical problem:

# %%
print("0.1 to the power of 400 is", 0.1**400)

# %% [markdown]
# It **underflows**: the smallest number that fits in 64 bits is about 10⁻³²⁴. So take the logarithm, which turns the
# product into a sum, with a minus sign because logarithms of probabilities are negative. The **surprise** (or
# surprisal) of a token with probability $p$ is
#
# $$ -\ln p \quad \text{nats}. $$
#
# Certain: 0. One in two: 0.69. One in a thousand: 6.9. Impossible: infinite. The mean over all predicted tokens is the
# **cross-entropy**, the loss of every language model in this course:
#
# $$ L = -\frac{1}{n} \sum_{t} \ln p(x_t \mid \text{what came before}) \quad \text{nats per token}. $$
#
# n is the number of *predictions*. Nothing predicts the first token of a text, so a text of N tokens has N - 1
# predictions. For several texts, add up all the surprises and all the predictions and divide once: each token counts
# the same, in a short text or a long one.
#
# How much is 2.3 nats? The **perplexity**, its exponential, is more tangible:
#
# $$ \mathrm{PP} = e^{L} = \Bigl(\prod_t \frac{1}{p_t}\Bigr)^{1/n}. $$
#
# A model that chooses uniformly among V tokens gives each 1/V; its loss is ln V and its perplexity V. So a perplexity
# of 10 means: as uncertain as a uniform choice among 10. It is also a mean (the geometric mean of 1/p), but not the
# arithmetic mean of 1/p. Three predictions:

# %%
p = torch.tensor([1 / 2, 1 / 2, 1 / 1000])  # the model's probabilities for the three tokens that came next
print("surprise of each        ", -p.log())
print("e to the mean surprise   ", f"{math.exp(-p.log().mean().item()):.1f}")
print("the plain mean of 1/p    ", f"{(1 / p).mean().item():.1f}   (one bad prediction dominates it)")

# %% [markdown]
# With logarithms to base 2, everything is measured in **bits** instead of nats, and the perplexity is 2 to the power
# of the mean. The perplexity comes out the same, but only if both steps use the same base.
#
# Back to the characters. The logarithm of a quotient is a difference of logarithms, so the surprise of b after a is
# $\ln \sum_j N_{aj} - \ln N_{ab}$.

# %%
# `run 1 --mine` puts your own functions here
bigram_table = part("bigram_table", None)
perplexity = part("perplexity", None)


K = 0.01  # see section 1.5
if bigram_table is None:
    letter_table = (N + K).log().softmax(dim=1)  # (V, V): the same probabilities, as section 1.7 will explain
else:
    letter_table = bigram_table(train_ids, V, K)


def letter_losses(ids):
    """Return the surprise of every character except the first, in nats (N - 1,)."""
    counts = N + K  # (V, V)
    if bigram_table is None:
        return counts.sum(dim=1).log()[ids[:-1]] - counts[ids[:-1], ids[1:]].log()
    return -letter_table[ids[:-1], ids[1:]].log()


predict(
    f"there are {V} ids, so a random guess has perplexity {V}, a loss of {math.log(V):.1f} nats. "
    "What is the perplexity of the character bigrams?"
)

# %%
counted_loss = letter_losses(val_ids).mean().item()
result("character bigrams on val, nats per character", counted_loss, 2.27, 0.02)
if perplexity is None:
    letter_perplexity = math.exp(counted_loss)
else:
    letter_perplexity = perplexity(letter_table, [val_ids.tolist()])
result("the same as perplexity", letter_perplexity, 9.67, 0.2)

# %% [markdown]
# Knowing one character narrows the choice from 60 to fewer than ten. In exercise **perplexity**, you compute this
# measure for several texts.

# %% [markdown]
# ## 1.5 Pairs that were never seen
#
# Characters are easy to count: there are few pairs, and each occurs often. Now take *words* as tokens. We cut the text
# so that nothing is lost: a word keeps the space before it, each punctuation mark is its own token, and joining the
# tokens gives back the text. The vocabulary comes from the training text: the model must not know in advance which
# words will appear in the test. A word that was never seen has the id `unknown`. (There are hardly any: sooner or
# later, every word of the small world appears in the training text.)

# %%


def words(text: str) -> list[str]:
    """Cut a text into words and punctuation marks: "a shy boy." → "a", " shy", " boy", "."."""
    return re.findall(r"\n| ?\w+| ?[^\w\s]", text)


assert "".join(words(val_text)) == val_text
vocabulary = sorted(set(words(train_text)))
id_of = {word: id for id, word in enumerate(vocabulary)}
unknown = len(vocabulary)
VW = len(vocabulary) + 1  # size of the vocabulary of words
train_words, val_words, test_words = (
    [id_of.get(word, unknown) for word in words(text)] for text in (train_text, val_text, test_text)
)
seen = Counter(zip(train_words, train_words[1:], strict=False))
new = [pair for pair in zip(val_words, val_words[1:], strict=False) if pair not in seen]
print(f"{VW:,} distinct words; {len(train_words):,} words of training text, {len(val_words):,} for validation")
print(f"{VW * VW:,} pairs are possible; {len(seen):,} were seen, {len(seen) / VW**2:.2%} of the table")
print(f"{len(new)} pairs of the validation text were never seen, such as:", end="")
print(*(f"{vocabulary[a]}{vocabulary[b]}" for a, b in new[:4] if unknown not in (a, b)), sep=",")

# %%
predict("what is the perplexity of word bigrams, counts alone, on the validation text?")

# %% [markdown]
# It is infinite. A pair that was never counted has probability 0 and surprise $-\ln 0 = \infty$, and a mean with one
# infinity in it is infinite, whatever the other 39,000 tokens are. This is not a quirk of the measure. A model that
# calls something *impossible* that then happens is infinitely wrong; it would have lost every bet.
#
# More than 99 % of the table is empty, but that does not make all of it impossible: the text was too short to show
# everything. So nothing should be 0. The simplest remedy is additive **smoothing**: pretend that every pair was seen k
# more times than it was,
#
# $$ p(b \mid a) = \frac{N_{ab} + k}{\sum_j (N_{aj} + k)} = \frac{N_{ab} + k}{N_a + kV}, \qquad N_a = \sum_j N_{aj}. $$
#
# Each of the V counts in a row grows by k, so the sum grows by k V: the new pairs gain probability at the expense of
# the old ones. (k = 1 is Laplace's rule of succession.) How large should k be? Too small, and unseen pairs are
# expensive; too large, and all rows become the same. The training text cannot decide: there, no smoothing is best. So
# we *choose* on the validation text.

# %%
NW = torch.zeros(VW, VW, dtype=torch.float64)  # (VW, VW)
for (a, b), times in seen.items():
    NW[a, b] = times


def word_losses(ids, k, counts=NW):
    """Return the surprise of every word except the first under smoothed bigrams, in nats (N - 1,)."""
    before, after = torch.tensor(ids)[:-1], torch.tensor(ids)[1:]  # (N - 1,) each
    count, total = counts[before, after] + k, counts.sum(dim=1)[before] + k * VW
    return torch.where(count > 0, total.log() - count.log(), math.inf)


print("     k      train      val    nats per word")
table_of_k = {}
for k in (0, 0.0001, 0.001, 0.01, 0.1, 1.0, 10.0):
    table_of_k[k] = word_losses(val_words, k).mean().item()
    print(f"{k:>6g} {word_losses(train_words, k).mean():10.3f} {table_of_k[k]:8.3f}")
best_k = min(table_of_k, key=table_of_k.get)
print("chosen: k =", best_k)

# %%
word_val, word_test = (word_losses(ids, best_k).mean().item() for ids in (val_words, test_words))
result("word bigrams on val, nats per word", word_val, 2.61, 0.05)
result("word bigrams on the test text, measured once", word_test, 2.61, 0.05)

# %% [markdown]
# Look at the *train* column: it only rises with k. Look at *val*: it falls from infinity and rises again. Laplace's k
# = 1 is far too large: with 1,547 words, it adds 1,547 invented pairs to a row that was seen ten times.
#
# There is another way to get a better number, and it is cheating: count the validation text too.

# %%
counts = NW.clone()
for a, b in zip(val_words, val_words[1:], strict=False):
    counts[a, b] += 1
print(f"with the validation text in the counts: {word_losses(val_words, 0, counts).mean():.3f} nats per word on it")

# %% [markdown]
# No pair is new anymore, no smoothing is needed, the number is better, and it says nothing about any other text. This
# is **leakage**: information about the answers got into the model. Here the gain is small. With longer contexts it
# becomes grotesque (section 1.10), and in practice it comes in through back doors: the same document twice in a
# collection, a vocabulary or a mean computed on all the data, a setting chosen on the test text.
#
# In exercise **impossible**, you find a text that a counting model considers impossible, and explain why.

# %% [markdown]
# ## 1.6 Nats, bits, entropy, and why counting is best
#
# Where does the surprise $-\ln p$ come from, and how small can its mean be? Suppose we know the truth: b comes after a
# with probability $q_b$. Whatever model $p$ we have, its mean surprise is the **cross-entropy** of q and p,
#
# $$ H(q, p) = -\sum_b q_b \ln p_b, \qquad\text{and for } p = q\text{:}\qquad H(q) = -\sum_b q_b \ln q_b, $$
#
# the **entropy** of q: how surprising the world is even if you know it perfectly. A fair coin has ln 2 = 0.69 nats,
# which is the definition of one **bit**; so bits = nats / ln 2. A coin that shows heads 9 times in 10:

# %%
q = torch.tensor([0.9, 0.1])
predict("is a coin with 9 heads in 10 more or less than half as uncertain as a fair one?")

# %%
entropy = -(q * q.log()).sum().item()
print(f"entropy {entropy:.3f} nats = {entropy / math.log(2):.3f} bits; of a fair coin 0.693 nats = 1 bit")
for heads in (0.5, 0.8, 0.9, 0.99):
    p = torch.tensor([heads, 1 - heads])
    print(f"a model that says {heads:.2f}: cross-entropy {-(q * p.log()).sum():.3f} nats")

# %% [markdown]
# The truth is always the best model. For $x > 0$, $\ln x \le x - 1$ (the logarithm lies below its tangent at 1).
# Therefore
#
# $$ H(q) - H(q, p) = \sum_b q_b \ln \frac{p_b}{q_b} \;\le\; \sum_b q_b \Bigl(\frac{p_b}{q_b} - 1\Bigr)
#    = \sum_b p_b - \sum_b q_b \le 0, $$
#
# with sums over all b that have $q_b > 0$. So $H(q, p) \ge H(q)$, with equality only for $p = q$. The difference,
# $\mathrm{KL}(q \,\|\, p) = H(q, p) - H(q)$, is the Kullback–Leibler divergence: the nats we pay for not knowing the
# truth (Cover & Thomas, theorem 2.6.3).
#
# Two things follow. First: **no model has a smaller mean loss than the entropy of the text's source.** We come back to
# this in section 1.10. Second: **nothing beats counting on the training text.** Grouped by the previous token, its
# loss is
#
# $$ L = \sum_a \frac{N_a}{N} \Bigl( -\sum_b \frac{N_{ab}}{N_a} \ln p(b \mid a) \Bigr), $$
#
# and each bracket is a cross-entropy with $q_b = N_{ab} / N_a$. It is smallest for $p(b \mid a) = N_{ab} / N_a$: the
# counted fractions. Minimizing the cross-entropy of a text maximizes its probability, since one is the negative
# logarithm of the other; so the counted fractions are the **maximum likelihood** estimate. Being the best on the
# *training* text is both its strength and, as section 1.5 showed, its weakness.

# %% [markdown]
# ## 1.7 The same table by gradient descent
#
# We know the best table. Let us find it in a way that still works when there is nothing to count: start with any
# table, and improve it step by step. To be free to change the numbers, take **logits** $z_{ab}$, any real numbers, and
# turn each row into probabilities by the **softmax**:
#
# $$ p(b \mid a) = \frac{e^{z_{ab}}}{\sum_j e^{z_{aj}}}. $$
#
# (If $z_{ab} = \ln N_{ab}$, this is the counted fraction. So gradient descent can reach the table we want.)
#
# In which direction does the loss fall? Take one pair: a was followed by b. Its loss is
#
# $$ \ell = -\ln p(b \mid a) = \ln \sum_j e^{z_{aj}} - z_{ab}, \qquad\text{so}\qquad
#    \frac{\partial \ell}{\partial z_{aj}} = \frac{e^{z_{aj}}}{\sum_i e^{z_{ai}}} - [j = b] = p(j \mid a) - [j = b]. $$
#
# $[j = b]$ is 1 for the token that came next and 0 for the others, the **one-hot** vector of b. *Softmax minus
# one-hot*: what the model predicted, minus what happened. A step against the gradient lowers all logits of row a in
# proportion to their probabilities, and raises the logit of b. Other rows get nothing from this pair. The loss of many
# pairs is the mean of their losses, and the same goes for the gradient. Let torch's automatic differentiation confirm
# it:

# %%
z = torch.tensor([0.0, math.log(2), 0.0], requires_grad=True)  # (3,): one row; probabilities 1/4, 1/2, 1/4
loss = torch.logsumexp(z, dim=0) - z[2]  # token 2 came next
loss.backward()
print("softmax ", z.detach().softmax(dim=0))
print("gradient", z.grad)

# %% [markdown]
# When does it converge? Sum the gradients of row a over all pairs: $N_a\, p(j \mid a) - N_{aj}$. It is zero exactly
# if $p(j \mid a) = N_{aj} / N_a$: the counts again.
#
# This is the smallest neural network there is. Multiply the one-hot vector of a, (V,), by the table Z, (V, V), and you
# get row a: a *linear layer* whose input says only which token it was. Instead of multiplying by zeros, `nn.Embedding`
# looks the row up. It takes ids of shape (B, T), B texts of T tokens, and returns logits (B, T, V), like every model
# in this library.
#
# A step does not use the whole text. `Windows` cuts it into pieces of T + 1 characters and returns B of them at a
# time; the objective `CausalLM` uses the first T characters as inputs and the last T as targets (our two slices),
# and computes the loss. The mean over such a **batch** is a noisy estimate of the mean over everything, and cheap.

# %%
objective = CausalLM()
batch = objective.collate([np.array(tokenizer.encode("a shy boy")), np.array(tokenizer.encode("the pony "))])
print("ids    ", batch["ids"].shape, repr(tokenizer.decode(batch["ids"][1].tolist())))
print("targets", batch["targets"].shape, repr(tokenizer.decode(batch["targets"][1].tolist())))
print("logits ", nn.Embedding(V, V)(batch["ids"]).shape)

# %%
T, BATCH, STEPS, RATE = 64, 64, 1500, 50.0
table_gradient = part("table_gradient", None)

windows = Windows(np.array(tokenizer.encode(train_text)), T)
model = nn.Embedding(V, V)
nn.init.zeros_(model.weight)  # all logits 0: every character equally probable
points, smooth = [], math.log(V)
for step in range(STEPS):
    batch = objective.collate(list(windows.batch(seed(), step * BATCH, BATCH)))
    loss = objective.loss_sums(model, batch)["causal"] / objective.n_targets(batch)["causal"]
    model.zero_grad()
    if table_gradient is None:
        loss.backward()  # torch fills model.weight.grad
    else:
        Z = model.weight.detach().clone()
        model.weight.grad = table_gradient(Z, batch["ids"].flatten(), batch["targets"].flatten()).to(Z)
    with torch.no_grad():
        model.weight -= RATE * (1 - step / STEPS) * model.weight.grad  # smaller and smaller steps
    smooth = 0.9 * smooth + 0.1 * loss.item()
    if step % 25 == 0:
        points.append((step, smooth))

learned = model.weight.detach()  # (V, V)
descent_loss = -learned.log_softmax(dim=1)[val_ids[:-1], val_ids[1:]].mean().item()
result("the table by gradient descent on val, nats", descent_loss, 2.28, 0.02)
result("more than by counting, nats", descent_loss - counted_loss, 0.013, 0.006)

# %%
best = letter_losses(train_ids).mean().item()
curves(
    {"by gradient descent": points, "by counting": [(0, best), (STEPS, best)]},
    "Two ways to the same table", "step", "loss, nats per character", "01-descent",
)  # fmt: skip
print("    fraction    largest difference between the two rows")
for letter in " etmqR":
    a = tokenizer.encode(letter)[0]
    difference = (learned[a].softmax(dim=0) - N[a] / N[a].sum()).abs().max()
    print(f"{letter!r:>4} {N[a].sum() / N.sum():10.4f} {difference:16.3f}")

# %% [markdown]
# **What to see.** The loss falls quickly and then creeps toward the line of the counts. The rows of common characters
# agree in both tables to the second decimal. The rows of rare ones have not converged: a row gets a gradient only when
# its character occurs, so the gradient of row a is scaled by the frequency of a in the text. A single learning rate is
# too slow for q; lesson 05 builds an optimizer with a separate rate for each parameter.
#
# So we do not have to count a table: it is enough that the loss has a gradient. This is the point of the section. A
# table of logits has one row for each context. A neural network *computes* the row from the context, for contexts that
# it has never seen, and learns by the same loss, the same batches and the same gradient "softmax minus one-hot" at its
# end. In exercise **table_gradient**, you write this gradient for a whole batch.

# %% [markdown]
# ## 1.8 Characters against words: bits per byte
#
# We have two models of the same text: one of characters, with a loss of 2.27 nats, and one of words, with 2.61.

# %%
predict("characters 2.27 nats per character, words 2.61 nats per word: which model is better, and by how much?")

# %% [markdown]
# The two numbers cannot be compared, any more than a price per egg with a price per kilo. A word has several
# characters. So count all the nats that the *text* costs, and divide by something that does not depend on how it was
# cut: its **bytes** on disk. In UTF-8, an English letter takes one byte, ü and ß take two, and an em dash three.
# Divided by ln 2, nats become bits:
#
# $$ \text{bits per byte} = \frac{\text{nats per token} \times \text{predicted tokens}}{\ln 2 \times \text{bytes}} $$
#
# It has a concrete meaning: the number of bits that an ideal compressor with the model's probabilities needs per byte
# of text, which takes 8 without a model. (Such compressors exist; look up *arithmetic coding*.) Perplexities per token,
# on the other hand, can be compared only if the tokens are the same.

# %%
bits_per_byte = part("bits_per_byte", None)


def bits(losses: torch.Tensor, text: str) -> float:
    """Bits per byte from the surprise of each token."""
    if bits_per_byte is not None:
        return bits_per_byte(losses.mean().item(), len(losses), text)
    return float((losses.double() / math.log(2)).sum()) / len(text.encode())


predicted = val_text[1:]  # the first line break is predicted by nothing
result("character bigrams, bits per byte", bits(letter_losses(val_ids), predicted), 3.27, 0.03)
result("word bigrams, bits per byte", bits(word_losses(val_words, best_k), predicted), 0.865, 0.02)

# %% [markdown]
# Words win by far: the last word tells you much more than the last character. In exercise **bits_per_byte**, you write
# the conversion. `evaluate_text` in `llmasos/evaluation/perplexity.py` reports all three numbers for any model
# in this library, with a confidence interval.

# %% [markdown]
# ## 1.9 More memory: n-grams
#
# If one word is good, two are better. An **n-gram** model sees the last n - 1 tokens, its *context*, and counts what
# came next; n = 2 is our bigram. The context together with its next token is the *n-gram*. The table has one row for
# each context, $V^{n-1}$ of them, and V columns. For our 1,547 words and n = 4 that is $5.7 \times 10^{12}$ cells.
# Nobody stores such a table; we keep a dictionary of what actually occurred.


# %%
def grams(ids, n):
    """Return each token except the first, with up to n - 1 tokens before it (fewer at the beginning)."""
    return [tuple(ids[max(0, i - n + 1) : i + 1]) for i in range(1, len(ids))]


class Counts:
    """How often each n-gram occurs in some texts."""

    def __init__(self, n, *texts):
        self.n, self.count = n, Counter(gram for text in texts for gram in grams(text, n))
        self.total, self.n_types = Counter(), Counter()  # of a context: tokens after it, distinct tokens after it
        for gram, times in self.count.items():
            self.total[gram[:-1]] += times
            self.n_types[gram[:-1]] += 1

    def look_up(self, queries):
        """Return each n-gram's count, and the total and the number of types after its context, (M,) float64 each."""
        contexts = [gram[:-1] for gram in queries]
        lookups = (self.count, queries), (self.total, contexts), (self.n_types, contexts)
        return tuple(torch.tensor([numbers[x] for x in keys], dtype=torch.float64) for numbers, keys in lookups)


LONGEST = 10
train_counts = [Counts(n, train_words) for n in range(1, LONGEST + 1)]
predict("how many of the 4-grams of the validation text never occur in the training text: 1 %, 7 % or 30 %?")

# %%
print(" n   cells of a table   n-grams seen   contexts seen   val: n-gram is new   val: context is new")
never_seen = {}
for counts in train_counts:
    count, total, _ = counts.look_up(grams(val_words, counts.n))
    never_seen[counts.n] = (count == 0).double().mean().item()
    print(
        f"{counts.n:>2} {float(VW) ** counts.n:18.1e} {len(counts.count):14,} {len(counts.total):15,} "
        f"{never_seen[counts.n]:19.1%} {(total == 0).double().mean():20.1%}"
    )
result("4-grams of val that are new, fraction", never_seen[4], 0.07, 0.015)

# %% [markdown]
# This is **sparsity**: the table explodes while the text stays the same length. And this text comes from a small world
# with few words.
#
# Adding k cannot fix this. It makes all words equally probable after an unseen context, although the context shortened
# by a word may be a good predictor. So **mix** the long context with the shorter one, and that again with a shorter
# one, down to no context and finally to 1/V. With c' for the context c without its first (that is, oldest) token:
#
# $$ p_n(w \mid c) = \lambda\, \frac{N_{cw}}{N_c} + (1 - \lambda)\; p_{n-1}(w \mid c'), \qquad p_0(w) = \frac1V, $$
#
# and $p_n(w \mid c) = p_{n-1}(w \mid c')$ where c was never seen. If $p_{n-1}$ sums to one, so does $p_n$, since
# $\lambda + (1 - \lambda) = 1$. This is interpolation, due to Jelinek and Mercer (1980). Here λ is 0.8 for all.


# %%
def fixed_weights(count, total, n_types, lower):
    """0.8 of the long context's probability + 0.2 of the shorter one's; only the latter if the long one is new. (M,)"""
    return torch.where(total > 0, 0.8 * count / total.clamp(min=1) + 0.2 * lower, lower)


mix = part("mix", fixed_weights)


def mixed(all_counts, ids):
    """Return the losses on a text, in nats, of the mixed models with n = 1, n = 2, …, each built on the one before."""
    p = torch.full((len(ids) - 1,), 1 / VW, dtype=torch.float64)  # (N - 1,)
    losses = []
    for counts in all_counts:
        p = mix(*counts.look_up(grams(ids, counts.n)), p)
        losses.append(-p.log().mean().item())
    return losses


def alone(counts, ids, k=0.0):
    """Return the loss on a text of a single order, without any shorter one, with k added to every count."""
    count, total, _ = counts.look_up(grams(ids, counts.n))
    return ((total + k * VW).log() - (count + k).log()).mean().item()


orders = range(1, LONGEST + 1)
on_train = [alone(counts, train_words) for counts in train_counts]
added = [alone(counts, val_words, best_k) for counts in train_counts]
interpolated = mixed(train_counts, val_words)
print(" n    train, counts alone    val, k added    val, mixed     nats per word")
for n, a, b, c in zip(orders, on_train, added, interpolated, strict=True):
    print(f"{n:>2} {a:18.3f} {b:18.3f} {c:13.3f}")
best_n = 1 + interpolated.index(min(interpolated))
on_test = mixed(train_counts[:best_n], test_words)[-1]
print("chosen on val: n =", best_n)
if mix is fixed_weights:
    result("mixed n-grams on val, best n, nats per word", min(interpolated), 0.86, 0.035)
    result("the same on the test text, measured once", on_test, 0.862, 0.035)
else:
    print(f"your mix: {min(interpolated):.3f} on val, {on_test:.3f} on the test text (fixed weights: 0.86 on both)")

# %% [markdown]
# (The spread of each result is slightly larger than the range over five seeds. Another seed means another set of
# stories.) The picture comes in the next section, once there is one more line to draw in it.
#
# Look at n = 2 in the table: there the mix is *worse* than adding k. More than 99 % of the pairs in the validation text
# had been counted, yet a fifth of the probability went to n = 1, which sees no context. In exercise **mix**, you look
# for a better mix than fixed weights, which trust a context seen once as much as one seen a thousand times. It is an
# open question: there are many answers, some of them well known, and you can measure how good yours is.

# %% [markdown]
# ## 1.10 The floor
#
# Section 1.6 says: no model has a smaller mean loss than the entropy of the source. For English nobody knows this
# entropy. (Shannon had people guess letters, and found that it is between 0.6 and 1.3 bits per letter, in 1951.) For
# our stories it is known exactly, because a program generates them. Whenever a story could continue in several ways,
# this program samples one and adds up $-\ln$ of its probability. At the end, it has the surprise of the whole story for
# an ideal model that knows the program: `story.nats`.
#
# One thing must be checked. If the same text could be generated in two ways, it would be more probable than either.
# The library's `proof.readings` searches all the decisions the program can make, and returns every way to generate
# this text:

# %%
story = val_stories[0]
derivations = readings(story.text)
way = derivations[0]
print(len(derivations), "way to tell it, with", len(way.script), "decisions, probability e to the power of", -way.nats)
print(f"story.information: {story.information:.3f} nats; story.nats: {story.nats:.3f}, since we know it is from val")

words_of = [len(words(story.text)) + 1 for story in val_stories]  # with the line break at its end
floor = per_unit([story.nats for story in val_stories], words_of)
print(f"the floor: {floor} nats per word (mean of {len(val_stories)} stories, 95 % interval)")

# %%
test_floor = sum(story.nats for story in test_stories) / (len(test_words) - 1)
result("the floor of the val stories, nats per word", floor.mean, 0.266, 0.015)
result("the floor of the test stories, nats per word", test_floor, 0.266, 0.015)
curves(
    {
        "train, counts alone": list(zip(orders, on_train, strict=True)),
        "val, k added": list(zip(orders, added, strict=True)),
        "val, mixed": list(zip(orders, interpolated, strict=True)),
        "the floor": [(n, floor.mean) for n in orders],
    },
    "The longer the memory, the better?", "n", "nats per word", "01-orders",
)  # fmt: skip

# %% [markdown]
# **What to see.** On the training text, the loss keeps falling; at the right end it is *below the floor*. That is not
# an achievement. There, most contexts were followed by only one word (compare the two *seen* columns in section 1.9),
# so the model recites: it has **memorized** the text. On the validation text, the same counts, with k added, get better
# up to n = 4 and then worse and worse: this gap between training and validation is called **overfitting**, and its
# picture, one curve falling while the other turns up, will come back in other lessons. Mixing softens it. But the mixed
# curve has a minimum too, at n = 5, far above the floor.
#
# The floor is also an alarm. On truly held-out text, a model can be lucky with single tokens, but not on average. **A
# model below the floor on held-out text is a bug**: it has seen the answers. Let us build one by counting the
# validation text as in section 1.5, but with long contexts:

# %%
print(" n    val, honest    val, leaked     (nats per word)")
for n in (2, 4, 6, 8, 10):
    leaked = alone(Counts(n, train_words, val_words), val_words)
    print(f"{n:>2} {interpolated[n - 1]:14.3f} {leaked:14.3f}{'   below the floor!' if leaked < floor.mean else ''}")
result("10-grams with val in the counts, on val", leaked, 0.206, 0.015)
result("how far below the floor, nats", floor.mean - leaked, 0.061, 0.02)

# %% [markdown]
# Without the floor this would look like a triumph: 0.21 where the best honest model has 0.86. With real text there is
# no such line, and the only protection is care: keep the test text out of everything. When a number is too good, ask
# what the model has seen before you celebrate.

# %% [markdown]
# ## 1.11 What counting cannot do
#
# Here is what our models write: with one word of context, and with four.


# %%
def write(n, length=60):
    """Sample a text word by word from the longest context that was seen, with counts alone."""
    text = [id_of["\n"]]
    followers = [{} for _ in range(n + 1)]
    for order in range(1, n + 1):
        for gram, times in train_counts[order - 1].count.items():
            followers[order].setdefault(gram[:-1], []).append((gram[-1], times))
    while len(text) < length:
        order = next(o for o in range(n, 0, -1) if tuple(text[len(text) - o + 1 :]) in followers[o])
        choices = followers[order][tuple(text[len(text) - order + 1 :])]
        weights = torch.tensor([float(times) for _, times in choices])
        text.append(choices[draw(weights, generator)][0])
    return "".join(vocabulary[id] for id in text).strip()


for n in (2, 5):
    print(f"n = {n}:  {write(n)}\n")

# %% [markdown]
# Nearly every sentence of the second is English. But read it as a story. In the run this was written from, it is about
# a shy girl without a name; two sentences later, someone called Max pulls up the blanket and counts to ten. The
# beginning of a story says who it is about, and five words later the model has forgotten.
#
# Let us measure that. Each story has one hero, one of 24 children. Take every place where the hero's name occurs
# *again*, restrict the models to the children's names, and see which one they predict. A reader is hardly ever wrong; a
# random guess is right in 1 case of 24, which is 4 %.

# %%
id_of_name = {child.en: id_of.get(" " + child.en, unknown) for child in CHILDREN}
places, hero, known = [], None, False  # (place in the text, id of the hero's name)
story_number = -1
for i, id in enumerate(val_words[:-1]):
    if id == id_of["\n"]:
        story_number, known = story_number + 1, False
        hero = id_of_name[val_stories[story_number].combination[0]]
    elif id == hero:
        if known:
            places.append((i, hero))
        known = True
candidates = list(id_of_name.values())


def right_names(n):
    """Return the fraction of these places where the mixed model of order n ranks the hero's name first of the 24."""
    p = torch.full((len(places) * len(candidates),), 1 / VW, dtype=torch.float64)
    for counts in train_counts[:n]:
        queries = [(*val_words[max(0, i - counts.n + 1) : i], name) for i, _ in places for name in candidates]
        p = mix(*counts.look_up(queries), p)
    best = p.view(len(places), len(candidates)).argmax(dim=1)  # (places,)
    return sum(candidates[b] == hero for b, (_, hero) in zip(best.tolist(), places, strict=True)) / len(places)


predict(f"{len(places)} places. How often does the bigram model predict the correct name? And the model with n = 6?")

# %%
result("the hero's name, n = 2, fraction correct", right_names(2), 0.042, 0.04)
result("the hero's name, n = 6, fraction correct", right_names(6), 0.04, 0.04)

# %% [markdown]
# More context does not help: the name is thirty words back, and a table for thirty words would have $1547^{30}$ rows.
# Even if we had it, it would be the wrong tool. Of the thirty words, *one* matters here, and the table would treat
# every change in the other twenty-nine as a new context. We need a way to look back at *one* earlier word, wherever it
# is, and to know which one. **How can a model use any word it has read, and not just the last one?** That is the
# question of lesson 03. First, lesson 02 settles what the tokens should be.

# %% [markdown]
# ## 1.12 What was left out
#
# - **Better smoothing.** Kneser and Ney (1995) take the shorter context's probabilities not from counts, but from the
#   number of different contexts in which a word occurred. In Chen and Goodman's comparison (1999) a variant of it did
#   best.
# - **The first neural language model** (Bengio et al. 2003): again contexts of a few words, but similar words get
#   similar vectors, so what the model learns about *boat* helps with *raft*.
# - **Intervals.** How certain is a loss measured on 300 stories? `evaluate_text` gives 95 % intervals by the
#   bootstrap.
# - **Other languages**: what bits per byte mean for them is a subject of lesson 02.
#
# **Further reading.** Markov 1913, *An Example of Statistical Investigation of the Text Eugene Onegin* (in English in
# Science in Context 19, 2006). Shannon 1948, *A Mathematical Theory of Communication*, sections 2, 3 and 6; Shannon
# 1951, *Prediction and Entropy of Printed English*. Jelinek & Mercer 1980, *Interpolated Estimation of Markov Source
# Parameters from Sparse Data*. Kneser & Ney 1995, *Improved Backing-off for M-gram Language Modeling*. Chen & Goodman
# 1999, *An Empirical Study of Smoothing Techniques for Language Modeling*. Bengio et al. 2003, *A Neural Probabilistic
# Language Model*. Cover & Thomas, *Elements of Information Theory*, chapter 2. Jurafsky & Martin, *Speech and Language
# Processing*, the chapter on n-grams.
#
# **Now you.** `python -m lessons check 1` creates your file, `lessons/mine/01_counting.py`, with six exercises. When
# the checks pass, `python -m lessons run 1 --mine` counts, measures and learns with your functions.
