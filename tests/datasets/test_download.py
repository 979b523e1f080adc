"""Downloads from a local server that breaks off, corrupts, ignores and stalls; and the published datasets."""

import hashlib
import http.server
import io
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from disk_helpers import small_disk, write_zip

from llmasos.datasets import open_text
from llmasos.datasets.catalog import DATASETS, Dataset, File
from llmasos.datasets.fetch import find_files
from llmasos.datasets.text import open_published
from llmasos.errors import UserError
from llmasos.storage import download as download_module
from llmasos.storage.download import download

DATA = bytes(range(256)) * 1200  # 307,200 bytes, several blocks
SHA256 = hashlib.sha256(DATA).hexdigest()


class Server:
    """An HTTP server that answers each request with the next behavior of its list, the last one forever."""

    def __init__(self, *behaviors: str):
        self.behaviors = list(behaviors)
        self.requests: list[str | None] = []  # the Range header of each
        self.sent = 0
        self.next_request = threading.Event()  # for "stall": the client came again instead of waiting forever
        self.left_waiting = False
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.requests.append(self.headers.get("Range"))
                if len(server.requests) > 1:
                    server.next_request.set()
                behavior = server.behaviors.pop(0) if len(server.behaviors) > 1 else server.behaviors[0]
                server.answer(self, behavior)

            def log_message(self, *arguments):
                pass

        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.httpd.server_port}/data.bin"
        threading.Thread(target=self.httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, handler, behavior: str) -> None:
        if behavior.isdigit():
            handler.send_error(int(behavior))
            return
        contents = {"corrupt": DATA[:-1] + b"X", "other": b"<html>please log in</html>", "endless": DATA * 2}
        content = contents.get(behavior, DATA)
        begin = int((handler.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        if behavior == "ignores range" or not handler.headers.get("Range"):
            begin = 0
            handler.send_response(200)
        else:
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        handler.send_header("Content-Length", str(len(content) - begin))
        handler.end_headers()
        end = {"cut": begin + (len(content) - begin) // 2, "stall": begin + 70_000}.get(behavior, len(content))
        try:
            self.sent += end - begin  # before the client has it, or a test may count too early
            handler.wfile.write(content[begin:end])
            if behavior == "stall":
                self.left_waiting = not self.next_request.wait(120)
        except OSError:
            pass


@pytest.fixture
def serve(monkeypatch):
    """Start servers; stop them at the end. Nothing leaves this machine."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    servers = []

    def start(*behaviors: str) -> Server:
        servers.append(Server(*behaviors))
        return servers[-1]

    yield start
    for server in servers:
        server.httpd.shutdown()
        server.httpd.server_close()


def _fetch(server_or_address, target, **options) -> None:
    address = getattr(server_or_address, "address", server_or_address)
    options = {"timeout": 60.0, "backoff": 0.001, "progress": False, **options}
    download((address,), target, SHA256, len(DATA), **options)


def _names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_a_file_is_downloaded_once(serve, tmp_path):
    server = serve("good")
    for _ in range(2):
        _fetch(server, tmp_path / "deep" / "data.bin")
    assert (tmp_path / "deep" / "data.bin").read_bytes() == DATA
    assert server.requests == [None] and _names(tmp_path / "deep") == ["data.bin"]


def test_a_broken_connection_is_resumed_where_it_broke(serve, tmp_path):
    server = serve("cut", "cut", "good")
    _fetch(server, tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == DATA
    assert server.requests == [None, f"bytes={len(DATA) // 2}-", f"bytes={len(DATA) * 3 // 4}-"]
    assert server.sent == len(DATA), "no byte twice"


def test_a_server_that_ignores_the_range_starts_over(serve, tmp_path):
    server = serve("cut", "ignores range")
    _fetch(server, tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == DATA and len(server.requests) == 2


def test_a_stalled_download_is_resumed_after_the_timeout(serve, tmp_path):
    server = serve("stall", "good")
    _fetch(server, tmp_path / "data.bin", timeout=3.0)
    assert (tmp_path / "data.bin").read_bytes() == DATA
    assert server.requests[0] is None and server.requests[1].startswith("bytes=") and not server.left_waiting


def test_a_file_that_arrives_damaged_is_downloaded_again_from_the_start(serve, tmp_path):
    server = serve("corrupt", "good")
    _fetch(server, tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == DATA and server.requests == [None, None]


def test_resuming_onto_the_start_of_another_file_is_noticed(serve, tmp_path):
    (tmp_path / ".data.bin.part").write_bytes(b"x" * 1000)
    server = serve("good")
    _fetch(server, tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == DATA and server.requests == ["bytes=1000-", None]


def test_a_file_that_stays_wrong_is_refused_with_both_hashes(serve, tmp_path):
    with pytest.raises(UserError, match=f"sent another file .checksum .*, expected {SHA256}.*save it as"):
        _fetch(serve("corrupt"), tmp_path / "data.bin")
    assert _names(tmp_path) == []


def test_a_login_page_instead_of_the_file_is_refused(serve, tmp_path):
    with pytest.raises(UserError, match="the connection ended early, 26 of 307,200 bytes"):
        _fetch(serve("other"), tmp_path / "data.bin")
    assert not (tmp_path / "data.bin").exists()


def test_no_more_than_the_expected_size_is_ever_stored(serve, tmp_path):
    _fetch(serve("endless"), tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == DATA


def test_temporary_errors_are_retried_and_others_are_not(serve, tmp_path):
    server = serve("503", "429", "good")
    _fetch(server, tmp_path / "data.bin")
    assert len(server.requests) == 3
    server = serve("404")
    with pytest.raises(UserError, match="the server answered 404 Not Found"):
        _fetch(server, tmp_path / "other.bin")
    assert len(server.requests) == 1


def test_attempts_continue_as_long_as_data_arrives(serve, tmp_path):
    server = serve(*["cut"] * (download_module.ATTEMPTS + 3), "good")
    _fetch(server, tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == DATA


def test_a_range_that_the_server_refuses_makes_it_start_over(serve, tmp_path):
    (tmp_path / ".data.bin.part").write_bytes(DATA[:10])
    server = serve("416", "good")
    _fetch(server, tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == DATA and server.requests == ["bytes=10-", None]


def test_a_server_that_always_fails_is_abandoned(serve, tmp_path):
    server = serve("500")
    with pytest.raises(UserError, match="answered 500"):
        _fetch(server, tmp_path / "data.bin")
    assert len(server.requests) == download_module.ATTEMPTS


def test_the_second_address_is_tried_when_the_first_fails(serve, tmp_path):
    first, second = serve("404"), serve("good")
    download((first.address, second.address), tmp_path / "data.bin", SHA256, len(DATA), progress=False)
    assert (tmp_path / "data.bin").read_bytes() == DATA


def test_offline_is_reported_at_once_in_one_sentence(serve, tmp_path):
    server = serve("good")
    server.httpd.shutdown()
    server.httpd.server_close()
    with pytest.raises(UserError, match="could not download data.bin .*Connection refused.*fetch it by hand"):
        _fetch(server, tmp_path / "data.bin", backoff=1000.0)


def test_a_killed_download_is_resumed_by_the_next_process(serve, tmp_path):
    server = serve("stall", "good")
    code = """
import sys
from pathlib import Path
from llmasos.storage.download import download
download((sys.argv[1],), Path(sys.argv[2]), "0" * 64, 307200, timeout=600, progress=False)
"""
    process = subprocess.Popen([sys.executable, "-c", code, server.address, tmp_path / "data.bin"])
    part = tmp_path / ".data.bin.part"
    until = time.monotonic() + 100
    while not (part.is_file() and part.stat().st_size) and time.monotonic() < until:
        time.sleep(0.01)
    assert 0 < part.stat().st_size < len(DATA), "it was to be killed in the middle"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _fetch(server, tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == DATA and server.requests[1].startswith("bytes=")


def test_concurrent_downloads_download_once(serve, tmp_path):
    server = serve("good")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: _fetch(server, tmp_path / "data.bin"), range(4)))
    assert server.requests == [None] and (tmp_path / "data.bin").read_bytes() == DATA


def test_a_full_disk_is_one_sentence(serve, tmp_path):
    server = serve("good")
    with pytest.raises(UserError, match=f"could not write {tmp_path / 'data.bin'}: the file grew"), small_disk():
        _fetch(server, tmp_path / "data.bin")
    _fetch(server, tmp_path / "data.bin")  # with room again, the downloaded part is used
    assert server.requests == [None, "bytes=100000-"]


# The catalog


def _file(name: str, content: bytes, *addresses: str) -> File:
    return File(name, len(content), hashlib.sha256(content).hexdigest(), addresses)


def _archive() -> tuple[Dataset, bytes]:
    """A small dataset in a zip archive, like WikiText-2, and the archive; no server answers at its address."""
    members = {"d/train.raw": b"training text\n" * 50, "d/valid.raw": b"validation text\n" * 5}
    buffer = io.BytesIO()
    write_zip(buffer, members)
    train, val = (_file(name, content) for name, content in members.items())
    archive = buffer.getvalue()
    source, splits = _file("d.zip", archive, "http://127.0.0.1:9/d.zip"), {"train": train, "val": val}
    return Dataset("small", "A small one", "none", (source,), splits), archive


def _plain(server: Server) -> Dataset:
    file = _file("data.bin", DATA, server.address)
    return Dataset("plain", "A plain one", "none", (file,), {"all": file})


def test_a_file_in_the_user_folder_is_used_and_nothing_is_downloaded(serve, data_folders):
    user_data, cache = data_folders
    server = serve("good")
    (user_data / "plain").mkdir()
    (user_data / "plain" / "data.bin").write_bytes(DATA)
    assert find_files(_plain(server)) == {"all": user_data / "plain" / "data.bin"}
    assert server.requests == [] and not cache.exists()


def test_a_file_in_the_user_folder_with_other_content_is_refused(serve, data_folders):
    user_data, _ = data_folders
    (user_data / "plain").mkdir()
    (user_data / "plain" / "data.bin").write_bytes(DATA[:-1])
    with pytest.raises(UserError, match="data.bin is not the published file"):
        find_files(_plain(serve("good")))


def test_a_missing_file_is_downloaded_into_the_cache_once(serve, data_folders):
    user_data, cache = data_folders
    server = serve("good")
    for _ in range(2):
        assert find_files(_plain(server), progress=False) == {"all": cache / "plain" / "data.bin"}
    assert server.requests == [None] and list(user_data.iterdir()) == []


def test_a_damaged_file_in_the_cache_is_downloaded_again(serve, data_folders):
    _, cache = data_folders
    (cache / "plain").mkdir(parents=True)
    (cache / "plain" / "data.bin").write_bytes(b"damaged")
    paths = find_files(_plain(serve("good")), progress=False)
    assert paths["all"].read_bytes() == DATA
    assert (cache / "plain" / "data.bin.old").read_bytes() == b"damaged", "it may have been the user's own"


def test_of_several_files_only_missing_ones_are_downloaded(serve, data_folders):
    user_data, cache = data_folders
    server = serve("good")
    local, remote = _file("here.txt", b"here", "http://127.0.0.1:9/here.txt"), _file("data.bin", DATA, server.address)
    dataset = Dataset("two", "Two files", "none", (local, remote), {"train": local, "val": remote}, format="pairs")
    (user_data / "two").mkdir()
    (user_data / "two" / "here.txt").write_bytes(b"here")
    for _ in range(2):
        paths = find_files(dataset, progress=False)
        assert paths == {"train": user_data / "two" / "here.txt", "val": cache / "two" / "data.bin"}
    assert server.requests == [None]


@pytest.mark.parametrize("where", ["user archive", "user unpacked", "cached archive"])
def test_an_archive_is_found_packed_or_unpacked(data_folders, where):
    user_data, cache = data_folders
    dataset, archive = _archive()
    folder = (cache if where == "cached archive" else user_data) / "small"
    folder.mkdir(parents=True)
    if where == "user unpacked":
        zipfile.ZipFile(io.BytesIO(archive)).extractall(folder)
    else:
        (folder / "d.zip").write_bytes(archive)
    source = open_published(dataset)
    assert "".join(source.documents("train")) == "training text\n" * 50
    assert "".join(source.documents("val")) == "validation text\n" * 5
    assert not (user_data / "small" / "unpacked").exists(), "nothing is written to the user data folder"


def test_offline_reports_the_data_set_and_the_folders(data_folders):
    user_data, cache = data_folders
    with pytest.raises(UserError) as caught:
        find_files(_archive()[0], progress=False)
    message = str(caught.value)
    assert (
        f"the dataset small is not on this machine (looked in {user_data / 'small'} and {cache / 'small'})" in message
    )
    assert f"save it as {cache / 'small' / 'd.zip'}" in message and "\n" not in message


def test_a_missing_user_folder_is_reported(monkeypatch, tmp_path):
    monkeypatch.setenv("LLMASOS_DATA", str(tmp_path / "missing"))
    with pytest.raises(UserError, match="LLMASOS_DATA is '.*missing', which is not a folder"):
        open_text("shakespeare")


def test_every_entry_of_the_table_is_complete_and_has_a_card(request):
    for name, dataset in DATASETS.items():
        card = (request.config.rootpath / "data" / name / "README.md").read_text(encoding="utf-8")
        for source in dataset.sources:
            assert source.addresses and all(address.startswith("https://") for address in source.addresses)
            folder = source.addresses[0].removesuffix(f"/{source.name}")  # files of one address share its line
            assert folder in card and source.name in card and source.sha256 in card and f"{source.size:,}" in card
        for file in dataset.splits.values():
            assert len(file.sha256) == 64 and file.sha256 in card and f"{file.size:,}" in card


@pytest.mark.skipif(not os.environ.get("LLMASOS_DATA"), reason="LLMASOS_DATA is not set")
def test_the_real_shakespeare_is_split_by_convention():
    source = open_text("shakespeare")
    train, val = ("".join(source.documents(split)) for split in ("train", "val"))
    assert (len(train), len(val)) == (1_003_854, 111_540) and len(set(train + val)) == 65
