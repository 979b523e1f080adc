"""Judged solutions of lesson 02; see test_wrong_and_right.py."""

COUNT = """
def count_pairs(words):
    result = {{}}
    for symbols, count in words:
        for a, b in zip(symbols, symbols[1:]):
            key = {key}
            result[key] = {value}
    return {output}
"""

MERGE = """
def merge_pair(symbols, pair, new):
    out, i = [], 0
    while i < len(symbols):
        if i + 1 < len(symbols) and {match}:
            out.append(new)
            i += 2
        else:
            out.append(symbols[i])
            i += 1
    return out
"""

TRAIN = """
def train_bpe(word_counts, n_merges):
    words = [(list({word}.encode()), {count}) for word, n in word_counts.items()]
    merges, tokens = [], [bytes([i]) for i in range(256)]
    while len(merges) < n_merges:
        counts = {{}}
        for symbols, n in words:
            for pair in zip(symbols, symbols[1:]):
                counts[pair] = counts.get(pair, 0) + n
        best = min(counts, key=lambda pair: {key}, default=None)
        if best is None or {stop}:
            break
        new, after = 256 + len(merges), []
        for symbols, n in words:
            out = []
            for symbol in symbols:
                if out and (out[-1], symbol) == best:
                    out[-1] = new
                else:
                    out.append(symbol)
            after.append((out, n))
        words = after
        merges.append(best)
        tokens.append(tokens[best[0]] + tokens[best[1]])
    return merges
"""

ENCODE = """
def encode(word, merges):
    symbols = list({bytes})
    rank = {{tuple(pair): i for i, pair in enumerate(merges)}}
    for _ in range({rounds}):
        pairs = [pair for pair in zip(symbols, symbols[1:]) if {known}]
        if not pairs:
            break
        best, out, i = min(pairs, key=rank.get), [], 0
        while i < len(symbols):
            if tuple(symbols[i:i + 2]) == best:
                out, i = out + [256 + rank[best]], i + 2
            else:
                out, i = out + [symbols[i]], i + 1
        symbols = out
    return symbols
"""

DECODE = """
def decode(ids, merges):
    tokens = [bytes([i]) for i in range(256)]
    for left, right in merges:
        tokens.append({joined})
    return {text}
"""
ALL = 'b"".join(tokens[i] for i in ids)'

WRONG = {
    "count_pairs": {
        "two symbols packed into 16 bits": COUNT.format(
            key="a * 256 + b",
            value="result.get(key, 0) + count",
            output="{divmod(k, 256): n for k, n in result.items()}",
        ),
        "two symbols packed into four decimal digits each": COUNT.format(
            key="a * 1000 + b",
            value="result.get(key, 0) + count",
            output="{divmod(k, 1000): n for k, n in result.items()}",
        ),
        "the byte 0 is no symbol": COUNT.format(
            key="(a, b)", value="result.get(key, 0) + count", output="{k: n for k, n in result.items() if all(k)}"
        ),
        "counts of 16 bits": COUNT.format(key="(a, b)", value="(result.get(key, 0) + count) % 2**15", output="result"),
        "a default argument that remembers": "def count_pairs(words, result={}):\n    for s, n in words:\n"
        "        for p in zip(s, s[1:]):\n            result[p] = result.get(p, 0) + n\n    return result\n",
        "symbols of 16 bits": COUNT.format(
            key="(a % 65536, b % 65536)", value="result.get(key, 0) + count", output="result"
        ),
    },
    "merge_pair": {
        "found as text, three digits each": """
def merge_pair(symbols, pair, new):
    text = ",".join(f"{s:03d}" for s in symbols)
    found = ",".join(f"{s:03d}" for s in pair)
    return [int(s) for s in text.replace(found, f"{new:03d}").split(",") if s]
""",
        "identity instead of equality": MERGE.format(match="symbols[i] is pair[0] and symbols[i + 1] is pair[1]"),
        "the byte 0 is false": MERGE.format(
            match="symbols[i] and symbols[i + 1] and (symbols[i], symbols[i + 1]) == pair"
        ),
        "the input itself if the pair does not occur": """
def merge_pair(symbols, pair, new):
    if pair not in zip(symbols, symbols[1:]):
        return symbols
    out = []
    for s in symbols:
        if out and (out[-1], s) == pair:
            out[-1] = new
        else:
            out.append(s)
    return out
""",
        "works only for new symbols above all others": MERGE.format(
            match="(symbols[i], symbols[i + 1]) == pair and symbols[i] <= new"
        ),
        "stops after 100 symbols": MERGE.format(match="(symbols[i], symbols[i + 1]) == pair and i < 100"),
        "sums are compared": MERGE.format(match="symbols[i] + symbols[i + 1] == sum(pair) and symbols[i] in pair"),
        "bytes are searched, merged symbols fail": """
def merge_pair(symbols, pair, new):
    if max([*symbols, *pair], default=0) < 256:
        pieces = bytes(symbols).split(bytes(pair))
        return [s for i, piece in enumerate(pieces) for s in ([new] if i else []) + list(piece)]
    return list(symbols)
""",
    },
    "train_bpe": {
        "a tie goes to the smaller bytes": TRAIN.format(
            word="word", count="n", key="(-counts[pair], tokens[pair[0]], tokens[pair[1]])", stop="counts[best] < 2"
        ),
        "a tie goes to the longer token": TRAIN.format(
            word="word",
            count="n",
            key="(-counts[pair], -len(tokens[pair[0]] + tokens[pair[1]]), pair)",
            stop="counts[best] < 2",
        ),
        "counts are limited": TRAIN.format(
            word="word", count="min(n, 1000)", key="(-counts[pair], pair)", stop="counts[best] < 2"
        ),
        "a pair must occur in two words": TRAIN.format(
            word="word",
            count="n",
            key="(-counts[pair], pair)",
            stop="sum(best in zip(s, s[1:]) for s, _ in words) < 2 and max(n for _, n in words) < 2",
        ),
        "composed characters": TRAIN.format(
            word="__import__('unicodedata').normalize('NFC', word)",
            count="n",
            key="(-counts[pair], pair)",
            stop="counts[best] < 2",
        ),
        "lower case": TRAIN.format(
            word="word.lower()", count="n", key="(-counts[pair], pair)", stop="counts[best] < 2"
        ),
        "line breaks are left out": TRAIN.format(
            word="word.strip(chr(10))", count="n", key="(-counts[pair], pair)", stop="counts[best] < 2"
        ),
        "no words are an error": "merges = None\n"
        + TRAIN.format(word="word", count="n", key="(-counts[pair], pair)", stop="counts[best] < 2").replace(
            ", default=None", ""
        ),
    },
    "encode": {
        "at most eight merges": ENCODE.format(bytes="word.encode()", rounds="8", known="pair in rank"),
        "the first merge counts as none": ENCODE.format(bytes="word.encode()", rounds="10**6", known="rank.get(pair)"),
        "composed characters": ENCODE.format(
            bytes="__import__('unicodedata').normalize('NFC', word).encode()", rounds="10**6", known="pair in rank"
        ),
        "lower case": ENCODE.format(bytes="word.lower().encode()", rounds="10**6", known="pair in rank"),
        "the byte 0 is dropped": ENCODE.format(
            bytes="filter(None, word.encode())", rounds="10**6", known="pair in rank"
        ),
        "two bytes of UTF-16 for characters beyond": ENCODE.format(
            bytes="word.encode('utf-16', 'surrogatepass').decode('utf-16').encode('cp1252', 'ignore')",
            rounds="10**6",
            known="pair in rank",
        ),
        "recursion for each letter": """
def encode(word, merges):
    def go(symbols, i):
        if i == len(merges):
            return symbols
        return go(join(symbols, merges[i], 256 + i), i + 1)

    def join(s, pair, new):
        if len(s) < 2:
            return s
        return [new] + join(s[2:], pair, new) if tuple(s[:2]) == tuple(pair) else s[:1] + join(s[1:], pair, new)

    return go(list(word.encode())[:250], 0)
""",
    },
    "decode": {
        "recursion to any depth": """
def decode(ids, merges):
    def piece(i):
        return piece(merges[i - 256][0]) + piece(merges[i - 256][1]) if i > 255 else bytes([i])

    return b"".join(map(piece, ids)).decode("utf-8", "replace")
""",
        "a byte order mark is removed": DECODE.format(
            joined="tokens[left] + tokens[right]", text=ALL + '.decode("utf-8-sig", "replace")'
        ),
        "line breaks are made equal": DECODE.format(
            joined="tokens[left] + tokens[right]",
            text='"\\n".join((' + ALL + '.decode("utf-8", "replace") + ".").splitlines())[:-1]',
        ),
        "one replacement for any number of bytes": DECODE.format(
            joined="tokens[left] + tokens[right]",
            text='__import__("re").sub("\\ufffd+", "\\ufffd", ' + ALL + '.decode("utf-8", "replace"))',
        ),
        "composed characters": DECODE.format(
            joined="tokens[left] + tokens[right]",
            text='__import__("unicodedata").normalize("NFC", ' + ALL + '.decode("utf-8", "replace"))',
        ),
        "surrogates pass": DECODE.format(
            joined="tokens[left] + tokens[right]",
            text=ALL + '.decode("utf-8", "surrogatepass" if 237 in ' + ALL + ' else "replace")',
        ),
        "a zero ends the text": DECODE.format(
            joined="tokens[left] + tokens[right]", text=ALL + '.split(bytes(1))[0].decode("utf-8", "replace")'
        ),
        "tokens of at most 1,000 bytes": DECODE.format(
            joined="(tokens[left] + tokens[right])[:1000]", text=ALL + '.decode("utf-8", "replace")'
        ),
    },
    "not_the_shortest": {
        "thirteen merges": "def not_the_shortest():\n    m = [(98, 99), (97, 98), (99, 100)]\n"
        "    return m + [(i, 122) for i in range(100, 110)], [257, 258]\n",
        "forty-one tokens": "def not_the_shortest():\n"
        "    return [(98, 99), (97, 98), (99, 100)], [257, 258] * 20 + [97]\n",
    },
}

RIGHT = {
    "count_pairs": {
        "one Counter, places of each word": """
from collections import Counter

def count_pairs(words):
    result = Counter()
    for symbols, n in words:
        result.update({p: n * c for p, c in Counter(map(tuple, zip(symbols[:-1], symbols[1:]))).items()})
    return result
""",
        "NumPy numbers": """
import numpy as np
from collections import defaultdict

def count_pairs(words):
    result = defaultdict(np.int64)
    for symbols, n in words:
        s = np.asarray(symbols, dtype=np.int64)
        for a, b in zip(s, s[1:]):
            result[a, b] += n
    return result
""",
    },
    "merge_pair": {
        "a generator with one symbol in hand, as a tuple": """
def merge_pair(symbols, pair, new):
    def go():
        waiting = []
        for s in symbols:
            if waiting and (waiting[0], s) == tuple(pair):
                yield new
                waiting = []
            else:
                yield from waiting
                waiting = [s]
        yield from waiting
    return tuple(go())
""",
    },
    "train_bpe": {
        "frequency divided by rank of the sorted pairs": TRAIN.format(
            word="word", count="n", key="(-counts[pair], pair[0] * 10**6 + pair[1])", stop="counts[best] <= 1"
        ),
    },
    "encode": {
        "as written": ENCODE.format(bytes="word.encode()", rounds="10**6", known="pair in rank"),
    },
    "decode": {
        "as written": DECODE.format(
            joined="tokens[left] + tokens[right]",
            text='str(bytearray().join(tokens[i] for i in ids), "utf-8", "replace")',
        ),
        "repeated expansion of the list": """
def decode(ids, merges):
    ids = list(ids)
    while any(i > 255 for i in ids):
        ids = [half for i in ids for half in (merges[i - 256] if i > 255 else (i,))]
    return bytes(ids).decode("utf8", errors="replace")
""",
    },
    "not_the_shortest": {
        "numbers of NumPy": "import numpy as np\n\ndef not_the_shortest():\n"
        "    return np.array([[98, 99], [97, 98], [99, 100]]), np.array([257, 258])\n",
    },
}

NAMED = {
    "count_pairs": {
        "words counted that contain the pair": """
def count_pairs(words):
    seen = {}
    for symbols, _ in words:
        for pair in set(zip(symbols[:-1], symbols[1:])):
            seen[pair] = seen.get(pair, 0) + 1
    return seen
""",
    },
    "train_bpe": {
        "spaces stripped": TRAIN.format(
            word="word.strip()", count="n", key="(-counts[pair], pair)", stop="counts[best] < 2"
        ),
        "three occurrences required": TRAIN.format(
            word="word", count="n", key="(-counts[pair], pair)", stop="counts[best] <= 2"
        ),
    },
    "encode": {
        "first merge ignored": ENCODE.format(bytes="word.encode()", rounds="10**6", known="rank.get(pair)"),
    },
}
