"""Is everything installed? Python, the packages that are needed, the extras, and a compiler.

Nothing here imports torch before it has been found to be importable.
"""

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

from llmasos.tools.doctor.check import NOTE, OK, PROBLEM, Finding

OLDEST_PYTHON = "3.10"
# As in pyproject.toml. torch 2.9 is the first with torch.optim.Muon. "" = any version.
REQUIRED = {"torch": "2.9", "numpy": "", "tiktoken": "", "tqdm": ""}
OPTIONAL = {
    "tensorboard": "curves of a run, beside its metrics.jsonl (tensorboard --logdir runs)",
    "matplotlib": "pictures in lessons",
    "pytest": "running our tests",
    "transformers": "the tests that compare models and tokenizers with the ones the world uses",
    "tokenizers": "the same, and the yardstick for BPE in python -m llmasos bench",
    "safetensors": "the tests that compare our files with theirs",
    "sacrebleu": "the tests that compare our BLEU with theirs",
    "ruff": "checking the style of changes",
}

COMPILERS = ("c++", "g++", "clang++", "cl")  # torch.compile writes C++ for a CPU and needs one of them
COMPILER_ADVICE = {
    "Linux": "install one, for example: sudo apt install g++",
    "Darwin": "install Apple's: xcode-select --install",
    "Windows": "install Visual Studio's Build Tools with the workload for C++",
}
COMPILE_SECONDS = 120
# In a process of its own: a compiler may hang or take the process down with it.
COMPILE_TRIAL = """
import sys, torch
device = sys.argv[1]
model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.GELU()).to(device)
try:
    torch.compile(model)(torch.ones(4, 8, device=device)).sum().backward()
except Exception as error:
    sys.exit((str(error).strip() or type(error).__name__).splitlines()[0])
"""


def needed() -> Iterator[Finding]:
    """Python and the packages without which nothing works."""
    version = platform.python_version()
    if numbers(version) < numbers(OLDEST_PYTHON):
        advice = f"install Python {OLDEST_PYTHON} or newer, make a new virtual environment with it, and install again"
        yield Finding("python", PROBLEM, f"{version}; at least {OLDEST_PYTHON} is needed", advice)
    else:
        yield Finding("python", OK, f"{version} (needed: {OLDEST_PYTHON} or newer), {sys.executable}")
    for package, oldest in REQUIRED.items():
        yield check_package(package, oldest)


def check_package(package: str, oldest: str) -> Finding:
    """Whether a needed package is here, new enough, and can be imported."""
    wanted = f"{package}>={oldest}" if oldest else package
    install = f'{os.path.basename(sys.executable)} -m pip install "{wanted}"'
    version = installed_version(package)
    if version is None:
        return Finding(package, PROBLEM, "not installed", install)
    if numbers(version) < numbers(oldest):
        return Finding(package, PROBLEM, f"{version}; at least {oldest} is needed", install)
    try:
        importlib.import_module(package)
    except Exception as error:  # a broken installation fails in any way it likes, a missing shared library for one
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return Finding(
            package, PROBLEM, f"{version} is installed and cannot be imported: {reason}", f"{install} --force-reinstall"
        )
    return Finding(package, OK, version + (f" (needed: {oldest} or newer)" if oldest else ""))


def extras() -> Iterator[Finding]:
    """The packages that only some things want, and what each is for."""
    for package, purpose in OPTIONAL.items():
        version = installed_version(package)
        if version is None:
            yield Finding(package, NOTE, f"not installed; only for: {purpose}", f"pip install {package}")
        else:
            yield Finding(package, OK, f"{version}, for: {purpose}")


def compiler(device: str, try_it: bool) -> Iterator[Finding]:
    """Whether there is a C++ compiler, and whether torch.compile works with it.

    Args:
        device: "cpu", "cuda" or "mps": what to compile for.
        try_it: compile a small model, which takes from a few seconds to a minute.
    """
    path = find_compiler()
    if path is None:
        advice = COMPILER_ADVICE.get(platform.system(), "install g++ or clang++")
        yield Finding("compiler", NOTE, "no C++ compiler, so train.py --compile would go on uncompiled", advice)
        return
    yield Finding("compiler", OK, path)
    if not try_it:
        return
    print(
        f"  … trying torch.compile on {device} in a process of its own (at most {COMPILE_SECONDS} s)",
        file=sys.stderr,
        flush=True,
    )
    reason = compile_failure(device)
    if reason is None:
        yield Finding("torch.compile", OK, f"works on {device}: train.py --compile can be used")
    else:
        yield Finding(
            "torch.compile",
            NOTE,
            f"does not work on {device}: {reason}",
            "leave out --compile; training is the same without it, only slower",
        )


def find_compiler() -> str | None:
    """The path of the C++ compiler: the one that $CXX names, or the first that is installed."""
    return next((path for name in (os.environ.get("CXX"), *COMPILERS) if name and (path := shutil.which(name))), None)


def compile_failure(device: str, seconds: float = COMPILE_SECONDS) -> str | None:
    """Compile a small model for a device, forward and backward. Returns None, or why it does not work."""
    environment = {**os.environ, "TORCHINDUCTOR_COMPILE_THREADS": "1"}  # no pool of helpers that might outlive it
    command = [sys.executable, "-c", COMPILE_TRIAL, device]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=seconds, env=environment
        )
    except subprocess.TimeoutExpired:
        return f"not done after {seconds:g} s"
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"the process ended with status {done.returncode}"])[-1]


def installed_version(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, for comparison.

    >>> numbers("2.13.0+cpu"), numbers("2.9") < numbers("2.13"), numbers("")
    ((2, 13, 0), True, ())
    """
    return tuple(int(part) for part in re.match(r"(?:\d+(?:\.\d+)*)?", version)[0].split(".") if part)
