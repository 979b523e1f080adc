"""SQuAD scores against the official comparison (kept in transformers); ROUGE against results of rouge_score."""

import unicodedata

import numpy as np
import pytest
from evaluation_helpers import texts, variations

from llmasos.errors import UserError
from llmasos.evaluation import (
    NaiveBayes,
    exact_match,
    mean,
    rouge,
    rouge_table,
    rouge_words,
    squad,
    squad_values,
    token_f1,
    unicode_words,
)
from llmasos.evaluation.porter import STEP_2, STEP_3, STEP_4, stem
from llmasos.evaluation.rouge import longest_common_subsequence, rouge_l, rouge_n
from llmasos.evaluation.squad import normalize
from llmasos.evaluation.words import split_unspaced, without_foreign_punctuation

# SQuAD


def test_exact_match_and_f1_are_the_official_ones():
    official = pytest.importorskip("transformers.data.metrics.squad_metrics")
    compared = []
    for seed in range(5):
        answers = ["", "the", "A.", "an apple", "...", *texts(seed, 100, longest=5)]
        for prediction, answer in zip(variations(answers, seed), answers, strict=True):
            if (
                not (prediction + answer).isascii()
                and split_unspaced(prediction + answer) != (prediction + answer).split()
            ):
                continue  # Chinese and Japanese are compared by characters
            if without_foreign_punctuation(prediction + answer) != prediction + answer:
                continue
            assert normalize(prediction) == official.normalize_answer(prediction)
            assert exact_match(prediction, answer) == official.compute_exact(answer, prediction)
            assert token_f1(prediction, answer) == pytest.approx(official.compute_f1(answer, prediction))
            compared.append(token_f1(prediction, answer))
    assert 0 in compared and 1 in compared and len(set(compared)) > 10


@pytest.mark.parametrize(
    "prediction, answers, exact, f1",
    [
        ("The Eiffel Tower!", ["eiffel tower"], 1, 1),
        ("tower", ["Eiffel Tower", "the tower"], 1, 1),  # the best of several
        ("big tower", ["Eiffel Tower", "a bridge"], 0, 0.5),
        ("red red house", ["red house house"], 0, 2 / 3),  # each word as often as on both sides
        ("", ["tower"], 0, 0),
        ("", [], 1, 1),  # there is no answer, and the model predicts that
        ("tower", [], 0, 0),
        ("the", [], 1, 1),  # nothing is left after normalization
        ("x", ["the", "x"], 1, 1),
        ("", ["the", "x"], 0, 0),  # a reference without words after normalization does not count
        ("theatre", ["atre"], 0, 0),  # an article is a whole word
    ],
)
def test_single_questions(prediction, answers, exact, f1):
    assert squad_values([prediction], [answers]).tolist() == [[exact, pytest.approx(f1)]]


def test_figures_are_in_per_cent_and_split_by_whether_there_is_an_answer():
    predictions, answers = ["red house", "blue", "", "x"], [["red house"], ["blue sky"], [], []]
    scores = squad(predictions, answers)
    figures = {name: (round(score.value, 6), score.n) for name, score in scores.items()}
    assert figures == {
        "exact match": (50, 4),
        "F1": (round(100 * (1 + 2 / 3 + 1 + 0) / 4, 6), 4),
        "exact match (has answer)": (50, 2),
        "F1 (has answer)": (round(100 * (1 + 2 / 3) / 2, 6), 2),
        "exact match (no answer)": (50, 2),
    }
    assert all(name == score.name for name, score in scores.items())
    assert all(0 <= score.low <= score.value <= score.high <= 100 for score in scores.values())
    assert scores["F1"] == mean("F1", squad_values(predictions, answers)[:, 1], scale=100, digits=1)


def test_without_unanswerable_questions_there_is_no_split():
    assert list(squad(["a", "b"], [["b"], ["b"]])) == ["exact match", "F1"]
    assert list(squad(["", "b"], [[], []])) == ["exact match", "F1", "exact match (no answer)"]


# ROUGE

# (prediction, reference): precision, recall and F1 of ROUGE-1, ROUGE-2 and ROUGE-L by rouge_score 0.1.2, no stemming
ROUGE_SCORE = {
    ("the cat sat on the mat", "the cat lay on a mat near the door"): [
        (0.833333333333, 0.555555555556, 0.666666666667),
        (0.2, 0.125, 0.153846153846),
        (0.666666666667, 0.444444444444, 0.533333333333),
    ],
    ("Police killed the gunman.", "police ended the gunman; the gunman police killed"): [
        (1.0, 0.5, 0.666666666667),
        (0.666666666667, 0.285714285714, 0.4),
        (0.75, 0.375, 0.5),
    ],
    (
        "A storm broke the bridge, and Mira's boat was lost.",
        "Mira lost her boat when a storm broke the old bridge.",
    ): [(0.727272727273,) * 3, (0.3,) * 3, (0.454545454545,) * 3],
    ("a a a b", "a b a"): [
        (0.75, 1.0, 0.857142857143),
        (0.333333333333, 0.5, 0.4),
        (0.5, 0.666666666667, 0.571428571429),
    ],
    ("schöne Grüße", "Schöne Grüße aus Köln"): [
        (1.0, 0.571428571429, 0.727272727273),
        (1.0, 0.5, 0.666666666667),
        (1.0, 0.571428571429, 0.727272727273),
    ],
    ("", "something"): [(0, 0, 0)] * 3,
    ("...", "?!"): [(0, 0, 0)] * 3,
    ("one", "one"): [(1, 1, 1), (0, 0, 0), (1, 1, 1)],
    ("b a d c", "a b c d"): [(1, 1, 1), (0, 0, 0), (0.5, 0.5, 0.5)],
}


@pytest.mark.parametrize("pair", ROUGE_SCORE, ids=lambda pair: pair[0])
def test_rouge_is_that_of_rouge_score(pair):
    prediction, reference = pair
    np.testing.assert_allclose(rouge_table([prediction], [[reference]])[0], ROUGE_SCORE[pair], rtol=0, atol=1e-11)


def test_the_scores_are_means_over_examples_with_intervals():
    predictions, references = zip(*ROUGE_SCORE, strict=True)
    scores, expected = rouge(predictions, references), np.mean(list(ROUGE_SCORE.values()), axis=0)
    assert list(scores) == ["ROUGE-1", "ROUGE-2", "ROUGE-L"]
    for score, (precision, recall, f1) in zip(scores.values(), expected, strict=True):
        assert score.value == pytest.approx(f1)
        assert score.low < score.value < score.high
        assert score.note == f"precision {precision:.3f}, recall {recall:.3f}"


def test_of_several_references_the_best_counts_for_each_figure_by_itself():
    words, several = "a b c d", ["d c b a", "a b x y"]
    one, two, longest = rouge_table([words], [several])[0]
    assert tuple(one) == rouge_n(words.split(), several[0].split(), 1)
    assert tuple(two) == rouge_n(words.split(), several[1].split(), 2)
    assert tuple(longest) == rouge_l(words.split(), several[1].split())


def test_umlauts_are_lost_as_in_rouge_score_unless_another_tokenizer_keeps_them():
    german = (["Grösse"], ["Gr sse"])
    assert rouge(*german)["ROUGE-1"].value == 1
    assert rouge(*german, tokenize=unicode_words)["ROUGE-1"].value == 0


# (prediction, reference): F1 of ROUGE-1, -2, -L and -Lsum by rouge_score 0.1.2, with stemming
STEMMED = {
    ("The cats were running.\nNations relate happily.", "A cat runs.\nThe relation of a nation is happy."): [
        0.588235294118,
        0.0,
        0.352941176471,
        0.470588235294,
    ],
    ("b c\na b", "a b c\nc a"): [0.666666666667, 0.857142857143, 0.666666666667, 0.666666666667],
    ("flies dying\n\nskies", "fly die\nthe sky connected connections"): [
        0.444444444444,
        0.0,
        0.444444444444,
        0.444444444444,
    ],
}  # fmt: skip


@pytest.mark.parametrize("pair", STEMMED, ids=lambda pair: pair[0][:10])
def test_stemming_and_rouge_lsum_are_those_of_rouge_score(pair):
    table = rouge_table([pair[0]], [[pair[1]]], stem=True, summary_level=True)
    np.testing.assert_allclose(table[0, :, 2], STEMMED[pair], rtol=0, atol=1e-9)
    assert list(rouge([pair[0]], [pair[1]], summary_level=True)) == ["ROUGE-1", "ROUGE-2", "ROUGE-L", "ROUGE-Lsum"]


def test_rouge_equals_rouge_score_on_random_texts_where_it_is_installed():
    scorer_of = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer
    words = (
        "the cat cats running run happily nation national relations flies , mat on dog a schön end. ... 3.5 x²".split()
    )
    rng = np.random.default_rng(0)
    for i in range(300):
        a, b = (
            "".join(rng.choice(words) + rng.choice([" ", " ", "\n"]) for _ in range(rng.integers(14))) for _ in "ab"
        )
        names = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
        expected = scorer_of(names, use_stemmer=i % 2 == 1).score(b, a)
        table = rouge_table([a], [[b]], stem=i % 2 == 1, summary_level=True)[0]
        np.testing.assert_allclose(table, [expected[name] for name in names], rtol=0, atol=1e-9)


def test_stems_are_those_of_nltk():
    words = (
        "hopefully connections relational radically hopping sized agreed feed flies dies skies geology troubles "
        "conflated happily possibly adoption cease controlled"
    )
    assert " ".join(map(stem, words.split())) == (
        "hope connect relat radic hop size agre feed fli die sky geolog troubl conflat happili possibl adopt ceas "
        "control"
    )


def test_the_stemmer_is_nltks_where_it_is_installed():
    oracle = pytest.importorskip("nltk.stem.porter").PorterStemmer()
    suffixes = [
        *STEP_2,
        *STEP_3,
        *STEP_4,
        "logi",
        "s",
        "es",
        "ies",
        "ed",
        "ing",
        "eed",
        "ied",
        "y",
        "e",
        "ll",
        "",
        "",
        "",
    ]
    rng = np.random.default_rng(0)
    for _ in range(5000):
        start = "".join(rng.choice(list("abcdehilnorstuyz"), rng.integers(6)))
        word = start + rng.choice(suffixes) + rng.choice(suffixes)
        assert stem(word) == oracle.stem(word), word


# (script, a text, one with about half of its words, words in the first)
SCRIPTS = [
    ("Cyrillic", "Кошка сидит на окне.", "кошка спит на окне", 4),
    ("Greek", "Η γάτα κοιμάται εδώ.", "η γάτα τρώει εδώ", 4),
    ("Arabic", "القطة تنام هنا، الآن؟", "القطة تنام هناك الآن", 4),
    ("Hebrew", "החתול ישן כאן עכשיו.", "החתול ישן שם עכשיו", 4),
    ("Hindi", "बिल्ली खिड़की पर सोती है।", "बिल्ली खिड़की पर है", 5),
    ("Thai", "แมวนอน", "แมวกิน", 6),
    ("Chinese", "猫坐在窗边。", "猫睡在窗边", 5),
    ("Japanese", "ネコが寝る。", "ネコが食べる", 5),
    ("Korean", "고양이가 창가에 앉아 있다.", "고양이가 창가에 자고 있다", 4),
]


@pytest.mark.parametrize("script, text, other, n_words", SCRIPTS, ids=[row[0] for row in SCRIPTS])
def test_every_script_has_words(script, text, other, n_words):
    for tokenize in (rouge_words, unicode_words):
        assert len(tokenize(text)) == n_words, tokenize(text)
        same, half = (rouge([p], [text], tokenize)["ROUGE-1"].value for p in (text, other))
        assert same == 1 and 0.3 < half < 1
    assert 0 < rouge([other], [text])["ROUGE-L"].value < 1
    em, f1 = squad_values([text.rstrip(".。।?؟")], [[text]])[0]
    assert (em, f1) == (1, 1) and 0.3 < token_f1(other, text) < 1
    labels = NaiveBayes([text, "999 888"], ["a", "b"]).predict([other, "888"])
    assert labels == ["a", "b"]


DECOMPOSED = {
    "Korean": "고양이가 앉아 있다",
    "Japanese": "ガラスが",
    "Cyrillic": "Йод мой",
    "Greek": "γάτα εδώ",
    "Hindi": "क़लम",
}


@pytest.mark.parametrize("script", DECOMPOSED)
def test_a_composed_and_a_decomposed_character_are_the_same(script):
    composed, decomposed = (unicodedata.normalize(form, DECOMPOSED[script]) for form in ("NFC", "NFD"))
    assert composed != decomposed or script == "Hindi"  # its letters are decomposed in NFC, too
    for tokenize in (rouge_words, unicode_words):
        assert tokenize(composed) == tokenize(decomposed) == tokenize(DECOMPOSED[script])
        assert rouge([decomposed], [composed], tokenize)["ROUGE-L"].value == 1
    assert NaiveBayes([composed, "999 888"], ["a", "b"]).predict([decomposed]) == ["a"]
    assert rouge_words(unicodedata.normalize("NFD", "Café")) == ["cafe"]  # as in rouge_score


def test_the_longest_common_subsequence_is_the_longest_of_all():
    """Compare with trying every subsequence."""

    def is_in(part: list[int], whole: list[int]) -> bool:
        rest = iter(whole)
        return all(item in rest for item in part)

    rng = np.random.default_rng(0)
    for _ in range(100):
        a, b = (rng.integers(3, size=rng.integers(8)).tolist() for _ in range(2))
        parts = ([a[i] for i in range(len(a)) if mask >> i & 1] for mask in range(2 ** len(a)))
        assert longest_common_subsequence(a, b) == max(len(part) for part in parts if is_in(part, b))


@pytest.mark.parametrize("metric", [rouge, squad])
def test_unequal_numbers_and_nothing_are_said(metric):
    with pytest.raises(UserError, match="2 predictions but 1 references"):
        metric(["a", "b"], [["a"]])
    with pytest.raises(UserError, match="nothing to score"):
        metric([], [])
