"""A model on disk: loading restores it exactly, and a mismatch is reported in one sentence."""

import json
import subprocess
import sys

import pytest
import torch
from model_helpers import VARIANTS, random_gpt, random_ids

from llmasos.errors import UserError
from llmasos.models import GPT, build_model, load_model, save_model


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_model_read_back_gives_the_same_logits(variant, tmp_path):
    model = random_gpt(**VARIANTS[variant]).float()
    save_model(tmp_path, model)
    again = load_model(tmp_path)
    assert type(again) is GPT and again.config == model.config and not again.training
    ids = random_ids(2, 9)
    assert torch.equal(again(ids), model(ids))
    assert (again.lm_head.weight is again.token_embedding.weight) == model.config.tie_embeddings


def test_a_model_read_back_can_be_trained(tmp_path):
    save_model(tmp_path, random_gpt().float())
    model = load_model(tmp_path)
    model(random_ids(1, 4)).sum().backward()
    assert all(p.requires_grad and p.grad is not None for p in model.parameters())


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="no config.json"):
        load_model(tmp_path)
    with pytest.raises(UserError, match="nowhere"):
        load_model(tmp_path / "nowhere")


def test_weights_of_another_config_are_refused_and_the_first_difference_named(tmp_path):
    save_model(tmp_path, random_gpt().float())
    for changes, words in [
        ({"n_layers": 3}, r"blocks\.2.*does not have it"),
        ({"n_layers": 1}, r"blocks\.1.*no such tensor"),
        ({"vocab_size": 30}, r"token_embedding.*\(29, 16\).*\(30, 16\)"),
    ]:
        config = {**random_gpt().config.to_dict(), **changes}
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(UserError, match=words):
            load_model(tmp_path)


def test_missing_weights_are_refused(tmp_path):
    save_model(tmp_path, random_gpt().float())
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match="model.safetensors"):
        load_model(tmp_path)


def test_the_family_of_the_config_decides_what_is_built():
    assert type(build_model(random_gpt().config)) is GPT


def test_building_a_model_whose_weights_come_from_a_file_does_not_import_the_compiler():
    """In a new process, because another test may have imported it, which cannot be undone."""
    program = """
import sys
from llmasos.models import ModelConfig
from llmasos.models.serialization import build_on_meta
sizes = {"vocab_size": 64, "context_length": 16, "n_layers": 1, "n_heads": 2, "d_model": 32, "d_ff": 64}
for config in (
    ModelConfig(family="gpt", **sizes),
    ModelConfig(family="gpt", positions="rotary", norm="rmsnorm", **sizes),
    ModelConfig(family="bert", **sizes),
    ModelConfig(family="bert", head="classifier", labels=("good", "bad"), **sizes),
    ModelConfig(family="transformer", positions="sinusoidal", **sizes),
):
    assert all(weight.is_meta for weight in build_on_meta(config, n_stored=10**6).parameters()), config
    assert "torch._dynamo" not in sys.modules, config
"""
    subprocess.run([sys.executable, "-c", program], check=True)
