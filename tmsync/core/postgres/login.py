"""The login, and why it failed."""

import logging
import re
import select
import socket
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Final

from tmsync.core.config.settings import DatabaseSettings
from tmsync.core.errors import Cause, TmsyncError
from tmsync.core.fixes import catalogue, problem
from tmsync.core.postgres.probe import Prober
from tmsync.core.postgres.refusals import is_poolers, login_cause, says_not_permitted
from tmsync.core.postgres.session import Session, connect, connection_parameters, sql_names
from tmsync.core.postgres.tls import TlsFailed
from tmsync.core.postgres.wire import PASSWORD_METHODS, Closed, Method, ProtocolError, ServerError, Wire, server_text

if TYPE_CHECKING:
    from psycopg2.extensions import connection

log = logging.getLogger(__name__)

ABSENT_ROLE: Final = "tmsync_no_such_role"
"""Asked for to learn how this very server refuses a role that does not exist."""


class LoginFailed(TmsyncError):
    """The server, or libpq, does not let the user in (check-db's causes for login)."""


def log_in(target: DatabaseSettings, prober: Prober, method: Method, *, tls: bool) -> Session:
    """Log in; when that fails, find out why by a second attempt that tells SQLSTATEs.

    Both are libpq's: a password goes out only where libpq, its environment and its files allow it.

    method, tls: what the probe found pg_hba.conf to demand, and on which route.
    Raises: LoginFailed.
    """
    import psycopg2

    try:
        return connect(target)
    except psycopg2.Error as error:
        words = str(error)
    log.info(f"login failed: {_first_line(words)}")
    pgpass = str(target.ignored_passfile) if target.ignored_passfile else None
    if target.password is None and method in PASSWORD_METHODS:
        raise _failed(Cause.NO_PASSWORD, target, pgpass=pgpass)
    try:
        verbose = _verbose_attempt(target, prober, tls=tls) or words
    except TimeoutError:
        # PgBouncer keeps a second attempt waiting where PostgreSQL has refused the first.
        if server_error_in(words) is None:
            raise _failed(Cause.NO_ANSWER, target) from None
        verbose = words
    refusal = server_error_in(verbose)
    if refusal is None:
        raise _libpq_refused(target, verbose)
    cause = login_cause(refusal)
    if cause is Cause.UNKNOWN_ROLE and _exists(prober, method, refusal, tls=tls):
        cause = Cause.NO_LOGIN
    raise _failed(cause, target, refusal.message, pgpass=pgpass, pooler=cause is Cause.POOLER or is_poolers(refusal))


VERBOSE: Final = 2
"""libpq's PQERRORS_VERBOSE."""
_SERVERS: Final = re.compile(r"(?:^|failed: )(?P<severity>[^\s:]+):  (?:(?P<sqlstate>[0-9A-Z]{5}): )?(?P<message>.*)")
_LOCATION: Final = re.compile(r"^[^\s:]+:  (?P<routine>\w+), [^:\n]+:(?P<line>\d+)$", re.MULTILINE)


def server_error_in(words: str) -> ServerError | None:
    """The server's error in what libpq says of a failed login; None where the words are libpq's own.

    SQLSTATE and routine are empty unless libpq was told to be verbose.

    Source: PostgreSQL src/interfaces/libpq/fe-protocol3.c (pqBuildErrorMessage3).
    """
    told = _SERVERS.search(words)
    if told is None:
        return None
    where = _LOCATION.search(words, told.end())
    routine, line = (where["routine"], where["line"]) if where else ("", "")
    return ServerError(told["severity"], told["sqlstate"] or "", routine, line, told["message"].strip(), "")


def _verbose_attempt(target: DatabaseSettings, prober: Prober, *, tls: bool) -> str | None:
    """What libpq says of a login to the probed address, with SQLSTATEs; None when it cannot be made to, or succeeds.

    psycopg2 lets nobody ask for the SQLSTATE of a login that failed, so libpq's own function is called on it.
    Raises: TimeoutError.
    """
    import psycopg2

    try:
        import ctypes

        from psycopg2 import _psycopg

        set_verbosity = ctypes.CDLL(_psycopg.__file__).PQsetErrorVerbosity
    except (ImportError, OSError, AttributeError):
        return None
    set_verbosity.argtypes = [ctypes.c_void_p, ctypes.c_int]
    parameters = connection_parameters(target)
    if prober.address.family != socket.AF_UNIX:
        parameters["hostaddr"] = prober.address.text
    # Only the last of several attempts is told: leave out the one that would come after the interesting one.
    if tls and target.sslmode in ("prefer", "allow"):
        parameters["sslmode"] = "require"
    elif not tls and target.sslmode == "allow":
        parameters["sslmode"] = "disable"
    deadline = prober.monotonic() + target.connect_timeout
    try:
        conn = psycopg2.connect(**parameters, async_=1)
        with closing(conn):
            set_verbosity(conn.pgconn_ptr, VERBOSE)
            _poll(conn, deadline, prober.monotonic)
    except psycopg2.Error as error:
        return str(error)
    except UnicodeDecodeError as error:
        return server_text(error.object)
    return None


def _poll(conn: "connection", deadline: float, monotonic: Callable[[], float]) -> None:
    from psycopg2.extensions import POLL_OK, POLL_READ

    while (state := conn.poll()) != POLL_OK:
        left = deadline - monotonic()
        if left <= 0:
            raise TimeoutError
        poller = select.poll()
        poller.register(conn.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
        poller.poll(left * 1000)


def _libpq_refused(target: DatabaseSettings, words: str) -> LoginFailed:
    message = f"libpq does not log {target.user} in: {_first_line(words)}"
    return LoginFailed(problem(Cause.LOGIN_FAILED, message, variant="libpq"))


def _first_line(words: str) -> str:
    return (words.strip().splitlines() or ["no reason given"])[0]


def _failed(
    cause: Cause, target: DatabaseSettings, words: str = "", *, pgpass: str | None = None, pooler: bool = False
) -> LoginFailed:
    """words: the server's; pgpass: a password file that libpq ignores; pooler: whether one made the refusal."""
    user, database = target.user, target.name
    who = "a pooler or proxy" if pooler else "PostgreSQL"
    message = {
        Cause.NO_PASSWORD: f"{who} asks for a password, and none is configured",
        Cause.BAD_CREDENTIALS: f"{who} does not accept this password for {user}",
        Cause.UNKNOWN_ROLE: f"the role {user} does not exist",
        Cause.NO_LOGIN: f"the role {user} may not log in (NOLOGIN)",
        Cause.NO_DATABASE: f"{who} has no database {database}",
        Cause.NO_CONNECT_PRIVILEGE: f"{user} may not connect to the database {database}",
        Cause.NOT_ACCEPTING: f"the database {database} accepts no connections",
        Cause.TOO_MANY_CONNECTIONS: f"{who}, the role or the database has no connection left",
        Cause.STARTING_UP: f"{who} is starting up, shutting down or recovering",
        Cause.NO_ANSWER: f"the login is not finished within {target.connect_timeout:g} s",
    }.get(cause, f"{who} refuses {user}: {words}")
    details = (words,) if words and words not in message else ()
    variant = "pooler" if pooler and (cause, "pooler") in catalogue() else ""
    names = sql_names(user, database)
    return LoginFailed(problem(cause, message, variant=variant, details=details, pgpass=pgpass, **names))


def _exists(prober: Prober, method: Method, refusal: ServerError, *, tls: bool) -> bool:
    """Whether a role refused in InitializeSessionUserId exists (and so is NOLOGIN).

    Both refusals share SQLSTATE and routine. A role that has proven its password exists. Else the server is asked for
    a role that surely does not exist: the same source line in its answer means the same refusal.
    """
    if method is not Method.TRUST:
        return True
    absent = _refusal_of(prober, ABSENT_ROLE, tls=tls)
    if absent is not None and absent.routine == refusal.routine and absent.line:
        return absent.line != refusal.line
    return says_not_permitted(refusal)


def _refusal_of(prober: Prober, user: str, *, tls: bool) -> ServerError | None:
    try:
        wire: Wire = prober.open(tls=tls)
        try:
            demand = wire.start(user, prober.target.name)
            if isinstance(demand, ServerError):
                return demand
            return wire.until_ready() if demand.method is Method.TRUST else None
        finally:
            wire.sock.close()
    except (OSError, ProtocolError, Closed, TlsFailed):
        return None
