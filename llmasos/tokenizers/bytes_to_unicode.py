"""GPT-2's alphabet: a visible character for each of the 256 bytes, so that a text file can hold any token.

Tokens of byte-level BPE are bytes: " the" is fine to print, but the first byte of "é" is not a character, and a space
or a newline would break a file with one merge per line. GPT-2 (its released encoder; the paper is Radford et al. 2019)
therefore writes every byte as a visible character. 188 bytes are visible Latin-1 characters and represent themselves;
the other 68 (control characters, the space, ...) get the characters from U+0100 on, in order:

    byte  33 "!" -> "!"         byte  32 " "  -> "Ġ"   (U+0120, as 32 other bytes come before it)
    byte 195     -> "Ã"         byte  10 "\\n" -> "Ċ"   (U+010A)

so the token " the" is written "Ġthe", and "é" (bytes 195, 169) is written "Ã©". The files of GPT-2,
RoBERTa, and every model that reuses their tokenizer are written in it.
"""


def bytes_to_unicode() -> dict[int, str]:
    """Return GPT-2's alphabet: byte (0 ... 255) to character, in the order of GPT-2's ids (visible bytes first).

    >>> alphabet = bytes_to_unicode()
    >>> "".join(alphabet[byte] for byte in " thé".encode())
    'ĠthÃ©'
    >>> list(alphabet)[:3]      # id 0 is the byte 33, "!"
    [33, 34, 35]
    """
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in visible]
    alphabet = {byte: chr(byte) for byte in visible}
    alphabet |= {byte: chr(256 + index) for index, byte in enumerate(others)}
    return alphabet


BYTE_TO_CHARACTER = bytes_to_unicode()
CHARACTER_TO_BYTE = {character: byte for byte, character in BYTE_TO_CHARACTER.items()}
BYTES_BY_ID = list(BYTE_TO_CHARACTER)  # BYTES_BY_ID[id] = the byte with this id, for ids 0 ... 255
ID_OF_BYTE = bytes(sorted(range(256), key=BYTES_BY_ID.__getitem__))  # the inverse; a table for bytes.translate


def to_visible(token: bytes) -> str:
    """Write a token in GPT-2's alphabet: to_visible(b" the") == "Ġthe"."""
    return "".join([BYTE_TO_CHARACTER[byte] for byte in token])


def from_visible(written: str) -> bytes:
    """Read a token in GPT-2's alphabet: from_visible("Ġthe") == b" the". Raises KeyError for other characters."""
    return bytes([CHARACTER_TO_BYTE[character] for character in written])
