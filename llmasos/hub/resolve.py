"""Resolving a model's name to the folder that holds it: on this machine, in the cache, else downloaded.

    runs/storyworld, ./my_llm               a folder on this machine: a model's, or a run's (its best checkpoint)
    storyworld-gpt                          a model that comes with the library (`shipped/`)
    gpt2, HuggingFaceTB/SmolLM2-135M        a model of the Hugging Face hub: from its cache, else downloaded
    gpt2@607a30d783dfa663caf39e06633721c8d4cfcd7e           … in a particular revision

They are tried in this order. A misspelled name of a shipped model is not looked up on the hub.
"""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

from llmasos.console import command
from llmasos.errors import UserError, nearest
from llmasos.hub.hub_cache import MOVED, Repository, cache_folder, cached, endpoint, fetch, offline
from llmasos.training.checkpoints import model_folder
from llmasos.training.named_recipes import RECIPES
from llmasos.training.run_folder import RUNS

SHIPPED = Path(__file__).parent / "shipped"
LIST = "python -m llmasos models"
SIMILAR = 0.75  # from this similarity on, an unknown name counts as misspelled


def find_model_folder(name: str | Path, say: Callable[[str], None] = warnings.warn, progress: bool = True) -> Path:
    """Return the folder of the model with this name.

    Args:
        name: see above.
        say: called with messages for the user, for example about a damaged checkpoint that was skipped.
        progress: whether to show a progress bar while a large file is downloaded.

    Raises:
        UserError: there is no such model; says where we looked and how to get it.
    """
    text = str(name)
    path = os.path.expanduser(text)  # os.path: an impossible path is not an error there
    if text and os.path.isdir(path):
        return model_folder(Path(path), say)
    if text in shipped_models():
        return SHIPPED / text
    if os.path.isfile(path):
        raise UserError(f"{text} is a file, and a model is a folder with its config, weights and tokenizer; give "
                        "the name of the folder.")  # fmt: skip
    repository = None if isinstance(name, Path) else Repository.parse(text)
    if repository and (snapshot := cached(repository)):
        return snapshot
    is_word = "/" not in text  # a name with an owner is taken literally
    if is_word and (hint := nearest(text, shipped_models(), SIMILAR)):
        raise UserError(f"there is no model {text!r}{hint}")
    problem = f"there is no folder {text}" if text else "the name is empty"
    path_name = Path(text)
    if text and path_name.parent == RUNS:
        is_recipe = path_name.name in RECIPES
        remedy = f"train it first with {command('train', path_name.name)}" if is_recipe else f"list yours with {LIST}"
        raise UserError(f"there is no run {text!r}: {problem}; {remedy}.")
    if repository is None:
        raise UserError(
            f"there is no model {text!r}: {problem}, and it is not one of those that come with llmasos "
            f"({', '.join(shipped_models())})."
        )
    if offline():
        reason = "HF_HUB_OFFLINE is set, so the hub was not asked"
    else:
        try:
            return fetch(repository, progress)
        except UserError as error:
            reason = f"it could not be downloaded: {str(error).rstrip('.')}"
    if is_word and text not in MOVED and (hint := nearest(text, MOVED, SIMILAR)):
        raise UserError(f"there is no model {text!r}{hint} ({reason}).")
    raise UserError(
        f"there is no model {text!r}: {problem}; it is not one of those that come with llmasos "
        f"({', '.join(shipped_models())}); it is not complete in the cache {cache_folder()}; and "
        f"{reason}. To get it, run this once with network access, or copy the files of {endpoint()}/{repository.name} "
        "into a folder and give that folder's name; a model of your own must first be written there by save_pretrained."
    )


def name_of(folder: str | Path) -> str:
    """Return the name that users know a model's folder by: a shipped model's name, its name on the hub, or the path.

    >>> name_of("/home/me/.cache/huggingface/hub/models--OWNER--NAME/snapshots/607a30d7"), name_of("runs/storyworld")
    ('OWNER/NAME', 'runs/storyworld')
    """
    folder = Path(folder)
    if folder.parent == SHIPPED:
        return folder.name
    repository = folder.parent.parent.name
    if folder.parent.name == "snapshots" and repository.startswith("models--"):
        return repository.removeprefix("models--").replace("--", "/")
    return str(folder)


def shipped_models() -> list[str]:
    """Return the names of the models that come with the library."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/config.json"))
