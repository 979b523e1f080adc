"""Tokenizers of every type in published models, with added tokens: equal to the `tokenizers` package.

Compared are ids and offsets, with and without special tokens found in the text, and decoded texts, on odd texts that
contain names of added tokens; for a folder of transformers and for the folder that we save.
"""

import json
import random
import unicodedata

import pytest
import tokenizers as rust
import transformers
from tokenizer_helpers import PIECES, english, fuzzed_text
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

from llmasos.errors import UserError
from llmasos.generation import BeamOptions, SamplingOptions, beam_search, generate
from llmasos.generation.stop_strings import TextStream
from llmasos.hub.pretrained_folder import read_tokenizer
from llmasos.hub.tokenizers import load_any_tokenizer
from llmasos.hub.tokenizers.published_bpe import QWEN_PATTERN
from llmasos.hub.tokenizers.sentencepiece_bpe import BYTE_TOKENS
from llmasos.models import GenerationConfig, ModelConfig, build_model

SPACE = "▁"
TRANSFORMERS_5 = transformers.__version__ >= "5"
ADDED = [  # each property of an added token, names that overlap, and one whose normal form is another
    AddedToken("covid"), AddedToken("covid-19"), AddedToken("Lodz Ghetto", normalized=False),
    AddedToken("the", single_word=True), AddedToken("zebrafinch", single_word=True),
    AddedToken("<left>", lstrip=True, normalized=False),
    AddedToken("<right>", rstrip=True, normalized=False), AddedToken("<both>", lstrip=True, rstrip=True),
    AddedToken("e\u0301t\u0323a\u0307"), AddedToken("<|tool|>", special=True, lstrip=True),
    AddedToken("<|tool|>s"), AddedToken("CAPS"),
]  # fmt: skip
NAMES = [token.content for token in ADDED] + ["caps", "covi", "d-19", "\u00e9\u1e6d\u0227", " ", "  ", "\u00a0\n"]


def byte_level(normalizer=None, words=None, prefix_space=False, processor=None, special=("<|endoftext|>",)):
    """A byte-level BPE: like GPT-2's, unless arguments say otherwise."""
    tokenizer = rust.Tokenizer(models.BPE())
    tokenizer.normalizer, tokenizer.decoder = normalizer, decoders.ByteLevel()
    tokenizer.pre_tokenizer = words or pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=list(special), show_progress=False, initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator([english(), *PIECES], trainer)
    if processor:
        tokenizer.post_processor = processor
    return tokenizer, {"eos_token": special[-1], "add_prefix_space": prefix_space}


def qwen():
    in_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    words = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN_PATTERN), "isolated"), in_bytes])
    return byte_level(normalizers.NFC(), words, processor=processors.ByteLevel(trim_offsets=False))


def roberta():
    ends = ("</s>", 2), ("<s>", 0)
    processor = processors.RobertaProcessing(*ends, trim_offsets=True, add_prefix_space=True)
    tokenizer, config = byte_level(
        prefix_space=True, processor=processor, special=("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    )
    roles = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "mask_token": "<mask>"}
    return tokenizer, config | roles | {"eos_token": "</s>", "bos_token": "<s>"}


def character_bpe(normalizer, words, decoder, crossing=False, with_bytes=True, **options):
    """A BPE on characters, with the vocabulary laid out like Llama 2's."""
    trained = rust.Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", SPACE)
    trained.pre_tokenizer = None if crossing else pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=500, limit_alphabet=90, show_progress=False)
    trained.train_from_iterator(english().splitlines(), trainer)
    learned = json.loads(trained.to_str())["model"]
    names = ["<unk>", "<s>", "</s>", *(BYTE_TOKENS if with_bytes else []), *learned["vocab"]]
    vocabulary = {name: id for id, name in enumerate(dict.fromkeys([*names, SPACE]))}
    merges = [tuple(pair) for pair in learned["merges"]]
    options = {"fuse_unk": True, "byte_fallback": with_bytes, "unk_token": "<unk>"} | options
    tokenizer = rust.Tokenizer(models.BPE(vocab=vocabulary, merges=merges, **options))
    tokenizer.normalizer, tokenizer.decoder = normalizer, decoder
    if words:
        tokenizer.pre_tokenizer = words
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer, {"eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>"}


def replaced(prefix=True, strip=1, with_bytes=True):
    """The normalizer and the decoder of Llama 2."""
    first = [normalizers.Prepend(SPACE)] if prefix else []
    parts = [decoders.Replace(SPACE, " "), *([decoders.ByteFallback()] if with_bytes else []), decoders.Fuse()]
    parts += [decoders.Strip(" ", strip, 0)] if strip else []
    return normalizers.Sequence([*first, normalizers.Replace(" ", SPACE)]), decoders.Sequence(parts)


def llama2(with_bytes=True, **options):
    normalizer, decoder = replaced(with_bytes=with_bytes)
    return character_bpe(normalizer, None, decoder, with_bytes=with_bytes, **options)


def gemma():
    normalizer, decoder = replaced(prefix=False, strip=0)
    return character_bpe(normalizer, pre_tokenizers.Split(" ", "merged_with_previous"), decoder, crossing=True)


def metaspace(scheme, split, decoder=None, **options):
    words = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
    return character_bpe(None, words, decoder or replaced()[1], **options)


def bert(lowercase=True):
    tokenizer = rust.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=700, special_tokens=names, show_progress=False)
    tokenizer.train_from_iterator([english(), *PIECES], trainer)
    roles = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return tokenizer, roles | {"mask_token": "[MASK]"}


KINDS = {
    "gpt2": byte_level,
    "gpt2, special tokens first": lambda: byte_level(special=("<s>", "<pad>", "<|endoftext|>")),
    "gpt2, space before": lambda: byte_level(prefix_space=True),
    "gpt2, space before, trimmed": lambda: byte_level(prefix_space=True, processor=processors.ByteLevel()),
    "gpt2, trimmed": lambda: byte_level(processor=processors.ByteLevel(add_prefix_space=False)),
    "qwen": qwen,
    "roberta": roberta,
    "llama 2": llama2,
    "llama 2 with merges across words": lambda: llama2(crossing=True),
    "llama 2 without bytes": lambda: llama2(with_bytes=False),
    "llama 2 without bytes, not fused": lambda: llama2(with_bytes=False, fuse_unk=False),
    "mistral": lambda: metaspace("first", split=False),
    "metaspace": lambda: metaspace("always", split=True, with_bytes=False, decoder=decoders.Metaspace()),
    "metaspace without first": lambda: metaspace(
        "never", split=True, with_bytes=False, decoder=decoders.Metaspace(prepend_scheme="never")
    ),
    "gemma": gemma,
    "bert": bert,
    "bert with capitals": lambda: bert(lowercase=False),
}


@pytest.fixture(scope="module", params=KINDS)
def pair(request, tmp_path_factory):
    """Our tokenizer, theirs, and the folder written by transformers; with added tokens."""
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer, config = KINDS[request.param]()
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **config)
    theirs.add_tokens(ADDED)
    theirs.save_pretrained(folder)
    assert not {"vocab.txt", "merges.txt"} & {path.name for path in folder.iterdir()}
    return load_any_tokenizer(folder), theirs.backend_tokenizer, folder


def odd_text(seed, n_pieces=12):
    """A text in many scripts that contains names of added and special tokens, and parts of such names."""
    rng = random.Random(seed)
    names = [*NAMES, "<s>", "</s>", "<|endoftext|>", "[SEP]", "[MASK]", "<unk>", "<0x41>", "a", "Z"]
    parts = [fuzzed_text(seed, rng.randrange(n_pieces))]
    for _ in range(rng.randrange(8)):
        parts += [rng.choice(names), rng.choice(["", "", " ", "  x", fuzzed_text(rng.random(), 2)])]
    return "".join(parts)


def is_known_to_both(text, theirs):
    """Whether Python and the Rust package have the same Unicode tables for a text, and the same special tokens."""
    if theirs.token_to_id("<mask>") and ("[MASK]" in text or "[SEP]" in text):  # other names for a RoBERTa's, here only
        return False
    old = unicodedata.ucd_3_2_0
    return all(c.isascii() or unicodedata.category(c) == old.category(c) != "Cn" for c in text) or not theirs.normalizer


def decoded(theirs, ids, skip_special=False):
    """Their decoded text, with the names of added tokens as in the file: tokenizers 0.23 writes their normal forms."""
    added = theirs.get_added_tokens_decoder()
    names = [added[id].content if id in added else theirs.id_to_token(id)
             for id in ids if not (skip_special and id in added and added[id].special)]  # fmt: skip
    return theirs.decoder.decode(names)


def assert_same(ours, theirs, text):
    for allow_special in (False, True):
        theirs.encode_special_tokens = not allow_special
        expected = theirs.encode(text, add_special_tokens=False)
        encoding = ours.encode_with_offsets(text, allow_special)
        assert encoding.ids == expected.ids, ascii(text)
        assert list(zip(encoding.starts, encoding.ends, strict=True)) == expected.offsets, ascii(text)
        assert ours.encode(text, allow_special) == expected.ids
        if ours.kind != "wordpiece":  # whose spaces are guessed, here with more rules
            assert ours.decode(expected.ids) == decoded(theirs, expected.ids), ascii(text)
            assert ours.decode(expected.ids, skip_special=True) == decoded(theirs, expected.ids, True), ascii(text)


def assert_same_for(pair, seeds):
    ours, theirs, _ = pair
    assert ours.vocab_size == theirs.get_vocab_size()
    for text in ["", " ", "the", " the", "the covid cat", "<s>the", "covid-19", "zebrafinches", *map(odd_text, seeds)]:
        if is_known_to_both(text, theirs):
            assert_same(ours, theirs, text)


def test_ids_offsets_and_texts_equal_those_of_the_rust_package(pair):
    assert_same_for(pair, range(40))


@pytest.mark.slow
def test_three_thousand_odd_texts(pair):
    assert_same_for(pair, range(40, 3_040))


def test_a_saved_tokenizer_is_the_same_for_us_and_for_transformers(pair, tmp_path):
    ours, theirs, _ = pair
    ours.save(tmp_path)
    again, opened = load_any_tokenizer(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert again.fingerprint() == ours.fingerprint() and again.special_tokens == ours.special_tokens
    assert again.added_tokens == ours.added_tokens and again.end_of_text == ours.end_of_text
    theirs.encode_special_tokens = False
    for text in map(odd_text, range(15)):
        if is_known_to_both(text, theirs):
            ids = theirs.encode(text, add_special_tokens=False).ids
            assert again.encode(text, True) == opened.encode(text, add_special_tokens=False) == ids


# ── older folders, without tokenizer.json ──


def write_two_files(folder, tokenizer, end="\n", **config):
    """Write vocab.json and merges.txt, with the line ends of git on Windows if wanted, and the config."""
    vocabulary = tokenizer.get_vocab()
    merges = [" ".join(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_bytes(end.join(["#version: 0.2", *merges, ""]).encode())
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("config", [
    {"tokenizer_class": "GPT2Tokenizer"},
    {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": True},
    {"tokenizer_class": "GPT2Tokenizer", "eos_token": "</s>", "bos_token": "</s>", "add_bos_token": True},
], ids=["GPT-2", "space before", "OPT"])  # fmt: skip
def test_two_files_with_special_tokens_first_are_read_as_transformers_does(config, end, tmp_path):
    write_two_files(tmp_path, byte_level(special=("<s>", "<pad>", "</s>", "<|endoftext|>"))[0], end, **config)
    ours, theirs = load_any_tokenizer(tmp_path), transformers.GPT2TokenizerFast.from_pretrained(tmp_path)
    assert ours.end_of_text == theirs.eos_token_id and ours.vocab_size == len(theirs)
    for text in map(odd_text, range(30)):
        assert ours.encode(text, allow_special=True) == theirs.encode(text, add_special_tokens=False), ascii(text)
        assert ours.encode_prompt("the " + text) == theirs("the " + text, split_special_tokens=True).input_ids, ascii(
            text
        )


@pytest.mark.parametrize("further", ["additional_special_tokens", "extra_special_tokens"])
def test_added_tokens_of_an_old_bert_are_read_from_their_file(further, tmp_path):
    tokenizer, roles = bert()
    names = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    (tmp_path / "vocab.txt").write_text("\n".join([*names, ""]))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"covid": len(names), "[E1]": len(names) + 1}))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({further: ["[E1]"]}))
    ours = load_any_tokenizer(tmp_path)
    assert ours.special_tokens["[E1]"] == len(names) + 1 and "covid" not in ours.special_tokens
    if TRANSFORMERS_5 == (further == "extra_special_tokens"):  # each version has its own name for the list in this file
        theirs = transformers.BertTokenizerFast.from_pretrained(tmp_path)
        for text in ("the Covid cat [E1]", "covids", "[e1] [E1][MASK]"):
            assert ours.encode(text, allow_special=True) == theirs.encode(text, add_special_tokens=False)
    ours.save(tmp_path / "again")
    again = load_any_tokenizer(tmp_path / "again")
    assert again.fingerprint() == ours.fingerprint() and again.encode("the covid") == ours.encode("the covid")
    opened = transformers.AutoTokenizer.from_pretrained(tmp_path / "again")
    assert opened.encode("a covid [E1]", add_special_tokens=False) == ours.encode("a covid [E1]", allow_special=True)


# ── what is not supported ──


def spoiled(folder, kind, **changes):
    """The folder of a type of tokenizer with parts of its tokenizer.json, or some of their fields, replaced."""
    tokenizer, config = KINDS[kind]()
    content = json.loads(tokenizer.to_str())
    for name, value in changes.items():
        content[name] = {**content[name], **value} if isinstance(value, dict) and "type" not in value else value
    (folder / "tokenizer.json").write_text(json.dumps(content))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


NFD = {"type": "NFD"}


@pytest.mark.parametrize("kind, changes, words", [
    ("bert", {"normalizer": {"type": "Sequence", "normalizers": [NFD]}}, "its normalizer has type = 'Sequence'"),
    ("bert", {"normalizer": None}, "its normalizer has type = None"),
    ("bert", {"normalizer": {"handle_chinese_chars": False}}, "handle_chinese_chars = False"),
    ("bert", {"pre_tokenizer": {"type": "Whitespace"}}, "its pre_tokenizer has type = 'Whitespace'"),
    ("bert", {"model": {"continuing_subword_prefix": "@@"}}, "continuing_subword_prefix = '@@'"),
    ("bert", {"model": {"vocab": {"[PAD]": 3}}}, "ids of its vocabulary are not 0, 1, 2"),
    ("bert", {"model": {"vocab": ["a"]}}, "damaged"),
    ("llama 2", {"normalizer": NFD}, "its normalizer has 'NFD' in a form"),
    ("llama 2", {"normalizer": None}, "its normalizer does not write spaces as ▁"),
    ("llama 2", {"decoder": {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}}, "its decoder is"),
    ("llama 2", {"decoder": {"type": "CTC"}}, "its decoder has 'CTC'"),
    ("llama 2", {"pre_tokenizer": {"type": "Whitespace"}}, "its pre_tokenizer has 'Whitespace'"),
    ("llama 2", {"model": {"merges": [["q", "ζ"]]}}, "has no 'ζ', which its merges use"),
    ("llama 2", {"model": {"unk_token": "<huh>"}}, "'<huh>' is not in its vocabulary"),
    ("gpt2", {"added_tokens": [{"id": 0, "content": "<|endoftext|>", "lstrip": 1}]}, "has lstrip = 1"),
    ("gpt2", {"added_tokens": [{"id": 0, "content": ""}]}, "has the content ''"),
], ids=str)  # fmt: skip
def test_what_is_not_supported_is_named(kind, changes, words, tmp_path):
    spoiled(tmp_path, kind, **changes)
    with pytest.raises(UserError, match=words):
        load_any_tokenizer(tmp_path)


def test_a_long_text_without_spaces_takes_n_log_n_steps(tmp_path):
    spoiled(tmp_path, "llama 2 with merges across words")
    ours = load_any_tokenizer(tmp_path)
    theirs = rust.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in ("ab" * 20_000, "the" * 10_000 + " " * 10_000):
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False).ids


# ── tokens without a row in the model's embedding ──


@pytest.mark.parametrize("kind", ["gpt2", "llama 2", "bert"])
def test_tokens_that_were_added_to_the_tokenizer_alone_are_left_out_with_a_notice(kind, tmp_path):
    tokenizer, config = KINDS[kind]()
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **config)
    n = len(theirs)
    theirs.add_special_tokens({"pad_token": "[PADDING]"})
    theirs.add_tokens("covid")
    theirs.save_pretrained(tmp_path)
    model = ModelConfig(vocab_size=n, n_layers=1, n_heads=1, d_model=8)
    (tmp_path / "config.json").write_text("{}")
    messages = []
    ours = read_tokenizer(tmp_path, model, messages.append)
    assert len(messages) == 1 and "has '[PADDING]', 'covid', which the model has no embedding for" in messages[0]
    assert ours.vocab_size == n and max(ours.encode("a [PADDING] covid", allow_special=True)) < n > ours.pad_id
    ours.save(tmp_path)
    assert read_tokenizer(tmp_path, model, messages.append).fingerprint() == ours.fingerprint()
    opened = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert opened.encode("the cat", add_special_tokens=False) == ours.encode("the cat")
    with pytest.raises(UserError, match="does not belong to the model there"):
        read_tokenizer(tmp_path, ModelConfig(vocab_size=n - 1, n_layers=1, n_heads=1, d_model=8), messages.append)


def test_a_continuation_keeps_its_first_space(tmp_path):
    """The space that is added before a text is removed at its start, and nowhere else."""
    spoiled(tmp_path, "llama 2")
    tokenizer = load_any_tokenizer(tmp_path)
    prompt, continuation = tokenizer.encode_prompt("the"), tokenizer.encode(" cat")[1:]  # the token for a text's start
    assert tokenizer.decode(continuation) == "cat"
    for before, text in ((prompt[-1], " cat"), (tokenizer.end_of_text, "cat"), (None, "cat")):
        assert tokenizer.decode(continuation, previous=before) == text
        stream = TextStream(tokenizer, previous=before)
        assert "".join(map(stream.push, continuation)) + stream.close() == text
    model = build_model(ModelConfig(vocab_size=tokenizer.vocab_size, n_layers=1, n_heads=1, d_model=8))
    model.generation_config = GenerationConfig(forced_bos_token_id=continuation[0])
    options = SamplingOptions(max_new_tokens=5, seed=3)
    [result] = generate(model, tokenizer, ["the"], options)
    assert tokenizer.decode([*prompt, *result.ids], skip_special=True) == "the" + result.text
    [[hypothesis]] = beam_search(model, tokenizer, ["the"], BeamOptions(1, max_new_tokens=5))
    assert tokenizer.decode([*prompt, *hypothesis.ids], skip_special=True) == "the" + hypothesis.text


BEGINS = json.loads(processors.TemplateProcessing("<s> $A", "<s> $A <s> $B", [("<s>", 1)]).__getstate__())


@pytest.mark.parametrize("config, has_begin", [
    ({}, False), ({"tokenizer_class": "LlamaTokenizer"}, False), ({"add_bos_token": True}, False),
    ({"tokenizer_class": "LlamaTokenizer", "add_bos_token": True}, True),
    ({"tokenizer_class": "LlamaTokenizerFast", "add_bos_token": False}, False),
    ({"tokenizer_class": "LlamaTokenizerFast", "add_bos_token": False, "post_processor": BEGINS}, False),
    ({"post_processor": BEGINS}, True),
], ids=str)  # fmt: skip
def test_llamas_class_says_whether_a_text_begins_with_a_token(config, has_begin, tmp_path):
    """The field `add_bos_token` belongs to transformers 4. Version 5 only reads tokenizer.json, so that is saved."""
    config = dict(config)
    spoiled(tmp_path, "llama 2", post_processor=config.pop("post_processor", None))
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    tokenizer = load_any_tokenizer(tmp_path)
    assert tokenizer.encode_prompt("the") == [1] * has_begin + tokenizer.encode("the")
    tokenizer.save(tmp_path / "again")
    assert load_any_tokenizer(tmp_path / "again").encode_prompt("the") == tokenizer.encode_prompt("the")
    kind = transformers.AutoTokenizer if "tokenizer_class" in config else transformers.PreTrainedTokenizerFast
    for folder in (tmp_path / "again",) if TRANSFORMERS_5 else (tmp_path, tmp_path / "again"):
        if config != {"tokenizer_class": "LlamaTokenizer"}:  # whose default differs
            theirs = kind.from_pretrained(folder)
            assert theirs("the").input_ids == tokenizer.encode_prompt("the")


def test_a_roberta_has_two_separators_between_texts_and_berts_names_for_its_tokens(tmp_path):
    tokenizer, config = roberta()
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **config)
    theirs.save_pretrained(tmp_path)
    ours = load_any_tokenizer(tmp_path)
    first, second = ours.encode("How are you?"), ours.encode("Fine.")
    for texts, ids in ((("How are you?",), (first,)), (("How are you?", "Fine."), (first, second))):
        inputs = ours.build_inputs(*ids)
        assert inputs.ids == theirs(*texts).input_ids and inputs.cls_index == 0
        assert len(inputs.ids) == sum(map(len, ids)) + ours.n_special_tokens(len(ids))
    assert inputs.ids[inputs.second_start :] == [*second, theirs.sep_token_id]
    masked = theirs.encode("a <mask> b", add_special_tokens=False)
    assert ours.encode("a [MASK] b", allow_special=True) == ours.encode("a <mask> b", allow_special=True) == masked
    assert ours.pad_id == theirs.pad_token_id and ours.decode([theirs.mask_token_id]) == "<mask>"
    assert ours.special_tokens["[MASK]"] == theirs.mask_token_id


def test_two_files_of_a_roberta_are_read_as_transformers_does(tmp_path):
    write_two_files(tmp_path, roberta()[0], tokenizer_class="RobertaTokenizer")
    ours, theirs = load_any_tokenizer(tmp_path), transformers.RobertaTokenizerFast.from_pretrained(tmp_path)
    assert ours.build_inputs(ours.encode("the cat"), ours.encode("é")).ids == theirs("the cat", "é").input_ids
