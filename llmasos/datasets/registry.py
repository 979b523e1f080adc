"""The data sets that can be downloaded: address, size, SHA-256, licence and split of each, in one table.

A file is looked for in `$LLMASOS_DATA`, then in our own cache, and only then downloaded into the cache. Wherever it is
found, its SHA-256 is checked, so that a number measured on it is a number on the published data. The cards in
`data/NAME/README.md` tell a person the same.
"""

from dataclasses import dataclass
from pathlib import Path

from llmasos.datasets.download import download
from llmasos.datasets.files import PlainText, TextPair
from llmasos.datasets.locations import VARIABLE, cache_folder, given_folder
from llmasos.datasets.source import TextSource
from llmasos.datasets.unpack import unpack_zip
from llmasos.errors import UserError
from llmasos.storage import sha256_file

UNPACKED = "unpacked"  # the folder, beside an archive in our cache, with what was in it


@dataclass(frozen=True)
class File:
    """A file of known content. `name` is its path inside the data set's folder."""

    name: str
    size: int  # bytes
    sha256: str


@dataclass(frozen=True)
class Dataset:
    """A data set on the network.

    Attributes:
        name: what the user types, and the name of its folder.
        title: what it is.
        licence: under which terms.
        addresses: where to get `source`, tried in order.
        source: the file that is downloaded.
        splits: split -> file. One entry "all" means one text whose last tenth is held out.
    """

    name: str
    title: str
    licence: str
    addresses: tuple[str, ...]
    source: File
    splits: dict[str, File]


_SHAKESPEARE = File("input.txt", 1_115_394, "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed")

DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="shakespeare",
            title="Tiny Shakespeare: 1.1 million characters of his plays",
            licence="public domain",
            addresses=("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",),
            source=_SHAKESPEARE,
            splits={"all": _SHAKESPEARE},
        ),
        Dataset(
            name="wikitext2",
            title="WikiText-2, raw: 13 MB of good and featured Wikipedia articles",
            licence="CC BY-SA 3.0 and GFDL",
            addresses=(  # its author's own server, then a pinned copy of the same bytes
                "https://wikitext.smerity.com/wikitext-2-raw-v1.zip",
                "https://huggingface.co/datasets/ggml-org/ci/resolve/927b3642933080f1b0e811e2f916e14c292992f9/wikitext-2-raw-v1.zip",  # noqa: E501
            ),
            source=File(
                "wikitext-2-raw-v1.zip", 4_721_645, "ef7edb566e3e2b2d31b29c1fdb0c89a4cc683597484c3dc2517919c615435a11"
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

    source = _find_source(dataset, given, own, progress)
    if source.suffix == ".zip":
        unpack_zip(source, own / UNPACKED, max_bytes=2 * sum(file.size for file in dataset.splits.values()))
    paths = _paths(dataset, own)
    for split, file in dataset.splits.items():
        if split not in paths:
            raise UserError(f"{source} does not hold {file.name}; delete it and start again")
        _check(paths[split], file)
    return paths


def _find_source(dataset: Dataset, given: Path | None, own: Path, progress: bool) -> Path:
    """Return the path of the file that is downloaded, wherever it is, after downloading it if it is nowhere."""
    if given and (path := given / dataset.name / dataset.source.name).is_file():
        _check(path, dataset.source)
        return path
    path = own / dataset.source.name
    try:
        download(dataset.addresses, path, dataset.source.sha256, dataset.source.size, progress=progress)
    except UserError as error:
        looked = f"{given / dataset.name} and {own}" if given else f"{own}; {VARIABLE} is not set"
        raise UserError(f"the data set {dataset.name} is not on this machine (looked in {looked}): {error}") from error
    return path


def _paths(dataset: Dataset, folder: Path) -> dict[str, Path]:
    """Return split -> path if all files of the data set are in the folder (unpacked or not), else nothing."""
    paths = {}
    for split, file in dataset.splits.items():
        places = (folder / file.name, folder / UNPACKED / file.name)
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            return {}
        paths[split] = path
    return paths


def _check(path: Path, file: File) -> None:
    """Raise `UserError` unless the file has the content that the table says."""
    found = sha256_file(path)
    if found != file.sha256:
        raise UserError(
            f"{path} is not the published file (its SHA-256 is {found}, expected {file.sha256}); delete it to have the"
            " right one downloaded, or give it by its path to use it as it is"
        )
