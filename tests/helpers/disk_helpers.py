"""A disk that fills up, and archives, for the tests of files."""

import resource
import stat
import zipfile
from contextlib import contextmanager


@contextmanager
def small_disk():
    """Let the kernel refuse to write beyond 100,000 bytes of any file, as a full disk does in the middle of one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_zip(path, members: dict[str, bytes], link: str | None = None) -> None:
    """Write a zip archive; the member named `link` is marked as a symbolic link."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = ((stat.S_IFLNK if name == link else stat.S_IFREG) | 0o644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(info, content)
