"""BERT's words: how a text is cut before WordPiece looks at it.

    "Où est l'été?  東京"  --->  ou | est | l | ' | ete | ? | 東 | 京

Four rules (Devlin et al. 2019; their `BasicTokenizer`), each about one character at a time:

1. Control and format characters, those of private use, and U+FFFD vanish; every kind of white space becomes a space.
2. A Chinese character (as Unicode's blocks define it: Japanese kanji too) is a word of its own.
3. If so decided, accents are stripped: a character is taken apart (NFD: é = e + U+0301) and the marks are dropped.
   Then, if so decided, what is left is put into lower case. BERT's uncased models do both.
4. A punctuation mark is a word of its own; so is every visible ASCII sign that is neither letter nor digit.

So the whole of it is a table, from a character to what is written in its place, with blanks around what stands alone:
`str.translate` does the rest, and where each written character comes from is easily told. The table is filled as
characters are met.

The reference is the Rust code of `tokenizers` (0.22). It differs in two places, and there only (the tests name them):
its tables of marks and punctuation are those of an older Unicode than Python's, and for it the first 256 characters of
the seventh Chinese block (U+2B820 ... U+2B91F) are not Chinese, which looks like a slip of the pen.
"""

import unicodedata

# First and last code point of the blocks of Chinese characters; the list is BERT's own.
_CHINESE = [
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF), (0x2F800, 0x2FA1F),
]  # fmt: skip


class BertText(dict):
    """What BERT writes for each character: code point to text, as `str.translate` wants it.

    >>> text = BertText(lowercase=True, strip_accents=True)
    >>> "L'Été 東京".translate(text).split()
    ['l', "'", 'ete', '東', '京']
    """

    def __init__(self, lowercase: bool, strip_accents: bool):
        """Begin with an empty table.

        Arguments:
            lowercase, strip_accents: whether rule 3 does these.
        """
        super().__init__()
        self.lowercase, self.strip_accents = lowercase, strip_accents

    def __missing__(self, code_point: int) -> str:
        written = _clean(chr(code_point))
        if self.strip_accents:
            parts = unicodedata.normalize("NFD", written)
            written = "".join([part for part in parts if unicodedata.category(part) != "Mn"])
        if self.lowercase:
            written = "".join([part.lower() for part in written])
        self[code_point] = "".join([f" {part} " if is_punctuation(part) else part for part in written])
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
    """Whether a character lies in a block of Chinese characters."""
    return any(first <= ord(character) <= last for first, last in _CHINESE)


def is_punctuation(character: str) -> bool:
    """Whether a character is punctuation, or a visible ASCII sign such as `$` or `~` (which Unicode calls symbols)."""
    if character.isascii():
        return character.isprintable() and not character.isalnum() and character != " "
    return unicodedata.category(character)[0] == "P"
