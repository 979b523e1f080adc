# %% [markdown]
# # 08 Text classification
#
# - **Question:** What does pretraining buy? And what does it mean when a classifier says "90 % sure", or is right 90 %
#   of the time?
# - **Teaches:** from [CLS] to a label; fine-tuning compared with a frozen backbone, random weights and a bag of words;
#   precision, recall, F1; class imbalance; confidence intervals and paired comparison; calibration and temperature;
#   shortcuts
# - **Minutes:** 150 to read and solve, 1 to run
#
# You need: cross-entropy (lesson 01), AdamW and warmup (lesson 05), and how BERT is pretrained (lesson 07). The step
# from BERT to a label is section 4.1 of Devlin et al. 2019; other sources are cited where they are used.
#
# Notation: B texts in a batch, T positions, C model width, N texts, K labels, M bins. The temperature, which most
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
from llmasos.training.optimizers import learning_rate_factor

torch.manual_seed(seed())
torch.set_num_threads(min(2, torch.get_num_threads()))
torch.set_printoptions(precision=2, sci_mode=False)

# %% [markdown]
# ## 8.1 Baselines without a network
#
# > *… He took a hammer, and soon the drum was in more pieces than before. Finally he went to the tailor for help. "I am
# > sorry," said the tailor. "No one can mend this." Paul kept one small piece of it in a drawer.*
#
# A sad ending. You could tell from the story, and you could still tell if the drum were a kite and the tailor a smith.
# Can a program learn this from a hundred labeled stories, or from twenty-five? Labels are the expensive part: a person
# has to read each text and decide. The text itself is cheap.
#
# We use three sets of stories, and it matters that there are three. We train on `train`. We use `tune` for decisions
# about the classifier that must not be made on its training data (section 8.8 makes one). We use `test` to measure, and
# for nothing else. The stories of `tune` and `test` have combinations of hero, plot and object that never occur in
# `train`, so memorizing stories does not help.

# %%
LABELS, SEED = ("happy", "sad"), seed()

collected = list(stories("train", 400))
order = torch.randperm(len(collected), generator=torch.Generator().manual_seed(SEED)).tolist()
train = [collected[i] for i in order]  # which stories are the first 25 depends on the seed
held_out = list(stories("val", 500))
tune, test = held_out[:200], held_out[200:]

truths = [story.ending for story in test]
print(f"{len(train)} stories for training, {len(tune)} for tuning, {len(test)} for testing")
print({label: truths.count(label) for label in LABELS}, "\n")
print(test[0].text)

# %% [markdown]
# Before any network, here are two classifiers that need none. The first does not read the text at all: it always
# predicts the most frequent training label, the **majority class**. The second, **naive Bayes**, uses the words but not
# their order. It models a text of label $y$ as words drawn one by one from that label's bag of words, and inverts this
# with Bayes' rule (McCallum & Nigam 1998):
#
# $$ \log p(y \mid x) = \log p(y) + \sum_{w \in x} \log p(w \mid y) + \text{constant}, \qquad
#    p(w \mid y) = \frac{\operatorname{count}(w, y) + 1}{\sum_{v} \operatorname{count}(v, y) + V} $$
#
# It needs no gradient: it is trained by counting, like the bigrams of lesson 01, with the same smoothing. It is called
# naive because it treats words as independent, which they are *not*.

# %%
predict("how accurate is the classifier that ignores the text? And naive Bayes, from 400 stories: 0.75, 0.85 or 0.95?")


# %%
def naive_bayes(n):
    """Train naive Bayes on the first n labeled stories; returns its predictions for the test stories."""
    texts, labels = [story.text for story in train[:n]], [story.ending for story in train[:n]]
    return evaluation.NaiveBayes(texts, labels).predict([story.text for story in test])


result("always happy, accuracy", truths.count("happy") / len(truths), 0.737, 0.001)
bag_of_words = {n: naive_bayes(n) for n in (25, 100, 400)}
for n, expected, spread in ((25, 0.74, 0.03), (100, 0.78, 0.04), (400, 0.847, 0.005)):
    score = evaluation.accuracy(bag_of_words[n], truths).value
    result(f"naive Bayes from {n} stories, accuracy", score, expected, spread)

# %% [markdown]
# Three stories in four end well, so always predicting *happy* gives about 0.74. Never read an accuracy without this
# number beside it. From 25 stories, naive Bayes is no better than this majority baseline; from 400, it is. The bag of
# words is the baseline for everything that follows.

# %% [markdown]
# ## 8.2 From [CLS] to a label
#
# A pretrained BERT (lesson 07) turns a text into one vector per position. To classify a whole text we need *one*
# vector, followed by one linear layer:
#
# $$ c = \tanh(W_p h_0 + b_p), \qquad p(y \mid x) = \operatorname{softmax}(W c + b)_y, \qquad
#    L = -\frac{1}{N} \sum_{i=1}^{N} \log p(y_i \mid x_i) $$
#
# $h_0$ (C,) is the last block's output for the first token, [CLS]. $W_p$ is the *pooler*, which next-sentence
# prediction has already trained. Only $W$ (K, C) and $b$ (K,) are new. All weights, old and new, are then trained to
# minimize $L$: this is **fine-tuning** (section 4.1 of the paper). Nothing in it is specific to BERT. GPT does the same
# with the vector of the *last* token, the only one that has seen all the others (Radford et al. 2018, section 3.2); an
# encoder without a [CLS] can average over all positions.
#
# We do not pretrain a new model for each task. `storyworld-bert` comes with the library: 4 layers of width 128,
# pretrained as in lesson 07 on 12,000 stories *without labels*. (The stories of `train` were among them; those of
# `tune` and `test` were not.)

# %%
tokenizer = load_tokenizer("storyworld-bert")
config = dataclasses.replace(load_config("storyworld-bert"), head="classifier", labels=LABELS)
objective = Classification(tokenizer, LABELS)


def encode(texts, labels):
    """Encode texts and labels as examples for the objective."""
    return [objective.encode(t, None, y, config.context_length) for t, y in zip(texts, labels, strict=True)]


def examples_of(subset):
    return encode([story.text for story in subset], [story.ending for story in subset])


train_examples, tune_examples, test_examples = examples_of(train), examples_of(tune), examples_of(test)
example = test_examples[0]
print(tokenizer.decode(example.inputs.ids))
print(f"{len(example.inputs.ids)} tokens; {example.n_cut} cut; label {example.label}: {LABELS[example.label]}")

# %% [markdown]
# The context is 64 tokens and a story has about 130, so we cut out its middle: we keep a quarter of the context from
# the beginning of the story and the rest from its end. For movie reviews this was the best of several truncation
# methods (Sun et al. 2019, section 5.3.1). Is it good for stories? It keeps the ending, where we expect the answer.
# Section 8.9 tests that.
#
# Now send one batch through the model, with a head that has not been trained yet:

# %%
torch.manual_seed(SEED)
model = build_model(config)  # random weights everywhere …
load_backbone(model, "storyworld-bert")  # … and now the pretrained ones under the head
batch = objective.collate(encode([test[0].text, "Anna sang.", test[1].text], [truths[0], "happy", truths[1]]))
with torch.no_grad():
    hidden_states = model.backbone.hidden_states(
        batch["ids"], batch["attention_mask"], batch["segments"]
    )  # (B, T) → (B, T, C)
    pooled = model.backbone.pooled(hidden_states, batch["attention_mask"])  # (B, C): the pooler on the first real token
    logits = model.head(pooled)  # (B, K)
new = sum(p.numel() for p in model.head.parameters())
print("hidden states", tuple(hidden_states.shape), " pooled", tuple(pooled.shape), " logits", tuple(logits.shape))
print(f"{new} new weights, {sum(p.numel() for p in model.backbone.parameters()):,} pretrained ones")
print(f"loss {F.cross_entropy(logits, batch['labels']):.2f} nats; ln 2 = {math.log(2):.2f}")

# %% [markdown]
# **Padding.** The second text of that batch is short, and its row is padded with [PAD] to the length of the others. The
# boolean `attention_mask` marks the real tokens (True = part of the text), and attention ignores the rest (lesson 03).
# But the hidden states still have 64 rows for this text, and the rows at padding are meaningless. Pooling has to leave
# them out, too. For the mean:
#
# $$ c = \frac{\sum_t r_t \, h_t}{\sum_t r_t}, \qquad r_t = 1 \text{ at a real token, else } 0. $$
#
# There are three ways to get it wrong: to average over all rows, so that a text's vector depends on how long its
# neighbors in the batch are; to zero the padding and still divide by T; and to multiply the padding by 0 when it
# contains an infinity or a NaN, as a fully masked row of attention can:

# %%
h, r = torch.tensor([2.0, 4.0, math.nan]), torch.tensor([True, True, False])  # one dimension, three positions
print("multiplied by zero", (h * r).sum() / r.sum())
print("filled with zero  ", h.masked_fill(~r, 0.0).sum() / r.sum())

# %% [markdown]
# The first real position is not always position 0 either, and the last one is not always T - 1: texts can be padded on
# the left, as is usual for models that generate text. Exercise **summaries** asks for all three ways of pooling, on
# whichever side the padding is.

# %% [markdown]
# ## 8.3 Confusion matrix, precision, recall and F1
#
# Accuracy says how often a classifier is right. The **confusion matrix** says how it is wrong: row $i$, column $j$
# counts the texts whose true label is $i$ and whose predicted label is $j$. (Some books transpose it. Check the axes.)
# Here is naive Bayes trained on 100 stories:

# %%
matrix = evaluation.confusion_matrix(bag_of_words[100], truths, LABELS)
print(evaluation.confusion_table(matrix, LABELS))

# %% [markdown]
# Take one label, say *sad*, and ask about each text: is it sad, and was it predicted to be sad?
#
# - **TP**, true positives: sad, and predicted sad. On the diagonal.
# - **FP**, false positives: predicted sad, but not sad. The rest of the column.
# - **FN**, false negatives: sad, but not predicted sad. The rest of the row.
#
# $$ \text{precision } P = \frac{TP}{TP + FP}, \qquad \text{recall } R = \frac{TP}{TP + FN}, \qquad
#    F_1 = \frac{2 P R}{P + R} = \frac{2\,TP}{2\,TP + FP + FN} $$
#
# Precision: when it predicts *sad*, can I believe it? Recall: what fraction of the sad stories does it find? Each one
# alone is easy to get. Predict *sad* for every story, and recall is 1; predict *sad* only for the story you are surest
# of, and precision is (probably) 1. $F_1$, their **harmonic** mean, is close to the smaller of the two: for $P$ = 0.25
# and $R$ = 1 the arithmetic mean is 0.63, the harmonic mean 0.40 (van Rijsbergen 1979, chapter 7).
#
# A fraction of 0 / 0 (precision, when *sad* was never predicted) counts as 0. The **macro-F1** is the unweighted mean
# of the labels' $F_1$; a label that occurs neither among the true labels nor among the predictions has no $F_1$ and is
# left out. Two other averages have similar names. The *micro*-F1 first adds up the TP, FP and FN of all labels; with
# one label per text, every mistake is one FP and one FN, so micro-F1 equals the accuracy. And some authors average
# precision and recall over the labels first and take the $F_1$ of these means: different numbers under the same name
# (Opitz & Burst 2019). Say which one you mean.

# %%
row, column = matrix[1].sum(), matrix[:, 1].sum()  # of the label "sad": all true, all predicted
print(f"sad: TP {matrix[1, 1]}, FP {column - matrix[1, 1]}, FN {row - matrix[1, 1]}")


def library_scores(truths, predictions, n_labels):
    """All metrics of this section, computed by the library: what exercise `label_scores` asks for."""
    predicted, true, labels = predictions.tolist(), truths.tolist(), range(n_labels)
    each = evaluation.per_class(predicted, true, labels)
    return {
        "confusion": torch.from_numpy(evaluation.confusion_matrix(predicted, true, labels)),
        "precision": torch.tensor([metrics.precision for metrics in each]),
        "recall": torch.tensor([metrics.recall for metrics in each]),
        "macro_f1": evaluation.macro_f1(predicted, true, labels).value,
    }


label_scores = part("label_scores", library_scores)  # `run 8 --mine` puts your own functions here
test_labels = torch.tensor([LABELS.index(y) for y in truths])  # (N,)


def numbers(answers):
    """The index of each label, (N,)."""
    return torch.tensor([LABELS.index(answer) for answer in answers])


def report(name, predictions):
    """Print one line about a classifier's predictions on the test stories (N,); returns its metrics."""
    s = label_scores(test_labels, predictions, len(LABELS))
    right = (predictions == test_labels).double().mean().item()
    print(
        f"{name:<38} accuracy {right:.2f}   sad: precision {s['precision'][1]:.2f}, recall {s['recall'][1]:.2f}"
        f"   macro-F1 {float(s['macro_f1']):.2f}"
    )
    return {"accuracy": right, "recall": float(s["recall"][1]), "macro_f1": float(s["macro_f1"])}


always_happy = torch.zeros_like(test_labels)
predict("what is the macro-F1 of the classifier that always predicts happy: 0.75, 0.5, or less?")

# %%
report("always happy", always_happy)
for n, answers in bag_of_words.items():
    report(f"naive Bayes from {n} stories", numbers(answers))

# %% [markdown]
# Always predicting *happy* has an $F_1$ of 0.85 for happy (precision 0.74, recall 1) and 0 for sad, so its macro-F1 is
# 0.42. Accuracy hardly shows that a quarter of all stories is never found; macro-F1 does. It also shows that naive
# Bayes from 25 stories, with the accuracy of the majority baseline, is not quite the same: it finds a few of the sad
# stories, and for each it gets a happy one wrong.

# %% [markdown]
# ## 8.4 Class imbalance: three happy stories in four
#
# What does class imbalance do to *training*? The loss is a mean over texts, so three quarters of it come from happy
# stories. If finding the sad ones is what matters (think of a rare disease instead of a story), give each text the
# weight of its label, $w_y$:
#
# $$ L_w = \frac{\sum_i w_{y_i} \left( -\log p(y_i \mid x_i) \right)}{\sum_i w_{y_i}} $$
#
# It is a weighted *mean*: the divisor is the sum of the texts' weights, not N, and not the sum over the K labels. So
# weights of 1 and 3 give the same loss as weights of 10 and 30, and a batch that happens to contain many rare texts
# does not take a larger step than others. For two texts with losses 0.2 and 0.6 and weights 1 and 3 it is (0.2 + 1.8) /
# 4 = 0.5. And never take the logarithm of a probability that has underflowed to 0, or of a sum that has overflowed:
#
# $$ -\log p_y = \log \sum_k e^{z_k} - z_y = \log \sum_k e^{z_k - m} + m - z_y, \qquad m = \max_k z_k, $$
#
# `torch.logsumexp` computes the right-hand side.
#
# What is the effect? If texts of label $y$ count $w_y$ times, we train as if they were $w_y$ times as frequent. By
# Bayes' rule, the best possible model under these weights is
#
# $$ p_w(y \mid x) = \frac{w_y \, p(y \mid x)}{\sum_k w_k \, p(k \mid x)}, \qquad\text{that is,}\qquad
#    z_y \to z_y + \log w_y. $$
#
# So you can get the same effect after training, for free, by adding $\log w_y$ to the logits (Elkan 2001 says when
# which weight is right). And the probabilities no longer match the real class frequencies: weights spoil *calibration*,
# the topic of section 8.7.
#
# We try it on the cheapest classifier that uses BERT: the backbone stays **frozen**, as pretraining left it. Each
# story's vector at [CLS] is computed once (before the pooler, which was only trained for next-sentence prediction), and
# a linear layer is trained on these vectors: a **linear probe**.

# %%
summaries = part("summaries", None)
weighted_cross_entropy = part("weighted_cross_entropy", lambda z, y, w: F.cross_entropy(z, y, weight=w))


@torch.no_grad()
def frozen_vectors(model, examples):
    """The backbone's hidden state at the first position of each text, [CLS]: (N, C)."""
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
    """Train a linear layer on vectors (N, C) to convergence; weight decay keeps its weights small."""
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
x_train, x_test = frozen_vectors(model, train_examples), frozen_vectors(model, test_examples)
center, scale = x_train.mean(dim=0), x_train.std(dim=0)  # from the training stories only
x_train, x_test = (x_train - center) / scale, (x_test - center) / scale
train_labels = torch.tensor([e.label for e in train_examples])

# %%
predict("a probe on 400 stories, the sad ones with weight 3. What rises, what falls: recall, precision, accuracy?")

# %%
with torch.no_grad():
    plain = probe(x_train, train_labels)(x_test)  # (N, K) logits
    heavy = probe(x_train, train_labels, (1.0, 3.0))(x_test)
    moved = plain + torch.tensor([0.0, math.log(3.0)])
recall = {}
for name, z in (("weights 1 and 1", plain), ("weights 1 and 3", heavy), ("1 and 1, then log 3 added", moved)):
    recall[name] = report(f"probe, {name}", z.argmax(dim=1))["recall"]
    print(f"{'':38} mean probability of sad {z.softmax(dim=1)[:, 1].mean():.2f}   (true fraction 0.26)")
result("probe, weights 1 and 1: recall of sad", recall["weights 1 and 1"], 0.785, 0.06)
result("probe, weights 1 and 3: recall of sad", recall["weights 1 and 3"], 0.9, 0.06)

# %% [markdown]
# **What to see.** Weights are a trade-off: the recall of the rare label rises, and its precision falls. Adding log 3 to
# the logits of the unweighted probe does much the same. And both predict more sad stories than there are, exactly as
# the weights told them to. Whether to use weights is not a question of taste but of cost: what does a missed sad story
# cost you, and what does a false alarm cost? If both cost the same, the unweighted loss is right, however rare the
# label is. Exercise **weighted_cross_entropy** asks for this loss.

# %% [markdown]
# ## 8.5 What pretraining buys
#
# Now we train the whole model. The loop is the usual one (lesson 05): AdamW, a short warmup, then cosine decay; 60
# steps of 8 stories, whether there are 25 of them or 400. We compare
#
# - **fine-tuned**: the pretrained backbone, all weights are trained;
# - **probe**: the pretrained backbone, frozen; only a linear layer is trained;
# - **random weights**: the same architecture, all weights are trained, no pretraining;
# - **naive Bayes** and **always happy**, from section 8.1.

# %%
STEPS, BATCH, RATE = 60, 8, 5e-4


def fine_tune(examples, pretrained=True):
    """Train all weights on the examples; returns the model in evaluation mode."""
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
    """The model's logits for the examples: (N, K)."""
    batches = [objective.collate(examples[start : start + 100]) for start in range(0, len(examples), 100)]
    return torch.cat([model(batch["ids"], batch["attention_mask"], batch["segments"]) for batch in batches])


predict(
    "which is better: pretrained weights and 25 labels, or random weights and 400? And by how much do they beat 0.74?"
)

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
scores = {key: report(f"{key[0]}, {key[1]} stories", predictions) for key, predictions in answers.items()}

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
# **What to see.** The two lowest lines coincide: with random weights, 400 labels and these 60 steps have only taught
# the model that most stories are happy. The same architecture in the same loop, but initialized from pretrained
# weights, reaches with 25 labels about what naive Bayes reaches with 400. That is what pretraining buys: *labels*. To
# fill in words that were masked anywhere in a story, the model had to find out which words and sentences go together;
# fine-tuning then only has to select what the question needs.
#
# The probe is in between. The frozen hidden states contain more or less what the question asks for; adapting them to
# the question brings the rest. The price is that the backbone then serves only this question, and that you have to
# store a full copy of its weights for each task.
#
# How many labels do random weights need before they beat the majority baseline? How many steps? Exercise 7 is a good
# way to find out.

# %% [markdown]
# ## 8.6 Is it luck?
#
# 300 test stories are a sample. Another 300 would give another accuracy. If $k$ of $n$ independent texts are right and
# the true accuracy is $p$, then $k / n$ has the standard deviation
#
# $$ \sqrt{p (1 - p) / n}, $$
#
# which is 0.017 for $p$ = 0.9 and $n$ = 300, and the true accuracy is within about two of these. Near 0 or 1, and for
# small $n$, the library uses the exact interval instead: all values of $p$ under which the observed count is not too
# improbable (Clopper & Pearson 1934). For a metric that is not a proportion, such as macro-F1, use the **bootstrap**:
# draw N texts from the N *with replacement*, compute the metric, repeat this a thousand times, and take the middle 95 %
# of the values (Efron 1979).

# %%
for kind, n in (("fine-tuned", 400), ("probe", 400), ("probe", 100), ("naive Bayes", 100)):
    predictions = [LABELS[i] for i in answers[kind, n].tolist()]
    print(f"{kind + ',':<12} {n} stories: {evaluation.accuracy(predictions, truths)}")
    print(f"{'':25}{evaluation.macro_f1(predictions, truths, LABELS)}")

# %% [markdown]
# Do two overlapping intervals mean that the difference may be luck? **No.** Both classifiers were tested on *the same*
# 300 stories. Both get most of them right, a few are hard for both, and these stories say nothing about which
# classifier is better. What counts are the stories on which the two differ. Suppose that only A is right on $a$ of
# them, and only B on $b$. Then
#
# $$ \hat d = \frac{a - b}{n}, \qquad
#    \operatorname{Var} \hat d \approx \frac{1}{n^2}\left(a + b - \frac{(a - b)^2}{n}\right), $$
#
# since each story contributes +1, -1 or 0 to the difference. The **paired bootstrap** does the same for any metric: it
# draws the same texts for both classifiers. If the interval of the difference does not contain 0, the difference is
# more than luck in the choice of the test stories.

# %%
right = {key: (predictions == test_labels).numpy() for key, predictions in answers.items()}


def compare(first, second, n):
    """Print the difference of two accuracies with its interval, by the formula and by the bootstrap."""
    x, y = right[first, n], right[second, n]
    a, b = int((x & ~y).sum()), int((~x & y).sum())
    deviation = math.sqrt(a + b - (a - b) ** 2 / len(x)) / len(x)
    print(f"{first} vs {second}, {n} stories: only the first is right on {a}, only the second on {b} of {len(x)}")
    print(f"   by the formula   {(a - b) / len(x):.3f} ± {1.96 * deviation:.3f}")
    print(f"   by the bootstrap {evaluation.paired_bootstrap(x, y)}")


compare("fine-tuned", "probe", 400)
compare("probe", "naive Bayes", 100)
compare("fine-tuned", "naive Bayes", 100)

# %% [markdown]
# **What to see.** Look at the probe and naive Bayes, trained on 100 stories each. With seed 0 they differ on 68
# stories, 35 to 33: about what coin tosses would give. With seed 1 (`run 8 --seed 1`) it is 28 to 13. The accuracies
# are then 0.823 (0.775–0.865) and 0.773 (0.722–0.819), so the two intervals overlap by half, and yet the interval of
# the difference, 0.007–0.090, does not contain 0. Do not compare two intervals; count the stories on which the two
# differ.
#
# Such an interval does *not* cover another draw of the training stories, or another seed. It says how these two trained
# models compare on new stories, not how the two *methods* compare; we just saw it give one answer with seed 0 and
# another with seed 1. To compare methods, train several times: the tolerances of this lesson's results come from five
# seeds, each with different training stories. Fine-tuned on 100 stories, the accuracy ranged from 0.86 to 0.96, far
# more variation than the choice of test stories causes.

# %% [markdown]
# ## 8.7 Does it know what it knows?
#
# A classifier gives a probability with each prediction. The probability of the predicted label, the largest of the K,
# is its **confidence**. Can you believe it? A classifier is **calibrated** if, of all predictions with confidence 0.8,
# 80 % are right (Guo et al. 2017, equation 1):
#
# $$ P(\hat Y = Y \mid \hat P = p) = p \quad\text{for all } p. $$
#
# Calibrated is not the same as good. Always predicting *happy* with 75 % confidence is perfectly calibrated and
# useless. But a classifier that is right 80 % of the time and always 99 % confident cannot tell you which of its
# predictions to check.
#
# To measure calibration we have to group texts of similar confidence, since a single prediction is right or wrong and
# never 80 % right. The **expected calibration error** (ECE) divides the confidences into M bins of equal width, where
# $B_m$ contains those in $(m/M, (m+1)/M]$, and takes the mean gap between confidence and accuracy, weighted by the
# number of texts in each bin (equation 3):
#
# $$ \operatorname{ECE} = \sum_{m} \frac{|B_m|}{N} \Bigl| \operatorname{acc}(B_m) - \operatorname{conf}(B_m) \Bigr| $$
#
# Each part of it has a reason. It is *weighted*, because otherwise a bin with a single text counts as much as one with
# a hundred. It takes the *absolute value*, because otherwise overconfidence in one bin and underconfidence in another
# cancel. It uses the *mean confidence* of the texts in a bin, not the bin's midpoint. And it is about the *predicted
# label*: the probability of label 1 is another question. A prediction with confidence 1 belongs in the last bin. An
# example by hand: three predictions with confidence 0.6, two of them right, and one with 0.9, wrong; two bins of ten
# are non-empty. The gaps are |2/3 - 0.6| = 0.07 and |0 - 0.9| = 0.9, and the error is ¾ · 0.07 + ¼ · 0.9 = 0.28.
#
# Take the linear probe on 100 stories, this time with almost no weight decay. Its vectors have 128 dimensions, more
# than there are stories, so a hyperplane separates the happy stories from the sad ones without a mistake. From there
# on, larger weights always lower the loss: the predictions stay the same, the confidence grows (Guo et al., section 3,
# find the same in large networks, which keep lowering the loss long after the error has stopped falling).


# %%
def library_error(probabilities, labels, n_bins):
    """The library's version of exercise `expected_calibration_error`."""
    confidence, chosen = probabilities.max(dim=1)
    return evaluation.calibration_error(confidence.tolist(), (chosen == labels).tolist(), n_bins).value


expected_calibration_error = part("expected_calibration_error", library_error)
x_tune = (frozen_vectors(model, tune_examples) - center) / scale
tune_labels = torch.tensor([e.label for e in tune_examples])
free = probe(x_train[:100], train_labels[:100], decay=0.0003)
with torch.no_grad():
    free_train, free_tune, free_test = free(x_train[:100]), free(x_tune), free(x_test)  # (N, K) logits each
right_on_train = (free_train.argmax(dim=1) == train_labels[:100]).double().mean()
right_on_test = (free_test.argmax(dim=1) == test_labels).double().mean().item()
print(f"accuracy on its training stories {right_on_train:.2f}, on the test stories {right_on_test:.2f}")
predict("what is its mean confidence on the test stories: 0.75, 0.85 or 0.95?")


# %%
def error_of(z):
    """The calibration error of these logits for the test stories, with ten bins."""
    return float(expected_calibration_error(z.softmax(dim=1), test_labels, 10))


def reliability(z, groups=6):
    """Points (mean confidence, accuracy) of groups of equal size, with the texts sorted by confidence."""
    confidence, chosen = z.softmax(dim=1).max(dim=1)
    ranking = confidence.argsort()
    ranked = zip(confidence[ranking].chunk(groups), (chosen == test_labels)[ranking].chunk(groups), strict=True)
    return [(c.mean().item(), right.double().mean().item()) for c, right in ranked]


result("probe, 100 stories: mean confidence", free_test.softmax(dim=1).amax(dim=1).mean().item(), 0.95, 0.02)
result("probe, 100 stories: calibration error", error_of(free_test), 0.14, 0.05)
for c, accuracy in reliability(free_test):
    print(f"   50 stories with a mean confidence of {c:.2f}: accuracy {accuracy:.2f}")

# %% [markdown]
# **What to see.** The probe has memorized its training stories and is nearly 100 % confident everywhere. On new stories
# it is right about 82 % of the time, with a mean confidence of 95 %. Its confidence is not worthless: where it is a
# little less confident it is wrong more often, so the *order* of the confidences is useful. Their *values* are not.
#
# Exercise **expected_calibration_error** asks for the error with bins of equal width. (The six groups above are of
# equal size instead: in a plot, every point should stand for the same number of texts.) Either way, chance creates gaps
# too: with few texts per bin, even a perfectly calibrated model has an error above 0 (the next section measures it).

# %% [markdown]
# ## 8.8 Temperature scaling
#
# Dividing all logits by one positive number τ, the **temperature**, makes a classifier less confident (τ > 1) or more
# confident (τ < 1), and changes no prediction: the largest logit stays the largest. It is the same τ that flattens or
# sharpens the sampling distribution in lesson 06. Which τ? The one under which the true labels are most likely (Guo et
# al., section 4.2):
#
# $$ L(\tau) = -\frac1N \sum_i \log \operatorname{softmax}(z_i / \tau)_{y_i} $$
#
# Write $\beta = 1/\tau$ and take the derivative. With $p_i = \operatorname{softmax}(\beta z_i)$,
#
# $$ \frac{dL}{d\beta} = \frac1N \sum_i \Bigl( \sum_k p_{ik} z_{ik} - z_{i y_i} \Bigr), \qquad
#    \frac{d^2 L}{d\beta^2} = \frac1N \sum_i \operatorname{Var}_{k \sim p_i}[z_{ik}] \ge 0. $$
#
# A variance is never negative, so $L$ is convex in $\beta$: it has one minimum, and no local minimum to get stuck in.
# There the *expected* mean logit under the model equals the mean logit of the true label. A fine grid, bisection, or
# gradient descent all find it. (But not with any step size and any number of steps: far out the valley is flat, and a
# search can stop on its slope.) For instance, logits $z$ = (4, 0) that are right three times in four need
# $\operatorname{softmax}(4/\tau, 0)$ = (3/4, 1/4), so $4/\tau = \log 3$ and τ = 3.64.


# %%
def valley(z, labels):
    """Points (log₂ τ, L(τ)) of the loss curve."""
    return [(e / 4, F.cross_entropy(z / 2 ** (e / 4), labels).item()) for e in range(-2, 21)]


lines = {
    "the 100 stories it was trained on": valley(free_train, train_labels[:100]),
    "200 others (tune)": valley(free_tune, tune_labels),
}
curves(lines, "The loss at every temperature", "log₂ τ", "nats per story", "08-valley")
predict("we can fit τ on the training stories or on tune. What does each give?")

# %%
fit_temperature = part("fit_temperature", lambda z, y: evaluation.fit_temperature(z.numpy(), y.tolist()))
tau = float(fit_temperature(free_tune, tune_labels))
tau_train = float(fit_temperature(free_train, train_labels[:100]))
print("on the test stories:               τ   calibration error   nats per story")
for name, t in (("uncalibrated", 1.0), ("fitted on tune", tau), ("fitted on training stories", tau_train)):
    print(f"   {name:<28} {t:5.2f} {error_of(free_test / t):19.3f} {F.cross_entropy(free_test / t, test_labels):16.3f}")

# %%
result("probe, 100 stories: temperature from tune", tau, 4.9, 1.0)
result("probe, 100 stories: calibration error with it", error_of(free_test / tau), 0.047, 0.03)
calibrated = (free_test / tau).softmax(dim=1)  # perfectly calibrated for labels drawn from these probabilities
drawn = [torch.multinomial(calibrated, 1)[:, 0] for _ in range(20)]
chance = sum(float(expected_calibration_error(calibrated, labels, 10)) for labels in drawn) / len(drawn)
result("a perfectly calibrated model, 300 stories: error", chance, 0.039, 0.012)

# %% [markdown]
# **What to see.** On the training stories the loss keeps falling as τ gets smaller: every prediction is right there, so
# more confidence is always better, and the fit runs to the lowest τ allowed. Training data cannot tell you how
# confident a model should be. On other stories there is a minimum, far to the right of 1. With the τ from there, the
# calibration error on the *test* stories falls to about a third, and the loss to half, while not a single prediction
# changes. The remaining error is little more than chance: a perfectly calibrated classifier would show nearly as much
# on 300 stories.
#
# Could we have done even better by fitting τ on the test stories? A little, but then we would not know how good it is:
# a number that was chosen to look good on some stories looks better on them than on others. That is why `tune` exists.
#
# Are all classifiers overconfident, and does one number fix them all? Here are two of the fine-tuned ones:

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
curves(points, "Reliability diagram", "confidence", "accuracy", "08-reliability")

# %% [markdown]
# **What to see.** Below the diagonal a classifier is overconfident, above it underconfident. τ only moves points left
# or right: it keeps the order of the confidences, so the groups, and their accuracy, stay the same. The probe starts
# far below the diagonal.
#
# The model from 400 stories is *underconfident*. It saw few of its stories twice, and its training ended while the loss
# was still falling. So its τ is below 1, and this fixes it: dividing by 0.6 makes the logits larger.
#
# The model from 25 stories is overconfident, and its τ fixes only part of that (over five seeds, the error goes from
# 0.085 to 0.060, where chance alone would give 0.04). Print `reliability(logits[25])` to see why: nearly all its
# confidences are close together. Some belong to easy stories, which it gets right, and others to stories that it gets
# wrong with the same confidence. If τ lowers them all, it is underconfident on the easy stories; if not, it is
# overconfident on the others. Temperature fixes one problem: logits that are all too large, or all too small, by the
# same factor. Exercise **fit_temperature** asks for it.

# %% [markdown]
# ## 8.9 Shortcuts: right for the wrong reason
#
# What does our best classifier rely on? Remove part of the text and see what changes.

# %%
predict(
    "the model from 400 stories gets every story without its last sentence. Its accuracy: as before, 0.85, or 0.75?"
)


# %%
def cut(which):
    """The test stories, with only the sentences that `which` selects."""
    return [" ".join(which(story.sentences)) for story in test]


def answers_on(model, texts):
    return logits_of(model, encode(texts, truths[: len(texts)])).argmax(dim=1)


def accuracy_of(predictions):
    return (predictions == test_labels[: len(predictions)]).double().mean().item()


bayes = evaluation.NaiveBayes([s.text for s in train], [s.ending for s in train])
reading = {}
pieces = {
    "the whole story": cut(lambda s: s),
    "the last sentence alone": cut(lambda s: s[-1:]),
    "without the last sentence": cut(lambda s: s[:-1]),
    "the first half": cut(lambda s: s[: len(s) // 2]),
}
for name, texts in pieces.items():
    predictions = answers["fine-tuned", 400] if name == "the whole story" else answers_on(models[400], texts)
    reading[name] = accuracy_of(predictions)
    words_only = evaluation.accuracy(bayes.predict(texts), truths).value
    sad = predictions.double().mean()
    print(f"{name:<28} fine-tuned {reading[name]:.2f} (predicts sad: {sad:.2f})   naive Bayes {words_only:.2f}")
result("400 stories, the last sentence alone", reading["the last sentence alone"], 0.86, 0.14)
result("400 stories, without the last sentence", reading["without the last sentence"], 0.715, 0.13)

# %% [markdown]
# **What to see.** Without the last sentence the model is about as good as the majority baseline, or worse, though the
# text still contains everything that happened. That last sentence is mostly the narrator's comment: "Lily sang all the
# way home." "That evening there was no singing in the house." It is most of what the model relies on: alone, it is
# enough for an accuracy of about 0.9 with three of five seeds. For naive Bayes it is even *better* than the whole
# story, since the other words were noise. And look at the first halves, which do not reveal how the story ends: the
# best prediction for all of them would be *happy*, but with every seed the model calls most of them sad. It was never
# trained on a story that stops early, and it takes the absence of a happy comment for a sad ending. An accuracy of 0.95
# suggests a model that understands how things turn out; this table shows that it does not.
#
# Is that wrong? The comment is valid evidence, and as long as stories come with it, nothing is lost. But the model will
# be used on other texts than it was tested on. A clue that holds in the data but not in the world is a **shortcut**
# (Geirhos et al. 2020), and a network learns what is easiest to learn, not what we meant.
#
# Now take a data set with an accident in it. Suppose the sad stories came from a book that prints "The end." below each
# story, and nobody removed it. It says nothing about how a story ends. We fine-tune on 100 such stories and measure
# three times: on stories from the same source, on stories without the marker, and on stories with the marker below the
# happy ones.


# %%
def marked(subset, label):
    """The stories' texts, with the marker below those of this label."""
    return [story.text + " The end." if story.ending == label else story.text for story in subset]


predict("how accurate is it on stories from the same source? And without the marker?")

# %%
fooled = fine_tune(encode(marked(train[:100], "sad"), [story.ending for story in train[:100]]))
same, none, swapped = (accuracy_of(answers_on(fooled, marked(test[:150], label))) for label in ("sad", None, "happy"))
result("marker below the sad ones, as in training", same, 1.0, 0.02)
result("no marker", none, 0.763, 0.05)
print(f"marker below the happy ones: {swapped:.3f}")

words = [set(text.lower().split()) for text in marked(train[:100], "sad")]  # of each training story
fractions = {}  # word → the fraction of the sad stories that contain it, and of the happy ones
for word in set.union(*words):
    endings = [story.ending for story, story_words in zip(train, words, strict=False) if word in story_words]
    fractions[word] = [endings.count(y) / sum(story.ending == y for story in train[:100]) for y in ("sad", "happy")]
for word in sorted(fractions, key=lambda word: (abs(fractions[word][0] - fractions[word][1]), word))[-3:]:
    print(f"{word!r} is in {fractions[word][0]:.0%} of the sad and {fractions[word][1]:.0%} of the happy stories")

# %% [markdown]
# **What to see.** Perfect on held-out stories: better than with clean data, and that is the catch. Held-out stories
# from the same source carry the same marker, so no score on them can warn you. Without the marker the model is back
# near the majority baseline, although its training stories contained all the clues that a model trained on clean data
# uses. With the marker on the other label it does worse than the baseline (with five seeds, between none and half of
# its predictions were right). Warnings come from elsewhere: a score that is too good (here, better than any on clean
# data); a list of the most predictive words, which takes a second to make; the confident mistakes, read one by one; and
# texts from another source, or with something removed or changed.
#
# A shortcut is one way in which a held-out score misleads. The other is **leakage**: something of the test set was seen
# in training. Typical cases are the same text in both sets (retweets, boilerplate, several reviews by one author); a
# vocabulary or a mean that was computed on everything (our `center` and `scale` come from `train` only); the number of
# steps, τ or the model itself chosen by its score on `test`; and, with pretrained models, test texts in the pretraining
# data. Storyworld splits by combinations of hero, plot and object for this reason.
#
# In exercise **shortcut** you build such a data set and say what would have warned you. Finally, here are a few
# mistakes of the model from 100 stories, the most confident first. Minutes spent reading mistakes are rarely wasted:

# %%
confidence, predictions = logits[100].softmax(dim=1).max(dim=1)
wrong = evaluation.choose_mistakes((predictions != test_labels).tolist(), confidence.tolist(), n=3)
texts = ["… " + " ".join(story.sentences[-3:]) for story in test]
predicted = [LABELS[i] for i in predictions.tolist()]
print("\n".join(evaluation.show_mistakes(wrong, texts, truths, predicted, confidence.tolist(), width=250)))

# %% [markdown]
# ## 8.10 What was left out
#
# - **Two texts at once** (does the second follow from the first?): the same head, with BERT's two segments. **Several
#   labels for one text**: a sigmoid for each label instead of one softmax.
# - **Gentler fine-tuning.** Smaller learning rates for lower layers, and gradual unfreezing, one layer after another
#   (Howard & Ruder 2018); an auxiliary loss that continues the pretraining objective (Radford et al. 2018, equation 5).
#   Fine-tuning large models on few labels fails for some seeds; longer training with a small learning rate and warmup
#   helps (Mosbach et al. 2021).
# - **Thresholds.** With two labels you can move the threshold of 0.5 and trade precision for recall; a precision-recall
#   curve shows all thresholds at once.
# - **Variation between seeds**, which the intervals of section 8.6 do not cover. And a p-value is not the size of a
#   difference (Dror et al. 2018).
# - **Calibration under distribution shift.** τ is fitted to texts like those in `tune`. It guarantees nothing for
#   others.
# - **Fairness.** One number for everyone hides the groups for which a classifier is bad: lesson 19.
#
# **Further reading.** Devlin et al. 2019, *BERT*, sections 4.1 and 5.3 (feature-based approach vs. fine-tuning).
# Radford et al. 2018, *Improving Language Understanding by Generative Pre-Training*, section 3. Howard & Ruder 2018,
# *Universal Language Model Fine-tuning for Text Classification*. Sun et al. 2019, *How to Fine-Tune BERT for Text
# Classification?* Guo et al. 2017, *On Calibration of Modern Neural Networks*. Efron & Tibshirani 1993, *An
# Introduction to the Bootstrap*. Dror et al. 2018, *The Hitchhiker's Guide to Testing Statistical Significance in
# Natural Language Processing*. Opitz & Burst 2019, *Macro F1 and Macro F1*. Elkan 2001, *The Foundations of
# Cost-Sensitive Learning*. Geirhos et al. 2020, *Shortcut Learning in Deep Neural Networks*. McCoy, Pavlick & Linzen
# 2019, *Right for the Wrong Reasons*.
#
# **Now you.** `python -m lessons check 8` creates your file, `lessons/mine/08_classification.py`, with seven
# exercises in it. When the checks pass, `python -m lessons run 8 --mine` computes metrics, weights and calibration with
# your functions.
