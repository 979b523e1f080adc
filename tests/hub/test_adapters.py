"""Adapters in files: peft opens ours, and we open peft's, with equal outputs, gradients and merged weights."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from hub_helpers import V, our_outputs, outputs, published
from model_helpers import random_ids

from llmasos.errors import UserError
from llmasos.hub import load_config, load_pretrained, save_pretrained
from llmasos.hub.adapter_names import to_published
from llmasos.hub.adapters import read_adapted
from llmasos.hub.pretrained_folder import published_format, read_model, write_model
from llmasos.models import GPT, ModelConfig
from llmasos.models.adapter import adapter_weights, add_adapter, lora_layers, merge_adapter, unload_adapter
from llmasos.models.adapter_files import AdapterFile, adapter_of
from llmasos.models.config import ADAPTER_CONFIG, ADAPTER_WEIGHTS, config_file
from llmasos.nn import is_quantized
from llmasos.storage import load_tensors, save_tensors
from llmasos.tokenizers import train_tokenizer

IDS = random_ids(3, 9, vocab_size=V)
REAL = torch.ones(3, 9, dtype=torch.bool)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
BASES = ("gpt2", "bert classifier", "llama", "qwen3", "bert pretraining", "marian", "gpt2 body",
         "gpt-neox", "gpt-neo", "t5", "gemma3")  # fmt: skip


def base(name: str, folder: Path) -> Path:
    """Save a random published model in a folder."""
    published(name).save_pretrained(folder / "base")
    return folder / "base"


def adapted(folder: Path, targets: str = "all", **more):
    """Open our model from that folder and add a random adapter without zeros."""
    model = add_adapter(read_model(folder), str(folder), rank=2, alpha=3.0, targets=targets, **more)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in adapter_weights(model).values():
            weight.normal_(std=0.3)
    return model


def written(model, folder: Path) -> Path:
    """Save the model's adapter with published names; returns its folder."""
    folder.mkdir()
    write_model(folder, model)
    return folder


@pytest.mark.parametrize("name", BASES)
def test_a_saved_adapter_is_opened_with_the_same_outputs(name, tmp_path):
    model = adapted(base(name, tmp_path))
    before = our_outputs(model, IDS, REAL)
    folder = written(model, tmp_path / "adapter")
    again = read_adapted(folder)
    torch.testing.assert_close(our_outputs(again, IDS, REAL), before, **CLOSE)
    assert not torch.allclose(our_outputs(unload_adapter(again), IDS, REAL), before, **CLOSE)
    names = [name for name in load_tensors(folder / ADAPTER_WEIGHTS) if ".lora_A." in name]
    assert not any("blocks" in name for name in names), "a published model's adapter has published names"


@pytest.mark.parametrize("name", BASES)
def test_merged_weights_compute_the_same_and_open_as_a_whole_model(name, tmp_path):
    folder = base(name, tmp_path)
    model = adapted(folder)
    before = our_outputs(model, IDS, REAL)
    merge_adapter(model)
    assert not lora_layers(model) and model.adapter is None and all(p.requires_grad for p in model.parameters())
    close = {"rtol": 1e-4, "atol": 2e-4} if name == "gemma3" else CLOSE  # norms after sublayers enlarge the rounding
    torch.testing.assert_close(our_outputs(model, IDS, REAL), before, **close)
    (tmp_path / "whole").mkdir()
    write_model(tmp_path / "whole", model)
    torch.testing.assert_close(our_outputs(read_model(tmp_path / "whole"), IDS, REAL), before, **close)


@pytest.mark.parametrize("targets", ["q_proj,v_proj", "attention", "feed-forward", "blocks.1.attention.k_proj"])
def test_any_choice_of_gpt2s_fused_layers_survives_the_file(targets, tmp_path):
    model = adapted(base("gpt2", tmp_path), targets)
    before = our_outputs(model, IDS, REAL)
    folder = written(model, tmp_path / "adapter")
    again = read_adapted(folder)
    torch.testing.assert_close(our_outputs(again, IDS, REAL), before, **CLOSE)
    twice = written(again, tmp_path / "twice")  # three layers that share an A are one adapter again
    assert (folder / ADAPTER_CONFIG).read_text() == (twice / ADAPTER_CONFIG).read_text()
    for key, tensor in load_tensors(folder / ADAPTER_WEIGHTS).items():
        torch.testing.assert_close(load_tensors(twice / ADAPTER_WEIGHTS)[key], tensor)


def gradients_of(adapter: AdapterFile) -> AdapterFile:
    """An adapter with its gradients in place of its weights."""
    layers = {name: factors._replace(A=factors.A.grad, B=factors.B.grad) for name, factors in adapter.layers.items()}
    return dataclasses.replace(adapter, layers=layers, new={name: tensor.grad for name, tensor in adapter.new.items()})


PEFT_BASES = ("gpt2", "bert classifier", "llama", "gpt-neox")


@pytest.mark.parametrize("name", PEFT_BASES)
def test_peft_opens_ours_with_equal_outputs_gradients_and_merged_weights(name, tmp_path):
    peft = pytest.importorskip("peft", reason="peft, the oracle of the adapter format, is not installed")
    new = {"new": ("head",)} if "classifier" in name else {}
    model = adapted(base(name, tmp_path), **new)
    folder = written(model, tmp_path / "adapter")
    theirs = peft.PeftModel.from_pretrained(published(name), folder, is_trainable=True).eval()
    torch.testing.assert_close(our_outputs(model, IDS, REAL), outputs(theirs, IDS, REAL), **CLOSE)

    weights = torch.randn(our_outputs(model, IDS, REAL).shape, generator=torch.Generator().manual_seed(2))
    for out in (model(IDS, REAL), theirs(input_ids=IDS, attention_mask=REAL.long()).logits):
        (out * weights).sum().backward()
    gradients = {n: p.grad for n, p in theirs.named_parameters() if p.requires_grad}
    ours = to_published(gradients_of(adapter_of(model)), published_format(model.config)[0], model, model.config)
    assert len(ours.layers) * 2 + len(ours.new) == len(gradients)
    for layer, factors in ours.layers.items():
        A, B = (gradients[f"base_model.model.{layer}.lora_{key}.default.weight"] for key in "AB")
        torch.testing.assert_close(factors.A, A, rtol=1e-4, atol=1e-5 * max(1.0, float(A.abs().max())))
        B = B.where(factors.B != 0, 0.0)  # gpt2's three B have zeros between them, which peft would train
        torch.testing.assert_close(factors.B, B, rtol=1e-4, atol=1e-5 * max(1.0, float(B.abs().max())))

    merged = theirs.merge_and_unload()
    (tmp_path / "whole").mkdir()
    write_model(tmp_path / "whole", merge_adapter(model))
    merged.save_pretrained(tmp_path / "merged")
    reference = load_tensors(tmp_path / "merged" / "model.safetensors")
    for key, tensor in load_tensors(tmp_path / "whole" / "model.safetensors").items():
        torch.testing.assert_close(tensor, reference[key], **CLOSE)


@pytest.mark.parametrize("name", [*PEFT_BASES, "gpt-neo"])
@pytest.mark.parametrize("options", [{}, {"use_rslora": True, "rank_pattern": {"1.*": 3}, "alpha_pattern": {"1.*": 5}}])
def test_we_open_what_peft_saves(name, options, tmp_path):
    peft = pytest.importorskip("peft", reason="peft, the oracle of the adapter format, is not installed")
    folder = base(name, tmp_path)
    task = "SEQ_CLS" if name == "bert classifier" else "CAUSAL_LM"
    config = peft.LoraConfig(r=2, lora_alpha=7, target_modules="all-linear", task_type=task, **options)
    theirs = peft.get_peft_model(type(published(name)).from_pretrained(folder), config)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in (p for p in theirs.parameters() if p.requires_grad):
            parameter.normal_(std=0.3)
    theirs.eval().save_pretrained(tmp_path / "theirs")
    ours = read_adapted(tmp_path / "theirs")
    torch.testing.assert_close(our_outputs(ours, IDS, REAL), outputs(theirs, IDS, REAL), **CLOSE)


def test_transformers_opens_ours_through_peft(tmp_path):
    pytest.importorskip("peft", reason="peft, the oracle of the adapter format, is not installed")
    from transformers import AutoModelForCausalLM

    folder = base("llama", tmp_path)
    model = adapted(folder)
    adapter = written(model, tmp_path / "adapter")
    theirs = AutoModelForCausalLM.from_pretrained(adapter).eval()  # of a folder with a config.json 5 opens no adapter
    torch.testing.assert_close(our_outputs(model, IDS, REAL), outputs(theirs, IDS, REAL), **CLOSE)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with one of our models, and an adapter for it."""
    folder = tmp_path_factory.mktemp("adapters")
    tokenizer = train_tokenizer("bpe", ["the little foxes ran over the hill"] * 9, 270)
    torch.manual_seed(0)
    config = ModelConfig(vocab_size=tokenizer.vocab_size, context_length=16, n_layers=2, n_heads=2, d_model=16)
    save_pretrained(folder / "base", GPT(config), tokenizer)
    other = GPT(config)
    save_pretrained(folder / "other", other, tokenizer)
    model, tokenizer = load_pretrained(folder / "base")
    add_adapter(model, str(folder / "base"), rank=2)
    with torch.no_grad():
        for weight in adapter_weights(model).values():
            weight.normal_(std=0.3)
    save_pretrained(folder / "adapter", model, tokenizer)
    return folder


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.arange(12)[None])


def test_an_adapter_finds_its_base_and_can_be_given_it(place):
    model, tokenizer = load_pretrained(place / "adapter", merge=False)
    assert model.adapter.base == str(place / "base") and lora_layers(model)
    for again in (load_pretrained(place / "adapter"), load_pretrained(place / "base", adapter=place / "adapter")):
        assert (
            again[0].adapter is None and not lora_layers(again[0]) and again[1].encode("fox") == tokenizer.encode("fox")
        )
        torch.testing.assert_close(logits(again[0]), logits(model), **CLOSE)
    assert not torch.allclose(logits(load_pretrained(place / "base")[0]), logits(model), **CLOSE)
    assert load_config(place / "adapter") == model.config
    quantized = load_pretrained(place / "adapter", quantize="int8")[0]
    assert is_quantized(quantized) and (logits(quantized) - logits(model)).abs().max() < 0.2


def test_an_adapter_of_other_weights_names_or_shapes_is_refused(place, tmp_path):
    with pytest.raises(UserError, match="not the weights that it was trained on"):
        load_pretrained(place / "other", adapter=place / "adapter")
    with pytest.raises(UserError, match="is a whole model, not an adapter"):
        load_pretrained(place / "base", adapter=place / "other")
    with pytest.raises(UserError, match="is itself an adapter"):
        load_pretrained(place / "adapter", adapter=place / "adapter")
    with pytest.raises(UserError, match="is an adapter of .*base, and storyworld-gpt has other sizes"):
        load_pretrained("storyworld-gpt", adapter=place / "adapter")
    small = written(adapted(base("gpt2", tmp_path)), tmp_path / "adapter")
    config_file(small).unlink()  # as peft's have none
    with pytest.raises(UserError, match="transformer.h.0.attn.c_attn with 96 outputs.*another model"):
        read_adapted(small, place / "base")
    llama = written(adapted(base("llama", tmp_path / "2")), tmp_path / "llama")
    config_file(llama).unlink()
    with pytest.raises(UserError, match="another model"):
        read_adapted(llama, place / "base")


def test_a_missing_base_and_a_damaged_adapter_are_named(place, tmp_path):
    folder = shutil.copytree(place / "adapter", tmp_path / "adapter")
    fields = json.loads((folder / ADAPTER_CONFIG).read_text())
    (folder / ADAPTER_CONFIG).write_text(json.dumps(fields | {"base_model_name_or_path": "nowhere/at-all"}))
    with pytest.raises(UserError, match="adapter of the model 'nowhere/at-all', which cannot be opened.*--adapter"):
        load_pretrained(folder)
    torch.testing.assert_close(
        logits(load_pretrained(place / "base", adapter=folder)[0]), logits(load_pretrained(place / "adapter")[0])
    )
    tensors = load_tensors(folder / ADAPTER_WEIGHTS)
    tensors.pop(next(name for name in tensors if ".lora_B." in name))
    save_tensors(tmp_path / "new.safetensors", tensors)
    shutil.move(tmp_path / "new.safetensors", folder / ADAPTER_WEIGHTS)
    with pytest.raises(UserError, match="is damaged: the two matrices of .* do not fit each other"):
        load_pretrained(place / "base", adapter=folder)


@pytest.mark.parametrize(
    "field, value",
    [("use_dora", True), ("peft_type", "IA3"), ("bias", "all"), ("init_lora_weights", "pissa"), ("r", "two"),
     ("trainable_token_indices", [1]), ("lora_alpha", None)],
)  # fmt: skip
def test_other_types_of_adapters_are_refused_by_name(place, tmp_path, field, value):
    folder = shutil.copytree(place / "adapter", tmp_path / "adapter")
    fields = json.loads((folder / ADAPTER_CONFIG).read_text())
    (folder / ADAPTER_CONFIG).write_text(json.dumps(fields | {field: value}))
    with pytest.raises(UserError, match=f"{field} = |is damaged"):
        load_pretrained(folder)
