"""What is checked in lesson 18, and the known mistakes."""

import math
from collections import Counter
from random import Random

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer

# 1. precision_recall


def ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def precision_recall_reference(dropped: list[bool], guilty: list[bool]) -> tuple[float, float]:
    hits = sum(d and g for d, g in zip(dropped, guilty, strict=True))
    return ratio(hits, sum(dropped)), ratio(hits, sum(guilty))


def by_sets(dropped: list[bool], guilty: list[bool]) -> tuple[float, float]:
    d = {i for i, value in enumerate(dropped) if value}
    g = {i for i, value in enumerate(guilty) if value}
    return (len(d & g) / len(d) if d else 1.0), (len(d & g) / len(g) if g else 1.0)


def by_loops(dropped: list[bool], guilty: list[bool]) -> list[float]:
    tp = fp = fn = 0
    for i in range(len(dropped)):
        if dropped[i] and guilty[i]:
            tp += 1
        elif dropped[i]:
            fp += 1
        elif guilty[i]:
            fn += 1
    return [1.0 if tp + fp == 0 else tp / (tp + fp), 1.0 if tp + fn == 0 else tp / (tp + fn)]


def filter_cases(seed: int) -> list[Case]:
    rng = Random(seed)
    return [
        Case(
            f"{n} documents",
            dropped=[rng.random() < 0.4 for _ in range(n)],
            guilty=[rng.random() < 0.6 for _ in range(n)],
        )
        for n in (30, 200)
    ]


precision_recall = Exercise(
    name="precision_recall",
    asks="Of the dropped documents, which fraction is guilty; of the guilty ones, which fraction was dropped?",
    reference=precision_recall_reference,
    section="18.2",
    rtol=1e-6,
    atol=1e-9,
    cases=[
        Case("the example", dropped=[True, True, False, False], guilty=[True, False, True, True]),
        Case("five documents", dropped=[True, True, True, True, False], guilty=[True, False, False, False, False]),
        Case("half of the guilty", dropped=[True, False], guilty=[True, True]),
        Case("all right", dropped=[True, False], guilty=[True, False]),
        Case("all wrong", dropped=[True, False, False], guilty=[False, True, True]),
        Case("nothing dropped", dropped=[False, False, False], guilty=[True, False, False]),
        Case("nobody guilty", dropped=[True, False], guilty=[False, False]),
        Case("neither", dropped=[False], guilty=[False]),
        Case("no documents", dropped=[], guilty=[]),
        Case("everything dropped", dropped=[True] * 5, guilty=[True, False, True, False, False]),
        *filter_cases(0),
    ],
    random_cases=filter_cases,
    misconceptions=[
        Misconception(
            "the two are swapped",
            lambda dropped, guilty: precision_recall_reference(dropped, guilty)[::-1],
            "You return recall first. Precision divides by what was dropped, recall by what is guilty.",
            "Which of the two falls if the filter drops everything?",
            "18.2",
        ),
        Misconception(
            "accuracy in place of precision",
            lambda dropped, guilty: (
                ratio(sum(d == g for d, g in zip(dropped, guilty, strict=True)), len(dropped)),
                precision_recall_reference(dropped, guilty)[1],
            ),
            "Your first number is the accuracy: it also counts what was rightly kept. If little is guilty, a filter "
            "that does nothing has a high accuracy.",
            "Look only at the dropped documents.",
            "18.2",
        ),
        Misconception(
            "0 where nothing was dropped",
            lambda dropped, guilty: (
                precision_recall_reference(dropped, guilty)[0] if any(dropped) else 0.0,
                precision_recall_reference(dropped, guilty)[1],
            ),
            "You return precision 0 for a filter that dropped nothing. It has done nothing wrong: 1.0.",
            "What does the docstring say about an empty denominator?",
            "18.2",
        ),
        Misconception(
            "0 where nobody is guilty",
            lambda dropped, guilty: (
                precision_recall_reference(dropped, guilty)[0],
                precision_recall_reference(dropped, guilty)[1] if any(guilty) else 0.0,
            ),
            "You return recall 0 where there was nothing to find. Nothing was missed: 1.0.",
            "What does the docstring say about an empty denominator?",
            "18.2",
        ),
        Misconception(
            "division by zero",
            lambda dropped, guilty: (
                sum(d and g for d, g in zip(dropped, guilty, strict=True)) / sum(dropped),
                sum(d and g for d, g in zip(dropped, guilty, strict=True)) / sum(guilty),
            ),
            "If nothing was dropped, or nobody is guilty, you divide by zero.",
            "Treat the two cases first.",
            "18.2",
        ),
        Misconception(
            "divided by all documents",
            lambda dropped, guilty: (lambda hits: (ratio(hits, len(dropped)), ratio(hits, len(dropped))))(
                sum(d and g for d, g in zip(dropped, guilty, strict=True))
            ),
            "You divide by the number of all documents.",
            "Precision: of the dropped. Recall: of the guilty.",
            "18.2",
        ),
        Misconception(
            "specificity in place of precision",
            lambda dropped, guilty: (
                ratio(sum(not d and not g for d, g in zip(dropped, guilty, strict=True)), sum(not g for g in guilty)),
                precision_recall_reference(dropped, guilty)[1],
            ),
            "Your first number is the fraction of innocent documents that were kept (the specificity). If dirt is "
            "rare, it may be 0.99, and yet most of what is dropped is good text.",
            "The denominator of precision is what the filter dropped.",
            "18.2",
        ),
    ],
    accepted={"sets of numbers": by_sets, "a loop over four cases": by_loops},
    hints=[
        "Three counts are enough: dropped and guilty; dropped; guilty.",
        "`sum` adds up booleans as 0 and 1.",
        "hits / dropped and hits / guilty, and 1.0 where the denominator is 0.",
    ],
)

# 2. jaccard


def runs(words: list[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1))]


def jaccard_reference(first: list[str], second: list[str], n: int) -> float:
    a, b = set(runs(first, n)), set(runs(second, n))
    return len(a & b) / len(a | b)


def jaccard_by_counts(first: list[str], second: list[str], n: int) -> float:
    """|A ∪ B| = |A| + |B| - |A ∩ B|."""

    def shingles(words: list[str]) -> list[list[str]]:
        if len(words) < n:
            return [words]
        out: list[list[str]] = []
        for i in range(len(words) - n + 1):
            if words[i : i + n] not in out:
                out.append(words[i : i + n])
        return out

    a, b = shingles(first), shingles(second)
    both = sum(run in b for run in a)
    return both / (len(a) + len(b) - both)


def jaccard_by_zip(first: list[str], second: list[str], n: int) -> float:
    a, b = (
        set(zip(*(words[i:] for i in range(n)), strict=False)) if len(words) >= n else {tuple(words)}
        for words in (first, second)
    )
    return 1 - len(a ^ b) / len(a.union(b))


def multiset(first: list[str], second: list[str], n: int) -> float:
    a, b = Counter(runs(first, n)), Counter(runs(second, n))
    return (a & b).total() / (a | b).total()


def multiset_by_lists(first: list[str], second: list[str], n: int) -> float:
    a, b = runs(first, n), runs(second, n)
    both = sum(run in b for run in a)
    return both / (len(a) + len(b) - both)


def of_sets(change):
    """The ratio that `change` makes of the two sets of runs."""
    return lambda first, second, n: change(set(runs(first, n)), set(runs(second, n)))


def text_cases(seed: int) -> list[Case]:
    rng = Random(seed)
    cases = []
    for n in (2, 3):
        words = [rng.choice("abcd") for _ in range(30)]
        other = list(words)
        other[rng.randrange(5, 25)] = "x"
        cases.append(Case(f"one other word, n = {n}", first=words, second=other[3:], n=n))
    return cases


jaccard = Exercise(
    name="jaccard",
    asks="The Jaccard similarity of two texts: of all runs of n words, the fraction that both have.",
    reference=jaccard_reference,
    section="18.3",
    rtol=1e-6,
    atol=1e-9,
    cases=[
        Case("the example", first=["a", "b", "c"], second=["b", "c", "d"], n=2),
        Case("the same text", first=["a", "b", "c"], second=["a", "b", "c"], n=2),
        Case("a run that occurs twice", first=["a", "b", "a", "b"], second=["a", "b", "c"], n=2),
        Case("the same words in another order", first=["a", "b", "c"], second=["c", "b", "a"], n=2),
        Case("part of a longer text", first=["a", "b", "c"], second=["a", "b", "c", "d", "e"], n=2),
        Case("exactly n words", first=["a", "b", "c"], second=["a", "b", "c", "d"], n=3),
        Case("fewer than n words, equal", first=["a", "b"], second=["a", "b"], n=5),
        Case("fewer than n words, different", first=["a", "b"], second=["a", "c"], n=3),
        Case("a short and a long text", first=["a", "b"], second=["a", "b", "c", "d"], n=3),
        Case("two empty texts", first=[], second=[], n=2),
        Case("one empty text", first=[], second=["a", "b"], n=2),
        Case("single words", first=["a", "b", "b"], second=["b", "c"], n=1),
        Case("case matters", first=["A", "b", "c"], second=["a", "b", "c"], n=2),
        Case("words that look like one when joined", first=["ab", "c", "d"], second=["a", "bc", "d"], n=2),
        Case("words with spaces in them", first=["a b", "c"], second=["a", "b c"], n=2),
        *text_cases(0),
    ],
    random_cases=text_cases,
    misconceptions=[
        Misconception(
            "each run as often as it occurs",
            multiset,
            "You count a run as often as it occurs. Shingles form a set: each counts once.",
            "How many shingles has 'a b a b' with n = 2?",
            "18.3",
            variants=(multiset_by_lists,),
        ),
        Misconception(
            "divided by the smaller set",
            of_sets(lambda a, b: len(a & b) / min(len(a), len(b))),
            "You divide by the smaller set (the containment). A text that is part of a longer one gets 1.",
            "The denominator is the union.",
            "18.3",
        ),
        Misconception(
            "divided by the sum of both",
            of_sets(lambda a, b: len(a & b) / (len(a) + len(b))),
            "You divide by |A| + |B|, where common shingles count twice. The same text twice would get ½.",
            "|A ∪ B| = |A| + |B| - |A ∩ B|.",
            "18.3",
        ),
        Misconception(
            "Dice coefficient",
            of_sets(lambda a, b: 2 * len(a & b) / (len(a) + len(b))),
            "That is the Dice coefficient, 2 |A ∩ B| / (|A| + |B|). It is larger than the Jaccard similarity, and "
            "MinHash does not estimate it.",
            "The denominator is the union.",
            "18.3",
        ),
        Misconception(
            "the order inside a run does not matter",
            lambda first, second, n: (lambda a, b: len(a & b) / len(a | b))(
                {tuple(sorted(run)) for run in runs(first, n)}, {tuple(sorted(run)) for run in runs(second, n)}
            ),
            "You take the words of a run without their order.",
            "A run is a tuple, not a set.",
            "18.3",
        ),
        Misconception(
            "the last run is missing",
            lambda first, second, n: (lambda a, b: len(a & b) / len(a | b))(
                *({tuple(words[i : i + n]) for i in range(max(1, len(words) - n))} for words in (first, second))
            ),
            "You leave out the last run: a text of T words has T - n + 1 runs of n words.",
            "How many runs of two words are in 'a b c'?",
            "18.3",
        ),
        Misconception(
            "short texts have no shingles",
            lambda first, second, n: (lambda a, b: len(a & b) / len(a | b) if a | b else 0.0)(
                *({tuple(words[i : i + n]) for i in range(len(words) - n + 1)} for words in (first, second))
            ),
            "A text with fewer than n words has no runs in your code, so all short texts are unlike each other.",
            "What is the one shingle of a short text?",
            "18.3",
        ),
        Misconception(
            "runs that do not overlap",
            lambda first, second, n: (lambda a, b: len(a & b) / len(a | b))(
                *(
                    {tuple(words[i : i + n]) for i in range(0, max(1, len(words) - n + 1), n)}
                    for words in (first, second)
                )
            ),
            "Your runs begin at every n-th word only. One more word at the beginning would change all of them.",
            "A run begins at every word.",
            "18.3",
        ),
        Misconception(
            "single words in place of runs",
            lambda first, second, n: len({*first} & {*second}) / len({*first} | {*second}) if first or second else 1.0,
            "You compare sets of single words, so two texts about the same thing are the same text.",
            "What is n for?",
            "18.3",
        ),
    ],
    accepted={"lists, and the size of the union by a formula": jaccard_by_counts, "shifted lists": jaccard_by_zip},
    hints=[
        "Make the set of runs of each text first, as tuples.",
        "Python's sets know & and |.",
        "The runs of a list: words[i : i + n] for i from 0 to len(words) - n; if there is none, the whole list.",
    ],
)

# 3. candidates


def candidates_reference(signatures: list[list[int]], rows: int) -> set[tuple[int, int]]:
    pairs = set()
    for start in range(0, len(signatures[0]) if signatures else 0, rows):
        buckets: dict[tuple[int, ...], list[int]] = {}
        for j, numbers in enumerate(signatures):
            bucket = buckets.setdefault(tuple(numbers[start : start + rows]), [])
            pairs.update((i, j) for i in bucket)
            bucket.append(j)
    return pairs


def candidates_by_one_table(signatures: list[list[int]], rows: int) -> set[tuple[int, int]]:
    table: dict[tuple, list[int]] = {}
    for i, numbers in enumerate(signatures):
        for band in range(len(numbers) // rows):
            table.setdefault((band, *numbers[band * rows : (band + 1) * rows]), []).append(i)
    return {(a, b) for members in table.values() for a in members for b in members if a < b}


def candidates_by_sorting(signatures: list[list[int]], rows: int) -> set[tuple[int, int]]:
    pairs = set()
    for band in range(len(signatures[0]) // rows if signatures else 0):
        keyed = sorted((numbers[band * rows : band * rows + rows], i) for i, numbers in enumerate(signatures))
        for place, (key, i) in enumerate(keyed):
            for other, j in keyed[place + 1 :]:
                if other != key:
                    break
                pairs.add((i, j))
    return pairs


def pairs_where(equal):
    """The pairs of signatures for which `equal` holds."""
    return lambda signatures, rows: {
        (i, j)
        for i in range(len(signatures))
        for j in range(i + 1, len(signatures))
        if equal(signatures[i], signatures[j], rows)
    }


def bands(numbers: list[int], rows: int) -> list[list[int]]:
    return [numbers[i : i + rows] for i in range(0, len(numbers), rows)]


def first_of_bucket(signatures: list[list[int]], rows: int) -> set[tuple[int, int]]:
    pairs = set()
    for start in range(0, len(signatures[0]) if signatures else 0, rows):
        first: dict[tuple[int, ...], int] = {}
        for j, numbers in enumerate(signatures):
            i = first.setdefault(tuple(numbers[start : start + rows]), j)
            if i != j:
                pairs.add((i, j))
    return pairs


def signature_cases(seed: int) -> list[Case]:
    rng = Random(seed)
    return [
        Case(f"rows = {rows}", signatures=[[rng.randrange(3) for _ in range(12)] for _ in range(20)], rows=rows)
        for rows in (2, 3, 4)
    ]


candidates = Exercise(
    name="candidates",
    asks="Find the pairs of signatures that agree in at least one band.",
    reference=candidates_reference,
    section="18.3",
    cases=[
        Case("the example", signatures=[[1, 2, 3, 4], [1, 2, 9, 9], [9, 9, 3, 4]], rows=2),
        Case("half of a band", signatures=[[1, 2, 3, 4], [1, 5, 3, 6]], rows=2),
        Case("a band at another place", signatures=[[1, 2, 3, 4], [3, 4, 7, 8]], rows=2),
        Case("two halves of two bands", signatures=[[1, 2, 3, 4], [8, 2, 3, 9]], rows=2),
        Case("a band in another order", signatures=[[1, 2, 3, 4], [2, 1, 5, 6]], rows=2),
        Case("three texts with the same band", signatures=[[1, 2], [1, 2], [1, 2]], rows=2),
        Case("every band in common", signatures=[[1, 2, 3, 4], [1, 2, 3, 4]], rows=2),
        Case("the last band", signatures=[[1, 2, 3], [4, 5, 3]], rows=1),
        Case("one band", signatures=[[1, 2, 3], [1, 2, 3], [1, 2, 4]], rows=3),
        Case("no texts", signatures=[], rows=2),
        Case("one text", signatures=[[1, 2]], rows=1),
        Case("digits that look alike when joined", signatures=[[1, 11], [11, 1]], rows=2),
        Case("equal sums", signatures=[[1, 4], [2, 3]], rows=2),
        *signature_cases(0),
    ],
    random_cases=signature_cases,
    misconceptions=[
        Misconception(
            "one equal number is enough",
            pairs_where(lambda a, b, rows: any(x == y for x, y in zip(a, b, strict=True))),
            "You compare single numbers. Then nearly all pairs are candidates, and nothing is saved.",
            "All numbers of a band must agree.",
            "18.3",
        ),
        Misconception(
            "all bands must agree",
            pairs_where(lambda a, b, rows: a == b),
            "You ask for all bands. Only copies would be found, and near copies are what we look for.",
            "At least one band.",
            "18.3",
        ),
        Misconception(
            "bands at any place",
            pairs_where(lambda a, b, rows: any(band in bands(b, rows) for band in bands(a, rows))),
            "You compare bands at different places. They come from different hash functions, so nothing follows from "
            "their being equal.",
            "The place of the band belongs to the key.",
            "18.3",
        ),
        Misconception(
            "bands that overlap",
            pairs_where(lambda a, b, rows: any(a[i : i + rows] == b[i : i + rows] for i in range(len(a) - rows + 1))),
            "Your bands begin at every number. They must not overlap, or the formula for their probability is wrong.",
            "The second band begins where the first one ends.",
            "18.3",
        ),
        Misconception(
            "the order inside a band does not matter",
            pairs_where(
                lambda a, b, rows: any(
                    sorted(x) == sorted(y) for x, y in zip(bands(a, rows), bands(b, rows), strict=True)
                )
            ),
            "You compare the numbers of a band without their order. Each comes from another hash function.",
            "A tuple keeps the order.",
            "18.3",
        ),
        Misconception(
            "only with the first text of a bucket",
            first_of_bucket,
            "If three texts have the same band, you pair the second and the third with the first, but not with each "
            "other. (The library does this on purpose: it only needs to know that a text is a copy.)",
            "Three texts make three pairs.",
            "18.3",
        ),
        Misconception(
            "the larger number first",
            lambda signatures, rows: {(j, i) for i, j in candidates_reference(signatures, rows)},
            "Your pairs have the larger number first.",
            "i < j.",
            "18.3",
        ),
        Misconception(
            "only the first band",
            pairs_where(lambda a, b, rows: a[:rows] == b[:rows]),
            "You look at the first band only.",
            "How many bands has a signature of 64 numbers with rows = 4?",
            "18.3",
        ),
    ],
    accepted={"one table for all bands": candidates_by_one_table, "sorting": candidates_by_sorting},
    hints=[
        "For each band, which texts have the same numbers there?",
        "A dictionary from (place of the band, its numbers) to the texts that have it; tuples can be keys.",
        "All pairs i < j within each list of the dictionary.",
    ],
)

# 4. ngram_probability


def followers(text: str, h: str) -> list[str]:
    """The letters that follow h in the text."""
    return [text[i + len(h)] for i in range(len(text) - len(h)) if text.startswith(h, i)]


def interpolated(text: str, context: str, letter: str, weight=lambda after: len(set(after)), base=None) -> float:
    p = 1 / (len(set(text)) + 1) if base is None else base
    for k in range(len(context) + 1):
        after = followers(text, context[len(context) - k :])
        if after:
            u = weight(after)
            p = (after.count(letter) + u * p) / (len(after) + u)
    return p


def by_recursion(text: str, context: str, letter: str) -> float:
    shorter = by_recursion(text, context[1:], letter) if context else 1 / (1 + len({*text}))
    windows = (text[i : i + len(context)] for i in range(len(text)))
    n = Counter(after for h, after in zip(windows, text[len(context) :], strict=False) if h == context)
    return (n[letter] + len(n) * shorter) / (n.total() + len(n)) if n else shorter


def by_tables(text: str, context: str, letter: str) -> float:
    tables: dict[str, dict[str, int]] = {}
    for end in range(len(text)):
        for k in range(min(end, len(context)) + 1):
            table = tables.setdefault(text[end - k : end], {})
            table[text[end]] = table.get(text[end], 0) + 1
    p = 1.0 / (1 + len(tables.get("", {})))
    for start in reversed(range(len(context) + 1)):
        table = tables.get(context[start:])
        if table is not None:
            total, kinds = sum(table.values()), len(table)
            p = table.get(letter, 0) / (total + kinds) + p * kinds / (total + kinds)
    return p


def counted(text: str, context: str, letter: str) -> float:
    """With str.count, which finds no overlapping places, and counts h at the end of the text."""
    p = 1 / (len(set(text)) + 1)
    for k in range(len(context) + 1):
        h = context[len(context) - k :]
        n = text.count(h) if h else len(text)
        if n:
            u = len(set(followers(text, h))) or 1
            p = (text.count(h + letter) + u * p) / (n + u)
    return p


def prefixes(text: str, context: str, letter: str) -> float:
    p = 1 / (len(set(text)) + 1)
    for k in range(len(context) + 1):
        after = followers(text, context[:k])
        if after:
            u = len(set(after))
            p = (after.count(letter) + u * p) / (len(after) + u)
    return p


def backed_off(text: str, context: str, letter: str) -> float:
    for k in range(len(context), -1, -1):
        after = followers(text, context[len(context) - k :])
        if letter in after:
            return after.count(letter) / len(after)
    return 1 / (len(set(text)) + 1)


def longest_only(text: str, context: str, letter: str) -> float:
    after, p = followers(text, context), 1 / (len(set(text)) + 1)
    return (after.count(letter) + len(set(after)) * p) / (len(after) + len(set(after))) if after else p


def unseen_is_zero(text: str, context: str, letter: str) -> float:
    return interpolated(text, context, letter) if followers(text, context) else 0.0


def letter_cases(seed: int) -> list[Case]:
    rng = Random(seed)
    text = "".join(rng.choice("abc ") for _ in range(200))
    return [
        Case(f"context of {k} letters", text=text, context="".join(rng.choice("abc ") for _ in range(k)), letter=letter)
        for k, letter in ((1, "a"), (3, "b"), (5, " "), (2, "z"))
    ]


ngram_probability = Exercise(
    name="ngram_probability",
    asks="The probability of a letter after a context, interpolated with that of shorter contexts (Witten & Bell).",
    reference=interpolated,
    section="18.4",
    rtol=1e-6,
    atol=1e-9,
    cases=[
        Case("the example", text="abab", context="a", letter="b"),
        Case("no context", text="aab", context="", letter="a"),
        Case("no context, a letter that was never seen", text="aab", context="", letter="z"),
        Case("no text", text="", context="", letter="a"),
        Case("no text, a context", text="", context="abc", letter="a"),
        Case("a context that was never seen", text="aab", context="z", letter="a"),
        Case("a context at the end only", text="aab", context="b", letter="a"),
        Case("two different followers", text="abacab", context="a", letter="c"),
        Case("a letter that never followed", text="abab", context="a", letter="a"),
        Case("two letters of context", text="abcabd", context="ab", letter="c"),
        Case("the longer context is unseen, the shorter one not", text="abab", context="za", letter="b"),
        Case("places that overlap", text="aaaa", context="aa", letter="a"),
        Case("upper and lower case", text="AaAa", context="a", letter="A"),
        Case("a context longer than the text", text="ab", context="xxxab", letter="a"),
        Case("a space", text="to be or not to be", context="o", letter=" "),
        *letter_cases(0),
    ],
    random_cases=letter_cases,
    misconceptions=[
        Misconception(
            "places that overlap are not counted",
            counted,
            "You count with `str.count`, which finds no overlapping places ('aa' only twice in 'aaaa'), and also "
            "counts a context at the very end, which nothing follows.",
            "Go through the places of the text one by one.",
            "18.4",
        ),
        Misconception(
            "the weight is 1",
            lambda text, context, letter: interpolated(text, context, letter, weight=lambda after: 1),
            "You give the shorter context the weight 1, whatever follows. After a context with many different "
            "followers a new one is more likely.",
            "u(h) is the number of different letters after h.",
            "18.4",
        ),
        Misconception(
            "u is the number of places",
            lambda text, context, letter: interpolated(text, context, letter, weight=len),
            "Your u(h) counts every follower, so both halves always weigh the same.",
            "How many *different* letters follow?",
            "18.4",
        ),
        Misconception(
            "u is the size of the alphabet",
            lambda text, context, letter: interpolated(text, context, letter, weight=lambda after: len(set(text))),
            "Your u(h) is the number of different letters in the whole text.",
            "Only the letters that follow h.",
            "18.4",
        ),
        Misconception(
            "the first letters of the context",
            prefixes,
            "Your shorter contexts are the first letters of the context. The letters next to the one that is predicted "
            "say most about it.",
            "context[len(context) - k :]",
            "18.4",
        ),
        Misconception(
            "backing off instead of interpolating",
            backed_off,
            "You take the longest context in which the letter was seen. Then the probabilities do not add up to 1.",
            "Every context changes p, from the shortest to the longest.",
            "18.4",
        ),
        Misconception(
            "only the whole context",
            longest_only,
            "You go from the uniform distribution straight to the whole context. The contexts between them know more "
            "than nothing.",
            "The formula is applied len(context) + 1 times.",
            "18.4",
        ),
        Misconception(
            "an unseen context gives 0",
            unseen_is_zero,
            "After a context that was never seen you say 0: whatever comes, it is impossible.",
            "If no letter ever follows h, p stays as it was for the shorter context.",
            "18.4",
        ),
        Misconception(
            "no room for unknown letters",
            lambda text, context, letter: interpolated(text, context, letter, base=1 / max(1, len(set(text)))),
            "You begin with 1 / (number of letters), which leaves nothing for a letter that was never seen.",
            "There is one letter more than those in the text.",
            "18.4",
        ),
        Misconception(
            "maximum likelihood",
            lambda text, context, letter: (lambda after: after.count(letter) / len(after) if after else 0.0)(
                followers(text, context)
            ),
            "That is the relative frequency. What was never seen gets 0, and one typo makes a whole story impossible.",
            "What was smoothing for in lesson 01?",
            "18.4",
        ),
    ],
    accepted={"recursion": by_recursion, "tables of all contexts": by_tables},
    hints=[
        "Write a helper first: the list of the letters that follow h in the text.",
        "From that list come all three numbers: count(letter), len, and len of the set.",
        "A loop over k = 0 … len(context), with h = context[len(context) - k :].",
    ],
)

# 5. exposure


def exposure_reference(canary: float, others: list[float]) -> float:
    rank = 1 + sum(other > canary for other in others) + sum(other == canary for other in others) / 2
    return math.log2(len(others) + 1) - math.log2(rank)


def exposure_by_sorting(canary: float, others: list[float]) -> float:
    import bisect

    ordered = sorted(others)
    left, right = bisect.bisect_left(ordered, canary), bisect.bisect_right(ordered, canary)
    return math.log2((len(others) + 1) / (1 + len(others) - right + (right - left) / 2))


def exposure_by_scores(canary: float, others: list[float]) -> float:
    rank = 1.0
    for other in others:
        rank += 1.0 if other > canary else 0.5 if other == canary else 0.0
    return math.log(len(others) + 1, 2) - math.log(rank, 2)


def with_rank(rank, log=math.log2, extra: int = 1):
    """The exposure with another rank."""
    return lambda canary, others: log(len(others) + extra) - log(rank(canary, others))


def above(canary: float, others: list[float]) -> int:
    return sum(other > canary for other in others)


def ties(canary: float, others: list[float]) -> int:
    return sum(other == canary for other in others)


def canary_cases(seed: int) -> list[Case]:
    rng = Random(seed)
    return [
        Case(f"{n} others", canary=round(rng.gauss(-8, 2), 1), others=[round(rng.gauss(-9, 2), 1) for _ in range(n)])
        for n in (9, 99, 400)
    ]


exposure = Exercise(
    name="exposure",
    asks="The exposure of a canary in bits: log₂ R - log₂ rank.",
    reference=exposure_reference,
    section="18.7",
    rtol=1e-6,
    atol=1e-9,
    cases=[
        Case("the example", canary=-1.0, others=[-5.0, -6.0, -7.0]),
        Case("the least probable of four", canary=-9.0, others=[-5.0, -6.0, -7.0]),
        Case("the second of four", canary=-5.5, others=[-5.0, -6.0, -7.0]),
        Case("one other, more probable", canary=-2.0, others=[-1.0]),
        Case("one other, equal", canary=-2.0, others=[-2.0]),
        Case("two of three equal, one above", canary=-2.0, others=[-2.0, -2.0, -1.0]),
        Case("all equal", canary=-3.0, others=[-3.0] * 7),
        Case("minus infinity", canary=-math.inf, others=[-math.inf, -1.0, -2.0]),
        Case("probabilities close to 1", canary=-1e-9, others=[-1e-8, 0.0]),
        *canary_cases(0),
    ],
    random_cases=canary_cases,
    misconceptions=[
        Misconception(
            "natural logarithm",
            with_rank(lambda c, o: 1 + above(c, o) + ties(c, o) / 2, math.log),
            "You took the natural logarithm, which gives nats. Bits need base 2.",
            "Divide by log 2.",
            "18.7",
        ),
        Misconception(
            "equal ones are not counted",
            with_rank(lambda c, o: 1 + above(c, o)),
            "You count only others that are more probable. A model that gives all codes the same probability would "
            "seem to know the secret.",
            "Half of the equal ones count.",
            "18.7",
        ),
        Misconception(
            "all equal ones are counted",
            with_rank(lambda c, o: 1 + above(c, o) + ties(c, o)),
            "You count all equally probable others as more probable.",
            "Half of the equal ones count.",
            "18.7",
        ),
        Misconception(
            "R without the canary",
            with_rank(lambda c, o: 1 + above(c, o) + ties(c, o) / 2, extra=0),
            "Your R is the number of the others. The canary is a candidate, too.",
            "One canary and three others: R = 4.",
            "18.7",
        ),
        Misconception(
            "rank from the bottom",
            with_rank(lambda c, o: 1 + sum(x < c for x in o) + ties(c, o) / 2),
            "Your rank 1 is the least probable candidate. A well-kept secret would have the highest exposure.",
            "Log-probabilities are negative; which is the larger, -1 or -5?",
            "18.7",
        ),
        Misconception(
            "the rank itself",
            lambda canary, others: 1 + above(canary, others) + ties(canary, others) / 2,
            "You return the rank, which says little without the number of candidates.",
            "log₂ R - log₂ rank.",
            "18.7",
        ),
        Misconception(
            "log-probability in bits",
            lambda canary, others: -canary / math.log(2),
            "You return the information of the canary. It depends on how probable the sentence is, and not on how the "
            "canary compares with the others.",
            "Only the order of the candidates counts.",
            "18.7",
        ),
        Misconception(
            "sign",
            lambda canary, others: -exposure_reference(canary, others),
            "Your sign is wrong: an exposure is never below 0.",
            "log₂ R - log₂ rank; R is at least the rank.",
            "18.7",
        ),
    ],
    accepted={"sorted, and searched": exposure_by_sorting, "a loop": exposure_by_scores},
    hints=[
        "How many others are more probable, and how many equally probable?",
        "rank = 1 + (more probable) + (equal) / 2.",
        "math.log2(len(others) + 1) - math.log2(rank)",
    ],
)

# 6. fooling_pair


def look(find) -> str:
    """What is wrong with the two texts, or "fine"."""
    a, b = find()
    if not all(isinstance(words, list) and all(isinstance(word, str) for word in words) for words in (a, b)):
        return "the two are not lists of words"
    if len(a) != len(b):
        return "the two have different numbers of words"
    if not 10 <= len(a) <= 100:
        return "they do not have 10 to 100 words"
    if min(len({*a}), len({*b})) < 3:
        return "one of them has fewer than three different words"
    if a == b:
        return "the two are the same list"
    return "fine" if jaccard_reference(a, b, 5) == 1 else "their sets of runs differ"


def cycle(start: int, length: int) -> list[str]:
    """The words a b c again and again."""
    return ["abc"[(start + i) % 3] for i in range(length)]


fooling_pair = Exercise(
    name="fooling_pair",
    asks="Find two different texts with the same set of runs of five words.",
    reference=lambda: (cycle(0, 12), cycle(1, 12)),
    section="18.3",
    cases=[Case("your two texts", judge=look)],
    misconceptions=[
        Misconception(
            "the same text twice",
            lambda: (cycle(0, 12), cycle(0, 12)),
            "Your two lists are the same.",
            "The same runs, in another order or number.",
            "18.3",
        ),
        Misconception(
            "one more round",
            lambda: (cycle(0, 12), cycle(0, 15)),
            "Your idea is right, but the two must have equally many words.",
            "Begin one of them at another place.",
            "18.3",
        ),
        Misconception(
            "too few words",
            lambda: (cycle(0, 7), cycle(1, 7)),
            "Your texts must have at least ten words.",
            "Go round more often.",
            "18.3",
        ),
        Misconception(
            "one word again and again",
            lambda: (["a"] * 10, ["b"] * 10),
            "Your texts have fewer than three different words.",
            "Take three words.",
            "18.3",
        ),
        Misconception(
            "the same words in another order",
            lambda: (list("abcdefghijkl"), list("lkjihgfedcba")),
            "The two have the same words, but not the same runs of five words.",
            "Every run of the first must occur in the second, and the other way round.",
            "18.3",
        ),
        Misconception(
            "not lists",
            lambda: ("abcabcabcabc", "bcabcabcabca"),
            "Return two lists of words.",
            '"a b c".split()',
            "18.3",
        ),
    ],
    accepted={
        "two refrains": lambda: (
            "a b c d e f a b c d e f a b c d e f".split(),
            "d e f a b c d e f a b c d e f a b c".split(),
        ),
        "as long as allowed": lambda: [cycle(0, 100), cycle(2, 100)],
    },
    hints=[
        "A set does not know how often something occurs.",
        "A text that goes round in a circle has few different runs.",
        "'a b c a b c …', once begun with a and once with b.",
    ],
)

EXERCISES = [
    precision_recall, jaccard, candidates, ngram_probability, exposure, fooling_pair,
    WrittenAnswer(
        "WHY_FOOLED",
        "What does a set of runs not know about a text, and can this do harm when duplicates are removed?",
        words=40,
        hints=[
            "How often, and in which order, do the runs occur?",
            "Which texts of the real world go round in circles?",
            "What is lost if one of two such texts is dropped?",
        ],
        section="18.3",
    ),
    WrittenAnswer(
        "EXPERIMENT",
        "Change one thing about the cleaning, predict, measure with three seeds, and explain.",
        words=40,
        hints=[
            "Change one thing at a time.",
            "Which documents are now dropped, or kept?",
            "Is the difference larger than that between two seeds?",
        ],
        section="18.5",
    ),
]  # fmt: skip
