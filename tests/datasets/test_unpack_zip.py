"""Unpacking archives: a good one is unpacked completely, a hostile or damaged one leaves nothing behind."""

import os

import pytest
from disk_helpers import write_zip

from llmasos.datasets.fetch import unpack_zip
from llmasos.errors import UserError


def _names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_zip_archive_is_unpacked_with_its_folders(tmp_path):
    write_zip(tmp_path / "a.zip", {"x/one.txt": b"1", "x/y/two.txt": b"22"})
    unpack_zip(tmp_path / "a.zip", tmp_path / "out", 3)
    assert (tmp_path / "out/x/one.txt").read_bytes() == b"1" and (tmp_path / "out/x/y/two.txt").read_bytes() == b"22"


def test_other_files_in_the_folder_stay_when_it_is_unpacked_again(tmp_path):
    write_zip(tmp_path / "a.zip", {"x/one.txt": b"1"})
    (tmp_path / "out" / "x").mkdir(parents=True)
    (tmp_path / "out" / "x" / "one.txt").write_bytes(b"damaged")
    (tmp_path / "out" / "x" / "mine.txt").write_bytes(b"mine")
    unpack_zip(tmp_path / "a.zip", tmp_path / "out", 3)
    assert (tmp_path / "out/x/one.txt").read_bytes() == b"1" and (tmp_path / "out/x/mine.txt").read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "x/../../evil.txt", "..\\evil.txt", "C:evil.txt"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path, name):
    write_zip(tmp_path / "a.zip", {"good.txt": b"1", name: b"evil"})
    with pytest.raises(UserError, match="unsafe name"):
        unpack_zip(tmp_path / "a.zip", tmp_path / "in" / "out", 100)
    assert _names(tmp_path / "in") == [] and not list(tmp_path.rglob("*evil*"))


def test_a_link_in_an_archive_is_refused(tmp_path):
    write_zip(tmp_path / "a.zip", {"link": b"/etc/passwd"}, link="link")
    with pytest.raises(UserError, match="unsafe name 'link'"):
        unpack_zip(tmp_path / "a.zip", tmp_path / "out", 100)


def test_a_zip_bomb_is_stopped(tmp_path):
    write_zip(tmp_path / "a.zip", {"zeros": bytes(5_000_000)})
    with pytest.raises(UserError, match="more than the expected size"):
        unpack_zip(tmp_path / "a.zip", tmp_path / "out", 3_000_000)
    assert _names(tmp_path) == ["a.zip"]


def test_damaged_archives_are_named(tmp_path):
    write_zip(tmp_path / "a.zip", {"x": os.urandom(1000)})
    whole = bytearray((tmp_path / "a.zip").read_bytes())
    whole[500] ^= 1
    (tmp_path / "a.zip").write_bytes(whole)
    (tmp_path / "b.zip").write_bytes(whole[:400])
    for name in ("a.zip", "b.zip"):
        with pytest.raises(UserError, match=f"{name} cannot be unpacked"):
            unpack_zip(tmp_path / name, tmp_path / "out", 10_000)
    assert _names(tmp_path) == ["a.zip", "b.zip"]
