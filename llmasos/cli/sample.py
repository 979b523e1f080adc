"""`sample.py` and `python -m llmasos sample`: use a trained model, whatever it was trained for.

Arguments in, a model folder read, prompts continued (or translated, classified, answered), text on standard output.
Everything that is not text (notes, speed, errors) goes to standard error, so that after `sample.py … > story.txt` the
file holds the story alone.
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from llmasos.cli.cli import ArgumentParser
from llmasos.cli.terminal import Screen, note, typed_lines
from llmasos.errors import UserError
from llmasos.generation import BeamOptions, SamplingOptions, generate, stream
from llmasos.hub import load_pretrained
from llmasos.prompting import TEMPLATES, ChatTemplate, Message, template_of
from llmasos.storage import read_json
from llmasos.tasks import respond
from llmasos.tokenizers import Tokenizer
from llmasos.training.device import pick_device

EXAMPLES = """examples:
  python sample.py runs/storyworld --prompt "Once there was"
  python sample.py storyworld-gpt --prompt "Once there was a shy girl"
  python sample.py storyworld-chat --temperature 0 --prompt "Tell me a story about Emma and a lantern."
  python sample.py runs/storyworld --prompt "Anna" --prompt "The old boat" --n 3 --temperature 1 --top-p 0.95
  python sample.py runs/storyworld --interactive
  echo "To be, or not" | python sample.py runs/shakespeare --prompt-file -
  python sample.py runs/translate-storyworld --prompt "Der alte Fischer gab ihr einen Rat."
  python sample.py runs/bert-storyworld --prompt "Once there was a [MASK] girl."
  python sample.py runs/qa-storyworld --context story.txt --prompt "Where did Paul live?"
"""


def make_parser() -> argparse.ArgumentParser:
    """All flags of the command, with their help."""
    parser = ArgumentParser(
        prog="sample.py",
        description="Use a trained model: a GPT continues the prompt, a Transformer translates or summarises it, a "
        "BERT fills in each [MASK], a classifier gives its labels, a question answerer finds its answer in --context.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder",
        metavar="MODEL",
        help="folder of a run (its best checkpoint is used) or of a model, or a name (see python -m llmasos models)",
    )

    flag = parser.add_argument_group("what to continue").add_argument
    flag("--prompt", action="append", metavar="TEXT", help="what to continue, translate, …; may be repeated")
    flag("--prompt-file", metavar="FILE", help="a file whose whole text is a prompt; - reads standard input")
    flag("--context", metavar="FILE", help="the text file in which a question answerer looks for its answers")
    flag("--interactive", action="store_true", help="then ask for prompts, one a line; /quit or Ctrl-D ends")
    flag("--n", type=int, default=1, metavar="N", help="how many continuations of each prompt (default: 1)")

    flag = parser.add_argument_group("how to choose the next token").add_argument
    flag("--max-new-tokens", type=int, default=200, metavar="N", help="longest continuation, in tokens (default: 200)")
    flag(
        "--temperature",
        type=float,
        metavar="X",
        help="1 is the model's own distribution, less is safer, more is wilder, 0 always takes the likeliest token "
        "(default: 0.8; none for a model that translates, which searches with beams)",
    )
    flag("--beams", type=int, metavar="K", help="beam search for the likeliest text, K wide, in place of sampling")
    flag("--length-penalty", type=float, metavar="X", help="how much beam search favours long texts (default: 0.6)")
    flag("--top-k", type=int, metavar="K", help="choose among the K likeliest tokens only")
    flag("--top-p", type=float, metavar="P", help="choose among the fewest tokens that hold this much probability")
    flag("--min-p", type=float, metavar="P", help="choose among tokens at least P times as likely as the likeliest")
    flag(
        "--repetition-penalty",
        type=float,
        default=1.0,
        metavar="X",
        help="above 1, tokens that have occurred become less likely (default: 1, off)",
    )
    flag("--stop", action="append", default=[], metavar="TEXT", help=r"end before this text; may be repeated; \n works")
    flag("--seed", type=int, default=0, metavar="N", help="the same seed writes the same text (default: 0)")

    flag = parser.add_argument_group("how to run").add_argument
    flag("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="where to compute (default: auto)")
    flag(
        "--stream",
        action=argparse.BooleanOptionalAction,
        help="show the text while it is written (default: if there is only one)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Check what was asked, load the model, write.

    Raises:
        UserError: a flag out of range, a folder without a usable model, a prompt file that cannot be read.
    """
    args = make_parser().parse_args(arguments)
    options_of(args)  # speaks up about settings out of range before anything is loaded
    if args.n < 1:
        raise UserError(f"n is {args.n}; it must be at least 1.")
    prompts = list(args.prompt or []) + ([read_prompt_file(args.prompt_file)] if args.prompt_file else [])
    n_texts = max(1, len(prompts)) * args.n
    if args.stream and n_texts > 1:
        raise UserError(f"--stream shows one text while it is written; here are {n_texts}: leave it out.")

    device = pick_device(args.device)
    model, tokenizer = load_pretrained(args.folder, device, say=note)
    options = options_of(args, model.config.family)
    continues = model.config.family == "gpt" and model.config.head == "none"
    template = template_of(tokenizer) if continues else TEMPLATES["plain"]
    chats = template.name != "plain"  # a model with the special tokens of a chat answers what it is told
    if not prompts and not args.interactive:
        if not continues or chats:
            raise UserError("this model needs something to work on: give it with --prompt, or ask for --interactive.")
        prompts = [usual_prompt(Path(args.folder))]
    if continues and isinstance(options, SamplingOptions):
        writer = Writer(model, tokenizer, args.n, args.stream, Screen(sys.stdout), template if chats else None)
    else:
        writer = Responder(model, tokenizer, None if args.context is None else read_prompt_file(args.context))
    if prompts:
        writer.write(prompts, options)
    if args.interactive:
        converse(writer, options)


def options_of(args: argparse.Namespace, family: str = "gpt") -> SamplingOptions | BeamOptions:
    """How to write, checked: by beam search if asked for, or if an encoder–decoder is not asked to sample."""
    given = {name: value for name, value in vars(args).items() if value is not None}
    if args.beams is not None or (family == "transformer" and args.temperature is None):
        names = {field.name for field in dataclasses.fields(BeamOptions)}
        return BeamOptions(**{name: value for name, value in given.items() if name in names})
    names = {field.name for field in dataclasses.fields(SamplingOptions)}
    given = {"temperature": 0.8} | {name: value for name, value in given.items() if name in names}
    given["stop"] = tuple(stop.replace("\\n", "\n").replace("\\t", "\t") for stop in args.stop)
    return SamplingOptions(**given)


def usual_prompt(folder: Path) -> str:
    """What a text begins with if the user says nothing: what the run's own samples began with, else nothing."""
    try:
        return read_json(folder / "recipe.json")["prompt"] or ""
    except (UserError, KeyError, TypeError):  # a model folder, or a run whose recipe cannot be read: no reason to stop
        return ""


def read_prompt_file(name: str) -> str:
    """The text of a prompt file, without the newline with which editors end a file; "-" is standard input."""
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return data.decode("utf-8").removesuffix("\n")
    except OSError as error:
        raise UserError(f"the prompt file {name} cannot be read ({error.strerror}); check the path.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"the prompt file {name} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from error


class Writer:
    """Continues prompts and shows the result.

    Args:
        model, tokenizer: a causal language model and what it was trained with.
        n: how many continuations of each prompt.
        stream: show text while it is written; None = if there is only one.
        screen: where the text goes.
        template: of a chat model, to which every prompt is what a user says; None = prompts are continued.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Tokenizer,
        n: int,
        stream: bool | None,
        screen: Screen,
        template: ChatTemplate | None = None,
    ):
        self.model, self.tokenizer, self.n, self.stream, self.screen = model, tokenizer, n, stream, screen
        self.template = template

    def write(self, prompts: list[str], options: SamplingOptions) -> None:
        """Continue the prompts, then say what there is to say and how fast it was."""
        started = time.perf_counter()
        if self.template is not None:
            options = options.stopping_at(self.template.stop_id(self.tokenizer))
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
        """One text, while it is written."""
        events = stream(self.model, self.tokenizer, [self._read(prompt)], options)
        n_tokens, warnings = 0, []
        self._show(prompt)
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
        """Several texts, when all are ready."""
        generations = generate(self.model, self.tokenizer, list(map(self._read, prompts)), options, self.n)
        for i, generation in enumerate(generations):
            if len(generations) > 1:
                self.screen.heading(f"{i + 1} of {len(generations)}")
            self._show(prompts[i // self.n])
            self.screen.text(generation.text)
            self.screen.end()
        warnings = [warning for generation in generations for warning in generation.warnings]
        return sum(len(generation.ids) for generation in generations), warnings

    def _read(self, prompt: str) -> str | list[int]:
        """What the model is given."""
        if self.template is None:
            return prompt
        return self.template.encode(self.tokenizer, [Message("user", prompt)]).ids

    def _show(self, prompt: str) -> None:
        """The prompt before what follows it; a question stands on lines of its own."""
        self.screen.prompt(prompt if self.template is None else f"{prompt}\n\n")


class Responder:
    """Shows what a model says that does not simply go on with the prompt.

    Args:
        model, tokenizer: what belongs together.
        context: the text that holds the answers, for a model that answers questions.
    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer, context: str | None):
        self.model, self.tokenizer, self.context = model, tokenizer, context

    def write(self, prompts: list[str], options: SamplingOptions | BeamOptions) -> None:
        """Print the response to each prompt, on lines of its own."""
        for prompt in prompts:
            print(respond(self.model, self.tokenizer, prompt, options, self.context))


def converse(writer: Writer | Responder, options: SamplingOptions | BeamOptions) -> None:
    """Ask for prompts until there are no more. Ctrl-C stops the text that is being written, or ends at the question."""
    note("each line is a prompt; /quit or Ctrl-D ends")
    for number, line in enumerate(typed_lines()):
        if line.strip() == "/quit":
            return
        try:  # the same prompt twice gives two texts, and the same session twice gives the same ones
            again = {} if isinstance(options, BeamOptions) else {"seed": options.seed + number}
            writer.write([line], dataclasses.replace(options, **again))
        except UserError as error:  # of this prompt; the next one may be better
            note(str(error))
        except KeyboardInterrupt:
            note("stopped; Ctrl-C once more ends.")
