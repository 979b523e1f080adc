"""What is checked in lesson 09, and the known mistakes."""

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
    """SQuAD's normalization, any step of which can be left out."""
    text = text.lower() if lower else text
    if punctuation:
        text = text.translate(str.maketrans("", "", string.punctuation))
    if articles:
        text = re.sub(articles, " ", text)
    return " ".join(text.split())


def overlap(one: list[str], other: list[str]) -> int:
    return (Counter(one) & Counter(other)).total()


def f1_of(found: list[str], wanted: list[str], shared=overlap, empty=None) -> float:
    if not found or not wanted:
        return float(found == wanted) if empty is None else empty
    n = shared(found, wanted)
    precision, recall = n / len(found), n / len(wanted)
    return 2 * precision * recall / (precision + recall) if n else 0.0


def compare(prediction, answers, strip=strip, f1=f1_of, combine=max):
    """The right comparison, any part of which can be swapped."""
    answers = [answer for answer in answers if strip(answer)] or [""]
    pairs = [(strip(prediction), strip(answer)) for answer in answers]
    return (
        combine([int(one == other) for one, other in pairs]),
        combine([f1(one.split(), other.split()) for one, other in pairs]),
    )


def mean(values):
    return sum(values) / len(values)


def in_turn(*words):
    """The articles taken out one after another, as pieces of text."""

    def normal(text):
        text = strip(text, articles=None)
        for word in words:
            text = text.replace(word, "")
        return " ".join(text.split())

    return normal


def spaced(text):
    """Punctuation becomes a space."""
    return strip(text.translate(str.maketrans({c: " " for c in string.punctuation})))


def at_the_ends(text, of_words=True):
    """Punctuation is taken away at the ends of words, or of the whole text, and stays within them."""
    pieces = text.split() if of_words else [text]
    return strip(" ".join(piece.strip(string.punctuation) for piece in pieces), punctuation=False)


def as_sets(found, wanted):
    return len(set(found) & set(wanted))


def by_formula(found, wanted):
    """2PR / (P + R), whatever P and R are."""
    if not found or not wanted:
        return float(found == wanted)
    precision, recall = overlap(found, wanted) / len(found), overlap(found, wanted) / len(wanted)
    return 2 * precision * recall / (precision + recall)


def empty_before(prediction, answers):
    """Whether there is an answer is asked of the text as it came."""
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
        found, left, shared = words(prediction), words(answer), 0
        n_wanted = len(left)
        for word in found:
            if word in left:
                left.remove(word)
                shared += 1
        best_exact = max(best_exact, int(found == words(answer)))
        if found and n_wanted:
            best_f1 = max(best_f1, 2 * shared / (len(found) + n_wanted))
        elif not found and not n_wanted:
            best_f1 = 1.0
    return best_exact, best_f1


exact_and_f1 = Exercise(
    name="exact_and_f1",
    asks="Compare a predicted answer with the right ones by exact match and F1, after SQuAD's normalization.",
    reference=by_library,
    section="9.6",
    cases=[
        Case("one word of two", prediction="red house", answers=["red boat"]),
        Case("all words, and one more", prediction="big red house", answers=["red house"]),
        Case("an article more", prediction="the red house", answers=["red house"]),
        Case("a capital", prediction="Red house", answers=["red house"]),
        Case("a period", prediction="red house.", answers=["red house"]),
        Case("all of it", prediction="The Red house.", answers=["red house"]),
        Case("an article inside a word", prediction="theatre and opera", answers=["atre nd oper"]),
        Case("an article at the end of a word", prediction="bathe now", answers=["bathe"]),
        Case("an apostrophe inside a word", prediction="seven oclock", answers=["seven o'clock"]),
        Case("a word twice", prediction="very very old", answers=["very old"]),
        Case("a word twice on both sides", prediction="a very very old mill", answers=["very very old"]),
        Case("the words in another order", prediction="old and gray", answers=["gray and old"]),
        Case("two right answers", prediction="in May", answers=["June", "May"]),
        Case("two right answers, the first is it", prediction="June", answers=["June", "in the month of May"]),
        Case("no answer, rightly", prediction="", answers=[]),
        Case("no answer, wrongly", prediction="", answers=["the mill"]),
        Case("an answer where there is none", prediction="the mill", answers=[]),
        Case("nothing but an article, where there is no answer", prediction="The", answers=[]),
        Case("nothing in common", prediction="the mill", answers=["a boat"]),
    ],
    misconceptions=[
        Misconception(
            "articles are kept",
            lambda p, a: compare(p, a, lambda t: strip(t, articles=None)),
            'You left a, an and the in: "the mill" and "mill" are then different answers.',
            "Which words are taken away before anything is compared?",
            "9.6",
        ),
        Misconception(
            "articles are taken out of words, too",
            lambda p, a: compare(p, a, lambda t: strip(t, articles="(the|an|a)")),
            'You took the letters a, an and the out wherever they stand, also in the middle of a word: "theatre" '
            'becomes "tre".',
            "As whole words only: compare words, or use \\b in a regular expression.",
            "9.6",
            variants=tuple(
                lambda p, a, words=words: compare(p, a, in_turn(*words))
                for words in (("a ", "an ", "the "), ("the ", "an ", "a "), ("the ", "a ", "an "), ("the", "an", "a"))
            ),
        ),
        Misconception(
            "capitals count",
            lambda p, a: compare(p, a, lambda t: strip(t, lower=False)),
            'You did not lower the case: "Red house" at the beginning of a sentence is then another answer.',
            "What is the first step of the normalization?",
            "9.6",
        ),
        Misconception(
            "punctuation counts",
            lambda p, a: compare(p, a, lambda t: strip(t, punctuation=False)),
            "You left the punctuation in: an answer with its period no longer matches.",
            "string.punctuation lists the characters to take away.",
            "9.6",
        ),
        Misconception(
            "punctuation becomes a space",
            lambda p, a: compare(p, a, spaced),
            'You put a space where there was punctuation: "o\'clock" becomes two words. SQuAD takes the character '
            "away, and nothing comes in its place.",
            'Which word is left of "o\'clock" if its apostrophe is taken away?',
            "9.6",
        ),
        Misconception(
            "punctuation inside a word stays",
            lambda p, a: compare(p, a, at_the_ends),
            'You took punctuation away at the ends only; the apostrophe of "o\'clock" is still there.',
            "strip looks at the ends only. *Every* character of string.punctuation has to go.",
            "9.6",
            variants=(lambda p, a: compare(p, a, lambda t: at_the_ends(t, of_words=False)),),
        ),
        Misconception(
            "nothing is normalized",
            lambda p, a: compare(p, a, lambda t: t),
            "You compared the texts as they are. Capitals, articles and full stops then decide about right and wrong.",
            "Normalise both sides before you compare.",
            "9.6",
        ),
        Misconception(
            "a repeated word counts each time",
            lambda p, a: compare(p, a, f1=lambda f, w: f1_of(f, w, lambda f, w: sum(word in w for word in f))),
            "You counted a word of the prediction as shared each time it occurs, also where the answer has it once.",
            "Cross out a word of the answer when it has been used; collections.Counter has & for that.",
            "9.6",
        ),
        Misconception(
            "a word that both have twice is shared once",
            lambda p, a: compare(p, a, f1=lambda f, w: f1_of(f, w, as_sets)),
            "You counted different words (a set), so that a word which *both* sides have twice counts once.",
            'How often is "very" shared if both sides have it twice?',
            "9.6",
        ),
        Misconception(
            "repeated words count once",
            lambda p, a: compare(p, a, f1=lambda f, w: f1_of(sorted(set(f)), sorted(set(w)))),
            'You made sets of the words, so that "very very old" and "very old" have the same F1 as equal answers.',
            "The lengths in P and R are numbers of words, repetitions included.",
            "9.6",
        ),
        Misconception(
            "precision in place of F1",
            lambda p, a: compare(p, a, f1=lambda f, w: overlap(f, w) / len(f) if f and w else float(f == w)),
            "You gave the fraction of the prediction's words that are right. One right word alone then scores 1.",
            "F1 also asks how much of the answer was found: R.",
            "9.6",
        ),
        Misconception(
            "recall in place of F1",
            lambda p, a: compare(p, a, f1=lambda f, w: overlap(f, w) / len(w) if f and w else float(f == w)),
            "You gave the fraction of the answer's words that were found. The whole context would then score 1.",
            "F1 also asks how much of the prediction is right: P.",
            "9.6",
        ),
        Misconception(
            "the arithmetic mean of P and R",
            lambda p, a: compare(
                p, a, f1=lambda f, w: overlap(f, w) * (1 / len(f) + 1 / len(w)) / 2 if f and w else float(f == w)
            ),
            "You took (P + R) / 2. F1 is the harmonic mean, which is small as soon as one of the two is.",
            "2PR / (P + R).",
            "9.6",
        ),
        Misconception(
            "only the first answer counts",
            lambda p, a: compare(p, a[:1]),
            "You compared with the first right answer alone; any of them is right.",
            "What is done with several right answers?",
            "9.6",
        ),
        Misconception(
            "the mean over the right answers",
            lambda p, a: compare(p, a, combine=mean),
            "You averaged over the right answers. Whoever gives one of two right answers would then be half wrong.",
            "The best comparison counts.",
            "9.6",
            variants=(lambda p, a: (compare(p, a)[0], compare(p, a, combine=mean)[1]),),
        ),
        Misconception(
            "nothing against nothing is 0",
            lambda p, a: compare(p, a, f1=lambda f, w: f1_of(f, w, empty=0.0)),
            "You gave 0 where both sides have no words. But to say that there is no answer is right if there is none.",
            "Treat the case without words before you divide.",
            "9.6",
        ),
        Misconception(
            "nothing in common is 0 / 0",
            lambda p, a: compare(p, a, f1=by_formula),
            "Without a shared word P and R are 0, and 2PR / (P + R) divides by 0. F1 is then 0.",
            "Treat the case without shared words before you divide; or use the form 2m / (f + w).",
            "9.6",
        ),
        Misconception(
            "an empty list scores nothing",
            lambda p, a: compare(p, a) if a else (0, 0.0),
            'You gave 0 wherever there is no right answer. But then "" *is* the right answer.',
            "With which text is the prediction to be compared if the list is empty?",
            "9.6",
            variants=(lambda p, a: (max(compare(p, [x])[0] for x in a), max(compare(p, [x])[1] for x in a)),),
        ),
        Misconception(
            "emptiness is asked before the normalization",
            empty_before,
            'You looked whether there is an answer before you normalized it. "The" has no words either.',
            "First normalize both sides, then look whether words are left.",
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
        "Write the normalization as a function of its own, and call it for both sides.",
        "Counter(one) & Counter(other) holds each word as often as both sides have it; .total() counts them.",
        'max over the answers, once for exact match and once for F1; and `answers or [""]`.',
    ],
)


# 2. windows


def cut(n, room, stride):
    """The library's own loop (`make_windows`)."""
    return [(begin, min(begin + room, n)) for begin in range(0, max(1, n - stride), room - stride)]


def cut_by_while(n, room, stride):
    found = [(0, min(room, n))]
    while found[-1][1] < n:
        begin = found[-1][1] - stride
        found.append((begin, min(begin + room, n)))
    return found


def cut_recursively(n, room, stride, begin=0):
    if begin + room >= n:
        return [[begin, n]]
    return [[begin, begin + room], *cut_recursively(n, room, stride, begin + room - stride)]


windows = Exercise(
    name="windows",
    asks="Cut a context of n tokens into windows of `room` tokens, of which neighbors share `stride`.",
    reference=cut,
    section="9.4",
    cases=[
        Case("ten tokens, five fit, two are shared", n=10, room=5, stride=2),
        Case("all fits into one", n=4, room=5, stride=2),
        Case("it fits exactly", n=5, room=5, stride=2),
        Case("one token too many", n=6, room=5, stride=2),
        Case("one token is shared", n=7, room=3, stride=1),
        Case("as small as can be", n=5, room=2, stride=1),
        Case("all but one are shared", n=5, room=3, stride=2),
        Case("an empty context", n=0, room=4, stride=1),
        Case("the last window ends with the context", n=8, room=5, stride=2),
        Case("long", n=170, room=50, stride=16),
    ],
    misconceptions=[
        Misconception(
            "the step is the stride",
            lambda n, room, stride: [(b, min(b + room, n)) for b in range(0, max(1, n - room + stride), stride)],
            "You moved each window by `stride`. Here the stride is what two windows *share*, so they move by the rest.",
            "If 2 of 5 tokens are shared, how many are new?",
            "9.4",
            variants=(
                lambda n, room, stride: [(b, min(b + room, n)) for b in range(0, n, stride)],
                lambda n, room, stride: [(b, min(b + room, n)) for b in range(0, max(1, n), stride)],
            ),
        ),
        Misconception(
            "nothing is shared",
            lambda n, room, stride: cut(n, room, 0),
            "Your windows do not overlap. An answer that stands across a border is whole in none of them.",
            "The next window begins `stride` tokens before the last one ends.",
            "9.4",
        ),
        Misconception(
            "the last tokens are left out",
            lambda n, room, stride: [w for w in cut(n, room, stride) if w[1] - w[0] == room] or [(0, n)],
            "You left out the last window because it is not full: what stands in the last tokens is never read.",
            "The last window may be shorter.",
            "9.4",
        ),
        Misconception(
            "one window too many",
            lambda n, room, stride: [(b, min(b + room, n)) for b in range(0, max(1, n), room - stride)],
            "Your last window lies wholly inside the one before it: it was begun although the end had been reached.",
            "Stop after the first window that reaches the end of the context.",
            "9.4",
            variants=(lambda n, room, stride: [(b, min(b + room, n)) for b in range(0, n, room - stride)],),
        ),
        Misconception(
            "windows reach beyond the end",
            lambda n, room, stride: [(b, b + room) for b, _ in cut(n, room, stride)],
            "Your last window ends after the context does.",
            "min(…, n).",
            "9.4",
        ),
        Misconception(
            "the last window is moved back",
            lambda n, room, stride: [*cut(n, room, stride)[:-1], (max(0, n - room), n)],
            "You moved the last window back to make it full. A good idea, but then it shares more than `stride` tokens "
            "with the one before it, and the task says otherwise.",
            "The last window may be shorter; where does it begin?",
            "9.4",
        ),
        Misconception(
            "the end is included",
            lambda n, room, stride: [(b, e - 1) for b, e in cut(n, room, stride)],
            "You gave the number of the last token; `end` is the one after it, as in Python's slices.",
            "context[begin:end] should be the window.",
            "9.4",
        ),
        Misconception(
            "an empty context has no window",
            lambda n, room, stride: cut(n, room, stride) if n else [],
            'You gave no window for an empty context. The question would never be read, and never be answered "no".',
            "There is always at least one window.",
            "9.4",
        ),
        Misconception(
            "only the beginning is read",
            lambda n, room, stride: [(0, min(room, n))],
            "You made one window and dropped the rest of the context.",
            "How many windows does the example have?",
            "9.4",
        ),
    ],
    accepted={"a while loop": cut_by_while, "recursion, lists": cut_recursively},
    hints=[
        "Write down begin and end of each window for n = 10, room = 5, stride = 2. By how much do the begins differ?",
        "A window begins `room - stride` tokens after the one before it.",
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
    found = [i for i in range(len(starts)) if condition(i)]
    return found[-1] if found else (len(starts) - 1 if default is None else default)


MILL = {"starts": [0, 3, 7, 11], "ends": [2, 6, 10, 15]}  # at the old mill
PIECES = {"starts": [0, 3, 4, 7, 11], "ends": [3, 4, 7, 10, 14]}  # Ann 's old ... with pieces side by side

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
        Case("it begins inside a token", **MILL, begin=4, end=10),
        Case("it ends inside a token", **MILL, begin=3, end=8),
        Case("inside one token", **MILL, begin=12, end=13),
        Case("with the spaces around it", **MILL, begin=2, end=11),
        Case("pieces side by side", **PIECES, begin=3, end=7),
        Case("one character between pieces", **PIECES, begin=3, end=4),
        Case("up to the border of a piece", **PIECES, begin=0, end=3),
    ],
    misconceptions=[
        Misconception(
            "the token after the answer, too",
            lambda s, e, b, n: (covering(s, e, b, n)[0], last_of(lambda i: s[i] <= n, s)),
            "You took a token in that begins where the answer has already ended: `end` is the character *after* it.",
            "Is a token that begins at `end` part of the answer?",
            "9.3",
        ),
        Misconception(
            "the token before the answer, too",
            lambda s, e, b, n: (first_of(lambda i: e[i] >= b, s), covering(s, e, b, n)[1]),
            "You took a token in that ends where the answer begins: ends[i] is the character *after* the token.",
            "Does a token with ends[i] = begin share a character with the answer?",
            "9.3",
        ),
        Misconception(
            "tokens that only touch the answer",
            lambda s, e, b, n: (first_of(lambda i: e[i] >= b, s), last_of(lambda i: s[i] <= n, s)),
            "You took tokens in that end where the answer begins, or begin where it ends. `end` and ends[i] are the "
            "characters *after* answer and token, so these share nothing.",
            "< or ≤?",
            "9.3",
        ),
        Misconception(
            "only whole tokens",
            lambda s, e, b, n: (first_of(lambda i: s[i] >= b, s, len(s) - 1), last_of(lambda i: e[i] <= n, s, 0)),
            "You took only tokens that lie in the answer as a whole. An answer that begins or ends inside a token "
            "loses that token, and may have none left.",
            "A token that shares one character with the answer is in.",
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
            "the begin must fit exactly",
            lambda s, e, b, n: (s.index(b) if b in s else 0, e.index(n) if n in e else len(e) - 1),
            "You looked for a token that begins exactly where the answer does, and one that ends exactly where it "
            "ends. There may be none: answers in characters do not know where your tokens end.",
            "Compare with < and >, not with ==.",
            "9.3",
            variants=(lambda s, e, b, n: (s.index(b), e.index(n)),),
        ),
        Misconception(
            "spaces at the ends are not expected",
            lambda s, e, b, n: (
                next(i for i in range(len(s)) if s[i] <= b < e[i]),
                next(i for i in range(len(s)) if s[i] < n <= e[i]),
            ),
            "You looked for the tokens that hold the answer's first and last character. Right, unless such a character "
            "is a space: it belongs to no token, and your search ends with nothing.",
            "Compare the answer as a whole with each token: which tokens share a character with it?",
            "9.3",
            variants=(
                lambda s, e, b, n: (
                    next((i for i in range(len(s)) if s[i] <= b < e[i]), None),
                    next((i for i in range(len(s)) if s[i] < n <= e[i]), None),
                ),
            ),
        ),
        Misconception(
            "the last token is not included",
            lambda s, e, b, n: (covering(s, e, b, n)[0], covering(s, e, b, n)[1] + 1),
            "You gave the number after the last token, as a slice has it. Here both ends are included.",
            "In the example the tokens are (1, 2), not (1, 3).",
            "9.3",
        ),
        Misconception(
            "characters in place of tokens",
            lambda s, e, b, n: (b, n - 1),
            "You gave the characters back. The model speaks in tokens: it needs their numbers.",
            "Which i has starts[i] ≤ begin < ends[i]?",
            "9.3",
        ),
        Misconception(
            "one token for all",
            lambda s, e, b, n: (covering(s, e, b, n)[0],) * 2,
            "You gave the first token twice: an answer of several words loses all but the first.",
            "Look for the last token by itself, from the answer's end.",
            "9.3",
        ),
        Misconception(
            "the end is looked for by its own token only",
            lambda s, e, b, n: (
                first_of(lambda i: s[i] <= b < e[i], s, 0),
                last_of(lambda i: s[i] <= n < e[i], s, len(s) - 1),
            ),
            "You looked for the token that holds the character `end`. But that one no longer belongs to the answer; "
            "its last character is end - 1.",
            "Try it for an answer that ends with the text.",
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
        "When do two pieces of a text, a … b - 1 and c … d - 1, share a character? Draw both on a line.",
        "They do if a < d and c < b.",
        "All tokens i with starts[i] < end and ends[i] > begin; the first and the last of them.",
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
    best, found = -float("inf"), None
    for i in range(len(starts)):
        for j in range(i, min(len(starts), i + max_length)):
            if (total := starts[i].item() + ends[j].item()) > best:
                best, found = total, [i, j]
    return found


def start_first(starts, ends, max_length):
    i = int(starts.argmax())
    return i, i + int(ends[i : i + max_length].argmax())


def end_first(starts, ends, max_length):
    j = int(ends.argmax())
    low = max(0, j - max_length + 1)
    return low + int(starts[low : j + 1].argmax()), j


def logits(*rows):
    return [torch.tensor(row, dtype=torch.float32) for row in rows]


def named(s, e, max_length):
    return {"start_logits": s, "end_logits": e, "max_length": max_length}


best_span = Exercise(
    name="best_span",
    asks="Find i ≤ j, at most max_length tokens apart, with the highest start_logits[i] + end_logits[j].",
    reference=by_matrix,
    section="9.5",
    cases=[
        Case("three tokens", **named(*logits([1, 3, 0], [0, 1, 4]), 3)),
        Case("the best end lies before the best start", **named(*logits([1, 0, 5], [4, 0, 1]), 3)),
        Case("a good start without a good end", **named(*logits([4, 0, 5, 0], [0, 4, 0, 0]), 4)),
        Case("a good end without a good start", **named(*logits([0, 3, 0, 0], [6, 0, 5, 0]), 4)),
        Case("the best is too long", **named(*logits([5, 0, 0, 1], [0, 2, 0, 5]), 2)),
        Case("exactly as long as allowed", **named(*logits([5, 0, 0, 0], [0, 0, 5, 0]), 3)),
        Case("one token only", **named(*logits([0, 2, 1, 0], [0, 0, 2, 4]), 1)),
        Case("all negative", **named(*logits([-2, -5, -9], [-7, -6, -1]), 2)),
        Case("one end surer than both of another", **named(*logits([5, 4, 0], [-4, 0, 2]), 1)),
        Case("one token in the window", **named(*logits([3], [-2]), 5)),
        Case("equal scores", **named(*logits([1, 0, 1, 0], [0, 1, 0, 1]), 2)),
        Case("random numbers", **named(random(12, seed=1), random(12, seed=2), 4)),
        Case("more random numbers", **named(3 * random(20, seed=3), 3 * random(20, seed=4), 6)),
    ],
    misconceptions=[
        Misconception(
            "start and end by themselves",
            lambda s, e, n: (int(s.argmax()), int(e.argmax())),
            "You took the best start and the best end independently. The end may then lie before the start.",
            "Which pairs (i, j) are possible at all? The best of those.",
            "9.5",
        ),
        Misconception(
            "the best start, then the best end after it",
            start_first,
            "You settled the start first. A slightly worse start with a much better end is never found.",
            "Compare whole spans, not one end after the other.",
            "9.5",
        ),
        Misconception(
            "the best end, then the best start before it",
            end_first,
            "You settled the end first. A slightly worse end with a much better start is never found.",
            "Compare whole spans, not one end after the other.",
            "9.5",
        ),
        Misconception(
            "any length",
            lambda s, e, n: by_matrix(s, e, len(s)),
            "You did not look at max_length: half a story may become the answer.",
            "How many tokens has the span from i to j?",
            "9.5",
        ),
        Misconception(
            "one token too long",
            lambda s, e, n: by_matrix(s, e, n + 1),
            "You allowed j - i up to max_length; the span from i to j has j - i + 1 tokens.",
            "How many tokens has the span from 3 to 3?",
            "9.5",
        ),
        Misconception(
            "one token too short",
            lambda s, e, n: by_matrix(s, e, max(1, n - 1)),
            "You did not allow spans of exactly max_length tokens.",
            "At most max_length: is that < or ≤?",
            "9.5",
        ),
        Misconception(
            "scores are multiplied",
            lambda s, e, n: search(s, e, n, lambda a, b: a * b),
            "You multiplied the logits. Probabilities are multiplied, logits are their logarithms and are added; two "
            "negative logits would make a large product.",
            "log(p · q) = log p + log q.",
            "9.5",
        ),
        Misconception(
            "probabilities are added",
            lambda s, e, n: search(s.softmax(0), e.softmax(0), n),
            "You added the probabilities of start and end. A span with one sure end and one impossible end then beats "
            "one with two likely ends.",
            "Start *and* end have to be right: what is done with the probabilities of two things that both have to be?",
            "9.5",
        ),
        Misconception(
            "the end may lie before the start",
            lambda s, e, n: search(
                s, e, n, candidates=lambda T, n: [(i, j) for i in range(T) for j in range(T) if abs(i - j) < n]
            ),
            "You allowed j < i: such a span holds no text.",
            "i ≤ j.",
            "9.5",
        ),
        Misconception(
            "an answer has at least two tokens",
            lambda s, e, n: search(s, e, n, candidates=lambda T, n: spans_of(T, max(n, 2), 1) or [(0, 0)]),
            "You left out spans of one token, for which i = j.",
            "i ≤ j, not i < j.",
            "9.5",
        ),
        Misconception(
            "of equal scores the last",
            lambda s, e, n: max(spans_of(len(s), n), key=lambda ij: (float(s[ij[0]] + e[ij[1]]), ij)),
            "Of several spans with the same score you gave the last one.",
            "> or ≥?",
            "9.5",
        ),
        Misconception(
            "the best so far begins at 0",
            lambda s, e, n: search(s, e, n) if max(s[i] + e[j] for i, j in spans_of(len(s), n)) > 0 else (0, 0),
            "You began the search with 0 as the best score so far. If all scores are negative, none is ever better.",
            "What is below every score? Or begin with the first span.",
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
        "Write down all possible (i, j) for three tokens and max_length 2. There are five.",
        "Two loops: i over all tokens, j from i on as far as is allowed. Keep the best so far, and replace it only if "
        "the new one is better.",
        "Without loops: start_logits[:, None] + end_logits is a matrix of all scores. Which half of it is possible? "
        "triu and tril.",
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
    """The right choice, any part of which can be swapped."""
    best, found = -float("inf"), None
    for number, window in enumerate(logits):
        window = prepare(window)
        i, j = by_matrix(window[first:, 0], window[first:, 1], max_length)
        score = float(window[first + i, 0] + window[first + j, 1])
        if score > best:
            best, found = score, (number, i + offset, j + offset)
    margin = null(float(null_of(prepare(window))) for window in logits) - best
    none = sign * margin > threshold if strictly else sign * margin >= threshold
    return None if none else found


def null_of_its_window(logits, max_length, threshold):
    """ "Not here" from the window in which the best span stands."""
    found = over_windows(logits, max_length, float("inf"))
    window, score = logits[found[0]], float(logits[found[0]][found[1], 0] + logits[found[0]][found[2], 1])
    return None if float(window[0].sum()) - score > threshold else found


def window_by_window(logits, max_length, threshold):
    """Windows that say "not here" are passed over; the best span of the others."""
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
    """A window: one (start, end) for each token, [CLS] first."""
    return torch.tensor(rows, dtype=torch.float32)


HERE = table((0, 0), (1, 0), (3, 1), (0, 4))  # an answer of two tokens, score 7
NOT_HERE = table((4, 4), (1, 0), (0, 1))  # "not here" 8, the best span 2
NOWHERE = table((3, 3), (1, 0), (0, 1))  # "not here" 6
VERY_SURE = table((10, 10), (1, 0), (0, 1))  # "not here" 20
UNSURE = table((0, 0), (1, 0), (0, 1))  # the best span 2
NEARLY = table((4, 4), (1, 0), (3, 1), (0, 4))  # "not here" 8, the best span 7
SURE_OF_NOTHING = table((-9, -9), (2, 0), (0, 2))  # the best span 4 has nearly all of this window's probability


def asked(logits, max_length=3, threshold=0.0):
    return {"logits": logits, "max_length": max_length, "threshold": threshold}


def many(seed):
    return [2 * random(T, 2, seed=seed + T) for T in (6, 9, 5)]


answer_over_windows = Exercise(
    name="answer_over_windows",
    asks='Give the best span over all windows, or None if even the least sure "not here" beats it by the threshold.',
    reference=over_windows,
    section="9.5",
    cases=[
        Case("one window with an answer", **asked([HERE])),
        Case("one window without", **asked([NOT_HERE])),
        Case("the answer is in the second window", **asked([NOT_HERE, HERE])),
        Case("in none of two", **asked([NOT_HERE, NOWHERE])),
        Case("two windows with an answer", **asked([table((0, 0), (1, 1), (0, 0)), HERE])),
        Case("a window that is sure of little", **asked([SURE_OF_NOTHING, HERE])),
        Case("[CLS] and the end of an answer", **asked([table((2, 0), (0, 1), (0, 3))])),
        Case("the answer is in the first window", **asked([HERE, NOT_HERE])),
        Case("one window is very sure", **asked([VERY_SURE, HERE])),
        Case("a little better than the best span", **asked([NEARLY])),
        Case("the window of the best span denies, another does not", **asked([NEARLY, UNSURE])),
        Case("a high threshold for an unsure answer", **asked([UNSURE], threshold=5.0)),
        Case("below the threshold", **asked([NOWHERE], threshold=5.0)),
        Case("exactly at the threshold", **asked([NOWHERE], threshold=4.0)),
        Case("a negative threshold", **asked([HERE], threshold=-8.0)),
        Case("the best is too long", **asked([table((0, 0), (5, 0), (0, 1), (1, 2), (0, 5))], max_length=2)),
        Case("equal scores in two windows", **asked([HERE, HERE])),
        *(Case(f"random numbers, seed {seed}", **asked(many(seed))) for seed in (20, 40, 60)),
    ],
    misconceptions=[
        Misconception(
            "every window has an answer",
            lambda w, n, t: over_windows(w, n, float("inf")),
            "You never say that there is no answer, so every unanswerable question is answered wrongly.",
            "Compare with what pointing at [CLS] scores.",
            "9.5",
        ),
        Misconception(
            "the window that denies most decides",
            lambda w, n, t: over_windows(w, n, t, null=max),
            "You let the window decide that is most sure that the answer is not in it. But in a long text most windows "
            "do not hold the answer, and say so rightly.",
            "A question has no answer if *no* window has one. Which window is then the one to ask?",
            "9.5",
        ),
        Misconception(
            "the first window decides",
            lambda w, n, t: over_windows(w, n, t, null=lambda v: list(v)[0]),
            'You took "not here" from the first window only. The answer may stand in a later one.',
            "The lowest over all windows.",
            "9.5",
        ),
        Misconception(
            "the windows' mean decides",
            lambda w, n, t: over_windows(w, n, t, null=average),
            'You averaged "not here" over the windows. The more windows without the answer there are, the less the '
            "one with it counts.",
            "The lowest over all windows.",
            "9.5",
        ),
        Misconception(
            "only the first window is read",
            lambda w, n, t: over_windows(w[:1], n, t),
            "You looked at the first window only. What stands later in the text is never found.",
            "All windows take part.",
            "9.5",
        ),
        Misconception(
            "probabilities of each window by itself",
            lambda w, n, t: over_windows(w, n, t, prepare=lambda x: x.log_softmax(dim=0)),
            "You turned each window into probabilities first. They sum to one in every window, also where there is "
            "nothing to be found, so that a window without the answer is as sure as the one with it. Logits of "
            "different windows can be compared, their softmaxes cannot.",
            "Which of the two is lost in a softmax: differences, or the common height?",
            "9.5",
        ),
        Misconception(
            "the window of the best span decides",
            null_of_its_window,
            'You took "not here" from the window in which the best span stands. The rule asks all of them: no answer '
            "only if even the window that denies least denies enough.",
            "Two minima or maxima over the windows, each by itself: of which two numbers?",
            "9.5",
        ),
        Misconception(
            "each window decides for itself",
            window_by_window,
            'You passed over every window that says "not here" and took the best span of the others. Whether there '
            'is an answer is decided once, by the lowest "not here"; then the best span of *all* windows is given.',
            "Two minima or maxima over the windows, each by itself: of which two numbers?",
            "9.5",
        ),
        Misconception(
            "answer and no answer are swapped",
            lambda w, n, t: over_windows(w, n, t, sign=-1),
            "You say that there is no answer where there is one, and give one where there is none: the difference has "
            "the wrong sign.",
            'If "not here" has a much *higher* score than the best span, what is to be returned?',
            "9.5",
            variants=(lambda w, n, t: None if over_windows(w, n, t) else over_windows(w, n, float("inf")),),
        ),
        Misconception(
            "[CLS] is part of the context",
            lambda w, n, t: over_windows(w, n, t, first=0, offset=0),
            "You let spans begin at [CLS], which is no token of the context.",
            "The context begins at token 1.",
            "9.5",
        ),
        Misconception(
            "tokens are numbered from the context",
            lambda w, n, t: over_windows(w, n, t, offset=0),
            "Your tokens are numbered without [CLS], so all of them are one too low.",
            "As numbered in the window: the first token of the context is 1.",
            "9.5",
        ),
        Misconception(
            "the threshold works the other way",
            lambda w, n, t: over_windows(w, n, -t),
            "A higher threshold makes you answer less often; it should be the other way around.",
            'There is no answer if "not here" is better by more than the threshold.',
            "9.5",
        ),
        Misconception(
            "there is no threshold",
            lambda w, n, t: over_windows(w, n, 0.0),
            "You compared the two scores without the threshold.",
            '"Not here" has to be better by more than `threshold`.',
            "9.5",
        ),
        Misconception(
            "at the threshold there is no answer",
            lambda w, n, t: over_windows(w, n, t, strictly=False),
            "At exactly the threshold you give no answer; only above it there is none.",
            "By *more* than the threshold: > or ≥?",
            "9.5",
        ),
        Misconception(
            "only the start of [CLS]",
            lambda w, n, t: over_windows(w, n, t, null_of=lambda x: x[0, 0]),
            'You took one logit for "not here" and two for a span: one cannot be compared with a sum of two.',
            '"Not here" is start and end, both at [CLS].',
            "9.5",
        ),
    ],
    accepted={
        "a list of all spans of all windows": all_at_once,
        "float64": lambda w, n, t: over_windows([x.double() for x in w], n, t),
        "a list in place of a tuple": lambda w, n, t: list(found) if (found := over_windows(w, n, t)) else None,
    },
    hints=[
        "First forget that there may be no answer: go through the windows and keep the best span with its window.",
        "best_span(window[1:, 0], window[1:, 1], max_length) numbers the tokens without [CLS]. What is to be added?",
        "null = min over the windows of window[0, 0] + window[0, 1]; None if null - best > threshold.",
    ],
)


# 6. fool_f1


def judge(find) -> str:
    """The verdict on the three answers that were found."""
    found = find()
    if not (isinstance(found, tuple | list) and len(found) == 3 and all(isinstance(text, str) for text in found)):
        return "expected three texts: the answer, a wrong prediction, a right one"
    answer, wrong, right = found
    if not all(normalize(text) for text in found):
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
    asks="Find a wrong prediction with F1 of 0.8 or more, and a right one with F1 of 0, for the same answer.",
    reference=lambda: ("not before noon on Monday", "before noon on Monday", "Monday's afternoon"),
    section="9.6",
    cases=[Case("your three answers", run=judge)],
    misconceptions=[
        Misconception(
            "an exact match", lambda: ("seven o'clock", "Seven o'clock!", "7"),
            "After normalization your wrong prediction *is* the answer.",
            "One word more or less can turn the sense round.", "9.6",
        ),
        Misconception(
            "the wrong one shares too little", lambda: ("in May", "in June", "the fifth month"),
            "Your wrong prediction is wrong, and F1 knows it: it shares too few words with the answer.",
            "Take a longer answer and change one word of it.", "9.6",
        ),
        Misconception(
            "the right one shares a word", lambda: ("he did not come to the fair", "he did come to the fair", "not he"),
            "Your right prediction shares a word with the answer, so its F1 is above 0.",
            "The same thing in other words, or as a number in place of a word.", "9.6",
        ),
        Misconception(
            "no words", lambda: ("the", "a", "an"),
            "One of your texts consists of articles and punctuation, and nothing is left of it.",
            "What does the normalization take away?", "9.6",
        ),
        Misconception(
            "two texts", lambda: ("not before noon on Monday", "before noon on Monday"),
            "Three texts are asked for: the answer, a wrong prediction, a right one.",
            "Read the docstring's Returns again.", "9.6",
        ),
        Misconception(
            "wrong and right swapped", lambda: ("not before noon", "in the afternoon", "not before noon."),
            "You gave the right prediction before the wrong one.",
            "The order is: answer, wrong, right.", "9.6",
        ),
    ],
    accepted={
        "a list": lambda: ["all of the sheep but one", "all of the sheep and one", "nine"],
        "a name": lambda: ("King George the Third of England", "King George the Second of England", "He"),
    },
    hints=[
        "Which small word turns the sense of a sentence round?",
        "If a long answer differs in one word of n, then F1 is about (n - 1) / n.",
        "Twelve o'clock is noon, and shares no word with it.",
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
        ["What does F1 know about a word, and what about the order and the sense of words?"], "9.6",
    ),
    WrittenAnswer(
        "EXPERIMENT", "What did you change, what did you predict, what came out, what do you make of it?", 60,
        ["One change at a time, and look at both types of questions."], "9.8",
    ),
]  # fmt: skip
