"""The checks of lesson 02, and the common mistakes."""

from collections import Counter
from numbers import Integral
from random import Random

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


def neighbors(symbols: list[int]) -> list[Pair]:
    return list(zip(symbols, symbols[1:], strict=False))


def merged(symbols: list[int], pair: Pair, new: int) -> list[int]:
    """Like the library's `merge_pair`, which is forbidden while the checks run."""
    out: list[int] = []
    for symbol in symbols:
        if out and (out[-1], symbol) == pair:
            out[-1] = new
        else:
            out.append(symbol)
    return out


# 1. count_pairs


def counted(words, weight=lambda count: count, pairs=neighbors) -> dict[Pair, int]:
    """Count pairs; every detail can be wrong."""
    pair_counts: dict[Pair, int] = {}
    for symbols, count in words:
        for pair in pairs(symbols):
            pair_counts[pair] = pair_counts.get(pair, 0) + weight(count)
    return pair_counts


def without_overlaps(symbols: list[int]) -> list[Pair]:
    pairs, last = [], {}
    for i, pair in enumerate(neighbors(symbols)):
        if last.get(pair) != i - 1:
            pairs.append(pair)
            last[pair] = i
    return pairs


def across_words(words, repeated: bool) -> dict[Pair, int]:
    """Concatenate all words, each as often as it occurs, or once."""
    row = [(symbol, count) for symbols, count in words for _ in range(count if repeated else 1) for symbol in symbols]
    pair_counts: dict[Pair, int] = {}
    for (left, count), (right, _) in neighbors(row):
        pair_counts[left, right] = pair_counts.get((left, right), 0) + (1 if repeated else count)
    return pair_counts


def last_word_wins(words) -> dict[Pair, int]:
    return {pair: count for symbols, count in words for pair in neighbors(symbols)}


def each_place_by_hand(words):
    pair_counts = {}
    for symbols, count in words:
        position = 1
        while position < len(symbols):
            pair = symbols[position - 1], symbols[position]
            pair_counts.setdefault(pair, []).append(count)
            position += 1
    return {pair: sum(counts) for pair, counts in pair_counts.items()}


def pairs_in_a_repeated_text(words):
    return Counter(
        (symbols[i], symbols[i + 1]) for symbols, count in words for _ in range(count) for i in range(len(symbols) - 1)
    )


def more_symbols(seed: int) -> list[Case]:
    """Three lists of words of other lengths, with symbols below and above 256."""
    draw, cases = Random(seed), []
    for n in draw.sample(range(2, 9), 3):
        symbols = [draw.randrange(256), *(draw.randrange(256, 100_000) for _ in range(2))]
        words = [([draw.choice(symbols) for _ in range(draw.randint(0, 12))], draw.randint(1, 20)) for _ in range(n)]
        cases.append(Case(f"{n} words", words=words))
    return cases


count_pairs = Exercise(
    name="count_pairs",
    asks="Count how often each pair of neighbors occurs in a text, given as words with their counts.",
    reference=counted,
    section="2.3",
    cases=[
        Case("two words", words=[([1, 2, 3], 5), ([1, 2], 2)]),
        Case("one word, the same pair twice", words=[([1, 2, 1, 2], 1)]),
        Case("one word, overlapping pairs", words=[([7, 7, 7], 3)]),
        Case("a pair in both orders", words=[([4, 5], 2), ([5, 4, 6], 1)]),
        Case("words with one symbol, and with none", words=[([9], 4), ([], 2), ([9, 8], 1)]),
        Case("no words", words=[]),
        Case(
            "merged symbols", words=[([1, 300], 1), ([2, 44], 2), ([1, 1500, 2, 500], 3), ([70_000, 4464, 70_000], 1)]
        ),
        Case("zeros, which are bytes like others", words=[([0, 0, 5, 0], 2)]),
        Case("a word that occurs 40,000 times", words=[([1, 2], 40_000), ([3, 1, 2], 1)]),
        Case("more words", words=[([1, 1, 1, 1, 2], 2), ([2, 1, 2, 3], 3), ([3, 1, 2], 1), ([1, 2, 3, 1, 2], 4)]),
    ],
    random_cases=more_symbols,
    misconceptions=[
        Misconception(
            "words not weighted by their counts",
            lambda words: counted(words, weight=lambda count: 1),
            "You counted each distinct word once. A pair in a word that occurs a thousand times then weighs no more "
            "than one in a typo, and the merges go to the wrong pairs.",
            "What is the number next to the symbols, and where does your code use it?",
            "2.3",
        ),
        Misconception(
            "pairs cross word boundaries",
            lambda words: across_words(words, repeated=True),
            "You joined the words into one sequence, so the last symbol of one and the first of the next became a "
            "pair. The words are in no particular order: these two may never have been neighbors in the text.",
            "Look for pairs within each word separately.",
            "2.5",
            variants=(lambda words: across_words(words, repeated=False),),
        ),
        Misconception(
            "words counted that contain the pair",
            lambda words: counted(words, weight=lambda count: 1, pairs=lambda symbols: set(neighbors(symbols))),
            "Two things at once: you counted two occurrences in the same word as one, and did not use how often the "
            "word occurs. That is the number of distinct words that contain the pair.",
            "How often does (1, 2) occur in a text of three times the word [1, 2, 1, 2]?",
            "2.3",
        ),
        Misconception(
            "symbols counted, not pairs",
            lambda words: counted(words, pairs=lambda symbols: symbols),
            "You counted single symbols. A merge joins two neighbors, so it is pairs that must be counted.",
            "The keys of the dictionary are tuples (left, right).",
            "2.3",
            variants=(lambda words: counted(words, pairs=lambda s: list(zip(s, s, strict=True))),),
        ),
        Misconception(
            "one symbol in between",
            lambda words: counted(words, pairs=lambda s: list(zip(s, s[2:], strict=False))),
            "You paired each symbol with the one after the next.",
            "In [1, 2, 3], which symbol is the right neighbor of 1?",
            "2.3",
        ),
        Misconception(
            "rare pairs left out",
            lambda words: {pair: n for pair, n in counted(words).items() if n > 1},
            "You left out the pairs that occur once. Every pair that occurs belongs in the result.",
            "Whether a pair is frequent enough is for training to decide.",
            "2.3",
            variants=(
                lambda words: dict(Counter(counted(words)).most_common(1)),
                lambda words: {pair: n for pair, n in counted(words).items() if n > 2},
            ),
        ),
        Misconception(
            "pair counted once per word",
            lambda words: counted(words, pairs=lambda symbols: set(neighbors(symbols))),
            "You recorded which pairs a word contains, but not how often: two occurrences in the same word counted "
            "as one.",
            "How often does (1, 2) occur in [1, 2, 1, 2]?",
            "2.3",
        ),
        Misconception(
            "overlapping occurrences not counted",
            lambda words: counted(words, pairs=without_overlaps),
            "You skipped occurrences that overlap with the previous one. (That is how `merge_pair` replaces and how "
            "`str.count` counts; here every occurrence counts.)",
            "In [7, 7, 7], a 7 is followed by a 7 at two places.",
            "2.3",
        ),
        Misconception(
            "order within the pair ignored",
            lambda words: counted(words, pairs=lambda symbols: [tuple(sorted(p)) for p in neighbors(symbols)]),
            'You treated (5, 4) and (4, 5) as the same pair. But "on" and "no" are different pieces of text.',
            "A pair is an ordered tuple: left, right.",
            "2.3",
        ),
        Misconception(
            "only every second pair",
            lambda words: counted(words, pairs=lambda s: list(zip(s[::2], s[1::2], strict=False))),
            "You cut the word into blocks of two. Pairs of neighbors start at every position, not at every second one.",
            "How many pairs of neighbors does a word of three symbols have?",
            "2.3",
        ),
        Misconception(
            "last pair missing",
            lambda words: counted(words, pairs=lambda s: neighbors(s[:-1])),
            "Your loop ends one step early: the last pair of each word was not counted.",
            "A word of n symbols has n - 1 pairs. What does range(len(symbols) - 2) give for n = 2?",
            "2.3",
        ),
        Misconception(
            "last symbol paired with the first",
            lambda words: counted(words, pairs=lambda s: [(s[i - 1], s[i]) for i in range(len(s))]),
            "You also paired the last symbol with the first: in Python, symbols[-1] is the last one, so (symbols[i - "
            "1], symbols[i]) must not start at i = 0.",
            "Which positions have a left neighbor?",
            "2.3",
        ),
        Misconception(
            "counts overwritten instead of added",
            last_word_wins,
            "You stored the word's count in the dictionary instead of adding it to what was already there.",
            "counts[pair] = count, or counts[pair] += count?",
            "2.3",
        ),
        Misconception(
            "pairs of non-neighbors",
            lambda words: counted(
                words, pairs=lambda s: [(s[i], s[j]) for i in range(len(s)) for j in range(i + 1, len(s))]
            ),
            "You paired each symbol with all symbols after it. Only neighbors can be merged.",
            "In [1, 2, 3], there is a symbol between 1 and 3.",
            "2.3",
        ),
    ],
    accepted={
        "positions, lists of counts": each_place_by_hand,
        "Counter over the repeated text": pairs_in_a_repeated_text,
        "sum of Counters": lambda words: dict(
            sum(
                (Counter({p: c * n for p, n in Counter(zip(s, s[1:], strict=False)).items()}) for s, c in words),
                Counter(),
            )
        ),
    },
    forbidden=READY_MADE,
    hints=[
        "Start with one word: which pairs does [1, 2, 3] have? `zip(symbols, symbols[1:])` gives them.",
        "Use a dictionary from pair to number; `counts.get(pair, 0)` is 0 for a new pair.",
        "For every word, and for every pair of neighbors in it: add the word's count to the pair's number.",
    ],
)


# 2. merge_pair


def pair_and_half(symbols, pair, new):
    """Does not skip the right half."""
    out = []
    for i, symbol in enumerate(symbols):
        out.append(new if tuple(symbols[i : i + 2]) == pair else symbol)
    return out


def overlapping(symbols, pair, new):
    """Marks all occurrences first, and then replaces every one of them."""
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


def same_list(f, symbols, pair, new) -> str:
    """Whether the result is the list that was passed in."""
    return "the same list" if f(symbols, pair, new) is symbols else "a new list"


def more_words(seed: int) -> list[Case]:
    """Three words of other lengths, in which the pair occurs and overlaps."""
    draw, cases = Random(seed), []
    for n in draw.sample(range(9, 40), 3):
        pair = draw.randrange(256), draw.choice([draw.randrange(256), draw.randrange(256, 150_000)])
        pair = draw.choice([pair, pair, (pair[1], pair[1])])
        other = 150_000 + draw.randrange(1000)
        word = [draw.choice([*pair, *pair, other]) for _ in range(n)]
        cases.append(Case(f"{n} symbols", symbols=word, pair=pair, new=160_000))
    return cases


BIG = [int(digits) for digits in "1000 70000 70000 1000 70000 1100".split()]


def in_digits(n):
    """Symbols as text of n digits each, which is too short for larger ones."""

    def merge(symbols, pair, new):
        text, out, i = "".join(f"{x:0{n}d}" for x in symbols), [], 0
        wanted = "".join(f"{x:0{n}d}" for x in pair)
        while i < len(text):
            found = text[i : i + 2 * n] == wanted
            out.append(int(f"{new:0{n}d}" if found else text[i : i + n]))
            i += 2 * n if found else n
        return out

    return merge


merge_pair = Exercise(
    name="merge_pair",
    asks="Replace each occurrence of a pair with a new symbol, from left to right.",
    reference=bpe_trainer.merge_pair,
    section="2.3",
    cases=[
        Case("the pair twice, with a symbol in between", symbols=[1, 2, 3, 1, 2], pair=(1, 2), new=256),
        Case("the pair in the middle", symbols=[3, 1, 2, 3], pair=(1, 2), new=256),
        Case("the pair does not occur", symbols=[1, 3, 2, 1], pair=(1, 2), new=256),
        Case("two equal symbols", symbols=[7, 7], pair=(7, 7), new=256),
        Case("three equal symbols", symbols=[7, 7, 7], pair=(7, 7), new=256),
        Case("four equal symbols, and others", symbols=[8, 7, 7, 7, 7, 8], pair=(7, 7), new=256),
        Case("five equal symbols", symbols=[7, 7, 7, 7, 7], pair=(7, 7), new=256),
        Case("the left symbol twice", symbols=[1, 1, 2, 2], pair=(1, 2), new=256),
        Case("symbols of several digits", symbols=[11, 2, 1, 23, 1, 2], pair=(1, 2), new=300),
        Case("a pair of merged symbols", symbols=[256, 257, 256, 256, 257], pair=(256, 257), new=258),
        Case("an empty word", symbols=[], pair=(1, 2), new=256),
        Case("one symbol", symbols=[1], pair=(1, 2), new=256),
        Case("zeros, which are bytes like others", symbols=[0, 0, 0, 5, 0], pair=(0, 0), new=256),
        Case("a new symbol below 256", symbols=[20, 30, 0, 20, 30], pair=(20, 30), new=9),
        Case("large symbols", symbols=BIG, pair=(int("1000"), int("70000")), new=100_000),
        Case("symbols of four digits", symbols=[1001, 200, 5, 1, 2001, 1, 200], pair=(1, 200), new=3000),
        Case("the pair twice, and the left symbol alone", symbols=[1, 1, 2, 1, 2, 1], pair=(1, 2), new=256),
        Case("500 symbols", symbols=[1, 2, 1, 1, 2] * 100, pair=(1, 2), new=256),
        Case("a word without the pair: is the result a new list?", run=same_list, symbols=[1, 3], pair=(1, 2), new=256),
        Case("an empty word: is the result a new list?", run=same_list, symbols=[], pair=(1, 2), new=256),
        Case("one symbol: is the result a new list?", run=same_list, symbols=[1], pair=(1, 2), new=256),
    ],
    random_cases=more_words,
    misconceptions=[
        Misconception(
            "overlapping occurrences both merged",
            overlapping,
            "You used one symbol as half of two new ones: in [7, 7, 7] the middle 7 was used twice. The new word "
            "then stands for more text than the old one, and decoding gives a different text.",
            "What happens to the middle symbol once the first pair is merged?",
            "2.3",
        ),
        Misconception(
            "right half not skipped",
            pair_and_half,
            "You wrote the new symbol but continued with the very next one, so the right half of the pair is still "
            "there.",
            "How many symbols of the old word does a match use up?",
            "2.3",
        ),
        Misconception(
            "only the first occurrence replaced",
            first_only,
            "You stopped after the first match. The pair was counted at every occurrence and must be replaced at "
            "every occurrence.",
            "What comes after the first match?",
            "2.3",
        ),
        Misconception(
            "merged from right to left",
            lambda symbols, pair, new: merged(symbols[::-1], pair[::-1], new)[::-1],
            "You went from right to left. In [7, 7, 7] that merges the last two, but the rule merges the first two.",
            "Of two overlapping occurrences, the left one is replaced.",
            "2.3",
        ),
        Misconception(
            "order within the pair ignored",
            lambda symbols, pair, new: either_order(symbols, pair, new),
            'You also replaced the pair the other way around, (2, 1) as well as (1, 2). Decoding would turn "no" into '
            '"on".',
            "A pair is an ordered tuple: left, right.",
            "2.3",
        ),
        Misconception(
            "both symbols replaced wherever they occur",
            lambda symbols, pair, new: [new if symbol in pair else symbol for symbol in symbols],
            "You replaced every symbol that belongs to the pair, even where the other one is not next to it.",
            "Only the left symbol with the right one directly after it is an occurrence.",
            "2.3",
        ),
        Misconception(
            "new symbol added, the pair kept",
            lambda symbols, pair, new: [
                x for i, s in enumerate(symbols) for x in ([new, s] if tuple(symbols[i : i + 2]) == pair else [s])
            ],
            "You wrote the new symbol but kept the pair: the word became longer.",
            "What should a word of n symbols become if it contains the pair once?",
            "2.3",
        ),
        Misconception(
            "pair removed",
            lambda symbols, pair, new: [symbol for symbol in merged(symbols, pair, new) if symbol != new],
            "You removed the pair, but did not put the new symbol in its place.",
            "What should decoding return?",
            "2.3",
        ),
        Misconception(
            "the list that was passed in returned",
            lambda symbols, pair, new: symbols if len(symbols) < 2 else merged(symbols, pair, new),
            "Where nothing is to be replaced, you returned the list itself. If the result is changed later, the word "
            "changes too.",
            "list(symbols) is a copy.",
            "2.3",
            variants=(
                lambda symbols, pair, new: symbols if pair not in neighbors(symbols) else merged(symbols, pair, new),
            ),
        ),
        Misconception(
            "last symbol lost",
            loses_the_end,
            "Your loop ends before the last symbol. If that is not the right half of a pair, it disappears from the "
            "text.",
            "The last symbol has no right neighbor, but it is part of the word.",
            "2.3",
        ),
        Misconception(
            "numbers replaced as text",
            as_text,
            'You converted the numbers to text and replaced "1 2", which also occurs in "11 2" and in "1 23".',
            "Compare symbols, not their digits.",
            "2.3",
        ),
        Misconception(
            "only blocks of two compared",
            in_blocks_of_two,
            "You cut the word into blocks of two, so a pair that begins at an odd position was not found.",
            "After a symbol that does not match, advance by one; after a match, by two.",
            "2.3",
        ),
        Misconception(
            "nothing replaced",
            lambda symbols, pair, new: list(symbols),
            "The word came back unchanged; no place was equal to the pair. A likely reason: a slice of a list is a "
            "list, the pair is a tuple, and in Python [1, 2] == (1, 2) is False.",
            "Print both sides of your comparison, with their types.",
            "2.3",
        ),
        Misconception(
            "symbols written with a fixed number of digits",
            in_digits(3),
            "You wrote every symbol with the same number of digits and searched the text. A larger symbol has more "
            "digits, and from there on your text is cut in the wrong places.",
            "A symbol may be any whole number. Compare symbols, not their digits.",
            "2.3",
            variants=(in_digits(2), in_digits(4)),
        ),
    ],
    accepted={
        "recursion": recursive,
        "a string of characters": by_characters,
        "in a copy, with slices": in_a_copy,
        "a stack": merged,
    },
    forbidden=READY_MADE,
    hints=[
        "Go through the word with an index that you advance yourself (`while`), and build a new list.",
        "At each position: do this symbol and the next one make the pair? Then append `new`. How far do you advance?",
        "Advance by two after a match, by one otherwise. `tuple(symbols[i : i + 2]) == pair` also works at the end.",
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
    best=lambda pair_counts: min(pair_counts, key=lambda pair: (-pair_counts[pair], pair)),
    merge=merged,
    least=2,
    weight=lambda count: count,
    first=256,
    count_again=True,
):
    """Byte-pair encoding in which every detail can be wrong."""
    words = [(list(spell(word)), weight(number)) for word, number in word_counts.items()]
    merges: list[Pair] = []
    pair_counts: dict[Pair, int] = count(words)
    while len(merges) < n_merges:
        if count_again:
            pair_counts = count(words)
        if not pair_counts:
            break
        pair = best(pair_counts)
        if pair_counts[pair] < least:
            break
        new = first + len(merges)
        merges.append(pair)
        words = [(merge(symbols, pair, new), number) for symbols, number in words]
        if not count_again:
            del pair_counts[pair]
    return merges


def ties_by(key):
    return lambda pair_counts: min(pair_counts, key=lambda pair: (-pair_counts[pair], *key(pair)))


def ties_by_text(word_counts, n_merges):
    """Among equally frequent pairs, the one whose bytes come first."""
    tokens = {i: bytes([i]) for i in range(256)}
    words, merges = [(to_bytes(word), count) for word, count in word_counts.items()], []
    while len(merges) < n_merges and (pair_counts := counted(words)):
        pair = min(pair_counts, key=lambda p: (-pair_counts[p], tokens[p[0]], tokens[p[1]]))
        if pair_counts[pair] < 2:
            break
        new = 256 + len(merges)
        tokens[new] = tokens[pair[0]] + tokens[pair[1]]
        merges.append(pair)
        words = [(merged(symbols, pair, new), count) for symbols, count in words]
    return merges


def one_row(word_counts, n_merges):
    """Concatenate the words, each as often as it occurs, so that pairs may cross word boundaries."""
    row = [b for word, count in word_counts.items() for _ in range(min(count, 100)) for b in word.encode()]
    words, merges = row, []
    while len(merges) < n_merges:
        pair_counts = Counter(neighbors(words))
        if not pair_counts or max(pair_counts.values()) < 2:
            break
        pair = min(pair_counts, key=lambda p: (-pair_counts[p], p))
        words = merged(words, pair, 256 + len(merges))
        merges.append(pair)
    return merges


def by_bytes_objects(word_counts, n_merges):
    """Symbols are bytes objects; the merges are numbers."""
    number = {bytes([b]): b for b in range(256)}
    words = {word: [bytes([b]) for b in word.encode()] for word in word_counts}
    merges = []
    for step in range(n_merges):
        pair_counts = Counter()
        for word, pieces in words.items():
            for left, right in zip(pieces, pieces[1:], strict=False):
                pair_counts[number[left], number[right]] += word_counts[word]
        candidates = [(-n, pair) for pair, n in pair_counts.items() if n > 1]
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
    """A merged piece; it equals its bytes."""


def sorted_twice(word_counts, n_merges):
    """Sorts by pair first, then by frequency; a stable sort keeps the order of ties."""
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


def more_stories(seed: int) -> list[Case]:
    """Three small texts; few different characters make many ties."""
    draw, cases = Random(seed), []
    for n in draw.sample(range(3, 9), 3):
        letters = draw.sample("abcxyzé€😀 ", 4)
        words = ["".join(draw.choice(letters) for _ in range(draw.randint(1, 7))) for _ in range(n)]
        cases.append(Case(f"{n} words", word_counts={word: draw.randint(1, 4) for word in words}, n_merges=3 * n))
    return cases


STORY = {
    "the": 4, " the": 9, " cat": 5, " mat": 3, " sat": 2, " on": 2, " bees": 3, " see": 2, " bananas": 1, " hé": 2,
    " héé": 1, " attic": 2, " that": 3, "that": 1,
}  # fmt: skip

train_bpe = Exercise(
    name="train_bpe",
    asks="Learn the merges of byte-pair encoding from words and their counts; ties go to the smaller pair.",
    reference=lambda word_counts, n_merges: bpe_trainer.learn_merges_naive(
        word_counts, n_merges, min_frequency=2, spell=str.encode
    ),
    section="2.3",
    cases=[
        Case("two words, one merge", word_counts={"aab": 2, "ab": 1}, n_merges=1),
        Case("a tie: the smaller left symbol", word_counts={"bd": 3, "ac": 3}, n_merges=2),
        Case("a tie: the smaller right symbol", word_counts={"ad": 3, "ac": 3}, n_merges=2),
        Case("the second merge uses the first", word_counts={"abc": 3, "ab": 2, "dd": 4}, n_merges=3),
        Case("no remaining pair occurs twice", word_counts={"abc": 2, "cde": 1}, n_merges=10),
        Case("a run of the same letter", word_counts={"aaaa": 2, "aaa": 1}, n_merges=3),
        Case("a pair that overlaps itself", word_counts={"aaa": 2, "bc": 3}, n_merges=2),
        Case("a common word among rare ones", word_counts={"pq": 3, "ab": 1, "abc": 1}, n_merges=1),
        Case("a two-byte character", word_counts={"é": 2, "és": 1}, n_merges=2),
        Case("words that would form pairs if joined", word_counts={"ab": 3, "ba": 1}, n_merges=4),
        Case("nothing to merge", word_counts={"a": 9}, n_merges=5),
        Case("zero merges", word_counts={"ab": 9}, n_merges=0),
        Case("one word, in which a pair occurs twice", word_counts={"abab": 1}, n_merges=3),
        Case("one word, in which a pair overlaps itself", word_counts={"aaa": 1}, n_merges=3),
        Case("a tie between bytes and a merged symbol", word_counts={"abc": 2, "ab": 3, "xy": 2}, n_merges=3),
        Case("a tie between two merged symbols", word_counts={"xya": 2, "xy": 2, "aby": 2, "ab": 1}, n_merges=4),
        Case("words that begin and end with a space", word_counts={" a": 3, "a ": 2, " ": 5}, n_merges=3),
        Case("line breaks and capital letters", word_counts={"\n\n": 2, "Ab": 2, "ab": 1}, n_merges=3),
        Case("é as one character, and as e with an accent", word_counts={"é": 1, "e\u0301": 2}, n_merges=3),
        Case("a four-byte character", word_counts={"😀": 2, "😀!": 1}, n_merges=5),
        Case("a word that occurs a million times", word_counts={"ab": 10**6, "cd": 10**6 + 1}, n_merges=2),
        Case("no words", word_counts={}, n_merges=3),
        Case("a small story", word_counts=STORY, n_merges=20),
    ],
    random_cases=more_stories,
    misconceptions=[
        Misconception(
            "words not weighted by their counts",
            lambda word_counts, n: trained(word_counts, n, weight=lambda count: 1),
            "You counted each distinct word once, however often it occurs. The merges then fit a list of words and "
            "not the text.",
            "Multiply by the word's count, or check `count_pairs` first.",
            "2.3",
        ),
        Misconception(
            "ties broken by the larger pair",
            lambda word_counts, n: trained(
                word_counts, n, best=lambda pair_counts: max(pair_counts, key=lambda pair: (pair_counts[pair], pair))
            ),
            "You broke ties the other way: of equally frequent pairs, you merged the larger. `max` over (frequency, "
            "pair) does that.",
            "The highest frequency first, but the smallest pair first: these need opposite signs.",
            "2.3",
        ),
        Misconception(
            "ties broken by first occurrence",
            lambda word_counts, n: trained(
                word_counts, n, best=lambda pair_counts: max(pair_counts, key=pair_counts.get)
            ),
            "Of equally frequent pairs you merged the one that came first in the dictionary. The tokenizer then "
            "depends on the order of the documents, and two people with the same text get different tokens.",
            "max(counts, key=counts.get) keeps the first of several equals. What decides a tie in the docstring?",
            "2.3",
        ),
        Misconception(
            "ties broken by the right symbol first",
            lambda word_counts, n: trained(word_counts, n, best=ties_by(lambda pair: (pair[1], pair[0]))),
            "You compared the right symbols of tied pairs before the left ones.",
            "First left, then right, as Python compares tuples.",
            "2.3",
        ),
        Misconception(
            "ties broken by the pair as text",
            lambda word_counts, n: trained(word_counts, n, best=ties_by(lambda pair: (str(pair),))),
            'You compared tied pairs as strings. As a string, "(100, 1)" comes before "(99, 1)"; as numbers it does '
            "not.",
            "Compare the tuples themselves.",
            "2.3",
        ),
        Misconception(
            "pairs counted only once",
            lambda word_counts, n: trained(word_counts, n, count_again=False),
            "You counted the pairs once at the beginning and took the n most frequent. But every merge creates new "
            "pairs and makes others rarer: this way, no token can be longer than two bytes.",
            "What belongs inside the loop?",
            "2.3",
        ),
        Misconception(
            "pairs cross word boundaries",
            one_row,
            "You joined the words into one sequence, so the end of one and the beginning of the next became a pair.",
            "Look for pairs within each word separately.",
            "2.5",
        ),
        Misconception(
            "overlapping occurrences both merged",
            lambda word_counts, n: trained(word_counts, n, merge=overlapping),
            'Your merge uses one symbol as half of two new ones: "aaaa" became three pairs.',
            "Check `merge_pair` first, on [7, 7, 7].",
            "2.3",
        ),
        Misconception(
            "overlapping occurrences not counted",
            lambda word_counts, n: trained(word_counts, n, count=lambda words: counted(words, pairs=without_overlaps)),
            'You counted "aaa" as one occurrence of (a, a). Here every occurrence counts, even if two overlap.',
            "Check `count_pairs` first, on [7, 7, 7].",
            "2.3",
        ),
        Misconception(
            "characters instead of bytes",
            lambda word_counts, n: trained(word_counts, n, spell=lambda word: [ord(c) for c in word]),
            'You started with the characters\' code points. "é" is code point 233, but two bytes, 195 and 169; and '
            "code points from 256 on would collide with the merges.",
            "word.encode() gives the UTF-8 bytes, and list(…) turns them into numbers.",
            "2.2",
        ),
        Misconception(
            "pairs that occur once merged too",
            lambda word_counts, n: trained(word_counts, n, least=1),
            "You continued when no pair occurred twice anymore. Such a merge saves one token in this text and takes "
            "up a place in the vocabulary forever.",
            "When should training stop early?",
            "2.3",
        ),
        Misconception(
            "new symbols start at 257",
            lambda word_counts, n: trained(word_counts, n, first=257),
            "Your first merge makes the symbol 257; it should be 256 + 0.",
            "How many merges come before the first one?",
            "2.3",
        ),
        Misconception(
            "three occurrences required",
            lambda word_counts, n: trained(word_counts, n, least=3),
            "You stopped too early: a pair that occurs exactly twice is still merged.",
            "At least twice: is that > 2 or >= 2?",
            "2.3",
        ),
        Misconception(
            "spaces stripped",
            lambda word_counts, n: trained(word_counts, n, spell=lambda word: to_bytes(word.strip())),
            "You removed the whitespace around the words. It belongs to them: many tokens begin with a space.",
            "Keep the words exactly as they are.",
            "2.5",
        ),
        Misconception(
            "each merge only at its first occurrence",
            lambda word_counts, n: trained(word_counts, n, merge=first_only),
            "You replaced the pair once in each word. A word may contain it several times.",
            "Check `merge_pair` first, on [1, 2, 3, 1, 2].",
            "2.3",
        ),
        Misconception(
            "one merge too few",
            lambda word_counts, n: trained(word_counts, n - 1),
            "You learned one merge too few.",
            "How many turns does your loop have for n_merges = 1?",
            "2.3",
        ),
        Misconception(
            "n_merges taken for the vocabulary's size",
            lambda word_counts, n: trained(word_counts, n - 256),
            "You stopped at n_merges symbols, including the 256 bytes. n_merges counts merges only.",
            "How many merges are learned for n_merges = 1?",
            "2.3",
        ),
        Misconception(
            "ties broken by the larger left, then the smaller right symbol",
            lambda word_counts, n: trained(word_counts, n, best=ties_by(lambda pair: (-pair[0], pair[1]))),
            "Of equally frequent pairs you merged the one with the larger left symbol.",
            "The highest frequency first, but the smallest pair first: these need opposite signs.",
            "2.3",
        ),
        Misconception(
            "ties broken by the smaller left, then the larger right symbol",
            lambda word_counts, n: trained(word_counts, n, best=ties_by(lambda pair: (pair[0], -pair[1]))),
            "Of equally frequent pairs with the same left symbol you merged the one with the larger right symbol.",
            "Compare the tuples themselves: (97, 98) is smaller than (97, 99).",
            "2.3",
        ),
        Misconception(
            "ties broken by the bytes of the symbols",
            ties_by_text,
            "You broke ties by what the symbols stand for, in alphabetical order. The docstring compares the symbols, "
            "which are numbers: a merged one is always larger than a byte.",
            "Which is smaller: the byte 120, or the symbol 256 for the bytes 97, 98?",
            "2.3",
        ),
        Misconception(
            "merge not applied",
            lambda word_counts, n: trained(word_counts, n, merge=lambda symbols, pair, new: symbols),
            "You recorded the pair but did not replace it in the words, so it stays the most frequent pair.",
            "After a merge the words are different. Where do you store the new ones?",
            "2.3",
        ),
    ],
    accepted={
        "pieces of bytes": by_bytes_objects,
        "sorted twice, pairs as lists": sorted_twice,
        "the fast trainer's rule": lambda word_counts, n: trained(
            word_counts, n, best=lambda pair_counts: sorted(pair_counts, key=lambda p: (-pair_counts[p], p[0], p[1]))[0]
        ),
    },
    forbidden=READY_MADE,
    hints=[
        "Convert the words to bytes first: [(list(word.encode()), count), …]. That is what your `count_pairs` takes.",
        "One round: count the pairs of all words; choose one; record it; replace it in all words. How many rounds?",
        "For the choice with its tie rule: min over the pairs, with the key (-frequency, pair).",
    ],
)


# 4. encode


def library_ids(merges) -> list[Pair]:
    """Merges with bytes as symbols → merges in GPT-2's byte order, which the library uses."""
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
    """Merge in the word while anything can be merged; `choose` picks the next of the possible pairs."""
    symbols, rank = spell(word), {pair: i for i, pair in enumerate(merges)}
    for _ in range(rounds):
        possible = [(rank[pair], i, pair) for i, pair in enumerate(neighbors(symbols)) if pair in rank]
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
    """Apply every merge once, in the order of the list: the same as by rank."""
    symbols = spell(word)
    for i, pair in enumerate(merges):
        if stop and pair not in neighbors(symbols):
            break
        symbols = merge(symbols, pair, 256 + i)
    return symbols


def most_frequent_in_the_word(word, merges):
    symbols, rank = to_bytes(word), {pair: i for i, pair in enumerate(merges)}
    while possible := Counter(pair for pair in neighbors(symbols) if pair in rank):
        pair = min(possible, key=lambda p: (-possible[p], rank[p]))
        symbols = merged(symbols, pair, 256 + rank[pair])
    return symbols


def with_a_heap(word, merges):
    """Linked list and heap, as in fast encoders."""
    import heapq

    symbols, rank = to_bytes(word), {tuple(pair): i for i, pair in enumerate(merges)}
    after = list(range(1, len(symbols) + 1))
    before = list(range(-1, len(symbols) - 1))
    heap = [(rank[pair], i) for i, pair in enumerate(neighbors(symbols)) if pair in rank]
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


def random_merges(draw: Random, letters: str, n: int) -> list[Pair]:
    """Up to n different merges of the bytes of these letters, each making other bytes."""
    tokens = {symbol: bytes([symbol]) for symbol in letters.encode()}
    merges: list[Pair] = []
    for _ in range(n):
        pair = draw.choice(list(tokens)), draw.choice(list(tokens))
        piece = tokens[pair[0]] + tokens[pair[1]]
        if pair not in merges and piece not in tokens.values() and len(piece) < 12:
            tokens[256 + len(merges)] = piece
            merges.append(pair)
    return merges


def more_merges(seed: int) -> list[Case]:
    """Three tokenizers with words of other lengths."""
    draw, cases = Random(seed), []
    for n in draw.sample(range(5, 30), 3):
        letters = draw.choice(["ab", "abc", "aé", "xyz"])
        word = "".join(draw.choice(letters) for _ in range(n))
        cases.append(Case(f"{n} characters", word=word, merges=random_merges(draw, letters, n)))
    return cases


encode = Exercise(
    name="encode",
    asks="Cut a word into tokens: repeatedly merge the pair that was learned first, wherever it occurs.",
    reference=through_the_library,
    section="2.4",
    cases=[
        Case("one merge", word="aab", merges=[(A, B), (A, A)]),
        Case("two merges compete for the same letter", word="abc", merges=AB_BC),
        Case("a merge of a merge", word="abcd", merges=CHAIN),
        Case("the pair occurs twice", word="abab", merges=[(A, B)]),
        Case("a run of the same letter", word="aaaaa", merges=[(A, A), (256, A)]),
        Case("a long token that cannot be reached", word="abcd", merges=LONG_LAST),
        Case("the first merge of the list is not in the word", word="cdcd", merges=[(A, B), (C, D), (257, 257)]),
        Case("one pair several times, an earlier one once", word="bcbcab", merges=[(A, B), (C, B), (B, C), (257, C)]),
        Case("a two-byte character", word="hé", merges=[(195, 169), (104, 256)]),
        Case("nothing to merge", word="dec", merges=AB_BC),
        Case("no merges at all", word="né", merges=[]),
        Case("an empty word", word="", merges=AB_BC),
        Case("an odd run: from left to right", word="aaaaa", merges=[(A, A)]),
        Case("a later merge occurs further left", word="bcab", merges=[(A, B), (B, C), (C, A)]),
        Case("the whole word is one token", word="abc", merges=[(B, C), (A, 256), (A, B)]),
        Case("a pair that only a merge makes", word="aabb", merges=[(A, B), (A, 256), (257, B)]),
        Case("a word of one byte", word="a", merges=AB_BC),
        Case("a space at the beginning", word=" aa", merges=[(32, A), (256, A)]),
        Case("two line breaks", word="\n\n", merges=[(10, 10)]),
        Case("capital letters", word="Ab", merges=[(A, B)]),
        Case("é as e with an accent", word="e\u0301", merges=[(195, 169), (204, 129)]),
        Case("zeros, which are bytes like others", word="\0\0", merges=[(0, 0)]),
        Case("a four-byte character twice", word="😀😀", merges=[(240, 159), (152, 128), (256, 257), (258, 258)]),
        Case(
            "a chain of 25 merges",
            word="abcdefghijklmnopqrstuvwxyz",
            merges=[(A, B), *((256 + i, C + i) for i in range(24))],
        ),
        Case("300 letters", word="abc" * 100, merges=AB_BC),
        Case("a word of a small story", word=" bananas", merges=STORY_MERGES),
        Case("another", word=" chattée", merges=STORY_MERGES),
    ],
    random_cases=more_merges,
    misconceptions=[
        Misconception(
            "longest match",
            longest_match,
            "You took the longest token that matches at each position, from left to right. WordPiece does this; BPE "
            "applies its merges in the order in which they were learned, and a long token may never be formed.",
            "Do not compare tokens as pieces of text. Start with bytes, and merge.",
            "2.4",
        ),
        Misconception(
            "fewest tokens",
            fewest_tokens,
            "You looked for the shortest list of tokens. That is sometimes shorter than what BPE finds, and the "
            "model has never seen it.",
            "Which merge was learned first? That one comes first.",
            "2.4",
        ),
        Misconception(
            "merged from left to right, not by rank",
            lambda word, merges: by_choice(word, merges, lambda possible: min(possible, key=lambda p: p[1]), False),
            "You merged the leftmost pair that can be merged. Of all that can, the one that was learned first comes "
            "first, wherever it occurs.",
            "Look at the whole word before you choose.",
            "2.4",
            variants=(lambda word, merges: stack_of_merges(word, merges),),
        ),
        Misconception(
            "last-learned merge first",
            lambda word, merges: by_choice(word, merges, max),
            "You took the pair with the highest rank. The frequent pairs were learned first and have the lowest.",
            "min or max?",
            "2.4",
        ),
        Misconception(
            "smallest pair first",
            lambda word, merges: by_choice(word, merges, lambda possible: min(possible, key=lambda p: p[2])),
            "You took the pair with the smallest symbols. That was the tie rule in training; here the position of "
            "the pair in the list of merges decides.",
            "What does min compare if you pass it pairs? Give it a key.",
            "2.4",
        ),
        Misconception(
            "most frequent pair of the word first",
            most_frequent_in_the_word,
            "You counted pairs in the word, as in training. Frequencies were settled in training; now only the order "
            "of the merges matters.",
            "Encoding does not count anything.",
            "2.4",
        ),
        Misconception(
            "only one merge",
            lambda word, merges: by_choice(word, merges, min, rounds=1),
            "You merged once and stopped. After a merge there may be new pairs that can be merged.",
            "Repeat until no pair of the word is among the merges.",
            "2.4",
        ),
        Misconception(
            "overlapping occurrences both merged",
            lambda word, merges: each_merge_once(word, merges, merge=overlapping),
            "You used one symbol as half of two new ones: the tokens stand for more text than the word has.",
            "Check `merge_pair` first, on [7, 7, 7].",
            "2.3",
        ),
        Misconception(
            "merged from right to left",
            lambda word, merges: each_merge_once(
                word, merges, merge=lambda symbols, pair, new: merged(symbols[::-1], pair[::-1], new)[::-1]
            ),
            "You replaced the occurrences of a pair from right to left.",
            "Of two overlapping occurrences, the left one is replaced.",
            "2.4",
        ),
        Misconception(
            "merge i makes 257 + i",
            lambda word, merges: [s + 1 if s >= 256 else s for s in each_merge_once(word, merges)],
            "Your new symbols are too large by one: merge 0 makes 256.",
            "Which is the first number that is not a byte?",
            "2.4",
            variants=(lambda word, merges: [s - 1 if s >= 256 else s for s in each_merge_once(word, merges)],),
        ),
        Misconception(
            "spaces stripped",
            lambda word, merges: each_merge_once(word.strip(), merges),
            "You removed the whitespace around the word. It belongs to the text: decoding must return it.",
            "Keep the word exactly as it is.",
            "2.5",
        ),
        Misconception(
            "first merge ignored",
            lambda word, merges: by_choice(word, [None, *merges[1:]], min),
            "Your first merge is never used. Its index is 0, and in Python 0 counts as false.",
            "Compare with None: `rank.get(pair) is not None`, or ask `pair in rank`.",
            "2.4",
            variants=(lambda word, merges: by_choice(word, [*merges[:-1], None] if merges else merges, min),),
        ),
        Misconception(
            "every merge, whether its pair is there or not",
            lambda word, merges: [*to_bytes(word), *range(256, 256 + len(merges))],
            "You added a symbol for every merge, even if its pair is not in the word.",
            "A new symbol takes the place of a pair.",
            "2.4",
        ),
        Misconception(
            "each merge only at its first occurrence",
            lambda word, merges: each_merge_once(word, merges, merge=first_only),
            "You went through the merges once and replaced each one only at its first occurrence in the word.",
            "Your `merge_pair` replaces every occurrence of a pair.",
            "2.4",
        ),
        Misconception(
            "stops at the first merge that does not match",
            lambda word, merges: each_merge_once(word, merges, stop=True),
            "You went through the list of merges and stopped at the first pair that is not in the word. Later ones "
            "may still occur.",
            "break or continue?",
            "2.4",
        ),
        Misconception(
            "characters instead of bytes",
            lambda word, merges: each_merge_once(word, merges, spell=lambda w: [ord(c) for c in w]),
            'You started with the characters\' code points. "é" is two bytes, 195 and 169; code points are not '
            "limited to 256, and collide with the merges.",
            "word.encode() gives the UTF-8 bytes.",
            "2.2",
        ),
        Misconception(
            "256 not added",
            lambda word, merges: [s - 256 if s >= 256 else s for s in each_merge_once(word, merges)],
            "Your new symbols are 0, 1, 2, …, which are bytes already. Merge i makes the symbol 256 + i.",
            "Which symbols are already used for the bytes?",
            "2.4",
            variants=(lambda word, merges: by_choice(word, merges, min, first=0),),
        ),
    ],
    accepted={
        "every merge once, in order": each_merge_once,
        "one occurrence at a time": lambda word, merges: by_choice(word, merges, min, everywhere=False),
        "linked list and heap": with_a_heap,
        "a tuple": lambda word, merges: tuple(each_merge_once(word, [tuple(pair) for pair in merges])),
    },
    forbidden=READY_MADE,
    hints=[
        "A dictionary from each pair to its index in the list tells you both: whether it is a merge, and how early "
        "it was learned.",
        "One round: of the neighbors in the word that are in the dictionary, take the pair with the smallest index.",
        "Replace it by 256 + index with your `merge_pair`, and repeat until no neighbors are in the dictionary.",
    ],
)


def stack_of_merges(word, merges):
    """Push the bytes one by one; whenever the top two can be merged, merge them."""
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


def deep(ids, merges):
    """One call for each half."""

    def piece(id):
        return bytes([id]) if id < 256 else piece(merges[id - 256][0]) + piece(merges[id - 256][1])

    return b"".join(piece(id) for id in ids).decode(errors="replace")


def halves_swapped(ids, merges):
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
    """Undo the merges, the last one first."""
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


def more_tokens(seed: int) -> list[Case]:
    """Three lists of tokens, not all of them valid UTF-8."""
    draw, cases = Random(seed), []
    for n in draw.sample(range(3, 30), 3):
        letters = draw.choice(["ab ", "aé", "n€\n", "😀a"])
        merges = random_merges(draw, letters, n)
        choices = [*letters.encode(), *range(256, 256 + len(merges)), draw.randrange(128, 256)]
        cases.append(Case(f"{n} tokens", ids=[draw.choice(choices) for _ in range(n)], merges=merges))
    return cases


decode = Exercise(
    name="decode",
    asks="Concatenate the bytes of all tokens and decode them as UTF-8; what cannot be decoded becomes U+FFFD.",
    reference=decode_by_the_library,
    section="2.4",
    cases=[
        Case("bytes only", ids=[104, 105], merges=[]),
        Case("one merge", ids=[256, 99], merges=[(A, B)]),
        Case("a merge of merges", ids=[258, 257], merges=CHAIN),
        Case("words with their spaces", ids=[256, 32, 97, 257, 32], merges=[(32, 98), (97, 32)]),
        Case("a two-byte character", ids=[104, 195, 169], merges=[]),
        Case("a character spread over two tokens", ids=[256, 257], merges=SPLIT_LETTER),
        Case("a three-byte character in two tokens", ids=[256, 172], merges=[(226, 130)]),
        Case("half a character at the end", ids=[104, 195], merges=[]),
        Case("half a character in the middle", ids=[*EURO[:2], 97], merges=[]),
        Case("a byte that never occurs in UTF-8", ids=[97, 255, 98], merges=[]),
        Case("no tokens", ids=[], merges=[(A, B)]),
        Case("two spaces, a line break and a tab at the ends", ids=[32, 32, 97, 13, 10, 9], merges=[]),
        Case("zeros, which are bytes like others", ids=[0, 97, 0], merges=[]),
        Case("a byte order mark", ids=[239, 187, 191, 97], merges=[]),
        Case("a four-byte character in two tokens", ids=[256, 257], merges=[(240, 159), (152, 128)]),
        Case("three bytes of four, then a letter", ids=[240, 159, 152, 97], merges=[]),
        Case("half a surrogate pair, and an overlong zero", ids=[237, 160, 128, 192, 128], merges=[]),
        Case("the same token twice", ids=[256, 256, 98], merges=[(A, B)]),
        Case("e with an accent stays two characters", ids=[101, 204, 129], merges=[]),
        Case("a token of 4,096 letters", ids=[267], merges=[(A, A), *((n, n) for n in range(256, 267))]),
        Case("a chain of 1,200 merges", ids=[256 + 1199], merges=[(A, B), *((n, C) for n in range(256, 256 + 1199))]),
        Case("a word of a small story", ids=[261, 280, 97, 270, 265], merges=STORY_MERGES),
    ],
    random_cases=more_tokens,
    misconceptions=[
        Misconception(
            "tokens decoded one by one",
            lambda ids, merges: "".join(pieces_of(merges)[id].decode("utf-8", errors="replace") for id in ids),
            "You decoded each token on its own. A character whose bytes are spread over two tokens is then broken: "
            "each half becomes U+FFFD.",
            "Concatenate all bytes first; decode once.",
            "2.4",
        ),
        Misconception(
            "each byte decoded as a character (Latin-1)",
            lambda ids, merges: "".join(map(chr, b"".join(pieces_of(merges)[id] for id in ids))),
            'You turned every byte into a character (that is Latin-1): "é" becomes "Ã©".',
            'bytes(…).decode("utf-8", …) knows which bytes belong together.',
            "2.2",
        ),
        Misconception(
            "invalid bytes dropped",
            lambda ids, merges: joined(ids, merges, errors="ignore"),
            "You dropped what cannot be decoded. Then nobody can see that something was wrong, and two different "
            "token lists look the same.",
            'errors="replace"',
            "2.4",
        ),
        Misconception(
            "invalid bytes raise an error",
            lambda ids, merges: joined(ids, merges, errors="strict"),
            "Your decoding fails on bytes that are not UTF-8. A model may sample half a character at any time, and "
            "the program must not crash because of it.",
            "bytes.decode has an argument for that.",
            "2.4",
        ),
        Misconception(
            "spaces inserted between tokens",
            lambda ids, merges: joined(ids, merges, between=b" "),
            "You put a space between the tokens. The spaces are already in the tokens.",
            'What does " ".join do, and what does b"".join do?',
            "2.5",
            variants=(
                lambda ids, merges: " ".join(pieces_of(merges)[id].decode("utf-8", errors="replace") for id in ids),
            ),
        ),
        Misconception(
            "merged tokens left out",
            lambda ids, merges: bytes(id for id in ids if id < 256).decode(errors="replace"),
            "You left out the tokens from 256 on. They stand for text too.",
            "What are the bytes of token 256?",
            "2.4",
            variants=(lambda ids, merges: "".join(map(chr, ids)),),
        ),
        Misconception(
            "wrong merge looked up",
            lambda ids, merges: joined([id if id < 257 else id - 1 for id in ids], merges),
            "You looked up the merge before the right one.",
            "merges[0] makes 256: how do you get from a token to its merge?",
            "2.4",
            variants=(lambda ids, merges: joined([id + (256 <= id < 255 + len(merges)) for id in ids], merges),),
        ),
        Misconception(
            "recursion too deep",
            deep,
            "Your function calls itself for each half. A token that was merged 1,200 times needs 1,200 nested calls, "
            "and Python stops at 1,000.",
            "Each merge uses only earlier symbols: build the bytes of all symbols in order.",
            "2.4",
        ),
        Misconception(
            "undecodable bytes written as something else",
            lambda ids, merges: joined(ids, merges, errors="replace").replace("\ufffd", "?"),
            "What cannot be decoded becomes U+FFFD, the replacement character. You wrote something else.",
            'errors="replace"',
            "2.4",
            variants=(lambda ids, merges: joined(ids, merges, errors="backslashreplace"),),
        ),
        Misconception(
            "tokens in reverse order",
            lambda ids, merges: joined(ids[::-1], merges),
            "Your text runs backward. On a stack, what is pushed last comes off first.",
            "In which order must the tokens go onto the stack?",
            "2.4",
        ),
        Misconception(
            "merges expanded only once",
            one_level,
            "You replaced a token by its two halves and stopped. The halves may be merges themselves.",
            "Build the bytes of every symbol, in the order of the merges: each uses only earlier ones.",
            "2.4",
        ),
        Misconception(
            "left and right halves swapped",
            halves_swapped,
            "You put the right half of a merge before the left.",
            "merges[i] is (left, right).",
            "2.4",
        ),
        Misconception(
            "whitespace stripped",
            lambda ids, merges: joined(ids, merges).strip(),
            "You removed whitespace at the ends. It belongs to the text: decode(encode(text)) must return the text.",
            "Keep the text exactly as the bytes have it.",
            "2.5",
        ),
    ],
    accepted={
        "a stack": with_a_stack,
        "merges undone, last first": merges_undone,
        "an incremental decoder": by_an_incremental_decoder,
    },
    forbidden=READY_MADE,
    hints=[
        "What are the bytes of token 256? And of 257, if merge 1 uses 256?",
        "Make a list with the bytes of every symbol: 256 of one byte each, then, for every merge, the bytes of its "
        "two halves joined.",
        'Join the bytes of all ids into one bytes object, and decode it with errors="replace".',
    ],
)


# 6. not_the_shortest


def look(find) -> str:
    """Return a verdict on the student's merges and tokens."""
    try:
        merges, ids = find()
        merges, ids = [tuple(pair) for pair in merges], list(ids)
    except (TypeError, ValueError):
        return "this is not (a list of pairs, a list of tokens)"
    if not all(len(pair) == 2 and all(isinstance(symbol, Integral) for symbol in pair) for pair in merges):
        return "a merge is not a pair of integers"
    if not all(isinstance(id, Integral) for id in ids):
        return "the tokens are not integers"
    if len(merges) > 12 or len(ids) > 40:
        return "more than 12 merges, or more than 40 tokens"
    for i, pair in enumerate(merges):
        if not all(0 <= symbol < 256 + i for symbol in pair):
            return f"merge {i} uses a symbol that no earlier merge made"
    if not all(0 <= id < 256 + len(merges) for id in ids):
        return "one of the tokens does not exist"
    if len(set(pieces_of(merges))) < 256 + len(merges):
        return "two merges make the same bytes"
    try:
        word = joined(ids, merges, errors="strict")
    except UnicodeDecodeError:
        return "the bytes of the tokens are not valid UTF-8"
    canonical = each_merge_once(word, merges)
    if canonical == ids:
        return "this is what encode finds"
    if len(canonical) == len(ids):
        return "encode finds equally many tokens"
    return "fine" if len(canonical) > len(ids) else "encode finds fewer tokens"


def two_spoiled_merges():
    return [(B, C), (A, B), (C, D)], [257, 258]


not_the_shortest = Exercise(
    name="not_the_shortest",
    asks="Find merges and tokens such that encode writes the same word with more tokens than yours.",
    reference=two_spoiled_merges,
    section="2.4",
    cases=[Case("your merges and your tokens", judge=look)],
    misconceptions=[
        Misconception(
            "the same tokens as encode",
            lambda: ([(A, B), (256, C)], [257]),
            "Your list is exactly what encode finds.",
            "An early merge must spoil two later ones.",
            "2.4",
        ),
        Misconception(
            "different tokens, but equally many",
            lambda: (AB_BC, [257, C]),
            "Your list differs from what encode finds but has the same number of tokens. You are nearly there.",
            "The pair that is merged too early is in the middle. What could come to the right of it?",
            "2.4",
        ),
        Misconception(
            "longer instead of shorter",
            lambda: ([(A, B)], [A, B]),
            "Your list is a longer way to write the word; that is always possible, byte by byte. Find a shorter one.",
            "It is encode that must waste tokens.",
            "2.4",
        ),
        Misconception(
            "merge uses a later symbol",
            lambda: ([(256, C), (A, B), (257, D)], [258]),
            "One of your merges uses a symbol that is made only later, or by that merge itself.",
            "Merge i may use the bytes and the symbols 256 … 255 + i.",
            "2.3",
            variants=(
                lambda: ([(A, B), (258, C), (257, D)], [258]),
                lambda: ([(A, B), (B, C), (259, D)], [258]),
            ),
        ),
        Misconception(
            "two merges make the same bytes",
            lambda: ([(A, B), (B, C), (256, C), (A, 257)], [259]),
            "Two of your merges make the same bytes, which makes the vocabulary ambiguous.",
            "Each merge must make a different piece of text.",
            "2.4",
        ),
        Misconception(
            "half a character",
            lambda: ([(195, 169)], [195]),
            "The bytes of your tokens are not valid UTF-8, so there is no word to pass to encode.",
            "Plain letters a, b, c, … will do.",
            "2.2",
        ),
        Misconception(
            "letters instead of numbers",
            lambda: ([("a", "b"), ("b", "c")], ["ab", "c"]),
            'Merges and tokens are integers here: "a" is 97.',
            'ord("a") is 97.',
            "2.3",
            variants=(lambda: ([(A, B), (B, C), (C, D)], "abcd"), lambda: ([(A, B), (B, C), (C, D)], ["ab", "cd"])),
        ),
        Misconception(
            "a token that does not exist",
            lambda: ([(B, C), (A, B), (C, D)], [258, 259]),
            "One of your tokens has no merge: with n merges, the last token is 255 + n.",
            "The first merge makes 256.",
            "2.4",
        ),
        Misconception(
            "merges or tokens missing",
            lambda: [(B, C), (A, B), (C, D)],
            "Return two things, both lists: the merges and your tokens.",
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
        "Which pair, if merged first, makes both of them impossible?",
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
        ["Which merge is applied first, and can it be undone?",
         "For the longest match: let the first matching token be long, and spoil a longer second one."], "2.4",
    ),
    WrittenAnswer(
        "EXPERIMENT", "What did you change, what did you predict, what did you measure, and what do you conclude?", 60,
        ["One change at a time; three seeds say more than one."], "2.9",
    ),
]  # fmt: skip
