"""What `--init-from` brings: the tokenizer, the config and the weights of a pretrained model."""

from pathlib import Path

from llmasos.console import command
from llmasos.errors import UserError
from llmasos.hub import find_model_folder, load_backbone, load_config, load_tokenizer
from llmasos.models import Model, ModelConfig
from llmasos.tokenizers import Tokenizer
from llmasos.training.named_recipes import RECIPES


def pretrained_tokenizer(init_from: str) -> Tokenizer:
    """The tokenizer of the model that `--init-from` names."""
    return load_tokenizer(find_pretrained(init_from))


def pretrained_config(init_from: str) -> ModelConfig:
    """The config of the model that `--init-from` names."""
    return load_config(find_pretrained(init_from))


def load_pretrained_weights(model: Model, init_from: str) -> None:
    """Load the weights of the model that `--init-from` names: all of them, or the backbone's if the head is another."""
    folder = find_pretrained(init_from)
    pretrained = load_config(folder)
    same_head = (pretrained.head, pretrained.labels) == (model.config.head, model.config.labels)
    load_backbone(model, folder, with_head=same_head)


def find_pretrained(init_from: str) -> Path:
    """The folder of the model that `--init-from` names.

    Raises:
        UserError: there is no such model; if it is that of a named recipe, the message says how to train it.
    """
    try:
        return find_model_folder(init_from)
    except UserError as error:
        path = Path(init_from)
        if path.parent.name == "runs" and path.name in RECIPES and not path.exists():
            raise UserError(
                f"this recipe starts from the model in {init_from}, which is not there yet; make it first: "
                + command("train", path.name)
            ) from error
        raise
