"""The library in one class: a model by name, to fine-tune, measure, use and save.

    model = LLMTrainer.from_pretrained("gpt2")
    model.train("my_book.txt")
    model.save_pretrained("my_llm")

Every method here is a few lines around the room that does the work, and names it.
"""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from llmasos import hub
from llmasos.cli.train import train as carry_out
from llmasos.datasets import QA
from llmasos.datasets.infer import TEXT_PAIRS, DataSpec, infer_format
from llmasos.errors import UserError
from llmasos.generation import BeamOptions, SamplingOptions, beam_search, generate, stream
from llmasos.models import n_parameters
from llmasos.nn import is_quantized
from llmasos.objectives import BestAnswer
from llmasos.prompting import Message
from llmasos.tasks import Report, answer_questions, classify, fill_masks, open_task, reply
from llmasos.tasks.embedding import embed
from llmasos.tokenizers import Tokenizer
from llmasos.training.device import pick_device
from llmasos.training.recipe import Recipe
from llmasos.training.run_folder import only_one, run_folder, run_name

EPOCHS, MIN_STEPS = 3, 100  # fine-tuning sees every example so often, and takes at least so many steps
KIND_OF_TASK = {
    "language-modeling": "text", "bert-pretraining": "text", "text-classification": "labelled_text",
    "question-answering": "questions", "translation": "pairs", "summarization": "summaries",
    "instruction-tuning": "conversations",
}  # fmt: skip
"""Task → the kind of data it learns from."""


@dataclass(frozen=True)
class Training:
    """What came of `train`.

    Attributes:
        folder: of the run: recipe, metrics, checkpoints; `python train.py --resume --out FOLDER` goes on with it.
        val_loss: the lowest validation loss, in nats per prediction; it belongs to the weights that were kept.
        steps: how many steps were taken.
        interrupted: whether it was stopped by Ctrl-C, with everything saved.
    """

    folder: Path
    val_loss: float | None
    steps: int
    interrupted: bool


class LLMTrainer:
    """A model with its tokenizer. Made by `from_pretrained`.

    Attributes:
        model: the network, in evaluation mode.
        tokenizer: what turns text into its token ids and back.
        name: where it came from.
    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer, name: str):
        self.model, self.tokenizer, self.name = model, tokenizer, name
        self.device = next(model.parameters()).device

    @classmethod
    def from_pretrained(cls, name: str | Path, device: str = "auto", quantize: str | None = None) -> "LLMTrainer":
        """Open a model.

        Args:
            name: a folder (a model's or a run's), a shipped model (`python -m llmasos models`), or a model of the
                Hugging Face hub such as "gpt2": from its cache, or downloaded.
            device: "auto", "cpu", "cuda" or "mps".
            quantize: "int8" for a quarter of the memory; such a model can be used, but not trained or saved.

        Raises:
            UserError: there is no such model, it cannot be fetched, or it is damaged or of an unknown kind; or there
                is no such way to quantise.
        """
        model, tokenizer = hub.load_pretrained(name, pick_device(device), say=print, quantize=quantize)
        return cls(model, tokenizer, str(name))

    def train(
        self,
        train_data: Any,
        eval_data: Any = None,
        objective: str | None = None,
        epochs: float | None = None,
        **settings: Any,
    ) -> Training:
        """Go on training, on data of your own or any data set's; afterwards this is the trained model.

            model.train("my_book.txt")
            model.train([("a fine film", "good"), ("a waste of time", "bad"), …], epochs=5)
            model.train("storyworld", max_steps=100, freeze_layers=2, learning_rate=1e-4)

        Args:
            train_data: a text, a list of texts, a list of (text, label) or (source, target), a list of dictionaries,
                a path, or a data set's name (see `datasets/infer.py`).
            eval_data: the same for what is held out; None = a tenth of the data.
            objective: language-modeling, bert-pretraining, text-classification, question-answering, translation,
                summarization or instruction-tuning; None = what fits the model and the
                data, which is then said.
            epochs: how often each example is seen; `max_steps` says it directly (None of both: 3, and at least 100 steps).
            settings: any field of `training/recipe.py`: batch_size, learning_rate, freeze_layers, layerwise_lr_decay, out_dir, …

        Raises:
            UserError: the data does not fit the model or the objective, a setting is out of range, or the model is
                quantised.
        """
        if is_quantized(self.model):
            raise UserError(
                f"{self.name} is quantised to int8, and rounded weights cannot learn: open it without quantize, train "
                "that, save it, and open what you have saved with quantize."
            )
        task = objective or self.objective_for(infer_format(train_data))
        data, val_data = (None if d is None else self.given(d, task).data for d in (train_data, eval_data))
        chosen = (
            self.defaults() | settings | {"task": task, "data": data, "val_data": val_data, "init_from": self.folder()}
        )
        recipe = Recipe(**{"max_steps": 1} | chosen)
        if "max_steps" not in settings:
            recipe = dataclasses.replace(recipe, **self.schedule(recipe, epochs, settings))
        if objective is None:
            print(f"objective {task}: what fits {self.describe()} and this data; objective=… chooses another")
        name = Path(self.name).name.removesuffix(f"-{task}")
        run = run_folder(run_name(None, f"{name}-{task}", "run"), settings.get("out_dir"), resume=False)
        with only_one(run):
            result = carry_out(recipe, run)
        self.model, self.tokenizer = hub.load_pretrained(run, self.device, say=print)
        self.name = str(run)
        return Training(run, result.state.best_loss, result.state.step, result.interrupted)

    def folder(self) -> str:
        """The folder that holds this model's weights; the name of a run or a shipped model leads there."""
        return str(hub.find(self.name))

    def defaults(self) -> dict[str, Any]:
        """Settings of a gentle fine-tuning: pre-trained weights want small steps, and wide models smaller ones."""
        return {
            "learning_rate": 0.04 / self.model.config.d_model,  # 5e-5 at 768, as in Devlin et al. 2019, appendix A.3
            "weight_decay": 0.01,
            "beta2": 0.999,
            "batch_size": 16,
            "device": self.device.type,
        }

    def schedule(self, recipe: Recipe, epochs: float | None, settings: dict[str, Any]) -> dict[str, Any]:
        """Steps for so many epochs of a recipe's data, and what depends on them."""
        if epochs is not None and not epochs > 0:
            raise UserError(f"epochs is {epochs}; it must be above 0.")
        task = open_task(recipe)
        task.use(task.make_tokenizer(recipe))
        task.prepare()
        steps = round((epochs or EPOCHS) * task.train.examples_per_epoch / recipe.batch_size)
        steps = max(steps, 1 if epochs else MIN_STEPS)
        derived = {"warmup_steps": steps // 10, "eval_interval": max(1, -(-steps // 4))}
        return {"max_steps": steps} | {name: value for name, value in derived.items() if name not in settings}

    def objective_for(self, given: DataSpec) -> str:
        """The task that fits the model and the data. Raises UserError if none or more than one does."""
        c = self.model.config
        if c.head == "classifier":
            candidates = ["text-classification"]
        elif c.head == "question_answering":
            candidates = ["question-answering"]
        elif c.family == "transformer":
            candidates = ["translation", "text-classification", "question-answering"]
        else:
            candidates = ["bert-pretraining"] if c.family == "bert" else ["language-modeling", "instruction-tuning"]
            candidates += ["text-classification", "question-answering"]
        kinds = set(given.formats)
        if TEXT_PAIRS in kinds:  # (text, label), or (source, target) for what writes the one from the other
            kinds.add("pairs" if "translation" in candidates else "labelled_text")
        fitting = [task for task in candidates if KIND_OF_TASK[task] in kinds]
        if not fitting:
            raise UserError(
                f"{self.describe()} can learn {', '.join(candidates)}, and the data is of the kind "
                f"{' or '.join(given.formats)}; give other data, or another model."
            )
        return fitting[0]

    def given(self, data: Any, task: str) -> DataSpec:
        """The data as the task reads it. Raises UserError if it is of another kind."""
        if task not in KIND_OF_TASK:
            raise UserError(f"objective is {task!r}; it must be one of: {', '.join(KIND_OF_TASK)}.")
        given = infer_format(data, ("text", "label") if task == "text-classification" else ("source", "target"))
        kind = KIND_OF_TASK[task]
        if kind not in given.formats and not (TEXT_PAIRS in given.formats and kind in ("labelled_text", "pairs", "summaries")):
            raise UserError(
                f"the objective {task} learns from {kind}, and this data is of the kind {' or '.join(given.formats)}; "
                "give other data or choose another objective."
            )
        return given

    def evaluate(self, data: Any, objective: str | None = None, split: str | None = None) -> Report:
        """How good the model is: scores with their 95 % intervals, and a handful of mistakes.

        Args:
            data: as for `train`. A data set's own held-out part is measured on; of data of your own, all of it.
            objective: as for `train`.
            split: "train", "val", "test" or "all", to measure on another part.
        """
        found = infer_format(data)
        task_name = objective or self.objective_for(found)
        given = self.given(data, task_name)
        own = os.path.exists(given.data.split(",")[0])
        task = open_task(Recipe(task=task_name, data=given.data), whole=own)
        task.check_model(self.model.config, self.name)
        task.use(self.tokenizer, self.model.config)
        return task.evaluate(self.model, split or ("all" if own else "test" if task.has_test else "val"))

    def generate(self, prompt: str | Sequence[str], n: int = 1, **options: Any) -> Any:
        """Go on with a text (a GPT). Returns the new text; a list of texts for a list of prompts or n > 1.

        Args:
            prompt: one or several.
            n: how many continuations of each.
            options: fields of `SamplingOptions`: max_new_tokens, temperature, top_p, stop, seed, …
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        texts = [g.text for g in generate(self.model, self.tokenizer, prompts, SamplingOptions(**options), n)]
        return texts[0] if isinstance(prompt, str) and n == 1 else texts

    def stream(self, prompt: str, **options: Any) -> Iterator[str]:
        """The same piece by piece, while it is written."""
        for event in stream(self.model, self.tokenizer, [prompt], SamplingOptions(**options)):
            yield event.text

    def chat(self, messages: str | Sequence[Any], **options: Any) -> str:
        """What the assistant says next (a GPT that has learned to answer).

        Args:
            messages: what the user says, or the conversation so far: {"role": …, "content": …}, in order.
            options: as for `generate`.
        """
        said = [Message("user", messages)] if isinstance(messages, str) else list(messages)
        return reply(self.model, self.tokenizer, [said], SamplingOptions(**options))[0]

    def translate(self, text: str | Sequence[str], **options: Any) -> Any:
        """Write the text that belongs to a source (a Transformer), by beam search.

        Args:
            text: one or several.
            options: fields of `BeamOptions`: beams, length_penalty, max_new_tokens.
        """
        sources = [text] if isinstance(text, str) else list(text)
        found = beam_search(self.model, self.tokenizer, sources, BeamOptions(**options))
        texts = [best.text.strip() for best, *_ in found]
        return texts[0] if isinstance(text, str) else texts

    summarise = translate  # the same to the model: it writes what it was trained to write

    def fill(self, text: str, n: int = 5) -> list[list[tuple[str, float]]]:
        """For each [MASK] in a text the n likeliest tokens with their probabilities (a BERT)."""
        return fill_masks(self.model, self.tokenizer, text, n)

    def classify(self, text: str | Sequence[str]) -> Any:
        """Each label with its probability, the likeliest first (a classifier); a list of that for several texts."""
        texts = [text] if isinstance(text, str) else list(text)
        labels = self.model.config.labels
        rows = classify(self.model, self.tokenizer, texts).tolist()
        found = [dict(sorted(zip(labels, row, strict=True), key=lambda pair: -pair[1])) for row in rows]
        return found[0] if isinstance(text, str) else found

    def answer(self, question: str, context: str) -> BestAnswer:
        """The piece of the context that answers the question (a span extractor); its `text` is "" if none does."""
        return answer_questions(self.model, self.tokenizer, [QA(context, question, ())])[0]

    def embed(self, text: str | Sequence[str], **options: Any) -> Tensor:
        """A vector (C,) for a text, one long; (N, C) for several. See `tasks/embedding.py` for the options."""
        vectors = embed(self.model, self.tokenizer, [text] if isinstance(text, str) else text, **options)
        return vectors[0] if isinstance(text, str) else vectors

    def save_pretrained(self, folder: str | Path, half: bool = False) -> None:
        """Write model and tokenizer to a folder, complete or not at all, which transformers opens where it can.

        Args:
            folder: made if needed. One that holds other files than a model's is refused.
            half: store the weights in 16 bits: half the file, and a little precision lost.

        Raises:
            UserError: the folder holds other files, or cannot be written.
        """
        hub.save_pretrained(folder, self.model, self.tokenizer, torch.float16 if half else None)

    def describe(self) -> str:
        """The model in a few words."""
        c = self.model.config
        head = "" if c.is_pretraining else f" with the head {c.head!r}"
        return f"{self.name} ({c.family}{head})"

    def __repr__(self) -> str:
        millions = n_parameters(self.model) / 1e6
        return f"LLMTrainer({self.describe()}, {millions:.2f}M parameters, {self.tokenizer.kind}, {self.device})"
