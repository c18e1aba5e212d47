"""Whether to trust TeslaMate's telemetry of a vehicle: pure judgements, the time passed in.

Source: TeslaMate lib/teslamate/vehicles/vehicle.ex (schedule_fetch, broadcast_summary: `healthy` goes out with every
summary, so it is a heartbeat whose pace hangs on the state); a run of it for the longest silences that are normal.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from tmsync.core.errors import Cause
from tmsync.core.telemetry.vehicle import NO_DATA, NO_DATA_LASTS_S, Facts
from tmsync.core.words import in_words

LEGACY_SILENT: Final = frozenset({"asleep", "offline", "suspended"})
"""States in which a TeslaMate before 2.1.0 sends nothing for as long as they last."""
VOUCHED_S: Final = 600.0
"""For so much silence, and no more, TeslaMate's sessions vouch where silence proves something."""
BROKER_PATIENCE_S: Final = 60.0
"""A broker that restarts is back sooner; one that stays away longer is a witness against its telemetry."""
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

    @property
    def source(self) -> Source:
        """Whose data to use."""
        return SOURCES[self.verdict]


class _Case(NamedTuple):
    """Everything a question needs to be answered."""

    facts: Facts
    now: float
    limits: Thresholds
    evidence: Evidence
    recorded: Recorded
    recover_after_s: float

    @property
    def is_unheard_look(self) -> bool:
        """Whether this is a single look, and it brought no heartbeat."""
        return self.evidence.single_look and self.facts.heartbeat_at is None

    @property
    def silence(self) -> float:
        return self.now - self.facts.anchor_at

    @property
    def proves_nothing(self) -> bool:
        return self.limits.stale_after_s == 0

    @property
    def is_late(self) -> bool:
        return 0 < self.limits.late_after_s <= self.silence

    @property
    def unheard(self) -> str:
        return f"no heartbeat for {_span(self.silence)} {self.during}"

    @property
    def during(self) -> str:
        if self.facts.in_drive:
            return "while offline in a drive"
        if self.facts.state is None and self.facts.recorded_state is not None:
            return f"while {self.facts.recorded_state} by its records"
        return f"while {self.facts.state}" if self.facts.state else "in a state that the broker has lost"

    @property
    def nothing_proven(self) -> str:
        return f"{self.facts.state or 'the broker has lost its state'}: silence proves nothing"

    def boundaries(self) -> Iterator[float]:
        """The moments at which an answer may change by itself."""
        yield from (self.facts.anchor_at + span for span in (*self.limits, VOUCHED_S) if span)
        if self.evidence.broker_lost_at is not None:
            yield self.evidence.broker_lost_at + BROKER_PATIENCE_S
        if self.facts.no_data_at is not None:
            yield self.facts.no_data_at + NO_DATA_LASTS_S
        yield from (
            since + self.recover_after_s
            for since in (self.facts.healthy_since, self.facts.data_again_at)
            if since is not None
        )


Words: TypeAlias = tuple[str, ...] | None
"""Why a verdict holds, in pieces; None when it does not."""


def _gone(case: _Case) -> Words:
    heard = case.facts.heartbeat_at
    due = case.proves_nothing or case.is_late or case.is_unheard_look
    if not due or not case.evidence.says_gone(heard):
        return None
    return (case.unheard if heard is not None else "", *case.evidence.words)


def _left_over(case: _Case) -> Words:
    return (case.recorded.left_over,) if case.recorded.left_over and case.facts.heartbeat_at is None else None


def _link_lost(case: _Case) -> Words:
    if not (case.is_unheard_look and case.evidence.sessions and case.recorded.contradiction):
        return None
    return ("TeslaMate does not reach this broker", case.recorded.contradiction)


def _by_sessions_alone(case: _Case) -> Words:
    if not (case.is_unheard_look and case.evidence.sessions) or case.facts.state in NO_DATA:
        return None
    return ("no heartbeat in this look; by its database sessions alone",)


def _cut_off(case: _Case) -> Words:
    lost_at = case.evidence.broker_lost_at
    if lost_at is None or case.now - lost_at < BROKER_PATIENCE_S or not (case.proves_nothing or case.is_late):
        return None
    return (f"the broker has been lost for {_span(case.now - lost_at)}",)


def _silent(case: _Case) -> Words:
    limit = case.limits.stale_after_s
    if case.evidence.sessions and case.evidence.broker_lost_at is None:
        limit = max(limit, VOUCHED_S)
    if case.proves_nothing or case.silence < limit:
        return None
    if case.evidence.broker_lost_at is not None:
        return (case.unheard, "the broker is lost")
    if case.evidence.vouches and case.facts.state in ("asleep", "offline"):
        advice = "if it runs with POLLING_ASLEEP_INTERVAL above 30, set health.stale_after to 0 for this state"
        return (case.unheard, *case.evidence.words, advice)
    return (case.unheard, *case.evidence.words)


def _unhealthy(case: _Case) -> Words:
    return ("TeslaMate reports healthy=false",) if case.facts.healthy is False else None


def _recovering(case: _Case) -> Words:
    since = case.facts.healthy_since
    if since is None or case.now - since >= case.recover_after_s:
        return None
    return (f"healthy again for less than {_span(case.recover_after_s)}, after healthy=false",)


def _blind(case: _Case) -> Words:
    since = case.facts.no_data_at
    if since is None or case.now - since < NO_DATA_LASTS_S:
        return None
    return (f"TeslaMate says {case.facts.state} for {_span(case.now - since)}: it has no data from Tesla",)


def _seeing_again(case: _Case) -> Words:
    since = case.facts.data_again_at
    if since is None or case.now - since >= case.recover_after_s:
        return None
    return (f"data from Tesla again for less than {_span(case.recover_after_s)}",)


def _waiting(case: _Case) -> Words:
    if case.facts.heartbeat_at is not None or (case.proves_nothing and case.evidence.vouches):
        return None
    due = (
        case.nothing_proven if case.proves_nothing else f"a heartbeat is due within {_span(case.limits.stale_after_s)}"
    )
    return ("only retained values so far", due)


def _quiet(case: _Case) -> Words:
    nothing = case.proves_nothing and case.limits.late_after_s == 0
    return (case.nothing_proven, *case.evidence.words) if nothing else None


def _late(case: _Case) -> Words:
    return (case.unheard, *case.evidence.words) if case.is_late else None


def _fresh(case: _Case) -> Words:
    return (f"heartbeats on time {case.during}",)


QUESTIONS: Final[tuple[tuple[Callable[[_Case], Words], Verdict, Cause | None], ...]] = (
    (_left_over, Verdict.STALE, Cause.LEFT_OVER),
    (_gone, Verdict.STALE, Cause.STALE),
    (_cut_off, Verdict.STALE, Cause.STALE),
    (_silent, Verdict.STALE, Cause.STALE),
    (_link_lost, Verdict.STALE, Cause.MQTT_LINK_LOST),
    (_unhealthy, Verdict.UNHEALTHY, Cause.UNHEALTHY),
    (_recovering, Verdict.UNHEALTHY, Cause.UNHEALTHY),
    (_blind, Verdict.BLIND, Cause.BLIND),
    (_seeing_again, Verdict.BLIND, Cause.BLIND),
    (_by_sessions_alone, Verdict.QUIET, None),
    (_waiting, Verdict.WAITING, None),
    (_quiet, Verdict.QUIET, None),
    (_late, Verdict.LATE, None),
    (_fresh, Verdict.FRESH, None),
)
"""Asked in this order; the first that is answered gives the verdict, and what is wrong."""


def judge(
    facts: Facts,
    now: float,
    rules: Rules,
    evidence: Evidence = NO_EVIDENCE,
    recorded: Recorded = NOTHING_RECORDED,
    *,
    before: Verdict | None = None,
) -> Judgement:
    """The verdict at `now`, seconds of running time. before: the last verdict, which holds until `start` has lasted."""
    case = _Case(facts, now, rules.of(facts, recorded.suspend_min), evidence, recorded, rules.recover_after_s)
    change_at = min((moment for moment in case.boundaries() if moment > now), default=None)
    verdict, cause, words = next(
        (verdict, cause, words) for ask, verdict, cause in QUESTIONS if (words := ask(case)) is not None
    )
    if cause is None and facts.no_data_at is not None:
        verdict = Verdict.WAITING if before is None else before
        words = (f"TeslaMate says {facts.state} for {_span(now - facts.no_data_at)}: until then {verdict}",)
        cause = next((of for _, kind, of in reversed(QUESTIONS) if kind is verdict), None)
    return Judgement(verdict, "; ".join(filter(None, words)), case.limits, change_at, cause)


def _span(seconds: float) -> str:
    return in_words(timedelta(seconds=seconds))
