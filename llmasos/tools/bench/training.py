"""Training, from its kernels to a whole step: matrix products, attention, and our loop against a plain eager loop."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.errors import UserError
from llmasos.models import ModelConfig, flops_per_token
from llmasos.nn.attention import fused_attention, naive_attention
from llmasos.tools.bench.measurement import Measurement, Settings, interleave, ratio, summarize, timed
from llmasos.tools.training_step import make_step, make_trainer, random_tokens, step_of
from llmasos.training.device import matmul_peak, pick_precision
from llmasos.training.optimizers import optimizer_tensors
from llmasos.training.recipe import PRECISIONS
from llmasos.training.trainer import Trainer

MIB = 2.0**20
TINY = ModelConfig(vocab_size=65, n_layers=1, n_heads=2, d_model=32, context_length=16)
SIZES = {  # name → (model, batch size); in the small one the overhead of each operation shows, in the large one matmul
    "small": (ModelConfig(vocab_size=65, n_layers=4, n_heads=4, d_model=128, context_length=64, activation="gelu"), 12),
    "large": (ModelConfig(vocab_size=65, n_layers=6, n_heads=6, d_model=384, context_length=256, activation="gelu"), 8),
}
LORA_RANK = 8
SHAPES = [(12, 4, 64, 32), (8, 6, 256, 64)]  # B, H, T, D of the two models above


def bench_matmul(settings: Settings) -> Iterator[Measurement | str]:
    """The machine's peak rate in each number format it supports."""
    measures = {}
    for precision in PRECISIONS:
        try:
            pick_precision(precision, settings.device)
            matmul_peak(settings.device, precision, seconds=0.0)
        except (UserError, RuntimeError, TypeError) as error:
            yield f"{precision}: {str(error).splitlines()[0]}"
        else:
            measures[precision] = partial(matmul_peak, settings.device, precision, seconds=settings.seconds(0.1))
    for precision, rates in interleave(measures, settings.repetitions(5)).items():
        yield summarize(f"matmul.{precision}", "", precision, "GFLOP/s", [rate / 1e9 for rate in rates])


def bench_attention(settings: Settings) -> Iterator[Measurement]:
    """Both attentions at two sizes."""
    for B, H, T, D in SHAPES:
        yield from compare_attention(B, H, T, D, settings)


def compare_attention(B: int, H: int, T: int, D: int, settings: Settings) -> Iterator[Measurement]:
    """Both attentions, causal, forward and backward: time, and memory saved for the backward pass."""
    # contiguous (B, T, H, D), viewed as (B, H, T, D), as the projections produce them
    q, k, v, grad = (torch.randn(B, T, H, D, device=settings.device).transpose(1, 2) for _ in range(4))
    inputs = [x.requires_grad_() for x in (q, k, v)]

    def forward(attention: Callable) -> Tensor:
        return attention(*inputs, causal=True)[0]

    def step(attention: Callable) -> tuple[Tensor, ...]:
        return torch.autograd.grad(forward(attention), inputs, grad)

    attentions = {"explicit": naive_attention, "fused": fused_attention}
    measures = {
        name: timed(partial(step, attention), settings.device, settings.seconds(0.05))
        for name, attention in attentions.items()
    }
    seconds = interleave(measures, settings.repetitions(15))
    key, setup = f"attention.T{T}", f"B {B}, H {H}, T {T}, D {D}"
    for name, values in seconds.items():
        yield summarize(f"{key}.{name}_ms", setup, name, "ms", [1e3 * x for x in values], best=min)
    yield ratio(f"{key}.speedup", setup, "explicit over fused", seconds["explicit"], seconds["fused"], best=min)

    saved = {name: [saved_for_backward(partial(forward, attention)) / MIB] for name, attention in attentions.items()}
    for name, values in saved.items():
        yield summarize(f"{key}.{name}_saved_mib", setup, f"{name}, saved for the backward pass", "MiB", values)
    yield ratio(f"{key}.saved", setup, "saved, explicit over fused", saved["explicit"], saved["fused"])


def saved_for_backward(forward: Callable[[], object]) -> int:
    """The bytes a forward pass keeps in memory until its backward pass, inputs included.

    They decide how large a batch fits, and torch reports them on every device.
    """
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = forward()  # keeps the graph alive, so that no address is used twice
    del result
    return sum(sizes.values())


def bench_training(settings: Settings) -> Iterator[Measurement]:
    """Our loop in its default precision and in fp32, the baseline loop, and the matmul peak in fp32."""
    device, precision = settings.device, pick_precision("auto", settings.device)
    for size, (config, batch_size) in SIZES.items():
        config = TINY if settings.quick else config
        steps = {
            "ours": make_step(config, batch_size, device),
            "fp32": make_step(config, batch_size, device, "fp32"),
            "baseline": baseline_step(config, batch_size, random_tokens(config.vocab_size), device),
        }
        measures = {name: timed(step, device, settings.seconds(0.3)) for name, step in steps.items()}
        measures["peak"] = lambda: matmul_peak(device, "fp32", seconds=settings.seconds(0.1))
        values = interleave(measures, settings.repetitions(6))

        n_tokens = batch_size * config.context_length
        ours, fp32, baseline = ([n_tokens / seconds for seconds in values[name]] for name in steps)
        used = [100 * rate * flops_per_token(config) for rate in fp32]
        setup = f"{config.n_layers} layers, width {config.d_model}, context {config.context_length}, batch {batch_size}"
        key = f"training.{size}"
        yield summarize(f"{key}.tokens_per_second", setup, f"our loop ({precision}, auto)", "tokens/s", ours)
        yield summarize(f"{key}.fp32_tokens_per_second", setup, "our loop in fp32", "tokens/s", fp32)
        yield summarize(f"{key}.baseline_tokens_per_second", setup, "plain eager loop", "tokens/s", baseline)
        yield ratio(f"{key}.speedup", setup, "ours over the plain loop", ours, baseline)
        yield ratio(f"{key}.fp32_speedup", setup, "ours in fp32 over the plain loop", fp32, baseline)
        yield ratio(f"{key}.mfu", setup, "ours in fp32 over the matmul peak (MFU)", used, values["peak"], unit="%")


def bench_lora(settings: Settings) -> Iterator[Measurement]:
    """A step that trains an adapter against one that trains all weights, and the bytes of both optimizers' state."""
    config, batch_size = (TINY, 2) if settings.quick else SIZES["large"]
    trainers = {
        "lora": make_trainer(config, batch_size, settings.device, lora_rank=LORA_RANK),
        "full": make_trainer(config, batch_size, settings.device),
    }
    measures = {
        name: timed(step_of(trainer), settings.device, settings.seconds(0.3)) for name, trainer in trainers.items()
    }
    rates = {name: [1 / s for s in values] for name, values in interleave(measures, settings.repetitions(6)).items()}
    setup = f"{config.n_layers} layers, width {config.d_model}, context {config.context_length}, batch {batch_size}"
    for name, values in rates.items():
        what = f"adapter of rank {LORA_RANK}" if name == "lora" else "all weights"
        yield summarize(f"lora.{name}_steps_per_second", setup, what, "steps/s", values)
    yield ratio("lora.speedup", setup, "steps/s, adapter over all weights", rates["lora"], rates["full"])
    size = {name: [float(optimizer_bytes(trainer))] for name, trainer in trainers.items()}
    percent = {name: [100 * values[0]] for name, values in size.items()}
    key, what = "lora.optimizer_bytes", "optimizer's state, adapter over all weights"
    yield ratio(key, setup, what, percent["lora"], size["full"], unit="%")


def optimizer_bytes(trainer: Trainer) -> int:
    """The bytes of the state that the optimizers keep after a step."""
    tensors = optimizer_tensors(trainer.model, trainer.optimizers).values()
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class BaselineBlock(nn.Module):
    """A pre-norm block as in small training scripts. A baseline for speed, not an example to learn from."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.norm1, self.norm2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.qkv, self.out = nn.Linear(d_model, 3 * d_model), nn.Linear(d_model, d_model)
        self.feed_forward = nn.Sequential(nn.Linear(d_model, 4 * d_model), nn.GELU(), nn.Linear(4 * d_model, d_model))

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        qkv = self.qkv(self.norm1(x)).split(C, dim=2)
        q, k, v = (x.view(B, T, self.n_heads, C // self.n_heads).transpose(1, 2) for x in qkv)  # (B, H, T, D)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).contiguous().view(B, T, C))
        return x + self.feed_forward(self.norm2(x))


class BaselineGPT(nn.Module):
    """A GPT made of such blocks, without dropout, with as many parameters as our `GPT` with the same config."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        C = config.d_model
        self.tokens = nn.Embedding(config.vocab_size, C)
        self.positions = nn.Embedding(config.context_length, C)
        self.blocks = nn.ModuleList(BaselineBlock(C, config.n_heads) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(C)
        self.head = nn.Linear(C, config.vocab_size, bias=False)
        self.head.weight = self.tokens.weight
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a batch of ids (B, T)."""
        logits = self.head(self.hidden_states(ids))  # (B, T, V)
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))

    def hidden_states(self, ids: Tensor) -> Tensor:
        """(B, T) → (B, T, C)."""
        x = self.tokens(ids) + self.positions(torch.arange(ids.size(1), device=ids.device))
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def generate(self, ids: Tensor, n_tokens: int) -> Tensor:
        """Continue ids (B, T) as small scripts do: recompute the whole window for every token."""
        for _ in range(n_tokens):
            window = ids[:, -self.positions.num_embeddings :]
            logits = self.head(self.hidden_states(window)[:, -1])  # (B, V)
            ids = torch.cat((ids, torch.multinomial(logits.softmax(dim=-1), 1)), dim=1)
        return ids


def baseline_step(
    config: ModelConfig, batch_size: int, tokens: np.ndarray, device: torch.device
) -> Callable[[], Tensor]:
    """Set up a plain eager training loop. Returns a function that takes one step and returns its loss."""
    model, T = BaselineGPT(config).to(device), config.context_length
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), foreach=False, fused=False)

    def step() -> Tensor:
        starts = torch.randint(len(tokens) - T, (batch_size,))
        ids = torch.stack([torch.from_numpy(tokens[i : i + T].astype(np.int64)) for i in starts])
        targets = torch.stack([torch.from_numpy(tokens[i + 1 : i + 1 + T].astype(np.int64)) for i in starts])
        loss = model(ids.to(device), targets.to(device))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step
