"""Simulated TeslaMate traffic through real servers, watched by `tmsync watch-mqtt --json --with-db`, for hours.

Meanwhile the broker and PostgreSQL are restarted, connections are cut, TeslaMate dies and comes back, and Tesla's API
breaks. Every verdict that watch-mqtt tells is held against what the simulation knows, once a second; its memory, file
descriptors and threads are measured.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.conftest import server_folder, teslamate_on
from tests.faults.proxy import Proxy, proxy
from tests.soak.oracle import SOURCES, Diary, Span, thresholds
from tests.support.brokers import Watching, watching
from tests.support.mosquitto import Mosquitto
from tests.support.surroundings import PASSWORD, TeslaMate
from tmsync.core.clock import SystemClock
from tmsync.demo.pacer import Pacer
from tmsync.demo.postgres import find_binaries
from tmsync.demo.simulator import Publication, SimulatedCar, SimulatedTeslaMate
from tmsync.demo.teslamate import DatabaseSession

CYCLE_S = 600.0
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
"""Seconds into each cycle, and what is done then. Shorter cycles do the same at a quicker pace."""
WARM_UP = 0.2
"""The share of the time after which nothing may grow any more."""
GROWTH_KB = 4096
LOOK_S = 0.5
DOWN_S = 1.0
STALL_S = 1.0
"""When a message takes this and a second more to its line of watch-mqtt, this machine is too busy to judge by."""
MARKER = 9999
"""A car of our own, whose odometer tells when it was sent."""
PATIENCE_S = 30.0
"""Verdicts are checked so much later, when it is known how long messages took at that time."""


class Recorded(SimulatedTeslaMate):
    """Writes down what it sends, and when."""

    diary: Diary

    def until(self, moment: datetime) -> Iterator[Publication]:
        for message in super().until(moment):
            self.diary.note(message.topic, message.payload, message.retain, time.monotonic())
            yield message


@dataclass
class Findings:
    """What a soak brought to light."""

    cars: int
    seconds: float
    messages: int = 0
    lines: int = 0
    looks: int = 0
    told: Counter[str] = field(default_factory=Counter)
    """Source events by where they lead."""
    verdicts: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    stalls: int = 0
    longest_s: float = 0.0
    """How long the slowest message took."""
    usage: list[tuple[float, int, int, int]] = field(default_factory=list)
    """When; resident memory in kB; file descriptors; threads."""
    code: int | None = None
    stderr: str = ""

    def after_warm_up(self) -> tuple[list[tuple[float, int, int, int]], list[tuple[float, int, int, int]]]:
        """The first and the last third of what was measured after the warm-up."""
        settled = [one for one in self.usage if one[0] >= self.seconds * WARM_UP]
        third = max(1, len(settled) // 3)
        return settled[:third], settled[-third:]

    def growth_kb(self) -> float:
        first, last = self.after_warm_up()
        return statistics.median(one[1] for one in last) - statistics.median(one[1] for one in first)

    def problems(self) -> list[str]:
        """Everything that must not be."""
        first, last = self.after_warm_up()
        found = list(self.wrong)
        if self.growth_kb() > GROWTH_KB:
            found.append(f"memory grew by {self.growth_kb():.0f} kB")
        for place, what in ((2, "file descriptors"), (3, "threads")):
            # The median: while it reconnects or asks the database it has one more of each.
            before, after = (statistics.median(one[place] for one in part) for part in (first, last))
            if after > before:
                found.append(f"{what} grew from {before:g} to {after:g}")
        if self.code != 0:
            found.append(f"watch-mqtt ended with {self.code}")
        return [*found, *([f"standard error: {self.stderr[:400]}"] if self.stderr else [])]

    def table(self) -> str:
        first, last = self.after_warm_up()
        rows = [
            f"{self.cars} cars, {self.seconds:.0f} s, {self.messages} messages, {self.lines} lines of watch-mqtt",
            f"{self.looks} looks at the source of a car",
            f"slowest message {self.longest_s:.1f} s to its line; {self.stalls} too slow to judge by",
            "done: " + ", ".join(f"{count} {what}" for what, count in sorted(self.done.items())),
            "verdicts told: " + ", ".join(f"{count} {what}" for what, count in self.verdicts.most_common()),
            "changes of source: " + ", ".join(f"{count} to {to}" for to, count in sorted(self.told.items())),
        ]
        for place, what in ((1, "resident kB"), (2, "file descriptors"), (3, "threads")):
            before, after = (statistics.median(one[place] for one in part) for part in (first, last))
            most = max(one[place] for one in self.usage)
            rows.append(f"{what}: {before:g} after the warm-up, {after:g} at the end, {most:g} at most")
        return "\n".join([*rows, *(f"WRONG: {one}" for one in self.problems()), ""])


class Soak:
    """The servers, the simulation, watch-mqtt, and what is done to them."""

    def __init__(self, stack: ExitStack, *, cars: int, speed: float, seed: int, witness: bool) -> None:
        self.diary = Diary(speed, witness=witness)
        folder = stack.enter_context(server_folder())
        self.teslamate: TeslaMate = stack.enter_context(teslamate_on(next(find_binaries())))
        self.teslamate.fresh()
        (folder / "broker").mkdir()
        self.broker = stack.enter_context(Mosquitto(folder / "broker", persistence=True))
        self.simulated = Recorded(
            [SimulatedCar(number, f"Car {number}") for number in range(1, cars + 1)], SystemClock().now(), seed=seed
        )
        self.simulated.diary = self.diary
        self.sessions: list[Any] = []
        stack.callback(self._log_out)
        self._log_in()
        self.pacer = stack.enter_context(Pacer(self.simulated, self.broker.port, speed=speed))
        self.way: Proxy = stack.enter_context(proxy(self.broker.port))
        self.found = Findings(cars, 0)
        self.sources: dict[int, str] = {}
        self.pending: deque[tuple[float, int, frozenset[str], str]] = deque()
        self.marked = 0.0
        self.connections = 0
        self.cars = cars
        # Retained values are there before watch-mqtt is.
        time.sleep(1.0)
        self.diary.cuts.append(Span(0, None))
        environ = {"TMSYNC_MQTT_HOST": "127.0.0.1", "TMSYNC_MQTT_PORT": str(self.way.port), **thresholds(speed)}
        self.fleet: Watching = stack.enter_context(
            watching(["--json", "--wait", *(["--with-db"] * witness)], {**self.teslamate.environ(), **environ})
        )

    # -- what is done

    def restart_broker(self) -> None:
        """An orderly restart; retained values persist."""
        with self._interrupted():
            self.broker.stop()
            time.sleep(DOWN_S)
            self.broker.start()

    def cut(self) -> None:
        """The network breaks between watch-mqtt and the broker."""
        with self._interrupted():
            self.way.cut()

    def restart_postgres(self) -> None:
        """TeslaMate's sessions break with it, and are back as soon as it is."""
        self.teslamate.postgres.stop()
        time.sleep(DOWN_S)
        self.teslamate.postgres.start()
        self._log_in()

    def die(self) -> None:
        """TeslaMate is gone, with its sessions."""
        with self.pacer.steering() as teslamate:
            teslamate.die()
        self._log_out()
        self.diary.deaths.append(Span(time.monotonic()))

    def start_again(self) -> None:
        self._log_in()
        self.diary.deaths[-1].end = time.monotonic()
        with self.pacer.steering() as teslamate:
            teslamate.start_again()

    def api_outage(self) -> None:
        """Of Tesla's API, for a third of the cars."""
        self._outage(over=False)

    def api_recovers(self) -> None:
        self._outage(over=True)

    def _outage(self, *, over: bool) -> None:
        with self.pacer.steering() as teslamate:
            for car_id in range(3, self.cars + 1, 3):
                (teslamate.api_recovers if over else teslamate.api_outage)(car_id)

    @contextlib.contextmanager
    def _interrupted(self) -> Iterator[None]:
        """Until both ends are connected again and have caught up."""
        span = Span(time.monotonic())
        known = self.connections
        self.diary.cuts.append(span)
        yield
        deadline = time.monotonic() + 30
        while self.connections == known or not self.pacer._client.is_connected():  # type: ignore[union-attr]
            if time.monotonic() > deadline:
                self.found.wrong.append("watch-mqtt or the simulation did not reconnect within 30 s")
                break
            time.sleep(0.05)
        span.end = time.monotonic() + 1.0

    def _log_in(self) -> None:
        """As TeslaMate: a pool of sessions with Ecto's way to ask."""
        self._log_out()
        login = {
            "host": "127.0.0.1",
            "port": self.teslamate.postgres.port,
        }
        for _ in range(3):
            session = DatabaseSession(**login, password=PASSWORD)
            session.__enter__()
            self.sessions.append(session)

    def _log_out(self) -> None:
        sessions, self.sessions = self.sessions, []
        for session in sessions:
            session.__exit__()

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
        """How long a message took; while they are slow, what is under way may be late."""
        sent = event.get("telemetry", {}).get("odometer")
        if sent is None or sent == self.marked:
            return
        self.marked = sent
        took = at - sent
        # A cut keeps messages back, and a line comes once a second at most.
        if any(span.begin - 1 <= at and sent <= (span.end or at) + 1 for span in self.diary.cuts[-3:]):
            return
        self.found.longest_s = max(self.found.longest_s, took)
        if took > STALL_S + 1.0:
            self.found.stalls += 1
            self.diary.cuts.append(Span(sent, at))

    def mark(self) -> None:
        """Send the marker the way all messages go."""
        client = self.pacer._client
        if client is not None:
            client.publish(f"teslamate/cars/{MARKER}/odometer", f"{time.monotonic():.2f}", 1)

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
                self._wrong(f"car {car_id} is {kind} {min(told)}, not {' or '.join(sorted(allowed))}", car_id, at)

    def _wrong(self, what: str, car_id: int, at: float) -> None:
        diary = self.diary.cars[car_id]
        near = [[one for one in entries if one[0] <= at][-3:] for entries in (diary.states, diary.beats)]
        last = [(round(moment - at, 1), word) for entries in near for moment, word in entries]
        if len(self.found.wrong) < 50:
            self.found.wrong.append(f"at {at - self.begun:.1f} s {what}; last sent: {last}")

    def measure(self) -> None:
        folder = Path("/proc") / str(self.fleet.process.pid)
        fields = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        memory, threads = int(fields["VmRSS"].split()[0]), int(fields["Threads"])
        at = time.monotonic() - self.begun
        self.found.usage.append((at, memory, len(list((folder / "fd").iterdir())), threads))

    # -- all of it

    def run(self, duration: float, cycle: float) -> Findings:
        reader = threading.Thread(target=self.read, daemon=True)
        reader.start()
        self.begun = time.monotonic()
        doer = threading.Thread(target=self._carry_out, args=(duration, cycle), daemon=True)
        doer.start()
        due = self.begun
        while time.monotonic() < self.begun + duration and self.fleet.process.poll() is None:
            self.mark()
            self.measure()
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

    def _carry_out(self, duration: float, cycle: float) -> None:
        for round_begins in range(int(duration / cycle) + 1):
            for moment, what in PLAN:
                at = self.begun + (round_begins + moment / CYCLE_S) * cycle
                if at > self.begun + duration - 2:
                    return
                time.sleep(max(0.0, at - time.monotonic()))
                try:
                    getattr(self, what)()
                except Exception as error:  # noqa: BLE001 - a thread's end would go unseen
                    self.found.wrong.append(f"{what} failed: {type(error).__name__}: {error}")
                    return
                self.found.done[what] += 1


def soak(*, cars: int, speed: float, duration: float, cycle: float, seed: int = 0, witness: bool = True) -> Findings:
    """Run it. duration, cycle: seconds; speed: simulated seconds in each; witness: with the database at hand."""
    with ExitStack() as stack:
        return Soak(stack, cars=cars, speed=speed, seed=seed, witness=witness).run(duration, cycle)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cars", type=int, default=200)
    parser.add_argument("--speed", type=float, default=20, help="simulated seconds in each second")
    parser.add_argument("--duration", type=float, default=7200, help="seconds")
    parser.add_argument("--cycle", type=float, default=CYCLE_S, help="seconds in which all troubles happen once")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    found = soak(**vars(asked))
    print(found.table(), end="")
    return bool(found.problems())


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[2])
    sys.exit(main())
