"""Simulated TeslaMate traffic through real servers, watched by `tmsync watch-mqtt --json --with-db`, for hours.

Meanwhile the broker and PostgreSQL are restarted, connections are cut, TeslaMate dies and comes back, and Tesla's API
breaks. Every verdict that watch-mqtt tells is held against what the simulation knows, once a second; its memory, file
descriptors and threads are measured.
"""

import json
import signal
import sys
import threading
import time
from collections import Counter, deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from tests.soak.oracle import SOURCES, Span, thresholds
from tests.soak.world import LOOK_S, MARKER, PATIENCE_S, Findings, World, as_program, in_words
from tests.support.brokers import Watching, watching

PLAN = (
    (40, "restart_broker"),
    (90, "cut"),
    (110, "restart_postgres"),
    (160, "die"),
    (310, "start_again"),
    (360, "api_outage"),
    (450, "api_recovers"),
    (480, "cut"),
    (520, "restart_broker"),
    (570, "cut"),
)


@dataclass
class Watched(Findings):
    """What watch-mqtt told."""

    lines: int = 0
    looks: int = 0
    told: Counter[str] = field(default_factory=Counter)
    """Source events by where they lead."""
    verdicts: Counter[str] = field(default_factory=Counter)

    def rows(self) -> list[str]:
        return [
            f"{self.lines} lines, {self.looks} looks at the source of a car",
            f"verdicts told: {in_words(self.verdicts)}",
            f"changes of source: {in_words({f'to {to}': count for to, count in self.told.items()})}",
        ]


class Soak(World):
    """watch-mqtt in the midst of it."""

    plan = PLAN

    def __init__(self, stack: ExitStack, *, cars: int, speed: float, seed: int, witness: bool) -> None:
        super().__init__(stack, cars=cars, speed=speed, seed=seed, witness=witness)
        self.found: Watched = Watched("watch-mqtt", cars)
        self.sources: dict[int, str] = {}
        self.pending: deque[tuple[float, int, frozenset[str], str]] = deque()
        self.marked = 0.0
        # Retained values are there before watch-mqtt is.
        time.sleep(1.0)
        self.diary.cuts.append(Span(0, None))
        environ = {"TMSYNC_MQTT_HOST": "127.0.0.1", "TMSYNC_MQTT_PORT": str(self.way.port), **thresholds(speed)}
        self.fleet: Watching = stack.enter_context(
            watching(["--json", "--wait", *(["--with-db"] * witness)], {**self.teslamate.environ(), **environ})
        )

    # -- what is seen

    def read(self) -> None:
        """Every line of watch-mqtt, in a thread of its own."""
        while (line := self.fleet.lines.get()) is not None:
            at = time.monotonic()
            event = json.loads(line)
            self.found.lines += 1
            if "event" not in event:
                self.found.wrong.append(f"watch-mqtt gave up: {line.strip()}")
                continue
            if event.get("car_id") == MARKER:
                self._time(event, at)
                continue
            if event["event"] == "broker":
                if event["state"] == "connected":
                    if not self.connections:
                        self.diary.cuts[0].end = at
                    self.connections += 1
                continue
            self.pending.append((at, event["car_id"], frozenset({event["verdict"]}), "called"))
            if event["event"] == "vehicle":
                self.found.verdicts[event["verdict"]] += 1
            else:
                self.found.told[event["to"]] += 1
                self.sources[event["car_id"]] = event["to"]

    def _time(self, event: dict[str, Any], at: float) -> None:
        sent = event.get("telemetry", {}).get("odometer")
        if sent is None or sent == self.marked:
            return
        self.marked = sent
        self.delayed(sent, at)

    def look(self) -> None:
        """The source that was told last for each car must be one that may be right now: no transition was missed."""
        at = time.monotonic()
        for car_id in self.diary.cars:
            told = self.sources.get(car_id, "undecided")
            self.pending.append((at, car_id, frozenset({told, "undecided"}), "by"))
            self.found.looks += 1

    def check(self, until: float) -> None:
        """Hold what was told up to `until` against what may have been right."""
        while self.pending and self.pending[0][0] <= until:
            at, car_id, told, kind = self.pending.popleft()
            allowed = self.diary.allowed(car_id, at)
            if kind == "by":
                # A source event is sent for every change but to "undecided".
                allowed = {SOURCES[verdict] for verdict in allowed}
            if not told & allowed:
                self.wrong_about(f"car {car_id} is {kind} {min(told)}, not {' or '.join(sorted(allowed))}", car_id, at)

    # -- all of it

    def run(self, duration: float, cycle: float) -> Watched:
        reader = threading.Thread(target=self.read, daemon=True)
        reader.start()
        self.begun = time.monotonic()
        doer = threading.Thread(target=self.carry_out, args=(duration, cycle), daemon=True)
        doer.start()
        due = self.begun
        while time.monotonic() < self.begun + duration and self.fleet.process.poll() is None:
            self.mark()
            self.found.measure(self.fleet.process.pid, time.monotonic() - self.begun)
            self.look()
            self.check(time.monotonic() - PATIENCE_S)
            due = max(due + LOOK_S, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
        doer.join(60)
        self.found.seconds = time.monotonic() - self.begun
        self.fleet.process.send_signal(signal.SIGTERM)
        self.found.code = self.fleet.process.wait(20)
        reader.join(20)
        assert self.fleet.process.stderr is not None
        self.found.stderr = self.fleet.process.stderr.read()
        self.found.messages = self.diary.messages
        self.check(time.monotonic())
        return self.found


def soak(*, cars: int, speed: float, duration: float, cycle: float, seed: int = 0, witness: bool = True) -> Watched:
    """Run it. duration, cycle: seconds; speed: simulated seconds in each; witness: with the database at hand."""
    with ExitStack() as stack:
        return Soak(stack, cars=cars, speed=speed, seed=seed, witness=witness).run(duration, cycle)


if __name__ == "__main__":
    sys.exit(as_program(soak, __doc__))
