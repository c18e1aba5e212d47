"""status for people."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tmsync.core.clock import iso
from tmsync.core.status.report import Broker, Database, Facade, Part, RatedProblem, Severity, Status
from tmsync.core.telemetry.health import Source
from tmsync.core.words import in_words, life
from tmsync.render.console import can_show_blocks, trimmed
from tmsync.render.problems import step_lines
from tmsync.render.styles import CRITICAL, FAINT, GOOD, PLAIN, STRONG, WARN
from tmsync.render.text import printable, wrapped
from tmsync.render.vehicles import print_vehicles

STYLES: Final = {Severity.CRITICAL: CRITICAL, Severity.WARNING: WARN}
MARKS: Final = {Severity.CRITICAL: ("✗", "x"), Severity.WARNING: ("!", "!")}
"""Severity -> its mark, and that for terminals without such characters."""
GOOD_MARK: Final = ("✓", "+")
NO_MARK: Final = "-"
HEADS: Final = {Part.TWCMANAGER: "TWCManager"}
INDENT: Final = "  "


def render(status: Status, screen: Console, *, quiet: bool = False) -> str:
    """The whole look as text for `screen`. quiet: only what is wrong."""
    with screen.capture() as capture:
        if not quiet:
            style = GOOD if status.worst is None else STYLES[status.worst]
            screen.print(Text.assemble((_mark(status.worst, screen), style), (f" {status.summary.text}", STRONG)))
            screen.print()
            screen.print(_parts(status, screen))
            if status.broker.vehicles:
                screen.print()
                print_vehicles(status.broker.vehicles, screen, status.at)
        for number, rated in enumerate(status.problems):
            if number or not quiet:
                screen.print()
            _print_problem(rated, screen)
    return trimmed(screen, capture.get())


def _mark(severity: Severity | None, screen: Console) -> str:
    return (GOOD_MARK if severity is None else MARKS[severity])[0 if can_show_blocks(screen) else 1]


def _parts(status: Status, screen: Console) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style=STRONG)
    table.add_column(overflow="fold")
    for part, words in _part_lines(status):
        severity = status.worst_of(part)
        unknown = severity is None and part in _unknown(status)
        mark = NO_MARK if unknown else _mark(severity, screen)
        style = FAINT if unknown else GOOD if severity is None else STYLES[severity]
        table.add_row(Text(mark, style=style), HEADS.get(part, part), Text(words))
    return table


def _unknown(status: Status) -> Iterator[Part]:
    """The parts of which nothing can be said, good or bad."""
    if status.database.ok is None:
        yield Part.DATABASE
    if status.database.tokens is None:
        yield Part.TOKEN
    if not status.twcmanager.readable:
        yield Part.TWCMANAGER
    if status.facade is not None and status.facade.last_call_at is None:
        yield Part.FACADE
    if status.broker.ok is None:
        yield Part.BROKER
    if status.undecided or not status.broker.vehicles:
        yield Part.VEHICLES


def _part_lines(status: Status) -> Iterator[tuple[Part, str]]:
    """Each part in words."""
    database, broker = status.database, status.broker
    yield Part.CONFIGURATION, printable(status.config_file or "no file: environment, flags and defaults")
    yield Part.DATABASE, _reached(database, "TeslaMate's tokens can be read")
    if database.ok is not None:
        yield Part.TOKEN, _token(status)
    if database.ok is not None or status.twcmanager.fingerprint:
        yield Part.TWCMANAGER, _twcmanager(status)
    if status.facade is not None:
        yield Part.FACADE, _facade(status.facade, status.at)
    namespace = f", namespace {printable(broker.namespace)}" if broker.namespace else ""
    yield Part.BROKER, _reached(broker, f"connected{namespace}")
    if broker.ok:
        yield Part.VEHICLES, _vehicles(status)


def _reached(part: Database | Broker, good: str) -> str:
    if part.ok is None:
        return "not configured"
    found = f"{part.problem.cause} (see below)" if part.problem is not None else good
    return f"{printable(part.where or '')}: {found}"


def _token(status: Status) -> str:
    tokens = status.database.tokens
    if tokens is None:
        return "unknown while the database cannot be read"
    return f"{tokens.fingerprint}, {life(tokens.expires_at - status.at)}"


def _twcmanager(status: Status) -> str:
    twc = status.twcmanager
    running = twc.presence.value + (f" ({printable(twc.reason)})" if twc.reason else "")
    if not twc.readable:
        return f"{running}; which token it holds cannot be seen"
    if twc.fingerprint is None:
        return f"{running}; it holds no token"
    if status.in_sync:
        whose = "a token of tmsync's own" if status.local_token else "TeslaMate's token"
        return f"{running}; it holds {whose}" + (f" since {iso(twc.since)}" if twc.since else "")
    if twc.expires_at is None:
        return f"{running}; it holds {twc.fingerprint}"
    return f"{running}; it holds {twc.fingerprint}, which {life(twc.expires_at - status.at)}"


def _facade(facade: Facade, at: datetime) -> str:
    if facade.answered is None:
        return f"{facade.listen}: tmsync serve does not answer (see below)"
    last = facade.last_call_at
    when = f"last asked {in_words(at - last)} ago" if last else "not asked yet"
    return f"{facade.listen}: {when}; {facade.answered} answered, {facade.forwarded} forwarded"


def _vehicles(status: Status) -> str:
    sources = [view.judgement.source for view in status.broker.vehicles]
    told = {Source.TESLAMATE: "by TeslaMate", Source.TESLA_API: "by the Tesla API", Source.UNDECIDED: "undecided"}
    parts = [f"{sources.count(source)} {words}" for source, words in told.items() if source in sources]
    return ", ".join(parts) or "none"


def _print_problem(rated: RatedProblem, screen: Console) -> None:
    problem = rated.problem
    head = f"{_mark(rated.severity, screen)} {rated.severity} {problem.cause}:"
    told = wrapped(f"{head} {printable(problem.message)}", screen.width, INDENT)[len(INDENT) :]
    text = Text(told)
    text.stylize(STYLES[rated.severity], 0, len(told.split("\n", maxsplit=1)[0][: len(head)]))
    screen.print(text, soft_wrap=True)
    for detail in problem.details:
        screen.print(Text(wrapped(printable(detail), screen.width, INDENT)), soft_wrap=True)
    for line in step_lines(problem.fix, screen.width, INDENT):
        screen.print(Text(line.text, style=STRONG if line.to_paste else PLAIN), soft_wrap=True)
