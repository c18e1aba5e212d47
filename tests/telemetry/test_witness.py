"""Second witnesses, asked for real: sessions and records in PostgreSQL, a web server."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import psycopg2
import pytest

from tests.support.listeners import listener, silence
from tests.support.surroundings import PASSWORD, TeslaMate
from tests.telemetry.following import NOWHERE
from tmsync.core.clock import SystemClock
from tmsync.core.config.load import load_settings
from tmsync.core.config.settings import DatabaseSettings
from tmsync.core.postgres.session import connect
from tmsync.core.telemetry.liveness import LivenessProbe, ProbeResult, ask_web_server
from tmsync.core.teslamate.records import CarRecord, read_cars
from tmsync.demo.server import free_port

TABLES = """
drop table if exists public.charges, public.charging_processes, public.positions, public.states, public.updates;
create table public.states (id serial primary key, start_date timestamp, end_date timestamp, car_id smallint);
create table public.updates (id serial primary key, start_date timestamp, end_date timestamp, car_id smallint);
create table public.positions (id serial primary key, date timestamp, ideal_battery_range_km numeric, car_id smallint);
create table public.charging_processes (id serial primary key, car_id smallint);
create table public.charges (id serial primary key, date timestamp, charging_process_id integer);
"""
CARS = """
delete from public.cars; delete from public.car_settings;
insert into public.car_settings (id, suspend_min, use_streaming_api, enabled)
  values (1, 21, true, true), (2, 15, false, true), (3, 12, true, false);
insert into public.cars (id, eid, vid, vin, name, settings_id)
  values (1, 1, 1, '5YJ3E1EA7KF000001', 'Blue', 1), (2, 2, 2, '__legacy_null_vin__:2', 'Red', 2),
         (3, 3, 3, '5YJ3E1EA7KF000003', null, 3);
insert into public.states (start_date, end_date, car_id)
  values ('2026-11-01 10:00', '2026-11-01 12:00', 1), ('2026-11-01 12:00', null, 1), ('2026-11-02', null, 3);
insert into public.positions (date, ideal_battery_range_km, car_id)
  values ('2026-11-03 10:00', 100, 1), ('2026-11-03 10:05', null, 1), ('2026-11-04', null, 2);
insert into public.charging_processes (id, car_id) values (1, 1), (2, 1);
insert into public.charges (date, charging_process_id) values ('2026-11-05 09:00', 1), ('2026-11-05 11:00', 2);
insert into public.updates (start_date, end_date, car_id) values ('2026-10-01', '2026-10-02', 2);
"""


@pytest.fixture
def database(teslamate: TeslaMate) -> Iterator[DatabaseSettings]:
    teslamate.sql(f"set role teslamate; {TABLES} {CARS}")
    environ = {**NOWHERE, **teslamate.environ()}
    yield load_settings(environ=environ).database()
    teslamate.sql(
        "drop table public.charges, public.charging_processes, public.positions, public.states, public.updates"
    )
    teslamate.sql("delete from public.cars; delete from public.car_settings")


@contextmanager
def pool(database: DatabaseSettings, count: int = 3, name: str = "", query: str = "select 1") -> Iterator[None]:
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
        yield
    finally:
        for connection in connections:
            connection.close()


def ask(witnesses: LivenessProbe) -> tuple[bool, bool, tuple[str, ...]]:
    evidence = witnesses.ask().evidence
    return evidence.vouches, evidence.says_gone(None), evidence.words


ECTO = 'select c0."id" from "cars" as c0'


def test_cars_with_their_settings_and_newest_records(database: DatabaseSettings) -> None:
    with connect(database) as session:
        found = read_cars(session)
    assert found == {
        1: CarRecord(1, "Blue", "5YJ3E1EA7KF000001", 21, True, True, datetime(2026, 11, 5, 11, tzinfo=UTC)),
        2: CarRecord(2, "Red", None, 15, False, True, datetime(2026, 11, 4, tzinfo=UTC)),
        3: CarRecord(3, None, "5YJ3E1EA7KF000003", 12, True, False, datetime(2026, 11, 2, tzinfo=UTC)),
    }
    hearing = LivenessProbe(database, None, SystemClock()).ask()
    assert hearing.cars == found
    assert hearing.polling == {2: 15}


def test_a_role_that_sees_the_tokens_alone_sees_the_sessions_too(
    teslamate: TeslaMate, database: DatabaseSettings
) -> None:
    teslamate.sql("grant usage on schema private to twc; grant select on private.tokens to twc")
    lesser = database._replace(user="twc")
    with connect(lesser) as session:
        assert read_cars(session) == {}
    witnesses = LivenessProbe(lesser, None, SystemClock())
    with pool(database):
        assert ask(witnesses) == (True, False, ("TeslaMate's database sessions are there",))
    assert ask(witnesses) == (False, True, ("TeslaMate's database sessions are gone",))


def test_sessions_come_and_go(teslamate: TeslaMate, database: DatabaseSettings) -> None:
    teslamate.postgres.sql("select 1")
    witnesses = LivenessProbe(database, None, SystemClock())
    assert ask(witnesses) == (False, True, ("TeslaMate's database sessions are gone",))
    with pool(database, query=ECTO):
        assert ask(witnesses) == (True, False, ("TeslaMate's database sessions are there",))
    # Once TeslaMate was recognised by how it queries, somebody else's sessions no longer stand for it.
    with pool(database):
        assert ask(witnesses) == (False, True, ("TeslaMate's database sessions are gone",))


def test_programs_with_a_name_are_not_teslamate(database: DatabaseSettings) -> None:
    witnesses = LivenessProbe(database, None, SystemClock())
    with pool(database, name="psql"), pool(database, name="Grafana"), pool(database, name="tmsync"):
        assert ask(witnesses) == (False, True, ("TeslaMate's database sessions are gone",))


def test_absence_right_after_a_restart_of_the_server_proves_nothing(database: DatabaseSettings) -> None:
    witnesses = LivenessProbe(database, None, SystemClock())
    with pool(database):
        assert witnesses.ask().evidence.vouches
    witnesses._server_started_at = datetime(2026, 1, 1, tzinfo=UTC)
    assert ask(witnesses) == (True, False, ("PostgreSQL has been restarted",))
    assert ask(witnesses) == (False, True, ("TeslaMate's database sessions are gone",))


def test_a_database_that_cannot_be_asked_says_nothing_and_keeps_the_last_word(database: DatabaseSettings) -> None:
    witnesses = LivenessProbe(database, None, SystemClock())
    with pool(database):
        assert witnesses.ask().evidence.vouches
    witnesses._database = database._replace(port=free_port())
    hearing = witnesses.ask()
    assert hearing.evidence.vouches
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
        vouches, gone, words = ask(LivenessProbe(database, url, SystemClock()))
    assert (vouches, gone) == (True, False)
    assert words == ("TeslaMate's database sessions are gone", "TeslaMate's web server answers")
