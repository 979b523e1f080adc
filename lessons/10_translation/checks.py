"""The checks of lesson 10 and its known mistakes."""

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
    "torch.nn.functional.nll_loss": "it is the ready-made loss; gather the right tokens' log-probabilities yourself",
    "torch.nn.CrossEntropyLoss": "it is the ready-made loss; write the formula with log_softmax",
    "torch.nn.NLLLoss": "it is the ready-made loss; gather the right tokens' log-probabilities yourself",
}
READY_BLEU = {
    "sacrebleu": "it has the ready-made BLEU; write the formula yourself",
    "nltk": "it has the ready-made BLEU; write the formula yourself",
}


def random(*shape: int, seed: int = 0) -> Tensor:
    """Reproducible normal random numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tensor(rows: list) -> Tensor:
    """A small floating-point tensor."""
    return torch.tensor(rows, dtype=torch.float32)


# 1. shift_right


def shifted(targets: Tensor, first: Tensor | int, pad: int) -> Tensor:
    """Shifted right by one column, with `first` in front and `pad` in place of IGNORE_INDEX."""
    front = torch.full_like(targets[:, :1], first) if isinstance(first, int) else first
    moved = torch.cat([front, targets[:, :-1]], dim=1)
    return moved.masked_fill(moved == IGNORE_INDEX, pad)


def padded(targets: Tensor, pad: int) -> Tensor:
    return targets.masked_fill(targets == IGNORE_INDEX, pad)


def shift_left(targets: Tensor, start: int, pad: int) -> Tensor:
    return padded(torch.cat([targets[:, 1:], torch.full_like(targets[:, :1], IGNORE_INDEX)], dim=1), pad)


def without_end(targets: Tensor, start: int, pad: int) -> Tensor:
    """Removes the end token from the input instead of the last column."""
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


def unseen_targets(seed):
    B, T = 3 + seed % 3, 6 + seed % 4
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(10, 60_000, (B, T), generator=generator)
    lengths = torch.randint(1, T + 1, (B, 1), generator=generator)  # of each sentence, with its end token (9)
    where = torch.arange(T)
    ids = ids.masked_fill(where == lengths - 1, 9).masked_fill(where >= lengths, IGNORE_INDEX)
    return [
        Case(f"{B} rows of {T}", targets=ids, start=1, pad=0),
        Case("start 0 and another padding token", targets=ids[:, :-1], start=0, pad=3 + seed % 5),
    ]


def shifted_in(dtype):
    """Shifted right in another dtype, and then converted back."""

    def shift(targets, start, pad):
        moved = torch.full(targets.shape, start, dtype=dtype)
        moved[:, 1:] = targets[:, :-1].to(dtype)
        return torch.where(moved == IGNORE_INDEX, pad, moved.long())

    return shift


shift_right = Exercise(
    name="shift_right",
    asks="Make the decoder's input from its targets: shifted right by one position, with the start token in front.",
    reference=lambda targets, start, pad: shifted(targets, start, pad),
    section="10.4",
    cases=[
        Case("one full row", targets=torch.tensor([[5, 6, 9]]), start=1, pad=0),
        Case("a short and a full row", targets=BATCH, start=1, pad=0),
        Case("start and end are the same token", targets=torch.tensor([[5, 6, 9, IGNORE_INDEX]]), start=9, pad=0),
        Case("only the end token", targets=torch.tensor([[9], [9]]), start=1, pad=0),
        Case("another padding token", targets=torch.tensor([[7, 9, IGNORE_INDEX], [3, 4, 9]]), start=2, pad=11),
        Case("a token with the id 0", targets=torch.tensor([[0, 5, 9, IGNORE_INDEX], [5, 0, 0, 9]]), start=1, pad=2),
        Case("start 0, padding 1", targets=BATCH, start=0, pad=1),
        Case("large ids", targets=torch.tensor([[40_000, 70_001, 250_001, 9]]), start=50_256, pad=99_999),
        Case("ids above 16,777,216", targets=torch.tensor([[2**24 + 1, 2**31 + 1, 9]]), start=1, pad=0),
        Case("targets that are not contiguous", targets=BATCH.T.contiguous().T, start=1, pad=0),
    ],
    random_cases=unseen_targets,
    misconceptions=[
        Misconception(
            "no shift",
            lambda targets, start, pad: padded(targets, pad),
            "At each position, the decoder sees the token that it must predict there. It learns to copy its "
            "input, reaches a loss of almost 0, and cannot translate a word.",
            "At position t, the decoder may see only the tokens before t.",
            "10.4",
        ),
        Misconception(
            "shifted left",
            shift_left,
            "You shifted the targets to the left: at each position, the decoder sees the token after the one "
            "it must predict, which it will not have when it translates.",
            "At position t, does the decoder see token t - 1 or token t + 1?",
            "10.4",
        ),
        Misconception(
            "first word overwritten by the start token",
            lambda targets, start, pad: padded(
                torch.cat([torch.full_like(targets[:, :1], start), targets[:, 1:]], 1), pad
            ),
            "You overwrote the first word with the start token. Nothing is shifted: from position 1 on, the "
            "decoder sees the token that it must predict.",
            "The start token goes before the first word, not in its place.",
            "10.4",
        ),
        Misconception(
            "roll without the start token",
            lambda targets, start, pad: padded(targets.roll(1, dims=1), pad),
            "You rolled the rows: what drops out at the right comes back at the left. A full row starts with "
            "its end token, a short one with padding, and none with the start token.",
            "What must be in the first column of every row?",
            "10.4",
        ),
        Misconception(
            "last column not dropped",
            lambda targets, start, pad: padded(torch.cat([torch.full_like(targets[:, :1], start), targets], 1), pad),
            "You put the start token in front and dropped nothing. The input has length T + 1, and its last "
            "column has no target.",
            "The last column of the targets is not in the past of any position.",
            "10.4",
        ),
        Misconception(
            "IGNORE_INDEX left in the input",
            lambda targets, start, pad: torch.cat([torch.full_like(targets[:, :1], start), targets[:, :-1]], 1),
            "You left -100 in the input. It is a label for the loss, not a token: an embedding has no row -100.",
            "Which token should be there instead?",
            "10.4",
        ),
        Misconception(
            "padded with the start token",
            lambda targets, start, pad: shifted(targets, start, start),
            "You replaced -100 by the start token. There is a separate padding token, `pad`.",
            "Which of the three arguments did you not use?",
            "10.4",
        ),
        Misconception(
            "shifted along the batch dimension",
            lambda targets, start, pad: padded(torch.cat([torch.full_like(targets[:1], start), targets[:-1]]), pad),
            "You shifted along dimension 0: every sentence gets the sentence before it in the batch.",
            "targets is (B, T). Which dimension is time?",
            "10.4",
        ),
        Misconception(
            "end token removed",
            without_end,
            "You removed the end token from the input of short rows. This does no harm, but it is not what the "
            "task asks for: the whole row is shifted by one position, and only the last column is dropped.",
            "You can treat all rows in the same way.",
            "10.4",
        ),
        Misconception(
            "0 instead of the padding token",
            lambda targets, start, pad: shifted(targets, start, 0),
            "You put 0 in place of -100. The padding token is `pad`; it is 0 in many vocabularies, but not in all.",
            "Which of the three arguments did you not use?",
            "10.4",
        ),
        Misconception(
            "start token only in the first row",
            lambda targets, start, pad: shifted(
                targets, torch.cat([torch.full_like(targets[:1, :1], start), targets[1:, :1]]), pad
            ),
            "Only your first row begins with the start token; every sentence of the batch must.",
            "Which index selects a whole column?",
            "10.4",
            variants=(
                lambda targets, start, pad: shifted(
                    targets, torch.cat([torch.full_like(targets[:1, :1], start), padded(targets[1:, -1:], pad)]), pad
                ),
                lambda targets, start, pad: shifted(
                    targets,
                    torch.cat([torch.full_like(targets[:1, :1], start), torch.zeros_like(targets[1:, :1])]),
                    pad,
                ),
            ),
        ),
        Misconception(
            "shifted by two positions",
            lambda targets, start, pad: shifted(
                targets.roll(1, 1).masked_fill(torch.arange(targets.size(1)) < 1, start), start, pad
            ),
            "You shifted by two positions: the decoder does not see the token right before the one it must predict.",
            "How many start tokens does a row have?",
            "10.4",
        ),
        Misconception(
            "padding token at the front",
            lambda targets, start, pad: shifted(targets, pad, pad),
            "Your rows begin with the padding token. Generation begins with the start token, so the decoder "
            "must see it there in training.",
            "What is `start` for?",
            "10.4",
        ),
        Misconception(
            "ids in a small dtype",
            shifted_in(torch.int16),
            "You keep the ids in a type that is too small for them: int16 ends at 32,767, int32 at 2,147,483,647, and "
            "float32 is exact up to 16,777,216.",
            "Which dtype do the targets have?",
            "10.4",
            variants=tuple(shifted_in(dtype) for dtype in (torch.uint8, torch.int8, torch.int32, torch.float32)),
        ),
    ],
    accepted={
        "loops over lists": shift_by_loops,
        "roll and overwrite": shift_by_roll,
        "assignment to a slice": shift_by_index,
    },
    hints=[
        "Write down the row 5 6 9, and below each token the one that the decoder has written before it.",
        "All columns except the last are `targets[:, :-1]`. Which single column goes in front of them?",
        "`torch.cat` of a column full of `start` and `targets[:, :-1]`; then `masked_fill` where the result is "
        "IGNORE_INDEX.",
    ],
)


# 2. clipped_matches


def grams(words: list[str], n: int) -> Counter:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def max_counts(references: list[list[str]], n: int) -> Counter:
    """The largest count of each n-gram in any single reference."""
    allowed: Counter = Counter()
    for reference in references:
        allowed |= grams(reference, n)
    return allowed


def matches_of(hypothesis: list[str], references: list[list[str]], n: int) -> tuple[int, int]:
    counts = grams(hypothesis, n)
    return (counts & max_counts(references, n)).total(), counts.total()


def unclipped(hypothesis, references, n):
    known = max_counts(references, n)
    return sum(c for gram, c in grams(hypothesis, n).items() if gram in known), grams(hypothesis, n).total()


def clipped_by_all(hypothesis, references, n):
    counts, allowed = grams(hypothesis, n), sum((grams(r, n) for r in references), Counter())
    return (counts & allowed).total(), counts.total()


def clipped_by_every(hypothesis, references, n):
    counts = grams(hypothesis, n)
    allowed = counts
    for reference in references:
        allowed = allowed & grams(reference, n)
    return allowed.total(), counts.total()


def best_reference(hypothesis, references, n):
    counts = grams(hypothesis, n)
    return max((counts & grams(r, n)).total() for r in references), counts.total()


def distinct_matches(hypothesis, references, n):
    counts = grams(hypothesis, n)
    return len(set(counts) & set(max_counts(references, n))), counts.total()


def distinct_matches_of_distinct(hypothesis, references, n):
    counts = grams(hypothesis, n)
    return len(set(counts) & set(max_counts(references, n))), len(counts)


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
    counts = unordered(hypothesis)
    return (counts & allowed).total(), counts.total()


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


def total_of_distinct(hypothesis, references, n):
    return matches_of(hypothesis, references, n)[0], len(grams(hypothesis, n))


def with_ends(hypothesis, references, n):
    """Starts an n-gram at every word, so that slices shorter than n are counted at the end."""

    def cut(words):
        return Counter(tuple(words[i : i + n]) for i in range(len(words)))

    allowed: Counter = Counter()
    for reference in references:
        allowed |= cut(reference)
    return (cut(hypothesis) & allowed).total(), cut(hypothesis).total()


def glued(hypothesis, references, n):
    """N-grams as strings without a separator between the words."""

    def cut(words):
        return Counter("".join(words[i : i + n]) for i in range(len(words) - n + 1))

    allowed: Counter = Counter()
    for reference in references:
        allowed |= cut(reference)
    return (cut(hypothesis) & allowed).total(), cut(hypothesis).total()


def all_orders(hypothesis, references, n):
    both = [matches_of(hypothesis, references, k) for k in range(1, n + 1)]
    return sum(m for m, _ in both), sum(t for _, t in both)


def crossing_off(hypothesis, references, n):
    """For each n-gram of the hypothesis, crosses off one in every reference that still has it."""
    unmatched = [[reference[i : i + n] for i in range(len(reference) - n + 1)] for reference in references]
    matches = total = 0
    for i in range(len(hypothesis) - n + 1):
        gram, total, hit = hypothesis[i : i + n], total + 1, False
        for ngrams in unmatched:
            if gram in ngrams:
                ngrams.remove(gram)
                hit = True
        matches += hit
    return matches, total


def by_strings(hypothesis, references, n):
    def strings(words):
        return [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]

    ngrams = strings(hypothesis)
    return [sum(min(ngrams.count(g), max(strings(r).count(g) for r in references)) for g in set(ngrams)), len(ngrams)]


THE = {"hypothesis": "the the cat".split(), "references": ["the cat sat".split()]}
TWO = {
    "hypothesis": "a b a b c a".split(),
    "references": ["a b c d".split(), "b c a a e f g".split()],
}


def unseen_sentences(seed):
    generator = torch.Generator().manual_seed(seed)
    n_words = 9 + seed % 8
    hypothesis, *references = (
        ["abcd"[i] for i in torch.randint(4, (size,), generator=generator).tolist()]
        for size in (n_words, n_words - 2, n_words + 3)
    )
    return [Case(f"{n_words} words, n = {n}", hypothesis=hypothesis, references=references, n=n) for n in (1, 2, 3)]


clipped_matches = Exercise(
    name="clipped_matches",
    asks="Count the n-grams of a translation that match its references, clipped by the largest count in any "
    "single one.",
    reference=lambda hypothesis, references, n: matches_of(hypothesis, references, n),
    section="10.9",
    cases=[
        Case("words", **THE, n=1),
        Case("pairs of words", **THE, n=2),
        Case("the same word seven times", hypothesis=["the"] * 7, references=["the cat is on the mat".split()], n=1),
        Case("the same words in another order", hypothesis="c b a".split(), references=["a b c".split()], n=2),
        Case("two references, words", **TWO, n=1),
        Case("two references, pairs", **TWO, n=2),
        Case(
            "a match in each of two references",
            hypothesis="x y".split(),
            references=["x a".split(), "y b c".split()],
            n=1,
        ),
        Case("nothing matches", hypothesis="x y z".split(), references=["a b".split()], n=2),
        Case("fewer words than n", hypothesis=["a"], references=["a b c d e".split()], n=4),
        Case("an empty hypothesis", hypothesis=[], references=["a b".split()], n=3),
        Case("four words in a row", hypothesis="a b c d e a b c d".split(), references=["x a b c d".split()], n=4),
        Case("the same characters, different words", hypothesis="a bc d".split(), references=["ab c d".split()], n=2),
        Case("a capital letter", hypothesis=["The", "cat"], references=[["the", "cat"]], n=1),
        Case("one word", hypothesis=["a"], references=[["a"]], n=1),
        Case("exactly n words", hypothesis="a b c".split(), references=["a b c".split()], n=3),
        Case(
            "a reference of fewer than n words, and an empty one",
            hypothesis="a b a b".split(),
            references=[["a"], [], "b a b".split()],
            n=2,
        ),
        Case("words with commas", hypothesis=["a,", "b"], references=[["a", ",b"]], n=2),
        Case(
            "words of other scripts", hypothesis="Käse und 北京 é".split(), references=["Kase und 東京 é".split()], n=1
        ),
        Case(
            "three references",
            hypothesis="a a a b b c".split(),
            references=["a b".split(), "a a c".split(), "b b a".split()],
            n=1,
        ),
        Case("seven words in a row", hypothesis=list("abcdefgh"), references=[list("abcdefgx")], n=7),
        Case("three hundred words", hypothesis=["a", "b"] * 150, references=[["a", "b"] * 140], n=2),
    ],
    random_cases=unseen_sentences,
    misconceptions=[
        Misconception(
            "no clipping",
            unclipped,
            'You counted every occurrence of an n-gram that is in a reference. So "the the the" is a perfect '
            'translation of anything that contains "the".',
            "How many times does the reference have this word?",
            "10.9",
        ),
        Misconception(
            "clipped by the sum over references",
            clipped_by_all,
            "You added up the counts of the references. With three references, a word could count three times.",
            "Take the largest count in any single reference: `|` of Counters, not `+`.",
            "10.9",
        ),
        Misconception(
            "distinct n-grams in the total",
            total_of_distinct,
            "Your matches are right, but an n-gram that occurs three times adds one to your total. It must add three.",
            "The length of a Counter is the number of *distinct* n-grams. How many are there altogether?",
            "10.9",
        ),
        Misconception(
            "short slices at the end",
            with_ends,
            "You started an n-gram at every word. Near the end fewer than n words are left, and a slice such "
            "as `words[i : i + n]` is then shorter, without an error.",
            "At how many positions can a run of n words start in a sentence of N words?",
            "10.9",
        ),
        Misconception(
            "words joined without a separator",
            glued,
            'You compared strings without a separator between the words, so "a bc" and "ab c" are the same.',
            "Use a tuple of words.",
            "10.9",
        ),
        Misconception(
            "intersection of the references",
            clipped_by_every,
            "You clipped by the smallest count over the references. References are alternatives: it is enough "
            "if one of them has the n-gram.",
            "Do you need the largest count, or the smallest?",
            "10.9",
        ),
        Misconception(
            "best single reference",
            best_reference,
            "You counted the matches with each reference and took the best. The maximum is taken separately "
            "for each n-gram: one may be in the first reference, the next in the second.",
            "First compute the maximum count of every n-gram, then the matches.",
            "10.9",
        ),
        Misconception(
            "only the first reference used",
            lambda hypothesis, references, n: matches_of(hypothesis, references[:1], n),
            "You used only one reference.",
            "`references` is a list of translations.",
            "10.9",
        ),
        Misconception(
            "sets instead of counts",
            distinct_matches,
            "You counted *distinct* n-grams. A word that occurs twice in both texts is two matches.",
            "A set forgets repetitions; a Counter does not.",
            "10.9",
            variants=(distinct_matches_of_distinct,),
        ),
        Misconception(
            "recall instead of precision",
            recall,
            "Your total is that of a reference. That is recall: how much of the reference was found. Precision "
            "measures how much of the hypothesis is right.",
            "Whose n-grams must the total count?",
            "10.9",
            variants=(recall_of_longest,),
        ),
        Misconception(
            "word order ignored",
            bags,
            "You ignored the order of the n words. An n-gram is a run of words in order; that is all BLEU "
            "knows about grammar.",
            "Is (b, a) the same as (a, b)?",
            "10.9",
        ),
        Misconception(
            "non-overlapping n-grams",
            pieces,
            "You cut the text into chunks of n words. n-grams overlap: one starts at every word that has n - 1 "
            "more words after it.",
            "How many bigrams do three words have?",
            "10.9",
        ),
        Misconception(
            "off by one, last n-gram missing",
            one_missing,
            "You are off by one: m words have m - n + 1 n-grams.",
            "How many unigrams do three words have, and which `range` gives that many?",
            "10.9",
        ),
        Misconception(
            "number of words as the total",
            lambda hypothesis, references, n: (matches_of(hypothesis, references, n)[0], len(hypothesis)),
            "Your total is the number of words. This is right only for n = 1.",
            "How many bigrams do three words have?",
            "10.9",
        ),
        Misconception(
            "case ignored",
            lambda hypothesis, references, n: matches_of(
                [word.lower() for word in hypothesis], [[word.lower() for word in r] for r in references], n
            ),
            "You converted the words to lower case. Here, words are compared as they are.",
            "What does the docstring say about upper and lower case?",
            "10.9",
        ),
        Misconception(
            "matches of all references added up",
            lambda hypothesis, references, n: (
                sum(matches_of(hypothesis, [r], n)[0] for r in references),
                grams(hypothesis, n).total(),
            ),
            "You counted the matches with each reference and added them up, so one word can match once per reference.",
            "Take the largest count in any single reference first, then clip once.",
            "10.9",
        ),
        Misconception(
            "negative total",
            lambda hypothesis, references, n: (matches_of(hypothesis, references, n)[0], len(hypothesis) - n + 1),
            "A text with fewer than n words has no n-grams. Your formula gives a negative number, which is "
            "later subtracted from the other sentences.",
            "What is m - n + 1 for m = 1 and n = 4?",
            "10.9",
        ),
        Misconception(
            "all orders up to n added up",
            all_orders,
            "You added up all orders from 1 to n. Each order has its own precision.",
            "Count only runs of exactly n words.",
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
        "First make a list of the n-grams of a text: tuples of n words, one for each position where n words start.",
        "`Counter(list)` counts them. For two Counters a and b, `a | b` takes the larger of each two counts, "
        "`a & b` the smaller.",
        "allowed is the `|` of all the references' Counters; matches = (hypothesis & allowed).total(); total "
        "is the hypothesis's .total().",
    ],
)


# 3. smoothed_cross_entropy


def smoothed(logits, targets, smoothing, right=None, others=None, logp=None):
    """The mean loss with any weights: `right` for the right token, `others` for the sum over all tokens."""
    logp = logits.log_softmax(-1) if logp is None else logp
    attention_mask, V = targets != IGNORE_INDEX, logits.size(-1)
    nll = -logp.gather(-1, targets.clamp(min=0)[..., None])[..., 0]  # (B, T)
    right = 1 - smoothing if right is None else right
    others = smoothing / V if others is None else others
    return ((right * nll - others * logp.sum(-1)) * attention_mask).sum() / attention_mask.sum()


def library_loss(logits, targets, smoothing):
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
    """The target distribution q in full."""
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
    """Cross-entropy as entropy plus Kullback–Leibler divergence."""
    attention_mask, V = targets != IGNORE_INDEX, logits.size(-1)
    q = torch.nn.functional.one_hot(targets[attention_mask], V) * (1 - smoothing) + smoothing / V
    terms = q * q.clamp(min=1e-30).log() - q * logits[attention_mask].log_softmax(-1)
    return (terms.sum(-1) - (q * q.clamp(min=1e-30).log()).sum(-1)).mean()


HALVES = tensor([[[0.5, 0.25, 0.125, 0.125]]]).log()
SENTENCES = {
    "logits": 2 * random(2, 3, 5, seed=1),
    "targets": torch.tensor([[4, 0, 2], [3, IGNORE_INDEX, IGNORE_INDEX]]),
}


def unseen_batches(seed):
    B, T, V = 2 + seed % 3, 4 + seed % 3, 9 + seed % 20
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(V, (B, T), generator=generator)
    kept = torch.arange(T) < torch.randint(1, T + 1, (B, 1), generator=generator)
    return [
        Case(f"{B} sentences, {V} tokens", logits=2 * random(B, T, V, seed=seed + 1),
             targets=targets.masked_fill(~kept, IGNORE_INDEX), smoothing=smoothing)
        for smoothing in (0.15, 0.0)
    ]  # fmt: skip


def smoothed_over(n):
    """The loss with ε for the first n tokens, however many there are."""

    def loss(logits, targets, smoothing):
        logp, kept = logits.log_softmax(-1), targets != IGNORE_INDEX
        right = logp.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
        return (-(1 - smoothing) * right - smoothing * logp[..., :n].mean(-1))[kept].mean()

    return loss


smoothed_cross_entropy = Exercise(
    name="smoothed_cross_entropy",
    asks="Compute the mean cross-entropy against targets that give ε / V to every token and an additional 1 - ε "
    "to the right one.",
    reference=library_loss,
    section="10.5",
    gradients=True,
    cases=[
        Case("one position, p = 1/2 1/4 1/8 1/8", logits=HALVES, targets=torch.tensor([[0]]), smoothing=0.4),
        Case("another right token", logits=HALVES, targets=torch.tensor([[2]]), smoothing=0.4),
        Case("no smoothing", logits=HALVES, targets=torch.tensor([[1]]), smoothing=0.0),
        Case(
            "a second position that is ignored",
            logits=torch.cat([HALVES, HALVES.flip(-1)], 1),
            targets=torch.tensor([[0, IGNORE_INDEX]]),
            smoothing=0.4,
        ),
        Case("two sentences of unequal length", **SENTENCES, smoothing=0.1),
        Case("two sentences of unequal length, not smoothed", **SENTENCES, smoothing=0.0),
        Case("random numbers", logits=random(2, 4, 7, seed=2), targets=torch.arange(8).view(2, 4) % 7, smoothing=0.3),
        Case(
            "an almost impossible token",
            logits=tensor([[[200.0, 0.0, 0.0], [0.0, 0.0, 200.0]]]),
            targets=torch.tensor([[0, 0]]),
            smoothing=0.3,
        ),
        Case(
            "a whole sentence of padding",
            logits=random(2, 2, 3, seed=4),
            targets=torch.tensor([[2, 1], [IGNORE_INDEX, IGNORE_INDEX]]),
            smoothing=0.2,
        ),
        Case(
            "a vocabulary of one token", logits=tensor([[[3.0], [-2.0]]]), targets=torch.tensor([[0, 0]]), smoothing=0.1
        ),
        Case("almost only smoothing", logits=HALVES, targets=torch.tensor([[3]]), smoothing=0.99),
        Case("forty tokens", logits=2 * random(1, 3, 40, seed=5), targets=torch.tensor([[39, 8, 20]]), smoothing=0.4),
        Case(
            "enormous logits",
            logits=tensor([[[1000.0, -1000.0], [-1000.0, -1000.0]]]),
            targets=torch.tensor([[1, 0]]),
            smoothing=0.2,
        ),
        Case(
            "logits that are not contiguous",
            logits=random(4, 3, 2, seed=6).permute(2, 1, 0),
            targets=torch.tensor([[3, 0, IGNORE_INDEX], [1, 2, 3]]),
            smoothing=0.1,
        ),
        Case(
            "three hundred positions",
            logits=random(1, 300, 4, seed=7),
            targets=(torch.arange(300) % 4)[None].masked_fill(torch.arange(300) >= 280, IGNORE_INDEX),
            smoothing=0.1,
        ),
    ],
    random_cases=unseen_batches,
    misconceptions=[
        Misconception(
            "ε spread over the wrong tokens only",
            lambda logits, targets, e: smoothed(
                logits, targets, e, 1 - e - e / (logits.size(-1) - 1), e / (logits.size(-1) - 1)
            ),
            "You spread ε over the V - 1 wrong tokens. That is another variant of smoothing; here, as in the "
            "papers, every token gets ε / V, the right one too, so that it has 1 - ε + ε / V.",
            "Over how many tokens is ε spread?",
            "10.5",
        ),
        Misconception(
            "no ε / V for the right token",
            lambda logits, targets, e: smoothed(logits, targets, e, 1 - e - e / logits.size(-1), e / logits.size(-1)),
            "You gave 1 - ε to the right token and ε / V to each of the others. These do not sum to 1, so they "
            "are not a distribution.",
            "What is the sum of your V probabilities?",
            "10.5",
        ),
        Misconception(
            "sum over the vocabulary instead of the mean",
            lambda logits, targets, e: smoothed(logits, targets, e, 1 - e, e),
            "You gave ε to every token. Together that is ε·V, and smoothing dominates the loss.",
            "All tokens together get ε.",
            "10.5",
        ),
        Misconception(
            "ε and 1 - ε swapped",
            lambda logits, targets, e: smoothed(logits, targets, e, e, (1 - e) / logits.size(-1)),
            "You gave ε to the right token and spread 1 - ε over all of them. The model learns that all tokens "
            "are about equally likely.",
            "What should the loss be for ε = 0?",
            "10.5",
        ),
        Misconception(
            "no smoothing at all",
            lambda logits, targets, e: smoothed(logits, targets, 0.0),
            "You computed the plain cross-entropy.",
            "Where does `smoothing` appear in your code?",
            "10.5",
        ),
        Misconception(
            "uniform part missing",
            lambda logits, targets, e: smoothed(logits, targets, e, 1 - e, 0.0),
            "You only multiplied the plain loss by 1 - ε. That is a smaller learning rate, not smoothing.",
            "What do the V tokens with ε / V each add to the sum?",
            "10.5",
        ),
        Misconception(
            "smoothed logits",
            lambda logits, targets, e: smoothed((1 - e) * logits + e / logits.size(-1), targets, 0.0),
            "You smoothed the logits. A softmax of smaller logits is flatter, so the model will just make them "
            "larger. Smooth the *targets* instead.",
            "The model's p stays the same; only the distribution that you compare it with changes.",
            "10.5",
        ),
        Misconception(
            "smoothed model probabilities",
            smoothed_probabilities,
            "You mixed p with the uniform distribution. Then no p can be very small, and a confident wrong "
            "prediction costs little: the opposite of the intended effect.",
            "In -Σ q ln p, which of the two is smoothed?",
            "10.5",
        ),
        Misconception(
            "padding counted in the denominator",
            padding_in_the_number,
            "You divided by the number of all positions, including padding. So a batch with more padding has a "
            "smaller loss.",
            "By how many tokens must you divide the sum?",
            "10.5",
        ),
        Misconception(
            "smoothing term over padding",
            padding_smoothed,
            "You masked padding in the right token's term, but not in the mean over the vocabulary: the model "
            "learns to be uncertain at positions that do not exist.",
            "Both terms of the loss need the mask.",
            "10.5",
            variants=(
                padding_smoothed_apart,
                lambda logits, targets, e: padding_smoothed(logits, targets, e, targets.numel()),
            ),
        ),
        Misconception(
            "padding trained as a token",
            padding_is_a_token,
            "You replaced -100 by token 0 and included it in the loss: the model learns to write token 0 after "
            "every sentence.",
            "Clamping gives an index that `gather` accepts. It does not remove the position from the loss.",
            "10.5",
            variants=(
                lambda logits, targets, e: smoothed(
                    logits, targets.masked_fill(targets == IGNORE_INDEX, logits.size(-1) - 1), e
                ),
            ),
        ),
        Misconception(
            "mean of the sentences' means",
            by_sentences,
            "You took the mean over each sentence, and then over the sentences. So a token of a short sentence "
            "counts more than a token of a long one.",
            "Compute one sum over everything, and divide once.",
            "10.5",
        ),
        Misconception(
            "sum over tokens instead of the mean",
            lambda logits, targets, e: smoothed(logits, targets, e) * (targets != IGNORE_INDEX).sum(),
            "You added up the losses without dividing: a larger batch has a larger loss and takes larger steps.",
            "By how many tokens must you divide the sum?",
            "10.5",
        ),
        Misconception(
            "divided by the number of sentences",
            lambda logits, targets, e: smoothed(logits, targets, e) * (targets != IGNORE_INDEX).sum() / len(targets),
            "You divided by the number of sentences, B. Then long sentences have large losses.",
            "By how many tokens must you divide the sum?",
            "10.5",
        ),
        Misconception(
            "bits instead of nats",
            lambda logits, targets, e: smoothed(logits, targets, e) / math.log(2),
            "You used the logarithm to base 2. The loss is in nats: the natural logarithm.",
            "What is the loss of a probability of 1/2?",
            "10.5",
        ),
        Misconception(
            "softmax twice",
            lambda logits, targets, e: smoothed(logits.softmax(-1), targets, e),
            "You took the softmax of the logits and then the log-softmax of that. The second one can never be "
            "confident.",
            "One softmax is enough.",
            "10.5",
        ),
        Misconception(
            "softmax over the positions",
            lambda logits, targets, e: smoothed(logits, targets, e, logp=logits.log_softmax(1)),
            "You took the softmax over the positions of a sentence. The probabilities of the V tokens must sum to 1.",
            "Logits are (B, T, V). Which dimension is the vocabulary?",
            "10.5",
        ),
        Misconception(
            "log of softmax underflows",
            lambda logits, targets, e: smoothed(logits, targets, e, logp=logits.softmax(-1).log()),
            "You computed `softmax` and then `log`. A probability below 1e-45 or so becomes 0, its logarithm "
            "-∞, and the loss infinite or NaN.",
            "`log_softmax` does both in one step and is numerically stable.",
            "10.5",
        ),
        Misconception(
            "wrong sign",
            lambda logits, targets, e: -smoothed(logits, targets, e),
            "Your loss is negative. Log-probabilities are negative; the loss is minus their mean.",
            "Would you want to minimize a loss that falls to -∞?",
            "10.5",
        ),
        Misconception(
            "smoothed over a fixed number of tokens",
            smoothed_over(8),
            "You gave ε to the first tokens of the vocabulary only; it belongs to all V of them.",
            "The last dimension of the logits is V.",
            "10.5",
            variants=(smoothed_over(3), smoothed_over(4), smoothed_over(5), smoothed_over(10), smoothed_over(16)),
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
        "Split the sum -Σ q ln p in two: the additional part of the right token, and the part that all tokens have.",
        "The loss of a position is (1 - ε) · -ln p(right) + ε · (mean over the vocabulary of -ln p).",
        "logp = log_softmax; keep only the positions where targets != IGNORE_INDEX; gather the right tokens; "
        "take the mean over the vocabulary; combine the two; take the mean over the positions.",
    ],
)


# 4. cross_attention


def library_cross_attention(x, memory, w_q, w_k, w_v, w_o, n_heads, attention_mask):
    """The library's module with these weights."""
    module = library.MultiHeadAttention(x.size(-1), n_heads, bias=False, fused=False)
    weights = {"q_proj.weight": w_q, "k_proj.weight": w_k, "v_proj.weight": w_v, "out_proj.weight": w_o}
    return torch.func.functional_call(module, weights, (x, library.padding_mask(attention_mask)), {"memory": memory})


def heads(x, n):
    return x.view(*x.shape[:2], n, -1).transpose(1, 2)


def merged(x):
    return x.transpose(1, 2).flatten(2)


def keys_masked(attention_mask, T):
    return attention_mask[:, None, None, :]


LOWEST = torch.finfo(torch.float32).min


def attend(
    x, memory, w_q, w_k, w_v, w_o, n, attention_mask, q_of="x", k_of="memory", v_of="memory", mask=keys_masked,
    hide=LOWEST, scale=None, split=heads, merge=merged, project=lambda x, w: x @ w.T, dim=-1, after=None,
):  # fmt: skip
    """Cross-attention in which every detail can be replaced by a wrong one."""
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
    return lambda *arguments: attend(*arguments, **details)


def masked_both_ways(**details):
    """Two versions: masked by a huge negative number, and by -inf."""
    return with_wrong(**details), with_wrong(**details, hide=-math.inf)


def causal_too(shift):
    def mask(attention_mask, T):
        lower = torch.ones(T, attention_mask.size(1), dtype=torch.bool).tril(attention_mask.size(1) - T if shift else 0)
        return lower & attention_mask[:, None, None, :]

    return mask


def padding_at_the_end(attention_mask, T):
    return (torch.arange(attention_mask.size(1)) < attention_mask.sum(1, keepdim=True))[:, None, None, :]


def zeroed_padding(x, memory, w_q, w_k, w_v, w_o, n, attention_mask):
    return attend(x, memory * attention_mask[..., None], w_q, w_k, w_v, w_o, n, attention_mask, mask=None)


def both_texts(x, memory, w_q, w_k, w_v, w_o, n, attention_mask):
    together = torch.cat([memory, x], dim=1)
    seen = torch.cat([attention_mask, torch.ones(x.shape[:2], dtype=torch.bool)], dim=1)
    return attend(x, together, w_q, w_k, w_v, w_o, n, seen)


def source_by_source(x, memory, w_q, w_k, w_v, w_o, n, attention_mask):
    """Removes the padding of each source, and computes one sentence and one head at a time."""
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


def booleans(*rows: str) -> Tensor:
    """A boolean tensor from strings such as "110"."""
    return torch.tensor([[c == "1" for c in row] for row in rows])


def unseen_texts(seed):
    B, T, S, H, D = 2 + seed % 2, 3 + seed % 4, 4 + seed % 5, 2 + seed % 3, 2 + seed % 2
    weights = {name: random(H * D, H * D, seed=seed + i) / D for i, name in enumerate(("w_q", "w_k", "w_v", "w_o"))}
    kept = torch.rand(B, S, generator=torch.Generator().manual_seed(seed)) < 0.6
    kept[:, seed % S] = True
    return [
        Case(f"{H} heads of width {D}", x=random(B, T, H * D, seed=seed + 4), memory=random(B, S, H * D, seed=seed + 5),
             **weights, n_heads=H, attention_mask=kept)
    ]  # fmt: skip


cross_attention = Exercise(
    name="cross_attention",
    asks="Compute multi-head attention: queries from the target, keys and values from the source, padding masked.",
    reference=library_cross_attention,
    section="10.3",
    gradients=True,
    cases=[
        Case(
            "one query, two source positions, identity weights",
            x=tensor([[[2, 0, 0, 1]]]), memory=SOURCE[:, :2], **PLAIN, attention_mask=booleans("11"),
        ),
        Case(
            "the second of two source positions is padding",
            x=tensor([[[2, 0, 0, 1]]]), memory=SOURCE[:, :2], **PLAIN, attention_mask=booleans("10"),
        ),
        Case(
            "two queries, three source positions",
            x=tensor([[[2, 0, 1, 0], [0, 2, 0, 3]]]), memory=SOURCE,
            **{**PLAIN, "w_q": LOW, "w_k": SWAP, "w_v": LOW, "w_o": SWAP + LOW}, attention_mask=booleans("111"),
        ),
        Case("as many as source positions", x=random(1, 3, 4, seed=20), memory=random(1, 3, 4, seed=21), **SQUARE,
             n_heads=2, attention_mask=booleans("111")),
        Case("as many as source positions, one of them padding", x=random(1, 3, 4, seed=22),
             memory=random(1, 3, 4, seed=23), **SQUARE, n_heads=4, attention_mask=booleans("110")),
        Case("padding in the middle", x=random(1, 2, 4, seed=24), memory=random(1, 4, 4, seed=25), **SQUARE,
             n_heads=1, attention_mask=booleans("1011")),
        Case("two sentences, three heads", x=random(2, 4, 6, seed=26), memory=random(2, 5, 6, seed=27), **WIDE,
             n_heads=3, attention_mask=booleans("11111", "11000")),
        Case("more queries than source positions", x=random(2, 5, 6, seed=28), memory=random(2, 3, 6, seed=29),
             **WIDE, n_heads=2, attention_mask=booleans("110", "111")),
        Case("one position each", x=random(1, 1, 4, seed=30), memory=random(1, 1, 4, seed=31), **SQUARE, n_heads=2,
             attention_mask=booleans("1")),
        Case("heads of width 1, padding in front", x=random(2, 2, 4, seed=32), memory=random(2, 3, 4, seed=33),
             **SQUARE,
             n_heads=4, attention_mask=booleans("011", "001")),
        Case("one score far above the other", x=tensor([[[30, 0, 0, 0]]]),
             memory=tensor([[[20, 0, 0, 0], [1, 2, 3, 4]]]),
             **PLAIN, attention_mask=booleans("11")),
        Case("low scores at the real position", x=tensor([[[30, 0, 30, 0]]]),
             memory=tensor([[[-20, 1, -20, 2], [0, 3, 0, 4]]]), **PLAIN, attention_mask=booleans("10")),
        Case("padding that is large", x=random(1, 2, 4, seed=34),
             memory=torch.cat([random(1, 2, 4, seed=35), 1000 * random(1, 1, 4, seed=36)], 1), **SQUARE, n_heads=2,
             attention_mask=booleans("110")),
        Case("texts that are not contiguous", x=random(3, 2, 4, seed=37).transpose(0, 1),
             memory=random(4, 3, 2, seed=38).permute(2, 1, 0), **SQUARE,
             n_heads=2, attention_mask=booleans("110", "111")),
        Case("forty source positions", x=random(1, 2, 4, seed=39), memory=random(1, 40, 4, seed=40), **SQUARE,
             n_heads=2,
             attention_mask=(torch.arange(40) < 37)[None]),
    ],
    random_cases=unseen_texts,
    misconceptions=[
        Misconception(
            "keys and values from the target",
            with_wrong(k_of="x", v_of="x"),
            "The target attends to itself. That is self-attention: no information from the source gets through.",
            "Which of the two texts does `memory` represent, and where is it in your code?",
            "10.3",
            variants=(with_wrong(k_of="x", v_of="x", mask=None), with_wrong(k_of="x", v_of="x", hide=-math.inf)),
        ),
        Misconception(
            "keys from the target",
            with_wrong(k_of="x"),
            "Your keys come from the target, your values from the source. Key s and value s must describe the "
            "same source position; if the two texts differ in length, the shapes do not even match.",
            "Only the queries come from the target. Both the keys and the values come from the source.",
            "10.3",
            variants=(with_wrong(k_of="x", mask=None), with_wrong(k_of="x", hide=-math.inf)),
        ),
        Misconception(
            "values from the target",
            with_wrong(v_of="x"),
            "Your weights come from the source, but your values from the target. The values are the "
            "information that is passed on, and they come from the source.",
            "Key s and value s describe the same source position.",
            "10.3",
        ),
        Misconception(
            "queries from the source",
            with_wrong(q_of="memory", k_of="x", v_of="x", mask=None),
            "Your queries come from the source, and your keys and values from the target. The result has a row "
            "for every source position, but the decoder needs one for every target position.",
            "The queries come from the text that is being written.",
            "10.3",
            variants=masked_both_ways(
                q_of="memory", k_of="x", v_of="x", mask=lambda attention_mask, T: attention_mask[:, None, :, None]
            ),
        ),
        Misconception(
            "target unused",
            with_wrong(q_of="memory"),
            "The source attends to itself. The encoder has already done that.",
            "Where is `x` in your code?",
            "10.3",
        ),
        Misconception(
            "causal mask over the source",
            with_wrong(mask=causal_too(False)),
            "You masked later source positions. The complete source is available from the start, and the "
            "German verb at its end is needed early.",
            "Which future must be masked: that of the source, or that of the target?",
            "10.3",
            variants=(with_wrong(mask=causal_too(True)), *masked_both_ways(mask=causal_too(True))),
        ),
        Misconception(
            "no padding mask",
            with_wrong(mask=None),
            "You did not use `attention_mask`. The translation of a sentence would depend on the length of the "
            "other sentences in its batch.",
            "Which weight does a padding position get, and what must it be?",
            "10.3",
        ),
        Misconception(
            "inverted padding mask",
            with_wrong(mask=lambda attention_mask, T: ~attention_mask[:, None, None, :]),
            'You masked the real positions and kept the padding. In this library, True means "may attend".',
            "`masked_fill` fills the positions where its mask is True. Which positions must be filled?",
            "10.3",
            variants=masked_both_ways(mask=lambda attention_mask, T: ~attention_mask[:, None, None, :]),
        ),
        Misconception(
            "mask over the queries",
            with_wrong(mask=lambda attention_mask, T: attention_mask[:, None, :, None]),
            "You applied the mask to the queries, so some target positions see nothing and all others see the "
            "padding. It belongs to the keys.",
            "The scores are (B, H, T, S). `attention_mask` is (B, S): which dimensions of size 1 does it need?",
            "10.3",
            variants=masked_both_ways(mask=lambda attention_mask, T: attention_mask[:, None, :, None]),
        ),
        Misconception(
            "padding assumed at the end",
            with_wrong(mask=padding_at_the_end),
            "You counted the real positions and kept that many from the front. `attention_mask` says which "
            "ones are real; they need not come first.",
            "Use `attention_mask` itself.",
            "10.3",
        ),
        Misconception(
            "mask after the softmax",
            with_wrong(mask=None, after=lambda attention_mask: attention_mask[:, None, None, :]),
            "You set the weights of padding to 0 after the softmax. The remaining weights no longer sum to 1.",
            "Mask the scores before the softmax (section 3.5).",
            "10.3",
        ),
        Misconception(
            "padding scores set to 0",
            with_wrong(hide=0.0),
            "You set the scores of padding to 0, but exp(0) = 1 is an ordinary weight.",
            "Which score gives the weight 0?",
            "10.3",
        ),
        Misconception(
            "padding vectors zeroed, not masked",
            zeroed_padding,
            "You set the vectors of padding to zero. Their scores are then 0, so they still receive part of "
            "the weight.",
            "What is exp(0)?",
            "10.3",
        ),
        Misconception(
            "attention over source and target together",
            both_texts,
            "The target attends to both texts at once. The decoder has a separate self-attention before this layer.",
            "Keys and values come only from `memory`.",
            "10.3",
        ),
        Misconception(
            "softmax over the queries",
            with_wrong(dim=-2),
            "Your softmax runs over the target positions, so they share the weight of each source position. "
            "Instead, the weights of each *query* must sum to 1.",
            "The scores are (B, H, T, S); which dimension are the keys?",
            "10.3",
        ),
        Misconception(
            "no scaling by √D",
            with_wrong(scale=1.0),
            "You did not divide the scores by √D.",
            "See section 3.4.",
            "10.3",
        ),
        Misconception(
            "scaled by √C instead of √D",
            lambda *a: attend(*a, scale=1 / math.sqrt(a[0].size(-1))),
            "You divided the scores by √C, the root of the model's width. The queries of a head have width D = "
            "C / H.",
            "After the split into heads, how many terms are in the sum of one score?",
            "10.3",
        ),
        Misconception(
            "heads split without a transpose",
            with_wrong(split=lambda x, n: x.reshape(x.size(0), n, x.size(1), -1),
                       merge=lambda x: x.reshape(x.size(0), x.size(2), -1)),
            "You reshaped (B, T, C) directly to (B, H, T, D) with `view`: a head gets whole positions, not its "
            "features of every position.",
            "First view as (B, T, H, D), then transpose T and H (section 3.6).",
            "10.3",
            variants=(with_wrong(split=lambda x, n: x.reshape(x.size(0), n, x.size(1), -1)),),
        ),
        Misconception(
            "heads merged without a transpose",
            with_wrong(merge=lambda x: x.reshape(x.size(0), x.size(2), -1)),
            "You split the heads correctly, but reshaped (B, H, T, D) directly to (B, T, C): that mixes the "
            "positions of one head, instead of concatenating the heads of one position.",
            "Transpose H and T first, as you did for the split.",
            "10.3",
        ),
        Misconception(
            "n_heads ignored",
            lambda x, memory, w_q, w_k, w_v, w_o, n, attention_mask: attend(x, memory, w_q, w_k, w_v, w_o, 1,
            attention_mask), "You used all C features in a single head, whatever n_heads is.",
            "Where does n_heads appear in your code?",
            "10.3",
        ),
        Misconception(
            "no output projection",
            lambda x, memory, w_q, w_k, w_v, w_o, n, attention_mask: attend(x, memory, w_q, w_k, w_v, None, n,
            attention_mask), "You concatenated the heads and stopped.",
            "One matrix product is missing.",
            "10.3",
        ),
        Misconception(
            "weights not transposed",
            with_wrong(project=lambda x, w: x @ w),
            "You computed x @ w. As in nn.Linear, the projection is x @ w.T.",
            "nn.Linear stores its weight as (out, in).",
            "10.3",
            variants=(
                lambda x, memory, w_q, w_k, w_v, w_o, n, attention_mask: attend(x, memory, w_q, w_k, w_v, w_o.T, n,
                attention_mask),
            ),
        ),
        Misconception(
            "residual connection added",
            lambda x, *rest: x + attend(x, *rest),
            "You added x to the result. The block around cross-attention does that; here it would be added twice.",
            "Read the last sentence of the task description again.",
            "10.3",
        ),
    ],
    accepted={
        "one source at a time, padding removed": source_by_source,
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
        "Start from your multi_head_attention of lesson 03. Which of its lines use x, and which of them now "
        "need memory?",
        "q comes from x, k and v from memory: (B, H, T, D) and twice (B, H, S, D). The scores are (B, H, T, "
        "S). There is no causal mask.",
        "`scores.masked_fill(~attention_mask[:, None, None, :], -inf)`; softmax over the last dimension; "
        "product with v; concatenate the heads; @ w_o.T.",
    ],
)  # fmt: skip


# 5. bleu


def library_bleu(hypotheses, references):
    reference_texts = [[" ".join(words) for words in alternatives] for alternatives in references]
    statistics = bleu_statistics([" ".join(words) for words in hypotheses], reference_texts, tokenize="none")
    return float(bleu_from_sums(statistics.sum(axis=0, keepdims=True), smoothing="none")[0][0])


def nearest(hypothesis, references):
    return min((abs(len(r) - len(hypothesis)), len(r)) for r in references)[1]


def brevity_penalty(h, r):
    return 1.0 if h >= r else math.exp(1 - r / h)


def geometric(precisions):
    return math.prod(precisions) ** (1 / len(precisions))


def corpus(
    hypotheses, references, count=matches_of, length=nearest, penalty=brevity_penalty, mean=geometric,
    orders=(1, 2, 3, 4), scale=100.0,
):  # fmt: skip
    """Corpus BLEU in which every detail can be replaced by a wrong one."""
    precisions = []
    for n in orders:
        both = [count(h, r, n) for h, r in zip(hypotheses, references, strict=True)]
        matches, total = sum(m for m, _ in both), sum(t for _, t in both)
        precisions.append(matches / total if total else 0.0)
    h = sum(map(len, hypotheses))
    r = sum(length(hypothesis, alternatives) for hypothesis, alternatives in zip(hypotheses, references, strict=True))
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
    return 100 * (brevity_penalty(h, r) if h else 0.0) * product**0.25


def penalty_of_sentences(hypotheses, references):
    without = corpus(hypotheses, references, penalty=lambda h, r: 1.0)
    pairs = zip(hypotheses, references, strict=True)
    return without * sum(brevity_penalty(len(h), nearest(h, r)) if h else 0.0 for h, r in pairs) / len(hypotheses)


def skip_zeros(precisions):
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


def single(*sentences: str) -> list[list[list[str]]]:
    """A list with one reference for each sentence."""
    return [[sentence.split()] for sentence in sentences]


MAT = "the cat sat on the mat ."


def unseen_corpora(seed):
    generator = torch.Generator().manual_seed(seed)
    vocabulary = "the cat sat on a mat today .".split()
    hypotheses, several = [], []
    for size in (6 + seed % 4, 9, 5 + seed % 3):
        sentence = [vocabulary[i] for i in torch.randint(8, (size,), generator=generator).tolist()]
        at = int(torch.randint(size, (1,), generator=generator))
        hypotheses.append([*sentence[:at], "dog", *sentence[at + 1 :]])
        several.append([[*sentence, "again"], sentence[: size - seed % 2]])
    return [
        Case("two references each", hypotheses=hypotheses, references=several),
        Case("one reference each", hypotheses=hypotheses, references=[alternatives[:1] for alternatives in several]),
    ]


bleu = Exercise(
    name="bleu",
    asks="Compute corpus BLEU: the geometric mean of the four clipped precisions, times the brevity penalty, "
        "times 100.",
    reference=library_bleu,
    section="10.9",
    rtol=1e-3,
    atol=1e-3,
    cases=[
        Case("one wrong word", hypotheses=words("the cat sat on a mat ."), references=single(MAT)),
        Case("a perfect translation", hypotheses=words(MAT), references=single(MAT)),
        Case("too short", hypotheses=words("the cat sat on the"), references=single(MAT)),
        Case("too long", hypotheses=words("yes , the cat sat on the mat . again"), references=single(MAT)),
        Case(
            "a repeated phrase",
            hypotheses=words("the cat sat on the cat sat on"),
            references=single("so the cat sat on it"),
        ),
        Case(
            "two sentences, one of them without a matching 4-gram",
            hypotheses=words("Rosa sang all day long .", "the dog ran home"),
            references=single("Rosa sang all day long .", "the dog went home again"),
        ),
        Case(
            "a sentence of three words, and a long one",
            hypotheses=words("Rosa sang .", "the old cat sat on the red mat today"),
            references=single("Rosa sang .", "the old cat sat on the mat"),
        ),
        Case(
            "a short one and a long one",
            hypotheses=words("the cat sat on", "in the evening the children sang a song together"),
            references=single("the cat sat on the mat .", "in the evening the children sang"),
        ),
        Case(
            "two references",
            hypotheses=words("the cat sat on the mat today ."),
            references=[words("a cat sat on the mat .", "today the cat was sitting on the mat today . so it seemed")],
        ),
        Case(
            "the longer of two references is closer in length",
            hypotheses=words("the cat sat on the mat today"),
            references=[words("the cat sat", "the cat sat on the mat all day")],
        ),
        Case(
            "two references equally close in length",
            hypotheses=words("Anna lost the key on her way"),
            references=[words("Anna had lost the key on her way", "Anna lost the key then .")],
        ),
        Case(
            "a word that occurs once in each of two references",
            hypotheses=words("they sang and sang and sang all day long"),
            references=[words("they sang and danced all day long .", "and all day long they sang and sang .")],
        ),
        Case("no matching 4-gram", hypotheses=words("the cat sat mat"), references=single("the cat sat on the mat")),
        Case("empty hypotheses", hypotheses=[[], []], references=single("the cat", "the dog")),
        Case("far too short", hypotheses=words("the cat sat on"), references=single(f"{MAT} so the dog lay down .")),
        Case("three words, all right", hypotheses=words("the cat sat"), references=single("the cat sat")),
        Case("one empty hypothesis of two", hypotheses=words("", MAT), references=single("the dog", MAT)),
        Case("capital letters", hypotheses=words("The Cat sat on the mat . The dog ran ."),
             references=single("the cat sat on the mat . The dog ran .")),
        Case("three references, the middle one closest in length", hypotheses=words("the cat sat on the mat now"),
             references=[words("on the mat", "a cat is on the mat now", "the cat sat on the big red mat right now")]),
        Case("forty sentences", hypotheses=words(*[MAT] * 39, "a dog ran home"),
             references=single(*[MAT] * 39, "one day the dog ran home")),
    ],
    random_cases=unseen_corpora,
    misconceptions=[
        Misconception(
            "no brevity penalty",
            bleu_with(penalty=lambda h, r: 1.0),
            "You left out the brevity penalty. A system that translates only the words it is sure of would win.",
            "What does your formula give for a perfect first half of a sentence?",
            "10.9",
        ),
        Misconception(
            "inverted brevity penalty",
            bleu_with(penalty=lambda h, r: 1.0 if h <= r else math.exp(1 - h / r)),
            "You penalize translations that are too long. Extra words already lower the precisions; the "
            "penalty is for translations that are too *short*.",
            "In 1 - r / h, which length is which?",
            "10.9",
        ),
        Misconception(
            "brevity penalty above 1",
            bleu_with(penalty=lambda h, r: math.exp(1 - r / h)),
            "You used exp(1 - r / h) in both cases. If h is larger than r, this is above 1.",
            "The brevity penalty is never more than 1.",
            "10.9",
        ),
        Misconception(
            "penalty for both short and long",
            bleu_with(penalty=lambda h, r: brevity_penalty(h, r) * brevity_penalty(r, h)),
            "You penalize long translations as well as short ones. Extra words already lower the precisions.",
            "What is BP if h ≥ r?",
            "10.9",
        ),
        Misconception(
            "h / r as the penalty",
            bleu_with(penalty=lambda h, r: min(1.0, h / r)),
            "You used h / r as the penalty. It is exp(1 - r / h), which is more severe.",
            "Read the formula of BP again.",
            "10.9",
        ),
        Misconception(
            "mean of the sentences' penalties",
            penalty_of_sentences,
            "You computed the penalty for each sentence and took the mean. h and r are the lengths of the "
            "whole corpus: a long sentence compensates for a short one.",
            "Sum the lengths first, then compare.",
            "10.9",
        ),
        Misconception(
            "mean of the sentences' BLEU",
            mean_of_sentences,
            "You computed a BLEU for each sentence and took the mean. A sentence without a matching 4-gram "
            "then has 0, however good it is. BLEU sums matches and totals over the corpus *before* it divides.",
            "How many divisions are there for a corpus of 1,000 sentences?",
            "10.9",
        ),
        Misconception(
            "mean of the sentences' precisions",
            mean_of_precisions,
            "You computed precisions for each sentence and took their means. A sentence of three words then "
            "counts as much as one of thirty, and has no 4-grams at all.",
            "Add up the matches and the totals, and divide once for each order.",
            "10.9",
        ),
        Misconception(
            "arithmetic mean of the precisions",
            bleu_with(mean=lambda p: sum(p) / 4),
            "You took the arithmetic mean of the four precisions. The unigrams, which are easy, then hide that "
            "no four words in a row are right.",
            "Use a product and a fourth root, or the exponential of the mean of the logarithms.",
            "10.9",
        ),
        Misconception(
            "no fourth root",
            bleu_with(mean=math.prod),
            "You multiplied the four precisions, but did not take the fourth root.",
            "What is the mean of 1/2, 1/2, 1/2 and 1/2?",
            "10.9",
        ),
        Misconception(
            "harmonic mean of the precisions",
            bleu_with(mean=lambda p: len(p) / sum(1 / x for x in p) if all(p) else 0.0),
            "You took the harmonic mean of the four precisions, as in F1. BLEU takes the geometric mean.",
            "Use a product and a fourth root.",
            "10.9",
        ),
        Misconception(
            "only up to trigrams",
            bleu_with(orders=(1, 2, 3)),
            "You stopped at trigrams: `range(1, 4)` ends before 4.",
            "How many precisions are there?",
            "10.9",
        ),
        Misconception(
            "smoothed precisions",
            bleu_with(count=lambda h, r, n: tuple(x + 1 for x in matches_of(h, r, n))),
            "You added something to the counts so that no precision is 0. That is a smoothed BLEU; here it is not.",
            "What is BLEU if no four words in a row match?",
            "10.9",
            variants=(
                bleu_with(mean=lambda p: geometric([max(x, 1e-9) for x in p])),
                bleu_with(mean=lambda p: geometric([max(x, 1e-2) for x in p])),
                bleu_with(mean=lambda p: geometric([max(x, 0.1) for x in p])),
            ),
        ),
        Misconception(
            "only 4-grams",
            bleu_with(orders=(4,)),
            "You used only p₄. The mean is over all four orders.",
            "Where are unigrams, bigrams and trigrams?",
            "10.9",
        ),
        Misconception(
            "only unigrams",
            bleu_with(orders=(1,)),
            "You used only p₁, which is the same for any order of the words.",
            "Where are bigrams, trigrams and 4-grams?",
            "10.9",
        ),
        Misconception(
            "orders without a match skipped",
            bleu_with(mean=skip_zeros),
            "You skipped the orders without a match. So a text without any matching 4-gram can score higher "
            "than one with some.",
            "What is a product that has a factor 0?",
            "10.9",
        ),
        Misconception(
            "scale from 0 to 1",
            bleu_with(scale=1.0),
            "Your score is between 0 and 1. BLEU is reported from 0 to 100.",
            "One factor is missing.",
            "10.9",
        ),
        Misconception(
            "no clipping",
            bleu_with(count=unclipped),
            "You counted every occurrence of an n-gram that is in a reference, without clipping.",
            "Check `clipped_matches` first.",
            "10.9",
        ),
        Misconception(
            "clipped by the sum over references",
            bleu_with(count=clipped_by_all),
            "You added up the counts of the references, so a word may match once for each of them.",
            "Use the largest count in any single reference.",
            "10.9",
        ),
        Misconception(
            "only the first reference used",
            lambda hypotheses, references: corpus(hypotheses, [several[:1] for several in references]),
            "You used only the first reference of each sentence.",
            "Each entry of `references` is a list of translations.",
            "10.9",
        ),
        Misconception(
            "shortest reference length",
            bleu_with(length=lambda h, rs: min(map(len, rs))),
            "For r you used the shortest reference of each sentence. Use the one closest in length to the "
            "hypothesis.",
            "Minimize abs(len(reference) - len(hypothesis)).",
            "10.9",
        ),
        Misconception(
            "longest reference length",
            bleu_with(length=lambda h, rs: max(map(len, rs))),
            "For r you used the longest reference of each sentence. Use the one closest in length to the "
            "hypothesis.",
            "Minimize abs(len(reference) - len(hypothesis)).",
            "10.9",
        ),
        Misconception(
            "sum of the reference lengths",
            bleu_with(length=lambda h, rs: sum(map(len, rs))),
            "For r you added up all references of a sentence. Two references would make every translation look "
            "half as long as it should be.",
            "Use one length for each sentence.",
            "10.9",
        ),
        Misconception(
            "longer reference in a tie",
            bleu_with(length=nearest_longer),
            "Of two references that are equally close in length, you used the longer one, or the first. Use "
            "the shorter one.",
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
        "First compute four sums of matches and four sums of totals over all sentences; do not divide until "
        "they are complete.",
        "If one of the four sums of matches is 0, return 0.0; otherwise the fourth root of the product of four "
        "fractions.",
        "h is the number of words in all hypotheses; for r, add up the length of `min(several, key=lambda x: "
        "(abs(len(x) - len(hypothesis)), len(x)))` for each hypothesis and its references `several`; "
        "BP = 1 if h ≥ r else exp(1 - r / h).",
    ],
)  # fmt: skip


# 6. fool_bleu

REFERENCE = "Rosa told the baker that she had not broken the blue jug ."


def judge(candidates) -> str:
    """The verdict on the three candidates."""
    texts = candidates()
    if not (isinstance(texts, list | tuple) and len(texts) == 3 and all(isinstance(text, str) for text in texts)):
        return "not three texts"
    reference = REFERENCE.split()
    parrot, liar, poet = (text.split() for text in texts)
    if len(parrot) < 5:
        return "the parrot says fewer than five words"
    matches, total = unclipped(parrot, [reference], 1)
    if matches < total:
        return "the parrot says words that the reference has not"
    if 4 * matches_of(parrot, [reference], 1)[0] > total:
        return "more than one in four of the parrot's words is matched"
    if liar == reference:
        return "the liar says the reference"
    if corpus([liar], [[reference]]) < 60:
        return "the liar has less than 60"
    if len(poet) < 8:
        return "the poet says fewer than eight words"
    return "fine" if corpus([poet], [[reference]]) <= 10 else "the poet has more than 10"


PARROT = "the the the the the the the the"
LIAR = "Rosa told the baker that she had now broken the blue jug ."
POET = "the baker heard from Rosa : it was not me who broke your jug ."

fool_bleu = Exercise(
    name="fool_bleu",
    asks="Write a parrot, a liar and a poet: three candidates that fool BLEU, or would without clipping.",
    reference=lambda: (PARROT, LIAR, POET),
    section="10.10",
    cases=[Case("your three candidates", judge=judge)],
    misconceptions=[
        Misconception(
            "parrot not clipped enough",
            lambda: ("the the the the the", LIAR, POET),
            "More than one in four of your parrot's words is matched even with clipping: the reference has "
            '"the" twice.',
            "Repeat it more often, or use a word that the reference has only once.",
            "10.9",
            variants=(lambda: ("Rosa told the baker that she", LIAR, POET),),
        ),
        Misconception(
            "parrot uses other words",
            lambda: ("jug jug jug jug mug", LIAR, POET),
            "Your parrot uses a word that is not in the reference (comparison is case-sensitive), so its "
            "precision is below 1 even without clipping.",
            "A parrot only repeats.",
            "10.9",
        ),
        Misconception(
            "parrot too short",
            lambda: ("jug jug jug jug", LIAR, POET),
            "Your parrot has fewer than five words.",
            "Parrots talk a lot.",
            "10.9",
        ),
        Misconception(
            "liar equals the reference",
            lambda: (PARROT, REFERENCE, POET),
            "Your liar repeats the reference, word for word.",
            "Which single word could reverse its meaning?",
            "10.10",
        ),
        Misconception(
            "liar changes too much",
            lambda: (PARROT, "Max told the farmer that he had mended a red pot .", POET),
            "Your liar has a BLEU below 60. Every changed word breaks up to four 4-grams.",
            "Change one word; near the beginning or the end of the sentence it breaks fewer n-grams than in "
            "the middle.",
            "10.10",
        ),
        Misconception(
            "poet copies the reference",
            lambda: (PARROT, LIAR, "Rosa told the baker that she did not break the blue jug ."),
            "Your poet has a BLEU above 10: too many of its words are in the reference, in the same order.",
            "BLEU is 0 if no four words in a row are in the reference.",
            "10.10",
        ),
        Misconception(
            "poet too short",
            lambda: (PARROT, LIAR, "it was not me ."),
            "Your poet has fewer than eight words.",
            "Who says what to whom about what?",
            "10.10",
        ),
        Misconception(
            "not three texts",
            lambda: (PARROT, LIAR),
            "You must return three texts: parrot, liar, poet.",
            "`return parrot, liar, poet`, three strings with spaces between the words.",
            "10.10",
            variants=(lambda: (PARROT.split(), LIAR.split(), POET.split()), lambda: " / ".join((PARROT, LIAR, POET))),
        ),
    ],
    accepted={
        'without "not"': lambda: (
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
        "With clipping, how often does a word count if the reference has it once?",
        "One changed word leaves 12 of 13 words right, 10 of 12 bigrams, and so on. Which word carries the meaning?",
        "For the poet, make sure that no four words in a row are in the reference: then p₄ is 0.",
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
        "WHY_FOOLED", "Why can BLEU be fooled, why did people trust it, and when would you not trust it?", 60,
        ["What does BLEU compare: meanings, or runs of words? What do two similar systems have in common on "
         "a thousand sentences that two different systems do not?"], "10.10",
    ),
    WrittenAnswer(
        "EXPERIMENT", "What did you change, what did you predict, what was the result, and what do you conclude?", 60,
        ["Change one thing at a time; three seeds tell you more than one."], "10.7",
    ),
]  # fmt: skip
