"""Serving: sixteen clients at once against one after another, over HTTP, as a user would have it.

The server is a process of its own (`python -m llmasos serve`) and the clients are threads of this one, so that they do
not take the interpreter's lock from each other. All answers are streamed, because only then can be told when the first
token was there. Memory is what the operating system says that the server holds.
"""

import http.client
import json
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from llmasos.errors import UserError
from llmasos.tools.bench.measurement import Figure, figure, ratio, take_turns
from llmasos.tools.bench.settings import Settings

MODEL = "storyworld-gpt"
CLIENTS = 16
BODY = {"prompt": "One cold morning", "stream": True, "stream_options": {"include_usage": True}}


class Answer(NamedTuple):
    """One request as its client saw it: how many tokens came, and after how many seconds the first of them."""

    n_tokens: int
    first: float


def bench_serving(settings: Settings) -> Iterator[Figure | str]:
    """Ask a server on this machine for stories."""
    n_tokens, rounds = (8, 1) if settings.quick else (100, 2)
    firsts: dict[str, list[float]] = {"alone": [], "together": []}
    with server(settings) as (url, process), ThreadPoolExecutor(CLIENTS) as pool:

        def tokens_per_second(name: str, n_clients: int, n_requests: int) -> float:
            start = time.perf_counter()
            if n_clients == 1:
                answers = [ask(url, n_tokens, seed) for seed in range(n_requests)]
            else:
                answers = list(pool.map(lambda seed: ask(url, n_tokens, seed), range(n_requests)))
            firsts[name] += [answer.first for answer in answers]
            return sum(answer.n_tokens for answer in answers) / (time.perf_counter() - start)

        tokens_per_second("alone", 1, 2)  # to warm up
        firsts["alone"].clear()
        rates = take_turns(
            {
                "alone": lambda: tokens_per_second("alone", 1, 3 * rounds),
                "together": lambda: tokens_per_second("together", CLIENTS, CLIENTS * rounds),
            },
            settings.repetitions(5),
        )
        at = f"{MODEL}, {n_tokens} tokens an answer, streamed"
        yield figure("serving.alone", at, "one client after another", "tokens/s", rates["alone"])
        yield figure("serving.together", at, f"{CLIENTS} clients at once", "tokens/s", rates["together"])
        yield ratio("serving.speedup", at, "at once over one after another", rates["together"], rates["alone"])
        for name, what in (("alone", "one client"), ("together", f"{CLIENTS} clients")):
            milliseconds = [1e3 * first for first in firsts[name]]
            p95 = statistics.quantiles(milliseconds, n=20)[-1]
            yield figure(f"serving.first_token.{name}", at, f"first token, 95 % of them within, {what}", "ms", [p95])

        status = Path(f"/proc/{process.pid}/status")
        if status.exists():
            first, all = (40, 80) if settings.quick else (200, 2000)
            sizes = []
            for n in (first, all - first):
                list(pool.map(lambda seed: ask(url, 4, seed), range(n)))
                sizes.append(int(re.search(r"VmRSS:\s+(\d+)", status.read_text())[1]) / 1024)
            at = f"memory of the server, {all} requests"
            yield figure("serving.memory", at, f"after {first} requests", "MB", sizes[:1])
            yield figure("serving.memory_growth", at, f"more after {all}", "MB", [sizes[1] - sizes[0]])


@contextmanager
def server(settings: Settings) -> Iterator[tuple[str, subprocess.Popen]]:
    """A server in a process of its own, and its address."""
    command = [sys.executable, "-m", "llmasos", "serve", MODEL, "--port", "0", "--device", settings.device.type]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        said = []
        reader = threading.Thread(target=process.stdout.read, daemon=True)  # a full pipe would stop the server
        try:
            for line in process.stdout:
                said.append(line)
                found = re.search(r"http://\S+?:\d+", line)
                if found:
                    break
            else:
                raise UserError(f"the server did not start; {' '.join(command)} said: {' '.join(said)}")
            reader.start()
            yield found[0], process
        finally:
            process.terminate()
            process.wait()
            if reader.is_alive():
                reader.join()


def ask(url: str, n_tokens: int, seed: int) -> Answer:
    """One request for a text of at most so many tokens."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        start, first, last = time.perf_counter(), 0.0, b""
        body = json.dumps(BODY | {"max_tokens": n_tokens, "seed": seed})
        connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        for line in response:
            if line.startswith(b"data: {"):
                first, last = first or time.perf_counter() - start, line
        if response.status != 200:
            raise UserError(f"the server answered {response.status} in the middle of the bench.")
        return Answer(json.loads(last.removeprefix(b"data: "))["usage"]["completion_tokens"], first)
    finally:
        connection.close()
