"""The login, and what a refusal means: by SQLSTATE and routine where they tell, by text where nothing else does.

Source: PostgreSQL src/backend/libpq/auth.c (ClientAuthentication, auth_failed), src/backend/utils/init/miscinit.c
(InitializeSessionUserId), src/backend/utils/init/postinit.c; the phrases: its message catalogues (src/backend/po).
"""

import ipaddress
import logging
import re
import select
import socket
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Final

from tmsync.core.config.libpq import find_password
from tmsync.core.config.settings import DatabaseSettings
from tmsync.core.errors import Cause, TmsyncError
from tmsync.core.fixes import problem
from tmsync.core.postgres.probe import Prober
from tmsync.core.postgres.session import Session, connect, connection_parameters, sql_names
from tmsync.core.postgres.tls import TlsFailed
from tmsync.core.postgres.wire import PASSWORD_METHODS, Closed, Method, ProtocolError, ServerError, Wire, server_text

if TYPE_CHECKING:
    from psycopg2.extensions import connection

log = logging.getLogger(__name__)

ABSENT_ROLE: Final = "tmsync_no_such_role"
"""Asked for to learn how this very server refuses a role that does not exist."""
LOGIN_CAUSES: Final = {
    "28P01": Cause.BAD_CREDENTIALS,
    "3D000": Cause.NO_DATABASE,
    "42501": Cause.NO_CONNECT_PRIVILEGE,
    "55000": Cause.NOT_ACCEPTING,
    "53300": Cause.TOO_MANY_CONNECTIONS,
    "57P03": Cause.STARTING_UP,
}
INVALID_AUTHORIZATION: Final = "28000"

# "no entry" and "a reject line matched" share SQLSTATE and routine; only the words differ. An unknown language counts
# as "no entry": the same line at the same place fixes both.
REJECTS: Final = (
    "pg_hba.conf rejects", "pg_hba.conf lehnt", "pg_hba.conf rechaza", "pg_hba.conf rejette", "pg_hba.conf rifiuta",
    "pg_hba.conf отвергает", "pg_hba.conf avvisar", "pg_hba.conf відхиляє", "pg_hba.conf უარყოფს", "拒否しました",
    "거부됩니다", "记录拒绝",
)  # fmt: skip
WANTS_CERTIFICATE: Final = (
    "valid client certificate", "gültiges Client-Zertifikat", "certificado de cliente válido",
    "certificat client valide", "certificato valido per il client", "有効なクライアント証明",
    "კლიენტის სწორი სერტიფიკატი",
    "유효한 클라이언트 인증서", "годный сертификат клиента", "giltigt klientcertifikat",
    "припустимий сертифікат клієнта",
    "有效的客户端认证",
)  # fmt: skip
NOT_PERMITTED: Final = (
    "not permitted to log in", "keine Berechtigung zum Einloggen", "no se le permite conectarse",
    "n'est pas autorisé à se connecter", "non è consentito effettuare il login", "ログインが許可されません",
    "შესვლის უფლება არ აქვს", "접속을 허용하지 않음", "вход запрещён", "tillåts inte logga in", "вхід не дозволений",
    "不允许角色",
)  # fmt: skip


class LoginFailed(TmsyncError):
    """The server, or libpq, does not let the user in (check-db's causes for login)."""


def log_in(
    target: DatabaseSettings, prober: Prober, method: Method, *, tls: bool, environ: Mapping[str, str]
) -> Session:
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
    found = find_password(target, environ)
    pgpass = str(found.ignored) if found.ignored else None
    if found.password is None and method in PASSWORD_METHODS:
        raise _failed(Cause.NO_PASSWORD, target, pgpass=pgpass)
    verbose = _verbose_attempt(target, prober, tls=tls) or words
    refusal = server_error_in(verbose)
    if refusal is None:
        raise _libpq_refused(target, verbose)
    cause = login_cause(refusal)
    if cause is Cause.UNKNOWN_ROLE and _exists(prober, method, refusal, tls=tls):
        cause = Cause.NO_LOGIN
    raise _failed(cause, target, refusal.message, pgpass=pgpass)


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

    while (state := conn.poll()) != POLL_OK and (left := deadline - monotonic()) > 0:
        poller = select.poll()
        poller.register(conn.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
        poller.poll(left * 1000)


def _libpq_refused(target: DatabaseSettings, words: str) -> LoginFailed:
    message = f"libpq does not log {target.user} in: {_first_line(words)}"
    return LoginFailed(problem(Cause.LOGIN_FAILED, message, variant="libpq"))


def _first_line(words: str) -> str:
    return (words.strip().splitlines() or ["no reason given"])[0]


def _failed(cause: Cause, target: DatabaseSettings, words: str = "", pgpass: str | None = None) -> LoginFailed:
    """words: the server's or libpq's; pgpass: a password file that libpq ignores."""
    user, database = target.user, target.name
    message = {
        Cause.NO_PASSWORD: "PostgreSQL asks for a password, and none is configured",
        Cause.BAD_CREDENTIALS: f"PostgreSQL does not accept this password for {user}",
        Cause.UNKNOWN_ROLE: f"the role {user} does not exist",
        Cause.NO_LOGIN: f"the role {user} may not log in (NOLOGIN)",
        Cause.NO_DATABASE: f"the database {database} does not exist",
        Cause.NO_CONNECT_PRIVILEGE: f"{user} may not connect to the database {database}",
        Cause.NOT_ACCEPTING: f"the database {database} accepts no connections",
        Cause.TOO_MANY_CONNECTIONS: "PostgreSQL, the role or the database has no connection left",
        Cause.STARTING_UP: "PostgreSQL is starting up, shutting down or recovering",
    }.get(cause, f"{user} cannot log in")
    details = (words,) if words else ()
    return LoginFailed(problem(cause, message, details=details, pgpass=pgpass, **sql_names(user, database)))


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


def hba_cause(refusal: ServerError) -> Cause:
    """Why pg_hba.conf did not let the client through to the password."""
    if refusal.sqlstate == INVALID_AUTHORIZATION and refusal.routine == "ClientAuthentication":
        if any(phrase in refusal.message for phrase in REJECTS):
            return Cause.REJECTED
        if any(phrase in refusal.message for phrase in WANTS_CERTIFICATE):
            return Cause.CLIENT_CERTIFICATE
        return Cause.NO_ENTRY
    return Cause.NO_PASSWORD_METHOD


def login_cause(refusal: ServerError) -> Cause:
    """Why the login failed, after pg_hba.conf had let the client through; a NOLOGIN role counts as unknown-role yet."""
    if refusal.sqlstate == INVALID_AUTHORIZATION:
        known = refusal.routine == "InitializeSessionUserId"
        return Cause.UNKNOWN_ROLE if known else Cause.BAD_CREDENTIALS
    return LOGIN_CAUSES.get(refusal.sqlstate, Cause.LOGIN_FAILED)


def says_not_permitted(refusal: ServerError) -> bool:
    """Whether the words are those for a NOLOGIN role, in a language known here."""
    return any(phrase in refusal.message for phrase in NOT_PERMITTED)


def address_seen(refusal: ServerError) -> str | None:
    """This client's address as the server sees it: its refusal quotes it, whatever the language."""
    for word in re.findall(r"[0-9A-Fa-f:.]{3,45}", refusal.message):
        try:
            return str(ipaddress.ip_address(word.strip(".")))
        except ValueError:
            continue
    return None
