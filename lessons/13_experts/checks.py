"""The checks of lesson 13, and the known mistakes."""

import math
from fractions import Fraction
from random import Random

import torch
from torch import Tensor
from torch.nn import functional as F

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer


def random(*shape: int, seed: int = 0) -> Tensor:
    """Reproducible normal random numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tensor(numbers: list) -> Tensor:
    """A small tensor of floating-point numbers."""
    return torch.tensor(numbers, dtype=torch.float32)


def apart(*shape: int, seed: int = 0) -> Tensor:
    """Random numbers of which no two in a row are close: a permutation of 0, 0.4, 0.8, … in each row."""
    return 0.4 * random(*shape, seed=seed).argsort(dim=-1).float()


def choices(*shape: int, n_experts: int, k: int, seed: int = 0) -> Tensor:
    """Reproducible random choices of k different experts: (*shape, k)."""
    return random(*shape, n_experts, seed=seed).argsort(dim=-1)[..., :k]


def mask(*shape: int, seed: int = 0) -> Tensor:
    """Random booleans, two thirds of them True; the first of each row is True."""
    booleans = torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < 0.67
    booleans[..., 0] = True
    return booleans


# 1. route


def top_k(logits: Tensor, k: int) -> tuple:
    """A stable sort; probabilities of the first k."""
    p = (logits if logits.dtype == torch.float64 else logits.float()).softmax(dim=-1)
    chosen = logits.sort(dim=-1, descending=True, stable=True).indices[..., :k]
    weights = p.gather(-1, chosen)
    return chosen, weights / weights.sum(dim=-1, keepdim=True) if k > 1 else weights


def sorted_down(z: Tensor) -> Tensor:
    """The experts, the highest logit first; of equal ones the smaller number first."""
    return z.sort(dim=-1, descending=True, stable=True).indices


def routed(logits: Tensor, k: int, softmax=lambda z: z.softmax(dim=-1), order=sorted_down, normalize=None) -> tuple:
    """The router, with pieces that a misconception replaces."""
    p = softmax(logits if logits.dtype == torch.float64 else logits.float())
    chosen = order(logits)[..., :k]
    weights = p.gather(-1, chosen)
    if normalize is not None:
        return chosen, normalize(weights)
    return chosen, weights / weights.sum(dim=-1, keepdim=True) if k > 1 else weights


def softmax_of_the_chosen(logits: Tensor, k: int) -> tuple:
    z = logits if logits.dtype == torch.float64 else logits.float()
    values, chosen = z.sort(dim=-1, descending=True, stable=True)
    if k == 1:
        return chosen[..., :1], (values[..., :1] - z.logsumexp(dim=-1, keepdim=True)).exp()
    return chosen[..., :k], values[..., :k].softmax(dim=-1)


def by_argsort(logits: Tensor, k: int) -> tuple:
    p = logits.double().softmax(dim=-1)
    chosen = (-logits).argsort(dim=-1, stable=True)[..., :k]
    weights = p.take_along_dim(chosen, dim=-1)
    return chosen, weights if k == 1 else F.normalize(weights, p=1, dim=-1)


def one_after_the_other(logits: Tensor, k: int) -> tuple:
    p, rest, chosen = logits.double().softmax(dim=-1), logits.detach(), []
    for _ in range(k):
        best = (rest == rest.max(dim=-1, keepdim=True).values).int().argmax(dim=-1, keepdim=True)
        chosen.append(best)
        rest = rest.scatter(-1, best, -math.inf)
    numbers = torch.cat(chosen, dim=-1)
    weights = p.gather(-1, numbers)
    return numbers, weights if k == 1 else weights / weights.sum(dim=-1, keepdim=True)


def more_routing(seed: int) -> list[Case]:
    draw, s = Random(seed), seed % 1000
    cases = []
    for _ in range(3):
        E = draw.randint(3, 9)
        k = draw.randint(1, E - 1)
        cases.append(Case(f"{k} of {E} experts", logits=apart(2, 3, E, seed=s + E), k=k))
    return [*cases, Case("ties", logits=random(6, 7, seed=s).round(), k=draw.randint(1, 4))]


route = Exercise(
    name="route",
    asks="Choose the k experts with the highest logits, and compute their weights.",
    reference=top_k,
    section="13.2",
    gradients=True,
    cases=[
        Case("two of four", logits=tensor([4, 3, 2, 1]).log(), k=2),
        Case("one of four", logits=tensor([4, 3, 2, 1]).log(), k=1),
        Case("all of three", logits=tensor([1, 3, 2]).log(), k=3),
        Case("the best in the middle", logits=tensor([1, 2, 4, 3]).log(), k=2),
        Case("negative logits", logits=tensor([[-3, -1, -2], [-1, 0, -5]]), k=2),
        Case("a tie of two", logits=tensor([0, 2, 1, 2]), k=1),
        Case("all equal", logits=torch.zeros(3, 5), k=3),
        Case("many ties", logits=random(9, 40, seed=3).round(), k=6),
        Case("two rows of three tokens", logits=apart(2, 3, 5, seed=1), k=3),
        Case("far apart", logits=tensor([[1000, 0, 998], [-1000, -999, 0]]), k=2),
        Case("far apart, one expert", logits=tensor([[1000, 0, 999], [-1000, -999, -1000]]), k=1),
        Case("float64", logits=apart(4, 6, seed=2).double(), k=2),
        Case("close together in float64", logits=1 + 1e-12 * apart(3, 5, seed=8).double(), k=1),
        Case("far apart in float64", logits=torch.tensor([[1000, 0, 998]], dtype=torch.float64), k=2),
        Case("bfloat16", logits=apart(4, 6, seed=4).bfloat16(), k=2),
        Case("float16, one expert", logits=apart(4, 6, seed=5).half(), k=1),
        Case("a transposed tensor", logits=apart(5, 5, seed=6).T.contiguous().T, k=2),
        Case("only one expert", logits=random(3, 1, seed=7), k=1),
        Case("no tokens", logits=torch.zeros(0, 4), k=2),
    ],
    random_cases=more_routing,
    misconceptions=[
        Misconception(
            "not divided by their sum",
            lambda z, k: routed(z, k, normalize=lambda w: w),
            "You took the probabilities of the chosen experts as they are, also for k > 1. They do not sum to 1, so "
            "the output shrinks wherever the router is unsure.",
            "With k > 1, divide by the sum over the chosen ones.",
            "13.2",
        ),
        Misconception(
            "a weight of 1 for a single expert",
            lambda z, k: routed(z, k, normalize=lambda w: w / w.sum(dim=-1, keepdim=True)),
            "With k = 1 you divide the probability by itself. The weight is always 1, and the router gets no gradient "
            "and never learns.",
            "What is the derivative of p/p?",
            "13.2",
            variants=(lambda z, k: routed(z, k, normalize=lambda w: w.log().softmax(dim=-1)),),
        ),
        Misconception(
            "divided by the sum over all experts",
            lambda z, k: routed(z, k, normalize=lambda w: w / k),
            "Your weights are averages over k experts, whatever their probabilities sum to.",
            "The sum of the k chosen probabilities, not their number.",
            "13.2",
            variants=(lambda z, k: routed(z, k, normalize=lambda w: torch.ones_like(w) / k),),
        ),
        Misconception(
            "the experts with the lowest logits",
            lambda z, k: routed(z, k, order=lambda z: z.sort(dim=-1, stable=True).indices),
            "You sorted upwards, so each token goes to the experts that fit it least.",
            "descending=True",
            "13.2",
        ),
        Misconception(
            "of two equal ones, the larger number",
            lambda z, k: routed(
                z,
                k,
                order=lambda z: z.size(-1) - 1 - sorted_down(z.flip(-1)),
            ),
            "Your choice is right, but where two experts have the same logit you take the one with the larger number "
            "first.",
            "A stable sort keeps the order of equal elements; do you reverse it afterwards?",
            "13.2",
        ),
        Misconception(
            "in the order of their numbers",
            lambda z, k: routed(z, k, order=lambda z: sorted_down(z)[..., :k].sort(dim=-1).values),
            "You chose the right experts but listed them by their numbers. The most probable one comes first.",
            "Keep the order of the sort.",
            "13.2",
        ),
        Misconception(
            "softmax over the tokens",
            lambda z, k: routed(z, k, softmax=lambda z: z.softmax(dim=0)),
            "Your softmax runs over the first dimension. At each token, it is the E experts that compete.",
            "dim=-1",
            "13.2",
        ),
        Misconception(
            "no softmax",
            lambda z, k: routed(z, k, softmax=lambda z: z),
            "You used the logits themselves as weights. They may be negative, and their sum may be 0.",
            "Which function turns logits into probabilities?",
            "13.2",
        ),
        Misconception(
            "a sigmoid for each expert",
            lambda z, k: routed(z, k, softmax=torch.sigmoid),
            "You gave each expert a probability of its own. (Some models do. Here the experts compete.)",
            "softmax",
            "13.2",
        ),
        Misconception(
            "overflow",
            lambda z, k: routed(z, k, softmax=lambda z: z.exp() / z.exp().sum(dim=-1, keepdim=True)),
            "An exponential of a large logit is infinite, and your weights are NaN; of a very small one it is 0, and "
            "you divide by 0.",
            "torch's softmax subtracts the largest logit first.",
            "13.2",
        ),
        Misconception(
            "a gradient through nothing",
            lambda z, k: routed(z, k, softmax=lambda z: z.detach().softmax(dim=-1)),
            "Your numbers are right, but they carry no gradient, so the router cannot learn.",
            "Do you use detach, item, tolist or no_grad?",
            "13.2",
        ),
    ],
    accepted={
        "softmax over the chosen": softmax_of_the_chosen,
        "one after the other": one_after_the_other,
        "argsort": by_argsort,
    },
    hints=[
        "Sort each token's logits downwards, keep the first k indices, and collect their probabilities.",
        "sort(dim=-1, descending=True, stable=True).indices[..., :k] and p.gather(-1, chosen). Why is k = 1 special?",
        "z = logits.float() unless they are float64; p = z.softmax(-1); w = p.gather(-1, chosen); "
        "return chosen, w / w.sum(-1, keepdim=True) if k > 1 else w.",
    ],
)


# 2. within_capacity


def rooms(chosen: Tensor, is_real: Tensor, n_experts: int, capacity: int) -> Tensor:
    """Count for each choice how often its expert has been chosen so far."""
    taken = F.one_hot(chosen, n_experts) * is_real[:, :, None, None]  # (B, T, k, E)
    before = taken.sum(dim=2).cumsum(dim=1) - taken.sum(dim=2)  # (B, T, E): by earlier tokens
    return (before.gather(2, chosen) < capacity) & is_real[:, :, None]


def rooms_by_loops(chosen: Tensor, is_real: Tensor, n_experts: int, capacity: int) -> Tensor:
    kept = torch.zeros_like(chosen, dtype=torch.bool)
    for b, row in enumerate(chosen.tolist()):
        taken = [0] * n_experts
        for t, experts in enumerate(row):
            if is_real[b, t]:
                for j, i in enumerate(experts):
                    kept[b, t, j] = taken[i] < capacity
                    taken[i] += 1
    return kept


def rooms_by_expert(chosen: Tensor, is_real: Tensor, n_experts: int, capacity: int) -> Tensor:
    kept = torch.zeros_like(chosen, dtype=torch.bool)
    for i in range(n_experts):
        uses = (chosen == i) & is_real[:, :, None]  # (B, T, k)
        kept |= uses & (uses.any(dim=2).cumsum(dim=1) <= capacity)[:, :, None]
    return kept


ALL = torch.ones(1, 4, dtype=torch.bool)


def more_rooms(seed: int) -> list[Case]:
    draw, s = Random(seed), seed % 1000
    cases = []
    for B, T in ((1, draw.randint(8, 15)), (3, draw.randint(9, 14)), (2, 20)):
        E = draw.randint(2, 5)
        k = draw.randint(1, E - 1)
        cases.append(
            Case(
                f"{B} rows of {T} tokens, {k} of {E} experts",
                chosen=choices(B, T, n_experts=E, k=k, seed=s + T),
                is_real=mask(B, T, seed=s + B),
                n_experts=E,
                capacity=draw.randint(1, 4),
            )
        )
    return cases


within_capacity = Exercise(
    name="within_capacity",
    asks="Say for each choice of an expert whether the expert has room left.",
    reference=rooms,
    section="13.8",
    cases=[
        Case("the example", chosen=torch.tensor([[[0], [0], [1], [0]]]), is_real=ALL, n_experts=2, capacity=2),
        Case("room for one", chosen=torch.tensor([[[0], [1], [1], [0]]]), is_real=ALL, n_experts=2, capacity=1),
        Case("no room", chosen=torch.tensor([[[0], [1], [1], [0]]]), is_real=ALL, n_experts=2, capacity=0),
        Case("room for all", chosen=torch.tensor([[[0], [0], [0], [0]]]), is_real=ALL, n_experts=3, capacity=9),
        Case(
            "two rows",
            chosen=torch.tensor([[[0], [0]], [[0], [1]]]),
            is_real=torch.ones(2, 2, dtype=torch.bool),
            n_experts=2,
            capacity=1,
        ),
        Case(
            "padding at the end",
            chosen=torch.tensor([[[0], [1], [1], [0]]]),
            is_real=torch.tensor([[True, True, False, False]]),
            n_experts=2,
            capacity=2,
        ),
        Case(
            "padding at the beginning",
            chosen=torch.tensor([[[0], [0], [0], [1]]]),
            is_real=torch.tensor([[False, False, True, True]]),
            n_experts=2,
            capacity=1,
        ),
        Case(
            "padding in the middle",
            chosen=torch.tensor([[[1], [1], [0], [1]]]),
            is_real=torch.tensor([[True, False, True, True]]),
            n_experts=2,
            capacity=2,
        ),
        Case(
            "two choices each",
            chosen=torch.tensor([[[0, 1], [2, 0], [1, 0], [0, 2]]]),
            is_real=ALL,
            n_experts=3,
            capacity=1,
        ),
        Case(
            "two choices, room for two",
            chosen=torch.tensor([[[0, 1], [1, 0], [1, 2], [2, 0]]]),
            is_real=ALL,
            n_experts=3,
            capacity=2,
        ),
        Case(
            "random choices",
            chosen=choices(3, 12, n_experts=4, k=2, seed=1),
            is_real=mask(3, 12, seed=2),
            n_experts=4,
            capacity=3,
        ),
        Case(
            "one expert in a transposed tensor",
            chosen=choices(7, 2, n_experts=3, k=1, seed=3).transpose(0, 1),
            is_real=mask(7, 2, seed=4).T,
            n_experts=3,
            capacity=1,
        ),
        Case(
            "an expert that nobody chose",
            chosen=torch.tensor([[[3], [3], [0], [3]]]),
            is_real=ALL,
            n_experts=6,
            capacity=1,
        ),
        Case("no tokens", chosen=torch.zeros(2, 0, 1).long(), is_real=torch.ones(2, 0).bool(), n_experts=2, capacity=1),
        Case("a row of padding", chosen=torch.tensor([[[1], [1], [1], [1]]]), is_real=~ALL, n_experts=2, capacity=1),
    ],
    random_cases=more_rooms,
    misconceptions=[
        Misconception(
            "one too many",
            lambda c, r, E, n: rooms(c, r, E, n + 1),
            "You let one more token in than there is room for.",
            "Does your count include the token itself? Then it may be at most the capacity; if not, it must be less.",
            "13.8",
        ),
        Misconception(
            "one too few",
            lambda c, r, E, n: rooms(c, r, E, n - 1),
            "You leave the last place of each expert empty.",
            "Does your count include the token itself? Then it may be equal to the capacity.",
            "13.8",
        ),
        Misconception(
            "padding takes room",
            lambda c, r, E, n: rooms(c, torch.ones_like(r), E, n) & r[:, :, None],
            "Padding in front of a token takes its place. What happens to a token then depends on how long the other "
            "rows of its batch are.",
            "Leave the padding out before you count.",
            "13.8",
        ),
        Misconception(
            "padding is kept",
            lambda c, r, E, n: rooms(c, r, E, n) | ~r[:, :, None],
            "You let padding through, so the experts compute it.",
            "A choice must be of a real token and find room.",
            "13.8",
            variants=(
                lambda c, r, E, n: rooms(c, torch.ones_like(r), E, n),
                lambda c, r, E, n: rooms(c, r, E, n) | (~r[:, :, None] & (n > 0)),
            ),
        ),
        Misconception(
            "one count for all rows",
            lambda c, r, E, n: rooms(c.reshape(1, -1, c.size(2)), r.reshape(1, -1), E, n).view_as(c),
            "You count over the whole batch, so the first rows take the room of the later ones.",
            "Each row begins with empty experts.",
            "13.8",
        ),
        Misconception(
            "the last ones instead of the first",
            lambda c, r, E, n: rooms(c.flip(1), r.flip(1), E, n).flip(1),
            "You keep the last tokens. In a model that writes, a token would then depend on later ones.",
            "Count from the first token on.",
            "13.8",
        ),
        Misconception(
            "first all first choices, then all second ones",
            lambda c, r, E, n: (
                rooms(c.transpose(1, 2).reshape(len(c), -1, 1), r.repeat(1, c.size(2)), E, n)
                .view(len(c), c.size(2), -1)
                .transpose(1, 2)
            ),
            "You serve the first choices of all tokens before any second choice. (GShard does so.) Then a token's "
            "second expert depends on later tokens.",
            "Finish with one token before you go to the next.",
            "13.8",
        ),
        Misconception(
            "all or nothing",
            lambda c, r, E, n: rooms(c, r, E, n).all(dim=2, keepdim=True).expand_as(c),
            "You drop a token altogether if one of its experts is full.",
            "Each choice is by itself.",
            "13.8",
            variants=(lambda c, r, E, n: rooms(c, r, E, n).any(dim=2, keepdim=True).expand_as(c),),
        ),
        Misconception(
            "a full row instead of a full expert",
            lambda c, r, E, n: (r.cumsum(dim=1) <= n)[:, :, None].expand_as(c) & r[:, :, None],
            "You keep the first tokens of each row, whichever expert they go to.",
            "Each expert has its own count.",
            "13.8",
        ),
        Misconception(
            "an expert that overflows takes no tokens",
            lambda c, r, E, n: (
                (
                    (F.one_hot(c, E) * r[:, :, None, None]).sum(dim=(1, 2)).gather(1, c.reshape(len(c), -1)).view_as(c)
                    <= n
                )
                & r[:, :, None]
            ),
            "If too many tokens want an expert, you drop all of them.",
            "The first ones fit. A cumulative sum along the row counts who came before.",
            "13.8",
        ),
    ],
    accepted={
        "loops": rooms_by_loops,
        "expert by expert": rooms_by_expert,
    },
    hints=[
        "For each choice you need one number: how many real tokens before it, in its row, chose the same expert.",
        "one_hot gives (B, T, k, E); set padding to 0; a cumulative sum over the tokens counts.",
        "taken = one_hot(chosen, E) * is_real[:, :, None, None]; before = taken.sum(2).cumsum(1) - taken.sum(2); "
        "before.gather(2, chosen) < capacity, and is_real.",
    ],
)


# 3. mixture


def with_experts(function, x: Tensor, chosen: Tensor, weights: Tensor, kept: Tensor, W: Tensor) -> tuple:
    """Call a mixture with the experts x → relu(x W_i) + x²: its output, and what each expert was called with."""
    calls = [[] for _ in W]

    def make(i):
        def expert(rows):
            if len(rows):
                calls[i].append(len(rows))
            return torch.relu(rows @ W[i]) + rows * rows + i

        return expert

    y = function(x, chosen, weights, kept, [make(i) for i in range(len(W))])
    return y, calls


def without_gradient(function, *inputs: Tensor) -> tuple:
    """The same where no expert may be called, and so nothing depends on the inputs."""
    return with_experts(function, *(x.detach() for x in inputs))


def mixed(x: Tensor, chosen: Tensor, weights: Tensor, kept: Tensor, experts) -> Tensor:
    """A loop over the experts."""
    y = torch.zeros_like(x)
    for i, expert in enumerate(experts):
        rows, j = ((chosen == i) & kept).nonzero(as_tuple=True)
        y = y.index_add(0, rows, expert(x[rows]) * weights[rows, j, None])
    return y


def mixed_by_masks(x: Tensor, chosen: Tensor, weights: Tensor, kept: Tensor, experts) -> Tensor:
    y = torch.zeros_like(x)
    for i, expert in enumerate(experts):
        uses = (chosen == i) & kept  # (N, k)
        mine = uses.any(dim=1)  # (N,)
        if mine.any():
            out = torch.zeros_like(x)
            out[mine] = expert(x[mine])
            y = y + out * (weights * uses).sum(dim=1, keepdim=True)
    return y


def mixed_by_sorting(x: Tensor, chosen: Tensor, weights: Tensor, kept: Tensor, experts) -> Tensor:
    """All choices in a line, sorted by expert."""
    k = chosen.size(1)
    line = kept.flatten().nonzero().squeeze(1)
    line = line[chosen.flatten()[line].argsort()]
    groups = torch.bincount(chosen.flatten()[line], minlength=len(experts)).tolist()
    rows = x[line // k].split(groups)
    out = torch.cat([expert(group) for expert, group in zip(experts, rows, strict=True)])
    return torch.zeros_like(x).index_add(0, line // k, out * weights.flatten()[line, None])


def everything(x: Tensor, chosen: Tensor, weights: Tensor, kept: Tensor, experts, weigh=None) -> Tensor:
    """All experts on all tokens."""
    dense = torch.stack([expert(x) for expert in experts], dim=1)  # (N, E, C)
    return (dense.gather(1, chosen[:, :, None].expand(-1, -1, x.size(1))) * (weights * kept)[:, :, None]).sum(dim=1)


def token_by_token(x: Tensor, chosen: Tensor, weights: Tensor, kept: Tensor, experts) -> Tensor:
    """One call of an expert for each choice."""
    rows = []
    for t in range(len(x)):
        parts = [weights[t, j] * experts[int(i)](x[t : t + 1])[0] for j, i in enumerate(chosen[t]) if kept[t, j]]
        rows.append(sum(parts) if parts else torch.zeros_like(x[t]))
    return torch.stack(rows) if rows else torch.zeros_like(x)


def overwritten(x: Tensor, chosen: Tensor, weights: Tensor, kept: Tensor, experts) -> Tensor:
    y = torch.zeros_like(x)
    for i, expert in enumerate(experts):
        rows, j = ((chosen == i) & kept).nonzero(as_tuple=True)
        y = y.index_copy(0, rows, expert(x[rows]) * weights[rows, j, None])
    return y


def tokens_of(
    N: int, E: int, k: int, C: int = 3, seed: int = 0, kept: bool = True, d: torch.dtype = torch.float32
) -> dict:
    """Inputs of `mixture`."""
    weights = random(N, k, seed=seed + 1).softmax(dim=-1)
    return {
        "x": random(N, C, seed=seed).to(d),
        "chosen": choices(N, n_experts=E, k=k, seed=seed + 2),
        "weights": weights.to(d),
        "kept": torch.ones(N, k, dtype=torch.bool) if kept else mask(k, N, seed=seed + 3).T,
        "W": random(E, C, C, seed=seed + 4).to(d),
    }


ONES = tensor([[1, 2], [3, 4], [5, 6]])


def more_mixtures(seed: int) -> list[Case]:
    draw, s = Random(seed), seed % 1000
    cases = []
    for kept in (True, False, False):
        N, E = draw.randint(5, 12), draw.randint(3, 6)
        k = draw.randint(1, E - 1)
        cases.append(Case(f"{N} tokens, {k} of {E}", run=with_experts, **tokens_of(N, E, k, seed=s + N, kept=kept)))
    return cases


mixture = Exercise(
    name="mixture",
    asks="Send each token to its experts, and add their outputs with the weights.",
    reference=mixed,
    section="13.3",
    gradients=True,
    cases=[
        Case(
            "three tokens, two experts",
            run=with_experts,
            x=ONES,
            chosen=torch.tensor([[0], [1], [0]]),
            weights=torch.ones(3, 1),
            kept=torch.ones(3, 1, dtype=torch.bool),
            W=torch.zeros(2, 2, 2),
        ),
        Case(
            "weights",
            run=with_experts,
            x=ONES,
            chosen=torch.tensor([[1], [1], [0]]),
            weights=tensor([[2], [1], [3]]),
            kept=torch.ones(3, 1, dtype=torch.bool),
            W=torch.zeros(2, 2, 2),
        ),
        Case(
            "both experts for each",
            run=with_experts,
            x=ONES,
            chosen=torch.tensor([[1, 0], [0, 1], [0, 1]]),
            weights=tensor([[2, 1], [1, 3], [1, 1]]),
            kept=torch.ones(3, 2, dtype=torch.bool),
            W=torch.zeros(2, 2, 2),
        ),
        Case(
            "one choice dropped",
            run=with_experts,
            x=ONES,
            chosen=torch.tensor([[0, 1], [0, 1], [1, 0]]),
            weights=tensor([[2, 1], [1, 3], [1, 1]]),
            kept=torch.tensor([[True, True], [True, False], [True, True]]),
            W=torch.zeros(2, 2, 2),
        ),
        Case(
            "a token without any expert",
            run=with_experts,
            x=ONES,
            chosen=torch.tensor([[0], [1], [0]]),
            weights=torch.ones(3, 1),
            kept=torch.tensor([[True], [False], [True]]),
            W=torch.zeros(2, 2, 2),
        ),
        Case("one expert of four", run=with_experts, **tokens_of(9, 4, 1, seed=1)),
        Case("two experts of five", run=with_experts, **tokens_of(8, 5, 2, seed=2)),
        Case("some dropped", run=with_experts, **tokens_of(10, 4, 2, seed=3, kept=False)),
        Case("one token", run=with_experts, **tokens_of(1, 3, 2, seed=4)),
        Case("no tokens", run=without_gradient, **tokens_of(0, 3, 1, seed=5)),
        Case("float64", run=with_experts, **tokens_of(6, 3, 2, seed=6, d=torch.float64)),
        Case("all experts", run=with_experts, **tokens_of(6, 3, 3, seed=7)),
    ],
    random_cases=more_mixtures,
    misconceptions=[
        Misconception(
            "every expert computes every token",
            everything,
            "Your result is right, but every expert computed every token: a mixture of 8 experts then costs 8 times as "
            "much as one.",
            "Select the rows of x before you call the expert.",
            "13.3",
            variants=(
                lambda x, c, w, kept, experts: sum(
                    expert(x) * (w * ((c == i) & kept)).sum(dim=1, keepdim=True) for i, expert in enumerate(experts)
                ),
            ),
        ),
        Misconception(
            "one call for each token",
            token_by_token,
            "Your result is right, but you call the experts token by token, with matrices of one row.",
            "Loop over the experts, not over the tokens.",
            "13.3",
        ),
        Misconception(
            "weights forgotten",
            lambda x, c, w, kept, experts: mixed(x, c, torch.ones_like(w), kept, experts),
            "You added the outputs without their weights; so the router gets no gradient.",
            "Multiply each expert's output by the weight of the choice.",
            "13.3",
        ),
        Misconception(
            "the input weighted, not the output",
            lambda x, c, w, kept, experts: sum(
                (
                    torch.zeros_like(x).index_add(0, rows, expert(x[rows] * w[rows, j, None]))
                    for i, expert in enumerate(experts)
                    for rows, j in [((c == i) & kept).nonzero(as_tuple=True)]
                ),
                torch.zeros_like(x),
            ),
            "You multiplied the token by the weight before the expert. An expert is not linear: this is not the same.",
            "weight · expert(x), not expert(weight · x).",
            "13.3",
        ),
        Misconception(
            "overwritten instead of added",
            overwritten,
            "A token with two experts keeps only the output of the last one.",
            "+= or index_add",
            "13.3",
        ),
        Misconception(
            "dropped choices computed all the same",
            lambda x, c, w, kept, experts: mixed(x, c, w, torch.ones_like(kept), experts),
            "You ignored `kept`, so dropped choices are computed and added as if there were room for them.",
            "A dropped choice adds nothing, and its expert does not see the token.",
            "13.3",
        ),
        Misconception(
            "dropped choices computed, then left out",
            lambda x, c, w, kept, experts: mixed(x, c, w * kept, torch.ones_like(kept), experts),
            "Your result is right, but the experts computed what was dropped. There is no room for it there.",
            "Leave it out before you call the expert.",
            "13.3",
        ),
        Misconception(
            "a dropped token keeps its vector",
            lambda x, c, w, kept, experts: mixed(x, c, w, kept, experts) + x * (~kept).all(dim=1, keepdim=True),
            "You returned x for a token without an expert. The residual connection around this layer adds x already.",
            "0 for such a token.",
            "13.8",
        ),
        Misconception(
            "the weight of the first choice for all",
            lambda x, c, w, kept, experts: mixed(x, c, w[:, :1].expand_as(w), kept, experts),
            "You took the first weight of a token for all its experts.",
            "The choice j of token t has the weight weights[t, j].",
            "13.3",
        ),
        Misconception(
            "weights sorted by expert",
            lambda x, c, w, kept, experts: mixed(x, c.sort(dim=1).values, w, kept, experts),
            "You paired weights and experts in different orders.",
            "weights[t, j] belongs to chosen[t, j].",
            "13.3",
        ),
        Misconception(
            "only the first choice",
            lambda x, c, w, kept, experts: mixed(x, c[:, :1], w[:, :1], kept[:, :1], experts),
            "You used one expert for each token.",
            "All k choices.",
            "13.3",
        ),
    ],
    accepted={
        "masks": mixed_by_masks,
        "sorted by expert": mixed_by_sorting,
    },
    hints=[
        "Loop over the experts. Which tokens use expert i, and in which of their k choices?",
        "rows, j = ((chosen == i) & kept).nonzero(as_tuple=True) gives both.",
        "y = y.index_add(0, rows, expert(x[rows]) * weights[rows, j, None]), starting from zeros.",
    ],
)


# 4. load_balancing_loss


def balance(probs: Tensor, chosen: Tensor, is_real: Tensor) -> Tensor:
    """E · Σ f_i · P_i."""
    E, real = probs.size(-1), chosen[is_real].flatten()
    f = torch.bincount(real, minlength=E) / len(real)
    return E * (f.to(probs.dtype) * probs[is_real].mean(dim=0)).sum()


def balance_by_loops(probs: Tensor, chosen: Tensor, is_real: Tensor) -> Tensor:
    B, T, E = probs.shape
    n, total = int(is_real.sum()), 0.0
    for i in range(E):
        f = sum(chosen[b, t].tolist().count(i) for b in range(B) for t in range(T) if is_real[b, t]) / (
            n * chosen.size(2)
        )
        P = sum(probs[b, t, i] for b in range(B) for t in range(T) if is_real[b, t]) / n
        total = total + E * f * P
    return total


def balance_by_one_hot(probs: Tensor, chosen: Tensor, is_real: Tensor) -> Tensor:
    real = is_real[:, :, None].to(probs.dtype)  # (B, T, 1)
    n = real.sum()
    f = (F.one_hot(chosen, probs.size(-1)).sum(dim=2) * real).sum(dim=(0, 1)) / n / chosen.size(2)
    return probs.size(-1) * f @ ((probs * real).sum(dim=(0, 1)) / n)


def probabilities(*shape: int, seed: int = 0) -> Tensor:
    """Random distributions."""
    return (1.5 * random(*shape, seed=seed)).softmax(dim=-1)


def more_balance(seed: int) -> list[Case]:
    draw, s = Random(seed), seed % 1000
    cases = []
    for B in (1, 2, 4):
        T, E = draw.randint(4, 8), draw.randint(3, 6)
        cases.append(
            Case(
                f"{B} rows of {T} tokens, {E} experts",
                probs=probabilities(B, T, E, seed=s + T),
                chosen=choices(B, T, n_experts=E, k=draw.randint(1, 2), seed=s + E),
                is_real=mask(B, T, seed=s),
            )
        )
    return cases


EVERY = torch.ones(1, 2, dtype=torch.bool)

load_balancing_loss = Exercise(
    name="load_balancing_loss",
    asks="Compute E · Σ f_i · P_i over the real tokens.",
    reference=balance,
    section="13.5",
    gradients=True,
    cases=[
        Case(
            "the example",
            probs=tensor([[[0.75, 0.25], [0.25, 0.75]]]),
            chosen=torch.tensor([[[0], [0]]]),
            is_real=EVERY,
        ),
        Case("all to one", probs=tensor([[[1, 0], [1, 0]]]), chosen=torch.tensor([[[0], [0]]]), is_real=EVERY),
        Case("even", probs=tensor([[[0.9, 0.1], [0.3, 0.7]]]), chosen=torch.tensor([[[0], [1]]]), is_real=EVERY),
        Case("uneven", probs=tensor([[[0.9, 0.1], [0.7, 0.3]]]), chosen=torch.tensor([[[0], [0]]]), is_real=EVERY),
        Case(
            "two of three",
            probs=tensor([[[0.5, 0.25, 0.25], [0.5, 0.5, 0]]]),
            chosen=torch.tensor([[[0, 1], [0, 1]]]),
            is_real=EVERY,
        ),
        Case(
            "one token is padding",
            probs=tensor([[[0.75, 0.25], [0, 1]]]),
            chosen=torch.tensor([[[0], [1]]]),
            is_real=torch.tensor([[True, False]]),
        ),
        Case(
            "rows of different lengths",
            probs=probabilities(2, 4, 3, seed=1),
            chosen=torch.tensor([[[0], [0], [1], [2]], [[2], [1], [1], [1]]]),
            is_real=torch.tensor([[True, True, True, True], [True, False, False, False]]),
        ),
        Case(
            "random",
            probs=probabilities(3, 5, 4, seed=2),
            chosen=choices(3, 5, n_experts=4, k=2, seed=3),
            is_real=mask(3, 5, seed=4),
        ),
        Case(
            "float64, an expert that nobody chose",
            probs=probabilities(2, 3, 6, seed=5).double(),
            chosen=choices(2, 3, n_experts=3, k=1, seed=6),
            is_real=mask(2, 3, seed=7),
        ),
        Case(
            "transposed",
            probs=probabilities(5, 2, 3, seed=8).transpose(0, 1),
            chosen=choices(5, 2, n_experts=3, k=1, seed=9).transpose(0, 1),
            is_real=mask(5, 2, seed=10).T,
        ),
        Case("one token", probs=tensor([[[0.2, 0.8]]]), chosen=torch.tensor([[[0]]]), is_real=torch.ones(1, 1).bool()),
    ],
    random_cases=more_balance,
    misconceptions=[
        Misconception(
            "not multiplied by E",
            lambda p, c, r: balance(p, c, r) / p.size(-1),
            "You left out the factor E. The loss of an even load then depends on the number of experts.",
            "It should be 1 for an even load.",
            "13.5",
        ),
        Misconception(
            "f sums to k",
            lambda p, c, r: balance(p, c, r) * c.size(-1),
            "You divided the counts by the number of tokens. There are k choices for each token.",
            "f_i is a fraction of all choices.",
            "13.5",
        ),
        Misconception(
            "padding counts",
            lambda p, c, r: balance(p, c, torch.ones_like(r)),
            "You counted the padding, so the router learns to balance what nobody reads.",
            "Select the real tokens first.",
            "13.5",
        ),
        Misconception(
            "padding left out, but counted in the means",
            lambda p, c, r: balance(p, c, r) * (r.double().mean() ** 2).to(p.dtype),
            "You left out the padding in the sums but divided by the number of all positions.",
            "Divide by the number of real tokens.",
            "13.5",
            variants=(lambda p, c, r: balance(p, c, r) * r.double().mean().to(p.dtype),),
        ),
        Misconception(
            "a mean over the rows",
            lambda p, c, r: torch.stack(
                [balance(p[b : b + 1], c[b : b + 1], r[b : b + 1]) for b in range(len(p))]
            ).mean(),
            "You computed the loss of each row and averaged. Then every row has to use all experts by itself, a German "
            "one as well as an English one.",
            "f and P are over all tokens of the batch; multiply only then.",
            "13.5",
        ),
        Misconception(
            "the most probable expert instead of the chosen ones",
            lambda p, c, r: balance(p, p.argmax(dim=-1, keepdim=True), r),
            "You recomputed the choices from the probabilities. f counts what `chosen` says: with k > 1 it is more "
            "than the most probable expert.",
            "bincount(chosen[is_real].flatten(), minlength=E)",
            "13.5",
        ),
        Misconception(
            "the square of f",
            lambda p, c, r: (
                p.size(-1) * (torch.bincount(c[r].flatten(), minlength=p.size(-1)) / c[r].numel()).square().sum()
                + 0 * p.sum()
            ),
            "You used the fractions twice. They cannot be differentiated.",
            "One factor counts, the other is a mean of probabilities.",
            "13.5",
        ),
        Misconception(
            "the square of P",
            lambda p, c, r: p.size(-1) * p[r].mean(dim=0).square().sum(),
            "You used the mean probabilities twice. A router can have even mean probabilities and still choose one "
            "expert always.",
            "One factor counts the choices.",
            "13.5",
        ),
        Misconception(
            "the mean over the experts",
            lambda p, c, r: balance(p, c, r) / p.size(-1) ** 2,
            "You took the mean over the experts instead of E times the sum.",
            "E · Σ",
            "13.5",
        ),
        Misconception(
            "probabilities without a gradient",
            lambda p, c, r: balance(p.detach(), c, r),
            "Your number is right, but it has no gradient; nothing would be balanced.",
            "Do you use detach, item or tolist on probs?",
            "13.5",
        ),
        Misconception(
            "only the probabilities of the chosen experts",
            lambda p, c, r: (
                lambda g, f: (
                    p.size(-1)
                    * (f * torch.zeros(p.size(-1), dtype=p.dtype).index_add(0, c[r].flatten(), g) / r.sum()).sum()
                )
            )(
                p[r].gather(-1, c[r]).flatten(),
                (torch.bincount(c[r].flatten(), minlength=p.size(-1)) / c[r].numel()).to(p.dtype),
            ),
            "In P you counted a token's probability only for the experts that it chose.",
            "P_i is the mean of p_i over all tokens, also over those that chose another expert.",
            "13.5",
        ),
    ],
    accepted={
        "loops": balance_by_loops,
        "one-hot": balance_by_one_hot,
    },
    hints=[
        "First drop the padding: probs[is_real] is (n, E) and chosen[is_real] is (n, k).",
        "f = torch.bincount(chosen[is_real].flatten(), minlength=E), divided by its sum; P is a mean over the tokens.",
        "E * (f * probs[is_real].mean(0)).sum().",
    ],
)


# 5. mixture_size


def size(d_model: int, d_ff: int, n_experts: int, k: int, gated: bool) -> tuple[int, int, int]:
    expert = (3 if gated else 2) * d_model * d_ff
    router = n_experts * d_model if n_experts > 1 else 0
    active = k * expert + router
    return n_experts * expert + router, active, 6 * active


def size_by_lists(d_model: int, d_ff: int, n_experts: int, k: int, gated: bool) -> tuple[int, int, int]:
    matrices = [d_model * d_ff] * (2 + bool(gated))
    routers = [n_experts * d_model] * min(1, n_experts - 1)
    used = sum(matrices * k + routers)
    return sum(matrices * n_experts + routers), used, 2 * used + 4 * used


def size_by_difference(d_model: int, d_ff: int, n_experts: int, k: int, gated: bool) -> tuple[int, int, int]:
    expert = d_model * d_ff * (3 if gated else 2)
    total = n_experts * expert + (n_experts * d_model if n_experts != 1 else 0)
    used = total - (n_experts - k) * expert
    return total, used, 6 * used


def more_sizes(seed: int) -> list[Case]:
    draw = Random(seed)
    cases = []
    for gated in (True, False):
        E = draw.randint(3, 20)
        cases.append(
            Case(
                f"{E} experts",
                d_model=draw.randint(3, 90),
                d_ff=draw.randint(91, 300),
                n_experts=E,
                k=draw.randint(2, E - 1),
                gated=gated,
            )
        )
    return cases


mixture_size = Exercise(
    name="mixture_size",
    asks="Count the weights, the weights that a token uses, and the FLOPs of training.",
    reference=size,
    section="13.9",
    cases=[
        Case("small", d_model=2, d_ff=3, n_experts=4, k=1, gated=False),
        Case("gated", d_model=2, d_ff=3, n_experts=4, k=1, gated=True),
        Case("two of four", d_model=2, d_ff=3, n_experts=4, k=2, gated=False),
        Case("only one expert", d_model=2, d_ff=3, n_experts=1, k=1, gated=False),
        Case("one of two", d_model=3, d_ff=4, n_experts=2, k=1, gated=False),
        Case("all of three", d_model=4, d_ff=10, n_experts=3, k=3, gated=True),
        Case("Mixtral's layer", d_model=4096, d_ff=14336, n_experts=8, k=2, gated=True),
        Case("narrow experts", d_model=7, d_ff=2, n_experts=64, k=6, gated=True),
    ],
    random_cases=more_sizes,
    misconceptions=[
        Misconception(
            "no router",
            lambda C, D, E, k, g: (E * (2 + g) * C * D, k * (2 + g) * C * D, 6 * k * (2 + g) * C * D),
            "You left out the router. It is small, but every token goes through it.",
            "One matrix (E, C).",
            "13.9",
        ),
        Misconception(
            "a router for one expert",
            lambda C, D, E, k, g: (
                E * (2 + g) * C * D + E * C,
                k * (2 + g) * C * D + E * C,
                6 * (k * (2 + g) * C * D + E * C),
            ),
            "You counted a router although there is nothing to choose.",
            "With one expert there is no router.",
            "13.9",
        ),
        Misconception(
            "the router is k · C",
            lambda C, D, E, k, g: (
                size(C, D, E, k, g)[0],
                k * (2 + g) * C * D + (k * C if E > 1 else 0),
                6 * (k * (2 + g) * C * D + (k * C if E > 1 else 0)),
            ),
            "You counted only the chosen rows of the router. To choose, it must compute all E logits.",
            "Every token is multiplied by the whole router.",
            "13.9",
        ),
        Misconception(
            "every token uses all experts",
            lambda C, D, E, k, g: (size(C, D, E, k, g)[0], size(C, D, E, k, g)[0], 6 * size(C, D, E, k, g)[0]),
            "You let each token pass all experts; then there would be nothing to gain.",
            "Only k of them.",
            "13.9",
        ),
        Misconception(
            "gated experts have two matrices",
            lambda C, D, E, k, g: size(C, D, E, k, False),
            "A gated feed-forward has a third matrix, that of the gate.",
            "3 · d_model · d_ff",
            "13.9",
        ),
        Misconception(
            "only the forward pass",
            lambda C, D, E, k, g: (*size(C, D, E, k, g)[:2], 2 * size(C, D, E, k, g)[1]),
            "You counted the forward pass. Training needs the backward pass, too.",
            "2 FLOPs forward, and twice that backward.",
            "13.9",
        ),
        Misconception(
            "a multiplication and an addition are one",
            lambda C, D, E, k, g: (*size(C, D, E, k, g)[:2], 3 * size(C, D, E, k, g)[1]),
            "You counted a multiplication with its addition as one operation.",
            "They are two.",
            "13.9",
            variants=(lambda C, D, E, k, g: (*size(C, D, E, k, g)[:2], size(C, D, E, k, g)[1]),),
        ),
        Misconception(
            "backward as expensive as forward",
            lambda C, D, E, k, g: (*size(C, D, E, k, g)[:2], 4 * size(C, D, E, k, g)[1]),
            "The backward pass has two products for each matrix: one for the gradient of its input and one for that of "
            "its weights.",
            "Twice the forward pass.",
            "13.9",
        ),
        Misconception(
            "with biases",
            lambda C, D, E, k, g: (
                size(C, D, E, k, g)[0] + E * (D * (1 + g) + C),
                size(C, D, E, k, g)[1] + k * (D * (1 + g) + C),
                size(C, D, E, k, g)[2],
            ),
            "You counted biases; these layers have none.",
            "Only matrices.",
            "13.9",
        ),
    ],
    accepted={
        "lists": size_by_lists,
        "what a token does not use is taken away": size_by_difference,
    },
    hints=[
        "Count one expert first, then the router.",
        "The weights of a token: k experts and the whole router. FLOPs: 2 per weight forward, 4 backward.",
        "expert = (3 if gated else 2) · C · d_ff; router = E · C if E > 1 else 0; active = k · expert + router; "
        "6 · active.",
    ],
)


# 6. expected_dropped


def excess(T: int, E: int, c: int, weigh=lambda n, c: n - c) -> float:
    """Σ over n > c of weigh(n, c) times the binomial probability of n."""
    if E == 1:
        return max(0.0, weigh(T, c)) if c < T else 0.0
    total, up, down = 0.0, math.log(1 / E), math.log(1 - 1 / E)
    for n in range(c + 1, T + 1):
        log_choose = math.lgamma(T + 1) - math.lgamma(n + 1) - math.lgamma(T - n + 1)
        total += weigh(n, c) * math.exp(log_choose + n * up + (T - n) * down)
    return total


def dropped(T: int, n_experts: int, capacity: int) -> float:
    return n_experts / T * excess(T, n_experts, capacity)


def dropped_by_fractions(T: int, n_experts: int, capacity: int) -> float:
    """In whole numbers, exactly: of E^T outcomes, C(T, n) (E-1)^(T-n) have n tokens at one expert."""
    total = 0
    for n in range(capacity + 1, T + 1):
        total += (n - capacity) * math.comb(T, n) * (n_experts - 1) ** (T - n)
    return float(Fraction(n_experts * total, T * n_experts**T))


def dropped_token_by_token(T: int, n_experts: int, capacity: int) -> float:
    """The distribution of an expert's load, token by token; a token is dropped if it finds the expert full."""
    load = torch.zeros(T + 2, dtype=torch.float64)
    load[0] = 1.0
    total = 0.0
    for _ in range(T):
        total += float(load[capacity:].sum())
        load = load * (1 - 1 / n_experts) + load.roll(1) / n_experts
    return total / T


def normal_approximation(T: int, E: int, c: int) -> float:
    mean, std = T / E, math.sqrt(T / E * (1 - 1 / E))
    if std == 0:
        return max(0.0, mean - c) * E / T
    z = (c - mean) / std
    density, above = math.exp(-z * z / 2) / math.sqrt(2 * math.pi), 0.5 * math.erfc(z / math.sqrt(2))
    return E / T * (std * density - (c - mean) * above)


def poisson(T: int, E: int, c: int) -> float:
    rate = T / E
    return (
        E
        / T
        * sum((n - c) * math.exp(n * math.log(rate) - rate - math.lgamma(n + 1)) for n in range(c + 1, 4 * T + 40))
    )


def more_drops(seed: int) -> list[Case]:
    draw = Random(seed)
    cases = []
    for T in (draw.randint(3, 9), draw.randint(10, 60), draw.randint(100, 900)):
        E = draw.randint(2, 12)
        cases.append(Case(f"{T} tokens, {E} experts", T=T, n_experts=E, capacity=max(1, T // E + draw.randint(-1, 2))))
    return cases


expected_dropped = Exercise(
    name="expected_dropped",
    asks="Compute the fraction of the tokens that a fair router drops, on average.",
    reference=dropped,
    section="13.8",
    rtol=1e-6,
    atol=1e-9,
    cases=[
        Case("two tokens, two experts", T=2, n_experts=2, capacity=1),
        Case("three tokens, two experts", T=3, n_experts=2, capacity=1),
        Case("three tokens, three experts", T=3, n_experts=3, capacity=1),
        Case("no room", T=5, n_experts=3, capacity=0),
        Case("room for all", T=5, n_experts=3, capacity=5),
        Case("more room than tokens", T=3, n_experts=2, capacity=7),
        Case("one expert", T=4, n_experts=1, capacity=3),
        Case("one expert, room for all", T=4, n_experts=1, capacity=4),
        Case("one token", T=1, n_experts=4, capacity=1),
        Case("the lesson's", T=64, n_experts=8, capacity=8),
        Case("the lesson's, factor 1.25", T=64, n_experts=8, capacity=10),
        Case("more experts than tokens", T=6, n_experts=40, capacity=1),
        Case("a long row", T=4000, n_experts=8, capacity=510),
        Case("a long row, two experts", T=3000, n_experts=2, capacity=1500),
    ],
    random_cases=more_drops,
    misconceptions=[
        Misconception(
            "only one expert",
            lambda T, E, c: excess(T, E, c) / T,
            "You computed what one expert drops. There are E of them.",
            "All experts are alike: multiply by E.",
            "13.8",
        ),
        Misconception(
            "a number instead of a fraction",
            lambda T, E, c: E * excess(T, E, c),
            "You returned the number of dropped tokens.",
            "Divide by T.",
            "13.8",
        ),
        Misconception(
            "the probability of an overflow",
            lambda T, E, c: excess(T, E, c, lambda n, c: 1.0),
            "You computed how probable it is that an expert is full, not how many tokens it then drops.",
            "With n tokens, n - c of them are dropped.",
            "13.8",
            variants=(lambda T, E, c: E / T * excess(T, E, c, lambda n, c: 1.0),),
        ),
        Misconception(
            "all tokens of a full expert are dropped",
            lambda T, E, c: E / T * excess(T, E, c, lambda n, c: n),
            "You dropped all n tokens of an expert that is full. The first c of them have room.",
            "n - c",
            "13.8",
        ),
        Misconception(
            "the excess of the mean",
            lambda T, E, c: max(0.0, T / E - c) * E / T,
            "You compared the mean load with the capacity. The mean of an excess is not the excess of the mean: on "
            "average the experts have room, and yet some are full.",
            "Average (n - c) over all n above c.",
            "13.8",
        ),
        Misconception(
            "a normal approximation",
            normal_approximation,
            "You took a normal distribution for the load. It is close for long rows, but not exact.",
            "The binomial distribution.",
            "13.8",
        ),
        Misconception(
            "a Poisson distribution",
            poisson,
            "You took a Poisson distribution. There a load may be greater than T, and its variance is T/E.",
            "The binomial distribution, with T draws.",
            "13.8",
        ),
        Misconception(
            "too large for a float",
            lambda T, E, c: (
                E
                / T
                * sum(
                    (n - c) * (float(math.comb(T, n)) * (1 / E) ** n * (1 - 1 / E) ** (T - n))
                    for n in range(c + 1, T + 1)
                )
            ),
            "The binomial coefficients of a long row are too large for a floating-point number.",
            "Add logarithms (math.lgamma), or compute in whole numbers and divide at the end.",
            "13.8",
        ),
        Misconception(
            "no binomial coefficient",
            lambda T, E, c: E / T * sum((n - c) * (1 / E) ** n * (1 - 1 / E) ** (T - n) for n in range(c + 1, T + 1)),
            "You left out the number of ways to choose which n of the T tokens they are.",
            "math.comb(T, n)",
            "13.8",
        ),
        Misconception(
            "the last term left out",
            lambda T, E, c: E / T * (excess(T, E, c) - (max(T - c, 0) * (1 / E) ** T)),
            "Your sum ends at T - 1. It may happen that all tokens want the same expert.",
            "range(c + 1, T + 1)",
            "13.8",
        ),
    ],
    accepted={
        "whole numbers": dropped_by_fractions,
        "token by token": dropped_token_by_token,
    },
    hints=[
        "The number of tokens of one expert is binomial. What does it drop if n tokens come?",
        "E/T times the sum over n from c + 1 to T of (n - c) times the probability of n. Large binomial coefficients: "
        "add logarithms, with math.lgamma.",
        "log C(T, n) = lgamma(T + 1) - lgamma(n + 1) - lgamma(T - n + 1). For one expert, log(1 - 1/E) does not exist: "
        "treat it separately.",
    ],
)


# 7. below_one


def verdict(student) -> str:
    """Describe in one sentence what the student's router is like."""
    probs = student()
    if not (torch.is_tensor(probs) and probs.dim() == 2 and probs.is_floating_point()):
        return "it is not a tensor (N, E) of floating-point numbers"
    probs = probs.double()
    N, E = probs.shape
    if not (2 <= E <= 8 and 2 <= N <= 100):
        return "there are too few or too many experts or tokens"
    if not probs.isfinite().all() or probs.min() < 0 or (probs.sum(dim=1) - 1).abs().max() > 1e-4:
        return "a row is not a distribution"
    first, second = probs.topk(2, dim=1).values.T
    if (first - second).min() < 0.01 - 1e-6:
        return "a token has no clear choice"
    f = torch.bincount(probs.argmax(dim=1), minlength=E) / N
    loss = (E * (f * probs.mean(dim=0)).sum()).item()
    if loss < 0.95 - 1e-9:
        return "fine"
    return (
        "the loss is above 1" if loss > 1 + 1e-6 else "the loss is 1" if loss > 1 - 1e-6 else "the loss is 0.95 or more"
    )


BELOW = tensor([[0.51, 0.49], [0.51, 0.49], [0.51, 0.49], [0, 1]])

below_one = Exercise(
    name="below_one",
    asks="Find a router whose load-balancing loss is less than 0.95.",
    reference=lambda: BELOW,
    section="13.5",
    cases=[Case("your router", judge=verdict)],
    misconceptions=[
        Misconception(
            "an even load",
            lambda: tensor([[0.9, 0.1], [0.2, 0.8]]),
            "In your router every expert is chosen equally often. Then the loss is exactly 1.",
            "The load must be uneven. Which experts should have the high mean probabilities?",
            "13.5",
            variants=(lambda: torch.eye(4),),
        ),
        Misconception(
            "a sure router",
            lambda: tensor([[1, 0], [1, 0], [0, 1]]),
            "Your loss is above 1: the expert that is chosen more often also has the higher mean probability.",
            "An expert may be chosen often and by little, or seldom and with certainty.",
            "13.5",
            variants=(lambda: tensor([[0.9, 0.1]] * 3),),
        ),
        Misconception(
            "not far enough",
            lambda: tensor([[0.6, 0.4], [0.6, 0.4], [0.6, 0.4], [0, 1]]),
            "Your loss is below 1, but not below 0.95.",
            "The frequent choices should be as close as allowed, the rare ones as clear as possible.",
            "13.5",
        ),
        Misconception(
            "a tie",
            lambda: tensor([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0, 1]]),
            "A token of your router has two experts with (nearly) the same probability, so its choice is not clear.",
            "0.505 and 0.495 are far enough apart.",
            "13.5",
        ),
        Misconception(
            "not a distribution",
            lambda: tensor([[0.51, 0.3], [0.51, 0.3], [0.51, 0.3], [0, 1]]),
            "A row of your tensor does not sum to 1, or has a number below 0, an infinity or a NaN.",
            "Each row is a softmax's output.",
            "13.5",
            variants=(lambda: tensor([[1.51, -0.51], [0, 1]]), lambda: torch.full((3, 2), math.nan)),
        ),
        Misconception(
            "too few experts or tokens",
            lambda: torch.ones(4, 1),
            "There must be 2 to 8 experts and 2 to 100 tokens.",
            "probs is (N, E).",
            "13.5",
            variants=(lambda: tensor([[0.51, 0.49]]), lambda: torch.eye(9), lambda: tensor([[0.51, 0.49]] * 101)),
        ),
        Misconception(
            "not a tensor of floating-point numbers",
            lambda: tensor([0.51, 0.49]),
            "The result must be a tensor (N, E) of floating-point numbers.",
            "torch.tensor([[…], […]])",
            "13.5",
            variants=(lambda: torch.eye(2).long(), lambda: None),
        ),
    ],
    accepted={
        "five tokens, three experts": lambda: tensor(
            [[0.35, 0.33, 0.32], [0.35, 0.33, 0.32], [0.35, 0.33, 0.32], [0, 1, 0], [0, 0, 1]]
        ),
        "float64, twenty tokens": lambda: torch.tensor([[0.505, 0.495]] * 15 + [[0.0, 1.0]] * 5, dtype=torch.float64),
    },
    hints=[
        "Two experts are enough. If f is (¾, ¼), which P makes f · P small?",
        "The expert that is chosen more often should have the lower mean probability. How can it be chosen at all?",
        "Three tokens choose expert 0 with 0.51 against 0.49; the fourth chooses expert 1 with 1.",
    ],
)

EXERCISES = [
    route,
    within_capacity,
    mixture,
    load_balancing_loss,
    mixture_size,
    expected_dropped,
    below_one,
    WrittenAnswer(
        "WHY_BELOW",
        "How can the loss be less than that of an even load, is the load of your router even, which way does the "
        "gradient push it, and why does the loss work all the same?",
        50,
        ["Compare f and P. What does the formula of the gradient in section 13.5 say about the busier expert?"],
        "13.5",
    ),
    WrittenAnswer(
        "EXPERIMENT",
        "What did you change, what did you predict, what came out, what do you make of it?",
        60,
        ["One change at a time. Where there is a formula, compute its prediction first."],
        "13.10",
    ),
]
