"""What the checks for forbidden functions cost, and that what saves time opens no door."""

import subprocess
import sys
from types import ModuleType

import pytest
import torch

from lessons.machinery.forbidden import Forbidden, forbidden_at_runtime

RULES = {"torch.softmax": "the exercise is to write it yourself"}


def test_a_copy_in_a_module_that_is_loaded_later_is_replaced_too(monkeypatch):
    """All of torch is searched for copies once, not each time."""
    with forbidden_at_runtime(RULES):
        assert torch.softmax.__name__ == "refuse"
    later, original = ModuleType("torch.later"), torch.softmax
    later.copy = original
    monkeypatch.setitem(sys.modules, "torch.later", later)
    with forbidden_at_runtime(RULES):
        assert later.copy is torch.softmax is not original
        with pytest.raises(Forbidden, match="write it yourself"):
            later.copy(torch.ones(2), 0)
    assert later.copy is torch.softmax is original


def test_a_copy_that_was_taken_away_stays_away(monkeypatch):
    holder = ModuleType("torch.holder")
    holder.copy, holder.other = torch.softmax, torch.softmax
    monkeypatch.setitem(sys.modules, "torch.holder", holder)
    with forbidden_at_runtime(RULES):
        pass
    del holder.copy
    with forbidden_at_runtime(RULES):
        assert holder.other is torch.softmax
    assert not hasattr(holder, "copy") and holder.other is torch.softmax


def test_the_check_of_operators_does_not_load_the_compiler():
    """That takes a second for each worker."""
    code = (
        "import sys, torch\n"
        "from lessons.machinery.forbidden import forbidden_at_runtime\n"
        "with forbidden_at_runtime({'torch.nn.functional.layer_norm': ''}):\n"
        "    torch.ones(2, requires_grad=True).sum().backward()\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
