"""A simulated TeslaMate followed by a Fleet, message by message, on the simulation's own clock."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from tests.support.full_teslamate import FullTeslaMate
from tmsync.core.clock import Instant
from tmsync.core.config.load import load_settings
from tmsync.core.telemetry.fleet import Fleet
from tmsync.core.telemetry.health import Evidence, Rules, Source, Verdict
from tmsync.core.telemetry.liveness import EVERY_S, MISSING_S, SOON_S, LivenessReport
from tmsync.core.telemetry.monitor import rules_of
from tmsync.core.telemetry.views import SourceChange, VehicleView
from tmsync.core.teslamate.records import CarRecord

NOWHERE = {"HOME": "/nonexistent", "XDG_CONFIG_HOME": "/nonexistent"}
EPSILON = 1e-6
ALIVE = "TeslaMate's database sessions are there"
GONE = "TeslaMate's database sessions are gone"


def default_rules() -> Rules:
    return rules_of(load_settings(environ=NOWHERE))


class Database:
    """TeslaMate's database, asked as LivenessProbe does. readable: whether its sessions' statements can be seen."""

    def __init__(self, teslamate: FullTeslaMate, *, readable: bool) -> None:
        self.teslamate = teslamate
        self.readable = readable
        self.due = teslamate.now.timestamp()
        self._missing_since: float | None = None
        self._last = Evidence()

    def ask(self, at: float) -> LivenessReport:
        """at: seconds of running time."""
        alive = self.teslamate.alive if self.readable else None
        self._missing_since = None if alive is not False else at if self._missing_since is None else self._missing_since
        if self._missing_since is not None and at - self._missing_since < MISSING_S:
            alive = None
        if alive:
            self._last = Evidence(at, self._last.gone_at, (ALIVE,))
        elif alive is False:
            self._last = Evidence(self._last.alive_at, at, (GONE,))
        open_ = alive is None and self._missing_since is not None
        self.due = at + (SOON_S if open_ else EVERY_S)
        now = datetime.fromtimestamp(at, UTC)
        return LivenessReport(
            self._last, self.teslamate.records(), alive, self._missing_since, database_at=now, asked_at=at
        )


class Follower:
    """Hands every publication to a Fleet and judges at every moment at which something may change.

    database: whether TeslaMate's database is at hand; readable: whether its sessions can be seen.
    """

    def __init__(
        self, teslamate: FullTeslaMate, rules: Rules | None = None, *, database: bool = False, readable: bool = True
    ) -> None:
        self.teslamate = teslamate
        self.fleet = Fleet("", rules or default_rules())
        self.database = Database(teslamate, readable=readable) if database else None
        self.changes: list[SourceChange] = []
        self.verdicts: list[tuple[datetime, int, Verdict]] = []
        """Every change of a verdict: when, of which car, to what."""
        self._last: dict[int, Verdict] = {}

    def running(self, moment: datetime) -> float:
        return moment.timestamp()

    def connect(self, retained: Mapping[str, bytes]) -> None:
        """Subscribe now: the broker hands over what it retains."""
        at = self.running(self.teslamate.now)
        self.fleet.connected(at)
        for topic, payload in retained.items():
            self.fleet.message(topic, payload, at, retained=True)
        self._judge(at)

    def follow(self, span: timedelta) -> None:
        """Let the simulation run for `span` and judge what comes, and what does not come."""
        end = self.teslamate.now + span
        for message in self.teslamate.until(end):
            at = self.running(message.at)
            self._pass_time(at)
            self.fleet.message(message.topic, message.payload, at, retained=False)
            self._judge(at)
        self._pass_time(self.running(end))

    def _pass_time(self, until: float) -> None:
        while True:
            moments = [moment for moment in (self.fleet.next_change_at(),) if moment is not None]
            if self.database is not None:
                moments.append(self.database.due)
            due = min(moments, default=until)
            if due >= until:
                return
            self._judge(due + EPSILON)

    def _judge(self, at: float) -> None:
        if self.database is not None and at >= self.database.due:
            self.fleet.hear(self.database.ask(at))
        now = Instant(datetime.fromtimestamp(at, UTC), at)
        self.changes += self.fleet.changes(now)
        for car_id, verdict in self.fleet.verdicts().items():
            if self._last.get(car_id) is not verdict:
                self._last[car_id] = verdict
                self.verdicts.append((now.wall, car_id, verdict))

    def view(self, car_id: int = 1) -> VehicleView:
        at = self.running(self.teslamate.now)
        views = self.fleet.views(Instant(self.teslamate.now, at))
        return next(view for view in views if view.car_id == car_id)

    def told(self, car_id: int = 1) -> list[Verdict]:
        return [verdict for _, car, verdict in self.verdicts if car == car_id]

    def sources(self, car_id: int = 1) -> list[Source]:
        return [change.after for change in self.changes if change.car_id == car_id]


def retained(messages: Iterable[tuple[datetime, str, bytes, bool]]) -> dict[str, bytes]:
    """What a broker holds after these."""
    held: dict[str, bytes] = {}
    for _, topic, payload, retain in messages:
        if retain and payload:
            held[topic] = payload
        elif retain:
            held.pop(topic, None)
    return held


BEGIN = datetime(2026, 11, 24, 18, tzinfo=UTC)


class Followed:
    """A fleet on a clock of its own."""

    def __init__(self) -> None:
        self.fleet = Fleet("", default_rules())
        self.fleet.connected(0.0)
        self.at = 0.0
        self.told: list[str] = []

    def says(self, car_id: int = 1, *, retained: bool = False, **values: str) -> None:
        for key, value in values.items():
            self.fleet.message(f"teslamate/cars/{car_id}/{key}", value.encode(), self.at, retained=retained)
        self.look()

    def look(self) -> None:
        self.told += [change.message for change in self.fleet.changes(self.now)]

    def wait(self, seconds: float, *, heartbeat: float = 0, car_id: int = 1) -> None:
        """Time passes, with a heartbeat every so many seconds (0: none)."""
        until = self.at + seconds
        while heartbeat and self.at + heartbeat <= until:
            self.at += heartbeat
            self.says(car_id, healthy="true")
        self.at = until
        self.look()

    @property
    def now(self) -> Instant:
        return Instant(BEGIN + timedelta(seconds=self.at), self.at)

    def view(self, car_id: int = 1) -> VehicleView:
        return next(view for view in self.fleet.views(self.now) if view.car_id == car_id)

    def verdict(self, car_id: int = 1) -> Verdict:
        return self.view(car_id).judgement.verdict


def car(**more: object) -> CarRecord:
    return CarRecord(1, "Blue", None, None, True, True, BEGIN)._replace(**more)
