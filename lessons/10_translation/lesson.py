# %% [markdown]
# # 10 Translation
#
# - **Question:** How can a model translate a sentence when the words of the other language come in a different order?
# - **Teaches:** the original Transformer: encoder, decoder and cross-attention, with their masks; teacher forcing,
#   label smoothing, beam search with length normalization; BLEU in full, and what it misses
# - **Minutes:** 110 to read and solve, 1 to run
#
# You need attention and its masks (lesson 03), the block (lesson 04), the optimizers (lesson 05), and greedy and beam
# search (lesson 06). Sections follow *Attention Is All You Need* (Vaswani et al. 2017) unless they name another
# source.
#
# Dimension letters: B batch, S source positions, T target positions, C width of the model, H heads, D = C / H, V size
# of the vocabulary. The model reads the source (German here) and writes the target (English).

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
from torch.nn import functional as F

from lessons.machinery.lesson_api import part, predict, result, seed
from lessons.machinery.pictures import curves, heatmap
from llmasos.datasets import Examples
from llmasos.datasets.storyworld.task_examples import storyworld_pairs
from llmasos.evaluation import bleu as corpus_bleu
from llmasos.evaluation import choose_mistakes, show_mistakes
from llmasos.generation import BeamOptions, SamplingOptions, beam_search, generate_from
from llmasos.models import ModelConfig, Transformer
from llmasos.nn import MultiHeadAttention, naive_attention
from llmasos.objectives import IGNORE_INDEX, Seq2Seq, encode_pair
from llmasos.tokenizers import BPETokenizer
from llmasos.training.optimizers import learning_rate_factor, make_optimizers, set_learning_rate
from llmasos.training.recipe import TrainingSettings

torch.manual_seed(seed())
torch.set_num_threads(min(2, torch.get_num_threads()))
torch.set_printoptions(precision=2, sci_mode=False)

# %% [markdown]
# ## 10.1 Word for word is no translation
#
# The storyworld tells every story twice, in English and in German, sentence by sentence. Here is one sentence. The
# number under each English word says which German word it comes from:
#
#     Im  Winter  hatten  er  und  Großvater  zusammen  ein  Spielzeugboot  gebaut
#      1     2       3     4   5       6          7      8         9           10
#
#     In  winter  he  and  Grandfather  had  built  a  toy boat  together
#      1     2     4   5        6        3     10   8      9         7
#
# German puts the second part of its verb at the very end, and in a relative clause the whole verb ("den Großvater
# gebaut hatte": which Grandfather *had built*). English wants it in the middle. To write the seventh English word,
# you must have read the German sentence to its last word. Some words become two, some vanish, and "kein" shows up as
# a "not" somewhere else. Finding out which words belong together is the **alignment** problem, the heart of
# statistical machine translation (Brown et al. 1993).
#
# What if we ignore it? We take the sentences of 2,000 stories that have at most ten German words, and count how often
# a German word g and an English word e occur in the same pair of sentences. For each g we take the e with the highest
#
# $$ \frac{2 \cdot \mathrm{count}(g, e)}{\mathrm{count}(g) + \mathrm{count}(e)} $$
#
# (Dice 1945), which is 1 if the two only ever occur together. This gives us a dictionary. With it we translate
# held-out sentences, which occur in no training story, word by word.


# %%
def short(pairs):
    return [pair for pair in pairs if len(pair.source.split()) <= 10]


def words(text):
    """A text as a list of words and punctuation marks."""
    return re.findall(r"\w+|[^\w\s]", text)


data = storyworld_pairs(2000)
train, held_out = short(data.train), short(data.val)
print(f"{len(train):,} training pairs, {len(set(train)):,} of them distinct; {len(held_out)} held-out pairs")

german, english, together = Counter(), Counter(), Counter()
for pair in set(train):
    gs, es = set(words(pair.source)), set(words(pair.target))
    german.update(gs)
    english.update(es)
    together.update((g, e) for g in gs for e in es)
dictionary = {}
for (g, e), n in together.items():
    dictionary[g] = max(dictionary.get(g, (0.0, "")), (2 * n / (german[g] + english[e]), e))

test = [held_out[i] for i in np.random.default_rng(0).permutation(len(held_out))[:300]]  # the same for every seed
word_for_word = [" ".join(dictionary[g][1] for g in words(pair.source) if g in dictionary) for pair in test]
for pair, text in list(zip(test, word_for_word, strict=True))[:4]:
    print(f"\n{pair.source}\n  word for word: {text}\n  reference:     {pair.target}")

# %% [markdown]
# Many of the words are right, but hardly any sentence is English. The order is German. And a word whose translation
# depends on other words goes wrong even in the right place: a dictionary cannot know that "sie" is *she* here, *they*
# there, and *it* for a lantern. We need a model that, for the next English word, looks at the right places in the
# German sentence, wherever they are, and at the English words written so far.

# %% [markdown]
# ## 10.2 One reads, the other writes
#
# The probability of a target $y = (y_1 \dots y_T)$, given a source $x$, is a product, as in every language model. The
# only new thing is that every factor depends on $x$ too:
#
# $$ P(y \mid x) = \prod_{t=1}^{T} P(y_t \mid y_{<t},\, x) $$
#
# So the part that writes, the **decoder**, is a language model like the one of lesson 04, with one more input. The
# part that reads, the **encoder**, turns the source into vectors.
#
# How does the source reach the decoder? Sutskever, Vinyals and Le (2014) let a recurrent network read the sentence
# and passed on its last state: *one* vector, whatever the length of the sentence. It worked, with a trick: the
# network read the source backwards, so that its beginning was still fresh in memory when the writing began (their
# section 3.3; BLEU rose from 25.9 to 30.6). A trick that helps this much points at the problem. Bahdanau, Cho and
# Bengio (2014) found that with a single vector, translations get worse as sentences get longer (their figure 2). They
# let the decoder look back at *all* the states of the encoder, with different weights at each step:
#
# $$ c_t = \sum_{s} \alpha_{ts} h_s, \qquad \alpha_{t} = \operatorname{softmax}_s(e_{ts}) $$
#
# (their equations 5 and 6, in our notation). $h_s$ is the encoder's output at source position $s$, and the score
# $e_{ts}$ says how relevant it is to the next target word. This is where attention comes from. Luong, Pham and
# Manning (2015) used a dot product as the score, and Vaswani et al. (2017) dropped the recurrent network.

# %% [markdown]
# ## 10.3 Cross-attention
#
# It is the function of lesson 03. The queries come from the target, the keys and values from the source:
#
# $$ \operatorname{attention}(Q, K, V) = \operatorname{softmax}\!\left(\frac{Q K^\top}{\sqrt{D}}\right) V,
#    \qquad Q = y W_q^\top, \quad K = m W_k^\top, \quad V = m W_v^\top $$
#
# Here $y$ (T, C) are the decoder's hidden states, and $m$ (S, C) is the **memory**, the output of the encoder. The
# attention weights are (T, S), and each row still sums to one: every target position distributes one unit of
# attention over the source. Below is one head without its projections, with three target positions and four source
# positions, the last of which is padding:

# %%
generator = torch.Generator().manual_seed(1)
y = torch.randn(1, 1, 3, 8, generator=generator)  # (B, H, T, D): the queries
m = torch.randn(1, 1, 4, 8, generator=generator)  # (B, H, S, D): the keys and values
attention_mask = torch.tensor([[True, True, True, False]])  # (B, S)
mask = attention_mask[:, None, None, :]  # (B, 1, 1, S): the same for all queries
output, weights = naive_attention(y, m, m, mask=mask)
print(output.shape, weights.shape)
print(weights[0, 0])

# %% [markdown]
# A Transformer uses this function in three places:
#
# | where | queries from | keys and values from | what is masked |
# |---|---|---|---|
# | encoder, self-attention | source | source | padding of the source |
# | decoder, self-attention | target | target | the future |
# | decoder, **cross-attention** | target | source | padding of the source |
#
# Look at the last column. The encoder masks no future: the complete source is available, and its last word may
# explain its first. Cross-attention masks none either, for the same reason. A causal mask there would prevent exactly
# what we need: seeing the verb at the end of the source while we are in the middle of the target. Only the target has
# a future. And the padding of the target needs no mask: it comes at the end, where it is in the future of every real
# token.
#
# An encoder block consists of self-attention and a feed-forward network, each with its residual connection and norm.
# A decoder block has cross-attention in between (figure 1 of the paper). These are `EncoderBlock` and `DecoderBlock`
# in `llmasos/nn/blocks.py`; `Transformer` in `llmasos/models/transformer.py` is a stack of each.
#
# As in lesson 03, the best test of a mask is to change one input and see which outputs change. The next model has
# random weights; its source has four tokens and one padding token, and its target has four tokens.

# %%
predict(
    "which of the four target positions change if you change (a) the last source word, (b) the padding of the source, "
    "(c) the third target token? And which source positions of the encoder change with (a)?"
)

# %%
tiny = Transformer(ModelConfig("transformer", 50, 16, 1, n_heads=2, d_model=16, positions="sinusoidal")).eval()
source, target = torch.tensor([[11, 12, 13, 14, 0]]), torch.tensor([[1, 21, 22, 23]])
attention_mask = torch.tensor([[True, True, True, True, False]])


def changes(before, after):
    return "  ".join("changed" if changed else "same   " for changed in (before != after).any(dim=-1)[0])


with torch.no_grad():
    logits, memory = tiny(source, target, attention_mask), tiny.encode(source, attention_mask)
    for change, position in (("(a) the last source word", 3), ("(b) the padding", 4)):
        changed_source = source.clone()
        changed_source[0, position] = 30
        print(f"{change:<26} target: {changes(logits, tiny(changed_source, target, attention_mask))}")
        print(f"{'':<26} source: {changes(memory[:, :4], tiny.encode(changed_source, attention_mask)[:, :4])}")
    changed_target = target.clone()
    changed_target[0, 2] = 30
    print(f"{'(c) the third target token':<26} target: {changes(logits, tiny(source, changed_target, attention_mask))}")

# %% [markdown]
# One more thing follows from the table: the memory does not depend on the target. While the model writes a
# translation token by token, the keys and values of cross-attention stay the same, so they are computed once per
# sentence (`Transformer.prefill`). Exercise **cross_attention** asks for the function with its heads and projections,
# and you can train the model below with yours.

# %% [markdown]
# ## 10.4 Teacher forcing
#
# Training maximizes $\ln P(y \mid x)$; that is, it minimizes the sum of $-\ln P(y_t \mid y_{<t}, x)$ over all
# positions. But what is $y_{<t}$ in training: the model's own output, or the correct words? **The correct words.**
# Whatever the model would have written, its next prediction starts from the reference. This is called teacher forcing
# (Williams and Zipser 1989). All reference words are known in advance, so all positions are computed at once, with
# the causal mask to keep each one from seeing its own answer. Generation has to go one token at a time; training does
# not.
#
# So the decoder has an input and a target of equal length, shifted by one position. At the front, where nothing has
# been written yet, the input has a start token; at the end, the model must predict an end token:

# %%
tokenizer = BPETokenizer.train([text for pair in train for text in (pair.source, pair.target)], 2048)
V, CONTEXT, EPSILON = tokenizer.vocab_size, 48, 0.1
objective = Seq2Seq(tokenizer, label_smoothing=EPSILON)


def encoded(pairs):
    return [encode_pair(pair, tokenizer, CONTEXT) for pair in pairs]


two_pairs = [next(pair for pair in train if pair.source.startswith(text)) for text in ("Er nannte", "Auf dem ganzen")]
batch = objective.collate(encoded(two_pairs))


def shown(ids):
    names = {tokenizer.end_of_text: "<end>", IGNORE_INDEX: "·", tokenizer.pad_id: "_"}
    return "  ".join(names.get(i) or tokenizer.decode([i]).strip() for i in ids.tolist())


for row in range(2):
    print(f"source:         {shown(batch['source'][row])}")
    print(f"decoder input:  {shown(batch['target'][row])}")
    print(f"targets:       {shown(batch['targets'][row])}\n")

# %% [markdown]
# (`_` is padding, and `·` is the label -100, which means "ignore this position": the loss skips it.) This library
# uses a single token, `<|endoftext|>`, as the start and the end token; others have two. Exercise **shift_right** asks
# you to make the second line from the third, with one difference: in a row with padding, the end token is shifted
# with the others, into the place where the first `_` is printed here. The loss ignores that position, so it makes no
# difference to training. The function is a line or two, and a place for famous mistakes: without the shift, the model
# learns to copy its input to its output, with a wonderful loss.
#
# Teacher forcing has a price. In training, the model only ever sees prefixes without a mistake. When it generates, it
# sees its own words, and after the first wrong one it is in a situation that it has never seen. Ranzato et al. (2016)
# called this **exposure bias**. Bengio et al. (2015) proposed to mix the model's own words into the prefixes during
# training ("scheduled sampling"). How bad is exposure bias? We will measure it in 10.8.

# %% [markdown]
# ## 10.5 Label smoothing
#
# The cross-entropy asks for probability 1 on the right token. No finite logits achieve that: larger ones are always
# better, and a model that can tell all its training sentences apart becomes more and more overconfident. And often
# there is more than one good answer. Among our training sentences, "Es tat noch lange weh." is *It hurt for a long
# while* 51 times, and *It hurt for a long time* 25 times.
#
# Szegedy et al. (2016, section 7) proposed to change the target distribution. With V tokens, of which $y$ is the
# right one,
#
# $$ q(k) = (1 - \varepsilon)\,[k = y] + \frac{\varepsilon}{V}, \qquad
#    \text{loss} = -\sum_{k=1}^{V} q(k) \ln p(k) $$
#
# so every token gets $\varepsilon / V$, and the right one gets an additional $1 - \varepsilon$. Vaswani et al.
# (section 5.4) used $\varepsilon = 0.1$.
#
# What is the effect? The gradient of the loss with respect to the logits is $p - q$, so the minimum is at $p = q$,
# and that is now a *finite* point: the right logit exceeds all others by
#
# $$ \ln \frac{1 - \varepsilon + \varepsilon / V}{\varepsilon / V}, $$
#
# and a larger margin increases the loss. The minimum of the loss is no longer 0. A cross-entropy is never less than
# the entropy of its target, so the smoothed loss has a **floor** that no model can go below:
#
# $$ H(q) = -\Big(1 - \varepsilon + \frac{\varepsilon}{V}\Big) \ln \Big(1 - \varepsilon + \frac{\varepsilon}{V}\Big)
#    {} - (V - 1)\, \frac{\varepsilon}{V} \ln \frac{\varepsilon}{V} $$


# %%
def floor(epsilon, V):
    right, wrong = 1 - epsilon + epsilon / V, epsilon / V
    return -right * math.log(right) - (V - 1) * wrong * math.log(wrong)


predict(f"ε = {EPSILON}, V = {V}. How large is the floor of the smoothed loss: about 0.1, 1 or 3 nats a token?")

# %%
print("optimal margin of the right logit, and floor of the loss")
for size in (4, 100, V, 37_000):
    for epsilon in (0.01, 0.1):
        margin = math.log((1 - epsilon + epsilon / size) * size / epsilon)
        print(f"V = {size:>6}, ε = {epsilon:<4}:   margin {margin:5.2f}   floor {floor(epsilon, size):.3f} nats")

# %% [markdown]
# So a training loss of 1.2 nats can be excellent, and you cannot compare smoothed losses with different ε or V. To
# evaluate a model we use the plain loss (ε = 0), which `Seq2Seq` returns in evaluation mode. Even the plain loss
# suffers: a model that learned to hold back a tenth of the probability still holds it back. Vaswani et al. note that
# smoothing hurts perplexity but improves accuracy and BLEU. Müller, Kornblith and Hinton (2019) looked closer, and
# found that smoothed models are better calibrated (lesson 08), but worse teachers for smaller models.
#
# Exercise **smoothed_cross_entropy** asks for this loss, with padding left out.

# %% [markdown]
# ## 10.6 The model
#
# This is the smallest possible Transformer: one encoder block and one decoder block. Source and target share one
# vocabulary and one embedding matrix, which also serves as the output layer (section 3.4 of the paper). Positions are
# encoded by the sinusoids of section 3.5. One thing is newer than the paper: the norm comes *before* each part
# ("pre-norm", lesson 04), so that the model trains without a long warmup.

# %%
LAYERS = {"n_layers": 1, "n_decoder_layers": 1, "n_heads": 4, "d_model": 64}
config = ModelConfig(
    "transformer", V, CONTEXT, **LAYERS, positions="sinusoidal", activation="relu", norm_position="pre", bias=False
)
model = Transformer(config)
for name, module in model.named_children():
    if n := sum(p.numel() for p in module.parameters()):
        print(f"{name:<20}{n:>9,} weights")
print(f"{'total':<20}{sum(p.numel() for p in model.parameters()):>9,} (the shared embedding matrix counts once)")

# %% [markdown]
# With `run 10 --mine`, your own functions are used here: your cross-attention with the library's weights, your loss,
# and your shift.

# %%
cross_attention = part("cross_attention", None)
shift_right = part("shift_right", None)
smoothed_cross_entropy = part(
    "smoothed_cross_entropy",
    lambda logits, targets, epsilon: F.cross_entropy(
        logits.flatten(0, 1),
        targets.flatten(),
        ignore_index=IGNORE_INDEX,
        label_smoothing=epsilon,  # built into torch
    ),
)


class YourCrossAttention(MultiHeadAttention):
    """The library's module with your function, in training and in generation."""

    def keys_values(self, memory, rotary=None):
        return memory, memory  # your function projects the memory itself

    def forward(self, x, mask=None, memory=None, memory_kv=None):
        memory = memory if memory_kv is None else memory_kv[0]
        if self.recorded_weights is not None:  # for the pictures, the library's attention records the weights
            return super().forward(x, mask, memory_kv=super().keys_values(memory))
        attention_mask = torch.ones(memory.shape[:2], dtype=torch.bool) if mask is None else mask[:, 0, 0]
        weights = (self.q_proj.weight, self.k_proj.weight, self.v_proj.weight, self.out_proj.weight)
        return cross_attention(x, memory, *weights, self.n_heads, attention_mask)


if cross_attention is not None:
    for block in model.decoder_blocks:
        yours = YourCrossAttention(config.d_model, config.n_heads, bias=False)
        yours.load_state_dict(block.cross_attention.state_dict())
        block.cross_attention = yours

# %% [markdown]
# ## 10.7 Learning to translate
#
# The library's loader puts sentences of similar length into the same batch, so there is little padding. Muon updates
# the weight matrices and AdamW the rest: in a trial of 400 steps, a model like this reached a BLEU of 74, and with
# AdamW alone a BLEU of 1. The loss of a batch is the mean over all tokens of all its sentences.

# %%
STEPS, BATCH, RATE, WARMUP = 900, 16, 1e-2, 30

examples = encoded(train)
loader = Examples(examples, [len(example.source) + len(example.target) for example in examples], BATCH)
optimizers = make_optimizers(model, TrainingSettings(optimizer="muon", learning_rate=RATE, precision="fp32"))
test_batch = objective.collate(encoded(test))


def evaluate():
    """The plain loss in nats per token, and the fraction of tokens predicted right, given the reference prefix."""
    model.eval()
    with torch.no_grad():
        loss_sum = objective.loss_sums(model, test_batch)["target"].item()
        n_correct = objective.n_correct(model, test_batch)["target"]
    n = objective.n_targets(test_batch)["target"]
    return loss_sum / n, n_correct / n


lines, smooth = {"training, smoothed": [], "held-out, not smoothed": []}, None
for step in range(STEPS):
    if step % 100 == 0 and step:
        lines["held-out, not smoothed"].append((step, evaluate()[0]))
    model.train()
    batch = objective.collate([loader.example(seed(), step * BATCH + row) for row in range(BATCH)])
    decoder_input, targets = batch["target"], batch["targets"]
    if shift_right is not None:
        decoder_input = shift_right(targets, tokenizer.end_of_text, tokenizer.pad_id)
    logits = model(batch["source"], decoder_input, batch["source_attention_mask"])  # (B, T, V)
    loss = smoothed_cross_entropy(logits, targets, EPSILON)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    set_learning_rate(optimizers, RATE * learning_rate_factor(step, STEPS, WARMUP, "linear", 0.05))
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    smooth = loss.item() if smooth is None else 0.95 * smooth + 0.05 * loss.item()
    if step % 20 == 0 and step:
        lines["training, smoothed"].append((step, smooth))
lines["floor of the smoothed loss"] = [(step, floor(EPSILON, V)) for step in range(20, STEPS, 20)]
curves(lines, "A Transformer learns to translate", "step", "nats per token", "10-curves")

# %%
test_loss, test_accuracy = evaluate()
result("held-out loss, not smoothed, nats per token", test_loss, 0.35, 0.04)
result("fraction of tokens right, given reference prefixes", test_accuracy, 0.960, 0.012)

# %% [markdown]
# **What to see.** The training loss levels off at 1.3 nats, and that is good news: 1.09 of these are the floor, which
# no training can remove. The loss on held-out sentences, without smoothing, falls far below that line. The two curves
# measure different things: follow each one, but do not compare them.

# %% [markdown]
# ## 10.8 Writing
#
# To write is to search: among all English sentences, for one with a large $P(y \mid x)$. **Greedy** decoding takes
# the most probable token at each step and never looks back. **Beam search** keeps the K best prefixes (built
# in lesson 06); Vaswani et al. chose K = 4.
#
# Beam search has a flaw that greedy decoding does not have: it compares sentences of different lengths. Every token
# makes $\ln P(y \mid x)$ smaller, so short sentences look good, and the wider the beam, the more of them it finds
# (Koehn and Knowles 2017, section 3.6). Wu et al. (2016, equation 14) therefore divide by a length penalty before
# they compare:
#
# $$ \mathrm{score}(y) = \frac{\ln P(y \mid x)}{\mathrm{lp}(y)}, \qquad
#    \mathrm{lp}(y) = \left(\frac{5 + |y|}{6}\right)^{\alpha} $$
#
# $\alpha = 0$ does nothing, Vaswani et al. used $\alpha = 0.6$, and $\alpha = 1$ is close to the mean per token. Here
# are the hypotheses for the first sentence on which greedy and beam search disagree, with both scores:

# %%
MAX_NEW_TOKENS = 40


def greedy(pairs):
    options = SamplingOptions(max_new_tokens=MAX_NEW_TOKENS, temperature=0.0)
    return [output.text for output in generate_from(model, tokenizer, [pair.source for pair in pairs], options)]


def beam(pairs, alpha):
    options = BeamOptions(beams=4, length_penalty=alpha, max_new_tokens=MAX_NEW_TOKENS)
    return [best.text for best, *_ in beam_search(model, tokenizer, [pair.source for pair in pairs], options)]


by_greedy, by_beam = greedy(test), beam(test, 0.6)
i = next((i for i in range(len(test)) if by_greedy[i] != by_beam[i]), 0)
print(test[i].source, "\nreference:", test[i].target, "\ngreedy:   ", by_greedy[i])
print("\n    α = 0   α = 0.6  tokens")
for hypothesis in beam_search(model, tokenizer, [test[i].source], BeamOptions(4, 0.6, MAX_NEW_TOKENS))[0]:
    print(f"{hypothesis.logprob:9.2f} {hypothesis.score:9.2f} {len(hypothesis.ids):6}   {hypothesis.text}")

# %% [markdown]
# And exposure bias? Here is a question to think about first. Teacher forcing gives the model the reference words
# before each position; greedy decoding gives it its own.

# %%
predict(
    f"given reference prefixes, {test_accuracy:.0%} of the tokens are right. Take the fraction of sentences in which "
    "*all* of them are right, and the fraction of sentences that greedy decoding gets exactly right. Which is larger, "
    "and by how much?"
)

# %%
model.eval()
with torch.no_grad():
    logits = model(test_batch["source"], test_batch["target"], test_batch["source_attention_mask"])  # (B, T, V)
predictions = logits.argmax(-1)  # (B, T)
is_target = test_batch["targets"] != IGNORE_INDEX
all_right = (~is_target | (predictions == test_batch["targets"])).all(dim=1).float().mean().item()
exactly_right = sum(text.strip() == pair.target for text, pair in zip(by_greedy, test, strict=True)) / len(test)
print(f"sentences without a wrong token, given reference prefixes: {all_right:.3f}")
result("fraction of sentences exactly right, greedy", exactly_right, 0.71, 0.06)

# %% [markdown]
# The two are the same (except for a word that the model spells with different tokens). As long as every prediction is
# right, the model's own prefix *is* the reference prefix, so there is no difference between the two. Exposure bias
# does not decide whether there is a mistake. It decides what comes after the first one.
#
# So let us make a mistake for the model: in the reference prefix we replace *one* token with a random one, and look at
# the predictions after it. All other tokens of the prefix are correct.

# %%
predict("what fraction of the predictions is right just after the wrong token? And two, three, four positions later?")

# %%
rng = torch.Generator().manual_seed(seed())
row, lengths = torch.arange(len(test)), is_target.sum(dim=1)
hits = {distance: [] for distance in range(4)}  # for each distance, alternately without and with the wrong token
for _ in range(2):
    position = 1 + (torch.rand(len(test), generator=rng) * (lengths - 5).clamp(min=1)).long()  # (B,): never the start
    corrupted = test_batch["target"].clone()
    corrupted[row, position] = torch.randint(V, (len(test),), generator=rng)
    with torch.no_grad():
        after = model(test_batch["source"], corrupted, test_batch["source_attention_mask"]).argmax(-1)
    for distance, pairs in hits.items():
        at = row, (position + distance).clamp(max=corrupted.size(1) - 1)
        target = test_batch["targets"][at]
        pairs += [(predictions[at] == target)[target != IGNORE_INDEX], (after[at] == target)[target != IGNORE_INDEX]]
print("positions after the wrong token   1     2     3     4")
for i, name in enumerate(("all tokens correct", "one token wrong")):
    fractions = [torch.cat(pairs[i::2]).float().mean().item() for pairs in hits.values()]
    print(f"{name:<30}" + "".join(f"{fraction:6.2f}" for fraction in fractions))
result("fraction right just after a wrong token", fractions[0], 0.11, 0.04)
result("fraction right two positions after it", fractions[1], 0.91, 0.04)

# %% [markdown]
# **What to see.** Right after a wrong token, hardly any prediction is right. Our interpretation: the previous token
# tells the decoder which word came last, and so where it is in the sentence. But one position later, after one
# correct token, it has almost recovered. The source is still available, and a translation model is guided by more
# than its own words.
#
# When it generates, nothing replaces its wrong token with a correct one. It continues from its mistake, plausibly, and
# you will see the result in 10.10.

# %% [markdown]
# ## 10.9 BLEU
#
# How good are the translations? You could ask a person. But people are slow, they disagree, and if you change a model
# you want to know the effect by the evening. BLEU (Papineni, Roukos, Ward and Zhu 2002) is a number that a program
# computes from the translation (the *hypothesis*) and one or several human translations (the *references*). Its idea:
# a good translation shares many words with a human translation, and many runs of words.
#
# **Clipped precision.** Which fraction of the hypothesis's n-grams (runs of n words) is in the reference? An example
# from the paper shows why this is not enough:

# %%
hypothesis = "the the the the the the the".split()
references = ["the cat is on the mat".split(), "there is a cat on the mat".split()]
print("          in the hypothesis   in reference 1   in reference 2     clipped")
counts = [text.count("the") for text in (hypothesis, *references)]
print(f"the {counts[0]:>14} {counts[1]:>19} {counts[2]:>16} {min(counts[0], max(counts[1:])):>12}")

# %% [markdown]
# All seven words are "in the reference". But no reference has "the" more than twice. So the count of each n-gram is
# **clipped** to the largest count in any single reference. The precision is then 2/7. If $c_h(g)$ is the count of
# n-gram $g$ in hypothesis $h$, and $c_r(g)$ its count in reference $r$,
#
# $$ p_n = \frac{\sum_{h} \sum_{g} \min\!\big(c_h(g),\ \max_{r} c_r(g)\big)}{\sum_{h} \sum_{g} c_h(g)} $$
#
# where $g$ runs over the n-grams of $h$, and $h$ over **all sentences of the corpus** (section 2.1.1 of the paper).
# Sum first, and divide once at the end. Exercise **clipped_matches** asks for the two inner sums.
#
# **Four orders, geometric mean.** $p_1$ measures whether the words are right, $p_4$ whether they are in the right
# order. The four precisions differ widely (single words are easy), and decrease roughly exponentially with n, so the
# paper takes the mean of their logarithms. That is the fourth root of their product, and if one of them is 0, so is
# BLEU.
#
# **Brevity penalty.** Precision alone rewards cowardice: a system that writes only the two words it is sure of has
# $p_n = 1$. One would like to include recall, but with several references it is not clear what should be recalled.
# Instead, BLEU penalizes a corpus that is too short. With $h$ the number of words in all hypotheses, and $r$ the
# number of words in the references (of several references the one closest in length; in a tie, the shorter one),
#
# $$ \mathrm{BLEU} = 100 \cdot \mathrm{BP} \cdot (p_1\, p_2\, p_3\, p_4)^{1/4}, \qquad
#    \mathrm{BP} = \begin{cases} 1 & h \ge r \\ e^{1 - r/h} & h < r \end{cases} $$
#
# (section 2.3). A text that is too long needs no penalty: extra words already lower the precisions. The lengths, too,
# are those of the whole corpus, so a long sentence may compensate for a short one.

# %%
ratios = (0.5, 0.7, 0.8, 0.9, 0.95, 1.0, 1.2)
print("h / r  " + "".join(f"{ratio:6.2f}" for ratio in ratios))
print("BP     " + "".join(f"{min(1, math.exp(1 - 1 / ratio)):6.2f}" for ratio in ratios))

plain = {"tokenize": "none", "smoothing": "none"}
score = corpus_bleu(["the cat sat on a mat ."], ["the cat sat on the mat ."], **plain)
print("\none wrong word of seven: precisions", [round(p, 1) for p in score.precisions], f"BLEU {score.value:.1f}")
predict("6/7, 4/6, 2/5, 1/4: why does one wrong word cost two bigrams, three trigrams and three of the four 4-grams?")

# %% [markdown]
# A wrong word breaks every n-gram that contains it: n of them, unless the word is near the beginning or the end of
# the sentence. A BLEU of 49 for one wrong word looks harsh. BLEU has its own scale; only comparisons on the same
# sentences mean something.
#
# **Of the corpus, not the mean over sentences.** Here are two translators and the same two sentences:

# %%
references = ["Rosa sang all the way home .", "the dog was tired and went to sleep ."]
for name, texts in (
    ("A", ["Rosa sang all the way home .", "the dog got tired and fell asleep ."]),
    ("B", ["Rosa sang all the long way .", "the dog was tired and fell asleep ."]),
):
    a, b = (corpus_bleu([text], [reference], **plain).value for text, reference in zip(texts, references, strict=True))
    corpus = corpus_bleu(texts, references, **plain).value
    print(f"{name}: sentences {a:5.1f} and {b:5.1f}, mean {(a + b) / 2:5.1f};  corpus {corpus:5.1f}")

# %% [markdown]
# A's second sentence has no matching 4-gram, so its own BLEU is 0, as if every word were wrong. For a single
# sentence, BLEU is useless without smoothing (Chen and Cherry 2014). In a corpus, a sum is 0 only if *no* sentence
# has a match. Exercise **bleu** asks for the whole formula.
#
# **Tokenization.** What is a word? "home." or "home" and "."? Post (2018) found differences of up to 1.8 points
# between common tokenizations. He asked everyone to report the tokenization with every BLEU, and wrote the program
# `sacrebleu`, which prints it; the library's `bleu` gives the same numbers. Here we split words and punctuation as in
# 10.1, keep capital letters, and do not smooth.


# %%
def our_bleu(hypotheses, references):
    """BLEU of lists of words, with the interface of exercise 5."""
    reference_texts = [[" ".join(reference) for reference in alternatives] for alternatives in references]
    return corpus_bleu([" ".join(hypothesis) for hypothesis in hypotheses], reference_texts, **plain).value


bleu = part("bleu", our_bleu)


def bleu_of(texts):
    return bleu([words(text) for text in texts], [[words(pair.target)] for pair in test])


print("300 held-out sentences")
result("BLEU, word for word (the dictionary of 10.1)", bleu_of(word_for_word), 25.0, 0.2)
result("BLEU, greedy", bleu_of(by_greedy), 89.5, 3)
result("BLEU, beam search with K = 4, α = 0.6", bleu_of(by_beam), 89.7, 3)
exact = sum(text == pair.target for text, pair in zip(by_beam, test, strict=True)) / len(test)
result("fraction of sentences exactly right, beam search", exact, 0.72, 0.06)

targets = [" ".join(words(pair.target)) for pair in test]
for name, texts in (("word for word", word_for_word), ("beam", by_beam)):
    score = corpus_bleu([" ".join(words(text)) for text in texts], targets, **plain)
    shown_precisions = " ".join(f"{p:5.1f}" for p in score.precisions)
    print(f"\n{name}: precisions {shown_precisions}, BP {score.brevity_penalty:.3f}\n  {score}")

# %% [markdown]
# **What to see.** The dictionary finds almost three in four words, but only one 4-gram in eight: it has the words and
# not the order. The model's four precisions are close together.
#
# There are two types of uncertainty here. The printed interval is the uncertainty from the choice of 300 sentences:
# on other sentences, the same model would score that much more or less (1,000 bootstrap samples; Koehn 2004). The ±
# beside each result is the uncertainty from training, slightly more than the range over five seeds.
#
# Does beam search help? With five seeds, its gain over greedy decoding was -0.5, 0.0, 0.1, 0.6 and 0.8 points: 0.2 on
# average, and not always positive. On the same sentences, model by model, that is next to nothing. Where the model is
# almost certain, there is little to search for.

# %% [markdown]
# ## 10.10 What BLEU does not see
#
# BLEU compares strings with strings. It does not know which word carries the meaning:

# %%
reference = "the old fisherman had lost the key to his boat ."
for text in (
    "the old fisherman had found the key to his boat .",
    "the key to his boat the old fisherman had lost .",
    "the old man could not find what opened his boat .",
):
    print(f"{corpus_bleu([text], [reference], **plain).value:5.1f}  {text}")

# %% [markdown]
# The first says the opposite, and scores 70. The second says the same, and scores hardly more. The third is true as
# well, and scores nothing. Over many sentences, and between two similar systems, such accidents cancel, and BLEU
# agrees with people fairly well (section 5 of the paper); that is what it was made for. Callison-Burch, Osborne and
# Koehn (2006) showed where it does not: between systems of different types. Exercise **fool_bleu** asks you to fool
# it yourself.
#
# So let us *look* at what the model gets wrong. Here are a few of its mistakes, drawn at random:

# %%
wrong = [text != pair.target for text, pair in zip(by_beam, test, strict=True)]
sampled = choose_mistakes(wrong, n=8, seed=seed())
for mistake in show_mistakes(sampled, [p.source for p in test], [p.target for p in test], by_beam):
    print(mistake)

# %% [markdown]
# **What to see.** Many of the wrong sentences are good English with one wrong word: a name or a thing replaced with
# another that fits just as well, *she* for *he*, or a rare word assembled from the wrong tokens. The decoder is a
# language model. Where it does not know what the source says, it writes what often comes next, so fluently that a
# reader without German notices nothing. (The mistakes of a word-for-word translation are never this smooth.) Some
# sentences lose their way after the first mistake, stop too early, or repeat themselves. And some are not mistakes at
# all: "for a long time" where the reference has "for a long while". With a single reference, BLEU still takes points
# off.

# %% [markdown]
# ## 10.11 The picture of an alignment
#
# The training data did not say which German word belongs to which English word. The model only had pairs of
# sentences, and a loss. Let us see where it looks. Cross-attention can record its weights for each head, (B, H, T,
# S). We average over the heads and combine the tokens of a word: we sum the columns of a German word, and average the
# rows of an English word.
#
# One thing to be careful about: row t is the query of the position with *input* token t - 1 and *output* token t. We
# label each row with its output.
#
# First we look at a sentence whose order is reversed from end to end. In no training story is Leo the one who sings.


# %%
def word_matrix(text):
    """The words of a text and its end token, and a 0/1 matrix (tokens, words): which token belongs to which word."""
    encoding = tokenizer.encode_with_offsets(text)
    word_of = [*encoding.words, encoding.words[-1] + 1]
    names = [""] * word_of[-1] + ["<end>"]
    for start, end, i in zip(encoding.starts, encoding.ends, encoding.words, strict=True):
        names[i] += text[start:end]
    return [name.strip() for name in names], F.one_hot(torch.tensor(word_of)).float()


def alignment(pair):
    """The English words, the German words, and the cross-attention weights between them."""
    (english, rows), (german, columns) = word_matrix(pair.target), word_matrix(pair.source)
    batch, cross = objective.collate(encoded([pair])), model.decoder_blocks[-1].cross_attention
    cross.recorded_weights = []
    with torch.no_grad():
        model(batch["source"], batch["target"], batch["source_attention_mask"])
    weights = cross.recorded_weights[0][0].mean(dim=0)  # (B, H, T, S) → (T, S)
    cross.recorded_weights = None
    return english, german, (rows / rows.sum(dim=0)).T @ weights @ columns  # (English words, German words)


def picture(beginning, file):
    pair = next(pair for pair in held_out if pair.source.startswith(beginning))
    print(f"{pair.source} → {beam([pair], 0.6)[0]}")
    english, german, weights = alignment(pair)
    heatmap(weights.tolist(), english, german, "Cross-attention: rows are written, columns are read", file)
    for word, row in zip(english, weights, strict=True):
        print(f"{word:>12}  looks most at  {german[int(row.argmax())]:<14} {row.max():.2f}")


picture("Auf dem ganzen Heimweg sang Leo", "10-alignment")

# %% [markdown]
# **What to see.** The last German word is the first English one. To write it, before there is any other English word,
# the model looks most at the end of the German sentence. Then it goes back for the rest, and there the rows are paler
# and more spread out: "all the way home" is not translated word by word, but several words from several.
#
# One sentence is an anecdote. But the storyworld offers a test that needs no annotation: a child has the same name in
# both languages. Whenever the model writes a name, we know where it should look.

# %%
names = {name for pair in train for name in re.findall(r"(?:named|called) (\w+)\.", pair.target)}
aligned, same_position = [], []
for pair in test:
    english_words, german_words, weights = alignment(pair)
    for t, name in enumerate(english_words):
        if name in names and english_words.count(name) == german_words.count(name) == 1:
            aligned.append(german_words[int(weights[t].argmax())] == name)
            same_position.append(t < len(german_words) and german_words[t] == name)
print(f"{len(aligned)} names; fraction at the same position in German: {sum(same_position) / len(same_position):.2f}")
predict("in which fraction of the cases does the model look most at the name that it writes?")

# %%
result("fraction of names aligned with themselves", sum(aligned) / len(aligned), 0.95, 0.04)

# %% [markdown]
# So this is where the information crosses over. And now the sentence of 10.1, with its verb at the end:

# %%
picture("Im Winter hatten er und Großvater", "10-alignment-verb")

# %% [markdown]
# **What to see.** Down to "Grandfather", the dark cells run more or less along the diagonal. "toy" and "boat", two
# words, look at one, "Spielzeugboot". But what about "built", which should look at the end of the sentence? In one of
# our five runs it looked most at "gebaut", and in the other four elsewhere. The translation was right in all five.
# How can that be?
#
# A picture shows where a model looks. To find out what it *needs*, take something away. We remove a word from the
# German sentence, and look at the probability of its translation, given the correct English words before it.


# %%
def probability(german_text, english_words, word):
    """The probability that `word` comes next after the English words."""
    prefix = [tokenizer.end_of_text, *tokenizer.encode(english_words)]
    source = [*tokenizer.encode(german_text), tokenizer.end_of_text]
    with torch.no_grad():
        logits = model(torch.tensor([source]), torch.tensor([prefix]))[0, -1]
    return logits.softmax(-1)[tokenizer.encode(word)[0]].item()


verb = "Im Winter hatten er und Großvater zusammen ein Spielzeugboot{}.", "In winter he and Grandfather had", " built"
name = "Auf dem ganzen Heimweg sang{}.", "", "Leo"
print("probability of    with its German word   without")
for (german_text, before, word), german_word in ((verb, " gebaut"), (name, " Leo")):
    intact, ablated = (probability(german_text.format(text), before, word) for text in (german_word, ""))
    print(f"{word.strip():<17}{intact:>21.3f}{ablated:>10.3f}")
result("probability of Leo without its German word", ablated, 0.01, 0.05)

# %% [markdown]
# **What to see.** Without "Leo" there is no way to know who sang: the probability falls to 0.01 or less in every run.
# The verb is another matter. Look at the training sentences: in every sentence of this pattern, "had" is followed by
# "built". A decoder is a language model, and can know this without looking. In the four runs in which "built" looks
# elsewhere, it still has a probability of 0.5 to 0.85 without "gebaut". In the fifth, which does look at "gebaut", it
# falls from 0.82 to 0.05. There are two ways to produce this word, and it depends on the seed which one the model
# learns.
#
# So where a model looks, and what it needs, are two questions. Here the answers agree; they need not, and lesson 20
# comes back to this. Where a word cannot be predicted from the English alone, the picture shows the reordering: in
# the pictures of Bahdanau, Cho and Bengio (figure 3, English to French), adjectives and nouns change places.

# %% [markdown]
# ## 10.12 What was left out
#
# - **Real languages.** The storyworld's German and English come from one grammar, and nothing in it is rare. On image
#   captions (`python train.py translate-multi30k`, Elliott et al. 2016) the same code needs half an hour and ends
#   near BLEU 39 (README).
# - **Other decoders.** Minimum Bayes risk decoding picks the sentence that is most similar to all others the model
#   might generate, instead of the most probable one.
# - **Other metrics.** chrF counts character n-grams (Popović 2015; `llmasos/evaluation/chrf.py`); COMET uses a model
#   trained on human judgments (Rei et al. 2020).
# - **One stack instead of two.** A decoder alone can translate if source and target are in one text. Today's large
#   models do this. The advantages of the encoder-decoder are an encoder that sees both directions, and a memory that
#   is computed once.
# - **Long outputs from long inputs**: summaries, in lesson 11. **Whether attention explains** anything: lesson 20.
#
# **Further reading.** Sutskever, Vinyals & Le 2014, *Sequence to Sequence Learning with Neural Networks*. Bahdanau,
# Cho & Bengio 2014, *Neural Machine Translation by Jointly Learning to Align and Translate*, with the first pictures
# like ours (figure 3). Vaswani et al. 2017, *Attention Is All You Need*. Papineni et al. 2002, *BLEU: a Method for
# Automatic Evaluation of Machine Translation*. Wu et al. 2016, *Google's Neural Machine Translation System*,
# section 7. Koehn & Knowles 2017, *Six Challenges for Neural Machine Translation*. Szegedy et al. 2016, *Rethinking the
# Inception Architecture for Computer Vision*, section 7. Müller, Kornblith & Hinton 2019, *When Does Label Smoothing
# Help?* Post 2018, *A Call for Clarity in Reporting BLEU Scores*. Callison-Burch, Osborne & Koehn 2006,
# *Re-evaluating the Role of BLEU in Machine Translation Research*.
#
# **Now you.** `python -m lessons check 10` creates your file, `lessons/mine/10_translation.py`, with seven exercises.
# When the checks pass, `python -m lessons run 10 --mine` trains the model above with your functions.
