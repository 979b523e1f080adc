"""Answers that are sent while they are written: server-sent events, as OpenAI has them.

    data: {"id": "cmpl-…", "choices": [{"index": 0, "text": " was", …}], …}

    data: [DONE]

Each event is a line that begins with `data: `, and an empty line. What goes wrong after the first of them can no longer
have a status of its own, since 200 has been said: it comes as an event with an `error`, and the stream ends.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llmasos.serving.refusals import error_object, refusal
from llmasos.serving.requests import Event
from llmasos.serving.requests import Request as Job
from llmasos.serving.routes.sampling import GONE_SECONDS, cancel_all
from llmasos.serving.web import Request, Response, to_json

EVENT_STREAM = "text/event-stream"
HEADERS = (("Cache-Control", "no-store"), ("X-Accel-Buffering", "no"))  # the second asks a proxy not to collect them
DONE = b"data: [DONE]\n\n"
BETWEEN_EVENTS = 0.03  # seconds
BETWEEN_LOOKS = 0.01  # seconds, until the first of several texts begins

Chunks = Callable[[int, Event], list[dict[str, Any]]]
Last = Callable[[], list[dict[str, Any]]]


def stream(request: Request, jobs: Sequence[Job], chunks: Chunks, last: Last) -> Response:
    """The answer that shows requests while they are worked on.

    Args:
        request: what the client has asked.
        jobs: what the engine is doing for it.
        chunks: what to send for an event of the job with this number.
        last: what to send once all have ended.

    Raises:
        as `events` does, if that happens before there is anything to show: the answer then has its proper status.
    """
    events = news(jobs)
    try:
        while not jobs[0].news(GONE_SECONDS):  # they come in order, so it is the first to begin
            request.check_client()
        request.check_client()
        first = next(events)
    except BaseException:
        cancel_all(jobs)
        raise
    return Response(EventStream(jobs, first, events, chunks, last), EVENT_STREAM, headers=HEADERS)


def news(jobs: Sequence[Job]) -> Iterator[tuple[int, Event]]:
    """The events of requests as they come, each with the number of its request.

    The first comes at once. From then on a reader sleeps for a moment after each event, and the next one holds all the
    tokens of that time. Nobody sees thirty milliseconds, and every event costs that a thread is woken, which takes the
    interpreter from the model's: with an event for every token, sixteen streams get a third fewer tokens in all.
    """
    readers = {number: job.events() for number, job in enumerate(jobs)}
    while readers:
        with_news = [number for number in readers if jobs[number].news(0)]
        if not with_news and len(readers) == 1:
            with_news = list(readers)  # wait for it
        for number in with_news:
            event = next(readers[number])
            yield number, event
            if event.finish_reason is not None:
                del readers[number]
        if readers:
            jobs[min(readers)].wait(BETWEEN_EVENTS if with_news else BETWEEN_LOOKS)


class EventStream:
    """The body of a stream. Closing it, which a server does when the client has gone, ends the work for it."""

    def __init__(
        self,
        jobs: Sequence[Job],
        first: tuple[int, Event],
        others: Iterator[tuple[int, Event]],
        chunks: Chunks,
        last: Last,
    ):
        self.jobs, self.chunks, self.last = jobs, chunks, last
        self._pieces = self._write(first, others)

    def __iter__(self) -> "EventStream":
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        """Nobody reads on."""
        cancel_all(self.jobs)

    def _write(self, first: tuple[int, Event], others: Iterator[tuple[int, Event]]) -> Iterator[bytes]:
        try:
            yield data(self.chunks(*first))
            for number, event in others:
                yield data(self.chunks(number, event))
            yield data(self.last()) + DONE
        except Exception as error:
            yield b"event: error\n" + data([error_object(refusal(error))])


def data(values: Sequence[dict[str, Any]]) -> bytes:
    """Values as events."""
    return b"".join(b"data: %b\n\n" % to_json(value) for value in values)
