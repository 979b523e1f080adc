"""The checks of lesson 22, and the known mistakes."""

import math
from fractions import Fraction
from random import Random

import torch
from torch import Tensor

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Reproducible small whole numbers, as floats: their sums are exact in any order."""
    return torch.randint(-9, 10, shape, generator=torch.Generator().manual_seed(seed)).float()


NOT_DISTRIBUTED = {
    "torch.distributed.all_reduce": "Nothing here starts a process; a list stands for the processes.",
    "torch.distributed.reduce_scatter_tensor": "Write the step yourself; a list stands for the processes.",
}


# 1. shard_bounds


def bounds(total: int, n: int) -> list[tuple[int, int]]:
    size, longer = divmod(total, n)  # the first `longer` shards have one more
    starts = [rank * size + min(rank, longer) for rank in range(n + 1)]
    return list(zip(starts, starts[1:], strict=False))


def bounds_by_ceilings(total: int, n: int) -> list[tuple[int, int]]:
    """What is left is divided among those that are left, rounded up."""
    result, start = [], 0
    for rank in range(n):
        end = start + -(-(total - start) // (n - rank))
        result.append((start, end))
        start = end
    return result


def bounds_by_dealing(total: int, n: int) -> list[tuple[int, int]]:
    """Deal the numbers like cards to count them."""
    sizes = [0] * n
    for i in range(total):
        sizes[i % n] += 1
    result, start = [], 0
    for size in sizes:
        result.append((start, start + size))
        start += size
    return result


def ceil_shards(total: int, n: int) -> list[tuple[int, int]]:
    size = -(-total // n)
    return [(min(rank * size, total), min((rank + 1) * size, total)) for rank in range(n)]


def more_shards(seed: int) -> list[Case]:
    draw = Random(seed)
    return [Case("other sizes", total=draw.randint(20, 200), n=draw.randint(3, 17)) for _ in range(4)]


shard_bounds = Exercise(
    name="shard_bounds",
    asks="Cut a number of things into n contiguous shards that are as equal as possible.",
    reference=bounds,
    section="22.6",
    cases=[
        Case("10 on 4", total=10, n=4),
        Case("8 on 4", total=8, n=4),
        Case("7 on 4", total=7, n=4),
        Case("9 on 4", total=9, n=4),
        Case("one process", total=5, n=1),
        Case("fewer numbers than processes", total=2, n=5),
        Case("nothing", total=0, n=3),
        Case("one each", total=3, n=3),
        Case("a large number", total=10**17 + 7, n=3),
        Case("1,000 on 7", total=1000, n=7),
    ],
    random_cases=more_shards,
    misconceptions=[
        Misconception(
            "the rest is lost",
            lambda total, n: [(r * (total // n), (r + 1) * (total // n)) for r in range(n)],
            "All your shards have the size total // n, so up to n - 1 numbers at the end belong to nobody. They would "
            "never be trained.",
            "Where does the last shard end?",
            "22.6",
        ),
        Misconception(
            "the last one takes the rest",
            lambda total, n: [(r * (total // n), total if r == n - 1 else (r + 1) * (total // n)) for r in range(n)],
            "Your last shard takes everything that is left over, so it can be up to n - 1 longer than the others, and "
            "all others wait for it.",
            "Give the remainder to several shards, one number each.",
            "22.6",
        ),
        Misconception(
            "all shards rounded up",
            ceil_shards,
            "You rounded the size of every shard up. Then the last ones can be much smaller than the first ones, or "
            "empty. (The library's `split` does it and pads with zeros; here the sizes must differ by at most 1.)",
            "Only the first total % n shards are one longer.",
            "22.6",
        ),
        Misconception(
            "the larger shards come last",
            lambda total, n: [(r * total // n, (r + 1) * total // n) for r in range(n)],
            "Your sizes are right, but the larger shards are not the first ones.",
            "The first total % n shards have total // n + 1 numbers.",
            "22.6",
            variants=(
                lambda total, n: [
                    (
                        r * (total // n) + max(0, r - n + total % n),
                        (r + 1) * (total // n) + max(0, r + 1 - n + total % n),
                    )
                    for r in range(n)
                ],
            ),
        ),
        Misconception(
            "the end is included",
            lambda total, n: [(start, end - 1) for start, end in bounds(total, n)],
            "Your ends are the last numbers of the shards. Each end must be the one after the last, like in a slice, "
            "so that it is the start of the next shard.",
            "numbers[start:end] must be the shard.",
            "22.6",
        ),
        Misconception(
            "start and size",
            lambda total, n: [(start, end - start) for start, end in bounds(total, n)],
            "You returned the start and the size of each shard.",
            "(start, end)",
            "22.6",
        ),
        Misconception(
            "every shard starts too late",
            lambda total, n: [
                (r * (total // n + (r > 0 and total % n > 0)), (r + 1) * (total // n) + min(r + 1, total % n))
                for r in range(n)
            ],
            "Your ends are right, but the starts of the later shards are not the ends of the shards before them: you "
            "moved each start by r, though only the first total % n shards are longer.",
            "By how many longer shards is a start moved? min(r, total % n).",
            "22.6",
        ),
        Misconception(
            "sizes in floating point",
            lambda total, n: [
                (math.ceil(r * (total / n) - 1e-9), math.ceil((r + 1) * (total / n) - 1e-9)) for r in range(n)
            ],
            "You computed with total / n as a float and rounded. The larger shards are then spread, and large numbers "
            "are not exact.",
            "divmod(total, n) computes with whole numbers.",
            "22.6",
        ),
    ],
    accepted={"what is left, rounded up": bounds_by_ceilings},
    hints=[
        "How many shards are one longer than the others?",
        "size, longer = divmod(total, n): the first `longer` shards have size + 1 numbers.",
        "Shard r starts at r * size + min(r, longer).",
    ],
)
shard_bounds.accepted["a running start"] = lambda total, n: [
    (sum(total // n + (k < total % n) for k in range(r)), sum(total // n + (k < total % n) for k in range(r + 1)))
    for r in range(n)
]


# 2. mean_gradient


def weighted_mean(gradients: list[Tensor], n_targets: list[int]) -> Tensor:
    total = torch.zeros_like(gradients[0])
    for gradient, m in zip(gradients, n_targets, strict=True):
        if m > 0:
            total = total + m * gradient
    return total / max(sum(n_targets), 1)


def weighted_mean_by_product(gradients: list[Tensor], n_targets: list[int]) -> Tensor:
    counts = torch.tensor(n_targets, dtype=gradients[0].dtype)
    rows = torch.stack(gradients).masked_fill(counts[:, None] == 0, 0.0)
    return counts @ rows / counts.sum().clamp(min=1)


def weighted_mean_by_fractions(gradients: list[Tensor], n_targets: list[int]) -> Tensor:
    m = sum(n_targets)
    kept = [(g, k / m) for g, k in zip(gradients, n_targets, strict=True) if k]
    return sum((g * fraction for g, fraction in kept), torch.zeros_like(gradients[0]))


def where_counted(combine):
    """A mistake in the weights that treats processes without targets rightly."""

    def wrong(gradients: list[Tensor], n_targets: list[int]) -> Tensor:
        kept = [(g, m) for g, m in zip(gradients, n_targets, strict=True) if m]
        return combine(*map(list, zip(*kept, strict=True))) if kept else torch.zeros_like(gradients[0])

    return wrong


def nan_gradient(n_numbers: int) -> Tensor:
    """The gradient of the mean over nothing."""
    return torch.full((n_numbers,), float("nan"))


def more_gradients(seed: int) -> list[Case]:
    draw = Random(seed)
    return [
        Case(
            f"{n} processes",
            gradients=[numbers(draw.randint(k, k), seed=seed % 1000 + 10 * n + r) for r in range(n)],
            n_targets=[draw.randint(1, 30) for _ in range(n)],
        )
        for n, k in ((2, 3), (3, 5), (6, 4))
    ]


mean_gradient = Exercise(
    name="mean_gradient",
    asks="Combine the gradients of the processes' mean losses into that of the mean loss over all targets.",
    reference=weighted_mean,
    section="22.1",
    cases=[
        Case("two processes", gradients=[torch.tensor([1.0]), torch.tensor([4.0])], n_targets=[2, 1]),
        Case("equally many targets", gradients=[torch.tensor([1.0, 2.0]), torch.tensor([3.0, 6.0])], n_targets=[5, 5]),
        Case("one process", gradients=[torch.tensor([1.0, -2.0])], n_targets=[7]),
        Case(
            "one without targets",
            gradients=[torch.tensor([2.0]), torch.tensor([8.0]), torch.tensor([5.0])],
            n_targets=[1, 2, 0],
        ),
        Case("NaN without targets", gradients=[nan_gradient(2), torch.tensor([3.0, 6.0])], n_targets=[0, 4]),
        Case("no targets at all", gradients=[nan_gradient(3), nan_gradient(3)], n_targets=[0, 0]),
        Case("no targets, but no NaN either", gradients=[torch.ones(2), torch.ones(2)], n_targets=[0, 0]),
        Case("one target in all", gradients=[torch.tensor([3.0]), torch.tensor([9.0])], n_targets=[0, 1]),
        Case("NaN with targets", gradients=[nan_gradient(2), torch.tensor([3.0, 6.0])], n_targets=[1, 4]),
        Case("four processes", gradients=[numbers(6, seed=r) for r in range(4)], n_targets=[3, 50, 1, 10]),
        Case("float64", gradients=[numbers(3, seed=r).double() for r in range(2)], n_targets=[3, 4]),
        Case(
            "every other number of a tensor",
            gradients=[numbers(8, seed=5)[::2], numbers(8, seed=6)[::2]],
            n_targets=[1, 2],
        ),
        Case("many targets", gradients=[torch.tensor([1.0]), torch.tensor([5.0])], n_targets=[3_000_000, 1_000_000]),
    ],
    random_cases=more_gradients,
    misconceptions=[
        Misconception(
            "the mean of means",
            where_counted(lambda gs, ms: torch.stack(gs).mean(dim=0)),
            "You averaged the gradients as they are. A target on a process with few targets then weighs more than one "
            "on a process with many.",
            "Which factor turns a mean over m targets into a sum?",
            "22.1",
            variants=(lambda gs, ms: torch.stack(gs).mean(dim=0),),
        ),
        Misconception(
            "the sum of the gradients",
            where_counted(lambda gs, ms: torch.stack(gs).sum(dim=0)),
            "You added the gradients. The result grows with the number of processes.",
            "It is a mean over all targets.",
            "22.1",
        ),
        Misconception(
            "not divided",
            where_counted(lambda gs, ms: sum(m * g for g, m in zip(gs, ms, strict=True))),
            "You weighted each gradient by its number of targets, but did not divide by the number of all targets.",
            "What is the sum of the weights?",
            "22.1",
        ),
        Misconception(
            "divided by the number of processes",
            where_counted(lambda gs, ms: sum(m * g for g, m in zip(gs, ms, strict=True)) / len(gs)),
            "You divided the weighted sum by the number of processes and not by the number of targets.",
            "It is a mean over targets, not over processes.",
            "22.1",
            variants=(
                lambda gs, ms: (
                    sum((m * g for g, m in zip(gs, ms, strict=True) if m), torch.zeros_like(gs[0])) / len(gs)
                ),
            ),
        ),
        Misconception(
            "weighted the wrong way round",
            where_counted(lambda gs, ms: sum(g / m for g, m in zip(gs, ms, strict=True)) / sum(1 / m for m in ms)),
            "You gave a process with few targets more weight than one with many.",
            "m times the mean is the sum.",
            "22.1",
        ),
        Misconception(
            "NaN spreads",
            lambda gs, ms: sum(m * g for g, m in zip(gs, ms, strict=True)) / max(sum(ms), 1),
            "0 times NaN is NaN: one process without targets has spoiled the gradient of all.",
            "Leave out the processes that have no targets.",
            "22.1",
            variants=(lambda gs, ms: sum(m / sum(ms) * g for g, m in zip(gs, ms, strict=True)),),
        ),
        Misconception(
            "all NaN are zero",
            lambda gs, ms: sum(m * g.nan_to_num() for g, m in zip(gs, ms, strict=True)) / max(sum(ms), 1),
            "You replaced every NaN by 0. A NaN on a process that has targets is a real error, and this hides it.",
            "Decide by the number of targets, not by the numbers in the gradient.",
            "22.1",
        ),
        Misconception(
            "the largest counts",
            where_counted(lambda gs, ms: gs[max(range(len(ms)), key=ms.__getitem__)] * 1.0),
            "You returned the gradient of the process with the most targets. The others have worked for nothing.",
            "Every target counts the same.",
            "22.1",
        ),
        Misconception(
            "divided by the count of the largest",
            where_counted(lambda gs, ms: sum(m * g for g, m in zip(gs, ms, strict=True)) / max(ms)),
            "You divided by the largest number of targets and not by the sum.",
            "What is the sum of the weights?",
            "22.1",
        ),
    ],
    accepted={"a matrix product": weighted_mean_by_product},
    forbidden=NOT_DISTRIBUTED,
    hints=[
        "The mean over m targets times m is the sum over them, and sums can be added.",
        "Add m · gradient over all processes, and divide by the sum of the m.",
        "Skip a process with m = 0, and divide by max(sum(n_targets), 1).",
    ],
)
mean_gradient.accepted["fractions"] = lambda gs, ms: (
    weighted_mean_by_fractions(gs, ms) if sum(ms) else torch.zeros_like(gs[0])
)


# 3. reduce_scatter_step


def ring_step(held: list[Tensor], step: int) -> list[Tensor]:
    n = len(held)
    result = [chunks.clone() for chunks in held]
    for r in range(n):
        chunk = (r - 1 - step) % n
        result[(r + 1) % n][chunk] += held[r][chunk]
    return result


def ring_step_by_masks(held: list[Tensor], step: int) -> list[Tensor]:
    """What each process receives, as a tensor that is zero elsewhere."""
    n, result = len(held), []
    for r in range(n):
        left = held[r - 1]
        arrives = torch.arange(n) == (r - 2 - step) % n
        result.append(held[r] + torch.where(arrives[:, None], left, torch.zeros_like(left)))
    return result


def ring_step_by_indices(held: list[Tensor], step: int) -> list[Tensor]:
    """All processes in one tensor (n, n, K)."""
    n = len(held)
    stacked = torch.stack(held)
    sender = torch.arange(n)
    chunk = (sender - 1 - step) % n
    stacked[(sender + 1) % n, chunk] += torch.stack(held)[sender, chunk]
    return list(stacked)


def ring_step_wrong(to=1, offset=-1, direction=-1, add=True, at_once=True, all_chunks=False, empties=False):
    """A step with one thing changed: the receiver, the chunk, whether it is added, whether all send at once."""

    def wrong(held: list[Tensor], step: int) -> list[Tensor]:
        n = len(held)
        result = [chunks.clone() for chunks in held]
        for r in range(n):
            chunk = slice(None) if all_chunks else (r + offset + direction * step) % n
            sent = (held if at_once else result)[r][chunk].clone()
            receiver = result[(r + to) % n]
            receiver[chunk] = receiver[chunk] + sent if add else sent
        if empties:
            for r in range(n):
                result[r][(r - 1 - step) % n] = 0
        return result

    return wrong


def whole_ring(student, held: list[Tensor]) -> list[Tensor]:
    """All n - 1 steps, and of each process the chunk of its own number."""
    for step in range(len(held) - 1):
        held = student(held, step)
    return [chunks[r] for r, chunks in enumerate(held)]


def of_their_own(student, held: list[Tensor], step: int) -> list[Tensor]:
    """What is returned, after each tensor in turn was changed: they must not share memory."""
    result = student(held, step)
    for chunks in result:
        chunks += 1
    return result


def more_rings(seed: int) -> list[Case]:
    draw = Random(seed)
    return [
        Case(f"{n} processes", held=[numbers(n, draw.randint(k, k), seed=seed % 1000 + r) for r in range(n)], step=s)
        for n, k, s in ((3, 2, 1), (5, 1, draw.randint(0, 3)), (6, 3, draw.randint(0, 4)))
    ]


reduce_scatter_step = Exercise(
    name="reduce_scatter_step",
    asks="One step of the first half of a ring all-reduce.",
    reference=ring_step,
    section="22.2",
    cases=[
        Case("two processes", held=[torch.tensor([[1.0], [2.0]]), torch.tensor([[10.0], [20.0]])], step=0),
        Case(
            "three processes, the first step",
            held=[10.0**r * torch.tensor([[1.0], [2.0], [3.0]]) for r in range(3)],
            step=0,
        ),
        Case(
            "three processes, the second step",
            held=[10.0**r * torch.tensor([[1.0], [2.0], [3.0]]) for r in range(3)],
            step=1,
        ),
        Case(
            "the whole ring of three",
            run=whole_ring,
            held=[10.0**r * torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]) for r in range(3)],
        ),
        Case("four processes, step 2", held=[numbers(4, 3, seed=r) for r in range(4)], step=2),
        Case("the whole ring of five", run=whole_ring, held=[numbers(5, 2, seed=10 + r) for r in range(5)]),
        Case("float64", held=[numbers(2, 2, seed=20 + r).double() for r in range(2)], step=0),
        Case("whole numbers", held=[torch.arange(6).view(3, 2) * (r + 1) for r in range(3)], step=1),
        Case("transposed", held=[numbers(2, 3, seed=30 + r).mT for r in range(3)], step=0),
        Case("chunks without numbers", held=[torch.zeros(3, 0) for _ in range(3)], step=1),
        Case("new tensors", run=of_their_own, held=[numbers(3, 1, seed=40 + r) for r in range(3)], step=0),
    ],
    random_cases=more_rings,
    misconceptions=[
        Misconception(
            "one after the other",
            ring_step_wrong(at_once=False, offset=-1, direction=-1, all_chunks=True),
            "Your processes send all their chunks, one process after the other, so that what one has received is sent "
            "on in the same step.",
            "One chunk each, and all at the same time.",
            "22.2",
        ),
        Misconception(
            "all chunks are sent",
            ring_step_wrong(all_chunks=True),
            "Each of your processes sends all of its chunks. That makes n times the traffic, and numbers are counted "
            "more than once.",
            "One chunk per process and step.",
            "22.2",
        ),
        Misconception(
            "to the left",
            ring_step_wrong(to=-1),
            "Your processes send to process r - 1. The sums then move against the order of the chunks, and are never "
            "complete.",
            "Process r sends to r + 1.",
            "22.2",
        ),
        Misconception(
            "its own chunk first",
            ring_step_wrong(offset=0),
            "Process r sent chunk r - s. After n - 1 steps it then has the sum of chunk r + 1, not of its own. Many "
            "books do it that way, but here each process must end with the chunk of its own number.",
            "Start with chunk r - 1.",
            "22.2",
        ),
        Misconception(
            "the chunk does not change with the step",
            ring_step_wrong(direction=0),
            "Your processes send the same chunk in every step. A sum is not passed on.",
            "In the next step, process r passes on what it has just received.",
            "22.2",
        ),
        Misconception(
            "the chunk moves the wrong way",
            ring_step_wrong(direction=1),
            "Your chunk is r - 1 + s. What process r received in a step is chunk r - 2 - s, and that is what it must "
            "pass on in the next one.",
            "Follow one chunk around the ring.",
            "22.2",
        ),
        Misconception(
            "replaced, not added",
            ring_step_wrong(add=False),
            "The receiver replaces its chunk with what has arrived. That is the second half, the all-gather.",
            "The receiver adds.",
            "22.2",
        ),
        Misconception(
            "the sender forgets",
            ring_step_wrong(empties=True),
            "You set the chunk to 0 where it was sent from. A process sends a copy and holds what it held.",
            "Only the receiver's chunk changes.",
            "22.2",
        ),
        Misconception(
            "every process holds everything",
            lambda held, step: [torch.stack(held).sum(dim=0) for _ in held],
            "You computed the whole sum. No process can do that: in one step it sees only what its neighbor sends.",
            "result[r + 1][chunk] = held[r + 1][chunk] + held[r][chunk]",
            "22.2",
        ),
    ],
    accepted={"masks": ring_step_by_masks, "one tensor": ring_step_by_indices},
    forbidden=NOT_DISTRIBUTED,
    hints=[
        "Make copies of all tensors first. Then read from the old ones, and add to the copies.",
        "For each r: chunk = (r - 1 - step) % n, and the receiver is (r + 1) % n.",
        "result[(r + 1) % n][chunk] += held[r][chunk]",
    ],
)


# 4. bytes_per_process

KEPT = {"ddp": (16, 0), "zero1": (4, 12), "zero2": (2, 14), "zero3": (0, 16)}  # whole, sharded


def kept_and_sent(stage: str, n_parameters: int, n: int) -> tuple[float, float]:
    whole, sharded = KEPT[stage]
    transfers = 3 if stage == "zero3" else 2  # reduce-scatters and all-gathers of 2 bytes per parameter
    return n_parameters * (whole + sharded / n), n_parameters * 2 * transfers * (n - 1) / n


def kept_and_sent_by_fractions(stage: str, n_parameters: int, n: int) -> tuple[float, float]:
    level = ("ddp", "zero1", "zero2", "zero3").index(stage)
    per_parameter = [Fraction(size, n if level > i else 1) for i, size in ((2, 2), (1, 2), (0, 12))]
    transfers = 2 + (level == 3)
    return float(n_parameters * sum(per_parameter)), float(Fraction(2 * transfers * n_parameters * (n - 1), n))


def kept_and_sent_by_cases(stage: str, n_parameters: int, n: int) -> tuple[float, float]:
    weights = gradients = 2 * n_parameters
    optimizer = 12 * n_parameters
    half = (n - 1) / n * 2 * n_parameters
    if stage != "ddp":
        optimizer = optimizer / n
    if stage in ("zero2", "zero3"):
        gradients = gradients / n
    if stage == "zero3":
        return weights / n + gradients + optimizer, 3 * half
    return weights + gradients + optimizer, 2 * half


def kept_wrong(change):
    """A mistake in what is kept; what is sent is right."""
    return lambda stage, N, n: (change(stage, N, n), kept_and_sent(stage, N, n)[1])


def sent_wrong(change):
    """A mistake in what is sent; what is kept is right."""
    return lambda stage, N, n: (kept_and_sent(stage, N, n)[0], change(stage, N, n))


def more_plans(seed: int) -> list[Case]:
    draw = Random(seed)
    return [
        Case("another size", stage=stage, n_parameters=draw.randint(10**3, 10**9), n=draw.randint(2, 1000))
        for stage in ("ddp", "zero1", "zero2", "zero3")
    ]


bytes_per_process = Exercise(
    name="bytes_per_process",
    asks="What does one of n processes keep between two steps, and what does it send in a step?",
    reference=kept_and_sent,
    section="22.3",
    cases=[
        Case("ZeRO-1 on 4", stage="zero1", n_parameters=1000, n=4),
        Case("data parallel on 4", stage="ddp", n_parameters=1000, n=4),
        Case("ZeRO-2 on 4", stage="zero2", n_parameters=1000, n=4),
        Case("ZeRO-3 on 4", stage="zero3", n_parameters=1000, n=4),
        Case("data parallel, one process", stage="ddp", n_parameters=10, n=1),
        Case("ZeRO-3, one process", stage="zero3", n_parameters=10, n=1),
        Case("two processes", stage="zero1", n_parameters=1000, n=2),
        Case("not a multiple", stage="zero2", n_parameters=10, n=3),
        Case("7.5 billion on 64", stage="zero3", n_parameters=7_500_000_000, n=64),
        Case("more processes than parameters", stage="zero1", n_parameters=2, n=8),
    ],
    random_cases=more_plans,
    rtol=1e-6,
    misconceptions=[
        Misconception(
            "everything is always sharded",
            kept_wrong(lambda stage, N, n: 16 * N / n if stage != "ddp" else 16.0 * N),
            "You sharded all 16 bytes in every stage. In stage 1 each process still has all weights and gradients.",
            "Which of the 16 bytes does each stage shard?",
            "22.3",
        ),
        Misconception(
            "the gradients are sharded in stage 1",
            kept_wrong(lambda stage, N, n: kept_and_sent("zero2" if stage == "zero1" else stage, N, n)[0]),
            "You sharded the gradients in stage 1. Only the optimizer's 12 bytes are sharded there.",
            "4 + 12/n.",
            "22.3",
        ),
        Misconception(
            "weights stay whole in stage 3",
            kept_wrong(lambda stage, N, n: kept_and_sent("zero2" if stage == "zero3" else stage, N, n)[0]),
            "You kept all weights in stage 3. They are gathered only while a layer computes.",
            "Between two steps nothing is whole any more.",
            "22.3",
        ),
        Misconception(
            "no 32-bit weights",
            kept_wrong(
                lambda stage, N, n: {"ddp": 12, "zero1": 4 + 8 / n, "zero2": 2 + 10 / n, "zero3": 12 / n}[stage] * N
            ),
            "You forgot the 32-bit copy of the weights: the optimizer has 12 bytes, not 8.",
            "4 for the copy, 4 for each of the two moments.",
            "22.3",
        ),
        Misconception(
            "memory of all processes together",
            kept_wrong(lambda stage, N, n: n * kept_and_sent(stage, N, n)[0]),
            "You counted what all processes keep together.",
            "What one of them keeps.",
            "22.3",
        ),
        Misconception(
            "traffic grows with the processes",
            sent_wrong(lambda stage, N, n: (6 if stage == "zero3" else 4) * N * (n - 1)),
            "Your traffic grows with n, as in a star. In a ring, each step moves only an n-th.",
            "(n - 1)/n, not n - 1.",
            "22.2",
        ),
        Misconception(
            "the last piece is sent, too",
            sent_wrong(lambda stage, N, n: (6 if stage == "zero3" else 4) * N),
            "You left out the factor (n - 1)/n: each process already has its own piece. With one process nothing is "
            "sent at all.",
            "How many steps has a ring of n?",
            "22.2",
        ),
        Misconception(
            "stage 3 is as cheap as the others",
            sent_wrong(lambda stage, N, n: 4 * N * (n - 1) / n),
            "You let stage 3 send as much as the others. It must gather the weights twice, since they are dropped "
            "after the forward pass.",
            "All-gather, all-gather, reduce-scatter.",
            "22.3",
        ),
        Misconception(
            "only half of an all-reduce",
            sent_wrong(lambda stage, N, n: (6 if stage == "zero3" else 4 if stage != "ddp" else 2) * N * (n - 1) / n),
            "For data parallelism you counted one half of the all-reduce, the sum, but not the distribution.",
            "An all-reduce is a reduce-scatter and an all-gather.",
            "22.2",
        ),
        Misconception(
            "sharding costs traffic in every stage",
            sent_wrong(lambda stage, N, n: (4 if stage == "ddp" else 6) * N * (n - 1) / n),
            "You let stages 1 and 2 send half as much again. They replace the all-reduce by its two halves, so they "
            "send the same.",
            "What does stage 1 send, and in which order?",
            "22.3",
        ),
        Misconception(
            "numbers, not bytes",
            sent_wrong(lambda stage, N, n: (3 if stage == "zero3" else 2) * N * (n - 1) / n),
            "You counted the numbers that are sent. Each takes 2 bytes.",
            "16 bits are 2 bytes.",
            "22.3",
        ),
        Misconception(
            "sent and kept swapped",
            lambda stage, N, n: kept_and_sent(stage, N, n)[::-1],
            "You returned what is sent first.",
            "(bytes kept, bytes sent)",
            "22.3",
        ),
    ],
    accepted={"fractions": kept_and_sent_by_fractions, "step by step": kept_and_sent_by_cases},
    hints=[
        "Split the 16 bytes into those that every process has and those that are sharded. What is sent is a number of "
        "transfers of 2 bytes per parameter, times (n - 1)/n.",
        "Whole and sharded bytes: 16 and 0, 4 and 12, 2 and 14, 0 and 16.",
        "n_parameters * (whole + sharded / n), and n_parameters * 2 * transfers * (n - 1) / n, with 3 transfers in "
        "stage 3 and 2 otherwise.",
    ],
)


# 5. zero1_step


def sharded_step(
    weights: list[Tensor], gradients: list[Tensor], momenta: list[Tensor], lr: float, beta: float
) -> tuple[list[Tensor], list[Tensor]]:
    n, k = len(weights), len(momenta[0])
    new_momenta, shards = [], []
    for r in range(n):
        own = slice(r * k, (r + 1) * k)
        gradient = sum(g[own] for g in gradients) / n  # reduce-scatter
        new_momenta.append(beta * momenta[r] + gradient)
        shards.append(weights[r][own] - lr * new_momenta[r])
    return [torch.cat(shards) for _ in range(n)], new_momenta  # all-gather


def sharded_step_as_matrix(
    weights: list[Tensor], gradients: list[Tensor], momenta: list[Tensor], lr: float, beta: float
) -> tuple[list[Tensor], list[Tensor]]:
    """One row for each shard."""
    n = len(weights)
    w, g = weights[0].reshape(n, -1), torch.stack(gradients).mean(dim=0).reshape(n, -1)
    m = beta * torch.stack(momenta) + g
    new = (w - lr * m).reshape(-1)
    return [new.clone() for _ in range(n)], [row.clone() for row in m]


def whole_step(
    weights: list[Tensor], gradients: list[Tensor], momenta: list[Tensor], lr: float, beta: float
) -> tuple[list[Tensor], list[Tensor]]:
    """The step of one process that has the whole state, cut afterwards."""
    n = len(weights)
    m = beta * torch.cat(momenta) + sum(gradients) / n
    return [weights[r] - lr * m for r in range(n)], [part.clone() for part in m.chunk(n)]


def step_wrong(mean="all", own_shard=True, gather=True, order="after", decay=True, sign=-1.0, damped=False, swap=False):
    """A step with one thing changed."""

    def wrong(weights, gradients, momenta, lr, beta):
        n, k = len(weights), len(momenta[0])
        new_momenta, shards = [], []
        for r in range(n):
            s = (n - 1 - r) if swap else r
            own = slice(s * k, (s + 1) * k)
            if mean == "all":
                gradient = sum(g[own] for g in gradients) / n
            elif mean == "sum":
                gradient = sum(g[own] for g in gradients) * 1.0
            else:
                gradient = gradients[r][own]
            m = (beta if decay else 1.0) * momenta[r] + (1 - beta if damped else 1.0) * gradient
            new_momenta.append(m)
            used = momenta[r] if order == "before" else m
            shards.append(weights[r][own] + sign * lr * used)
        if swap:
            shards = shards[::-1]
        if gather:
            return [torch.cat(shards) for _ in range(n)], new_momenta
        copies = [w.clone() for w in weights]
        for r in range(n):
            copies[r][r * k : (r + 1) * k] = shards[r]
        return copies, new_momenta

    return wrong


def training(student, w: Tensor, gradients: list[list[Tensor]], lr: float, beta: float) -> list[Tensor]:
    """A step for each list of gradients, from a state of zeros; the weights of all processes at the end."""
    n = len(gradients[0])
    weights, momenta = [w.clone() for _ in range(n)], [torch.zeros(len(w) // n, dtype=w.dtype) for _ in range(n)]
    for each in gradients:
        weights, momenta = student(weights, each, momenta, lr, beta)
    return weights


def changed_after(student, *inputs) -> list[Tensor]:
    """What is returned, after each tensor in turn was changed: they must not share memory."""
    weights, momenta = student(*inputs)
    for t in (*weights, *momenta):
        t += 1
    return [*weights, *momenta]


def state(n: int, k: int, seed: int = 0, double: bool = False) -> dict:
    """Equal weights, different gradients and momenta."""
    w = numbers(n * k, seed=seed)
    result = {
        "weights": [w.clone() for _ in range(n)],
        "gradients": [numbers(n * k, seed=seed + 1 + r) for r in range(n)],
        "momenta": [numbers(k, seed=seed + 50 + r) for r in range(n)],
    }
    return {name: [t.double() for t in each] for name, each in result.items()} if double else result


def more_steps(seed: int) -> list[Case]:
    draw = Random(seed)
    return [
        Case(f"{n} processes", **state(n, k, seed % 1000 + n), lr=round(draw.uniform(0.1, 0.9), 2), beta=0.75)
        for n, k in ((2, draw.randint(2, 4)), (3, draw.randint(1, 3)), (5, 2))
    ]


zero1_step = Exercise(
    name="zero1_step",
    asks="One step of SGD with momentum, whose state is sharded over n processes.",
    reference=sharded_step,
    section="22.3",
    cases=[
        Case(
            "two processes",
            weights=[torch.ones(2), torch.ones(2)],
            gradients=[torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])],
            momenta=[torch.tensor([0.0]), torch.tensor([10.0])],
            lr=0.1,
            beta=0.5,
        ),
        Case(
            "equal gradients, no momentum yet",
            weights=[torch.tensor([1.0, 2.0])] * 2,
            gradients=[torch.tensor([1.0, 1.0]), torch.tensor([1.0, 1.0])],
            momenta=[torch.tensor([0.0]), torch.tensor([0.0])],
            lr=1.0,
            beta=0.5,
        ),
        Case(
            "only momentum",
            weights=[torch.zeros(2), torch.zeros(2)],
            gradients=[torch.zeros(2), torch.zeros(2)],
            momenta=[torch.tensor([1.0]), torch.tensor([2.0])],
            lr=1.0,
            beta=0.5,
        ),
        Case("one process", **state(1, 3, seed=1), lr=0.5, beta=0.5),
        Case("three processes with four numbers each", **state(3, 4, seed=2), lr=0.25, beta=0.5),
        Case("four processes with one number each", **state(4, 1, seed=3), lr=0.25, beta=0.75),
        Case("no momentum at all", **state(2, 2, seed=4), lr=0.5, beta=0.0),
        Case("nothing is forgotten", **state(2, 2, seed=5), lr=0.5, beta=1.0),
        Case("a rate of zero", **state(2, 2, seed=6), lr=0.0, beta=0.5),
        Case("float64", **state(2, 3, seed=7, double=True), lr=0.5, beta=0.5),
        Case(
            "three steps",
            run=training,
            w=numbers(6, seed=8),
            gradients=[[numbers(6, seed=60 + 10 * t + r) for r in range(3)] for t in range(3)],
            lr=0.5,
            beta=0.5,
        ),
        Case("tensors of their own", run=changed_after, **state(2, 2, seed=9), lr=0.5, beta=0.5),
        Case("of its own, one process", run=changed_after, **state(1, 2, seed=10), lr=0.5, beta=0.5),
    ],
    random_cases=more_steps,
    misconceptions=[
        Misconception(
            "no averaging",
            step_wrong(mean="own"),
            "Each of your processes used its own gradient. The others' parts of the batch are lost.",
            "What does process r get from the reduce-scatter?",
            "22.3",
        ),
        Misconception(
            "a sum, not a mean",
            step_wrong(mean="sum"),
            "You added the gradients and did not divide by n. The rate grows with the number of processes.",
            "The mean loss over the whole batch.",
            "22.5",
        ),
        Misconception(
            "no all-gather",
            step_wrong(gather=False),
            "Each of your processes has new weights in its own shard only. The copies are no longer equal.",
            "After the step, every process needs the shards of all others.",
            "22.3",
        ),
        Misconception(
            "the old momentum",
            step_wrong(order="before"),
            "You stepped with the momentum from before the update, so that a gradient acts one step late.",
            "First the momentum, then the weight.",
            "22.3",
        ),
        Misconception(
            "momentum without decay",
            step_wrong(decay=False),
            "You did not multiply the old momentum by beta. It grows without end.",
            "beta · momentum + g",
            "22.3",
        ),
        Misconception(
            "uphill",
            step_wrong(sign=1.0),
            "You added lr · momentum. The loss rises.",
            "weight - lr · momentum",
            "22.3",
        ),
        Misconception(
            "the gradient is damped",
            step_wrong(damped=True),
            "You multiplied the gradient by 1 - beta, as Adam's moving average does. The rule of this exercise does "
            "not.",
            "beta · momentum + g",
            "22.3",
        ),
        Misconception(
            "the shards in reverse order",
            step_wrong(swap=True),
            "Process r updated the shard of process n - 1 - r with its own momentum.",
            "Process r has the numbers r·N/n to (r + 1)·N/n - 1.",
            "22.3",
        ),
        Misconception(
            "one momentum for all shards",
            lambda weights, gradients, momenta, lr, beta: whole_step(
                weights, gradients, [momenta[0]] * len(momenta), lr, beta
            ),
            "You used the momentum of process 0 for all shards.",
            "Each process has the momentum of its own shard.",
            "22.3",
        ),
        Misconception(
            "the whole momentum on every process",
            lambda weights, gradients, momenta, lr, beta: (
                whole_step(weights, gradients, momenta, lr, beta)[0],
                [torch.cat(whole_step(weights, gradients, momenta, lr, beta)[1]) for _ in weights],
            ),
            "Every process keeps the whole momentum. Then nothing is saved.",
            "Process r returns N/n numbers.",
            "22.3",
        ),
    ],
    accepted={"a matrix with one row for each shard": sharded_step_as_matrix, "the whole state, then cut": whole_step},
    forbidden=NOT_DISTRIBUTED
    | {"torch.optim.SGD": "Write the two lines of the rule yourself; they must work on a shard."},
    hints=[
        "Three parts: the mean gradient of each shard, the update of each shard, and the new weights for all.",
        "For process r: own = slice(r * k, (r + 1) * k) with k = N/n; the mean over the processes of gradient[own].",
        "momentum = beta * momenta[r] + g; shard = weights[r][own] - lr * momentum; at the end torch.cat of all "
        "shards, once for each process.",
    ],
)


# 6. means_that_mislead


def verdict(student) -> str:
    """Describe in one sentence what the student's batch does."""
    batch = student()
    if not isinstance(batch, list) or not all(isinstance(row, list) for row in batch):
        return "it is not a list of lists"
    if len(batch) < 2:
        return "there are fewer than two processes"
    if not all(isinstance(x, (int, float)) and not isinstance(x, bool) for row in batch for x in row):
        return "there is something that is no number"
    if not all(row for row in batch):
        return "a process has no token"
    if any(len(row) > 20 for row in batch):
        return "a process has more than twenty tokens"
    if not all(-5 <= x <= 5 for row in batch for x in row):
        return "a number is above 5, below -5 or no number"
    means = [math.fsum(row) / len(row) for row in batch]
    of_means = math.fsum(means) / len(means)
    of_all = math.fsum(x for row in batch for x in row) / sum(map(len, batch))
    if of_means >= 0.5 and of_all <= -0.5:
        return "the change looks bad and is good"
    if of_means > -0.5 + 1e-9:
        return "the mean of means is above -0.5"
    return "fine" if of_all >= 0.5 - 1e-9 else "the mean over all tokens is below 0.5"


def batch_of(*rows: list) -> object:
    """A student's answer."""
    return lambda: [list(row) for row in rows]


means_that_mislead = Exercise(
    name="means_that_mislead",
    asks="Find a batch on which the mean of means has the wrong sign.",
    reference=batch_of([-5], [2] * 10),
    section="22.1",
    cases=[Case("your batch", judge=verdict)],
    misconceptions=[
        Misconception(
            "equally many tokens",
            batch_of([-2, -1], [1, 0]),
            "The mean over all tokens is below 0.5. If all processes have equally many tokens, the two means are "
            "always equal.",
            "One process needs many more tokens than another.",
            "22.1",
            variants=(batch_of([-1], [-1, -1]),),
        ),
        Misconception(
            "the mean of means is not bad enough",
            batch_of([-1], [3, 3, 3]),
            "The mean of means is above -0.5, so the change does not look good.",
            "Let the short process have a much lower number.",
            "22.1",
            variants=(batch_of([1], [1, 1]),),
        ),
        Misconception(
            "the wrong way round",
            batch_of([5], [-2] * 10),
            "Your change looks bad and is good; it should look good and be bad.",
            "Reverse all signs.",
            "22.1",
        ),
        Misconception(
            "one process",
            batch_of([-5, 2, 2, 2]),
            "With one process there is only one mean.",
            "At least two lists.",
            "22.1",
        ),
        Misconception(
            "an empty process",
            batch_of([-5], [2] * 10, []),
            "A process without tokens has no mean.",
            "At least one number in each list.",
            "22.1",
        ),
        Misconception(
            "too many tokens",
            batch_of([-2], [0.75] * 50),
            "A process has more than twenty tokens.",
            "Ten are enough.",
            "22.1",
        ),
        Misconception(
            "numbers too large",
            batch_of([-50], [20] * 10),
            "A number is above 5, below -5, or not a number.",
            "-5 and 2 are enough.",
            "22.1",
            variants=(batch_of([float("nan")], [2.0]),),
        ),
        Misconception(
            "not a list of lists",
            lambda: [-5, 2],
            "The result must be a list with a list of numbers for each process.",
            "[[…], […]]",
            "22.1",
            variants=(lambda: torch.tensor([[-5.0], [2.0]]), lambda: ([-5], [2] * 10)),
        ),
    ],
    accepted={
        "three processes": batch_of([-5.0], [-5.0], [4.0] * 20),
        "two tokens on the short one": batch_of([-4, -4], [3] * 12),
    },
    hints=[
        "Two processes, one with a single token. How much does that token weigh in the mean of means, and how much in "
        "the mean over all?",
        "Let the single token be -5. Then the other process may have a mean of up to 4.",
        "[-5] and ten times 2: the mean of means is -1.5, the mean over all 15 / 11.",
    ],
)

EXERCISES = [
    shard_bounds,
    mean_gradient,
    reduce_scatter_step,
    bytes_per_process,
    zero1_step,
    means_that_mislead,
    WrittenAnswer(
        "WHY_MEANS",
        "When is the mean of means right, why do texts of different lengths break it, and what must be exchanged?",
        50,
        ["What is the weight of one token in each of the two means?"],
        "22.1",
    ),
    WrittenAnswer(
        "EXPERIMENT",
        "What did you change, what did you predict, what came out, what do you make of it?",
        60,
        ["One change at a time. Where there is a formula, compute its prediction first."],
        "22.5",
    ),
]
