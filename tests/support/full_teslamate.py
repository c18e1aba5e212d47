"""The simulated TeslaMate with all its troubles: what a run of the whole of it showed, and its sources say."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from tmsync.core.teslamate.records import CarRecord
from tmsync.demo import pace
from tmsync.demo.simulated_car import SimulatedCar, State
from tmsync.demo.simulator import Publication, Publisher, SimulatedTeslaMate

REFUSALS_THAT_SIGN_OUT: Final = 6
"""The sixth 401 within ten minutes. Source: TeslaMate lib/teslamate/api.ex (the fuse `unauthorized`)."""
POSITION_EVERY_S: Final = 300.0
"""What stands online is recorded so often, unless it was suspended before."""
RECORDED: Final[Mapping[State, str]] = {State.SUSPENDED: "online", State.START: "online", State.UNAVAILABLE: "online"}
DISCOVERED: Final = (
    "device",
    *(f"sensor/{number}" for number in range(45)),
    *(f"binary_sensor/{number}" for number in range(17)),
)
"""As many topics of Home Assistant as TeslaMate clears for each car at its start, since 4.1."""


class Recording:
    """What TeslaMate's database holds of a car."""

    def __init__(self, at: datetime) -> None:
        self.state = "online"
        self.since = at
        self.newest_at = at
        self.positions_due = True
        self.levels: list[tuple[datetime, int]] = []


class FullTeslaMate(SimulatedTeslaMate):
    """Also: what it records, a lost link to the broker, refused tokens, a sign-out, cars that wake by themselves."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._node = "_".join(filter(None, ("teslamate", str(options.get("namespace") or ""))))
        self.reaches_broker = True
        self._recordings: dict[int, Recording] = {}
        self._refusals: dict[int, int] = {}
        super().__init__(*arguments, **options)

    # -- controls

    def start_again(self) -> None:
        """As the simpler one; and Home Assistant's topics are cleared."""
        super().start_again()
        if self.sends_live_healthy:
            for car_id in self._cars:
                for entity in DISCOVERED:
                    kind, _, number = entity.partition("/")
                    topic = "/".join(filter(None, (kind, f"{self._node}_{car_id}", number)))
                    self._out.append(Publication(self._now, f"homeassistant/{topic}/config", b"", True))

    def sign_out(self) -> None:
        """Its user signs out, or Tesla takes its tokens no more: `start` and unhealthy, said once, then silence."""
        for car in self._cars.values():
            if car.signed_in:
                self._end_session(car)

    def sign_in(self) -> None:
        """The owner signs in again."""
        self._refusals.clear()
        for car in self._cars.values():
            car.signed_in = True
            self._look_again(car, 1.0)

    def refuse_tokens(self) -> None:
        """Tesla answers every request with 401 from now on: heartbeats go on, healthy, until TeslaMate gives up."""
        for car in self._cars.values():
            self._refusals[car.car.car_id] = 0
            self._look_again(car, pace.request(car.rng))

    def stumble(self, car_id: int) -> None:
        """A single request fails close to a change to asleep: `start` for ten seconds."""
        car = self._cars[car_id]
        car.plan += 1
        car.vehicle.enter(State.ASLEEP, self._now)
        self._tell_all(car, {"state": State.START})
        self._look_again(car, 10.0)

    def wake_by_itself(self, car_id: int, duration: timedelta) -> None:
        """A sleeping car is awake for a while, and not really: its state stays, its heartbeats stop (since 3.1)."""
        self._look_again(self._cars[car_id], duration.total_seconds())

    def lose_link(self) -> None:
        """TeslaMate reaches the broker no more; it goes on looking and recording."""
        self.reaches_broker = False

    def regain_link(self) -> None:
        """What it could not publish it still has to publish."""
        self.reaches_broker = True
        for car in self._cars.values():
            car.vehicle.changed = dict.fromkeys(car.vehicle.values)

    def rename(self, car_id: int, name: str) -> None:
        """The owner renames a car; TeslaMate sees it at its next look."""
        car = self._cars[car_id]
        car.vehicle.rename(name)
        if pace.next_look(car.vehicle, car.car, car.rng) is not None:
            self._notice(car)

    def add_car(self, car: SimulatedCar) -> None:
        self._recordings[car.car_id] = Recording(self._now)
        super().add_car(car)

    # -- what it records

    def records(self) -> dict[int, CarRecord]:
        """TeslaMate's database, as tmsync reads it."""
        found = {}
        for car_id, car in self._cars.items():
            held = self._recordings[car_id]
            found[car_id] = CarRecord(
                car_id, car.vehicle.values["display_name"], f"VIN{car_id}", car.car.suspend_min, car.car.streaming,
                True, held.newest_at, held.state, held.since, tuple(reversed(held.levels[-100:])),
            )  # fmt: skip
        return found

    # -- inside

    def _look(self, car: Publisher, turn: int) -> None:
        refusals = self._refusals.get(car.car.car_id)
        if turn != car.turn or refusals is None or not self._asks(car) or car.vehicle.state is State.SUSPENDED:
            super()._look(car, turn)
            return
        # One fuse for all cars.
        self._refusals[car.car.car_id] = refusals + 1
        if sum(self._refusals.values()) >= REFUSALS_THAT_SIGN_OUT:
            self._end_session(car)
        else:
            self._tell_health(car)
            self._look_again(car, pace.after_error(car.vehicle.state))

    def _end_session(self, car: Publisher) -> None:
        car.signed_in = False
        car.turn += 1
        if self.alive and car.present:
            self._tell_all(car, {"state": State.UNAVAILABLE if car.starting else State.START})

    def _refresh(self, car: Publisher) -> None:
        super()._refresh(car)
        self._record(self._recordings[car.car.car_id], car)

    def _miss(self, car: Publisher) -> None:
        super()._miss(car)
        if car.offline_since is not None:
            self._enter(self._recordings[car.car.car_id], State.OFFLINE)

    def _enter(self, held: Recording, state: State) -> None:
        named = RECORDED.get(state, state.value)
        if named != held.state:
            held.state, held.since, held.newest_at = named, self._now, self._now
        held.positions_due = held.positions_due and state is not State.SUSPENDED

    def _record(self, held: Recording, car: Publisher) -> None:
        state = car.vehicle.state
        before = held.state
        self._enter(held, state)
        if before != held.state:
            held.positions_due = True
        moves = state in (State.DRIVING, State.CHARGING)
        stands = state is State.ONLINE and held.positions_due
        if moves or (stands and (self._now - held.newest_at).total_seconds() >= POSITION_EVERY_S):
            held.newest_at = self._now
            held.levels.append((self._now, int(car.vehicle.battery)))

    def _tell(self, car: Publisher, key: str, value: str | None) -> None:
        if self.reaches_broker:
            super()._tell(car, key, value)

    def _tell_health(self, car: Publisher) -> None:
        if self.reaches_broker:
            super()._tell_health(car)
