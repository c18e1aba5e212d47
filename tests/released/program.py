"""The released TWCManager as a process of its own, and a stand-in for the Tesla API it talks to.

Never started without config.teslaProxy on a loopback address; every other address goes to a proxy that is not there.
"""

import http.server
import json
import os
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tmsync.core.twcmanager.http import answers_as_twcmanager
from tmsync.demo.postgres import free_port

NOWHERE = "http://127.0.0.1:9"


@dataclass
class Tesla:
    """A Tesla API without vehicles. `tokens`: those it was asked with, in order."""

    port: int = 0
    tokens: list[str] = field(default_factory=list)


@contextmanager
def tesla() -> Iterator[Tesla]:
    """The stand-in on a loopback port."""
    found = Tesla()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            found.tokens.append(self.headers.get("Authorization", "").removeprefix("Bearer "))
            body = b'{"response": [], "count": 0}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield found
        finally:
            server.shutdown()


DRIVER = f"exec(open({str(Path(__file__).with_name('driver.py'))!r}).read()); import TWCManager.TWCManager"
"""Its import is its run."""


class Program:
    """A folder with TWCManager's config.json and settings.json, and the program started in it.

    lib: the folder that TWCManager is taken from in place of the installed one. speed: how many times faster its clock
    runs.
    """

    def __init__(self, python: str, folder: Path, tesla_port: int, *, lib: str = "", speed: float = 1) -> None:
        self.python = python
        self.lib = lib
        self.speed = speed
        self.beliefs_file = folder.parent / "beliefs"
        self.folder = folder
        self.config = folder / "config.json"
        self.settings = folder / "settings.json"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self.config.write_text(
            json.dumps(
                {
                    "config": {
                        "settingsPath": str(folder),
                        "teslaProxy": f"http://127.0.0.1:{tesla_port}",
                        "debugLevel": 8,
                        "wiringMaxAmpsAllTWCs": 6,
                        "wiringMaxAmpsPerTWC": 6,
                        "minAmpsPerTWC": 6,
                        "fakeMaster": 1,
                    },
                    "control": {"HTTP": {"enabled": True, "listenPort": self.port}},
                    "interface": {"Dummy": {"enabled": True, "twcID": "AB"}, "RS485": {"enabled": False}},
                    "logging": {"Console": {"enabled": True, "mute": {}}},
                    "policy": {},
                    "sources": {},
                    "status": {},
                    "vehicle": {"TeslaMate": {"enabled": False}},
                }
            )
        )
        self.config.chmod(0o600)

    def start(self, *, ready: bool = True) -> None:
        """Start it and wait for its web control. ready: and for its first decision, when its settings are loaded."""
        assert json.loads(self.config.read_text())["config"]["teslaProxy"].startswith("http://127.0.0.1:")
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "HTTP_PROXY": NOWHERE,
            "HTTPS_PROXY": NOWHERE,
            "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": self.lib,
        }
        with (self.folder.parent / "twcmanager.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.python, "-c", DRIVER, str(self.speed), str(self.beliefs_file)],
                cwd=self.folder,
                env=environ,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 120
        while not answers_as_twcmanager(self.url, 2):
            assert self._process.poll() is None, "TWCManager ended; see twcmanager.log"
            assert time.monotonic() < deadline, "TWCManager's web control does not answer"
            time.sleep(0.05)
        while ready and self._policy() == "None":
            assert time.monotonic() < deadline, "TWCManager does not come to a decision"
            time.sleep(0.2)

    def _policy(self) -> str:
        with urllib.request.urlopen(f"{self.url}/api/getStatus", timeout=20) as answer:
            return str(json.load(answer)["currentPolicy"])

    def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(with_signal)
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process = None

    def task(self, **task: Any) -> None:
        """Queue a background task of its, such as cmd="charge", charge=False."""
        self._tell(json.dumps(task))

    def beliefs(self) -> list[dict[str, Any]]:
        """What it believes of its vehicles."""
        self.beliefs_file.unlink(missing_ok=True)
        self._tell("look")
        deadline = time.monotonic() + 20
        while not (self.beliefs_file.exists() and self.beliefs_file.read_text().endswith("\n")):
            assert time.monotonic() < deadline, "TWCManager does not tell what it believes"
            time.sleep(0.05)
        found: list[dict[str, Any]] = json.loads(self.beliefs_file.read_text())
        return found

    def _tell(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def post(self, **form: Any) -> None:
        """As its settings page does; the answer leads to its start page."""
        self._visit("/settings/save", "&".join(f"{key}={value}" for key, value in form.items()).encode())

    def show_start_page(self) -> None:
        """Makes it ask Tesla for the vehicles, before the page is complete."""
        self._visit("/")

    def _visit(self, path: str, body: bytes | None = None) -> None:
        with urllib.request.urlopen(f"{self.url}{path}", body, timeout=20) as answer:
            answer.read()

    def read(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.settings.read_text())
        return data
