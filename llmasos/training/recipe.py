"""A recipe: everything that decides a training run, in one typed and checked dataclass.

Each field is a command-line flag of `train.py` with the same name, help text and range, and is saved with the run in
`recipe.json`. So a run can be told from its recipe alone, and repeated.
"""

import argparse
import dataclasses
import typing
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from llmasos.errors import UserError
from llmasos.models import PRESETS
from llmasos.training.device import PRECISIONS
from llmasos.training.schedules import SCHEDULES

TASK_NAMES = (
    "language-modeling",
    "bert-pretraining",
    "text-classification",
    "question-answering",
    "translation",
    "summarization",
    "instruction-tuning",
)  # see llmasos/tasks
FOR_EXAMPLES = ("val_data", "columns", "languages", "skip_bad", "train_examples")  # settings that running text has not
SIZES = ("context_length", "n_layers", "n_heads", "n_kv_heads", "d_model", "d_ff")  # of the model
KINDS = (
    "model",
    "tokenizer",
    "vocab_size",
    "lowercase",
)  # what model and what tokenizer; with --init-from both are given


def setting(
    default: Any,
    help: str,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] | None = None,
    alias: str | None = None,
) -> Any:
    """A recipe field: its default, its help text, and what values make sense."""
    limits = {
        "at_least": at_least,
        "above": above,
        "at_most": at_most,
        "below": below,
        "choices": choices,
        "alias": alias,
    }
    return dataclasses.field(default=default, metadata={"help": help, **limits})


@dataclass(frozen=True)
class Recipe:
    """The settings of a run. A field that is None is decided by the model preset, or by what it says in its help."""

    # What to learn
    task: str = setting("language-modeling", "what the model is for (llmasos/tasks)", choices=TASK_NAMES)
    init_from: str | None = setting(
        None, "start from this run or model folder: its sizes, its tokenizer and its weights"
    )
    init_weights: bool = setting(
        True, "take the weights of --init-from too; without them it is a baseline of equal size"
    )
    compare: bool = setting(False, "then train the same without --init-from's weights, and print what they were worth")

    # What to learn from
    data: str = setting(
        "storyworld",
        "a dataset's name, a .txt, .md or .jsonl file or a folder of them; for labelled examples, questions and pairs "
        "a .csv, .tsv or .jsonl file; for pairs also two text files with a comma between them",
    )
    val_data: str | None = setting(None, "a file to validate on (none given: what is held out of --data)")
    columns: str | None = setting(None, "names of a file's columns, for example text=review,label=stars")
    languages: str | None = setting(None, "from which language into which, for data in two: de-en, en-de")
    skip_bad: bool = setting(False, "leave out rows that cannot be used, and count them, instead of stopping")
    train_examples: int | None = setting(None, "train on this many examples only, chosen by the seed", at_least=1)
    negatives: str = setting(
        "other", "the wrong next sentences come from other documents, or the same one", choices=("other", "same")
    )

    # How text becomes token ids
    tokenizer: str = setting(
        "bpe", "the kind of tokenizer", choices=("char", "byte", "bpe", "wordpiece", "gpt2", "cl100k_base")
    )
    vocab_size: int = setting(1024, "number of tokens that a bpe or wordpiece tokenizer learns", at_least=257)
    lowercase: bool = setting(False, "whether the tokenizer takes capital letters for small ones")

    # The model
    model: str = setting("gpt-laptop", "the model preset that the following flags change", choices=tuple(PRESETS))
    context_length: int | None = setting(None, "the longest sequence the model reads, in tokens", at_least=1)
    n_layers: int | None = setting(None, "number of blocks", at_least=1)
    n_heads: int | None = setting(None, "number of attention heads; must divide d_model", at_least=1)
    n_kv_heads: int | None = setting(None, "number of key/value heads; must divide n_heads", at_least=1)
    d_model: int | None = setting(None, "width of the residual stream", at_least=1)
    d_ff: int | None = setting(None, "width inside the feed-forward", at_least=1)
    dropout: float | None = setting(None, "probability of dropping an activation in training", at_least=0, below=1)

    # The objective
    next_sentence: bool = setting(True, "bert also learns whether one text follows another")
    mask_prob: float = setting(0.15, "share of the tokens that a masked language model predicts", above=0, below=1)
    whole_word_masking: bool = setting(False, "mask all pieces of a word together")
    label_smoothing: float = setting(0.0, "share of the target's probability that all tokens get", at_least=0, below=1)
    beams: int = setting(4, "width of the beam search with which results are written; 1 = greedy", at_least=1)
    length_penalty: float = setting(0.6, "how much beam search favours long results; 0 = not at all", at_least=0)

    # How to learn
    max_steps: int = setting(800, "number of optimizer steps", at_least=1, alias="steps")
    batch_size: int = setting(16, "sequences per step, over all accumulation steps and processes", at_least=1)
    gradient_accumulation_steps: int = setting(
        1, "in how many parts a batch is computed, one after another", at_least=1
    )
    optimizer: str = setting("adamw", "adamw, or muon for the matrices inside the blocks", choices=("adamw", "muon"))
    learning_rate: float = setting(3e-3, "the peak learning rate", above=0)
    schedule: str = setting("cosine", "how the learning rate falls after the warmup", choices=SCHEDULES)
    warmup_steps: int = setting(100, "steps over which the learning rate rises to its peak", at_least=0)
    min_lr_ratio: float = setting(0.1, "the last learning rate as a share of the peak", at_least=0, at_most=1)
    weight_decay: float = setting(0.1, "pull of matrices and embeddings towards zero", at_least=0)
    beta1: float = setting(0.9, "AdamW's memory for gradients", at_least=0, below=1)
    beta2: float = setting(0.99, "AdamW's memory for squared gradients", at_least=0, below=1)
    grad_clip: float = setting(1.0, "longest gradient (its norm over all parameters); 0 = do not clip", at_least=0)
    freeze_layers: int | None = setting(
        None, "keep the embeddings and this many of the first layers as they are (none given: all learn)", at_least=0
    )
    layerwise_lr_decay: float = setting(
        1.0, "each layer's learning rate as a share of that of the layer above it", above=0, at_most=1
    )
    seed: int = setting(1337, "decides weights, order of the data, and dropout", at_least=0, at_most=2**63 - 1)

    # What to see and keep
    eval_interval: int = setting(200, "steps between validations, each followed by a checkpoint", at_least=1)
    log_interval: int = setting(10, "steps between lines of metrics.jsonl", at_least=1)
    out_dir: str | None = setting(
        None, "the run's folder (none given: runs/RECIPE, or the next free runs/RECIPE-N)", alias="out"
    )
    prompt: str | None = setting(None, "the beginning of the sample that is written after each validation")

    # The machine
    device: str = setting("auto", "where to compute", choices=("auto", "cpu", "cuda", "mps"))
    precision: str = setting(
        "auto",
        "number format of matrix products; auto is bf16 on hardware made for it, else fp32",
        choices=("auto", *PRECISIONS),
    )
    compile: bool = setting(False, "compile the model first (a minute's wait, then faster steps)")

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None:
                check_type(field.name, value, typing.get_args(field.type) or (field.type,))
                check_range(field.name, value, field.metadata)
        self._check_together()

    def _check_together(self) -> None:
        """What the settings must be to each other."""
        if self.init_from is None and (self.compare or not self.init_weights):
            flag = "compare" if self.compare else "no_init_weights"
            raise UserError(
                f"--{flag.replace('_', '-')} is about the weights of --init-from, and there is no --init-from."
            )
        if self.compare and self.task not in ("text-classification", "question-answering"):
            raise UserError(
                f"--compare counts right answers, for text-classification and question-answering; it cannot compare {self.task}."
            )
        given = [name for name in FOR_EXAMPLES if getattr(self, name)]
        if given and self.task in ("language-modeling", "bert-pretraining"):
            flag = "--" + given[0].replace("_", "-")
            raise UserError(f"the task {self.task} learns from running text, where {flag} means nothing: leave it out.")
        changed = [name for name in SIZES if getattr(self, name) is not None]
        if self.init_from is not None and changed:
            raise UserError(
                f"{changed[0]} cannot be changed, because --init-from {self.init_from} brings the sizes of its model: leave "
                f"--{changed[0].replace('_', '-')} out, or leave out --init-from."
            )
        if self.batch_size % self.gradient_accumulation_steps:
            raise UserError(
                f"batch_size {self.batch_size} cannot be computed in {self.gradient_accumulation_steps} equal parts; "
                "gradient_accumulation_steps must divide it."
            )

    @property
    def model_changes(self) -> dict[str, Any]:
        """The fields of the model preset that this recipe changes."""
        return {name: getattr(self, name) for name in (*SIZES, "dropout") if getattr(self, name) is not None}

    def to_dict(self) -> dict[str, Any]:
        """All fields, for `recipe.json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Recipe":
        """The reverse of `to_dict`."""
        if not isinstance(fields, dict):
            raise UserError(f"a recipe must be a JSON object of settings, not {fields!r}.")
        unknown = set(fields) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise UserError(f"a recipe has no setting {', '.join(sorted(unknown))}; see train.py --help.")
        return cls(**fields)


# What may differ when a run is resumed: how long and where it goes on, and what is shown. More would be another run.
RESUMABLE = {
    "max_steps", "eval_interval", "log_interval", "out_dir", "prompt", "beams", "length_penalty", "device", "precision",
    "compile",
}  # fmt: skip

METAVARS = {int: "N", float: "X", str: "TEXT"}
ARTICLES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
SECTIONS = {  # the first field of each section of the help text
    "task": "what to learn",
    "data": "what to learn from",
    "tokenizer": "how text becomes token ids",
    "model": "the model",
    "next_sentence": "the objective",
    "max_steps": "how to learn",
    "eval_interval": "what to see and keep",
    "device": "the machine",
}


def check_type(name: str, value: Any, types: tuple[type, ...]) -> None:
    """Raise UserError unless the value is of the field's type. A recipe may come from a file that a person edited."""
    if type(value) not in types and not (float in types and type(value) is int):
        raise UserError(f"{name} is {value!r}; it must be {ARTICLES[types[0]]}.")


def check_range(name: str, value: Any, limits: dict[str, Any]) -> None:
    """Raise UserError unless the value keeps the limits of its `setting`."""
    if limits["choices"] is not None and value not in limits["choices"]:
        raise UserError(f"{name} is {value!r}; it must be one of: {', '.join(limits['choices'])}.")
    tests = {
        "at_least": lambda bound: value >= bound,
        "above": lambda bound: value > bound,
        "at_most": lambda bound: value <= bound,
        "below": lambda bound: value < bound,
    }
    for limit, holds in tests.items():
        if limits[limit] is not None and not holds(limits[limit]):
            raise UserError(f"{name} is {value}; it must be {limit.replace('_', ' ')} {limits[limit]}.")


def add_flags(parser: argparse._ActionsContainer, names: Collection[str] | None = None) -> None:
    """Add a flag for every field of Recipe. A flag that is not given leaves no trace in the parsed arguments.

    Args:
        parser: gets the flags.
        names: of the fields that are wanted, without headings; None = all.
    """
    group = parser
    for field in dataclasses.fields(Recipe):
        if names is not None and field.name not in names:
            continue
        if names is None and field.name in SECTIONS:
            group = parser.add_argument_group(SECTIONS[field.name])
        limits = field.metadata
        flags = ["--" + name.replace("_", "-") for name in (field.name, limits["alias"]) if name is not None]
        shown = "" if field.default is None else f" (default: {field.default})"
        options: dict[str, Any] = {"help": limits["help"] + shown, "default": argparse.SUPPRESS}
        types = typing.get_args(field.type) or (field.type,)  # int | None → (int, NoneType)
        if types[0] is bool:
            group.add_argument(*flags, action=argparse.BooleanOptionalAction, **options)
        else:
            named = "{" + ",".join(limits["choices"]) + "}" if limits["choices"] else METAVARS[types[0]]
            group.add_argument(*flags, type=types[0], metavar=named, **options)
