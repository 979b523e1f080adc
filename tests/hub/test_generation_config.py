"""A model folder's recommendations for generation are read, used, and written again, as in transformers."""

import json

import pytest
import torch
from generation_helpers import lively_model, lively_transformer
from transformers import GenerationConfig as TheirGenerationConfig
from transformers import GPT2Config, GPT2LMHeadModel

from llmasos import LLMTrainer, hub
from llmasos.errors import UserError
from llmasos.generation import (
    BeamOptions,
    SamplingOptions,
    beam_search,
    beam_search_naive,
    generate,
    generate_from,
    generate_naive,
    options_for,
    stream,
)
from llmasos.hub.generation_config import read_generation_config
from llmasos.models import GenerationConfig
from llmasos.models.generation_config import NOT_SUPPORTED, RECOMMENDED
from llmasos.models.serialization import save_model
from llmasos.serving.engine import Engine
from llmasos.tokenizers import ByteTokenizer, train_tokenizer

BYTES = ByteTokenizer()
GREEDY = SamplingOptions(max_new_tokens=12, temperature=0)
NEVER = [ord(character) for character in "aeiou"]
SAMPLERS = {"temperature": 0.7, "top_k": 9, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.2, "max_new_tokens": 7}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A folder written by transformers, its model, and ours with a byte tokenizer."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("published")
    config = GPT2Config(
        vocab_size=BYTES.vocab_size, n_positions=64, n_embd=32, n_layer=2, n_head=2, initializer_range=0.4,
        bos_token_id=BYTES.end_of_text, eos_token_id=BYTES.end_of_text,
    )  # fmt: skip
    model = GPT2LMHeadModel(config).eval()
    model.save_pretrained(folder)
    BYTES.save(folder)
    (folder / "generation_config.json").unlink()
    return folder, model


def with_fields(folder, **fields):
    """Our model and tokenizer from a folder that recommends these fields."""
    (folder / "generation_config.json").write_text(json.dumps(fields))
    said = []
    return *hub.load_pretrained(folder, say=said.append), said


def test_what_is_recommended_is_the_default_and_what_is_said_comes_first(published):
    model, _, said = with_fields(published[0], do_sample=True, **SAMPLERS)
    assert options_for(model, SamplingOptions) == SamplingOptions(**SAMPLERS) and not said
    assert options_for(model, SamplingOptions, top_p=None, temperature=0) == SamplingOptions(
        **SAMPLERS | {"top_p": None, "temperature": 0}
    )
    sdk = LLMTrainer.from_pretrained(published[0], device="cpu")
    options = SamplingOptions(**SAMPLERS)
    assert sdk.generate("the cat") == generate(sdk.model, sdk.tokenizer, ["the cat"], options)[0].text
    assert generate(model, BYTES, ["the cat"])[0].ids == generate(model, BYTES, ["the cat"], options)[0].ids


@pytest.mark.parametrize(
    "fields, expected",
    [
        ({"do_sample": False, "temperature": 0.6, "top_p": 0.9}, {"temperature": 0.0}),
        ({"temperature": 0.6, "top_k": 0, "top_p": 1.0, "min_p": 0.0}, {"temperature": 0.6}),
        ({"top_k": None, "temperature": None, "transformers_version": "4.57"}, {}),
        ({"do_sample": False, "repetition_penalty": 1.1}, {"temperature": 0.0, "repetition_penalty": 1.1}),
    ],
)
def test_the_settings_of_transformers_mean_the_same_here(published, fields, expected):
    model, _, _ = with_fields(published[0], **fields)
    assert options_for(model, SamplingOptions) == SamplingOptions(**expected)


@pytest.mark.parametrize(
    "fields",
    [
        {"eos_token_id": [BYTES.end_of_text, *NEVER]},
        {"suppress_tokens": NEVER},
        {"begin_suppress_tokens": list(range(128))},
        {"bad_words_ids": [[ord("e")], [ord("x"), ord("y")], *([first, 200] for first in range(0, 256, 2))]},
        {"suppress_tokens": list(range(100, 257))},
        {"eos_token_id": [BYTES.end_of_text, *NEVER], "bad_words_ids": [[id] for id in (*NEVER, ord("t"))]},
    ],
)  # fmt: skip
def test_greedy_text_is_that_of_transformers_everywhere(published, fields):
    """The expected text is transformers'; ours is batched, streamed, from one beam, and from the server's engine."""
    folder, reference = published
    model, tokenizer, _ = with_fields(folder, **fields)
    prompts = ["the cat", "a dog ran", "x"]
    engine = Engine(model, tokenizer)
    engine.start()
    try:
        for prompt in prompts:
            ids = torch.tensor([tokenizer.encode(prompt)])
            defaults = {"eos_token_id": BYTES.end_of_text, "pad_token_id": 0, **fields}
            whole = reference.generate(ids, max_new_tokens=12, do_sample=False, **defaults)[0]
            expected = whole[ids.size(1) :].tolist()
            assert generate(model, tokenizer, prompts, GREEDY)[prompts.index(prompt)].ids == expected
            assert [event.id for event in stream(model, tokenizer, [prompt], GREEDY)] == expected
            assert beam_search(model, tokenizer, [prompt], BeamOptions(1, max_new_tokens=12))[0][0].ids == expected
            [request] = engine.submit(prompt, GREEDY)
            assert [token.id for token in request.result().tokens] == expected
    finally:
        engine.stop(0)


@pytest.mark.parametrize("family", ["gpt", "transformer"])
def test_constraints_and_several_ends_are_the_same_in_the_naive_version(family):
    make = lively_transformer if family == "transformer" else lively_model
    model = make(vocab_size=BYTES.vocab_size, context_length=40)
    ends = (BYTES.end_of_text, 7, 8, 9, *range(40, 60))
    model.generation_config = GenerationConfig({}, ends, (11, 12), (13,), ((14, 15), (16,)), forced_bos_token_id=65)
    read = {"prompt": [BYTES.end_of_text], "source": [*BYTES.encode("ab"), BYTES.end_of_text]}
    read = read if family == "transformer" else {"prompt": BYTES.encode("ab")}
    write, sampled = generate if family == "gpt" else generate_from, SamplingOptions(max_new_tokens=15, seed=3)
    results = write(model, BYTES, ["ab"], sampled, 4)
    naive = [generate_naive(model, options=sampled, sample=i, stop_ids=ends, **read) for i in range(4)]
    assert [result.ids for result in results] == naive
    assert all(result.ids[0] == 65 and not {11, 12, 16} & set(result.ids) for result in results)
    options = BeamOptions(3, max_new_tokens=8)
    found = beam_search(model, BYTES, ["ab"], options)[0]
    expected = beam_search_naive(model, options=options, stop_ids=ends, **read)
    assert [hypothesis.ids for hypothesis in found] == [ids for _, ids in expected]
    assert all(hypothesis.finished == (hypothesis.ids[-1] in ends) for hypothesis in found)


def test_an_older_folder_has_the_fields_in_its_config(published, tmp_path):
    for file in published[0].iterdir():
        if file.name != "generation_config.json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    changes = {"eos_token_id": [5, 6], "bad_words_ids": [[7]]}
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    model, _ = hub.load_pretrained(tmp_path)
    assert model.generation_config == GenerationConfig({}, (5, 6), bad_words_ids=((7,),))


def test_a_translator_never_writes_its_padding(tmp_path):
    config = lively_transformer(vocab_size=BYTES.vocab_size, context_length=40).config
    (tmp_path / "config.json").write_text(json.dumps({"pad_token_id": 9, "eos_token_id": 0}))
    for fields, expected in (({"num_beams": 6, "max_length": 512}, (9,)), ({"suppress_tokens": [4]}, (4, 9))):
        (tmp_path / "generation_config.json").write_text(json.dumps(fields))
        assert read_generation_config(tmp_path, config, print).suppress_tokens == expected
    (tmp_path / "generation_config.json").write_text(json.dumps({"num_beams": 6, "max_length": 512}))
    recommended = read_generation_config(tmp_path, config, print).recommended
    (tmp_path / "generation_config.json").write_text(json.dumps({"forced_bos_token_id": 10**9}))
    with pytest.raises(UserError, match="forced_bos_token_id is 1000000000"):
        read_generation_config(tmp_path, config, print)
    (tmp_path / "generation_config.json").write_text(json.dumps({"forced_bos_token_id": 5}))
    assert read_generation_config(tmp_path, config, print).forced_bos_token_id == 5
    (tmp_path / "generation_config.json").write_text("{}")
    assert recommended == {"beams": 6, "max_new_tokens": 511}
    (tmp_path / "config.json").write_text(json.dumps({"pad_token_id": 0, "eos_token_id": 0}))  # ours
    assert not read_generation_config(tmp_path, config, print).constrains


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"temperature": -1}, "temperature is -1"), ({"temperature": "hot"}, "temperature is 'hot'"),
        ({"top_p": 7}, "top_p is 7"), ({"top_k": 2.5}, "top_k is 2.5"), ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"eos_token_id": "</s>"}, "eos_token_id is '</s>'"), ({"eos_token_id": [True]}, "eos_token_id is"),
        ({"suppress_tokens": [[1]]}, "suppress_tokens is"), ({"bad_words_ids": "bad"}, "bad_words_ids is 'bad'"),
        ([1], "expected a JSON object"),
    ],
)  # fmt: skip
def test_an_impossible_recommendation_is_one_sentence_with_the_file(published, fields, words):
    (published[0] / "generation_config.json").write_text(json.dumps(fields))
    with pytest.raises(UserError) as error:
        hub.load_pretrained(published[0])
    assert words in str(error.value) and "generation_config.json" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("ids, named", [(10**9, "1000000000,"), ([BYTES.end_of_text, 257, -1], "257, -1,")])
def test_an_end_that_no_text_can_have_is_named(published, ids, named):
    *_, said = with_fields(published[0], eos_token_id=ids)
    assert len(said) == 1 and f"eos_token_id {named} since the model's ids are 0 to 256" in said[0]


def test_what_is_not_supported_is_named_once(published):
    off = {"epsilon_cutoff": 0.0, "min_length": 0, "early_stopping": False, "renormalize_logits": False, "top_h": None}
    _, _, said = with_fields(published[0], no_repeat_ngram_size=3, typical_p=0.9, stop_strings=["."], **off)
    assert len(said) == 1 and "recommends no_repeat_ngram_size, typical_p, stop_strings for" in said[0]


def test_every_field_that_transformers_reads_is_decided():
    """It is read, named as unsupported, or affects only the speed, the memory or the form of a result, not the text."""
    read = {"do_sample", "eos_token_id", "suppress_tokens", "begin_suppress_tokens", "bad_words_ids"}
    read |= {"forced_bos_token_id", "max_length", "pad_token_id", "decoder_start_token_id", "bos_token_id"}
    same_text = {
        "use_cache", "cache_implementation", "cache_config", "return_legacy_cache", "prefill_chunk_size", "low_memory",
        "compile_config", "disable_compile", "num_return_sequences", "return_dict_in_generate", "max_cache_len",
        "use_mtp", "continuous_batching_config", "speculation_type", "prompt_lookup_num_tokens",
        "max_matching_ngram_size",
        "remove_invalid_values",  # NaN, which is an error here
        "forced_eos_token_id",  # the last token of a text that is cut off
        "transformers_version",
    }  # fmt: skip
    prefixes = ("_", "output_", "is_assistant", "num_assistant_", "assistant_", "target_lookbehind")
    decided = read | same_text | {*RECOMMENDED} | {*NOT_SUPPORTED}
    fields = [name for name in vars(TheirGenerationConfig()) if not name.startswith(prefixes)]
    assert not set(fields) - decided


def test_recommendations_are_saved_with_the_model_and_its_checkpoints(published, tmp_path):
    fields = {"do_sample": True, "top_k": 0, "temperature": 0.6, "suppress_tokens": NEVER}
    model, tokenizer, _ = with_fields(published[0], eos_token_id=[BYTES.end_of_text, 10], **fields)
    hub.save_pretrained(tmp_path / "again", model, tokenizer)
    again, _ = hub.load_pretrained(tmp_path / "again")
    assert again.generation_config == model.generation_config
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path / "again").generation_config
    assert theirs.eos_token_id == [BYTES.end_of_text, 10] and theirs.temperature == 0.6 and theirs.top_k == 0
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    save_model(checkpoint, model)
    tokenizer.save(checkpoint)
    assert hub.load_pretrained(checkpoint)[0].generation_config == model.generation_config


def test_text_of_a_chat_model_ends_at_the_end_of_a_turn_without_any_file(tmp_path):
    """The tokenizer alone determines this: for a user's own run, for a model in memory, for every way to generate."""
    tokenizer = train_tokenizer("byte", [""], 300, special_tokens=("<|endoftext|>", "<|im_start|>", "<|im_end|>"))
    end = tokenizer.special_tokens["<|im_end|>"]
    model = lively_model(vocab_size=tokenizer.vocab_size, context_length=40)
    with torch.no_grad():
        model.lm_head.weight[end] = model.hidden_states(torch.tensor([tokenizer.encode("ab")]))[0, -1] * 10
    for prompt in ("ab", tokenizer.encode("ab")):
        result = generate(model, tokenizer, [prompt], GREEDY)[0]
        assert (result.ids, result.text, result.finish_reason) == ([end], "", "stop")
    best = beam_search(model, tokenizer, ["ab"], BeamOptions(2, max_new_tokens=5))[0][0]
    assert (best.ids, best.text, best.finished) == ([end], "", True)
    assert len(generate(model, tokenizer, ["ab"], SamplingOptions(9, 0, stop_at_end_of_text=False))[0].ids) == 9
