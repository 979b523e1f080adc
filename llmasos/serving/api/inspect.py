"""`/v1/inspect`: what happens inside the model while it reads a text.

    inspect_model(model, tokenizer, "Once there was", "tokens")
    inspect_model(model, tokenizer, "Once there was", "attention", layer=2)
    inspect_model(model, tokenizer, "Once there was", "logit_lens")
    inspect_model(model, tokenizer, "Once there was", "forward_trace", head=1)
    inspect_model(model, tokenizer, "Anna lost a key. Then", "ablation")
    inspect_model(model, tokenizer, "Anna lost a key. Then", "patching", corrupted="Paul lost a key. Then")
    inspect_model(translator, tokenizer, "ein Hund", "attention", attention_type="cross_attention", target="a dog")

The numbers come from `llmasos/interpret`; `text_views`, `trace`, `interventions` and `probe` turn them into views.
This file turns a text into the model's input and limits its size: attention has a number for every pair of tokens, and
other clients wait meanwhile. Everything that uses the model goes through `run` in small jobs, which the server passes
to the engine's thread.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from llmasos.errors import UserError
from llmasos.generation import SamplingOptions
from llmasos.generation.options import options_for, sampler_fields
from llmasos.interpret.token_probabilities import checked_ids
from llmasos.models import Model
from llmasos.prompting import template_of
from llmasos.serving.api.chat_completions import MessagesValidator
from llmasos.serving.api.fields import model_field, token_ids
from llmasos.serving.api.generation_fields import sampling_fields, sampling_options
from llmasos.serving.api.interventions import (
    ABLATIONS,
    PATCHING_KINDS,
    ablation_view,
    longest_text,
    patching_view,
)
from llmasos.serving.api.openapi import STRING, enum, object_of
from llmasos.serving.api.probe import probe_view
from llmasos.serving.api.text_views import (
    ATTENTION_TYPES,
    Job,
    ModelInput,
    Run,
    attention_view,
    logit_lens_view,
    token_list,
    token_view,
)
from llmasos.serving.api.trace import trace_view
from llmasos.serving.api.validators import AnyOf, Choice, Field, Integer, Object, Text
from llmasos.serving.http.http_types import Request, Response, Route, json_response
from llmasos.serving.served_model import ServedModel
from llmasos.tokenizers import Tokenizer

VIEWS = ("tokens", "attention", "logit_lens", "forward_trace", "ablation", "patching", "probe")
MAPS = ("ablation", "patching")  # the views that take a forward pass for each of their cells

MAX_TOKENS = {
    "tokens": 1024,
    "attention": 256,
    "logit_lens": 256,
    "forward_trace": 256,
    "ablation": 256,
    "patching": 64,
    "probe": 1024,
}
MAX_MASKED_TOKENS = 128  # for the view "tokens" of a BERT, which reads the text once for each of its tokens
MAX_ALTERNATIVES = 20

Messages = Sequence[Mapping[str, str]]
Input = str | Sequence[int] | Messages


# The route


def make_body(served: ServedModel) -> Object:
    """The schema of a request."""
    text_or_ids = (Text(), token_ids(served))
    inputs = (*text_or_ids, MessagesValidator()) if "chat" in served.capabilities else text_or_ids
    target: list[Field] = []
    views: tuple[str, ...] = VIEWS
    attention_types: tuple[str, ...] = ATTENTION_TYPES[:1]
    trace = [Field("head", Integer(0, served.config.n_heads - 1), "the attention head of the forward trace", 0),
             Field("ablation", Choice(ABLATIONS), "what the view ablation puts in place of a part's output: its "
                   "mean over the positions, or zero", "mean"),
             Field("corrupted", AnyOf(inputs), "for the view patching: the text, of as many tokens as the input, into "
                   "which the activations of the input are put"),
             Field("kind", Choice(PATCHING_KINDS), "which activations the view patching takes: the residual stream, "
                   "or what each attention or feed-forward adds to it", "residual")]  # fmt: skip
    if "completion" in served.capabilities:
        names = ["seed", *(option.name for option in sampler_fields())]
        sampling = [field for field in sampling_fields(served) if field.name in names]
        trace.append(Field("sampling", Object(*sampling), "how the forward trace samples its token"))
    if "translation" in served.capabilities:
        target = [Field("target", AnyOf(text_or_ids), "the translation", required=True, example="Paul was a boy.")]
        views, attention_types, trace = ("tokens", "attention"), ATTENTION_TYPES, []
    n_layers = max(served.config.n_layers, served.config.n_decoder_layers)
    return Object(
        model_field(served),
        Field("input", AnyOf(inputs), "the text to read, as a string or token ids", required=True,
              example="Paul lived by the river."),
        *target,
        Field("show", Choice(views), "tokens: how likely each token was; attention: the attention weights; logit_lens: "
              "what each layer would predict; forward_trace: how one token is made, step by step; ablation: what is "
              "lost without each head and feed-forward; patching: what each activation of the input changes in another "
              "text; probe: where a linear probe locates the lost object of a story", "tokens"),
        Field("layer", Integer(0, n_layers - 1), "the layer whose attention to show, or after which the probe "
              "reads the residual stream", 0),
        Field("attention_type", Choice(attention_types), "the type of attention, if there are several"),
        Field("n", Integer(0, MAX_ALTERNATIVES), "how many alternatives to return for each token", 10),
        *trace,
    )  # fmt: skip


def inspect(request: Request) -> Response:
    """Show one view of the model."""
    served = request.served
    arguments = {name: value for name, value in request.values.items() if name not in ("model", "sampling")}
    if sampling := request.values.get("sampling"):
        arguments["options"] = sampling_options({"stop": None} | sampling, max_tokens=1)
    return json_response(inspect_model(served.model, served.tokenizer, **arguments, run=request.run))


RESPONSE = object_of(object=enum("inspection"), show=STRING)
ROUTES = [Route("POST", "/v1/inspect", inspect, "Look inside the model.", "inspect", make_body, RESPONSE)]


# The model's input


def run_directly(job: Job) -> Any:
    """Run a job on this thread."""
    return job()


def inspect_model(
    model: Model,
    tokenizer: Tokenizer,
    input: Input,
    show: str = "tokens",
    layer: int = 0,
    attention_type: str | None = None,
    target: str | Sequence[int] | None = None,
    n: int = 10,
    head: int = 0,
    options: SamplingOptions | None = None,
    ablation: str = "mean",
    corrupted: Input | None = None,
    kind: str = "residual",
    run: Run = run_directly,
) -> dict[str, Any]:
    """Look inside a model while it reads a text.

    Args:
        model: any model of the library, in any mode.
        tokenizer: the one that the model was trained with.
        input: a string, or token ids (which are read as they are), or the messages of a conversation.
        show: one of `VIEWS`.
        layer: the layer whose attention is shown, or after which the probe reads the stream, counted from 0.
        attention_type: one of `ATTENTION_TYPES`; None = self-attention, or cross-attention if there is a target.
        target: for a translator, the translation of the input.
        n: the number of alternatives to return for each token, up to 20.
        head: for the forward trace, the attention head to show, from 0.
        options: for the forward trace of a GPT, the sampling options; None = the model's recommendation.
        ablation: the replacement of the ablated part, "mean" or "zero".
        corrupted: for the view "patching", the text into which the activations of the input are patched.
        kind: the kind of these activations, "residual", "attention" or "feed_forward".
        run: the function that runs each job with the model, and returns its result.

    Returns:
        "object": "inspection", "show" and, with T and S numbers of tokens, H heads, L layers,

        for "tokens": "tokens": [{"id", "text", "bytes", "logprob", "rank", "alternatives": [{"id", "token", "logprob",
        "bytes"}, …]}, …], where logprob and rank are None for a token that the model does not predict. For a translator
        the tokens are those of the target, and there is "source": [{"id", "text", "bytes"}, …];

        for "attention": "attention_type", "attention_types" (those that the model has here), "layer", "layers": L,
        "heads": H, "telling_head": {"layer", "head", "query"} of all layers, "queries" (T) and "keys" (S), both [{"id",
        "text", "bytes"}, …], and "weights": [H][T][S];

        for "logit_lens": "tokens": [{"id", "text", "bytes"}, …] and "layers": [{"layer": 0, "predictions": [[{"id",
        "token", "bytes", "probability"} × 3], … T of them]}, … L + 1 of them], for the next token (for a BERT, the
        token at that position);

        for "forward_trace": "tokens" as above, "position" (which is followed), "head", "heads": H, "steps": [{"name",
        "block", "formula", "sentence", "shape", "values"}, …], "candidates": the most likely tokens [{"id", "text",
        "bytes", "logit", "probability", "stages": [logit after each stage, None = excluded], "sampled": the final
        probability}, …], "stages": [{"rule", "sentence", "kept"}, …], "uniform" (the random number; None = greedy) and
        "chosen" (the token's id);

        for "ablation": "tokens", "position" (which is followed), "predicted": {"id", "text", "bytes", "probability"},
        its "logprob", "predictions": [the most likely tokens, as "predicted"], "ablation" and "rows": [{"block",
        "cells": [{"kind": "head" or "feed_forward", "head", "effect": the change of the log probability, "predictions":
        [{"id", "text", "bytes", "probability", "before"}, …]}, … H + 1 of them]}, … L of them];

        for "patching": "tokens", "corrupted_tokens", "position", "kind", "right" and "wrong" (the tokens whose logit
        difference is measured), "clean" and "predictions" (the most likely tokens after the two texts) and "rows":
        [{"layer", "cells": [{"layer", "position", "effect": the restored fraction of the difference, "predictions" as
        for ablation}, … T of them]}, …], a row for each block, and for the residual stream one after the last;

        for "probe": "tokens", "layer", "labels" (K of them), "probabilities": [T][K], "layers": [{"layer", "accuracy",
        "control": that of the same probe with random weights}, … L of them], "interval" (of this layer's accuracy, 95
        %), "majority" (the accuracy of always naming the most frequent label) and "n_held_out" (stories).

    Raises:
        UserError: the text is empty or too long, a BERT's has no [MASK] to predict, there is no such layer, attention
            type or token id, or the model does not have this view.
    """
    if show not in VIEWS:
        raise UserError(f"show is {show!r}; it must be one of {', '.join(VIEWS)}.")
    if not isinstance(n, int) or not 0 <= n <= MAX_ALTERNATIVES:
        raise UserError(f"n, the number of alternatives, is {n!r}; it must be an integer from 0 to {MAX_ALTERNATIVES}.")
    if ablation not in ABLATIONS or kind not in PATCHING_KINDS:
        raise UserError(f"ablation is {ablation!r} and kind is {kind!r}; ablation must be one of "
                        f"{', '.join(ABLATIONS)}, and kind one of {', '.join(PATCHING_KINDS)}.")  # fmt: skip
    if show == "patching" and corrupted is None:
        raise UserError("patching needs a second text, into which the activations of the input are put; send it as "
                        "corrupted.")  # fmt: skip
    model_input = encode_input(model, tokenizer, input, target)
    check_length(model, model_input, show)
    if show == "tokens":
        view = token_view(model, tokenizer, model_input, n, run)
    elif show == "logit_lens":
        view = logit_lens_view(model, tokenizer, model_input, run)
    elif show == "forward_trace":
        options = options or options_for(model, SamplingOptions)
        trace = trace_view(model, tokenizer, model_input.ids, head, options, run)
        view = {"tokens": token_list(tokenizer, model_input.ids), **trace}
    elif show == "ablation":
        view = ablation_view(model, tokenizer, model_input.ids, ablation == "mean", run)
        view = {"tokens": token_list(tokenizer, model_input.ids), **view}
    elif show == "patching":
        assert corrupted is not None
        corrupted_ids = encode_input(model, tokenizer, corrupted, None).ids
        view = patching_view(model, tokenizer, model_input.ids, corrupted_ids, kind, run)
        view = {"tokens": token_list(tokenizer, model_input.ids),
                "corrupted_tokens": token_list(tokenizer, corrupted_ids), **view}  # fmt: skip
    elif show == "probe":
        view = {"tokens": token_list(tokenizer, model_input.ids),
                **probe_view(model, tokenizer, model_input.ids, layer, run)}  # fmt: skip
    else:
        view = attention_view(model, tokenizer, model_input, layer, attention_type, run)
    return {"object": "inspection", "show": show, **view}


def encode_input(model: Model, tokenizer: Tokenizer, input: Input, target: str | Sequence[int] | None) -> ModelInput:
    """The ids that the model would read if it were used with this input.

    Raises:
        UserError: the input is empty, an id is not in the vocabulary, or there is a target and the model is not a
            translator.
    """
    config = model.config
    has_task_head = not config.is_pretraining
    is_translator = config.family == "transformer" and config.generates
    if target is not None and not is_translator:
        raise UserError(f"a target is only for translators, and this model is a {config.family}; leave it out.")
    if not isinstance(input, str) and input and isinstance(input[0], Mapping):
        if config.family != "gpt" or has_task_head:
            raise UserError(f"the input is a conversation, and this model is a {config.family}; send a text.")
        ids = template_of(tokenizer).encode(tokenizer, cast(Messages, input), add_generation_prompt=False).ids
    elif not isinstance(input, str):
        ids = checked_ids(tokenizer, cast(Sequence[int], input))
    elif config.family == "bert":
        ids = tokenizer.build_inputs(tokenizer.encode(input, allow_special=True)).ids  # [MASK] is the special token
    elif is_translator:
        ids = [*tokenizer.encode(input), tokenizer.end_of_text]
    elif has_task_head:
        ids = tokenizer.build_inputs(tokenizer.encode(input)).ids
    else:
        ids = tokenizer.encode_prompt(input)
    if target is None:
        return ModelInput(ids)
    target_ids = tokenizer.encode(target) if isinstance(target, str) else checked_ids(tokenizer, target)
    return ModelInput(ids, [*target_ids, tokenizer.end_of_text], tokenizer.start_of_target)


def check_length(model: Model, model_input: ModelInput, show: str) -> None:
    """Raise UserError if a text is too long for this view."""
    config = model.config
    is_masked = show == "tokens" and config.family == "bert"
    limit = min(MAX_MASKED_TOKENS if is_masked else MAX_TOKENS[show], config.context_length)
    if show in MAPS:
        limit = min(limit, longest_text(model, show))
        if limit < 2:
            raise UserError(f"the map of {show!r} takes too many forward passes for a model of this size; use a "
                            "smaller model, or interpret/patching.py in Python.")  # fmt: skip
    if model_input.length > limit:
        raise UserError(
            f"the text has {model_input.length:,} tokens, and the limit of {show!r} is {limit:,} for this model; send "
            "a shorter text."
        )
