"""BLEU: how much of a translation occurs in the reference, counted in runs of one to four words.

(Papineni et al. 2002, section 2; made comparable by Post 2018, whose program sacrebleu this file equals.)

Precision p_n is the fraction of the hypotheses' n-grams that occur in the reference, each at most as often as there
("the the the" does not score three times). It is a fraction of the whole corpus, not a mean over sentences. A
hypothesis could have high precision by saying little, so a corpus shorter than its reference is penalized:

    BLEU = 100 · BP · (p₁ p₂ p₃ p₄)^(1/4)          BP = 1 if h ≥ r, else exp(1 - r/h)

with h the number of words of all hypotheses, and r that of the references (of several, the one nearest in length).

**Tokenization** decides what a word is, so a BLEU without it says nothing: "13a" separates punctuation as the WMT
evaluations do, "intl" does it for all of Unicode, "zh" takes each Chinese character and "char" each character of any
script as a word (for Japanese, Thai, and others without spaces), "none" takes the words between spaces (for text
tokenized already).

**Smoothing** handles an order without any match, which would make the product 0 (Chen and Cherry 2014): "none"
leaves it; "floor" counts 0.1 matches; "add-k" adds 1 to matches and totals of the orders 2 to 4; "exp" gives the first
order without a match half a match, the next a quarter, and so on. It only matters for single sentences.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import regex

from llmasos.errors import UserError
from llmasos.evaluation.intervals import bootstrap
from llmasos.evaluation.metric import Metric, reference_lists

ORDERS = 4  # n-grams of 1 … 4 words
SMOOTHING_VALUES = {"exp": None, "none": None, "floor": 0.1, "add-k": 1.0}


@dataclass(frozen=True, kw_only=True)
class BLEU(Metric):
    """A BLEU score (0–100) and what it is made of.

    Attributes:
        precisions: p₁ … p₄ in percent, after smoothing.
        brevity_penalty: BP, between 0 and 1.
        hypothesis_length, reference_length: h and r, in words.
        signature: how it was measured, in the words of sacrebleu.
    """

    precisions: tuple[float, ...]
    brevity_penalty: float
    hypothesis_length: int
    reference_length: int
    signature: str


def bleu(
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    tokenize: str = "13a",
    lowercase: bool = False,
    smoothing: str = "exp",
    smoothing_value: float | None = None,
    effective_order: bool = False,
) -> BLEU:
    """Corpus BLEU, equal to sacrebleu 2.

    >>> score = bleu(["The cat sat on the mat."], ["The cat sat on a mat."])
    >>> f"{score.value:.2f}", [round(p, 1) for p in score.precisions], score.signature
    ('48.89', [85.7, 66.7, 40.0, 25.0], 'nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp')

    Args:
        predictions: n sentences.
        references: for each of them one sentence or several.
        tokenize: "13a", "intl", "zh", "char" or "none".
        lowercase: compare without regard to case.
        smoothing: "exp", "none", "floor" or "add-k".
        smoothing_value: the value for "floor" (None = 0.1) or "add-k" (None = 1).
        effective_order: leave out orders for which no hypothesis is long enough; for scores of single sentences.

    Raises:
        UserError: unequal numbers of predictions and references, none at all, an unknown tokenizer or smoothing.
    """
    if smoothing not in SMOOTHING_VALUES:
        raise UserError(f"smoothing {smoothing!r} is not known: choose one of {', '.join(SMOOTHING_VALUES)}.")
    value = SMOOTHING_VALUES[smoothing] if smoothing_value is None else smoothing_value
    lists = reference_lists(predictions, references)
    statistics = bleu_statistics(predictions, lists, tokenize, lowercase)

    def combine(sums: np.ndarray) -> np.ndarray:
        return bleu_from_sums(sums, smoothing, value, effective_order)[0]

    sums = statistics.sum(axis=0, keepdims=True)
    scores, precisions, penalties = bleu_from_sums(sums, smoothing, value, effective_order)
    low, high = bootstrap(statistics, combine)
    shown = smoothing if SMOOTHING_VALUES[smoothing] is None else f"{smoothing}[{value:.2f}]"
    signature = (
        f"nrefs:{number_of_references(lists)}|case:{'lc' if lowercase else 'mixed'}"
        f"|eff:{'yes' if effective_order else 'no'}|tok:{tokenize}|smooth:{shown}"
    )
    return BLEU(
        "BLEU", float(scores[0]), low, high, len(predictions), signature, digits=2,
        precisions=tuple(precisions[0].tolist()), brevity_penalty=float(penalties[0]),
        hypothesis_length=int(sums[0, 0]), reference_length=int(sums[0, 1]), signature=signature,
    )  # fmt: skip


def bleu_statistics(
    predictions: Sequence[str], references: Sequence[Sequence[str]], tokenize: str = "13a", lowercase: bool = False
) -> np.ndarray:
    """Each sentence's contribution to the corpus score: (n, 10) integers.

    Columns: hypothesis length, reference length, matches of order 1 … 4, n-grams of order 1 … 4.
    """
    if tokenize not in TOKENIZERS:
        raise UserError(f"the BLEU tokenizer {tokenize!r} is not known: choose one of {', '.join(TOKENIZERS)}.")

    def words(text: str) -> list[str]:
        return TOKENIZERS[tokenize]((text.lower() if lowercase else text).rstrip()).split()

    rows = []
    for prediction, several in zip(predictions, references, strict=True):
        hypothesis, candidates = words(prediction), [words(reference) for reference in several]
        nearest = min(map(len, candidates), key=lambda length: (abs(length - len(hypothesis)), length))
        matches, totals = [], []
        for n in range(1, ORDERS + 1):
            counts = ngrams(hypothesis, n)
            allowed: Counter = Counter()
            for candidate in candidates:
                allowed |= ngrams(candidate, n)  # the larger count of the two
            matches.append((counts & allowed).total())  # the smaller count
            totals.append(counts.total())
        rows.append([len(hypothesis), nearest, *matches, *totals])
    return np.array(rows, dtype=np.int64)


def ngrams(words: Sequence[str], n: int) -> Counter:
    """How often each run of n words occurs."""
    return Counter(zip(*(words[start:] for start in range(n)), strict=False))


def bleu_from_sums(
    sums: np.ndarray, smoothing: str = "exp", value: float | None = None, effective_order: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The formula: sums of the statistics (R, 10) → scores (R,), precisions (R, 4), brevity penalties (R,)."""
    sums = sums.astype(np.float64)
    lengths, reference_lengths, matches, totals = sums[:, 0], sums[:, 1], sums[:, 2:6].copy(), sums[:, 6:].copy()
    nothing_matches = ~matches.any(axis=1)  # then the score is 0, smoothed or not
    if smoothing == "add-k":
        matches[:, 1:] += value
        totals[:, 1:] += value
    elif smoothing == "floor":
        matches[matches == 0] = value
    elif smoothing == "exp":
        missing = matches == 0
        matches = np.where(missing, 0.5 ** missing.cumsum(axis=1), matches)

    with np.errstate(divide="ignore", invalid="ignore"):
        precisions = np.where(totals > 0, 100 * matches / totals, 0)  # (R, 4)
        precisions[nothing_matches] = 0
        penalties = np.where(lengths < reference_lengths, np.exp(1 - reference_lengths / lengths), 1)
        logs = np.log(precisions)  # -inf for a precision of 0, which makes the score 0
    if effective_order:
        orders = (totals > 0).sum(axis=1)
        logs[totals == 0] = 0
    else:
        orders = np.full(len(sums), ORDERS)
    scores = penalties * np.exp(logs.sum(axis=1) / np.maximum(orders, 1))
    return np.where(nothing_matches, 0, scores), precisions, penalties


def number_of_references(references: Sequence[Sequence[str]]) -> str:
    """The number of references of each prediction, or "var" if it varies."""
    numbers = {len(several) for several in references}
    return str(numbers.pop()) if len(numbers) == 1 else "var"


# Tokenizers. Each takes a text and returns it with spaces around its words.

ENTITIES = {"&quot;": '"', "&amp;": "&", "&lt;": "<", "&gt;": ">"}
RULES_13A = [
    (re.compile(r"([!-&(-+/:-@\[-`{-~])"), r" \1 "),  # ASCII punctuation and symbols but ' , - .
    (re.compile(r"([^0-9])([.,])"), r"\1 \2 "),  # a point or comma, unless a digit is before it …
    (re.compile(r"([.,])([^0-9])"), r" \1 \2"),  # … and unless one is after it
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),  # a hyphen after a digit
]
RULES_INTL = [
    (regex.compile(r"(\P{N})(\p{P})"), r"\1 \2 "),  # punctuation, unless a digit is before it …
    (regex.compile(r"(\p{P})(\P{N})"), r" \1 \2"),  # … and unless one is after it
    (regex.compile(r"(\p{S})"), r" \1 "),  # symbols
]

# sacrebleu's ranges, which hold much more than Chinese characters: punctuation, symbols, and full-width forms.
CHINESE = re.compile(
    "[\u2001-\u2a6d\u2e80-\u2eff\u2f00-\u2fdf\u2ff0-\u303f\u3100-\u312f\u31a0-\u31bf\u31c0-\u31ef\u3200-\u33ff"
    "\u3400-\u4db5\u4e00-\u9fbb\uf900-\ufa2d\ufa30-\ufa6a\ufa70-\ufad9\ufe10-\ufe1f\ufe30-\ufe4f\uff00-\uffef]"
)


def tokenize_13a(text: str) -> str:
    """Tokenize as mteval-v13a.pl, the program of the WMT evaluations.

    >>> tokenize_13a('"Well," he said, "1,000.5 is it."').split()
    ['"', 'Well', ',', '"', 'he', 'said', ',', '"', '1,000.5', 'is', 'it', '.', '"']
    """
    text = text.replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, character in ENTITIES.items():
        text = text.replace(entity, character)
    return _substitute(RULES_13A, f" {text} ")


def tokenize_intl(text: str) -> str:
    """Tokenize as mteval-v14.pl: separate all punctuation and symbols of Unicode."""
    return _substitute(RULES_INTL, text)


def _substitute(rules: list, text: str) -> str:
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text


def tokenize_zh(text: str) -> str:
    """Tokenize Chinese: each character of Chinese is a word, and the rest is tokenized by the rules of 13a."""
    return _substitute(RULES_13A, CHINESE.sub(r" \g<0> ", text.strip()))


TOKENIZERS: dict[str, Callable[[str], str]] = {
    "13a": tokenize_13a,
    "intl": tokenize_intl,
    "zh": tokenize_zh,
    "char": " ".join,  # each character but white space
    "none": str,
}
