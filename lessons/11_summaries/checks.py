"""The checks of lesson 11 and its known mistakes."""

import itertools
import math
import random
from collections import Counter
from fractions import Fraction

import numpy as np
import torch

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer
from llmasos import evaluation as library
from llmasos import nn
from llmasos.datasets.storyworld import summary_facts
from llmasos.evaluation.rouge import rouge_l as library_rouge_l
from llmasos.evaluation.words import rouge_words

READY_ROUGE = {
    "rouge_score": "it has the ready-made ROUGE; write the table yourself",
    "difflib.SequenceMatcher": "it looks for matching blocks, which is something else; write the table yourself",
}
READY_TESTS = {
    "scipy.stats.permutation_test": "it is the ready-made test; go through the signs yourself",
    "scipy.stats.wilcoxon": "it is another test; go through the signs yourself",
}


# 1. rouge_l


def lcs(a, b):
    """The length of a longest common subsequence."""
    above = [0] * (len(b) + 1)
    for x in a:
        row = [0]
        for j, y in enumerate(b):
            row.append(above[j] + 1 if x == y else max(above[j + 1], row[j]))
        above = row
    return above[-1]


def ratio(a, b):
    return a / b if b else 0.0


def scores(summary, reference, matches=lcs, f_of=lambda p, r: ratio(2 * p * r, p + r)):
    """ROUGE-L with replaceable (possibly wrong) steps."""
    m = matches(summary, reference)
    p, r = ratio(m, len(summary)), ratio(m, len(reference))
    return p, r, f_of(p, r)


def longest_block(a, b):
    """The longest run of neighboring words that both contain."""
    above, best = [0] * (len(b) + 1), 0
    for x in a:
        row = [0]
        for j, y in enumerate(b):
            row.append(above[j] + 1 if x == y else 0)
        above, best = row, max(best, *row)
    return best


def bag(a, b):
    return (Counter(a) & Counter(b)).total()


def greedy(a, b):
    """Takes each word of a at its first place in what is left of b."""
    at = matches = 0
    for x in a:
        if x in b[at:]:
            at, matches = at + b[at:].index(x) + 1, matches + 1
    return matches


def in_step(a, b):
    return sum(x == y for x, y in zip(a, b, strict=False))


def edits(a, b):
    """Levenshtein's edit distance, turned into matches."""
    above = list(range(len(b) + 1))
    for i, x in enumerate(a):
        row = [i + 1]
        for j, y in enumerate(b):
            row.append(min(above[j] + (x != y), above[j + 1] + 1, row[j] + 1))
        above = row
    return max(len(a), len(b)) - above[-1]


def table_too_greedy(a, b):
    """A match always adds one to the best neighbor, so that a word can be matched twice."""
    above = [0] * (len(b) + 1)
    for x in a:
        row = [0]
        for j, y in enumerate(b):
            row.append(max(above[j + 1], row[j]) + (x == y))
        above = row
    return above[-1]


def lowered(summary, reference):
    return scores([w.lower() for w in summary], [w.lower() for w in reference])


def rouge_by_recursion(summary, reference):
    known = {}
    for i in range(len(summary), -1, -1):
        for j in range(len(reference), -1, -1):
            if i == len(summary) or j == len(reference):
                known[i, j] = 0
            elif summary[i] == reference[j]:
                known[i, j] = 1 + known[i + 1, j + 1]
            else:
                known[i, j] = max(known[i + 1, j], known[i, j + 1])
    m = Fraction(known[0, 0])
    sizes = len(summary), len(reference)
    return [float(m / max(1, sizes[0])), float(m / max(1, sizes[1])), float(2 * m / max(1, sum(sizes)))]


def rouge_by_numpy(summary, reference):
    table = np.zeros((len(summary) + 1, len(reference) + 1), dtype=int)
    for i, x in enumerate(summary):
        for j, y in enumerate(reference):
            table[i + 1, j + 1] = max(table[i, j] + (x == y), table[i, j + 1], table[i + 1, j])
    p, r = (table[-1, -1] / len(words) if words else 0.0 for words in (summary, reference))
    return p, r, np.float64(2 / (1 / p + 1 / r) if p else 0.0)


def rouge_by_growing_sequences(summary, reference):
    """For each length, the earliest end in the reference of a common subsequence that long (Hunt, Szymanski)."""
    ends = []
    for word in summary:
        for j in range(len(reference) - 1, -1, -1):
            if reference[j] == word:
                k = sum(end < j for end in ends)
                ends[k : k + 1] = [j]
    p, r = len(ends) / max(len(summary), 1), len(ends) / max(len(reference), 1)
    return p, r, 2 * p * r / (p + r) if ends else 0.0


def more_texts(seed):
    rng = random.Random(seed)
    few, many = "a b c".split(), "the cat dog sat ran on mat red".split()
    return [
        Case(
            f"random texts of {n} and {m} words",
            summary=[rng.choice(words) for _ in range(n)],
            reference=[rng.choice(words) for _ in range(m)],
        )
        for words, n, m in ((few, 9 + seed % 4, 7 + seed % 5), (many, 12 + seed % 3, 16), (few, 40 + seed % 30, 55))
    ]


LONG = [random.Random(5).choice("abcdefgh") for _ in range(200)]

rouge_l = Exercise(
    name="rouge_l",
    asks="Compute ROUGE-L, as precision, recall and F1 by the longest common subsequence.",
    reference=lambda summary, reference: tuple(library_rouge_l(summary, reference)),
    section="11.2",
    cases=[
        Case("one of three words is another", summary=["a", "x", "c"], reference=["a", "b", "c"]),
        Case(
            "the example",
            summary="the cat slept on the mat".split(), reference="the dog slept on a mat today".split(),
        ),
        Case("two of four words", summary=["a", "b"], reference=["a", "b", "c", "d"]),
        Case("four words of which two match", summary=["a", "b", "c", "d"], reference=["a", "b"]),
        Case("the other order", summary=["b", "a"], reference=["a", "b"]),
        Case("a word missing in the middle", summary=["a", "c"], reference=["a", "b", "c"]),
        Case("the same word twice", summary=["a", "a", "b"], reference=["a", "b", "a"]),
        Case("a word that comes too late", summary=["c", "a", "b"], reference=["a", "b", "c"]),
        Case("a word that comes too early", summary=["a", "b", "c"], reference=["c", "a", "b"]),
        Case("one word twice against once", summary=["a", "a"], reference=["a"]),
        Case("one word against the same word twice", summary=["a"], reference=["a", "a"]),
        Case("one word against itself", summary=["a"], reference=["a"]),
        Case("a word twice, with another in between", summary=["a", "x", "a"], reference=["b", "a"]),
        Case("a capital letter", summary=["The", "cat"], reference=["the", "cat"]),
        Case("nothing in common", summary=["a", "b"], reference=["c"]),
        Case("an empty summary", summary=[], reference=["a", "b"]),
        Case("an empty reference", summary=["a"], reference=[]),
        Case("two empty texts", summary=[], reference=[]),
        Case("the same text", summary=["a", "b", "a"], reference=["a", "b", "a"]),
        Case("words of several letters", summary=["ab", "c"], reference=["a", "bc"]),
        Case("accents and other scripts", summary=["é", "東"], reference=["東", "schön", "ü"]),
        Case("two hundred words", summary=LONG, reference=LONG[::-1]),
    ],
    random_cases=more_texts,
    misconceptions=[
        Misconception(
            "the longest run of neighboring words",
            lambda s, r: scores(s, r, longest_block),
            "You looked for the longest common run of neighboring words. One wrong word in the middle then costs half "
            "of the score; in a subsequence, other words may come in between.",
            "What may come between two words of a subsequence?",
            "11.2",
        ),
        Misconception(
            "words in any order",
            lambda s, r: scores(s, r, bag),
            "You counted common words without regard to their order. That is ROUGE-1.",
            "What are the matches of \"b a\" and \"a b\"?",
            "11.2",
            variants=(lambda s, r: scores(s, r, lambda a, b: len(set(a) & set(b))),),
        ),
        Misconception(
            "greedy matching",
            lambda s, r: scores(s, r, greedy),
            "You matched each word of the summary as soon as possible. A word that comes late in the reference then "
            "uses up everything before it.",
            "Should a word that could be matched always be matched? Compare both possibilities.",
            "11.2",
            variants=(lambda s, r: scores(s, r, lambda a, b: greedy(b, a)),),
        ),
        Misconception(
            "words at the same position",
            lambda s, r: scores(s, r, in_step),
            "You compared word i of one text with word i of the other. One word left out at the beginning then makes "
            "everything wrong.",
            "The words of a subsequence may be at different positions in the two texts.",
            "11.2",
        ),
        Misconception(
            "edit distance",
            lambda s, r: scores(s, r, edits),
            "You computed an edit distance, in which one word may replace another. In a common subsequence, it cannot.",
            "If two words differ, one or the other is left out. Which number is then carried over?",
            "11.2",
        ),
        Misconception(
            "one word matched twice",
            lambda s, r: scores(s, r, table_too_greedy),
            "Where two words are equal, you added one to the best of the neighboring entries. These may already "
            "use one of the two words, so it counts twice.",
            "After a match, both words are used up. Which entry knows neither of them?",
            "11.2",
        ),
        Misconception(
            "precision and recall swapped",
            lambda s, r: (scores(s, r)[1], scores(s, r)[0], scores(s, r)[2]),
            "Your precision is the recall, and vice versa. F1 does not show it, since it is symmetric.",
            "Precision asks how much of the *summary* is right.",
            "11.2",
        ),
        Misconception(
            "F1 as the plain mean",
            lambda s, r: scores(s, r, f_of=lambda p, q: (p + q) / 2),
            "You took the plain mean of precision and recall. A summary of one right word would then have an F1 above "
            "0.5.",
            "F1 = 2 P R / (P + R).",
            "11.2",
        ),
        Misconception(
            "factor 2 missing in F1",
            lambda s, r: scores(s, r, f_of=lambda p, q: ratio(p * q, p + q)),
            "Your F1 is half of what it should be: the same text twice gets 0.5.",
            "The harmonic mean of two equal numbers is that number.",
            "11.2",
        ),
        Misconception(
            "the smaller one as F1",
            lambda s, r: scores(s, r, f_of=min),
            "You took the smaller of precision and recall: that is the matches divided by the longer text. F1 is their "
            "harmonic mean.",
            "F1 = 2 P R / (P + R).",
            "11.2",
        ),
        Misconception(
            "upper and lower case are the same",
            lowered,
            "You changed the words to lower case. The exercise compares them as they are; the caller has decided what "
            "a word is.",
            "Compare with ==.",
            "11.2",
        ),
        Misconception(
            "letters instead of words",
            lambda s, r: scores("".join(s), "".join(r)),
            "You joined the words and compared characters.",
            "Both texts are lists; their elements are the words.",
            "11.2",
            variants=(lambda s, r: scores(" ".join(s), " ".join(r)),),
        ),
        Misconception(
            "division by zero",
            lambda s, r: (
                lcs(s, r) / len(s), lcs(s, r) / len(r),
                2 * (lcs(s, r) / len(s)) * (lcs(s, r) / len(r)) / (lcs(s, r) / len(s) + lcs(s, r) / len(r)),
            ),
            "You divided by zero: a text may have no words, or two texts nothing in common.",
            "Which three denominators can be 0?",
            "11.2",
        ),
    ],
    accepted={
        "from the end, fractions": rouge_by_recursion,
        "NumPy": rouge_by_numpy,
        "earliest ends": rouge_by_growing_sequences,
    },
    forbidden=READY_ROUGE,
    hints=[
        "Let L[i][j] be the result for the first i words of the summary and the first j of the reference. What are "
        "L[0][j] and L[i][0]?",
        "If word i and word j are equal, they can be the last words of the subsequence: one more than without both.",
        "Otherwise, one of them is not needed: the larger of L[i - 1][j] and L[i][j - 1]. The last entry is the number "
        "of matches.",
    ],
)  # fmt: skip


# 2. contaminated


def by_the_library(texts, training_texts, n):
    """The library's check reads texts, in lower case; so each word is replaced by a number of its own."""
    number = {}

    def text(words):
        return " ".join(str(number.setdefault(word, len(number))) for word in words)

    if not texts:
        return []
    return library.contamination([text(t) for t in texts], [text(t) for t in training_texts], n)[1].tolist()


def runs(words, n):
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def fractions(texts, training_texts, n, runs_of=runs, of_short=lambda words, n: [tuple(words)], count=set):
    """The fractions with replaceable (possibly wrong) steps."""
    out = []
    for words in texts:
        mine = count(runs_of(words, n) if len(words) >= n else of_short(words, n) if words else [])
        size = min(n, len(words))
        theirs = {run for other in training_texts for run in runs_of(other, size)} if size else set()
        out.append(sum(run in theirs for run in mine) / len(mine) if mine else 0.0)
    return out


def flags(texts, training_texts, n):
    return [float(f > 0) for f in fractions(texts, training_texts, n)]


def of_the_training(texts, training_texts, n):
    theirs = {run for other in training_texts for run in runs(other, n)}
    return [len(set(runs(t, n)) & theirs) / max(1, len(theirs)) for t in texts]


def across_texts(texts, training_texts, n):
    return fractions(texts, [[word for other in training_texts for word in other]], n)


def by_substring(texts, training_texts, n):
    joined = [" ".join(other) for other in training_texts]
    out = []
    for words in texts:
        mine = set(runs(words, min(n, len(words)))) if words else set()
        out.append(sum(any(" ".join(run) in other for other in joined) for run in mine) / max(1, len(mine)))
    return out


def by_shifting(texts, training_texts, n):
    def cut(words, size):
        return set(zip(*(words[k:] for k in range(size)), strict=False))

    out = []
    for words in texts:
        size = min(n, len(words))
        if size == 0:
            out.append(0.0)
            continue
        known = set().union(*(cut(other, size) for other in training_texts)) if training_texts else set()
        mine = cut(words, size)
        out.append(np.float64(len(mine & known) / len(mine)))
    return out


def by_lists(texts, training_texts, n):
    result = []
    for words in texts:
        seen, hits, size = [], 0, min(n, len(words))
        for i in range(len(words) - size + 1):
            run = words[i : i + size]
            if run and run not in seen:
                seen.append(run)
                hits += any(other[j : j + size] == run for other in training_texts for j in range(len(other)))
        result.append(hits / len(seen) if seen else 0)
    return result


def more_corpora(seed):
    rng = random.Random(seed)
    letters = "a b c d".split()

    def text(length):
        return [rng.choice(letters) for _ in range(length)]

    return [
        Case(
            f"random words, n = {n}",
            texts=[text(rng.randint(0, 9)) for _ in range(5 + seed % 3)],
            training_texts=[text(rng.randint(0, 14)) for _ in range(3)],
            n=n,
        )
        for n in (2, 3, 1 + seed % 5)
    ]


ABCD = [["a", "b", "c", "d"]]

contaminated = Exercise(
    name="contaminated",
    asks="Compute for each test text which fraction of its runs of n words is in a training text.",
    reference=by_the_library,
    section="11.7",
    cases=[
        Case("the example", texts=ABCD, training_texts=[["x", "a", "b"], ["c", "d"]], n=2),
        Case("the same text", texts=ABCD, training_texts=ABCD, n=3),
        Case("the same words in another order", texts=ABCD, training_texts=[["d", "c", "b", "a"]], n=2),
        Case("a run across two training texts", texts=[["a", "b"]], training_texts=[["x", "a"], ["b"]], n=2),
        Case("a longer training text", texts=[["a", "b", "x"]], training_texts=[["c", "a", "b", "d", "e"]], n=2),
        Case("the last run alone", texts=[["x", "a", "b"]], training_texts=[["a", "b"]], n=2),
        Case("a run twice in the test text", texts=[["a", "b", "x", "a", "b"]], training_texts=[["a", "b"]], n=2),
        Case("single words", texts=[["a", "x", "b"], ["y"]], training_texts=[["b"], ["a", "z"]], n=1),
        Case("a short text inside a training text", texts=[["b", "c"]], training_texts=ABCD, n=3),
        Case("a short text that is all of a training text", texts=[["b", "c"]], training_texts=[["b", "c"]], n=3),
        Case("a short text whose words are apart", texts=[["b", "d"]], training_texts=ABCD, n=3),
        Case("an empty text", texts=[[], ["a"]], training_texts=[["a"]], n=1),
        Case("no training texts", texts=ABCD, training_texts=[], n=2),
        Case("an empty training text", texts=[["a", "b"]], training_texts=[[]], n=2),
        Case("no texts", texts=[], training_texts=ABCD, n=2),
        Case("a capital letter", texts=[["A", "b"]], training_texts=[["a", "b"]], n=2),
        Case("the end of another word", texts=[["cat", "sat"]], training_texts=[["bobcat", "sat"]], n=2),
        Case("words with spaces", texts=[["a b", "c"]], training_texts=[["a", "b c"]], n=2),
        Case("other words with the same letters", texts=[["ab", "c"]], training_texts=[["a", "bc"]], n=2),
        Case("exactly n words", texts=[["a", "b", "c"]], training_texts=[["a", "b", "c"], ["b", "c"]], n=3),
        Case("a fraction of a third", texts=[["a", "b", "c", "d", "e"]], training_texts=[["b", "c", "d", "x"]], n=3),
        Case("thirteen words", texts=[list("abcdefghijklmno")], training_texts=[list("xabcdefghijklmny")], n=13),
    ],
    random_cases=more_corpora,
    misconceptions=[
        Misconception(
            "the order of the words does not matter",
            lambda *a: fractions(*a, runs_of=lambda w, n: [tuple(sorted(r)) for r in runs(w, n)],
                                 of_short=lambda w, n: [tuple(sorted(w))]),
            "You compared runs without regard to the order of their words.",
            "A run is a tuple, in order.",
            "11.7",
            variants=(
                lambda *a: fractions(*a, runs_of=lambda w, n: [frozenset(r) for r in runs(w, n)],
                                     of_short=lambda w, n: [frozenset(w)]),
            ),
        ),
        Misconception(
            "yes or no",
            flags,
            "You returned whether a text has any known run. The exercise asks for the fraction: one shared run may be "
            "chance, all of them are not.",
            "Divide the number of known runs by the number of runs.",
            "11.7",
        ),
        Misconception(
            "a repeated run counts twice",
            lambda *a: fractions(*a, count=list),
            "You counted a run as often as the text contains it.",
            "Which data structure contains everything once?",
            "11.7",
        ),
        Misconception(
            "runs that do not overlap",
            lambda *a: fractions(*a, runs_of=lambda w, n: [tuple(w[i : i + n]) for i in range(0, len(w) - n + 1, n)]),
            "You cut the texts into pieces of n words. A copy that begins one word later is then not found.",
            "A run may begin at every word.",
            "11.7",
            variants=(
                lambda texts, training_texts, n: [
                    fractions([[*range(0)] or t], training_texts, n)[0] if len(t) < n
                    else (lambda mine, known: sum(r in known for r in mine) / len(mine))(
                        {tuple(t[i : i + n]) for i in range(0, len(t) - n + 1, n)},
                        {r for o in training_texts for r in runs(o, n)},
                    )
                    for t in texts
                ],
            ),
        ),
        Misconception(
            "runs cross from one training text into the next",
            across_texts,
            "You joined the training texts into one, so runs cross the boundary between two of them.",
            "Cut each training text into runs by itself.",
            "11.7",
        ),
        Misconception(
            "short texts are never found",
            lambda *a: fractions(*a, of_short=lambda w, n: []),
            "A text with fewer than n words has no run in your code, so it always counts as clean.",
            "What is its single run, by the docstring?",
            "11.7",
        ),
        Misconception(
            "short texts only match whole texts",
            lambda texts, training_texts, n: [
                float(t in training_texts) if 0 < len(t) < n else fractions([t], training_texts, n)[0] for t in texts
            ],
            "A text with fewer than n words counts in your code only if a whole training text is equal to it.",
            "Look for its words next to each other anywhere in a training text.",
            "11.7",
        ),
        Misconception(
            "divided by the runs of the training texts",
            of_the_training,
            "You divided by the number of runs in the training texts. The question is how much of the *test text* is "
            "known.",
            "Whose runs are in the denominator?",
            "11.7",
        ),
        Misconception(
            "the last run is missing",
            lambda *a: fractions(*a, runs_of=lambda w, n: runs(w, n)[:-1]),
            "You stop one run too early: a text of L words has L - n + 1 runs.",
            "At which word does the last run begin?",
            "11.7",
            variants=(
                lambda texts, training_texts, n: [
                    (lambda mine, known: sum(r in known for r in mine) / len(mine) if mine else 0.0)(
                        set(runs(t, n)[:-1]), {r for o in training_texts for r in runs(o, n)[:-1]}
                    )
                    for t in texts
                ],
            ),
        ),
        Misconception(
            "parts of words match",
            by_substring,
            "You searched for the run as a string. \"cat sat\" is then found in \"bobcat sat\".",
            "Compare words, not characters.",
            "11.7",
        ),
        Misconception(
            "upper and lower case are the same",
            lambda texts, training_texts, n: fractions(
                [[w.lower() for w in t] for t in texts], [[w.lower() for w in t] for t in training_texts], n
            ),
            "You changed the words to lower case. The exercise compares them as they are.",
            "The caller has decided what a word is.",
            "11.7",
        ),
        Misconception(
            "the words are joined",
            lambda *a: fractions(*a, runs_of=lambda w, n: [" ".join(r) for r in runs(w, n)],
                                 of_short=lambda w, n: [" ".join(w)]),
            "You joined the words of a run with spaces. A word may contain a space, so different runs become equal.",
            "A tuple keeps its words apart.",
            "11.7",
            variants=(
                lambda *a: fractions(*a, runs_of=lambda w, n: ["".join(r) for r in runs(w, n)],
                                     of_short=lambda w, n: ["".join(w)]),
            ),
        ),
    ],
    accepted={"shifted lists, NumPy": by_shifting, "lists of lists": by_lists},
    hints=[
        "Write a function that returns the set of all runs of a text. At how many words can a run of n words begin?",
        "One set for all training texts, one for each test text; then the size of an intersection.",
        "For a text of fewer than n words, use its own length in place of n, for the text and for the training texts.",
    ],
)  # fmt: skip


# 3. copy_distribution


def mixed(p_gen, vocabulary, attention, source, copied=None, mix=None):
    """The mixture with replaceable (possibly wrong) steps."""
    V = vocabulary.size(-1)
    if copied is None:
        copied = torch.einsum("bts,bsv->btv", attention, torch.nn.functional.one_hot(source, V).to(attention.dtype))
    p = p_gen[..., None]
    return p * vocabulary + (1 - p) * copied if mix is None else mix(p, vocabulary, copied)


def with_mix(mix):
    return lambda p, v, a, s: mixed(p, v, a, s, mix=mix)


def one_hots(source, V, like):
    return torch.nn.functional.one_hot(source, V).to(like.dtype)


def last_position(p_gen, vocabulary, attention, source):
    copied = torch.zeros_like(vocabulary)
    for s in range(source.size(1)):  # a later position overwrites an earlier one
        index = source[:, s][:, None, None].expand(-1, vocabulary.size(1), 1)
        copied = copied.scatter(2, index, attention[:, :, s : s + 1])
    return mixed(p_gen, vocabulary, attention, source, copied)


def strongest(p_gen, vocabulary, attention, source):
    each = attention[..., None] * one_hots(source, vocabulary.size(-1), attention)[:, None]  # (B, T, S, V)
    return mixed(p_gen, vocabulary, attention, source, each.amax(dim=2))


def mean_of_positions(p_gen, vocabulary, attention, source):
    where = one_hots(source, vocabulary.size(-1), attention)
    copied = torch.einsum("bts,bsv->btv", attention, where) / where.sum(1).clamp(min=1)[:, None]
    return mixed(p_gen, vocabulary, attention, source, copied)


def positions_as_ids(p_gen, vocabulary, attention, source):
    V = vocabulary.size(-1)
    copied = torch.nn.functional.pad(attention, (0, max(0, V - attention.size(-1))))[..., :V]
    return mixed(p_gen, vocabulary, attention, source, copied)


def only_the_peak(p_gen, vocabulary, attention, source):
    top = attention.argmax(-1)  # (B, T)
    token = source.gather(1, top)
    return mixed(p_gen, vocabulary, attention, source, one_hots(token, vocabulary.size(-1), vocabulary))


def by_logarithms(p_gen, vocabulary, attention, source):
    def mix(p, v, c):
        return torch.exp(p * (v + 1e-9).log() + (1 - p) * (c + 1e-9).log())

    return mixed(p_gen, vocabulary, attention, source, mix=mix)


def first_source(p_gen, vocabulary, attention, source):
    return mixed(p_gen, vocabulary, attention, source[:1].expand_as(source))


def hard_switch(p_gen, vocabulary, attention, source):
    return mixed(p_gen, vocabulary, attention, source, mix=lambda p, v, c: torch.where(p > 0.5, v, c))


def softmaxed(p_gen, vocabulary, attention, source):
    return mixed(p_gen, vocabulary.softmax(-1), attention.softmax(-1), source)


def renormalized(p_gen, vocabulary, attention, source):
    out = mixed(p_gen, vocabulary, attention, source, mix=lambda p, v, c: v + c)
    return out / out.sum(-1, keepdim=True)


def by_loops(p_gen, vocabulary, attention, source):
    B, T, S = attention.shape
    out = vocabulary * p_gen.unsqueeze(2)
    rows = []
    for b in range(B):
        for t in range(T):
            row = list(out[b, t])
            for s in range(S):
                row[int(source[b, s])] = row[int(source[b, s])] + attention[b, t, s] * (1 - p_gen[b, t])
            rows.append(torch.stack(row))
    return torch.stack(rows).view(B, T, -1)


def by_scatter(p_gen, vocabulary, attention, source):
    index = source.unsqueeze(1).repeat(1, attention.size(1), 1)
    copied = (1 - p_gen).unsqueeze(-1) * attention
    return (p_gen.unsqueeze(-1) * vocabulary).scatter_add(-1, index, copied)


def by_equality(p_gen, vocabulary, attention, source):
    holds = source[:, :, None] == torch.arange(vocabulary.size(-1), device=source.device)  # (B, S, V)
    copied = torch.where(holds[:, None], attention[..., None], torch.zeros((), dtype=attention.dtype)).sum(2)
    return torch.lerp(copied, vocabulary, p_gen[..., None].expand_as(vocabulary))


def distributions(*shape, seed):
    """Random distributions along the last dimension."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).softmax(-1)


def gates(B, T, seed):
    return torch.rand(B, T, generator=torch.Generator().manual_seed(seed))


def ids(B, S, V, seed):
    return torch.randint(V, (B, S), generator=torch.Generator().manual_seed(seed))


def f32(numbers):
    return torch.tensor(numbers, dtype=torch.float32)


def more_mixtures(seed):
    B, T, S, V = 2 + seed % 2, 3 + seed % 3, 6 + seed % 4, 9 + seed % 5
    return [
        Case(
            f"{B} texts, {T} target and {size} source positions, {words} tokens",
            p_gen=gates(B, T, seed), vocabulary=distributions(B, T, words, seed=seed + 1),
            attention=distributions(B, T, size, seed=seed + 2), source=ids(B, size, words, seed + 3),
        )
        for size, words in ((S, V), (V, 4))
    ]  # fmt: skip


EXAMPLE = {"vocabulary": f32([[[0.5, 0.5, 0.0]]]), "attention": f32([[[0.7, 0.2, 0.1]]])}
TWO_TEXTS = {
    "p_gen": f32([[0.25, 1.0], [0.5, 0.0]]),
    "vocabulary": f32([[[1, 0, 0, 0], [0, 1, 0, 0]], [[0, 0, 1, 0], [0, 0, 0, 1]]]),
    "attention": f32([[[1, 0], [0, 1]], [[0.5, 0.5], [1, 0]]]),
    "source": torch.tensor([[3, 2], [1, 0]]),
}

copy_distribution = Exercise(
    name="copy_distribution",
    asks="Mix the distribution over the vocabulary with the attention to the source, summed by token.",
    reference=nn.copy_distribution,
    section="11.5",
    gradients=True,
    cases=[
        Case("everything is copied from one position", p_gen=f32([[0.0]]), vocabulary=f32([[[1, 0, 0]]]),
             attention=f32([[[1]]]), source=torch.tensor([[2]])),
        Case("nothing is copied", p_gen=f32([[1.0]]), **EXAMPLE, source=torch.tensor([[2, 1, 0]])),
        Case("three different tokens", p_gen=f32([[0.75]]), **EXAMPLE, source=torch.tensor([[2, 1, 0]])),
        Case("the example: a token twice in the source", p_gen=f32([[0.6]]), **EXAMPLE,
             source=torch.tensor([[2, 0, 2]])),
        Case("the same token at every position", p_gen=f32([[0.5]]), **EXAMPLE, source=torch.tensor([[1, 1, 1]])),
        Case("two texts", **TWO_TEXTS),
        Case("more source positions than tokens", p_gen=gates(2, 3, 1), vocabulary=distributions(2, 3, 4, seed=2),
             attention=distributions(2, 3, 9, seed=3), source=ids(2, 9, 4, 4)),
        Case("more tokens than source positions", p_gen=gates(3, 2, 5), vocabulary=distributions(3, 2, 11, seed=6),
             attention=distributions(3, 2, 5, seed=7), source=ids(3, 5, 11, 8)),
        Case("padding in the source", p_gen=f32([[0.5]]), vocabulary=f32([[[0.25, 0.25, 0.5]]]),
             attention=f32([[[0.5, 0.5, 0, 0]]]), source=torch.tensor([[2, 1, 0, 0]])),
        Case("as many texts as target positions", p_gen=gates(3, 3, 9), vocabulary=distributions(3, 3, 3, seed=10),
             attention=distributions(3, 3, 3, seed=11), source=ids(3, 3, 3, 12)),
        Case("tensors that are not contiguous", p_gen=gates(4, 2, 13).T,
             vocabulary=distributions(4, 2, 5, seed=14).transpose(0, 1),
             attention=distributions(4, 2, 6, seed=15).transpose(0, 1), source=ids(6, 2, 5, 16).T),
        Case("float64", p_gen=gates(2, 2, 17).double(), vocabulary=distributions(2, 2, 5, seed=18).double(),
             attention=distributions(2, 2, 4, seed=19).double(), source=ids(2, 4, 5, 20)),
    ],
    random_cases=more_mixtures,
    misconceptions=[
        Misconception(
            "p_gen is the probability of copying",
            with_mix(lambda p, v, c: (1 - p) * v + p * c),
            "You weighted the vocabulary by 1 - p_gen and the copies by p_gen.",
            "\"gen\" is for generate: with p_gen = 1, nothing is copied.",
            "11.5",
        ),
        Misconception(
            "the last position of a token wins",
            last_position,
            "If a token occurs twice in the source, only its last position counts in your code: assigning to the same "
            "place twice keeps the last value. The probabilities then sum to less than 1.",
            "You need an operation that adds, such as `scatter_add`.",
            "11.5",
        ),
        Misconception(
            "only the strongest position of a token",
            strongest,
            "If a token occurs several times in the source, you took its largest attention weight. All its positions "
            "count.",
            "How often is the hero mentioned in a story?",
            "11.5",
        ),
        Misconception(
            "the mean over the positions of a token",
            mean_of_positions,
            "If a token occurs several times in the source, you took the mean of its attention weights. The "
            "probabilities then sum to less than 1.",
            "Copying from position 1 *or* position 4 gives the same token. What does the probability of \"or\" do?",
            "11.5",
        ),
        Misconception(
            "positions used as token ids",
            positions_as_ids,
            "You added the attention to source position s to the token with the id s.",
            "Which token is at position s? `source` knows.",
            "11.5",
        ),
        Misconception(
            "only the most attended position is copied",
            only_the_peak,
            "You copied the token with the largest attention weight, with all of the copy probability. The attention "
            "is a distribution, and an argmax has no gradient: the model could not learn where to look.",
            "Every source position contributes, by its weight.",
            "11.5",
        ),
        Misconception(
            "not weighted",
            with_mix(lambda p, v, c: v + c),
            "You added the two distributions without weights. Their sum is 2.",
            "What are the two weights of a mixture, and what is their sum?",
            "11.5",
            variants=(with_mix(lambda p, v, c: v + (1 - p) * c), with_mix(lambda p, v, c: p * v + c)),
        ),
        Misconception(
            "added and normalized",
            renormalized,
            "You added the two distributions and divided by the sum, so p_gen has no effect.",
            "A mixture of two distributions sums to 1 without a division.",
            "11.5",
        ),
        Misconception(
            "the logarithms are mixed",
            by_logarithms,
            "You mixed the logarithms. A token then needs a high probability in *both* distributions, so a name that "
            "the vocabulary does not expect is never copied.",
            "Mix the probabilities. Either way of getting a token is enough.",
            "11.5",
        ),
        Misconception(
            "the source of the first text for all",
            first_source,
            "You used the source of the first text for the whole batch.",
            "`source` is (B, S). Which index belongs to which text?",
            "11.5",
        ),
        Misconception(
            "a hard switch",
            hard_switch,
            "You either wrote or copied, whichever is more probable. That has no gradient in p_gen, so the model "
            "cannot learn when to copy.",
            "p_gen is a weight.",
            "11.5",
        ),
        Misconception(
            "softmax of a distribution",
            softmaxed,
            "You applied the softmax to probabilities; `vocabulary` and `attention` already are distributions.",
            "What is the sum of vocabulary over its last dimension?",
            "11.5",
        ),
    ],
    accepted={"loops": by_loops, "scatter_add": by_scatter, "comparison, lerp": by_equality},
    hints=[
        "Take one text and one target position, and write a loop over the source positions: to which entry of the "
        "result does position s add something, and how much?",
        "Without a loop: `scatter_add` along the last dimension adds values at the places that an index names.",
        "The index must have the shape of the values, (B, T, S): expand `source` over T. The values are "
        "(1 - p_gen) · attention.",
    ],
)  # fmt: skip


# 4. sign_flip_p


def fraction(a, b, sums_of=None, observed_of=None, count=None, at_least=lambda s, o, tolerance: s >= o - tolerance):
    """The p-value with replaceable (possibly wrong) steps."""
    d = np.array(a, dtype=float) - np.array(b, dtype=float)
    signs = np.array(list(itertools.product((1, -1), repeat=len(d))))
    sums = abs(signs @ d) if sums_of is None else sums_of(signs, d)
    observed = abs(d.sum()) if observed_of is None else observed_of(d)
    hits = int(at_least(sums, observed, 1e-9 * abs(d).sum()).sum())
    return hits / len(sums) if count is None else count(hits, len(sums))


def by_shuffling(a, b):
    """Shuffles b against a. The sum of the differences never changes."""
    return 1.0


def unpaired(a, b):
    """Deals all 2n values into two groups, as if they did not belong together."""
    values, n = np.array([*a, *b], dtype=float), len(a)
    if n > 7:
        return fraction(a, b, count=lambda hits, total: min(1.0, 2 * hits / total))
    observed, total = abs(sum(a) - sum(b)), values.sum()
    sums = [abs(2 * values[list(group)].sum() - total) for group in itertools.combinations(range(2 * n), n)]
    return float(np.mean([s >= observed * (1 - 1e-9) for s in sums]))


def sign_test(a, b):
    return fraction(np.sign(np.subtract(a, b)), np.zeros(len(a)))


def normal_approximation(a, b):
    d = np.subtract(a, b).astype(float)
    scale = math.sqrt((d**2).sum())
    return math.erfc(abs(d.sum()) / scale / math.sqrt(2)) if scale else 1.0


def without_tolerance(a, b, factor=1.0):
    """Sums in Python, one number after the other: the same digits on every processor."""
    d = [x - y for x, y in zip(a, b, strict=True)]
    observed = abs(sum(d))
    sums = [
        abs(sum(s * x for s, x in zip(signs, d, strict=True))) for signs in itertools.product((1, -1), repeat=len(d))
    ]
    return sum(s >= observed * factor for s in sums) / len(sums)


def by_bits(a, b):
    d = [x - y for x, y in zip(a, b, strict=True)]
    observed, hits = abs(math.fsum(d)), 0
    for code in range(2 ** len(d)):
        total = math.fsum(x if code >> i & 1 else -x for i, x in enumerate(d))
        hits += abs(total) >= observed - 1e-9 * math.fsum(map(abs, d))
    return hits / 2 ** len(d)


def by_growing_sums(a, b):
    sums = [0.0]
    for x, y in zip(a, b, strict=True):
        sums = [s + sign * (x - y) for s in sums for sign in (1, -1)]
    observed = abs(sums[0]) - 1e-10 * max(sums)  # the largest of them is the sum of all |d|
    return sum(abs(s) >= observed for s in sums) / len(sums)


def by_half_of_the_signs(a, b):
    """The first sign is fixed; the other half are the same sums with the other sign."""
    d = torch.tensor(a, dtype=torch.float64) - torch.tensor(b, dtype=torch.float64)
    sums = d[:1]
    for x in d[1:]:
        sums = torch.cat([sums + x, sums - x])
    return (sums.abs() >= d.sum().abs() - 1e-9 * d.abs().sum()).double().mean().item()


def more_pairs(seed):
    rng = random.Random(seed)
    return [
        Case(
            f"{n} random pairs",
            a=[round(rng.gauss(shift, 1), 3) for _ in range(n)], b=[round(rng.gauss(0, 1), 3) for _ in range(n)],
        )
        for n, shift in ((5, 1), (7 + seed % 3, 0.5), (10, -0.7))
    ]  # fmt: skip


FOURTEEN = [0.3, 1.1, -0.2, 0.7, 0.9, 0.45, -0.6, 1.3, 0.25, 0.8, -0.35, 0.65, 0.15, 0.5]

sign_flip_p = Exercise(
    name="sign_flip_p",
    asks="Compute the exact two-sided p-value of a paired test by flipping signs.",
    reference=lambda a, b: library.sign_flip_test(a, b),
    section="11.8",
    cases=[
        Case("the example", a=[3, 5, 4], b=[1, 2, 3]),
        Case("one pair", a=[1.0], b=[0.0]),
        Case("A is always worse", a=[1, 2, 3], b=[3, 5, 4]),
        Case("one pair goes the other way", a=[4, 6, 1, 5], b=[1, 2, 2, 3]),
        Case("the differences cancel", a=[1, 0, 5], b=[0, 1, 5]),
        Case("all pairs are equal", a=[0.5, 0.25], b=[0.5, 0.25]),
        Case("two pairs are equal", a=[3, 1, 1, 2], b=[1, 1, 1, 1]),
        Case("pairs that belong together", a=[11, 21, 31, 41, 51], b=[10, 20, 30, 40, 50]),
        Case("one large difference the other way", a=[2, 2, 2, 0], b=[1, 1, 1, 4]),
        Case("equal sums in another order", a=[0.1, 0.2, -0.3, 0.4], b=[0.0, 0.0, 0.0, 0.0]),
        Case("differences that cancel, in tenths", a=[-0.1, -0.7, 0.8, 0.9, 0.3, -1.2], b=[0.0] * 6),
        Case("equal sums of differences in tenths", a=[0.9, 0.2, 0.6, 0.7], b=[0.6, 0.4, 0.9, 0.8]),
        Case("small differences of large numbers", a=[1000.5, 1001.25, 999, 1002], b=[1000, 1001, 1000, 1000]),
        Case("very small scores", a=[3e-11, 5e-11, 1e-11, 4e-11], b=[1e-11, 2e-11, 2e-11, 3e-11]),
        Case("six seeds", a=[0.91, 0.88, 0.93, 0.90, 0.87, 0.92], b=[0.89, 0.885, 0.90, 0.905, 0.86, 0.90]),
        Case("fourteen pairs", a=FOURTEEN, b=[0.0] * 14),
    ],
    random_cases=more_pairs,
    misconceptions=[
        Misconception(
            "one-sided",
            lambda a, b: fraction(a, b, sums_of=lambda s, d: s @ d, observed_of=lambda d: d.sum()),
            "You counted only the sums in one direction. That halves the p-value, and is honest only if you chose the "
            "direction before you saw the results.",
            "Two-sided: compare absolute values.",
            "11.8",
            variants=(lambda a, b: fraction(a, b, sums_of=lambda s, d: s @ d),),
        ),
        Misconception(
            "the observed sum without its absolute value",
            lambda a, b: fraction(a, b, observed_of=lambda d: d.sum()),
            "You compared absolute sums with a sum that may be negative. Then all choices of signs count, and p is 1.",
            "Both sides of the comparison need the absolute value.",
            "11.8",
        ),
        Misconception(
            "more, not at least as much",
            lambda a, b: fraction(a, b, at_least=lambda s, o, tolerance: s > o + tolerance),
            "You counted only the sums beyond the observed one. The observed signs are one of the choices, so p is "
            "never 0.",
            "≥ or >?",
            "11.8",
        ),
        Misconception(
            "the observed signs are left out",
            lambda a, b: fraction(a, b, count=lambda hits, total: (hits - 1) / (total - 1)),
            "You left out the observed choice of signs. It is one of the 2ⁿ.",
            "What should p be for a single pair?",
            "11.8",
            variants=(lambda a, b: fraction(a, b, count=lambda hits, total: (hits - 1) / total),),
        ),
        Misconception(
            "one added above and below",
            lambda a, b: fraction(a, b, count=lambda hits, total: (hits + 1) / (total + 1)),
            "You added 1 to both numbers, which is right for *random* choices of signs, to which the observed one is "
            "added. Here all choices are already included.",
            "Is the observed choice one of the 2ⁿ that you went through?",
            "11.8",
        ),
        Misconception(
            "only the signs count",
            sign_test,
            "You kept only the signs of the differences. That is the sign test: it does not matter to it whether a "
            "difference is large or small.",
            "Flip the signs of the differences themselves.",
            "11.8",
        ),
        Misconception(
            "the pairs are split up",
            unpaired,
            "You dealt all values into two new groups. That is a test for independent groups: what varies from pair to "
            "pair, and is the same for A and B, hides the difference.",
            "Only the two values of a pair may change places. What does that do to their difference?",
            "11.8",
        ),
        Misconception(
            "the second list is shuffled",
            by_shuffling,
            "You changed the order of the second list. The sum of the differences is the same in every order, so p is "
            "always 1.",
            "What changes places if A and B are equally good?",
            "11.8",
        ),
        Misconception(
            "compared with the sum of the absolute differences",
            lambda a, b: fraction(a, b, observed_of=lambda d: abs(d).sum()),
            "You compared with the sum of the |d|, the largest possible sum. It is the observed one only if all "
            "differences have the same sign.",
            "First add, then take the absolute value.",
            "11.8",
        ),
        Misconception(
            "a normal approximation",
            normal_approximation,
            "You used a normal distribution. With few pairs its tails are wrong: it says that three pairs can be "
            "significant, but 2 of 8 choices of signs are always as far out.",
            "Go through all 2ⁿ choices.",
            "11.8",
        ),
        Misconception(
            "one minus p",
            lambda a, b: 1 - fraction(a, b),
            "You returned 1 - p.",
            "A clear difference has a small p.",
            "11.8",
        ),
        Misconception(
            "a tolerance relative to the observed sum",
            lambda a, b: without_tolerance(a, b, 1 - 1e-9),
            "Your tolerance is a part of the observed sum. Where the differences cancel on paper, rounding leaves a "
            "sum of about 10⁻¹⁷, and a part of that is no tolerance: p should be 1.",
            "Which sum do rounding errors grow with?",
            "11.8",
        ),
        Misconception(
            "equal sums differ in their last digits",
            without_tolerance,
            "You compared floating-point sums exactly. 0.1 + 0.2 - 0.3 + 0.4 and -0.1 - 0.2 + 0.3 + 0.4 differ in the "
            "last digit, though not on paper.",
            "Compare with a little less than the observed sum.",
            "11.8",
        ),
    ],
    accepted={"bits, fsum": by_bits, "growing list": by_growing_sums, "half of the signs": by_half_of_the_signs},
    forbidden=READY_TESTS,
    hints=[
        "Three pairs have eight choices of signs. Write down the eight sums of the example.",
        "`itertools.product((1, -1), repeat=n)` goes through all choices.",
        "Count the choices with abs(sum) >= observed - 1e-9 · (the sum of all |d|), and divide by 2ⁿ.",
    ],
)  # fmt: skip


# 5. three_lies

REFERENCE = "Leo loses a key, and the miller brings it back."
TRUTH = {"hero": "Leo", "thing": "key", "outcome": "returned"}


def f1(summary):
    return library_rouge_l(rouge_words(summary), rouge_words(REFERENCE)).f1


def judge(lies) -> str:
    """The verdict on the four summaries."""
    texts = lies()
    if not (isinstance(texts, list | tuple) and len(texts) == 4 and all(isinstance(text, str) for text in texts)):
        return "not four texts"
    read = dict(zip(("hero", "thing", "outcome", "humble"), map(summary_facts, texts), strict=True))
    for name, found in read.items():
        if found is None or found["plot"] != "lost":
            return f"the {name} is not readable as a story about something lost"
        wrong = [fact for fact, truth in TRUTH.items() if found[fact] != truth]
        if wrong != ([] if name == "humble" else [name]):
            return f"the {name} is wrong about {wrong}"
    who, what, outcome, humble = map(f1, texts)
    if min(who, what) < 0.85:
        return "a lie about hero or thing has less than 0.85"
    if outcome < 0.6:
        return "the lie about the outcome has less than 0.6"
    return "fine" if humble < who else "the humble summary has too much"


WHO = "Mia loses a key, and the miller brings it back."
WHAT = "Leo loses a ring, and the miller brings it back."
OUTCOME = "Leo loses a key and gets it back from a crow."
HUMBLE = "Leo loses a key, and somebody whom nobody in the valley had ever seen before brings it back."

three_lies = Exercise(
    name="three_lies",
    asks="Write three summaries that lie about one fact each with a high ROUGE-L, and a true one with a lower one.",
    reference=lambda: (WHO, WHAT, OUTCOME, HUMBLE),
    section="11.4",
    cases=[Case("your four summaries", judge=judge)],
    misconceptions=[
        Misconception(
            "the first one does not lie",
            lambda: (REFERENCE, WHAT, OUTCOME, HUMBLE),
            "Your first summary tells the truth about the hero.",
            "Which word is the hero?",
            "11.4",
        ),
        Misconception(
            "the first one lies about two facts",
            lambda: ("Mia loses a ring, and the miller brings it back.", WHAT, OUTCOME, HUMBLE),
            "Your first summary is wrong about the hero *and* the thing; it must be wrong about the hero alone.",
            "Change one word of the reference.",
            "11.4",
        ),
        Misconception(
            "the second one does not lie about the thing",
            lambda: (WHO, "Leo loses a key, and the baker brings it back.", OUTCOME, HUMBLE),
            "Your second summary tells the truth about the thing. (The finder is not one of the three facts.)",
            "What does Leo lose?",
            "11.4",
            variants=(lambda: (WHO, REFERENCE, OUTCOME, HUMBLE),),
        ),
        Misconception(
            "the third one has the same outcome",
            lambda: (WHO, WHAT, "Leo loses a key, and the crow brings it back.", HUMBLE),
            "Your third summary has the right outcome in the reader's eyes: somebody brings the thing back.",
            "The five endings are listed in the docstring.",
            "11.4",
            variants=(lambda: (WHO, WHAT, REFERENCE, HUMBLE),),
        ),
        Misconception(
            "the third one is too different",
            lambda: (WHO, WHAT, "Leo loses a key and finds it again in the hollow tree behind the old mill.", HUMBLE),
            "Your third summary has a ROUGE-L below 0.6: most of its words are not in the reference.",
            "Which of the five endings shares most words, in the same order, with the reference?",
            "11.2",
        ),
        Misconception(
            "not a form that the reader knows",
            lambda: (WHO, WHAT, "Leo loses a key, and nobody ever brings it home.", HUMBLE),
            "One of your summaries cannot be read: it has none of the five forms of a story about something lost. A "
            "verifier knows only what it was built for.",
            "Keep the form, with its comma and period, and change what is in the gaps. No gap may be empty.",
            "11.4",
            variants=(lambda: (WHO[:-1], WHAT, OUTCOME, HUMBLE), lambda: (WHO, WHAT, OUTCOME, "Leo's key came back.")),
        ),
        Misconception(
            "the true one is too similar",
            lambda: (WHO, WHAT, OUTCOME, REFERENCE),
            "Your last summary does not have a lower ROUGE-L than your first one.",
            "Every further word lowers the precision. Where is there room for many words?",
            "11.2",
            variants=(lambda: (WHO, WHAT, OUTCOME, "Leo loses a key, and the baker brings it back."),),
        ),
        Misconception(
            "the true one is not true",
            lambda: (WHO, WHAT, OUTCOME, "Leo loses a small golden key, and the miller brings it back."),
            "Your last summary is wrong about one of the three facts, as the reader sees them: the thing must be "
            "exactly \"key\", the hero exactly \"Leo\".",
            "Only the finder is free.",
            "11.4",
        ),
        Misconception(
            "not four texts",
            lambda: (WHO, WHAT, OUTCOME),
            "You must return four texts.",
            "`return who, what, outcome, humble`, four strings.",
            "11.4",
            variants=(lambda: " ".join((WHO, WHAT, OUTCOME, HUMBLE)),),
        ),
    ],
    accepted={
        "a list, a thief": lambda: [
            "Finn loses a key, and the miller brings it back.",
            "Leo loses a scarf, and the miller brings it back.",
            "Leo loses a key to a crow and never gets it back.",
            "Leo loses a key, and a stranger from a faraway town on the other side of the mountains brings it back.",
        ],
        "never found": lambda: (
            "Leonie loses a key, and the miller brings it back.",
            "Leo loses a kite, and the miller brings it back.",
            "Leo loses a key and never finds it again.",
            "Leo loses a key, and his old rival from the house beyond the bridge brings it back.",
        ),
    },
    hints=[
        "Ten words: one changed word leaves nine of ten.",
        "For the outcome, write down the five endings with Leo and the key, and count the common words.",
        "The pattern of the right ending is \"… loses …, and … brings it back.\" Anything may fill the last gap.",
    ],
)  # fmt: skip

EXERCISES = [
    rouge_l,
    contaminated,
    copy_distribution,
    sign_flip_p,
    three_lies,
    WrittenAnswer(
        "WHY_LIES", "Why does ROUGE rate lies so high, why was it useful, and how would you notice lies in real news?",
        60,
        ["What does ROUGE count, and which words carry the facts? What do the mistakes of two extractive systems have "
         "in common, which only choose sentences from the text?"], "11.4",
    ),
    WrittenAnswer(
        "EXPERIMENT", "What did you change, what did you predict, what was the result, and what do you conclude?", 60,
        ["Change one thing at a time, and say how many seeds would settle it (11.8)."], "11.6",
    ),
]  # fmt: skip
