"""What is served: a model under a name, what it can do, and how much of it one request may ask for."""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from llmasos.models import ModelConfig, n_parameters_of
from llmasos.nn import is_quantized
from llmasos.prompting import ChatTemplate, template_of
from llmasos.serving.engine import Engine
from llmasos.serving.metrics import Metrics
from llmasos.tokenizers import Tokenizer

ABILITIES = {  # (family, head) → what such a model can do; any can embed
    ("gpt", "lm"): ("complete", "chat", "look"),
    ("bert", "pretraining"): ("fill", "look"),
    ("transformer", "lm"): ("translate", "look"),
    "classifier": ("classify",),
    "question_answering": ("answer",),
    "features": (),
}


def abilities_of(config: ModelConfig) -> tuple[str, ...]:
    """What a model of this config can do.

    >>> abilities_of(ModelConfig(family="bert", head="classifier", labels=("happy", "sad")))
    ('classify', 'embed')
    """
    key = (config.family, config.head) if config.is_pretraining else config.head
    return (*ABILITIES[key], "embed")


def name_of(model: str | Path) -> str:
    """What requests call a model if nothing else is said: the last part of its folder's name, or its name.

    >>> name_of("HuggingFaceTB/SmolLM2-135M")
    'HuggingFaceTB/SmolLM2-135M'
    """
    folder = Path(os.path.abspath(model))  # which, unlike `resolve`, leaves a link its own name
    return folder.name if folder.is_dir() else str(model)


@dataclass
class Served:
    """A model at work, as the routes see it.

    Attributes:
        name: what requests call the model.
        engine: does the work.
        max_tokens: how many tokens a request may ask for.
        created: when it was opened, in Unix time.
    """

    name: str
    engine: Engine
    max_tokens: int
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self):
        self.model: nn.Module = self.engine.model
        self.tokenizer: Tokenizer = self.engine.tokenizer
        self.metrics: Metrics = self.engine.metrics
        self.config: ModelConfig = self.model.config
        self.vocab_size = min(self.tokenizer.vocab_size, self.config.vocab_size)
        self.abilities = abilities_of(self.config)
        self.template: ChatTemplate | None = template_of(self.tokenizer) if "chat" in self.abilities else None

    @property
    def ready(self) -> bool:
        """Whether it takes work."""
        return self.engine.alive

    def describe(self) -> dict[str, Any]:
        """The model as `/v1/models` shows it: OpenAI's fields, and what a page must know to fit it."""
        config = self.config
        return {
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "llmasos",
            "family": config.family,
            "abilities": list(self.abilities),
            "context_length": config.context_length,
            "n_layers": config.n_layers,
            "n_heads": config.n_heads,
            "parameters": n_parameters_of(config),
            "vocab_size": self.vocab_size,
            "labels": list(config.labels),
            "quantization": "int8" if is_quantized(self.model) else None,
            "chat_template": None if self.template is None else self.template.name,
            "max_tokens": self.max_tokens,
        }
