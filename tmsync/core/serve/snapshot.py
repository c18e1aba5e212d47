"""What the running service knows, as status shows it, and the pages on which it says so."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from tmsync.core.clock import Instant
from tmsync.core.config.settings import Settings
from tmsync.core.errors import Problem
from tmsync.core.serve.board import Board, Counters
from tmsync.core.serve.ports import FacadeStatus, Page
from tmsync.core.serve.tokens import TokenKeeper
from tmsync.core.status.problems import merged, problems, unreadable
from tmsync.core.status.report import Broker, Facade, RatedProblem, Status
from tmsync.core.telemetry.liveness import LivenessReport
from tmsync.core.telemetry.monitor import TelemetryMonitor
from tmsync.core.twcmanager.held import Held
from tmsync.core.twcmanager.presence import Presence

POSITION: Final = frozenset({"latitude", "longitude", "location", "heading", "elevation", "geofence"})
ROUTE: Final = "active_route"
"""What begins so tells where the car is going to."""
TEXT: Final = "text/plain; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
JSON: Final = "application/json"

Metrics = Callable[[Status, Counters, FacadeStatus | None], str]


class Sources(NamedTuple):
    """Where everything comes from. monitor: None without a broker. link: why there is no connection to it."""

    settings: Settings
    keeper: TokenKeeper
    monitor: TelemetryMonitor | None
    link: Problem | None
    report: LivenessReport
    board: Board
    facade: FacadeStatus | None


def snapshot(found: Sources, now: Instant) -> Status:
    """Everything, as it is now. Asks nobody."""
    settings, keeper, report = found.settings, found.keeper, found.report
    serve, facade = settings.serve(), None
    if serve is not None and found.facade is not None:
        told = found.facade
        facade = Facade(serve.address, told.upstream, told.last_call_at, told.answered, told.forwarded)
    status = Status(
        now.wall,
        str(settings.config_path) if settings.config_path else None,
        replace(
            keeper.database,
            cars=report.cars,
            sessions=report.sessions,
            unread=unreadable(report, keeper.target) if keeper.target else None,
        ),
        keeper.held or Held(Presence.UNKNOWN, "not looked yet", None, str(settings.twcmanager().settings_file)),
        _broker(found, now),
        facade=facade,
        serve=serve,
        local_token=settings.twcmanager().local_token,
        delivers=settings.get("serve.deliver_tokens"),
    )
    warnings = (*settings.warnings, *(settings.mqtt().warnings if found.monitor is not None else ()))
    return replace(status, problems=merged(problems(status, warnings), found.board.problems()))


def what_runs(settings: Settings) -> str:
    """What serve does, in one line."""
    serve, publish = settings.serve(), settings.publish()
    words = []
    if serve is not None:
        words.append(f"Tesla's API for TWCManager at {serve.url}")
    if settings.get("database.host") is not None and settings.get("serve.deliver_tokens"):
        words.append("tokens are delivered")
    if settings.get("mqtt.host") is not None:
        words.append(f"telemetry from {settings.mqtt().place}")
        words += [f"published under {publish.prefix}"] * publish.enabled
    return "ready: " + "; ".join(words)


def _broker(found: Sources, now: Instant) -> Broker:
    monitor = found.monitor
    if monitor is None:
        return Broker()
    fleet = monitor.fleet
    where = monitor.target.place
    return Broker(monitor.connected, where, found.link, fleet.namespace, vehicles=tuple(fleet.views(now)))


class ServicePages:
    """/metrics, /healthz, /readyz, /tmsync/vehicles.

    look: what the service knows now. own: the problems that it alone knows. metrics: makes the text.
    """

    def __init__(
        self,
        look: Callable[[], tuple[Status, FacadeStatus | None]],
        own: Callable[[], tuple[RatedProblem, ...]],
        counters: Counters,
        metrics: Metrics,
    ) -> None:
        self._look = look
        self._own = own
        self._counters = counters
        self._metrics = metrics
        self._pages: Mapping[str, Callable[[bool], Page]] = {
            "/healthz": lambda _: _text(200, "ok"),
            "/readyz": lambda _: self._ready(),
            "/metrics": lambda _: self._metrics_page(),
            "/tmsync/vehicles": self._vehicles,
        }

    def page(self, path: str, *, known: bool) -> Page | None:
        """See `ports.Pages`."""
        make = self._pages.get(path)
        return make(known) if make else None

    def _ready(self) -> Page:
        status, _ = self._look()
        away = [name for name, part in (("database", status.database), ("broker", status.broker)) if part.ok is False]
        return _text(503, f"out of reach: {', '.join(away)}") if away else _text(200, "ready")

    def _metrics_page(self) -> Page:
        status, facade = self._look()
        return Page(200, OPENMETRICS, self._metrics(status, self._counters, facade).encode())

    def _vehicles(self, known: bool) -> Page:
        status, _ = self._look()
        document = status.as_json()
        document["own_problems"] = [
            {**one.as_json(), "steps": [[step.words, step.command, step.place.value] for step in one.problem.fix]}
            for one in self._own()
        ]
        for vehicle, view in zip(document["vehicles"], status.broker.vehicles, strict=True):
            cause = view.judgement.cause
            vehicle |= {"cause": cause.value if cause else None, "names": list(view.names)}
            if not known:
                vehicle["telemetry"] = without_position(vehicle["telemetry"])
        return Page(200, JSON, json.dumps(document).encode())


def without_position(telemetry: Mapping[str, Any]) -> dict[str, Any]:
    """The values that tell neither where the car is nor where it goes."""
    return {key: value for key, value in telemetry.items() if key not in POSITION and not key.startswith(ROUTE)}


def _text(status: int, words: str) -> Page:
    return Page(status, TEXT, f"{words}\n".encode())
