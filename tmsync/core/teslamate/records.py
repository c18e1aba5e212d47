"""What TeslaMate's database tells besides tokens: its cars, their newest records, and whether TeslaMate is logged in.

Source: TeslaMate priv/repo/migrations (cars, car_settings, states, positions, charges, updates and their indexes);
PostgreSQL documentation, "The Cumulative Statistics System" (pg_stat_activity).
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from tmsync.core.postgres.session import QueryFailed, Session

NO_VIN: Final = "__legacy_null_vin__"
ECTO_ALIAS: Final = '0."'
"""Ecto, TeslaMate's database library, names tables c0, p0, ... and quotes every column."""

_READABLE: Final = """
select c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'public' and c.relkind in ('r', 'p', 'v') and has_table_privilege(c.oid, 'SELECT')
  and c.relname in ('cars', 'car_settings', 'states', 'positions', 'charging_processes', 'charges', 'updates')
"""
_CARS: Final = """
select c.id, c.name, c.vin, s.suspend_min, s.use_streaming_api, s.enabled
from public.cars c left join public.car_settings s on s.id = c.settings_id order by c.id limit 10000
"""
_CARS_ALONE: Final = "select id, name, vin, null, null, null from public.cars order by id limit 10000"
_NEWEST: Final = {
    frozenset({"states"}): "select car_id, max(greatest(start_date, end_date)) from public.states group by car_id",
    frozenset({"updates"}): "select car_id, max(greatest(start_date, end_date)) from public.updates group by car_id",
    # By the index that TeslaMate keeps on rows with a range, and for the others a look at the newest ones:
    # the table has millions of rows, and no index that fits all of them.
    frozenset({"positions"}): """
        select c.id, greatest(
          (select max(p.date) from public.positions p where p.car_id = c.id and p.ideal_battery_range_km is not null),
          (select max(t.date) from (select car_id, date from public.positions order by id desc limit 500) t
           where t.car_id = c.id)
        ) from public.cars c
        """,
    frozenset({"charging_processes", "charges"}): """
        select p.car_id, (select max(h.date) from public.charges h where h.charging_process_id = p.id)
        from (select car_id, max(id) as id from public.charging_processes group by car_id) p
        """,
}
_SESSIONS: Final = """
select coalesce(application_name, ''), coalesce(query, '')
from pg_catalog.pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and usesysid is not null
  and coalesce(backend_type, 'client backend') = 'client backend'
"""
"""Of another role's sessions a plain role sees the database and the user, and nulls for the rest."""
_STARTED: Final = "select pg_postmaster_start_time()"


class CarRecord(NamedTuple):
    """One row of `cars` with its settings; None where this role may not see it."""

    car_id: int
    name: str | None
    vin: str | None
    suspend_min: int | None
    """Minutes between two looks at a suspended car that is polled."""
    use_streaming_api: bool | None
    enabled: bool | None
    """Whether TeslaMate logs the car; if not, nothing of it is published."""
    last_record_at: datetime | None
    """UTC; the newest of its states, positions, charges and updates."""


def read_cars(session: Session) -> dict[int, CarRecord]:
    """All cars by id; empty where this role may not read them.

    Raises: QueryFailed.
    """
    readable = {str(name) for (name,) in session.query(_READABLE)}
    if "cars" not in readable:
        return {}
    newest: dict[int, datetime] = {}
    for tables, query in _NEWEST.items():
        if tables <= readable:
            _merge(newest, _rows(session, query))
    rows = session.query(_CARS if "car_settings" in readable else _CARS_ALONE)
    return {
        car_id: CarRecord(
            car_id, name, None if vin.startswith(NO_VIN) else vin, suspend_min, streams, enabled, newest.get(car_id)
        )
        for car_id, name, vin, suspend_min, streams, enabled in rows
    }


def _rows(session: Session, query: str) -> Iterable[tuple[int, datetime | None]]:
    try:
        return [(car_id, moment) for car_id, moment in session.query(query)]
    except QueryFailed as error:
        # Another version's table: the other tables still tell something. A broken connection does not get better.
        if not error.sqlstate:
            raise
        return []


def _merge(newest: dict[int, datetime], rows: Iterable[tuple[int, datetime | None]]) -> None:
    for car_id, moment in rows:
        if moment is not None:
            utc = moment.replace(tzinfo=UTC)
            newest[car_id] = max(utc, newest.get(car_id, utc))


class Sessions(NamedTuple):
    """TeslaMate's sessions on its database. surely: whether they are known as its own by how they query."""

    number: int
    surely: bool
    server_started_at: datetime


def read_sessions(session: Session) -> Sessions:
    """Who else is logged in to the database, and may be TeslaMate.

    A program that gives itself a name (psql, pgAdmin, Grafana, tmsync) is none; TeslaMate gives none. Where the queries
    can be seen (same role, or more rights) Ecto's are recognised.
    Raises: QueryFailed.
    """
    started_at = session.query(_STARTED)[0][0]
    rows = session.query(_SESSIONS)
    nameless = [str(query) for name, query in rows if not name or "teslamate" in name.lower()]
    ecto = [query for query in nameless if ECTO_ALIAS in query]
    return Sessions(len(ecto) or len(nameless), bool(ecto), started_at)
