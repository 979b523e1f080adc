"""Shared by the tests of llmasos/evaluation: texts that are hard to compare."""

import numpy as np

WORDS = (
    "the a cat dog house-boat it's don't 3.5 1,000 10-20 (yes) \"no\" &quot; "
    "&amp;lt; <skipped> e.g. U.S. end. ... , - -- "
    ". Straße schön über Ärger, „Ja!“ «oui» l’été naïve 猫が 食べる。 中文,句子 привет, мир! مرحبا، ١٢٣ ½ x² €5 10€ "
    "$3.99 a_b #tag @you http://x.y/z?q=1&r=2 😀 👩‍👩‍👧 é é İstanbul ﬁn "
    "{ } [x] ~ ` ^ | \\ / 7- -7 7.a a.7 ,5 5, THE Cat"
).split(" ")
SPACES = [" ", " ", " ", " ", "  ", "\t", "\u00a0", "\u3000", "-\n", "\n", ""]


def texts(seed: int, n: int, longest: int = 14) -> list[str]:
    """n strings of up to `longest` awkward words, some of them empty."""
    rng = np.random.default_rng([seed, 5])
    return ["".join(rng.choice(WORDS) + rng.choice(SPACES) for _ in range(rng.integers(longest + 1))) for _ in range(n)]


def variations(originals: list[str], seed: int) -> list[str]:
    """Drop or double some characters and words of each text, which makes it look like a mediocre translation."""
    rng = np.random.default_rng([seed, 6])
    results = []
    for text in originals:
        words = [word for word in text.split(" ") for _ in range(rng.choice([0, 1, 1, 1, 1, 1, 2]))]
        changed = " ".join(word[: rng.integers(len(word) + 1)] if rng.random() < 0.1 else word for word in words)
        results.append(changed.upper() if rng.random() < 0.1 else changed)
    return results
