"""What the tests of the data sets share."""

import pytest

from llmasos.datasets import fetch


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A given folder and a cache of the test's own."""
    given, cache = tmp_path / "given", tmp_path / "cache"
    given.mkdir()
    monkeypatch.setenv("LLMASOS_DATA", str(given))
    monkeypatch.setattr(fetch, "cache_folder", lambda: cache)
    return given, cache
