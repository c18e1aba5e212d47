"""Vehicles for people: a row each, as much of it as the terminal is wide, and why a verdict is what it is."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple, TypeAlias

from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.segment import Segment, SegmentLines
from rich.table import Table
from rich.text import Text

from tmsync.core.telemetry.health import Source, Verdict
from tmsync.core.telemetry.vehicle import NO_DATA
from tmsync.core.telemetry.views import VehicleView
from tmsync.core.words import in_words
from tmsync.render.console import can_show_blocks
from tmsync.render.styles import BAD, FAINT, GOOD, PLAIN, STRONG, WARN
from tmsync.render.text import printable, wrapped

NAME_CELLS: Final = 40
"""A longer name is cut, so that one alone does not leave all the others without columns."""
NAME_HEAD: Final = "Vehicle"
UNBOUND: Final = 100_000
"""Columns of a terminal without an end, on which to measure."""
BELOW: Final = "    "
"""Before a reason that stands below its row."""
VERDICT_STYLES: Final = {
    Verdict.WAITING: PLAIN,
    Verdict.FRESH: GOOD,
    Verdict.LATE: WARN,
    Verdict.QUIET: PLAIN,
    Verdict.STALE: BAD,
    Verdict.UNHEALTHY: BAD,
    Verdict.BLIND: BAD,
}
SOURCE_STYLES: Final = {Source.TESLAMATE: PLAIN, Source.TESLA_API: BAD, Source.UNDECIDED: PLAIN}
LOW_BATTERY: Final = 15
"""Percent; below, the bar is red."""
URGENCY: Final = (
    Verdict.STALE,
    Verdict.BLIND,
    Verdict.UNHEALTHY,
    Verdict.LATE,
    Verdict.WAITING,
    Verdict.QUIET,
    Verdict.FRESH,
)
"""Worst first. What comes last needs no reason."""

SegmentLine: TypeAlias = list[Segment]


class Style(NamedTuple):
    """How much a cell says: in words or short, with a bar of so many cells; the blanks between two columns."""

    words: bool
    bar_cells: int
    gap: int


STYLES: Final = (Style(True, 10, 2), Style(False, 5, 2), Style(False, 0, 1))
"""The first that fits the terminal is used."""


class Frame(NamedTuple):
    """What cells are drawn for: at what time, whether block characters can be shown, and in which style."""

    now: datetime
    blocks: bool
    style: Style

    @property
    def words(self) -> bool:
        """Whether there is room for words."""
        return self.style.words


class Column(NamedTuple):
    """A column: its head, its short head, a cell's text, and when it is left out."""

    head: str
    short: str
    cell: Callable[[VehicleView, Frame], Text]
    needed: int = 0
    """Where room is short, columns go in the order of this, least first."""
    right: bool = False


class Block(NamedTuple):
    """A vehicle on the screen: its row, and below it, where there is no room beside it, why its verdict holds."""

    row: SegmentLine
    reason: list[SegmentLine]
    urgency: int
    """Lowest first."""


class Sheet(NamedTuple):
    """The table's head, and a block for each vehicle."""

    head: SegmentLine
    blocks: list[Block]

    def lines(self, room: int | None = None) -> Iterator[SegmentLine]:
        """Everything, top down. room: lines there are for the reasons; the most urgent have them first."""
        told = []
        for block in sorted(self.blocks, key=lambda block: block.urgency):
            if room is not None:
                room -= len(block.reason)
                if room < 0:
                    break
            told.append(id(block))
        yield self.head
        for block in self.blocks:
            yield block.row
            yield from block.reason if id(block) in told else ()


def sheet(views: Sequence[VehicleView], screen: Console, now: datetime) -> Sheet:
    """The vehicles in the richest form that fits the screen. Columns are left out before a name is cut."""
    for style, columns in _forms():
        frame = Frame(now, can_show_blocks(screen), style)
        table = _table(views, frame, columns)
        if (width := _width(table, screen)) <= screen.width:
            break
    else:
        name = max(len(NAME_HEAD), *(_name(view, frame).cell_len for view in views))
        table.columns[0].width = max(screen.width - width + name, 1)
    reasons = max(cell_len(printable(view.judgement.reason)) for view in views)
    beside = width + style.gap + max(reasons, len(REASON.head)) <= screen.width
    if beside:
        table = _table(views, frame, (*columns, REASON))
    head, *rows = screen.render_lines(table, screen.options, pad=False)
    return Sheet(head, [_block(view, row, screen, beside=beside) for view, row in zip(views, rows, strict=True)])


def _block(view: VehicleView, row: SegmentLine, screen: Console, *, beside: bool) -> Block:
    urgency = URGENCY.index(view.judgement.verdict)
    if beside or urgency == len(URGENCY) - 1:
        return Block(row, [], urgency)
    text = Text(wrapped(printable(view.judgement.reason), screen.width, BELOW), no_wrap=True, overflow="ellipsis")
    return Block(row, screen.render_lines(text, screen.options, pad=False), urgency)


def _forms() -> Iterator[tuple[Style, Sequence[Column]]]:
    """Every form of the table, richest first."""
    yield from ((style, COLUMNS) for style in STYLES)
    columns = list(COLUMNS)
    while len(columns) > 2:
        columns.remove(min(columns, key=lambda column: column.needed))
        yield STYLES[-1], tuple(columns)


def _table(views: Sequence[VehicleView], frame: Frame, columns: Sequence[Column]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, frame.style.gap, 0, 0), header_style=STRONG)
    for column in columns:
        table.add_column(
            column.head if frame.words else column.short,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    for view in views:
        table.add_row(*(column.cell(view, frame) for column in columns))
    return table


def _width(table: Table, screen: Console) -> int:
    """The columns of a terminal that the table wants."""
    return Measurement.get(screen, screen.options.update(max_width=UNBOUND), table).maximum


def print_vehicles(views: Sequence[VehicleView], screen: Console, now: datetime) -> None:
    """The whole table."""
    screen.print(SegmentLines(sheet(views, screen, now).lines(), new_lines=True))


def fold(views: Sequence[VehicleView], lines: int) -> tuple[list[VehicleView], str]:
    """The vehicles that fit into `lines`, trouble first when not all do, and in words what was left out."""
    if len(views) <= lines:
        return list(views), ""
    kept = max(lines - 1, 0)
    ordered = sorted(views, key=lambda view: (URGENCY.index(view.judgement.verdict), view.car_id))
    shown = {view.car_id for view in ordered[:kept]}
    rest = Counter(view.judgement.verdict for view in ordered[kept:])
    words = ", ".join(f"{rest[verdict]} {verdict}" for verdict in URGENCY if rest[verdict])
    return [view for view in views if view.car_id in shown], f"... and {len(views) - kept} more: {words}"


def short_span(span: timedelta) -> str:
    """ "45s", "12m", "2h05", "3d"."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m"
    if seconds < 86400:
        return f"{seconds // 3600}h{seconds // 60 % 60:02d}"
    return f"{seconds // 86400}d"


def _name(view: VehicleView, _: Frame) -> Text:
    name = Text(printable(view.name))
    name.truncate(NAME_CELLS, overflow="ellipsis")
    return name


def _state(view: VehicleView, frame: Frame) -> Text:
    if view.state is None:
        return Text("-", style=FAINT)
    text = Text(printable(view.state))
    if view.since is not None and view.state not in NO_DATA and not view.in_drive:
        span = frame.now - view.since
        text.append(f" {in_words(span) if frame.words else short_span(span)}", style=FAINT)
    return text


def _battery(view: VehicleView, frame: Frame) -> Text:
    level, limit = view.telemetry.get("battery_level"), view.telemetry.get("charge_limit_soc")
    if not isinstance(level, int | float):
        return Text("-", style=FAINT)
    trusted = view.judgement.source is not Source.TESLA_API
    text = _bar(level, limit, frame, GOOD if trusted else PLAIN)
    if frame.words:
        return text.append(f" {level:g} %" + (f" of {limit:g}" if isinstance(limit, int | float) else ""))
    gap = " " if text else ""
    return text.append(f"{gap}{level:g}" + (f"/{limit:g}%" if isinstance(limit, int | float) else "%"))


def _bar(level: float, limit: object, frame: Frame, style: str) -> Text:
    count = frame.style.bar_cells
    full, part, mark = ("█", "░", "│") if frame.blocks else ("#", "-", "|")
    cells = [full if index < round(level / 100 * count) else part for index in range(count)]
    if count and isinstance(limit, int | float) and level < limit < 100:
        cells[min(max(int(limit / 100 * count), 0), count - 1)] = mark
    return Text.assemble(("".join(cells), BAD if level < LOW_BATTERY else style))


def _charging(view: VehicleView, frame: Frame) -> Text:
    values = view.telemetry
    power, current, left = (values.get(k) for k in ("charger_power", "charger_actual_current", "time_to_full_charge"))
    parts = []
    if view.state == "charging" and isinstance(power, int | float):
        parts.append(f"{power:g} kW" if frame.words else f"{power:g}kW")
        if frame.words and isinstance(current, int | float):
            parts.append(f"{current:g} A")
        if isinstance(left, int | float) and 0 < left < 1000:
            span = timedelta(hours=left)
            parts.append(f"{in_words(span)} left" if frame.words else short_span(span))
    elif values.get("plugged_in") is True:
        parts.append("plugged in" if frame.words else "plugged")
    return Text(" ".join(parts)) if parts else Text("-", style=FAINT)


def _healthy(view: VehicleView, frame: Frame) -> Text:
    if view.healthy is None:
        return Text("-", style=FAINT)
    if not view.healthy:
        return Text("no", style=BAD)
    if view.judgement.source is Source.TESLA_API:
        # What it said last, or has not said for long enough: no reason for a green light.
        return Text("-", style=FAINT)
    return Text("yes" if frame.words else "ok", style=GOOD)


def _heartbeat(view: VehicleView, frame: Frame) -> Text:
    if view.last_heartbeat_at is None:
        return Text("none yet" if frame.words else "-", style=FAINT)
    span = timedelta(seconds=view.silence_s)
    return Text(f"{in_words(span)} ago" if frame.words else short_span(span))


def _verdict(view: VehicleView, _: Frame) -> Text:
    return Text(view.judgement.verdict, style=VERDICT_STYLES[view.judgement.verdict])


def _source(view: VehicleView, _: Frame) -> Text:
    return Text(view.judgement.source, style=SOURCE_STYLES[view.judgement.source])


def _reason(view: VehicleView, _: Frame) -> Text:
    return Text(printable(view.judgement.reason))


COLUMNS: Final = (
    Column(NAME_HEAD, NAME_HEAD, _name, 9),
    Column("State", "State", _state, 7),
    Column("Battery", "Battery", _battery, 4),
    Column("Charging", "Charging", _charging, 2),
    Column("Healthy", "OK", _healthy, 1),
    Column("Heartbeat", "Beat", _heartbeat, 3, right=True),
    Column("Verdict", "Verdict", _verdict, 8),
    Column("Source", "Source", _source, 6),
)
REASON: Final = Column("Reason", "Reason", _reason)
