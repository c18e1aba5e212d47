"""A stand-in for TWCManager's web control, with its memory, its save and its blind 302."""

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

STATUS = {
    "carsCharging": 0,
    "chargerLoadWatts": "0.00",
    "currentPolicy": "None",
    "maxAmpsToDivideAmongSlaves": "0.00",
    "isGreenPolicy": "No",
    "scheduledChargingStartHour": -1,
    "ScheduledCharging": {"enabled": False},
}
"""What getStatus of TWCManager 1.3.2 tells, cut short."""


class TwcManager:
    """Keeps its settings in memory as TWCManager does.

    mode: takes, ignores, redirects, denies or breaks off posts; other: some other web server, that answers JSON.
    config: its configuration, as getConfig tells it; text is told as it is.
    """

    def __init__(self, settings: Path, mode: str = "takes") -> None:
        self.settings = settings
        self.mode = mode
        self.config: dict[str, Any] | str = {"config": {"settingsPath": str(settings.parent)}, "vehicle": {}}
        self.memory: dict[str, Any] = json.loads(settings.read_text()) if settings.exists() else {}
        self.status: dict[str, Any] = dict(STATUS)
        self.requests: list[tuple[str, str]] = []
        self.bodies: list[str] = []
        self.port = 0
        self.delay_s = 0.05
        self.expiry = 1
        """What it makes of a token's; later versions go by the token's own."""
        self.redirect_to = "http://127.0.0.1:9/elsewhere"

    def save(self, **changes: Any) -> None:
        """TWCManager's save: temporary file, the old one to .backup, the new one into place."""
        self.memory.update(changes)
        temporary = self.settings.with_name("settings.json.tmp")
        temporary.write_text(json.dumps(self.memory))
        if self.settings.exists():
            self.settings.rename(self.settings.with_name("settings.json.backup"))
        temporary.rename(self.settings)


@contextmanager
def running(settings: Path, mode: str = "takes", port: int = 0, host: str = "127.0.0.1") -> Iterator[TwcManager]:
    """A TWCManager whose web control answers on a loopback port."""
    twc = TwcManager(settings, mode)

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            twc.requests.append(("GET", self.path))
            config = twc.config if isinstance(twc.config, str) else json.dumps(twc.config)
            pages = {"/api/getStatus": json.dumps(twc.status), "/api/getConfig": config}
            if mode == "other":
                pages = {"/api/getStatus": '{"status": "ok"}', "/api/getConfig": "[]"}
            self._answer(200 if self.path in pages else 404, pages.get(self.path, "<html>"))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            twc.requests.append(("POST", self.path))
            twc.bodies.append(body)
            if mode == "denies":
                self._answer(405, "")
                return
            if mode == "breaks off":
                self.close_connection = True
                return
            form = {key: values[0] for key, values in parse_qs(body, keep_blank_values=True).items()}
            if mode == "takes" and self.path == "/settings/save":
                # Applied at once; the save is left to another thread, which the answer does not wait for.
                twc.memory.update(form, carApiTokenExpireTime=twc.expiry)
                threading.Timer(twc.delay_s, twc.save).start()
            self.send_response(302)
            self.send_header("Location", twc.redirect_to if mode == "redirects" else "/")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _answer(self, status: int, text: str) -> None:
            data = text.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    with Server((host, port), Handler) as server:
        twc.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield twc
        finally:
            server.shutdown()
