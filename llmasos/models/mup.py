"""Maximal update parametrization (muP): a wide model has the same best learning rate as a narrow one.

In an ordinary model the best learning rate decreases with the width, so that of a small model cannot be used for a
large one, where a search would be too expensive. Yang et al. 2022 ("Tensor Programs V", table 3) scale initial weights
and learning rates with the width, so that one step changes every activation by the same amount in a wide model as in a
narrow one. With m = d_model / mup_base_width:

                                          initial std     rate of AdamW     rate of Muon
    embeddings, norms, biases                  1                1                 -
    matrices inside the blocks               1/√m              1/m               1/√m
    output layer, routers of experts          1/m              1/m                -

Why. The entries of an AdamW update all have about the size of the learning rate, and their signs agree with those of
the input. So a product with C inputs changes by about C times the rate: the rate must fall as 1/m. Initial weights are
random, so their C terms add up like √C: 1/√m keeps the sum. The output layer is different: training aligns it with its
input, so that its terms do add up like C, and it starts with 1/m. An embedding is a lookup, a sum with one term,
whatever the width. Our Muon multiplies its update, whose singular values are all equal, by 0.2·√width (see
`training/muon.py`); a constant spectral norm needs 1/√m (Yang, Simon & Bernstein 2023).

Three conditions keep the table this short:

- The output layer has a matrix of its own (`tie_embeddings=False`, which `ModelConfig` checks): a tied one would be an
  embedding and an output layer at once, with two rates.
- A wider model has more heads of the same size. Then attention's 1/√D is the same at every width; with larger heads it
  would have to be 1/D.
- The depth is the same, or changes what the best rate is: muP is about width alone.

The head of a classifier or a reward model (`models/heads.py`) is new in fine-tuning, and is not scaled.

At the base width (m = 1) nothing changes, bit for bit.
"""

import re

from llmasos.models.config import ModelConfig

OUTPUT = re.compile(r"(^|\.)(lm_head|router)\.weight$")
HIDDEN = re.compile(r"(^|\.)blocks\.(?!.*\.lora_).*\.weight$")  # LoRA's thin factors are excluded


def width_ratio(config: ModelConfig) -> float:
    """m, how many times as wide the model is as the base; 1 without muP."""
    return config.d_model / config.mup_base_width if config.mup_base_width else 1.0


def init_factor(name: str, ndim: int, m: float) -> float:
    """The factor of a parameter's initial standard deviation.

    Args:
        name: the parameter's name, such as "blocks.0.attention.q_proj.weight".
        ndim: its number of dimensions; only matrices are scaled.
        m: the width ratio.

    >>> names = ("token_embedding.weight", "blocks.0.feed_forward.up_proj.weight", "lm_head.weight")
    >>> [init_factor(name, 2, 4.0) for name in names]
    [1.0, 0.5, 0.25]
    """
    if ndim < 2:
        return 1.0
    if OUTPUT.search(name):
        return 1.0 / m
    return m**-0.5 if HIDDEN.search(name) else 1.0


def rate_factor(name: str, ndim: int, m: float, optimizer: str) -> float:
    """The factor of a parameter's learning rate.

    Args:
        name, ndim, m: see `init_factor`.
        optimizer: "adamw" or "muon", the one that holds this parameter.

    >>> [rate_factor("blocks.0.feed_forward.up_proj.weight", 2, 4.0, optimizer) for optimizer in ("adamw", "muon")]
    [0.25, 0.5]
    """
    if ndim < 2 or not (OUTPUT.search(name) or HIDDEN.search(name)):
        return 1.0
    return m**-0.5 if optimizer == "muon" else 1.0 / m
