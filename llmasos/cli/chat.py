"""`python -m llmasos chat`: chat in the terminal with a local model, or with one behind a server's URL.

The assistant's answers go to standard output, everything else to standard error. `prompting/conversation.py` keeps the
conversation within the model's context and reports what it had to drop.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from llmasos import datasets, prompting
from llmasos.arguments import user_path
from llmasos.capabilities import BUILT_IN_TOOLS
from llmasos.cli.cli import ArgumentParser, add_adapter_flag
from llmasos.cli.option_flags import add_option_flags, has_grammar, options_of
from llmasos.cli.terminal import Screen, note, typed_lines
from llmasos.errors import UserError, check_number, explain_out_of_memory
from llmasos.generation import SamplingOptions
from llmasos.serving import API_KEY_VARIABLE
from llmasos.storage import write_text

if TYPE_CHECKING:
    from llmasos.cli.chat_backends import ChatBackend
    from llmasos.prompting import Conversation, Message

EXAMPLES = """examples:
  python -m llmasos chat storyworld-chat --temperature 0
  python -m llmasos chat http://127.0.0.1:8000
  python -m llmasos chat my_llm --system "Answer in one sentence." --few-shot examples.jsonl
  python -m llmasos chat runs/chat-calculator --tools calculator --temperature 0
  echo "Tell me a story about Emma and a lantern." | python -m llmasos chat storyworld-chat --temperature 0

what storyworld-chat answers well, with --temperature 0:
  Tell me a story about Emma and a lantern.
  Does this story have a happy or a sad ending?
  Where did Leo live? Leo was a shy boy who lived above the bakery.
It is a very small model that only knows its story world, and declines everything else.
"""
HELP = """\
/reset         start a new conversation
/system TEXT   set the system message: how the assistant should behave; without TEXT, remove it
/save FILE     save the conversation to a new file, which can be used for training
/help          show these commands
/quit          quit (also /exit or Ctrl-D)
Ctrl-C         stop the answer; a second one quits"""
SMALL_CONTEXT = 1024  # tokens; with a context this short, a conversation soon becomes too long


def make_parser() -> argparse.ArgumentParser:
    """All flags of the command, with their help."""
    parser = ArgumentParser(
        prog="python -m llmasos chat",
        description="Chat with a model. Each line you type is a message; /help shows the commands.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flag = parser.add_argument
    flag("model", metavar="MODEL|URL", help="a model's folder or name (see python -m llmasos models), or a "
         "server's URL: http://HOST:PORT, or HOST:PORT")  # fmt: skip
    flag("--system", default="", metavar="TEXT", help="system message: how the assistant should behave")
    flag("--few-shot", metavar="FILE", help="example conversations: a .jsonl, .csv or .tsv file with the columns "
         "prompt and answer, or with messages")  # fmt: skip
    flag("--tools", action="append", choices=BUILT_IN_TOOLS, help="let the model call this function while it "
         "answers, if it was trained for that; repeatable")  # fmt: skip
    flag("--vote", type=int, default=1, metavar="N", help="self-consistency: sample N answers and show the most common "
         "one (default: 1)")  # fmt: skip
    flag("--device", default="auto", metavar="DEVICE", help="device to run on: cpu, cuda, cuda:1, mps (default: auto)")
    add_adapter_flag(parser)
    flag("--quantize", choices=("int8", "int4"), help="store the weights in a quarter or a sixth of the memory")
    flag("--api-key", metavar="KEY", help=f"API key of a server (better: set {API_KEY_VARIABLE})")
    add_option_flags(parser, SamplingOptions)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the flags, load the model or connect to the server, and chat. Returns the exit status.

    Raises:
        UserError: there is no such model or server, it cannot chat, or a flag or a file is invalid.
    """
    args = make_parser().parse_args(arguments)
    check_vote(args.vote, options_of(args, SamplingOptions))  # also checks the ranges, before anything is loaded
    examples = read_examples(args.few_shot) if args.few_shot else []
    from llmasos.cli.chat_backends import LocalModel, ServerModel  # here, because --help needs no model

    backend: ChatBackend
    if url := server_url(args.model):
        if args.tools:
            raise UserError("--tools works with a model in this process; to a server, send the field tools of "
                            "/v1/chat/completions.")  # fmt: skip
        if has_grammar(args):
            raise UserError("--regex and --json-schema work with a model in this process; to a server, send the field "
                            "response_format of /v1/chat/completions.")  # fmt: skip
        backend = ServerModel(url, args.api_key or os.environ.get(API_KEY_VARIABLE) or None)
    else:
        if args.tools and has_grammar(args):
            raise UserError("--tools and --regex or --json-schema contradict each other: a call would not fit; leave "
                            "one of them out.")  # fmt: skip
        tools = [prompting.BUILT_IN[name] for name in dict.fromkeys(args.tools or ())]
        backend = LocalModel(args.model, args.device, args.quantize, args.adapter, tools)
    options = options_of(args, SamplingOptions, backend.recommended)
    check_vote(args.vote, options)
    if backend.template_note:
        note(backend.template_note)
    elif backend.template == "plain":
        note(f"{backend.name} was not trained to chat: it sees the conversation as a text with the lines User: and "
             "Assistant:, and continues it as well as it can")  # fmt: skip
    note(greeting(backend))
    chat = Chat(backend, prompting.Conversation(args.system.strip(), examples), options, args.vote, Screen(sys.stdout))
    chat.run(typed_lines())
    return 0


def check_vote(n_votes: int, options: SamplingOptions) -> None:
    """Raise UserError if there are no answers to vote on, or if all votes would be the same."""
    check_number("--vote", n_votes, whole=True, at_least=1)
    if n_votes > 1 and options.greedy:
        raise UserError(f"--vote is {n_votes} with temperature 0; it needs a --temperature above 0, because otherwise "
                        "all answers are the same.")  # fmt: skip


def server_url(text: str) -> str | None:
    """The URL of a server, or None if the text is a model's name.

    >>> server_url("https://example.org"), server_url("localhost:8000"), server_url("gpt2")
    ('https://example.org', 'http://localhost:8000', None)
    """
    if re.match(r"https?://", text):
        return text
    is_host_and_port = re.fullmatch(r"([\w.-]+|\[[\da-fA-F:]+\]):\d{1,5}", text)
    return f"http://{text}" if is_host_and_port and not Path(text).exists() else None


def greeting(backend: ChatBackend) -> str:
    """The model's name, its context length, the most important commands, and what to ask the model."""
    short = ", so older messages are soon dropped" if backend.context_length <= SMALL_CONTEXT else ""
    return (f"{backend.name}, a context of {backend.context_length} tokens{short}; /help shows the commands, /reset "
            f"starts over, Ctrl-D quits{what_to_ask(backend)}")  # fmt: skip


def what_to_ask(backend: ChatBackend) -> str:
    """A further line with the examples of the model's card: what it can do; "" if there are none."""
    return f"\nit can answer, for example: {'  '.join(backend.examples)}" if backend.examples else ""


def read_examples(file: str) -> list[Sequence[Message]]:
    """The conversations in a file. Raises UserError if the file is not in one of their formats."""
    chats = datasets.open_examples("conversations", file, eval_only=True).val
    return [[prompting.Message(*message) for message in chat.messages] for chat in chats]


class Chat:
    """A conversation between the user and a model.

    Args:
        backend: the model.
        conversation: with the system message and the examples.
        options: how to sample; each answer gets a seed of its own.
        n_votes: how many answers to choose from.
        screen: where the answers are shown.
    """

    def __init__(
        self, backend: ChatBackend, conversation: Conversation, options: SamplingOptions, n_votes: int, screen: Screen
    ):
        self.backend, self.conversation, self.n_votes, self.screen = backend, conversation, n_votes, screen
        self.options, self.n_answers = options, 0
        context_length = backend.context_length  # an answer may become longer than its room; a warning says so then
        self.room = context_length - min(options.max_new_tokens, context_length // 4)

    def run(self, lines: Iterable[str]) -> None:
        """Answer line by line, until there are no more, or /quit, or Ctrl-C between two answers."""
        try:
            for line in lines:
                line = line.strip()
                if line in ("/quit", "/exit"):
                    return
                try:
                    with explain_out_of_memory():
                        if line.startswith("/"):
                            self.run_command(line)
                        elif line:
                            self.respond(line)
                except UserError as error:  # about this line only
                    note(str(error))
        except KeyboardInterrupt:
            print(file=sys.stderr)

    def run_command(self, line: str) -> None:
        """Run a line that begins with a slash. Raises UserError if there is no such command."""
        command, _, argument = line.partition(" ")
        argument = argument.strip()
        if command == "/help":
            print(HELP + what_to_ask(self.backend), file=sys.stderr)
        elif command == "/reset":
            self.conversation.reset()
            note("started a new conversation")
        elif command == "/system":
            self.conversation.system = argument
            note("the system message is set" if argument else "the system message is removed")
        elif command == "/save":
            self.save(argument)
        else:
            raise UserError(f"there is no command {command}; /help shows the commands.")

    def save(self, name: str) -> None:
        """Write the conversation to a file. Raises UserError if it is empty, or the file exists."""
        conversation = self.conversation
        if not name:
            raise UserError("/save needs the name of a file: /save FILE.")
        if not conversation.history:
            raise UserError("the conversation is empty, so there is nothing to save.")
        file = user_path(name)
        if file.exists():
            raise UserError(f"{file} already exists; choose another name.")
        system = [prompting.Message("system", conversation.system)] if conversation.system else []
        messages = [message._asdict() for message in [*system, *conversation.history]]
        write_text(file, json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
        note(f"saved {len(conversation.history)} messages to {file}")

    def respond(self, text: str) -> None:
        """Answer a message. If that fails, or is stopped before the first word, the message is removed again."""
        conversation = self.conversation
        conversation.ask(text)
        try:
            self.make_room()
            self.n_answers += 1
            options = dataclasses.replace(self.options, seed=self.options.seed + self.n_answers - 1)
            answer = self.vote(options) if self.n_votes > 1 else self.stream(options)
        except BaseException as error:
            conversation.undo()
            if not isinstance(error, KeyboardInterrupt):
                raise
            note("stopped; press Ctrl-C again to quit")
            return
        for warning in dict.fromkeys(self.backend.warnings):
            note(warning)
        if answer:
            conversation.history += self.backend.calls
            conversation.answer(answer)
        else:
            conversation.undo()
            note("the answer is empty; try to put it differently")

    def make_room(self) -> None:
        """Drop what no longer fits into the context, and say so."""
        dropped = self.conversation.fit(self.backend.count, self.room, self.backend.counts_exactly)
        for n, what in ((dropped.messages, "messages"), (dropped.examples, "examples")):
            if n:
                note(f"the first {n} {what} no longer fit into the context of {self.backend.context_length} tokens "
                     "and are dropped")  # fmt: skip

    def stream(self, options: SamplingOptions) -> str:
        """Show the answer while it is generated, and return it. Ctrl-C ends it early."""
        answer, stopped = "", False
        try:
            with closing(self.backend.stream(self.conversation.messages, options)) as pieces:
                for piece in pieces:
                    piece = piece if answer else piece.lstrip()
                    answer += piece
                    self.screen.text(piece)
        except KeyboardInterrupt:
            if not answer:
                raise
            stopped = True
        finally:
            if answer:
                self.screen.end()
        if stopped:
            note("stopped; press Ctrl-C again to quit")
        return answer.strip()

    def vote(self, options: SamplingOptions) -> str:
        """Sample several answers, and show and return the most common one (self-consistency)."""
        answers = self.backend.sample(self.conversation.messages, options, self.n_votes)
        answers = [answer.strip() for answer in answers if answer.strip()]
        if not answers:
            return ""
        result = prompting.majority_vote(answers)
        self.screen.text(result.answer)
        self.screen.end()
        note(f"{round(result.fraction * len(answers))} of {len(answers)} answers agree")
        return result.answer
