"""How sure a model was of each token of a text, and what it would have said in its place."""

from typing import NamedTuple

import torch
from torch import nn

from llmasos.errors import UserError
from llmasos.generation import eval_mode
from llmasos.tokenizers import Tokenizer


class TokenScore(NamedTuple):
    """One token of a text.

    Attributes:
        id: the token.
        text: its text; U+FFFD for a piece of a character.
        logprob: ln of the probability that the model gave it after the tokens before it; None for the first, before
            which there is nothing.
        rank: how many tokens were likelier; None for the first.
        alternatives: the likeliest tokens at this place, (id, text, probability), the likeliest first.
    """

    id: int
    text: str
    logprob: float | None
    rank: int | None
    alternatives: list[tuple[int, str, float]]


@torch.inference_mode()
def score_tokens(model: nn.Module, tokenizer: Tokenizer, text: str, n: int = 5) -> list[TokenScore]:
    """Score each token of a text by a GPT.

    Args:
        model: a causal language model, in any mode.
        tokenizer: the one it was trained with.
        text: no longer than the model's context.
        n: how many alternatives to give for each token.

    Raises:
        UserError: the model is no GPT, or the text is empty or too long.
    """
    if model.config.family != "gpt" or model.config.head != "none":
        raise UserError("only a gpt says how likely each token of a text is; use one.")
    begin = [] if tokenizer.begin_of_text is None else [tokenizer.begin_of_text]
    ids = [*begin, *tokenizer.encode(text)]
    if len(ids) == len(begin):
        raise UserError("the text is empty; give one with at least one token.")
    device = next(model.parameters()).device
    with eval_mode(model):
        logits = model(torch.tensor([ids], device=device))[0, :, : tokenizer.vocab_size].float()  # (T, V)
    logprobs = logits.log_softmax(dim=-1).cpu()

    def written(id: int) -> str:
        return tokenizer.token_bytes(id).decode("utf-8", errors="replace")

    scores = [] if begin else [TokenScore(ids[0], written(ids[0]), None, None, [])]
    for place in range(1, len(ids)):
        row, id = logprobs[place - 1], ids[place]  # what was said before the token was seen
        values, indices = row.topk(min(n, len(row)))
        best = zip(indices.tolist(), values.exp().tolist(), strict=True)
        alternatives = [(other, written(other), probability) for other, probability in best]
        scores.append(TokenScore(id, written(id), float(row[id]), int((row > row[id]).sum()), alternatives))
    return scores
