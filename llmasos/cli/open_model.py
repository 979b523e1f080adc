"""Open a model for a purpose. Whether it has the capability is checked before its weights are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmasos import hub, training
from llmasos.capabilities import check_capability
from llmasos.hub.resolve import name_of

if TYPE_CHECKING:  # commands import torch only when they need it
    from llmasos.models import Model
    from llmasos.tokenizers import Tokenizer


def open_model(model: str, capability: str, device: str = "auto") -> tuple[str, Model, Tokenizer]:
    """Load a model that a user has named.

    Args:
        model: the folder of a run or of a model, or a name.
        capability: the purpose, a name in `llmasos/capabilities.py`.
        device: the value of --device.

    Returns:
        The model's name for the user, the model and its tokenizer.

    Raises:
        UserError: there is no such model, or it cannot do that.
    """
    folder = hub.find_model_folder(model, say=print)
    config = hub.load_config(folder)
    name = name_of(folder)
    check_capability(capability, config.family, config.head, name)
    return name, *hub.load_pretrained(folder, training.pick_device(device), say=print)
