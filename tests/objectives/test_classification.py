"""Classification: texts are truncated fairly, other rows change no loss, an unknown label is an error."""

import numpy as np
import pytest
import torch
from fine_tuning_helpers import FAMILIES, tokenizer_of
from model_helpers import randomize
from torch.nn import functional as F
from training_helpers import tiny_settings

from llmasos.datasets.batching import Examples
from llmasos.errors import UserError
from llmasos.models import ModelConfig, build_model
from llmasos.objectives import IGNORE_INDEX, Classification
from llmasos.objectives.classification import divide_room, truncate_middle
from llmasos.tokenizers import train_tokenizer
from llmasos.training.trainer import Trainer

LABELS = ("bad", "good", "odd")
TEXTS = [
    ("what a fine day", None, "good"),
    ("no", "he said and left again", "bad"),
    ("a cat", "or not", "odd"),
    ("the rain fell all day", None, "bad"),
    ("well", None, "good"),
]


def objective_and_model(family):
    tokenizer = tokenizer_of(family)
    config = {"vocab_size": tokenizer.vocab_size, "context_length": 48, "n_layers": 2, "n_heads": 2, "d_model": 16}
    model = build_model(ModelConfig(**config, **FAMILIES[family], head="classifier", labels=LABELS))
    return Classification(tokenizer, LABELS), randomize(model.double()).eval()


@pytest.fixture(params=FAMILIES)
def pair(request):
    return objective_and_model(request.param)


def encoded(objective):
    return [objective.encode(*text, context_length=48) for text in TEXTS]


def test_texts_are_padded_to_the_longest(pair):
    objective, _ = pair
    examples = encoded(objective)
    batch = objective.collate(examples)
    longest = max(len(example.inputs.ids) for example in examples)
    assert batch["ids"].shape == batch["attention_mask"].shape == batch["segments"].shape == (5, longest)
    for row, example in enumerate(examples):
        n = len(example.inputs.ids)
        assert batch["ids"][row, :n].tolist() == example.inputs.ids
        assert batch["attention_mask"][row].tolist() == [t < n for t in range(longest)]
        assert batch["segments"][row, :n].tolist() == example.inputs.segments
        assert (batch["ids"][row, n:] == objective.tokenizer.pad_id).all()
    assert batch["labels"].tolist() == [1, 0, 2, 0, 1]
    assert objective.n_targets(batch) == {"label": 5}


def test_the_loss_of_a_batch_is_the_sum_of_the_losses_of_single_texts(pair):
    objective, model = pair
    examples = encoded(objective)
    whole = objective.loss_sums(model, objective.collate(examples))["label"]
    alone = [objective.loss_sums(model, objective.collate([example]))["label"] for example in examples]
    torch.testing.assert_close(whole, sum(alone), rtol=1e-5, atol=1e-5)
    inputs, label = examples[1].inputs, examples[1].label
    logits = model(torch.tensor([inputs.ids]), None, torch.tensor([inputs.segments]))
    torch.testing.assert_close(alone[1].double(), -F.log_softmax(logits[0], dim=0)[label], rtol=1e-5, atol=1e-5)


def test_n_correct_counts_correct_predictions_and_ignores_unknown_labels(pair):
    objective, model = pair
    batch = objective.collate(encoded(objective))
    predicted = model(batch["ids"], batch["attention_mask"], batch["segments"]).argmax(dim=1)
    assert objective.n_correct(model, {**batch, "labels": predicted}) == {"label": 5}
    partly_wrong = (predicted + torch.tensor([0, 1, 1, 0, 2])) % 3
    assert objective.n_correct(model, {**batch, "labels": partly_wrong}) == {"label": 2}
    partial = {**batch, "labels": torch.tensor([1, IGNORE_INDEX, 0, IGNORE_INDEX, 2])}
    assert objective.n_targets(partial) == {"label": 3}
    loss = objective.loss_sums(model, partial)["label"]
    rows = {name: tensor[[0, 2, 4]] for name, tensor in partial.items()}
    torch.testing.assert_close(loss, objective.loss_sums(model, rows)["label"])


def test_a_text_without_a_label_can_be_encoded_for_prediction(pair):
    assert pair[0].encode("who knows", None, None, 48).label == IGNORE_INDEX


def test_a_label_not_seen_in_training_is_refused_with_the_known_ones(pair):
    with pytest.raises(UserError, match="'ugly' did not occur in training.*bad, good, odd"):
        pair[0].encode("a text", None, "ugly", 48)


def test_long_texts_are_truncated_to_the_context_and_the_loss_of_tokens_is_counted(pair):
    objective, _ = pair
    size = {n: objective.tokenizer.n_special_tokens(n) for n in (1, 2)}
    n = len(objective.tokenizer.encode("the cat sat on the mat"))
    for room in (1, 3, n - 1, n, n + 1):
        example = objective.encode("the cat sat on the mat", None, "odd", room + size[1])
        kept = min(room, n)
        ids = truncate_middle(objective.tokenizer.encode("the cat sat on the mat"), kept)
        assert example.inputs == objective.tokenizer.build_inputs(ids) and example.n_cut == n - kept
    two = objective.encode("the cat sat on the mat", "the cat sat on the mat", "odd", 5 + size[2])
    assert len(two.inputs.ids) == 5 + size[2] and two.n_cut == 2 * n - 5
    with pytest.raises(UserError, match="no room"):
        objective.encode("a", "b", "odd", size[2])


def test_the_longer_text_loses_tokens_first():
    """As in BERT: while there are too many tokens, drop the last one of the longer text."""
    chance = np.random.default_rng(0)
    for _ in range(300):
        first, second = (list(range(chance.integers(0, 12))) for _ in range(2))
        room = int(chance.integers(1, 24))
        expected = [list(first), list(second)]
        while sum(map(len, expected)) > room:
            max(expected, key=lambda text: (len(text), text is expected[1])).pop()
        assert divide_room([len(first), len(second)], room) == [len(text) for text in expected]


def test_a_text_keeps_its_beginning_and_its_end():
    for length in range(12):
        for n in range(12):
            kept = truncate_middle(list(range(length)), n)
            assert len(kept) == min(length, n) and kept == sorted(set(kept))
            if 4 <= n < length:
                assert kept[0] == 0 and kept[-1] == length - 1


def test_the_training_loop_can_learn_it(pair, tmp_path):
    objective, model = pair
    examples = encoded(objective)
    torch.manual_seed(0)
    model = build_model(model.config)
    settings = tiny_settings(max_steps=60, batch_size=5, learning_rate=1e-2, eval_interval=60)
    trainer = Trainer(model, objective, Examples(examples), examples, settings, tmp_path, say=lambda text: None)
    assert trainer.train().val_loss < 0.1
    assert objective.n_correct(model.eval(), objective.collate(examples)) == {"label": 5}


def test_a_tokenizer_with_cls_and_sep_builds_inputs_as_bert_does():
    tokenizer = train_tokenizer("wordpiece", ["the cat sat on the mat"] * 3, vocab_size=28)
    example = Classification(tokenizer, LABELS).encode("the cat", "the mat", "bad", 48)
    tokens = [tokenizer.token_bytes(id).decode() for id in example.inputs.ids]
    assert tokens[0] == "[CLS]" and tokens[-1] == "[SEP]" and tokens.count("[SEP]") == 2
