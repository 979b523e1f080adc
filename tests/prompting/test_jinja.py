# ruff: noqa: E501 — programs are easier to read in their own lines
"""Chat templates give the same text as jinja2, with all constructions of published ones; hostile ones end soon."""

import random
import time

import pytest
from jinja_helpers import MESSAGES, VARIABLES, by_jinja2, by_us
from template_families import FAMILIES

from llmasos.prompting.jinja import Refusal, Template, TemplateError, UnsupportedTemplate

TOOLS = [
    {"type": "function", "function": {"name": "f", "description": 'Say "é"', "parameters": {"type": "object",
     "properties": {"a": {"type": "integer"}}, "required": ["a"]}}},
    {"type": "function", "function": {"name": "g", "description": "<g>", "parameters": {}}},
]  # fmt: skip
SYSTEM, USER, CALL, RESULT = MESSAGES[:4]
ASSISTANT = {"role": "assistant", "content": "<think>\nWell.\n</think>\n\n Yes. "}
CHATS = {
    "question": [USER],
    "system": [SYSTEM, USER],
    "turns": [USER, ASSISTANT, USER, {"role": "assistant", "content": "No."}, USER],
    "system and turns": [SYSTEM, USER, ASSISTANT, USER],
    "call": [SYSTEM, USER, CALL, RESULT, RESULT, ASSISTANT, USER],
    "two of one": [USER, USER],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    "odd": [{"role": "user", "content": "\n {{ x }} {% if %} \"'\\ \u2028 é 🎉 \t"}],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_writes_what_jinja2_writes_or_both_refuse(family):
    written = 0
    for messages in CHATS.values():
        for more in ({"add_generation_prompt": True}, {}, {"tools": TOOLS}, {"enable_thinking": False, "tools": None}):
            variables = {"messages": messages, "bos_token": "<s>", "eos_token": "</s>", **more}
            expected = by_jinja2(FAMILIES[family], variables)
            assert by_us(FAMILIES[family], variables) == expected, (family, messages, more)
            written += expected is not None
    assert written >= 8


WHITE_SPACE = ["", " ", "\n", "  \n", "\n  ", "\n\n ", "x", " x ", "\nx\n"]


def test_white_space_around_every_tag_is_that_of_jinja2():
    rng = random.Random(0)
    for _ in range(40):
        tags = []
        for inside in rng.choices(["if true", "set a = 1", "#", "=", "raw"], k=3):
            left, right = rng.choice(["", "-", "+"]), rng.choice(["", "-", "+"])
            sign = lambda s: s.replace("+", "")  # noqa: E731
            if inside == "#":
                tags.append("{#" + left + " c " + right + "#}")
            elif inside == "=":
                tags.append("{{" + sign(left) + " 1 " + sign(right) + "}}")
            elif inside == "raw":
                tags.append("{%" + left + " raw " + sign(right) + "%}" + rng.choice(WHITE_SPACE) + "{% endraw %}")
            else:
                tags.append("{%" + left + f" {inside} " + right + "%}")
        source = rng.choice(WHITE_SPACE)
        for tag in tags:
            source += tag + rng.choice(WHITE_SPACE)
            if "if" in tag:
                source += "{% endif %}" + rng.choice(WHITE_SPACE)
        source = source.replace("\n", rng.choice(["\n", "\n", "\r\n", "\r"]))
        assert by_us(source, {}) == by_jinja2(source, {}) is not None, repr(source)


def test_what_is_generated_is_where_the_program_says():
    source = (
        "{% for m in messages %}[{{ m.role }}]{% generation %}{{ m.content | trim }}{% endgeneration %};{% endfor %}"
    )
    text, generated = Template(source).render({"messages": MESSAGES[:2]})
    assert [text[start:end] for start, end in generated] == ["Be nice.", "Hi\n<there>"]


UNSUPPORTED = {
    "\n\n{% include 'x' %}": r"line 3: the statement {% include %}",
    "{% import 'os' as os %}": "line 1: the statement {% import %}",
    "{% from 'os' import path %}": "line 1: the statement {% from %}",
    "{% extends 'x' %}": "the statement {% extends %}",
    "{% autoescape true %}{% endautoescape %}": "the statement {% autoescape %}",
    "{% if false %}{% do x %}{% endif %}": "line 1: Encountered unknown tag 'do'",
    "x\n{{ 1 | attr('x') }}": "line 2: the filter 'attr'",
    "{% if false %}{{ 1 is strange }}{% endif %}": "the test 'strange'",
    "{{ 'a' | safe ~ 'b' }}": "the filter 'safe'",
    "{% for i in [1] %}\n{{ i ~ ('a' | pprint) }}{% endfor %}": "line 2: the filter 'pprint'",
    "{% break %}": "is not in a loop",
    "{% for x in [] %}{% macro f() %}{% continue %}{% endmacro %}{% endfor %}": "is not in a loop",
    "x\n{% if x %}": "line 2: Unexpected end of template",
    "{{ (1] }}": r"unexpected '\]'",
    "{{ '\\x' }}": "escape",
    "{# x": "Missing end of comment tag",
    "{{ " + "9" * 5000 + " }}": "cannot be read",
    "{{ a.b }}" * 6500: "more than 12,000 parts",
}


@pytest.mark.parametrize("source", UNSUPPORTED)
def test_what_is_not_supported_is_named_with_its_line_before_anything_runs(source):
    with pytest.raises(UnsupportedTemplate, match=UNSUPPORTED[source]):
        Template(source)


def test_a_program_that_refuses_a_conversation_says_why():
    with pytest.raises(Refusal) as caught:
        Template("{% if messages %}\n{{ raise_exception('No ' ~ messages[0].role) }}{% endif %}").render(VARIABLES)
    assert str(caught.value) == "line 2: No system"


REACHING = ["''.__class__", "().__class__.__bases__", "range.__globals__", "f.__globals__", "raise_exception.call.x",
            "self.__init__", "lipsum.__globals__", "''.format.x", "'{0.__class__}'.format(1)", "'%999999999d' % 1",
            "messages.append(1)", "d.pop('a')", "d.update({})", "x | attr('__class__')", "namespace.x.y", "d.items.x.y",
            "'' | map(attribute='__class__') | first", "(''|list).__class__", "'x'.center(999999999)", "d.__dict__",
            "messages[0].__class__", "cycler.__init__", "self", "loop.x", "f.name", "f.__call__", "''['__class__']",
            "[''] | map(attribute='format') | list", "dict.fromkeys", "range.__self__", "namespace(x=1)._Namespace__attrs",
            "d.items().mapping", "d.get.__self__", "[''] | map('#read') | map('attr', '__class__') | list", "''.encode()", "'x'.zfill(10**9)", "''.translate({})"]  # fmt: skip


@pytest.mark.parametrize("expression", REACHING)
def test_nothing_of_python_can_be_reached(expression):
    source = "{% macro f() %}{% endmacro %}{{ " + expression + " }}"
    try:
        assert Template(source).render(VARIABLES).text == ""
    except (TemplateError, UnsupportedTemplate) as error:
        assert str(error).startswith("line 1: ")


def test_no_string_of_a_program_names_an_attribute_of_a_value():
    names = random.Random(0).sample(sorted({*dir(str), *dir(list), *dir(dict)}), 10)
    for name in [*names, "values", "call", "value", "function", "__dict__"]:
        for value in ("''", "d", "raise_exception", "''.upper"):
            for source in ("{% for i in [1] %}{{ " + f"{value}.{name}" + " }}{% endfor %}",
                           "{% for i in [1] %}{{ " + f"{value}['{name}']" + " }}{% endfor %}"):  # fmt: skip
                text = by_us(source, VARIABLES)
                assert text is None or not text.startswith("<"), (source, text)


GROWTH = "{% set ns = namespace(s=START, t=START) %}{% for i in range(100000) %}{% set ns.s = STEP %}{% endfor %}{{ ns.s | length }}"
TREES = (  # two equal values of a million characters, which are cheap to make
    "{% set ns = namespace(t=[1], u=[1]) %}{% for i in range(15) %}{% set ns.t = [ns.t, ns.t] %}"
    "{% set ns.u = [ns.u, ns.u] %}{% endfor %}{% for i in range(100000) %}"
)
HOSTILE = {
    "brackets": "{{ " + "(" * 500 + "1" + ")" * 500 + " }}",
    "signs": "{{ " + "-" * 5000 + "1 }}",
    "statements": "{% if 1 %}" * 500 + "{% endif %}" * 500,
    "conditions": "{{ " + "1 if 0 else " * 3000 + "1 }}",
    "operators": "{{ " + "1 + " * 3000 + "1 }}",
    "attributes": "{{ x" + ".a" * 3000 + " }}",
    "doubled text": GROWTH.replace("START", "'x'").replace("STEP", "ns.s ~ ns.s"),
    "doubled list": GROWTH.replace("START", "[1]").replace("STEP", "ns.s + ns.s"),
    "lists in lists": GROWTH.replace("START", "[1]").replace("STEP", "[ns.s, ns.s]"),
    "deep list": GROWTH.replace("START", "[1]").replace("STEP", "[ns.s]"),
    "loops": "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
    "recursion": "{% macro f() %}{{ f() ~ f() }}{% endmacro %}{{ f() }}",
    "powers": "{% set ns = namespace(x=9) %}{% for i in range(1000) %}{% set ns.x = ns.x * ns.x %}{% endfor %}{{ ns.x }}",
    "power": "{{ 2 ** 10 ** 10 }}{{ 9 ** 99999 }}",
    "repetition": "{{ 'x' * 10 ** 12 }}",
    "range": "{{ range(10 ** 12) | list }}",
    "replacement": "{% set x = 'a' * 1000 %}{{ x | replace('a', x) | replace('a', x) }}",
    "map": "{{ range(100000) | map('replace', '1', 'a' * 900000) | list | length }}",
    "join": "{{ range(1000) | join('a' * 900000) }}",
    "indent": "{{ ('a\n' * 400000) | indent(900) }}",
    "read again and again": "{% set x = 'a' * 900000 %}{% for i in range(100000) %}{% set y = x is upper %}{% endfor %}",
    "methods": "{% set x = 'a ' * 400000 %}{% for i in range(100000) %}{% set y = x.split() %}{% endfor %}",
    "sorted again": "{% for i in range(1000) %}{% set y = range(100000) | sort %}{% endfor %}",
    "written": "{% set x = 'a' * 900000 %}{{ x }}{{ x }}{{ x }}",
    "date": "{{ strftime_now('%9999999999d') }}",
    "rounded": "{{ 123456 | round(-10 ** 9) }}",
    "long": "x" * 1_000_000,
    "loops in loops": "{% for i in range(300) %}" * 25 + "{% endfor %}" * 25,
    "much in a loop": "{% for i in range(100000) %}" + "{% if a %}{% endif %}" * 500 + "{% endfor %}",
    "much in a macro": "{% macro f() %}"
    + "{% if a %}{% endif %}" * 500
    + "{% endmacro %}{% for i in range(100000) %}{% set x = f() %}{% endfor %}",
    "much in a condition": "{% for i in range(100000) if " + "a or " * 90 + "a %}{% endfor %}",
    "captured": "{% set x %}{% for i in range(100000) %}" + "x" * 50_000 + "{% endfor %}{% endset %}",
    "captured value": "{% set x = 'a' * 900000 %}{% set y %}{% for i in range(100000) %}{{ x }}{% endfor %}{% endset %}",
    "refunded steps": "{% for i in range(99999) %}{% set y = [-999999] | map('#pay') | list %}{% endfor %}",
    "a test that formats": "{{ '%999999999d' is odd }}",
    "a filter that repeats": "{{ 'x' | round(9, 'ceil') }}",
    "a sum of lists": "{{ [[1]] | sum(start=[]) }}",
    "characters to strip": "{% set x = 'a' * 900000 %}{{ x.strip('b' * 900000 ~ 'a') }}",
    "characters to trim": "{% set x = 'a' * 900000 %}{{ x | trim('b' * 900000 ~ 'a') }}",
    "found from the end": "{% set x = 'a' * 900000 %}{{ x.rfind('ab' ~ 'a' * 400000) }}",
    "other line ends": r"{{ ('a\r' * 400000) | indent(900) }}",
    "separators": "{{ range(1000) | list | tojson(separators=('x' * 900000, '')) }}",
    "compared": TREES + "{% set y = ns.t == ns.u %}{% endfor %}",
    "compared views": TREES + "{% set y = {1: ns.t}.items() == {1: ns.u}.items() %}{% endfor %}",
    "hashed": TREES.replace("[", "(").replace("]", ",)") + "{% set y = {ns.t: 1} %}{% endfor %}",
    "a key": TREES.replace("[", "(").replace("]", ",)") + "{% set y = d[ns.t] %}{% set y = ns.t in d %}{% endfor %}",
    "shown namespaces": "{% set ns = namespace(x=1) %}{% for i in range(60) %}{% set ns.x = namespace(a=ns.x, b=ns.x) %}{% endfor %}{{ ns.x is upper }}",
    "namespaces in a list": "{% set ns = namespace(x=1) %}{% for i in range(60) %}{% set ns.x = namespace(a=ns.x, b=ns.x) %}{% endfor %}{{ [ns.x] }}",
    "words": "{% set x = 'a-' * 400000 %}{% for i in range(100000) %}{% set y = x | title %}{% endfor %}",
    "a loop in itself": "{% for x in [[]] recursive %}{{ loop([[x, x], [x, x]]) }}{% endfor %}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_program_ends_soon_with_a_sentence(name):
    start = time.process_time()
    with pytest.raises(TemplateError) as caught:
        Template(HOSTILE[name]).render(VARIABLES)
    assert str(caught.value).startswith(("line 1: ", "line 2: ")) and len(str(caught.value)) < 200
    assert time.process_time() - start < 30  # far more than the half second that it takes at most


def test_data_that_is_no_data_or_too_deep_is_refused():
    deep: list = []
    for _ in range(100):
        deep = [deep]
    for value in (deep, {"x": object()}, [lambda: 0]):
        with pytest.raises(TemplateError, match="the data h"):
            Template("{{ x }}").render({"x": value})
