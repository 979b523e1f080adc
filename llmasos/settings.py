"""Settings, declared once: default, help text and range, from which flags, HTTP fields and checks are derived.

    @dataclass(frozen=True)
    class Sampling(Settings):
        temperature: float = setting(1.0, "divides the logits", at_least=0.001, or_value=0)

`Sampling(temperature=-1)` raises a `UserError`, and `add_flag` turns the same line into the flag `--temperature X`. The
recipe of a training run (`training/recipe.py`) and the options of generation (`generation/options.py`) are such
classes.
"""

import argparse
import dataclasses
import math
import typing
from collections.abc import Collection
from typing import Any

from llmasos.arguments import as_python
from llmasos.errors import UserError, check_number, nearest, shown

METAVARS = {int: "N", float: "X", str: "TEXT"}
TYPE_NAMES = {str: "text", bool: "true or false"}
LIMITS = ("at_least", "above", "at_most", "below")
LARGEST_COUNT = 2**31 - 1  # of a setting that states no limit of its own
LARGEST_NUMBER = 1e30  # likewise; its product with another number is still a float32


def setting(
    default: Any,
    help: str,
    *,
    flag: str | None = None,
    alias: str | None = None,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    or_value: float | None = None,
    off: tuple[float, ...] = (),
    choices: Collection[str] | None = None,
    api: str | None = None,
    slider: tuple[float, float, float] | None = None,
    repeatable: bool = False,
) -> Any:
    """A field of a `Settings` class.

    Args:
        default: its default value; None = decided elsewhere, as the help says, or switched off.
        help: the flag's help text.
        flag: the flag's name, if it differs from the field's.
        alias: a shorter second name, of the flag and in Python.
        at_least, above, at_most, below: the range of a number.
        or_value: a number outside that range that is allowed, too.
        off: numbers that switch the setting off, like None.
        choices: the allowed values of a text.
        api: its name in the HTTP API, if it differs from the field's.
        slider: first value, last value and step on the web page.
        repeatable: the flag may be given several times; the texts are joined by commas.
    """
    metadata = {name: value for name, value in locals().items() if name != "default"}
    return dataclasses.field(default=default, metadata=metadata)


class Settings:
    """Settings that are checked on creation, since they may come from an edited file or a user's program."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value, types = as_python(getattr(self, field.name)), types_of(field)
            if field.metadata and not (value is None and type(None) in types):
                if type(None) in types and type(value) in (int, float) and value in field.metadata["off"]:
                    value = None
                else:
                    check_setting(flag_name(field), value, types[0], field.metadata)
                object.__setattr__(self, field.name, value)


def flag_name(field: dataclasses.Field) -> str:
    """A setting's flat name."""
    return field.metadata.get("flag") or field.name


def flag_of(name: str) -> str:
    """The command-line flag of a setting.

    >>> flag_of("max_steps")
    '--max-steps'
    """
    return "--" + name.replace("_", "-")


def types_of(field: dataclasses.Field) -> tuple[type, ...]:
    """The types that a setting may have: (int, NoneType) for `int | None`."""
    return typing.get_args(field.type) or (field.type,)  # type: ignore[return-value]


def check_setting(name: str, value: Any, type_: type, limits: typing.Mapping[str, Any]) -> None:
    """Raise UserError unless the value has the type of its `setting` and is within its limits."""
    if type_ in (int, float):
        if value is not None and value == limits["or_value"]:
            return
        range_ = {limit: limits[limit] for limit in LIMITS}
        largest = LARGEST_COUNT if type_ is int else LARGEST_NUMBER
        if range_["at_most"] is None and type(value) in (int, type_) and largest < value < math.inf:
            range_["at_most"] = largest  # mentioned only if the value exceeds it
        advice = [f"{value:g} is allowed, too" for value in (limits["or_value"],) if value is not None]
        advice += [f"{value:g} disables it" for value in limits["off"][:1]]
        check_number(name, value, whole=type_ is int, advice="; ".join(advice), **range_)
    elif type(value) is not type_:
        raise UserError(f"{name} is {shown(value)}; it must be {TYPE_NAMES[type_]}.")
    elif limits["choices"] is not None:
        check_choice(name, value, limits["choices"])


def check_choice(name: str, value: Any, choices: Collection[str]) -> None:
    """Raise UserError unless the value is one of the choices."""
    if value not in choices:
        hint = nearest(str(value), choices) or "."
        raise UserError(f"{name} is {shown(value)}; it must be one of: {', '.join(choices)}{hint}")


def add_flag(parser: argparse._ActionsContainer, field: dataclasses.Field, default: Any = None) -> None:
    """Add a setting's flag to a parser. A flag that is not used is absent from the parsed arguments.

    Args:
        parser: the parser.
        field: the setting.
        default: its default value, for the help (None = not mentioned).
    """
    name = flag_name(field)
    flags = [flag_of(spelling) for spelling in (name, field.metadata["alias"]) if spelling]
    help = field.metadata["help"] + ("" if default is None else f" (default: {default})")
    options: dict[str, Any] = {"help": help.replace("%", "%%"), "default": argparse.SUPPRESS, "dest": name}
    kind, choices = types_of(field)[0], field.metadata["choices"]
    if kind is bool:
        parser.add_argument(*flags, action=argparse.BooleanOptionalAction, **options)
    else:
        metavar = "{" + ",".join(choices) + "}" if choices else METAVARS[kind]
        action = JoinedByCommas if field.metadata["repeatable"] else "store"
        parser.add_argument(*flags, type=kind, metavar=metavar, action=action, **options)


class JoinedByCommas(argparse.Action):
    """The action of a repeatable flag, which joins its values by commas: `--data a.txt=0.7 --data b.txt=0.3`."""

    def __call__(
        self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        earlier = getattr(namespace, self.dest, None)
        setattr(namespace, self.dest, values if earlier is None else f"{earlier},{values}")
