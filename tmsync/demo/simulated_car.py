"""The cars of the simulated TeslaMate: what they do, and everything TeslaMate would tell about them."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from random import Random
from typing import Final

BATTERY_KWH: Final = 75.0
KM_PER_PERCENT: Final = 4.6
KM_PER_DEGREE: Final = 111.2
DEAD_ZONE: Final = timedelta(minutes=14)
"""How long TeslaMate waits for a car that drives out of reach, before it calls the drive over."""


class State(StrEnum):
    """What TeslaMate publishes as `state`. Source: TeslaMate lib/teslamate/vehicles/vehicle.ex, summary.ex."""

    START = "start"
    ONLINE = "online"
    SUSPENDED = "suspended"
    ASLEEP = "asleep"
    OFFLINE = "offline"
    CHARGING = "charging"
    DRIVING = "driving"
    UPDATING = "updating"
    UNAVAILABLE = "unavailable"


class Attention(StrEnum):
    """What keeps an online car busy; it decides how often TeslaMate looks."""

    NONE = "none"
    SENTRY = "sentry"
    PRECONDITIONING = "preconditioning"
    DOG_MODE = "dog mode"
    USER_PRESENT = "user present"


@dataclass(frozen=True, slots=True)
class Phase:
    """The car is in `state` for `duration`; within it, `out_of_reach` from `reachable_for` on, if at all."""

    state: State
    duration: timedelta
    attention: Attention = Attention.NONE
    reachable_for: timedelta = timedelta(minutes=3)
    out_of_reach: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class SimulatedCar:
    """A car as TeslaMate knows it.

    phases: repeated for ever; none: a healthy life of its own, made from the seed.
    streaming, suspend_min (minutes): as in TeslaMate's car_settings.
    polling_asleep_interval_s: TeslaMate's POLLING_ASLEEP_INTERVAL, seconds.
    charger_kw: what it is charged with; TeslaMate looks the more often the more it is.
    """

    car_id: int
    name: str
    phases: Sequence[Phase] = ()
    streaming: bool = True
    suspend_min: int = 21
    polling_asleep_interval_s: int = 30
    trim_badging: str | None = "74D"
    charger_kw: int = 11


def healthy_life(rng: Random) -> Iterator[Phase]:
    """Days of a car in ordinary use, without end: every state that a healthy TeslaMate shows."""

    def minutes(least: int, most: int) -> timedelta:
        return timedelta(seconds=rng.randint(least * 60, most * 60))

    while True:
        yield Phase(State.ASLEEP, minutes(40, 600))
        if rng.random() < 0.15:
            yield Phase(State.OFFLINE, minutes(10, 120))
        yield Phase(State.ONLINE, minutes(2, 12), rng.choice(list(Attention)))
        hidden = DEAD_ZONE if rng.random() < 0.2 else timedelta()
        yield Phase(State.DRIVING, hidden + minutes(8, 50), out_of_reach=hidden)
        yield Phase(State.ONLINE, minutes(2, 40), rng.choice(list(Attention)))
        if rng.random() < 0.5:
            yield Phase(State.CHARGING, minutes(20, 300))
            yield Phase(State.ONLINE, minutes(3, 15))
        if rng.random() < 0.1:
            yield Phase(State.UPDATING, minutes(18, 50))
            yield Phase(State.ONLINE, minutes(3, 15))
        yield Phase(State.SUSPENDED, minutes(12, 45))


class Vehicle:
    """The true car, whether TeslaMate looks or not. `values` are its topics as text, None where there is nothing.

    `changed` holds the keys that may differ from what was last told.
    """

    def __init__(self, car: SimulatedCar, rng: Random, now: datetime) -> None:
        self.rng = rng
        self.state = State.ONLINE
        self.attention = Attention.NONE
        self.reachable = True
        self.seen_at = now
        self.battery = rng.uniform(45, 85)
        self.limit = rng.choice((70, 80, 90))
        self.odometer = rng.uniform(4_000, 90_000)
        self.latitude, self.longitude = rng.uniform(47.5, 54.0), rng.uniform(7.0, 13.5)
        self.heading = rng.randrange(360)
        self.elevation = rng.randint(20, 500)
        self.inside, self.outside = rng.uniform(15, 24), rng.uniform(2, 20)
        self.energy = 0.0
        self.charger_kw = car.charger_kw
        self.power = 0
        """What it charges with at this moment, kW."""
        self.release = rng.randint(2, 30)
        self.values: dict[str, str | None] = {}
        self.changed: dict[str, None] = {}
        self._put(_identity(car, rng))
        self._put({"display_name": car.name, "geofence": "Home", "charging_state": "Disconnected"})
        self._put(_nothing_charges())
        self._put({"shift_state": None, "power": "0", "plugged_in": "false", "version": self._version()})
        self._put({"update_version": "", "software_update": _software(self._version(), self._version())})
        self._tell_battery()
        self._tell_place()
        self._tell_weather()
        self.enter(State.ONLINE, now)

    def enter(self, state: State, now: datetime, attention: Attention = Attention.NONE) -> None:
        """The car changes over to `state`."""
        self.advance(now)
        before, self.state, self.attention = self.state, state, attention
        self.reachable = True
        if before is not state or "state" not in self.values:
            self._put({"state": state.value, "since": stamp(now)})
        self._put(_attention(attention))
        if before is not state and before in _LEAVE:
            _LEAVE[before](self)
        if state in _ENTER and before is not state:
            _ENTER[state](self, now)

    def rename(self, name: str) -> None:
        """Call the car `name`."""
        self._put({"display_name": name})

    def advance(self, now: datetime) -> None:
        """Let the car live until `now`."""
        seconds = (now - self.seen_at).total_seconds()
        self.seen_at = now
        live = _LIVE.get(self.state)
        if live is not None and seconds > 0:
            live(self, seconds)

    # -- what happens in a state

    def _drive(self, seconds: float) -> None:
        speed = self.rng.randint(18, 125)
        km = speed * seconds / 3600
        self.heading = (self.heading + self.rng.randint(-25, 25)) % 360
        self.latitude = min(70.0, max(-70.0, self.latitude + km / KM_PER_DEGREE * math.cos(math.radians(self.heading))))
        self.longitude += km / KM_PER_DEGREE * math.sin(math.radians(self.heading))
        self.elevation = max(0, self.elevation + self.rng.randint(-3, 3))
        self.odometer += km
        self.battery = max(4.0, self.battery - km / KM_PER_PERCENT)
        self._put({"speed": str(speed), "power": str(self.rng.randint(-20, 60)), "shift_state": "D"})
        self._tell_place()
        self._tell_battery()

    def _charge(self, seconds: float) -> None:
        room = max(0.0, self.limit - self.battery) * BATTERY_KWH / 100
        self.power = self.charger_kw if room else 0
        added = min(room, self.power * seconds / 3600)
        self.energy += added
        self.battery += added / BATTERY_KWH * 100
        self._put(
            {
                "charge_energy_added": number(round(self.energy, 2)),
                "charger_power": str(self.power),
                "charger_voltage": str(self.rng.choice((229, 230, 230, 230, 230, 231))),
                "charger_actual_current": "16" if room else "0",
                "time_to_full_charge": number(round((room - added) / self.charger_kw, 2)),
            }
        )
        self._tell_battery()

    def _stand(self, seconds: float) -> None:
        if self.rng.random() < min(0.5, seconds / 120):
            self.inside += self.rng.uniform(-0.4, 0.4)
            self.outside += self.rng.uniform(-0.2, 0.2)
            self._tell_weather()

    def _set_off(self, _: datetime) -> None:
        self._put({"charging_state": "Disconnected", "plugged_in": "false", "charge_port_door_open": "false"})
        self._put({"geofence": None, "locked": "true", "is_user_present": "true", "is_climate_on": "true"})
        self._put({"scheduled_charging_start_time": None, **_route(self)})
        self._drive(1.0)

    def _park(self) -> None:
        # A speed that is no more is not told: the last one stays.
        self._put({"shift_state": None, "power": "0", "is_user_present": "false", **_NO_ROUTE})
        self._put({"geofence": self.rng.choice(("Home", "Work", None)), "is_climate_on": "false"})

    def _plug_in(self, _: datetime) -> None:
        self.energy = 0.0
        self._put({"charging_state": "Charging", "plugged_in": "true", "charge_port_door_open": "true"})
        self._put({"charger_phases": "3", "scheduled_charging_start_time": None})
        self._charge(1.0)

    def _end_charge(self) -> None:
        done = self.battery >= self.limit - 0.01
        self._put({"charging_state": "Complete" if done else "Stopped", **_nothing_charges()})
        if not done:
            later = self.seen_at + timedelta(hours=self.rng.randint(2, 10))
            self._put({"scheduled_charging_start_time": stamp(later.replace(minute=0, second=0, microsecond=0))})

    def _begin_update(self, _: datetime) -> None:
        self._put({"update_available": "true", "update_version": self._version(1), "install_perc": "1"})
        self._put({"software_update": _software(self._version(), self._version(1))})

    def _end_update(self) -> None:
        self.release += 1
        version = self._version()
        self._put({"update_available": "false", "update_version": "", "version": version, "install_perc": "0"})
        self._put({"software_update": _software(version, version)})

    # -- telling

    def _put(self, values: Mapping[str, str | None]) -> None:
        held = self.values
        for key, value in values.items():
            if key not in held or held[key] != value:
                held[key] = value
                self.changed[key] = None

    def _version(self, ahead: int = 0) -> str:
        return f"2026.{self.release + ahead}.3"

    def _tell_battery(self) -> None:
        # In half kilometres: a car's own figures move in steps too.
        rated = round(self.battery * KM_PER_PERCENT * 2) / 2
        self._put(
            {
                "battery_level": str(int(self.battery)),
                "usable_battery_level": str(int(self.battery)),
                "charge_limit_soc": str(self.limit),
                "rated_battery_range_km": number(rated),
                "est_battery_range_km": number(round(rated * 0.87, 2)),
                "ideal_battery_range_km": number(round(rated * 1.02, 2)),
            }
        )

    def _tell_place(self) -> None:
        latitude, longitude = round(self.latitude, 6), round(self.longitude, 6)
        self._put(
            {
                "latitude": number(latitude),
                "longitude": number(longitude),
                "location": f'{{"latitude":{number(latitude)},"longitude":{number(longitude)}}}',
                "heading": str(self.heading),
                "elevation": str(self.elevation),
                "odometer": number(round(self.odometer, 2)),
            }
        )

    def _tell_weather(self) -> None:
        self._put({"inside_temp": number(round(self.inside, 1)), "outside_temp": number(round(self.outside, 1))})


_LIVE: Final = {State.DRIVING: Vehicle._drive, State.CHARGING: Vehicle._charge, State.ONLINE: Vehicle._stand}  # noqa: SLF001
_ENTER: Final = {
    State.DRIVING: Vehicle._set_off,  # noqa: SLF001
    State.CHARGING: Vehicle._plug_in,  # noqa: SLF001
    State.UPDATING: Vehicle._begin_update,  # noqa: SLF001
}
_LEAVE: Final = {
    State.DRIVING: Vehicle._park,  # noqa: SLF001
    State.CHARGING: Vehicle._end_charge,  # noqa: SLF001
    State.UPDATING: Vehicle._end_update,  # noqa: SLF001
}
_NO_ROUTE: Final[Mapping[str, str | None]] = {
    "active_route_destination": "nil",
    "active_route_latitude": "nil",
    "active_route_longitude": "nil",
    "active_route": '{"error":"No active route available"}',
}


def stamp(moment: datetime) -> str:
    """ISO 8601 in UTC with `Z`, as TeslaMate writes times."""
    return moment.isoformat().replace("+00:00", "Z")


def number(value: float) -> str:
    """A float as TeslaMate writes it: the shortest text that is this number, and never without a decimal."""
    return repr(float(value))


def _software(installed: str, latest: str) -> str:
    return json.dumps({"installed_version": installed, "latest_version": latest}, separators=(",", ":"))


def _route(vehicle: Vehicle) -> Mapping[str, str | None]:
    if vehicle.rng.random() < 0.5:
        return _NO_ROUTE
    latitude, longitude = round(vehicle.latitude + 0.2, 6), round(vehicle.longitude + 0.3, 6)
    route = {
        "destination": "Work",
        "energy_at_arrival": int(vehicle.battery * 0.8),
        "miles_to_arrival": 19.3,
        "minutes_to_arrival": 26.4,
        "traffic_minutes_delay": 0.0,
        "location": {"latitude": latitude, "longitude": longitude},
        "error": None,
    }
    return {
        "active_route_destination": "Work",
        "active_route_latitude": str(latitude),
        "active_route_longitude": str(longitude),
        "active_route": json.dumps(route, separators=(",", ":")),
    }


def _nothing_charges() -> Mapping[str, str | None]:
    keys = ("charge_energy_added", "charger_actual_current", "charger_phases", "charger_power", "charger_voltage")
    return {**dict.fromkeys(keys), "time_to_full_charge": None}


def _attention(attention: Attention) -> Mapping[str, str | None]:
    def told(*kinds: Attention) -> str:
        return str(attention in kinds).lower()

    return {
        "sentry_mode": told(Attention.SENTRY),
        "is_preconditioning": told(Attention.PRECONDITIONING),
        "is_climate_on": told(Attention.PRECONDITIONING, Attention.DOG_MODE),
        "climate_keeper_mode": "dog" if attention is Attention.DOG_MODE else "off",
        "is_user_present": told(Attention.USER_PRESENT),
    }


def _identity(car: SimulatedCar, rng: Random) -> Mapping[str, str | None]:
    """What hardly ever changes."""
    places = ("driver_front", "driver_rear", "passenger_front", "passenger_rear")
    closed = (
        *("doors_open", "windows_open", "trunk_open", "frunk_open", "charge_port_door_open", "update_available"),
        *(f"{place}_{what}_open" for place in places for what in ("door", "window")),
    )
    tyres = ("fl", "fr", "rl", "rr")
    model = rng.choice("SXY3")
    roof = {"sun_roof_state": "closed", "sun_roof_percent_open": "0"} if model == "S" else {}
    return {
        "model": model,
        "sun_roof_installed": str(bool(roof)).lower(),
        **roof,
        "trim_badging": car.trim_badging,
        "exterior_color": rng.choice(("DeepBlue", "PearlWhite", "MidnightSilver")),
        "wheel_type": rng.choice(("Pinwheel18", "Stiletto19")),
        "spoiler_type": "None",
        "center_display_state": "0",
        "service_mode": "false",
        "locked": "true",
        "download_perc": "0",
        "install_perc": "0",
        "charge_current_request": "16",
        "charge_current_request_max": "16",
        "scheduled_charging_start_time": None,
        **dict.fromkeys(closed, "false"),
        **{f"tpms_pressure_{tyre}": number(round(rng.uniform(2.6, 3.0), 3)) for tyre in tyres},
        **{f"tpms_soft_warning_{tyre}": "false" for tyre in tyres},
        **_NO_ROUTE,
    }
