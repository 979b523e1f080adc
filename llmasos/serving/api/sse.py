"""Streamed responses: server-sent events, as in OpenAI's API.

    data: {"id": "cmpl-…", "choices": [{"index": 0, "text": " was", …}], …}

    data: [DONE]

Each event is a line that begins with `data: `, followed by an empty line. After the first event the status 200 has been
sent, so a later failure cannot have a status of its own: it is sent as an event with an `error`, and the stream ends.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llmasos.serving.http.errors import as_request_error, error_object
from llmasos.serving.http.http_types import Request, Response, to_json
from llmasos.serving.requests import Event, GenerationRequest

EVENT_STREAM = "text/event-stream"
HEADERS = (("Cache-Control", "no-store"), ("X-Accel-Buffering", "no"))  # the second asks a proxy not to buffer events
DONE = b"data: [DONE]\n\n"
EVENT_INTERVAL = 0.03  # seconds
POLL_SECONDS = 0.1  # how often to look at the other texts while the first has nothing new
CHECK_CLIENT_SECONDS = 0.25  # how often to check that the client is still connected

Chunk = Callable[[int, Event], dict[str, Any]]
LastChunks = Callable[[], list[dict[str, Any]]]


def stream(
    request: Request, generations: Sequence[GenerationRequest], chunk: Chunk, last_chunks: LastChunks
) -> Response:
    """A response that shows texts while they are generated.

    Args:
        request: the client's request.
        generations: the engine's requests.
        chunk: the function that makes the data to send from a text's number and an event.
        last_chunks: the function that makes the data to send once all have ended.

    Raises:
        QueueFull, ShuttingDown, RequestFailed: before the first event; the response then has the right status.
    """
    events = merged_events(generations)
    try:
        while not generations[0].wait_for_event(CHECK_CLIENT_SECONDS):  # admitted in order, so it is the first to start
            request.check_client()
        request.check_client()
        first = next(events)
    except BaseException:
        cancel_all(generations)
        raise
    return Response(EventStream(generations, first, events, chunk, last_chunks), EVENT_STREAM, headers=HEADERS)


def merged_events(generations: Sequence[GenerationRequest]) -> Iterator[tuple[int, Event]]:
    """The events of several texts as they happen, each with the number of its text.

    The first event comes at once. After that the reader sleeps for a moment after each event, and the next one holds
    all the tokens of that time. Thirty milliseconds go unnoticed, but every event wakes up a thread, which takes the
    interpreter from the model's thread: with an event per token, sixteen streams get a third fewer tokens in total.

    With several texts, we wait for the first one that has not ended: the batch admits them in order and gives each one
    token per step. Others can only be ahead of it while its own prompt is being prefilled.
    """
    readers = {number: generation.events() for number, generation in enumerate(generations)}
    while readers:
        ready = [number for number in readers if generations[number].wait_for_event(0)]
        for number in ready:
            event = next(readers[number])
            yield number, event
            if event.finish_reason is not None:
                del readers[number]
        if readers and ready:
            generations[min(readers)].wait(EVENT_INTERVAL)
        elif readers:
            generations[min(readers)].wait_for_event(POLL_SECONDS)


def cancel_all(generations: Sequence[GenerationRequest]) -> None:
    """Cancel those that are still running."""
    for generation in generations:
        generation.cancel()


class EventStream:
    """The body of a stream. A server closes it when the client disconnects, which cancels the generation."""

    def __init__(
        self,
        generations: Sequence[GenerationRequest],
        first: tuple[int, Event],
        events: Iterator[tuple[int, Event]],
        chunk: Chunk,
        last_chunks: LastChunks,
    ):
        self.generations, self.chunk, self.last_chunks = generations, chunk, last_chunks
        self._pieces = self._encode(first, events)

    def __iter__(self) -> "EventStream":
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        """Cancel the generation, because its client has disconnected."""
        cancel_all(self.generations)

    def _encode(self, first: tuple[int, Event], events: Iterator[tuple[int, Event]]) -> Iterator[bytes]:
        try:
            yield encode_events([self.chunk(*first)])
            for number, event in events:
                yield encode_events([self.chunk(number, event)])
            yield encode_events(self.last_chunks()) + DONE
        except Exception as error:
            yield b"event: error\n" + encode_events([error_object(as_request_error(error))])


def encode_events(values: Sequence[dict[str, Any]]) -> bytes:
    """JSON values as events."""
    return b"".join(b"data: %b\n\n" % to_json(value) for value in values)
