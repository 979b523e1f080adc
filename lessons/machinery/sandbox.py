"""Restrictions for a process that runs a student's code.

Four layers, each used where the machine supports it:

1. **Namespaces** (Linux, where ordinary users may create them): a network without connections, a separate process
   tree, which the kernel kills as a whole when its first process ends, and a private folder in memory, which holds
   LARGEST_FOLDER bytes and MOST_FILES files.
2. **Resource limits** (Linux, macOS): processor time, the size and number of open files; on Linux also memory.
3. **Landlock and seccomp** (Linux, see `confinement.py`): no files except Python's own and those in that folder, and no
   other program, process, thread, connection or signal, not even from machine code.
4. **Python's own entry points** (everywhere): an audit hook, to which Python reports what it is about to do, and
   replacements for functions that it does not report. This layer produces the message for the student. On systems
   without the other layers it is the only one, and machine code bypasses it.

Results are always decided in another process (see `runner.py` and `grading.py`), which alone knows the references.
For tests, `LLMASOS_LESSONS_LAYERS` can be kernel (without layer 4), seccomp python (without Landlock) or python
(without layer 3).
"""

import ctypes
import errno
import functools
import gc
import importlib
import itertools
import os
import signal
import site
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lessons.machinery import confinement

try:
    import resource
except ImportError:  # Windows
    resource = None

NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_PROCESSES, NEW_NETWORK = 0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
PR_SET_PDEATHSIG, NO_PROGRAMS = 1, 2 | 4 | 8  # the latter for mount: nosuid, nodev, noexec
LARGEST_FOLDER, MOST_FILES, MOST_OPEN = 16 * 2**20, 100, 128
LARGEST_FILE = 2**20
DEVICES = ["/dev/null", "/dev/urandom", "/dev/random", "/proc/meminfo", "/proc/cpuinfo"]
USED_UP = {  # an error of the system → what the code did
    errno.EMFILE: "opened too many files", errno.ENFILE: "opened too many files", errno.ENOSPC: "filled its folder",
    errno.EDQUOT: "filled its folder", errno.EFBIG: "wrote too large a file",
}  # fmt: skip
REFUSALS = ("Permission denied", "Operation not permitted", "can't start new thread")


class SandboxViolation(PermissionError):
    """The code tried to do something that no exercise needs."""


PROGRAM, THREAD, NETWORK = "start another program", "start a thread", "use the network"
SIGNAL, SEARCH = "send a signal to a process", "search the memory of the grader"
REFUSED_EVENTS = {  # Python's audit event → its description
    "os.fork": "start another process", "os.forkpty": "start another process",
    "os.exec": PROGRAM, "os.posix_spawn": PROGRAM, "os.spawn": PROGRAM, "os.system": PROGRAM, "os.startfile": PROGRAM,
    "subprocess.Popen": PROGRAM, "pty.spawn": PROGRAM, "_winapi.CreateProcess": PROGRAM,
    "_thread.start_new_thread": THREAD, "_thread.start_joinable_thread": THREAD,
    "cpython.PyInterpreterState_New": "start an interpreter",
    "os.kill": SIGNAL, "os.killpg": SIGNAL, "signal.pthread_kill": SIGNAL,
    "socket.__new__": NETWORK, "socket.connect": NETWORK, "socket.bind": NETWORK, "socket.getaddrinfo": NETWORK,
    "gc.get_objects": SEARCH, "gc.get_referrers": SEARCH, "gc.get_referents": SEARCH, "sys._current_frames": SEARCH,
    "sqlite3.connect": "open a database", "mmap.__new__": "share memory",
    "os.symlink": "make a link", "os.link": "make a link", "syslog.syslog": "write to the system's log",
    "sys.settrace": "trace the grader", "sys.setprofile": "trace the grader",
    "socket.gethostbyname": NETWORK, "socket.gethostbyaddr": NETWORK,
    "resource.setrlimit": "change its limits", "resource.prlimit": "change its limits",
}  # fmt: skip
WRITING_EVENTS = {
    "os.mkdir", "os.rmdir", "os.remove", "os.rename", "os.chmod", "os.chown", "os.truncate", "os.utime", "os.setxattr",
    "os.removexattr", "os.chflags", "shutil.rmtree", "shutil.move", "shutil.chown",
}  # fmt: skip
READING_EVENTS = {"os.listdir", "os.scandir", "os.chdir", "os.listxattr", "os.getxattr", "shutil.copyfile",
                  "shutil.copytree"}  # fmt: skip
# Functions that Python runs without reporting them: owner → names.
UNREPORTED = {
    "posix": "mkfifo mknod memfd_create eventfd chroot setuid setgid setgroups setsid setpgid pidfd_open nice openpty "
    "sched_setaffinity sched_setscheduler sched_setparam setpriority unshare setns",
    "_thread": "start_new_thread start_new start_joinable_thread", "_posixsubprocess": "fork_exec",
    "_dbm": "open", "_gdbm": "open",  # these open files without an audit event
    "_multiprocessing": "SemLock", "_posixshmem": "shm_open", "_socket": "socketpair", "faulthandler": "register",
    "_interpreters": "create", "_xxsubinterpreters": "create",
    "torch._C": "import_ir_module _import_ir_module_from_package _gds_load_storage _load_jit_module_from_file "
    "_load_mobile_module_from_file _load_for_lite_interpreter _get_model_extra_files",
    "torch._C.StorageBase": "from_file _new_shared_filename_cpu _new_shared_fd_cpu _new_using_filename_cpu "
    "_new_using_fd_cpu _share_fd_cpu_ _share_filename_cpu_ _new_with_file _set_from_file _write_file",
    "torch._C.ScriptModule": "save _save_for_mobile", "torch._C.ScriptFunction": "save",
    "torch": "from_file", "torch._VF": "from_file", "torch._C._VariableFunctions": "from_file",
    "torch.ops.aten": "from_file",
}  # fmt: skip
# The same for those that only reach files or connections, where the kernel does not restrict these.
UNREPORTED_REACH = {
    "readline": "read_history_file write_history_file append_history_file read_init_file",
    "_ssl._SSLContext": "load_verify_locations load_cert_chain load_dh_params keylog_filename",
    "torch._C._distributed_c10d": "FileStore TCPStore", "torch._C._autograd._ProfilerResult": "save",
    "torch._C._profiler": "_add_execution_trace_observer",
}  # fmt: skip
# The same for functions that open a given file: a file name is checked, an object in memory is not.
OPENERS = {"torch._C": "PyTorchFileReader PyTorchFileWriter"}


def enter_namespaces(folder: str | None = None) -> None:
    """Continue in a child process with its own process tree and no network, where the system allows it.

    The parent only waits, and exits with the child's status. Call this before any thread starts.

    Args:
        folder: the path of a folder in memory that only this process sees.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # if the grader is killed, no worker goes on
        user, group = os.getuid(), os.getgid()
        most = NEW_USER | NEW_PROCESSES | NEW_NETWORK | NEW_IPC
        if libc.unshare(most | NEW_MOUNTS) != 0 and libc.unshare(most) != 0:
            return
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            Path(f"/proc/self/{name}").write_text(text)
        if folder is not None:
            options = f"size={LARGEST_FOLDER},nr_inodes={MOST_FILES},mode=700".encode()
            libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", NO_PROGRAMS, options)
    except (OSError, AttributeError):
        pass  # an unmapped user has even fewer rights, which is fine
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # again: a change of the user may have undone it
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # if the waiting parent dies, so does this process with its tree


def limit_resources(memory: int, seconds: float) -> None:
    """Limit the resources that this process may use from now on.

    Args:
        memory: the bytes on top of the current use (torch alone takes several hundred megabytes).
        seconds: the seconds of processor time.
    """
    if resource is None:
        return
    limits = {
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": LARGEST_FILE,
        "RLIMIT_NOFILE": MOST_OPEN,
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
    """This process's private memory in bytes, as counted by Linux for RLIMIT_DATA; None on other systems."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData"))
    except (OSError, StopIteration):
        return None


def readable_places(allow_library: bool) -> tuple[list[Path], list[Path]]:
    """The paths that a worker may read: (Python, its packages and shared libraries; folders that it may only list).

    Args:
        allow_library: whether llmasos is included. The course never is.
    """
    root = Path(__file__).resolve().parents[2]
    places = {*sysconfig.get_paths().values(), *filter(None, sys.path), *site.getsitepackages()}
    places = {Path(place).resolve() for place in places if "include" not in place}
    places = {place for place in places if place.exists() and place not in (root, *root.parents)}
    readable, listable = [], []
    for place in places:
        names = {"llmasos", "lessons"} & {path.name for path in place.iterdir()} if place.is_dir() else set()
        readable += [path for path in place.iterdir() if path.name not in names] if names else [place]
        listable += [place] if names else []
    system = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/etc/ld.so.cache"]
    system += [*DEVICES, sys.base_prefix + "/lib", sys.prefix + "/lib"]
    system = [Path(path) for path in system if root not in (Path(path), *Path(path).parents) or sys.prefix in path]
    return readable + system + [root / "llmasos"] * allow_library, listable


def confine(folder: Path, allow_library: bool) -> None:
    """Permanently give up every right that no exercise needs.

    Args:
        folder: the folder in which the code may read and write.
        allow_library: whether the code may import llmasos.
    """
    readable, listable = readable_places(allow_library)
    layers = os.environ.get("LLMASOS_LESSONS_LAYERS", "kernel python")
    confined = "kernel" in layers and confinement.restrict_files(readable, listable, [folder])
    if "kernel" in layers or "seccomp" in layers:
        confinement.refuse_system_calls()
    if "python" in layers:
        close_doors(folder, [*readable, *listable], [Path(__file__).resolve().parents[1]], confined)


def close_doors(folder: Path, readable: list[Path], hidden: list[Path], confined: bool) -> None:
    """Make Python refuse every operation that no exercise needs, whether or not it reports them to audit hooks.

    Args:
        folder: the folder in which the code may read and write.
        readable: the paths that it may read.
        hidden: the exceptions inside `readable`.
        confined: whether the kernel, too, restricts files. If not, the machine code of packages stays out.
    """
    decide = decision(folder, readable, hidden, confined)

    def check(path: Any, writing: bool) -> None:
        if reason := decide("open", (path, "w" if writing else "r", 0)):
            raise SandboxViolation(f"the code tried to {reason}")

    def hook(event: str, args: tuple, decide=decide, base=BaseException, violation=SandboxViolation) -> None:
        try:
            reason = decide(event, args)
        except base:  # the code is at the limit of its recursion, or has redefined what a path is
            reason = "do something that cannot be checked; an exercise should only compute"
        del decide, args  # a traceback shows this frame to the code
        if reason:
            raise violation("the code tried to " + reason)

    doors = UNREPORTED if confined else UNREPORTED | UNREPORTED_REACH
    substitutes = {(owner, name): refusal_of(name) for owner, names in doors.items() for name in names.split()}
    for owner, names in OPENERS.items():
        for name in names.split():  # the checked one leads to the original, which the code could find
            substitutes[owner, name] = checked_opener(owner, name, check) if confined else refusal_of(name)
    replace_everywhere(substitutes)
    sys.addaudithook(hook)


def decision(folder: Path, readable: list[Path], hidden: list[Path], confined: bool) -> Callable[[str, tuple], str]:
    """Make the function that says what is wrong with an operation, given Python's audit event; "" if nothing is.

    Code in the same process can change modules, built-in names and the attributes of functions. So everything that the
    decision uses is a local variable of this call, no frame or function of which the code ever gets hold of.
    """
    home, separator, null = os.path.realpath(folder), os.sep, os.devnull
    both = {str(path) for path in readable} | {os.path.realpath(path) for path in readable}
    places, closed = (*both, home), tuple(os.path.realpath(path) for path in hidden)
    refused, writing_events, reading_events = dict(REFUSED_EVENTS), frozenset(WRITING_EVENTS), frozenset(READING_EVENTS)
    to_change = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    written, most, compute = itertools.count(1), MOST_FILES, "; an exercise should only compute"
    full_path, is_folder = (os.path.realpath if os.name == "nt" else None), os.path.isdir
    a_type, text, data, number, is_a, following = type, str, bytes, int, isinstance, next
    with_machine_code = None if confined else tuple(machine_code_needed())

    def within(path: str, places: tuple[str, ...]) -> bool:
        for place in places:
            if path == place or path.startswith(place.rstrip(separator) + separator):
                return True
        return False

    def plain(path: Any) -> str | None:
        """A path as text, without calling any method that the code may have defined; None if there is no name."""
        if is_a(path, data):
            path = data.decode(path, "utf-8", "surrogateescape")
        elif confined and a_type(path).__module__.startswith("pathlib"):
            path = text(path)
        if not is_a(path, text):
            return None
        return text.encode(path, "utf-8", "surrogatepass").decode("utf-8", "surrogatepass")

    def absolute(path: str) -> str:
        """From the text alone: the code can neither create links nor leave its folder."""
        if full_path is not None:
            return full_path(path)
        parts: list[str] = []
        for part in (path if path[:1] == "/" else home + "/" + path).split("/"):
            if part == "..":
                del parts[-1:]
            elif part not in ("", "."):
                parts.append(part)
        return "/" + "/".join(parts)

    def check(path: Any, writing: bool, to_stay: bool = False) -> str:
        """`to_stay`: whether other paths will be relative to this one."""
        if path is None or a_type(path) is number:
            return ""
        asked = plain(path)
        if asked is None:
            return "open a file without a name"
        real = absolute(asked)
        if within(real, (home,)):
            return f"write more than {most} files" if writing and following(written) > most else ""
        allowed = real == null if writing else within(real, places) and not within(real, closed)
        if allowed and not (to_stay and is_folder(real)):
            return ""
        return f"{'write to' if writing else 'read'} {asked}, outside its own folder"

    def decide(event: str, args: tuple) -> str:
        if event == "open":
            mode, flags = args[1], args[2]
            if a_type(flags) is not number:
                return "open a file in an unknown way"
            changes = flags & to_change != 0 or (a_type(mode) is text and mode.strip("rbtU") != "")
            return check(args[0], changes, to_stay=True)
        if event in refused:
            return refused[event] + compute
        if event.startswith("ctypes."):
            return "call into a C library" + compute
        if event == "import" and args[1] is not None:
            name = plain(args[1])
            if name is None or within(absolute(name), (home,)):
                return "load a C library" + compute
            if with_machine_code is not None and not within(absolute(name), with_machine_code):
                return f"load {args[0]}, whose machine code nothing restricts on this system"
        elif event in writing_events:
            return check(args[0], True) or (check(args[1], True) if event in ("os.rename", "shutil.move") else "")
        elif event in reading_events:
            return check(args[0], False, to_stay=event == "os.chdir")
        return ""

    return decide


def machine_code_needed() -> set[str]:
    """Where the machine code of the standard library, of torch and of what belongs to it is."""
    packages = [sys.modules[name].__file__ for name in ("torch", "numpy") if name in sys.modules]
    folders = [
        Path(file).parent.with_name(name) for file in packages for name in ("torch", "functorch", "numpy", "scipy")
    ]
    folders += [path.with_name(path.name + ".libs") for path in folders]
    folders += [Path(sysconfig.get_path("stdlib")) / "lib-dynload", Path(sys.base_prefix) / "DLLs"]
    return {str(path) for path in folders} | {os.path.realpath(path) for path in folders}


def refusal_of(name: str) -> Callable[..., Any]:
    """Make a function that only raises the refusal."""

    def refuse(*args: Any, **kwargs: Any):
        raise SandboxViolation(f"the code tried to use {name}, which no exercise needs")

    return refuse


def checked_opener(owner: str, name: str, check: Callable[[Any, bool], None]) -> Callable[..., Any]:
    """Wrap a function so that the file which it is asked to open is checked first."""
    original = getattr(find_owner(owner), name, None)

    def opener(file: Any, *args: Any, **kwargs: Any):
        if isinstance(file, str | bytes | os.PathLike):
            check(file, name.endswith("Writer"))
        return original(file, *args, **kwargs)

    return opener


def find_owner(owner: str) -> Any:
    """The module, class or namespace with this name; None if this system has none."""
    try:
        return sys.modules.get(owner) or importlib.import_module(owner)
    except ImportError:
        first, *rest = owner.split(".")
        return functools.reduce(lambda place, name: getattr(place, name, None), rest, sys.modules.get(first))


def replace_everywhere(substitutes: dict[tuple[str, str], Callable[..., Any]]) -> None:
    """Replace each function, given as (owner, name), by its substitute, in every module that refers to it."""
    by_original: dict[int, Callable[..., Any]] = {}
    for (owner, name), substitute in substitutes.items():
        place = find_owner(owner)
        original = getattr(place, name, None)
        if original is None:
            continue
        by_original[id(original)] = substitute
        try:
            setattr(place, name, substitute)
        except (TypeError, AttributeError):  # a class written in C, or an object of one
            kind = place if isinstance(place, type) else type(place)
            gc.get_referents(vars(kind))[0][name] = staticmethod(substitute)
            ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))
    for module in list(sys.modules.values()):
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if callable(value) and id(value) in by_original:
                setattr(module, name, by_original[id(value)])


def refusal_in(error: BaseException) -> str | None:
    """The message of an exception that reports a refusal by the kernel or by this module; None for any other one."""
    text = " ".join(str(error).split())
    if isinstance(error, SandboxViolation):
        return text
    if isinstance(error, OSError) and error.errno in USED_UP:
        return f"it {USED_UP[error.errno]}; an exercise should only compute"
    if isinstance(error, PermissionError) or any(words in text for words in REFUSALS):
        return f"the system refused what the code tried to do ({text[:200]}); an exercise should only compute"
    return None
