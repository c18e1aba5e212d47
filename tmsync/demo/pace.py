"""How often a simulated TeslaMate looks at a car, in seconds.

Source: TeslaMate lib/teslamate/vehicles/vehicle.ex (schedule_fetch and who calls it), and a run of the whole of it.
"""

from random import Random
from typing import Final

from tmsync.demo.simulated_car import Attention, SimulatedCar, State, Vehicle

DRIVING_S: Final = 2.5, 15.0
"""Least and most."""
CHARGING_S: Final = 5.0, 20.0
"""Least and most: the less power, the longer."""
CHARGED_KW_S: Final = 250.0
STREAMED: Final = {Attention.NONE: 30.0, Attention.USER_PRESENT: 15.0}
STREAMED_BUSY: Final = 60.0
POLLED: Final = {Attention.NONE: 15.0, Attention.USER_PRESENT: 15.0}
POLLED_BUSY: Final = 30.0
ASLEEP_S: Final = 30.0
AFTER_ERROR_S: Final = 30.0
AFTER_ERROR_IN_S: Final = {State.ONLINE: 20.0, State.DRIVING: 10.0, State.CHARGING: 15.0}
SECOND_LOOK_S: Final = {State.DRIVING: 0.1, State.ASLEEP: 10.0, State.OFFLINE: 10.0}
SECOND_LOOK_STREAMED_S: Final = 30.0
SECOND_LOOK_POLLED_S: Final = 15.0

SLOW_REQUESTS: Final = 0.004
"""Share of requests that take longer than usual, up to SLOWEST_S."""
USUAL_S: Final = (0.1, 1.5)
SLOWEST_S: Final = 80.0


def next_look(vehicle: Vehicle, car: SimulatedCar, rng: Random) -> float | None:
    """From one look to the next of which anything is told; None where TeslaMate keeps silent."""
    state, attention = vehicle.state, vehicle.attention
    if state is State.DRIVING:
        return rng.uniform(*DRIVING_S)
    if state is State.CHARGING:
        least, most = CHARGING_S
        return max(least, min(most, round(CHARGED_KW_S / vehicle.power))) if vehicle.power else least
    if state is State.ONLINE:
        if car.streaming:
            return STREAMED.get(attention, STREAMED_BUSY)
        return POLLED.get(attention, POLLED_BUSY)
    if state in (State.ASLEEP, State.OFFLINE):
        return ASLEEP_S if car.polling_asleep_interval_s <= ASLEEP_S else None
    if state is State.SUSPENDED and not car.streaming:
        return car.suspend_min * 60.0
    return None


def second_look(vehicle: Vehicle, car: SimulatedCar, rng: Random) -> float:
    """From TeslaMate's start to the first look of which anything is told.

    What it sees first is lost, since it starts with its vehicles and connects to the broker after that.
    """
    otherwise = SECOND_LOOK_STREAMED_S if car.streaming else SECOND_LOOK_POLLED_S
    return SECOND_LOOK_S.get(vehicle.state, otherwise) + request(rng, slow=False)


def after_error(state: State) -> float:
    """From a look that failed to the next."""
    return AFTER_ERROR_IN_S.get(state, AFTER_ERROR_S)


def request(rng: Random, *, slow: bool = True) -> float:
    """How long a request takes. slow: whether it may take long."""
    return rng.uniform(10.0, SLOWEST_S) if slow and rng.random() < SLOW_REQUESTS else rng.uniform(*USUAL_S)
