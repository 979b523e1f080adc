"""How one token is made: one prediction, followed through the model step by step with its real numbers.

    ids → embedding → each block: norm, attention, residual, norm, feed-forward, residual → final norm → logits

The numbers are those of the model's own modules in one forward pass: a hook on each module keeps its output at the
position that is followed. Only the attention scores are computed a second time, from the queries and keys of that pass,
because attention does not keep them; their softmax must be the recorded weights (`tests/interpret`).
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from llmasos.errors import UserError
from llmasos.interpret.attention import record_weights
from llmasos.models import BERT, GPT, Model
from llmasos.nn import (
    DecoderBlock,
    EncoderBlock,
    MixtureOfExperts,
    Residual,
    RMSNorm,
    apply_rotary,
    eval_mode,
    position_ids,
)

Block = EncoderBlock | DecoderBlock
Kept = dict[nn.Module, Tensor]  # what was kept of each module's output


@dataclass(frozen=True)
class TraceStep:
    """One step of the computation.

    Attributes:
        name: the step's name, such as "query".
        formula: what is computed.
        sentence: its purpose.
        values: the result, a vector: (C,), (D,), (d_ff,), (S,) for scores and weights, or (V,) for logits.
        block: the number of its block, from 0; None before the first block and after the last.
    """

    name: str
    formula: str
    sentence: str
    values: Tensor
    block: int | None = None


@torch.inference_mode()
def forward_trace(model: Model, ids: Tensor, position: int = -1, head: int = 0) -> list[TraceStep]:
    """Follow the prediction at one position through a GPT or a BERT.

        steps = forward_trace(model, ids)
        steps[-1].values                    # the logits (V,) of the next token: model(ids)[0, -1]

    Args:
        model: a model with the output layer of its pretraining, in any mode.
        ids: (T,) or (1, T) token ids.
        position: the position to follow. A GPT predicts the next token there, a BERT the token at this position.
        head: the attention head to show in each block, from 0.

    Raises:
        UserError: the model is of another family or has another head, or there is no such position or attention head.
    """
    config = model.config
    if config.parallel_residual or config.relative_attention_num_buckets:
        name = "parallel_residual" if config.parallel_residual else "relative_attention_num_buckets"
        raise UserError(f"a forward trace does not know models with {name}; choose another model.")
    if not (isinstance(model, GPT | BERT) and config.is_pretraining):
        raise UserError("a forward trace needs a gpt or a bert with its own output layer; this model is a "
                        f"{config.family} with the head {config.head!r}.")  # fmt: skip
    ids = ids.reshape(1, -1).to(next(model.parameters()).device)
    if not -ids.size(1) <= position < ids.size(1):
        raise UserError(f"position is {position}; the text has {ids.size(1)} tokens, from 0 to {ids.size(1) - 1}.")
    if not 0 <= head < config.n_heads:
        raise UserError(f"head is {head}; the model has {config.n_heads} heads, from 0 to {config.n_heads - 1}.")
    position %= ids.size(1)
    with eval_mode(model), record_weights(model) as weights, recorded_rows(model, position, head) as kept:
        hidden = model.hidden_states(ids)[:, position]  # (1, C)
        logits = (model.lm_head if isinstance(model, GPT) else model.masked_lm_head)(hidden)[0]  # (V,)
    tables = (model.rotary, model.local_rotary or model.rotary)
    rotary, local_rotary = (None if table is None else table(position_ids(ids)) for table in tables)
    steps = embedding_steps(model, kept)
    for number, block in enumerate(cast(list[Block], model.blocks)):
        [recorded] = weights[f"blocks.{number}.attention"]  # (1, H, T, S)
        n_visible = position + 1 if isinstance(model, GPT) else ids.size(1)  # a GPT's query sees no later token
        turns = local_rotary if config.is_sliding(number) else rotary
        attention = attention_steps(block, kept, turns, recorded[0, head, position, :n_visible], position, head)
        in_block = residual_steps(block.attention_residual, attention, steps[-1].values, kept)
        in_block += residual_steps(
            block.feed_forward_residual, feed_forward_steps(block, kept, config.gate), in_block[-1].values, kept
        )
        steps += [replace(step, block=number) for step in in_block]
    return steps + output_steps(model, kept, logits)


@contextmanager
def recorded_rows(model: GPT | BERT, position: int, head: int) -> Iterator[Kept]:
    """Keep what a trace needs of each module's output during the `with`: mostly the row of one position, as a copy."""
    kept: Kept = {}
    hooks = []

    def keep(module: nn.Module, select: Callable[[Any, Tensor], Tensor]) -> None:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            kept[module] = select(inputs, output).clone()  # not a view, which would keep the rows of all positions

        hooks.append(module.register_forward_hook(hook))

    def output_row(inputs: Any, output: Tensor) -> Tensor:
        return output[0, position]  # (C,)

    def input_row(inputs: Any, output: Tensor) -> Tensor:
        return inputs[0][0, position]  # (H·D,) before `out_proj`, (d_ff,) before `down_proj`

    def of_head(inputs: Any, output: Tensor) -> Tensor:
        number = head * output.size(1) // model.config.n_heads  # grouped-query attention has fewer heads of keys
        return output[:, number : number + 1]  # (1, 1, T, D)

    for name in ("token_embedding", "position_embedding", "segment_embedding", "embedding_norm", "final_norm"):
        if isinstance(module := getattr(model, name, None), nn.Module):
            keep(module, output_row)
    for block in cast(list[Block], model.blocks):
        attention, residuals = block.attention, (block.attention_residual, block.feed_forward_residual)
        rows: list[nn.Module] = [attention, block.feed_forward, *residuals, *(residual.norm for residual in residuals)]
        rows += [residual.output_norm for residual in residuals if residual.output_norm is not None]
        for module in rows:
            keep(module, output_row)
        for module in (attention.q_norm, attention.k_norm):
            keep(module, of_head)
        keep(attention.out_proj, input_row)
        if isinstance(block.feed_forward, MixtureOfExperts):
            keep(block.feed_forward.router, output_row)
        else:
            keep(block.feed_forward.down_proj, input_row)
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()


def embedding_steps(model: GPT | BERT, kept: Kept) -> list[TraceStep]:
    """From a token's id to the vector that enters the first block."""
    x = kept[model.token_embedding]
    sentence = "Each token of the vocabulary has a learned vector: row id of the matrix E."
    steps = [TraceStep("token_embedding", "x = E[id]", sentence, x)]
    if model.config.scale_embeddings:
        x = x * math.sqrt(model.config.d_model)
        sentence = "It is scaled by √C, so that its features are about as large as those that the blocks write."
        steps.append(TraceStep("scaled_embedding", "x ← √C x", sentence, x))
    if model.position_embedding is not None:
        x = x + kept[model.position_embedding]
        sentence = "The vector of the position is added: without it the model could not tell the order of the tokens."
        steps.append(TraceStep("position_embedding", "x ← x + P[position]", sentence, x))
    if isinstance(model, BERT):
        if model.config.n_segments:
            x = x + kept[model.segment_embedding]
            sentence = "The vector of the segment is added: it tells the first text of a pair from the second."
            steps.append(TraceStep("segment_embedding", "x ← x + S[segment]", sentence, x))
        x = kept[model.embedding_norm]
        formula, sentence = norm_formula("x", model.embedding_norm, "x"), "A norm brings the sum to a fixed scale."
        steps.append(TraceStep("embedding_norm", formula, sentence, x))
    return steps


def residual_steps(residual: Residual, inner: list[TraceStep], x: Tensor, kept: Kept) -> list[TraceStep]:
    """The steps of a function of the stream x (C,) inside a residual connection, with its norm before or after it."""
    name, letter = inner[-1].name, inner[-1].formula[0]
    add = f"x ← x + {letter}"
    added = "The result is added to the stream, which carries everything computed so far."
    if residual.pre_norm:
        sentence = "A norm brings a copy of the stream to a fixed scale."
        norm = TraceStep("norm", norm_formula("h", residual.norm, "x"), sentence, kept[residual.norm])
        if residual.output_norm is not None:
            formula, why = norm_formula(letter, residual.output_norm, letter), "A norm brings the result to that scale."
            inner = [*inner, TraceStep("output_norm", formula, why, kept[residual.output_norm])]
        return [norm, *inner, TraceStep(f"{name}_residual", add, added, kept[residual])]
    sentence = "A norm brings the stream to a fixed scale."
    norm = TraceStep("norm", norm_formula("x", residual.norm, "x"), sentence, kept[residual])
    return [*inner, TraceStep(f"{name}_residual", add, added, x + inner[-1].values), norm]


def attention_steps(
    block: Block,
    kept: Kept,
    rotary: tuple[Tensor, Tensor] | None,
    weights: Tensor,
    position: int,
    head: int,
) -> list[TraceStep]:
    """One head of a block's attention, and then all heads together.

    Args:
        block: a block of the model.
        kept: the values kept by `recorded_rows`.
        rotary: cos and sin of all positions, or None.
        weights: (S,), of this head, for the query at this position.
        position, head: the query and the head.
    """
    attention = block.attention
    q, k = kept[attention.q_norm], kept[attention.k_norm]  # (1, 1, T, D) each
    inputs = "h" if block.attention_residual.pre_norm else "x"
    formula, rotated = f"q = W_q {inputs}", ""
    if rotary is not None:
        q, k = apply_rotary(q, *rotary), apply_rotary(k, *rotary)
        formula, rotated = f"q = R_t W_q {inputs}", " RoPE rotates it by angles that depend on the position t."
    query, keys = q[0, 0, position], k[0, 0, : len(weights)]  # (D,), (S, D)
    size = attention.head_size
    scores, compared = keys @ query / math.sqrt(size), "s = q·k / √D"  # (S,)
    if attention.scale is not None:
        scores, compared = keys @ query * attention.scale, f"s = {attention.scale:g} q·k"
    if attention.alibi is not None:
        place = torch.tensor([[position]], device=scores.device)
        scores = scores + attention.alibi(place, len(scores))[0, head, 0]
        compared += " - slope · distance"
    scores = scores.masked_fill(weights == 0.0, torch.finfo(scores.dtype).min)  # outside a sliding window
    gathered = kept[attention.out_proj][head * size : (head + 1) * size]  # (D,)
    return [
        TraceStep("query", formula, f"The query says what this head looks for at this position.{rotated}", query),
        TraceStep("scores", compared, "The query is compared with the key of each visible token: the better they "
                  "match, the higher the score.", scores),
        TraceStep("weights", "w = softmax(s)", "Softmax turns the scores into positive weights with the sum 1.",
                  weights),
        TraceStep("gathered", "o = Σ w v", "The values of these tokens are averaged with the weights: this is what the "
                  "head has gathered.", gathered),
        TraceStep("attention", "a = W_o [o₁ … o_H]", f"The outputs of all {attention.n_heads} heads, side by side, are "
                  "mixed by a matrix.", kept[attention]),
    ]  # fmt: skip


def feed_forward_steps(block: Block, kept: Kept, gate: str | None) -> list[TraceStep]:
    """The two steps of a block's feed-forward; `gate` is the activation of its gate, or None."""
    inputs = "h" if block.feed_forward_residual.pre_norm else "x"
    if isinstance(block.feed_forward, MixtureOfExperts):
        k = block.feed_forward.n_active
        return [
            TraceStep("router", f"p = softmax(W_r {inputs})", "The router gives each expert a probability, for this "
                      "position alone.", kept[block.feed_forward.router].softmax(dim=-1)),
            TraceStep("feed_forward", f"f = Σ g E({inputs})", "The output of the most probable expert, weighted by p."
                      if k == 1 else f"The outputs of the {k} most probable experts are added, weighted by p.",
                      kept[block.feed_forward]),
        ]  # fmt: skip
    formula = f"u = {gate}(W_gate {inputs}) ⊙ W_up {inputs}" if gate else f"u = activation(W_up {inputs})"
    return [
        TraceStep("hidden", formula, "The feed-forward works on this position alone: it expands the vector and applies "
                  "a nonlinearity.", kept[block.feed_forward.down_proj]),
        TraceStep("feed_forward", "f = W_down u", "It is projected back to the width of the stream.",
                  kept[block.feed_forward]),
    ]  # fmt: skip


def output_steps(model: GPT | BERT, kept: Kept, logits: Tensor) -> list[TraceStep]:
    """From the stream after the last block to the logits (V,)."""
    steps = []
    if model.config.norm_position == "pre":
        sentence = "The final norm brings the stream to the scale that the output layer expects."
        formula = norm_formula("h", model.final_norm, "x")
        steps.append(TraceStep("final_norm", formula, sentence, kept[model.final_norm]))
    if isinstance(model, GPT):
        formula, what = "logits = W h", "the next one"
    else:
        formula, what = "logits = W norm(activation(W₁ x))", "the one at this position"
    sentence = f"The output layer gives each token of the vocabulary a score for being {what}."
    return [*steps, TraceStep("logits", formula, sentence, logits)]


def norm_formula(result: str, norm: nn.Module, argument: str) -> str:
    """The formula of a norm, by its name."""
    sign = "←" if result == argument else "="
    return f"{result} {sign} {'RMSNorm' if isinstance(norm, RMSNorm) else 'LayerNorm'}({argument})"
