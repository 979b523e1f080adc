"""The initial weights of every model, all set in one place.

- Matrices and embeddings: normal with standard deviation 0.02 (GPT-2; Radford et al. 2018, section 4.1).
- An embedding that its model multiplies by √C (`scale_embeddings`): 1 / √C, so that the product has variance one.
- Matrices that write into the residual stream (`out_proj`, `down_proj`): 0.02 / √R, where R is the number of such
  writes, so that the stream's variance does not grow with depth (Radford et al. 2019, section 2.3). With
  `zero_init_residual`: zero.
- With muP all of these are smaller in a wider model (`models/mup.py`).
- The matrix of an image tower's patches: 1 / √(values of a patch), so that the positions do not dominate them.
- Value embeddings and n-gram embeddings: zero, so that a new model computes the same as one without them.
- Biases: zero. Norms: weight one, bias zero.
"""

import math
import re
from collections import Counter

import torch
from torch import nn

from llmasos.models.config import ModelConfig
from llmasos.models.mup import init_factor, width_ratio
from llmasos.nn import LayerNorm, RMSNorm

STD = 0.02
ADDED_TABLES = ("value_embeddings.", "ngram_embedding.")
RESIDUAL_WRITERS = ("out_proj.weight", "down_proj.weight")
EXPERT = re.compile(r"\.experts\.\d+\.")  # in a name; all experts of a block count as one feed-forward layer


def initialize(model: nn.Module, config: ModelConfig | None = None, generator: torch.Generator | None = None) -> None:
    """Initialize all parameters of `model` in place. A parameter without a rule is an error.

    Args:
        model: the whole model; R is counted for each of its stacks (`blocks`, `encoder_blocks`, `decoder_blocks`).
        config: the model's config, for `scale_embeddings`, `zero_init_residual` and muP; None = a new head or an image
            tower, which have none of these.
        generator: the random number generator (None = torch's global one).
    """
    if all(parameter.is_meta for parameter in model.parameters()):
        return  # a model on the meta device: its weights will be read from a file
    m = width_ratio(config) if config else 1.0
    zero_init_residual = config is not None and config.zero_init_residual
    writers = {EXPERT.sub(".", name) for name, _ in model.named_parameters() if name.endswith(RESIDUAL_WRITERS)}
    n_writes = Counter(map(stack_of, writers))
    done: set[int] = set()
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix=path, recurse=False):
            if isinstance(module, LayerNorm | RMSNorm):
                nn.init.ones_(parameter) if name.endswith("weight") else nn.init.zeros_(parameter)
            elif name.endswith("bias") or name.startswith(ADDED_TABLES):
                nn.init.zeros_(parameter)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(parameter, std=embedding_std(config), generator=generator)
            elif isinstance(module, nn.Linear):
                if id(parameter) in done:  # an output layer tied to the token embedding
                    continue
                scale = 1.0
                if name.endswith(RESIDUAL_WRITERS):
                    scale = 0.0 if zero_init_residual else 1.0 / math.sqrt(n_writes[stack_of(name)])
                std = STD * scale * init_factor(name, parameter.ndim, m)
                if name.startswith("patch_embedding."):
                    std = 1.0 / math.sqrt(parameter.size(1))
                nn.init.normal_(parameter, std=std, generator=generator)
            else:
                continue
            done.add(id(parameter))
    missing = [name for name, parameter in model.named_parameters() if id(parameter) not in done]
    if missing:
        raise TypeError(f"there is no initialization rule for {', '.join(missing)}")


def embedding_std(config: ModelConfig | None) -> float:
    """The standard deviation of a model's embeddings. A BERT never scales them."""
    if config is None or not config.scale_embeddings or config.family == "bert":
        return STD
    return 1.0 / math.sqrt(config.d_model)


def stack_of(name: str) -> str:
    """The stack of blocks a parameter belongs to: "decoder_blocks" of "decoder_blocks.0.attention.out_proj.weight"."""
    return name.split(".", 1)[0]
