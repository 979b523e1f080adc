"""Running out of memory gives one sentence in every way into the library, and ends only the work that needed it."""

import errno
import io
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from serving_http_helpers import app_of, ask, tiny

from llmasos.arguments import checked
from llmasos.cli.chat import Chat
from llmasos.cli.cli import run
from llmasos.cli.sample import read_prompts
from llmasos.errors import UserError
from llmasos.generation import SamplingOptions

ALLOCATOR = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes. Error code 12")
ERRORS = [
    ALLOCATOR,
    MemoryError(),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError("std::bad_alloc"),
    ImportError("libtorch_cpu.so: failed to map segment from shared object: cannot allocate memory"),
]
SENTENCE = "there is not enough memory: ask for less at once"


def failing(error: BaseException):
    def fail(*args, **kwargs):
        raise error

    return fail


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_commands_and_the_sdk_say_it_in_a_sentence(error, capsys):
    assert run(failing(error), []) == 2
    assert SENTENCE in capsys.readouterr().err
    with pytest.raises(UserError, match=SENTENCE):
        checked(failing(error))()


def test_other_errors_stay_as_they_are():
    for error in (RuntimeError("size mismatch"), OSError(errno.ENOENT, "no file"), KeyError("memory")):
        with pytest.raises(type(error)):
            checked(failing(error))()


@pytest.mark.parametrize("error", ERRORS[:3], ids=lambda error: type(error).__name__)
def test_a_server_answers_and_stays_up(error, monkeypatch):
    with app_of(tiny("gpt")) as app:
        body = {"prompt": "ab", "max_tokens": 3}
        for place, name, path, sent in (
            (type(app.engine._batch), "step", "/v1/completions", body),  # in a step of the batch
            (app.engine.model, "hidden_states", "/v1/embeddings", {"input": "a"}),  # in a job
        ):
            with monkeypatch.context() as patch:
                patch.setattr(place, name, failing(error))
                answer = ask(app, "POST", path, sent)
            assert (answer.status, answer.error["code"]) == (503, "out_of_memory"), answer.body
            assert SENTENCE in answer.error["message"]
        assert ask(app, "POST", "/v1/completions", body).status == 200


def test_a_chat_and_prompts_that_are_typed_go_on(monkeypatch, capsys):
    answers = []

    def respond(self, line):
        answers.append(line)
        if len(answers) == 1:
            raise ALLOCATOR

    monkeypatch.setattr(Chat, "respond", respond)
    Chat.run(SimpleNamespace(respond=lambda line: respond(None, line)), ["one", "two"])
    monkeypatch.setattr(sys, "stdin", io.StringIO("three\nfour\n"))
    answers.clear()
    read_prompts(SimpleNamespace(write=lambda prompts, options: respond(None, *prompts)), SamplingOptions())
    assert answers == ["three", "four"] and capsys.readouterr().err.count(SENTENCE) == 2


PROGRAM = """
import resource
from llmasos import LLMTrainer
from llmasos.errors import UserError
gpt, bert = (LLMTrainer.from_pretrained(f"storyworld-{name}", device="cpu") for name in ("gpt", "bert"))
texts = ["Once there was " + "a cat and " * 70] * 600
gpt.generate("Once", max_new_tokens=1), bert.embed("Once")
n_pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (n_pages * resource.getpagesize() + 2**24,) * 2)
for use in (lambda: gpt.generate(texts, max_new_tokens=50), lambda: bert.embed(texts, batch_size=600)):
    try:
        use()
        print("it fits")
    except UserError as error:
        print(error)
print(len(gpt.generate("Once", max_new_tokens=8, temperature=0)) > 0)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux limits the memory of a process and says how much it has"
)
def test_a_process_under_a_limit_says_it_and_goes_on():
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=600)
    first, second, works = result.stdout.splitlines()
    assert SENTENCE in first and SENTENCE in second and works == "True", result.stderr
