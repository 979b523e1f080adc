"""The checks of lesson 01, and the common mistakes."""

import math
from collections import Counter
from random import Random

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer

DERIVED_FOR_YOU = "it differentiates for you; derive the gradient on paper and write it down"
AUTOGRAD = {
    name: DERIVED_FOR_YOU
    for name in (
        "torch.autograd.backward", "torch.autograd.grad", "torch.autograd.functional.jacobian", "torch.func.grad",
        "torch.func.grad_and_value", "torch.func.vjp", "torch.func.jacrev", "torch.func.jacfwd", "torch.func.jvp",
        "torch.func.linearize", "torch.func.hessian", "torch.autograd.functional.vjp", "torch.autograd.functional.jvp",
        "torch.autograd.functional.hessian", "torch.autograd.forward_ad.make_dual",
        "torch.autograd.graph._engine_run_backward", "torch.autograd.variable.ImperativeEngine",
        "torch.autograd.variable.Variable._execution_engine",
        "torch._C._functorch._grad_increment_nesting", "torch._C._functorch._jvp_increment_nesting", "torch.autograd",
        "torch.func",
    )
}  # fmt: skip


def random(*shape: int, seed: int = 0) -> Tensor:
    """Reproducible normal random numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def ids(*shape: int, V: int, seed: int = 0) -> Tensor:
    """Reproducible random token ids."""
    return torch.randint(V, shape, generator=torch.Generator().manual_seed(seed))


# 1. bigram_table


def counted(before: Tensor, after: Tensor, V: int) -> Tensor:
    """How often each pair occurs: (V, V)."""
    return torch.bincount(before * V + after, minlength=V * V).view(V, V).double()


def rows_to_one(N: Tensor) -> Tensor:
    return N / N.sum(dim=1, keepdim=True)


def table(ids: Tensor, V: int, k: float) -> Tensor:
    """The reference: count every pair, add k, divide each row by its sum."""
    return rows_to_one(counted(ids[:-1], ids[1:], V) + k).float()


def repeated_pairs_once(ids: Tensor, V: int, k: float) -> Tensor:
    N = torch.full((V, V), float(k))
    N[ids[:-1], ids[1:]] += 1  # of equal pairs only one is written
    return rows_to_one(N)


def last_token_is_a_context(ids: Tensor, V: int, k: float) -> Tensor:
    N, seen = counted(ids[:-1], ids[1:], V), torch.bincount(ids, minlength=V)
    return (N + k) / (seen[:, None] + k * V)


def table_by_loops(ids: Tensor, V: int, k: float) -> Tensor:
    N = [[float(k)] * V for _ in range(V)]
    text = ids.tolist()
    for a, b in zip(text, text[1:], strict=False):
        N[a][b] += 1
    return torch.tensor([[n / sum(row) for n in row] for row in N])


def table_by_one_hot(ids: Tensor, V: int, k: float) -> Tensor:
    one_hot = F.one_hot(ids, V).double()  # (N, V)
    N = torch.einsum("na,nb->ab", one_hot[:-1], one_hot[1:]) + k
    return N / torch.einsum("ab->a", N)[:, None]


def table_by_dictionary(ids: Tensor, V: int, k: float) -> Tensor:
    pairs = Counter(zip(ids[:-1].tolist(), ids[1:].tolist(), strict=True))
    rows = Counter(ids[:-1].tolist())
    return torch.tensor([[(pairs[a, b] + k) / (rows[a] + k * V) for b in range(V)] for a in range(V)])


def table_by_numpy(ids: Tensor, V: int, k: float) -> Tensor:
    N = np.full((V, V), k, dtype=np.float64)
    np.add.at(N, (ids.numpy()[:-1], ids.numpy()[1:]), 1)
    return torch.from_numpy(N / N.sum(axis=1, keepdims=True))


def table_by_put(ids: Tensor, V: int, k: float) -> Tensor:
    N = torch.full((V, V), float(k), device=ids.device)
    N.index_put_((ids[:-1], ids[1:]), torch.ones(len(ids) - 1, device=ids.device), accumulate=True)
    return N.div(N.sum(-1, keepdim=True))


def more_texts(seed: int) -> list[Case]:
    """Three texts with vocabularies of other sizes."""
    draw, cases = Random(seed), []
    for V in draw.sample(range(4, 13), 3):
        N, k = draw.randint(2, 60), draw.choice([0.02, 0.3, 1.5, 7])
        text = ids(N, V=V, seed=draw.randrange(10**6))
        cases.append(Case(f"{N} tokens, vocabulary of {V}", ids=text, V=V, k=k))
    return cases


bigram_table = Exercise(
    name="bigram_table",
    asks="Count neighboring pairs, add k to every count, and turn each row into a probability distribution.",
    reference=table,
    section="1.5",
    cases=[
        Case("five tokens, vocabulary of two", ids=torch.tensor([0, 0, 1, 0, 1]), V=2, k=1),
        Case("vocabulary of three, one pair three times", ids=torch.tensor([0, 1, 2, 0, 1, 0, 1, 1]), V=3, k=1),
        Case("a token that never occurs", ids=torch.tensor([2, 0, 2, 2, 0, 0]), V=4, k=1),
        Case("one pair", ids=torch.tensor([1, 0]), V=2, k=2),
        Case("a small k", ids=torch.tensor([0, 1, 0, 2, 0, 1]), V=3, k=0.5),
        Case("a vocabulary of one", ids=torch.tensor([0, 0, 0]), V=1, k=1),
        Case("every second token of a tensor", ids=torch.tensor([0, 2, 1, 2, 0, 2, 1, 2])[::2], V=3, k=1),
        Case("a very small k", ids=torch.tensor([0, 1, 1, 0, 1]), V=2, k=0.001),
        Case("200 random tokens", ids=ids(200, V=5, seed=1), V=5, k=0.1),
        Case("one pair 300 times", ids=torch.tensor([0] * 301 + [1, 0]), V=2, k=1),
        Case("one pair 33,000 times", ids=torch.tensor([0] * 33_001 + [1, 0]), V=2, k=1),
        Case("a vocabulary of 300", ids=torch.tensor([299, 256, 299, 256, 0]), V=300, k=1),
    ],
    random_cases=more_texts,
    misconceptions=[
        Misconception(
            "columns normalized instead of rows",
            lambda ids, V, k: (N := counted(ids[:-1], ids[1:], V) + k) / N.sum(dim=0, keepdim=True),
            "You divided each count by the sum of its column. The columns then sum to 1: this is the distribution of "
            "what comes *before* b, not of what comes after a.",
            "Which index do you sum over to cover everything that may come next?",
            "1.3",
        ),
        Misconception(
            "row sums broadcast along the wrong axis",
            lambda ids, V, k: (N := counted(ids[:-1], ids[1:], V) + k) / N.sum(dim=1),
            "You summed the rows, but the sums have shape (V,), and broadcasting aligns them with the *columns*: the "
            "count in row a and column b is divided by the sum of row b.",
            "What shape must the V sums have so that sum a divides all of row a? Look for keepdim in the section.",
            "1.3",
        ),
        Misconception(
            "joint probability instead of conditional",
            lambda ids, V, k: (N := counted(ids[:-1], ids[1:], V) + k) / N.sum(),
            "You divided by the number of all pairs: that is the joint probability of the pair (a, b). The exercise "
            "asks for the probability of b *given* a.",
            "Each row is a distribution of its own.",
            "1.3",
        ),
        Misconception(
            "rows and columns swapped",
            lambda ids, V, k: rows_to_one(counted(ids[1:], ids[:-1], V) + k),
            "Your row is the second token. The row must be the known token, and the column the one to predict.",
            "result[a, b]: a comes first.",
            "1.3",
        ),
        Misconception(
            "repeated pairs counted once",
            repeated_pairs_once,
            "Each pair is counted once, however often it occurs. N[a, b] += 1 with many indices at once reads, adds "
            "and writes; for two equal pairs, the second write overwrites the first.",
            "A loop, torch.bincount, or index_put_ with accumulate=True counts repetitions.",
            "1.3",
        ),
        Misconception(
            "counts overflow a small dtype",
            lambda ids, V, k: rows_to_one(counted(ids[:-1], ids[1:], V).to(torch.uint8).double() + k),
            "Your counts are kept in a type that is too small: uint8 starts over at 0 after 255, int8 and int16 turn "
            "negative after 127 and 32,767, and float16 stops at 2,048, where adding 1 changes nothing.",
            "How large can a count get? Which dtype do your counts have?",
            "1.3",
            variants=(
                lambda ids, V, k: rows_to_one(counted(ids[:-1], ids[1:], V).to(torch.int8).double() + k),
                lambda ids, V, k: rows_to_one(counted(ids[:-1], ids[1:], V).to(torch.int16).double() + k),
                lambda ids, V, k: rows_to_one(counted(ids[:-1], ids[1:], V).clamp(max=2048) + k),
                lambda ids, V, k: rows_to_one(counted(ids[:-1], ids[1:], V).clamp(max=256) + k),
            ),
        ),
        Misconception(
            "counts not normalized",
            lambda ids, V, k: counted(ids[:-1], ids[1:], V) + k,
            "You returned the counts. Probabilities are counts divided by the sum of their row.",
            "What does every row sum to?",
            "1.3",
        ),
        Misconception(
            "logarithms returned",
            lambda ids, V, k: rows_to_one(counted(ids[:-1], ids[1:], V) + k).log(),
            "You returned log-probabilities. The exercise asks for the probabilities themselves.",
            "What does every row sum to?",
            "1.3",
        ),
        Misconception(
            "rounded down to whole numbers",
            lambda ids, V, k: (N := counted(ids[:-1], ids[1:], V) + k) // N.sum(dim=1, keepdim=True),
            "You divided with // or stored the result as whole numbers: a probability below 1 becomes 0.",
            "Which operator divides without rounding? Which dtype has your result?",
            "1.3",
        ),
        Misconception(
            "context ignored",
            lambda ids, V, k: rows_to_one((counted(ids[:-1], ids[1:], V).sum(0) + k).expand(V, V)),
            "Every row is the same: you counted how often each token occurs, whatever came before it.",
            "result[a, b] is about the places where b follows a.",
            "1.3",
            variants=(lambda ids, V, k: rows_to_one((torch.bincount(ids, minlength=V).double() + k).expand(V, V)),),
        ),
        Misconception(
            "pairs counted in both directions",
            lambda ids, V, k: rows_to_one((N := counted(ids[:-1], ids[1:], V)) + N.T + k),
            "You counted each pair in both directions. Then it no longer matters which token came first.",
            "In the text 0, 1, does 0 follow 1 anywhere?",
            "1.3",
        ),
        Misconception(
            "pairs of tokens two apart",
            lambda ids, V, k: rows_to_one(counted(ids[:-2], ids[2:], V) + k),
            "You paired each token with the one after the next.",
            "5, 7, 9 has the pairs (5, 7) and (7, 9).",
            "1.3",
        ),
        Misconception(
            "V added to the denominator instead of k times V",
            lambda ids, V, k: (N := counted(ids[:-1], ids[1:], V) + k) / ((N - k).sum(dim=1, keepdim=True) + V),
            "You added V to the sums. That is right only for k = 1: each of the V counts of a row grows by k.",
            "If every one of V counts grows by k, by how much does the sum of the row grow?",
            "1.5",
        ),
        Misconception(
            "roll wraps around: last token paired with the first",
            lambda ids, V, k: rows_to_one(counted(ids, ids.roll(-1), V) + k),
            "You counted one pair too many: the last token followed by the first. N tokens have N - 1 pairs.",
            "What does roll put at the end?",
            "1.3",
        ),
        Misconception(
            "last pair missing",
            lambda ids, V, k: rows_to_one(counted(ids[:-2], ids[1:-1], V) + k),
            "You counted one pair too few: the last one is missing.",
            "N tokens have N - 1 pairs; range(n) ends before n, and a slice ends before its end.",
            "1.3",
        ),
        Misconception(
            "only non-overlapping pairs counted",
            lambda ids, V, k: rows_to_one(counted(ids[: len(ids) // 2 * 2][::2], ids[1::2], V) + k),
            "You cut the text into separate pairs, which skips every second one. Every token except the last begins "
            "a pair.",
            "5, 7, 9 has the pairs (5, 7) and (7, 9).",
            "1.3",
        ),
        Misconception(
            "no smoothing",
            lambda ids, V, k: rows_to_one(counted(ids[:-1], ids[1:], V)),
            "Your table has no smoothing: k makes no difference, and an empty row is 0 / 0.",
            "Add k before you divide.",
            "1.5",
            variants=(lambda ids, V, k: (N := counted(ids[:-1], ids[1:], V)) / N.sum(1, keepdim=True).clamp(min=1),),
        ),
        Misconception(
            "k missing in the denominator",
            lambda ids, V, k: (N := counted(ids[:-1], ids[1:], V) + k) / (N - k).sum(dim=1, keepdim=True),
            "You added k to the counts, but divided by the sum of the counts without it: the rows sum to more than 1.",
            "If every one of V counts grows by k, by how much does the sum of the row grow?",
            "1.5",
            variants=(
                lambda ids, V, k: (
                    (N := counted(ids[:-1], ids[1:], V) + k) / (N - k).sum(dim=1, keepdim=True).clamp(min=1)
                ),
            ),
        ),
        Misconception(
            "k added only once to the denominator",
            lambda ids, V, k: (N := counted(ids[:-1], ids[1:], V) + k) / ((N - k).sum(dim=1, keepdim=True) + k),
            "You added k to each of the V counts of a row, but only once to their sum: the rows sum to more than 1.",
            "If every one of V counts grows by k, by how much does the sum of the row grow?",
            "1.5",
        ),
        Misconception(
            "1 added instead of k",
            lambda ids, V, k: rows_to_one(counted(ids[:-1], ids[1:], V) + 1),
            "You added 1 to every count. That is right only for k = 1.",
            "Where does your code use k?",
            "1.5",
        ),
        Misconception(
            "k added only to zero counts",
            lambda ids, V, k: rows_to_one(torch.where((N := counted(ids[:-1], ids[1:], V)) == 0, float(k), N)),
            "You gave k to the pairs that never occurred, and nothing to the others. With k = 1, a pair that was never "
            "seen is then as probable as one that was seen once.",
            "Every count gets k: 0 becomes k, and 1 becomes 1 + k.",
            "1.5",
        ),
        Misconception(
            "k added after normalizing",
            lambda ids, V, k: rows_to_one(
                (N := counted(ids[:-1], ids[1:], V)) / N.sum(dim=1, keepdim=True).clamp(min=1) + k
            ),
            "You divided by the sums first and added k to the fractions. A row that was seen a thousand times is then "
            "smoothed as much as one that was seen once.",
            "k is added to the counts: it is how many extra times each pair was seen.",
            "1.5",
            variants=(
                lambda ids, V, k: (N := counted(ids[:-1], ids[1:], V)) / N.sum(dim=1, keepdim=True).clamp(min=1) + k,
                lambda ids, V, k: rows_to_one(counted(ids[:-1], ids[1:], V)) + k,
                lambda ids, V, k: rows_to_one(rows_to_one(counted(ids[:-1], ids[1:], V)) + k),
            ),
        ),
        Misconception(
            "softmax of the counts",
            lambda ids, V, k: (counted(ids[:-1], ids[1:], V) + k).softmax(dim=1),
            "You took the softmax of the counts. The softmax exponentiates the counts first, so a pair seen once more "
            "becomes e times as probable. And k makes no difference.",
            "The probability is the count itself, divided by the sum of its row.",
            "1.3",
        ),
        Misconception(
            "last token counted as a context",
            last_token_is_a_context,
            "You divided by how often a occurs. For the last token of the text, which nothing follows, that is one "
            "too many: its row sums to less than 1.",
            "Divide by the sum of the row; then this cannot happen.",
            "1.3",
        ),
    ],
    accepted={
        "loops over lists": table_by_loops,
        "one-hot vectors, einsum, float64": table_by_one_hot,
        "dictionaries of counts": table_by_dictionary,
        "NumPy": table_by_numpy,
        "index_put_": table_by_put,
    },
    hints=[
        "Start with the counts. Work through the docstring's example with pencil and paper; how many pairs are there?",
        "The first tokens of the pairs are ids[:-1], the second ones ids[1:]. A loop over both at once (zip) and N[a, "
        "b] += 1 for each pair is fine.",
        "Add k to the whole table. Then divide by N.sum(dim=1, keepdim=True), of shape (V, 1).",
    ],
)


# 2. perplexity


def nats_of(P: Tensor, texts: list[list[int]]) -> list[Tensor]:
    """The surprise of each predicted token of each text, in nats."""
    rows = [torch.tensor(text) for text in texts]
    return [-P.double()[row[:-1], row[1:]].log() for row in rows]


def e_to(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf


def perplexity_of(P: Tensor, texts: list[list[int]]) -> float:
    """The reference: e to the mean surprise over all predicted tokens of all texts."""
    return e_to(torch.cat(nats_of(P, texts)).mean().item())


def joined(P: Tensor, texts: list[list[int]]) -> float:
    return perplexity_of(P, [[token for text in texts for token in text]])


def by_product(P: Tensor, texts: list[list[int]]) -> float:
    p = torch.cat([(-nats).exp() for nats in nats_of(P, texts)])
    product = p.float().prod().item()
    return product ** (-1 / len(p)) if product > 0 else math.inf


def zeros_skipped(P: Tensor, texts: list[list[int]]) -> float:
    nats = torch.cat(nats_of(P, texts))
    return e_to(nats[nats.isfinite()].mean().item())


def zeros_clamped(P: Tensor, texts: list[list[int]], least: float = 1e-10) -> float:
    return perplexity_of(P.double().clamp(min=least), texts)


def perplexity_by_loops(P: Tensor, texts: list[list[int]]) -> float:
    log2_sum = n = 0
    for text in texts:
        for a, b in zip(text, text[1:], strict=False):
            p = float(P[a, b])
            if p == 0:
                return math.inf
            log2_sum -= math.log2(p)
            n += 1
    return 2 ** (log2_sum / n)


def perplexity_by_counts(P: Tensor, texts: list[list[int]]) -> Tensor:
    """Count the pairs of the texts first; the surprise of a pair is needed only once."""
    N = torch.zeros_like(P, dtype=torch.float64)
    for text in texts:
        for a, b in zip(text, text[1:], strict=False):
            N[a, b] += 1
    return torch.where(N > 0, -N * P.double().log(), 0.0).sum().div(N.sum()).exp()


def perplexity_by_roots(P: Tensor, texts: list[list[int]]) -> float:
    """The product of all 1 / p, but each root taken before the product."""
    pairs = [pair for text in texts for pair in zip(text, text[1:], strict=False)]
    roots = [float(P[a, b]) ** (1 / len(pairs)) for a, b in pairs]
    return math.inf if min(roots) == 0 else 1 / math.prod(roots)


def perplexity_by_numpy(P: Tensor, texts: list[list[int]]) -> float:
    with np.errstate(divide="ignore"):
        return float(np.exp(-np.concatenate([np.log(P.numpy()[text[:-1], text[1:]]) for text in texts]).mean()))


def with_math_log(P: Tensor, texts: list[list[int]], of_all=None) -> float:
    """Collect all probabilities as Python numbers (with Python's exceptions), then apply `of_all`."""
    p = [float(P[a, b]) for text in texts for a, b in zip(text, text[1:], strict=False)]
    if of_all is not None:
        return of_all(math.prod(p), len(p))
    return math.exp(-sum(math.log(x) for x in p) / len(p))


def of_pairs(P: Tensor, pairs) -> float:
    """e to the mean surprise of these pairs."""
    a, b = zip(*pairs, strict=True)
    return e_to(-P.double()[list(a), list(b)].log().mean().item())


def more_tables(seed: int) -> list[Case]:
    """Two tables and texts of other sizes, and one text with an impossible pair at its end."""
    draw, cases = Random(seed), []
    for V in draw.sample(range(4, 10), 2):
        P = random(V, V, seed=draw.randrange(10**6)).softmax(dim=1)
        lengths = [draw.randint(2, 30) for _ in range(draw.randint(2, 5))]
        texts = [ids(n, V=V, seed=draw.randrange(10**6)).tolist() for n in lengths]
        cases.append(Case(f"{len(texts)} texts, vocabulary of {V}", P=P, texts=texts))
    text = [draw.randint(0, 1) for _ in range(draw.randint(5, 20))]
    return [*cases, Case("the last pair has probability 0", P=THIRDS, texts=[text, [*text, 2, 1]])]


mean_of_texts = lambda P, texts: [nats.mean().item() for nats in nats_of(P, texts)]  # noqa: E731

HALVES = torch.tensor([[1 / 2, 1 / 2], [1 / 8, 7 / 8]])
THIRDS = torch.tensor([[1 / 2, 1 / 4, 1 / 4], [1 / 8, 3 / 4, 1 / 8], [1 / 4, 0, 3 / 4]])
LONG = [int(i % 3 == 1) for i in range(3000)]

perplexity = Exercise(
    name="perplexity",
    asks="Compute e to the power of the mean surprise, over all predicted tokens of all texts.",
    reference=perplexity_of,
    section="1.4",
    atol=1e-3,
    cases=[
        Case("one text, two predictions: 1/2 and 1/8", P=HALVES, texts=[[0, 1, 0]]),
        Case("two texts: three predictions of 1/2, one of 1/8", P=HALVES, texts=[[0, 0, 0, 1], [1, 0]]),
        Case("two texts; their boundary is not a pair", P=THIRDS, texts=[[0, 1, 1, 2, 0, 0], [1, 0]]),
        Case("a pair of probability 0", P=THIRDS, texts=[[0, 0, 2, 1, 0]]),
        Case("one token, nearly certain", P=HALVES, texts=[[1, 1]]),
        Case("a text of 3,000 tokens", P=HALVES, texts=[LONG]),
        Case(
            "three random texts",
            P=random(5, 5, seed=2).softmax(dim=1),
            texts=[ids(n, V=5, seed=n).tolist() for n in (30, 2, 9)],
        ),
        Case("nothing is ever a surprise", P=torch.tensor([[0.0, 1.0], [1.0, 0.0]]), texts=[[0, 1, 0, 1]]),
        Case("a vocabulary of one", P=torch.tensor([[1.0]]), texts=[[0, 0, 0]]),
        Case("a pair of probability 0 at the end of the second text", P=THIRDS, texts=[[0, 1], [1, 1, 2, 1]]),
        Case("a probability that is tiny, but not 0", P=torch.tensor([[1.0, 1e-20], [1.0, 0.0]]), texts=[[0, 0, 1, 0]]),
        Case("a transposed view of a table", P=HALVES.T.contiguous().T, texts=[[0, 1, 1]]),
        Case("one text twice", P=HALVES, texts=[[1, 0], [0, 0], [1, 0]]),
    ],
    random_cases=more_tables,
    misconceptions=[
        Misconception(
            "mean of the tokens' perplexities",
            lambda P, texts: torch.cat(nats_of(P, texts)).exp().mean().item(),
            "You took 1 / p for each token and then the mean. Take the mean of the logarithms first and exponentiate "
            "last; your number is too large because rare surprises dominate it.",
            "Which quantity do you average: 1 / p, or -ln p?",
            "1.4",
        ),
        Misconception(
            "reciprocal of the mean probability",
            lambda P, texts: 1 / torch.cat([(-nats).exp() for nats in nats_of(P, texts)]).mean().item(),
            "You averaged the probabilities and inverted the mean. A token with probability 0 then does no harm, "
            "although the model called it impossible.",
            "Probabilities of independent steps are multiplied. What should you average so that products become sums?",
            "1.4",
        ),
        Misconception(
            "2 to the power of nats",
            lambda P, texts: 2 ** min(torch.cat(nats_of(P, texts)).mean().item(), math.inf),
            "You took natural logarithms and then 2 to the power of their mean. The base must be the same both times.",
            "Either ln and e, or log2 and 2.",
            "1.4",
        ),
        Misconception(
            "e to the power of bits",
            lambda P, texts: e_to(torch.cat(nats_of(P, texts)).mean().item() / math.log(2)),
            "You took logarithms to base 2 and then e to the power of their mean. The base must be the same both "
            "times.",
            "Either ln and e, or log2 and 2.",
            "1.4",
        ),
        Misconception(
            "sum instead of mean",
            lambda P, texts: e_to(torch.cat(nats_of(P, texts)).sum().item()),
            "You took e to the power of the sum of all surprises: that is 1 / the probability of the whole text, "
            "which grows with every token and does not measure the model.",
            "How many predicted tokens should you divide the sum by?",
            "1.4",
        ),
        Misconception(
            "missing minus sign",
            lambda P, texts: math.exp(-torch.cat(nats_of(P, texts)).mean().item()),
            "You took e to the power of the mean of ln p, which is negative: a number below 1. A perplexity is at "
            "least 1.",
            "The surprise of a token is -ln p.",
            "1.4",
        ),
        Misconception(
            "loss instead of perplexity",
            lambda P, texts: torch.cat(nats_of(P, texts)).mean().item(),
            "You returned the mean surprise in nats. The perplexity is e to the power of it.",
            "One step is missing.",
            "1.4",
        ),
        Misconception(
            "mean of text means, and e to the power of bits",
            lambda P, texts: e_to(sum(mean_of_texts(P, texts)) / len(texts) / math.log(2)),
            "Two things at once: you took the mean of each text and then the mean of those means, so tokens of a short "
            "text count more; and you took logarithms to base 2 and then e to their power.",
            "Add up all surprises of all texts and divide once. Either ln and e, or log2 and 2.",
            "1.4",
        ),
        Misconception(
            "mean of text means, and 2 to the power of nats",
            lambda P, texts: 2 ** min(sum(mean_of_texts(P, texts)) / len(texts), math.inf),
            "Two things at once: you took the mean of each text and then the mean of those means, so tokens of a short "
            "text count more; and you took natural logarithms and then 2 to their power.",
            "Add up all surprises of all texts and divide once. Either ln and e, or log2 and 2.",
            "1.4",
        ),
        Misconception(
            "e to the power of decimal logarithms",
            lambda P, texts: e_to(torch.cat(nats_of(P, texts)).mean().item() / math.log(10)),
            "You took logarithms to base 10 and then e to the power of their mean. The base must be the same both "
            "times.",
            "Which logarithm is the inverse of exp?",
            "1.4",
        ),
        Misconception(
            "only the first text",
            lambda P, texts: perplexity_of(P, texts[:1]),
            "You used only the first text. Perhaps there is a return inside the loop over the texts.",
            "How far is your return indented?",
            "1.4",
        ),
        Misconception(
            "only the last text",
            lambda P, texts: perplexity_of(P, texts[-1:]),
            "You used only the last text. Perhaps the sum starts again at 0 for each text.",
            "Where do you set the sum to 0?",
            "1.4",
        ),
        Misconception(
            "first token predicted from the last",
            lambda P, texts: of_pairs(P, [(t[i - 1], t[i]) for t in texts for i in range(len(t))]),
            "You predicted the first token of a text from its last: at i = 0, text[i - 1] is text[-1], which Python "
            "takes from the end.",
            "At which position is the first token that is predicted?",
            "1.4",
        ),
        Misconception(
            "last pair missing",
            lambda P, texts: of_pairs(P, [p for t in texts for p in list(zip(t, t[1:], strict=False))[:-1]]),
            "Your loop ends one pair too early in each text.",
            "A text of n tokens has n - 1 predictions; range(n) ends before n.",
            "1.4",
            variants=(
                lambda P, texts: (
                    of_pairs(P, pairs)
                    if (pairs := [p for t in texts for p in list(zip(t, t[1:], strict=False))[:-1]])
                    else 1.0
                ),
            ),
        ),
        Misconception(
            "each different pair counted once",
            lambda P, texts: of_pairs(P, {p for t in texts for p in zip(t, t[1:], strict=False)}),
            "You took each different pair once, however often it occurs.",
            "Each predicted token counts the same.",
            "1.4",
            variants=(lambda P, texts: of_pairs(P, [p for t in texts for p in set(zip(t, t[1:], strict=False))]),),
        ),
        Misconception(
            "a first token with probability 1 / V",
            lambda P, texts: e_to(
                (torch.cat(nats_of(P, texts)).sum().item() + len(texts) * math.log(len(P))) / sum(map(len, texts))
            ),
            "You gave the first token of each text the surprise ln V. Nothing predicts it: it adds no surprise and is "
            "not counted.",
            "A text of n tokens has n - 1 predictions.",
            "1.4",
        ),
        Misconception(
            "infinite because of a 0 that is not needed",
            lambda P, texts: math.inf if bool((P == 0).any()) else perplexity_of(P, texts),
            "Your result is infinite as soon as P contains a 0 anywhere. Only the pairs that occur in the texts "
            "matter.",
            "Look up the probabilities first; then look for a 0 among them.",
            "1.5",
            variants=(
                lambda P, texts: math.nan if bool((P == 0).any()) else perplexity_of(P, texts),
                lambda P, texts: 0.0 if bool((P == 0).any()) else perplexity_of(P, texts),
            ),
        ),
        Misconception(
            "mean of text means",
            lambda P, texts: e_to(sum(mean_of_texts(P, texts)) / len(texts)),
            "You took the mean of each text and then the mean of those means. Tokens of a short text then count more "
            "than tokens of a long one.",
            "Add up all surprises of all texts; then divide once.",
            "1.4",
        ),
        Misconception(
            "mean of the texts' perplexities",
            lambda P, texts: sum(map(e_to, mean_of_texts(P, texts))) / len(texts),
            "You took the perplexity of each text and then the mean of those.",
            "Add up all surprises of all texts; divide once; exponentiate once.",
            "1.4",
        ),
        Misconception(
            "divided by the number of texts",
            lambda P, texts: e_to(torch.cat(nats_of(P, texts)).sum().item() / len(texts)),
            "You divided the sum of all surprises by the number of texts. Divide it by the number of predicted tokens.",
            "The perplexity is per token.",
            "1.4",
        ),
        Misconception(
            "first token counted",
            lambda P, texts: e_to(torch.cat(nats_of(P, texts)).sum().item() / sum(map(len, texts))),
            "You divided by the number of all tokens. Nothing predicts the first token of each text, so it must not "
            "be counted; your perplexity looks better than it is.",
            "A text of n tokens has n - 1 predictions.",
            "1.4",
        ),
        Misconception(
            "texts joined",
            joined,
            "You joined the texts and predicted the first token of each from the last token of the previous one.",
            "Every pair is within one text.",
            "1.4",
        ),
        Misconception(
            "table transposed",
            lambda P, texts: perplexity_of(P.T, texts),
            "You looked up P[b, a] for b after a. The row is the known token, the column the one to predict.",
            "P[a, b] is the probability of b after a.",
            "1.3",
        ),
        Misconception(
            "softmax applied to probabilities",
            lambda P, texts: perplexity_of(P.softmax(dim=1), texts),
            "A softmax was applied to P (cross_entropy has one inside). P holds probabilities already; the softmax "
            "makes them nearly equal, and impossible tokens become possible.",
            "Which function takes the logarithm and nothing else?",
            "1.4",
        ),
        Misconception(
            "product of probabilities underflows",
            by_product,
            "You multiplied the probabilities and took the root at the end. For a short text this is right; for a long "
            "one the product is too small for a floating-point number, and becomes 0.",
            "Which function turns a product into a sum?",
            "1.4",
            variants=(
                lambda P, texts: (
                    e_to(-math.log(p) / sum(len(text) - 1 for text in texts))
                    if (p := math.prod((-nats).exp().prod().item() for nats in nats_of(P, texts))) > 0
                    else math.inf
                ),
                lambda P, texts: with_math_log(P, texts, lambda p, n: p ** (-1 / n)),
                lambda P, texts: with_math_log(P, texts, lambda p, n: (1 / p) ** (1 / n)),
                lambda P, texts: with_math_log(P, texts, lambda p, n: math.exp(-math.log(p) / n)),
            ),
        ),
        Misconception(
            "math.log(0) raises an error",
            with_math_log,
            "Everything is correct except for tokens with probability 0: math.log(0) raises an exception. Their "
            "surprise is infinite, and therefore so is the perplexity.",
            "Check for a probability of 0 before you take the logarithm, or use torch.log, which returns -inf.",
            "1.5",
        ),
        Misconception(
            "tokens with probability 0 skipped",
            zeros_skipped,
            "You left out the tokens that have probability 0. The model is then rewarded for giving probability 0 to "
            "whatever it cannot predict.",
            "What is -ln 0? What does that mean for the average?",
            "1.5",
        ),
        Misconception(
            "probability 0 clamped to a small number",
            zeros_clamped,
            "You replaced probability 0 by a tiny number, so an infinite surprise became a finite one of arbitrary "
            "size. Smoothing belongs in the model, whose rows must still sum to 1.",
            "What is -ln 0? What does that mean for the average?",
            "1.5",
            variants=tuple(
                lambda P, texts, least=10.0**-i: zeros_clamped(P, texts, least) for i in (5, 6, 7, 8, 9, 12, 15, 16, 20)
            ),
        ),
    ],
    accepted={
        "loops, log2 and powers of two": perplexity_by_loops,
        "pairs counted first": perplexity_by_counts,
        "roots before the product": perplexity_by_roots,
        "NumPy": perplexity_by_numpy,
    },
    hints=[
        "Work through the docstring's example by hand: two probabilities, two surprises, their mean, its exponential.",
        "One sum and one number of tokens for all texts together: in a double loop over texts and pairs.",
        "total -= math.log(p), n += 1 for each pair; at the end math.exp(total / n). Before that, if p is 0: inf.",
    ],
)


# 3. bits_per_byte


def bits(nats_per_token: float, n_tokens: int, text: str) -> float:
    """The reference: all nats, as bits, over all bytes (like the library's `evaluate_text`)."""
    return nats_per_token * n_tokens / math.log(2) / len(text.encode("utf-8"))


LN2 = math.log(2)


def more_characters(seed: int) -> list[Case]:
    """Texts with characters of one to four bytes."""
    draw, cases = Random(seed), []
    for n in draw.sample(range(3, 40), 3):
        text = "".join(draw.choice("aeno  \nüß–€😀") for _ in range(draw.randint(5, 60)))
        cases.append(Case(f"{n} tokens", nats_per_token=draw.uniform(0.1, 5), n_tokens=n, text=text))
    return cases


bits_per_byte = Exercise(
    name="bits_per_byte",
    asks="Compute the total bits of a text, divided by its bytes in UTF-8.",
    reference=bits,
    section="1.8",
    cases=[
        Case("8 bits, 4 bytes", nats_per_token=math.log(16), n_tokens=2, text="read"),
        Case("12 bits, 6 bytes", nats_per_token=math.log(64), n_tokens=2, text="Mia sa"),
        Case("one token for each of 8 characters", nats_per_token=math.log(8), n_tokens=8, text="the pony"),
        Case("German, with two bytes for ü", nats_per_token=2.5, n_tokens=6, text="Sie grüßte früh ihre Tür."),
        Case("a dash with three bytes", nats_per_token=1.75, n_tokens=9, text="“Nothing!” said Maya — quickly."),
        Case("less than one bit per token", nats_per_token=0.25, n_tokens=40, text="once there was a shy boy " * 8),
        Case("one token, one byte", nats_per_token=math.log(256), n_tokens=1, text="a"),
        Case("no surprise at all", nats_per_token=0.0, n_tokens=3, text="abc"),
        Case("four bytes for a smile", nats_per_token=math.log(4), n_tokens=4, text="😀"),
        Case("line breaks and blanks, at the ends too", nats_per_token=LN2, n_tokens=12, text="\n  a\r\n b \n\n"),
        Case("é as e and an accent, three bytes", nats_per_token=LN2, n_tokens=6, text="e\u0301"),
        Case(
            "the last character of each length, and the first",
            nats_per_token=1.5,
            n_tokens=3,
            text="\x7f\x80\u07ff\u0800\uffff\U00010000",
        ),
        Case("a byte order mark and a zero byte", nats_per_token=LN2, n_tokens=5, text="\ufeffa\0"),
        Case("a million tokens", nats_per_token=2.5, n_tokens=10**6, text="ab" * 1000),
    ],
    random_cases=more_characters,
    misconceptions=[
        Misconception(
            "nats instead of bits",
            lambda nats, n, text: nats * n / len(text.encode()),
            "You computed nats per byte.",
            "One bit is ln 2 = 0.69 nats. Are there more bits or more nats?",
            "1.6",
        ),
        Misconception(
            "multiplied by ln 2",
            lambda nats, n, text: nats * n * LN2 / len(text.encode()),
            "You multiplied by ln 2. A bit is smaller than a nat, so there must be more bits than nats.",
            "ln 2 nats are 1 bit. How many bits is 1 nat?",
            "1.6",
        ),
        Misconception(
            "log2 of the nats",
            lambda nats, n, text: math.log2(nats) * n / len(text.encode()),
            "You took log2 of the nats. Nats are already logarithms; only the unit changes, by a constant factor.",
            "log2 x = ln x / ln 2.",
            "1.6",
        ),
        Misconception(
            "bits per character",
            lambda nats, n, text: nats * n / LN2 / len(text),
            "You divided by len(text), the number of characters. In UTF-8, the letters ü and ß have two bytes each "
            "and a dash has three.",
            "text.encode() is the text as bytes.",
            "1.8",
        ),
        Misconception(
            "bytes of UTF-16",
            lambda nats, n, text: nats * n / LN2 / len(text.encode("utf-16")),
            "You counted the bytes of another encoding: in UTF-16 most characters have two bytes, in UTF-32 all have "
            "four.",
            "text.encode() without an argument is UTF-8.",
            "1.8",
            variants=tuple(
                lambda nats, n, text, code=code: nats * n / LN2 / len(text.encode(code))
                for code in ("utf-16-le", "utf-32", "utf-32-le")
            ),
        ),
        Misconception(
            "characters outside ASCII lost",
            lambda nats, n, text: nats * n / LN2 / max(1, len(text.encode("ascii", errors="ignore"))),
            "You dropped the characters that are not ASCII. In UTF-8, ü and ß have two bytes each and a dash has "
            "three.",
            "text.encode() without an argument loses nothing.",
            "1.8",
            variants=(lambda nats, n, text: nats * n / LN2 / len(text.encode("ascii", errors="ignore")),),
        ),
        Misconception(
            "whitespace not counted",
            lambda nats, n, text: nats * n / LN2 / len("".join(text.split()).encode()),
            "You removed whitespace before you counted. Blanks and line breaks have bytes too, and were predicted too.",
            "All bytes of the text.",
            "1.8",
            variants=(
                lambda nats, n, text: nats * n / LN2 / len(text.strip().encode()),
                lambda nats, n, text: nats * n / LN2 / len(text.replace(" ", "").encode()),
            ),
        ),
        Misconception(
            "total bits, not per byte",
            lambda nats, n, text: nats * n / LN2,
            "You computed the bits of the whole text.",
            "Per byte: divide by the number of bytes.",
            "1.8",
        ),
        Misconception(
            "divided by ln 10 instead of ln 2",
            lambda nats, n, text: nats * n / math.log(10) / len(text.encode()),
            "You divided by ln 10, which gives decimal digits. A bit is ln 2 nats.",
            "Two equally probable answers cost one bit.",
            "1.6",
        ),
        Misconception(
            "rounded down to whole numbers",
            lambda nats, n, text: nats * n / LN2 // len(text.encode()),
            "You divided with //, which rounds down.",
            "Which operator divides without rounding?",
            "1.8",
            variants=(lambda nats, n, text: int(nats * n / LN2 / len(text.encode())),),
        ),
        Misconception(
            "bits per token",
            lambda nats, n, text: nats / LN2,
            "You computed bits per token. Tokens differ in size, so you cannot compare this between models.",
            "How many bits do all tokens cost together, and how many bytes do they make up?",
            "1.8",
        ),
        Misconception(
            "bits of one token only",
            lambda nats, n, text: nats / LN2 / len(text.encode()),
            "You divided the bits of one token by the bytes of the whole text.",
            "First all the bits: the mean times the number of tokens.",
            "1.8",
        ),
        Misconception(
            "multiplied by bytes per token",
            lambda nats, n, text: nats / LN2 * len(text.encode()) / n,
            "You multiplied by the bytes per token instead of dividing by them: this would make a model with long "
            "tokens look worse.",
            "All bits, divided by all bytes.",
            "1.8",
        ),
        Misconception(
            "bits per word",
            lambda nats, n, text: nats * n / LN2 / len(text.split()),
            "You divided by the number of words.",
            "text.encode() is the text as bytes.",
            "1.8",
        ),
        Misconception(
            "perplexity used as the loss",
            lambda nats, n, text: math.exp(nats) * n / LN2 / len(text.encode()),
            "You exponentiated the nats first. Perplexities cannot be added up; nats can.",
            "Which of the two is a sum over tokens, divided by their number?",
            "1.6",
        ),
        Misconception(
            "n_tokens - 1 instead of n_tokens",
            lambda nats, n, text: nats * (n - 1) / LN2 / len(text.encode()),
            "You multiplied by n_tokens - 1. It already is the number of predicted tokens.",
            "Read again what n_tokens counts.",
            "1.8",
        ),
        Misconception(
            "divided by 8 bits per byte",
            lambda nats, n, text: nats * n / LN2 / (8 * len(text.encode())),
            "You divided by the 8 bits of a byte. That is the compression ratio; the exercise asks for the number of "
            "bits per byte.",
            "If nothing can be predicted, the answer is about 8, not 1.",
            "1.8",
        ),
    ],
    accepted={
        "logarithm to base 2 of the perplexity": lambda nats, n, text: (
            n * math.log2(math.exp(nats)) / len(bytes(text, "utf-8"))
        ),
        "bytes counted one by one": lambda nats, n, text: (
            sum(nats * math.log2(math.e) for _ in range(n)) / sum(1 for _ in text.encode())
        ),
        "NumPy": lambda nats, n, text: np.float64(nats) * n / np.log(2) / np.frombuffer(text.encode(), np.uint8).size,
        "bytes by code point": lambda nats, n, text: (
            torch.tensor(nats * n / LN2) / sum(1 + (ord(c) > 0x7F) + (ord(c) > 0x7FF) + (ord(c) > 0xFFFF) for c in text)
        ),
    },
    hints=[
        "Three steps: find the nats of the whole text, convert them to bits, divide by its bytes.",
        "nats = bits · ln 2. Solve for bits.",
        "nats_per_token * n_tokens / math.log(2), divided by len(text.encode()).",
    ],
)


# 4. table_gradient


def gradient(Z: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Compute the gradient by automatic differentiation."""
    Z = Z.detach().clone().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(F.cross_entropy(Z[before], after), Z)[0]


def parts(Z: Tensor, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the softmax of every row, counts of the pairs (V, V), counts of the contexts (V, 1)."""
    N = counted(before, after, len(Z)).to(Z.dtype)
    return Z.softmax(dim=1), N, N.sum(dim=1, keepdim=True)


def gradient_by_hand(Z, before, after, p=None, sign=1, n=None):
    """(softmax · count of the context - count of the pair) / n; every detail can be wrong."""
    q, N, total = parts(Z, before, after)
    p = q if p is None else p
    return sign * (p * total - N) / (len(before) if n is None else n)


def pairs_once(Z: Tensor, before: Tensor, after: Tensor) -> Tensor:
    G = torch.zeros_like(Z)
    each = Z[before].softmax(dim=1)  # (N, V)
    each[torch.arange(len(before)), after] -= 1
    G[before] += each / len(before)  # of equal rows only one is written
    return G


def gradient_by_loops(Z: Tensor, before: Tensor, after: Tensor) -> Tensor:
    G = [[0.0] * len(Z) for _ in Z]
    for a, b in zip(before.tolist(), after.tolist(), strict=True):
        weights = [math.exp(z) for z in Z[a].tolist()]
        for j, w in enumerate(weights):
            G[a][j] += (w / sum(weights) - (j == b)) / len(before)
    return torch.tensor(G)


def gradient_by_one_hot(Z: Tensor, before: Tensor, after: Tensor) -> Tensor:
    X, Y = (F.one_hot(x, len(Z)).double() for x in (before, after))  # (N, V)
    return torch.einsum("na,nb->ab", X, (X @ Z.double()).softmax(dim=1) - Y) / len(X)


def gradient_by_index_add(Z: Tensor, before: Tensor, after: Tensor) -> Tensor:
    q = torch.exp(Z - torch.logsumexp(Z, dim=-1, keepdim=True))
    G = torch.zeros_like(Z).index_add_(0, before, q[before])
    G.index_put_((before, after), -torch.ones_like(after, dtype=Z.dtype), accumulate=True)
    return G / before.numel()


def more_logits(seed: int) -> list[Case]:
    """Tables of other sizes, with rows that are far from each other."""
    draw, cases = Random(seed), []
    for V in draw.sample(range(3, 9), 3):
        N = draw.randint(1, 30)
        Z = random(V, V, seed=draw.randrange(10**6)) + torch.tensor([[draw.uniform(-200, 200)] for _ in range(V)])
        before, after = (ids(N, V=V, seed=draw.randrange(10**6)) for _ in range(2))
        cases.append(Case(f"{N} pairs, vocabulary of {V}", Z=Z, before=before, after=after))
    return cases


def softmax_of(Z: Tensor, largest: Tensor) -> Tensor:
    """Rows of exp(Z - largest), divided by their sums."""
    return rows_to_one((Z - largest).exp())


ROW = torch.tensor([[0.0, math.log(3)], [math.log(4), 0.0]])

table_gradient = Exercise(
    name="table_gradient",
    asks="Compute the gradient of the mean cross-entropy with respect to a table of logits, without automatic "
    "differentiation.",
    reference=gradient,
    section="1.7",
    atol=1e-5,
    cases=[
        Case("logits zero, one pair", Z=torch.zeros(2, 2), before=torch.tensor([0]), after=torch.tensor([1])),
        Case("probabilities 1/4 and 3/4, one pair", Z=ROW, before=torch.tensor([0]), after=torch.tensor([1])),
        Case(
            "three pairs, one of them twice",
            Z=ROW,
            before=torch.tensor([0, 0, 1]),
            after=torch.tensor([1, 1, 0]),
        ),
        Case(
            "logits zero, four pairs of three tokens",
            Z=torch.zeros(3, 3),
            before=torch.tensor([0, 2, 0, 0]),
            after=torch.tensor([1, 0, 2, 1]),
        ),
        Case("large logits", Z=ROW * 10 + 90, before=torch.tensor([1, 0]), after=torch.tensor([1, 0])),
        Case(
            "one row of large logits, one of very negative ones",
            Z=ROW + torch.tensor([[300.0], [-300.0]]),
            before=torch.tensor([0, 1]),
            after=torch.tensor([0, 0]),
        ),
        Case("a vocabulary of one", Z=torch.tensor([[3.0]]), before=torch.tensor([0, 0]), after=torch.tensor([0, 0])),
        Case("random", Z=random(5, 5, seed=3), before=ids(20, V=4, seed=4), after=ids(20, V=5, seed=5)),
        Case(
            "views of larger tensors",
            Z=random(4, 4, seed=6).T,
            before=ids(12, V=4, seed=7)[::2],
            after=ids(12, V=4, seed=8)[1::2],
        ),
        Case(
            "one pair 3,000 times",
            Z=ROW,
            before=torch.tensor([0] * 3000 + [1]),
            after=torch.tensor([1] * 3000 + [0]),
        ),
    ],
    random_cases=more_logits,
    misconceptions=[
        Misconception(
            "wrong sign",
            lambda *a: gradient_by_hand(*a, sign=-1),
            "You computed the negative gradient. A step against it would make the loss *larger*.",
            "Should a descent step raise or lower the logit of the token that came next?",
            "1.7",
        ),
        Misconception(
            "sum over the pairs instead of mean",
            lambda *a: gradient_by_hand(*a, n=1),
            "You added up the gradients of the pairs. The loss is their mean, and so is its gradient.",
            "Divide by the number of pairs.",
            "1.7",
        ),
        Misconception(
            "mean per row instead of over all pairs",
            lambda Z, before, after: gradient_by_hand(Z, before, after, n=parts(Z, before, after)[2].clamp(min=1)),
            "You divided each row by how often its token occurred. The loss is the mean over all pairs, so a row "
            "that occurs often has a larger gradient.",
            "Every pair weighs 1 / N, whichever row it is in.",
            "1.7",
        ),
        Misconception(
            "divided by the size of the table",
            lambda Z, before, after: gradient_by_hand(Z, before, after, n=Z.numel()),
            "You took the mean over the entries of the table. The mean of the loss is over the pairs.",
            "How many terms does the loss have?",
            "1.7",
        ),
        Misconception(
            "divided by the size of the vocabulary",
            lambda Z, before, after: gradient_by_hand(Z, before, after, n=len(Z)),
            "You divided by V. The mean of the loss is over the pairs.",
            "How many terms does the loss have?",
            "1.7",
            variants=(lambda Z, before, after: gradient_by_hand(Z, before, after, n=len(Z) * len(before)),),
        ),
        Misconception(
            "derivative by the probabilities, not by the logits",
            lambda Z, before, after: -(q := parts(Z, before, after))[1] / q[0] / len(before),
            "You differentiated -ln p by p, which is -1 / p. But Z holds logits: p is the softmax of a row of them.",
            "Differentiate ln Σ exp(z_i) - z_b with respect to z_j.",
            "1.7",
        ),
        Misconception(
            "softmax over the whole table",
            lambda Z, before, after: gradient_by_hand(Z, before, after, p=Z.flatten().softmax(0).view_as(Z)),
            "You took one softmax over all entries of the table. Each row is a distribution of its own.",
            "Z[a] holds the logits of everything that may follow a. Along which dimension do they sum to 1?",
            "1.7",
            variants=(lambda Z, before, after: gradient_by_hand(Z, before, after, p=(e := Z.exp()) / e.sum()),),
        ),
        Misconception(
            "maximum of the whole table subtracted",
            lambda Z, before, after: gradient_by_hand(Z, before, after, p=softmax_of(Z, Z.max())),
            "You subtracted the maximum of the whole table before the exponential. A row whose logits are all far "
            "below it becomes 0, and 0 / 0 is not a number.",
            "The softmax of a row does not change if *its own* maximum is subtracted.",
            "1.7",
            variants=(
                lambda Z, before, after: torch.where(  # rows that are not used stay 0
                    (q := parts(Z, before, after))[2] > 0, (softmax_of(Z, Z.max()) * q[2] - q[1]) / len(before), 0.0
                ),
                lambda Z, before, after: gradient_by_hand(
                    Z, before, after, p=softmax_of(Z, Z.amax(dim=0, keepdim=True))
                ),
            ),
        ),
        Misconception(
            "the table after a step, not the gradient",
            lambda Z, before, after: Z - gradient_by_hand(Z, before, after),
            "You returned Z minus the gradient: the table after one step. The exercise asks for the gradient itself.",
            "Leave the step to the caller.",
            "1.7",
        ),
        Misconception(
            "1 subtracted at the wrong token",
            lambda Z, before, after: (q := parts(Z, before, before))[0] * q[2] / len(before) - q[1] / len(before),
            "You subtracted the 1 at (a, a), the token itself, and not at (a, b), the token that followed.",
            "Which logit does the loss of the pair (a, b) contain with a minus sign?",
            "1.7",
        ),
        Misconception(
            "repeated contexts counted once",
            pairs_once,
            "Of several pairs that begin with the same token, only one counts: G[before] += … with many indices at "
            "once overwrites instead of adding.",
            "A loop, index_add_, or index_put_ with accumulate=True adds up repetitions.",
            "1.3",
        ),
        Misconception(
            "repeated pairs subtracted once",
            lambda Z, before, after: ((q := parts(Z, before, after))[0] * q[2] - q[1].clamp(max=1)) / len(before),
            "You add the softmax for each pair, but for equal pairs you subtract the 1 only once: G[before, after] -= "
            "1 with many indices at once overwrites instead of adding.",
            "A loop, or index_put_ with accumulate=True, counts repetitions.",
            "1.3",
        ),
        Misconception(
            "gradient only for the target token",
            lambda Z, before, after: (q := parts(Z, before, after))[1] * (q[0] - 1) / len(before),
            "You gave a gradient only to the logit of the target, the token that came next. But the others are in "
            "the denominator of the softmax: raising them lowers the probability of the target.",
            "Differentiate ln Σ exp(z_i) with respect to a z_j that is not the target.",
            "1.7",
        ),
        Misconception(
            "softmax sums broadcast along the wrong axis",
            lambda Z, before, after: gradient_by_hand(Z, before, after, p=(e := Z.exp()) / e.sum(dim=1)),
            "You divided the exponentials of the logits by sums of shape (V,), which broadcasting aligns with the "
            "columns: your rows do not sum to 1.",
            "Use keepdim, as in the first exercise.",
            "1.3",
            variants=(
                lambda Z, before, after: gradient_by_hand(
                    Z, before, after, p=(e := (Z - Z.amax(dim=1, keepdim=True)).exp()) / e.sum(dim=1)
                ),
            ),
        ),
        Misconception(
            "target not subtracted",
            lambda Z, before, after: (q := parts(Z, before, after))[0] * q[2] / len(before),
            "You have the softmax, but you do not use `after`. Every logit would be pushed down.",
            "The derivative of ln Σ exp is one term; the loss has another.",
            "1.7",
        ),
        Misconception(
            "softmax missing",
            lambda Z, before, after: gradient_by_hand(Z, before, after, p=Z),
            "You took the logits themselves instead of their softmax. That is the gradient of a squared error, not of "
            "the cross-entropy.",
            "What is ∂/∂z_j of ln Σ exp(z_i)?",
            "1.7",
        ),
        Misconception(
            "log-softmax instead of softmax",
            lambda Z, before, after: gradient_by_hand(Z, before, after, p=Z.log_softmax(dim=1)),
            "You used the log-softmax instead of the softmax.",
            "What is ∂/∂z_j of ln Σ exp(z_i)? Is it between 0 and 1?",
            "1.7",
        ),
        Misconception(
            "softmax over the columns",
            lambda Z, before, after: gradient_by_hand(Z, before, after, p=Z.softmax(dim=0)),
            "You took the softmax along the columns. The model's distribution is a row of the table.",
            "Z[a] holds the logits of everything that may follow a. Which dimension is that?",
            "1.7",
        ),
        Misconception(
            "rows and columns swapped",
            lambda Z, before, after: gradient(Z, after, before),
            "You took `after` for the rows and `before` for the columns.",
            "The row is the known token.",
            "1.3",
        ),
        Misconception(
            "rows not weighted by their counts",
            lambda Z, before, after: (q := parts(Z, before, after))[0] - q[1] / q[2].clamp(min=1),
            "You computed softmax minus observed fraction for each row on its own, even for unused rows. You must "
            "also weight each row by how often it is used; a row that is never used has gradient 0.",
            "Start from one pair: to which row does it give a gradient? Then add up the pairs.",
            "1.7",
        ),
        Misconception(
            "softmax not multiplied by the context count",
            lambda Z, before, after: parts(Z, before, after)[0] - parts(Z, before, after)[1] / len(before),
            "You subtracted the counts from the softmax of the whole table. A row gets the softmax once for each "
            "pair that begins with its token: maybe never, maybe often.",
            "Start from one pair: to which row does it give a gradient? Then add up the pairs.",
            "1.7",
        ),
        Misconception(
            "exp overflows in the softmax",
            lambda Z, before, after: gradient_by_hand(Z, before, after, p=(e := Z.exp()) / e.sum(dim=1, keepdim=True)),
            "Your exponentials are too large for a floating-point number, and inf / inf is not a number.",
            "The softmax does not change if the same number is subtracted from all logits of a row.",
            "1.7",
        ),
    ],
    accepted={
        "loops": gradient_by_loops,
        "one-hot vectors, einsum, float64": gradient_by_one_hot,
        "index_add_": gradient_by_index_add,
        "counts": gradient_by_hand,
    },
    forbidden=AUTOGRAD,
    hints=[
        "Take a single pair (a, b). Its loss is ln Σ_j exp(Z[a, j]) - Z[a, b]. Differentiate with respect to Z[a, "
        "j], once for j = b and once for j ≠ b.",
        "So one pair gives row a the gradient softmax(Z[a]), minus 1 at b. All other rows get nothing from this pair.",
        "Loop over the pairs with G[a] += Z[a].softmax(-1) and G[a, b] -= 1; at the end, divide by the number of "
        "pairs.",
    ],
)


# 5. impossible


def look(find) -> str:
    """Return a verdict on the student's two texts."""
    texts = find()
    if not (isinstance(texts, list | tuple) and len(texts) == 2 and all(isinstance(text, str) for text in texts)):
        return "these are not two texts (strings)"
    train, test = texts
    if len(test) < 10:
        return "the test text has fewer than 10 characters"
    if set(test) - set(train):
        return "a character of the test text does not occur in the training text at all"
    if set(test) - set(train[:-1]):
        return "a character of the test text is never followed by anything in the training text"
    N = Counter(zip(train, train[1:], strict=False))
    missing = [pair for pair in zip(test, test[1:], strict=False) if not N[pair]]
    if not missing:
        return "every pair of the test text occurs in training, so its perplexity is finite"
    return "fine" if len(missing) == 1 else "more than one pair of the test text has probability 0"


impossible = Exercise(
    name="impossible",
    asks="Find a training and a test text: one pair of the test text has probability 0, and no other pair does.",
    reference=lambda: ("the old mill and the old boat", "the old mill and the old ant"),
    section="1.5",
    cases=[Case("your two texts", judge=look)],
    misconceptions=[
        Misconception(
            "character not in the training text",
            lambda: ("the old mill and the boat", "the old zoo and the boat"),
            "A character of your test text does not occur in training at all. That is a different problem: it has no "
            "row and no column. Here, every single character must be known.",
            "Use only characters of the training text, in a different order.",
            "1.5",
        ),
        Misconception(
            "character with an empty row",
            lambda: ("she ran to the kiosk.", "she ran to. the"),
            "A character of your test text occurs only at the end of the training text. Its row is empty, and 0 / 0 "
            "is not a probability.",
            "Let the training text continue after it.",
            "1.5",
        ),
        Misconception(
            "no impossible pair",
            lambda: ("the old mill and the boat", "the old mill and the"),
            "Every pair of your test text occurs in training, so every probability is above 0.",
            "You need two characters that both occur, but never next to each other in this order.",
            "1.5",
        ),
        Misconception(
            "more than one impossible pair",
            lambda: ("the old mill and the boat", "boat the dim old hat"),
            "More than one pair of your test text never occurs in training (a pair that occurs twice counts twice). "
            "Exactly one is allowed.",
            "Start with the training text itself, and change its end.",
            "1.5",
        ),
        Misconception(
            "test text too short",
            lambda: ("abab", "aa"),
            "Your test text has fewer than 10 characters. The point is that *one* pair ruins a text of any length.",
            "Put well-known pairs before it.",
            "1.5",
        ),
        Misconception(
            "not two strings",
            lambda: ([0, 1, 0, 1], [0, 1, 0, 1, 0, 1, 0, 1, 0, 0]),
            "You returned something other than two strings.",
            'For example "abab…".',
            "1.5",
            variants=(lambda: "the old mill and the boat", lambda: None),
        ),
    ],
    accepted={
        "two letters": lambda: ("ab" * 3, "ab" * 5 + "b"),
        "a list, the pair at the beginning": lambda: ["to be or not to be", "rot to be or not"],
        "a long text": lambda: ("One cold day he ran home. " * 50, "One cold day he ran home. " * 30 + "he ran home.."),
    },
    hints=[
        "Take a training text of only two letters, such as abababab. Which pairs never occur in it?",
        "Start the test text like the training text, and end it with a new pair.",
    ],
)


# 6. mix


def tensors(count, total, n_types, lower) -> list[Tensor]:
    return [torch.as_tensor(x, dtype=torch.float64).expand(len(lower)).clone() for x in (count, total, n_types, lower)]


def of_context(f, count: list[float], lower: list[float]) -> Tensor:
    """Return p(w | c) for all w of a small vocabulary, from the counts of one context."""
    count = torch.tensor(count, dtype=torch.float64)
    arguments = tensors(count, count.sum(), (count > 0).sum(), torch.tensor(lower, dtype=torch.float64))
    return torch.as_tensor(f(*arguments)).double()


def of_contexts(f, *contexts) -> list[Tensor]:
    return [of_context(f, count, lower) for count, lower in contexts]


def doubled(f, count, lower) -> list[Tensor]:
    """Return the results of one context while its counts are doubled five times."""
    return [of_context(f, [n * 2**i for n in count], lower) for i in range(6)]


def often(f, count, lower) -> Tensor:
    return of_context(f, [n * 10**5 for n in count], lower)


def pairs_of(contexts) -> list[Tensor]:
    """The four arguments for all pairs of several contexts."""
    pieces = []
    for count, lower in contexts:
        count = torch.tensor(count, dtype=torch.float64)
        pieces.append(tensors(count, count.sum(), (count > 0).sum(), torch.tensor(lower, dtype=torch.float64)))
    return [torch.cat(parts) for parts in zip(*pieces, strict=True)]


def in_one_call(f, contexts) -> Tensor:
    """Call once with several contexts concatenated, one of them unseen."""
    return torch.as_tensor(f(*pairs_of(contexts))).double()


def together_and_alone(f, contexts) -> list[Tensor]:
    """Return the results of one call with all pairs, and those of a call for each pair."""
    arguments = pairs_of(contexts)
    together = torch.as_tensor(f(*(x.clone() for x in arguments))).double()
    alone = [float(f(*(x[i : i + 1].clone() for x in arguments))) for i in range(len(together))]
    return [together, torch.tensor(alone, dtype=torch.float64)]


def inputs_afterwards(f, contexts) -> list[Tensor]:
    arguments = pairs_of(contexts)
    f(*arguments)
    return arguments


# What the grader says of these results: in the process of a submission, its own code could say it.


def sums(get, *contexts) -> list[float]:
    return [float(p.sum()) for p in get()]


def sum_of_each(get, contexts) -> list[float]:
    return [float(part.sum()) for part in get().split([len(lower) for _, lower in contexts])]


def impossible_tokens(get, count, lower) -> str:
    return "no token is impossible" if bool((get() > 0).all()) else "some token is impossible"


def order(get, count, lower) -> str:
    p = get().tolist()
    return "first > second > third" if p[0] > p[1] + 1e-9 > p[2] + 2e-9 else "not first > second > third"


def growing_trust(get, count, lower) -> str:
    """Say whether the result approaches count / total as the counts are doubled repeatedly."""
    fractions = torch.tensor(count, dtype=torch.float64) / sum(count)
    distances = [float((p - fractions).abs().max()) for p in get()]
    if max(distances) < 1e-9:
        return "count / total from the start"
    steps = [b - a for a, b in zip(distances, distances[1:], strict=False)]
    if all(step < -1e-9 for step in steps):
        return "closer to count / total with every doubling"
    if max(map(abs, steps)) < 1e-9:
        return "no closer to count / total"
    return "farther from count / total" if max(steps) > 1e-9 else "not closer to count / total with every doubling"


def lasting_trust(get, count, lower) -> str:
    """Say whether trust still grows after many counts, or is complete."""
    verdict = growing_trust(get, count, lower)
    right = ("closer to count / total with every doubling", "count / total from the start")
    return "still closer to count / total, or there" if verdict in right else verdict


def in_the_end(get, count, lower) -> str:
    fractions = torch.tensor(count, dtype=torch.float64) / sum(count)
    return "count / total, up to 0.01" if bool((get() - fractions).abs().max() <= 0.01) else "not count / total"


def one_at_a_time(get, contexts) -> str:
    """Whether each pair gets the same result alone as together with others."""
    together, alone = get()
    same = torch.allclose(together, alone, rtol=1e-4, atol=1e-7)
    return "the same as together" if same else "not the same as together"


def left_alone(get, contexts) -> str:
    """Whether the inputs are unchanged."""
    same = all(torch.equal(a, b) for a, b in zip(pairs_of(contexts), get(), strict=True))
    return "the inputs are as before" if same else "the inputs were changed"


def more_contexts(seed: int) -> list[Case]:
    """Contexts with vocabularies of other sizes."""
    draw, contexts = Random(seed), []
    for V in draw.sample(range(3, 12), 3):
        count = [draw.choice([0, 0, 1, 2, 5, 9]) for _ in range(V - 1)] + [1]
        weights = [draw.uniform(0.2, 1) for _ in range(V)]
        contexts.append((count, [w / sum(weights) for w in weights]))
    return [
        Case("the sum of the results", run=of_contexts, judge=sums, context=contexts[0], another=contexts[1]),
        Case("three contexts in one call: the sum of each", run=in_one_call, judge=sum_of_each, contexts=contexts),
        Case("the pairs one at a time", run=together_and_alone, judge=one_at_a_time, contexts=contexts),
        Case(
            "is every token possible?",
            run=of_context,
            judge=impossible_tokens,
            count=contexts[2][0],
            lower=contexts[2][1],
        ),
    ]


def more_by_lower(count, total, n_types, lower):
    """The reference: as if every context had been seen once more, distributed like the shorter one."""
    return (count + lower) / (total + 1)


def witten_bell(count, total, n_types, lower):
    weight = torch.where(total > 0, n_types / (total + n_types).clamp(min=1), 1.0)
    return (1 - weight) * count / total.clamp(min=1) + weight * lower


def discounted(count, total, n_types, lower, d=0.75):
    high = (count - d).clamp(min=0) / total.clamp(min=1) + d * n_types / total.clamp(min=1) * lower
    return torch.where(total > 0, high, lower)


def mix_by_loops(count, total, n_types, lower):
    out = []
    for c, t, _, p in zip(*(x.tolist() for x in (count, total, n_types, lower)), strict=True):
        trust = t / (t + 4)
        out.append(trust * (c / t) + (1 - trust) * p if t else p)
    return torch.tensor(out, dtype=torch.float64)


def mix_by_numpy(count, total, n_types, lower):
    count, total, lower = count.numpy(), total.numpy(), lower.numpy()
    trust = 1 - 1 / np.sqrt(1 + total)
    return torch.from_numpy(trust * count / np.maximum(total, 1) + (1 - trust) * lower)


def interpolate(count, total, lower, trust):
    """trust · count / total + (1 - trust) · lower; lower for an unseen context."""
    return torch.where(total > 0, trust * count / total.clamp(min=1) + (1 - trust) * lower, lower)


EVEN, UNEVEN = [0.25, 0.25, 0.25, 0.25], [0.5, 0.25, 0.125, 0.125]
SEVERAL = [([3, 1, 0, 0], EVEN), ([0, 0, 0, 0], UNEVEN), ([0, 1, 0, 0], UNEVEN), ([2, 0, 9, 5], EVEN)]

mix = Exercise(
    name="mix",
    asks="Combine the counts of a long context with the probability from a shorter one; trust grows with the counts.",
    reference=more_by_lower,
    section="1.9",
    points=2,
    cases=[
        Case("an unseen context: the results", run=of_context, count=[0, 0, 0, 0], lower=UNEVEN),
        Case("counts 3, 1, 0, 0: the sum of the results", run=of_contexts, judge=sums, context=([3, 1, 0, 0], EVEN)),
        Case("counts 0, 2, 0, 0: the sum of the results", run=of_contexts, judge=sums, context=([0, 2, 0, 0], UNEVEN)),
        Case(
            "counts 3, 1, 0, 0: is every token possible?", run=of_context, judge=impossible_tokens,
            count=[3, 1, 0, 0], lower=EVEN,
        ),
        Case("equal lower, counts 3, 2, 0", run=of_context, judge=order, count=[3, 2, 0], lower=[1 / 3] * 3),
        Case(
            "equal counts, lower 1/2, 1/3, 1/6", run=of_context, judge=order,
            count=[2, 2, 2], lower=[1 / 2, 1 / 3, 1 / 6],
        ),
        Case("counts 1, 3, 0, 0, doubled five times", run=doubled, judge=growing_trust, count=[1, 3, 0, 0], lower=EVEN),
        Case("counts 300,000, 700,000, 0, 0", run=often, judge=in_the_end, count=[3, 7, 0, 0], lower=EVEN),
        Case(
            "counts 1,000,000, 0, 0, 0",
            run=often, judge=in_the_end,
            count=[10, 0, 0, 0],
            lower=[0.01, 0.33, 0.33, 0.33],
        ),
        Case("four contexts in one call: the sum of each", run=in_one_call, judge=sum_of_each, contexts=SEVERAL),
        Case("equal lower, counts 2, 1, 0", run=of_context, judge=order, count=[2, 1, 0], lower=[1 / 3] * 3),
        Case(
            "counts 1, 0, 0, lower 0.4, 0.4, 0.2", run=of_context, judge=order, count=[1, 0, 0], lower=[0.4, 0.4, 0.2],
        ),
        Case(
            "counts 0, 0, 0, 4, lower 0.4, 0.3, 0.2, 0.1", run=of_context, judge=order,
            count=[0, 0, 0, 4], lower=[0.4, 0.3, 0.2, 0.1],
        ),
        Case(
            "counts 1, 0, 0, 0, doubled five times", run=doubled, judge=growing_trust, count=[1, 0, 0, 0], lower=UNEVEN,
        ),
        Case(
            "counts 90, 38, 0, 0: all possible?", run=of_context, judge=impossible_tokens,
            count=[90, 38, 0, 0], lower=UNEVEN,
        ),
        Case(
            "counts 100,000, 300,000, 0, 0, doubled five times",
            run=doubled, judge=lasting_trust, count=[100_000, 300_000, 0, 0], lower=EVEN,
        ),
        Case("a token whose lower is 0: the sum", run=of_contexts, judge=sums, context=([1, 1, 0], [0.5, 0.0, 0.5])),
        Case("four contexts: the pairs one at a time", run=together_and_alone, judge=one_at_a_time, contexts=SEVERAL),
        Case(
            "four contexts: what your function does to its inputs", run=inputs_afterwards, judge=left_alone,
            contexts=SEVERAL,
        ),
    ],
    random_cases=more_contexts,
    misconceptions=[
        Misconception(
            "fixed weights",
            lambda count, total, n_types, lower: interpolate(count, total, lower, 0.8),
            "You gave the two fixed weights, as the lesson does. A context seen once is then trusted as much as one "
            "seen a thousand times.",
            "Make the weight of the long context grow with total, from 0 toward 1.",
            "1.9",
            variants=tuple(
                lambda count, total, n_types, lower, s=s: interpolate(count, total, lower, s)
                for s in (0.5, 0.6, 0.7, 0.75, 0.9, 0.95, 0.99)
            ),
        ),
        Misconception(
            "lower not used",
            lambda count, total, n_types, lower: count / total,
            "You returned count / total: tokens that never occurred become impossible, and an unseen context gives 0 "
            "/ 0.",
            "Where does your code use lower?",
            "1.9",
            variants=(lambda count, total, n_types, lower: count / total.clamp(min=1),),
        ),
        Misconception(
            "lower used only for zero counts",
            lambda count, total, n_types, lower: torch.where(count > 0, count / total.clamp(min=1), lower),
            "You kept count / total for seen tokens and used lower for the rest. The first part alone already sums "
            "to 1, so the total is more than 1, and the perplexity is too good to be true.",
            "Probability given to unseen tokens must first be taken from the seen ones.",
            "1.9",
            variants=(
                lambda count, total, n_types, lower: torch.where(count > 0, count / total.clamp(min=1), 0.4 * lower),
            ),
        ),
        Misconception(
            "lower used only for unseen contexts",
            lambda count, total, n_types, lower: torch.where(total > 0, count / total.clamp(min=1), lower),
            "You used count / total as soon as the context was seen at all. Tokens that never followed it are then "
            "impossible.",
            "Give lower some weight in every context.",
            "1.9",
        ),
        Misconception(
            "denominator not increased",
            lambda count, total, n_types, lower: torch.where(total > 0, (count + lower) / total.clamp(min=1), lower),
            "You added lower to the counts, but still divided by their old sum: the results sum to more than 1.",
            "If each count of a context grows by its lower, by how much does their sum grow?",
            "1.9",
        ),
        Misconception(
            "NaN for an unseen context",
            lambda count, total, n_types, lower: (count + n_types * lower) / (total + n_types),
            "Seen contexts are correct. For an unseen one, you divide 0 by 0.",
            "Use torch.where(total > 0, …, lower), and protect the division itself with clamp(min=1).",
            "1.9",
            variants=(
                lambda count, total, n_types, lower: ((count - 0.75).clamp(min=0) + 0.75 * n_types * lower) / total,
                lambda count, total, n_types, lower: (t := total / (total + 1)) * count / total + (1 - t) * lower,
            ),
        ),
        Misconception(
            "add-one smoothing",
            lambda count, total, n_types, lower: (count + 1) / (total + n_types + 1),
            "You added 1 to every count, as in section 1.5, so lower makes no difference. All tokens that never "
            "followed this context are then equally probable, and the results do not sum to 1 either.",
            "Add something that is proportional to lower.",
            "1.9",
            variants=(
                lambda count, total, n_types, lower: (count + 1) / (total + n_types).clamp(min=1),
                lambda count, total, n_types, lower: (count + 1) / (total + 1),
                lambda count, total, n_types, lower: (count + 1) / (total + len(lower)),
            ),
        ),
        Misconception(
            "weights swapped: trust shrinks",
            lambda count, total, n_types, lower: interpolate(count, total, lower, 1 / (total + 1)),
            "The more often a context was seen, the less you trust it: the two weights are swapped.",
            "Which of the two should get the weight that goes to 1?",
            "1.9",
            variants=(
                lambda count, total, n_types, lower: interpolate(
                    count, total, lower, n_types / (total + n_types).clamp(min=1)
                ),
            ),
        ),
        Misconception(
            "trust grows too slowly",
            lambda count, total, n_types, lower: interpolate(count, total, lower, 1 - 1 / (1 + (1 + total).log())),
            "Your trust grows, but does not get close to 1: after a million occurrences, the shorter context still "
            "has a weight of more than 0.01.",
            "What is the weight of your long context for total = 1,000,000?",
            "1.9",
            variants=(
                lambda count, total, n_types, lower: interpolate(count, total, lower, 0.9 * total / (total + 1)),
                lambda count, total, n_types, lower: interpolate(count, total, lower, 0.95 * total / (total + 1)),
            ),
        ),
        Misconception(
            "trust stops growing",
            lambda count, total, n_types, lower: interpolate(count, total, lower, (total / 10).clamp(max=0.99)),
            "Your trust grows and then stops at a maximum: from there on, more counts do not bring the result closer "
            "to count / total.",
            "A function that grows forever and never reaches 1: can you think of one without min or clamp?",
            "1.9",
            variants=(
                lambda count, total, n_types, lower: interpolate(count, total, lower, (total / 10).clamp(max=0.9)),
                lambda count, total, n_types, lower: interpolate(count, total, lower, (total / 10).clamp(max=1)),
            ),
        ),
        Misconception(
            "weights depend on the token",
            lambda count, total, n_types, lower: interpolate(count, total, lower, count / (count + 1)),
            "Your weights depend on the token's count. Within one context they must be the same for all tokens, or "
            "the results do not sum to 1.",
            "Which of the inputs are the same for all tokens of one context?",
            "1.9",
        ),
        Misconception(
            "discount given only to unseen tokens",
            lambda count, total, n_types, lower: torch.where(
                count > 0,
                (count - 0.5) / total.clamp(min=1),
                torch.where(total > 0, 0.5 * n_types / total, 1.0) * lower,
            ),
            "You took something from the seen tokens and gave it, in proportion to lower, to the unseen ones. But "
            "lower sums to less than 1 over the unseen tokens alone, so part of it is lost.",
            "The simplest fix is to give to all tokens of the context, including the seen ones.",
            "1.9",
        ),
        Misconception(
            "discount not fully redistributed",
            lambda count, total, n_types, lower: torch.where(
                total > 0, ((count - 0.75).clamp(min=0) + 0.75 * lower) / total.clamp(min=1), lower
            ),
            "You subtracted the discount from every distinct token that was seen, but gave it to lower only once: "
            "the results sum to less than 1.",
            "From how many distinct tokens did you subtract it?",
            "1.9",
        ),
        Misconception(
            "a pair's result depends on the other pairs",
            lambda count, total, n_types, lower: interpolate(count, total, lower, (t := total.mean()) / (t + 1)),
            "The result for a pair changes with the other pairs of the call, for example because your weight comes "
            "from a sum, mean or maximum over all M. The pairs belong to different contexts.",
            "Use only the numbers of the pair itself.",
            "1.9",
            variants=(
                lambda count, total, n_types, lower: interpolate(count, total, lower, total / (total.max() + 1)),
                lambda count, total, n_types, lower: interpolate(count, total, lower, (t := total.max()) / (t + 1)),
            ),
        ),
        Misconception(
            "seen once is like never seen",
            lambda count, total, n_types, lower: discounted(count, total, n_types, lower, d=1),
            "You subtract a whole 1 from each count: a token seen once gets no more than one that was never seen.",
            "What remains of a count of 1?",
            "1.9",
        ),
        Misconception(
            "logarithms are mixed",
            lambda count, total, n_types, lower: torch.where(
                total > 0, (count / total.clamp(min=1)) ** (t := total / (total + 1)) * lower ** (1 - t), lower
            ),
            "You multiplied powers of the two, which mixes their logarithms. The results do not sum to 1, and a token "
            "whose count is 0 is impossible.",
            "Take a weighted mean of the probabilities themselves.",
            "1.9",
        ),
        Misconception(
            "1 / V for an unseen context",
            lambda count, total, n_types, lower: torch.where(
                total > 0, (count + lower) / (total + 1), torch.full_like(lower, 0.25)
            ),
            "You gave the tokens of an unseen context the same probability. The shorter context is better informed.",
            "What is p(w | c) if c was never seen?",
            "1.9",
            variants=(
                lambda count, total, n_types, lower: torch.where(total > 0, (count + lower) / (total + 1), 0.0),
            ),
        ),
        Misconception(
            "product of the two",
            lambda count, total, n_types, lower: torch.where(total > 0, count / total.clamp(min=1) * lower, lower),
            "You multiplied the two. The results do not sum to 1, and a token whose count is 0 stays impossible.",
            "Take a weighted mean of the two, with weights that sum to 1.",
            "1.9",
        ),
        Misconception(
            "maximum of the two",
            lambda count, total, n_types, lower: torch.maximum(count / total.clamp(min=1), lower),
            "You took the larger of the two for each token. The results sum to more than 1.",
            "Take a weighted mean of the two, with weights that sum to 1.",
            "1.9",
        ),
    ],
    accepted={
        "Witten-Bell smoothing": witten_bell,
        "absolute discounting": discounted,
        "loops, trust t / (t + 4)": mix_by_loops,
        "NumPy, trust by a square root": mix_by_numpy,
        "trust by an exponential": lambda count, total, n_types, lower: interpolate(
            count, total, lower, 1 - torch.exp(-total / 8)
        ),
    },
    hints=[
        "Take a mean of count / total and lower, with weights t and 1 - t. Let t grow with total, from 0 toward 1.",
        "For example, t = total / (total + β) with some β. Why does that do the right thing for total = 0 and for "
        "total = 1,000,000? Which β would you try, and should it be the same for every context?",
        "A context that was followed by many different tokens (n_types) will probably be followed by new ones again. "
        "Let β depend on n_types.",
    ],
)  # fmt: skip

EXERCISES = [
    bigram_table,
    perplexity,
    bits_per_byte,
    table_gradient,
    impossible,
    WrittenAnswer(
        "WHY_IMPOSSIBLE", "Why does one pair ruin everything, what does smoothing do, and what would be cheating?", 60,
        ["What is the mean of many small numbers and one infinity? Where does the probability that smoothing gives "
         "to new pairs come from?"],
        "1.5",
    ),
    mix,
    WrittenAnswer(
        "EXPERIMENT", "Which two designs did you try, what did you predict, what did you measure, and what do you "
                      "conclude?", 60,
        ["Vary one thing at a time. Where would you expect a gain: in short contexts or in long ones?"], "1.9",
    ),
]  # fmt: skip
