"""The facade's sockets and its event loop, in a thread of its own."""

import asyncio
import errno
import importlib.util
import logging
import os
import socket
import ssl
import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol

from tmsync.core.causes import Cause
from tmsync.core.clock import Clock, iso
from tmsync.core.config.kinds import is_loopback
from tmsync.core.config.settings import ANY_ADDRESS, ServeSettings, Settings
from tmsync.core.errors import ConfigError, Problem, TmsyncError
from tmsync.core.fixes import problem, unforeseen
from tmsync.core.net.tls import UnusableFile, identify
from tmsync.core.serve.ports import FacadeStatus
from tmsync.core.words import listed

log = logging.getLogger(__name__)

BACKLOG: Final = 128
START_S: Final = 10.0
STOP_S: Final = 6.0
DEAF_S: Final = 10.0
"""An event loop that has not come round for so long is stuck."""


class ListenFailed(TmsyncError):
    """The address cannot be listened at, or no longer."""


def check_needs(settings: Settings, serve: ServeSettings) -> None:
    """Raises: ConfigError where something is missing without which nothing could be answered."""
    if importlib.util.find_spec("aiohttp") is None:
        raise ConfigError(problem(Cause.MISSING_PACKAGE, "serve.listen needs the package aiohttp"))
    independent = settings.twcmanager().local_token and serve.upstream_token is not None
    if settings.get("database.host") is None and not independent:
        message = "serve.listen without database.host: no token is known, neither TWCManager's nor TeslaMate's"
        raise ConfigError(problem(Cause.MISSING_SETTING, message, variant="facade"))


WHY_NOT: Final = {errno.EACCES: "privileged", errno.EADDRNOTAVAIL: "not-here"}
"""Variants of listen-failed; otherwise somebody else listens there."""


def open_sockets(serve: ServeSettings, inherited: Sequence[socket.socket]) -> list[socket.socket]:
    """Sockets that listen at serve.listen: those that systemd opened, else one of our own.

    Raises: ListenFailed, ConfigError.
    """
    if inherited:
        for sock in inherited:
            host, port = sock.getsockname()[:2]
            if port != serve.port or not (host == serve.host or (serve.host == "localhost" and is_loopback(host))):
                message = f"systemd's socket listens at {host} port {port}, and serve.listen is {serve.address}"
                raise ConfigError(problem(Cause.BAD_VALUE, message, variant="socket-unit", address=serve.address))
        # Copies: a reload may close these, and want them again later.
        return [sock.dup() for sock in inherited]
    family = socket.AF_INET6 if ":" in serve.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((serve.host, serve.port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        message = f"tmsync cannot listen at {serve.address}: {error.strerror or error}"
        variant = WHY_NOT.get(error.errno or 0, "")
        raise ListenFailed(problem(Cause.LISTEN_FAILED, message, variant=variant)) from None
    return [sock]


def tls_context(serve: ServeSettings) -> ssl.SSLContext | None:
    """What serve.tls_cert and serve.tls_key make; None where they are not set.

    Raises: ConfigError.
    """
    if serve.tls_cert is None or serve.tls_key is None:
        return None
    for name, path in (("serve.tls_cert", serve.tls_cert), ("serve.tls_key", serve.tls_key)):
        try:
            with open(path, "rb"):  # noqa: PTH123
                pass
        except OSError as error:
            # What ssl raises names neither file.
            message = f"{name}: {path} cannot be read: {error.strerror}"
            raise ConfigError(problem(Cause.UNREADABLE_FILE, message)) from None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        identify(context, serve.tls_cert, serve.tls_key)
    except UnusableFile:
        message = "serve.tls_cert and serve.tls_key cannot be used: they are no certificate and its key"
        raise ConfigError(problem(Cause.UNREADABLE_FILE, message)) from None
    return context


class Served(Protocol):
    """A facade: what is served, in an event loop."""

    async def start(self, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None = None) -> None:
        """Serve on sockets that listen already."""
        ...

    async def stop(self) -> None:
        """Take no more requests, and give those under way some seconds."""
        ...

    def status(self) -> FacadeStatus:
        """What it has done since it was made."""
        ...


class FacadeThread:
    """Runs a facade from `start` to `stop`."""

    def __init__(self, facade: Served, clock: Clock) -> None:
        self.facade = facade
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._error: TmsyncError | None = None
        self._end = asyncio.Event()
        self._beat_at = clock.monotonic()
        self._thread = threading.Thread(target=self._run, name="facade", daemon=True)

    def start(self, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None) -> None:
        """Serve on copies of these; once this returns, the port answers.

        Raises: TmsyncError.
        """
        self._sockets, self._tls = [sock.dup() for sock in sockets], tls
        self._thread.start()
        self._started.wait(START_S)
        if self._error is not None:
            self._thread.join()
            for sock in self._sockets:
                sock.close()
            raise self._error

    def stop(self) -> None:
        """Take no more requests, and give those under way some seconds."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(STOP_S)

    @property
    def is_alive(self) -> bool:
        """Whether the event loop comes round. To be asked every second or so."""
        if self._loop is None or not self._thread.is_alive():
            return False
        self._loop.call_soon_threadsafe(self._beat)
        return self._clock.monotonic() - self._beat_at < DEAF_S

    def _beat(self) -> None:
        self._beat_at = self._clock.monotonic()

    def raise_if_dead(self) -> None:
        """Raises: TmsyncError where it has ended by itself."""
        if self._started.is_set() and self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except TmsyncError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001 - told by the thread that started this one
            self._error = ListenFailed(unforeseen(error))
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_in_one_line)
        try:
            await self.facade.start(self._sockets, self._tls)
            self._started.set()
            await self._end.wait()
        finally:
            await self.facade.stop()


def _in_one_line(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Tell what asyncio would tell with a traceback, such as an accept() without descriptors left."""
    error = context.get("exception")
    why = error.strerror if isinstance(error, OSError) else type(error).__name__ if error is not None else ""
    log.warning("%s", ": ".join(filter(None, (context["message"], why))))


class Certificate(NamedTuple):
    """What counts of serve.tls_cert."""

    names: tuple[str, ...] = ()
    """Host names and addresses."""
    ends_at: datetime | None = None

    def problem(self, serve: ServeSettings, now: datetime) -> Problem | None:
        """Why TWCManager refuses it: it checks the name that it calls by, and the time."""
        if self.ends_at is not None and self.ends_at <= now:
            message = f"serve.tls_cert has ended at {iso(self.ends_at)}, so that TWCManager refuses it"
            return problem(Cause.TLS_UNTRUSTED, message, variant="serve")
        wanted = (serve.host, *serve.names)
        if self.ends_at is None or (serve.host in ANY_ADDRESS and not serve.names) or any(map(self._covers, wanted)):
            return None
        message = f"serve.tls_cert is for {listed(self.names) or 'no name'}, and not for {listed(wanted)}"
        return problem(Cause.TLS_NAME_MISMATCH, message, variant="serve", name=next(iter(self.names), "pi.lan"))

    def _covers(self, name: str) -> bool:
        return any(one in (name.lower(), "*." + name.lower().partition(".")[2]) for one in self.names)


def read_certificate(path: str | None) -> Certificate:
    """That of serve.tls_cert; one that tells nothing where it cannot be read."""
    if path is None or not os.path.isfile(path):  # noqa: PTH113 - a folder that may not be looked into raises there
        return Certificate()
    from cryptography import x509

    try:
        with open(path, "rb") as file:  # noqa: PTH123
            found = x509.load_pem_x509_certificate(file.read())
        ends_at = found.not_valid_after_utc
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError):
        return Certificate()
    except x509.ExtensionNotFound:
        return Certificate(ends_at=ends_at)
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    return Certificate((*map(str.lower, names.get_values_for_type(x509.DNSName)), *addresses), ends_at)


def host_names(serve: ServeSettings) -> frozenset[str]:
    """Names by which TWCManager may call, besides loopback ones."""
    return frozenset(map(str.lower, (serve.host, *serve.names, *read_certificate(serve.tls_cert).names)))
