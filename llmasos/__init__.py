"""llmasos: an open "LLM operating system" for learning. Build, train, evaluate and use Transformers, from scratch.

    from llmasos import LLMTrainer

    model = LLMTrainer.from_pretrained("storyworld-gpt")
    print(model.generate("Once there was"))

The packages, in reading order: `storage`, `nn` (the parts), `models`, `tokenizers`, `datasets`, `objectives`,
`training`, `generation`, `rewards`, `evaluation`, `retrieval`, `prompting`, `hub`, `tasks`, `interpret`, `planning`,
`serving`, `cli`, `tools`, `sdk`. Each imports only from those before it.
"""

import importlib
import os

__version__ = "0.1.0"  # the only place; pyproject.toml and the server read it from here

# Set before torch is imported; llmasos/nn/cpu.py says why. If torch was imported earlier, these have no effect.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "4000")

# name → the module that defines it, imported on first use
EXPORTS = {"LLMTrainer": "llmasos.sdk", "LLMServing": "llmasos.serving.service"}
__all__ = list(EXPORTS)


def __dir__() -> list[str]:
    """The names that completion offers, including those that are imported on first use."""
    return sorted({*globals(), *EXPORTS})


def __getattr__(name: str):
    """Import an exported class on first use, so that a single package can be imported without the others."""
    if name not in EXPORTS:
        from llmasos.errors import nearest  # here, because `import llmasos` should take no time

        hint = nearest(name, EXPORTS) or f"; it has {', '.join(EXPORTS)} and its packages."
        raise AttributeError(f"module 'llmasos' has no attribute {name!r}{hint}")
    return getattr(importlib.import_module(EXPORTS[name]), name)
