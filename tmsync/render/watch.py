"""watch-mqtt for people and scripts: the live screen, log lines, JSON lines."""

import json
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from math import ceil
from typing import Any, Final, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.segment import SegmentLines
from rich.text import Text

from tmsync.core.causes import Cause
from tmsync.core.clock import iso
from tmsync.core.errors import Problem
from tmsync.core.telemetry.health import Source
from tmsync.core.telemetry.monitor import BrokerChange
from tmsync.core.telemetry.views import SourceChange, VehicleView, source_message
from tmsync.render.console import trimmed
from tmsync.render.problems import step_lines
from tmsync.render.styles import BAD, FAINT, GOOD, STRONG, WARN
from tmsync.render.text import printable, wrapped
from tmsync.render.vehicles import fold, print_vehicles, sheet

MOST_EVENTS: Final = 8
LEAST_EVENTS: Final = 2
REASON_ROOM: Final = 3
"""Lines kept for the reasons of the worst vehicles where not all vehicles have room."""
LEAST_HEIGHT: Final = 10
"""On a lower terminal every line is for the vehicles."""
RATE_SPAN_S: Final = 10.0


def json_line(event: str, fields: Mapping[str, Any]) -> str:
    """One event on one line."""
    return json.dumps({"event": event, **fields}, ensure_ascii=True, separators=(",", ":")) + "\n"


def log_line(at: datetime, message: str) -> str:
    """Time first."""
    return f"{iso(at)} {printable(message)}\n"


def verdict_line(view: VehicleView) -> str:
    """A vehicle in one log line, for a single look."""
    judged = view.judgement
    if judged.source is Source.UNDECIDED:
        message = f"Vehicle {view.name} is undecided"
    else:
        message = source_message(view.name, judged.source, judged.verdict, again=False)
    return log_line(view.at, f"{message} ({judged.verdict}: {judged.reason})")


def once_table(views: Sequence[VehicleView], screen: Console, now: datetime) -> str:
    """The table, once, with the reasons of what is not fresh below it where they do not fit beside."""
    with screen.capture() as capture:
        print_vehicles(views, screen, now)
    return trimmed(screen, capture.get())


class ScreenState(NamedTuple):
    """What is shown beside the vehicles."""

    namespace: str
    rate: float
    """Messages a second."""
    retry_in_s: float | None = None
    """Seconds until a lost broker is tried again; None while it is being tried."""
    end_key: str = "q"


class WatchScreen:
    """What the live screen shows: broker, namespace and rate above, vehicles, the last events below."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._connected: bool | None = None
        self._events: deque[_Event] = deque(maxlen=MOST_EVENTS)
        self._rates: deque[tuple[float, int]] = deque()
        self._note: Problem | None = None

    def add_broker(self, change: BrokerChange) -> None:
        """The connection came or went."""
        self._connected = change.connected
        self._add(change.at, change.message, FAINT if change.connected else BAD)

    def add_source(self, change: SourceChange) -> None:
        """A vehicle's source changed."""
        self._add(change.at, change.message, FAINT if change.after is Source.TESLAMATE else BAD)

    def add_problem(self, at: datetime, found: Problem) -> None:
        """Something is wrong, and what to do."""
        if found.cause is Cause.NO_VEHICLES:
            self._note = found
        self._add(at, found.message, WARN)

    def _add(self, at: datetime, message: str, style: str) -> None:
        self._events.append(_Event(at, message, style))

    def rate(self, running: float, messages: int) -> float:
        """Messages a second over the last ten seconds. running: seconds of running time."""
        self._rates.append((running, messages))
        while running - self._rates[0][0] > RATE_SPAN_S and len(self._rates) > 2:
            self._rates.popleft()
        (begun, before), (ended, after) = self._rates[0], self._rates[-1]
        return (after - before) / (ended - begun) if ended > begun else 0.0

    def draw(self, views: Sequence[VehicleView], screen: Console, now: datetime, state: ScreenState) -> RenderableType:
        """One picture, no larger than the terminal."""
        width, height = screen.size
        # Head, a blank, the table's head, and before the events a blank; how to end stands below.
        tells_end = height > LEAST_HEIGHT
        free = height - 3 - tells_end
        events = self._last_events(width, min(MOST_EVENTS, max(LEAST_EVENTS, free - len(views) - 1)))
        room = max(free - (len(events) + 1 if events else 0), 1)
        parts: list[RenderableType] = [self._head(state, now, width), Text()]
        parts += self._vehicles(views, screen, now, room) if views else self._no_vehicles(width, room + 1)
        if events:
            parts += [Text(), *events]
        if tells_end:
            parts.append(Text(f"{state.end_key} ends", style=FAINT))
        return Group(*parts)

    def last_words(self, screen: Console) -> str:
        """What stays on the terminal when the screen is left: the last events."""
        lines = [line for event in self._events for line in event.lines(screen.width)]
        with screen.capture() as capture:
            screen.print(Group(*lines))
        return trimmed(screen, capture.get()) if lines else ""

    def _vehicles(
        self, views: Sequence[VehicleView], screen: Console, now: datetime, room: int
    ) -> list[RenderableType]:
        """The table in `room` lines and its head: a row for every vehicle, then reasons as far as there is room."""
        shown, folded = fold(views, room)
        if folded and room > REASON_ROOM * 2:
            shown, folded = fold(views, room - REASON_ROOM)
        lines = sheet(shown, screen, now).lines(room - len(shown) - bool(folded)) if shown else ()
        told = [Text(folded, no_wrap=True, overflow="ellipsis")] if folded else []
        return [SegmentLines(lines, new_lines=True), *told]

    def _head(self, state: ScreenState, now: datetime, width: int) -> Text:
        namespace = f"namespace {printable(state.namespace)}" if state.namespace else "no namespace"
        before = Text("tmsync ", STRONG)
        link = self._link(state.retry_in_s)
        where = Text(f"broker {printable(self._where)}")
        # Where room is short, whether it is connected matters more than to what.
        where.truncate(max(width - before.cell_len - 2 - link.cell_len, 1), overflow="ellipsis")
        head = Text.assemble(before, where, " ", link)
        head.append(f", {namespace}, {state.rate:.1f} messages/s")
        clock = f"{now.astimezone():%H:%M:%S}"
        if head.cell_len + len(clock) + 2 <= width:
            head.append(" " * (width - head.cell_len - len(clock)) + clock, style=FAINT)
        head.no_wrap, head.overflow = True, "ellipsis"
        return head

    def _link(self, retry_in_s: float | None) -> Text:
        if self._connected:
            return Text("connected", style=GOOD)
        if self._connected is None:
            return Text("connecting")
        again = "trying again" if retry_in_s is None else f"next try in {ceil(retry_in_s)} s"
        return Text.assemble(("lost", BAD), f", {again}")

    def _no_vehicles(self, width: int, room: int) -> list[RenderableType]:
        if self._note is None:
            return [Text("No car yet. Waiting for TeslaMate's messages ...")]
        told = [Text(line, style=STRONG) for line in wrapped(printable(self._note.message), width).split("\n")]
        told += [Text(line.text, style=STRONG if line.to_paste else "") for line in step_lines(self._note.fix, width)]
        for line in told:
            line.no_wrap, line.overflow = True, "ellipsis"
        return list(told[:room])

    def _last_events(self, width: int, room: int) -> list[Text]:
        """The newest events in `room` lines, oldest first."""
        lines: list[Text] = []
        for event in reversed(self._events):
            told = event.lines(width)
            if lines and len(lines) + len(told) > room:
                break
            lines = told[:room] + lines
        return lines


class _Event(NamedTuple):
    """Something that happened. style: of its time, so that what is to be read stays readable."""

    at: datetime
    message: str
    style: str

    def lines(self, width: int) -> list[Text]:
        """The time, and beside it the message."""
        time = f"{self.at.astimezone():%H:%M:%S}"
        told = wrapped(printable(self.message), width, " " * (len(time) + 1)).split("\n")
        lines = [Text.assemble((time, self.style), told[0][len(time) :]), *map(Text, told[1:])]
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        return lines
