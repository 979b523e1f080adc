"""Downloading a file: complete, with the right checksum, and only once.

The bytes go to `.NAME.part` next to the destination. An interrupted (or killed) download resumes there with an HTTP
range request; if the server ignores the range, it starts over. A complete file is checked: if the checksum is right,
the file is renamed into place, and another file that was there is kept as `NAME.old`; if not, it is fetched once more
from the start, and then the next address is tried. A lock lets one process download while others wait for the result.
"""

import http.client
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from llmasos.console import progress_bar, say
from llmasos.errors import UserError
from llmasos.storage.atomic import set_aside, sha256_file, sync, write_error
from llmasos.storage.lock import lock

BLOCK_BYTES = 1 << 16
ATTEMPTS = 5  # in a row without new data, for one address


class DownloadError(Exception):
    """An address did not deliver the file; the message says why."""


def download(
    addresses: tuple[str, ...],
    destination: Path,
    checksum: str,
    size: int,
    timeout: float = 30.0,
    backoff: float = 1.0,
    progress: bool = True,
    checksum_of: Callable[[Path], str] = sha256_file,
    name: str | None = None,
    token: str | None = None,
) -> None:
    """Fetch a file of known size and content to `destination`, from the first address that delivers it.

    Args:
        addresses: http(s) addresses of the same bytes, tried in this order.
        destination: the path of the file; kept if it exists with the right content.
        checksum: the result of `checksum_of` for the right file.
        size: the size in bytes; no more than this is read from the network.
        timeout: seconds without data until a connection counts as lost.
        backoff: seconds before the second attempt; doubled before each further one.
        progress: whether to show a progress bar.
        checksum_of: computes the checksum of a file; by default its SHA-256 in 64 hexadecimal digits.
        name: the name of the file in messages (None: its file name).
        token: an access token for addresses that need one. It is sent to their own scheme, host and port only.

    Raises:
        UserError: no address delivered the file, or it cannot be written; says how to download it by hand.
    """
    name = name or destination.name
    on_wait = partial(say, f"another process is downloading {name}; waiting for it.", error=True)
    with lock(destination.with_name(f".{destination.name}.lock"), on_wait):
        if destination.is_file() and checksum_of(destination) == checksum:
            return
        part = destination.with_name(f".{destination.name}.part")
        failures = []
        for address in addresses:
            try:
                fetch = _Fetch(address, part, size, timeout, backoff, progress, name, token)
                fetch.complete_and_check(checksum, checksum_of)
                if destination.name != checksum and os.path.lexists(destination):  # not known to be ours
                    set_aside(destination)
                os.replace(part, destination)
                sync(destination.parent)
                return
            except DownloadError as error:
                failures.append(f"{address}: {error}")
            except OSError as error:
                raise write_error(destination, error) from error
    raise UserError(
        f"could not download {name} ({'; '.join(failures)}); check the network and start again (what has"
        f" arrived is kept), or fetch it by hand and save it as {destination}."
    )


@dataclass
class _Fetch:
    """The download of `part`, up to `size` bytes, from one address; the other fields are arguments of `download`."""

    address: str
    part: Path
    size: int
    timeout: float
    backoff: float
    progress: bool
    name: str
    token: str | None

    def complete_and_check(self, checksum: str, checksum_of: Callable[[Path], str]) -> None:
        """Complete the file and check it; if the checksum is wrong, try once more from the start."""
        for _ in range(2):
            self.complete()
            actual = checksum_of(self.part)
            if actual == checksum:
                return
            self.part.unlink()
        raise DownloadError(f"it sent another file (checksum {actual}, expected {checksum})")

    def complete(self) -> None:
        """Receive the missing bytes, reconnecting after each interruption."""
        part, size = self.part, self.size
        initial_size = _size(part)
        title, hidden = f"downloading {self.name}", None if self.progress else True
        with progress_bar(total=size, unit="B", unit_scale=True, desc=title, disable=hidden) as bar:
            attempt = 0
            while (before := _size(part)) < size:
                try:
                    self.receive(bar)
                    failure = "the connection ended early"
                except urllib.error.HTTPError as error:
                    failure = f"the server answered {error.code} {error.reason}"
                    if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                        part.unlink()
                    elif error.code < 500 and error.code != http.client.TOO_MANY_REQUESTS:
                        raise DownloadError(failure) from error
                except urllib.error.URLError as error:
                    failure = str(getattr(error.reason, "strerror", None) or error.reason)
                    if _size(part) == initial_size:  # never connected: probably offline, where retrying does not help
                        raise DownloadError(failure) from error
                except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
                    failure = str(error) or f"the connection was lost ({type(error).__name__})"
                arrived = _size(part)
                if arrived >= size:
                    break
                attempt = 1 if arrived > before else attempt + 1
                if attempt >= ATTEMPTS:
                    raise DownloadError(f"{failure}, {arrived:,} of {size:,} bytes have arrived")
                time.sleep(self.backoff * 2 ** (attempt - 1))

    def receive(self, bar: Any) -> None:
        """Request the bytes that `part` lacks and append them, up to `size` in total."""
        have = _size(self.part)
        request = make_request(self.address, self.token)
        if have:
            request.add_header("Range", f"bytes={have}-")
        with open_address(request, self.timeout) as response:
            content_range = response.headers.get("Content-Range", "")
            continues = response.status == http.client.PARTIAL_CONTENT and content_range.startswith(f"bytes {have}-")
            have = have if continues else 0
            bar.n = have
            with open(self.part, "ab" if continues else "wb") as file:
                while have < self.size and (block := _read(response, min(BLOCK_BYTES, self.size - have))):
                    file.write(block)
                    have += len(block)
                    bar.update(len(block))
                file.flush()
                if have == self.size:
                    sync(self.part)


def make_request(address: str, token: str | None = None) -> urllib.request.Request:
    """Build a request for an address, with an access token if there is one."""
    request = urllib.request.Request(address, headers={"User-Agent": "llmasos", "Accept-Encoding": "identity"})
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    return request


class _KeepTokenAtOrigin(urllib.request.HTTPRedirectHandler):
    """Follows redirects as usual, but sends the token only to the scheme, host and port for which it was given.

    The scheme counts too: from https to http, the token would cross the network in plain text.
    """

    def redirect_request(self, request, file, code, message, headers, address):
        new = super().redirect_request(request, file, code, message, headers, address)
        if new is not None and origin_of(address) != origin_of(request.full_url):
            new.remove_header("Authorization")
        return new


def origin_of(address: str) -> tuple[str, str | None, int | str | None]:
    """The scheme, host and port of an address (RFC 6454).

    >>> origin_of("https://Example.org/a") == origin_of("https://example.org:443/b")
    True
    """
    parts = urllib.parse.urlsplit(address)
    try:
        port: int | str | None = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:  # not a number: no other address has the same origin, and opening it fails
        port = parts.netloc
    return parts.scheme, parts.hostname, port


def open_address(request: urllib.request.Request, timeout: float):
    """Send a request and return the response, following redirects. Raises what `urllib.request.urlopen` raises."""
    return urllib.request.build_opener(_KeepTokenAtOrigin).open(request, timeout=timeout)


def _read(response: http.client.HTTPResponse, n_bytes: int) -> bytes:
    """Read from the network; its errors become `ConnectionError`, so that they differ from errors of the disk."""
    try:
        return response.read(n_bytes)
    except OSError as error:
        raise ConnectionError(f"the connection was lost ({error})") from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
