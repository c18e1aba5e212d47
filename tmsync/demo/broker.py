"""A private MQTT broker in a folder of its own, on a free loopback port; gone without trace when stopped."""

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.fixes import problem
from tmsync.demo.server import DemoError, PrivateServer, free_port, server_user

USUAL_FOLDERS: Final = (Path("/usr/sbin"), Path("/usr/local/sbin"))
"""Where packages put Mosquitto; an ordinary user's search path has neither."""
SERVER_USERS: Final = ("mosquitto", "nobody")
"""Who the broker runs as when we are root: a server that listens needs no root."""
START_SECONDS: Final = 30

CONNECT: Final = b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x05\x00\x03tmw"
"""An MQTT 3.1.1 CONNECT without credentials, clean session, keepalive 5 s, client id "tmw"."""
CONNACK: Final = 0x20
DISCONNECT: Final = b"\xe0\x00"


def find_mosquitto() -> Path | None:
    """Mosquitto from the search path, else from where packages put it."""
    found = shutil.which("mosquitto")
    if found:
        return Path(found)
    return next((folder / "mosquitto" for folder in USUAL_FOLDERS if os.access(folder / "mosquitto", os.X_OK)), None)


def mosquitto_version(program: Path) -> str:
    """Such as "2.0.11"; empty when the program does not tell."""
    # Its help goes with exit code 3 in some versions and 0 in others.
    with contextlib.suppress(OSError):
        told = subprocess.run([program, "-h"], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        match = re.search(r"mosquitto version (\S+)", told.stdout + told.stderr)
        return match.group(1) if match else ""
    return ""


@dataclass
class PrivateMosquitto(PrivateServer):
    """One Mosquitto. `start` writes its configuration; `start` and `stop` may be repeated.

    folder: an existing folder of ours; it is handed to the broker's user when we are root. All its files lie in it and
    are named relative to it, so that the folders above need not be passable for that user.
    """

    folder: Path
    port: int = field(default_factory=free_port)
    program: Path | None = field(default_factory=find_mosquitto)

    def __post_init__(self) -> None:
        self.user = server_user(SERVER_USERS)

    @property
    def origin(self) -> str:
        """Which broker this is, in words."""
        return f"Mosquitto {mosquitto_version(self.program)} ({self.program})" if self.program else "no Mosquitto"

    def start(self) -> None:
        """Start the broker on 127.0.0.1.

        Raises: DemoError when there is no Mosquitto, or it does not come up.
        """
        if self.program is None:
            raise DemoError(problem(Cause.INTERNAL, "no Mosquitto to run", variant="demo-broker"))
        self._hand_over(self.folder)
        self._write_private("mosquitto.conf", "".join(f"{line}\n" for line in self._configuration()))
        self._launch([self.program, "-c", "mosquitto.conf"], {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"})
        _wait(self, "Mosquitto", self._answers)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the broker. SIGTERM lets it save what persists; SIGKILL does not."""
        self._end(how, signal.SIGKILL)

    def restart(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop and start on the same port; written anew, so changed fields take effect."""
        self.stop(how)
        self.start()

    # -- inside

    def _configuration(self) -> list[str]:
        """The lines of mosquitto.conf; what else it needs is written beside it."""
        return [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous true",
            "sys_interval 1",
            "log_dest stderr",
            "log_timestamp_format %Y-%m-%dT%H:%M:%S",
            "set_tcp_nodelay true",
            # Zero is no limit: a slow subscriber gets its thousands of retained values, and loses none.
            "max_queued_messages 0",
            "max_inflight_messages 0",
        ]

    def _answers(self) -> bool:
        return answers(self.port)

    def _write_private(self, name: str, text: str) -> None:
        path = self.folder / name
        path.unlink(missing_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        self._write(path, text)


@dataclass
class PurePythonBroker(PrivateServer):
    """amqtt as a process of its own: anonymous and plain, for a demo where there is no Mosquitto.

    Its delivery of retained values has faults (duplicates), so nothing may be counted against it.
    folder: an existing folder of ours; only the log goes into it.
    """

    folder: Path
    port: int = field(default_factory=free_port)

    @property
    def origin(self) -> str:
        """Which broker this is, in words."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            return f"amqtt {version('amqtt')} (pure Python)"
        except PackageNotFoundError:
            return "no amqtt"

    @staticmethod
    def available() -> bool:
        """Whether the wheel is installed."""
        return importlib.util.find_spec("amqtt") is not None

    def start(self) -> None:
        """Start the broker on 127.0.0.1.

        Raises: DemoError when amqtt is not installed, or it does not come up.
        """
        if not self.available():
            raise DemoError(problem(Cause.INTERNAL, "no amqtt to run", variant="demo-broker"))
        self._launch([sys.executable, "-m", "tmsync.demo.amqtt_broker", str(self.port)], os.environ)
        _wait(self, "amqtt", lambda: answers(self.port))

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the broker; it keeps nothing."""
        self._end(how, signal.SIGKILL)

    def restart(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop and start on the same port."""
        self.stop(how)
        self.start()


def private_broker(folder: Path) -> PrivateMosquitto | PurePythonBroker:
    """An open broker on a free port, not yet started: Mosquitto where there is one, else amqtt.

    Raises: DemoError when there is neither.
    """
    if find_mosquitto() is not None:
        return PrivateMosquitto(folder)
    if PurePythonBroker.available():
        return PurePythonBroker(folder)
    raise DemoError(problem(Cause.INTERNAL, "no MQTT broker to run the demo on", variant="demo-broker"))


def _wait(server: PrivateServer, name: str, is_up: Callable[[], bool]) -> None:
    """Until the port answers a CONNECT, were it with a refusal."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.process is not None and server.process.poll() is None:
        if is_up() and server.process.poll() is None:
            return
        time.sleep(0.02)
    server.stop()
    # Mosquitto tells the fault in one line and its place in the next.
    message = f"the private {name} broker did not start: {server.last_words(2)}"
    raise DemoError(problem(Cause.INTERNAL, message, variant="demo"))


def answers(port: int, wrap: Callable[[socket.socket], socket.socket] = lambda sock: sock) -> bool:
    """Whether a broker answers there, were it with a refusal. wrap: what makes the connection one with TLS."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as plain, wrap(plain) as sock:
            sock.sendall(CONNECT)
            answer = sock.recv(4)
            if answer[:1] == bytes([CONNACK]):
                sock.sendall(DISCONNECT)
            return answer[:1] == bytes([CONNACK])
    except (ConnectionError, TimeoutError):
        return False
