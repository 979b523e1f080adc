"""A deepened model computes the same, and its new block learns."""

import pytest
import torch

from llmasos.errors import UserError
from llmasos.hub import load_pretrained, save_pretrained
from llmasos.models import Model, ModelConfig, build_model, preset
from llmasos.tokenizers import ByteTokenizer
from llmasos.tools.deepen import deepen, main

SIZES = {"context_length": 32, "n_layers": 3, "n_heads": 2, "d_model": 16}
CONFIGS = {
    "GPT-2": ModelConfig(vocab_size=50, **SIZES),
    "Qwen3": preset("qwen3-laptop", vocab_size=50, **{**SIZES, "n_kv_heads": 1, "head_size": 8, "d_ff": 24}),
    "modern": preset("modern-laptop", vocab_size=50, **{**SIZES, "n_kv_heads": 2, "head_size": 8, "d_ff": 24}),
}
IDS = torch.arange(48).view(2, 24)


def trained(config: ModelConfig, seed: int = 0) -> Model:
    """A model in which no weight is zero, as after training."""
    torch.manual_seed(seed)
    model = build_model(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    return model


@pytest.mark.parametrize("name", CONFIGS)
def test_a_deeper_model_computes_the_same_and_its_new_block_learns(name):
    model = trained(CONFIGS[name])
    deeper = deepen(model)
    assert (deeper.config.n_layers, deeper.config.tie_embeddings, len(deeper.blocks)) == (4, False, 4)
    assert deeper.lm_head.weight is not deeper.token_embedding.weight
    with torch.no_grad():
        torch.testing.assert_close(deeper(IDS), model(IDS))
    optimizer = torch.optim.SGD(deeper.parameters(), lr=0.1)
    for step in range(2):
        optimizer.zero_grad()
        deeper(IDS).logsumexp(dim=2).mean().backward()
        optimizer.step()
        block = deeper.blocks[2]
        assert block.attention.out_proj.weight.grad.any() and block.feed_forward.down_proj.weight.grad.any()
        assert bool(block.attention.q_proj.weight.grad.any()) is (step == 1)
    assert torch.equal(model(IDS), trained(CONFIGS[name])(IDS)), "the old model is as it was"


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(vocab_size=50, family="bert", **SIZES),
        ModelConfig(vocab_size=50, norm_position="post", **SIZES),
        ModelConfig(vocab_size=50, n_experts=2, activation="swiglu", **SIZES),
    ],
)
def test_other_models_are_refused(config):
    with pytest.raises(UserError, match="only a gpt with pre-norm blocks"):
        deepen(build_model(config))


def test_the_command(tmp_path, capsys):
    tokenizer = ByteTokenizer()
    model = trained(ModelConfig(vocab_size=tokenizer.vocab_size, **SIZES))
    save_pretrained(tmp_path / "old", model, tokenizer)
    main([str(tmp_path / "old"), str(tmp_path / "deeper")])
    out = capsys.readouterr().out
    assert "4 blocks" in out and float(out.split()[-1]) < 1e-5
    deeper, again = load_pretrained(tmp_path / "deeper")
    assert again.fingerprint() == tokenizer.fingerprint()
    with torch.no_grad():
        torch.testing.assert_close(deeper(IDS), model(IDS))
