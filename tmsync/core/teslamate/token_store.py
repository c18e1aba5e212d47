"""TeslaMate's token row: where it lives, whether it can be read, and what is in it.

Source: TeslaMate priv/repo/migrations/20250924215353 (schema private, 2.2.0), 20220123131732 (encryption, 1.27.0),
lib/teslamate/auth.ex (0 or 1 row; it raises when there are more).
"""

from datetime import UTC, datetime
from typing import Final, NamedTuple

from tmsync.core.errors import Cause, DecryptionFailed, StoreError
from tmsync.core.postgres.session import QueryFailed, Session
from tmsync.core.secret import Secret
from tmsync.core.teslamate.vault import KEY_HINT, decrypt, find_key, is_plain_text

TABLES: Final = ("private.tokens", "public.tokens")
"""Since TeslaMate 2.2.0, and before."""
INSUFFICIENT_PRIVILEGE: Final = "42501"
UNDEFINED_COLUMN: Final = "42703"
SIGN_IN_HINT: Final = "Sign in to your Tesla account on TeslaMate's web page."

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
        raise StoreError(
            Cause.NO_TOKENS_TABLE,
            "neither private.tokens nor public.tokens exists",
            "Let TeslaMate finish its migrations: docker compose restart teslamate",
        )
    if table is None:
        raise StoreError(
            Cause.NOT_TESLAMATE,
            "the database holds no TeslaMate tables",
            "Set database.name to TeslaMate's DATABASE_NAME (teslamate by default).",
        )
    level = None
    if found.get("public.schema_migrations") == (True, True):
        level = session.query("select max(version) from public.schema_migrations")[0][0]
    return Location(table, level, *found[table])


def read_row(session: Session, location: Location) -> TokenRow:
    """Read the one row.

    Raises: StoreError (no-privilege, signed-out, several-rows, not-teslamate), QueryFailed.
    """
    try:
        # The table's name is one of two constants; order and limit keep a table gone wild from filling the memory.
        rows = session.query(f"select access, refresh, updated_at from {location.table} order by id limit 3")  # noqa: S608
    except QueryFailed as error:
        if error.sqlstate == INSUFFICIENT_PRIVILEGE:
            raise StoreError(
                Cause.NO_PRIVILEGE,
                f"this role may not read {location.table}",
                "Run tmsync check-db: it prints the statements that allow it.",
            ) from None
        if error.sqlstate == UNDEFINED_COLUMN:
            raise StoreError(
                Cause.NOT_TESLAMATE,
                f"{location.table} is not TeslaMate's: it has no columns access, refresh, updated_at",
                "Set database.name to TeslaMate's DATABASE_NAME (teslamate by default).",
            ) from None
        raise
    if len(rows) > 1:
        raise StoreError(
            Cause.SEVERAL_ROWS,
            f"{location.table} holds more than one row; TeslaMate itself refuses to work with that",
            "Sign out and in again on TeslaMate's web page, or delete the rows that are not current.",
        )
    if not rows or not rows[0][0]:
        what = "holds no row" if not rows else "holds no access token"
        raise StoreError(Cause.SIGNED_OUT, f"{location.table} {what}: TeslaMate is signed out", SIGN_IN_HINT)
    access, refresh, updated_at = rows[0]
    return TokenRow(_plain_type(access), None if refresh is None else _plain_type(refresh), _utc(updated_at))


def open_token(stored: bytes | str, key: Secret | None, other: bytes | str | None = None) -> Secret:
    """The token in the clear.

    other: the row's second column; when `key` opens that one, this one is damaged rather than the key wrong.
    Raises: DecryptionFailed (no-key, wrong-key, corrupt).
    """
    if is_plain(stored):
        return Secret(stored if isinstance(stored, str) else stored.decode("ascii"))
    data = stored.encode() if isinstance(stored, str) else stored
    if key is None:
        raise DecryptionFailed(Cause.NO_KEY, "teslamate.encryption_key is not set; the tokens are encrypted", KEY_HINT)
    candidates = key.candidates()
    fitting = find_key(data, candidates) or candidates[0]
    try:
        token = decrypt(data, fitting)
    except DecryptionFailed as error:
        if error.cause is Cause.WRONG_KEY:
            raise _explained(error, data, candidates, other) from None
        raise
    if not token:
        raise DecryptionFailed(Cause.CORRUPT, "the stored token is empty", SIGN_IN_HINT)
    return Secret(token)


def is_plain(stored: bytes | str) -> bool:
    """Whether the token is stored unencrypted."""
    return isinstance(stored, str) or is_plain_text(stored)


def _explained(
    error: DecryptionFailed, data: bytes, candidates: tuple[str, ...], other: bytes | str | None
) -> DecryptionFailed:
    if isinstance(other, bytes) and find_key(other, candidates) is not None:
        return DecryptionFailed(
            Cause.CORRUPT,
            "the stored access token is damaged: the key opens the refresh token beside it",
            SIGN_IN_HINT,
        )
    key = candidates[0]
    near = {
        "without the blanks or line breaks around it": key.strip(),
        "without the quotes around it": key.strip().strip("\"'"),
        "with a line break at its end": key + "\n",
        "with a blank at its end": key + " ",
    }
    for how, variant in near.items():
        if variant and variant not in candidates and find_key(data, (variant,)) is not None:
            return DecryptionFailed(Cause.WRONG_KEY, f"{error}; it does {how}", f"Configure the key {how}.")
    return error


def _plain_type(value: object) -> bytes | str:
    return value if isinstance(value, str) else bytes(value)  # type: ignore[call-overload]


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)
