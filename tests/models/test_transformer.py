"""The Transformer: equal to MarianMT (post-norm) and torch.nn.Transformer (pre-norm); causality, padding, the cache."""

import math

import pytest
import torch
from model_helpers import assert_gradients_equal, random_ids, randomize, set_parameters
from oracle_helpers import marian_weights
from torch import nn
from torch.nn import functional as F
from transformers import MarianConfig, MarianMTModel

from llmasos.errors import UserError
from llmasos.models import ModelConfig, Transformer, load_model, save_model
from llmasos.nn import causal_mask

SMALL = {
    "family": "transformer",
    "vocab_size": 29,
    "context_length": 16,
    "n_layers": 3,
    "n_decoder_layers": 2,
    "n_heads": 4,
    "d_model": 16,
    "positions": "sinusoidal",
}
VARIANTS = {
    "original": {"norm_position": "post", "activation": "relu"},
    "explicit": {"norm_position": "post", "activation": "gelu", "fused": False},
    "pre-norm": {"norm_position": "pre", "activation": "gelu"},
    "modern": {
        "positions": "learned",
        "norm": "rmsnorm",
        "activation": "swiglu",
        "bias": False,
        "n_kv_heads": 2,
        "tie_embeddings": False,
    },
    "t5": {
        "positions": "none", "relative_attention_num_buckets": 8, "relative_attention_max_distance": 12,
        "norm": "rmsnorm", "bias": False, "attention_scale": 1.0, "scale_embeddings": False, "activation": "reglu",
    },
}  # fmt: skip
EXACT = {"rtol": 1e-10, "atol": 1e-10}
SOURCE, TARGET = random_ids(3, 9, vocab_size=28), random_ids(3, 7, vocab_size=28, seed=1)  # 28 is the padding token
REAL = torch.arange(9) < torch.tensor([[9], [5], [1]])


def random_transformer(**fields) -> Transformer:
    """A very small Transformer in float64 and in eval mode, all of whose parameters are random."""
    return randomize(Transformer(ModelConfig(**{**SMALL, **fields})).double()).eval()


@pytest.fixture(params=VARIANTS)
def model(request):
    return random_transformer(**VARIANTS[request.param])


# ── oracles ──


@pytest.fixture(params=["original", "explicit"])
def marian_pair(request):
    ours = random_transformer(**VARIANTS[request.param])
    oracle = (
        MarianMTModel(
            MarianConfig(
                vocab_size=29,
                d_model=16,
                encoder_layers=3,
                decoder_layers=2,
                encoder_attention_heads=4,
                decoder_attention_heads=4,
                encoder_ffn_dim=64,
                decoder_ffn_dim=64,
                max_position_embeddings=16,
                activation_function=ours.config.activation,
                scale_embedding=True,
                share_encoder_decoder_embeddings=True,
                pad_token_id=28,
                decoder_start_token_id=28,
                attn_implementation="eager",
            )
        )
        .double()
        .eval()
    )
    set_parameters(oracle, marian_weights(ours))
    theirs = oracle.model.encoder.embed_positions.weight  # first all sines, then all cosines; ours alternate
    table = ours.position_embedding.table
    torch.testing.assert_close(torch.cat((table[:, 0::2], table[:, 1::2]), dim=1), theirs, rtol=1e-6, atol=1e-6)
    ours.position_embedding.table = theirs.detach().clone()
    ours.position_embedding.tables = lambda: {"table": theirs}  # also when it becomes float32
    return ours, oracle


def both_logits(ours, oracle):
    """Our logits and theirs; the second sentence has 4 tokens of padding, the third 8."""
    theirs = oracle(input_ids=SOURCE, attention_mask=REAL.long(), decoder_input_ids=TARGET)
    return ours(SOURCE, TARGET, REAL), theirs.logits


def test_logits_equal_those_of_marian(marian_pair):
    torch.testing.assert_close(*both_logits(*marian_pair), **EXACT)


def test_float32_logits_are_within_one_hundred_thousandth_of_marian(marian_pair):
    torch.testing.assert_close(*both_logits(*(model.float() for model in marian_pair)), rtol=1e-5, atol=1e-5)


def test_gradients_equal_those_of_marian(marian_pair):
    targets = random_ids(3, 7, vocab_size=28, seed=2).flatten()
    losses = [F.cross_entropy(logits.flatten(0, 1), targets) for logits in both_logits(*marian_pair)]
    assert_gradients_equal(marian_pair[0], losses[0], marian_pair[1], losses[1], marian_weights, **EXACT)


def torch_weights(model):
    """torch.nn.Transformer's name → our tensor."""
    norms = {"encoder.norm": model.encoder_norm, "decoder.norm": model.final_norm}
    weights = {f"{name}.{part}": p for name, norm in norms.items() for part, p in norm.named_parameters()}
    for side, blocks in (("encoder", model.encoder_blocks), ("decoder", model.decoder_blocks)):
        for i, block in enumerate(blocks):
            attentions = {"self_attn": block.attention}
            if side == "decoder":
                attentions["multihead_attn"] = block.cross_attention
            residuals = [child for name, child in block.named_children() if name.endswith("residual")]  # in their order
            layers = {f"norm{n}": residual.norm for n, residual in enumerate(residuals, start=1)}
            layers |= {"linear1": block.feed_forward.up_proj, "linear2": block.feed_forward.down_proj}
            for name, a in attentions.items():
                layers[f"{name}.out_proj"] = a.out_proj
                for part in ("weight", "bias"):
                    joined = torch.cat([getattr(p, part) for p in (a.q_proj, a.k_proj, a.v_proj)])
                    weights[f"{side}.layers.{i}.{name}.in_proj_{part}"] = joined
            for name, layer in layers.items():
                weights |= {f"{side}.layers.{i}.{name}.{part}": p for part, p in layer.named_parameters()}
    return weights


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_the_pre_norm_stacks_equal_torchs_in_values_and_gradients():
    ours = random_transformer(**VARIANTS["pre-norm"])
    oracle = (
        nn.Transformer(
            16, 4, 3, 2, dim_feedforward=64, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        .double()
        .eval()
    )
    set_parameters(oracle, torch_weights(ours))
    source, target = (ours.embed(ids, torch.arange(16)[None, : ids.size(1)]).detach() for ids in (SOURCE, TARGET))
    expected = (
        oracle(source, target, tgt_mask=~causal_mask(7), src_key_padding_mask=~REAL, memory_key_padding_mask=~REAL)
        @ ours.lm_head.weight.T.detach()
    )
    actual = ours(SOURCE, TARGET, REAL)
    torch.testing.assert_close(actual, expected, **EXACT)
    assert_gradients_equal(ours, actual.square().mean(), oracle, expected.square().mean(), torch_weights, **EXACT)


# ── properties ──


def test_a_later_target_token_changes_no_earlier_output_and_every_earlier_one_matters(model):
    before = model(SOURCE, TARGET)
    for t in range(7):
        changed = TARGET.clone()
        changed[:, t] = (TARGET[:, t] + 1) % 28
        difference = (model(SOURCE, changed) - before).abs().amax(dim=-1)  # (3, 7)
        assert (difference[:, :t] < 1e-12).all() and (difference[:, t:] > 1e-7).all()


def test_every_source_token_reaches_every_output(model):
    before = model(SOURCE, TARGET)
    for s in range(9):
        changed = SOURCE.clone()
        changed[:, s] = (SOURCE[:, s] + 1) % 28
        assert ((model(changed, TARGET) - before).abs().amax(dim=-1) > 1e-9).all()


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_source_equals_the_source_alone(model, side):
    """Neither the content of the padding nor the rest of the batch matters."""
    source, attention_mask = (x if side == "right" else x.flip(1) for x in (SOURCE, REAL))
    for filler in (28, 5):
        logits = model(source.masked_fill(~attention_mask, filler), TARGET, attention_mask)
        for row in range(3):
            alone = model(source[row][attention_mask[row]][None], TARGET[row][None])
            torch.testing.assert_close(logits[row], alone[0], **EXACT)


# ── the cache ──


@torch.no_grad()
@pytest.mark.parametrize("chunks", [[7], [1] * 7, [3, 1, 3]])
def test_writing_with_a_cache_equals_the_full_forward(model, chunks):
    for rows, attention_mask in (
        (slice(0, 3), REAL),
        (slice(0, 3), None),
        (slice(1, 2), REAL),
    ):  # one row: see `matvec`
        source, target, attention_mask = (
            SOURCE[rows],
            TARGET[rows],
            None if attention_mask is None else attention_mask[rows],
        )
        cache, start, logits = model.prefill(source, attention_mask, length=7), 0, []
        for size in chunks:
            positions = torch.arange(start, start + size).expand(len(source), size)
            logits.append(model.lm_head(model.decode(target[:, start : start + size], positions, cache)))
            start += size
        torch.testing.assert_close(torch.cat(logits, dim=1), model(source, target, attention_mask), **EXACT)


@torch.no_grad()
def test_beams_can_be_reordered_dropped_and_doubled(model):
    cache = model.prefill(SOURCE, REAL)
    model.decode(TARGET[:, :4], torch.arange(4).expand(3, 4), cache)
    for rows in (torch.tensor([2, 0, 2]), torch.tensor([1])):
        chosen, continued = cache.select(rows), TARGET[rows]
        continued[:, 4:] = random_ids(len(rows), 3, seed=5)  # the doubled beam continues in two ways
        hidden = model.decode(continued[:, 4:], torch.arange(4, 7).expand(len(rows), 3), chosen)
        expected = model(SOURCE[rows], continued, REAL[rows])[:, 4:]
        torch.testing.assert_close(model.lm_head(hidden), expected, **EXACT)


def test_what_is_too_long_is_refused_in_one_sentence(model):
    assert model(random_ids(1, 16), random_ids(1, 16)).shape == (1, 16, 29)
    for source, target in ((17, 3), (3, 17)):
        with pytest.raises(UserError, match="17 tokens.*context of 16"):
            model(random_ids(1, source), random_ids(1, target))
    for row in (SOURCE[:1], SOURCE):  # one sequence or several
        with pytest.raises(UserError, match="context of 16"):
            model.decode(row[:, :1], torch.full((len(row), 1), 16), model.prefill(row))
        with pytest.raises(UserError, match="position 4.*cache of 4"):
            model.decode(row[:, :1], torch.full((len(row), 1), 4), model.prefill(row, length=4))
    with pytest.raises(UserError, match="positions is 'rotary'"):
        random_transformer(positions="rotary")


def test_sequences_with_a_source_do_not_silently_take_each_others_place(model):
    with pytest.raises(ValueError, match="source"):
        model.prefill(SOURCE).write_rows(torch.tensor([1]), model.prefill(SOURCE[:1]))


# ── the whole ──


def test_a_model_read_back_gives_the_same(model, tmp_path):
    save_model(tmp_path, model.float())
    again = load_model(tmp_path)
    assert type(again) is Transformer and again.config == model.config and not again.training
    assert torch.equal(again(SOURCE, TARGET, REAL), model(SOURCE, TARGET, REAL))
    assert (again.lm_head.weight is again.token_embedding.weight) == model.config.tie_embeddings


def test_initial_weights_have_the_spread_of_their_kind_and_of_their_stack():
    """Two writes per encoder block, three per decoder block; the embedding has 1/√C, which times √C gives one."""
    torch.manual_seed(0)
    wide = Transformer(ModelConfig(**{**SMALL, "vocab_size": 400, "n_decoder_layers": 5, "d_model": 128}))
    for name, parameter in wide.named_parameters():
        if parameter.dim() == 1:
            assert (parameter == float("norm" in name and name.endswith("weight"))).all(), name
            continue
        expected = 1 / math.sqrt(128) if name.startswith("token_embedding") else 0.02
        if name.endswith(("out_proj.weight", "down_proj.weight")):
            expected /= math.sqrt(2 * 3 if name.startswith("encoder") else 3 * 5)
        assert parameter.std().item() == pytest.approx(expected, rel=0.05), name
    embedded = wide.embed(random_ids(4, 16, vocab_size=400), torch.arange(16)[None]) - wide.position_embedding.table
    assert embedded.std().item() == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("variant", ["original", "pre-norm"])
def test_it_can_learn_one_batch_by_heart(variant):
    torch.manual_seed(0)
    model = Transformer(ModelConfig(**{**SMALL, "d_model": 32, "n_layers": 2, **VARIANTS[variant]}))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(120):
        loss = F.cross_entropy(model(SOURCE, TARGET[:, :-1], REAL).flatten(0, 1), TARGET[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
