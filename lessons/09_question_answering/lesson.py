# %% [markdown]
# # 09 Question answering
#
# - **Question:** How can a model answer a question about a text, say when the text has no answer, and never make one
#   up?
# - **Teaches:** answers as spans; from characters to tokens and back; long texts in overlapping windows; the best
#   span; "no answer" and its threshold; exact match and F1, and what they miss
# - **Minutes:** 120 to read and solve, 1 to run
#
# You need BERT and its segments (lesson 07), fine-tuning (lesson 08), and the cross-entropy (lesson 01). The method
# is that of Devlin et al. 2019, sections 4.2 and 4.3. The task and its metrics are those of SQuAD (Rajpurkar et al.
# 2016, 2018).
#
# Dimension letters: B windows in a batch, T tokens in a window, C width of the model, n tokens in a context.

# %% [setup]
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# %%
import dataclasses
import random

import torch
from torch import nn

from lessons.machinery.lesson_api import part, predict, result, seed
from lessons.machinery.pictures import curves, heatmap
from llmasos.datasets import QA
from llmasos.datasets.storyworld.task_examples import storyworld_questions
from llmasos.evaluation.squad import squad_values
from llmasos.hub import load_backbone, load_config, load_tokenizer
from llmasos.models import build_model
from llmasos.objectives import SpanExtraction, make_windows, predict_spans
from llmasos.training.optimizers import learning_rate_factor, make_optimizers, set_learning_rate
from llmasos.training.recipe import TrainingSettings

torch.manual_seed(seed())
torch.set_num_threads(min(2, torch.get_num_threads()))
torch.set_printoptions(precision=2, sci_mode=False)

# %% [markdown]
# ## 9.1 An answer is a place
#
# > *Anna was a curious girl who lived beside the stone bridge. One windy morning she found an old lamp in the attic …*
# >
# > Where did Anna live?
#
# There are two ways to answer. A model can *write* an answer, word by word, as the GPT of lesson 04 would. Or it can
# *point* at the answer: "beside the stone bridge", from the eighth word to the eleventh. Pointing is more modest. A
# model that points cannot use its own words, count, or say yes or no. But it cannot invent anything either: every
# answer is a piece of the text, and you can see where it comes from. For a law, a manual or a patient's record, that
# is worth a lot.
#
# So the answer is a **span**: a start and an end. Finding it takes two classifications: at which of the T tokens does
# the answer start, and at which does it end?
#
# The stories of our small world come with questions. One question in five has *no* answer in its story: it asks about
# a person or a thing that the story does not mention. This catches a model that always answers.

# %%
SEED = seed()
questions = storyworld_questions(300)
train, held_out = questions.train, questions.val
random.Random(0).shuffle(held_out)
tune, test = held_out[:200], held_out[200:500]  # held-out questions: some to choose τ, the others to measure on
print(f"{len(train):,} training questions, {len(tune)} for the threshold, {len(test)} for the test\n")

example = next(qa for qa in test if qa.answers and len(qa.context) > 400)
(answer, *_) = example.answers
print(example.context, "\n\n", example.question)
print(f" → characters {answer.start} to {answer.start + len(answer.text) - 1}: {answer.text!r}")

# %% [markdown]
# What score can you get without reading? Here are two baselines. The first never answers. The second picks the
# sentence that shares the most words with the question and returns all of it.

# %%
predict("how many of the 300 questions does the first baseline answer exactly right? And the second?")


# %%
def scores(predictions, qas):
    """Mean exact match and F1, in percent: over all questions, those with an answer, and those without."""
    values = torch.tensor(squad_values(predictions, [[a.text for a in qa.answers] for qa in qas])) * 100  # (N, 2)
    answerable = torch.tensor([bool(qa.answers) for qa in qas])
    return [values[rows].mean(dim=0).tolist() for rows in (torch.ones_like(answerable), answerable, ~answerable)]


def most_similar_sentence(qa):
    """The sentence that shares the most words with the question."""
    words = set(qa.question.lower().strip("?").split())
    return max(qa.context.split(". "), key=lambda sentence: len(words & set(sentence.lower().split())))


result("never answering, exact match", scores([""] * len(test), test)[0][0], 18.0, 0.1)
(exact, f1), *_ = scores([most_similar_sentence(qa) for qa in test], test)
result("the most similar sentence, exact match", exact, 0.0, 0.1)
result("the most similar sentence, F1", f1, 10.6, 0.1)

# %% [markdown]
# The sentence is almost never the answer word for word, but it often *contains* the answer, and F1 gives a little
# credit for that. Section 9.6 explains what F1 counts.

# %% [markdown]
# ## 9.2 The span model
#
# The model reads question and context together, so that every token of the context can attend to the question:
#
#     [CLS] where did anna live ? [SEP] anna was a curious girl who lived beside the stone bridge . [SEP]
#
# BERT turns each token into a vector $h_t$ (C,). We add two vectors of the same width, $s$ and $e$ (each with a bias,
# which does not change the softmax). The dot product $s \cdot h_t$ scores token $t$ as the start of the answer. A
# softmax over the tokens turns these scores into probabilities (Devlin et al. 2019, section 4.2):
#
# $$ p_{\text{start}}(t) = \frac{\exp(s \cdot h_t)}{\sum_r \exp(s \cdot h_r)}, \qquad
#    p_{\text{end}}(t) = \frac{\exp(e \cdot h_t)}{\sum_r \exp(e \cdot h_r)} $$
#
# Notice what the softmax runs over. In lessons 03 to 08 the classes were tokens of the *vocabulary*, or labels. Here
# the classes are the *positions* of this particular text, so their number T differs from text to text. The loss is
# the mean of the two cross-entropies,
#
# $$ L = -\tfrac12 \left( \log p_{\text{start}}(i) + \log p_{\text{end}}(j) \right), $$
#
# for an answer from token $i$ to token $j$. The question and the [SEP] tokens cannot be part of an answer, so the
# softmax leaves them out (their logits are set to $-\infty$). **No answer** is a position, too: start and end both
# point at [CLS], which is always token 0 (section 4.3 of the paper).

# %%
tokenizer = load_tokenizer("storyworld-bert")  # the library's small BERT (lesson 08)
config = dataclasses.replace(load_config("storyworld-bert"), head="question_answering")
torch.manual_seed(SEED)
model = build_model(config)
load_backbone(model, "storyworld-bert")

question, context = tokenizer.encode("Where did Anna live?"), tokenizer.encode("Anna lived here.")
ids = torch.tensor([tokenizer.build_inputs(question, context).ids])
print(ids.shape, "→", model(ids).shape)  # (B, T) → (B, T, 2): a start and an end logit for every token
print(
    sum(p.numel() for p in model.head.parameters()), "new parameters: two vectors of", config.d_model, "and two biases"
)

# %% [markdown]
# ## 9.3 From characters to tokens and back
#
# People mark answers in characters; models work with tokens. Most homemade systems go wrong in the conversion between
# the two, and they go wrong silently: with answers that are shifted by one token the model still trains, just a
# little worse.
#
# So we keep the position of every token in the text. For each token, `encode_with_offsets` returns the characters
# that it covers, start included and end excluded, as in Python's slices:

# %%
text = "Leo lived beside the stone-bridge."
encoding = tokenizer.encode_with_offsets(text)
for id, begin, end in zip(encoding.ids, encoding.starts, encoding.ends, strict=True):
    print(f"{tokenizer.decode([id]):>10}  {begin:2}…{end:<2}  {text[begin:end]!r}")

# %% [markdown]
# Take the answer "the stone", characters 17 to 25, so begin = 17 and end = 26. Which tokens contain it? Those that
# share a character with it. Two intervals $[a, b)$ and $[c, d)$ overlap exactly when each begins before the other
# ends:
#
# $$ a < d \quad\text{and}\quad c < b . $$
#
# This also settles the awkward cases. An answer may begin in the middle of a token (the label is "bridge", but
# another vocabulary has the token "stone-bridge"): then the whole token is included. Spaces belong to no token and
# drop out. Exercise **token_span** asks for the first and the last token.
#
# And back? The predicted answer is *cut out of the original text*, from the start of the first token to the end of
# the last one. Never decode it from the tokens: this BERT is uncased, and would return "anna" where the text has
# "Anna".

# %% [markdown]
# ## 9.4 A long text through a small window
#
# Our BERT reads 64 tokens. A story has about 130, and the question needs some room as well, so a long context has to
# be read in pieces. If we simply cut the text every 50 tokens, an answer across a cut is not complete in any piece.
# So the pieces **overlap**: neighboring windows share a number of tokens, the *stride*, and an answer of up to
# stride + 1 tokens is complete in at least one of them.
#
#     context       a b c d e f g h i j         with room for 5 tokens, 2 of them shared:
#     windows       a b c d e
#                         d e f g h
#                               g h i j
#
# Each window is paired with the whole question. Why is stride + 1 the limit? An answer that is complete in neither of
# two neighboring windows must begin before the second window begins, and end after the first one ends. The windows
# share `stride` tokens; with one more token on either side, that makes at least stride + 2. Each window starts `room`
# − `stride` tokens after the one before, and the first window that reaches the end of the context is the last.
# Exercise **windows** asks for the begin and the end of every window.
#
# In training, a window that does not contain the whole answer is an example of "not here". There are many more of
# these than of the others:

# %%
T, STRIDE = config.context_length, 16
all_windows = [make_windows(qa, tokenizer, T, STRIDE) for qa in train]
has_answer = [window.answer[0] != window.inputs.cls_index for windows in all_windows for window in windows]
print(f"{len(train):,} questions, {len(has_answer):,} windows, {sum(has_answer) / len(has_answer):.0%} with the answer")

example_windows = make_windows(example, tokenizer, T, STRIDE)
for number, window in enumerate(example_windows):
    first, last = window.answer
    decoded = tokenizer.decode(window.inputs.ids[first : last + 1])
    print(f"window {number}: {len(window.inputs.ids)} tokens, answer at {first}…{last}: {decoded!r}")

# %% [markdown]
# Three windows in four are labeled "not here". A model trained on all of them mostly learns to predict "no answer".
# We keep every window that contains the answer, and one of the other windows of each question.

# %%
rng = random.Random(SEED)
examples = []
for windows in all_windows:
    not_here = [window for window in windows if window.answer[0] == window.inputs.cls_index]
    examples += [window for window in windows if window.answer[0] != window.inputs.cls_index]
    examples += rng.sample(not_here, min(1, len(not_here)))
print(f"{len(examples):,} training windows")

# %%
STEPS, BATCH, RATE = 130, 32, 3e-3
objective = SpanExtraction(tokenizer)


def fine_tune(model):
    """Train a span model on the windows and return the points of its loss curve."""
    settings = TrainingSettings(optimizer="muon", learning_rate=RATE, weight_decay=0.01)  # Muon: see lesson 05
    optimizers = make_optimizers(model, settings)
    order, points, smooth = [], [], None
    model.train()
    for step in range(STEPS):
        if len(order) < BATCH:
            order = rng.sample(range(len(examples)), len(examples))
        batch = objective.collate([examples[order.pop()] for _ in range(BATCH)])
        loss = objective.loss_sums(model, batch)["span"] / BATCH
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        set_learning_rate(optimizers, RATE * learning_rate_factor(step, STEPS, 20, "cosine", 0.1))
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        smooth = loss.item() if smooth is None else 0.95 * smooth + 0.05 * loss.item()
        if step % 5 == 0:
            points.append((step, smooth))
    model.eval()
    return points


points = fine_tune(model)
curves({"mean of start and end": points[1:]}, "Learning to point", "step", "training loss, nats", "09-curve")

# %% [markdown]
# **What to see.** At first the model cannot tell the tokens apart, and the loss is the logarithm of their number:
# about 50 of the 64 belong to the context, and ln 50 = 3.9. The loss begins to fall once the warmup lets it, and is
# still falling after 130 steps. The recipe `qa-storyworld` takes twice as many steps, on four times as many
# questions.

# %% [markdown]
# ## 9.5 The best span
#
# The two softmaxes are independent of each other. The most likely end, taken by itself, may come *before* the most
# likely start. Still, the logits contain all we need: as the score of a span we take the logarithm of the product of
# its two probabilities, up to a constant,
#
# $$ \text{score}(i, j) = s \cdot h_i + e \cdot h_j , \qquad i \le j < i + \text{longest}, $$
#
# and choose the best of all *valid* spans, where *longest* is the maximum length of an answer in tokens. There are at
# most T · longest of them, so it is cheap to try them all.

# %%
window = next(w for w in example_windows if w.answer[0] != w.inputs.cls_index)
(logits,) = predict_spans(model, objective, [window])  # (T, 2)
shown = slice(window.inputs.second_start, window.inputs.second_start + 24)
probabilities = logits.softmax(dim=0).T  # (2, T): each row sums to one
words = [tokenizer.decode([id]) for id in window.inputs.ids[shown]]
heatmap(probabilities[:, shown].tolist(), ["start", "end"], words, example.question, "09-span")
print(example.question, "→", answer.text)
print(f"the probability of [CLS] is {probabilities[0, 0]:.2f} as the start and {probabilities[1, 0]:.2f} as the end")

# %% [markdown]
# **What to see.** The darkest token in the upper row is the first token of the answer, and the darkest one in the
# lower row is its last. The remaining probability is on tokens that start or end some other phrase (in some runs such
# a phrase wins), and on [CLS], which is not in the picture.
#
# How often does it matter that start and end are chosen together? And what is the best span over *several* windows?
# Each window proposes its best span, and the highest score wins. Mind the word *score*: we compare logits, not
# probabilities. The softmax sums to one in every window, even in a window without the answer, and so loses exactly
# what we want to know: how much this window has to offer compared with another.
#
# **No answer.** In each window, pointing at [CLS] twice means "not here", with the score $s \cdot h_0 + e \cdot h_0$.
# A question has no answer only if no window has one. So what counts is the window with the *lowest* "not here" score:
#
# $$ \text{null} = \min_{\text{windows}} \left( s \cdot h_0 + e \cdot h_0 \right), \qquad
#    \text{no answer if } \text{null} - \max_{\text{windows}, i, j} \text{score}(i, j) > \tau . $$
#
# The minimum and the maximum are independent: the window with the lowest "not here" score need not be the one with
# the best span. The threshold τ decides when in doubt. (In section 4.3 of the paper, the model answers if the best
# score *exceeds* null + τ: the same rule, with the sign of τ reversed.) Exercises **best_span** and
# **answer_over_windows** implement this section.

# %%
LONGEST = 20


def span_by_matrix(start_logits, end_logits, max_length):
    """The best valid span of one window, from the matrix of all scores (T, T)."""
    valid = torch.ones(len(start_logits), len(end_logits), dtype=torch.bool).triu().tril(max_length - 1)
    scores = (start_logits[:, None] + end_logits).masked_fill(~valid, -torch.inf)
    return divmod(int(scores.argmax()), len(end_logits))


best_span = part("best_span", span_by_matrix)  # `run 9 --mine` uses your function here


def read(model, qas):
    """The windows of each question, with the logits of [CLS] and of the context: [(window, (1 + n, 2)), …]."""
    windows_of = [make_windows(QA(qa.context, qa.question, ()), tokenizer, T, STRIDE) for qa in qas]
    all_logits = iter(predict_spans(model, objective, [window for windows in windows_of for window in windows]))
    readings = []
    for windows in windows_of:
        rows = []
        for window in windows:
            logits, first = next(all_logits), window.inputs.second_start
            rows.append((window, torch.cat([logits[:1], logits[first : first + len(window.starts)]])))
        readings.append(rows)
    return readings


def choose_answer(rows):
    """((begin, end), margin): a question's best span over all windows, in characters, and null minus its score."""
    best, span = -torch.inf, None
    for window, logits in rows:
        i, j = best_span(logits[1:, 0], logits[1:, 1], LONGEST)
        score = float(logits[1 + i, 0] + logits[1 + j, 1])
        if score > best:
            best, span = score, (int(window.starts[i]), int(window.ends[j]))
    return span, min(float(logits[0].sum()) for _, logits in rows) - best


def answers(qas, choices, threshold=0.0):
    """The answers to questions, cut out of their contexts; "" for no answer."""
    return [
        "" if margin > threshold else qa.context[begin:end]
        for qa, ((begin, end), margin) in zip(qas, choices, strict=True)
    ]


# %%
test_readings = read(model, test)
test_choices = [choose_answer(rows) for rows in test_readings]
tune_choices = [choose_answer(rows) for rows in read(model, tune)]
predictions = answers(test, test_choices)
(exact, f1), (with_exact, _), (without_exact, _) = scores(predictions, test)
result("span model, exact match", exact, 70.0, 13.0)
result("span model, F1", f1, 71.0, 13.0)
print(f"right: {with_exact:.1f} % of the questions with an answer, {without_exact:.1f} % of those without one")

# %% [markdown]
# (Five seeds gave 60 to 75. After so few steps, the result still depends on luck, and a difference of five points
# between two such models means nothing.) The model finds seven or eight of ten answers. It does worse on questions
# without an answer: it has learned what type of phrase a question asks for, and picks the next best one.

# %%
predict(
    "the first window holds two fifths of a story. How much of the exact match is left if the model reads only that?"
)

# %%
first_only = answers(test, [choose_answer(rows[:1]) for rows in test_readings])
result("reading the first window only, exact match", scores(first_only, test)[0][0], 58.0, 10.0)

crossed = [int(l[1:, 0].argmax()) > int(l[1:, 1].argmax()) for rows in test_readings for _, l in rows]
print(f"in {sum(crossed) / len(crossed):.0%} of the windows, the most likely end comes before the most likely start")

# %% [markdown]
# Much more than two fifths: many questions are answered where a story introduces its characters, and where there is no
# answer, reading less also means fewer wrong candidates. The remaining answers are out of reach. And in about one
# window of five, the two most likely positions do not even form a valid span.
#
# ### The threshold
#
# So far τ was zero. Is that the best choice? We can try other values on `tune`.

# %%
thresholds = [step / 2 for step in range(-16, 17)]
tuning_scores = [scores(answers(tune, tune_choices, t), tune) for t in thresholds]
curves(
    {
        name: [(t, row[group][0]) for t, row in zip(thresholds, tuning_scores, strict=True)]
        for group, name in enumerate(("all questions", "with an answer", "without an answer"))
    },
    "Exact match by threshold", "threshold", "exact match, %", "09-threshold",
)  # fmt: skip
best_threshold = max(thresholds, key=lambda t: tuning_scores[thresholds.index(t)][0][0])
(tuned_exact, _), *_ = scores(answers(test, test_choices, best_threshold), test)
print(
    f"the best threshold on tune is {best_threshold}; exact match on test: {tuned_exact:.1f} (with τ = 0: {exact:.1f})"
)

# %% [markdown]
# **What to see.** Two of the curves cross. On the far left the model answers hardly any question: those without an
# answer are right, the others wrong. On the far right it always answers. The curve for all questions is flat at the
# top, so the exact threshold hardly matters for the total. What it decides is which of two errors you get: a wrong
# answer, or a missing one. We choose the threshold on `tune`. Chosen on `test`, it would be fitted to the very
# questions that we measure on (lesson 08 made the same point about its temperature).

# %% [markdown]
# ## 9.6 Exact match and F1
#
# When is an answer right? SQuAD's script first applies a **normalization**: lower case, no punctuation, no articles
# (a, an, the), single spaces. Then it computes two numbers (Rajpurkar et al. 2016, section 6.1):
#
# - **exact match**: 1 if the two texts are equal, else 0;
# - **F1**: both texts are treated as bags of words. With $m$ words in common (a word that one side has twice and the
#   other once counts once), $f$ words in the prediction and $w$ words in the right answer,
#
# $$ P = \frac{m}{f}, \qquad R = \frac{m}{w}, \qquad F_1 = \frac{2PR}{P + R} = \frac{2m}{f + w} . $$
#
# Without a common word, F1 is 0. If one side has no words at all, F1 is 1 if the other has none either, and 0
# otherwise. With several right answers, the best comparison counts, separately for each of the two numbers. The score
# of a dataset is the mean over its questions.

# %%
reference = "the old stone bridge"
for prediction in ("The old stone bridge.", "old bridge", "beside the old stone bridge of the village", "the mill"):
    ((em, f1_value),) = squad_values([prediction], [[reference]])
    print(f"{prediction:<45} exact match {em:.0f}, F1 {f1_value:.2f}")

# %% [markdown]
# F1 is lenient with answers that are a word too long or too short, and these are the most common mistakes of span
# models. But it only counts words. It does not know that "not" matters more than "old", that 12 o'clock is noon, or
# that "the dog bit the man" and "the man bit the dog" are different events. Exercise **fool_f1** asks you to exploit
# that. And always look at real mistakes:

# %%
wrong = [i for i, qa in enumerate(test) if not squad_values([predictions[i]], [[a.text for a in qa.answers]])[0][0]]
for i in wrong[:6]:
    reference = test[i].answers[0].text if test[i].answers else "(no answer)"
    print(f"{test[i].question}\n    predicted: {predictions[i] or '(no answer)'}\n    reference: {reference}")

# %% [markdown]
# **What to see.** Most of the wrong answers are complete phrases, and some are of the right type, such as a place for
# *where*. A common mistake is an answer to a question that has none (somebody else's house): the model finds the type
# of thing that the question asks for, but does not check whether it belongs to *this* child. Matching the answer to
# the right person is the hard part.

# %% [markdown]
# ## 9.7 Why pointing works
#
# Nobody programmed what a "where" question is. The model learned from about two thousand examples that *where* goes
# with *in, beside, at, behind*, and *who* with a name. This few examples are enough because the backbone already knew
# which words belong together (lesson 07). From random weights, the same number of steps leads to a model that does no
# better than never answering (the recipe `qa-storyworld` trains both; the README has the numbers).
#
# And the model reads the question *with* the context, in every layer. A model that encodes question and context
# separately, one vector each, and compares the vectors, would be far faster on a million texts: a new question does
# not require reading the texts again. Search engines do this first, and then let a reader like ours look at the best
# hundred (Karpukhin et al. 2020).

# %% [markdown]
# ## 9.8 What was left out
#
# - **Answers that are not spans**: yes and no, numbers that must be counted, lists (Dua et al. 2019).
# - **Retrieval**: finding the text that may contain the answer, among millions (Chen et al. 2017, Karpukhin et al.
#   2020).
# - **Free-form answers**: this is what instruction-tuned GPTs do (lesson 14), and they can be wrong in ways that a
#   pointer cannot.
# - **One probability over all windows** in training: here each window has its own softmax (Clark & Gardner 2018 train
#   with one over all of them).
# - **Real questions.** SQuAD's were written by people who had the text in front of them, so question and answer share
#   words, and a model that matches words goes a long way (Jia & Liang 2017 show how easily it is misled).
#
# **Further reading.** Rajpurkar et al. 2016, *SQuAD: 100,000+ Questions for Machine Comprehension of Text*.
# Rajpurkar, Jia & Liang 2018, *Know What You Don't Know: Unanswerable Questions for SQuAD*. Devlin et al. 2019,
# *BERT*, sections 4.2 and 4.3. Jia & Liang 2017, *Adversarial Examples for Evaluating Reading Comprehension Systems*.
# Chen et al. 2017, *Reading Wikipedia to Answer Open-Domain Questions*.
#
# **Now you.** `python -m lessons check 9` creates your file, `lessons/mine/09_question_answering.py`, with seven
# exercises. When the checks pass, `python -m lessons run 9 --mine` answers the questions with your best_span.
