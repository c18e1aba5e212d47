"""Second witnesses, asked for real: sessions and records in PostgreSQL, a web server."""

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest

from tests.support.listeners import listener, silence
from tests.support.surroundings import PASSWORD, TeslaMate
from tests.support.waiting import until
from tests.telemetry.following import NOWHERE
from tmsync.core.clock import SystemClock
from tmsync.core.config.load import load_settings
from tmsync.core.config.settings import DatabaseSettings
from tmsync.core.postgres.session import APPLICATION_NAME, connect
from tmsync.core.telemetry import liveness
from tmsync.core.telemetry.liveness import LivenessProbe, ProbeResult, ask_web_server
from tmsync.core.teslamate.records import CarRecord, read_cars
from tmsync.demo.server import free_port

TABLES = """
drop table if exists public.charges, public.charging_processes, public.positions, public.states, public.updates,
  public.drives;
create table public.states (id serial primary key, start_date timestamp, end_date timestamp, car_id smallint,
  state text);
create table public.updates (id serial primary key, start_date timestamp, end_date timestamp, car_id smallint);
create table public.positions (id serial primary key, date timestamp, ideal_battery_range_km numeric, car_id smallint,
  battery_level smallint);
create table public.charging_processes (id serial primary key, car_id smallint, start_date timestamp,
  end_date timestamp);
create table public.drives (id serial primary key, car_id smallint, start_date timestamp, end_date timestamp);
create table public.charges (id serial primary key, date timestamp, charging_process_id integer);
"""
CARS = """
delete from public.cars; delete from public.car_settings;
insert into public.car_settings (id, suspend_min, use_streaming_api, enabled)
  values (1, 21, true, true), (2, 15, false, true), (3, 12, true, false);
insert into public.cars (id, eid, vid, vin, name, settings_id)
  values (1, 1, 1, '5YJ3E1EA7KF000001', 'Blue', 1), (2, 2, 2, '__legacy_null_vin__:2', 'Red', 2),
         (3, 3, 3, '5YJ3E1EA7KF000003', null, 3);
insert into public.states (start_date, end_date, car_id, state)
  values ('2026-11-01 10:00', '2026-11-01 12:00', 1, 'offline'), ('2026-11-01 12:00', null, 1, 'online'),
         ('2026-11-02', null, 3, 'asleep');
insert into public.positions (date, ideal_battery_range_km, car_id, battery_level)
  values ('2026-11-03 10:00', 100, 1, 63), ('2026-11-03 10:05', null, 1, 62), ('2026-11-04', null, 2, null);
insert into public.charging_processes values (1, 1, '2026-10-01', '2026-10-02'), (2, 1, '2026-10-03', '2026-10-04');
insert into public.charges (date, charging_process_id) values ('2026-11-05 09:00', 1), ('2026-11-05 11:00', 2);
insert into public.updates (start_date, end_date, car_id) values ('2026-10-01', '2026-10-02', 2);
"""


@pytest.fixture
def database(teslamate: TeslaMate) -> Iterator[DatabaseSettings]:
    teslamate.sql(f"set role teslamate; {TABLES} {CARS}")
    environ = {**NOWHERE, **teslamate.environ()}
    found = load_settings(environ=environ).database()
    until_alone(found)
    yield found
    teslamate.sql(
        "drop table public.charges, public.charging_processes, public.positions, public.states, public.updates,"
        " public.drives"
    )
    teslamate.sql("delete from public.cars; delete from public.car_settings")


def until_alone(database: DatabaseSettings) -> None:
    """A session that was closed stays in pg_stat_activity until its backend has ended, which may take a while."""
    login = {"host": database.host, "port": database.port, "dbname": database.name, "user": database.user}
    others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    with closing(psycopg2.connect(**login, password=PASSWORD, application_name=APPLICATION_NAME)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()

        def is_alone() -> bool:
            cursor.execute(others)
            return cursor.fetchone() == (0,)

        until(is_alone)


class SimulatedClock(SystemClock):
    """Stands still but for its sleep."""

    def __init__(self) -> None:
        self._running = 1000.0

    def monotonic(self) -> float:
        return self._running

    def sleep(self, seconds: float) -> None:
        self._running += seconds


@contextmanager
def pool(database: DatabaseSettings, count: int = 3, name: str = "", query: str = "select 1") -> Iterator[list[Any]]:
    """Sessions of somebody else's."""
    connections = [
        psycopg2.connect(
            host=database.host,
            port=database.port,
            dbname=database.name,
            user=database.user,
            password=PASSWORD,
            application_name=name,
        )
        for _ in range(count)
    ]
    try:
        for connection in connections:
            connection.autocommit = True
            connection.cursor().execute(query)
        yield connections
    finally:
        for connection in connections:
            connection.close()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing sessions are gone without waiting, and a server counts from its first second."""
    monkeypatch.setattr(liveness, "MISSING_S", 0)
    monkeypatch.setattr(liveness, "SERVER_START", timedelta(0))


def ask(witnesses: LivenessProbe) -> tuple[bool | None, bool, bool, tuple[str, ...]]:
    """What the sessions say, and what all witnesses together."""
    report = witnesses.ask()
    evidence = report.evidence
    return report.sessions, evidence.vouches, evidence.says_gone(None), evidence.words


SELECT = 'SELECT c0."id", c0."name" FROM "cars" AS c0'
THERE = (True, True, False, ("TeslaMate's database sessions are there",))
GONE = (False, False, True, ("TeslaMate's database sessions are gone",))


def test_cars_with_their_settings_and_newest_records(database: DatabaseSettings) -> None:
    with connect(database) as session:
        found = read_cars(session)
    assert found == {
        1: CarRecord(
            1, "Blue", "5YJ3E1EA7KF000001", 21, True, True, datetime(2026, 11, 5, 11, tzinfo=UTC),
            "online", datetime(2026, 11, 1, 12, tzinfo=UTC),
            ((datetime(2026, 11, 3, 10, 5, tzinfo=UTC), 62), (datetime(2026, 11, 3, 10, tzinfo=UTC), 63)),
            eid=1, position_at=datetime(2026, 11, 3, 10, 5, tzinfo=UTC),
            charge_at=datetime(2026, 11, 5, 11, tzinfo=UTC),
        ),
        2: CarRecord(
            2, "Red", None, 15, False, True, datetime(2026, 11, 4, tzinfo=UTC),
            eid=2, position_at=datetime(2026, 11, 4, tzinfo=UTC),
        ),
        3: CarRecord(
            3, None, "5YJ3E1EA7KF000003", 12, True, False, datetime(2026, 11, 2, tzinfo=UTC),
            "asleep", datetime(2026, 11, 2, tzinfo=UTC), eid=3,
        ),
    }  # fmt: skip
    report = LivenessProbe(database, None, SystemClock()).ask()
    assert (report.cars, report.schema_level) == (found, 20260808090000)
    assert report.polling == {2: 15}


def test_pilot_current_is_that_of_the_newest_row_of_a_charge_that_goes_on(
    teslamate: TeslaMate, database: DatabaseSettings
) -> None:
    with connect(database) as session:
        assert read_cars(session)[1].pilot_current is None, "a schema without the column"
        teslamate.sql(
            "alter table public.charges add column charger_pilot_current smallint;"
            "update public.charges set charger_pilot_current = 32;"
            "insert into public.charging_processes values (9, 1, '2026-11-06', null);"
            "insert into public.charging_processes values (10, 2, '2026-11-01', '2026-11-02');"
            "insert into public.charges (date, charging_process_id, charger_pilot_current)"
            " values ('2026-11-06 01:00', 9, 13), ('2026-11-06 00:59', 9, 16), ('2026-11-01', 10, 8)"
        )
        found = read_cars(session)
    assert [(car.pilot_current, car.charge_at) for car in found.values()] == [
        (13, datetime(2026, 11, 6, 1, tzinfo=UTC)), (None, datetime(2026, 11, 1, tzinfo=UTC)), (None, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ("insert into public.charging_processes values (9, 1, '2026-11-01 12:30', null)", "charging"),
        ("insert into public.charging_processes values (9, 1, '2026-11-01 11:58', null)", "charging"),
        # Aborted and never closed: it began before the car was last online.
        ("insert into public.charging_processes values (9, 1, '2026-11-01 11:00', null)", "online"),
        ("insert into public.charging_processes values (9, 1, '2026-11-01 12:30', '2026-11-01 13:00')", "online"),
        ("insert into public.drives values (9, 1, '2026-11-01 12:30', null)", "driving"),
        ("insert into public.updates values (9, '2026-11-01 12:30', null, 1)", "updating"),
    ],
)
def test_open_rows_tell_the_state(teslamate: TeslaMate, database: DatabaseSettings, change: str, state: str) -> None:
    teslamate.sql(f"set role teslamate; {change}")
    with connect(database) as session:
        assert read_cars(session)[1].state == state


def test_older_schemas_lack_columns(teslamate: TeslaMate, database: DatabaseSettings) -> None:
    teslamate.sql("alter table public.car_settings rename enabled to gone")
    teslamate.sql("alter table public.cars alter vin drop not null; update public.cars set vin = null where id = 1")
    try:
        with connect(database) as session:
            found = read_cars(session)
    finally:
        teslamate.sql("alter table public.car_settings rename gone to enabled; delete from public.cars")
        teslamate.sql("alter table public.cars alter vin set not null")
    assert (found[1].vin, found[1].enabled, found[1].suspend_min) == (None, None, 21)


@pytest.mark.parametrize(
    "statement",
    [
        SELECT,
        'SELECT TRUE FROM "states" AS s0 LIMIT 1',
        'INSERT INTO "geofences" ("name") VALUES (\'a\') RETURNING "id"',
        'UPDATE "cars" AS c0 SET "name" = \'Blue\' WHERE c0."id" = 0',
        'UPDATE "cars" SET "name" = \'Blue\' WHERE "id" = 0',
        'DELETE FROM "cars" AS c0 WHERE c0."id" = 0',
    ],
)
def test_every_shape_of_teslamates_statements_is_recognised(
    teslamate: TeslaMate, database: DatabaseSettings, statement: str
) -> None:
    teslamate.sql("set role teslamate; create table if not exists public.geofences (id serial, name text)")
    witnesses = LivenessProbe(database, None, SystemClock())
    with pool(database, query=statement):
        assert ask(witnesses) == THERE


def test_a_session_once_recognised_is_teslamates_as_long_as_it_lives(database: DatabaseSettings) -> None:
    witnesses = LivenessProbe(database, None, SystemClock())
    with pool(database, query=SELECT) as connections:
        assert ask(witnesses) == THERE
        for connection in connections:
            connection.cursor().execute("begin; commit")
        assert ask(witnesses) == THERE
    # Somebody else's statements of that kind are recognised by nothing.
    with pool(database, query="begin; commit"):
        assert ask(witnesses) == GONE


@pytest.mark.parametrize(
    "query", ["SELECT 1", "SELECT date AS time FROM public.positions", "select c0.id from cars c0"]
)
def test_other_programs_are_not_teslamate(database: DatabaseSettings, query: str) -> None:
    with pool(database, query=query), pool(database, query=SELECT, name="tmsync"):
        assert ask(LivenessProbe(database, None, SystemClock())) == GONE


def test_sessions_of_a_host_that_lost_power_are_remnants(
    database: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pool(database, query=SELECT) as connections:
        monkeypatch.setattr(liveness, "LAST_PING", timedelta(seconds=1))
        time.sleep(1.2)
        witnesses = LivenessProbe(database, None, SystemClock())
        assert ask(witnesses) == GONE
        connections[0].cursor().execute(SELECT)
        assert ask(witnesses) == THERE


def test_a_role_that_may_not_see_the_statements_has_no_witness_and_is_told_the_grant(
    teslamate: TeslaMate, database: DatabaseSettings
) -> None:
    lesser = LivenessProbe(database._replace(user="twc"), None, SystemClock())
    with pool(database, query=SELECT):
        told = "TeslaMate's database sessions cannot be seen (GRANT pg_read_all_stats TO twc)"
        assert ask(lesser) == (None, False, False, (told,))
        teslamate.sql("grant pg_read_all_stats to twc")
        try:
            assert ask(lesser) == THERE
        finally:
            teslamate.sql("revoke pg_read_all_stats from twc")
    assert ask(lesser) == GONE


def test_a_role_that_only_reads_hides_nothing(teslamate: TeslaMate, database: DatabaseSettings) -> None:
    witnesses = LivenessProbe(database, None, SystemClock())
    with pool(database._replace(user="twc")):
        # Their statements cannot be seen, but nobody who cannot add a car is TeslaMate.
        assert ask(witnesses) == GONE


def test_a_hidden_session_of_another_role_hides_a_death_only_from_who_never_saw_teslamate(
    teslamate: TeslaMate, database: DatabaseSettings
) -> None:
    """Somebody's psql or pgAdmin, as a superuser."""
    witnesses = LivenessProbe(database, None, SystemClock())
    postgres = teslamate.postgres
    with closing(
        psycopg2.connect(host=str(postgres.folder), port=postgres.port, dbname=database.name, user="postgres")
    ):
        told = "TeslaMate's database sessions cannot be seen (GRANT pg_read_all_stats TO teslamate)"
        assert ask(witnesses) == (None, False, False, (told,))
        with pool(database, query=SELECT):
            assert ask(witnesses) == THERE
        assert ask(witnesses) == GONE


def test_missing_sessions_are_gone_after_thirty_seconds(
    database: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "MISSING_S", 30)
    clock = SimulatedClock()
    witnesses = LivenessProbe(database, None, clock)
    assert ask(witnesses) == (None, False, False, ("TeslaMate's database sessions are missing, for 0 s",))
    clock.sleep(29)
    assert ask(witnesses)[0] is None
    clock.sleep(1)
    assert ask(witnesses) == GONE
    with pool(database, query=SELECT):
        assert ask(witnesses) == THERE
    assert ask(witnesses)[0] is None


def test_absence_right_after_a_restart_of_the_server_proves_nothing(
    database: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "SERVER_START", timedelta(days=1000))
    witnesses = LivenessProbe(database, None, SystemClock())
    assert ask(witnesses) == (None, False, False, ("PostgreSQL has just been started",))
    with pool(database, query=SELECT):
        assert ask(witnesses) == THERE


def test_a_database_that_cannot_be_asked_says_nothing_and_keeps_the_last_word(database: DatabaseSettings) -> None:
    witnesses = LivenessProbe(database, None, SystemClock())
    with pool(database, query=SELECT):
        assert witnesses.ask().evidence.vouches
    witnesses._database = database._replace(port=free_port())
    hearing = witnesses.ask()
    assert hearing.evidence.vouches
    assert hearing.sessions is None
    assert hearing.evidence.words == ("TeslaMate's database cannot be asked",)
    assert set(hearing.cars) == {1, 2, 3}


@contextmanager
def web(status: int) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/tm/health_check" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/tm"
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "alive"), [(200, True), (502, False), (503, False), (504, False), (500, None), (401, None), (302, None)]
)
def test_the_web_server_by_its_health_check(status: int, alive: bool | None) -> None:
    with web(status) as url:
        assert ask_web_server(url).alive is alive


def test_a_web_server_that_is_not_there_or_does_not_answer() -> None:
    assert ask_web_server(f"http://127.0.0.1:{free_port()}") == ProbeResult(False, "TeslaMate's web server is gone")
    assert ask_web_server("http://no-such-host.invalid").alive is None
    with listener(silence) as port:
        assert ask_web_server(f"http://127.0.0.1:{port}").alive is None


def test_one_witness_who_sees_it_alive_is_enough(database: DatabaseSettings) -> None:
    with web(200) as url:
        sessions, vouches, gone, words = ask(LivenessProbe(database, url, SystemClock()))
    assert (sessions, vouches, gone) == (False, True, False)
    assert words == ("TeslaMate's database sessions are gone", "TeslaMate's web server answers")
