"""Personal data: how it is recognized, and how it is masked.

Each kind is a pattern, and where the kind has check digits, the check: 16 digits are a card number only if the last one
is right. A pattern cannot know a name, and a number without separators may be a phone number or not; so this removes
most of what identifies people, but not all of it. `tests/datasets/test_cleaning.py` has examples of each kind, all
of which are found, and harmless texts that look like them, all of which stay.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

STREETS = r"(?:Street|St\.?|Road|Rd\.?|Avenue|Ave\.?|Lane|Drive|Boulevard|Blvd\.?|Square|Court|Way|Close|Terrace)"


def luhn(number: str) -> bool:
    """Whether the check digit of a card number is right: from the right, every second digit is doubled (Luhn 1960).

    >>> luhn("4111 1111 1111 1111"), luhn("4111 1111 1111 1112")
    (True, False)
    """
    digits = [int(digit) for digit in number if digit.isdecimal()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def iban(number: str) -> bool:
    """Whether the check digits of an account number are right: modulo 97, with letters as 10 … 35 (ISO 13616).

    >>> iban("DE89 3704 0044 0532 0130 00"), iban("DE88 3704 0044 0532 0130 00")
    (True, False)
    """
    number = re.sub(r"\s", "", number)
    moved = number[4:] + number[:4]
    return 15 <= len(number) <= 34 and int("".join(str(int(character, 36)) for character in moved)) % 97 == 1


def is_phone(number: str) -> bool:
    """Whether the number of digits is that of a phone number: 7 to 15 (ITU-T E.164)."""
    return 7 <= sum(character.isdecimal() for character in number) <= 15


@dataclass(frozen=True)
class Kind:
    """One type of personal data.

    Attributes:
        pattern: the regular expression that finds it.
        check: whether a match is one, by its check digits.
        hint: every match has one of these characters; a text without them is skipped, which is faster.
    """

    pattern: re.Pattern[str]
    check: Callable[[str], bool] = lambda match: True
    hint: str = "0123456789"


KINDS: Mapping[str, Kind] = {  # in this order: an account number must not be taken for a phone number
    "EMAIL": Kind(re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}(?!\w)"), hint="@"),
    "IBAN": Kind(re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"), iban),
    "CARD": Kind(re.compile(r"(?<![\d-])\d(?:[ -]?\d){12,18}(?![\d-])"), luhn),
    "ID": Kind(
        re.compile(r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")
    ),  # US social security
    "PHONE": Kind(
        re.compile(
            r"(?<![\w+.-])(?<!\d )(?:\+\d{1,3}[ ./-]?(?:\(0?\)[ ]?)?(?:\(\d{1,5}\)|\d{1,5})(?:[ ./-]?\d{2,5}){1,4}"
            r"|\(0?\d{2,5}\)[ ./-]?\d{2,5}(?:[ ./-]?\d{2,5}){0,3}"
            r"|0[1-9]\d{0,4}(?:[ /-]\d{2,8}){1,4}"
            r"|\d{3}[ .-]\d{3}[ .-]\d{4})(?![\w-]|\.\d)"
        ),
        is_phone,
    ),
    "IP": Kind(re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.])")),
    "ADDRESS": Kind(
        re.compile(
            rf"\b\d{{1,5}}[a-z]? (?:[A-Z][\w'’-]{{1,30}} ){{1,3}}{STREETS}(?!\w)"
            r"|\b[A-ZÄÖÜ][\wäöüß-]{1,30}(?:straße|strasse|str\.|weg|platz|gasse|allee) \d{1,4}[a-z]?\b"
        )
    ),
}


def find_pii(text: str) -> list[tuple[str, str]]:
    """The personal data in a text, as (kind, match), in the order of the kinds."""
    found: list[tuple[str, str]] = []
    mask_pii(text, found)
    return found


def mask_pii(text: str, found: list[tuple[str, str]] | None = None) -> str:
    """Replace personal data by its kind in angle brackets.

    Args:
        text: any text.
        found: receives (kind, match) for each replacement.

    >>> mask_pii("Ann: ann@example.org or +44 20 7946 0018.")
    'Ann: <EMAIL> or <PHONE>.'
    """
    for name, kind in KINDS.items():
        if any(character in text for character in kind.hint):

            def replace(match: re.Match[str], name: str = name, kind: Kind = kind) -> str:
                if not kind.check(match[0]):
                    return match[0]
                if found is not None:
                    found.append((name, match[0]))
                return f"<{name}>"

            text = kind.pattern.sub(replace, text)
    return text
