"""Fixtures of the dataset tests."""

import pytest

from llmasos.datasets import fetch


@pytest.fixture
def data_folders(tmp_path, monkeypatch):
    """Return a user data folder and a cache, both empty and used by this test only."""
    user_data, cache = tmp_path / "user_data", tmp_path / "cache"
    user_data.mkdir()
    monkeypatch.setenv("LLMASOS_DATA", str(user_data))
    monkeypatch.setattr(fetch, "cache_folder", lambda: cache)
    return user_data, cache
