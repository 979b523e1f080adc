"""The catalog: every dataset that has a name, with its format and, if it can be downloaded, its files.

`DATASETS` lists the published datasets with the address, size, SHA-256, license and split of every file; `fetch.py`
finds or downloads them. The cards in `data/NAME/README.md` say the same for a person. `EMBEDDED` lists those that need
no download.

**To add a dataset**, add an entry to `DATASETS` and a card in `data/NAME/`. Running text (`format="text"`) needs no
more. For examples of another format, add the function that reads its files to `PUBLISHED` in `readers.py`.
"""

from dataclasses import dataclass

from llmasos.datasets.storyworld import DEFAULT_SIZES
from llmasos.datasets.storyworld.text_source import StoryworldText
from llmasos.datasets.storyworld.world import parse_dials
from llmasos.errors import UserError, nearest

FORMATS = (
    "text",
    "labeled_text",
    "scored_text",
    "tagged_text",
    "pairs",
    "summaries",
    "questions",
    "conversations",
    "preferences",
    "prompts",
    "queries",
)
STORYWORLD = "storyworld"
SUMS = "sums"
ARITHMETIC, CALCULATOR = "arithmetic", "calculator"
PYTHON_REFERENCE = "python-reference"
PYTHON_SOURCE = "python-source"
EMBEDDED = {  # name → its formats
    STORYWORLD: FORMATS,
    PYTHON_REFERENCE: ("text",),
    PYTHON_SOURCE: ("text",),
    SUMS: ("text", "prompts"),
    ARITHMETIC: ("conversations",),
    CALCULATOR: ("conversations",),
}
MAX_STORIES = 100_000_000


@dataclass(frozen=True)
class File:
    """A file of known content.

    Attributes:
        name: its path inside the dataset's folder.
        size: the size in bytes.
        sha256: 64 hexadecimal digits.
        addresses: the download addresses, tried in order; empty for a file that is unpacked from an archive.
    """

    name: str
    size: int
    sha256: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """A published dataset that can be downloaded.

    Attributes:
        name: the name of its folder.
        title: a short description.
        license: the license.
        sources: the files that are downloaded.
        splits: split → file. A single entry "all" means one text whose last tenth is held out.
        format: one of `FORMATS`.
        names: the names that users type, if different from `name`: one dataset can have several versions.
    """

    name: str
    title: str
    license: str
    sources: tuple[File, ...]
    splits: dict[str, File]
    format: str = "text"
    names: tuple[str, ...] = ()


_SHAKESPEARE = File(
    "input.txt",
    1_115_394,
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",),
)


def _downloads(address: str, *files: tuple[str, int, str]) -> tuple[File, ...]:
    """Return files (name, size, SHA-256) that share one address."""
    return tuple(File(name, size, sha256, (f"{address}/{name}",)) for name, size, sha256 in files)


_MULTI30K = _downloads(
    "https://raw.githubusercontent.com/multi30k/dataset/a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/raw",
    ("train.de.gz", 637_044, "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6"),
    ("train.en.gz", 568_929, "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f"),
    ("val.de.gz", 24_681, "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a"),
    ("val.en.gz", 21_650, "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28"),
    ("test_2016_flickr.de.gz", 22_890, "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8"),
    ("test_2016_flickr.en.gz", 21_077, "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9"),
)
_SST = _downloads(
    "https://raw.githubusercontent.com/gpoesia/minbert-default-final-project/f25cd95c73a1ce3f3b88dd7a11df90f0ab488bd9/data",
    ("ids-sst-train.csv", 1_175_139, "03b2b625c090f94a6afd59f114cde5282e2053aab0b101e87ed695d8a0c5b1df"),
    ("ids-sst-dev.csv", 151_384, "a186ce94577635fbe10beaaddd50f16cccf6c30973221cefdf90deed2a584bfe"),
)
_SQUAD_ADDRESS = "https://rajpurkar.github.io/SQuAD-explorer/dataset"
_SQUAD = _downloads(
    _SQUAD_ADDRESS,
    ("train-v1.1.json", 30_288_272, "3527663986b8295af4f7fcdff1ba1ff3f72d07d61a20f487cb238a6ef92fd955"),
    ("dev-v1.1.json", 4_854_279, "95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9"),
)
_SQUAD2 = _downloads(
    _SQUAD_ADDRESS,
    ("train-v2.0.json", 42_123_633, "68dcfbb971bd3e96d5b46c7177b16c1a4e7d4bdef19fb204502738552dede002"),
    ("dev-v2.0.json", 4_370_528, "80a5225e94905956a6446d296ca1093975c4d3b3260f1d6c8f68bc2ab77182d8"),
)

DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="shakespeare",
            title="Tiny Shakespeare: 1.1 million characters of his plays",
            license="public domain",
            sources=(_SHAKESPEARE,),
            splits={"all": _SHAKESPEARE},
        ),
        Dataset(
            name="wikitext2",
            title="WikiText-2, raw: 13 MB of good and featured Wikipedia articles",
            license="CC BY-SA 3.0 and GFDL",
            sources=(
                File(
                    "wikitext-2-raw-v1.zip",
                    4_721_645,
                    "ef7edb566e3e2b2d31b29c1fdb0c89a4cc683597484c3dc2517919c615435a11",
                    (  # its author's own server, then a pinned copy of the same bytes
                        "https://wikitext.smerity.com/wikitext-2-raw-v1.zip",
                        "https://huggingface.co/datasets/ggml-org/ci/resolve/927b3642933080f1b0e811e2f916e14c292992f9/wikitext-2-raw-v1.zip",  # noqa: E501
                    ),
                ),
            ),
            splits={
                "train": File(
                    "wikitext-2-raw/wiki.train.raw",
                    10_940_747,
                    "6707892fa3788b5ab9ed78ab5ff37d9fe825f6011a2ad4fcd6a6d467f0e7da57",
                ),
                "val": File(
                    "wikitext-2-raw/wiki.valid.raw",
                    1_146_846,
                    "4cd0f6876d07a413aa911261ff6d363c72d757d47f0fdd6015702014c89cb9c7",
                ),
                "test": File(
                    "wikitext-2-raw/wiki.test.raw",
                    1_290_590,
                    "173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08",
                ),
            },
        ),
        Dataset(
            name="multi30k",
            format="pairs",
            title="Multi30k: captions of 31,014 photographs in German and English",
            license="for research only",
            sources=_MULTI30K,
            splits=dict(
                zip(("train.de", "train.en", "val.de", "val.en", "test.de", "test.en"), _MULTI30K, strict=True)
            ),
        ),
        Dataset(
            name="sst",
            format="labeled_text",
            names=("sst5", "sst2"),
            title="Stanford Sentiment Treebank: sentences of film reviews",
            license="for research; no license is stated",
            sources=_SST,
            splits=dict(zip(("train", "val"), _SST, strict=True)),
        ),
        Dataset(
            name="squad",
            format="questions",
            title="SQuAD 1.1: questions on Wikipedia articles",
            license="CC BY-SA 4.0",
            sources=_SQUAD,
            splits=dict(zip(("train", "val"), _SQUAD, strict=True)),
        ),
        Dataset(
            name="squad2",
            format="questions",
            title="SQuAD 2.0: questions on Wikipedia articles, a third of them without an answer",
            license="CC BY-SA 4.0",
            sources=_SQUAD2,
            splits=dict(zip(("train", "val"), _SQUAD2, strict=True)),
        ),
    )
}


def dataset_names(format: str = "text") -> list[str]:
    """Return the names of the datasets that have a format, one of `FORMATS`."""
    embedded = [name for name, formats in EMBEDDED.items() if format in formats]
    return embedded + [
        name for dataset in DATASETS.values() if dataset.format == format for name in dataset.names or (dataset.name,)
    ]


def is_dataset(name: str) -> bool:
    """Whether a name is that of a dataset of any format, and not one of the user's files.

    Raises:
        UserError: as `open_storyworld`.
    """
    return open_storyworld(name) is not None or any(name in dataset_names(format) for format in FORMATS)


def open_storyworld(name: str) -> StoryworldText | None:
    """Return the source that "storyworld", "storyworld:N" or "storyworld:N:DIAL=VALUE" names; None for other names.

    Raises:
        UserError: N is not a valid number, there is no such dial, or it is out of range.
    """
    if name != STORYWORLD and not name.startswith(f"{STORYWORLD}:"):
        return None
    dials = name.split(":")[1:]
    n_train = DEFAULT_SIZES["train"]
    if dials and "=" not in dials[0]:
        digits = dials.pop(0).replace("_", "")
        if not digits.isascii() or not digits.isdigit() or not 1 <= int(digits) <= MAX_STORIES:
            raise UserError(
                f"{name!r} has no valid number of stories; write storyworld:N with N from 1 to {MAX_STORIES:,}."
            )
        n_train = int(digits)
    return StoryworldText(n_train, *parse_dials(dials, name))


def unknown_name(name: str, format: str = "text") -> UserError:
    """Return the error for a name that is neither a file nor a dataset of this format; it suggests the nearest."""
    names = dataset_names(format)
    formats = [other for other in FORMATS if name in dataset_names(other)]
    if formats:
        problem = f"the dataset {name!r} has the format {' and '.join(formats)}, not {format}; choose another"
    elif format == "text" and "," in name:
        weights = ",".join(f"{part.strip()}=0.5" for part in name.split(","))
        problem = f"{name!r} is not a text; to mix several, give each its weight: {weights}"
    else:
        suggestion = nearest(name, names) or "; check the path, or choose a dataset"
        problem = f"there is no file, folder or dataset {name!r}{suggestion}"
    return UserError(f"{problem} (datasets: {', '.join(names)}).")
