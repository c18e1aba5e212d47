"""What passes between a service and systemd: states to its socket, and listening sockets from it.

Source: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3), systemd.service(5) (Type=notify-reload).
"""

import os
import re
import socket
import time
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Final

FIRST_FD: Final = 3
MOST_FDS: Final = 64


class Notifier:
    """Tells systemd how the service fares. Does nothing where nobody listens."""

    def __init__(self, environ: Mapping[str, str], process: int) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self.watchdog_s = _watchdog(environ, process)
        """A sign of life is due at least this often; None where nobody waits for one."""
        self._last = ""

    def ready(self) -> None:
        """The port answers; also said at the end of a reload."""
        self._send("READY=1")

    def status(self, words: str) -> None:
        """What `systemctl status` shows; told when it changes."""
        if words != self._last:
            self._last = words
            self._send("STATUS=" + " ".join(words.split()))

    def reloading(self) -> None:
        """The settings are read again; systemd wants to know when that began, by CLOCK_MONOTONIC."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def alive(self) -> None:
        """The sign of life that the watchdog waits for."""
        if self.watchdog_s is not None:
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        # Only the two kinds of Unix socket that there are: a path, and a name in the abstract namespace.
        if not self._address.startswith(("/", "@")):
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            # A full queue must not hold the service up.
            sock.setblocking(False)
            sock.sendto(text.encode("utf-8", "replace"), address)


def _watchdog(environ: Mapping[str, str], process: int) -> float | None:
    """Half of the time after which systemd gives the service up."""
    usec, meant = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not re.fullmatch("0*[1-9][0-9]{0,18}", usec) or meant not in ("", str(process)):
        return None
    return int(usec) / 2_000_000


def inherited_sockets(environ: MutableMapping[str, str], process: int) -> list[socket.socket]:
    """The listening TCP sockets that systemd opened for us; none where it opened none. They are ours from now on."""
    count, meant = environ.get("LISTEN_FDS", ""), environ.get("LISTEN_PID", "")
    for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):
        environ.pop(name, None)
    if meant != str(process) or not count.isdecimal():
        return []
    found = []
    for descriptor in range(FIRST_FD, FIRST_FD + min(int(count), MOST_FDS)):
        with suppress(OSError):
            os.set_inheritable(descriptor, False)
            sock = socket.socket(fileno=descriptor)
            listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type is socket.SOCK_STREAM and listens:
                found.append(sock)
            else:
                sock.detach()
    return found
