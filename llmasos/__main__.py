"""`python -m llmasos`: one entry point for all commands.

Each command is a module of `llmasos/cli` or `llmasos/tools` with a function `main(arguments)`. It is imported only when
it is called, so that `doctor` works even if torch cannot be imported, and the list of commands appears at once.
"""

import _signal  # the built-in part of `signal`, which is available at once

if __name__ == "__main__":
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # until `main` runs, Ctrl-C ends the process without a traceback

import importlib  # noqa: E402
import sys  # noqa: E402
from collections.abc import Sequence  # noqa: E402

from llmasos import __version__  # noqa: E402
from llmasos.signals import exit_at_once, handlers  # noqa: E402

COMMANDS = {  # name → (module, what it does)
    "train": ("llmasos.cli.train", "train or fine-tune a GPT, BERT or Transformer"),
    "sample": ("llmasos.cli.sample", "generate text with a trained model; translate, classify, answer"),
    "eval": ("llmasos.cli.eval", "evaluate a trained model: metrics, intervals, baselines, mistakes"),
    "chat": ("llmasos.cli.chat", "chat with a model in the terminal"),
    "faq": ("llmasos.cli.faq", "answer customers from your own frequently asked questions"),
    "serve": ("llmasos.cli.serve", "serve models over HTTP, OpenAI-compatible, with a web page"),
    "models": ("llmasos.cli.models", "list the models you can use, here and for download"),
    "export": ("llmasos.cli.export", "export a trained model in the Hugging Face format"),
    "clean": ("llmasos.cli.clean", "clean a corpus: duplicates, boilerplate, languages, personal data"),
    "bias": ("llmasos.cli.bias", "measure bias on pairs of prompts that differ in one word"),
    "refusal": (
        "llmasos.cli.refusal",
        "measure what a chat model refuses, and whether a prefix breaks it",
    ),
    "memorization": ("llmasos.cli.memorization", "measure what a model remembers of single training texts"),
    "plan": ("llmasos.cli.plan", "plan a training run or a server: FLOPs, time, memory, cost"),
    "quantize": ("llmasos.tools.quantize", "compare int8 or int4 with float weights: memory, speed, quality"),
    "doctor": ("llmasos.tools.doctor", "check this machine and explain how to fix problems"),
    "bench": ("llmasos.tools.bench", "benchmark training, generation, serving on this machine"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names.

    Args:
        arguments: the words after `python -m llmasos`; None = `sys.argv[1:]`.

    Returns:
        The command's exit status; 2 if there is no such command.
    """
    with handlers(exit_at_once):  # until `run`, which takes a moment to import, handles signals itself
        from llmasos.cli.cli import run

        return run(dispatch, arguments)


def dispatch(arguments: Sequence[str] | None) -> int:
    """Import the named command and call it with the remaining arguments.

    Raises:
        UserError: there is no command of that name.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    name, *rest = arguments
    if name == "--version":
        print(f"llmasos {__version__}")
        return 0
    if name not in COMMANDS:
        from llmasos.errors import UserError, nearest

        hint = nearest(name, COMMANDS) or "; python -m llmasos says what each does."
        raise UserError(f"there is no command {name!r} (available: {', '.join(COMMANDS)}){hint}")
    return importlib.import_module(COMMANDS[name][0]).main(rest)


def overview() -> str:
    """The list of commands, printed when no command is given."""
    width = max(map(len, COMMANDS))
    lines = [f"  python -m llmasos {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        [
            "llmasos: build, train and use Transformer language models, from scratch.",
            "",
            *lines,
            "",
            "Every command has --help. New here? Start with  python -m llmasos train  (it needs no download).",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
