"""status for Nagios and for Prometheus."""

from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from tmsync import __version__
from tmsync.core.errors import Problem
from tmsync.core.serve.board import Counters
from tmsync.core.serve.ports import FacadeStatus
from tmsync.core.status.report import Severity, Status
from tmsync.core.telemetry.health import Source
from tmsync.render.text import printable

NAGIOS_WORDS: Final = {None: "OK", Severity.WARNING: "WARNING", Severity.CRITICAL: "CRITICAL"}
NAGIOS_CODES: Final = {None: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}
NAGIOS_UNKNOWN: Final = 3
"""Plugin return code for a check that could not be made.

Source: Monitoring Plugins Development Guidelines, "Plugin Return Codes" and "Plugin Output for Nagios".
"""


# -- Nagios


def nagios(status: Status) -> tuple[str, int]:
    """The plugin's output and its return code: a line with performance data, then a line per problem."""
    text = status.summary.text
    if status.problems:
        text += f": {status.problems[0].problem.message}"
    lines = [f"TMSYNC {NAGIOS_WORDS[status.worst]} - {_nagios_text(text)} | {_performance(status)}"]
    told = ((rated.severity, rated.problem) for rated in status.problems)
    lines += [_nagios_text(f"{severity} {problem.cause}: {problem.message}") for severity, problem in told]
    return "\n".join(lines) + "\n", NAGIOS_CODES[status.worst]


def nagios_unknown(problem: Problem) -> tuple[str, int]:
    """For a check that could not be made."""
    return f"TMSYNC UNKNOWN - {_nagios_text(problem.message)}\n", NAGIOS_UNKNOWN


def _performance(status: Status) -> str:
    tokens = status.database.tokens
    found = {
        "token_expires_s": None if tokens is None else int((tokens.expires_at - status.at).total_seconds()),
        "vehicles": len(status.broker.vehicles) if status.broker.ok else None,
        "problems": len(status.problems),
    }
    return " ".join(f"{label}={value}" for label, value in found.items() if value is not None)


def _nagios_text(text: str) -> str:
    """One line without the bar that begins performance data."""
    return printable(text).replace("|", "/")


# -- Prometheus


class Metric(NamedTuple):
    """A metric's name and help, and its samples: labels and value."""

    name: str
    help: str
    samples: list[tuple[str, float]]


def prometheus(status: Status) -> str:
    """Text for node_exporter's textfile collector. What is not known or not configured has no sample.

    Source: Prometheus documentation, "Exposition formats".
    """
    lines = []
    for metric in _metrics(status):
        if metric.samples:
            lines += [f"# HELP tmsync_{metric.name} {metric.help}", f"# TYPE tmsync_{metric.name} gauge"]
            lines += [f"tmsync_{metric.name}{labels} {_number(value)}" for labels, value in metric.samples]
    return "".join(f"{line}\n" for line in lines)


def _metrics(status: Status) -> Iterator[Metric]:
    def one(value: float | bool | None) -> list[tuple[str, float]]:
        return [] if value is None else [("", float(value))]

    tokens, views = status.database.tokens, status.broker.vehicles
    expiry = None if tokens is None else tokens.expires_at.timestamp()
    labels = {view.car_id: f'{{car_id="{view.car_id}",name="{_label(view.name)}"}}' for view in views}
    decided = [view for view in views if view.judgement.source is not Source.UNDECIDED]
    levels = [(view.car_id, view.telemetry.get("battery_level")) for view in views]
    yield Metric("database_up", "Whether TeslaMate's tokens can be read.", one(status.database.ok))
    yield Metric("broker_up", "Whether the MQTT broker can be used.", one(status.broker.ok))
    yield Metric("tokens_in_sync", "Whether TWCManager holds TeslaMate's current token.", one(status.in_sync))
    yield Metric("token_expiry_timestamp_seconds", "When TeslaMate's access token expires.", one(expiry))
    yield Metric(
        "vehicle_source_teslamate",
        "Whether TeslaMate's telemetry is to be trusted; no sample while undecided.",
        [(labels[view.car_id], float(view.judgement.source is Source.TESLAMATE)) for view in decided],
    )
    yield Metric(
        "vehicle_healthy",
        "TeslaMate's health flag.",
        [(labels[view.car_id], float(view.healthy)) for view in views if view.healthy is not None],
    )
    yield Metric(
        "vehicle_last_heartbeat_timestamp_seconds",
        "When TeslaMate was last heard of this vehicle.",
        [(labels[v.car_id], v.last_heartbeat_at.timestamp()) for v in views if v.last_heartbeat_at is not None],
    )
    yield Metric(
        "vehicle_battery_level_percent",
        "State of charge.",
        [(labels[car_id], float(level)) for car_id, level in levels if isinstance(level, int | float)],
    )
    held = Counter((rated.severity.value, rated.problem.cause.value) for rated in status.problems)
    yield Metric(
        "problems",
        "Problems that hold.",
        [(f'{{severity="{severity}",cause="{cause}"}}', count) for (severity, cause), count in sorted(held.items())],
    )


def openmetrics(status: Status, counters: Counters, facade: FacadeStatus | None) -> str:
    """status's gauges and serve's counters, as serve gives them out at /metrics.

    Source: OpenMetrics 1.0, "Overall Structure" (a counter's samples end in _total, its family's name does not).
    """
    lines = []
    for kind, found in (("gauge", _metrics(status)), ("counter", _counters(counters, facade)), ("info", (BUILD,))):
        suffix = {"gauge": "", "counter": "_total", "info": "_info"}[kind]
        for metric in found:
            lines += [f"# TYPE tmsync_{metric.name} {kind}", f"# HELP tmsync_{metric.name} {metric.help}"]
            lines += [f"tmsync_{metric.name}{suffix}{labels} {_number(value)}" for labels, value in metric.samples]
    return "".join(f"{line}\n" for line in (*lines, "# EOF"))


BUILD: Final = Metric("build", "The version that runs.", [(f'{{version="{__version__}"}}', 1)])


def _counters(counters: Counters, facade: FacadeStatus | None) -> Iterator[Metric]:
    requests = {} if facade is None else facade.requests
    yield Metric(
        "api_requests",
        "Requests of TWCManager, by what was asked, who answered, and the HTTP status.",
        [
            (f'{{path="{_label(path)}",source="{source}",code="{code}"}}', count)
            for (path, source, code), count in sorted(requests.items())
        ],
    )
    yield Metric(
        "source_changes",
        "Changes of the source of a vehicle's telemetry.",
        [
            (f'{{car_id="{car_id}",to="{to}"}}', count)
            for (car_id, to), count in sorted(counters.source_changes.items())
        ],
    )
    yield Metric(
        "token_deliveries",
        "Attempts to deliver the token, by what came of them.",
        [(f'{{result="{result}"}}', count) for result, count in sorted(counters.deliveries.items())],
    )
    yield Metric(
        "broker_reconnects", "Connections to the broker after the first one.", [("", counters.broker_reconnects)]
    )
    yield Metric(
        "untrusted_seconds",
        "Seconds in which TeslaMate's telemetry was not to be trusted.",
        [(f'{{car_id="{car_id}"}}', seconds) for car_id, seconds in sorted(counters.untrusted_s.items())],
    )


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else repr(round(value, 3))


def _label(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace('"', '\\"')
