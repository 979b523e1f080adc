"""The Porter stemmer: related English words become one ("connected", "connecting", "connections" → "connect").

(Porter, "An algorithm for suffix stripping", Program 14.3, 1980; with the amendments of the NLTK package, which
`rouge_score` uses, and equal to it.)

A word has the form [C](VC)ᵐ[V], with C and V for runs of consonants and of vowels; m is its *measure*, about the number
of its syllables. In each step the first suffix that fits is replaced, on condition that enough of a word remains.
"""

import functools
from collections.abc import Callable

VOWELS = "aeiou"
IRREGULAR = {
    "skies": "sky", "sky": "sky", "dying": "die", "lying": "lie", "tying": "tie", "news": "news", "innings": "inning",
    "inning": "inning", "outings": "outing", "outing": "outing", "cannings": "canning", "canning": "canning",
    "howe": "howe", "proceed": "proceed", "exceed": "exceed", "succeed": "succeed",
}  # fmt: skip
PLURALS = {"sses": "ss", "ies": "i", "ss": "ss", "s": ""}
STEP_2 = {
    "ational": "ate", "tional": "tion", "enci": "ence", "anci": "ance", "izer": "ize", "bli": "ble", "alli": "al",
    "entli": "ent", "eli": "e", "ousli": "ous", "ization": "ize", "ation": "ate", "ator": "ate", "alism": "al",
    "iveness": "ive", "fulness": "ful", "ousness": "ous", "aliti": "al", "iviti": "ive", "biliti": "ble",
    "fulli": "ful",
}  # fmt: skip
STEP_3 = {"icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": ""}
STEP_4 = ("al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate",
          "iti", "ous", "ive", "ize")  # fmt: skip


@functools.lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """The stem of a word in lower case.

    >>> [stem(word) for word in ("connections", "relational", "hopping", "flies", "dies")]
    ['connect', 'relat', 'hop', 'fli', 'die']
    """
    if word in IRREGULAR or len(word) <= 2:
        return IRREGULAR.get(word, word)
    word = word[:-1] if word.endswith("ies") and len(word) == 4 else _replace(word, PLURALS, lambda rest: True)
    word = _past_and_progressive(word)
    if word.endswith("y") and len(word) > 2 and _forms(word)[-2] == "c":
        word = word[:-1] + "i"
    word = _derivation(word)
    word = _replace(word, STEP_3, lambda rest: _measure(rest) > 0)
    for suffix in STEP_4:
        if word.endswith(suffix):
            rest = word.removesuffix(suffix)
            word = rest if _measure(rest) > 1 and (suffix != "ion" or rest[-1] in "st") else word
            break
    if word.endswith("e") and (_measure(word[:-1]) > 1 or (_measure(word[:-1]) == 1 and not _is_short(word[:-1]))):
        word = word[:-1]
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word


def _past_and_progressive(word: str) -> str:
    """Step 1b: agreed → agree, hopping → hop, sized → size."""
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    suffix = next((suffix for suffix in ("ed", "ing") if word.endswith(suffix)), "")
    rest = word.removesuffix(suffix)
    if not suffix or "v" not in _forms(rest):
        return word
    if rest.endswith(("at", "bl", "iz")):
        return rest + "e"
    if len(rest) > 1 and rest[-1] == rest[-2] and _forms(rest)[-1] == "c":
        return rest if rest[-1] in "lsz" else rest[:-1]
    return rest + "e" if _measure(rest) == 1 and _is_short(rest) else rest


def _derivation(word: str) -> str:
    """Step 2: relational → relate, radically → radical."""
    if word.endswith("alli") and _measure(word[:-4]) > 0:
        return _derivation(word[:-2])
    if word.endswith("logi") and not word.endswith(tuple(STEP_2)):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    return _replace(word, STEP_2, lambda rest: _measure(rest) > 0)


def _replace(word: str, suffixes: dict[str, str], condition: Callable[[str], bool]) -> str:
    """Replace the first suffix that the word has, if the condition holds for what remains."""
    for suffix, replacement in suffixes.items():
        if word.endswith(suffix):
            rest = word.removesuffix(suffix)
            return rest + replacement if condition(rest) else word
    return word


def _forms(word: str) -> str:
    """Each letter as c or v. A y is a consonant at the start and after a vowel: toy, yes; but syzygy.

    >>> _forms("syzygy"), _forms("toy")
    ('cvcvcv', 'cvc')
    """
    forms = ""
    for letter in word:
        forms += "v" if letter in VOWELS or (letter == "y" and forms.endswith("c")) else "c"
    return forms


def _measure(word: str) -> int:
    """The m in [C](VC)ᵐ[V]."""
    return _forms(word).count("vc")


def _is_short(word: str) -> bool:
    """Whether a word ends like "hop": consonant, vowel, consonant other than w, x, y; or is a vowel and a consonant."""
    forms = _forms(word)
    return (forms.endswith("cvc") and word[-1] not in "wxy") or forms == "vc"
