"""BM25, the vector index and the retrieval metrics against values worked out by hand; answers from an FAQ."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from llmasos.datasets import read_faq
from llmasos.errors import UserError
from llmasos.evaluation import mean_reciprocal_rank, recall_at_k, retrieval_ranks
from llmasos.retrieval import BM25, FAQ, FAQEntry, VectorIndex

DATA = Path(__file__).resolve().parents[2] / "data" / "faq"


def test_bm25_is_the_formula_worked_out_by_hand():
    # N = 3; lengths 2, 4, 3, mean 3. "cat" is in 2 documents: idf = ln(1 + 1.5/2.5); "dog" in 1: ln(1 + 2.5/1.5).
    index = BM25(["cat sat", "cat dog dog cat", "a b c"], k1=1.2, b=0.75, words=str.split)
    cat, dog = math.log(1.6), math.log(8 / 3)
    first = cat * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 2 / 3))
    second = (cat + dog) * 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 4 / 3))
    np.testing.assert_allclose(index.scores("cat dog"), [first, second, 0], rtol=1e-12)
    elephant = math.log(8)  # of a word in no document: ln(1 + 3.5 / 0.5)
    total = cat + dog + elephant
    np.testing.assert_allclose(index.coverage("dog cat dog elephant"), [cat / total, (cat + dog) / total, 0])
    assert not index.scores("").any() and not index.coverage("?!").any()


def test_length_counts_only_with_b_and_repetition_only_with_k1():
    documents = ["fox", "fox fox fox", "fox and a very long tail of other words"]
    assert len(set(BM25(documents, k1=0).scores("fox"))) == 1
    short, repeated, long = BM25(documents, b=0).scores("fox")
    assert short == long < repeated < 2.2 * short


def test_words_in_more_than_half_of_the_documents_never_count_against_one():
    assert (BM25(["a x", "a y", "a z"], words=str.split).scores("a") > 0).all()


def test_the_documents_are_no_string():
    with pytest.raises(UserError, match="the documents are one string"):
        BM25("a b c")


@pytest.mark.parametrize("documents", [[], ["", " ?! "]])
def test_an_empty_index_is_one_sentence(documents):
    with pytest.raises(UserError, match="the index is empty"):
        BM25(documents)
    with pytest.raises(UserError, match="the index is empty"):
        VectorIndex(torch.zeros(0, 4))


def test_the_vector_index_finds_what_sorting_all_dot_products_finds(monkeypatch):
    vectors, queries = torch.randn(50, 8, generator=torch.Generator().manual_seed(0)), torch.eye(7, 8)
    monkeypatch.setattr("llmasos.retrieval.vector_index.BLOCK", 100)  # two queries at once
    scores, indices = VectorIndex(vectors).search(queries, k=5)
    for row, query in enumerate(queries):
        expected = sorted(range(50), key=lambda i: -float(vectors[i] @ query))[:5]
        assert indices[row].tolist() == expected
    torch.testing.assert_close(scores, (queries @ vectors.T).gather(1, indices))
    assert VectorIndex(torch.ones(3, 2)).search(torch.ones(1, 2), k=9).indices.tolist() == [[0, 1, 2]]
    with pytest.raises(UserError, match="embed both with the same model"):
        VectorIndex(vectors).search(torch.zeros(1, 3))
    with pytest.raises(UserError, match=r"the shape \(8,\); it must be \(Q, C\)"):
        VectorIndex(vectors).search(queries[0])
    with pytest.raises(UserError, match="the vectors of an index are a list"):
        VectorIndex([])
    with pytest.raises(UserError, match="not finite"):
        VectorIndex(torch.tensor([[float("nan")]]))


def test_the_retrieval_metrics_are_those_worked_out_by_hand():
    scores = np.array([[3, 2, 1], [1, 3, 2], [2, 2, 2], [0, 1, 2]])  # right: 1st, 3rd, 3rd of equals, 2nd
    ranks = retrieval_ranks(scores, [0, 0, 1, 1])
    assert ranks.tolist() == [1, 3, 3, 2]
    assert [recall_at_k(ranks, k).value for k in (1, 2, 3)] == [0.25, 0.5, 1]
    assert mean_reciprocal_rank(ranks).value == pytest.approx((1 + 1 / 3 + 1 / 3 + 1 / 2) / 4)
    for wrong in ([0], [0, 0, 1, 3], [0, 0, 1, -1]):
        with pytest.raises(UserError):
            retrieval_ranks(scores, wrong)
    with pytest.raises(UserError, match="NaN"):
        retrieval_ranks(np.array([[np.nan, 1.0]]), [1])


def test_the_example_answers_what_it_can_and_hands_over_the_rest():
    """The results in data/faq/README.md: 19 right, 2 wrong, and 2 answers to questions that have none."""
    faq = FAQ.open(DATA / "faq.md")
    with (DATA / "questions.csv").open(encoding="utf-8") as file:
        rows = [(row["question"], row["expected"]) for row in csv.DictReader(file)]
    results = [(faq.answer(question), expected) for question, expected in rows]
    known = [(result, expected) for result, expected in results if expected]
    first = sum(result.candidates[0].question == expected for result, expected in known)
    right = sum(result.entry is not None and result.entry.question == expected for result, expected in known)
    wrong = sum(result.entry is not None and result.entry.question != expected for result, expected in results)
    assert (len(faq.entries), len(known), len(rows), first, right, wrong) == (15, 23, 35, 21, 19, 4)


def test_a_model_finds_what_shares_no_word():
    vectors = {
        "Opening hours\n9 to 6": [1.0, 0.0],
        "Payment\nby card": [0.0, 1.0],
        "How late can I come?": [0.9, 0.436],
    }
    entries = [FAQEntry(*text.split("\n")) for text in list(vectors)[:2]]
    faq = FAQ(entries, lambda texts: torch.tensor([vectors[text] for text in texts]))
    result = faq.answer("How late can I come?")
    assert result.entry == entries[0] and result.confidence == pytest.approx(0.45)
    assert FAQ(entries).answer("How late can I come?").entry is None


def test_a_question_must_hold_something_and_a_threshold_of_0_answers_no_empty_match():
    faq = FAQ([FAQEntry("When?", "Now.")], threshold=0)
    assert faq.answer("xyz").entry is None and faq.answer("xyz").candidates == ()
    with pytest.raises(UserError, match="the question is empty"):
        faq.answer("  ")
    with pytest.raises(UserError, match="the FAQ is empty"):
        FAQ([])
    for entries in (["abc"], [("When?", "Now.")], "abc"):
        with pytest.raises(UserError, match=r"entry 1 of the FAQ is a (text|list); it must be FAQEntry"):
            FAQ(entries)
    with pytest.raises(UserError, match="the question is null; it must be a text"):
        faq.answer(None)


MARKDOWN = "# Shop\nIntro.\n## Pay\n### How?\nBy card.\n\n```\n# no heading\n```\n### Where?\nHere.\n"


@pytest.mark.parametrize("name, text", [
    ("a.md", MARKDOWN),
    ("a.csv", 'question,answer\nHow?,"By card.\n\n```\n# no heading\n```"\nWhere?,Here.\n'),
    ("a.jsonl", '{"question": "How?", "answer": "By card.\\n\\n```\\n# no heading\\n```"}\n'
                '{"question": "Where?", "answer": "Here."}\n'),
])  # fmt: skip
def test_an_faq_is_markdown_or_a_table(name, text, tmp_path):
    (tmp_path / name).write_text(text, encoding="utf-8")
    entries = read_faq(tmp_path / name)
    assert entries == [FAQEntry("How?", "By card.\n\n```\n# no heading\n```"), FAQEntry("Where?", "Here.")]
    assert "line " in entries[1].where


@pytest.mark.parametrize("name, text, message", [
    ("a.md", "# Shop\n## How?\n\n## Where?\nHere.\n", r"a\.md, line 2: the question 'How\?' has no answer"),
    ("a.md", "# Shop\n## Where?\nHere.\n## How?", r"line 4: the question 'How\?' has no answer"),
    ("a.md", "just text\n", "holds no question"),
    ("a.md", "# Only a title\n", "holds no question"),
    ("a.csv", "question,answer\nHow?,\n", "line 2: the answer is empty"),
    ("a.csv", "question\nHow?\n", "no column 'answer' for the answer; an FAQ has the columns question and answer"),
    ("a.pdf", "x", "ends in '.pdf', expected an FAQ"),
    ("a.md", "", "is empty"),
])  # fmt: skip
def test_a_file_that_is_no_faq_is_one_sentence(name, text, message, tmp_path):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        read_faq(tmp_path / name)
    assert "\n" not in str(error.value)
