"""Heads on every family: equal to transformers' own, independent of padding and other rows, all weights trained."""

import dataclasses
import json

import pytest
import torch
from model_helpers import assert_gradients_equal, gradients, random_ids, randomize, set_parameters
from oracle_helpers import bert_weights, gpt2_weights
from torch.nn import functional as F
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
)

from llmasos.errors import UserError
from llmasos.hub import load_backbone, load_config
from llmasos.models import (
    ModelConfig,
    SequenceClassifier,
    SpanExtractor,
    build_model,
    load_model,
    save_model,
)
from llmasos.models.heads import TokenClassifier

SMALL = {"vocab_size": 29, "context_length": 16, "n_layers": 3, "n_heads": 4, "d_model": 16}
POST = {"norm_position": "post", "activation": "gelu"}
FAMILIES = {
    "bert": {"family": "bert", **POST},
    "bert modern": {"family": "bert", "norm": "rmsnorm", "activation": "swiglu", "bias": False, "n_kv_heads": 2},
    "gpt": {"family": "gpt"},
    "llama": {
        "family": "gpt",
        "positions": "rotary",
        "norm": "rmsnorm",
        "activation": "swiglu",
        "bias": False,
        "n_kv_heads": 2,
        "tie_embeddings": False,
    },
    "transformer": {"family": "transformer", "positions": "sinusoidal", **POST},
    "transformer modern": {"family": "transformer", "norm": "rmsnorm", "activation": "swiglu", "bias": False},
}
HEADS = {
    "classifier": {"head": "classifier", "labels": ("bad", "good", "odd")},
    "question_answering": {"head": "question_answering"},
    "token_classifier": {"head": "token_classifier", "labels": ("O", "B-PER", "I-PER")},
}
# The family whose head the default tests train.
DEFAULT = {"classifier": "gpt", "question_answering": "bert", "token_classifier": "bert"}
EXACT = {"rtol": 1e-10, "atol": 1e-10}
IDS = random_ids(3, 11, vocab_size=28)  # token 28 is the oracles' padding token
SEGMENTS = (torch.arange(11) >= torch.tensor([[4], [3], [11]])).long()
REAL = torch.arange(11) < torch.tensor([[11], [7], [2]])


def random_model(family="bert", head="classifier", **fields):
    """A very small model with a head, in float64 and in eval mode, all of whose parameters are random."""
    config = ModelConfig(**{**SMALL, **FAMILIES[family], **HEADS[head], **fields})
    return randomize(build_model(config).double()).eval()


@pytest.fixture(params=[(family, head) for family in FAMILIES for head in HEADS], ids=" ".join)
def model(request):
    return random_model(*request.param)


# ── oracles ──


def bert_classifier_weights(model):
    return bert_weights(model.backbone) | {f"classifier.{part}": p for part, p in model.head.named_parameters()}


def bert_span_weights(model):
    return bert_weights(model.backbone) | {f"qa_outputs.{part}": p for part, p in model.head.named_parameters()}


def bert_token_weights(model):
    return bert_weights(model.backbone) | {f"classifier.{part}": p for part, p in model.head.named_parameters()}


def gpt2_classifier_weights(model):
    """Their head has no bias, and neither has ours in the tests below."""
    return gpt2_weights(model.backbone) | {"score.weight": model.head.weight}


def bert_pair(theirs, head, weights):
    ours = random_model("bert", head, norm_eps=1e-12)
    oracle = (
        theirs(
            BertConfig(
                vocab_size=29,
                hidden_size=16,
                num_hidden_layers=3,
                num_attention_heads=4,
                intermediate_size=64,
                max_position_embeddings=16,
                layer_norm_eps=1e-12,
                pad_token_id=28,
                num_labels=len(HEADS[head].get("labels", (0, 1))),
                attn_implementation="eager",
            )
        )
        .double()
        .eval()
    )
    set_parameters(oracle, weights(ours))
    return ours, oracle, weights


def gpt2_pair():
    ours = random_model("gpt", norm_eps=0.01)
    with torch.no_grad():
        ours.head.bias.zero_()
    oracle = (
        GPT2ForSequenceClassification(
            GPT2Config(
                vocab_size=29,
                n_positions=16,
                n_embd=16,
                n_layer=3,
                n_head=4,
                layer_norm_epsilon=0.01,
                num_labels=3,
                activation_function="gelu_new",
                attn_implementation="eager",
                pad_token_id=28,
            )
        )
        .double()
        .eval()
    )
    set_parameters(oracle, gpt2_classifier_weights(ours))
    return ours, oracle, gpt2_classifier_weights


PAIRS = {
    "bert classifier": lambda: bert_pair(BertForSequenceClassification, "classifier", bert_classifier_weights),
    "bert span": lambda: bert_pair(BertForQuestionAnswering, "question_answering", bert_span_weights),
    "bert tokens": lambda: bert_pair(BertForTokenClassification, "token_classifier", bert_token_weights),
    "gpt classifier": gpt2_pair,
}


@pytest.fixture(params=PAIRS)
def pair(request):
    return PAIRS[request.param]()


def both_logits(ours, oracle, side="right"):
    """Logits of labels (3, 3), or of the real tokens (n, 2)."""
    attention_mask, ids, segments = (x if side == "right" else x.flip(1) for x in (REAL, IDS, SEGMENTS))
    ids = ids.masked_fill(~attention_mask, 28)
    more = {} if isinstance(oracle, GPT2ForSequenceClassification) else {"token_type_ids": segments}
    positions = (attention_mask.long().cumsum(dim=1) - 1).clamp(min=0)
    theirs = oracle(ids, attention_mask=attention_mask.long(), position_ids=positions, **more)
    if isinstance(ours, SequenceClassifier):
        return ours(ids, attention_mask, segments), theirs.logits
    if isinstance(ours, TokenClassifier):
        return ours(ids, attention_mask, segments)[attention_mask], theirs.logits[attention_mask]
    return ours(ids, attention_mask, segments)[attention_mask], torch.stack(
        [theirs.start_logits, theirs.end_logits], dim=-1
    )[attention_mask]


def test_logits_equal_those_of_transformers(pair):
    torch.testing.assert_close(*both_logits(*pair[:2]), **EXACT)


@pytest.mark.parametrize("name", ["bert span", "bert tokens", "gpt classifier"])
def test_logits_equal_with_padding_on_the_left(name):
    """Without the BERT classifier: theirs takes padding on the left for [CLS]."""
    torch.testing.assert_close(*both_logits(*PAIRS[name]()[:2], "left"), **EXACT)


def test_float32_logits_are_within_one_hundred_thousandth(pair):
    ours, oracle, _ = pair
    torch.testing.assert_close(*both_logits(ours.float(), oracle.float()), rtol=1e-5, atol=1e-5)


def test_gradients_equal_those_of_transformers(pair):
    ours, oracle, weights = pair
    losses = []
    for logits in both_logits(ours, oracle):
        targets = random_ids(len(logits), vocab_size=logits.size(1), seed=1)
        losses.append(F.cross_entropy(logits, targets))
    assert_gradients_equal(ours, losses[0], oracle, losses[1], weights, **EXACT)


# ── properties ──


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_sequence_equals_the_sequence_alone(model, side):
    """Padding on either side, its content and the other sequences of the batch change nothing."""
    ids, attention_mask, segments = (x if side == "right" else x.flip(1) for x in (IDS, REAL, SEGMENTS))
    for filler in (28, 5):
        together = model(ids.masked_fill(~attention_mask, filler), attention_mask, segments)
        for row in range(3):
            alone = model(ids[row][attention_mask[row]][None], segments=segments[row][attention_mask[row]][None])[0]
            got = together[row] if isinstance(model, SequenceClassifier) else together[row][attention_mask[row]]
            torch.testing.assert_close(got, alone, **EXACT)


def test_every_parameter_gets_a_gradient(model):
    """So a distributed run never waits for an unused one. Only a common bias of all keys has no effect."""
    model.train()
    model(IDS, REAL, SEGMENTS).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 1e-9 or name.endswith("k_proj.bias"), name


def test_shapes_and_what_is_under_the_head(model):
    classifies = isinstance(model, SequenceClassifier)
    shapes = {SequenceClassifier: (3, 3), SpanExtractor: (3, 11, 2), TokenClassifier: (3, 11, 3)}
    assert model(IDS).shape == shapes[type(model)] and type(model).__name__ in repr(model)
    features = model.backbone.hidden_states(IDS, REAL, SEGMENTS)
    assert features.shape == (3, 11, 16)
    if classifies:
        assert model.backbone.pooled(features, REAL).shape == (3, 16)


def test_bert_reads_segments_and_the_others_ignore_them(model):
    moved = not torch.allclose(model(IDS, REAL, SEGMENTS), model(IDS, REAL))
    assert moved == (model.config.family == "bert")


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_summary_is_made_of_what_the_family_says(side):
    features = torch.randn(3, 11, 16, dtype=torch.float64)
    attention_mask = REAL if side == "right" else REAL.flip(1)
    for row in range(3):
        places = attention_mask[row].nonzero()[:, 0]
        first, last = int(places[0]), int(places[-1])
        for family, used in (("bert", [first]), ("gpt", [last]), ("transformer", list(range(first, last + 1)))):
            x = features.clone().requires_grad_()
            (gradient,) = gradients(random_model(family).backbone.pooled(x, attention_mask)[row], [x])
            assert gradient[row].any(dim=1).nonzero()[:, 0].tolist() == used, family


def test_dropout_stands_before_a_classifier_in_training_only():
    model = random_model("gpt", dropout=0.5)
    assert torch.equal(model(IDS), model(IDS))
    model.backbone.requires_grad_(False)
    model.train()
    model.backbone.eval()  # now only the dropout before the head differs
    assert not torch.equal(model(IDS), model(IDS))


def test_too_long_a_text_is_refused(model):
    with pytest.raises(UserError, match="context of 16"):
        model(random_ids(1, 17))


def test_the_head_begins_like_the_rest():
    torch.manual_seed(0)
    labels = tuple(map(str, range(50)))
    config = ModelConfig(**{**SMALL, "d_model": 128, **FAMILIES["transformer"], "head": "classifier", "labels": labels})
    model = build_model(config)
    assert model.head.weight.std().item() == pytest.approx(0.02, rel=0.05) and not model.head.bias.any()
    assert model.backbone.token_embedding.weight.std().item() == pytest.approx(1 / 128**0.5, rel=0.05)


@pytest.mark.parametrize("family, head", [
    pytest.param(family, head, marks=[] if family == DEFAULT[head] else pytest.mark.slow)
    for family in FAMILIES for head in HEADS
])  # fmt: skip
def test_it_can_learn_one_batch_by_heart(family, head):
    torch.manual_seed(0)
    model = build_model(ModelConfig(**{**SMALL, "n_layers": 2, **FAMILIES[family], **HEADS[head]}))
    optimizer, targets = torch.optim.AdamW(model.parameters(), lr=1e-2), torch.tensor([[0, 1], [2, 2], [1, 0]])
    for _ in range(60):
        logits = model(IDS, REAL, SEGMENTS)
        if head == "classifier":
            loss = F.cross_entropy(logits, targets[:, 0])
        elif head == "token_classifier":
            loss = F.cross_entropy(logits[REAL], IDS[REAL] % 3)
        else:
            loss = F.cross_entropy(logits.masked_fill(~REAL[..., None], -1e9), targets.clamp(max=1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


# ── folders ──


def test_a_model_read_back_gives_the_same(model, tmp_path):
    save_model(tmp_path, model.float())
    again = load_model(tmp_path)
    assert type(again) is type(model) and again.config == model.config and not again.training
    assert torch.equal(again(IDS, REAL, SEGMENTS), model(IDS, REAL, SEGMENTS))


def test_a_folder_from_before_there_were_heads_can_be_read(tmp_path):
    plain = build_model(ModelConfig(**SMALL))
    save_model(tmp_path, plain)
    fields = {name: value for name, value in plain.config.to_dict().items() if name not in ("head", "labels")}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    assert load_config(tmp_path) == plain.config
    assert torch.equal(load_model(tmp_path)(IDS), plain(IDS))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("head", HEADS)
def test_fine_tuning_starts_from_a_plain_models_weights(family, head, tmp_path):
    plain = randomize(build_model(ModelConfig(**{**SMALL, **FAMILIES[family]}))).eval()
    save_model(tmp_path, plain)
    config = dataclasses.replace(load_config(tmp_path), **HEADS[head], dropout=0.1)
    model = build_model(config).eval()
    fresh = {name: p.clone() for name, p in model.head.named_parameters()}
    load_backbone(model, tmp_path)
    for name, parameter in model.backbone.named_parameters():
        assert torch.equal(parameter, plain.get_parameter(name)), name
    for name, parameter in model.head.named_parameters():
        assert torch.equal(parameter, fresh[name])
    features = model.backbone.hidden_states(IDS, REAL, SEGMENTS)
    expected = plain.encode(IDS, REAL) if "transformer" in family else plain.hidden_states(IDS, REAL, SEGMENTS)
    assert torch.equal(features, expected)
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_body_can_come_from_under_another_head(family, tmp_path):
    save_model(tmp_path, random_model(family, "classifier").float())
    model = build_model(dataclasses.replace(load_config(tmp_path), head="question_answering", labels=()))
    head = model.head.weight.clone()
    load_backbone(model, tmp_path)
    wanted = random_model(family, "classifier").float().backbone.hidden_states(IDS, REAL, SEGMENTS)
    assert torch.equal(model.eval().backbone.hidden_states(IDS, REAL, SEGMENTS), wanted)
    assert torch.equal(model.head.weight, head)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"family": "gpt"}, "family is 'bert' there and 'gpt' in the new model"),
        ({"vocab_size": 30}, "vocab_size is 29 there and 30"),
        ({"n_layers": 2}, "n_layers is 3 there and 2"),
        ({"n_heads": 2, "n_kv_heads": 2}, r"n_heads is 4 there and 2.*n_heads, n_kv_heads"),
        ({"context_length": 32}, "context_length is 16 there and 32"),
        ({"norm_position": "pre"}, "norm_position is 'post' there"),
        ({"activation": "relu"}, "activation is 'gelu' there"),
    ],
)
def test_a_body_of_another_kind_is_refused_and_the_difference_named(changes, words, tmp_path):
    plain = build_model(ModelConfig(**{**SMALL, **FAMILIES["bert"]}))
    save_model(tmp_path, plain)
    model = build_model(dataclasses.replace(plain.config, **HEADS["question_answering"], **changes))
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(UserError, match=words):
        load_backbone(model, tmp_path)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def test_a_body_that_lacks_a_part_is_refused_and_the_part_named(tmp_path):
    save_model(tmp_path, random_model("bert", "question_answering").float())
    with pytest.raises(
        UserError, match=r"no pooler.weight of shape \(16, 16\).*'classifier'.*'question_answering'.*without a head"
    ):
        load_backbone(random_model("bert", "classifier").float(), tmp_path)
    with pytest.raises(UserError, match="there is no folder"):
        load_backbone(random_model("bert", "question_answering"), tmp_path / "nowhere")
