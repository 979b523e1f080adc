"""Looking inside: attention maps, the logit lens and token scores agree with what the model computes."""

import pytest
import torch
from model_helpers import random_ids, randomise
from transformers import GPT2Config, GPT2LMHeadModel

from llmasos.errors import UserError
from llmasos.hub.folder import read_model
from llmasos.interpret import attention_maps, logit_lens, score_tokens
from llmasos.models import ModelConfig, build_model, preset
from llmasos.nn import MultiHeadAttention
from llmasos.tokenizers import train_tokenizer

IDS = random_ids(2, 7, vocab_size=29)
SMALL = {"vocab_size": 29, "n_layers": 3, "n_heads": 2, "d_model": 16, "context_length": 16}


def model(**fields):
    return randomise(build_model(ModelConfig(**{**SMALL, **fields})))


def test_maps_equal_those_of_transformers(tmp_path):
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=29, n_positions=16, n_embd=16, n_layer=3, n_head=2, attn_implementation="eager")
    theirs = GPT2LMHeadModel(config).eval()
    theirs.save_pretrained(tmp_path)
    maps = attention_maps(read_model(tmp_path), IDS)
    expected = theirs(IDS, output_attentions=True).attentions
    assert list(maps) == [f"blocks.{i}.attention" for i in range(3)]
    for ours, other in zip(maps.values(), expected, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-5, atol=1e-6)


def test_rows_share_one_unit_of_attention_and_a_gpt_none_of_it_with_the_future():
    for weights in attention_maps(model(), IDS).values():
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 7))
        assert weights.triu(1).abs().max() == 0


def test_a_translator_has_maps_of_both_kinds():
    translator = model(family="transformer", positions="sinusoidal", n_decoder_layers=2)
    maps = attention_maps(translator, IDS, IDS[:, :4])
    assert maps["decoder_blocks.1.cross_attention"].shape == (2, 2, 4, 7)
    assert maps["encoder_blocks.0.attention"].shape == (2, 2, 7, 7)
    only = attention_maps(translator, IDS, run=translator.encode)
    assert set(only) == {f"encoder_blocks.{i}.attention" for i in range(3)}


def test_recording_changes_nothing_and_ends():
    gpt = model().train()
    before = gpt.eval()(IDS)
    gpt.train()
    attention_maps(gpt, IDS)
    assert gpt.training and all(m.recorder is None for m in gpt.modules() if isinstance(m, MultiHeadAttention))
    torch.testing.assert_close(gpt.eval()(IDS), before)


@pytest.mark.parametrize("fields", [{}, {"family": "bert", "norm_position": "post"}, {"family": "bert"},
                                    {"norm_position": "post"}], ids=str)  # fmt: skip
def test_the_last_row_of_the_lens_is_what_the_model_says(fields):
    one = model(**fields).eval()
    rows = logit_lens(one, IDS[0])
    assert [row.layer for row in rows] == [0, 1, 2, 3]
    said = one(IDS[:1])
    said = said.masked if one.config.family == "bert" else said
    torch.testing.assert_close(rows[-1].logits, said[0].detach())
    assert not torch.allclose(rows[0].logits, rows[-1].logits)


def test_a_row_of_the_lens_is_the_model_without_the_later_blocks():
    gpt = model().eval()
    rows = logit_lens(gpt, IDS[0])
    del gpt.blocks[2:]
    torch.testing.assert_close(rows[2].logits, gpt(IDS[:1])[0].detach())


def test_token_scores_add_up_to_the_loss():
    tokenizer = train_tokenizer("bpe", ["the cat sat on the mat"] * 3, 270)
    gpt = build_model(preset("gpt-laptop", vocab_size=tokenizer.vocab_size + 3, n_layers=1))
    scores = score_tokens(gpt, tokenizer, "the cat sat", n=3)
    ids = tokenizer.encode("the cat sat")
    assert [score.id for score in scores] == ids and "".join(score.text for score in scores) == "the cat sat"
    assert scores[0].logprob is None and scores[0].alternatives == []
    logprobs = gpt.eval()(torch.tensor([ids]))[0, :, : tokenizer.vocab_size].log_softmax(-1)
    for place, score in enumerate(scores[1:], start=1):
        row = logprobs[place - 1]
        assert score.logprob == pytest.approx(row[score.id].item(), rel=1e-5)
        assert score.rank == sorted(row.tolist(), reverse=True).index(row[score.id].item())
        assert [id for id, _, _ in score.alternatives] == row.topk(3).indices.tolist()


def test_what_cannot_be_looked_into_gets_a_sentence():
    with pytest.raises(UserError, match="the model is a transformer"):
        logit_lens(model(family="transformer", positions="sinusoidal"), IDS[0])
    tokenizer = train_tokenizer("byte", [])
    with pytest.raises(UserError, match="the text is empty"):
        score_tokens(build_model(preset("gpt-laptop", vocab_size=257, n_layers=1)), tokenizer, "")
    with pytest.raises(UserError, match="only a gpt"):
        score_tokens(model(family="bert"), tokenizer, "a")
