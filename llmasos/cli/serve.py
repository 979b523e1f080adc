"""`python -m llmasos serve`: serve a model over HTTP, for browsers, curl, and clients of OpenAI's API."""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmasos import serving
from llmasos.capabilities import CAPABILITIES
from llmasos.cli.cli import ArgumentParser, add_adapter_flag
from llmasos.cli.terminal import note
from llmasos.console import say
from llmasos.errors import UserError
from llmasos.serving import API_KEY_VARIABLE, LOOPBACK, MAX_BODY, MAX_TOKENS
from llmasos.signals import exit_at_once, stop_requests

if TYPE_CHECKING:
    from llmasos.serving import App, HTTPServer

EXAMPLES = """examples:
  python -m llmasos serve storyworld-chat
  python -m llmasos serve runs/storyworld --port 0
  python -m llmasos serve gpt2 --quantize int8 --max-batch 32
  LLMASOS_API_KEY=… python -m llmasos serve storyworld-gpt --host 0.0.0.0
"""
STOPPING = "stopping; press Ctrl-C again to stop at once."
THREADS_PER_CORE = 4  # more threads would only compete for the cores, and the system limits their number


def make_parser() -> argparse.ArgumentParser:
    """All flags of the command, with their help."""
    parser = ArgumentParser(
        prog="python -m llmasos serve",
        description="Serve a model over HTTP: a page to use it and look inside it, and an API like OpenAI's.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a model's or run's folder, or a name (see python -m llmasos models)"
    )
    add_adapter_flag(parser)
    parser.add_argument("--name", help="the model's name in requests (default: its own)")
    parser.add_argument(
        "--device", default="auto", metavar="DEVICE", help="device to run on: auto, cpu, cuda, cuda:1, mps"
    )
    parser.add_argument(
        "--quantize", choices=("int8", "int4"), help="store the weights in a quarter or a sixth of the memory"
    )

    flag = parser.add_argument_group("access").add_argument
    flag("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine only)")
    flag("--port", type=int, default=8000, help="default: 8000; 0 chooses a free port")
    flag("--api-key", metavar="KEY", help=f"require this key (better: set {API_KEY_VARIABLE}, which other users of the "
         "machine cannot see)")  # fmt: skip
    flag("--allow-host", action="append", metavar="NAME", help="another host name of the server, for example behind a "
         "proxy; may be repeated")  # fmt: skip
    flag("--allow-origin", action="append", default=[], metavar="URL", help="let pages of this origin use the server, "
         "for example http://localhost:3000; may be repeated; '*' allows every page of the web: without a key, any "
         "that you visit")  # fmt: skip

    flag = parser.add_argument_group("limits").add_argument
    flag("--threads", type=int, metavar="N", help="CPU threads for computation (default: torch's choice; 1 is fastest "
         "for a small model)")  # fmt: skip
    flag(
        "--max-batch",
        type=int,
        metavar="N",
        help="requests decoded at once (default: 16 to 64, as many as fit in 1 GB of cache)",
    )
    flag("--page-size", type=int, metavar="N", help="keep keys and values in pages of N tokens, for example 16: more "
         "requests in the same memory, prompts with the same beginning share it (default: a slot for a whole context "
         "each, which is faster)")  # fmt: skip
    flag("--max-waiting", type=int, default=64, metavar="N", help="maximum number of waiting requests (default: 64)")
    flag("--max-tokens", type=int, default=MAX_TOKENS, metavar="N", help="maximum tokens per text (default: "
         "%(default)s)")  # fmt: skip
    flag("--max-body", type=int, default=MAX_BODY, metavar="BYTES", help="maximum size of a request (default: "
         "%(default)s)")  # fmt: skip
    flag("--max-connections", type=int, default=256, metavar="N", help="maximum connections at once (default: 256)")
    flag("--request-seconds", type=float, default=120.0, metavar="S", help="time limit of a request (default: 120)")
    flag("--drain-seconds", type=float, default=30.0, metavar="S", help="at shutdown, how long running requests may "
         "take to finish (default: 30)")  # fmt: skip
    flag("--verbose", action="store_true", help="log each request to standard error")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM, finish what is running, and return the exit status.

    Raises:
        UserError: the port is taken, there is no such model, it is damaged, or a flag is out of range.
    """
    args = make_parser().parse_args(arguments)
    if not 0 <= args.drain_seconds < math.inf:
        raise UserError(f"--drain-seconds is {args.drain_seconds:g}; it must be a number of seconds of at least 0.")
    if args.threads is not None:
        max_threads = THREADS_PER_CORE * (os.cpu_count() or 1)
        if not 1 <= args.threads <= max_threads:
            raise UserError(f"--threads is {args.threads}; it must be from 1 to {max_threads} on this machine.")
        import torch  # here, because --help does not need torch

        torch.set_num_threads(args.threads)
    with contextlib.closing(
        serving.listen(args.host, args.port)
    ) as listener:  # report a taken port before loading the model
        app = serving.create_app(
            args.model,
            name=args.name,
            quantize=args.quantize,
            adapter=args.adapter,
            device=args.device,
            api_key=args.api_key,
            hosts=allowed_hosts(args),
            allow_origins=args.allow_origin,
            max_batch=args.max_batch,
            max_waiting=args.max_waiting,
            max_tokens=args.max_tokens,
            max_body=args.max_body,
            request_seconds=args.request_seconds,
            page_size=args.page_size,
        )
        server = serving.HTTPServer(
            app,
            args.host,
            listener=listener,
            max_connections=args.max_connections,
            log=functools.partial(print, file=sys.stderr, flush=True) if args.verbose else None,
        )
        with stop_requests(STOPPING, exit_at_once) as stop:
            server.start()
            say(welcome(app, server))
            if not serving.is_loopback(server.host) and app.api_key is None:
                note(f"anyone who can reach this machine can use the server; set {API_KEY_VARIABLE} to require a key.")
            while not stop.is_set():
                time.sleep(0.1)  # Python handles a signal only between two instructions
            if app.engine.n_running or app.engine.n_waiting:
                note(f"running requests have {args.drain_seconds:g} s to finish.")
            app.close(args.drain_seconds)  # meanwhile the server answers new requests with 503
            server.stop()
        note("stopped.")
    return 0


def allowed_hosts(args: argparse.Namespace) -> list[str] | None:
    """The host names that requests may use; None = the default of `create_app`."""
    return None if args.allow_host is None else [*LOOPBACK, args.host, *args.allow_host]


def welcome(app: App, server: HTTPServer) -> str:
    """What the server offers, its URLs, and a request to try."""
    model = app.served.describe()
    names = app.served.offered
    first = "chat" if "chat" in names else next(name for name in names if CAPABILITIES[name].example)
    key = f" -H 'Authorization: Bearer '${API_KEY_VARIABLE}" if app.api_key is not None else ""
    api = [f"{route.path}{'NAME' * route.is_prefix}" for route in app.routes if route.path.startswith("/v1/")]
    other = [route.path for route in app.routes if not route.path.startswith("/v1/")]
    request = f"{key} -H 'Content-Type: application/json' -d '{CAPABILITIES[first].example}'"
    return "\n".join(
        [
            f"{model['id']} ({model['family']}, {model['parameters'] / 1e6:.2f}M parameters) can "
            f"{app.served.offered_in_words}.",
            "",
            f"  page     {server.url}/",
            f"  API      {', '.join(api)}",
            f"  status   {', '.join(other[1:])}",
            f'  OpenAI   base_url="{server.url}/v1"{"" if app.api_key else ", any api_key"}',
            f"  try      curl {server.url}{CAPABILITIES[first].route}{request}",
            "  stop     Ctrl-C (--verbose logs each request)",
        ]
    )
