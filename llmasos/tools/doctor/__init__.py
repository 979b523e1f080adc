"""`python -m llmasos doctor`: what this machine can do, what is missing, and how to fix problems.

Each check prints as soon as it is done. Where torch cannot be imported, the checks that need it are skipped. The last
line is the verdict.
"""

import json
from collections.abc import Iterator, Sequence

from llmasos.cli.cli import ArgumentParser
from llmasos.console import command
from llmasos.tools.doctor import software
from llmasos.tools.doctor.check import PROBLEM, WARNING, Check


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print all checks.

    Returns:
        1 if something keeps `python train.py` from working, else 0.
    """
    parser = ArgumentParser(
        prog="python -m llmasos doctor",
        description="Check what this machine can do and what is missing, and say how to fix problems.",
    )
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")
    parser.add_argument(
        "--full", action="store_true", help="also try torch.compile on a small model, which takes up to a minute"
    )
    args = parser.parse_args(arguments)

    sections: dict[str, list[Check]] = {}
    for section, check in run_checks(args.full):
        if not args.json:
            if section not in sections:
                print(f"\n{section}" if sections else section)
            print(check, flush=True)
        sections.setdefault(section, []).append(check)
    checks = [check for section in sections.values() for check in section]
    ready = all(check.status != PROBLEM for check in checks)
    if args.json:
        report = {section: [vars(check) for check in checks] for section, checks in sections.items()}
        print(json.dumps({"ready": ready, "checks": report}, indent=2, ensure_ascii=False))
    else:
        print("\n" + verdict(checks))
    return 0 if ready else 1


def run_checks(full: bool) -> Iterator[tuple[str, Check]]:
    """Run the checks one by one and yield each with the name of its section."""
    usable = True
    for check in software.required():
        usable = usable and check.status != PROBLEM
        yield "software", check
    if usable:
        from llmasos.tools.doctor import files, hardware  # these import torch
        from llmasos.training.device import pick_device

        device = pick_device("auto")  # the one train.py uses
        for check in hardware.machine():
            yield "machine", check
        for each in sorted({device, pick_device("cpu")}, key=str):
            for check in hardware.computing(each):
                yield "computing", check
        yield "computing", hardware.attempt("training step", device, lambda: hardware.training_step(device))
        for check in software.compiler(device.type, try_it=full):
            yield "computing", check
        for check in files.files():
            yield "files", check
    for check in software.optional():
        yield "optional packages (the library works without them)", check


def verdict(checks: list[Check]) -> str:
    """One line: ready or not, and what to run next."""
    problems = [check.name for check in checks if check.status == PROBLEM]
    if problems:
        return f"Not ready: fix {', '.join(problems)} (see → above), then run  python -m llmasos doctor  again."
    n_warnings = sum(check.status == WARNING for check in checks)
    warnings = f" ({n_warnings} warnings above do not prevent it)" if n_warnings else ""
    return f"Ready to train{warnings}. Next: {command('train')}"
