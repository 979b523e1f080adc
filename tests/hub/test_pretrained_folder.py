"""Damaged and malicious model files: pickles with code, false headers, indices with bad paths; full disks; saving."""

import json
import os
import struct

import pytest
import torch
import transformers
from disk_helpers import small_disk
from hub_helpers import published

from llmasos import hub
from llmasos.errors import UserError
from llmasos.hub.pretrained_folder import read_model
from llmasos.hub.weights import check_plain_name, read_weights
from llmasos.models import build_model, preset
from llmasos.tokenizers import train_tokenizer

WEIGHTS = "model.safetensors"


class Evil:
    """An object that runs a command when it is unpickled."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return os.system, (f"touch {self.witness}",)


@pytest.fixture
def folder(tmp_path):
    """The folder of a complete model."""
    published("gpt2").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def sharded(tmp_path):
    published("gpt2").save_pretrained(tmp_path / "model", max_shard_size="20KB")
    return tmp_path / "model"


def test_a_pickle_with_code_is_an_error_and_the_code_is_not_run(folder, tmp_path):
    (folder / WEIGHTS).unlink()
    torch.save({"wte.weight": Evil(tmp_path / "witness")}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="pytorch_model.bin is refused: it is a pickle that asks for more than tensors"):
        read_model(folder)
    assert not (tmp_path / "witness").exists()


LEGACY = {"_use_new_zipfile_serialization": False}  # the format before torch 1.6


def test_a_pickle_from_before_torch_1_6_is_read_and_its_code_is_not_run(folder, tmp_path):
    tensors = read_weights(folder)
    (folder / WEIGHTS).rename(tmp_path / WEIGHTS)
    file = folder / "pytorch_model.bin"
    torch.save({name: tensor.clone() for name, tensor in tensors.items()}, file, **LEGACY)
    old = read_weights(folder)
    assert old.keys() == tensors.keys() and all(torch.equal(old[name], tensors[name]) for name in old)
    content = file.read_bytes()
    for size in (1, 5, 14, 20, 100, 400, 1000, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:size])
        with pytest.raises(UserError, match="cannot be read .*: it is damaged"):
            read_weights(folder)
    torch.save({"wte.weight": Evil(tmp_path / "witness")}, file, **LEGACY)
    with pytest.raises(UserError, match="pytorch_model.bin is refused: it is a pickle that asks for more than tensors"):
        read_weights(folder)
    assert not (tmp_path / "witness").exists()


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 half a zip"], ids=str)
def test_a_damaged_pickle_has_a_clear_error(folder, content):
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(UserError, match="pytorch_model.bin (cannot be read|is refused)"):
        read_model(folder)


def test_a_pickle_of_something_else_has_a_clear_error(folder):
    (folder / WEIGHTS).unlink()
    torch.save([1, 2, 3], folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="does not hold named tensors alone"):
        read_model(folder)


def write_header(file, header: dict, data: bytes = b"") -> None:
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.mark.parametrize("header, data, words", [
    ({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, b"x" * 8, "its tensors need .* the file has"),
    ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
      "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}, b"x" * 12, "starts at byte 4 .*instead of 8"),
    ({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]}}, b"x" * 8, "needs .* its offsets span 8"),
    ({"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}, b"x" * 8, "expected a list of counts"),
    ({"a": {"dtype": "F4", "shape": [2], "data_offsets": [0, 8]}}, b"x" * 8, "unknown dtype 'F4'"),
], ids=["too short", "overlap", "absurd", "negative", "dtype"])  # fmt: skip
def test_a_false_header_is_detected(folder, header, data, words):
    write_header(folder / WEIGHTS, header, data)
    with pytest.raises(UserError, match=words):
        read_model(folder)


def test_an_incomplete_file_is_detected(folder):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="its tensors need .* bytes, the file has"):
        read_model(folder)


@pytest.mark.parametrize("name", ["../other.safetensors", "/etc/passwd", "a/../../b", "..\\b", "C:\\b", "~/b", ""])
def test_an_index_that_names_files_outside_its_folder_is_an_error(sharded, name):
    file = sharded / f"{WEIGHTS}.index.json"
    index = json.loads(file.read_text())
    index["weight_map"][next(iter(index["weight_map"]))] = name
    file.write_text(json.dumps(index))
    with pytest.raises(UserError, match="lies outside its folder"):
        read_weights(sharded)


def test_names_inside_the_folder_are_accepted():
    for name in ("model-00001-of-00002.safetensors", "onnx/model.bin", "a..b"):
        check_plain_name(name, "here")


def test_a_missing_shard_and_a_misplaced_tensor_are_errors(sharded):
    shards = sorted(sharded.glob("model-*.safetensors"))
    first = shards[0].read_bytes()
    shards[0].unlink()
    with pytest.raises(UserError, match=f"{shards[0].name} is missing, though model.safetensors.index.json names it"):
        read_weights(sharded)
    shards[0].write_bytes(shards[1].read_bytes())
    with pytest.raises(UserError, match="does not hold .*, which the index next to it lists"):
        read_weights(sharded)
    shards[0].write_bytes(first)
    read_weights(sharded)


@pytest.mark.parametrize("index", ["[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', "{"])
def test_a_damaged_index_has_a_clear_error(sharded, index):
    (sharded / f"{WEIGHTS}.index.json").write_text(index)
    with pytest.raises(UserError, match="index.json is (damaged|not valid JSON)"):
        read_weights(sharded)


def test_a_folder_without_config_or_weights_has_a_clear_error(folder):
    (folder / WEIGHTS).unlink()
    with pytest.raises(UserError, match="holds no weights: expected model.safetensors"):
        read_model(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(UserError, match="config.json is damaged: expected a JSON object"):
        read_model(folder)
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match="holds no model: no config.json in it"):
        read_model(folder)


# ── saving ──


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build_model(preset("gpt-laptop", vocab_size=257, n_layers=1))


TOKENIZER = train_tokenizer("bpe", ["the cat sat on the mat"], 257)


def test_a_tokenizer_of_another_model_is_detected(model, tmp_path):
    hub.save_pretrained(tmp_path / "m", model, TOKENIZER)
    hub.load_pretrained(tmp_path / "m")
    train_tokenizer("bpe", ["an other text", "an other text"], 260).save(tmp_path / "m")
    with pytest.raises(UserError, match=r"the tokenizer in .* \(260 ids\) does not belong to the model there"):
        hub.load_pretrained(tmp_path / "m")
    train_tokenizer("char", ["abc"]).save(tmp_path / "m")
    with pytest.raises(UserError, match="does not belong to the model there"):
        hub.load_pretrained(tmp_path / "m")


def test_saving_over_a_model_replaces_it_and_keeps_its_card(model, tmp_path):
    hub.save_pretrained(tmp_path / "m", model, TOKENIZER)
    (tmp_path / "m" / "README.md").write_text("my card")
    loaded, tokenizer = hub.load_pretrained(tmp_path / "m")
    with torch.no_grad():
        loaded.token_embedding.weight.add_(1.0)
    hub.save_pretrained(tmp_path / "m", loaded, tokenizer, max_shard_bytes=100_000)
    again, _ = hub.load_pretrained(tmp_path / "m")
    assert torch.equal(again.token_embedding.weight, loaded.token_embedding.weight)
    assert (tmp_path / "m" / "README.md").read_text() == "my card"
    assert not (tmp_path / "m" / WEIGHTS).exists(), "the one file has become several"


def test_other_files_are_never_lost(model, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files than a model's .notes.txt."):
        hub.save_pretrained(tmp_path / "m", model, TOKENIZER)
    assert [p.name for p in (tmp_path / "m").iterdir()] == ["notes.txt"]
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="in the way"):
        hub.save_pretrained(tmp_path / "file", model, TOKENIZER)


@pytest.mark.parametrize("name", ["mine.safetensors", "config.json", "vocab.json", "sub/notes.txt", WEIGHTS])
@pytest.mark.parametrize("over_ours", [False, True])
def test_only_a_model_that_we_saved_and_nobody_changed_is_replaced(model, tmp_path, name, over_ours):
    """A name like ours proves nothing."""
    if over_ours:
        hub.save_pretrained(tmp_path / "m", model, TOKENIZER)
    (tmp_path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "m" / name).write_bytes(b"mine")
    with pytest.raises(UserError, match="holds other files than a model's"):
        hub.save_pretrained(tmp_path / "m", model, TOKENIZER)
    assert (tmp_path / "m" / name).read_bytes() == b"mine"


@pytest.mark.parametrize(
    "name, how",
    [(WEIGHTS, "bit"), ("config.json", "bit"), ("tokenizer_config.json", "bit"), ("generation_config.json", "bit"),
     ("generation_config.json", "missing")],
)  # fmt: skip
def test_a_file_of_a_saved_model_that_has_changed_is_named(model, tmp_path, name, how):
    """A flipped bit of a weight gives other answers and no error."""
    hub.save_pretrained(tmp_path / "m", model, TOKENIZER)
    file, said = tmp_path / "m" / name, []
    hub.load_pretrained(tmp_path / "m", say=said.append)
    hub.load_backbone(model, tmp_path / "m", with_head=True)
    assert said == []
    data = file.read_bytes()
    if how == "missing":
        file.unlink()
    elif name == WEIGHTS:
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    else:
        file.write_text(json.dumps({**json.loads(data), "mine": 1}))
    hub.load_pretrained(tmp_path / "m", say=said.append)
    reason = "is missing" if how == "missing" else "is not as it was written"
    assert len(said) == 1 and f"{name} {reason}" in said[0] and "save the model again" in said[0]
    with pytest.warns(UserWarning, match=f"{name} {reason}"):
        hub.load_backbone(model, tmp_path / "m", with_head=True)


def test_a_model_that_transformers_has_saved_again_is_not_called_changed(tmp_path):
    gpt = build_model(preset("gpt2", n_layers=1, d_model=16, n_heads=2, vocab_size=TOKENIZER.vocab_size))
    hub.save_pretrained(tmp_path / "m", gpt, TOKENIZER)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "m")
    with torch.no_grad():
        theirs.transformer.ln_f.bias.add_(1.0)
    theirs.save_pretrained(tmp_path / "m")
    assert "sha256" in json.loads((tmp_path / "m" / "config.json").read_text()), "ours, which it keeps"
    said = []
    again, _ = hub.load_pretrained(tmp_path / "m", say=said.append)
    assert said == [] and again.final_norm.bias.min() > 0.5


def test_a_link_to_a_folder_is_followed(model, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for _ in range(2):
        hub.save_pretrained(tmp_path / "link", model, TOKENIZER)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / WEIGHTS).is_file()


def test_a_full_disk_leaves_the_old_model(model, tmp_path):
    small = build_model(preset("gpt-laptop", vocab_size=257, n_layers=1, d_model=16))
    hub.save_pretrained(tmp_path / "m", small, TOKENIZER)
    before = (tmp_path / "m" / WEIGHTS).read_bytes()
    with small_disk(), pytest.raises(UserError, match="could not write .*; what was there before is intact"):
        hub.save_pretrained(tmp_path / "m", model, TOKENIZER)
    assert (tmp_path / "m" / WEIGHTS).read_bytes() == before
    hub.load_pretrained(tmp_path / "m")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
