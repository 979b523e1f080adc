"""The engine: one thread owns the model, and everybody else hands it work.

    submit  →  waiting (a bounded queue)  →  a slot of the batch  →  one token at every step  →  the end
    run     →  jobs                       →  between two steps

**Continuous batching.** All running requests are decoded together (`generation/slots.py`): a pass through the model for
sixteen rows takes hardly longer than for one, because what takes the time is reading the weights. A request joins the
batch at the step after it has arrived and leaves it at the step where it ends. Which others are there does not change
its text.

**Fair.** Requests are served in the order of arrival. A long prompt is read in pieces, between which the others go on.

**Bounded.** What does not fit the queue is refused at once with `Busy`, and a time after which to ask again: a queue
that grows without end only turns all answers into late ones. A request that has had its time is ended with what it has.

Everything else that needs the model (classifying, embedding, looking inside) is a job: a function that the thread calls
between two steps, so that no two threads are ever in the model.
"""

import logging
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

import torch
from torch import nn

from llmasos.errors import UserError
from llmasos.generation import SamplingOptions, eval_mode
from llmasos.generation.generate import slide_notice
from llmasos.generation.prompts import prepare
from llmasos.generation.slots import SlotDecoder
from llmasos.generation.streaming import RowStream
from llmasos.serving.metrics import Metrics
from llmasos.serving.requests import Busy, Request, RequestFailed, Stopping, Written
from llmasos.tokenizers.base import Tokenizer

Result = TypeVar("Result")
LONGEST_CONTEXT = 4096  # tokens that a slot has room for, if not told otherwise


class Engine:
    """A model at work.

        engine = Engine(model, tokenizer)
        engine.start()
        [request] = engine.submit("One cold morning", SamplingOptions(max_new_tokens=50))
        for event in request.events():
            print(event.text, end="")
        engine.stop()
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Tokenizer,
        max_batch: int = 16,
        max_waiting: int = 64,
        prefill_tokens: int = 256,
        request_seconds: float = 120.0,
        context_length: int | None = None,
        metrics: Metrics | None = None,
    ):
        """Args:
        model: of any kind; `submit` is for a GPT.
        tokenizer: the one it was trained with.
        max_batch: how many requests are decoded at once.
        max_waiting: how many more may wait; what comes then is refused. The same number of jobs may wait.
        prefill_tokens: how many tokens of prompts are read in one step at most.
        request_seconds: how long a request may take, from its arrival.
        context_length: room of each slot, in tokens (None = the model's context, but at most 4096).
        metrics: where to count what happens.
        """
        for name, value in (("max_batch", max_batch), ("max_waiting", max_waiting), ("prefill_tokens", prefill_tokens)):
            if not isinstance(value, int) or value < 1:
                raise UserError(f"{name} is {value!r}; it must be a whole number of at least 1.")
        self.model, self.tokenizer, self.metrics = model, tokenizer, metrics or Metrics()
        self.max_batch, self.max_waiting, self.prefill_tokens = max_batch, max_waiting, prefill_tokens
        self.request_seconds = request_seconds
        self.context_length = min(context_length or LONGEST_CONTEXT, model.config.context_length)
        self._writes = model.config.family == "gpt" and model.config.head == "none"
        self._decoder: SlotDecoder | None = None
        self._waiting: deque[Request] = deque()
        self._jobs: deque[tuple[Callable, Future]] = deque()
        self._changed = threading.Condition()  # guards the queues and the two flags below
        self._open = False  # whether new work is taken
        self._cut = False  # whether running work is to be ended
        self._durations: deque[float] = deque(maxlen=32)  # seconds of the last requests
        self._thread: threading.Thread | None = None

    # For whoever has work

    def start(self) -> None:
        """Begin to take work."""
        if self._thread is None:
            self._open, self._cut = True, False
            self._thread = threading.Thread(target=self._work, name="llmasos model", daemon=True)
            self._thread.start()

    def stop(self, drain_seconds: float = 30.0) -> None:
        """Take no more work, finish what is there, and end. What is not finished after `drain_seconds` is cut off."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(drain_seconds)
            with self._changed:
                self._cut = True
                self._changed.notify_all()
            self._thread.join()
            self._thread = None

    @property
    def alive(self) -> bool:
        """Whether it takes work."""
        return self._open and self._thread is not None and self._thread.is_alive()

    @property
    def n_running(self) -> int:
        """How many requests are in the batch."""
        decoder = self._decoder
        return 0 if decoder is None else len(decoder.rows) + len(decoder.joined)

    @property
    def n_waiting(self) -> int:
        """How many requests and jobs wait."""
        return len(self._waiting) + len(self._jobs)

    def submit(
        self, prompt: str | Sequence[int], options: SamplingOptions, n: int = 1, alternatives: int = 0
    ) -> list[Request]:
        """Ask for n continuations of a prompt. They are what `generate` gives for it and the same options.

        Args:
            prompt: a text or token ids.
            options: how to choose tokens and when to stop.
            n: how many.
            alternatives: how many of the likeliest tokens to note beside each.

        Returns:
            n requests, sample 0 first.

        Raises:
            UserError: the model cannot write, or the prompt or the options are not as they must be.
            Busy: as many requests wait already as may.
            Stopping: the engine does not run, or no longer.
        """
        if not self._writes:
            raise UserError("this model cannot be asked to go on with a text; that takes a gpt without a head.")
        [prepared], options = prepare(self.model, self.tokenizer, [prompt], options, self.context_length)
        deadline = time.monotonic() + self.request_seconds
        requests = [
            Request(
                prepared.ids,
                options,
                sample,
                stream=RowStream(self.tokenizer, options),
                n_alternatives=alternatives,
                deadline=deadline,
                notices=list(prepared.notices),
            )
            for sample in range(n)
        ]
        with self._changed:
            self._admit(self._waiting, n)
            self._waiting.extend(requests)
            self._changed.notify_all()
        return requests

    def run(self, job: Callable[[], Result]) -> Result:
        """Call a function on the model's thread, between two steps, and return what it returns.

        Raises:
            Busy, Stopping: as `submit`; Busy also if its turn did not come in time.
            whatever the function raises.
        """
        future: Future = Future()
        with self._changed:
            self._admit(self._jobs, 1)
            self._jobs.append((job, future))
            self._changed.notify_all()
        try:
            return future.result(self.request_seconds)
        except TimeoutError:
            if future.cancel():  # it had not begun
                raise self._busy(f"the model had no time for this within {self.request_seconds:g} seconds") from None
            return future.result()

    def _admit(self, queue: deque, n: int) -> None:
        if not self._open:
            raise Stopping("the server is going down and takes no more work; ask again in a moment.")
        if len(queue) + n > self.max_waiting:
            raise self._busy(f"{len(queue)} requests are waiting already, and {self.max_waiting} may")

    def _busy(self, what: str) -> Busy:
        seconds = statistics.fmean(self._durations) if self._durations else 1.0
        retry_after = max(1.0, seconds * self.n_waiting / self.max_batch)
        return Busy(f"the server is busy: {what}; ask again in {retry_after:.0f} s.", retry_after)

    # The model's thread

    def _work(self) -> None:
        with eval_mode(self.model), torch.inference_mode():
            self._empty_the_batch()
            while self._wait_for_work():
                self._run_a_job()
                try:
                    self._step()
                except Exception as error:  # these requests are lost, the server is not
                    self._give_up(error)
        self._decoder = None  # gives its memory back

    def _wait_for_work(self) -> bool:
        """Sleep until there is something to do. Returns False when it is time to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._waiting or self.n_running or not self._open)
            if self._cut:
                self._refuse_all()
            return bool(self._open or self._jobs or self._waiting or self.n_running)

    def _empty_the_batch(self) -> None:
        if self._writes:
            vocab_size, length = self.tokenizer.vocab_size, self.context_length
            self._decoder = SlotDecoder(self.model, self.max_batch, vocab_size, length)

    def _running(self) -> list[Request]:
        return [] if self._decoder is None else [*self._decoder.rows, *self._decoder.joined]

    def _refuse_all(self) -> None:
        error = Stopping("the server is going down; what had been asked for was not finished.")
        for request in [*self._waiting, *self._running()]:
            request.fail(error)
        for _, future in self._jobs:
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
        self._waiting.clear()
        self._jobs.clear()
        self._empty_the_batch()

    def _give_up(self, error: Exception) -> None:
        """The batch could not be computed: tell everybody in it, and begin anew."""
        if not isinstance(error, UserError):
            logging.getLogger(__name__).exception("a step of the batch failed")
        for request in self._running():
            request.fail(RequestFailed(f"the model could not be computed: {error}"))
        self._empty_the_batch()

    def _run_a_job(self) -> None:
        """One of those that wait; between two of them the batch takes a step."""
        with self._changed:
            job, future = self._jobs.popleft() if self._jobs else (None, None)
        if future is not None and future.set_running_or_notify_cancel():
            try:
                future.set_result(job())
            except Exception as error:
                future.set_exception(error)

    def _step(self) -> None:
        """Whoever must go goes, whoever waits comes, and everybody in the batch gets one token."""
        if self._decoder is None:
            return
        self._drop_the_unwanted()
        self._let_in()
        if not self.n_running:
            return
        requests = list(self._decoder.step(self.prefill_tokens))
        if not requests:
            return  # one long prompt, the rest of which is read next
        alternatives = self._alternatives(requests)
        ids = self._decoder.choose()
        self.metrics.batch_size.observe(len(ids))
        self.metrics.generated_tokens.add(len(ids))
        triples = zip(requests, ids, alternatives, strict=True)
        self._decoder.leave([request for request, id, others in triples if self._write(request, id, others)])

    def _drop_the_unwanted(self) -> None:
        """End what has been cancelled, and what has had its time."""
        now = time.monotonic()
        with self._changed:
            waiting = [request for request in self._waiting if request.cancelled or now > request.deadline]
            for request in waiting:
                self._waiting.remove(request)
        running = [request for request in self._running() if request.cancelled or now > request.deadline]
        self._decoder.leave(running)
        limit = f"{self.request_seconds:g} seconds"
        for request in (*waiting, *running):
            if request.cancelled:
                request.end("cancelled")
            elif request.ids:
                request.end("length", f"stopped after {limit}, the longest that a request may take.")
            else:
                request.fail(self._busy(f"its turn did not come within {limit}"))

    def _let_in(self) -> None:
        """Who has waited longest, as long as there are slots."""
        now = time.monotonic()
        while self._waiting and self._decoder.n_free:
            with self._changed:
                request = self._waiting.popleft()
            self._decoder.join(request)
            self.metrics.queue_seconds.observe(now - request.submitted)
            self.metrics.prompt_tokens.add(request.n_prompt_tokens)

    def _alternatives(self, requests: Sequence[Request]) -> list[tuple[tuple[int, str, float], ...]]:
        """For each request the likeliest next tokens, as many as it asks for."""
        n = max(request.n_alternatives for request in requests)
        if n == 0:
            return [()] * len(requests)
        best = self._decoder.logprobs().topk(min(n, self.tokenizer.vocab_size))  # (B, n)
        rows = zip(requests, best.indices.tolist(), best.values.tolist(), strict=True)
        return [
            tuple((id, self._text_of(id), p) for id, p in zip(ids[: r.n_alternatives], logprobs, strict=False))
            for r, ids, logprobs in rows
        ]

    def _write(self, request: Request, id: int, alternatives: tuple[tuple[int, str, float], ...]) -> bool:
        """Give a request its next token. Returns whether that was its last."""
        text, reason = request.stream.push(id)
        notices = ()
        if request.n_slides and not request.outgrown:
            request.outgrown, notices = True, (slide_notice(self.context_length),)
        seconds = time.monotonic() - request.submitted
        if len(request.ids) == 1:
            self.metrics.time_to_first_token.observe(seconds)
        if reason is not None:
            self.metrics.request_seconds.observe(seconds)
            self._durations.append(seconds)
        token = Written(id, self._text_of(id), request.logprobs[-1], alternatives)
        request.write(token, text, reason, notices)
        return reason is not None

    def _text_of(self, id: int) -> str:
        return self.tokenizer.token_bytes(id).decode("utf-8", errors="replace")
