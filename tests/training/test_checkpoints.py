"""Checkpoints: complete or absent, checked when read, and the last good one is never lost."""

import json
import shutil

import pytest
import torch
from training_helpers import tiny_model, tiny_settings, tiny_trainer, weights

from llmasos.errors import UserError
from llmasos.models import load_model
from llmasos.training.checkpoints import (
    all_checkpoints,
    best_checkpoint,
    checkpoint_step,
    find_corruption,
    model_folder,
)


@pytest.fixture
def run(tmp_path):
    """A finished run with checkpoints at steps 9 and 12 (and an invented, worse best one at 3)."""
    tiny_trainer(tmp_path / "run", settings=tiny_settings(eval_interval=3)).train()
    return tmp_path / "run"


def test_the_newest_two_and_the_best_are_kept(tmp_path):
    trainer = tiny_trainer(tmp_path)
    for step, loss in [(1, 5.0), (2, 1.0), (3, 2.0), (4, 3.0), (5, 4.0)]:
        trainer.state.step = step
        if trainer.state.best_loss is None or loss < trainer.state.best_loss:
            trainer.state.best_step, trainer.state.best_loss = step, loss
        trainer.save()
    assert [checkpoint_step(path) for path in all_checkpoints(tmp_path)] == [2, 4, 5]
    assert checkpoint_step(best_checkpoint(tmp_path)) == 2


def test_a_checkpoint_is_a_model_folder(run):
    model = load_model(model_folder(run))
    trainer = tiny_trainer(run)
    trainer.resume()
    for name, tensor in weights(model).items():
        assert torch.equal(tensor, weights(trainer.model)[name])
    assert model_folder(all_checkpoints(run)[-1]) == all_checkpoints(run)[-1]


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "config.json", "state.json"])
@pytest.mark.parametrize("how", ["truncated", "flipped", "missing"])
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_it_serves(run, name, how):
    newest = all_checkpoints(run)[-1]
    path = newest / name
    data = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    else:
        data[len(data) // 2] ^= 0x10
        path.write_bytes(data)
    said = []
    trainer = tiny_trainer(run, say=said.append)
    trainer.resume()
    assert trainer.state.step == 9 and newest.exists()
    assert any(str(newest) in line and "damaged" in line for line in said)


def test_no_flipped_bit_of_the_state_goes_unnoticed(run):
    path = all_checkpoints(run)[-1] / "state.json"
    data = path.read_bytes()
    for i, byte in enumerate(data):
        path.write_bytes(data[:i] + bytes([byte ^ 0x01]) + data[i + 1 :])
        unnoticed = find_corruption(path.parent) is None
        assert not unnoticed or data[i : i + 1].isspace(), f"byte {i}: {data[max(0, i - 20) : i + 20]!r}"


def test_when_every_checkpoint_is_damaged_nothing_is_guessed(run):
    for path in all_checkpoints(run):
        (path / "model.safetensors").write_bytes(b"")
    trainer = tiny_trainer(run)
    with pytest.raises(UserError, match="no usable checkpoint"):
        trainer.resume()


def test_the_weights_of_another_config_are_refused_by_name(run):
    other = tiny_trainer(run, tiny_model(d_model=32))
    with pytest.raises(UserError, match="does not fit.*shape|does not fit.*has \\(") as error:
        other.resume()
    assert "(11, 16)" in str(error.value) or "weight" in str(error.value)


def test_a_full_disk_leaves_the_earlier_checkpoints_and_says_so(run, monkeypatch):
    def full(path, tensors, metadata=None):
        raise OSError(28, "No space left on device", str(path))

    trainer = tiny_trainer(run)
    trainer.resume()
    before = {path: sorted(p.name for p in path.iterdir()) for path in all_checkpoints(run)}
    trainer.state.step = 99
    monkeypatch.setattr("llmasos.storage.save_tensors", full)
    with pytest.raises(UserError, match="disk is full"):
        trainer.save()
    assert {path: sorted(p.name for p in path.iterdir()) for path in all_checkpoints(run)} == before
    assert not [path for path in (run / "checkpoints").iterdir() if "tmp" in path.name], "no rubbish stays"


def test_names_that_are_no_model_get_a_sentence(tmp_path, run):
    with pytest.raises(UserError, match="there is no folder"):
        model_folder(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="neither a run nor a model"):
        model_folder(tmp_path / "empty")
    shutil.rmtree(run / "checkpoints")
    (run / "recipe.json").write_text(json.dumps({}))
    with pytest.raises(UserError, match="no usable checkpoint"):
        model_folder(run)
