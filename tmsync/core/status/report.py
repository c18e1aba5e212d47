"""What each part of the link was found to be; plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from tmsync.core.clock import iso
from tmsync.core.errors import ExitCode, Problem
from tmsync.core.telemetry.fleet import VehicleView
from tmsync.core.teslamate.assessment import Tokens
from tmsync.core.teslamate.records import CarRecord
from tmsync.core.twcmanager.held import Held


class Severity(StrEnum):
    """How bad a problem is. Warnings alone leave the whole in order."""

    CRITICAL = "critical"
    WARNING = "warning"


class Finding(NamedTuple):
    """A problem and how bad it is."""

    severity: Severity
    problem: Problem

    def as_json(self) -> dict[str, Any]:
        """One of the document's `problems`."""
        return {"severity": self.severity.value, **self.problem.as_json()}


class Database(NamedTuple):
    """TeslaMate's database. ok: None where none is configured."""

    ok: bool | None = None
    problem: Problem | None = None
    tokens: Tokens | None = None
    cars: Mapping[int, CarRecord] = {}


class Broker(NamedTuple):
    """The MQTT broker and what came from it. ok: None where none is configured."""

    ok: bool | None = None
    problem: Problem | None = None
    namespace: str = ""
    nobody: Problem | None = None
    """Why there are no vehicles, where there are none."""
    vehicles: tuple[VehicleView, ...] = ()


@dataclass(slots=True)
class Status:
    """Everything together, at one moment."""

    at: datetime
    database: Database
    twcmanager: Held
    broker: Broker
    findings: list[Finding] = field(default_factory=list)

    @property
    def worst(self) -> Severity | None:
        """The worst severity found."""
        found = {finding.severity for finding in self.findings}
        return next((severity for severity in Severity if severity in found), None)

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
        """Whether TWCManager holds TeslaMate's current token; None where that cannot be told."""
        tokens, held = self.database.tokens, self.twcmanager
        return None if tokens is None or not held.readable else tokens.fingerprint == held.fingerprint

    def vehicle_json(self, view: VehicleView) -> dict[str, Any]:
        """A vehicle, with what the database knows of it."""
        record = self.database.cars.get(view.car_id)
        known: dict[str, Any] = {}
        if record is not None:
            last = record.last_record_at
            known = {"vin": record.vin, "last_record_at": iso(last) if last else None, "enabled": record.enabled}
        return view.as_json() | known

    def as_json(self) -> dict[str, Any]:
        """The document's fields, without command and version."""
        database, twc, broker = self.database, self.twcmanager, self.broker
        tokens = None if database.tokens is None else database.tokens.as_json(self.at)
        return {
            "ok": self.ok,
            "at": iso(self.at),
            "database": {**_part(database.ok, database.problem), "cars": len(database.cars)},
            "tokens": {
                "fingerprint": None,
                "expires_at": None,
                "expires_in_s": None,
                **(tokens or {}),
                "in_sync": self.in_sync,
                "held_by_twcmanager": twc.fingerprint,
                "held_since": iso(twc.since) if twc.since else None,
            },
            "twcmanager": {
                "state": twc.presence.value,
                "reason": twc.reason,
                "url": twc.url,
                "settings_file": twc.settings_file,
                "sync_enabled": twc.sync_enabled,
                "holds_refresh_token": twc.holds_refresh_token,
            },
            "broker": {**_part(broker.ok, broker.problem), "namespace": broker.namespace},
            "vehicles": [self.vehicle_json(view) for view in broker.vehicles],
            "problems": [finding.as_json() for finding in self.findings],
        }


def _part(ok: bool | None, problem: Problem | None) -> dict[str, Any]:
    return {
        "ok": ok,
        "cause": problem.cause.value if problem else None,
        "message": problem.message if problem else None,
    }
