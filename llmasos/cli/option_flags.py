"""The generation flags of `sample.py` and `chat`, made from the options of `generation/options.py`."""

import argparse
import dataclasses
from collections.abc import Mapping
from typing import Any

from llmasos.arguments import user_path
from llmasos.errors import UserError
from llmasos.generation import BeamOptions, SamplingOptions, json_schema, regular_expression
from llmasos.generation.grammar import Grammar
from llmasos.generation.options import Options
from llmasos.settings import add_flag
from llmasos.storage import read_json

DEFAULTS = {"temperature": 0.8}  # for models without recommendations: small models write more sensibly below 1


def add_option_flags(parser: argparse.ArgumentParser, *classes: type[SamplingOptions | BeamOptions]) -> None:
    """Add a flag for every option of these classes, each once."""
    group = parser.add_argument_group("decoding", "Defaults apply unless the model recommends other values.")
    options = {field.name: field for cls in reversed(classes) for field in dataclasses.fields(cls) if field.metadata}
    for name, field in options.items():
        add_flag(group, field, DEFAULTS.get(name, field.default))
    group.add_argument(
        "--stop", action="append", metavar="TEXT", help=r"stop before this text; repeatable; \n works", default=[]
    )
    group.add_argument("--regex", metavar="PATTERN", help="the new text must match this regular expression as a whole")
    group.add_argument(
        "--json-schema", metavar="FILE", type=user_path, help="it must be JSON that this schema describes"
    )
    group.add_argument(
        "--seed", type=int, default=0, metavar="N", help="random seed; the same seed gives the same text (default: 0)"
    )


def options_of(args: argparse.Namespace, kind: type[Options], recommended: Mapping[str, Any] | None = None) -> Options:
    """The options that the flags set; the others have the model's recommendations, or else the defaults.

    Raises:
        UserError: one is out of range, or a grammar is combined with beam search, which does not support it.
    """
    names = {field.name for field in dataclasses.fields(kind)}
    if "grammar" not in names and has_grammar(args):
        raise UserError("--regex and --json-schema need sampling, and this would be a beam search; set --temperature, "
                        "without --beams.")  # fmt: skip
    chosen = vars(args) | {"stop": tuple(stop.replace("\\n", "\n").replace("\\t", "\t") for stop in args.stop)}
    values = {**DEFAULTS, **(recommended or {}), **chosen, "grammar": grammar_of(args)}
    return kind(**{name: value for name, value in values.items() if name in names})


def has_grammar(args: argparse.Namespace) -> bool:
    """Whether the flags ask for a text of a certain form."""
    return args.regex is not None or args.json_schema is not None


def grammar_of(args: argparse.Namespace) -> Grammar | None:
    """The grammar of `--regex` or `--json-schema`.

    Raises:
        UserError: it is invalid, there is no such file, or both flags are given.
    """
    if args.regex is not None and args.json_schema is not None:
        raise UserError("--regex and --json-schema: a text can have one form; use one of them.")
    if args.regex is not None:
        return regular_expression(args.regex)
    return None if args.json_schema is None else json_schema(read_json(args.json_schema))
