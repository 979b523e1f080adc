"""`python -m llmasos models`: list the models on this machine, and some that can be downloaded."""

from collections.abc import Sequence
from pathlib import Path

from llmasos.cli.cli import ArgumentParser
from llmasos.console import command, text_table
from llmasos.errors import UserError
from llmasos.hub import load_config
from llmasos.hub.hub_cache import cache_folder, cached_models
from llmasos.hub.resolve import SHIPPED, shipped_models
from llmasos.models import n_parameters_of
from llmasos.models.config import ADAPTER_CONFIG, config_file, is_adapter
from llmasos.storage import read_json
from llmasos.training.checkpoints import all_checkpoints, model_folder
from llmasos.training.run_folder import RUNS, holds_run

CARD = "README.md"
ON_THE_HUB = {  # name → (type, parameters, license): a selection; the hub has more of each type
    "gpt2": ("gpt2, English", "124M", "MIT"),
    "distilgpt2": ("gpt2, English", "82M", "Apache 2.0"),
    "bert-base-uncased": ("bert, English", "110M", "Apache 2.0"),
    "sentence-transformers/all-MiniLM-L6-v2": ("bert, sentence embeddings", "23M", "Apache 2.0"),
    "HuggingFaceTB/SmolLM2-135M-Instruct": ("llama, English, chat", "135M", "Apache 2.0"),
    "Qwen/Qwen3-0.6B": ("qwen3, many languages, chat", "596M", "Apache 2.0"),
    "Helsinki-NLP/opus-mt-de-en": ("marian, German to English", "74M", "CC-BY-4.0"),
}
HEADING = ("name", "type", "parameters", "disk", "license", "source")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table of models. Returns the exit status."""
    parser = ArgumentParser(
        prog="python -m llmasos models",
        description="List the models that come with llmasos, your runs, the Hugging Face cache, and some to download.",
    )
    parser.parse_args(arguments)
    rows = [row(name, SHIPPED / name, "comes with llmasos") for name in shipped_models()]
    rows += [row(str(path), path, "your run") for path in sorted(RUNS.glob("*")) if holds_run(path)]
    rows += [row(repository.name, path, f"cache, {repository.revision}") for repository, path in cached_models()]
    local = {name for name, *_ in rows}
    rows += [
        (name, type, size, "–", license, "hub (not downloaded)")
        for name, (type, size, license) in ON_THE_HUB.items()
        if name not in local
    ]
    print(text_table([HEADING, *rows]))
    sample, train = command("sample", "NAME"), command("train", "--init-from", "NAME")
    print(
        f"\nUse any of these names for a model: {sample}, {train}, "
        f'LLMTrainer.from_pretrained("NAME").\nOther models of these families work too: OWNER/NAME is downloaded once '
        f"into {cache_folder()}."
    )
    return 0


def row(name: str, folder: Path, source: str) -> tuple[str, ...]:
    """Return the table row of a model on this machine."""
    try:
        folder = model_folder(folder, say=lambda text: None)
        files = [file for file in folder.glob("*") if file.name != "optimizer.safetensors"]
        size = f"{sum(file.stat().st_size for file in files) / 1e6:,.1f} MB"
        if is_adapter(folder) and not config_file(folder).is_file():  # peft's: the rest is known to its base model only
            fields = read_json(folder / ADAPTER_CONFIG)
            base = fields.get("base_model_name_or_path") if isinstance(fields, dict) else "an unknown model"
            return name, f"adapter of {base}", "–", size, license_of(folder), source
        config = load_config(folder)
    except UserError as error:
        reason = "no checkpoint yet" if (folder / "recipe.json").is_file() and not all_checkpoints(folder) else error
        return name, "–", "–", "–", "–", f"cannot be used: {str(reason)[:60]}"
    chat = ["chat"] if (folder / "chat_template.jinja").is_file() else []
    adapter = ["adapter"] if is_adapter(folder) else []
    type = ", ".join([config.family, *([] if config.is_pretraining else [config.head]), *chat, *adapter])
    return name, type, count(n_parameters_of(config)), size, license_of(folder), source


def count(n: int) -> str:
    """Format a number of parameters with three significant digits.

    >>> count(1_098_000), count(124_439_808)
    ('1.10M', '124M')
    """
    millions = n / 1e6
    return f"{millions:.2f}M" if millions < 10 else f"{millions:.0f}M"


def license_of(folder: Path) -> str:
    """Return the license in the first lines of a model's card, such as `license: mit`."""
    card = folder / CARD
    if not card.is_file():
        return "–"
    lines = card.read_text(encoding="utf-8", errors="replace").split("\n")[:30]
    licenses = (line.partition(":")[2].strip() for line in lines if line.startswith("license:"))
    return next(licenses, "–") or "–"
