"""The page at `/`: use the model in a browser and look inside it.

It is written in several files, each short enough to read, and sent as one response without anything from outside:

    index.html    the markup, with a marker where the style sheet and the scripts go
    style.css     how it looks
    scripts/      what it does, joined in the order of `SCRIPTS` into one script

`docs.html` and `docs.css` are the page at `/docs` (`api/docs.py`), which has no script.
"""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

from llmasos.serving.http.errors import Headers

FOLDER = Path(__file__).parent
SCRIPTS = (
    "helpers", "server", "activity", "tabs", "examples", "cards", "characters", "tokens", "sampling", "write", "chat",
    "inspect", "attention", "logit_lens", "trace", "interventions", "ablation", "patching", "probe",
    "tokenizer", "predictions", "code_examples", "start",
)  # fmt: skip


@cache
def read_file(name: str) -> str:
    """The text of a file in this folder."""
    return (FOLDER / name).read_text(encoding="utf-8")


@cache
def page_html() -> bytes:
    """The whole page. It does not change while the server runs."""
    script = "\n".join(read_file(f"scripts/{name}.js") for name in SCRIPTS)
    html = read_file("index.html").replace("<!-- style.css -->", f"<style>\n{read_file('style.css')}</style>")
    html = html.replace("<!-- scripts -->", f'<script>\n"use strict";\n\n{script}</script>')
    return html.encode("utf-8")


def page_headers(html: bytes) -> Headers:
    """What a page may do: run its own script and send requests to this server. No other page may frame it."""
    scripts = re.findall(rb"<script>(.*?)</script>", html, re.DOTALL)
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'" for script in scripts]
    policy = (
        f"default-src 'none'; script-src {' '.join(hashes)}; style-src 'unsafe-inline'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return (
        ("Content-Security-Policy", policy),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-cache"),
    )
