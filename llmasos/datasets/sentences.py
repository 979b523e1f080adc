"""Splitting text into sentences, with rules for English and German.

A sentence ends at a blank line, and at `.`, `!`, `?` or `…` (with the closing quotes and brackets after it) before
white space, if the next character can start a sentence: a capital letter, a digit or an opening quote. A single period
does not end one after a known abbreviation (`Dr.`, `z. B.`), a single letter (`J. R. Tolkien`; but `I` is a word),
letters with periods between them (`U.S.`), or in a German ordinal (`am 3. Mai`).

Such rules cannot decide whether `etc.` or `…` before a capital letter ends the sentence (here it does), or `U.S.` (here
it does not), nor that `"Who?" Mary asked.` is one sentence (here it is two), nor where the sentences of verse, of
headings without a blank line, or of other languages end.
"""

import re
from collections.abc import Iterator

from llmasos.datasets.source import TextSource

# Abbreviations before a word that belongs to them; a sentence that ends with one is not recognized.
ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st mt messrs gen col capt cpt lt sgt maj adm rev hon sen rep gov pres vs cf ca approx viz "
    "hr fr hrn frl dipl ing bzw vgl evtl ggf inkl exkl sog bspw beisp allg abb bes geb gest str nachm vorm zzgl".split()
)
# Abbreviations only if a number follows: "No. 5", but "No. He stayed."
BEFORE_NUMBERS = frozenset(
    "no nos nr nrn fig figs eq sec ch vol pp art abs bd kap tel jan feb mar apr jun jul aug sep sept oct okt nov dec "
    "dez".split()
)
MONTHS = frozenset("januar jänner februar märz april mai juni juli august september oktober november dezember".split())
BEFORE_ORDINALS = frozenset("am der die das des dem den vom zum zur im beim bis ab seit jeder jede jedes".split())

_OPENING = "\"'([„“‚‘«»–—-"
_END = re.compile(r"""(?P<mark>[.!?…]+)["')\]“”‘’«»]*(?:\s+|$)""")
_LAST_WORD = re.compile(r"(?P<before>\w*)\W*\b(?P<word>\w[\w.]*)$")
_LETTERS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")  # one letter, or several with periods between them
_BLANK_LINE = re.compile(r"\n\s*\n")
_WINDOW = 60  # how many characters before and after a period are inspected


def split_sentences(text: str) -> list[str]:
    """Split an English or German text into its sentences, without the white space between them.

    >>> split_sentences('Dr. Smith paid $3.50. "Why?" He did not say... Then he left at 5 p.m. Nobody saw it!')
    ['Dr. Smith paid $3.50.', '"Why?"', 'He did not say...', 'Then he left at 5 p.m.', 'Nobody saw it!']
    >>> split_sentences("Am 3. Mai kam z. B. Herr K. an. Er blieb.")
    ['Am 3. Mai kam z. B. Herr K. an.', 'Er blieb.']
    """
    sentences = []
    for paragraph in _BLANK_LINE.split(text):
        start = 0
        for end in _END.finditer(paragraph):
            if _ends_sentence(paragraph, end):
                sentences.append(paragraph[start : end.end()].strip())
                start = end.end()
        sentences.append(paragraph[start:].strip())
    return [sentence for sentence in sentences if sentence]


def _ends_sentence(text: str, end: re.Match) -> bool:
    """Return whether the sentence ends at this `_END`."""
    after = text[end.end() : end.end() + _WINDOW].lstrip(_OPENING)
    if not after:
        return end.end() == len(text)
    if not (after[0].isupper() or after[0].isdigit()):
        return False
    last = _LAST_WORD.search(text[max(0, end.start() - _WINDOW) : end.start()])
    if end["mark"] != "." or last is None:
        return True
    word, lower = last["word"], last["word"].lower()
    if word.isdigit():
        next_word = re.findall(r"^\w*", after)[0].lower()
        return len(word) > 2 or not (next_word in MONTHS or last["before"].lower() in BEFORE_ORDINALS)
    if _LETTERS.fullmatch(word):
        return word == "I" or lower in ("a.m", "p.m")
    return not (lower in ABBREVIATIONS or (lower in BEFORE_NUMBERS and after[0].isdigit()))


def documents_of_sentences(source: TextSource, split: str) -> Iterator[list[str]]:
    """Yield the documents of one split, each as a list of sentences; a document of one sentence is skipped.

    A text without documents (a single file) is split at its blank lines, and each paragraph is a document.
    """
    for document in _documents(source, split):
        sentences = split_sentences(document)
        if len(sentences) >= 2:
            yield sentences


def _documents(source: TextSource, split: str) -> Iterator[str]:
    parts: list[str] = []
    for text, ends_document in source.pieces(split):
        parts.append(text)
        if ends_document:
            yield "".join(parts)
            parts = []
    yield from _BLANK_LINE.split("".join(parts))
