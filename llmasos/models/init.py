"""Every initial weight of every model, set in one place so that it can be read.

- Matrices and embeddings: normal with standard deviation 0.02 (GPT-2; Radford et al. 2018, section 4.1).
- Matrices that write into the residual stream (`out_proj`, `down_proj`): 0.02 / √R, where R is the number of such
  writes, so that the stream's variance does not grow with depth (Radford et al. 2019, section 2.3).
- Biases: zero. Norms: weight one, bias zero.
"""

import math

import torch
from torch import nn

from llmasos.nn import LayerNorm, RMSNorm

STANDARD_DEVIATION = 0.02
RESIDUAL_WRITERS = ("out_proj.weight", "down_proj.weight")


def initialise(model: nn.Module, generator: torch.Generator | None = None) -> None:
    """Set all parameters of `model` in place. A parameter that no rule knows is an error, never left to chance."""
    n_writes = sum(name.endswith(RESIDUAL_WRITERS) for name, _ in model.named_parameters())
    done = set()
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix=path, recurse=False):
            if isinstance(module, LayerNorm | RMSNorm):
                nn.init.ones_(parameter) if name.endswith("weight") else nn.init.zeros_(parameter)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif isinstance(module, nn.Linear | nn.Embedding):
                scale = 1.0 / math.sqrt(n_writes) if name.endswith(RESIDUAL_WRITERS) else 1.0
                nn.init.normal_(parameter, std=STANDARD_DEVIATION * scale, generator=generator)
            else:
                continue
            done.add(id(parameter))
    left = [name for name, parameter in model.named_parameters() if id(parameter) not in done]
    if left:
        raise TypeError(f"no initialisation rule for {', '.join(left)}")
