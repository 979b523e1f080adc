# %% [markdown]
# # 17 A verifier as teacher
#
# - **Question:** How can a model learn from a teacher that writes nothing itself, and only says how good an answer is?
# - **Teaches:** the gradient of an expected reward, baselines, clipping, the KL penalty and what goes wrong without it;
#   a story-telling model taught by a verifier; what it gains, what it loses; pass@1 and pass@k; why nothing comes from
#   nothing
# - **Minutes:** 150 to read and solve, 1.5 to run
#
# You need: the softmax and cross-entropy (lesson 01), training (lesson 05), sampling from a model (lesson 06).
#
# Letters: K possible answers, N prompts, G answers to each (a group), B answers in a batch, T tokens in an answer, V
# size of the vocabulary. The model is called the *policy* π here, π₀ is the model it starts from, θ its weights. All
# logarithms are natural.

# %% [setup]
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# %%
import copy
import math
import re
import time

import numpy as np
import torch

from lessons.machinery import training_loop
from lessons.machinery.lesson_api import part, predict, result, seed
from lessons.machinery.pictures import curves
from llmasos.datasets.storyworld import next_sentence_probs, stories, valid_prefix_length
from llmasos.datasets.sums import CHARACTERS, COLUMNS, as_text, draw_sums, text_sums
from llmasos.evaluation import pass_at_k as pass_at_k_of_one
from llmasos.models import GPT, ModelConfig
from llmasos.objectives import collate_answers, frozen, leave_one_out_advantages, token_log_probs
from llmasos.objectives import policy_gradient_loss as clipped_loss
from llmasos.objectives.objective import IGNORE_INDEX
from llmasos.rewards import VERIFIERS, PromptToAnswer, write_rollouts
from llmasos.tokenizers import BPETokenizer, CharTokenizer

SEED = seed()
torch.manual_seed(SEED)
torch.set_num_threads(min(2, torch.get_num_threads()))
torch.set_printoptions(precision=3, sci_mode=False)

# %% [markdown]
# ## 17.1 A teacher that does not write
#
# Every model so far learned by *imitation*: it read what somebody had written, and made it more probable. Such a model
# becomes as good as its texts, mistakes included. And somebody has to write them.
#
# There is another way to teach. Let the model write, look at the result, and say how good it is. A teacher who does
# this need not be able to write. It is much easier to check a proof than to find one, to run a program against its
# tests than to write it, to see that a sum is right than to work it out. If a *program* can check, the teacher never
# gets tired: it is called a **verifier**, and learning from it *reinforcement learning with verifiable rewards*
# (Lambert et al. 2024, section 6). The models that think for a long time before they answer a question in mathematics
# were trained like this (DeepSeek-AI 2025).
#
# In this course, there is a verifier for *stories*. We know the grammar of our small world, so
# `valid_prefix_length(text)` tells us how far a text agrees with some story that is possible in it (lesson 06 used it
# to measure sense). Today it becomes the teacher.
#
# Put into a formula: a policy $\pi_\theta$ writes answers $y$. A **reward** $r(y)$ is a number, the larger the better.
# We want weights that make the *expected* reward large,
#
# $$ J(\theta) = \mathrm{E}_{y \sim \pi_\theta}[r(y)] = \sum_y \pi_\theta(y)\, r(y). $$
#
# There is a difficulty. Training needs a gradient, and the reward has none: it is a program that says 0.7. Between the
# weights and the reward there is a *drawn* text, and a die has no derivative.

# %% [markdown]
# ## 17.2 The gradient of an expectation
#
# But $J$ has a gradient. The reward of a text does not depend on $\theta$; only the *probability* of the text does:
#
# $$ \nabla J = \sum_y r(y)\, \nabla \pi_\theta(y)
#    = \sum_y \pi_\theta(y)\, r(y)\, \frac{\nabla \pi_\theta(y)}{\pi_\theta(y)}
#    = \mathrm{E}_{y \sim \pi_\theta}\big[\, r(y)\, \nabla \log \pi_\theta(y) \,\big]. $$
#
# The step in the middle multiplies and divides by $\pi_\theta(y)$, and $\nabla \log \pi = \nabla \pi / \pi$. It turns a
# sum over all texts, which nobody can compute, into an *expectation*, which anybody can estimate: draw a few answers,
# and take the mean of $r \nabla \log \pi$. This is **REINFORCE** (Williams 1992, section 5). In words: do what you
# would do to imitate the answer ($\nabla \log \pi$ makes it more probable, as in every lesson before), but do it in
# proportion to how good the answer was. And nobody wrote the answer except the model itself.
#
# $\nabla \log \pi$ has a name, the **score**. Two things about it are worth knowing. For a softmax over K answers with
# logits $z$,
#
# $$ \log \pi(a) = z_a - \log \sum_k e^{z_k}, \qquad
#    \frac{\partial \log \pi(a)}{\partial z_k} = [k = a] - \pi(k), $$
#
# where $[k = a]$ is 1 if $k = a$, and 0 otherwise. And its mean is zero, for every policy,
#
# $$ \mathrm{E}_{y \sim \pi}[\nabla \log \pi(y)] = \sum_y \nabla \pi(y) = \nabla \sum_y \pi(y) = \nabla 1 = 0, $$
#
# because what one answer gains in probability, the others lose.
#
# Take a world of four answers. Then the sum over all answers can be computed, and we can look at both sides of the
# equation.

# %%
answer_probs, answer_rewards = torch.tensor([0.4, 0.3, 0.2, 0.1]), torch.tensor([0.0, 0.25, 0.5, 1.0])  # (K,)
scores = torch.eye(4) - answer_probs  # (K, K): row a is the gradient of log π(a) with respect to the logits
J = (answer_probs @ answer_rewards).item()
exact = (answer_probs * answer_rewards) @ scores  # (K,): the sum over all answers
print(f"J = {J:.3f}, its exact gradient {exact}, the mean of the score {answer_probs @ scores}")


def by_backward(logits, answers, rewards, baseline):
    """REINFORCE's estimate (K,), with the gradient left to torch."""
    logits = logits.clone().requires_grad_()
    ((rewards - baseline) * logits.log_softmax(-1)[answers]).mean().backward()
    return logits.grad


# `run 17 --mine` puts your own functions here
reinforce_gradient = part("reinforce_gradient", by_backward)


def draw(n, number=0):
    """Draw n answers of the small world."""
    return torch.multinomial(answer_probs, n, True, generator=torch.Generator().manual_seed(1000 * SEED + number))


predict("the best answer has probability 0.1. Its gradient is 0.07. How far off is an estimate from 10 answers?")

# %%
for n in (10, 100, 1000, 100_000):
    drawn = draw(n)
    estimate = reinforce_gradient(answer_probs.log(), drawn, answer_rewards[drawn], 0.0)
    print(f"{n:>7,} answers: {estimate}, {(estimate - exact).norm():.4f} from the exact one")
result("gradient of the best answer, 100,000 answers", estimate[3].item(), exact[3].item(), 0.004)

# %% [markdown]
# The estimate is right on average, whatever the number of answers: it is *unbiased*. But it is noisy. With ten answers
# the error is typically nearly as large as the gradient itself, whose length is 0.14. Exercise **reinforce_gradient**
# asks for this estimate.

# %% [markdown]
# ## 17.3 The baseline
#
# Look at what REINFORCE does if all rewards are positive. Whatever the model writes becomes more probable; better
# answers just more so. It works out, because answers compete for the probability, but it is a detour: an answer that is
# *worse* than average should be made less probable at once. So compare with a **baseline** $b$. It does not change the
# mean of the estimate, since the mean of the score is zero:
#
# $$ \mathrm{E}[(r - b) \nabla \log \pi] = \mathrm{E}[r \nabla \log \pi] - b\, \mathrm{E}[\nabla \log \pi]
#    = \nabla J. $$
#
# It changes the noise. With $s = \nabla \log \pi$, the variance of one term (summed over all components of the
# gradient) is
#
# $$ \mathrm{Var}[(r - b) s] = \mathrm{E}\big[(r - b)^2 \lVert s \rVert^2\big] - \lVert \nabla J \rVert^2, $$
#
# and for the mean over G answers it is that divided by G. Now suppose the teacher gives every answer ten extra points.
# Nothing that matters has changed, and it should make no difference to a good method.
#
# **Which baseline?** The mean reward is a good one, but nobody knows it. The other answers to the same prompt estimate
# it. Write G answers, a **group**, and compare each with the mean of the *others* (Kool et al. 2019; Ahmadian et al.
# 2024, who call it RLOO):
#
# $$ A_i = r_i - \frac{1}{G - 1} \sum_{j \ne i} r_j = \frac{G}{G - 1} (r_i - \bar r). $$
#
# $A_i$ is called the **advantage**. Why the others? Because a baseline must not depend on the answer itself: then $b$
# could not be taken out of the expectation. (The second form follows from $\sum_{j \ne i} r_j = G \bar r - r_i$.)
#
# There is a pleasant way to see what the estimate then is. Since $\sum_i (r_i - \bar r) = 0$, we may subtract the mean
# score $\bar s$, too:
#
# $$ \hat g = \frac{1}{G} \sum_i A_i s_i = \frac{1}{G - 1} \sum_i (r_i - \bar r)(s_i - \bar s). $$
#
# This is the sample *covariance* of reward and score, with the $G - 1$ that makes it unbiased. And that is what the
# gradient is: $\nabla J = \mathrm{E}[r s] = \mathrm{Cov}(r, s)$, as the score has mean zero. Raise what goes along with
# good rewards, and lower what goes along with bad ones. The variance of a sample covariance is classical (it is
# a *U-statistic*, Hoeffding 1948): with $J = \mathrm{E}[r]$,
#
# $$ \mathrm{Var}[\hat g] = \frac{1}{G} \Big( \mathrm{E}\big[(r - J)^2 \lVert s \rVert^2\big] -
#    \frac{G - 2}{G - 1} \lVert \nabla J \rVert^2 +
#    \frac{1}{G - 1} \mathrm{Var}(r)\, \mathrm{E}\lVert s \rVert^2 \Big). $$
#
# The last term is the price of an estimated baseline, and it disappears in large groups. So we can predict the noise
# before we draw a single answer.

# %%
predict("all rewards get 10 points more. How many times noisier is REINFORCE without a baseline? And with one?")
size = (scores**2).sum(dim=1)  # (K,): ‖s‖² of each answer
G, GROUPS = 4, 40_000


def mean_over_answers(values):
    return (answer_probs * values).sum().item()


def noise(rewards, b):
    """The predicted standard deviation of the mean of G terms with the baseline b."""
    return math.sqrt((mean_over_answers((rewards - b) ** 2 * size) - exact.norm().item() ** 2) / G)


def noise_of_leave_one_out(rewards):
    """The predicted standard deviation of a group of G with the mean of the others as baseline."""
    centered = rewards - mean_over_answers(rewards)
    return math.sqrt(
        (mean_over_answers(centered**2 * size) - (G - 2) / (G - 1) * exact.norm().item() ** 2
         + mean_over_answers(centered**2) * mean_over_answers(size) / (G - 1)) / G
    )  # fmt: skip


def measured_noise(advantages, drawn):
    """The root of the mean squared distance of the estimates (GROUPS, K) from the exact gradient."""
    estimates = (advantages[..., None] * scores[drawn]).mean(dim=1)  # (GROUPS, G, K) → (GROUPS, K)
    return (estimates - exact).square().sum(dim=1).mean().sqrt().item()


drawn = draw(GROUPS * G, number=1).view(GROUPS, G)
for points in (0.0, 10.0):
    rewards = answer_rewards + points
    r = rewards[drawn]  # (GROUPS, G)
    rows = {
        "no baseline": (noise(rewards, 0.0), measured_noise(r, drawn)),
        "the true mean": (noise(rewards, J + points), measured_noise(r - J - points, drawn)),
        "mean of the others": (noise_of_leave_one_out(rewards), measured_noise(leave_one_out_advantages(r), drawn)),
    }
    print(f"\n{points:g} points more          predicted  measured")
    for name, (formula, measured) in rows.items():
        print(f"{name:<22} {formula:10.4f} {measured:9.4f}")
    if points:
        result("noise without a baseline, 10 points more", rows["no baseline"][1], rows["no baseline"][0], 0.03)
    result(f"noise with the others' mean, {points:g} points more", rows["mean of the others"][1],
           rows["mean of the others"][0], 0.003)  # fmt: skip

# %% [markdown]
# Ten free points drown the gradient in noise. With a baseline they disappear. In groups of four, the estimated
# baseline costs a little compared with the true one.
#
# Exercise **advantages** asks for the comparison with the others.
#
# ### What GRPO does differently
#
# *Group relative policy optimization* (Shao et al. 2024, section 4.1) made groups popular. Its advantage is
# $(r_i - \bar r) / \mathrm{std}(r)$. The mean includes the answer's own reward, which only scales everything by
# $(G - 1)/G$. But dividing by the standard deviation changes what is learned. Let $p$ be the probability of a right
# answer, reward 1, to some prompt. In large groups the standard deviation is $\sqrt{p (1 - p)}$, and the update goes in
# the direction
#
# $$ \frac{\nabla p}{\sqrt{p (1 - p)}} = \nabla\, 2 \arcsin \sqrt p \, : $$
#
# it does not maximize the mean of $p$ over the prompts, but that of $2 \arcsin \sqrt p$ (Davis & Recht 2025). A prompt
# with $p = 0.01$ or $p = 0.99$ gets five times the weight of one with $p = 0.5$ (Liu et al. 2025, section 3.1, call it
# a *difficulty bias*). Sometimes that is welcome: it pulls hard prompts along. But it is another goal, and it can even
# point the other way. Exercise **opposite_directions** asks you for a case. This library does not divide.
#
# In a group in which all answers are right, or all wrong, every advantage is 0: nothing can be learned from it. Keep
# this in mind for section 17.11.

# %% [markdown]
# ## 17.4 Several steps from the same answers
#
# Writing is the expensive part: token after token, whereas an update processes all tokens at once. So it would be good
# to take several steps with the same answers. But after the first step these come from an *older* policy, $\pi_{old}$,
# and the expectation should be over the new one. The remedy is the trick of section 17.2 once more, multiply and
# divide:
#
# $$ \mathrm{E}_{y \sim \pi}[A] = \sum_y \pi_{old}(y)\, \frac{\pi(y)}{\pi_{old}(y)}\, A
#    = \mathrm{E}_{y \sim \pi_{old}}[\rho A], \qquad \rho = \frac{\pi(y)}{\pi_{old}(y)}. $$
#
# At the first step $\rho = 1$, and $\nabla \rho = \rho \nabla \log \pi$ is the score: the gradient of $\rho A$ is
# REINFORCE's. After many steps, the estimate gets arbitrarily bad: the few answers that happened to be drawn are all it
# knows, and it would give them all of the probability. **Proximal policy optimization** (Schulman et al. 2017,
# equation 7) therefore takes away the incentive to change a probability by more than a fraction $\epsilon$:
#
# $$ \text{loss} = -\min\big(\rho A,\; \mathrm{clip}(\rho, 1 - \epsilon, 1 + \epsilon)\, A\big). $$
#
# For a text, each *token* has its own ratio, and all tokens of an answer share its advantage.

# %%
ratios = torch.linspace(0.5, 1.6, 111)
losses = {
    name: clipped_loss(ratios[:, None].log(), torch.zeros(111, 1), torch.full((111,), A), 0.2)[:, 0]
    for name, A in (("a good answer, A = 1", 1.0), ("a bad answer, A = -1", -1.0))
}
curves(
    {name: list(zip(ratios.tolist(), loss.tolist(), strict=True)) for name, loss in losses.items()},
    "The clipped loss, ε = 0.2", "ratio", "loss", "17-clip",
)  # fmt: skip

# %% [markdown]
# **What to see.** A good answer: the loss falls as its probability rises, and is flat beyond 1.2. A flat loss has no
# gradient: enough for this time. A bad answer: the loss falls as its probability falls, and is flat below 0.8. On the
# *other* side neither is flat. If a bad token has become more probable (another token of the batch may have pulled it
# along), the way back must stay open; that is why there is a minimum, and not just a clip.
#
# How much does it matter? Give the policy of four answers a single batch of eight, and take forty steps with it. By bad
# luck, the best answer was not drawn.

# %%
policy_gradient_loss = part("policy_gradient_loss", clipped_loss)
predict("what becomes of the best answer's probability, 0.1 at first, after forty steps? With and without the clip?")

# %%
drawn = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2])  # with the rewards 0, 0.25 and 0.5; answer 3, with reward 1, is missing
A = leave_one_out_advantages(answer_rewards[drawn][None])[0]  # (B,)
old = answer_probs.log()[drawn][:, None]  # (B, T) with T = 1
print("before                ", answer_probs)
for name, clip in (("ε = 0.2", 0.2), ("no clip (ε = 1000)", 1000.0)):
    logits = answer_probs.log().requires_grad_()
    for _ in range(40):
        loss = policy_gradient_loss(logits.log_softmax(-1)[drawn][:, None], old, A, clip).mean()
        (gradient,) = torch.autograd.grad(loss, logits)
        logits = (logits - 2.0 * gradient).detach().requires_grad_()
    print(f"{name:<22}", logits.softmax(-1).detach())

# %% [markdown]
# Without the clip, the policy ends up with the best answer *of the batch*, and nearly loses the best answer of all,
# because that was not in the batch. With the clip, it moves a little way, and then stops until there are new answers.
#
# Exercise **policy_gradient_loss** asks for this loss, with its gradient. (A clip of 1000 is for this experiment only;
# in the exercise ε is below 1.)

# %% [markdown]
# ## 17.5 Staying near: the KL penalty
#
# A verifier looks at one thing. The policy will unlearn whatever else it could do, if that earns a little more reward.
# So keep it near the model that it started from, $\pi_0$ (Ziegler et al. 2019, equation 2):
#
# $$ J_\beta(\pi) = \mathrm{E}_{y \sim \pi}[r(y)] - \beta\, \mathrm{KL}(\pi \,\|\, \pi_0), \qquad
#    \mathrm{KL}(\pi \,\|\, \pi_0) = \mathrm{E}_{y \sim \pi}\Big[\log \frac{\pi(y)}{\pi_0(y)}\Big]. $$
#
# KL is the **Kullback–Leibler divergence**: how many more nats an answer of $\pi$ costs under $\pi_0$ than under $\pi$
# itself, on average. It is 0 if the two are equal, and otherwise positive.
#
# **What is the best policy?** Define $\pi^*(y) = \pi_0(y)\, e^{r(y)/\beta} / Z$, with $Z = \sum_y \pi_0(y)
# e^{r(y)/\beta}$, so that it sums to 1. Then $r = \beta \log (\pi^* / \pi_0) + \beta \log Z$, and
#
# $$ J_\beta(\pi) = \beta\, \mathrm{E}_\pi\Big[\log \frac{\pi^*}{\pi_0} + \log Z - \log \frac{\pi}{\pi_0}\Big]
#    = \beta \log Z - \beta\, \mathrm{KL}(\pi \,\|\, \pi^*). $$
#
# The first term does not depend on $\pi$, and the second is largest, 0, if $\pi = \pi^*$. So the best policy is known
# in closed form. If $r$ is 1 for right answers and 0 for others, and $\pi_0$ is right with probability $p_0$, then
#
# $$ \pi^*(\text{right}) = \frac{p_0\, e^{1/\beta}}{1 - p_0 + p_0\, e^{1/\beta}}, $$
#
# and among the right answers nothing changes: they are multiplied by the same factor, so their *proportions* stay. A
# policy that found $\pi^*$ would lose nothing but mistakes.
#
# **How to follow the penalty's gradient.** Write the KL as a sum and differentiate; the product rule gives two terms:
#
# $$ \nabla\, \mathrm{KL}(\pi \,\|\, \pi_0) = \sum_y \nabla \pi(y) \log \frac{\pi(y)}{\pi_0(y)} +
#    \sum_y \pi(y)\, \nabla \log \pi(y)
#    = \mathrm{E}_\pi\Big[\log \frac{\pi}{\pi_0}\, \nabla \log \pi\Big] + 0. $$
#
# That has the form of REINFORCE with the "reward" $\log \pi / \pi_0$. So put the penalty *into the reward*: use the
# return $R(y) = r(y) - \beta \log \pi(y)/\pi_0(y)$ in place of $r$, with its baseline, and everything above holds.
#
# ### Estimating the KL
#
# To report or watch the KL, we estimate it from the policy's own answers. With $d = \log \pi_0(y) - \log \pi(y)$, there
# are three popular ways (Schulman 2020):
#
# $$ k_1 = -d, \qquad k_2 = \tfrac12 d^2, \qquad k_3 = e^{d} - 1 - d. $$
#
# $k_1$ is the definition: unbiased, but a single one may be negative. $k_2$ is never negative, but biased. $k_3$ is
# both unbiased and never negative: $e^d$ has the mean $\sum_y \pi \cdot \pi_0/\pi = 1$, so $e^d - 1$ adds nothing on
# average; and it adds exactly what is needed to keep each term from being negative, because the line $1 + d$ touches
# the curve $e^d$ from below.

# %%
N_ANSWERS, N_RIGHT, BETA = 50, 18, 0.5
generator = torch.Generator().manual_seed(0)  # the same small world for all seeds
reference = torch.randn(N_ANSWERS, generator=generator).softmax(0)  # π₀ (K,)
right = torch.zeros(N_ANSWERS)
right[torch.randperm(N_ANSWERS, generator=generator)[:N_RIGHT]] = 1.0
P0 = (reference @ right).item()


def k3_of_one_token(log_probs, reference_log_probs, mask):
    """k3 of answers of one token (B, 1)."""
    return torch.expm1(d := (reference_log_probs - log_probs)[:, 0]) - d


kl_estimate = part("kl_estimate", k3_of_one_token)
print("a policy that is …   KL      k1: mean, deviation    k2                k3")
for closeness in (0.1, 0.5, 1.0):
    policy = (reference.log() + closeness * torch.randn(N_ANSWERS, generator=generator)).softmax(0)
    kl = (policy * (policy / reference).log()).sum().item()
    drawn = torch.multinomial(policy, 100_000, True, generator=torch.Generator().manual_seed(SEED))
    log_probs, reference_log_probs = policy.log()[drawn][:, None], reference.log()[drawn][:, None]  # (B, 1)
    d = (reference_log_probs - log_probs)[:, 0]
    k3 = kl_estimate(log_probs, reference_log_probs, torch.ones(len(drawn), 1, dtype=torch.bool))
    line = f"{closeness} away {kl:16.4f}"
    for k in (-d, d**2 / 2, k3):
        line += f"   {k.mean():7.4f} {k.std():7.4f}"
    print(line)
result("mean of k3, policy 1.0 away", k3.mean().item(), kl, 0.01)

# %% [markdown]
# **What to see.** All three agree for policies that are close. Farther away, $k_2$ is off. $k_3$ has the right mean
# and, near the reference, a far smaller deviation than $k_1$. Exercise **kl_estimate** asks for it: one $k_3$ for each
# token, added up over the answer.
#
# ### A KL that is wrong
#
# Many programs do something that looks like the same: they add the *estimate* to the loss, and let torch differentiate
# it. But the answers have been drawn already; torch differentiates the number, not the drawing. What is the mean of
# those gradients?
#
# $$ \mathrm{E}_\pi[\nabla k_1] = \mathrm{E}_\pi[\nabla \log \pi] = 0 : $$
#
# nothing at all. The number that is printed is right, and the penalty does not exist. For $k_3$, with $\nabla d =
# -\nabla \log \pi$,
#
# $$ \mathrm{E}_\pi[\nabla k_3] = \mathrm{E}_\pi\Big[\Big(1 - \frac{\pi_0}{\pi}\Big) \nabla \log \pi\Big]
#    = -\sum_y \pi_0(y)\, \nabla \log \pi(y) = \nabla\, \mathrm{KL}(\pi_0 \,\|\, \pi), $$
#
# the gradient of the *other* KL, with the two exchanged (Tang & Munos 2025). It pulls back, too, but to another place.
# Which one? Maximize $\mathrm{E}_\pi[r] - \beta\, \mathrm{KL}(\pi_0 \| \pi)$ with a Lagrange multiplier $\lambda$ for
# $\sum \pi = 1$: $r + \beta \pi_0/\pi = \lambda$, so $\pi = \beta \pi_0 / (\lambda - r)$. Since the probabilities sum
# to 1,
#
# $$ \frac{\beta\, p_0}{\lambda - 1} + \frac{\beta (1 - p_0)}{\lambda} = 1, $$
#
# a quadratic equation for $\lambda$ (the larger solution, above 1), and $\pi(\text{right}) = \beta p_0/(\lambda - 1)$.
#
# Let us teach a policy of fifty answers in five ways, and wait until each has come to rest. We watch how often it is
# right, and how many right answers it still uses: their **effective number** $e^{\mathcal{H}}$, where $\mathcal{H}$ is
# the entropy of its distribution over the right answers. (For $n$ equally likely ones, it is $n$.)

# %%
WAYS = ("in the reward", "k1 in the loss", "k3 in the loss", "none", "wrong sign")
G, STEPS, RATE = 32, 4000, 0.3


def effective_number(policies):
    """e to the entropy of the distribution over right answers: (…, K) → (…)."""
    among_right = policies * right / (policies * right).sum(dim=-1, keepdim=True)
    return (-torch.special.xlogy(among_right, among_right).sum(dim=-1)).exp()


logits = reference.log().repeat(len(WAYS), 1)  # (5, K), one policy for each way
generator = torch.Generator().manual_seed(SEED)
history = []
for step in range(STEPS):
    policies = logits.softmax(dim=1)
    drawn = torch.multinomial(policies, G, True, generator=generator)  # (5, G)
    log_ratios = (policies.log() - reference.log()).gather(1, drawn)
    returns = right[drawn]
    returns[0] -= BETA * log_ratios[0]
    returns[4] += BETA * log_ratios[4]
    weights = leave_one_out_advantages(returns)  # of the score of each answer
    weights[1] -= BETA  # ∇k1 is the score itself
    weights[2] -= BETA * (1 - (-log_ratios[2]).exp())  # ∇k3 is 1 - π₀/π times the score
    gradient = torch.zeros_like(policies).scatter_add(1, drawn, weights / G)  # Σ of weight times one-hot …
    logits += RATE * (gradient - weights.mean(dim=1, keepdim=True) * policies)  # … minus weight times π
    if step % 20 == 0:
        history.append(((policies @ right).tolist(), effective_number(policies).tolist()))

print("the KL penalty is …   right   right answers in use")
for way, policy in zip(WAYS, logits.softmax(dim=1), strict=True):
    print(f"{way:<21} {(policy @ right).item():6.3f} {effective_number(policy).item():8.1f}")
print(f"{'(the reference)':<21} {P0:6.3f} {effective_number(reference).item():8.1f}")
curves(
    {way: [(20 * i, counts[j]) for i, (_, counts) in enumerate(history)] for j, way in enumerate(WAYS)},
    "How many right answers are still in use", "step", "effective number", "17-collapse",
)  # fmt: skip

e = math.exp(1 / BETA)
lam = (1 + BETA + math.sqrt((1 + BETA) ** 2 - 4 * BETA * (1 - P0))) / 2
at_rest = np.mean([fractions for fractions, _ in history[-50:]], axis=0)
result("right, penalty in the reward", at_rest[0], P0 * e / (1 - P0 + P0 * e), 0.02)
result("right, k3 in the loss", at_rest[2], BETA * P0 / (lam - 1), 0.02)
numbers = effective_number(logits.softmax(dim=1))
result("right answers in use, penalty in the reward", numbers[0].item(), effective_number(reference).item(), 0.6)
result("right answers in use, k1 in the loss", numbers[1].item(), 1.1, 0.4)

# %% [markdown]
# **What to see.** With the penalty in the reward, the policy comes to rest where the formula says, and uses as many
# right answers as the reference. $k_3$ in the loss comes to rest as well, at the other formula's place. $k_1$ in the
# loss has the same effect as no penalty: the policy is nearly always right, *with one single answer*. All 18 right
# answers earn the same, so nothing in the reward favors a single one. But whichever is ahead is drawn more often, and
# therefore reinforced more often, until it is the only one. This is **collapse**. The wrong sign, a slip of one
# character, gets there fastest.
#
# Collapse does not show in the reward. Watch the entropy, or read the texts.

# %% [markdown]
# ## 17.6 A model, and a world that can check it
#
# Now a real policy. We train a small GPT to imitate the *beginnings* of stories, up to the third full stop (those
# within direct speech do not count), for so short a time that it is not very good. This is lessons 04 and 05 in one
# cell. A prompt here is just the token `<|endoftext|>`, after which a text begins.

# %%
SENTENCES, PEAK, BATCH = 3, 0.015, 16


def full_stops(text):
    """Return the places after each full stop (or ? or !) that is not within direct speech."""
    return [m.end() for m in re.finditer(r"[.!?](?= |$)", text) if text[: m.end()].count('"') % 2 == 0]


def beginning(text):
    return text[: full_stops(text)[SENTENCES - 1]]


def imitate(policy, pairs, steps, batch=BATCH):
    """Train a model to give the answers (ids) to the prompts (ids) of these pairs. Return it, ready for use."""
    shuffle = np.random.default_rng(SEED)

    def loss(step):
        prompts, answers = zip(*(pairs[i] for i in shuffle.integers(len(pairs), size=batch)), strict=True)
        ids, targets = collate_answers(prompts, answers)  # (B, T)
        return -token_log_probs(policy, ids, targets).sum() / (targets != IGNORE_INDEX).sum()

    return training_loop.train(policy, loss, steps, PEAK, seed=SEED, warmup=30)


train_texts = [beginning(story.text) for story in stories("train", 4000)]
val_texts = [beginning(story.text) for story in stories("val", 200)]
tokenizer = BPETokenizer.train(train_texts[:1000], 1024)
END = tokenizer.end_of_text


def pairs_of(texts):
    return [([END], [*tokenizer.encode(text), END]) for text in texts]


train, val = pairs_of(train_texts), pairs_of(val_texts)
LONGEST = max(len(answer) for _, answer in train + val)
config = ModelConfig(
    vocab_size=tokenizer.vocab_size, context_length=LONGEST + 1, n_layers=2, n_heads=4, d_model=64, activation="gelu"
)
teller = imitate(GPT(config), train, 200)


@torch.no_grad()
def nats_of(policy, pairs):
    """The mean of -log π(answer), in nats per answer."""
    return -token_log_probs(policy, *collate_answers(*zip(*pairs, strict=True))).sum(dim=1).mean().item()


def write(policy, tokenizer, prompts, number, longest):
    """Let the policy answer prompts, drawing from its own distribution. Return its sequences, and their texts."""
    stop = tokenizer.end_of_text
    sequences = write_rollouts(policy, tokenizer, prompts, range(len(prompts)), 1000 * SEED + number, longest)
    return sequences, [tokenizer.decode([i for i in s.ids if i != stop]) for s in sequences]


EMPTY = PromptToAnswer("", (END,))
print(
    f"{sum(p.numel() for p in teller.parameters()):,} weights; {nats_of(teller, val):.1f} nats per held-out beginning"
)
for text in write(teller, tokenizer, [EMPTY] * 3, 1, LONGEST)[1]:
    print(f"\n{text}\n   possible: {text[: valid_prefix_length(text)]}")

# %% [markdown]
# The second line of each shows what the verifier sees: the part with which some story of our world can begin. The
# verifier has all of the world's grammar, and no knowledge of the model.

# %%
start = time.perf_counter()
possible = [valid_prefix_length(text) / len(text) for text in val_texts]
print(f"real beginnings: {min(possible):.2f} possible; {1000 * (time.perf_counter() - start) / 200:.1f} ms per text")

# %% [markdown]
# ## 17.7 A reward, and its holes
#
# What should the verifier say? An obvious reward is the fraction of a text, in characters, that is possible. Look at
# what it would reward:


# %%
def fraction_possible(text):
    return valid_prefix_length(text) / max(1, len(text))


for text in ("Once there was", "Mia was a shy girl who lived near the lake.", f"{val_texts[0]} Xyz."):
    print(f"{fraction_possible(text):.2f}   {text}")
predict(
    "full marks for two words. Three possible sentences should earn more than one. How would you define the reward?"
)

# %% [markdown]
# A policy maximizes what the reward *says*, not what it means: this is called **reward hacking** (Amodei et al. 2016,
# section 4). Here the best text is the shortest. So we count what we want, three sentences: every possible one earns a
# third, and the last third is only paid if the text ends with the third full stop. Nothing is gained by ending early,
# by rambling on, or by hiding a mistake in a long text.
#
# Holes are hard to see. When this lesson was written, the counter of full stops counted those within direct speech,
# too. One of the policies taught with it soon ended nearly all of its texts with *"What if it is a giant?" Ella
# whispered.* That is one sentence with two marks. The policy had noticed before the author did.


# %%
def sentences_possible(prompt, text):
    """The verifier: the fraction of three sentences that are possible; 1 only if the text ends after the third."""
    n = valid_prefix_length(text)
    ends = [end for end in full_stops(text) if end <= n]
    if len(ends) == SENTENCES and ends[-1] == n == len(text):
        return 1.0
    return min(len(ends), SENTENCES - 1) / SENTENCES


for text in ("Once there was", "Mia was a shy girl who lived near the lake.", f"{val_texts[0]} Xyz.", val_texts[0]):
    print(f"{sentences_possible('', text):.2f}   {text}")

# %% [markdown]
# ## 17.8 Learning from the verifier
#
# Now we have all the parts. In each step the policy writes a group of answers; the verifier reads them; the advantages
# say which were better than the others; the gradient makes these more probable. The whole loop:

# %%
# `run 17 --mine` puts your own functions here
advantages = part("advantages", lambda rewards, log_ratios, beta: leave_one_out_advantages(rewards - beta * log_ratios))


def teach(policy, tokenizer, prompts_of_step, reward, steps, G, beta, longest, updates=1):
    """Teach a copy of a policy with policy gradients.

    Args:
        policy, tokenizer: what it starts from.
        prompts_of_step: from the number of a step to its N prompts.
        reward: a function of a prompt and a text.
        steps, G: the number of steps, and of answers to each prompt in a step.
        beta: of the KL penalty.
        longest: the maximum length of an answer in tokens.
        updates: the number of updates from the same answers.

    Returns:
        The new policy, and for each step the mean reward, KL and entropy.
    """
    reference, policy = frozen(policy), copy.deepcopy(policy).requires_grad_(True)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
    log = []
    for step in range(steps):
        prompts = [prompt for prompt in prompts_of_step(step) for _ in range(G)]  # N · G, in groups
        sequences, texts = write(policy, tokenizer, prompts, 100 + step, longest)
        rewards = torch.tensor([reward(p.text, text) for p, text in zip(prompts, texts, strict=True)])  # (N · G,)
        ids, targets = collate_answers([s.prompt for s in sequences], [s.ids for s in sequences])  # (N · G, T)
        is_token = targets != IGNORE_INDEX
        old = torch.zeros(targets.shape)
        old[is_token] = torch.tensor([x for s in sequences for x in s.logprobs])
        with torch.no_grad():
            log_ratios = (old - token_log_probs(reference, ids, targets)).sum(dim=1)  # (N · G,), of whole answers
        A = advantages(rewards.view(-1, G), log_ratios.view(-1, G), beta).flatten()
        log.append((rewards.mean().item(), log_ratios.mean().item(), -old.sum(dim=1).mean().item()))
        use = A != 0  # if all answers of a group are equally good, nothing can be learned from it
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 4)
        for _ in range(updates if use.any() else 0):
            log_probs = token_log_probs(policy, ids[use], targets[use])
            losses = policy_gradient_loss(log_probs, old[use], A[use], 0.2)  # (B, T)
            optimizer.zero_grad()
            (losses.masked_fill(~is_token[use], 0.0).sum() / len(A)).backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            optimizer.step()
    return policy.eval(), log


# %% [markdown]
# We teach twice, from the same model: 45 steps with a penalty of β = 0.05, and 35 steps without any.


# %%
RATE = 1e-3


def one_group(step):
    return [EMPTY]  # one prompt, and thus one group, in each step


def measure(name, policy, n=128):
    """Print a line of a table about texts of a policy; return its numbers."""
    sequences, texts = write(policy, tokenizer, [EMPTY] * n, 2, LONGEST)
    log_probs = np.mean([sum(s.logprobs) for s in sequences])
    numbers = {
        "possible": np.mean([fraction_possible(text) for text in texts]),
        "faultless": np.mean([sentences_possible("", text) == 1 for text in texts]),
        "entropy": -log_probs,
        "KL": log_probs + nats_of(teller, [(s.prompt, s.ids) for s in sequences]),
        "held out": nats_of(policy, val),
    }
    print(f"{name:<17}" + "".join(f"{x:10.2f}" for x in numbers.values()))
    return numbers, texts


predict("45 steps of 64 texts. A third of each text was possible before. What fraction is possible afterwards?")

# %%
taught, log = teach(teller, tokenizer, one_group, sentences_possible, 45, 64, 0.05, LONGEST, updates=2)
greedy, greedy_log = teach(teller, tokenizer, one_group, sentences_possible, 35, 64, 0.0, LONGEST, updates=2)
POLICIES = {"before": teller, "with penalty": taught, "without penalty": greedy}
print(f"{'':17}  possible faultless   entropy        KL  held out")
numbers, written = {}, {}
for name, policy in POLICIES.items():
    numbers[name], written[name] = measure(name, policy)
for name in ("with penalty", "without penalty"):
    print(f"\n{name}:", *written[name][:4], sep="\n  ")
logs = {"with penalty": log, "without penalty": greedy_log}
curves(
    {name: [(step, x[0]) for step, x in enumerate(points)] for name, points in logs.items()},
    "Learning from a verifier", "step", "mean reward", "17-reward",
)  # fmt: skip
curves(
    {f"{what}, {name}": [(step, x[i]) for step, x in enumerate(points)]
     for i, what in ((2, "entropy"), (1, "KL")) for name, points in logs.items()},
    "What it costs", "step", "nats per text", "17-cost",
)  # fmt: skip
result("possible, before", numbers["before"]["possible"], 0.34, 0.06)
result("possible, with penalty", numbers["with penalty"]["possible"], 0.8, 0.2)
result("possible, without penalty", numbers["without penalty"]["possible"], 0.75, 0.3)

# %% [markdown]
# **What to see.** In less than a minute, from three thousand attempts of its own, the model has gone from a third of a
# text to three quarters, and *nobody has shown it a single right text*. (The first column is the mean of the fraction
# possible, the second the fraction of texts that earn the full reward.)
#
# How many texts are faultless depends on the seed: half of them, or hardly any. In the second case, look at the texts:
# two sentences are fine, and the third is broken. Almost no text ever earned the last third, so nobody could learn from
# one. We come back to this in section 17.11.
#
# Then look at the third column. The **entropy** of the texts, estimated as the mean of $-\log \pi(y)$ over the policy's
# own texts, falls from about fifty nats to between 10 and 21 with the penalty (five seeds). Read the texts: they are
# nearly the same one, again and again, with another name or another weather. This is the collapse of section 17.5, now
# in a real model, and a penalty of 0.05 only slows it down. Without any, the policy goes astray in only 35 steps: its
# KL ends between 21 and 52 nats. With some seeds it has contracted to little more than one faultless text by then, with
# others its third sentences still ramble. The reward curve is beautiful, and says nothing about all this.
#
# The last column is what *imitation* measures: the nats of held-out beginnings. It has become worse with both policies.
# They have stopped telling most of the stories of our world.
#
# ## 17.9 What was lost
#
# For first sentences we can say exactly what was lost. There are 14,640 possible ones, and the generator knows the
# probability $p$ of each (`next_sentence_probs`). The policy's probability $\pi$ of a sentence is the product of those
# of its tokens. So the following numbers are sums over *all* first sentences; nothing is sampled.
#
# - **possible**: $\sum \pi$, the probability that the policy begins with a possible sentence.
# - **in use**: the effective number $e^{\mathcal{H}}$ of possible first sentences.
# - **covered**: the total $p$ of the sentences that the policy writes at least a tenth as often as the world does. It
#   is the part of the world that you can still hear about.
# - **in place**: $\sum \min(p, \pi)$, the probability that is where it belongs; 1 only if $\pi = p$.

# %%
first = next_sentence_probs("")
world_probs = torch.tensor(list(first.values()), dtype=torch.float64)
first_ids = [tokenizer.encode(sentence) for sentence in first]
by_length = sorted(range(len(first_ids)), key=lambda i: len(first_ids[i]))


@torch.no_grad()
def first_sentence_probs(policy):
    """The probability of each possible first sentence under a policy (14,640,)."""
    probs = torch.zeros(len(first_ids), dtype=torch.float64)
    for i in range(0, len(first_ids), 128):
        chosen = by_length[i : i + 128]
        ids, targets = collate_answers([[END]] * len(chosen), [first_ids[j] for j in chosen])
        probs[chosen] = token_log_probs(policy, ids, targets).sum(dim=1).double().exp()
    return probs


predict("three quarters of its texts are possible now. How much of the world does it cover: 0.7, 0.4 or 0.1?")

# %%
print("first sentences   possible    in use   covered  in place")
exactly = {}
for name, probs in {"the world": world_probs, **{n: first_sentence_probs(p) for n, p in POLICIES.items()}}.items():
    among = probs / probs.sum()
    exactly[name] = {
        "possible": probs.sum().item(),
        "in use": math.exp(-torch.special.xlogy(among, among).sum().item()),
        "covered": world_probs[probs >= world_probs / 10].sum().item(),
        "in place": torch.minimum(probs, world_probs).sum().item(),
    }
    print(f"{name:<17}" + "".join(f"{x:10.{0 if what == 'in use' else 3}f}" for what, x in exactly[name].items()))
result("first sentence possible, before", exactly["before"]["possible"], 0.51, 0.03)
result("first sentence possible, with penalty", exactly["with penalty"]["possible"], 0.92, 0.08)
result("covered, before", exactly["before"]["covered"], 0.95, 0.04)
result("covered, with penalty", exactly["with penalty"]["covered"], 0.1, 0.1)
result("covered, without penalty", exactly["without penalty"]["covered"], 0.015, 0.04)

# %% [markdown]
# **What to see.** Before, the model had nearly all of the world in it, mixed with as many mistakes. Afterwards the
# mistakes are gone, and so is most of the world. Was that necessary?
#
# No. What is the smallest KL that changes the rewards as much? Let the reward be $r$ with probability $p_r$ before, and
# $a_r$ afterwards. The reward is a function of the text, and the KL between texts is at least the KL between their
# rewards (by the log-sum inequality, Cover & Thomas 2006, theorem 2.7.1):
#
# $$ \mathrm{KL}(\pi \| \pi_0) \ge \sum_r a_r \log \frac{a_r}{p_r}. $$
#
# It can be reached: keep the proportions among texts with the same reward. That is what $\pi^*$ of section 17.5 does.


# %%
def reward_probs(texts):
    """The fractions of texts with the rewards 0, 1/3, 2/3 and 1; half a text is added to each, so that none is 0."""
    thirds = [round(SENTENCES * sentences_possible("", text)) for text in texts]
    counts = np.bincount(thirds, minlength=SENTENCES + 1) + 0.5
    return counts / counts.sum()


p = reward_probs(write(teller, tokenizer, [EMPTY] * 600, 3, LONGEST)[1])
print(f"rewards 0, 1/3, 2/3, 1 before: {np.round(p, 3)}")
for name in ("with penalty", "without penalty"):
    a = reward_probs(written[name])
    bound = (a * np.log(a / p)).sum()
    print(f"{name}: {np.round(a, 3)} takes at least {bound:.1f} nats; the KL is {numbers[name]['KL']:.1f}")

# %% [markdown]
# The policy pays several times the minimum. The rest is *drift*. Each step is computed from 64 texts; which of them
# were good is partly luck, and the step follows the luck, too. What the reward does not ask for moves at random, and
# what is ahead by chance is reinforced. The penalty pulls back, but slowly, and the estimate of its gradient is noisy
# itself. The remedies are larger batches, smaller steps, a larger β, and fewer steps. All of them cost time; that is
# the subject of the open exercise.
#
# Or do not train at all: draw $n$ texts whenever you need one, and keep the best. *Best-of-n* changes no weights, so it
# loses nothing; but it costs $n$ texts and a verifier at every use. Training moves this cost to the beginning.

# %% [markdown]
# ## 17.10 Sums, and what k attempts are worth
#
# Stories have many good texts. Now a task where every prompt has one right answer: adding *without carrying*, column by
# column, $7 + 5 = 2$. A sum has eight columns, and its reward is 1 only if the whole answer is right.
#
# The model imitates lazy pupils. In a column with a 0 they make no mistakes. In any other column they give the right
# digit with probability 0.27, copy the digit of the first number with probability 0.5, and otherwise write any digit at
# random. What would a perfect imitator learn from such texts? To be right in a column with probability $q = 0.293$
# ($0.27 + 0.023$), neither more nor less: imitation reproduces mistakes as faithfully as knowledge. A sum with $m$
# columns without a 0 is then right with probability $q^m$. Our model is trained only briefly; let us see how near it
# comes.

# %%
digits = CharTokenizer(CHARACTERS)


def as_prompts(texts):
    return [PromptToAnswer(text, tuple(digits.encode(text))) for text in texts]


def as_ids(answers):
    return [digits.encode(as_text(answer)) for answer in answers]


texts, answers, written = text_sums(SEED)  # the answers are right, what the pupils have written often is not
config = ModelConfig(
    vocab_size=digits.vocab_size, context_length=3 * COLUMNS + 2, n_layers=2, n_heads=4, d_model=64, activation="gelu"
)
pupil = imitate(
    GPT(config), [(p.ids, ids) for p, ids in zip(as_prompts(texts), as_ids(written), strict=True)], 250, batch=64
)
print(f"{texts[0]}{as_text(written[0])}   right: {as_text(answers[0])}")


@torch.no_grad()
def chance(policy, m, n=400):
    """The exact probabilities (n,) with which a policy answers n sums right that have m columns without a 0."""
    texts, answers = draw_sums(n, m, np.random.default_rng(1))
    ids, targets = collate_answers([p.ids for p in as_prompts(texts)], as_ids(answers))
    return token_log_probs(policy, ids, targets).sum(dim=1).exp()


q = chance(pupil, 1).mean().item()
for m in (1, 2, 4, 8):
    print(f"{m} columns: right with probability {chance(pupil, m).mean():.6f}; q to the power of {m} is {q**m:.6f}")
result("right in one column", q, 0.27, 0.02)
result("right in two columns", chance(pupil, 2).mean().item(), q**2, 0.01)

# %% [markdown]
# The probability of a right answer is computed here, not estimated: it is the product of the probabilities of its
# digits.
#
# Nobody has to be content with one attempt. **pass@k** is the probability that at least one of $k$ attempts is right
# (Chen et al. 2021). If a problem is solved with probability $p$ and the attempts are independent, it is
# $1 - (1 - p)^k$; over several problems, the mean of that. So from the exact $p$ we can predict pass@k.
#
# Usually $p$ is unknown. You draw $n$ answers, find $c$ of them right, and estimate it. Substituting $c/n$ for $p$ is
# tempting, but biased: take $n = k = 2$ and $p = 0.5$. pass@2 is 0.75. But $c$ is 0, 1, 2 with probabilities 1/4, 1/2,
# 1/4, and the mean of $1 - (1 - c/2)^2$ is $\frac12 \cdot \frac34 + \frac14 = 0.625$. An unbiased estimate asks: if I
# choose $k$ of my $n$ answers at random, no answer twice, how often is at least one right? There are $\binom{n}{k}$
# choices, and $\binom{n - c}{k}$ of them contain only wrong answers:
#
# $$ \text{pass@}k = 1 - \binom{n - c}{k} \Big/ \binom{n}{k} $$
#
# (Chen et al. 2021, equation 1). Exercise **pass_at_k** asks for it.

# %%
pass_at_k = part(
    "pass_at_k", lambda right, k: float(np.mean([pass_at_k_of_one(right.size(1), int(c), k) for c in right.sum(1)]))
)
predict("two columns, q² = 0.08 for one attempt. How often is at least one of 16 attempts right?")


# %%
def attempts(policy, m, n_problems=60, n=64):
    """Return which of n drawn answers to each problem are right, (n_problems, n) booleans."""
    texts, answers = draw_sums(n_problems, m, np.random.default_rng(1))
    written = write(policy, digits, [p for p in as_prompts(texts) for _ in range(n)], 5, COLUMNS)[1]
    wanted = [as_text(answer) for answer in answers for _ in range(n)]
    return torch.tensor([text == right for text, right in zip(written, wanted, strict=True)]).view(n_problems, n)


right_answers, p = attempts(pupil, 2), chance(pupil, 2, 60)
for k in (1, 4, 16, 64):
    print(f"pass@{k:<3} predicted {(1 - (1 - p) ** k).mean():.3f}   measured {pass_at_k(right_answers, k):.3f}")
result("pass@16, two columns", pass_at_k(right_answers, 16), (1 - (1 - p) ** 16).mean().item(), 0.05)

# %% [markdown]
# ## 17.11 Nothing comes from nothing
#
# Now teach the pupil sums with all eight columns. It is right with probability $q^8$: for the $q = 0.293$ of the pupils
# whom it imitates, that is once in 18,000 answers. In a step of 256 answers there is hardly ever a right one. Then all
# rewards are 0, all advantages are 0, and the policy stays as it is. *The verifier can only strengthen what the model
# already does now and then.*
#
# How do you get anywhere from there? With easier problems. Suppose one column is right with probability $q$ and all
# depend on the same skill. The expected reward of $m$ columns is $J_m = q^m$, and
#
# $$ \frac{dJ_m}{dq} = m\, q^{m - 1} : $$
#
# for $q = 0.28$, one column has the derivative 1, and eight columns $8 \cdot 0.28^7 = 0.001$. At first, the easy ones
# teach a thousand times as much. At $q = 0.9$, eight columns have $8 \cdot 0.9^7 = 3.8$: now the hard ones teach more.

# %%
predict("40 steps with sums of 8 columns. Or 70 steps in which two sums of every 16 have one. What happens?")


# %%
def exercise_sheet(n_easy):
    """A function from the number of a step to its 16 prompts, n_easy of which have one column without a 0."""

    def prompts_of_step(step):
        random = np.random.default_rng((SEED, step))
        return as_prompts(draw_sums(16, np.where(np.arange(16) < n_easy, 1, COLUMNS), random)[0])

    return prompts_of_step


is_right = VERIFIERS["sums"]  # 1 for the right answer to a sum, 0 for any other
pupils = {"before": pupil}
for name, n_easy, steps in (("hard ones only", 0, 40), ("two of 16 are easy", 2, 70)):
    pupils[name], log = teach(pupil, digits, exercise_sheet(n_easy), is_right, steps, 16, 0.0, COLUMNS)
print("columns without a 0       1        2        4        8")
for name, policy in pupils.items():
    print(f"{name:<21}" + "".join(f"{chance(policy, m).mean():9.5f}" for m in (1, 2, 4, 8)))
result("8 columns, hard ones only", chance(pupils["hard ones only"], 8).mean().item(), 0.0, 0.002)
result("8 columns, two of 16 are easy", chance(pupils["two of 16 are easy"], 8).mean().item(), 0.84, 0.3)

# %% [markdown]
# **What to see.** With hard sums only, the numbers are the same as before, to the last digit: 10,000 attempts, and none
# of them right. (With another seed, one of them was; the chance doubled, to one in 16,000.) With two easy sums in every
# sixteen, the pupil learns to do *all eight columns*, of which the easy ones never showed more than one. Nobody told it
# what the right answers are. The pupils whom it had imitated copied half of the time; it no longer does. **A verifier
# can make a model better than its texts.**
#
# (Luck is enough if it is not too rare. In a first version of this lesson, with six columns and pupils who made other
# mistakes, one answer in four thousand was right at the start. After a few lucky ones, the hard sums alone took off,
# too, with the one seed we tried. But columns with a 0 were no longer practiced, and the pupil forgot how to do them:
# from 0.99 down to 0.29, for a sum with nothing else.)
#
# Both halves are general. If the reward is always zero, the choice of problems is all there is: easier ones, partial
# credit (our stories earned a third for each sentence), hints, longer training before. And where difficult answers
# consist of parts, the skill carries over.
#
# Did the pupil learn something new, or did it only become more certain? That is disputed for large models: their pass@1
# rises, but given enough attempts, the model *before* solves just as many problems (Yue et al. 2025). Compute both.

# %%
print("                      pass@1   pass@64            pass@1   pass@64")
for name in ("before", "two of 16 are easy"):
    line = f"{name:<19}"
    for m in (2, 8):
        p = chance(pupils[name], m)
        line += f"{p.mean():9.4f} {(1 - (1 - p) ** 64).mean():9.4f}" + (" (2 columns)" if m == 2 else " (8 columns)")
    print(line)

# %% [markdown]
# **What to see.** For two columns, Yue et al. are right: 64 attempts by the old pupil are as good as one attempt by the
# new one. For eight columns they are not, because there the number of attempts needed grows exponentially with the
# number of columns. What was possible, but hopeless, has become likely. And in the stories it was the other way round:
# if you ask 64 texts for as many different stories as possible, the model before wins by far (17.9). pass@1 and pass@k
# measure different things; report both.

# %% [markdown]
# ## 17.12 What was left out
#
# - **A learned value.** PPO predicts the reward from the text so far with a second network, and uses the prediction as
#   a baseline for every token (Schulman et al. 2016). It helps where rewards come in the middle of a text.
# - **Credit.** All tokens of a text share one advantage here. But a token after the first mistake cannot change what
#   our verifier says, so its gradient is nothing but noise. Rewards for each step (Lightman et al. 2024) carry more
#   information.
# - **Learned rewards.** Where no program can check, people compare two answers, and a model learns to predict their
#   choices (lesson 16). Such a reward has more holes than a verifier.
# - **Thinking.** Our pupil answers at once. A model that may write intermediate steps before its answer can learn from
#   the reward of the answer alone which steps are useful. That is the interesting part of DeepSeek-AI (2025).
# - **At scale**, writing takes most of the time, on machines of its own; then the policy that writes is always a little
#   older than the one that learns, and the ratio of section 17.4 is needed even for the first update.
#
# In the library: `llmasos/objectives/policy_gradient.py`, `llmasos/rewards/`, `python train.py rl-storyworld`, which
# teaches a larger model whole stories, and `python train.py sums`, then `rl-sums`, for the last two sections. A reward
# of your own is a Python file: `--reward my_reward.py`.
#
# **Further reading.** Williams 1992, *Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement
# Learning*. Schulman et al. 2017, *Proximal Policy Optimization Algorithms*. Kool, van Hoof & Welling 2019, *Buy 4
# REINFORCE Samples, Get a Baseline for Free!* Ziegler et al. 2019, *Fine-Tuning Language Models from Human
# Preferences*. Ahmadian et al. 2024, *Back to Basics: Revisiting REINFORCE Style Optimization for Learning from Human
# Feedback in LLMs*. Shao et al. 2024, *DeepSeekMath*. Liu et al. 2025, *Understanding R1-Zero-Like Training: A Critical
# Perspective*. Davis & Recht 2025, *What Is the Objective of Reasoning with Reinforcement Learning?* Schulman 2020,
# *Approximating KL Divergence* (a blog post). Tang & Munos 2025, *On a Few Pitfalls in KL Divergence Gradient
# Estimation for RL*. Chen et al. 2021, *Evaluating Large Language Models Trained on Code*. Yue et al. 2025, *Does
# Reinforcement Learning Really Incentivize Reasoning Capacity in LLMs Beyond the Base Model?* Lambert et al. 2024,
# *Tülu 3*. DeepSeek-AI 2025, *DeepSeek-R1*. Amodei et al. 2016, *Concrete Problems in AI Safety*.
#
# **Now you.** `python -m lessons check 17` creates your file, `lessons/mine/17_verifier.py`, with seven exercises in
# it. When the checks pass, `python -m lessons run 17 --mine` makes your own code the teacher.
