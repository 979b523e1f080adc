"""Stop signals: Ctrl-C, SIGTERM, and the SIGHUP of a closed terminal.

Most work may be interrupted anywhere; for it, `raise_on_signals` turns a signal into an exception. Training and serving
finish what they have begun; for them, `stop_requests` only notes the signal. Python runs a signal's handler between two
instructions of the main thread, so everywhere else these functions do nothing.

Before the first line of a command runs, Python itself has to start; with `-m` it first imports a dozen modules. A
Ctrl-C during that time ends it with Python's own traceback. A library cannot change that, and no work can be lost yet.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from llmasos.console import say

STOP_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]


class Terminated(SystemExit):
    """SIGTERM or SIGHUP. Unlike Ctrl-C, which a chat understands as "stop this answer", it ends every command."""

    def __init__(self, number: int):
        self.status = 128 + number  # which signal it was, for the shell
        super().__init__(self.status)


class StopRequest:
    """The stop signal that this process has received, if any."""

    def __init__(self) -> None:
        self.number = 0

    def is_set(self) -> bool:
        """Whether there was one."""
        return self.number != 0

    @property
    def status(self) -> int:
        """The exit status that tells the shell which signal it was."""
        return 128 + self.number


def raise_stop(number: int) -> None:
    """Raise the exception for a signal."""
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)


def exit_at_once(number: int, frame: object = None) -> None:
    """End the process without unwinding it: other threads may be inside torch, or an import half done."""
    os._exit(128 + number)


@contextmanager
def raise_on_signals() -> Iterator[StopRequest]:
    """While open, Ctrl-C raises KeyboardInterrupt, and the other signals `Terminated`.

    During an import, they end the process instead: some packages swallow every exception while they are imported, and
    the command would go on as if nothing had happened.
    """
    request = StopRequest()

    def handle(number: int, frame: FrameType | None) -> None:
        request.number = number
        if is_importing(frame):
            if os.environ.get("RANK", "0") == "0":  # the only process, or the first of several
                say("stopped.", error=True)
            exit_at_once(number)
        raise_stop(number)

    with handlers(handle):
        yield request


def is_importing(frame: FrameType | None) -> bool:
    """Whether an import statement is being carried out in this frame or in one of its callers.

    A file that is run by its path, such as a user's reward function, does not count: nothing swallows its exceptions.
    """
    while frame is not None:
        code = frame.f_code
        if code.co_name == "_find_and_load" and code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


@contextmanager
def stop_requests(acknowledgment: str | None, repeated: Callable[[int], None] = raise_stop) -> Iterator[StopRequest]:
    """While open, the first signal is only noted and acknowledged.

    torchrun passes Ctrl-C on to its processes, which have already received it from the terminal. So in these, a
    repeated signal counts as the first.

    Args:
        acknowledgment: the line to print at the first signal, if any.
        repeated: called with the number of the second signal; by default, it raises.
    """
    request = StopRequest()

    def handle(number: int, frame: object) -> None:
        if request.is_set() and "TORCHELASTIC_RUN_ID" not in os.environ:
            repeated(number)
        if not request.is_set() and acknowledgment:
            try:
                say(acknowledgment, error=True)
            except RuntimeError:  # the signal arrived in the middle of another print
                os.write(2, f"{acknowledgment}\n".encode("ascii", "replace"))
        request.number = number

    with handlers(handle):
        yield request


@contextmanager
def handlers(handle: Callable[[int, Any], None]) -> Iterator[None]:
    """Handle the stop signals while open. A SIGHUP that is ignored, as under `nohup`, stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [n for n in STOP_SIGNALS if n == signal.SIGINT or signal.getsignal(n) != signal.SIG_IGN]
    previous = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
