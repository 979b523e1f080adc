"""The doctor: a sound machine is found ready, and each thing that can be broken is named with how to mend it."""

import hashlib
import json
import os
import re
import types
from pathlib import Path

import pytest
import torch

from llmasos.datasets.registry import DATASETS
from llmasos.tokenizers import openai
from llmasos.tools import doctor
from llmasos.tools.doctor import hardware, places, software, trial
from llmasos.tools.doctor.check import NOTE, OK, PROBLEM, Finding

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")


def find(findings, name: str) -> Finding:
    """The one finding of that name; what is wrong must say how to mend it."""
    [finding] = [finding for finding in findings if finding.name == name]
    assert finding.mark != PROBLEM or finding.advice
    return finding


def with_versions(monkeypatch, **versions: str | None) -> None:
    """Pretend that these packages are installed in these versions (None = not at all)."""
    real = software.installed_version
    monkeypatch.setattr(software, "installed_version", lambda name: versions[name] if name in versions else real(name))


# The whole command


def test_a_machine_that_can_train_is_found_ready(capsys):
    assert doctor.main(["--quick"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[-1].startswith("Ready to train") and "train" in lines[-1].partition("Next:")[2]
    assert not any(line.split()[:1] == [PROBLEM] for line in lines)


def test_the_json_holds_every_section(capsys):
    assert doctor.main(["--quick", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ready"] is True
    names = {finding["name"] for found in report["findings"].values() for finding in found}
    assert {"python", "torch", "numpy", "tiktoken", "tqdm", "cpu", "threads", "OMP_WAIT_POLICY", "load"} <= names
    assert {"fused attention", "training step", "compiler", "runs", "LLMASOS_DATA", "gpt2 encoding"} <= names
    assert set(software.OPTIONAL) <= names
    assert all(set(f) == {"name", "mark", "value", "advice"} for found in report["findings"].values() for f in found)


def test_the_peaks_are_measured_and_the_compiler_is_tried_unless_in_a_hurry(monkeypatch, capsys):
    monkeypatch.setattr(hardware, "matmul_peak", lambda device, precision: 5e9)
    monkeypatch.setattr(software, "compile_failure", lambda device: None)
    assert doctor.main(["--json"]) == 0
    found = json.loads(capsys.readouterr().out)["findings"]["computing"]
    by_name = {finding["name"]: finding for finding in found}
    assert by_name["fp32 on cpu"]["mark"] == OK and by_name["fp32 on cpu"]["value"].startswith("5 GFLOP/s")
    assert by_name["torch.compile"]["mark"] == OK


def test_a_problem_makes_the_exit_status_1_and_is_named_in_the_verdict(monkeypatch, capsys):
    with_versions(monkeypatch, torch="2.8.1")
    assert doctor.main(["--quick"]) == 1
    out = capsys.readouterr().out
    assert "2.8.1; at least 2.9 is needed" in out and 'pip install "torch>=2.9"' in out
    assert out.strip().splitlines()[-1].startswith("Not ready: mend torch")


def test_where_torch_is_broken_nothing_that_needs_it_is_tried(monkeypatch, capsys):
    with_versions(monkeypatch, torch=None)
    assert doctor.main(["--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ready"] is False and list(report["findings"]) == ["software", list(report["findings"])[-1]]


def test_notes_alone_do_not_stop_training(monkeypatch, capsys):
    monkeypatch.setattr(software, "find_compiler", lambda: None)
    assert doctor.main(["--quick"]) == 0
    out = capsys.readouterr().out
    assert "no C++ compiler" in out and "notes above that do not stop it" in out


# Software


def test_it_asks_for_what_pyproject_asks_for():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'requires-python = ">={software.OLDEST_PYTHON}"' in project
    dependencies = re.findall(r'"([^"]+)"', re.search(r"^dependencies = \[(.*)\]$", project, re.MULTILINE)[1])
    assert dependencies == [f"{name}>={oldest}" if oldest else name for name, oldest in software.REQUIRED.items()]


def test_versions_are_compared_as_numbers():
    assert software.numbers("2.9.1") < software.numbers("2.13.0+cpu") < software.numbers("10.0")
    assert software.check_package("torch", "2.9").mark == OK


def test_an_old_python_is_a_problem(monkeypatch):
    monkeypatch.setattr(software.platform, "python_version", lambda: "3.9.18")
    finding = find(software.needed(), "python")
    assert finding.mark == PROBLEM and "3.9.18" in finding.value and "3.10" in finding.advice


def test_a_missing_package_is_a_problem_with_the_command_that_installs_it(monkeypatch):
    with_versions(monkeypatch, tiktoken=None)
    finding = find(software.needed(), "tiktoken")
    assert finding.mark == PROBLEM and finding.value == "not installed" and "pip install" in finding.advice


def test_a_package_that_is_installed_and_broken_is_a_problem(monkeypatch):
    def import_module(name):
        raise OSError("libtorch_cpu.so: cannot open shared object file\nmore")

    monkeypatch.setattr(software.importlib, "import_module", import_module)
    finding = software.check_package("torch", "2.9")
    assert finding.mark == PROBLEM and finding.value.endswith("libtorch_cpu.so: cannot open shared object file")


def test_an_extra_that_is_missing_is_a_note_that_says_what_it_is_for(monkeypatch):
    with_versions(monkeypatch, tensorboard=None)
    finding = find(software.extras(), "tensorboard")
    assert finding.mark == NOTE and "curves of a run" in finding.value and finding.advice == "pip install tensorboard"


def test_a_missing_compiler_is_a_note_and_compiling_is_not_tried(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    [finding] = software.compiler("cpu", try_it=True)
    assert finding.name == "compiler" and finding.mark == NOTE and finding.advice


def test_the_compiler_named_by_cxx_comes_first(monkeypatch, tmp_path):
    compiler = tmp_path / "my-c++"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    assert software.find_compiler() == str(compiler)


@pytest.mark.parametrize(
    "trial_code, reason",
    [
        ("import sys; print('noise', file=sys.stderr); sys.exit('no such header: omp.h')", "no such header: omp.h"),
        ("import os; os._exit(7)", "the process ended with status 7"),
        ("import time; time.sleep(600)", "not done after 1 s"),
    ],
)
def test_a_compiler_that_fails_dies_or_hangs_is_a_note_with_the_reason(monkeypatch, trial_code, reason):
    monkeypatch.setattr(software, "COMPILE_TRIAL", trial_code)
    monkeypatch.setattr(software, "find_compiler", lambda: "/usr/bin/c++")
    real = software.compile_failure
    seconds = 1 if "sleep" in trial_code else 300
    monkeypatch.setattr(software, "compile_failure", lambda device: real(device, seconds))
    finding = find(software.compiler("cpu", try_it=True), "torch.compile")
    assert finding.mark == NOTE and finding.value == f"does not work on cpu: {reason}"


@pytest.mark.slow
def test_torch_compile_is_really_tried():
    assert software.find_compiler() is None or software.compile_failure("cpu") is None


# The machine


def test_threads_that_wait_in_a_busy_loop_are_a_note(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    finding = find(hardware.processor(), "OMP_WAIT_POLICY")
    assert finding.mark == NOTE and finding.advice == "export OMP_WAIT_POLICY=PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert find(hardware.processor(), "OMP_WAIT_POLICY").mark == OK


def test_more_threads_than_cores_are_a_note(monkeypatch):
    monkeypatch.setattr(hardware, "usable_cores", lambda: 0.5)
    finding = find(hardware.processor(), "threads")
    assert finding.mark == NOTE and finding.advice == "export OMP_NUM_THREADS=1"


def test_cores_left_idle_by_omp_num_threads_are_a_note(monkeypatch):
    monkeypatch.setattr(hardware, "usable_cores", lambda: torch.get_num_threads() + 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert find(hardware.processor(), "threads").mark == OK  # torch takes half the cores where two share one
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert find(hardware.processor(), "threads").mark == NOTE


def test_a_busy_machine_is_a_note_and_a_quiet_one_is_not(monkeypatch):
    monkeypatch.setattr(hardware, "usable_cores", lambda: 4)
    monkeypatch.setattr(hardware.os, "getloadavg", lambda: (3.2, 0.0, 0.0))
    assert hardware.load().mark == NOTE and "3.2 threads wanted the 4 cores" in hardware.load().value
    monkeypatch.setattr(hardware.os, "getloadavg", lambda: (0.1, 9.0, 9.0))
    assert hardware.load().mark == OK


def test_a_gpu_is_described_with_its_memory(monkeypatch):
    monkeypatch.setattr(hardware.torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(hardware.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        hardware.torch.cuda, "get_device_properties", lambda i: types.SimpleNamespace(name="A Fine GPU")
    )
    monkeypatch.setattr(hardware.torch.cuda, "mem_get_info", lambda i: (6 * 2**30, 8 * 2**30))
    monkeypatch.setattr(hardware.torch.backends.mps, "is_available", lambda: False)
    assert list(hardware.devices()) == [Finding("cuda:0", OK, "A Fine GPU, 6.0 of 8.0 GiB of memory free")]


def test_a_gpu_that_this_torch_cannot_use_is_a_note(monkeypatch):
    monkeypatch.setattr(hardware.torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(hardware.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(hardware.torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(hardware.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(hardware.torch.version, "cuda", None)
    [finding] = hardware.devices()
    assert finding.mark == NOTE and "built without CUDA" in finding.value and finding.advice
    monkeypatch.setattr(hardware.torch.version, "cuda", "12.8")
    [finding] = hardware.devices()
    assert finding.mark == NOTE and "cannot use it" in finding.value and "12.8" in finding.advice


def test_a_number_format_that_does_not_work_is_a_note_except_fp32(monkeypatch):
    def matmul_peak(device, precision):
        raise RuntimeError('"addmm" not implemented\nC++ stack')

    monkeypatch.setattr(hardware, "matmul_peak", matmul_peak)
    assert hardware.check_precision(CPU, "bf16").value == 'does not work: "addmm" not implemented'
    assert hardware.check_precision(CPU, "bf16").mark == NOTE
    assert hardware.check_precision(CPU, "fp32").mark == PROBLEM
    assert "needs a GPU" in hardware.check_precision(CPU, "fp16").value


def test_a_kernel_that_computes_something_else_is_a_problem(monkeypatch):
    assert hardware.check_attention(CPU).mark == OK
    monkeypatch.setattr(hardware, "fused_attention", lambda q, k, v, causal: hardware.explicit_attention(q, k, v))
    finding = find([hardware.check_attention(CPU)], "fused attention")
    assert finding.mark == PROBLEM and "from the formula" in finding.value


def test_a_kernel_that_fails_is_a_problem(monkeypatch):
    def fused_attention(q, k, v, causal):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(hardware, "fused_attention", fused_attention)
    assert "no kernel" in find([hardware.check_attention(CPU)], "fused attention").value


@pytest.mark.parametrize("failure", ["raises", "gives NaN"])
def test_a_training_step_that_fails_is_a_problem(monkeypatch, failure):
    def step():
        if failure == "raises":
            raise RuntimeError("illegal instruction")
        return float("nan")

    monkeypatch.setattr(trial, "make_step", lambda config, batch_size, device: step)
    finding = trial.training_step(CPU)
    assert finding.mark == PROBLEM and finding.advice
    assert ("illegal instruction" if failure == "raises" else "the loss is nan") in finding.value


# Files


@pytest.mark.parametrize("free_mib, mark", [(100, PROBLEM), (1000, NOTE), (10_000, OK)])
def test_a_full_disk_is_a_problem_and_a_small_one_a_note(tmp_path, monkeypatch, free_mib, mark):
    monkeypatch.setattr(places.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=free_mib * places.MIB))
    finding = places.check_folder("runs", tmp_path / "not" / "there" / "yet", "runs/", "free some space")
    assert finding.mark == mark and f"{free_mib:,} MiB free" in finding.value


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find(places.disk(), "runs").mark == OK
    monkeypatch.setattr(places.os, "access", lambda path, mode: False)
    assert find(places.disk(), "runs").mark == PROBLEM and "cannot be written" in find(places.disk(), "runs").value


def test_a_file_in_the_place_of_the_runs_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("runs").touch()
    assert find(places.disk(), "runs").mark == PROBLEM


def test_the_data_folder_is_described_whatever_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv("LLMASOS_DATA", raising=False)
    assert find(places.data(), "LLMASOS_DATA").value.startswith("not set")

    monkeypatch.setenv("LLMASOS_DATA", str(tmp_path / "nowhere"))
    [finding] = places.data()
    assert finding.mark == NOTE and "no folder" in finding.value

    monkeypatch.setenv("LLMASOS_DATA", str(tmp_path))
    finding = find(places.data(), "LLMASOS_DATA")
    assert finding.mark == NOTE and "holds none of: shakespeare" in finding.value and finding.advice

    (tmp_path / "shakespeare").mkdir()
    (tmp_path / "shakespeare" / "input.txt").touch()
    finding = find(places.data(), "LLMASOS_DATA")
    assert finding.mark == OK and finding.value.endswith("which holds: shakespeare")
    assert find(places.data(), "data in cache").value.startswith("nothing")


def test_a_data_set_is_found_packed_or_unpacked_and_only_whole(tmp_path):
    wikitext = DATASETS["wikitext2"]
    files = [tmp_path / "wikitext2" / file.name for file in wikitext.splits.values()]
    for file in files:
        assert places.datasets_in(tmp_path) == []
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert places.datasets_in(tmp_path) == ["wikitext2"]
    files[0].unlink()
    (tmp_path / "wikitext2" / wikitext.sources[0].name).touch()
    assert places.datasets_in(tmp_path) == ["wikitext2"]


def test_an_encoding_is_said_to_be_here_only_if_its_files_are_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(openai, "FILES", {"gpt2": {"a/file": hashlib.sha256(b"ranks").hexdigest()}})
    assert find(places.encodings(), "gpt2 encoding").mark == NOTE
    file = tmp_path / hashlib.sha1(f"https://{openai.HOST}/a/file".encode()).hexdigest()
    file.write_bytes(b"torn")
    assert find(places.encodings(), "gpt2 encoding").mark == NOTE
    file.write_bytes(b"ranks")
    assert find(places.encodings(), "gpt2 encoding").mark == OK
    assert find(places.encodings(), "TIKTOKEN_CACHE_DIR").value == str(tmp_path)


def test_an_unset_or_missing_encodings_folder_is_described(tmp_path, monkeypatch):
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    assert find(places.encodings(), "TIKTOKEN_CACHE_DIR").value.startswith("not set")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", os.fspath(tmp_path / "nowhere"))
    assert find(places.encodings(), "TIKTOKEN_CACHE_DIR").mark == NOTE


def test_a_finding_prints_its_mark_its_name_and_below_it_the_advice():
    finding = Finding("gpu", NOTE, "half of it is missing " * 10, "look behind the desk")
    lines = str(finding).splitlines()
    assert lines[0].split()[:2] == ["note", "gpu"] and lines[-1].strip() == "→ look behind the desk"
    assert len(lines) > 2 and max(map(len, lines)) <= 110
