"""Names, addresses and TCP: everything below PostgreSQL's protocol."""

import errno
import os
import select
import socket
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from tmsync.core.causes import Cause
from tmsync.core.net.deadline import Overdue, within

TIMEOUT: Final = frozenset({errno.ETIMEDOUT})
REFUSED: Final = frozenset({errno.ECONNREFUSED, errno.ECONNRESET, errno.ENOENT})


class Address(NamedTuple):
    """One address of the server; for a Unix socket `text` is the socket's file."""

    family: int
    sockaddr: Any
    text: str


class Dialled(NamedTuple):
    """What connecting to one address came to: a socket, or a cause."""

    address: Address
    sock: socket.socket | None
    cause: Cause | None
    error: str
    """The operating system's words, empty on success."""


def is_socket_folder(host: str) -> bool:
    """Whether libpq takes `host` for the folder of a Unix socket (or an abstract one)."""
    return host.startswith(("/", "@"))


def is_name(host: str) -> bool:
    """Whether the name service has to be asked: `host` is neither an address nor a socket folder."""
    return not is_socket_folder(host) and any(char not in "0123456789abcdefABCDEF.:%" for char in host)


def resolve(host: str, port: int, timeout: float) -> list[Address]:
    """All addresses of `host`, in the order libpq tries them.

    timeout: seconds to wait for the name service, which knows no limit of its own.
    Raises: OSError (socket.gaierror, TimeoutError) or UnicodeError when the name does not resolve.
    """
    if is_socket_folder(host):
        path = f"{host}/.s.PGSQL.{port}"
        return [Address(socket.AF_UNIX, "\0" + path[1:] if host.startswith("@") else path, path)]
    found: dict[str, Address] = {}
    rows = _ask_within(timeout, host, port) if is_name(host) else _lookup(host, port)
    for family, _, _, _, sockaddr in rows:
        found.setdefault(str(sockaddr[0]), Address(family, sockaddr, str(sockaddr[0])))
    return list(found.values())


def _lookup(host: str, port: int) -> list[Any]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


def _ask_within(timeout: float, host: str, port: int) -> list[Any]:
    try:
        return within(timeout, lambda: _lookup(host, port))
    except Overdue:
        raise TimeoutError(errno.ETIMEDOUT, f"no answer from the name service within {timeout:g} s") from None


def dial(addresses: list[Address], timeout: float, monotonic: Callable[[], float] = time.monotonic) -> list[Dialled]:
    """Connect to all addresses at once, so that all of them together take no longer than `timeout` seconds."""
    done: dict[int, Dialled] = {}
    pending: dict[int, tuple[int, socket.socket]] = {}
    poller = select.poll()
    for index, address in enumerate(addresses):
        try:
            sock = socket.socket(address.family, socket.SOCK_STREAM)
        except OSError as error:
            done[index] = _failed(address, error)
            continue
        sock.setblocking(False)
        if address.family != socket.AF_UNIX:
            # As libpq: else the StartupMessage behind a TLS handshake waits 40 ms for the server's delayed ACK.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(address.sockaddr)
        if code in (errno.EINPROGRESS, errno.EAGAIN):
            pending[sock.fileno()] = (index, sock)
            poller.register(sock, select.POLLOUT)
        else:
            done[index] = _outcome(address, sock, code)
    deadline = monotonic() + timeout
    while pending and (left := deadline - monotonic()) > 0:
        for fileno, _ in poller.poll(left * 1000):
            poller.unregister(fileno)
            index, sock = pending.pop(fileno)
            done[index] = _outcome(addresses[index], sock, sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    for index, sock in pending.values():
        done[index] = _outcome(addresses[index], sock, errno.ETIMEDOUT)
    return [done[index] for index in range(len(addresses))]


def _outcome(address: Address, sock: socket.socket, code: int) -> Dialled:
    if code == 0:
        return Dialled(address, sock, None, "")
    sock.close()
    return _failed(address, OSError(code, os.strerror(code)))


def _failed(address: Address, error: OSError) -> Dialled:
    cause = Cause.UNREACHABLE
    if error.errno in TIMEOUT:
        cause = Cause.TIMEOUT
    elif error.errno in REFUSED:
        cause = Cause.REFUSED
    return Dialled(address, None, cause, error.strerror or str(error))


def source_address(sock: socket.socket) -> str | None:
    """This host's own address on the connection, as the server sees it unless something translates addresses."""
    if sock.family == socket.AF_UNIX:
        return None
    return str(sock.getsockname()[0]).partition("%")[0]
