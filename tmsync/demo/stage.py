"""The demo's surroundings: PostgreSQL, a broker, a simulated TeslaMate with six cars, a stand-in for TWCManager."""

import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from tmsync.core.causes import Cause
from tmsync.core.config.schema import LATE_AFTER_S, STALE_AFTER_S
from tmsync.core.fixes import problem
from tmsync.demo.broker import PrivateMosquitto, PurePythonBroker, private_broker
from tmsync.demo.postgres import PrivatePostgres, find_binaries
from tmsync.demo.server import DemoError, free_port
from tmsync.demo.simulator import Phase, SimulatedCar, SimulatedTeslaMate, State
from tmsync.demo.tesla import TeslaApi
from tmsync.demo.teslamate import TABLES, DatabaseSession, access_token, refresh_token, sealed, token_row, token_table
from tmsync.demo.twcmanager import StandIn

if TYPE_CHECKING:
    from tmsync.demo.pacer import Pacer

SHUT: Final = "local all all trust\nhost postgres postgres 127.0.0.1/32 scram-sha-256\n"
"""A pg_hba.conf as many find theirs: nothing in it for the host that TWCManager runs on."""
SPEED: Final = 30
"""Simulated seconds in each second while the story lasts; the thresholds of its configuration shrink by as much."""
STORY_S: Final = 60
"""About how long the story takes: the simulated clock begins so much earlier that it never passes the real one."""
SILENT, FAILING = 5, 6
"""The car that falls silent, and the one whose API calls fail."""
CHARGING: Final = 1
"""The car that charges while TeslaMate dies."""
HASTE: Final = {"late_after": 2, "stale_after": 6}
"""The thresholds for that, in seconds for all states: at the demo's speed a heartbeat is never so late."""
READER: Final = "tmsync"
GRANTS: Final = f"""
grant usage on schema private to {READER}; grant select on private.tokens to {READER};
grant select on public.cars, public.car_settings, public.states, public.positions to {READER};
"""
_LONG: Final = timedelta(days=30)


def _car(car_id: int, name: str, state: State) -> SimulatedCar:
    return SimulatedCar(car_id, name, (Phase(state, _LONG),))


CARS: Final = (
    _car(CHARGING, "Blue", State.CHARGING),
    _car(2, "Red", State.DRIVING),
    _car(3, "White", State.ASLEEP),
    _car(4, "Black", State.SUSPENDED),
    _car(SILENT, "Silver", State.ONLINE),
    _car(FAILING, "Green", State.ONLINE),
)
MORE_TABLES: Final = """
create table public.drives (
  id serial primary key, start_date timestamp not null, end_date timestamp,
  car_id smallint not null references public.cars (id)
);
create table public.charging_processes (
  id serial primary key, start_date timestamp not null, end_date timestamp,
  car_id smallint not null references public.cars (id)
);
create table public.states (
  id serial primary key, state text not null, start_date timestamp not null, end_date timestamp,
  car_id smallint not null references public.cars (id)
);
create table public.positions (
  id serial primary key, date timestamp not null, battery_level smallint, ideal_battery_range_km numeric(6, 2),
  car_id smallint not null references public.cars (id)
);
"""
_NOW: Final = "now() at time zone 'utc'"
_BEGAN: Final = f"{_NOW} - interval '{SPEED * STORY_S} s'"
"""Before the simulated clock began, from which what is published counts: a role that sees no open charge must not find
its car online since a later time than the broker has it charging."""
_ADD_CAR: Final = """
insert into public.car_settings (id) values ({id});
insert into public.cars (id, eid, vid, vin, name, model, settings_id)
values ({id}, {id}, {id}, '{vin}', '{name}', '3', {id});
insert into public.states (state, start_date, car_id) values ('{recorded}', {begun}, {id});
insert into public.positions (date, car_id) values (now() at time zone 'utc', {id});
"""
_OPEN: Final = "insert into public.{table} (start_date, car_id) values ({begun}, {id});"
_OPEN_IN: Final = {State.CHARGING: "charging_processes", State.DRIVING: "drives"}
"""Where TeslaMate has an open row of a car in that state; its `states` know no more than online, asleep and offline."""


class Stage:
    """Everything that runs; as a context manager it is up inside, and gone without trace after.

    tell: told in a line each what is used. now: UTC.
    """

    pacer: "Pacer"

    def __init__(self, tell: Callable[[str], None], now: datetime) -> None:
        self._tell = tell
        self._now = now
        self._password = secrets.token_urlsafe(12)
        self._key = secrets.token_urlsafe(48)
        self._stack = ExitStack()
        self._let_in: list[str] = []
        self._session = ExitStack()
        """TeslaMate's, with the database."""
        self._listen = f"127.0.0.1:{free_port()}"

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def let_in(self, line: str) -> None:
        """Put `line` into the server's pg_hba.conf, and reload."""
        self._let_in.append(line)
        self.postgres.write_hba("\n".join([*self._let_in, SHUT]))
        self.postgres.reload()

    def begin_troubles(self) -> None:
        """Tesla's API wants no request of one car for a while; another one's API calls fail.

        Not before TeslaMate has told of each once: tmsync is there sooner.
        """
        while not self._has_told_all():
            time.sleep(0.1)
        with self.pacer.steering() as teslamate:
            teslamate.rate_limited(SILENT, 14 * SPEED)
            teslamate.api_outage(FAILING, timedelta(seconds=150))

    def _has_told_all(self) -> bool:
        with self.pacer.steering() as teslamate:
            return teslamate.has_told_all

    def end_troubles(self) -> None:
        """All cars are well again."""
        with self.pacer.steering() as teslamate:
            teslamate.resume(SILENT)
            teslamate.api_recovers()

    def begin_service(self) -> TeslaApi:
        """A stand-in for Tesla's API; and the settings for `tmsync serve` in front of it."""
        api = self._stack.enter_context(TeslaApi(vin(CHARGING), self._truth))
        # A role of its own does not see TeslaMate's sessions, and need not: what it is silent about decides.
        self.postgres.sql(f"create role {READER} login password '{self._password}'")
        self.postgres.sql(GRANTS, "teslamate")
        self.let_in(f"host teslamate {READER} 127.0.0.1/32 scram-sha-256")
        self._configure(shrink=SPEED, upstream=api.url)
        return api

    def kill_teslamate(self) -> None:
        """It is gone without a word; and the car that charged is unplugged, and drives off."""
        self._session.close()
        with self.pacer.steering() as teslamate:
            teslamate.die()
            teslamate.force(CHARGING, State.DRIVING)

    def start_teslamate(self) -> None:
        """It is there again, and finds the car driving; the charge was never closed."""
        self._log_in()
        self.postgres.sql(_OPEN.format(table="drives", id=CHARGING, begun=_NOW), "teslamate")
        with self.pacer.steering() as teslamate:
            teslamate.start_again()

    def slow_down(self) -> None:
        """From now on at the pace of a real TeslaMate, with the usual thresholds."""
        self.pacer.stop()
        self.pacer.speed = 1.0
        self.pacer.start()
        self._configure(shrink=1)

    # -- inside

    def _truth(self) -> dict[str, str | None]:
        with self.pacer.steering() as teslamate:
            return teslamate.truth(CHARGING)

    def _log_in(self) -> None:
        place = {"host": str(self.postgres.folder), "port": self.postgres.port}
        self._session.enter_context(DatabaseSession(**place))

    def _build(self) -> None:
        from tmsync.demo.pacer import Pacer

        binaries = next(find_binaries(), None)
        if binaries is None:
            raise DemoError(problem(Cause.INTERNAL, "no PostgreSQL server to run the demo on", variant="demo-postgres"))
        folder = self.folder = self._stack.enter_context(_temporary_folder())
        # The servers' users must reach their own folders through ours.
        folder.chmod(0o711)
        self._tell(f"Everything is in {folder}, and removed at the end.")
        self._tell(f"- PostgreSQL {binaries.version} ({binaries.origin})")
        self.postgres = self._stack.enter_context(PrivatePostgres(binaries, _folder(folder, "postgresql")))
        self._fill()
        broker: PrivateMosquitto | PurePythonBroker = private_broker(_folder(folder, "broker"))
        self._tell(f"- MQTT broker: {broker.origin}")
        self._port = self._stack.enter_context(broker).port
        teslamate = SimulatedTeslaMate(CARS, self._now - timedelta(seconds=(SPEED - 1) * STORY_S))
        self._tell(f"- a simulated TeslaMate with {len(CARS)} cars, {SPEED} times as fast as life")
        self.pacer = self._stack.enter_context(Pacer(teslamate, broker.port, speed=SPEED))
        self.twcmanager = self._stack.enter_context(StandIn(_folder(folder, "twcmanager"), f"http://{self._listen}"))
        self._tell("- a stand-in for TWCManager with its web control")
        self.config = folder / "config.toml"
        self._configure(shrink=SPEED)

    def _fill(self) -> None:
        access = access_token(self._now + timedelta(hours=7, minutes=46))
        postgres = self.postgres
        postgres.sql(f"create role teslamate login password '{self._password}'")
        postgres.sql("create database teslamate owner teslamate")
        cars = "".join(map(_records, CARS))
        row = token_row(sealed(access, self._key), sealed(refresh_token(), self._key))
        postgres.sql(f"set role teslamate; {TABLES} {MORE_TABLES} {token_table()} {cars} {row}", "teslamate")
        postgres.write_hba(SHUT)
        postgres.reload()
        self._stack.enter_context(self._session)
        self._log_in()

    def _configure(self, shrink: int, upstream: str = "") -> None:
        lines = [
            f'[database]\nhost = "127.0.0.1"\nport = {self.postgres.port}\npassword = "{self._password}"\n',
            f'[teslamate]\nencryption_key = "{self._key}"\n',
            f'[mqtt]\nhost = "127.0.0.1"\nport = {self._port}\n',
            f'[twcmanager]\nconfig_file = "{self.twcmanager.config_file}"\n',
        ]
        if shrink != 1:
            for group, table in (("late_after", LATE_AFTER_S), ("stale_after", STALE_AFTER_S)):
                shrunk = {state: HASTE[group] if upstream else seconds / shrink for state, seconds in table.items()}
                entries = "".join(f"{state} = {seconds:g}\n" for state, seconds in shrunk.items())
                lines.append(f"[health.{group}]\n{entries}")
            lines.insert(4, f"[health]\nrecover_after = {120 / shrink:g}\n")
        if upstream:
            state = self.folder / "state"
            lines[0] += f'user = "{READER}"\n'
            lines.append(f'[serve]\nlisten = "{self._listen}"\nupstream = "{upstream}"\nstate_dir = "{state}"\n')
        self.config.touch(mode=0o600)
        self.config.write_text("\n".join(lines), "utf-8")


def vin(car_id: int) -> str:
    """A car's vehicle identification number."""
    return f"5YJ3E7EA0KF00000{car_id}"


def _records(car: SimulatedCar) -> str:
    """The statements that TeslaMate's database holds of a car what the broker does."""
    state = car.phases[0].state
    recorded = state if state in (State.ASLEEP, State.OFFLINE) else State.ONLINE
    added = _ADD_CAR.format(id=car.car_id, name=car.name, vin=vin(car.car_id), recorded=recorded, begun=_BEGAN)
    return added + (_OPEN.format(table=_OPEN_IN[state], id=car.car_id, begun=_BEGAN) if state in _OPEN_IN else "")


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir(mode=0o700)
    return folder


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tmsync-demo-"))
    try:
        yield folder
    finally:
        for _ in range(20):
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
            # A server that was just stopped may still be putting its last files away.
            time.sleep(0.1)
