"""Sealed folders: damage is named, and files of others are neither replaced nor removed."""

import errno
import os
from pathlib import Path

import pytest

from llmasos.errors import UserError
from llmasos.storage import write_folder
from llmasos.storage.atomic import clean_up_folder, make_folder, set_aside, write_text
from llmasos.storage.checksums import find_corruption, foreign_files, read_sealed, remove_own, seal


@pytest.fixture
def sealed(tmp_path):
    """The JSON file of a folder with two other files of ours."""
    (tmp_path / "f" / "inner").mkdir(parents=True)
    (tmp_path / "f" / "a.txt").write_text("a")
    (tmp_path / "f" / "inner" / "b.txt").write_text("b")
    seal(tmp_path / "f" / "state.json", {"step": 3})
    return tmp_path / "f" / "state.json"


def test_a_folder_of_ours_is_valid_and_can_be_removed(sealed):
    assert find_corruption(sealed) is None and foreign_files(sealed) == [] and read_sealed(sealed) == {"step": 3}
    assert remove_own(sealed) and not sealed.parent.exists()


@pytest.mark.parametrize("name", ["state.json", "a.txt", "inner/b.txt"])
def test_damage_is_named_and_what_was_changed_is_not_removed(sealed, name):
    path = sealed.parent / name
    path.write_text(path.read_text().replace("3", "4") + " ")
    before = sorted(sealed.parent.rglob("*"))
    if name != "state.json":
        assert find_corruption(sealed) == f"{name} is not as it was written (its checksum differs)"
    assert path in foreign_files(sealed) and not remove_own(sealed) and sorted(sealed.parent.rglob("*")) == before
    path.unlink()
    assert find_corruption(sealed) == f"{name} is missing"


def test_a_changed_field_is_damage(sealed):
    sealed.write_text(sealed.read_text().replace('"step": 3', '"step": 4'))
    assert find_corruption(sealed) == "state.json is not as it was written (its checksum differs)"
    assert read_sealed(sealed) is None
    sealed.write_text("{}")
    assert find_corruption(sealed) == "state.json has no checksums"


@pytest.mark.parametrize("name", ["notes.txt", "inner/notes.txt", "other/notes.txt", "empty/"])
def test_a_folder_with_a_stranger_in_it_is_not_removed(sealed, name):
    path = sealed.parent / name
    if name.endswith("/"):
        path.mkdir()
    else:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    assert (
        path in foreign_files(sealed) and not remove_own(sealed) and path.exists() and find_corruption(sealed) is None
    )


def test_a_link_is_a_stranger_and_is_never_followed_when_removing(sealed, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    (sealed.parent / "a.txt").unlink()
    (sealed.parent / "a.txt").symlink_to(tmp_path / "a.txt")
    assert not remove_own(sealed) and (tmp_path / "a.txt").exists()
    (tmp_path / "link").symlink_to(sealed.parent)
    assert not remove_own(tmp_path / "link" / "state.json") and (tmp_path / "link").is_symlink()


def test_a_file_that_may_not_be_read_is_not_called_corrupt(sealed, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("llmasos.storage.checksums.sha256_file", refuse)
    with pytest.raises(UserError, match="could not read .*a.txt: Permission denied; .*allow yourself to read it"):
        find_corruption(sealed)


# Atomic writes next to other files


@pytest.mark.parametrize("theirs", ["notes.txt", "model.bin/notes.txt", "deep/er/notes.txt", "inner"])
def test_replacing_a_folder_moves_other_files_along(tmp_path, theirs):
    """Also those in a folder with the name of our file, and the reverse."""
    path = tmp_path / "c" / theirs
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with write_folder(tmp_path / "c", keep_others=True) as folder:
        write_text(folder / "model.bin", "ours")
        write_text(folder / "inner" / "x", "ours")
    assert (tmp_path / "c" / "model.bin").read_text() == (tmp_path / "c" / "inner" / "x").read_text() == "ours"
    kept = {"model.bin/notes.txt": "model.bin.old/notes.txt", "inner": "inner.old"}.get(theirs, theirs)
    assert (tmp_path / "c" / kept).read_text() == "mine"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_symbolic_link_is_followed_and_not_replaced(tmp_path, kind):
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "x", tmp_path / "link"
    if kind == "folder":
        target.mkdir()
    else:
        target.write_text("old")
    link.symlink_to(target)
    if kind == "folder":
        with write_folder(link) as folder:
            write_text(folder / "a", "new")
    else:
        write_text(link, "new")
    assert link.is_symlink() and (target / "a" if kind == "folder" else target).read_text() == "new"
    assert os.listdir(tmp_path / "real") == ["x"]


def test_in_a_folder_of_our_own_everything_that_dead_processes_left_is_cleaned_up(tmp_path):
    for name in (".a.tmp-999999999-0", f".b.tmp-{os.getppid()}-0", ".c.old-999999999-1", ".tmp-keep", "d.tmp"):
        (tmp_path / name).mkdir()
    clean_up_folder(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([f".b.tmp-{os.getppid()}-0", "c", ".tmp-keep", "d.tmp"])


def test_what_is_set_aside_never_replaces_anything(tmp_path):
    names = []
    for text in ("one", "two", "three"):
        (tmp_path / "a").write_text(text)
        names.append(set_aside(tmp_path / "a").name)
    assert names == ["a.old", "a.old-2", "a.old-3"] and (tmp_path / "a.old").read_text() == "one"


@pytest.mark.parametrize("path", ["x" * 300, "file/x", "refused/x"])
def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path, monkeypatch, path):
    (tmp_path / "file").write_text("")
    if path == "refused/x":  # as in /proc

        def refuse(self, *arguments, **options):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))

        monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match="cannot be made: .*; choose .*[.]$"):
        make_folder(tmp_path / path)
