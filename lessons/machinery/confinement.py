"""Permanent restrictions by the Linux kernel: Landlock for files and connections, seccomp for system calls.

Python's own checks (`sandbox.py`) see only what Python does. These two also apply to machine code. Neither needs any
privileges or can be undone, and both fail with "Permission denied" or "Operation not permitted".

Sources: the kernel's documentation, userspace-api/landlock and userspace-api/seccomp_filter.
"""

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # Landlock's system calls, the same numbers on all machines
WRITE_FILE, READ_FILE, READ_DIR = 2, 4, 8
FILE_RIGHTS = WRITE_FILE | READ_FILE | 1 << 14 | 1 << 15  # and truncate, ioctl: what applies to single files
RIGHTS_BY_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
OF_DEVICES = 1 << 6 | 1 << 11  # make character and block devices: never allowed
CONNECTIONS, SCOPES = 3, 3  # TCP bind and connect (version 4); abstract sockets and signals (version 6)

# System calls that no exercise needs: number on x86_64, on aarch64 (None: not available there).
REFUSED_CALLS: dict[str, tuple[int | None, int | None]] = {
    # other programs, processes and threads
    "clone": (56, 220), "fork": (57, None), "vfork": (58, None), "clone3": (435, 435), "execve": (59, 221),
    "execveat": (322, 281), "unshare": (272, 97), "setns": (308, 268), "ptrace": (101, 117), "kcmp": (312, 272),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "process_madvise": (440, 440),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "kill": (62, 129), "tkill": (200, 130),
    "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424), "setpriority": (141, 140), "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119), "sched_setparam": (142, 118), "sched_setattr": (314, 274),
    "setpgid": (109, 154), "setsid": (112, 157),
    # connections and shared memory
    "socket": (41, 198), "socketpair": (53, 199), "bind": (49, 200), "connect": (42, 203), "shmget": (29, 194),
    "shmat": (30, 196), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180), "memfd_create": (319, 279),
    "memfd_secret": (447, 447), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # not covered by Landlock: names, owners, modes and times of others' files, devices, mounts
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "mknod": (133, None), "mknodat": (259, 33), "open_by_handle_at": (304, 265), "flock": (73, 32),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "mount_setattr": (442, 442), "swapon": (167, 224),
    "fanotify_init": (300, 262), "inotify_add_watch": (254, 27), "quotactl": (179, 60),
    # the system itself
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "add_key": (248, 217),
    "request_key": (249, 218), "keyctl": (250, 219), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "reboot": (169, 142), "sethostname": (170, 161),
    "setdomainname": (171, 162), "settimeofday": (164, 170), "clock_settime": (227, 112), "acct": (163, 89),
    "syslog": (103, 116), "personality": (135, 92), "setuid": (105, 146), "setgid": (106, 144),
    "setresuid": (117, 147), "setresgid": (119, 149), "setgroups": (116, 159), "capset": (126, 91),
    "setrlimit": (160, 164),
}  # fmt: skip
# Refused only with certain arguments: the numbers, which argument, its mask, its value (None: any value except 0).
REFUSED_WITH = {
    "prlimit64": ((302, 261), 2, 0xFFFFFFFF, None),  # to set new limits
    "mmap": ((9, 222), 3, 0x21, 0x21),  # shared and anonymous memory does not count towards the limit on private memory
}
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above; AUDIT_ARCH_…


def landlock_version() -> int:
    """This kernel's version of Landlock; 0 if it has none."""
    if not sys.platform.startswith("linux"):
        return 0
    version = ctypes.CDLL(None).syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    return max(0, int(version))


def missing() -> list[str]:
    """Which of the two are unavailable on this system."""
    names = [] if landlock_version() else ["Landlock"]
    if not (sys.platform.startswith("linux") and platform.machine() in ARCHITECTURES):
        return [*names, "seccomp"]
    return names if Path("/proc/sys/kernel/seccomp/actions_avail").exists() else [*names, "seccomp"]


def restrict_files(readable: Iterable[Path], listable: Iterable[Path], writable: Iterable[Path]) -> bool:
    """Allow this process only these files from now on, and no TCP connections. Returns whether the kernel can do so.

    Args:
        readable: the files and folders that it may read, including their contents.
        listable: the folders that it may list, without reading their contents.
        writable: the folders in which it may do anything except make devices.
    """
    version = landlock_version()
    if not version:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    handled = RIGHTS_BY_VERSION[min(version, 5)]
    rules = struct.pack("QQQ", handled, CONNECTIONS if version >= 4 else 0, SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = libc.syscall(CREATE_RULESET, ctypes.c_char_p(rules), ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return False
    wishes = [(path, READ_FILE | READ_DIR) for path in readable]
    wishes += [(path, READ_DIR) for path in listable] + [(path, handled & ~OF_DEVICES) for path in writable]
    for path, rights in wishes:
        try:
            file = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # the path does not exist
        rights &= handled if path.is_dir() else handled & FILE_RIGHTS
        rule = struct.pack("=Qi", rights, file)
        libc.syscall(ADD_RULE, ruleset, 1, ctypes.c_char_p(rule), 0)
        os.close(file)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    done = libc.syscall(RESTRICT_SELF, ruleset, 0) == 0
    os.close(ruleset)
    return done


def refuse_system_calls() -> bool:
    """Make the kernel refuse REFUSED_CALLS to this process from now on. Returns whether it can do so."""
    if not sys.platform.startswith("linux") or platform.machine() not in ARCHITECTURES:
        return False
    program = filter_program(platform.machine())
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_char_p(header), 0, 0) == 0


def filter_program(machine: str) -> bytes:
    """The filter as a classic BPF program, which reads struct seccomp_data {nr, arch, ip, args[6]}."""
    load, equal, at_least, bit_and, answer = 0x20, 0x15, 0x35, 0x54, 0x06
    allow, refuse, kill = 0x7FFF0000, 0x00050001, 0x80000000  # …, errno 1 (EPERM), the whole process

    def step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("HBBI", code, if_true, if_false, value)

    column, architecture = ARCHITECTURES[machine]
    steps = [step(load, 4), step(equal, architecture, 1, 0), step(answer, kill), step(load, 0)]
    if machine == "x86_64":
        steps += [step(at_least, 0x40000000, 0, 1), step(answer, refuse)]  # the x32 numbers
    for numbers in REFUSED_CALLS.values():
        if numbers[column] is not None:
            steps += [step(equal, numbers[column], 0, 1), step(answer, refuse)]
    for numbers, argument, mask, value in REFUSED_WITH.values():
        if value is None:  # both halves of the argument must be 0
            halves = [[step(equal, 0, 1, 0), step(answer, refuse)]] * 2
        else:
            halves = [[step(equal, value, 0, 1), step(answer, refuse)]]
        test = []
        for half, then in enumerate(halves):
            test += [step(load, 16 + 8 * argument + 4 * half), step(bit_and, mask), *then]
        steps += [step(equal, numbers[column], 0, len(test) + 1), *test, step(answer, allow)]
    return b"".join([*steps, step(answer, allow)])
