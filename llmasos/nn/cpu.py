"""Workarounds for slow spots of torch on a CPU, collected here so that the rest of `nn` contains only the model.

None of them changes a result by more than rounding, and none of them applies to a GPU.

1. `linear`: a matrix times **one** vector, which is what cached generation consists of. The product is bound by reading
   the matrix from memory, each weight being used once. torch hands it to BLAS's matrix-vector kernel, which on AMD
   processors runs on one thread, and on some of them does not reach full memory bandwidth. The same product as a batch
   of two (the upper and the lower half of the matrix) goes to other kernels: full speed, all threads. On two cores of
   two AMD EPYCs, 1536 × 384 in float32: 215 µs → 48 µs and 55 µs → 40 µs. A matrix of fewer than 100,000 weights is
   read in less time than the detour takes: 512 × 128, 7 µs → 11 µs. Intel processors do not need the detour; on a Xeon
   it took three times as long as the kernel.
2. `sdpa`: attention under bfloat16 autocast. The backward pass of torch's bfloat16 kernel is several times slower on a
   CPU than that of its float32 kernel, so attention is computed in float32.
3. `gelu`: torch hands GELU to oneDNN, which has an overhead of 6 to 25 µs per call, unless the tensor is transposed.
   For one token of a small model, torch's own kernel is faster: 512 numbers, 6.3 µs → 3.6 µs.
4. `rms_norm`: on a CPU, torch computes it in nine operations. A vector's root mean square is its norm divided by √C, so
   five are enough: 128 numbers, 6.8 µs → 4.4 µs.
5. `OMP_WAIT_POLICY` and `GOMP_SPINCOUNT`, set in `llmasos/__init__.py` because they must be set before torch is
   imported. By default OpenMP's threads wait for each other in a long busy loop. As soon as another program wants one
   of the cores, a training step takes up to tens of times longer: a spinning thread keeps the thread it is waiting for
   off the core. With these settings a thread spins for a few microseconds and then sleeps.
"""

import math
import platform
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def vector_kernel_is_slow() -> bool:
    """Whether BLAS's matrix-vector kernel is slow on this processor, that is, on any that is not Intel's."""
    name = torch.cpu.get_capabilities().get("cpu_name") if hasattr(torch.cpu, "get_capabilities") else None
    return "intel" not in str(name or platform.processor()).lower()


SLOW_VECTOR_KERNEL = vector_kernel_is_slow()
SMALL_MATRIX = 100_000  # weights; below this, `matvec` does not pay off
FEW_NUMBERS = 4096  # elements; above this, `gelu` and `rms_norm` do not pay off


def apply_linear(layer: nn.Module, x: Tensor) -> Tensor:
    """`layer(x)`, by `linear` if the layer is an `nn.Linear` without hooks: (…, in) → (…, out)."""
    if type(layer) is nn.Linear and not layer._forward_hooks and not layer._forward_pre_hooks:
        return linear(x, layer.weight, layer.bias)
    return layer(x)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear`; a single row is multiplied by `matvec` where that is faster."""
    if x.numel() == weight.size(1) and has_slow_kernel(weight):
        if not torch.is_grad_enabled() and not torch.compiler.is_compiling():
            return matvec(x, weight, bias)
    return F.linear(x, weight, bias)


def has_slow_kernel(weight: Tensor) -> bool:
    """Whether `matvec` is faster than BLAS's matrix-vector kernel with this matrix (out, in)."""
    return SLOW_VECTOR_KERNEL and weight.is_cpu and weight.numel() >= SMALL_MATRIX and weight.size(0) % 2 == 0


def matvec(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear` for one row: x (…, in), weight (out, in) with an even `out`, bias (out,) or None → (…, out)."""
    halves = weight.view(2, -1, weight.size(1))  # (2, out/2, in)
    column = x.reshape(1, -1).t().expand(2, -1, -1)  # (2, in, 1); as a transposed row, or BLAS sees a vector again
    y = torch.bmm(halves, column).view(*x.shape[:-1], -1)  # (…, out)
    return y if bias is None else y + bias


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
