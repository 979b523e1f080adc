"""Configuration of all tests: the same device, number format and threads on every machine, working Ctrl-C, time limits.

- **Device.** Tests run on the CPU: GPUs are hidden from them and from the processes they start.
- **Number format.** `--precision auto` is bf16 on CPUs with AVX512-BF16 or AMX and fp32 on others. Tests see a CPU
  without such instructions, so that they compute the same everywhere. `LLMASOS_TEST_PRECISION=bf16` pretends the
  opposite (every CPU computes bf16 correctly, most of them slowly); CI runs part of the tests that way.
- **Threads.** Tiny tensors gain nothing from a second thread and lose much when the cores are busy.
  `LLMASOS_TEST_THREADS` sets another number.
- **Disk.** Nothing is flushed to the disk: tests need not survive a power failure.
- **Signals.** A shell that runs pytest in the background makes it ignore Ctrl-C, and `nohup` makes it ignore SIGHUP;
  some tests send them.
- **Failures** are shown at once as well as at the end, which a run that is stopped never reaches.
- **Time limit.** pytest ends a test that hangs (`faulthandler_timeout` in pyproject.toml), except slow ones.
- **Workers.** `pytest` without a path or `-k` runs two files at a time, on two workers. Selected tests run in one
  process, where a debugger works (`-n 0` does so for all). `--no-loadscope-reorder` starts with the longest files, so
  that no worker is idle at the end.
"""

import faulthandler
import os
import signal

import pytest

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch is imported

import torch  # noqa: E402

torch.set_num_threads(int(os.environ.get("LLMASOS_TEST_THREADS", "1")))
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

PRECISION = os.environ.get("LLMASOS_TEST_PRECISION", "fp32")
CAPABILITIES = {"avx512_bf16": PRECISION == "bf16", "amx_bf16": False}
LONGEST = (
    "test_course.py",
    "test_train.py",
    "test_page.py",
    "test_mutation.py",
    "test_shipped.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Use two workers for the whole suite, unless `-n` or a debugger says otherwise."""
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.keyword
    worker = "PYTEST_XDIST_WORKER" in os.environ
    if whole and not worker and getattr(config.option, "numprocesses", 0) is None and not config.option.usepdb:
        config.option.numprocesses, config.option.dist, config.option.loadscopereorder = 2, "loadfile", False


def pytest_configure() -> None:
    """Fix what `--device auto` and `--precision auto` detect, and let no write wait for the disk."""
    torch.backends.mps.is_available = lambda: False
    torch.cpu.get_capabilities = lambda: dict(CAPABILITIES)
    os.fsync = lambda descriptor: None


class FailuresAtOnce:
    """Shows each failure when it happens."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self.terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            last_lines = report.longreprtext.splitlines()[-20:]
            self.terminal.write_line("\n".join(["", f"FAILED {report.nodeid} ({report.when})", *last_lines]))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let the process that reports show failures at once (the workers' reports arrive there)."""
    plugins = session.config.pluginmanager
    if "PYTEST_XDIST_WORKER" not in os.environ:
        plugins.register(FailuresAtOnce(plugins.get_plugin("terminalreporter")))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remove the time limit of a test that is marked slow, long or lessons."""
    if any(item.get_closest_marker(name) for name in ("slow", "long", "lessons")):
        faulthandler.cancel_dump_traceback_later()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let several workers start with the longest files."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
