"""The application alone: its input from WSGI and its counters."""

import urllib.parse

import pytest
from serving_http_helpers import app_of, ask, tiny


@pytest.mark.parametrize("name", ["modèle", "模型", "a b", "who/my_llm"])
def test_a_model_is_found_under_any_name(name):
    """WSGI passes the bytes of a path as Latin-1 characters, whatever they are."""
    with app_of(tiny("gpt"), name=name) as app:
        path = urllib.parse.unquote("/v1/models/" + urllib.parse.quote(name), "latin-1")
        assert ask(app, "GET", path).json["id"] == name
        assert ask(app, "GET", "/v1/models/\xff").status == 404  # no UTF-8


def test_what_others_refuse_can_be_counted():
    with app_of(tiny("gpt")) as app:
        app.count_response("POST", 413)
        app.count_response(None, 503)
        app.count_response("BREW", 400)
        lines = ask(app, "GET", "/metrics").body.decode().splitlines()
    for method, status in (("POST", 413), ("other", 503), ("other", 400)):
        assert f'llmasos_http_requests_total{{route="other",method="{method}",status="{status}"}} 1' in lines
