"""Small random models of transformers, one for each published format, as saved by transformers."""

from pathlib import Path

import sentencepiece
import torch
from tokenizer_helpers import english
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
    DistilBertModel,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    Gemma3TextModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    GPTNeoModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    GPTNeoXModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    MarianConfig,
    MarianMTModel,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    ModernBertForSequenceClassification,
    ModernBertForTokenClassification,
    ModernBertModel,
    MPNetConfig,
    MPNetForMaskedLM,
    MPNetForQuestionAnswering,
    MPNetForSequenceClassification,
    MPNetForTokenClassification,
    MPNetModel,
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
    T5Config,
    T5EncoderModel,
    T5ForConditionalGeneration,
    T5TokenizerFast,
)

from llmasos.hub.tokenizers.sentencepiece_file import fields, read_sentencepiece

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
DISTILBERT = {
    "vocab_size": V, "dim": 32, "hidden_dim": 56, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 40,
}  # fmt: skip
GPT_NEOX = {
    "vocab_size": V, "hidden_size": 32, "intermediate_size": 56, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 48, "rotary_pct": 0.5, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
MPNET = {name: value for name, value in BERT.items() if name != "type_vocab_size"} | {"max_position_embeddings": 42}
MODERNBERT = {
    "vocab_size": V, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 4, "num_attention_heads": 4,
    "max_position_embeddings": 48, "local_attention": 4, "global_rope_theta": 700.0, "local_rope_theta": 50.0,
    "pad_token_id": None, "bos_token_id": 0, "eos_token_id": 0, "cls_token_id": 0, "sep_token_id": 0,
    "reference_compile": False,
}  # fmt: skip
T5 = {
    "vocab_size": V, "d_model": 16, "d_kv": 6, "d_ff": 40, "num_layers": 2, "num_decoder_layers": 3, "num_heads": 4,
    "relative_attention_num_buckets": 8, "relative_attention_max_distance": 12, "pad_token_id": 0, "eos_token_id": 1,
    "decoder_start_token_id": 0,
}  # fmt: skip
GEMMA3 = {
    "vocab_size": V, "hidden_size": 32, "intermediate_size": 56, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 12, "max_position_embeddings": 64, "sliding_window": 4,
    "query_pre_attn_scalar": 10, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "rope_theta": 700.0, "rope_local_base_freq": 50.0, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
}  # fmt: skip

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
    "distilbert masked lm": lambda: DistilBertForMaskedLM(DistilBertConfig(**DISTILBERT)),
    "distilbert masked lm, untied": lambda: DistilBertForMaskedLM(
        DistilBertConfig(**DISTILBERT, tie_word_embeddings=False, activation="relu")
    ),
    "distilbert body": lambda: DistilBertModel(DistilBertConfig(**DISTILBERT)),
    "distilbert classifier": lambda: DistilBertForSequenceClassification(DistilBertConfig(**DISTILBERT, num_labels=3)),
    "distilbert one label": lambda: DistilBertForSequenceClassification(DistilBertConfig(**DISTILBERT, num_labels=1)),
    "distilbert questions": lambda: DistilBertForQuestionAnswering(DistilBertConfig(**DISTILBERT)),
    "gpt-neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**GPT_NEOX)),
    "gpt-neox tied, one after the other": lambda: GPTNeoXForCausalLM(
        GPTNeoXConfig(
            **GPT_NEOX | {"rotary_pct": 1.0},
            tie_word_embeddings=True,
            use_parallel_residual=False,
            rotary_emb_base=500,
            rope_scaling={"rope_type": "linear", "factor": 2.0},
        )
    ),
    "gpt-neox body": lambda: GPTNeoXModel(GPTNeoXConfig(**GPT_NEOX, hidden_act="relu")),
    "t5": lambda: T5ForConditionalGeneration(T5Config(**T5)),
    "t5 v1.1": lambda: T5ForConditionalGeneration(
        T5Config(**T5, tie_word_embeddings=False, feed_forward_proj="gated-gelu", n_positions=40)
    ),
    "t5 body": lambda: T5EncoderModel(T5Config(**T5, feed_forward_proj="gated-silu")),
    "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**GEMMA3)),
    "gemma3, scaled positions, untied": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(**GEMMA3, rope_scaling={"rope_type": "linear", "factor": 8.0}, tie_word_embeddings=False)
    ),
    "gemma3 body": lambda: Gemma3TextModel(Gemma3TextConfig(**GEMMA3, hidden_activation="gelu")),
    "mpnet masked lm": lambda: MPNetForMaskedLM(MPNetConfig(**MPNET)),
    "mpnet body": lambda: MPNetModel(MPNetConfig(**MPNET)),
    "mpnet classifier": lambda: MPNetForSequenceClassification(MPNetConfig(**MPNET, num_labels=3)),
    "mpnet questions": lambda: MPNetForQuestionAnswering(MPNetConfig(**MPNET)),
    "distilbert names": lambda: DistilBertForTokenClassification(DistilBertConfig(**DISTILBERT, num_labels=5)),
    "mpnet names": lambda: MPNetForTokenClassification(MPNetConfig(**MPNET, num_labels=5)),
    "modernbert masked lm": lambda: ModernBertForMaskedLM(ModernBertConfig(**MODERNBERT)),
    "modernbert body": lambda: ModernBertModel(ModernBertConfig(**MODERNBERT, hidden_activation="silu")),
    "modernbert classifier, mean": lambda: ModernBertForSequenceClassification(
        ModernBertConfig(**MODERNBERT, classifier_pooling="mean", num_labels=3, global_attn_every_n_layers=2)
    ),
    "modernbert one label, biases": lambda: ModernBertForSequenceClassification(
        ModernBertConfig(**MODERNBERT, num_labels=1, attention_bias=True, mlp_bias=True, norm_bias=True)
    ),
    "modernbert names": lambda: ModernBertForTokenClassification(ModernBertConfig(**MODERNBERT, num_labels=5)),
    "marian": lambda: MarianMTModel(MarianConfig(**MARIAN, activation_function="swish")),
}


def published(name: str):
    """Make the named model with all parameters (and Marian's last bias) random."""
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
    """The outputs of a transformers model for (B, T) ids with padding at the end, in our form."""
    inputs = {"input_ids": ids, "attention_mask": attention_mask.long()}
    with torch.no_grad():
        if model.config.is_encoder_decoder and hasattr(model, "lm_head"):
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
        if model.config.family == "transformer" and model.config.generates:
            return model(ids, ids[:, :5], attention_mask)
        if model.config.family == "bert" and model.config.is_pretraining:
            out = model(ids, attention_mask)
            if out.next_sentence is None:
                return out.masked
            return torch.cat([out.masked.flatten(1), out.next_sentence], dim=1)
        out = model(ids, attention_mask)
        return out[:, None] if model.config.head == "reward" else out


def t5_tokenizer(folder: Path, split_words: bool = False, rule: str = "nmt_nfkc") -> T5TokenizerFast:
    """A small tokenizer in the form of T5's: a unigram model of SentencePiece, run by the `tokenizers` package.

    Args:
        folder: the folder for the files of SentencePiece.
        split_words: as in the files of the first T5s; otherwise as transformers converts SentencePiece's today.
        rule: the name of SentencePiece's normalization rule.
    """
    file = folder / "spiece.model"
    (folder / "text").write_text(english())
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text"), model_prefix=str(folder / "spiece"), vocab_size=390, model_type="unigram",
        normalization_rule_name=rule, character_coverage=0.98, minloglevel=2, num_threads=1, pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1,
    )  # fmt: skip
    normalizer = dict(fields(next(value for number, value in fields(file.read_bytes()) if number == 3)))
    pieces = [(piece, score) for piece, score, _ in read_sentencepiece(file).pieces]
    pieces += [(f"<extra_id_{i}>", 0.0) for i in range(9, -1, -1)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    steps = [normalizers.Precompiled(normalizer[2])] if normalizer.get(2) else []
    if split_words:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
        )
    else:
        steps += [normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")]
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.normalizer, tokenizer.decoder = normalizers.Sequence(steps), decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=["$A", "</s>"], pair=["$A", "</s>", "$B", "</s>"], special_tokens=[("</s>", 1)]
    )
    return T5TokenizerFast(tokenizer_object=tokenizer, extra_ids=10)
