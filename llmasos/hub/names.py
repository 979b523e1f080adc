"""Where a name leads: to the folder that holds the model.

    runs/storyworld, ./my_llm        a folder on this machine: a model's, or a run's (its best checkpoint)
    storyworld-gpt                   a model that comes with the library (`shipped/`)
"""

import warnings
from collections.abc import Callable
from pathlib import Path

from llmasos.errors import UserError
from llmasos.training.checkpoints import model_folder

SHIPPED = Path(__file__).parent / "shipped"


def find(name: str | Path, say: Callable[[str], None] = warnings.warn) -> Path:
    """The folder of the model with this name.

    Raises:
        UserError: there is none; says what was looked for, where, and how to get it.
    """
    if Path(name).is_dir():
        return model_folder(name, say)
    if str(name) in shipped_models():
        return SHIPPED / str(name)
    raise UserError(
        f"there is no model {str(name)!r}: it is no folder, and not one of the models that come with llmasos "
        f"({', '.join(shipped_models())})."
    )


def shipped_models() -> list[str]:
    """The names of the models that come with the library."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/config.json"))
