"""tmsync serve measured: an answer from TeslaMate against a bare handler of the same library, and what forwarding adds.

Servers are processes of their own; the client keeps its connections, and asks both in turn, so that a busy machine
slows both alike. The first round only warms up.
"""

import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.telemetry import TABLE_CARS, Reading, quiet_cars, shares_of_a_core, spread
from tests.serve.stage import BEARER, DATA
from tmsync.demo.broker import PrivateMosquitto

REQUEST = f"GET {DATA} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {BEARER}\r\n\r\n".encode()
EACH, FORWARDED = 1000, 300


def readings(rounds: int) -> list[Reading]:
    """All figures. rounds: of each pair."""
    with ExitStack() as stack:
        facade = stack.enter_context(client(stack.enter_context(server("facade"))))
        body = facade.ask()
        bare_port = stack.enter_context(server("bare", body=body))
        bare = stack.enter_context(client(bare_port))
        through = stack.enter_context(
            client(stack.enter_context(server("forwarding", f"http://127.0.0.1:{bare_port}")))
        )
        assert through.ask() == bare.ask() == body
        answers = pairs(bare, facade, rounds, EACH)
        forwards = pairs(bare, through, rounds, FORWARDED)
    medians = [mine.median / theirs.median for theirs, mine in answers]
    tails = [mine.p99 / theirs.p99 for theirs, mine in answers]
    added = [(mine.median - theirs.median) * 1000 for theirs, mine in forwards]
    rates = [1 / mine.mean for _, mine in answers]
    return [
        Reading("bare handler, median", statistics.median(t.median for t, _ in answers) * 1e6, 0.0, "us"),
        Reading("answer from TeslaMate, median", statistics.median(m.median for _, m in answers) * 1e6, 0.0, "us"),
        Reading("answer / bare handler, median", statistics.median(medians), spread(medians), "x", 1.5),
        Reading("answer / bare handler, p99", statistics.median(tails), spread(tails), "x", 2.0),
        Reading("answers, one connection", statistics.median(rates), spread(rates), "requests/s", 300, "more"),
        Reading("forwarding adds, median", statistics.median(added), spread(added), "ms", 3.0),
    ]


def idle(database: Mapping[str, str]) -> list[Reading]:
    """`tmsync serve` itself with quiet cars, all that it can do switched on. database: its settings."""
    with tempfile.TemporaryDirectory(prefix="tmsync-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        for part in ("broker", "state"):
            (folder / part).mkdir()
        with socket.create_server(("127.0.0.1", 0)) as free:
            listen = f"127.0.0.1:{free.getsockname()[1]}"
        settings = {
            "MQTT_HOST": "127.0.0.1", "SERVE_LISTEN": listen, "SERVE_STATE_DIR": str(folder / "state"),
            "PUBLISH_ENABLED": "true", "PUBLISH_VALUES": "true",
            "TWCMANAGER_SETTINGS_FILE": str(folder / "settings.json"),
        }  # fmt: skip
        with PrivateMosquitto(folder / "broker") as broker, quiet_cars(broker.port):
            settings["MQTT_PORT"] = str(broker.port)
            environ = {f"TMSYNC_{key}": value for key, value in {**settings, **database}.items()}
            command = [Path(sys.executable).with_name("tmsync"), "serve"]
            process = subprocess.Popen(command, env={**os.environ, **environ}, stdout=subprocess.DEVNULL)
            try:
                time.sleep(6)
                shares = shares_of_a_core(process.pid)
                resident = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * resource.getpagesize()
            finally:
                process.terminate()
                process.wait(10)
    return [
        Reading(f"serve, {TABLE_CARS} quiet cars", statistics.mean(shares), spread(shares), "% of a core", 2.0),
        Reading(f"serve, {TABLE_CARS} quiet cars, memory", resident / 1e6, 0.0, "MB", 90.0),
    ]


class Times:
    """Of one round, in seconds."""

    def __init__(self, taken: Sequence[float]) -> None:
        self.median = statistics.median(taken)
        self.mean = statistics.fmean(taken)
        self.p99 = statistics.quantiles(taken, n=100)[-1]


class Client:
    """One connection, kept."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def ask(self) -> bytes:
        """The body of one answer."""
        self._sock.sendall(REQUEST)
        head, _, body = self._sock.recv(1 << 16).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        while len(body) < length:
            body += self._sock.recv(1 << 16)
        return body


def pairs(bare: Client, ours: Client, rounds: int, each: int) -> list[tuple[Times, Times]]:
    """Of every round, both: asked in turn, request by request."""
    found = []
    for _ in range(rounds + 1):
        taken: tuple[list[float], list[float]] = [], []
        for _ in range(each):
            for asked, times in zip((bare, ours), taken, strict=True):
                begun = time.perf_counter()
                asked.ask()
                times.append(time.perf_counter() - begun)
        found.append((Times(taken[0]), Times(taken[1])))
    return found[1:]


@contextmanager
def client(port: int) -> Iterator[Client]:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Client(sock)


@contextmanager
def server(kind: str, upstream: str = "", body: bytes = b"") -> Iterator[int]:
    command = [sys.executable, "-m", "tests.bench.serving", kind, upstream]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if kind == "bare":
            process.stdin.write(b"%d\n" % len(body) + body)
            process.stdin.flush()
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


if __name__ == "__main__":
    from tests.bench.telemetry import show

    show(readings(7))
