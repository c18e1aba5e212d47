"""Vehicles for people: a row each, as much of it as the terminal is wide."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from rich.table import Table
from rich.text import Text

from tmsync.core.telemetry.health import Source, Verdict
from tmsync.core.telemetry.watch import VehicleView
from tmsync.core.words import in_words
from tmsync.render.text import printable

WIDE: Final = 100
"""Columns from which on bars and words fit."""
WIDEST: Final = 132
"""Columns from which on the reason fits, too."""
BAR_CELLS: Final = 10
VERDICT_STYLES: Final = {
    Verdict.WAITING: "dim",
    Verdict.FRESH: "green",
    Verdict.LATE: "yellow",
    Verdict.QUIET: "cyan",
    Verdict.STALE: "bold red",
    Verdict.UNHEALTHY: "bold red",
}
SOURCE_STYLES: Final = {Source.TESLAMATE: "", Source.TESLA_API: "red", Source.UNDECIDED: "dim"}
URGENCY: Final = (Verdict.STALE, Verdict.UNHEALTHY, Verdict.LATE, Verdict.WAITING, Verdict.QUIET, Verdict.FRESH)


class Frame(NamedTuple):
    """What a table is drawn for: how wide, at what time, and whether block characters can be shown."""

    width: int
    now: datetime
    blocks: bool

    @property
    def wide(self) -> bool:
        """Whether there is room for words."""
        return self.width >= WIDE


class Column(NamedTuple):
    """A column: its head, a cell's text, and how it is laid out."""

    head: str
    cell: Callable[[VehicleView, Frame], Text]
    right: bool = False
    most: int | None = None


def vehicle_table(views: Sequence[VehicleView], frame: Frame) -> Table:
    """The table of `views`, a line per vehicle."""
    columns = _columns(frame)
    table = Table(box=None, pad_edge=False, padding=(0, 2 if frame.wide else 1, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(
            column.head,
            no_wrap=True,
            overflow="ellipsis",
            justify="right" if column.right else "left",
            max_width=column.most,
        )
    for view in views:
        table.add_row(*(column.cell(view, frame) for column in columns))
    return table


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


def _columns(frame: Frame) -> Iterable[Column]:
    columns = [
        Column("Vehicle", _name, most=24 if frame.wide else 14),
        Column("State", _state),
        Column("Battery", _battery),
        Column("Charging", _charging),
        Column("Healthy" if frame.wide else "OK", _healthy),
        Column("Heartbeat" if frame.wide else "Beat", _heartbeat, right=True),
        Column("Verdict", _verdict),
        Column("Source", _source),
    ]
    return [*columns, Column("Reason", _reason)] if frame.width >= WIDEST else columns


def _name(view: VehicleView, _: Frame) -> Text:
    return Text(printable(view.name))


def _state(view: VehicleView, frame: Frame) -> Text:
    if view.state is None:
        return Text("-", style="dim")
    text = Text(printable(view.state))
    if view.since is not None:
        span = frame.now - view.since
        text.append(f" {in_words(span) if frame.wide else short_span(span)}", style="dim")
    return text


def _battery(view: VehicleView, frame: Frame) -> Text:
    level, limit = view.telemetry.get("battery_level"), view.telemetry.get("charge_limit_soc")
    if not isinstance(level, int | float):
        return Text("-", style="dim")
    if frame.wide:
        text = _bar(level, limit, frame.blocks)
        return text.append(f" {level:g} %" + (f" of {limit:g}" if isinstance(limit, int | float) else ""))
    return Text(f"{level:g}" + (f"/{limit:g}%" if isinstance(limit, int | float) else "%"))


def _bar(level: float, limit: object, blocks: bool) -> Text:
    full, part, mark = ("█", "░", "│") if blocks else ("#", "-", "|")
    cells = [full if index < round(level / 100 * BAR_CELLS) else part for index in range(BAR_CELLS)]
    if isinstance(limit, int | float) and level < limit < 100:
        cells[min(int(limit / 100 * BAR_CELLS), BAR_CELLS - 1)] = mark
    return Text("".join(cells), style="red" if level < 15 else "green")


def _charging(view: VehicleView, frame: Frame) -> Text:
    values = view.telemetry
    power, current, left = (values.get(k) for k in ("charger_power", "charger_actual_current", "time_to_full_charge"))
    parts = []
    if view.state == "charging" and isinstance(power, int | float):
        parts.append(f"{power:g} kW" if frame.wide else f"{power:g}kW")
        if frame.wide and isinstance(current, int | float):
            parts.append(f"{current:g} A")
        if isinstance(left, int | float) and 0 < left < 1000:
            span = timedelta(hours=left)
            parts.append(f"{in_words(span)} left" if frame.wide else short_span(span))
    elif values.get("plugged_in") is True:
        parts.append("plugged in" if frame.wide else "plugged")
    return Text(" ".join(parts)) if parts else Text("-", style="dim")


def _healthy(view: VehicleView, frame: Frame) -> Text:
    if view.healthy is None:
        return Text("-", style="dim")
    if view.healthy:
        return Text("yes" if frame.wide else "ok", style="green")
    return Text("no", style="bold red")


def _heartbeat(view: VehicleView, frame: Frame) -> Text:
    if view.last_heartbeat_at is None:
        return Text("none yet" if frame.wide else "-", style="dim")
    span = timedelta(seconds=view.silence_s)
    return Text(f"{in_words(span)} ago" if frame.wide else short_span(span))


def _verdict(view: VehicleView, _: Frame) -> Text:
    return Text(view.judgement.verdict, style=VERDICT_STYLES[view.judgement.verdict])


def _source(view: VehicleView, _: Frame) -> Text:
    return Text(view.judgement.source, style=SOURCE_STYLES[view.judgement.source])


def _reason(view: VehicleView, _: Frame) -> Text:
    return Text(printable(view.judgement.reason), style="dim")
