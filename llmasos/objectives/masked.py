"""Masked language modelling: hide some tokens of a text and predict them from both sides (Devlin et al. 2019, 3.1).

    the text         [CLS]  the   old    man   sat   by   the   sea   [SEP]
    chosen                        old                           sea
    the model sees   [CLS]  the  [MASK]  man   sat   by   the   car   [SEP]
    targets            -     -    old     -     -    -     -    sea     -

Of the tokens that are not special, 15 % are chosen. Of these, 80 % become [MASK], 10 % a token drawn at random, and
10 % stay as they are: [MASK] never occurs in the texts that the model is for later, so it shall also look closely
at places that show a word. All chosen tokens are predicted, whatever stands in their place.

Two mistakes are classical here. Who asks "u < 0.15?" to choose a token and then "u < 0.8?" of the *same* number u to
decide what becomes of it, always masks: every chosen token has u < 0.15. And who asks "u < 0.8?" and then, with a new
number, "u < 0.1?" replaces only 2 % at random. Here each chosen token has one fresh number, cut at 0.8 and 0.9.

Masks are drawn when a batch is made, from a source of randomness for each row. So each epoch hides other tokens, and
what is hidden in a row depends neither on the other rows nor on the number of processes.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.datasets.padding import pad
from llmasos.errors import UserError
from llmasos.models.bert import BERTOutput
from llmasos.objectives.causal import IGNORE_INDEX
from llmasos.objectives.collation import collate_inputs
from llmasos.objectives.objective import Batch
from llmasos.tokenizers.pair_template import EncodedInput
from llmasos.tokenizers.tokenizer import MASK, Tokenizer


class MaskedLM:
    """An example is a framed text or pair of texts; the loss is -log p(hidden token | what is left) in nats.

    Of n tokens that are not special, share · n are chosen, rounded to the nearest whole number (a half upwards), and at
    least one. With `whole_words` words are chosen, in random order, until the number of their tokens is as near to that
    as it gets; otherwise a word in three pieces could be guessed from the two that are left.

    Args:
        tokenizer: has a [MASK] among its special tokens.
        share: of the tokens to predict, above 0 and at most 1.
        whole_words: hide all tokens of a word together.

    Raises:
        UserError: there is no [MASK], or the share is out of range.
    """

    def __init__(self, tokenizer: Tokenizer, share: float = 0.15, whole_words: bool = False):
        if MASK not in tokenizer.special_tokens:
            raise UserError(
                f"masked language modelling needs a special token {MASK}, and this {tokenizer.kind} tokenizer has only "
                f"{', '.join(tokenizer.special_tokens)}: use a wordpiece tokenizer, or train one with {MASK}."
            )
        if not 0.0 < share <= 1.0:
            raise UserError(f"the share of masked tokens is {share}; it must be above 0 and at most 1 (usually 0.15).")
        self.share = share
        self.mask_id, self.pad_id = tokenizer.special_tokens[MASK], tokenizer.pad_id
        self.special = tokenizer.special_mask  # (V,) bool
        self.ordinary = np.flatnonzero(~self.special)  # what a random replacement is drawn from
        # Special tokens begin a word too, so no word reaches across them.
        self.begins_word = ~tokenizer.continues if whole_words else np.ones_like(self.special)

    def collate(self, examples: Sequence[EncodedInput], rngs: Sequence[Callable[[], np.random.Generator]]) -> Batch:
        """Hide tokens in each row: `ids` (with tokens hidden), `attention_mask`, `segments` and `targets`, all (B, T)."""
        rows = [self.hide(np.asarray(inputs.ids), rng()) for inputs, rng in zip(examples, rngs, strict=True)]
        ids, _ = pad([ids for ids, _ in rows], self.pad_id)
        targets, _ = pad([targets for _, targets in rows], IGNORE_INDEX)
        return {**collate_inputs(examples, self.pad_id), "ids": ids, "targets": targets}

    def hide(self, ids: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids (T,) with some of them hidden, and the targets (T,): what stood there, elsewhere IGNORE_INDEX."""
        chosen = self.choose(ids, rng)
        fate = rng.random(len(chosen))
        replacements = self.ordinary[(rng.random(len(chosen)) * len(self.ordinary)).astype(np.int64)]
        targets = np.full(len(ids), IGNORE_INDEX)
        targets[chosen] = ids[chosen]
        ids = ids.copy()
        ids[chosen] = np.where(fate < 0.8, self.mask_id, np.where(fate < 0.9, replacements, ids[chosen]))
        return ids, targets

    def choose(self, ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the positions of the tokens to predict; none if all tokens are special."""
        candidates = np.flatnonzero(~self.special[ids])
        if not len(candidates):
            return candidates
        count = max(1, int(self.share * len(candidates) + 0.5))
        words = np.cumsum(self.begins_word[ids])[candidates]  # number of the word that each belongs to
        words = np.cumsum(np.diff(words, prepend=words[0]) > 0)  # numbered anew, without gaps: 0, 1, 2 …
        order = np.argsort(rng.random(words[-1] + 1))  # the words in random order
        sizes = np.bincount(words)[order]  # tokens of each
        n_words = 1 + np.abs(np.cumsum(sizes) - count).argmin()
        return candidates[np.isin(words, order[:n_words])]

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """The number of tokens to predict."""
        return {"masked": int((batch["targets"] != IGNORE_INDEX).sum())}

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The sum of the hidden tokens' losses."""
        output = predict(model, batch)
        # Every parameter has a part in the loss, the other head's too: data-parallel training insists on it.
        return {"masked": self.loss(output, batch) + 0.0 * output.next_sentence.sum()}

    @torch.inference_mode()
    def n_correct(self, model: nn.Module, batch: Batch) -> dict[str, int]:
        """How many hidden tokens the model's first guess is right about."""
        return {"masked": self.hits(predict(model, batch), batch)}

    def loss(self, output: BERTOutput, batch: Batch) -> Tensor:
        """The sum of the losses, given what the model said."""
        return F.cross_entropy(output.masked.float(), hidden_tokens(batch), reduction="sum")

    def hits(self, output: BERTOutput, batch: Batch) -> int:
        """The number of right guesses, given what the model said."""
        return int((output.masked.argmax(-1) == hidden_tokens(batch)).sum())


def predict(model: nn.Module, batch: Batch) -> BERTOutput:
    """What a BERT says about a batch; about tokens only where they are hidden: `masked` is (N, V)."""
    return model(batch["ids"], batch["attention_mask"], batch["segments"], predict=batch["targets"] != IGNORE_INDEX)


def hidden_tokens(batch: Batch) -> Tensor:
    """What stood at the N hidden places of the batch, row by row: (N,)."""
    return batch["targets"][batch["targets"] != IGNORE_INDEX]
