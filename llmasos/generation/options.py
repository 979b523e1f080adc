"""How to generate: frozen dataclasses, validated when they are created."""

import math
from dataclasses import dataclass, fields, replace

from llmasos.errors import UserError

LOWEST_TEMPERATURE = 1e-3  # below this logits / temperature can overflow, and sampling is greedy anyway
NOT_ABOUT_LOGITS = ("max_new_tokens", "stop", "stop_token_ids", "stop_at_end_of_text", "seed")  # of `SamplingOptions`


@dataclass(frozen=True)
class SamplingOptions:
    """How to sample the next token and when to stop. The exact rules are in `sampling.py`.

    Attributes:
        max_new_tokens: the largest number of tokens to generate.
        temperature: 1 samples from the model's own distribution, less is safer, more is wilder, 0 is greedy: always
            the most likely token. Otherwise at least 0.001.
        top_k: sample from the k most likely tokens only (None = all).
        top_p: sample from the fewest tokens that together have this probability, in (0, 1] (None = all).
        min_p: sample from tokens at least this many times as likely as the most likely one, in (0, 1] (None = all).
        repetition_penalty: above 1, tokens of the prompt and of the text so far become less likely; 1 = off.
        stop: stop when the generated text contains one of these strings, which is not part of the result.
        stop_token_ids: stop at any of these tokens, too; special tokens have no text that `stop` could find.
        stop_at_end_of_text: stop when the model generates `<|endoftext|>`. False is for measuring speed.
        seed: of the random numbers; the same seed gives the same text.
        presence_penalty: subtracted from the logit of every token that the new text contains, from -2 to 2; 0 = off.
        frequency_penalty: the same, times how often the token is in the new text.
    """

    max_new_tokens: int = 200
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    stop_at_end_of_text: bool = True
    seed: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0

    def __post_init__(self):
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        object.__setattr__(self, "stop", stop)
        _check_positive_integer("max_new_tokens", self.max_new_tokens)
        if not (self.temperature == 0.0 or LOWEST_TEMPERATURE <= self.temperature < math.inf):
            raise UserError(
                f"temperature is {self.temperature}; it must be 0 (always the most likely token) or at least "
                f"{LOWEST_TEMPERATURE}, and 1 samples from the model as it is."
            )
        if self.top_k is not None:
            _check_positive_integer("top_k", self.top_k)
        for name in ("top_p", "min_p"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value <= 1.0:
                raise UserError(f"{name} is {value}; it must be above 0 and at most 1. Leave it out to switch it off.")
        if not 0.0 < self.repetition_penalty < math.inf:
            raise UserError(
                f"repetition_penalty is {self.repetition_penalty}; it must be above 0: 1 is off, 1.1 mild, 1.5 strong."
            )
        for name in ("presence_penalty", "frequency_penalty"):
            value = getattr(self, name)
            if not -2.0 <= value <= 2.0:
                raise UserError(f"{name} is {value}; it must be from -2 to 2: 0 is off, larger values favor new words.")
        if not all(isinstance(s, str) and s for s in stop):
            raise UserError(f"stop is {stop!r}; each stop string must be text of at least one character.")
        if not isinstance(self.seed, int) or isinstance(self.seed, bool):
            raise UserError(f"seed is {self.seed!r}; it must be a whole number.")

    def with_stop_token(self, id: int) -> "SamplingOptions":
        """The same options, with one more token to stop at."""
        return replace(self, stop_token_ids=(*self.stop_token_ids, id))

    @property
    def sampling_key(self) -> tuple:
        """The fields that decide how logits are processed: where they are equal, sequences can be sampled together."""
        return tuple(getattr(self, field.name) for field in fields(self) if field.name not in NOT_ABOUT_LOGITS)

    @property
    def greedy(self) -> bool:
        """Whether the most likely token is always taken, so that no random number is needed."""
        return self.temperature == 0.0


@dataclass(frozen=True)
class BeamOptions:
    """The width of beam search and its length penalty. The exact rules are in `beam.py`.

    Attributes:
        beams: K, the number of unfinished texts that are followed at once and of finished ones that are kept; 1 is
            greedy.
        length_penalty: α, from 0 to 10. Larger values favor longer texts; 0 ranks by probability alone.
        max_new_tokens: the largest number of tokens of a text, its end_of_text included.
    """

    beams: int = 4
    length_penalty: float = 0.6
    max_new_tokens: int = 200

    def __post_init__(self):
        _check_positive_integer("beams", self.beams)
        _check_positive_integer("max_new_tokens", self.max_new_tokens)
        if not 0.0 <= self.length_penalty <= 10.0:
            raise UserError(
                f"length_penalty is {self.length_penalty}; it must be from 0 to 10: 0 is off, 0.6 usual, 1 strong."
            )


def _check_positive_integer(name: str, value: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{name} is {value!r}; it must be a whole number of at least 1.")
