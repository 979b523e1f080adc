"""Looking inside: attention maps, logit lens, token scores, occlusion, `inspect_model` agree with the computation."""

import json
import math
from functools import cache

import pytest
import torch
from model_helpers import random_ids, randomize
from transformers import GPT2Config, GPT2LMHeadModel

from llmasos.errors import UserError
from llmasos.hub import load_pretrained
from llmasos.hub.pretrained_folder import read_model
from llmasos.interpret import (
    attention_maps,
    label_evidence,
    lens_rows,
    logit_lens,
    occlusion,
    score_masked_tokens,
    score_target,
    score_tokens,
)
from llmasos.models import ModelConfig, build_model, preset
from llmasos.nn import MultiHeadAttention
from llmasos.prompting import template_of
from llmasos.serving.api.inspect import inspect_model
from llmasos.tasks import classify, fill_masks
from llmasos.tokenizers import train_tokenizer

IDS = random_ids(2, 7, vocab_size=29)
SMALL = {"vocab_size": 29, "n_layers": 3, "n_heads": 2, "d_model": 16, "context_length": 16}


def model(**fields):
    return randomize(build_model(ModelConfig(**{**SMALL, **fields})))


def test_maps_equal_those_of_transformers(tmp_path):
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=29, n_positions=16, n_embd=16, n_layer=3, n_head=2, attn_implementation="eager")
    theirs = GPT2LMHeadModel(config).eval()
    theirs.save_pretrained(tmp_path)
    maps = attention_maps(read_model(tmp_path), IDS)
    expected = theirs(IDS, output_attentions=True).attentions
    assert list(maps) == [f"blocks.{i}.attention" for i in range(3)]
    for ours, other in zip(maps.values(), expected, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-5, atol=1e-6)


def test_rows_share_one_unit_of_attention_and_a_gpt_none_of_it_with_the_future():
    for weights in attention_maps(model(), IDS).values():
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 7))
        assert weights.triu(1).abs().max() == 0


def test_a_translator_has_maps_of_both_kinds():
    translator = model(family="transformer", positions="sinusoidal", n_decoder_layers=2)
    maps = attention_maps(translator, IDS, IDS[:, :4])
    assert maps["decoder_blocks.1.cross_attention"].shape == (2, 2, 4, 7)
    assert maps["encoder_blocks.0.attention"].shape == (2, 2, 7, 7)
    only = attention_maps(translator, IDS, run=translator.encode)
    assert set(only) == {f"encoder_blocks.{i}.attention" for i in range(3)}


def test_recording_changes_nothing_and_ends():
    gpt = model().train()
    before = gpt.eval()(IDS)
    gpt.train()
    attention_maps(gpt, IDS)
    assert gpt.training and all(m.recorded_weights is None for m in gpt.modules() if isinstance(m, MultiHeadAttention))
    torch.testing.assert_close(gpt.eval()(IDS), before)


@pytest.mark.parametrize("fields", [{}, {"family": "bert", "norm_position": "post"}, {"family": "bert"},
                                    {"norm_position": "post"}], ids=str)  # fmt: skip
def test_the_last_row_of_the_lens_is_what_the_model_says(fields):
    one = model(**fields).eval()
    rows = logit_lens(one, IDS[0])
    assert [row.layer for row in rows] == [0, 1, 2, 3]
    said = one(IDS[:1])
    said = said.masked if one.config.family == "bert" else said
    torch.testing.assert_close(rows[-1].logits, said[0].detach())
    assert not torch.allclose(rows[0].logits, rows[-1].logits)


def test_a_row_of_the_lens_is_the_model_without_the_later_blocks():
    gpt = model().eval()
    rows = logit_lens(gpt, IDS[0])
    del gpt.blocks[2:]
    torch.testing.assert_close(rows[2].logits, gpt(IDS[:1])[0].detach())


def test_token_scores_add_up_to_the_loss():
    tokenizer = train_tokenizer("bpe", ["the cat sat on the mat"] * 3, 270)
    gpt = build_model(preset("gpt-laptop", vocab_size=tokenizer.vocab_size + 3, n_layers=1))
    scores = score_tokens(gpt, tokenizer, "the cat sat", n=3)
    ids = tokenizer.encode("the cat sat")
    assert [score.id for score in scores] == ids and "".join(score.text for score in scores) == "the cat sat"
    assert scores[0].logprob is None and scores[0].alternatives == []
    logprobs = gpt.eval()(torch.tensor([ids]))[0, :, : tokenizer.vocab_size].log_softmax(-1)
    for place, score in enumerate(scores[1:], start=1):
        row = logprobs[place - 1]
        assert score.logprob == pytest.approx(row[score.id].item(), rel=1e-5)
        assert score.rank == sorted(row.tolist(), reverse=True).index(row[score.id].item())
        assert [id for id, _, _ in score.alternatives] == row.topk(3).indices.tolist()
        assert [value for _, _, value in score.alternatives] == pytest.approx(row.topk(3).values.tolist(), rel=1e-5)


def test_other_models_get_a_sentence():
    with pytest.raises(UserError, match="this model is a transformer"):
        logit_lens(model(family="transformer", positions="sinusoidal"), IDS[0])
    tokenizer = train_tokenizer("byte", [])
    with pytest.raises(UserError, match="the text is empty"):
        score_tokens(build_model(preset("gpt-laptop", vocab_size=257, n_layers=1)), tokenizer, "")
    with pytest.raises(UserError, match="only a gpt"):
        score_tokens(model(family="bert"), tokenizer, "a")


@pytest.mark.parametrize(("ids", "sentence"), [
    ([], "the text is an empty list; give at least one token id"),
    ([1, 99_999], "the text contains 99999, which is not a token id; they are whole numbers from 0 to"),
    ([-1], "contains -1"),
    (["a"], "contains 'a'"),
], ids=str)  # fmt: skip
def test_ids_that_are_no_tokens_get_a_sentence(ids, sentence):
    bert, translator = shipped("storyworld-bert"), shipped("storyworld-de-en")
    for score in (
        lambda: score_tokens(*shipped("storyworld-gpt"), ids),
        lambda: score_masked_tokens(*bert, ids),
        lambda: score_target(*translator, ids, [1]),
        lambda: score_target(*translator, [1], ids),
    ):
        with pytest.raises(UserError, match=sentence):
            score()


def test_the_token_that_only_begins_a_text_is_read_and_not_scored():
    tokenizer = train_tokenizer("byte", [])
    tokenizer.begin_of_text = tokenizer.end_of_text  # as a Llama's tokenizer has one
    gpt = build_model(preset("gpt-laptop", vocab_size=257, n_layers=1))
    scores = score_tokens(gpt, tokenizer, "abc")
    assert [score.text for score in scores] == ["a", "b", "c"] and scores[0].logprob is not None
    assert score_tokens(gpt, tokenizer, [256, *b"abc"])[1:] == scores


def test_scores_of_ids_are_those_of_the_text_however_many_rows_are_in_memory(monkeypatch):
    gpt, tokenizer = shipped("storyworld-gpt")
    text = "Once there was a shy girl."
    whole = score_tokens(gpt, tokenizer, text)
    begin = [] if tokenizer.begin_of_text is None else [tokenizer.begin_of_text]  # is scored only where it is given
    assert score_tokens(gpt, tokenizer, [*begin, *tokenizer.encode(text)])[len(begin) :] == whole
    monkeypatch.setattr("llmasos.interpret.token_probabilities.CHUNK", 2)
    in_pieces = score_tokens(gpt, tokenizer, text)
    assert [s.logprob for s in in_pieces[1:]] == pytest.approx([s.logprob for s in whole[1:]], abs=1e-4)
    assert [s.rank for s in in_pieces] == [s.rank for s in whole]


def test_a_bert_scores_each_token_as_it_fills_that_token_in():
    bert, tokenizer = shipped("storyworld-bert")
    ids = tokenizer.build_inputs(tokenizer.encode("the old man lived by the river .")).ids
    scores = score_masked_tokens(bert, tokenizer, ids, n=4)
    assert [score.id for score in scores] == ids
    assert scores[0].logprob is None and scores[-1].alternatives == []
    (filled,) = fill_masks(bert, tokenizer, "the old [MASK] lived by the river .", n=4)
    man = scores[3]
    assert [(text, pytest.approx(math.exp(p), rel=1e-4)) for _, text, p in man.alternatives] == filled
    assert math.exp(man.logprob) == pytest.approx(dict(filled).get("man", math.exp(man.logprob)), rel=1e-4)
    assert score_masked_tokens(bert, tokenizer, [ids[0], ids[-1]]) == [scores[0], scores[-1]]  # nothing to hide


def test_scores_of_a_translation_add_up_to_its_loss():
    translator, tokenizer = shipped("storyworld-de-en")
    source = [*tokenizer.encode("Der alte Mann lebte am Fluss."), tokenizer.end_of_text]
    target = [*tokenizer.encode("The old man lived by the river."), tokenizer.end_of_text]
    scores = score_target(translator, tokenizer, source, target)
    logits = translator(torch.tensor([source]), torch.tensor([[tokenizer.start_of_target, *target[:-1]]]))[0]
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(target), reduction="sum")
    assert -sum(score.logprob for score in scores) == pytest.approx(loss.item(), rel=1e-3)
    assert [score.id for score in scores] == target


def test_the_lens_gives_its_rows_one_by_one():
    gpt = model()
    whole = logit_lens(gpt, IDS[0])
    for (layer, logits), row in zip(lens_rows(gpt, IDS[0]), whole, strict=True):
        assert layer == row.layer and torch.equal(logits, row.logits)


def test_occlusion_leaves_out_one_word_at_a_time():
    seen = []

    def score(texts):
        seen.extend(texts)
        return [float("not" in text) for text in texts]

    tokenizer = train_tokenizer("bpe", ["it was not good."] * 3, 262)
    found = occlusion(tokenizer, "it was not good.", score)
    assert seen == ["it was not good.", " was not good.", "it not good.", "it was good.", "it was not.",
                    "it was not good"]  # fmt: skip
    assert [(word.text, word.influence) for word in found] == [("it", 0), ("was", 0), ("not", 1), ("good", 0), (".", 0)]
    assert all("it was not good."[word.start : word.end] == word.text for word in found)


def test_the_evidence_for_a_label_is_what_classifying_without_the_word_says():
    bert, tokenizer = small_classifier()
    text = "the old man was sad"
    evidence = label_evidence(bert, tokenizer, text)
    whole, without = classify(bert, tokenizer, [text, "the old man was "])
    assert evidence[-1].text == "sad"
    assert evidence[-1].influence == pytest.approx(whole.max() - without[whole.argmax()], abs=1e-6)
    other = label_evidence(bert, tokenizer, text, "ab"[1 - whole.argmax()])
    assert [word.influence for word in other] == pytest.approx([-word.influence for word in evidence], abs=1e-6)
    assert label_evidence(bert, tokenizer, " ") == []


def test_evidence_is_bounded_and_for_known_labels():
    bert, tokenizer = small_classifier()
    with pytest.raises(UserError, match="has 257 words"):
        label_evidence(bert, tokenizer, "a " * 257)
    with pytest.raises(UserError, match="no label 'c'; the labels of this model are: a, b"):
        label_evidence(bert, tokenizer, "a", "c")
    with pytest.raises(UserError, match="cannot classify texts"):
        label_evidence(*shipped("storyworld-bert"), "a")


@pytest.mark.parametrize("name", ["storyworld-gpt", "storyworld-bert"])
def test_inspected_tokens_is_their_scores(name):
    one, tokenizer = shipped(name)
    seen = inspect_model(one, tokenizer, "Paul was happy.", n=3)
    ids = [token["id"] for token in seen["tokens"]]
    score = score_tokens if one.config.family == "gpt" else score_masked_tokens
    for token, expected in zip(seen["tokens"], score(one, tokenizer, ids, 3), strict=True):
        assert (token["text"], token["rank"]) == (expected.text, expected.rank)
        assert token["logprob"] == (expected.logprob and pytest.approx(expected.logprob, abs=1e-4))
        assert [(a["id"], a["token"]) for a in token["alternatives"]] == [a[:2] for a in expected.alternatives]
        logprobs = [logprob for _, _, logprob in expected.alternatives]
        assert [a["logprob"] for a in token["alternatives"]] == pytest.approx(logprobs, abs=1e-4)
    assert inspect_model(one, tokenizer, ids, n=3) == seen == json.loads(json.dumps(seen))


@pytest.mark.parametrize("name", ["storyworld-gpt", "storyworld-bert"])
def test_inspected_attention_is_the_map_of_that_layer(name):
    one, tokenizer = shipped(name)
    seen = inspect_model(one, tokenizer, "Paul was happy.", "attention", layer=2)
    ids = torch.tensor([[token["id"] for token in seen["queries"]]])
    expected = attention_maps(one, ids)["blocks.2.attention"][0]
    torch.testing.assert_close(torch.tensor(seen["weights"]), expected, atol=1e-4, rtol=0)
    n_layers = one.config.n_layers
    assert (seen["layers"], seen["heads"], seen["layer"]) == (n_layers, 4, 2)
    assert seen["attention_types"] == ["self_attention"]
    assert seen["keys"] == seen["queries"] and all(round(w, 4) == w for w in seen["weights"][0][-1])


def test_an_inspected_translation_has_the_cross_attention_of_its_decoder():
    translator, tokenizer = shipped("storyworld-de-en")
    source, target = "Der alte Mann lebte am Fluss.", "The old man lived by the river."
    seen = inspect_model(translator, tokenizer, source, "attention", layer=1, target=target)
    assert seen["attention_type"] == "cross_attention"
    assert set(seen["attention_types"]) == {"self_attention", "decoder_self_attention", "cross_attention"}
    ids, written = ([[token["id"] for token in seen[side]]] for side in ("keys", "queries"))
    assert ids[0] == [*tokenizer.encode(source), tokenizer.end_of_text]
    assert written[0] == [tokenizer.start_of_target, *tokenizer.encode(target)]
    maps = attention_maps(translator, torch.tensor(ids), torch.tensor(written))
    expected = maps["decoder_blocks.1.cross_attention"][0]
    torch.testing.assert_close(torch.tensor(seen["weights"]), expected, atol=1e-4, rtol=0)
    own = inspect_model(translator, tokenizer, source, "attention", attention_type="self_attention")
    torch.testing.assert_close(torch.tensor(own["weights"]), maps["encoder_blocks.0.attention"][0], atol=1e-4, rtol=0)
    tokens = inspect_model(translator, tokenizer, source, target=target)
    assert "".join(token["text"] for token in tokens["tokens"][:-1]) == target and tokens["tokens"][0]["rank"] == 0


def test_the_inspected_logit_lens_is_the_logit_lens():
    gpt, tokenizer = shipped("storyworld-gpt")
    seen = inspect_model(gpt, tokenizer, "Paul was", "logit_lens")
    rows = logit_lens(gpt, torch.tensor([token["id"] for token in seen["tokens"]]))
    for layer, row in zip(seen["layers"], rows, strict=True):
        best = row.logits.softmax(-1).topk(3)
        assert layer["layer"] == row.layer
        assert [[one["id"] for one in says] for says in layer["predictions"]] == best.indices.tolist()
        assert [one["probability"] for one in layer["predictions"][-1]] == pytest.approx(
            best.values[-1].tolist(), abs=1e-4
        )


def test_inspection_reads_what_the_model_would_read():
    gpt, tokenizer = shipped("storyworld-chat")
    chat = [{"role": "user", "content": "Tell a story."}, {"role": "assistant", "content": "No."}]
    ids = [token["id"] for token in inspect_model(gpt, tokenizer, chat)["tokens"]]
    assert ids == template_of(tokenizer).encode(tokenizer, chat, add_generation_prompt=False).ids
    assert [token["id"] for token in inspect_model(gpt, tokenizer, "")["tokens"]] == [tokenizer.end_of_text]
    typed = inspect_model(gpt, tokenizer, "<|im_end|>")["tokens"]
    assert len(typed) > 1 and tokenizer.special_tokens["<|im_end|>"] not in [token["id"] for token in typed]
    bert, words = shipped("storyworld-bert")
    masked = inspect_model(bert, words, "the [MASK] sat", "logit_lens")["tokens"]
    assert [token["text"] for token in masked] == ["[CLS]", "the", "[MASK]", "sat", "[SEP]"]
    heads = inspect_model(*small_classifier(), "the man", "attention")
    assert (heads["heads"], len(heads["queries"])) == (2, 4)


LONG = [1] * 300


@pytest.mark.parametrize(("name", "arguments", "sentence"), [
    ("storyworld-gpt", {"input": "a", "show": "all"}, "show is 'all'; it must be one of"),
    ("storyworld-gpt", {"input": []}, "the text is an empty list"),
    ("storyworld-gpt", {"input": [1024]}, "contains 1024, which is not a token id; they are"),
    ("storyworld-gpt", {"input": [-1]}, "contains -1"),
    ("storyworld-gpt", {"input": [True]}, "contains True"),
    ("storyworld-gpt", {"input": LONG, "show": "attention"}, "300 tokens, and the limit of 'attention' is 256"),
    ("storyworld-gpt", {"input": LONG, "show": "logit_lens"}, "the limit of .logit_lens. is 256"),
    ("storyworld-gpt", {"input": LONG}, "the limit of .tokens. is 256"),
    ("storyworld-bert", {"input": [1] * 65}, "the limit of .tokens. is 64"),
    ("storyworld-gpt", {"input": "a", "show": "attention", "layer": 5}, "layer is 5; the model has 5 layers"),
    ("storyworld-gpt", {"input": "a", "show": "attention", "layer": -1}, "layer is -1"),
    ("storyworld-gpt", {"input": "a", "show": "attention", "attention_type": "cross_attention"}, "need a translator"),
    ("storyworld-gpt", {"input": "a", "target": "b"}, "a target is only for translators, and this model is a gpt"),
    ("storyworld-gpt", {"input": "a", "n": 21}, "is 21"),
    ("storyworld-bert", {"input": [{"role": "user", "content": "a"}]}, "is a conversation, and this model is a bert"),
    ("storyworld-de-en", {"input": "a", "show": "logit_lens"}, "the logit lens needs a gpt or a bert"),
    ("storyworld-de-en", {"input": "a"}, "send the translation as target"),
], ids=lambda value: str(value)[:60])  # fmt: skip
def test_what_cannot_be_inspected_gets_a_sentence(name, arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        inspect_model(*shipped(name), **arguments)


@cache
def shipped(name):
    """A shipped model, and its tokenizer."""
    return load_pretrained(name)


def small_classifier():
    """A BERT that classifies at random into a and b."""
    tokenizer = shipped("storyworld-bert")[1]
    return model(family="bert", vocab_size=tokenizer.vocab_size, head="classifier", labels=("a", "b")), tokenizer
