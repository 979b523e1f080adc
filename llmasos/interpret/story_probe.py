"""A probe on stories: does the model know, after each sentence, where an object is?

    probes = train_story_probes(model, tokenizer)
    probes[1].probe.accuracy, probes[1].control     # after block 1: on held-out stories; with random weights

The stories are storyworld plots in which something is lost (`datasets/storyworld/whereabouts.py`), so the truth is
known: the object is with its owner, lost, or in other hands. The probe reads the residual stream at the last token of
each sentence. Before that, a model that reads from left to right cannot know what the sentence will say.

How often it is right after a sentence of 40 held-out stories, in percent, over five seeds (mean, lowest to highest):

| after block | 1 | 2 | 3 | 4 | 5 |
|---|---|---|---|---|---|
| `storyworld-gpt` | 97.3 (96.3–98.3) | 99.3 (98.9–99.7) | 99.3 (98.9–99.7) | 99.1 (98.3–99.7) | 99.3 (98.3–100) |
| with random weights | 79 (75–83) | 80 (76–87) | 79 (75–82) | 77 (73–80) | 76 (72–80) |
| `storyworld-bert` | 85.5 (83.2–86.6) | 89.7 (86.4–92.5) | 88.7 (86.1–90.8) | 90.8 (88.9–91.9) | |
| with random weights | 61 (57–64) | 62 (59–64) | 62 (58–65) | 62 (59–64) | |

Always predicting the most frequent label is right after 51 (48–53). The control is far above that, probably because
even random layers pass on which words came last, and "was gone" is enough for many sentences. The context of the BERT,
64 tokens, holds about half a story, so it often does not see what happened before.

The probe does not ask *in which place* the object is. In the four-layer model that `storyworld-gpt` grew out of, a
probe could not read that, although the model named the right place in the end: with a label for each of the eight
places it was right after 59 % of the sentences, and always predicting "with its owner" after 51 %. The model did not
store the place in the stream; its attention looked it up in the text when needed.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from llmasos.datasets.storyworld.story import Story
from llmasos.datasets.storyworld.whereabouts import WHEREABOUTS, lost_thing_stories
from llmasos.errors import UserError
from llmasos.interpret.logit_lens import residual_stream
from llmasos.interpret.probes import Probe, train_probe
from llmasos.models import BERT, GPT, Model, build_model
from llmasos.tokenizers import Tokenizer

N_TRAIN, N_HELD_OUT = 60, 40  # stories
PASSES_PER_JOB = 4

Example = tuple[Story, list[str | None]]


class StoryProbe(NamedTuple):
    """The probe of one layer.

    Attributes:
        layer: 0 for the embeddings, l after block l.
        probe: its labels are the numbers of `WHEREABOUTS`.
        control: the accuracy of the same probe on a model with random weights.
    """

    layer: int
    probe: Probe
    control: float


def train_story_probes(
    model: Model,
    tokenizer: Tokenizer,
    n_train: int = N_TRAIN,
    n_held_out: int = N_HELD_OUT,
    seed: int = 0,
    run: Callable[[Callable[[], Any]], Any] | None = None,
) -> list[StoryProbe]:
    """Train a probe for each layer, and its control.

    Args:
        model: a GPT or a BERT with the output layer of its pretraining, in any mode.
        tokenizer: the one it was trained with.
        n_train, n_held_out: the numbers of stories to train and to test on. The latter are of the split "val".
        seed: determines the stories, and the random weights of the control.
        run: the function that runs each job with the model (None = on this thread).

    Returns:
        L + 1 probes, from the embeddings to the stream after the last block.

    Raises:
        UserError: the model is of another family, or its context is too short for the sentences of a story.
    """
    if not (isinstance(model, GPT | BERT) and model.config.is_pretraining):
        raise UserError("a probe of stories needs a gpt or a bert with its own output layer; use such a model.")
    stories = [*lost_thing_stories("train", n_train, seed), *lost_thing_stories("val", n_held_out, seed)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        control = cast(GPT | BERT, build_model(model.config))
    activations, labels, held_out = read_stories(model, tokenizer, stories, n_train, run or (lambda job: job()))
    if len(labels[held_out].unique()) < 2:
        raise UserError(f"the context of this model, {model.config.context_length} tokens, is too short for the "
                        "stories that the probe is trained on; use a model with a longer one.")  # fmt: skip
    random, _, _ = read_stories(control, tokenizer, stories, n_train, lambda job: job())
    return [
        StoryProbe(layer, train_probe(x, labels, held_out), train_probe(r, labels, held_out).accuracy)
        for layer, (x, r) in enumerate(zip(activations, random, strict=True))
    ]


def read_stories(
    model: GPT | BERT, tokenizer: Tokenizer, stories: Iterable[Example], n_train: int, run: Callable[..., Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """The stream at the end of each sentence: activations (L + 1, N, C), labels (N,), and which are held out (N,).

    Args:
        model: a GPT or a BERT.
        tokenizer: the model's.
        stories: each with its whereabouts.
        n_train: the number of stories before those that are held out.
        run: the function that runs a job with the model.
    """
    inputs, labels, held_out = [], [], []
    for number, (story, places) in enumerate(stories):
        for ids, ends in parts_of_story(model, tokenizer, story, places):
            if ends:
                inputs.append((ids, list(ends)))
                labels += [WHEREABOUTS.index(place) for place in ends.values()]
                held_out += [number >= n_train] * len(ends)

    def read(ids: list[int], positions: list[int]) -> Tensor:
        stream = torch.cat(residual_stream(model, torch.tensor(ids)))  # (L + 1, T, C)
        return stream[:, positions].float().cpu()

    activations: list[Tensor] = []
    for start in range(0, len(inputs), PASSES_PER_JOB):
        chunk = inputs[start : start + PASSES_PER_JOB]
        activations += run(lambda chunk=chunk: [read(*each) for each in chunk])
    if not activations:
        return (
            torch.zeros(model.config.n_layers + 1, 0, model.config.d_model),
            torch.tensor([]),
            torch.tensor([], dtype=torch.bool),
        )
    return torch.cat(activations, dim=1), torch.tensor(labels), torch.tensor(held_out)


def parts_of_story(
    model: GPT | BERT, tokenizer: Tokenizer, story: Story, places: list[str | None]
) -> Iterator[tuple[list[int], dict[int, str]]]:
    """Yield a story's ids, and where the thing is at the position of the last token of each sentence.

    A story that is longer than the context comes in several parts, each of as many whole sentences as fit, from the
    sentence before the one that first names the thing.
    """
    is_bert, sentences = isinstance(model, BERT), story.sentences
    begin = [] if tokenizer.begin_of_text is None else [tokenizer.begin_of_text]
    special = tokenizer.build_inputs([]).ids if is_bert else begin
    room = model.config.context_length - len(special)

    def fits(start: int, stop: int) -> bool:
        return len(tokenizer.encode(" ".join(sentences[start:stop]))) <= room

    start = 0 if fits(0, len(sentences)) else max(0, [place is not None for place in places].index(True) - 1)
    while start < len(sentences):
        stop = start + 1
        while stop < len(sentences) and fits(start, stop + 1):
            stop += 1
        encoding = tokenizer.encode_with_offsets(" ".join(sentences[start:stop]))
        ids = encoding.ids[:room]
        position = {end: i for i, end in enumerate(encoding.ends[:room], start=len(special) - is_bert)}
        ends, end = {}, -1
        for sentence, place in zip(sentences[start:stop], places[start:stop], strict=True):
            end += 1 + len(sentence)
            if place is not None and end in position:
                ends[position[end]] = place
        yield (tokenizer.build_inputs(ids).ids if is_bert else [*special, *ids]), ends
        start = stop
