"""Token classification: first sub-tokens are the targets, windows divide the words, padding changes nothing."""

import random
import unicodedata

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from llmasos.datasets import TaggedText
from llmasos.datasets.tagging import bio_labels, tagged_words, word_spans
from llmasos.errors import UserError
from llmasos.models import ModelConfig, build_model
from llmasos.objectives import IGNORE_INDEX, Regression, TokenClassification
from llmasos.objectives.token_classification import window_bounds
from llmasos.tasks import find_entities
from llmasos.tasks.token_classification import label_words
from llmasos.tokenizers import train_tokenizer

TEXT = ["Anna saw the old mill in Kleinwitz.", "“Grüße!” said Ben’s aunt, 3.5 km away — in Łódź, İzmir and São Paulo."]
LABELS = bio_labels(["PER", "LOC"])
KINDS = [("wordpiece", False), ("wordpiece", True), ("bpe", False), ("byte", False), ("char", False)]


def tokenizer_of(kind, lowercase=False):
    return train_tokenizer(kind, TEXT * 3, 300, lowercase=lowercase)


def tagged(text: str, seed: int = 0) -> TaggedText:
    """A text with random labels."""
    rng = random.Random(seed)
    words = word_spans(text)
    return TaggedText(text, tuple(words), tuple(rng.choice(LABELS) for _ in words))


def plain(text: str) -> str:
    """The text in lower case without accents, like the input of a lower-casing WordPiece."""
    return "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(c))


def tiny_model(tokenizer, family="bert", context_length=24):
    torch.manual_seed(0)
    config = ModelConfig(family=family, vocab_size=tokenizer.vocab_size, context_length=context_length, n_layers=2,
                         n_heads=2, d_model=32, dropout=0.1, head="token_classifier", labels=LABELS)  # fmt: skip
    model = build_model(config)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


@pytest.mark.parametrize(("kind", "lowercase"), KINDS)
@pytest.mark.parametrize("context_length", [8, 13, 200])
def test_every_word_is_a_target_once_at_its_first_token(kind, lowercase, context_length):
    tokenizer = tokenizer_of(kind, lowercase)
    objective = TokenClassification(tokenizer, LABELS)
    example = tagged(" ".join(TEXT))
    windows = objective.encode(example, context_length)
    assert all(len(window.inputs.ids) <= context_length for window in windows)
    seen = [word for window in windows for word in window.words]
    assert seen == sorted(set(seen))
    encoded = tokenizer.encode_with_offsets(example.text)
    tokens = list(zip(encoded.starts, encoded.ends, strict=True))
    for word in set(range(len(example.words))) - set(seen):  # its first token is also of the word before
        start, before = example.words[word][0], example.words[word - 1][1]
        assert any(first < before and end > start for first, end in tokens)
    for window in windows:
        for word, position, label in zip(window.words, window.positions, window.labels, strict=True):
            token = tokenizer.decode([window.inputs.ids[position]]).strip("# ")
            start, end = example.words[word]
            assert label == LABELS.index(example.labels[word])
            if "\ufffd" not in token and token != "[UNK]":
                text = plain(example.text[start:end]) if lowercase else example.text[start:end]
                assert text.startswith(token[: end - start]) or token.startswith(text), (token, text)


@pytest.mark.parametrize("n", [0, 1, 6, 7, 10, 11, 95])
def test_windows_fit_cover_every_token_once_and_show_what_is_around(n):
    room, overlap = 6, 2
    bounds = window_bounds(n, room, overlap)
    assert [t for _, _, first, last in bounds for t in range(first, last)] == list(range(n))
    for begin, end, first, last in bounds:
        assert begin <= first and last <= end <= begin + room
        assert begin == 0 or first - begin == overlap // 2  # the first words of a window have something before them


def test_the_loss_is_the_cross_entropy_of_first_tokens_alone():
    tokenizer = tokenizer_of("wordpiece")
    model, objective = tiny_model(tokenizer), TokenClassification(tokenizer, LABELS)
    windows = [window for i, text in enumerate(TEXT) for window in objective.encode(tagged(text, i), 24)]
    batch = objective.collate(windows)
    expected = torch.tensor(0.0)
    for window in windows:
        [logits] = model(torch.tensor([window.inputs.ids]))
        for position, label in zip(window.positions, window.labels, strict=True):
            expected = expected + F.cross_entropy(logits[position], torch.tensor(label))
    torch.testing.assert_close(objective.loss_sums(model, batch)["label"], expected, rtol=1e-5, atol=1e-4)
    n = sum(len(window.words) for window in windows)
    assert objective.n_targets(batch) == {"label": n} and int((batch["labels"] != IGNORE_INDEX).sum()) == n
    assert 0 <= objective.n_correct(model, batch)["label"] <= n


def test_an_unknown_label_is_no_target_and_a_context_without_room_is_an_error():
    objective = TokenClassification(tokenizer_of("wordpiece"), LABELS)
    [window] = objective.encode(tagged_words(["Anna", "ran"], ["B-ORG", "O"]), 24)
    assert window.labels == [IGNORE_INDEX, 0]
    with pytest.raises(UserError, match="a context of 5 tokens has no room"):
        objective.encode(tagged("Anna ran."), 5)


@pytest.mark.parametrize("family", ["bert", "gpt", "transformer"])
def test_predictions_do_not_depend_on_the_batch_and_long_texts_are_read_to_their_end(family):
    tokenizer = tokenizer_of("wordpiece" if family == "bert" else "bpe")
    model = tiny_model(tokenizer, family)
    texts = [tagged(text) for text in [TEXT[0], " ".join(TEXT * 3), "", "  ", TEXT[1]]]
    together = label_words(model, tokenizer, texts)
    for text, (labels, probabilities) in zip(texts, together, strict=True):
        [(alone, p)] = label_words(model, tokenizer, [text], batch_size=1)
        assert labels == alone and len(labels) == len(text.words)
        np.testing.assert_allclose(probabilities, p, atol=1e-5)
    assert len(set(together[1][0][-12:])) > 1  # a lively model also labels the last words


def test_entities_are_pieces_of_the_text():
    tokenizer = tokenizer_of("wordpiece", lowercase=True)
    model = tiny_model(tokenizer)
    for text, entities in zip(TEXT, find_entities(model, tokenizer, TEXT), strict=True):
        assert entities, "a lively model finds something"
        for entity in entities:
            assert text[entity.start : entity.end] == entity.text.strip() == entity.text
            assert entity.label in ("PER", "LOC") and 0 < entity.score <= 1
        assert [entity.start for entity in entities] == sorted({entity.start for entity in entities})


def test_a_model_whose_labels_are_no_names_labels_every_word():
    tokenizer = tokenizer_of("wordpiece")
    model = tiny_model(tokenizer)
    object.__setattr__(model.config, "labels", ("NOUN", "VERB", "DET", "ADJ", "PUNCT"))
    [entities] = find_entities(model, tokenizer, ["Anna saw the mill."])
    assert [entity.text for entity in entities] == ["Anna", "saw", "the", "mill", "."]
    assert {entity.label for entity in entities} <= set(model.config.labels)


def test_the_loss_of_a_regression_is_the_squared_error():
    tokenizer = tokenizer_of("wordpiece")
    torch.manual_seed(0)
    model = build_model(ModelConfig(family="bert", vocab_size=tokenizer.vocab_size, context_length=24, n_layers=1,
                                    n_heads=2, d_model=32, head="reward")).eval()  # fmt: skip
    objective = Regression(tokenizer)
    examples = [objective.encode("Anna saw", None, 2.5, 24), objective.encode("the mill", "in Kleinwitz", -1.0, 24)]
    scores = [model(*(torch.tensor([part]) for part in (e.inputs.ids, [True] * len(e.inputs.ids), e.inputs.segments)))
              for e in examples]  # fmt: skip
    expected = (scores[0] - 2.5) ** 2 + (scores[1] + 1) ** 2
    batch = objective.collate(examples)
    torch.testing.assert_close(objective.loss_sums(model, batch)["squared_error"], expected[0], rtol=1e-5, atol=1e-5)
    assert objective.n_targets(batch) == {"squared_error": 2}
