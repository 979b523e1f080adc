"""The tokenizer of Marian's translation models (`opus-mt-…`): two SentencePiece models, one for each language.

    source.spm    splits the source      target.spm    joins the target      vocab.json    piece → id, for both

The input of a model with several target languages starts with the language: ">>fra<< How are you?"
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from llmasos.errors import UserError
from llmasos.hub.tokenizers.sentencepiece_file import SPACE, read_sentencepiece
from llmasos.hub.tokenizers.unigram import Unigram
from llmasos.storage import read_json, write_bytes, write_json
from llmasos.tokenizers.offsets import Encoding
from llmasos.tokenizers.tokenizer import Tokenizer, replace_surrogates, token_table

SOURCE_FILE, TARGET_FILE, VOCAB_FILE = "source.spm", "target.spm", "vocab.json"
END, UNKNOWN, PAD = "</s>", "<unk>", "<pad>"
_LANGUAGE = re.compile(">>.+<<")


class MarianTokenizer(Tokenizer):
    """A published Marian tokenizer; create it with `load`, since it cannot be trained here."""

    kind = "marian"
    encodes_in_python = True

    def __init__(self, vocabulary: dict[str, int], source: Path, target: Path):
        """Store the vocabulary and read the two SentencePiece models.

        Raises:
            UserError: a file is damaged, or a special token is missing.
        """
        if missing := [name for name in (END, UNKNOWN, PAD) if name not in vocabulary]:
            raise UserError(f"the vocabulary has no {missing[0]}, which Marian's tokenizer needs; fetch it again.")
        self._id_of = dict(vocabulary)
        self._files = {SOURCE_FILE: source.read_bytes(), TARGET_FILE: target.read_bytes()}
        self._source = read_sentencepiece(source)
        read_sentencepiece(target)  # raises an error if it is damaged
        self._unigram = Unigram(self._source.pieces)
        tokens = token_table([(piece.replace(SPACE, " ").encode(), id) for piece, id in vocabulary.items()])
        super().__init__(tokens, {name: vocabulary[name] for name in (END, UNKNOWN, PAD)})

    @property
    def end_of_text(self) -> int:
        """The id of `</s>`."""
        return self.special_tokens[END]

    @property
    def start_of_target(self) -> int:
        """The id of `<pad>`, which starts the decoder's output."""
        return self.special_tokens[PAD]

    @property
    def pad_id(self) -> int:
        """The id of `<pad>`."""
        return self.special_tokens[PAD]

    @property
    def unknown_id(self) -> int:
        """The id of `<unk>`."""
        return self.special_tokens[UNKNOWN]

    def pieces(self, text: str) -> list[str]:
        """Return the pieces of a source text."""
        return self._unigram.segment(self._source.normalize(text))

    def _prepare(self, text: str) -> str:
        return replace_surrogates(text)

    def _encode_ordinary(self, text: str) -> np.ndarray:
        language = _LANGUAGE.match(text)
        pieces = self.pieces(_LANGUAGE.sub("", text) if language else text)
        pieces = [language[0], *pieces] if language else pieces
        return np.array([self._id_of.get(piece, self.unknown_id) for piece in pieces], dtype=np.uint32)

    def encode_with_offsets(self, text: str, allow_special: bool = False, ordinary: Sequence[int] = ()) -> Encoding:
        """Raise `UserError`: normalization does not keep track of where a character came from."""
        raise UserError("a Marian tokenizer has no offsets; use another model.")

    def unknown_pieces(self, text: str) -> list[str]:
        """Return the distinct pieces of a source text that are not in the vocabulary, in order of appearance."""
        return list(dict.fromkeys(piece for piece in self.pieces(text) if piece not in self._id_of))

    def added_bytes(self, id: int, previous: int | None) -> bytes:
        """Return the bytes that token `id` adds to a text; the first word loses its leading space."""
        token = self.token_bytes(id)
        return token.removeprefix(b" ") if previous is None else token

    def _join(self, ids: list[int], previous: int | None) -> bytes:
        return b"".join([self.added_bytes(id, before) for before, id in zip([previous, *ids], ids, strict=False)])

    def save(self, folder: Path | str) -> None:
        """Write the files from which the tokenizer was loaded."""
        for name, data in self._files.items():
            write_bytes(Path(folder) / name, data)
        write_json(Path(folder) / VOCAB_FILE, self._id_of)
        super().save(folder)

    def _config(self) -> dict[str, object]:
        names = {"eos_token": END, "unk_token": UNKNOWN, "pad_token": PAD, "tokenizer_class": "MarianTokenizer"}
        return {"kind": self.kind, "fingerprint": self.fingerprint(), **names}

    def _rules(self) -> list[object]:
        return [*super()._rules(), [[piece, float(score), kind] for piece, score, kind in self._source.pieces]]

    @classmethod
    def load(cls, folder: Path | str) -> "MarianTokenizer":
        """Read a Marian model's tokenizer.

        Raises:
            UserError: a file is missing or damaged, or each language has its own vocabulary.
        """
        folder = Path(folder)
        files = (SOURCE_FILE, TARGET_FILE, VOCAB_FILE)
        if missing := [name for name in files if not (folder / name).is_file()]:
            raise UserError(
                f"{folder / missing[0]} is missing; Marian's tokenizer consists of the files {', '.join(files)}."
            )
        if (folder / "target_vocab.json").is_file():
            raise UserError(f"{folder} has two vocabularies, one for each language, which llmasos does not support.")
        vocabulary = read_json(folder / VOCAB_FILE)
        if not isinstance(vocabulary, dict):
            raise UserError(f"{folder / VOCAB_FILE} is damaged: expected an id for each piece; fetch it again.")
        return cls(vocabulary, folder / SOURCE_FILE, folder / TARGET_FILE)
