"""The page at `/`: use the model in a browser and look inside it.

It is written in several files, each short enough to read, and sent as one response without anything from outside:

    index.html    the markup, with a marker where the style sheet and the scripts go
    style.css     how it looks
    scripts/      what it does, joined in the order of `SCRIPTS` into one script
"""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

from llmasos.serving.http.errors import Headers

FOLDER = Path(__file__).parent
SCRIPTS = (
    "helpers", "server", "activity", "tabs", "cards", "tokens", "sampling", "write", "chat", "inspect", "attention",
    "logit_lens", "predictions", "code_examples", "start",
)  # fmt: skip


@cache
def page_html() -> bytes:
    """The whole page. It does not change while the server runs."""
    html = (FOLDER / "index.html").read_text(encoding="utf-8")
    style = (FOLDER / "style.css").read_text(encoding="utf-8")
    script = "\n".join((FOLDER / "scripts" / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    html = html.replace("<!-- style.css -->", f"<style>\n{style}</style>")
    html = html.replace("<!-- scripts -->", f'<script>\n"use strict";\n\n{script}</script>')
    return html.encode("utf-8")


@cache
def page_headers() -> Headers:
    """What the page may do: run its own script and send requests to this server. No other page may frame it."""
    scripts = re.findall(rb"<script>(.*?)</script>", page_html(), re.DOTALL)
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
