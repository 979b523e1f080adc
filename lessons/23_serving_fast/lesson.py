# %% [markdown]
# # 23 Serving fast
#
# - **Question:** How does one model answer many people at once, fast and in little memory, and still say the same
#   things?
# - **Teaches:** continuous batching and Little's law, a key/value cache in pages, speculative decoding, four-bit
#   weights, text that follows a grammar; which of them change what the model says, and by how much
# - **Minutes:** 120 to read and solve, 1 to run
#
# You need: sampling and the key/value cache (lesson 06), attention (lesson 03), mean and variance.
#
# Letters: n slots of a batch, each with room for P tokens; λ requests per step, of m tokens on average; s tokens in a
# page; k drafted tokens; p and q, the distributions of the large and the small model; g weights in a group; V size of
# the vocabulary. All logarithms are natural.

# %% [setup]
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# %%
import json
import math
import time
from collections import Counter
from dataclasses import replace
from random import Random

import torch
from torch import nn
from torch.nn import functional as F

from lessons.machinery import training_loop
from lessons.machinery.lesson_api import part, predict, result, seed
from lessons.machinery.pictures import curves
from llmasos.datasets.storyworld import stories
from llmasos.datasets.storyworld.people import BOYS, GIRLS
from llmasos.generation import SamplingOptions, generate, json_schema
from llmasos.generation.continuous_batching import ContinuousBatch
from llmasos.generation.grammar import DEAD
from llmasos.generation.sequence import SequenceState
from llmasos.generation.speculative import generate_speculative, tokens_per_pass, verify
from llmasos.generation.token_grammar import TokenGrammar
from llmasos.hub import load_pretrained
from llmasos.models import GPT, ModelConfig
from llmasos.nn.int4 import dequantize_groups, quantize_groups
from llmasos.tokenizers import BPETokenizer

SEED = seed()
torch.manual_seed(SEED)
torch.set_num_threads(1)

# `run 23 --mine` puts your own functions here
finish_times = part("finish_times", None)
page_tables = part("page_tables", None)
your_verify = part("verify", None)
your_quantize = part("quantize_groups", None)
allowed_tokens = part("allowed_tokens", None)

# %% [markdown]
# ## 23.1 One reading of the weights
#
# When a model writes, it computes one token after another, and for each it needs all of its weights. Llama 3 8B has 16
# GB of them in 16 bits. An H100 reads 3.35 TB from its memory in a second, so a step takes **4.8 ms** just for reading.
# The arithmetic of one token, two operations for each weight, takes the same chip **16 µs** (at 989 · 10¹² operations
# per second). The machine waits for its memory 99.7 percent of the time. In the time that it takes to read the weights
# once, it could compute 295 tokens.
#
# So serving is the art of making more of each reading, and this lesson goes through what is done about it:
#
# - **More texts** per reading: many people share a step (23.2, 23.3). What limits their number is the memory for keys
#   and values, and how it is handed out (23.4, 23.5).
# - **More tokens of one text** per reading: guess some tokens, check them all in one step (23.6, 23.7).
# - **Fewer bytes** per reading: weights of four bits (23.8).
# - **No reading in vain**: a program that wants JSON throws away everything else (23.9, 23.10).
#
# Each of these could change what the model says. The first two can be done without changing it at all, and we will
# prove and measure that; the other two cannot, and we will measure how much they change.
#
# Our model is the shipped `storyworld-gpt`, on a CPU. Even here, a step with many texts takes less time than as many
# steps.

# %%
model, tokenizer = load_pretrained("storyworld-gpt")
END, V = tokenizer.end_of_text, tokenizer.vocab_size
print(f"{sum(p.numel() for p in model.parameters()):,} weights, {V} tokens")


@torch.inference_mode()
def milliseconds(model, n):
    """The time of a step with n texts, the shortest of ten."""
    cache, ids = model.make_cache(n, 64), torch.full((n, 1), END)
    times = []
    for position in range(10):
        start = time.perf_counter()
        model.lm_head(model.decode(ids, torch.full((n, 1), position), cache))
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


for n in (1, 4, 16, 64):
    each = milliseconds(model, n)
    print(f"{n:3} texts in a step: {each:6.2f} ms, {each / n:5.2f} ms for each")

# %% [markdown]
# ## 23.2 Who waits for whom?
#
# From now on, a **step** is our unit of time: one token for each text in the batch. Requests arrive at random,
# $\lambda$ of them in a step on average. Each needs a number of steps that nobody knows beforehand, since the model
# itself decides when its text ends; call its mean $m$. There are n **slots**.
#
# - **Static batching**: take up to n waiting requests, and run them until the *last* of them has ended. Then take the
#   next n. That is what you do when you call a model from a script.
# - **Continuous batching** (Yu et al. 2022, *Orca*, section 3.2): a slot is free as soon as *its* text has ended, and
#   the next request takes it in the next step.
#
# How many requests per step can each of them serve? If there is always one waiting, a static batch serves n requests
# in the time of the longest of n texts, and continuous batching serves n in the time of the *mean*:
#
# $$ \text{static: } \frac{n}{\mathbb{E} \max(\ell_1, …, \ell_n)}, \qquad \text{continuous: } \frac{n}{m} . $$
#
# Let texts end after each token with probability $1/m$. Then $P(\ell > t) = (1 - 1/m)^t$, and since $\mathbb{E}X =
# \sum_{t \geq 0} P(X > t)$,
#
# $$ \mathbb{E} \max = \sum_{t \geq 0} \Big( 1 - \big(1 - (1 - 1/m)^t\big)^n \Big)
#    \;\approx\; m \Big(1 + \frac12 + \frac13 + … + \frac1n\Big) . $$
#
# For n = 8 and m = 40 that is 108 steps: **static batching serves 2.7 times fewer requests.** The simulation below goes
# through time step by step. Exercise **finish_times** asks for the same without counting steps.

# %%
SLOTS, M = 8, 40


def draw_requests(n_requests, rate, generator, mean=M):
    """Arrival times in steps, and lengths in tokens."""
    arrivals, t = [], 0.0
    for _ in range(n_requests):
        t += generator.expovariate(rate)
        arrivals.append(math.ceil(t))
    lengths = [1 + int(math.log(1 - generator.random()) / math.log(1 - 1 / mean)) for _ in arrivals]
    return arrivals, lengths


def simulate(arrivals, lengths, n_slots, static=False):
    """For each request the step after its last token; and in each step, how many requests are here, and in a slot."""
    ends, running, here, busy = [0] * len(arrivals), [], [], []
    t = arrived = admitted = finished = 0
    while finished < len(arrivals):
        n_running = len(running)
        running = [i for i in running if ends[i] > t]  # evict
        finished += n_running - len(running)
        while arrived < len(arrivals) and arrivals[arrived] <= t:
            arrived += 1
        n_free = 0 if static and running else n_slots - len(running)
        for i in range(admitted, min(arrived, admitted + n_free)):  # admit, in the order of arrival
            ends[i] = t + lengths[i]
            running.append(i)
            admitted += 1
        here.append(arrived - finished)
        busy.append(len(running))
        t += 1  # each running text gets its next token
    return ends, here, busy


predict("eight slots, texts of 40 tokens on average: how many tokens does a static batch write per step?")

# %%
generator = Random(SEED)
_, lengths = draw_requests(20_000, 1.0, generator)
longest = sum(1 - (1 - (1 - 1 / M) ** t) ** SLOTS for t in range(4000))
waiting = [0] * len(lengths)  # all are there from the beginning
rates = {}
for words, static, formula in (("static", True, SLOTS / longest), ("continuous", False, SLOTS / M)):
    ends, _, busy = simulate(waiting, lengths, SLOTS, static)
    rates[words] = len(lengths) / max(ends)
    print(f"{words:>10}: {sum(busy) / len(busy):.2f} tokens in a step, {rates[words]:.4f} requests "
          f"(formula {formula:.4f})")  # fmt: skip
result("longest of eight texts, in mean lengths", longest / M, 2.70, 0.01)
result("static: requests per step over the formula", rates["static"] * longest / SLOTS, 1.0, 0.02)
result("continuous: requests per step over the formula", rates["continuous"] * M / SLOTS, 1.0, 0.03)
if finish_times is not None:
    print("your finish_times:", [finish_times(waiting, lengths, SLOTS, static) == simulate(waiting, lengths, SLOTS,
          static)[0] for static in (True, False)])  # fmt: skip

# %% [markdown]
# **What to see.** The static batch writes 3 tokens per step and could write 8. Its slots are full of texts that have
# ended and are waiting for the longest one. The more the lengths differ, the worse: if all were equal, nothing would be
# lost.
#
# The library's engine is `generation/continuous_batching.py`. Its loop is the one above: evict, admit, one token each.
# Does it take as many steps? We give it a tiny model with random weights, and texts of given lengths.

# %%
torch.manual_seed(SEED)
tiny = GPT(ModelConfig(vocab_size=16, context_length=512, n_layers=1, n_heads=1, d_model=8)).eval()
arrivals, lengths = draw_requests(60, 0.15, generator, mean=20)


def engine_ends(arrivals, lengths, n_slots):
    """The step after the last token of each request, in the library's engine."""
    batch, ends, following, t = ContinuousBatch(tiny, n_slots), {}, 0, 0
    requests = [SequenceState((1,), SamplingOptions(max_new_tokens=each)) for each in lengths]
    while len(ends) < len(requests):
        while following < len(requests) and arrivals[following] <= t and batch.n_free:
            batch.add(requests[following])
            following += 1
        batch.step(prefill_budget=10**6)
        if batch.sequences:
            batch.sample()
        t += 1
        done = [each for each in batch.sequences if len(each.ids) == each.options.max_new_tokens]
        ends |= {id(each): t for each in done}
        batch.remove(done)
    return [ends[id(each)] for each in requests]


in_engine = engine_ends(arrivals, lengths, 4)
foretold = simulate(arrivals, lengths, 4)[0]
result("requests that end in the predicted step", sum(a == b for a, b in zip(in_engine, foretold, strict=True)), 60, 0)

# %% [markdown]
# ## 23.3 Little's law, and what a wait costs
#
# Now requests arrive at random. How long is a request in the system, from its arrival to its last token? The answer has
# a part that nobody can escape, **Little's law** (Little 1961). Let $L$ be the mean number of requests in the system,
# and $W$ the mean time that each spends there. Then
#
# $$ L = \lambda W . $$
#
# It holds for every rule of service, every distribution, every order. The proof is to count the same thing twice. Draw
# a line for each request, from its arrival to its end. The sum of the lengths of all lines is the number of requests
# times $W$. It is also the sum, over all steps, of the number of lines at that step. Divide both by the time:
# $\lambda W = L$. (If some lines are cut off at the ends of the window, it holds up to those.)
#
# Apply it to the slots alone: each request spends $m$ steps in one, so **$\lambda m$ slots are busy on average**,
# however they are handed out. The fraction $\rho = \lambda m / n$ is the *load*.
#
# Little's law does not say what $W$ is. For continuous batching with random arrivals and texts that may end after each
# token, that is a classic problem: the queue with n servers (Erlang 1917). With $a = \lambda m$, a request must wait
# with probability $C$, and the mean time in the system is
#
# $$ C = \frac{\frac{a^n}{n!} \frac{1}{1 - \rho}}{\sum_{j=0}^{n-1} \frac{a^j}{j!} + \frac{a^n}{n!}
#    \frac{1}{1 - \rho}}, \qquad W = m + \frac{C \, m}{n \, (1 - \rho)} . $$

# %%
predict("at 60 % of what continuous batching can serve: how long does a request take, if its text takes 40 steps?")


# %%
def erlang(load, n=SLOTS, m=M):
    """The mean time in the system of the queue with n servers, in steps."""
    a = load * n
    last = a**n / math.factorial(n) / (1 - load)
    waits = last / (sum(a**j / math.factorial(j) for j in range(n)) + last)
    return m + waits * m / n / (1 - load)


lines = {"continuous": [], "static": [], "formula of Erlang": []}
print("            load   time in the system   formula   here (L)      λ W   busy slots   λ m")
for static, loads in ((False, (0.2, 0.4, 0.6, 0.7, 0.8)), (True, (0.05, 0.1, 0.2, 0.3, 0.34))):
    for load in loads:
        rate = load * SLOTS / M
        arrivals, lengths = draw_requests(12_000, rate, generator)
        ends, here, busy = simulate(arrivals, lengths, SLOTS, static)
        W = sum(end - a for end, a in zip(ends, arrivals, strict=True)) / len(ends)
        L, true_rate, mean_length = sum(here) / len(here), len(ends) / len(here), sum(lengths) / len(lengths)
        words = "static" if static else "continuous"
        formula = "" if static else f"{erlang(load):7.1f}"
        print(f"{words:>10} {load:6.2f} {W:16.1f} {formula:>13} {L:10.2f} {true_rate * W:9.2f} "
              f"{sum(busy) / len(busy):10.2f} {true_rate * mean_length:8.2f}")  # fmt: skip
        assert math.isclose(L, true_rate * W), "Little's law is exact"
        lines[words].append((load, W))
        if not static:
            lines["formula of Erlang"].append((load, erlang(load)))
        if load == 0.8:
            result("continuous at load 0.8: time over Erlang's", W / erlang(load), 1.0, 0.1)
            half = len(here) // 2  # a window that cuts off some lines
            ratio = sum(here[:half]) / sum(end - a for a, end in zip(arrivals, ends, strict=True) if a < half)
            result("half the time: L over λ W", ratio, 1.0, 0.01)
        if load == 0.3:
            result("static at load 0.3: time in the system, in m", W / M, 3.45, 0.35)
curves(lines, "Time in the system", "load", "steps", "23-queue")

# %% [markdown]
# **What to see.** With continuous batching a request hardly waits until the load is high: at 60 percent it takes 42
# steps instead of 40, as Erlang's formula says for telephone lines. Nearly all of the time its own text is being
# written. Static batching is slow even when there is little to do: at a load of 0.1 a request takes 1.7 times its own
# length, because it arrives just too late for a batch and must wait for the end of it. From a load of 0.37 (1 / 2.7)
# on, its queue grows forever. And L = λ W, in every line, to the last digit.
#
# (Five seeds: at load 0.8 the ratio to Erlang's formula is 0.95 to 1.06. Waiting times are correlated over hundreds of
# requests, so even 12,000 of them determine W only to within a few percent.)

# %% [markdown]
# ## 23.4 Slots or pages?
#
# More slots, more requests. What limits their number is the memory for keys and values. A token of Llama 3 8B takes 32
# layers · 8 heads · 128 numbers · 2 (key and value) · 2 bytes = 131 kB: a text of 8,192 tokens takes a gigabyte. And
# since nobody knows how long a text will get, a **slot** has room for the longest possible one, P tokens. A running
# text has only been written in part. The rest of its slot is waste.
#
# The remedy is as old as operating systems. Cut the memory into **pages** of s tokens. A text gets a page when it needs
# one, any page that is free. Its **page table** is the list of its pages in order: position t is in page t // s of the
# table (counting from 0), at place t mod s (Kwon et al. 2023, *PagedAttention*, section 4). Only the last page of a
# text can be partly empty. If its length modulo s may be anything from 1 to s with equal probability, then on average
#
# $$ \text{waste of a text} = \underbrace{P - \bar{\ell}}_{\text{slots}}, \qquad
#    \underbrace{\frac{s - 1}{2}}_{\text{pages}} \quad \text{tokens}, $$
#
# with $\bar \ell$ the mean number of tokens that a *running* text has so far. Let us count. A running text is one of
# our world's stories, at a random moment of its writing.

# %%
P = model.config.context_length
of_stories = [len(tokenizer.encode(story.text)) + 1 for story in stories("train", 400, seed=SEED)]
moments = [t for each in of_stories for t in range(1, each + 1)]  # all moments of all stories, equally likely
predict(f"slots of {P} tokens: which fraction of the memory is in use? And with pages of 16?")

# %%
running = generator.choices(moments, k=4000)
mean_length = sum(running) / len(running)
print(f"{mean_length:.1f} tokens in a running text, at most {max(of_stories)}")
print("page size   waste per text   formula   in use   texts in the memory of 64 slots")
for s in (1, 4, 16, 64, P):
    n_pages = [-(-each // s) for each in running]  # rounded up
    waste = sum(n * s for n in n_pages) / len(running) - mean_length
    formula = P - mean_length if s == P else (s - 1) / 2
    fit = 64 * P / (mean_length + waste)
    print(f"{s:9} {waste:16.2f} {formula:9.2f} {mean_length / (mean_length + waste):8.1%} {fit:10.0f}")
    if s == 16:
        result("pages of 16: waste per text, tokens", waste, 7.5, 0.35)
        result("pages of 16: fraction in use", mean_length / (mean_length + waste), 0.918, 0.008)
        result("texts in the memory of 64 slots", fit, 176, 5)
    if s == P:
        result("slots: fraction in use", mean_length / P, 0.333, 0.012)

# %% [markdown]
# **What to see.** Two thirds of the slots' memory is empty; with pages of 16 it is 8 percent, and the same memory holds
# 2.7 times as many texts. (Kwon et al. measured 20 to 38 percent in use in the systems of their day.) By Little's law,
# that is 2.7 times as many requests per step. Why not pages of one token? Then the page table is as long as the text,
# and keys lie scattered in memory, where reading is slow.
#
# There is a price: **the memory can run out in the middle of a text**. Then one text must give up its pages and be
# computed again later. And attention needs its keys in one piece, or a kernel that follows the page table. By hand, in
# place of the library's cache (every model here writes to whatever has a `layer` with an `update`):


# %%
class PagedCache:
    """Keys and values in pages: for each layer two tensors (n_pages, page_size, Hkv, D)."""

    def __init__(self, model, n_pages, page_size):
        config = model.config
        shape = (n_pages, page_size, config.n_kv_heads, config.head_size)
        self.pages = [(torch.zeros(shape), torch.zeros(shape)) for _ in range(config.n_layers)]
        self.page_size, self.tables, self.free = page_size, [], list(range(n_pages))

    @property
    def length(self):
        return self.table.size(1) * self.page_size

    def make_room(self, n_tokens):
        """Give each text the pages that it needs for this many tokens."""
        for pages, n in zip(self.tables, n_tokens, strict=True):
            while len(pages) * self.page_size < n:
                pages.append(self.free.pop(0))
        longest = max(map(len, self.tables))
        self.table = torch.tensor([pages + [0] * (longest - len(pages)) for pages in self.tables])  # (B, n)

    def write_ids(self, positions, ids):
        """The tokens themselves are not kept: this model does not need them."""

    def layer(self, i, positions, end):
        return Layer(self, *self.pages[i], positions, end)


class Layer:
    """One layer, opened at the positions (B, T) of new tokens."""

    def __init__(self, cache, k, v, positions, end):
        self.cache, self.k, self.v, self.positions, self.end = cache, k, v, positions, end

    def update(self, k, v):
        """Write the new keys and values (B, Hkv, T, D); return all of them in one piece (B, Hkv, end, D)."""
        s, table, results = self.cache.page_size, self.cache.table[: len(k)], []
        page = table.gather(1, self.positions // s)  # (B, T): where in the memory each position is
        for pages, new in ((self.k, k), (self.v, v)):
            pages[page, self.positions % s] = new.transpose(1, 2)
            whole = pages[table].flatten(1, 2)[:, : self.end]  # (B, end, Hkv, D)
            results.append(whole.transpose(1, 2))
        return results


@torch.inference_mode()
def write(cache, n_new, room=lambda length: None, n_computed_once=0):
    """Logits (6, n_new, V) of six texts with the same prompt; text i continues with the i-th most likely token."""
    ids, positions = torch.tensor(prompt).expand(6, -1), torch.arange(len(prompt)).expand(6, -1)
    all_logits, first = [], slice(0, n_computed_once)
    room(len(prompt))
    if n_computed_once:
        model.decode(ids[:1, first], positions[:1, first], cache)  # for one text; the others find it in their pages
    ids, positions = ids[:, n_computed_once:], positions[:, n_computed_once:]
    for t in range(len(prompt), len(prompt) + n_new):
        logits = model.lm_head(model.decode(ids, positions, cache)[:, -1])  # (6, V)
        all_logits.append(logits)
        best = logits.topk(6).indices  # (6, 6)
        ids = best.diagonal()[:, None] if t == len(prompt) else best[:, :1]
        positions = torch.full((6, 1), t)
        room(t + 1)
    return torch.stack(all_logits, dim=1)


S, NEW = 8, 30  # tokens in a page, new tokens
[story] = stories("val", 1, seed=3)
prompt = [END, *tokenizer.encode(" ".join(story.sentences[:4]))]
plain = write(model.make_cache(6, P), NEW)
paged = PagedCache(model, n_pages=100, page_size=S)
paged.tables = [[] for _ in range(6)]
in_pages = write(paged, NEW, lambda length: paged.make_room([length] * 6))
print(f"prompt of {len(prompt)} tokens; page table of the last text: {paged.tables[-1]}")
result("paged against plain: largest difference of a logit", (plain - in_pages).abs().max().item(), 0.0, 1e-4)

# %% [markdown]
# **What to see.** The same logits. Where a key is in memory makes no difference to attention: the sum over keys has no
# order, and the position of a key is in the key itself (or in the mask).
#
# ## 23.5 A prefix that many share
#
# The six texts above begin with the same prompt, and so do the thousands of requests to a chatbot, whose instructions
# may have a thousand tokens. The keys and values of a token depend on the tokens up to it, and on nothing that follows.
# So texts with the same beginning can use **the same pages**: their page tables begin with the same numbers. Only
# *whole* pages are shared, since nothing is ever written into them again; each text computes the rest of the prefix for
# itself. And equal tokens in a page are not enough: **all tokens before it must be equal, too**, because a key in the
# second layer has seen them.
#
# With a prefix of c tokens and texts of $\ell$ tokens in all, n texts need $\lfloor c/s \rfloor + n \, (\lceil \ell/s
# \rceil - \lfloor c/s \rfloor)$ pages. Exercise **page_tables** asks for the tables of any texts.

# %%
predict(f"six texts, {len(prompt)} tokens in common and {NEW} of their own: which fraction of the pages is saved?")

# %%
shared = PagedCache(model, n_pages=100, page_size=S)
n_common = (len(prompt) - 1) // S  # the last token is computed by each text: its logits are needed
if page_tables is None:
    common = [shared.free.pop(0) for _ in range(n_common)]
    shared.tables = [list(common) for _ in range(6)]  # the same pages, and six tables
else:
    shared.tables = [list(table) for table in page_tables([prompt[: n_common * S]] * 6, S)]
    shared.free = [page for page in shared.free if not any(page in table for table in shared.tables)]
    print(f"your page_tables: {shared.tables[0]} and {shared.tables[5]}")
again = write(shared, NEW, lambda length: shared.make_room([length] * 6), n_common * S)
result("shared against plain: largest difference of a logit", (plain - again).abs().max().item(), 0.0, 1e-4)
for words, cache in (("own pages", paged), ("shared prefix", shared)):
    print(f"{words:>13}: {100 - len(cache.free)} pages; first and last table: {cache.tables[0]}, {cache.tables[5]}")
config, length = model.config, len(prompt) + NEW
formula = n_common + 6 * (-(-length // S) - n_common)
result("pages with a shared prefix over the formula", (100 - len(shared.free)) / formula, 1.0, 0.0)
n_bytes = sum(k[0].nbytes + v[0].nbytes for k, v in shared.pages)
formula = 2 * config.n_layers * S * config.n_kv_heads * config.head_size * 4
result("bytes of a page over the formula", n_bytes / formula, 1.0, 0.0)

# %% [markdown]
# **What to see.** Half of the pages are saved, and the prompt was computed once and not six times. (The formula for the
# bytes: keys and values, layers, tokens, heads, numbers of a head, 4 bytes each.) The library finds known prefixes by a
# hash of each page's tokens and of the hash of the page before it. A page is free again when the last text that uses it
# has ended.

# %% [markdown]
# ## 23.6 Guess, then check
#
# Now a single text. Each step reads all weights for one token. A step over five tokens costs hardly more (23.1), but
# where should they come from? Token five is chosen after token four has been written.
#
# **Speculative decoding** (Leviathan et al. 2023; Chen et al. 2023): let a small model, the **draft**, write k tokens.
# Then the large model computes its own distribution after each of them, *in a single step*, as in training. Let the
# draft have sampled token x from its distribution q, and let the large model have p. Going from left to right:
#
# - **accept** x with probability $\min(1, p(x)/q(x))$;
# - else sample a token from $\max(p - q, 0)$, normalized, in its place, and drop the rest of the draft;
# - if all k are accepted, sample one more token from the last p, which is there anyway.
#
# **The result has exactly the distribution p.** Token x comes out in two ways. It is drafted and accepted:
# $q(x) \min(1, p(x)/q(x)) = \min(p(x), q(x))$. Or some token is rejected, which happens with probability $1 - \alpha$,
#
# $$ \alpha = \sum_x \min(p(x), q(x)), $$
#
# and x is sampled from the rest. The rest sums to $\sum_x \max(p - q, 0) = \sum_x (p - \min(p, q)) = 1 - \alpha$, so
# normalizing divides by what we multiply with, and this way contributes $\max(p(x) - q(x), 0)$. Together:
# $\min(p, q) + \max(p - q, 0) = p$. A bad draft costs time; it can never change the text's distribution.
#
# So $\alpha$ is how often a drafted token is accepted. (It is $1 - \text{TV}(p, q)$, the total variation distance.)
# Suppose it is the same everywhere, and that acceptances are independent. A step of the large model yields at least
# $i + 1$ tokens if the first $i$ drafted ones are accepted, which has probability $\alpha^i$:
#
# $$ \mathbb{E}[\text{tokens per step}] = 1 + \alpha + \alpha^2 + … + \alpha^k
#    = \frac{1 - \alpha^{k+1}}{1 - \alpha} . $$
#
# Exercise **verify** asks for the rule. First we need a draft: the first of our model's five blocks, with its embedding
# and its output layer, trained a little to do without the others.


# %%
def train(model, batches, peak):
    """Train on batches of ids (B, T + 1); -1 is padding."""

    def loss(step):
        ids = batches[step]
        logits = model(ids[:, :-1].clamp(min=0))  # (B, T, V)
        return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=-1)

    return training_loop.train(model, loss, len(batches), peak, seed=SEED, warmup=10)


def encoded(split, n):
    return [torch.tensor([END, *tokenizer.encode(story.text), END]) for story in stories(split, n, seed=SEED)]


tokens = torch.cat(encoded("train", 800))
generator_t = torch.Generator().manual_seed(SEED)
starts = torch.randint(len(tokens) - 64, (200, 8, 1), generator=generator_t)
draft = GPT(replace(model.config, n_layers=1))
first_block = {name: w for name, w in model.state_dict().items() if name in draft.state_dict()}
draft.load_state_dict(first_block)
draft = train(draft, [tokens[each + torch.arange(65)] for each in starts], 0.01)

# %% [markdown]
# Both models read the same held-out stories. At every position we compute $\sum \min(p, q)$; then we draw tokens from
# q there and count how often the rule accepts.

# %%
predict("a draft with one of five blocks: how often will the large model accept its word?")

# %%
val = nn.utils.rnn.pad_sequence(encoded("val", 24), batch_first=True, padding_value=-1)  # (B, T + 1)
is_token = val[:, 1:] >= 0
with torch.inference_mode():
    p, q = (each(val[:, :-1].clamp(min=0)).softmax(dim=2)[is_token] for each in (model, draft))  # (N, V)
alphas = torch.minimum(p, q).sum(dim=1)  # (N,)
alpha = alphas.mean().item()
drafted = torch.multinomial(q, 30, replacement=True, generator=generator_t)  # (N, 30)
ratio = p.gather(1, drafted) / q.gather(1, drafted)
accepted = (torch.rand(ratio.shape, generator=generator_t) < ratio).float().mean().item()
print(f"{len(p):,} positions; Σ min(p, q) = {alpha:.4f}, accepted {accepted:.4f}")
result("acceptance, measured minus Σ min(p, q)", accepted - alpha, 0.0, 0.005)
result("Σ min(p, q), mean over positions", alpha, 0.52, 0.03)
deciles = alphas.sort().values[:: len(alphas) // 10]
print("Σ min(p, q) is not the same everywhere; its deciles:", [round(x, 2) for x in deciles.tolist()])

# %% [markdown]
# The formula for the tokens per step assumed the same $\alpha$ everywhere. So first a world in which that is true:
# every token is drawn from one p, whatever came before, and drafted from one q. Then our two models, with the library's
# `generate_speculative`.

# %%
predict("the real models: more tokens per step than the formula says for the mean α, or fewer?")


# %%
class Numbers:
    """The random numbers that a `verify` asks for, one after another."""

    def __init__(self, numbers):
        self.random = iter(numbers).__next__


def checked(p, q, proposed, u):
    """The tokens that a step of the large model yields; u has k + 1 random numbers."""
    return (your_verify or (lambda p, q, proposed, u: verify(p, q, proposed, Numbers(u))))(p, q, proposed, u)


p_same, q_same = torch.tensor([0.5, 0.3, 0.1, 0.1]), torch.tensor([0.2, 0.4, 0.4, 0.0])
same_alpha = torch.minimum(p_same, q_same).sum().item()
random = Random(SEED)
for k in (1, 4):
    counts = 0
    for _ in range(3000):
        proposed = random.choices(range(4), q_same.tolist(), k=k)
        u = [random.random() for _ in range(k + 1)]
        counts += len(checked(p_same.expand(k + 1, -1), q_same.expand(k, -1), proposed, u))
    formula = tokens_per_pass(same_alpha, k)
    result(f"α = {same_alpha:.1f} everywhere, k = {k}: tokens per step", counts / 3000, formula, 0.06)

ratios = {}
print("  k   tokens per step   formula with the mean α")
for k in (1, 4, 8):
    tokens_written = n_passes = 0
    for sample in range(8):
        options = SamplingOptions(max_new_tokens=60, seed=SEED)
        text = generate_speculative(model, draft, [END], options, k, sample)
        tokens_written, n_passes = tokens_written + len(text.ids), n_passes + text.n_passes
    ratios[k] = tokens_written / n_passes, tokens_per_pass(alpha, k)
    print(f"{k:3} {ratios[k][0]:12.2f} {ratios[k][1]:20.2f}")
c = milliseconds(draft, 1) / milliseconds(model, 1)
print(f"a step of the draft takes {c:.2f} of one of the model; k = 4: {ratios[4][0] / (1 + 4 * c):.2f} times as fast")
result("real models, k = 4: tokens per step", ratios[4][0], 2.55, 0.4)
result("real models, k = 4: tokens per step over the formula", ratios[4][0] / ratios[4][1], 1.27, 0.2)

# %% [markdown]
# **What to see.** The acceptance is $\sum \min(p, q)$, within 0.002 (five seeds). With the same $\alpha$ everywhere,
# the closed form is right. For the real models it is too *low*: with k = 4 by 22 to 32 percent (five seeds), and with
# k = 8 by 27 to 45. The reason is in the deciles: some words are clear to both models (0.97), others are not
# (0.02), and the clear ones come in runs. If all tokens of a draft have the same $\alpha_i$, the expected number is
# $\mathbb{E}[1 + \alpha_i + … + \alpha_i^k]$, and powers are convex: $\mathbb{E}[\alpha_i^j] \geq
# (\mathbb{E}\,\alpha_i)^j$. Leviathan et al. (section 3.1) assume independence and say so.
#
# A draft step that takes a fraction c of a large one costs k c more, so the gain is the tokens per step over $1 + kc$.
# It is small here, since a model with one block is not much faster than one with five. In practice a draft is 10 to 100
# times smaller. And note **what it is paid with**: arithmetic that was idle. In a batch so large that the
# machine is busy (23.1), there is nothing to be gained.
#
# ## 23.7 The same distribution?
#
# "Provably the same" is a claim about a program, too, and programs have slips. Here is a common one: after a rejection,
# sample from p, as if nothing had happened. It looks harmless. Then x comes out with probability $\min(p, q) + (1 -
# \alpha) \, p$, which prefers what the draft likes. How far is that from p? The total variation distance is half the
# sum of $|\min(p, q) - \alpha p|$.
#
# The test is a $\chi^2$ test. Write N texts of two tokens, and count. If the probabilities of the outcomes are $p_i$,
#
# $$ \chi^2 = \sum_i \frac{(n_i - N p_i)^2}{N p_i} $$
#
# has the mean f and the variance 2f, with f one less than the number of outcomes (those that are expected fewer than
# five times are put together). We know $p_i$ exactly, from the large model.

# %%
predict("how many texts does it take to see the slip?")

# %%
known = {}


@torch.inference_mode()
def distributions(prefix):
    """p and q (V,) after END and a prefix."""
    if prefix not in known:
        ids = torch.tensor([[END, *prefix]])
        known[prefix] = tuple(each(ids)[0, -1].double().softmax(dim=0) for each in (model, draft))
    return known[prefix]


def from_p(p, q, proposed, u):
    """The slip: after a rejection it samples from p."""
    for i, token in enumerate(proposed):
        if u[i] * q[i][token] >= p[i][token]:
            return [*proposed[:i], random.choices(range(V), p[i].tolist())[0]]
    return [*proposed, random.choices(range(V), p[-1].tolist())[0]]


def first_two(rule):
    """The first two tokens of a text, with drafts of two."""
    text = ()
    while len(text) < 2:
        prefixes, proposed = [text], []
        for _ in range(2):
            proposed.append(random.choices(range(V), distributions(prefixes[-1])[1].tolist())[0])
            prefixes.append((*prefixes[-1], proposed[-1]))
        p, q = (torch.stack([distributions(each)[which] for each in prefixes]) for which in (0, 1))
        text = (*text, *rule(p, q, proposed, [random.random() for _ in range(3)]))
    return text[:2]


def chi_squared(counts, probability, n):
    """The statistic and its degrees of freedom; outcomes expected fewer than five times are one outcome."""
    cells = [(counts[i], n * p) for i, p in probability.items() if n * p >= 5]
    rest = n - sum(expected for _, expected in cells), n - sum(count for count, _ in cells)
    cells += [rest[::-1]] if rest[0] > 5 else []
    return sum((count - expected) ** 2 / expected for count, expected in cells), len(cells) - 1


N_TEXTS = 1500
for words, rule in (("by the rule", checked), ("from p after a rejection", from_p)):
    texts = [first_two(rule) for _ in range(N_TEXTS)]
    first = Counter(text[0] for text in texts)
    p, q = distributions(())
    statistic, f = chi_squared(first, dict(enumerate(p.tolist())), N_TEXTS)
    pairs = {(a, b): p[a].item() * x for a in range(V) if p[a] > 1e-4
             for b, x in enumerate(distributions((a,))[0].tolist())}  # fmt: skip
    statistic_2, f_2 = chi_squared(Counter(texts), pairs, N_TEXTS)
    print(f"{words:>25}: first token χ² {statistic:6.1f} with f = {f}; first two {statistic_2:6.1f} with f = {f_2}")
    for name, x, degrees in (("first token", statistic, f), ("first two", statistic_2, f_2)):
        z = (x - degrees) / math.sqrt(2 * degrees)
        p_value = torch.special.gammaincc(torch.tensor(degrees / 2), torch.tensor(x / 2)).item()
        print(f"{'':>27}{name}: {z:+.1f} standard deviations, p-value {p_value:.2g}")
        if rule is checked:
            result(f"{name}: χ² in standard deviations from its mean", z, 0.0, 3.0)
    if rule is from_p:
        same = torch.minimum(p, q)
        formula = (same - same.sum() * p).abs().sum().item() / 2
        print(f"total variation distance of its first token by formula: {formula:.3f}")

# %% [markdown]
# **What to see.** The rule's texts cannot be told from the model's own. The slip shows at once, by twenty standard
# deviations, though every single text looks fine. Test a sampler by its distribution; you cannot see the slip by
# reading texts. The library's own test does this for every implementation.
#
# ## 23.8 Four bits
#
# The third way is to read fewer bytes. Trained weights have 16 or 32 bits, more than they need. With **absmax
# quantization** to b bits, weights become whole numbers from $-Q$ to $Q$, $Q = 2^{b-1} - 1$, times a **scale**:
#
# $$ \sigma = \frac{\max |w|}{Q}, \qquad z = \mathrm{round}(w / \sigma), \qquad w \approx z \sigma . $$
#
# For int8, Q = 127, and one scale for each row of a matrix will do (Dettmers et al. 2022). For int4, Q = 7. Then the
# largest weight of a row decides how coarse all others are, so a row is cut into **groups** of g neighbors with a scale
# each (Shen et al. 2020, *Q-BERT*). With scales of 32 bits, a weight takes $4 + 32/g$ bits. Exercise
# **quantize_groups** asks for it.
#
# How much does it hurt? First the weights. A rounding error is spread evenly over $\pm \sigma / 2$, which has the
# variance $\sigma^2 / 12$. Only the largest weight of each group has none, because it is exactly $\pm Q \sigma$:
#
# $$ \varepsilon^2 = \frac{\sum (w - z\sigma)^2}{\sum w^2} \approx
#    \frac{\left(1 - \frac1g\right) \sum \sigma^2 / 12}{\sum w^2} , $$
#
# with a sum over all weights, each with the scale of its group.
#
# Then the predictions. How far is the rounded model's distribution $\tilde p$ of the next token from the distribution p
# of the model itself? The KL divergence (15.9) is 0 without rounding and never negative, so its first derivatives
# vanish there, and its series begins with the *squares* of the errors $\delta_i$ of the weights $w_i$:
#
# $$ \operatorname{KL}(p \,\Vert\, \tilde p) \approx \frac12 \sum_{i,j} F_{ij} \, \delta_i \delta_j , \qquad
#    F_{ij} = \mathbb{E}_{x \sim p} \left[ \frac{\partial \log p(x)}{\partial w_i}
#    \frac{\partial \log p(x)}{\partial w_j} \right] . $$
#
# F is the **Fisher information**. If the rounding errors of two weights are independent and have the mean 0, only the
# products of a weight with itself are left on average, and these we know from above (H):
#
# $$ \operatorname{KL} \approx \frac12 \sum_i F_{ii} \left(1 - \frac1g\right) \frac{\sigma_i^2}{12} . $$
#
# Nothing in this formula is fitted: F can be measured without rounding anything. Read a text, draw a token x from p at
# every position, and square the gradient of the sum of their $\log p(x)$. (Two positions contribute nothing together,
# because $\log p(x)$ has a gradient of mean 0.) And the formula is proportional to the square of the scale: with half
# as many steps between 0 and the largest weight, the divergence is four times as large.
#
# We quantize all matrices of the blocks, and read held-out stories. For comparison we also look at the loss, in nats
# per token above the floor, the true information of these stories.

# %%
predict("from 8 bits with a scale for each row to 4 bits in groups of 32, ε grows 14-fold. And the KL divergence?")

# %%
test_stories = list(stories("val", 24, seed=SEED))
test = nn.utils.rnn.pad_sequence(
    [torch.tensor([END, *tokenizer.encode(story.text), END]) for story in test_stories], True, -1
)  # (B, T + 1)
is_token = test[:, 1:] >= 0
N_TARGETS = is_token.sum().item()
FLOOR = sum(story.nats for story in test_stories) / N_TARGETS  # nats per token
linears = {name: layer for name, layer in model.blocks.named_modules() if isinstance(layer, nn.Linear)}


def fisher_diagonal():
    """The F_ii of each matrix of the blocks, per token of the test stories, with four draws of x at each position."""
    diagonal = {name: torch.zeros_like(layer.weight) for name, layer in linears.items()}
    weights = [layer.weight for layer in linears.values()]
    for ids, length in [*zip(test, is_token.sum(dim=1), strict=True)] * 4:
        log_p = model(ids[None, :length]).log_softmax(dim=2)[0]  # (T, V)
        x = torch.multinomial(log_p.detach().exp(), 1, generator=generator_t)
        gradients = torch.autograd.grad(log_p.gather(1, x).sum(), weights)
        for name, gradient in zip(diagonal, gradients, strict=True):
            diagonal[name] += gradient.square() / (4 * N_TARGETS)
    return diagonal


@torch.inference_mode()
def log_probabilities(model):
    """log p of the next token at all positions of the test stories (N, V), in double precision."""
    return model(test[:, :-1].clamp(min=0))[is_token].double().log_softmax(dim=1)


def above_floor(log_p):
    """The loss in nats per token, minus the floor."""
    return -log_p.gather(1, test[:, 1:][is_token][:, None]).mean().item() - FLOOR


def round_groups(weight, g, bits):
    """The rounded matrix, and the scale of each of its weights."""
    n_out, n_in = weight.shape
    Q = 2 ** (bits - 1) - 1
    groups = F.pad(weight, (0, -n_in % g)).view(n_out, -1, g)
    scale = (groups.abs().amax(dim=2, keepdim=True) / Q).expand_as(groups)
    rounded = (groups / scale.clamp(min=1e-30)).round() * scale
    return rounded.reshape(n_out, -1)[:, :n_in], scale.reshape(n_out, -1)[:, :n_in]


def quantized(g, bits):
    """A model with rounded matrices; ε², measured and by the formula; KL by the formula; the bytes of the matrices."""
    rounded, _ = load_pretrained("storyworld-gpt")
    error = formula = squares = divergence = n_bytes = 0.0
    for name, layer in rounded.blocks.named_modules():
        if isinstance(layer, nn.Linear):
            w = layer.weight.data
            width = min(g, w.size(1))
            new, scale = round_groups(w, width, bits)
            variance = (1 - 1 / width) * scale.square() / 12  # of each weight's rounding error
            error, squares = error + (new - w).square().sum().item(), squares + w.square().sum().item()
            formula += variance.sum().item()
            divergence += (F_ii[name] * variance).sum().item() / 2
            n_bytes += w.numel() * bits / 8 + len(w) * -(-w.size(1) // width) * 4
            layer.weight.data = new
    return rounded, error / squares, formula / squares, divergence, n_bytes


F_ii, log_p = fisher_diagonal(), log_probabilities(model)
print(f"floor {FLOOR:.3f} nats per token, the model is {above_floor(log_p):.4f} above it")
print("bits    group   ε       formula   KL        formula    kB   nats above the floor")
points, WHOLE = {}, 10**6
for bits, g in ((8, WHOLE), (6, WHOLE), (4, 8), (4, 16), (4, 32), (4, 64), (4, WHOLE), (3, 32), (2, 32)):
    rounded, error, formula, by_fisher, n_bytes = quantized(g, bits)
    rounded_log_p = log_probabilities(rounded)
    kl = (log_p.exp() * (log_p - rounded_log_p)).sum(dim=1).mean().item()
    points[bits, g] = n_bytes, kl, (error / formula) ** 0.5, kl / by_fisher
    words = "row" if g == WHOLE else str(g)
    print(f"{bits:4} {words:>8} {error**0.5:7.4f} {formula**0.5:9.4f} {kl:9.6f} {by_fisher:9.6f} {n_bytes / 1000:7.0f} "
          f"{above_floor(rounded_log_p):14.4f}")  # fmt: skip
curves(
    {
        "4 bits, groups of 8 … a row": [(points[4, g][0] / 1000, points[4, g][1]) for g in (8, 16, 32, 64, WHOLE)],
        "8 bits, a row": [(points[8, WHOLE][0] / 1000, points[8, WHOLE][1])],
    },
    "What quantized matrices cost", "kB", "KL, nats per token", "23-int4",
)  # fmt: skip
result("8 bits: ε over the formula", points[8, WHOLE][2], 1.0, 0.01)
result("4 bits, groups of 32: ε over the formula", points[4, 32][2], 1.0, 0.01)
result("8 bits: KL over the formula", points[8, WHOLE][3], 1.0, 0.25)
result("4 bits, groups of 32: KL over the formula", points[4, 32][3], 1.1, 0.3)
result("3 bits: KL over the formula", points[3, 32][3], 7.0, 4.0)
result("KL of 4 bits in groups of 32 over that of 8 bits", points[4, 32][1] / points[8, WHOLE][1], 200, 60)

packed = [quantize_groups(layer.weight, 32) for layer in linears.values()]
result("bytes of the library's int4 over the formula", sum(q.nbytes + s.nbytes for q, s in packed) / points[4, 32][0],
       1.0, 0.0)  # fmt: skip
if your_quantize is not None:
    w = next(iter(linears.values())).weight.detach()
    z, scale = your_quantize(w, 32)
    mine = (z.view(len(w), -1, 32) * scale[..., None]).view(len(w), -1)
    theirs = dequantize_groups(*packed[0], w.size(1))
    print(f"your quantize_groups, largest difference from the library's: {(mine - theirs).abs().max():.2g}")

# %% [markdown]
# **What to see.** The formula gives the error of the weights to four digits. (At 2 bits it is off: with Q = 1 most
# weights are rounded to 0, and their error is no longer evenly spread.) The KL divergence is known before anything is
# rounded, from the Fisher information alone: with 8 and 6 bits it is 0.9 to 1.1 times the formula (five seeds), and
# with 4 bits in groups of 32, where it is two hundred times as large as with 8, it is 1.0 to 1.2 times. With one scale
# for each row it is already 1.2 to 1.4 times, and at 3 bits the square law breaks: seven times as much. The square is
# only the first term of a series; and at 2 bits there is no usable model left.
#
# Why not look at the loss alone? The model is not at the minimum of the loss on just these 24 stories, so this loss
# also has a first-order term, with a sign of chance. For 4 bits in groups of 32 it rises by 0.0003 to 0.0016 nats, a
# few percent of what is above the floor, and with other groups it even falls for one seed. The divergence from the
# model itself has no such term: for the same five sets of stories it is 0.00066 to 0.00073. So it shows the difference
# between two formats long before the loss does. (These groups take 39 percent less memory than int8.)
#
# The picture has one more lesson. With groups of 8, int4 takes as many bytes as int8 with one scale for each row, and
# its error is ten times as large, so its divergence is a hundred times as large. Smaller groups are a cure for 4 bits
# only up to a point; if you have the bytes, spend them on the weights. (For memory: 4 bits with groups of 32 and 16-bit
# scales are 4.5 bits per weight.)
#
# ## 23.9 Only what may come
#
# The last way to be fast is not to write anything in vain. A program that asks for JSON throws away a text with one
# missing quotation mark and asks again. With a probability v of a valid text, that takes 1/v texts on average.
#
# **Constrained decoding** works out before every token which tokens may come, sets the logits of all others to
# $-\infty$, and samples from the rest. What may come is described by an **automaton**: states, and for each state and
# character the next state. A text is valid if its last state is *accepting*. A JSON schema or a regular expression can
# be translated to an automaton (`generation/json_schema.py`, `generation/regular_expression.py`). Nested JSON needs a
# stack in addition, since no finite automaton can count brackets; the library has one.
#
# But a model writes *tokens*, and a token may be `":`, half a word, or the end of one string and the beginning of the
# next. So for each token the automaton reads its characters one by one (Willard & Louf 2023). A token is allowed if
#
# 1. the automaton can read all of its characters, and
# 2. from the state after it, the text can still be **completed**: an accepting state can be reached with the tokens
#    that are left. Each single character is a token here, so it is enough if the shortest way has no more characters
#    than there are tokens left.
#
# The end token is allowed in accepting states. Exercise **allowed_tokens** asks for this.
#
# Our model is small and is trained for only two seconds, on records of children, so it makes mistakes.

# %%
THINGS = "basket boat drum kite ladder lamp lantern scarf teapot whistle".split()
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "[A-Z][a-z]+"},
        "pronoun": {"enum": ["she", "he"]},
        "age": {"type": "integer"},
        "things": {"type": "array", "items": {"type": "string", "pattern": "[a-z]+"}, "minItems": 1, "maxItems": 3},
    },
    "required": ["name", "pronoun", "age", "things"],
}


def draw_record(random):
    name = random.choice(GIRLS + BOYS)
    things = sorted(random.sample(THINGS, random.randint(1, 3)))
    return {"name": name, "pronoun": "she" if name in GIRLS else "he", "age": random.randint(5, 12), "things": things}


random = Random(SEED)
records = [json.dumps(draw_record(random)) for _ in range(2000)]
small_tokenizer = BPETokenizer.train(records, 320)
STOP, N_TOKENS, LONGEST = small_tokenizer.end_of_text, small_tokenizer.vocab_size, 72
rows = [torch.tensor([STOP, *small_tokenizer.encode(text), STOP]) for text in records]
batches = [
    nn.utils.rnn.pad_sequence([rows[i] for i in random.sample(range(2000), 16)], batch_first=True, padding_value=-1)
    for _ in range(125)
]
torch.manual_seed(SEED)
writer = train(
    GPT(ModelConfig(vocab_size=N_TOKENS, context_length=80, n_layers=2, n_heads=2, d_model=32)), batches, 0.01
)
grammar = json_schema(SCHEMA)
print(records[0])
print(" | ".join(small_tokenizer.decode([id]) for id in small_tokenizer.encode(records[0])))
bytes_of = [b"" if id == STOP else small_tokenizer.token_bytes(id) for id in range(N_TOKENS)]
in_tokens = TokenGrammar(grammar, small_tokenizer, [STOP])
masks = {}


def automaton_of(grammar):
    """All states that can be reached: state → {byte: next state}, and the accepting ones."""
    steps, open_states = {}, [grammar.first_state]
    while open_states:
        state = open_states.pop()
        after = {byte: grammar.read(state, bytes([byte])) for byte in range(128)}
        steps[state] = {byte: next_state for byte, next_state in after.items() if next_state != DEAD}
        open_states += {next_state for next_state in steps[state].values()} - steps.keys() - {*open_states}
    return steps, {state for state in steps if grammar.accepts(state)}


automaton, accepting = automaton_of(in_tokens.grammar)
print(f"the schema's automaton has {len(automaton)} states, {len(accepting)} of them accepting")


def mask_of(state, left):
    """Which tokens may come, if at most `left` may follow before the end: (V,) bool."""
    key = state, min(left, 56)
    if key not in masks:
        masks[key] = in_tokens.needed(state) <= left
        if allowed_tokens is not None:
            mine = torch.tensor(allowed_tokens(bytes_of, automaton, accepting, state, left))
            assert torch.equal(mine, masks[key]), "your allowed_tokens and the library's differ"
            masks[key] = mine
    return masks[key]


@torch.inference_mode()
def write_records(n, constrained, temperature=1.0):
    """n texts, None where one did not end; and for each the product of what its masks have left."""
    cache, ids = writer.make_cache(n, LONGEST + 1), torch.full((n, 1), STOP)
    states, product, ended = [in_tokens.grammar.first_state] * n, torch.ones(n), torch.zeros(n, dtype=torch.bool)
    for t in range(LONGEST):
        logits = writer.lm_head(writer.decode(ids[:, -1:], torch.full((n, 1), t), cache)[:, -1])
        p = (logits / temperature).softmax(dim=1)  # (n, V)
        if constrained:
            may_come = torch.stack([mask_of(state, LONGEST - 2 - t) for state in states])
            product *= torch.where(ended, 1.0, (p * may_come).sum(dim=1))
            p = p * may_come
        p[ended] = F.one_hot(torch.tensor(STOP), N_TOKENS).float()
        ids = torch.cat([ids, torch.multinomial(p, 1, generator=generator_t)], dim=1)
        ended |= ids[:, -1] == STOP
        if ended.all():
            break
        if constrained:
            states = [in_tokens.grammar.read(state, bytes_of[id]) for state, id in zip(states, ids[:, -1].tolist(),
                      strict=True)]  # fmt: skip
    texts = [row[: row.index(STOP)] if STOP in row else None for row in ids[:, 1:].tolist()]
    return [None if text is None else small_tokenizer.decode(text) for text in texts], product


predict("which fraction of the free texts is valid? And of the constrained ones?")

# %%
N_RECORDS = 800
write_records(100, constrained=True)  # makes most of the masks
start = time.perf_counter()
free, _ = write_records(N_RECORDS, constrained=False)
seconds = time.perf_counter() - start
start = time.perf_counter()
constrained, product = write_records(N_RECORDS, constrained=True)
overhead = (time.perf_counter() - start) / seconds - 1


def is_valid(text):
    """Whether a text is JSON, and of this schema."""
    return text is not None and grammar.matches(text)


valid = {"free": [text for text in free if is_valid(text)], "constrained": [*filter(is_valid, constrained)]}
print("free texts that are not valid:")
for text in [text for text in free if not is_valid(text)][:4]:
    print("   ", text)
result("free: fraction that is valid", len(valid["free"]) / N_RECORDS, 0.6, 0.2)
result("constrained: fraction that is valid", len(valid["constrained"]) / N_RECORDS, 1.0, 0.0)
options = SamplingOptions(max_new_tokens=LONGEST, grammar=grammar, seed=SEED)
by_library = generate(writer, small_tokenizer, [""], options, n_samples=100)
result("the library's generate: fraction that is valid", sum(is_valid(each.text) for each in by_library) / 100, 1.0, 0)
print(f"masks made: {len(masks)}; time with masks that are known: {overhead:+.0%}")

# %% [markdown]
# **What to see.** From three in five to all of them. There is no luck in the second number: a text that is not valid
# cannot be written. And it hardly costs time, since a mask is made once for each state.
#
# ## 23.10 Valid is not right
#
# What does the model say now that it could not say before? By setting logits to $-\infty$ and normalizing, a token's
# probability is divided by the sum $Z_t$ of what was allowed. So a constrained text x comes out with probability
#
# $$ m(x) = \frac{p(x)}{\prod_t Z_t(x)} . $$
#
# That is *not* $p(x \mid \text{valid}) = p(x) / P(\text{valid})$, which you would get by sampling freely and throwing
# away what is not valid. The two are equal only if the product is the same for all texts. But there is a law that
# connects them. Sum $m(x) \prod Z_t(x) = p(x)$ over all valid texts:
#
# $$ \mathbb{E}_{x \sim m} \Big[ \prod_t Z_t(x) \Big] = P(\text{valid}) . $$
#
# **The constrained texts know how often the free ones would have been valid**, though not one of them is invalid.
#
# A text with a small product is one where the mask forced the model away from what it would have written. Is it any
# good? We ask a question that the schema does not ask: do the name, the age and the things exist in our records? The
# law above answers such questions, too: weighted by their products, constrained texts are as often right as free texts
# that are valid,
# $P(\text{right} \mid \text{valid}) = \mathbb{E}_m[\text{right} \cdot \prod Z_t] \, / \, \mathbb{E}_m[\prod Z_t]$.

# %%
predict("where the grammar had to interfere most: how often do name, age and things exist?")


# %%
def exists(record):
    """Whether name, age and things are those of the training records."""
    return record["name"] in GIRLS + BOYS and 5 <= record["age"] <= 12 and set(record["things"]) <= {*THINGS}


order, fifth = product.argsort().tolist(), N_RECORDS // 5
groups = {
    "free and valid": valid["free"],
    "constrained": constrained,
    "lowest fifth of the products": [constrained[i] for i in order[:fifth]],
    "highest fifth": [constrained[i] for i in order[-fifth:]],
}
fractions = {}
print(f"{'':>30}  exist")
for name, texts in groups.items():
    read = [json.loads(text) for text in texts]
    fractions[name] = sum(map(exists, read)) / len(read)
    print(f"{name:>30} {fractions[name]:6.1%}")
right = torch.tensor([exists(json.loads(text)) for text in constrained])
weighted = ((product * right).sum() / product.sum()).item()
print(f"{'weighted by the product':>30} {weighted:6.1%}")
for i in order[:3]:
    print(f"    product {product[i]:.2g}: {constrained[i]}")
result("mean product minus the valid fraction", product.mean().item() - len(valid["free"]) / N_RECORDS, 0.0, 0.06)
result("exist: weighted minus free and valid", weighted - fractions["free and valid"], 0.0, 0.09)
difference = fractions["highest fifth"] - fractions["lowest fifth of the products"]
result("exist: highest minus lowest fifth", difference, 0.15, 0.25)

# %% [markdown]
# **What to see.** The mean product is the fraction of free texts that are valid, and weighted by it the constrained
# texts are as good as the free valid ones, both within the noise of a few hundred texts. Where the products are lowest,
# names, ages and things mostly exist less often. We had expected this with every seed; but with five seeds the
# difference was -6 to 29 percentage points, since a model can be sure of its form and wrong about the rest. A grammar
# can make the model say `{"name": "` and then a name, but it cannot make it know one. So a valid answer is worth no
# more than the model behind it, **and its form no longer tells you**. Watch the product: you get it for free, and it
# says how much force was used; but it does not say what is right.
#
# In the exercise **misled_by_a_mask** you build the extreme case, two tokens in which the mask turns the distribution
# around. There are remedies: sample freely where you can afford it, weight several samples by their products, or
# correct the masks by what has been learned about later $Z_t$ (Park et al. 2024, *Grammar-Aligned Decoding*).

# %% [markdown]
# ## 23.11 What was left out
#
# - **The prompt.** Before the first token of an answer, the whole prompt is computed (*prefill*), and a long one makes
#   all others wait: it is cut into chunks (Agrawal et al. 2023, *Sarathi*), or computed on other machines (Zhong et al.
#   2024, *DistServe*).
# - **When memory runs out**, a text must go: its pages are moved elsewhere, or computed again.
# - **Better drafts**: heads on the model itself that guess several tokens (Cai et al. 2024, *Medusa*; Li et al. 2024,
#   *EAGLE*), n-grams of the prompt, trees of drafts.
# - **Better rounding**: choose it so that the *output* changes least (Frantar et al. 2022, *GPTQ*; Lin et al. 2023,
#   *AWQ*). Activations of large models have outliers, so they are harder (Dettmers et al. 2022). The cache can be
#   quantized, too.
# - **Fairness.** First come, first served is not the only order, and a short request behind a long prompt suffers most.
#
# **Further reading.** Kwon et al. 2023, *Efficient Memory Management for Large Language Model Serving with
# PagedAttention*. Yu et al. 2022, *Orca: A Distributed Serving System for Transformer-Based Generative Models*. Little
# 1961, *A Proof for the Queuing Formula L = λW*. Leviathan et al. 2023, *Fast Inference from Transformers via
# Speculative Decoding*. Chen et al. 2023, *Accelerating Large Language Model Decoding with Speculative Sampling*.
# Dettmers & Zettlemoyer 2023, *The case for 4-bit precision*. Willard & Louf 2023, *Efficient Guided Generation for
# Large Language Models*. Park et al. 2024, *Grammar-Aligned Decoding*. Pope et al. 2022, *Efficiently Scaling
# Transformer Inference*.
#
# **Now you.** `python -m lessons check 23` creates your file, `lessons/mine/23_serving_fast.py`, with seven exercises
# in it. When the checks pass, `python -m lessons run 23 --mine` serves with your functions.
