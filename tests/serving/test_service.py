"""`LLMServing` and `Service`: the proposal's unchanged snippet, starting and stopping, and every method."""

import subprocess
import sys
import threading
import urllib.request
import warnings
from pathlib import Path

import pytest
from serving_http_helpers import FOR_EVER, OURS, app_of, tiny

import llmasos
from llmasos import LLMServing, LLMTrainer, hub
from llmasos.errors import UserError
from llmasos.generation import SamplingOptions, generate, options_for
from llmasos.serving.http.client import Client, ServerError
from llmasos.serving.service import Service

ROOT = Path(__file__).resolve().parents[2]
SNIPPET = """
from llmasos import LLMServing
model = LLMServing.from_pretrained("my_llm"); service = model.create_service(); service.start()
response = service.predict(text="Hello, world!")
"""


def serving(kind: str = "gpt") -> LLMServing:
    engine = tiny(kind)
    return LLMServing(engine.model, engine.tokenizer, f"tiny-{kind}")


def n_threads() -> int:
    return sum(thread.name.startswith("llmasos") for thread in threading.enumerate())


@pytest.fixture(scope="module")
def story():
    """A service with a shipped model."""
    with LLMServing.from_pretrained("storyworld-gpt", "cpu").create_service() as service:
        yield service


def test_the_snippet_of_the_proposal(tmp_path):
    """In a separate program, which ends although nobody stops the service."""
    LLMTrainer.from_pretrained("storyworld-gpt", "cpu").save_pretrained(tmp_path / "my_llm")
    code = SNIPPET + "print(type(response).__name__, len(str(response)) > 0, service.model()['id'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=tmp_path,
                          env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": ""})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Prediction True my_llm\n"


def test_it_is_part_of_the_face():
    assert "LLMServing" in llmasos.__all__ and llmasos.LLMServing is LLMServing


def test_what_it_says_is_what_the_model_says(story):
    model, tokenizer = hub.load_pretrained("storyworld-gpt")
    options = options_for(model, SamplingOptions, max_new_tokens=12, seed=4)  # the others as the model recommends
    expected = generate(model, tokenizer, ["One day"], options)[0].text
    assert story.predict(text="One day", max_tokens=12, seed=4).text == expected
    assert "".join(story.stream(text="One day", max_tokens=12, seed=4)) == expected
    assert Client(story.url).generate("One day", max_tokens=12, seed=4).text == expected  # as from anywhere else


def test_what_is_no_text_is_refused(story):
    with pytest.raises(UserError, match="text is 5; it must be a string"):
        story.predict(5)


def test_a_service_that_others_can_reach_warns_if_it_asks_for_no_key(monkeypatch):
    monkeypatch.setattr("llmasos.serving.http.server.is_loopback", lambda host: False)
    for key, warned in ((None, 1), ("k", 0)):
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            serving().create_service(api_key=key, hosts=["127.0.0.1"]).start().stop()
        assert sum("set an api_key" in str(warning.message) for warning in found) == warned


def test_every_call_of_the_client_is_there(story):
    assert story.chat([{"role": "user", "content": "Hello"}], max_tokens=5).raw["object"] == "chat.completion"
    assert "".join(story.stream_chat("Hello", max_tokens=5, seed=1)) == story.chat("Hello", max_tokens=5, seed=1).text
    assert len(story.embed("a lamp")) == 128
    with pytest.raises(ServerError, match="can continue a text \\(completion\\)"):
        story.classify("a")
    for kind, ask in {
        "classifier": lambda service: service.classify("the cat").text in ("happy", "sad", "neither"),
        "ner": lambda service: service.find_entities("the cat").raw["index"] == 0,
        "qa": lambda service: service.answer("who ?", "the cat sat").raw["object"] == "answer",
        "bert": lambda service: "[MASK]" not in service.fill_mask("the [MASK] sat").text,
        "transformer": lambda service: service.translate(["abc"], max_tokens=4)[0].raw["index"] == 0,
    }.items():
        with serving(kind).create_service() as service:
            assert ask(service) and service.model()["id"] == f"tiny-{kind}"


def test_starting_and_stopping():
    before = n_threads()
    service = serving().create_service()
    assert not service.running and "not running" in repr(service)
    assert service.start() is service and service.start() is service and service.running
    url = service.url
    assert url in repr(service) and url.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(url + "/ready", timeout=60) as answer:
        assert answer.status == 200
    service.stop()
    service.stop()
    assert not service.running and n_threads() <= before
    with pytest.raises(ServerError, match="does not answer"):
        Client(url, retries=0).model()
    with service as again:  # and again
        assert again is service and service.predict("abc", max_tokens=3).text is not None
    assert n_threads() <= before


@pytest.mark.parametrize("ask", [lambda s: s.predict("a"), lambda s: next(s.stream("a")), lambda s: s.url,
                                 lambda s: s.chat("a"), lambda s: s.model(), lambda s: s.embed("a")])  # fmt: skip
def test_what_is_asked_before_the_start_or_after_the_end_gets_a_sentence(ask):
    service = serving().create_service()
    with pytest.raises(UserError, match=r"the service is not running; call its start\(\) first"):
        ask(service)
    service.start().stop()
    with pytest.raises(UserError, match="the service is not running"):
        ask(service)


def test_a_running_text_may_end_when_the_service_stops():
    service = serving().create_service().start()
    pieces = service.stream("abc", max_tokens=60, seed=1)
    first = next(pieces)
    stopping = threading.Thread(target=service.stop, args=[300], daemon=True)
    stopping.start()
    text = first + "".join(pieces)
    stopping.join()
    assert text == generate(service.serving.model, service.serving.tokenizer, ["abc"],
                            SamplingOptions(max_new_tokens=60, seed=1))[0].text  # fmt: skip


def test_a_text_that_takes_too_long_is_cut_when_the_service_stops():
    service = serving().create_service(max_tokens=100_000, request_seconds=1000).start()
    pieces = service.stream(FOR_EVER["prompt"], max_tokens=100_000, temperature=0, frequency_penalty=-2)
    next(pieces)
    service.stop(drain_seconds=0.1)
    with pytest.raises(ServerError, match="the server is shutting down") as caught:
        list(pieces)  # the text so far, and then the reason why it ends
    assert caught.value.code == "shutting_down" and not service.running


def test_settings_reach_the_server():
    given = {"api_key": "secret", "name": "mine", "max_tokens": 7, "max_batch": 2, "max_waiting": 3, "max_body": 500}
    given["page_size"] = 8
    with serving().create_service(**given) as service:
        assert service.model()["id"] == "mine" and service.predict("abc", max_tokens=7)
        engine = service._running[0].engine
        assert (engine.max_batch, engine.max_waiting, engine.page_size) == (2, 3, 8)
        with pytest.raises(ServerError, match="max_tokens is 8"):
            service.predict("abc", max_tokens=8)
        with pytest.raises(ServerError, match="too large"):
            service.predict("abc" * 500)
        with pytest.raises(ServerError) as caught:
            Client(service.url).predict("abc")
        assert caught.value.status == 401


def test_a_quantised_model_is_served():
    with LLMServing.from_pretrained("storyworld-gpt", "cpu", quantize="int8").create_service() as service:
        assert service.model()["quantization"] == "int8"
        assert service.predict("One day", max_tokens=5).text


def test_listening_to_everybody_is_asked_through_this_machine():
    with serving().create_service(host="0.0.0.0", api_key="k") as service:
        assert service.url.startswith("http://127.0.0.1:") and service.predict("abc", max_tokens=2)


def test_it_answers_to_the_host_that_it_was_given():
    """ "127.1" is a way to write 127.0.0.1; it represents any name that a machine may have."""
    with serving().create_service(host="127.1") as service:
        request = urllib.request.Request(f"{service.url}/v1/models", headers={"Host": "127.1"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200


def test_what_goes_wrong_at_the_start_leaves_nothing_behind():
    before, model = n_threads(), serving()
    with model.create_service(host=OURS) as service:
        port = int(service.url.rpartition(":")[2])
        with pytest.raises(UserError, match=f"tiny-gpt is already served at {service.url}"):
            model.create_service().start()
        with pytest.raises(UserError, match=f"port {port} of {OURS} cannot be used: it is already in use"):
            serving().create_service(host=OURS, port=port).start()
    for settings, said in [({"max_batch": 0}, "max_batch is 0"), ({"max_tokens": 0}, "max_tokens is 0"),
                           ({"api_key": " "}, "the API key"), ({"host": "nowhere.invalid"}, "this machine has no host"),
                           ({"port": 70_000}, "port is 70000"), ({"request_seconds": 0}, "request_seconds is 0"),
                           ({"max_connections": -1}, "max_connections is -1")]:  # fmt: skip
        with pytest.raises(UserError, match=said):
            model.create_service(**settings).start()
    assert n_threads() <= before
    with model.create_service(host=OURS, port=port) as service:  # the model and the port are free again
        assert service.predict("abc", max_tokens=2)


def test_names_that_are_none():
    with pytest.raises(UserError, match="there is no model"):
        LLMServing.from_pretrained("no/such/model/here")
    with pytest.raises(UserError, match="quantize is 'int2'"):
        LLMServing.from_pretrained("storyworld-gpt", quantize="int2")


def test_a_model_has_the_same_name_however_it_is_served(tmp_path, monkeypatch):
    """It is the last part of the folder's name; a name that is not a folder is kept whole, as on the hub."""
    (tmp_path / "my_llm" / "inside").mkdir(parents=True)
    (tmp_path / "latest").symlink_to("my_llm")
    monkeypatch.chdir(tmp_path / "my_llm")
    engine = tiny("gpt")
    monkeypatch.setattr("llmasos.hub.load_pretrained", lambda *given, **settings: (engine.model, engine.tokenizer))
    for given, name in {".": "my_llm", "inside/..": "my_llm", "inside/": "inside", str(tmp_path / "latest"): "latest",
                        "who/my_llm": "who/my_llm", "my_llm": "my_llm"}.items():  # fmt: skip
        with LLMServing.from_pretrained(given).create_service() as service, app_of(given) as app:
            assert service.model()["id"] == app.served.name == name


def test_many_threads_start_it_once():
    service, errors = serving().create_service(), []

    def start() -> None:
        try:
            service.start().predict("abc", max_tokens=2)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=start, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and isinstance(service, Service)
    service.stop()
    assert not service.running
