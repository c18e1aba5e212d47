"""What a soak runs in: real servers, simulated cars with their TeslaMate, and what is done to them."""

import argparse
import contextlib
import os
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.conftest import server_folder, teslamate_on
from tests.faults.proxy import Proxy, proxy
from tests.soak.oracle import Diary, Span
from tests.support.mosquitto import Mosquitto
from tests.support.surroundings import TeslaMate
from tmsync.core.clock import SystemClock
from tmsync.demo.pacer import Pacer
from tmsync.demo.postgres import find_binaries
from tmsync.demo.simulated_car import State
from tmsync.demo.simulator import Publication, SimulatedCar, SimulatedTeslaMate

CYCLE_S = 600.0
WARM_UP = 0.2
"""The share of the time after which nothing may grow any more."""
GROWTH_KB = 4096
LOOK_S = 0.5
DOWN_S = 1.0
STALL_S = 1.0
"""When a message takes this and a second more to be shown, this machine is too busy to judge by."""
MARKER = 9999
"""A car of our own, whose odometer tells when it was sent."""
PATIENCE_S = 30.0
"""What was told is checked so much later, when it is known how long messages took at that time."""
MOST_WRONG, MOST_ALIKE = 200, 5
"""So much is told; what is alike but for its numbers is counted."""


class Recorded(SimulatedTeslaMate):
    """Writes down what it sends, and when."""

    diary: Diary
    on_refresh: Callable[[int, State], None]
    """Told of each car of which data came from Tesla, before that is published."""

    def until(self, moment: datetime) -> Iterator[Publication]:
        for message in super().until(moment):
            self.diary.note(message.topic, message.payload, message.retain, time.monotonic())
            yield message
        self.diary.end_look(time.monotonic())

    def _refresh(self, car: Any) -> None:
        self.diary.end_look(time.monotonic())
        super()._refresh(car)
        self.on_refresh(car.car.car_id, car.vehicle.state)


@dataclass
class Findings:
    """What a soak brought to light."""

    program: str
    cars: int
    seconds: float = 0
    messages: int = 0
    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    alike: Counter[str] = field(default_factory=Counter)
    """All that was wrong, by what it says without its numbers."""
    stalls: int = 0
    longest_s: float = 0.0
    """How long the slowest message took."""
    usage: list[tuple[float, int, int, int]] = field(default_factory=list)
    """When; resident memory in kB; file descriptors; threads."""
    warm_at: float | None = None
    """When what is measured must have settled; none: after the warm-up of the whole."""
    spare_descriptors: int = 0
    spare_threads: int = 0
    """So many may come and go with what there is to do."""
    code: int | None = None
    stderr: str = ""

    def amiss(self, what: str) -> None:
        """Keep it, and tell it at once: two hours are long to wait for what the first minute showed."""
        kind = re.sub(r"[\d.]+", "#", what.partition("; last sent")[0])
        self.alike[kind] += 1
        if self.alike[kind] <= MOST_ALIKE and len(self.wrong) < MOST_WRONG:
            self.wrong.append(what)
            print(f"WRONG: {what}", file=sys.stderr, flush=True)

    def measure(self, process: int, at: float) -> None:
        folder = Path("/proc") / str(process)
        with contextlib.suppress(OSError, KeyError):
            fields = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
            memory, threads = int(fields["VmRSS"].split()[0]), int(fields["Threads"])
            self.usage.append((at, memory, len(list((folder / "fd").iterdir())), threads))

    def after_warm_up(self) -> tuple[list[tuple[float, int, int, int]], list[tuple[float, int, int, int]]]:
        """The first and the last third of what was measured after the warm-up."""
        warm_at = self.seconds * WARM_UP if self.warm_at is None else self.warm_at
        settled = [one for one in self.usage if one[0] >= warm_at] or self.usage[-1:]
        third = max(1, len(settled) // 3)
        return settled[:third], settled[-third:]

    def growth_kb(self) -> float:
        first, last = self.after_warm_up()
        return statistics.median(one[1] for one in last) - statistics.median(one[1] for one in first)

    def problems(self) -> list[str]:
        """Everything that must not be."""
        first, last = self.after_warm_up()
        found = list(self.wrong)
        found += [f"{count} times: {kind}" for kind, count in self.alike.items() if count > MOST_ALIKE]
        if self.growth_kb() > GROWTH_KB:
            found.append(f"memory grew by {self.growth_kb():.0f} kB")
        kinds = ((2, "file descriptors", self.spare_descriptors), (3, "threads", self.spare_threads))
        for place, what, spare in kinds:
            # The median: while it reconnects or asks the database it has one more of each.
            before, after = (statistics.median(one[place] for one in part) for part in (first, last))
            if after > before + spare:
                found.append(f"{what} grew from {before:g} to {after:g}")
        if self.code != 0:
            found.append(f"{self.program} ended with {self.code}")
        return [*found, *([f"standard error: {self.stderr[:400]}"] if self.stderr else [])]

    def rows(self) -> list[str]:
        """What is special about this soak."""
        return []

    def table(self) -> str:
        first, last = self.after_warm_up()
        rows = [
            f"{self.program}: {self.cars} cars, {self.seconds:.0f} s, {self.messages} messages",
            f"slowest message {self.longest_s:.1f} s until it was shown; {self.stalls} too slow to judge by",
            "done: " + in_words(self.done),
            *self.rows(),
        ]
        for place, what in ((1, "resident kB"), (2, "file descriptors"), (3, "threads")):
            before, after = (statistics.median(one[place] for one in part) for part in (first, last))
            most = max(one[place] for one in self.usage)
            rows.append(f"{what}: {before:g} after the warm-up, {after:g} at the end, {most:g} at most")
        tenth = max(1, len(self.usage) // 10)
        rows.append("resident kB meanwhile: " + ", ".join(str(one[1]) for one in self.usage[::tenth]))
        return "\n".join([*rows, *(f"WRONG: {one}" for one in self.problems()), ""])


def as_program(soak: Callable[..., Findings], description: str | None) -> int:
    """Run `soak` as the command line asks for; the exit code."""
    os.chdir(Path(__file__).parents[2])
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--cars", type=int, default=200)
    parser.add_argument("--speed", type=float, default=20, help="simulated seconds in each second")
    parser.add_argument("--duration", type=float, default=7200, help="seconds")
    parser.add_argument("--cycle", type=float, default=CYCLE_S, help="seconds in which all troubles happen once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-witness", dest="witness", action="store_false", help="TeslaMate's sessions are not seen")
    found = soak(**vars(parser.parse_args()))
    print(found.table(), end="")
    return bool(found.problems())


def in_words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items(), key=lambda one: -one[1]))


class World:
    """The servers, the simulation, and what is done to them.

    plan: seconds into each cycle, and what is done then. Shorter cycles do the same at a quicker pace.
    witness: whether tmsync can see TeslaMate's database sessions. keys: the topics whose values are written down.
    """

    plan: Sequence[tuple[float, str]]
    until: Mapping[str, float] = {}
    """What is done no more after a share of the whole time."""
    found: Findings

    def __init__(
        self,
        stack: ExitStack,
        *,
        cars: int,
        speed: float,
        seed: int,
        witness: bool,
        keys: Collection[str] = (),
    ) -> None:
        self.diary = Diary(speed, witness=witness)
        self.diary.keys = keys
        self.folder = stack.enter_context(server_folder())
        self.teslamate: TeslaMate = stack.enter_context(teslamate_on(next(find_binaries())))
        self.teslamate.fresh()
        (self.folder / "broker").mkdir()
        self.broker = stack.enter_context(Mosquitto(self.folder / "broker", persistence=True))
        self.simulated = Recorded(
            [SimulatedCar(number, f"Car {number}") for number in range(1, cars + 1)], SystemClock().now(), seed=seed
        )
        self.simulated.diary = self.diary
        self.simulated.on_refresh = self.refreshed
        self.sessions: list[Any] = []
        stack.callback(self._log_out)
        self._log_in()
        self.pacer = stack.enter_context(Pacer(self.simulated, self.broker.port, speed=speed))
        self.way: Proxy = stack.enter_context(proxy(self.broker.port))
        self.connections = 0
        """How often tmsync has told that it is connected to the broker."""
        self.cars = cars
        self.duration = 0.0
        self.begun = time.monotonic()

    # -- what is done

    def restart_broker(self) -> None:
        """An orderly restart; retained values persist."""
        with self._interrupted():
            self.broker.stop()
            time.sleep(DOWN_S)
            self.broker.start()

    def cut(self) -> None:
        """The network breaks between tmsync and the broker."""
        with self._interrupted():
            self.way.cut()

    def restart_postgres(self) -> None:
        """TeslaMate's sessions break with it, and are back as soon as it is."""
        span = Span(time.monotonic())
        self.diary.database_downs.append(span)
        self.teslamate.postgres.stop()
        time.sleep(DOWN_S)
        self.teslamate.postgres.start()
        self._log_in()
        span.end = time.monotonic()

    def die(self) -> None:
        """TeslaMate is gone, with its sessions where they can be seen."""
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
        """TeslaMate gets errors from Tesla's API, for a third of the cars."""
        self._outage(over=False)

    def api_recovers(self) -> None:
        self._outage(over=True)

    def _outage(self, *, over: bool) -> None:
        with self.pacer.steering() as teslamate:
            for car_id in range(3, self.cars + 1, 3):
                (teslamate.api_recovers if over else teslamate.api_outage)(car_id)

    @contextlib.contextmanager
    def _interrupted(self) -> Iterator[Span]:
        """Until both ends are connected again and have caught up."""
        span = Span(time.monotonic())
        known = self.connections
        self.diary.cuts.append(span)
        yield span
        deadline = time.monotonic() + 30
        while self.connections == known or not self.pacer._client.is_connected():  # type: ignore[union-attr]
            if time.monotonic() > deadline:
                self.found.amiss("tmsync or the simulation did not reconnect within 30 s")
                break
            time.sleep(0.05)
        span.end = time.monotonic() + 1.0

    def _log_in(self) -> None:
        """As TeslaMate: a pool of sessions with Ecto's way to ask."""
        self._log_out()
        for _ in range(3):
            session = self.teslamate.logged_in()
            session.__enter__()
            self.sessions.append(session)

    def _log_out(self) -> None:
        sessions, self.sessions = self.sessions, []
        for session in sessions:
            session.__exit__()

    def carry_out(self, duration: float, cycle: float) -> None:
        """The plan, again and again."""
        self.duration = duration
        for round_begins in range(int(duration / cycle) + 1):
            for moment, what in self.plan:
                at = self.begun + (round_begins + moment / CYCLE_S) * cycle
                if at > self.begun + duration - 2:
                    return
                time.sleep(max(0.0, at - time.monotonic()))
                if at - self.begun > duration * self.until.get(what, 1.0):
                    continue
                try:
                    getattr(self, what)()
                except Exception as error:  # noqa: BLE001 - a thread's end would go unseen
                    self.found.wrong.append(f"{what} failed: {type(error).__name__}: {error}")
                    return
                self.found.done[what] += 1

    # -- what is seen

    def refreshed(self, car_id: int, state: State) -> None:
        """TeslaMate got data of a car."""

    def mark(self) -> float:
        """Send the marker the way all messages go; when."""
        client, at = self.pacer._client, round(time.monotonic(), 2)
        if client is not None:
            client.publish(f"teslamate/cars/{MARKER}/odometer", f"{at:.2f}", 1)
        return at

    def delayed(self, sent: float, shown: float) -> None:
        """A marker was shown; while they are slow, what is under way may be late."""
        # A cut keeps messages back.
        if any(span.begin - 1 <= shown and sent <= (span.end or shown) + 1 for span in self.diary.cuts[-5:]):
            return
        self.found.longest_s = max(self.found.longest_s, shown - sent)
        if shown - sent > STALL_S + 1.0:
            self.found.stalls += 1
            self.diary.cuts.append(Span(sent, shown))

    def wrong_about(self, what: str, car_id: int, at: float) -> None:
        diary = self.diary.cars[car_id]
        near = [[one for one in entries if one[0] <= at][-3:] for entries in (diary.states, diary.beats)]
        last = [(round(moment - at, 1), word) for entries in near for moment, word in entries]
        self.found.amiss(f"at {at - self.begun:.1f} s {what}; last sent: {last}")
