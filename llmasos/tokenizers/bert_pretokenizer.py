"""BERT's pre-tokenizer: how a text is split into words before WordPiece is applied.

    "Où est l'été?  東京"  --->  ou | est | l | ' | ete | ? | 東 | 京

Four rules (Devlin et al. 2019; their `BasicTokenizer`), each applied to one character at a time:

1. Control, format and private-use characters and U+FFFD are removed; all white space becomes a space.
2. A Chinese character (as Unicode's blocks define it, so Japanese kanji too) is a word of its own.
3. Optionally, accents are stripped: the character is decomposed (NFD: é = e + U+0301) and the marks are dropped.
   Then, optionally, the rest is lower-cased. BERT's uncased models do both.
4. A punctuation mark is a word of its own; so is every visible ASCII symbol that is neither a letter nor a digit.

All of this is one table, from a character to its replacement, with spaces around characters that are their own word.
`str.translate` does the work, and the original position of each replacement is easy to find. The table is filled
lazily, as characters occur.

The reference is the Rust code of `tokenizers` (0.22). It differs from this one in two places only (the tests name
them): its tables of marks and punctuation come from an older Unicode than Python's, and it does not count the first 256
characters of the seventh Chinese block (U+2B820 ... U+2B91F) as Chinese, which looks like a typing error.
"""

import unicodedata

# First and last code point of the blocks of Chinese characters; the list is BERT's own.
_CHINESE = [
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF), (0x2F800, 0x2FA1F),
]  # fmt: skip


class CharacterTable(dict):
    """BERT's replacement for each character: code point to text, in the form that `str.translate` takes.

    >>> table = CharacterTable(lowercase=True, strip_accents=True)
    >>> "L'Été 東京".translate(table).split()
    ['l', "'", 'ete', '東', '京']
    """

    def __init__(self, lowercase: bool, strip_accents: bool, split_punctuation: bool = True):
        """Create an empty table.

        Args:
            lowercase, strip_accents: whether rule 3 lower-cases and strips accents.
            split_punctuation: whether rule 4 is applied.
        """
        super().__init__()
        self.lowercase, self.strip_accents, self.split_punctuation = lowercase, strip_accents, split_punctuation

    def __missing__(self, code_point: int) -> str:
        replacement = _clean(chr(code_point))
        if self.strip_accents:
            decomposed = unicodedata.normalize("NFD", replacement)
            replacement = "".join([c for c in decomposed if unicodedata.category(c) != "Mn"])
        if self.lowercase:
            replacement = "".join([c.lower() for c in replacement])
        if self.split_punctuation:
            replacement = "".join([f" {c} " if is_punctuation(c) else c for c in replacement])
        self[code_point] = replacement
        return self[code_point]


def _clean(character: str) -> str:
    """Apply rules 1 and 2 to a character."""
    if character in "\t\n\r":
        return " "
    if character == "\ufffd" or unicodedata.category(character) in ("Cc", "Cf", "Co"):
        return ""
    if character.isspace():
        return " "
    return f" {character} " if is_chinese(character) else character


def is_chinese(character: str) -> bool:
    """Whether a character is in one of the blocks of Chinese characters."""
    return any(first <= ord(character) <= last for first, last in _CHINESE)


def is_punctuation(character: str) -> bool:
    """Whether a character is punctuation, or a visible ASCII sign such as `$` or `~` (which Unicode calls symbols)."""
    if character.isascii():
        return character.isprintable() and not character.isalnum() and character != " "
    return unicodedata.category(character)[0] == "P"
