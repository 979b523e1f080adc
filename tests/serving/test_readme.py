"""The Python code and the curl commands in the README of serving run exactly as written."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from llmasos import LLMServing
from llmasos.serving.api import ROUTES
from llmasos.serving.app import create_app

FILE = Path(__file__).resolve().parents[2] / "llmasos" / "serving" / "README.md"
README = FILE.read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
CURL = re.findall(r"^curl (?:.*\\\n)*.*", README, re.MULTILINE)


def test_the_python_code_runs(capsys):
    pytest.importorskip("openai")
    namespace: dict = {}
    assert len(PYTHON) == 3
    for block in PYTHON:
        exec(compile(block, "README.md", "exec"), namespace)
    assert len(capsys.readouterr().out.split()) > 40 and not namespace["service"].running


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_commands_are_answered():
    responses = []
    with LLMServing.from_pretrained("storyworld-chat").create_service() as service:
        for command in CURL:
            command = command.replace("http://127.0.0.1:8000", service.url)
            process = subprocess.run(["sh", "-c", f"{command} --silent --fail"], capture_output=True, text=True)
            assert process.returncode == 0, command
            responses.append(process.stdout)
    models, completion, stream, inspection, tokenization, metrics, chat = responses
    assert json.loads(models)["data"][0]["id"] == "storyworld-chat"
    assert json.loads(completion)["usage"]["completion_tokens"] <= 40
    assert stream.count("data: ") > 1 and stream.endswith("data: [DONE]\n\n")
    assert len(json.loads(inspection)["layers"]) > 2
    assert json.loads(tokenization)["n_bytes"] == 30
    assert "llmasos_generated_tokens_total" in metrics
    assert json.loads(chat)["choices"][0]["message"]["role"] == "assistant"


def test_every_route_is_in_the_table():
    table = "\n".join(line for line in README.splitlines() if line.startswith("| `"))
    for route in ROUTES:
        assert route.path.rstrip("/") in table, route.path
        assert route.capability is None or f"{route.path}` | {route.capability} |" in table, route.path


def test_the_gunicorn_command_makes_an_application():
    """The expression that gunicorn evaluates; `test_production.py` runs gunicorn itself."""
    call = re.search(r"'llmasos\.serving\.app:(create_app\(.*\))'", README)[1]
    app = eval(call, {"create_app": create_app})
    try:
        assert app.hosts == ["example.com", "localhost", "127.0.0.1"]
    finally:
        app.close(0.0)
