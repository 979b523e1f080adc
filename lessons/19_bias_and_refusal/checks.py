"""What is checked in lesson 19, and the known mistakes."""

import math
import re
from random import Random

import torch
from torch import Tensor

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer


def random(*shape: int, seed: int = 0) -> Tensor:
    """Return reproducible normal random numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def distribution(*shape: int, seed: int = 0) -> Tensor:
    """Return reproducible random distributions over the last dimension."""
    return (1.5 * random(*shape, seed=seed)).softmax(-1)


# 1. sharpen


def by_logarithms(probs: Tensor, temperature: float) -> Tensor:
    return (probs.log() / temperature).softmax(-1)


def by_powers(probs: Tensor, temperature: float) -> Tensor:
    """Divide by the largest first, so that it has the weight 1."""
    weights = (probs / probs.amax(-1, keepdim=True)).double() ** (1 / temperature)
    return (weights / weights.sum(-1, keepdim=True)).float()


def by_loops(probs: Tensor, temperature: float) -> Tensor:
    rows = []
    for row in probs.tolist():
        logs = [math.log(p) / temperature if p else -math.inf for p in row]
        weights = [math.exp(x - max(logs)) for x in logs]
        rows.append([w / sum(weights) for w in weights])
    return torch.tensor(rows)


def plain_powers(probs: Tensor, temperature: float) -> Tensor:
    weights = probs ** (1 / temperature)
    return weights / weights.sum(-1, keepdim=True)


def sharpen_cases(seed: int) -> list[Case]:
    draw = Random(seed)
    return [
        Case(
            f"random rows, temperature {t}",
            probs=distribution(draw.randint(2, 5), draw.randint(6, 9), seed=draw.randrange(10**6)),
            temperature=t,
        )
        for t in (0.3, 0.7, 1.6)
    ]


sharpen = Exercise(
    name="sharpen",
    asks="Compute the probabilities with which words are drawn at a temperature.",
    reference=by_logarithms,
    section="19.3",
    cases=[
        Case("0.8 and 0.2, temperature 0.5", probs=torch.tensor([[0.8, 0.2]]), temperature=0.5),
        Case("0.8 and 0.2, temperature 2", probs=torch.tensor([[0.8, 0.2]]), temperature=2.0),
        Case("temperature 1", probs=torch.tensor([[0.5, 0.3, 0.2]]), temperature=1.0),
        Case("two rows", probs=torch.tensor([[0.8, 0.2], [0.5, 0.5]]), temperature=0.5),
        Case("a word that is never drawn", probs=torch.tensor([[0.6, 0.4, 0.0]]), temperature=0.5),
        Case("a word that is never drawn, temperature 1000", probs=torch.tensor([[0.6, 0.0, 0.4]]), temperature=1000.0),
        Case("temperature 0.001", probs=torch.tensor([[0.5, 0.3, 0.2]]), temperature=0.001),
        Case("a tie at temperature 0.001", probs=torch.tensor([[0.4, 0.2, 0.4]]), temperature=0.001),
        Case("one word", probs=torch.ones(3, 1), temperature=0.2),
        Case("a very small probability", probs=torch.tensor([[1.0, 1e-30]]), temperature=20.0),
        Case("as many rows as words", probs=distribution(3, 3, seed=1), temperature=0.7),
        Case("a transposed table", probs=distribution(3, 5, seed=2).T.contiguous().T, temperature=0.4),
    ],
    random_cases=sharpen_cases,
    atol=1e-6,
    misconceptions=[
        Misconception(
            "the power is the temperature",
            lambda probs, temperature: plain_powers(probs, 1 / temperature),
            "You raised the probabilities to the power τ instead of 1/τ, so a low temperature makes them more equal.",
            "At τ = ½ each probability is squared.",
            "19.3",
        ),
        Misconception(
            "softmax of the probabilities",
            lambda probs, temperature: (probs / temperature).softmax(-1),
            "You took the softmax of the probabilities. It is the logits that are divided by τ, and up to a constant "
            "they are the logarithms of the probabilities.",
            "At τ = 1, nothing should change. Does it?",
            "19.3",
        ),
        Misconception(
            "not normalized",
            lambda probs, temperature: probs ** (1 / temperature),
            "Your rows do not sum to 1.",
            "Divide each row by its sum.",
            "19.3",
        ),
        Misconception(
            "divided by the temperature",
            lambda probs, temperature: probs / temperature / (probs / temperature).sum(-1, keepdim=True),
            "You divided the probabilities themselves by τ. After normalizing, nothing has changed.",
            "Which function of the probabilities is divided by τ?",
            "19.3",
        ),
        Misconception(
            "normalized over the whole table",
            lambda probs, temperature: probs ** (1 / temperature) / (probs ** (1 / temperature)).sum(),
            "You divided by the sum of the whole table. Each row is a distribution of its own.",
            "sum(dim=-1, keepdim=True)",
            "19.3",
        ),
        Misconception(
            "underflow",
            plain_powers,
            "Your formula is right, but 0.5 to the power 1000 is 0 in floating point, and 0 / 0 is not a number.",
            "Work with logarithms; softmax subtracts the largest first. Or divide by the largest probability first.",
            "19.3",
        ),
        Misconception(
            "logarithms are returned",
            lambda probs, temperature: (probs.log() / temperature).log_softmax(-1),
            "You returned log-probabilities: they are negative, and do not sum to 1.",
            "softmax instead of log_softmax.",
            "19.3",
        ),
        Misconception(
            "impossible words become possible",
            lambda probs, temperature: by_logarithms(probs + 1e-6, temperature),
            "You added a small number to avoid log 0. At a high temperature this makes the impossible likely, and it "
            "changes very small probabilities.",
            "torch's log(0) is minus infinity, and its softmax gives that the probability 0.",
            "19.3",
        ),
    ],
    accepted={"powers of the ratio to the largest, float64": by_powers, "loops": by_loops},
    hints=[
        "p^(1/τ) = exp(log p / τ). What function exponentiates and normalizes?",
        "softmax(log p / τ) over the last dimension.",
        "(probs.log() / temperature).softmax(dim=-1)",
    ],
)


# 2. log_odds_interval


def interval(counts, half=0.5, z=1.96, error=None) -> tuple[float, float, float]:
    (a, b), (c, d) = [[x + half for x in row] for row in counts.tolist()]
    difference = math.log(a / b) - math.log(c / d)
    deviation = math.sqrt(1 / a + 1 / b + 1 / c + 1 / d) if error is None else error(a, b, c, d)
    return difference, difference - z * deviation, difference + z * deviation


def interval_with_tensors(counts: Tensor) -> tuple[float, float, float]:
    table = counts.double() + 0.5
    logs = table.log()
    difference = (logs[0, 0] - logs[0, 1] - logs[1, 0] + logs[1, 1]).item()
    reach = 1.96 * table.reciprocal().sum().sqrt().item()
    return difference, difference - reach, difference + reach


def interval_as_ratio(counts: Tensor) -> list[float]:
    """The logarithm of one ratio of products."""
    a, b, c, d = (x + 0.5 for x in counts.flatten().tolist())
    deviation = (1 / a + 1 / b + 1 / c + 1 / d) ** 0.5
    return [math.log(a * d / (b * c)) + z * deviation for z in (0, -1.96, 1.96)]


def without_halves(counts: Tensor) -> tuple[float, float, float]:
    """Tensors give an infinity, where `math.log` raises."""
    return interval_with_tensors(counts.double() - 0.5)


def half_where_needed(counts: Tensor) -> tuple[float, float, float]:
    return interval(counts, 0.5 if (counts == 0).any() else 0.0)


def of_probabilities(counts: Tensor) -> tuple[float, float, float]:
    (a, b), (c, d) = [[x + 0.5 for x in row] for row in counts.tolist()]
    p, q = a / (a + b), c / (c + d)
    reach = 1.96 * math.sqrt(p * (1 - p) / (a + b) + q * (1 - q) / (c + d))
    return p - q, p - q - reach, p - q + reach


def interval_cases(seed: int) -> list[Case]:
    draw = Random(seed)
    tables = [[[draw.randint(1, m) for _ in range(2)] for _ in range(2)] for m in (9, 60, 2000)]
    return [Case(f"counts {table}", counts=torch.tensor(table)) for table in tables]


log_odds_interval = Exercise(
    name="log_odds_interval",
    asks="Compute the difference of the log odds of two groups from counts, with its 95 % interval.",
    reference=interval,
    section="19.4",
    cases=[
        Case("small counts", counts=torch.tensor([[9, 3], [1, 1]])),
        Case("a count of 0", counts=torch.tensor([[3, 0], [1, 4]])),
        Case("nothing was counted", counts=torch.zeros(2, 2, dtype=torch.long)),
        Case("no difference", counts=torch.tensor([[4, 6], [4, 6]])),
        Case("the second group has the larger odds", counts=torch.tensor([[20, 80], [70, 30]])),
        Case("groups of different sizes", counts=torch.tensor([[800, 200], [2, 8]])),
        Case("a transposed table", counts=torch.tensor([[5, 2], [11, 40]]).T),
        Case("large counts", counts=torch.tensor([[10**8, 10**7], [10**7, 10**8]])),
    ],
    random_cases=interval_cases,
    rtol=1e-4,
    atol=1e-7,
    misconceptions=[
        Misconception(
            "nothing is added",
            lambda counts: interval(counts, half=0.0),
            "You did not add ½ to the counts. With a count of 0, the difference is infinite.",
            "Add it to all four.",
            "19.4",
            variants=(without_halves,),
        ),
        Misconception(
            "½ is added only if a count is 0",
            half_where_needed,
            "You added ½ only where there is a 0. Then one text more or less makes the result jump.",
            "Always add it; with large counts it does not matter.",
            "19.4",
        ),
        Misconception(
            "1 is added",
            lambda counts: interval(counts, half=1.0),
            "You added 1 to each count instead of ½.",
            "With ½, the estimate of the log odds has the smallest bias.",
            "19.4",
        ),
        Misconception(
            "the variance instead of its root",
            lambda counts: interval(counts, error=lambda a, b, c, d: 1 / a + 1 / b + 1 / c + 1 / d),
            "The sum of 1 / count is the variance; you did not take the root.",
            "How should the width of an interval change with four times as many texts?",
            "19.4",
        ),
        Misconception(
            "one group's error only",
            lambda counts: interval(counts, error=lambda a, b, c, d: math.sqrt(1 / a + 1 / b)),
            "Your standard error has only the counts of the first group. Both groups are uncertain, and variances add.",
            "Four counts, four terms.",
            "19.4",
        ),
        Misconception(
            "one over the sum of all counts",
            lambda counts: interval(counts, error=lambda a, b, c, d: math.sqrt(1 / (a + b + c + d))),
            "You added up the counts first. The smallest count makes most of the error, however large the others are.",
            "The sum of 1 / count, not 1 over the sum.",
            "19.4",
        ),
        Misconception(
            "second group minus first",
            lambda counts: interval(counts.flip(0)),
            "Your difference has the wrong sign: group 0 comes first.",
            "If group 0 has the larger odds, the difference is positive.",
            "19.4",
        ),
        Misconception(
            "difference of probabilities",
            of_probabilities,
            "You took the difference of the probabilities. It depends on how common the word is: from 0.5 to 0.6 is a "
            "small step, from 0.9 to 1 an infinite one in log odds.",
            "The odds are p / (1 - p).",
            "19.4",
        ),
        Misconception(
            "one standard error",
            lambda counts: interval(counts, z=1.0),
            "Your interval reaches only one standard error to either side, which covers 68 %.",
            "1.96 standard errors.",
            "19.4",
        ),
    ],
    accepted={"tensors, float64": interval_with_tensors, "one ratio, in a list": interval_as_ratio},
    hints=[
        "Four numbers a, b, c, d = the counts plus ½. What are the two odds?",
        "difference = log(a / b) - log(c / d), standard error = √(1/a + 1/b + 1/c + 1/d).",
        "Return (difference, difference - 1.96 · error, difference + 1.96 · error).",
    ],
)


# 3. swap_words


def table_of(pairs: list[tuple[str, str]]) -> dict[str, str]:
    both = [(x, y) for a, b in pairs for x, y in ((a, b), (b, a))]
    return {form(x): form(y) for x, y in both for form in (str, str.capitalize)}


def by_expression(text: str, pairs: list[tuple[str, str]]) -> str:
    table = table_of(pairs)
    return re.sub("[A-Za-z]+", lambda match: table.get(match[0], match[0]), text)


def by_characters(text: str, pairs: list[tuple[str, str]]) -> str:
    """Read letter by letter; a word ends where a character is no letter."""
    table, out, word = table_of(pairs), "", ""
    for character in text + " ":
        if character.isalpha():
            word += character
        else:
            out += table.get(word, word) + character
            word = ""
    return out[:-1]


def by_marks(text: str, pairs: list[tuple[str, str]]) -> str:
    """First put a mark in the place of each word, then the other word in the place of the mark."""
    table = table_of(pairs)
    words = list(table)
    for i, word in enumerate(words):
        text = re.sub(rf"(?<![A-Za-z]){word}(?![A-Za-z])", f"<{i}>", text)
    for i, word in enumerate(words):
        text = text.replace(f"<{i}>", table[word])
    return text


def one_after_another(text: str, pairs: list[tuple[str, str]]) -> str:
    for word, other in table_of(pairs).items():
        text = re.sub(rf"\b{word}\b", other, text)
    return text


def substrings(text: str, pairs: list[tuple[str, str]]) -> str:
    table = table_of(pairs)
    if not table:
        return text
    return re.sub("|".join(sorted(table, key=len, reverse=True)), lambda match: table[match[0]], text)


def split_at_spaces(text: str, pairs: list[tuple[str, str]]) -> str:
    table = table_of(pairs)
    return " ".join(table.get(word, word) for word in text.split(" "))


def with_table(text: str, table: dict[str, str]) -> str:
    return re.sub("[A-Za-z]+", lambda match: table.get(match[0], match[0]), text)


def any_case(text: str, pairs: list[tuple[str, str]]) -> str:
    table = {word: other for word, other in table_of(pairs).items() if word.islower()}

    def other(match: re.Match) -> str:
        word = table.get(match[0].lower(), match[0])
        return word.capitalize() if match[0][0].isupper() and match[0].lower() in table else word

    return re.sub("[A-Za-z]+", other, text)


CHILDREN = [("he", "she"), ("him", "her"), ("boy", "girl"), ("ben", "mia")]


def swap_cases(seed: int) -> list[Case]:
    draw = Random(seed)
    words = "he she him her boy girl ben mia Ben Mia He the shelf hero BEN was brave and".split()
    ends = (" ", " ", ", ", ". ", "'s ")
    texts = ["".join(draw.choice(words) + draw.choice(ends) for _ in range(12)) for _ in range(3)]
    return [Case("random words", text=text, pairs=CHILDREN) for text in texts]


swap_words = Exercise(
    name="swap_words",
    asks="Swap the words of each pair in a text, in both directions.",
    reference=by_expression,
    section="19.5",
    cases=[
        Case("one word", text="a boy ran", pairs=[("boy", "girl")]),
        Case("the other direction", text="a girl ran", pairs=[("boy", "girl")]),
        Case("both at once", text="a boy saw a girl", pairs=[("boy", "girl")]),
        Case("a capital letter", text="He was small and he was shy", pairs=[("he", "she")]),
        Case("a name", text="Ben lived by the lake", pairs=[("ben", "mia")]),
        Case("within another word", text="the hero on the shelf", pairs=[("he", "she"), ("her", "him")]),
        Case("punctuation", text="Mia, the girl: he knew (her)", pairs=CHILDREN),
        Case("a possessive", text="It was Ben's.", pairs=CHILDREN),
        Case("digits and underscores", text="ben2 was _mia_ and 3boy", pairs=CHILDREN),
        Case("all capitals", text="BEN saw bEn and Ben", pairs=[("ben", "mia")]),
        Case("a word twice", text="he he He she", pairs=[("he", "she")]),
        Case("at both ends", text="ben and mia", pairs=CHILDREN),
        Case("empty", text="", pairs=CHILDREN),
        Case("no pairs", text="Ben saw Mia.", pairs=[]),
        Case("spaces and lines", text="  he\n\n she ", pairs=CHILDREN),
        Case("one letter", text="I saw a u", pairs=[("i", "u")]),
    ],
    random_cases=swap_cases,
    misconceptions=[
        Misconception(
            "one after another",
            one_after_another,
            "You replace one word after another. What has become a girl in one step becomes a boy again in the next.",
            "All words have to be swapped in a single pass over the text.",
            "19.5",
        ),
        Misconception(
            "parts of words",
            substrings,
            "You replaced letters inside other words, such as the he in the.",
            "Find whole words first, then look them up.",
            "19.5",
        ),
        Misconception(
            "one direction only",
            lambda text, pairs: with_table(
                text, {form(a): form(b) for a, b in pairs for form in (str, str.capitalize)}
            ),
            "You replaced the first word of each pair, but not the second. Then everybody is a girl.",
            "Each pair gives two entries.",
            "19.5",
        ),
        Misconception(
            "lower case only",
            lambda text, pairs: with_table(text, {k: v for k, v in table_of(pairs).items() if k.islower()}),
            "Words with a capital letter, and with them all names, stay as they are.",
            "Look up the capitalized forms, too.",
            "19.5",
        ),
        Misconception(
            "the capital letter is lost",
            lambda text, pairs: re.sub(
                "[A-Za-z]+",
                lambda match: {
                    k.capitalize() if up else k: v
                    for k, v in table_of(pairs).items()
                    if k.islower()
                    for up in (True, False)
                }.get(match[0], match[0]),
                text,
            ),
            "You found the capitalized words, and put words in lower case in their place.",
            "What follows from the capital letter of the old word for the new one?",
            "19.5",
        ),
        Misconception(
            "punctuation belongs to the word",
            split_at_spaces,
            "You split at spaces, so “Mia,” is not found.",
            "A word is a run of letters.",
            "19.5",
        ),
        Misconception(
            "any case",
            any_case,
            "You swapped words such as BEN, too. The exercise asks only for a capital letter at the beginning.",
            "Which forms of a word does the docstring name?",
            "19.5",
        ),
        Misconception(
            "the first occurrence only",
            lambda text, pairs: re.sub(
                "[A-Za-z]+",
                lambda match, seen=None: (
                    match[0]
                    if match[0] not in table_of(pairs) or re.search(rf"\b{match[0]}\b", text[: match.start()])
                    else table_of(pairs)[match[0]]
                ),
                text,
            ),
            "You swapped each word only where it occurs first.",
            "Every occurrence.",
            "19.5",
        ),
    ],
    accepted={"letter by letter": by_characters, "with marks": by_marks},
    hints=[
        "Make a dictionary from each word to its counterpart, in both directions, and for the capitalized forms.",
        "re.sub takes a function that says what each match becomes.",
        're.sub("[A-Za-z]+", lambda match: table.get(match[0], match[0]), text)',
    ],
)


# 4. price_of_blindness


def information(joint: Tensor) -> float:
    joint = joint.double()
    product = joint.sum(1, keepdim=True) * joint.sum(0)
    return torch.where(joint > 0, joint * (joint / product).log(), 0.0).sum().item()


def entropy(p: Tensor) -> float:
    return -torch.xlogy(p.double(), p.double()).sum().item()


def by_entropies(joint: Tensor) -> float:
    """H(g) + H(k) - H(g, k)."""
    return entropy(joint.sum(0)) + entropy(joint.sum(1)) - entropy(joint)


def price_by_loops(joint: Tensor) -> float:
    rows = joint.tolist()
    words = [sum(column) for column in zip(*rows, strict=True)]
    total = 0.0
    for row in rows:
        for p, word in zip(row, words, strict=True):
            if p > 0:
                total += p * math.log(p / sum(row) / word)
    return total


def conditional_rows(joint: Tensor) -> list[Tensor]:
    return [row / row.sum() for row in joint.double() if row.sum() > 0]


def kl(p: Tensor, q: Tensor) -> float:
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum().item()


def with_equal_groups(joint: Tensor) -> float:
    rows = conditional_rows(joint)
    middle = torch.stack(rows).mean(0)
    return sum(kl(row, middle) for row in rows) / len(rows)


def price_cases(seed: int) -> list[Case]:
    draw = Random(seed)
    cases = []
    for _ in range(3):
        G, K = draw.randint(2, 4), draw.randint(2, 6)
        joint = distribution(1, G * K, seed=draw.randrange(10**6)).view(G, K)
        cases.append(Case(f"{G} groups, {K} words", joint=joint))
    return cases


price_of_blindness = Exercise(
    name="price_of_blindness",
    asks="Compute how much worse, in nats, a model predicts if it must not use the group.",
    reference=information,
    section="19.5",
    cases=[
        Case("equal groups", joint=torch.tensor([[0.4, 0.1], [0.1, 0.4]])),
        Case("no difference between the groups", joint=torch.tensor([[0.1, 0.3], [0.15, 0.45]])),
        Case("the group decides", joint=torch.tensor([[0.5, 0.0], [0.0, 0.5]])),
        Case("a rare group", joint=torch.tensor([[0.72, 0.18], [0.02, 0.08]])),
        Case("a word that one group never has", joint=torch.tensor([[0.5, 0.0], [0.25, 0.25]])),
        Case("a group that does not occur", joint=torch.tensor([[0.3, 0.2], [0.0, 0.0], [0.1, 0.4]])),
        Case("a word that does not occur", joint=torch.tensor([[0.3, 0.0, 0.2], [0.1, 0.0, 0.4]])),
        Case("one group", joint=torch.tensor([[0.3, 0.7]])),
        Case("one word", joint=torch.tensor([[0.3], [0.7]])),
        Case("a transposed table", joint=distribution(1, 12, seed=1).view(4, 3).T),
        Case("many words", joint=distribution(1, 120, seed=2).view(3, 40)),
    ],
    random_cases=price_cases,
    rtol=1e-3,
    atol=1e-5,
    misconceptions=[
        Misconception(
            "in bits",
            lambda joint: information(joint) / math.log(2),
            "Your result is in bits, which are 0.693 nats each.",
            "Natural logarithms give nats.",
            "19.5",
        ),
        Misconception(
            "the blind model's whole loss",
            lambda joint: entropy(joint.sum(0)),
            "You computed the entropy of the word, which is the blind model's loss. The seeing model's loss is not 0.",
            "Subtract what the seeing model pays.",
            "19.5",
        ),
        Misconception(
            "the seeing model's loss",
            lambda joint: entropy(joint) - entropy(joint.sum(1)),
            "You computed H(word | group), the loss of the model that sees the group. The price is a difference.",
            "Blind minus seeing.",
            "19.5",
        ),
        Misconception(
            "the entropy of the group is missing",
            lambda joint: entropy(joint.sum(0)) - entropy(joint),
            "You subtracted the entropy of the whole table, H(group, word). It also contains the entropy of the group, "
            "which neither model has to predict.",
            "The seeing model's loss is H(group, word) - H(group).",
            "19.5",
        ),
        Misconception(
            "all groups weigh the same in the mean",
            lambda joint: (
                sum(kl(row, joint.double().sum(0)) for row in conditional_rows(joint)) / len(conditional_rows(joint))
            ),
            "You took the mean over the groups. But most texts are about the frequent groups.",
            "Weight each group by its probability.",
            "19.5",
        ),
        Misconception(
            "the blind model thinks that all groups are equally frequent",
            with_equal_groups,
            "Your blind model predicts the mean of the groups' distributions. It knows how frequent each group is, so "
            "it predicts p(k), the sum of a column.",
            "p(k) = Σ joint[g, k] over g.",
            "19.5",
        ),
        Misconception(
            "the texts come from the blind model",
            lambda joint: kl(joint.double().sum(1, keepdim=True) * joint.double().sum(0), joint.double()),
            "You averaged over p(g) p(k), as if the texts came from a world without bias.",
            "The weights are joint[g, k].",
            "19.5",
        ),
        Misconception(
            "0 times infinity",
            lambda joint: (joint * (joint / (joint.sum(1, keepdim=True) * joint.sum(0))).log()).sum().item(),
            "Where a probability is 0, your sum has 0 · ln 0, which is not a number.",
            "Such terms contribute nothing: use torch.where, or leave them out.",
            "19.5",
        ),
        Misconception(
            "seeing minus blind",
            lambda joint: -information(joint),
            "Your sign is wrong: the blind model's loss is the larger one.",
            "Blind minus seeing.",
            "19.5",
        ),
    ],
    accepted={"three entropies": by_entropies, "loops": price_by_loops},
    hints=[
        "p(g) is the sum of a row, p(k) the sum of a column, and p(k | g) = joint[g, k] / p(g).",
        "Each term is joint · log(joint / (p(g) p(k))).",
        "Compute the product of the sums as a table (G, K), then torch.where(joint > 0, …, 0), and add up.",
    ],
)


# 5. recovery_example

Example = tuple[list[int], list[bool]]


def begun(prompt: list[int], answer: list[int], refusal: list[int], n: int) -> Example:
    start = [*prompt, *answer[: min(n, len(answer) - 1)]]
    return [*start, *refusal], [False] * len(start) + [True] * len(refusal)


def token_by_token(prompt: list[int], answer: list[int], refusal: list[int], n: int) -> Example:
    ids, mask = list(prompt), [False for _ in prompt]
    for i, token in enumerate(answer):
        if i < n and i + 1 < len(answer):
            ids.append(token)
            mask.append(False)
    for token in refusal:
        ids.append(token)
        mask.append(True)
    return ids, mask


def without_the_end(prompt: list[int], answer: list[int], refusal: list[int], n: int) -> Example:
    """Cut off the end first."""
    beginning = answer[:-1][:n]
    ids = prompt + beginning + refusal
    return ids, [i >= len(ids) - len(refusal) for i in range(len(ids))]


def recovery_cases(seed: int) -> list[Case]:
    draw = Random(seed)

    def tokens(n: int) -> list[int]:
        return [draw.randrange(100) for _ in range(n)]

    return [
        Case("random tokens", prompt=tokens(draw.randint(2, 5)), answer=tokens(6), refusal=tokens(4), n=n)
        for n in (0, draw.randint(1, 4), 6)
    ]


recovery_example = Exercise(
    name="recovery_example",
    asks="Make a conversation in which the assistant has begun to answer and then refuses; only the refusal counts.",
    reference=begun,
    section="19.9",
    cases=[
        Case("one token of the answer", prompt=[1, 2], answer=[5, 6, 9], refusal=[7, 9], n=1),
        Case("none", prompt=[1, 2], answer=[5, 6, 9], refusal=[7, 9], n=0),
        Case("all but the end", prompt=[1, 2], answer=[5, 6, 9], refusal=[7, 9], n=2),
        Case("as many as the answer has", prompt=[1, 2], answer=[5, 6, 9], refusal=[7, 9], n=3),
        Case("more than the answer has", prompt=[1, 2], answer=[5, 6, 9], refusal=[7, 9], n=10),
        Case("the answer is only an end", prompt=[1], answer=[9], refusal=[7, 8, 9], n=2),
        Case("the refusal is only an end", prompt=[1, 2, 3], answer=[5, 6, 9], refusal=[9], n=1),
        Case("the same tokens everywhere", prompt=[4, 4], answer=[4, 4, 4, 4], refusal=[4, 4, 4], n=2),
        Case(
            "a long answer",
            prompt=[1, 2, 3, 4],
            answer=[10, 11, 12, 13, 14, 15, 16, 9],
            refusal=[20, 21, 22, 9],
            n=5,
        ),
    ],
    random_cases=recovery_cases,
    misconceptions=[
        Misconception(
            "the beginning is a target, too",
            lambda prompt, answer, refusal, n: (
                begun(prompt, answer, refusal, n)[0],
                [False] * len(prompt) + [True] * (len(begun(prompt, answer, refusal, n)[0]) - len(prompt)),
            ),
            "The beginning of the answer is a target. So the model learns to write it, and to give in first.",
            "What should the model learn to write, and what should it only have read?",
            "19.9",
        ),
        Misconception(
            "everything is a target",
            lambda prompt, answer, refusal, n: (
                begun(prompt, answer, refusal, n)[0],
                [True] * len(begun(prompt, answer, refusal, n)[0]),
            ),
            "All tokens are targets, even the user's.",
            "Only the refusal's tokens.",
            "19.9",
        ),
        Misconception(
            "the answer's end is used",
            lambda prompt, answer, refusal, n: (
                [*prompt, *answer[:n], *refusal],
                [False] * (len(prompt) + len(answer[:n])) + [True] * len(refusal),
            ),
            "With a large n, your conversation contains the end of the answer, and then the message continues.",
            "At most len(answer) - 1 tokens.",
            "19.9",
        ),
        Misconception(
            "the refusal's end is not a target",
            lambda prompt, answer, refusal, n: (
                begun(prompt, answer, refusal, n)[0],
                [*begun(prompt, answer, refusal, n)[1][:-1], False],
            ),
            "The token that ends the refusal is not a target, so the model never learns to stop there.",
            "All of the refusal's tokens, the end included.",
            "19.9",
        ),
        Misconception(
            "the mask is one token early",
            lambda prompt, answer, refusal, n: (
                begun(prompt, answer, refusal, n)[0],
                [*begun(prompt, answer, refusal, n)[1][1:], True],
            ),
            "Your mask is shifted: the token before the refusal is a target.",
            "The mask says which token is a target, not from where it is predicted.",
            "19.9",
        ),
        Misconception(
            "refusal without a beginning",
            lambda prompt, answer, refusal, n: begun(prompt, answer, refusal, 0),
            "Your conversation has nothing of the answer in it, so it is an ordinary refusal.",
            "Put the first n tokens of the answer between prompt and refusal.",
            "19.9",
        ),
        Misconception(
            "the answer's last tokens",
            lambda prompt, answer, refusal, n: begun(
                prompt, [*answer[:-1][max(0, len(answer) - 1 - n) :], answer[-1]], refusal, n
            ),
            "You took the last n tokens before the end instead of the first n.",
            "answer[:n]",
            "19.9",
        ),
        Misconception(
            "the refusal comes first",
            lambda prompt, answer, refusal, n: (
                [*prompt, *refusal, *answer[: min(n, len(answer) - 1)]],
                [False] * len(prompt) + [True] * len(refusal) + [False] * min(n, len(answer) - 1),
            ),
            "You put the refusal before the beginning of the answer.",
            "The assistant has begun to answer, and then refuses.",
            "19.9",
        ),
    ],
    accepted={"token by token": token_by_token, "the end is cut off first": without_the_end},
    hints=[
        "How many tokens of the answer are used, if n is large?",
        "beginning = answer[:-1][:n]; ids = prompt + beginning + refusal.",
        "The mask is False for len(prompt) + len(beginning) tokens, then True for len(refusal).",
    ],
)


# 6. reversed_in_every_town


def look(find) -> str:
    """What is wrong with the counts, or "fine"."""
    towns = find()
    if not isinstance(towns, list | tuple) or len(towns) != 2:
        return "a list of two towns is expected"
    if not all(isinstance(town, list | tuple) and len(town) == 2 for town in towns):
        return "each town is a list of two groups"
    groups = [group for town in towns for group in town]
    if not all(isinstance(group, list | tuple) and len(group) == 2 for group in groups):
        return "each group is a list of two numbers"
    if not all(isinstance(x, int) and not isinstance(x, bool) and 0 <= x <= 1000 for group in groups for x in group):
        return "all numbers must be whole numbers from 0 to 1000"
    if min(map(sum, groups)) < 10:
        return "a group has fewer than 10 members in a town"
    for town in towns:
        boys, girls = (group[0] / sum(group) for group in town)
        if girls < boys + 0.05 - 1e-9:
            return "in a town, the girls are not braver by 0.05"
    boys, girls = (
        sum(town[g][0] for town in towns) / sum(sum(town[g]) for town in towns) for g in (0, 1)
    )  # in both towns together
    return "fine" if boys >= girls + 0.05 - 1e-9 else "together, the boys are not braver by 0.05"


reversed_in_every_town = Exercise(
    name="reversed_in_every_town",
    asks="Find counts in which girls are braver in each of two towns, and boys are braver in both towns together.",
    reference=lambda: [[[80, 20], [9, 1]], [[1, 9], [20, 80]]],
    section="19.6",
    cases=[Case("your towns", judge=look)],
    misconceptions=[
        Misconception(
            "both towns have the same mixture",
            lambda: [[[70, 30], [90, 10]], [[10, 90], [30, 70]]],
            "In both towns together, your boys are not braver. If boys and girls are spread over the towns in the same "
            "way, the whole says what the parts say.",
            "In one town everybody tends to be brave. Let most of the boys live there, and most girls elsewhere.",
            "19.6",
        ),
        Misconception(
            "reversed in one town only",
            lambda: [[[80, 20], [9, 1]], [[9, 1], [20, 80]]],
            "In one of your towns, the girls are not braver.",
            "Compare the fractions within each town.",
            "19.6",
        ),
        Misconception(
            "a group that is too small",
            lambda: [[[80, 20], [1, 0]], [[0, 1], [20, 80]]],
            "One of your groups has fewer than 10 members, so its fraction says little.",
            "Multiply your counts.",
            "19.6",
        ),
        Misconception(
            "fractions instead of counts",
            lambda: [[[0.8, 0.2], [0.9, 0.1]], [[0.1, 0.9], [0.2, 0.8]]],
            "Whole numbers are expected. From fractions alone nobody can tell how large the groups are, and that is "
            "what it depends on.",
            "How many boys and girls live in each town?",
            "19.6",
        ),
        Misconception(
            "groups and traits in a single list",
            lambda: [[80, 20, 9, 1], [1, 9, 20, 80]],
            "Each town must be a list of two groups, and each group a list of two numbers.",
            "[[brave boys, shy boys], [brave girls, shy girls]]",
            "19.6",
        ),
        Misconception(
            "one town",
            lambda: [[[80, 20], [90, 10]]],
            "Two towns are expected; in one alone there is nothing to reverse.",
            "A list of two.",
            "19.6",
        ),
    ],
    accepted={
        "tuples, larger numbers": lambda: (((600, 200), (90, 10)), ((5, 95), (200, 800))),
        "just enough": lambda: [[[900, 100], [95, 5]], [[10, 90], [150, 850]]],
    },
    hints=[
        "Let one town be brave (four of five) and the other shy (one of five).",
        "Within each town the girls are a little braver. Where do most of the boys live?",
        "100 boys and 10 girls in the brave town, 10 boys and 100 girls in the shy one.",
    ],
)


EXERCISES = [
    sharpen,
    log_odds_interval,
    swap_words,
    price_of_blindness,
    recovery_example,
    reversed_in_every_town,
    WrittenAnswer(
        "WHY_REVERSED",
        "How can every part say the opposite of the whole? What does it mean for counting in texts, and for "
        "counterfactual pairs?",
        words=40,
        hints=[
            "What differs between the boys and the girls, apart from being boys and girls?",
            "The town influences bravery, and it is not independent of the group.",
            "A counterfactual pair changes the group, and leaves the town as it is.",
        ],
        section="19.6",
    ),
    WrittenAnswer(
        "EXPERIMENT",
        "What did you change, what did you predict, and what happened?",
        words=60,
        hints=[
            "Change one thing only.",
            "Predict all three fractions before you train.",
            "With three seeds, which of the differences are larger than their spread?",
        ],
        section="19.9",
    ),
]
