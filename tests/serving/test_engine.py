"""The engine: many requests at once, each with the same result as alone; bounded, fair, and robust to failures."""

import gc
import random
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from generation_helpers import lively_model, lively_transformer
from serving_http_helpers import wait_until

from llmasos.errors import UserError
from llmasos.generation import SamplingOptions, generate
from llmasos.generation.continuous_batching import ContinuousBatch
from llmasos.models import ModelConfig, preset
from llmasos.serving.engine import Engine, default_batch
from llmasos.serving.metrics import Metrics
from llmasos.serving.requests import QueueFull, RequestFailed, ShuttingDown
from llmasos.tokenizers import ByteTokenizer

TOKENIZER = ByteTokenizer()
GREEDY = SamplingOptions(max_new_tokens=8, temperature=0.0)
ENDLESS = SamplingOptions(max_new_tokens=1_000_000, stop_at_end_of_text=False)


@pytest.fixture
def started():
    """Make engines that are stopped at the end of the test."""
    engines = []

    def start(model=None, **settings) -> Engine:
        engine = Engine(model or byte_model(), TOKENIZER, **settings)
        engine.start()
        engines.append(engine)
        return engine

    yield start
    for engine in engines:
        engine.stop(drain_seconds=0)


def byte_model(context_length: int = 48):
    """A small model in float64, so that rounding, which depends on the size of the batch, cannot change the samples."""
    return lively_model("llama-laptop", vocab_size=257, context_length=context_length)


def random_request(draw: random.Random) -> tuple[str, SamplingOptions, int]:
    """A random prompt, options and number of samples."""
    prompt = "".join(draw.choice("abc dé\n") for _ in range(draw.choice([0, 1, 5, 20, 60])))
    options = SamplingOptions(
        max_new_tokens=draw.choice([1, 2, 4, 8, 16, 60]),
        temperature=draw.choice([0.0, 0.8, 1.0]),
        top_k=draw.choice([None, 10]),
        top_p=draw.choice([None, 0.95]),
        min_p=draw.choice([None, 0.05]),
        repetition_penalty=draw.choice([1.0, 1.1]),
        stop=draw.choice([(), ("a",), ("zz", "\n")]),
        seed=draw.randrange(10_000),
    )
    return prompt, options, draw.choice([1, 1, 1, 2])


# Results


@pytest.mark.parametrize("pages", [{}, {"page_size": 8, "n_pages": 14}], ids=["slots", "pages"])
@pytest.mark.parametrize("n_requests", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_requests_under_load_each_get_what_they_get_alone(started, n_requests, pages):
    model = byte_model()
    engine = started(model, max_batch=7, max_waiting=1000, prefill_budget=16, request_seconds=600, **pages)
    draw = random.Random(0)
    asked = [random_request(draw) for _ in range(n_requests)]
    got: list = [None] * len(asked)

    def client(numbers: range) -> None:
        for number in numbers:
            prompt, options, n = asked[number]
            got[number] = [request.result() for request in engine.submit(prompt, options, n)]

    threads = [threading.Thread(target=client, args=(range(k, n_requests, 20),), daemon=True) for k in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for (prompt, options, n), requests in zip(asked, got, strict=True):
        alone = generate(model, TOKENIZER, [prompt], options, n)
        assert [r.text for r in requests] == [g.text for g in alone]
        assert [[w.id for w in r.tokens] for r in requests] == [g.ids for g in alone]
        assert [r.finish_reason for r in requests] == [g.finish_reason for g in alone]
        assert [r.warnings for r in requests] == [g.warnings for g in alone]
        assert [r.n_prompt_tokens for r in requests] == [g.n_prompt_tokens for g in alone]
        for request, other in zip(requests, alone, strict=True):
            assert request.logprobs == pytest.approx(other.logprobs, abs=1e-9)
    assert {g.finish_reason for requests in got for g in requests} == {"stop", "length"}


def test_events_add_up_to_the_result(started):
    [request] = started().submit("ab", replace(ENDLESS, max_new_tokens=40, seed=4), alternatives=3)
    events = list(request.events())
    assert "".join(event.text for event in events) == request.text
    assert [token for event in events for token in event.tokens] == request.tokens
    assert [event.finish_reason for event in events] == [None] * (len(events) - 1) + ["length"]


def test_a_reader_who_is_slow_gets_several_tokens_at_once(started):
    [request] = started().submit("ab", replace(GREEDY, max_new_tokens=30))
    request.result()
    [event] = request.events()
    assert len(event.tokens) == 30


def test_alternatives_are_the_likeliest_tokens_with_their_probabilities(started):
    model = byte_model()
    [few, many] = [started(model).submit("abc", GREEDY, alternatives=n)[0].result() for n in (2, 5)]
    for token in many.tokens:
        assert token.alternatives[0][0] == token.id and token.alternatives[0][2] == pytest.approx(token.logprob)
        values = [logprob for _, _, logprob in token.alternatives]
        assert values == sorted(values, reverse=True) and len(values) == 5
    assert [token.alternatives for token in few.tokens] == [token.alternatives[:2] for token in many.tokens]
    with torch.no_grad():
        first = model(torch.tensor([TOKENIZER.encode("abc")]))[0, -1].log_softmax(-1)
    assert [logprob for _, _, logprob in many.tokens[0].alternatives] == pytest.approx(first.topk(5).values.tolist())


def test_only_those_who_ask_for_alternatives_get_them(started):
    engine = started()
    [one], [other] = engine.submit("a", GREEDY, alternatives=4), engine.submit("b", GREEDY)
    assert all(len(token.alternatives) == 4 for token in one.result().tokens)
    assert not any(token.alternatives for token in other.result().tokens)


def test_with_less_room_than_the_model_has_a_prompt_keeps_its_end(started):
    engine = started(context_length=16)
    [request] = engine.submit("a" * 40, GREEDY)
    assert request.result().n_prompt_tokens == 8 and "40 tokens long" in request.warnings[0]


# Order and limits


def test_requests_are_served_in_the_order_of_arrival(started, monkeypatch):
    engine, ended = started(max_batch=1), []
    monkeypatch.setattr(engine, "_record_duration", ended.append)  # called on the model's thread
    requests = engine.submit_all(list("abcdef"), replace(GREEDY, max_new_tokens=3))  # all are there at once
    for request in requests:
        request.result()
    assert [request.prompt for request in ended] == [request.prompt for request in requests]


def test_a_full_queue_refuses_at_once_and_says_when_to_come_again(started):
    engine = started(max_batch=1, max_waiting=2)
    [running] = engine.submit("a", ENDLESS)
    wait_until(lambda: engine.n_running == 1)
    waiting = engine.submit("b", GREEDY, n=2)
    with pytest.raises(QueueFull, match="2 requests are queued, and the limit is 2; try again in") as caught:
        engine.submit("c", GREEDY)
    assert caught.value.retry_after >= 1.0
    running.cancel()
    assert [request.result().finish_reason for request in waiting] == ["length", "length"]


def test_a_request_that_has_had_its_time_ends_with_what_it_has(started):
    engine = started(max_batch=1, request_seconds=600)
    begun = time.monotonic()
    request, behind = engine.submit_all(["a", "b"], ENDLESS)
    for each in (request, behind):
        assert begun + 600 <= each.deadline <= time.monotonic() + 600
    wait_until(lambda: len(request.tokens) >= 5)
    behind.deadline = request.deadline = time.monotonic()  # first that of the one behind, which must not start now
    assert request.result().finish_reason == "length" and "stopped after 600 s" in request.warnings[-1]
    assert request.text.startswith(engine.submit("a", replace(ENDLESS, max_new_tokens=3))[0].result().text)
    with pytest.raises(QueueFull, match="the request was not admitted within 600 s"):
        behind.result()
    assert engine.metrics.request_seconds.count == 2  # the long one is counted, too


def test_cancelled_requests_leave_the_batch_and_the_queue(started):
    engine = started(max_batch=2)
    endless = [engine.submit("a", ENDLESS)[0] for _ in range(4)]
    wait_until(lambda: engine.n_running == 2 and engine.n_waiting == 2)
    for request in endless:
        request.cancel()
    assert [request.result().finish_reason for request in endless] == ["cancelled"] * 4
    wait_until(lambda: engine.n_running == 0 and engine.n_waiting == 0)
    [request] = engine.submit("a", GREEDY)
    assert request.result().finish_reason == "length"
    request.cancel()  # too late, and no harm
    assert list(request.events())[-1].finish_reason == "length"


def test_of_two_equal_requests_each_is_its_own(started):
    engine = started(max_batch=1)
    [running] = engine.submit("a", ENDLESS)
    wait_until(lambda: engine.n_running == 1)
    first, second = (engine.submit("b", GREEDY)[0] for _ in range(2))
    second.cancel()
    assert second.result().finish_reason == "cancelled"
    running.cancel()
    assert first.wait(60) and first.finish_reason == "length"


# Jobs


def test_jobs_run_on_the_models_thread_while_requests_go_on(started):
    engine = started()
    [request] = engine.submit("a", ENDLESS)
    names = [engine.run(lambda: threading.current_thread().name) for _ in range(5)]
    assert names == ["llmasos model"] * 5 and not request.ended
    request.cancel()


def test_a_job_that_fails_tells_its_caller_alone(started):
    engine = started()
    with pytest.raises(ZeroDivisionError):
        engine.run(lambda: 1 // 0)
    assert engine.run(lambda: 5) == 5


def test_a_job_whose_turn_does_not_come_is_called_off(started):
    engine, begun, go_on, called = started(request_seconds=0.2), threading.Event(), threading.Event(), []
    blocker = threading.Thread(target=lambda: engine.run(lambda: (begun.set(), go_on.wait(60)), 60), daemon=True)
    blocker.start()
    assert begun.wait(60)
    with pytest.raises(QueueFull, match="had no time for this within 0.2 s"):
        engine.run(lambda: called.append(1))
    go_on.set()
    blocker.join()
    assert engine.run(lambda: "well", 60) == "well" and not called


def test_a_model_that_does_not_write_takes_jobs_only(started):
    engine = Engine(lively_transformer(), TOKENIZER)
    engine.start()
    assert engine.run(lambda: 3) == 3
    with pytest.raises(UserError, match="cannot continue a text"):
        engine.submit("a", GREEDY)
    engine.stop()


# Faults


def test_when_the_model_fails_its_requests_are_told_and_the_next_ones_are_served(started):
    model = byte_model()
    engine = started(model)
    weight = model.final_norm.weight
    with torch.no_grad():
        good = weight.clone()
        weight.fill_(float("nan"))
    requests = [engine.submit(prompt, GREEDY)[0] for prompt in "ab"]
    for request in requests:
        with pytest.raises(RequestFailed, match="not a number"):
            request.result()
        with pytest.raises(RequestFailed):
            list(request.events())
    with torch.no_grad():
        weight.copy_(good)
    [request] = engine.submit("a", GREEDY)
    assert request.result().text == generate(model, TOKENIZER, ["a"], GREEDY)[0].text


def test_a_request_for_which_there_is_no_slot_is_told_and_the_others_are_served(started, monkeypatch):
    engine, join = started(max_batch=8), ContinuousBatch.add

    def fails_for_b(self, row):
        if row.prompt == tuple(b"b"):
            raise MemoryError("no memory for another slot")
        join(self, row)

    monkeypatch.setattr(ContinuousBatch, "add", fails_for_b)
    [request] = engine.submit("b", GREEDY)
    with pytest.raises(MemoryError, match="no memory for another slot"):  # the server answers 503
        request.result()
    assert engine.submit("a", GREEDY)[0].result().finish_reason == "length"


def test_when_the_models_thread_dies_nobody_waits_for_it(started, monkeypatch):
    engine = started(max_batch=1)
    running, waiting = (engine.submit("a", ENDLESS)[0] for _ in range(2))
    wait_until(lambda: engine.n_running == 1)
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    monkeypatch.setattr(engine, "_fail_batch", lambda error: 1 // 0)
    monkeypatch.setattr(engine, "_step", lambda: 1 // 0)
    for request in (running, waiting):
        with pytest.raises(ShuttingDown):
            request.result()
    wait_until(lambda: not engine.alive)
    with pytest.raises(ShuttingDown):
        engine.submit("a", GREEDY)
    with pytest.raises(ShuttingDown):
        engine.run(lambda: 1)
    engine._thread.join(60)  # it dies while nobody sees its error


def test_of_several_prompts_all_are_taken_or_none(started):
    engine = started(max_batch=1, max_waiting=5)
    [running] = engine.submit("a", ENDLESS)
    wait_until(lambda: engine.n_running == 1)
    with pytest.raises(QueueFull):
        engine.submit_all(["b", "c", "d"], GREEDY, n=2)
    assert engine.n_waiting == 0
    requests = engine.submit_all(["b", "c"], GREEDY, n=2)
    running.cancel()
    assert [request.result().prompt for request in requests] == [(98,), (98,), (99,), (99,)]
    assert [request.sample for request in requests] == [0, 1, 0, 1]


def test_a_job_is_not_waited_for_without_end(started, monkeypatch):
    monkeypatch.setattr("llmasos.serving.engine.JOB_SECONDS", 0.1)
    engine, begun, go_on = started(), threading.Event(), threading.Event()
    caller = threading.Thread(target=lambda: engine.run(lambda: (begun.set(), go_on.wait(300))), daemon=True)
    caller.start()
    assert begun.wait(60)
    stoppers = [threading.Thread(target=engine.stop, args=(0.1,), daemon=True) for _ in range(2)]
    for thread in stoppers:
        thread.start()
    for thread in stoppers:
        thread.join(60)
        assert not thread.is_alive(), "it waits for a job that goes on"
    go_on.set()
    caller.join()
    engine.start()
    assert engine.run(lambda: 5) == 5


def test_wrong_token_ids_are_refused_at_the_door(started):
    for ids in ([257], [-1]):
        with pytest.raises(UserError, match=f"token id {ids[0]}; the model's ids are 0 to 256"):
            started().submit(ids, GREEDY)


@pytest.mark.parametrize("setting", ["max_batch", "max_waiting", "prefill_budget"])
def test_settings_are_checked(setting):
    with pytest.raises(UserError, match=f"{setting} is 0; it must be a whole number of at least 1"):
        Engine(byte_model(), TOKENIZER, **{setting: 0})


def test_a_batch_whose_cache_cannot_fit_is_refused_before_it_is_needed():
    with pytest.raises(UserError, match="the KV cache for max_batch 1,000,000,000 needs at least .* smaller max_batch"):
        Engine(byte_model(), TOKENIZER, max_batch=10**9)


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf")])
def test_a_time_limit_must_be_one(seconds):
    with pytest.raises(UserError, match="it must be a number of seconds above 0"):
        Engine(byte_model(), TOKENIZER, request_seconds=seconds)


def test_started_by_many_at_once_it_has_one_thread():
    engine, before = Engine(byte_model(), TOKENIZER), set(threading.enumerate())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: engine.start(), range(8)))
    new = set(threading.enumerate()) - before
    assert [thread.name for thread in new if thread.is_alive()] == ["llmasos model"]
    engine.stop(0)


def test_a_copy_of_the_process_has_no_thread_and_says_so(started, monkeypatch):
    engine = started()
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_thread", threading.Thread())  # all that a fork leaves of it: one that does not run
        assert not engine.alive
        with pytest.raises(ShuttingDown, match="is not running in this process"):
            engine.submit("a", GREEDY)
        with pytest.raises(ShuttingDown, match="is not running in this process"):
            engine.run(lambda: 1)
    assert engine.submit("a", GREEDY)[0].result().finish_reason == "length"


# The end


def test_stopping_lets_what_runs_and_waits_finish_and_takes_nothing_new(started):
    before = set(threading.enumerate())
    engine = started(max_batch=1)
    requests = [engine.submit("a", replace(GREEDY, max_new_tokens=40))[0] for _ in range(3)]
    stopper = threading.Thread(target=engine.stop, args=(300,), daemon=True)
    stopper.start()
    wait_until(lambda: not engine.alive)
    with pytest.raises(ShuttingDown, match="accepts no more work"):
        engine.submit("a", GREEDY)
    stopper.join()
    assert [request.finish_reason for request in requests] == ["length"] * 3
    assert not any(thread.name == "llmasos model" for thread in set(threading.enumerate()) - before)


def test_what_is_not_finished_in_time_is_cut_off_and_told(started):
    engine = started(max_batch=1)
    running, waiting = (engine.submit("a", ENDLESS)[0] for _ in range(2))
    wait_until(lambda: engine.n_running == 1)
    engine.stop(drain_seconds=0.1)
    for request in (running, waiting):
        with pytest.raises(ShuttingDown, match="was not finished"):
            request.result()


def test_it_starts_again_after_a_stop_and_both_may_be_asked_twice(started):
    engine = started()
    for _ in range(2):
        engine.start()
        engine.start()
        assert engine.alive and len(engine.submit("a", GREEDY)[0].result().tokens) == 8
        engine.stop()
        engine.stop()
        assert not engine.alive


def test_nothing_is_kept_of_requests_that_have_ended(started):
    engine = started()
    finished = [weakref.ref(engine.submit("a", GREEDY)[0].result()) for _ in range(20)]
    engine.submit("b", GREEDY)[0].result()
    gc.collect()
    assert sum(reference() is not None for reference in finished) <= 1


def test_metrics_count_what_happened(started):
    metrics = Metrics()
    engine = started(metrics=metrics)
    for _ in range(3):
        engine.submit("abcd", GREEDY)[0].result()
    assert metrics.prompt_tokens.value() == 12 and metrics.generated_tokens.value() == 24
    for histogram in (metrics.time_to_first_token, metrics.request_seconds, metrics.queue_seconds):
        assert histogram.count == 3


def test_pages_have_the_memory_of_the_default_slots_and_more_requests(started):
    engine = started(page_size=5)
    assert engine.n_pages == default_batch(engine.model.config, 48) * 10 and engine.max_batch == 64
    assert engine.pages.n_pages == engine.n_pages and started().pages is None
    engine.submit("abcd", GREEDY)[0].result()
    wait_until(lambda: engine.pages.n_in_use == 0)
    assert engine.pages.n_used == 3  # 4 tokens and 8 new ones, of which the last is not read


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"page_size": 0}, "page_size is 0; it must be a whole number of at least 1"),
        ({"page_size": 49}, "page_size is 49; it must be .* at most 48"),
        ({"page_size": 8, "n_pages": 10**12}, "n_pages is 1000000000000"),
        ({"page_size": 8, "n_pages": 10**9}, "the KV cache for 1,000,000,000 pages needs at least .* smaller n_pages"),
    ],
)
def test_pages_are_checked(settings, words):
    with pytest.raises(UserError, match=words):
        Engine(byte_model(), TOKENIZER, **settings)


def test_pages_of_a_model_that_continues_no_text_and_too_few_of_them_are_refused():
    with pytest.raises(UserError, match="page_size is for a GPT that continues texts; this model is a transformer"):
        Engine(lively_transformer(), TOKENIZER, page_size=8)
    with pytest.raises(UserError, match="5 pages of 8 tokens have no room for one context of 48"):
        Engine(byte_model(), TOKENIZER, page_size=8, n_pages=5).start()


def test_small_models_decode_more_requests_at_once_and_a_gigabyte_of_cache_is_the_limit():
    assert default_batch(preset("gpt-small", vocab_size=65), 256) == 64
    assert default_batch(preset("gpt2"), 1024) == 16  # 75 MB per slot: 14 would fit
    assert default_batch(preset("gpt2"), 512) == 28
    config = ModelConfig(vocab_size=9, n_layers=2, n_heads=4, n_kv_heads=1, d_model=256, context_length=32768)
    assert default_batch(config, 32768) == 2**30 // (2 * 4 * 2 * 64 * 32768) == 32
