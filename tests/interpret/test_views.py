"""The views that intervene have the numbers of `interpret`, which equal those of interventions by hand."""

import copy

import pytest
import torch
from model_helpers import random_ids, randomize

from llmasos import hub
from llmasos.datasets.storyworld.whereabouts import WHEREABOUTS, lost_thing_stories
from llmasos.errors import UserError
from llmasos.interpret import Site, activation_patching, intervened, logit_difference, replaced, train_story_probes
from llmasos.interpret.logit_lens import residual_stream
from llmasos.interpret.patching import logits_of
from llmasos.interpret.story_probe import parts_of_story
from llmasos.models import ModelConfig, build_model
from llmasos.serving.api import probe as probe_view
from llmasos.serving.api.inspect import inspect_model
from llmasos.tokenizers import ByteTokenizer

ANNA, PAUL = (f"Everyone in the valley knew {name}. One windy morning" for name in ("Anna", "Paul"))
MASKED = [f"{name} lost a kite, and [MASK] was sad." for name in ("Anna", "Paul")]
SMALL = {"vocab_size": 257, "n_layers": 2, "n_heads": 4, "d_model": 16, "context_length": 64}


def shipped(name):
    return hub.load_pretrained(name)[:2]


def ids_of(view, name="tokens"):
    return torch.tensor([token["id"] for token in view[name]])


def probabilities(predictions, name="probability"):
    return {token["id"]: token[name] for token in predictions}


@torch.inference_mode()
@pytest.mark.parametrize("name, text", [("storyworld-gpt", ANNA), ("storyworld-bert", MASKED[0])])
def test_ablating_a_head_is_zeroing_its_columns_of_the_output_projection(name, text):
    model, tokenizer = shipped(name)
    view = inspect_model(model, tokenizer, text, "ablation", ablation="zero")
    ids, position = ids_of(view), view["position"]
    before = logits_of(model, ids)[0, position].softmax(-1)
    token, size = view["predicted"]["id"], model.config.head_size
    assert token == int(before.argmax()) and view["logprob"] == pytest.approx(float(before[token].log()), abs=1e-4)
    assert [len(row["cells"]) for row in view["rows"]] == [5] * model.config.n_layers
    changed = copy.deepcopy(model)
    changed.blocks[1].attention.out_proj.weight.data[:, 2 * size : 3 * size] = 0
    without_head = logits_of(changed, ids)[0, position].softmax(-1)
    changed = copy.deepcopy(model)
    for parameter in changed.blocks[2].feed_forward.down_proj.parameters():
        parameter.data.zero_()
    without_feed_forward = logits_of(changed, ids)[0, position].softmax(-1)
    for cell, after in (
        (view["rows"][1]["cells"][2], without_head),
        (view["rows"][2]["cells"][4], without_feed_forward),
    ):
        assert cell["effect"] == pytest.approx(float((after[token] / before[token]).log()), abs=2e-4)
        for id, probability in probabilities(cell["predictions"]).items():
            assert probability == pytest.approx(float(after[id]), abs=1e-4)
        for id, probability in probabilities(cell["predictions"], "before").items():
            assert probability == pytest.approx(float(before[id]), abs=1e-4)
        assert token in probabilities(cell["predictions"])  # its earlier prediction is always shown


@torch.inference_mode()
def test_mean_ablation_keeps_the_mean():
    model, tokenizer = shipped("storyworld-gpt")
    view = inspect_model(model, tokenizer, ANNA, "ablation")
    ids, cell = ids_of(view), view["rows"][0]["cells"][1]
    with intervened(model, {Site("head", 0, 1): lambda x: x.mean(1, keepdim=True).expand_as(x)}):
        after = model(ids[None])[0, -1].log_softmax(-1)
    assert (cell["kind"], cell["head"], view["ablation"]) == ("head", 1, "mean")
    assert cell["effect"] == pytest.approx(float(after[view["predicted"]["id"]]) - view["logprob"], abs=2e-4)


@torch.inference_mode()
@pytest.mark.parametrize("name, texts", [("storyworld-gpt", (ANNA, PAUL)), ("storyworld-bert", MASKED)])
@pytest.mark.parametrize("kind", ["residual", "attention"])
def test_patching_is_activation_patching_of_the_two_tokens_that_differ_most(name, texts, kind):
    model, tokenizer = shipped(name)
    view = inspect_model(model, tokenizer, texts[0], "patching", corrupted=texts[1], kind=kind)
    clean, corrupted = ids_of(view), ids_of(view, "corrupted_tokens")
    p, q = (logits_of(model, ids)[0, view["position"]].softmax(-1) for ids in (clean, corrupted))
    right, wrong = int((p - q).argmax()), int((q - p).argmax())
    assert (view["right"]["id"], view["wrong"]["id"]) == (right, wrong)
    metric = logit_difference(right, wrong, view["position"])
    expected = activation_patching(model, clean, corrupted, metric, kind)
    effects = torch.tensor([[cell["effect"] for cell in row["cells"]] for row in view["rows"]])
    torch.testing.assert_close(effects, expected.restored, atol=1e-3, rtol=0)
    assert [row["layer"] for row in view["rows"]] == [site.layer for site in expected.sites]
    place = int((clean != corrupted).nonzero()[0])
    if kind == "residual":  # the first stream is the embedding: with it the second text is the first one
        for id, probability in probabilities(view["rows"][0]["cells"][place]["predictions"]).items():
            assert probability == pytest.approx(float(p[id]), abs=1e-3)


def test_each_patch_has_what_the_model_says_with_it():
    model, tokenizer = shipped("storyworld-gpt")
    view = inspect_model(model, tokenizer, ANNA, "patching", corrupted=PAUL)
    clean, corrupted = ids_of(view), ids_of(view, "corrupted_tokens")
    stream = residual_stream(model, clean)[2]
    with torch.inference_mode(), intervened(model, {Site("residual", 2): replaced(stream, len(clean) - 1)}):
        after = model(corrupted[None])[0, -1].softmax(-1)
    cell = view["rows"][2]["cells"][-1]
    for id, probability in probabilities(cell["predictions"]).items():
        assert probability == pytest.approx(float(after[id]), abs=1e-4)


def test_the_whereabouts_are_those_of_the_text():
    for story, places in lost_thing_stories("train", 8):
        assert len(places) == len(story.sentences) and story.plot == "lost"
        for before, (sentence, place) in zip([None, *places], zip(story.sentences, places, strict=True), strict=False):
            if "was missing" in sentence or "was gone" in sentence or "was not there" in sentence:
                assert (before, place) == (WHEREABOUTS[0], "lost")  # and not a sentence too early
        assert places[2] == WHEREABOUTS[0]  # the hero goes out with it
        if story.outcome in ("found", "returned", "swapped"):
            assert places[-1] == WHEREABOUTS[0]


@pytest.mark.parametrize("name", ["storyworld-gpt", "storyworld-bert"])
def test_the_probe_reads_the_last_token_of_each_sentence(name):
    model, tokenizer = shipped(name)
    [(story, places)] = lost_thing_stories("train", 1)
    parts = list(parts_of_story(model, tokenizer, story, places))
    assert len(parts) == (1 if name == "storyworld-gpt" else 2)  # a BERT of 64 tokens reads it in parts
    for ids, ends in parts:
        assert len(ids) <= model.config.context_length
        last = [tokenizer.token_text(ids[position]).strip()[-1] for position in ends]
        assert set(last) <= set(".!?\"'")
    read = [place for _, ends in parts for place in ends.values()]
    assert read == [place for place in places if place is not None]


PROBES = {  # after each block, in percent over five seeds: of the model, and with random weights
    "storyworld-gpt": ([97.3, 99.3, 99.3, 99.1, 99.3], [78.6, 79.7, 78.8, 77.0, 75.6]),
    "storyworld-bert": ([85.5, 89.7, 88.7, 90.8], [61.3, 61.9, 61.8, 61.9]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBES)
def test_probes_are_right_as_often_as_documented(name):
    """One sentence of 360 is 0.3 %; another version of torch may change a few of them, mostly in the control."""
    model, tokenizer = shipped(name)
    seeds = [train_story_probes(model, tokenizer, seed=seed)[1:] for seed in range(5)]
    accuracy = torch.tensor([[100 * each.probe.accuracy for each in probes] for probes in seeds])
    control = torch.tensor([[100 * each.control for each in probes] for probes in seeds])
    expected, expected_control = map(torch.tensor, PROBES[name])
    torch.testing.assert_close(accuracy.mean(0), expected, atol=0.5, rtol=0)
    torch.testing.assert_close(control.mean(0), expected_control, atol=1.0, rtol=0)
    assert (accuracy - control).min() > 10  # in every seed and after every block


@pytest.mark.slow
def test_the_view_shows_what_a_trained_model_knows():
    model, tokenizer = shipped("storyworld-gpt")
    text = "Mia owned a key from Uncle Otto. At home Mia reached for the key, but it was gone."
    view = inspect_model(model, tokenizer, text, "probe", layer=2)
    assert [layer["layer"] for layer in view["layers"]] == [0, 1, 2, 3, 4]
    assert [layer["accuracy"] for layer in view["layers"]] == pytest.approx([0.983, 0.989, 0.989, 0.983, 1.0], abs=0.01)
    assert [layer["control"] for layer in view["layers"]] == pytest.approx(
        [0.808, 0.867, 0.819, 0.800, 0.794], abs=0.02
    )
    assert view["interval"][0] < view["layers"][2]["accuracy"] < view["interval"][1]
    assert view["majority"] == pytest.approx(0.503, abs=0.001)
    probe = probe_view.trained[model][3].probe
    stream = residual_stream(model, ids_of(view))[3][0]
    torch.testing.assert_close(torch.tensor(view["probabilities"]), probe.logits(stream).softmax(-1), atol=1e-4, rtol=0)
    assert view["labels"][torch.tensor(view["probabilities"][-1]).argmax()] == "lost"


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda model: inspect_model(model, ByteTokenizer(), "ab", "patching"), "needs a second text"),
        (lambda model: inspect_model(model, ByteTokenizer(), "ab", "patching", corrupted="abc"), "have 2 and 3 tokens"),
        (lambda model: inspect_model(model, ByteTokenizer(), "ab", "patching", corrupted="ab"), "the same"),
        (lambda model: inspect_model(model, ByteTokenizer(), "ab", "ablation", ablation="none"), "one of mean, zero"),
        (lambda model: inspect_model(model, ByteTokenizer(), "a" * 65, "ablation"), "limit of 'ablation' is 64"),
        (lambda model: train_story_probes(build_model(ModelConfig(**SMALL | {"context_length": 16})), ByteTokenizer()),
         "16 tokens, is too short"),
        (lambda model: inspect_model(model, ByteTokenizer(), "ab", "probe", layer=2), "from 0 to 1"),
        (lambda model: train_story_probes(*shipped("storyworld-de-en")), "a gpt or a bert"),
        (lambda model: inspect_model(*shipped("storyworld-de-en"), "ein", "ablation"), "a gpt or a bert"),
        *((lambda model, show=show: inspect_model(*shipped("storyworld-bert"), "No.", show, corrupted="Now."),
           r"has no \[MASK\], .* write \[MASK\] in place of a word")
          for show in ("forward_trace", "ablation", "patching")),
        (lambda model: inspect_model(*shipped("storyworld-bert"), "A [MASK].", "patching", corrupted="[MASK] a."),
         r"token 2 and token 1, .* at the same place in both texts"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(call, message):
    with pytest.raises(UserError, match=message):
        call(randomize(build_model(ModelConfig(**SMALL))).eval())


def test_a_map_that_would_take_too_long_is_refused_by_its_length(monkeypatch):
    model = randomize(build_model(ModelConfig(**SMALL))).eval()
    ids = random_ids(1, 20, vocab_size=256)[0].tolist()
    monkeypatch.setattr("llmasos.serving.api.interventions.MAX_OPERATIONS", 2e6)
    with pytest.raises(UserError, match="limit of 'patching' is [0-9]+ for this model; send a shorter text"):
        inspect_model(model, ByteTokenizer(), ids, "patching", corrupted=[*ids[:-1], 3])
    monkeypatch.setattr("llmasos.serving.api.interventions.MAX_OPERATIONS", 1e3)
    with pytest.raises(UserError, match="too many forward passes"):
        inspect_model(model, ByteTokenizer(), ids, "ablation")
    monkeypatch.setattr(probe_view, "MAX_PARAMETERS", 10)
    with pytest.raises(UserError, match="10 at most"):
        inspect_model(model, ByteTokenizer(), ids, "probe")
