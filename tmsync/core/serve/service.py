"""The service: everything that `tmsync serve` runs, kept together, told of, and ended in order."""

import socket
import threading
from collections import deque
from collections.abc import Callable, MutableMapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tmsync.core.causes import Cause
from tmsync.core.clock import Clock, Instant
from tmsync.core.config.schema import BY_NAME
from tmsync.core.config.settings import ServeSettings, Settings, missing
from tmsync.core.errors import ConfigError, Problem, TmsyncError
from tmsync.core.fixes import problem
from tmsync.core.publish.publisher import Publisher
from tmsync.core.publish.topics import State
from tmsync.core.serve.alone import StateLock
from tmsync.core.serve.board import Board, Counters, Event, FacadeEvents, ServiceChange, rated
from tmsync.core.serve.death import cut_off, death
from tmsync.core.serve.listening import (
    Certificate,
    FacadeThread,
    Served,
    check_needs,
    host_names,
    open_sockets,
    read_certificate,
    tls_context,
)
from tmsync.core.serve.notify import Notifier, inherited_sockets
from tmsync.core.serve.ports import Credential, FacadeOptions, FacadeStatus, Ports, Standing
from tmsync.core.serve.snapshot import Metrics, ServicePages, Sources, snapshot, what_runs
from tmsync.core.serve.tokens import TokenKeeper
from tmsync.core.status.report import Part, Status
from tmsync.core.telemetry.health import Source
from tmsync.core.telemetry.liveness import LivenessPoller, LivenessProbe, LivenessReport
from tmsync.core.telemetry.monitor import Batch, TelemetryMonitor, rules_of
from tmsync.core.telemetry.views import VehicleView

if TYPE_CHECKING:
    from tmsync.core.serve.facade import Facade

ASK_EVERY_S: Final = 30.0
"""The facade answers from the database's records, which may not be older."""
TICK_S: Final = 1.0
MOST_EVENTS: Final = 10_000
"""While nobody reads standard output, the newest wait."""
LOOK_EVERY_S: Final = 0.5
"""A look at a thousand cars costs more than what they say meanwhile."""


@dataclass(slots=True)
class _Parts:
    """What runs. Each is None where it is not configured."""

    settings: Settings
    monitor: TelemetryMonitor | None = None
    facade: FacadeThread | None = None
    publisher: Publisher | None = None
    certificate: Certificate | None = None


class Service:
    """One run of `tmsync serve`.

    load: reads the settings; again for a reload. tell: shows an event; called by `run`'s thread alone. metrics: makes
    the text of /metrics. environ: of this process; systemd's variables are taken out of it.
    """

    def __init__(
        self,
        load: Callable[[], Settings],
        tell: Callable[[Event], None],
        metrics: Metrics,
        *,
        clock: Clock,
        environ: MutableMapping[str, str],
        process: int,
    ) -> None:
        self._load = load
        self._tell = tell
        self._clock = clock
        self._environ = environ
        self._notifier = Notifier(environ, process)
        self._inherited = inherited_sockets(environ, process)
        self._events: deque[Event] = deque(maxlen=MOST_EVENTS)
        self._board = Board(clock, self._later)
        self._counters = Counters()
        self._pages = ServicePages(self._look, self._board.problems, self._counters, metrics)
        self._state = StateLock(clock)
        self._wake = threading.Event()
        self._reload = False
        self._telemetry = ExitStack()
        self._heard: object = None
        """The settings by which TeslaMate is listened to."""
        self._monitor: TelemetryMonitor | None = None
        self._before: TokenKeeper | None = None
        """The one of the settings before."""
        self._facade: Facade | None = None
        self._listening: tuple[str, list[socket.socket]] = ("", [])
        """serve.listen, and the sockets that do."""
        self._report = LivenessReport()
        self._link: Problem | None = None
        self._connections = 0
        self._ticked_at = clock.monotonic()

    def ask_reload(self) -> None:
        """Read the settings again within a second or so; safe in a signal handler, where no lock may be waited for."""
        self._reload = True

    def run(self) -> None:
        """Serve until KeyboardInterrupt.

        Raises: TmsyncError where it cannot even begin.
        """
        settings, former = self._load(), None
        needed = ("serve.listen", "mqtt.host", "database.host")
        if not any(settings.get(name) is not None for name in needed):
            message = "none of serve.listen, mqtt.host and database.host is set"
            raise ConfigError(problem(Cause.MISSING_SETTING, message, variant="nothing"))
        with ExitStack() as stack:
            stack.callback(self._state.release)
            stack.callback(self._close_sockets)
            stack.callback(self._telemetry.close)
            stack.callback(self._tell_all)
            stack.callback(self._notifier.stopping)
            while True:
                with ExitStack() as running:
                    try:
                        self._start(settings, running)
                    except TmsyncError as error:
                        if former is None:
                            raise
                        self._keep(error.problem)
                        settings, former = former, None
                        continue
                    try:
                        self._say("ready" if former is None else "reloaded", what_runs(settings))
                        self._notifier.ready()
                        settings, former = self._watch_until_reload(), settings
                    except KeyboardInterrupt:
                        self._say("stopping", "ended by a signal")
                        raise

    # -- parts

    def _start(self, settings: Settings, stack: ExitStack) -> None:
        self._state.hold(settings.state_dir)
        self._parts = parts = _Parts(settings)
        self._keeper = TokenKeeper(
            settings,
            clock=self._clock,
            environ=self._environ,
            board=self._board,
            counters=self._counters,
            tell=self._later,
        )
        if self._before is not None:
            self._keeper.take_over(self._before)
        self._before = self._keeper
        if (serve := settings.serve()) is not None:
            check_needs(settings, serve)
            parts.facade = FacadeThread(self._make_facade(settings, serve), self._clock)
            parts.facade.start(self._sockets(serve), tls_context(serve))
            parts.certificate = read_certificate(serve.tls_cert)
            stack.callback(parts.facade.stop)
        elif self._inherited:
            # Whoever calls at systemd's socket would wait for ever.
            raise missing(BY_NAME["serve.listen"], settings.config_path)
        else:
            self._close_sockets()
            if self._facade is not None:
                self._facade.open_problems.forget()
        self._listen_to_teslamate(parts)
        if settings.publish().enabled:
            parts.publisher = Publisher(settings, self._clock, self._publishing)
            parts.publisher.start()
            stack.callback(parts.publisher.stop)
        else:
            self._publishing(())
        self._keeper.start()
        stack.callback(self._keeper.stop)

    def _sockets(self, serve: ServeSettings) -> list[socket.socket]:
        """Kept through a reload: nobody else can take the port, and no request is lost."""
        if self._listening[0] != serve.address:
            found = open_sockets(serve, self._inherited)
            self._close_sockets()
            self._listening = serve.address, found
        return self._listening[1]

    def _close_sockets(self) -> None:
        for sock in self._listening[1]:
            sock.close()
        self._listening = "", []

    def _listen_to_teslamate(self, parts: _Parts) -> None:
        """Kept through a reload, too: what was heard of vehicles holds."""
        settings = parts.settings
        database = settings.database() if settings.get("database.host") is not None else None
        target = settings.mqtt() if settings.get("mqtt.host") is not None else None
        rules, url = rules_of(settings), settings.get("teslamate.url")
        key = (database, target, rules, url)
        if key != self._heard:
            self._telemetry.close()
            self._monitor, self._heard, self._report, self._link = None, key, LivenessReport(), None
            self._board.put("vehicles", None)
            probe = LivenessProbe(database, url, self._clock)
            if target is not None:
                self._monitor = TelemetryMonitor(target, rules, self._clock, probe=probe, ask_every_s=ASK_EVERY_S)
                self._telemetry.enter_context(self._monitor)
            elif probe:
                poller = LivenessPoller(probe, self._hear, ASK_EVERY_S)
                poller.start()
                self._telemetry.callback(poller.stop)
        parts.monitor = self._monitor

    def _make_facade(self, settings: Settings, serve: ServeSettings) -> Served:
        from tmsync.core.serve.facade import Facade

        options = FacadeOptions(
            host_names(serve), serve.allow, serve.upstream, serve.upstream_ca_file, settings.state_dir
        )
        events = FacadeEvents(self._board, self._later)
        ports = Ports(self, self, self, self, self._pages, events, self._clock)
        self._facade = Facade(options, ports, self._facade)
        return self._facade

    def _hear(self, report: LivenessReport) -> None:
        self._report = report
        self._nudge()

    def _publishing(self, found: tuple[Problem, ...]) -> None:
        self._board.put_all("publish", [rated(one, critical=False, part=Part.BROKER) for one in found])

    # -- for the facade: see `ports`

    def view(self, car_id: int, now: Instant) -> VehicleView | None:
        """Of `Vehicles`."""
        monitor = self._parts.monitor
        return None if monitor is None else monitor.fleet.view(car_id, now)

    def records(self) -> LivenessReport:
        """Of `RecordSource`."""
        monitor = self._parts.monitor
        return self._report if monitor is None else monitor.report

    def current(self) -> Credential | None:
        """Of `TokenSource`."""
        return self._keeper.current()

    async def reread(self) -> Credential | None:
        """Of `TokenSource`."""
        return await self._keeper.reread()

    def check(self, bearer: str) -> Standing:
        """Of `Callers`."""
        return self._keeper.check(bearer)

    # -- the loop

    def _watch_until_reload(self) -> Settings:
        """The settings to go on with."""
        while True:
            self._watch()
            self._reload = False
            self._notifier.reloading()
            try:
                found = self._load()
            except TmsyncError as error:
                self._keep(error.problem)
                self._notifier.ready()
                continue
            self._board.put("reload", None)
            return found

    def _keep(self, found: Problem) -> None:
        """The former settings stay."""
        self._say("kept", f"the settings stay as they were: {found.message}")
        self._board.put("reload", rated(found, critical=False, part=Part.CONFIGURATION))

    def _watch(self) -> None:
        monitor = self._parts.monitor
        if monitor is not None:
            for batch in monitor.batches(TICK_S):
                self._take(batch)
                if batch.now.running - self._ticked_at >= LOOK_EVERY_S:
                    self._tick()
                self._tell_all()
                if self._reload:
                    return
        while not self._reload:
            self._wake.wait(TICK_S)
            self._wake.clear()
            self._tick()
            self._tell_all()

    def _take(self, batch: Batch) -> None:
        for change in batch.broker:
            self._connections += change.connected
            self._counters.broker_reconnects = max(self._connections - 1, 0)
            self._link = change.problem
            self._later(Event(change.at, "broker", change.message, change.as_json()))
        for source in batch.sources:
            self._counters.source_changes[source.car_id, source.after.value] += 1
            self._later(Event(source.at, "source", source.message, source.as_json()))
        for note in batch.notes:
            self._board.put("vehicles", rated(note, critical=True, part=Part.VEHICLES))

    def _tick(self) -> None:
        now = Instant.of(self._clock)
        monitor = self._parts.monitor
        views = [] if monitor is None else monitor.fleet.views(now)
        if views:
            self._board.put("vehicles", None)
        for view in views:
            if view.judgement.source is Source.TESLA_API:
                self._counters.untrusted_s[view.car_id] += now.running - self._ticked_at
        self._ticked_at = now.running
        self._look_for_death(views, now)
        certificate, serve = self._parts.certificate, self._parts.settings.serve()
        unfit = certificate.problem(serve, now.wall) if certificate and serve else None
        self._board.put("certificate", rated(unfit, critical=True) if unfit else None)
        self._publish()
        facade = self._parts.facade
        if facade is not None:
            facade.raise_if_dead()
        if facade is None or facade.is_alive:
            self._notifier.alive()
        self._notifier.status(self._in_words(views))

    def _tell_all(self) -> None:
        while self._events:
            self._tell(self._events.popleft())

    def _look_for_death(self, views: list[VehicleView], now: Instant) -> None:
        tokens, dead = self._keeper.tokens, death(self.records(), views)
        own = self._parts.settings.get("serve.upstream_token") is not None
        found = cut_off(dead, tokens.expires_at if tokens else None, now.wall) if dead and not own else None
        self._board.put("death", rated(found, critical=True, part=Part.TOKEN) if found else None)

    def _publish(self) -> None:
        publisher, monitor = self._parts.publisher, self._parts.monitor
        if publisher is None or monitor is None:
            return
        status, _ = self._look()
        tokens = status.database.tokens
        publisher.update(
            State(
                status.broker.namespace,
                status.broker.vehicles,
                monitor.is_settled,
                tokens.expires_at if tokens else None,
                status.in_sync,
                status.problems,
            )
        )

    # -- what is known

    def _look(self) -> tuple[Status, FacadeStatus | None]:
        parts = self._parts
        facade = None if parts.facade is None else parts.facade.facade.status()
        sources = Sources(parts.settings, self._keeper, parts.monitor, self._link, self.records(), self._board, facade)
        return snapshot(sources, Instant.of(self._clock)), facade

    def _in_words(self, views: list[VehicleView]) -> str:
        trusted = sum(view.judgement.source is Source.TESLAMATE for view in views)
        words = [f"{trusted} of {len(views)} vehicles by TeslaMate"] if self._parts.monitor is not None else []
        if self._parts.facade is not None:
            found = self._parts.facade.facade.status()
            words.append(f"{found.answered} requests answered, {found.forwarded} forwarded")
        worst = next(iter(self._board.problems()), None)
        return "; ".join([*words, *([f"{worst.severity}: {worst.problem.message}"] if worst else [])])

    def _say(self, state: str, message: str) -> None:
        now = self._clock.now()
        self._tell(Event(now, "serve", message, ServiceChange.as_json(now, state, message)))

    def _later(self, event: Event) -> None:
        """Tell it soon, in the thread of `run`."""
        self._events.append(event)
        self._nudge()

    def _nudge(self) -> None:
        self._wake.set()
        parts = getattr(self, "_parts", None)
        if parts is not None and parts.monitor is not None:
            parts.monitor.nudge()
