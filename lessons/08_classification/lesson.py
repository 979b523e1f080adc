# %% [markdown]
# # 08 Text classification
#
# - **Question:** What does pretraining buy? And when a classifier says "90 % sure", or scores 90 %, what does it
#   mean?
# - **Teaches:** from [CLS] to a label; fine-tuning against a frozen body, random weights and a bag of words; precision,
#   recall, F1; imbalance; intervals and paired comparison; calibration and temperature; shortcuts
# - **Minutes:** 150 to read and solve, 1 to run
#
# You need: the cross-entropy (lesson 01), AdamW and a warmup (lesson 05), and how a BERT is pretrained (lesson 07).
# The way from BERT to a label is section 4.1 of Devlin et al. 2019; other sources are named where they are used.
#
# Letters: B texts in a batch, T positions, C width of the model, N texts, K labels, M bins. The temperature, which most
# papers call T, is τ here.

# %% [setup]
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# %%
import dataclasses
import math

import torch
from torch import nn
from torch.nn import functional as F

from lessons.machinery.lesson_api import part, predict, result, seed
from lessons.machinery.pictures import curves
from llmasos import evaluation
from llmasos.datasets import Examples
from llmasos.datasets.storyworld import stories
from llmasos.hub import load_backbone, load_config, load_tokenizer
from llmasos.models import build_model
from llmasos.objectives import Classification
from llmasos.training.schedules import learning_rate_factor

torch.manual_seed(seed())
torch.set_num_threads(min(2, torch.get_num_threads()))
torch.set_printoptions(precision=2, sci_mode=False)

# %% [markdown]
# ## 8.1 What needs no network
#
# > *… He took a hammer, and soon the drum was in more pieces than before. Finally he went to the tailor for help. "I am
# > sorry," said the tailor. "No one can mend this." Paul kept one small piece of it in a drawer.*
#
# A sad ending. You knew it from the story, and you would have known it with the drum replaced by a kite and the tailor
# by a smith. Can a program learn this from a hundred labeled stories, or from twenty-five? Labels are what is
# expensive: somebody has to read the text and decide. The text itself is cheap.
#
# Three sets of stories, and it matters that they are three. From `train` we learn. `tune` is for decisions about the
# classifier that are not to be made on what it was trained on (section 8.8 has one). `test` is looked at to measure,
# and for nothing else. The stories of `tune` and `test` are about combinations of hero, plot and thing that no story
# of `train` has, so knowing them by heart is no use.

# %%
LABELS, SEED = ("happy", "sad"), seed()

collected = list(stories("train", 400))
order = torch.randperm(len(collected), generator=torch.Generator().manual_seed(SEED)).tolist()
train = [collected[i] for i in order]  # which stories are the first 25 depends on the seed
held_out = list(stories("val", 500))
tune, test = held_out[:200], held_out[200:]

truths = [story.ending for story in test]
print(f"{len(train)} stories to learn from, {len(tune)} to decide by, {len(test)} to measure on")
print({label: truths.count(label) for label in LABELS}, "\n")
print(test[0].text)

# %% [markdown]
# Before any network, two classifiers that need none. The first does not read at all: it always says what is most
# frequent in training. The second, **naive Bayes**, reads words but not their order. It models a text of label $y$ as
# words drawn one by one from that label's bag, and turns this around by Bayes' rule (McCallum & Nigam 1998):
#
# $$ \log p(y \mid x) = \log p(y) + \sum_{w \in x} \log p(w \mid y) + \text{constant}, \qquad
#    p(w \mid y) = \frac{\operatorname{count}(w, y) + 1}{\sum_{v} \operatorname{count}(v, y) + V} $$
#
# It has no gradient and is trained by counting, like the bigrams of lesson 01, and smoothed as they were. It is
# called naive because words are *not* independent.

# %%
predict("how often is the classifier right that never reads? And naive Bayes, from 400 stories: 0.75, 0.85 or 0.95?")


# %%
def naive_bayes(n):
    """Naive Bayes from the first n labeled stories: its answers on the test stories."""
    texts, labels = [story.text for story in train[:n]], [story.ending for story in train[:n]]
    return evaluation.NaiveBayes(texts, labels).predict([story.text for story in test])


result("always happy, accuracy", truths.count("happy") / len(truths), 0.737, 0.001)
bag_of_words = {n: naive_bayes(n) for n in (25, 100, 400)}
for n, expected, spread in ((25, 0.74, 0.03), (100, 0.78, 0.04), (400, 0.847, 0.005)):
    score = evaluation.accuracy(bag_of_words[n], truths).value
    result(f"naive Bayes from {n} stories, accuracy", score, expected, spread)

# %% [markdown]
# Three stories in four end well, so about 0.74 is what a stone would score here. Never read an accuracy without this
# number beside it. From 25 stories naive Bayes is no better than the stone; from 400 it is. The bag of words is the bar
# for everything that follows.

# %% [markdown]
# ## 8.2 From [CLS] to a label
#
# A pretrained BERT (lesson 07) turns a text into one vector for each position. To judge a whole text we need *one*
# vector, and then one linear layer:
#
# $$ c = \tanh(W_p h_0 + b_p), \qquad p(y \mid x) = \operatorname{softmax}(W c + b)_y, \qquad
#    L = -\frac{1}{N} \sum_{i=1}^{N} \log p(y_i \mid x_i) $$
#
# $h_0$ (C,) is what the last block has made of the first token, [CLS]. $W_p$ is the *pooler*, which next-sentence
# prediction has trained already. New are $W$ (K, C) and $b$ (K,) only. Everything, the old weights and the new, is then
# trained to make $L$ small: this is **fine-tuning** (section 4.1 of the paper). Nothing in it is special to BERT. GPT
# does the same with the vector of the *last* token, the only one that has seen all others (Radford et al. 2018, section
# 3.2); an encoder without a [CLS] can take the mean over all positions.
#
# Nobody pre-trains a model for each task. `storyworld-bert` comes with the library: 4 layers of width 128, made as in
# lesson 07 from 12,000 stories *without labels*. (Those of `train` were among them, those of `tune` and `test` not.)

# %%
tokenizer = load_tokenizer("storyworld-bert")
config = dataclasses.replace(load_config("storyworld-bert"), head="classifier", labels=LABELS)
objective = Classification(tokenizer, LABELS)


def encode(texts, labels):
    """Texts and labels as the examples that the objective wants."""
    return [objective.encode(t, None, y, config.context_length) for t, y in zip(texts, labels, strict=True)]


def examples_of(some):
    return encode([story.text for story in some], [story.ending for story in some])


train_examples, tune_examples, test_examples = examples_of(train), examples_of(tune), examples_of(test)
example = test_examples[0]
print(tokenizer.decode(example.inputs.ids))
print(f"{len(example.inputs.ids)} tokens; {example.n_cut} did not fit; label {example.label}: {LABELS[example.label]}")

# %% [markdown]
# The context is 64 tokens and a story has about 130, so it loses its middle: kept are a quarter from its beginning and
# the rest from its end. For reviews that was the best of the ways to cut that were tried (Sun et al. 2019, section
# 5.3.1). Is it good for stories? It keeps the end, where we suspect the answer. Section 8.9 looks into that.
#
# Now one batch on its way through the model, with a head that has learned nothing yet:

# %%
torch.manual_seed(SEED)
model = build_model(config)  # random weights everywhere …
load_backbone(model, "storyworld-bert")  # … and now the pretrained ones under the head
batch = objective.collate(encode([test[0].text, "Anna sang.", test[1].text], [truths[0], "happy", truths[1]]))
with torch.no_grad():
    features = model.backbone.hidden_states(
        batch["ids"], batch["attention_mask"], batch["segments"]
    )  # (B, T) → (B, T, C)
    summary = model.backbone.pooled(features, batch["attention_mask"])  # (B, C): the pooler, on the first real position
    logits = model.head(summary)  # (B, K)
new = sum(p.numel() for p in model.head.parameters())
print("features", tuple(features.shape), " summary", tuple(summary.shape), " logits", tuple(logits.shape))
print(f"{new} new weights, {sum(p.numel() for p in model.backbone.parameters()):,} old ones")
print(f"loss {F.cross_entropy(logits, batch['labels']):.2f} nats; ln 2 = {math.log(2):.2f}")

# %% [markdown]
# **Padding.** The second text of that batch is short, and its row is padded with [PAD] to the length of the others.
# The boolean `attention_mask` says where (True = part of the text), and attention leaves the rest out (lesson 03). But
# the features still have 64 rows for it, and what stands in the padded ones has no meaning. Whoever sums up a text has
# to leave them out, too. For the mean that is
#
# $$ c = \frac{\sum_t r_t \, h_t}{\sum_t r_t}, \qquad r_t = 1 \text{ where real, else } 0. $$
#
# Three ways to get it wrong: to take the mean over all rows, so that a text's summary depends on how long its
# neighbors in the batch are; to zero the padding and still divide by T; and to multiply it by 0 where it holds an
# infinity or a NaN, as a fully masked row of an attention may:

# %%
h, r = torch.tensor([2.0, 4.0, math.nan]), torch.tensor([True, True, False])  # one feature, three positions
print("times zero       ", (h * r).sum() / r.sum())
print("zero put in place", h.masked_fill(~r, 0.0).sum() / r.sum())

# %% [markdown]
# The first real position is not always position 0, either, nor the last one T - 1: texts can be padded on the left, as
# is usual for models that write on. Exercise **summaries** asks for all three summaries, whatever side the padding is
# on.

# %% [markdown]
# ## 8.3 Who was taken for whom
#
# One number says how often a classifier is right. The **confusion matrix** says how it is wrong: row $i$, column $j$
# counts the texts whose true label is $i$ and that were given $j$. (Some books have it the other way around. Look at
# the axes.) Here is naive Bayes from 100 stories:

# %%
matrix = evaluation.confusion_matrix(bag_of_words[100], truths, LABELS)
print(evaluation.confusion_table(matrix, LABELS))

# %% [markdown]
# Take one label, say *sad*, and ask of each text: is it sad, and was it called so?
#
# - **TP**, true positives: sad and called sad. On the diagonal.
# - **FP**, false positives: called sad, but is not. The rest of the column.
# - **FN**, false negatives: sad, but not called so. The rest of the row.
#
# $$ \text{precision } P = \frac{TP}{TP + FP}, \qquad \text{recall } R = \frac{TP}{TP + FN}, \qquad
#    F_1 = \frac{2 P R}{P + R} = \frac{2\,TP}{2\,TP + FP + FN} $$
#
# Precision: when it says *sad*, can I believe it? Recall: of the sad stories, how many does it find? Each can be had
# for nothing. Call every story sad, and recall is 1; call only the one sad that you are surest of, and precision is 1.
# $F_1$, their **harmonic** mean, is near the smaller of the two: for $P$ = 0.25 and $R$ = 1 the plain mean is 0.63,
# the harmonic one 0.40 (van Rijsbergen 1979, chapter 7).
#
# A fraction without anything to divide (precision, when nothing was called *sad*) we count as 0. The **macro-F1** is
# the mean of the labels' $F_1$, each label counting the same; a label that occurs neither among the truths nor among
# the answers has no $F_1$ and is left out. Two other averages go by similar names. The *micro*-F1 adds up the TP, FP
# and FN of all labels first; with one label for each text every mistake is one FP and one FN, and it is just the
# accuracy. And some average precision and recall over the labels first and take the $F_1$ of these means: other
# numbers under the same name (Opitz & Burst 2019). Say which one you mean.

# %%
row, column = matrix[1].sum(), matrix[:, 1].sum()  # of the label "sad": all that are, all that were called so
print(f"sad: TP {matrix[1, 1]}, FP {column - matrix[1, 1]}, FN {row - matrix[1, 1]}")


def library_scores(truths, predictions, n_labels):
    """Everything of this section, by the library: what exercise `label_scores` asks for."""
    given, true, labels = predictions.tolist(), truths.tolist(), range(n_labels)
    each = evaluation.per_class(given, true, labels)
    return {
        "confusion": torch.from_numpy(evaluation.confusion_matrix(given, true, labels)),
        "precision": torch.tensor([one.precision for one in each]),
        "recall": torch.tensor([one.recall for one in each]),
        "macro_f1": evaluation.macro_f1(given, true, labels).value,
    }


label_scores = part("label_scores", library_scores)  # `run 8 --mine` puts your own functions here
test_labels = torch.tensor([LABELS.index(y) for y in truths])  # (N,)


def numbers(answers):
    """Labels as numbers (N,)."""
    return torch.tensor([LABELS.index(answer) for answer in answers])


def report(name, predictions):
    """One line for a classifier's answers on the test stories (N,); returns its scores."""
    s = label_scores(test_labels, predictions, len(LABELS))
    right = (predictions == test_labels).double().mean().item()
    print(
        f"{name:<38} accuracy {right:.2f}   sad: precision {s['precision'][1]:.2f}, recall {s['recall'][1]:.2f}"
        f"   macro-F1 {float(s['macro_f1']):.2f}"
    )
    return {"accuracy": right, "recall": float(s["recall"][1]), "macro_f1": float(s["macro_f1"])}


always_happy = torch.zeros_like(test_labels)
predict("what is the macro-F1 of the classifier that always says happy: 0.75, 0.5, or less?")

# %%
report("always happy", always_happy)
for n, answers in bag_of_words.items():
    report(f"naive Bayes from {n} stories", numbers(answers))

# %% [markdown]
# Always *happy* has an $F_1$ of 0.85 for happy (precision 0.74, recall 1) and 0 for sad: macro-F1 0.42. Accuracy
# hardly notices that a quarter of all stories is never found; macro-F1 does. And it sees that naive Bayes from 25
# stories, with the accuracy of the stone, is not quite one: it does find some of the sad ones, and pays for each with
# a happy one.

# %% [markdown]
# ## 8.4 Three happy stories in four
#
# What does imbalance do to *learning*? The loss is a mean over texts, so three quarters of it are about happy stories.
# If finding the sad ones is what matters (think of the rare disease, not of the story), give each text the weight of
# its label, $w_y$:
#
# $$ L_w = \frac{\sum_i w_{y_i} \left( -\log p(y_i \mid x_i) \right)}{\sum_i w_{y_i}} $$
#
# It is a weighted *mean*: the divisor is the sum of the texts' weights, not N, and not the sum over the K labels. So
# weights of 1 and 3 and weights of 10 and 30 are the same loss, and a batch that happens to hold many rare texts does
# not take larger steps than others. For two texts with losses 0.2 and 0.6 and weights 1 and 3 it is (0.2 + 1.8) / 4 =
# 0.5. And the logarithm must not be taken of a probability that has been rounded to 0, nor of a sum that has
# overflowed:
#
# $$ -\log p_y = \log \sum_k e^{z_k} - z_y = \log \sum_k e^{z_k - m} + m - z_y, \qquad m = \max_k z_k, $$
#
# of which the right-hand side is what `torch.logsumexp` computes.
#
# What comes of it? If texts of label $y$ count $w_y$ times, we learn as from a world in which they are $w_y$ times as
# frequent. By Bayes' rule the best possible model under these weights is
#
# $$ p_w(y \mid x) = \frac{w_y \, p(y \mid x)}{\sum_k w_k \, p(k \mid x)}, \qquad\text{that is,}\qquad
#    z_y \to z_y + \log w_y. $$
#
# So the same can be had afterwards and for nothing, by adding $\log w_y$ to the logits (Elkan 2001 says when which
# weight is right). And the probabilities are no longer those of our world: weights spoil *calibration*, of which more
# in section 8.7.
#
# We try it on the cheapest classifier that has a BERT in it: the body stays **frozen**, as pretraining left it. Each
# story's vector at [CLS] is computed once (before the pooler, which knows about next sentences only), and a linear
# layer learns on it, a **linear probe**.

# %%
summaries = part("summaries", None)
weighted_cross_entropy = part("weighted_cross_entropy", lambda z, y, w: F.cross_entropy(z, y, weight=w))


@torch.no_grad()
def frozen_summaries(model, examples):
    """What the body makes of each text at its first position, [CLS]: (N, C)."""
    rows = []
    for start in range(0, len(examples), 100):
        batch = objective.collate(examples[start : start + 100])
        h, attention_mask = (
            model.backbone.hidden_states(batch["ids"], batch["attention_mask"], batch["segments"]),
            batch["attention_mask"],
        )
        rows.append(h[:, 0] if summaries is None else summaries(h, attention_mask, "first"))
    return torch.cat(rows)


def probe(x, y, weights=(1.0, 1.0), decay=0.05):
    """A linear layer on summaries (N, C), trained to the end; the second term keeps its weights small."""
    layer, w = nn.Linear(x.size(1), len(LABELS)), torch.tensor(weights)
    nn.init.zeros_(layer.weight)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=100)

    def loss():
        optimizer.zero_grad()
        value = weighted_cross_entropy(layer(x), y, w) + decay / 2 * layer.weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return layer


model.eval()
x_train, x_test = frozen_summaries(model, train_examples), frozen_summaries(model, test_examples)
center, scale = x_train.mean(dim=0), x_train.std(dim=0)  # from the training stories alone
x_train, x_test = (x_train - center) / scale, (x_test - center) / scale
train_labels = torch.tensor([e.label for e in train_examples])

# %%
predict("a probe on 400 stories, sad ones weighted three times. What rises, what falls: recall, precision, accuracy?")

# %%
with torch.no_grad():
    plain = probe(x_train, train_labels)(x_test)  # (N, K) logits
    heavy = probe(x_train, train_labels, (1.0, 3.0))(x_test)
    moved = plain + torch.tensor([0.0, math.log(3.0)])
recall = {}
for name, z in (("weights 1 and 1", plain), ("weights 1 and 3", heavy), ("1 and 1, then log 3 added", moved)):
    recall[name] = report(f"probe, {name}", z.argmax(dim=1))["recall"]
    print(f"{'':38} mean probability of sad {z.softmax(dim=1)[:, 1].mean():.2f}   (in truth 0.26)")
result("probe, weights 1 and 1: recall of sad", recall["weights 1 and 1"], 0.785, 0.06)
result("probe, weights 1 and 3: recall of sad", recall["weights 1 and 3"], 0.9, 0.06)

# %% [markdown]
# **What to see.** Weights trade: recall of the rare label rises, its precision falls. Adding log 3 to the logits of
# the plain probe does much the same. And both believe in more sad stories than there are: that is what they were told.
# Whether to weight is not a question of taste but of cost: what does a missed sad story cost you, and what a false
# alarm? With an equal price on both the plain loss is right, however rare the label is. Exercise
# **weighted_cross_entropy** asks for the loss.

# %% [markdown]
# ## 8.5 What pretraining buys
#
# Now the whole model learns. The loop is the usual one (lesson 05): AdamW, a short warmup, then down along a cosine; 60
# steps of 8 stories, whether there are 25 of them or 400. We compare
#
# - **fine-tuned**: the pretrained body, all weights learn;
# - **probe**: the pretrained body, frozen; a linear layer learns;
# - **random weights**: the same architecture, all weights learn, nothing was pretrained;
# - **naive Bayes** and **always happy**, from section 8.1.

# %%
STEPS, BATCH, RATE = 60, 8, 5e-4


def fine_tune(examples, pretrained=True):
    """Train all weights on some examples; returns the model, in evaluation mode."""
    torch.manual_seed(SEED)
    model, stream = build_model(config), Examples(examples)
    if pretrained:
        load_backbone(model, "storyworld-bert")
    optimizer = torch.optim.AdamW(model.parameters())
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = RATE * learning_rate_factor(step, STEPS, 8, "cosine", 0.0)
        batch = objective.collate([stream.example(SEED, step * BATCH + i) for i in range(BATCH)])
        loss = objective.loss_sums(model, batch)["label"] / objective.n_targets(batch)["label"]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


@torch.no_grad()
def logits_of(model, examples):
    """The model's logits for some examples: (N, K)."""
    batches = [objective.collate(examples[start : start + 100]) for start in range(0, len(examples), 100)]
    return torch.cat([model(batch["ids"], batch["attention_mask"], batch["segments"]) for batch in batches])


predict("which is better, pretrained weights and 25 labels, or random weights and 400? And how much, over 0.74?")

# %%
SIZES = (25, 100, 400)
models, logits, answers = {}, {}, {}
for n in SIZES:
    models[n] = fine_tune(train_examples[:n])
    logits[n] = logits_of(models[n], test_examples)
    answers["fine-tuned", n] = logits[n].argmax(dim=1)
    answers["probe", n] = probe(x_train[:n], train_labels[:n])(x_test).argmax(dim=1)
    answers["naive Bayes", n] = numbers(bag_of_words[n])
    answers["always happy", n] = always_happy
    if n > 25:
        random_model = fine_tune(train_examples[:n], pretrained=False)
        answers["random weights", n] = logits_of(random_model, test_examples).argmax(dim=1)
scores = {key: report(f"{key[0]}, {key[1]} stories", given) for key, given in answers.items()}

# %%
for kind, n, expected, spread in (
    ("fine-tuned", 25, 0.871, 0.06),
    ("fine-tuned", 100, 0.932, 0.09),
    ("fine-tuned", 400, 0.975, 0.035),
    ("probe", 25, 0.765, 0.04),
    ("probe", 100, 0.82, 0.03),
    ("probe", 400, 0.893, 0.02),
    ("random weights", 100, 0.737, 0.02),
    ("random weights", 400, 0.737, 0.02),
):
    result(f"{kind}, {n} stories, accuracy", scores[kind, n]["accuracy"], expected, spread)
result("fine-tuned, 100 stories, macro-F1", scores["fine-tuned", 100]["macro_f1"], 0.904, 0.14)
result("random weights, 400 stories, macro-F1", scores["random weights", 400]["macro_f1"], 0.424, 0.03)

# %%
kinds = ("fine-tuned", "probe", "naive Bayes", "always happy", "random weights")
lines = {k: [(math.log2(n), scores[k, n]["accuracy"]) for n in SIZES if (k, n) in scores] for k in kinds}
curves(lines, "What pretraining buys", "labeled stories, log₂ (25, 100, 400)", "accuracy on test", "08-learning")

# %% [markdown]
# **What to see.** The lowest lines lie on top of each other: with random weights, 400 labels and these 60 steps have
# taught the model what a stone knows, that most stories are happy. The same architecture in the same loop, but begun
# from pretrained weights, gets from 25 labels about what naive Bayes gets from 400. That is what pretraining buys:
# *labels*. To fill in words that were hidden anywhere in a story, the model had to find out which words and sentences
# go with which; whoever comes with a question about the story then only has to say which of all that is asked for.
#
# The probe lies in between. What is the exercise asks for in the frozen features, more or less; bending the features
# toward the question brings the rest. The price is that the body then serves this question only, and that every
# weight of it has to be stored once more for each task.
#
# How many labels does it take until random weights leave the stone behind? How many steps? Exercise 7 is a good place
# for this.

# %% [markdown]
# ## 8.6 Is it luck?
#
# 300 test stories are a sample. Other 300 would have given another accuracy. If $k$ of $n$ independent texts are right
# and the true share is $p$, then $k / n$ has the standard deviation
#
# $$ \sqrt{p (1 - p) / n}, $$
#
# for $p$ = 0.9 and $n$ = 300 that is 0.017, and the true share lies within about two of these. Near 0 or 1, and for
# small $n$, the library uses the exact interval instead: all shares $p$ under which what was seen is not too rare
# (Clopper & Pearson 1934). Where a score is no share, such as macro-F1, the **bootstrap** gives one: draw N texts out
# of the N *with replacement*, score them, do it a thousand times, and take the middle 95 % of the scores (Efron 1979).

# %%
for kind, n in (("fine-tuned", 400), ("probe", 400), ("probe", 100), ("naive Bayes", 100)):
    given = [LABELS[i] for i in answers[kind, n].tolist()]
    print(f"{kind + ',':<12} {n} stories: {evaluation.accuracy(given, truths)}")
    print(f"{'':25}{evaluation.macro_f1(given, truths, LABELS)}")

# %% [markdown]
# Do two intervals that overlap mean that the difference may be luck? **No.** Both classifiers answered *the same* 300
# stories. Most of them both got right, some are hard for both, and these say nothing about which is better. What counts
# are the stories on which they differ. Let A be right and B wrong on $a$ of them, and the other way around on $b$.
# Then
#
# $$ \hat d = \frac{a - b}{n}, \qquad
#    \operatorname{Var} \hat d \approx \frac{1}{n^2}\left(a + b - \frac{(a - b)^2}{n}\right), $$
#
# since each story contributes +1, -1 or 0 to the difference. The **paired bootstrap** does the same for any score: draw
# the same texts for both. If the interval of the difference does not hold 0, it is more than luck in the choice of the
# test stories.

# %%
right = {key: (given == test_labels).numpy() for key, given in answers.items()}


def compare(one, other, n):
    """The difference of two accuracies in two ways."""
    x, y = right[one, n], right[other, n]
    a, b = int((x & ~y).sum()), int((~x & y).sum())
    deviation = math.sqrt(a + b - (a - b) ** 2 / len(x)) / len(x)
    print(f"{one} against {other}, {n} stories: only the first is right on {a}, only the second on {b} of {len(x)}")
    print(f"   by the formula   {(a - b) / len(x):.3f} ± {1.96 * deviation:.3f}")
    print(f"   by the bootstrap {evaluation.paired_bootstrap(x, y)}")


compare("fine-tuned", "probe", 400)
compare("probe", "naive Bayes", 100)
compare("fine-tuned", "naive Bayes", 100)

# %% [markdown]
# **What to see.** Take the probe and naive Bayes, from 100 stories each. With seed 0 they differ on 68 stories, 35 to
# 33: about as coins would fall. With seed 1 (`run 8 --seed 1`) it is 28 to 13. The accuracies are then 0.823
# (0.775–0.865) and 0.773 (0.722–0.819), so the two intervals overlap by half, and yet that of the difference,
# 0.007–0.090, does not hold 0. Do not compare two intervals; count the stories on which the two differ.
#
# What such an interval does *not* cover: another draw of the training stories, and another seed. It says how these two
# trained models compare on new stories, not how the two *methods* do; just now it said one thing with seed 0 and
# another with seed 1. For that, train several times: the spreads beside this lesson's results are over five seeds,
# each with other training stories. Fine-tuned from 100 stories the accuracy ran from 0.86 to 0.96, and that is a good
# deal more than the choice of test stories does.

# %% [markdown]
# ## 8.7 Does it know what it knows?
#
# A classifier gives a probability with each answer. The probability of the label that it chose, the largest of the K,
# is its **confidence**. Can it be believed? It is **calibrated** if, of all answers given with confidence 0.8, 80 %
# are right (Guo et al. 2017, equation 1):
#
# $$ P(\hat Y = Y \mid \hat P = p) = p \quad\text{for all } p. $$
#
# Calibrated is not the same as good. Always *happy*, always with 75 % confidence: perfectly calibrated, and knows
# nothing. But a classifier that is right in 80 % of the cases and says 99 % each time cannot tell you which of its
# answers to check.
#
# To measure it we have to pool texts of similar confidence, since a single answer is right or wrong and never 80 %
# right. The **expected calibration error** cuts the confidences into M bins of equal width, $B_m$ holding those in
# $(m/M, (m+1)/M]$, and takes the mean gap between confidence and accuracy, weighted by how many texts a bin holds
# (equation 3):
#
# $$ \operatorname{ECE} = \sum_{m} \frac{|B_m|}{N} \Bigl| \operatorname{acc}(B_m) - \operatorname{conf}(B_m) \Bigr| $$
#
# Each part of it has a reason. *Weighted*, or else a bin with a single text counts as much as one with a hundred. The
# *absolute value*, or else too sure here and not sure enough there cancel. The *mean confidence* of the texts in a
# bin, not its middle. *Of the chosen label*: the probability of label 1 is another question. And one answer with
# confidence 1 belongs into the last bin. By hand: three answers with confidence 0.6, two of them right, and one with
# 0.9, wrong; two bins of ten are filled. The gaps are |2/3 - 0.6| = 0.07 and |0 - 0.9| = 0.9, and the error is ¾ ·
# 0.07 + ¼ · 0.9 = 0.28.
#
# Take the linear probe from 100 stories, and this time hold its weights back hardly at all. Its summaries have 128
# features, more than it has stories, so a plane separates the happy from the sad ones without a mistake. From there on
# the loss can always be made smaller by making all weights larger: the answers stay, the confidence grows (Guo et al.
# section 3 find the same in large networks, which keep lowering the loss when the error has long stopped falling).


# %%
def library_error(probabilities, labels, n_bins):
    """What exercise `expected_calibration_error` asks for, by the library."""
    confidence, chosen = probabilities.max(dim=1)
    return evaluation.calibration_error(confidence.tolist(), (chosen == labels).tolist(), n_bins).value


expected_calibration_error = part("expected_calibration_error", library_error)
x_tune = (frozen_summaries(model, tune_examples) - center) / scale
tune_labels = torch.tensor([e.label for e in tune_examples])
free = probe(x_train[:100], train_labels[:100], decay=0.0003)
with torch.no_grad():
    free_train, free_tune, free_test = free(x_train[:100]), free(x_tune), free(x_test)  # (N, K) logits each
right_on_train = (free_train.argmax(dim=1) == train_labels[:100]).double().mean()
right_on_test = (free_test.argmax(dim=1) == test_labels).double().mean().item()
print(f"right on its training stories {right_on_train:.2f}, on the test stories {right_on_test:.2f}")
predict("what is its mean confidence on the test stories: 0.75, 0.85 or 0.95?")


# %%
def error_of(z):
    """The calibration error of logits for the test stories, in ten bins."""
    return float(expected_calibration_error(z.softmax(dim=1), test_labels, 10))


def reliability(z, groups=6):
    """Texts sorted by confidence, as many in each group: points (mean confidence, share of right answers)."""
    confidence, chosen = z.softmax(dim=1).max(dim=1)
    ranking = confidence.argsort()
    ranked = zip(confidence[ranking].chunk(groups), (chosen == test_labels)[ranking].chunk(groups), strict=True)
    return [(c.mean().item(), right.double().mean().item()) for c, right in ranked]


result("probe, 100 stories: mean confidence", free_test.softmax(dim=1).amax(dim=1).mean().item(), 0.95, 0.02)
result("probe, 100 stories: calibration error", error_of(free_test), 0.14, 0.05)
for c, share in reliability(free_test):
    print(f"   50 stories with a mean confidence of {c:.2f}: right on {share:.2f}")

# %% [markdown]
# **What to see.** It knows its training stories by heart and says nearly 1 to everything. On new stories it is right
# on about 82 of 100, and says 95. Its confidence is not worthless: where it is a little less sure it is wrong more
# often, so the *order* of the confidences is useful. Their *values* are not.
#
# Exercise **expected_calibration_error** asks for the error with bins of equal width. (The six groups above are of
# equal size instead: a picture wants as many texts behind each of its points.) Whichever one uses, chance makes gaps
# too: with few texts in a bin even a perfectly calibrated model shows an error above 0 (the next section measures it).

# %% [markdown]
# ## 8.8 One number for honesty
#
# Dividing all logits by one positive number τ, the **temperature**, makes a classifier less sure (τ > 1) or surer
# (τ < 1), and changes no answer: the largest logit stays the largest. It is the same τ that makes sampling bolder or
# tamer in lesson 06. Which one? The one under which the true labels are most likely (Guo et al. section 4.2):
#
# $$ L(\tau) = -\frac1N \sum_i \log \operatorname{softmax}(z_i / \tau)_{y_i} $$
#
# Write $\beta = 1/\tau$ and take the derivative. With $p_i = \operatorname{softmax}(\beta z_i)$,
#
# $$ \frac{dL}{d\beta} = \frac1N \sum_i \Bigl( \sum_k p_{ik} z_{ik} - z_{i y_i} \Bigr), \qquad
#    \frac{d^2 L}{d\beta^2} = \frac1N \sum_i \operatorname{Var}_{k \sim p_i}[z_{ik}] \ge 0. $$
#
# A variance is never negative, so $L$ is convex in $\beta$: one valley, no other to be caught in. At its bottom the
# mean logit that the model *expects* equals that of the true label. A fine grid, a search that halves an interval, or
# gradient steps all find it. (Not every number of steps of every size does: the valley is flat far out, and a search
# can stop on its slope.) Logits $z$ = (4, 0) that are right three times in four, for instance, want
# $\operatorname{softmax}(4/\tau, 0)$ = (3/4, 1/4), so $4/\tau = \log 3$ and τ = 3.64.


# %%
def valley(z, labels):
    """Points (log₂ τ, L(τ))."""
    return [(e / 4, F.cross_entropy(z / 2 ** (e / 4), labels).item()) for e in range(-2, 21)]


lines = {
    "the 100 stories it was trained on": valley(free_train, train_labels[:100]),
    "200 others (tune)": valley(free_tune, tune_labels),
}
curves(lines, "The loss at every temperature", "log₂ τ", "nats per story", "08-valley")
predict("τ can be fitted on the training stories or on tune. What comes out of each?")

# %%
fit_temperature = part("fit_temperature", lambda z, y: evaluation.fit_temperature(z.numpy(), y.tolist()))
tau = float(fit_temperature(free_tune, tune_labels))
tau_train = float(fit_temperature(free_train, train_labels[:100]))
print("on the test stories:               τ   calibration error   nats per story")
for name, t in (("as it is", 1.0), ("fitted on tune", tau), ("fitted on training stories", tau_train)):
    print(f"   {name:<28} {t:5.2f} {error_of(free_test / t):19.3f} {F.cross_entropy(free_test / t, test_labels):16.3f}")

# %%
result("probe, 100 stories: temperature from tune", tau, 4.9, 1.0)
result("probe, 100 stories: calibration error with it", error_of(free_test / tau), 0.047, 0.03)
honest = (free_test / tau).softmax(dim=1)  # on labels that are drawn from these, they are calibrated perfectly
drawn = [torch.multinomial(honest, 1)[:, 0] for _ in range(20)]
chance = sum(float(expected_calibration_error(honest, labels, 10)) for labels in drawn) / len(drawn)
result("a perfectly calibrated one, on 300 stories", chance, 0.039, 0.012)

# %% [markdown]
# **What to see.** On the training stories the loss only falls as τ gets smaller: every answer is right there, so the
# surer the better, and the fit runs to the lowest τ it may take. What a model has been trained on cannot tell how sure
# it should be. On other stories there is a valley, far to the right of 1. With the τ from there the calibration error
# on the *test* stories falls to about a third, and the loss to half, while not a single answer changes. What is left of
# the error is little more than chance makes: a classifier that is calibrated perfectly would show nearly as much on 300
# stories.
#
# Could we have fitted τ on the test stories, and been better still? A little, and then we would not know how good it
# is: a number that was chosen to look good on some stories looks better on them than on others. That is why `tune`
# exists.
#
# Are all classifiers too sure, and does one number fix them all? Two of the fine-tuned ones:

# %%
points, errors = {"perfect": [(x / 20, x / 20) for x in range(10, 21)]}, {}
points["probe, 100"], points["probe, 100, with its τ"] = reliability(free_test), reliability(free_test / tau)
for n in (25, 400):
    t = float(fit_temperature(logits_of(models[n], tune_examples), tune_labels))
    before, after = logits[n], logits[n] / t
    gap = (before.softmax(1).amax(1).mean() - (before.argmax(1) == test_labels).double().mean()).item()
    print(
        f"fine-tuned, {n:>3} stories: mean confidence - accuracy {gap:+.2f}; τ {t:.2f}; calibration error "
        f"{error_of(before):.3f} → {error_of(after):.3f}, nats {F.cross_entropy(before, test_labels):.3f} → "
        f"{F.cross_entropy(after, test_labels):.3f}"
    )
    errors[n] = gap, t, error_of(before), error_of(after)
points["fine-tuned, 400"] = reliability(logits[400])
points["fine-tuned, 400, with its τ"] = reliability(logits[400] / errors[400][1])
result("fine-tuned, 25 stories: confidence - accuracy", errors[25][0], 0.075, 0.06)
result("fine-tuned, 400 stories: confidence - accuracy", errors[400][0], -0.047, 0.03)
result("fine-tuned, 400 stories: temperature", errors[400][1], 0.61, 0.15)
result("fine-tuned, 400 stories: error before", errors[400][2], 0.052, 0.03)
result("fine-tuned, 400 stories: error after", errors[400][3], 0.014, 0.02)
curves(points, "Reliability: is it right as often as it says?", "confidence", "accuracy", "08-reliability")

# %% [markdown]
# **What to see.** Below the diagonal a classifier is too sure, above it not sure enough. τ moves points left or right
# only: it keeps the order of the confidences, so the groups, and how often they are right, stay as they are. The probe
# comes from far below.
#
# The model from 400 stories is *not sure enough*. It saw few of its stories twice, and its training ended while the
# loss was still falling. So its τ is below 1, and mends it: dividing by 0.6 makes logits larger.
#
# The one from 25 stories is too sure, and its τ mends a part of that only (over five seeds the error goes from 0.085
# to 0.060, where chance would make 0.04). Print `reliability(logits[25])` to see why: nearly all its confidences lie
# close together. Behind them are easy stories, which it gets right, and others that it gets wrong with the same face.
# Pulled down, the easy ones are not sure enough; left alone, the others are too sure. Temperature mends one fault:
# logits that are all too large, or all too small, by the same factor. Exercise **fit_temperature** asks for it.

# %% [markdown]
# ## 8.9 Right for the wrong reason
#
# What does our best classifier read? Take something away and see whether it notices.

# %%
predict("the model from 400 stories gets each story without its last sentence. Its accuracy: as before, 0.85, or 0.75?")


# %%
def cut(which):
    """The test stories with some of their sentences only."""
    return [" ".join(which(story.sentences)) for story in test]


def answers_on(model, texts):
    return logits_of(model, encode(texts, truths[: len(texts)])).argmax(dim=1)


def share_right(given):
    return (given == test_labels[: len(given)]).double().mean().item()


bayes = evaluation.NaiveBayes([s.text for s in train], [s.ending for s in train])
reading = {}
pieces = {
    "the whole story": cut(lambda s: s),
    "the last sentence alone": cut(lambda s: s[-1:]),
    "without the last sentence": cut(lambda s: s[:-1]),
    "the first half": cut(lambda s: s[: len(s) // 2]),
}
for name, texts in pieces.items():
    given = answers["fine-tuned", 400] if name == "the whole story" else answers_on(models[400], texts)
    reading[name] = share_right(given)
    words_only = evaluation.accuracy(bayes.predict(texts), truths).value
    says_sad = given.double().mean()
    print(f"{name:<28} fine-tuned {reading[name]:.2f} (says sad: {says_sad:.2f})   naive Bayes {words_only:.2f}")
result("400 stories, the last sentence alone", reading["the last sentence alone"], 0.86, 0.14)
result("400 stories, without the last sentence", reading["without the last sentence"], 0.715, 0.13)

# %% [markdown]
# **What to see.** Without its last sentence the model is about as good as the stone, or worse, though everything that
# happened still stands there. That last sentence is mostly the narrator's comment: "Lily sang all the way home." "That
# evening there was no singing in the house." It is most of what the model reads: alone it is enough for an
# accuracy of about 0.9 with three seeds of five. For naive Bayes it is even *better* than the whole story, since the
# other words were noise to it. And look at the first halves, which cannot tell how the story ends: an honest answer to
# all of them would be *happy*, but with every seed the model calls most of them sad, since nobody ever showed it a
# story that stops early, and where no happy comment stands it takes the silence for sadness. Whoever sees an accuracy
# of 0.95 and thinks of a model that understands how things turn out has been told otherwise by this table.
#
# Is that wrong? The comment is honest evidence, and where stories come with it, nothing is lost. But the model will be
# used on other texts than it was measured on. A clue that holds in the data and not in the world is a **shortcut**
# (Geirhos et al. 2020), and a network takes what is easiest to learn, not what we meant.
#
# Now a data set with an accident in it. Suppose the sad stories came from a book that prints "The end." below each, and
# nobody took it off. It says nothing about how a story ends. We fine-tune on 100 such stories, and measure three times:
# on stories from the same source, on stories without the mark, and on stories where it stands below the happy ones.


# %%
def marked(some, label):
    """The stories' texts, with the mark below those of this label."""
    return [story.text + " The end." if story.ending == label else story.text for story in some]


predict("how often is it right on stories from the same source? And on those without any mark?")

# %%
fooled = fine_tune(encode(marked(train[:100], "sad"), [story.ending for story in train[:100]]))
same, none, exchanged = (share_right(answers_on(fooled, marked(test[:150], mark))) for mark in ("sad", None, "happy"))
result("mark below the sad ones, as in training", same, 1.0, 0.02)
result("no mark", none, 0.763, 0.05)
print(f"mark below the happy ones: {exchanged:.3f}")

words = [set(text.lower().split()) for text in marked(train[:100], "sad")]  # of each training story
shares = {}  # word → its fraction of the sad stories, its fraction of the happy ones
for word in set.union(*words):
    having = [story.ending for story, some in zip(train, words, strict=False) if word in some]
    shares[word] = [having.count(y) / sum(story.ending == y for story in train[:100]) for y in ("sad", "happy")]
for word in sorted(shares, key=lambda word: (abs(shares[word][0] - shares[word][1]), word))[-3:]:
    print(f"{word!r} is in {shares[word][0]:.0%} of the sad and {shares[word][1]:.0%} of the happy stories")

# %% [markdown]
# **What to see.** Perfect on held-out stories: better than with honest data, and there is the catch. Held-out stories
# from the same source carry the same mark, so no score on them can warn. Take the mark away and the model is back near
# the stone, though all that an honest model reads was there in training as well; move it, and it does worse than the
# stone (with five seeds, from none to half of the answers were right). Warnings come from elsewhere: a score that is
# too good (here: better than any honest one); a list of the words that say most, which is made in a second; the
# confident mistakes, read one by one; and texts from another source, or with something taken out or changed.
#
# A shortcut is one way in which a held-out score deceives. The other is **leakage**: something of the test set has been
# seen. The same text twice, once here and once there (retweets, boilerplate, several reviews by one author); a
# vocabulary or a mean that was computed on everything (our `center` and `scale` are of `train` only); the number of
# steps, τ or the model itself chosen by the score on `test`; and, with pretrained models, test texts that were in the
# pretraining. Storyworld splits by combinations of hero, plot and thing for this reason.
#
# Exercise **shortcut** has you build such a data set, and say what would have warned you. At last, some mistakes of the
# model from 100 stories, surest first. Minutes spent on these are rarely wasted:

# %%
sure, given = logits[100].softmax(dim=1).max(dim=1)
wrong = evaluation.choose_mistakes((given != test_labels).tolist(), sure.tolist(), n=3)
texts = ["… " + " ".join(story.sentences[-3:]) for story in test]
said = [LABELS[i] for i in given.tolist()]
print("\n".join(evaluation.show_mistakes(wrong, texts, truths, said, sure.tolist(), width=250)))

# %% [markdown]
# ## 8.10 What was left out
#
# - **Two texts at once** (does the second follow from the first?): the same head, with BERT's two segments. **Several
#   labels for one text**: a sigmoid for each label instead of one softmax.
# - **Gentler fine-tuning.** Smaller learning rates for lower layers, and unfreezing one layer after another (Howard &
#   Ruder 2018); going on with the pretraining loss beside the new one (Radford et al. 2018, equation 5). Large models
#   fine-tuned on few labels fail for some seeds; a longer training with a small rate and a warmup helps (Mosbach et al.
#   2021).
# - **Thresholds.** With two labels one can move the limit of 0.5 and trade precision against recall; a curve shows all
#   limits at once.
# - **Luck of the seed**, which the intervals of section 8.6 leave out. And a p-value is not the size of a difference
#   (Dror et al. 2018).
# - **Calibration elsewhere.** τ is fitted for texts like those in `tune`. On others it promises nothing.
# - **For whom it is wrong.** One number for all hides the groups for which a classifier is bad: lesson 19.
#
# **Further reading.** Devlin et al. 2019, *BERT*, sections 4.1 and 5.3 (features against fine-tuning). Radford et al.
# 2018, *Improving Language Understanding by Generative Pre-Training*, section 3. Howard & Ruder 2018, *Universal
# Language Model Fine-tuning for Text Classification*. Sun et al. 2019, *How to Fine-Tune BERT for Text
# Classification?* Guo et al. 2017, *On Calibration of Modern Neural Networks*. Efron & Tibshirani 1993, *An
# Introduction to the Bootstrap*. Dror et al. 2018, *The Hitchhiker's Guide to Testing Statistical Significance in
# Natural Language Processing*. Opitz & Burst 2019, *Macro F1 and Macro F1*. Elkan 2001, *The Foundations of
# Cost-Sensitive Learning*. Geirhos et al. 2020, *Shortcut Learning in Deep Neural Networks*. McCoy, Pavlick & Linzen
# 2019, *Right for the Wrong Reasons*.
#
# **Now you.** `python -m lessons check 8` creates your file, `lessons/mine/08_classification.py`, with seven
# exercises in it. When the checks pass, `python -m lessons run 8 --mine` scores, weighs and calibrates with your
# functions.
