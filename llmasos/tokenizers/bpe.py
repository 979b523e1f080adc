"""Byte-level byte-pair encoding: GPT-2's tokenizer, trained on your own text.

    " mat"  --bytes-->  " ", "m", "a", "t"  --merges, the earliest learned first-->  " ", "m", "at"  -->  " m", "at"

Ids are laid out as in GPT-2: 0 ... 255 are the bytes in GPT-2's order, then come the merges in the order in which they
were learned, then the special tokens. The id of a merged token is therefore also its rank, and encoding means: merge
the pair with the lowest id until no pair is left. `encode_naive` does exactly that; `encode` hands the ranks to
tiktoken, which is fast.

A saved tokenizer has the files of a Hugging Face GPT-2 folder, `vocab.json` and `merges.txt` in GPT-2's visible
alphabet (see `bytes_to_unicode`). `transformers` opens them and gives the same ids, and GPT-2's own files open here.
(`transformers` has no lower-casing GPT-2: if the tokenizer has `lowercase=True`, lower-case the text first.)
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import tiktoken

from llmasos.console import say
from llmasos.errors import UserError, check_number
from llmasos.storage import read_json, read_small_lines, write_json, write_text
from llmasos.tokenizers.bpe_trainer import learn_merges, merge_pair
from llmasos.tokenizers.bytes_to_unicode import BYTES_BY_ID, ID_OF_BYTE, from_visible, to_visible
from llmasos.tokenizers.tiktoken_backed import TiktokenTokenizer
from llmasos.tokenizers.tokenizer import END_OF_TEXT, number_special_tokens, prepare
from llmasos.tokenizers.word_counts import SPLIT, SPLIT_PATTERN, count_words

VOCAB_FILE = "vocab.json"
MERGES_FILE = "merges.txt"
MAX_TOKEN_BYTES = 2**16  # merges of merges could double a token's length 40 times


class BPETokenizer(TiktokenTokenizer):
    """Byte-level BPE, defined by a list of merges.

    >>> tokenizer = BPETokenizer([(71, 68), (256, 75)])      # "h" + "e" is token 256, "he" + "l" is 257
    >>> tokenizer.encode("hello")
    [257, 75, 78]
    """

    kind = "bpe"
    split_pattern = SPLIT_PATTERN

    def __init__(
        self,
        merges: Sequence[tuple[int, int]],
        special_tokens: Iterable[str] = (END_OF_TEXT,),
        lowercase: bool = False,
    ):
        """Build the token table and the `tiktoken.Encoding` from the merges.

        Args:
            merges: pairs of ids, in the order in which they were learned; merge i creates the id 256 + i.
            special_tokens: their names, in the order of their ids, which follow the last merge.
            lowercase: whether to lower-case texts before they are encoded.

        Raises:
            UserError: a merge uses an id that does not exist yet or creates a token that already exists, or a special
                token has the name of an ordinary one.
        """
        self.merges = [(left, right) for left, right in merges]
        tokens = [bytes([byte]) for byte in BYTES_BY_ID]
        for left, right in self.merges:
            if not (0 <= left < len(tokens) and 0 <= right < len(tokens)):
                raise UserError(f"merge {left} + {right} uses an id that no merge before it made: keep them in order.")
            if len(tokens[left]) + len(tokens[right]) > MAX_TOKEN_BYTES:
                raise UserError(
                    f"merge {left} + {right} makes a token of more than {MAX_TOKEN_BYTES:,} bytes: no text has it."
                )
            tokens.append(tokens[left] + tokens[right])
        ranks = {token: rank for rank, token in enumerate(tokens)}
        if len(ranks) < len(tokens):
            raise UserError("two merges make the same token, so ids would be ambiguous: each token needs one merge.")
        special = number_special_tokens(special_tokens, first_id=len(tokens))
        if clash := [name for name in special if name in map(to_visible, tokens)]:
            raise UserError(f"special token {clash[0]!r} is also an ordinary token: choose a name like <|{clash[0]}|>.")
        encoding = tiktoken.Encoding("bpe", pat_str=SPLIT_PATTERN, mergeable_ranks=ranks, special_tokens=special)
        super().__init__(encoding, tokens + [name.encode() for name in special], special, lowercase)

    @classmethod
    def train(
        cls,
        documents: Iterable[str],
        vocab_size: int,
        special_tokens: Iterable[str] = (END_OF_TEXT,),
        min_frequency: int = 2,
        lowercase: bool = False,
        processes: int | None = None,
    ) -> "BPETokenizer":
        """Learn a vocabulary from `documents`.

        Args:
            documents: the training texts, each read once. Names of special tokens in them count as ordinary text.
            vocab_size: the number of ids: 256 bytes, the merges, the special tokens. If the text is too small for
                this many, training stops when no pair occurs `min_frequency` times, with a warning.
            special_tokens: their names, in the order of their ids.
            min_frequency: pairs rarer than this are not merged.
            lowercase: whether to lower-case the training texts and all texts that are encoded later.
            processes: the number of processes that count words; None = one per core. The result does not depend on it.

        Raises:
            UserError: a vocabulary too small for the bytes and special tokens, documents without any text, or a
                `min_frequency` below 1.
        """
        check_number("min_frequency", min_frequency, whole=True, at_least=1)
        special_tokens = list(special_tokens)
        smallest = 256 + len(special_tokens)
        if vocab_size < smallest:
            raise UserError(
                f"vocab_size {vocab_size} is too small for BPE: 256 bytes and {len(special_tokens)} special tokens "
                f"need at least {smallest}."
            )
        word_counts = count_words((prepare(document, lowercase) for document in documents), processes)
        if not word_counts:
            raise UserError("BPE needs text to learn from, but the text is empty.")
        merges = learn_merges(word_counts, vocab_size - smallest, min_frequency)
        if len(merges) < vocab_size - smallest:
            say(
                f"the text is too small for a vocabulary of {vocab_size}: no pair of tokens occurs {min_frequency} "
                f"times any more, so training stopped at {smallest + len(merges)}.",
                error=True,
            )
        return cls(merges, special_tokens, lowercase)

    def encode_naive(self, text: str) -> list[int]:
        """Return the same ids as `encode`, straight from the definition: in each word, repeatedly merge the pair with
        the lowest rank.

        Characters that are newer than tiktoken's Unicode tables may be split into words differently here.
        """
        id_of_pair = {pair: 256 + index for index, pair in enumerate(self.merges)}
        ids = []
        for word in SPLIT.findall(self._prepare(text)):
            symbols = list(word.encode().translate(ID_OF_BYTE))
            while candidates := [pair for pair in zip(symbols, symbols[1:], strict=False) if pair in id_of_pair]:
                first_learned = min(candidates, key=id_of_pair.__getitem__)
                symbols = merge_pair(symbols, first_learned, id_of_pair[first_learned])
            ids += symbols
        return ids

    def with_special_tokens(self, names: Iterable[str]) -> "BPETokenizer":
        """Return the same tokenizer with these special tokens, too: new ones get the ids after all others.

        >>> BPETokenizer([(71, 68)]).with_special_tokens(["<|im_end|>"]).special_tokens
        {'<|endoftext|>': 257, '<|im_end|>': 258}
        """
        longer = BPETokenizer(self.merges, dict.fromkeys([*self.special_tokens, *names]), self.lowercase)
        longer.begin_of_text = self.begin_of_text
        return longer

    def save(self, folder: Path | str) -> None:
        """Write `vocab.json`, `merges.txt` and `tokenizer_config.json` into `folder`, in the format of Hugging Face."""
        n_ordinary = 256 + len(self.merges)
        visible = [to_visible(token) for token in self._tokens[:n_ordinary]]
        ids = {token: id for id, token in enumerate(visible)} | self.special_tokens
        lines = ["#version: 0.2"] + [f"{visible[left]} {visible[right]}" for left, right in self.merges]
        write_json(Path(folder) / VOCAB_FILE, ids)
        write_text(Path(folder) / MERGES_FILE, "\n".join(lines) + "\n")
        super().save(folder)

    def _config(self) -> dict[str, object]:
        huggingface_fields = {
            "tokenizer_class": "GPT2Tokenizer",
            "bos_token": END_OF_TEXT,
            "eos_token": END_OF_TEXT,
            "unk_token": END_OF_TEXT,
            "additional_special_tokens": [name for name in self.special_tokens if name != END_OF_TEXT],
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
        }
        return super()._config() | huggingface_fields

    @classmethod
    def load(cls, folder: Path | str, lowercase: bool = False) -> "BPETokenizer":
        """Read `vocab.json` and `merges.txt`, ours or GPT-2's own; what is neither a byte nor a merge is special.

        Args:
            folder: the folder that holds them.
            lowercase: whether to lower-case texts before they are encoded.

        Raises:
            UserError: a file is missing or damaged, or the two do not match.
        """
        folder = Path(folder)
        merges = _read_merges(folder / MERGES_FILE)
        ids = read_json(folder / VOCAB_FILE)
        n_ordinary = 256 + len(merges)
        by_id = sorted(ids, key=ids.get) if _numbers_from_zero(ids) else []
        tokenizer = cls(merges, by_id[n_ordinary:], lowercase) if END_OF_TEXT in by_id[n_ordinary:] else None
        if tokenizer is None or [to_visible(token) for token in tokenizer._tokens[:n_ordinary]] != by_id[:n_ordinary]:
            raise UserError(
                f"{folder / VOCAB_FILE} does not belong to {folder / MERGES_FILE}: expected ids for the 256 bytes in "
                f"GPT-2's order, the {len(merges)} merges, and special tokens with {END_OF_TEXT}; copy both again."
            )
        return tokenizer


def _numbers_from_zero(ids: object) -> bool:
    """Whether a parsed `vocab.json` is an object whose values are 0 ... n - 1, each once."""
    if not isinstance(ids, dict) or not all(type(id) is int for id in ids.values()):
        return False
    return sorted(ids.values()) == list(range(len(ids)))


def _read_merges(path: Path) -> list[tuple[int, int]]:
    """Return the pairs of ids in a `merges.txt`: per line, two tokens in GPT-2's alphabet, separated by a space."""
    try:
        lines = read_small_lines(path)
    except OSError as error:
        raise UserError(
            f"could not read {path}: {error.strerror}; a BPE tokenizer needs {VOCAB_FILE} and this file."
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged: it is not UTF-8; copy it again or train the tokenizer again.") from error
    if lines[0].startswith("#version"):
        del lines[0]
    id_of = {bytes([byte]): id for id, byte in enumerate(BYTES_BY_ID)}
    merges = []
    for line in lines:
        if not line:
            continue
        try:
            left, right = map(from_visible, line.split(" "))
            merges.append((id_of[left], id_of[right]))
        except (ValueError, KeyError) as error:
            raise UserError(
                f"{path} is damaged: {line[:60]!r} is not two tokens from the lines before it; copy it again or "
                "train the tokenizer again."
            ) from error
        id_of.setdefault(left + right, len(id_of))
    return merges
