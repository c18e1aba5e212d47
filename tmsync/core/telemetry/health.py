"""What is said of a vehicle's telemetry, by which thresholds, and on whose evidence. How it is decided: judging.py."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from tmsync.core.causes import Cause
from tmsync.core.telemetry.vehicle import Facts

LEGACY_SILENT: Final = frozenset({"asleep", "offline", "suspended"})
"""States in which a TeslaMate before 2.1.0 sends nothing for as long as they last."""
POLLING_LATE_S: Final = 80.0
POLLING_STALE_S: Final = 300.0
"""Suspended and polling, TeslaMate is heard every `suspend_min`; so much more may pass until late, until stale."""


class Verdict(StrEnum):
    """What is to be thought of a vehicle's telemetry."""

    WAITING = "waiting"
    FRESH = "fresh"
    LATE = "late"
    QUIET = "quiet"
    STALE = "stale"
    UNHEALTHY = "unhealthy"
    BLIND = "blind"
    """TeslaMate lives, and sees nothing."""


class Source(StrEnum):
    """Whose data to use."""

    TESLAMATE = "TeslaMate"
    TESLA_API = "TeslaAPI"
    UNDECIDED = "undecided"


SOURCES: Final[Mapping[Verdict, Source]] = {
    Verdict.WAITING: Source.UNDECIDED,
    Verdict.FRESH: Source.TESLAMATE,
    Verdict.LATE: Source.TESLAMATE,
    Verdict.QUIET: Source.TESLAMATE,
    Verdict.STALE: Source.TESLA_API,
    Verdict.UNHEALTHY: Source.TESLA_API,
    Verdict.BLIND: Source.TESLA_API,
}


class Thresholds(NamedTuple):
    """Seconds of silence; 0 where silence proves nothing."""

    late_after_s: float
    stale_after_s: float


SILENT: Final = Thresholds(0, 0)


class Rules(NamedTuple):
    """The thresholds of every state, and how long TeslaMate must be healthy again before it is trusted."""

    by_state: Mapping[str, Thresholds]
    recover_after_s: float
    blind_after_s: Mapping[str, float] = {}
    """By state: how long records and values may stand still; 0 or none: for ever."""

    def of(self, facts: Facts, polling_suspend_min: int | None = None) -> Thresholds:
        """The thresholds that hold for a vehicle now.

        polling_suspend_min: car_settings.suspend_min in minutes, for a car that TeslaMate polls rather than streams.
        """
        if facts.legacy and facts.state in LEGACY_SILENT:
            return SILENT
        if facts.state is None:
            return SILENT if facts.legacy else self._of_unknown(facts)
        found = self.by_state.get("driving" if facts.in_drive else facts.state, SILENT)
        if facts.state == "suspended" and found == SILENT and polling_suspend_min is not None:
            pace = polling_suspend_min * 60
            return Thresholds(pace + POLLING_LATE_S, pace + POLLING_STALE_S)
        return found

    def _of_unknown(self, facts: Facts) -> Thresholds:
        """Those of a vehicle whose state the broker has lost: by the records; else the widest, once it was heard.

        A recorded "online" may be suspended, so that silence proves nothing.
        """
        if facts.recorded_state is not None:
            return SILENT if facts.recorded_state == "online" else self.by_state.get(facts.recorded_state, SILENT)
        if facts.heartbeat_at is None:
            return SILENT
        late, stale = (max(spans) for spans in zip(*self.by_state.values(), strict=True))
        return Thresholds(late, max(stale, 2 * facts.longest_pause_s))


class Evidence(NamedTuple):
    """What second witnesses say of TeslaMate: when one last saw it alive, when one last found it gone, in words."""

    alive_at: float | None = None
    gone_at: float | None = None
    words: tuple[str, ...] = ()
    broker_lost_at: float | None = None
    single_look: bool = False
    """Whether nothing more will be heard, so that TeslaMate's sessions decide alone."""
    sessions: bool | None = None
    """Whether TeslaMate's database sessions are there; None where that is not known."""

    def says_gone(self, since: float | None) -> bool:
        """Whether TeslaMate is gone by the newest word, and that word is newer than `since`."""
        if self.gone_at is None or (since is not None and self.gone_at <= since):
            return False
        return self.alive_at is None or self.gone_at > self.alive_at

    @property
    def vouches(self) -> bool:
        """Whether TeslaMate lives by the newest word."""
        return self.alive_at is not None and (self.gone_at is None or self.alive_at >= self.gone_at)


NO_EVIDENCE: Final = Evidence()


class Recorded(NamedTuple):
    """What TeslaMate's database says of a vehicle."""

    suspend_min: int | None = None
    """Minutes between two looks at it while suspended, where it is polled rather than streamed."""
    left_over: str = ""
    """Why its values are remnants of a car that TeslaMate logs no more, in words."""
    contradiction: str = ""
    """What is otherwise in the database than on the broker, in words."""
    age_s: float | None = None
    """How old its newest record was when that was read, by the database's clock."""
    read_at: float | None = None

    @property
    def newest_at(self) -> float | None:
        """When its newest record was made, in seconds of running time."""
        return None if self.age_s is None or self.read_at is None else self.read_at - self.age_s


NOTHING_RECORDED: Final = Recorded()


class Judgement(NamedTuple):
    """The verdict and why."""

    verdict: Verdict
    reason: str
    thresholds: Thresholds
    change_at: float | None
    """When the verdict may change if nothing is heard until then; seconds of running time."""
    cause: Cause | None = None
    """What is wrong, where something is."""
    seeing_since: float | None = None
    """Blind: since when there is data from Tesla again; None while there is not."""

    @property
    def source(self) -> Source:
        """Whose data to use."""
        return SOURCES[self.verdict]
