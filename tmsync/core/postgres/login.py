"""The real login, and what its failure means."""

import logging
from collections.abc import Mapping
from typing import NamedTuple

from tmsync.core.config.libpq import find_password
from tmsync.core.config.settings import DatabaseSettings
from tmsync.core.errors import Cause
from tmsync.core.postgres.probe import Prober
from tmsync.core.postgres.scram import authenticate
from tmsync.core.postgres.session import Session, connect
from tmsync.core.postgres.sqlstate import login_cause, says_not_permitted
from tmsync.core.postgres.tls import TlsFailed
from tmsync.core.postgres.wire import PASSWORD_METHODS, Closed, Garbage, Method, ServerError, Wire

log = logging.getLogger(__name__)

ABSENT_ROLE = "tmsync_no_such_role"
"""Asked for to learn how this very server refuses a role that does not exist."""


class LoginFailure(NamedTuple):
    """`words` are the server's or libpq's; `ignored` is a password file libpq refuses to use."""

    cause: Cause
    words: str
    ignored: str = ""


def log_in(
    target: DatabaseSettings, prober: Prober, method: Method, *, tls: bool, environ: Mapping[str, str]
) -> Session | LoginFailure:
    """Log in with psycopg2; when that fails, find out why by repeating the login by hand.

    method, tls: what the probe found pg_hba.conf to demand, and on which route.
    """
    import psycopg2

    try:
        return connect(target)
    except psycopg2.Error as error:
        words = (str(error).strip().splitlines() or ["no reason given"])[0]
    log.info(f"login failed: {words}")
    found = find_password(target, environ)
    if found.password is None and method in PASSWORD_METHODS:
        return LoginFailure(Cause.NO_PASSWORD, "", str(found.ignored or ""))
    refusal = _repeat(target, prober, found.password or "", tls=tls)
    if refusal is None:
        return LoginFailure(Cause.LOGIN_FAILED, words)
    cause = login_cause(refusal)
    if cause is Cause.UNKNOWN_ROLE and _exists(prober, method, refusal, tls=tls):
        cause = Cause.NO_LOGIN
    return LoginFailure(cause, refusal.message)


def _repeat(target: DatabaseSettings, prober: Prober, password: str, *, tls: bool) -> ServerError | None:
    try:
        wire = prober.open(tls=tls)
        try:
            demand = wire.start(target.user, target.name)
            return demand if isinstance(demand, ServerError) else authenticate(wire, demand, target.user, password)
        finally:
            wire.sock.close()
    except (OSError, Garbage, Closed, TlsFailed):
        return None


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
    except (OSError, Garbage, Closed, TlsFailed):
        return None
