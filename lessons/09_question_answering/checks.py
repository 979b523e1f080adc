"""The checks of lesson 09 and its known mistakes."""

import re
import string
from collections import Counter

import torch
from torch import Tensor

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer
from llmasos.evaluation.squad import exact_match, normalize, squad_values, token_f1


def random(*shape: int, seed: int = 0) -> Tensor:
    """Reproducible normal random numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# 1. exact_and_f1


def strip(text: str, lower=True, punctuation=True, articles=r"\b(a|an|the)\b") -> str:
    """SQuAD's normalization; every step can be switched off."""
    text = text.lower() if lower else text
    if punctuation:
        text = text.translate(str.maketrans("", "", string.punctuation))
    if articles:
        text = re.sub(articles, " ", text)
    return " ".join(text.split())


def overlap(a: list[str], b: list[str]) -> int:
    return (Counter(a) & Counter(b)).total()


def f1_of(predicted: list[str], reference: list[str], shared=overlap, empty=None) -> float:
    if not predicted or not reference:
        return float(predicted == reference) if empty is None else empty
    n = shared(predicted, reference)
    precision, recall = n / len(predicted), n / len(reference)
    return 2 * precision * recall / (precision + recall) if n else 0.0


def compare(prediction, answers, strip=strip, f1=f1_of, combine=max):
    """The right comparison; every part can be replaced."""
    answers = [answer for answer in answers if strip(answer)] or [""]
    pairs = [(strip(prediction), strip(answer)) for answer in answers]
    return (
        combine([int(a == b) for a, b in pairs]),
        combine([f1(a.split(), b.split()) for a, b in pairs]),
    )


def mean(values):
    return sum(values) / len(values)


def one_after_another(*words):
    """Articles removed one after another, as substrings."""

    def normal(text):
        text = strip(text, articles=None)
        for word in words:
            text = text.replace(word, "")
        return " ".join(text.split())

    return normal


def spaced(text):
    """Punctuation replaced by a space."""
    return strip(text.translate(str.maketrans({c: " " for c in string.punctuation})))


def at_the_ends(text, of_words=True):
    """Punctuation removed only at the ends of words, or of the whole text."""
    pieces = text.split() if of_words else [text]
    return strip(" ".join(piece.strip(string.punctuation) for piece in pieces), punctuation=False)


def as_sets(predicted, reference):
    return len(set(predicted) & set(reference))


def by_formula(predicted, reference):
    """2PR / (P + R), even if P and R are 0."""
    if not predicted or not reference:
        return float(predicted == reference)
    precision, recall = overlap(predicted, reference) / len(predicted), overlap(predicted, reference) / len(reference)
    return 2 * precision * recall / (precision + recall)


def empty_before(prediction, answers):
    """Emptiness tested on the raw texts."""
    if not prediction or not answers:
        same = int(bool(prediction) == bool(answers))
        return same, float(same)
    return compare(prediction, answers)


def by_library(prediction: str, answers: list[str]) -> tuple[int, float]:
    exact, f1 = squad_values([prediction], [answers])[0]
    return int(exact), float(f1)


def by_loops(prediction, answers):
    def words(text):
        kept = "".join(" " if c.isspace() else c for c in text.lower() if c not in string.punctuation)
        return [word for word in kept.split(" ") if word and word not in ("a", "an", "the")]

    best_exact, best_f1 = 0, 0.0
    for answer in answers or [""]:
        predicted, unmatched, shared = words(prediction), words(answer), 0
        n_reference = len(unmatched)
        for word in predicted:
            if word in unmatched:
                unmatched.remove(word)
                shared += 1
        best_exact = max(best_exact, int(predicted == words(answer)))
        if predicted and n_reference:
            best_f1 = max(best_f1, 2 * shared / (len(predicted) + n_reference))
        elif not predicted and not n_reference:
            best_f1 = 1.0
    return best_exact, best_f1


def unseen_answers(seed):
    kinds = ["the", "The", "mill", "Mill,", "old", "old.", "red", "'red'", "an", "boat"]
    order = torch.randint(len(kinds), (24,), generator=torch.Generator().manual_seed(seed)).tolist()
    several = [[kinds[i] for i in order[a:b]] for a, b in ((0, 4), (4, 9), (9, 14), (14, 17), (17, 24))]
    texts = [" ".join(["mill", *part]) for part in several]
    return [
        Case("two right answers", prediction=texts[0], answers=texts[1:3]),
        Case("one right answer", prediction=texts[3], answers=texts[4:]),
    ]


def word_by_word(predicted, reference):
    """Words shared at the same position."""
    return sum(a == b for a, b in zip(predicted, reference, strict=False))


def split_at_blanks(text):
    """Normalized, but with other white space left in the words."""
    kept = "".join(c for c in text.lower() if c not in string.punctuation)
    return [word for word in kept.split(" ") if word not in ("a", "an", "the", "")]


def compare_lists(prediction, answers, words):
    pairs = [(words(prediction), words(answer)) for answer in answers or [""]]
    return max(int(a == b) for a, b in pairs), max(f1_of(a, b) for a, b in pairs)


exact_and_f1 = Exercise(
    name="exact_and_f1",
    asks="Compare a predicted answer with the right answers by exact match and F1, after SQuAD's normalization.",
    reference=by_library,
    section="9.6",
    cases=[
        Case("one word of two", prediction="red house", answers=["red boat"]),
        Case("all words and an extra one", prediction="big red house", answers=["red house"]),
        Case("an extra article", prediction="the red house", answers=["red house"]),
        Case("a capital letter", prediction="Red house", answers=["red house"]),
        Case("a period", prediction="red house.", answers=["red house"]),
        Case("article, capital letter and period", prediction="The Red house.", answers=["red house"]),
        Case("an article inside a word", prediction="theatre and opera", answers=["atre nd oper"]),
        Case("an article at the end of a word", prediction="bathe now", answers=["bathe"]),
        Case("an apostrophe inside a word", prediction="seven oclock", answers=["seven o'clock"]),
        Case("a word twice", prediction="very very old", answers=["very old"]),
        Case("a repeated word on both sides", prediction="a very very old mill", answers=["very very old"]),
        Case("the words in another order", prediction="old and gray", answers=["gray and old"]),
        Case("two right answers", prediction="in May", answers=["June", "May"]),
        Case("two right answers, the first one matches", prediction="June", answers=["June", "in the month of May"]),
        Case("correctly no answer", prediction="", answers=[]),
        Case("wrongly no answer", prediction="", answers=["the mill"]),
        Case("an answer where there is none", prediction="the mill", answers=[]),
        Case("only an article, where there is no answer", prediction="The", answers=[]),
        Case("no word in common", prediction="the mill", answers=["a boat"]),
        Case("a line break and a tab", prediction="old\nred\t house", answers=["old red house"]),
        Case("a space that does not break", prediction="red\u00a0house", answers=["red house"]),
        Case("every character of string.punctuation", prediction=f"red{string.punctuation}house", answers=["redhouse"]),
        Case("quotation marks that are not in string.punctuation", prediction="“red house”", answers=["red house"]),
        Case("an article with periods", prediction="T.H.E house", answers=["house"]),
        Case("two articles in a row", prediction="the the house", answers=["house"]),
        Case("a capital letter with an accent", prediction="École", answers=["école"]),
        Case("lower case changes nothing else", prediction="STRASSE", answers=["Straße"]),
        Case("only articles on both sides", prediction="a", answers=["The"]),
        Case("part of a word", prediction="house", answers=["houses"]),
        Case("three right answers", prediction="red old mill", answers=["boat", "old red mill", "red mill"]),
    ],
    random_cases=unseen_answers,
    misconceptions=[
        Misconception(
            "articles kept",
            lambda p, a: compare(p, a, lambda t: strip(t, articles=None)),
            'You did not remove a, an and the, so "the mill" and "mill" are different answers.',
            "Which words does the normalization remove?",
            "9.6",
        ),
        Misconception(
            "articles removed inside words",
            lambda p, a: compare(p, a, lambda t: strip(t, articles="(the|an|a)")),
            'You removed the characters a, an and the everywhere, even in the middle of a word: "theatre" '
            'becomes "tre".',
            "Remove whole words only: compare words, or use \\b in a regular expression.",
            "9.6",
            variants=tuple(
                lambda p, a, words=words: compare(p, a, one_after_another(*words))
                for words in (("a ", "an ", "the "), ("the ", "an ", "a "), ("the ", "a ", "an "), ("the", "an", "a"))
            ),
        ),
        Misconception(
            "case-sensitive comparison",
            lambda p, a: compare(p, a, lambda t: strip(t, lower=False)),
            'You did not convert to lower case, so "Red house" at the beginning of a sentence is a different answer.',
            "What is the first step of the normalization?",
            "9.6",
        ),
        Misconception(
            "punctuation kept",
            lambda p, a: compare(p, a, lambda t: strip(t, punctuation=False)),
            "You did not remove the punctuation, so an answer with its period does not match.",
            "string.punctuation lists the characters to remove.",
            "9.6",
        ),
        Misconception(
            "punctuation replaced by a space",
            lambda p, a: compare(p, a, spaced),
            'You replaced punctuation by a space: "o\'clock" becomes two words. SQuAD removes the character '
            "without a replacement.",
            'What is left of "o\'clock" without its apostrophe?',
            "9.6",
        ),
        Misconception(
            "punctuation stripped only at the ends",
            lambda p, a: compare(p, a, at_the_ends),
            'You removed punctuation only at the ends; the apostrophe of "o\'clock" is still there.',
            "strip() looks only at the ends. Remove *every* character of string.punctuation.",
            "9.6",
            variants=(lambda p, a: compare(p, a, lambda t: at_the_ends(t, of_words=False)),),
        ),
        Misconception(
            "no normalization",
            lambda p, a: compare(p, a, lambda t: t),
            "You compared the raw texts. Capital letters, articles and periods then decide what is right.",
            "Normalize both sides before you compare.",
            "9.6",
        ),
        Misconception(
            "repeated words counted without clipping",
            lambda p, a: compare(p, a, f1=lambda f, w: f1_of(f, w, lambda f, w: sum(word in w for word in f))),
            "You counted a word of the prediction as shared every time it occurs, even if the answer has it only once.",
            "Cross out each word of the answer once you have used it; or use & of two collections.Counter objects.",
            "9.6",
        ),
        Misconception(
            "shared words counted as a set",
            lambda p, a: compare(p, a, f1=lambda f, w: f1_of(f, w, as_sets)),
            "You counted distinct words (a set), so a word that *both* sides have twice counts only once.",
            'How many times is "very" shared if both sides have it twice?',
            "9.6",
        ),
        Misconception(
            "F1 over sets of words",
            lambda p, a: compare(p, a, f1=lambda f, w: f1_of(sorted(set(f)), sorted(set(w)))),
            'You turned the words into sets, so "very very old" and "very old" get an F1 of 1.',
            "The denominators of P and R count every word, including repetitions.",
            "9.6",
        ),
        Misconception(
            "precision instead of F1",
            lambda p, a: compare(p, a, f1=lambda f, w: overlap(f, w) / len(f) if f and w else float(f == w)),
            "You returned precision: the fraction of the prediction's words that are right. A single right "
            "word then scores 1.",
            "F1 also includes R: how much of the answer was found.",
            "9.6",
        ),
        Misconception(
            "recall instead of F1",
            lambda p, a: compare(p, a, f1=lambda f, w: overlap(f, w) / len(w) if f and w else float(f == w)),
            "You returned recall: the fraction of the answer's words that were found. The whole context would "
            "then score 1.",
            "F1 also includes P: how much of the prediction is right.",
            "9.6",
        ),
        Misconception(
            "arithmetic mean of P and R",
            lambda p, a: compare(
                p, a, f1=lambda f, w: overlap(f, w) * (1 / len(f) + 1 / len(w)) / 2 if f and w else float(f == w)
            ),
            "You computed (P + R) / 2. F1 is the harmonic mean, which is small if either of the two is small.",
            "2PR / (P + R).",
            "9.6",
        ),
        Misconception(
            "factor 2 missing in F1",
            lambda p, a: compare(p, a, f1=lambda f, w: f1_of(f, w) / (2 if f and w else 1)),
            "Your F1 is PR / (P + R), half of what it should be.",
            "If P and R are both 1, F1 is 1.",
            "9.6",
        ),
        Misconception(
            "shared words divided by the union (Jaccard)",
            lambda p, a: compare(
                p, a, f1=lambda f, w: len({*f} & {*w}) / len({*f} | {*w}) if f and w else float(f == w)
            ),
            "You divided the number of shared words by the number of words in the union (the Jaccard index).",
            "F1 is 2PR / (P + R).",
            "9.6",
            variants=(
                lambda p, a: compare(
                    p,
                    a,
                    f1=lambda f, w: overlap(f, w) / (Counter(f) | Counter(w)).total() if f and w else float(f == w),
                ),
            ),
        ),
        Misconception(
            "characters instead of words",
            lambda p, a: (
                compare(p, a)[0],
                compare(p, a, f1=lambda f, w: f1_of(list(" ".join(f)), list(" ".join(w))))[1],
            ),
            "You counted shared characters; F1 counts shared words.",
            "Over what does a loop over a string run? Split it first.",
            "9.6",
        ),
        Misconception(
            "words compared position by position",
            lambda p, a: compare(p, a, f1=lambda f, w: f1_of(f, w, word_by_word)),
            "You compared the first word with the first, the second with the second. One extra word at the beginning "
            "then costs everything; F1 ignores the order.",
            "A word is shared wherever it is.",
            "9.6",
        ),
        Misconception(
            "exact match is containment",
            lambda p, a: (
                max(int(strip(x) in strip(p)) if strip(x) else int(not strip(p)) for x in a or [""]),
                compare(p, a)[1],
            ),
            "You called it an exact match if the answer occurs anywhere in the prediction.",
            "The two normalized texts must be *equal*.",
            "9.6",
        ),
        Misconception(
            "exact match ignores the order",
            lambda p, a: (
                max(int(sorted(strip(p).split()) == sorted(strip(x).split())) for x in a or [""]),
                compare(p, a)[1],
            ),
            "You compared sorted words, counts or sets, so that the order of the words does not matter. It does for an "
            "exact match.",
            "Compare the normalized texts.",
            "9.6",
        ),
        Misconception(
            "split at blanks only",
            lambda p, a: compare_lists(p, a, split_at_blanks),
            "You split at single blanks, so line breaks and tabs stay inside the words.",
            "What does `split` do without an argument?",
            "9.6",
        ),
        Misconception(
            "only the first right answer used",
            lambda p, a: compare(p, a[:1]),
            "You compared only with the first right answer. A match with any of them is right.",
            "What does the task say about several right answers?",
            "9.6",
        ),
        Misconception(
            "mean over the right answers",
            lambda p, a: compare(p, a, combine=mean),
            "You averaged over the right answers. A prediction that matches one of two right answers would be "
            "only half right.",
            "Take the best comparison, not the mean.",
            "9.6",
            variants=(lambda p, a: (compare(p, a)[0], compare(p, a, combine=mean)[1]),),
        ),
        Misconception(
            "F1 of two empty texts is 0",
            lambda p, a: compare(p, a, f1=lambda f, w: f1_of(f, w, empty=0.0)),
            'You returned 0 when neither side has any words. But "no answer" is right if there is none.',
            "Handle empty texts before you divide.",
            "9.6",
        ),
        Misconception(
            "division by zero without shared words",
            lambda p, a: compare(p, a, f1=by_formula),
            "Without a shared word, P and R are 0, and 2PR / (P + R) divides by 0. F1 is 0 in this case.",
            "Handle the case without shared words before you divide; or use the form 2m / (f + w).",
            "9.6",
        ),
        Misconception(
            "empty list of answers scored 0",
            lambda p, a: compare(p, a) if a else (0, 0.0),
            'You returned 0 whenever the list of answers is empty. But then "" *is* the right answer.',
            "What should the prediction be compared with if the list is empty?",
            "9.6",
            variants=(lambda p, a: (max(compare(p, [x])[0] for x in a), max(compare(p, [x])[1] for x in a)),),
        ),
        Misconception(
            "emptiness tested before normalization",
            empty_before,
            'You tested for an empty text before you normalized it. After normalization "The" has no words either.',
            "Normalize both sides first, then test whether any words are left.",
            "9.6",
        ),
    ],
    accepted={
        "loops over characters and words": by_loops,
        "a counter": compare,
        "NumPy numbers": lambda p, a: (
            tuple(map(float, squad_values([p], [a])[0]))
            and (int(squad_values([p], [a])[0][0]), squad_values([p], [a])[0][1])
        ),
    },
    hints=[
        "Write the normalization as a separate function, and call it for both sides.",
        "Counter(a) & Counter(b) holds each word as often as both sides have it; .total() counts them.",
        'Take the max over the answers, once for exact match and once for F1, and use `answers or [""]`.',
    ],
)


# 2. windows


def cut(n, room, stride):
    """The library's loop (`make_windows`)."""
    return [(begin, min(begin + room, n)) for begin in range(0, max(1, n - stride), room - stride)]


def cut_by_while(n, room, stride):
    spans = [(0, min(room, n))]
    while spans[-1][1] < n:
        begin = spans[-1][1] - stride
        spans.append((begin, min(begin + room, n)))
    return spans


def cut_recursively(n, room, stride, begin=0):
    if begin + room >= n:
        return [[begin, n]]
    return [[begin, begin + room], *cut_recursively(n, room, stride, begin + room - stride)]


def unseen_contexts(seed):
    room = 6 + seed % 7
    sizes = [(40 + seed % 23, room, 1 + seed % 5), (2 * room - 2, room, room - 2), (90, room, room - 1)]
    return [Case(f"{n} tokens", n=n, room=room, stride=stride) for n, room, stride in sizes]


windows = Exercise(
    name="windows",
    asks="Cut a context of n tokens into windows of `room` tokens; neighboring windows share `stride`.",
    reference=cut,
    section="9.4",
    cases=[
        Case("ten tokens, room for five, two shared", n=10, room=5, stride=2),
        Case("everything fits into one window", n=4, room=5, stride=2),
        Case("an exact fit", n=5, room=5, stride=2),
        Case("one token too many", n=6, room=5, stride=2),
        Case("one shared token", n=7, room=3, stride=1),
        Case("the smallest windows", n=5, room=2, stride=1),
        Case("all tokens but one shared", n=5, room=3, stride=2),
        Case("an empty context", n=0, room=4, stride=1),
        Case("the last window ends with the context", n=8, room=5, stride=2),
        Case("a long context", n=170, room=50, stride=16),
        Case("one token", n=1, room=2, stride=1),
        Case("two tokens, the smallest windows", n=2, room=2, stride=1),
        Case("a very long context", n=9000, room=384, stride=128),
    ],
    random_cases=unseen_contexts,
    misconceptions=[
        Misconception(
            "windows moved by the stride",
            lambda n, room, stride: [(b, min(b + room, n)) for b in range(0, max(1, n - room + stride), stride)],
            "You moved each window by `stride`. Here the stride is the number of *shared* tokens, so each "
            "window moves by the rest.",
            "If 2 of 5 tokens are shared, how many are new?",
            "9.4",
            variants=(
                lambda n, room, stride: [(b, min(b + room, n)) for b in range(0, n, stride)],
                lambda n, room, stride: [(b, min(b + room, n)) for b in range(0, max(1, n), stride)],
            ),
        ),
        Misconception(
            "no overlap",
            lambda n, room, stride: cut(n, room, 0),
            "Your windows do not overlap. An answer across a boundary is not complete in any of them.",
            "The next window begins `stride` tokens before this one ends.",
            "9.4",
        ),
        Misconception(
            "last partial window dropped",
            lambda n, room, stride: [w for w in cut(n, room, stride) if w[1] - w[0] == room] or [(0, n)],
            "You left out the last window because it is not full, so the model never reads the last tokens.",
            "The last window may be shorter than the others.",
            "9.4",
        ),
        Misconception(
            "an extra window at the end",
            lambda n, room, stride: [(b, min(b + room, n)) for b in range(0, max(1, n), room - stride)],
            "Your last window is entirely inside the one before it: you started it although the end had been reached.",
            "Stop after the first window that reaches the end of the context.",
            "9.4",
            variants=(lambda n, room, stride: [(b, min(b + room, n)) for b in range(0, n, room - stride)],),
        ),
        Misconception(
            "windows beyond the end of the context",
            lambda n, room, stride: [(b, b + room) for b, _ in cut(n, room, stride)],
            "Your last window ends after the end of the context.",
            "Use min(…, n) for the end.",
            "9.4",
        ),
        Misconception(
            "last window moved back",
            lambda n, room, stride: [*cut(n, room, stride)[:-1], (max(0, n - room), n)],
            "You moved the last window back to make it full. That is a good idea, but then it shares more than "
            "`stride` tokens with the window before it, which the task does not allow.",
            "The last window may be shorter. Where does it begin?",
            "9.4",
        ),
        Misconception(
            "inclusive end",
            lambda n, room, stride: [(b, e - 1) for b, e in cut(n, room, stride)],
            "You returned the index of the last token; `end` is one past it, as in Python's slices.",
            "context[begin:end] must be the window.",
            "9.4",
        ),
        Misconception(
            "no window for an empty context",
            lambda n, room, stride: cut(n, room, stride) if n else [],
            "You returned no window for an empty context. The model would never read the question and could "
            'not say "no answer".',
            "There must always be at least one window.",
            "9.4",
        ),
        Misconception(
            "lengths instead of ends",
            lambda n, room, stride: [(b, e - b) for b, e in cut(n, room, stride)],
            "You returned the length of each window; the second number is where it ends.",
            "context[begin:end] must be the window.",
            "9.4",
        ),
        Misconception(
            "windows one token too far apart",
            lambda n, room, stride: [
                (b, min(b + room, n)) for b in range(0, max(1, n - stride + 1), room - stride + 1)
            ],
            "Your windows share one token too few.",
            "If the first window is (0, 5) and two tokens are shared, the second one begins at 3.",
            "9.4",
            variants=(lambda n, room, stride: cut(n, room, stride - 1),),
        ),
        Misconception(
            "only one window",
            lambda n, room, stride: [(0, min(room, n))],
            "You returned one window and dropped the rest of the context.",
            "How many windows does the example have?",
            "9.4",
        ),
    ],
    accepted={"a while loop": cut_by_while, "recursion, lists": cut_recursively},
    hints=[
        "Write down where each window begins and ends for n = 10, room = 5, stride = 2. How far apart are the "
        "beginnings?",
        "Each window begins `room - stride` tokens after the one before it.",
        "Append windows until one of them ends at n.",
    ],
)


# 3. token_span


def covering(starts, ends, begin, end):
    inside = [i for i in range(len(starts)) if starts[i] < end and ends[i] > begin]
    return inside[0], inside[-1]


def covering_by_bisection(starts, ends, begin, end):
    from bisect import bisect_left, bisect_right

    return bisect_right(ends, begin), bisect_left(starts, end) - 1


def covering_by_characters(starts, ends, begin, end):
    owner = {c: i for i, (s, e) in enumerate(zip(starts, ends, strict=True)) for c in range(s, e)}
    tokens = sorted({owner[c] for c in range(begin, end) if c in owner})
    return tokens[0], tokens[-1]


def first_of(condition, starts, default=0):
    return next((i for i in range(len(starts)) if condition(i)), default)


def last_of(condition, starts, default=None):
    matches = [i for i in range(len(starts)) if condition(i)]
    return matches[-1] if matches else (len(starts) - 1 if default is None else default)


MILL = {"starts": [0, 3, 7, 11], "ends": [2, 6, 10, 15]}  # at the old mill
PIECES = {"starts": [0, 3, 4, 7, 11], "ends": [3, 4, 7, 10, 14]}  # Ann 's old ... with pieces side by side


def unseen_tokens(seed):
    generator = torch.Generator().manual_seed(seed)
    n = 12 + seed % 9
    gaps, sizes = (torch.randint(low, 4, (n,), generator=generator) for low in (0, 1))  # before each token, and of it
    ends = (gaps + sizes).cumsum(0)
    starts = ends - sizes
    picked = torch.randint(n, (2,), generator=generator).sort().values  # the tokens of an answer
    inside = int(sizes[picked[0]]) // 2
    answers = [
        (int(starts[picked[0]]), int(ends[picked[1]])),
        (int(starts[picked[0]]) + inside, int(starts[picked[1]]) + int(sizes[picked[1]])),
    ]
    return [
        Case(f"{n} tokens", starts=starts.tolist(), ends=ends.tolist(), begin=begin, end=end) for begin, end in answers
    ]


token_span = Exercise(
    name="token_span",
    asks="Find the first and the last token that share a character with the answer begin … end - 1.",
    reference=covering_by_bisection,
    section="9.3",
    cases=[
        Case("the old", **MILL, begin=3, end=10),
        Case("one token", **MILL, begin=7, end=10),
        Case("all tokens", **MILL, begin=0, end=15),
        Case("the last token", **MILL, begin=11, end=15),
        Case("beginning inside a token", **MILL, begin=4, end=10),
        Case("ending inside a token", **MILL, begin=3, end=8),
        Case("inside one token", **MILL, begin=12, end=13),
        Case("with the surrounding spaces", **MILL, begin=2, end=11),
        Case("adjacent tokens", **PIECES, begin=3, end=7),
        Case("a token of one character", **PIECES, begin=3, end=4),
        Case("up to the boundary of a token", **PIECES, begin=0, end=3),
        Case("the end of a long token", starts=[0, 2], ends=[1, 40], begin=35, end=38),
        Case("a context of one token", starts=[2], ends=[5], begin=3, end=4),
        Case("spaces before the first and after the last token", starts=[2, 6], ends=[5, 9], begin=0, end=12),
        Case("from the middle of a token to the middle of the next but one", **MILL, begin=5, end=12),
        Case("three hundred tokens", starts=list(range(0, 900, 3)), ends=list(range(2, 902, 3)), begin=600, end=890),
    ],
    random_cases=unseen_tokens,
    misconceptions=[
        Misconception(
            "token after the answer included",
            lambda s, e, b, n: (covering(s, e, b, n)[0], last_of(lambda i: s[i] <= n, s)),
            "You included a token that begins where the answer has already ended: `end` is the character "
            "*after* the answer.",
            "Is a token that begins at `end` part of the answer?",
            "9.3",
        ),
        Misconception(
            "token before the answer included",
            lambda s, e, b, n: (first_of(lambda i: e[i] >= b, s), covering(s, e, b, n)[1]),
            "You included a token that ends where the answer begins: ends[i] is the character *after* the token.",
            "Does a token with ends[i] = begin share a character with the answer?",
            "9.3",
        ),
        Misconception(
            "adjacent tokens included on both sides",
            lambda s, e, b, n: (first_of(lambda i: e[i] >= b, s), last_of(lambda i: s[i] <= n, s)),
            "You included tokens that end where the answer begins, or begin where it ends. `end` and ends[i] "
            "are the characters *after* the answer and the token, so these do not overlap.",
            "< or ≤?",
            "9.3",
        ),
        Misconception(
            "only tokens inside the answer",
            lambda s, e, b, n: (first_of(lambda i: s[i] >= b, s, len(s) - 1), last_of(lambda i: e[i] <= n, s, 0)),
            "You included only tokens that are completely inside the answer. An answer that begins or ends in "
            "the middle of a token loses that token, and may have none left.",
            "Include every token that shares at least one character with the answer.",
            "9.3",
            variants=(
                lambda s, e, b, n: (
                    (inside := [i for i in range(len(s)) if s[i] >= b and e[i] <= n]) and (inside[0], inside[-1])
                ),
                lambda s, e, b, n: ((inside := [i for i in range(len(s)) if s[i] >= b and e[i] <= n])[0], inside[-1]),
                lambda s, e, b, n: (
                    ((inside := [i for i in range(len(s)) if s[i] >= b and e[i] <= n])[0], inside[-1])
                    if any(s[i] >= b and e[i] <= n for i in range(len(s)))
                    else None
                ),
            ),
        ),
        Misconception(
            "exact match of the offsets required",
            lambda s, e, b, n: (s.index(b) if b in s else 0, e.index(n) if n in e else len(e) - 1),
            "You searched for a token that begins exactly where the answer begins, and for one that ends "
            "exactly where it ends. There may be none: answers are marked in characters, without regard to the "
            "tokens.",
            "Compare offsets with < and >, not with ==.",
            "9.3",
            variants=(lambda s, e, b, n: (s.index(b), e.index(n)),),
        ),
        Misconception(
            "spaces at the ends of the answer",
            lambda s, e, b, n: (
                next(i for i in range(len(s)) if s[i] <= b < e[i]),
                next(i for i in range(len(s)) if s[i] < n <= e[i]),
            ),
            "You searched for the tokens that contain the answer's first and last character. That works unless "
            "such a character is a space: it belongs to no token, and your search finds nothing.",
            "Compare the whole answer with each token: which tokens share a character with it?",
            "9.3",
            variants=(
                lambda s, e, b, n: (
                    next((i for i in range(len(s)) if s[i] <= b < e[i]), None),
                    next((i for i in range(len(s)) if s[i] < n <= e[i]), None),
                ),
            ),
        ),
        Misconception(
            "exclusive end index",
            lambda s, e, b, n: (covering(s, e, b, n)[0], covering(s, e, b, n)[1] + 1),
            "You returned the index after the last token, as in a slice. Here both ends are included.",
            "In the example the tokens are (1, 2), not (1, 3).",
            "9.3",
        ),
        Misconception(
            "character offsets instead of tokens",
            lambda s, e, b, n: (b, n - 1),
            "You returned character offsets. The model needs the indices of tokens.",
            "Which i has starts[i] ≤ begin < ends[i]?",
            "9.3",
        ),
        Misconception(
            "only tokens that begin inside the answer",
            lambda s, e, b, n: (first_of(lambda i: s[i] >= b, s, len(s) - 1), covering(s, e, b, n)[1]),
            "You took the first token that *begins* in the answer. If the answer begins in the middle of a token, that "
            "token is lost.",
            "Which token contains the answer's first character?",
            "9.3",
            variants=(
                lambda s, e, b, n: ((inside := [i for i in range(len(s)) if b <= s[i] < n])[0], inside[-1]),
                lambda s, e, b, n: (inside := [i for i in range(len(s)) if b <= s[i] < n]) and (inside[0], inside[-1]),
            ),
        ),
        Misconception(
            "only tokens that end inside the answer",
            lambda s, e, b, n: (covering(s, e, b, n)[0], last_of(lambda i: e[i] <= n, s, 0)),
            "You took the last token that *ends* in the answer. If the answer ends in the middle of a token, that "
            "token "
            "is lost.",
            "Which token contains the answer's last character?",
            "9.3",
            variants=(
                lambda s, e, b, n: ((inside := [i for i in range(len(s)) if b < e[i] <= n])[0], inside[-1]),
                lambda s, e, b, n: (inside := [i for i in range(len(s)) if b < e[i] <= n]) and (inside[0], inside[-1]),
            ),
        ),
        Misconception(
            "number of tokens instead of the last",
            lambda s, e, b, n: (covering(s, e, b, n)[0], covering(s, e, b, n)[1] - covering(s, e, b, n)[0] + 1),
            "Your second number says how many tokens the answer has; it should be the index of the last one.",
            "In the example the tokens are (1, 2).",
            "9.3",
        ),
        Misconception(
            "same token for start and end",
            lambda s, e, b, n: (covering(s, e, b, n)[0],) * 2,
            "You returned the first token twice: an answer of several words loses all but the first.",
            "Find the last token separately, from the end of the answer.",
            "9.3",
        ),
        Misconception(
            "end searched at the character `end`",
            lambda s, e, b, n: (
                first_of(lambda i: s[i] <= b < e[i], s, 0),
                last_of(lambda i: s[i] <= n < e[i], s, len(s) - 1),
            ),
            "You searched for the token that contains the character `end`. But that character is no longer "
            "part of the answer: its last character is end - 1.",
            "Try an answer at the end of the text.",
            "9.3",
        ),
    ],
    accepted={
        "comparison of every token": covering,
        "which token owns each character": covering_by_characters,
        "torch": lambda s, e, b, n: tuple(
            int(i) for i in ((torch.tensor(s) < n) & (torch.tensor(e) > b)).nonzero()[[0, -1], 0]
        ),
    },
    hints=[
        "When do the characters a … b - 1 and c … d - 1 of a text overlap? Draw both on a line.",
        "They overlap if a < d and c < b.",
        "Find all tokens i with starts[i] < end and ends[i] > begin, and take the first and the last of them.",
    ],
)


# 4. best_span


def spans_of(T, longest, lowest=0):
    return [(i, j) for i in range(T) for j in range(i + lowest, min(T, i + longest))]


def search(starts, ends, max_length, score=lambda s, e: s + e, candidates=spans_of):
    return max(candidates(len(starts), max_length), key=lambda ij: float(score(starts[ij[0]], ends[ij[1]])))


def by_matrix(starts, ends, max_length):
    T = len(starts)
    possible = torch.ones(T, T, dtype=torch.bool).triu().tril(max_length - 1)
    scores = (starts[:, None] + ends[None, :]).masked_fill(~possible, -torch.inf)
    return divmod(int(scores.argmax()), T)


def by_running_best(starts, ends, max_length):
    best, span = -float("inf"), None
    for i in range(len(starts)):
        for j in range(i, min(len(starts), i + max_length)):
            if (total := starts[i].item() + ends[j].item()) > best:
                best, span = total, [i, j]
    return span


def start_first(starts, ends, max_length):
    i = int(starts.argmax())
    return i, i + int(ends[i : i + max_length].argmax())


def end_first(starts, ends, max_length):
    j = int(ends.argmax())
    low = max(0, j - max_length + 1)
    return low + int(starts[low : j + 1].argmax()), j


def logits(*rows):
    return [torch.tensor(row, dtype=torch.float32) for row in rows]


def span_arguments(s, e, max_length):
    return {"start_logits": s, "end_logits": e, "max_length": max_length}


def unseen_spans(seed):
    T = 14 + seed % 20
    return [
        Case(f"{T} tokens", **span_arguments(3 * random(T, seed=seed), 3 * random(T, seed=seed + 1), 2 + seed % 6)),
        Case("low logits", **span_arguments(*(random(2, T, seed=seed + 2) - 50).unbind(0), 3 + seed % 3)),
    ]


def of_the_best(k):
    """Only the k best starts and ends, as in many scripts."""

    def choose(s, e, n):
        starts, ends = (x.topk(min(k, len(x))).indices.tolist() for x in (s, e))
        pairs = [(i, j) for i in starts for j in ends if i <= j < i + n]
        return max(pairs, key=lambda ij: (float(s[ij[0]] + e[ij[1]]), -ij[0], -ij[1])) if pairs else (0, 0)

    return choose


def in_order(s, e, n, cut=True):
    """The best start and the best end, swapped if they are in the wrong order."""
    i, j = sorted((int(s.argmax()), int(e.argmax())))
    return i, min(j, i + n - 1) if cut else j


best_span = Exercise(
    name="best_span",
    asks="Find i ≤ j, spanning at most max_length tokens, with the highest start_logits[i] + end_logits[j].",
    reference=by_matrix,
    section="9.5",
    cases=[
        Case("three tokens", **span_arguments(*logits([1, 3, 0], [0, 1, 4]), 3)),
        Case("the best end before the best start", **span_arguments(*logits([1, 0, 5], [4, 0, 1]), 3)),
        Case("a good start without a good end", **span_arguments(*logits([4, 0, 5, 0], [0, 4, 0, 0]), 4)),
        Case("a good end without a good start", **span_arguments(*logits([0, 3, 0, 0], [6, 0, 5, 0]), 4)),
        Case("the best span is too long", **span_arguments(*logits([5, 0, 0, 1], [0, 2, 0, 5]), 2)),
        Case("exactly the maximum length", **span_arguments(*logits([5, 0, 0, 0], [0, 0, 5, 0]), 3)),
        Case("spans of one token", **span_arguments(*logits([0, 2, 1, 0], [0, 0, 2, 4]), 1)),
        Case("all negative", **span_arguments(*logits([-2, -5, -9], [-7, -6, -1]), 2)),
        Case("one very high logit against two high ones", **span_arguments(*logits([5, 4, 0], [-4, 0, 2]), 1)),
        Case("a window of one token", **span_arguments(*logits([3], [-2]), 5)),
        Case("equal scores", **span_arguments(*logits([1, 0, 1, 0], [0, 1, 0, 1]), 2)),
        Case("random numbers", **span_arguments(random(12, seed=1), random(12, seed=2), 4)),
        Case("more random numbers", **span_arguments(3 * random(20, seed=3), 3 * random(20, seed=4), 6)),
        Case("equal ends", **span_arguments(*logits([2, 0, 0], [0, 3, 3]), 3)),
        Case("forty equal scores", **span_arguments(torch.zeros(40), torch.zeros(40), 5)),
        Case("nearly equal scores", **span_arguments(*logits([1, 1 + 2**-12, 0], [2, 2, 0]), 1)),
        Case("very low logits", **span_arguments(*logits([-3e9, -2e9], [-2e9, -1e9]), 2)),
        Case("rising starts, falling ends", **span_arguments(torch.arange(60.0), -0.99 * torch.arange(60.0), 8)),
        Case("columns of a table", **span_arguments(*random(9, 2, seed=5).unbind(1), 3)),
    ],
    random_cases=unseen_spans,
    misconceptions=[
        Misconception(
            "independent argmax of start and end",
            lambda s, e, n: (int(s.argmax()), int(e.argmax())),
            "You took the best start and the best end independently. The end may then come before the start.",
            "Which pairs (i, j) are valid? Take the best of those.",
            "9.5",
        ),
        Misconception(
            "argmax of start and end, swapped into order",
            in_order,
            "You took the best start and the best end independently, and exchanged them if they were in the wrong "
            "order. "
            "Then a good end serves as a start, although the model does not consider it one.",
            "Which pairs (i, j) are valid? Take the best of those.",
            "9.5",
            variants=(lambda s, e, n: in_order(s, e, n, cut=False),),
        ),
        Misconception(
            "argmax of start and end, cut into shape",
            lambda s, e, n: ((i := int(s.argmax())), min(max(i, int(e.argmax())), i + n - 1)),
            "You took the best start and the best end independently, and moved the end until the span was valid. "
            "Nobody "
            "scored that span.",
            "Compare the scores of all valid spans.",
            "9.5",
            variants=(lambda s, e, n: ((i := int(s.argmax())), max(i, int(e.argmax()))),),
        ),
        Misconception(
            "only the best starts and ends combined",
            of_the_best(20),
            "You combined only the k best starts with the k best ends. The best valid span may have neither.",
            "Try rising starts and falling ends.",
            "9.5",
            variants=(of_the_best(10), of_the_best(5), of_the_best(3), of_the_best(2)),
        ),
        Misconception(
            "greedy choice of the start",
            start_first,
            "You fixed the start first. This misses spans with a slightly worse start and a much better end.",
            "Compare the scores of whole spans.",
            "9.5",
        ),
        Misconception(
            "greedy choice of the end",
            end_first,
            "You fixed the end first. This misses spans with a slightly worse end and a much better start.",
            "Compare the scores of whole spans.",
            "9.5",
        ),
        Misconception(
            "no maximum length",
            lambda s, e, n: by_matrix(s, e, len(s)),
            "You ignored max_length: half a story may become the answer.",
            "How many tokens are in the span from i to j?",
            "9.5",
        ),
        Misconception(
            "maximum length off by one, too long",
            lambda s, e, n: by_matrix(s, e, n + 1),
            "You allowed j - i up to max_length, but the span from i to j has j - i + 1 tokens.",
            "How many tokens are in the span from 3 to 3?",
            "9.5",
        ),
        Misconception(
            "maximum length off by one, too short",
            lambda s, e, n: by_matrix(s, e, max(1, n - 1)),
            "You excluded spans of exactly max_length tokens.",
            "At most max_length: is that < or ≤?",
            "9.5",
        ),
        Misconception(
            "product of the logits",
            lambda s, e, n: search(s, e, n, lambda a, b: a * b),
            "You multiplied the logits. We multiply probabilities; logits are log-probabilities up to a "
            "constant, so we add them. Two negative logits would give a large product.",
            "log(p · q) = log p + log q.",
            "9.5",
        ),
        Misconception(
            "sum of the probabilities",
            lambda s, e, n: search(s.softmax(0), e.softmax(0), n),
            "You added the probabilities of start and end. A span with one certain end and one impossible end "
            "then beats a span with two likely ends.",
            "Both start *and* end must be right. How do you combine the probabilities of two events that must "
            "both happen?",
            "9.5",
        ),
        Misconception(
            "end before the start allowed",
            lambda s, e, n: search(
                s, e, n, candidates=lambda T, n: [(i, j) for i in range(T) for j in range(T) if abs(i - j) < n]
            ),
            "You allowed j < i, but such a span contains no text.",
            "A span needs i ≤ j.",
            "9.5",
        ),
        Misconception(
            "spans of one token excluded",
            lambda s, e, n: search(s, e, n, candidates=lambda T, n: spans_of(T, max(n, 2), 1) or [(0, 0)]),
            "You excluded spans of one token, for which i = j.",
            "The condition is i ≤ j, not i < j.",
            "9.5",
        ),
        Misconception(
            "last of several equal scores",
            lambda s, e, n: max(spans_of(len(s), n), key=lambda ij: (float(s[ij[0]] + e[ij[1]]), ij)),
            "Of several spans with the same score, you returned the last one.",
            "> or ≥?",
            "9.5",
        ),
        Misconception(
            "best score initialized with 0",
            lambda s, e, n: search(s, e, n) if max(s[i] + e[j] for i, j in spans_of(len(s), n)) > 0 else (0, 0),
            "You initialized the best score with 0. If all scores are negative, no span is ever better.",
            "Which number is below every score? Or start with the first span.",
            "9.5",
            variants=(
                lambda s, e, n: search(s, e, n) if max(s[i] + e[j] for i, j in spans_of(len(s), n)) > 0 else None,
            ),
        ),
    ],
    accepted={
        "a list of all spans": search,
        "two loops and the best so far": by_running_best,
        "float64": lambda s, e, n: search(s.double(), e.double(), n),
        "logarithms of softmaxes": lambda s, e, n: search(s.double().log_softmax(0), e.double().log_softmax(0), n),
    },
    hints=[
        "Write down all valid (i, j) for three tokens and max_length 2. There are five.",
        "Use two loops: i over all tokens, and j from i as far as allowed. Keep the best span so far, and "
        "replace it only if the new one is better.",
        "Without loops: start_logits[:, None] + end_logits is the matrix of all scores. Which part of it is "
        "valid? Use triu and tril.",
    ],
)


# 5. answer_over_windows


def over_windows(
    logits,
    max_length,
    threshold,
    null=min,
    null_of=lambda w: w[0].sum(),
    first=1,
    offset=1,
    sign=1,
    prepare=lambda w: w,
    strictly=True,
):
    """The right choice; every part can be replaced."""
    best, span = -float("inf"), None
    for number, window in enumerate(logits):
        window = prepare(window)
        i, j = by_matrix(window[first:, 0], window[first:, 1], max_length)
        score = float(window[first + i, 0] + window[first + j, 1])
        if score > best:
            best, span = score, (number, i + offset, j + offset)
    margin = null(float(null_of(prepare(window))) for window in logits) - best
    no_answer = sign * margin > threshold if strictly else sign * margin >= threshold
    return None if no_answer else span


def null_of_its_window(logits, max_length, threshold):
    """The "not here" score of the window with the best span."""
    span = over_windows(logits, max_length, float("inf"))
    window, score = logits[span[0]], float(logits[span[0]][span[1], 0] + logits[span[0]][span[2], 1])
    return None if float(window[0].sum()) - score > threshold else span


def decided_per_window(logits, max_length, threshold):
    """Skips windows that say "not here" and takes the best span of the others."""
    kept = [n for n, w in enumerate(logits) if over_windows([w], max_length, threshold)]
    if not kept:
        return None
    number, i, j = over_windows([logits[n] for n in kept], max_length, float("inf"))
    return kept[number], i, j


def all_at_once(logits, max_length, threshold):
    spans = [
        (float(w[i, 0] + w[j, 1]), -n, -i, -j)
        for n, w in enumerate(logits)
        for i in range(1, len(w))
        for j in range(i, min(len(w), i + max_length))
    ]
    score, n, i, j = max(spans)
    lowest = min(float(w[0, 0] + w[0, 1]) for w in logits)
    return None if lowest > score + threshold else [-n, -i, -j]


def average(values):
    values = list(values)
    return sum(values) / len(values)


def table(*rows):
    """A window: one (start, end) pair for each token, [CLS] first."""
    return torch.tensor(rows, dtype=torch.float32)


HERE = table((0, 0), (1, 0), (3, 1), (0, 4))  # an answer of two tokens, score 7
NOT_HERE = table((4, 4), (1, 0), (0, 1))  # "not here" 8, the best span 2
NOWHERE = table((3, 3), (1, 0), (0, 1))  # "not here" 6
VERY_SURE = table((10, 10), (1, 0), (0, 1))  # "not here" 20
UNSURE = table((0, 0), (1, 0), (0, 1))  # the best span 2
NEARLY = table((4, 4), (1, 0), (3, 1), (0, 4))  # "not here" 8, the best span 7
SURE_OF_NOTHING = table((-9, -9), (2, 0), (0, 2))  # the best span 4 has nearly all of this window's probability


def case_arguments(logits, max_length=3, threshold=0.0):
    return {"logits": logits, "max_length": max_length, "threshold": threshold}


def random_windows(seed):
    return [2 * random(T, 2, seed=seed + T) for T in (6, 9, 5)]


def unseen_windows(seed):
    tables = [2 * random(4 + (seed + k) % 6, 2, seed=seed + k) for k in range(4)]
    best = [float((table[1:, 0] + table[1:, 1]).max()) for table in tables]  # about the scores of the spans
    return [
        Case(f"{len(tables)} windows", **case_arguments(tables, max_length=2 + seed % 3, threshold=threshold))
        for threshold in (0.0, round(min(best) - max(best), 2))
    ]


def searched_from(low, span):
    """The search for the best span, starting from a given score."""

    def search(logits, max_length, threshold):
        best, at = low, span
        for n, window in enumerate(logits):
            i, j = by_matrix(window[1:, 0], window[1:, 1], max_length)
            score = float(window[1 + i, 0] + window[1 + j, 1])
            if score > best:
                best, at = score, (n, 1 + i, 1 + j)
        return None if min(float(window[0].sum()) for window in logits) - best > threshold else at

    return search


answer_over_windows = Exercise(
    name="answer_over_windows",
    asks='Return the best span over all windows, or None if even the lowest "not here" score beats it by more '
    "than the threshold.",
    reference=over_windows,
    section="9.5",
    cases=[
        Case("one window with an answer", **case_arguments([HERE])),
        Case("one window without an answer", **case_arguments([NOT_HERE])),
        Case("the answer is in the second window", **case_arguments([NOT_HERE, HERE])),
        Case("no answer in two windows", **case_arguments([NOT_HERE, NOWHERE])),
        Case("two windows with an answer", **case_arguments([table((0, 0), (1, 1), (0, 0)), HERE])),
        Case("a window of low logits", **case_arguments([SURE_OF_NOTHING, HERE])),
        Case("[CLS] and the end of an answer", **case_arguments([table((2, 0), (0, 1), (0, 3))])),
        Case("the answer is in the first window", **case_arguments([HERE, NOT_HERE])),
        Case('one very confident "not here"', **case_arguments([VERY_SURE, HERE])),
        Case('"not here" slightly better than the best span', **case_arguments([NEARLY])),
        Case('"not here" in the window of the best span, not in another', **case_arguments([NEARLY, UNSURE])),
        Case("a high threshold for an uncertain answer", **case_arguments([UNSURE], threshold=5.0)),
        Case("below the threshold", **case_arguments([NOWHERE], threshold=5.0)),
        Case("exactly at the threshold", **case_arguments([NOWHERE], threshold=4.0)),
        Case("a negative threshold", **case_arguments([HERE], threshold=-8.0)),
        Case(
            "the best span is too long", **case_arguments([table((0, 0), (5, 0), (0, 1), (1, 2), (0, 5))], max_length=2)
        ),
        Case("equal scores in two windows", **case_arguments([HERE, HERE])),
        Case("scores below -100", **case_arguments([table((-900, -900), (-300, -300), (-400, -250))])),
        Case("scores below -1,000,000", **case_arguments([table((-3e6, -3e6), (-3e6, -2e6), (-2e6, -1e6))])),
        Case('a "not here" score of 40,000', **case_arguments([table((2e4, 2e4), (1e4, 0), (0, 1e4))])),
        Case("unequal [CLS] logits", **case_arguments([table((7, 1), (3, 0), (0, 3))])),
        Case("[CLS] logits of two windows", **case_arguments([table((9, 0), (3, 0), (0, 3)), table((0, 9), (0, 0))])),
        Case("equal scores in one window", **case_arguments([table((0, 0), (1, 1), (1, 1))])),
        Case("windows that are not contiguous", **case_arguments([random(2, 7, seed=9).T, random(2, 5, seed=8).T])),
        Case("twelve windows", **case_arguments([*[UNSURE] * 10, HERE, NOT_HERE])),
        *(Case(f"random numbers, seed {seed}", **case_arguments(random_windows(seed))) for seed in (20, 40, 60)),
    ],
    random_cases=unseen_windows,
    misconceptions=[
        Misconception(
            "always an answer",
            lambda w, n, t: over_windows(w, n, float("inf")),
            "You never return None, so every unanswerable question gets a wrong answer.",
            "Compare with the score of pointing at [CLS].",
            "9.5",
        ),
        Misconception(
            'highest "not here" score decides',
            lambda w, n, t: over_windows(w, n, t, null=max),
            'You used the highest "not here" score. But in a long text most windows do not contain the answer, '
            "and are right to say so.",
            "A question has no answer if *no* window has one. Which window must you look at?",
            "9.5",
        ),
        Misconception(
            'first window\'s "not here" score decides',
            lambda w, n, t: over_windows(w, n, t, null=lambda v: list(v)[0]),
            'You took the "not here" score of the first window. The answer may be in a later one.',
            "Take the lowest score over all windows.",
            "9.5",
        ),
        Misconception(
            'mean "not here" score decides',
            lambda w, n, t: over_windows(w, n, t, null=average),
            'You averaged the "not here" scores over the windows. The more windows without the answer there '
            "are, the less the one with the answer counts.",
            "Take the lowest score over all windows.",
            "9.5",
        ),
        Misconception(
            "only the first window used",
            lambda w, n, t: over_windows(w[:1], n, t),
            "You used only the first window, so you never find an answer later in the text.",
            "Loop over all windows.",
            "9.5",
        ),
        Misconception(
            "softmax in each window",
            lambda w, n, t: over_windows(w, n, t, prepare=lambda x: x.log_softmax(dim=0)),
            "You applied a softmax to each window first. Probabilities sum to one in every window, even in one "
            "without the answer, so that window seems as confident as the one with the answer. Logits of "
            "different windows can be compared; softmax probabilities cannot.",
            "What does a softmax lose: the differences between logits, or a constant added to all of them?",
            "9.5",
        ),
        Misconception(
            '"not here" score of the best span\'s window',
            null_of_its_window,
            'You took the "not here" score of the window with the best span. The rule takes the lowest over '
            "all windows: there is no answer only if even that one is high enough.",
            "You need a minimum and a maximum over the windows, independent of each other. Of which two numbers?",
            "9.5",
        ),
        Misconception(
            "a separate decision in each window",
            decided_per_window,
            'You skipped every window that says "not here" and took the best span of the others. Whether there '
            'is an answer is decided once, by the lowest "not here" score; then you return the best span of '
            "*all* windows.",
            "You need a minimum and a maximum over the windows, independent of each other. Of which two numbers?",
            "9.5",
        ),
        Misconception(
            "answer and no answer swapped",
            lambda w, n, t: over_windows(w, n, t, sign=-1),
            "You return None where there is an answer, and an answer where there is none: the difference has "
            "the wrong sign.",
            'What should you return if "not here" has a much *higher* score than the best span?',
            "9.5",
            variants=(lambda w, n, t: None if over_windows(w, n, t) else over_windows(w, n, float("inf")),),
        ),
        Misconception(
            "[CLS] included in the spans",
            lambda w, n, t: over_windows(w, n, t, first=0, offset=0),
            "You allowed spans that begin at [CLS], which is not a token of the context.",
            "The context begins at token 1.",
            "9.5",
        ),
        Misconception(
            "indices relative to the context",
            lambda w, n, t: over_windows(w, n, t, offset=0),
            "You counted the tokens without [CLS], so all your indices are one too low.",
            "Return indices in the window: the first token of the context is 1.",
            "9.5",
        ),
        Misconception(
            "threshold with the wrong sign",
            lambda w, n, t: over_windows(w, n, -t),
            "With a higher threshold you answer less often; it should be the other way around.",
            'There is no answer if "not here" is better by more than the threshold.',
            "9.5",
        ),
        Misconception(
            "last of several equal windows",
            lambda w, n, t: (len(w) - 1 - span[0], *span[1:]) if (span := over_windows(w[::-1], n, t)) else None,
            "Of several windows with the same score, you returned the last one; the first one counts.",
            "> or ≥?",
            "9.5",
        ),
        Misconception(
            "lowest start and lowest end of [CLS] taken apart",
            lambda w, n, t: over_windows(
                w, n, t, null=lambda v: min(float(x[0, 0]) for x in w) + min(float(x[0, 1]) for x in w)
            ),
            "You added the lowest start logit and the lowest end logit of [CLS], which may come from different "
            'windows. A "not here" score consists of both logits of the same window.',
            "First add the two logits of a window, then take the minimum.",
            "9.5",
        ),
        Misconception(
            "threshold ignored",
            lambda w, n, t: over_windows(w, n, 0.0),
            "You compared the two scores without the threshold.",
            '"Not here" must be better by more than `threshold`.',
            "9.5",
        ),
        Misconception(
            "≥ instead of > at the threshold",
            lambda w, n, t: over_windows(w, n, t, strictly=False),
            "At exactly the threshold you return None; there is no answer only above it.",
            "By *more* than the threshold: > or ≥?",
            "9.5",
        ),
        Misconception(
            "only the start logit of [CLS]",
            lambda w, n, t: over_windows(w, n, t, null_of=lambda x: x[0, 0]),
            'You used one logit for "not here" and two for a span. A single logit cannot be compared with a '
            "sum of two.",
            'The "not here" score is the start logit plus the end logit of [CLS].',
            "9.5",
        ),
        Misconception(
            "the search begins with a score that is not low enough",
            searched_from(-100.0, (0, 1, 1)),
            "Your search for the best span starts from a fixed score. If all spans score below it, you find none of "
            "them.",
            "What is below every number?",
            "9.5",
            variants=tuple(
                searched_from(low, span) for low in (0.0, -1.0, -100.0, -1e3, -1e4, -1e6) for span in ((0, 1, 1), None)
            ),
        ),
    ],
    accepted={
        "a list of all spans of all windows": all_at_once,
        "float64": lambda w, n, t: over_windows([x.double() for x in w], n, t),
        "a list instead of a tuple": lambda w, n, t: list(span) if (span := over_windows(w, n, t)) else None,
    },
    hints=[
        "First ignore the case of no answer: loop over the windows and keep the best span and its window.",
        "best_span(window[1:, 0], window[1:, 1], max_length) counts the tokens without [CLS]. What do you have to add?",
        "null is the min over the windows of window[0, 0] + window[0, 1]; return None if null - best > threshold.",
    ],
)


# 6. fool_f1


def judge(student) -> str:
    """The verdict on the student's three texts."""
    texts = student()
    if not (isinstance(texts, tuple | list) and len(texts) == 3 and all(isinstance(text, str) for text in texts)):
        return "expected three texts: the answer, a wrong prediction, a right one"
    answer, wrong, right = texts
    if not all(normalize(text) for text in texts):
        return "one of the three has no words left after normalization"
    if exact_match(wrong, answer):
        return "the wrong prediction is an exact match"
    if token_f1(wrong, answer) == 0 and token_f1(right, answer) >= 0.8:
        return "the second has F1 0, and the third 0.8 or more"
    if token_f1(wrong, answer) < 0.8:
        return "the wrong prediction has an F1 below 0.8"
    if token_f1(right, answer) > 0:
        return "the right prediction has an F1 above 0"
    return "fine"


fool_f1 = Exercise(
    name="fool_f1",
    asks="Find a wrong prediction with an F1 of 0.8 or more, and a right one with an F1 of 0, for the same answer.",
    reference=lambda: ("not before noon on Monday", "before noon on Monday", "Monday's afternoon"),
    section="9.6",
    cases=[Case("your three answers", judge=judge)],
    misconceptions=[
        Misconception(
            "wrong prediction is an exact match", lambda: ("seven o'clock", "Seven o'clock!", "7"),
            "After normalization, your wrong prediction *is* the answer.",
            "One extra or missing word can reverse the meaning.", "9.6",
        ),
        Misconception(
            "F1 of the wrong prediction too low", lambda: ("in May", "in June", "the fifth month"),
            "Your wrong prediction is wrong, and F1 shows it: it shares too few words with the answer.",
            "Take a longer answer and change one of its words.", "9.6",
        ),
        Misconception(
            "right one shares a word", lambda: ("he did not come to the fair", "he did come to the fair", "not he"),
            "Your right prediction shares a word with the answer, so its F1 is above 0.",
            "Say the same thing in other words, or write a number instead of a word.", "9.6",
        ),
        Misconception(
            "no words left after normalization", lambda: ("the", "a", "an"),
            "One of your texts consists of articles and punctuation, so nothing is left after normalization.",
            "What does the normalization remove?", "9.6",
        ),
        Misconception(
            "fewer than three texts", lambda: ("not before noon on Monday", "before noon on Monday"),
            "You must return three texts: the answer, a wrong prediction, a right prediction.",
            "Read the docstring's Returns again.", "9.6",
        ),
        Misconception(
            "wrong and right prediction swapped", lambda: ("not before noon", "in the afternoon", "not before noon."),
            "You returned the right prediction before the wrong one.",
            "The order is: answer, wrong, right.", "9.6",
        ),
    ],
    accepted={
        "a list": lambda: ["all of the sheep but one", "all of the sheep and one", "nine"],
        "a name": lambda: ("King George the Third of England", "King George the Second of England", "He"),
    },
    hints=[
        "Which small word reverses the meaning of a sentence?",
        "If a long answer differs in one word of n, F1 is about (n - 1) / n.",
        "Twelve o'clock is noon, but the two share no word.",
    ],
)  # fmt: skip

EXERCISES = [
    exact_and_f1,
    windows,
    token_span,
    best_span,
    answer_over_windows,
    fool_f1,
    WrittenAnswer(
        "WHY_F1", "Why can a count of words be fooled in both directions, and what could one do about it?", 40,
        ["What does F1 know about a word, and about the order and the meaning of words?"], "9.6",
    ),
    WrittenAnswer(
        "EXPERIMENT", "What did you change, what did you predict, what was the result, and what do you conclude?", 60,
        ["Change one thing at a time, and look at both types of questions."], "9.8",
    ),
]  # fmt: skip
