"""F1 over whole names: by hand, against the rules of conlleval, and its properties."""

import random

import numpy as np
import pytest

from llmasos.datasets.tagging import Span, entity_spans, to_bio
from llmasos.datasets.values import BadRow
from llmasos.errors import UserError
from llmasos.evaluation import entity_counts, entity_metrics, most_frequent_labels, per_entity_type

TYPES = ("PER", "LOC", "ORG")


def random_labels(rng: random.Random, n: int, prefixes: str = "BI") -> list[str]:
    return [rng.choice(["O", *(f"{p}-{rng.choice(TYPES)}" for p in prefixes)]) for _ in range(n)]


def conlleval_chunks(labels: list[str]) -> set[tuple[str, int, int]]:
    """The chunks by the two rules of the shared task's scorer: when one ends, and when one starts."""
    chunks, start = set(), None
    before, type_before = "O", ""
    for i, label in enumerate([*labels, "O"]):
        tag, _, type = label.partition("-")
        ends = before != "O" and (before in "ES" or tag in "BSO" or type_before != type)
        starts = tag != "O" and (tag in "BS" or before in "ESO" or type_before != type)
        if ends:
            chunks.add((type_before, start, i))
        if starts:
            start = i
        before, type_before = tag, type
    return chunks


@pytest.mark.parametrize("prefixes", ["BI", "I", "BIES"])
def test_names_are_those_of_conlleval_also_in_labels_that_no_scheme_allows(prefixes):
    rng = random.Random(prefixes)
    for _ in range(300):
        labels = random_labels(rng, rng.randint(0, 9), prefixes)
        assert {tuple(span) for span in entity_spans(labels)} == conlleval_chunks(labels), labels


@pytest.mark.parametrize("label", ["", "-PER", "BI-PER", "ES-PER", "X-PER", "B-", "B", "PER"])
def test_a_label_of_no_scheme_counts_as_o(label):
    assert entity_spans(["B-PER", label, "I-PER"]) == [Span("PER", 0, 1), Span("PER", 2, 3)]


@pytest.mark.parametrize(
    ("predicted", "true", "right", "n_predicted", "n_true"),
    [
        ("O O O B-MISC I-MISC I-MISC O", "O O B-MISC I-MISC I-MISC I-MISC O", 0, 1, 1),  # one word too few
        ("B-PER I-PER O", "B-PER I-PER O", 1, 1, 1),
        ("B-PER B-PER O", "B-PER I-PER O", 0, 2, 1),  # cut into two
        ("B-LOC I-LOC O", "B-PER I-PER O", 0, 1, 1),  # of another type
        ("I-PER I-PER O", "B-PER I-PER O", 1, 1, 1),  # begins without B-
        ("B-PER I-LOC O", "B-PER O O", 1, 2, 1),  # the type changes inside
        ("O O O", "O O O", 0, 0, 0),
    ],
)
def test_counts_by_hand(predicted, true, right, n_predicted, n_true):
    assert entity_counts([predicted.split()], [true.split()]).tolist() == [[right, n_predicted, n_true]]


def test_f1_precision_and_recall_are_of_all_texts_together():
    predictions = [["B-PER", "O", "B-LOC"], ["O", "O"], ["B-PER", "I-PER"]]
    references = [["B-PER", "O", "O"], ["B-ORG", "O"], ["B-PER", "I-PER"]]
    f1, precision, recall = entity_metrics(predictions, references)
    assert (f1.value, precision.value, recall.value) == pytest.approx((2 * 2 / 6, 2 / 3, 2 / 3))
    assert (f1.name, f1.n) == ("entity F1", 3)
    rows = {row.label: row[1:] for row in per_entity_type(predictions, references)}
    assert rows == {"LOC": (0, 0, 0, 0), "ORG": (0, 0, 0, 1), "PER": (1, 1, 1, 2)}


@pytest.mark.parametrize("seed", range(3))
def test_f1_is_the_harmonic_mean_lies_in_its_interval_and_does_not_depend_on_the_order(seed):
    rng = random.Random(seed)
    references = [random_labels(rng, 8) for _ in range(60)]
    predictions = [[a if rng.random() < 0.8 else "O" for a in labels] for labels in references]
    f1, precision, recall = entity_metrics(predictions, references)
    assert f1.value == pytest.approx(2 * precision.value * recall.value / (precision.value + recall.value))
    assert f1.low < f1.value < f1.high
    order = rng.sample(range(60), 60)
    again = entity_metrics([predictions[i] for i in order], [references[i] for i in order])
    assert [metric.value for metric in again] == pytest.approx([f1.value, precision.value, recall.value])
    rows = per_entity_type(predictions, references)
    assert sum(row.n for row in rows) == entity_counts(predictions, references)[:, 2].sum()


def test_nothing_to_find_and_nothing_found_is_0_as_in_conlleval():
    assert [metric.value for metric in entity_metrics([["O"]] * 2, [["O"]] * 2)] == [0, 0, 0]


def test_unequal_numbers_of_words_are_an_error():
    with pytest.raises(UserError, match=r"text 2 has 1 predicted labels and 2 words"):
        entity_counts([["O"], ["O"]], [["O"], ["O", "O"]])


@pytest.mark.parametrize("scheme", [
    ["B-PER", "I-PER", "B-PER", "O", "B-LOC"], ["I-PER", "I-PER", "B-PER", "O", "I-LOC"],
    ["B-PER", "E-PER", "S-PER", "O", "S-LOC"], ["B-PER", "L-PER", "U-PER", "O", "U-LOC"],
])  # fmt: skip
def test_every_scheme_is_read_as_the_same_names(scheme):
    assert to_bio(scheme) == ["B-PER", "I-PER", "B-PER", "O", "B-LOC"]
    assert entity_spans(scheme) == [Span("PER", 0, 2), Span("PER", 2, 3), Span("LOC", 4, 5)]


@pytest.mark.parametrize("label", ["PER", "B-", "X-PER", "", "b-PER", "B PER"])
def test_a_label_of_no_scheme_is_named(label):
    with pytest.raises(BadRow, match="neither O nor B- or I-"):
        to_bio(["O", label])


def test_the_baseline_gives_each_word_its_most_frequent_label():
    training = [(["Anna", "ran"], ["B-PER", "O"]), (["Anna", "Street"], ["B-LOC", "I-LOC"]), (["Anna"], ["B-PER"])]
    assert most_frequent_labels(training, [["Anna", "Street", "Ben"]]) == [["B-PER", "I-LOC", "O"]]
    assert np.isfinite(entity_metrics([["O"]], [["B-PER"]])[0].value)
