"""A calculator for models: arithmetic is parsed by hand, and nothing is ever evaluated as code.

    sum     = product, then any number of  + product  or  - product
    product = sign, then any number of  * sign,  / sign,  // sign  or  % sign         ("×", "·", "÷" are fine, too)
    sign    = any number of  +  and  -, then power                (-2**2 is -(2**2), as in mathematics)
    power   = number, perhaps followed by  ** sign  or  ^ sign    (from the right: 2**3**2 is 2**9; 2**-1 is fine)
    number  = digits such as  12,  1,000  or  .5,  or  ( sum )

Each rule is one method below (recursive descent). Numbers are fractions, so nothing is rounded on the way: 0.1 + 0.2 is
0.3. Length, depth and size are limited, so a model cannot make the calculator hang: 9**9**9 is rejected at once.
"""

import re
from decimal import Decimal, localcontext
from fractions import Fraction

from llmasos.errors import UserError

MAX_CHARACTERS, MAX_DEPTH, MAX_DIGITS = 200, 30, 100
SHOWN_DIGITS = 12  # of a result that is not a whole number
_TOKEN = re.compile(r"\s*(?:(\d+(?:,\d{3})+(?!\d)|\d+)?(\.\d+)?(\*\*|//|[-+*/%^()×·÷−])?)", re.ASCII)
SAME = {"×": "*", "·": "*", "÷": "/", "−": "-", "^": "**"}


def calculate(expression: str) -> str:
    """Compute the value of an arithmetic expression, as a text.

    >>> calculate("(12 + 30) * 2"), calculate("1/3"), calculate("0.1 + 0.2"), calculate("-2**2")
    ('84', '0.333333333333', '0.3', '-4')

    Raises:
        UserError: it is not an arithmetic expression, divides by zero, or is too long, too deep or too large.
    """
    if len(expression) > MAX_CHARACTERS:
        raise UserError(f"the expression has {len(expression):,} characters; it may have {MAX_CHARACTERS}.")
    return shown(_Parser(expression).result())


def shown(value: Fraction) -> str:
    """Format a number for people, rounded to 12 digits if it is not a whole number."""
    if value.denominator == 1:
        return str(value.numerator)
    with localcontext() as context:
        context.prec = SHOWN_DIGITS
        quotient = Decimal(value.numerator) / Decimal(value.denominator)
    text = f"{quotient:f}" if abs(quotient.adjusted()) < 2 * SHOWN_DIGITS else f"{quotient:e}"
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def tokens_of(expression: str) -> list[str]:
    """The numbers, operators and brackets of an expression. Raises UserError at anything else.

    >>> tokens_of("1,000 × (2.5-3)^2")
    ['1000', '*', '(', '2.5', '-', '3', ')', '**', '2']
    """
    tokens: list[str] = []
    place, text = 0, expression.rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        whole, decimals, operator = match.groups() if match else (None, None, None)
        if not match or not any((whole, decimals, operator)):
            raise UserError(
                f"{text[place:].strip()[:20]!r} is not arithmetic; write numbers, + - * / // % ** and brackets."
            )
        if whole or decimals:
            tokens.append((whole or "0").replace(",", "") + (decimals or ""))
        if operator:
            tokens.append(SAME.get(operator, operator))
        place = match.end()
    return tokens


class _Parser:
    """Reads the tokens from left to right; each method reads what its rule says and returns its value."""

    def __init__(self, expression: str):
        self.tokens, self.place, self.depth = tokens_of(expression), 0, 0

    def result(self) -> Fraction:
        if not self.tokens:
            raise UserError("the expression is empty; write one such as 17 * 25.")
        value = self.sum()
        if self.place < len(self.tokens):
            raise UserError(f"{self.tokens[self.place]!r} is not expected there; check the operators and brackets.")
        return value

    def sum(self) -> Fraction:
        value = self.product()
        while operator := self.take("+", "-"):
            other = self.product()
            value = checked(value + other if operator == "+" else value - other)
        return value

    def product(self) -> Fraction:
        value = self.sign()
        while operator := self.take("*", "//", "/", "%"):
            other = self.sign()
            if operator != "*" and other == 0:
                raise UserError("a division by zero has no value.")
            if operator == "*":
                value = checked(value * other)
            elif operator == "/":
                value = checked(value / other)
            else:
                value = Fraction(value // other) if operator == "//" else value % other
        return value

    def sign(self) -> Fraction:
        negative = False
        while operator := self.take("+", "-"):
            negative ^= operator == "-"
        value = self.power()
        return -value if negative else value

    def power(self) -> Fraction:
        base = self.number()
        if not self.take("**"):
            return base
        self.deeper()
        exponent = self.sign()
        self.depth -= 1
        if exponent.denominator != 1:
            raise UserError("an exponent must be a whole number here.")
        size = max(abs(base.numerator), base.denominator)
        if size > 1 and abs(exponent) * (size.bit_length() - 1) > MAX_DIGITS * 4:
            raise UserError(f"the result would have more than {MAX_DIGITS} digits; take smaller numbers.")
        if base == 0 and exponent < 0:
            raise UserError("a division by zero has no value.")
        return checked(Fraction(base ** int(exponent)))

    def number(self) -> Fraction:
        if self.take("("):
            self.deeper()
            value = self.sum()
            self.depth -= 1
            if not self.take(")"):
                raise UserError("a bracket is not closed.")
            return value
        token = self.tokens[self.place] if self.place < len(self.tokens) else ""
        if not token[:1].isdigit():
            raise UserError(f"a number is missing {f'before {token!r}' if token else 'at the end'}.")
        self.place += 1
        return checked(Fraction(token))

    def take(self, *tokens: str) -> str:
        """Consume and return the next token if it is one of these; else return ""."""
        if self.place < len(self.tokens) and self.tokens[self.place] in tokens:
            self.place += 1
            return self.tokens[self.place - 1]
        return ""

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UserError(f"brackets and powers are nested more than {MAX_DEPTH} deep; write it in steps.")


def checked(value: Fraction) -> Fraction:
    """Return the number. Raises UserError if it has too many digits."""
    if max(abs(value.numerator), value.denominator) >= 10**MAX_DIGITS:
        raise UserError(f"a number has more than {MAX_DIGITS} digits; take smaller numbers.")
    return value
