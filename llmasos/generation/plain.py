"""Generation as it is explained on a blackboard: no cache, no batch, the whole text is read again for every token.

This is the definition. `decoder.py` must give the same tokens, and is tested to.
"""

from collections.abc import Sequence

import torch
from torch import nn

from llmasos.generation.options import SamplingOptions
from llmasos.generation.rows import Row, eval_mode, next_tokens


@torch.inference_mode()
def generate_plain(
    model: nn.Module,
    prompt: Sequence[int],
    options: SamplingOptions,
    sample: int = 0,
    end_of_text: int | None = None,
    vocab_size: int | None = None,
) -> list[int]:
    """Continue one sequence of ids.

    Args:
        model: a causal language model: ids (1, T) → logits (1, T, V).
        prompt: at least one id, at most context_length.
        options: how to choose tokens; stop strings are for text and not looked at here.
        sample: which sample of this prompt; decides the random numbers together with `options.seed`.
        end_of_text: the id after which to stop (None = none).
        vocab_size: only ids below it are chosen (None = all).

    Returns:
        the new ids, with `end_of_text` if it was chosen.
    """
    row = Row(tuple(prompt), options, sample)
    device, P = next(model.parameters()).device, model.config.context_length
    window = list(prompt)  # what the model sees
    with eval_mode(model):
        for _ in range(options.max_new_tokens):
            if len(window) > P:
                window = window[-(P // 2) - 1 :]  # half of a context, and the token chosen last
            hidden = model.hidden(torch.tensor([window], device=device))  # (1, T, C)
            logits = model.lm_head(hidden[:, -1])[:, :vocab_size]  # (1, V)
            token = int(next_tokens(logits, [row], options))
            row.ids.append(token)
            window.append(token)
            if token == end_of_text:
                break
    return row.ids
