"""The checks of lesson 24, and the known mistakes."""

import math
from random import Random

import torch
from torch import Tensor
from torch.nn import functional as F

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer


def random(*shape: int, seed: int = 0) -> Tensor:
    """Reproducible normal random numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tensor(numbers: list) -> Tensor:
    """A small tensor of floating-point numbers."""
    return torch.tensor(numbers, dtype=torch.float32)


def words(*shape: int, V: int, seed: int = 0) -> Tensor:
    """Random tokens."""
    return torch.randint(V, shape, generator=torch.Generator().manual_seed(seed))


# 1. to_patches


def patches(images: Tensor, P: int) -> Tensor:
    B, C, H, W = images.shape
    grid = images.reshape(B, C, H // P, P, W // P, P)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(B, (H // P) * (W // P), C * P * P)


def patches_by_slices(images: Tensor, P: int) -> Tensor:
    H, W = images.shape[2:]
    squares = [images[:, :, y : y + P, x : x + P] for y in range(0, H, P) for x in range(0, W, P)]
    return torch.stack([square.flatten(1) for square in squares], dim=1)


def patches_by_unfold(images: Tensor, P: int) -> Tensor:
    return images.unfold(2, P, P).unfold(3, P, P).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def in_order(images: Tensor, P: int, *order: int) -> Tensor:
    """The six axes (B, C, rows, P, columns, P) in another order, then three."""
    B, C, H, W = images.shape
    grid = images.reshape(B, C, H // P, P, W // P, P).permute(*order)
    return grid.reshape(B, (H // P) * (W // P), C * P * P)


def counted(*shape: int) -> Tensor:
    """0, 1, 2, … as floats, in a shape."""
    return torch.arange(math.prod(shape)).float().reshape(shape)


def more_pictures(seed: int) -> list[Case]:
    draw = Random(seed)
    return [
        Case(
            f"patches of {P}",
            images=random(draw.randint(1, 3), C, P * draw.randint(1, 3), P * draw.randint(2, 4), seed=seed % 1000 + P),
            patch_size=P,
        )
        for P, C in ((2, 3), (3, 1), (4, 2))
    ]


to_patches = Exercise(
    name="to_patches",
    asks="Cut pictures into squares, in reading order, one vector for each.",
    reference=patches,
    section="24.2",
    cases=[
        Case("two patches beside each other", images=counted(1, 1, 2, 4), patch_size=2),
        Case("two patches above each other", images=counted(1, 1, 4, 2), patch_size=2),
        Case("four patches", images=counted(1, 1, 4, 4), patch_size=2),
        Case("two channels", images=counted(1, 2, 2, 4), patch_size=2),
        Case("two pictures", images=counted(2, 1, 2, 2), patch_size=2),
        Case("a patch for each pixel", images=counted(1, 3, 2, 3), patch_size=1),
        Case("one patch", images=counted(2, 3, 2, 2), patch_size=2),
        Case("random, 2 × 3 × 4 × 6", images=random(2, 3, 4, 6, seed=1), patch_size=2),
        Case("patches of 3", images=random(1, 2, 6, 9, seed=2), patch_size=3),
        Case("whole numbers", images=counted(1, 2, 4, 2).to(torch.uint8), patch_size=2),
        Case("channels last in memory", images=random(2, 4, 6, 3, seed=3).permute(0, 3, 1, 2), patch_size=2),
    ],
    random_cases=more_pictures,
    misconceptions=[
        Misconception(
            "reshaped without moving the axes",
            lambda images, P: images.reshape(images.size(0), -1, images.size(1) * P * P),
            "You cut the memory into equal pieces. Pixels that are next to each other in memory are in one row of the "
            "whole picture, and not in one square.",
            "Split H into (H / P, P) and W into (W / P, P) first. Which axes belong to the patch?",
            "24.2",
        ),
        Misconception(
            "column by column",
            lambda images, P: in_order(images, P, 0, 4, 2, 1, 3, 5),
            "Your patches go down the columns. Reading order is row by row.",
            "The row of the patch comes before its column.",
            "24.2",
        ),
        Misconception(
            "the pixels of a patch column by column",
            lambda images, P: in_order(images, P, 0, 2, 4, 1, 5, 3),
            "Inside each patch you go down the columns.",
            "The last axis of a patch is the one along a row.",
            "24.2",
        ),
        Misconception(
            "the channels last",
            lambda images, P: in_order(images, P, 0, 2, 4, 3, 5, 1),
            "In your vectors the channels of one pixel are next to each other. The task wants all of channel 0 first.",
            "The channel is the slowest of the three axes of a patch.",
            "24.2",
        ),
        Misconception(
            "each channel is a patch of its own",
            lambda images, P: in_order(images, P, 0, 1, 2, 4, 3, 5).reshape(images.size(0), -1, P * P),
            "You made C times as many patches, each with one channel. A patch holds all colors of its square.",
            "N = (H / P) · (W / P), whatever C is.",
            "24.2",
        ),
        Misconception(
            "P patches per side instead of patches of side P",
            lambda images, P: patches_by_slices(images, max(images.size(3) // P, 1)),
            "You took P as the number of patches in a row. It is the side of a patch, in pixels.",
            "Each vector has C·P·P numbers.",
            "24.2",
        ),
        Misconception(
            "channels averaged",
            lambda images, P: patches(images.float().mean(dim=1, keepdim=True).to(images.dtype), P),
            "You averaged over the channels, so the colors are gone.",
            "A vector has C·P·P numbers.",
            "24.2",
        ),
        Misconception(
            "overlapping patches",
            lambda images, P: torch.stack(
                [
                    images[:, :, y : y + P, x : x + P].flatten(1)
                    for y in range(images.size(2) - P + 1)
                    for x in range(images.size(3) - P + 1)
                ],
                dim=1,
            ),
            "Your patches overlap: you moved on by one pixel. Each pixel belongs to one patch.",
            "The step is the patch size.",
            "24.2",
        ),
    ],
    accepted={"slices": patches_by_slices, "unfold": patches_by_unfold},
    hints=[
        "Split H into (H / P, P) and W into (W / P, P): six axes. Which of them name a patch, and which a pixel in it?",
        "(B, C, H/P, P, W/P, P) → (B, H/P, W/P, C, P, P): that is a permute. Then two axes become N, and three become "
        "C·P·P.",
        "images.reshape(B, C, H // P, P, W // P, P).permute(0, 2, 4, 1, 3, 5).reshape(B, -1, C * P * P)",
    ],
)


# 2. caption_loss


def loss_of_captions(logits: Tensor, ids: Tensor, mask: Tensor, N: int) -> Tensor:
    of_text = logits[:, N:-1]  # (B, T - 1, V): each predicts the token after it
    targets, real = ids[:, 1:], mask[:, 1:]
    losses = -of_text.log_softmax(dim=-1).gather(2, targets[..., None])[..., 0]  # (B, T - 1)
    return losses[real].mean()


def loss_by_cross_entropy(logits: Tensor, ids: Tensor, mask: Tensor, N: int) -> Tensor:
    targets = torch.where(mask, ids, -100)[:, 1:]
    return F.cross_entropy(logits[:, N:-1].flatten(0, 1), targets.flatten())


def loss_by_loops(logits: Tensor, ids: Tensor, mask: Tensor, N: int) -> Tensor:
    losses = []
    for b in range(len(ids)):
        for t in range(1, ids.size(1)):
            if mask[b, t]:
                z = logits[b, N + t - 1]
                losses.append(z.logsumexp(0) - z[ids[b, t]])
    return sum(losses) / len(losses)


def losses_at(logits: Tensor, ids: Tensor) -> Tensor:
    """-log p of each id, at its own position."""
    return -logits.log_softmax(dim=-1).gather(2, ids[..., None])[..., 0]


def with_lengths(lengths: list[int], N: int, V: int, seed: int = 0, T: int = 0) -> dict:
    """Random logits and captions of these lengths."""
    T = T or max(lengths)
    return {
        "logits": 2 * random(len(lengths), N + T, V, seed=seed),
        "ids": words(len(lengths), T, V=V, seed=seed + 1),
        "attention_mask": torch.arange(T) < torch.tensor(lengths)[:, None],
        "n_patches": N,
    }


def more_captions(seed: int) -> list[Case]:
    draw = Random(seed)
    return [
        Case(f"{B} captions", **with_lengths([draw.randint(2, 7) for _ in range(B)], N, 6, seed % 1000 + B))
        for B, N in ((2, 3), (3, 1), (4, 5))
    ]


caption_loss = Exercise(
    name="caption_loss",
    asks="Compute the mean loss of captions that follow images.",
    reference=loss_of_captions,
    section="24.5",
    gradients=True,
    cases=[
        Case(
            "two patches, two predictions",
            logits=tensor([[[9, 0], [0, 9], [0, 0], [2, 0]] + [[0, 7]]]),
            ids=torch.tensor([[0, 1, 0]]),
            attention_mask=torch.tensor([[True, True, True]]),
            n_patches=2,
        ),
        Case("one caption, no padding", **with_lengths([4], 3, 5, seed=1)),
        Case("padding", **with_lengths([3], 2, 5, seed=2, T=5)),
        Case("two captions of different lengths", **with_lengths([5, 2], 2, 5, seed=3)),
        Case("only the token that begins it", **with_lengths([4, 1], 2, 5, seed=4)),
        Case("no patches", **with_lengths([3, 4], 0, 4, seed=5)),
        Case("one patch", **with_lengths([2, 2], 1, 4, seed=6)),
        Case("three captions, many patches", **with_lengths([6, 3, 5], 9, 7, seed=7)),
        Case(
            "large logits",
            **{
                **with_lengths([3, 2], 1, 3, seed=8),
                "logits": tensor([[[0, 0, 0], [1000, 0, -1000], [0, 1000, 990], [0, 0, 0]]] * 2),
            },
        ),
        Case("float64", **{**with_lengths([3, 2], 2, 4, seed=9), "logits": random(2, 5, 4, seed=9).double()}),
        Case(
            "a view of a larger tensor",
            **{**with_lengths([4, 3], 2, 5, seed=10), "logits": random(6, 5, 2, seed=10).permute(2, 0, 1)},
        ),
    ],
    random_cases=more_captions,
    misconceptions=[
        Misconception(
            "not shifted",
            lambda z, ids, m, N: losses_at(z[:, N:], ids)[m].mean(),
            "You compared each position with its own token. The logits of a GPT are for the next token; its own it has "
            "read.",
            "The first prediction is that of ids[:, 1].",
            "24.5",
            variants=(lambda z, ids, m, N: losses_at(z[:, N + 1 :], ids[:, 1:])[m[:, 1:]].mean(),),
        ),
        Misconception(
            "the first token is predicted by the last patch",
            lambda z, ids, m, N: losses_at(z[:, max(N - 1, 0) : -1], ids[:, 0 if N else 1 :])[
                m[:, 0 if N else 1 :]
            ].mean(),
            "You also count the token that begins every caption. It is always the same, so there is nothing to learn, "
            "and it makes the mean smaller.",
            "How many predictions has a caption of T tokens?",
            "24.5",
        ),
        Misconception(
            "read from the beginning of the sequence",
            lambda z, ids, m, N: losses_at(z[:, : ids.size(1) - 1], ids[:, 1:])[m[:, 1:]].mean(),
            "You took the logits of the first positions. Those are the patches.",
            "At which position of the logits is the first token of the caption?",
            "24.5",
        ),
        Misconception(
            "padding counts",
            lambda z, ids, m, N: losses_at(z[:, N:-1], ids[:, 1:]).mean(),
            "You counted the padding as tokens to predict.",
            "A prediction counts if its *target* is real.",
            "24.5",
        ),
        Misconception(
            "the mask of the inputs",
            lambda z, ids, m, N: losses_at(z[:, N:-1], ids[:, 1:])[m[:, :-1]].mean(),
            "You kept the predictions *from* real tokens. The last real token then has to predict padding.",
            "A prediction counts if its *target* is real.",
            "24.5",
        ),
        Misconception(
            "a mean of means",
            lambda z, ids, m, N: torch.stack(
                [
                    row[own].mean()
                    for row, own in zip(losses_at(z[:, N:-1], ids[:, 1:]), m[:, 1:], strict=True)
                    if own.any()
                ]
            ).mean(),
            "You averaged within each caption first, so that a token of a short caption weighs more.",
            "All tokens of all captions in one mean.",
            "24.5",
        ),
        Misconception(
            "divided by all positions",
            lambda z, ids, m, N: losses_at(z[:, N:-1], ids[:, 1:])[m[:, 1:]].sum() / (m.sum() + N * len(ids)),
            "You divided by the number of all positions, patches included. They have no loss.",
            "Divide by the number of predictions.",
            "24.5",
        ),
        Misconception(
            "the sum",
            lambda z, ids, m, N: losses_at(z[:, N:-1], ids[:, 1:])[m[:, 1:]].sum(),
            "You did not divide, so a larger batch has a larger loss.",
            "mean, not sum.",
            "24.5",
        ),
        Misconception(
            "the logarithm of a sum of exponentials, unprotected",
            lambda z, ids, m, N: (z[:, N:-1].exp().sum(-1).log() - z[:, N:-1].gather(2, ids[:, 1:, None])[..., 0])[
                m[:, 1:]
            ].mean(),
            "A number is too large or too small here: e to the power of 1,000 is infinite, and a probability may be "
            "rounded to 0, which has no logarithm. Compute log p directly from the logits.",
            "logits.log_softmax(dim=-1)",
            "24.5",
            variants=(
                lambda z, ids, m, N: -z[:, N:-1].softmax(-1).gather(2, ids[:, 1:, None])[..., 0].log()[m[:, 1:]].mean(),
            ),
        ),
    ],
    accepted={"cross-entropy": loss_by_cross_entropy, "loops": loss_by_loops},
    hints=[
        "Write down the positions of a small case: N = 2 patches, then begin, a, end. Which of them predict something "
        "that counts?",
        "Position N + t predicts ids[:, t + 1]. So take the logits from N to the last but one, and the ids from 1.",
        "losses = -logits[:, N:-1].log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0], then the mean over "
        "attention_mask[:, 1:].",
    ],
)


# 3. mask_tokens


def masked(ids: Tensor, special: Tensor, u: float, keys: Tensor, mask_id: int) -> tuple[Tensor, Tensor]:
    candidates = (~special).nonzero()[:, 0]  # (L,)
    k = int(u * len(candidates)) + 1
    chosen = candidates[keys[candidates].argsort()[:k]]
    noised, targets = ids.clone(), torch.full_like(ids, -100)
    noised[chosen], targets[chosen] = mask_id, ids[chosen]
    return noised, targets


def masked_by_ranks(ids: Tensor, special: Tensor, u: float, keys: Tensor, mask_id: int) -> tuple[Tensor, Tensor]:
    rank = (keys[None, :] < keys[:, None]).logical_and(~special[None, :]).sum(dim=1)  # ordinary tokens before this one
    chosen = ~special & (rank <= math.floor(u * int((~special).sum())))
    return ids.masked_fill(chosen, mask_id), ids.masked_fill(~chosen, -100)


def masked_by_sorting(ids: Tensor, special: Tensor, u: float, keys: Tensor, mask_id: int) -> tuple[Tensor, Tensor]:
    ordinary = [t for t in range(len(ids)) if not special[t]]
    chosen = sorted(ordinary, key=lambda t: keys[t].item())[: math.floor(u * len(ordinary)) + 1]
    noised = [mask_id if t in chosen else id for t, id in enumerate(ids.tolist())]
    targets = [id if t in chosen else -100 for t, id in enumerate(ids.tolist())]
    return torch.tensor(noised, dtype=ids.dtype), torch.tensor(targets, dtype=ids.dtype)


def mask_k(ids: Tensor, special: Tensor, k: int, keys: Tensor, mask_id: int) -> tuple[Tensor, Tensor]:
    """Mask the k ordinary tokens with the smallest keys."""
    order = keys.masked_fill(special, torch.inf).argsort()[: min(k, int((~special).sum()))]
    noised, targets = ids.clone(), torch.full_like(ids, -100)
    noised[order], targets[order] = mask_id, ids[order]
    return noised, targets


def n_ordinary(special: Tensor) -> int:
    return int((~special).sum())


def a_text(T: int, u: float, seed: int = 0) -> dict:
    """A random text between two special tokens, with random keys."""
    special = torch.zeros(T, dtype=torch.bool)
    special[[0, -1]] = True
    return {
        "ids": words(T, V=50, seed=seed) + 4,
        "special": special,
        "u": u,
        "keys": random(T, seed=seed),
        "mask_id": 3,
    }


def more_texts(seed: int) -> list[Case]:
    draw = Random(seed)
    return [Case(f"{T} tokens", **a_text(T, draw.randrange(64) / 64, seed % 1000 + T)) for T in (7, 12, 20)]


mask_tokens = Exercise(
    name="mask_tokens",
    asks="Mask ⌊u · L⌋ + 1 of the L ordinary tokens: those with the smallest keys.",
    reference=masked,
    section="24.7",
    cases=[
        Case(
            "one of two",
            ids=torch.tensor([7, 8, 9]),
            special=torch.tensor([True, False, False]),
            u=0.4,
            keys=tensor([0.1, 0.9, 0.5]),
            mask_id=3,
        ),
        Case(
            "two of four",
            ids=torch.tensor([5, 6, 7, 8]),
            special=torch.zeros(4, dtype=torch.bool),
            u=0.25,
            keys=tensor([0.4, 0.1, 0.3, 0.2]),
            mask_id=0,
        ),
        Case(
            "all of them",
            ids=torch.tensor([5, 6, 7]),
            special=torch.zeros(3, dtype=torch.bool),
            u=0.99,
            keys=tensor([0.4, 0.1, 0.3]),
            mask_id=1,
        ),
        Case("u is 0", **a_text(6, 0.0, seed=1)),
        Case("six between two", **a_text(8, 0.5, seed=2)),
        Case(
            "special tokens in the middle",
            ids=torch.tensor([9, 2, 8, 2, 7]),
            special=torch.tensor([False, True, False, True, False]),
            u=0.5,
            keys=tensor([0.7, 0.1, 0.2, -0.3, 0.9]),
            mask_id=3,
        ),
        Case(
            "only special tokens",
            ids=torch.tensor([1, 2]),
            special=torch.tensor([True, True]),
            u=0.5,
            keys=tensor([0.3, 0.2]),
            mask_id=3,
        ),
        Case("one token", ids=torch.tensor([6]), special=torch.tensor([False]), u=0.7, keys=tensor([0.3]), mask_id=2),
        Case(
            "the same token twice",
            ids=torch.tensor([6, 6, 5]),
            special=torch.zeros(3, dtype=torch.bool),
            u=0.1,
            keys=tensor([0.9, 0.3, 0.5]),
            mask_id=2,
        ),
        Case(
            "[MASK] is in the text already",
            ids=torch.tensor([3, 6, 3]),
            special=torch.tensor([True, False, True]),
            u=0.2,
            keys=tensor([0.1, 0.2, 0.3]),
            mask_id=3,
        ),
        Case(
            "every other position of a tensor",
            ids=words(12, V=9, seed=3)[::2],
            special=torch.zeros(6).bool(),
            u=0.375,
            keys=random(12, seed=3)[::2],
            mask_id=8,
        ),
        Case("int32", **{**a_text(6, 0.25, seed=4), "ids": words(6, V=9, seed=4).int()}),
        Case("u just below 1", **a_text(9, 0.999, seed=5)),
    ],  # fmt: skip
    random_cases=more_texts,
    misconceptions=[
        Misconception(
            "special tokens are masked, too",
            lambda ids, s, u, keys, m: mask_k(ids, torch.zeros_like(s), int(u * len(ids)) + 1, keys, m),
            "You treated special tokens like words. Predicting them teaches nothing.",
            "Choose among the positions where special is False.",
            "24.7",
        ),
        Misconception(
            "L counts special tokens",
            lambda ids, s, u, keys, m: mask_k(ids, s, int(u * len(ids)) + 1, keys, m),
            "Your L is the length of the whole input. It is the number of tokens that can be masked.",
            "L = (~special).sum()",
            "24.7",
        ),
        Misconception(
            "one too few",
            lambda ids, s, u, keys, m: mask_k(ids, s, int(u * n_ordinary(s)), keys, m),
            "You masked ⌊u · L⌋ tokens: from 0 to L - 1. With none, there is nothing to learn, and a text with all of "
            "them masked never occurs, which is where the sampler begins.",
            "k is in 1 … L.",
            "24.7",
        ),
        Misconception(
            "rounded",
            lambda ids, s, u, keys, m: mask_k(ids, s, round(u * n_ordinary(s)), keys, m),
            "You rounded u · L. Then 0 and L are half as probable as the other numbers.",
            "⌊u · L⌋ + 1: each number from 1 to L belongs to an interval of the same length.",
            "24.7",
            variants=(lambda ids, s, u, keys, m: mask_k(ids, s, max(1, round(u * n_ordinary(s))), keys, m),),
        ),
        Misconception(
            "each token by itself",
            lambda ids, s, u, keys, m: (
                ids.masked_fill((keys <= u) & ~s, m),
                ids.masked_fill(~((keys <= u) & ~s), -100),
            ),
            "You masked every token whose key is below u. That is a probability for each token, and so the number of "
            "masked tokens varies; the task fixes the number.",
            "Sort the keys and take the first k.",
            "24.7",
        ),
        Misconception(
            "the largest keys",
            lambda ids, s, u, keys, m: mask_k(ids, s, int(u * n_ordinary(s)) + 1, -keys, m),
            "You took the tokens with the largest keys.",
            "The smallest keys come first.",
            "24.7",
        ),
        Misconception(
            "15 % are masked",
            lambda ids, s, u, keys, m: mask_k(ids, s, max(1, int(0.15 * n_ordinary(s) + 0.5)), keys, m),
            "You masked 15 %, as BERT does. A model that has only seen that cannot begin with an empty page.",
            "The number of masked tokens depends on u.",
            "24.7",
        ),
        Misconception(
            "targets everywhere",
            lambda ids, s, u, keys, m: (mask_k(ids, s, int(u * n_ordinary(s)) + 1, keys, m)[0], ids.clone()),
            "You gave targets at all positions. Where the token can be seen, its prediction is no achievement.",
            "-100 wherever nothing was masked.",
            "24.7",
        ),
        Misconception(
            "targets are masked",
            lambda ids, s, u, keys, m: (
                mask_k(ids, s, int(u * n_ordinary(s)) + 1, keys, m)[0],
                torch.where(mask_k(ids, s, int(u * n_ordinary(s)) + 1, keys, m)[1] == -100, -100, m).to(ids.dtype),
            ),
            "Your targets are [MASK]. The model should predict what was there before.",
            "Keep the original ids before you overwrite them.",
            "24.7",
        ),
    ],
    accepted={"ranks": masked_by_ranks, "sorting": masked_by_sorting},
    hints=[
        "First the positions that may be masked; then k; then the k of them with the smallest keys.",
        "candidates = (~special).nonzero()[:, 0], and keys[candidates].argsort()[:k] says which of them.",
        "Make a clone of ids and a tensor full of -100, and write at candidates[order[:k]]: mask_id into one, the "
        "original ids into the other.",
    ],
)


# 4. text_bound


def bound(logits: Tensor, targets: Tensor, n_tokens: Tensor) -> Tensor:
    real = targets != -100
    losses = -logits.log_softmax(dim=-1).gather(2, targets.clamp(min=0)[..., None])[..., 0]  # (B, T)
    return torch.where(real, losses, 0.0).sum(dim=1) * n_tokens / real.sum(dim=1)


def bound_by_cross_entropy(logits: Tensor, targets: Tensor, n_tokens: Tensor) -> Tensor:
    losses = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")  # (B, T), 0 where there is no target
    return losses.sum(dim=1) / (targets >= 0).sum(dim=1) * n_tokens


def bound_by_loops(logits: Tensor, targets: Tensor, n_tokens: Tensor) -> Tensor:
    results = []
    for z, target, n in zip(logits, targets.tolist(), n_tokens.tolist(), strict=True):
        losses = [z[t].logsumexp(0) - z[t, id] for t, id in enumerate(target) if id != -100]
        results.append(n * sum(losses) / len(losses))
    return torch.stack(results)


def masked_losses(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The losses (B, T), 0 where there is no target, and where there is one."""
    real = targets != -100
    losses = -logits.log_softmax(dim=-1).gather(2, targets.clamp(min=0)[..., None])[..., 0]
    return torch.where(real, losses, 0.0), real


def some_masked(B: int, T: int, V: int, seed: int = 0) -> dict:
    """Random logits; text i has i + 1 targets, at random places (at most T)."""
    places = random(B, T, seed=seed + 1).argsort(dim=1) <= torch.arange(B)[:, None]
    return {
        "logits": 2 * random(B, T, V, seed=seed),
        "targets": words(B, T, V=V, seed=seed).masked_fill(~places, -100),
        "n_tokens": (places.sum(dim=1) + torch.arange(B).flip(0)).clamp(max=T),
    }


def more_bounds(seed: int) -> list[Case]:
    draw = Random(seed)
    return [Case(f"{B} texts", **some_masked(B, T, draw.randint(3, 9), seed % 1000 + B)) for B, T in ((2, 6), (4, 7))]


text_bound = Exercise(
    name="text_bound",
    asks="Compute L / k times the sum of the losses of the k masked tokens, for each text.",
    reference=bound,
    section="24.7",
    gradients=True,
    cases=[
        Case(
            "two of six, probability ½",
            logits=torch.zeros(1, 6, 2),
            targets=torch.tensor([[-100, 0, -100, -100, 1, -100]]),
            n_tokens=torch.tensor([6]),
        ),
        Case(
            "one of three",
            logits=tensor([[[9, 0], [1, 0], [0, 9]]]),
            targets=torch.tensor([[-100, 0, -100]]),
            n_tokens=torch.tensor([3]),
        ),
        Case(
            "all masked",
            logits=2 * random(1, 3, 4, seed=1),
            targets=words(1, 3, V=4, seed=1),
            n_tokens=torch.tensor([3]),
        ),
        Case(
            "special tokens around the text",
            logits=2 * random(1, 5, 4, seed=2),
            targets=torch.tensor([[-100, 2, -100, 1, -100]]),
            n_tokens=torch.tensor([3]),
        ),
        Case("two texts", **some_masked(2, 4, 3, seed=3)),
        Case("three texts", **some_masked(3, 6, 5, seed=4)),
        Case(
            "token 0 is a target",
            logits=2 * random(1, 4, 3, seed=5),
            targets=torch.tensor([[0, -100, 0, 2]]),
            n_tokens=torch.tensor([4]),
        ),
        Case(
            "large logits",
            logits=tensor([[[1000, 0, -1000], [800, 1000, 0], [5, 5, 5]]]),
            targets=torch.tensor([[0, 0, -100]]),
            n_tokens=torch.tensor([3]),
        ),
        Case("float64", **{**some_masked(2, 5, 4, seed=6), "logits": random(2, 5, 4, seed=6).double()}),
        Case(
            "a view of a larger tensor",
            **{**some_masked(3, 5, 4, seed=7), "logits": random(4, 5, 6, seed=7).permute(2, 1, 0)[::2]},
        ),
    ],  # fmt: skip
    random_cases=more_bounds,
    misconceptions=[
        Misconception(
            "the mean over the masked tokens",
            lambda z, t, n: masked_losses(z, t)[0].sum(1) / masked_losses(z, t)[1].sum(1),
            "You forgot the factor L. The bound is for the whole text, in nats per text.",
            "The mean over the k masked tokens, times the L tokens of the text.",
            "24.7",
        ),
        Misconception(
            "the sum over the masked tokens",
            lambda z, t, n: masked_losses(z, t)[0].sum(1),
            "You forgot the weight L / k. Then a text with one masked token hardly counts, although it stands for a "
            "whole step of the writing.",
            "One of L steps has been drawn. By what must it be multiplied to stand for all of them?",
            "24.7",
        ),
        Misconception(
            "k / L",
            lambda z, t, n: masked_losses(z, t)[0].sum(1) * masked_losses(z, t)[1].sum(1) / n,
            "You turned the weight over. With few masked tokens, their sum is small and must be made larger.",
            "Of L = 6 tokens, 2 are masked: what is the weight?",
            "24.7",
        ),
        Misconception(
            "L counts all positions",
            lambda z, t, n: masked_losses(z, t)[0].sum(1) / masked_losses(z, t)[1].sum(1) * t.size(1),
            "You took the number of positions T for L. Special tokens and padding cannot be masked, and do not count.",
            "L is given: n_tokens.",
            "24.7",
        ),
        Misconception(
            "k of the whole batch",
            lambda z, t, n: masked_losses(z, t)[0].sum(1) * n / masked_losses(z, t)[1].sum(),
            "You divided by the number of masked tokens of all texts. Each text has its own k.",
            "sum(dim=1)",
            "24.7",
        ),
        Misconception(
            "one number for the batch",
            lambda z, t, n: (masked_losses(z, t)[0].sum(1) * n / masked_losses(z, t)[1].sum(1)).mean(),
            "You averaged over the texts. The task wants one number for each.",
            "(B,)",
            "24.7",
        ),
        Misconception(
            "visible tokens count",
            lambda z, t, n: (
                -z.log_softmax(-1).gather(2, t.clamp(min=0)[..., None])[..., 0].sum(1)
                * n
                / masked_losses(z, t)[1].sum(1)
            ),
            "You added a loss at the positions without a target, as if it were token 0.",
            "-100 means: nothing to predict here.",
            "24.7",
        ),
        Misconception(
            "shifted",
            lambda z, t, n: masked_losses(z[:, :-1], t[:, 1:])[0].sum(1) * n / masked_losses(z, t)[1].sum(1),
            "You shifted the targets by one, as for a GPT. A masked model predicts the token at its own position.",
            "Nothing is shifted.",
            "24.7",
        ),
        Misconception(
            "the logarithm of a sum of exponentials, unprotected",
            lambda z, t, n: (
                torch.where(t != -100, z.exp().sum(-1).log() - z.gather(2, t.clamp(min=0)[..., None])[..., 0], 0.0).sum(
                    1
                )
                * n
                / (t != -100).sum(1)
            ),
            "A number is too large or too small here: e to the power of 1,000 is infinite, and a probability may be "
            "rounded to 0, which has no logarithm. Compute log p directly from the logits.",
            "logits.log_softmax(dim=-1)",
            "24.7",
            variants=(
                lambda z, t, n: (
                    torch.where(t != -100, -z.softmax(-1).gather(2, t.clamp(min=0)[..., None])[..., 0].log(), 0.0).sum(
                        1
                    )
                    * n
                    / (t != -100).sum(1)
                ),
            ),
        ),
    ],
    accepted={"cross-entropy": bound_by_cross_entropy, "loops": bound_by_loops},
    hints=[
        "-log p at every position, 0 where there is no target, summed over each row. Then the weight.",
        "gather does not accept -100; clamp the targets first, and remove these positions afterwards.",
        "torch.where(targets != -100, losses, 0).sum(1) * n_tokens / (targets != -100).sum(1)",
    ],
)


# 5. unmasking_step


def confident_step(ids: Tensor, logits: Tensor, mask_id: int, n: int) -> Tensor:
    logits = logits.clone()
    logits[:, mask_id] = -torch.inf
    confidence, token = logits.softmax(dim=-1).max(dim=-1)  # (T,) each
    confidence = torch.where(ids == mask_id, confidence, -1.0)
    chosen = confidence.argsort(descending=True, stable=True)[: min(n, int((ids == mask_id).sum()))]
    new = ids.clone()
    new[chosen] = token[chosen].to(ids.dtype)
    return new


def confident_step_by_loops(ids: Tensor, logits: Tensor, mask_id: int, n: int) -> Tensor:
    options = []
    for t in range(len(ids)):
        if ids[t] == mask_id:
            odds = [0.0 if v == mask_id else math.exp(x - max_but(logits[t], mask_id)) for v, x in
                     enumerate(logits[t].tolist())]  # fmt: skip
            options.append((-max(odds) / sum(odds), t, odds.index(max(odds))))
    new = ids.clone()
    for _, t, token in sorted(options)[:n]:
        new[t] = token
    return new


def max_but(row: Tensor, mask_id: int) -> float:
    return max(x for v, x in enumerate(row.tolist()) if v != mask_id)


def confident_step_by_positions(ids: Tensor, logits: Tensor, mask_id: int, n: int) -> Tensor:
    places = (ids == mask_id).nonzero()[:, 0]
    own = logits[places].index_fill(1, torch.tensor([mask_id]), -torch.inf).log_softmax(dim=1)
    order = own.amax(dim=1).argsort(descending=True, stable=True)[:n]
    return ids.index_put((places[order],), own.argmax(dim=1)[order].to(ids.dtype))


def step_by(score, ids: Tensor, logits: Tensor, mask_id: int, n: int, exclude: bool = True) -> Tensor:
    """Fill the n masked positions with the largest score."""
    z = logits.index_fill(1, torch.tensor([mask_id]), -torch.inf) if exclude else logits
    values = torch.where(ids == mask_id, score(z, logits), -torch.inf)
    chosen = values.argsort(descending=True, stable=True)[: min(n, int((ids == mask_id).sum()))]
    new = ids.clone()
    new[chosen] = z.argmax(dim=-1)[chosen].to(ids.dtype)
    return new


def probs(rows: list) -> Tensor:
    """Logits with these probabilities."""
    return tensor(rows).log()


def a_state(T: int, V: int, mask_id: int, n: int, seed: int = 0) -> dict:
    """A half-masked text with random logits."""
    ids = words(T, V=V, seed=seed)
    ids[random(T, seed=seed) > 0] = mask_id
    return {"ids": ids, "logits": 2 * random(T, V, seed=seed + 1), "mask_id": mask_id, "n": n}


def more_states(seed: int) -> list[Case]:
    draw = Random(seed)
    return [
        Case(f"{T} positions", **a_state(T, V, draw.randrange(V), draw.randint(1, 3), seed % 1000 + T))
        for T, V in ((6, 4), (10, 6), (15, 5))
    ]


unmasking_step = Exercise(
    name="unmasking_step",
    asks="Fill in the n masked positions about which the model is most certain.",
    reference=confident_step,
    section="24.9",
    cases=[
        Case(
            "one of two",
            ids=torch.tensor([0, 2, 0]),
            logits=probs([[0.01, 0.4, 0.6], [0.01, 0.9, 0.1], [0.01, 0.9, 0.1]]),
            mask_id=0,
            n=1,
        ),
        Case(
            "the most certain position is not masked",
            ids=torch.tensor([1, 0, 0]),
            logits=probs([[0.01, 0.01, 0.98], [0.1, 0.5, 0.4], [0.1, 0.2, 0.7]]),
            mask_id=0,
            n=1,
        ),
        Case(
            "[MASK] is the most probable",
            ids=torch.tensor([2, 2]),
            logits=probs([[0.08, 0.02, 0.9], [0.3, 0.4, 0.3]]),
            mask_id=2,
            n=1,
        ),
        Case(
            "equal confidences",
            ids=torch.tensor([0, 0, 0]),
            logits=tensor([[0, 0, 2], [0, 2, 0], [0, 0, 2]]),
            mask_id=0,
            n=2,
        ),
        Case(
            "large logits are not confidence",
            ids=torch.tensor([3, 3]),
            logits=tensor([[9, 9, 9, 0], [0, 3, 0, 0]]),
            mask_id=3,
            n=1,
        ),
        Case(
            "one rival, or many small ones",
            ids=torch.tensor([7, 7]),
            logits=probs([[0.5, 0.44] + [0.01] * 6, [0.52] + [0.08] * 7]),
            mask_id=7,
            n=1,
        ),
        Case("nothing to do", **a_state(5, 4, 1, 0, seed=1)),
        Case("more than there are", **a_state(5, 4, 2, 9, seed=2)),
        Case("no masks", ids=torch.tensor([1, 2, 1]), logits=random(3, 4, seed=3), mask_id=0, n=2),
        Case("all masked", ids=torch.full((6,), 3), logits=2 * random(6, 5, seed=4), mask_id=3, n=3),
        Case("ten positions", **a_state(10, 6, 5, 3, seed=5)),
        Case(
            "NaN at a position that is not masked",
            ids=torch.tensor([2, 0, 0]),
            logits=tensor([[math.nan] * 3, [0, 1, 0], [0, 0, 3]]),
            mask_id=0,
            n=1,
        ),
        Case(
            "large numbers", ids=torch.tensor([0, 0]), logits=tensor([[0, 1000, 999], [0, -500, -490]]), mask_id=0, n=1
        ),
        Case(
            "int32, every other position",
            ids=words(12, V=3, seed=6).int()[::2],
            logits=random(12, 3, seed=6)[::2],
            mask_id=1,
            n=2,
        ),
        Case("one position", ids=torch.tensor([4]), logits=random(1, 5, seed=7), mask_id=4, n=1),
    ],  # fmt: skip
    random_cases=more_states,
    misconceptions=[
        Misconception(
            "visible tokens are overwritten",
            lambda ids, z, m, n: confident_step(torch.full_like(ids, m), z, m, n).where(
                confident_step(torch.full_like(ids, m), z, m, n) != m, ids
            ),
            "You chose among all positions. A token that is written stays.",
            "Only positions where ids == mask_id are candidates.",
            "24.9",
        ),
        Misconception(
            "[MASK] is not excluded",
            lambda ids, z, m, n: step_by(lambda _, raw: raw.softmax(-1).amax(-1), ids, z, m, n, exclude=False),
            "Your model may write [MASK]. Then the step has written nothing.",
            "Set the logit of mask_id to -inf before the softmax.",
            "24.9",
        ),
        Misconception(
            "confidence with [MASK] included",
            lambda ids, z, m, n: step_by(
                lambda x, raw: raw.softmax(-1).index_fill(1, torch.tensor([m]), 0.0).amax(-1), ids, z, m, n
            ),
            "You removed [MASK] after the softmax, so that the other probabilities do not sum to 1.",
            "Exclude first, then normalize.",
            "24.9",
        ),
        Misconception(
            "the largest logit",
            lambda ids, z, m, n: step_by(lambda x, raw: x.amax(-1), ids, z, m, n),
            "You compared logits of different positions. Only their differences within one position mean something.",
            "The confidence is a probability.",
            "24.9",
        ),
        Misconception(
            "the least certain first",
            lambda ids, z, m, n: step_by(lambda x, raw: -x.softmax(-1).amax(-1), ids, z, m, n),
            "You filled in the positions of which the model knows least.",
            "descending=True",
            "24.9",
        ),
        Misconception(
            "from left to right",
            lambda ids, z, m, n: step_by(lambda x, raw: -torch.arange(len(ids)).float(), ids, z, m, n),
            "You filled in the leftmost masks, as a GPT would.",
            "The order is that of confidence.",
            "24.9",
        ),
        Misconception(
            "everything at once",
            lambda ids, z, m, n: step_by(lambda x, raw: x.amax(-1), ids, z, m, len(ids)),
            "You filled in all masks. Then the tokens do not see each other.",
            "Only n of them.",
            "24.9",
        ),
        Misconception(
            "the rightmost of equal ones",
            lambda ids, z, m, n: step_by(lambda x, raw: x.softmax(-1).amax(-1), ids.flip(0), z.flip(0), m, n).flip(0),
            "Of equal confidences you took the last one.",
            "argsort(stable=True) keeps the order of equal numbers.",
            "24.9",
        ),
    ],
    accepted={"loops": confident_step_by_loops, "only the masked positions": confident_step_by_positions},
    hints=[
        "Exclude [MASK], then softmax, then max over the vocabulary: that gives a confidence and a token for each "
        "position.",
        "Make the confidence of all positions that are not masked smaller than any probability, and sort.",
        "chosen = confidence.argsort(descending=True, stable=True)[:min(n, number of masks)]; new = ids.clone(); "
        "new[chosen] = token[chosen]",
    ],
)


# 6. valid_fraction


def fraction(L: int, S: int, languages: list[float]) -> float:
    k = L - L * (S - 1) // S  # tokens that the first step writes
    return sum(q**k for q in languages)


def fraction_by_schedule(L: int, S: int, languages: list[float]) -> float:
    left = [L * (S - s) // S for s in range(S + 1)]
    first = next(a - b for a, b in zip(left, left[1:], strict=False) if a > b)
    return math.fsum(math.exp(first * math.log(q)) for q in languages)


def fraction_by_chain(L: int, S: int, languages: list[float]) -> float:
    """Follow the states: nothing written yet, or all so far in one language."""
    nothing, valid = 1.0, 0.0
    for s in range(1, S + 1):
        k = L * (S - s + 1) // S - L * (S - s) // S
        if k:
            nothing, valid = 0.0, valid + nothing * sum(q**k for q in languages)
    return valid


def more_worlds(seed: int) -> list[Case]:
    draw = Random(seed)
    return [
        Case(
            "another world",
            n_tokens=draw.randint(5, 12),
            n_steps=S,
            languages=draw.choice([[0.5, 0.25, 0.25], [0.625, 0.375], [0.25] * 4]),
        )
        for S in (2, 3, draw.randint(4, 6))
    ]


valid_fraction = Exercise(
    name="valid_fraction",
    asks="Compute how often a perfect model that writes in S steps stays in one language.",
    reference=fraction,
    section="24.8",
    cases=[
        Case("four tokens, two steps, two languages", n_tokens=4, n_steps=2, languages=[0.5, 0.5]),
        Case("one step", n_tokens=3, n_steps=1, languages=[0.5, 0.5]),
        Case("one token at a time", n_tokens=4, n_steps=4, languages=[0.5, 0.5]),
        Case("languages of different probability", n_tokens=4, n_steps=2, languages=[0.75, 0.25]),
        Case("five tokens, two steps", n_tokens=5, n_steps=2, languages=[0.5, 0.5]),
        Case("four languages", n_tokens=8, n_steps=3, languages=[0.25] * 4),
        Case("more steps than tokens", n_tokens=3, n_steps=7, languages=[0.5, 0.25, 0.25]),
        Case("one language", n_tokens=6, n_steps=1, languages=[1.0]),
        Case("one token", n_tokens=1, n_steps=1, languages=[0.5, 0.5]),
        Case("a long text", n_tokens=100, n_steps=50, languages=[0.9, 0.1]),
        Case("a long text, steps of unequal size", n_tokens=100, n_steps=30, languages=[0.9, 0.1]),
    ],
    random_cases=more_worlds,
    misconceptions=[
        Misconception(
            "one language is fixed in advance",
            lambda L, S, q: max(q) ** (L - L * (S - 1) // S),
            "You computed the probability that all tokens are in one particular language. Any language will do.",
            "Sum over the languages.",
            "24.8",
        ),
        Misconception(
            "rounded down",
            lambda L, S, q: sum(p ** max(L // S, 1) for p in q),
            "You took ⌊L / S⌋ for the size of the first step. By the rule of the task, ⌊L (S - 1) / S⌋ tokens are left "
            "after it, and the first step writes all others.",
            "With 5 tokens and 2 steps, 2 are left after the first step.",
            "24.8",
        ),
        Misconception(
            "every step is a new risk",
            lambda L, S, q: math.prod(
                sum(p**k for p in q) if (k := L * (S - s + 1) // S - L * (S - s) // S) else 1.0 for s in range(1, S + 1)
            ),
            "You multiplied over the steps. After the first one the language is known, and nothing can go wrong.",
            "What does a perfect model predict once it sees one word?",
            "24.8",
        ),
        Misconception(
            "always one step",
            lambda L, S, q: sum(p**L for p in q),
            "You ignored the number of steps.",
            "How many tokens are written without seeing any other?",
            "24.8",
        ),
        Misconception(
            "always right",
            lambda L, S, q: 1.0,
            "You assumed that the model knows the language in the first step. Nothing is written yet from which it "
            "could know.",
            "In the first step each token has its own draw.",
            "24.8",
        ),
        Misconception(
            "as if all languages were equally probable",
            lambda L, S, q: len(q) ** (1.0 - (L - L * (S - 1) // S)),
            "Your formula is for equally probable languages.",
            "Two tokens are both in language l with probability q_l².",
            "24.8",
        ),
        Misconception(
            "the first token counts, too",
            lambda L, S, q: sum(p ** (1 + L - L * (S - 1) // S) for p in q),
            "Your exponent is one too large. With k tokens in the first step, the probability of language l for all of "
            "them is q_l to the power of k.",
            "One token in the first step: the result must be 1.",
            "24.8",
        ),
    ],
    accepted={"the whole schedule": fraction_by_schedule, "a chain of states": fraction_by_chain},
    hints=[
        "Something can go wrong only among tokens that do not see any other token. Which are they?",
        "The first step writes k = L - ⌊L (S - 1) / S⌋ tokens. All are in language l with probability q_lᵏ.",
        "k = L - L * (S - 1) // S; the result is the sum of q ** k over the languages.",
    ],
)


# 7. impossible_in_one_step


def verdict(student) -> str:
    """Describe in one sentence what happens in the student's world."""
    p = student()
    if not torch.is_tensor(p) or p.dim() != 2 or p.size(0) != p.size(1) or not 2 <= len(p) <= 8:
        return "that is not a tensor (V, V) with V from 2 to 8"
    if not p.is_floating_point() or not p.isfinite().all():
        return "the numbers are not all finite floating-point numbers"
    p = p.double()
    if (p < 0).any():
        return "a probability is negative"
    if (p.sum() - 1).abs() > 1e-4:
        return "the probabilities do not sum to 1"
    if (p > 0).all():
        return "every text is possible"
    if (p > 0).sum() == 1:
        return "there is only one text"
    impossible = (p.sum(1)[:, None] * p.sum(0)[None, :])[p == 0].sum()
    if impossible >= 0.8 - 1e-6:
        return "fine"
    return "one text has most of the probability" if p.max() > 0.5 else "two draws give a possible text too often"


def world(rows: list):
    """A student's answer."""
    return lambda: tensor(rows)


def diagonal(V: int):
    """V texts "a a", all equally probable."""
    return lambda: torch.eye(V) / V


impossible_in_one_step = Exercise(
    name="impossible_in_one_step",
    asks="Build a world in which writing both tokens at once gives an impossible text in at least 80 % of all cases.",
    reference=diagonal(8),
    section="24.8",
    cases=[Case("your world", judge=verdict)],
    misconceptions=[
        Misconception(
            "independent tokens",
            lambda: torch.full((4, 4), 1 / 16),
            "In your world every pair is possible. If the tokens are independent, nothing is lost by writing both at "
            "once.",
            "Which pairs should be impossible?",
            "24.8",
            variants=(world([[0.25, 0.25], [0.25, 0.25]]), world([[0.01, 0.09], [0.09, 0.81]])),
        ),
        Misconception(
            "too few tokens",
            diagonal(2),
            "Each token says exactly what the other is, and that is right. But with few tokens, two independent draws "
            "agree too often by chance.",
            'With V equally probable texts "a a", how often do two draws agree?',
            "24.8",
            variants=(diagonal(3), diagonal(4)),
        ),
        Misconception(
            "only one text",
            world([[1, 0], [0, 0]]),
            "In your world there is only one text. Each token is certain, so it can be written in one step.",
            "The two tokens must be uncertain, each by itself.",
            "24.8",
            variants=(world([[0, 1], [0, 0]]),),
        ),
        Misconception(
            "the sum is not 1",
            lambda: torch.eye(8),
            "Your numbers do not sum to 1. All texts of the world together have probability 1.",
            "Divide by the sum.",
            "24.8",
            variants=(lambda: torch.full((8, 8), 1 / 8),),
        ),
        Misconception(
            "one token nearly decides it all",
            world([[0.9, 0, 0], [0, 0.05, 0], [0, 0, 0.05]]),
            "One text has most of the probability, so that two draws usually agree.",
            "Make the texts equally probable.",
            "24.8",
        ),
        Misconception(
            "negative probabilities",
            world([[0.75, -0.25], [-0.25, 0.75]]),
            "A probability cannot be negative.",
            "Zero is enough to make a text impossible.",
            "24.8",
        ),
        Misconception(
            "not square",
            lambda: torch.full((1, 8), 1 / 8),
            "p[a, b] needs a row for each first token and a column for each second one, V of both.",
            "(V, V), with V from 2 to 8.",
            "24.8",
            variants=(lambda: torch.full((8,), 1 / 8), lambda: torch.eye(10) / 10),
        ),
    ],
    accepted={
        "the next token of a circle": lambda: torch.eye(6).roll(1, dims=1) / 6,
        "pairs in reverse, float64": lambda: torch.eye(7, dtype=torch.float64).flip(0) / 7,
    },
    hints=[
        "One step loses what one token says about the other. How much can it say at most?",
        "Let the first token determine the second. Then one pair in each row is possible.",
        "torch.eye(V) / V is impossible with probability 1 - 1/V.",
    ],
)

EXERCISES = [
    to_patches,
    caption_loss,
    mask_tokens,
    text_bound,
    unmasking_step,
    valid_fraction,
    impossible_in_one_step,
    WrittenAnswer(
        "WHY_STEPS",
        "What does a masked model predict and what not, why does more training not help, and what can be written in "
        "one step?",
        50,
        ["Each position has a distribution of its own. What would be needed to sample two of them together?"],
        "24.8",
    ),
    WrittenAnswer(
        "EXPERIMENT",
        "What did you change, what did you predict, what came out, what do you make of it?",
        60,
        ["One change at a time. Where there is a formula, compute its prediction first."],
        "24.10",
    ),
]
