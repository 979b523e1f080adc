"""RoBERTa, GPT-Neo and OPT from a folder of transformers to a result: texts in, the outputs of transformers out."""

import pytest
import torch
from hub_helpers import GPT_NEO, OPT, ROBERTA, randomize
from tokenizer_helpers import english
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    GPTNeoConfig,
    GPTNeoForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
)

from llmasos.generation import SamplingOptions, generate
from llmasos.hub import load_pretrained, save_pretrained
from llmasos.tasks.bert_pretraining import fill_masks

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
NAMES = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
ROLES = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "pad_token": "<pad>",
         "unk_token": "<unk>", "mask_token": "<mask>"}  # fmt: skip


def tokenizer_of(roberta):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=NAMES, show_progress=False, initial_alphabet=alphabet)
    tokenizer.train_from_iterator([english(30)], trainer)
    if roberta:
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **(ROLES if roberta else {"eos_token": "</s>"}))


def written(folder, kind, config):
    """The folder of a random model with a tokenizer, and both as transformers has them."""
    torch.manual_seed(0)
    model = kind(config).eval()
    randomize(model)
    tokenizer = tokenizer_of("Roberta" in kind.__name__)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer


@pytest.mark.parametrize("texts", [("the cat",), ("the cat", "is é here")], ids=["one text", "two texts"])
def test_a_roberta_classifies(texts, tmp_path):
    config = RobertaConfig(**ROBERTA | {"vocab_size": 400}, num_labels=3)
    theirs, tokenizer = written(tmp_path / "theirs", RobertaForSequenceClassification, config)
    expected = theirs(**tokenizer(*texts, return_tensors="pt")).logits
    model, ours = load_pretrained(tmp_path / "theirs")
    assert save_pretrained(tmp_path / "again", model, ours) == "BertForSequenceClassification"
    for folder in ("theirs", "again"):
        model, ours = load_pretrained(tmp_path / folder)
        inputs = ours.build_inputs(*(ours.encode(text) for text in texts))
        ids, segments = torch.tensor([inputs.ids]), torch.tensor([inputs.segments])
        torch.testing.assert_close(model(ids, None, segments), expected, **CLOSE)


def test_a_roberta_fills_in_words(tmp_path):
    theirs, tokenizer = written(tmp_path, RobertaForMaskedLM, RobertaConfig(**ROBERTA | {"vocab_size": 400}))
    inputs = tokenizer("the <mask> of it", return_tensors="pt")
    logits = theirs(**inputs).logits[inputs.input_ids == tokenizer.mask_token_id]
    model, ours = load_pretrained(tmp_path, say=lambda text: None)
    for text in ("the [MASK] of it", "the <mask> of it"):
        [(word, probability), *_] = fill_masks(model, ours, text, 3)[0]
        best = logits.softmax(-1).max(-1)
        assert word == tokenizer.decode(best.indices).strip() and probability == pytest.approx(
            best.values.item(), rel=1e-4
        )


@pytest.mark.parametrize("kind, config", [
    (GPTNeoForCausalLM, GPTNeoConfig(**GPT_NEO | {"vocab_size": 400, "eos_token_id": 2})),
    (OPTForCausalLM, OPTConfig(**OPT | {"vocab_size": 400, "eos_token_id": 2})),
], ids=["gpt-neo", "opt"])  # fmt: skip
def test_a_text_is_continued_as_in_transformers(kind, config, tmp_path):
    theirs, tokenizer = written(tmp_path / "theirs", kind, config)
    ids = tokenizer("the cat", return_tensors="pt").input_ids
    expected = theirs.generate(ids, max_new_tokens=8, do_sample=False, pad_token_id=1)[0, ids.size(1) :]
    model, ours = load_pretrained(tmp_path / "theirs")
    save_pretrained(tmp_path / "again", model, ours)
    for folder in ("theirs", "again"):
        model, ours = load_pretrained(tmp_path / folder)
        [result] = generate(model, ours, ["the cat"], SamplingOptions(temperature=0, max_new_tokens=8))
        assert result.ids == expected.tolist() and result.text == tokenizer.decode(expected)
