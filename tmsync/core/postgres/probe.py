"""Talks to one address the way libpq would under a given sslmode, without a password, and keeps what was answered.

Source: PostgreSQL documentation, "SSL Support" (table of sslmode) and "SSL Session Encryption".
"""

import logging
import socket
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeVar

from tmsync.core.causes import Cause
from tmsync.core.config.settings import DatabaseSettings
from tmsync.core.net.dial import Address, dial
from tmsync.core.postgres.tls import NEEDS_TLS, ROUTES, TlsFailed, secure
from tmsync.core.postgres.wire import Answer, AuthRequest, Closed, ProtocolError, ServerError, Wire

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE: Final = 0.6
"""Share of the timeout after which a silent peer is asked whether it is perhaps a line-based server."""
SQLSTATE_CAUSES: Final = {"57P03": Cause.STARTING_UP, "53300": Cause.TOO_MANY_CONNECTIONS}


class Failure(NamedTuple):
    """Why nothing more could be learned: the cause, and the peer's or the system's own words."""

    cause: Cause
    words: str


class Probe:
    """What one address answered.

    protocol: why the peer is no usable PostgreSQL server; None when it is one.
    offers_tls: the answer to SSLRequest; None where it was not asked (Unix socket).
    tls: why TLS could not be set up; tls_version when it could ("TLSv1.3").
    answers: with TLS (True) and without (False), what the server made of the StartupMessage.
    """

    def __init__(self) -> None:
        self.protocol: Failure | None = None
        self.offers_tls: bool | None = None
        self.tls: Failure | None = None
        self.tls_version: str | None = None
        self.answers: dict[bool, Answer] = {}

    def demand(self, sslmode: str) -> tuple[bool, AuthRequest] | None:
        """The first of libpq's routes that pg_hba.conf lets through, with what it demands there."""
        for tls in ROUTES[sslmode]:
            answer = self.answers.get(tls)
            if isinstance(answer, AuthRequest):
                return tls, answer
        return None


class Prober:
    """Makes connections to one address."""

    def __init__(
        self,
        target: DatabaseSettings,
        address: Address,
        first: socket.socket,
        monotonic: Callable[[], float],
        environ: Mapping[str, str],
    ) -> None:
        """first: a fresh connection to `address`, for `probe`. environ: libpq's."""
        self.target = target
        self.first = first
        self.address = address
        self.monotonic = monotonic
        self.environ = environ

    def probe(self) -> Probe:
        """Learn all there is to learn; the first connection is used up."""
        found, first = Probe(), self.first
        try:
            self._learn(found, first)
        except _Stopped as stopped:
            found.protocol = stopped.failure
        finally:
            first.close()
        return found

    def open(self, *, tls: bool) -> Wire:
        """A new connection, ready for the StartupMessage.

        Raises: OSError, TimeoutError, Closed, ProtocolError, TlsFailed.
        """
        sock = self._connect()
        try:
            wire = self._wire(sock)
            if tls:
                wire.ask_tls()
                wire.sock = secure(sock, self.target, self.environ)
        except BaseException:
            sock.close()
            raise
        return wire

    # -- steps

    def _learn(self, found: Probe, first: socket.socket) -> None:
        if self.address.family == socket.AF_UNIX:
            found.answers[False] = self._start(self._wire(first))
            return
        found.offers_tls = self._ask_tls(first)
        routes = list(ROUTES[self.target.sslmode])
        if not found.offers_tls and routes[0]:
            found.answers[False] = self._start(self._wire(first))
            return
        for tls in routes:
            self._try(found, tls, first if tls and found.offers_tls and not found.answers else None)
            if isinstance(found.answers.get(tls), AuthRequest) or (found.tls and self.target.sslmode in NEEDS_TLS):
                return
        # All routes are closed: would the one that libpq does not try be open?
        other = not routes[0]
        if len(routes) == 1 and self._hba_refused(found):
            self._try(found, other, None)

    def _try(self, found: Probe, tls: bool, ready: socket.socket | None) -> None:
        if tls and not found.offers_tls:
            return
        sock = ready or self._connect()
        try:
            wire = self._wire(sock)
            if tls:
                if ready is None:
                    self._guard(wire.ask_tls)
                wire.sock = secure(sock, self.target, self.environ)
                found.tls_version = wire.sock.version()
            found.answers[tls] = self._start(wire)
            wire.sock.close()
        except TlsFailed as failed:
            found.tls = Failure(failed.cause, failed.words)
        finally:
            sock.close()

    def _hba_refused(self, found: Probe) -> bool:
        return any(isinstance(answer, ServerError) for answer in found.answers.values())

    def _ask_tls(self, sock: socket.socket) -> bool:
        begun = self.monotonic()
        hasty = Wire(sock, begun + self.target.connect_timeout * PATIENCE, self.monotonic)
        try:
            answer = self._guard(hasty.ask_tls, silent_ok=True)
        except TimeoutError:
            answer = self._poke(Wire(sock, begun + self.target.connect_timeout, self.monotonic))
        if isinstance(answer, ServerError):
            raise _Stopped(_refusal(answer))
        log.info(f"{self.address.text}: TLS {'offered' if answer else 'not offered'}")
        return answer

    def _poke(self, wire: Wire) -> bool:
        try:
            said = wire.poke()
        except OSError:
            said = b""
        if said:
            raise _Stopped(_not_postgresql(said))
        raise _Stopped(Failure(Cause.NO_ANSWER, f"no answer within {self.target.connect_timeout:g} s"))

    def _start(self, wire: Wire) -> Answer:
        # A port that has answered SSLRequest as PostgreSQL does is no other program.
        answer = self._guard(lambda: wire.start(self.target.user, self.target.name), broken=Cause.CONNECTION_LOST)
        if isinstance(answer, ServerError) and answer.sqlstate in SQLSTATE_CAUSES:
            raise _Stopped(_refusal(answer))
        words = answer.method if isinstance(answer, AuthRequest) else f"SQLSTATE {answer.sqlstate} ({answer.routine})"
        log.info(f"{self.address.text}: StartupMessage answered with {words}")
        return answer

    def _guard(self, call: Callable[[], T], *, silent_ok: bool = False, broken: Cause = Cause.NOT_POSTGRESQL) -> T:
        try:
            return call()
        except ProtocolError:
            raise _Stopped(_not_postgresql(b"")) from None
        except Closed:
            raise _Stopped(Failure(broken, "it closed the connection without an answer")) from None
        except TimeoutError:
            if silent_ok:
                raise
            words = f"no answer within {self.target.connect_timeout:g} s"
            raise _Stopped(Failure(Cause.NO_ANSWER, words)) from None
        except OSError as error:
            raise _Stopped(Failure(broken, f"it broke the connection: {error.strerror}")) from None

    def _wire(self, sock: socket.socket) -> Wire:
        return Wire(sock, self.monotonic() + self.target.connect_timeout, self.monotonic)

    def _connect(self) -> socket.socket:
        dialled = dial([self.address], self.target.connect_timeout, self.monotonic)[0]
        if dialled.sock is None:
            raise _Stopped(Failure(dialled.cause or Cause.UNREACHABLE, dialled.error))
        return dialled.sock


class _Stopped(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.words)
        self.failure = failure


def _refusal(answer: ServerError) -> Failure:
    return Failure(SQLSTATE_CAUSES.get(answer.sqlstate, Cause.SERVER_ERROR), answer.message)


def _not_postgresql(said: bytes) -> Failure:
    line = said.split(b"\n")[0].decode("ascii", "replace").strip()
    return Failure(Cause.NOT_POSTGRESQL, f"it answers {line!r}" if line else "its answer is no PostgreSQL message")
