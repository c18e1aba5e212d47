"""The facade on loopback: a fleet that is told what TeslaMate says around it, a stand-in for Tesla behind it."""

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.tesla import EID, VIN, Tesla, tesla
from tests.telemetry.following import default_rules
from tmsync.core.causes import Cause
from tmsync.core.clock import Instant
from tmsync.core.secret import Secret
from tmsync.core.serve.facade import Facade
from tmsync.core.serve.ports import Credential, FacadeOptions, Page, Ports, RaisedProblem, Request, Standing
from tmsync.core.telemetry.fleet import Fleet
from tmsync.core.telemetry.liveness import LivenessReport
from tmsync.core.telemetry.views import VehicleView
from tmsync.core.teslamate.claims import Api, Claims
from tmsync.core.teslamate.records import CarRecord

BEGIN = datetime(2026, 11, 24, 18, tzinfo=UTC)
BEARER = "callers-own-bearer"
DATA = f"/api/1/vehicles/{VIN}/vehicle_data?endpoints=location_data%3Bcharge_state%3Bdrive_state"
STATE = f"/api/1/vehicles/{VIN}"
LIST = "/api/1/vehicles"
COMMAND = f"/api/1/vehicles/{VIN}/command/"
FLEET_CLAIMS = Claims(None, ("https://fleet-api.prd.eu.vn.cloud.tesla.com",), "EU", Api.FLEET)
OWNER_CLAIMS = Claims(None, ("https://owner-api.teslamotors.com/",), "EU", Api.OWNER)
ONLINE = {
    "display_name": "Blue", "state": "online", "latitude": "52.5", "longitude": "13.25", "charge_limit_soc": "80",
    "battery_level": "63", "charging_state": "Disconnected", "shift_state": "", "time_to_full_charge": "",
}  # fmt: skip
CHARGING = {
    **ONLINE, "state": "charging", "charging_state": "Charging", "time_to_full_charge": "1.5",
    "charger_actual_current": "16", "charger_phases": "3", "charger_power": "11", "charger_voltage": "230",
}  # fmt: skip


class Told(NamedTuple):
    """An answer as the caller sees it."""

    status: int
    source: str
    document: Any
    age: int
    headers: dict[str, str]


class Stage:
    """All that surrounds the facade; its clock stands still but for `wait`."""

    def __init__(self, api: Tesla, options: FacadeOptions) -> None:
        self.api = api
        self.options = options
        self.running = 1000.0
        self.fleet = Fleet("", default_rules())
        self.fleet.connected(self.running)
        self.record = CarRecord(
            1, "Blue", VIN, 21, use_streaming_api=True, enabled=True, last_record_at=BEGIN, eid=EID, position_at=BEGIN,
            pilot_current=32,
        )  # fmt: skip
        self.report = LivenessReport()
        self.token: str | None = "teslas-first-token"
        self.claims = FLEET_CLAIMS
        self.renewed: list[str] = []
        self.standing = Standing.KNOWN
        self.events: list[tuple[str, Cause]] = []
        self.requests: list[Request] = []
        self.port = 0
        self.facade: Facade | None = None
        self.read_database()

    # -- what the facade asks

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.running - 1000)

    def monotonic(self) -> float:
        return self.running

    def sleep(self, _seconds: float) -> None:
        raise AssertionError

    def view(self, car_id: int, now: Instant) -> VehicleView | None:
        return self.fleet.view(car_id, now)

    def records(self) -> LivenessReport:
        return self.report

    def current(self) -> Credential | None:
        return None if self.token is None else Credential(Secret(self.token), self.claims)

    async def reread(self) -> Credential | None:
        if self.renewed:
            self.token = self.renewed.pop(0)
        return self.current()

    def check(self, bearer: str) -> Standing:
        return self.standing if bearer == BEARER or self.standing is Standing.UNDECIDED else Standing.UNKNOWN

    def page(self, path: str, *, known: bool) -> Page | None:
        return Page(200, "text/plain", b"known" if known else b"anybody") if path == "/healthz" else None

    def raised(self, _at: datetime, raised: RaisedProblem) -> None:
        self.events.append(("critical" if raised.critical else "warning", raised.problem.cause))

    def cleared(self, _at: datetime, cause: Cause) -> None:
        self.events.append(("cleared", cause))

    def answered(self, request: Request) -> None:
        self.requests.append(request)

    # -- what happens

    def says(self, *, retained: bool = False, **values: str) -> None:
        """TeslaMate publishes a summary."""
        for key, value in {**values, "healthy": "true"}.items():
            self.fleet.message(f"teslamate/cars/1/{key}", value.encode(), self.running, retained=retained)
        self.fleet.changes(Instant.of(self))

    def wait(self, seconds: float, *, heartbeat: float = 0) -> None:
        until = self.running + seconds
        while heartbeat and self.running + heartbeat <= until:
            self.running += heartbeat
            self.says()
        self.running = until

    def read_database(self, *, position_at: datetime | None = None) -> None:
        """The database is asked; its clock is right."""
        if position_at is not None:
            self.record = self.record._replace(position_at=position_at, last_record_at=position_at)
        self.report = LivenessReport(
            cars={1: self.record}, database_at=self.now(), asked_at=self.running, read_at=self.running
        )
        self.fleet.hear(self.report)

    def teslamate_sees(self, **values: str) -> None:
        """Data comes from Tesla: a summary and a record, read by us a second later."""
        self.says(**values)
        self.read_database(position_at=self.now())
        self.wait(1.5)

    def ask(self, target: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Told:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, target, body, {"Authorization": f"Bearer {BEARER}", **given})
            answer = connection.getresponse()
            content = answer.read()
            found = {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()
        document = json.loads(content) if "json" in found.get("content-type", "") else content
        source = found.get("x-tmsync-source", "")
        return Told(answer.status, source, document, int(found.get("x-tmsync-age", "-1")), found)

    def post(self, command: str, **body: object) -> Told:
        text = json.dumps(body).encode() if body else None
        target = STATE + "/wake_up" if command == "wake_up" else COMMAND + command
        return self.ask(target, "POST", text, Content_Type="application/json")


@contextmanager
def serving(stage: Stage, before: Facade | None = None) -> Iterator[None]:
    """The facade in a loop and a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> Facade:
        facade = Facade(stage.options, Ports(stage, stage, stage, stage, stage, stage, stage), before)
        sock = socket.create_server(("127.0.0.1", 0))
        stage.port = sock.getsockname()[1]
        await facade.start([sock])
        return facade

    outer = stage.port, stage.facade
    stage.facade = facade = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(facade.stop(), loop).result(20)
        stage.port, stage.facade = outer
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextmanager
def staged(state_dir: Path | None = None, **options: Any) -> Iterator[Stage]:
    """Tesla, the facade, and a car that is online and trusted."""
    with tesla() as api:
        stage = Stage(api, FacadeOptions(upstream=api.url, state_dir=state_dir, **options))
        stage.says(**ONLINE)
        with serving(stage):
            yield stage
