"""More families, from a folder of transformers to the result: the same outputs as transformers for the same texts."""

import json

import pytest
import torch
from hub_helpers import DISTILBERT, GEMMA3, GPT_NEO, GPT_NEOX, MPNET, OPT, ROBERTA, T5, randomize, t5_tokenizer
from safetensors.torch import load_file, save_file
from tokenizer_helpers import english
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoTokenizer,
    BertTokenizerFast,
    DistilBertConfig,
    DistilBertForMaskedLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    MPNetConfig,
    MPNetModel,
    MPNetTokenizerFast,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
)

from llmasos.generation import SamplingOptions, generate, generate_from, generate_naive
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
    """Save a random model with a tokenizer; returns the folder, and both as objects of transformers."""
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
    (GPTNeoXForCausalLM, GPTNeoXConfig(**GPT_NEOX | {"vocab_size": 400, "eos_token_id": 2})),
    (Gemma3ForCausalLM, Gemma3TextConfig(**GEMMA3 | {"vocab_size": 400, "eos_token_id": [2, 7]})),
], ids=["gpt-neo", "opt", "gpt-neox", "gemma3"])  # fmt: skip
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


@pytest.mark.parametrize("tied", [True, False], ids=["t5", "flan-t5"])
def test_a_t5_writes_what_it_writes_in_transformers(tied, tmp_path):
    torch.manual_seed(0)
    kind = "relu" if tied else "gated-gelu"
    config = T5Config(
        **T5 | {"vocab_size": 400, "n_positions": 60, "num_decoder_layers": 2},
        tie_word_embeddings=tied,
        feed_forward_proj=kind,
    )
    theirs, tokenizer = T5ForConditionalGeneration(config).eval(), t5_tokenizer(tmp_path)
    randomize(theirs)
    theirs.generation_config.pad_token_id, texts = 0, ["the cat is here", "it", "a house and an é garden"]
    theirs.save_pretrained(tmp_path / "theirs")
    tokenizer.save_pretrained(tmp_path / "theirs")
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    expected = theirs.generate(**batch, max_new_tokens=12, do_sample=False, bad_words_ids=[[0]])[:, 1:]
    model, ours = load_pretrained(tmp_path / "theirs")
    assert save_pretrained(tmp_path / "again", model, ours) == "T5ForConditionalGeneration"
    options = SamplingOptions(temperature=0, max_new_tokens=12)
    for folder in ("theirs", "again"):
        model, ours = load_pretrained(tmp_path / folder)
        for text, result, ids in zip(texts, generate_from(model, ours, texts, options), expected.tolist(), strict=True):
            assert result.ids == [id for id in ids if id != 0]
            assert result.text == tokenizer.decode(ids, skip_special_tokens=True)
            source = [*ours.encode(text), ours.end_of_text]
            assert result.ids == generate_naive(model, [0], options, stop_ids=[1], source=source)
    again = T5ForConditionalGeneration.from_pretrained(tmp_path / "again")
    assert torch.equal(
        again.generate(**batch, max_new_tokens=12, do_sample=False, bad_words_ids=[[0]])[:, 1:], expected
    )


def test_a_t5_that_transformers_5_saved_without_its_output_layer_reads_the_embeddings_unscaled(tmp_path):
    """transformers 5 writes `scale_decoder_outputs` where 4 wrote `tie_word_embeddings`, and ties in both cases."""
    theirs = T5ForConditionalGeneration(T5Config(**T5 | {"vocab_size": 400}, tie_word_embeddings=False)).eval()
    randomize(theirs)
    t5_tokenizer(tmp_path).save_pretrained(tmp_path)
    theirs.lm_head.weight = theirs.shared.weight
    theirs.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    fields = json.loads(path.read_text()) | {"tie_word_embeddings": True, "scale_decoder_outputs": False}
    path.write_text(json.dumps(fields))
    tensors = load_file(tmp_path / "model.safetensors")
    save_file({name: t for name, t in tensors.items() if name != "lm_head.weight"}, tmp_path / "model.safetensors")
    model = load_pretrained(tmp_path)[0]
    source, target = torch.tensor([[3, 5, 2]]), torch.tensor([[0, 4]])
    with torch.no_grad():
        expected = theirs(input_ids=source, decoder_input_ids=target).logits
        torch.testing.assert_close(model(source, target), expected, rtol=1e-5, atol=1e-5)


def test_a_distilbert_fills_in_words(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "is", "here", "##s"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    torch.manual_seed(0)
    theirs = DistilBertForMaskedLM(DistilBertConfig(**DISTILBERT | {"vocab_size": 10})).eval()
    randomize(theirs)
    theirs.save_pretrained(tmp_path / "theirs")
    tokenizer = BertTokenizerFast(str(tmp_path / "vocab.txt"))
    tokenizer.save_pretrained(tmp_path / "theirs")
    inputs = tokenizer("The [MASK] is here", return_tensors="pt", return_token_type_ids=False)
    best = theirs(**inputs).logits[0, 2].softmax(-1).max(-1)
    messages = []
    model, ours = load_pretrained(tmp_path / "theirs", say=messages.append)
    assert save_pretrained(tmp_path / "again", model, ours) == "DistilBertForMaskedLM" and not messages
    model, ours = load_pretrained(tmp_path / "again", say=messages.append)
    [(word, probability), *_] = fill_masks(model, ours, "The [MASK] is here", 3)[0]
    assert word == words[best.indices] and probability == pytest.approx(best.values.item(), rel=1e-4)


@pytest.mark.parametrize("texts", [("the cats",), ("the cat", "is here")], ids=["one text", "two texts"])
def test_an_mpnet_reads_two_texts(texts, tmp_path):
    words = ["<s>", "<pad>", "</s>", "<unk>", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "is", "here",
             "##s", "<mask>"]  # fmt: skip
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    torch.manual_seed(0)
    theirs = MPNetModel(MPNetConfig(**MPNET | {"vocab_size": len(words)})).eval()
    randomize(theirs)
    theirs.save_pretrained(tmp_path / "theirs")
    tokenizer = MPNetTokenizerFast(str(tmp_path / "vocab.txt"))
    tokenizer.save_pretrained(tmp_path / "theirs")
    inputs = tokenizer(*texts, return_tensors="pt")
    model, ours = load_pretrained(tmp_path / "theirs")
    assert save_pretrained(tmp_path / "again", model, ours) == "MPNetModel"
    for folder in ("theirs", "again"):
        model, ours = load_pretrained(tmp_path / folder)
        ids = ours.build_inputs(*(ours.encode(text) for text in texts)).ids
        assert ids == inputs.input_ids[0].tolist() and (ours.pad_id, ours.end_of_text) == (1, 2)
        torch.testing.assert_close(model(torch.tensor([ids])), theirs(**inputs).last_hidden_state, **CLOSE)
        assert ours.encode("the [MASK] <mask>", allow_special=True) == [9, 14, 14]
    again = AutoTokenizer.from_pretrained(tmp_path / "again")
    assert torch.equal(again(*texts, return_tensors="pt").input_ids, inputs.input_ids)
