"""What is checked in lesson 02, and the known mistakes."""

from collections import Counter

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer
from llmasos.tokenizers import bpe_trainer
from llmasos.tokenizers.bpe import BPETokenizer
from llmasos.tokenizers.bytes_to_unicode import BYTES_BY_ID, ID_OF_BYTE

READY_MADE = {
    "tiktoken": "it is a ready-made tokenizer; write it yourself",
    "tokenizers": "it is a ready-made tokenizer; write it yourself",
    "transformers": "it brings ready-made tokenizers; write it yourself",
    "sentencepiece": "it is a ready-made tokenizer; write it yourself",
}

Pair = tuple[int, int]


def neighbours(symbols: list[int]) -> list[Pair]:
    return list(zip(symbols, symbols[1:], strict=False))


def merged(symbols: list[int], pair: Pair, new: int) -> list[int]:
    """Like the library's `merge_pair`, which the checks may not call while it is refused."""
    out: list[int] = []
    for symbol in symbols:
        if out and (out[-1], symbol) == pair:
            out[-1] = new
        else:
            out.append(symbol)
    return out


# 1. count_pairs


def counted(words, weight=lambda count: count, pairs=neighbours) -> dict[Pair, int]:
    """Count pairs with any of the details to be got wrong."""
    found: dict[Pair, int] = {}
    for symbols, count in words:
        for pair in pairs(symbols):
            found[pair] = found.get(pair, 0) + weight(count)
    return found


def without_overlaps(symbols: list[int]) -> list[Pair]:
    found, last = [], {}
    for i, pair in enumerate(neighbours(symbols)):
        if last.get(pair) != i - 1:
            found.append(pair)
            last[pair] = i
    return found


def across_words(words, repeated: bool) -> dict[Pair, int]:
    """All words in one row, each as often as it occurs, or once."""
    row = [(symbol, count) for symbols, count in words for _ in range(count if repeated else 1) for symbol in symbols]
    found: dict[Pair, int] = {}
    for (left, count), (right, _) in neighbours(row):
        found[left, right] = found.get((left, right), 0) + (1 if repeated else count)
    return found


def last_word_wins(words) -> dict[Pair, int]:
    return {pair: count for symbols, count in words for pair in neighbours(symbols)}


def each_place_by_hand(words):
    found = {}
    for symbols, count in words:
        position = 1
        while position < len(symbols):
            pair = symbols[position - 1], symbols[position]
            found.setdefault(pair, []).append(count)
            position += 1
    return {pair: sum(counts) for pair, counts in found.items()}


def pairs_in_a_repeated_text(words):
    return Counter(
        (symbols[i], symbols[i + 1]) for symbols, count in words for _ in range(count) for i in range(len(symbols) - 1)
    )


count_pairs = Exercise(
    name="count_pairs",
    asks="Count how often each pair of neighbors occurs in a text that is given as words with their counts.",
    reference=counted,
    section="2.3",
    cases=[
        Case("two words", words=[([1, 2, 3], 5), ([1, 2], 2)]),
        Case("one word, the same pair twice", words=[([1, 2, 1, 2], 1)]),
        Case("one word, pairs that overlap", words=[([7, 7, 7], 3)]),
        Case("a pair in both orders", words=[([4, 5], 2), ([5, 4, 6], 1)]),
        Case("words of one symbol, and none", words=[([9], 4), ([], 2), ([9, 8], 1)]),
        Case("no words", words=[]),
        Case("more words", words=[([1, 1, 1, 1, 2], 2), ([2, 1, 2, 3], 3), ([3, 1, 2], 1), ([1, 2, 3, 1, 2], 4)]),
    ],
    misconceptions=[
        Misconception(
            "words are not weighted by their counts",
            lambda words: counted(words, weight=lambda count: 1),
            "You counted each different word once. A pair in a word that occurs a thousand times then weighs no more "
            "than one in a misprint, and the merges go to the wrong pairs.",
            "What does the number beside the symbols say, and where is it in your code?",
            "2.3",
        ),
        Misconception(
            "pairs reach across words",
            lambda words: across_words(words, repeated=True),
            "You put the words in one row, so the last symbol of one and the first of the next became a pair. Words "
            "are there in no order: those two may never have stood side by side.",
            "Look for pairs in one word after the other.",
            "2.5",
            variants=(lambda words: across_words(words, repeated=False),),
        ),
        Misconception(
            "a pair counts once in a word",
            lambda words: counted(words, pairs=lambda symbols: set(neighbours(symbols))),
            "You noted which pairs are in a word, and not how often: two places in the same word counted as one.",
            "How often does (1, 2) stand in [1, 2, 1, 2]?",
            "2.3",
        ),
        Misconception(
            "places that overlap are left out",
            lambda words: counted(words, pairs=without_overlaps),
            "You skipped a place where the pair overlaps with itself. (That is how `merge_pair` replaces, and how "
            "`str.count` counts; here every place counts.)",
            "[7, 7, 7] has two places where 7 stands before 7.",
            "2.3",
        ),
        Misconception(
            "the order within a pair is ignored",
            lambda words: counted(words, pairs=lambda symbols: [tuple(sorted(p)) for p in neighbours(symbols)]),
            'You took (5, 4) for the same pair as (4, 5). But "on" and "no" are different pieces of text.',
            "A pair is an ordered tuple: left, right.",
            "2.3",
        ),
        Misconception(
            "every second pair only",
            lambda words: counted(words, pairs=lambda s: list(zip(s[::2], s[1::2], strict=False))),
            "You cut the word into blocks of two. Pairs of neighbors begin at every position, not at every second.",
            "How many pairs of neighbors has a word of three symbols?",
            "2.3",
        ),
        Misconception(
            "the last pair is missing",
            lambda words: counted(words, pairs=lambda s: neighbours(s[:-1])),
            "Your loop ends one step early: the pair at the end of each word was not counted.",
            "A word of n symbols has n - 1 pairs. What does range(len(symbols) - 2) give for n = 2?",
            "2.3",
        ),
        Misconception(
            "the word is a ring",
            lambda words: counted(words, pairs=lambda s: [(s[i - 1], s[i]) for i in range(len(s))]),
            "You counted a pair of the last symbol with the first: in Python symbols[-1] is the last one, so "
            "(symbols[i - 1], symbols[i]) must not begin with i = 0.",
            "Which positions have a left neighbor?",
            "2.3",
        ),
        Misconception(
            "the count of the last word replaces the others",
            last_word_wins,
            "You wrote the word's count into the dictionary where it has to be added to what is there already.",
            "found[pair] = count, or found[pair] += count?",
            "2.3",
        ),
        Misconception(
            "not only neighbors",
            lambda words: counted(
                words, pairs=lambda s: [(s[i], s[j]) for i in range(len(s)) for j in range(i + 1, len(s))]
            ),
            "You paired each symbol with all that follow it. Only neighbors can be glued together.",
            "(1, 3) in [1, 2, 3] has something in between.",
            "2.3",
        ),
    ],
    accepted={
        "positions, lists of counts": each_place_by_hand,
        "Counter over the text written out": pairs_in_a_repeated_text,
        "sum of Counters": lambda words: dict(
            sum(
                (Counter({p: c * n for p, n in Counter(zip(s, s[1:], strict=False)).items()}) for s, c in words),
                Counter(),
            )
        ),
    },
    forbidden=READY_MADE,
    hints=[
        "One word first: which pairs has [1, 2, 3]? `zip(symbols, symbols[1:])` gives them.",
        "A dictionary from pair to number; `found.get(pair, 0)` is 0 for a pair that is not there yet.",
        "For every word, for every pair of neighbors in it: add the word's count to the pair's number.",
    ],
)


# 2. merge_pair


def pair_and_half(symbols, pair, new):
    """Forgets to step over the right half."""
    out = []
    for i, symbol in enumerate(symbols):
        out.append(new if tuple(symbols[i : i + 2]) == pair else symbol)
    return out


def overlapping(symbols, pair, new):
    """Marks every place first, and then lets each become a new symbol."""
    starts = [tuple(symbols[i : i + 2]) == pair for i in range(len(symbols))]
    out = []
    for i, symbol in enumerate(symbols):
        if starts[i]:
            out.append(new)
        elif not (i and starts[i - 1]):
            out.append(symbol)
    return out


def first_only(symbols, pair, new):
    for i in range(len(symbols) - 1):
        if (symbols[i], symbols[i + 1]) == pair:
            return symbols[:i] + [new] + symbols[i + 2 :]
    return list(symbols)


def loses_the_end(symbols, pair, new):
    out, i = [], 0
    while i < len(symbols) - 1:
        if (symbols[i], symbols[i + 1]) == pair:
            out.append(new)
            i += 2
        else:
            out.append(symbols[i])
            i += 1
    return out


def as_text(symbols, pair, new):
    text = " ".join(map(str, symbols)).replace(f"{pair[0]} {pair[1]}", str(new))
    return [int(number) for number in text.split()]


def in_blocks_of_two(symbols, pair, new):
    out = []
    for i in range(0, len(symbols), 2):
        block = symbols[i : i + 2]
        out += [new] if tuple(block) == pair else block
    return out


def recursive(symbols, pair, new):
    if len(symbols) < 2:
        return list(symbols)
    if tuple(symbols[:2]) == tuple(pair):
        return [new] + recursive(symbols[2:], pair, new)
    return [symbols[0]] + recursive(symbols[1:], pair, new)


def by_characters(symbols, pair, new):
    text = "".join(map(chr, symbols)).replace(chr(pair[0]) + chr(pair[1]), chr(new))
    return [ord(character) for character in text]


def in_a_copy(symbols, pair, new):
    out, i = list(symbols), 0
    while i < len(out) - 1:
        if out[i] == pair[0] and out[i + 1] == pair[1]:
            out[i : i + 2] = [new]
        i += 1
    return out


merge_pair = Exercise(
    name="merge_pair",
    asks="Replace each occurrence of a pair, from left to right, by a new symbol.",
    reference=bpe_trainer.merge_pair,
    section="2.3",
    cases=[
        Case("the pair twice, something in between", symbols=[1, 2, 3, 1, 2], pair=(1, 2), new=256),
        Case("the pair in the middle", symbols=[3, 1, 2, 3], pair=(1, 2), new=256),
        Case("the pair is not there", symbols=[1, 3, 2, 1], pair=(1, 2), new=256),
        Case("two of the same", symbols=[7, 7], pair=(7, 7), new=256),
        Case("three of the same", symbols=[7, 7, 7], pair=(7, 7), new=256),
        Case("four of the same, and more", symbols=[8, 7, 7, 7, 7, 8], pair=(7, 7), new=256),
        Case("five of the same", symbols=[7, 7, 7, 7, 7], pair=(7, 7), new=256),
        Case("the left one twice", symbols=[1, 1, 2, 2], pair=(1, 2), new=256),
        Case("symbols of several digits", symbols=[11, 2, 1, 23, 1, 2], pair=(1, 2), new=300),
        Case("a pair of merged symbols", symbols=[256, 257, 256, 256, 257], pair=(256, 257), new=258),
        Case("an empty word", symbols=[], pair=(1, 2), new=256),
        Case("one symbol", symbols=[1], pair=(1, 2), new=256),
    ],
    misconceptions=[
        Misconception(
            "overlapping occurrences are both merged",
            overlapping,
            "You let one symbol be half of two new ones: in [7, 7, 7] the middle 7 was used twice. The new word then "
            "stands for more text than the old one, and decoding gives another text.",
            "What has become of the symbol in the middle once the first pair is merged?",
            "2.3",
        ),
        Misconception(
            "the right half stays",
            pair_and_half,
            "You wrote the new symbol but went on with the very next one, so the right half of the pair is still "
            "there.",
            "How many symbols of the old word are used up by a match?",
            "2.3",
        ),
        Misconception(
            "only the first occurrence is replaced",
            first_only,
            "You stopped after the first match. The pair was counted at every place, and is replaced at every place.",
            "What comes after the first match?",
            "2.3",
        ),
        Misconception(
            "merged from the right",
            lambda symbols, pair, new: merged(symbols[::-1], pair[::-1], new)[::-1],
            "You went from right to left. In [7, 7, 7] that merges the last two, where the rule merges the first two.",
            "Of two occurrences that overlap, the left one is replaced.",
            "2.3",
        ),
        Misconception(
            "the order within a pair is ignored",
            lambda symbols, pair, new: either_order(symbols, pair, new),
            'You also replaced the pair the other way around, (2, 1) as well as (1, 2). Decoding would turn "no" into '
            '"on".',
            "A pair is an ordered tuple: left, right.",
            "2.3",
        ),
        Misconception(
            "the last symbol is lost",
            loses_the_end,
            "Your loop ends before the last symbol. If that is not the right half of a pair, it vanishes from the "
            "text.",
            "The last symbol has no right neighbor, but it is part of the word.",
            "2.3",
        ),
        Misconception(
            "numbers replaced as text",
            as_text,
            'You wrote the numbers as text and replaced "1 2", which also stands in "11 2" and in "1 23".',
            "Compare symbols, not their digits.",
            "2.3",
        ),
        Misconception(
            "looked at blocks of two only",
            in_blocks_of_two,
            "You cut the word into blocks of two, so a pair that begins at an odd position was not found.",
            "After a symbol that does not match, advance by one; after a match, by two.",
            "2.3",
        ),
        Misconception(
            "nothing is replaced",
            lambda symbols, pair, new: list(symbols),
            "The word comes back as it was; no place was found that equals the pair. A likely reason: a slice of a "
            "list is a list, the pair is a tuple, and in Python [1, 2] == (1, 2) is False.",
            "Print both sides of your comparison, with their types.",
            "2.3",
        ),
    ],
    accepted={
        "recursion": recursive,
        "a string of characters": by_characters,
        "in a copy, by slices": in_a_copy,
        "a stack": merged,
    },
    forbidden=READY_MADE,
    hints=[
        "Go through the word with a position that you move yourself (`while`), and build a new list.",
        "At each position: do this symbol and the next one make the pair? Then append `new`. By how much do you move?",
        "By two after a match, by one otherwise. `tuple(symbols[i : i + 2]) == pair` is also right at the end.",
    ],
)


def either_order(symbols, pair, new):
    out: list[int] = []
    i = 0
    while i < len(symbols):
        if len(symbols) > i + 1 and {symbols[i], symbols[i + 1]} == set(pair):
            out.append(new)
            i += 2
        else:
            out.append(symbols[i])
            i += 1
    return out


# 3. train_bpe


def to_bytes(word: str) -> list[int]:
    return list(word.encode())


def trained(
    word_counts,
    n_merges,
    spell=to_bytes,
    count=counted,
    best=lambda found: min(found, key=lambda pair: (-found[pair], pair)),
    merge=merged,
    least=2,
    weight=lambda count: count,
    first=256,
    count_again=True,
):
    """Byte-pair encoding with every detail open to being wrong."""
    words = [(list(spell(word)), weight(number)) for word, number in word_counts.items()]
    merges: list[Pair] = []
    found: dict[Pair, int] = count(words)
    while len(merges) < n_merges:
        if count_again:
            found = count(words)
        if not found:
            break
        pair = best(found)
        if found[pair] < least:
            break
        new = first + len(merges)
        merges.append(pair)
        words = [(merge(symbols, pair, new), number) for symbols, number in words]
        if not count_again:
            del found[pair]
    return merges


def ties_by(key):
    return lambda found: min(found, key=lambda pair: (-found[pair], *key(pair)))


def one_row(word_counts, n_merges):
    """The words in one row, each as often as it occurs: pairs may reach from one into the next."""
    row = [byte for word, count in word_counts.items() for _ in range(count) for byte in word.encode()]
    words, merges = row, []
    while len(merges) < n_merges:
        found = Counter(neighbours(words))
        if not found or max(found.values()) < 2:
            break
        pair = min(found, key=lambda p: (-found[p], p))
        words = merged(words, pair, 256 + len(merges))
        merges.append(pair)
    return merges


def by_bytes_objects(word_counts, n_merges):
    """Symbols are pieces of bytes; numbers come at the very end."""
    number = {bytes([b]): b for b in range(256)}
    words = {word: [bytes([b]) for b in word.encode()] for word in word_counts}
    merges = []
    for step in range(n_merges):
        found = Counter()
        for word, pieces in words.items():
            for left, right in zip(pieces, pieces[1:], strict=False):
                found[number[left], number[right]] += word_counts[word]
        candidates = [(-n, pair) for pair, n in found.items() if n > 1]
        if not candidates:
            return merges
        left, right = min(candidates)[1]
        of_number = {n: piece for piece, n in number.items()}
        a, b = of_number[left], of_number[right]
        for word, pieces in words.items():
            out = []
            for piece in pieces:
                if out and out[-1] == a and piece == b:
                    out[-1] = MergedBytes(a + b)
                else:
                    out.append(piece)
            words[word] = out
        number[a + b] = 256 + step
        merges.append((left, right))
    return merges


class MergedBytes(bytes):
    """Equal to its bytes."""


def sorted_twice(word_counts, n_merges):
    """Sorts by pair first, then, which keeps the order of equals, by frequency."""
    words = [[list(word.encode()), count] for word, count in sorted(word_counts.items())]
    merges = []
    for new in range(256, 256 + n_merges):
        ranking = sorted(sorted(counted(words).items()), key=lambda item: item[1], reverse=True)
        if not ranking or ranking[0][1] == 1:
            break
        merges.append(list(ranking[0][0]))
        for word in words:
            word[0] = merged(word[0], ranking[0][0], new)
    return merges


STORY = {
    "the": 4, " the": 9, " cat": 5, " mat": 3, " sat": 2, " on": 2, " bees": 3, " see": 2, " bananas": 1, " hé": 2,
    " héé": 1, " attic": 2, " that": 3, "that": 1,
}  # fmt: skip

train_bpe = Exercise(
    name="train_bpe",
    asks="Learn the merges of byte-pair encoding from words and their counts, ties by the smaller pair.",
    reference=lambda word_counts, n_merges: bpe_trainer.learn_merges_naive(
        word_counts, n_merges, min_frequency=2, spell=str.encode
    ),
    section="2.3",
    cases=[
        Case("two words, one merge", word_counts={"aab": 2, "ab": 1}, n_merges=1),
        Case("a tie: the smaller left symbol", word_counts={"bd": 3, "ac": 3}, n_merges=2),
        Case("a tie: the smaller right symbol", word_counts={"ad": 3, "ac": 3}, n_merges=2),
        Case("the second merge uses the first", word_counts={"abc": 3, "ab": 2, "dd": 4}, n_merges=3),
        Case("no pair is left that occurs twice", word_counts={"abc": 2, "cde": 1}, n_merges=10),
        Case("a run of the same letter", word_counts={"aaaa": 2, "aaa": 1}, n_merges=3),
        Case("a pair that overlaps with itself", word_counts={"aaa": 2, "bc": 3}, n_merges=2),
        Case("a common word among rare ones", word_counts={"pq": 3, "ab": 1, "abc": 1}, n_merges=1),
        Case("a letter of two bytes", word_counts={"é": 2, "és": 1}, n_merges=2),
        Case("words in a row", word_counts={"ab": 3, "ba": 1}, n_merges=4),
        Case("nothing to merge", word_counts={"a": 9}, n_merges=5),
        Case("no merges wanted", word_counts={"ab": 9}, n_merges=0),
        Case("a small story", word_counts=STORY, n_merges=20),
    ],
    misconceptions=[
        Misconception(
            "words are not weighted by their counts",
            lambda word_counts, n: trained(word_counts, n, weight=lambda count: 1),
            "You counted each different word once, however often it occurs. The merges then serve a list of words and "
            "not the text.",
            "Multiply by the word's count, or check `count_pairs` first.",
            "2.3",
        ),
        Misconception(
            "ties: the larger pair",
            lambda word_counts, n: trained(
                word_counts, n, best=lambda found: max(found, key=lambda pair: (found[pair], pair))
            ),
            "You broke ties the other way: of equally frequent pairs you merged the larger. `max` over (frequency, "
            "pair) does that.",
            "The most frequent first, but the smallest pair first: the two want opposite signs.",
            "2.3",
        ),
        Misconception(
            "ties: whichever was met first",
            lambda word_counts, n: trained(word_counts, n, best=lambda found: max(found, key=found.get)),
            "Of equally frequent pairs you merged the one that came first in the dictionary. The tokenizer then "
            "depends on the order of the documents, and two people with the same text get different tokens.",
            "max(found, key=found.get) keeps the first of several equals. What decides a tie in the docstring?",
            "2.3",
        ),
        Misconception(
            "ties: by the right symbol first",
            lambda word_counts, n: trained(word_counts, n, best=ties_by(lambda pair: (pair[1], pair[0]))),
            "You compared the right symbols of tied pairs before the left ones.",
            "Left first, then right: just as Python compares tuples.",
            "2.3",
        ),
        Misconception(
            "ties: by the text of the pair",
            lambda word_counts, n: trained(word_counts, n, best=ties_by(lambda pair: (str(pair),))),
            'You compared tied pairs as texts. As text "(100, 1)" comes before "(99, 1)", as numbers it does not.',
            "Compare the tuples themselves.",
            "2.3",
        ),
        Misconception(
            "the pairs are counted only once",
            lambda word_counts, n: trained(word_counts, n, count_again=False),
            "You counted the pairs at the beginning and took the n most frequent. But every merge makes new pairs, and "
            "makes others rarer: no token can then become longer than two bytes.",
            "What belongs inside the loop?",
            "2.3",
        ),
        Misconception(
            "pairs reach across words",
            one_row,
            "You put the words in one row, so the end of one and the beginning of the next became a pair.",
            "Look for pairs in one word after the other.",
            "2.5",
        ),
        Misconception(
            "overlapping occurrences are both merged",
            lambda word_counts, n: trained(word_counts, n, merge=overlapping),
            'Your merge lets one symbol be half of two new ones: "aaaa" became three pairs.',
            "Check `merge_pair` first, on [7, 7, 7].",
            "2.3",
        ),
        Misconception(
            "places that overlap are not counted",
            lambda word_counts, n: trained(word_counts, n, count=lambda words: counted(words, pairs=without_overlaps)),
            'You counted "aaa" as one place for (a, a). Here every place counts, also where two overlap.',
            "Check `count_pairs` first, on [7, 7, 7].",
            "2.3",
        ),
        Misconception(
            "characters, not bytes",
            lambda word_counts, n: trained(word_counts, n, spell=lambda word: [ord(c) for c in word]),
            'You began with the characters\' code points. "é" is the code point 233, but two bytes, 195 and 169; and '
            "code points from 256 on would collide with the merges.",
            "word.encode() gives the UTF-8 bytes, and list(…) of it the numbers.",
            "2.2",
        ),
        Misconception(
            "pairs that occur once are merged too",
            lambda word_counts, n: trained(word_counts, n, least=1),
            "You went on when no pair occurred twice any more. Such a merge saves one token in this text, and stands "
            "in the vocabulary forever.",
            "When is it time to stop early?",
            "2.3",
        ),
        Misconception(
            "new symbols begin at 257",
            lambda word_counts, n: trained(word_counts, n, first=257),
            "Your first merge makes the symbol 257; it is 256 + 0.",
            "How many merges have there been before the first one?",
            "2.3",
        ),
        Misconception(
            "the merge is not carried out",
            lambda word_counts, n: trained(word_counts, n, merge=lambda symbols, pair, new: symbols),
            "You noted the pair but did not replace it in the words, so it is the most frequent again and again.",
            "After a merge the words look different. Where do you keep the new ones?",
            "2.3",
        ),
    ],
    accepted={
        "pieces of bytes": by_bytes_objects,
        "sorted twice, pairs as lists": sorted_twice,
        "the fast trainer's rule": lambda word_counts, n: trained(
            word_counts, n, best=lambda found: sorted(found, key=lambda p: (-found[p], p[0], p[1]))[0]
        ),
    },
    forbidden=READY_MADE,
    hints=[
        "Spell the words first: [(list(word.encode()), count), …]. That is what your `count_pairs` takes.",
        "One round: count the pairs of all words; choose one; note it; replace it in all words. How many rounds?",
        "For the choice with its tie rule: min over the pairs with the key (-frequency, pair).",
    ],
)


# 4. encode


def library_ids(merges) -> list[Pair]:
    """Merges of bytes as they are → merges in GPT-2's order of the bytes, which the library has."""
    place = [*ID_OF_BYTE]
    return [tuple(place[symbol] if symbol < 256 else symbol for symbol in pair) for pair in merges]


def through_the_library(word: str, merges) -> list[int]:
    ids = BPETokenizer(library_ids(merges)).encode_naive(word)
    return [BYTES_BY_ID[id] if id < 256 else id for id in ids]


def pieces_of(merges) -> list[bytes]:
    """The bytes of every symbol."""
    tokens = [bytes([value]) for value in range(256)]
    for left, right in merges:
        tokens.append(tokens[left] + tokens[right])
    return tokens


def by_choice(word, merges, choose, everywhere=True, spell=to_bytes, first=256, rounds=10**6):
    """Merge in the word as long as something can be merged; `choose` says which of the possible pairs is next."""
    symbols, rank = spell(word), {pair: i for i, pair in enumerate(merges)}
    for _ in range(rounds):
        possible = [(rank[pair], i, pair) for i, pair in enumerate(neighbours(symbols)) if pair in rank]
        if not possible:
            break
        r, i, pair = choose(possible)
        if everywhere:
            symbols = merged(symbols, pair, first + r)
        else:
            symbols = [*symbols[:i], first + r, *symbols[i + 2 :]]
    return symbols


def longest_match(word, merges):
    numbers = {piece: number for number, piece in reversed(list(enumerate(pieces_of(merges))))}
    data, at, ids = word.encode(), 0, []
    while at < len(data):
        end = max(end for end in range(at + 1, len(data) + 1) if data[at:end] in numbers)
        ids.append(numbers[data[at:end]])
        at = end
    return ids


def fewest_tokens(word, merges):
    numbers = {piece: number for number, piece in reversed(list(enumerate(pieces_of(merges))))}
    data = word.encode()
    best: list[list[int]] = [[]]
    for end in range(1, len(data) + 1):
        ways = [best[at] + [numbers[data[at:end]]] for at in range(end) if data[at:end] in numbers]
        best.append(min(ways, key=len))
    return best[-1]


def each_merge_once(word, merges, spell=to_bytes, merge=merged, stop=False):
    """All merges in the order of the list, each carried out once: the same as by rank."""
    symbols = spell(word)
    for i, pair in enumerate(merges):
        if stop and pair not in neighbours(symbols):
            break
        symbols = merge(symbols, pair, 256 + i)
    return symbols


def most_frequent_in_the_word(word, merges):
    symbols, rank = to_bytes(word), {pair: i for i, pair in enumerate(merges)}
    while possible := Counter(pair for pair in neighbours(symbols) if pair in rank):
        pair = min(possible, key=lambda p: (-possible[p], rank[p]))
        symbols = merged(symbols, pair, 256 + rank[pair])
    return symbols


def with_a_heap(word, merges):
    """Linked list and heap, as fast encoders do it."""
    import heapq

    symbols, rank = to_bytes(word), {tuple(pair): i for i, pair in enumerate(merges)}
    after = list(range(1, len(symbols) + 1))
    before = list(range(-1, len(symbols) - 1))
    heap = [(rank[pair], i) for i, pair in enumerate(neighbours(symbols)) if pair in rank]
    heapq.heapify(heap)
    while heap:
        r, i = heapq.heappop(heap)
        j = after[i]
        if symbols[i] is None or j >= len(symbols) or rank.get((symbols[i], symbols[j])) != r:
            continue
        symbols[i], symbols[j] = 256 + r, None
        after[i] = after[j]
        if after[i] < len(symbols):
            before[after[i]] = i
        for a in (before[i], i):
            if a >= 0 and after[a] < len(symbols) and (symbols[a], symbols[after[a]]) in rank:
                heapq.heappush(heap, (rank[symbols[a], symbols[after[a]]], a))
    return [symbol for symbol in symbols if symbol is not None]


A, B, C, D, E = range(97, 102)
AB_BC = [(B, C), (A, B)]  # bc = 256, ab = 257
CHAIN = [(A, B), (256, C), (257, D), (C, D)]  # ab, abc, abcd, cd
LONG_LAST = [(A, B), (C, D), (B, C), (258, D), (A, 259)]  # ab, cd, bc, bcd, abcd
STORY_MERGES = bpe_trainer.learn_merges_naive(STORY, 30, 2, str.encode)

encode = Exercise(
    name="encode",
    asks="Cut a word into tokens: again and again, merge the pair that was learned first, wherever it stands.",
    reference=through_the_library,
    section="2.4",
    cases=[
        Case("one merge", word="aab", merges=[(A, B), (A, A)]),
        Case("two merges want the same letter", word="abc", merges=AB_BC),
        Case("a merge of a merge", word="abcd", merges=CHAIN),
        Case("the pair stands there twice", word="abab", merges=[(A, B)]),
        Case("a run of the same letter", word="aaaaa", merges=[(A, A), (256, A)]),
        Case("a long token that is out of reach", word="abcd", merges=LONG_LAST),
        Case("the first merge of the list is not in the word", word="cdcd", merges=[(A, B), (C, D), (257, 257)]),
        Case("many of one pair, an earlier one once", word="bcbcab", merges=[(A, B), (C, B), (B, C), (257, C)]),
        Case("a letter of two bytes", word="hé", merges=[(195, 169), (104, 256)]),
        Case("nothing to merge", word="dec", merges=AB_BC),
        Case("no merges at all", word="né", merges=[]),
        Case("an empty word", word="", merges=AB_BC),
        Case("a word of a small story", word=" bananas", merges=STORY_MERGES),
        Case("another", word=" chattée", merges=STORY_MERGES),
    ],
    misconceptions=[
        Misconception(
            "the longest token first",
            longest_match,
            "You took the longest token that fits at each place, from left to right. WordPiece encodes so; BPE repeats "
            "its merges in the order in which they were learned, and a long token may never come about.",
            "Do not look at tokens as pieces of text. Begin with bytes, and merge.",
            "2.4",
        ),
        Misconception(
            "as few tokens as possible",
            fewest_tokens,
            "You looked for the shortest list of tokens. That is sometimes shorter than what BPE finds, and the model "
            "has never seen it.",
            "Which merge was learned first? That one comes first.",
            "2.4",
        ),
        Misconception(
            "merges in the order of the text",
            lambda word, merges: by_choice(word, merges, lambda possible: min(possible, key=lambda p: p[1]), False),
            "You merged the first pair from the left that can be merged. Of all that can, the one that was learned "
            "first comes first, wherever it stands.",
            "Look at the whole word before you choose.",
            "2.4",
            variants=(lambda word, merges: stack_of_merges(word, merges),),
        ),
        Misconception(
            "the merge learned last comes first",
            lambda word, merges: by_choice(word, merges, max),
            "You took the pair with the highest number. The frequent pairs were learned first and have the lowest.",
            "min or max?",
            "2.4",
        ),
        Misconception(
            "the smallest pair first",
            lambda word, merges: by_choice(word, merges, lambda possible: min(possible, key=lambda p: p[2])),
            "You took the pair with the smallest symbols. That was the rule for ties in training; here the place of "
            "the pair in the list of merges decides.",
            "What does min compare, if you give it pairs? Give it a key.",
            "2.4",
        ),
        Misconception(
            "the most frequent pair of the word first",
            most_frequent_in_the_word,
            "You counted pairs in the word, as in training. What is frequent was settled in training; now only the "
            "order of the merges counts.",
            "In encoding nothing is counted.",
            "2.4",
        ),
        Misconception(
            "one merge only",
            lambda word, merges: by_choice(word, merges, min, rounds=1),
            "You merged once and stopped. After a merge there may be new pairs that can be merged.",
            "Repeat, until no pair of the word is among the merges.",
            "2.4",
        ),
        Misconception(
            "each merge at its first place only",
            lambda word, merges: each_merge_once(word, merges, merge=first_only),
            "You went through the merges once and replaced each only where it first stands in the word.",
            "Your `merge_pair` replaces a pair wherever it stands.",
            "2.4",
        ),
        Misconception(
            "stops at the first merge that does not fit",
            lambda word, merges: each_merge_once(word, merges, stop=True),
            "You went through the list of merges and stopped at the first whose pair is not in the word. Those after "
            "it may well be.",
            "break or continue?",
            "2.4",
        ),
        Misconception(
            "characters, not bytes",
            lambda word, merges: each_merge_once(word, merges, spell=lambda w: [ord(c) for c in w]),
            'You began with the characters\' code points. "é" is two bytes, 195 and 169; code points know no limit of '
            "256, and collide with the merges.",
            "word.encode() gives the UTF-8 bytes.",
            "2.2",
        ),
        Misconception(
            "the number of the merge, without 256",
            lambda word, merges: [s - 256 if s >= 256 else s for s in each_merge_once(word, merges)],
            "Your new symbols are 0, 1, 2, …, which are bytes already. Merge i makes the symbol 256 + i.",
            "Which symbols are taken by the bytes?",
            "2.4",
            variants=(lambda word, merges: by_choice(word, merges, min, first=0),),
        ),
    ],
    accepted={
        "every merge once, in order": each_merge_once,
        "one place at a time": lambda word, merges: by_choice(word, merges, min, everywhere=False),
        "linked list and heap": with_a_heap,
        "a tuple": lambda word, merges: tuple(each_merge_once(word, [tuple(pair) for pair in merges])),
    },
    forbidden=READY_MADE,
    hints=[
        "A dictionary from pair to its place in the list tells both: whether it is a merge, and how early it was "
        "learned.",
        "One round: of the neighbors in the word that are in the dictionary, take the one with the smallest place.",
        "Replace it with your `merge_pair` by 256 + place, and go round again until no neighbors are in the "
        "dictionary.",
    ],
)


def stack_of_merges(word, merges):
    """Push byte after byte; whenever the top two can be merged, merge them."""
    rank, stack = {tuple(pair): i for i, pair in enumerate(merges)}, []
    for byte in word.encode():
        stack.append(byte)
        while len(stack) > 1 and (stack[-2], stack[-1]) in rank:
            right, left = stack.pop(), stack.pop()
            stack.append(256 + rank[left, right])
    return stack


# 5. decode


def decode_by_the_library(ids, merges) -> str:
    place = [*ID_OF_BYTE]
    tokenizer = BPETokenizer(library_ids(merges))
    return tokenizer.decode([place[id] if id < 256 else id for id in ids])


def joined(ids, merges, errors="replace", between=b""):
    pieces = pieces_of(merges)
    return between.join(pieces[id] for id in ids).decode("utf-8", errors=errors)


def one_level(ids, merges):
    flat: list[int] = []
    for id in ids:
        flat += [id] if id < 256 else list(merges[id - 256])
    return bytes(flat).decode("utf-8", errors="replace")


def halves_exchanged(ids, merges):
    tokens = [bytes([value]) for value in range(256)]
    for left, right in merges:
        tokens.append(tokens[right] + tokens[left])
    return b"".join(tokens[id] for id in ids).decode("utf-8", errors="replace")


def with_a_stack(ids, merges):
    out, waiting = bytearray(), list(reversed(ids))
    while waiting:
        id = waiting.pop()
        if id < 256:
            out.append(id)
        else:
            waiting += reversed(merges[id - 256])
    return str(bytes(out), "utf-8", "replace")


def merges_undone(ids, merges):
    """Undo the merges, the last first."""
    for i in reversed(range(len(merges))):
        undone = []
        for id in ids:
            undone += merges[i] if id == 256 + i else [id]
        ids = undone
    return bytes(ids).decode(errors="replace")


def by_an_incremental_decoder(ids, merges):
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    return "".join(decoder.decode(pieces_of(merges)[id]) for id in ids) + decoder.decode(b"", final=True)


SPLIT_LETTER = [(104, 195), (169, 33)]  # "h" with half an "é", and the other half with "!"
EURO = list("€".encode())  # 226, 130, 172

decode = Exercise(
    name="decode",
    asks="Put the bytes of all tokens together and decode them as UTF-8; what cannot be decoded becomes U+FFFD.",
    reference=decode_by_the_library,
    section="2.4",
    cases=[
        Case("bytes only", ids=[104, 105], merges=[]),
        Case("one merge", ids=[256, 99], merges=[(A, B)]),
        Case("a merge of merges", ids=[258, 257], merges=CHAIN),
        Case("words with their spaces", ids=[256, 32, 97, 257, 32], merges=[(32, 98), (97, 32)]),
        Case("a letter of two bytes", ids=[104, 195, 169], merges=[]),
        Case("a letter that is spread over two tokens", ids=[256, 257], merges=SPLIT_LETTER),
        Case("a sign of three bytes, in two tokens", ids=[256, 172], merges=[(226, 130)]),
        Case("half a letter at the end", ids=[104, 195], merges=[]),
        Case("half a letter in the middle", ids=[*EURO[:2], 97], merges=[]),
        Case("a byte that no letter has", ids=[97, 255, 98], merges=[]),
        Case("no tokens", ids=[], merges=[(A, B)]),
        Case("a word of a small story", ids=[261, 280, 97, 270, 265], merges=STORY_MERGES),
    ],
    misconceptions=[
        Misconception(
            "token by token",
            lambda ids, merges: "".join(pieces_of(merges)[id].decode("utf-8", errors="replace") for id in ids),
            "You decoded each token by itself. A letter whose bytes are spread over two tokens is then broken: each "
            "half becomes U+FFFD.",
            "Put all bytes together first; decode once.",
            "2.4",
        ),
        Misconception(
            "each byte is a character",
            lambda ids, merges: "".join(map(chr, b"".join(pieces_of(merges)[id] for id in ids))),
            'You made a character of every byte (that is Latin-1): "é" becomes "Ã©".',
            'bytes(…).decode("utf-8", …) knows which bytes belong together.',
            "2.2",
        ),
        Misconception(
            "damaged bytes are left out",
            lambda ids, merges: joined(ids, merges, errors="ignore"),
            "You dropped what cannot be decoded. Nobody sees then that something was wrong, and two different lists of "
            "tokens look the same.",
            'errors="replace"',
            "2.4",
        ),
        Misconception(
            "damaged bytes are an error",
            lambda ids, merges: joined(ids, merges, errors="strict"),
            "Your decoding fails on bytes that are not UTF-8. A model may sample half a letter at any time, and the "
            "program must not end because of it.",
            "bytes.decode has an argument for that.",
            "2.4",
        ),
        Misconception(
            "spaces between the tokens",
            lambda ids, merges: joined(ids, merges, between=b" "),
            "You put a space between the tokens. The spaces are in the tokens already.",
            'What does " ".join do, and what b"".join?',
            "2.5",
            variants=(
                lambda ids, merges: " ".join(pieces_of(merges)[id].decode("utf-8", errors="replace") for id in ids),
            ),
        ),
        Misconception(
            "merges are opened only once",
            one_level,
            "You replaced a token by its two halves and stopped. The halves may be merges themselves.",
            "Build the bytes of every symbol, in the order of the merges: each uses only earlier ones.",
            "2.4",
        ),
        Misconception(
            "left and right swapped",
            halves_exchanged,
            "You put the right half of a merge before the left.",
            "merges[i] is (left, right).",
            "2.4",
        ),
        Misconception(
            "spaces at the ends are stripped",
            lambda ids, merges: joined(ids, merges).strip(),
            "You removed white space at the ends. It belongs to the text: decode(encode(text)) must be the text.",
            "Leave the text as the bytes say.",
            "2.5",
        ),
    ],
    accepted={
        "a stack": with_a_stack,
        "the merges undone, last first": merges_undone,
        "an incremental decoder": by_an_incremental_decoder,
    },
    forbidden=READY_MADE,
    hints=[
        "What are the bytes of token 256? And of 257, if merge 1 uses 256?",
        "A list with the bytes of every symbol: 256 of one byte each, then for every merge the sum of its two halves.",
        'Join the bytes of all ids to one bytes object, and decode that with errors="replace".',
    ],
)


# 6. not_the_shortest


def look(find) -> str:
    """The verdict on the merges and the tokens that were found."""
    try:
        merges, ids = find()
        merges, ids = [tuple(pair) for pair in merges], list(ids)
    except (TypeError, ValueError):
        return "that is not (a list of pairs, a list of tokens)"
    if not all(len(pair) == 2 and all(type(symbol) is int for symbol in pair) for pair in merges):
        return "a merge is not a pair of whole numbers"
    if not all(type(id) is int for id in ids):
        return "the tokens are not whole numbers"
    if len(merges) > 12 or len(ids) > 40:
        return "more than 12 merges, or more than 40 tokens"
    for i, pair in enumerate(merges):
        if not all(0 <= symbol < 256 + i for symbol in pair):
            return f"merge {i} uses a symbol that no merge before it made"
    if not all(0 <= id < 256 + len(merges) for id in ids):
        return "one of the tokens does not exist"
    if len(set(pieces_of(merges))) < 256 + len(merges):
        return "two merges make the same bytes"
    try:
        word = joined(ids, merges, errors="strict")
    except UnicodeDecodeError:
        return "the tokens are not the bytes of a text"
    canonical = each_merge_once(word, merges)
    if canonical == ids:
        return "it is what encode finds"
    if len(canonical) == len(ids):
        return "encode finds as many tokens"
    return "fine" if len(canonical) > len(ids) else "encode finds fewer tokens"


def found_pair():
    return [(B, C), (A, B), (C, D)], [257, 258]


not_the_shortest = Exercise(
    name="not_the_shortest",
    asks="Find merges and tokens so that encode writes the same word with more tokens than yours.",
    reference=found_pair,
    section="2.4",
    cases=[Case("your merges and your tokens", run=look)],
    misconceptions=[
        Misconception(
            "the canonical tokens",
            lambda: ([(A, B), (256, C)], [257]),
            "Your list is exactly what encode finds.",
            "A merge that comes early must spoil two that come later.",
            "2.4",
        ),
        Misconception(
            "other tokens, but as many",
            lambda: (AB_BC, [257, C]),
            "Your list differs from what encode finds, but has as many tokens. You are nearly there.",
            "The pair that is merged too early sits in the middle. What could stand to the right of it?",
            "2.4",
        ),
        Misconception(
            "longer, not shorter",
            lambda: ([(A, B)], [A, B]),
            "Your list is a longer way to write the word; that is always possible, byte by byte. A shorter one is "
            "asked for.",
            "encode must be the one that wastes tokens.",
            "2.4",
        ),
        Misconception(
            "a merge from the future",
            lambda: ([(256, C), (A, B), (257, D)], [258]),
            "One of your merges uses a symbol that is made only later, or by itself.",
            "Merge i may use the bytes and the symbols 256 … 255 + i.",
            "2.3",
            variants=(
                lambda: ([(A, B), (258, C), (257, D)], [258]),
                lambda: ([(A, B), (B, C), (259, D)], [258]),
            ),
        ),
        Misconception(
            "the same bytes by two merges",
            lambda: ([(A, B), (B, C), (256, C), (A, 257)], [259]),
            "Two of your merges make the same bytes, which makes the vocabulary ambiguous.",
            "Let every merge make a piece of text of its own.",
            "2.4",
        ),
        Misconception(
            "half a letter",
            lambda: ([(195, 169)], [195]),
            "The bytes of your tokens are not UTF-8, so there is no word that encode could be given.",
            "Plain letters a, b, c, … will do.",
            "2.2",
        ),
        Misconception(
            "letters, not numbers",
            lambda: ([("a", "b"), ("b", "c")], ["ab", "c"]),
            'Merges and tokens are whole numbers here: "a" is 97.',
            'ord("a") is 97.',
            "2.3",
            variants=(lambda: ([(A, B), (B, C), (C, D)], "abcd"), lambda: ([(A, B), (B, C), (C, D)], ["ab", "cd"])),
        ),
        Misconception(
            "a token that does not exist",
            lambda: ([(B, C), (A, B), (C, D)], [258, 259]),
            "One of your tokens has no merge: with n merges the last token is 255 + n.",
            "The first merge makes 256.",
            "2.4",
        ),
        Misconception(
            "merges or tokens are missing",
            lambda: [(B, C), (A, B), (C, D)],
            "Two things are to be returned, both lists: the merges, and your tokens.",
            "return merges, ids",
            "2.4",
        ),
    ],
    accepted={
        "one token for three": lambda: ([(A, B), (C, D), (B, C), (258, D), (A, 259)], [260]),
        "a run of one letter": lambda: ([(A, A), (256, A), (257, A), (258, A)], [257, 257]),
        "tuples, and a longer word": lambda: (((B, C), (A, B), (C, D)), (257, 258, 257, 258)),
    },
    hints=[
        'Take the word "abcd". Which two tokens would be the shortest way to write it?',
        "Which pair, merged first of all, makes both of them impossible?",
        'If "bc" is merged before "ab" and "cd", what is left of "abcd"?',
    ],
)

EXERCISES = [
    count_pairs,
    merge_pair,
    train_bpe,
    encode,
    decode,
    not_the_shortest,
    WrittenAnswer(
        "WHY_NOT_SHORTEST", "Why does encode not find it, would the longest match, and what does it do to a model?", 60,
        ["Which merge is carried out first, and can it be taken back?",
         "For the longest match: let the first token that fits be long, and spoil a longer second one."], "2.4",
    ),
    WrittenAnswer(
        "EXPERIMENT", "What did you change, what did you predict, what came out, what do you make of it?", 60,
        ["One change at a time; three seeds say more than one."], "2.9",
    ),
]  # fmt: skip
