"""`python -m llmasos chat`: talk to a model in the terminal, one at hand or one behind an address.

What the assistant says goes to standard output, everything else to standard error. The conversation is kept within the
model's context by `prompting/conversation.py`, which says what had to be forgotten.
"""

import argparse
import dataclasses
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from llmasos.cli.chat_backends import Local, Remote, Speaker, as_objects
from llmasos.cli.cli import ArgumentParser
from llmasos.cli.terminal import Screen, note, typed_lines
from llmasos.datasets import open_examples
from llmasos.errors import UserError
from llmasos.generation import SamplingOptions
from llmasos.prompting import Conversation, Message, vote
from llmasos.serving.http.app import KEY_VARIABLE
from llmasos.serving.http.client import Client
from llmasos.storage.atomic import write_text

EXAMPLES = """examples:
  python -m llmasos chat storyworld-chat --temperature 0
  python -m llmasos chat http://127.0.0.1:8000
  python -m llmasos chat my_llm --system "Answer in one sentence." --few-shot examples.jsonl
  echo "Tell me a story about Emma and a lantern." | python -m llmasos chat storyworld-chat --temperature 0

what storyworld-chat answers well, with --temperature 0:
  Tell me a story about Emma and a lantern.
  Does this story have a happy or a sad ending?
  Where did Leo live? Leo lived above the bakery.
It is very small: more than its small world it does not know. Say /reset before another story.
"""
HELP = """\
/reset         forget what has been said
/system TEXT   tell the assistant how to be; without TEXT no longer
/save FILE     write the conversation into a new file, one from which a model can be trained
/help          this
/quit          leave, as /exit and Ctrl-D do
Ctrl-C         stop the answer; once more leaves"""
SMALL_CONTEXT = 512  # tokens; in so few or fewer a conversation is soon too long


def make_parser() -> argparse.ArgumentParser:
    """All flags of the command, with their help."""
    parser = ArgumentParser(
        prog="python -m llmasos chat",
        description="Talk to a model. Each line is what you say; /help shows what else can be typed.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flag = parser.add_argument
    flag("model", metavar="MODEL|URL", help="a model's folder or name (see llmasos models), or a server's address: "
         "http://HOST:PORT, or HOST:PORT")  # fmt: skip
    flag("--system", default="", metavar="TEXT", help="tell the assistant how to be")
    flag("--few-shot", metavar="FILE", help="conversations that show how to answer: a .jsonl, .csv or .tsv with the "
         "columns prompt and answer, or with messages")  # fmt: skip
    flag("--vote", type=int, default=1, metavar="N", help="answer N times, and say what comes most often (default: 1)")
    flag("--max-new-tokens", type=int, default=200, metavar="N", help="longest answer, in tokens (default: 200)")
    flag("--temperature", type=float, default=0.8, metavar="X", help="0 always takes the likeliest (default: 0.8)")
    flag("--top-p", type=float, metavar="P", help="choose among the fewest tokens that hold this much probability")
    flag("--seed", type=int, default=0, metavar="N", help="the same seed gives the same conversation (default: 0)")
    flag("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="where to compute (default: auto)")
    flag("--quantize", choices=("int8",), help="keep the weights in a quarter of the memory")
    flag("--api-key", metavar="KEY", help=f"what a server asks for (better: set {KEY_VARIABLE})")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Check what was asked, find the other one, talk. Returns the exit status.

    Raises:
        UserError: no such model or server, one that cannot talk, or a flag or a file that is not as it must be.
    """
    args = make_parser().parse_args(arguments)
    options = SamplingOptions(args.max_new_tokens, args.temperature, top_p=args.top_p, seed=args.seed)
    if args.vote < 1 or (args.vote > 1 and options.greedy):
        raise UserError(f"--vote is {args.vote} with temperature {args.temperature:g}; it must be at least 1, and only "
                        "with a temperature above 0 are several answers different.")  # fmt: skip
    examples = read_examples(args.few_shot) if args.few_shot else []
    speaker: Speaker
    if url := address_of(args.model):
        speaker = Remote(Client(url, args.api_key or os.environ.get(KEY_VARIABLE) or None))
    else:
        speaker = Local(args.model, args.device, args.quantize)
    if speaker.template == "plain":
        note(f"{speaker.name} has not learned to chat: the conversation is put to it as a text of what User and "
             "Assistant say, and it goes on with that as well as it can")  # fmt: skip
    note(greeting(speaker))
    chat = Chat(speaker, Conversation(args.system.strip(), examples), options, args.vote, Screen(sys.stdout))
    chat.run(typed_lines())
    return 0


def address_of(text: str) -> str | None:
    """The address of a server that is meant, None if it is a model's name.

    >>> address_of("https://example.org"), address_of("localhost:8000"), address_of("gpt2")
    ('https://example.org', 'http://localhost:8000', None)
    """
    if re.match(r"https?://", text):
        return text
    is_host_and_port = re.fullmatch(r"([\w.-]+|\[[\da-fA-F:]+\]):\d{1,5}", text)
    return f"http://{text}" if is_host_and_port and not Path(text).exists() else None


def greeting(speaker: Speaker) -> str:
    """Who answers, how much it can keep in mind, and how to go on."""
    soon = ", so what was said earlier is soon forgotten" if speaker.context_length <= SMALL_CONTEXT else ""
    return (f"{speaker.name}, a context of {speaker.context_length} tokens{soon}; /help shows the commands, "
            "/reset begins anew, Ctrl-D leaves")  # fmt: skip


def read_examples(file: str) -> list[Sequence[Message]]:
    """The conversations in a file. Raises UserError if it cannot be read as such."""
    return [[Message(*message) for message in chat.messages] for chat in open_examples("conversations", file, eval_only=True).val]


class Chat:
    """A conversation between somebody who types lines and a speaker.

    Args:
        speaker: who answers.
        conversation: what has been said before.
        options: how to choose tokens; each answer has a seed of its own.
        n_votes: how many answers to choose from.
        screen: where the answers go.
    """

    def __init__(
        self, speaker: Speaker, conversation: Conversation, options: SamplingOptions, n_votes: int, screen: Screen
    ):
        self.speaker, self.conversation, self.n_votes, self.screen = speaker, conversation, n_votes, screen
        self.options, self.n_answers = options, 0
        longest = speaker.context_length
        self.room = longest - min(options.max_new_tokens, longest // 4)  # a long answer may outgrow that, and says so

    def run(self, lines: Iterable[str]) -> None:
        """Answer line by line until there are no more, one says /quit, or Ctrl-C comes between two answers."""
        try:
            for line in lines:
                line = line.strip()
                if line in ("/quit", "/exit"):
                    return
                try:
                    if line.startswith("/"):
                        self.obey(line)
                    elif line:
                        self.respond(line)
                except UserError as error:  # of this line; the next one may be better
                    note(str(error))
        except KeyboardInterrupt:
            print(file=sys.stderr)

    def obey(self, line: str) -> None:
        """Do what a line that begins with / says. Raises UserError if there is no such command."""
        command, _, rest = line.partition(" ")
        rest, talk = rest.strip(), self.conversation
        if command == "/help":
            print(HELP, file=sys.stderr)
        elif command == "/reset":
            talk.reset()
            note("what has been said is forgotten")
        elif command == "/system":
            talk.system = rest
            note("the system message is set" if rest else "there is no system message any more")
        elif command == "/save":
            self.save(rest)
        else:
            raise UserError(f"there is no command {command}; /help shows those that there are.")

    def save(self, name: str) -> None:
        """Write all that has been said. Raises UserError if nothing has, or the file is there already."""
        if not name:
            raise UserError("say into which file: /save FILE")
        if not self.conversation.said:
            raise UserError("nothing has been said yet, so there is nothing to save.")
        file, talk = Path(name).expanduser(), self.conversation
        if file.exists():
            raise UserError(f"{file} is there already; choose another name, so that nothing is overwritten.")
        system = [Message("system", talk.system)] if talk.system else []
        write_text(file, json.dumps({"messages": as_objects([*system, *talk.said])}, ensure_ascii=False) + "\n")
        note(f"{len(talk.said)} messages are in {file}")

    def respond(self, text: str) -> None:
        """Answer what somebody says. If that fails, or is stopped before there is a word, it has not been said."""
        talk = self.conversation
        talk.ask(text)
        try:
            self.make_room()
            self.n_answers += 1
            options = dataclasses.replace(self.options, seed=self.options.seed + self.n_answers - 1)
            said = self.choose(options) if self.n_votes > 1 else self.write(options)
        except BaseException as error:
            talk.take_back()
            if not isinstance(error, KeyboardInterrupt):
                raise
            note("stopped; Ctrl-C once more leaves")
            return
        for warning in dict.fromkeys(self.speaker.warnings):
            note(warning)
        if said:
            talk.answer(said)
        else:
            talk.take_back()
            note("there is no answer; say it in another way")

    def make_room(self) -> None:
        """Forget what no longer fits, and say so."""
        forgotten = self.conversation.fit(self.speaker.count, self.room, self.speaker.exact)
        for n, what in ((forgotten.messages, "messages"), (forgotten.examples, "examples")):
            if n:
                note(f"the first {n} {what} no longer fit into the context of {self.speaker.context_length} tokens: "
                     "they are forgotten")  # fmt: skip

    def write(self, options: SamplingOptions) -> str:
        """Show the answer while it is written. Ctrl-C ends it where it is."""
        said, stopped = "", False
        try:
            with closing(self.speaker.pieces(self.conversation.messages, options)) as pieces:
                for piece in pieces:
                    piece = piece if said else piece.lstrip()
                    said += piece
                    self.screen.text(piece)
        except KeyboardInterrupt:
            if not said:
                raise
            stopped = True
        finally:
            if said:
                self.screen.end()
        if stopped:
            note("stopped; Ctrl-C once more leaves")
        return said.strip()

    def choose(self, options: SamplingOptions) -> str:
        """Several answers, of which the most frequent is shown (self-consistency)."""
        answers = self.speaker.several(self.conversation.messages, options, self.n_votes)
        answers = [answer.strip() for answer in answers if answer.strip()]
        if not answers:
            return ""
        result = vote(answers)
        self.screen.text(result.answer)
        self.screen.end()
        note(f"{round(result.share * len(answers))} of {len(answers)} answers agree")
        return result.answer
