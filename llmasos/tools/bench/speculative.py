"""Speculative decoding: a model with a draft against the model alone, one text at a time.

The model is `storyworld-gpt` with its layers repeated until it is several times as slow, so that there is something to
save; the blocks added write nothing to the residual stream, so its distributions are those of the shipped model. One
draft is the shipped model in int8, nearly as good as the model itself; the other has random weights, as bad as one can
be.
"""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from llmasos import hub
from llmasos.generation import Decoder, SamplingOptions, SequenceState
from llmasos.generation.speculative import SpeculativeText, generate_speculative
from llmasos.models import GPT
from llmasos.nn import eval_mode
from llmasos.tools.bench.measurement import Measurement, Settings, interleave, ratio, summarize, timed

MODEL, N_DRAFTED, COPIES = "storyworld-gpt", 4, 8


def bench_speculative(settings: Settings) -> Iterator[Measurement]:
    """Texts of 100 tokens by sampling, with four drafted tokens at a time."""
    shipped, tokenizer = hub.load_pretrained(MODEL, settings.device)
    draft, _ = hub.load_pretrained(MODEL, settings.device, quantize="int8")
    model, n_tokens = deepened(shipped, 2 if settings.quick else COPIES), 8 if settings.quick else 100
    random = GPT(draft.config).to(settings.device)
    prompt = tuple(tokenizer.encode("One cold morning"))
    texts: dict[str, SpeculativeText] = {}

    def options(seed: int = 0) -> SamplingOptions:
        return SamplingOptions(max_new_tokens=n_tokens, stop_at_end_of_text=False, seed=seed)

    @torch.inference_mode()
    def plain() -> None:
        decoder = Decoder(model, [SequenceState(prompt, options())], tokenizer.vocab_size)
        decoder.sample()
        for _ in range(n_tokens - 1):
            decoder.step()
            decoder.sample()

    def speculate(name: str, drafter: Any) -> None:
        texts[name] = generate_speculative(
            model, drafter, prompt, options(), N_DRAFTED, vocab_size=tokenizer.vocab_size
        )

    with eval_mode(model), eval_mode(draft), eval_mode(random):
        functions = {
            "plain": plain,
            "good": lambda: speculate("good", draft),
            "bad": lambda: speculate("bad", random),
        }
        measures = {name: timed(function, settings.device, 0.0) for name, function in functions.items()}
        seconds = interleave(measures, settings.repetitions(7))
    rates = {name: [n_tokens / x for x in values] for name, values in seconds.items()}
    layers = f"{model.config.n_layers} layers, draft {draft.config.n_layers}"
    setup = f"{MODEL}: {layers}, {N_DRAFTED} tokens drafted, {n_tokens} tokens"
    titles = {"plain": "the model alone", "good": "with a good draft", "bad": "with a random draft"}
    for name, title in titles.items():
        yield summarize(f"speculative.{name}_tokens_per_second", setup, title, "tokens/s", rates[name])
    for name in ("good", "bad"):
        yield ratio(f"speculative.{name}_speedup", setup, f"{titles[name]}: over alone", rates[name], rates["plain"])
        accepted = 100 * texts[name].n_accepted / max(1, texts[name].n_proposed)
        yield summarize(f"speculative.{name}_acceptance", setup, f"{titles[name]}: accepted", "%", [accepted])


def deepened(model: Any, copies: int) -> Any:
    """The same model with `copies` times as many blocks, of which the added ones compute, but write nothing."""
    deep = copy.deepcopy(model)
    for block in list(model.blocks) * (copies - 1):
        silent = copy.deepcopy(block)
        for name, parameter in silent.named_parameters():
            if "out_proj" in name or "down_proj" in name:
                parameter.data.zero_()
        deep.blocks.append(silent)
    deep.config = replace(model.config, n_layers=len(deep.blocks))
    return deep
