"""Exercises of lesson 02: tokens.

    python -m lessons check 2                     # what is right, what is wrong, and why
    python -m lessons check 2 --only merge_pair
    python -m lessons hint 2 merge_pair           # one more hint each time
    python -m lessons run 2 --mine                # the lesson's models, fed by your own tokenizer

Replace each `raise NotImplementedError` with your own code. Plain Python is all you need: lists, dictionaries, `bytes`.
The ready-made tokenizers (tiktoken, tokenizers, llmasos) are not allowed, for obvious reasons. Do not change the
inputs.

What all exercises agree on. A **symbol** is a whole number. Symbols 0 … 255 are the bytes: "a" is 97, because its UTF-8
is the byte 97. A list of **merges**, [(l0, r0), (l1, r1), …], is a tokenizer: merge i glues the symbols li and ri, in
this order, to the new symbol 256 + i. So a merge may use the symbols of the merges before it, and the order counts.
A **pair** is a tuple of two symbols that stand next to each other, the left one first.
"""


def count_pairs(words: list[tuple[list[int], int]]) -> dict[tuple[int, int], int]:
    """1 (easy). Count how often each pair of neighbors occurs in a text.

    Args:
        words: the different words of the text. Each is (its symbols, how often it occurs in the text).

    Returns:
        pair → how often it occurs in the text, for every pair that does. Every place where a pair stands counts, also
        places that overlap: [7, 7, 7] holds the pair (7, 7) twice. No pair reaches from one word into another.

    Example: count_pairs([([1, 2, 3], 5), ([1, 2], 2)]) is {(1, 2): 7, (2, 3): 5}.
    """
    raise NotImplementedError


def merge_pair(symbols: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """2 (easy). Replace each occurrence of a pair by a new symbol.

    Go from left to right. A symbol that has become part of a new one is used up: where occurrences overlap, the left
    one is replaced.

    Args:
        symbols: a word, zero or more symbols.
        pair: what to replace.
        new: by what. It is neither of the two, and not yet in the word.

    Returns:
        A new list. merge_pair([1, 2, 3, 1, 2], (1, 2), 256) is [256, 3, 256].
    """
    raise NotImplementedError


def train_bpe(word_counts: dict[str, int], n_merges: int) -> list[tuple[int, int]]:
    """3 (medium). Learn the merges of byte-pair encoding.

    Every word begins as the list of its UTF-8 bytes. Then repeat: find the most frequent pair in the text, note it as
    the next merge, replace it in all words by its new symbol (256, then 257, …).

    A tie: of pairs that are equally frequent, the one with the smaller left symbol is merged first; if the left
    symbols are equal too, the one with the smaller right symbol.

    Stop when there are n_merges merges, or earlier, when no pair occurs at least twice in the text.

    Args:
        word_counts: word → how often it occurs in the text. Words are pieces of text as the split pattern cut them,
            many begin with a space; no pair reaches from one into another.
        n_merges: how many merges to learn, zero or more.

    Returns:
        The merges in the order in which they were learned. train_bpe({"aab": 2, "ab": 1}, 1) is [(97, 98)], because
        "ab" stands there three times and "aa" twice.
    """
    raise NotImplementedError


def encode(word: str, merges: list[tuple[int, int]]) -> list[int]:
    """4 (medium). Cut one word into tokens.

    Begin with its UTF-8 bytes. As long as some pair of neighbors in the word is among the merges, take the pair that
    was learned first, and replace it wherever it stands in the word, from left to right.

    Args:
        word: a piece of text as the split pattern cut it; may be empty.
        merges: as train_bpe returns them. No pair is in the list twice.

    Returns:
        The symbols that are left, the tokens. encode("aab", [(97, 98), (97, 97)]) is [97, 256].
    """
    raise NotImplementedError


def decode(ids: list[int], merges: list[tuple[int, int]]) -> str:
    """5 (medium). Turn tokens back into text.

    A token below 256 is a byte, any other is what its two halves are, one after the other. The bytes of all tokens
    together are UTF-8. A model may have sampled bytes that are not: what cannot be decoded becomes U+FFFD, as
    `bytes.decode("utf-8", errors="replace")` does it.

    Args:
        ids: tokens, each from 0 to 255 + len(merges); may be empty.
        merges: as train_bpe returns them.

    Returns:
        The text. decode([104, 195, 169], []) is "hé", and decode([104, 195], []) is "h\ufffd".
    """
    raise NotImplementedError


def not_the_shortest() -> tuple[list[tuple[int, int]], list[int]]:
    """6 (break it, and explain). A tokenizer that does not find the shortest way to write a word.

    Find merges, and a list of tokens, such that `encode` writes the same word with *more* tokens than your list has.
    That is: with word = decode(ids, merges), len(encode(word, merges)) must be larger than len(ids).

    Returns:
        merges: at most 12 pairs. Each uses only bytes and symbols of the merges before it. No two of them make the same
            bytes: once (97, 98) has made "ab", no other merge may make "ab".
        ids: tokens, of which every byte is used for the text (the text is valid UTF-8), at most 40 of them.

    Then say below, in WHY_NOT_SHORTEST: why encode does not find your list; whether "always take the longest token that
    fits, from left to right" would always find the shortest (give a reason, or an example against it); and what it
    means for a model, trained on the output of encode, if a user's program hands it *your* list.
    """
    raise NotImplementedError


WHY_NOT_SHORTEST = """
"""


# 7 (open). Change one thing about tokens in the lesson, and measure: how numbers are written in section 2.10 (answers
# from the last digit to the first; a chunk with zeros in front; chunks of three; base ten), what the split pattern
# lets stick together in 2.5, the tie rule, or the text that the merges are learned from in 2.8. Copy lesson.py and
# change the copy, or change your own functions and run `python -m lessons run 2 --mine`. Predict the number first.
# Write down what you changed, what you predicted and why, what came out with three seeds, and what you make of it.
EXPERIMENT = """
"""
