"""A small world around the facade, on a clock of its own: a car, TeslaMate, a broker, a database, Tesla's API.

It knows the truth at every moment, and so what an answer may say.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from tests.serve.stage import BEGIN, DATA, FLEET_CLAIMS, STATE
from tests.support.tesla import EID, VIN
from tests.telemetry.following import default_rules
from tmsync.core.causes import Cause
from tmsync.core.clock import Instant
from tmsync.core.secret import Secret
from tmsync.core.serve.decide import Answer
from tmsync.core.serve.forward import Forwarder
from tmsync.core.serve.limits import Limits
from tmsync.core.serve.memory import Memory
from tmsync.core.serve.ports import Credential, FacadeOptions, Ports, RaisedProblem
from tmsync.core.serve.problems import OpenProblems
from tmsync.core.serve.replies import Reply
from tmsync.core.serve.request import ApiRequest, Grammar, Kind
from tmsync.core.serve.upstream import Unreachable
from tmsync.core.telemetry.fleet import Fleet
from tmsync.core.telemetry.liveness import LivenessReport
from tmsync.core.telemetry.recorded import RECORDED_AS
from tmsync.core.telemetry.views import VehicleView
from tmsync.core.teslamate.records import CarRecord

STEP_S = 0.5
SLACK_S = 2.0


class Summary(NamedTuple):
    """What TeslaMate said, when it published that, and when the car was so."""

    published_at: float
    sampled_at: float
    values: Mapping[str, str | None]


class World:
    """See the module. folder: what outlives the facade."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running = 10_000.0
        self.loop = asyncio.new_event_loop()
        self.truth: dict[str, str | None] = {
            "state": "online", "charging_state": "Complete", "charge_limit_soc": "80", "battery_level": "60",
            "latitude": "52.5", "longitude": "13.25", "shift_state": None, "display_name": "Blue",
        }  # fmt: skip
        self.pace_s = 15.0
        self.latency_s = 1.0
        self.alive = True
        self.broker_up = True
        self.connected = True
        self.saved: dict[str, bytes] = {}
        self.unheard: set[str] = set()
        """The topics of which TeslaMate has said what we have not heard, nor the broker written down, since."""
        self.tesla = "answers"
        self.database_up = True
        self.retained: dict[str, bytes] = {}
        self.published: dict[str, str | None] = {}
        """What TeslaMate knows the broker to have taken."""
        self.on_its_way: list[Summary] = []
        self.summaries: list[Summary] = []
        self.commanded_at: list[float] = []
        self.obeyed = 0
        self.next_sample = self.running
        self.next_look = self.running
        self.record = CarRecord(1, "Blue", VIN, 21, use_streaming_api=True, enabled=True, last_record_at=BEGIN, eid=EID)
        self.seen_records = LivenessReport()
        self.fleet = Fleet("", default_rules())
        self.fleet.connected(self.running)
        self.grammar = Grammar()
        self.facade: Forwarder | None = None
        self.start_facade()
        self.pass_time(60)

    def start_facade(self) -> None:
        if self.facade is not None and self.facade._file is not None:
            self.facade._file.close()
        problems = OpenProblems(self, self)
        self.facade = Forwarder(
            FacadeOptions(state_dir=self.folder), Ports(*([self] * 7)), problems, Memory(), Limits()
        )
        assert self.facade._file is not None
        self.facade._file.restore(self.running)
        self.facade._upstream = self  # type: ignore[assignment]

    # -- what the facade asks

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.running)

    def monotonic(self) -> float:
        return self.running

    def view(self, car_id: int, now: Instant) -> VehicleView | None:
        return self.fleet.view(car_id, now)

    def records(self) -> LivenessReport:
        return self.seen_records

    def current(self) -> Credential:
        return Credential(Secret("token"), FLEET_CLAIMS)

    async def reread(self) -> Credential:
        return self.current()

    def raised(self, _at: datetime, _raised: RaisedProblem) -> None:
        pass

    def cleared(self, _at: datetime, _cause: Cause) -> None:
        pass

    async def send(self, request: ApiRequest, _url: str, _token: Secret) -> Reply:
        """Tesla."""
        if self.tesla == "out of reach":
            raise Unreachable("refused", sent=False)
        if self.tesla == "limits":
            return Reply(429, b"{}", retry_after="120")
        self.running += 0.25
        if request.method == "POST":
            self._obey(request)
        self.running += 0.25
        if self.tesla == "breaks off":
            raise Unreachable("the connection broke", sent=True)
        return Reply(200, b'{"response": {"result": true, "state": "online"}}')

    # -- what happens

    def _obey(self, request: ApiRequest) -> None:
        """The car does as it is told, at once."""
        self.obeyed += 1
        self.truth["state"] = {"asleep": "online"}.get(self.truth["state"] or "", self.truth["state"])
        if request.name == "charge_stop":
            self.truth |= {"state": "online", "charging_state": "Stopped"}
        elif request.name == "charge_start":
            self.truth |= {"state": "charging", "charging_state": "Charging"}
        elif request.name == "set_charge_limit":
            self.truth["charge_limit_soc"] = request.body.decode().rpartition(":")[2].strip(" }")

    def pass_time(self, seconds: float) -> None:
        self.truth["time_to_full_charge"] = "1.5" if self.truth["charging_state"] == "Charging" else None
        end = self.running + seconds
        while self.running < end:
            self.running = min(self.running + STEP_S, end)
            if self.alive and self.running >= self.next_sample:
                self.next_sample = self.running + self.pace_s
                self.on_its_way.append(Summary(self.running + self.latency_s, self.running, dict(self.truth)))
            due = [summary for summary in self.on_its_way if summary.published_at <= self.running]
            self.on_its_way = [summary for summary in self.on_its_way if summary.published_at > self.running]
            for summary in due:
                if self.alive:
                    self._publish(summary._replace(published_at=self.running))
            if self.running >= self.next_look:
                self.next_look = self.running + 30
                self._look()
            self.fleet.changes(Instant.of(self))

    def _publish(self, summary: Summary) -> None:
        state = RECORDED_AS[summary.values["state"] or ""]
        if state != self.record.state:
            self.record = self.record._replace(state=state, state_since=self.now())
        if summary.values["state"] not in ("asleep", "offline"):
            self.record = self.record._replace(position_at=BEGIN + timedelta(seconds=summary.sampled_at))
        if not self.broker_up:
            return
        self.summaries.append(summary)
        for key, value in {**summary.values, "healthy": "true"}.items():
            if key != "healthy" and self.published.get(key, "never") == value:
                continue
            self.published[key] = value
            payload, topic = (value or "").encode(), f"teslamate/cars/1/{key}"
            if key != "healthy":
                self.retained[topic] = payload
            if self.connected:
                self.fleet.message(topic, payload, self.running, retained=False)
                self.unheard.discard(topic)
            elif key != "healthy":
                self.unheard.add(topic)

    def _look(self) -> None:
        """The database is asked; its clock runs two seconds ahead of TeslaMate's."""
        if self.database_up:
            self.seen_records = LivenessReport(
                cars={1: self.record}, sessions=self.alive, database_at=self.now() + timedelta(seconds=2),
                asked_at=self.running, read_at=self.running,
            )  # fmt: skip
        self.fleet.hear(self.seen_records)

    def save_broker(self) -> None:
        """It writes down what it retains."""
        self.saved = dict(self.retained)
        self.unheard.clear()

    def restart_broker(self, keeps: str, *, alone_s: float, down_s: float) -> None:
        """We lose it first, for some seconds alone; then it is down for all.

        keeps: all, nothing, or what it saved, as one that was killed. What we have not heard, it has saved: two faults
        at once, our connection and then a broker that is killed, are beyond what can be told.
        """
        if keeps == "what it saved":
            alone_s = 0.0
            if self.unheard:
                self.save_broker()
        self.connected = False
        self.fleet.lost(self.running)
        self.pass_time(alone_s)
        self.broker_up = False
        if keeps != "all":
            self.retained = dict(self.saved) if keeps == "what it saved" else {}
        self.pass_time(down_s)
        self.broker_up = self.connected = True
        self.fleet.connected(self.running)
        for topic, payload in self.retained.items():
            if payload:
                self.fleet.message(topic, payload, self.running, retained=True)
                self.unheard.discard(topic)

    # -- TWCManager

    def ask(self, target: str, method: str = "GET", body: bytes = b"") -> Answer:
        request = self.grammar.read(method, target)
        assert request is not None
        again = self.facade.again(request) if method == "GET" else None
        obeyed = self.obeyed
        answer = again or self.loop.run_until_complete(self.facade.answer(request._replace(body=body)))
        if self.obeyed > obeyed:
            self.commanded_at.append(self.running)
        return answer

    def asks(self, kind: Kind) -> Answer:
        return self.ask(DATA if kind is Kind.DATA else STATE)

    def commands(self, name: str, body: bytes = b"") -> Answer:
        return self.ask(f"{STATE}/{name}", "POST", body)

    def may_be_told(self) -> list[Summary]:
        """TeslaMate's newest summary, and those that others have replaced for no longer than two seconds."""
        replaced = [one for one in self.summaries if one.published_at <= self.running - SLACK_S]
        return [*replaced[-1:], *(one for one in self.summaries if one.published_at > self.running - SLACK_S)]


def as_told(summary: Summary) -> dict[str, Any]:
    """What an answer made from this summary must say."""
    values = summary.values
    state = {"asleep": "asleep", "offline": "offline"}.get(values["state"] or "", "online")
    return {
        "state": state,
        "is_asleep": state != "online",
        "charging_state": values["charging_state"],
        "charge_limit_soc": int(values["charge_limit_soc"] or 0),
        "battery_level": int(values["battery_level"] or 0),
        "latitude": float(values["latitude"] or 0),
    }
