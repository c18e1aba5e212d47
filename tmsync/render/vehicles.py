"""Vehicles for people: a row each, as much of it as the terminal is wide."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from rich.cells import cell_len
from rich.console import Console, Group
from rich.text import Text

from tmsync.core.telemetry.fleet import VehicleView
from tmsync.core.telemetry.health import Source, Verdict
from tmsync.core.words import in_words
from tmsync.render.styles import BAD, FAINT, GOOD, PLAIN, STRONG, WARN
from tmsync.render.text import printable, wrapped

REASON_CELLS: Final = 24
"""The reasons are shown beside where at least so much room is left."""
NAME_CELLS: Final = 8
"""The vehicle's name may be cut down to this before columns are left out."""
VERDICT_STYLES: Final = {
    Verdict.WAITING: PLAIN,
    Verdict.FRESH: GOOD,
    Verdict.LATE: WARN,
    Verdict.QUIET: PLAIN,
    Verdict.STALE: BAD,
    Verdict.UNHEALTHY: BAD,
}
SOURCE_STYLES: Final = {Source.TESLAMATE: PLAIN, Source.TESLA_API: BAD, Source.UNDECIDED: PLAIN}
LOW_BATTERY: Final = 15
"""Percent; below, the bar is red."""
URGENCY: Final = (Verdict.STALE, Verdict.UNHEALTHY, Verdict.LATE, Verdict.WAITING, Verdict.QUIET, Verdict.FRESH)
TROUBLED: Final = 3
"""So many of these are trouble."""


class Style(NamedTuple):
    """How much a cell says: in words or short, with a bar of so many cells."""

    words: bool
    bar_cells: int
    gap: int
    name_cells: int


STYLES: Final = (Style(True, 10, 2, 24), Style(False, 5, 2, 14), Style(False, 0, 1, 14))
"""The first that fits the terminal is used."""


class Frame(NamedTuple):
    """What a table is drawn for: how wide, at what time, and whether block characters can be shown.

    folds: whether a reason may go on in further lines; else it is cut.
    """

    width: int
    now: datetime
    blocks: bool
    folds: bool = False
    style: Style = STYLES[0]

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


def vehicle_lines(views: Sequence[VehicleView], frame: Frame) -> tuple[list[Text], bool]:
    """A head and the vehicles' lines, as wide as the frame at most; and whether they tell why there is trouble."""
    for style in STYLES:
        laid = _Layout(views, frame._replace(style=style), COLUMNS)
        if laid.width <= frame.width:
            break
    columns = list(COLUMNS)
    while laid.width - laid.can_shrink > frame.width and len(columns) > 2:
        columns.remove(min(columns, key=lambda column: column.needed))
        laid = _Layout(views, laid.frame, columns)
    return laid.lines(), laid.tells_reasons


def can_show_blocks(screen: Console) -> bool:
    """Whether the terminal's encoding has block characters."""
    return screen.encoding.lower().replace("-", "").startswith("utf")


def print_vehicles(views: Sequence[VehicleView], screen: Console, now: datetime) -> None:
    """The table, and below it the reasons of what is not quite right where they do not fit beside."""
    lines, tells_reasons = vehicle_lines(views, Frame(screen.width, now, can_show_blocks(screen), folds=True))
    screen.print(Group(*lines))
    if not tells_reasons and (reasons := trouble(views)):
        screen.print(Group(Text(), *reasons))


def trouble(views: Sequence[VehicleView]) -> list[Text]:
    """A line for every vehicle whose data is not quite right, and why."""
    lines = []
    for view in _troubled(views):
        name = Text(printable(view.name))
        name.truncate(STYLES[0].name_cells, overflow="ellipsis")
        lines.append(Text.assemble(name, f": {printable(view.judgement.reason)}"))
    return lines


def _troubled(views: Sequence[VehicleView]) -> list[VehicleView]:
    return [view for view in views if view.judgement.verdict in URGENCY[:TROUBLED]]


class _Layout:
    """Every cell of a table in one style, and how wide that is."""

    def __init__(self, views: Sequence[VehicleView], frame: Frame, columns: Sequence[Column]) -> None:
        self.views = views
        self.frame = frame
        self.columns = columns
        self.rows = [[column.cell(view, frame) for column in columns] for view in views]
        heads = [column.head if frame.words else column.short for column in columns]
        self.heads = heads
        cells = [[len(head), *(row[index].cell_len for row in self.rows)] for index, head in enumerate(heads)]
        self.widths = [max(lengths) for lengths in cells]
        self.widths[0] = min(self.widths[0], frame.style.name_cells)
        self.width = sum(self.widths) + frame.style.gap * (len(columns) - 1)
        self.can_shrink = max(self.widths[0] - NAME_CELLS, 0)

    @property
    def reason_cells(self) -> int:
        """The room for the reason; 0 when it is too small."""
        left = self.frame.width - self.width - self.frame.style.gap
        return left if left >= REASON_CELLS else 0

    @property
    def tells_reasons(self) -> bool:
        """Whether every reason of trouble can be read to its end."""
        if self.frame.folds:
            return bool(self.reason_cells)
        return all(cell_len(printable(view.judgement.reason)) <= self.reason_cells for view in _troubled(self.views))

    def lines(self) -> list[Text]:
        """The head and the vehicles' lines. Put together by hand: rich.table takes twenty times as long."""
        widths = [self.widths[0] + min(self.frame.width - self.width, 0), *self.widths[1:]]
        heads = [Text(head, style=STRONG) for head in self.heads]
        lines = [self._line(heads, widths)]
        if self.reason_cells:
            lines[0].append("Reason", style=STRONG)
        for row, view in zip(self.rows, self.views, strict=True):
            line = self._line(row, widths)
            first, *others = self._reason(view) if self.reason_cells else [""]
            lines += [line.append(first), *(Text(" " * (self.width + self.frame.style.gap) + more) for more in others)]
        for line in lines:
            line.rstrip()
            line.no_wrap, line.overflow = True, "ellipsis"
        return lines

    def _reason(self, view: VehicleView) -> list[str]:
        reason = printable(view.judgement.reason)
        return wrapped(reason, self.reason_cells).split("\n") if self.frame.folds else [reason]

    def _line(self, cells: Sequence[Text], widths: Sequence[int]) -> Text:
        line = Text()
        for column, cell, width in zip(self.columns, cells, widths, strict=True):
            cell.truncate(max(width, 1), overflow="ellipsis")
            pad = " " * (max(width, 1) - cell.cell_len)
            if column.right:
                line.append(pad)
            line.append_text(cell)
            line.append(("" if column.right else pad) + " " * self.frame.style.gap)
        return line


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
    return Text(printable(view.name))


def _state(view: VehicleView, frame: Frame) -> Text:
    if view.state is None:
        return Text("-", style=FAINT)
    text = Text(printable(view.state))
    if view.since is not None:
        span = frame.now - view.since
        text.append(f" {in_words(span) if frame.words else short_span(span)}", style=FAINT)
    return text


def _battery(view: VehicleView, frame: Frame) -> Text:
    level, limit = view.telemetry.get("battery_level"), view.telemetry.get("charge_limit_soc")
    if not isinstance(level, int | float):
        return Text("-", style=FAINT)
    text = _bar(level, limit, frame)
    if frame.words:
        return text.append(f" {level:g} %" + (f" of {limit:g}" if isinstance(limit, int | float) else ""))
    gap = " " if text else ""
    return text.append(f"{gap}{level:g}" + (f"/{limit:g}%" if isinstance(limit, int | float) else "%"))


def _bar(level: float, limit: object, frame: Frame) -> Text:
    count = frame.style.bar_cells
    full, part, mark = ("█", "░", "│") if frame.blocks else ("#", "-", "|")
    cells = [full if index < round(level / 100 * count) else part for index in range(count)]
    if count and isinstance(limit, int | float) and level < limit < 100:
        cells[min(max(int(limit / 100 * count), 0), count - 1)] = mark
    return Text.assemble(("".join(cells), BAD if level < LOW_BATTERY else GOOD))


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
    if view.healthy:
        return Text("yes" if frame.words else "ok", style=GOOD)
    return Text("no", style=BAD)


def _heartbeat(view: VehicleView, frame: Frame) -> Text:
    if view.last_heartbeat_at is None:
        return Text("none yet" if frame.words else "-", style=FAINT)
    span = timedelta(seconds=view.silence_s)
    return Text(f"{in_words(span)} ago" if frame.words else short_span(span))


def _verdict(view: VehicleView, _: Frame) -> Text:
    return Text(view.judgement.verdict, style=VERDICT_STYLES[view.judgement.verdict])


def _source(view: VehicleView, _: Frame) -> Text:
    return Text(view.judgement.source, style=SOURCE_STYLES[view.judgement.source])


COLUMNS: Final = (
    Column("Vehicle", "Vehicle", _name, 9),
    Column("State", "State", _state, 7),
    Column("Battery", "Battery", _battery, 4),
    Column("Charging", "Charging", _charging, 2),
    Column("Healthy", "OK", _healthy, 1),
    Column("Heartbeat", "Beat", _heartbeat, 3, right=True),
    Column("Verdict", "Verdict", _verdict, 8),
    Column("Source", "Source", _source, 6),
)
