"""What TeslaMate's database tells besides tokens: its cars, their newest records, and TeslaMate's own sessions.

Source: TeslaMate priv/repo/migrations (cars, car_settings, states, drives, positions, charges, updates and their
indexes); PostgreSQL documentation, "The Cumulative Statistics System" (pg_stat_activity).
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from tmsync.core.postgres.session import QueryFailed, Session

NO_VIN: Final = "__legacy_null_vin__"
SLACK: Final = timedelta(minutes=5)
"""A drive or charge may be recorded as begun so long before the `states` row it belongs to."""

_COLUMNS: Final = """
select c.relname, a.attname
from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where n.nspname = 'public' and c.relkind in ('r', 'p', 'v') and has_column_privilege(c.oid, a.attnum, 'SELECT')
  and c.relname in ('cars', 'car_settings', 'states', 'drives', 'positions', 'charging_processes', 'charges', 'updates')
"""
"""Older schemas lack some of them, and a role may be granted some."""
_NEWEST: Final = {
    "states": "select car_id, max(greatest(start_date, end_date)) from public.states group by car_id",
    "updates": "select car_id, max(greatest(start_date, end_date)) from public.updates group by car_id",
    # By the index that TeslaMate keeps on rows with a range, and for the others a look at the newest ones:
    # the table has millions of rows, and no index that fits all of them.
    "positions": """
        select c.id, greatest(
          (select max(p.date) from public.positions p where p.car_id = c.id and p.ideal_battery_range_km is not null),
          (select max(t.date) from (select car_id, date from public.positions order by id desc limit 500) t
           where t.car_id = c.id)
        ) from public.cars c
        """,
    "charging_processes charges": """
        select p.car_id, (select max(h.date) from public.charges h where h.charging_process_id = p.id)
        from (select car_id, max(id) as id from public.charging_processes group by car_id) p
        """,
}
"""Tables needed -> car id and the date of its newest record."""
_STATES: Final = "select car_id, state::text, start_date from public.states where end_date is null"
_LAST: Final = {
    table: f"""
        select t.car_id, t.start_date, t.end_date from public.{table} t
        join (select car_id, max(id) as id from public.{table} group by car_id) newest on newest.id = t.id
        """  # noqa: S608 - names of our own
    for table in ("drives", "charging_processes", "updates")
}
"""The newest row of each car."""
OPEN_ROW: Final = frozenset({"car_id", "start_date", "end_date"})
OPEN_STATES: Final = {"drives": "driving", "charging_processes": "charging", "updates": "updating"}
_LEVELS: Final = {
    "positions": """
        select car_id, date, battery_level
        from (select car_id, date, battery_level from public.positions order by id desc limit 2000) t
        where battery_level is not null
        """,
    "charging_processes charges": """
        select p.car_id, t.date, t.battery_level
        from (select date, battery_level, charging_process_id from public.charges order by id desc limit 500) t
          join public.charging_processes p on p.id = t.charging_process_id
        where t.battery_level is not null
        """,
}
MOST_LEVELS: Final = 100
_PILOT: Final = """
select p.car_id, (select h.charger_pilot_current from public.charges h where h.charging_process_id = p.id
                  order by h.date desc limit 1)
from public.charging_processes p
  join (select max(id) as id from public.charging_processes group by car_id) newest on newest.id = p.id
where p.end_date is null
"""

_SESSIONS: Final = """
select pid, usesysid, backend_start, clock_timestamp() - state_change, query
from pg_catalog.pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and usesysid is not null
  and coalesce(backend_type, 'client backend') = 'client backend' and coalesce(application_name, '') <> 'tmsync'
  and (to_regclass('public.cars') is null or has_table_privilege(usesysid, to_regclass('public.cars'), 'INSERT'))
"""
"""Not tmsync's own, nor those of a role that could not add a car, such as one of Grafana's that only reads. Of another
role's sessions a plain role sees neither times nor statements."""
_CLOCK: Final = "select clock_timestamp(), clock_timestamp() - pg_postmaster_start_time()"
_ECTO: Final = re.compile(
    r"""\s*(?:
        SELECT\ .*?\b[a-z]+\d+\."\w+"             # SELECT s0."id", ... FROM "states" AS s0
      | SELECT\ .*?\ FROM\ "\w+"(?:\."\w+")?\ AS\ [a-z]+\d+   # SELECT TRUE FROM "states" AS s0
      | INSERT\ INTO\ "\w+"(?:\."\w+")?\ \("      # INSERT INTO "charges" ("battery_heater", ...
      | UPDATE\ "\w+"(?:\."\w+")?\ (?:AS\ \w+\ )?SET\ "
      | DELETE\ FROM\ "\w+"(?:\."\w+")?\ (?:AS|WHERE)\ "?\w
      | SELECT\ t\.oid,\ t\.typname,\ t\.typsend  # what its driver asks first
    )""",
    re.VERBOSE | re.DOTALL,
)
"""Statements of Ecto, TeslaMate's database library: every name is quoted, and tables are called s0, p1, ..."""


class CarRecord(NamedTuple):
    """One row of `cars` with its settings; None where this role may not see it, or the schema has no such column."""

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
    state: str | None = None
    """driving, charging or updating while such a row is open, else by `states`: online, asleep or offline."""
    state_since: datetime | None = None
    """UTC."""
    levels: tuple[tuple[datetime, int], ...] = ()
    """Its newest battery levels in percent and when they were recorded, newest first."""
    eid: int | None = None
    """What Tesla's Owner API calls the car."""
    position_at: datetime | None = None
    """UTC; the newest position's."""
    charge_at: datetime | None = None
    """UTC; of the newest row of its newest charge."""
    pilot_current: int | None = None
    """Amperes that the wall offers, by the newest row of a charge that goes on."""


def read_cars(session: Session) -> dict[int, CarRecord]:
    """All cars by id; empty where this role may not read them.

    Raises: QueryFailed.
    """
    columns = readable_columns(session)
    if "id" not in columns.get("cars", ()):
        return {}
    newest: dict[str, dict[int, datetime]] = {}
    levels: dict[int, list[tuple[datetime, int]]] = {}
    for tables, query in _NEWEST.items():
        if set(tables.split()) <= columns.keys():
            newest[tables] = _dated(_rows(session, query))
    for tables, query in _LEVELS.items():
        if set(tables.split()) <= columns.keys():
            for car_id, moment, level in _rows(session, query):
                levels.setdefault(car_id, []).append((moment.replace(tzinfo=UTC), int(level)))
    states = _states(session, columns)
    pilots: dict[int, int | None] = {}
    if "charging_processes" in columns and "charger_pilot_current" in columns.get("charges", ()):
        pilots = dict(_rows(session, _PILOT))
    positions, charges = newest.get("positions", {}), newest.get("charging_processes charges", {})
    found = {}
    for car_id, name, vin, eid, suspend_min, streams, enabled in session.query(_cars(columns)):
        state, since = states.get(car_id, (None, None))
        newest_levels = tuple(sorted(levels.get(car_id, ()), reverse=True)[:MOST_LEVELS])
        vin = None if vin is None or vin.startswith(NO_VIN) else vin  # noqa: PLW2901 - what is no VIN is none
        found[car_id] = CarRecord(
            car_id,
            name,
            vin,
            suspend_min,
            streams,
            enabled,
            max((dates[car_id] for dates in newest.values() if car_id in dates), default=None),
            state,
            since,
            newest_levels,
            eid,
            positions.get(car_id),
            charges.get(car_id),
            pilots.get(car_id),
        )
    return found


def is_any_charging(session: Session) -> bool | None:
    """Whether a car is charging; None where this role may not read that.

    Raises: QueryFailed.
    """
    columns = readable_columns(session)
    if not columns.get("charging_processes", set()) >= OPEN_ROW:
        return None
    return "charging" in {state for state, _ in _states(session, columns).values()}


def readable_columns(session: Session) -> dict[str, set[str]]:
    """Table -> its columns, as far as this role may read them."""
    columns: dict[str, set[str]] = {}
    for table, column in session.query(_COLUMNS):
        columns.setdefault(str(table), set()).add(str(column))
    return columns


def read_schema_level(session: Session) -> int | None:
    """TeslaMate's newest migration; None where this role may not see it.

    Raises: QueryFailed.
    """
    return next((level for (level,) in _rows(session, "select max(version) from public.schema_migrations")), None)


def _cars(columns: Mapping[str, set[str]]) -> str:
    """The query for `cars` and their settings, with null for what is not to be had."""
    settings = columns.get("car_settings", set())
    joined = "id" in settings and "settings_id" in columns["cars"]
    wanted = [f"c.{name}" if name in columns["cars"] else "null" for name in ("id", "name", "vin", "eid")]
    wanted += [
        f"s.{name}" if joined and name in settings else "null"
        for name in ("suspend_min", "use_streaming_api", "enabled")
    ]
    join = "left join public.car_settings s on s.id = c.settings_id" if joined else ""
    return f"select {', '.join(wanted)} from public.cars c {join} order by c.id limit 10000"  # noqa: S608 - our own names


def _states(session: Session, columns: Mapping[str, set[str]]) -> dict[int, tuple[str, datetime]]:
    """Car id -> the state it is in by its open rows, and since when."""
    found: dict[int, tuple[str, datetime]] = {}
    if "states" in columns:
        found = {car_id: (state, moment.replace(tzinfo=UTC)) for car_id, state, moment in _rows(session, _STATES)}
    for table, state in OPEN_STATES.items():
        if not columns.get(table, set()) >= OPEN_ROW:
            continue
        for car_id, begun, ended in _rows(session, _LAST[table]):
            at = (begun if ended is None else ended).replace(tzinfo=UTC)
            if ended is not None:
                # When it ended, the car's state changed.
                found.update({car_id: (found[car_id][0], max(found[car_id][1], at))} if car_id in found else {})
            elif car_id not in found or at >= found[car_id][1] - SLACK:
                # One that began before the car last fell asleep was aborted, and never closed.
                found[car_id] = state, at
    return found


def _rows(session: Session, query: str) -> Iterable[tuple[Any, ...]]:
    try:
        return session.query(query)
    except QueryFailed as error:
        # Another version's table: the other tables still tell something. A broken connection does not get better.
        if not error.sqlstate:
            raise
        return []


def _dated(rows: Iterable[tuple[Any, ...]]) -> dict[int, datetime]:
    return {car_id: moment.replace(tzinfo=UTC) for car_id, moment in rows if moment is not None}


SessionId = tuple[int, datetime]
"""Process id and start of a server process: together they are never used twice."""


class SessionRow(NamedTuple):
    """A session of somebody else on TeslaMate's database; None where this role may not see it."""

    pid: int
    role: int
    """Its oid, which everybody may see."""
    started_at: datetime | None
    idle_for: timedelta | None
    """Since `state_change`. TeslaMate pings each of its sessions about every second, which renews it."""
    query: str | None

    @property
    def key(self) -> SessionId | None:
        """Names the session for ever."""
        return None if self.started_at is None else (self.pid, self.started_at)

    @property
    def is_readable(self) -> bool:
        """Whether its statement can be seen."""
        return self.started_at is not None and self.query is not None

    @property
    def is_ecto(self) -> bool:
        """Whether its last statement is one of TeslaMate's."""
        return self.query is not None and _ECTO.match(self.query) is not None


class Sessions(NamedTuple):
    """Who else is logged in to TeslaMate's database, the server's clock, and how long it runs."""

    rows: tuple[SessionRow, ...]
    at: datetime
    server_runs_for: timedelta


def read_sessions(session: Session) -> Sessions:
    """Everybody's sessions on this database but this one.

    Raises: QueryFailed.
    """
    at, runs_for = session.query(_CLOCK)[0]
    return Sessions(tuple(SessionRow(*row) for row in session.query(_SESSIONS)), at, runs_for)
