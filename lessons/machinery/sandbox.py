"""Limits for a process that runs somebody else's code.

Three layers, each of which takes what the machine offers:

1. **Namespaces** (Linux, where an ordinary user may make them): a network without any connection, and a process tree of
   its own, all of which the kernel ends together with its first process. No grandchild survives.
2. **Resource limits** (Linux, macOS): memory, processor time, the size of files.
3. **An audit hook** (everywhere): Python reports what it is about to do, and the hook refuses other processes, threads,
   the network, loading C libraries, and files outside the process's own folder. It cannot be taken away again.

This is no container. It stops accidents, and the tricks that a student tries in an afternoon. It does not stop
somebody who gets machine code to run: that goes past the hook, and where there are no namespaces, past everything but
the resource limits. Nor does RLIMIT_NPROC help: it counts all processes of a user together, and never binds root.
A teacher who does not trust the submissions runs the grader in a container or as a user without rights; results are
decided in another process in any case (see `supervise.py`), so a submission can harm its own result only.
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


class Refused(PermissionError):
    """Something that an exercise has no reason to do."""


REFUSED_EVENTS = {  # what Python calls it → what we call it
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


def own_process_tree() -> None:
    """Continue in a child process with its own process tree and without a network, where the system allows it.

    The parent only waits, and ends with the child's status. Must be called before any thread is started.
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
        pass  # an unmapped user has fewer rights still, which does no harm
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # whoever ends the waiting parent ends us, and so the whole tree


def limit_resources(memory: int, seconds: float) -> None:
    """Set what this process may use from now on.

    Args:
        memory: bytes on top of what it has already (torch alone takes some hundred megabytes).
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
    if used is not None:  # what is really private; RLIMIT_AS would count the terabytes of addresses that CUDA reserves
        limits["RLIMIT_DATA"] = used + memory
    for name, value in limits.items():
        try:
            resource.setrlimit(getattr(resource, name), (value, value))
        except (ValueError, OSError, AttributeError):
            pass  # a limit that this system does not know


def data_in_use() -> int | None:
    """Bytes of private memory that this process has, as Linux counts them for RLIMIT_DATA; None elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData"))
    except (OSError, StopIteration):
        return None


def watch(folder: Path, readable: list[Path], hidden: list[Path]) -> None:
    """Refuse, from now on and for good, what an exercise has no reason to do.

    Args:
        folder: where it may read and write.
        readable: where it may read: Python, its packages.
        hidden: what it may not read although it lies there.
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
            raise Refused(f"the code tried to {'write to' if writing else 'read'} {asked}, outside its own folder")

    def hook(event: str, args: tuple) -> None:
        if event == "open":
            mode, flags = args[1], args[2] or 0
            writing = bool(flags & (os.O_WRONLY | os.O_RDWR)) or (mode is not None and mode.strip("rbtU") != "")
            check(args[0], writing)
        elif event in REFUSED_EVENTS:
            raise Refused(f"the code tried to {REFUSED_EVENTS[event]}; an exercise only computes")
        elif event in WRITING_EVENTS:
            for path in args[: 2 if event in ("os.rename", "os.link", "shutil.move") else 1]:
                check(path, writing=True)
        elif event in READING_EVENTS:
            check(args[0], writing=False)

    sys.addaudithook(hook)
