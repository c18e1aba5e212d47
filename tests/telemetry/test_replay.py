"""A recording of the genuine TeslaMate, replayed through a real Mosquitto: exactly what is true of it is told.

TMSYNC_TEST_TRACE=FILE replays a whole recording in place of the short form that stands here.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import psycopg2
import pytest

from tests.support.brokers import Broker, broker, needs_mosquitto
from tests.support.surroundings import PASSWORD, TeslaMate
from tests.telemetry.following import NOWHERE, default_rules
from tests.telemetry.recording import KILLED_AT, RESTARTED_AT, Said, short, whole
from tmsync.core.clock import SystemClock
from tmsync.core.config.load import load_settings
from tmsync.core.telemetry import judging, liveness, vehicle
from tmsync.core.telemetry.health import Rules, Source, Thresholds, Verdict
from tmsync.core.telemetry.liveness import LivenessProbe
from tmsync.core.telemetry.monitor import TelemetryMonitor

pytestmark = needs_mosquitto
SPEED: Final = 40.0
LATER_AT: Final = RESTARTED_AT + 60
"""When somebody connects who never saw a state."""
LASTS: Final = KILLED_AT + 960 + 100
SLACK: Final = 3 * SPEED
"""For this machine, a restart of the broker and the way there and back; in the recording's seconds."""
STALE_AFTER: Final = {1: 360, 3: 960, 4: 360, 6: 360}
"""The cars in states in which silence proves something, by what is known of each; seconds."""
LAST_HEARD: Final = {1: 732, 2: 692, 3: 163, 4: 758, 6: 573}
SILENT: Final = (2, 7, 8)
RECORDS: Final = """
set role teslamate;
create table public.states (id serial primary key, start_date timestamp, end_date timestamp, car_id int, state text);
create table public.drives (id serial primary key, start_date timestamp, end_date timestamp, car_id int);
create table public.charging_processes (id serial primary key, start_date timestamp, end_date timestamp, car_id int);
create table public.updates (id serial primary key, start_date timestamp, end_date timestamp, car_id int);
create table public.charges (id serial primary key, date timestamp, charging_process_id int, battery_level int);
create table public.positions (id serial primary key, date timestamp, car_id int, battery_level int,
  ideal_battery_range_km numeric);
insert into public.car_settings (id) select generate_series(1, 8);
insert into public.cars (id, eid, vid, vin, name, settings_id)
  select n, n, n, 'VIN' || n, 'Gen ' || n, n from generate_series(1, 8) n;
insert into public.states (start_date, car_id, state)
  select now() at time zone 'utc', n, case n when 1 then 'asleep' else 'online' end from generate_series(1, 8) n;
insert into public.drives (start_date, car_id) values (now() at time zone 'utc', 3);
insert into public.charging_processes (start_date, car_id) values (now() at time zone 'utc', 4);
insert into public.updates (start_date, car_id) values (now() at time zone 'utc', 8);
"""
NO_RECORDS: Final = """
drop table public.states, public.drives, public.charging_processes, public.updates, public.charges, public.positions;
delete from public.cars; delete from public.car_settings;
"""
STATEMENTS: Final = (
    'INSERT INTO "charges" ("battery_level","date") VALUES (60, \'2026-11-26\') RETURNING "id"',
    'INSERT INTO "positions" ("battery_level","date") VALUES (60, \'2026-11-26\') RETURNING "id"',
    'SELECT s0."id", s0."state" FROM "states" AS s0 WHERE (s0."car_id" = 1)',
)
"""What TeslaMate's library leaves in pg_stat_activity."""


@pytest.fixture
def faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that no setting shortens, but for what a message takes on its way: that is not sped up."""
    for module, names in (
        (judging, ("VOUCHED_S", "RECORDS_AHEAD_S", "NO_DATA_LASTS_S")),
        (liveness, ("SOON_S", "MISSING_S")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name) / SPEED)
    monkeypatch.setattr(liveness, "SERVER_START", timedelta(0))
    monkeypatch.setattr(vehicle, "BEATS_APART_S", tuple(seconds / SPEED for seconds in vehicle.BEATS_APART_S))


def rules() -> Rules:
    usual = default_rules()
    by_state = {state: Thresholds(*(span / SPEED for span in limits)) for state, limits in usual.by_state.items()}
    blind = {state: seconds / SPEED for state, seconds in usual.blind_after_s.items()}
    return Rules(by_state, usual.recover_after_s / SPEED, blind)


class Watcher:
    """Whoever watches: every verdict of every car, by the recording's time."""

    def __init__(self, stack: ExitStack, mosquitto: Broker, begun: float, probe: LivenessProbe | None) -> None:
        target = load_settings(environ={**NOWHERE, **mosquitto.environ()}).mqtt()
        options = {"probe": probe, "ask_every_s": liveness.EVERY_S / SPEED}
        self.monitor = stack.enter_context(TelemetryMonitor(target, rules(), SystemClock(), **options))
        self.begun = begun
        self.told: dict[int, list[tuple[float, Verdict]]] = {}
        self.sources: dict[int, list[Source]] = {}
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        for batch in self.monitor.batches(0.05, self.begun + LASTS / SPEED):
            at = (batch.now.running - self.begun) * SPEED
            for change in batch.sources:
                self.sources.setdefault(change.car_id, []).append(change.after)
            for car_id, verdict in self.monitor.fleet.verdicts().items():
                held = self.told.setdefault(car_id, [])
                if not held or held[-1][1] is not verdict:
                    held.append((at, verdict))

    def join(self) -> None:
        self._thread.join(LASTS / SPEED + 30)
        assert not self._thread.is_alive()

    def stale_at(self, car_id: int) -> float | None:
        """When the car was called stale for good."""
        at, verdict = self.told[car_id][-1]
        return at if verdict is Verdict.STALE else None

    def told_before(self, at: float, car_id: int) -> set[Verdict]:
        return {verdict for moment, verdict in self.told.get(car_id, []) if moment < at}


class Sessions:
    """TeslaMate's pool on its database, pinged as it pings."""

    def __init__(self, teslamate: TeslaMate) -> None:
        login = {"host": "127.0.0.1", "port": teslamate.postgres.port, "dbname": "teslamate", "user": "teslamate"}
        self._held: list[tuple[Any, str]] = []
        for statement in STATEMENTS:
            session = psycopg2.connect(**login, password=PASSWORD)
            session.autocommit = True
            self._held.append((session, statement))

    def ping(self) -> None:
        for session, statement in self._held:
            session.cursor().execute(statement)

    def close(self) -> None:
        for session, _ in self._held:
            session.close()


def replay(messages: list[Said], mosquitto: Broker, sessions: Sessions, begun: float) -> Iterator[float]:
    """Publish each in its time; gives that before each, in the recording's seconds."""
    restarted, pinged_at = False, -100.0
    for message in messages:
        yield message.at
        time.sleep(max(0.0, begun + message.at / SPEED - time.monotonic()))
        if not restarted and message.at >= RESTARTED_AT:
            restarted = True
            mosquitto.server.stop()
            mosquitto.server.start()
        if message.at - pinged_at > 2 * SPEED:
            pinged_at = message.at
            sessions.ping()
        retain = not message.topic.endswith("/healthy") or not message.payload
        mosquitto.publisher.client.publish(message.topic, message.payload, 1, retain)
    yield KILLED_AT
    time.sleep(max(0.0, begun + KILLED_AT / SPEED - time.monotonic()))
    sessions.close()


@pytest.mark.slow
def test_a_recording_of_the_genuine_teslamate_is_judged_as_is_true_of_it(teslamate: TeslaMate, faster: None) -> None:
    path = os.environ.get("TMSYNC_TEST_TRACE")
    messages = whole(Path(path)) if path else short()
    database = load_settings(environ={**NOWHERE, **teslamate.environ()}).database()
    teslamate.sql(RECORDS)
    try:
        with ExitStack() as stack:
            mosquitto = stack.enter_context(broker())
            mosquitto.publisher.client.reconnect_delay_set(1, 1)
            sessions = Sessions(teslamate)
            begun = time.monotonic() + 0.5
            watchers: dict[tuple[str, bool], Watcher] = {}

            def watch(name: str) -> None:
                for with_db in (False, True):
                    probe = LivenessProbe(database, None, SystemClock()) if with_db else None
                    watchers[name, with_db] = Watcher(stack, mosquitto, begun, probe)

            watch("first")
            for at in replay(messages, mosquitto, sessions, begun):
                if at >= LATER_AT and len(watchers) == 2:
                    watch("later")
            for watcher in watchers.values():
                watcher.join()
    finally:
        teslamate.sql(NO_RECORDS)
    for with_db in (False, True):
        first = watchers["first", with_db]
        before_the_end(first, with_db=with_db)
        after_the_end(first, with_db=with_db)
        for_who_came_later(watchers["later", with_db], with_db=with_db)


def before_the_end(first: Watcher, *, with_db: bool) -> None:
    assert set(first.told) == {1, 2, 3, 4, 6, 7, 8}, "of car 5 nothing is published"
    for car_id in (3, 4, 7, 8, *((1, 2) if with_db else ())):
        told = first.told_before(KILLED_AT, car_id)
        assert not told & {Verdict.STALE, Verdict.UNHEALTHY, Verdict.BLIND}, (car_id, with_db, first.told[car_id])
    assert Verdict.STALE not in first.told_before(KILLED_AT, 6), (with_db, first.told[6])
    ill = next(at for at, verdict in first.told[6] if verdict is Verdict.UNHEALTHY)
    well = next(at for at, verdict in first.told[6] if at > ill and verdict is not Verdict.UNHEALTHY)
    assert 152 <= ill <= 152 + SLACK
    assert 453 + 120 <= well <= 453 + 120 + SLACK


def after_the_end(first: Watcher, *, with_db: bool) -> None:
    for car_id, limit in STALE_AFTER.items():
        stale_at = first.stale_at(car_id)
        assert stale_at is not None, (car_id, with_db, first.told[car_id])
        assert KILLED_AT < stale_at <= max(KILLED_AT, LAST_HEARD[car_id] + limit) + SLACK, (car_id, with_db, stale_at)
    for car_id in SILENT:
        stale_at = first.stale_at(car_id)
        if with_db:
            assert stale_at is not None
            assert KILLED_AT < stale_at <= KILLED_AT + 95 + SLACK
        else:
            assert stale_at is None, (car_id, first.told[car_id])


def for_who_came_later(later: Watcher, *, with_db: bool) -> None:
    """The broker holds nothing but what has changed since; TeslaMate's death is told of all that were heard of."""
    assert set(later.told) == {1, 2, 4}
    for car_id in later.told:
        assert Verdict.STALE not in later.told_before(KILLED_AT, car_id), (car_id, with_db, later.told[car_id])
        stale_at = later.stale_at(car_id)
        if car_id == 2 and not with_db:
            assert stale_at is None
            continue
        assert stale_at is not None, (car_id, with_db, later.told[car_id])
        limit = {1: 360, 2: 95, 4: 360}[car_id] if with_db else 960
        assert KILLED_AT < stale_at <= KILLED_AT + limit + SLACK, (car_id, with_db, stale_at)
