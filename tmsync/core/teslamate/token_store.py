"""TeslaMate's token row: where it lives, whether it can be read, and what is in it.

Source: TeslaMate priv/repo/migrations/20250924215353 (schema private, 2.2.0), 20220123131732 (encryption, 1.27.0),
lib/teslamate/auth.ex (0 or 1 row; it raises when there are more).
"""

from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from tmsync.core.causes import Cause
from tmsync.core.errors import DecryptionFailed, StoreError
from tmsync.core.fixes import problem
from tmsync.core.postgres.session import QueryFailed, Session
from tmsync.core.secret import Secret
from tmsync.core.teslamate.vault import decrypt, find_key, is_plain_text, wrong_key

TABLES: Final = ("private.tokens", "public.tokens")
"""Since TeslaMate 2.2.0, and before."""
INSUFFICIENT_PRIVILEGE: Final = "42501"
UNDEFINED_COLUMN: Final = "42703"

_FIND = """
select n.nspname || '.' || c.relname, has_schema_privilege(n.oid, 'USAGE'), has_table_privilege(c.oid, 'SELECT')
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('private', 'public') and c.relname in ('tokens', 'schema_migrations', 'cars')
  and c.relkind in ('r', 'p', 'v', 'm', 'f')
"""


class Location(NamedTuple):
    """Where the tokens are. `schema_level` is TeslaMate's newest migration, None where this role may not see it."""

    table: str
    schema_level: int | None
    may_use_schema: bool
    may_select: bool


class TokenRow(NamedTuple):
    """The row as stored: bytes when encrypted, text in databases of TeslaMate < 1.27.0."""

    access: bytes | str
    refresh: bytes | str | None
    updated_at: datetime
    """UTC."""


def locate(session: Session) -> Location:
    """Find the table.

    Raises: StoreError (not-teslamate, no-tokens-table), QueryFailed.
    """
    found = {name: (use, select) for name, use, select in session.query(_FIND)}
    table = next((table for table in TABLES if table in found), None)
    if table is None and "public.cars" in found:
        raise StoreError(problem(Cause.NO_TOKENS_TABLE, "neither private.tokens nor public.tokens exists"))
    if table is None:
        raise StoreError(problem(Cause.NOT_TESLAMATE, "the database holds no TeslaMate tables"))
    level = None
    if found.get("public.schema_migrations") == (True, True):
        level = session.query("select max(version) from public.schema_migrations")[0][0]
    return Location(table, level, *found[table])


def read_rows(session: Session, location: Location) -> list[tuple[Any, ...]]:
    """The rows as stored, three at most.

    Raises: StoreError (no-privilege, not-teslamate), QueryFailed.
    """
    table = location.table
    try:
        # The table's name is one of two constants; order and limit keep a table gone wild from filling the memory.
        return session.query(f"select access, refresh, updated_at from {table} order by id limit 3")  # noqa: S608
    except QueryFailed as error:
        if error.sqlstate == INSUFFICIENT_PRIVILEGE:
            values = {**session.names(), "schema": table.partition(".")[0], "table": table}
            raise StoreError(problem(Cause.NO_PRIVILEGE, f"this role may not read {table}", **values)) from None
        if error.sqlstate == UNDEFINED_COLUMN:
            message = f"{table} is not TeslaMate's: it has no columns access, refresh, updated_at"
            raise StoreError(problem(Cause.NOT_TESLAMATE, message)) from None
        raise


def only_row(rows: list[tuple[Any, ...]], session: Session, location: Location) -> TokenRow:
    """The one row that there may be.

    Raises: StoreError (signed-out, several-rows).
    """
    table = location.table
    if len(rows) > 1:
        message = f"{table} holds more than one row; TeslaMate itself refuses to work with that"
        raise StoreError(problem(Cause.SEVERAL_ROWS, message, table=table, **session.names()))
    if not rows or not rows[0][0]:
        what = "holds no row" if not rows else "holds no access token"
        raise StoreError(problem(Cause.SIGNED_OUT, f"{table} {what}: TeslaMate is signed out"))
    access, refresh, updated_at = rows[0]
    return TokenRow(_plain_type(access), None if refresh is None else _plain_type(refresh), _utc(updated_at))


def read_row(session: Session) -> TokenRow:
    """Find the table and read its row.

    Raises: StoreError with check-db's causes.
    """
    location = locate(session)
    return only_row(read_rows(session, location), session, location)


def open_token(stored: bytes | str, key: Secret | None, other: bytes | str | None = None) -> Secret:
    """The token in the clear.

    other: the row's second column; when `key` opens that one, this one is damaged rather than the key wrong.
    Raises: DecryptionFailed (no-key, wrong-key, corrupt).
    """
    if is_plain(stored):
        return Secret(stored if isinstance(stored, str) else stored.decode("ascii"))
    data = stored.encode() if isinstance(stored, str) else stored
    if key is None:
        message = "teslamate.encryption_key is not set; the tokens are encrypted"
        raise DecryptionFailed(problem(Cause.NO_KEY, message))
    candidates = key.candidates()
    fitting = find_key(data, candidates) or candidates[0]
    try:
        token = decrypt(data, fitting)
    except DecryptionFailed as error:
        if error.cause is Cause.WRONG_KEY:
            raise _explained(error, data, candidates, other) from None
        raise
    if not token:
        raise DecryptionFailed(problem(Cause.CORRUPT, "the stored token is empty"))
    return Secret(token)


def is_plain(stored: bytes | str) -> bool:
    """Whether the token is stored unencrypted."""
    return isinstance(stored, str) or is_plain_text(stored)


def _explained(
    error: DecryptionFailed, data: bytes, candidates: tuple[str, ...], other: bytes | str | None
) -> DecryptionFailed:
    if isinstance(other, bytes) and find_key(other, candidates) is not None:
        message = "the stored access token is damaged: the key opens the refresh token beside it"
        return DecryptionFailed(problem(Cause.CORRUPT, message))
    key = candidates[0]
    near = {
        "without the blanks or line breaks around it": key.strip(),
        "without the quotes around it": key.strip().strip("\"'"),
        "with double quotes around it": f'"{key}"',
        "with single quotes around it": f"'{key}'",
        "with a line break at its end": f"{key}\n",
        "with a blank at its end": f"{key} ",
        "with a blank in front of it": f" {key}",
    }
    for how, variant in near.items():
        if variant and variant not in candidates and find_key(data, (variant,)) is not None:
            return DecryptionFailed(wrong_key(how))
    return error


def _plain_type(value: object) -> bytes | str:
    return value if isinstance(value, str) else bytes(value)  # type: ignore[call-overload]


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)
