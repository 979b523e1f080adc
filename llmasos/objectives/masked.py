"""Masked language modeling: mask some tokens of a text and predict them from both sides (Devlin et al. 2019, 3.1).

    text         [CLS]  the   old    man   sat   by   the   sea   [SEP]
    chosen                     ✓                             ✓
    ids          [CLS]  the  [MASK]  man   sat   by   the   car   [SEP]       what the model sees
    targets        -     -    old     -     -    -     -    sea     -

Of the tokens that are not special, 15 % are chosen. Of these, 80 % become [MASK], 10 % become a random token, and 10 %
stay as they are: the texts that the model is used for later have no [MASK], so the model must also learn to represent
positions whose word is visible. All chosen tokens are targets, whatever replaces them.

There are two classic mistakes here. If a token is chosen when u < 0.15 and the *same* number u is then compared with
0.8, every chosen token becomes [MASK], as each has u < 0.15. And if one number is compared with 0.8 and then a *new*
one with 0.1, only 2 % become random tokens. Here each chosen token has one fresh number u, compared with 0.8 and 0.9.

Masks are drawn when a batch is made, with one random generator for each sequence. So each epoch masks different tokens
(dynamic masking, Liu et al. 2019, section 4.1), and the masks of a sequence depend neither on the rest of the batch nor
on the number of processes.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.datasets.batching import pad
from llmasos.errors import UserError, check_number
from llmasos.models.bert import BERTOutput
from llmasos.objectives.objective import IGNORE_INDEX, Batch, MakeRng, collate_inputs
from llmasos.tokenizers.pair_template import EncodedInput
from llmasos.tokenizers.tokenizer import MASK, Tokenizer


class MaskedLM:
    """An example is an encoded text or pair of texts; the loss is -log p(masked token | the other tokens) in nats.

    Args:
        tokenizer: one with [MASK] among its special tokens.
        mask_prob: the fraction of tokens to predict, above 0 and at most 1.
        whole_word_masking: mask all tokens of a word together.

    Raises:
        UserError: the tokenizer has no [MASK], or mask_prob is out of range.
    """

    def __init__(self, tokenizer: Tokenizer, mask_prob: float = 0.15, whole_word_masking: bool = False):
        if MASK not in tokenizer.special_tokens:
            raise UserError(
                f"masked language modeling needs a special token {MASK}, and this {tokenizer.kind} tokenizer has only "
                f"{', '.join(tokenizer.special_tokens)}: use a wordpiece tokenizer, or train one with {MASK}."
            )
        check_number("mask_prob", mask_prob, above=0, at_most=1, advice="0.15 is usual")
        self.mask_prob, self.whole_word_masking = mask_prob, whole_word_masking
        self.mask_id, self.pad_id = tokenizer.special_tokens[MASK], tokenizer.pad_id
        self.special = tokenizer.special_mask  # (V,) bool
        self.regular_ids = np.flatnonzero(~self.special)  # random tokens are drawn from these
        self.starts_word = ~tokenizer.continues  # (V,) bool; special tokens start a word too, so no word crosses them

    def collate(self, examples: Sequence[EncodedInput], rngs: Sequence[MakeRng]) -> Batch:
        """Mask each sequence: `ids` (after masking), `attention_mask`, `segments` and `targets`, all (B, T)."""
        rows = [self.mask_tokens(np.asarray(item.ids), rng()) for item, rng in zip(examples, rngs, strict=True)]
        ids, _ = pad([ids for ids, _ in rows], self.pad_id)
        targets, _ = pad([targets for _, targets in rows], IGNORE_INDEX)
        return {**collate_inputs(examples, self.pad_id), "ids": ids, "targets": targets}

    def mask_tokens(self, ids: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Apply the 80/10/10 rule to ids (T,): return the masked ids (T,) and the targets (T,)."""
        chosen = self.choose_positions(ids, rng)
        u = rng.random(len(chosen))
        random_ids = self.regular_ids[(rng.random(len(chosen)) * len(self.regular_ids)).astype(np.int64)]
        masked, targets = ids.copy(), np.full(len(ids), IGNORE_INDEX)
        masked[chosen] = np.where(u < 0.8, self.mask_id, np.where(u < 0.9, random_ids, ids[chosen]))
        targets[chosen] = ids[chosen]
        return masked, targets

    def choose_positions(self, ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Choose the positions of the targets among the tokens that are not special, in order; possibly none.

        Of n such tokens mask_prob · n are chosen, rounded to the nearest integer (halves upward), but at least one.
        """
        candidates = np.flatnonzero(~self.special[ids])
        if not len(candidates):
            return candidates
        n_chosen = max(1, int(self.mask_prob * len(candidates) + 0.5))
        if self.whole_word_masking:
            return choose_whole_words(candidates, self.starts_word[ids], n_chosen, rng)
        return np.sort(candidates[np.argsort(rng.random(len(candidates)))[:n_chosen]])

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """The number of tokens to predict."""
        return {"masked": int((batch["targets"] != IGNORE_INDEX).sum())}

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The summed cross-entropy of these tokens."""
        output = forward(model, batch)
        # Every parameter must take part in the loss, even those of the other head: data-parallel training requires it.
        return {"masked": self.loss_from(output, batch) + unused_head(output)}

    @torch.inference_mode()
    def n_correct(self, model: nn.Module, batch: Batch) -> dict[str, int]:
        """The number of these tokens to which the model gives the highest logit."""
        return {"masked": self.n_correct_from(forward(model, batch), batch)}

    def loss_from(self, output: BERTOutput, batch: Batch) -> Tensor:
        """The summed loss, given the model's output."""
        return F.cross_entropy(output.masked.float(), masked_targets(batch), reduction="sum")

    def n_correct_from(self, output: BERTOutput, batch: Batch) -> int:
        """The number of correct predictions, given the model's output."""
        return int((output.masked.argmax(-1) == masked_targets(batch)).sum())


def unused_head(output: BERTOutput) -> Tensor | float:
    """Zero times the next-sentence logits, so that the parameters of that head get a gradient, too."""
    return 0.0 if output.next_sentence is None else 0.0 * output.next_sentence.sum()


def choose_whole_words(
    candidates: np.ndarray, starts_word: np.ndarray, n_tokens: int, rng: np.random.Generator
) -> np.ndarray:
    """Choose random words, all tokens of each, until about `n_tokens` tokens are chosen, but at least one word.

    Otherwise the model could predict one piece of a word from the pieces next to it. (The authors of BERT added
    whole-word masking to their code in 2019.)

    Args:
        candidates: the positions to choose from (N,), in order.
        starts_word: (T,) bool, True where a word begins.
        n_tokens: how many tokens to choose; since words may have several, the actual number is the nearest possible.
        rng: the random generator.

    Returns:
        The chosen positions, in order.
    """
    words = np.cumsum(starts_word)[candidates]  # (N,) the number of the word that each token belongs to
    words = np.cumsum(np.diff(words, prepend=words[0]) > 0)  # renumbered without gaps: 0, 1, 2 …
    order = np.argsort(rng.random(words[-1] + 1))  # the words in random order
    sizes = np.bincount(words)[order]  # the number of tokens in each
    n_words = 1 + np.abs(np.cumsum(sizes) - n_tokens).argmin()
    return candidates[np.isin(words, order[:n_words])]


def forward(model: nn.Module, batch: Batch) -> BERTOutput:
    """Run a BERT on the batch. Only the targets get token logits: `masked` is (N, V)."""
    predict = batch["targets"] != IGNORE_INDEX
    return model(batch["ids"], batch["attention_mask"], batch["segments"], predict=predict)


def masked_targets(batch: Batch) -> Tensor:
    """The original tokens at the N masked positions of the batch, sequence by sequence: (N,)."""
    return batch["targets"][batch["targets"] != IGNORE_INDEX]
