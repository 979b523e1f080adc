"""Requests made up by Schemathesis from `/openapi.json`, right ones and wrong ones, over a real connection.

All its checks: no 5xx, valid requests are accepted, invalid ones rejected, and every response matches the document.
One is left out for what JSON Schema cannot say: that a text has too many tokens for a model, that a number anywhere in
an object that is ignored has too many digits, how many texts can be taken apart word by word, which schemas of
replies can be kept in how many tokens, and which tools a call or another field may name.
"""

import re
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from serving_http_helpers import app_of, server_of, tiny

schemathesis = pytest.importorskip("schemathesis")
from schemathesis import GenerationMode  # noqa: E402
from schemathesis.checks import CHECKS, load_all_checks  # noqa: E402

load_all_checks()
KINDS = ["gpt", "bert", "transformer", "classifier", "ner", "qa"]
CONFIG = {"checks": {"negative_data_rejection": {"expected-statuses": ["4xx"]}}}  # 413, too, says that it is too much
BEYOND_SCHEMA = (
    "at most 8 at once", "shorter text", "shorten", "longer than", "digits; the limit", "JSON schema",
    "belongs to a message of the assistant", ".tool_calls cannot be read", "there are no tools", "not among the tools",
    "leave one of them out", "the call may need",
)  # fmt: skip
HEALTH = list(HealthCheck)
COUNTS: dict[str, int] = {}


def roomy(kind: str):
    """A small model and its engine, with room for as many prompts and texts of each as the document allows."""
    engine = tiny(kind)
    engine.max_waiting = 256
    return engine


SOME = [KINDS[0], *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])]


@pytest.fixture(scope="module", params=SOME)
def document(request):
    """The document of a running server with a small model of each kind, some of which ask for a key."""
    key = "open-sesame" if request.param in ("gpt", "qa") else None
    with app_of(roomy(request.param), max_tokens=8, api_key=key) as app, server_of(app) as server:
        config = schemathesis.Config.from_dict(CONFIG)
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        config.projects.default.update(headers=headers)
        yield schemathesis.openapi.from_url(f"{server.url}/openapi.json", config=config, headers=headers)
        print(f"\n{request.param}: answers by status", dict(sorted(COUNTS.items())))
        COUNTS.clear()


def check(case) -> None:
    """Send a request and check the answer in every way."""
    answer = case.call()
    COUNTS[answer.status_code] = COUNTS.get(answer.status_code, 0) + 1
    is_beyond = answer.status_code == 400 and any(words in answer.text for words in BEYOND_SCHEMA)
    left_out = CHECKS.get_by_names(["positive_data_acceptance"]) if is_beyond else []
    case.validate_response(answer, checks=CHECKS.get_all(), excluded_checks=left_out)


def test_a_few_made_up_requests(document):
    for found in document.get_all_operations():
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            if mode is GenerationMode.NEGATIVE and not found.ok().body:
                continue  # there is nothing that could be wrong

            @given(case=found.ok().as_strategy(generation_mode=mode))
            @settings(max_examples=4 if found.ok().body else 2, deadline=None, suppress_health_check=HEALTH,
                      database=None, derandomize=True)  # fmt: skip
            def run(case):
                check(case)

            run()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_made_up_requests(kind, tmp_path):
    """Schemathesis' own command, with all that it does: edges of every field, random requests, and several in a row."""
    config = tmp_path / "schemathesis.toml"
    config.write_text("""
        checks.negative_data_rejection.expected-statuses = ["4xx"]
        [[operations]]
        include-path-regex = "^/v1/(inspect|fill-mask|translate|classify|chat/completions)$"
        checks.positive_data_acceptance.enabled = false
    """)
    with app_of(roomy(kind), max_tokens=8) as app, server_of(app) as server:
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "--no-color", "run",
                   f"{server.url}/openapi.json", "--max-examples", "25", "--seed", "1",
                   "--generation-database", "none"]  # fmt: skip
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
        n_requests = sum(int(line.rsplit(" ", 1)[1]) for line in app.served.metrics.http_requests.lines())
    found = re.search(r"(\d+) generated, (.*)", done.stdout)
    print(f"\n{kind}: {n_requests} requests, {found and found[0]}")
    assert done.returncode == 0 and found[2].endswith("passed"), done.stdout[-6000:] + done.stderr[-2000:]
    assert not re.search(r'status="5', "\n".join(app.served.metrics.http_requests.lines()))
