"""Recipes: every setting of a training run (steps, rates, intervals, …), in four typed and checked parts.

    recipe.data        what to train on, and how text becomes token ids
    recipe.model       the architecture, and where its weights start
    recipe.training    objective, optimizer, schedule, loop: all that the training loop needs to know
    recipe.output      where the run goes, and what is written there

Each field is a command-line flag of `train.py` with the same name, help text and range. A recipe is saved with its run
in `recipe.json`, flat, as the flags are, so a run can be understood and repeated from that file alone.
"""

import argparse
import dataclasses
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from llmasos.capabilities import TASKS
from llmasos.console import command
from llmasos.errors import UserError, nearest
from llmasos.models.config import CHOICES, LARGEST
from llmasos.models.presets import PRESETS
from llmasos.nn.rope_scaling import TYPES
from llmasos.settings import Settings, add_flag, flag_name, flag_of, setting

PRECISIONS = ("fp32", "bf16", "fp16")
SCHEDULES = ("cosine", "linear", "wsd")
EXAMPLE_SETTINGS = ("languages", "skip_bad", "train_examples")  # these do not apply to plain text
MODEL_SIZES = (
    "context_length", "n_layers", "n_heads", "n_kv_heads", "d_model", "d_ff", "n_experts", "n_active_experts",
)  # fmt: skip
MODEL_PARTS = ("positions", "norm", "activation", "tie_embeddings")  # the variants of a model
FIXED_BY_WEIGHTS = tuple(
    name for name in (*MODEL_SIZES, *MODEL_PARTS) if name != "context_length"
)  # what weights depend on
SET_BY_INIT = ("model", "tokenizer", "vocab_size", "lowercase")  # --init-from determines these
SET_BY_TEACHER = ("tokenizer", "vocab_size", "lowercase")  # a student reads with the tokenizer of its --teacher


@dataclass(frozen=True)
class DataSettings(Settings):
    """What to train on, and how text becomes token ids."""

    source: str = setting(
        "storyworld",
        "a dataset's name, a .txt, .md, .jsonl or .json file or a folder of them; for labeled examples, questions, "
        "pairs and chats a .csv, .tsv, .jsonl or .json file; for pairs also two text files with a comma between them; "
        "to mix texts, each with its weight: --data a.txt=0.7 --data b.txt=0.3",
        flag="data",
        repeatable=True,
    )
    val_data: str | None = setting(None, "a file to validate on (default: a part of --data is held out)")
    columns: str | None = setting(
        None, "names or numbers of a file's columns: text=review,label=stars or text=4,label=2"
    )
    languages: str | None = setting(None, "source and target language of parallel data: de-en or en-de")
    skip_bad: bool = setting(False, "skip and count unusable examples instead of stopping")
    rows: str = setting(
        "windows",
        "language modeling: train on windows anywhere in the text, or on rows that each begin with a document",
        choices=("windows", "documents"),
    )
    train_examples: int | None = setting(None, "train on a random subset of this many examples", at_least=1)
    negatives: str = setting(
        "other",
        "next-sentence prediction: negatives come from other documents, or from the same one",
        choices=("other", "same"),
    )
    tokenizer: str = setting(
        "bpe", "the tokenizer", choices=("char", "byte", "bpe", "wordpiece", "gpt2", "cl100k_base")
    )
    vocab_size: int = setting(
        1024,
        "vocabulary size of a bpe or wordpiece tokenizer that is trained",
        at_least=257,
        at_most=LARGEST["vocab_size"],
    )
    lowercase: bool = setting(False, "lowercase all text in the tokenizer")
    chat_template: str | None = setting(
        None,
        "instruction tuning with --init-from: add the special tokens of this template to the tokenizer, and a row for "
        "each to the token embedding",
        choices=("chatml",),
    )


@dataclass(frozen=True)
class ModelSettings(Settings):
    """The architecture, and where its weights start. A size that is None is that of the preset."""

    preset: str = setting(
        "gpt-laptop", "the preset, which the following flags change", flag="model", choices=tuple(PRESETS)
    )
    context_length: int | None = setting(
        None, "context length in tokens", at_least=1, at_most=LARGEST["context_length"]
    )
    n_layers: int | None = setting(None, "number of Transformer blocks", at_least=1, at_most=LARGEST["n_layers"])
    n_heads: int | None = setting(
        None, "number of attention heads; must divide d_model", at_least=1, at_most=LARGEST["n_heads"]
    )
    n_kv_heads: int | None = setting(
        None, "number of key/value heads; must divide n_heads", at_least=1, at_most=LARGEST["n_kv_heads"]
    )
    d_model: int | None = setting(None, "width of the residual stream", at_least=1, at_most=LARGEST["d_model"])
    d_ff: int | None = setting(None, "hidden width of the feed-forward layers", at_least=1, at_most=LARGEST["d_ff"])
    n_experts: int | None = setting(
        None,
        "number of experts: feed-forwards in each block, of which a token uses a few; 1 is an ordinary block",
        at_least=1,
        at_most=LARGEST["n_experts"],
    )
    n_active_experts: int | None = setting(
        None, "number of experts that each token uses (default: 2)", at_least=1, at_most=LARGEST["n_active_experts"]
    )
    capacity_factor: float | None = setting(
        None,
        "experts: in training, each takes at most this times its even share of a row's tokens; 0 drops none",
        at_least=0,
    )
    router_aux_loss_coef: float | None = setting(
        None, "experts: weight of the load-balancing loss (default: 0.01)", at_least=0
    )
    mup_base_width: int | None = setting(
        None,
        "muP: the d_model at which the learning rate was chosen; it is scaled from there to this model's",
        at_least=1,
        at_most=LARGEST["mup_base_width"],
    )
    positions: str | None = setting(None, "how the model knows the order of tokens", choices=CHOICES["positions"])
    norm: str | None = setting(None, "the normalization", choices=CHOICES["norm"])
    activation: str | None = setting(
        None, "the nonlinearity of the feed-forward layers; swiglu has a gate", choices=CHOICES["activation"]
    )
    tie_embeddings: bool | None = setting(None, "use the token embedding as the output layer, too")
    sliding_window: int | None = setting(
        None, "each token of a GPT attends to this many tokens, the last of which is itself", at_least=1,
        at_most=LARGEST["sliding_window"],
    )  # fmt: skip
    rope_scaling: str | None = setting(
        None,
        "with --init-from and a longer --context-length: how rotary frequencies are scaled for it",
        choices=TYPES,
    )
    rope_factor: float | None = setting(
        None, "the factor of --rope-scaling (default: the new context length over the old one)", above=1
    )
    dropout: float | None = setting(None, "dropout probability", at_least=0, below=1)
    init_from: str | None = setting(
        None, "start from the weights, sizes and tokenizer of this run, model folder or named model"
    )
    init_weights: bool = setting(True, "with --init-from: load its weights too; without them it is a baseline")

    @property
    def overrides(self) -> dict[str, Any]:
        """The fields of the model's config that differ from the preset, except for `rope_scaling`, which is made of
        settings and of the pretrained config (`tasks/pretrained_models.py`)."""
        names = (
            *MODEL_SIZES, *MODEL_PARTS, "sliding_window", "dropout", "capacity_factor", "router_aux_loss_coef",
            "mup_base_width",
        )  # fmt: skip
        overrides = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return {"tie_embeddings": False, **overrides} if self.mup_base_width else overrides  # muP requires it


@dataclass(frozen=True)
class TrainingSettings(Settings):
    """How to train: all that `Trainer` and `make_optimizers` need to know."""

    # The objective
    next_sentence: bool = setting(True, "BERT pretraining: also predict whether one text follows another")
    mask_prob: float = setting(0.15, "masked language modeling: probability of masking a token", above=0, below=1)
    whole_word_masking: bool = setting(False, "mask all pieces of a word together")
    label_smoothing: float = setting(
        0.0, "label smoothing ε: probability mass spread over the whole vocabulary", at_least=0, below=1
    )

    teacher: str | None = setting(
        None, "distillation: a run, model folder or named model of the same task, whose probabilities are learned"
    )
    distillation_temperature: float = setting(
        1.0, "distillation: temperature T that divides the logits of teacher and student", above=0, at_most=1000
    )
    distillation_weight: float = setting(
        0.9, "distillation: weight of the teacher's probabilities; the rest is that of the text", at_least=0, at_most=1
    )
    n_passages: int = setting(
        16, "text embedding: how many passages each query is compared with, its own included", at_least=2
    )
    contrastive_temperature: float = setting(
        0.05, "text embedding: temperature τ that divides the cosines", above=0, at_most=100
    )
    beta: float = setting(
        0.1, "preferences and rewards: β, the strength of the KL penalty towards --init-from", at_least=0
    )
    reward: str | None = setting(
        None,
        "rewards: a Python file with a function reward(prompt, text), the folder of a reward model, or the verifier "
        "storyworld or sums (default: that of the dataset)",
    )
    reward_seconds: float = setting(
        10.0, "rewards: maximum time the function may take for a text, in seconds", above=0, at_most=1_000_000
    )
    max_new_tokens: int = setting(200, "rewards: maximum number of tokens in an answer", at_least=1)
    group_size: int = setting(8, "rewards: how many answers to each prompt form a group", at_least=2)
    clip_range: float = setting(
        0.2, "rewards: ε, the change of a token's probability beyond which PPO's ratio is clipped", above=0, below=1
    )
    updates_per_batch: int = setting(1, "rewards: optimizer updates from the same answers", at_least=1)

    # The optimizer
    optimizer: str = setting(
        "adamw", "adamw, or muon for the matrices inside the blocks and adamw for the rest", choices=("adamw", "muon")
    )
    learning_rate: float = setting(3e-3, "peak learning rate", above=0)
    weight_decay: float = setting(0.1, "decoupled weight decay of matrices and embeddings", at_least=0)
    beta1: float = setting(0.9, "AdamW β₁: decay rate of the gradient's moving average", at_least=0, below=1)
    beta2: float = setting(0.99, "AdamW β₂: decay rate of the squared gradient's moving average", at_least=0, below=1)
    grad_clip: float = setting(1.0, "maximum gradient norm; 0 disables", at_least=0)
    freeze_layers: int | None = setting(
        None, "freeze the embeddings and this many of the first layers (default: train everything)", at_least=0
    )
    layerwise_lr_decay: float = setting(
        1.0, "each layer's learning rate as a fraction of that of the layer above it", above=0, at_most=1
    )

    # LoRA
    lora_rank: int | None = setting(
        None,
        "with --init-from: train only a low-rank adapter (LoRA) of this rank (default: train the weights themselves)",
        at_least=1,
    )
    lora_alpha: float = setting(32.0, "LoRA α: the adapter's output is multiplied by α / rank", above=0)
    lora_targets: str = setting(
        "all", "layers that get an adapter: all, attention, feed-forward, or names: q_proj,v_proj"
    )

    # The schedule
    max_steps: int = setting(800, "number of optimizer steps", alias="steps", at_least=1)
    schedule: str = setting("cosine", "learning-rate schedule after the warmup", choices=SCHEDULES)
    warmup_steps: int = setting(100, "steps of linear learning-rate warmup", at_least=0)
    min_lr_ratio: float = setting(0.1, "final learning rate as a fraction of the peak", at_least=0, at_most=1)

    # The loop
    batch_size: int = setting(16, "sequences per step, over all micro-batches and processes", at_least=1)
    gradient_accumulation_steps: int = setting(1, "micro-batches per step, computed one after another", at_least=1)
    eval_interval: int = setting(200, "steps between validations, each followed by a checkpoint", at_least=1)
    log_interval: int = setting(10, "steps between lines of metrics.jsonl", at_least=1)
    seed: int = setting(1337, "random seed of weights, data order and dropout", at_least=0, at_most=2**63 - 1)

    # The machine
    device: str = setting("auto", "where to compute: auto, cpu, cuda, cuda:1 (the second GPU), mps")
    precision: str = setting(
        "auto",
        "number format of matrix products; auto is bf16 on hardware made for it, else fp32",
        choices=("auto", *PRECISIONS),
    )
    compile: bool = setting(False, "torch.compile the model first (a minute's wait, then faster steps)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size % self.gradient_accumulation_steps:
            raise UserError(
                f"batch_size {self.batch_size} cannot be split into {self.gradient_accumulation_steps} equal "
                "micro-batches; gradient_accumulation_steps must divide it."
            )


@dataclass(frozen=True)
class OutputSettings(Settings):
    """Where the run goes, and how its sample texts are generated."""

    out_dir: str | None = setting(
        None, "the run's folder (default: runs/RECIPE, or the next free runs/RECIPE-N)", alias="out"
    )
    prompt: str | None = setting(None, "the beginning of the sample that is written after each validation")
    beams: int = setting(4, "beam width for translations and summaries; 1 is greedy decoding", at_least=1)
    length_penalty: float = setting(
        0.6, "beam search: strength of the length penalty; 0 disables", at_least=0, at_most=10
    )


@dataclass(frozen=True)
class Recipe(Settings):
    """All settings of a run. `make_recipe(data=…, learning_rate=…)` makes one from flat names, like those of flags."""

    task: str = setting("language-modeling", "what to learn", choices=TASKS)
    compare: bool = setting(False, "then train the same without the weights of --init-from, and print what they gain")
    data: DataSettings = dataclasses.field(default_factory=DataSettings)
    model: ModelSettings = dataclasses.field(default_factory=ModelSettings)
    training: TrainingSettings = dataclasses.field(default_factory=TrainingSettings)
    output: OutputSettings = dataclasses.field(default_factory=OutputSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        init_from, flat = self.model.init_from, self.flat()
        if init_from is None and (self.compare or not self.model.init_weights):
            flag = "--compare" if self.compare else "--no-init-weights"
            raise UserError(f"{flag} is about the weights of --init-from, and there is no --init-from.")
        if flat["teacher"] is not None and flat["label_smoothing"]:
            raise UserError("a teacher's probabilities take the place of smoothed labels: add --label-smoothing 0, or "
                            "leave out --teacher.")  # fmt: skip
        if flat["lora_rank"] is not None:
            self._check_lora()
        if self.compare and not TASKS[self.task].per_example:
            able = " and ".join(name for name, task in TASKS.items() if task.per_example)
            raise UserError(f"--compare counts right answers, for {able}; it cannot compare {self.task}.")
        unused = [name for name in EXAMPLE_SETTINGS if flat[name]]
        if unused and TASKS[self.task].data_format == "text":
            flag = flag_of(unused[0])
            raise UserError(f"the task {self.task} learns from plain text, where {flag} means nothing: leave it out.")
        changed = [name for name in FIXED_BY_WEIGHTS if flat[name] is not None]
        if init_from is not None and changed:
            raise UserError(
                f"{changed[0]} cannot be changed, because --init-from {init_from} brings weights that depend on it: "
                f"leave {flag_of(changed[0])} out, or leave out --init-from."
            )
        if flat["rope_scaling"] is not None and init_from is None:
            raise UserError("--rope-scaling scales the positions that a trained model knows: add --init-from, or leave "
                            "it out.")  # fmt: skip
        if flat["chat_template"] is not None:
            self._check_chat_template()
        if flat["rope_factor"] is not None and flat["rope_scaling"] is None:
            raise UserError("--rope-factor is the factor of --rope-scaling: add that, or leave it out.")

    def _check_chat_template(self) -> None:
        """Raise UserError if no special tokens can be added to a pretrained model, or they would not be trained."""
        flag = f"--chat-template {self.data.chat_template}"
        if self.task != "instruction-tuning":
            raise UserError(f"{flag} is for the task instruction-tuning, and this one is {self.task}: leave it out.")
        if self.model.init_from is None:
            raise UserError(f"{flag} gives a pretrained model special tokens, which a new one has anyway: add "
                            "--init-from, or leave it out.")  # fmt: skip
        if self.training.lora_rank is not None or self.training.freeze_layers is not None:
            flag_of_frozen = "--lora-rank" if self.training.lora_rank is not None else "--freeze-layers"
            raise UserError(f"{flag} adds rows to the token embedding, which {flag_of_frozen} does not train: leave "
                            "one of the two out.")  # fmt: skip

    def _check_lora(self) -> None:
        """Raise UserError if there is nothing for an adapter to adapt."""
        if self.model.init_from is None or not self.model.init_weights:
            raise UserError("--lora-rank adapts the weights of --init-from, and there are none: add --init-from, or "
                            "leave out --lora-rank.")  # fmt: skip
        if self.training.freeze_layers is not None:
            raise UserError("--lora-rank freezes all layers of the model itself: leave out --freeze-layers; "
                            "--lora-targets chooses the layers that get an adapter.")  # fmt: skip

    def flat(self) -> dict[str, Any]:
        """All settings by their flat names, for `recipe.json`."""
        return {name: getattr(getattr(self, part) if part else self, field.name) for name, part, field in settings()}

    def replace(self, **changes: Any) -> "Recipe":
        """The same recipe with some settings changed."""
        return make_recipe(**{**self.flat(), **changes})


PARTS = {"data": DataSettings, "model": ModelSettings, "training": TrainingSettings, "output": OutputSettings}


def settings() -> Iterator[tuple[str, str, dataclasses.Field]]:
    """Every setting: its flat name, the part of the recipe that holds it ("" for the recipe itself), and its field."""
    for part, holder in {"": Recipe, **PARTS}.items():
        for field in dataclasses.fields(holder):
            if field.name not in PARTS:
                yield flag_name(field), part, field


def without_aliases(values: dict[str, Any]) -> dict[str, Any]:
    """Settings by their names where they are given by their aliases: `steps` becomes `max_steps`."""
    names = {field.metadata["alias"]: name for name, _, field in settings() if field.metadata["alias"]}
    return {names.get(name, name): value for name, value in values.items()}


def check_names(names: Collection[str], *others: str) -> None:
    """Raise UserError unless all of these are settings, or one of the other names that the caller knows."""
    known = [*(name for name, _, _ in settings()), *others]
    for name in names:
        if name not in known:
            hint = nearest(name, known) or f"; {command('train', '--help')} lists them."
            raise UserError(f"there is no setting {name!r}{hint}")


def make_recipe(**values: Any) -> Recipe:
    """A recipe from settings by their flat names, as the flags, `recipe.json` and the Python API have them.

    Raises:
        UserError: a setting is unknown or out of range, or two of them contradict each other.
    """
    values = without_aliases(values)
    check_names(values)
    fields: dict[str, dict[str, Any]] = {part: {} for part in ("", *PARTS)}
    for name, part, field in settings():
        if name in values:
            fields[part][field.name] = values[name]
    return Recipe(**fields[""], **{part: holder(**fields[part]) for part, holder in PARTS.items()})


def read_recipe(contents: Any) -> Recipe:
    """The recipe in the contents of a `recipe.json`. Raises UserError if they are not one."""
    if not isinstance(contents, dict):
        raise UserError(f"a recipe must be a JSON object of settings, not {contents!r}.")
    return make_recipe(**contents)


def refuse_set_by_init(recipe: Recipe, names: Collection[str]) -> None:
    """Raise UserError if one of these settings asks for a model or a tokenizer where `--init-from` brings both.

    `--teacher` brings the tokenizer.
    """
    for name in SET_BY_TEACHER:
        if recipe.training.teacher is not None and name in names:
            raise UserError(
                f"a student reads with the tokenizer of its teacher {recipe.training.teacher}: leave {flag_of(name)} "
                "out, or leave out --teacher."
            )
    for name in SET_BY_INIT:
        if recipe.model.init_from is not None and name in names:
            raise UserError(
                f"--init-from {recipe.model.init_from} brings its own model and tokenizer: leave {flag_of(name)} out, "
                "or leave out --init-from."
            )


# What may change when a run is resumed: its length, and what is shown. Any other change would make it another run.
RESUMABLE = {
    "max_steps", "eval_interval", "log_interval", "out_dir", "prompt", "beams", "length_penalty", "device", "precision",
    "compile", "reward_seconds",
}  # fmt: skip

SECTIONS = {  # the first setting of each section of the help text
    "task": "task",
    "data": "data",
    "tokenizer": "tokenizer",
    "model": "model",
    "next_sentence": "objective",
    "optimizer": "optimizer",
    "lora_rank": "low-rank adaptation",
    "max_steps": "learning-rate schedule",
    "batch_size": "training loop",
    "device": "machine",
    "out_dir": "output",
}


def add_flags(parser: argparse._ActionsContainer, names: Collection[str] | None = None) -> None:
    """Add a flag for every setting. A flag that is not used is absent from the parsed arguments.

    Args:
        parser: gets the flags.
        names: the settings to add, without headings and defaults, for commands that take those of a run; None = all.
    """
    group = parser
    for name, _, field in settings():
        if names is not None and name not in names:
            continue
        if names is None and name in SECTIONS:
            group = parser.add_argument_group(SECTIONS[name])
        add_flag(group, field, field.default if names is None else None)
