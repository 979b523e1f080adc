"""llmasos: an open "LLM operating system" for learning. Build, train, evaluate and use Transformers, from scratch.

    from llmasos import LLMTrainer

    model = LLMTrainer.from_pretrained("storyworld-gpt")
    print(model.generate("One cold morning"))

The rooms in the order in which to read them: `storage`, `nn` (the parts), `models`, `tokenizers`, `datasets`,
`objectives`, `training`, `generation`, `evaluation`, `prompting`, `hub`, `tasks`, `interpret`, `serving`,
`commands`, `sdk`. A room imports only from rooms before it.
"""

import importlib
import os

__version__ = "0.1.0"  # the only place; pyproject.toml and the server read it from here

# Set before torch is imported; llmasos/nn/cpu.py says why. If torch was imported earlier, these have no effect.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "4000")

# name → the module that has it, imported when it is first asked for
FACE = {"LLMTrainer": "llmasos.sdk", "LLMServing": "llmasos.serving.service"}
__all__ = list(FACE)


def __getattr__(name: str):
    """`from llmasos import LLMTrainer`, without torch being imported for those who want a single room."""
    if name not in FACE:
        raise AttributeError(f"module 'llmasos' has no attribute {name!r}; it has {', '.join(FACE)} and its rooms")
    return getattr(importlib.import_module(FACE[name]), name)
