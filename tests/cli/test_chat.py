"""`python -m llmasos chat`: with a shipped model, with a server, with a script; what it forgets, saves and refuses."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from generation_helpers import ScriptedModel
from serving_http_helpers import app_of, server_of, tiny
from task_helpers import the_error

from llmasos import hub
from llmasos.__main__ import main as llmasos
from llmasos.cli import chat, chat_backends
from llmasos.cli.terminal import Screen
from llmasos.datasets import open_examples
from llmasos.datasets.tool_call_format import ToolCall, write_call
from llmasos.generation import SamplingOptions
from llmasos.generation.decoder import BatchDecoder
from llmasos.prompting import ChatTemplate, Conversation, Message, Tool, calculator, with_tools
from llmasos.prompting.chat_template import TEMPLATES, special_tokens_for
from llmasos.serving.app import create_app
from llmasos.serving.engine import Engine
from llmasos.tasks import reply
from llmasos.tokenizers import train_tokenizer

ROOT = Path(__file__).resolve().parents[2]
STORY = "Tell me a story about Anna and a kite."
CONTEXT = 768  # tokens, of storyworld-chat
TOO_LONG = "It is windy. " * 300


@pytest.fixture(scope="module")
def model():
    return hub.load_pretrained("storyworld-chat")


@pytest.fixture(scope="module")
def served(model):
    """The address of a server with the same model."""
    with app_of(create_app(Engine(*model)).engine, name="storyworld-chat") as app, server_of(app) as server:
        yield server.url


@pytest.fixture
def talk(capsys, monkeypatch):
    """Type these lines in a chat with a model; returns the status, the output line by line, and the notes."""

    def talking(name: str, *lines: str, flags=()) -> tuple[int, list[str], str]:
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines) + "\n"))
        status = llmasos(["chat", name, *map(str, flags)])
        captured = capsys.readouterr()
        return status, captured.out.splitlines(), captured.err

    return talking


FEW = ("--max-new-tokens", 20, "--temperature", 0)


def expected(model, *messages: str, **options) -> str:
    """The model's answer to a conversation with these messages of user and assistant in turn."""
    said = [Message(("user", "assistant")[number % 2], text) for number, text in enumerate(messages)]
    return reply(*model, [said], SamplingOptions(**{"max_new_tokens": 20, "temperature": 0, **options}))[0]


# Talking


@pytest.mark.parametrize("where", ["here", "there"])
def test_it_says_what_the_model_answers_to_the_whole_conversation(talk, model, served, where):
    status, said, notes = talk("storyworld-chat" if where == "here" else served, STORY, "", "And then?", flags=FEW)
    first = expected(model, STORY)
    assert status == 0 and said == [first, expected(model, STORY, first, "And then?")]
    assert f"a context of {CONTEXT} tokens, so older messages are soon dropped; /help shows the commands" in notes
    assert "not learned" not in notes
    if where == "here":
        assert notes.count("it can answer, for example: Tell me a story about Emma and a lantern.") == 1


@pytest.mark.parametrize("where", ["here", "there"])
def test_an_answer_ends_where_the_assistant_has_learned_to_end_it(talk, model, served, where):
    question = "Say it in one sentence. Anna was sad. Paul came. They laughed."
    answer = expected(model, question, max_new_tokens=150)
    assert len(model[1].encode(answer)) < 100
    name = "storyworld-chat" if where == "here" else served
    assert talk(name, question, flags=("--max-new-tokens", 150, "--temperature", 0))[1] == [answer]


def test_a_conversation_is_the_same_every_time_and_each_answer_has_its_own_seed(talk, model, served):
    lines, flags = (STORY, "/reset", STORY), ("--max-new-tokens", 12, "--top-p", 0.9, "--seed", 7)
    _, said, _ = talk("storyworld-chat", *lines, flags=flags)
    one, other = (expected(model, STORY, max_new_tokens=12, temperature=0.3, top_p=0.9, seed=s) for s in (7, 8))
    assert said == [one, other] and one != other
    assert talk(served, *lines, flags=flags)[1] == said


def test_the_system_message_is_given_to_the_model_and_can_be_changed(talk, model):
    def with_system(text):
        return reply(*model, [[Message("system", text), Message("user", STORY)]], SamplingOptions(20, 0.0))[0]

    _, said, notes = talk("storyworld-chat", STORY, "/reset", "/system Once more.", STORY, "/reset", "/system", STORY,
                          flags=(*FEW, "--system", "How does the story end?"))  # fmt: skip
    assert said == [with_system("How does the story end?"), with_system("Once more."), expected(model, STORY)]
    assert "the system message is set" in notes and "the system message is removed" in notes


def test_examples_stand_before_the_conversation(talk, model, tmp_path):
    rows = [{"prompt": "Say a.", "answer": "a"}, {"prompt": "Say b.", "answer": "b"}]
    (tmp_path / "shown.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, said, _ = talk("storyworld-chat", STORY, flags=(*FEW, "--few-shot", tmp_path / "shown.jsonl"))
    assert said == [expected(model, "Say a.", "a", "Say b.", "b", STORY)] != [expected(model, STORY)]


@pytest.mark.parametrize("where", ["here", "there"])
def test_the_most_frequent_of_several_answers_is_said(talk, served, where, monkeypatch):
    name = "storyworld-chat" if where == "here" else served
    flags = ("--vote", 3, "--max-new-tokens", 10)
    _, [said], notes = talk(name, STORY, flags=flags)
    assert re.search(r"\([123] of 3 answers agree\)", notes) and said
    monkeypatch.setattr(chat_backends.LocalModel, "sample", lambda *a: ["Rome", " Paris\n", "paris", ""])
    monkeypatch.setattr(chat_backends.ServerModel, "sample", lambda *a: ["Rome", " Paris\n", "paris", ""])
    _, said, notes = talk(name, "Where?", flags=flags)
    assert said == ["Paris"] and "(2 of 3 answers agree)" in notes


def test_a_model_that_has_not_learned_to_chat_is_asked_in_plain_text_and_that_is_said(talk):
    status, said, notes = talk("storyworld-gpt", "Once there was a girl.", flags=("--max-new-tokens", 15))
    assert status == 0 and len(said) == 1
    assert "storyworld-gpt was not trained to chat" in notes


@pytest.mark.parametrize("where", ["here", "there"])
def test_a_model_that_has_not_learned_to_chat_does_not_speak_for_the_user(talk, where, monkeypatch):
    said, sample, engine = b" A dog.\nUser: And that?\nAssistant: A cat.", BatchDecoder.sample, tiny("gpt")

    def say(self):  # the model's tokens are bytes
        ids = sample(self)
        for number, row in enumerate(self.sequences):
            row.ids[-1] = ids[number] = said[(len(row.ids) - 1) % len(said)]
        return ids

    monkeypatch.setattr(BatchDecoder, "sample", say)
    if where == "here":
        monkeypatch.setattr(chat_backends, "load_pretrained", lambda *args, **named: (engine.model, engine.tokenizer))
        _, lines, _ = talk("a-gpt", "What?", flags=("--max-new-tokens", 40))
    else:
        with app_of(engine) as app, server_of(app) as server:
            _, lines, _ = talk(server.url, "What?", flags=("--max-new-tokens", 40))
    assert lines == ["A dog."]


def test_a_rounded_model_talks(talk):
    assert talk("storyworld-chat", STORY, flags=(*FEW, "--quantize", "int8"))[1][0]


def test_the_examples_of_the_help_are_answered_as_it_says(talk, capsys):
    with pytest.raises(SystemExit):
        chat.make_parser().parse_args(["--help"])
    shown = capsys.readouterr().out.partition("answers well, with --temperature 0:\n")[2].splitlines()
    questions = [line.strip() for line in shown if line.startswith("  ")]
    _, said, _ = talk("storyworld-chat", *questions[:2], "/reset", questions[2], flags=("--temperature", 0))
    assert said[0].startswith("Emma was small and patient") and "her lantern, which Uncle Otto had built" in said[0]
    assert said[0].endswith("Emma never forgot that time.") and said[1:] == ["happy", "above the bakery"]


def test_a_tool_is_called_while_the_model_answers_and_the_call_is_shown_and_saved(talk, tmp_path, monkeypatch):
    tokenizer = train_tokenizer("byte", [], 300, special_tokens_for("chatml"))
    question, call = "What is 17 times 25?", write_call(ToolCall("calculator", {"expression": "17 * 25"}))
    said = [Message("user", question), Message("assistant", call), Message("tool", "425"), Message("assistant", "425!")]
    ids = TEMPLATES["chatml"].encode(tokenizer, with_tools(said, [Tool.of(calculator).describe()])).ids
    model = ScriptedModel([*ids, *[0] * 500], tokenizer.vocab_size)
    monkeypatch.setattr(chat_backends, "load_pretrained", lambda *arguments: (model, tokenizer))
    monkeypatch.setattr(chat_backends, "card_examples", lambda name: [])
    file = tmp_path / "chat.jsonl"
    flags = ("--tools", "calculator", "--temperature", 0)
    status, answers, notes = talk("calculates", question, f"/save {file}", flags=flags)
    assert (status, answers) == (0, ["425!"]) and '(calculator(expression="17 * 25") → 425)' in notes
    assert [Message(**message) for message in json.loads(file.read_text())["messages"]] == said


def test_answers_with_tools_that_vote_differ_from_each_other():
    backend = chat_backends.LocalModel("storyworld-chat", "cpu", None, tools=[calculator])
    assert len(set(backend.sample([Message("user", STORY)], SamplingOptions(8, temperature=3.0), 4))) > 1


def test_an_address_needs_no_http(talk, model, served, tmp_path, monkeypatch):
    assert talk(served.removeprefix("http://"), STORY, flags=FEW)[1] == [expected(model, STORY)]
    assert chat.server_url("[::1]:8000") == "http://[::1]:8000"
    for name in ("storyworld-chat", "runs/a:1", "gpt2@main", "me/model", "8000", "C:\\models"):
        assert chat.server_url(name) is None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model:8000").mkdir()
    assert chat.server_url("model:8000") is None and chat.server_url("other:8000")


# Forgetting


@pytest.mark.parametrize("where", ["here", "there"])
def test_the_oldest_messages_are_dropped_and_that_is_said(talk, model, served, where):
    lines = [f"{STORY} {'It is windy. ' * n}" for n in (1, 60, 60, 60)]
    _, said, notes = talk("storyworld-chat" if where == "here" else served, *lines, flags=FEW)
    assert len(said) == 4 and f"no longer fit into the context of {CONTEXT} tokens and are dropped" in notes
    assert "only the last" not in notes and "outgrown" not in notes  # neither the decoder nor the server had to cut
    if where == "here":
        kept = [lines[2].strip(), said[2], lines[3].strip()]
        assert said[3] in (expected(model, *kept), expected(model, *kept[2:]))


@pytest.mark.parametrize("where", ["here", "there"])
def test_what_the_model_cannot_see_any_more_of_its_own_answer_is_said(talk, served, where, monkeypatch):
    def endless(template, options):
        return replace(options, stop_at_end_of_text=False)

    monkeypatch.setattr(ChatTemplate, "with_stops", endless)  # an answer that never ends by itself
    name = "storyworld-chat" if where == "here" else served
    _, _, notes = talk(name, STORY, flags=("--max-new-tokens", CONTEXT - 6, "--temperature", 0))
    assert f"the text has outgrown the model's context of {CONTEXT} tokens" in notes


def test_a_remote_speaker_learns_how_long_its_tokens_are(model, served):
    speaker, local = chat_backends.ServerModel(served, None), chat_backends.LocalModel("storyworld-chat", "cpu", None)
    for text in (STORY, "x" * 70, "It is windy. " * 10):
        messages = [Message("user", text)]
        list(speaker.stream(messages, SamplingOptions(2)))
        assert abs(speaker.count(messages) - local.count(messages)) <= 1


def test_a_question_that_cannot_fit_is_refused_and_the_conversation_goes_on(talk, model):
    first = expected(model, STORY)
    _, said, notes = talk("storyworld-chat", STORY, TOO_LONG, "And then?", flags=FEW)
    assert re.search(rf"your message has \d+ tokens, and there is room for {CONTEXT - 20}", notes)
    assert said == [first, expected(model, STORY, first, "And then?")]


def test_a_server_is_given_what_only_seems_too_long_and_refuses_itself_what_is(talk, model, served):
    short = "a b c d e f g h i j k l m n o p q r s t u v w x y z " * 3  # twice as many tokens as such texts have
    _, said, notes = talk(served, short, TOO_LONG, "And then?", flags=FEW)
    assert said[0] == expected(model, short) and "there is room for" not in notes
    assert re.search(
        rf"the last message has \d+ tokens, and the model's context has {CONTEXT}; shorten the message", notes
    )
    assert len(said) == 2  # and the conversation continues


def test_examples_that_had_to_go_are_back_after_a_reset(talk, model, tmp_path):
    rows = [{"prompt": "Say a.", "answer": "a"}, {"prompt": "Say b.", "answer": "b"}]
    (tmp_path / "shown.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    long = "It is windy. " * 175
    _, said, notes = talk("storyworld-chat", long, "/reset", STORY,
                          flags=(*FEW, "--few-shot", tmp_path / "shown.jsonl"))  # fmt: skip
    assert "examples no longer fit" in notes
    assert said[1] == expected(model, "Say a.", "a", "Say b.", "b", STORY) != expected(model, STORY)


# Commands


def test_what_has_been_said_can_be_saved_and_trained_on(talk, model, tmp_path):
    file = tmp_path / "talk.jsonl"
    lines = ("/save", f"/save {file}", STORY, f"/save {file}", f"/save {file}", "/quit", "never said")
    _, said, notes = talk("storyworld-chat", *lines, flags=(*FEW, "--system", "Be kind."))
    assert len(said) == 1 and f"saved 2 messages to {file}" in notes
    for problem in (
        "/save needs the name of a file",
        "the conversation is empty",
        "already exists; choose another name",
    ):
        assert problem in notes
    [conversation] = open_examples("conversations", file, eval_only=True).val
    assert conversation.messages == (("system", "Be kind."), ("user", STORY), ("assistant", said[0]))


@pytest.mark.parametrize("leave", ["/quit", " /exit "])
def test_two_words_leave(talk, leave):
    _, said, notes = talk("storyworld-chat", leave, STORY, flags=FEW)
    assert said == [] and "there is no command" not in notes


def test_only_a_small_context_is_said_to_be_forgetful():
    speaker = Scripted()
    for length, forgetful in ((chat.SMALL_CONTEXT, True), (chat.SMALL_CONTEXT + 1, False)):
        speaker.context_length = length
        said = chat.greeting(speaker)
        assert f"a context of {length} tokens" in said and ("soon dropped" in said) == forgetful


def test_the_other_commands(talk, model):
    _, said, notes = talk("storyworld-chat", "/help", "/reset", "/dance", "/quit", STORY, flags=FEW)
    assert said == [] and "there is no command /dance; /help shows" in notes
    assert notes.count("it can answer, for example: ") == 2, "in the greeting and in the help"
    for command in ("/reset", "/system TEXT", "/save FILE", "/help", "/quit", "/exit", "Ctrl-C"):
        assert command in notes


# Interruptions and failures, by a script


class Scripted:
    """A backend with scripted answers; anything callable in the script is called."""

    name, template, context_length, counts_exactly = "scripted", "chatml", 100, True
    examples = ("Who are you?",)
    calls = ()

    def __init__(self, *script):
        self.script, self.warnings, self.closed, self.seen = list(script), [], 0, []

    def count(self, messages):
        return 1

    def stream(self, messages, options):
        self.seen.append([message.content for message in messages])
        try:
            for piece in self.script.pop(0):
                yield piece() if callable(piece) else piece
        finally:
            self.closed += 1


def ctrl_c() -> str:
    signal.raise_signal(signal.SIGINT)
    return "not said"


def chatting(speaker, out) -> chat.Chat:
    return chat.Chat(speaker, Conversation(), SamplingOptions(10), 1, Screen(out))


def test_ctrl_c_stops_the_answer_and_what_has_been_said_counts(capsys):
    speaker, out = Scripted(["\n One ", "two ", ctrl_c, "three"], [" Four."]), io.StringIO()
    chatting(speaker, out).run(["a", "b"])
    assert out.getvalue() == "One two \nFour.\n" and speaker.closed == 2
    assert speaker.seen == [["a"], ["a", "One two", "b"]]
    assert "(stopped; press Ctrl-C again to quit)" in capsys.readouterr().err


def test_ctrl_c_before_the_first_word_takes_the_question_back(capsys):
    speaker = Scripted([ctrl_c], ["Yes."])
    chatting(speaker, io.StringIO()).run(["a", "b"])
    notes = capsys.readouterr().err
    assert speaker.seen == [["a"], ["b"]] and notes == "(stopped; press Ctrl-C again to quit)\n"


def test_ctrl_c_between_two_answers_leaves():
    def lines():
        yield "a"
        ctrl_c()
        yield "b"

    speaker = Scripted(["Yes."], ["No."])
    chatting(speaker, io.StringIO()).run(lines())
    assert speaker.seen == [["a"]]


def test_an_answer_that_fails_is_told_and_the_question_taken_back(capsys):
    def fail():
        raise chat.UserError("the server is gone.")

    speaker, out = Scripted(["One ", fail], ["  "], ["Two"]), io.StringIO()
    speaker.warnings = ["it is late."]
    chatting(speaker, out).run(["a", "b", "c"])
    assert out.getvalue() == "One \nTwo\n" and speaker.seen == [["a"], ["b"], ["c"]]
    notes = capsys.readouterr().err
    assert "(the server is gone.)" in notes and "(the answer is empty; try to put it differently)" in notes
    assert notes.count("(it is late.)") == 2


def test_it_runs_with_a_pipe_and_says_nothing_but_the_answer(tmp_path):
    done = subprocess.run([sys.executable, "-m", "llmasos", "chat", "storyworld-chat", "--max-new-tokens", "8"],
                          input=f"{STORY}\n", capture_output=True, text=True, timeout=300, cwd=ROOT,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0 and done.stdout.count("\n") == 1 and done.stdout.strip()
    assert "Traceback" not in done.stderr


# Errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no/such/model"], "there is no model"),
        (["storyworld-chta"], "there is no model 'storyworld-chta'; did you mean 'storyworld-chat'?"),
        ([__file__], "is a file, and a model is a folder"),
        (["storyworld-bert"], "storyworld-bert is a bert and cannot chat"),
        (["storyworld-de-en"], "storyworld-de-en is a transformer and cannot chat"),
        (["storyworld-chat", "--vote", "0"], "--vote is 0"),
        (["storyworld-chat", "--vote", "3", "--temperature", "0"], "--vote is 3 with temperature 0"),
        (["storyworld-chat", "--temperature", "-1"], "temperature is -1"),
        (["storyworld-chat", "--top-p", "2"], "top_p is 2"),
        (["storyworld-chat", "--max-new-tokens", "0"], "max_new_tokens is 0"),
        (["storyworld-chat", "--few-shot", "none.jsonl"], "none.jsonl"),
        (["http://127.0.0.1:9", "--tools", "calculator"], "--tools works with a model in this process"),
        (
            ["storyworld-chat", "--tools", "calculator", "--regex", "a"],
            "--tools and --regex or --json-schema con",
        ),
        (["http://127.0.0.1:9", "--regex", "a|b"], "--regex and --json-schema work with a model in this process"),
        (["http://"], "it must be http://HOST:PORT"),
    ],
)
def test_what_is_wrong_gets_a_sentence(arguments, said, capsys):
    assert llmasos(["chat", *arguments]) == 2
    assert said in the_error(capsys)


def test_servers_that_cannot_talk(capsys, monkeypatch):
    monkeypatch.setattr("llmasos.serving.http.transport.sleep", lambda seconds: None)
    assert llmasos(["chat", "http://127.0.0.1:9"]) == 2
    assert "http://127.0.0.1:9 does not answer" in the_error(capsys)
    with app_of(tiny("classifier"), api_key="right") as app, server_of(app) as server:
        assert llmasos(["chat", server.url]) == 2
        assert "requires an API key, and none was given; pass it with --api-key KEY, or set LLMASOS_API_KEY" in (
            the_error(capsys))  # fmt: skip
        assert llmasos(["chat", server.url, "--api-key", "wrong"]) == 2
        assert "requires an API key, and the one given is wrong" in the_error(capsys)
        monkeypatch.setenv("LLMASOS_API_KEY", "right")
        assert llmasos(["chat", server.url]) == 2
        assert "cannot chat; it supports classification, embedding" in the_error(capsys)
