"""`python -m llmasos`: the commands under one name.

Each command is a module of `llmasos/cli` or `llmasos/tools` with a `main(arguments)`. It is imported only when it is
called, so that `doctor` still works where torch cannot be imported, and the list of commands appears at once.
"""

import difflib
import importlib
import sys
from collections.abc import Sequence

from llmasos.cli.cli import run
from llmasos.errors import UserError

COMMANDS = {  # name → (the module, what it does)
    "train": ("llmasos.cli.train", "train a language model from any text"),
    "sample": ("llmasos.cli.sample", "write text with a trained model"),
    "eval": ("llmasos.cli.eval", "measure how good a trained model is"),
    "serve": ("llmasos.cli.serve", "answer over HTTP, with a page to look inside"),
    "chat": ("llmasos.cli.chat", "talk to a model in the terminal"),
    "models": ("llmasos.cli.models", "which models there are, here and to fetch"),
    "export": ("llmasos.cli.export", "write a trained model into a folder of its own"),
    "quantize": ("llmasos.tools.quantize", "what int8 weights cost and gain: memory, speed, quality"),
    "doctor": ("llmasos.tools.doctor", "what this machine can do, what is missing, and how to mend it"),
    "bench": ("llmasos.tools.bench", "how fast it is here, as ratios measured in one run"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names.

    Args:
        arguments: the words after `python -m llmasos`; None = those of this process.

    Returns:
        The exit status: the command's own, or 2 if there is no such command.
    """
    return run(dispatch, sys.argv[1:] if arguments is None else arguments)


def dispatch(arguments: Sequence[str]) -> int:
    """Import the named command and call it with the rest. Raises UserError if there is none of that name."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "python -m llmasos shows what each does."
        raise UserError(f"there is no command {name!r} (there are: {', '.join(COMMANDS)}); {hint}")
    return importlib.import_module(COMMANDS[name][0]).main(rest)


def overview() -> str:
    """What there is, for somebody who has typed no command."""
    lines = [f"  python -m llmasos {name:<8} {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        [
            "llmasos: Transformer language models from scratch, to read and to run.",
            "",
            *lines,
            "",
            "Each of them takes --help. New here? Begin with  python -m llmasos train  which needs no download.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
