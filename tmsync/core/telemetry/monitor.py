"""The telemetry as it comes: the broker's feed, the vehicles, the second witnesses, brought together."""

import threading
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from tmsync.core.causes import Cause
from tmsync.core.clock import Clock, Instant, iso
from tmsync.core.config.settings import MqttSettings, Settings
from tmsync.core.errors import BrokerError, Problem
from tmsync.core.fixes import problem
from tmsync.core.telemetry.connection import ANSWER_S, BrokerConnection, Link
from tmsync.core.telemetry.fleet import Fleet
from tmsync.core.telemetry.health import Rules, Thresholds
from tmsync.core.telemetry.liveness import EVERY_S, LivenessPoller, LivenessProbe, LivenessReport
from tmsync.core.telemetry.views import SourceChange, VehicleView
from tmsync.core.teslamate.topics import CARS, ROOT, namespace_of, parse_topic, prefix
from tmsync.core.words import MOST_NAMED

FIRST_LINK_S: Final = 4 * ANSWER_S
"""Name, connection, TLS and CONNACK have their own limits; this one is for what has none."""
SETTLED_S: Final = 1.0
"""Retained values have all come when none has come for so long."""
SETTLE_MOST_S: Final = 5.0
EXPLORE_S: Final = 1.0
MAX_NAMESPACES: Final = 8
"""As many are named; more than one or two are a limit against hostile input."""
REPORT_S: Final = 15.0
TICK_S: Final = 1.0
LOOK_S: Final = 0.1
REST_S: Final = 0.05
"""Between two looks at what came, so that a flood is judged in batches."""


class BrokerChange(NamedTuple):
    """The connection to the broker came or went."""

    at: datetime
    connected: bool
    problem: Problem | None
    target: str

    @property
    def message(self) -> str:
        """In words."""
        if self.problem is not None:
            return self.problem.message
        return f"connected to the broker at {self.target}"

    def as_json(self) -> dict[str, Any]:
        """The broker event's fields, without `event`.

        Fields:
            at (time): when
            state (text): `connected` or `disconnected`
            cause (Cause or null): why the connection ended
            message (text): the same in words
        """
        return {
            "at": iso(self.at),
            "state": "connected" if self.connected else "disconnected",
            "cause": self.problem.cause.value if self.problem else None,
            "message": self.message,
        }


class Batch(NamedTuple):
    """What one look brought."""

    now: Instant
    broker: list[BrokerChange]
    sources: list[SourceChange]
    lines: list[VehicleView]
    notes: list[Problem]


def rules_of(settings: Settings) -> Rules:
    """The thresholds as configured."""
    from tmsync.core.config.schema import BLIND_AFTER_S, VEHICLE_STATES

    by_state = {
        state: Thresholds(settings.get(f"health.late_after.{state}"), settings.get(f"health.stale_after.{state}"))
        for state in VEHICLE_STATES
    }
    blind_after = settings.get("health.blind_after")
    blind = BLIND_AFTER_S if blind_after is None else dict.fromkeys(BLIND_AFTER_S, blind_after)
    return Rules(by_state, settings.get("health.recover_after"), blind)


class TelemetryMonitor:
    """Everything that listens, from `with` on.

    cars: ids to watch, all when empty. ask_every_s: seconds between two questions to the second witnesses.
    """

    def __init__(
        self,
        target: MqttSettings,
        rules: Rules,
        clock: Clock,
        *,
        cars: Collection[int] = (),
        probe: LivenessProbe | None = None,
        ask_every_s: float = EVERY_S,
    ) -> None:
        self.target = target
        self.clock = clock
        self.connected = False
        self.report = LivenessReport()
        """What the second witnesses said last."""
        self._reported = threading.Event()
        self.lost: Problem | None = None
        """Why the connection was lost the last time, if it ever stood."""
        self._wake = threading.Event()
        self.fleet = Fleet(target.namespace, rules, cars, self._wake.set)
        self._links: deque[BrokerChange] = deque()
        self._first_link = threading.Event()
        self._retained_at = clock.monotonic()
        self._exploring = False
        self._nudged = False
        self._namespaces: set[str] = set()
        self._cars = frozenset(cars)
        self._there: set[int] = set()
        """Cars found by exploring, whether they are to be watched or not."""
        self._root_below_root = prefix(ROOT) if target.may_be_root else None
        """Where cars would show that TWCManager's mqtt_prefix means a namespace after all."""
        places = filter(None, (prefix(target.namespace), self._root_below_root))
        topics = [f"{place}{car}/+" for place in places for car in (cars or ("+",))]
        self._connection = BrokerConnection(target, topics, self._message, self._linked, clock)
        self._poller = LivenessPoller(probe, self._heard, ask_every_s) if probe else None
        self._monotonic = clock.monotonic

    def __enter__(self) -> Self:
        self._connection.start()
        if self._poller is not None:
            self._poller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._poller is not None:
            self._poller.stop()
        self._connection.stop()

    @property
    def retry_in_s(self) -> float | None:
        """Seconds until the broker is tried again; None while it is being tried, or connected."""
        at = self._connection.retry_at
        return None if at is None else max(at - self.clock.monotonic(), 0)

    @property
    def is_settled(self) -> bool:
        """Whether the connection stands, and what the broker retains has come: a car not seen by now is not there."""
        return self.connected and self.clock.monotonic() - self._retained_at >= SETTLE_MOST_S

    # -- called from the threads that listen

    def _message(self, topic: str, payload: bytes, retained: bool) -> None:
        at = self._monotonic()
        if retained:
            self._retained_at = at
        if self._root_below_root is not None and payload and topic.startswith(self._root_below_root):
            self._root_below_root = None
            self.fleet.use_namespace(ROOT)
        self.fleet.message(topic, payload, at, retained=retained)
        if self._exploring:
            namespace = namespace_of(topic)
            if namespace is not None and len(self._namespaces) < MAX_NAMESPACES:
                self._namespaces.add(namespace)
            if (parsed := parse_topic(topic, self.fleet.namespace)) is not None:
                self._there.add(parsed.car_id)

    def _linked(self, link: Link) -> None:
        now = Instant.of(self.clock)
        if link.connected:
            self.fleet.connected(now.running)
            self._retained_at = now.running
        else:
            self.fleet.lost(now.running)
        if self.connected and not link.connected:
            self.lost = link.problem
        self.connected = link.connected
        self._links.append(BrokerChange(now.wall, link.connected, link.problem, self.target.place))
        self._first_link.set()
        self._wake.set()

    def _heard(self, report: LivenessReport) -> None:
        self.report = report
        self.fleet.hear(report)
        self._reported.set()
        self._wake.set()

    # -- called by whoever watches

    def nudge(self) -> None:
        """Look again at once."""
        self.nudge_soon()
        self._wake.set()

    def nudge_soon(self) -> None:
        """Look again within a second; safe in a signal handler, where no lock may be waited for."""
        self._nudged = True

    def was_nudged(self) -> bool:
        """Whether somebody nudged since this was last asked."""
        nudged, self._nudged = self._nudged, False
        return nudged

    def wait_connected(self) -> None:
        """Wait for the first connection.

        Raises: BrokerError when it does not come about.
        """
        if not self._first_link.wait(FIRST_LINK_S):
            message = f"no connection to {self.target.place} within {FIRST_LINK_S:g} s"
            raise BrokerError(problem(Cause.TIMEOUT, message, variant="no-connection"))
        self._connection.answered.wait(ANSWER_S)
        found = next((change.problem for change in self._links if change.problem is not None), None)
        if found is not None:
            raise BrokerError(found)

    def wait_settled(self, most_s: float = SETTLE_MOST_S) -> None:
        """Wait until the retained values are in: none has come for a second, or `most_s` seconds have passed."""
        deadline = self.clock.monotonic() + most_s
        while (now := self.clock.monotonic()) < min(self._retained_at + SETTLED_S, deadline):
            self.clock.sleep(min(self._retained_at + SETTLED_S, deadline) - now)

    def wait_reported(self) -> None:
        """Wait until the second witnesses, if any, have spoken, or the slowest of them has had its time."""
        if self._poller is not None:
            self._reported.wait(REPORT_S)

    def single_look(self, wait_s: float, settle_s: float = SETTLE_MOST_S) -> list[VehicleView]:
        """Every vehicle, when nothing more will be heard.

        Waits until the retained values are in, `settle_s` seconds at most; then, `wait_s` seconds in all, for a
        heartbeat of every vehicle; and until the second witnesses have come to an end: missing sessions are watched for
        half a minute.
        """
        deadline = self.clock.monotonic() + wait_s
        self.wait_settled(settle_s)
        while not self._all_heard() and self.clock.monotonic() < deadline:
            self.clock.sleep(LOOK_S)
        self.wait_reported()
        while self.report.is_open and not self._all_heard():
            self.clock.sleep(LOOK_S)
        now = Instant.of(self.clock)
        self.fleet.conclude()
        self.fleet.changes(now)
        return self.fleet.views(now)

    def _all_heard(self) -> bool:
        """Whether there are vehicles, and nothing more is to be learned of any by waiting a little longer."""
        now = Instant.of(self.clock)
        return bool(len(self.fleet)) and not any(view.retained_only for view in self.fleet.views(now))

    def explore(self) -> Problem:
        """Why no car was seen, or not every one asked for: the connection, or look which there are, and where."""
        self._exploring = True
        self._connection.subscribe([f"{ROOT}/{CARS}/+/state", f"{ROOT}/+/{CARS}/+/state"])
        self.clock.sleep(EXPLORE_S)
        self._exploring = False
        if self.lost is not None and not self.other_namespaces:
            # Cars of our own namespace that appear only now came with the reconnect.
            return self.lost
        if not self._connection.subscribed:
            message = f"the broker at {self.target.place} does not answer the subscription"
            return problem(Cause.TIMEOUT, message, variant="subscription")
        missing = self._cars - self._there
        if missing and self._there:
            return not_among(missing, self._there)
        return no_vehicles(self.target, self.target.place, self.other_namespaces)

    @property
    def other_namespaces(self) -> list[str]:
        """Where `explore` saw cars instead; an empty one for TeslaMate's own default."""
        return sorted(self._namespaces - {self.fleet.namespace})

    def batches(self, interval_s: float, until: float | None = None) -> Iterator[Batch]:
        """Look again and again, as soon as there is something to see; ends at `until`, seconds of running time."""
        shown_state: tuple[bool, Cause | None] | None = None
        started = self.clock.monotonic()
        explored = False
        while True:
            now = Instant.of(self.clock)
            broker = []
            while self._links:
                change = self._links.popleft()
                state = change.connected, change.problem.cause if change.problem else None
                # The same failure again and again is one piece of news.
                if state != shown_state:
                    broker.append(change)
                    shown_state = state
            notes = []
            if not explored and self.connected and not len(self.fleet) and now.running - started >= SETTLE_MOST_S:
                explored = True
                notes.append(self.explore())
            sources = self.fleet.changes(now)
            yield Batch(now, broker, sources, self.fleet.lines(now, interval_s), notes)
            if until is not None and now.running >= until:
                return
            self._rest(now, interval_s, until)

    def _rest(self, now: Instant, interval_s: float, until: float | None) -> None:
        change_at = self.fleet.next_change_at()
        moments = [now.running + min(TICK_S, max(interval_s, REST_S))]
        moments += [moment for moment in (change_at, until) if moment is not None]
        self.clock.sleep(REST_S)
        left = min(moments) - self.clock.monotonic()
        if left > 0:
            self._wake.wait(left)
        self._wake.clear()


def not_among(missing: Collection[int], there: Collection[int]) -> Problem:
    """Cars that were asked for are not there, and others are."""
    named, known = (", ".join(map(str, sorted(ids)[:MOST_NAMED])) for ids in (missing, there))
    subject = f"car {named} is" if len(missing) == 1 else f"cars {named} are"
    return problem(Cause.NO_VEHICLES, f"{subject} not known to the broker", variant="other-cars", known=known)


def no_vehicles(target: MqttSettings, where: str, others: Sequence[str]) -> Problem:
    """No car was seen; `others` are the namespaces in which there are some."""
    place = f"namespace {target.namespace}" if target.namespace else "no namespace"
    message = f"no car is known to the broker at {where} under {prefix(target.namespace)} ({place})"
    if not others:
        return problem(Cause.NO_VEHICLES, message)
    seen = ["without a namespace"] * ("" in others)
    seen += [f"in namespace {', '.join(filter(None, others))}"] * any(others)
    named = " or ".join(f'"{name}"' for name in others)
    return problem(Cause.NO_VEHICLES, message, variant="other-namespace", seen=" and ".join(seen), named=named)
