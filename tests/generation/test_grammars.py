"""Constrained decoding: every text matches its grammar within the token limit; unsupported constructs are rejected."""

import json
import random
import re
import time

import pytest
import torch
from model_helpers import random_gpt

from llmasos.errors import UserError
from llmasos.generation import SamplingOptions, SequenceState, generate, json_schema, regular_expression
from llmasos.generation import grammar as automaton
from llmasos.generation.grammar import DEAD, Choice, Grammar, Rule, Sequence, literal
from llmasos.generation.token_grammar import NEVER, constrain_to_grammars, grammar_of
from llmasos.generation.tool_calls import call_grammar
from llmasos.tokenizers import train_tokenizer
from llmasos.tokenizers.wordpiece import WordPieceTokenizer

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 8},
        "age": {"type": "integer"},
        "pets": {"type": "array", "items": {"enum": ["cat", "dög", 3, None]}, "maxItems": 2},
        "size": {"type": ["number", "null"]},
        "friend": {"$ref": "#"},
    },
    "required": ["name", "pets"],
}
PIECES = ["a", "b", "ä", "€", "😀", ".", r"\d", r"\w", r"\S", "[a-c]", "[^a€]", "[ä-ü]", r"[\d_-]", r"\.", r"\x61",
          "(?:a|bä)", "(ab)", "a?", "b*", "(a|€)+", "[ab]{2}", "a{1,3}", "(b{2,}|😀)?", "", "()",
          "a{,2}", "b{,}", "a{}", "(?P<n>a|b)",
          r"\u20ac{0,2}"]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(
        "bpe", ['{"name": "Anna", "age": 7, "pets": ["cat"]} and "more" text, ' * 20], vocab_size=300
    )


@pytest.fixture(scope="module")
def model(tokenizer):
    return random_gpt(vocab_size=tokenizer.vocab_size, context_length=64)


def random_texts(draw: random.Random, n: int) -> list[str]:
    return ["".join(draw.choices("aabbcäü€😀.1_ \n", k=draw.randint(0, 6))) for _ in range(n)]


# Regular expressions


@pytest.mark.parametrize("seed", range(30))
def test_an_expression_describes_the_texts_that_re_matches_as_a_whole(seed):
    draw = random.Random(seed)
    pattern = "|".join("".join(draw.choices(PIECES, k=draw.randint(1, 4))) for _ in range(draw.randint(1, 2)))
    grammar, oracle = regular_expression(pattern), re.compile(pattern)
    for text in random_texts(draw, 60):
        assert grammar.matches(text) == bool(oracle.fullmatch(text)), (pattern, text)


@pytest.mark.parametrize("pattern", [".", r"\w", r"\W", "[߰-ࠟ]", "[^\x00-\uffff]", "[\x7f-\x80]", "[\ud7ff-\ue000]"])
def test_classes_have_the_characters_that_they_have_in_re(pattern):
    grammar, oracle = regular_expression(pattern), re.compile(pattern)
    edges = {code + d for code in (0, 0x7F, 0x7F0, 0x7FF, 0x81F, 0xFFFF, 0x10000, 0x10FFFF) for d in (-1, 0, 1)}
    codes = {*edges, 10, 48, 95, 0xE4, 0x4E2D, 0x1F600, 0xD7FF, 0xE000} & {*range(0xD800), *range(0xE000, 0x110000)}
    for code in codes:
        assert grammar.matches(chr(code)) == bool(oracle.fullmatch(chr(code))), hex(code)


@pytest.mark.parametrize(
    "pattern, words",
    [
        ("(a", "a '(' that nothing closes"), ("a)", "a ')' that closes nothing"), ("[a", "a '[' that nothing closes"),
        ("*a", "a '*' that repeats nothing"), ("a{3,2}", "bounds 3 and 2 are in the wrong order"),
        ("a{5000}", "more than 1,000 times"), ("(?=a)", "a group with (?…)"), (r"(a)\1", r"\1, which no grammar"),
        (r"\ba", r"\b, which no grammar"), ("a^b", "a '^' in its middle"), ("a\\", "a single backslash"),
        (r"\xg1", "2 hex"),
        ("[z-a]", "ends are not in order"), ("(" * 200 + ")" * 200, "nested more than 100 deep"), ("a*+", "possessive"),
        ("a{2}{3}", "a repetition of a repetition"), ("a**", "a repetition of a repetition"),
        (r"\012", "an octal number"),
        ("a{" + "9" * 5_000 + "}", "more than 1,000 times"), ("(^a)", "a '^' in its middle"),
        ("(?<x>a)", "(?P<name>…)"),
        ("a" * 20_000, "20,000 characters; at most 10,000"), (7, "it must be text"),
    ],
)  # fmt: skip
def test_what_is_no_expression_is_said(pattern, words):
    with pytest.raises(UserError, match=re.escape(words)):
        regular_expression(pattern)


def test_a_hostile_expression_is_refused_in_bounded_time(monkeypatch):
    monkeypatch.setattr(automaton, "MAX_STATES", 200)
    monkeypatch.setattr(automaton, "MAX_POSITIONS", 2_000)
    grammar = regular_expression("(a|b)*a(a|b){30}")  # 2^30 states, if they were built in advance
    with pytest.raises(UserError, match="is too complex; use fewer or smaller"):
        draw = random.Random(0)
        for _ in range(500):
            grammar.matches("".join(draw.choices("ab", k=40)))
    with pytest.raises(UserError, match="is too complex"):
        Grammar(Rule("x"), {"x": Choice((Sequence((Rule("x"), literal("a"))), literal("a")))}).matches(
            "a"
        )  # left-recursive


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a*)*", "(a|a)*b", "((a?){9}){9}", "(.*.*.*=.*)+", "(x+x+)+y"])
def test_what_makes_other_engines_search_for_ages_is_read_byte_by_byte(pattern):
    grammar = regular_expression(pattern)
    expected = re.fullmatch(pattern, "a" * 12)  # short enough for `re`, too
    assert grammar.matches("a" * 12) == bool(expected)
    assert not grammar.matches("a" * 200 + "!")


def seconds_until_refused(make, words: str) -> float:
    """The processor time until a UserError with these words is raised."""
    start = time.process_time()
    with pytest.raises(UserError, match=re.escape(words)):
        make()
    return time.process_time() - start


def texts(pattern: str, text: str) -> None:
    """Read a text, and try every possible byte in each state, as for the tokens of a vocabulary."""
    grammar = regular_expression(pattern)
    state = grammar.first_state
    for byte in text.encode():
        for other in range(256):
            grammar.read(state, bytes([other]))
        state = grammar.read(state, bytes([byte]))


@pytest.mark.parametrize(
    "pattern, words",
    [
        ("(" * 101 + "a" + ")" * 101, "groups nested more than 100 deep"),
        ("a{1001}", "more than 1,000 times"), ("a{2}{3}", "a repetition of a repetition"),
        ("(((a{1000}){1000}){1000}){2,1}", "in the wrong order"), ("a" * 10**7, "10,000,000 characters; at most"),
    ],
)  # fmt: skip
def test_a_hostile_expression_is_refused_when_it_is_read(pattern, words):
    assert seconds_until_refused(lambda: regular_expression(pattern), words) < 2


@pytest.mark.parametrize(
    "pattern, letters, most",
    [
        ("(a|b)*a(a|b){1000}", "ab", 100_000), ("(((a?){1000}){1000}){1000}b", "ab", 100_000),
        (r"(\w*\W*){50}!", "aé,", 500_000),  # few positions, each with thousands of sets of bytes
    ],
)  # fmt: skip
def test_a_hostile_expression_is_refused_after_a_bounded_amount_of_work(pattern, letters, most, monkeypatch):
    monkeypatch.setattr(automaton, "MAX_WORK", most)
    text = "".join(random.Random(0).choices(letters, k=2_000))
    assert seconds_until_refused(lambda: texts(pattern, text), "is too complex; use fewer or smaller") < 3


# JSON


@pytest.mark.parametrize(
    "schema",
    [PERSON, {}, True, {"type": "object"}, {"type": "array", "items": {"type": "number"}},
     {"anyOf": [{"const": {"a": [1]}}, {"type": "boolean"}]}],
)  # fmt: skip
def test_every_text_of_a_schema_is_json_that_the_schema_accepts(schema):
    jsonschema = pytest.importorskip("jsonschema_rs")
    grammar, draw = json_schema(schema), random.Random(0)
    for _ in range(40):
        state, text = grammar.first_state, b""
        while not (grammar.accepts(state) and draw.random() < 0.3):
            steps = {b: grammar.read(state, bytes([b])) for b in range(256)}
            steps = {b: after for b, after in steps.items() if after != DEAD}
            if not steps:
                break
            if len(text) > 60:  # now the shortest way to the end
                least = min(grammar.bytes_to_end(after) for after in steps.values())
                steps = {b: after for b, after in steps.items() if grammar.bytes_to_end(after) == least}
            byte = draw.choice(list(steps))
            state, text = steps[byte], text + bytes([byte])
        assert jsonschema.is_valid(schema, json.loads(text)), text


CALLS = {  # two functions with rules of the same name
    "find": {"$defs": {"x": {"type": "integer"}}, "properties": {"n": {"$ref": "#/$defs/x"}}, "required": ["n"]},
    'tell "ä"': {"$defs": {"x": {"type": "null"}}, "properties": {"who": {"$ref": "#/$defs/x"}, "to": PERSON | {
        "properties": {"name": {"type": "string"}}, "required": []}}},
    "now": None,
    "any": {},
}  # fmt: skip


@pytest.mark.parametrize(
    "call, is_one",
    [
        ('{"name": "find", "arguments": {"n": 3}}', True),
        ('{"name":"find","arguments":{"n":3}}', True),
        ('{"name": "find", "arguments": {"n": null}}', False),
        ('{"name": "find", "arguments": {}}', False),
        ('{"name": "tell \\"ä\\"", "arguments": {"who": null, "to": {"name": "</tool_call>"}}}', True),
        ('{"name": "tell \\"ä\\"", "arguments": {"who": 3}}', False),
        ('{"name": "now", "arguments": {}}', True),
        ('{"name": "now", "arguments": {"n": 3}}', False),
        ('{"name": "now"}', False),
        ('{"name": "any", "arguments": {"n": [3]}}', True),
        ('{"name": "any", "arguments": [3]}', False),
        ('{"arguments": {}, "name": "now"}', False),
        ('{"name": "no", "arguments": {}}', False),
    ],
)
def test_a_call_is_one_function_and_its_own_arguments(call, is_one):
    grammar = call_grammar(CALLS)
    assert grammar.matches(f"<tool_call>{call}") == is_one
    assert not grammar.matches(call) and not grammar.matches(f"<tool_call>{call}</tool_call>")


@pytest.mark.parametrize(
    "schema, words",
    [
        ({"type": "array"}, "the arguments of f are an object by name; its JSON schema describes other values, too"),
        ({"anyOf": [{"type": "object"}, {"type": "null"}]}, "describes other values, too"),
        ({"properties": {"n": {"minimum": 3}}}, "a call of f cannot be forced: a part of the JSON schema has no type"),
        ({"properties": {"n": {"$ref": "#"}}, "required": ["n"]}, "describes no arguments that ever end"),
        ({"$ref": "#/no"}, "a call of f cannot be forced: the JSON schema refers to '#/no'"),
    ],
)
def test_arguments_that_cannot_be_forced_are_said(schema, words):
    with pytest.raises(UserError, match=re.escape(words)):
        call_grammar({"g": None, "f": schema})


def test_without_a_function_there_is_no_call():
    with pytest.raises(UserError, match="there is no function to call"):
        call_grammar({})


@pytest.mark.parametrize(
    "schema, yes, no",
    [
        (PERSON, '{"name": "A", "pets": []}', '{"pets": [], "name": "A"}'),
        (PERSON, '{"name":"A","age":-7,"pets":["dög",null],"friend":{"name":"B","pets":[3]}}', '{"name": "A"}'),
        ({"type": "object", "properties": {"a": {"const": 1}}}, "{}", '{"b": 1}'),
        ({"type": "object", "additionalProperties": {"type": "null"}}, '{"x": null, "y": null}', '{"x": 1}'),
        ({"type": "object", "properties": {"a": {"const": 1}}, "additionalProperties": True}, '{"a": 1}', '{"a": 2}'),
        ({"type": "object", "additionalProperties": False}, "{}", '{"x": 1}'),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3}, "[1, 2,3]", "[1]"),
        ({"type": "string", "pattern": "[a-z]+"}, '"abc"', '"ABC"'),
        ({"type": "string", "maxLength": 2}, '"\\u00e4\\n"', '"abc"'),
        ({"type": "number"}, "-0.5e+10", "01"),
        ({"type": "integer"}, "0", "1.5"),
        ({"enum": ["a", {"b": 1}]}, '{"b": 1}', '"b"'),
        ({"$defs": {"n/x": {"type": "null"}}, "$ref": "#/$defs/n~1x"}, "null", "1"),
        ({"$defs": {"a b": [True, {"type": "null"}]}, "$ref": "#/$defs/a%20b/1"}, "null", "1"),
        ({"type": "string", "pattern": ".*"}, '"a\\"b\\\\"', '"a"b"'),
        ({"type": "string", "pattern": '[\\n"]'}, '"\\n"', '"\n"'),
        ({"type": ["integer", "string"], "enum": [1, 2.0, 1.5, "a", True, None]}, '"a"', "1.5"),
        ({"type": "integer", "enum": [2.0, True]}, "2.0", "true"),
    ],
)  # fmt: skip
def test_a_schema_accepts_and_rejects(schema, yes, no):
    grammar = json_schema(schema)
    assert grammar.matches(yes) and not grammar.matches(no)


@pytest.mark.parametrize(
    "schema, words",
    [
        ({"type": "integer", "minimum": 3}, "'minimum', which cannot be kept"),
        ({"type": "text"}, "the type 'text'"), ({"type": "object", "required": ["a"]}, "requires 'a'"),
        ({"$ref": "https://example.org/x"}, "only parts of itself"), ({"$ref": "#/$defs/x"}, "which it does not have"),
        ({"title": "x", "minimum": 1}, "has no type"), ("string", "it must be an object"),
        ({"enum": "ab"}, "must be a list"),
        ({"type": "array", "minItems": 3, "maxItems": 2}, "below minItems"),
        ({"type": "string", "maxLength": 10**9}, "a whole number up to 1,000"),
        ({"type": "object", "properties": {"x": {"$ref": "#"}}, "required": ["x"]}, "no text that ever ends"),
        ({"$ref": "#"}, "no text that ever ends"),
        ({"anyOf": [True], "minLength": 2}, "'anyOf' together with 'minLength'"),
        ({"type": "string", "pattern": "a", "maxLength": 2}, "'pattern' together with 'maxLength'"),
        ({"enum": [1, 5], "minimum": 3}, "'enum' together with 'minimum'"), 
        ({"const": float("nan")}, "JSON does not have"),
        ({"type": "string", "enum": [1]}, "none of the values [1]"),
        ({"type": "object", "properties": {"x": True}, "required": [["x"]]}, "must be a list of names"),
    ],
)  # fmt: skip
def test_a_schema_that_cannot_be_kept_is_refused_by_name(schema, words):
    with pytest.raises(UserError, match=re.escape(words)):
        json_schema(schema)


def shared_schema(depth: int) -> dict:
    """A schema of 2^depth parts that share the memory of a few."""
    schema: dict = {"type": "null"}
    for _ in range(depth):
        schema = {"anyOf": [schema, schema]}
    return schema


def schema_in_itself() -> dict:
    schema: dict = {"type": "array"}
    schema["items"] = schema
    return schema


def reversed_references(n: int) -> dict:
    """Rules that each need the next one, found from the end: no path is deep, and the last one depends on all."""
    rules = {f"d{i}": {"type": "array", "minItems": 1, "items": {"$ref": f"#/$defs/d{i + 1}"}} for i in range(n)}
    rules[f"d{n}"] = {"type": "null"}
    names = {f"p{i}": {"$ref": f"#/$defs/d{i}"} for i in range(n)}  # the last is read first
    return {"$defs": rules, "type": "object", "properties": names}


@pytest.mark.parametrize(
    "schema, words",
    [
        (lambda: shared_schema(60), "more than 100,000 characters"),
        (schema_in_itself, "more than 100,000 characters"),
        (lambda: {"enum": ["x" * 10**7]}, "more than 100,000 characters"),
        (lambda: {"type": "object", "properties": {f"p{i}": True for i in range(10**5)}}, "more than 100,000"),
        (lambda: {"title": "x" * 10**7, "type": "null"}, "more than 100,000 characters"),
        (lambda: {"type": "string", "pattern": "(" * 200}, "nested more than 100 deep"),
        (lambda: {"$ref": "#"}, "no text that ever ends"),
        (lambda: {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
         "no text that ever ends"),
        (lambda: {"$defs": {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(500)}, "$ref": "#/$defs/d0"},
         "nested more than 100 deep"),
        (lambda: {"const": {1, 2}}, "which JSON does not have"),
    ],
)  # fmt: skip
def test_a_hostile_schema_is_refused_by_name_at_once(schema, words):
    value = schema()
    assert seconds_until_refused(lambda: json_schema(value), words) < 2


def test_a_long_reference_is_shown_by_its_beginning():
    with pytest.raises(UserError) as error:
        json_schema({"$ref": "#/" + "a/" * 10_000})
    assert len(str(error.value)) < 200


def test_rules_that_depend_on_each_other_are_solved_or_refused_in_bounded_time(monkeypatch):
    assert json_schema(reversed_references(30)).matches('{"p28": [[null]], "p29": [null]}')
    monkeypatch.setattr(automaton, "MAX_WORK", 100_000)
    assert seconds_until_refused(lambda: json_schema(reversed_references(300)), "the JSON schema is too complex") < 3


def test_a_thousand_properties_and_the_deepest_schema_with_the_deepest_pattern_fit_into_the_stack():
    properties = {f"k{i}": {"type": "boolean"} for i in range(1_000)}
    assert json_schema({"type": "object", "properties": properties}).matches('{"k7": true, "k999": false}')
    schema: dict = {"type": "string", "pattern": "(" * 100 + "a|b" + ")" * 100}
    for _ in range(99):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    assert json_schema(schema).matches('{"a":' * 99 + '"b"' + "}" * 99)


def test_a_schema_that_is_nested_without_end_is_refused():
    schema = {"type": "null"}
    for _ in range(200):
        schema = {"type": "array", "items": schema}
    with pytest.raises(UserError, match="nested more than 100 deep"):
        json_schema(schema)


# Decoding


@pytest.mark.parametrize("max_new_tokens", [24, 25, 40, 90])
def test_every_sampled_text_is_complete_whatever_room_it_has(model, tokenizer, max_new_tokens):
    """The shortest person takes 22 bytes and an end; a random model would stay in its first string."""
    options = SamplingOptions(max_new_tokens=max_new_tokens, temperature=1.5, grammar=json_schema(PERSON))
    results = generate(model, tokenizer, ["Anna", ""], options, n_samples=12)
    for result in results:
        assert {"name", "pets"} <= json.loads(result.text).keys() and result.finish_reason == "stop"
    assert len({result.text for result in results}) > 6


def test_greedy_and_a_grammar_of_one_text(model, tokenizer):
    options = SamplingOptions(temperature=0, grammar=regular_expression("yes, of course"))
    (result,) = generate(model, tokenizer, ["?"], options)
    assert (result.text, result.finish_reason) == ("yes, of course", "stop")


def test_a_token_is_allowed_if_enough_tokens_are_left_for_the_rest(tokenizer):
    options = SamplingOptions(max_new_tokens=9, grammar=regular_expression('"[a-z]{0,4}"|[0-9]+'), stop_token_ids=(0,))
    tokens = grammar_of(options, tokenizer)
    for text in (b"", b'"', b'"an', b"12", b'"anna', b'"a"'):
        state = tokens.grammar.read(tokens.grammar.first_state, text)
        needed = tokens.needed(state)
        for id in range(1, tokenizer.vocab_size):
            data = b"" if tokenizer.special_mask[id] else tokenizer.token_bytes(id)
            after = tokens.grammar.read(state, data) if data else DEAD
            assert needed[id] == (NEVER if after == DEAD else tokens.grammar.bytes_to_end(after)), data
        assert needed[0] == (-1 if tokens.grammar.accepts(state) else NEVER)


def test_other_sequences_of_the_batch_are_left_alone(tokenizer):
    logits = torch.randn(2, tokenizer.vocab_size)
    options = SamplingOptions(grammar=regular_expression("[0-9]+"), stop_token_ids=tokenizer.stop_ids)
    free = SequenceState((1,), SamplingOptions())
    assert constrain_to_grammars(logits, [free, free]) is logits
    bound = SequenceState((1,), options, grammar=grammar_of(options, tokenizer))
    after = constrain_to_grammars(logits, [free, bound])
    assert torch.equal(after[0], logits[0])
    digits = {id for id in range(tokenizer.vocab_size) if tokenizer.token_bytes(id).isdigit()}
    assert {i for i, x in enumerate(after[1].tolist()) if x > -torch.inf} == digits
    assert torch.equal(after[1][list(digits)], logits[1][list(digits)])


def test_a_tokenizer_without_the_characters_and_too_few_tokens_are_named(model, tokenizer):
    letters = train_tokenizer("char", ["abc"])
    with pytest.raises(UserError, match="the tokenizer lacks characters that the JSON schema needs"):
        grammar_of(SamplingOptions(grammar=json_schema({"type": "object"}), stop_token_ids=letters.stop_ids), letters)
    with pytest.raises(UserError, match="the text may have 5 tokens, and the JSON schema may need 23; allow more"):
        generate(model, tokenizer, ["x"], SamplingOptions(max_new_tokens=5, grammar=json_schema(PERSON)))
    with pytest.raises(UserError, match="it must be made by json_schema"):
        SamplingOptions(grammar="[0-9]")
    digits = SamplingOptions(grammar=regular_expression("[0-9]"), stop_at_end_of_text=False)
    with pytest.raises(UserError, match="leave stop_at_end_of_text on"):
        generate(model, tokenizer, ["x"], digits)
    words = WordPieceTokenizer(["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "a"])
    with pytest.raises(UserError, match="a WordPiece tokenizer puts spaces between words"):
        grammar_of(digits, words)


def test_a_grammar_that_becomes_too_complex_fails_its_own_text_only(model, tokenizer, monkeypatch):
    grammar = regular_expression("(.|a)*a.{12}")
    monkeypatch.setattr(automaton, "MAX_STEPS", 3_000)
    with pytest.raises(UserError, match="is too complex"):
        generate(model, tokenizer, ["x"], SamplingOptions(max_new_tokens=60, grammar=grammar))


def test_log_probabilities_are_the_models_own(model, tokenizer):
    options = SamplingOptions(temperature=0, grammar=regular_expression("yes"))
    (bound,) = generate(model, tokenizer, ["?"], options)
    ids = [*tokenizer.encode("?"), *bound.ids]
    with torch.inference_mode():
        logprobs = model(torch.tensor([ids]))[0].log_softmax(-1)
    expected = [logprobs[i, id].item() for i, id in enumerate(ids[1:])]
    assert bound.logprobs == pytest.approx(expected[-len(bound.logprobs) :], abs=1e-4)


def test_a_text_begins_without_the_space_that_a_tokenizer_leaves_out(monkeypatch):
    tokenizer = train_tokenizer("bpe", ["this and that and more and more"] * 20, vocab_size=280)
    added = lambda id, previous: tokenizer.token_bytes(id).removeprefix(b"" if previous else b" ")  # noqa: E731
    monkeypatch.setattr(tokenizer, "added_bytes", added)
    options = SamplingOptions(grammar=regular_expression("text, and|and"), stop_token_ids=tokenizer.stop_ids)
    tokens = grammar_of(options, tokenizer)
    (word,) = (i for i in range(tokenizer.vocab_size) if tokenizer.token_bytes(i) == b" and")
    first = SequenceState((tokenizer.end_of_text,), options, grammar=tokens)
    later = SequenceState((*tokenizer.encode("?"),), options, grammar=tokens)
    assert tokens.allowed(first)[word] and not tokens.allowed(later)[word]
    first.ids.append(word)
    assert tokens.grammar.accepts(tokens.state_of(first))


def test_many_optional_properties_and_long_patterns_take_no_time():
    """An algorithm that doubles its work with every property, or builds 771 ranges for every \\w, would not finish."""
    properties = {f"k{i}": {"type": "integer"} for i in range(60)}
    assert json_schema({"type": "object", "properties": properties}).matches('{"k3": 1, "k59": 2}')
    assert regular_expression(r"\w" * 1_000 + "[" + r"\w" * 3_000 + r"]\w{1,500}").matches("ä中" * 700)
    many = {"type": ["array"] * 40, "items": {"type": ["array"] * 40, "items": {"type": "null"}}}
    assert json_schema(many).matches("[[null]]")


def test_states_of_a_long_string_share_their_masks(tokenizer):
    options = SamplingOptions(
        max_new_tokens=2_000, grammar=json_schema({"type": "string", "maxLength": 1_000}), stop_token_ids=(0,)
    )
    tokens, sequence = grammar_of(options, tokenizer), SequenceState((1,), options)
    for id in tokenizer.encode('"' + "a" * 300):
        tokens.allowed(sequence)
        sequence.ids.append(id)
    assert len(tokens._needed) <= 3


def test_counts_beyond_all_numbers_and_foreign_stop_ids_harm_nobody(tokenizer):
    grammar = regular_expression("b|(((a{1000}){1000}){1000}){1000}")
    options = SamplingOptions(grammar=grammar, stop_token_ids=(0, 10**6))
    tokens = grammar_of(options, tokenizer)
    allowed = tokens.allowed(SequenceState((1,), options))
    assert [tokenizer.token_bytes(i) for i in allowed.nonzero()[:, 0].tolist()] == [b"b"]
