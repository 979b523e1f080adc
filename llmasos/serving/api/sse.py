"""Answers that are sent while they are written: server-sent events, as OpenAI has them.

    data: {"id": "cmpl-…", "choices": [{"index": 0, "text": " was", …}], …}

    data: [DONE]

Each event is a line that begins with `data: `, and an empty line. What goes wrong after the first of them can no longer
have a status of its own, since 200 has been said: it comes as an event with an `error`, and the stream ends.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llmasos.serving.http.errors import error_object, refusal
from llmasos.serving.http.http_types import Request, Response, to_json
from llmasos.serving.requests import Event, GenerationRequest

EVENT_STREAM = "text/event-stream"
HEADERS = (("Cache-Control", "no-store"), ("X-Accel-Buffering", "no"))  # the second asks a proxy not to collect them
DONE = b"data: [DONE]\n\n"
BETWEEN_EVENTS = 0.03  # seconds
LOOK_SECONDS = 0.1  # how often to look at the others while the first has nothing new
GONE_SECONDS = 0.25  # how often to look whether the client is still there

Chunk = Callable[[int, Event], dict[str, Any]]
Last = Callable[[], list[dict[str, Any]]]


def stream(request: Request, writings: Sequence[GenerationRequest], chunk: Chunk, last: Last) -> Response:
    """The answer that shows texts while they are written.

    Args:
        request: what the client has asked.
        writings: what the engine is doing for it.
        chunk: what to send for an event of the text with this number.
        last: what to send once all have ended.

    Raises:
        as `events` does, if that happens before there is anything to show: the answer then has its proper status.
    """
    events = news(writings)
    try:
        while not writings[0].news(GONE_SECONDS):  # they come in order, so it is the first to begin
            request.check_client()
        request.check_client()
        first = next(events)
    except BaseException:
        cancel_all(writings)
        raise
    return Response(EventStream(writings, first, events, chunk, last), EVENT_STREAM, headers=HEADERS)


def news(writings: Sequence[GenerationRequest]) -> Iterator[tuple[int, Event]]:
    """The events of texts as they come, each with the number of its text.

    The first comes at once. From then on a reader sleeps for a moment after each event, and the next one holds all the
    tokens of that time. Nobody sees thirty milliseconds, and every event costs that a thread is woken, which takes the
    interpreter from the model's: with an event for every token, sixteen streams get a third fewer tokens in all.

    Of several texts the first that has not ended is the one to wait for: the batch takes them in order, and gives each
    a token at every step. Only while its own prompt is still being read can others be ahead of it.
    """
    readers = {number: writing.events() for number, writing in enumerate(writings)}
    while readers:
        with_news = [number for number in readers if writings[number].news(0)]
        for number in with_news:
            event = next(readers[number])
            yield number, event
            if event.finish_reason is not None:
                del readers[number]
        if readers and with_news:
            writings[min(readers)].wait(BETWEEN_EVENTS)
        elif readers:
            writings[min(readers)].news(LOOK_SECONDS)


def cancel_all(writings: Sequence[GenerationRequest]) -> None:
    """Nobody wants the rest of these. (Those that have ended do not mind.)"""
    for writing in writings:
        writing.cancel()


class EventStream:
    """The body of a stream. Closing it, which a server does when the client has gone, ends the work for it."""

    def __init__(
        self,
        writings: Sequence[GenerationRequest],
        first: tuple[int, Event],
        others: Iterator[tuple[int, Event]],
        chunk: Chunk,
        last: Last,
    ):
        self.writings, self.chunk, self.last = writings, chunk, last
        self._pieces = self._write(first, others)

    def __iter__(self) -> "EventStream":
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        """Nobody reads on."""
        cancel_all(self.writings)

    def _write(self, first: tuple[int, Event], others: Iterator[tuple[int, Event]]) -> Iterator[bytes]:
        try:
            yield data([self.chunk(*first)])
            for number, event in others:
                yield data([self.chunk(number, event)])
            yield data(self.last()) + DONE
        except Exception as error:
            yield b"event: error\n" + data([error_object(refusal(error))])


def data(values: Sequence[dict[str, Any]]) -> bytes:
    """Values as events."""
    return b"".join(b"data: %b\n\n" % to_json(value) for value in values)
