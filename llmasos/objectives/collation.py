"""Padding encoded texts to one batch."""

from collections.abc import Sequence

from llmasos.datasets.batching import pad
from llmasos.objectives.objective import Batch
from llmasos.tokenizers.pair_template import EncodedInput


def collate_inputs(inputs: Sequence[EncodedInput], pad_id: int) -> Batch:
    """Stack B encoded texts to `ids`, `attention_mask` and `segments`, all (B, T), padded on the right.

    >>> batch = collate_inputs([EncodedInput([5, 6, 7], [0, 0, 1], 0, 2), EncodedInput([8], [0], 0, 1)], pad_id=9)
    >>> batch["ids"].tolist(), batch["segments"].tolist()
    ([[5, 6, 7], [8, 9, 9]], [[0, 0, 1], [0, 0, 0]])
    """
    ids, attention_mask = pad([item.ids for item in inputs], pad_id)
    segments, _ = pad([item.segments for item in inputs], 0)
    return {"ids": ids, "attention_mask": attention_mask, "segments": segments}
