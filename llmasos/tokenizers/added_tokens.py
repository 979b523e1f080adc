"""Added tokens: names that become one token wherever they occur in a text, before the rest of it is encoded.

    "the covid-19 cat"  --added: covid-19-->  "the " | covid-19 | " cat"  --each ordinary part is encoded by itself

Special tokens such as `<|endoftext|>` are the best-known ones. Published models may have others: words that were added
to a trained tokenizer because it split them into many pieces. These are recognized in every text; special tokens only
in trusted text (see `tokenizer`).

The five properties of such a token, and what happens when two names overlap, are those of `tokenizers`
(`AddedVocabulary` in its Rust code): of all names the leftmost one is taken, of those at the same place the longest.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import regex

from llmasos.errors import UserError, shown

SPACE = regex.compile(r"\p{White_Space}")
WORD = regex.compile(r"[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]")
FLAGS = ("special", "normalized", "single_word", "lstrip", "rstrip")


class AddedToken(NamedTuple):
    """A name that is one token.

    Attributes:
        content: the name.
        id: the token's id.
        special: whether it is only found in texts that are trusted.
        normalized: whether it is looked for in the normalized text (in lower case, for example), itself normalized.
        single_word: whether it is only found between characters that are not part of a word.
        lstrip, rstrip: whether it takes the white space before it, or after it.
    """

    content: str
    id: int
    special: bool = True
    normalized: bool = False
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it is a special token with no further properties, like those of the tokenizers trained here."""
        return self == AddedToken(self.content, self.id)

    @classmethod
    def from_dict(cls, fields: dict[str, Any], id: int, special: bool = False) -> "AddedToken":
        """Read one from a JSON file of a published tokenizer.

        Args:
            fields: its properties; one that is missing is false, and without `special` it is a special token.
            id: the token's id.
            special: whether other parts of the file make it a special token.

        Raises:
            UserError: it has no name, or a property is neither true nor false.
        """
        content = fields.get("content")
        if not isinstance(content, str) or not content:
            raise UserError(f"an added token has the content {shown(content)}; it must be a text that is not empty.")
        flags = {name: fields.get(name, name == "special") for name in FLAGS}
        if odd := [name for name, value in flags.items() if not isinstance(value, bool)]:
            raise UserError(
                f"the added token {shown(content)} has {odd[0]} = {shown(flags[odd[0]])}; expected true or false."
            )
        flags["special"] = flags["special"] or special
        return cls(content, id, **flags)

    def to_dict(self) -> dict[str, Any]:
        """The properties without the id, as in a `tokenizer_config.json`."""
        return {name: value for name, value in self._asdict().items() if name != "id"}


def added_tokens_of(config: Mapping[str, Any], special: Collection[str] = ()) -> list[AddedToken]:
    """Return the added tokens in a `tokenizer_config.json`, its field added_tokens_decoder.

    Args:
        config: its content.
        special: names that other fields make special.

    Raises:
        UserError: the field is damaged.
    """
    decoder = config.get("added_tokens_decoder") or {}
    if not isinstance(decoder, dict) or not all(
        id.isdecimal() and len(id) < 10 and isinstance(fields, dict) for id, fields in decoder.items()
    ):
        raise UserError(f"added_tokens_decoder is {shown(decoder)}; it must be an object from ids to tokens.")
    return [AddedToken.from_dict(fields, int(id), fields.get("content") in special) for id, fields in decoder.items()]


class AddedTokenMatcher:
    """Finds added tokens in texts.

    >>> matcher = AddedTokenMatcher([AddedToken("covid", 9, special=False), AddedToken("<s>", 1)])
    >>> list(matcher.split("a covid<s>", allow_special=False))
    [(0, 2, None), (2, 7, 9), (7, 10, None)]
    >>> list(matcher.split("a covid<s>", allow_special=True))
    [(0, 2, None), (2, 7, 9), (7, 10, 1)]

    Args:
        tokens: the tokens to look for.
        normalize: applied to each name first.
    """

    def __init__(self, tokens: Iterable[AddedToken], normalize: Callable[[str], str] = str):
        named = ((normalize(token.content), token) for token in tokens)
        self._tokens = {name: token for name, token in named if name}
        longest_first = sorted(self._tokens, key=len, reverse=True)
        self._pattern = regex.compile("|".join(map(regex.escape, longest_first)) or "(?!)")
        self.in_every_text = any(not token.special for token in self._tokens.values())

    def split(
        self, text: str, allow_special: bool, ordinary: Collection[int] = ()
    ) -> Iterator[tuple[int, int, int | None]]:
        """Yield the parts of a text, none of them empty: start, end, and the id of an added token or None.

        Args:
            text: any text; if the matcher normalizes names, a normalized one.
            allow_special: whether special tokens are found, too.
            ordinary: indices of characters that belong to no special token.
        """
        done = 0
        if allow_special or self.in_every_text:
            for match in self._pattern.finditer(text):
                token, (start, end) = self._tokens[match[0]], match.span()
                if token.special and any(start <= place < end for place in ordinary):
                    continue
                if (token.special and not allow_special) or (token.single_word and not is_word(text, start, end)):
                    continue
                while token.lstrip and start > done and SPACE.match(text, start - 1):
                    start -= 1
                while token.rstrip and end < len(text) and SPACE.match(text, end):
                    end += 1
                if done < start:
                    yield done, start, None
                yield start, end, token.id
                done = end
        if done < len(text):
            yield done, len(text), None


def is_word(text: str, start: int, end: int) -> bool:
    """Whether the characters around a part of a text belong to no word."""
    return not (WORD.match(text[start - 1 : start]) or WORD.match(text[end : end + 1]))
