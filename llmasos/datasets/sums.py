"""Sums of two numbers below 100, such as "17+25=42": a task whose answers a program can check.

There are 10,000 of them; one in ten is held out, by a hash. As text they teach a model to add (`--task
language-modeling`), as prompts such as "17+25=" they let it learn from its own attempts (`--task
reinforcement-learning`).
"""

import hashlib
from collections.abc import Iterable, Iterator

from llmasos.datasets.examples import Prompt, Splits
from llmasos.datasets.source import ManyDocuments, in_hashed_tenth, text_key

LARGEST = 99
DESCRIPTION = "the 10,000 sums of two numbers below 100; about a tenth of them is held out"


def sums() -> list[tuple[str, str]]:
    """All sums, as ("17+25=", "42"), in the order of their hashes, so that neighbors are unrelated."""
    pairs = [(f"{a}+{b}=", str(a + b)) for a in range(LARGEST + 1) for b in range(LARGEST + 1)]
    return sorted(pairs, key=lambda pair: text_key(pair[0]))


class SumsText(ManyDocuments):
    """Each sum with its result is a document."""

    name = "sums"
    description = DESCRIPTION

    def entries(self) -> Iterator[tuple[int, Iterable[str]]]:
        for prompt, result in sums():
            yield text_key(prompt), [prompt + result]

    def fingerprint(self) -> str:
        return hashlib.sha256(f"sums {LARGEST}".encode()).hexdigest()


def sum_prompts() -> Splits[Prompt]:
    """Each sum without its result is a prompt; held out are the same ones as in `SumsText`."""
    prompts = [prompt for prompt, _ in sums()]
    train = [Prompt(prompt) for prompt in prompts if not in_hashed_tenth(text_key(prompt))]
    val = [Prompt(prompt) for prompt in prompts if in_hashed_tenth(text_key(prompt))]
    fingerprint = hashlib.sha256(f"prompts {SumsText().fingerprint()}".encode()).hexdigest()
    return Splits("sums", DESCRIPTION, train, val, test=None, fingerprint=fingerprint)
