"""torchrun's environment variables for this process: its rank, the number of processes, and the launch."""

import os
import platform

from llmasos.console import command
from llmasos.errors import UserError, shown


def use_torchrun() -> str:
    """Advice for an environment that torchrun has not set up."""
    train = command("train").removeprefix("python ")
    return f"start several processes with `torchrun --nproc-per-node N {train} …`, or unset WORLD_SIZE"


def read_variable(name: str, at_least: int, at_most: int, default: int | None = None) -> int:
    """A whole number from the environment. Raises UserError if it is missing, not a number, or out of range."""
    text = os.environ.get(name, "" if default is None else str(default))
    if not text:
        raise UserError(f"WORLD_SIZE is {os.environ.get('WORLD_SIZE')}, but {name} is not set; {use_torchrun()}.")
    is_number = text.isascii() and text.isdigit() and len(text) < 10
    if not is_number or not at_least <= int(text) <= at_most:
        raise UserError(
            f"the environment variable {name} is {shown(text)}; it must be a whole number from {at_least} to "
            f"{at_most}: {use_torchrun()}."
        )
    return int(text)


def launch_id() -> str | None:
    """An id of this call of torchrun, which stays the same when its processes are restarted; None without torchrun.

    It is the `--rdzv-id`, which is required with several machines, or else the process id of torchrun.
    """
    name = os.environ.get("TORCHELASTIC_RUN_ID")
    return f"{platform.node()}-{os.getppid()}" if name == "none" else name


def is_restart() -> bool:
    """Whether torchrun has started these processes again, after one of them had failed."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def rank_in_words() -> str:
    """Describe which process this is, for a message; "" if it is the only one or the main one."""
    rank, size = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    return "" if rank == "0" or size == "1" else f" (in process {rank} of {size})"
