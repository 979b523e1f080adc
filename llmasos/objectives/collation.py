"""Framed texts of unequal length as a batch."""

from collections.abc import Sequence

from llmasos.datasets.padding import pad
from llmasos.objectives.objective import Batch
from llmasos.tokenizers.pair_template import Frame


def collate_inputs(frames: Sequence[Frame], pad_id: int) -> Batch:
    """What a reading model is given of B framed texts: `ids`, `real` and `segments`, all (B, T), padded on the right.

    >>> batch = collate_inputs([Frame([5, 6, 7], [0, 0, 1], 0, 2), Frame([8], [0], 0, 1)], pad_id=9)
    >>> batch["ids"].tolist(), batch["segments"].tolist()
    ([[5, 6, 7], [8, 9, 9]], [[0, 0, 1], [0, 0, 0]])
    """
    ids, real = pad([frame.ids for frame in frames], pad_id)
    segments, _ = pad([frame.segments for frame in frames], 0)
    return {"ids": ids, "real": real, "segments": segments}
