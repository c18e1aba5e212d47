"""What becomes of a request: answered from TeslaMate, answered by what Tesla said before, refused, or forwarded. Pure.

TeslaMate answers where nothing is left to guess: it is trusted now, its summary came after what TWCManager commanded
last, and every field that TWCManager decides by is known. Everything else goes up to Tesla.

Source: TWCManager lib/TWCManager/Vehicle/TeslaAPI.py (is_awake, update_vehicle_data, car_api_charge: which fields it
reads, and what it does without them); TeslaMate lib/teslamate/vehicles/vehicle/summary.ex (which fields there are).
"""

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from tmsync.core.clock import Instant
from tmsync.core.serve.commands import PendingCommand, is_settled
from tmsync.core.serve.limits import Hold
from tmsync.core.serve.request import ApiRequest, Kind, RateClass
from tmsync.core.telemetry.health import Verdict
from tmsync.core.telemetry.liveness import LivenessReport
from tmsync.core.telemetry.recorded import RECORDED_AS, contradiction
from tmsync.core.telemetry.views import VehicleView
from tmsync.core.teslamate.records import CarRecord
from tmsync.core.teslamate.topics import STATE

TRUSTED: Final = frozenset({Verdict.FRESH, Verdict.LATE})
ASLEEP: Final = frozenset({"asleep", "offline"})
AS_TESLA_SAYS: Final[Mapping[str | None, str]] = {
    "online": "online", "charging": "online", "driving": "online", "asleep": "asleep", "offline": "offline",
}  # fmt: skip
"""TeslaMate's states that are answered from -> Tesla's."""
LAST_KNOWN: Final[Mapping[str | None, str]] = {**AS_TESLA_SAYS, "suspended": "online", "updating": "online"}
"""Those that do where Tesla must not be asked."""
CHARGING: Final = frozenset({"Starting", "Charging"})
MAY_BE_SCHEDULED: Final = frozenset({"Stopped", "NoPower"})
"""Values of charging_state in which a schedule in the car may be what it waits for: TeslaMate does not know."""
SECTIONS: Final = frozenset({"location_data", "charge_state", "drive_state", "vehicle_state"})
LIMITED_S: Final = 900.0
"""Longer than this, no last values stand in for Tesla's, however long it limits."""
PILOT_S: Final = 120.0
"""A current read longer ago is none."""
UNAVAILABLE: Final = {
    "response": None,
    "error": 'vehicle unavailable: {:error=>"vehicle unavailable:"}',
    "error_description": "",
}
"""Tesla's own words for a car that sleeps."""


class Origin(StrEnum):
    """Whose answer it is."""

    TESLAMATE = "teslamate"
    TESLA = "tesla"
    TMSYNC = "tmsync"


class Answer(NamedTuple):
    """An answer. reason: why this one, in words."""

    status: int
    body: bytes
    origin: Origin
    reason: str
    age_s: float = 0.0
    content_type: str = "application/json"
    retry_after_s: int | None = None


class Purpose(StrEnum):
    """Why vehicle_data goes up although TeslaMate is trusted; its answer is given again for some time."""

    SCHEDULE = "schedule"
    COMMAND = "command"


KEPT_S: Final[Mapping[Purpose, float]] = {Purpose.SCHEDULE: 300.0, Purpose.COMMAND: 60.0}


class Forward(NamedTuple):
    """It goes up to Tesla."""

    reason: str
    purpose: Purpose | None = None


Decision = Answer | Forward


class KeptAnswer(NamedTuple):
    """What Tesla answered. at: seconds of running time."""

    at: float
    answer: Answer


Kept = Mapping[tuple[frozenset[str] | None, Purpose], KeptAnswer]


class Situation(NamedTuple):
    """All that a decision needs to know of the car in the request."""

    now: Instant
    report: LivenessReport = LivenessReport()
    car: CarRecord | None = None
    view: VehicleView | None = None
    command: PendingCommand | None = None
    kept: Kept = MappingProxyType({})
    tesla_at: float | None = None
    """When Tesla last told the car's data; seconds of running time."""
    holds: Mapping[RateClass, Hold] = MappingProxyType({})


def refusal(status: int, words: str, reason: str = "") -> Answer:
    """An answer of tmsync's own. reason: for the log, where it is another than what the caller is told."""
    body = {"response": None, "error": f"tmsync: {words}", "error_description": words}
    return Answer(status, encoded(body), Origin.TMSYNC, reason or words)


def held_back(seconds: float, reason: str = "") -> Answer:
    """Tesla limits requests, for so long yet. reason: see `refusal`."""
    left = max(1, int(seconds))
    return refusal(503, f"Tesla limits requests: none goes up for {left} s", reason)._replace(retry_after_s=left)


def encoded(document: Mapping[str, Any]) -> bytes:
    """As JSON."""
    return unsaid(json.dumps(document, separators=(",", ":")).encode())


def unsaid(body: bytes) -> bytes:
    """JSON without the word that makes TWCManager refresh its token: the same text, spelled otherwise.

    Source: TWCManager lib/TWCManager/Vehicle/TeslaAPI.py (get_car_api looks for "expired" in the bytes of an answer).
    """
    if not _EXPIRED.search(body):
        return body
    return _EXPIRED.sub(lambda found: b"\\u%04x%s" % (found[1][0], found[2]), body)


_EXPIRED: Final = re.compile(rb"(e)(xpired)", re.IGNORECASE)


def decide(request: ApiRequest, case: Situation) -> Decision:
    """What becomes of `request`."""
    if request.method == "GET" and request.kind in (Kind.STATE, Kind.DATA):
        return _of_car(request, case)
    hold = case.holds.get(request.rate_class)
    if hold is not None and not request.is_stop:
        return held_back(hold.left(case.now.running))
    return Forward("a command" if request.method == "POST" else "only Tesla knows")


def is_pending(case: Situation) -> bool:
    """Whether the car was commanded, and TeslaMate has not shown yet what came of it."""
    if case.command is None:
        return False
    view = case.view
    if view is None or view.judgement.verdict not in TRUSTED or not _knows_state(view, case):
        return True
    return not is_settled(case.command, view, case.car, case.report, case.now.running)


def _knows_state(view: VehicleView, case: Situation) -> bool:
    """Whether its state is what TeslaMate said last: the broker has not lost it, or the database has said so since."""
    if STATE in view.told:
        return True
    recorded = case.car.state if case.car is not None and case.report.asked_at > view.connected_at else None
    return recorded is not None and RECORDED_AS.get(view.state or "") == recorded


def _of_car(request: ApiRequest, case: Situation) -> Decision:
    found = _Wanted("it was commanded", Purpose.COMMAND) if is_pending(case) else _trusted(request, case)
    if isinstance(found, Answer):
        return found
    kept = case.kept.get((request.endpoints, found.purpose)) if found.purpose is not None else None
    if kept is not None and found.purpose is not None and request.kind is Kind.DATA:
        age = case.now.running - kept.at
        if age < KEPT_S[found.purpose] and (kept.answer.status == 200 or age < KEPT_S[Purpose.COMMAND]):
            return kept.answer._replace(age_s=age, reason=f"{found.reason}; asked {int(age)} s ago")
    hold = case.holds.get(request.rate_class)
    if hold is None:
        return Forward(found.reason, found.purpose if request.kind is Kind.DATA else None)
    return _last_values(request, case, hold) or held_back(hold.left(case.now.running))


class _Wanted(NamedTuple):
    """Tesla's answer is wanted."""

    reason: str
    purpose: Purpose | None = None


def _trusted(request: ApiRequest, case: Situation) -> Answer | _Wanted:
    view = case.view
    if view is None:
        return _Wanted("nothing is heard of the car from TeslaMate")
    verdict = view.judgement.verdict
    if verdict not in TRUSTED:
        return _Wanted(f"TeslaMate is not trusted: {verdict}")
    if not _knows_state(view, case):
        return _Wanted("the broker has lost the state")
    if view.state not in AS_TESLA_SAYS:
        return _Wanted(f"TeslaMate says {view.state}")
    if case.report.database_at is not None and (
        told := contradiction(view.state, view.since, None, case.car, case.report.database_at)
    ):
        return _Wanted(f"{told}: it was killed, and has restored an older state")
    return _answered(request, case, view, AS_TESLA_SAYS[view.state], str(verdict))


def _last_values(request: ApiRequest, case: Situation, hold: Hold) -> Answer | None:
    """TeslaMate's last values, while Tesla must not be asked: the car neither charges nor was it commanded."""
    view, now = case.view, case.now.running
    if view is None or view.heard_at is None or is_pending(case) or not _knows_state(view, case):
        return None
    is_over = now - hold.since > LIMITED_S or now - view.heard_at > LIMITED_S
    is_older = case.tesla_at is not None and case.tesla_at > view.heard_at
    may_charge = view.state not in ASLEEP and _told(view, "charging_state") in (None, *CHARGING)
    trusted = view.judgement.verdict in TRUSTED and view.state in AS_TESLA_SAYS
    if is_over or is_older or may_charge or trusted or view.state not in LAST_KNOWN:
        return None
    found = _answered(request, case, view, LAST_KNOWN[view.state], "the last values, since Tesla limits requests")
    return found if isinstance(found, Answer) else None


def _answered(request: ApiRequest, case: Situation, view: VehicleView, state: str, why: str) -> Answer | _Wanted:
    """TeslaMate's answer, or what it lacks."""
    car = case.car
    if car is None or car.vin is None or car.eid is None:
        return _Wanted("the database has not told the car's VIN and id")
    age = case.now.running - (case.now.running if view.heard_at is None else view.heard_at)
    asks_data = request.kind is Kind.DATA
    if asks_data and (request.endpoints is None or not request.endpoints <= SECTIONS):
        return _Wanted("more is asked for than TeslaMate knows")
    if asks_data and state in ASLEEP:
        return Answer(408, encoded(UNAVAILABLE), Origin.TESLAMATE, why, age)
    name = car.vin if view.name_is_made_up else view.name
    document: dict[str, Any] = {
        "id": car.eid, "id_s": str(car.eid), "vin": car.vin, "display_name": name, "state": state,
    }  # fmt: skip
    if asks_data and request.endpoints is not None:
        fields = _fields(view, car, case)
        if isinstance(fields, str):
            return _Wanted(f"{fields} is not known")
        if fields["charge_state"]["charging_state"] in MAY_BE_SCHEDULED:
            return _Wanted("whether a schedule in the car is pending only Tesla knows", Purpose.SCHEDULE)
        document |= _sections(fields, name, request.endpoints)
    return Answer(200, encoded({"response": document}), Origin.TESLAMATE, why, age)


def _sections(fields: dict[str, dict[str, Any]], name: str, endpoints: frozenset[str]) -> dict[str, Any]:
    """Those asked for. A car's place is part of drive_state, and there only with location_data."""
    drive = {
        **(fields["location_data"] if "location_data" in endpoints else {}),
        **(fields["drive_state"] if "drive_state" in endpoints else {}),
    }
    found: dict[str, Any] = {"drive_state": drive} if endpoints & {"location_data", "drive_state"} else {}
    if "charge_state" in endpoints:
        found["charge_state"] = fields["charge_state"]
    if "vehicle_state" in endpoints:
        found["vehicle_state"] = {"vehicle_name": name}
    return found


NEEDED: Final[Mapping[str, tuple[str, type | tuple[type, ...]]]] = {
    "latitude": ("location_data", (int, float)),
    "longitude": ("location_data", (int, float)),
    "charge_limit_soc": ("charge_state", (int, float)),
    "battery_level": ("charge_state", (int, float)),
    "charging_state": ("charge_state", str),
}
"""Fields without which no vehicle_data is answered: where they belong, and of which type they are."""
WHILE_CHARGING: Final = ("charger_actual_current", "charger_phases", "charger_power", "charger_voltage")


def _told(view: VehicleView, key: str) -> Any:
    """A value that the broker still holds; None where it was deleted, or may have been lost."""
    return view.telemetry.get(key) if key in view.told else None


def _fields(view: VehicleView, car: CarRecord, case: Situation) -> dict[str, dict[str, Any]] | str:
    """Every field by its section; or the name of one that is needed and not known."""
    found: dict[str, dict[str, Any]] = {"location_data": {}, "drive_state": {}, "charge_state": {}}
    for key, (section, kind) in NEEDED.items():
        value = _told(view, key)
        if not isinstance(value, kind) or value == "":
            return key
        found[section][key] = value
    if car.position_at is None:
        return "gps_as_of"
    found["location_data"]["gps_as_of"] = int(car.position_at.timestamp())
    shift_state = _told(view, "shift_state")
    if shift_state is not None or "shift_state" in view.told:
        found["drive_state"]["shift_state"] = shift_state
    charge = found["charge_state"]
    is_charging = charge["charging_state"] in CHARGING
    left = _told(view, "time_to_full_charge")
    if left is None and is_charging:
        return "time_to_full_charge"
    charge["time_to_full_charge"] = 0.0 if left is None else left
    if is_charging:
        pilot = car.pilot_current if case.now.running - case.report.read_at <= PILOT_S else None
        values = {key: _told(view, key) for key in WHILE_CHARGING} | {"charger_pilot_current": pilot}
        charge |= {key: value for key, value in values.items() if value is not None}
    return found
