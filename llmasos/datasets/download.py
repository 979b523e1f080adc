"""Downloading one file so that what arrives is whole, is what was meant, and is fetched only once.

The bytes go to `.NAME.part` beside the destination. An interrupted download, even one killed, goes on from there with
an HTTP range request; a server that ignores the range starts over. When all is there the SHA-256 decides: right, and
the file is renamed into place; wrong, and it is fetched once more from the start; wrong again, and the address is given
up. A lock lets one process download while others wait for its result.
"""

import http.client
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from llmasos.errors import UserError
from llmasos.storage import sha256_file
from llmasos.storage.atomic import sync, write_error
from llmasos.storage.lock import lock

BLOCK_BYTES = 1 << 16
ATTEMPTS = 5  # for one address, as long as it brings nothing new


class DownloadError(Exception):
    """An address did not deliver, with the reason in words."""


def download(
    addresses: tuple[str, ...],
    destination: Path,
    sha256: str,
    size: int,
    timeout: float = 30.0,
    patience: float = 1.0,
    progress: bool = True,
) -> None:
    """Fetch a file of known size and SHA-256 to `destination`, from the first address that delivers it.

    Arguments:
        addresses: http(s) addresses of the same bytes, tried in this order.
        destination: where the file shall be; not replaced if it is there with the right content.
        sha256: 64 hexadecimal digits.
        size: bytes; more than that is never read from the network.
        timeout: seconds without a byte after which a connection counts as lost.
        patience: seconds before the second attempt; doubled before each further one.
        progress: whether to show a bar.

    Raises:
        UserError: no address delivered the file, or it cannot be written; says how to get it by hand.
    """
    with lock(destination.with_name(f".{destination.name}.lock"), _say_waiting(destination)):
        if destination.is_file() and sha256_file(destination) == sha256:
            return
        part = destination.with_name(f".{destination.name}.part")
        failures = []
        for address in addresses:
            try:
                _fetch_checked(address, part, sha256, size, timeout, patience, progress)
                part.replace(destination)
                sync(destination.parent)
                return
            except DownloadError as error:
                failures.append(f"{address}: {error}")
            except OSError as error:
                raise write_error(destination, error) from error
    raise UserError(
        f"could not download {destination.name} ({'; '.join(failures)}); check the network and start again (what has"
        f" arrived is kept), or fetch it by hand and save it as {destination}"
    )


def _fetch_checked(
    address: str, part: Path, sha256: str, size: int, timeout: float, patience: float, progress: bool
) -> None:
    """Complete `part` from one address and check it; if it is wrong, once more from the start."""
    for _ in range(2):
        _fetch(address, part, size, timeout, patience, progress)
        found = sha256_file(part)
        if found == sha256:
            return
        part.unlink()
    raise DownloadError(f"it sent another file (SHA-256 {found}, expected {sha256})")


def _fetch(address: str, part: Path, size: int, timeout: float, patience: float, progress: bool) -> None:
    """Complete `part` to `size` bytes, connecting anew after each interruption."""
    name = part.name.removeprefix(".").removesuffix(".part")
    at_first = _size(part)
    with tqdm(total=size, unit="B", unit_scale=True, desc=f"downloading {name}", disable=not progress) as bar:
        attempt = 0
        while (before := _size(part)) < size:
            try:
                _receive(address, part, size, timeout, bar)
                failure = "the connection ended early"
            except urllib.error.HTTPError as error:
                failure = f"the server answered {error.code} {error.reason}"
                if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                    part.unlink()
                elif error.code < 500 and error.code != http.client.TOO_MANY_REQUESTS:
                    raise DownloadError(failure) from error
            except urllib.error.URLError as error:
                failure = str(getattr(error.reason, "strerror", None) or error.reason)
                if _size(part) == at_first:  # never connected: offline, most likely, where waiting does not help
                    raise DownloadError(failure) from error
            except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
                failure = str(error) or f"the connection was lost ({type(error).__name__})"
            arrived = _size(part)
            if arrived >= size:
                break
            attempt = 1 if arrived > before else attempt + 1
            if attempt >= ATTEMPTS:
                raise DownloadError(f"{failure}, {arrived:,} of {size:,} bytes are here")
            time.sleep(patience * 2 ** (attempt - 1))


def _receive(address: str, part: Path, size: int, timeout: float, bar: tqdm) -> None:
    """Ask for the bytes that `part` lacks and append what comes; never more than `size` in all."""
    have = _size(part)
    request = urllib.request.Request(address, headers={"User-Agent": "llmasos", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=timeout) as response:
        content_range = response.headers.get("Content-Range", "")
        continues = response.status == http.client.PARTIAL_CONTENT and content_range.startswith(f"bytes {have}-")
        have = have if continues else 0
        bar.n = have
        with open(part, "ab" if continues else "wb") as file:
            while have < size and (block := _read(response, min(BLOCK_BYTES, size - have))):
                file.write(block)
                have += len(block)
                bar.update(len(block))
            file.flush()
            if have == size:
                sync(part)


def _read(response: http.client.HTTPResponse, n_bytes: int) -> bytes:
    """Read from the network; what goes wrong there shall not look like an error of the disk."""
    try:
        return response.read(n_bytes)
    except OSError as error:
        raise ConnectionError(f"the connection was lost ({error})") from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _say_waiting(destination: Path):
    def say() -> None:
        print(f"another process is downloading {destination.name}; waiting for it", file=sys.stderr)

    return say
