"""Extend a trained model to longer texts than it was trained on.

    longer = extend_context(model, 2 * 128, rope_scaling=RopeScaling(2.0, type="linear"))

Positions that are computed (sinusoidal, rotary, ALiBi, none) exist for any length; whether the model can use positions
that it has never seen is another question, and `nn/rope_scaling.py` has four answers to it. Learned positions exist
only up to the training length.
"""

import dataclasses

from llmasos.errors import UserError
from llmasos.models.adapter import AnyModel, check_unadapted
from llmasos.models.serialization import build_model
from llmasos.nn.rope_scaling import RopeScaling


def extend_context(model: AnyModel, context_length: int, rope_scaling: RopeScaling | None = None) -> AnyModel:
    """Return a copy of a model with another context length, in evaluation mode.

    Args:
        model: the model with its weights.
        context_length: the copy's context length, in tokens.
        rope_scaling: how its rotary frequencies are scaled (None = not at all).

    Raises:
        UserError: the model has learned positions, an adapter, or quantized weights.
    """
    check_unadapted(model)
    if model.config.positions == "learned":
        raise UserError(
            f"the model has learned {model.config.context_length} positions, and there are no others: extend one "
            "with rotary, sinusoidal, alibi or no positions."
        )
    config = dataclasses.replace(model.config, context_length=context_length, rope_scaling=rope_scaling)
    longer = build_model(config)
    longer.load_state_dict(model.state_dict())
    longer.generation_config, longer.embedding_config = model.generation_config, model.embedding_config
    weight = next(model.parameters())
    return longer.to(weight.device, weight.dtype).eval()  # type: ignore[return-value]  # the config says which class
