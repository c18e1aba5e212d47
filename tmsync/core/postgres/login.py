"""The login, and why it failed."""

import logging
import socket
from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.config.settings import DatabaseSettings
from tmsync.core.errors import TmsyncError
from tmsync.core.fixes import catalogue, problem
from tmsync.core.postgres.probe import Prober
from tmsync.core.postgres.refusals import is_poolers, login_cause, says_not_permitted, server_error_in
from tmsync.core.postgres.session import ConnectFailed, Session, connect, first_line, sql_names
from tmsync.core.postgres.tls import TlsFailed
from tmsync.core.postgres.wire import PASSWORD_METHODS, Closed, Method, ProtocolError, ServerError, Wire

log = logging.getLogger(__name__)

SECOND_ROUTE: Final = frozenset({"prefer", "allow"})
"""The sslmodes in which libpq makes a second attempt, with TLS or without."""
ABSENT_ROLE: Final = "tmsync_no_such_role"
"""Asked for to learn how this very server refuses a role that does not exist."""

NO_PROTOCOL: Final = "lost synchronization with server"
"""libpq's words for a message of an impossible length."""


class LoginFailed(TmsyncError):
    """The server, or libpq, does not let the user in (check-db's causes for login)."""


def log_in(target: DatabaseSettings, prober: Prober, method: Method, *, tls: bool) -> Session:
    """Log in to the probed address: by libpq alone, so that a password goes where its environment and files allow it.

    method, tls: what the probe found pg_hba.conf to demand, and on which route.
    Raises: LoginFailed.
    """
    addresses = [] if prober.address.family == socket.AF_UNIX else [prober.address.text]
    try:
        return connect(target, addresses)
    except ConnectFailed as failed:
        error = failed
    log.info(f"login failed: {error}")
    pgpass = str(target.ignored_passfile) if target.ignored_passfile else None
    if target.password is None and method in PASSWORD_METHODS:
        raise _failed(Cause.NO_PASSWORD, target, pgpass=pgpass)
    refusal = server_error_in(error.words)
    if refusal is not None and refusal.routine == "ClientAuthentication" and target.sslmode in SECOND_ROUTE:
        # Of two attempts libpq tells the last, which pg_hba.conf has refused: the one it let in is what counts.
        try:
            return connect(target._replace(sslmode="require" if tls else "disable"), addresses)
        except ConnectFailed as failed:
            error = failed
        refusal = server_error_in(error.words)
    if error.cause is not None:
        raise LoginFailed(problem(error.cause, error.words))
    if refusal is None and NO_PROTOCOL in error.words:
        raise _failed(Cause.SERVER_ERROR, target, first_line(error.words))
    if refusal is None:
        raise _libpq_refused(target, error.words)
    cause = login_cause(refusal)
    if cause is Cause.UNKNOWN_ROLE and _exists(prober, method, refusal, tls=tls):
        cause = Cause.NO_LOGIN
    pooler = cause is Cause.POOLER or is_poolers(refusal)
    raise _failed(cause, target, refusal.message, pgpass=pgpass, pooler=pooler)


def _libpq_refused(target: DatabaseSettings, words: str) -> LoginFailed:
    message = f"libpq does not log {target.user} in: {first_line(words)}"
    return LoginFailed(problem(Cause.LOGIN_FAILED, message, variant="libpq"))


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
