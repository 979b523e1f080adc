"""The benchmarks: every promised ratio is in the report, the arithmetic is right, and the baseline does the same work.

No test here depends on speed.
"""

import json
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from llmasos.__main__ import main as llmasos
from llmasos.errors import UserError
from llmasos.models import GPT, ModelConfig, n_parameters
from llmasos.objectives import CausalLM
from llmasos.tools import bench, doctor
from llmasos.tools.bench import bpe, measurement, serving
from llmasos.tools.bench.measurement import Settings
from llmasos.tools.bench.report import run_benches
from llmasos.tools.bench.training import BaselineGPT, baseline_step, saved_for_backward
from llmasos.tools.training_step import make_step, random_tokens

CPU = torch.device("cpu")
TINY = ModelConfig(vocab_size=11, n_layers=2, n_heads=2, d_model=16, context_length=8, activation="gelu")

RATIOS = [
    "attention.T64.speedup",
    "attention.T64.saved",
    "attention.T256.speedup",
    "training.small.mfu",
    "training.small.speedup",
    "training.small.fp32_speedup",
    "training.large.mfu",
    "training.large.speedup",
    "lora.speedup",
    "lora.optimizer_bytes",
    "encoder.speedup",
    "generation.speedup",
    "generation.small.batch1.speedup",
    "generation.small.batch16.speedup",
    "generation.large.batch16.bandwidth",
    "generation.shared_prefix",
    "paging.memory",
    "paging.speed",
    "speculative.good_speedup",
    "speculative.bad_speedup",
    "quantization.int8_memory",
    "quantization.int8_speed",
    "quantization.int4_memory",
    "quantization.int4_speed",
    "constrained.small.time",
    "constrained.large.time",
    "serving.speedup",
    "startup.help",
    "startup.import",
    "startup.sample",
    "loading.tensors",
    "loading.model",
    "loading.memory",
    "cleaning.parallel_speedup",
    "bpe.train_speedup",
    "bpe.encode_speedup",
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The JSON of a quick run of all benchmarks."""
    file = tmp_path_factory.mktemp("bench") / "report.json"
    assert llmasos(["bench", "--quick", "--json", str(file), "--device", "cpu"]) == 0
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("name", RATIOS)
def test_every_ratio_is_in_the_report_with_its_spread(report, name):
    measurement = report["measurements"][name]
    assert set(measurement) == {"setup", "what", "unit", "best", "median", "low", "high"}
    assert measurement["unit"] in ("×", "%") and 0 < measurement["low"] <= measurement["median"] <= measurement["high"]
    assert measurement["best"] > 0


@pytest.mark.slow
def test_the_report_names_the_machine(report):
    assert report["quick"] is True and report["machine"]["device"] == "cpu"
    assert report["machine"]["torch"] == torch.__version__ and report["machine"]["threads"] == torch.get_num_threads()
    assert "matmul.fp32" in report["measurements"]


@pytest.mark.slow
def test_ratios_agree_with_the_measurements_they_are_made_of(report):
    best = {key: measurement["best"] for key, measurement in report["measurements"].items()}
    ours, baseline = (best[f"training.small.{key}"] for key in ("tokens_per_second", "baseline_tokens_per_second"))
    assert best["training.small.speedup"] == pytest.approx(ours / baseline)
    assert best["bpe.train_speedup"] == pytest.approx(best["bpe.rust_train_seconds"] / best["bpe.train_seconds"])
    explicit, fused = (best[f"attention.T64.{key}"] for key in ("explicit_ms", "fused_ms"))
    assert best["attention.T64.speedup"] == pytest.approx(explicit / fused)


@pytest.mark.slow
def test_the_formula_saves_more_for_the_backward_pass_than_the_kernel(report):
    assert report["measurements"]["attention.T256.saved"]["best"] > 2.0


def test_only_runs_the_named_benchmark_and_prints_a_table(capsys):
    assert bench.main(["--quick", "--only", "generation", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "cached over uncached" in out and "median" in out and "attention" not in out


def test_a_json_file_that_cannot_be_written_is_an_error_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr("llmasos.tools.bench.report.run_benches", lambda *args: pytest.fail("measured"))
    with pytest.raises(UserError, match="there is no folder"):
        bench.main(["--json", str(tmp_path / "nowhere" / "report.json")])


def test_a_busy_machine_is_reported(monkeypatch, capsys):
    monkeypatch.setattr(doctor.hardware.os, "getloadavg", lambda: (99.0, 0.0, 0.0))
    run_benches([], "cpu", quick=True)
    assert "Warning: 99.0 of" in capsys.readouterr().out


# Measuring


def test_a_ratio_of_times_takes_the_best_of_each_and_the_spread_of_the_pairs():
    ratio = measurement.ratio("k", "", "w", [4.0, 6.0, 9.0], [2.0, 1.0, 3.0], best=min)
    assert (ratio.best, ratio.median, ratio.low, ratio.high) == (4.0, 3.0, 2.0, 6.0)
    rates = measurement.ratio("k", "", "w", [4.0, 6.0, 9.0], [2.0, 1.0, 3.0])
    assert rates.best == 3.0


def test_repetitions_are_interleaved_and_none_always_comes_first():
    order = []
    measured = measurement.interleave({name: lambda n=name: order.append(n) or len(order) for name in "ab"}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"] and measured == {"a": [1, 4, 5], "b": [2, 3, 6]}


def test_a_slow_function_is_warmed_up_and_then_called_once_per_measurement():
    calls = []
    measure = measurement.timed(lambda: calls.append(0), CPU, seconds=0.0)
    assert len(calls) == 1
    measure()
    assert len(calls) == 2


def test_a_short_function_is_called_often_enough_to_fill_its_time(monkeypatch):
    calls = []  # each takes an eighth of a second on the fake clock
    monkeypatch.setattr(measurement, "time", SimpleNamespace(perf_counter=lambda: len(calls) / 8))
    measure = measurement.timed(lambda: calls.append(0), CPU, seconds=1.0)
    before = len(calls)
    assert measure() == 1 / 8 and len(calls) - before == 8


def test_numbers_are_printed_with_three_digits():
    line = str(measurement.summarize("k", "", "what", "%", [50.0, 75.0]))
    assert "what" in line and "75.0 %" in line and "median 62.5" in line and "50.0 … 75.0" in line


def test_what_is_saved_for_the_backward_pass_is_counted_once_per_storage():
    x = torch.randn(1000, requires_grad=True)
    assert saved_for_backward(lambda: x.exp()) == 4000  # exp saves its result
    assert saved_for_backward(lambda: x * x) == 4000  # the same tensor twice
    assert saved_for_backward(lambda: x[:10] * x[10:20]) == 4000  # two views of it


# Comparing


def report_of(tmp_path, name, cpu="a CPU", quick=False, **ranges):
    """Write a report with measurements {key: (unit, low, median, high)}, and return its path."""
    lines = {key: {"setup": "", "what": key, "unit": unit, "best": high, "median": median, "low": low, "high": high}
             for key, (unit, low, median, high) in ranges.items()}  # fmt: skip
    machine = {"device": "cpu", "cpu": cpu, "threads": 1, "torch": "2.13.0", "load": name}
    file = tmp_path / f"{name}.json"
    file.write_text(json.dumps({"machine": machine, "quick": quick, "seconds": 1.0, "measurements": lines}))
    return str(file)


OLD = {
    "faster": ("×", 1.0, 1.1, 1.2),
    "noisy": ("×", 1.0, 2.0, 3.0),
    "slower": ("ms", 1.0, 1.0, 2.0),
    "size": ("MB", 5, 5, 5),
}
NEW = {
    "faster": ("×", 1.3, 1.4, 1.5),
    "noisy": ("×", 2.9, 4.0, 5.0),
    "slower": ("ms", 2.5, 3.0, 4.0),
    "size": ("MB", 6, 6, 6),
}


def test_only_what_lies_outside_the_other_reports_range_has_changed(tmp_path, capsys):
    assert bench.main(["--compare", report_of(tmp_path, "old", **OLD), report_of(tmp_path, "new", **NEW)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in out[:3]] == [["higher", "faster"], ["higher", "slower"], ["once", "size"]]
    assert "1.10 (1.00 … 1.20) → 1.40 (1.30 … 1.50) ×" in out[0]
    assert out[3] == "2 of 4 measurements changed beyond the range of their repetitions."


def test_reports_of_two_machines_compare_ratios_only(tmp_path, capsys):
    files = report_of(tmp_path, "old", **OLD), report_of(tmp_path, "new", cpu="another CPU", quick=True, **NEW)
    assert bench.main(["--compare", *files]) == 0
    out = capsys.readouterr().out
    assert "cpu: a CPU → another CPU" in out and "slower" not in out and "1 of 2 measurements" in out
    assert "says nothing about speed" in out


def test_a_fact_in_one_report_only_and_another_setup_are_named(tmp_path, capsys):
    files = [report_of(tmp_path, "old", **OLD), report_of(tmp_path, "new", **NEW)]
    report = json.loads(Path(files[1]).read_text())
    report["machine"]["cores"] = 8
    report["measurements"]["faster"]["setup"] = "2 layers"
    Path(files[1]).write_text(json.dumps(report))
    for order, line in ((files, "cores: unknown → 8"), (files[::-1], "cores: 8 → unknown")):
        assert bench.main(["--compare", *order]) == 0
        out = capsys.readouterr().out
        assert line in out and "The machines differ" in out and "faster" not in out and "0 of 1 measurements" in out
        assert "1 were measured with another setup and are not compared." in out


@pytest.mark.parametrize(
    "content",
    [None, "not JSON", "{}", '{"machine": 1}', "[1]",
     '{"machine": ["a"], "quick": false, "seconds": 1, "measurements": {}}'],
)  # fmt: skip
def test_what_is_no_report_is_named(tmp_path, content):
    file = tmp_path / "other.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=r"--compare .*other.json: (there is no such file|not a report)"):
        bench.main(["--compare", str(file), str(file)])


# Baselines


def test_the_baseline_computes_what_our_model_computes():
    torch.manual_seed(0)
    ours, baseline = GPT(TINY), BaselineGPT(TINY)
    assert n_parameters(ours) == n_parameters(baseline)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_(std=0.3)
        baseline.tokens.weight.copy_(ours.token_embedding.weight)
        baseline.positions.weight.copy_(ours.position_embedding.weight)
        baseline.norm.load_state_dict(ours.final_norm.state_dict())
        for reference, block in zip(baseline.blocks, ours.blocks, strict=True):
            attention = block.attention
            for name in ("weight", "bias"):
                three = [getattr(p, name) for p in (attention.q_proj, attention.k_proj, attention.v_proj)]
                getattr(reference.qkv, name).copy_(torch.cat(three))
            reference.out.load_state_dict(attention.out_proj.state_dict())
            reference.norm1.load_state_dict(block.attention_residual.norm.state_dict())
            reference.norm2.load_state_dict(block.feed_forward_residual.norm.state_dict())
            reference.feed_forward[0].load_state_dict(block.feed_forward.up_proj.state_dict())
            reference.feed_forward[2].load_state_dict(block.feed_forward.down_proj.state_dict())
    windows = np.random.default_rng(0).integers(TINY.vocab_size, size=(3, 9))
    batch = CausalLM().collate(list(windows))
    loss = CausalLM().loss_sums(ours, batch)["causal"] / batch["targets"].numel()
    torch.testing.assert_close(baseline(batch["ids"], batch["targets"]), loss, rtol=1e-5, atol=1e-5)


def test_both_loops_learn():
    tokens = np.tile(np.arange(11), 100).astype(np.uint16)  # the next token is certain
    torch.manual_seed(0)
    step = baseline_step(TINY, 4, tokens, CPU)
    losses = [step().item() for _ in range(60)]
    assert losses[-1] < 0.8 * losses[0]
    tiny = ModelConfig(vocab_size=11, n_layers=1, n_heads=1, d_model=8, context_length=4)
    step = make_step(tiny, 2, CPU)
    assert step() != step()  # a different batch, different weights


def test_a_step_writes_no_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_step(TINY, 2, CPU)()
    assert not any(tmp_path.iterdir())


def test_random_tokens_are_deterministic_and_use_the_whole_vocabulary():
    assert np.array_equal(random_tokens(7), random_tokens(7)) and set(random_tokens(7)) == set(range(7))


# Text


@pytest.mark.parametrize("available, expected", [(["shakespeare"], "shakespeare"), ([], "python-reference")])
def test_bpe_uses_shakespeare_if_it_is_available_and_never_downloads(monkeypatch, available, expected):
    class Source:
        def documents(self, split):
            yield f"{split} text"

    opened = []
    monkeypatch.setattr(bpe, "datasets_in", lambda folder: available)
    monkeypatch.setattr(bpe, "open_text", lambda name: opened.append(name) or Source())
    assert bpe.find_text() == (expected, ["train text", "val text"]) and opened == [expected]


def test_without_the_rust_package_bpe_is_measured_alone(monkeypatch):
    monkeypatch.setattr(bpe, "find_spec", lambda name: None)
    monkeypatch.setattr(bpe, "find_text", lambda: ("a text", ["to be or not to be " * 50]))
    lines = list(bpe.bench_bpe(Settings(CPU, quick=True)))
    keys = [line.key for line in lines if isinstance(line, measurement.Measurement)]
    assert keys == ["bpe.train_seconds", "bpe.encode_mb_per_second", "bpe.parallel_mb_per_second"]
    assert any("not installed" in line for line in lines if isinstance(line, str))


def test_a_server_with_much_output_is_not_blocked(tmp_path, monkeypatch):
    """A pipe holds 64 KB; writing more to a pipe that nobody reads blocks forever."""
    script, done = tmp_path / "talker", tmp_path / "done"
    script.write_text(
        f"#!/bin/sh\necho 'page http://127.0.0.1:9/'\nhead -c 300000 /dev/zero >&2\ntouch {done}\nexec sleep 300\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr(serving.sys, "executable", str(script))
    with serving.server(Settings(CPU)) as (url, _):
        assert url == "http://127.0.0.1:9"
        end = time.monotonic() + 60
        while not done.exists():
            assert time.monotonic() < end, "nobody reads the server's output"
            time.sleep(0.01)
