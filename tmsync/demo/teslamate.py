"""What TeslaMate would have stored: its tables, and made-up tokens encrypted the way it encrypts them.

Source: TeslaMate priv/repo/migrations (the tables as they stand at schema level 20260808090000; only those that tmsync
reads, and of them the columns that matter).
"""

import base64
import contextlib
import json
import os
import threading
from datetime import datetime
from typing import Any, Final, Self

from tmsync.core.teslamate.vault import encrypt

FLEET_AUDIENCE: Final = "https://fleet-api.prd.eu.vn.cloud.tesla.com"

TABLES: Final = """
create table public.schema_migrations (version bigint primary key, inserted_at timestamp(0));
insert into public.schema_migrations values (20190330150000, now()), (20260808090000, now());
create table public.car_settings (
  id bigserial primary key, suspend_min integer not null default 21, suspend_after_idle_min integer not null default 15,
  use_streaming_api boolean not null default true, enabled boolean not null default true
);
create table public.cars (
  id smallserial primary key, eid bigint not null unique, vid bigint not null unique, vin text not null unique,
  name text, model varchar(255), settings_id bigint not null unique references public.car_settings (id),
  inserted_at timestamp(0) not null default now(), updated_at timestamp(0) not null default now()
);
"""
TOKENS: Final = """
create table {schema}.tokens (
  id serial primary key, inserted_at timestamp(0) not null, updated_at timestamp(0) not null,
  refresh {kind}, access {kind}
);
"""


def token_table(schema: str = "private", kind: str = "bytea") -> str:
    """The statements that make the token table: schema private since 2.2.0, bytea since 1.27.0."""
    make = "" if schema == "public" else f"create schema {schema};"
    return make + TOKENS.format(schema=schema, kind=kind)


def access_token(expires_at: datetime, audience: str = FLEET_AUDIENCE, region: str = "EU", **claims: Any) -> str:
    """A made-up access token: a JWT of the right shape whose signature is noise."""
    payload = {
        "iss": "https://auth.tesla.com/oauth2/v3/nts",
        "aud": [audience],
        "scp": ["openid", "offline_access", "vehicle_device_data", "vehicle_charging_cmds"],
        "exp": int(expires_at.timestamp()),
        "iat": int(expires_at.timestamp()) - 8 * 3600,
        "ou_code": region,
        **claims,
    }
    parts = [json.dumps({"alg": "RS256", "typ": "JWT"}).encode(), json.dumps(payload).encode(), os.urandom(96)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def refresh_token() -> str:
    """A made-up opaque refresh token."""
    return f"EU_{os.urandom(32).hex()}"


def sealed(token: str, key: str) -> str:
    """The token as an SQL literal of what TeslaMate would store."""
    return f"'\\x{encrypt(token, key, os.urandom(12)).hex()}'::bytea"


def token_row(access: str, refresh: str, table: str = "private.tokens") -> str:
    """The statement that puts the one row in; arguments are SQL expressions."""
    columns = "inserted_at, updated_at, refresh, access"
    moment = "now() at time zone 'utc'"
    return f"delete from {table}; insert into {table} ({columns}) values ({moment}, {moment}, {refresh}, {access});"  # noqa: S608


PING_S: Final = 5.0


class DatabaseSession:
    """A session as TeslaMate holds them, from `with` on: with a statement of its kind, and pinged while it lives.

    login: as psycopg2.connect takes it; database and user are TeslaMate's defaults.
    """

    def __init__(self, **login: Any) -> None:
        import psycopg2

        self._session = psycopg2.connect(**{"dbname": "teslamate", "user": "teslamate", **login})
        self._session.autocommit = True
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ping, name="session", daemon=True)

    def __enter__(self) -> Self:
        self._query()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        self._session.close()

    def _query(self) -> None:
        with self._session.cursor() as cursor:
            cursor.execute('SELECT c0."id", c0."name" FROM "cars" AS c0')

    def _ping(self) -> None:
        import psycopg2

        with contextlib.suppress(psycopg2.Error):
            while not self._ended.wait(PING_S):
                self._query()
