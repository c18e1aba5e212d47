"""A simulated TeslaMate: what it would publish over MQTT, moment by moment, on a clock of the caller's.

It follows the facts of TeslaMate's lib/teslamate/mqtt (publisher, vehicle_subscriber) and lib/teslamate/vehicles
(vehicle, summary), and a run of the whole of it: all values retained and sent on change only, in random order within a
burst, and `healthy` unretained and with every summary.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import count, cycle, islice
from random import Random
from typing import Final, NamedTuple

from tmsync.demo import pace
from tmsync.demo.simulated_car import Attention, Phase, SimulatedCar, State, Vehicle, healthy_life, stamp

__all__ = ["Attention", "Phase", "Publication", "SimulatedCar", "SimulatedTeslaMate", "State"]

SENT_WHEN_NIL: Final = frozenset(
    (
        *("charge_energy_added", "charger_actual_current", "charger_phases", "charger_power", "charger_voltage"),
        *("scheduled_charging_start_time", "time_to_full_charge", "shift_state", "geofence", "trim_badging"),
    )
)
"""Keys that are sent empty, which deletes their topic, when they become nil. Of other keys nil is not sent."""

ERRORS_THAT_BREAK: Final = 4
BROKEN_S: Final = 300.0
"""After the fourth API error TeslaMate calls itself unhealthy for so long, then counts anew."""
AWAKE: Final = frozenset({State.ONLINE, State.CHARGING, State.DRIVING, State.UPDATING, State.SUSPENDED})
FRAMES_MISSED_S: Final = 80.0
"""A car that drives out of reach is called offline after so long."""
DRIVE_CLOSES_S: Final = 900.0


class Publication(NamedTuple):
    """One MQTT message, QoS 1, sent at `at` (UTC). A tuple, since a simulated week has millions."""

    at: datetime
    topic: str
    payload: bytes
    retain: bool


class Publisher:
    """What TeslaMate holds about one car: the car itself, what it told of it, and what keeps it from looking."""

    def __init__(self, car: SimulatedCar, rng: Random, now: datetime, prefix: str) -> None:
        self.car = car
        self.rng = rng
        self.prefix = f"{prefix}/{car.car_id}/"
        self.topics: dict[str, str] = {}
        self.vehicle = Vehicle(car, rng, now)
        # Each life is met somewhere along its way, so that a crowd is in all states at once.
        self.phases = cycle(car.phases) if car.phases else islice(healthy_life(rng), rng.randrange(8), None)
        self.plan = 0
        """Changes when the phases are overruled, so that what was planned before is dropped."""
        self.turn = 0
        """The same for TeslaMate's next look at the car."""
        self.outage = 0
        """And for the end of an outage."""
        self.present = False
        self.starting = True
        self.ready_at = 0.0
        self.signed_in = True
        self.api_down = False
        self.counts_errors = True
        """Whether the API's errors are such that TeslaMate counts: timeouts (504, 408) are not."""
        self.limited_until = 0.0
        self.lost_at = 0.0
        self.offline_since: datetime | None = None
        """When TeslaMate took a car that is out of reach for one that is offline."""
        self.errors = 0
        self.broken_until = 0.0
        self.told: dict[str, str | None] = {}
        self.told_healthy: bool | None = None

    def topic(self, key: str) -> str:
        found = self.topics.get(key)
        if found is None:
            found = self.topics[key] = self.prefix + key
        return found


class SimulatedTeslaMate:
    """A TeslaMate with its cars. It starts at `start`; `until` brings it on; controls act at the time reached.

    namespace: TeslaMate's MQTT_NAMESPACE.
    sends_live_healthy: False for a TeslaMate before 2.1.0, which keeps `healthy` retained and tells only changes.
    """

    def __init__(
        self,
        cars: Sequence[SimulatedCar],
        start: datetime,
        *,
        namespace: str = "",
        seed: int = 0,
        sends_live_healthy: bool = True,
    ) -> None:
        self.start = start
        self.seed = seed
        self.sends_live_healthy = sends_live_healthy
        self.alive = False
        self._prefix = "/".join(part for part in ("teslamate", namespace, "cars") if part)
        self._elapsed = 0.0
        self._now = start
        self._order = count()
        self._due: list[tuple[float, int, Callable[[Publisher, int], None], Publisher, int]] = []
        self._out: list[Publication] = []
        self._cars: dict[int, Publisher] = {}
        for car in cars:
            self.add_car(car)
        self.start_again()

    @property
    def now(self) -> datetime:
        """The simulated time reached."""
        return self._now

    @property
    def has_told_all(self) -> bool:
        """Whether it has told of every car since it was started."""
        return not any(car.starting for car in self._cars.values())

    def until(self, moment: datetime) -> Iterator[Publication]:
        """What is published up to and including `moment`, in time order; the clock stands there when all is taken."""
        end = (moment - self.start).total_seconds()
        while True:
            if self._out:
                batch, self._out = self._out, []
                yield from batch
            elif self._due and self._due[0][0] <= end:
                due, _, action, car, token = heapq.heappop(self._due)
                self._set_clock(due)
                action(car, token)
            else:
                self._set_clock(max(end, self._elapsed))
                return

    def next_due(self) -> datetime | None:
        """When something happens next; None when nothing ever will."""
        if self._out:
            return self._now
        return self.start + timedelta(seconds=self._due[0][0]) if self._due else None

    def truth(self, car_id: int) -> dict[str, str | None]:
        """What is true of a car, whether TeslaMate looks or not, as it would tell it."""
        vehicle = self._cars[car_id].vehicle
        vehicle.advance(self._now)
        return dict(vehicle.values)

    # -- controls

    def die(self) -> None:
        """TeslaMate is gone without a word: nothing more is published, and the retained values stay."""
        self.alive = False
        for car in self._cars.values():
            car.turn += 1

    def start_again(self) -> None:
        """TeslaMate starts, or restarts: it knows nothing of what it told before, and publishes for every car."""
        self.alive = True
        for car in self._cars.values():
            car.present = True
            car.starting = True
            car.told, car.told_healthy = {}, None
            car.limited_until = car.broken_until = 0.0
            car.errors = 0
            if self.sends_live_healthy:
                self._publish(car, "healthy", b"", retain=True)
            seconds = pace.second_look(car.vehicle, car.car, car.rng)
            car.ready_at = self._after(seconds)
            self._look_again(car, seconds)

    def api_outage(self, car_id: int | None = None, duration: timedelta | None = None, *, counted: bool = True) -> None:
        """Tesla's API answers with errors, for one car or all, until `api_recovers` or for `duration`.

        counted: False for timeouts (504, 408), which TeslaMate calls healthy while every value stands still.
        """
        for car in self._chosen(car_id):
            car.api_down = True
            car.counts_errors = counted
            car.outage += 1
            self._look_again(car, max(0.0, car.ready_at - self._elapsed))
            if duration is not None:
                self._later(duration.total_seconds(), self._recover, car, car.outage)

    def api_recovers(self, car_id: int | None = None) -> None:
        """Tesla's API answers again. TeslaMate goes on calling itself unhealthy until its five minutes are over."""
        for car in self._chosen(car_id):
            self._recover(car, car.outage)

    def rate_limited(self, car_id: int, seconds: float = 300) -> None:
        """HTTP 429: one summary, then silence for Retry-After."""
        car = self._cars[car_id]
        if self._watches(car):
            self._tell_health(car)
        car.limited_until = self._after(seconds)
        self._look_again(car, seconds)

    def force(self, car_id: int, state: State, attention: Attention = Attention.NONE) -> None:
        """Put a car into `state`, where it stays until `resume`."""
        car = self._cars[car_id]
        car.plan += 1
        car.vehicle.enter(state, self._now, attention)
        self._notice(car)

    def lose_reach(self, car_id: int, duration: timedelta) -> None:
        """The car is out of reach while it drives or charges, for `duration`."""
        car = self._cars[car_id]
        self._lose(car, car.plan)
        self._later(duration.total_seconds(), self._regain, car, car.plan)

    def resume(self, car_id: int) -> None:
        """Let a forced car go on with its next phase."""
        car = self._cars[car_id]
        self._enter_next(car, car.plan)

    def add_car(self, car: SimulatedCar) -> None:
        """A further car, of which TeslaMate publishes nothing before it starts again."""
        if car.car_id in self._cars:
            raise ValueError(f"there is a car {car.car_id} already")
        rng = Random(f"{self.seed}:{car.car_id}")  # noqa: S311 - nothing secret hangs on it
        added = self._cars[car.car_id] = Publisher(car, rng, self._now, self._prefix)
        self._enter_next(added, added.plan)

    # -- the car's own life

    def _enter_next(self, car: Publisher, plan: int) -> None:
        if plan != car.plan:
            return
        car.plan += 1
        phase = next(car.phases)
        car.vehicle.enter(phase.state, self._now, phase.attention)
        self._later(phase.duration.total_seconds(), self._enter_next, car, car.plan)
        if phase.out_of_reach:
            gone = phase.reachable_for.total_seconds()
            self._later(gone, self._lose, car, car.plan)
            self._later(gone + phase.out_of_reach.total_seconds(), self._regain, car, car.plan)
        self._notice(car)

    def _lose(self, car: Publisher, plan: int) -> None:
        if plan == car.plan:
            car.vehicle.reachable = False
            car.lost_at = self._elapsed
            self._notice(car)

    def _regain(self, car: Publisher, plan: int) -> None:
        if plan == car.plan and not car.vehicle.reachable:
            car.vehicle.reachable = True
            self._notice(car)

    # -- TeslaMate looking at it

    def _watches(self, car: Publisher) -> bool:
        """Whether TeslaMate gets anything new of the car."""
        kept_off = car.api_down or self._elapsed < max(car.limited_until, car.ready_at)
        return self._asks(car) and not kept_off

    def _asks(self, car: Publisher) -> bool:
        return self.alive and car.present and car.signed_in

    def _notice(self, car: Publisher) -> None:
        if self._watches(car):
            car.turn += 1
            self._look(car, car.turn)

    def _look_again(self, car: Publisher, seconds: float) -> None:
        car.turn += 1
        self._later(seconds, self._look, car, car.turn)

    def _look(self, car: Publisher, turn: int) -> None:
        """One request to Tesla's API and what follows from it."""
        if turn != car.turn or not self._asks(car):
            return
        if self._elapsed < car.limited_until:
            self._look_again(car, car.limited_until - self._elapsed)
        elif car.api_down:
            self._fail(car)
        elif car.vehicle.reachable:
            self._refresh(car)
        else:
            self._miss(car)

    def _refresh(self, car: Publisher) -> None:
        vehicle = car.vehicle
        if car.starting or car.offline_since is not None:
            vehicle.changed = dict.fromkeys(vehicle.values)
        elif car.told.get("state") != vehicle.state:
            vehicle.changed["state"] = None
        car.offline_since = None
        vehicle.advance(self._now)
        if car.starting and vehicle.state in AWAKE:
            # It finds out what the car does when it looks at what it has already told.
            self._summary(car, state=State.ONLINE)
            vehicle.changed["state"] = vehicle.changed["since"] = None
        car.starting = False
        self._summary(car)
        seconds = pace.next_look(car.vehicle, car.car, car.rng)
        if seconds is not None:
            self._look_again(car, seconds + pace.request(car.rng))

    def _miss(self, car: Publisher) -> None:
        """The car cannot be reached: a drive goes on for 15 minutes, a charge for as long as it takes."""
        gone = self._elapsed - car.lost_at
        if car.vehicle.state is State.CHARGING and not car.starting:
            self._look_again(car, pace.AFTER_ERROR_S)
        elif car.vehicle.state is State.DRIVING and not car.starting and gone < DRIVE_CLOSES_S:
            if gone >= FRAMES_MISSED_S and car.told.get("state") != State.OFFLINE:
                self._tell_all(car, {"state": State.OFFLINE})
            self._look_again(car, max(5.0, FRAMES_MISSED_S - gone) if gone < FRAMES_MISSED_S else pace.AFTER_ERROR_S)
        else:
            values = dict(car.vehicle.values) if car.starting else {}
            car.starting = False
            car.offline_since = car.offline_since or self._now
            self._tell_all(car, {**values, "state": State.OFFLINE, "since": stamp(car.offline_since)})
            self._look_again(car, pace.ASLEEP_S)

    def _fail(self, car: Publisher) -> None:
        """An API error: the fourth makes TeslaMate unhealthy for five minutes, in which none counts."""
        if car.vehicle.state is State.SUSPENDED:
            # It does not ask, so it does not see that nobody answers.
            self._look_again(car, pace.AFTER_ERROR_S)
            return
        if car.counts_errors and self._elapsed >= car.broken_until:
            car.errors += 1
            if car.errors == ERRORS_THAT_BREAK:
                car.errors, car.broken_until = 0, self._after(BROKEN_S)
        self._tell_health(car)
        self._look_again(car, pace.after_error(car.vehicle.state) + pace.request(car.rng))

    def _recover(self, car: Publisher, outage: int) -> None:
        if car.api_down and outage == car.outage:
            car.api_down = False
            car.errors = 0
            self._look_again(car, pace.request(car.rng))

    # -- telling

    def _summary(self, car: Publisher, **instead: str) -> None:
        """Everything that has changed, and the heartbeat. instead: what is told in place of the truth."""
        changed, car.vehicle.changed = car.vehicle.changed, {}
        self._tell_all(car, {key: instead.get(key, car.vehicle.values[key]) for key in changed})

    def _tell_all(self, car: Publisher, values: Mapping[str, str | None]) -> None:
        """`values` and the heartbeat in random order: ten tasks at a time publish them."""
        keys = [*values, "healthy"]
        car.rng.shuffle(keys)
        for key in keys:
            if key == "healthy":
                self._tell_health(car)
            else:
                self._tell(car, key, values[key])

    def _tell(self, car: Publisher, key: str, value: str | None) -> None:
        if (value is not None or key in SENT_WHEN_NIL) and (key not in car.told or car.told[key] != value):
            self._publish(car, key, b"" if value is None else value.encode(), retain=True)
            car.told[key] = value

    def _tell_health(self, car: Publisher) -> None:
        healthy = car.signed_in and self._elapsed >= car.broken_until
        if self.sends_live_healthy or healthy is not car.told_healthy:
            self._publish(car, "healthy", b"true" if healthy else b"false", retain=not self.sends_live_healthy)
        car.told_healthy = healthy

    def _publish(self, car: Publisher, key: str, payload: bytes, *, retain: bool) -> None:
        self._out.append(Publication(self._now, car.topic(key), payload, retain))

    # -- time

    def _set_clock(self, elapsed: float) -> None:
        self._elapsed = elapsed
        self._now = self.start + timedelta(seconds=elapsed)

    def _later(self, seconds: float, action: Callable[[Publisher, int], None], car: Publisher, token: int) -> None:
        heapq.heappush(self._due, (self._after(seconds), next(self._order), action, car, token))

    def _after(self, seconds: float) -> float:
        """That moment, in whole microseconds, as datetime counts them.

        A caller can ask for it, and what waits for it does not come just before it, again and again without end.
        """
        return round(self._elapsed + seconds, 6)

    def _chosen(self, car_id: int | None) -> list[Publisher]:
        return list(self._cars.values()) if car_id is None else [self._cars[car_id]]
