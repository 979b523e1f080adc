"""The model that a server serves: its name, its capabilities, and the limits of a request."""

import dataclasses
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmasos.capabilities import CAPABILITIES, capabilities_of
from llmasos.generation import BeamOptions, SamplingOptions
from llmasos.generation.options import api_name, options_for
from llmasos.models import Model, ModelConfig, n_parameters_of
from llmasos.nn import quantization_of
from llmasos.prompting import ChatTemplate, own_template_note, template_of
from llmasos.prompting.chat_template import PLAIN
from llmasos.serving.engine import Engine
from llmasos.serving.metrics import Metrics
from llmasos.tokenizers import Tokenizer


def default_name(model: str | Path) -> str:
    """The name under which a model is served by default: its folder's name, or the name it was loaded by.

    >>> default_name("HuggingFaceTB/SmolLM2-135M")
    'HuggingFaceTB/SmolLM2-135M'
    """
    folder = Path(os.path.abspath(model))  # unlike `resolve`, this keeps the name of a symbolic link
    return folder.name if folder.is_dir() else str(model)


@dataclass
class ServedModel:
    """A running model, as used by the routes.

    Attributes:
        name: the model's name in requests.
        engine: the engine that runs the model.
        max_tokens: the maximum number of tokens that a request may ask for.
        examples: inputs to try on the page, each with one text, or with a question and its text.
        created: the time when it was loaded, in Unix time.
    """

    name: str
    engine: Engine
    max_tokens: int
    examples: Sequence[Sequence[str]] = ()
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self):
        self.model: Model = self.engine.model
        self.tokenizer: Tokenizer = self.engine.tokenizer
        self.metrics: Metrics = self.engine.metrics
        self.config: ModelConfig = self.engine.model.config
        self.vocab_size = min(self.tokenizer.vocab_size, self.config.vocab_size)
        self.capabilities = capabilities_of(self.config.family, self.config.head)
        self.template: ChatTemplate | None = template_of(self.tokenizer) if "chat" in self.capabilities else None
        self.template_note = "" if self.template is None else own_template_note(self.tokenizer)

    @property
    def offered(self) -> tuple[str, ...]:
        """What to recommend the model for: any GPT accepts a conversation, but only a chat model answers."""
        is_chat_model = self.template is not None and self.template.name != PLAIN
        return tuple(name for name in self.capabilities if name != "chat" or is_chat_model)

    @property
    def offered_in_words(self) -> str:
        """The same for a person: "continue a text (completion), embed texts (embedding)"."""
        return ", ".join(f"{CAPABILITIES[name].summary} ({name})" for name in self.offered)

    @property
    def sampling(self) -> dict[str, dict[str, Any]]:
        """The options of generation with their API names, for the page: what the model recommends, and a slider."""
        if not {"completion", "translation"} & set(self.capabilities):
            return {}
        options: SamplingOptions | BeamOptions = options_for(self.model, BeamOptions)
        if "completion" in self.capabilities:
            options = options_for(self.model, SamplingOptions)
        sliders = {}
        for option in dataclasses.fields(options):
            if option.metadata and option.metadata["slider"]:
                low, high, step = option.metadata["slider"]
                off = next(iter(option.metadata["off"]), None)
                default = getattr(options, option.name)
                sliders[api_name(option)] = {
                    "default": off if default is None else default,
                    "recommended": option.name in self.model.generation_config.recommended,
                    "min": low,
                    "max": high,
                    "step": step,
                    "off": off,
                    "help": option.metadata["help"],
                }
        return sliders

    def default_tokens(self, default: int) -> int:
        """How many tokens a request without a limit gets: what the model recommends, or else the route's default."""
        return min(self.model.generation_config.recommended.get("max_new_tokens", default), self.max_tokens)

    def n_tokens(self, text: str | list[int]) -> int:
        """How many tokens a text, or the ids of one, have with the special tokens around them."""
        ids = self.tokenizer.encode(text) if isinstance(text, str) else text
        return len(ids) + self.tokenizer.n_special_tokens(1)

    def truncation_warnings(self, n_tokens: int, what_is_read: str, longest: int | None = None) -> dict[str, list[str]]:
        """The field `warnings` of a response to a text of n tokens; empty if the model reads all of it.

        Args:
            n_tokens: the number of tokens of the text.
            what_is_read: the part of a long text that is read, in words.
            longest: the maximum number of tokens that are read; None = the model's context.
        """
        context_length = self.config.context_length
        if n_tokens <= min(longest or context_length, context_length):
            return {}
        length = (
            f"the text has {n_tokens} tokens, special tokens included, and the model's context has {context_length}"
        )
        if longest is not None and longest < context_length:
            length = f"the text has {n_tokens} tokens, special tokens included, and the model embeds {longest}"
        return {"warnings": [f"{length}: only {what_is_read} read."]}

    def describe(self) -> dict[str, Any]:
        """The model as `/v1/models` shows it: OpenAI's fields, and what the page needs to adapt to the model."""
        config = self.config
        return {
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "llmasos",
            "family": config.family,
            "capabilities": list(self.capabilities),
            "context_length": config.context_length,
            "n_layers": config.n_layers,
            "n_heads": config.n_heads,
            "parameters": n_parameters_of(config),
            "vocab_size": self.vocab_size,
            "labels": list(config.labels),
            "quantization": quantization_of(self.model),
            "chat_template": None if self.template is None else self.template.name,
            "chat_template_note": self.template_note,
            "max_tokens": self.max_tokens,
            "sampling": self.sampling,
            "examples": list(self.examples),
        }
