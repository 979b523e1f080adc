"""Write the storyworld corpus to files, with the data of every task:  python data/storyworld/prepare.py --help"""

import argparse
import hashlib
import json
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that it also runs from a clone that is not installed

from tqdm import tqdm

from llmasos.cli.cli import run
from llmasos.datasets.storyworld import DEFAULT_SIZES, Story, stories
from llmasos.datasets.storyworld.entropy import entropy
from llmasos.datasets.storyworld.proof import readings
from llmasos.storage import write_text
from llmasos.storage.checksums import foreign_files, seal

HERE = Path(__file__).resolve().parent
SAMPLE_SIZE = 30
CORPUS = "corpus.json"  # the sizes, the seed, and the checksums of the files


def record(story: Story) -> dict:
    """Return one line of the .jsonl file: the story and the data derived from it."""
    return {
        "text": story.text,
        "nats": story.nats,
        "combination": story.combination,
        "ending": story.ending,
        "summary": story.summary,
        "sentences": story.sentences,
        "german_sentences": story.german_sentences,
        "questions": [vars(question) for question in story.questions],
    }


def write(out: Path, split: str, corpus: list[Story]) -> None:
    """Write one split as plain text (one story per line) and as .jsonl."""
    write_text(out / f"{split}.txt", "".join(story.text + "\n" for story in corpus))
    records = (json.dumps(record(story), ensure_ascii=False) + "\n" for story in corpus)
    write_text(out / f"{split}.jsonl", "".join(records))


def check_replaceable(out: Path, files: list[Path]) -> None:
    """Exit with a message if one of the files exists and is not as this program wrote it."""
    if others := [path for path in foreign_files(out / CORPUS) if path in (*files, out / CORPUS)]:
        sys.exit(
            f"{others[0]} was not written by this program, or was changed since; delete it or choose another --out-dir."
        )


def report(split: str, corpus: list[Story]) -> str:
    """Return the statistics of one split that the card states: size, hash, variety and entropy."""
    text = "".join(story.text + "\n" for story in corpus)
    words = text.split()
    lines = [
        f"{split}: {len(corpus):,} stories, {len(words):,} words, {len(text):,} characters",
        f"  SHA-256 {hashlib.sha256(text.encode()).hexdigest()}",
        f"  {len(set(re.findall(r'[a-z]+', text.lower()))):,} different words, "
        f"{len({sentence for story in corpus for sentence in story.sentences}):,} different sentences, "
        f"{len({story.combination for story in corpus}):,} combinations",
    ]
    lines += [f"  entropy per {unit}: {estimate} nats" for unit, estimate in entropy(corpus).items()]
    return "\n".join(lines)


def sample() -> str:
    """Return the text of sample.txt: the first stories of the training split; the first three also in German."""
    parts = []
    for i, story in enumerate(stories("train", SAMPLE_SIZE)):
        parts.append(textwrap.fill(story.text, 100))
        if i < 3:
            parts.append(textwrap.fill(story.german, 100))
    return "\n\n".join(parts) + "\n"


def prove(corpus: list[Story]) -> None:
    """Search for a second reading of every story in `corpus`; print how many have exactly one."""
    unique = sum(len(readings(story.text)) == 1 for story in tqdm(corpus, unit="story"))
    print(f"{unique:,} of {len(corpus):,} stories have exactly one reading.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the flags, then write each split and print a report of it, or rewrite the sample."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0].split(":  ")[0])
    parser.add_argument(
        "--train", type=int, default=DEFAULT_SIZES["train"], help="number of training stories (%(default)s)"
    )
    parser.add_argument(
        "--val", type=int, default=DEFAULT_SIZES["val"], help="number of validation stories (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed gives another corpus (%(default)s)")
    parser.add_argument(
        "--out-dir",
        "--out",
        type=Path,
        default=HERE.parent / "cache" / "storyworld",
        help="where to write (%(default)s)",
    )
    parser.add_argument("--prove", action="store_true", help="prove that every story has exactly one reading (minutes)")
    parser.add_argument("--sample", action="store_true", help="rewrite sample.txt instead")
    args = parser.parse_args(arguments)
    if args.sample:
        write_text(HERE / "sample.txt", sample())
        return
    sizes, out = {"train": args.train, "val": args.val}, args.out_dir
    files = [out / f"{split}.{ending}" for split in sizes for ending in ("txt", "jsonl")]
    check_replaceable(out, files)
    for split, size in sizes.items():
        corpus = list(stories(split, size, args.seed))
        write(out, split, corpus)
        print(report(split, corpus))
        if args.prove:
            prove(corpus)
    seal(out / CORPUS, {**sizes, "seed": args.seed}, files)


if __name__ == "__main__":
    sys.exit(run(main))
