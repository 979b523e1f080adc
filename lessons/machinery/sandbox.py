"""Limits for a process that runs a student's code.

Three layers, each of which uses what the machine offers:

1. **Namespaces** (Linux, where ordinary users may create them): a network without connections, and a separate process
   tree, which the kernel kills as a whole when its first process ends. No grandchild survives.
2. **Resource limits** (Linux, macOS): memory, processor time, the size of files.
3. **An audit hook** (everywhere): Python reports what it is about to do, and the hook rejects other processes, threads,
   the network, loading C libraries, and files outside the process's own folder. It cannot be removed.

This is not a container. It stops accidents and an afternoon's worth of tricks. It does not stop machine code, which
bypasses the hook and, without namespaces, everything except the resource limits. RLIMIT_NPROC would not help: it counts
all of a user's processes together, and never applies to root. If you do not trust the submissions, run the grader in a
container or as an unprivileged user. Results are always decided in another process (see `runner.py` and `grading.py`),
so a submission can harm only its own result.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None

NEW_IPC, NEW_USER, NEW_PROCESSES, NEW_NETWORK = 0x08000000, 0x10000000, 0x20000000, 0x40000000
PR_SET_PDEATHSIG = 1
LARGEST_FILE = 16 * 2**20


class SandboxViolation(PermissionError):
    """The code tried to do something that no exercise needs."""


FORBIDDEN_EVENTS = {  # Python's audit event → its description
    "os.fork": "start another process",
    "os.forkpty": "start another process",
    "os.exec": "start another program",
    "os.posix_spawn": "start another program",
    "os.spawn": "start another program",
    "os.system": "start another program",
    "os.startfile": "start another program",
    "subprocess.Popen": "start another program",
    "pty.spawn": "start another program",
    "_thread.start_new_thread": "start a thread",
    "os.kill": "send a signal to a process",
    "os.killpg": "send a signal to a process",
    "signal.pthread_kill": "send a signal to a process",
    "socket.__new__": "use the network",
    "socket.connect": "use the network",
    "socket.bind": "use the network",
    "socket.getaddrinfo": "use the network",
    "ctypes.dlopen": "load a C library",
    "ctypes.dlsym": "call into a C library",
    "gc.get_objects": "search the memory of the grader",
    "gc.get_referrers": "search the memory of the grader",
    "gc.get_referents": "search the memory of the grader",
}
WRITING_EVENTS = {
    "os.mkdir", "os.rmdir", "os.remove", "os.rename", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate",
    "os.utime", "os.setxattr", "shutil.rmtree", "shutil.move", "shutil.chown",
}  # fmt: skip
READING_EVENTS = {"os.listdir", "os.scandir", "os.chdir", "shutil.copyfile", "shutil.copytree"}


def enter_namespaces() -> None:
    """Continue in a child process with its own process tree and no network, where the system allows it.

    The parent only waits and exits with the child's status. Call this before any thread starts.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        user, group = os.getuid(), os.getgid()
        if libc.unshare(NEW_USER | NEW_PROCESSES | NEW_NETWORK | NEW_IPC) != 0:
            return
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            Path(f"/proc/self/{name}").write_text(text)
    except (OSError, AttributeError):
        pass  # an unmapped user has even fewer rights, which is fine
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    libc.prctl(
        PR_SET_PDEATHSIG, signal.SIGKILL
    )  # if the waiting parent dies, so does this process, and with it the whole tree


def limit_resources(memory: int, seconds: float) -> None:
    """Set what this process may use from now on.

    Args:
        memory: bytes on top of current use (torch alone takes several hundred megabytes).
        seconds: of processor time.
    """
    if resource is None:
        return
    limits = {
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": LARGEST_FILE,
        "RLIMIT_CPU": int(seconds + resource.getrusage(resource.RUSAGE_SELF).ru_utime) + 1,
    }
    used = data_in_use()
    if used is not None:  # private memory; RLIMIT_AS would count the terabytes of address space that CUDA reserves
        limits["RLIMIT_DATA"] = used + memory
    for name, value in limits.items():
        try:
            resource.setrlimit(getattr(resource, name), (value, value))
        except (ValueError, OSError, AttributeError):
            pass  # this system does not support the limit


def data_in_use() -> int | None:
    """This process's private memory in bytes, as Linux counts it for RLIMIT_DATA; None on other systems."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData"))
    except (OSError, StopIteration):
        return None


def install_audit_hook(folder: Path, readable: list[Path], hidden: list[Path]) -> None:
    """Permanently reject every operation that no exercise needs.

    Args:
        folder: where it may read and write.
        readable: where it may read: Python, its packages.
        hidden: exceptions inside `readable` that it may not read.
    """
    resolve, separator = os.path.realpath, os.sep
    home = resolve(folder)
    open_to_read = tuple({resolve(path) for path in [folder, *readable]})
    closed = tuple(resolve(path) for path in hidden)
    devices = ("/dev/null", "/dev/urandom", "/dev/random", "/proc/meminfo", "/proc/cpuinfo")

    def within(path: str, places: tuple[str, ...]) -> bool:
        return any(path == place or path.startswith(place + separator) for place in places)

    def check(path, writing: bool) -> None:
        if isinstance(path, int) or path is None:
            return
        asked = os.fsdecode(path)
        real = resolve(asked)
        if within(real, (home,)) or within(asked, devices):
            return
        if writing or not within(real, open_to_read) or within(real, closed):
            raise SandboxViolation(
                f"the code tried to {'write to' if writing else 'read'} {asked}, outside its own folder"
            )

    def hook(event: str, args: tuple) -> None:
        if event == "open":
            mode, flags = args[1], args[2] or 0
            writing = bool(flags & (os.O_WRONLY | os.O_RDWR)) or (mode is not None and mode.strip("rbtU") != "")
            check(args[0], writing)
        elif event in FORBIDDEN_EVENTS:
            raise SandboxViolation(f"the code tried to {FORBIDDEN_EVENTS[event]}; an exercise should only compute")
        elif event in WRITING_EVENTS:
            for path in args[: 2 if event in ("os.rename", "os.link", "shutil.move") else 1]:
                check(path, writing=True)
        elif event in READING_EVENTS:
            check(args[0], writing=False)

    sys.addaudithook(hook)
