"""The checks of lesson 20, and the known mistakes."""

from random import Random

import torch
from torch import Tensor

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer


def random(*shape: int, seed: int = 0) -> Tensor:
    """Reproducible normal random numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tensor(numbers: list) -> Tensor:
    """A small tensor of floating-point numbers."""
    return torch.tensor(numbers, dtype=torch.float32)


def maps(H: int, T: int, seed: int = 0) -> Tensor:
    """Random causal attention weights (H, T, T)."""
    return (2 * random(H, T, T, seed=seed)).masked_fill(torch.ones(T, T).triu(1).bool(), -1e9).softmax(dim=-1)


def words(T: int, V: int, seed: int = 0) -> Tensor:
    """T random tokens."""
    return torch.randint(V, (T,), generator=torch.Generator().manual_seed(seed))


# 1. induction_score


def targets(ids: Tensor) -> Tensor:
    """(T, T) booleans: whether key s + 1 follows an earlier occurrence s of query t's token."""
    T = len(ids)
    earlier = (ids[:, None] == ids[None, :]) & torch.ones(T, T, dtype=torch.bool).tril(-1)  # query t, key s < t
    return torch.cat([torch.zeros(T, 1, dtype=torch.bool), earlier[:, :-1]], dim=1)  # one place to the right


def prefix_matching(weights: Tensor, ids: Tensor) -> Tensor:
    wanted = targets(ids)
    has_one = wanted.any(dim=1)  # (T,)
    if not has_one.any():
        return torch.zeros_like(weights[:, 0, 0])
    return (weights * wanted).sum(dim=2)[:, has_one].mean(dim=1)


def prefix_matching_by_loops(weights: Tensor, ids: Tensor) -> Tensor:
    scores = []
    for head in weights.tolist():
        sums = []
        for t in range(len(ids)):
            places = [s + 1 for s in range(t) if ids[s] == ids[t]]
            if places:
                sums.append(sum(head[t][place] for place in places))
        scores.append(sum(sums) / len(sums) if sums else 0.0)
    return torch.tensor(scores, dtype=weights.dtype)


def scored(weights: Tensor, wanted: Tensor) -> Tensor:
    """The mean, over the queries that have a target, of the weight on the targets."""
    has_one = wanted.any(dim=1)
    if not has_one.any():
        return torch.zeros_like(weights[:, 0, 0])
    return (weights * wanted).sum(dim=2)[:, has_one].mean(dim=1)


def same_token(ids: Tensor) -> Tensor:
    return (ids[:, None] == ids[None, :]) & torch.ones(len(ids), len(ids), dtype=torch.bool).tril(-1)


def only_the_last(ids: Tensor) -> Tensor:
    wanted = targets(ids)
    last = wanted & (wanted.flip(1).cumsum(1).flip(1) == 1)
    return last


def only_the_first(ids: Tensor) -> Tensor:
    wanted = targets(ids)
    return wanted & (wanted.cumsum(1) == 1)


def more_maps(seed: int) -> list[Case]:
    draw = Random(seed)
    return [
        Case(f"{T} tokens", weights=maps(H, T, seed=seed % 1000 + T), ids=words(T, V, seed=seed % 1000 + H))
        for H, T, V in ((1, draw.randint(6, 9), 3), (3, draw.randint(10, 20), 4), (2, draw.randint(21, 40), 30))
    ]


induction_score = Exercise(
    name="induction_score",
    asks="Measure how much attention each head pays to what followed earlier occurrences of the current token.",
    reference=prefix_matching,
    section="20.2",
    cases=[
        Case(
            "one token occurs twice",
            weights=tensor([[[1, 0, 0], [0.5, 0.5, 0], [0.1, 0.7, 0.2]]]),
            ids=torch.tensor([5, 6, 5]),
        ),
        Case(
            "two queries with a target",
            weights=tensor([[[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.125, 0.75, 0.125, 0], [0, 0.25, 0.25, 0.5]]]),
            ids=torch.tensor([1, 2, 1, 2]),
        ),
        Case(
            "two earlier occurrences",
            weights=tensor(
                [[[1, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0], [0.1, 0.2, 0.1, 0.4, 0.2]]]
            ),
            ids=torch.tensor([7, 8, 7, 9, 7]),
        ),
        Case(
            "the same token twice in a row",
            weights=tensor([[[1, 0, 0], [0.25, 0.75, 0], [0.5, 0.25, 0.25]]]),
            ids=torch.tensor([3, 3, 4]),
        ),
        Case("no token occurs twice", weights=maps(2, 4, seed=1), ids=torch.tensor([4, 1, 3, 2])),
        Case("two heads", weights=maps(2, 6, seed=2), ids=torch.tensor([0, 1, 2, 0, 1, 2])),
        Case("one token", weights=torch.ones(3, 1, 1), ids=torch.tensor([0])),
        Case("three heads, many repetitions", weights=maps(3, 12, seed=3), ids=words(12, 4, seed=3)),
        Case("float64", weights=maps(2, 7, seed=4).double(), ids=words(7, 3, seed=4)),
        Case("every other head of a tensor", weights=maps(4, 8, seed=5)[::2], ids=words(16, 3, seed=5)[::2]),
        Case("large ids", weights=maps(1, 5, seed=6), ids=torch.tensor([50_183, 7, 50_183, 7, 7])),
    ],
    random_cases=more_maps,
    misconceptions=[
        Misconception(
            "the same token, not the one after it",
            lambda w, ids: scored(w, same_token(ids)),
            "You took the weight on the earlier occurrence itself. A head that looks there finds the token it already "
            "has; what it needs is the token that followed.",
            "If the token was at s, where is the one that followed it?",
            "20.2",
        ),
        Misconception(
            "the token before it",
            lambda w, ids: scored(w, torch.nn.functional.pad(same_token(ids)[:, 1:], (0, 1))),
            "You took the position before the earlier occurrence. That is where the past of the token is; the "
            "prediction is after it.",
            "s + 1, not s - 1.",
            "20.2",
        ),
        Misconception(
            "the mean over all queries",
            lambda w, ids: (w * targets(ids)).sum(dim=2).mean(dim=1),
            "You divided by T. A query whose token is new has nothing to look for, and should not count.",
            "Over how many queries is the mean?",
            "20.2",
        ),
        Misconception(
            "the mean over the targets",
            lambda w, ids: (
                (w * targets(ids)).sum(dim=(1, 2)) / targets(ids).sum().clamp(min=1)  # by the number of targets
            ),
            "You divided by the number of targets. The weights on all targets of one query belong together, and their "
            "sum is its score.",
            "First sum within a query, then average over the queries.",
            "20.2",
        ),
        Misconception(
            "only the last occurrence",
            lambda w, ids: scored(w, only_the_last(ids)),
            "You counted only the last earlier occurrence. The token after any of them may be looked at.",
            "All s < t with ids[s] = ids[t].",
            "20.2",
        ),
        Misconception(
            "only the first occurrence",
            lambda w, ids: scored(w, only_the_first(ids)),
            "You counted only the first occurrence. The token after any of them may be looked at.",
            "All s < t with ids[s] = ids[t].",
            "20.2",
        ),
        Misconception(
            "rows and columns swapped",
            lambda w, ids: scored(w.mT, targets(ids)),
            "You read the weights by columns. Row t holds the weights of query t, whose sum is 1.",
            "weights[h, t, s] is what query t gives to key s.",
            "20.2",
        ),
        Misconception(
            "the sum over the queries",
            lambda w, ids: (w * targets(ids)).sum(dim=(1, 2)),
            "You did not divide, so a longer text has a higher score.",
            "The score of a head is a mean, from 0 to 1.",
            "20.2",
        ),
        Misconception(
            "one number for all heads",
            lambda w, ids: scored(w, targets(ids)).mean(),
            "You averaged over the heads as well. A model may have one perfect induction head among many others, and "
            "the average would hide it.",
            "(H,): one number for each head.",
            "20.2",
        ),
        Misconception(
            "not a number without repetitions",
            lambda w, ids: (w * targets(ids)).sum(dim=2)[:, targets(ids).any(dim=1)].mean(dim=1),
            "Without a repeated token you took the mean of nothing, which is not a number.",
            "What should the score be if there is no query to average over?",
            "20.2",
        ),
    ],
    accepted={
        "loops": prefix_matching_by_loops,
        "einsum": lambda w, ids: (
            torch.einsum("hts,ts->h", w, targets(ids).to(w.dtype)) / targets(ids).any(dim=1).sum().clamp(min=1)
        ),
    },
    hints=[
        "Make a matrix (T, T) of booleans: does key s hold the same token as query t, and earlier? Then move it by "
        "one.",
        "Same token: ids[:, None] == ids. Earlier: tril(-1). The token after: one column to the right, and the first "
        "column is False.",
        "(weights * wanted).sum(dim=2)[:, wanted.any(dim=1)].mean(dim=1), and zeros if there is no such query.",
    ],
)


# 2. mean_ablation


def ablated(x: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask[:, :, None], x[mask].mean(dim=0), x)


def ablated_by_loops(x: Tensor, mask: Tensor) -> Tensor:
    places = [(b, t) for b in range(x.size(0)) for t in range(x.size(1)) if mask[b, t]]
    mean = sum(x[b, t] for b, t in places) / len(places)
    result = x.clone()
    for b, t in places:
        result[b, t] = mean
    return result


def ablated_by_sum(x: Tensor, mask: Tensor) -> Tensor:
    real = torch.where(mask[..., None], x, 0.0)
    return torch.where(mask[..., None], real.sum(dim=(0, 1)) / mask.sum(), x)


def with_padding(lengths: list[int], D: int, seed: int = 0, padding: float = 100.0) -> dict[str, Tensor]:
    """Random activations of texts of these lengths, with a number at the padding."""
    T = max(lengths)
    mask = torch.arange(T) < torch.tensor(lengths)[:, None]
    return {"activations": random(len(lengths), T, D, seed=seed).masked_fill(~mask[:, :, None], padding),
            "attention_mask": mask}  # fmt: skip


def more_activations(seed: int) -> list[Case]:
    draw = Random(seed)
    return [
        Case(f"{B} texts", **with_padding([draw.randint(1, 6) for _ in range(B)], draw.randint(2, 5), seed % 1000 + B))
        for B in (2, 3, 5)
    ]


mean_ablation = Exercise(
    name="mean_ablation",
    asks="Replace every real activation with the mean over all real activations.",
    reference=ablated,
    section="20.3",
    cases=[
        Case(
            "one text with padding",
            activations=tensor([[[1], [3], [100]]]),
            attention_mask=torch.tensor([[True, True, False]]),
        ),
        Case(
            "two texts of different lengths",
            activations=tensor([[[1], [2], [3]], [[10], [50], [50]]]),
            attention_mask=torch.tensor([[True, True, True], [True, False, False]]),
        ),
        Case(
            "two features",
            activations=tensor([[[1, 10], [3, 30]]]),
            attention_mask=torch.tensor([[True, True]]),
        ),
        Case(
            "padding on the left",
            activations=tensor([[[9, 9], [1, 2], [3, 6]]]),
            attention_mask=torch.tensor([[False, True, True]]),
        ),
        Case("one real token", activations=tensor([[[4], [7]]]), attention_mask=torch.tensor([[False, True]])),
        Case("three texts", **with_padding([4, 2, 5], 3, seed=1)),
        Case("a text that is all padding", **with_padding([3, 0], 2, seed=2)),
        Case("infinity at the padding", **with_padding([3, 1], 2, seed=3, padding=float("inf"))),
        Case(
            "float64",
            activations=random(2, 3, 2, seed=4).double(),
            attention_mask=torch.tensor([[True, True, False], [True, False, False]]),
        ),
        Case(
            "a transposed tensor",
            activations=random(3, 2, 4, seed=5).transpose(0, 1),
            attention_mask=torch.tensor([[True, True, False], [True, False, False]]),
        ),
    ],
    random_cases=more_activations,
    misconceptions=[
        Misconception(
            "padding counts",
            lambda x, m: torch.where(m[:, :, None], x.mean(dim=(0, 1)), x),
            "Your mean includes the padding, where the activations mean nothing.",
            "Select the real tokens before you average: x[attention_mask].",
            "20.3",
        ),
        Misconception(
            "a mean for each text",
            lambda x, m: torch.where(
                m[:, :, None],
                torch.where(m[:, :, None], x, 0.0).sum(1, keepdim=True) / m.sum(1)[:, None, None].clamp(min=1),
                x,
            ),
            "You averaged within each text. What differs between the texts is then still there, and it may be exactly "
            "what you wanted to remove.",
            "One vector (D,) for all texts.",
            "20.3",
        ),
        Misconception(
            "zero instead of the mean",
            lambda x, m: torch.where(m[:, :, None], torch.zeros_like(x), x),
            "You set the activations to 0. That is zero ablation; it also removes what is constant, so that later "
            "parts get a vector that they have never seen.",
            "The mean, not 0.",
            "20.3",
        ),
        Misconception(
            "padding is replaced, too",
            lambda x, m: x[m].mean(dim=0).expand_as(x),
            "You replaced the padding as well. It must be left as it was.",
            "torch.where with the mask.",
            "20.3",
        ),
        Misconception(
            "padding becomes zero",
            lambda x, m: torch.where(m[:, :, None], x[m].mean(dim=0), 0.0),
            "Your padding is 0. It must be left as it was.",
            "torch.where(mask, mean, x)",
            "20.3",
        ),
        Misconception(
            "one number for all features",
            lambda x, m: torch.where(m[:, :, None], x[m].mean(), x),
            "You averaged over the features, too. Each of the D features has its own mean.",
            "x[attention_mask] is (number of real tokens, D). Over which dimension is the mean?",
            "20.3",
        ),
        Misconception(
            "a mean for each position",
            lambda x, m: torch.where(
                m[:, :, None],
                torch.where(m[:, :, None], x, 0.0).sum(0) / m.sum(0)[:, None].clamp(min=1),
                x,
            ),
            "You averaged over the texts at each position by itself. What differs between positions is then still "
            "there.",
            "One vector (D,) for all texts and all positions.",
            "20.3",
        ),
        Misconception(
            "the sum",
            lambda x, m: torch.where(m[:, :, None], x[m].sum(dim=0), x),
            "You did not divide by the number of real tokens.",
            "mean, not sum.",
            "20.3",
        ),
        Misconception(
            "the mean is subtracted",
            lambda x, m: torch.where(m[:, :, None], x - x[m].mean(dim=0), x),
            "You subtracted the mean. What is left is all that varies: the opposite of what an ablation keeps.",
            "The mean *replaces* the activation.",
            "20.3",
        ),
        Misconception(
            "multiplied by the mask",
            lambda x, m: torch.where(m[:, :, None], (x * m[:, :, None]).sum(dim=(0, 1)) / m.sum(), x),
            "You multiplied the activations by the mask to leave out the padding. But 0 times infinity is not a "
            "number.",
            "Select, or use torch.where; do not multiply.",
            "20.3",
        ),
    ],
    accepted={"loops": ablated_by_loops, "a sum without padding": ablated_by_sum},
    hints=[
        "Which activations are averaged? x[attention_mask] selects them.",
        "x[attention_mask].mean(dim=0) is the vector (D,). Where must it go?",
        "torch.where(attention_mask[:, :, None], mean, x)",
    ],
)


# 3. patching_effect


def effect(clean: Tensor, corrupted: Tensor, patched: Tensor, right: int, wrong: int) -> Tensor:
    def difference(logits: Tensor) -> Tensor:
        return logits[..., right] - logits[..., wrong]

    return (difference(patched) - difference(corrupted)) / (difference(clean) - difference(corrupted))


def effect_by_loops(clean: Tensor, corrupted: Tensor, patched: Tensor, right: int, wrong: int) -> Tensor:
    best = float(clean[right]) - float(clean[wrong])
    worst = float(corrupted[right]) - float(corrupted[wrong])
    rows = patched.reshape(-1, patched.size(-1)).tolist()
    effects = [(row[right] - row[wrong] - worst) / (best - worst) for row in rows]
    return torch.tensor(effects, dtype=patched.dtype).reshape(patched.shape[:-1])


def effect_by_dot_product(clean: Tensor, corrupted: Tensor, patched: Tensor, right: int, wrong: int) -> Tensor:
    reader = torch.zeros_like(clean)
    reader[right], reader[wrong] = 1.0, -1.0
    return (patched - corrupted) @ reader / ((clean - corrupted) @ reader)


def probabilities(x: Tensor) -> Tensor:
    return x.softmax(dim=-1)


def more_patches(seed: int) -> list[Case]:
    s = seed % 1000
    cases = []
    for V in Random(seed).sample(range(4, 30), 3):
        clean, corrupted = random(V, seed=s + V), random(V, seed=s - V)
        clean[1] += 6.0  # so that the differences of the two texts are never close
        corrupted[2] += 6.0
        cases.append(
            Case(f"{V} tokens", clean=clean, corrupted=corrupted, patched=random(5, V, seed=s), right=1, wrong=2)
        )
    return cases


patching_effect = Exercise(
    name="patching_effect",
    asks="Compute the fraction of the logit difference that each patch restores.",
    reference=effect,
    section="20.5",
    cases=[
        Case("halfway", clean=tensor([3, 1]), corrupted=tensor([1, 3]), patched=tensor([2, 2]), right=0, wrong=1),
        Case(
            "nothing, all, a quarter",
            clean=tensor([4, 0]),
            corrupted=tensor([0, 4]),
            patched=tensor([[0, 4], [4, 0], [1, 3]]),
            right=0,
            wrong=1,
        ),
        Case(
            "corrupted and clean are not symmetric",
            clean=tensor([5, 1]),
            corrupted=tensor([3, 1]),
            patched=tensor([[4, 1], [3, 1]]),
            right=0,
            wrong=1,
        ),
        Case(
            "three tokens",
            clean=tensor([7, 1, 5]),
            corrupted=tensor([7, 4, 2]),
            patched=tensor([[9, 2, 4], [0, 0, 0]]),
            right=2,
            wrong=1,
        ),
        Case(
            "below 0 and above 1",
            clean=tensor([1, 0]),
            corrupted=tensor([0, 1]),
            patched=tensor([[3, 0], [0, 5]]),
            right=0,
            wrong=1,
        ),
        Case(
            "two layers of three positions",
            clean=tensor([2, 0, 1, 0]),
            corrupted=tensor([0, 3, 0, 1]),
            patched=random(2, 3, 4, seed=1),
            right=0,
            wrong=1,
        ),
        Case(
            "the clean difference is the smaller one",
            clean=tensor([1, 0]),
            corrupted=tensor([3, 0]),
            patched=tensor([[2, 0], [0, 0]]),
            right=0,
            wrong=1,
        ),
        Case(
            "the right answer is unlikely even in the clean run",
            clean=tensor([0, 2, 6]),
            corrupted=tensor([0, 5, 6]),
            patched=tensor([[0, 3, 6], [2, 4, 9]]),
            right=0,
            wrong=1,
        ),
        Case("no patches", clean=tensor([1, 0]), corrupted=tensor([0, 1]), patched=torch.zeros(0, 2), right=0, wrong=1),
        Case(
            "large logits",
            clean=tensor([500, 100]),
            corrupted=tensor([100, 500]),
            patched=tensor([[300, 250]]),
            right=0,
            wrong=1,
        ),
        Case(
            "float64",
            clean=tensor([1, 2]).double(),
            corrupted=tensor([3, 1]).double(),
            patched=tensor([[2, 2]]).double(),
            right=1,
            wrong=0,
        ),
    ],
    random_cases=more_patches,
    misconceptions=[
        Misconception(
            "clean and corrupted swapped",
            lambda c, k, p, r, w: effect(k, c, p, r, w),
            "You measured how much is *lost*: yours is 1 for a patch without effect.",
            "0 is the corrupted text, 1 the clean one.",
            "20.5",
        ),
        Misconception(
            "right and wrong swapped in the patched run",
            lambda c, k, p, r, w: (p[..., w] - p[..., r] - (k[r] - k[w])) / ((c[r] - c[w]) - (k[r] - k[w])),
            "The difference of the patched run has the other sign than the other two.",
            "Write one function for the difference, and use it three times.",
            "20.5",
        ),
        Misconception(
            "divided by the clean difference",
            lambda c, k, p, r, w: (p[..., r] - p[..., w] - (k[r] - k[w])) / (c[r] - c[w]),
            "You divided by the difference in the clean run. A patch that restores everything then does not get 1, "
            "unless the corrupted difference is 0.",
            "What is the largest change a patch should make?",
            "20.5",
        ),
        Misconception(
            "a ratio to the clean run",
            lambda c, k, p, r, w: (p[..., r] - p[..., w]) / (c[r] - c[w]),
            "You compared with the clean run alone. A patch that changes nothing then does not get 0.",
            "How far is the patched run from the *corrupted* one?",
            "20.5",
        ),
        Misconception(
            "not normalized",
            lambda c, k, p, r, w: p[..., r] - p[..., w] - (k[r] - k[w]),
            "You returned the change in logits. It cannot be compared between texts.",
            "Divide by the whole difference between the two runs.",
            "20.5",
        ),
        Misconception(
            "only the right logit",
            lambda c, k, p, r, w: (p[..., r] - k[r]) / (c[r] - k[r]),
            "You looked at one logit. A logit by itself means nothing: all of them may rise together.",
            "The difference of two logits is what decides.",
            "20.5",
        ),
        Misconception(
            "probabilities instead of logits",
            lambda c, k, p, r, w: effect(probabilities(c), probabilities(k), probabilities(p), r, w),
            "You took the softmax first. Near 0 and 1, probabilities hardly move while much is happening below.",
            "The logits as they are.",
            "20.5",
            variants=(
                lambda c, k, p, r, w: (
                    (probabilities(p)[..., r] - probabilities(k)[r]) / (probabilities(c)[r] - probabilities(k)[r])
                ),
            ),
        ),
        Misconception(
            "clipped to 0 and 1",
            lambda c, k, p, r, w: effect(c, k, p, r, w).clamp(0, 1),
            "You cut off what is below 0 and above 1. A patch may well make things worse, and that is worth seeing.",
            "Leave the number as it is.",
            "20.5",
        ),
        Misconception(
            "the mean over the patches",
            lambda c, k, p, r, w: effect(c, k, p, r, w).mean(),
            "You returned one number for all patches.",
            "One number for each patch, in the same order.",
            "20.5",
        ),
        Misconception(
            "the size of the effect, without its sign",
            lambda c, k, p, r, w: effect(c, k, p, r, w).abs(),
            "You took the absolute value, so a patch that makes things worse looks helpful.",
            "The sign matters.",
            "20.5",
        ),
    ],
    accepted={"loops": effect_by_loops, "a dot product": effect_by_dot_product},
    hints=[
        "Work out the example: the three differences are 2, -2 and 0. Where is 0, on the way from -2 to 2?",
        "(patched - corrupted) / (clean - corrupted), each of them a difference of two logits.",
        "logits[..., right] - logits[..., wrong] works for all three.",
    ],
)


# 4. logit_shares


def shares(parts: Tensor, weight: Tensor, bias: Tensor, reader: Tensor, eps: float) -> Tensor:
    stream = parts.sum(dim=0)
    scale = (stream.var(correction=0) + eps).rsqrt()
    centered = parts - parts.mean(dim=1, keepdim=True)
    return torch.cat([(centered * scale * weight) @ reader, (bias @ reader)[None]])


def shares_by_loops(parts: Tensor, weight: Tensor, bias: Tensor, reader: Tensor, eps: float) -> Tensor:
    C = parts.size(1)
    stream = parts.double().sum(dim=0).tolist()
    mean = sum(stream) / C
    scale = (sum((number - mean) ** 2 for number in stream) / C + eps) ** -0.5
    gains = (weight.double() * reader.double()).tolist()
    result = []
    for part in parts.double().tolist():
        own_mean = sum(part) / C
        result.append(sum((number - own_mean) * scale * gain for number, gain in zip(part, gains, strict=True)))
    result.append(float(bias.double() @ reader.double()))
    return torch.tensor(result, dtype=parts.dtype)


def shares_by_matrix(parts: Tensor, weight: Tensor, bias: Tensor, reader: Tensor, eps: float) -> Tensor:
    C = parts.size(1)
    center = torch.eye(C, dtype=parts.dtype) - 1 / C  # x @ center is x without its mean
    centered = parts @ center
    scale = (centered.sum(dim=0).square().mean() + eps).sqrt()
    return torch.cat([centered @ (weight * reader) / scale, (bias @ reader).reshape(1)])


def decoder(N: int, C: int, seed: int = 0, eps: float = 1e-5) -> dict:
    """Random parts of a stream, with what reads it."""
    return {
        "parts": random(N, C, seed=seed) + 0.5,
        "norm_weight": 1 + 0.5 * random(C, seed=seed + 1),
        "norm_bias": random(C, seed=seed + 2),
        "reader": random(C, seed=seed + 3),
        "eps": eps,
    }


def more_streams(seed: int) -> list[Case]:
    draw = Random(seed)
    return [
        Case(f"{N} parts", **decoder(N, draw.randint(3, 12), seed=seed % 1000 + 10 * N))
        for N in draw.sample(range(2, 12), 3)
    ]


def with_norms_of_their_own(parts: Tensor, weight: Tensor, bias: Tensor, reader: Tensor, eps: float) -> Tensor:
    normalized = torch.nn.functional.layer_norm(parts, parts.shape[1:], weight, None, eps)
    return torch.cat([normalized @ reader, (bias @ reader)[None]])


def left_out(parts: Tensor, weight: Tensor, bias: Tensor, reader: Tensor, eps: float) -> Tensor:
    def logit(stream: Tensor) -> Tensor:
        return torch.nn.functional.layer_norm(stream, stream.shape, weight, bias, eps) @ reader

    whole = parts.sum(dim=0)
    return torch.stack([*(logit(whole) - logit(whole - part) for part in parts), bias @ reader])


logit_shares = Exercise(
    name="logit_shares",
    asks="Divide a logit into the shares of the parts of the residual stream, with the final norm frozen.",
    reference=shares,
    section="20.6",
    cases=[
        Case(
            "two parts, two features",
            parts=tensor([[3, 0], [0, 1]]),
            norm_weight=tensor([1, 1]),
            norm_bias=tensor([0, 0]),
            reader=tensor([1, 0]),
            eps=1e-9,
        ),
        Case(
            "a norm with a weight",
            parts=tensor([[3, 0], [0, 1]]),
            norm_weight=tensor([2, 1]),
            norm_bias=tensor([0, 0]),
            reader=tensor([1, 1]),
            eps=1e-9,
        ),
        Case(
            "a norm with a bias",
            parts=tensor([[3, 0], [0, 1]]),
            norm_weight=tensor([1, 1]),
            norm_bias=tensor([4, 0]),
            reader=tensor([1, 0]),
            eps=1e-9,
        ),
        Case(
            "a part with equal numbers",
            parts=tensor([[5, 5, 5], [2, 0, 1], [0, 0, 0]]),
            norm_weight=tensor([1, 1, 1]),
            norm_bias=tensor([0, 0, 0]),
            reader=tensor([1, 2, 0]),
            eps=1e-9,
        ),
        Case("a large eps", **decoder(3, 4, seed=1, eps=1.0)),
        Case("random parts", **decoder(5, 8, seed=2)),
        Case("one part", **decoder(1, 6, seed=3)),
        Case(
            "two parts that nearly cancel",
            **decoder(4, 5, seed=4) | {"parts": tensor([[9, 0, 0, 0, 1], [-9, 0, 1, 0, 0]])},
        ),
        Case(
            "float64",
            **{name: x.double() if torch.is_tensor(x) else x for name, x in decoder(3, 5, seed=5).items()},
        ),
        Case("a transposed tensor", **decoder(5, 5, seed=6) | {"parts": random(5, 5, seed=7).T}),
    ],
    random_cases=more_streams,
    misconceptions=[
        Misconception(
            "each part has its own norm",
            with_norms_of_their_own,
            "You normalized every part by itself, so that a part of tiny numbers looks as important as a large one, "
            "and the shares do not add up to the logit.",
            "There is one square root, that of the whole stream.",
            "20.6",
        ),
        Misconception(
            "what is lost without the part",
            left_out,
            "You computed the logit without each part. That is an ablation: the norm changes with what is left, so the "
            "numbers do not add up to the logit.",
            "Freeze the norm: use the square root of the whole stream for every part.",
            "20.6",
        ),
        Misconception(
            "no norm at all",
            lambda parts, w, b, r, eps: torch.cat([parts @ r, (b @ r)[None]]),
            "You read the parts as they are. The model reads them after the norm.",
            "Center each part, divide by the square root of the stream's variance, multiply by norm_weight.",
            "20.6",
        ),
        Misconception(
            "not centered",
            lambda parts, w, b, r, eps: torch.cat(
                [parts * (parts.sum(0).var(correction=0) + eps).rsqrt() @ (w * r), (b @ r)[None]]
            ),
            "You did not subtract the mean. The mean of a sum is the sum of the means, so each part brings its own.",
            "What is the share of a part whose C numbers are all equal?",
            "20.6",
        ),
        Misconception(
            "the stream's mean subtracted from each part",
            lambda parts, w, b, r, eps: torch.cat(
                [
                    (parts - parts.sum(0).mean()) * (parts.sum(0).var(correction=0) + eps).rsqrt() @ (w * r),
                    (b @ r)[None],
                ]
            ),
            "You subtracted the mean of the whole stream from every part, so it is subtracted N times.",
            "The mean of a sum is the sum of the means.",
            "20.6",
        ),
        Misconception(
            "norm_weight forgotten",
            lambda parts, w, b, r, eps: shares(parts, torch.ones_like(w), b, r, eps),
            "You left out norm_weight, with which the norm multiplies each of the C numbers.",
            "y = normalized * norm_weight + norm_bias",
            "20.6",
        ),
        Misconception(
            "the bias forgotten",
            lambda parts, w, b, r, eps: shares(parts, w, torch.zeros_like(b), r, eps),
            "Your last number is 0, so the shares do not add up to the logit.",
            "norm_bias · reader belongs to no part.",
            "20.6",
            variants=(lambda parts, w, b, r, eps: shares(parts, w, b, r, eps)[:-1],),
        ),
        Misconception(
            "the bias in every part",
            lambda parts, w, b, r, eps: torch.cat([shares(parts, w, b, r, eps)[:-1] + b @ r, (b @ r)[None]]),
            "You added norm_bias to the share of every part, so it is counted N + 1 times.",
            "It is there once, at the end.",
            "20.6",
        ),
        Misconception(
            "the variance divided by C - 1",
            lambda parts, w, b, r, eps: torch.cat(
                [
                    (parts - parts.mean(1, keepdim=True)) * (parts.sum(0).var() + eps).rsqrt() @ (w * r),
                    (b @ r)[None],
                ]
            ),
            "torch's var divides by C - 1 unless you tell it otherwise; a LayerNorm divides by C.",
            "correction=0",
            "20.6",
        ),
        Misconception(
            "eps forgotten",
            lambda parts, w, b, r, eps: shares(parts, w, b, r, 0.0),
            "You left out eps, so your square root is not that of the model.",
            "√(variance + eps)",
            "20.6",
        ),
        Misconception(
            "eps outside the root",
            lambda parts, w, b, r, eps: torch.cat(
                [
                    (parts - parts.mean(1, keepdim=True)) / (parts.sum(0).std(correction=0) + eps) @ (w * r),
                    (b @ r)[None],
                ]
            ),
            "You added eps to the standard deviation. It belongs under the root.",
            "√(variance + eps)",
            "20.6",
        ),
    ],
    accepted={"loops, float64": shares_by_loops, "a matrix that centers": shares_by_matrix},
    hints=[
        "With a constant square root, everything from the stream to the logit is linear, up to norm_bias. Apply it to "
        "each part.",
        "Centering is linear, too: the mean of a sum is the sum of the means. So each part loses its own mean.",
        "scale = 1 / sqrt(variance of parts.sum(0), divided by C, + eps); (parts - their own means) * scale @ "
        "(norm_weight * reader); and norm_bias @ reader at the end.",
    ],
)


# 5. ridge_probe


def ridge(x: Tensor, labels: Tensor, n_labels: int, l2: float) -> tuple[Tensor, Tensor]:
    """The solution in float64, returned in the dtype of x."""
    wide = x.double()
    y = torch.eye(n_labels, dtype=torch.float64)[labels]  # (N, K)
    centered, mean, target = wide - wide.mean(0), wide.mean(0), y.mean(0)
    gram = centered.T @ centered + l2 * torch.eye(x.size(1), dtype=torch.float64)
    weight = torch.linalg.solve(gram, centered.T @ (y - target)).T  # (K, D)
    return weight.to(x.dtype), (target - weight @ mean).to(x.dtype)


def ridge_with_a_column_of_ones(x: Tensor, labels: Tensor, n_labels: int, l2: float) -> tuple[Tensor, Tensor]:
    N, D = x.shape
    wide = torch.cat([x.double(), torch.ones(N, 1, dtype=torch.float64)], dim=1)
    penalty = torch.diag(torch.tensor([l2] * D + [0.0], dtype=torch.float64))
    y = torch.nn.functional.one_hot(labels, n_labels).double()
    solution = torch.linalg.solve(wide.T @ wide + penalty, wide.T @ y)  # (D + 1, K)
    return solution[:-1].T.to(x.dtype), solution[-1].to(x.dtype)


def ridge_by_least_squares(x: Tensor, labels: Tensor, n_labels: int, l2: float) -> tuple[Tensor, Tensor]:
    wide = x.double()
    y = torch.nn.functional.one_hot(labels, n_labels).double()
    D = x.size(1)
    rows = torch.cat(
        [wide - wide.mean(0), l2**0.5 * torch.eye(D, dtype=torch.float64)]
    )  # the penalty as D more examples
    wanted = torch.cat([y - y.mean(0), torch.zeros(D, n_labels, dtype=torch.float64)])
    weight = torch.linalg.lstsq(rows, wanted).solution.T
    return weight.to(x.dtype), (y.mean(0) - weight @ wide.mean(0)).to(x.dtype)


def no_bias(x: Tensor, labels: Tensor, n_labels: int, l2: float) -> tuple[Tensor, Tensor]:
    y = torch.eye(n_labels, dtype=x.dtype)[labels]
    weight = torch.linalg.solve(x.T @ x + l2 * torch.eye(x.size(1), dtype=x.dtype), x.T @ y).T
    return weight, torch.zeros(n_labels, dtype=x.dtype)


def penalized_bias(x: Tensor, labels: Tensor, n_labels: int, l2: float) -> tuple[Tensor, Tensor]:
    weight, _ = no_bias(torch.cat([x, torch.ones_like(x[:, :1])], dim=1), labels, n_labels, l2)
    return weight[:, :-1], weight[:, -1]


def plus_minus(x: Tensor, labels: Tensor, n_labels: int, l2: float) -> tuple[Tensor, Tensor]:
    weight, bias = ridge(x, labels, n_labels, l2)
    return 2 * weight, 2 * bias - 1


def examples(N: int, D: int, K: int, seed: int = 0, l2: float = 1.0) -> dict:
    """Random examples of K labels, around K centers that are not at the origin."""
    labels = torch.randint(K, (N,), generator=torch.Generator().manual_seed(seed))
    centers = 2 * random(K, D, seed=seed + 1) + 1
    return {"activations": centers[labels] + random(N, D, seed=seed + 2), "labels": labels, "n_labels": K, "l2": l2}


def more_examples(seed: int) -> list[Case]:
    draw = Random(seed)
    return [
        Case(f"{N} examples", **examples(N, draw.randint(2, 6), draw.randint(2, 4), seed % 1000 + N, 0.5))
        for N in draw.sample(range(8, 30), 3)
    ]


ridge_probe = Exercise(
    name="ridge_probe",
    asks="Fit a linear probe by penalized least squares, in closed form.",
    reference=ridge,
    section="20.7",
    cases=[
        Case("two examples", activations=tensor([[-1], [1]]), labels=torch.tensor([0, 1]), n_labels=2, l2=2.0),
        Case(
            "a hardly penalized probe", activations=tensor([[0], [2]]), labels=torch.tensor([0, 1]), n_labels=2, l2=1e-6
        ),
        Case("not around 0", activations=tensor([[4], [6]]), labels=torch.tensor([0, 1]), n_labels=2, l2=2.0),
        Case(
            "unequal numbers of examples",
            activations=tensor([[0], [0], [3]]),
            labels=torch.tensor([1, 1, 0]),
            n_labels=2,
            l2=1.0,
        ),
        Case("three labels", **examples(12, 3, 3, seed=1)),
        Case("a label that does not occur", **examples(8, 2, 2, seed=2) | {"n_labels": 4}),
        Case("fewer examples than features", **examples(3, 5, 2, seed=3)),
        Case("one example", activations=tensor([[1, 2]]), labels=torch.tensor([1]), n_labels=2, l2=0.5),
        Case("a large penalty", **examples(10, 3, 2, seed=4, l2=1000.0)),
        Case(
            "float64", **examples(9, 3, 3, seed=5) | {"activations": examples(9, 3, 3, seed=5)["activations"].double()}
        ),
        Case(
            "a transposed tensor",
            activations=random(4, 9, seed=6).T,
            labels=torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2]),
            n_labels=3,
            l2=1.0,
        ),
    ],
    random_cases=more_examples,
    misconceptions=[
        Misconception(
            "no bias",
            no_bias,
            "Your probe has no bias, so its plane goes through the origin, where activations rarely are.",
            "Subtract the means first, or add a column of ones that is not penalized.",
            "20.7",
        ),
        Misconception(
            "the bias is penalized",
            penalized_bias,
            "You penalized the bias as well. Then the probe changes if a constant is added to all activations.",
            "The penalty is 0 for the column of ones.",
            "20.7",
        ),
        Misconception(
            "not penalized",
            lambda x, y, K, l2: ridge(x, y, K, 1e-7),
            "You left out the penalty. With many features, the probe can then fit anything, noise included.",
            "l2 times the identity belongs to the matrix that is inverted.",
            "20.7",
        ),
        Misconception(
            "the penalty times N",
            lambda x, y, K, l2: ridge(x, y, K, l2 * len(x)),
            "You took the mean of the squares, or l2 · N: then the penalty counts N times as much.",
            "The task says: a sum over the examples.",
            "20.7",
        ),
        Misconception(
            "the penalty squared",
            lambda x, y, K, l2: ridge(x, y, K, l2**2),
            "You squared l2. If you add √l2 · 1 as further examples, they become l2 in the matrix; l2 · 1 becomes l2².",
            "l2 · ‖W‖² has the gradient 2 · l2 · W.",
            "20.7",
        ),
        Misconception(
            "the weight is transposed",
            lambda x, y, K, l2: (ridge(x, y, K, l2)[0].T, ridge(x, y, K, l2)[1]),
            "Your weight is (D, K). It must be (K, D), one direction for each label.",
            "The example: D = 1, K = 2, and the weight is [[-0.25], [0.25]].",
            "20.7",
        ),
        Misconception(
            "the bias is the mean of the targets",
            lambda x, y, K, l2: (
                ridge(x, y, K, l2)[0],
                torch.eye(K, dtype=x.dtype)[y].mean(dim=0),
            ),
            "You forgot that the weight was fitted to centered activations: the bias must make up for their mean.",
            "weight · (x - mean) + target mean: multiply out.",
            "20.7",
        ),
        Misconception(
            "targets of -1 and 1",
            plus_minus,
            "You used -1 and 1 as targets; here they are the 0 and 1 of a one-hot vector.",
            "one_hot",
            "20.7",
        ),
        Misconception(
            "the features are standardized first",
            lambda x, y, K, l2: ridge((x - x.mean(0)) / (x.std(0, correction=0) + 1e-6), y, K, l2),
            "You standardized the features and returned a probe for those. It does not work on activations as they "
            "are.",
            "Only the means are subtracted, and put back into the bias.",
            "20.7",
        ),
        Misconception(
            "half of the labels",
            lambda x, y, K, l2: (ridge(x, y, K, l2)[0][: int(y.max()) + 1], ridge(x, y, K, l2)[1][: int(y.max()) + 1]),
            "You took the number of labels from those that occur. There are n_labels of them.",
            "Which label might be missing among the examples?",
            "20.7",
        ),
    ],
    accepted={
        "a column of ones": ridge_with_a_column_of_ones,
        "the penalty as more examples": ridge_by_least_squares,
    },
    forbidden={},
    hints=[
        "Set the gradient to zero. With activations X and targets Y whose means have been subtracted: "
        "(XᵀX + l2 · 1) Wᵀ = Xᵀ Y.",
        "Solve with torch.linalg.solve. The bias: at the mean of the activations, the probe must give the mean of the "
        "targets.",
        "weight = solve(Xc.T @ Xc + l2 * eye, Xc.T @ Yc).T; bias = Y.mean(0) - weight @ X.mean(0)",
    ],
    rtol=2e-3,
    atol=2e-4,
)


# 6. rank_one_edit


def edited(x: Tensor, direction: Tensor, value: Tensor) -> Tensor:
    missing = value - (x * direction).sum(dim=1)
    return x + (missing / direction.square().sum(dim=1))[:, None] * direction


def edited_by_loops(x: Tensor, direction: Tensor, value: Tensor) -> Tensor:
    rows = []
    for a, d, v in zip(x, direction, value, strict=True):
        rows.append(a + (v - a @ d) / (d @ d) * d)
    return torch.stack(rows) if rows else x.clone()


def edited_by_matrices(x: Tensor, direction: Tensor, value: Tensor) -> Tensor:
    unit = direction / direction.norm(dim=1, keepdim=True)
    outer = unit[:, :, None] * unit[:, None, :]  # (N, C, C), each of rank one
    without = x - (outer @ x[:, :, None])[:, :, 0]
    return without + (value / direction.norm(dim=1))[:, None] * unit


def edits(N: int, C: int, seed: int = 0) -> dict[str, Tensor]:
    """Random activations, directions and values."""
    return {
        "x": random(N, C, seed=seed),
        "direction": random(N, C, seed=seed + 1) + 0.3,
        "value": 3 * random(N, seed=seed + 2),
    }


def more_edits(seed: int) -> list[Case]:
    draw = Random(seed)
    return [
        Case(f"{N} activations", **edits(N, draw.randint(3, 9), seed=seed % 1000 + 10 * N))
        for N in draw.sample(range(2, 12), 3)
    ]


rank_one_edit = Exercise(
    name="rank_one_edit",
    asks="Find the shortest change after which activations have given dot products with given directions.",
    reference=edited,
    section="20.8",
    cases=[
        Case("along an axis", x=tensor([[1, 5]]), direction=tensor([[2, 0]]), value=tensor([6])),
        Case("nothing to do", x=tensor([[1, 1]]), direction=tensor([[1, 2]]), value=tensor([3])),
        Case("to zero", x=tensor([[3, 4]]), direction=tensor([[1, 1]]), value=tensor([0])),
        Case(
            "two activations",
            x=tensor([[1, 0], [0, 2]]),
            direction=tensor([[1, 1], [0, 4]]),
            value=tensor([3, -8]),
        ),
        Case("a long direction", x=tensor([[0, 1]]), direction=tensor([[30, 40]]), value=tensor([10])),
        Case("a short direction", x=tensor([[0, 1]]), direction=tensor([[0.03, 0.04]]), value=tensor([1])),
        Case("random", **edits(4, 6, seed=1)),
        Case("as many activations as features", **edits(3, 3, seed=2)),
        Case("one feature", x=tensor([[2]]), direction=tensor([[4]]), value=tensor([2])),
        Case("no activations", x=torch.zeros(0, 3), direction=torch.zeros(0, 3), value=torch.zeros(0)),
        Case("float64", **{name: x.double() for name, x in edits(2, 5, seed=3).items()}),
        Case("a transposed tensor", **edits(3, 3, seed=4) | {"x": random(3, 3, seed=5).T}),
    ],
    random_cases=more_edits,
    misconceptions=[
        Misconception(
            "the length is not squared",
            lambda x, d, v: x + ((v - (x * d).sum(1)) / d.norm(dim=1))[:, None] * d,
            "You divided by the length of the direction once. It comes in twice: in the dot product, and in the step.",
            "How much does the dot product grow if you add 1 · direction?",
            "20.8",
        ),
        Misconception(
            "not divided at all",
            lambda x, d, v: x + (v - (x * d).sum(1))[:, None] * d,
            "You assumed a direction of length 1.",
            "How much does the dot product grow if you add 1 · direction?",
            "20.8",
        ),
        Misconception(
            "added, whatever is there already",
            lambda x, d, v: x + (v / d.square().sum(1))[:, None] * d,
            "You added the value to the dot product that was there. The result should be the value.",
            "How much is missing?",
            "20.8",
        ),
        Misconception(
            "the activation is replaced",
            lambda x, d, v: (v / d.square().sum(1))[:, None] * d,
            "You put a multiple of the direction in place of the activation. Everything else that it held is lost.",
            "Only the part along the direction should change.",
            "20.8",
        ),
        Misconception(
            "the wrong sign",
            lambda x, d, v: x - ((v - (x * d).sum(1)) / d.square().sum(1))[:, None] * d,
            "You moved away from the value.",
            "What is missing is value - x · direction.",
            "20.8",
        ),
        Misconception(
            "removed, but nothing put in",
            lambda x, d, v: x - ((x * d).sum(1) / d.square().sum(1))[:, None] * d,
            "You only removed the part along the direction. Your dot product is always 0.",
            "Then add the part that gives the value.",
            "20.8",
        ),
        Misconception(
            "rescaled",
            lambda x, d, v: x * (v / (x * d).sum(1))[:, None],
            "You multiplied the whole activation, which changes everything that it holds. The shortest change is along "
            "the direction.",
            "Which part of a change does not change the dot product at all?",
            "20.8",
        ),
        Misconception(
            "one direction for all",
            lambda x, d, v: edited(x, d[:1].expand_as(x) if len(d) else d, v),
            "You used the first direction for every activation.",
            "Row i of the direction belongs to row i of x.",
            "20.8",
        ),
        Misconception(
            "the same amount on every feature",
            lambda x, d, v: x + ((v - (x * d).sum(1)) / d.sum(1))[:, None],
            "You added the same number to all features. The dot product is right, but the change is not the shortest.",
            "In which direction does the dot product grow fastest?",
            "20.8",
        ),
        Misconception(
            "summed over the activations",
            lambda x, d, v: x + ((v - (x * d).sum(0).sum()) / d.square().sum())[:, None] * d,
            "You summed over all activations. Each has its own dot product and its own length.",
            "sum(dim=1)",
            "20.8",
        ),
    ],
    accepted={"loops": edited_by_loops, "projection matrices": edited_by_matrices},
    hints=[
        "A change orthogonal to the direction changes nothing, so the shortest one is a multiple of the direction.",
        "(x + a · d) · d = x · d + a · ‖d‖². Solve for a.",
        "a = (value - (x * d).sum(1)) / d.square().sum(1); x + a[:, None] * d",
    ],
)


# 7. looks_but_does_not_matter


def verdict(student) -> str:
    """Describe in one sentence what the student's head does."""
    scores, values, reader = student()
    if not all(map(torch.is_tensor, (scores, values, reader))) or scores.dim() != 1 or values.dim() != 2:
        return "the three are not tensors (S,), (S, C) and (C,)"
    if len(scores) < 2 or values.size(0) != len(scores) or reader.shape != values.shape[1:]:
        return "the three are not tensors (S,), (S, C) and (C,)"
    numbers = torch.cat([scores.double(), values.double().flatten(), reader.double()])
    if not numbers.isfinite().all():
        return "there is an infinity or a NaN"
    if numbers.abs().max() > 20:
        return "a number is above 20 or below -20"
    weights = scores.double().softmax(0)
    contributions = weights * (values.double() @ reader.double())
    strongest = int(weights.argmax())
    if weights[strongest] < 0.8:
        return "no key has a weight of 0.8"
    if values[strongest].double().norm() < 1 - 1e-6:
        return "the value of the strongest key is too short"
    if contributions[strongest].abs() > 0.01:
        return "the strongest key contributes to the logit"
    return "fine" if contributions.sum() >= 1 else "the logit is below 1"


def head(scores: list, values: list, reader: list):
    """A student's answer."""
    return lambda: (tensor(scores), tensor(values), tensor(reader))


looks_but_does_not_matter = Exercise(
    name="looks_but_does_not_matter",
    asks="Build an attention head whose strongest weight explains nothing.",
    reference=head([3, 0], [[0, 1], [20, 0]], [20, 0]),
    section="20.9",
    cases=[Case("your head", judge=verdict)],
    misconceptions=[
        Misconception(
            "the strongest key matters",
            head([3, 0], [[1, 1], [20, 0]], [10, 0]),
            "The key with the largest weight contributes to the logit.",
            "Its value must be orthogonal to the reader.",
            "20.9",
            variants=(head([3, 0], [[5, 0], [0, 1]], [5, 0]),),
        ),
        Misconception(
            "a short value",
            head([3, 0], [[0, 0], [20, 0]], [20, 0]),
            "The value of the strongest key is (nearly) zero. That is one way to explain nothing, and real heads use "
            "it (Kobayashi et al. 2020), but here its length must be at least 1.",
            "A long vector can have a dot product of zero with the reader.",
            "20.9",
        ),
        Misconception(
            "attention is not concentrated",
            head([1, 0], [[0, 1], [20, 0]], [20, 0]),
            "No key has a weight of 0.8 or more.",
            "With two keys, the scores must differ by at least log 4 = 1.39.",
            "20.9",
        ),
        Misconception(
            "the logit is too small",
            head([3, 0], [[0, 1], [1, 0]], [1, 0]),
            "The logit is below 1. Then there is nothing to explain.",
            "The other key has a small weight. What can its value and the reader make of it?",
            "20.9",
            variants=(head([3, 0], [[0, 1], [-20, 0]], [20, 0]),),
        ),
        Misconception(
            "numbers too large",
            head([3, 0], [[0, 1], [50, 0]], [20, 0]),
            "A number is above 20 or below -20.",
            "Small whole numbers are enough.",
            "20.9",
        ),
        Misconception(
            "not a number",
            head([3, 0], [[0, 1], [float("nan"), 0]], [20, 0]),
            "There is an infinity or a NaN.",
            "Small whole numbers are enough.",
            "20.9",
        ),
        Misconception(
            "wrong shapes",
            head([3, 0], [[0, 1], [20, 0]], [20, 0, 0]),
            "The scores are (S,), the values (S, C), and the reader is (C,).",
            "As many values as scores, and a reader as long as each value.",
            "20.9",
            variants=(head([3], [[0, 1]], [20, 0]),),
        ),
    ],
    accepted={
        "two values that cancel": head([4, 0, 0], [[1, 1], [9, 0], [9, 0]], [10, -10]),
        "three features, the strongest last": head([0, 0, 4], [[2, 3, 1], [4, 0, 4], [0, 2, 0]], [10, 0, 5]),
    },
    hints=[
        "A contribution is a weight times a dot product. Which of the two can you make zero?",
        "Let the strongest key's value be orthogonal to the reader, and another key's value parallel to it.",
        "Two keys, two features: the scores 3 and 0; the first value along the second axis, the reader along the "
        "first.",
    ],
)

EXERCISES = [
    induction_score,
    mean_ablation,
    patching_effect,
    logit_shares,
    ridge_probe,
    rank_one_edit,
    looks_but_does_not_matter,
    WrittenAnswer(
        "WHY_WEIGHTS",
        "Why can a map of attention weights mislead, what does it not show, and which experiment would find the truth?",
        50,
        ["A weight is multiplied by something before it reaches the logit."],
        "20.9",
    ),
    WrittenAnswer(
        "EXPERIMENT",
        "What did you change, what did you predict, what came out, what do you make of it?",
        60,
        ["One change at a time. Where there is a formula, compute its prediction first."],
        "20.9",
    ),
]
