"""tmsync serve measured: an answer from TeslaMate against a bare handler of the same library, and what forwarding adds.

Servers are processes of their own; the client keeps its connection, and asks both in turn, so that a busy machine slows
both alike.
"""

import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from tests.bench.telemetry import Reading, spread
from tests.serve.stage import BEARER, DATA

REQUEST = f"GET {DATA} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {BEARER}\r\n\r\n".encode()
WARM, EACH = 200, 1000
FORWARDED = 300


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

    def times(self, count: int) -> Times:
        taken = []
        for _ in range(count):
            begun = time.perf_counter()
            self.ask()
            taken.append(time.perf_counter() - begun)
        return Times(taken)


def pairs(bare: Client, ours: Client, rounds: int, each: int) -> list[tuple[Times, Times]]:
    for found in (bare, ours):
        found.times(WARM)
    return [(bare.times(each), ours.times(each)) for _ in range(rounds)]


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
