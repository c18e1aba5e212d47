"""What the simulated TeslaMate stores in its database: its cars, and a position whenever data of one came."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self

import psycopg2

from tests.soak.cars import SoakCar
from tests.soak.oracle import Diary, Record
from tests.support.surroundings import TeslaMate
from tmsync.demo.simulated_car import State

TABLES = """
create table public.positions (id serial primary key, date timestamp, ideal_battery_range_km numeric, car_id smallint,
  battery_level smallint);
grant usage on schema private to twc; grant select on all tables in schema public, private to twc;
"""
STAMP: Final = "%Y-%m-%d %H:%M:%S.%f"
EVERY_S: Final = 0.2
ONLINE_EVERY_S: Final = 300.0
"""As TeslaMate does for a car that only stands there. Source: TeslaMate lib/teslamate/vehicles/vehicle.ex."""

Fetched = tuple[int, State, float, datetime]
"""Car, its state, when its data came (seconds of running time), and the same by the clock."""


def enrol(teslamate: TeslaMate, diary: Diary, cars: Sequence[SoakCar]) -> None:
    """Put the cars into TeslaMate's database, each with a position."""
    at, moment = time.monotonic(), datetime.now(UTC)
    rows = "".join(
        f"insert into public.car_settings (id) values ({car.car_id});"
        "insert into public.cars (id, eid, vid, vin, name, settings_id)"
        f" values ({car.car_id}, {car.number}, {car.number}, '{car.vin}', '{car.name}', {car.car_id});"
        "insert into public.positions (date, ideal_battery_range_km, car_id)"
        f" values ('{moment:{STAMP}}', 300, {car.car_id});"
        for car in cars
    )
    teslamate.sql(f"set role teslamate; {TABLES} {rows}")
    for car in cars:
        diary.of(car.car_id).records.append(Record(at, moment, at, time.monotonic()))


class Records:
    """Writes what was fetched, from `with` on. One row a car: the newest is all that tmsync looks at."""

    def __init__(self, teslamate: TeslaMate, diary: Diary, fetched: deque[Fetched], speed: float) -> None:
        self._teslamate, self._diary, self._fetched, self._speed = teslamate, diary, fetched, speed
        self._newest: dict[int, tuple[State, float]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(10)

    def _run(self) -> None:
        session: Any = None
        waiting: dict[int, tuple[float, datetime]] = {}
        while not self._ended.wait(EVERY_S):
            while self._fetched:
                car_id, state, at, moment = self._fetched.popleft()
                if self._is_recorded(car_id, state, at):
                    waiting[car_id] = at, moment
            if not waiting:
                continue
            begin = time.monotonic()
            try:
                session = session or self._log_in()
                self._write(session, waiting)
            except psycopg2.Error:
                session = None
                continue
            end = time.monotonic()
            for car_id, (at, moment) in waiting.items():
                self._diary.cars[car_id].records.append(Record(at, moment, begin, end))
            waiting = {}
        if session is not None:
            session.close()

    def _is_recorded(self, car_id: int, state: State, at: float) -> bool:
        if state not in (State.ONLINE, State.CHARGING, State.DRIVING):
            self._newest[car_id] = state, 0.0
            return False
        before, moment = self._newest.get(car_id, (State.START, 0.0))
        if state is before is State.ONLINE and at < moment + ONLINE_EVERY_S / self._speed:
            return False
        self._newest[car_id] = state, at
        return True

    def _log_in(self) -> Any:
        postgres = self._teslamate.postgres
        session = psycopg2.connect(host=str(postgres.folder), port=postgres.port, dbname="teslamate", user="postgres")
        session.autocommit = True
        return session

    @staticmethod
    def _write(session: Any, waiting: dict[int, tuple[float, datetime]]) -> None:
        rows = ", ".join(f"({car_id}, timestamp '{moment:{STAMP}}')" for car_id, (_, moment) in waiting.items())
        with session.cursor() as cursor:
            cursor.execute(
                f"update public.positions p set date = v.date from (values {rows}) v (car_id, date)"
                " where p.car_id = v.car_id"
            )
