"""`tmsync serve` between TWCManager itself and a stand-in for Tesla's API: who answers what, and what reaches Tesla.

TWCManager 1.3.2 always; master where TMSYNC_TEST_TWCMANAGER_MASTER names a checkout of its repository. Its clock runs
faster; what is wanted of it comes as the background tasks that its policies would queue.
"""

import gzip
import http.server
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.released.program import Program
from tests.support.brokers import Broker, broker, needs_mosquitto
from tests.support.cars import HOME, READS, Car, Tesla, Trouble, answers, send, tesla
from tests.support.surroundings import TeslaMate
from tests.telemetry.test_witness import TABLES
from tmsync.demo.server import free_port
from tmsync.demo.teslamate import access_token

PYTHON = os.environ.get("TMSYNC_TEST_TWCMANAGER", "")
if not PYTHON:
    pytest.skip("TWCManager itself: make test-twcmanager", allow_module_level=True)
MASTER = os.environ.get("TMSYNC_TEST_TWCMANAGER_MASTER", "")
pytestmark = needs_mosquitto

SPEED = 30.0
TEN_MINUTES_S = 600 / SPEED
VIN, OTHER_VIN = "5YJ3E7EA0KF000001", "5YJ3E7EA0KF000002"
STATES = ("online", "charging", "driving", "asleep", "offline")


def car(state: str, vin: str = VIN, number: int = 1) -> Car:
    """A car at home in that state of TeslaMate's."""
    match state:
        case "asleep" | "offline":
            return Car(vin, number=number, state=state, charging_state="Disconnected")
        case "driving":
            return Car(vin, number=number, charging_state="Disconnected", shift_state="D", place=(50.4, 8.0))
        case "charging":
            return Car(vin, number=number)
        case _:
            return Car(vin, number=number, charging_state="Complete")


class Life:
    """A TeslaMate that sees what is true of the stand-in's cars, and is logged in to its database, until it dies.

    forced: a state it tells in place of the true one, such as suspended.
    """

    def __init__(self, mosquitto: Broker, teslamate: TeslaMate, cars: list[Car]) -> None:
        self.mosquitto, self.teslamate, self.cars = mosquitto, teslamate, cars
        self.forced: str | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        self._session = self.teslamate.logged_in()
        self._session.__enter__()
        for one in self.cars:
            # Before serve looks at the database for the first time: it looks again after half a minute.
            self._tell(one)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    def die(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._session.__exit__(None, None, None)

    def _live(self) -> None:
        while not self._over.wait(0.5):
            for one in self.cars:
                self._tell(one)

    def _tell(self, one: Car) -> None:
        charging = one.charging_state == "Charging"
        true = (
            one.state
            if one.state != "online"
            else "charging"
            if charging
            else "driving"
            if one.shift_state
            else "online"
        )
        state = self.forced or true
        if state in ("online", "charging", "driving"):
            self.teslamate.sql(
                "insert into public.positions (date, car_id, battery_level)"
                f" values (now() at time zone 'utc', {one.number}, {one.battery_level})"
            )
        values = {
            "display_name": one.name,
            "state": state,
            "latitude": one.place[0],
            "longitude": one.place[1],
            "battery_level": one.battery_level,
            "charge_limit_soc": one.charge_limit_soc,
            "charging_state": one.charging_state,
            "plugged_in": str(one.charging_state != "Disconnected").lower(),
            "time_to_full_charge": "1.5" if charging else "",
            "charger_actual_current": "16" if charging else "",
            "charger_phases": "1" if charging else "",
            "charger_voltage": "230" if charging else "",
            "charger_power": "4" if charging else "",
            "shift_state": one.shift_state or "",
        }
        for key, value in values.items():
            self.mosquitto.publisher.client.publish(
                f"teslamate/cars/{one.number}/{key}", str(value), qos=1, retain=True
            )
        self.mosquitto.publisher.healthy(car_id=one.number)


class Facade:
    """`tmsync serve` as a process."""

    def __init__(self, environ: dict[str, str], log: Path) -> None:
        self.environ, self.log = environ, log
        self.url = f"http://{environ['TMSYNC_SERVE_LISTEN']}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tmsync", "serve"], env=self.environ, stdout=log, stderr=log, cwd="/"
            )
        eventually(lambda: self._get("/healthz")[0] == 200, "serve does not answer")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(20)
            self._process = None

    def _get(self, path: str, bearer: str = "") -> tuple[int, str, str]:
        request = urllib.request.Request(f"{self.url}{path}", headers={"Authorization": f"Bearer {bearer}"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers.get("X-Tmsync-Source", ""), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers.get("X-Tmsync-Source", ""), ""
        except OSError:
            return 0, "", ""

    def source(self, bearer: str, vin: str = VIN) -> str:
        """Who answers for a car now."""
        return self._get(f"/api/1/vehicles/{vin}", bearer)[1]

    def counts(self) -> dict[tuple[str, str], int]:
        """Path and source -> answered requests, by its own metrics."""
        found: dict[tuple[str, str], int] = {}
        for line in self._get("/metrics")[2].splitlines():
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            if line.startswith("tmsync_api_requests_total{"):
                key = labels["path"], labels["source"]
                found[key] = found.get(key, 0) + int(float(line.rpartition(" ")[2]))
        return found


def eventually(is_so: Callable[[], object], words: str, seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, words
        time.sleep(0.1)


class Scene:
    """Everything together."""

    def __init__(self, api: Tesla, life: Life, facade: Facade, program: Program, teslamate: TeslaMate) -> None:
        self.api, self.life, self.facade, self.program, self.teslamate = api, life, facade, program, teslamate

    def reads(self) -> list[str]:
        return [kind for kind in self.api.kinds() if kind in READS]

    def trusted(self, vin: str = VIN) -> None:
        eventually(lambda: self.facade.source(self.teslamate.access, vin) == "teslamate", "TeslaMate is not trusted")

    def distrusted(self, vin: str = VIN) -> None:
        eventually(
            lambda: self.facade.source(self.teslamate.access, vin) != "teslamate", "TeslaMate is still trusted", 120
        )

    def want(self, wanted: list[tuple[str, str]], seconds: float = 60, every: float = 2.5, **task: Any) -> None:
        """Queue the task, again each time its own limits have let it go by, until the commands have reached Tesla."""
        deadline = time.monotonic() + seconds
        while self.api.commands() != wanted:
            assert time.monotonic() < deadline, (self.api.kinds(), self.facade.counts())
            self.program.task(**task)
            again = time.monotonic() + every
            while self.api.commands() != wanted and time.monotonic() < again:
                time.sleep(0.1)

    def live(self, seconds: float) -> None:
        """Let TWCManager look after its vehicles, without a wish."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.program.task(cmd="checkArrival")
            self.program.task(cmd="checkCharge")
            time.sleep(1)

    def no_more(self, wanted: list[tuple[str, str]], seconds: float = 4) -> None:
        time.sleep(seconds)
        assert self.api.commands() == wanted


VERSIONS = ["", *([str(Path(MASTER) / "lib")] if MASTER else [])]


@contextmanager
def scene(tmp_path: Path, teslamate: TeslaMate, lib: str, *cars: Car) -> Iterator[Scene]:
    teslamate.sql(f"set role teslamate; {TABLES} delete from public.cars; delete from public.car_settings")
    for one in cars:
        teslamate.sql(
            f"insert into public.car_settings (id) values ({one.number});"
            "insert into public.cars (id, eid, vid, vin, name, settings_id)"
            f" values ({one.number}, {one.number}, {one.number}, '{one.vin}', '{one.name}', {one.number})"
        )
    folder = tmp_path / "twcmanager"
    folder.mkdir()
    with tesla(*cars) as api, broker() as mosquitto:
        port = free_port()
        program = Program(PYTHON, folder, port, lib=lib, speed=SPEED)
        settings = {
            "carApiBearerToken": teslamate.access,
            "carApiRefreshToken": "",
            "carApiTokenExpireTime": int(time.time()) + 40 * 86400,
            "homeLat": HOME[0],
            "homeLon": HOME[1],
        }
        program.settings.write_text(json.dumps(settings))
        environ = teslamate.environ(
            **mosquitto.environ(),
            PATH=os.environ["PATH"],
            HOME=str(tmp_path),
            TMSYNC_SERVE_LISTEN=f"127.0.0.1:{port}",
            TMSYNC_SERVE_UPSTREAM=api.url,
            TMSYNC_SERVE_STATE_DIR=str(tmp_path / "state"),
            TMSYNC_TWCMANAGER_CONFIG_FILE=str(program.config),
            TMSYNC_TWCMANAGER_SETTINGS_FILE=str(program.settings),
            TMSYNC_HEALTH_RECOVER_AFTER="2",
            **{f"TMSYNC_HEALTH_LATE_AFTER_{state.upper()}": "6" for state in STATES},
            **{f"TMSYNC_HEALTH_STALE_AFTER_{state.upper()}": "9" for state in (*STATES, "suspended", "updating")},
        )
        (tmp_path / "state").mkdir(mode=0o700)
        facade = Facade(environ, tmp_path / "serve.log")
        life = Life(mosquitto, teslamate, list(cars))
        try:
            life.begin()
            facade.start()
            found = Scene(api, life, facade, program, teslamate)
            for one in cars:
                found.trusted(one.vin)
            api.forget()
            program.start(ready=False)
            eventually(lambda: len(program.beliefs()) == len(cars), "TWCManager does not learn of its vehicles")
            yield found
        finally:
            program.stop(signal.SIGKILL)
            facade.stop()
            life.die()


@pytest.fixture(params=VERSIONS, ids=lambda lib: "master" if lib else "1.3.2")
def lib(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("state", STATES)
def test_while_teslamate_is_trusted_tesla_is_asked_for_the_list_alone(
    tmp_path: Path, teslamate: TeslaMate, lib: str, state: str
) -> None:
    with scene(tmp_path, teslamate, lib, car(state)) as it:
        it.live(TEN_MINUTES_S)
        assert it.api.kinds() == ["list"]
        counts = it.facade.counts()
        assert counts["vehicles", "tesla"] == 1
        assert counts["vehicle", "teslamate"] > 0
        if state not in ("asleep", "offline"):
            assert counts["vehicle_data", "teslamate"] > 0


def test_after_a_stop_tesla_is_asked_once_what_came_of_it_and_once_for_the_schedule(
    tmp_path: Path, teslamate: TeslaMate, lib: str
) -> None:
    with scene(tmp_path, teslamate, lib, car("charging")) as it:
        it.want([("charge_stop", VIN)], cmd="charge", charge=False)
        it.live(TEN_MINUTES_S)
        assert it.api.commands() == [("charge_stop", VIN)]
        assert it.api.kinds().count("vehicle_data") <= 2
        assert it.facade.counts()["charge_stop", "tesla"] == 1
        it.life.cars[0].charging_state = "Charging"
        it.trusted()
        it.api.forget()
        it.live(TEN_MINUTES_S / 2)
        assert it.api.kinds() == []


@pytest.mark.parametrize("state", [*STATES, "suspended", "updating"])
def test_after_teslamates_death_the_truth_is_told_and_a_stop_reaches_the_car(
    tmp_path: Path, teslamate: TeslaMate, lib: str, state: str
) -> None:
    true = car(state)
    with scene(tmp_path, teslamate, lib, true) as it:
        if state in ("suspended", "updating"):
            it.life.forced = state
        time.sleep(2)
        it.life.die()
        true.state, true.charging_state, true.shift_state, true.place = "online", "Charging", None, HOME
        it.distrusted()
        it.api.forget()
        it.want([("charge_stop", VIN)], cmd="charge", charge=False)
        assert true.charging_state == "Stopped"
        assert "state" in it.api.kinds() or "vehicle_data" in it.api.kinds()
        it.no_more([("charge_stop", VIN)])
        true.charging_state = "Charging"
        it.life.forced = None
        it.life.begin()
        it.trusted()
        it.api.forget()
        it.live(5)
        assert it.api.kinds() == []


def reset(handler: http.server.BaseHTTPRequestHandler) -> bool:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    return True


def stalled(_: http.server.BaseHTTPRequestHandler) -> bool:
    time.sleep(40)
    return True


def gzipped(handler: http.server.BaseHTTPRequestHandler) -> bool:
    body = gzip.compress(json.dumps({"response": {"id": 1, "vin": VIN, "state": "online"}}).encode())
    send(handler, 200, body, {"Content_Encoding": "gzip"})
    return True


TROUBLES: dict[str, Trouble] = {
    "401": answers(401, {"response": None, "error": "token expired (401)"}),
    "403": answers(403, {"response": None, "error": "forbidden"}),
    "408": answers(408, {"response": None, "error": 'vehicle unavailable: {:error=>"vehicle unavailable:"}'}),
    "412": answers(412, {"response": None, "error": "not registered in the current region"}),
    "421": answers(421, {"response": None, "error": "user out of region"}),
    "429": answers(429, {"response": None, "error": "too many requests"}, Retry_After="3"),
    "500": answers(500, b"upstream internal error"),
    "reset": reset,
    "stall": stalled,
    "gzip": gzipped,
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_stop_reaches_the_car_once_after_trouble_with_tesla(
    tmp_path: Path, teslamate: TeslaMate, lib: str, trouble: str
) -> None:
    with scene(tmp_path, teslamate, lib, car("charging")) as it:
        it.life.die()
        it.distrusted()
        it.api.trouble = dict.fromkeys(("state", "vehicle_data"), TROUBLES[trouble])
        it.api.forget()
        it.program.task(cmd="charge", charge=False)
        eventually(it.reads, "nothing was forwarded")
        time.sleep(1)
        it.api.trouble = {}
        if trouble == "401":
            # What Tesla refused twice goes up no more: TeslaMate has to bring another token.
            teslamate.store(access_token(datetime.now(UTC) + timedelta(hours=8)))
        it.want([("charge_stop", VIN)], seconds=150, cmd="charge", charge=False)
        it.no_more([("charge_stop", VIN)])


def test_rotated_tokens_reach_twcmanager_and_tesla(tmp_path: Path, teslamate: TeslaMate, lib: str) -> None:
    with scene(tmp_path, teslamate, lib, car("charging")) as it:
        before = teslamate.access
        teslamate.store(access_token(datetime.now(UTC) + timedelta(hours=8)))
        eventually(lambda: it.program.read()["carApiBearerToken"] == teslamate.access, "not delivered")
        it.life.die()
        it.distrusted()
        it.want([("charge_stop", VIN)], cmd="charge", charge=False)
        assert {call.token for call in it.api.calls if call.kind == "charge_stop"} == {teslamate.access}
        assert it.facade.source(before) != ""


def test_serve_killed_and_restarted_loses_no_command(tmp_path: Path, teslamate: TeslaMate, lib: str) -> None:
    with scene(tmp_path, teslamate, lib, car("charging")) as it:
        it.facade.stop(signal.SIGKILL)
        it.program.task(cmd="charge", charge=False)
        time.sleep(2)
        it.facade.start()
        it.trusted()
        it.want([("charge_stop", VIN)], cmd="charge", charge=False)
        it.no_more([("charge_stop", VIN)])


def test_two_cars_of_one_name_each_get_their_own_command_once(tmp_path: Path, teslamate: TeslaMate, lib: str) -> None:
    with scene(tmp_path, teslamate, lib, car("charging"), car("charging", OTHER_VIN, 2)) as it:
        it.want([("charge_stop", VIN), ("charge_stop", OTHER_VIN)], cmd="charge", charge=False)
        it.no_more([("charge_stop", VIN), ("charge_stop", OTHER_VIN)])


def test_a_car_is_woken_and_started_once(tmp_path: Path, teslamate: TeslaMate, lib: str) -> None:
    asleep = car("asleep")
    asleep.charging_state = "Stopped"
    with scene(tmp_path, teslamate, lib, asleep) as it:
        wanted = [("wake_up", VIN), ("charge_start", VIN)]
        it.want(wanted, seconds=120, cmd="charge", charge=True)
        it.no_more(wanted)
        assert asleep.charging_state == "Charging"


def test_a_wake_up_that_tesla_limits_keeps_no_stop_from_the_car(tmp_path: Path, teslamate: TeslaMate, lib: str) -> None:
    """Told of the 429, master would refuse the car for ten minutes and call the stop done."""
    sleepy = car("asleep")
    sleepy.charging_state = "Stopped"
    with scene(tmp_path, teslamate, lib, sleepy) as it:
        it.api.trouble = {"wake_up": TROUBLES["429"]}
        it.want([("wake_up", VIN)], seconds=120, cmd="charge", charge=True)
        it.api.trouble = {}
        sleepy.state, sleepy.charging_state = "online", "Charging"
        wanted = [("wake_up", VIN), ("charge_stop", VIN)]
        it.want(wanted, seconds=TEN_MINUTES_S / 2, cmd="charge", charge=False)
        it.no_more(wanted)


def test_a_changed_limit_reaches_the_car_once_and_is_then_seen(tmp_path: Path, teslamate: TeslaMate, lib: str) -> None:
    with scene(tmp_path, teslamate, lib, car("charging")) as it:
        # Its own policy applies another limit, none, all the time, and one a minute is taken.
        it.want([("set_charge_limit", VIN)], every=0.2, cmd="applyChargeLimit", limit=70)
        it.no_more([("set_charge_limit", VIN)])
        eventually(lambda: it.program.beliefs()[0]["chargeLimit"] == 70, "TWCManager does not see the new limit")


def test_a_start_against_the_cars_own_schedule_is_left_to_the_car(
    tmp_path: Path, teslamate: TeslaMate, lib: str
) -> None:
    waiting = car("online")
    waiting.charging_state, waiting.scheduled = "Stopped", True
    with scene(tmp_path, teslamate, lib, waiting) as it:
        if not lib:
            # 1.3.2 knows no schedule, whoever answers.
            it.want([("charge_start", VIN)], cmd="charge", charge=True)
            return
        for _ in range(5):
            it.program.task(cmd="charge", charge=True)
            time.sleep(2.5)
        assert it.api.commands() == []
        assert it.reads().count("vehicle_data") == 1
