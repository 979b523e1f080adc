"""`sample.py` and `python -m llmasos sample`: use a trained model for the task it was trained on.

Parses the flags, loads the model, and continues (or translates, classifies, answers) each prompt. The text goes to
standard output. Everything else (notes, speed, errors) goes to standard error, so that after
`sample.py … > story.txt` the file contains only the story.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmasos import generation, hub, prompting, tasks, training
from llmasos.arguments import user_path
from llmasos.capabilities import check_capability
from llmasos.cli.cli import ArgumentParser, add_adapter_flag
from llmasos.cli.option_flags import add_option_flags, has_grammar, options_of
from llmasos.cli.terminal import Screen, note, typed_lines
from llmasos.console import command
from llmasos.datasets.text_io import read_blocks
from llmasos.errors import UserError, check_number, explain_out_of_memory
from llmasos.generation import BeamOptions, SamplingOptions
from llmasos.settings import flag_of
from llmasos.training.checkpoints import read_origin

if TYPE_CHECKING:
    from llmasos.models import Model
    from llmasos.prompting import ChatTemplate
    from llmasos.tokenizers import Tokenizer

EXAMPLES = """examples:
  {sample} runs/storyworld --prompt "Once there was"
  {sample} storyworld-gpt --prompt "Once there was a shy girl"
  {sample} storyworld-chat --temperature 0 --prompt "Tell me a story about Emma and a lantern."
  {sample} runs/storyworld --prompt "Anna" --prompt "The old boat" --n 3 --temperature 1 --top-p 0.95
  {sample} runs/storyworld --interactive
  echo "To be, or not" | {sample} runs/shakespeare --prompt-file -
  {sample} runs/translate-storyworld --prompt "Der alte Fischer gab ihr einen Rat."
  {sample} runs/bert-storyworld --prompt "Once there was a [MASK] girl."
  {sample} runs/qa-storyworld --context story.txt --prompt "Where did Paul live?"
"""


def make_parser() -> argparse.ArgumentParser:
    """All flags of the command, with their help."""
    sample = command("sample")
    parser = ArgumentParser(
        prog=sample,
        description="Use a trained model: a GPT continues the prompt, a Transformer translates or summarizes it, a "
        "BERT fills in each [MASK], a classifier predicts a label, a question-answering model finds the answer in "
        "--context.",
        epilog=EXAMPLES.format(sample=sample),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder",
        metavar="MODEL",
        help="folder of a run (its best checkpoint is used) or of a model, or a name (see python -m llmasos models)",
    )

    flag = parser.add_argument_group("prompts").add_argument
    flag("--prompt", action="append", metavar="TEXT", help="the text to continue, translate, …; repeatable")
    flag("--prompt-file", metavar="FILE", help="a file whose whole text is a prompt; - reads standard input")
    flag("--context", metavar="FILE", help="the text file in which a question-answering model finds its answers")
    flag(
        "--interactive", action="store_true", help="read prompts from the terminal, one per line; /quit or Ctrl-D ends"
    )
    flag("--n", type=int, default=1, metavar="N", help="samples per prompt (default: 1)")

    flag(
        "--unmask-steps",
        type=int,
        metavar="N",
        help="write a text for every [MASK] of the prompt in N steps, instead of listing likely tokens for each; "
        "for a model trained by masked-diffusion",
    )

    add_option_flags(parser, SamplingOptions, BeamOptions)

    add_adapter_flag(parser)
    flag = parser.add_argument_group("device and output").add_argument
    flag("--device", default="auto", metavar="DEVICE", help="where to compute: cpu, cuda, cuda:1, mps (default: auto)")
    flag(
        "--stream",
        action=argparse.BooleanOptionalAction,
        help="print the text while it is generated (default: if there is only one)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Check the flags, load the model, and print its texts.

    Raises:
        UserError: a flag is out of range, the folder has no usable model, or a prompt file cannot be read.
    """
    args = make_parser().parse_args(arguments)
    parse_options(args)  # checks the ranges before anything is loaded
    check_number("n", args.n, whole=True, at_least=1)
    if args.unmask_steps is not None:
        check_number("unmask_steps", args.unmask_steps, whole=True, at_least=1)
        check_unmask_flags(args)
    prompts = list(args.prompt or []) + ([read_prompt_file(args.prompt_file)] if args.prompt_file else [])
    n_texts = max(1, len(prompts)) * args.n
    if args.stream and n_texts > 1:
        raise UserError(f"--stream prints a single text while it is generated, not {n_texts}; leave it out.")

    device = training.pick_device(args.device)
    folder = hub.find_model_folder(args.folder, say=note)
    model, tokenizer = hub.load_pretrained(folder, device, say=note, adapter=args.adapter)
    if has_grammar(args) and not model.config.generates:
        raise UserError(f"{args.folder} does not generate text, so --regex and --json-schema do not apply; leave "
                        "them out.")  # fmt: skip
    if args.unmask_steps is not None:
        check_capability("fill-mask", model.config.family, model.config.head, args.folder)
    options = parse_options(args, model)
    is_lm = model.config.family == "gpt" and model.config.is_pretraining
    template = prompting.template_of(tokenizer) if is_lm else prompting.TEMPLATES["plain"]
    is_chat = template.name != "plain"  # a chat model answers the prompt instead of continuing it
    if not prompts and not args.interactive:
        if not is_lm or is_chat:
            raise UserError("this model needs an input; pass it with --prompt, or use --interactive.")
        prompts = [default_prompt(folder)]
    writer: Writer | Responder
    if is_lm and isinstance(options, SamplingOptions):
        writer = Writer(model, tokenizer, args.n, args.stream, Screen(sys.stdout), template if is_chat else None)
    else:
        context = None if args.context is None else read_prompt_file(args.context)
        writer = Responder(model, tokenizer, context, args.unmask_steps, args.n)
    if prompts:
        writer.write(prompts, options)
    if args.interactive:
        read_prompts(writer, options)


def parse_options(args: argparse.Namespace, model: Model | None = None) -> SamplingOptions | BeamOptions:
    """Return the checked decoding options: beam search with --beams, or by default for a Transformer; else sampling.

    Args:
        args: the parsed flags, which take precedence.
        model: the model whose recommendations are used for the rest (None = no recommendations).
    """
    recommended = None if model is None else model.generation_config.recommended
    is_transformer = model is not None and model.config.family == "transformer"
    if "beams" in args or (is_transformer and "temperature" not in args):
        return options_of(args, BeamOptions, recommended)
    return options_of(args, SamplingOptions, recommended)


def check_unmask_flags(args: argparse.Namespace) -> None:
    """Raise UserError for a decoding flag that `--unmask-steps` would ignore."""
    fields = [field for kind in (SamplingOptions, BeamOptions) for field in dataclasses.fields(kind) if field.metadata]
    unused = [flag_of(field.name) for field in fields if field.name in args and field.name != "temperature"]
    if unused := [*unused, *(["--stop"] if args.stop else [])]:
        raise UserError(f"--unmask-steps does not use {unused[0]}: only --temperature and --seed decide its tokens; "
                        "leave it out.")  # fmt: skip


def default_prompt(folder: Path) -> str:
    """The prompt of the run's own samples; empty for a model without a run."""
    try:
        return read_origin(folder)["recipe"]["prompt"] or ""
    except (UserError, KeyError, TypeError):  # not a checkpoint
        return ""


def read_prompt_file(name: str) -> str:
    """The text of a prompt file, without the newline at its end; "-" is standard input."""
    if name != "-":
        return "".join(read_blocks(user_path(name))).removesuffix("\n")
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig").replace("\r\n", "\n").removesuffix("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"standard input is not UTF-8 text (byte {error.start}); convert it to UTF-8.") from error


class Writer:
    """Continues prompts with a causal language model and prints the texts.

    Args:
        model, tokenizer: the model and its tokenizer.
        n: samples per prompt.
        stream: whether to print a text while it is generated; None = if there is only one.
        screen: prints the text.
        template: for a chat model, turns each prompt into a user's message; None = prompts are continued.
    """

    def __init__(
        self,
        model: Model,
        tokenizer: Tokenizer,
        n: int,
        stream: bool | None,
        screen: Screen,
        template: ChatTemplate | None = None,
    ):
        self.model, self.tokenizer, self.n, self.stream, self.screen = model, tokenizer, n, stream, screen
        self.template = template

    def write(self, prompts: list[str], options: SamplingOptions | BeamOptions) -> None:
        """Continue the prompts, then print the warnings and the speed."""
        assert isinstance(options, SamplingOptions), "beam search is the job of a Responder"
        started = time.perf_counter()
        if len(prompts) * self.n == 1 and self.stream is not False:
            n_tokens, warnings = self._write_one(prompts[0], options)
        else:
            n_tokens, warnings = self._write_all(prompts, options)
        seconds = time.perf_counter() - started
        for warning in dict.fromkeys(warnings):
            note(warning)
        device = next(self.model.parameters()).device.type
        note(f"{n_tokens} new tokens in {seconds:.2f} s on {device}: {n_tokens / seconds:,.0f} per second")

    def _write_one(self, prompt: str, options: SamplingOptions) -> tuple[int, list[str]]:
        """Print one text while it is generated."""
        events = generation.stream(self.model, self.tokenizer, [self._encode(prompt)], options)
        n_tokens = 0
        warnings: list[str] = []
        self._print_prompt(prompt)
        try:
            for event in events:
                self.screen.text(event.text)
                n_tokens += 1
                warnings += event.warnings
        finally:  # also after Ctrl-C
            events.close()
            self.screen.end()
        return n_tokens, warnings

    def _write_all(self, prompts: list[str], options: SamplingOptions) -> tuple[int, list[str]]:
        """Print several texts when all are complete."""
        generations = generation.generate(self.model, self.tokenizer, list(map(self._encode, prompts)), options, self.n)
        for i, result in enumerate(generations):
            if len(generations) > 1:
                self.screen.heading(f"{i + 1} of {len(generations)}")
            self._print_prompt(prompts[i // self.n])
            self.screen.text(result.text)
            self.screen.end()
        warnings = [warning for result in generations for warning in result.warnings]
        return sum(len(result.ids) for result in generations), warnings

    def _encode(self, prompt: str) -> str | list[int]:
        """The model's input: the prompt, or its ids within the chat template."""
        if self.template is None:
            return prompt
        return self.template.encode(self.tokenizer, [prompting.Message("user", prompt)]).ids

    def _print_prompt(self, prompt: str) -> None:
        """Print the prompt before its continuation; a chat model's answer starts a new paragraph."""
        self.screen.prompt(prompt if self.template is None else f"{prompt}\n\n")


class Responder:
    """Prints the output of a model that does not continue its prompt: a translation, a label, an answer.

    Args:
        model, tokenizer: the model and its tokenizer.
        context: for a question-answering model, the text that contains the answers.
        unmask_steps: the number of steps in which the masks are filled in; None = list the likely tokens for each mask.
        n: the number of texts per prompt if masks are filled in; all other tasks have one result.
    """

    def __init__(
        self,
        model: Model,
        tokenizer: Tokenizer,
        context: str | None = None,
        unmask_steps: int | None = None,
        n: int = 1,
    ):
        self.model, self.tokenizer, self.context, self.unmask_steps = model, tokenizer, context, unmask_steps
        self.n = n

    def write(self, prompts: list[str], options: SamplingOptions | BeamOptions) -> None:
        """Print the response to each prompt on a new line."""
        if self.unmask_steps is not None and isinstance(options, SamplingOptions):
            steps, temperature, seed = self.unmask_steps, options.temperature, options.seed
            texts = [prompt for prompt in prompts for _ in range(self.n)]  # each gets its own random numbers
            print(*generation.unmask(self.model, self.tokenizer, texts, steps, temperature, seed=seed), sep="\n")
            return
        for prompt in prompts:
            print(tasks.respond(self.model, self.tokenizer, prompt, options, self.context))


def read_prompts(writer: Writer | Responder, options: SamplingOptions | BeamOptions) -> None:
    """Read prompts until the input ends. Ctrl-C stops the text that is being generated, or ends while waiting."""
    note("each line is a prompt; /quit or Ctrl-D ends")
    for number, line in enumerate(typed_lines()):
        if line.strip() == "/quit":
            return
        line_options = options  # a repeated prompt gets another text, but a repeated session gets the same texts
        if isinstance(options, SamplingOptions):
            line_options = dataclasses.replace(options, seed=options.seed + number)
        try:
            with explain_out_of_memory():
                writer.write([line], line_options)
        except UserError as error:  # about this prompt only
            note(str(error))
        except KeyboardInterrupt:
            note("stopped; press Ctrl-C again to end.")
