"""Speculative decoding: a small model drafts a few tokens, and the large one checks all of them in one pass.

Processing several tokens takes a large model hardly longer than processing one, because all weights have to be read
from memory anyway. So a small model with the same vocabulary proposes k tokens x₁ … xₖ, sampled from its distributions
q, and the large one computes its own distributions p after each of them at once. Then, from left to right (Leviathan et
al. 2023, section 2.3; Chen et al. 2023):

    accept xᵢ with the probability min(1, p(xᵢ) / q(xᵢ))
    else sample from max(p - q, 0), normalized, in its place, and drop the rest
    if all are accepted, sample one token more from the last p

**The text has the large model's distribution, whatever the small one proposes.** Token x is accepted with the
probability q(x) · min(1, p(x)/q(x)) = min(p(x), q(x)), and the difference to p(x), max(p(x) - q(x), 0), is the
distribution sampled after a rejection. A bad draft only costs time: a proposal is accepted with the probability Σ
min(p, q) (`acceptance`), and a pass yields (1 - αᵏ⁺¹) / (1 - α) tokens if every one is accepted with the same α
(`tokens_per_pass`).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from llmasos.errors import UserError, check_number
from llmasos.generation import sampling
from llmasos.generation.options import SamplingOptions, options_for
from llmasos.generation.prompts import prepare
from llmasos.generation.stop_strings import TextStream
from llmasos.models import Model
from llmasos.nn import eval_mode
from llmasos.tokenizers.tokenizer import Tokenizer


@dataclass
class SpeculativeText:
    """A text, and statistics of its generation.

    Attributes:
        ids: the new ids.
        n_proposed, n_accepted: the number of drafted tokens that were checked, and of those that were accepted.
        n_passes: how often the large model was run.
    """

    ids: list[int] = field(default_factory=list)
    n_proposed: int = 0
    n_accepted: int = 0
    n_passes: int = 0


@torch.inference_mode()
def generate_speculative(
    model: Model,
    draft: Model,
    prompt: Sequence[int],
    options: SamplingOptions,
    n_drafted: int = 4,
    sample: int = 0,
    vocab_size: int | None = None,
) -> SpeculativeText:
    """Continue one sequence of token ids with a model and its draft.

    Args:
        model: the large GPT, which determines the distribution.
        draft: the small one, with the same vocabulary.
        prompt: at least one id.
        options: how to sample, and the ids after which to stop; both models' logits are processed by it.
        n_drafted: k, the number of tokens proposed at a time.
        sample: the index of this sample of the prompt; together with the seed it decides the random numbers.
        vocab_size: only ids below it are sampled (None = all).

    Raises:
        UserError: one of the models is not a GPT, they are incompatible, the prompt is empty or has an unknown id, the
            text does not fit one of the contexts, or an option needs the text during generation.
    """
    check_number("n_drafted", n_drafted, whole=True, at_least=1)
    check_pair(model, draft)
    check_input(model, draft, prompt, options)
    result, numbers = SpeculativeText(), random.Random(f"{options.seed} {sample}")
    target, drafter = (Reader(part, prompt, options, vocab_size) for part in (model, draft))
    stop_ids = options.stop_token_ids
    with eval_mode(model), eval_mode(draft):
        while len(result.ids) < options.max_new_tokens and not (result.ids and result.ids[-1] in stop_ids):
            proposed: list[int] = []
            q: list[Tensor] = []
            for _ in range(min(n_drafted, options.max_new_tokens - len(result.ids) - 1)):
                q.append(drafter.distributions([*result.ids, *proposed], 1)[0])
                proposed.append(draw(q[-1], numbers.random()))
            p = target.distributions([*result.ids, *proposed], len(proposed) + 1)  # (k + 1, V)
            new = verify(p, q, proposed, numbers)
            result.n_passes += 1
            result.n_proposed += len(proposed)
            result.n_accepted += len(new) - 1
            for token in new:
                result.ids.append(token)
                if token in stop_ids:
                    break
    return result


def generate_with_draft(
    model: Model,
    draft: Model,
    tokenizer: Tokenizer,
    prompts: Sequence[str | Sequence[int]],
    options: SamplingOptions | None = None,
    n_samples: int = 1,
    n_drafted: int = 4,
) -> list[str]:
    """Continue each prompt `n_samples` times, one text after another: the new texts, in the order of `generate`.

    Arguments and errors are those of `generate` and of `generate_speculative`.
    """
    check_number("n", n_samples, whole=True, at_least=1)
    check_pair(model, draft)
    prepared, options = prepare(model, tokenizer, prompts, options or options_for(model, SamplingOptions))
    for prompt in prepared:  # before the first text
        check_input(model, draft, prompt.ids, options)
    texts = []
    for prompt in prepared:
        for sample in range(n_samples):
            args = (prompt.ids, options, n_drafted, sample, tokenizer.vocab_size)
            result = generate_speculative(model, draft, *args)
            stream = TextStream(tokenizer, previous=prompt.ids[-1])
            texts.append("".join([*map(stream.push, result.ids), stream.close()]))
    return texts


def check_pair(model: Model, draft: Model) -> None:
    """Raise UserError unless both are GPTs with the same vocabulary on the same device."""
    for name, part in (("model", model), ("draft", draft)):
        if part.config.family != "gpt" or not part.config.generates:
            kind = part.config.family if part.config.family != "gpt" else f"gpt with the head {part.config.head!r}"
            raise UserError(f"the {name} is a {kind}; speculative decoding needs a gpt that continues texts.")
    if model.config.vocab_size != draft.config.vocab_size:
        raise UserError(
            f"the draft has {draft.config.vocab_size:,} tokens and the model {model.config.vocab_size:,}; a draft "
            "needs the same tokenizer."
        )
    devices = [next(part.parameters()).device for part in (draft, model)]
    if devices[0] != devices[1]:
        raise UserError(f"the draft is on {devices[0]} and the model on {devices[1]}; move both to one device.")


def check_input(model: Model, draft: Model, prompt: Sequence[int], options: SamplingOptions) -> None:
    """Raise UserError if these models cannot continue this prompt with these options."""
    for name in ("stop", "grammar"):
        if getattr(options, name):
            raise UserError(f"{name} is not supported by speculative decoding; leave out {name}, or the draft.")
    if not prompt:
        raise UserError("the prompt is empty; it must have at least one token id, such as end_of_text.")
    last = model.config.vocab_size - 1
    if unknown := [id for id in prompt if not 0 <= id <= last]:
        raise UserError(f"the prompt has the token id {unknown[0]}; the model's ids are 0 to {last:,}.")
    length, room = len(prompt) + options.max_new_tokens, min(model.config.context_length, draft.config.context_length)
    if length > room:
        raise UserError(
            f"prompt and text have up to {length:,} tokens, and a context only {room:,}; shorten the prompt, or choose "
            "a smaller max_new_tokens."
        )


def verify(p: Tensor, q: Sequence[Tensor], proposed: Sequence[int], numbers: random.Random) -> list[int]:
    """The tokens that a pass yields: those accepted, and one more.

    Args:
        p: (k + 1, V), the large model's distributions after 0, 1, … k proposed tokens.
        q: k distributions (V,) that the tokens were drawn from.
        proposed: the k tokens.
        numbers: the source of random numbers.
    """
    for i, token in enumerate(proposed):
        if numbers.random() * float(q[i][token]) >= float(p[i][token]):
            return [*proposed[:i], draw((p[i] - q[i]).clamp(min=0), numbers.random())]
    return [*proposed, draw(p[-1], numbers.random())]


def draw(weights: Tensor, u: float) -> int:
    """A token drawn in proportion to weights (V,), by a random number in [0, 1)."""
    sums = weights.double().cumsum(dim=0)
    return int(torch.searchsorted(sums, sums[-1] * u, right=True).clamp(max=len(weights) - 1))


def acceptance(p: Tensor, q: Tensor) -> Tensor:
    """The probability that a token drawn from q is accepted, Σ min(p, q): (…, V) → (…)."""
    return torch.minimum(p, q).sum(dim=-1)


def tokens_per_pass(alpha: float, n_drafted: int) -> float:
    """The expected number of tokens that one pass of the large model yields (Leviathan et al. 2023, equation 1).

    >>> tokens_per_pass(0.0, 4), tokens_per_pass(0.5, 2), tokens_per_pass(1.0, 4)
    (1.0, 1.75, 5.0)
    """
    return sum(alpha**i for i in range(n_drafted + 1))


class Reader:
    """A model with its cache, which computes each token once and can be rewound.

    Slot p of the cache holds position p and a query sees no slot beyond its own position, so rejected tokens need not
    be removed: they are overwritten. Only the last token of the text can differ from what was read there.
    """

    def __init__(self, model: Any, prompt: Sequence[int], options: SamplingOptions, vocab_size: int | None = None):
        self.model, self.prompt, self.options, self.n_read = model, list(prompt), options, 0
        self.vocab_size = vocab_size
        self.cache = model.make_cache(1, len(prompt) + options.max_new_tokens)
        self.device = next(model.parameters()).device

    def distributions(self, ids: Sequence[int], n: int) -> Tensor:
        """The distribution of the token after each of the last n prefixes of prompt and ids, all of it: (n, V)."""
        text = [*self.prompt, *ids]
        self.n_read = min(self.n_read, len(text) - n)  # goes back behind the last token, which may have been replaced
        new = torch.tensor([text[self.n_read :]], device=self.device)  # (1, T)
        positions = torch.arange(self.n_read, len(text), device=self.device)[None]
        hidden_states = self.model.decode(new, positions, self.cache, (self.n_read, len(text)))  # (1, T, C)
        self.n_read = len(text)
        logits = self.model.lm_head(hidden_states[0, -n:])[:, : self.vocab_size]
        logits = logits if logits.dtype == torch.float64 else logits.float()
        sampling.check_numbers(logits.log_softmax(dim=-1))
        written = [ids[: len(ids) - n + i] for i in range(1, n + 1)]  # what is new before each of the n tokens
        texts = [[*self.prompt, *part] for part in written]
        logits = sampling.constrain(logits, self.model.generation_config, texts, written)
        logits = sampling.process_logits(logits, self.options, texts, written)
        if self.options.greedy:
            return F.one_hot(logits.argmax(dim=-1), logits.size(-1)).to(logits.dtype)
        return logits.softmax(dim=-1)
