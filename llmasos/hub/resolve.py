"""Where a name leads: to the folder that holds the model.

    runs/storyworld, ./my_llm               a folder on this machine: a model's, or a run's (its best checkpoint)
    storyworld-gpt                          a model that comes with the library (`shipped/`)
    gpt2, HuggingFaceTB/SmolLM2-135M        a model of the Hugging Face hub: from its cache, else downloaded
    gpt2@607a30d783dfa663caf39e06633721c8d4cfcd7e           … in a certain revision

They are tried in this order. A name that is nearly one that comes with the library is not looked for on the hub.
"""

import difflib
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

from llmasos.errors import UserError
from llmasos.hub.hub_cache import OTHER_NAMES, Repository, cache_folder, cached, endpoint, fetch, offline
from llmasos.training.checkpoints import model_folder

SHIPPED = Path(__file__).parent / "shipped"


def find(name: str | Path, say: Callable[[str], None] = warnings.warn, progress: bool = True) -> Path:
    """The folder of the model with this name.

    Args:
        name: see above.
        say: told what a person should know, such as a damaged checkpoint that was skipped.
        progress: whether to show a bar while a large file is downloaded.

    Raises:
        UserError: there is none; says what was looked for, where, and how to get it.
    """
    text = str(name)
    if text and Path(name).expanduser().is_dir():
        return model_folder(Path(name).expanduser(), say)
    if text in shipped_models():
        return SHIPPED / text
    if text and Path(name).expanduser().is_file():
        raise UserError(f"{text} is a file, and a model is a folder with its config, weights and tokenizer in it; give "
                        "the name of the folder.")  # fmt: skip
    repository = None if isinstance(name, Path) else Repository.parse(text)
    if repository and (snapshot := cached(repository)):
        return snapshot
    if meant := did_you_mean(text, shipped_models()):
        raise UserError(f"there is no model {text!r}; {meant}")
    looked = f"there is no folder {text}" if text else "the name is empty"
    if repository is None or text.startswith("runs/"):
        raise UserError(
            f"there is no model {text!r}: {looked}, and it is not one of those that come with llmasos "
            f"({', '.join(shipped_models())})."
        )
    if offline():
        reason = "HF_HUB_OFFLINE is set, so the hub was not asked"
    else:
        try:
            return fetch(repository, progress)
        except UserError as error:
            reason = f"it could not be downloaded: {str(error).rstrip('.')}"
    if text not in OTHER_NAMES and (meant := did_you_mean(text, OTHER_NAMES)):
        raise UserError(f"there is no model {text!r}; {meant} ({reason})")
    raise UserError(
        f"there is no model {text!r}: {looked}; it is not one of those that come with llmasos "
        f"({', '.join(shipped_models())}); it is not complete in the cache {cache_folder()}; and "
        f"{reason}. To get it, run this once with a network, or copy the files of {endpoint()}/{repository.name} into "
        "a folder and give that folder's name."
    )


def shipped_models() -> list[str]:
    """The names of the models that come with the library."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/config.json"))


def did_you_mean(text: str, names: Iterable[str]) -> str:
    """A hint at the most similar of some names; "" if none is. What has an owner is not one of ours misspelt."""
    near = [] if "/" in text else difflib.get_close_matches(text, names, n=1, cutoff=0.75)
    return f"did you mean {near[0]!r}?" if near else ""
