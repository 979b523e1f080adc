"""Numbers about a running server, in the text form that Prometheus reads.

    # HELP llmasos_generated_tokens_total Tokens that the model has written.
    # TYPE llmasos_generated_tokens_total counter
    llmasos_generated_tokens_total 1027

A *counter* only grows; its rate is what one looks at. A *gauge* is a value of now. A *histogram* counts how many
observations were at most so large, for some bounds: from that quantiles can be estimated, and added up over servers.

Labels tell apart what is counted under one name. Their values come from a fixed set, never from a user: each new value
would be one more number to keep for ever.

https://prometheus.io/docs/instrumenting/exposition_formats/ describes the form.
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
ROWS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 128)


class Counter:
    """How often something has happened, for each combination of labels."""

    kind = "counter"

    def __init__(self, name: str, help: str, labels: Sequence[str] = ()):
        self.name, self.help, self.labels = name, help, tuple(labels)
        self._values: dict[tuple[str, ...], float] = {} if labels else {(): 0}
        self._lock = threading.Lock()  # `+=` is a read and a write, and another thread may come between them

    def add(self, n: float = 1, *values: object) -> None:
        """Count n more; `values` are those of the labels, in order."""
        key = tuple(map(str, values))
        with self._lock:
            self._values[key] = self._values.get(key, 0) + n

    def value(self, *values: object) -> float:
        """How much was counted under these values of the labels."""
        return self._values.get(tuple(map(str, values)), 0)

    def lines(self) -> list[str]:
        """One line for each combination of labels that has occurred."""
        with self._lock:
            values = sorted(self._values.items())
        return [f"{self.name}{braces(self.labels, key)} {number(value)}" for key, value in values]


class Gauge:
    """A value that is asked for when somebody wants to see it."""

    kind = "gauge"

    def __init__(self, name: str, help: str, read: Callable[[], float]):
        self.name, self.help, self.read = name, help, read

    def lines(self) -> list[str]:
        return [f"{self.name} {number(self.read())}"]


class Histogram:
    """How large observations are: for each bound, how many were at most that large."""

    kind = "histogram"

    def __init__(self, name: str, help: str, bounds: Sequence[float] = SECONDS):
        self.name, self.help, self.bounds = name, help, tuple(bounds)
        self._counts = [0] * (len(self.bounds) + 1)  # between neighbouring bounds; the last is above all of them
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        """One more observation."""
        place = bisect_left(self.bounds, value)
        with self._lock:
            self._counts[place] += 1
            self._sum += value

    @property
    def count(self) -> int:
        """How many observations there were."""
        return sum(self._counts)

    def lines(self) -> list[str]:
        with self._lock:
            counts, total = list(self._counts), self._sum
        lines, n = [], 0
        for bound, count in zip((*map(number, self.bounds), "+Inf"), counts, strict=True):
            n += count
            lines.append(f'{self.name}_bucket{{le="{bound}"}} {n}')
        return [*lines, f"{self.name}_sum {number(total)}", f"{self.name}_count {n}"]


class Metrics:
    """Everything that a server counts. The engine writes into the first six, the HTTP side into the others."""

    def __init__(self):
        self.time_to_first_token = Histogram(
            "llmasos_time_to_first_token_seconds", "From the arrival of a request for text to its first token."
        )
        self.request_seconds = Histogram(
            "llmasos_request_seconds", "From the arrival of a request for text to its end."
        )
        self.queue_seconds = Histogram(
            "llmasos_queue_seconds", "From the arrival of a request for text to its place in the batch."
        )
        self.batch_size = Histogram("llmasos_batch_size", "Rows that one decoding step worked on.", ROWS)
        self.prompt_tokens = Counter("llmasos_prompt_tokens_total", "Tokens of prompts that the model has read.")
        self.generated_tokens = Counter("llmasos_generated_tokens_total", "Tokens that the model has written.")
        self.http_requests = Counter(
            "llmasos_http_requests_total", "Requests over HTTP that were answered.", ("route", "method", "status")
        )
        started = time.time()
        self.gauges = [Gauge("llmasos_start_time_seconds", "When the server started, in Unix time.", lambda: started)]

    def gauge(self, name: str, help: str, read: Callable[[], float]) -> None:
        """Show one more value; `read` is called whenever the metrics are asked for."""
        self.gauges.append(Gauge(name, help, read))

    def text(self) -> str:
        """All of it, as Prometheus reads it."""
        counted = [metric for metric in vars(self).values() if not isinstance(metric, list)]
        blocks = [
            [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}", *metric.lines()]
            for metric in [*counted, *self.gauges]
        ]
        return "".join(f"{line}\n" for block in blocks for line in block)


def braces(labels: Sequence[str], values: Sequence[str]) -> str:
    """Labels with their values.

    >>> braces(["route", "status"], ["/v1/models", "200"])
    '{route="/v1/models",status="200"}'
    """
    if not labels:
        return ""
    pairs = [f'{label}="{escape(value)}"' for label, value in zip(labels, values, strict=True)]
    return "{" + ",".join(pairs) + "}"


def escape(value: str) -> str:
    """A label's value as it stands between its quotation marks."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def number(value: float) -> str:
    """A number as short as it goes.

    >>> number(3.0), number(0.25), number(1764123456.25)
    ('3', '0.25', '1764123456.25')
    """
    return str(int(value)) if value == int(value) else repr(float(value))
