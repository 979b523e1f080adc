"""BLEU and chrF equal sacrebleu on awkward text of many scripts, with every option, and in the degenerate cases."""

import time

import numpy as np
import pytest
from evaluation_helpers import texts, variations

from llmasos.errors import UserError
from llmasos.evaluation import bleu, bleu_from_sums, bleu_statistics, chrf, chrf_statistics, paired_bootstrap
from llmasos.evaluation.bleu import tokenize_13a, tokenize_intl

sacrebleu = pytest.importorskip("sacrebleu")
from sacrebleu.metrics import BLEU as OracleBLEU  # noqa: E402
from sacrebleu.metrics import CHRF as OracleCHRF  # noqa: E402

SMOOTHINGS = [("exp", None), ("none", None), ("floor", None), ("floor", 0.01), ("add-k", None), ("add-k", 0.5)]


def corpus(seed: int, n: int, n_references: int) -> tuple[list[str], list[list[str]]]:
    """Make hypotheses, and references for each of them."""
    originals = texts(seed, n)
    references = [originals, *(variations(originals, seed + 10 + i) for i in range(n_references - 1))]
    return variations(originals, seed), [list(several) for several in zip(*references, strict=True)]


def transposed(references: list[list[str]]) -> list[list[str | None]]:
    """Rearrange references for sacrebleu: all first references, all second ones …; None where there is none."""
    most = max(map(len, references))
    return [[several[i] if i < len(several) else None for several in references] for i in range(most)]


def assert_bleu_equal(hypotheses, references, **options):
    oracle = OracleBLEU(
        tokenize=options.get("tokenize", "13a"),
        lowercase=options.get("lowercase", False),
        smooth_method=options.get("smoothing", "exp"),
        smooth_value=options.get("smoothing_value"),
        effective_order=options.get("effective_order", False),
        force=True,
    )
    expected = oracle.corpus_score(hypotheses, transposed(references))
    ours = bleu(hypotheses, references, **options)
    assert ours.value == pytest.approx(expected.score, rel=0, abs=1e-9)
    assert ours.precisions == pytest.approx(expected.precisions, rel=0, abs=1e-9)
    assert ours.brevity_penalty == pytest.approx(expected.bp, rel=0, abs=1e-12)
    assert (ours.hypothesis_length, ours.reference_length) == (expected.sys_len, expected.ref_len)
    assert f"{ours.signature}|version:{sacrebleu.__version__}" == str(oracle.get_signature())
    return ours


# BLEU


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("tokenize", ["13a", "intl", "zh", "char", "none"])
@pytest.mark.parametrize("n_references", [1, 3])
def test_bleu_of_a_corpus_is_sacrebleus(n_references, tokenize, lowercase):
    for seed in range(5):
        score = assert_bleu_equal(*corpus(seed, 30, n_references), tokenize=tokenize, lowercase=lowercase)
        assert 5 < score.value < 95, "a score at the end of the scale would prove little"


@pytest.mark.parametrize("effective_order", [False, True])
@pytest.mark.parametrize("smoothing, value", SMOOTHINGS)
def test_bleu_of_single_sentences_with_every_smoothing_is_sacrebleus(smoothing, value, effective_order):
    options = {"smoothing": smoothing, "smoothing_value": value, "effective_order": effective_order}
    values = []
    for hypothesis, references in zip(*corpus(7, 150, 2), strict=True):
        values.append(assert_bleu_equal([hypothesis], [references], **options).value)
    assert min(values) == 0 and max(values) == pytest.approx(100) or smoothing == "add-k"
    assert len(set(values)) > 50


def test_the_tokenizers_are_sacrebleus():
    oracles = {tokenize_13a: OracleBLEU(tokenize="13a").tokenizer, tokenize_intl: OracleBLEU(tokenize="intl").tokenizer}
    for seed in range(20):
        for text in texts(seed, 50):
            for ours, theirs in oracles.items():
                assert " ".join(ours(text).split()) == theirs(text), repr(text)
    everything = " ".join(f"a{chr(i)}b 1{chr(i)}2 {chr(i)}" for i in range(32, 0x3000))
    for ours, theirs in oracles.items():
        assert " ".join(ours(everything).split()) == theirs(everything)


@pytest.mark.parametrize("smoothing, value", SMOOTHINGS)
@pytest.mark.parametrize(
    "hypotheses, references",
    [
        ([""], [["the cat"]]),
        (["the cat"], [[""]]),
        ([""], [[""]]),
        (["x y z w v"], [["a b c d e"]]),  # all wrong
        (["a"], [["a"]]),  # shorter than four words, and right
        (["a b c"], [["a b c"]]),
        (["a b"], [["a b c d e f"]]),
        (["a b c d e f g h"], [["a"]]),
        (["the the the the"], [["the cat"]]),
        (["a b c d"], [["a b", "a b c d e f"]]),  # two references equally near in length: the shorter counts
        (["a", "", "b c d e"], [["a"], ["x"], ["b c d e"]]),
        (["a b", "c d"], [["a b"], ["c d", "c e", ""]]),  # unequal numbers of references
    ],
)
def test_degenerate_corpora_score_as_in_sacrebleu(hypotheses, references, smoothing, value):
    for effective_order in (False, True):
        options = {"smoothing": smoothing, "smoothing_value": value, "effective_order": effective_order}
        assert_bleu_equal(hypotheses, references, **options)


def test_bleu_by_hand():
    """8 words, of which 7 match; then 5 of 7, 3 of 6 and 2 of 5; the reference has 9 words."""
    score = bleu(["a b c d x f g h"], ["a b c d e f g h i"], tokenize="none")
    assert score.precisions == pytest.approx([100 * 7 / 8, 100 * 5 / 7, 100 * 3 / 6, 100 * 1 / 5])
    assert score.value == pytest.approx(100 * np.exp(1 - 9 / 8) * (7 / 8 * 5 / 7 * 3 / 6 * 1 / 5) ** 0.25)


def test_a_single_reference_may_be_a_plain_string():
    hypotheses, references = corpus(1, 20, 1)
    assert bleu(hypotheses, [several[0] for several in references]) == bleu(hypotheses, references)


def test_the_interval_is_that_of_resampling_whole_sentences():
    """Compare with the long way: resample sentences and score each resampled corpus."""
    hypotheses, references = corpus(2, 40, 1)
    score, rng = bleu(hypotheses, references), np.random.default_rng(0)
    oracle, resampled = OracleBLEU(force=True), []
    for _ in range(400):
        drawn = rng.integers(40, size=40)
        there = [[references[i][0] for i in drawn]]
        resampled.append(oracle.corpus_score([hypotheses[i] for i in drawn], there).score)
    width = score.high - score.low
    assert score.low < score.value < score.high
    assert [score.low, score.high] == pytest.approx(np.quantile(resampled, [0.025, 0.975]), abs=0.15 * width)


def test_two_systems_are_compared_on_the_same_sentences():
    originals = texts(3, 200)
    good, bad = variations(originals, 1), variations(variations(originals, 1), 2)
    references = [[text] for text in originals]
    a, b = bleu_statistics(good, references), bleu_statistics(bad, references)
    difference = paired_bootstrap(a, b, lambda sums: bleu_from_sums(sums)[0])
    assert difference.value == pytest.approx(bleu(good, references).value - bleu(bad, references).value)
    assert 0 < difference.low < difference.value < difference.high


def test_a_thousand_sentences_with_their_interval_take_less_than_two_seconds():
    hypotheses, references = corpus(4, 1000, 1)
    began = time.process_time()
    bleu(hypotheses, references)
    assert time.process_time() - began < 2


# chrF


@pytest.mark.parametrize("options", [{}, {"word_order": 2}, {"char_order": 3, "beta": 1}, {"lowercase": True}])
@pytest.mark.parametrize("n_references", [1, 3])
def test_chrf_is_sacrebleus(n_references, options):
    oracle = OracleCHRF(**options)
    for seed in range(3):
        hypotheses, references = corpus(seed, 30, n_references)
        expected = oracle.corpus_score(hypotheses, transposed(references))
        ours = chrf(hypotheses, references, **options)
        assert ours.value == pytest.approx(expected.score, rel=0, abs=1e-9)
        assert ours.name == expected.name
        assert f"{ours.note}|version:{sacrebleu.__version__}" == str(oracle.get_signature())
        assert ours.low < ours.value < ours.high


@pytest.mark.parametrize("word_order", [0, 2])
def test_chrf_of_single_and_degenerate_sentences_is_sacrebleus(word_order):
    oracle = OracleCHRF(word_order=word_order)
    hypotheses, references = corpus(8, 150, 2)
    hypotheses += ["", "a", "", "abc", "xyz", "ab"]
    references += [[""], [""], ["a"], ["abc"], ["abc"], ["abcdefghij", "ab", "b"]]
    values = []
    for hypothesis, several in zip(hypotheses, references, strict=True):
        values.append(chrf([hypothesis], [several], word_order=word_order).value)
        assert values[-1] == pytest.approx(oracle.sentence_score(hypothesis, several).score, rel=0, abs=1e-9)
    assert min(values) == 0 and max(values) == pytest.approx(100)


def test_chrf_does_not_blame_long_hypotheses_for_orders_that_a_short_reference_lacks():
    hypotheses, references = ["abcdefgh", "the cat sat"], [["ab"], ["the cat sat down"]]
    expected = OracleCHRF().corpus_score(hypotheses, transposed(references)).score
    assert chrf(hypotheses, references).value == pytest.approx(expected, rel=0, abs=1e-9)


def test_chrf_by_hand():
    """Characters: 2 of 3 match on both sides; pairs: 1 of 2; triples: 0 of 1. β has no effect where P = R."""
    assert chrf(["abx"], ["abc"], char_order=3).value == pytest.approx(100 * (2 / 3 + 1 / 2 + 0) / 3)
    assert chrf_statistics(["abx"], [["abc"]], char_order=3).tolist() == [[3, 3, 2, 2, 2, 1, 1, 1, 0]]


# What cannot be scored


@pytest.mark.parametrize("metric", [bleu, chrf])
def test_what_cannot_be_scored_is_said(metric):
    with pytest.raises(UserError, match="2 predictions but 1 references"):
        metric(["a", "b"], ["a"])
    with pytest.raises(UserError, match="nothing to score"):
        metric([], [])
    with pytest.raises(UserError, match="number 2 has no reference"):
        metric(["a", "b"], [["a"], []])


def test_unknown_names_are_said_with_the_known_ones():
    with pytest.raises(UserError, match="tokenizer '14' is not known: choose one of 13a, intl, zh, char, none"):
        bleu(["a"], ["a"], tokenize="14")
    with pytest.raises(UserError, match="smoothing 'exponential' is not known: choose one of exp, none, floor, add-k"):
        bleu(["a"], ["a"], smoothing="exponential")
