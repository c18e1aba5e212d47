"""Limits for libpq, which has none: how long an exchange may take, and how much a server may send in it.

psycopg2's wait callback is where they hold: libpq then never blocks, and every wait for the server is ours. One read of
libpq's has no limit all the same: it ends when there is no more, and a fast server always has more. So libpq's socket
is replaced under its number by one end of a pair as soon as the login begins; what comes from the server is counted at
the other end, and handed on in small pieces. TLS stays between libpq and the server: only its records pass here.

Source: psycopg2 documentation, "Support for coroutine libraries"; PostgreSQL src/interfaces/libpq/fe-misc.c
(pqReadData), fe-connect.c (PQconnectPoll); dup2(2).
"""

import os
import select
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tmsync.core.net.deadline import Overdue

if TYPE_CHECKING:
    from psycopg2.extensions import connection

MAX_BYTES: Final = 8 << 20
"""For one statement. In memory the smallest rows take ten times as much as on their way."""
LOGIN_BYTES: Final = 256 << 10
"""For one login. libpq's time for parameters grows with the square of their number."""
CHUNK: Final = 64 << 10
"""Bytes handed on to libpq at once."""
LOOK_AGAIN_S: Final = 0.05
"""libpq may hold decrypted data that no poll of its socket shows."""
FAREWELL_S: Final = 0.1
TALKING: Final = frozenset({0, 4, 5, 6, 7, 11})
"""libpq's states from which on it only talks to this server: CONNECTION_OK, AWAITING_RESPONSE, AUTH_OK, SETENV,
SSL_STARTUP, GSS_STARTUP. Before them it looks who the other end of its socket is."""
VERBOSE: Final = 2
"""libpq's PQERRORS_VERBOSE."""


class TooMuch(Exception):
    """A server sent more than it may."""


class Limit(NamedTuple):
    """deadline: on time.monotonic's scale, in seconds."""

    deadline: float
    max_bytes: int


_of_thread: Final = threading.local()


@contextmanager
def limited(seconds: float, max_bytes: int = MAX_BYTES) -> Iterator[None]:
    """What psycopg2 does in this block, and in this thread, raises Overdue after `seconds`, TooMuch after `max_bytes`.

    It closes its connection then.
    """
    from psycopg2.extensions import get_wait_callback, set_wait_callback

    if get_wait_callback() is not _wait:
        set_wait_callback(_wait)
    _of_thread.limit = Limit(time.monotonic() + seconds, max_bytes)
    try:
        yield
    finally:
        _of_thread.limit = None


def close(conn: "connection") -> None:
    """Close a connection; libpq's farewell is handed on to the server."""
    conn.close()
    relay = _relays.pop(conn, None)
    if relay is not None:
        relay.close()


def _wait(conn: "connection") -> None:
    """Wait until libpq is done with what it does, or a limit is reached."""
    from psycopg2.extensions import POLL_OK, POLL_READ, STATUS_SETUP

    limit: Limit | None = getattr(_of_thread, "limit", None)
    relay = _relays.get(conn)
    if limit is None:
        limit = Limit(float("inf"), sys.maxsize)
    elif relay is None:
        relay = _relays[conn] = _Relay()
        weakref.finalize(conn, relay.close)
        if conn.status == STATUS_SETUP:
            _tell_sqlstates(conn)
    if relay is not None:
        relay.allowed = limit.max_bytes
    while (state := conn.poll()) != POLL_OK:
        left = min(limit.deadline - time.monotonic(), 3600.0)
        if left <= 0:
            raise Overdue("timed out")
        wanted = select.POLLIN if state == POLL_READ else select.POLLOUT
        if relay is None:
            _poll({conn.fileno(): wanted}, left)
        elif not relay.wait(conn, wanted, left):
            raise TooMuch(f"the server sends more than {limit.max_bytes >> 10} KB")


class _Relay:
    """Stands between libpq's socket and the server. allowed: bytes that the server may still send."""

    def __init__(self) -> None:
        self.allowed = 0
        self._ends: tuple[socket.socket, socket.socket] | None = None
        """The connection to the server, and our end of the pair."""
        self._inode = -1
        """Of libpq's end."""
        self._over = False

    def wait(self, conn: "connection", wanted: int, left: float) -> bool:
        """Until libpq can go on, some data has been handed on, or `left` seconds have passed.

        wanted: what libpq waits for on its socket, as select.poll has it.
        Returns: whether the server keeps to what it may send. Raises: Overdue.
        """
        self._insert(conn)
        if self._ends is None:
            _poll({conn.fileno(): wanted}, left)
        else:
            self._hand_on(conn.fileno(), *self._ends, wanted, left)
        return self.allowed >= 0

    def close(self) -> None:
        """Hand on what libpq has said last, and close both ends."""
        if self._ends is not None:
            server, ours = self._ends
            with suppress(OSError):
                _forward(ours, server, FAREWELL_S)
        self._remove()

    def _insert(self, conn: "connection") -> None:
        """Put the pair in place. libpq takes another socket for each address and each attempt."""
        number = conn.fileno()
        if os.fstat(number).st_ino == self._inode:
            return
        self._remove()
        if conn.info.status not in TALKING:
            return
        theirs, ours = socket.socketpair()
        with theirs:
            theirs.setblocking(False)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * CHUNK)
            self._ends = socket.socket(fileno=os.dup(number)), ours
            os.dup2(theirs.fileno(), number, inheritable=False)
        self._inode = os.fstat(number).st_ino

    def _remove(self) -> None:
        for end in self._ends or ():
            end.close()
        self._ends, self._inode, self._over = None, -1, False

    def _hand_on(self, libpq: int, server: socket.socket, ours: socket.socket, wanted: int, left: float) -> None:
        """At once to the server; to libpq in pieces, and none before it has read the last."""
        waiting = {libpq: wanted, ours.fileno(): select.POLLIN}
        if not self._over:
            waiting[server.fileno()] = select.POLLIN
        ready = _poll(waiting, min(left, LOOK_AGAIN_S))
        try:
            if ours.fileno() in ready:
                _forward(ours, server, left)
            if server.fileno() in ready and libpq not in ready:
                self._feed(server, ours, left)
        except BlockingIOError:
            pass
        except TimeoutError:
            raise Overdue("timed out") from None
        except OSError:
            self._end(ours)

    def _feed(self, server: socket.socket, ours: socket.socket, left: float) -> None:
        server.settimeout(0)
        data = server.recv(CHUNK)
        self.allowed -= len(data)
        if not data:
            self._end(ours)
        elif self.allowed >= 0:
            ours.settimeout(left)
            ours.sendall(data)

    def _end(self, ours: socket.socket) -> None:
        """Tell libpq of the connection's end, behind what came before it."""
        self._over = True
        with suppress(OSError):
            ours.shutdown(socket.SHUT_WR)


_relays: Final["weakref.WeakKeyDictionary[connection, _Relay]"] = weakref.WeakKeyDictionary()


def _forward(ours: socket.socket, server: socket.socket, left: float) -> None:
    """What libpq has for the server."""
    ours.settimeout(0)
    data = ours.recv(CHUNK)
    server.settimeout(left)
    server.sendall(data)


def _poll(wanted: dict[int, int], seconds: float) -> dict[int, int]:
    poller = select.poll()
    for number, events in wanted.items():
        poller.register(number, events)
    return dict(poller.poll(seconds * 1000))


def _tell_sqlstates(conn: "connection") -> None:
    """Make libpq tell the SQLSTATE of a login that fails: psycopg2 lets nobody ask for it."""
    setter = _verbosity_setter()
    if setter is not None:
        setter(conn.pgconn_ptr, VERBOSE)


def _verbosity_setter() -> Callable[..., Any] | None:
    """libpq's own function, found in the library that psycopg2 has loaded; None where Python or libpq has no such."""
    try:
        import ctypes

        from psycopg2 import _psycopg

        setter: Any = ctypes.CDLL(_psycopg.__file__).PQsetErrorVerbosity
    except (ImportError, OSError, AttributeError):
        return None
    setter.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return setter  # type: ignore[no-any-return]
