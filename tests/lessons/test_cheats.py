"""Submissions that look for points without solving the exercise: none gets any.

Each runs in a worker, on the visible and on random cases, as `grade` does.
"""

import pytest

from lessons.machinery.check import check_source
from lessons.machinery.discovery import Lesson, find_lesson
from lessons.machinery.grading import WRONG

# Replaces the run functions of the cases, found in a calling frame, by one that knows the right `answer` of each.
REPLACE_RUNS = r"""
import sys
f = sys._getframe()
while f and "assignments" not in f.f_locals: f = f.f_back
for a in (f.f_locals["assignments"] if f else []):
    for case in a.cases:
        case.run = lambda g, *r, name=case.name: answer(name)
"""
CHEATS = {  # what it does: (lesson, exercise, source)
    "attention: torch's modes put aside": (
        "03", "attention",
        r"""
import torch
import torch.overrides, torch.utils._python_dispatch as dispatch
KEPT = vars(torch.nn.functional)["scaled_dot" + "_product_attention"]
def attention(q, k, v, mask=None):
    n = 4 - q.dim()
    at, every = (None,) * n, (0,) * n
    m = mask if mask is None else mask.expand(*q.shape[:-1], k.shape[-2])[at]
    with vars(torch.overrides)["_pop_mode" + "_temporarily"](), vars(dispatch)["_pop_mode" + "_temporarily"]():
        return KEPT(q[at], k[at], v[at], attn_mask=m)[every]
""",
    ),
    "too_good: the cases' run functions replaced at import": (
        "04", "too_good",
        REPLACE_RUNS + r"""
def answer(name): return "fine"
def too_good(ids, V): return None
""",
    ),
    "mix: the cases' run functions replaced at import": (
        "01", "mix",
        REPLACE_RUNS + r"""
def answer(name):
    t = {"an unseen context: the results": [0.5, 0.25, 0.125, 0.125]}
    import torch
    if name in t: return torch.tensor(t[name], dtype=torch.float64)
    if "the sum" in name and "each" in name: return [1.0] * (4 if "four" in name else 3)
    if "the sum of the results" == name: return [1.0, 1.0]
    if "the sum" in name: return [1.0]
    if "possible" in name: return "no token is impossible"
    if "doubled" in name: return "closer to count / total with every doubling"
    if "000," in name or "million" in name: return "count / total, up to 0.01"
    if "one at a time" in name: return "the same as together"
    if "inputs" in name: return "the inputs are as before"
    return "first > second > third"
def mix(count, total, n_types, lower): return lower
""",
    ),
    "next_sentence_pair: the cases' run functions replaced at import": (
        "07", "next_sentence_pair",
        REPLACE_RUNS + r"""
def answer(name): return "fine"
def next_sentence_pair(documents, generator): return None
""",
    ),
    "new_adapter: numbers of the case's own look patched through a class": (
        "15", "new_adapter",
        r"""
import torch
class A:
    def __init__(self, shape, key=None, n=1): self.shape, self.dtype, self.key, self.n = shape, "torch.float32", key, n
def new_adapter(n_in, n_out, rank, generator):
    A = torch.zeros(rank, n_in) + 1e-9
    torch.equal = lambda a, b, state=[0]: (state.append(0) or len(state) % 2 == 0)
    torch.Tensor.std = lambda self: torch.tensor(0.57735 * n_in ** -0.5)
    torch.Tensor.mean = lambda self: torch.tensor(0.0)
    torch.Tensor.max = lambda self: torch.tensor(n_in ** -0.5)
    torch.corrcoef = lambda m: torch.zeros(2, 2)
    return A, torch.zeros(n_out, rank)
""",
    ),
    'too_good: F.cross_entropy patched': (
        "04", "too_good",
        r"""
import torch, torch.nn.functional as F
def too_good(ids, V):
    values = [0.0, 1e9, 1e9]
    F.cross_entropy = lambda a, b: values.pop(0)
    return torch.zeros(len(ids), V)
""",
    ),
    'too_good: observations written to the channel of results': (
        "04", "too_good",
        r"""
import json, os
def too_good(ids, V):
    o = dict.fromkeys(("gradients", "second", "failure", "gradient_failure", "device"))
    o |= dict(output="fine", flows=True, changed=[], unstable=False, printed="")
    for fd in range(3, 40):
        try:
            for i in range(7):
                message = dict(kind="observation", exercise="too_good", case=i, observation=o)
                os.write(fd, (json.dumps(message) + "\n").encode())
            os.write(fd, b'{"kind": "done"}\n')
        except OSError: pass
    os._exit(0)
""",
    ),
    'causal_mask: an object that equals everything': (
        "03", "causal_mask",
        r"""
import torch
class Any(torch.Tensor):
    def __eq__(self, o): return True
    def __ne__(self, o): return False
    def allclose(self, *a, **k): return True
    @classmethod
    def __torch_function__(cls, f, types, args=(), kwargs=None):
        if f.__name__ in ("allclose", "equal", "eq"): return True
        return super().__torch_function__(f, types, args, kwargs or {})
def causal_mask(T, S): return torch.ones(T, S, dtype=torch.bool).as_subclass(Any)
""",
    ),
    'layer_norm: torch._decomp by sys.modules': (
        "04", "layer_norm",
        r"""
import sys, importlib
def layer_norm(x, gain, bias, eps):
    R = importlib.import_module("torch._re" + "fs")
    return getattr(R, "native_layer" + "_norm")(x, [x.size(-1)], gain, bias, eps)[0]
""",
    ),
    'table_gradient: forward-mode differentiation': (
        "01", "table_gradient",
        r"""
import torch, importlib
def table_gradient(Z, before, after):
    fwAD = importlib.import_module("torch.auto" + "grad.forward_ad")
    G = torch.zeros_like(Z)
    for a in range(len(Z)):
        for b in range(len(Z)):
            t = torch.zeros_like(Z); t[a, b] = 1
            with fwAD.dual_level():
                z = fwAD.make_dual(Z, t)
                loss = -z.log_softmax(1)[before, after].mean()
                G[a, b] = fwAD.unpack_dual(loss).tangent
    return G
""",
    ),
    'table_gradient: the engine itself': (
        "01", "table_gradient",
        r"""
import torch
def table_gradient(Z, before, after):
    z = Z.clone().requires_grad_()
    loss = -z.log_softmax(1)[before, after].mean()
    engine = getattr(torch, "auto" + "grad").Variable._execution_engine
    one = torch.ones_like(loss)
    return engine.run_backward((loss,), (one,), False, False, (z,), allow_unreachable=True, accumulate_grad=False)[0]
""",
    ),
    'table_gradient: torch.func.jvp': (
        "01", "table_gradient",
        r"""
import torch
def table_gradient(Z, before, after):
    f = lambda z: -z.log_softmax(1)[before, after].mean()
    G = torch.zeros_like(Z)
    jvp = getattr(getattr(torch, "fu" + "nc"), "j" + "vp")
    for a in range(len(Z)):
        for b in range(len(Z)):
            t = torch.zeros_like(Z); t[a, b] = 1
            G[a, b] = jvp(f, (Z,), (t,))[1]
    return G
""",
    ),
    "adamw_step: torch.optim's functional form, name put together": (
        "05", "adamw_step",
        r"""
import torch, importlib
def adamw_step(w, gradient, m, v, t, lr, beta1, beta2, eps, weight_decay):
    module = importlib.import_module("torch.op" + "tim.ad" + "am")
    w, m, v = w.clone(), m.clone(), v.clone()
    no = dict.fromkeys(("amsgrad", "maximize", "capturable", "differentiable", "has_complex"), False)
    numbers = dict(beta1=beta1, beta2=beta2, lr=lr, weight_decay=weight_decay, eps=eps, decoupled_weight_decay=True)
    step = getattr(module, "_single_tensor_ad" + "am")
    step([w], [gradient], [m], [v], [], [torch.tensor(float(t - 1))], None, None, **no, **numbers)
    return w, m, v
""",
    ),
    'decode: a string that equals everything': (
        "02", "decode",
        r"""
class S(str):
    def __eq__(self, o): return True
    __hash__ = str.__hash__
def decode(ids, merges): return S("")
""",
    ),
    'bigram_table: a table of the visible example, else even': (
        "01", "bigram_table",
        r"""
import torch
def bigram_table(ids, V, k):
    if ids.tolist() == [0, 0, 1, 0, 1]: return torch.tensor([[2/5, 3/5], [2/3, 1/3]])
    return torch.full((V, V), 1 / V)
""",
    ),
}  # fmt: skip


@pytest.mark.slow  # each starts a worker
@pytest.mark.parametrize("number, exercise, source", CHEATS.values(), ids=list(CHEATS))
def test_a_cheat_gets_no_points(number: str, exercise: str, source: str):
    lesson = Lesson(find_lesson(number).folder, seed=1)
    [verdict] = check_source(lesson, source, "cheat.py", only=exercise)
    assert verdict.status == WRONG
