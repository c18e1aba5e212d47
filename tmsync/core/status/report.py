"""What each part of the link was found to be, and what it comes to; plain data."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from math import ceil
from typing import Any

from tmsync.core.clock import iso
from tmsync.core.config.settings import ServeSettings
from tmsync.core.errors import ExitCode, Problem
from tmsync.core.telemetry.health import Source
from tmsync.core.telemetry.views import VehicleView
from tmsync.core.teslamate.assessment import Tokens
from tmsync.core.teslamate.records import CarRecord
from tmsync.core.twcmanager.held import Held
from tmsync.core.words import counted, in_words


class Severity(StrEnum):
    """How bad a problem is, worst first. Warnings alone leave the whole in order."""

    CRITICAL = "critical"
    WARNING = "warning"


class Part(StrEnum):
    """A part of the link, in the order in which the token and the telemetry take their way."""

    CONFIGURATION = "configuration"
    DATABASE = "database"
    TOKEN = "token"
    TWCMANAGER = "twcmanager"
    FACADE = "facade"
    BROKER = "broker"
    VEHICLES = "vehicles"


@dataclass(frozen=True, slots=True)
class RatedProblem:
    """A problem, how bad it is, the part of the link it is about, and the vehicles that share it."""

    severity: Severity
    part: Part
    problem: Problem
    car_ids: tuple[int, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """One of the document's `problems`.

        Fields:
            severity (Severity): critical makes the exit code 1
            part (Part): the part of the link it is about
            car_ids (list of integer): the vehicles that share it
        """
        about = {"part": self.part.value, "car_ids": list(self.car_ids)}
        return {"severity": self.severity.value, **self.problem.as_json(), **about}


@dataclass(frozen=True, slots=True)
class Database:
    """TeslaMate's database. ok: None where none is configured. where: host and port in words."""

    ok: bool | None = None
    where: str | None = None
    problem: Problem | None = None
    tokens: Tokens | None = None
    cars: Mapping[int, CarRecord] = field(default_factory=dict)
    sessions: bool | None = None
    """Whether TeslaMate is logged in; None where that cannot be seen."""
    unread: Problem | None = None
    """What keeps tmsync serve from knowing the vehicles."""


@dataclass(frozen=True, slots=True)
class Broker:
    """The MQTT broker and what came from it. ok: None where none is configured. where: host and port in words."""

    ok: bool | None = None
    where: str | None = None
    problem: Problem | None = None
    namespace: str = ""
    no_vehicles: Problem | None = None
    """Why there are no vehicles, where there are none."""
    elsewhere: bool = False
    """Whether there are some in another namespace."""
    vehicles: tuple[VehicleView, ...] = ()


@dataclass(frozen=True, slots=True)
class Facade:
    """What `tmsync serve` does at Tesla's API for TWCManager. The counts are None while it cannot be asked."""

    listen: str
    upstream: str | None = None
    last_call_at: datetime | None = None
    answered: int | None = None
    forwarded: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The document's `facade`.

        Fields:
            listen (text): where it listens
            upstream (text or null): where requests go that TeslaMate cannot answer; null while no token tells
            last_call_at (time or null): when TWCManager last asked
            answered (integer or null): requests answered without asking Tesla, since it was started
            forwarded (integer or null): requests forwarded to Tesla
        """
        at = iso(self.last_call_at) if self.last_call_at else None
        counts = {"answered": self.answered, "forwarded": self.forwarded}
        return {"listen": self.listen, "upstream": self.upstream, "last_call_at": at, **counts}


@dataclass(frozen=True, slots=True)
class Summary:
    """What it comes to: the problems of each severity, the vehicles still undecided, and both in one line."""

    critical: int
    warning: int
    waiting: int
    text: str

    def as_json(self) -> dict[str, Any]:
        """The document's `summary`.

        Fields:
            critical (integer): critical problems
            warning (integer): warnings
            waiting (integer): vehicles of which nothing can be said yet
            text (text): what it comes to, in one line
        """
        return {"critical": self.critical, "warning": self.warning, "waiting": self.waiting, "text": self.text}


@dataclass(frozen=True, slots=True)
class Status:
    """Everything together, at one moment."""

    at: datetime
    config_file: str | None
    database: Database
    twcmanager: Held
    broker: Broker
    problems: tuple[RatedProblem, ...] = ()
    """Worst first."""
    facade: Facade | None = None
    """None where serve.listen is not set."""
    serve: ServeSettings | None = None
    local_token: bool = False
    """Whether TWCManager is to get a token of tmsync's own."""
    delivers: bool = False
    """Whether a running tmsync serve brings tokens over."""

    @property
    def worst(self) -> Severity | None:
        """The worst severity found."""
        return self.problems[0].severity if self.problems else None

    def worst_of(self, part: Part) -> Severity | None:
        """The worst severity found of one part."""
        return next((rated.severity for rated in self.problems if rated.part is part), None)

    @property
    def ok(self) -> bool:
        """Whether nothing critical was found."""
        return self.worst is not Severity.CRITICAL

    @property
    def exit_code(self) -> ExitCode:
        """0, or 1 for anything critical."""
        return ExitCode.GOOD if self.ok else ExitCode.PROBLEM

    @property
    def in_sync(self) -> bool | None:
        """Whether TWCManager holds the token that it should: TeslaMate's current one, or one of tmsync's own.

        None where that cannot be told.
        """
        if self.local_token:
            return self.twcmanager.accepted
        tokens, held = self.database.tokens, self.twcmanager
        return None if tokens is None or not held.readable else tokens.fingerprint == held.fingerprint

    @property
    def undecided(self) -> tuple[VehicleView, ...]:
        """The vehicles of which nothing can be said yet. That is no problem."""
        return tuple(view for view in self.broker.vehicles if view.judgement.source is Source.UNDECIDED)

    @property
    def decided_after_s(self) -> int | None:
        """Seconds of `--wait` after which silence decides about every undecided vehicle; None where it never does."""
        left = [view.judgement.thresholds.stale_after_s - view.silence_s for view in self.undecided]
        finite = all(view.judgement.thresholds.stale_after_s for view in self.undecided)
        return ceil(max(left)) + 1 if left and finite else None

    @property
    def summary(self) -> Summary:
        """What it comes to: the numbers of problems, or that all is well and what that rests on."""
        counts = {kind: sum(rated.severity is kind for rated in self.problems) for kind in Severity}
        found = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        text = found or f"All is well{' so far' if self.undecided else ''}: {'; '.join(_good(self))}"
        return Summary(counts[Severity.CRITICAL], counts[Severity.WARNING], len(self.undecided), text)

    def vehicle_json(self, view: VehicleView) -> dict[str, Any]:
        """A vehicle, with what the database knows of it.

        Fields:
            vin (text or null, optional): its VIN; this and the next two where the database is at hand
            last_record_at (time or null, optional): its newest record of states, positions, charges and updates
            enabled (boolean or null, optional): whether TeslaMate logs it
        """
        record = self.database.cars.get(view.car_id)
        known: dict[str, Any] = {}
        if record is not None:
            last = record.last_record_at
            known = {"vin": record.vin, "last_record_at": iso(last) if last else None, "enabled": record.enabled}
        return view.as_json() | known

    def as_json(self) -> dict[str, Any]:
        """The document's fields, without command and version.

        Fields:
            ok (boolean): whether nothing critical was found
            at (time): when it looked
            config_file (text or null): the TOML file in use
            database (object): TeslaMate's database
            database.ok (boolean or null): whether its tokens can be read; null where none is configured
            database.where (text or null): host and port in words
            database.cause (Cause or null): what is wrong
            database.message (text or null): the same in words
            database.cars (integer): cars it knows
            database.sessions (boolean or null): whether TeslaMate is logged in; null where that cannot be seen
            tokens (object): TeslaMate's token, and TWCManager's; the first six as in sync-tokens, null while unknown
            tokens.fingerprint (text or null): TeslaMate's access token
            tokens.expires_at (time or null): when it expires
            tokens.expires_in_s (integer or null, s): until then; negative afterwards
            tokens.audience (list of text, optional): the services it is for
            tokens.region (text or null, optional): Tesla's region
            tokens.api (Api, optional): which of Tesla's APIs it is for
            tokens.in_sync (boolean or null): whether TWCManager holds that token; null where that cannot be told
            tokens.held_by_twcmanager (text or null): fingerprint of the token it holds
            tokens.held_since (time or null): it was there at this time, and came then or before
            tokens.held_expires_at (time or null): when that one expires
            twcmanager (object): TWCManager
            twcmanager.state (Presence): whether it runs
            twcmanager.reason (text): what that rests on
            twcmanager.url (text or null): where its web control answers
            twcmanager.settings_file (text): its settings.json
            twcmanager.sync_enabled (boolean or null): whether its own token sync is on, which refuses ours
            twcmanager.holds_refresh_token (boolean or null): whether it could refresh the token by itself
            broker (object): the MQTT broker
            broker.ok (boolean or null): whether it can be used; null where none is configured
            broker.where (text or null): host and port in words
            broker.cause (Cause or null): what is wrong
            broker.message (text or null): the same in words
            broker.namespace (text): the namespace that was looked at
            vehicles (list of Vehicle): every vehicle seen
            facade (Facade or null): what tmsync serve does; null without serve.listen
            summary (Summary): what it comes to
            problems (list of RatedProblem): worst first, one for all vehicles that share it
        """
        database, twc, broker = self.database, self.twcmanager, self.broker
        tokens = None if database.tokens is None else database.tokens.as_json(self.at)
        return {
            "ok": self.ok,
            "at": iso(self.at),
            "config_file": self.config_file,
            "database": {**_part(database), "cars": len(database.cars), "sessions": database.sessions},
            "tokens": {
                "fingerprint": None,
                "expires_at": None,
                "expires_in_s": None,
                **(tokens or {}),
                "in_sync": self.in_sync,
                "held_by_twcmanager": twc.fingerprint,
                "held_since": iso(twc.since) if twc.since else None,
                "held_expires_at": iso(twc.expires_at) if twc.expires_at else None,
            },
            "twcmanager": {
                "state": twc.presence.value,
                "reason": twc.reason,
                "url": twc.url,
                "settings_file": twc.settings_file,
                "sync_enabled": twc.sync_enabled,
                "holds_refresh_token": twc.holds_refresh_token,
            },
            "broker": {**_part(broker), "namespace": broker.namespace},
            "vehicles": [self.vehicle_json(view) for view in broker.vehicles],
            "facade": self.facade.as_json() if self.facade else None,
            "summary": self.summary.as_json(),
            "problems": [rated.as_json() for rated in self.problems],
        }


def _good(status: Status) -> Iterator[str]:
    """What is in order, in a few words for each part that is configured."""
    tokens = status.database.tokens
    if tokens is not None:
        own = ", one of tmsync's own" if status.local_token else ", the same"
        kept = f"{own} in TWCManager" if status.in_sync else ""
        yield f"token good for {in_words(tokens.expires_at - status.at)}{kept}"
    views = status.broker.vehicles
    if not views:
        return
    trusted = sum(view.judgement.source is Source.TESLAMATE for view in views)
    if trusted:
        yield f"{trusted} of {counted(len(views), 'vehicle')} by TeslaMate"
    if status.undecided:
        after = status.decided_after_s
        yield f"{len(status.undecided)} undecided" + (f" (--wait {after} decides)" if after else "")


def _part(part: Database | Broker) -> dict[str, Any]:
    problem = part.problem
    return {
        "ok": part.ok,
        "where": part.where,
        "cause": problem.cause.value if problem else None,
        "message": problem.message if problem else None,
    }
