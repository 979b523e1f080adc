"""Configuration of all tests: the same device, number format and threads on every machine, working Ctrl-C, time limits.

- **Device.** Tests run on the CPU: GPUs are hidden from them and from the processes they start.
- **Number format.** `--precision auto` is bf16 on CPUs with AVX512-BF16 or AMX and fp32 on others. Tests see a CPU
  without such instructions, so that they compute the same everywhere. `LLMASOS_TEST_PRECISION=bf16` pretends the
  opposite (every CPU computes bf16 correctly, most of them slowly); CI runs part of the tests that way.
- **Threads.** Tiny tensors gain nothing from a second thread and lose much when the cores are busy.
  `LLMASOS_TEST_THREADS` sets another number.
- **Ctrl-C.** A shell that runs pytest in the background makes it ignore Ctrl-C, which some tests send.
- **Time limit.** pytest ends a test that hangs (`faulthandler_timeout` in pyproject.toml), except slow ones.
- **Workers.** With `pytest -n 2 --dist loadgroup`, every lesson is a unit of its own and every other file is one unit,
  because its tests share fixtures. The longest come first, so that no worker is idle at the end.
"""

import faulthandler
import os
import signal

import pytest

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch is imported

import torch  # noqa: E402

torch.set_num_threads(int(os.environ.get("LLMASOS_TEST_THREADS", "1")))
signal.signal(signal.SIGINT, signal.default_int_handler)

PRECISION = os.environ.get("LLMASOS_TEST_PRECISION", "fp32")
CAPABILITIES = {"avx512_bf16": PRECISION == "bf16", "amx_bf16": False}
LONGEST = ("test_recipes_storyworld.py", "test_train.py", "test_page.py", "test_mutation.py", "test_shipped.py")


def pytest_configure() -> None:
    """Fix what `--device auto` and `--precision auto` find out about the machine."""
    torch.backends.mps.is_available = lambda: False
    torch.cpu.get_capabilities = lambda: dict(CAPABILITIES)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remove the time limit of a test that is marked slow or lessons."""
    if item.get_closest_marker("slow") or item.get_closest_marker("lessons"):
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist, which reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Group and sort the tests for `--dist loadgroup`, the same way in every worker."""
    if config.getoption("dist", "no") != "loadgroup" and "PYTEST_XDIST_WORKER" not in os.environ:
        return
    places = {name: i for i, name in enumerate(LONGEST)}

    def place(item: pytest.Item) -> int:
        is_lesson = item.get_closest_marker("lessons") is not None
        return places.get(item.path.name, len(places) + (0 if is_lesson else 1))

    for item in items:
        if not item.get_closest_marker("lessons"):
            item.add_marker(pytest.mark.xdist_group(str(item.path)))
    items.sort(key=place)
