"""The yardstick of the training bench: a GPT and its training step as they are usually written.

Not to be learned from: our own parts are in `llmasos/nn`, `llmasos/models` and `llmasos/training`. This is what small
training scripts do, made of torch's ready-made modules, so that the bench can say in the same run, on the same machine,
what our loop gains or loses against it.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.models import ModelConfig


class UsualBlock(nn.Module):
    """The usual pre-norm block, with queries, keys and values from one matrix. A yardstick, not to be learned from."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.norm1, self.norm2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.qkv, self.out = nn.Linear(d_model, 3 * d_model), nn.Linear(d_model, d_model)
        self.feed_forward = nn.Sequential(nn.Linear(d_model, 4 * d_model), nn.GELU(), nn.Linear(4 * d_model, d_model))

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        qkv = self.qkv(self.norm1(x)).split(C, dim=2)
        q, k, v = (part.view(B, T, self.n_heads, C // self.n_heads).transpose(1, 2) for part in qkv)  # (B, H, T, D)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).contiguous().view(B, T, C))
        return x + self.feed_forward(self.norm2(x))


class UsualGPT(nn.Module):
    """The usual small GPT, without dropout. This is the yardstick and not to be learned from.

    It has as many parameters as our `GPT` with the same config.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        C = config.d_model
        self.tokens = nn.Embedding(config.vocab_size, C)
        self.positions = nn.Embedding(config.context_length, C)
        self.blocks = nn.ModuleList(UsualBlock(C, config.n_heads) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(C)
        self.head = nn.Linear(C, config.vocab_size, bias=False)
        self.head.weight = self.tokens.weight
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a batch of ids (B, T)."""
        x = self.tokens(ids) + self.positions(torch.arange(ids.size(1), device=ids.device))
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))  # (B, T, V)
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))


def usual_step(config: ModelConfig, batch_size: int, tokens: np.ndarray, device: torch.device) -> Callable[[], Tensor]:
    """Set up the usual eager training loop. Returns a function that takes one step and returns its loss."""
    model = UsualGPT(config).to(device)
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), foreach=False, fused=False)
    T = config.context_length

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
