"""Callers that behave as TWCManager does, at a quicker pace: what they asked, what they got, and when.

Source: TWCManager lib/TWCManager/Vehicle/TeslaAPI.py (the list once; a car's state every two minutes at most, its data
less often; commands by what the answer said).
"""

import heapq
import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from tests.soak.cars import SoakCar

STATE_EVERY_S = 120.0
DATA_EVERY_S = 180.0
COMMAND_EVERY_S = 4800.0
"""Each car; by the pace of the cars, as the others."""
TIMEOUT_S = 60.0
SECTIONS = ("location_data%3Bcharge_state%3Bdrive_state", "location_data%3Bcharge_state%3Bdrive_state%3Bvehicle_state")
"""What 1.3.2 asks for, and what master does."""
API = "/api/1/vehicles"


@dataclass
class Exchange:
    """A request and what became of it. Moments are seconds of running time."""

    car: SoakCar | None
    kind: str
    """list, state, vehicle_data, or a command."""
    begin: float
    connected_at: float
    end: float = 0.0
    status: int = 0
    """0: no answer came."""
    source: str = ""
    age: int = 0
    document: Any = None
    number: int | None = None
    """That of a command."""
    error: str = ""

    @property
    def is_command(self) -> bool:
        return self.number is not None


class Caller(threading.Thread):
    """Asks after some cars until `ended` is set; hands every exchange to `tell`. token: what TWCManager holds."""

    _numbers = count(1)

    def __init__(
        self,
        port: int,
        cars: Sequence[SoakCar],
        *,
        speed: float,
        seed: int,
        token: Callable[[], str],
        tell: Callable[[Exchange], None],
    ) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self._port, self._cars, self._speed, self._token, self._tell = port, cars, speed, token, tell
        self._rng = random.Random(f"caller {seed}")
        self._due: list[tuple[float, int, str]] = []
        self._connection: http.client.HTTPConnection | None = None
        self._connected_at = 0.0

    def run(self) -> None:
        while not self.ended.is_set() and self._ask(None, "list").status != 200:
            self.ended.wait(0.2)
        begun = time.monotonic()
        for place in range(len(self._cars)):
            for kind, pace in (("state", STATE_EVERY_S), ("vehicle_data", DATA_EVERY_S)):
                self._due.append((begun + self._rng.uniform(0, pace / self._speed), place, kind))
        heapq.heapify(self._due)
        while not self.ended.is_set():
            due, place, kind = self._due[0]
            if self.ended.wait(max(0.0, due - time.monotonic())):
                break
            pace = (STATE_EVERY_S if kind == "state" else DATA_EVERY_S) / self._speed
            later = max(due, time.monotonic()) + pace * self._rng.uniform(0.9, 1.1)
            heapq.heapreplace(self._due, (later, place, kind))
            found = self._ask(self._cars[place], kind)
            if kind == "vehicle_data" and self._rng.random() < DATA_EVERY_S / COMMAND_EVERY_S:
                self._command(self._cars[place], found)
            elif not found.status:
                self.ended.wait(0.2)
        if self._connection is not None:
            self._connection.close()

    def _command(self, car: SoakCar, found: Exchange) -> None:
        """One that fits what was told of the car."""
        response = (found.document or {}).get("response") or {}
        charging = response.get("charge_state", {}).get("charging_state")
        if found.status == 408:
            wanted = "wake_up"
        elif charging == "Charging":
            wanted = self._rng.choice(("charge_stop", "charge_stop", "set_charging_amps", "set_charge_limit"))
        elif charging in ("Stopped", "Complete"):
            wanted = self._rng.choice(("charge_start", "charge_start", "set_charge_limit"))
        else:
            wanted = self._rng.choice(("set_charge_limit", "charge_stop", "wake_up"))
        extra = {"set_charge_limit": {"percent": self._rng.randint(60, 95)}, "set_charging_amps": {"charging_amps": 8}}
        self._ask(car, wanted, {**extra.get(wanted, {}), "number": next(self._numbers)})

    def _ask(self, car: SoakCar | None, kind: str, body: dict[str, Any] | None = None) -> Exchange:
        target = API if car is None else f"{API}/{car.vin}"
        if kind == "vehicle_data" and car is not None:
            target += f"/vehicle_data?endpoints={SECTIONS[car.car_id % 2]}"
        elif body is not None:
            target += "/wake_up" if kind == "wake_up" else f"/command/{kind}"
        exchange = Exchange(car, kind, time.monotonic(), self._connected_at, number=(body or {}).get("number"))
        try:
            self._exchange(exchange, target, body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            exchange.status, exchange.error = 0, f"{type(error).__name__}: {error}"
            self._hang_up()
        exchange.end = time.monotonic()
        self._tell(exchange)
        return exchange

    def _exchange(self, exchange: Exchange, target: str, body: dict[str, Any] | None) -> None:
        if self._connection is None:
            self._connected_at = exchange.connected_at = time.monotonic()
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
        headers = {"Authorization": f"Bearer {self._token()}"}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body)
        self._connection.request("GET" if body is None else "POST", target, content, headers)
        answer = self._connection.getresponse()
        found = answer.read()
        exchange.source = answer.headers.get("X-Tmsync-Source", "")
        exchange.age = int(answer.headers.get("X-Tmsync-Age", "-1"))
        exchange.document = json.loads(found)
        exchange.status = answer.status
        if answer.will_close:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
