r"""Split texts into words, for all metrics that count words and for the baseline, in any script.

    Latin, Cyrillic, Greek, Arabic, Hebrew, Devanagari, Hangul, …    a word is a run of letters, digits and their marks
    Chinese, Japanese, Thai, Lao, Khmer, Burmese                     written without spaces: each character is a word

A mark (an Indic vowel sign, a Thai tone, an Arabic short vowel) belongs to the letter before it, which Python's `\w`
does not know. Characters as words is what sacrebleu's "zh" and the Chinese and Japanese reading tests do, too: a
dictionary of words would make the value depend on the dictionary.
"""

import unicodedata

import regex

UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}ー\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
_CHARACTER = rf"(?V1)[{UNSPACED}--[\p{{M}}\p{{P}}]]\p{{M}}*"
_FURTHER = r"[[\p{L}\p{Nd}]--[\p{Latin}\p{Common}\p{Inherited}]]"  # letters and digits of other scripts than Latin
_WORD = regex.compile(rf"{_CHARACTER}|[[\w\p{{M}}]--[{UNSPACED}--\p{{M}}]]+")
_ROUGE_WORD = regex.compile(rf"{_CHARACTER}|[a-z0-9]+|{_FURTHER}(?:{_FURTHER}|\p{{M}})*".replace("(?V1)", ""), regex.V1)
_TOKEN = regex.compile(_WORD.pattern + r"|[^\w\s]")
_SPLIT = regex.compile(rf"({_CHARACTER})")
_PUNCTUATION = regex.compile(r"(?V1)[\p{P}--[\u0000-\u00FF\u2000-\u206F]]")  # not ASCII, not European: 。，؟।


def unicode_words(text: str) -> list[str]:
    """Lower-cased words of any script, with accents.

    >>> unicode_words("It's 10 o'clock, Jörg."), unicode_words("我爱北京。"), unicode_words("हिन्दी भाषा")
    (['it', 's', '10', 'o', 'clock', 'jörg'], ['我', '爱', '北', '京'], ['हिन्दी', 'भाषा'])
    """
    return _find(_WORD, text)


def rouge_words(text: str) -> list[str]:
    """Lower-cased runs of a–z and 0–9, as the `rouge_score` package has them, and the words of all other scripts.

    German "Jörg" becomes "j" and "rg", as in that package; `unicode_words` keeps it.

    >>> rouge_words("It's 10 o'clock, Jörg."), rouge_words("Привет, мир!")
    (['it', 's', '10', 'o', 'clock', 'j', 'rg'], ['привет', 'мир'])
    """
    return _find(_ROUGE_WORD, text)


def words_and_punctuation(text: str) -> list[str]:
    """The words of a text in lower case, and each punctuation mark by itself."""
    return _find(_TOKEN, text)


def _find(pattern: regex.Pattern[str], text: str) -> list[str]:
    """The matches in lower case, composed: a letter and its accent, or a Korean syllable, is one character (NFC).

    Macs write file names decomposed, so the same word may come in both forms. Words are composed after they are split:
    composing the text would change which runs of a–z `rouge_words` finds.
    """
    return [unicodedata.normalize("NFC", word) for word in pattern.findall(text.lower())]


def split_unspaced(text: str) -> list[str]:
    """The parts of a text between spaces; where a script has none, each character is a part.

    >>> split_unspaced("tokyo 東京 is big")
    ['tokyo', '東', '京', 'is', 'big']
    """
    return _SPLIT.sub(r" \1 ", text).split()


def without_foreign_punctuation(text: str) -> str:
    """The text without the punctuation of scripts outside Europe, such as 。、「」؟ and ।."""
    return _PUNCTUATION.sub("", text)


def is_mostly_unspaced(texts: list[str]) -> bool:
    """Whether most characters of some texts are of scripts without spaces between words."""
    text = "".join(texts)
    return 2 * len(_SPLIT.findall(text)) > len("".join(text.split()))
