"""The engine: one thread owns the model and decodes all requests as one batch; every other thread hands it work.

    submit  →  queue (bounded)  →  a slot of the batch  →  one token per step  →  the end
    run     →  jobs             →  executed between two steps

**Continuous batching** (Orca, Yu et al. 2022; vLLM, Kwon et al. 2023). All running requests are decoded together
(`generation/continuous_batching.py`): a forward pass over sixteen sequences takes hardly longer than over one, because
most of the time is spent reading the weights. A request joins the batch at the step after it arrives and leaves it at
the step where it ends. The other requests in the batch do not change its text.

**First come, first served.** Requests are admitted in the order of arrival. The prefill of a long prompt is split into
chunks (`prefill_budget` tokens per step), between which the other requests keep decoding.

**Backpressure.** A request that finds the queue full is rejected at once with `QueueFull` and a time after which to
retry: an unbounded queue would only make every answer late. A request that reaches its deadline ends with the text
it has.

**Memory.** Each request has a slot for a whole context or, with `page_size`, as many pages as its text needs
(`generation/paged_batching.py`): then more requests fit into the same memory, for some speed.

Everything else that needs the model (classification, embeddings, inspection) is a job: a function that the thread calls
between two steps, so that the model is never used by two threads at once.
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
from concurrent.futures import TimeoutError as FutureTimeout  # not yet the builtin before Python 3.11
from typing import TypeVar, cast

import torch

from llmasos.errors import UserError, check_number
from llmasos.generation import SamplingOptions
from llmasos.generation.continuous_batching import ContinuousBatch
from llmasos.generation.generate import context_shift_warning
from llmasos.generation.paged_batching import PagedBatch
from llmasos.generation.prompts import prepare
from llmasos.generation.stop_strings import SequenceStream
from llmasos.generation.token_grammar import grammar_of
from llmasos.models import Model, ModelConfig
from llmasos.models.memory_checks import BYTES, check_fits
from llmasos.nn import PagePool, eval_mode
from llmasos.planning.serving import cache_bytes_per_token
from llmasos.serving.metrics import Metrics
from llmasos.serving.requests import GeneratedToken, GenerationRequest, QueueFull, ShuttingDown, failure
from llmasos.settings import LARGEST_COUNT
from llmasos.tokenizers.tokenizer import Tokenizer

Result = TypeVar("Result")
JOB_SECONDS = 5.0  # `stop` waits this long for a running job after everything else has been aborted
MAX_CONTEXT = 4096  # tokens per slot, unless `context_length` says otherwise
MIN_BATCH, MAX_BATCH, CACHE_BYTES = 16, 64, 2**30  # see `default_batch`


class Engine:
    """A running model.

    engine = Engine(model, tokenizer)
    engine.start()
    [request] = engine.submit("Once there was", SamplingOptions(max_new_tokens=50))
    for event in request.events():
        print(event.text, end="")
    engine.stop()
    """

    def __init__(
        self,
        model: Model,
        tokenizer: Tokenizer,
        max_batch: int | None = None,
        max_waiting: int = 64,
        prefill_budget: int = 256,
        request_seconds: float = 120.0,
        context_length: int | None = None,
        metrics: Metrics | None = None,
        page_size: int | None = None,
        n_pages: int | None = None,
    ):
        """Make an engine; `start` starts its thread.

        Args:
            model: a model of any family; `submit` needs a GPT.
            tokenizer: the tokenizer that the model was trained with.
            max_batch: the number of requests that are decoded at once (None: see `default_batch`; 64 with pages).
            max_waiting: the number of requests, and of jobs, that may wait in the queue.
            prefill_budget: the maximum number of prompt tokens that one step reads.
            request_seconds: the time limit of a request, from its arrival.
            context_length: the tokens per slot of the KV cache (None = the model's context, but at most 4096).
            metrics: the metrics to update.
            page_size: the number of tokens in a page of the KV cache (None = slots for whole contexts).
            n_pages: the maximum number of pages (None: as much memory as the slots of `default_batch` take).

        Raises:
            UserError: a number is out of range.
        """
        self.context_length = min(context_length or MAX_CONTEXT, model.config.context_length)
        n_slots = default_batch(model.config, self.context_length)
        if max_batch is None:
            max_batch = n_slots if page_size is None else MAX_BATCH
        for name, value in (("max_batch", max_batch), ("max_waiting", max_waiting), ("prefill_budget", prefill_budget)):
            check_number(name, value, whole=True, at_least=1, at_most=LARGEST_COUNT)
        if not 0 < request_seconds < math.inf:
            raise UserError(f"request_seconds is {request_seconds!r}; it must be a number of seconds above 0.")
        self.model, self.tokenizer, self.metrics = model, tokenizer, metrics or Metrics()
        self.max_batch, self.max_waiting, self.prefill_budget = max_batch, max_waiting, prefill_budget
        self.request_seconds = request_seconds
        self._generates = model.config.family == "gpt" and model.config.generates
        self.page_size = page_size
        if page_size is not None:
            check_number("page_size", page_size, whole=True, at_least=1, at_most=self.context_length)
            if not self._generates:
                raise UserError(f"page_size is for a GPT that continues texts; this model is a {model.config.family}.")
            n_pages = n_slots * math.ceil(self.context_length / page_size) if n_pages is None else n_pages
            check_number("n_pages", n_pages, whole=True, at_least=1, at_most=LARGEST_COUNT)
        self.n_pages = n_pages
        if self._generates:
            n_tokens = max_batch * self.context_length if page_size is None else cast(int, n_pages) * page_size
            what = f"max_batch {max_batch:,}" if page_size is None else f"{n_pages:,} pages"
            advice = f"choose a smaller {'max_batch' if page_size is None else 'n_pages'}"
            n_bytes = n_tokens * cache_bytes_per_token(model.config, BYTES)
            check_fits(f"the KV cache for {what}", n_bytes, advice, next(model.parameters()).device)
        self._token_text = functools.cache(tokenizer.token_text)  # one string object per token, however often it occurs
        self._batch: ContinuousBatch | None = None
        self._queue: deque[GenerationRequest] = deque()
        self._jobs: deque[tuple[Callable, Future]] = deque()
        self._changed = threading.Condition()  # guards the queues and the two flags below
        self._accepting = False  # whether new work is accepted
        self._aborting = False  # whether running work is to be dropped
        self._durations: deque[float] = deque(maxlen=32)  # seconds of the last requests
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    # For the other threads

    def start(self) -> None:
        """Start accepting work. Allocates the first slots of the KV cache; more are allocated when needed."""
        with self._starting:
            if self.alive:
                return
            if self._thread is not None:
                self._thread.join()  # stopped, but perhaps still finishing a job
            self._new_batch()
            with self._changed:
                self._accepting, self._aborting = True, False
                self._thread = threading.Thread(target=self._loop, name="llmasos model", daemon=True)
                self._thread.start()

    def stop(self, drain_seconds: float = 30.0) -> None:
        """Accept no more work, finish queued and running requests, and end the thread.

        Whatever is unfinished after `drain_seconds` is aborted at the next step. A job that has begun cannot be
        aborted; `stop` waits a few seconds longer for it.
        """
        thread = self._thread
        with self._changed:
            self._accepting = False
            self._changed.notify_all()
        if thread is not None:
            thread.join(drain_seconds)
            with self._changed:
                self._aborting = True
                self._changed.notify_all()
            thread.join(JOB_SECONDS)

    @property
    def alive(self) -> bool:
        """Whether the engine accepts work."""
        return self._accepting and self._thread is not None and self._thread.is_alive()

    @property
    def n_running(self) -> int:
        """How many requests are in the batch."""
        batch = self._batch
        return 0 if batch is None else len(batch.sequences) + len(batch.prefilling)

    @property
    def pages(self) -> PagePool | None:
        """Which pages of the KV cache are in use; None if it has slots, or the engine is not running."""
        batch = self._batch
        return batch.pool if isinstance(batch, PagedBatch) else None

    @property
    def n_waiting(self) -> int:
        """How many requests and jobs are queued."""
        return len(self._queue) + len(self._jobs)

    def submit(
        self, prompt: str | Sequence[int], options: SamplingOptions, n: int = 1, alternatives: int = 0
    ) -> list[GenerationRequest]:
        """Request n continuations of one prompt: `submit_all` with a single prompt."""
        return self.submit_all([prompt], options, n, alternatives)

    def submit_all(
        self, prompts: Sequence[str | Sequence[int]], options: SamplingOptions, n: int = 1, alternatives: int = 0
    ) -> list[GenerationRequest]:
        """Request n continuations of each prompt: the same texts that `generate` returns with these options.

        Args:
            prompts: texts or token ids.
            options: the sampling options.
            n: the number of continuations per prompt.
            alternatives: the number of most likely tokens to record at each position.

        Returns:
            n requests for each prompt, sample 0 first.

        Raises:
            UserError: the model cannot generate text, or a prompt or an option is invalid.
            QueueFull: there is no room for all of them; then none is accepted.
            ShuttingDown: the engine is not running.
        """
        requests = self.make_requests(prompts, options, n, alternatives)
        with self._changed:
            self._check_room(self._queue, len(requests))
            self._queue.extend(requests)
            self._changed.notify_all()
        return requests

    def make_requests(
        self, prompts: Sequence[str | Sequence[int]], options: SamplingOptions, n: int = 1, alternatives: int = 0
    ) -> list[GenerationRequest]:
        """Make the requests of `submit_all` without submitting them. Raises UserError as it does."""
        if not self._generates:
            raise UserError("this model cannot continue a text; that takes a GPT with a language-model head.")
        prepared, options = prepare(self.model, self.tokenizer, prompts, options, self.context_length)
        deadline, grammar = time.monotonic() + self.request_seconds, grammar_of(options, self.tokenizer)
        return [
            GenerationRequest(
                prompt.ids,
                options,
                sample,
                grammar=grammar,
                stream=SequenceStream(self.tokenizer, options, prompt.ids),
                n_alternatives=alternatives,
                deadline=deadline,
                warnings=list(prompt.warnings),
            )
            for prompt in prepared
            for sample in range(n)
        ]

    def run(self, job: Callable[[], Result], seconds: float | None = None) -> Result:
        """Call a function on the model's thread, between two steps, and return its result.

        Args:
            job: the function.
            seconds: the maximum time to wait for its turn (None = request_seconds).

        Raises:
            QueueFull, ShuttingDown: as `submit`; QueueFull also if its turn did not come in time.
            Exception: whatever the function raises.
        """
        future: Future = Future()
        with self._changed:
            self._check_room(self._jobs, 1)
            self._jobs.append((job, future))
            self._changed.notify_all()
        try:
            return future.result(self.request_seconds if seconds is None else seconds)
        except FutureTimeout:
            if future.cancel():  # it had not begun
                raise self._queue_full(f"the model had no time for this within {self.request_seconds:g} s") from None
            return future.result()

    def _check_room(self, queue: deque, n: int) -> None:
        if not self._accepting:
            raise ShuttingDown("the server is shutting down and accepts no more work; try again in a moment.")
        if not self.alive:  # a fork copies the engine, but not its thread
            raise ShuttingDown(
                "the model's thread is not running in this process; create the application in the process that "
                "answers requests (run gunicorn without --preload)."
            )
        if len(queue) + n > self.max_waiting:
            raise self._queue_full(f"{len(queue)} requests are queued, and the limit is {self.max_waiting}")

    def _queue_full(self, reason: str) -> QueueFull:
        seconds = statistics.fmean(self._durations) if self._durations else 1.0
        retry_after = max(1.0, seconds * self.n_waiting / self.max_batch)
        return QueueFull(f"the server is busy: {reason}; try again in {retry_after:.0f} s.", retry_after)

    # The model's thread

    def _loop(self) -> None:
        try:
            with eval_mode(self.model), torch.inference_mode():
                while self._wait_for_work():
                    self._run_job()
                    try:
                        self._step()
                    except Exception as error:  # only these requests fail; the server continues
                        self._fail_batch(error)
        finally:  # whatever happens, no request may wait for a thread that has ended
            with self._changed:
                self._accepting = False
                self._fail_everything()

    def _wait_for_work(self) -> bool:
        """Sleep until there is something to do. Returns False when the thread should end."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._queue or self.n_running or not self._accepting)
            return not self._aborting and bool(self._accepting or self._jobs or self._queue or self.n_running)

    def _new_batch(self) -> None:
        self._batch = None  # frees the memory of the old one first
        if self._generates:
            args = (self.model, self.max_batch, self.tokenizer.vocab_size, self.context_length)
            if self.page_size is None:
                self._batch = ContinuousBatch(*args)
            else:
                self._batch = PagedBatch(*args, page_size=self.page_size, n_pages=cast(int, self.n_pages))

    def _running(self) -> list[GenerationRequest]:
        sequences = [] if self._batch is None else [*self._batch.sequences, *self._batch.prefilling]
        return cast(list[GenerationRequest], sequences)

    def _fail_everything(self) -> None:
        error = ShuttingDown("the server is shutting down; the request was not finished.")
        for request in [*self._queue, *self._running()]:
            request.fail(error)
        for _, future in self._jobs:
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
        self._queue.clear()
        self._jobs.clear()
        self._batch = None

    def _fail_batch(self, error: Exception) -> None:
        """A step failed: fail every request in the batch, and continue with an empty one."""
        if not isinstance(error, UserError):
            logging.getLogger(__name__).error("a step of the batch failed", exc_info=error)
        for request in self._running():
            request.fail(failure(error))
        self._new_batch()

    def _run_job(self) -> None:
        """Run the first job in the queue, if any; between two jobs the batch takes a step."""
        with self._changed:
            job, future = self._jobs.popleft() if self._jobs else (None, None)
        if job is not None and future is not None and future.set_running_or_notify_cancel():
            try:
                future.set_result(job())
            except Exception as error:
                future.set_exception(error)

    def _step(self) -> None:
        """Evict, admit, decode one token per sequence."""
        if self._batch is None:
            return
        self._evict()
        self._admit()
        if not self.n_running:
            return
        requests = cast(list[GenerationRequest], list(self._batch.step(self.prefill_budget)))
        if not requests:
            return  # still prefilling one long prompt
        alternatives = self._alternatives(requests)
        ids = self._batch.sample()
        self.metrics.batch_size.observe(len(ids))
        self.metrics.generated_tokens.add(len(ids))
        tokens = zip(requests, ids, alternatives, strict=True)
        self._batch.remove([request for request, id, others in tokens if self._add_token(request, id, others)])

    def _evict(self) -> None:
        """End the requests that were cancelled or have reached their deadline."""
        now = time.monotonic()
        with self._changed:
            queued = [request for request in self._queue if request.cancelled or now > request.deadline]
            for request in queued:
                self._queue.remove(request)  # requests compare by identity
        running = [request for request in self._running() if request.cancelled or now > request.deadline]
        self._batch.remove(running)
        limit = f"{self.request_seconds:g} s"
        for request in (*queued, *running):
            if request.cancelled:
                request.finish("cancelled")
            elif request.ids:
                self._record_duration(request)
                request.finish("length", f"stopped after {limit}, the time limit of a request.")
            else:
                request.fail(self._queue_full(f"the request was not admitted within {limit}"))

    def _admit(self) -> None:
        """Move requests from the queue into the batch, oldest first, while there are free slots."""
        now = time.monotonic()
        while self._queue and self._batch.n_free:
            with self._changed:
                request = self._queue.popleft()
            try:
                self._batch.add(request)
            except Exception as error:  # there is no memory for another slot
                request.fail(failure(error))
                raise
            self.metrics.queue_seconds.observe(now - request.submitted)
            self.metrics.prompt_tokens.add(request.n_prompt_tokens)

    def _alternatives(self, requests: Sequence[GenerationRequest]) -> list[tuple[tuple[int, str, float], ...]]:
        """The most likely next tokens for each request, as many as it asks for."""
        n = max(request.n_alternatives for request in requests)
        if n == 0:
            return [()] * len(requests)
        top = self._batch.logprobs().topk(min(n, self.tokenizer.vocab_size))  # (B, n)
        rows = zip(requests, top.indices.tolist(), top.values.tolist(), strict=True)
        return [
            tuple((id, self._token_text(id), p) for id, p in zip(ids[: r.n_alternatives], logprobs, strict=False))
            for r, ids, logprobs in rows
        ]

    def _add_token(self, request: GenerationRequest, id: int, alternatives: tuple[tuple[int, str, float], ...]) -> bool:
        """Give a request its next token. Returns whether that was its last one."""
        if request.error is not None:
            request.fail(request.error)
            return True
        text, finish_reason = request.stream.push(id)
        warnings: tuple[str, ...] = ()
        if request.n_context_shifts and not request.context_shift_reported:
            request.context_shift_reported, warnings = True, (context_shift_warning(self.context_length),)
        if len(request.ids) == 1:
            self.metrics.time_to_first_token.observe(time.monotonic() - request.submitted)
        if finish_reason is not None:
            self._record_duration(request)
        token = GeneratedToken(id, self._token_text(id), request.logprobs[-1], alternatives)
        request.add_token(token, text, finish_reason, warnings)
        return finish_reason is not None

    def _record_duration(self, request: GenerationRequest) -> None:
        seconds = time.monotonic() - request.submitted
        self.metrics.request_seconds.observe(seconds)
        self._durations.append(seconds)


def default_batch(config: ModelConfig, context_length: int) -> int:
    """How many requests to decode at once: as many as fit in a gigabyte of keys and values, from 16 to 64.

    A request that finds no slot waits until another has ended, which takes far longer than its own first token.
    """
    return min(MAX_BATCH, max(MIN_BATCH, CACHE_BYTES // (context_length * cache_bytes_per_token(config, BYTES))))
