"""status for people, for Nagios and for Prometheus."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from tmsync.core.clock import iso
from tmsync.core.errors import Problem
from tmsync.core.status.report import Finding, Severity, Status
from tmsync.core.telemetry.health import Source
from tmsync.core.words import in_words
from tmsync.render.console import trimmed
from tmsync.render.styles import BAD, GOOD, STRONG, WARN
from tmsync.render.text import printable, wrapped
from tmsync.render.vehicles import print_vehicles

SEVERITY_STYLES: Final = {Severity.CRITICAL: BAD, Severity.WARNING: WARN}
NAGIOS_WORDS: Final = {None: "OK", Severity.WARNING: "WARNING", Severity.CRITICAL: "CRITICAL"}
NAGIOS_CODES: Final = {None: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}
NAGIOS_UNKNOWN: Final = 3
"""Plugin return code for a check that could not be made.

Source: Monitoring Plugins Development Guidelines, "Plugin Return Codes" and "Plugin Output for Nagios".
"""


def render(status: Status, screen: Console, *, quiet: bool = False) -> str:
    """The whole look as text for `screen`. quiet: only what is wrong."""
    with screen.capture() as capture:
        if not quiet:
            screen.print(_parts(status))
            if status.broker.vehicles:
                screen.print()
                print_vehicles(status.broker.vehicles, screen, status.at)
        for number, finding in enumerate(status.findings):
            if number or not quiet:
                screen.print()
            _print_finding(finding, screen)
        if not quiet and not status.findings:
            screen.print(Text("\nNo problem found.", style=GOOD))
    return trimmed(screen, capture.get())


def _parts(status: Status) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style=STRONG)
    table.add_column(overflow="fold")
    for head, text in _part_lines(status):
        table.add_row(head, text)
    return table


def _part_lines(status: Status) -> Iterator[tuple[str, RenderableType]]:
    database, twc, broker = status.database, status.twcmanager, status.broker
    yield "database", _up(database.ok, database.problem, "TeslaMate's tokens can be read")
    yield "token", _token(status)
    if database.ok is not None:
        state = Text(twc.presence)
        if twc.reason:
            state.append(f" ({printable(twc.reason)})")
        yield "TWCManager", state
    cars = f"{len(broker.vehicles)} vehicle{'' if len(broker.vehicles) == 1 else 's'}"
    namespace = f", namespace {printable(broker.namespace)}" if broker.namespace else ""
    yield "broker", _up(broker.ok, broker.problem, f"connected{namespace}, {cars}")


def _up(ok: bool | None, problem: Problem | None, good: str) -> Text:
    if ok is None:
        return Text("not configured")
    if problem is not None:
        return Text.assemble((problem.cause, BAD), f": {printable(problem.message)}")
    return Text(good)


def _token(status: Status) -> Text:
    tokens, twc = status.database.tokens, status.twcmanager
    if tokens is None:
        return Text("unknown" if status.database.ok is False else "not configured")
    left = tokens.expires_at - status.at
    life = f"expires in {in_words(left)}" if left.total_seconds() > 0 else f"expired {in_words(-left)} ago"
    text = Text(f"{tokens.fingerprint}, {life}; ")
    if not twc.readable:
        return text.append("which one TWCManager holds cannot be seen")
    if status.in_sync:
        since = f" since {iso(twc.since)}" if twc.since else ""
        return text.append(f"TWCManager holds it{since}")
    return text.append(f"TWCManager holds {twc.fingerprint or 'none'}", style=BAD)


def _print_finding(finding: Finding, screen: Console) -> None:
    problem = finding.problem
    head = (f"{finding.severity} {problem.cause}:", SEVERITY_STYLES[finding.severity])
    screen.print(Text.assemble(head, f" {printable(problem.message)}"))
    if problem.hint:
        screen.print(Text(wrapped(printable(problem.hint), screen.width, "  ")), soft_wrap=True)


# -- Nagios


def nagios(status: Status) -> tuple[str, int]:
    """The plugin's output and its return code: a line with performance data, then a line per problem."""
    summary = _nagios_text("; ".join(_nagios_summary(status)))
    lines = [f"TMSYNC {NAGIOS_WORDS[status.worst]} - {summary} | {_performance(status)}"]
    lines += [_nagios_text(f"{f.severity} {f.problem.cause}: {f.problem.message}") for f in status.findings]
    return "\n".join(lines) + "\n", NAGIOS_CODES[status.worst]


def nagios_unknown(problem: Problem) -> tuple[str, int]:
    """For a check that could not be made."""
    return f"TMSYNC UNKNOWN - {_nagios_text(problem.message)}\n", NAGIOS_UNKNOWN


def _nagios_summary(status: Status) -> Iterator[str]:
    worst = [finding for finding in status.findings if finding.severity is status.worst]
    if worst:
        yield worst[0].problem.message
        if len(status.findings) > 1:
            yield f"{len(status.findings)} problems in all"
        return
    tokens = status.database.tokens
    if tokens is not None:
        yield f"token expires in {in_words(tokens.expires_at - status.at)}"
        yield {True: "in sync", False: "out of sync", None: "sync unknown"}[status.in_sync]
    if status.broker.ok:
        trusted = sum(view.judgement.source is Source.TESLAMATE for view in status.broker.vehicles)
        yield f"{trusted} of {len(status.broker.vehicles)} vehicles by TeslaMate"


def _performance(status: Status) -> str:
    tokens = status.database.tokens
    found = {
        "token_expires_s": None if tokens is None else int((tokens.expires_at - status.at).total_seconds()),
        "vehicles": len(status.broker.vehicles) if status.broker.ok else None,
        "problems": len(status.findings),
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


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else repr(round(value, 3))


def _label(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace('"', '\\"')
