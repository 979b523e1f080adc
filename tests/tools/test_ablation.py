"""The ablation of the default recipe: its parts make up the recipe, and measured rows are not measured again."""

import sys

import pytest

from llmasos.models import preset
from llmasos.tools import ablation
from llmasos.training.named_recipes import named_recipe


def test_all_parts_together_are_the_default_recipe_and_none_is_idle():
    recipe, config = ablation.settings_of(list(ablation.PARTS))
    default = named_recipe("storyworld")
    assert config == preset("modern-laptop", vocab_size=default.data.vocab_size, **default.model.overrides)
    same = {
        "model": "modern-laptop",
        "tie_embeddings": False,
        "max_steps": default.training.max_steps,
        "eval_interval": 450,
    }
    assert recipe.replace(**same) == default
    plain = ablation.settings_of([])
    assert all(ablation.settings_of([part]) != plain for part in ablation.PARTS)


def test_it_continues_where_it_was_stopped_and_prints_the_gains(tmp_path, monkeypatch, capsys):
    calls, timed = [], []

    def train(parts: list[str], seed: int, steps: int) -> dict[str, float]:
        calls.append((tuple(parts), seed))
        if len(calls) == 5:
            raise KeyboardInterrupt
        assert steps == (300 if parts else 600), "60 seconds of steps of 0.2 or 0.1"
        return {"loss": 0.5 - 0.01 * len(parts) - 0.002 * seed, "steps": steps}

    def step_times() -> dict[tuple[str, str], float]:
        timed.append(1)
        return {(kind, name): 0.2 if parts else 0.1 for kind, name, parts in ablation.variants()}

    monkeypatch.setattr(ablation, "train", train)
    monkeypatch.setattr(ablation, "step_times", step_times)
    monkeypatch.setattr(sys, "argv", ["ablation", "--seeds", "2", "--out", str(tmp_path / "new" / "rows.jsonl")])
    with pytest.raises(KeyboardInterrupt):
        ablation.main()
    ablation.main()
    n = 2 * len(list(ablation.variants()))
    assert len(calls) == n + 1 and len(set(calls)) == n, "the fifth is repeated, no other"
    assert len(timed) == 1
    out = capsys.readouterr().out
    assert "+ squared ReLU" in out and "0.489 +0.010  (0.488 … 0.490, 2 seeds)" in out


def test_each_variant_is_timed_and_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(ablation, "TIMED_BLOCKS", 1)
    monkeypatch.setattr(ablation, "TIMED_STEPS", 1)
    ways = [("plain", "nothing", []), ("plain", "+ squared ReLU", ["squared ReLU"])]
    monkeypatch.setattr(ablation, "variants", lambda: iter(ways))
    times = ablation.step_times()
    assert {*times} == {way[:2] for way in ways} and all(0 < each < 60 for each in times.values())
    first, again = (ablation.train(["two layers instead of four"], 3, 2) for _ in range(2))
    assert first == again and first["steps"] == 2 and 4 < first["loss"] < 8
