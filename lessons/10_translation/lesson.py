# %% [markdown]
# # 10 Translation
#
# - **Question:** How can a model read a sentence in one language and say it in another, when the words do not come in
#   the same order?
# - **Teaches:** the original Transformer: encoder, decoder and cross-attention, with their masks; teacher forcing,
#   label smoothing, beam search with length normalization; BLEU in full, and what it does not see
# - **Minutes:** 110 to read and solve, 1 to run
#
# You need: attention and its masks (lesson 03), the block (lesson 04), the optimizers (lesson 05), and what greedy
# and beam search do (lesson 06). Sections without another source follow *Attention Is All You Need* (Vaswani et al.
# 2017).
#
# Letters: B batch, S source positions, T target positions, C width of the model, H heads, D = C / H, V size of the
# vocabulary. The source is what is read (German here), the target what is written (English).

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
from llmasos.nn import MultiHeadAttention, explicit_attention
from llmasos.objectives import IGNORE_INDEX, Seq2Seq, encode_pair
from llmasos.tokenizers import BPETokenizer
from llmasos.training.optimizers import make_optimizers, set_learning_rate
from llmasos.training.recipe import TrainingSettings
from llmasos.training.schedules import learning_rate_factor

torch.manual_seed(seed())
torch.set_num_threads(min(2, torch.get_num_threads()))
torch.set_printoptions(precision=2, sci_mode=False)

# %% [markdown]
# ## 10.1 Word for word is no translation
#
# The storyworld tells every story twice, in English and in German, sentence by sentence. Here is one sentence, with a
# number under each English word that says which German word it comes from:
#
#     Im  Winter  hatten  er  und  Großvater  zusammen  ein  Spielzeugboot  gebaut
#      1     2       3     4   5       6          7      8         9           10
#
#     In  winter  he  and  Grandfather  had  built  a  toy boat  together
#      1     2     4   5        6        3     10   8      9         7
#
# German puts the second half of its verb at the very end, and in a relative clause the whole verb ("den Großvater
# gebaut hatte": which Grandfather *had built*). English wants it in the middle. Whoever writes the seventh English
# word must have read the German sentence to its last word. Some words become two, some none, and "kein" turns up as a
# "not" somewhere else. To find out which words belong to which is the **alignment** problem, and it was the heart of
# statistical machine translation (Brown et al. 1993).
#
# What if we ignore it? We take the sentences of 2,000 stories, as far as they have at most ten German words, and
# count how often a German word g and an English word e occur in the same pair of sentences. For each g we take the e
# that goes with it best, by
#
# $$ \frac{2 \cdot \mathrm{count}(g, e)}{\mathrm{count}(g) + \mathrm{count}(e)} $$
#
# (Dice 1945), which is 1 if they only ever occur together. That is a dictionary, and with it we translate word by
# word sentences that are in no training story.


# %%
def short(pairs):
    return [pair for pair in pairs if len(pair.source.split()) <= 10]


def words(text):
    """A text as a list of words and signs."""
    return re.findall(r"\w+|[^\w\s]", text)


data = storyworld_pairs(2000)
train, held_out = short(data.train), short(data.val)
print(f"{len(train):,} pairs to learn from, {len(set(train)):,} of them different; {len(held_out)} held out")

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
    print(f"\n{pair.source}\n  word for word: {text}\n  in truth:      {pair.target}")

# %% [markdown]
# Much is there, and hardly a sentence is English. The order is German. And a word that depends on others goes wrong
# even when its place is right: a dictionary has no way of knowing that "sie" is *she* here and *they* there, or *it*
# when it speaks of a lantern. What we need is a model that, for the next English word, looks at the right places of
# the German sentence, wherever they are, and at the English that stands there already.

# %% [markdown]
# ## 10.2 One reads, the other writes
#
# The probability of a target $y = (y_1 \dots y_T)$, given a source $x$, is a product as in every language model; the
# only new thing is that everything depends on $x$ too:
#
# $$ P(y \mid x) = \prod_{t=1}^{T} P(y_t \mid y_{<t},\, x) $$
#
# So the writer, the **decoder**, is a language model like the one of lesson 04 with one more input. Before it comes a
# reader, the **encoder**, which turns the source into vectors.
#
# How does the one tell the other what it has read? Sutskever, Vinyals and Le (2014) let a recurrent network read the
# sentence and handed over its last state: *one* vector, whatever the length of the sentence. It worked, with a trick:
# the source was read backwards, so that its beginning was fresh in memory when the writing began (their section 3.3;
# BLEU rose from 25.9 to 30.6). A trick that helps so much shows where it hurts. Bahdanau, Cho and Bengio (2014) found
# that with one vector translations become worse the longer the sentence (their figure 2), and let the decoder look
# back at *all* the states of the encoder, at each step with other weights:
#
# $$ c_t = \sum_{s} \alpha_{ts} h_s, \qquad \alpha_{t} = \operatorname{softmax}_s(e_{ts}) $$
#
# (their equations 5 and 6, with our letters.) $h_s$ is what the encoder made of source position $s$, and the score
# $e_{ts}$ says how well it fits what the decoder is about to write. This is where attention comes from. Luong, Pham
# and Manning (2015) took a scalar product as score; Vaswani et al. (2017) threw the recurrent network away.

# %% [markdown]
# ## 10.3 Cross-attention
#
# It is the function of lesson 03. The queries come from the target, the keys and values from the source:
#
# $$ \operatorname{attention}(Q, K, V) = \operatorname{softmax}\!\left(\frac{Q K^\top}{\sqrt{D}}\right) V,
#    \qquad Q = y W_q^\top, \quad K = m W_k^\top, \quad V = m W_v^\top $$
#
# with $y$ (T, C) the decoder's vectors so far, and $m$ (S, C), the **memory**, what the encoder left. The scores are
# (T, S), and each row still sums to one: every target position has one unit of attention to spend on the source. Here
# is one head without its projections, three target positions, four of the source, the last of them padding:

# %%
generator = torch.Generator().manual_seed(1)
y = torch.randn(1, 1, 3, 8, generator=generator)  # (B, H, T, D): who asks
m = torch.randn(1, 1, 4, 8, generator=generator)  # (B, H, S, D): who answers
attention_mask = torch.tensor([[True, True, True, False]])  # (B, S)
gathered, weights = explicit_attention(
    y, m, m, mask=attention_mask[:, None, None, :]
)  # (B, 1, 1, S): the same for all queries
print(gathered.shape, weights.shape)
print(weights[0, 0])

# %% [markdown]
# A Transformer has this function in three places:
#
# | where | queries from | keys and values from | what is hidden |
# |---|---|---|---|
# | encoder, self-attention | source | source | padding of the source |
# | decoder, self-attention | target | target | the future |
# | decoder, **cross-attention** | target | source | padding of the source |
#
# Look at the last column. The encoder hides no future: the source lies there complete, and its last word may explain
# its first. Cross-attention hides none either, for the same reason; a causal mask there would forbid just what we need,
# to see the verb at the end when we are in the middle. Only the target has a future. And the padding of the target
# needs no mask: it is at the end, in everybody's future.
#
# A block of the encoder is self-attention and feed-forward, each with its residual connection and norm. A block of
# the decoder has cross-attention in between (figure 1 of the paper). `EncoderBlock` and `DecoderBlock` in
# `llmasos/nn/blocks.py` are that, and `Transformer` in `llmasos/models/transformer.py` is a stack of each.
#
# As in lesson 03, the best test of a mask is to change something and see who notices. This model has random weights;
# it reads four tokens and a padding, and writes four.

# %%
predict(
    "which of the four target positions notice when (a) the last source word changes, (b) the padding of the source, "
    "(c) the third target token? And which source positions of the encoder notice (a)?"
)

# %%
tiny = Transformer(ModelConfig("transformer", 50, 16, 1, n_heads=2, d_model=16, positions="sinusoidal")).eval()
source, target = torch.tensor([[11, 12, 13, 14, 0]]), torch.tensor([[1, 21, 22, 23]])
attention_mask = torch.tensor([[True, True, True, True, False]])


def notices(before, after):
    return "  ".join("moved" if moved else "same " for moved in (before != after).any(dim=-1)[0])


with torch.no_grad():
    logits, memory = tiny(source, target, attention_mask), tiny.encode(source, attention_mask)
    for what, place in (("(a) the last source word", 3), ("(b) the padding", 4)):
        other = source.clone()
        other[0, place] = 30
        print(f"{what:<26} target: {notices(logits, tiny(other, target, attention_mask))}")
        print(f"{'':<26} source: {notices(memory[:, :4], tiny.encode(other, attention_mask)[:, :4])}")
    other = target.clone()
    other[0, 2] = 30
    print(f"{'(c) the third target token':<26} target: {notices(logits, tiny(source, other, attention_mask))}")

# %% [markdown]
# One more thing that follows from the table: the memory does not depend on the target. While a translation is written
# token by token, the keys and values of cross-attention stay as they are; they are computed once for each sentence
# (`Transformer.read`). Exercise **cross_attention** asks for the function with its heads and projections, and the
# model below can be trained with yours.

# %% [markdown]
# ## 10.4 Teacher forcing
#
# Training maximizes $\ln P(y \mid x)$, that is, it minimizes the sum of $-\ln P(y_t \mid y_{<t}, x)$ over all
# positions. What are the $y_{<t}$ in training: what the model would have written, or what is right? **What is right.**
# Whatever the model would have said, the next guess is made from the true words. This is called teacher forcing
# (Williams and Zipser 1989). Since all true words are known beforehand, all positions are computed at once, with the
# causal mask to keep each from reading its own answer. Writing can take place only one token after the other; learning
# need not.
#
# So the decoder has an input and a target of equal length, shifted against each other by one place. In front, where
# nothing has been written, stands a start token; at the end the model must say that it has finished:

# %%
tokenizer = BPETokenizer.train([text for pair in train for text in (pair.source, pair.target)], 2048)
V, CONTEXT, EPSILON = tokenizer.vocab_size, 48, 0.1
objective = Seq2Seq(tokenizer, label_smoothing=EPSILON)


def encoded(pairs):
    return [encode_pair(pair, tokenizer, CONTEXT) for pair in pairs]


two = [next(pair for pair in train if pair.source.startswith(text)) for text in ("Er nannte", "Auf dem ganzen")]
batch = objective.collate(encoded(two))


def shown(ids):
    names = {tokenizer.end_of_text: "<end>", IGNORE_INDEX: "·", tokenizer.pad_id: "_"}
    return "  ".join(names.get(i) or tokenizer.decode([i]).strip() for i in ids.tolist())


for row in range(2):
    print(f"source:   {shown(batch['source'][row])}")
    print(f"given:    {shown(batch['target'][row])}")
    print(f"must say {shown(batch['targets'][row])}\n")

# %% [markdown]
# (`_` is padding, and `·` the mark -100 for "nothing to learn here", which the loss leaves out.) This library uses
# one token, `<|endoftext|>`, as start and as end; others have two. Exercise **shift_right** asks you to make the
# second line from the third, with one difference: in a row with padding the end token moves on with the others, and
# stands where the first `_` stands here. As there is nothing to learn at that place, it does not matter to the loss.
# It is a line or two, and a place for famous mistakes: shift nothing, and the model learns to copy its input to its
# output, with a wonderful loss.
#
# Teacher forcing has a price. In training the model has only ever seen prefixes without a mistake. When it writes by
# itself it sees its own words, and after the first wrong one it is in a place where it has never been. Ranzato et al.
# (2016) called this **exposure bias**. Bengio et al. (2015) proposed to mix in the model's own words during training
# ("scheduled sampling"). How bad it is can be measured, and we will, in 10.8.

# %% [markdown]
# ## 10.5 Label smoothing
#
# The cross-entropy asks for probability 1 on the right token. No finite logits give that: whatever they are, larger
# ones are better, and a model that can tell all its training sentences apart is pulled to ever greater certainty. And
# often there is more than one good answer. Among our training sentences, "Es tat noch lange weh." is *It hurt for a
# long while* 51 times, and *It hurt for a long time* 25 times.
#
# Szegedy et al. (2016, section 7) proposed to change the target. With V tokens, of which $y$ is the right one,
#
# $$ q(k) = (1 - \varepsilon)\,[k = y] + \frac{\varepsilon}{V}, \qquad
#    \text{loss} = -\sum_{k=1}^{V} q(k) \ln p(k) $$
#
# so every token gets $\varepsilon / V$, the right one too, and the right one $1 - \varepsilon$ on top of it. Vaswani
# et al. (section 5.4) took $\varepsilon = 0.1$.
#
# What does it do? The derivative of the loss by the logits is $p - q$, so it is at its minimum where $p = q$, and
# that is now a *finite* place: the right logit lies above all others by
#
# $$ \ln \frac{1 - \varepsilon + \varepsilon / V}{\varepsilon / V}, $$
#
# and going beyond that costs. The loss at the minimum is not 0 any more. A cross-entropy is never less than the
# entropy of its target, so the smoothed loss has a **floor** that no model can go below:
#
# $$ H(q) = -\Big(1 - \varepsilon + \frac{\varepsilon}{V}\Big) \ln \Big(1 - \varepsilon + \frac{\varepsilon}{V}\Big)
#    - (V - 1)\, \frac{\varepsilon}{V} \ln \frac{\varepsilon}{V} $$


# %%
def floor(epsilon, V):
    right, wrong = 1 - epsilon + epsilon / V, epsilon / V
    return -right * math.log(right) - (V - 1) * wrong * math.log(wrong)


predict(f"ε = {EPSILON}, V = {V}. How large is the floor of the smoothed loss: about 0.1, 1 or 3 nats a token?")

# %%
print("best margin of the right logit, and floor of the loss")
for size in (4, 100, V, 37_000):
    for epsilon in (0.01, 0.1):
        margin = math.log((1 - epsilon + epsilon / size) * size / epsilon)
        print(f"V = {size:>6}, ε = {epsilon:<4}:   margin {margin:5.2f}   floor {floor(epsilon, size):.3f} nats")

# %% [markdown]
# A training loss of 1.2 nats can thus be excellent; and smoothed losses of different ε or V cannot be compared. For
# judging a model we use the plain loss (ε = 0), which is what `Seq2Seq` gives in evaluation. Even that one suffers: a
# model that was taught to hold back a tenth of the probability holds it back. Vaswani et al. say so: smoothing costs
# perplexity, but improves accuracy and BLEU. Müller, Kornblith and Hinton (2019) looked closer, and found that
# smoothed models are better calibrated (lesson 08), but make worse teachers for smaller models.
#
# Exercise **smoothed_cross_entropy** asks for the loss, with padding left out.

# %% [markdown]
# ## 10.6 The model
#
# The smallest Transformer there is: one block reads, one block writes. Source and target share one vocabulary and one
# table of vectors, which is the output layer too (section 3.4 of the paper). Positions are the sines of section 3.5.
# One thing is newer than the paper: the norm stands *before* each part ("pre-norm", lesson 04), so that it learns
# without a long warmup.

# %%
LAYERS = {"n_layers": 1, "n_decoder_layers": 1, "n_heads": 4, "d_model": 64}
config = ModelConfig(
    "transformer", V, CONTEXT, **LAYERS, positions="sinusoidal", activation="relu", norm_position="pre", bias=False
)
model = Transformer(config)
for name, module in model.named_children():
    if n := sum(p.numel() for p in module.parameters()):
        print(f"{name:<20}{n:>9,} weights")
print(f"{'together':<20}{sum(p.numel() for p in model.parameters()):>9,} (the table counts once)")

# %% [markdown]
# With `run 10 --mine` your own parts come in here: your cross-attention in place of the library's, with the library's
# weights; your loss; your shift.

# %%
cross_attention = part("cross_attention", None)
shift_right = part("shift_right", None)
smoothed_cross_entropy = part(
    "smoothed_cross_entropy",
    lambda logits, targets, epsilon: F.cross_entropy(
        logits.flatten(0, 1),
        targets.flatten(),
        ignore_index=IGNORE_INDEX,
        label_smoothing=epsilon,  # torch has it built in
    ),
)


class YourCrossAttention(MultiHeadAttention):
    """The library's module with your function, in training and in writing."""

    def keys_values(self, memory, rotary=None):
        return memory, memory  # nothing is prepared: your function takes the memory as it is

    def forward(self, x, mask=None, memory=None, memory_kv=None):
        memory = memory if memory_kv is None else memory_kv[0]
        if self.recorded_weights is not None:  # the weights, for a picture, are those of the formula
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
# The library's loader deals out sentences of similar length together, so that little is padding. Matrices learn with
# Muon and the rest with AdamW: in a trial of 400 steps this took a model of this kind to a BLEU of 74, and AdamW
# alone to 1. The loss of a batch is its mean over all tokens of all its sentences.

# %%
STEPS, BATCH, RATE, WARMUP = 900, 16, 1e-2, 30

examples = encoded(train)
loader = Examples(examples, [len(example.source) + len(example.target) for example in examples], BATCH)
optimizers = make_optimizers(model, TrainingSettings(optimizer="muon", learning_rate=RATE, precision="fp32"))
test_batch = objective.collate(encoded(test))


def on_the_test():
    """The plain loss in nats a token, and the fraction of tokens right, each given the true ones before it."""
    model.eval()
    with torch.no_grad():
        loss, right, n = (
            f["target"]
            for f in (
                objective.loss_sums(model, test_batch),
                objective.n_correct(model, test_batch),
                objective.n_targets(test_batch),
            )
        )
    return loss.item() / n, right / n


lines, smooth = {"training, smoothed": [], "held out, not smoothed": []}, None
for step in range(STEPS):
    if step % 100 == 0 and step:
        lines["held out, not smoothed"].append((step, on_the_test()[0]))
    model.train()
    batch = objective.collate([loader.example(seed(), step * BATCH + row) for row in range(BATCH)])
    given, targets = batch["target"], batch["targets"]
    if shift_right is not None:
        given = shift_right(targets, tokenizer.end_of_text, tokenizer.pad_id)
    logits = model(batch["source"], given, batch["source_attention_mask"])  # (B, T, V)
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
curves(lines, "A Transformer learns German", "step", "nats per token", "10-curves")

# %%
test_loss, test_right = on_the_test()
result("held out, not smoothed, nats per token", test_loss, 0.35, 0.04)
result("share of tokens right, given the true ones", test_right, 0.960, 0.012)

# %% [markdown]
# **What to see.** The training loss comes to rest at 1.3 nats, and that is good news: of these, 1.09 are the floor,
# which no training takes away. The loss on sentences never seen, without smoothing, goes far below that line; the two
# curves measure different things, and only each by itself may be followed.

# %% [markdown]
# ## 10.8 Writing
#
# To write is to search: among all English sentences, for one with a large $P(y \mid x)$. **Greedy** decoding takes
# the most probable token at each step and never looks back. **Beam search** keeps the K best beginnings (lesson 06
# builds it); K = 4 was Vaswani et al.'s choice.
#
# Beam search has a flaw that greedy decoding has not: it compares sentences of different length. Every token makes
# $\ln P(y \mid x)$ smaller, so short sentences look good, and the wider the beam, the more of them it finds (Koehn
# and Knowles 2017, section 3.6). Wu et al. (2016, equation 14) therefore divide by a length penalty before they
# compare:
#
# $$ \mathrm{score}(y) = \frac{\ln P(y \mid x)}{\mathrm{lp}(y)}, \qquad
#    \mathrm{lp}(y) = \left(\frac{5 + |y|}{6}\right)^{\alpha} $$
#
# $\alpha = 0$ does nothing, $\alpha = 0.6$ is what Vaswani et al. used, and $\alpha = 1$ is nearly the mean per token.
# Here are the hypotheses for the first sentence on which greedy and beam search disagree, with both scores:

# %%
AT_MOST = 40  # tokens


def greedy(pairs):
    options = SamplingOptions(max_new_tokens=AT_MOST, temperature=0.0)
    return [written.text for written in generate_from(model, tokenizer, [pair.source for pair in pairs], options)]


def beam(pairs, alpha):
    options = BeamOptions(beams=4, length_penalty=alpha, max_new_tokens=AT_MOST)
    return [best.text for best, *_ in beam_search(model, tokenizer, [pair.source for pair in pairs], options)]


by_greedy, by_beam = greedy(test), beam(test, 0.6)
odd = next((i for i in range(len(test)) if by_greedy[i] != by_beam[i]), 0)
print(test[odd].source, "\nin truth:", test[odd].target, "\ngreedy:  ", by_greedy[odd])
print("\n    α = 0   α = 0.6  tokens")
for found in beam_search(model, tokenizer, [test[odd].source], BeamOptions(4, 0.6, AT_MOST))[0]:
    print(f"{found.logprob:9.2f} {found.score:9.2f} {len(found.ids):6}   {found.text}")

# %% [markdown]
# And exposure bias? First a question to think about. Teacher forcing gives the model the true words before each
# position; greedy decoding gives it its own.

# %%
predict(
    f"given true prefixes, {test_right:.0%} of the tokens are right. Take the fraction of sentences in which *all* are "
    "right, and the fraction of sentences that greedy decoding gets right to the letter. Which is "
    "larger, and by how much?"
)

# %%
model.eval()
with torch.no_grad():
    guesses = model(test_batch["source"], test_batch["target"], test_batch["source_attention_mask"]).argmax(
        -1
    )  # (B, T)
attention_mask = test_batch["targets"] != IGNORE_INDEX
all_right = (~attention_mask | (guesses == test_batch["targets"])).all(dim=1).float().mean().item()
to_the_letter = sum(text.strip() == pair.target for text, pair in zip(by_greedy, test, strict=True)) / len(test)
print(f"no wrong token, given true prefixes: {all_right:.3f}")
result("greedy decoding is right to the letter", to_the_letter, 0.71, 0.06)

# %% [markdown]
# They are the same (but for a word that the model spells with other pieces). As long as every guess is right, the
# model's own prefix *is* the true one, and nothing tells the two apart. Exposure bias does not decide whether there
# is a mistake. It decides what comes after the first.
#
# So let us make a mistake for the model: in the true prefix we replace *one* token by a random one, and look at the
# guesses after it. All other tokens that it is given are true.

# %%
predict("what fraction of the guesses is right just after the wrong token? And two, three, four places after it?")

# %%
rng = torch.Generator().manual_seed(seed())
row, lengths, found = torch.arange(len(test)), attention_mask.sum(dim=1), {distance: [] for distance in range(4)}
for _ in range(2):
    place = 1 + (torch.rand(len(test), generator=rng) * (lengths - 5).clamp(min=1)).long()  # (B,): never the start
    given = test_batch["target"].clone()
    given[row, place] = torch.randint(V, (len(test),), generator=rng)
    with torch.no_grad():
        after = model(test_batch["source"], given, test_batch["source_attention_mask"]).argmax(-1)
    for distance, pairs in found.items():
        at = row, (place + distance).clamp(max=given.size(1) - 1)
        true = test_batch["targets"][at]
        pairs += [(guesses[at] == true)[true != IGNORE_INDEX], (after[at] == true)[true != IGNORE_INDEX]]
print("places after the wrong token   1     2     3     4")
for i, name in enumerate(("all tokens true", "one token wrong")):
    shares = [torch.cat(pairs[i::2]).float().mean().item() for pairs in found.values()]
    print(f"{name:<27}" + "".join(f"{share:6.2f}" for share in shares))
result("share right just after a wrong token", shares[0], 0.11, 0.04)
result("share right two places after it", shares[1], 0.91, 0.04)

# %% [markdown]
# **What to see.** Just after a wrong token hardly a guess is right. We read it so: the token before tells the decoder
# what it has said last, and so where in the sentence it is. But one place further on, where it is given a true token
# again, it has nearly found its way back. The source is still there to look at; a translator is led by more than its
# own words.
#
# When it writes by itself, nobody gives it a true token again. Then it continues from its mistake, plausibly, and you
# will see in 10.10 what becomes of that.

# %% [markdown]
# ## 10.9 BLEU
#
# How good are the translations? A person could say. But a person is slow, and people disagree; and who changes a
# model wants to know by the evening. BLEU (Papineni, Roukos, Ward and Zhu 2002) is a number that a program computes
# from the translation (the *hypothesis*) and one or several translations by people (the *references*). Its idea: a
# good translation shares many words with a good translation, and many runs of words.
#
# **Precision, clipped.** Which fraction of the hypothesis's n-grams (runs of n words) are in the reference? An
# example of the paper's shows why this is not enough:

# %%
hypothesis = "the the the the the the the".split()
references = ["the cat is on the mat".split(), "there is a cat on the mat".split()]
print("          in the hypothesis   in reference 1   in reference 2   may count")
counts = [text.count("the") for text in (hypothesis, *references)]
print(f"the {counts[0]:>14} {counts[1]:>19} {counts[2]:>16} {min(counts[0], max(counts[1:])):>12}")

# %% [markdown]
# Seven of seven words are "in the reference". But no reference says "the" more than twice. So each n-gram is
# **clipped**: it counts at most as often as in the reference that has it most often. Precision is 2/7. With $c_h(g)$
# the number of times that n-gram $g$ stands in hypothesis $h$, and $c_r(g)$ in reference $r$,
#
# $$ p_n = \frac{\sum_{h} \sum_{g} \min\!\big(c_h(g),\ \max_{r} c_r(g)\big)}{\sum_{h} \sum_{g} c_h(g)} $$
#
# where $g$ runs over the n-grams of $h$, and $h$ over **all sentences of the corpus** (section 2.1.1 of the paper).
# Sums first, one division at the end. Exercise **clipped_matches** asks for the two inner sums.
#
# **Four orders, geometric mean.** $p_1$ asks whether the words are right, $p_4$ whether they stand in the right
# order. They differ widely (single words are easy), and fall about exponentially with n; so the paper takes the mean
# of their logarithms. That is the fourth root of their product, and if one of them is 0, so is the whole.
#
# **Brevity penalty.** Precision alone would reward the coward: who writes only the two words that he is sure of has
# $p_n = 1$. One would like to divide by how much of the reference was found, but with several references there is no
# single thing to be found. Instead a corpus that is too short is punished. With $h$ the words of all hypotheses, and
# $r$ those of the references (of several the one nearest in length, of two equally near the shorter),
#
# $$ \mathrm{BLEU} = 100 \cdot \mathrm{BP} \cdot (p_1\, p_2\, p_3\, p_4)^{1/4}, \qquad
#    \mathrm{BP} = \begin{cases} 1 & h \ge r \\ e^{1 - r/h} & h < r \end{cases} $$
#
# (section 2.3). Too long needs no penalty: what is superfluous lowers the precisions. The lengths, too, are those of
# the corpus; a short sentence may be made up for by a long one.

# %%
shares = (0.5, 0.7, 0.8, 0.9, 0.95, 1.0, 1.2)
print("h / r  " + "".join(f"{share:6.2f}" for share in shares))
print("BP     " + "".join(f"{min(1, math.exp(1 - 1 / share)):6.2f}" for share in shares))

plain = {"tokenize": "none", "smoothing": "none"}
score = corpus_bleu(["the cat sat on a mat ."], ["the cat sat on the mat ."], **plain)
print("\none wrong word of seven: precisions", [round(p, 1) for p in score.precisions], f"BLEU {score.value:.1f}")
predict("6/7, 4/6, 2/5, 1/4: why does one wrong word cost two pairs, three triples and three of the four runs of four?")

# %% [markdown]
# A wrong word spoils every n-gram that it stands in: n of them, unless it is near the beginning or the end of the
# sentence. A BLEU of 49 for one wrong word looks harsh. It is a scale of its own; only comparisons on the same
# sentences mean something.
#
# **Of the corpus, not the mean of the sentences.** Two translators, the same two sentences:

# %%
references = ["Rosa sang all the way home .", "the dog was tired and went to sleep ."]
for name, texts in (
    ("A", ["Rosa sang all the way home .", "the dog got tired and fell asleep ."]),
    ("B", ["Rosa sang all the long way .", "the dog was tired and fell asleep ."]),
):
    a, b = (corpus_bleu([text], [truth], **plain).value for text, truth in zip(texts, references, strict=True))
    whole = corpus_bleu(texts, references, **plain).value
    print(f"{name}: sentences {a:5.1f} and {b:5.1f}, mean {(a + b) / 2:5.1f};  corpus {whole:5.1f}")

# %% [markdown]
# A's second sentence has no run of four words right, so by itself it has 0, as if not a word were right: for a single
# sentence BLEU is useless without smoothing (Chen and Cherry 2014). In the corpus the sums are 0 only if *no*
# sentence has a match. Exercise **bleu** asks for the whole.
#
# **Tokenisation.** What is a word? "home." or "home" and "."? Post (2018) found differences of up to 1.8 points
# between the usual ways of counting, asked for a clear statement beside every BLEU, and wrote the program
# `sacrebleu`, which prints one; the library's `bleu` equals it. Here words and signs are split as in 10.1, capitals
# count, and nothing is smoothed.


# %%
def our_bleu(hypotheses, references):
    """BLEU of lists of words, as exercise 5 has it."""
    several = [[" ".join(one) for one in own] for own in references]
    return corpus_bleu([" ".join(one) for one in hypotheses], several, **plain).value


bleu = part("bleu", our_bleu)


def bleu_of(texts):
    return bleu([words(text) for text in texts], [[words(pair.target)] for pair in test])


print("300 sentences that no training story has")
result("BLEU, word for word (the dictionary of 10.1)", bleu_of(word_for_word), 25.0, 0.2)
result("BLEU, greedy", bleu_of(by_greedy), 89.5, 3)
result("BLEU, beam of 4, α = 0.6", bleu_of(by_beam), 89.7, 3)
exact = sum(text == pair.target for text, pair in zip(by_beam, test, strict=True)) / len(test)
result("share of sentences right to the letter, beam", exact, 0.72, 0.06)

targets = [" ".join(words(pair.target)) for pair in test]
for name, texts in (("word for word", word_for_word), ("beam", by_beam)):
    score = corpus_bleu([" ".join(words(text)) for text in texts], targets, **plain)
    shown_precisions = " ".join(f"{p:5.1f}" for p in score.precisions)
    print(f"\n{name}: precisions {shown_precisions}, BP {score.brevity_penalty:.3f}\n  {score}")

# %% [markdown]
# **What to see.** The dictionary finds nearly three of four words, and one run of four in eight: it has the words and
# not the order. With the model the four precisions lie close together.
#
# There are two types of spread here. The interval that is printed is the luck in the choice of 300 sentences: take
# others, and the same model scores so much more or less (1,000 bootstrap samples; Koehn 2004). The ± beside each result
# is the luck in training, slightly more than the range over five seeds.
#
# Does beam search help? With five seeds it gained -0.5, 0.0, 0.1, 0.6 and 0.8 points on greedy decoding: 0.2 on
# average, and not always. Compared on the same sentences, model by model, that is next to nothing. Where the model is
# nearly sure of itself there is little to search.

# %% [markdown]
# ## 10.10 What BLEU does not see
#
# BLEU compares letters on paper with letters on paper. It does not know which word carries the meaning:

# %%
reference = "the old fisherman had lost the key to his boat ."
for text in (
    "the old fisherman had found the key to his boat .",
    "the key to his boat the old fisherman had lost .",
    "the old man could not find what opened his boat .",
):
    print(f"{corpus_bleu([text], [reference], **plain).value:5.1f}  {text}")

# %% [markdown]
# The first says the opposite, and has 70. The second says the same, and has hardly more. The third is true as well,
# and has nothing. Over many sentences, and between two systems that are built alike, such accidents cancel, and BLEU
# agrees with people fairly well (section 5 of the paper); that is what it was made for. Callison-Burch, Osborne and
# Koehn (2006) showed where it does not: between systems of different kinds. Exercise **fool_bleu** asks you to do it
# yourself.
#
# So let us *look* at what the model gets wrong. A few of its mistakes, drawn at random:

# %%
wrong = [text != pair.target for text, pair in zip(by_beam, test, strict=True)]
chosen = choose_mistakes(wrong, n=8, seed=seed())
for mistake in show_mistakes(chosen, [p.source for p in test], [p.target for p in test], by_beam):
    print(mistake)

# %% [markdown]
# **What to see.** Many of the wrong sentences are good English. One word is wrong: a name or a thing stands in the
# place of another that could stand there as well, *she* for *he*, or a rare word is put together from the wrong
# pieces. The decoder is a language model. Where it does not know what the source says, it says what is often said
# there, and so fluently that a reader without German notices nothing. (A word-for-word translation is never wrong so
# smoothly.) Some sentences lose their way after the first mistake, stop too early, or go round in a circle. And some
# are no mistakes at all: "for a long time" where the reference has "for a long while". With a single reference, BLEU
# takes points off.

# %% [markdown]
# ## 10.11 The picture of an alignment
#
# Nothing told the model which German word belongs to which English one. It was given pairs of sentences, and a loss.
# Let us see where it looks. Cross-attention notes its weights for each head, (B, H, T, S); we take the mean over the
# heads, and put the tokens of a word together: the columns of a German word are added up, the rows of an English word
# averaged.
#
# One thing to be careful about: row t is the query of the position that is *given* token t - 1 and *says* token t. We
# name the rows by what is said there.
#
# First a sentence that is reversed from end to end. No training story has it with Leo.


# %%
def word_matrix(text):
    """The words of a text, its end included, and a matrix (tokens, words) that says which token is of which word."""
    spans = tokenizer.encode_with_offsets(text)
    numbers = [*spans.words, spans.words[-1] + 1]
    names = [""] * numbers[-1] + ["<end>"]
    for start, end, number in zip(spans.starts, spans.ends, spans.words, strict=True):
        names[number] += text[start:end]
    return [name.strip() for name in names], F.one_hot(torch.tensor(numbers)).float()


def alignment(pair):
    """Where the model looks: the English words that it says, the German words, and a matrix between them."""
    (said, rows), (read, columns) = word_matrix(pair.target), word_matrix(pair.source)
    one, cross = objective.collate(encoded([pair])), model.decoder_blocks[-1].cross_attention
    cross.recorded_weights = []
    with torch.no_grad():
        model(one["source"], one["target"], one["source_attention_mask"])
    weights = cross.recorded_weights[0][0].mean(dim=0)  # (B, H, T, S) → (T, S)
    cross.recorded_weights = None
    return said, read, (rows / rows.sum(dim=0)).T @ weights @ columns  # (English words, German words)


def picture(beginning, file):
    pair = next(pair for pair in held_out if pair.source.startswith(beginning))
    print(f"{pair.source} → {beam([pair], 0.6)[0]}")
    said, read, weights = alignment(pair)
    heatmap(weights.tolist(), said, read, "Rows are said, columns are read", file)
    for word, row in zip(said, weights, strict=True):
        print(f"{word:>12}  looks most at  {read[int(row.argmax())]:<14} {row.max():.2f}")


picture("Auf dem ganzen Heimweg sang Leo", "10-alignment")

# %% [markdown]
# **What to see.** The last German word is the first English one, and to say it, before there is any other English
# word, the model looks most at the end of the German sentence. Then it goes back for the rest, and there the rows are
# paler and spread: "all the way home" is taken not one word from one word, but several from several.
#
# One sentence is an anecdote. But in the storyworld there is a test that needs no annotation: a child is called the
# same in both languages. Whenever the model says a name, we know where it should look.

# %%
everybody = {name for pair in train for name in re.findall(r"(?:named|called) (\w+)\.", pair.target)}
looked, same_place = [], []
for pair in test:
    said, read, weights = alignment(pair)
    for t, name in enumerate(said):
        if name in everybody and said.count(name) == read.count(name) == 1:
            looked.append(read[int(weights[t].argmax())] == name)
            same_place.append(t < len(read) and read[t] == name)
print(f"{len(looked)} names; the German one is the word of the same number in {sum(same_place) / len(same_place):.2f}")
predict("in which fraction of the cases does the model look most at the very name that it says?")

# %%
result("names that are looked at when they are said", sum(looked) / len(looked), 0.95, 0.04)

# %% [markdown]
# So this is where the information gets across. And now the sentence of 10.1, with its verb at the end:

# %%
picture("Im Winter hatten er und Großvater", "10-alignment-verb")

# %% [markdown]
# **What to see.** Down to "Grandfather" the shade runs more or less along the diagonal. "toy" and "boat", two words,
# look at one, "Spielzeugboot". But "built", for which it should leap to the end of the sentence? In one of our five
# runs it looked most at "gebaut", in four of them elsewhere. The translation was right in all five. How can that be?
#
# A picture shows where a model looks. What it *needs* is shown by taking it away. We strike a word out of the German
# sentence, and ask for the probability of its translation, with the true English words before it.


# %%
def probability(german_text, english_words, word):
    """Of `word`, when the English words have been said."""
    given = [tokenizer.end_of_text, *tokenizer.encode(english_words)]
    source = [*tokenizer.encode(german_text), tokenizer.end_of_text]
    with torch.no_grad():
        logits = model(torch.tensor([source]), torch.tensor([given]))[0, -1]
    return logits.softmax(-1)[tokenizer.encode(word)[0]].item()


verb = "Im Winter hatten er und Großvater zusammen ein Spielzeugboot{}.", "In winter he and Grandfather had", " built"
name = "Auf dem ganzen Heimweg sang{}.", "", "Leo"
print("probability of    with its German word   without")
for (german_text, before, word), german_word in ((verb, " gebaut"), (name, " Leo")):
    whole, struck = (probability(german_text.format(text), before, word) for text in (german_word, ""))
    print(f"{word.strip():<17}{whole:>21.3f}{struck:>10.3f}")
result("probability of Leo, struck out", struck, 0.01, 0.05)

# %% [markdown]
# **What to see.** Without "Leo" there is no way to know who sang: the probability falls to 0.01 or less in every run.
# The verb is another matter. Look at the training sentences: in every one of this pattern, "had" is followed by
# "built". A decoder is a language model, and can know this without looking. In the four runs in which "built" looks
# elsewhere, it still has a probability of 0.5 to 0.85 when "gebaut" is struck out. In the fifth, which does look at
# "gebaut", it falls from 0.82 to 0.05. There are two ways to say this word, and which one is learned is a matter of
# the seed.
#
# So where a model looks, and what it needs, are two questions. Here the answers agree; they do not have to, and
# lesson 20 comes back to this. Where a word cannot be guessed, the leap is there to be seen: in the pictures of
# Bahdanau, Cho and Bengio (figure 3, English to French), adjectives and nouns change places.

# %% [markdown]
# ## 10.12 What was left out
#
# - **Real languages.** The storyworld's German and English come from one grammar, and nothing in it is rare. On
#   captions of photographs (`python train.py translate-multi30k`, Elliott et al. 2016) the same code needs half an
#   hour and ends near BLEU 39 (README).
# - **Other decoders.** Minimum Bayes risk decoding asks for the sentence that is most like all others the model might
#   say, instead of the most probable one.
# - **Other measures.** chrF counts runs of letters (Popović 2015; `llmasos/evaluation/chrf.py`), COMET lets a model
#   that was trained on people's judgements judge (Rei et al. 2020).
# - **One stack instead of two.** A decoder alone can translate, if source and target stand in one text. Today's large
#   models do. What the two-part form still buys is an encoder that sees both ways, and a memory that is computed
#   once.
# - **Long outputs from long inputs**: summaries, in lesson 11. **Whether attention explains** anything: lesson 20.
#
# **Further reading.** Sutskever, Vinyals & Le 2014, *Sequence to Sequence Learning with Neural Networks*. Bahdanau,
# Cho & Bengio 2014, *Neural Machine Translation by Jointly Learning to Align and Translate*, with the first pictures
# like ours (figure 3). Vaswani et al. 2017, *Attention Is All You Need*. Papineni et al. 2002, *BLEU: a Method for
# Automatic Evaluation of Machine Translation*. Wu et al. 2016, *Google's Neural Machine Translation System*, section
# 7. Koehn & Knowles 2017, *Six Challenges for Neural Machine Translation*. Szegedy et al. 2016, *Rethinking the
# Inception Architecture for Computer Vision*, section 7. Müller, Kornblith & Hinton 2019, *When Does Label Smoothing
# Help?* Post 2018, *A Call for Clarity in Reporting BLEU Scores*. Callison-Burch, Osborne & Koehn 2006,
# *Re-evaluating the Role of BLEU in Machine Translation Research*.
#
# **Now you.** `python -m lessons check 10` creates your file, `lessons/mine/10_translation.py`, with seven exercises
# in it. When the checks pass, `python -m lessons run 10 --mine` trains the model above with your parts in it.
