"""Text in, text out: prompts, stop strings, streaming, warnings."""

import random

import pytest
import torch
from generation_helpers import ScriptedModel, lively_model, scripted

from llmasos.errors import UserError
from llmasos.generation import BeamOptions, SamplingOptions, beam_search, generate, generate_naive, stream
from llmasos.generation.prompts import prepare_prompt
from llmasos.generation.stop_strings import TextStream
from llmasos.tokenizers import BPETokenizer, ByteTokenizer, CharTokenizer

BYTES = ByteTokenizer()


def continue_script(text: str, **options):
    """Generate with a model that always writes `text`."""
    return generate(scripted("go:", text), BYTES, ["go:"], SamplingOptions(**options))[0]


# Stop strings


def test_text_ends_before_the_stop_string():
    result = continue_script("one two END three", stop="END")
    assert (result.text, result.finish_reason) == ("one two ", "stop")
    assert BYTES.decode(result.ids) == "one two END"


def test_a_stop_string_in_the_prompt_does_not_count():
    model = scripted("END of", " the day END")
    assert generate(model, BYTES, ["END of"], SamplingOptions(stop="END"))[0].text == " the day "


def test_the_beginning_of_a_stop_string_is_shown_if_it_comes_to_nothing():
    assert continue_script("E EN ENE", stop="END").text == "E EN ENE"
    assert continue_script("to the EN", stop="END", max_new_tokens=9).text == "to the EN"


def test_a_stop_string_may_overlap_a_failed_beginning_of_itself():
    assert continue_script("xaabc", stop="aab").text == "x"
    assert continue_script("xaaabc", stop="aab").text == "xa"


def test_the_stop_string_that_is_complete_first_wins():
    assert continue_script("abcd", stop=("abcd", "bc")).text == "a"
    assert continue_script("abcd", stop=("c", "abc")).text == ""  # both at once: the longest


def test_a_stop_string_of_characters_that_span_tokens():
    assert continue_script("é → 😀 fin", stop="😀").text == "é → "
    assert continue_script("é → 😀 fin", stop=" fi").text == "é → 😀"


def random_text(rng: random.Random) -> str:
    return "".join(rng.choices("ab\n€😀", k=rng.randrange(30)))


def cut_by_definition(text: str, stops: list[str]) -> tuple[str, bool]:
    """Read the text character by character until it ends with a stop string."""
    for end in range(1, len(text) + 1):
        lengths = [len(stop) for stop in stops if text[:end].endswith(stop)]
        if lengths:
            return text[: end - max(lengths)], True
    return text, False


def test_streamed_pieces_are_the_text_before_the_stop_string_however_it_is_cut_into_tokens():
    rng = random.Random(0)
    bpe = BPETokenizer.train([random_text(rng) for _ in range(200)], vocab_size=300)
    n_stopped = 0
    for trial in range(1500):
        tokenizer = (BYTES, bpe)[trial % 2]
        text = random_text(rng)
        stops = ["".join(rng.choices("ab\n€😀", k=rng.randint(1, 4))) for _ in range(rng.randint(0, 3))]
        expected, expected_stop = cut_by_definition(text, stops)
        text_stream, shown, read = TextStream(tokenizer, tuple(stops)), "", b""
        for id in tokenizer.encode(text):
            shown += text_stream.push(id)
            read += tokenizer.token_bytes(id)
            if text_stream.stopped:
                break
            held = read.decode("utf-8", errors="ignore")[len(shown) :]
            assert held == "" or any(stop.startswith(held) and stop != held for stop in stops), "held back for nothing"
        shown += text_stream.close()
        assert (shown, text_stream.stopped) == (expected, expected_stop), (text, stops)
        n_stopped += expected_stop
    assert 300 < n_stopped < 1200  # both outcomes were tried


# Ends


def test_end_of_text_ends_and_is_not_shown():
    result = continue_script("the end")
    assert (result.text, result.finish_reason, result.ids[-1]) == ("the end", "stop", BYTES.end_of_text)


def test_end_of_text_can_be_ignored_for_measuring():
    result = continue_script("the end", stop_at_end_of_text=False, max_new_tokens=20)
    assert (result.text, result.finish_reason, len(result.ids)) == ("the end", "length", 20)


def test_a_character_cut_off_by_the_length_becomes_a_replacement_character():
    result = continue_script("a😀", max_new_tokens=3)
    assert (result.text, result.finish_reason) == ("a\ufffd", "length")


# Prompts


def test_an_empty_prompt_starts_from_end_of_text():
    assert prepare_prompt(BYTES, "", 10, SamplingOptions()).ids == (BYTES.end_of_text,)


def test_a_model_that_expects_a_token_before_a_text_reads_it():
    tokenizer = ByteTokenizer()
    assert tokenizer.encode_prompt("ab") == [97, 98] and tokenizer.encode_prompt("") == [tokenizer.end_of_text]
    tokenizer.begin_of_text = 7
    for text, ids in (("ab", (7, 97, 98)), ("", (7,))):
        assert tuple(tokenizer.encode_prompt(text)) == prepare_prompt(tokenizer, text, 10, SamplingOptions()).ids == ids
    assert prepare_prompt(tokenizer, [97, 98], 10, SamplingOptions()).ids == (97, 98)  # ids are read as they are
    assert prepare_prompt(tokenizer, [], 10, SamplingOptions()).ids == (tokenizer.end_of_text,)


def test_special_tokens_in_a_prompt_are_plain_text():
    assert BYTES.end_of_text not in prepare_prompt(BYTES, "<|endoftext|>", 100, SamplingOptions()).ids


@pytest.mark.parametrize("max_new_tokens, n_kept", [(10, 90), (50, 50), (5000, 50)])
def test_of_a_prompt_longer_than_the_context_the_last_tokens_are_kept_with_room_to_write(max_new_tokens, n_kept):
    text = "".join(chr(33 + i % 90) for i in range(130))
    prompt = prepare_prompt(BYTES, text, 100, SamplingOptions(max_new_tokens=max_new_tokens))
    assert prompt.ids == tuple(BYTES.encode(text[-n_kept:]))
    assert len(prompt.warnings) == 1
    assert all(number in prompt.warnings[0] for number in ("130", "100", str(n_kept)))


def test_a_prompt_that_just_fits_is_read_whole_and_nothing_is_said():
    prompt = prepare_prompt(BYTES, "x" * 100, 100, SamplingOptions())
    assert (len(prompt.ids), prompt.warnings) == (100, ())


def test_characters_that_the_model_has_never_seen_are_named():
    tokenizer = CharTokenizer("abc ")
    prompt = prepare_prompt(tokenizer, "a b é a é Z", 100, SamplingOptions())
    assert len(prompt.warnings) == 1 and "'é', 'Z'" in prompt.warnings[0]
    assert prepare_prompt(tokenizer, "a b c", 100, SamplingOptions()).warnings == ()


# generate and stream


def test_generate_gives_the_plain_versions_tokens_for_prompts_of_any_length():
    model = lively_model(vocab_size=BYTES.vocab_size, context_length=16)
    options = SamplingOptions(max_new_tokens=40, top_p=0.9, seed=5)
    prompts = ["Hello", "", "A prompt that is longer than sixteen bytes", "x"]
    results = generate(model, BYTES, prompts, options, n_samples=2)
    for i, result in enumerate(results):
        ids = prepare_prompt(BYTES, prompts[i // 2], 16, options).ids
        assert result.ids == generate_naive(model, ids, options, i % 2, [BYTES.end_of_text])
        assert result.text == BYTES.decode(result.ids, skip_special=True)
        assert result.n_prompt_tokens == len(ids)
        assert len(result.logprobs) == len(result.ids)
    assert len({result.text for result in results}) == 8


def test_streamed_events_add_up_to_what_generate_returns():
    model = lively_model(vocab_size=BYTES.vocab_size, context_length=16)
    options = SamplingOptions(max_new_tokens=30, stop=("a", "zz"), seed=2)
    prompts = ["Hello", "", "a long prompt, a very long prompt"]
    events = list(stream(model, BYTES, prompts, options, n_samples=2))
    for row, result in enumerate(generate(model, BYTES, prompts, options, n_samples=2)):
        own = [event for event in events if event.index == row]
        assert "".join(event.text for event in own) == result.text
        assert [event.id for event in own] == result.ids
        assert [event.logprob for event in own] == result.logprobs
        assert [event.finish_reason for event in own] == [None] * (len(own) - 1) + [result.finish_reason]
        assert [warning for event in own for warning in event.warnings] == result.warnings


def test_text_is_streamed_as_soon_as_it_is_certain():
    events = list(stream(scripted("go:", "aé\n\nb\n"), BYTES, ["go:"], SamplingOptions(stop="\n\n\n")))
    assert [event.text for event in events] == ["a", "", "é", "", "", "\n\nb", "", "\n"]


def test_outgrowing_the_context_is_said_once_when_it_happens():
    model = ScriptedModel([65] * 200, context_length=20)
    events = list(stream(model, BYTES, ["AAAA"], SamplingOptions(max_new_tokens=60)))
    told = [i for i, event in enumerate(events) if event.warnings]
    assert told == [17]  # 4 + 16 tokens fill the context, the 17th is chosen from them, the 18th needs a slot
    assert "20 tokens" in events[17].warnings[0]


def test_no_prompts_give_no_texts():
    assert generate(lively_model(vocab_size=257), BYTES, []) == []


def test_the_model_comes_back_in_the_mode_it_was_in():
    model = lively_model(vocab_size=257).train()
    generate(model, BYTES, ["a"], SamplingOptions(max_new_tokens=3))
    assert model.training
    events = stream(model, BYTES, ["a"], SamplingOptions(max_new_tokens=300))
    next(events)
    assert not model.training
    events.close()
    assert model.training


def test_dropout_is_off_while_generating():
    model = lively_model(vocab_size=257)
    expected = generate(model, BYTES, ["a"], SamplingOptions(max_new_tokens=20))[0].ids
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    assert generate(model.train(), BYTES, ["a"], SamplingOptions(max_new_tokens=20))[0].ids == expected


def test_the_consumer_of_a_stream_can_compute_gradients_between_two_events():
    events = stream(lively_model(vocab_size=257), BYTES, ["a"], SamplingOptions(max_new_tokens=3))
    next(events)
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    events.close()


def test_a_tokenizer_that_does_not_fit_the_model_is_refused_at_once():
    with pytest.raises(UserError, match="257 ids and the model only 40"):
        stream(lively_model(vocab_size=40), BYTES, ["a"])


def test_one_string_instead_of_a_list_of_prompts_is_refused():
    with pytest.raises(UserError, match="list of strings"):
        generate(lively_model(vocab_size=257), BYTES, "Hello")


@pytest.mark.parametrize("n, words", [
    (10**12, "a batch of n 1,000,000,000,000 needs at least .* GiB of memory"),
    (0, "n is 0; it must be a whole number"), (-1, "n is -1"), (1.5, "n is 1.5"),
    ("two", "n is 'two'"), (True, "n is True"), (None, "n is None"),
])  # fmt: skip
def test_an_absurd_number_of_texts_is_refused_before_anything_is_allocated(n, words):
    for function in (generate, lambda *arguments: list(stream(*arguments))):
        with pytest.raises(UserError, match=words):
            function(lively_model(vocab_size=257), BYTES, ["a"], SamplingOptions(), n)
    if n == 10**12:
        with pytest.raises(UserError, match="a batch of beams 2,000,000,000 needs at least"):
            beam_search(lively_model(vocab_size=257), BYTES, ["a"], BeamOptions(beams=2 * 10**9))
