"""Checks of software: Python, the required and optional packages, a C++ compiler. Does not import torch itself."""

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

from llmasos.console import command
from llmasos.tools.doctor.check import OK, PROBLEM, WARNING, Check, reason

OLDEST_PYTHON = "3.10"
# As in pyproject.toml; "" = any version. torch 2.9 is the first release with torch.optim.Muon.
REQUIRED = {"torch": "2.9", "numpy": "", "tiktoken": "", "tqdm": "", "jinja2": "3.1.6"}
OPTIONAL = {
    "tensorboard": "training curves (tensorboard --logdir runs)",
    "matplotlib": "plots in the lessons",
    "pillow": "your own pictures, if they are not .npy files",
    "pytest": "running the tests",
    "transformers": "tests against the reference models and tokenizers",
    "tokenizers": "tests, and the baseline of the BPE benchmark",
    "safetensors": "tests, and the baseline of the loading benchmark",
    "sacrebleu": "tests against the reference BLEU and chrF",
    "ruff": "linting and formatting",
}
COMPILERS = ("c++", "g++", "clang++", "cl")  # torch.compile generates C++ on a CPU and needs one of these
COMPILER_ADVICE = "apt install g++ (Linux), xcode-select --install (macOS) or Visual Studio's Build Tools (Windows)"
COMPILE_SECONDS = 120
# Runs in a process of its own, because a compiler may hang or crash the process.
COMPILE_TRIAL = """
import sys, torch
device = sys.argv[1]
model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.GELU()).to(device)
try:
    torch.compile(model)(torch.ones(4, 8, device=device)).sum().backward()
except Exception as error:
    sys.exit((str(error).strip() or type(error).__name__).splitlines()[0])
"""


def required() -> Iterator[Check]:
    """Python and the packages the library cannot work without."""
    version = platform.python_version()
    if version_tuple(version) < version_tuple(OLDEST_PYTHON):
        advice = f"install Python {OLDEST_PYTHON} or newer and create a new virtual environment with it"
        yield Check("python", PROBLEM, f"{version}; at least {OLDEST_PYTHON} is required", advice)
    else:
        yield Check("python", OK, f"{version}, {sys.executable}")
    for package, oldest in REQUIRED.items():
        yield check_package(package, oldest)


def check_package(package: str, oldest: str) -> Check:
    """Whether a required package is installed, recent enough, and can be imported."""
    requirement = f"{package}>={oldest}" if oldest else package
    install = f'{os.path.basename(sys.executable)} -m pip install "{requirement}"'
    version = installed_version(package)
    if version is None:
        return Check(package, PROBLEM, "not installed", install)
    if version_tuple(version) < version_tuple(oldest):
        return Check(package, PROBLEM, f"{version}; at least {oldest} is required", install)
    try:
        importlib.import_module(package)
    except Exception as error:  # a broken installation can fail in any way, for example for a missing shared library
        value = f"{version} is installed but cannot be imported: {reason(error)}"
        return Check(package, PROBLEM, value, f"{install} --force-reinstall")
    return Check(package, OK, version)


def optional() -> Iterator[Check]:
    """The optional packages, and what each is for."""
    for package, purpose in OPTIONAL.items():
        if version := installed_version(package):
            yield Check(package, OK, f"{version}, for {purpose}")
        else:
            yield Check(package, WARNING, f"not installed; only for {purpose}", f"pip install {package}")


def compiler(device: str, try_it: bool) -> Iterator[Check]:
    """Whether there is a C++ compiler, and whether torch.compile works with it.

    Args:
        device: "cpu", "cuda" or "mps": what to compile for.
        try_it: whether to compile a small model, which takes between a few seconds and a minute.
    """
    path = find_compiler()
    if path is None:
        value = f"no C++ compiler: {command('train', '--compile')} would train without compiling"
        yield Check("compiler", WARNING, value, COMPILER_ADVICE)
        return
    untried = "" if try_it else "; python -m llmasos doctor --full tries torch.compile with it"
    yield Check("compiler", OK, path + untried)
    if try_it:
        print(f"  … trying torch.compile on {device} (at most {COMPILE_SECONDS} s)", file=sys.stderr, flush=True)
        failure = compile_failure(device)
        advice = "train without --compile; the results are the same, training is only slower" if failure else ""
        value = f"does not work on {device}: {failure}" if failure else f"works on {device}: use it with --compile"
        yield Check("torch.compile", WARNING if failure else OK, value, advice)


def find_compiler() -> str | None:
    """The path of the C++ compiler: the one $CXX names, or the first that is installed."""
    return next((path for name in (os.environ.get("CXX"), *COMPILERS) if name and (path := shutil.which(name))), None)


def compile_failure(device: str, seconds: float = COMPILE_SECONDS) -> str | None:
    """Compile a small model for a device, forward and backward. Returns why that fails, or None."""
    environment = {**os.environ, "TORCHINDUCTOR_COMPILE_THREADS": "1"}  # no pool of workers that might outlive it
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


def version_tuple(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, for comparison.

    >>> version_tuple("2.13.0+cpu"), version_tuple("2.9") < version_tuple("2.13"), version_tuple("")
    ((2, 13, 0), True, ())
    """
    numbers = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, numbers[0].split("."))) if numbers else ()
