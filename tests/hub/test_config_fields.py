"""Every config field that transformers reads is handled: computed, rejected by name, or without effect on the outputs.

The tables list the values to try for each family. The fuzz test changes a few fields at once, lets transformers build
and save the model, and opens it here: the logits are equal, or an error names one of the changed fields. No model may
be silently different.
"""

import importlib
import inspect
import os
import random
import re

import pytest
import torch
import transformers
from hub_helpers import (
    BERT,
    DISTILBERT,
    GEMMA3,
    GPT2,
    GPT_NEO,
    GPT_NEOX,
    LLAMA,
    LLAMA3_ROPE,
    MARIAN,
    MODERNBERT,
    MPNET,
    OPT,
    ROBERTA,
    T5,
    V,
    our_outputs,
    outputs,
    randomize,
)  # fmt: skip
from huggingface_hub.errors import StrictDataclassError  # of a config of transformers 5
from model_helpers import random_ids

from llmasos.errors import UserError
from llmasos.hub.formats import FORMATS, HFConfig
from llmasos.hub.pretrained_folder import read_model

IDS = random_ids(3, 7, vocab_size=V).clamp(min=3)  # no padding, which RoBERTa counts by its id
RAGGED = torch.arange(7) < torch.tensor([[7], [5], [2]])
ACTIVATIONS = ["gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "quick_gelu", "relu", "relu2", "silu", "swish",
               "tanh", "mish", "gelu_10", "sigmoid", "leaky_relu", "linear"]  # fmt: skip
DROPOUT = [0.0, 0.1, 0.4]
# Fields of every config about how to call the model, train it, or generate text with it.
EVERYWHERE = {
    "initializer_range": [0.02, 0.5], "use_cache": [True, False], "bos_token_id": [1, None], "eos_token_id": [0, 5],
    "pad_token_id": [0, 2], "output_attentions": [False], "output_hidden_states": [False, True], "return_dict": [True],
    "chunk_size_feed_forward": [0, 1], "is_encoder_decoder": [False], "num_labels": [2, 3, 1],
    "problem_type": [None, "regression"],
    "tokenizer_class": ["AnyTokenizer"], "prefix": ["x"], "cross_attention_hidden_size": [None], "torch_dtype": [None],
}  # fmt: skip
NOT_FIELDS = {  # attributes of a config object that are derived from others, or from the machine
    "_attn_implementation", "use_return_dict", "get_text_config", "hidden_size", "num_hidden_layers",
    "num_attention_heads", "max_position_embeddings", "to_dict", "model_type", "vocab_size", "rope_parameters",
    "from_pretrained", "keys_to_ignore_at_inference", "__class__", "id2label", "label2id",
    "_pre_quantization_dtype", "n_positions", "architectures", "dtype", "transformers_version",
}  # fmt: skip
GPT2_FIELDS = {
    "vocab_size": [V, 70], "n_positions": [48, 12], "n_embd": [32, 16], "n_layer": [1, 3], "n_head": [2, 8],
    "n_inner": [None, 40], "activation_function": ACTIVATIONS, "resid_pdrop": DROPOUT, "embd_pdrop": DROPOUT,
    "attn_pdrop": DROPOUT, "layer_norm_epsilon": [1e-5, 1e-2], "scale_attn_weights": [True, False],
    "scale_attn_by_inverse_layer_idx": [False, True], "reorder_and_upcast_attn": [False, True],
    "tie_word_embeddings": [True, False], "add_cross_attention": [False, True], "summary_type": ["mean"],
    "summary_use_proj": [True, False], "summary_activation": ["tanh"], "summary_proj_to_labels": [False],
    "summary_first_dropout": DROPOUT, "summary_last_dropout": DROPOUT, "classifier_dropout": DROPOUT,
    "hidden_dropout": DROPOUT,
}  # fmt: skip
BERT_FIELDS = {
    "vocab_size": [V, 70], "hidden_size": [32, 16], "num_hidden_layers": [1, 3], "num_attention_heads": [2, 8],
    "intermediate_size": [56, 40], "hidden_act": ACTIVATIONS, "hidden_dropout_prob": DROPOUT,
    "is_decoder": [False, True],
    "attention_probs_dropout_prob": DROPOUT, "max_position_embeddings": [40, 12], "type_vocab_size": [2, 1, 3],
    "layer_norm_eps": [1e-12, 1e-2], "classifier_dropout": [None, 0.3], "add_cross_attention": [False],
    "position_embedding_type": ["absolute", "relative_key", "relative_key_query"], "tie_word_embeddings": [True, False],
}  # fmt: skip
LLAMA_FIELDS = {
    "vocab_size": [V, 70], "hidden_size": [32, 16], "intermediate_size": [56, 40], "num_hidden_layers": [1, 3],
    "num_attention_heads": [4, 8], "num_key_value_heads": [2, 4, 1], "hidden_act": ["silu", "gelu", "relu"],
    "max_position_embeddings": [64, 12], "rms_norm_eps": [1e-6, 1e-2], "pretraining_tp": [1, 2],
    "tie_word_embeddings": [False, True], "rope_theta": [10_000.0, 50.0], "attention_bias": [False, True],
    "rope_scaling": [None, LLAMA3_ROPE, {"rope_type": "linear", "factor": 2.0}, {"rope_type": "dynamic", "factor": 2.0},
                     {"rope_type": "yarn", "factor": 2.0}, {"type": "linear", "factor": 4.0}],
    "attention_dropout": DROPOUT, "mlp_bias": [False, True], "head_dim": [None, 12, 16],
    "partial_rotary_factor": [1.0, 0.5],
}  # fmt: skip
WINDOW = {"sliding_window": [None, 4, 4096]}
QWEN_WINDOW = WINDOW | {
    "use_sliding_window": [False, True], "max_window_layers": [28, 0, 1],
    "layer_types": [None, ["full_attention", "full_attention"], ["sliding_attention", "full_attention"]],
}  # fmt: skip
QWEN2 = {
    name: values for name, values in LLAMA_FIELDS.items() if name not in ("attention_bias", "mlp_bias", "head_dim")
}
MIXTRAL_FIELDS = {name: values for name, values in LLAMA_FIELDS.items() if "bias" not in name} | WINDOW
MIXTRAL_FIELDS |= {
    "num_local_experts": [4, 3], "num_experts_per_tok": [2, 3, 1], "output_router_logits": [False, True],
    "router_aux_loss_coef": [0.001, 0.5], "router_jitter_noise": [0.0, 0.1],
}  # fmt: skip
MARIAN_FIELDS = {
    "vocab_size": [V], "decoder_vocab_size": [None, V, 70], "d_model": [32, 16], "encoder_layers": [1, 3],
    "decoder_layers": [1, 3], "encoder_attention_heads": [4, 8], "decoder_attention_heads": [4, 8],
    "encoder_ffn_dim": [56, 40], "decoder_ffn_dim": [56, 40], "activation_function": ACTIVATIONS, "dropout": DROPOUT,
    "attention_dropout": DROPOUT, "activation_dropout": DROPOUT, "max_position_embeddings": [512, 12],
    "scale_embedding": [True, False], "share_encoder_decoder_embeddings": [True, False],
    "tie_word_embeddings": [True, False], "encoder_layerdrop": DROPOUT, "decoder_layerdrop": DROPOUT, "init_std": [0.1],
    "decoder_start_token_id": [V - 1, 3], "forced_eos_token_id": [0, 5], "is_decoder": [False],
    "static_position_embeddings": [True, False], "normalize_before": [False, True], "add_final_layer_norm": [False],
}  # fmt: skip
GPT_NEO_FIELDS = {
    "vocab_size": [V, 70], "max_position_embeddings": [48, 6], "hidden_size": [32, 16], "num_layers": [2, 4],
    "num_heads": [2, 4], "intermediate_size": [None, 40], "activation_function": ACTIVATIONS, "window_size": [12, 4],
    "attention_types": [[[["global", "local"], 1]], [[["global"], 2]], [[["local"], 2]], [[["banded"], 2]]],
    "resid_dropout": DROPOUT, "embed_dropout": DROPOUT, "attention_dropout": DROPOUT, "classifier_dropout": DROPOUT,
    "layer_norm_epsilon": [1e-5, 1e-2], "tie_word_embeddings": [True, False], "attention_layers": [],
}  # fmt: skip
OPT_FIELDS = {
    "vocab_size": [V, 70], "hidden_size": [32, 16], "num_hidden_layers": [1, 3], "num_attention_heads": [4, 8],
    "ffn_dim": [56, 40], "max_position_embeddings": [48, 12], "do_layer_norm_before": [True, False],
    "_remove_final_layer_norm": [False, True], "word_embed_proj_dim": [32, 16], "dropout": DROPOUT,
    "attention_dropout": DROPOUT, "activation_function": ACTIVATIONS, "layerdrop": DROPOUT, "init_std": [0.1],
    "enable_bias": [True, False], "layer_norm_elementwise_affine": [True, False], "tie_word_embeddings": [True, False],
}  # fmt: skip
DISTILBERT_FIELDS = {
    "vocab_size": [V, 70], "dim": [32, 16], "hidden_dim": [56, 40], "n_layers": [1, 3], "n_heads": [2, 8],
    "max_position_embeddings": [40, 12], "sinusoidal_pos_embds": [False, True], "activation": ACTIVATIONS,
    "dropout": DROPOUT, "attention_dropout": DROPOUT, "qa_dropout": DROPOUT, "seq_classif_dropout": DROPOUT,
    "tie_word_embeddings": [True, False],
}  # fmt: skip
GPT_NEOX_FIELDS = {
    "vocab_size": [V, 70], "hidden_size": [32, 16], "intermediate_size": [56, 40], "num_hidden_layers": [1, 3],
    "num_attention_heads": [4, 2], "max_position_embeddings": [48, 12], "hidden_act": ACTIVATIONS,
    "rotary_pct": [0.25, 0.5, 1.0, 0.75, 0.1], "rotary_emb_base": [10_000, 50], "attention_dropout": DROPOUT,
    "hidden_dropout": DROPOUT, "classifier_dropout": DROPOUT, "layer_norm_eps": [1e-5, 1e-2],
    "use_parallel_residual": [True, False], "attention_bias": [True, False], "tie_word_embeddings": [False, True],
    "rope_scaling": LLAMA_FIELDS["rope_scaling"], "is_decoder": [False, True], "rms_norm_eps": [],
}  # fmt: skip
T5_FIELDS = {
    "vocab_size": [V, 70], "d_model": [16, 32], "d_kv": [6, 4], "d_ff": [40, 56], "num_layers": [1, 3],
    "num_decoder_layers": [None, 1, 3], "num_heads": [4, 2], "relative_attention_num_buckets": [8, 32, 6, 7, 2],
    "relative_attention_max_distance": [12, 128, 9], "dropout_rate": DROPOUT, "layer_norm_epsilon": [1e-6, 1e-2],
    "initializer_factor": [1.0], "classifier_dropout": DROPOUT, "tie_word_embeddings": [True, False],
    "feed_forward_proj": ["relu", "gelu", "gelu_new", "silu", "tanh", "gated-gelu", "gated-silu", "gated-relu",
                          "gated-gelu_new", "gated-mish"],
    "decoder_start_token_id": [0, 3], "pad_token_id": [0], "n_positions": [512, 40], "is_decoder": [False],
    "dense_act_fn": [], "is_gated_act": [], "tie_encoder_decoder": [False],
    "is_encoder_decoder": [True], "scale_decoder_outputs": [],
}  # fmt: skip
GEMMA3_FIELDS = {
    "vocab_size": [V, 70], "hidden_size": [32, 16], "intermediate_size": [56, 40], "num_hidden_layers": [3],
    "num_attention_heads": [4, 2], "num_key_value_heads": [2, 1], "head_dim": [12, 8], "rms_norm_eps": [1e-6, 1e-2],
    "hidden_activation": ACTIVATIONS, "max_position_embeddings": [64, 12], "rope_theta": [700.0, 1e6],
    "attention_bias": [False, True], "attention_dropout": DROPOUT, "query_pre_attn_scalar": [10, 256, 7.5],
    "sliding_window": [4, 2, 512, None], "final_logit_softcapping": [None, 5.0], "attn_logit_softcapping": [None, 5.0],
    "layer_types": [None, GEMMA3["layer_types"], ["full_attention"] * 3, ["sliding_attention"] * 3],
    "rope_scaling": LLAMA_FIELDS["rope_scaling"], "rope_local_base_freq": [50.0, 10_000.0],
    "use_bidirectional_attention": [False, True], "tie_word_embeddings": [True, False],
    "sliding_window_pattern": [2, 3],
    "_sliding_window_pattern": [], "image_token_id": [], "text_config": [], "vision_config": [],
    "mm_tokens_per_image": [],
}  # fmt: skip
MPNET_FIELDS = {
    "vocab_size": [V, 70], "hidden_size": [32, 16], "num_hidden_layers": [1, 3], "num_attention_heads": [2, 8],
    "intermediate_size": [56, 40], "hidden_act": ACTIVATIONS, "hidden_dropout_prob": DROPOUT,
    "attention_probs_dropout_prob": DROPOUT, "max_position_embeddings": [42, 14], "layer_norm_eps": [1e-12, 1e-2],
    "relative_attention_num_buckets": [32, 40], "pad_token_id": [1, 0], "tie_word_embeddings": [True, False],
    "embedding_size": [],
}  # fmt: skip
MODERNBERT_FIELDS = {
    "vocab_size": [V, 70], "hidden_size": [32, 16], "intermediate_size": [56, 40], "num_hidden_layers": [1, 5],
    "num_attention_heads": [4, 8], "hidden_activation": ACTIVATIONS, "max_position_embeddings": [48, 12],
    "initializer_cutoff_factor": [2.0, None], "norm_eps": [1e-5, 1e-2], "norm_bias": [False, True],
    "cls_token_id": [0], "sep_token_id": [0], "global_rope_theta": [700.0, 160_000.0], "attention_bias": [False, True],
    "attention_dropout": DROPOUT, "global_attn_every_n_layers": [3, 1, 2, 9], "local_attention": [4, 2, 7, 512, 0],
    "local_rope_theta": [50.0, 10_000.0, None], "embedding_dropout": DROPOUT, "mlp_bias": [False, True],
    "mlp_dropout": DROPOUT, "decoder_bias": [True, False], "classifier_pooling": ["cls", "mean"],
    "classifier_dropout": DROPOUT, "classifier_bias": [False, True], "classifier_activation": ["gelu", "relu"],
    "deterministic_flash_attn": [False, True], "sparse_prediction": [False, True], "sparse_pred_ignore_index": [-100],
    "reference_compile": [False], "repad_logits_with_grad": [False, True], "tie_word_embeddings": [True, False],
    "rope_scaling": LLAMA_FIELDS["rope_scaling"], "rope_theta": [], "sliding_window": [2, 3],
    "layer_types": [None, ["full_attention"] * 4],
}  # fmt: skip
ROBERTA_FIELDS = BERT_FIELDS | {"max_position_embeddings": [42, 14], "type_vocab_size": [1, 2], "pad_token_id": [1, 0]}
IMPOSSIBLE = (ValueError, KeyError, RuntimeError, TypeError, AttributeError, IndexError, ZeroDivisionError,
              StrictDataclassError)  # fmt: skip  # what transformers raises for such a config
ALIASES = {  # a name that the error may contain instead
    "pad_token_id": "decoder_start_token_id",  # one must be the other
    "hidden_size": "word_embed_proj_dim",
    "rope_scaling": "rope_type",  # as transformers 5 saves it, in rope_parameters
}
FAMILIES = {
    "GPT2LMHeadModel": (GPT2, GPT2_FIELDS),
    "GPT2Model": (GPT2, GPT2_FIELDS),
    "BertForPreTraining": (BERT, BERT_FIELDS),
    "BertModel": (BERT, BERT_FIELDS),
    "BertForSequenceClassification": (BERT, BERT_FIELDS),
    "BertForQuestionAnswering": (BERT, BERT_FIELDS),
    "BertForTokenClassification": (BERT, BERT_FIELDS),
    "LlamaForCausalLM": (LLAMA, LLAMA_FIELDS),
    "MistralForCausalLM": (LLAMA, {name: v for name, v in LLAMA_FIELDS.items() if "bias" not in name} | WINDOW),
    "MixtralForCausalLM": (LLAMA | {"num_local_experts": 4}, MIXTRAL_FIELDS),
    "Qwen2ForCausalLM": (LLAMA, QWEN2 | QWEN_WINDOW),
    "Qwen3ForCausalLM": (LLAMA, {name: v for name, v in LLAMA_FIELDS.items() if name != "mlp_bias"} | QWEN_WINDOW),
    "MarianMTModel": (MARIAN, MARIAN_FIELDS),
    "GPTNeoForCausalLM": (GPT_NEO, GPT_NEO_FIELDS),
    "OPTForCausalLM": (OPT, OPT_FIELDS),
    "DistilBertForMaskedLM": (DISTILBERT, DISTILBERT_FIELDS),
    "DistilBertModel": (DISTILBERT, DISTILBERT_FIELDS),
    "DistilBertForSequenceClassification": (DISTILBERT, DISTILBERT_FIELDS),
    "DistilBertForQuestionAnswering": (DISTILBERT, DISTILBERT_FIELDS),
    "DistilBertForTokenClassification": (DISTILBERT, DISTILBERT_FIELDS),
    "GPTNeoXForCausalLM": (GPT_NEOX, GPT_NEOX_FIELDS),
    "T5ForConditionalGeneration": (T5, T5_FIELDS),
    "T5EncoderModel": (T5, T5_FIELDS),
    "Gemma3ForCausalLM": (GEMMA3, GEMMA3_FIELDS),
    "MPNetForMaskedLM": (MPNET, MPNET_FIELDS),
    "MPNetModel": (MPNET, MPNET_FIELDS),
    "MPNetForSequenceClassification": (MPNET, MPNET_FIELDS),
    "MPNetForQuestionAnswering": (MPNET, MPNET_FIELDS),
    "MPNetForTokenClassification": (MPNET, MPNET_FIELDS),
    "ModernBertForMaskedLM": (MODERNBERT, MODERNBERT_FIELDS),
    "ModernBertModel": (MODERNBERT, MODERNBERT_FIELDS),
    "ModernBertForSequenceClassification": (MODERNBERT, MODERNBERT_FIELDS),
    "ModernBertForTokenClassification": (MODERNBERT, MODERNBERT_FIELDS),
    "RobertaModel": (ROBERTA, ROBERTA_FIELDS),
    "RobertaForMaskedLM": (ROBERTA, ROBERTA_FIELDS),
    "RobertaForSequenceClassification": (ROBERTA, ROBERTA_FIELDS),
    "RobertaForTokenClassification": (ROBERTA, ROBERTA_FIELDS),
    "RobertaForQuestionAnswering": (ROBERTA, ROBERTA_FIELDS),
}
ONE_LABEL = " with one label"  # a regression or a cross-encoder
FAMILIES |= {
    name + ONE_LABEL: (base | {"num_labels": 1}, fields)
    for name, (base, fields) in FAMILIES.items()
    if name.endswith("ForSequenceClassification")
}


def class_of(name):
    """The class of transformers for a row of the table."""
    return getattr(transformers, name.removesuffix(ONE_LABEL))


@pytest.mark.parametrize("name", ["GPT2LMHeadModel", "GPTNeoForCausalLM"])
def test_a_config_without_a_dropout_has_that_of_transformers(name):
    config = getattr(transformers, name).config_class()
    [format] = [format for format in FORMATS if config.model_type in format.model_types]
    fields = config.to_dict()
    expected = fields.pop(format.names["dropout"])
    assert format.read_config(HFConfig(fields, "config.json"))["dropout"] == expected


@pytest.mark.parametrize("name", FAMILIES)
def test_every_field_that_transformers_reads_is_decided(name):
    kind = class_of(name)
    module = importlib.import_module(kind.__module__)
    read = set(re.findall(r"config\.(\w+)", inspect.getsource(module)))
    read |= set(inspect.signature(kind.config_class.__init__).parameters) - {"self", "kwargs"}
    assert sorted(read - FAMILIES[name][1].keys() - EVERYWHERE.keys() - NOT_FIELDS) == []


def outcome(name, changes, folder):
    """The outcome for a model with changed fields: "impossible" for transformers, "refused", "equal", "different"."""
    base, _ = FAMILIES[name]
    torch.manual_seed(0)
    try:
        kind = class_of(name)
        theirs = kind(kind.config_class(**base | changes, attn_implementation="eager")).eval()  # that reads every field
        randomize(theirs)
        expected = outputs(theirs, IDS, RAGGED)
    except IMPOSSIBLE:
        return "impossible"
    theirs.save_pretrained(folder)
    try:
        ours = read_model(folder, say=lambda text: None)
        if ours.config.context_length < IDS.size(1):  # a window: up to its length there is none
            short = IDS[:1, : ours.config.context_length]
            whole = torch.ones_like(short, dtype=torch.bool)
            ours, expected = our_outputs(ours, short, whole), outputs(theirs, short, whole)
        else:
            ours = our_outputs(ours, IDS, RAGGED)
    except UserError as error:
        names = [name for field in changes for name in (field, ALIASES.get(field, field))]
        names = [name.removeprefix("encoder_").removeprefix("decoder_") for name in names]
        assert any(name in str(error) for name in [*names, "impossible model"]), (changes, error)
        return "refused"
    if name == "RobertaForMaskedLM":  # without next-sentence prediction, which it has not learned
        ours = ours[:, :-2].unflatten(1, (-1, theirs.config.vocab_size))
    if ours.shape[:2] == RAGGED.shape and not name.endswith(
        ("MTModel", "Generation")
    ):  # outputs at padded positions are meaningless
        ours, expected = ours[RAGGED], expected[RAGGED]
    elif name == "BertForPreTraining":
        ours, expected = ours[0], expected[0]
    return "equal" if torch.allclose(ours, expected, rtol=1e-4, atol=1e-5) else "different"


N_CONFIGS = int(os.environ.get("LLMASOS_FUZZ", 8))


def choose(name, rng):
    """Choose a few fields and a value for each."""
    fields = {field: values for field, values in (EVERYWHERE | FAMILIES[name][1]).items() if values}
    return {field: rng.choice(fields[field]) for field in rng.sample(sorted(fields), rng.randrange(1, 5))}


@pytest.mark.parametrize("name", FAMILIES)
def test_no_config_is_silently_different(name, tmp_path):
    outcomes = [outcome(name, choose(name, random.Random(seed)), tmp_path / str(seed)) for seed in range(4)]
    assert "different" not in outcomes


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_each_field_alone_and_many_configs(name, tmp_path, record_property):
    """Before a release, try LLMASOS_FUZZ=200 configs with several changed fields; CI tries fewer."""
    fields = EVERYWHERE | FAMILIES[name][1]
    tried = [{field: value} for field, values in fields.items() for value in values]
    tried += [choose(name, random.Random(seed)) for seed in range(4, 4 + N_CONFIGS)]
    outcomes = [outcome(name, changes, tmp_path / str(i)) for i, changes in enumerate(tried)]
    for result in ("equal", "refused", "impossible", "different"):
        record_property(result, outcomes.count(result))
    print(name, {result: outcomes.count(result) for result in ("equal", "refused", "impossible", "different")})
    assert not [changes for changes, result in zip(tried, outcomes, strict=True) if result == "different"]
    assert outcomes.count("equal") > len(tried) / 3
