"""Fields of OpenAI's API that this server does not implement, and the values with which they are accepted anyway.

Programs written for OpenAI's API, or for vLLM's version of it, routinely send such fields. Values that cannot change
the answer are accepted; any other value is rejected by name, because a program that requests audio and silently gets
text would be harder to debug.
"""

from typing import Any

from llmasos.serving.api.validators import Field, Ignored, Unsupported

Harmless = tuple[Any, ...] | str
"""The values that change nothing; or a JSON type, if none of its values does. (Null, which all fields may be, is not
listed; (None,) = only null.)"""

OLD_FORM = "this is the old form of tools; send tools and tool_calls"
ONLY_TEXT = "the models here read and write text only"


def inert_fields(*rows: tuple[str, Harmless, str]) -> tuple[Field, ...]:
    """Fields without an effect.

    Args:
        rows: the name of each field, its harmless values, and the reason why it has no effect.
    """
    return tuple(
        Field(name, Ignored(harmless), f"ignored: {reason}")
        if isinstance(harmless, str)
        else Field(name, Unsupported(harmless, reason), f"not supported: {reason}")
        for name, harmless, reason in rows
    )


USER = ("user", "string", "users are not told apart")
EVERY_TEXT = inert_fields(
    USER,
    ("logit_bias", ({},), "biases of individual tokens are not supported"),
    # vLLM's
    ("ignore_eos", (False,), "a text ends where the model ends it"),
    ("include_stop_str_in_output", (False,), "a text ends before the stop string"),
    ("length_penalty", (1,), "texts are sampled, not searched for"),
    ("min_tokens", (0,), "a text ends where the model ends it"),
    ("skip_special_tokens", (True,), "special tokens are not part of a text here"),
    ("spaces_between_special_tokens", "boolean", "special tokens are not part of a text here"),
    ("stop_token_ids", ([],), "put the texts at which to stop into stop"),
    ("use_beam_search", (False,), "texts are sampled, not searched for"),
)
STREAM_OPTIONS = inert_fields(("include_obfuscation", (False,), "events are not padded here"))
COMPLETIONS = inert_fields(
    ("best_of", (1,), "ask for n texts with logprobs and choose one"),
    ("suffix", (None, ""), "the models here only continue a text"),
)
CHAT_COMPLETIONS = inert_fields(
    ("add_generation_prompt", (True,), "the reply is always the assistant's"),
    ("audio", (None,), ONLY_TEXT),
    ("best_of", (1,), "ask for n texts with logprobs and choose one"),
    ("chat_template_kwargs", ({},), "a chat template gets the conversation alone"),
    ("continue_final_message", (False,), "put the beginning of the reply into prefix"),
    ("function_call", ("none", "auto"), OLD_FORM),
    ("functions", ([],), OLD_FORM),
    ("metadata", "object", "replies are not stored here, so they have no labels"),
    ("modalities", (["text"],), ONLY_TEXT),
    ("moderation", (None,), "texts are not moderated here"),
    ("prediction", "object", "a predicted reply would only save time"),
    ("prompt_cache_key", "string", "a prompt's beginning is shared without a key"),
    ("prompt_cache_options", "object", "a prompt's beginning is shared without options"),
    ("prompt_cache_retention", "string", "a prompt's beginning is shared while another request uses it"),
    ("reasoning_effort", ("none", "minimal", "low", "medium", "high", "xhigh", "max"),
     "the models here do not reason before they reply"),
    ("safety_identifier", "string", "users are not told apart"),
    ("service_tier", ("auto", "default", "flex", "scale", "priority", "fast"), "all requests wait in one queue"),
    ("store", (False,), "replies are not stored here"),
    ("verbosity", ("medium",), "the models here have one style; limit the length with max_tokens"),
    ("web_search_options", (None,), "the models here do not search the web"),
)  # fmt: skip
MESSAGE = inert_fields(
    ("annotations", "array", "the model reads the text without its annotations"),
    ("audio", (None,), ONLY_TEXT),
    ("function_call", (None,), OLD_FORM),
    ("reasoning", (None, ""), "the models here do not reason before they reply"),
    ("reasoning_content", (None, ""), "the models here do not reason before they reply"),
    ("refusal", (None, ""), "put a refusal into the content"),
)
AUTHOR = Unsupported((None, ""), "the model only sees roles; put the name into the content")
"""The name of a message's author, unless it is a tool's: that is in the call, which the model has read."""

PART = inert_fields(
    ("file", (None,), ONLY_TEXT),
    ("image_url", (None,), ONLY_TEXT),
    ("input_audio", (None,), ONLY_TEXT),
    ("prompt_cache_breakpoint", "object", "a prompt's beginning is shared wherever it ends"),
    ("refusal", (None,), "put a refusal into a text part"),
)


def embeddings_fields(dimension: int) -> tuple[Field, ...]:
    """The fields of `/v1/embeddings`, whose vectors have one dimension."""
    return inert_fields(USER, ("dimensions", (dimension,), "the vectors have the model's dimension"))
