"""What the facade needs of the rest of the service, and what it hands to it. Nothing here does anything."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from tmsync.core.causes import Cause
from tmsync.core.clock import Clock, Instant, iso
from tmsync.core.errors import Problem
from tmsync.core.secret import Secret
from tmsync.core.telemetry.liveness import LivenessReport
from tmsync.core.telemetry.views import VehicleView
from tmsync.core.teslamate.claims import Claims


class Standing(Enum):
    """Of a bearer."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    """Answered with 401."""
    UNDECIDED = "undecided"
    """It might be known: the database does not tell TeslaMate's token just now, or the state cannot be read. 503."""
    OURS = "ours"
    """It lets nobody in, but goes up to Tesla, or is TeslaMate's: a request with it may have been here before. 401."""


class Callers(Protocol):
    """Who may use the facade."""

    def check(self, bearer: str) -> Standing:
        """bearer: what follows `Authorization: Bearer`; empty where there is none. Compares in constant time."""
        ...


class Credential(NamedTuple):
    """The token that goes up to Tesla."""

    secret: Secret
    claims: Claims
    """NO_CLAIMS for one that is no JWT."""


class TokenSource(Protocol):
    """serve.upstream_token where it is set, else TeslaMate's token."""

    def current(self) -> Credential | None:
        """As last read; None while none is known."""
        ...

    async def reread(self) -> Credential | None:
        """Read again now, since Tesla has refused the current one. Never raises, and keeps to a time limit."""
        ...


class Vehicles(Protocol):
    """`telemetry.fleet.Fleet`, or several of them."""

    def view(self, car_id: int, now: Instant) -> VehicleView | None:
        """The vehicle as it is now; None while nothing was heard of it."""
        ...


class RecordSource(Protocol):
    """`telemetry.liveness`, which asks the database every 30 s."""

    def records(self) -> LivenessReport:
        """As last reported."""
        ...


class Page(NamedTuple):
    """What is answered on a path of tmsync's own."""

    status: int
    content_type: str
    body: bytes


class Pages(Protocol):
    """/metrics, /healthz, /readyz, /tmsync/vehicles."""

    def page(self, path: str, *, known: bool) -> Page | None:
        """None where there is no such page. known: whether a bearer that is known came with the request."""
        ...


class RaisedProblem(NamedTuple):
    """A problem that holds, and how bad it is."""

    problem: Problem
    critical: bool


class Events(Protocol):
    """Whom the facade tells what happens. Called in the facade's event loop; must not block."""

    def raised(self, at: datetime, raised: RaisedProblem) -> None:
        """A problem that did not hold before."""
        ...

    def cleared(self, at: datetime, cause: Cause) -> None:
        """It holds no more."""
        ...

    def answered(self, request: "Request") -> None:
        """One request was answered."""
        ...


OTHER: Final = "other"
"""The path of a request that is none of Tesla's API, or comes from a stranger."""


class Request(NamedTuple):
    """One request that was answered, for counters and the log. Holds no secret."""

    at: datetime
    path: str
    """By its kind, such as `vehicle_data` or `charge_stop`; `other` for what is none."""
    source: str
    """teslamate, tesla or tmsync."""
    status: int
    reason: str

    def as_json(self) -> dict[str, Any]:
        """The request event's fields, without `event`.

        Fields:
            at (time): when it was answered
            path (text): what was asked for, such as vehicle_data or charge_stop
            source (text): whose answer it is: teslamate, tesla or, where neither could answer, tmsync
            code (integer): HTTP status
            reason (text): why that one answered
        """
        what = {"path": self.path, "source": self.source, "code": self.status, "reason": self.reason}
        return {"at": iso(self.at), **what}


class FacadeStatus(NamedTuple):
    """What the facade has done since it started."""

    upstream: str | None
    """The address that requests go up to; None while no token tells which."""
    last_call_at: datetime | None
    answered: int
    """Requests answered here, from TeslaMate or by tmsync itself."""
    forwarded: int
    requests: Mapping[tuple[str, str, int], int]
    """Path, source, status -> how often."""


@dataclass(frozen=True, slots=True)
class FacadeOptions:
    """Settings of the facade."""

    hosts: frozenset[str] = frozenset()
    """Names that a Host header may have besides loopback ones, in lower case and without port."""
    allow: tuple[str, ...] = ()
    """serve.allow, as `request.allowed` checks it."""
    upstream: str | None = None
    """None: the Tesla host that fits the token."""
    upstream_ca_file: str | None = None
    state_dir: Path | None = None

    @property
    def way_up(self) -> tuple[str | None, str | None]:
        """What leads to Tesla."""
        return self.upstream, self.upstream_ca_file


class Ports(NamedTuple):
    """Everything around the facade."""

    vehicles: Vehicles
    records: RecordSource
    tokens: TokenSource
    callers: Callers
    pages: Pages
    events: Events
    clock: Clock
