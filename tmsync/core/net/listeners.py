"""Whose server answers: the users that the other end of a connection within this machine belongs to.

A process that listens where another was expected gets whatever is sent there. Linux shows the owner of every socket.

Source: proc_net(5); Linux Documentation/networking/proc_net_tcp.rst (addresses in the byte order of the machine, the
port not), net/ipv4/tcp_ipv4.c (get_tcp4_sock: a connection that nobody has accepted yet shows user 0).
"""

import socket
import sys
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final, NamedTuple

from tmsync.core.process import user_name

TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
ESTABLISHED, LISTENING = "01", "0A"
Endpoint = tuple[IPv4Address | IPv6Address, int]


class Stranger(OSError):
    """A server belongs to a user it should not belong to, or to one that cannot be told."""


class Row(NamedTuple):
    """A socket of this machine. IPv4 addresses mapped into IPv6 are plain ones here."""

    here: Endpoint
    there: Endpoint
    state: str
    user: int


def must_belong_to(users: frozenset[int]) -> Callable[[socket.socket], None]:
    """A check of connected sockets, which raises Stranger where the server is not one of `users`'."""

    def check(sock: socket.socket) -> None:
        found = server_users(sock)
        if not found:
            raise Stranger(0, "it cannot be seen from here whose server that is")
        strangers = ", ".join(user_name(user) or f"#{user}" for user in sorted(found - users))
        if strangers:
            raise Stranger(0, f"that server is another user's ({strangers})")

    return check


def server_users(sock: socket.socket) -> frozenset[int]:
    """Who may read what is sent; none where that cannot be told: the server is elsewhere, or this is no Linux.

    That is whoever listens there, and whoever has accepted this connection. The listeners are looked at first: as long
    as nobody has accepted, the one that will is among them.
    """
    ours, theirs = _endpoint(sock.getsockname()), _endpoint(sock.getpeername())
    listening = {
        row.user
        for row in _rows()
        if row.state == LISTENING
        and row.here[1] == theirs[1]
        and (row.here[0] == theirs[0] or row.here[0].is_unspecified)
    }
    accepted = {row.user for row in _rows() if row.state == ESTABLISHED and (row.here, row.there) == (theirs, ours)}
    return frozenset(listening | accepted) if listening and accepted else frozenset()


def _rows() -> Iterator[Row]:
    for table in TABLES:
        try:
            lines = table.read_text("ascii", "replace").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            try:
                yield Row(_spelled(fields[1]), _spelled(fields[2]), fields[3], int(fields[7]))
            except (ValueError, IndexError):
                continue


def _spelled(text: str) -> Endpoint:
    """`0100007F:1F90` -> 127.0.0.1, 8080."""
    address, _, port = text.partition(":")
    words = [int(address[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(address), 8)]
    return _plain(ip_address(b"".join(words))), int(port, 16)


def _endpoint(name: tuple[str, int]) -> Endpoint:
    return _plain(ip_address(name[0].partition("%")[0])), name[1]


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
