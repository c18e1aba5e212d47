"""A stand-in for TWCManager's web control, with its memory, its save and its blind 302."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs


class TwcManager:
    """Keeps its settings in memory as TWCManager does. mode: takes, ignores or redirects posts, or is other."""

    def __init__(self, settings: Path, mode: str = "takes") -> None:
        self.settings = settings
        self.mode = mode
        self.memory: dict[str, Any] = json.loads(settings.read_text()) if settings.exists() else {}
        self.requests: list[tuple[str, str]] = []
        self.port = 0

    def save(self, **changes: Any) -> None:
        """TWCManager's save: temporary file, the old one to .backup, the new one into place."""
        self.memory.update(changes)
        temporary = self.settings.with_name("settings.json.tmp")
        temporary.write_text(json.dumps(self.memory))
        if self.settings.exists():
            self.settings.rename(self.settings.with_name("settings.json.backup"))
        temporary.rename(self.settings)


@contextmanager
def running(settings: Path, mode: str = "takes", port: int = 0) -> Iterator[TwcManager]:
    """A TWCManager whose web control answers on a loopback port."""
    twc = TwcManager(settings, mode)

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            twc.requests.append(("GET", self.path))
            known = self.path == "/api/getStatus" and mode != "other"
            self._answer(200 if known else 404, json.dumps({"carsCharging": 0}) if known else "<html>")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            twc.requests.append(("POST", self.path))
            form = {key: values[0] for key, values in parse_qs(body, keep_blank_values=True).items()}
            if mode == "takes" and self.path == "/settings/save":
                twc.save(**form, carApiTokenExpireTime=1)
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:9/elsewhere" if mode == "redirects" else "/")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _answer(self, status: int, text: str) -> None:
            data = text.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        twc.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield twc
        finally:
            server.shutdown()
