"""The view `probe` of `/v1/inspect`: where a linear probe locates the lost object of a story, token by token.

The probes are trained on first use, which takes seconds, and kept as long as the model. Reading them from a file would
be faster once, but the file would be wrong as soon as the model is fine-tuned, quantized or has an adapter.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch

from llmasos.datasets.storyworld.whereabouts import WHEREABOUTS
from llmasos.errors import UserError
from llmasos.interpret import StoryProbe, train_story_probes
from llmasos.interpret.logit_lens import residual_stream
from llmasos.interpret.story_probe import N_HELD_OUT
from llmasos.models import Model, n_parameters_of
from llmasos.serving.api.text_views import DIGITS, rounded
from llmasos.tokenizers import Tokenizer

Run = Callable[[Callable[[], Any]], Any]
MAX_PARAMETERS = 20_000_000  # of a model for which probes are trained: about a minute of one CPU core

trained: WeakKeyDictionary[Model, list[StoryProbe]] = WeakKeyDictionary()
training = threading.Lock()  # so that two requests do not train the same probes


def probe_view(model: Model, tokenizer: Tokenizer, ids: Sequence[int], layer: int, run: Run) -> dict[str, Any]:
    """The prediction of one layer's probe at each token, and its accuracy.

    Args:
        model: a GPT or a BERT with the output layer of its pretraining.
        tokenizer: the model's.
        ids: the text.
        layer: the block after which the probe reads the stream, from 0.
        run: the function that runs a job with the model.

    Raises:
        UserError: the model is of another family or too large, or its context too short for a story; or there is no
            such layer.
    """
    n_layers = model.config.n_layers
    if type(layer) is not int or not 0 <= layer < n_layers:
        raise UserError(f"layer is {layer!r}; the model has {n_layers} layers, from 0 to {n_layers - 1}.")
    probes = probes_of(model, tokenizer, run)[1:]  # the first one reads the embeddings
    probe = probes[layer].probe
    stream = run(lambda: residual_stream(model, torch.tensor(ids)))[layer + 1]  # type: ignore[arg-type]
    return {
        "layer": layer,
        "labels": list(WHEREABOUTS[: len(probe.weight)]),  # short contexts may lack examples of the last one
        "probabilities": rounded(probe.logits(stream[0].float().cpu()).softmax(dim=-1)),
        "layers": [{"layer": n, "accuracy": round(each.probe.accuracy, DIGITS), "control": round(each.control, DIGITS)}
                   for n, each in enumerate(probes)],
        "interval": [round(end, DIGITS) for end in probe.interval],
        "majority": round(probe.majority, DIGITS),
        "n_held_out": N_HELD_OUT,
    }  # fmt: skip


def probes_of(model: Model, tokenizer: Tokenizer, run: Run) -> list[StoryProbe]:
    """The probes of a model, trained now if they have not been trained before."""
    size = n_parameters_of(model.config)
    if size > MAX_PARAMETERS:
        raise UserError(f"the model has {size:,} parameters, and a probe is trained here for {MAX_PARAMETERS:,} at "
                        "most; use a smaller model, or train_story_probes of llmasos.interpret in Python.")  # fmt: skip
    with training:
        if model not in trained:
            trained[model] = train_story_probes(model, tokenizer, run=run)
        return trained[model]
