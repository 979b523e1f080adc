"""Options for generation: frozen dataclasses, validated on creation.

The help text and range of each option are defined only here; the flags of `sample.py` and `chat`, the fields of the
HTTP API and the sliders of its page are derived from them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import Field, dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from llmasos.arguments import convert
from llmasos.errors import UserError, nearest
from llmasos.generation.grammar import Grammar
from llmasos.settings import Settings, setting

if TYPE_CHECKING:
    from llmasos.models import Model

NOT_ABOUT_LOGITS = (  # of `SamplingOptions`
    "max_new_tokens",
    "stop",
    "stop_token_ids",
    "stop_at_end_of_text",
    "seed",
    "grammar",
)


@dataclass(frozen=True)
class SamplingOptions(Settings):
    """How to sample the next token and when to stop. The exact rules are in `sampling.py`.

    Attributes:
        stop: stop when the generated text contains one of these strings, which is then removed from the result.
        stop_token_ids: stop at any of these tokens, too; special tokens have no text that `stop` could find.
        stop_at_end_of_text: stop at the tokens that end the model's texts. False is for speed measurements.
        seed: the random seed; the same seed gives the same text.
        grammar: the form of the new text, for example `json_schema({…})` or `regular_expression("yes|no")`; the text is
            complete within max_new_tokens.
    """

    max_new_tokens: int = setting(
        200, "the largest number of tokens to generate", at_least=1, api="max_tokens", slider=(1, 400, 1)
    )
    temperature: float = setting(  # below 0.001 logits / temperature can overflow, and sampling is greedy anyway
        1.0,
        "divides the logits: 1 samples from the model's own distribution, below 1 likely tokens become more likely, "
        "above 1 less; 0 is greedy, always the most likely token",
        at_least=0.001,
        at_most=100,
        or_value=0,
        slider=(0, 2, 0.05),
    )
    top_k: int | None = setting(
        None,
        "sample from the K most likely tokens only",
        at_least=1,
        at_most=1_000_000,
        off=(0, -1),
        slider=(0, 100, 1),
    )
    top_p: float | None = setting(
        None,
        "nucleus sampling: sample from the fewest tokens that together have this probability",
        at_least=0,
        at_most=1,
        off=(1,),
        slider=(0.05, 1, 0.05),
    )
    min_p: float | None = setting(
        None,
        "sample from the tokens at least this many times as likely as the most likely one",
        at_least=0,
        at_most=1,
        off=(0,),
        slider=(0, 0.5, 0.01),
    )
    repetition_penalty: float = setting(
        1.0,
        "above 1, tokens of the prompt and of the text so far become less likely: 1.1 is mild, 1.5 strong",
        at_least=0.1,
        at_most=10,
        off=(1,),
        slider=(1, 2, 0.05),
    )
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    stop_at_end_of_text: bool = True
    seed: int = 0
    presence_penalty: float = setting(
        0.0,
        "subtracted from the logit of every token that the new text contains",
        at_least=-2,
        at_most=2,
        off=(0,),
        slider=(-2, 2, 0.1),
    )
    frequency_penalty: float = setting(
        0.0,
        "the same, times how often the token is in the new text",
        at_least=-2,
        at_most=2,
        off=(0,),
        slider=(-2, 2, 0.1),
    )
    grammar: Grammar | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.grammar, Grammar | None):
            raise UserError(
                f"grammar is {self.grammar!r:.60}; it must be made by json_schema(…) or regular_expression(…)."
            )
        stop = convert(self.stop, str | Iterable[str], "stop")
        stop = (stop,) if isinstance(stop, str) else tuple(stop)
        object.__setattr__(self, "stop", stop)
        if not all(stop):
            raise UserError(f"stop is {stop!r}; each stop string must be text of at least one character.")
        if not isinstance(self.seed, int) or isinstance(self.seed, bool):
            raise UserError(f"seed is {self.seed!r}; it must be a whole number.")

    @cached_property
    def sampling_key(self) -> tuple:
        """The fields that determine how logits are processed: sequences with the same key can be sampled together."""
        return tuple(getattr(self, field.name) for field in sampler_fields())

    @property
    def greedy(self) -> bool:
        """Whether the most likely token is always taken, so that no random number is needed."""
        return self.temperature == 0.0


@dataclass(frozen=True)
class BeamOptions(Settings):
    """The width of beam search and its length penalty. The exact rules are in `beam.py`.

    Attributes:
        stop_token_ids: a text also ends with any of these tokens.
    """

    beams: int = setting(
        4, "beam search: K, the number of texts that are followed at once; 1 is greedy", at_least=1, slider=(1, 16, 1)
    )
    length_penalty: float = setting(
        0.6,
        "beam search: exponent α of the length norm; larger values favor longer texts, 0 ranks by probability alone",
        at_least=0,
        at_most=10,
        off=(0,),
        slider=(0, 2, 0.1),
    )
    max_new_tokens: int = setting(
        200,
        "the largest number of tokens of a text, its end included",
        at_least=1,
        api="max_tokens",
        slider=(1, 400, 1),
    )
    stop_token_ids: tuple[int, ...] = ()


def sampler_fields() -> Iterator[Field]:
    """The fields of `SamplingOptions` that decide how logits are processed."""
    return (field for field in fields(SamplingOptions) if field.name not in NOT_ABOUT_LOGITS)


def api_name(field: Field) -> str:
    """The name of an option in the HTTP API: `max_tokens` for `max_new_tokens`, as in OpenAI's."""
    return field.metadata.get("api") or field.name


Options = TypeVar("Options", SamplingOptions, BeamOptions)


def options_for(model: "Model", kind: type[Options], **values: Any) -> Options:
    """Options with these values; the others are those that the model recommends, or else the defaults.

    Args:
        model: its `generation_config` holds the recommendations.
        kind: `SamplingOptions` or `BeamOptions`.
        values: fields of `kind`; None means the default instead of the recommendation. The default `seed` is 0, so the
            same call gives the same text; pass random seeds to get different texts.

    Raises:
        UserError: there is no such option, or a value is out of range.
    """
    names = [field.name for field in fields(kind)]
    for name in values:
        if name not in names:
            hint = nearest(name, names) or f"; the options are {', '.join(names)}."
            raise UserError(f"there is no option {name!r}{hint}")
    recommended = {name: value for name, value in model.generation_config.recommended.items() if name in names}
    defaults = {field.name: field.default for field in fields(kind)}
    values = {name: defaults[name] if value is None else value for name, value in values.items()}
    return kind(**{**recommended, **values})
