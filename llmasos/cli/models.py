"""`python -m llmasos models`: which models there are on this machine, and which could be fetched."""

from collections.abc import Sequence
from pathlib import Path

from llmasos.cli.cli import ArgumentParser
from llmasos.errors import UserError
from llmasos.hub import load_config
from llmasos.hub.hub_cache import cache_folder, cached_models
from llmasos.hub.resolve import SHIPPED, shipped_models
from llmasos.models import n_parameters_of
from llmasos.training.checkpoints import model_folder
from llmasos.training.run_folder import RUNS

CARD = "README.md"
ON_THE_HUB = {  # name → (what it is, parameters, licence): a start, the hub has more of each kind
    "gpt2": ("gpt2, English", "124M", "MIT"),
    "distilgpt2": ("gpt2, English", "82M", "Apache 2.0"),
    "bert-base-uncased": ("bert, English", "110M", "Apache 2.0"),
    "sentence-transformers/all-MiniLM-L6-v2": ("bert, sentences as vectors", "23M", "Apache 2.0"),
    "HuggingFaceTB/SmolLM2-135M-Instruct": ("llama, English, chat", "135M", "Apache 2.0"),
    "Qwen/Qwen3-0.6B": ("qwen3, many languages, chat", "596M", "Apache 2.0"),
    "Helsinki-NLP/opus-mt-de-en": ("marian, German to English", "74M", "CC-BY-4.0"),
}
HEADING = ("name", "family", "parameters", "disk", "licence", "where from")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table. Returns the exit status."""
    parser = ArgumentParser(
        prog="python -m llmasos models",
        description="Which models there are: those that come with llmasos, your runs, and the Hugging Face cache.",
    )
    parser.parse_args(arguments)
    rows = [row(name, SHIPPED / name, "comes with llmasos") for name in shipped_models()]
    rows += [row(str(path), path, "a run of yours") for path in sorted(RUNS.glob("*")) if path.is_dir()]
    rows += [row(repository.name, path, f"cache, {repository.revision}") for repository, path in cached_models()]
    there = {name for name, *_ in rows}
    rows += [
        (name, family, size, "–", licence, "the hub (not fetched yet)")
        for name, (family, size, licence) in ON_THE_HUB.items()
        if name not in there
    ]
    print(table([HEADING, *rows]))
    print(
        f"\nAny of these names goes where a model is asked for: python sample.py NAME, python train.py --init-from "
        f'NAME, LLMTrainer.from_pretrained("NAME").\nOthers of the same families too: OWNER/NAME, fetched once into '
        f"{cache_folder()}."
    )
    return 0


def row(name: str, folder: Path, source: str) -> tuple[str, ...]:
    """What there is to say about a model on this machine."""
    try:
        folder = model_folder(folder, say=lambda text: None)
        config = load_config(folder)
    except UserError as error:
        return name, "–", "–", "–", "–", f"cannot be used: {str(error)[:60]}…"
    size = sum(file.stat().st_size for file in folder.glob("*") if file.name != "optimizer.safetensors")
    talks = ["chat"] if (folder / "chat_template.jinja").is_file() else []
    kind = ", ".join([config.family, *([] if config.is_pretraining else [config.head]), *talks])
    return name, kind, count(n_parameters_of(config)), f"{size / 1e6:,.1f} MB", licence_of(folder), source


def count(n: int) -> str:
    """A number of parameters, to three figures.

    >>> count(1_098_000), count(124_439_808)
    ('1.10M', '124M')
    """
    millions = n / 1e6
    return f"{millions:.2f}M" if millions < 10 else f"{millions:.0f}M"


def licence_of(folder: Path) -> str:
    """What a model's card says, in its first lines: `license: mit`."""
    card = folder / CARD
    if not card.is_file():
        return "–"
    lines = card.read_text(encoding="utf-8", errors="replace").splitlines()[:30]
    found = (line.partition(":")[2].strip() for line in lines if line.startswith("license:"))
    return next(found, "–") or "–"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
