"""Hostile submissions: none reads, writes, starts or finds anything outside its own folder.

Each attack is the body of an exercise; it raises "REACHED" after doing what should be impossible. All run in one
worker, once with all protection that the system offers, and once with only Python's own checks, as on Windows.
"""

import ast

import pytest
from lessons_helpers import tiny_lesson

from lessons.machinery import confinement, runner
from lessons.machinery.case_source import names_defined
from lessons.machinery.discovery import Lesson, lessons
from lessons.machinery.runner import pack, run_file
from lessons.machinery.worker import unpack

READS = {
    "open": "open(SECRET).read()",
    "a name that changes": "class P:\n    def __fspath__(self): return SECRET\nopen(P()).read()",
    "a text with methods of its own": "class S(str):\n    def startswith(self, *a): return True\n"
    "open(S(SECRET)).read()",
    "dots": "open('../' * 9 + SECRET).read()",
    "os.open": "import os\nos.read(os.open(SECRET, os.O_RDONLY), 9)",
    "posix.open": "import posix\nposix.read(posix.open(SECRET, 0), 9)",
    "io.FileIO": "import _io\n_io.FileIO(SECRET).read()",
    "open_code": "import io\nio.open_code(SECRET).read()",
    "torch.from_file": "torch.from_file(SECRET, shared=False, size=6, dtype=torch.uint8)",
    "aten.from_file": "torch.ops.aten.from_file(SECRET, False, 6, dtype=torch.uint8)",
    "a storage": "torch.UntypedStorage.from_file(SECRET, False, 6)",
    "torch._C.StorageBase": "torch._C.StorageBase.from_file(SECRET, False, 6)",
    "torch.load": "torch.load(SECRET_PT)",
    "torch._C.PyTorchFileReader": "torch._C.PyTorchFileReader(SECRET_PT)",
    "torch.jit.load": "torch.jit.load(SECRET_PT)",
    "numpy.memmap": "import numpy\nnumpy.memmap(SECRET, mode='r')",
    "numpy.fromfile": "import numpy\nnumpy.fromfile(SECRET, dtype='u1')",
    "sqlite3": "import sqlite3\nsqlite3.connect(SECRET).execute('pragma user_version')",
    "fileinput": "import fileinput\nlist(fileinput.input(SECRET))",
    "linecache": "import linecache\nassert linecache.getlines(SECRET)",
    "importlib": "import importlib.util\nm = importlib.util.spec_from_file_location('m', SECRET)\n"
    "m.loader.exec_module(importlib.util.module_from_spec(m))",
    "runpy": "import runpy\nrunpy.run_path(SECRET)",
    "zipimport": "import zipimport\nzipimport.zipimporter(SECRET_ZIP)",
    "os.listdir": "import os\nassert os.listdir(VICTIM)",
    "os.scandir": "import os\nassert list(os.scandir(VICTIM))",
    "a link": "import os\nos.symlink(SECRET, 'link')\nopen('link').read()",
    "a hard link": "import os\nos.link(SECRET, 'hard')\nopen('hard').read()",
    "/proc/self/mem": "open('/proc/self/mem', 'rb').seek(1)",
    "/proc/self/environ": "assert open('/proc/self/environ').read()",
    "/proc/1/root": "open('/proc/self/root' + SECRET).read()",
    "the environment": "import os\nassert {'USER', 'EXTRA_SECRET'} & {*os.environ}",
    "mmap of a file": "import mmap, os\nmmap.mmap(os.open(SECRET, 0), 0, prot=mmap.PROT_READ)",
    "zipfile": "import zipfile\nzipfile.ZipFile(SECRET_ZIP)",
    "gzip": "import gzip\ngzip.open(SECRET).fileobj.read()",
    "shutil.copy": "import shutil\nshutil.copy(SECRET, 'copy')",
    "tarfile": "import tarfile\ntarfile.open('a.tar', 'w').add(SECRET)",
    "numpy.load": "import numpy\nnumpy.load(SECRET, allow_pickle=True)",
    "numpy.loadtxt": "import numpy\nnumpy.loadtxt(SECRET, dtype=str)",
    "os.rename into the folder": "import os\nos.rename(SECRET, 'mine')",
    "dir_fd": "import os\nd = os.open(VICTIM, os.O_RDONLY)\nos.open('secret.py', os.O_RDONLY, dir_fd=d)",
    "os.fwalk": "import os\nassert [f for _, _, f, _ in os.fwalk(VICTIM)][0]",
    "glob": "import glob\nassert glob.glob(VICTIM + '/*')",
    "pathlib": "import pathlib\npathlib.Path(SECRET).read_bytes()",
    "chdir": "import os\nos.chdir(VICTIM)\nopen('secret.py').read()",
    "readline": "import readline\nreadline.read_history_file(SECRET)",
    "ssl": "import ssl\n"
    "try: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(SECRET)\n"
    "except ssl.SSLError: pass",
    "sendfile": "import os\nos.sendfile(os.open('mine', os.O_RDWR | os.O_CREAT), os.open(SECRET, 0), 0, 9)",
    "any patched": "import builtins\n"
    "kept = builtins.any\n"
    "builtins.any = lambda x: True\n"
    "try: open(SECRET).read()\n"
    "finally: builtins.any = kept",
    "the hook's own functions": "try: open(SECRET)\n"
    "except OSError as e:\n"
    "    t = e.__traceback__\n"
    "    while t:\n"
    "        if 'within' in t.tb_frame.f_globals: t.tb_frame.f_globals['within'] = lambda *a: True\n"
    "        t = t.tb_next\n"
    "open(SECRET).read()",
    "the hook's own cells": "try: open(SECRET)\n"
    "except OSError as e:\n"
    "    t = e.__traceback__\n"
    "    while t:\n"
    "        for v in list(t.tb_frame.f_locals.values()):\n"
    "            for c in getattr(v, '__closure__', None) or ():\n"
    "                if type(c.cell_contents) is tuple: c.cell_contents = ('/',)\n"
    "                if type(c.cell_contents) is str: c.cell_contents = '/'\n"
    "        t = t.tb_next\n"
    "open(SECRET).read()",
    "the hook's own code": "try: open(SECRET)\n"
    "except OSError as e:\n"
    "    t = e.__traceback__\n"
    "    while t:\n"
    "        for v in [*t.tb_frame.f_locals.values(), *t.tb_frame.f_globals.values()]:\n"
    "            if getattr(v, '__name__', '') in ('check', 'within', 'plain', 'decide'):\n"
    "                v.__code__ = (lambda *a: 1).__code__\n"
    "        t = t.tb_next\n"
    "open(SECRET).read()",
    "os.name patched": "import os, os.path\n"
    "os.name, kept = 'nt', os.path.realpath\n"
    "os.path.realpath = lambda p, **k: os.getcwd() + '/a'\n"
    "try: open(SECRET).read()\n"
    "finally: os.name, os.path.realpath = 'posix', kept",
    "safetensors": "from safetensors import safe_open, SafetensorError\n"
    "try: safe_open(SECRET, 'pt')\n"
    "except SafetensorError: pass",
    "inherited descriptors": "import os\n"
    "def readable(n):\n"
    "    try: return os.pread(n, 1, 0)\n"
    "    except OSError: return b''\n"
    "assert any(readable(n) for n in range(3, 200))",
}  # fmt: skip
WRITES = {
    "open": "open(VICTIM + '/new', 'w')",
    "to delete": "import os\nos.remove(SECRET)",
    "os.open with O_TRUNC": "import os\nos.open(SECRET, os.O_RDONLY | os.O_TRUNC)",
    "os.open with O_CREAT": "import os\nos.open(VICTIM + '/new', os.O_RDONLY | os.O_CREAT)",
    "posix.open": "import posix, os\nposix.open(SECRET, os.O_WRONLY)",
    "truncate": "import os\nos.truncate(SECRET, 0)",
    "rename": "import os\nos.rename(SECRET, SECRET + '2')",
    "mkdir": "import os\nos.mkdir(VICTIM + '/new')",
    "chmod": "import os\nos.chmod(SECRET, 0)",
    "utime": "import os\nos.utime(SECRET, (0, 0))",
    "mkfifo": "import os\nos.mkfifo(VICTIM + '/new')",
    "posix.mkfifo": "import posix\nposix.mkfifo(VICTIM + '/new')",
    "mknod": "import os\nos.mknod(VICTIM + '/new')",
    "torch.save": "torch.save(torch.ones(2), VICTIM + '/new')",
    "torch._C.PyTorchFileWriter": "torch._C.PyTorchFileWriter(VICTIM + '/new')",
    "torch.from_file": "torch.from_file(VICTIM + '/new', shared=True, size=6, dtype=torch.uint8).fill_(0)",
    "torch.jit.save": "torch.jit.script(torch.nn.Linear(1, 1)).save(VICTIM + '/new')",
    "numpy.save": "import numpy\nnumpy.save(VICTIM + '/new', numpy.ones(2))",
    "numpy.tofile": "import numpy\nnumpy.ones(2).tofile(VICTIM + '/new')",
    "numpy.memmap": "import numpy\nnumpy.memmap(VICTIM + '/new', mode='w+', shape=9)",
    "sqlite3": "import sqlite3\nsqlite3.connect(VICTIM + '/new').execute('create table t(a)')",
    "_sqlite3": "import _sqlite3\n_sqlite3.connect(VICTIM + '/new').execute('create table t(a)')",
    "dbm": "import dbm\ndbm.open(VICTIM + '/new', 'c')",
    "logging": "import logging\nlogging.FileHandler(VICTIM + '/new')",
    "shutil": "import shutil\nshutil.rmtree(VICTIM)",
    "/dev/shm": "open('/dev/shm/llmasos-was-here', 'w')",
    "memory to share": "import mmap\nmmap.mmap(-1, 4096)",
    "shared memory": "from multiprocessing import shared_memory\nshared_memory.SharedMemory(create=True, size=9)",
    "memfd": "import os\nos.memfd_create('x')",
    "share_memory_": "torch.ones(2).share_memory_()",
    "os.devnull patched": "import os\n"
    "kept, os.devnull = os.devnull, VICTIM + '/new'\n"
    "try: open(VICTIM + '/new', 'w')\n"
    "finally: os.devnull = kept",
    "chdir to Python's own": "import os, torch\n"
    "os.chdir(os.path.dirname(torch.__file__))\n"
    "open('llmasos_was_here.txt', 'w')",
    "dir_fd of Python's own": "import os, torch\n"
    "d = os.open(os.path.dirname(torch.__file__), os.O_RDONLY)\n"
    "os.open('llmasos_was_here.txt', os.O_WRONLY | os.O_CREAT, dir_fd=d)",
    "tempfile": "import tempfile\ntempfile.NamedTemporaryFile(dir=VICTIM)",
    "shutil.move": "import shutil\nopen('f', 'w').close()\nshutil.move('f', VICTIM)",
    "os.replace": "import os\nopen('f', 'w').close()\nos.replace('f', SECRET)",
    "os.link out": "import os\nopen('f', 'w').close()\nos.link('f', VICTIM + '/new')",
    "ssl's key log": "import ssl\n"
    "ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).keylog_filename = VICTIM + '/new'\n"
    "import os\n"
    "assert os.path.exists(VICTIM + '/new')",
    "readline": "import readline\nreadline.add_history('x')\nreadline.write_history_file(VICTIM + '/new')",
    "torch's profiler": "import torch.profiler\n"
    "with torch.profiler.profile() as p: torch.ones(2) + 1\n"
    "p.export_chrome_trace(VICTIM + '/new.json')\n"
    "import os\n"
    "assert os.path.exists(VICTIM + '/new.json')",
    "FileStore": "import torch.distributed as d\nd.FileStore(VICTIM + '/new', 1).set('a', 'b')",
    "zipfile": "import zipfile\nzipfile.ZipFile(VICTIM + '/new.zip', 'w')",
    "tokenizers": "import tokenizers\ntokenizers.Tokenizer(tokenizers.models.BPE()).save(VICTIM + '/new')",
    "safetensors": "from safetensors.torch import save_file\n"
    "save_file({'a': torch.ones(1)}, VICTIM + '/new')",
    "np.dump": "import numpy\nnumpy.ones(2).dump(VICTIM + '/new')",
    "xattr": "import os\nos.setxattr(SECRET, 'user.a', b'1')",
}  # fmt: skip
PROGRAMS = {
    "os.system": "import os\nassert os.system('true') == 0",
    "os.popen": "import os\nos.popen('true').read()",
    "subprocess": "import subprocess\nsubprocess.run(['true'])",
    "_posixsubprocess": "import _posixsubprocess as p, os\nr, w = os.pipe()\n"
    "p.fork_exec([b'/bin/true'], [b'/bin/true'], True, (w,), None, None, -1, -1, -1, -1, -1, -1, r, w, False, False, "
    "-1, None, None, None, -1, None, False)",
    "multiprocessing": "import multiprocessing as m\nm.get_context('spawn').Process(target=print).start()",
    "fork": "import os\nif os.fork() == 0: os._exit(0)",
    "forkpty": "import pty\npty.fork()",
    "posix_spawn": "import os\nos.posix_spawn('/bin/true', ['true'], {})",
    "exec": "import os\nos.execv('/bin/true', ['true'])",
    "posix.execv": "import posix\nposix.execv('/bin/true', ['true'])",
    "a thread": "import threading\nthreading.Thread(target=lambda: None, daemon=True).start()",
    "_thread": "import _thread\n_thread.start_new_thread(lambda: None, ())",
    "a pool": "from concurrent.futures import ThreadPoolExecutor\nThreadPoolExecutor().submit(int).result()",
    "torch.ops.load_library": "import glob, torch\ntorch.ops.load_library('/lib/x86_64-linux-gnu/libm.so.6')",
    "ctypes": "import ctypes\nctypes.CDLL(None).getpid()",
    "_ctypes": "import _ctypes\n_ctypes.dlopen(None, 0)",
    "ctypes.pythonapi": "import ctypes\nctypes.pythonapi.Py_IncRef",
    "cffi": "import ctypes\n(ctypes.c_char * 8).from_address(id(None))[0]",
    "a socket": "import socket\nsocket.socket()",
    "a unix socket": "import socket\nsocket.socket(socket.AF_UNIX)",
    "_socket": "import _socket\n_socket.socket(16, 3, 0)",
    "socketpair": "import socket\nsocket.socketpair()",
    "urllib": "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:9')",
    "asyncio": "import asyncio\nasyncio.new_event_loop()",
    "a signal": "import os, signal\nos.kill(os.getppid(), 0)",
    "killpg": "import os\nos.killpg(os.getpgrp(), 0)",
    "its own limits": "import resource as r\nr.setrlimit(r.RLIMIT_CPU, r.getrlimit(r.RLIMIT_CPU))",
    "setsid": "import os\nos.setsid()",
    "nice": "import os\nos.nice(1)",
    "pidfd": "import os, signal\nsignal.pidfd_send_signal(os.pidfd_open(os.getppid()), 0)",
    "posix.kill": "import posix\nposix.kill(posix.getppid(), 0)",
    "pty.spawn": "import pty\npty.spawn('true')",
    "openpty": "import os\nos.openpty()",
    "asyncio's subprocess": "import asyncio\nasyncio.run(asyncio.create_subprocess_exec('true'))",
    "os.posix_spawnp": "import os\nos.posix_spawnp('true', ['true'], {})",
    "spawnv": "import os\nassert os.spawnv(os.P_WAIT, '/bin/true', ['true']) == 0",
    "socketserver": "import socketserver\nsocketserver.TCPServer(('127.0.0.1', 0), None)",
    "getaddrinfo": "import socket\nsocket.getaddrinfo('localhost', 80)",
    "gethostbyname": "import socket\nsocket.gethostbyname('localhost')",
    "os.setpriority": "import os\nos.setpriority(os.PRIO_PROCESS, 0, 5)",
    "sched_setscheduler": "import os\nos.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))",
    "eventfd": "import os\nos.eventfd(0)",
    "killpg of the parent": "import os\nos.killpg(os.getpgid(os.getppid()), 0)",
    "torch.classes.load_library": "import torch\n"
    "torch.classes.load_library('/lib/x86_64-linux-gnu/libm.so.6')",
    "imp.load_dynamic": "import _imp, importlib.machinery as m\n"
    "open('evil.so', 'wb').write(open(torch._C.__file__, 'rb').read(1000))\n"
    "_imp.create_dynamic(m.ModuleSpec('evil', None, origin='evil.so'))",
}  # fmt: skip
REFERENCES = {
    "frames": "f = sys._getframe()\nwhile f:\n    for v in list(f.f_locals.values()) + list(f.f_globals.values()):\n"
    "        assert not hasattr(v, 'reference') and not hasattr(v, 'misconceptions')\n    f = f.f_back\nMISSED",
    "sys.modules": "assert any(n.split('.')[0] in ('llmasos', 'lessons') for n in sys.modules)",
    "importlib": "import importlib\nimportlib.import_module('llma' + 'sos')",
    "importlib, other names": "import importlib._bootstrap as b\nb._gcd_import('lessons.machinery')",
    "a finder": "import importlib.machinery as m\nm.PathFinder.find_spec('llmasos', [ROOT]).loader.get_code('llmasos')",
    "a loader": "import importlib.machinery as m\nm.SourceFileLoader('l', ROOT + '/llmasos/errors.py').load_module()",
    "pkgutil": "import pkgutil\npkgutil.resolve_name('llmasos.nn')",
    "runpy": "import runpy\nrunpy.run_module('llmasos')",
    "the course's files": "open(ROOT + '/lessons/03_attention/checks.py').read()",
    "the library's files": "open(ROOT + '/llmasos/nn/attention.py').read()",
    "gc": "import gc\ngc.get_objects()",
    "gc.get_referrers": "import gc\ngc.get_referrers(int)",
    "the case": "f = sys._getframe()\nwhile 'case' not in f.f_locals: f = f.f_back\n"
    "assert 'misconception' in repr(vars(f.f_locals['case'])) or f.f_locals['case'].judge",
    "subclasses": "assert [c for c in object.__subclasses__() if c.__name__ in ('Misconception',"
    " 'Verdict') and not c.__module__.endswith('exercises')]",
    "a forbidden operator": "q = x.reshape(1, 1, -1, 1)\ntorch.ops.aten.scaled_dot_product_attention(q, q, q)",
    "an overload": "q = x.reshape(1, 1, -1, 1)\ntorch.ops.aten.scaled_dot_product_attention.default(q, q, q)",
    "inside torch": "q = x.reshape(1, 1, -1, 1)\ngetattr(torch._C, '_nn').scaled_dot_product_attention(q, q, q)",
    "the math kernel": "q = x.reshape(1, 1, -1, 1)\ngetattr(torch, '_scaled_dot_product_attention_math')(q, q, q)",
    "kept at import": "q = x.reshape(1, 1, -1, 1)\nKEPT(q, q, q)",
    "kept, guards off": "q = x.reshape(1, 1, -1, 1)\nwith torch._C.DisableTorchFunction():\n    KEPT(q, q, q)",
    "guards taken away": "import torch.overrides\nq = x.reshape(1, 1, -1, 1)\n"
    "mode = torch.overrides._pop_mode()\ntry: KEPT(q, q, q)\nfinally: torch.overrides._push_mode(mode)",
    "subclasses off": "q = x.reshape(1, 1, -1, 1)\nwith torch._C.DisableTorchFunctionSubclass():\n    KEPT(q, q, q)",
}  # fmt: skip
# A compiler is a program. torch.compile falls back to Python where it cannot compile: that it returns proves nothing.
A_PROGRAM_RAN = "import resource\nassert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss"
COMPILERS = {
    "torch.compile": f"torch.compile(lambda x: x.sin().cos())(torch.ones(3))\n{A_PROGRAM_RAN}",
    "torch's C++ cache": "import contextlib\nfrom torch._inductor.codecache import CppCodeCache\n"
    "with contextlib.suppress(Exception):\n"
    f"    CppCodeCache.load('extern \"C\" int f() {{ return 1; }}')\n{A_PROGRAM_RAN}",
    "load_inline": "import contextlib\nfrom torch.utils import cpp_extension\nwith contextlib.suppress(Exception):\n"
    f"    cpp_extension.load_inline('evil', 'int f() {{ return 1; }}', functions=['f'])\n{A_PROGRAM_RAN}",
}  # fmt: skip
ATTACKS = {
    f"{group}: {name}": body
    for group, bodies in (("reads", READS), ("writes", WRITES), ("runs", PROGRAMS), ("finds", REFERENCES))
    for name, body in bodies.items()
}

PYTHON_ONLY = {
    "runs: torch.ops.load_library", "runs: torch.classes.load_library", "runs: eventfd", "runs: ctypes",
    "runs: _ctypes", "runs: cffi", "runs: ctypes.pythonapi",
    "finds: gc",
    "finds: gc.get_referrers",
}  # fmt: skip


def submission(attacks: dict[str, str], folder) -> str:
    """A file with one exercise for each attack, and right solutions before and after them."""
    text = "import sys, torch\nKEPT = torch.nn.functional.__dict__['scaled_dot' + '_product_attention']\n"
    text += f"VICTIM, ROOT = {str(folder)!r}, {str(runner.ROOT)!r}\n"
    text += "SECRET, SECRET_PT, SECRET_ZIP = VICTIM + '/secret.py', VICTIM + '/secret.pt', VICTIM + '/secret.zip'\n"
    for number, body in enumerate(["", *attacks.values(), ""]):
        body = body.replace("\nMISSED", "\nreturn 2 * x")
        reached = "raise ValueError('REACHED')" if body else "return 2 * x"
        lines = "".join(f"    {line}\n" for line in [*body.split("\n"), reached])
        text += f"\ndef f{number}(x):\n{lines}"
    return text


def folder_of_a_victim(folder):
    """Fill a folder with the targets of the attacks."""
    (folder / "secret.py").write_text("SECRET = 1\n")
    for ending in ("pt", "zip"):
        (folder / f"secret.{ending}").write_bytes(b"PK\x05\x06" + bytes(18))
    return folder


def state_of(folder) -> dict[str, object]:
    """Every file in a folder: content, permissions and time."""
    return {
        str(path): (path.read_bytes() if path.is_file() else None, path.lstat().st_mode, path.lstat().st_mtime)
        for path in [folder, *folder.rglob("*")]
    }


LAYERS = [  # each holds on its own
    "kernel",
    "python",
    pytest.param("seccomp python", marks=pytest.mark.slow),
    pytest.param("kernel python", marks=pytest.mark.slow),
]


def what_becomes_of(attacks: dict[str, str], layers: str, folder, lesson_folder):
    """Observe a right exercise, each attack, and another right exercise."""
    names = [f"f{i}" for i in range(len(attacks) + 2)]
    text = submission(attacks, folder)
    path = tiny_lesson(lesson_folder, names)
    checks = path / "checks.py"  # an attack that is stopped for its time proves nothing
    checks.write_text(checks.read_text().replace("seconds=1.0", "seconds=120.0"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "SUBMISSION_SECONDS", 2400)
        patch.setenv("EXTRA_SECRET", "1")
        patch.setenv("LLMASOS_LESSONS_LAYERS", layers)
        if "kernel" in layers and confinement.missing():
            pytest.skip(f"this kernel lacks {confinement.missing()}")
        run = run_file(text, Lesson(path), names)
    assert run.import_failure is None, run.import_failure
    return [run.observations[name][0].failure for name in names]


def assert_nothing_reached(failure, name: str):
    assert failure is None or "REACHED" not in failure.message, name
    assert failure is None or failure.kind not in ("ProcessDied", "TimeLimitExceeded"), f"{name}: {failure}"


@pytest.fixture(scope="module", params=LAYERS)
def attacked(request, tmp_path_factory):
    """The outcome of each attack, and the folder before and after."""
    folder = folder_of_a_victim(tmp_path_factory.mktemp("victim"))
    before = state_of(folder)
    failures = what_becomes_of(ATTACKS, request.param, folder, tmp_path_factory.mktemp("lesson"))
    return request.param, failures, before, state_of(folder)


@pytest.mark.parametrize("number, name", list(enumerate(ATTACKS, 1)), ids=list(ATTACKS))
def test_an_attack_reaches_nothing(attacked, number, name):
    layers, failures, _, _ = attacked
    if layers == "kernel" and name in PYTHON_ONLY:
        pytest.skip("nothing that a kernel could know")
    assert_nothing_reached(failures[number], name)


def test_the_folder_of_others_is_as_it_was(attacked):
    _, failures, before, after = attacked
    assert before == after
    assert failures[0] is failures[-1] is None


@pytest.mark.slow  # importing torch's compiler takes seconds
@pytest.mark.parametrize("layers", ["kernel", "python"])
def test_no_compiler_runs(layers, tmp_path):
    failures = what_becomes_of(COMPILERS, layers, tmp_path, tmp_path)
    for failure, name in zip(failures[1:-1], COMPILERS, strict=True):
        assert_nothing_reached(failure, name)


def test_a_worker_gets_no_answers():
    """The part of `checks.py` for a worker names neither a right or wrong solution of the lesson nor the library."""
    for lesson in lessons():
        secret = {
            getattr(code, "__name__", "")
            for exercise in lesson.exercises
            for code in (
                exercise.reference,
                *exercise.accepted.values(),
                *(code for m in exercise.misconceptions for code in (m.code, *m.variants)),
            )
        }
        for name, source in lesson.case_sources.items():
            tree = ast.parse(source)
            names = set().union(*(names_defined(node) for node in tree.body))
            assert not names & secret, f"{lesson.name}, {name}: move {names & secret} into a judge= (see AUTHORS.md)"
            assert "llmasos" not in source, f"{lesson.name}, {name}: a case uses the library; compute it in judge="
            cases = unpack(pack(lesson.exercise(name), lesson)).cases
            assert [case.inputs.keys() for case in cases] == [c.inputs.keys() for c in lesson.exercise(name).cases]
