"""Beam search: greedy at width 1, exhaustive at full width, equal to the naive version and to transformers' own."""

import itertools

import pytest
import torch
from generation_helpers import lively_model, lively_transformer
from model_helpers import randomize, set_parameters
from oracle_helpers import marian_weights
from transformers import MarianConfig, MarianMTModel

from llmasos.errors import UserError
from llmasos.generation import BeamOptions, SamplingOptions, beam_search, beam_search_naive, generate, generate_from
from llmasos.generation.beam import length_penalty
from llmasos.models import BERT, ModelConfig
from llmasos.tokenizers import CharTokenizer

TOY = CharTokenizer("ab")  # a, b, unknown, end of text: V = 4
END = TOY.end_of_text
TEXTS = ["ab", "b", "aabba", "bbbbbbb", "ba"]
FAMILIES = ("gpt", "transformer")
ALPHAS = (0.0, 0.6, 1.0, 3.0)


def toy_model(family: str, seed: int = 0, scale: float = 0.35):
    make = lively_transformer if family == "transformer" else lively_model
    return randomize(make(vocab_size=TOY.vocab_size, context_length=12), seed, scale)


def read_first(family: str, text: str) -> dict:
    """The input of the naive version and of the model itself for a text."""
    if family == "gpt":
        return {"prompt": TOY.encode(text)}
    return {"prompt": [END], "source": [*TOY.encode(text), END]}


def forced_logprob(model, family: str, text: str, ids) -> float:
    """log P of ids from one uncached forward pass over the whole text."""
    read = read_first(family, text)
    whole = torch.tensor([[*read["prompt"], *ids]])
    with torch.no_grad():
        inputs = (whole,) if family == "gpt" else (torch.tensor([read["source"]]), whole)
        logprobs = model(*inputs).log_softmax(-1)[0, -len(ids) - 1 : -1]
    return logprobs.gather(1, torch.tensor(ids)[:, None]).sum().item()


def test_the_length_penalty_is_that_of_the_paper():
    assert length_penalty(1, 0.6) == 1.0 and length_penalty(50, 0.0) == 1.0
    assert length_penalty(13, 1.0) == 3.0 and length_penalty(19, 0.5) == 2.0


@pytest.mark.parametrize("alpha", ALPHAS)
def test_one_beam_is_greedy(alpha):
    greedy = SamplingOptions(temperature=0.0, max_new_tokens=8)
    n_stopped = 0
    for seed in range(10):
        for family, write in (("gpt", generate), ("transformer", generate_from)):
            model = toy_model(family, seed)
            expected = write(model, TOY, TEXTS, greedy)
            found = beam_search(model, TOY, TEXTS, BeamOptions(1, alpha, max_new_tokens=8))
            assert [[hypothesis.ids for hypothesis in own] for own in found] == [[g.ids] for g in expected]
            assert [own[0].text for own in found] == [g.text for g in expected]
            assert [own[0].finished for own in found] == [g.finish_reason == "stop" for g in expected]
            n_stopped += sum(own[0].finished for own in found)
    assert 5 < n_stopped < 95, "both ends were meant to be tried"


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("family", FAMILIES)
def test_batched_cached_and_stopped_early_is_the_plain_search_to_the_end(family, alpha):
    """The naive version has no stopping rule: equality shows that the rule loses nothing."""
    for seed, K in ((0, 2), (0, 5), (1, 3), (2, 5)):
        model, options = toy_model(family, seed), BeamOptions(K, alpha, max_new_tokens=9)
        for text, found in zip(TEXTS, beam_search(model, TOY, TEXTS, options), strict=True):
            expected = beam_search_naive(model, options=options, stop_ids=[END], **read_first(family, text))
            assert [h.ids for h in found] == [ids for _, ids in expected]
            assert [h.logprob for h in found] == pytest.approx([total for total, _ in expected], abs=1e-9)


def test_a_gpt_searches_beyond_its_context():
    model, options = toy_model("gpt"), BeamOptions(3, 1.0, max_new_tokens=25)
    model.lm_head.weight.data[END] = 0.0  # so that texts become long
    found = beam_search(model, TOY, ["ab", "bbbb"], options)
    assert max(len(h.ids) for own in found for h in own) > 12
    for text, own in zip(["ab", "bbbb"], found, strict=True):
        expected = beam_search_naive(model, TOY.encode(text), options, [END])
        assert [h.ids for h in own] == [ids for _, ids in expected]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_hypothesis_says_what_it_is(family):
    kinds = set()
    for seed in range(4):
        model = toy_model(family, seed)
        for text, found in zip(TEXTS, beam_search(model, TOY, TEXTS, BeamOptions(4, 0.6, 4)), strict=True):
            for h in found:
                assert h.logprob == pytest.approx(forced_logprob(model, family, text, h.ids), abs=1e-9)
                assert h.score == pytest.approx(h.logprob / ((5 + len(h.ids)) / 6) ** 0.6)
                assert h.ids.count(END) == h.finished == (h.ids[-1] == END)
                assert h.finished or len(h.ids) == 4
                assert h.text == TOY.decode(h.ids, skip_special=True)
                kinds.add(h.finished)
            ranks = [(h.finished, h.score) for h in found]
            assert ranks == sorted(ranks, reverse=True) and len({tuple(h.ids) for h in found}) == len(found) == 4
    assert kinds == {True, False}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_batch_changes_nothing(family):
    model, options = toy_model(family), BeamOptions(3, 0.6, max_new_tokens=8)
    alone = [beam_search(model, TOY, [text], options)[0] for text in TEXTS]
    for batch_size in (1, 2, 32):
        together = beam_search(model, TOY, TEXTS, options, batch_size)
        assert [[h.ids for h in own] for own in together] == [[h.ids for h in own] for own in alone]


@pytest.mark.parametrize("alpha", ALPHAS)
def test_wider_is_never_worse_on_an_exhaustive_toy_and_full_width_finds_the_optimum(alpha):
    """The optimum over all finished texts of at most 4 tokens. K = V·(V-1)³ = 108 beams hold all of them.

    No width finds more than the optimum, and full width finds it: these are theorems. That more beams never find less
    is not one: a wider beam may keep a prefix that, one step later, crowds out the one that would have won. But it does
    hold for each of these models.
    """
    L = 4
    for seed in range(6):
        model = toy_model("transformer", seed)
        stems = [s for n in range(L) for s in itertools.product(set(range(4)) - {END}, repeat=n)]
        everything = [
            forced_logprob(model, "transformer", "ab", [*s, END]) / length_penalty(len(s) + 1, alpha) for s in stems
        ]
        best = []
        for K in (1, 2, 4, 8, 16, 108):
            h = beam_search(model, TOY, ["ab"], BeamOptions(K, alpha, max_new_tokens=L))[0][0]
            best.append((h.finished, h.score))
            assert not h.finished or h.score <= max(everything) + 1e-9
        assert best[-1] == (True, pytest.approx(max(everything), abs=1e-9))
        assert all(wide >= (narrow[0], narrow[1] - 1e-9) for narrow, wide in itertools.pairwise(best)), best


def test_equal_candidates_are_taken_in_the_order_of_their_ids():
    """With an indifferent model: all tokens are equally likely at every step."""
    model = toy_model("transformer")
    for p in model.parameters():
        p.data.zero_()
    found = beam_search(model, TOY, ["ab", "b"], BeamOptions(3, 0.0, max_new_tokens=2))
    assert all([h.ids for h in own] == [[END], [0, END], [0, 0]] for own in found)  # END is 2


def test_each_source_is_encoded_once_and_leaves_the_batch_when_its_search_is_over():
    model, encoded, steps = toy_model("transformer", seed=2), [], []
    encode, decode = model.encode, model.decode
    model.encode = lambda source, attention_mask=None: (
        encoded.append(tuple(source.shape)) or encode(source, attention_mask)
    )
    model.decode = lambda ids, *args: steps.append(ids.size(0)) or decode(ids, *args)
    beam_search(model, TOY, TEXTS, BeamOptions(3, 0.0, max_new_tokens=10))
    assert encoded == [(5, 8)]
    assert steps == [5, 15, 15, 12, 6, 3]


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_it_finds_what_marian_finds_in_transformers(alpha, monkeypatch):
    """Their score is log P / |Y|^α; used instead of ours, it must give their texts, in their order.

    Their search lets a text that was cut off compete with finished ones: those cases are left out.
    """
    monkeypatch.setattr("llmasos.generation.beam.length_penalty", lambda n_tokens, alpha: n_tokens**alpha)
    n_compared = 0
    for seed in range(5):
        model = randomize(
            lively_transformer(vocab_size=4, context_length=12, norm_position="post", activation="relu"), seed, 0.3
        )
        oracle = (
            MarianMTModel(
                MarianConfig(
                    vocab_size=4,
                    d_model=32,
                    encoder_layers=2,
                    decoder_layers=2,
                    encoder_attention_heads=4,
                    decoder_attention_heads=4,
                    encoder_ffn_dim=128,
                    decoder_ffn_dim=128,
                    max_position_embeddings=12,
                    activation_function="relu",
                    scale_embedding=True,
                    share_encoder_decoder_embeddings=True,
                    pad_token_id=2,
                    eos_token_id=END,
                    forced_eos_token_id=None,
                    decoder_start_token_id=END,
                    attn_implementation="eager",
                )
            )
            .double()
            .eval()
        )
        set_parameters(oracle, marian_weights(model))
        model.position_embedding.table = oracle.model.encoder.embed_positions.weight.detach().clone()
        for text, found in zip(TEXTS, beam_search(model, TOY, TEXTS, BeamOptions(4, alpha, 8)), strict=True):
            theirs = oracle.generate(
                torch.tensor([[*TOY.encode(text), END]]),
                num_beams=4,
                num_return_sequences=4,
                length_penalty=alpha,
                max_new_tokens=8,
                do_sample=False,
                early_stopping="never",
                output_scores=True,
                return_dict_in_generate=True,
            )
            rows = [row[1:] for row in theirs.sequences.tolist()]
            if not all(END in row for row in rows):
                continue
            assert [h.ids for h in found] == [row[: row.index(END) + 1] for row in rows]
            assert [h.score for h in found] == pytest.approx(theirs.sequences_scores.tolist(), abs=1e-5)
            n_compared += 1
    assert n_compared >= 5


@pytest.mark.parametrize(
    "field, value",
    [
        ("beams", 0),
        ("beams", 2.5),
        ("max_new_tokens", 0),
        ("length_penalty", -0.1),
        ("length_penalty", float("nan")),
    ],
)
def test_an_option_that_makes_no_sense_is_named_with_its_value(field, value):
    with pytest.raises(UserError, match=f"{field} is {value}"):
        BeamOptions(**{field: value})


def test_what_cannot_be_searched_is_refused_in_one_sentence():
    model = toy_model("transformer")
    assert beam_search(model, TOY, []) == []
    with pytest.raises(UserError, match="source line 2 is empty"):
        beam_search(model, TOY, ["a", ""])
    with pytest.raises(UserError, match="cannot generate"):
        beam_search(BERT(ModelConfig(family="bert", vocab_size=4, n_layers=1, n_heads=1, d_model=4)), TOY, ["a"])
    model.lm_head.weight.data[0] = float("nan")
    with pytest.raises(UserError, match="not a number"):
        beam_search(model, TOY, ["a"])
