"""What is checked in lesson 10, and the known mistakes."""

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer
from llmasos import nn as library
from llmasos.evaluation import bleu_from_sums, bleu_statistics
from llmasos.objectives.seq2seq import smoothed_cross_entropy as sum_of_smoothed

IGNORE_INDEX = -100

READY_MADE = {
    "torch.nn.functional.scaled_dot_product_attention": "it is the ready-made attention; write the formula yourself",
    "torch.nn.functional.multi_head_attention_forward": "it is the ready-made attention; write the formula yourself",
    "torch.nn.MultiheadAttention": "it is the ready-made attention; write the formula yourself",
    "torch.nn.attention.flex_attention.flex_attention": "it is the ready-made attention; write the formula yourself",
}
READY_LOSSES = {
    "torch.nn.functional.cross_entropy": "it is the ready-made loss; write the formula with log_softmax",
    "torch.nn.functional.nll_loss": "it is the ready-made loss; pick out the right tokens' log-probabilities yourself",
    "torch.nn.CrossEntropyLoss": "it is the ready-made loss; write the formula with log_softmax",
    "torch.nn.NLLLoss": "it is the ready-made loss; pick out the right tokens' log-probabilities yourself",
}
READY_BLEU = {
    "sacrebleu": "it has the ready-made BLEU; write the formula yourself",
    "nltk": "it has the ready-made BLEU; write the formula yourself",
}


def random(*shape: int, seed: int = 0) -> Tensor:
    """Reproducible normal random numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tensor(rows: list) -> Tensor:
    """A small tensor of floating-point numbers."""
    return torch.tensor(rows, dtype=torch.float32)


# 1. shift_right


def shifted(targets: Tensor, first: Tensor | int, pad: int) -> Tensor:
    """One column further right, with `first` in front and `pad` where nothing stood."""
    front = torch.full_like(targets[:, :1], first) if isinstance(first, int) else first
    moved = torch.cat([front, targets[:, :-1]], dim=1)
    return moved.masked_fill(moved == IGNORE_INDEX, pad)


def padded(targets: Tensor, pad: int) -> Tensor:
    return targets.masked_fill(targets == IGNORE_INDEX, pad)


def shift_left(targets: Tensor, start: int, pad: int) -> Tensor:
    return padded(torch.cat([targets[:, 1:], torch.full_like(targets[:, :1], IGNORE_INDEX)], dim=1), pad)


def without_end(targets: Tensor, start: int, pad: int) -> Tensor:
    """The end token is taken out of the input, not the last column."""
    moved = shifted(targets, start, IGNORE_INDEX)
    ends = (moved != IGNORE_INDEX) & (
        torch.cat([moved[:, 1:], torch.full_like(moved[:, :1], IGNORE_INDEX)], 1) == IGNORE_INDEX
    )
    ends &= (targets == IGNORE_INDEX).any(dim=1, keepdim=True)  # a row without padding has lost its end already
    return padded(moved.masked_fill(ends, IGNORE_INDEX), pad)


def shift_by_loops(targets: Tensor, start: int, pad: int) -> list:
    rows = [[start] + [pad if token == IGNORE_INDEX else token for token in row[:-1]] for row in targets.tolist()]
    return torch.tensor(rows, device=targets.device)


def shift_by_roll(targets: Tensor, start: int, pad: int) -> Tensor:
    moved = targets.roll(1, dims=1)
    moved[:, 0] = start
    return torch.where(moved < 0, pad, moved)


def shift_by_index(targets: Tensor, start: int, pad: int) -> Tensor:
    moved = targets.new_full(targets.shape, start)
    moved[:, 1:] = torch.where(targets == IGNORE_INDEX, pad, targets)[:, :-1]
    return moved


BATCH = torch.tensor([[7, 8, 9, IGNORE_INDEX, IGNORE_INDEX], [5, 6, 7, 8, 9]])

shift_right = Exercise(
    name="shift_right",
    asks="Make what the decoder is given from what it must say: one place to the right, the start token in front.",
    reference=lambda targets, start, pad: shifted(targets, start, pad),
    section="10.4",
    cases=[
        Case("one full row", targets=torch.tensor([[5, 6, 9]]), start=1, pad=0),
        Case("a short and a full row", targets=BATCH, start=1, pad=0),
        Case("start and end are the same token", targets=torch.tensor([[5, 6, 9, IGNORE_INDEX]]), start=9, pad=0),
        Case("the end token alone", targets=torch.tensor([[9], [9]]), start=1, pad=0),
        Case("another padding token", targets=torch.tensor([[7, 9, IGNORE_INDEX], [3, 4, 9]]), start=2, pad=11),
    ],
    misconceptions=[
        Misconception(
            "nothing is shifted",
            lambda targets, start, pad: padded(targets, pad),
            "The decoder is given at each position the very token that it must say there. It learns to copy its "
            "input, reaches a loss of nearly 0, and cannot translate a word.",
            "At position t the decoder may know the tokens before t.",
            "10.4",
        ),
        Misconception(
            "shifted to the left",
            shift_left,
            "You moved the targets to the left: at each position the decoder is given the token after the one it must "
            "say, which it will not have when it translates.",
            "Does the decoder, at position t, know token t - 1 or token t + 1?",
            "10.4",
        ),
        Misconception(
            "the first word is lost",
            lambda targets, start, pad: padded(
                torch.cat([torch.full_like(targets[:, :1], start), targets[:, 1:]], 1), pad
            ),
            "You wrote the start token over the first word. Nothing has moved: from position 1 on, the decoder is "
            "given the token that it must say.",
            "The start token comes in front of the first word, not in its place.",
            "10.4",
        ),
        Misconception(
            "the end comes round to the front",
            lambda targets, start, pad: padded(targets.roll(1, dims=1), pad),
            "You rolled the rows: what falls out at the right comes in again at the left. A full row begins with its "
            "end token by accident, a short one with padding, and none with the start token.",
            "What has to stand in the first column of every row?",
            "10.4",
        ),
        Misconception(
            "one column too many",
            lambda targets, start, pad: padded(torch.cat([torch.full_like(targets[:, :1], start), targets], 1), pad),
            "You put the start token in front and dropped nothing. The input is T + 1 long, and has no partner for "
            "its last column.",
            "The last column of the targets is never anybody's past.",
            "10.4",
        ),
        Misconception(
            "the mark for nothing is handed to the model",
            lambda targets, start, pad: torch.cat([torch.full_like(targets[:, :1], start), targets[:, :-1]], 1),
            "You left -100 in the input. It is a mark for the loss and no token: an embedding has no row -100.",
            "Which token may stand there instead?",
            "10.4",
        ),
        Misconception(
            "padded with the start token",
            lambda targets, start, pad: shifted(targets, start, start),
            "You put the start token where -100 stood. Padding has a token of its own, which `pad` names.",
            "Which of the three arguments have you not used?",
            "10.4",
        ),
        Misconception(
            "the rows are shifted, not the positions",
            lambda targets, start, pad: padded(torch.cat([torch.full_like(targets[:1], start), targets[:-1]]), pad),
            "You shifted along dimension 0: every sentence is given the sentence before it in the batch.",
            "targets is (B, T). Along which dimension does time run?",
            "10.4",
        ),
        Misconception(
            "the end token is taken out",
            without_end,
            "You took the end token out of the input of short rows. It does no harm, but it is not what was asked "
            "for: the whole row moves by one place, and only what falls out at the right is lost.",
            "No row needs to be looked at by itself.",
            "10.4",
        ),
        Misconception(
            "padding in front",
            lambda targets, start, pad: shifted(targets, pad, pad),
            "Your rows begin with the padding token. The decoder begins to write with the start token, and has to "
            "have met it there in training.",
            "What is `start` for?",
            "10.4",
        ),
    ],
    accepted={"loops over lists": shift_by_loops, "roll and overwrite": shift_by_roll, "written into": shift_by_index},
    hints=[
        "Write the row 5 6 9 and below it, place by place, what the decoder has written before it says each of them.",
        "All columns but the last are `targets[:, :-1]`. Which single column goes in front of them?",
        "`torch.cat` of a column full of `start` and of `targets[:, :-1]`; then `masked_fill` where it is "
        "IGNORE_INDEX.",
    ],
)


# 2. clipped_matches


def grams(words: list[str], n: int) -> Counter:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def most(references: list[list[str]], n: int) -> Counter:
    """For each n-gram how often it occurs in the reference that has it most often."""
    allowed: Counter = Counter()
    for reference in references:
        allowed |= grams(reference, n)
    return allowed


def matches_of(hypothesis: list[str], references: list[list[str]], n: int) -> tuple[int, int]:
    found = grams(hypothesis, n)
    return (found & most(references, n)).total(), found.total()


def unclipped(hypothesis, references, n):
    known = most(references, n)
    return sum(c for gram, c in grams(hypothesis, n).items() if gram in known), grams(hypothesis, n).total()


def clipped_by_all(hypothesis, references, n):
    found, allowed = grams(hypothesis, n), sum((grams(r, n) for r in references), Counter())
    return (found & allowed).total(), found.total()


def clipped_by_every(hypothesis, references, n):
    found = grams(hypothesis, n)
    allowed = found
    for reference in references:
        allowed = allowed & grams(reference, n)
    return allowed.total(), found.total()


def best_reference(hypothesis, references, n):
    found = grams(hypothesis, n)
    return max((found & grams(r, n)).total() for r in references), found.total()


def different_ones(hypothesis, references, n):
    found = grams(hypothesis, n)
    return len(set(found) & set(most(references, n))), found.total()


def different_of_different(hypothesis, references, n):
    found = grams(hypothesis, n)
    return len(set(found) & set(most(references, n))), len(found)


def recall(hypothesis, references, n):
    return matches_of(hypothesis, references, n)[0], grams(references[0], n).total()


def recall_of_longest(hypothesis, references, n):
    return matches_of(hypothesis, references, n)[0], max(grams(r, n).total() for r in references)


def bags(hypothesis, references, n):
    def unordered(words):
        return Counter(tuple(sorted(words[i : i + n])) for i in range(len(words) - n + 1))

    allowed: Counter = Counter()
    for reference in references:
        allowed |= unordered(reference)
    found = unordered(hypothesis)
    return (found & allowed).total(), found.total()


def pieces(hypothesis, references, n):
    def cut(words):
        return Counter(tuple(words[i : i + n]) for i in range(0, len(words) - n + 1, n))

    allowed: Counter = Counter()
    for reference in references:
        allowed |= cut(reference)
    return (cut(hypothesis) & allowed).total(), cut(hypothesis).total()


def one_missing(hypothesis, references, n):
    def short(words):
        return Counter(tuple(words[i : i + n]) for i in range(len(words) - n))

    allowed: Counter = Counter()
    for reference in references:
        allowed |= short(reference)
    return (short(hypothesis) & allowed).total(), short(hypothesis).total()


def total_of_different(hypothesis, references, n):
    return matches_of(hypothesis, references, n)[0], len(grams(hypothesis, n))


def with_ends(hypothesis, references, n):
    """Begins an n-gram at every word, so that slices shorter than n are counted at the end."""

    def cut(words):
        return Counter(tuple(words[i : i + n]) for i in range(len(words)))

    allowed: Counter = Counter()
    for reference in references:
        allowed |= cut(reference)
    return (cut(hypothesis) & allowed).total(), cut(hypothesis).total()


def glued(hypothesis, references, n):
    """N-grams as strings with nothing between the words."""

    def cut(words):
        return Counter("".join(words[i : i + n]) for i in range(len(words) - n + 1))

    allowed: Counter = Counter()
    for reference in references:
        allowed |= cut(reference)
    return (cut(hypothesis) & allowed).total(), cut(hypothesis).total()


def shorter_ones_too(hypothesis, references, n):
    both = [matches_of(hypothesis, references, k) for k in range(1, n + 1)]
    return sum(m for m, _ in both), sum(t for _, t in both)


def crossing_off(hypothesis, references, n):
    """Each n-gram of the hypothesis crosses off one in every reference that still has it."""
    left = [[reference[i : i + n] for i in range(len(reference) - n + 1)] for reference in references]
    matches = total = 0
    for i in range(len(hypothesis) - n + 1):
        gram, total, hit = hypothesis[i : i + n], total + 1, False
        for stock in left:
            if gram in stock:
                stock.remove(gram)
                hit = True
        matches += hit
    return matches, total


def by_strings(hypothesis, references, n):
    def strings(words):
        return [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]

    mine = strings(hypothesis)
    return [sum(min(mine.count(g), max(strings(r).count(g) for r in references)) for g in set(mine)), len(mine)]


THE = {"hypothesis": "the the cat".split(), "references": ["the cat sat".split()]}
TWO = {
    "hypothesis": "a b a b c a".split(),
    "references": ["a b c d".split(), "b c a a e f g".split()],
}

clipped_matches = Exercise(
    name="clipped_matches",
    asks="Count the n-grams of a translation that are in its references, each at most as often as in one of them.",
    reference=lambda hypothesis, references, n: matches_of(hypothesis, references, n),
    section="10.9",
    cases=[
        Case("words", **THE, n=1),
        Case("pairs of words", **THE, n=2),
        Case("one word again and again", hypothesis=["the"] * 7, references=["the cat is on the mat".split()], n=1),
        Case("the same words in another order", hypothesis="c b a".split(), references=["a b c".split()], n=2),
        Case("two references, words", **TWO, n=1),
        Case("two references, pairs", **TWO, n=2),
        Case("what one reference lacks", hypothesis="x y".split(), references=["x a".split(), "y b c".split()], n=1),
        Case("nothing matches", hypothesis="x y z".split(), references=["a b".split()], n=2),
        Case("fewer words than n", hypothesis=["a"], references=["a b c d e".split()], n=4),
        Case("no words", hypothesis=[], references=["a b".split()], n=3),
        Case("four in a row", hypothesis="a b c d e a b c d".split(), references=["x a b c d".split()], n=4),
        Case("the same letters, other words", hypothesis="a bc d".split(), references=["ab c d".split()], n=2),
    ],
    misconceptions=[
        Misconception(
            "not clipped",
            unclipped,
            'You counted every n-gram that stands in a reference, however often. So "the the the" is a perfect '
            'translation of anything in which "the" occurs.',
            "How many of the seven can the reference account for?",
            "10.9",
        ),
        Misconception(
            "clipped by all references together",
            clipped_by_all,
            "You added up the counts of the references. With three references a word could be said three times.",
            "The largest count in any single reference: `|` of Counters, not `+`.",
            "10.9",
        ),
        Misconception(
            "the total counts each n-gram once",
            total_of_different,
            "Your matches are right, but an n-gram that occurs three times adds one to your total. It adds three.",
            "The number of *different* n-grams is the length of a Counter. How many are there altogether?",
            "10.9",
        ),
        Misconception(
            "short ends are counted",
            with_ends,
            "You began an n-gram at every word. Near the end fewer than n words are left, and a slice such as "
            "`words[i : i + n]` then is shorter, without an error.",
            "At how many places can a run of n words begin in a sentence of N?",
            "10.9",
        ),
        Misconception(
            "the words run together",
            glued,
            'You compare strings in which nothing stands between the words, so "a bc" and "ab c" are the same.',
            "A tuple of words keeps them apart.",
            "10.9",
        ),
        Misconception(
            "it must be in every reference",
            clipped_by_every,
            "You allowed an n-gram only as often as *all* references have it. References are alternatives: that one "
            "of them has it is enough.",
            "The largest count, or the smallest?",
            "10.9",
        ),
        Misconception(
            "compared with the one best reference",
            best_reference,
            "You counted the matches with each reference and took the best. The maximum is taken for each n-gram by "
            "itself: one may be in the first reference, the next in the second.",
            "First the allowed count of every n-gram, then the matches.",
            "10.9",
        ),
        Misconception(
            "only the first reference counts",
            lambda hypothesis, references, n: matches_of(hypothesis, references[:1], n),
            "You looked at one reference only.",
            "`references` is a list of translations.",
            "10.9",
        ),
        Misconception(
            "every n-gram counts once",
            different_ones,
            "You counted *different* n-grams. A word that stands twice in both texts is two matches.",
            "A set forgets how often; a Counter does not.",
            "10.9",
            variants=(different_of_different,),
        ),
        Misconception(
            "divided by the reference",
            recall,
            "Your total is that of a reference. That is recall: how much of the reference was found. Precision asks "
            "how much of the hypothesis is right.",
            "Whose n-grams are to be counted?",
            "10.9",
            variants=(recall_of_longest,),
        ),
        Misconception(
            "order does not matter",
            bags,
            "You compared the n words as a set. An n-gram is a run of words in their order; that is all that BLEU "
            "knows of grammar.",
            "Is (b, a) the same as (a, b)?",
            "10.9",
        ),
        Misconception(
            "n-grams that do not overlap",
            pieces,
            "You cut the text into pieces of n words. n-grams overlap: one begins at every word that has n - 1 more "
            "after it.",
            "How many pairs of neighbors do three words have?",
            "10.9",
        ),
        Misconception(
            "the last n-gram is missing",
            one_missing,
            "You are off by one: m words have m - n + 1 n-grams.",
            "How many words do three words have, and which `range` gives that many?",
            "10.9",
        ),
        Misconception(
            "the total is the number of words",
            lambda hypothesis, references, n: (matches_of(hypothesis, references, n)[0], len(hypothesis)),
            "Your total is the number of words. That is right for n = 1 only.",
            "How many pairs of neighbors do three words have?",
            "10.9",
        ),
        Misconception(
            "fewer than none",
            lambda hypothesis, references, n: (matches_of(hypothesis, references, n)[0], len(hypothesis) - n + 1),
            "A text that is shorter than n has no n-grams; by your formula it has fewer than none, which later takes "
            "something away from the other sentences.",
            "What is m - n + 1 for m = 1 and n = 4?",
            "10.9",
        ),
        Misconception(
            "shorter n-grams are counted too",
            shorter_ones_too,
            "You added up all orders from 1 to n. Each order has a precision of its own.",
            "Only runs of exactly n words.",
            "10.9",
        ),
    ],
    accepted={
        "crossed off in copies": crossing_off,
        "strings and list.count": by_strings,
        "zip and Counters": lambda hypothesis, references, n: (
            (
                (c := Counter(zip(*(hypothesis[i:] for i in range(n)), strict=False)))
                & Counter(
                    {
                        g: max(list(zip(*(r[i:] for i in range(n)), strict=False)).count(g) for r in references)
                        for g in c
                    }
                )
            ).total(),
            max(0, len(hypothesis) - n + 1),
        ),
    },
    forbidden=READY_BLEU,
    hints=[
        "Make a list of the n-grams of a text first: tuples of n words, one for each place where n words begin.",
        "`Counter(list)` counts them. For two Counters a and b, `a | b` takes the larger count of each, `a & b` the "
        "smaller.",
        "allowed = the `|` of all references' Counters; matches = (hypothesis & allowed).total(); total = the "
        "hypothesis's .total().",
    ],
)


# 3. smoothed_cross_entropy


def smoothed(logits, targets, smoothing, right=None, others=None, logp=None):
    """The mean loss with any weights: `right` for the right token alone, `others` for the sum over all tokens."""
    logp = logits.log_softmax(-1) if logp is None else logp
    attention_mask, V = targets != IGNORE_INDEX, logits.size(-1)
    nll = -logp.gather(-1, targets.clamp(min=0)[..., None])[..., 0]  # (B, T)
    right = 1 - smoothing if right is None else right
    others = smoothing / V if others is None else others
    return ((right * nll - others * logp.sum(-1)) * attention_mask).sum() / attention_mask.sum()


def through_the_library(logits, targets, smoothing):
    attention_mask = targets != IGNORE_INDEX
    return sum_of_smoothed(logits[attention_mask], targets[attention_mask], smoothing) / attention_mask.sum()


def padding_in_the_number(logits, targets, smoothing):
    return smoothed(logits, targets, smoothing) * (targets != IGNORE_INDEX).sum() / targets.numel()


def padding_smoothed(logits, targets, smoothing, number=None):
    attention_mask, logp = targets != IGNORE_INDEX, logits.log_softmax(-1)
    nll = -(logp.gather(-1, targets.clamp(min=0)[..., None])[..., 0] * attention_mask).sum()
    uniform = -logp.mean(-1).sum()  # of all positions
    return ((1 - smoothing) * nll + smoothing * uniform) / (attention_mask.sum() if number is None else number)


def padding_smoothed_apart(logits, targets, smoothing):
    attention_mask, logp = targets != IGNORE_INDEX, logits.log_softmax(-1)
    nll = -(logp.gather(-1, targets.clamp(min=0)[..., None])[..., 0] * attention_mask).sum() / attention_mask.sum()
    return (1 - smoothing) * nll - smoothing * logp.mean()


def padding_is_a_token(logits, targets, smoothing):
    return smoothed(logits, targets.clamp(min=0), smoothing)


def by_sentences(logits, targets, smoothing):
    rows = zip(logits, targets, strict=True)
    return torch.stack([smoothed(a[None], b[None], smoothing) for a, b in rows if (b != IGNORE_INDEX).any()]).mean()


def smoothed_probabilities(logits, targets, smoothing):
    p = (1 - smoothing) * logits.softmax(-1) + smoothing / logits.size(-1)
    return smoothed(logits, targets, 0.0, logp=p.log())


def written_out(logits, targets, smoothing):
    """The distribution q itself, token by token."""
    V = logits.size(-1)
    kept = targets.flatten() != IGNORE_INDEX
    q = torch.full((int(kept.sum()), V), smoothing / V, dtype=torch.float64)
    q[torch.arange(len(q)), targets.flatten()[kept]] += 1 - smoothing
    return -(q * torch.log_softmax(logits.flatten(0, 1)[kept].double(), dim=-1)).sum(dim=1).mean()


def smoothing_by_loops(logits, targets, smoothing):
    losses = []
    for row, wanted in zip(logits, targets.tolist(), strict=True):
        for scores, token in zip(row, wanted, strict=True):
            if token != IGNORE_INDEX:
                logp = scores - torch.logsumexp(scores, 0)
                losses.append(-(1 - smoothing) * logp[token] - smoothing * sum(logp) / len(logp))
    return sum(losses) / len(losses)


def by_divergence(logits, targets, smoothing):
    """Entropy and Kullback–Leibler divergence add up to the cross-entropy."""
    attention_mask, V = targets != IGNORE_INDEX, logits.size(-1)
    q = torch.nn.functional.one_hot(targets[attention_mask], V) * (1 - smoothing) + smoothing / V
    terms = q * q.clamp(min=1e-30).log() - q * logits[attention_mask].log_softmax(-1)
    return (terms.sum(-1) - (q * q.clamp(min=1e-30).log()).sum(-1)).mean()


HALVES = tensor([[[0.5, 0.25, 0.125, 0.125]]]).log()
SENTENCES = {
    "logits": 2 * random(2, 3, 5, seed=1),
    "targets": torch.tensor([[4, 0, 2], [3, IGNORE_INDEX, IGNORE_INDEX]]),
}

smoothed_cross_entropy = Exercise(
    name="smoothed_cross_entropy",
    asks="The mean cross-entropy against targets that give ε / V to every token and 1 - ε more to the right one.",
    reference=through_the_library,
    section="10.5",
    gradients=True,
    cases=[
        Case("one position, p = 1/2 1/4 1/8 1/8", logits=HALVES, targets=torch.tensor([[0]]), smoothing=0.4),
        Case("another right token", logits=HALVES, targets=torch.tensor([[2]]), smoothing=0.4),
        Case("no smoothing", logits=HALVES, targets=torch.tensor([[1]]), smoothing=0.0),
        Case(
            "a second position that does not count",
            logits=torch.cat([HALVES, HALVES.flip(-1)], 1),
            targets=torch.tensor([[0, IGNORE_INDEX]]),
            smoothing=0.4,
        ),
        Case("two sentences of unequal length", **SENTENCES, smoothing=0.1),
        Case("two sentences of unequal length, not smoothed", **SENTENCES, smoothing=0.0),
        Case("random numbers", logits=random(2, 4, 7, seed=2), targets=torch.arange(8).view(2, 4) % 7, smoothing=0.3),
        Case(
            "a token that is all but impossible",
            logits=tensor([[[200.0, 0.0, 0.0], [0.0, 0.0, 200.0]]]),
            targets=torch.tensor([[0, 0]]),
            smoothing=0.3,
        ),
    ],
    misconceptions=[
        Misconception(
            "ε goes to the wrong tokens only",
            lambda logits, targets, e: smoothed(
                logits, targets, e, 1 - e - e / (logits.size(-1) - 1), e / (logits.size(-1) - 1)
            ),
            "You spread ε over the V - 1 wrong tokens. That is another way to smooth; here, as in the papers, every "
            "token gets ε / V, the right one too, so that it has 1 - ε + ε / V.",
            "How many tokens share ε?",
            "10.5",
        ),
        Misconception(
            "the right token gets no share of ε",
            lambda logits, targets, e: smoothed(logits, targets, e, 1 - e - e / logits.size(-1), e / logits.size(-1)),
            "Your right token has 1 - ε and each of the others ε / V. That does not sum to 1: it is no distribution.",
            "Add up what your V tokens have.",
            "10.5",
        ),
        Misconception(
            "the sum over the vocabulary, not the mean",
            lambda logits, targets, e: smoothed(logits, targets, e, 1 - e, e),
            "You gave ε to every token. Together that is ε·V, and the loss is nearly all smoothing.",
            "ε is to be shared.",
            "10.5",
        ),
        Misconception(
            "ε and 1 - ε swapped",
            lambda logits, targets, e: smoothed(logits, targets, e, e, (1 - e) / logits.size(-1)),
            "You gave ε to the right token and 1 - ε to all of them. The model learns that everything is about equally "
            "likely.",
            "What should the loss be for ε = 0?",
            "10.5",
        ),
        Misconception(
            "not smoothed",
            lambda logits, targets, e: smoothed(logits, targets, 0.0),
            "You computed the plain cross-entropy.",
            "Where does `smoothing` appear in your code?",
            "10.5",
        ),
        Misconception(
            "the fraction of the others is missing",
            lambda logits, targets, e: smoothed(logits, targets, e, 1 - e, 0.0),
            "You multiplied the plain loss by 1 - ε and stopped. That is a smaller learning rate, not smoothing.",
            "What do the V tokens that get ε / V add to the sum?",
            "10.5",
        ),
        Misconception(
            "the logits are smoothed",
            lambda logits, targets, e: smoothed((1 - e) * logits + e / logits.size(-1), targets, 0.0),
            "You smoothed the logits. A softmax of smaller logits is flatter, so the model will only make them larger. "
            "It is the *targets* that are smoothed.",
            "The model's p stays as it is. What it is compared with changes.",
            "10.5",
        ),
        Misconception(
            "the model's probabilities are smoothed",
            smoothed_probabilities,
            "You mixed p with the uniform distribution. Then no p can be very small, and being sure of something wrong "
            "costs little: the opposite of what was wanted.",
            "In -Σ q ln p, which of the two is smoothed?",
            "10.5",
        ),
        Misconception(
            "padding counts in the number",
            padding_in_the_number,
            "You divided by all positions, padding included. So a batch with more padding has a smaller loss.",
            "By how many tokens is the sum to be divided?",
            "10.5",
        ),
        Misconception(
            "padding is smoothed",
            padding_smoothed,
            "You left padding out of the right tokens' part, but not out of the mean over the vocabulary: the model "
            "learns to be unsure of positions that do not exist.",
            "Both parts of the loss need the mask.",
            "10.5",
            variants=(
                padding_smoothed_apart,
                lambda logits, targets, e: padding_smoothed(logits, targets, e, targets.numel()),
            ),
        ),
        Misconception(
            "padding is learned as a token",
            padding_is_a_token,
            "You made token 0 of -100 and let it count: the model learns to say token 0 after every sentence.",
            "Clamping makes an index that `gather` accepts. It does not make the position count for nothing.",
            "10.5",
            variants=(
                lambda logits, targets, e: smoothed(
                    logits, targets.masked_fill(targets == IGNORE_INDEX, logits.size(-1) - 1), e
                ),
            ),
        ),
        Misconception(
            "every sentence counts the same",
            by_sentences,
            "You took the mean over each sentence, and then over the sentences. So a token of a short sentence counts "
            "more than one of a long sentence.",
            "One sum over everything, one number to divide by.",
            "10.5",
        ),
        Misconception(
            "a sum, not a mean",
            lambda logits, targets, e: smoothed(logits, targets, e) * (targets != IGNORE_INDEX).sum(),
            "You added up the losses and did not divide: a larger batch has a larger loss and takes larger steps.",
            "By how many tokens is the sum to be divided?",
            "10.5",
        ),
        Misconception(
            "the logarithm of a softmax",
            lambda logits, targets, e: smoothed(logits, targets, e, logp=logits.softmax(-1).log()),
            "You took `softmax` and then `log`. A probability below 1e-45 or so becomes 0, its logarithm -∞, and the "
            "loss infinite or NaN.",
            "`log_softmax` does both at once and never rounds to 0.",
            "10.5",
        ),
        Misconception(
            "the wrong sign",
            lambda logits, targets, e: -smoothed(logits, targets, e),
            "Your loss is negative. Log-probabilities are; the loss is minus their mean.",
            "Is a loss that falls to -∞ one that you want to minimize?",
            "10.5",
        ),
    ],
    accepted={
        "the whole distribution, float64": written_out,
        "loops": smoothing_by_loops,
        "entropy plus divergence": by_divergence,
        "a masked mean": lambda logits, targets, e: (
            lambda logp, attention_mask: (
                (1 - e) * -logp.gather(2, targets.masked_fill(~attention_mask, 0).unsqueeze(2)).squeeze(2)
                + e * -logp.mean(2)
            )[attention_mask].mean()
        )(torch.log_softmax(logits, 2), targets != IGNORE_INDEX),
    },
    forbidden=READY_LOSSES,
    hints=[
        "Split the sum -Σ q ln p in two: what the right token has on top, and what everybody has.",
        "The loss of a position is (1 - ε) · -ln p(right) + ε · (mean over the vocabulary of -ln p).",
        "logp = log_softmax; keep only the rows where targets != IGNORE_INDEX; gather the right ones; mean over the "
        "vocabulary; put the two together; mean over what is left.",
    ],
)


# 4. cross_attention


def by_the_library(x, memory, w_q, w_k, w_v, w_o, n_heads, attention_mask):
    """The library's own module with these weights."""
    module = library.MultiHeadAttention(x.size(-1), n_heads, bias=False, fused=False)
    weights = {"q_proj.weight": w_q, "k_proj.weight": w_k, "v_proj.weight": w_v, "out_proj.weight": w_o}
    return torch.func.functional_call(module, weights, (x, memory), {"mask": library.padding_mask(attention_mask)})


def heads(x, n):
    return x.view(*x.shape[:2], n, -1).transpose(1, 2)


def merged(x):
    return x.transpose(1, 2).flatten(2)


def keys_hidden(attention_mask, T):
    return attention_mask[:, None, None, :]


LOWEST = torch.finfo(torch.float32).min


def across(
    x, memory, w_q, w_k, w_v, w_o, n, attention_mask, q_of="x", k_of="memory", v_of="memory", mask=keys_hidden,
    hide=LOWEST, scale=None, split=heads, merge=merged, project=lambda x, w: x @ w.T, dim=-1, after=None,
):  # fmt: skip
    """Cross-attention with every detail open to being wrong."""
    sides = {"x": x, "memory": memory}
    q, k, v = (split(project(sides[s], w), n) for s, w in ((q_of, w_q), (k_of, w_k), (v_of, w_v)))
    scores = q @ k.mT * (1 / math.sqrt(q.size(-1)) if scale is None else scale)
    if mask is not None:
        scores = scores.masked_fill(~mask(attention_mask, q.size(2)), hide)
    weights = scores.softmax(dim)
    if after is not None:
        weights = weights * after(attention_mask)
    out = merge(weights @ v)
    return out if w_o is None else project(out, w_o)


def with_wrong(**details):
    return lambda *arguments: across(*arguments, **details)


def hidden_both_ways(**details):
    """The same, hidden by a huge negative number, and by -inf."""
    return with_wrong(**details), with_wrong(**details, hide=-math.inf)


def causal_too(shift):
    def mask(attention_mask, T):
        lower = torch.ones(T, attention_mask.size(1), dtype=torch.bool).tril(attention_mask.size(1) - T if shift else 0)
        return lower & attention_mask[:, None, None, :]

    return mask


def at_the_end(attention_mask, T):
    return (torch.arange(attention_mask.size(1)) < attention_mask.sum(1, keepdim=True))[:, None, None, :]


def zeroed_padding(x, memory, w_q, w_k, w_v, w_o, n, attention_mask):
    return across(x, memory * attention_mask[..., None], w_q, w_k, w_v, w_o, n, attention_mask, mask=None)


def both_texts(x, memory, w_q, w_k, w_v, w_o, n, attention_mask):
    together = torch.cat([memory, x], dim=1)
    seen = torch.cat([attention_mask, torch.ones(x.shape[:2], dtype=torch.bool)], dim=1)
    return across(x, together, w_q, w_k, w_v, w_o, n, seen)


def source_by_source(x, memory, w_q, w_k, w_v, w_o, n, attention_mask):
    """Cut the padding off each source, and do one sentence and one head at a time."""
    D, rows = x.size(-1) // n, []
    for target, source, kept in zip(x, memory, attention_mask, strict=True):
        source, out = source[kept], 0
        for h in range(n):
            run = slice(h * D, (h + 1) * D)
            scores = (target @ w_q[run].T) @ (source @ w_k[run].T).T / D**0.5
            out = out + scores.softmax(-1) @ (source @ w_v[run].T) @ w_o[:, run].T
        rows.append(out)
    return torch.stack(rows)


def across_by_einsum(x, memory, w_q, w_k, w_v, w_o, n, attention_mask):
    x, memory = x.double(), memory.double()
    q, k, v = (
        torch.einsum("bsc,hdc->hbsd", y, w.double().view(n, -1, x.size(-1)))
        for y, w in ((x, w_q), (memory, w_k), (memory, w_v))
    )
    exponentials = (
        torch.exp(torch.einsum("hbtd,hbsd->hbst", q, k) / q.size(-1) ** 0.5) * attention_mask[None, :, :, None]
    )
    weights = exponentials / exponentials.sum(dim=2, keepdim=True)
    return torch.einsum("hbst,hbsd->bthd", weights, v).flatten(2) @ w_o.double().T


EYE = torch.eye(4)
SWAP = tensor([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]])
LOW = tensor([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 2, 1]])
PLAIN = {"w_q": EYE, "w_k": EYE, "w_v": EYE, "w_o": EYE, "n_heads": 2}
SOURCE = tensor([[[2, 0, 0, 1], [0, 1, 3, 0], [1, 1, 0, 2]]])
WIDE = {n: random(6, 6, seed=i) for i, n in enumerate(("w_q", "w_k", "w_v", "w_o"))}
SQUARE = {n: random(4, 4, seed=10 + i) for i, n in enumerate(("w_q", "w_k", "w_v", "w_o"))}


def yes_no(*rows: str) -> Tensor:
    """Booleans from "110"."""
    return torch.tensor([[c == "1" for c in row] for row in rows])


cross_attention = Exercise(
    name="cross_attention",
    asks="Attention with several heads: queries from the target, keys and values from the source, padding hidden.",
    reference=by_the_library,
    section="10.3",
    gradients=True,
    cases=[
        Case(
            "one query, two source positions, weights that change nothing",
            x=tensor([[[2, 0, 0, 1]]]), memory=SOURCE[:, :2], **PLAIN, attention_mask=yes_no("11"),
        ),
        Case(
            "the second of two source positions is padding",
            x=tensor([[[2, 0, 0, 1]]]), memory=SOURCE[:, :2], **PLAIN, attention_mask=yes_no("10"),
        ),
        Case(
            "two queries, three source positions",
            x=tensor([[[2, 0, 1, 0], [0, 2, 0, 3]]]), memory=SOURCE,
            **{**PLAIN, "w_q": LOW, "w_k": SWAP, "w_v": LOW, "w_o": SWAP + LOW}, attention_mask=yes_no("111"),
        ),
        Case("as many as source positions", x=random(1, 3, 4, seed=20), memory=random(1, 3, 4, seed=21), **SQUARE,
             n_heads=2, attention_mask=yes_no("111")),
        Case("as many as source positions, one of them padding", x=random(1, 3, 4, seed=22),
             memory=random(1, 3, 4, seed=23), **SQUARE, n_heads=4, attention_mask=yes_no("110")),
        Case("padding in the middle", x=random(1, 2, 4, seed=24), memory=random(1, 4, 4, seed=25), **SQUARE,
             n_heads=1, attention_mask=yes_no("1011")),
        Case("two sentences, three heads", x=random(2, 4, 6, seed=26), memory=random(2, 5, 6, seed=27), **WIDE,
             n_heads=3, attention_mask=yes_no("11111", "11000")),
        Case("more queries than source positions", x=random(2, 5, 6, seed=28), memory=random(2, 3, 6, seed=29),
             **WIDE, n_heads=2, attention_mask=yes_no("110", "111")),
    ],
    misconceptions=[
        Misconception(
            "keys and values from the target",
            with_wrong(k_of="x", v_of="x"),
            "You let the target attend to itself. That is self-attention: not a word of the source can get across.",
            "Which of the two texts does `memory` stand for, and where is it in your code?",
            "10.3",
            variants=(with_wrong(k_of="x", v_of="x", mask=None), with_wrong(k_of="x", v_of="x", hide=-math.inf)),
        ),
        Misconception(
            "keys from the target",
            with_wrong(k_of="x"),
            "Your keys come from the target, your values from the source. Key s and value s must describe the same "
            "source position; if the two texts differ in length the product does not even exist.",
            "What is asked is in the target; where one looks, and what one brings home, is in the source.",
            "10.3",
            variants=(with_wrong(k_of="x", mask=None), with_wrong(k_of="x", hide=-math.inf)),
        ),
        Misconception(
            "values from the target",
            with_wrong(v_of="x"),
            "You look into the source and bring home the target. The values are what is handed over, and they come "
            "from the source.",
            "Key s and value s belong to the same source position.",
            "10.3",
        ),
        Misconception(
            "the source asks the target",
            with_wrong(q_of="memory", k_of="x", v_of="x", mask=None),
            "Your queries come from the source, and keys and values from the target. The result has a row for every "
            "source position, where the decoder needs one for every target position.",
            "Who asks? The one who writes.",
            "10.3",
            variants=hidden_both_ways(
                q_of="memory", k_of="x", v_of="x", mask=lambda attention_mask, T: attention_mask[:, None, :, None]
            ),
        ),
        Misconception(
            "the target is not asked",
            with_wrong(q_of="memory"),
            "You let the source attend to itself. That is what the encoder has already done.",
            "Where is `x` in your code?",
            "10.3",
        ),
        Misconception(
            "a causal mask over the source",
            with_wrong(mask=causal_too(False)),
            "You hid source positions that come later. The source is all there from the beginning, and the German "
            "verb at its end is needed early.",
            "What may nobody see: the future of the source, or that of the target?",
            "10.3",
            variants=(with_wrong(mask=causal_too(True)), *hidden_both_ways(mask=causal_too(True))),
        ),
        Misconception(
            "padding is attended to",
            with_wrong(mask=None),
            "You did not use `attention_mask`. The translation of a sentence would depend on how long the other "
            "sentences of its batch are.",
            "Which weight does a padding position get, and what must it be?",
            "10.3",
        ),
        Misconception(
            "everything but padding is hidden",
            with_wrong(mask=lambda attention_mask, T: ~attention_mask[:, None, None, :]),
            "You hid the real positions and left the padding. In this library True means: may attend.",
            "`masked_fill` fills where its mask is True. Which positions are to be filled?",
            "10.3",
            variants=hidden_both_ways(mask=lambda attention_mask, T: ~attention_mask[:, None, None, :]),
        ),
        Misconception(
            "the mask hides queries",
            with_wrong(mask=lambda attention_mask, T: attention_mask[:, None, :, None]),
            "You laid the mask along the queries, so that some target positions see nothing and all see the padding. "
            "It belongs to the keys.",
            "The scores are (B, H, T, S). `attention_mask` is (B, S): which dimensions of size 1 does it need?",
            "10.3",
            variants=hidden_both_ways(mask=lambda attention_mask, T: attention_mask[:, None, :, None]),
        ),
        Misconception(
            "padding is thought to be at the end",
            with_wrong(mask=at_the_end),
            "You counted the real positions and took that many from the front. `attention_mask` says which they are; "
            "they need not come first.",
            "Use `attention_mask` itself.",
            "10.3",
        ),
        Misconception(
            "padding loses its weight after the softmax",
            with_wrong(mask=None, after=lambda attention_mask: attention_mask[:, None, None, :]),
            "You set the weights of padding to 0 after the softmax. What is left no longer sums to 1.",
            "Hide the scores, before the softmax (section 3.5).",
            "10.3",
        ),
        Misconception(
            "padding gets the score 0",
            with_wrong(hide=0.0),
            "You set the scores of padding to 0, but exp(0) = 1 is an ordinary weight.",
            "Which score has the weight 0?",
            "10.3",
        ),
        Misconception(
            "padding is made zero and not hidden",
            zeroed_padding,
            "You set the vectors of padding to zero. Their scores are then 0, and they still take their fraction of "
            "the weight.",
            "What is exp(0)?",
            "10.3",
        ),
        Misconception(
            "source and target in one",
            both_texts,
            "You let the target attend to both texts at once. The decoder has its own self-attention before this.",
            "Keys come from `memory` alone.",
            "10.3",
        ),
        Misconception(
            "the softmax along the queries",
            with_wrong(dim=-2),
            "You let the softmax run over the target positions: they share each source position between them. It is "
            "each *query* that has one unit of attention to give away.",
            "The scores are (B, H, T, S); which dimension are the keys?",
            "10.3",
        ),
        Misconception(
            "scores are not scaled",
            with_wrong(scale=1.0),
            "You did not divide the scores by √D.",
            "See section 3.4.",
            "10.3",
        ),
        Misconception(
            "scaled by √C",
            lambda *a: across(*a, scale=1 / math.sqrt(a[0].size(-1))),
            "You divided the scores by √C, the root of the model's width. A head's queries have width D = C / H.",
            "How many terms does the sum of one score have, after the split?",
            "10.3",
        ),
        Misconception(
            "heads split by view alone",
            with_wrong(split=lambda x, n: x.reshape(x.size(0), n, x.size(1), -1),
                       merge=lambda x: x.reshape(x.size(0), x.size(2), -1)),
            "You went from (B, T, C) to (B, H, T, D) by `view`: a head gets whole positions, not its features of "
            "every position.",
            "View as (B, T, H, D) first; then swap T and H (section 3.6).",
            "10.3",
            variants=(with_wrong(split=lambda x, n: x.reshape(x.size(0), n, x.size(1), -1)),),
        ),
        Misconception(
            "heads merged by reshape alone",
            with_wrong(merge=lambda x: x.reshape(x.size(0), x.size(2), -1)),
            "You split the heads rightly, but went from (B, H, T, D) back to (B, T, C) by `reshape`: that mixes the "
            "positions of one head, instead of laying the heads of one position side by side.",
            "Swap H and T first, as you did when you split them.",
            "10.3",
        ),
        Misconception(
            "one head only",
            lambda x, memory, w_q, w_k, w_v, w_o, n, attention_mask: across(x, memory, w_q, w_k, w_v, w_o, 1,
            attention_mask), "You let all C features attend together: one head, whatever n_heads says.",
            "Where does n_heads appear in your code?",
            "10.3",
        ),
        Misconception(
            "no output projection",
            lambda x, memory, w_q, w_k, w_v, w_o, n, attention_mask: across(x, memory, w_q, w_k, w_v, None, n,
            attention_mask), "You stopped when the heads lay side by side.",
            "One product is missing.",
            "10.3",
        ),
        Misconception(
            "the weights are not transposed",
            with_wrong(project=lambda x, w: x @ w),
            "You computed x @ w. As in nn.Linear, the projection is x @ w.T.",
            "nn.Linear stores its weight as (out, in).",
            "10.3",
            variants=(
                lambda x, memory, w_q, w_k, w_v, w_o, n, attention_mask: across(x, memory, w_q, w_k, w_v, w_o.T, n,
                attention_mask),
            ),
        ),
        Misconception(
            "the residual is added",
            lambda x, *rest: x + across(x, *rest),
            "You added x to the result. The block around cross-attention does that; here it would be done twice.",
            "Read the last sentence of the task again.",
            "10.3",
        ),
    ],
    accepted={
        "one source at a time, padding cut off": source_by_source,
        "einsum, exponentials, float64": across_by_einsum,
        "-inf": with_wrong(hide=-math.inf),
        "an additive mask, chunks": lambda x, memory, w_q, w_k, w_v, w_o, n, attention_mask: torch.cat(
            [
                torch.softmax(q @ k.mT * q.size(-1) ** -0.5 + torch.where(attention_mask, 0.0, -1e9)[:, None, :], -1) @
                v for q, k, v in zip(
                    (x @ w_q.T).chunk(n, -1), (memory @ w_k.T).chunk(n, -1), (memory @ w_v.T).chunk(n, -1),
                    strict=True,
                )
            ], -1,
        ) @ w_o.T,
    },
    forbidden=READY_MADE,
    hints=[
        "Take your multi_head_attention of lesson 03. Which of its lines mention x, and which of them now need memory?",
        "q from x, k and v from memory: (B, H, T, D) and twice (B, H, S, D). The scores are (B, H, T, S). There is no "
        "causal mask.",
        "`scores.masked_fill(~attention_mask[:, None, None, :], -inf)`; softmax over the last dimension; product with "
        "v; heads side by side; @ w_o.T.",
    ],
)  # fmt: skip


# 5. bleu


def by_the_library_too(hypotheses, references):
    several = [[" ".join(words) for words in own] for own in references]
    statistics = bleu_statistics([" ".join(words) for words in hypotheses], several, tokenize="none")
    return float(bleu_from_sums(statistics.sum(axis=0, keepdims=True), smoothing="none")[0][0])


def nearest(hypothesis, references):
    return min((abs(len(r) - len(hypothesis)), len(r)) for r in references)[1]


def gentle(h, r):
    return 1.0 if h >= r else math.exp(1 - r / h)


def geometric(precisions):
    return math.prod(precisions) ** (1 / len(precisions))


def corpus(
    hypotheses, references, count=matches_of, length=nearest, penalty=gentle, mean=geometric, orders=(1, 2, 3, 4),
    scale=100.0,
):  # fmt: skip
    """Corpus BLEU with every detail open to being wrong."""
    precisions = []
    for n in orders:
        both = [count(h, r, n) for h, r in zip(hypotheses, references, strict=True)]
        matches, total = sum(m for m, _ in both), sum(t for _, t in both)
        precisions.append(matches / total if total else 0.0)
    h = sum(map(len, hypotheses))
    r = sum(length(own, several) for own, several in zip(hypotheses, references, strict=True))
    return scale * (penalty(h, r) if h else 0.0) * mean(precisions)


def bleu_with(**details):
    return lambda hypotheses, references: corpus(hypotheses, references, **details)


def mean_of_sentences(hypotheses, references):
    scores = [corpus([h], [r]) for h, r in zip(hypotheses, references, strict=True)]
    return sum(scores) / len(scores)


def mean_of_precisions(hypotheses, references):
    product = 1.0
    for n in (1, 2, 3, 4):
        both = [matches_of(h, r, n) for h, r in zip(hypotheses, references, strict=True)]
        product *= sum(m / t if t else 0.0 for m, t in both) / len(both)
    h, r = sum(map(len, hypotheses)), sum(nearest(a, b) for a, b in zip(hypotheses, references, strict=True))
    return 100 * (gentle(h, r) if h else 0.0) * product**0.25


def penalty_of_sentences(hypotheses, references):
    without = corpus(hypotheses, references, penalty=lambda h, r: 1.0)
    pairs = zip(hypotheses, references, strict=True)
    return without * sum(gentle(len(h), nearest(h, r)) if h else 0.0 for h, r in pairs) / len(hypotheses)


def left_out(precisions):
    kept = [p for p in precisions if p > 0]
    return geometric(kept) if kept else 0.0


def nearest_longer(hypothesis, references):
    return min((abs(len(r) - len(hypothesis)), -len(r), len(r)) for r in references)[2]


def bleu_by_logarithms(hypotheses, references):
    sums = np.zeros((2, 4))
    for h, several in zip(hypotheses, references, strict=True):
        for n in range(1, 5):
            sums[:, n - 1] += matches_of(h, several, n)
    if not sums.all():
        return 0.0
    h = sum(len(words) for words in hypotheses)
    r = sum(nearest(a, b) for a, b in zip(hypotheses, references, strict=True))
    return float(np.exp(np.log(sums[0] / sums[1]).mean() + min(0.0, 1 - r / h)) * 100)


def bleu_by_fractions(hypotheses, references):
    product, h, r = Fraction(1), 0, 0
    for n in (4, 3, 2, 1):
        matches = total = 0
        for words, several in zip(hypotheses, references, strict=True):
            hit, all_of_them = crossing_off(words, several, n)
            matches, total = matches + hit, total + all_of_them
        product *= Fraction(matches, total) if total else 0
    for words, several in zip(hypotheses, references, strict=True):
        h += len(words)
        r += sorted(map(len, several), key=lambda length: (abs(length - len(words)), length))[0]
    return torch.tensor(100 * float(product) ** 0.25 * (min(1.0, math.exp(1 - r / h)) if h else 0.0))


def words(*sentences: str) -> list[list[str]]:
    """Sentences as lists of words."""
    return [sentence.split() for sentence in sentences]


def ones(*sentences: str) -> list[list[list[str]]]:
    """For each sentence a list with one reference."""
    return [[sentence.split()] for sentence in sentences]


MAT = "the cat sat on the mat ."

bleu = Exercise(
    name="bleu",
    asks="Corpus BLEU: the geometric mean of the four clipped precisions, times the brevity penalty, times 100.",
    reference=by_the_library_too,
    section="10.9",
    rtol=1e-3,
    atol=1e-3,
    cases=[
        Case("one wrong word", hypotheses=words("the cat sat on a mat ."), references=ones("the cat sat on the mat .")),
        Case("all right", hypotheses=words(MAT), references=ones(MAT)),
        Case("too short", hypotheses=words("the cat sat on the"), references=ones(MAT)),
        Case("too long", hypotheses=words("yes , the cat sat on the mat . again"), references=ones(MAT)),
        Case("said twice", hypotheses=words("the cat sat on the cat sat on"), references=ones("so the cat sat on it")),
        Case(
            "two sentences, one of them without a match of four",
            hypotheses=words("Rosa sang all day long .", "the dog ran home"),
            references=ones("Rosa sang all day long .", "the dog went home again"),
        ),
        Case(
            "a sentence of three words, and one too long",
            hypotheses=words("Rosa sang .", "the old cat sat on the red mat today"),
            references=ones("Rosa sang .", "the old cat sat on the mat"),
        ),
        Case(
            "one too short, one too long",
            hypotheses=words("the cat sat on", "in the evening the children sang a song together"),
            references=ones("the cat sat on the mat .", "in the evening the children sang"),
        ),
        Case(
            "two references",
            hypotheses=words("the cat sat on the mat today ."),
            references=[words("a cat sat on the mat .", "today the cat was sitting on the mat today . so it seemed")],
        ),
        Case(
            "of two references the longer one is nearer",
            hypotheses=words("the cat sat on the mat today"),
            references=[words("the cat sat", "the cat sat on the mat all day")],
        ),
        Case(
            "two references that are equally near in length",
            hypotheses=words("Anna lost the key on her way"),
            references=[words("Anna had lost the key on her way", "Anna lost the key then .")],
        ),
        Case(
            "a word that two references have once each",
            hypotheses=words("they sang and sang and sang all day long"),
            references=[words("they sang and danced all day long .", "and all day long they sang and sang .")],
        ),
        Case("no four in a row", hypotheses=words("the cat sat mat"), references=ones("the cat sat on the mat")),
        Case("nothing at all", hypotheses=[[], []], references=ones("the cat", "the dog")),
    ],
    misconceptions=[
        Misconception(
            "no brevity penalty",
            bleu_with(penalty=lambda h, r: 1.0),
            "You left out the brevity penalty. A system that translates only the words it is sure of would win.",
            "What does a perfect beginning of a sentence score by your formula?",
            "10.9",
        ),
        Misconception(
            "the brevity penalty inverted",
            bleu_with(penalty=lambda h, r: 1.0 if h <= r else math.exp(1 - h / r)),
            "You punish what is too long. Superfluous words lower the precisions already; it is what is too *short* "
            "that needs a penalty.",
            "In 1 - r / h, which is which?",
            "10.9",
        ),
        Misconception(
            "long translations are rewarded",
            bleu_with(penalty=lambda h, r: math.exp(1 - r / h)),
            "You used exp(1 - r / h) in both cases. If h is larger than r it is above 1.",
            "The penalty is never more than 1.",
            "10.9",
        ),
        Misconception(
            "punished in both directions",
            bleu_with(penalty=lambda h, r: gentle(h, r) * gentle(r, h)),
            "You punish what is too long as well as what is too short. Superfluous words lower the precisions already.",
            "What is BP if h ≥ r?",
            "10.9",
        ),
        Misconception(
            "the penalty is h / r",
            bleu_with(penalty=lambda h, r: min(1.0, h / r)),
            "You took h / r as the penalty. It is exp(1 - r / h), which is more severe.",
            "Read the formula of BP again.",
            "10.9",
        ),
        Misconception(
            "the penalty of each sentence",
            penalty_of_sentences,
            "You computed the penalty for each sentence and took the mean. h and r are the lengths of the whole "
            "corpus: a sentence that is too long makes up for one that is too short.",
            "Sum first, then compare.",
            "10.9",
        ),
        Misconception(
            "the mean over sentences",
            mean_of_sentences,
            "You computed a BLEU for each sentence and took the mean. One sentence without a matching 4-gram then has "
            "0, however good it is. BLEU sums matches and totals over the corpus *before* it divides.",
            "How many divisions are there for a corpus of 1,000 sentences?",
            "10.9",
        ),
        Misconception(
            "the mean of the sentences' precisions",
            mean_of_precisions,
            "You computed precisions for each sentence and took their means. A sentence of three words counts as much "
            "as one of thirty, and has no 4-grams at all.",
            "Add up the matches, add up the totals, divide once for each order.",
            "10.9",
        ),
        Misconception(
            "the arithmetic mean",
            bleu_with(mean=lambda p: sum(p) / 4),
            "You took the arithmetic mean of the four precisions. Single words, which are easy, then hide that no "
            "four words are right in a row.",
            "A product and a fourth root, or the exponential of the mean of the logarithms.",
            "10.9",
        ),
        Misconception(
            "no fourth root",
            bleu_with(mean=math.prod),
            "You multiplied the four precisions and did not take the root.",
            "What is the mean of 1/2, 1/2, 1/2 and 1/2?",
            "10.9",
        ),
        Misconception(
            "only runs of four",
            bleu_with(orders=(4,)),
            "You used p₄ only. The mean is over all four orders.",
            "Where are single words, pairs and triples?",
            "10.9",
        ),
        Misconception(
            "only single words",
            bleu_with(orders=(1,)),
            "You used p₁ only. By that, any order of the words is as good as any other.",
            "Where are pairs, triples and runs of four?",
            "10.9",
        ),
        Misconception(
            "orders without a match are left out",
            bleu_with(mean=left_out),
            "You left out the orders without a match. So a text without any right run of four words can do better than "
            "one with some.",
            "What is a product with a factor 0?",
            "10.9",
        ),
        Misconception(
            "from 0 to 1",
            bleu_with(scale=1.0),
            "Your score runs from 0 to 1. BLEU is stated from 0 to 100.",
            "One factor is missing.",
            "10.9",
        ),
        Misconception(
            "not clipped",
            bleu_with(count=unclipped),
            "You counted every n-gram that is in a reference, however often it was said already.",
            "Check `clipped_matches` first.",
            "10.9",
        ),
        Misconception(
            "clipped by all references together",
            bleu_with(count=clipped_by_all),
            "You added up the counts of the references, so a word may be said once for each of them.",
            "The largest count in any single reference.",
            "10.9",
        ),
        Misconception(
            "only the first reference counts",
            lambda hypotheses, references: corpus(hypotheses, [several[:1] for several in references]),
            "You looked at the first reference of each sentence only.",
            "Each entry of `references` is a list of translations.",
            "10.9",
        ),
        Misconception(
            "the length of the shortest reference",
            bleu_with(length=lambda h, rs: min(map(len, rs))),
            "For r you took the shortest reference of each sentence. It is the one nearest in length.",
            "abs(len(reference) - len(hypothesis)), and the smallest of these.",
            "10.9",
        ),
        Misconception(
            "the length of the longest reference",
            bleu_with(length=lambda h, rs: max(map(len, rs))),
            "For r you took the longest reference of each sentence. It is the one nearest in length.",
            "abs(len(reference) - len(hypothesis)), and the smallest of these.",
            "10.9",
        ),
        Misconception(
            "the length of all references together",
            bleu_with(length=lambda h, rs: sum(map(len, rs))),
            "For r you added up all references of a sentence. Two references would make every translation look half "
            "as long as it should be.",
            "One length for each sentence.",
            "10.9",
        ),
        Misconception(
            "of two equally near references the longer one",
            bleu_with(length=nearest_longer),
            "Of two references that are equally near in length you took the longer one, or the first; the shorter one "
            "counts.",
            "What does `min` do with two equal keys? A key may be a tuple.",
            "10.9",
        ),
    ],
    accepted={
        "NumPy and logarithms": bleu_by_logarithms,
        "fractions": bleu_by_fractions,
        "one pass, dictionaries": lambda hypotheses, references: corpus(hypotheses, references, count=by_strings),
    },
    forbidden=READY_BLEU,
    hints=[
        "Four sums of matches and four of totals over all sentences come first; no division until they are complete.",
        "If one of the four sums of matches is 0, return 0.0. Else the fourth root of the product of four fractions.",
        "h = all words of the hypotheses; for r, `min(references, key=lambda x: (abs(len(x) - len(h)), len(x)))` for "
        "each sentence h; BP = 1 if h ≥ r else exp(1 - r / h).",
    ],
)  # fmt: skip


# 6. fool_bleu

REFERENCE = "Rosa told the baker that she had not broken the blue jug ."


def listen(find) -> str:
    """The verdict on the three candidates."""
    three = find()
    if not (isinstance(three, list | tuple) and len(three) == 3 and all(isinstance(text, str) for text in three)):
        return "not three texts"
    truth = REFERENCE.split()
    parrot, liar, poet = (text.split() for text in three)
    if len(parrot) < 5:
        return "the parrot says fewer than five words"
    matches, total = unclipped(parrot, [truth], 1)
    if matches < total:
        return "the parrot says words that the reference has not"
    if 4 * matches_of(parrot, [truth], 1)[0] > total:
        return "more than one in four of the parrot's words is matched"
    if liar == truth:
        return "the liar says the reference"
    if corpus([liar], [[truth]]) < 60:
        return "the liar has less than 60"
    if len(poet) < 8:
        return "the poet says fewer than eight words"
    return "fine" if corpus([poet], [[truth]]) <= 10 else "the poet has more than 10"


PARROT = "the the the the the the the the"
LIAR = "Rosa told the baker that she had now broken the blue jug ."
POET = "the baker heard from Rosa : it was not me who broke your jug ."

fool_bleu = Exercise(
    name="fool_bleu",
    asks="Write a parrot, a liar and a poet: three candidates about which BLEU is wrong, or would be without clipping.",
    reference=lambda: (PARROT, LIAR, POET),
    section="10.10",
    cases=[Case("your three candidates", run=listen)],
    misconceptions=[
        Misconception(
            "a parrot that is matched",
            lambda: ("the the the the the", LIAR, POET),
            "More than one in four of your parrot's words is matched even with clipping: the reference itself has "
            '"the" twice.',
            "Say it more often, or take a word that the reference has only once.",
            "10.9",
            variants=(lambda: ("Rosa told the baker that she", LIAR, POET),),
        ),
        Misconception(
            "a parrot with words of its own",
            lambda: ("jug jug jug jug mug", LIAR, POET),
            "Your parrot says a word that the reference has not (capitals count), so its precision is below 1 even "
            "without clipping.",
            "A parrot repeats.",
            "10.9",
        ),
        Misconception(
            "a parrot of few words",
            lambda: ("jug jug jug jug", LIAR, POET),
            "Your parrot says fewer than five words.",
            "Parrots are not short of words.",
            "10.9",
        ),
        Misconception(
            "a liar who tells the truth",
            lambda: (PARROT, REFERENCE, POET),
            "Your liar says the reference, word for word.",
            "Which single word could turn it into its opposite?",
            "10.10",
        ),
        Misconception(
            "a liar who changes too much",
            lambda: (PARROT, "Max told the farmer that he had mended a red pot .", POET),
            "Your liar has a BLEU below 60. Every changed word spoils up to four runs of four words.",
            "Change one word, and near an end of the sentence it spoils fewer runs than in the middle.",
            "10.10",
        ),
        Misconception(
            "a poet who copies",
            lambda: (PARROT, LIAR, "Rosa told the baker that she did not break the blue jug ."),
            "Your poet has a BLEU above 10: too many of the words are the reference's, in its order.",
            "BLEU is 0 when no four words in a row are the reference's.",
            "10.10",
        ),
        Misconception(
            "a poet of few words",
            lambda: (PARROT, LIAR, "it was not me ."),
            "Your poet says fewer than eight words.",
            "Who says what to whom about what?",
            "10.10",
        ),
        Misconception(
            "not three texts",
            lambda: (PARROT, LIAR),
            "The result should be three texts: parrot, liar, poet.",
            "`return parrot, liar, poet`, three strings with spaces between the words.",
            "10.10",
            variants=(lambda: (PARROT.split(), LIAR.split(), POET.split()), lambda: " / ".join((PARROT, LIAR, POET))),
        ),
    ],
    accepted={
        "the not left out": lambda: (
            "jug jug jug jug jug",
            "Rosa told the baker that she had broken the blue jug .",
            "to the baker our girl said : your jug , I never broke it .",
        ),
        "a list, another culprit": lambda: [
            "not " * 9,
            "Rosa told the baker that he had not broken the blue jug .",
            "the jug 's end was none of her doing , she assured the baker",
        ],
    },
    hints=[
        "How often may a word be said with clipping, if the reference has it once?",
        "One changed word leaves 12 of 13 words right, 10 of 12 pairs, and so on. Which word carries the meaning?",
        "For the poet, make sure that no four words in a row are the reference's: then p₄ is 0.",
    ],
)

EXERCISES = [
    shift_right,
    clipped_matches,
    smoothed_cross_entropy,
    cross_attention,
    bleu,
    fool_bleu,
    WrittenAnswer(
        "WHY_FOOLED", "Why is BLEU fooled, why was it trusted, and when would you not trust it?", 60,
        ["What does BLEU compare: meanings, or runs of words? What is alike when two similar systems are compared on a "
         "thousand sentences, and what is not when two different ones are?"], "10.10",
    ),
    WrittenAnswer(
        "EXPERIMENT", "What did you change, what did you predict, what came out, what do you make of it?", 60,
        ["One change at a time; three seeds say more than one."], "10.7",
    ),
]  # fmt: skip
