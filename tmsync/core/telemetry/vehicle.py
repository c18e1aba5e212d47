"""What is known of one vehicle, message by message.

All instants are seconds of running time (a monotonic clock): a clock that is set, or that jumps, makes nobody stale.
"""

from datetime import datetime
from typing import Final, NamedTuple

from tmsync.core.teslamate.topics import DISPLAY_NAME, HEALTHY, SINCE, STATE, Unparsable, Value, parse_value

SETTLE_S: Final = 5.0
"""After a subscription, retained values have arrived when this has passed."""


NO_DATA: Final = frozenset({"start", "unavailable"})
"""States in which TeslaMate has no data from Tesla."""
NO_DATA_LASTS_S: Final = 120.0
"""Shorter than this, they come with single failures and at TeslaMate's start."""
ARRIVES_S: Final = 0.5
OFFLINE: Final = "offline"
DRIVING: Final = "driving"
BEATS_APART_S: Final = 5.0, 120.0
"""Least and most between two heartbeats of a car that is plainly offline; in a dead zone there is one in 15 minutes."""
REPEATS: Final = 2
REPEATED_WITHIN_S: Final = 600.0
HARMLESS: Final = frozenset({SINCE, DISPLAY_NAME})
"""Values by which nothing is commanded. A broker that was killed comes back with all others as of its last save, up to
half an hour old, and TeslaMate sends changes only: where one differs from what was held before, it counts as lost until
it comes live. Values hardly ever change while the broker is away, and stay so.

Source: mosquitto.conf(5), autosave_interval.
"""


class Facts(NamedTuple):
    """All that a judgement needs of a vehicle; instants in seconds of running time, None for never."""

    state: str | None
    """TeslaMate's word; None while unknown."""
    anchor_at: float
    """From when silence counts: the last heartbeat, or a later change of state, or the first retained value."""
    heartbeat_at: float | None
    """The last live heartbeat."""
    healthy: bool | None
    healthy_since: float | None
    """When it became healthy again; None while it is not, or if it never was otherwise."""
    legacy: bool
    """Whether TeslaMate is older than 2.1.0: its `healthy` comes retained and on change only, so it is no heartbeat."""
    in_drive: bool = False
    """Whether `offline` is a dead zone: the drive goes on, and is closed 15 minutes after its last frame."""
    no_data_at: float | None = None
    """Since when its state says that TeslaMate has no data from Tesla; None while it does not."""
    changed_at: float | None = None
    """When a value last changed, other than healthy, state and since, or it came into its state; None: not followed."""
    recorded_state: str | None = None
    """The state by TeslaMate's records, where the broker has lost it."""
    longest_pause_s: float = 0.0
    """Between two heartbeats."""


class Vehicle:
    """One vehicle. `receive` takes a message in; nothing here reads a clock or judges."""

    __slots__ = (
        "_changed_at",
        "_healthy_live_at",
        "_healthy_retained_at",
        "_live_at",
        "_longest_pause",
        "_no_data_at",
        "_repeats",
        "_state_at",
        "car_id",
        "doubted",
        "first_seen_at",
        "healthy",
        "healthy_since",
        "in_drive",
        "names",
        "raw",
        "revision",
        "told",
        "touched",
        "unparsable",
        "values",
    )  # fmt: skip

    def __init__(self, car_id: int, at: float) -> None:
        self.car_id = car_id
        self.first_seen_at = at
        self.values: dict[str, Value] = {}
        self.raw: dict[str, bytes] = {}
        self.told: set[str] = set()
        """The keys that came, as values or deletions, since the broker was last lost: it may have lost all others."""
        self.healthy: bool | None = None
        self.healthy_since: float | None = None
        self.names: list[str] = []
        """Every display name in the order it appeared; TWCManager knows a vehicle by it."""
        self.unparsable = 0
        self.doubted: set[str] = set()
        """The keys whose value a broker has restored, and that did not come live since."""
        self.revision = 0
        """Grows with every message."""
        self.touched = True
        """Whether anything has come since somebody last looked."""
        self._live_at: float | None = None
        self._healthy_live_at: float | None = None
        self._healthy_retained_at: float | None = None
        self._state_at = at
        self._no_data_at: float | None = None
        self._changed_at = at
        self._repeats = 0
        self._longest_pause = 0.0
        self.in_drive: bool | None = None
        """Whether it went offline in a drive; None where that was not seen."""

    @property
    def name(self) -> str:
        """The display name, or "car N" for one without."""
        name = self.values.get(DISPLAY_NAME)
        return name if isinstance(name, str) and name.strip() else f"car {self.car_id}"

    @property
    def state(self) -> str | None:
        """TeslaMate's `state`."""
        state = self.values.get(STATE)
        return state if isinstance(state, str) else None

    @property
    def since(self) -> datetime | None:
        """When the state began, by TeslaMate's clock."""
        since = self.values.get(SINCE)
        return since if isinstance(since, datetime) else None

    @property
    def retained_only(self) -> bool:
        """Whether no live message has come yet."""
        return self._live_at is None

    def is_arriving(self, now: float) -> bool:
        """Whether its first burst may still be under way: the values come in random order, within some 10 ms."""
        return now - self.first_seen_at < ARRIVES_S and not (self.names and self.state is not None)

    @property
    def forgotten(self) -> bool:
        """Whether all its topics were deleted."""
        return all(value is None for value in self.values.values())

    def receive(self, key: str, payload: bytes, at: float, *, retained: bool) -> None:
        """Take in a message of a known key. A payload that cannot be read keeps the old value and is counted."""
        self.touched = True
        self.revision += 1
        if key == HEALTHY:
            self._receive_healthy(payload, at, retained=retained)
            return
        if not retained:
            self._live_at = at
        if self._is_certain(key, payload, retained=retained):
            self.told.add(key)
            self.doubted.discard(key)
        else:
            self.told.discard(key)
            self.doubted.add(key)
        if self.raw.get(key) == payload:
            return
        try:
            value = parse_value(key, payload)
        except Unparsable:
            self.unparsable += 1
            self.told.discard(key)
            return
        self.raw[key] = payload
        if key == STATE:
            if value != self.values.get(STATE):
                self._enter(value, at)
        elif key != SINCE:
            self._changed_at = at
        if key == DISPLAY_NAME and isinstance(value, str) and value not in self.names[-1:]:
            self.names = [*self.names[-7:], value]
        self.values[key] = value

    def _is_certain(self, key: str, payload: bytes, *, retained: bool) -> bool:
        """Whether TeslaMate cannot have said anything else since."""
        if not retained or key in HARMLESS or key not in self.raw:
            return True
        return self.raw[key] == payload and key not in self.doubted

    def _enter(self, state: Value, at: float) -> None:
        """Another state begins."""
        before = self.state
        self._state_at = at
        self.in_drive = None if before is None else (before, state) == (DRIVING, OFFLINE)
        if state in NO_DATA:
            self._no_data_at = at if self._no_data_at is None else self._no_data_at
        else:
            if self._no_data_at is None:
                # What stood still before says nothing of a state in which it should move.
                self._changed_at = at
            self._no_data_at = None

    @property
    def beats(self) -> bool:
        """Whether `healthy` comes again and again: TeslaMate is 2.1.0 or newer."""
        return self._repeats >= REPEATS

    def _receive_healthy(self, payload: bytes, at: float, *, retained: bool) -> None:
        try:
            value = parse_value(HEALTHY, payload)
        except Unparsable:
            self.unparsable += 1
            return
        if value is None:
            # TeslaMate >= 2.1.0 sends this at its start, to delete what an older one left behind: no heartbeat.
            self._healthy_retained_at = None
            return
        if retained:
            self._healthy_retained_at = at
        else:
            last = self._healthy_live_at
            self._longest_pause = max(self._longest_pause, 0.0 if last is None else at - last)
            # An older one sends it on change, and once at its start.
            self._repeats += last is not None and value == self.healthy and at - last < REPEATED_WITHIN_S
            least, most = BEATS_APART_S
            if self.in_drive is None and self.state == OFFLINE and last is not None and last >= self._state_at:
                self.in_drive = False if least < at - last < most else None
            self._live_at = self._healthy_live_at = at
        if value is False:
            self.healthy_since = None
        elif self.healthy is False:
            self.healthy_since = at
        self.healthy = bool(value)
        self.values[HEALTHY] = self.healthy

    def facts(self, connected_at: float, now: float, *, legacy: bool | None = None) -> Facts:
        """What a judgement needs. connected_at: when the present subscription began.

        legacy: whether TeslaMate is older than 2.1.0, where that is known.
        """
        legacy = self._is_legacy(connected_at, now) if legacy is None else legacy
        heard = self._live_at if legacy or self._healthy_live_at is None else self._healthy_live_at
        since = self.first_seen_at if heard is None else heard
        return Facts(
            self.state,
            max(since, self._state_at),
            heard,
            self.healthy,
            self.healthy_since,
            legacy,
            bool(self.in_drive),
            self._no_data_at,
            self._changed_at,
            longest_pause_s=self._longest_pause,
        )

    def _is_legacy(self, connected_at: float, now: float) -> bool:
        """A retained `healthy` is an older TeslaMate's, if the present subscription still brought it."""
        at = self._healthy_retained_at
        return at is not None and (at >= connected_at or now - connected_at < SETTLE_S)
