# %% [markdown]
# # 09 Question answering
#
# - **Question:** How can a model answer a question about a text, say when the text has no answer, and never invent one?
# - **Teaches:** answers as spans; from characters to tokens and back; long texts in overlapping windows; the best span;
#   "there is no answer" and its threshold; exact match and F1, and what they do not see
# - **Minutes:** 120 to read and solve, 1 to run
#
# You need: BERT and its segments (lesson 07), fine-tuning (lesson 08), the cross-entropy (lesson 01). The method is
# Devlin et al. 2019, sections 4.2 and 4.3; the task and its measures are those of SQuAD (Rajpurkar et al. 2016, 2018).
#
# Letters: B windows in a batch, T tokens in a window, C width of the model, n tokens in a context.

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
from llmasos.training.optimizers import make_optimizers, set_learning_rate
from llmasos.training.recipe import TrainingSettings
from llmasos.training.schedules import learning_rate_factor

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
# *point* at the answer: "beside the stone bridge", from the eighth word to the eleventh. Pointing is the humbler way.
# It cannot answer in its own words, cannot count, cannot say yes or no. But it cannot invent anything either: whatever
# it says stands in the text, and you can see where. For a law, a manual or a patient's record, that is worth a lot.
#
# So the answer is a **span**: a begin and an end. And to find it is a classification, twice: at which of the T tokens
# does the answer begin, and at which does it end?
#
# The stories of our small world come with questions. One question in five has *no* answer in its story. It asks for
# somebody or something that does not occur there, so that a model that always answers is caught.

# %%
SEED = seed()
questions = storyworld_questions(300)
train, held_out = questions.train, questions.val
random.Random(0).shuffle(held_out)
tune, test = held_out[:200], held_out[200:500]  # to decide by, and to measure on: stories of other combinations
print(f"{len(train):,} questions to learn from, {len(tune)} to decide by, {len(test)} to measure on\n")

example = next(qa for qa in test if qa.answers and len(qa.context) > 400)
(answer, *_) = example.answers
print(example.context, "\n\n", example.question)
print(f" → characters {answer.start} to {answer.start + len(answer.text) - 1}: {answer.text!r}")

# %% [markdown]
# What would one score without reading? Two baselines. The first never answers. The second takes the sentence that
# shares most words with the question, and answers with all of it.

# %%
predict("how many of the 300 questions does the first get right, word for word? And the second?")


# %%
def scores(said, asked):
    """Mean exact match and F1 of answers, in per cent: over all, those with an answer, those without."""
    values = torch.tensor(squad_values(said, [[a.text for a in qa.answers] for qa in asked])) * 100  # (N, 2)
    has = torch.tensor([bool(qa.answers) for qa in asked])
    return [values[rows].mean(dim=0).tolist() for rows in (torch.ones_like(has), has, ~has)]


def most_similar_sentence(qa):
    """The sentence that shares most words with the question."""
    words = set(qa.question.lower().strip("?").split())
    return max(qa.context.split(". "), key=lambda sentence: len(words & set(sentence.lower().split())))


result("never answering, exact match", scores([""] * len(test), test)[0][0], 18.0, 0.1)
(exact, f1), *_ = scores([most_similar_sentence(qa) for qa in test], test)
result("the most similar sentence, exact match", exact, 0.0, 0.1)
result("the most similar sentence, F1", f1, 10.6, 0.1)

# %% [markdown]
# The sentence is hardly ever the answer word for word, but it often *holds* it, and gets a little credit for that in
# F1. Section 9.6 says what F1 counts.

# %% [markdown]
# ## 9.2 The span model
#
# The model reads question and context together, so that every token of the context can look at the question:
#
#     [CLS] where did anna live ? [SEP] anna was a curious girl who lived beside the stone bridge . [SEP]
#
# BERT makes a vector $h_t$ (C,) of each token. New are two vectors of the same width, $s$ and $e$ (and a bias for each,
# which changes no softmax). How well the answer could begin at token $t$ is the scalar product $s \cdot h_t$; a softmax
# over the tokens makes probabilities of that (Devlin et al. 2019, section 4.2):
#
# $$ p_{\text{start}}(t) = \frac{\exp(s \cdot h_t)}{\sum_r \exp(s \cdot h_r)}, \qquad
#    p_{\text{end}}(t) = \frac{\exp(e \cdot h_t)}{\sum_r \exp(e \cdot h_r)} $$
#
# Note over what the softmax runs: in lessons 03 to 08 the classes were tokens of the *vocabulary*, or labels. Here the
# classes are *positions* of this very text, of which there are T, another number in every text. The loss is the mean
# of the two cross-entropies,
#
# $$ L = -\tfrac12 \left( \log p_{\text{start}}(i) + \log p_{\text{end}}(j) \right), $$
#
# for an answer from token $i$ to token $j$. The question and the [SEP] are left out of the softmax (their logits are
# set to $-\infty$): no answer stands there. **No answer** is a position, too: start and end both point at [CLS], which
# always is token 0 (section 4.3 of the paper).

# %%
tokenizer = load_tokenizer("storyworld-bert")  # the small BERT that comes with the library (lesson 08)
config = dataclasses.replace(load_config("storyworld-bert"), head="question_answering")
torch.manual_seed(SEED)
model = build_model(config)
load_backbone(model, "storyworld-bert")

question, context = tokenizer.encode("Where did Anna live?"), tokenizer.encode("Anna lived here.")
ids = torch.tensor([tokenizer.build_inputs(question, context).ids])
print(ids.shape, "→", model(ids).shape)  # (B, T) → (B, T, 2): start and end logits of every token
print(sum(p.numel() for p in model.head.parameters()), "new numbers: two vectors of", config.d_model, "and two biases")

# %% [markdown]
# ## 9.3 From characters to tokens and back
#
# People mark answers in characters; models speak in tokens. The translation between the two is where most homemade
# systems go wrong, and they go wrong silently: an answer shifted by one token still trains, a little worse.
#
# So every token has to remember where it stood. `encode_with_offsets` gives for each token the characters it covers,
# begin included, end not, as in Python's slices:

# %%
text = "Leo lived beside the stone-bridge."
spans = tokenizer.encode_with_offsets(text)
for id, begin, end in zip(spans.ids, spans.starts, spans.ends, strict=True):
    print(f"{tokenizer.decode([id]):>10}  {begin:2}…{end:<2}  {text[begin:end]!r}")

# %% [markdown]
# Take the answer "the stone", characters 17 to 25, so begin = 17 and end = 26. Which tokens hold it? Those that share a
# character with it. Two intervals $[a, b)$ and $[c, d)$ share something exactly if each begins before the other ends:
#
# $$ a < d \quad\text{and}\quad c < b . $$
#
# That also answers the awkward cases. An answer may begin in the middle of a token (the label is "bridge", the token is
# "stone-bridge" in another vocabulary): the whole token is taken in. Spaces belong to no token and drop out. Exercise
# **token_span** asks for first and last token.
#
# And back? The predicted answer is *cut out of the original text*, from the first token's begin to the last token's
# end. Never decode it from the tokens: this BERT knows no capitals, and would say "anna" where the text says "Anna".

# %% [markdown]
# ## 9.4 A long text through a small window
#
# Our BERT reads 64 tokens. A story has about 130, the question needs some too. What does not fit has to be read in
# pieces. If we simply cut the text every 50 tokens, an answer that stands across a cut is whole in no piece. So the
# pieces **overlap**: neighboring windows share a number of tokens, the *stride*, and an answer of up to stride + 1
# tokens is whole in at least one of them.
#
#     context       a b c d e f g h i j         with room for 5 tokens, 2 of them shared:
#     windows       a b c d e
#                         d e f g h
#                               g h i j
#
# Each window is framed with the whole question. Why is stride + 1 the limit? An answer that is in no window whole must
# begin before the place where the next window begins, and end behind the place where this one ends. Between these two
# places lie `stride` tokens; with one more on either side that makes stride + 2 at least. The windows move by what is
# new, `room` − `stride`, and the first one that reaches the end of the context is the last. Exercise **windows** asks
# for begin and end of every window.
#
# In training, a window without the whole answer is an example of "not here". There are many more of these than of the
# others:

# %%
T, STRIDE = config.context_length, 16
all_windows = [make_windows(qa, tokenizer, T, STRIDE) for qa in train]
has_answer = [window.answer[0] != window.inputs.cls_index for some in all_windows for window in some]
print(f"{len(train):,} questions, {len(has_answer):,} windows, {sum(has_answer) / len(has_answer):.0%} with the answer")

one = make_windows(example, tokenizer, T, STRIDE)
for number, window in enumerate(one):
    first, last = window.answer
    said = tokenizer.decode(window.inputs.ids[first : last + 1])
    print(f"window {number}: {len(window.inputs.ids)} tokens, answer at {first}…{last}: {said!r}")

# %% [markdown]
# Three windows in four say "not here". Trained on all of them, a model learns first of all to deny. We keep every
# window with the answer, and of each question's other windows one.

# %%
rng = random.Random(SEED)
examples = []
for some in all_windows:
    without = [window for window in some if window.answer[0] == window.inputs.cls_index]
    examples += [window for window in some if window.answer[0] != window.inputs.cls_index]
    examples += rng.sample(without, min(1, len(without)))
print(f"{len(examples):,} windows to train on")

# %%
STEPS, BATCH, RATE = 130, 32, 3e-3
objective = SpanExtraction(tokenizer)


def fine_tune(model):
    """Train a span model on the windows; returns the points of its loss curve."""
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
curves({"start and end, mean": points[1:]}, "Learning to point", "step", "training loss, nats", "09-curve")

# %% [markdown]
# **What to see.** At the beginning all tokens are alike to the model, and the loss is the logarithm of their number: of
# the 64, about 50 are the context's, and ln 50 = 3.9. It begins to fall when the warmup lets it, and has not come to
# its end after 130 steps; the recipe `qa-storyworld` takes twice as many, on four times as many questions.

# %% [markdown]
# ## 9.5 The best span
#
# The two softmaxes know nothing of each other. Their most likely positions, each taken by itself, may be an end that
# lies *before* the start. And yet the model has said all that is needed: take as the score of a span the logarithm of
# the product of the two probabilities, up to a constant
#
# $$ \text{score}(i, j) = s \cdot h_i + e \cdot h_j , \qquad i \le j < i + \text{longest}, $$
#
# and choose the best of all spans that are *possible*. There are at most T · longest of them, so trying all is cheap.

# %%
window = next(w for w in one if w.answer[0] != w.inputs.cls_index)
(logits,) = predict_spans(model, objective, [window])  # (T, 2)
shown = slice(window.inputs.second_start, window.inputs.second_start + 24)
probabilities = logits.softmax(dim=0).T  # (2, T): every row sums to one
words = [tokenizer.decode([id]) for id in window.inputs.ids[shown]]
heatmap(probabilities[:, shown].tolist(), ["start", "end"], words, example.question, "09-span")
print(example.question, "→", answer.text)
print(f"of the weight, [CLS] has {probabilities[0, 0]:.2f} of start and {probabilities[1, 0]:.2f} of end")

# %% [markdown]
# **What to see.** The darkest token of the upper row is the first of the answer, that of the lower row its last. What
# is left of the weight is on tokens that begin or end some other phrase (in some runs such a phrase wins), and on
# [CLS], which is out of the picture.
#
# How often would it matter that start and end are chosen together? And what is the best span over *several* windows?
# Each window proposes its best one, and the highest score wins. Mind the word *score*: it is the logits that are
# compared, not the probabilities. A softmax sums to one in every window, also in those in which there is nothing to
# find, and so loses just what we want to know: how much this window has to offer compared with that one.
#
# **No answer.** In each window, pointing at [CLS] twice says "not here", with the score $s \cdot h_0 + e \cdot h_0$. A
# question has no answer if no window has one. So the window to ask is the one that denies *least*:
#
# $$ \text{null} = \min_{\text{windows}} \left( s \cdot h_0 + e \cdot h_0 \right), \qquad
#    \text{no answer if } \text{null} - \max_{\text{windows}, i, j} \text{score}(i, j) > \tau . $$
#
# The two are looked for independently: the window that denies least need not be the one with the best span. The
# threshold τ decides what to do in doubt. (Section 4.3 of the paper gives an answer if the best score *exceeds* null +
# τ: the same rule, with the sign of τ reversed.) Exercises **best_span** and **answer_over_windows** are this
# section.

# %%
LONGEST = 20


def span_by_matrix(start_logits, end_logits, max_length):
    """The best possible span of one window: all scores at once, (T, T)."""
    possible = torch.ones(len(start_logits), len(end_logits), dtype=torch.bool).triu().tril(max_length - 1)
    scores = (start_logits[:, None] + end_logits).masked_fill(~possible, -torch.inf)
    return divmod(int(scores.argmax()), len(end_logits))


best_span = part("best_span", span_by_matrix)  # `run 9 --mine` puts your own here


def read(model, asked):
    """For each question its windows with their logits of [CLS] and the context: [(window, (1 + n, 2)), …]."""
    windows = [make_windows(QA(qa.context, qa.question, ()), tokenizer, T, STRIDE) for qa in asked]
    flat = iter(predict_spans(model, objective, [window for some in windows for window in some]))
    found = []
    for some in windows:
        rows = []
        for window in some:
            logits, first = next(flat), window.inputs.second_start
            rows.append((window, torch.cat([logits[:1], logits[first : first + len(window.starts)]])))
        found.append(rows)
    return found


def choose(rows):
    """((begin, end), margin): the best span over the windows of a question, in characters, and null minus its score."""
    best, place = -torch.inf, None
    for window, logits in rows:
        i, j = best_span(logits[1:, 0], logits[1:, 1], LONGEST)
        score = float(logits[1 + i, 0] + logits[1 + j, 1])
        if score > best:
            best, place = score, (int(window.starts[i]), int(window.ends[j]))
    return place, min(float(logits[0].sum()) for _, logits in rows) - best


def answers(asked, choices, threshold=0.0):
    """The answers to questions, cut out of their contexts; "" for no answer."""
    return [
        "" if margin > threshold else qa.context[begin:end]
        for qa, ((begin, end), margin) in zip(asked, choices, strict=True)
    ]


# %%
test_readings = read(model, test)
test_choices, tune_choices = [choose(rows) for rows in test_readings], [choose(rows) for rows in read(model, tune)]
said = answers(test, test_choices)
(exact, f1), (with_exact, _), (without_exact, _) = scores(said, test)
result("span model, exact match", exact, 70.0, 13.0)
result("span model, F1", f1, 71.0, 13.0)
print(f"of the questions with an answer {with_exact:.1f} are right, of those without one {without_exact:.1f}")

# %% [markdown]
# (The five seeds gave 60 to 75: what a model learns from so few steps still hangs on luck, and a difference of five
# points between two such models means nothing.) It finds seven or eight answers of ten, and does worse where there is
# none: having learned what sort of thing a question asks for, it takes the next best one.

# %%
predict("a first window holds two fifths of a story. How much of the exact match is left if nothing else is read?")

# %%
first_only = answers(test, [choose(rows[:1]) for rows in test_readings])
result("reading the first window only, exact match", scores(first_only, test)[0][0], 58.0, 10.0)

crossed = [int(l[1:, 0].argmax()) > int(l[1:, 1].argmax()) for rows in test_readings for _, l in rows]
print(f"in {sum(crossed) / len(crossed):.0%} of the windows the most likely end lies before the most likely start")

# %% [markdown]
# More than its share: many questions are answered where a story introduces its people, and where there is nothing to
# find, reading less finds less that is wrong. The rest is out of its sight. And in one window of five or so the two
# most likely ends do not even form a span.
#
# ### The threshold
#
# So far τ was zero. Is that the best choice? On `tune` we may try.

# %%
thresholds = [step / 2 for step in range(-16, 17)]
tried = [scores(answers(tune, tune_choices, t), tune) for t in thresholds]
curves(
    {
        name: [(t, row[kind][0]) for t, row in zip(thresholds, tried, strict=True)]
        for kind, name in enumerate(("all", "with an answer", "without"))
    },
    "What to do in doubt", "threshold", "exact match, %", "09-threshold",
)  # fmt: skip
chosen = max(thresholds, key=lambda t: tried[thresholds.index(t)][0][0])
(better, _), *_ = scores(answers(test, test_choices, chosen), test)
print(f"the best threshold on tune is {chosen}; with it the exact match on test is {better:.1f}, with 0 {exact:.1f}")

# %% [markdown]
# **What to see.** Two curves that cross. Far to the left the model answers hardly anything: the questions without an
# answer are right, the others wrong. Far to the right it always answers. The curve for all questions is flat on top, so
# the exact place hardly matters for the sum. What it decides is which of two errors there will be: a wrong answer, or a
# missing one. The threshold is chosen on `tune`: chosen on `test`, it would be fitted to the very questions it is
# measured on (lesson 08 met the same with its temperature).

# %% [markdown]
# ## 9.6 Exact match and F1
#
# When is an answer right? SQuAD's script compares after a **normalization**: lower case, no punctuation, no articles
# (a, an, the), single spaces. Two numbers are computed from what is left (Rajpurkar et al. 2016, section 6.1):
#
# - **exact match**: 1 if the two are equal, else 0;
# - **F1**: both texts are taken as bags of words. With $m$ words in common (a word that one side has twice and the
#   other once is common once), $f$ words found and $w$ wanted,
#
# $$ P = \frac{m}{f}, \qquad R = \frac{m}{w}, \qquad F_1 = \frac{2PR}{P + R} = \frac{2m}{f + w} . $$
#
# Without a common word F1 is 0. Where one side has no words at all, F1 is 1 if the other has none either, and 0
# otherwise. With several right answers the best comparison counts, for each number by itself. Over a data set one takes
# the mean.

# %%
truth = "the old stone bridge"
for guess in ("The old stone bridge.", "old bridge", "beside the old stone bridge of the village", "the mill"):
    ((em, f1_value),) = squad_values([guess], [[truth]])
    print(f"{guess:<45} exact match {em:.0f}, F1 {f1_value:.2f}")

# %% [markdown]
# F1 is kind to answers that are a word too long or too short, and these are the most common mistakes of span models.
# But it counts words. It does not know that "not" is a more important word than "old", that 12 o'clock is noon, or that
# "the dog bit the man" is another event than "the man bit the dog". Exercise **fool_f1** asks you to use that. Look at
# real mistakes, always:

# %%
wrong = [i for i, qa in enumerate(test) if not squad_values([said[i]], [[a.text for a in qa.answers]])[0][0]]
for i in wrong[:6]:
    right = test[i].answers[0].text if test[i].answers else "(no answer)"
    print(f"{test[i].question}\n    said: {said[i] or '(no answer)'}\n    true: {right}")

# %% [markdown]
# **What to see.** Most of the wrong answers are whole phrases, and some are of the right kind, such as a place for
# *where*. Common is an answer to a question that has none (somebody else's house): the model finds the type of thing
# that is asked for and forgets to check whether it is *this* child's. That the text must say it of the right person is
# the hard part.

# %% [markdown]
# ## 9.7 What the pointing rests on
#
# Nothing told the model what a "where" question is. It learned from some two thousand examples that *where* goes with
# *in, beside, at, behind*, and *who* with a name. It could learn this from so few because the body already knew which
# words belong together (lesson 07): from random weights, as many steps lead to a model that does no better than never
# answering (the recipe `qa-storyworld` trains both; the README has the figures).
#
# And it reads the question *with* the context, in every layer. A model that turned question and context into one vector
# each, and compared these, would be far faster on a million texts, as nothing has to be read again for a new question.
# Search engines do that first, and let a reader like ours look at the best hundred (Karpukhin et al. 2020).

# %% [markdown]
# ## 9.8 What was left out
#
# - **Answers that are no span**: yes and no, numbers that must be counted, lists (Dua et al. 2019).
# - **Finding the text** in which the answer may stand, among millions (Chen et al. 2017, Karpukhin et al. 2020).
# - **Answers in words of one's own**: what instruction-tuned GPTs do (lesson 13), with the freedom to be wrong in a way
#   that no pointer can be.
# - **A proper probability over all windows** in training as well: here each window has its own softmax (Clark & Gardner
#   2018 train with one over all).
# - **Real questions.** SQuAD's were written by people who had the text before them, so that question and answer share
#   words; a model that matches words goes far on them (Jia & Liang 2017 show how easily it is led astray).
#
# **Further reading.** Rajpurkar et al. 2016, *SQuAD: 100,000+ Questions for Machine Comprehension of Text*. Rajpurkar,
# Jia & Liang 2018, *Know What You Don't Know: Unanswerable Questions for SQuAD*. Devlin et al. 2019, *BERT*, sections
# 4.2 and 4.3. Jia & Liang 2017, *Adversarial Examples for Evaluating Reading Comprehension Systems*. Chen et al. 2017,
# *Reading Wikipedia to Answer Open-Domain Questions*.
#
# **Now you.** `python -m lessons check 9` creates your file, `lessons/mine/09_question_answering.py`, with seven
# exercises in it. When the checks pass, `python -m lessons run 9 --mine` lets your best_span answer the questions.
