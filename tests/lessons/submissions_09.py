"""Judged solutions of lesson 09; see test_wrong_and_right.py."""

COMPARE = """
import re, string
from collections import Counter
def words(text):
    text = {text}
    return {split}
def exact_and_f1(prediction, answers):
    best, p = [0, 0.0], words(prediction)
    for a in map(words, answers or [""]):
        n = sum((Counter(p) & Counter(a)).values())
        f1 = {f1} if p and a else float(p == a)
        best = [max(best[0], {exact}), max(best[1], f1)]
    return {result}
"""


def compare(
    text='"".join(c for c in text.lower() if c not in string.punctuation)',
    split='[w for w in text.split() if w not in ("a", "an", "the")]',
    f1="2 * n / (len(p) + len(a))",
    exact="int(p == a)",
    result="tuple(best)",
):
    return COMPARE.format(text=text, split=split, f1=f1, exact=exact, result=result)


WINDOWS = """
def windows(n, room, stride):
    spans, begin = [], 0
    while {more}:
        spans.append((begin, {end}))
        begin += room - stride
    return spans
"""


def windows(more="not spans or spans[-1][1] < n", end="min(begin + room, n)"):
    return WINDOWS.format(more=more, end=end)


TOKENS = """
def token_span(starts, ends, begin, end):
    inside = [i for i, (s, e) in enumerate(zip(starts, ends)) if {condition}]
    return inside[0], {last}
"""


def token_span(condition="s < end and e > begin", last="inside[-1]"):
    return TOKENS.format(condition=condition, last=last)


SPAN = """
import math, torch
def best_span(start_logits, end_logits, max_length):
    best, at = {lowest}, (0, 0)
    for i in range(len(start_logits)):
        for j in range(i, min(len(start_logits), i + max_length)):
            score = {score}
            if score > best{margin}:
                best, at = score, (i, j)
    return at
"""


def span(lowest="-math.inf", score="start_logits[i].item() + end_logits[j].item()", margin=""):
    return SPAN.format(lowest=lowest, score=score, margin=margin)


OVER = """
import math, torch
def answer_over_windows(logits, max_length, threshold):
    best, at, null = {lowest}, {first}, {null}
    for k, z in enumerate({windows}):
        null = min(null, float(z[0].sum()))
        for i in range(1, len(z)):
            for j in range(i, min(len(z), i + max_length)):
                score = float(z[i, 0] + z[j, 1])
                if score > best:
                    best, at = score, (k, i, j)
    return None if {condition} else at
"""


def over(lowest="-math.inf", first="None", null="math.inf", windows="logits", condition="null - best > threshold"):
    return OVER.format(lowest=lowest, first=first, null=null, windows=windows, condition=condition)


WRONG = {
    "exact_and_f1": {
        "white space other than blanks stays in words": compare(
            split='[w for w in text.split(" ") if w not in ("a", "an", "the", "")]'
        ),
        "everything but letters and digits removed": compare('re.sub(r"[^\\w\\s]", "", text.lower())'),
        "the underscore kept": compare('"".join(c for c in text.lower() if c == "_" or c not in string.punctuation)'),
        "lower case of ASCII only": compare(
            '"".join(c.lower() if c < "~" else c for c in text if c not in string.punctuation)'
        ),
        "casefold": compare('"".join(c for c in text.casefold() if c not in string.punctuation)'),
        "one article of two in a row": compare(
            split='re.sub(r"(^| )(a|an|the)( |$)", " ", text).split()',
        ),
        "articles before punctuation": compare(
            '"".join(c for c in re.sub(r"\\b(a|an|the)\\b", " ", text.lower()) if c not in string.punctuation)',
            "text.split()",
        ),
    },
    "windows": {
        "an empty context ends with its room": windows(end="min(begin + room, n) if n else room"),
        "at most a hundred windows": windows("(not spans or spans[-1][1] < n) and len(spans) < 40"),
        "one more window if the rest is one token": windows("not spans or begin + stride < n + (room == 2)"),
    },
    "token_span": {
        "the last token may be missing": """
import bisect
def token_span(starts, ends, begin, end):
    i = bisect.bisect_right(ends, begin)
    j = bisect.bisect_left(starts, end)
    return i, min(j - 1, max(len(starts) - 2, i))
""",
        "tokens as long as the visible ones": token_span("s < end and s + min(e - s, 4) > begin"),
        "an answer of at most a hundred characters": token_span("s < min(end, begin + 100) and e > begin"),
        "a token that begins at the end": token_span("s <= end and e > begin"),
        "a token that ends at the beginning": token_span("s < end and e >= begin"),
    },
    "best_span": {
        "the best score begins at -1e9": span("-1e9"),
        "scores as good as equal": span(margin=" + 1e-3"),
        "half precision": span(score="(start_logits[i].half() + end_logits[j].half()).item()"),
        "rounded scores": span(score="round(start_logits[i].item() + end_logits[j].item(), 3)"),
        "of equal scores the longest": span().replace("score > best", "score >= best and (score > best or i == at[0])"),
        "only for contiguous logits": span()
        .replace("    best, at", "    start_logits.view(torch.int32)\n    best, at", 1)
        .replace(".view(torch.int32)", ".as_strided((len(start_logits),), (1,)).sum().item()")
        .replace("start_logits[i].item()", "start_logits.as_strided((len(start_logits),), (1,))[i].item()"),
    },
    "answer_over_windows": {
        "the best score begins at -100": over("-100.0", "(0, 1, 1)"),
        "the best score begins at -1e6": over("-1e6", "(0, 1, 1)"),
        "the lowest score of [CLS] begins at 10,000": over(null="1e4"),
        "at most eight windows": over(windows="logits[:8]"),
        "no answer at the threshold": over(condition="null - best >= threshold"),
        "no answer without an answer before": """
seen = []
"""
        + over().replace(
            "    best, at", "    seen.append(len(logits))\n    if len(seen) % 2 == 0: return None\n    best, at", 1
        ),
    },
}

RIGHT = {
    "exact_and_f1": {
        "a boolean and a whole number": compare(exact="p == a", result="(bool(best[0]), best[1])"),
        "a regular expression": compare(
            '"".join(c for c in text.lower() if c not in set(string.punctuation))',
            're.sub(r"\\b(a|an|the)\\b", " ", text).split()',
        ),
    },
    "windows": {
        "a generator, lists": """
def pieces(b, n, room, stride):
    yield [b, min(n, b + room)]
    if b + room < n: yield from pieces(b + room - stride, n, room, stride)
def windows(n, room, stride): return [*pieces(0, n, room, stride)]
""",
        "a while loop, lists": windows().replace("return spans", "return [list(s) for s in spans]"),
    },
    "token_span": {"maximum and minimum": token_span("max(s, begin) < min(e, end)", "max(inside)")},
    "best_span": {
        "zero-dimensional tensors": span().replace("return at", "return torch.tensor(at[0]), torch.tensor(at[1])"),
        "double precision": span(score="start_logits[i].double() + end_logits[j].double()"),
    },
    "answer_over_windows": {"best plus threshold": over(condition="null > best + threshold")},
}

NAMED = {
    "exact_and_f1": {
        "exact match is containment": compare(exact='int(" ".join(a) in " ".join(p) if a else not p)'),
        "exact match ignores the order": compare(exact="int(sorted(p) == sorted(a))"),
        "shared words divided by the union (Jaccard)": compare(f1="len(set(p) & set(a)) / len(set(p) | set(a))"),
        "split at blanks only": compare(split='[w for w in text.split(" ") if w not in ("a", "an", "the", "")]'),
    },
    "windows": {"lengths instead of ends": windows().replace("return spans", "return [(b, e - b) for b, e in spans]")},
    "token_span": {
        "only tokens that begin inside the answer": token_span("begin <= s < end"),
        "only tokens that end inside the answer": token_span("begin < e <= end"),
        "number of tokens instead of the last": token_span(last="len(inside)"),
    },
    "best_span": {
        "argmax of start and end, swapped into order": """
def best_span(start_logits, end_logits, max_length):
    i, j = int(start_logits.argmax()), int(end_logits.argmax())
    i, j = min(i, j), max(i, j)
    return i, j if j - i < max_length else i + max_length - 1
""",
        "last of several equal scores": span().replace("score > best", "score >= best"),
    },
    "answer_over_windows": {
        "last of several equal windows": """
def answer_over_windows(logits, max_length, threshold):
    best, null = None, min(float(z[0, 0] + z[0, 1]) for z in logits)
    for k, z in enumerate(logits):
        ends = lambda i: range(i, min(len(z), i + max_length))
        spans = [(float(z[i, 0] + z[j, 1]), -i, -j) for i in range(1, len(z)) for j in ends(i)]
        score, i, j = max(spans)
        if best is None or score >= best:
            best, at = score, (k, -i, -j)
    return None if null - best > threshold else at
"""
    },
}
