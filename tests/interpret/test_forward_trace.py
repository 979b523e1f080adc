"""The forward trace contains the model's own numbers, and its token is the one that `generate` samples."""

import math

import pytest
import torch
from model_helpers import random_ids, randomize

from llmasos.errors import UserError
from llmasos.generation import SamplingOptions, generate
from llmasos.hub import load_pretrained
from llmasos.interpret import attention_maps, forward_trace, sampling_trace, telling_head, trivial_keys
from llmasos.interpret.logit_lens import residual_stream
from llmasos.models import ModelConfig, build_model
from llmasos.nn import quantize
from llmasos.serving.api.inspect import inspect_model

SMALL = {"vocab_size": 29, "n_layers": 3, "n_heads": 4, "d_model": 16, "context_length": 16}
MODELS = {
    "gpt2": {"family": "gpt"},
    "llama": {"family": "gpt", "positions": "rotary", "norm": "rmsnorm", "activation": "swiglu", "n_kv_heads": 2,
              "qk_norm": True, "bias": False},
    "post-norm": {"family": "gpt", "norm_position": "post", "positions": "sinusoidal"},
    "alibi, window": {"family": "gpt", "positions": "alibi", "sliding_window": 3},
    "gemma": {"family": "gpt", "positions": "rotary", "norm": "rmsnorm", "norm_position": "sandwich", "bias": False,
              "activation": "geglu_tanh", "scale_embeddings": True, "attention_scale": 0.3, "qk_norm": True,
              "partial_rotary_factor": 0.5, "sliding_window": 3, "local_rope_theta": 50.0,
              "layer_types": ("sliding_attention", "full_attention", "sliding_attention")},
    "mixture": {"family": "gpt", "n_experts": 3, "positions": "none"},
    "bert": {"family": "bert", "norm_position": "post", "head": "pretraining"},
    "pre-norm bert": {"family": "bert", "norm_position": "pre", "head": "pretraining"},
    "modernbert": {"family": "bert", "positions": "rotary", "activation": "geglu", "bias": False, "n_segments": 0,
                   "next_sentence": False, "pooler": "norm", "first_norm": False, "sliding_window": 4,
                   "local_rope_theta": 50.0,
                   "layer_types": ("full_attention", "sliding_attention", "sliding_attention")},
}  # fmt: skip


def close(actual, expected):
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("position", [-1, 0, 3])
@pytest.mark.parametrize("name", MODELS)
def test_a_trace_has_the_numbers_of_the_forward_pass(name, position):
    model, ids, head = randomize(build_model(ModelConfig(**SMALL | MODELS[name]))), random_ids(1, 7, vocab_size=29), 3
    model.train()  # a trace has no dropout, and does not change the mode
    steps = forward_trace(model, ids[0], position, head)
    assert model.training and not any(module._forward_hooks for module in model.modules())
    model.eval()
    output = model(ids)
    close(steps[-1].values, (output if MODELS[name]["family"] == "gpt" else output.masked)[0, position])
    streams = [stream[0, position] for stream in residual_stream(model, ids)]
    maps = list(attention_maps(model, ids, run=model.hidden_states).values())
    before = [step for step in steps if step.block is None and step.name.endswith(("embedding", "embedding_norm"))]
    close(before[-1].values, streams[0])
    if MODELS[name]["family"] == "bert":
        close(model.embedding_norm(before[-2].values), streams[0])  # the sum of the three embeddings
    for block in range(3):
        named = {step.name: step.values for step in steps if step.block == block}
        last = [step for step in steps if step.block == block][-1]
        close(last.values, streams[block + 1])
        row = maps[block][0, head, position, : len(named["weights"])]
        close(named["weights"], row)
        close(named["scores"].softmax(dim=0), row)  # the scores are those whose softmax the model took
        assert row.sum() == pytest.approx(1.0, abs=1e-5)
        attention = model.blocks[block].attention
        outputs = [
            next(step.values for step in forward_trace(model, ids, position, h)
                 if (step.block, step.name) == (block, "gathered")) for h in range(4)
        ]  # fmt: skip
        close(attention.out_proj(torch.cat(outputs)), named["attention"])  # all heads together are the attention
        feed_forward = model.blocks[block].feed_forward
        if "router" in named:
            assert named["router"].shape == (3,) and named["router"].sum() == pytest.approx(1.0)
        else:
            close(feed_forward.down_proj(named["hidden"]), named["feed_forward"])


@pytest.mark.parametrize(("fields", "formula"), [
    ({}, "s = q·k / √D"),
    ({"attention_scale": 0.3}, "s = 0.3 q·k"),
    ({"positions": "alibi"}, "s = q·k / √D - slope · distance"),
    ({"positions": "alibi", "attention_scale": 0.3}, "s = 0.3 q·k - slope · distance"),
])  # fmt: skip
def test_the_formula_of_the_scores_is_that_of_the_model(fields, formula):
    steps = forward_trace(build_model(ModelConfig(**SMALL | fields)), random_ids(1, 4, vocab_size=29)[0])
    assert {step.formula for step in steps if step.name == "scores"} == {formula}


def test_a_quantized_model_can_be_traced():
    model = randomize(build_model(ModelConfig(**SMALL | MODELS["llama"]))).eval()
    quantize(model)
    ids = random_ids(1, 5, vocab_size=29)
    close(forward_trace(model, ids)[-1].values, model(ids)[0, -1])


@pytest.mark.parametrize(("fields", "arguments", "sentence"), [
    ({"family": "gpt"}, {"position": 7}, "position is 7; the text has 7 tokens"),
    ({"family": "gpt"}, {"head": 4}, "head is 4; the model has 4 heads"),
    ({"family": "bert", "norm_position": "post", "head": "classifier", "labels": ("a", "b")}, {}, "'classifier'"),
])  # fmt: skip
def test_what_cannot_be_traced_gets_a_sentence(fields, arguments, sentence):
    model = build_model(ModelConfig(**SMALL | fields))
    with pytest.raises(UserError, match=sentence):
        forward_trace(model, random_ids(1, 7, vocab_size=29), **arguments)


OPTIONS = [{"temperature": 1.7}, {"temperature": 1.5, "top_k": 5}, {"temperature": 2.0, "top_p": 0.8, "top_k": 9},
           {"min_p": 0.01, "repetition_penalty": 1.8, "temperature": 1.3}, {"temperature": 0.0},
           {"temperature": 0.0, "repetition_penalty": 1.5}, {}]  # fmt: skip


@pytest.mark.parametrize("fields", OPTIONS)
def test_the_sampled_token_is_the_one_that_generate_samples(fields):
    model, tokenizer = load_pretrained("storyworld-gpt")
    ids = tokenizer.encode("Paul was happy because the")
    for seed in range(8):
        options = SamplingOptions(max_new_tokens=1, seed=seed, **fields)
        logits = forward_trace(model, torch.tensor(ids))[-1].values[: tokenizer.vocab_size]
        choice = sampling_trace(logits, options, ids)
        [generation] = generate(model, tokenizer, [ids], options)
        assert choice.id == generation.ids[0]
    rules = ["repetition_penalty", "temperature", "top_k", "top_p", "min_p"]
    greedy = fields.get("temperature") == 0.0
    assert [rule for rule, _ in choice.stages] == [
        rule for rule in rules if rule in fields and (not greedy or rule == "repetition_penalty")
    ]
    assert (choice.uniform is None) == greedy and choice.probabilities.sum() == pytest.approx(1.0, abs=1e-5)


def test_each_stage_is_what_its_rule_says():
    logits = torch.tensor([3.0, 2.0, 1.0, 0.0, -1.0])
    options = SamplingOptions(temperature=0.5, top_k=4, top_p=0.9, min_p=0.2, repetition_penalty=2.0, seed=1)
    stages = dict(sampling_trace(logits, options, [0, 4]).stages)
    out = -math.inf
    assert stages["repetition_penalty"].tolist() == [1.5, 2.0, 1.0, 0.0, -2.0]
    assert stages["temperature"].tolist() == [3.0, 4.0, 2.0, 0.0, -4.0]
    assert stages["top_k"].tolist() == [3.0, 4.0, 2.0, 0.0, out]
    assert stages["top_p"].tolist() == [3.0, 4.0, 2.0, out, out]  # 0.66 + 0.24 is not yet 0.9
    assert stages["min_p"].tolist() == [3.0, 4.0, out, out, out]


def test_the_telling_head_is_the_one_whose_pattern_is_not_trivial():
    n = 6
    to = lambda columns: torch.eye(n)[torch.tensor(columns)]  # noqa: E731  each query looks at one key
    itself, previous, first = to(range(n)), to([0, 0, 1, 2, 3, 4]), to([0] * n)
    repeated = 0.6 * to([0, 1, 2, 0, 1, 2]) + 0.4 * to([0] * n)  # looks three tokens back
    dull, telling = torch.stack([itself, previous, first])[None], torch.stack([first, itself, repeated])[None]
    assert telling_head([dull, telling, dull], trivial_keys(n)) == (1, 2, 4)  # query 3 looks at the first token
    nothing = torch.zeros(n, dtype=torch.bool)
    assert telling_head([dull, telling], nothing) == (0, 0, 0)  # of equally strong ones, the first


def test_the_inspected_trace_is_the_trace():
    model, tokenizer = load_pretrained("storyworld-gpt")
    options = SamplingOptions(temperature=0.8, top_k=3, seed=4)
    seen = inspect_model(model, tokenizer, "Once there was a", "forward_trace", head=2, options=options)
    ids = [token["id"] for token in seen["tokens"]]
    steps = forward_trace(model, torch.tensor(ids), head=2)
    assert [(step["name"], step["block"], step["shape"]) for step in seen["steps"]] == [
        (step.name, step.block, list(step.values.shape)) for step in steps
    ]
    for step, expected in zip(seen["steps"], steps, strict=True):
        assert step["values"] == pytest.approx(expected.values[: len(step["values"])].tolist(), abs=1e-4)
        assert len(step["values"]) == (len(ids) if step["name"] in ("scores", "weights") else 8)
    logits = steps[-1].values
    best = logits.topk(3).indices.tolist()
    assert [candidate["id"] for candidate in seen["candidates"]][:3] == best and seen["chosen"] in best
    assert [stage["kept"] for stage in seen["stages"]] == [tokenizer.vocab_size, 3]
    for candidate in seen["candidates"]:
        assert candidate["stages"][0] == pytest.approx(float(logits[candidate["id"]]) / 0.8, abs=1e-3)
        assert (candidate["stages"][1] is None) == (candidate["id"] not in best) == (candidate["sampled"] == 0)


def test_the_trace_of_a_bert_follows_its_mask():
    model, tokenizer = load_pretrained("storyworld-bert")
    seen = inspect_model(model, tokenizer, "The old man lived by the [MASK] .", "forward_trace")
    assert seen["tokens"][seen["position"]]["text"] == "[MASK]" and seen["stages"] == [] and seen["uniform"] is None
    output = model(torch.tensor([[token["id"] for token in seen["tokens"]]])).masked[0, seen["position"]]
    assert seen["chosen"] == int(output.argmax()) == seen["candidates"][0]["id"]
