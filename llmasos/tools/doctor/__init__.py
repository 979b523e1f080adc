"""`python -m llmasos doctor`: what this machine can do, what is missing, and how to mend it.

Every finding is printed as soon as it is made. Where torch cannot be imported, the doctor says so and how to mend it;
the rooms that need torch are looked at only where it can be. The last line is the verdict.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from llmasos.tools.doctor import software
from llmasos.tools.doctor.check import NOTE, PROBLEM, Finding


def main(arguments: Sequence[str] | None = None) -> int:
    """Look at everything and report. Returns 1 if something keeps `python train.py` from working, else 0."""
    parser = argparse.ArgumentParser(
        prog="python -m llmasos doctor", description="What this machine can do, what is missing, and how to mend it."
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--quick", action="store_true", help="leave out what takes time: matmul peaks, torch.compile")
    args = parser.parse_args(arguments)

    findings: dict[str, list[Finding]] = {}
    for section, finding in examine(args.quick):
        if section not in findings and not args.json:
            print(f"{'' if not findings else chr(10)}{section}")
        findings.setdefault(section, []).append(finding)
        if not args.json:
            print(finding, flush=True)
    everything = [finding for section in findings.values() for finding in section]
    ready = all(finding.mark != PROBLEM for finding in everything)
    if args.json:
        by_section = {section: [vars(finding) for finding in found] for section, found in findings.items()}
        print(json.dumps({"ready": ready, "findings": by_section}, indent=2, ensure_ascii=False))
    else:
        print("\n" + verdict(everything))
    return 0 if ready else 1


def examine(quick: bool) -> Iterator[tuple[str, Finding]]:
    """All findings, each with the name of its section."""
    usable = True
    for finding in software.needed():
        usable = usable and finding.mark != PROBLEM
        yield "software", finding
    if usable:
        from llmasos.tools.doctor import hardware, places, trial  # these import torch
        from llmasos.training.device import pick_device

        device = pick_device("auto")  # the one that train.py takes
        others = {device, pick_device("cpu")}
        for finding in hardware.processor():
            yield "machine", finding
        for finding in hardware.devices():
            yield "machine", finding
        for each in sorted(others, key=str):
            for finding in hardware.computing(each, measure=not quick):
                yield "computing", finding
        yield "computing", trial.training_step(device)
        for finding in software.compiler(device.type, try_it=not quick):
            yield "computing", finding
        for look in (places.disk, places.data, places.encodings):
            for finding in look():
                yield "files", finding
    for finding in software.extras():
        yield "extras (nothing in the library needs them)", finding


def verdict(findings: list[Finding]) -> str:
    """One line: ready or not, and what to run next."""
    problems, notes = ([f for f in findings if f.mark == mark] for mark in (PROBLEM, NOTE))
    if problems:
        names = ", ".join(finding.name for finding in problems)
        return f"Not ready: mend {names} (see the → above), then run  python -m llmasos doctor  again."
    train = "python train.py" if Path("train.py").is_file() else "python -m llmasos train"
    beside = f", with {len(notes)} notes above that do not stop it" if notes else ""
    return f"Ready to train{beside}. Next: {train}"
