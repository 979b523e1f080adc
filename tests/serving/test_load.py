"""A server under realistic load: its own process, HTTP, a shipped model, many clients at once."""

import random
import re
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from llmasos import hub
from llmasos.generation import SamplingOptions, generate, sequence
from llmasos.generation.sampling import uniform
from llmasos.serving.http.client import Client
from llmasos.tools.bench.measurement import Settings
from llmasos.tools.bench.serving import MODEL, server

SETTINGS = Settings(torch.device("cpu"))
WORDS = "Once there was a brave girl called Anna who lived by the river and wanted to find the old lamp .".split()


def random_request(draw: random.Random) -> tuple[str, dict]:
    """A random prompt, and random fields of a request."""
    prompt = " ".join(draw.choices(WORDS, k=draw.choice([1, 3, 10, 40, 120])))
    fields = {
        "max_tokens": draw.choice([1, 3, 10, 25, 60]),
        "temperature": draw.choice([0, 0.7, 1.0, 1.3]),
        "top_k": draw.choice([None, 20]),
        "top_p": draw.choice([None, 0.9]),
        "min_p": draw.choice([None, 0.05]),
        "repetition_penalty": draw.choice([1.0, 1.2]),
        "presence_penalty": draw.choice([0, 0, 0.5]),
        "stop": draw.choice([None, ".", ["the", "She"]]),
        "seed": draw.randrange(10_000),
    }
    return prompt, {name: value for name, value in fields.items() if value is not None}


def options_of(fields: dict) -> SamplingOptions:
    """The same options for the naive decoder."""
    names = {"max_tokens": "max_new_tokens"}
    return SamplingOptions(**{names.get(name, name): value for name, value in fields.items()})


@pytest.mark.slow
def test_two_hundred_requests_over_http_each_get_the_text_that_they_get_alone(monkeypatch):
    draw = random.Random(0)
    asked = [random_request(draw) for _ in range(200)]
    with server(SETTINGS) as (url, _), ThreadPoolExecutor(24) as pool:
        client = Client(url)
        start = time.perf_counter()
        texts = list(pool.map(lambda request: client.generate(request[0], **request[1]).text, asked))
        seconds = time.perf_counter() - start
    model, tokenizer = hub.load_pretrained(MODEL, torch.device("cpu"))
    alone = [generate(model, tokenizer, [prompt], options_of(fields))[0].text for prompt, fields in asked]
    different = [i for i, (text, other) in enumerate(zip(texts, alone, strict=True)) if text != other]
    print(f"\n200 requests, 24 at once, {seconds:.1f} s: {len(different)} differ from what they give alone")
    # In float32 rounding depends on the size of the batch. It can turn a draw where the random number falls onto the
    # edge between two tokens, to six digits: less than once in ten thousand tokens. Then a number that is larger or
    # smaller by so little gives the other text. (In float64, test_serving_engine.py, nothing may differ.)
    assert len(different) <= 2
    for i in different:
        prompt, fields = asked[i]
        others = set()
        for nudge in (-1e-5, 1e-5):
            monkeypatch.setattr(sequence, "uniform", lambda *args, nudge=nudge: uniform(*args) + nudge)
            others.add(generate(model, tokenizer, [prompt], options_of(fields))[0].text)
        assert texts[i] in others, f"{prompt!r}, {fields}"


@pytest.mark.slow
def test_memory_stays_the_same_over_two_thousand_requests():
    with server(SETTINGS) as (url, process), ThreadPoolExecutor(16) as pool:
        client, sizes = Client(url), []
        for n in (200, 600, 600, 600):
            list(pool.map(lambda seed: client.generate("One cold morning", max_tokens=3, seed=seed).text, range(n)))
            status = Path(f"/proc/{process.pid}/status")
            if not status.exists():
                pytest.skip("this system does not tell how much memory a process has")
            sizes.append(int(re.search(r"VmRSS:\s+(\d+)", status.read_text())[1]) / 1024)
    print(f"\nmemory after 200, 800, 1400, 2000 requests: {', '.join(f'{size:.1f}' for size in sizes)} MB")
    assert sizes[-1] - sizes[0] < 0.05 * sizes[0]
    assert statistics.fmean(sizes[2:]) - sizes[1] < 0.02 * sizes[0]  # nor does it creep
