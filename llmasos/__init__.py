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

# OpenMP's threads, which torch computes with on a CPU, by default wait for each other in a long busy loop. As soon as
# another program wants one of the cores, a training step then takes up to tens of times longer, because a thread that
# spins keeps the one it waits for from running. So: spin for some microseconds only, then sleep. torch must not have
# been imported before; otherwise these come too late, and do no harm.
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
