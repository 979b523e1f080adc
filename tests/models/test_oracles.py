"""GPT equals GPT-2 and Llama: the same logits and gradients as transformers' models with the same random weights."""

import pytest
import torch
from model_helpers import assert_all_close, random_gpt, random_ids
from oracle_helpers import gpt2_weights
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

IDS = random_ids(3, 11)
REAL = torch.ones(3, 11, dtype=torch.bool)
REAL[1, 7:] = False
LEFT_REAL = REAL.flip(1)


def llama_weights(model):
    """transformers' name → our tensor."""
    weights = {"model.embed_tokens.weight": model.token_embedding.weight, "model.norm.weight": model.final_norm.weight}
    if not model.config.tie_embeddings:
        weights["lm_head.weight"] = model.lm_head.weight
    for i, block in enumerate(model.blocks):
        a, f = block.attention, block.feed_forward
        names = {
            "self_attn.q_proj": a.q_proj,
            "self_attn.k_proj": a.k_proj,
            "self_attn.v_proj": a.v_proj,
            "self_attn.o_proj": a.out_proj,
            "mlp.gate_proj": f.gate_proj,
            "mlp.up_proj": f.up_proj,
            "mlp.down_proj": f.down_proj,
            "input_layernorm": block.attention_residual.norm,
            "post_attention_layernorm": block.feed_forward_residual.norm,
        }
        weights |= {f"model.layers.{i}.{name}.weight": layer.weight for name, layer in names.items()}
    return weights


def gpt2_pair(fused):
    ours = random_gpt(n_layers=3, norm_eps=0.01, fused=fused)
    oracle = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=29,
            n_positions=16,
            n_embd=16,
            n_layer=3,
            n_head=4,
            layer_norm_epsilon=0.01,
            activation_function="gelu_new",
            attn_implementation="eager",
        )
    )
    return ours, oracle, gpt2_weights(ours)


def llama_pair(fused, tie_embeddings):
    ours = random_gpt(
        n_layers=3,
        positions="rotary",
        norm="rmsnorm",
        activation="swiglu",
        bias=False,
        n_kv_heads=2,
        d_ff=40,
        norm_eps=0.01,
        rope_theta=500.0,
        tie_embeddings=tie_embeddings,
        fused=fused,
    )
    oracle = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=29,
            hidden_size=16,
            intermediate_size=40,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=16,
            rms_norm_eps=0.01,
            rope_theta=500.0,
            tie_word_embeddings=tie_embeddings,
            attn_implementation="eager",
        )
    )
    return ours, oracle, llama_weights(ours)


PAIRS = {
    "gpt2 fused": lambda: gpt2_pair(True),
    "gpt2 explicit": lambda: gpt2_pair(False),
    "llama fused": lambda: llama_pair(True, False),
    "llama explicit": lambda: llama_pair(False, False),
    "llama tied": lambda: llama_pair(True, True),
}


@pytest.fixture(params=PAIRS)
def pair(request):
    ours, oracle, weights = PAIRS[request.param]()
    oracle = oracle.double().eval()
    theirs = dict(oracle.named_parameters())
    assert set(weights) == set(theirs)  # every parameter of the oracle has its counterpart
    with torch.no_grad():
        for name, value in weights.items():
            theirs[name].copy_(value)
    # transformers' Llama computes norms and softmax in float32 even when the model is float64
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if "llama" in request.param else {"rtol": 1e-10, "atol": 1e-10}
    return ours, oracle, weights, theirs, tolerance


def test_logits_equal(pair):
    ours, oracle, _, _, tolerance = pair
    torch.testing.assert_close(ours(IDS), oracle(IDS).logits, **tolerance)


@pytest.mark.parametrize("attention_mask", [REAL, LEFT_REAL], ids=["right padded", "left padded"])
def test_logits_of_real_tokens_equal_with_padding(pair, attention_mask):
    ours, oracle = pair[0].float(), pair[1].float()  # in float64 their Llama returns NaN for left padding
    positions = (attention_mask.long().cumsum(1) - 1).clamp(min=0)
    expected = oracle(IDS, attention_mask=attention_mask.long(), position_ids=positions).logits
    torch.testing.assert_close(
        ours(IDS, attention_mask)[attention_mask], expected[attention_mask], rtol=1e-5, atol=1e-5
    )


def test_gradients_equal(pair):
    ours, oracle, weights, theirs, tolerance = pair
    targets = random_ids(3, 11, seed=1)
    losses = [F.cross_entropy(logits.flatten(0, 1), targets.flatten()) for logits in (ours(IDS), oracle(IDS).logits)]
    torch.testing.assert_close(*losses, **tolerance)
    names = list(weights)
    expected = torch.autograd.grad(losses[1], [theirs[name] for name in names])
    # our gradients, laid out as the oracle's tensors are: differentiate through the very mapping
    losses[0].backward()
    assert all(p.grad.any() for p in ours.parameters() if p is not ours.blocks[0].attention.k_proj.bias)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.copy_(parameter.grad)
    remap = gpt2_weights if "transformer.wte.weight" in weights else llama_weights
    assert_all_close([remap(ours)[name] for name in names], expected, **tolerance)


def test_float32_logits_are_within_one_hundred_thousandth(pair):
    ours, oracle, _, _, _ = pair
    torch.testing.assert_close(ours.float()(IDS), oracle.float()(IDS).logits, rtol=1e-5, atol=1e-5)
