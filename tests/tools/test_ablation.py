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
    calls = []

    def measure(parts: list[str], seed: int, seconds: float) -> dict[str, float]:
        calls.append((tuple(parts), seed))
        if len(calls) == 5:
            raise KeyboardInterrupt
        return {"loss": 0.5 - 0.01 * len(parts) - 0.002 * seed, "steps": 10, "seconds": seconds}

    monkeypatch.setattr(ablation, "measure", measure)
    monkeypatch.setattr(sys, "argv", ["ablation", "--seeds", "2", "--out", str(tmp_path / "new" / "rows.jsonl")])
    with pytest.raises(KeyboardInterrupt):
        ablation.main()
    ablation.main()
    n = 2 * len(list(ablation.variants()))
    assert len(calls) == n + 1 and len(set(calls)) == n, "the fifth is repeated, no other"
    out = capsys.readouterr().out
    assert "+ squared ReLU" in out and "0.489 +0.010  (0.488 … 0.490, 2 seeds)" in out
