"""What is known of one vehicle, message by message.

All instants are seconds of running time (a monotonic clock): a clock that is set, or that jumps, makes nobody stale.
"""

from datetime import datetime
from typing import Final, NamedTuple

from tmsync.core.teslamate.topics import DISPLAY_NAME, HEALTHY, SINCE, STATE, Unparsable, Value, parse_value

SETTLE_S: Final = 5.0
"""After a subscription, retained values have arrived when this has passed."""


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


class Vehicle:
    """One vehicle. `receive` takes a message in; nothing here reads a clock or judges."""

    __slots__ = (
        "_healthy_live_at", "_healthy_retained_at", "_live_at", "_state_at", "car_id", "first_seen_at", "healthy",
        "healthy_since", "names", "raw", "touched", "unparsable", "values",
    )  # fmt: skip

    def __init__(self, car_id: int, at: float) -> None:
        self.car_id = car_id
        self.first_seen_at = at
        self.values: dict[str, Value] = {}
        self.raw: dict[str, bytes] = {}
        self.healthy: bool | None = None
        self.healthy_since: float | None = None
        self.names: list[str] = []
        """Every display name in the order it appeared; TWCManager knows a vehicle by it."""
        self.unparsable = 0
        self.touched = True
        """Whether anything has come since somebody last looked."""
        self._live_at: float | None = None
        self._healthy_live_at: float | None = None
        self._healthy_retained_at: float | None = None
        self._state_at = at

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

    @property
    def forgotten(self) -> bool:
        """Whether all its topics were deleted."""
        return all(value is None for value in self.values.values())

    def receive(self, key: str, payload: bytes, at: float, *, retained: bool) -> None:
        """Take in a message of a known key. A payload that cannot be read keeps the old value and is counted."""
        self.touched = True
        if key == HEALTHY:
            self._receive_healthy(payload, at, retained=retained)
            return
        if not retained:
            self._live_at = at
        if self.raw.get(key) == payload:
            return
        try:
            value = parse_value(key, payload)
        except Unparsable:
            self.unparsable += 1
            return
        self.raw[key] = payload
        if key == STATE and value != self.values.get(STATE):
            self._state_at = at
        elif key == DISPLAY_NAME and isinstance(value, str) and value not in self.names[-1:]:
            self.names = [*self.names[-7:], value]
        self.values[key] = value

    def _receive_healthy(self, payload: bytes, at: float, *, retained: bool) -> None:
        try:
            value = parse_value(HEALTHY, payload)
        except Unparsable:
            self.unparsable += 1
            return
        if value is None:
            # TeslaMate >= 2.1.0 sends this at its start, to delete what an older one left behind.
            self._healthy_retained_at = None
            if not retained:
                self._live_at = at
            return
        if retained:
            self._healthy_retained_at = at
        else:
            self._live_at = self._healthy_live_at = at
        if value is False:
            self.healthy_since = None
        elif self.healthy is False:
            self.healthy_since = at
        self.healthy = bool(value)
        self.values[HEALTHY] = self.healthy

    def facts(self, connected_at: float, now: float) -> Facts:
        """What a judgement needs. connected_at: when the present subscription began."""
        legacy = self._is_legacy(connected_at, now)
        heard = self._live_at if legacy or self._healthy_live_at is None else self._healthy_live_at
        since = self.first_seen_at if heard is None else heard
        return Facts(self.state, max(since, self._state_at), heard, self.healthy, self.healthy_since, legacy)

    def _is_legacy(self, connected_at: float, now: float) -> bool:
        """A retained `healthy` is an older TeslaMate's, if the present subscription still brought it."""
        at = self._healthy_retained_at
        return at is not None and (at >= connected_at or now - connected_at < SETTLE_S)
