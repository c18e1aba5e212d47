"""A proxy of ours between tmsync and a real server: it cuts, stalls, delays and resets where it is told to."""

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

CHUNK = 65536
AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends RST, and nothing that is still on its way."""


class Way(StrEnum):
    """What happens to a connection once so many bytes have gone through."""

    TRUNCATE = "truncate"
    """It is closed in an orderly way."""
    RESET = "reset"
    STALL = "stall"
    """Nothing goes through any more, and nobody hangs up."""
    DELAY = "delay"
    """It pauses, and then goes on byte by byte."""


@dataclass(frozen=True, slots=True)
class Fault:
    """After `after` bytes from the server (or, with `upward`, from the client) of each connection."""

    way: Way
    after: int
    upward: bool = False
    pause_s: float = 0.3


@dataclass
class Proxy:
    """Passes connections on to `target` (a port on 127.0.0.1). fault: what to do to those accepted from now on."""

    target: int
    fault: Fault | None = None
    port: int = 0
    accepted: int = 0
    dark: bool = False
    """Whether the network is down: nothing goes through any connection, and nobody is told."""
    seen: bytearray = field(default_factory=bytearray)
    """All that the server has sent, over all connections."""
    _held: set[socket.socket] = field(default_factory=set)

    def cut(self) -> int:
        """Reset every connection under way; how many."""
        held, self._held = self._held, set()
        for sock in held:
            _reset(sock)
        return len(held) // 2

    def serve(self, server: socket.socket) -> None:
        """Until the listening socket is shut down."""
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._pass_on, args=(client, self.fault), daemon=True).start()

    def _pass_on(self, client: socket.socket, fault: Fault | None) -> None:
        try:
            upstream = socket.create_connection(("127.0.0.1", self.target), 10)
        except OSError:
            _reset(client)
            return
        pair = {client, upstream}
        self._held |= pair
        try:
            with contextlib.suppress(OSError, ValueError):
                self._pump(client, upstream, fault)
        finally:
            self._held -= pair
            for sock in pair:
                sock.close()

    def _pump(self, client: socket.socket, upstream: socket.socket, fault: Fault | None) -> None:
        watched = client if fault is not None and fault.upward else upstream
        passed = 0
        other = {client: upstream, upstream: client}
        while True:
            for sock in select.select([client, upstream], [], [])[0]:
                data = sock.recv(CHUNK)
                if self.dark:
                    while self.dark:
                        time.sleep(0.05)
                    return
                if not data:
                    return
                if sock is upstream:
                    self.seen += data
                if fault is None or sock is not watched:
                    other[sock].sendall(data)
                    continue
                room = max(0, fault.after - passed)
                other[sock].sendall(data[:room])
                passed += min(room, len(data))
                if room < len(data) or passed == fault.after:
                    if not self._strike(fault, client, other[sock], data[room:]):
                        return
                    fault = None

    def _strike(self, fault: Fault, client: socket.socket, onward: socket.socket, rest: bytes) -> bool:
        """Do it; whether the connection goes on."""
        if fault.way is Way.DELAY:
            time.sleep(fault.pause_s)
            for byte in rest:
                onward.sendall(bytes([byte]))
            return True
        if fault.way is Way.RESET:
            _reset(client)
        elif fault.way is Way.STALL:
            # Until the client gives up.
            client.settimeout(60)
            while client.recv(CHUNK):
                pass
        return False


def _reset(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        # A thread that sleeps in select() on it is woken by this, not by close().
        sock.shutdown(socket.SHUT_RD)
    sock.close()


@contextmanager
def proxy(target: int, fault: Fault | None = None) -> Iterator[Proxy]:
    """A proxy on a free loopback port."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        made = Proxy(target, fault, server.getsockname()[1])
        threading.Thread(target=made.serve, args=(server,), daemon=True).start()
        try:
            yield made
        finally:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            made.dark = False
            made.cut()
