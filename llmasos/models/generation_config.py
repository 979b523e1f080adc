"""The authors' recommendations for generating with a model: `generation_config.json`, in `transformers`' format.

    "temperature", "top_k", "top_p", …            recommended options; the user's settings take precedence
    "eos_token_id": [2, 7]                        the tokens that end a text
    "suppress_tokens", "bad_words_ids", …         what must not be written

Older models have the same fields in `config.json`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmasos.errors import UserError
from llmasos.storage import write_json

FILE = "generation_config.json"
SAMPLING = ("temperature", "top_k", "top_p", "min_p")  # the options that do_sample enables
RENAMED = {"num_beams": "beams"}
RECOMMENDED = (*SAMPLING, "repetition_penalty", "max_new_tokens", *RENAMED)
NOT_SUPPORTED = {  # with the value that has no effect
    "no_repeat_ngram_size": 0, "encoder_no_repeat_ngram_size": 0, "encoder_repetition_penalty": 1, "min_length": 0,
    "min_new_tokens": 0, "typical_p": 1, "epsilon_cutoff": 0, "eta_cutoff": 0, "penalty_alpha": 0, "num_beam_groups": 1,
    "diversity_penalty": 0, "length_penalty": 1, "guidance_scale": 1, "sequence_bias": {}, "force_words_ids": [],
    "forced_decoder_ids": [], "exponential_decay_length_penalty": [], "constraints": [], "watermarking_config": {},
    "early_stopping": False, "renormalize_logits": False, "stop_strings": [], "max_time": 0, "token_healing": False,
    "dola_layers": [], "top_h": 1,
}  # fmt: skip


@dataclass(frozen=True)
class GenerationConfig:
    """Recommendations for generation. An empty one recommends nothing.

    Attributes:
        recommended: fields of `SamplingOptions` and `BeamOptions` with their values.
        stop_token_ids: the tokens that end a text, besides those that the tokenizer knows.
        suppress_tokens: tokens that are never written.
        begin_suppress_tokens: tokens that new text must not start with.
        bad_words_ids: sequences of tokens that are never written. Stop tokens are never among them, whatever the file
            says: as in transformers, a text can always end.
        forced_bos_token_id: the token that new text must start with; None = any.
    """

    recommended: Mapping[str, Any] = field(default_factory=dict)
    stop_token_ids: tuple[int, ...] = ()
    suppress_tokens: tuple[int, ...] = ()
    begin_suppress_tokens: tuple[int, ...] = ()
    bad_words_ids: tuple[tuple[int, ...], ...] = ()
    forced_bos_token_id: int | None = None

    @property
    def constrains(self) -> bool:
        """Whether some tokens are forbidden or forced."""
        constraints = (self.suppress_tokens, self.begin_suppress_tokens, self.bad_words_ids)
        return any(constraints) or self.forced_bos_token_id is not None

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], say: Callable[[str], None]) -> "GenerationConfig":
        """Read the config from the contents of a file. Fields without a meaning here are ignored.

        Args:
            fields: the fields, by their names in transformers.
            say: called with a sentence about fields that would change the text and are not supported.

        Raises:
            UserError: a field with token ids holds something else.
        """
        unused = [name for name, off in NOT_SUPPORTED.items() if fields.get(name) not in (None, off)]
        if unused:
            say(f"the model recommends {', '.join(unused)} for generation, which llmasos does not have: ignored.")
        recommended = {name: fields[name] for name in RECOMMENDED if fields.get(name) is not None}
        if fields.get("do_sample") is False:
            recommended = {name: value for name, value in recommended.items() if name not in SAMPLING}
            recommended["temperature"] = 0.0
        bad_words = fields.get("bad_words_ids") or ()
        if not isinstance(bad_words, Sequence) or isinstance(bad_words, str):
            raise UserError(f"bad_words_ids is {bad_words!r}; it must be a list of lists of token ids.")
        forced, ends = token_ids(fields, "forced_bos_token_id"), token_ids(fields, "eos_token_id")
        words = [token_ids({"bad_words_ids": ids}, "bad_words_ids") for ids in bad_words]
        return cls(
            {RENAMED.get(name, name): value for name, value in recommended.items()},
            ends,
            token_ids(fields, "suppress_tokens"),
            token_ids(fields, "begin_suppress_tokens"),
            tuple(ids for ids in words if ids and not (len(ids) == 1 and ids[0] in ends)),
            forced[0] if forced else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """The inverse of `from_dict`."""
        published = {name: new for new, name in RENAMED.items()}
        fields = {published.get(name, name): value for name, value in self.recommended.items()}
        if fields.get("temperature") == 0:
            fields = {name: value for name, value in fields.items() if name not in SAMPLING} | {"do_sample": False}
        elif any(name in fields for name in SAMPLING):
            fields = {"do_sample": True, "top_k": 0, **fields}  # without top_k transformers would take 50
        lists = {
            "eos_token_id": self.stop_token_ids,
            "suppress_tokens": self.suppress_tokens,
            "begin_suppress_tokens": self.begin_suppress_tokens,
            "bad_words_ids": [list(ids) for ids in self.bad_words_ids],
        }
        fields |= {name: list(ids) for name, ids in lists.items() if ids}
        return fields | ({} if self.forced_bos_token_id is None else {"forced_bos_token_id": self.forced_bos_token_id})


def token_ids(fields: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """The token ids in a field, which holds one, or a list, or nothing. Raises UserError if it holds anything else."""
    value = fields.get(name)
    ids = [] if value is None else value if isinstance(value, list | tuple) else [value]
    if not all(type(id) is int for id in ids):
        raise UserError(f"{name} is {value!r}; it must be a token id or a list of token ids.")
    return tuple(ids)


def write_generation_config(folder: Path, config: GenerationConfig, special_ids: Mapping[str, int]) -> None:
    """Write the file, if there is anything to write.

    Args:
        folder: an existing folder.
        config: the recommendations to write.
        special_ids: further fields, for transformers.
    """
    if fields := {**special_ids, **config.to_dict()}:
        write_json(Path(folder) / FILE, fields)
