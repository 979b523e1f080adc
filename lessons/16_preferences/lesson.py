# %% [markdown]
# # 16 Preferences
#
# - **Question:** Nobody can define a good answer, but anyone can say which of two is better. How does a model learn
#   from that, and what goes wrong?
# - **Teaches:** rewards from comparisons (Bradley and Terry), the best policy in closed form and its price in nats,
#   best-of-n, direct preference optimization (DPO); why the chosen answer may become less probable, and how a learned
#   reward is hacked; each formula next to a measurement
# - **Minutes:** 120 to read and solve, 1 to run
#
# You need: a GPT and its training (lessons 04 and 05), sampling (lesson 06), cross-entropy and nats (lesson 01).
#
# Symbols: $x$ a prompt, $y$ an answer, $r$ a reward, $\pi$ the model that is trained, here called the **policy**,
# $\pi_0$ the model that it starts from, the **reference**, $\sigma(d) = 1/(1 + e^{-d})$. Dimension letters: B pairs,
# T tokens, V size of the vocabulary, N possible answers.

# %% [setup]
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# %%
import copy
import dataclasses
import math

import numpy as np
import torch
from torch.nn import functional as F

from lessons.machinery.lesson_api import part, predict, result, seed
from lessons.machinery.pictures import curves
from lessons.machinery.training_loop import train
from llmasos import objectives, rewards
from llmasos.datasets.storyworld import World, summary_facts
from llmasos.datasets.storyworld import generate as tell
from llmasos.generation import SamplingOptions, generate
from llmasos.models import GPT, ModelConfig, build_model
from llmasos.objectives import EncodedComparison, EncodedPreference, collate_answers, frozen, token_log_probs
from llmasos.tasks import score
from llmasos.tasks.reward_modeling import encode_answers
from llmasos.tokenizers import BPETokenizer

SEED = seed()
torch.manual_seed(SEED)
torch.set_num_threads(min(2, torch.get_num_threads()))

# `run 16 --mine` puts your own functions here
bradley_terry_loss = part("bradley_terry_loss", objectives.bradley_terry_loss)
kl_divergence = part("kl_divergence", lambda p, q: F.kl_div(q.log(), p, reduction="none").sum(dim=-1))
optimal_policy = part("optimal_policy", objectives.optimal_policy)
best_of_n_probabilities = part("best_of_n_probabilities", rewards.best_of_n_probabilities)
dpo_loss = part("dpo_loss", None)

# %% [markdown]
# ## 16.1 Which of the two is better?
#
# Everything so far has learned by imitation: here is a text, make it probable. That is enough as long as somebody can
# show what is wanted. But what is a helpful answer, a funny line, a summary that is a pleasure to read? People find it
# hard to write one, and harder still to define one. Yet put two in front of them, and they point at the better one
# within seconds. **Preferences** are cheap, and they contain something that imitation does not: what *not* to write.
#
# This lesson turns such comparisons into a better model: by fitting a reward and choosing by it (16.2 to 16.4), and by
# training on the pairs directly (16.5). Then it pushes too far (16.6 and 16.7), which is how it goes wrong in practice.
# For most of what happens there is a formula, and we will hold every experiment to it.
#
# For that we need a model so small that we can know *everything* about it. It writes stories of a single sentence: the
# summaries of a small storyworld, with four children. Some end well and some do not.

# %%
WORLD = World(names=4, things=2)
told = [tell(SEED, number, WORLD) for number in range(8000)]
sentences = [story.summary for story in told]
endings = {(story.plot, story.outcome): story.ending for story in told}
for story in told[1:6]:
    print(f"{story.ending:>6}: {story.summary}")


def true_reward(prompt, sentence):
    """1 for a happy ending; 0 for a sad one, or for a sentence that is not a story."""
    facts = summary_facts(sentence)
    return float(facts is not None and endings.get((facts["plot"], facts["outcome"])) == "happy")


# %% [markdown]
# The model, a GPT of two layers, learns from 8,000 such sentences. What makes it small enough is the *table*: there are
# only about a thousand different sentences, so we can compute the probability of each one, exactly, in a moment. A
# model that is also a table of N probabilities can be compared with formulas without any noise of sampling.

# %%
tokenizer = BPETokenizer.train(sentences[:3000], 700)
END, V = tokenizer.end_of_text, tokenizer.vocab_size


def encode(sentence):
    """The token ids of an answer, with the token that ends it. The prompt, in all of this lesson, is empty: [END]."""
    return [*tokenizer.encode(sentence), END]


known = sorted(set(sentences))
answers = [encode(sentence) for sentence in known]  # N answers
LONGEST = max(map(len, answers))
config = ModelConfig(vocab_size=V, context_length=LONGEST + 8, n_layers=2, n_heads=4, d_model=64, activation="gelu")


model, imitation, draw = GPT(config), objectives.CausalLM(), np.random.default_rng(SEED)
texts = [np.array([END, *encode(sentence)]) for sentence in sentences]


def loss_of_imitation(step):
    batch = imitation.collate([texts[i] for i in draw.integers(len(texts), size=64)])
    return imitation.loss_sums(model, batch)["causal"] / imitation.n_targets(batch)["causal"]


frozen(train(model, loss_of_imitation, 250, 0.015, seed=SEED))  # the reference π₀: from here on it does not change


@torch.no_grad()
def log_probs(policy, answers):
    """log π(y) of each answer, in nats: (len(answers),)."""
    parts = []
    for start in range(0, len(answers), 512):
        some = answers[start : start + 512]
        parts.append(token_log_probs(policy, *collate_answers([[END]] * len(some), some)).sum(dim=1))
    return torch.cat(parts).double()


before = log_probs(model, answers)  # (N,)
p0 = before.softmax(dim=0)  # (N,): π₀ of the known sentences
happy = torch.tensor([true_reward("", sentence) for sentence in known]).double()  # (N,): the true reward
P = (p0 * happy).sum().item()  # p₀ in the formulas below
print(f"{len(known):,} different sentences, to which the model gives {before.exp().sum():.2f} of all probability")
result("probability of a happy ending", P, 0.756, 0.03)

# %% [markdown]
# One sentence in ten that the model writes is not in the table: a story with the right words in another combination,
# or, three times in a hundred, nonsense. For everything that is computed "exactly" below, we look only at the known
# sentences: we divide their probabilities by their sum.

# %% [markdown]
# ## 16.2 From comparisons to a reward
#
# Suppose every answer has a hidden strength, and the stronger of two wins more often: the odds that *a* beats *b* are
# the ratio of their strengths. Write a strength as $e^{r}$, which is always positive. Then (Bradley & Terry 1952)
#
# $$ P(a \succ b) = \frac{e^{r_a}}{e^{r_a} + e^{r_b}} = \frac{1}{1 + e^{-(r_a - r_b)}} = \sigma(r_a - r_b). $$
#
# The number $r$ is the **reward**. With a difference of 0 the two win equally often; with 1, the better one wins
# 73 times in a hundred; with 3, 95 times. It is the model behind chess ratings. Two things follow at once:
#
# - **Only differences count.** Add 5 to all rewards, and no probability changes. A reward of 2 means nothing by itself.
# - **Inconsistent judgments are not a problem; they are the measure.** If everybody agreed that *a* is better than *b*,
#   the difference would have to be infinite. How often people disagree shows *how much* better one is.
#
# Rewards are fitted by maximum likelihood. Of a pair, $y_c$ was **chosen** and $y_r$ **rejected**; the loss is -log of
# the probability of that outcome:
#
# $$ \mathrm{loss} = -\log \sigma\big(r(x, y_c) - r(x, y_r)\big) $$
#
# For the rewards 3 and 1 it is $-\log 0.881 = 0.127$ nats; if the pair were the other way round, $-\log 0.119 = 2.127$.
# This is logistic regression, a classifier's cross-entropy (lesson 08), with a difference as its logit. A **reward
# model** is a language model whose last layer gives one number for a whole text instead of V numbers for each position,
# trained with this loss (Christiano et al. 2017, equation 1; Ouyang et al. 2022, section 3.5). Exercise
# **bradley_terry_loss** asks for it. Watch out for large differences: $e^{1000}$ is infinite in floating point,
# although the loss is simply 1000.
#
# Our **reader** is simulated, so that we know the truth: the true reward is 1 for a happy ending and 0 for anything
# else (a sad ending, or nonsense), and the reader follows Bradley and Terry's model. Of a happy and a sad story, the
# happy one is chosen with probability $\sigma(1) = 0.731$, and of two with the same ending each with probability ½.
#
# That is a lot of noise, and we can say in advance how much is left when everything has been learned. With $p_0$ =
# 0.737 for a happy ending (we use this number in all examples; the model of your run has its own), two stories have
# different endings with probability $2 p_0 (1 - p_0) = 0.388$. In these pairs the best possible loss is the entropy of
# a coin that shows heads with probability 0.731, which is 0.582 nats; in all others it is $\log 2 = 0.693$. The average
# is 0.650: hardly less than 0.693, the loss of a model that knows nothing. And the best possible accuracy? Compute it
# before you read on.

# %%
predict("how many of these pairs will a perfect reward model rank right: 59 %, 73 % or 100 %?")


# %%
def compare(n, generator):
    """n pairs of stories from the reference, as the reader judges them: chosen, rejected (n,), rows of the table."""
    first, second = torch.multinomial(p0, 2 * n, replacement=True, generator=generator).view(2, n)
    first_wins = torch.rand(n, generator=generator) < torch.sigmoid(happy[first] - happy[second])
    return torch.where(first_wins, first, second), torch.where(first_wins, second, first)


generator = torch.Generator().manual_seed(SEED)
for c, r in zip(*compare(4, generator), strict=True):
    print(f"chosen: {known[c]}\n        rejected: {known[r]}")

reward_model = build_model(dataclasses.replace(config, head="reward"))
reward_model.backbone.load_state_dict(model.state_dict(), strict=False)  # all of the reference but its last layer
inputs = encode_answers(tokenizer, reward_model.config, [""] * len(known), known)
reward_modeling = objectives.RewardModeling(tokenizer)


def loss_of_comparisons(step):
    pairs = zip(*compare(64, generator), strict=True)
    batch = reward_modeling.collate([EncodedComparison(inputs[c], inputs[r]) for c, r in pairs])
    scores = reward_model(batch["ids"], batch["attention_mask"], batch["segments"])  # (2B,): the B chosen ones first
    return bradley_terry_loss(*scores.chunk(2)).mean()


train(reward_model, loss_of_comparisons, 200, 0.002, seed=SEED, optimizer="adamw")
scores = torch.tensor(score(reward_model, tokenizer, [""] * len(known), known)).double()  # (N,)

# %% [markdown]
# Did it find the truth? We can average over *all* pairs of the table, each with its probability, instead of a sample.

# %%
wins = torch.sigmoid(happy[:, None] - happy)  # (N, N): how often the reader chooses row i over column j
pairs_weight = p0[:, None] * p0  # (N, N): how often the two are compared
margins = scores[:, None] - scores  # (N, N)
right = torch.where(margins > 0, wins, 1 - wins)
gap = (p0 * happy * scores).sum() / P - (p0 * (1 - happy) * scores).sum() / (1 - P)
loss = -(pairs_weight * (wins * F.logsigmoid(margins) + (1 - wins) * F.logsigmoid(-margins))).sum()
mixed = 2 * P * (1 - P)  # the fraction of pairs with different endings
best_loss = mixed * -(0.731 * math.log(0.731) + 0.269 * math.log(0.269)) + (1 - mixed) * math.log(2)
print(f"predicted: gap 1.000, loss {best_loss:.3f}, ranked right {mixed * 0.731 + (1 - mixed) / 2:.3f}")
result("reward of happy minus sad stories", gap.item(), 1.0, 0.16)
result("loss of the reward model, nats per pair", loss.item(), 0.656, 0.006)
result("pairs ranked right", (pairs_weight * right).sum().item(), 0.585, 0.01)

# %% [markdown]
# **What to see.** The reward model knows that a happy ending is worth about 1 more than a sad one, although nobody ever
# gave it a number: the 1 is in *how often* the reader chose the happy story. (After 12,800 comparisons it is not
# exactly 1, but between 0.88 and 1.09 with five seeds.) It ranks 58 or 59 % of the pairs right. That sounds like a
# failure and is as good as possible, $0.388 \cdot 0.731 + 0.612 \cdot 0.5 = 0.590$; the rest is the reader's coin.
# Before you judge a reward model by its accuracy, ask how often two people agree. (The labelers of Ouyang et al. 2022
# agreed with each other in 73 % of the comparisons, section 3.4.)

# %% [markdown]
# ## 16.3 The best policy, and its price
#
# Now that we have a reward, let us find the policy that earns most of it. That question has a silly answer: write the
# one answer with the highest reward, always. The model would forget everything else it can do; and a learned reward is
# only known near the texts that it was learned from. So we ask for reward *without moving far from the reference*.
#
# How far is far? The **Kullback–Leibler divergence** measures how much more surprised a model $q$ would be by the
# answers of $p$ than $p$ itself is:
#
# $$ \mathrm{KL}(p \,\|\, q) = \sum_y p(y) \log \frac{p(y)}{q(y)} $$
#
# It is the cross-entropy minus the entropy, the excess nats of lesson 01. It is never negative, and 0 only if $p = q$.
# (By $\log u \le u - 1$: $-\mathrm{KL} = \sum_y p \log \frac{q}{p} \le \sum_y p \, (\frac{q}{p} - 1) = 0$.) It has a
# direction: an answer that $p$ never gives costs nothing, since $0 \log 0 = 0$; one that $p$ gives and $q$ never, costs
# infinitely much. An example: KL of (¾, ¼) from (½, ½) is $¾ \log 1.5 + ¼ \log 0.5 = 0.131$. Exercise
# **kl_divergence** asks for it.
#
# The goal is then, for a prompt $x$ (Ziegler et al. 2019, equation 2; Rafailov et al. 2023, equation 3)
#
# $$ \max_\pi \; J(\pi), \qquad J(\pi) = \mathrm{E}_{y \sim \pi}[r(x, y)] - \beta \, \mathrm{KL}(\pi \,\|\, \pi_0), $$
#
# where $\beta$ is the price of a nat in units of the reward. The solution needs two lines. Define
#
# $$ \pi^*(y) = \frac{1}{Z} \, \pi_0(y) \, e^{r(y)/\beta}, \qquad Z = \sum_y \pi_0(y) \, e^{r(y)/\beta}, $$
#
# so that $r = \beta \log \frac{\pi^*}{\pi_0} + \beta \log Z$. Put this into $J$:
#
# $$ J(\pi) = \beta \sum_y \pi \Big( \log \frac{\pi^*}{\pi_0} + \log Z - \log \frac{\pi}{\pi_0} \Big)
#    = \beta \log Z - \beta \, \mathrm{KL}(\pi \,\|\, \pi^*). $$
#
# The first term does not depend on $\pi$, and the second is largest, 0, for $\pi = \pi^*$. **The best policy is the
# reference, reweighted by $e^{r/\beta}$.** An answer that the model never writes does not appear, whatever its reward;
# among answers with the same reward, the proportions stay as they are; and β decides how much the reward counts: for
# $\beta \to \infty$ nothing changes, for $\beta \to 0$ only the best answers remain.
#
# For our reader only the ending matters: the happy stories together have the weight $p_0 e^{1/\beta}$, the others $1 -
# p_0$. So the probability of a happy ending becomes
#
# $$ p_\beta = \frac{p_0 \, e^{1/\beta}}{p_0 \, e^{1/\beta} + 1 - p_0}, \qquad
#    \mathrm{KL} = p_\beta \log \frac{p_\beta}{p_0} + (1 - p_\beta) \log \frac{1 - p_\beta}{1 - p_0}. $$

# %%
predict("p₀ = 0.737 and β = 1: what will be the probability of a happy ending? And for β = 0.5?")

# %%
happy_or_sad = torch.tensor([0.737, 0.263])  # happy, sad
print("   β     P(happy)   KL in nats")
for beta in (4.0, 2.0, 1.0, 0.5, 0.25):
    star = optimal_policy(happy_or_sad, torch.tensor([1.0, 0.0]), beta)
    print(f"{beta:5.2f} {star[0]:10.3f} {kl_divergence(star, happy_or_sad):10.3f}")

# %% [markdown]
# The odds of a happy ending, 2.8 to 1 at first, are multiplied by $e^{1/\beta}$: by $e$ = 2.72 for β = 1, by 7.4 for β
# = 0.5. The first step is cheap: 0.066 nats buy 15 percentage points. After that the prices rise. Nobody has trained
# anything yet. These are the numbers that the experiments below have to reproduce.
#
# Exercise **optimal_policy** asks for the reweighting, for any number of answers. For a small β, $e^{r/\beta}$
# overflows; add logarithms instead, $\log \pi_0 + r/\beta$, and normalize them with a softmax, which subtracts the
# largest one. (An answer that the reference never writes has the logarithm $-\infty$. That is right: it stays at 0.)

# %% [markdown]
# ## 16.4 Best of n: nothing to train
#
# The simplest way to use a reward: write $n$ answers, keep the one with the highest reward. It costs $n$ times the
# computation, and no training. What is its distribution, and how far is it from $\pi_0$?
#
# Let $F(r)$ be the probability that the model's answer has a reward of at most $r$. All $n$ draws have at most $r$ with
# the probability $F(r)^n$. So if $F(r^-)$ is the probability of a reward *below* $r$, the best of $n$ has exactly $r$
# with probability
#
# $$ F(r)^n - F(r^-)^n. $$
#
# If several answers have the reward $r$, they share this probability in proportion to $\pi_0$: given that a draw has
# the reward $r$, which of these answers it is does not depend on the other draws. An example: three answers with
# $\pi_0$ = (0.5, 0.25, 0.25) and the rewards (0, 1, 1), $n = 2$. Reward 0 wins only if both draws have it: 0.25. The
# other 0.75 are shared by two equals: 0.375 each. Exercise **best_of_n_probabilities** asks for this.
#
# For our reader: at least one of $n$ stories is happy with probability $1 - (1 - p_0)^n$.
#
# **The price.** Suppose no two answers have the same reward and each is improbable, so that $F$ is practically
# continuous. For the model's own answers $u = F(r)$ is then uniform between 0 and 1 (every quantile is equally likely).
# The best of $n$ has $P(\text{best} \le u) = u^n$, hence the density $n u^{n-1}$ where the model has 1. So
#
# $$ \mathrm{KL} = \int_0^1 n u^{n-1} \log (n u^{n-1}) \, du
#    = \log n + (n - 1) \int_0^1 n u^{n-1} \log u \, du = \log n - \frac{n-1}{n}, $$
#
# since $\int_0^1 n u^{n-1} \log u \, du = -1/n$ (by parts). Whatever the reward is! Ties make it smaller, so in general
# the formula is an upper bound (Beirami et al. 2024, theorem 1).

# %%
predict("best of 4: what will the probability of a happy ending be? How many nats does it cost at most?")

# %%
# 4,000 stories of the model, whether or not they are in the table
options = SamplingOptions(LONGEST, seed=SEED)
samples = generate(model, tokenizer, [""], options, n_samples=4000)
values = torch.tensor([true_reward("", sample.text) for sample in samples])  # (4000,)
# in groups of n, of each the best
fractions = {n: values.view(-1, n).amax(dim=1).mean().item() for n in (1, 2, 4)}
for n in (2, 4):
    print(f"best of {n}: predicted {1 - (1 - fractions[1]) ** n:.3f}, measured {fractions[n]:.3f}")
result("best of 4, happy: measured minus predicted", fractions[4] - (1 - (1 - fractions[1]) ** 4), 0.0, 0.008)

print("\n   n    bound   no ties: by the reward model   ties: by the true reward")
for n in (2, 4, 16, 64):
    kls = [kl_divergence(best_of_n_probabilities(p0, by, n), p0).item() for by in (scores, happy)]
    print(f"{n:4d} {rewards.best_of_n_kl(n):8.3f} {kls[0]:24.3f} {kls[1]:27.3f}")
by_score = best_of_n_probabilities(p0, scores, 16)
result("KL of best of 16 by the reward model, nats", kl_divergence(by_score, p0).item(), 1.835, 0.01)

# %% [markdown]
# **What to see.** Four attempts instead of one, and a story without a happy ending is a rarity, as predicted. In the
# table, the middle column is computed from the 990 probabilities and the trained reward model's scores, all different,
# and the formula uses neither; yet they agree to three digits. (Up to 16. The best of 64 comes close to single
# sentences of the table, and 990 answers are not infinitely many.) With the true reward, which has only two values, the
# KL stops at $-\log p_0$, about 0.3: when every kept story is happy, more attempts change nothing.
#
# For two values there is one more surprise. Best-of-n and π* both leave the proportions among happy stories as they
# are, and among the others too; they differ from the reference only in P(happy). So best-of-n *is* the best policy, for
# some β. For $n$ = 2 and $p_0$ = 0.737 it is β = 0.64: work it out.

# %% [markdown]
# ## 16.5 DPO: the model is its own reward model
#
# Best-of-n pays its price for every single answer. Can the preferences be built into the weights? The classic way has
# three stages: fit a reward model, let the policy write, and raise the probability of what earns a high reward, by
# reinforcement learning (Ouyang et al. 2022; lesson 17). In 2023 Rafailov and others noticed that two of the three
# stages can be skipped.
#
# Turn the solution of 16.3 around. For *every* policy $\pi$ there is a reward for which it is the best one:
#
# $$ r(x, y) = \beta \log \frac{\pi(y \mid x)}{\pi_0(y \mid x)} + \beta \log Z(x). $$
#
# So a policy *is* a reward model; the first term is called its **implicit reward**. Put it into Bradley and Terry's
# loss. $Z(x)$, a sum over all texts that nobody could compute, is the same for both answers to a prompt and cancels out
# (Rafailov et al. 2023, equation 7):
#
# $$ \mathrm{loss} = -\log \sigma\Big( \beta \log \frac{\pi(y_c)}{\pi_0(y_c)} - \beta \log \frac{\pi(y_r)}{\pi_0(y_r)}
#    \Big) $$
#
# That is **direct preference optimization**. No reward model, no sampling during training: all it takes is a batch of
# pairs, and for each pair two log-probabilities from the policy and two from a frozen copy of the model that it started
# from. If the pairs follow Bradley and Terry's model, and there are enough of them, the minimum is at implicit reward =
# true reward (up to a constant), and that means at $\pi = \pi^*$: the same policy as in 16.3.
#
# In practice:
#
# - $\log \pi(y)$ is the log-probability of the *whole* answer: the sum over its tokens, the end token included. Not the
#   mean, and not over the tokens of the prompt, which nobody chose. As everywhere in the library, `targets` holds at
#   each position the token that follows, and -100 where there is nothing to predict: in the prompt and in the padding.
#   A row of logits (T, V) becomes log-probabilities by a log-softmax over V; `gather` picks those of the targets.
# - B pairs are stacked to 2B rows: first all chosen answers, then all rejected ones.
# - $\beta$ is inside σ. It is not another learning rate: it says how far the implicit reward has to move the
#   probabilities. With β = 0.5 a difference of 1 in the reward is a difference of 2 in $\log \pi/\pi_0$.
# - At the start $\pi = \pi_0$, all differences are 0, and the loss is $\log 2$ = 0.693 for every pair.
#
# The gradient, with $m = \beta \log \frac{\pi(y_c)}{\pi_0(y_c)} - \beta \log \frac{\pi(y_r)}{\pi_0(y_r)}$ the
# **margin** (their section 4):
#
# $$ \nabla \mathrm{loss} = -\beta \, \sigma(-m) \, \big[ \nabla \log \pi(y_c) - \nabla \log \pi(y_r) \big] $$
#
# It raises the chosen answer and lowers the rejected one, most where the implicit reward is most wrong ($m$ very
# negative), and hardly where the pair is already ranked clearly right. Exercise **dpo_loss** asks for the loss.

# %%
predict("after DPO with β = 1 and with β = 0.5: the probability of a happy ending, and the KL?")


# %%
def train_dpo(beta, steps, rate, pairs_of_step, after=None):
    """Train a copy of the reference. pairs_of_step(step) → chosen, rejected (B,): rows of the table."""
    policy, objective = copy.deepcopy(model).requires_grad_(True), objectives.DPO(beta)
    objective.reference = model

    def loss_of_pairs(step):
        pairs = zip(*pairs_of_step(step), strict=True)
        batch = objective.collate([EncodedPreference([END], answers[c], answers[r]) for c, r in pairs])
        if dpo_loss is not None:
            return dpo_loss(policy(batch["ids"]), model(batch["ids"]), batch["targets"], beta).mean()
        return objective.loss_sums(policy, batch)["dpo"] / objective.n_targets(batch)["dpo"]

    report = after and (lambda step: after(step, policy))
    return train(policy, loss_of_pairs, steps, rate, seed=SEED, optimizer="adamw", after=report)


# %%
after_dpo, points = {}, {}
for beta in (1.0, 0.5):
    policy = train_dpo(beta, 120, 5e-4 / beta, lambda step: compare(64, generator))
    after_dpo[beta] = log_probs(policy, answers)  # (N,)
    p, star = after_dpo[beta].softmax(dim=0), optimal_policy(p0, happy, beta)
    points[beta] = kl_divergence(p, p0).item(), (p * happy).sum().item()
    print(f"β = {beta}            P(happy)      KL")
    print(f"   predicted     {(star * happy).sum():.3f}   {kl_divergence(star, p0):.3f}")
    print(f"   after DPO     {points[beta][1]:.3f}   {points[beta][0]:.3f}")
    off = points[beta][1] - (star * happy).sum().item()
    result(f"DPO, β = {beta}: P(happy) minus predicted", off, 0.0, 0.025)
result("DPO, β = 1: KL in nats", points[1.0][0], 0.083, 0.02)
result("DPO, β = 0.5: KL in nats", points[0.5][0], 0.216, 0.05)

# %%
optimum = []
for beta in (100.0, 8.0, 4.0, 3.0, 2.0, 1.5, 1.2, 1.0, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15):
    star = optimal_policy(p0, happy, beta)
    optimum.append((kl_divergence(star, p0).item(), (star * happy).sum().item()))
by_n = [best_of_n_probabilities(p0, happy, n) for n in (2, 3, 4)]
curves(
    {
        "the best policy π*, all β": optimum,
        "best of 2, 3, 4": [(kl_divergence(p, p0).item(), (p * happy).sum().item()) for p in by_n],
        "DPO, β = 1 and 0.5": list(points.values()),
    },
    "What a nat buys", "KL from the reference, nats", "P(happy ending)", "16-frontier",
)  # fmt: skip

# %% [markdown]
# **What to see.** A few thousand comparisons by an unreliable reader, and P(happy) is where a formula said it would be,
# to within one or two hundredths. That is the theory at work: nobody told the model a probability of happy endings (for
# $p_0$ = 0.737, it is 0.884 with β = 1 and 0.954 with β = 0.5); it follows from β and from how often the reader chose
# what.
#
# In the picture, height is what we want and the horizontal axis what it costs. Nothing can be above the curve of π*.
# Best-of-n is on it. DPO is to the right of it: it pays 0.02 to 0.06 nats more than it has to. Where do they go? The
# reader does not care for Anna more than for Tom, but in a few thousand comparisons Anna wins a few more by chance, and
# the policy learns that too. More pairs, or a lower learning rate, bring it closer to the curve.
#
# (Each stated result is the mean over five seeds, and its tolerance is a little wider than their range.)

# %% [markdown]
# ## 16.6 The chosen answer becomes less probable
#
# The loss asks only for a *difference*. Whether the chosen answer rises while the rejected one falls, or both fall, the
# rejected one faster, makes no difference to the loss. What actually happens?
#
# Take pairs of answers that the reference itself wrote. Then something can be said without any experiment. Chosen or
# rejected, each answer of a pair is a draw from $\pi_0$, so that the mean of both is
#
# $$ \mathrm{E}\Big[ \tfrac{1}{2} \log \frac{\pi(y_c)}{\pi_0(y_c)} + \tfrac{1}{2} \log \frac{\pi(y_r)}{\pi_0(y_r)} \Big]
#    = \sum_y \pi_0(y) \log \frac{\pi(y)}{\pi_0(y)} = -\mathrm{KL}(\pi_0 \,\|\, \pi) \le 0. $$
#
# **Whatever is learned, the two together become less probable.** A distribution cannot leave its own samples without
# losing probability there. And the chosen ones alone? For our reader we know $\pi^*$, so we can compute it. A chosen
# answer is happy with probability $p_0^2 + 2 p_0 (1 - p_0) \, \sigma(1) = 0.827$; in $\pi^*$ the happy answers are more
# probable by the factor $p_\beta / p_0$, the others by $(1 - p_\beta)/(1 - p_0)$.

# %%
predict("with β = 0.5, on average: will the chosen texts become more probable or less? And the rejected ones?")


# %%
def chosen_and_rejected(change):
    """The mean of a change (N,) over all chosen and over all rejected answers of the reader."""
    chosen = 2 * p0 * (wins @ p0)  # (N,): how often each answer is the chosen one of a pair
    return (chosen * change).sum().item(), ((2 * p0 - chosen) * change).sum().item()


for beta, after in after_dpo.items():
    star = optimal_policy(p0, happy, beta)
    predicted = chosen_and_rejected((star / p0).log())
    measured = chosen_and_rejected(after.log_softmax(dim=0) - p0.log())
    print(f"β = {beta}: log π/π₀    chosen   rejected     mean   -KL(π₀ ‖ π)")
    for name, (c, r), p in (("predicted", predicted, star), ("measured", measured, after.softmax(dim=0))):
        print(f"{name:>20}  {c:8.3f} {r:10.3f} {(c + r) / 2:8.3f} {-kl_divergence(p0, p):13.3f}")
result("β = 0.5: log π/π₀ of the chosen texts, nats", measured[0], -0.144, 0.05)
result("β = 0.5: log π/π₀ of the rejected texts, nats", measured[1], -0.47, 0.08)

# %% [markdown]
# **What to see.** First the last two columns: they agree to the last digit, for π* and for the trained policy. It is an
# identity, after all. Then the first: with β = 1 the chosen texts stay where they are on average, and with β = 0.5 they
# *fall*, in theory and in the experiment. One chosen text in six is not a happy one: both were sad, or the reader
# erred. Such a text loses 1.7 nats, and a happy one cannot gain more than $-\log 0.737$ = 0.3. Probabilities near 1
# have no room to rise. The trained policy's chosen texts fall a little more than predicted, because of the extra KL
# that we saw in 16.5.

# %% [markdown]
# ### A hundred pairs instead of infinitely many
#
# So far every step saw new pairs. Real comparisons are made by people, and there are few of them. Take 128 pairs and go
# through them again and again.

# %%
few = compare(128, torch.Generator().manual_seed(SEED))
chosen_line, rejected_line = [(0, 0.0)], [(0, 0.0)]


def look(step, policy):
    """Remember how much more probable the texts of the 128 pairs have become."""
    if step % 25 == 0:
        change = log_probs(policy, answers) - before
        chosen_line.append((step, change[few[0]].mean().item()))
        rejected_line.append((step, change[few[1]].mean().item()))


def some_of_the_few(step):
    rows = torch.randint(len(few[0]), (32,), generator=generator)
    return few[0][rows], few[1][rows]


policy = train_dpo(0.5, 200, 1e-3, some_of_the_few, look)
after_few = log_probs(policy, answers)
change = after_few - before
n_seen = len(set(few[0].tolist() + few[1].tolist()))
print(f"{(change[few[0]] > change[few[1]]).double().mean():.0%} of the 128 pairs are ranked as the reader did")
print(f"known sentences: {before.exp().sum():.2f} of the probability before, {after_few.exp().sum():.2f} after")
curves(
    {"chosen": chosen_line, "rejected": rejected_line},
    "128 pairs, again and again", "step", "mean log π/π₀, nats", "16-few",
)  # fmt: skip
result("128 pairs: log π/π₀ of the chosen texts, nats", change[few[0]].mean().item(), -2.9, 1.5)
result("128 pairs: log π/π₀ of the rejected texts, nats", change[few[1]].mean().item(), -9.6, 4.5)
result("128 pairs: KL from the reference, nats", kl_divergence(after_few.softmax(0), p0).item(), 2.5, 1.0)

# %% [markdown]
# **What to see.** Nearly all pairs are ranked as the reader did, including those where only a coin decided: the model
# knows the 128 pairs by heart. Meanwhile the chosen texts have become ten to sixty times less probable (with five
# seeds), the rejected ones a thousand to a million times, and the KL is fifteen times what the best policy needs. The
# loss is very small all the same: the difference is large.
#
# Where has the probability gone? To texts that nobody compared: to sentences of the table that were in no pair, and to
# sentences that are in no table. How can raising a text lower it? Because a model has no separate dial for each text.
# Take the smallest model that shows it: every answer $y$ has a vector of features $x_y$, the logits are $x_y \cdot w$,
# and the softmax over all answers gives the probabilities. Then
#
# $$ \nabla_w \log \pi(y) = x_y - \bar x, \qquad \bar x = \sum_{y'} \pi(y') \, x_{y'}, $$
#
# and the first step of DPO on one pair, with learning rate $\eta$ (the margin is 0, so $\sigma(-m) = ½$), changes the
# weights by $\Delta w = \tfrac{1}{2} \eta \beta \, \big[ (x_c - \bar x) - (x_r - \bar x) \big] = \tfrac{1}{2} \eta
# \beta \, (x_c - x_r)$. To first order,
#
# $$ \Delta \log \pi(y_c) = \tfrac{1}{2} \eta \beta \, (x_c - x_r) \cdot (x_c - \bar x). $$
#
# If every answer has a feature of its own, this is positive: no other logit rises. But chosen and rejected answers
# are usually *similar*. The step goes in the direction in which they differ, and if some answers lie farther in this
# direction than the chosen one, those gain; a softmax has only one unit of probability to give (Razin et al. 2024).
# Exercise **chosen_falls** asks you to build such a case, with three answers.
#
# What helps: a term that keeps the chosen answers probable, such as their cross-entropy with some weight (Pang et al.
# 2024); a larger β; fresh pairs from the current model; and stopping early.

# %% [markdown]
# ## 16.7 When the reward is only a proxy
#
# The true reward is what we want; what we have is a model of it, fitted to comparisons: a **proxy**. The two agree
# where the comparisons were made. What happens if a policy is trained to please the proxy?
#
# To see it clearly we take the simplest reward model there is: each token has a weight, and the reward of a text is the
# sum of its tokens' weights. We fit it to 500 comparisons by Bradley and Terry's loss, with a small penalty on large
# weights.


# %%
def count_tokens(rows):
    """How often each token occurs in each answer, without the end: (len(rows), V)."""
    counts = [np.bincount([token for token in row if token != END], minlength=V) for row in rows]
    return torch.tensor(np.array(counts)).float()


table = count_tokens(answers)  # (N, V)
chosen, rejected = compare(500, generator)
weights = torch.zeros(V, requires_grad=True)  # the proxy: one number per token
fitting = torch.optim.LBFGS([weights], max_iter=100)


def closure():
    fitting.zero_grad()
    loss = bradley_terry_loss(table[chosen] @ weights, table[rejected] @ weights).mean() + 1e-3 * weights.square().sum()
    loss.backward()
    return loss


fitting.step(closure)
weights.requires_grad_(False)
order = weights.argsort().tolist()
for name, tokens in (("highest", order[:-7:-1]), ("lowest", order[:6])):
    print(f"{name:>8}: " + ", ".join(f"{tokenizer.decode([i]).strip()} {weights[i]:.2f}" for i in tokens))
by_proxy = (table @ weights).double()  # (N,)
unequal = pairs_weight * (happy[:, None] > happy)  # the pairs of a happy and a sad story
ranked = (unequal * (by_proxy[:, None] > by_proxy)).sum() / unequal.sum()
result("happy stories that the proxy ranks above sad ones", ranked.item(), 0.87, 0.1)
predict("a good judge. A policy is trained to please it. What will its stories look like in the end?")

# %% [markdown]
# The policy learns by DPO from its *own* stories, again and again. It writes 128 stories; of every four, the proxy (not
# the reader) chooses the best and rejects the worst; DPO takes a step on these 32 pairs. The reference stays where it
# was. (This is *online* DPO, Guo et al. 2024, with the proxy as the judge.) Every four steps we look at both rewards:
# the proxy's, which the policy sees, and the true one, which in reality nobody could compute.


# %%
def please_the_proxy(beta, steps):
    """Online DPO. Returns the last stories, and (step, proxy), (step, true reward), KL of every fourth step."""
    policy, objective = copy.deepcopy(model).requires_grad_(True), objectives.DPO(beta)
    objective.reference = model
    proxies, golds, kls, last = [], [], [], []
    prompts = [rewards.PromptToAnswer("", (END,))] * 128

    def loss_of_own_stories(step):
        numbers = range(128 * step, 128 * step + 128)  # of the random numbers
        rollouts = rewards.write_rollouts(policy, tokenizer, prompts, numbers, SEED, LONGEST + 7)
        ids = [rollout.ids for rollout in rollouts]
        values = count_tokens(ids) @ weights  # (128,): the proxy's opinion
        if step % 4 == 0:
            last[:] = [tokenizer.decode([token for token in row if token != END]) for row in ids]
            proxies.append((step, values.mean().item()))
            golds.append((step, sum(true_reward("", text) for text in last) / 128))
            kls.append(sum(sum(rollout.logprobs) for rollout in rollouts) / 128 - log_probs(model, ids).mean().item())
        groups = values.view(32, 4)
        best, worst = groups.argmax(dim=1).tolist(), groups.argmin(dim=1).tolist()
        pairs = [(4 * i + c, 4 * i + r) for i, (c, r) in enumerate(zip(best, worst, strict=True))]
        batch = objective.collate([EncodedPreference([END], ids[c], ids[r]) for c, r in pairs])
        return objective.loss_sums(policy, batch)["dpo"] / 32

    train(policy, loss_of_own_stories, steps, 1e-3, seed=SEED, optimizer="adamw")
    return last, proxies, golds, kls


stories_now, proxies, golds, kls = please_the_proxy(0.1, 73)
print("step   proxy    true   KL in nats")
for (step, proxy), (_, gold), kl in zip(proxies, golds, kls, strict=True):
    print(f"{step:4d} {proxy:7.2f} {gold:7.2f} {kl:12.1f}")
for text in stories_now[:3]:
    print(f"… {text}")
curves(
    {"proxy / 10": [(step, value / 10) for step, value in proxies], "true reward": golds},
    "Pleasing a proxy, β = 0.1", "step", "mean reward", "16-hacking",
)  # fmt: skip
result("true reward, at the start", golds[0][1], 0.74, 0.1)
result("true reward, at its best", max(gold for _, gold in golds), 0.92, 0.1)
result("true reward, at the end", golds[-1][1], 0.0, 0.05)

# %% [markdown]
# **What to see.** At first all goes well: both rewards rise, and after about twenty steps nearly every story ends
# happily. Then the policy finds out what the proxy really is, a sum over words. It repeats a few good words to the last
# token, other words with every seed. The proxy has never been so pleased, and the true reward is 0. Gao, Schulman &
# Hilton (2022) measured this for reward models of many sizes: **the proxy rises to the end, the true reward peaks early
# and falls**.
#
# Was the proxy bad? Of a happy and a sad story of the reference, it ranks the happy one higher in more than eight cases
# of ten. Testing it on more such stories would not have found the fault, because none of them repeats one word twenty
# times. A policy that is optimized *searches* for the places where the proxy errs, and the farther it may go, the more
# of them it can reach. ("When a measure becomes a target, it ceases to be a good measure": Goodhart's law.)
#
# The last column is the one that can be watched in reality. At the peak the policy is a few nats away from the
# reference; at the end it is 140 to 180. Did β not limit that? By the formula of 16.3, a text with a proxy reward of 9
# is, for β = 0.1, raised by a factor of $e^{90}$; but the reference gives it less than $e^{-150}$, so π* would never
# write it. DPO aims at that π* only if the comparisons are Bradley and Terry's, decided by a coin where the rewards are
# close. Our proxy chooses the better one *always*. To DPO, always means: infinitely better. With such a judge, β is a
# brake, not a limit (Azar et al. 2024).

# %%
predict("the same with β = 1. Will it happen more slowly, or not at all?")

# %%
stories_now, proxies, golds, kls = please_the_proxy(1.0, 73)
print(f"proxy {proxies[0][1]:.2f} → {proxies[-1][1]:.2f}, KL {kls[-1]:.1f} nats")
for text in stories_now[:3]:
    print(f"… {text}")
result("β = 1: true reward, mean of the last five looks", sum(gold for _, gold in golds[-5:]) / 5, 0.95, 0.1)

# %% [markdown]
# **What to see.** With a brake ten times as strong, in the same number of steps the policy stays within a few nats of
# the reference, where the proxy is mostly right: nearly all stories end happily, and they are stories. But read them:
# they are a few favorites, over and over. Neither reward asks for variety; only the KL does.
#
# What helps, then: a larger β, stopping at a KL that you have decided on, several reward models that must agree (Coste
# et al. 2024), and above all *asking the reader again*, about texts of the current policy. One look at the last stories
# of the first run would have been enough.

# %% [markdown]
# ## 16.8 What was left out
#
# - **Prompts.** Our stories have none, so that one table holds everything. With prompts, all formulas hold for each one
#   separately, and pairs are answers to the *same* prompt. The library's recipe `python train.py dpo-storyworld` and
#   its task `preference-optimization` take files with prompts of your own.
# - **Reinforcement learning**, the classic way to π*: the policy writes, a reward judges, the policy gradient pushes
#   (lesson 17).
# - **Other losses.** IPO (Azar et al. 2024) asks for a margin of a fixed size, so that pairs on which everybody agrees
#   cannot push it to infinity. KTO (Ethayarajh et al. 2024) needs no pairs, only good and bad answers. SimPO (Meng et
#   al. 2024) leaves out the reference and divides by the length.
# - **Length.** Readers, and above all models that act as readers, often prefer the longer answer, and so a policy
#   learns to be long (Singhal et al. 2023).
# - **Whose preferences?** Bradley and Terry's model knows one reader. Several readers who disagree become one average
#   reader, and a model that pleases the average reader may please nobody.
#
# **Further reading.** Bradley & Terry 1952, *Rank Analysis of Incomplete Block Designs*. Christiano et al. 2017, *Deep
# Reinforcement Learning from Human Preferences*. Stiennon et al. 2020, *Learning to Summarize from Human Feedback*.
# Ouyang et al. 2022, *Training Language Models to Follow Instructions with Human Feedback*. Gao, Schulman & Hilton
# 2022, *Scaling Laws for Reward Model Overoptimization*. Rafailov et al. 2023, *Direct Preference Optimization: Your
# Language Model is Secretly a Reward Model*; and Rafailov et al. 2024, *From r to Q\**, on why the chosen answers fall.
# Razin et al. 2024, *Unintentional Unalignment: Likelihood Displacement in Direct Preference Optimization*. Beirami et
# al. 2024, *Theoretical Guarantees on the Best-of-n Alignment Policy*.
#
# **Now you.** `python -m lessons check 16` creates your file, `lessons/mine/16_preferences.py`, with seven exercises in
# it. When the checks pass, `python -m lessons run 16 --mine` trains with your functions.
