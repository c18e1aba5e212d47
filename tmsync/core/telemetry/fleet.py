"""All vehicles together: messages in, judgements and events out. Thread-safe; reads no clock.

Message intake is kept to a few dictionary look-ups, since a broker may hand over tens of thousands a second; what is
derived from it (judgements, lines, rows) is worked out when somebody looks.
"""

import threading
from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from math import inf
from typing import Any, Final

from tmsync.core.clock import Instant
from tmsync.core.telemetry.health import (
    NOTHING_RECORDED,
    Judgement,
    Recorded,
    Rules,
    Source,
    Verdict,
)
from tmsync.core.telemetry.judging import judge
from tmsync.core.telemetry.liveness import LivenessReport
from tmsync.core.telemetry.recorded import contradiction, left_over
from tmsync.core.telemetry.vehicle import ARRIVES_S, DRIVING, OFFLINE, Facts, Vehicle
from tmsync.core.telemetry.views import SourceChange, VehicleView, source_message
from tmsync.core.teslamate.topics import BATTERY_LEVEL, parse_topic

LONGEST_DRIVE: Final = timedelta(hours=24)
"""`since` is not renewed in a dead zone; one that is older was no drive."""
LIVE_HEALTHY_LEVEL: Final = 20250613133700
"""The newest migration of TeslaMate 2.1.0, which sends `healthy` with every summary.

Source: TeslaMate priv/repo/migrations at v2.0.0 and at v2.1.0.
"""
HEARTBEAT_LINE_S: Final = 30.0
"""A vehicle's line is repeated after this when nothing changed."""
SEEN_S: Final = 1.0
MAX_VEHICLES: Final = 2000
"""Beyond this, topics are a limit against hostile input; at their longest they would fill some 350 MB."""


class TrackedVehicle:
    """A vehicle and what was last said of it."""

    __slots__ = ("change_at", "judgement", "line_at", "line_key", "news", "seen", "source", "vehicle")

    def __init__(self, vehicle: Vehicle) -> None:
        self.vehicle = vehicle
        self.source = Source.UNDECIDED
        self.judgement: Judgement | None = None
        self.change_at: float | None = None
        self.line_at: float | None = None
        self.line_key: tuple[Any, ...] | None = None
        self.news = True
        """Whether the next line may say something new."""
        self.seen: tuple[int, float, VehicleView] | None = None
        """The last view of it alone, the vehicle's revision then, and until when it holds."""

    def is_due(self, at: float) -> bool:
        """Whether something came, or the verdict may have changed by mere silence."""
        return self.vehicle.touched or (self.change_at is not None and at >= self.change_at)


class Fleet:
    """Every vehicle of one namespace.

    on_touch: called, from whatever thread brings a message, when there is something new to look at.
    """

    def __init__(
        self, namespace: str, rules: Rules, cars: Collection[int] = (), on_touch: Callable[[], None] | None = None
    ) -> None:
        self.namespace = namespace
        self.rules = rules
        self.messages = 0
        self._cars = frozenset(cars)
        self._on_touch = on_touch
        self._lock = threading.Lock()
        self._slots: dict[str, tuple[Vehicle, str]] = {}
        self._tracked: dict[int, TrackedVehicle] = {}
        self._single_look = False
        self._modern = False
        """Whether TeslaMate is known to be 2.1.0 or newer."""
        self._report = LivenessReport()
        self._connected_at = 0.0
        self._lost_at: float | None = None

    # -- in

    def message(self, topic: str, payload: bytes, at: float, *, retained: bool) -> None:
        """Take in one message. at: seconds of running time."""
        self.messages += 1
        slot = self._slots.get(topic)
        if slot is None:
            slot = self._open(topic, payload, at)
            if slot is None:
                return
        vehicle, key = slot
        with self._lock:
            news = not vehicle.touched
            vehicle.receive(key, payload, at, retained=retained)
        if news and self._on_touch is not None:
            self._on_touch()

    def _open(self, topic: str, payload: bytes, at: float) -> tuple[Vehicle, str] | None:
        parsed = parse_topic(topic, self.namespace)
        if parsed is None or (self._cars and parsed.car_id not in self._cars):
            return None
        with self._lock:
            tracked = self._tracked.get(parsed.car_id)
            if tracked is None:
                # An empty payload deletes: it makes nobody appear.
                if not payload or len(self._tracked) >= MAX_VEHICLES:
                    return None
                tracked = self._tracked[parsed.car_id] = TrackedVehicle(Vehicle(parsed.car_id, at))
                if self._on_touch is not None:
                    self._on_touch()
            slot = self._slots[topic] = (tracked.vehicle, parsed.key)
            return slot

    def use_namespace(self, namespace: str) -> None:
        """Follow the vehicles of another namespace from now on, and forget those of this one."""
        with self._lock:
            self.namespace = namespace
            self._slots = {}
            self._tracked = {}

    def connected(self, at: float) -> None:
        """A subscription begins."""
        with self._lock:
            self._connected_at = at
            self._lost_at = None
            self._tell_nothing()
            self._touch_all()

    def lost(self, at: float) -> None:
        """The broker is out of reach; telling it again changes nothing."""
        with self._lock:
            if self._lost_at is None:
                self._lost_at = at
                self._tell_nothing()
                self._touch_all()

    def hear(self, report: LivenessReport) -> None:
        """What the second witnesses and the database say."""
        with self._lock:
            self._report = report
            self._touch_all()

    def conclude(self) -> None:
        """Nothing more will be heard: where no heartbeat came, TeslaMate's sessions decide."""
        with self._lock:
            self._single_look = True
            self._touch_all()

    def _tell_nothing(self) -> None:
        for tracked in self._tracked.values():
            tracked.vehicle.told.clear()

    def _touch_all(self) -> None:
        for tracked in self._tracked.values():
            tracked.vehicle.touched = True
            tracked.seen = None

    # -- out

    def __len__(self) -> int:
        return len(self._tracked)

    def views(self, now: Instant) -> list[VehicleView]:
        """Every vehicle as it is now, by car id."""
        with self._lock:
            return [self._view(tracked, now) for _, tracked in sorted(self._tracked.items())]

    def view(self, car_id: int, now: Instant) -> VehicleView | None:
        """One vehicle as it is now; None where nothing was heard of it.

        The same view for up to a second, until something comes or may change: then what was made from it still holds.
        """
        with self._lock:
            tracked = self._tracked.get(car_id)
            if tracked is None:
                return None
            if tracked.seen is not None:
                revision, until, view = tracked.seen
                if revision == tracked.vehicle.revision and now.running < until:
                    return view
            view = self._view(tracked, now)
            until = min(now.running + SEEN_S, view.judgement.change_at or inf)
            tracked.seen = tracked.vehicle.revision, until, view
            return view

    def verdicts(self) -> dict[int, Verdict]:
        """Car id -> the verdict when it was last judged."""
        with self._lock:
            return {car_id: tracked.judgement.verdict for car_id, tracked in self._tracked.items() if tracked.judgement}

    def changes(self, now: Instant) -> list[SourceChange]:
        """Judge whatever may have changed; the changes of source, in order of car id."""
        with self._lock:
            return list(self._changes(now))

    def lines(self, now: Instant, interval_s: float) -> list[VehicleView]:
        """The vehicles that have something new to tell, each at most once per interval, and every 30 s otherwise."""
        with self._lock:
            return [
                view for tracked in self._tracked.values() if (view := self._line(tracked, now, interval_s)) is not None
            ]

    def next_change_at(self) -> float | None:
        """When a verdict may change by mere silence; seconds of running time."""
        with self._lock:
            return min(
                (tracked.change_at for tracked in self._tracked.values() if tracked.change_at is not None), default=None
            )

    def _changes(self, now: Instant) -> Iterator[SourceChange]:
        for car_id, tracked in sorted(self._tracked.items()):
            if not tracked.is_due(now.running):
                continue
            if tracked.vehicle.is_arriving(now.running):
                tracked.change_at = tracked.vehicle.first_seen_at + ARRIVES_S
                continue
            tracked.vehicle.touched = False
            tracked.news = True
            if tracked.vehicle.forgotten:
                self._forget(car_id)
                continue
            tracked.judgement = judgement = self._judge(tracked, now)
            tracked.change_at = judgement.change_at
            before, after = tracked.source, judgement.source
            if after is before or after is Source.UNDECIDED:
                continue
            tracked.source = after
            name = self._name(tracked.vehicle)
            message = source_message(name, after, judgement.verdict, again=before is Source.TESLA_API)
            yield SourceChange(now.wall, car_id, name, before, after, judgement.verdict, message)

    def _line(self, tracked: TrackedVehicle, now: Instant, interval_s: float) -> VehicleView | None:
        since = None if tracked.line_at is None else now.running - tracked.line_at
        if since is not None and (since < interval_s or not (tracked.news or since >= HEARTBEAT_LINE_S)):
            return None
        tracked.news = False
        view = self._view(tracked, now)
        key = view.without_time()
        if key == tracked.line_key and since is not None and since < HEARTBEAT_LINE_S:
            return None
        tracked.line_at, tracked.line_key = now.running, key
        return view

    def _forget(self, car_id: int) -> None:
        tracked = self._tracked.pop(car_id)
        self._slots = {topic: slot for topic, slot in self._slots.items() if slot[0] is not tracked.vehicle}

    def _judge(self, tracked: TrackedVehicle, now: Instant) -> Judgement:
        """Changes nothing: a change that only a look had seen would be told by nobody."""
        facts = self._facts(tracked.vehicle, now)
        evidence = self._report.evidence._replace(
            broker_lost_at=self._lost_at, single_look=self._single_look, sessions=self._report.sessions
        )
        recorded = self._recorded(tracked.vehicle)
        return judge(facts, now.running, self.rules, evidence, recorded, before=tracked.judgement)

    def _facts(self, vehicle: Vehicle, now: Instant) -> Facts:
        """The vehicle's own facts, and what others tell of them."""
        if vehicle.beats and not self._modern:
            # One car that beats shows TeslaMate's age for all: what is retained of another is a remnant.
            self._modern = True
            self._touch_all()
        level = self._report.schema_level
        legacy = level < LIVE_HEALTHY_LEVEL if level is not None else False if self._modern else None
        facts = vehicle.facts(self._connected_at, now.running, legacy=legacy)
        record = self._report.cars.get(vehicle.car_id)
        if facts.state == OFFLINE and vehicle.in_drive is None:
            recent = vehicle.since is not None and now.wall - vehicle.since < LONGEST_DRIVE
            facts = facts._replace(in_drive=recent if record is None else record.state == DRIVING)
        if facts.state is None and record is not None:
            facts = facts._replace(recorded_state=record.state)
        return facts

    def _name(self, vehicle: Vehicle) -> str:
        record = self._report.cars.get(vehicle.car_id)
        return record.name if not vehicle.names and record is not None and record.name else vehicle.name

    def _recorded(self, vehicle: Vehicle) -> Recorded:
        cars, at = self._report.cars, self._report.database_at
        if not cars or at is None:
            return NOTHING_RECORDED
        record = cars.get(vehicle.car_id)
        newest = None if record is None else record.last_record_at
        return Recorded(
            self._report.polling.get(vehicle.car_id),
            left_over(vehicle.car_id, vehicle.state, cars),
            contradiction(vehicle.state, vehicle.since, vehicle.values.get(BATTERY_LEVEL), record, at),
            None if newest is None else (at - newest).total_seconds(),
            self._report.asked_at,
        )

    def _view(self, tracked: TrackedVehicle, now: Instant) -> VehicleView:
        vehicle = tracked.vehicle
        facts = self._facts(vehicle, now)
        heard = facts.heartbeat_at
        return VehicleView(
            at=now.wall,
            car_id=vehicle.car_id,
            namespace=self.namespace,
            name=self._name(vehicle),
            names=tuple(vehicle.names),
            state=vehicle.state,
            since=vehicle.since,
            healthy=vehicle.healthy,
            judgement=self._judge(tracked, now),
            last_heartbeat_at=None if heard is None else now.wall_at(heard),
            # A message may have come since somebody looked at the clock.
            silence_s=max(0.0, now.running - (vehicle.first_seen_at if heard is None else heard)),
            retained_only=vehicle.retained_only,
            unparsable=vehicle.unparsable,
            telemetry=dict(vehicle.values),
            told=frozenset(vehicle.told),
            heard_at=heard,
            connected_at=self._connected_at,
            cut_off_until=self._connected_at if self._lost_at is None else inf,
            in_drive=facts.in_drive,
        )
