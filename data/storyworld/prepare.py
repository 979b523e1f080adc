"""Write the storyworld corpus to files, with every derived task:  python data/storyworld/prepare.py --help"""

import argparse
import hashlib
import json
import re
import sys
import textwrap
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that it also runs from a clone that is not installed

from tqdm import tqdm

from llmasos.datasets.storyworld import DEFAULT_SIZES, Story, stories
from llmasos.datasets.storyworld.entropy import entropy
from llmasos.datasets.storyworld.proof import readings

HERE = Path(__file__).resolve().parent
SAMPLE_SIZE = 30


def record(story: Story) -> dict:
    """Return one line of the .jsonl file: the story and what is derived from it."""
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
    """Write one split as plain text (a story a line) and as .jsonl."""
    out.mkdir(parents=True, exist_ok=True)
    with (
        open(out / f"{split}.txt", "w", encoding="utf-8", newline="\n") as text,
        open(out / f"{split}.jsonl", "w", encoding="utf-8", newline="\n") as records,
    ):
        for story in corpus:
            text.write(story.text + "\n")
            records.write(json.dumps(record(story), ensure_ascii=False) + "\n")


def report(split: str, corpus: list[Story]) -> str:
    """Return the figures of one split as the card states them: size, hash, variety and entropy."""
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
    """Return the text of sample.txt: the first stories of the training split; the first three in German too."""
    parts = []
    for i, story in enumerate(stories("train", SAMPLE_SIZE)):
        parts.append(textwrap.fill(story.text, 100))
        if i < 3:
            parts.append(textwrap.fill(story.german, 100))
    return "\n\n".join(parts) + "\n"


def prove(corpus: list[Story]) -> None:
    """Search every story of `corpus` for a second reading; say how many have exactly one."""
    unique = sum(len(readings(story.text)) == 1 for story in tqdm(corpus, unit="story"))
    print(f"{unique:,} of {len(corpus):,} stories have exactly one reading")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0].split(":  ")[0])
    parser.add_argument("--train", type=int, default=DEFAULT_SIZES["train"], help="training stories (%(default)s)")
    parser.add_argument("--val", type=int, default=DEFAULT_SIZES["val"], help="validation stories (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed is another corpus (%(default)s)")
    parser.add_argument("--out", type=Path, default=HERE.parent / "cache" / "storyworld", help="folder (%(default)s)")
    parser.add_argument("--prove", action="store_true", help="show that every story has exactly one reading (minutes)")
    parser.add_argument("--sample", action="store_true", help="rewrite sample.txt beside the card instead")
    arguments = parser.parse_args()
    if arguments.sample:
        (HERE / "sample.txt").write_text(sample(), encoding="utf-8", newline="\n")
        return
    for split, size in (("train", arguments.train), ("val", arguments.val)):
        corpus = list(stories(split, size, arguments.seed))
        write(arguments.out, split, corpus)
        print(report(split, corpus))
        if arguments.prove:
            prove(corpus)


if __name__ == "__main__":
    main()
