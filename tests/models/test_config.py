"""The config: derived fields, the round trip through JSON, and one clear sentence for each impossible model."""

import dataclasses
import json

import pytest

from llmasos.errors import UserError
from llmasos.models import PRESETS, ModelConfig, build_model, preset


def test_missing_fields_are_derived_from_the_others():
    config = ModelConfig(n_heads=6, d_model=96)
    assert (config.n_kv_heads, config.d_ff, config.head_size) == (6, 384, 16)


@pytest.mark.parametrize("d_model, d_ff", [(128, 352), (96, 256), (384, 1024), (4096, 10944)])
def test_a_gated_feed_forward_has_eight_thirds_of_the_width_rounded_up_to_32(d_model, d_ff):
    config = ModelConfig(d_model=d_model, n_heads=1, activation="swiglu")
    assert config.d_ff == d_ff and d_ff % 32 == 0 and 0 <= d_ff - 8 * d_model / 3 < 32


def test_given_fields_are_kept():
    config = ModelConfig(n_heads=6, n_kv_heads=2, d_model=96, d_ff=100, activation="swiglu")
    assert (config.n_kv_heads, config.d_ff) == (2, 100)


def test_a_config_survives_json():
    for name in PRESETS:
        config = preset(name, dropout=0.1)
        assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_labels_survive_json_which_has_no_tuples():
    config = ModelConfig(head="classifier", labels=["sad", "happy"])
    assert config.labels == ("sad", "happy") and hash(config)
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_a_head_is_put_on_a_config_by_replacing_two_fields():
    plain = preset("bert-laptop", vocab_size=65)
    config = dataclasses.replace(plain, head="classifier", labels=("happy", "sad"))
    assert dataclasses.replace(config, head="pretraining", labels=()) == plain != config


def test_a_config_cannot_be_changed_behind_its_models_back():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelConfig().n_layers = 3


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"family": "rnn"}, "family.*'rnn'.*gpt"),
        ({"positions": "relative"}, "positions.*'relative'.*rotary"),
        ({"positions": "alibi", "family": "bert"}, "positions 'alibi' is for models of the family gpt.*bert"),
        ({"sliding_window": 0}, "sliding_window is 0"),
        ({"sliding_window": 4, "family": "bert"}, "sliding_window is for models of the family gpt.*bert"),
        ({"positions": "rotary", "rope_scaling": {"type": "linear"}}, "rope_scaling has the fields"),
        ({"positions": "rotary", "rope_scaling": {"type": "spline", "factor": 2}}, "type is 'spline'.*ntk, yarn"),
        ({"positions": "rotary", "rope_scaling": {"type": "yarn", "factor": 0.5}}, "factor must be at least 1"),
        ({"norm": "batchnorm"}, "norm.*'batchnorm'.*layernorm, rmsnorm"),
        ({"norm_position": "middle"}, "norm_position.*pre, post, sandwich"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is only for rotary positions, and .*'learned'"),
        (
            {"positions": "rotary", "partial_rotary_factor": 0.1, "head_size": 30},
            r"partial_rotary_factor · head_size.*3",
        ),
        ({"positions": "rotary", "partial_rotary_factor": 0.01}, "would rotate nothing"),
        ({"positions": "rotary", "partial_rotary_factor": 1.5}, "partial_rotary_factor is 1.5"),
        ({"positions": "rotary", "local_rope_theta": 50.0}, "local_rope_theta is for layers with a sliding_window"),
        ({"sliding_window": 4, "layer_types": ("full_attention",)}, "layer_types has 1 entries, n_layers is 12"),
        (
            {"layer_types": ("full_attention",) * 12},
            "sliding_window is None: it needs one for each layer, and a window",
        ),
        ({"layer_types": "full_attention"}, "layer_types is 'full_attention'; it must be a list"),
        ({"layer_types": ("local",)}, r"layer_types is \('local',\); .*full_attention, sliding_attention"),
        ({"attention_scale": 0.0}, "attention_scale is 0.0"),
        ({"parallel_residual": True, "norm_position": "post"}, "parallel_residual is .*'post'"),
        ({"parallel_residual": True, "family": "bert"}, "parallel_residual is .*this one is a bert"),
        ({"relative_attention_num_buckets": 8}, "relative_attention_num_buckets is .*this one is a gpt"),
        ({"family": "bert", "relative_attention_num_buckets": 7}, "is 7 and .*must be even and at least 4"),
        ({"family": "bert", "relative_attention_num_buckets": 128}, "max_distance 128; .*the second larger"),
        ({"pooler": "gelu"}, "pooler is 'gelu'; it must be one of: tanh, relu"),
        ({"n_segments": -1}, "n_segments is -1"),
        ({"activation": "mish"}, "activation.*'mish'.*swiglu"),
        ({"vocab_size": 0}, "vocab_size is 0.*at least 1"),
        ({"n_layers": -1}, "n_layers is -1"),
        ({"context_length": 1.5}, "context_length is 1.5.*whole number"),
        ({"d_model": "768"}, "d_model is '768'.*whole number"),
        ({"d_model": None}, "d_model is None.*whole number"),
        ({"d_model": "768", "activation": "swiglu"}, "d_model is '768'.*whole number"),
        ({"positions": ["rotary"]}, "positions"),
        ({"n_layers": True}, "n_layers is True.*whole number"),
        ({"n_heads": 0}, "n_heads is 0"),
        ({"n_kv_heads": 0}, "n_kv_heads is 0"),
        ({"d_ff": 0}, "d_ff is 0"),
        ({"n_experts": 0}, "n_experts is 0"),
        ({"n_experts": 3, "n_active_experts": 4}, "n_active_experts is 4, and n_experts is 3: .*at most as many"),
        ({"n_active_experts": 2}, "n_active_experts is 2, and n_experts is 1"),
        ({"capacity_factor": -1.0}, "capacity_factor is -1.0"),
        ({"router_aux_loss_coef": "x"}, "router_aux_loss_coef is 'x'"),
        ({"d_model": 100, "n_heads": 12}, "n_heads 12.*d_model 100.*96"),
        ({"d_model": 4, "n_heads": 12}, "n_heads 12.*d_model 4.*12"),
        ({"n_kv_heads": 5}, "n_kv_heads 5.*n_heads 12"),
        ({"n_kv_heads": 24}, "n_kv_heads 24.*n_heads 12"),
        ({"positions": "rotary", "d_model": 36, "n_heads": 12}, "even head size.*3"),
        ({"positions": "sinusoidal", "d_model": 9, "n_heads": 3}, "even d_model.*9"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"dropout": -0.1}, "dropout is -0.1"),
        ({"dropout": float("nan")}, "dropout is nan"),
        ({"dropout": "0.1"}, "dropout is '0.1'"),
        ({"norm_eps": 0.0}, "norm_eps is 0.0.*above 0"),
        ({"norm_eps": None}, "norm_eps is None"),
        ({"rope_theta": 1.0}, "rope_theta is 1.0.*above 1"),
        ({"head": "generator"}, "head is 'generator'.*classifier, reward, question_answering"),
        ({"head": "pretraining"}, "head is .pretraining., but a gpt is pretrained with the head .lm."),
        ({"labels": "happy"}, "labels is 'happy'.*list of names"),
        ({"head": "classifier", "labels": ("happy", "")}, "labels is .*none of them empty"),
        ({"head": "classifier", "labels": (1, 2)}, r"labels is \(1, 2\).*names"),
        ({"head": "classifier"}, r"labels is \[\].*at least two"),
        ({"head": "classifier", "labels": ("happy",)}, "labels is .*at least two"),
        ({"head": "classifier", "labels": ("happy", "sad", "happy")}, "labels is .*all different"),
        (
            {"head": "question_answering", "labels": ("happy", "sad")},
            "head is 'question_answering': only a classifier has labels",
        ),
        ({"labels": ("happy", "sad")}, "head is 'lm': only a classifier"),
        ({"bias": "no"}, "bias is 'no'"),
        ({"tie_embeddings": 1}, "tie_embeddings is 1"),
        ({"context_length": 10**9}, "context_length is 1000000000; .* at most 134,217,728"),
        ({"n_layers": 10**6}, "n_layers is 1000000; .* at most 1,000"),
        ({"n_heads": 10**18, "head_size": 64}, "n_heads is 1000000000000000000; .* at most 65,536"),
        ({"vocab_size": 10**12}, "vocab_size is 1000000000000; .* at most 16,777,216"),
        ({"d_ff": 10**5000}, "d_ff is a number of about 5,001 digits; "),
        ({"d_ff": [10**5000]}, "d_ff is a list; "),
        ({"rope_theta": 10**400}, "rope_theta is a number of about 401 digits; it must be a number above 1"),
        ({"rope_theta": float("inf")}, "rope_theta is inf"),
        ({"norm_eps": True}, "norm_eps is True; it must be a number above 0"),
        ({"dropout": [0.1]}, r"dropout is \[0.1\]"),
        ({"labels": ["x" * 300, 1]}, "labels is .{200} …; "),
    ],
)
def test_an_impossible_model_is_refused_in_one_sentence(fields, words):
    with pytest.raises(UserError, match=words):
        ModelConfig(**fields)


def test_an_unknown_field_is_named():
    with pytest.raises(UserError, match="n_layer "):
        ModelConfig.from_dict({"n_layer": 3, "n_heads": 2})


def test_an_unknown_preset_is_answered_with_the_known_ones():
    with pytest.raises(UserError, match="gpt3.*gpt2-xl"):
        preset("gpt3")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_described_and_changed(name):
    config = preset(name, n_layers=1, vocab_size=65)
    assert config.n_layers == 1 and config.vocab_size == 65
    assert preset(name, vocab_size=65) == ModelConfig(**{**PRESETS[name], "vocab_size": 65})


@pytest.mark.parametrize("name", [name for name in PRESETS if name.endswith(("-laptop", "-small"))])
def test_small_presets_can_be_built(name):
    model = build_model(preset(name, vocab_size=65))
    family = model.config.family
    assert family == PRESETS[name].get("family", "gpt")
    blocks = model.encoder_blocks if family == "transformer" else model.blocks
    assert len(blocks) == model.config.n_layers
    assert (getattr(model, "rotary", None) is not None) == (PRESETS[name].get("positions") == "rotary")
