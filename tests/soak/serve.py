"""Simulated TeslaMate traffic and callers through `tmsync serve`, for hours.

Meanwhile TeslaMate, the broker, PostgreSQL, Tesla's API and serve itself are restarted, connections are cut, and tokens
rotated. Every verdict and every answer is held against what the simulation knows, every call that reaches Tesla against
what the contract lets go up; memory, file descriptors and threads of serve are measured.
"""

import http.client
import json
import os
import signal
import sys
import threading
import time
from collections import Counter, deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.soak.answers import KEYS, Judge
from tests.soak.callers import Caller
from tests.soak.cars import SoakCar
from tests.soak.oracle import SERVE_WITNESS_S, Span, thresholds
from tests.soak.records import Records, enrol
from tests.soak.world import DOWN_S, LOOK_S, MARKER, PATIENCE_S, WARM_UP, Findings, World, as_program, in_words
from tests.support.brokers import Watching, watching
from tests.support.cars import tesla
from tests.support.surroundings import PASSWORD, TwcFolder
from tmsync.demo.server import free_port
from tmsync.demo.simulated_car import State
from tmsync.demo.teslamate import access_token

PLAN = (
    (30, "restart_broker"),
    (60, "cut"),
    (80, "restart_postgres"),
    (100, "restart_serve"),
    (140, "die"),
    (200, "kill_serve"),
    (340, "start_again"),
    (390, "rotate"),
    (420, "api_outage"),
    (460, "restart_tesla"),
    (500, "api_recovers"),
    (530, "cut"),
    (560, "restart_tesla"),
)
UNTIL = {"restart_serve": 0.35, "kill_serve": 0.35}
"""serve itself is restarted no more after this share of the time, so that it can be seen whether it grows."""
CALLERS = 4
SPARE_THREADS = (os.cpu_count() or 1) + 4
"""asyncio's own, which it makes when they are needed."""
STARTS_S = 30.0
DELIVERED_S = 15.0
"""A rotated token is TWCManager's so soon."""


@dataclass
class Served(Findings):
    """What serve told and answered."""

    looks: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    """Source events by where they lead."""
    answers: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    commands: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0

    def rows(self) -> list[str]:
        return [
            f"answers checked: {in_words(self.answers)}; the slowest took {self.slowest_s:.2f} s",
            f"GETs that reached Tesla: {in_words(self.calls)}",
            f"commands, each once: {in_words(self.commands)}",
            f"verdicts checked: {in_words(self.verdicts)}",
            f"changes of source: {in_words({f'to {to}': count for to, count in self.told.items()})}",
        ]


class ServeSoak(World):
    """serve in the midst of it."""

    plan = PLAN
    until = UNTIL

    def __init__(self, stack: ExitStack, *, cars: int, speed: float, seed: int, witness: bool) -> None:
        self._fetched: deque[tuple[int, State, float, datetime]] = deque()
        super().__init__(stack, cars=cars, speed=speed, seed=seed, witness=witness, keys=KEYS)
        self.diary.witness_s = SERVE_WITNESS_S
        self.found: Served = Served("serve", cars, spare_descriptors=CALLERS, spare_threads=SPARE_THREADS)
        self.pending: deque[tuple[float, float, int, str]] = deque()
        numbers = range(1, cars + 1)
        made = [SoakCar(car, f"5YJ3E1EA7KF{car:06}", 1_000_000 + car, self.pacer) for car in numbers]
        enrol(self.teslamate, self.diary, made)
        stack.enter_context(Records(self.teslamate, self.diary, self._fetched, speed))
        self.api = stack.enter_context(tesla(*made))
        self.api.token = self.teslamate.access
        self.judge = Judge(self.diary, self.api, self._amiss)
        self.twc = TwcFolder(self.folder, free_port())
        self.port = free_port()
        self.marked: deque[float] = deque(maxlen=200)
        self.life = stack.enter_context(ExitStack())
        # Retained values are there before serve is.
        time.sleep(1.0)
        self.diary.cuts.append(Span(0, None))
        self._begin()
        self.diary.cuts[0].end = time.monotonic() + 1.0
        self.callers = [
            Caller(
                self.port, made[place::CALLERS], speed=speed, seed=seed + place, token=self._token,
                tell=self.judge.take,
            )
            for place in range(CALLERS)
        ]  # fmt: skip

    # -- the process

    def _environ(self) -> dict[str, str]:
        login = {} if self.diary.witness else {"TMSYNC_DATABASE_USER": "twc", "TMSYNC_DATABASE_PASSWORD": PASSWORD}
        return {
            **self.teslamate.environ(**login),
            **thresholds(self.diary.speed),
            "TMSYNC_MQTT_HOST": "127.0.0.1",
            "TMSYNC_MQTT_PORT": str(self.way.port),
            "TMSYNC_SERVE_LISTEN": f"127.0.0.1:{self.port}",
            "TMSYNC_SERVE_STATE_DIR": str(self.folder / "state"),
            "TMSYNC_SERVE_UPSTREAM": self.api.url,
            "TMSYNC_TWCMANAGER_CONFIG_FILE": str(self.twc.config),
        }

    def _begin(self) -> None:
        """Start serve; once this returns, it is ready and connected to the broker."""
        known, ready = self.connections, len(self.judge.ready_at)
        self.diary.restarts.append(time.monotonic())
        self.fleet: Watching = self.life.enter_context(watching(["--json"], self._environ(), command="serve"))
        self.reader = threading.Thread(target=self.read, args=(self.fleet,), daemon=True)
        self.reader.start()
        deadline = time.monotonic() + STARTS_S
        while self.connections == known or len(self.judge.ready_at) == ready:
            if time.monotonic() > deadline:
                raise TimeoutError(f"serve was not ready within {STARTS_S:g} s")
            time.sleep(0.02)

    def _end(self, how: signal.Signals) -> None:
        process = self.fleet.process
        process.send_signal(how)
        code = process.wait(STARTS_S)
        self.reader.join(STARTS_S)
        assert process.stderr is not None
        self.found.stderr += process.stderr.read()
        if how is signal.SIGTERM and code != 0:
            self.found.amiss(f"serve ended with {code}")
        self.found.code = 0 if how is signal.SIGKILL else code
        self.life.close()

    # -- what is done

    def restart_serve(self) -> None:
        self._again(signal.SIGTERM)

    def kill_serve(self) -> None:
        self._again(signal.SIGKILL)

    def _again(self, how: signal.Signals) -> None:
        down = Span(time.monotonic())
        self.judge.serve_downs.append(down)
        with self._interrupted():
            self._end(how)
            self._begin()
            down.end = time.monotonic()
        self.found.usage.clear()
        over = time.monotonic() - self.begun
        self.found.warm_at = over + (self.duration - over) * WARM_UP

    def restart_tesla(self) -> None:
        down = Span(time.monotonic())
        self.judge.tesla_downs.append(down)
        self.api.stop()
        time.sleep(DOWN_S)
        self.api.start()
        down.end = time.monotonic()

    def rotate(self) -> None:
        """TeslaMate refreshes its token, and Tesla takes the one before no more."""
        self.teslamate.store(access_token(datetime.now(UTC) + timedelta(hours=8)))
        self.api.token = self.teslamate.access
        begun = time.monotonic()
        while self._token() != self.teslamate.access:
            if time.monotonic() > begun + DELIVERED_S + 5:
                self.found.amiss("TWCManager did not get the new token in time")
                return
            time.sleep(0.2)

    # -- what is seen

    def refreshed(self, car_id: int, state: State) -> None:
        at = time.monotonic()
        self.diary.look(car_id, at)
        self._fetched.append((car_id, state, at, datetime.now(UTC)))

    def _token(self) -> str:
        """What TWCManager holds."""
        try:
            return str(json.loads(self.twc.settings.read_bytes()).get("carApiBearerToken", ""))
        except (OSError, ValueError):
            return self.teslamate.access

    def read(self, fleet: Watching) -> None:
        """Every event of one serve, in a thread of its own."""
        while (line := fleet.lines.get()) is not None:
            at = time.monotonic()
            if line.startswith('{"event": "request"'):
                continue
            event = json.loads(line)
            match event.get("event"):
                case "broker":
                    self.connections += event["state"] == "connected"
                case "serve" if event["state"] == "ready":
                    self.judge.ready_at.append(at)
                case "source" if event["car_id"] != MARKER:
                    self.found.told[event["to"]] += 1
                    self.pending.append((at, at, event["car_id"], event["verdict"]))
                case None:
                    self.found.amiss(f"serve gave up: {line.strip()}")

    def look(self) -> None:
        """Every verdict, as /tmsync/vehicles shows it."""
        begin = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", "/tmsync/vehicles")
            vehicles: list[dict[str, Any]] = json.loads(connection.getresponse().read())["vehicles"]
        except (OSError, http.client.HTTPException, ValueError):
            end = time.monotonic()
            if not any(span.begin - 1 <= end and begin <= (span.end or end) + 1 for span in self.judge.serve_downs):
                self.found.amiss("serve does not tell its vehicles")
            return
        finally:
            connection.close()
        end = time.monotonic()
        self.found.looks += 1
        for vehicle in vehicles:
            if vehicle["car_id"] == MARKER:
                self._time(vehicle["telemetry"].get("odometer", 0.0), begin, end)
                continue
            self.found.verdicts[vehicle["verdict"]] += 1
            self.pending.append((begin, end, vehicle["car_id"], vehicle["verdict"]))

    def _time(self, shown: float, begin: float, end: float) -> None:
        """The first marker that was sent before the look and not shown is late."""
        late = [sent for sent in self.marked if shown + 0.005 < sent <= begin]
        if late and shown:
            self.delayed(late[0], end)

    def check(self, until: float) -> None:
        while self.pending and self.pending[0][1] <= until:
            begin, end, car_id, told = self.pending.popleft()
            allowed = self.diary.allowed(car_id, end)
            if told not in allowed and begin < end:
                allowed |= self.diary.allowed(car_id, begin)
            if told not in allowed:
                self._amiss(f"called {told}, not {' or '.join(sorted(allowed))}", car_id, end)
        self.judge.check(until)

    def _amiss(self, what: str, car_id: int, at: float) -> None:
        if car_id in self.diary.cars:
            self.wrong_about(f"car {car_id}: {what}", car_id, at)
        else:
            self.found.amiss(f"at {at - self.begun:.1f} s {what}")

    # -- all of it

    def run(self, duration: float, cycle: float) -> Served:
        self.begun = time.monotonic()
        doer = threading.Thread(target=self.carry_out, args=(duration, cycle), daemon=True)
        for thread in (*self.callers, doer):
            thread.start()
        due = self.begun
        while time.monotonic() < self.begun + duration:
            self.marked.append(self.mark())
            self.found.measure(self.fleet.process.pid, time.monotonic() - self.begun)
            self.look()
            self.check(time.monotonic() - PATIENCE_S)
            due = max(due + LOOK_S, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
        doer.join(60)
        for caller in self.callers:
            caller.ended.set()
        for caller in self.callers:
            caller.join(60)
        self.found.seconds = time.monotonic() - self.begun
        self._end(signal.SIGTERM)
        self.check(time.monotonic())
        self.judge.check_at_the_end()
        found, judge = self.found, self.judge
        found.messages = self.diary.messages
        found.answers, found.calls, found.commands = judge.answers, judge.calls, judge.commands
        found.slowest_s = judge.slowest_s
        return found


def soak(*, cars: int, speed: float, duration: float, cycle: float, seed: int = 0, witness: bool = True) -> Served:
    """Run it. duration, cycle: seconds; speed: simulated seconds in each; witness: TeslaMate's sessions can be seen."""
    with ExitStack() as stack:
        return ServeSoak(stack, cars=cars, speed=speed, seed=seed, witness=witness).run(duration, cycle)


if __name__ == "__main__":
    sys.exit(as_program(soak, __doc__))
