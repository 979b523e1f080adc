# %% [markdown]
# # 07 BERT
#
# - **Question:** How can a model learn from text if it sees both sides of every word?
# - **Teaches:** why bidirectional attention needs a new objective; the encoder and its padding mask; masked language
#   modeling and what 80/10/10 is for; next-sentence prediction and its critics; pseudo-perplexity
# - **Minutes:** 100 to read and solve, 1 to run
#
# You need: attention and masks (lesson 03), the block, positions and the shifted loss (lesson 04), and perplexity
# (lesson 01). The method comes from *BERT: Pretraining of Deep Bidirectional Transformers for Language Understanding*
# (Devlin, Chang, Lee & Toutanova 2019), called "the paper" here; "RoBERTa" is Liu et al. 2019, a careful study of which
# parts of BERT matter.
#
# Notation: B batch size, T sequence length, C model width, V vocabulary size, N number of ordinary tokens.

# %% [setup]
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# %%
import math

import numpy as np
import torch
from torch.nn import functional as F

from lessons.machinery.lesson_api import part, predict, result, seed
from lessons.machinery.pictures import curves, heatmap
from llmasos.datasets import SentencePairs, Windows
from llmasos.datasets.storyworld import stories
from llmasos.models import BERT, ModelConfig
from llmasos.nn import naive_attention
from llmasos.objectives import IGNORE_INDEX, MaskedLM, MaskedLMAndNextSentence, collate_inputs
from llmasos.objectives.masked import forward as predict_masked
from llmasos.objectives.masked import masked_targets
from llmasos.tasks.bert_pretraining import EncodedPairs, fill_masks, piece
from llmasos.tokenizers import CharTokenizer, WordPieceTokenizer
from llmasos.training.optimizers import learning_rate_factor, make_optimizers, set_learning_rate
from llmasos.training.recipe import TrainingSettings

SEED = seed()
torch.manual_seed(SEED)
torch.set_num_threads(min(2, torch.get_num_threads()))
torch.set_printoptions(precision=2, sci_mode=False)

# %% [markdown]
# ## 7.1 Context on both sides
#
# > *Once there was a shy* ▢ *called Paul, who lived next to the old mill.*
#
# Which word is missing? You know it, because you have read the rest: *boy*. The GPT of lesson 04 cannot know it. At
# this position it has seen *Once there was a shy*, and the best it can do is to give half of its probability to
# *boy* and half to *girl*. For a model that writes, this is right: what comes next does not exist yet. But for a model
# that should *understand* a complete text (is this review positive? where in the story is the answer?), it is a strange
# rule. Half of the evidence about a word is to its right.
#
# So take the blocks of lesson 04 and remove the causal mask: every position may attend to every other. That is easy.
# The hard part is the next question: **what should such a model predict in training?**

# %% [markdown]
# ## 7.2 Why next-token prediction fails
#
# The objective that we know is: which token comes next? Train a bidirectional model on it, and it learns something
# else. The token after position $t$ is at position $t + 1$, and the model may attend to it. It needs no grammar and no
# story, only one attention head that looks one position to the right. Here is a model that tries this on characters:
# one layer, no causal mask, next-character loss.

# %%
texts = {split: list(stories(split, n)) for split, n in (("train", 3000), ("val", 200))}
characters = CharTokenizer.train([story.text for story in texts["train"]])
T_CHARS = 24
windows = Windows(np.concatenate([characters.encode(s.text + "\n") for s in texts["train"][:500]]), T_CHARS)
val_windows = Windows(np.concatenate([characters.encode(s.text + "\n") for s in texts["val"][:60]]), T_CHARS, "val")
whole_windows = [window for window in val_windows.validation_windows() if len(window) == T_CHARS + 1]
val_windows = torch.from_numpy(np.stack(whole_windows).astype(np.int64))  # (W, T + 1)


def small_bert(vocab_size, context_length, n_layers):
    """Build a BERT of width 64 with four heads."""
    torch.manual_seed(SEED)
    config = ModelConfig(
        family="bert", vocab_size=vocab_size, context_length=context_length, n_layers=n_layers, n_heads=4, d_model=64,
        norm_position="post", activation="gelu",
    )  # fmt: skip
    return BERT(config)


def train_model(model, loss_of, steps, learning_rate, warmup=30):
    """Train with Muon on the loss `loss_of(step)`; returns the points of the smoothed loss curve."""
    settings = TrainingSettings(optimizer="muon", learning_rate=learning_rate, precision="fp32")
    optimizers, points, smooth = make_optimizers(model, settings), [], None
    for step in range(steps):
        set_learning_rate(optimizers, learning_rate * learning_rate_factor(step, steps, warmup, "cosine", 0.05))
        loss = loss_of(step)
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        smooth = loss.item() if smooth is None else 0.95 * smooth + 0.05 * loss.item()
        if step % 10 == 0:
            points.append((step, smooth))
    return points


copier = small_bert(characters.vocab_size, T_CHARS, n_layers=1)


def next_character_loss(step):
    rows = torch.from_numpy(windows.batch(SEED, step * 16, 16))  # (B, T + 1)
    logits = copier(rows[:, :-1]).masked  # (B, T, V): every position has seen every other
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())


points = train_model(copier, next_character_loss, steps=150, learning_rate=2e-2)
print(f"after {points[-1][0]} steps the training loss is {points[-1][1]:.2f} nats per character")
predict(
    "a model that sees only one character is at 2.3 (lesson 03). Now this model gets the first 12 characters of a "
    "window, and nothing else, and must predict character 13. Is its loss 0.1, 1, 2.3, or worse than untrained (4.1)?"
)

# %%
with torch.no_grad():
    seen = copier(val_windows[:, :-1]).masked[:, :-1]  # it sees the target everywhere but at the last position
    with_answer = F.cross_entropy(seen.flatten(0, 1), val_windows[:, 1:-1].flatten()).item()
    blind = copier(val_windows[:, :12]).masked[:, -1]  # (W, V): at the last position
    without = F.cross_entropy(blind, val_windows[:, 12]).item()
result("next character, answer visible, nats", with_answer, 0.008, 0.01)
result("next character, answer not visible, nats", without, 5.8, 1.5)

# %% [markdown]
# The model is perfect at something useless. There was no bug in the code, and the training loss looked great. **If a
# loss is too good, look for the answer in the input.**
#
# Could we predict each position's *own* token, and forbid it to attend to itself? With one layer of attention this
# works. With two, the token comes back by a detour: in the first layer the neighbor attends to me, in the second I
# attend to the neighbor. In the paper's words, each word would "indirectly see itself" (section 3.1, task 1). We can
# watch this in attention alone, with nothing around it, not even queries (all scores are equal). We change the vector
# at position 2, forbid every position to attend to itself, and see which outputs change.

# %%
x = torch.randn(1, 1, 5, 8)  # (B, H, T, D)
changed = x.clone()
changed[..., 2, :] += 1.0
not_itself = ~torch.eye(5, dtype=torch.bool)  # (T, T): all positions but itself
for n_layers in (1, 2):
    a, b = x, changed
    for _ in range(n_layers):
        a, b = (naive_attention(0 * y, 0 * y, y, not_itself)[0] for y in (a, b))  # the mean of all the others
    moved = (a != b).any(dim=-1)[0, 0]
    print(f"{n_layers} layer{'s' * (n_layers - 1)}:", ["changed" if m else "same" for m in moved])

# %% [markdown]
# With one layer, only position 2 does not see its own change; with two layers it does. There is only one safe way to
# keep a word from being seen: **take it out of the input.** That is the idea of BERT: mask some words, and predict
# those.

# %% [markdown]
# ## 7.3 The encoder: a padding mask, no causal mask
#
# An encoder block is the block of lesson 04 without the causal mask: attention, then the feed-forward network, each in
# a residual connection with a norm (after the sum, "post-norm", in BERT). In the library it is `EncoderBlock` in
# `llmasos/nn/blocks.py`, used in `llmasos/models/bert.py`.
#
# We still need one mask. A GPT is trained on windows of equal length, cut from a long text. BERT reads sentences of
# different lengths; to fit them into one tensor, we pad the short ones with a token `[PAD]`. Under a causal mask,
# padding on the right would be harmless, because no token attends to the right. Here every token would attend to it. So
# *no position may attend to padding*: in the mask (B, 1, T, T) of a row whose last two tokens are padding, the last two
# columns are False.
#
# $$ \mathrm{mask}_{b,t,s} = \mathrm{attention\_mask}_{b,s} \qquad\text{(for every query $t$ and every head)} $$
#
# What padding itself attends to does not matter: nothing uses its output. How do you test such a mask? As in lesson 03:
# change what must not matter. A sentence must get the same vectors alone and in a batch with a longer one.

# %%
model = small_bert(vocab_size=50, context_length=12, n_layers=2)
short, long = torch.randint(5, 50, (1, 6)), torch.randint(5, 50, (1, 12))
together = torch.cat([F.pad(short, (0, 6), value=0), long])  # (2, 12): six [PAD] after the short one
attention_mask = together != 0
with torch.no_grad():
    alone = model.hidden_states(short)  # (1, 6, C)
    with_mask = model.hidden_states(together, attention_mask)[:1, :6]
    without_mask = model.hidden_states(together)[:1, :6]
print("largest difference with the padding mask   ", f"{(with_mask - alone).abs().max():.6f}")
print("largest difference without a padding mask  ", f"{(without_mask - alone).abs().max():.6f}")

# %% [markdown]
# Without the mask, the vectors of a sentence depend on its batch. (And the loss on a test set depends on the batch
# size. If you ever see that, check the padding.) Exercise **padding_mask** asks for this mask.

# %% [markdown]
# ## 7.4 BERT's input: WordPiece, [CLS] and [SEP], segments
#
# **Subwords.** In lesson 02, BPE started with characters and merged frequent neighbors. BERT's *WordPiece* (Schuster &
# Nakajima 2012; Wu et al. 2016, section 4.1) has a similar vocabulary but uses it differently: it splits a word from
# the left, **longest match first**. Try the whole word; if it is not in the vocabulary, try it without its last
# character, and so on; then continue after the matched piece. A piece that does not start its word is written with
# `##`. If at some point not even a single character matches, the *whole word* becomes `[UNK]`.
#
# We train the small model of this lesson on the first three sentences of every story, so that it can learn something in
# a quarter of a minute. They contain about 600 different words.

# %%
openings = {split: [story.sentences[:3] for story in texts[split]] for split in texts}
tokenizer = WordPieceTokenizer.train([" ".join(o) for o in openings["train"]], vocab_size=1000, lowercase=True)
V = tokenizer.vocab_size
print("special tokens", tokenizer.special_tokens)
for word in ("morning", "mornings", "Drummer", "unfriendly", "drumΩ"):
    print(f"{word:>12}  ", " ".join(piece(tokenizer, id) for id in tokenizer.encode(word)))

# %% [markdown]
# Greedy matching is simple and fast, but not always what a linguist would do: the longest piece from the left may leave
# an awkward remainder.
#
# **Special tokens.** BERT reads one text or two, in this format:
#
#     ids        [CLS]  once  there  was  …  mill  .  [SEP]  he  had  a  …  .  [SEP]
#     segments     0      0     0     0        0   0    0     1    1   1     1    1
#
# `[SEP]` ends each text. `[CLS]` ("classification") is not a word: its output vector represents the whole input. Each
# position also gets a *segment*: 0 for the first text and its special tokens, 1 for the second text and its `[SEP]`.
# The embedding of a position is the sum of three learned vectors (the paper's figure 2), followed by a norm:
#
# $$ x_t = \mathrm{norm}\big(E_{\text{token}}[\mathrm{id}_t] + E_{\text{position}}[t] +
#    E_{\text{segment}}[\mathrm{segment}_t]\big) $$

# %%
first, second = (tokenizer.encode(sentence) for sentence in openings["val"][0][:2])
inputs = tokenizer.build_inputs(first, second)
for t, (id, segment) in enumerate(zip(inputs.ids, inputs.segments, strict=True)):
    if t < 4 or abs(t - len(first)) < 4 or t > len(inputs.ids) - 3:
        print(f"position {t:>2}   {piece(tokenizer, id):>10}   id {id:>3}   segment {segment}")

# %% [markdown]
# ## 7.5 Masked language modeling
#
# Choose some tokens of the text, the set $M$. Mask them, in a way that the next section explains; call the result
# $\tilde{x}$. At each chosen position the model predicts the original token, and nothing at all others:
#
# $$ L = \frac{1}{|M|} \sum_{t \in M} -\log p(x_t \mid \tilde{x}, t), \qquad
#    p(\cdot \mid \tilde{x}, t) = \operatorname{softmax}(z_t) $$
#
# where $z_t$ (V) are the logits of position $t$, made from its output vector by the *masked-LM head*: a dense layer,
# GELU, a norm, and the transposed token embedding. Note two differences from lesson 04. **Nothing is shifted:** the
# target of position $t$ is the token at position $t$. And **most positions have no target.** Their label is -100, which
# cannot be a token id, and the loss ignores them: they count neither in the sum nor in the divisor. For a batch, $|M|$
# is the number of chosen tokens in the *whole batch*, so that each of them has the same weight. If no token is chosen,
# the loss is 0. And as always, $-\log p(y) = \log \sum_v e^{z_v} - z_y$ is computed from the logits, not from $e^z$,
# which overflows. (Exercise **masked_lm_loss** asks for it.)
#
# **Which tokens?** Never special tokens: predicting `[CLS]` or `[PAD]` teaches nothing. Of the others the paper masks
# 15 %. With fewer, learning is slow (even at 15 %, six of seven tokens teach nothing); with more, too little context is
# left to predict from. In this library the *number* is fixed, and only the *choice* is random: of the $n$ ordinary
# tokens of a sequence,
#
# $$ k = \max\big(1, \lfloor 0.15 \, n + \tfrac12 \rfloor\big) $$
#
# are chosen (none if $n = 0$). To choose $k$ of $n$ uniformly, give each of the $n$ a random number and take the $k$
# smallest. (Exercise **choose_masked** asks for this. Choosing each token independently, as some implementations do,
# gives 15 % on average, but leaves many a short sentence with no masked token.)

# %%
print("    n   0.15 n   k")
for n in (1, 3, 5, 10, 17, 30):
    print(f"{n:>5} {0.15 * n:8.2f} {max(1, math.floor(0.15 * n + 0.5)):>3}")
numbers = torch.rand(8, generator=torch.Generator().manual_seed(3))
print("numbers", numbers, "→ the two smallest are at positions", sorted(numbers.argsort()[:2].tolist()))

# %% [markdown]
# **When?** BERT's authors drew the masks once, before training, ten different ones for each text (according to RoBERTa,
# section 4.1). RoBERTa draws new masks each time a text is used ("dynamic masking"), with equal or slightly better
# results and no files to store. `MaskedLM` in `llmasos/objectives/masked.py` does the same: new masks in every epoch.
#
# ## 7.6 Why not always [MASK]: 80/10/10
#
# The obvious way to mask a token is to replace it with `[MASK]`. But then the model only ever predicts at `[MASK]`. At
# the position of a visible *word* it never has to predict anything, so it could replace everything it knows about that
# word with whatever helps the neighbors. Yet downstream texts contain no `[MASK]` at all. The paper calls this a
# mismatch between pretraining and fine-tuning (section 3.1), and has a remedy. Of the chosen tokens
#
# - 80 % become `[MASK]`,
# - 10 % become a random ordinary token,
# - 10 % stay as they are,
#
# and the model predicts **all** of them. The percentages refer to the *chosen* tokens: of the whole text they are 12,
# 1.5 and 1.5 %.
#
# Why a random token, and why keep one? Put yourself in the model's place. You must predict a position that shows the
# word $w$. Either the word was kept, or it was put there at random. Write $p(w)$ for the probability of $w$ given the
# rest of the text, and N for the number of ordinary tokens. Of all chosen tokens, a fraction $0.1 \, p(w)$ was $w$ and
# was kept; a fraction $0.1 / N$ was replaced with $w$. So by Bayes' rule
#
# $$ P(\text{kept} \mid w \text{ is shown}) = \frac{0.1 \, p(w)}{0.1 \, p(w) + 0.1 / N} = \frac{p(w)}{p(w) + 1/N} $$
#
# The best prediction is: believe what you see, unless the rest of the text makes it less probable than a uniform random
# draw. And to know that, you must estimate $p(w)$ *at every position*, even where the word is visible. That is what the
# 10 + 10 % are for.

# %%
N = int((~tokenizer.special_mask).sum())
predict(
    f"N = {N}. Given the text, the visible word is improbable: p(w) = 0.001. With what probability should the model "
    "believe that it is the original: 0.001, 0.1, 0.5 or 0.9?"
)

# %%
print("      p(w)   P(kept)")
for p in (0.5, 0.1, 0.01, 0.001, 0.0001, 0.00001):
    print(f"{p:>10}   {p / (p + 1 / N):.3f}")

# %% [markdown]
# Even a one-in-a-thousand word is believed with probability one half: most improbable words are exactly what somebody
# wrote. If 20 % were kept and none replaced, "believe what you see" would always be right, and there would be no reason
# to use the context; if 20 % were replaced and none kept, the visible word would never be right. It takes both.
#
# There are two classic mistakes. If you choose a token by u < 0.15 and then test u < 0.8 with the *same* number, you
# always mask, because every chosen token has u < 0.15. And if you test u < 0.8 and then, with a *new* number, u < 0.1,
# you replace only 2 %. In exercise **apply_80_10_10** each chosen token has one random number, `fate`, with thresholds
# at 0.8 and 0.9; a second, independent number, `dice`, selects the random token.
#
# Does it matter? Less than one would think, according to the paper's own measurements (appendix C.2). When the whole
# model is fine-tuned, 100/0/0 is as good to within half a point; when its vectors are used as fixed features for
# named-entity recognition, it loses almost a point. We will look at it ourselves in section 7.9.

# %% [markdown]
# ## 7.7 Next-sentence prediction
#
# Many tasks are about two texts: a question and a paragraph, a premise and a hypothesis. To learn something about
# pairs, BERT has a second objective, *next-sentence prediction* (NSP). The first text comes from some document. In half
# of the examples the second text is what really follows it; in the other half it comes from another document. The model
# predicts which, from the vector of `[CLS]`: a dense layer with tanh (the "pooler") and two logits. The total loss is
# the sum of the mean losses of both objectives (appendix A.2).
#
# This is easy to say and easy to get wrong (exercise **next_sentence_pair**). The last sentence of a document has no
# successor. A negative pair must not, by accident, be a positive one. And nothing but the meaning may tell the two
# classes apart: if the second text of a negative pair always started a document, "Once there was" would give it away.
#
# What does it teach? The critics (RoBERTa, section 4.2; Lan et al. 2020, ALBERT, sections 3.1 and 4.6) found: not much
# about how sentences follow each other. A text from another document is mostly about something else, and to see that
# the *topic* changes, it is enough to know which words go together. Let us try that without any model and without any
# word order. In 2,000 whole stories we count how many contain the words $a$ and $b$, $n_a$ and $n_b$, and how many
# contain both, $n_{ab}$. With $S$ stories, the pointwise mutual information
#
# $$ \mathrm{PMI}(a, b) = \log \frac{n_{ab} / S}{(n_a / S)(n_b / S)} $$
#
# is positive for words that tend to occur together and negative for words that avoid each other. (To avoid log 0, each
# $n_{ab}$ is smoothed with one story's worth of chance.) The score of two texts is the mean PMI of all words of the
# first with all words of the second; we predict "follows" if it is above the median of the training pairs. We try it
# with negatives from another story, and with negatives from elsewhere in the same story.

# %%
whole = {
    split: [[np.array(tokenizer.encode(sentence)) for sentence in story.sentences] for story in texts[split][:2000]]
    for split in texts
}
occurs = np.zeros((len(whole["train"]), V))  # (S, V): which token occurs in which story
for row, story in enumerate(whole["train"]):
    occurs[row, np.concatenate(story)] = 1
alone = occurs.mean(axis=0) + 1e-6  # (V,)
chance = np.outer(alone, alone)  # (V, V)
together = (occurs.T @ occurs + chance) / (len(occurs) + 1)  # (V, V)
pmi = np.log(together / chance)
for a, b in (("thunder", "storm"), ("kite", "windy"), ("race", "prize"), ("paul", "tom")):
    print(f"PMI({a}, {b}) = {pmi[tokenizer.encode(a)[0], tokenizer.encode(b)[0]]:.1f}")


def mean_pmi(pair):
    """How well the words of two texts go together, regardless of their order."""
    return pmi[np.ix_(np.unique(pair.first), np.unique(pair.second))].mean()


predict("how accurate is this if the negatives come from another story, and how accurate if they come from the same?")

# %%
for negatives, expected in (("other", 0.81), ("same", 0.52)):
    pairs = {split: SentencePairs(whole[split], max_tokens=60, negatives=negatives) for split in whole}
    threshold = np.median([mean_pmi(pair) for pair in pairs["train"].validation(SEED, 1000)])
    right = np.mean([(mean_pmi(pair) > threshold) == pair.follows for pair in pairs["val"].validation(SEED, 1000)])
    result(f"word counts, negatives from {negatives} story", right, expected, 0.05)

# %% [markdown]
# Counting words goes most of the way when the topic changes (the library's trained BERT is right for about 0.83 of its
# pairs, see the README), and is almost useless when only the order is wrong. So a model that solves NSP need not have
# learned anything about order. RoBERTa got equal or slightly better results without NSP and dropped it; ALBERT instead
# predicts which of two consecutive segments came first ("sentence-order prediction"), which the topic does not reveal.
# To try this in the library, use `--negatives same` and `--no-next-sentence`.

# %% [markdown]
# ## 7.8 Two small BERTs
#
# Now everything together: one block of width 64, sequences of at most 32 tokens, both objectives. The sequences are
# short on purpose: attention starts as an average over all positions, and with fewer positions it learns sooner to
# attend to the right one. As in section 7.2, the optimizer is Muon. With AdamW, NSP did not start to learn in the
# library's own experiments; we suspect that the pooler's tanh saturates (`llmasos/README.md`, "Where the code differs
# from its first plan").
#
# We train it twice on the same pairs with the same masked positions: once with 80/10/10, once with 100/0/0.

# %%
CONTEXT, BATCH, STEPS = 32, 64, 400

# `run 7 --mine` puts your own functions here
choose_masked = part("choose_masked", None)
apply_80_10_10 = part("apply_80_10_10", None)
masked_lm_loss = part("masked_lm_loss", None)


class Masking(MaskedLM):
    """The library's masking, or yours."""

    def choose_positions(self, ids, rng):  # (T,) → positions (k,)
        if choose_masked is None:
            return super().choose_positions(ids, rng)
        uniform, special = torch.from_numpy(rng.random((1, len(ids)))), torch.from_numpy(self.special)
        return np.flatnonzero(choose_masked(torch.from_numpy(ids)[None], special, uniform, self.mask_prob)[0])

    def mask_tokens(self, ids, rng):  # (T,) → (T,), (T,)
        if apply_80_10_10 is None:
            return super().mask_tokens(ids, rng)
        chosen = torch.zeros(1, len(ids), dtype=torch.bool)
        chosen[0, self.choose_positions(ids, rng)] = True
        fate, dice = torch.from_numpy(rng.random((2, 1, len(ids))))
        ordinary = torch.from_numpy(self.regular_ids)
        shown, labels = apply_80_10_10(torch.from_numpy(ids)[None], chosen, fate, dice, self.mask_id, ordinary)
        return shown[0].numpy(), labels[0].numpy()


def encoded_pairs(split):
    documents = [[np.array(tokenizer.encode(sentence)) for sentence in opening] for opening in openings[split]]
    return EncodedPairs(SentencePairs(documents, CONTEXT - tokenizer.n_special_tokens(2)), tokenizer)


train, val = encoded_pairs("train"), encoded_pairs("val").validation()
objective = MaskedLMAndNextSentence(tokenizer)
objective.masked = Masking(tokenizer)
MASK = objective.masked.mask_id


def masked_80_10_10(examples, stream):
    """Collate examples into a batch with masked tokens."""
    rngs = [lambda row=row: np.random.default_rng([SEED, stream, row]) for row in range(len(examples))]
    return objective.collate(examples, rngs)


def masked_100_0_0(batch):
    """The same batch with [MASK] at every position to predict: 100/0/0."""
    return {**batch, "ids": batch["ids"].masked_fill(batch["targets"] != IGNORE_INDEX, MASK)}


examples = [train.example(SEED, index) for index in range(4000)]  # used several times, each time with new masks
batches = [
    masked_80_10_10([examples[(step * BATCH + row) % len(examples)] for row in range(BATCH)], stream=step)
    for step in range(STEPS)
]


def pretrain(always_mask):
    """Train one BERT; returns the model and its loss curve."""
    model = small_bert(V, CONTEXT, n_layers=1)

    def loss_of(step):
        batch = masked_100_0_0(batches[step]) if always_mask else batches[step]
        if masked_lm_loss is None:
            losses, counts = objective.loss_sums(model, batch), objective.n_targets(batch)
            return losses["masked"] / counts["masked"] + losses["next_sentence"] / counts["next_sentence"]
        output = predict_masked(model, batch)  # output.masked: (N, V), the masked positions only
        follows = objective.next_sentence.loss_from(output, batch) / BATCH
        return masked_lm_loss(output.masked[None], masked_targets(batch)[None]) + follows

    return model, train_model(model, loss_of, STEPS, learning_rate=2e-2)


batch = batches[0]
print({name: tuple(value.shape) for name, value in batch.items()}, f"{len(train.pairs.documents):,} openings")
for row in range(2):
    shown = [piece(tokenizer, id) for id in batch["ids"][row].tolist() if id]
    print(("follows:     " if batch["follows"][row] else "does not:    ") + " ".join(shown))
    print("   to predict:", [piece(tokenizer, id) for id in batch["targets"][row].tolist() if id != IGNORE_INDEX])

# %%
frequencies = np.bincount(np.concatenate([np.concatenate(d) for d in train.pairs.documents]), minlength=V)
batch = masked_100_0_0(masked_80_10_10(val, stream=10**6))  # the same masked positions for every model
targets = masked_targets(batch)
baseline = (targets == frequencies.argmax()).float().mean().item()
result("always the most frequent token, accuracy", baseline, 0.08, 0.03)
predict(
    f"always predicting '{piece(tokenizer, frequencies.argmax())}' is right for about one masked word in thirteen. How "
    "accurate will the two models be? And will the model that always saw [MASK] be better or worse?"
)

# %%
models, lines = {}, {}
for name, always_mask, expected in (("80/10/10", False, (0.68, 0.72)), ("100/0/0", True, (0.67, 0.70))):
    models[name], lines[name] = pretrain(always_mask)
    with torch.no_grad():
        output = predict_masked(models[name].eval(), batch)
    words_right = (output.masked.argmax(-1) == targets).float().mean().item()
    pairs_right = objective.next_sentence.n_correct_from(output, batch) / len(val)
    result(f"{name}: masked words, accuracy", words_right, expected[0], 0.1)
    result(f"{name}: next sentence, accuracy", pairs_right, expected[1], 0.12)

# %%
curves({name: line[2:] for name, line in lines.items()}, "Two small BERTs", "step", "sum of both losses", "07-curves")

# %% [markdown]
# **What to see.** Both models predict about two of three masked words, and neither is better: for *filling in masks*,
# the 10 + 10 % neither help nor hurt. (Over five seeds the first was right for about 0.65 to 0.73 of the words, the
# second for about 0.66 to 0.70.) And both are well above chance at predicting which sentences follow each other, from a
# dozen words each.
#
# The curve of 100/0/0 is a little higher for a simple reason: all of its targets are masked, while one tenth of the
# other model's targets are visible. So the two curves *cannot be compared*; the accuracies above can, since there every
# target is `[MASK]` for both models.
#
# Now try our own sentences. `fill_masks` returns the most likely tokens with their probabilities.

# %%
model = models["80/10/10"]
for sentence in (
    "Once there was a [MASK] girl called Anna.",
    "One cold [MASK] she wanted to try out the drum.",
    "Paul lived in a narrow street [MASK] the market.",
    "Everyone in the [MASK] knew Oscar, the kind boy who lived near the lake.",
    "Once there was a shy [MASK] called Anna.",
    "Once there was a shy [MASK] called Paul.",
):
    (best,) = fill_masks(model, tokenizer, sentence, n=4)
    print(sentence, " " * (71 - len(sentence)), "  ".join(f"{word} {p:.2f}" for word, p in best))

chances = [
    dict(fill_masks(model, tokenizer, f"Once there was a shy [MASK] called {name}.", n=V)[0])["boy"]
    for name in ("Paul", "Anna")
]
result("p(boy) with Paul minus p(boy) with Anna", chances[0] - chances[1], 0.01, 0.06)

# %% [markdown]
# **What to see.** The model knows *what type* of word is missing: an adjective before *girl* (several, with similar
# probabilities, as in the stories), a time of day after *cold*, a preposition such as *behind* before the market. In
# the last two sentences it knows that *boy* or *girl* is missing. But it does not know which of the two, the blank of
# section 7.1: the name makes no difference. To know that, it would have to learn two dozen names one by one, from the
# few masks where they matter; so far it has learned what all names have in common. (`python train.py bert-storyworld`
# trains longer, on whole stories. Does that model know?)
#
# What has it learned about words? We compare the rows of its token embedding (which is also its output layer) by cosine
# similarity, after subtracting the mean of all rows.

# %%
groups = {
    "boys": "paul tom ben max felix", "girls": "anna lily maya rosa emma", "characters": "shy brave proud curious kind",
    "days": "cold sunny windy foggy warm", "times": "morning afternoon evening",
}  # fmt: skip
words = " ".join(groups.values()).split()
ids = [tokenizer.encode(word)[0] for word in words]
vectors = model.token_embedding.weight.detach()
vectors = F.normalize(vectors[ids] - vectors.mean(0), dim=-1)  # (W, C)
similar = vectors @ vectors.T  # (W, W)
marks = [chr(ord("a") + i) for i in range(len(words))]
heatmap(
    similar.clamp(min=0).tolist(), [f"{word} {mark}" for word, mark in zip(words, marks, strict=True)], marks,
    "Cosine similarity of word embeddings", "07-neighbors",
)  # fmt: skip

# %% [markdown]
# **What to see.** There are blocks along the diagonal. Nobody labeled *foggy* and *windy* as similar, or said what a
# name is; words that fit the same masks ended up with similar vectors. And there is one block of names, not two: the
# model does not yet distinguish boys from girls, as we have just seen.
#
# ## 7.9 What 80/10/10 was for
#
# Back to the question of section 7.6. Now we use both models as downstream tasks do: on held-out texts *without any*
# `[MASK]`. At every ordinary position we look at the model's prediction. The word is plainly visible. Then we replace
# one token in each pair with a random one, and look at the prediction there.

# %%
predict(
    "one model had a visible word at one target in five, the other never. At how many positions out of 100 does each "
    "of them predict the visible word?"
)

# %%
batch = collate_inputs([example.inputs for example in val], tokenizer.pad_id)
ordinary = torch.from_numpy(~tokenizer.special_mask)[batch["ids"]] & batch["attention_mask"]  # (B, T)
generator = torch.Generator().manual_seed(SEED)
position = (torch.rand(ordinary.shape, generator=generator) * ordinary).argmax(dim=1)  # (B,): one in each row
rows = torch.arange(len(val))
truth = batch["ids"][rows, position]
random_ids = torch.randint(5, V, (len(val),), generator=generator)
corrupted = batch["ids"].clone()
corrupted[rows, position] = random_ids

for name, expected in (("80/10/10", (0.78, 0.89, 0.02, 0.61)), ("100/0/0", (0.28, 0.40, 0.002, 0.41))):
    with torch.no_grad():
        intact = models[name](batch["ids"], batch["attention_mask"], batch["segments"]).masked  # (B, T, V)
        logits = models[name](corrupted, batch["attention_mask"], batch["segments"]).masked[rows, position]  # (B, V)
    top_1 = (intact.argmax(-1) == batch["ids"])[ordinary].float().mean().item()
    p_right = intact.softmax(-1).gather(-1, batch["ids"][..., None])[..., 0][ordinary].mean().item()
    p_wrong = logits.softmax(-1).gather(-1, random_ids[:, None]).mean().item()
    corrected = (logits.argmax(-1) == truth).float().mean().item()
    result(f"{name}: correct word visible, its probability", p_right, expected[0], 0.1)
    result(f"{name}: correct word visible, top-1 accuracy", top_1, expected[1], 0.1)
    result(f"{name}: wrong word visible, its probability", p_wrong, expected[2], 0.03)
    result(f"{name}: wrong word visible, corrected", corrected, expected[3], 0.15)

# %% [markdown]
# **What to see.** The 100/0/0 model does not predict the word that it sees. At six positions out of ten, its top
# prediction is not the visible word. It has not ignored the words: it fills in masks as well as the other model, and
# for that it must use the words around them. But it never had a target at a visible word, so nothing taught it to keep
# the word there. The other model predicts what it sees, but not blindly: a random word that does not fit gets almost no
# probability, as the formula of section 7.6 demands, and more often than not the model predicts the original word
# instead. (100/0/0 also corrects words, since it pays little attention to the position itself; but less often.)
#
# So 80/10/10 is not for filling in masks. It is for the vectors of *visible words*, which are all that a downstream
# task uses. Fine-tuning the whole model can fix the rest, which agrees with the small differences that the paper found.

# %% [markdown]
# ## 7.10 Pseudo-perplexity is not perplexity
#
# How good is BERT as a language model? A GPT assigns every text a probability, by the chain rule, and perplexity turns
# that probability into a number per word (lesson 01). BERT has no chain rule: it fills in masks. What people compute is
# this: mask each token in turn, one at a time, and add up the log-probabilities (Salazar et al. 2020, *Masked Language
# Model Scoring*; the idea, for other models, is Besag's, 1975):
#
# $$ \text{perplexity} = \exp\Big(-\frac{1}{T} \sum_t \log p(x_t \mid x_1 \dots x_{t-1})\Big), \qquad
#    \text{pseudo-perplexity} = \exp\Big(-\frac{1}{T} \sum_t \log p(x_t \mid \text{all others})\Big) $$
#
# The two look alike. Here is a language of four sentences, all equally probable: *Paul he, Tom he, Anna she, Lily she*.
# A perfect model knows these probabilities. What are its two numbers?
#
# - From left to right: the first word is one of four, ln 4 nats. Then the second is certain, 0 nats. The sum is ln 4
#   for two words, and the perplexity is $e^{(\ln 4) / 2} = 2$.
# - One word masked at a time: with *he* visible, the first word is one of *two*, ln 2 nats. With *Paul* visible, the
#   second is certain. The sum is ln 2, and the pseudo-perplexity is $e^{(\ln 2) / 2} = 1.41$.
#
# The fact that *Paul* goes with *he* was used twice: *he* helped to predict *Paul*, and *Paul* to predict *he*. In
# general, for two words $X$ and $Y$ and a perfect model, with entropy $H$,
#
# $$ 2 \ln \text{perplexity} = H(X) + H(Y \mid X) = H(X, Y), \qquad
#    2 \ln \text{pseudo-perplexity} = H(X \mid Y) + H(Y \mid X) $$
#
# and $H(X \mid Y) = H(X, Y) - H(Y) \le H(X)$: on average, more context never makes a word harder to predict. So the
# second number is never larger. It does not come from a probability: the numbers $\exp(\text{sum of logs})$ of all
# sentences do not add up to one. Let us check:

# %%
p = torch.tensor([[1, 0], [1, 0], [0, 1], [0, 1]]) / 4  # p[i, j]: (Paul, Tom, Anna, Lily) × (he, she)


def H(p):
    """Entropy in nats; 0 log 0 = 0."""
    return -torch.special.xlogy(p, p).sum().item()


both, name_alone, pronoun_alone = H(p), H(p.sum(dim=1)), H(p.sum(dim=0))
print(f"perplexity        {math.exp(both / 2):.2f}")
print(f"pseudo-perplexity {math.exp((both - pronoun_alone + both - name_alone) / 2):.2f}")
likelihood = p / p.sum(dim=0) * (p / p.sum(dim=1, keepdim=True))  # p(name | pronoun) · p(pronoun | name)
print("'probabilities' of the four sentences sum to", likelihood.sum().item())

# %% [markdown]
# How far apart can they be? Find out in exercise **better_than_it_is**. And here is the number for our BERT: we mask
# each token of a few held-out pairs once.

# %%
total_nats, n_tokens = 0.0, 0
for example in val[:40]:
    ids = torch.tensor(example.inputs.ids)
    positions = torch.from_numpy(np.flatnonzero(~tokenizer.special_mask[example.inputs.ids]))  # (n,)
    copies = ids.repeat(len(positions), 1)  # (n, T): one copy per position
    copies[torch.arange(len(positions)), positions] = MASK
    segments = torch.tensor(example.inputs.segments).expand_as(copies)
    with torch.no_grad():
        logits = models["80/10/10"](copies, segments=segments, predict=copies == MASK).masked  # (n, V)
    total_nats += F.cross_entropy(logits, ids[positions], reduction="sum").item()
    n_tokens += len(positions)
result("pseudo-perplexity of held-out pairs", math.exp(total_nats / n_tokens), 2.5, 1.0)

# %% [markdown]
# Compare it with the pseudo-perplexity of another BERT with the same tokenizer, but never with a perplexity. It is
# useful for comparing sentences: which of two is more natural?
#
# ## 7.11 What was left out
#
# - **What it is all for.** A BERT that fills in masks is not useful by itself. Its vectors are: with a new head on
#   `[CLS]` or on every position, and a little fine-tuning, it classifies texts (lesson 08) and answers questions
#   (lesson 09).
# - **Whole-word masking.** If one of a word's three pieces is masked, it is easy to predict from the other two.
#   `whole_word_masking=True` masks all pieces of a word together, as BERT's authors did in a later release. SpanBERT
#   (Joshi et al. 2020) masks spans of words.
# - **How much to mask.** 15 % was a guess in 2018. Wettig et al. 2023 found 40 % as good or better for large models.
# - **A target at every token.** In ELECTRA (Clark et al. 2020), a small BERT replaces some words, and a second model
#   predicts for *every* token whether it is the original. This is the "kept or replaced?" question of section 7.6 as
#   the only objective.
# - **Size.** The paper's BERT-base has 12 layers of width 768 and 110 million parameters, ours 0.2 million. `python
#   train.py bert-storyworld` trains a larger one on whole stories, in a few minutes.
# - **Generating text with BERT.** BERT is not made for it: it predicts each mask independently of the others. Two
#   `[MASK]` in a row may become *Anna* and *he*.
#
# **Further reading.** Devlin, Chang, Lee & Toutanova 2019, *BERT* (sections 3.1, A.1, C.2). Liu et al. 2019, *RoBERTa:
# A Robustly Optimized BERT Pretraining Approach* (section 4). Lan et al. 2020, *ALBERT*. Salazar, Liang, Nguyen &
# Kirchhoff 2020, *Masked Language Model Scoring*. Clark, Luong, Le & Manning 2020, *ELECTRA*. Wettig, Gao, Zhong & Chen
# 2023, *Should You Mask 15% in Masked Language Modeling?* Joshi et al. 2020, *SpanBERT*. Rogers, Kovaleva & Rumshisky
# 2020, *A Primer in BERTology*, for what such models have been found to know.
#
# **Now you.** `python -m lessons check 7` creates your file, `lessons/mine/07_bert.py`, with seven exercises in it.
# When the checks pass, `python -m lessons run 7 --mine` trains the models above with your masks and your loss.
