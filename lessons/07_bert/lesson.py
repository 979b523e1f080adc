# %% [markdown]
# # 07 BERT
#
# - **Question:** How does a model learn to read, if it may look at both sides of every word?
# - **Teaches:** why looking both ways needs another objective; the encoder and its padding mask; masked language
#   modeling and what 80/10/10 is for; next-sentence prediction and its critics; pseudo-perplexity
# - **Minutes:** 100 to read and solve, 1 to run
#
# You need: attention and masks (lesson 03), the block, positions and the shifted loss (lesson 04), and perplexity
# (lesson 01). The method is that of *BERT: Pre-training of Deep Bidirectional Transformers for Language
# Understanding* (Devlin, Chang, Lee & Toutanova 2019), called "the paper" here; "RoBERTa" is Liu et al. 2019, which
# took it apart and put it together again.
#
# Letters: B batch, T length of a row, C width of the model, V size of the vocabulary, N number of ordinary tokens.

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
from llmasos.nn import explicit_attention
from llmasos.objectives import IGNORE_INDEX, BERTPretraining, MaskedLM, collate_inputs
from llmasos.objectives.masked import forward as ask
from llmasos.objectives.masked import masked_targets
from llmasos.tasks.bert_pretraining import EncodedPairs, fill_masks, piece
from llmasos.tokenizers import CharTokenizer, WordPieceTokenizer
from llmasos.training.optimizers import make_optimizers, set_learning_rate
from llmasos.training.recipe import TrainingSettings
from llmasos.training.schedules import learning_rate_factor

SEED = seed()
torch.manual_seed(SEED)
torch.set_num_threads(min(2, torch.get_num_threads()))
torch.set_printoptions(precision=2, sci_mode=False)

# %% [markdown]
# ## 7.1 A word between two sides
#
# > *Once there was a shy* ▢ *called Paul, who lived next to the old mill.*
#
# Which word is missing? You know it, because you have read on: *boy*. The GPT of lesson 04 cannot know it. At this
# place it has seen *Once there was a shy*, and the best it can do is to give half of its probability to *boy* and
# half to *girl*. For a model that is to write, that is right: what comes next does not exist yet. But for a model
# that is to *understand* a text which lies there complete (is this review friendly? where in the story is the
# answer?), it is a strange rule. Half of what tells the meaning of a word stands to its right.
#
# So take the blocks of lesson 04, and take away the causal mask: every position may look at every other. That is
# easily done. What is hard is the next question: **what should such a model be asked in training?**

# %% [markdown]
# ## 7.2 Why the old question will not do
#
# The question that we know is: which token comes next? Ask it of a model that looks both ways, and it learns something
# else. The token after position $t$ is at position $t + 1$, and the model may look there. It needs no grammar and no
# story, only one head that looks one step to the right. Here is one that tries, letter by letter: one layer, no causal
# mask, next-letter loss.

# %%
texts = {split: list(stories(split, n)) for split, n in (("train", 3000), ("val", 200))}
letters = CharTokenizer.train([story.text for story in texts["train"]])
T_LETTERS = 24
windows = Windows(np.concatenate([letters.encode(s.text + "\n") for s in texts["train"][:500]]), T_LETTERS)
val_windows = Windows(np.concatenate([letters.encode(s.text + "\n") for s in texts["val"][:60]]), T_LETTERS, "val")
whole_windows = [window for window in val_windows.validation_windows() if len(window) == T_LETTERS + 1]
val_windows = torch.from_numpy(np.stack(whole_windows).astype(np.int64))  # (W, T + 1)


def small_bert(vocab_size, context_length, n_layers):
    """A BERT of width 64 with four heads."""
    torch.manual_seed(SEED)
    config = ModelConfig(
        family="bert", vocab_size=vocab_size, context_length=context_length, n_layers=n_layers, n_heads=4, d_model=64,
        norm_position="post", activation="gelu",
    )  # fmt: skip
    return BERT(config)


def train_model(model, loss_of, steps, learning_rate, warmup=30):
    """Train with the library's Muon; `loss_of(step)` gives the loss. Returns the points of the smoothed loss curve."""
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


copier = small_bert(letters.vocab_size, T_LETTERS, n_layers=1)


def next_letter_loss(step):
    rows = torch.from_numpy(windows.batch(SEED, step * 16, 16))  # (B, T + 1)
    logits = copier(rows[:, :-1]).masked  # (B, T, V): every position has seen every other
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())


points = train_model(copier, next_letter_loss, steps=150, learning_rate=2e-2)
print(f"after {points[-1][0]} steps the training loss is {points[-1][1]:.2f} nats per letter")
predict(
    "a model that knows one letter only is at 2.3 (lesson 03). Now this one is given the first 12 letters of a window, "
    "and nothing else, and asked for letter 13. Is its loss 0.1, 1, 2.3, or more than without training (4.1)?"
)

# %%
with torch.no_grad():
    seen = copier(val_windows[:, :-1]).masked[:, :-1]  # asked about what it can see, except at the last position
    with_answer = F.cross_entropy(seen.flatten(0, 1), val_windows[:, 1:-1].flatten()).item()
    blind = copier(val_windows[:, :12]).masked[:, -1]  # (W, V): at the end of what there is
    without = F.cross_entropy(blind, val_windows[:, 12]).item()
result("next letter, the answer in sight, nats", with_answer, 0.008, 0.01)
result("next letter, the text ends here, nats", without, 5.8, 1.5)

# %% [markdown]
# It has become perfect at something useless. There was no error in the code, and the training loss looked splendid.
# **A loss that is too good is a reason to look for the answer in the input.**
#
# Could we ask a position for its *own* token, and forbid it to look at itself? With one layer of attention that can be
# arranged. With two the token comes back by a detour: in the first layer the neighbor looks at me, in the second I
# look at the neighbor. In the paper's words, each word would "indirectly see itself" (section 3.1, task 1). Watch it,
# with attention alone and nothing around it, not even queries (all scores are equal). We change the vector at position
# 2, let nobody look at itself, and see whose output moves.

# %%
x = torch.randn(1, 1, 5, 8)  # (B, H, T, D)
changed = x.clone()
changed[..., 2, :] += 1.0
not_itself = ~torch.eye(5, dtype=torch.bool)  # (T, T): everybody but oneself
for n_layers in (1, 2):
    a, b = x, changed
    for _ in range(n_layers):
        a, b = (explicit_attention(0 * y, 0 * y, y, not_itself)[0] for y in (a, b))  # the mean of all the others
    moved = (a != b).any(dim=-1)[0, 0]
    print(f"{n_layers} layer{'s' * (n_layers - 1)}:", ["moved" if m else "same" for m in moved])

# %% [markdown]
# With one layer position 2 alone does not notice its own change; with two it does. There is only one safe way not to
# let a word be seen: **take it out of the input.** That is the idea of BERT. Hide some words, and ask for those.

# %% [markdown]
# ## 7.3 The encoder: no causal mask, but a padding mask
#
# An encoder block is the block of lesson 04 without the causal mask: attention, then feed-forward, each in a residual
# connection with a norm (after the sum, "post-norm", in BERT). In the library: `EncoderBlock` in
# `llmasos/nn/blocks.py`, assembled in `llmasos/models/bert.py`.
#
# One mask is needed all the same. A GPT is trained on windows of equal length, cut from a long text. BERT reads
# sentences, which are not of equal length; to stand in one tensor, the short ones are padded with a token `[PAD]`.
# Under a causal mask, padding on the right would be harmless, because nobody looks to the right. Here everybody would
# look at it. So *padding may not be looked at*: in the mask (B, 1, T, T) of a row whose last two tokens are padding,
# the last two columns are False.
#
# $$ \mathrm{mask}_{b,t,s} = \mathrm{real}_{b,s} \qquad\text{(whoever looks, $t$, and in every head)} $$
#
# What padding itself looks at does not matter: nobody reads its output. How do you test such a mask? As in lesson 03:
# change what must not matter. The same sentence, alone and in the company of a longer one, must get the same vectors.

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
# Without the mask a sentence means something else in another batch. (And the loss of a test set depends on the batch
# size. When you see that happen, look for the padding.) Exercise **padding_mask**.

# %% [markdown]
# ## 7.4 What BERT reads
#
# **Pieces of words.** In lesson 02 BPE began with letters and merged what often stands side by side. BERT's *WordPiece*
# (Schuster & Nakajima 2012; Wu et al. 2016, section 4.1) has a vocabulary of the same kind and another way to use it: a
# word is cut from the left, **longest piece first**. Try the whole word; if it is not in the vocabulary, try it without
# its last letter, and so on; then continue after the piece that was found. A piece that does not begin its word is
# written with `##`. If at some place not even one letter fits, the *whole word* becomes `[UNK]`.
#
# We teach the small model of this lesson on the first three sentences of every story, so that it can learn something
# in a quarter of a minute. They have some 600 different words.

# %%
openings = {split: [story.sentences[:3] for story in texts[split]] for split in texts}
tokenizer = WordPieceTokenizer.train([" ".join(o) for o in openings["train"]], vocab_size=1000, lowercase=True)
V = tokenizer.vocab_size
print("special tokens", tokenizer.special_tokens)
for word in ("morning", "mornings", "Drummer", "unfriendly", "drumΩ"):
    print(f"{word:>12}  ", " ".join(piece(tokenizer, id) for id in tokenizer.encode(word)))

# %% [markdown]
# Greedy is simple and fast, and not always what a linguist would do: the longest piece from the left may leave an
# ugly rest.
#
# **A frame.** BERT reads one text or two, in this frame:
#
#     ids        [CLS]  once  there  was  …  mill  .  [SEP]  he  had  a  …  .  [SEP]
#     segments     0      0     0     0        0   0    0     1    1   1     1    1
#
# `[SEP]` closes each text. `[CLS]` ("classification") stands for no word: its output vector is where the model is
# asked about the whole. Each position also gets a *segment*: 0 for the first text and what frames it, 1 for the
# second. The embedding of a position is the sum of three learned vectors (the paper's figure 2), and then a norm:
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
# Choose some tokens of the text, the set $M$. Hide them, in a way that the next section is about; call what is left
# $\tilde{x}$. Ask the model at each chosen place which token stood there, and nothing at all others:
#
# $$ L = \frac{1}{|M|} \sum_{t \in M} -\log p(x_t \mid \tilde{x}, t), \qquad
#    p(\cdot \mid \tilde{x}, t) = \operatorname{softmax}(z_t) $$
#
# where $z_t$ (V) are the logits of position $t$, made from its output vector by the *masked-LM head*: a dense layer,
# GELU, a norm, and the transposed token embedding. Note two differences from lesson 04. **Nothing is shifted:** the
# answer to position $t$ is the token at position $t$. And **most positions are not asked.** In the labels they carry
# the number -100, which can be no id, and the loss passes over them: they count neither in the sum nor in its
# divisor. For a batch $|M|$ is the number of chosen tokens of the *whole batch*, so that each of them weighs the
# same. Where nothing is chosen the loss is 0. And as always $-\log p(y) = \log \sum_v e^{z_v} - z_y$ is computed from
# the logits, not by way of $e^z$, which overflows. (Exercise **masked_lm_loss**.)
#
# **Which tokens?** Special tokens take no part: where `[CLS]` or `[PAD]` stands is no secret. Of the others the paper
# takes 15 %. With few, learning is slow (already at 15 %, six tokens of seven teach nothing); with many, too little is
# left to guess from. In this library the *number* is fixed, and chance decides only *which*: of the $n$ ordinary tokens
# of a row,
#
# $$ k = \max\big(1, \lfloor 0.15 \, n + \tfrac12 \rfloor\big) $$
#
# are chosen (none if $n = 0$). To choose $k$ of $n$ fairly, give each of the $n$ a random number and take the $k$
# smallest. (Exercise **choose_masked**. Tossing a coin for each token, as some implementations do, gives 15 % on the
# average, but leaves many a short sentence without any.)

# %%
print("    n   0.15 n   k")
for n in (1, 3, 5, 10, 17, 30):
    print(f"{n:>5} {0.15 * n:8.2f} {max(1, math.floor(0.15 * n + 0.5)):>3}")
numbers = torch.rand(8, generator=torch.Generator().manual_seed(3))
print("numbers", numbers, "→ the two smallest are at", sorted(numbers.argsort()[:2].tolist()))

# %% [markdown]
# **When?** BERT's authors drew the masks once, before training, ten different ones for each text (so RoBERTa, section
# 4.1). RoBERTa draws them again whenever a text is used ("dynamic masking"), with the same or slightly better results
# and no files to keep. That is what `MaskedLM` in `llmasos/objectives/masked.py` does: another epoch, other masks.
#
# ## 7.6 Why not always [MASK]: 80/10/10
#
# The obvious way to hide a token is to put `[MASK]` in its place. But then the model is asked about `[MASK]` only. Of a
# position where a *word* stands it never has to say anything, and could turn everything it knows about that word into
# something of use only to its neighbors. Yet the texts that the model is for later hold no `[MASK]` at all. The paper
# calls this a mismatch between pretraining and fine-tuning (section 3.1), and has a cure. Of the chosen tokens
#
# - 80 % become `[MASK]`,
# - 10 % become a random ordinary token,
# - 10 % stay as they are,
#
# and **all** of them are asked about. The shares are of the *chosen* tokens: of the whole text 12, 1.5 and 1.5 %.
#
# Why a random token, and why one that stays? Put yourself in the place of the model. You are asked about a position
# that shows the word $w$. Either it was kept, or it came there by chance. Write $p(w)$ for the probability of $w$
# judged by the rest of the text, and N for the number of ordinary tokens. Of all chosen tokens a share of $0.1 \,
# p(w)$ was $w$ and was kept; a share of $0.1 / N$ was replaced by $w$. So (Bayes)
#
# $$ P(\text{kept} \mid w \text{ stands here}) = \frac{0.1 \, p(w)}{0.1 \, p(w) + 0.1 / N} = \frac{p(w)}{p(w) + 1/N} $$
#
# The best answer to "which token was it?" is: believe what you see, unless the rest of the text makes it less
# probable than a draw from the urn. And to know that, you must work out $p(w)$ *at every position*, also where a word
# is in plain sight. That is what the 10 + 10 % are for.

# %%
N = int((~tokenizer.special_mask).sum())
predict(
    f"N = {N}. The text makes the word that stands here improbable: p(w) = 0.001. How sure should the model be that it "
    "is the true one: 0.001, 0.1, 0.5 or 0.9?"
)

# %%
print("      p(w)   P(kept)")
for p in (0.5, 0.1, 0.01, 0.001, 0.0001, 0.00001):
    print(f"{p:>10}   {p / (p + 1 / N):.3f}")

# %% [markdown]
# Even a one-in-a-thousand word is believed by half: most improbable words are just what somebody wrote. If 20 % were
# kept and none replaced, "believe what you see" would always be right, and there would be no reason to look at the
# rest; if 20 % were replaced and none kept, what stands there would never be right. It takes both.
#
# Two classical mistakes wait here. Who asks "u < 0.15?" to choose a token, and then "u < 0.8?" of the *same* number,
# always masks, for every chosen token has u < 0.15. And who asks "u < 0.8?" and then, with a *new* number, "u <
# 0.1?", replaces only 2 %. In exercise **apply_80_10_10** each chosen token has one number for its fate, cut at 0.8
# and at 0.9; a second, independent number says *which* random token, if it is to be one.
#
# Does it matter? The paper's own measurements (appendix C.2) say: less than one would think. When the whole model is
# fine-tuned, 100/0/0 is as good within half a point; when its vectors are used as they are, for naming entities, it
# loses almost a point. We will look at it ourselves in section 7.9.

# %% [markdown]
# ## 7.7 Does the second text follow the first?
#
# Many tasks are about two texts: a question and a paragraph, a statement and a consequence. To learn something about
# pairs, BERT has a second objective, *next-sentence prediction*, NSP. The first text comes from some document. In
# half of the examples the second is what really follows it; in the other half it comes from another document. The
# model says which, from the vector of `[CLS]`: a dense layer with tanh (the "pooler") and two logits. The loss of
# both objectives together is the sum of their means (appendix A.2).
#
# It is easily said and easily got wrong (exercise **next_sentence_pair**). The last sentence of a document has no
# successor. A "wrong" second text must not, by accident, be the right one. And nothing but the meaning may tell the
# two kinds apart: if wrong ones always began a document, "Once there was" would give them away.
#
# What does it teach? The critics (RoBERTa, section 4.2; Lan et al. 2020, ALBERT, sections 3.1 and 4.6) said: not much
# about how sentences follow each other. A text from another document is mostly about something else, and to see that
# the *topic* changes, it is enough to know which words go together. Let us try that without any model and without any
# order. In 2,000 whole stories we count in how many the words $a$ and $b$ occur, $n_a$ and $n_b$, and in how many
# both, $n_{ab}$. Of $S$ stories,
#
# $$ \mathrm{PMI}(a, b) = \log \frac{n_{ab} / S}{(n_a / S)(n_b / S)} $$
#
# is positive for words that seek each other's company and negative for such as avoid each other. (To be safe from log
# 0, each $n_{ab}$ is mixed with one story's worth of chance.) Two texts get the mean of the PMI of all words of the
# one with all words of the other; we say "follows" where it is above the median of the training pairs. Once the wrong
# text comes from another story; once from elsewhere in the same story.

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


def company(pair):
    """How well the words of two texts go together, whatever their order."""
    return pmi[np.ix_(np.unique(pair.first), np.unique(pair.second))].mean()


predict("how often is this right where the wrong text is from another story, and how often where it is from the same?")

# %%
for negatives, expected in (("other", 0.81), ("same", 0.52)):
    pairs = {split: SentencePairs(whole[split], max_tokens=60, negatives=negatives) for split in whole}
    threshold = np.median([company(pair) for pair in pairs["train"].validation(SEED, 1000)])
    right = np.mean([(company(pair) > threshold) == pair.follows for pair in pairs["val"].validation(SEED, 1000)])
    result(f"counted words, wrong text from {negatives} story", right, expected, 0.05)

# %% [markdown]
# Counting goes most of the way where the topic changes (the library's trained BERT is right about 0.83 of its pairs,
# says the README), and hardly anywhere where only the order is wrong. So a model that solves NSP need not have learned
# anything about order. RoBERTa found that without NSP its results were as good or slightly better, and left it out;
# ALBERT asked instead which of two neighboring segments came first ("sentence-order prediction"), which the topic
# cannot answer. The library has `--negatives same` and `--no-next-sentence`, to try it.

# %% [markdown]
# ## 7.8 Two small BERTs
#
# Now everything together: one block of width 64, rows of at most 32 tokens, both objectives. Rows are short on
# purpose: attention begins as an average over everything it sees, and learns sooner to look at the right place where
# there are fewer. And as in section 7.2 the optimizer is Muon. With AdamW, NSP did not get going in the library's own
# trials; we suppose that the pooler's tanh saturates (README, "Where the house differs").
#
# We train it twice on the same pairs with the same places hidden: once with 80/10/10, once with 100/0/0.

# %%
ROOM, BATCH, STEPS = 32, 64, 400

# `run 7 --mine` puts your own functions here
choose_masked = part("choose_masked", None)
apply_80_10_10 = part("apply_80_10_10", None)
masked_lm_loss = part("masked_lm_loss", None)


class Masking(MaskedLM):
    """The library's, or yours."""

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


def framed_pairs(split):
    documents = [[np.array(tokenizer.encode(sentence)) for sentence in opening] for opening in openings[split]]
    return EncodedPairs(SentencePairs(documents, ROOM - tokenizer.n_special_tokens(2)), tokenizer)


train, val = framed_pairs("train"), framed_pairs("val").validation()
objective = BERTPretraining(tokenizer)
objective.masked = Masking(tokenizer)
MASK = objective.masked.mask_id


def hidden_by_80_10_10(examples, stream):
    """A batch with hidden tokens."""
    rngs = [lambda row=row: np.random.default_rng([SEED, stream, row]) for row in range(len(examples))]
    return objective.collate(examples, rngs)


def hidden_by_mask_only(batch):
    """The same batch with [MASK] wherever something is asked: 100/0/0."""
    return {**batch, "ids": batch["ids"].masked_fill(batch["targets"] != IGNORE_INDEX, MASK)}


examples = [train.example(SEED, index) for index in range(4000)]  # used several times, each time with other masks
batches = [
    hidden_by_80_10_10([examples[(step * BATCH + row) % len(examples)] for row in range(BATCH)], stream=step)
    for step in range(STEPS)
]


def pretrain(always_mask):
    """Train one BERT; returns it with its loss curve."""
    model = small_bert(V, ROOM, n_layers=1)

    def loss_of(step):
        batch = hidden_by_mask_only(batches[step]) if always_mask else batches[step]
        if masked_lm_loss is None:
            losses, counts = objective.loss_sums(model, batch), objective.n_targets(batch)
            return losses["masked"] / counts["masked"] + losses["next_sentence"] / counts["next_sentence"]
        output = ask(model, batch)  # output.masked: (N, V), the hidden places only
        follows = objective.next_sentence.loss_from(output, batch) / BATCH
        return masked_lm_loss(output.masked[None], masked_targets(batch)[None]) + follows

    return model, train_model(model, loss_of, STEPS, learning_rate=2e-2)


batch = batches[0]
print({name: tuple(value.shape) for name, value in batch.items()}, f"{len(train.pairs.documents):,} openings")
for row in range(2):
    shown = [piece(tokenizer, id) for id in batch["ids"][row].tolist() if id]
    print(("follows:   " if batch["follows"][row] else "does not:  ") + " ".join(shown))
    print("   asked for:", [piece(tokenizer, id) for id in batch["targets"][row].tolist() if id != IGNORE_INDEX])

# %%
usual = np.bincount(np.concatenate([np.concatenate(d) for d in train.pairs.documents]), minlength=V)
batch = hidden_by_mask_only(hidden_by_80_10_10(val, stream=10**6))  # the same hidden places for every model
wanted = masked_targets(batch)
hits = (wanted == usual.argmax()).float().mean().item()
result("always the most frequent token, share right", hits, 0.08, 0.03)
predict(
    f"always saying '{piece(tokenizer, usual.argmax())}' is right about one hidden word in thirteen. What share will "
    "the two models get? And will the one that always saw [MASK] be better or worse at it?"
)

# %%
models, lines = {}, {}
for name, always_mask, expected in (("80/10/10", False, (0.68, 0.72)), ("100/0/0", True, (0.67, 0.70))):
    models[name], lines[name] = pretrain(always_mask)
    with torch.no_grad():
        output = ask(models[name].eval(), batch)
    words_right = (output.masked.argmax(-1) == wanted).float().mean().item()
    pairs_right = objective.next_sentence.n_correct_from(output, batch) / len(val)
    result(f"{name}: hidden words, share right", words_right, expected[0], 0.1)
    result(f"{name}: next sentence, share right", pairs_right, expected[1], 0.12)

# %%
curves({name: line[2:] for name, line in lines.items()}, "Two small BERTs", "step", "both losses", "07-curves")

# %% [markdown]
# **What to see.** Both models fill about two gaps in three, and neither does it better: for *filling gaps* the 10 +
# 10 % are neither needed nor harmful. (Over five seeds the first was right about 0.65 to 0.73 of the words, the
# second about 0.66 to 0.70.) And both are well above a coin at telling which sentences follow each other, from a
# dozen words each.
#
# The line of 100/0/0 lies a little higher for a simple reason: all of its questions are gaps, while one tenth of the
# other's show the answer. So the two lines *cannot be compared*; the shares above can, since there every hidden word
# is `[MASK]` for both.
#
# Now sentences of our own. `fill_masks` gives the most likely tokens with their probabilities.

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
result("what Paul instead of Anna adds to p(boy)", chances[0] - chances[1], 0.01, 0.06)

# %% [markdown]
# **What to see.** The model knows *what kind* of word is missing: a trait before *girl* (several, alike, as in the
# stories), a time of day after *cold*, the street *behind* the market. In the last two it knows that a boy or a girl
# is missing. But which of the two, the blank of section 7.1, it does not know: the name makes no difference. To know
# that, it would have to learn two dozen names one by one, from the few gaps where it matters; so far it has learned
# what is the same for all of them. (`python train.py bert-storyworld` trains longer, on whole stories. Does that one
# know?)
#
# What has it learned about words? We compare the rows of its token embedding (which is also its output layer) by
# their cosines, after subtracting the mean of all rows.

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
    "Cosines of word embeddings", "07-neighbours",
)  # fmt: skip

# %% [markdown]
# **What to see.** Blocks along the diagonal. Nothing told the model that *foggy* and *windy* are of a kind, or what a
# name is; words that can stand in the same gap have come to lie near each other. And there is one block of names, not
# two: boys and girls are not yet told apart, as we have just seen.
#
# ## 7.9 What 80/10/10 was for
#
# Now the question of section 7.6. Both models are as they would be in use: they are shown held-out texts *without
# any* `[MASK]`. We ask at every ordinary position: which token stands here? It is in plain sight. Then we put a
# random token in place of one in each pair, and ask there.

# %%
predict(
    "one model was asked about words in sight one time in five, the other never. At how many places out of 100 does "
    "each of them say the word that it sees?"
)

# %%
batch = collate_inputs([example.inputs for example in val], tokenizer.pad_id)
ordinary = torch.from_numpy(~tokenizer.special_mask)[batch["ids"]] & batch["attention_mask"]  # (B, T)
generator = torch.Generator().manual_seed(SEED)
place = (torch.rand(ordinary.shape, generator=generator) * ordinary).argmax(dim=1)  # (B,): one place in each row
rows = torch.arange(len(val))
truth = batch["ids"][rows, place]
stranger = torch.randint(5, V, (len(val),), generator=generator)
spoiled = batch["ids"].clone()
spoiled[rows, place] = stranger

for name, expected in (("80/10/10", (0.78, 0.89, 0.02, 0.61)), ("100/0/0", (0.28, 0.40, 0.002, 0.41))):
    with torch.no_grad():
        intact = models[name](batch["ids"], batch["attention_mask"], batch["segments"]).masked  # (B, T, V)
        said = models[name](spoiled, batch["attention_mask"], batch["segments"]).masked[rows, place]  # (B, V)
    first_guess = (intact.argmax(-1) == batch["ids"])[ordinary].float().mean().item()
    p_right = intact.softmax(-1).gather(-1, batch["ids"][..., None])[..., 0][ordinary].mean().item()
    p_wrong = said.softmax(-1).gather(-1, stranger[:, None]).mean().item()
    mended = (said.argmax(-1) == truth).float().mean().item()
    result(f"{name}: the right word in sight, its probability", p_right, expected[0], 0.1)
    result(f"{name}: the right word in sight, first guess", first_guess, expected[1], 0.1)
    result(f"{name}: a wrong word in sight, its probability", p_wrong, expected[2], 0.03)
    result(f"{name}: a wrong word in sight, mended", mended, expected[3], 0.15)

# %% [markdown]
# **What to see.** The model of 100/0/0 does not say what it is looking at. At six places out of ten its first guess
# is not the word that stands there in plain sight. It is not blind: it fills gaps as well as the other, and for that
# it must have read the words around them. But at a word's own position nobody ever asked, so nothing taught it to
# keep the word there. The other model says what it sees, and yet does not believe everything: a stranger that does
# not fit gets next to nothing, as the formula of section 7.6 wants it, and more often than not the right word is
# named in its place. (100/0/0 mends too, since it takes little notice of what it sees at the place itself; but less
# often.)
#
# So 80/10/10 is not for gaps. It is for the vectors of *words in sight*, which is all that a later task gets to read.
# Fine-tuning the whole model can repair the rest, and that fits with the small differences that the paper found
# there.

# %% [markdown]
# ## 7.10 Pseudo-perplexity is not perplexity
#
# How good is BERT as a language model? A GPT gives every text a probability, by the chain rule, and perplexity is
# what that probability is per word (lesson 01). BERT never multiplies anything up: it fills gaps. What people compute
# is this: hide one token at a time, each once, and add up the logarithms (Salazar et al. 2020, *Masked Language Model
# Scoring*; the idea, for other models, is Besag's, 1975):
#
# $$ \text{perplexity} = \exp\Big(-\frac{1}{T} \sum_t \log p(x_t \mid x_1 \dots x_{t-1})\Big), \qquad
#    \text{pseudo-perplexity} = \exp\Big(-\frac{1}{T} \sum_t \log p(x_t \mid \text{all others})\Big) $$
#
# They look alike. Here is a language of four sentences, all equally probable: *Paul he, Tom he, Anna she, Lily she*.
# A perfect model knows these probabilities. What are its two numbers?
#
# - From left to right: the first word is one of four, ln 4 nats. Then the second is certain, 0 nats. Together ln 4
#   for two words, and the perplexity is $e^{(\ln 4) / 2} = 2$.
# - One word hidden at a time: with *he* in sight, the first is one of *two*, ln 2 nats. With *Paul* in sight, the
#   second is certain. Together ln 2, and the pseudo-perplexity is $e^{(\ln 2) / 2} = 1.41$.
#
# The fact that *Paul* goes with *he* was used twice: *he* helped to guess *Paul*, and *Paul* to guess *he*. In
# general, with $H$ for entropy, for two words $X$ and $Y$ and a perfect model,
#
# $$ 2 \ln \text{perplexity} = H(X) + H(Y \mid X) = H(X, Y), \qquad
#    2 \ln \text{pseudo-perplexity} = H(X \mid Y) + H(Y \mid X) $$
#
# and $H(X \mid Y) = H(X, Y) - H(Y) \le H(X)$: to know more never makes a word harder on the average. So the second
# number is never larger. It is no probability of anything: the numbers $\exp(\text{sum of logs})$ of all sentences do
# not add up to one. Let us check:

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
# How far apart can they be? Exercise **better_than_it_is**. And here is the number for our BERT: each token of some
# held-out pairs is hidden once.

# %%
surprise, count = 0.0, 0
for example in val[:40]:
    ids = torch.tensor(example.inputs.ids)
    places = torch.from_numpy(np.flatnonzero(~tokenizer.special_mask[example.inputs.ids]))  # (n,)
    copies = ids.repeat(len(places), 1)  # (n, T): one copy for each place
    copies[torch.arange(len(places)), places] = MASK
    segments = torch.tensor(example.inputs.segments).expand_as(copies)
    with torch.no_grad():
        logits = models["80/10/10"](copies, segments=segments, predict=copies == MASK).masked  # (n, V)
    surprise += F.cross_entropy(logits, ids[places], reduction="sum").item()
    count += len(places)
result("pseudo-perplexity of held-out pairs", math.exp(surprise / count), 2.5, 1.0)

# %% [markdown]
# It may stand beside the pseudo-perplexity of another BERT with the same tokens, and beside no perplexity. What it is
# good for is to compare sentences: which of two is the more natural?
#
# ## 7.11 What was left out
#
# - **What it is all for.** A BERT that fills gaps is of no use by itself. Its vectors are: with a new head on `[CLS]`
#   or on every position, and a little training, it sorts texts (lesson 08) and answers questions (lesson 09).
# - **Whole words.** Of a word in three pieces, one piece hidden is easily guessed from the other two.
#   `whole_word_masking=True` masks all pieces of a word together, as BERT's authors did in a later release. SpanBERT
#   (Joshi et al. 2020) masks spans of words.
# - **How much to hide.** 15 % was a guess of 2018. Wettig et al. 2023 found 40 % as good or better for large models.
# - **Asking about every token.** ELECTRA (Clark et al. 2020) lets a small BERT replace some words and asks a second
#   model of *all* of them: is this the true one? It is the lie detector of section 7.6 as the only objective.
# - **Size.** The paper's BERT-base has 12 layers of width 768 and 110 million parameters, ours 0.2 million. `python
#   train.py bert-storyworld` trains a larger one on whole stories, in some minutes.
# - **Writing with BERT.** It is not made for it: the gaps are filled independently of each other. Two `[MASK]` in a
#   row may get *Anna* and *he*.
#
# **Further reading.** Devlin, Chang, Lee & Toutanova 2019, *BERT* (sections 3.1, A.1, C.2). Liu et al. 2019,
# *RoBERTa: A Robustly Optimized BERT Pretraining Approach* (section 4). Lan et al. 2020, *ALBERT*. Salazar, Liang,
# Nguyen & Kirchhoff 2020, *Masked Language Model Scoring*. Clark, Luong, Le & Manning 2020, *ELECTRA*. Wettig, Gao,
# Zhong & Chen 2023, *Should You Mask 15% in Masked Language Modeling?* Joshi et al. 2020, *SpanBERT*. Rogers,
# Kovaleva & Rumshisky 2020, *A Primer in BERTology*, for what such models were found to know.
#
# **Now you.** `python -m lessons check 7` creates your file, `lessons/mine/07_bert.py`, with seven exercises in it.
# When the checks pass, `python -m lessons run 7 --mine` trains the models above with your masks and your loss.
