"""Limits for libpq, which has none: how long an exchange may take, and how much a server may send in it.

psycopg2's wait callback is where they hold: libpq then never blocks, and every wait for the server is ours.

Source: psycopg2 documentation, "Support for coroutine libraries"; Linux include/uapi/linux/tcp.h (struct tcp_info);
PostgreSQL src/interfaces/libpq/fe-misc.c (pqReadData takes all that is there, and stops when there is no more).
"""

import array
import fcntl
import os
import select
import socket
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tmsync.core.net.deadline import Overdue

if TYPE_CHECKING:
    from psycopg2.extensions import connection

MAX_BYTES: Final = 8 << 20
"""For one login or statement. In memory the smallest rows take ten times as much as on their way."""
RECEIVE_BUFFER_BYTES: Final = 64 << 10
"""What the kernel may hold ready for one read of libpq."""
TCP_INFO: Final = 11
BYTES_RECEIVED_AT: Final = 128
"""Where struct tcp_info has tcpi_bytes_received, a u64."""
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


def _wait(conn: "connection") -> None:
    """Wait until libpq is done with what it does, or a limit is reached."""
    from psycopg2.extensions import POLL_OK, POLL_READ, STATUS_SETUP

    limit: Limit | None = getattr(_of_thread, "limit", None)
    if limit is None:
        limit = Limit(float("inf"), sys.maxsize)
    elif conn.status == STATUS_SETUP:
        _tell_sqlstates(conn)
    meter = None
    try:
        while True:
            meter = _Meter.of(conn, meter)
            state = conn.poll()
            if state == POLL_OK:
                return
            meter = _Meter.of(conn, meter)
            if meter is not None and meter.received() > limit.max_bytes:
                raise TooMuch(f"the server sends more than {limit.max_bytes >> 20} MB")
            left = limit.deadline - time.monotonic()
            if left <= 0:
                raise Overdue("timed out")
            poller = select.poll()
            poller.register(conn.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
            poller.poll(min(left, 3600.0) * 1000)
    finally:
        if meter is not None:
            meter.close()


class _Meter:
    """Counts what comes through one socket of libpq's from now on, decrypted or not."""

    def __init__(self, fileno: int, inode: int) -> None:
        self.inode = inode
        self._sock = socket.socket(fileno=os.dup(fileno))
        with suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self._before = self._counted_by_kernel()
        self._seen = 0

    @classmethod
    def of(cls, conn: "connection", meter: "_Meter | None") -> "_Meter | None":
        """The meter of the connection's socket, which is another one with every address that libpq tries."""
        try:
            fileno = conn.fileno()
            inode = os.fstat(fileno).st_ino
        except (OSError, ValueError, conn.InterfaceError):
            return meter
        if meter is not None and meter.inode == inode:
            return meter
        if meter is not None:
            meter.close()
        return cls(fileno, inode)

    def received(self) -> int:
        """Bytes so far; where the kernel does not count, a lower bound of them."""
        now = self._counted_by_kernel()
        if now is not None and self._before is not None:
            return now - self._before
        ready = array.array("i", [0])
        with suppress(OSError):
            fcntl.ioctl(self._sock, termios.FIONREAD, ready)
        self._seen += ready[0]
        return self._seen

    def _counted_by_kernel(self) -> int | None:
        if sys.platform != "linux":
            return None
        try:
            info = self._sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 256)
            return int(struct.unpack_from("=Q", info, BYTES_RECEIVED_AT)[0])
        except (OSError, struct.error):
            return None

    def close(self) -> None:
        self._sock.close()


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
