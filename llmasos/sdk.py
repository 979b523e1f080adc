"""The library in one class: a model by name, to fine-tune, evaluate, use and save.

    model = LLMTrainer.from_pretrained("gpt2")
    model.train("my_book.txt")
    model.save_pretrained("my_llm")

What a model can do, in the order of this file:

    open            from_pretrained
    train           train; merge_adapter
    evaluate        evaluate, evaluate_suite, measure_bias, measure_refusal, exposure, membership_inference
    write           generate, stream, chat; translate, summarize; unmask
    predict         fill_mask, classify, find_entities, score, answer, embed
    save            save_pretrained

Each is a few lines that call the part of the library that does the work. `tasks/infer_task.py` describes how `train`
and `evaluate` interpret data of any form.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llmasos import hub
from llmasos.arguments import checked, refuse_name_as_model
from llmasos.capabilities import check_capability, describe_model
from llmasos.console import quiet, say
from llmasos.datasets import QA, open_text
from llmasos.datasets.in_memory import split_by_name
from llmasos.errors import UserError, check_number
from llmasos.evaluation.bias import BiasReport, CounterfactualPair, measure_bias, read_templates
from llmasos.evaluation.likelihood import continuation_log_probs, text_losses
from llmasos.evaluation.memorization import MembershipInference, exposure_of, membership_inference
from llmasos.evaluation.refusal import RefusalReport, RequestLike, measure_refusal, read_requests
from llmasos.evaluation.show_table import ShownAsTable
from llmasos.evaluation.suite import SuiteResult
from llmasos.generation import (
    BeamOptions,
    SamplingOptions,
    beam_search,
    generate,
    generate_with_draft,
    options_for,
    stream,
    unmask,
)
from llmasos.models import Model, n_parameters
from llmasos.models.adapter import merge_adapter
from llmasos.nn import is_quantized
from llmasos.objectives import BestAnswer
from llmasos.prompting import Message, Tool, own_template_note
from llmasos.tasks import (
    Report,
    answer_questions,
    classify,
    embed,
    fill_masks,
    find_entities,
    reply,
    reply_to_prompts,
    reply_with_tools,
    score,
)
from llmasos.tasks.evaluate import rows_for, setup_evaluation
from llmasos.tasks.infer_task import as_settings, fine_tuning_recipe, recipe_to_evaluate, schedule
from llmasos.tasks.run import run_recipe
from llmasos.tasks.storyworld_chat_suite import run_suite
from llmasos.tokenizers import Tokenizer
from llmasos.training.device import pick_device
from llmasos.training.run_folder import choose_run_folder, run_name


@dataclass(frozen=True, repr=False)
class TrainResult(ShownAsTable):
    """The result of `train`.

    Attributes:
        folder: the run's folder, with recipe, metrics and checkpoints; `python train.py --resume --out FOLDER`
            continues it.
        val_loss: the lowest validation loss, in nats per target; it belongs to the weights that were kept.
        steps: the number of steps taken.
        interrupted: whether it was stopped by Ctrl-C, with everything saved.
    """

    folder: Path
    val_loss: float | None
    steps: int
    interrupted: bool

    def table(self) -> list[tuple[str, ...]]:
        loss = "not measured" if self.val_loss is None else f"{self.val_loss:.4f}"
        steps = f"{self.steps:,}{', interrupted' if self.interrupted else ''}"
        return [("run", "steps", "val_loss"), (str(self.folder), steps, loss)]


def for_each(text: str | Iterable[str], use: Callable[[list[str]], Any]) -> Any:
    """Apply `use`, a function of a list of texts, to one text or to several: one result, or a list of results.

    >>> for_each("Anna", lambda texts: [len(text) for text in texts])
    4
    """
    return use([text])[0] if isinstance(text, str) else use(list(text))


class LLMTrainer:
    """A model with its tokenizer, made by `from_pretrained`.

    Attributes:
        model: the network, in evaluation mode.
        tokenizer: turns text into the model's token ids and back.
        name: the name or folder it was loaded from.
    """

    def __init__(self, model: Model = None, tokenizer: Tokenizer = None, name: str = ""):  # type: ignore[assignment]
        refuse_name_as_model("LLMTrainer", model, tokenizer)
        self.model, self.tokenizer, self.name = model, tokenizer, name
        self.device = next(model.parameters()).device
        self._template_noted = False  # whether `chat` has reported which template it uses

    @classmethod
    @checked
    def from_pretrained(
        cls,
        name: str | Path,
        device: str | torch.device = "auto",
        quantize: str | None = None,
        adapter: str | Path | None = None,
        verbose: bool = True,
    ) -> "LLMTrainer":
        """Open a model.

        >>> LLMTrainer.from_pretrained("storyworld-gpt", device="cpu")
        LLMTrainer(storyworld-gpt (gpt), 1.19M parameters, bpe, cpu)

        Args:
            name: a folder (a model's, a run's or an adapter's), a shipped model (`python -m llmasos models`), or a
                model of the Hugging Face hub such as "gpt2": from its cache, or downloaded.
            device: "auto", "cpu", "cuda", "cuda:1", "mps", or a `torch.device`.
            quantize: "int8" for a quarter of the memory, "int4" for about a sixth; such a model can be used, but not
                trained or saved.
            adapter: the folder or the run of a LoRA adapter of the model, ours or one of `peft`.
            verbose: False prints nothing, not even the progress of a download.

        Raises:
            UserError: there is no such model, it cannot be downloaded, it is corrupt, or its architecture is unknown;
                or there is no such quantization.
        """
        with quiet(not verbose):
            device = pick_device(device)
            model, tokenizer = hub.load_pretrained(name, device, say, quantize, adapter, merge=False)
        return cls(model, tokenizer, str(name if adapter is None else adapter))

    @checked
    def train(
        self,
        train_data: Any,
        eval_data: Any = None,
        task: str | None = None,
        epochs: float | None = None,
        verbose: bool = True,
        **settings: Any,
    ) -> TrainResult:
        """Fine-tune the model, on your own data or on any dataset. Afterwards, this object holds the trained model.

            model.train("my_book.txt")
            model.train(zip(texts, labels), epochs=5)
            model.train("storyworld", max_steps=100, freeze_layers=2, learning_rate=1e-4)
            model.train("storyworld", lora_rank=4)

        >>> things = ("story", "song", "house", "kite", "lamp", "drum")
        >>> model = LLMTrainer.from_pretrained("storyworld-bert")
        >>> reviews = [(f"a lovely {thing}", "good") for thing in things]
        >>> reviews += [(f"a broken {thing}", "bad") for thing in things]
        >>> _ = model.train(reviews, max_steps=25, learning_rate=2e-3, verbose=False)
        >>> [next(iter(model.classify(text))) for text in ("a lovely boat", "a broken chair")]
        ['good', 'bad']

        Args:
            train_data: a text, a list of texts, a list of (text, label) or (source, target), a table or a list of
                dictionaries, a path, a dataset's name, or {"train": …, "validation": …} (see `datasets/infer.py` and
                `datasets/in_memory.py`).
            eval_data: the same for validation; None = a tenth of the data.
            task: a name in `llmasos/capabilities.py`, such as "text-classification"; None = the first task that fits
                the model and the data (a line says which).
            epochs: how often each example is seen, unless `max_steps` is set (default: 3, but at least 100 steps).
            verbose: False prints nothing.
            settings: any setting of `training/recipe.py`: batch_size, learning_rate, freeze_layers, out_dir, … With
                `reward`, a function of a prompt and a text, the data are prompts and the model learns from its own
                answers.

        Raises:
            UserError: the data does not fit the model or the task, a setting is out of range, or the model is
                quantized.
        """
        if is_quantized(self.model):
            raise UserError(
                f"{self.name} is quantized, and rounded weights cannot be trained: open it without quantize, "
                "train that, save it, and open the saved model with quantize."
            )
        settings = {"device": str(self.device), **as_settings(settings)}
        recipe = fine_tuning_recipe(self.name, self.model.config, train_data, eval_data, task, settings)
        name = Path(self.name).name.removesuffix(f"-{recipe.task}")
        run = choose_run_folder(run_name(None, f"{name}-{recipe.task}", "run"), settings.get("out_dir"), resume=False)
        with quiet(not verbose):
            if "max_steps" not in settings:
                recipe = recipe.replace(**(schedule(recipe, epochs) | settings))
            if task is None and recipe.training.reward is None:
                say(f"task {recipe.task}: it fits {self.describe()} and this data; task=… chooses another")
            result = run_recipe(recipe, run)
            self.model, self.tokenizer = hub.load_pretrained(run, self.device, say=say, merge=False)
        self.name = str(run)
        return TrainResult(run, result.state.best_loss, result.state.step, result.interrupted)

    def merge_adapter(self) -> None:
        """Merge the adapter into the model's weights, so that `save_pretrained` writes the whole model."""
        merge_adapter(self.model)

    @checked
    def evaluate(
        self,
        data: Any,
        task: str | None = None,
        split: str | None = None,
        columns: str | Mapping | None = None,
        verbose: bool = True,
    ) -> Report:
        """Evaluate the model: metrics with their 95 % intervals, and a few mistakes.

        >>> model = LLMTrainer.from_pretrained("storyworld-de-en")
        >>> german, english = "Es war einmal ein mutiger Junge namens Paul.", "Once there was a brave boy called Paul."
        >>> print(model.evaluate([(german, english)], verbose=False))
        metric  value   95 % interval  n
        BLEU    100.00                 1  nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp
        chrF2   100.00                 1  nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no

        Args:
            data: as for `train`. For a dataset, its held-out part is used; for your own data, all of it.
            task: as for `train`.
            split: "train", "val", "test" or "all", to evaluate on another part.
            columns: the names of a table's columns, for example "text=review,label=stars".
            verbose: False prints nothing.
        """
        train_data, held_out = split_by_name(data, split)
        data, split = (train_data, split) if held_out is None else (held_out, None)
        rows = rows_for(self.tokenizer)
        recipe, is_file = recipe_to_evaluate(self.name, self.model.config, data, task, columns, rows)
        with quiet(not verbose):
            prepared = setup_evaluation(recipe, self.model.config, self.tokenizer, self.name, eval_only=is_file)
            return prepared.evaluate(self.model, split or prepared.eval_split)

    @checked
    def evaluate_suite(
        self,
        suite: str | Path = "storyworld",
        examples: int | None = None,
        samples: int = 1,
        contamination: str | Path | None = None,
        verbose: bool = True,
    ) -> SuiteResult:
        """Run a suite of tests on a GPT, whatever it was trained on: metrics with their 95 % intervals.

        >>> from llmasos.evaluation import compare_suites
        >>> a = LLMTrainer.from_pretrained("storyworld-gpt").evaluate_suite(examples=5, verbose=False)
        >>> [row[0] for row in a.table()][1:3], compare_suites([a], [a])[1][-1]
        (['bits per byte', 'nats above the floor'], '1')

        Args:
            suite: "storyworld"; "storyworld-chat" for a chat model (`tasks/storyworld_chat_suite.py`); or a `.jsonl`
                file of your own questions (`evaluation/suite.py` shows its lines).
            examples: at most this many; None = 100 for a named suite, all for a file.
            samples: the number of answers to each question of a file, for pass@k.
            contamination: training data, a dataset or a file, in which to look for the test texts.
            verbose: False prints nothing.

        Raises:
            UserError: the model cannot continue a text, or there is no such suite.
        """
        self.check("completion")
        with quiet(not verbose):
            result = run_suite(suite, self.model, self.tokenizer, examples, samples)
            if contamination is not None:
                result.check_contamination(open_text(contamination).documents("train"))
        return result

    @checked
    def measure_bias(self, templates: str | Path | Iterable[CounterfactualPair]) -> BiasReport:
        """Measure how differently a GPT continues two prompts that differ in one word: the difference of the log odds.

        Args:
            templates: a `.jsonl` file of templates (`evaluation/bias.py` shows a line), or the pairs themselves.
        """
        self.check("completion")
        pairs = read_templates(templates) if isinstance(templates, str | Path) else list(templates)
        return measure_bias(partial(continuation_log_probs, self.model, self.tokenizer), pairs)

    @checked
    def measure_refusal(
        self, requests: str | Path | Iterable[RequestLike], prefix: str = "", **options: Any
    ) -> RefusalReport:
        """Measure how often a chat model refuses harmful and harmless requests, and how often a prefix makes it comply.

        >>> print(model.measure_refusal("requests.jsonl", prefix="Sure,", temperature=0))  # doctest: +SKIP

        Args:
            requests: a `.jsonl` file of requests (`evaluation/refusal.py` shows a line), or the requests themselves.
            prefix: also start the replies to the harmful requests with these words, and measure whether the model then
                answers.
            options: as for `generate`.
        """
        self.check("chat")
        asked = read_requests(requests) if isinstance(requests, str | Path) else list(requests)
        settings = options_for(self.model, SamplingOptions, **options)
        replies = partial(reply_to_prompts, self.model, self.tokenizer, settings)
        return measure_refusal(replies, asked, prefix)

    @checked
    def exposure(self, template: str, secret: str, candidates: Iterable[str]) -> float:
        """Measure the exposure of a secret from the training data of a GPT, in bits (Carlini et al. 2019).

        Args:
            template: the sentence, with {} in place of the secret.
            secret: the one that was in the training data.
            candidates: everything that could be in its place.
        """
        self.check("completion")
        score = partial(continuation_log_probs, self.model, self.tokenizer)
        return exposure_of(lambda texts: score([("", text) for text in texts]), template, secret, list(candidates))

    @checked
    def membership_inference(
        self, members: Iterable[str], others: Iterable[str], reference: "LLMTrainer | None" = None
    ) -> MembershipInference:
        """Measure how well the losses of a GPT distinguish its training texts from other texts.

        Args:
            members: texts that were in its training data.
            others: similar texts that were not in it.
            reference: a model whose losses are subtracted.
        """
        texts = list(members), list(others)
        models = [self] if reference is None else [self, reference]
        for model in models:
            model.check("completion")
        inside, outside = ([text_losses(m.model, m.tokenizer, part) for m in models] for part in texts)
        if reference is None:
            return membership_inference(inside[0], outside[0])
        return membership_inference(inside[0], outside[0], inside[1], outside[1])

    @checked
    def generate(
        self, prompt: str | Iterable[str], n: int = 1, draft: "str | Path | LLMTrainer | None" = None, **options: Any
    ) -> Any:
        """Continue a text (a GPT). Returns the new text; a list of texts for a list of prompts or n > 1.

        >>> model = LLMTrainer.from_pretrained("storyworld-gpt")
        >>> model.generate("Once there was", temperature=0, stop=".")
        ' a careful boy called Paul, who lived in a narrow street behind the market'

        Args:
            prompt: one prompt or several.
            n: the number of continuations of each.
            draft: a small GPT with the same tokenizer, which proposes tokens for this model to check, several at a
                time (`generation/speculative.py`): a name or folder, or an `LLMTrainer`. The texts have this model's
                own distribution, whatever the draft proposes; a good draft of a large model saves time.
            options: fields of `SamplingOptions`: max_new_tokens, temperature, top_p, stop, seed, …; the others default
                to the model's recommendation. With a draft, stop and grammar are not available, and prompt and text
                together must fit in the context.
        """
        self.check("completion")
        check_number("n", n, whole=True, at_least=1)
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        chosen = options_for(self.model, SamplingOptions, **options)
        if draft is None:
            texts = [g.text for g in generate(self.model, self.tokenizer, prompts, chosen, n)]
        else:
            other = self.opened_draft(draft)
            texts = generate_with_draft(self.model, other.model, self.tokenizer, prompts, chosen, n)
        return texts[0] if isinstance(prompt, str) and n == 1 else texts

    def opened_draft(self, draft: "str | Path | LLMTrainer") -> "LLMTrainer":
        """Open the draft model on this model's device. Raises UserError if it is not a GPT or has another tokenizer."""
        if not isinstance(draft, LLMTrainer):
            draft = LLMTrainer.from_pretrained(draft, self.device, verbose=False)
        draft.check("completion")
        if draft.tokenizer.fingerprint() != self.tokenizer.fingerprint():
            raise UserError(
                f"{draft.name} has another tokenizer than {self.name}; a draft must be trained with the model's own."
            )
        return draft

    @checked
    def stream(self, prompt: str, **options: Any) -> Iterator[str]:
        """Continue a text like `generate`, and yield it piece by piece as it is generated.

        >>> model = LLMTrainer.from_pretrained("storyworld-gpt")
        >>> list(model.stream("Once there was", temperature=0, max_new_tokens=6))
        [' a', ' careful', ' boy', ' called', ' Paul', ',']
        """
        self.check("completion")
        events = stream(self.model, self.tokenizer, [prompt], options_for(self.model, SamplingOptions, **options))
        return (event.text for event in events)

    @checked
    def chat(
        self,
        messages: str | Mapping | Iterable[Mapping | Message],
        tools: Callable[..., Any] | Tool | Iterable[Callable[..., Any] | Tool] = (),
        tool_choice: str | Callable[..., Any] | Tool = "auto",
        **options: Any,
    ) -> str:
        """The assistant's next message (an instruction-tuned GPT).

        >>> model = LLMTrainer.from_pretrained("storyworld-chat")
        >>> model.chat("Tell me a story about Emma and a kite.", temperature=0, stop=".")
        'Emma was small and patient and lived in a narrow street behind the market'

        Args:
            messages: the user's message, or the conversation so far: {"role": …, "content": …}, in order.
            tools: a function or several that a model trained for tool use may call before it answers, such as
                `prompting.calculator`; `tasks.reply_with_tools` also returns the calls and their results.
            tool_choice: "required": the model must call a tool first; a tool or its name: it must call that one.
            options: as for `generate`.
        """
        self.check("chat")
        if isinstance(messages, str):
            conversation: list[Mapping | Message] = [Message("user", messages)]
        else:
            conversation = [messages] if isinstance(messages, Mapping) else list(messages)
        if (note := own_template_note(self.tokenizer)) and not self._template_noted:
            say(note)
            self._template_noted = True
        settings = options_for(self.model, SamplingOptions, **options)
        functions = list(tools) if isinstance(tools, Iterable) else [tools]
        if functions or tool_choice != "auto":
            return reply_with_tools(
                self.model, self.tokenizer, [conversation], functions, settings, tool_choice=tool_choice
            )[0].text
        return reply(self.model, self.tokenizer, [conversation], settings)[0]

    @checked
    def translate(self, text: str | Iterable[str], **options: Any) -> Any:
        """Write the target of a source text (a Transformer), by beam search.

        >>> LLMTrainer.from_pretrained("storyworld-de-en").translate("Es war einmal ein mutiger Junge namens Paul.")
        'Once there was a brave boy called Paul.'

        Args:
            text: one text or several.
            options: fields of `BeamOptions`: beams, length_penalty, max_new_tokens.
        """
        self.check("translation")
        settings = options_for(self.model, BeamOptions, **options)

        def translations(sources: list[str]) -> list[str]:
            return [best.text.strip() for best, *_ in beam_search(self.model, self.tokenizer, sources, settings)]

        return for_each(text, translations)

    summarize = translate  # the same for the model: it writes what it was trained to write

    @checked
    def unmask(
        self, text: str | Iterable[str], steps: int | None = None, temperature: float = 1.0, order: str = "random",
        seed: int = 0,
    ) -> Any:  # fmt: skip
        """Write a token for every [MASK] (a BERT, best one trained by the task masked-diffusion).

        Args:
            text: one text or several, such as `"Once there was " + "[MASK]" * 20`.
            steps: the number of steps; None = one token at a time, which samples from the model's own distribution.
            temperature: divides the logits; 0 takes the most likely token.
            order: "random", or "confident": the tokens that the model is most certain of come first.
            seed: the random seed.

        Returns:
            The text without masks; for several texts, a list.
        """
        self.check("fill-mask")
        return for_each(text, lambda texts: unmask(self.model, self.tokenizer, texts, steps, temperature, order, seed))

    @checked
    def fill_mask(self, text: str, n: int = 5) -> list[list[tuple[str, float]]]:
        """The n most likely tokens for each [MASK] in a text, with their probabilities (a BERT).

        >>> model = LLMTrainer.from_pretrained("storyworld-bert")
        >>> [word for word, probability in model.fill_mask("Once there was a [MASK] girl called Anna.", n=3)[0]]
        ['careful', 'proud', 'shy']
        """
        self.check("fill-mask")
        check_number("n", n, whole=True, at_least=1)
        return fill_masks(self.model, self.tokenizer, text, n)

    @checked
    def classify(self, text: str | Iterable[str]) -> Any:
        """Return each label with its probability, the most likely first (a classifier); a list for several texts.

        >>> model = LLMTrainer.from_pretrained("storyworld-bert")
        >>> things = ("story", "song", "house", "kite", "lamp", "drum")
        >>> reviews = [(f"a {word} {thing}", word) for word in ("good", "bad") for thing in things]
        >>> _ = model.train(reviews, max_steps=25, learning_rate=2e-3, verbose=False)
        >>> {label: round(probability) for label, probability in model.classify("a bad chair").items()}
        {'bad': 1, 'good': 0}
        """
        self.check("classification")
        labels = self.model.config.labels

        def probabilities(texts: list[str]) -> list[dict[str, float]]:
            rows = classify(self.model, self.tokenizer, texts).tolist()
            return [dict(sorted(zip(labels, row, strict=True), key=lambda pair: -pair[1])) for row in rows]

        return for_each(text, probabilities)

    @checked
    def find_entities(self, text: str | Iterable[str]) -> Any:
        """Find the names in a text, as `Entity(text, label, start, end, score)` (a token classifier); a list per text.

        >>> names, places = ("Anna", "Paul", "Emma", "Leo"), ("mill", "lake", "barn")
        >>> model = LLMTrainer.from_pretrained("storyworld-bert")
        >>> sentences = [
        ...     {"tokens": [name, "saw", "the", place, "."], "tags": ["B-PERSON", "O", "O", "B-PLACE", "O"]}
        ...     for name in names for place in places
        ... ]
        >>> _ = model.train(sentences, max_steps=25, learning_rate=2e-3, verbose=False)
        >>> [entity[:4] for entity in model.find_entities("Clara saw the forest.")]
        [('Clara', 'PERSON', 0, 5), ('forest', 'PLACE', 14, 20)]
        """
        self.check("token-classification")
        return for_each(text, partial(find_entities, self.model, self.tokenizer))

    @checked
    def score(self, text: str | Iterable[str], prompt: str = "") -> Any:
        """Return the score of a text (a reward model or a regression model); a list for several texts.

        >>> model = LLMTrainer.from_pretrained("storyworld-bert")
        >>> things = ("story", "song", "house", "kite", "lamp", "drum", "tree", "bell", "cake", "boat", "coat", "shop")
        >>> rows = [{"prompt": "", "chosen": f"a good {thing}", "rejected": f"a bad {thing}"} for thing in things]
        >>> _ = model.train(rows, task="reward-modeling", max_steps=15, learning_rate=2e-3, verbose=False)
        >>> model.score("a good chair") > model.score("a bad chair")
        True
        """
        self.check("scoring")
        return for_each(text, lambda texts: score(self.model, self.tokenizer, [prompt] * len(texts), texts))

    @checked
    def answer(self, question: str, context: str) -> BestAnswer:
        """Find the span of the context that answers the question (extractive QA); its `text` is "" if there is none.

        >>> places = ("by the river", "in the red house", "near the forest", "in the village")
        >>> model = LLMTrainer.from_pretrained("storyworld-bert")
        >>> _ = model.train(
        ...     [
        ...         {"context": f"{name} lived {place} and had a kite.", "question": f"Where did {name} live?",
        ...          "answer": place}
        ...         for name in ("Anna", "Paul", "Emma", "Leo") for place in places
        ...     ],
        ...     max_steps=25, learning_rate=2e-3, verbose=False,
        ... )
        >>> model.answer("Where did Clara live?", "Clara lived under the old bridge and had a drum.").text
        'under the old bridge'
        """
        self.check("question-answering")
        return answer_questions(self.model, self.tokenizer, [QA(context, question, ())])[0]

    @checked
    def embed(
        self, text: str | Iterable[str], pooling: str | None = None, normalize: bool = True, batch_size: int = 64
    ) -> Tensor:
        """Embed a text as a unit vector (C,); several as (N, C). `tasks/text_embedding.py` explains the options.

        >>> model = LLMTrainer.from_pretrained("storyworld-bert")
        >>> lost, found, river = model.embed(["The lamp was lost.", "The lamp was found.", "Paul lived by the river."])
        >>> bool(lost @ found > lost @ river)  # the cosine of the angle between two vectors
        True
        """
        self.check("embedding")
        check_number("batch_size", batch_size, whole=True, at_least=1)
        return for_each(text, lambda texts: embed(self.model, self.tokenizer, texts, pooling, normalize, batch_size))

    @checked
    def save_pretrained(self, folder: str | Path, half: bool = False) -> None:
        """Save model and tokenizer in a folder, completely or not at all. If possible, transformers can open it, too.

        After `train(…, lora_rank=…)`, only the adapter is saved, which `peft` opens; after `merge_adapter()`, the
        model.

        >>> LLMTrainer.from_pretrained("storyworld-gpt").save_pretrained("my_llm")
        >>> LLMTrainer.from_pretrained("my_llm").generate("Once there was", temperature=0, stop=".")
        ' a careful boy called Paul, who lived in a narrow street behind the market'

        Args:
            folder: created if needed. A folder with other files in it is rejected.
            half: store the weights in fp16: half the size, slightly less precision.

        Raises:
            UserError: the folder holds other files, or cannot be written.
        """
        hub.save_pretrained(folder, self.model, self.tokenizer, torch.float16 if half else None)

    def describe(self) -> str:
        """Describe the model in a few words, for messages."""
        return f"{self.name} ({describe_model(self.model.config.family, self.model.config.head)})"

    def check(self, capability: str) -> None:
        """Raise UserError unless the model has this capability, a name in `llmasos/capabilities.py`."""
        check_capability(capability, self.model.config.family, self.model.config.head, self.name)

    def __repr__(self) -> str:
        millions = n_parameters(self.model) / 1e6
        return f"LLMTrainer({self.describe()}, {millions:.2f}M parameters, {self.tokenizer.kind}, {self.device})"
