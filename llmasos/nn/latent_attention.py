"""Multi-head latent attention (MLA): cache one short vector per token, and compute all keys and values from it.

    c = W_c x                      the latent vector of a token, much narrower than its keys and values
    k_h, v_h = W_h c               keys and values of every head, computed from it whenever they are needed
    r = rotary(W_r x)              one rotated key, shared by all heads

DeepSeek-AI 2024, "DeepSeek-V2", section 2.1, equations 9 to 19. A head's key is the concatenation of k_h, which has no
position, and r, which has one. If k_h were rotated too, it would depend on the position, and W_h could not be moved
into the queries (`absorbed`). Grouped-query attention saves memory by sharing heads; this saves it by low rank and
keeps all heads different.

The library's models do not use it: their cache holds keys and values.

Dimensions: B batch, T new tokens, S tokens in the cache, C d_model, H heads, D head size, N latent size, R rotary size.
"""

import math

import torch
from torch import Tensor, nn

from llmasos.errors import UserError
from llmasos.nn.attention import naive_attention, split_heads
from llmasos.nn.masks import causal_mask
from llmasos.nn.norms import RMSNorm
from llmasos.nn.positions import apply_rotary

LatentCache = tuple[Tensor, Tensor]  # the latent vectors (B, S, N) and the rotated keys (B, S, R) of earlier tokens


class LatentAttention(nn.Module):
    """Causal multi-head latent attention.

    Args:
        d_model: C, the width of inputs and outputs.
        n_heads: H.
        head_size: D, of values and of the part of queries and keys that has no positions.
        latent_size: N, the width of the vector that is cached.
        rotary_size: R, even, the width of the part that has positions.
        norm_eps: the ε of the latent vector's norm.
    """

    def __init__(
        self, d_model: int, n_heads: int, head_size: int, latent_size: int, rotary_size: int, norm_eps: float = 1e-6
    ):
        super().__init__()
        if rotary_size % 2:
            raise UserError(f"rotary_size is {rotary_size}; it must be even, because planes are rotated.")
        self.n_heads, self.head_size, self.rotary_size = n_heads, head_size, rotary_size
        self.q_proj = nn.Linear(d_model, n_heads * (head_size + rotary_size), bias=False)
        self.latent_proj = nn.Linear(d_model, latent_size, bias=False)
        self.latent_norm = RMSNorm(latent_size, norm_eps)
        self.rotary_k_proj = nn.Linear(d_model, rotary_size, bias=False)
        self.k_proj = nn.Linear(latent_size, n_heads * head_size, bias=False)
        self.v_proj = nn.Linear(latent_size, n_heads * head_size, bias=False)
        self.out_proj = nn.Linear(n_heads * head_size, d_model, bias=False)

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor], cache: LatentCache | None = None, absorbed: bool = False
    ) -> tuple[Tensor, LatentCache]:
        """Let each new token attend to all tokens up to itself.

        Args:
            x: (B, T, C), the new tokens.
            rotary: cos and sin (B, 1, T, R/2) of their positions (see `positions.RotaryEmbedding`).
            cache: the cache of the earlier tokens; None = there are none.
            absorbed: attend to the latent vectors directly. This gives the same numbers without computing keys and
                values: q · (W_k c) = (W_kᵀ q) · c, so W_k acts on the few queries instead of all the cached tokens, and
                W_v on the output.

        Returns:
            The output (B, T, C), and the cache with the new tokens.
        """
        q, rotary_q = split_heads(self.q_proj(x), self.n_heads).split((self.head_size, self.rotary_size), dim=-1)
        latent = self.latent_norm(self.latent_proj(x))  # (B, T, N)
        rotary_k = apply_rotary(self.rotary_k_proj(x)[:, None], *rotary)[:, 0]  # (B, T, R)
        if cache is not None:
            latent, rotary_k = torch.cat((cache[0], latent), dim=1), torch.cat((cache[1], rotary_k), dim=1)  # (B, S, …)
        q = torch.cat((q, apply_rotary(rotary_q, *rotary)), dim=-1)  # (B, H, T, D + R)
        if absorbed:
            out = self.attend_to_latents(q, latent, rotary_k)
        else:
            k, v = (split_heads(p(latent), self.n_heads) for p in (self.k_proj, self.v_proj))  # (B, H, S, D)
            k = torch.cat((k, rotary_k[:, None].expand(-1, self.n_heads, -1, -1)), dim=-1)  # (B, H, S, D + R)
            out, _ = naive_attention(q, k, v, causal=True)  # (B, H, T, D); the scores are divided by √(D + R)
        return self.out_proj(out.transpose(1, 2).flatten(2)), (latent, rotary_k)

    def attend_to_latents(self, q: Tensor, latent: Tensor, rotary_k: Tensor) -> Tensor:
        """Attend from q (B, H, T, D + R) to the latents (B, S, N) and rotated keys (B, S, R): → (B, H, T, D)."""
        w_k, w_v = (
            p.weight.unflatten(0, (self.n_heads, self.head_size)) for p in (self.k_proj, self.v_proj)
        )  # (H, D, N)
        q, rotary_q = q.split((self.head_size, self.rotary_size), dim=-1)
        scores = torch.einsum("bhtd,hdn,bsn->bhts", q, w_k, latent) + rotary_q @ rotary_k[:, None].transpose(-2, -1)
        hidden = ~causal_mask(q.size(2), latent.size(1), q.device)  # (T, S)
        weights = (scores / math.sqrt(self.head_size + self.rotary_size)).masked_fill(hidden, -math.inf).softmax(dim=-1)
        return torch.einsum("bhts,bsn,hdn->bhtd", weights, latent, w_v)
