"""For all tests: one thread, a Ctrl-C that is heard, and a limit for quick tests only.

Tiny tensors gain nothing from a second thread, and lose much when the cores are busy elsewhere. A shell that runs
pytest in the background lets it ignore Ctrl-C, which some tests press. A test that hangs is ended by pytest itself
(`faulthandler_timeout` in pyproject.toml), but what is marked as long may take long.
"""

import faulthandler
import signal

import pytest
import torch

torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Take the time limit from a test that is marked slow or lessons."""
    if item.get_closest_marker("slow") or item.get_closest_marker("lessons"):
        faulthandler.cancel_dump_traceback_later()
