"""The bench: every figure it promises is there, its arithmetic is right, and its yardstick does the same work as we do.

Nothing here looks at how fast anything is.
"""

import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from llmasos.__main__ import main as llmasos
from llmasos.errors import UserError
from llmasos.models import GPT, ModelConfig, n_parameters
from llmasos.objectives import CausalLM
from llmasos.tools import bench, doctor
from llmasos.tools.bench import bpe, measurement, parts, serving
from llmasos.tools.bench.measurement import Settings
from llmasos.tools.bench.training_step import make_step, random_tokens
from llmasos.tools.bench.usual_gpt import UsualGPT, usual_step

CPU = torch.device("cpu")
TINY = ModelConfig(vocab_size=11, n_layers=2, n_heads=2, d_model=16, context_length=8, activation="gelu")

RATIOS = [
    "attention.T64.speedup",
    "attention.T64.kept",
    "attention.T256.speedup",
    "training.small.share_of_peak",
    "training.small.against_usual",
    "training.large.share_of_peak",
    "training.large.against_usual",
    "generation.speedup",
    "generation.shared",
    "loading.against_safetensors",
    "loading.memory",
    "bpe.train_speedup",
    "bpe.encode_speedup",
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The JSON of a quick run of everything."""
    file = tmp_path_factory.mktemp("bench") / "report.json"
    assert llmasos(["bench", "--quick", "--json", str(file), "--device", "cpu"]) == 0
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("name", RATIOS)
def test_every_ratio_is_in_the_report_with_its_spread(report, name):
    figure = report["figures"][name]
    assert set(figure) == {"at", "what", "unit", "best", "median", "low", "high"}
    assert figure["unit"] in ("×", "share") and 0 < figure["low"] <= figure["median"] <= figure["high"]
    assert figure["best"] > 0


@pytest.mark.slow
def test_the_report_says_on_what_it_was_measured(report):
    assert report["quick"] is True and report["machine"]["device"] == "cpu"
    assert report["machine"]["torch"] == torch.__version__ and report["machine"]["threads"] == torch.get_num_threads()
    assert "matmul.fp32" in report["figures"]


@pytest.mark.slow
def test_a_figure_and_the_ratio_made_of_it_agree(report):
    figures = report["figures"]
    ours, usual = (figures[f"training.small.{key}"]["best"] for key in ("tokens_per_second", "usual_tokens_per_second"))
    assert figures["training.small.against_usual"]["best"] == pytest.approx(ours / usual)
    rust, own = (figures[f"bpe.{key}"]["best"] for key in ("rust_train_seconds", "train_seconds"))
    assert figures["bpe.train_speedup"]["best"] == pytest.approx(rust / own)
    explicit, fused = (figures[f"attention.T64.{key}"]["best"] for key in ("explicit_ms", "fused_ms"))
    assert figures["attention.T64.speedup"]["best"] == pytest.approx(explicit / fused)


@pytest.mark.slow
def test_the_formula_keeps_more_for_the_backward_pass_than_the_kernel(report):
    assert report["figures"]["attention.T256.kept"]["best"] > 2.0


def test_only_runs_what_is_named_and_prints_a_table(capsys):
    assert bench.main(["--quick", "--only", "generation", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "cached over uncached" in out and "median" in out and "attention" not in out


def test_a_json_file_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "run_benches", lambda names, settings: pytest.fail("measured"))
    with pytest.raises(UserError, match="there is no folder"):
        bench.main(["--json", str(tmp_path / "nowhere" / "report.json")])


def test_a_busy_machine_is_mentioned(monkeypatch, capsys):
    monkeypatch.setattr(doctor.hardware.os, "getloadavg", lambda: (99.0, 0.0, 0.0))
    bench.run_benches([], Settings(CPU, quick=True))
    assert "Note: over the last minute 99.0 threads wanted" in capsys.readouterr().out


# Measuring


def test_a_ratio_of_times_takes_the_best_of_each_and_the_spread_of_the_pairs():
    ratio = measurement.ratio("k", "", "w", [4.0, 6.0, 9.0], [2.0, 1.0, 3.0], best=min)
    assert (ratio.best, ratio.median, ratio.low, ratio.high) == (4.0, 3.0, 2.0, 6.0)
    rates = measurement.ratio("k", "", "w", [4.0, 6.0, 9.0], [2.0, 1.0, 3.0])
    assert rates.best == 3.0


def test_contestants_take_turns_and_none_is_always_first():
    order = []
    measured = measurement.take_turns({name: lambda n=name: order.append(n) or len(order) for name in "ab"}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"] and measured == {"a": [1, 4, 5], "b": [2, 3, 6]}


def test_a_timed_function_is_warmed_up_and_then_called_once_a_measurement_when_in_no_need_of_more():
    calls = []
    contestant = measurement.timed(lambda: calls.append(0), CPU, seconds=0.0)
    assert len(calls) == 1
    contestant()
    assert len(calls) == 2


def test_a_short_function_is_called_often_enough_to_fill_its_time(monkeypatch):
    calls = []  # each takes an eighth of a second by the clock that is asked
    monkeypatch.setattr(measurement, "time", SimpleNamespace(perf_counter=lambda: len(calls) / 8))
    contestant = measurement.timed(lambda: calls.append(0), CPU, seconds=1.0)
    before = len(calls)
    assert contestant() == 1 / 8 and len(calls) - before == 8


def test_numbers_are_shown_with_three_digits_and_shares_in_per_cent():
    line = str(measurement.figure("k", "", "what", measurement.SHARE, [0.5, 0.75]))
    assert "what" in line and "75.0 %" in line and "median 62.5" in line and "50.0 … 75.0" in line


def test_what_is_kept_for_the_backward_pass_is_counted_once_by_storage():
    x = torch.randn(1000, requires_grad=True)
    assert parts.kept_for_backward(lambda: x.exp()) == 4000  # exp keeps its result
    assert parts.kept_for_backward(lambda: x * x) == 4000  # the same tensor twice
    assert parts.kept_for_backward(lambda: x[:10] * x[10:20]) == 4000  # two views of it


# Contestants


def test_the_yardstick_computes_what_our_model_computes():
    torch.manual_seed(0)
    ours, usual = GPT(TINY), UsualGPT(TINY)
    assert n_parameters(ours) == n_parameters(usual)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_(std=0.3)
        usual.tokens.weight.copy_(ours.token_embedding.weight)
        usual.positions.weight.copy_(ours.position_embedding.weight)
        usual.norm.load_state_dict(ours.final_norm.state_dict())
        for theirs, block in zip(usual.blocks, ours.blocks, strict=True):
            attention = block.attention
            for kind in ("weight", "bias"):
                three = [getattr(p, kind) for p in (attention.q_proj, attention.k_proj, attention.v_proj)]
                getattr(theirs.qkv, kind).copy_(torch.cat(three))
            theirs.out.load_state_dict(attention.out_proj.state_dict())
            theirs.norm1.load_state_dict(block.attention_residual.norm.state_dict())
            theirs.norm2.load_state_dict(block.feed_forward_residual.norm.state_dict())
            theirs.feed_forward[0].load_state_dict(block.feed_forward.up_proj.state_dict())
            theirs.feed_forward[2].load_state_dict(block.feed_forward.down_proj.state_dict())
    windows = np.random.default_rng(0).integers(TINY.vocab_size, size=(3, 9))
    batch = CausalLM().collate(list(windows))
    loss = CausalLM().loss_sums(ours, batch)["causal"] / batch["targets"].numel()
    torch.testing.assert_close(usual(batch["ids"], batch["targets"]), loss, rtol=1e-5, atol=1e-5)


def test_both_loops_learn():
    tokens = np.tile(np.arange(11), 100).astype(np.uint16)  # what comes next is certain
    torch.manual_seed(0)
    step = usual_step(TINY, 4, tokens, CPU)
    losses = [step().item() for _ in range(60)]
    assert losses[-1] < 0.8 * losses[0]
    tiny = ModelConfig(vocab_size=11, n_layers=1, n_heads=1, d_model=8, context_length=4)
    step = make_step(tiny, 2, CPU)
    assert step() != step()  # another batch, other weights


def test_a_rehearsed_step_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_step(TINY, 2, CPU)()
    assert not any(tmp_path.iterdir())


def test_random_tokens_are_the_same_every_time_and_use_the_whole_vocabulary():
    assert np.array_equal(random_tokens(7), random_tokens(7)) and set(random_tokens(7)) == set(range(7))


# Text


@pytest.mark.parametrize("here, expected", [(["shakespeare"], "shakespeare"), ([], "python-reference")])
def test_bpe_takes_shakespeare_where_it_is_and_never_downloads(monkeypatch, here, expected):
    class Source:
        def documents(self, split):
            yield f"{split} text"

    opened = []
    monkeypatch.setattr(bpe, "datasets_in", lambda folder: here)
    monkeypatch.setattr(bpe, "open_text", lambda name: opened.append(name) or Source())
    assert bpe.text_at_hand() == (expected, ["train text", "val text"]) and opened == [expected]


def test_without_the_rust_package_bpe_is_measured_alone_and_says_so(monkeypatch):
    monkeypatch.setattr(bpe, "find_spec", lambda name: None)
    monkeypatch.setattr(bpe, "text_at_hand", lambda: ("a text", ["to be or not to be " * 50]))
    lines = list(bpe.bench_bpe(Settings(CPU, quick=True)))
    keys = [line.key for line in lines if isinstance(line, measurement.Figure)]
    assert keys == ["bpe.train_seconds", "bpe.encode_mb_per_second"]
    assert any("not installed" in line for line in lines if isinstance(line, str))


def test_a_server_that_says_much_is_not_stopped_by_it(tmp_path, monkeypatch):
    """A pipe holds 64 KB; what writes more into one that nobody reads waits for ever."""
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
            assert time.monotonic() < end, "nobody reads what the server says"
            time.sleep(0.01)
