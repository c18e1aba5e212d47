"""What tmsync may say of a car at a moment, worked out from what TeslaMate sent and from what was done to it.

It knows nothing of tmsync's own judgement: only the contract's table of thresholds and verdicts. Delays are unknown, so
it answers with every verdict that may be right; `SLACK_S` is how long a message or an answer may be under way.
"""

import bisect
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

SLACK_S = 2.0
NEAR_S = 120.0
"""An interruption that ended so long ago is forgotten."""
WITNESS_S = 60.0
"""watch-mqtt asks the second witnesses once a minute."""
SERVER_START_S = 60.0
SERVE_WITNESS_S = 35.0
"""serve asks twice a minute, and while sessions are missing every five seconds, for half a minute."""
VOUCHED_S = 600.0
"""For so long at most TeslaMate's sessions vouch where silence proves something; no setting shortens it, either."""
STALE_AFTER = {"online": 360, "charging": 360, "driving": 960, "asleep": 360, "offline": 360}
LATE_AFTER = {"online": 140, "charging": 100, "driving": 95, "asleep": 110, "offline": 110}
RECOVER_AFTER = 120
NO_DATA = ("start", "unavailable")
BLIND_AFTER_S = 120.0
"""For so long these keep the verdict that was there before. No setting shortens it where TeslaMate lives faster."""
MOMENTS = 5
"""So many looks are taken at a span in which a verdict may have changed."""
SOURCES = {
    "waiting": "undecided",
    "fresh": "TeslaMate",
    "late": "TeslaMate",
    "quiet": "TeslaMate",
    "stale": "TeslaAPI",
    "unhealthy": "TeslaAPI",
    "blind": "TeslaAPI",
}
Entry = tuple[float, Any]
"""When, in seconds of running time, and what."""
TRUSTED = {"waiting", "fresh", "late", "quiet"}


def thresholds(speed: float) -> dict[str, str]:
    """The settings that fit a TeslaMate that lives `speed` times as fast."""
    scaled = {f"TMSYNC_HEALTH_LATE_AFTER_{state.upper()}": LATE_AFTER[state] / speed for state in LATE_AFTER}
    scaled |= {f"TMSYNC_HEALTH_STALE_AFTER_{state.upper()}": STALE_AFTER[state] / speed for state in STALE_AFTER}
    scaled["TMSYNC_HEALTH_RECOVER_AFTER"] = RECOVER_AFTER / speed
    return {name: str(round(seconds, 3)) for name, seconds in scaled.items()}


@dataclass
class Span:
    """From `begin` to `end`, seconds of running time; None while it lasts."""

    begin: float
    end: float | None = None

    def holds(self, moment: float) -> bool:
        return self.begin <= moment and (self.end is None or moment <= self.end)


@dataclass
class CarDiary:
    """What TeslaMate sent of one car, and when; moments in order."""

    states: list[Entry] = field(default_factory=list)
    beats: list[Entry] = field(default_factory=list)
    values: dict[str, list[Entry]] = field(default_factory=dict)
    """Key -> its values as text, None where it was deleted; of the keys that the diary keeps."""
    looks: list[Entry] = field(default_factory=list)
    """When TeslaMate got data of it from Tesla, and when all that was published."""
    records: list["Record"] = field(default_factory=list)

    def first_look_after(self, moment: float) -> float:
        """When the summary of TeslaMate's first look since was out; 0 before."""
        place = _index(self.looks, moment)
        return self.looks[place][1] if place < len(self.looks) else 0.0

    def first_record_after(self, moment: float) -> "Record | None":
        """Of data that came since."""
        place = bisect.bisect_left(self.records, moment, key=lambda one: one.at)
        return self.records[place] if place < len(self.records) else None


class Record(NamedTuple):
    """A position in TeslaMate's database. at: when its data came from Tesla."""

    at: float
    date: datetime
    begin: float
    """It may have been there from then on, and was from `end` on."""
    end: float


class Diary:
    """All that happened. Written by several threads; entries are only ever appended.

    witness_s: how often the second witnesses are asked. keys: those whose values are kept.
    """

    def __init__(self, speed: float, *, witness: bool) -> None:
        self.speed = speed
        self.witness = witness
        self.witness_s = WITNESS_S
        self.keys: Collection[str] = ()
        self.cars: dict[int, CarDiary] = {}
        self.cuts: list[Span] = []
        """When messages may have been lost or late: broker restarts, cut connections, stalls of this machine."""
        self.deaths: list[Span] = []
        self.database_downs: list[Span] = []
        self.restarts: list[float] = []
        """When tmsync was started, and so knew nothing of what was live before."""
        self.messages = 0
        self._near: list[Span] = []
        self._look: tuple[int, float] | None = None

    def note(self, topic: str, payload: bytes, retained: bool, at: float) -> None:
        """TeslaMate sends a message."""
        self.messages += 1
        *_, car_id, key = topic.split("/")
        car = self.of(int(car_id))
        if key == "state":
            if not car.states or car.states[-1][1] != payload.decode():
                car.states.append((at, payload.decode()))
        elif key == "healthy" and payload and not retained:
            car.beats.append((at, payload == b"true"))
        if key in self.keys:
            car.values.setdefault(key, []).append((at, payload.decode() or None))

    def look(self, car_id: int, at: float) -> None:
        """TeslaMate gets data of a car; what is new of it is sent next."""
        self._look = car_id, at

    def end_look(self, at: float) -> None:
        """All that is sent."""
        if self._look is not None:
            car_id, begun = self._look
            self.of(car_id).looks.append((begun, at))
            self._look = None

    def of(self, car_id: int) -> CarDiary:
        return self.cars.setdefault(car_id, CarDiary())

    def allowed(self, car_id: int, at: float) -> set[str]:
        """Every verdict that may be right at `at`, or was within the slack before."""
        self._look_around(at)
        car, restart = self.cars[car_id], self._restart(at)
        if not restart:
            return self._allowed(car, at)
        # Each process begins with what is retained, and trusts nobody before something live comes.
        heard = car.beats[_index(car.beats, restart) : _index(car.beats, at)]
        found = self._allowed(CarDiary(car.states, heard), at)
        if self._cut(restart) is not None and self._cut(restart) is self._cut(at):
            # A heartbeat may have come before the state, and without that silence proves nothing.
            found.add("quiet")
        return found if heard else found - {"fresh", "late"} | {"waiting"}

    def possible(self, entries: list[Entry], begin: float, end: float, since: float = 0.0) -> Iterator[Any]:
        """What tmsync may believe at some moment from `begin` to `end`, newest first.

        since: what something sent then took the place of is known to be no more.
        """
        self._look_around(end)
        for moment, value in reversed(_before(entries, end)):
            yield value
            if moment <= since or self._latest_arrival(moment) <= begin:
                return

    def newest_beat(self, car_id: int, begin: float, end: float) -> tuple[float, float]:
        """When the newest heartbeat of all that surely arrived by `begin` was sent, and the latest arrival by `end`."""
        self._look_around(end)
        restart = self._restart(begin)
        beats = [moment for moment, _ in _before(self.cars[car_id].beats, end) if moment >= restart - SLACK_S]
        # What is not retained and sent into an interruption may be lost for good.
        sure = (moment for moment in reversed(beats) if moment + SLACK_S <= begin and self._cut(moment) is None)
        return next(sure, 0.0), max((min(self._latest_arrival(moment), end) for moment in beats), default=0.0)

    def is_cut(self, begin: float, end: float) -> bool:
        """Whether something that came before may have been lost between the two, with a slack."""
        return any(
            span.begin - SLACK_S <= end and (span.end is None or span.end + SLACK_S >= begin)
            for span in self.cuts[-40:]
        )

    def is_doubtful(self, entries: list[Entry], begin: float, end: float) -> bool:
        """Whether a value that tmsync may hold at some moment from `begin` to `end` was sent into an interruption.

        It came back with the broker then, or may have.
        """
        self._look_around(end)
        for moment, _ in reversed(_before(entries, end)):
            if any(
                span.begin - SLACK_S <= moment and (span.end is None or moment <= span.end + SLACK_S)
                for span in self.cuts
            ):
                return True
            if self._latest_arrival(moment) <= begin:
                return False
        return False

    def _look_around(self, at: float) -> None:
        self._near = [span for span in self.cuts if span.begin <= at and (span.end is None or span.end > at - NEAR_S)]

    def _restart(self, at: float) -> float:
        """When the process that is there at `at` was started, as far as that matters."""
        return max((moment for moment in self.restarts if moment <= at), default=0.0)

    # -- inside

    def _allowed(self, car: CarDiary, at: float) -> set[str]:
        beats = _before(car.beats, at)
        newest_sure = next((moment for moment, _ in _sure(beats, at - 2 * SLACK_S, self._cut)), None)
        least, most = self._silence(car, at, newest_sure)
        found: set[str] = set()
        states = list(self._states(car, at))
        for begun, state in states:
            if state in NO_DATA:
                found |= self._without_data(car, begun, at)
            else:
                found |= self._by_state(state, least, most, at, newest_sure)
                if state == "offline" and (_state_before(car, begun) == "driving" or not self.witness):
                    # A drive in a dead zone; without the records nobody may know.
                    found |= self._by_state("driving", least, most, at, newest_sure)
                found |= {"blind"} if self._may_be_seeing_again(car, begun, at) else set()
        if newest_sure is None:
            found.add("waiting")
        if self.witness and next(_sure(_before(car.states, at), at - 2 * SLACK_S, self._cut), None) is None:
            # Of a car whose state has not come yet the sessions alone tell.
            found.add("quiet")
        if self._may_be_unhealthy(car, at):
            found.add("unhealthy")
        if self._must_be_unhealthy(car, at):
            found -= TRUSTED
        if all(state not in STALE_AFTER for _, state in states) and self._surely_gone(at):
            found = {"stale"}
        return found

    def _without_data(self, car: CarDiary, begun: float, at: float) -> set[str]:
        """What it was when `begun` was heard of, or what else came in the meantime; then blind."""
        begun = max(_without_data_since(car, begun), self._restart(at))
        heard = min(self._latest_arrival(begun), at)
        earlier = CarDiary(_before(car.states, begun - 1e-6), _before(car.beats, begun - 1e-6))
        found = {"blind"} if at - begun >= BLIND_AFTER_S else set()
        for step in range(MOMENTS):
            share = step / (MOMENTS - 1)
            found |= self._allowed(earlier, begun + (heard - begun) * share) if earlier.states else {"waiting"}
            moment = begun + (at - begun) * share
            found |= {"stale"} if self._may_be_gone(moment, None) else set()
            found |= {"unhealthy"} if self._may_be_unhealthy(car, moment) else set()
        return found - TRUSTED if at - heard >= BLIND_AFTER_S + SLACK_S else found

    def _may_be_seeing_again(self, car: CarDiary, begun: float, at: float) -> bool:
        """Whether the state before, which ended at `begun`, may have been one without data for long enough."""
        if begun - _without_data_since(car, begun) < BLIND_AFTER_S - SLACK_S:
            return False
        return at <= min(self._latest_arrival(begun), at) + RECOVER_AFTER / self.speed + SLACK_S

    def _cut(self, moment: float) -> Span | None:
        """The interruption in which a message sent at `moment` may have been lost or kept back."""
        for span in reversed(self._near):
            if Span(span.begin - SLACK_S, None if span.end is None else span.end + SLACK_S).holds(moment):
                return span
        return None

    def _latest_arrival(self, moment: float) -> float:
        span = self._cut(moment)
        if span is None:
            return moment + SLACK_S
        return float("inf") if span.end is None else span.end + 2 * SLACK_S

    def _silence(self, car: CarDiary, at: float, newest_sure: float | None) -> tuple[float, float]:
        """The least and the most that it may have been, in seconds."""
        anchors = [moment for moment, _ in (*_before(car.beats, at)[-40:], *_before(car.states, at)[-8:])]
        newest = max((min(self._latest_arrival(moment), at) for moment in anchors), default=at)
        sure_state = next((moment for moment, _ in _sure(_before(car.states, at), at - 2 * SLACK_S, self._cut)), 0.0)
        return max(0.0, at - SLACK_S - newest), at - max(newest_sure or 0.0, sure_state, self._restart(at))

    def _states(self, car: CarDiary, at: float) -> Iterator[tuple[float, str]]:
        """The states that watch-mqtt may believe in, newest first: all back to the newest it surely knows."""
        for moment, state in reversed(_before(car.states, at)):
            yield moment, state
            if self._latest_arrival(moment) + SLACK_S <= at:
                return

    def _by_state(self, state: str, least: float, most: float, at: float, newest_sure: float | None) -> set[str]:
        gone = self._may_be_gone(at, newest_sure)
        if state not in STALE_AFTER:
            return {"quiet", "stale"} if gone else {"quiet"}
        late, stale = LATE_AFTER[state] / self.speed, STALE_AFTER[state] / self.speed
        found = set()
        if least < late:
            found.add("fresh")
        # How long ago the sessions were last seen nobody knows.
        if most >= late and least < max(stale, VOUCHED_S if self.witness else 0.0):
            found.add("late")
        if most >= (late if gone else stale):
            found.add("stale")
        return {"stale"} if least >= late and self._surely_gone(at) else found

    def _may_be_gone(self, at: float, newest_sure: float | None) -> bool:
        for span in self.deaths:
            over = span.end is not None and (
                at > span.end + self.witness_s + 2 * SLACK_S or (newest_sure or 0.0) > span.end + SLACK_S
            )
            if self.witness and span.begin <= at and not over:
                return True
        return False

    def _surely_gone(self, at: float) -> bool:
        """Two rounds of questions: a restart of the database in between excuses TeslaMate once."""
        needed = 2 * self.witness_s + 2 * SLACK_S
        # Missing sessions prove nothing before PostgreSQL has run for a minute.
        ends = [span.end or at for span in self.database_downs if span.begin <= at]
        begun = max([self._restart(at), *(end + SERVER_START_S for end in ends)])
        ripe = [span for span in self.deaths if max(span.begin, begun) + needed <= at]
        return self.witness and any(span.holds(at) for span in ripe)

    def _may_be_unhealthy(self, car: CarDiary, at: float) -> bool:
        last = next((moment for moment, healthy in reversed(_before(car.beats, at)) if not healthy), None)
        if last is None:
            return False
        better = next((m for m, healthy in car.beats[_index(car.beats, last) :] if healthy and not self._cut(m)), None)
        return better is None or at <= better + RECOVER_AFTER / self.speed + 2 * SLACK_S

    def _must_be_unhealthy(self, car: CarDiary, at: float) -> bool:
        sure = _sure(_before(car.beats, at), at - 2 * SLACK_S, self._cut)
        last = next((moment for moment, healthy in sure if not healthy), None)
        if last is None:
            return False
        better = next((moment for moment, healthy in car.beats[_index(car.beats, last) :] if healthy), None)
        return better is None or at < better + RECOVER_AFTER / self.speed - SLACK_S


def _without_data_since(car: CarDiary, begun: float) -> float:
    """When the states without data began that end with, or just before, the one that begins at `begun`."""
    for moment, state in reversed(_before(car.states, begun)):
        if state in NO_DATA:
            begun = moment
        elif moment != begun:
            break
    return begun


def _state_before(car: CarDiary, moment: float) -> str:
    return next((state for begun, state in reversed(_before(car.states, moment)) if begun < moment), "")


def _index(entries: list[Entry], moment: float) -> int:
    return bisect.bisect_left(entries, moment, key=_moment)


def _before(entries: list[Entry], at: float) -> list[Entry]:
    """The entries up to `at`, as many as matter."""
    end = bisect.bisect_right(entries, at, key=_moment)
    return entries[max(0, end - 200) : end]


def _moment(entry: Entry) -> float:
    return entry[0]


def _sure(entries: list[Entry], until: float, cut: Callable[[float], Span | None]) -> Iterator[Entry]:
    """Newest first: those that were sent by `until` and surely arrived."""
    return (entry for entry in reversed(entries) if entry[0] <= until and cut(entry[0]) is None)
