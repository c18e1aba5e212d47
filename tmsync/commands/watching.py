"""What watch-mqtt does once it knows what is wanted: events in, lines or pictures out."""

import signal
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple, Self

from tmsync.commands import output
from tmsync.commands.keyboard import Keyboard
from tmsync.core.causes import Cause
from tmsync.core.clock import SystemClock
from tmsync.core.config.settings import Settings
from tmsync.core.errors import BrokerError, ExitCode, Problem
from tmsync.core.fixes import problem
from tmsync.core.telemetry.hooks import Hook
from tmsync.core.telemetry.liveness import LivenessProbe
from tmsync.core.telemetry.monitor import Batch, TelemetryMonitor, rules_of
from tmsync.render.console import console
from tmsync.render.watch import ScreenState, WatchScreen, json_line, log_line, once_table, verdict_line

QUIT = "qQ"
REDRAW_S = 1.0
DRAWING_SHARE = 4
"""News wait for so many times what the last drawing took, so that a large table leaves time for everything else."""
WAIT_S = 0.2


class Options(NamedTuple):
    """How watch-mqtt was asked to work. duration, interval: seconds."""

    form: str
    cars: tuple[int, ...]
    once: bool
    duration: float | None
    interval: float
    wait: bool
    with_db: bool
    command: tuple[str, ...]


class Watcher:
    """One run of watch-mqtt. warn: told of what is worth knowing on standard error."""

    def __init__(self, settings: Settings, options: Options, warn: Callable[[Problem], None]) -> None:
        self._options = options
        self._warn = warn
        self._target = settings.mqtt()
        self._rules = rules_of(settings)
        self._clock = SystemClock()
        self._later: deque[Problem] = deque()
        """Problems told by other threads, for the screen."""
        database = settings.database() if options.with_db else None
        self._probe = LivenessProbe(database, settings.get("teslamate.url"), self._clock)
        self.warnings = [*settings.warnings, *self._target.warnings]

    def run(self) -> ExitCode:
        """Watch until told to end.

        Raises: BrokerError, KeyboardInterrupt.
        """
        options = self._options
        begun = self._clock.monotonic()
        with ExitStack() as stack:
            hook = None
            if options.command:
                # On the live screen a line on standard error would stand in the middle of the table.
                hook = Hook(options.command, self._later.append if options.form == "table" else self._warn)
                stack.callback(hook.close)
            monitor = stack.enter_context(
                TelemetryMonitor(self._target, self._rules, self._clock, cars=options.cars, probe=self._probe)
            )
            if not options.wait:
                monitor.wait_connected()
            if options.once:
                return self._once(monitor)
            until = None if options.duration is None else begun + options.duration
            screen = stack.enter_context(_Screen(monitor)) if options.form == "table" else None
            for batch in monitor.batches(options.interval, until):
                # First of all: whoever reads of a change, and then interrupts, finds the command under way.
                for change in batch.sources:
                    if hook is not None:
                        hook.run({"event": "source", **change.as_json()})
                if screen is None:
                    self._print(batch)
                else:
                    screen.take(batch, [self._later.popleft() for _ in range(len(self._later))])
                    if screen.ended:
                        break
        return ExitCode.GOOD

    def _print(self, batch: Batch) -> None:
        for note in batch.notes:
            self._warn(note)
        if self._options.form == "json":
            lines = [json_line("broker", change.as_json()) for change in batch.broker]
            lines += [json_line("source", change.as_json()) for change in batch.sources]
            lines += [json_line("vehicle", view.as_json()) for view in batch.lines]
        else:
            lines = [log_line(change.at, change.message) for change in batch.broker]
            lines += [log_line(change.at, change.message) for change in batch.sources]
        if (lines and not output.result("".join(lines))) or output.abandoned():
            raise KeyboardInterrupt

    def _once(self, monitor: TelemetryMonitor) -> ExitCode:
        while self._options.wait and not monitor.connected:
            self._clock.sleep(WAIT_S)
        views = monitor.single_look(0)
        if not views:
            raise BrokerError(monitor.explore())
        missing = set(self._options.cars) - {view.car_id for view in views}
        if self._options.form == "json":
            output.result("".join(json_line("vehicle", view.as_json()) for view in views))
        elif self._options.form == "log":
            output.result("".join(verdict_line(view) for view in views))
        else:
            output.result(once_table(views, console(), views[0].at))
        if missing:
            self._warn(monitor.explore())
        if monitor.lost is not None:
            message = f"{monitor.lost.message}; values may be missing"
            self._warn(problem(Cause.CONNECTION_LOST, message, variant="values-missing"))
        return ExitCode.GOOD


class _Screen:
    """The live table on the terminal's other screen. When it ends, the last events stay on the usual one."""

    def __init__(self, monitor: TelemetryMonitor) -> None:
        from rich.live import Live as RichLive

        self._monitor = monitor
        self._console = console()
        self._picture = WatchScreen(monitor.target.place)
        self._rich = RichLive(
            console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._keyboard = Keyboard(self._pressed)
        self._drawn_at = -REDRAW_S
        self._drawing_took = 0.0
        self._drawn_vehicles = 0
        self._has_news = False
        self.ended = False
        """Whether q was pressed."""

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._signalled) for number in (signal.SIGWINCH, signal.SIGCONT)}
        self._keyboard.__enter__()
        self._rich.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._rich.__exit__(None, None, None)
        self._keyboard.__exit__()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        output.result(self._picture.last_words(self._console))

    def _pressed(self, key: str) -> None:
        self.ended = self.ended or key in QUIT
        self._monitor.nudge()

    def _signalled(self, *_: object) -> None:
        self._keyboard.resume()
        self._monitor.nudge_soon()

    def take(self, batch: Batch, problems: list[Problem]) -> None:
        """Show what is new; without news the counters go up once a second."""
        for change in batch.broker:
            self._picture.add_broker(change)
        for source in batch.sources:
            self._picture.add_source(source)
        for note in (*batch.notes, *problems):
            self._picture.add_problem(batch.now.wall, note)
        rate = self._picture.rate(batch.now.running, self._monitor.fleet.messages)
        news = batch.broker or batch.sources or batch.notes or problems or self._monitor.was_nudged()
        self._has_news = bool(news or self._has_news or len(self._monitor.fleet) != self._drawn_vehicles)
        pause = DRAWING_SHARE * self._drawing_took if self._has_news else REDRAW_S - 0.05
        if batch.now.running - self._drawn_at < pause:
            return
        self._has_news = False
        self._drawn_at = batch.now.running
        views = self._monitor.fleet.views(batch.now)
        self._drawn_vehicles = len(views)
        state = ScreenState(
            self._monitor.fleet.namespace, rate, self._monitor.retry_in_s, "q" if self._keyboard.active else "Ctrl-C"
        )
        self._rich.update(self._picture.draw(views, self._console, batch.now.wall, state), refresh=True)
        self._drawing_took = self._monitor.clock.monotonic() - batch.now.running
