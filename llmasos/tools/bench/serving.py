"""Serving over HTTP: sixteen concurrent clients against one after another.

The server is a process of its own (`python -m llmasos serve`) and the clients are threads of this one, so that they do
not compete for the interpreter's lock. All answers are streamed, to measure the time to the first token.
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
from urllib.parse import urlsplit

from llmasos.errors import UserError
from llmasos.tools.bench.measurement import Measurement, Settings, interleave, ratio, summarize

MODEL = "storyworld-gpt"
CLIENTS = {"sequential": 1, "concurrent": 16, "crowd": 64}
BODY = {"prompt": "One cold morning", "stream": True, "stream_options": {"include_usage": True}}


def bench_serving(settings: Settings) -> Iterator[Measurement]:
    """Throughput, time to the first token, and the server's memory."""
    n_tokens, rounds = (8, 1) if settings.quick else (100, 2)
    latencies: dict[str, list[float]] = {name: [] for name in CLIENTS}
    with server(settings) as (url, process):

        def send(name: str, n_requests: int, n_tokens: int) -> list[tuple[int, float]]:
            with ThreadPoolExecutor(CLIENTS[name]) as pool:
                return list(pool.map(lambda seed: request(url, n_tokens, seed), range(n_requests)))

        def tokens_per_second(name: str, n_requests: int) -> float:
            start = time.perf_counter()
            answers = send(name, n_requests, n_tokens)
            latencies[name] += [1e3 * first for _, first in answers]
            return sum(n for n, _ in answers) / (time.perf_counter() - start)

        tokens_per_second("sequential", 2)  # warm up
        latencies["sequential"].clear()
        rates = interleave(
            {
                "sequential": lambda: tokens_per_second("sequential", 3 * rounds),
                "concurrent": lambda: tokens_per_second("concurrent", CLIENTS["concurrent"] * rounds),
                "crowd": lambda: tokens_per_second("crowd", CLIENTS["crowd"]),
            },
            settings.repetitions(5),
        )
        setup = f"{MODEL}, {n_tokens} tokens per answer, streamed"
        titles = {name: f"{n} concurrent clients" for name, n in CLIENTS.items()}
        titles["sequential"] = "one client after another"
        for name, what in titles.items():
            yield summarize(f"serving.{name}", setup, what, "tokens/s", rates[name])
        yield ratio("serving.speedup", setup, "concurrent over sequential", rates["concurrent"], rates["sequential"])
        for name, what in titles.items():
            p95 = statistics.quantiles(latencies[name], n=20)[-1]
            yield summarize(f"serving.{name}_ttft_p95", setup, f"first token (p95), {what}", "ms", [p95])

        status = Path(f"/proc/{process.pid}/status")
        if status.exists():
            first, total = (40, 80) if settings.quick else (200, 2000)
            sizes = []
            for n in (first, total - first):
                send("concurrent", n, 4)
                sizes.append(int(re.findall(r"VmRSS:\s+(\d+)", status.read_text())[0]) / 1024)
            setup = f"memory of the server after {total} requests"
            yield summarize("serving.memory", setup, f"after {first} requests", "MB", sizes[:1])
            yield summarize("serving.memory_growth", setup, f"growth until {total}", "MB", [sizes[1] - sizes[0]])


@contextmanager
def server(settings: Settings) -> Iterator[tuple[str, subprocess.Popen]]:
    """A server in a process of its own; yields its address and the process."""
    command = [sys.executable, "-m", "llmasos", "serve", MODEL, "--port", "0", "--device", settings.device.type]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        output = ""
        reader = threading.Thread(target=process.stdout.read, daemon=True)  # a full pipe would block the server
        try:
            for line in process.stdout:
                output += line
                if address := re.search(r"http://\S+?:\d+", line):
                    break
            else:
                raise UserError(f"the server did not start; {' '.join(command)} printed: {output}.")
            reader.start()
            yield address[0], process
        finally:
            process.terminate()
            process.wait()
            if reader.is_alive():
                reader.join()


def request(url: str, n_tokens: int, seed: int) -> tuple[int, float]:
    """Request a text of at most n_tokens. Returns how many tokens came, and the seconds until the first of them."""
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
            raise UserError(f"the server answered with status {response.status} during the benchmark.")
        return json.loads(last.removeprefix(b"data: "))["usage"]["completion_tokens"], first
    finally:
        connection.close()
