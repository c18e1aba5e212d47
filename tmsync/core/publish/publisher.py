"""The newest state goes in, messages go out, in a thread and over a connection of their own."""

from collections import deque
from collections.abc import Callable
from typing import Final

from tmsync.core.clock import Clock
from tmsync.core.config.settings import Settings
from tmsync.core.errors import Problem
from tmsync.core.publish.connection import PublishingConnection
from tmsync.core.publish.ledger import Ledger
from tmsync.core.publish.outbox import Outbox
from tmsync.core.publish.recorded import RecordedValues
from tmsync.core.publish.topics import Layout, State
from tmsync.core.publish.values import Recorded, Repeater
from tmsync.core.telemetry import diagnosis
from tmsync.core.telemetry.connection import KEEPALIVE_S, WAIT_S, Link
from tmsync.core.telemetry.views import VehicleView

REST_S: Final = 0.2
"""Between two states that are worked out; those that come meanwhile are passed over, but for the newest."""


class Publisher:
    """Publishes from `start` to `stop`. `update` may be called from any thread, as often as you like: it never waits.

    on_problems: told, from the publishing thread, whenever other problems than before stand in the way; with none when
    all is well again.
    keepalive_s: the broker says "offline" in our place after 1.5 times this without a sign of life.
    Raises: ConfigError without mqtt.host.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        on_problems: Callable[[tuple[Problem, ...]], None],
        *,
        keepalive_s: int = KEEPALIVE_S,
    ) -> None:
        options = settings.publish()
        self._clock = clock
        self._on_problems = on_problems
        self._layout = Layout(options.prefix, options.discovery_prefix)
        self._ledger = Ledger(settings.state_dir)
        self._outbox = Outbox(self._layout, self._ledger.topics)
        self._repeater = Repeater(self._layout)
        self._repeats = options.values
        database = settings.database() if options.values and settings.get("database.host") is not None else None
        self._recorded = RecordedValues(database) if database is not None else None
        self._newest: deque[State] = deque(maxlen=1)
        self._taken_at: float | None = None
        self._discovery: tuple[str, ...] = ()
        self._link: Problem | None = None
        self._unwritable: Problem | None = None
        self._refusal: Problem | None = None
        self._refused: set[str] = set()
        """Filters of what the broker has refused in the present connection."""
        self._told: tuple[Problem, ...] = ()
        self._connection = PublishingConnection(
            settings.mqtt(),
            self._layout,
            self._ledger.client_id,
            self._outbox,
            clock,
            keepalive_s=keepalive_s,
            refresh=self._refresh,
            on_link=self._linked,
            on_birth=self._born,
            on_refused=self._refused.add,
        )

    def start(self) -> None:
        """Connect, in the background; a broker that is away is tried for ever."""
        self._connection.start()
        if self._recorded is not None:
            self._recorded.start()

    def update(self, state: State) -> None:
        """Publish this. Only the newest state counts."""
        self._newest.append(state)
        self._connection.ring()

    def stop(self) -> None:
        """Say "offline" and disconnect. What else is retained stays, for the next start."""
        self._connection.stop()
        if self._recorded is not None:
            self._recorded.stop()

    # -- the publishing thread

    def _refresh(self) -> float:
        """Work the newest state out, unless that was just done; seconds until it may be done again."""
        now = self._clock.monotonic()
        if self._taken_at is not None and (left := self._taken_at + REST_S - now) > 0:
            return left
        if self._newest:
            # Nobody else takes one away.
            self._take(self._newest.pop(), now)
            self._taken_at = now
        if self._outbox.published != self._ledger.topics:
            self._unwritable = self._ledger.write(self._outbox.published)
        if self._outbox.is_empty and self._connection.is_idle:
            # Not as soon as there is a connection: a broker may let in, and hang up on the first message.
            self._link, self._refusal = None, self._refused_so_far()
        self._tell()
        return WAIT_S

    def _take(self, state: State, now: float) -> None:
        steadied = [self._repeater.steady(view) for view in state.vehicles]
        self._outbox.update(state._replace(vehicles=[view for view, _ in steadied]), now)
        self._discovery = tuple(self._layout.discovery(view.namespace, view.car_id) for view in state.vehicles)
        if self._repeats:
            for view, beats in steadied:
                self._repeat(view, beats=beats)

    def _repeat(self, view: VehicleView, *, beats: bool) -> None:
        recorded: Recorded = {}
        if self._recorded is not None:
            self._recorded.look_at(view)
            recorded = self._recorded.values
        self._outbox.repeat(self._repeater.due(view, recorded, beats=beats))

    def _linked(self, link: Link) -> None:
        if link.connected:
            self._refused.clear()
        elif not self._connection.falls_back:
            # A broker that hangs up on what it refuses may or may not get to say so.
            self._refusal = self._refused_so_far() or self._refusal
            self._link = None if self._refused else link.problem
            self._tell()

    def _refused_so_far(self) -> Problem | None:
        if not self._refused:
            return None
        return diagnosis.of_refused_publishing(self._connection.target, sorted(self._refused))

    def _born(self) -> None:
        self._outbox.again(self._discovery)

    def _tell(self) -> None:
        found = tuple(dict.fromkeys(filter(None, (self._link, self._refusal, self._unwritable))))
        if found != self._told:
            self._told = found
            self._on_problems(found)
