"""A local hub: serves a folder in the layout of the Hugging Face hub, with failures on demand."""

import hashlib
import http.server
import json
import threading
import time
import urllib.parse
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".safetensors", ".bin")


class Hub:
    """The server.

    Args:
        models: name → folder with its files.

    Attributes:
        failures: file → the failures of its next requests: "cut", "corrupt", "slow", "stall", "500".
        proceed: the event that a "stall" waits for.
        requests: the requested paths, with their Range.
        token: the required access token, if any.
        moved: name → its new name, to which requests are redirected.
        extra: further entries of the list of files.
    """

    def __init__(self, models: dict[str, Path]):
        self.models, self.failures, self.requests = models, {}, []
        self.token, self.moved, self.extra = None, {}, []
        self.proceed = threading.Event()
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                hub.answer(self)

            def log_message(self, *arguments):
                pass

        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.httpd.server_port}"
        threading.Thread(target=self.httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.httpd.shutdown()
        self.httpd.server_close()

    def answer(self, handler) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(handler.path).path)
        self.requests.append((path, handler.headers.get("Range")))
        if self.token and handler.headers.get("Authorization") != f"Bearer {self.token}":
            handler.send_error(401)
            return
        for old, new in self.moved.items():
            if path.startswith(f"/{old}/") or path.startswith(f"/api/models/{old}/"):
                handler.send_response(307)
                handler.send_header("Location", path.replace(old, new, 1) + "?blobs=true")
                handler.end_headers()
                return
        if path.startswith("/api/models/"):
            name, _, revision = path.removeprefix("/api/models/").partition("/revision/")
            self.list_files(handler, name, revision)
        else:
            name, _, rest = path.removeprefix("/").partition("/resolve/")
            self.send_file(handler, name, rest.partition("/")[2])

    def list_files(self, handler, name: str, revision: str) -> None:
        if name not in self.models or revision not in ("main", COMMIT):
            handler.send_error(404)
            return
        entries = []
        for file in sorted(self.models[name].iterdir()):
            data = file.read_bytes()
            entry = {"rfilename": file.name, "size": len(data)}
            entry["blobId"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            if file.suffix in LARGE:
                entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            entries.append(entry)
        body = json.dumps({"sha": COMMIT, "siblings": entries + self.extra}).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def send_file(self, handler, name: str, file: str) -> None:
        path = self.models.get(name, Path("/nowhere")) / file
        if not path.is_file():
            handler.send_error(404)
            return
        waiting = self.failures.get(file, [])
        accident = waiting.pop(0) if waiting else ""
        if accident == "500":
            handler.send_error(500)
            return
        data = path.read_bytes()
        if accident == "corrupt":
            data = data[:-1] + bytes([data[-1] ^ 1])
        begin = int((handler.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        handler.send_response(206 if begin else 200)
        if begin:
            handler.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(len(data) - begin))
        handler.end_headers()
        end = begin + (len(data) - begin) // 2 if accident == "cut" else len(data)
        try:
            if accident == "slow":
                for start in range(begin, end, 20_000):
                    handler.wfile.write(data[start : min(start + 20_000, end)])
                    time.sleep(0.02)
            elif accident == "stall":
                middle = begin + (end - begin) // 2
                handler.wfile.write(data[begin:middle])
                self.proceed.wait(300)
                handler.wfile.write(data[middle:end])
            else:
                handler.wfile.write(data[begin:end])
        except OSError:
            pass
