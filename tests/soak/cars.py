"""The simulated cars as Tesla's API shows and commands them: the truth that TeslaMate looks at."""

import random
import time
from datetime import timedelta
from itertools import count
from typing import Any

from tmsync.demo import pace
from tmsync.demo.pacer import Pacer
from tmsync.demo.simulated_car import State, Vehicle

AS_TESLA_SAYS = {State.ASLEEP: "asleep", State.OFFLINE: "offline"}
STAYS = timedelta(minutes=10), timedelta(hours=2)
"""How long a car stays as it was commanded to be, before it goes on with its own life."""


class SoakCar:
    """One car. What is told of it has a number of its own, so that an answer shows when Tesla gave it."""

    _numbers = count(1)

    def __init__(self, car_id: int, vin: str, number: int, pacer: Pacer) -> None:
        self.car_id, self.vin, self.number = car_id, vin, number
        self.told_at: dict[int, float] = {}
        """Number -> when it was told, in seconds of running time."""
        self.obeyed_at: dict[int, float] = {}
        """Number of a command -> when it was carried out."""
        self._pacer = pacer
        self._rng = random.Random(number)

    @property
    def name(self) -> str:
        return f"Car {self.car_id}"

    @property
    def _publisher(self) -> Any:
        return self._pacer.teslamate._cars[self.car_id]

    @property
    def state(self) -> str:
        with self._pacer.steering():
            vehicle = self._publisher.vehicle
            return AS_TESLA_SAYS.get(vehicle.state, "online") if vehicle.reachable else "offline"

    def summary(self) -> dict[str, Any]:
        return {
            "id": self.number, "vin": self.vin, "display_name": self.name, "state": self.state,
            "told": self._number(),
        }  # fmt: skip

    def data(self) -> dict[str, Any]:
        with self._pacer.steering() as teslamate:
            values = teslamate.truth(self.car_id)
        charge = {
            "battery_level": int(values["battery_level"] or 0),
            "charge_limit_soc": int(values["charge_limit_soc"] or 0),
            "charging_state": values["charging_state"],
            "time_to_full_charge": float(values["time_to_full_charge"] or 0),
            "charger_actual_current": int(values["charger_actual_current"] or 0),
            "scheduled_charging_pending": False,
        }
        drive = {
            "latitude": float(values["latitude"] or 0), "longitude": float(values["longitude"] or 0),
            "gps_as_of": int(time.time()), "shift_state": values["shift_state"],
        }  # fmt: skip
        named = {"vehicle_name": self.name}
        return {**self.summary(), "charge_state": charge, "drive_state": drive, "vehicle_state": named}

    def obey(self, command: str, body: dict[str, Any]) -> str:
        with self._pacer.steering():
            publisher = self._publisher
            vehicle: Vehicle = publisher.vehicle
            values = vehicle.values
            match command:
                case "charge_stop" if vehicle.state is State.CHARGING:
                    self._enter(publisher, State.ONLINE)
                case "charge_start" if vehicle.state is State.ONLINE and values["plugged_in"] == "true":
                    self._enter(publisher, State.CHARGING)
                case "wake_up" if vehicle.state in (State.ASLEEP, State.SUSPENDED):
                    self._enter(publisher, State.ONLINE)
                case "set_charge_limit":
                    vehicle.limit = body["percent"]
                    vehicle._tell_battery()
                case "set_charging_amps" | "wake_up":
                    pass
                case _:
                    return "not_possible"
            self.obeyed_at[body["number"]] = time.monotonic()
        return ""

    def _enter(self, publisher: Any, state: State) -> None:
        """TeslaMate sees it when it looks next; a sleepy car that it does not look at streams."""
        simulated = self._pacer.teslamate
        looks = pace.next_look(publisher.vehicle, publisher.car, self._rng) is not None
        publisher.plan += 1
        publisher.vehicle.enter(state, simulated.now)
        least, most = (span.total_seconds() for span in STAYS)
        simulated._later(self._rng.uniform(least, most), simulated._enter_next, publisher, publisher.plan)
        if not looks:
            simulated._notice(publisher)

    def _number(self) -> int:
        number = next(self._numbers)
        self.told_at[number] = time.monotonic()
        return number
