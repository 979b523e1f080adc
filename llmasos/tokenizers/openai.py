"""OpenAI's encodings, through tiktoken: `gpt2` (50,257 ids) and `cl100k_base` (100,277 ids, GPT-4's).

Their vocabularies are not part of tiktoken: it downloads them once and caches them in `$TIKTOKEN_CACHE_DIR` (or
`$DATA_GYM_CACHE_DIR`, or a temporary folder) under the SHA-1 of their address. We first check that the files are there
and intact and, if not, whether the network can be reached, so that a machine without one gets a clear message at once
instead of a long wait and a traceback.
"""

import contextlib
import hashlib
import os
import socket
import tempfile
import threading
import urllib.parse
import urllib.request
from pathlib import Path

import tiktoken

from llmasos.errors import UserError
from llmasos.storage import sha256_file
from llmasos.tokenizers.tiktoken_backed import TiktokenTokenizer

HOST = "openaipublic.blob.core.windows.net"
# Each encoding's files: path on HOST, SHA-256.
OPENAI_FILES = {
    "gpt2": {
        "gpt-2/encodings/main/vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
        "gpt-2/encodings/main/encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    },
    "cl100k_base": {
        "encodings/cl100k_base.tiktoken": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    },
}
PROBE_SECONDS = 4.0


class OpenAITokenizer(TiktokenTokenizer):
    """One of OpenAI's encodings, with its special tokens.

        OpenAITokenizer("gpt2").encode("Hello world")         # [15496, 995]

    The few ids that cl100k_base leaves unused have no bytes.
    """

    def __init__(self, kind: str):
        """Open the encoding through tiktoken.

        Args:
            kind: "gpt2" or "cl100k_base".

        Raises:
            UserError: the name is unknown, or the files are not on this machine and cannot be downloaded.
        """
        if kind not in OPENAI_FILES:
            raise UserError(f"there is no OpenAI encoding {kind!r}: choose one of {', '.join(OPENAI_FILES)}.")
        encoding = load_encoding(kind)
        ranks = {encoding.encode_single_token(token): token for token in encoding.token_byte_values()}
        special = {name: encoding.encode_single_token(name) for name in encoding.special_tokens_set}
        names = {id: name.encode() for name, id in special.items()}
        tokens = [ranks.get(id, names.get(id, b"")) for id in range(encoding.n_vocab)]
        super().__init__(encoding, tokens, dict(sorted(special.items(), key=lambda item: item[1])))
        self.kind = kind
        self.newlines_end_words = kind == "cl100k_base"


def load_encoding(kind: str) -> tiktoken.Encoding:
    """Return tiktoken's encoding, downloading it if it is not on disk.

    Raises:
        UserError: it is not on disk and there is no network; says where we looked and what to do.
    """
    folder = cache_folder()
    missing = missing_files(kind, folder)
    if missing and not _host_is_reachable():
        problem = f"{HOST} cannot be reached"
    else:
        try:
            return tiktoken.get_encoding(kind)
        except (OSError, ValueError) as error:  # requests' own errors are OSErrors
            problem = f"the download failed ({type(error).__name__}: {str(error)[:200]})"
    raise UserError(
        f"the {kind} encoding is not in {folder} and {problem}: connect once, or copy {' and '.join(missing)} there "
        "from a machine that has it (the folder is set with TIKTOKEN_CACHE_DIR), or choose a tokenizer that needs no "
        "download (char, byte, bpe)."
    )


def cache_folder() -> Path:
    """Return the folder in which tiktoken caches downloaded encodings."""
    for variable in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        if os.environ.get(variable):
            return Path(os.environ[variable])
    return Path(tempfile.gettempdir(), "data-gym-cache")


def missing_files(kind: str, folder: Path) -> list[str]:
    """Return the names of the files of encoding `kind` that are missing from `folder` or damaged."""
    missing = []
    for path, sha256 in OPENAI_FILES[kind].items():
        file = folder / hashlib.sha1(f"https://{HOST}/{path}".encode()).hexdigest()
        if not file.is_file() or sha256_file(file) != sha256:
            missing.append(file.name)
    return missing


def _host_is_reachable() -> bool:
    """Whether HOST, or the proxy to it, accepts a connection within PROBE_SECONDS."""
    address = urllib.parse.urlsplit(urllib.request.getproxies().get("https", f"https://{HOST}"))
    connected = threading.Event()

    def connect() -> None:
        with contextlib.suppress(OSError):
            socket.create_connection((address.hostname, address.port or 443), timeout=PROBE_SECONDS).close()
            connected.set()

    thread = threading.Thread(target=connect, daemon=True)  # DNS lookups have no timeout of their own
    thread.start()
    thread.join(PROBE_SECONDS)
    return connected.is_set()
