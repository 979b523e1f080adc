"""The engine: one thread owns the model, and everybody else hands it work.

    submit  →  waiting (a bounded queue)  →  a slot of the batch  →  one token at every step  →  the end
    run     →  jobs                       →  between two steps

**Continuous batching.** All running requests are decoded together (`generation/continuous_batching.py`): a pass through
the model for sixteen rows takes hardly longer than for one, because what takes the time is reading the weights. A request joins the
batch at the step after it has arrived and leaves it at the step where it ends. Which others are there does not change
its text.

**Fair.** Requests are served in the order of arrival. A long prompt is read in pieces, between which the others go on.

**Bounded.** What does not fit the queue is refused at once with `Busy`, and a time after which to ask again: a queue
that grows without end only turns all answers into late ones. A request that has had its time is ended with what it has.

Everything else that needs the model (classifying, embedding, looking inside) is a job: a function that the thread calls
between two steps, so that no two threads are ever in the model.
"""

import functools
import logging
import math
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout  # before Python 3.11 not the builtin
from typing import TypeVar

import torch
from torch import nn

from llmasos.errors import UserError
from llmasos.generation import SamplingOptions
from llmasos.generation.continuous_batching import ContinuousBatch
from llmasos.generation.generate import context_shift_warning
from llmasos.generation.prompts import prepare
from llmasos.generation.stop_strings import RowStream
from llmasos.nn import eval_mode
from llmasos.serving.metrics import Metrics
from llmasos.serving.requests import Busy, GeneratedToken, GenerationRequest, RequestFailed, Stopping
from llmasos.tokenizers.tokenizer import Tokenizer

Result = TypeVar("Result")
JOB_SECONDS = 5.0  # for a job to end, after everything else has been cut off
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
        if not 0 < request_seconds < math.inf:
            raise UserError(f"request_seconds is {request_seconds!r}; it must be a number of seconds above 0.")
        self.model, self.tokenizer, self.metrics = model, tokenizer, metrics or Metrics()
        self.max_batch, self.max_waiting, self.prefill_tokens = max_batch, max_waiting, prefill_tokens
        self.request_seconds = request_seconds
        self.context_length = min(context_length or LONGEST_CONTEXT, model.config.context_length)
        self._writes = model.config.family == "gpt" and model.config.is_pretraining
        self._text_of = functools.cache(tokenizer.token_text)  # one string for a token, however often it is named
        self._decoder: ContinuousBatch | None = None
        self._waiting: deque[GenerationRequest] = deque()
        self._jobs: deque[tuple[Callable, Future]] = deque()
        self._changed = threading.Condition()  # guards the queues and the two flags below
        self._open = False  # whether new work is taken
        self._cut = False  # whether running work is to be ended
        self._durations: deque[float] = deque(maxlen=32)  # seconds of the last requests
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()  # held by whoever starts it

    # For whoever has work

    def start(self) -> None:
        """Begin to take work. Takes the memory of the first slots; later ones are taken when they are needed."""
        with self._starting:
            if self.alive:
                return
            if self._thread is not None:
                self._thread.join()  # it was told to stop, and has a job to finish
            self._empty_the_batch()
            with self._changed:
                self._open, self._cut = True, False
                self._thread = threading.Thread(target=self._work, name="llmasos model", daemon=True)
                self._thread.start()

    def stop(self, drain_seconds: float = 30.0) -> None:
        """Take no more work, finish what is there, and end.

        What is not finished after `drain_seconds` is cut off, at the next step. A job that has begun cannot be cut off;
        it is waited for some seconds longer.
        """
        thread = self._thread
        with self._changed:
            self._open = False
            self._changed.notify_all()
        if thread is not None:
            thread.join(drain_seconds)
            with self._changed:
                self._cut = True
                self._changed.notify_all()
            thread.join(JOB_SECONDS)

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
    ) -> list[GenerationRequest]:
        """Ask for n continuations of a prompt: `submit_all` for one."""
        return self.submit_all([prompt], options, n, alternatives)

    def submit_all(
        self, prompts: Sequence[str | Sequence[int]], options: SamplingOptions, n: int = 1, alternatives: int = 0
    ) -> list[GenerationRequest]:
        """Ask for n continuations of each prompt. They are what `generate` gives for them and the same options.

        Args:
            prompts: texts or token ids.
            options: how to choose tokens and when to stop.
            n: how many of each.
            alternatives: how many of the likeliest tokens to note beside each.

        Returns:
            n requests for each prompt, sample 0 first.

        Raises:
            UserError: the model cannot write, or a prompt or the options are not as they must be.
            Busy: there is no room for all of them; then none is taken.
            Stopping: the engine does not run, or no longer.
        """
        if not self._writes:
            raise UserError("this model cannot be asked to go on with a text; that takes a gpt without a head.")
        prepared, options = prepare(self.model, self.tokenizer, prompts, options, self.context_length)
        deadline = time.monotonic() + self.request_seconds
        requests = [
            GenerationRequest(
                prompt.ids,
                options,
                sample,
                stream=RowStream(self.tokenizer, options),
                n_alternatives=alternatives,
                deadline=deadline,
                warnings=list(prompt.warnings),
            )
            for prompt in prepared
            for sample in range(n)
        ]
        with self._changed:
            self._admit(self._waiting, len(requests))
            self._waiting.extend(requests)
            self._changed.notify_all()
        return requests

    def run(self, job: Callable[[], Result], seconds: float | None = None) -> Result:
        """Call a function on the model's thread, between two steps, and return what it returns.

        Args:
            job: the function.
            seconds: how long to wait for its turn (None = request_seconds).

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
            return future.result(self.request_seconds if seconds is None else seconds)
        except FutureTimeout:
            if future.cancel():  # it had not begun
                raise self._busy(f"the model had no time for this within {self.request_seconds:g} seconds") from None
            return future.result()

    def _admit(self, queue: deque, n: int) -> None:
        if not self._open:
            raise Stopping("the server is going down and takes no more work; ask again in a moment.")
        if not self.alive:  # a fork copies the engine, but not its thread
            raise Stopping(
                "the model's thread does not run in this process: make the application in the process that answers, "
                "with gunicorn without --preload."
            )
        if len(queue) + n > self.max_waiting:
            raise self._busy(f"{len(queue)} requests are waiting already, and {self.max_waiting} may")

    def _busy(self, what: str) -> Busy:
        seconds = statistics.fmean(self._durations) if self._durations else 1.0
        retry_after = max(1.0, seconds * self.n_waiting / self.max_batch)
        return Busy(f"the server is busy: {what}; ask again in {retry_after:.0f} s.", retry_after)

    # The model's thread

    def _work(self) -> None:
        try:
            with eval_mode(self.model), torch.inference_mode():
                while self._wait_for_work():
                    self._run_a_job()
                    try:
                        self._step()
                    except Exception as error:  # these requests are lost, the server is not
                        self._give_up(error)
        finally:  # whatever happens: nobody waits for a thread that has ended
            with self._changed:
                self._open = False
                self._refuse_all()

    def _wait_for_work(self) -> bool:
        """Sleep until there is something to do. Returns False when it is time to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._waiting or self.n_running or not self._open)
            return not self._cut and bool(self._open or self._jobs or self._waiting or self.n_running)

    def _empty_the_batch(self) -> None:
        self._decoder = None  # first gives back its memory
        if self._writes:
            self._decoder = ContinuousBatch(self.model, self.max_batch, self.tokenizer.vocab_size, self.context_length)

    def _running(self) -> list[GenerationRequest]:
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
        self._decoder = None

    def _give_up(self, error: Exception) -> None:
        """The batch could not be computed: tell everybody in it, and begin anew."""
        if not isinstance(error, UserError):
            logging.getLogger(__name__).error("a step of the batch failed", exc_info=error)
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
        ids = self._decoder.sample()
        self.metrics.batch_size.observe(len(ids))
        self.metrics.generated_tokens.add(len(ids))
        triples = zip(requests, ids, alternatives, strict=True)
        self._decoder.remove([request for request, id, others in triples if self._write(request, id, others)])

    def _drop_the_unwanted(self) -> None:
        """End what has been cancelled, and what has had its time."""
        now = time.monotonic()
        with self._changed:
            waiting = [request for request in self._waiting if request.cancelled or now > request.deadline]
            for request in waiting:
                self._waiting.remove(request)  # this very one: two requests are never equal
        running = [request for request in self._running() if request.cancelled or now > request.deadline]
        self._decoder.remove(running)
        limit = f"{self.request_seconds:g} seconds"
        for request in (*waiting, *running):
            if request.cancelled:
                request.end("cancelled")
            elif request.ids:
                self._has_ended(request)
                request.end("length", f"stopped after {limit}, the longest that a request may take.")
            else:
                request.fail(self._busy(f"its turn did not come within {limit}"))

    def _let_in(self) -> None:
        """Who has waited longest, as long as there are slots."""
        now = time.monotonic()
        while self._waiting and self._decoder.n_free:
            with self._changed:
                request = self._waiting.popleft()
            try:
                self._decoder.add(request)
            except Exception as error:  # there is no memory for another slot
                request.fail(RequestFailed(f"the model could not be computed: {error}"))
                raise
            self.metrics.queue_seconds.observe(now - request.submitted)
            self.metrics.prompt_tokens.add(request.n_prompt_tokens)

    def _alternatives(self, requests: Sequence[GenerationRequest]) -> list[tuple[tuple[int, str, float], ...]]:
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

    def _write(self, request: GenerationRequest, id: int, alternatives: tuple[tuple[int, str, float], ...]) -> bool:
        """Give a request its next token. Returns whether that was its last."""
        text, reason = request.stream.push(id)
        warnings = ()
        if request.n_context_shifts and not request.told_full:
            request.told_full, warnings = True, (context_shift_warning(self.context_length),)
        seconds = time.monotonic() - request.submitted
        if len(request.ids) == 1:
            self.metrics.time_to_first_token.observe(seconds)
        if reason is not None:
            self._has_ended(request)
        token = GeneratedToken(id, self._text_of(id), request.logprobs[-1], alternatives)
        request.write(token, text, reason, warnings)
        return reason is not None

    def _has_ended(self, request: GenerationRequest) -> None:
        seconds = time.monotonic() - request.submitted
        self.metrics.request_seconds.observe(seconds)
        self._durations.append(seconds)
