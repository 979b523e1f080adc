"""Workarounds for slow spots of torch on a CPU, collected here so that the rest of `nn` contains only the model.

None of them changes a result by more than rounding, and none of them applies to a GPU.

1. `linear`: matrix products. torch hands those in float32 to MKL, which on an AMD processor with AVX-512 reaches half
   the speed of oneDNN, which torch also contains. Two cores of an AMD EPYC, 768 × 512 by 512 × 128: 470 µs → 230 µs,
   and the backward pass gains as much. Below a million multiplications, the overhead of the call is larger.
   A matrix times **one** vector, which is what cached generation consists of, is bound by reading the matrix, each
   weight being used once. The kernel for it runs on one thread on any AMD processor, and does not reach the memory's
   bandwidth; as a batch of two, the upper and the lower half of the matrix, the same product goes to another kernel:
   `matvec`. 1536 × 384: 118 µs → 33 µs. On Intel's processors MKL is as fast as anything else.
2. `sdpa`: attention under bfloat16 autocast. The backward pass of torch's bfloat16 kernel is several times slower on a
   CPU than that of its float32 kernel, so attention is computed in float32.
3. `gelu`: torch hands GELU to oneDNN, which has an overhead of 6 to 25 µs per call, unless the tensor is transposed.
   For one token of a small model, torch's own kernel is faster: 512 numbers, 6.3 µs → 3.6 µs.
4. `rms_norm`: on a CPU, torch computes it as squares, their mean, a root and so on, one after the other. A vector's
   root mean square is its norm divided by √C, so five operations are enough: 128 numbers, 6.8 µs → 4.4 µs.
5. `OMP_WAIT_POLICY` and `GOMP_SPINCOUNT`, set in `llmasos/__init__.py` because they must be set before torch is
   imported. By default OpenMP's threads wait for each other in a long busy loop. As soon as another program wants one
   of the cores, a training step takes up to tens of times longer: a spinning thread keeps the thread it is waiting for
   off the core. With these settings a thread spins for a few microseconds and then sleeps.
"""

import math
import platform
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

T = TypeVar("T")


def is_intel() -> bool:
    """Whether this is one of Intel's processors, for which MKL is made."""
    name = torch.cpu.get_capabilities().get("cpu_name") if hasattr(torch.cpu, "get_capabilities") else None
    return "intel" in str(name or platform.processor()).lower()


def has_onednn() -> bool:
    """Whether torch can call oneDNN for a product, and uses AVX-512, without which MKL is no slower."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and hasattr(torch.ops.mkldnn, "_linear_pointwise")


SLOW_VECTOR_KERNEL = not is_intel()  # for the product with one vector
SLOW_MKL = SLOW_VECTOR_KERNEL and has_onednn()  # for products of matrices
SMALL_MATRIX = 100_000  # weights; below this, `matvec` does not pay off
SMALL_PRODUCT = 2**20  # multiplications; below this, oneDNN does not pay off,
SMALL_TRAINED_PRODUCT = 2**22  # and with a backward pass in Python below this
FEW_NUMBERS = 4096  # elements; above this, `gelu` and `rms_norm` do not pay off


class FastProducts(TorchFunctionMode):
    """A context in which `linear` computes every `F.linear`, and with it every `nn.Linear`."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return (linear if func is F.linear else func)(*args, **(kwargs or {}))


def with_fast_products(method: Callable[..., T]) -> Callable[..., T]:
    """Decorate a method of a model, whose first argument is ids (B, T), so that it computes in `FastProducts`.

    In this context each operation takes a microsecond or two longer, so a short input is left to torch.
    """

    @wraps(method)
    def run(model: Any, *args: Any, **kwargs: Any) -> T:
        ids = next(iter((*args, *kwargs.values())), None)
        if not SLOW_MKL or not isinstance(ids, Tensor) or not ids.is_cpu:
            return method(model, *args, **kwargs)
        is_small = ids.numel() * model.config.d_model**2 < SMALL_TRAINED_PRODUCT
        is_compiled = torch.compiler.is_compiling() or model._compiled_call_impl is not None
        if is_small or is_compiled or torch._C._len_torch_function_stack() or torch.is_autocast_enabled("cpu"):
            return method(model, *args, **kwargs)
        with FastProducts():
            return method(model, *args, **kwargs)

    return run


def apply_linear(layer: nn.Module, x: Tensor) -> Tensor:
    """`layer(x)`, by `linear` if the layer is an `nn.Linear` without hooks: (…, in) → (…, out)."""
    if type(layer) is nn.Linear and not layer._forward_hooks and not layer._forward_pre_hooks:
        return linear(x, layer.weight, layer.bias)
    return layer(x)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear` by the fastest of torch's kernels: x (…, in), weight (out, in), bias (out,) → (…, out)."""
    if not SLOW_VECTOR_KERNEL or not is_plain(x, weight):
        return F.linear(x, weight, bias)
    n_rows, n_weights = x.numel() // max(1, x.size(-1)), weight.numel()
    use_onednn = SLOW_MKL and x.dtype is weight.dtype is torch.float32
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, weight, bias)):
        if use_onednn and n_rows * n_weights >= SMALL_TRAINED_PRODUCT:
            return OneDNNLinear.apply(x.reshape(n_rows, x.size(-1)), weight, bias).view(*x.shape[:-1], -1)
    elif n_rows == 1 and n_weights >= SMALL_MATRIX and weight.size(0) % 2 == 0:
        return matvec(x, weight, bias)
    elif use_onednn and n_rows * n_weights >= SMALL_PRODUCT:
        return onednn(x.reshape(n_rows, x.size(-1)), weight, bias).view(*x.shape[:-1], -1)
    return F.linear(x, weight, bias)


def is_plain(x: Tensor, weight: Tensor) -> bool:
    """Whether both are ordinary tensors on the CPU, and nothing wants to see the operations on them."""
    return (
        x.is_cpu
        and type(x) in (Tensor, nn.Parameter)
        and type(weight) in (Tensor, nn.Parameter)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not torch._C._are_functorch_transforms_active()
        and torch._C._len_torch_dispatch_stack() == 0
    )


def first_slow_size(weight: Tensor) -> float:
    """From how many rows on `linear` may choose another kernel than `F.linear`; infinity = never."""
    if SLOW_VECTOR_KERNEL and weight.is_cpu and weight.numel() >= SMALL_MATRIX:
        return 0
    use_onednn = SLOW_MKL and weight.is_cpu and weight.dtype is torch.float32
    return SMALL_PRODUCT / max(1, weight.numel()) if use_onednn else math.inf


def matvec(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear` for one row: x (…, in), weight (out, in) with an even `out`, bias (out,) or None → (…, out)."""
    halves = weight.view(2, -1, weight.size(1))  # (2, out/2, in)
    column = x.reshape(1, -1).t().expand(2, -1, -1)  # (2, in, 1); as a transposed row, or BLAS sees a vector again
    y = torch.bmm(halves, column).view(*x.shape[:-1], -1)  # (…, out)
    return y if bias is None else y + bias


def onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear` by oneDNN, without a gradient: x (N, in), weight (out, in), bias (out,) → (N, out)."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")  # "none": no activation after it


class OneDNNLinear(torch.autograd.Function):
    """`onednn` with a gradient, which is two more products of the same kind."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return onednn(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]  # any number of them
        x, weight = ctx.saved_tensors  # (N, in), (out, in)
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        grad_x = linear(grad, weight.t()) if needs_x else None
        grad_weight = None
        if needs_weight:  # gradᵀ x; oneDNN is faster with the longer side in the second place
            out, n_in = weight.shape
            grad_weight = linear(grad.t(), x.t()) if n_in >= out else linear(x.t(), grad.t()).t()
        return grad_x, grad_weight, grad.sum(dim=0) if needs_bias else None


def gelu(x: Tensor) -> Tensor:
    """`F.gelu` without a gradient, of any shape."""
    if x.is_cpu and x.dtype == torch.float32 and x.numel() <= FEW_NUMBERS and x.numel() % 2 == 0:
        return F.gelu(x.reshape(-1, 2).t()).t().reshape(x.shape)
    return F.gelu(x)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """`torch.rms_norm` over the last dimension, without a gradient: x (…, C), weight (C,) → (…, C)."""
    if x.is_cpu and x.dtype == torch.float32 and x.numel() <= FEW_NUMBERS:
        smallest, scale = rms_constants(x.size(-1), eps)
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return x * weight / torch.hypot(norm, smallest).mul_(scale)  # √(‖x‖² + C·eps) / √C
    return torch.rms_norm(x, weight.shape, weight, eps)


@cache
def rms_constants(C: int, eps: float) -> tuple[Tensor, Tensor]:
    """√(C·eps) and 1 / √C as tensors: an operation with a Python number takes a microsecond longer."""
    return torch.tensor(math.sqrt(C * eps)), torch.tensor(1.0 / math.sqrt(C))


def sdpa(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """`F.scaled_dot_product_attention`, in float32 where a CPU would compute it in bfloat16.

    A float mask is added to the scores, and is converted to their type.
    """
    is_slow = q.device.type == "cpu" and q.dtype == torch.bfloat16
    if attn_mask is not None and attn_mask.is_floating_point():
        attn_mask = attn_mask.to(torch.float32 if is_slow else q.dtype)
    if not is_slow:
        return F.scaled_dot_product_attention(q, k, v, attn_mask, dropout_p, is_causal, scale=scale)
    with torch.autocast("cpu", enabled=False):
        q32, k32, v32 = q.float(), k.float(), v.float()
        out = F.scaled_dot_product_attention(q32, k32, v32, attn_mask, dropout_p, is_causal, scale=scale)
    return out.to(q.dtype)
