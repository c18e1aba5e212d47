"""Which requests there are: the raw target is matched byte for byte, and whatever matches nothing is none. Pure.

What matches goes up unchanged, so nothing may be read here in one way and there in another: no escapes but in
`endpoints`, no `..`, no `//`, no `;`, no backslash, no absolute form.

Source: TWCManager lib/TWCManager/Vehicle/TeslaAPI.py and EMS/TeslaPowerwall2.py (the requests it makes).
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple
from urllib.parse import unquote

ROOT: Final = "/api/1/"


class Kind(StrEnum):
    """What is asked for; in counters and in the log, where a command goes by its own name."""

    LIST = "vehicles"
    STATE = "vehicle"
    DATA = "vehicle_data"
    WAKE = "wake_up"
    COMMAND = "command"
    PRODUCTS = "products"
    LIVE_STATUS = "live_status"
    EXTRA = "extra"
    """By serve.allow."""


class RateClass(StrEnum):
    """What Tesla limits apart from each other.

    Source: Tesla Fleet API documentation, "Billing and Limits".
    """

    DATA = "data"
    WAKE = "wake"
    COMMAND = "command"


CHARGE_STOP: Final = "charge_stop"
SET_CHARGE_LIMIT: Final = "set_charge_limit"
COMMANDS: Final = ("charge_start", CHARGE_STOP, "set_charging_amps", SET_CHARGE_LIMIT)


class ApiRequest(NamedTuple):
    """One request. method: GET or POST."""

    method: str
    target: str
    """The raw target."""
    kind: Kind
    name: str
    """The kind, or the command's name."""
    vehicle: str | None = None
    """A VIN or an id, as it stands in the path."""
    endpoints: frozenset[str] | None = None
    """Of vehicle_data; None where all are meant."""
    body: bytes = b""
    content_type: str | None = None

    @property
    def rate_class(self) -> RateClass:
        """What it counts as."""
        if self.method == "GET":
            return RateClass.DATA
        return RateClass.WAKE if self.kind is Kind.WAKE else RateClass.COMMAND

    @property
    def is_stop(self) -> bool:
        """Whether it stops a charge: that is never held back."""
        return self.name == CHARGE_STOP

    @property
    def vin(self) -> str | None:
        """The vehicle in the path, where it is a VIN and no id."""
        return None if self.vehicle is None or self.vehicle.isdecimal() else self.vehicle

    def by_id(self, eid: int) -> str:
        """The target with the VIN in it replaced by the id that Tesla's Owner API knows the car by."""
        return self.target if self.vin is None else self.target.replace(self.vin, str(eid), 1)


_VEHICLE: Final = "(?P<vehicle>[0-9]{1,20}|[A-Z0-9]{17})"
_DIGITS: Final = "[0-9]{1,20}"
_ENDPOINTS: Final = "(?:[?]endpoints=(?P<endpoints>(?:[a-z_]|%[0-9A-Fa-f]{2}){1,512}))?"
_TABLE: Final = (
    ("GET", Kind.LIST, "vehicles"),
    ("GET", Kind.PRODUCTS, "products"),
    ("GET", Kind.LIVE_STATUS, f"energy_sites/{_DIGITS}/live_status"),
    ("GET", Kind.STATE, f"vehicles/{_VEHICLE}"),
    ("GET", Kind.DATA, f"vehicles/{_VEHICLE}/vehicle_data{_ENDPOINTS}"),
    ("POST", Kind.WAKE, f"vehicles/{_VEHICLE}/wake_up"),
    ("POST", Kind.COMMAND, f"vehicles/{_VEHICLE}/command/(?P<command>{'|'.join(COMMANDS)})"),
)
_PATTERNS: Final = tuple((method, kind, re.compile(re.escape(ROOT) + pattern)) for method, kind, pattern in _TABLE)
_PLACEHOLDERS: Final = {re.escape("{vehicle}"): _VEHICLE, re.escape("{digits}"): _DIGITS}


class Grammar:
    """All requests that there are. allow: serve.allow, paths in which {vehicle} and {digits} may stand."""

    def __init__(self, allow: Sequence[str] = ()) -> None:
        self._extra = tuple(map(_compiled, allow))

    def read(self, method: str, target: str) -> ApiRequest | None:
        """The request; None where it is none. target: as it came, undecoded."""
        for wanted, kind, pattern in _PATTERNS:
            if method == wanted and (found := pattern.fullmatch(target)):
                parts = found.groupdict()
                endpoints = parts.get("endpoints")
                names = None if endpoints is None else frozenset(unquote(endpoints).split(";"))
                return ApiRequest(method, target, kind, parts.get("command") or kind, parts.get("vehicle"), names)
        if method in ("GET", "POST"):
            for pattern in self._extra:
                if found := pattern.fullmatch(target):
                    return ApiRequest(method, target, Kind.EXTRA, Kind.EXTRA, found.groupdict().get("vehicle"))
        return None


def _compiled(path: str) -> re.Pattern[str]:
    pattern = re.escape(path)
    for placeholder, stands_for in _PLACEHOLDERS.items():
        pattern = pattern.replace(placeholder, stands_for, 1)
    return re.compile(pattern)
