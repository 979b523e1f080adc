"""Training WordPiece: which pieces of words are in BERT's vocabulary.

A word starts as its characters, where all but the first are marked as continuations: "hugs" is h ##u ##g ##s. Then
adjacent pairs are merged, as in byte-pair encoding: h + ##u becomes hu, ##g + ##s becomes ##gs. The vocabulary is every
piece that was ever created; unlike in BPE, the order of the merges does not matter, since the encoder only looks for
the longest piece.

**Which pair is merged first.** BERT's trainer was never published. Schuster and Nakajima (2012), whose method it
follows, merge the pair that raises the likelihood of the text most, often described as the highest
count(ab) / (count(a) count(b)). That score needs a correction: on its own it prefers two rare characters that happened
to be adjacent to `th` + `##e`. The trainers in common use (`tokenizers`, and through it BERT's successors) take the
most frequent pair, as BPE does, and so does this one: with the same code, and the same rule for ties. The result does
not depend on the order of the documents.

**The alphabet** holds both forms, `x` and `##x`, of each character of the text, so that a word of known characters is
never unknown. A character that is always a word of its own (punctuation, a Chinese character) needs no second form. If
a text has very many characters, only the most frequent are kept; words with others are unknown, and not learned from.
"""

from collections import Counter
from collections.abc import Iterable

from llmasos.errors import UserError
from llmasos.tokenizers.bert_pretokenizer import CharacterTable, is_chinese, is_punctuation
from llmasos.tokenizers.bpe_trainer import learn_merges
from llmasos.tokenizers.tokenizer import replace_surrogates

CONTINUES = "##"
MAX_WORD = 100  # characters; in BERT, longer words are unknown


def count_bert_words(documents: Iterable[str], table: CharacterTable) -> Counter[str]:
    """Return how often each of BERT's words, at most `MAX_WORD` characters long, occurs in `documents`."""
    counts: Counter[str] = Counter()
    for document in documents:
        counts.update(replace_surrogates(document).translate(table).split())
    return Counter({word: count for word, count in counts.items() if len(word) <= MAX_WORD})


def learn_pieces(
    word_counts: dict[str, int], n_pieces: int, min_frequency: int = 2, max_characters: int = 1000
) -> list[str]:
    """Learn the pieces of a WordPiece vocabulary.

    >>> learn_pieces({"hug": 5, "hugs": 3, "us": 2}, n_pieces=11)
    ['g', 'h', 's', 'u', '##g', '##h', '##s', '##u', 'hu', 'hug', 'hugs']

    Args:
        word_counts: word to number of occurrences, from `count_bert_words`.
        n_pieces: the number of pieces to learn, including the alphabet.
        min_frequency: pairs that occur less often are not merged.
        max_characters: the number of distinct characters to keep, the most frequent first (ties: the smaller code
            point).

    Returns:
        The alphabet by code point, then the merged pieces as they were learned; fewer than `n_pieces` if no pair was
        left.

    Raises:
        UserError: `n_pieces` has no room for the alphabet.
    """
    counts: Counter[str] = Counter()
    for word, count in word_counts.items():
        for character in word:
            counts[character] += count
    most_frequent = sorted(counts, key=lambda character: (-counts[character], character))[:max_characters]
    characters = sorted(most_frequent)
    inside = [CONTINUES + c for c in characters if not (is_chinese(c) or is_punctuation(c))]
    pieces = [*characters, *inside]
    if len(pieces) > n_pieces:
        raise UserError(
            f"a vocabulary of {n_pieces} pieces is too small for WordPiece: the {len(characters)} characters of this "
            f"text, at the beginning of a word and inside it, are {len(pieces)}."
        )
    id_of = {piece: id for id, piece in enumerate(pieces)}

    def spell(word: str) -> list[int]:
        return [id_of[word[0]], *(id_of[CONTINUES + character] for character in word[1:])]

    known = {word: count for word, count in word_counts.items() if id_of.keys() >= set(word)}
    for left, right in learn_merges(known, n_pieces - len(pieces), min_frequency, spell, len(pieces)):
        pieces.append(pieces[left] + pieces[right].removeprefix(CONTINUES))
    return pieces
