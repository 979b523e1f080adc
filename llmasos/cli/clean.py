"""`python -m llmasos clean IN OUT`: remove duplicates, boilerplate, personal data and foreign text from a corpus."""

import dataclasses
from collections.abc import Callable, Sequence

from llmasos import evaluation
from llmasos.arguments import user_path
from llmasos.cli.cli import ArgumentParser
from llmasos.cli.open_model import open_model
from llmasos.console import command, say
from llmasos.datasets import cleaning
from llmasos.datasets.cleaning import CleaningSettings
from llmasos.errors import UserError
from llmasos.settings import add_flag

LONG = 4_000  # characters; the beginning of a longer text is enough


def main(arguments: Sequence[str] | None = None) -> int:
    """Clean a corpus and print what was dropped. Returns the exit status."""
    parser = ArgumentParser(
        prog="python -m llmasos clean",
        description="Clean a corpus: drop duplicates, boilerplate, short and foreign documents, mask personal data; "
        "and report what was dropped and why. The input is not changed.",
    )
    parser.add_argument(
        "source", metavar="IN", help="a dataset's name, a file (.txt, .jsonl, .csv, also .gz) or a folder"
    )
    parser.add_argument("output", metavar="OUT", help="a new file, .jsonl or .txt")
    for field in dataclasses.fields(CleaningSettings):
        add_flag(parser, field, None if field.default == "" else field.default)
    parser.add_argument("--processes", type=int, metavar="N", help="number of processes (default: one per core)")
    parser.add_argument(
        "--report", type=user_path, metavar="FILE", help="also write the report to this new file, as JSON"
    )
    args = parser.parse_args(arguments)
    names = {field.name for field in dataclasses.fields(CleaningSettings)}
    settings = CleaningSettings(**{name: value for name, value in vars(args).items() if name in names})
    if args.processes is not None and not 1 <= args.processes <= 1024:
        raise UserError(f"--processes is {args.processes}; it must be between 1 and 1,024.")
    if args.report and args.report.exists():
        raise UserError(f"--report {args.report} exists already; choose another name, so that it is not lost.")
    score = load_score(settings.perplexity_model) if settings.perplexity_model else None
    report = cleaning.clean(args.source, args.output, settings, args.processes, score=score)
    if args.report:
        cleaning.write_report(report, args.report)
    say(str(report))
    say(f"Next: {command('train', '--data', args.output)}")
    return 0


def load_score(name: str) -> Callable[[Sequence[str]], list[float]]:
    """The nats per character of texts under a GPT. Raises UserError if there is no such model."""
    _, model, tokenizer = open_model(name, "completion", "cpu")

    def score(texts: Sequence[str]) -> list[float]:
        beginnings = [text[:LONG] for text in texts]
        scores = evaluation.continuation_log_probs(model, tokenizer, [("", text) for text in beginnings])
        return [-float(nats) / max(1, len(text)) for nats, text in zip(scores, beginnings, strict=True)]

    return score
