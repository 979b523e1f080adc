"""An encoder–decoder generates from sources with the same decoder, and equals the naive version in every batch."""

import pytest
import torch
from generation_helpers import lively_model, lively_transformer

from llmasos.errors import UserError
from llmasos.generation import (
    SamplingOptions,
    SequenceState,
    generate,
    generate_from,
    generate_naive,
    stream,
    stream_from,
)
from llmasos.generation.sequence import next_tokens
from llmasos.tokenizers import ByteTokenizer, CharTokenizer, WordPieceTokenizer
from llmasos.tokenizers.wordpiece import SPECIAL_TOKENS

BYTES = ByteTokenizer()
END = BYTES.end_of_text
SOURCES = ["a dog", "x", "two cats and a dog", "Ein Hund!", "x"]
WORDS = WordPieceTokenizer([*SPECIAL_TOKENS, *"[]knua", "##a", "##b", "##n", "##k"], lowercase=True)
OPTIONS = {
    "greedy": SamplingOptions(temperature=0.0),
    "sampled": SamplingOptions(temperature=0.8, top_k=50, top_p=0.9, min_p=0.01, seed=4),
    "penalised": SamplingOptions(temperature=0.0, repetition_penalty=1.5, max_new_tokens=9),
}


def plain(model, source: str, options: SamplingOptions, sample: int = 0) -> list[int]:
    options = SamplingOptions(**{**vars(options), "max_new_tokens": min(options.max_new_tokens, 24)})
    return generate_naive(model, [END], options, sample, [END], source=[*BYTES.encode(source), END])


@pytest.mark.parametrize("name", OPTIONS)
def test_texts_are_those_of_the_plain_version_for_sources_of_any_length(name):
    model, options = lively_transformer(), OPTIONS[name]
    results = generate_from(model, BYTES, SOURCES, options, n_samples=2)
    for i, result in enumerate(results):
        assert result.ids == plain(model, SOURCES[i // 2], options, i % 2)
        assert result.text == BYTES.decode(result.ids, skip_special=True)
        assert result.n_prompt_tokens == len(SOURCES[i // 2]) + 1
    assert len({tuple(result.ids) for result in results}) >= 4, "equal texts could be exchanged unnoticed"


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_the_batch_size_changes_nothing(batch_size):
    model = lively_transformer()
    alone = [generate_from(model, BYTES, [s], OPTIONS["sampled"], n_samples=2) for s in SOURCES]
    together = generate_from(model, BYTES, SOURCES, OPTIONS["sampled"], n_samples=2, batch_size=batch_size)
    assert [(r.text, r.ids, r.finish_reason) for r in together] == [
        (r.text, r.ids, r.finish_reason) for own in alone for r in own
    ]


def test_log_probabilities_are_those_of_teacher_forcing():
    model = lively_transformer()
    result = generate_from(model, BYTES, ["a dog"], OPTIONS["sampled"])[0]
    source = torch.tensor([[*BYTES.encode("a dog"), END]])
    with torch.no_grad():
        logprobs = model(source, torch.tensor([[END, *result.ids[:-1]]])).log_softmax(-1)[0]
    expected = logprobs.gather(1, torch.tensor(result.ids)[:, None])[:, 0]
    torch.testing.assert_close(torch.tensor(result.logprobs, dtype=torch.float64), expected, rtol=0, atol=1e-10)


def test_each_source_is_encoded_once_whatever_is_written():
    model, shapes = lively_transformer(), []
    encode = model.encode
    model.encode = lambda source, attention_mask=None: (
        shapes.append(tuple(source.shape)) or encode(source, attention_mask)
    )
    generate_from(model, BYTES, SOURCES, OPTIONS["greedy"], n_samples=3, batch_size=10)
    assert shapes == [(4, 19)]  # "x" occurs twice


def test_a_text_that_fills_the_context_ends_with_length():
    options = SamplingOptions(temperature=0.0, stop_at_end_of_text=False, max_new_tokens=100)
    result = generate_from(lively_transformer(), BYTES, ["a dog"], options)[0]
    assert (len(result.ids), result.finish_reason) == (24, "length")


def test_stop_strings_and_end_of_text_end_a_text():
    model = lively_transformer()
    free = generate_from(model, BYTES, ["a dog"], SamplingOptions(seed=1))[0]
    assert free.finish_reason == ("stop" if free.ids[-1] == END else "length")
    stop = next(character for character in free.text[2:] if character.isascii() and character not in free.text[:2])
    stopped = generate_from(model, BYTES, ["a dog"], SamplingOptions(seed=1, stop=stop))[0]
    assert (stopped.text, stopped.finish_reason) == (free.text[: free.text.index(stop)], "stop")


def test_streamed_events_add_up_to_what_generate_from_returns():
    model = lively_transformer()
    events = list(stream_from(model, BYTES, SOURCES, OPTIONS["sampled"], n_samples=2))
    for row, result in enumerate(generate_from(model, BYTES, SOURCES, OPTIONS["sampled"], n_samples=2)):
        own = [event for event in events if event.index == row]
        assert [event.id for event in own] == result.ids
        assert "".join(event.text for event in own) == result.text
        assert own[-1].finish_reason == result.finish_reason


def test_the_start_token_is_not_penalised_as_if_it_had_been_written():
    logits = torch.tensor([[9.0, 8.0, 1.0]])
    options = SamplingOptions(temperature=0, repetition_penalty=2.0)
    assert next_tokens(logits, [SequenceState((0,), options, source=(1, 0))]).tolist() == [0]
    assert next_tokens(logits, [SequenceState((0,), options, ids=[0], source=(1, 0))]).tolist() == [1]
    assert next_tokens(logits, [SequenceState((0,), options)]).tolist() == [1]  # of a GPT it is part of the prompt


@pytest.mark.parametrize(
    "tokenizer, known, unknown, warning",
    [
        (CharTokenizer("abc "), "ab c", "é a éx", "does not contain 'é', 'x': the model reads <|unknown|> instead"),
        (
            CharTokenizer("abc ", lowercase=True),
            "AB c",
            "É",
            "does not contain 'É': the model reads <|unknown|> instead",
        ),
        (CharTokenizer("a"), "a", "bcdefghij", "'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', …: the model reads"),
        (WORDS, "[UNK] aab", "aab xa! Éb Xa", "does not contain 'xa', '!', 'Éb', 'Xa': the model reads [UNK] instead"),
        (WORDS, "a" * 20, "b" + "a" * 100, "does not contain 'b" + "a" * 28 + "…': the model reads"),
    ],
)
def test_what_the_vocabulary_cannot_spell_is_named(tokenizer, known, unknown, warning):
    model = lively_transformer(vocab_size=tokenizer.vocab_size, context_length=32)
    results = generate_from(model, tokenizer, [known, unknown], SamplingOptions(max_new_tokens=2))
    assert results[0].warnings == [] and warning in results[1].warnings[0] and len(results[1].warnings) == 1


def test_no_sources_give_no_texts_and_the_model_keeps_its_mode():
    model = lively_transformer().train()
    assert generate_from(model, BYTES, []) == []
    generate_from(model, BYTES, ["a"], SamplingOptions(max_new_tokens=2))
    assert model.training


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda t, g: generate_from(t, BYTES, ["a", " \n"]), "source line 2 is empty"),
        (lambda t, g: generate_from(t, BYTES, ["a", "b", "x" * 24]), "source line 3 is 25 tokens.*context is 24"),
        (lambda t, g: generate_from(t, BYTES, "a dog"), "list of strings"),
        (lambda t, g: generate_from(t, BYTES, ["a"], batch_size=0), "batch_size is 0"),
        (lambda t, g: generate(t, BYTES, ["a"]), "is a transformer: use generate_from"),
        (lambda t, g: stream(t, BYTES, ["a"]), "is a transformer"),
        (lambda t, g: generate_from(g, BYTES, ["a"]), "is a gpt: use generate or"),
        (lambda t, g: generate_from(lively_transformer(vocab_size=40), BYTES, ["a"]), "257 ids and the model only 40"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(call, words):
    with pytest.raises(UserError, match=words):
        call(lively_transformer(), lively_model(vocab_size=257))


def test_a_source_that_just_fits_is_read():
    assert len(generate_from(lively_transformer(), BYTES, ["x" * 23], OPTIONS["greedy"])) == 1
