"""Small random models by transformers, one for each published format, saved as transformers saves them."""

import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    GPTNeoModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    MarianConfig,
    MarianMTModel,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    OPTModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    RobertaModel,
)

V = 61  # an odd vocabulary
LLAMA = {
    "vocab_size": V,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
BERT = {
    "vocab_size": V,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 40,
    "type_vocab_size": 2,
}
GPT2 = {
    "vocab_size": V,
    "n_positions": 48,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
MARIAN = {
    "vocab_size": V,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 56,
    "decoder_ffn_dim": 56,
    "max_position_embeddings": 512,
    "scale_embedding": True,
    "share_encoder_decoder_embeddings": True,
    "pad_token_id": V - 1,
    "decoder_start_token_id": V - 1,
    "eos_token_id": 0,
    "forced_eos_token_id": 0,
}

GPT_NEO = {
    "vocab_size": V, "hidden_size": 32, "num_layers": 2, "num_heads": 2, "max_position_embeddings": 48,
    "attention_types": [[["global", "local"], 1]], "window_size": 12, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
OPT = {
    "vocab_size": V, "hidden_size": 32, "word_embed_proj_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "ffn_dim": 56, "max_position_embeddings": 48, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
ROBERTA = BERT | {"type_vocab_size": 1, "max_position_embeddings": 42, "layer_norm_eps": 1e-5}
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")

PUBLISHED = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**GPT2)),
    "gpt2 untied, exact gelu, narrow": lambda: GPT2LMHeadModel(
        GPT2Config(**GPT2, tie_word_embeddings=False, activation_function="gelu", n_inner=40)
    ),
    "gpt2 body": lambda: GPT2Model(GPT2Config(**GPT2)),
    "bert pretraining": lambda: BertForPreTraining(BertConfig(**BERT)),
    "bert body": lambda: BertModel(BertConfig(**BERT)),
    "bert classifier": lambda: BertForSequenceClassification(
        BertConfig(**BERT, id2label={0: "bad", 1: "fair", 2: "good"}, label2id={"bad": 0, "fair": 1, "good": 2})
    ),
    "bert one label": lambda: BertForSequenceClassification(BertConfig(**BERT, num_labels=1)),
    "bert questions": lambda: BertForQuestionAnswering(BertConfig(**BERT)),
    "bert names": lambda: BertForTokenClassification(
        BertConfig(**BERT, id2label=dict(enumerate(TAGS)), label2id={tag: id for id, tag in enumerate(TAGS)})
    ),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**LLAMA)),
    "llama tied, biases, wide heads": lambda: LlamaForCausalLM(
        LlamaConfig(**LLAMA, tie_word_embeddings=True, attention_bias=True, mlp_bias=True, head_dim=12)
    ),
    "llama 3 positions": lambda: LlamaForCausalLM(LlamaConfig(**LLAMA, rope_scaling=LLAMA3_ROPE, rope_theta=500.0)),
    "llama body": lambda: LlamaModel(LlamaConfig(**LLAMA)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**LLAMA, sliding_window=None)),
    "mistral, window": lambda: MistralForCausalLM(MistralConfig(**LLAMA, sliding_window=4)),
    "linear positions": lambda: LlamaForCausalLM(
        LlamaConfig(**LLAMA, rope_scaling={"rope_type": "linear", "factor": 2.0})
    ),
    "yarn positions": lambda: LlamaForCausalLM(
        LlamaConfig(
            **LLAMA,
            rope_scaling={
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 16,
                "beta_fast": 16.0,
                "beta_slow": 1.0,
                "attention_factor": 1.25,
            },
        )
    ),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**LLAMA)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**LLAMA, head_dim=16)),
    "mixtral": lambda: MixtralForCausalLM(MixtralConfig(**LLAMA, num_local_experts=5, num_experts_per_tok=3)),
    "gpt-neo": lambda: GPTNeoForCausalLM(GPTNeoConfig(**GPT_NEO)),
    "gpt-neo body, untied": lambda: GPTNeoModel(GPTNeoConfig(**GPT_NEO, intermediate_size=40)),
    "opt": lambda: OPTForCausalLM(OPTConfig(**OPT)),
    "opt body": lambda: OPTModel(OPTConfig(**OPT)),
    "roberta body": lambda: RobertaModel(RobertaConfig(**ROBERTA)),
    "roberta classifier": lambda: RobertaForSequenceClassification(RobertaConfig(**ROBERTA, num_labels=3)),
    "roberta one label": lambda: RobertaForSequenceClassification(RobertaConfig(**ROBERTA, num_labels=1)),
    "roberta questions": lambda: RobertaForQuestionAnswering(RobertaConfig(**ROBERTA)),
    "roberta names": lambda: RobertaForTokenClassification(RobertaConfig(**ROBERTA, num_labels=5)),
    "marian": lambda: MarianMTModel(MarianConfig(**MARIAN, activation_function="swish")),
}


def published(name: str):
    """The named model with every parameter (and Marian's last bias) random."""
    torch.manual_seed(0)
    model = PUBLISHED[name]().eval()
    randomize(model)
    return model


def randomize(model) -> None:
    """Make every parameter random, and Marian's last bias."""
    with torch.no_grad():
        for parameter in filter(lambda p: p.requires_grad, model.parameters()):  # not Marian's position table
            parameter.copy_(torch.randn_like(parameter) * 0.1 + (parameter.dim() == 1))
        if hasattr(model, "final_logits_bias"):
            model.final_logits_bias.normal_()


def published_masked_lm(name="bert"):
    """A BERT that was trained without next sentences, so that pooler and next-sentence head are missing."""
    model = {"bert": BertForMaskedLM(BertConfig(**BERT)), "roberta": RobertaForMaskedLM(RobertaConfig(**ROBERTA))}[name]
    randomize(model)
    return model.eval()


def outputs(model, ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """The outputs of a transformers model for (B, T) ids with padding at the end, in the form of ours."""
    inputs = {"input_ids": ids, "attention_mask": attention_mask.long()}
    with torch.no_grad():
        if model.config.model_type == "marian":
            return model(**inputs, decoder_input_ids=ids[:, :5]).logits
        out = model(**inputs)
    if hasattr(out, "prediction_logits"):
        return torch.cat([out.prediction_logits.flatten(1), out.seq_relationship_logits], dim=1)
    if hasattr(out, "start_logits"):
        return torch.stack([out.start_logits, out.end_logits], dim=-1)
    return out.logits if hasattr(out, "logits") else out.last_hidden_state


def our_outputs(model, ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """The outputs of our model."""
    with torch.no_grad():
        if model.config.family == "transformer":
            return model(ids, ids[:, :5], attention_mask)
        if model.config.family == "bert" and model.config.is_pretraining:
            out = model(ids, attention_mask)
            return torch.cat([out.masked.flatten(1), out.next_sentence], dim=1)
        out = model(ids, attention_mask)
        return out[:, None] if model.config.head == "reward" else out
