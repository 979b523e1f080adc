"""CORS: which pages of other sites may read the server's responses (https://fetch.spec.whatwg.org/#http-cors-protocol).

A browser names the origin of a page (its scheme, host and port) in every request that the page's script sends to
another origin, and shows the response to the script only if its headers allow that origin. Before a request with JSON
or with a key, it first sends a "preflight" request with the method OPTIONS.

No origin is allowed by default. Allowing one lets its pages do here whatever their visitors can do; the API key, if
there is one, is still required. Credentials are never allowed: the server has no cookies, and a page that has the key
sends it itself.
"""

import re
from collections.abc import Sequence

from llmasos.errors import UserError
from llmasos.serving.http.errors import Headers, RequestError, show
from llmasos.serving.http.http_types import Environ

ANY = "*"
DEFAULT_PORTS = {"http": ":80", "https": ":443"}
ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^\s/?#@:*\[\]]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")
HEADER_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?:\s*,\s*[A-Za-z0-9!#$%&'*+.^_`|~-]+)*")
METHODS = "GET, HEAD, POST"
READABLE = "Retry-After, WWW-Authenticate, Allow"  # headers that scripts may read in addition to the usual ones
PREFLIGHT_SECONDS = 600  # for which a browser may remember the answer to a preflight


class AllowedOrigins:
    """The origins whose pages may read responses.

    >>> allowed = AllowedOrigins(["http://localhost:3000", "https://app.example.com/"])
    >>> allowed.headers("http://localhost:3000")[0]
    ('Access-Control-Allow-Origin', 'http://localhost:3000')
    >>> allowed.headers("http://localhost:3000.evil.com")
    (('Vary', 'Origin'),)
    """

    def __init__(self, origins: Sequence[str]):
        """Normalize a list of origins; "*" means any. Raises UserError for an item that is not an origin."""
        self.origins = frozenset(map(normalize_origin, origins))

    def allows(self, origin: str) -> bool:
        """Whether pages of this origin may read responses."""
        return ANY in self.origins or origin.lower() in self.origins

    def headers(self, origin: str | None) -> Headers:
        """The headers of a response to a page.

        Args:
            origin: the page's origin, as sent by its browser; None = the request had none.
        """
        if not self.origins:
            return ()
        if ANY in self.origins:
            return (("Access-Control-Allow-Origin", ANY), ("Access-Control-Expose-Headers", READABLE))
        vary = ("Vary", "Origin")  # a cache must not show one origin's response to another
        if origin is None or not self.allows(origin):
            return (vary,)
        return (("Access-Control-Allow-Origin", origin), ("Access-Control-Expose-Headers", READABLE), vary)

    def preflight_headers(self, environ: Environ) -> Headers:
        """The headers of a preflight response in addition to `headers`: what the page may send, for any path.

        Args:
            environ: the request, in WSGI's form.

        Raises:
            RequestError: the origin is not allowed (403).
        """
        origin, requested = environ["HTTP_ORIGIN"], environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
        if not self.allows(origin):
            raise RequestError(
                f"pages of {show(origin)} may not use this server (its administrator can allow them: --allow-origin "
                "of serve, allow_origins=… of create_app).",
                status=403, code="origin_not_allowed",
            )  # fmt: skip
        sendable = requested if HEADER_NAMES.fullmatch(requested) else "Authorization, Content-Type"
        return (
            ("Access-Control-Allow-Methods", METHODS),
            ("Access-Control-Allow-Headers", sendable),
            ("Access-Control-Max-Age", str(PREFLIGHT_SECONDS)),
        )


def is_preflight(environ: Environ) -> bool:
    """Whether a request (in WSGI's form) is a browser's preflight request."""
    names = "HTTP_ORIGIN", "HTTP_ACCESS_CONTROL_REQUEST_METHOD"
    return environ["REQUEST_METHOD"] == "OPTIONS" and all(name in environ for name in names)


def normalize_origin(origin: str) -> str:
    """Write an origin like browsers do: in lower case, without the scheme's default port or a slash at the end.

    >>> normalize_origin("HTTPS://App.Example.com:443/"), normalize_origin("app://obsidian.md"), normalize_origin("*")
    ('https://app.example.com', 'app://obsidian.md', '*')

    Raises:
        UserError: it is not an origin.
    """
    if origin == ANY:
        return ANY
    match = ORIGIN.fullmatch(origin.strip().lower().removesuffix("/")) if isinstance(origin, str) else None
    if match is None:
        raise UserError(
            f"{show(origin)} is not an origin that can be allowed: it must be a scheme, a host and perhaps a port, for "
            f'example "http://localhost:3000", or "{ANY}" for any page of the web.'
        )
    scheme, host, port = match.groups()
    return f"{scheme}://{host}{'' if port == DEFAULT_PORTS.get(scheme) else port or ''}"
