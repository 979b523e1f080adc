"""Exercises of lesson 02: tokens.

    python -m lessons check 2                     # what is right, what is wrong, and why
    python -m lessons check 2 --only merge_pair
    python -m lessons hint 2 merge_pair           # one more hint each time
    python -m lessons run 2 --mine                # the lesson's models, trained on your own tokenizer's tokens

Replace each `raise NotImplementedError` with your own code. Plain Python is all you need: lists, dictionaries, `bytes`.
Ready-made tokenizers (tiktoken, tokenizers, llmasos) are not allowed, for obvious reasons. Do not modify the inputs.

All exercises share these conventions. A **symbol** is an integer. Symbols 0 … 255 are the bytes: "a" is 97, because its
UTF-8 encoding is the byte 97. A list of **merges**, [(l0, r0), (l1, r1), …], is a tokenizer: merge i joins the symbols
li and ri, in this order, into the new symbol 256 + i. So a merge may use the symbols of earlier merges, and the order
of the list matters. A **pair** is a tuple of two neighboring symbols, the left one first.
"""


def count_pairs(words: list[tuple[list[int], int]]) -> dict[tuple[int, int], int]:
    """1 (easy). Count how often each pair of neighbors occurs in a text.

    Args:
        words: the distinct words of the text, each as (its symbols, how often it occurs in the text).

    Returns:
        pair → how often it occurs in the text, for every pair that occurs. Every occurrence counts, even if it overlaps
        with another: [7, 7, 7] contains the pair (7, 7) twice. No pair crosses from one word into another.

    Example: count_pairs([([1, 2, 3], 5), ([1, 2], 2)]) is {(1, 2): 7, (2, 3): 5}.
    """
    raise NotImplementedError


def merge_pair(symbols: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """2 (easy). Replace each occurrence of a pair with a new symbol.

    Go from left to right. A symbol that has become part of a new one is used up: where occurrences overlap, the left
    one is replaced.

    Args:
        symbols: a word, zero or more symbols.
        pair: the pair to replace.
        new: the new symbol. It is not in the pair and not yet in the word.

    Returns:
        A new list, even if nothing was replaced. merge_pair([1, 2, 3, 1, 2], (1, 2), 256) is [256, 3, 256].
    """
    raise NotImplementedError


def train_bpe(word_counts: dict[str, int], n_merges: int) -> list[tuple[int, int]]:
    """3 (medium). Learn the merges of byte-pair encoding.

    Every word starts as the list of its UTF-8 bytes. Then repeat: find the most frequent pair in the text, record it as
    the next merge, and replace it in all words with its new symbol (256, then 257, …).

    Ties: of equally frequent pairs, the one with the smaller left symbol is merged first; if the left symbols are equal
    too, the one with the smaller right symbol.

    Stop when there are n_merges merges, or earlier, when no pair occurs at least twice in the text.

    Args:
        word_counts: word → how often it occurs in the text. Words are pieces of text cut by the split pattern; many
            begin with a space. No pair crosses from one word into another.
        n_merges: how many merges to learn, zero or more.

    Returns:
        The merges in the order in which they were learned. train_bpe({"aab": 2, "ab": 1}, 1) is [(97, 98)], because
        "ab" occurs three times in the text and "aa" twice.
    """
    raise NotImplementedError


def encode(word: str, merges: list[tuple[int, int]]) -> list[int]:
    """4 (medium). Encode one word as tokens.

    Start with its UTF-8 bytes. While any pair of neighbors in the word is among the merges, take the pair that was
    learned first and replace all its occurrences in the word, from left to right.

    Args:
        word: a piece of text cut by the split pattern; may be empty.
        merges: as returned by train_bpe. No pair is in the list twice.

    Returns:
        The remaining symbols: the tokens. encode("aab", [(97, 98), (97, 97)]) is [97, 256].
    """
    raise NotImplementedError


def decode(ids: list[int], merges: list[tuple[int, int]]) -> str:
    """5 (medium). Turn tokens back into text.

    A token below 256 is a byte; any other token stands for its two halves, one after the other. The bytes of all tokens
    together are UTF-8. A model may have sampled bytes that are not valid: what cannot be decoded becomes U+FFFD, as
    with `bytes.decode("utf-8", errors="replace")`.

    Args:
        ids: tokens, each from 0 to 255 + len(merges); may be empty.
        merges: as returned by train_bpe. A token may have been merged thousands of times.

    Returns:
        The text. decode([104, 195, 169], []) is "hé", and decode([104, 195], []) is "h\ufffd".
    """
    raise NotImplementedError


def not_the_shortest() -> tuple[list[tuple[int, int]], list[int]]:
    """6 (break it, and explain). Find a tokenizer that misses the shortest encoding of a word.

    Find merges and a list of tokens such that `encode` writes the same word with *more* tokens than your list has. That
    is, with word = decode(ids, merges), len(encode(word, merges)) must be larger than len(ids).

    Returns:
        merges: at most 12 pairs. Each uses only bytes and the symbols of earlier merges. No two of them make the same
            bytes: once (97, 98) has made "ab", no other merge may make "ab".
        ids: at most 40 tokens. Their bytes together must be valid UTF-8.

    Then explain below, in WHY_NOT_SHORTEST: why encode does not find your list; whether "always take the longest token
    that matches, from left to right" would always find the shortest (give a reason or a counterexample); and what
    happens to a model trained on the output of encode if a user's program passes it *your* list.
    """
    raise NotImplementedError


WHY_NOT_SHORTEST = """
"""


# 7 (open). Change one thing about tokens in the lesson, and measure: how numbers are written in section 2.10 (answers
# from the last digit to the first; a chunk with leading zeros; chunks of three; base ten), what the split pattern keeps
# together in 2.5, the tie rule, or the text that the merges are learned from in 2.8. Copy lesson.py and change the
# copy, or change your own functions and run `python -m lessons run 2 --mine`. Predict the number first. Write down what
# you changed, what you predicted and why, what you measured with three seeds, and what you conclude.
EXPERIMENT = """
"""
