"""`python -m llmasos serve`: a model behind a port, for browsers, curl, and whatever speaks to OpenAI's API."""

import argparse
import contextlib
import math
import os
import signal
import sys
import threading
from collections.abc import Sequence

import torch

from llmasos.cli.cli import ArgumentParser
from llmasos.errors import UserError
from llmasos.prompting.chat_template import PLAIN
from llmasos.serving.http.app import KEY_VARIABLE, LOOPBACK, MAX_TOKENS, App, create_app
from llmasos.serving.http.http_types import MAX_BODY
from llmasos.serving.http.server import HTTPServer, is_loopback, listen

EXAMPLES = """examples:
  python -m llmasos serve storyworld-chat
  python -m llmasos serve runs/storyworld --port 0
  python -m llmasos serve gpt2 --quantize int8 --max-batch 32
  LLMASOS_API_KEY=… python -m llmasos serve storyworld-gpt --host 0.0.0.0
"""
THREADS_PER_CORE = 4  # more only get into each other's way, and at some number the system has no more
TRIES = {  # ability → a route, and a body to try it with; the first that the model has is shown
    "chat": ("/v1/chat/completions",
             '{"messages": [{"role": "user", "content": "Tell me a story about Emma and a kite."}], "temperature": 0}'),
    "complete": ("/v1/completions", '{"prompt": "Once there was a shy girl", "max_tokens": 60, "temperature": 0.8}'),
    "fill": ("/v1/fill", '{"input": "Once there was a [MASK] girl called Anna."}'),
    "translate": ("/v1/translate", '{"input": "Es war einmal ein neugieriges Mädchen namens Anna."}'),
    "classify": ("/v1/classify", '{"input": "Everybody was happy again."}'),
    "answer": ("/v1/answer", '{"question": "Where did Paul live?", "context": "Paul lived by the river."}'),
    "embed": ("/v1/embeddings", '{"input": "Once there was a shy girl"}'),
}  # fmt: skip


def make_parser() -> argparse.ArgumentParser:
    """All flags of the command, with their help."""
    parser = ArgumentParser(
        prog="python -m llmasos serve",
        description="Serve a model over HTTP: a page to use it and to look inside, and an API in OpenAI's shapes.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="folder of a run or of a model, or a name (see llmasos models)")
    parser.add_argument("--name", help="what requests call the model (default: its name)")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="where to compute")
    parser.add_argument("--quantize", choices=("int8",), help="keep the weights in a quarter of the memory")

    flag = parser.add_argument_group("who can ask").add_argument
    flag("--host", default="127.0.0.1", help="where to listen (default: 127.0.0.1, this machine only)")
    flag("--port", type=int, default=8000, help="default: 8000; 0 takes any that is free")
    flag("--api-key", metavar="KEY", help=f"ask for this key (better: set {KEY_VARIABLE}, which others cannot see)")
    flag("--allow-host", action="append", metavar="NAME", help="a name that the server has, beside those of this "
         "machine, for instance behind a proxy; may be repeated")  # fmt: skip

    flag = parser.add_argument_group("how much").add_argument
    flag("--threads", type=int, metavar="N", help="processor threads that compute (default: as many as torch takes; "
         "for a small model 1 is faster)")  # fmt: skip
    flag("--max-batch", type=int, default=16, metavar="N", help="texts written at once (default: 16)")
    flag("--max-waiting", type=int, default=64, metavar="N", help="how many more may wait (default: 64)")
    flag("--max-tokens", type=int, default=MAX_TOKENS, metavar="N", help="longest text (default: %(default)s tokens)")
    flag("--max-body", type=int, default=MAX_BODY, metavar="BYTES", help="largest request (default: %(default)s)")
    flag("--max-connections", type=int, default=256, metavar="N", help="connections at once (default: 256)")
    flag("--request-seconds", type=float, default=120.0, metavar="S", help="longest work on a request (default: 120)")
    flag("--drain-seconds", type=float, default=30.0, metavar="S", help="at the end, how long running texts may go on")
    flag("--verbose", action="store_true", help="a line on standard error for every request")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop (Ctrl-C or SIGTERM), finish what is running, and return the exit status.

    Raises:
        UserError: the port is taken, there is no such model, it is damaged, or a flag is out of range.
    """
    args = make_parser().parse_args(arguments)
    if not 0 <= args.drain_seconds < math.inf:
        raise UserError(f"--drain-seconds is {args.drain_seconds:g}; it must be a number of seconds, at least 0.")
    if args.threads is not None:
        most = THREADS_PER_CORE * (os.cpu_count() or 1)
        if not 1 <= args.threads <= most:
            raise UserError(f"--threads is {args.threads}; it must be from 1 to {most} on this machine.")
        torch.set_num_threads(args.threads)
    with contextlib.closing(listen(args.host, args.port)) as listener:  # a taken port is said before the model is read
        app = create_app(
            args.model,
            name=args.name,
            quantize=args.quantize,
            device=args.device,
            api_key=args.api_key,
            hosts=names_of(args),
            max_batch=args.max_batch,
            max_waiting=args.max_waiting,
            max_tokens=args.max_tokens,
            max_body=args.max_body,
            request_seconds=args.request_seconds,
        )
        server = HTTPServer(
            app,
            args.host,
            listener=listener,
            max_connections=args.max_connections,
            log=note if args.verbose else None,
        )
        told = when_told_to_stop()
        server.start()
        print(welcome(app, server), flush=True)
        if not is_loopback(server.host) and app.api_key is None:
            note(f"everybody who can reach this machine can use the server; set {KEY_VARIABLE} to ask for a key.")
        while not told.wait(0.1):  # a signal is only heard between two waits
            pass
        if app.engine.n_running or app.engine.n_waiting:
            note(f"stopping: what is running may take {args.drain_seconds:g} s to end; once more Ctrl-C ends at once.")
        app.close(args.drain_seconds)  # the server stays, and says 503 to whoever comes now
        server.stop()
        note("stopped.")
    return 0


def names_of(args: argparse.Namespace) -> list[str] | None:
    """The names that the server answers to; None = what `create_app` takes by itself."""
    return None if args.allow_host is None else [*LOOPBACK, args.host, *args.allow_host]


def when_told_to_stop() -> threading.Event:
    """What is set at the first Ctrl-C or SIGTERM. The second ends the process at once."""
    told = threading.Event()

    def handle(number: int, frame: object) -> None:
        if told.is_set():
            os._exit(128 + number)
        told.set()

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)
    return told


def welcome(app: App, server: HTTPServer) -> str:
    """What there is, where, and how to try it."""
    model = app.served.describe()
    chats = model["chat_template"] not in (None, PLAIN)
    can = [a for a in app.served.abilities if a != "chat" or chats]  # others just go on with a conversation as a text
    path, body = next(TRIES[ability] for ability in TRIES if ability in can)
    key = f" -H 'Authorization: Bearer '${KEY_VARIABLE}" if app.api_key is not None else ""
    there = [f"{route.path}{'NAME' * route.prefix}" for route in app.routes if route.path.startswith("/v1/")]
    other = [route.path for route in app.routes if not route.path.startswith("/v1/")]
    return "\n".join(
        [
            f"{model['id']} ({model['family']}, {model['parameters'] / 1e6:.2f}M parameters) can {', '.join(can)}.",
            "",
            f"  page     {server.url}/",
            f"  API      {', '.join(there)}",
            f"  beside   {', '.join(other[1:])}",
            f'  OpenAI   base_url="{server.url}/v1"{"" if app.api_key else ", any api_key"}',
            f"  try      curl {server.url}{path}{key} -H 'Content-Type: application/json' -d '{body}'",
            "  stop     Ctrl-C (--verbose shows each request)",
        ]
    )


def note(text: str) -> None:
    """Tell a person something."""
    print(text, file=sys.stderr, flush=True)
