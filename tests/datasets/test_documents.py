"""Rows that begin where a document begins: each token of each document is predicted once, from its own document."""

import numpy as np
import pytest

from llmasos.datasets import DocumentRows, Examples, documents
from llmasos.datasets.storyworld import stories
from llmasos.datasets.storyworld.text_source import StoryworldText
from llmasos.tasks import task_class
from llmasos.tokenizers import ByteTokenizer, load_tokenizer
from llmasos.training.recipe import make_recipe

END, BEGIN = 0, 99


def _documents(n: int = 40, longest: int = 23) -> list[np.ndarray]:
    """Documents without their end-of-text: 0 … longest - 1 tokens, all tokens different."""
    lengths = np.random.default_rng(0).integers(0, longest, n)
    return np.split(np.arange(100, 100 + lengths.sum()), np.cumsum(lengths)[:-1])


@pytest.mark.parametrize("context_length", [1, 5, 8, 24])
@pytest.mark.parametrize("cut_off", [False, True])
def test_each_token_is_predicted_once_from_its_own_document(context_length, cut_off, monkeypatch):
    monkeypatch.setattr(documents, "CHUNK", 7)
    texts = _documents()
    tokens = np.concatenate([np.append(text, END) for text in texts]).astype(np.uint16)
    tokens = tokens[:-1] if cut_off else tokens
    rows = list(DocumentRows(tokens, END, BEGIN, context_length))
    assert all(2 <= len(row) <= context_length + 1 and row.dtype == np.int64 for row in rows)
    assert np.concatenate([row[1:] for row in rows]).tolist() == tokens.tolist()
    joined: list[list[int]] = []  # rows that continue a document, joined to it
    for row in rows:
        if row[0] == BEGIN:
            joined.append(row.tolist())
        else:
            assert joined[-1][-1] == row[0] != END, "it is predicted from the token before it"
            joined[-1] += row[1:].tolist()
    expected = [[BEGIN, *text.tolist(), END] for text in texts]
    expected[-1] = expected[-1][:-1] if cut_off else expected[-1]
    assert joined == [text for text in expected if len(text) > 1]


def test_sorted_rows_are_the_same_rows():
    rows = DocumentRows(np.concatenate([np.append(text, END) for text in _documents()]), END, BEGIN, 8)
    in_order = rows.by_length()
    lengths = [len(row) - 1 for row in in_order]
    assert lengths == sorted(lengths) == in_order.lengths.tolist() != rows.lengths.tolist()
    assert sorted(map(tuple, in_order)) == sorted(map(tuple, rows))
    examples = Examples(rows, rows.lengths, batch_size=4)
    assert {tuple(examples.example(0, i)) for i in range(examples.examples_per_epoch)} == set(map(tuple, rows))


def test_the_floor_counts_exactly_what_the_validation_predicts(tmp_path, monkeypatch):
    monkeypatch.setattr("llmasos.datasets.tokens.default_cache_folder", lambda: tmp_path)
    recipe = make_recipe(rows="documents", tokenizer="byte", context_length=1200)
    task = task_class("language-modeling").setup(recipe, StoryworldText(n_train=20))
    told = {story.text: story.nats for story in stories("val", 500)}
    n_targets, nats = 0, 0.0
    for row in task.val:  # the generator's own -log p of the targets in each row: a story and its end
        assert row[0] == row[-1] == task.tokenizer.end_of_text
        n_targets += len(row) - 1
        nats += told[task.tokenizer.decode(row[1:-1].tolist())]
    assert n_targets == task.objective.n_targets(task.objective.collate(list(task.val)))["causal"]
    assert nats / n_targets == pytest.approx(task.floor, rel=1e-12)
    assert task.metrics(1.0)["bits_per_byte"] == pytest.approx(n_targets / task.tokens.val.n_bytes / np.log(2))


def test_prompts_begin_like_the_rows_and_the_tokenizer_remembers_it(tmp_path, monkeypatch):
    monkeypatch.setattr("llmasos.datasets.tokens.default_cache_folder", lambda: tmp_path / "cache")
    for rows, prompt in (("documents", [256, 104, 105]), ("windows", [104, 105])):
        recipe = make_recipe(rows=rows, tokenizer="byte", context_length=1200)
        tokenizer = task_class("language-modeling").setup(recipe, StoryworldText(n_train=20)).tokenizer
        assert isinstance(tokenizer, ByteTokenizer) and tokenizer.encode_prompt("hi") == prompt
        tokenizer.save(tmp_path / rows)
        assert load_tokenizer(tmp_path / rows).encode_prompt("hi") == prompt


@pytest.mark.parametrize("data, why", [
    ("plain.txt", "windows anywhere in the text, because it has no documents"),
    ("long.jsonl", "tokens on average, more than the context"),
])  # fmt: skip
def test_a_text_without_documents_that_fit_is_cut_into_windows(data, why, tmp_path, monkeypatch):
    monkeypatch.setattr("llmasos.datasets.tokens.default_cache_folder", lambda: tmp_path / "cache")
    text = "A long story about a fox. " * 20
    (tmp_path / "plain.txt").write_text(text)
    (tmp_path / "long.jsonl").write_text("".join(f'{{"text": "{n} {text}"}}\n' for n in range(4)))
    recipe = make_recipe(data=str(tmp_path / data), rows="documents", tokenizer="byte", context_length=16)
    task = task_class("language-modeling").setup(recipe)
    assert any(why in line for line in task.summary) and task.tokenizer.begin_of_text is None
    assert {len(task.train.example(0, i)) for i in range(9)} == {17}
