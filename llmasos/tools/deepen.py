"""Give a trained model one block more, without changing what it computes.

    python -m llmasos.tools.deepen runs/storyworld FOLDER

The new block is a copy of the middle one whose two output projections are zero, so that it adds nothing to the residual
stream, and an output layer that was tied to the token embedding becomes a copy of it. From there, training continues
with more weights (Net2Net: Chen, Goodfellow & Shlens 2016). In the first step only the projections of the new block
have gradients, from the second on the rest of it, too.
"""

import argparse
import copy
import sys
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from llmasos.cli.cli import run
from llmasos.errors import UserError
from llmasos.hub import load_pretrained, save_pretrained
from llmasos.models import GPT, Model, build_model, n_parameters


def deepen(model: Model) -> Model:
    """Return a model with one block more and an output layer of its own that computes the same.

    Args:
        model: a gpt with L blocks; block (L - 1) // 2 is copied, and the copy comes after it.

    Raises:
        UserError: the model is not a gpt with pre-norm blocks that are all alike, or has an adapter.
    """
    config = model.config
    alike = config.norm_position == "pre" and config.n_experts == 1 and not config.layer_types
    if not isinstance(model, GPT) or model.adapter is not None or not alike:
        raise UserError("only a gpt with pre-norm blocks that are all alike, and without an adapter, can be deepened.")
    grown, middle = copy.deepcopy(model), (config.n_layers - 1) // 2
    block = copy.deepcopy(grown.blocks[middle])
    for projection in (block.attention.out_proj, block.feed_forward.down_proj):
        for weight in projection.parameters():
            nn.init.zeros_(weight)
    grown.blocks.insert(middle + 1, block)
    if config.value_embeddings:
        grown.value_embeddings.insert(middle + 1, copy.deepcopy(grown.value_embeddings[middle]))
    n_layers = config.n_layers + 1
    deeper = build_model(replace(config, n_layers=n_layers, n_decoder_layers=n_layers, tie_embeddings=False))
    deeper.load_state_dict(grown.state_dict())  # the output layer is in it under its own name, tied or not
    deeper.generation_config = model.generation_config
    return deeper.eval()


def main(arguments: Sequence[str] | None = None) -> None:
    """Load a model, deepen it, save the result, and print how much it differs from the old model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a run or a model, or a model's name")
    parser.add_argument("folder", help="where to save the deeper model")
    args = parser.parse_args(arguments)
    model, tokenizer = load_pretrained(args.model, say=print)
    deeper = deepen(model)
    save_pretrained(args.folder, deeper, tokenizer)
    ids = torch.randint(model.config.vocab_size, (4, min(64, model.config.context_length)))
    with torch.no_grad():
        difference = (deeper(ids) - model(ids)).abs().max().item()
    print(f"{args.folder}: {deeper.config.n_layers} blocks, {n_parameters(deeper):,} weights")
    print(f"largest difference of a logit from {args.model}, for random tokens: {difference:.2g}")


if __name__ == "__main__":
    sys.exit(run(main))
