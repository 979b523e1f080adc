"""Entity metrics: precision, recall and F1 over whole names (Tjong Kim Sang & De Meulder 2003).

    precision  of the names that were predicted, the fraction that is right       P = correct / predicted
    recall     of the names that are there, the fraction that was found           R = correct / there
    F1         their harmonic mean                                               F1 = 2 correct / (predicted + there)

A name is right only if its first word, its last word and its type are: half a name is as wrong as none. The counts of
all texts are added first (micro-average). Labels are read as `conlleval` reads them (`datasets/tagging.py`), also ones
that no scheme allows, such as an I- after O; a value whose denominator is 0 is 0.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from llmasos.datasets.tagging import OUTSIDE, entity_spans
from llmasos.errors import UserError
from llmasos.evaluation.classification_metrics import ClassMetrics
from llmasos.evaluation.intervals import bootstrap
from llmasos.evaluation.metric import Metric, check_pairs

Labels = Sequence[str]  # of the words of a text


def entity_metrics(predictions: Sequence[Labels], references: Sequence[Labels], note: str = "") -> list[Metric]:
    """F1, precision and recall of whole names, each with a bootstrap interval over the texts.

    >>> for metric in entity_metrics([["B-PER", "I-PER", "O", "B-LOC"]], [["B-PER", "O", "O", "B-LOC"]]):
    ...     print(metric)
    entity F1 0.500 (too few for an interval, n = 1)
    precision 0.500 (too few for an interval, n = 1)
    recall 0.500 (too few for an interval, n = 1)

    Args:
        predictions, references: for each text the labels of its words.
        note: how it was measured.

    Raises:
        UserError: unequal numbers of texts or of words, or no text.
    """
    counts = entity_counts(predictions, references).astype(np.float64)  # (n, 3)

    def ratio(above: int, below: Sequence[int]) -> Callable[[np.ndarray], np.ndarray]:
        return lambda sums: len(below) * sums[:, above] / np.maximum(sums[:, below].sum(axis=1), 1)

    ratios = {"entity F1": ratio(0, [1, 2]), "precision": ratio(0, [1]), "recall": ratio(0, [2])}
    total = counts.sum(axis=0, keepdims=True)
    return [
        Metric(name, float(combine(total)[0]), *bootstrap(counts, combine), len(counts), note)
        for name, combine in ratios.items()
    ]


def entity_counts(predictions: Sequence[Labels], references: Sequence[Labels]) -> np.ndarray:
    """For each text how many names are right, were predicted, and are there: (n, 3) integers."""
    check_pairs(predictions, references)
    rows = []
    for number, (predicted, reference) in enumerate(zip(predictions, references, strict=True), start=1):
        if len(predicted) != len(reference):
            raise UserError(
                f"text {number} has {len(predicted)} predicted labels and {len(reference)} words: give one each."
            )
        sides = [set(entity_spans(labels)) for labels in (predicted, reference)]
        rows.append((len(sides[0] & sides[1]), len(sides[0]), len(sides[1])))
    return np.array(rows)


def per_entity_type(predictions: Sequence[Labels], references: Sequence[Labels]) -> list[ClassMetrics]:
    """Precision, recall and F1 of the names of each type, sorted by the types' names; n names have it.

    >>> for row in per_entity_type([["B-PER", "B-LOC"]], [["B-PER", "B-PER"]]):
    ...     print(row)
    ClassMetrics(label='LOC', precision=0.0, recall=0.0, f1=0.0, n=0)
    ClassMetrics(label='PER', precision=1.0, recall=0.5, f1=0.6666666666666666, n=2)
    """
    check_pairs(predictions, references)
    right: Counter[str] = Counter()
    predicted: Counter[str] = Counter()
    true: Counter[str] = Counter()
    for labels, reference in zip(predictions, references, strict=True):
        sides = [set(entity_spans(side)) for side in (labels, reference)]
        for counter, spans in zip((right, predicted, true), (sides[0] & sides[1], *sides), strict=True):
            counter.update(span.type for span in spans)
    return [
        ClassMetrics(
            type,
            right[type] / max(predicted[type], 1),
            right[type] / max(true[type], 1),
            2 * right[type] / max(predicted[type] + true[type], 1),
            true[type],
        )
        for type in sorted(predicted | true)
    ]


def entity_table(rows: Sequence[ClassMetrics]) -> str:
    """The scores of each type as text.

    >>> print(entity_table(per_entity_type([["B-PER", "B-LOC"]], [["B-PER", "B-PER"]])))
    type  precision  recall     F1  names
    LOC       0.000   0.000  0.000      0
    PER       1.000   0.500  0.667      2
    """
    width = max(4, *(len(str(row.label)) for row in rows)) if rows else 4
    lines = [f"{'type':<{width}}  precision  recall     F1  names"]
    for row in rows:
        lines.append(f"{row.label:<{width}}  {row.precision:9.3f}  {row.recall:6.3f}  {row.f1:5.3f}  {row.n:5,}")
    return "\n".join(lines)


def most_frequent_labels(
    training: Sequence[tuple[Sequence[str], Labels]], texts: Sequence[Sequence[str]]
) -> list[list[str]]:
    """Label each word as it was labeled most often in training, and words that were not there with O.

    It is the baseline of the shared task (Tjong Kim Sang & De Meulder 2003, section 3), without its condition that a
    whole name must have been seen: what can be known without looking at the context.

    >>> most_frequent_labels([(["Anna", "ran"], ["B-PER", "O"])], [["Ben", "saw", "Anna"]])
    [['O', 'O', 'B-PER']]

    Args:
        training: words with their labels.
        texts: words of other texts.
    """
    counts: dict[str, Counter[str]] = {}
    for words, labels in training:
        for word, label in zip(words, labels, strict=True):
            counts.setdefault(word, Counter())[label] += 1
    best = {word: max(sorted(labels), key=labels.__getitem__) for word, labels in counts.items()}
    return [[best.get(word, OUTSIDE) for word in words] for words in texts]
