"""A database session that cannot hang: psycopg2 as TWCManager uses it, with a limit on every statement.

Source: psycopg2 documentation, "The connect() function"; libpq's own limit ends with the login.
"""

import os
import re
import shlex
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from tmsync.core.causes import Cause
from tmsync.core.config.settings import DatabaseSettings
from tmsync.core.errors import StoreError
from tmsync.core.fixes import problem
from tmsync.core.net.deadline import Overdue
from tmsync.core.net.dial import is_name, resolve
from tmsync.core.postgres.limits import LOGIN_BYTES, TooMuch, close, limited
from tmsync.core.postgres.refusals import is_poolers, server_error_in
from tmsync.core.postgres.wire import server_text

if TYPE_CHECKING:
    import psycopg2
    from psycopg2.extensions import connection

APPLICATION_NAME: Final = "tmsync"
MAX_ROWS: Final = 100_000
"""Far more than any statement here asks for: as Python's objects rows take many times their bytes."""
MAX_QUOTED: Final = 200
"""Characters of a server's words."""
_SQL_PLAIN: Final = re.compile(r"[a-z_][a-z0-9_]*")
# The reserved words of PostgreSQL 12 to 18 that may not stand bare as a role's or a database's name.
_RESERVED_WORDS: Final = """
    all analyse analyze and any array as asc asymmetric authorization between binary both case cast check collate
    collation column concurrently constraint create cross current_catalog current_date current_role current_schema
    current_time current_timestamp current_user default deferrable desc distinct do else end except false fetch for
    foreign freeze from full grant group having ilike in initially inner intersect into is isnull join lateral leading
    left like limit localtime localtimestamp natural none not notnull null offset on only or order outer overlaps
    placing primary public references returning right select session_user similar some symmetric system_user table
    tablesample then to trailing true union unique user using variadic verbose when where window with
"""
SQL_RESERVED: Final = frozenset(_RESERVED_WORDS.split())


class QueryFailed(StoreError):
    """A statement failed; `sqlstate` tells how, empty when the connection broke."""

    def __init__(self, sqlstate: str, message: str, cause: Cause = Cause.SERVER_ERROR) -> None:
        super().__init__(problem(cause, message))
        self.sqlstate = sqlstate


class Session:
    """An open, autocommitting session."""

    def __init__(self, conn: "connection", timeout: float) -> None:
        """timeout: seconds one statement may take."""
        self.conn = conn
        self.timeout = timeout
        self._broken: QueryFailed | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the session."""
        close(self.conn)

    @property
    def server_version(self) -> str:
        """Such as "17.2", without what a distribution adds."""
        return str(self.conn.info.parameter_status("server_version") or "").split(" ")[0]

    @property
    def is_superuser(self) -> bool:
        """Whether the role may look at everything; TeslaMate's own role is one in the official postgres image."""
        return self.conn.info.parameter_status("is_superuser") == "on"

    @property
    def tls_version(self) -> str | None:
        """Such as "TLSv1.3"; None when the session is not encrypted."""
        return self.conn.info.ssl_attribute("protocol") if self.conn.info.ssl_in_use else None

    def names(self) -> dict[str, Any]:
        """Role and database as the fixes want them."""
        return sql_names(self.conn.info.user, self.conn.info.dbname)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of one statement.

        Raises: QueryFailed.
        """
        import psycopg2

        try:
            with limited(self.timeout), self.conn.cursor() as cursor:
                cursor.execute(sql, parameters or None)
                _check_rows(cursor.rowcount)
                return cursor.fetchall()
        except UnicodeDecodeError as error:
            words = server_text(error.object)[:MAX_QUOTED]
            failed = QueryFailed("", f"the server sends text that is no UTF-8: {words!r}")
        except Overdue:
            failed = QueryFailed("", f"no answer came within {self.timeout:g} s")
        except TooMuch as error:
            failed = QueryFailed("", str(error))
        except psycopg2.Error as error:
            failed = _query_failed(error)
        if not failed.sqlstate:
            # Why a connection broke is told once, and later only that it is closed.
            self._broken = failed = self._broken or failed
        raise failed


def _check_rows(count: int) -> None:
    if count > MAX_ROWS:
        raise TooMuch(f"the server sends more than {MAX_ROWS} rows")


def _query_failed(error: "psycopg2.Error") -> QueryFailed:
    told = server_error_in(str(error))
    if told is None:
        return QueryFailed(error.pgcode or "", first_line(str(error)))
    return QueryFailed(error.pgcode or "", told.message, Cause.POOLER if is_poolers(told) else Cause.SERVER_ERROR)


class ConnectFailed(Exception):
    """A login failed. words: the server's, with its SQLSTATE, or libpq's own; cause: where the words are ours."""

    def __init__(self, words: str, cause: Cause | None = None) -> None:
        super().__init__(first_line(words))
        self.words = words
        self.cause = cause


def connect(target: DatabaseSettings, addresses: Sequence[str] = ()) -> Session:
    """Log in. Without a password in the settings libpq looks into PGPASSWORD and ~/.pgpass itself.

    addresses: those of target.host, in the order to be tried; looked up where none are given.
    Raises: ConnectFailed.
    """
    if is_name(target.host) and not addresses:
        try:
            # libpq would wait for the name service without any limit.
            found = resolve(target.host, target.port, target.connect_timeout)
        except (OSError, UnicodeError):
            raise ConnectFailed(f"could not resolve {target.host}") from None
        addresses = [address.text for address in found]
    *others, last = addresses or ("",)
    for address in others:
        try:
            return _log_in(target, address)
        except ConnectFailed as error:
            # As libpq: a server that has answered is the right one.
            if server_error_in(error.words) is not None:
                raise
    return _log_in(target, last)


def _log_in(target: DatabaseSettings, address: str) -> Session:
    import psycopg2

    try:
        with limited(target.connect_timeout, LOGIN_BYTES):
            conn = psycopg2.connect(**connection_parameters(target, address))
    except Overdue:
        raise ConnectFailed(f"the login is not finished within {target.connect_timeout:g} s", Cause.NO_ANSWER) from None
    except TooMuch as error:
        raise ConnectFailed(str(error), Cause.SERVER_ERROR) from None
    except UnicodeDecodeError as error:
        raise ConnectFailed(server_text(error.object)) from None
    except psycopg2.Error as error:
        raise ConnectFailed(str(error)) from None
    conn.autocommit = True
    return Session(conn, target.connect_timeout)


def first_line(words: str) -> str:
    """Of what libpq or the server says."""
    return (words.strip().splitlines() or ["no reason given"])[0]


def connection_parameters(target: DatabaseSettings, address: str = "") -> dict[str, Any]:
    """What libpq is told. Its own environment counts where it protects the login, and chooses no target.

    address: of target.host, where that is a name.
    Source: PostgreSQL documentation, "Parameter Key Words" and "Environment Variables" (libpq).
    """
    # The one variable that no parameter overrules: it names a section of a file that may hold any of them.
    os.environ.pop("PGSERVICE", None)
    parameters: dict[str, Any] = {
        "host": target.host,
        "hostaddr": address,
        "port": target.port,
        "dbname": target.name,
        "user": target.user,
        "options": "",
        "sslmode": target.sslmode,
        "application_name": APPLICATION_NAME,
        "client_encoding": "UTF8",
        # Without one OpenSSL asks for the passphrase of an encrypted key on the terminal.
        "sslpassword": "none",
    }
    if target.password is not None:
        parameters["password"] = target.password.reveal()
    files = ("sslrootcert", "sslcrl", "sslcert", "sslkey")
    for name in (*files, "require_auth", "channel_binding", "gssencmode"):
        if (value := getattr(target, name)) is not None:
            parameters[name] = value
    return parameters


def sql_name(name: str) -> str:
    """An SQL identifier, quoted where it must be. Source: PostgreSQL documentation, "Identifiers and Key Words"."""
    if _SQL_PLAIN.fullmatch(name) and name not in SQL_RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def sql_names(user: str, database: str) -> dict[str, Any]:
    """What the fixes for logins and privileges need: both names for SQL, the database's for a shell, too."""
    return {"role": sql_name(user), "database": sql_name(database), "database_arg": shlex.quote(database)}
