"""The data sets that can be downloaded: address, size, SHA-256, licence and split of each, in one table.

A file is looked for in `$LLMASOS_DATA`, then in our own cache, and only then downloaded into the cache. Wherever it is
found, its SHA-256 is checked, so that a number measured on it is a number on the published data. The cards in
`data/NAME/README.md` tell a person the same.
"""

from dataclasses import dataclass
from pathlib import Path

from llmasos.datasets.files import PlainText, TextPair
from llmasos.datasets.paths import VARIABLE, cache_folder, given_folder
from llmasos.datasets.source import TextSource
from llmasos.datasets.unpack import unpack_zip
from llmasos.errors import UserError
from llmasos.storage import sha256_file
from llmasos.storage.download import download

UNPACKED = "unpacked"  # the folder, beside an archive in our cache, with what was in it


@dataclass(frozen=True)
class File:
    """A file of known content.

    Attributes:
        name: its path inside the data set's folder.
        size: in bytes.
        sha256: 64 hexadecimal digits.
        addresses: where to get it, tried in order; none for a file that comes out of an archive.
    """

    name: str
    size: int
    sha256: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """A data set on the network.

    Attributes:
        name: what the user types, and the name of its folder.
        title: what it is.
        licence: under which terms.
        sources: the files that are downloaded.
        splits: split -> file. One entry "all" means one text whose last tenth is held out.
        is_text: whether the files are running text, which `open_text` opens, and not examples of some task.
    """

    name: str
    title: str
    licence: str
    sources: tuple[File, ...]
    splits: dict[str, File]
    is_text: bool = True


_SHAKESPEARE = File(
    "input.txt",
    1_115_394,
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",),
)


def _downloads(address: str, *files: tuple[str, int, str]) -> tuple[File, ...]:
    """Return files (name, size, SHA-256) that lie together at one address."""
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
            licence="public domain",
            sources=(_SHAKESPEARE,),
            splits={"all": _SHAKESPEARE},
        ),
        Dataset(
            name="wikitext2",
            title="WikiText-2, raw: 13 MB of good and featured Wikipedia articles",
            licence="CC BY-SA 3.0 and GFDL",
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
            title="Multi30k: captions of 31,014 photographs in German and English",
            licence="for research only",
            sources=_MULTI30K,
            splits=dict(
                zip(("train.de", "train.en", "val.de", "val.en", "test.de", "test.en"), _MULTI30K, strict=True)
            ),
            is_text=False,
        ),
        Dataset(
            name="sst",
            title="Stanford Sentiment Treebank: sentences of film reviews",
            licence="for research; no licence is stated",
            sources=_SST,
            splits=dict(zip(("train", "val"), _SST, strict=True)),
            is_text=False,
        ),
        Dataset(
            name="squad",
            title="SQuAD 1.1: questions on Wikipedia articles",
            licence="CC BY-SA 4.0",
            sources=_SQUAD,
            splits=dict(zip(("train", "val"), _SQUAD, strict=True)),
            is_text=False,
        ),
        Dataset(
            name="squad2",
            title="SQuAD 2.0: questions on Wikipedia articles, a third of them without an answer",
            licence="CC BY-SA 4.0",
            sources=_SQUAD2,
            splits=dict(zip(("train", "val"), _SQUAD2, strict=True)),
            is_text=False,
        ),
    )
}


def open_dataset(dataset: Dataset, progress: bool = True) -> TextSource:
    """Return the text of a registered data set, downloading it if it is nowhere on this machine.

    Raises:
        UserError: it is not here and cannot be downloaded; says what was looked for, where, and how to get it by hand.
    """
    paths = find_files(dataset, progress)
    if "all" in paths:
        source: TextSource = PlainText(paths["all"], name=dataset.name)
    else:
        source = TextPair(paths["train"], paths["val"], name=dataset.name)
    source.description = f"{dataset.title} ({dataset.licence}); {source.description}"
    return source


def find_files(dataset: Dataset, progress: bool = True) -> dict[str, Path]:
    """Return split -> path of a data set's files, each of them with the right SHA-256. Downloads what is missing.

    Raises:
        UserError: as `open_dataset`, or a file in `$LLMASOS_DATA` is another than the published one.
    """
    given = given_folder()
    if given and (paths := _paths(dataset, given / dataset.name)):
        for split, path in paths.items():
            _check(path, dataset.splits[split])
        return paths

    own = cache_folder() / dataset.name
    paths = _paths(dataset, own)
    if paths and all(sha256_file(path) == dataset.splits[split].sha256 for split, path in paths.items()):
        return paths  # a damaged file of our own is simply fetched again

    places = {}
    for source in dataset.sources:
        path = _find_source(dataset, source, given, own, progress)
        if path.suffix == ".zip":
            unpack_zip(path, own / UNPACKED, max_bytes=2 * sum(file.size for file in dataset.splits.values()))
        places[source.name] = path
    for split, file in dataset.splits.items():
        path = places.get(file.name) or _place(own, file)
        if path is None:
            raise UserError(f"{places[dataset.sources[0].name]} does not hold {file.name}; delete it and start again")
        _check(path, file)
        paths[split] = path
    return paths


def _find_source(dataset: Dataset, source: File, given: Path | None, own: Path, progress: bool) -> Path:
    """Return the path of a file that is downloaded, wherever it is, after downloading it if it is nowhere."""
    if given and (path := given / dataset.name / source.name).is_file():
        _check(path, source)
        return path
    path = own / source.name
    try:
        download(source.addresses, path, source.sha256, source.size, progress=progress)
    except UserError as error:
        looked = f"{given / dataset.name} and {own}" if given else f"{own}; {VARIABLE} is not set"
        raise UserError(f"the data set {dataset.name} is not on this machine (looked in {looked}): {error}") from error
    return path


def _paths(dataset: Dataset, folder: Path) -> dict[str, Path]:
    """Return split -> path if all files of the data set are in the folder (unpacked or not), else nothing."""
    paths = {split: place for split, file in dataset.splits.items() if (place := _place(folder, file))}
    return paths if len(paths) == len(dataset.splits) else {}


def _place(folder: Path, file: File) -> Path | None:
    """Return where in the folder a file lies, unpacked or not; None if it is not there."""
    return next((path for path in (folder / file.name, folder / UNPACKED / file.name) if path.is_file()), None)


def _check(path: Path, file: File) -> None:
    """Raise `UserError` unless the file has the content that the table says."""
    found = sha256_file(path)
    if found != file.sha256:
        raise UserError(
            f"{path} is not the published file (its SHA-256 is {found}, expected {file.sha256}); delete it to have the"
            " right one downloaded, or give it by its path to use it as it is"
        )
