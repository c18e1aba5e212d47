"""Whether to trust TeslaMate's telemetry of a vehicle: a table of questions. Pure, the time passed in.

Source: TeslaMate lib/teslamate/vehicles/vehicle.ex (schedule_fetch, broadcast_summary: `healthy` goes out with every
summary, so it is a heartbeat whose pace hangs on the state); a run of it for the longest silences that are normal.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Final, NamedTuple, TypeAlias

from tmsync.core.causes import Cause
from tmsync.core.telemetry.health import (
    NO_EVIDENCE,
    NOTHING_RECORDED,
    Evidence,
    Judgement,
    Recorded,
    Rules,
    Thresholds,
    Verdict,
)
from tmsync.core.telemetry.vehicle import NO_DATA, NO_DATA_LASTS_S, Facts
from tmsync.core.words import in_words

VOUCHED_S: Final = 600.0
"""For so much silence, and no more, TeslaMate's sessions vouch where silence proves something."""
REQUEST_S: Final = 1.0
"""After a wait of exactly so long, as for HTTP 429, the heartbeat comes with the answer to the next request."""
RECORDS_AHEAD_S: Final = 120.0
"""Records that are newer than the last heartbeat by more than this went past the broker."""
UNDER_WAY_S: Final = 10.0
"""What TeslaMate records it publishes in the same moment: a record that was read may be so far ahead of the broker."""
SEEN_JUST_NOW_S: Final = 10.0
"""A witness's words that are older are told with their age."""
BROKER_PATIENCE_S: Final = 60.0
"""A broker that restarts is back sooner; one that stays away longer is a witness against its telemetry."""


class _Case(NamedTuple):
    """Everything a question needs to be answered."""

    facts: Facts
    now: float
    limits: Thresholds
    evidence: Evidence
    recorded: Recorded
    recover_after_s: float
    blind_after_s: float
    before: Judgement | None

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
    def is_cut_off(self) -> bool:
        """Whether the broker has been lost for longer than its restart takes."""
        lost_at = self.evidence.broker_lost_at
        return lost_at is not None and self.now - lost_at >= BROKER_PATIENCE_S

    @property
    def witnesses(self) -> Iterator[str]:
        """What the second witnesses say, with its age."""
        said_at = max(self.evidence.alive_at or 0.0, self.evidence.gone_at or 0.0)
        old = f", {_span(self.now - said_at)} ago" if self.now - said_at > SEEN_JUST_NOW_S and said_at else ""
        yield from (f"{words}{old}" for words in self.evidence.words)

    @property
    def records_go_on(self) -> bool:
        """Whether TeslaMate recorded something long after the last heartbeat."""
        heard, newest, read_at = self.facts.heartbeat_at, self.recorded.newest_at, self.recorded.read_at
        if heard is None or newest is None or read_at is None:
            return False
        # Once that has come true, it is not asked anew at each look into the records.
        known = self.before is not None and self.before.cause is Cause.MQTT_LINK_LOST
        return newest - heard > RECORDS_AHEAD_S and (known or self.now - read_at >= UNDER_WAY_S)

    @property
    def explained(self) -> Iterator[str]:
        """Why a living TeslaMate may be silent."""
        if self.evidence.sessions and not self.records_go_on and self.recorded.newest_at is not None:
            yield from filter(None, (ALIVE_AND_SILENT.get(self.facts.state or ""),))

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
        yield from (
            self.facts.anchor_at + span for span in (*self.limits, RECORDS_AHEAD_S, VOUCHED_S + REQUEST_S) if span
        )
        if self.evidence.broker_lost_at is not None:
            yield self.evidence.broker_lost_at + BROKER_PATIENCE_S
        if self.recorded.read_at is not None:
            yield self.recorded.read_at + UNDER_WAY_S
        if self.facts.no_data_at is not None:
            yield self.facts.no_data_at + NO_DATA_LASTS_S
        yield from (
            since + self.recover_after_s for since in (self.facts.healthy_since, self.seeing_since) if since is not None
        )
        if self.blind_after_s and self.facts.changed_at is not None:
            yield self.facts.changed_at + self.blind_after_s

    @property
    def seeing_since(self) -> float | None:
        """When there was data from Tesla again, after it was called blind; None while there is none."""
        if self.before is None or self.before.verdict is not Verdict.BLIND or self.facts.no_data_at is not None:
            return None
        if _standing_still(self) is not None:
            return None
        return self.now if self.before.seeing_since is None else self.before.seeing_since


Words: TypeAlias = tuple[str, ...] | None
"""Why a verdict holds, in pieces; None when it does not."""


WAITS: Final = (
    "it records nothing either: the car is out of reach, or Tesla's API has told it to wait (HTTP 429, up to 15 min), "
    "and then asking the API instead prolongs that"
)
ALIVE_AND_SILENT: Final[Mapping[str, str]] = {
    **dict.fromkeys(("online", "charging", "driving"), WAITS),
    **dict.fromkeys(("asleep", "offline"), "the car may have woken by itself, which TeslaMate does not report"),
}
"""State -> what keeps a TeslaMate silent that lives.

Source: TeslaMate lib/teslamate/vehicles/vehicle.ex (too_many_request: one summary, then nothing until Retry-After is
over; pre_online_check: no summary while the stream decides whether a car is really awake).
"""


def _gone(case: _Case) -> Words:
    heard = case.facts.heartbeat_at
    due = case.proves_nothing or case.is_late or case.is_unheard_look
    if not due or not case.evidence.says_gone(heard):
        return None
    return (case.unheard if heard is not None else "", *case.witnesses)


def _left_over(case: _Case) -> Words:
    return (case.recorded.left_over,) if case.recorded.left_over and case.facts.heartbeat_at is None else None


def _link_lost(case: _Case) -> Words:
    """TeslaMate lives and records, and what it publishes does not come here."""
    if not case.evidence.sessions or case.evidence.broker_lost_at is not None:
        return None
    told = case.recorded.contradiction
    if case.facts.heartbeat_at is not None or not case.evidence.single_look:
        if case.silence < (RECORDS_AHEAD_S if case.proves_nothing else case.limits.stale_after_s):
            return None
        if case.records_go_on:
            told = told or "its newest record is newer than the last heartbeat"
    return ("TeslaMate does not reach this broker", told) if told else None


def _by_sessions_alone(case: _Case) -> Words:
    if not (case.is_unheard_look and case.evidence.sessions) or case.facts.state in NO_DATA:
        return None
    return ("no heartbeat in this look; by its database sessions alone",)


def _cut_off(case: _Case) -> Words:
    lost_at = case.evidence.broker_lost_at
    if lost_at is None or not case.is_cut_off or not (case.proves_nothing or case.is_late):
        return None
    return (f"the broker has been lost for {_span(case.now - lost_at)}",)


def _silent(case: _Case) -> Words:
    limit = case.limits.stale_after_s
    if case.evidence.sessions and not case.is_cut_off:
        limit = max(limit, VOUCHED_S + REQUEST_S)
    if case.proves_nothing or case.silence < limit:
        return None
    if case.evidence.broker_lost_at is not None:
        return (case.unheard, "the broker is lost")
    if case.evidence.vouches and case.facts.state in ("asleep", "offline"):
        advice = "if it runs with POLLING_ASLEEP_INTERVAL above 30, set health.stale_after to 0 for this state"
        return (case.unheard, *case.witnesses, advice)
    return (case.unheard, *case.witnesses, *case.explained)


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


def _standing_still(case: _Case) -> Words:
    limit, changed_at, age_s = case.blind_after_s, case.facts.changed_at, case.recorded.age_s
    if case.facts.heartbeat_at is None:
        return None
    # After `suspended` no position is recorded for a while, and some values never change: each alone proves nothing.
    if not limit or changed_at is None or age_s is None or age_s < limit or case.now - changed_at < limit:
        return None
    unchanged = f"no value has changed for {_span(case.now - changed_at)} {case.during}"
    return (unchanged, f"its newest record is {_span(age_s)} old", "TeslaMate gets no data from Tesla")


def _seeing_again(case: _Case) -> Words:
    since = case.seeing_since
    if since is None or case.now - since >= case.recover_after_s:
        return None
    return (f"data from Tesla again for less than {_span(case.recover_after_s)}",)


def _waiting(case: _Case) -> Words:
    if case.facts.heartbeat_at is not None or (case.proves_nothing and case.evidence.vouches):
        return None
    so_far, limit = "only retained values so far", case.limits.stale_after_s
    if case.proves_nothing:
        decides = tuple(case.witnesses) or ("TeslaMate's database decides (--with-db)",)
        return (so_far, case.nothing_proven, *(decides if case.evidence.single_look else ()))
    decides_too = f" (status --wait {math.ceil(limit) + 1} decides)" if case.evidence.single_look else ""
    return (so_far, f"a heartbeat is due within {_span(limit)}{decides_too}")


def _quiet(case: _Case) -> Words:
    nothing = case.proves_nothing and case.limits.late_after_s == 0
    return (case.nothing_proven, *case.witnesses) if nothing else None


def _late(case: _Case) -> Words:
    return (case.unheard, *case.witnesses, *case.explained) if case.is_late else None


def _fresh(case: _Case) -> Words:
    return (f"heartbeats on time {case.during}",)


QUESTIONS: Final[tuple[tuple[Callable[[_Case], Words], Verdict, Cause | None], ...]] = (
    (_left_over, Verdict.STALE, Cause.LEFT_OVER),
    (_gone, Verdict.STALE, Cause.STALE),
    (_cut_off, Verdict.STALE, Cause.STALE),
    (_link_lost, Verdict.STALE, Cause.MQTT_LINK_LOST),
    (_silent, Verdict.STALE, Cause.STALE),
    (_unhealthy, Verdict.UNHEALTHY, Cause.UNHEALTHY),
    (_recovering, Verdict.UNHEALTHY, Cause.UNHEALTHY),
    (_blind, Verdict.BLIND, Cause.BLIND),
    (_standing_still, Verdict.BLIND, Cause.BLIND),
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
    before: Judgement | None = None,
) -> Judgement:
    """The verdict at `now`, seconds of running time.

    before: the last one, which holds until `start` has lasted, and which TeslaMate has to recover from.
    """
    limits, blind_after_s = rules.of(facts, recorded.suspend_min), rules.blind_after_s.get(facts.state or "", 0)
    case = _Case(facts, now, limits, evidence, recorded, rules.recover_after_s, blind_after_s, before)
    change_at = min((moment for moment in case.boundaries() if moment > now), default=None)
    verdict, cause, words = next(
        (verdict, cause, words) for ask, verdict, cause in QUESTIONS if (words := ask(case)) is not None
    )
    if cause is None and facts.no_data_at is not None:
        verdict = Verdict.WAITING if before is None else before.verdict
        words = (f"TeslaMate says {facts.state} for {_span(now - facts.no_data_at)}: until then {verdict}",)
        cause = next((of for _, kind, of in reversed(QUESTIONS) if kind is verdict), None)
    seeing_since = case.seeing_since if verdict is Verdict.BLIND else None
    return Judgement(verdict, "; ".join(filter(None, words)), case.limits, change_at, cause, seeing_since)


def _span(seconds: float) -> str:
    return in_words(timedelta(seconds=seconds))
