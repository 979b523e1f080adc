"""The doctor: a working machine is ready, and each problem is named with a fix."""

import hashlib
import json
import re
import types
from pathlib import Path

import pytest
import torch

from llmasos.datasets.catalog import DATASETS
from llmasos.tokenizers import openai
from llmasos.tools import doctor
from llmasos.tools.doctor import files, hardware, software
from llmasos.tools.doctor.check import OK, PROBLEM, WARNING, Check

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")


def find(checks, name: str) -> Check:
    """The only check with that name; a problem must come with advice."""
    [check] = [check for check in checks if check.name == name]
    assert check.status != PROBLEM or check.advice
    return check


def with_versions(monkeypatch, **versions: str | None) -> None:
    """Pretend that these versions of packages are installed (None = not installed)."""
    original = software.installed_version
    monkeypatch.setattr(
        software, "installed_version", lambda name: versions[name] if name in versions else original(name)
    )


@pytest.fixture(autouse=True)
def peak(monkeypatch):
    """Skip the measurement of large matrix products."""
    monkeypatch.setattr(hardware, "matmul_peak", lambda device, precision, seconds: 5e9)


# The whole command


def test_a_machine_that_can_train_is_ready(capsys):
    assert doctor.main([]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[-1].startswith("Ready to train") and "train" in lines[-1].partition("Next:")[2]
    assert not any(line.split()[:1] == [PROBLEM] for line in lines)


def test_the_json_holds_every_section(capsys):
    assert doctor.main(["--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ready"] is True
    names = {check["name"] for section in report["checks"].values() for check in section}
    assert {"python", "torch", "numpy", "tiktoken", "tqdm", "cpu", "threads", "OMP_WAIT_POLICY", "load"} <= names
    assert {"fused attention", "training step", "compiler", "runs", "LLMASOS_DATA", "gpt2 encoding"} <= names
    assert set(software.OPTIONAL) <= names
    assert all(
        set(f) == {"name", "status", "value", "advice"} for section in report["checks"].values() for f in section
    )


def test_the_peaks_are_measured_and_the_compiler_is_tried_if_asked(monkeypatch, capsys):
    monkeypatch.setattr(software, "compile_failure", lambda device: None)
    assert doctor.main(["--full", "--json"]) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]["computing"]
    by_name = {check["name"]: check for check in checks}
    assert by_name["fp32 on cpu"]["status"] == OK and by_name["fp32 on cpu"]["value"].startswith("5 GFLOP/s")
    assert by_name["torch.compile"]["status"] == OK


def test_a_problem_makes_the_exit_status_1_and_is_named_in_the_verdict(monkeypatch, capsys):
    with_versions(monkeypatch, torch="2.8.1")
    assert doctor.main([]) == 1
    out = capsys.readouterr().out
    assert "2.8.1; at least 2.9 is required" in out and 'pip install "torch>=2.9"' in out
    assert out.strip().splitlines()[-1].startswith("Not ready: fix torch")


def test_without_torch_the_checks_that_need_it_are_skipped(monkeypatch, capsys):
    with_versions(monkeypatch, torch=None)
    assert doctor.main(["--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ready"] is False and list(report["checks"]) == ["software", list(report["checks"])[-1]]


def test_warnings_alone_do_not_prevent_training(monkeypatch, capsys):
    monkeypatch.setattr(software, "find_compiler", lambda: None)
    monkeypatch.setattr(hardware, "make_step", lambda config, batch_size, device: lambda: 1.0)
    assert doctor.main([]) == 0
    out = capsys.readouterr().out
    assert "no C++ compiler" in out and "warnings above do not prevent it" in out


# Software


def test_it_requires_what_pyproject_requires():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'requires-python = ">={software.OLDEST_PYTHON}"' in project
    dependencies = re.findall(r'"([^"]+)"', re.search(r"^dependencies = \[(.*)\]$", project, re.MULTILINE)[1])
    assert dependencies == [f"{name}>={oldest}" if oldest else name for name, oldest in software.REQUIRED.items()]


def test_versions_are_compared_as_numbers():
    assert software.version_tuple("2.9.1") < software.version_tuple("2.13.0+cpu") < software.version_tuple("10.0")
    assert software.check_package("torch", "2.9").status == OK


def test_an_old_python_is_a_problem(monkeypatch):
    monkeypatch.setattr(software.platform, "python_version", lambda: "3.9.18")
    check = find(software.required(), "python")
    assert check.status == PROBLEM and "3.9.18" in check.value and "3.10" in check.advice


def test_a_missing_package_is_a_problem_with_the_command_that_installs_it(monkeypatch):
    with_versions(monkeypatch, tiktoken=None)
    check = find(software.required(), "tiktoken")
    assert check.status == PROBLEM and check.value == "not installed" and "pip install" in check.advice


def test_a_package_that_is_installed_and_broken_is_a_problem(monkeypatch):
    def import_module(name):
        raise OSError("libtorch_cpu.so: cannot open shared object file\nmore")

    monkeypatch.setattr(software.importlib, "import_module", import_module)
    check = software.check_package("torch", "2.9")
    assert check.status == PROBLEM and check.value.endswith("libtorch_cpu.so: cannot open shared object file")


def test_an_optional_package_that_is_missing_is_a_warning_with_its_purpose(monkeypatch):
    with_versions(monkeypatch, tensorboard=None)
    check = find(software.optional(), "tensorboard")
    assert check.status == WARNING and "training curves" in check.value and check.advice == "pip install tensorboard"


def test_a_missing_compiler_is_a_warning_and_compiling_is_not_tried(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    [check] = software.compiler("cpu", try_it=True)
    assert check.name == "compiler" and check.status == WARNING and check.advice


def test_the_compiler_named_by_cxx_comes_first(monkeypatch, tmp_path):
    compiler = tmp_path / "my-c++"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    assert software.find_compiler() == str(compiler)


@pytest.mark.parametrize(
    "code, reason",
    [
        ("import sys; print('noise', file=sys.stderr); sys.exit('no such header: omp.h')", "no such header: omp.h"),
        ("import os; os._exit(7)", "the process ended with status 7"),
        ("import time; time.sleep(600)", "not done after 1 s"),
    ],
)
def test_a_compiler_that_fails_dies_or_hangs_is_a_warning_with_the_reason(monkeypatch, code, reason):
    monkeypatch.setattr(software, "COMPILE_TRIAL", code)
    monkeypatch.setattr(software, "find_compiler", lambda: "/usr/bin/c++")
    original = software.compile_failure
    seconds = 1 if "sleep" in code else 300
    monkeypatch.setattr(software, "compile_failure", lambda device: original(device, seconds))
    check = find(software.compiler("cpu", try_it=True), "torch.compile")
    assert check.status == WARNING and check.value == f"does not work on cpu: {reason}"


@pytest.mark.slow
def test_torch_compile_is_really_tried():
    assert software.find_compiler() is None or software.compile_failure("cpu") is None


# The machine


def test_spinning_threads_are_a_warning(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    check = find(hardware.machine(), "OMP_WAIT_POLICY")
    assert check.status == WARNING and check.advice == "export OMP_WAIT_POLICY=PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert find(hardware.machine(), "OMP_WAIT_POLICY").status == OK


def test_more_threads_than_cores_are_a_warning(monkeypatch):
    monkeypatch.setattr(hardware, "usable_cores", lambda: 0.5)
    check = find(hardware.machine(), "threads")
    assert check.status == WARNING and check.advice == "export OMP_NUM_THREADS=1"


def test_cores_left_idle_by_omp_num_threads_are_a_warning(monkeypatch):
    monkeypatch.setattr(hardware, "usable_cores", lambda: torch.get_num_threads() + 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert find(hardware.machine(), "threads").status == OK  # torch takes half the cores where two share one
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert find(hardware.machine(), "threads").status == WARNING


def test_a_busy_machine_is_a_warning_and_a_quiet_one_is_not(monkeypatch):
    monkeypatch.setattr(hardware, "usable_cores", lambda: 4)
    monkeypatch.setattr(hardware.os, "getloadavg", lambda: (3.2, 0.0, 0.0))
    assert hardware.load().status == WARNING and "3.2 of 4 cores busy" in hardware.load().value
    monkeypatch.setattr(hardware.os, "getloadavg", lambda: (0.1, 9.0, 9.0))
    assert hardware.load().status == OK


def test_a_gpu_is_described_with_its_memory(monkeypatch):
    monkeypatch.setattr(hardware.torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(hardware.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        hardware.torch.cuda, "get_device_properties", lambda i: types.SimpleNamespace(name="A Fine GPU")
    )
    monkeypatch.setattr(hardware.torch.cuda, "mem_get_info", lambda i: (6 * 2**30, 8 * 2**30))
    monkeypatch.setattr(hardware.torch.backends.mps, "is_available", lambda: False)
    assert list(hardware.gpus()) == [Check("cuda:0", OK, "A Fine GPU, 6.0 of 8.0 GiB of memory free")]


def test_a_gpu_that_this_torch_cannot_use_is_a_warning(monkeypatch):
    monkeypatch.setattr(hardware.torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(hardware.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(hardware.torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(hardware.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(hardware.torch.version, "cuda", None)
    [check] = hardware.gpus()
    assert check.status == WARNING and "built without CUDA" in check.value and check.advice
    monkeypatch.setattr(hardware.torch.version, "cuda", "12.8")
    [check] = hardware.gpus()
    assert check.status == WARNING and "cannot use it" in check.value and "12.8" in check.advice


def test_a_number_format_that_does_not_work_is_a_warning_except_fp32(monkeypatch):
    def matmul_peak(device, precision, seconds):
        raise RuntimeError('"addmm" not implemented\nC++ stack')

    monkeypatch.setattr(hardware, "matmul_peak", matmul_peak)
    checks = {check.name: check for check in hardware.computing(CPU)}
    assert checks["bf16 on cpu"].value == 'fails on cpu: "addmm" not implemented'
    assert checks["bf16 on cpu"].status == WARNING
    assert checks["fp32 on cpu"].status == PROBLEM and checks["fp32 on cpu"].advice
    assert "needs a GPU" in checks["fp16 on cpu"].value


def test_a_kernel_that_computes_something_else_is_a_problem(monkeypatch):
    def attention_check() -> Check:
        return find(hardware.computing(CPU), "fused attention")

    assert attention_check().status == OK
    monkeypatch.setattr(hardware, "fused_attention", lambda q, k, v, causal: hardware.naive_attention(q, k, v))
    assert attention_check().status == PROBLEM and "from the formula" in attention_check().value


def test_a_kernel_that_fails_is_a_problem(monkeypatch):
    def fused_attention(q, k, v, causal):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(hardware, "fused_attention", fused_attention)
    check = find(hardware.computing(CPU), "fused attention")
    assert check.status == PROBLEM and "no kernel" in check.value


@pytest.mark.parametrize("failure", ["raises", "gives NaN"])
def test_a_training_step_that_fails_is_a_problem(monkeypatch, failure, capsys):
    def step():
        if failure == "raises":
            raise RuntimeError("illegal instruction")
        return float("nan")

    monkeypatch.setattr(hardware, "make_step", lambda config, batch_size, device: step)
    assert doctor.main(["--json"]) == 1
    check = find(
        (Check(**check) for check in json.loads(capsys.readouterr().out)["checks"]["computing"]), "training step"
    )
    assert check.status == PROBLEM and check.advice
    assert ("illegal instruction" if failure == "raises" else "the loss is nan") in check.value


# Files


@pytest.mark.parametrize("free_mib, status", [(100, PROBLEM), (1000, WARNING), (10_000, OK)])
def test_a_full_disk_is_a_problem_and_a_small_one_a_warning(tmp_path, monkeypatch, free_mib, status):
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=free_mib * files.MIB))
    check = files.check_folder("runs", tmp_path / "does" / "not" / "exist", "free some space")
    assert check.status == status and f"{free_mib:,} MiB free" in check.value


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find(files.files(), "runs").status == OK
    monkeypatch.setattr(files.os, "access", lambda path, mode: False)
    assert find(files.files(), "runs").status == PROBLEM and "is not writable" in find(files.files(), "runs").value


def test_a_file_in_the_place_of_the_runs_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("runs").touch()
    assert find(files.files(), "runs").status == PROBLEM


def test_the_data_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv("LLMASOS_DATA", raising=False)
    assert files.data_folder().value.startswith("not set")

    monkeypatch.setenv("LLMASOS_DATA", str(tmp_path / "nowhere"))
    check = files.data_folder()
    assert check.status == WARNING and "not a folder" in check.value

    monkeypatch.setenv("LLMASOS_DATA", str(tmp_path))
    check = files.data_folder()
    assert check.status == WARNING and "contains none of shakespeare" in check.value and check.advice

    (tmp_path / "shakespeare").mkdir()
    (tmp_path / "shakespeare" / "input.txt").touch()
    check = files.data_folder()
    assert check.status == OK and check.value.endswith("contains shakespeare")
    assert find(files.files(), "data in cache").value.startswith("none")


def test_a_dataset_is_found_packed_or_unpacked_if_complete(tmp_path):
    wikitext = DATASETS["wikitext2"]
    paths = [tmp_path / "wikitext2" / file.name for file in wikitext.splits.values()]
    for path in paths:
        assert files.datasets_in(tmp_path) == []
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert files.datasets_in(tmp_path) == ["wikitext2"]
    paths[0].unlink()
    (tmp_path / "wikitext2" / wikitext.sources[0].name).touch()
    assert files.datasets_in(tmp_path) == ["wikitext2"]


def test_an_encoding_is_available_only_if_its_files_are_complete(tmp_path, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(openai, "OPENAI_FILES", {"gpt2": {"a/file": hashlib.sha256(b"ranks").hexdigest()}})
    assert files.check_encoding("gpt2").status == WARNING and str(tmp_path) in files.check_encoding("gpt2").value
    file = tmp_path / hashlib.sha1(f"https://{openai.HOST}/a/file".encode()).hexdigest()
    file.write_bytes(b"torn")
    assert files.check_encoding("gpt2").status == WARNING
    file.write_bytes(b"ranks")
    assert files.check_encoding("gpt2").status == OK


def test_a_check_prints_its_status_its_name_and_below_it_the_advice():
    check = Check("gpu", WARNING, "half of it is missing " * 10, "look behind the desk")
    lines = str(check).splitlines()
    assert lines[0].split()[:2] == ["warning", "gpu"] and lines[-1].strip() == "→ look behind the desk"
    assert len(lines) > 2 and max(map(len, lines)) <= 110
