"""What is told of TeslaMate's death, and of problems that come, change and go. Pure."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.publish.scene import view
from tmsync.core.causes import Cause
from tmsync.core.fixes import problem
from tmsync.core.serve.board import Board, Event, rated
from tmsync.core.serve.death import Death, cut_off, death
from tmsync.core.status.report import RatedProblem
from tmsync.core.telemetry.health import Evidence, Judgement, Thresholds, Verdict
from tmsync.core.telemetry.liveness import LivenessReport
from tmsync.core.telemetry.views import VehicleView

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def car(verdict: Verdict, heard_at: float | None = None) -> VehicleView:
    cause = Cause.STALE if verdict is Verdict.STALE else None
    return view(judgement=Judgement(verdict, "", Thresholds(100, 360), None, cause), heard_at=heard_at)


STALE, QUIET, WAITING, LATE, BLIND = (
    car(verdict) for verdict in (Verdict.STALE, Verdict.QUIET, Verdict.WAITING, Verdict.LATE, Verdict.BLIND)
)
ALIVE, GONE = LivenessReport(Evidence(alive_at=5.0)), LivenessReport(Evidence(gone_at=5.0))
DIED = Evidence(alive_at=5.0, gone_at=95.0)


@pytest.mark.parametrize(
    ("report", "views", "expected"),
    [
        (LivenessReport(), [], None),
        (LivenessReport(), [QUIET, WAITING], None),
        (LivenessReport(), [STALE, LATE], None),
        (LivenessReport(), [STALE, BLIND], None),
        (LivenessReport(), [STALE], Death.LIKELY),
        (LivenessReport(), [STALE, QUIET, WAITING], Death.LIKELY),
        (LivenessReport(missing_since=1.0), [STALE], Death.LIKELY),
        (LivenessReport(missing_since=1.0), [LATE], None),
        (LivenessReport(sessions=True), [STALE], None),
        (LivenessReport(sessions=False), [LATE], Death.PROVEN),
        (ALIVE, [STALE], None),
        (GONE, [LATE], Death.PROVEN),
        # Spoke until it died, right before the next look.
        (LivenessReport(DIED, sessions=False), [car(Verdict.FRESH, 64.0)], Death.PROVEN),
        # Is there again, and the next look is to come.
        (LivenessReport(DIED, sessions=False), [STALE, car(Verdict.UNHEALTHY, 97.0)], None),
        (LivenessReport(Evidence(gone_at=95.0), sessions=False), [car(Verdict.FRESH, 97.0)], None),
        # A web server that was never there, and a TeslaMate that speaks.
        (GONE, [car(Verdict.FRESH, 4.0)], None),
        (GONE, [car(Verdict.STALE, 4.0)], Death.PROVEN),
    ],
)
def test_death_is_proven_by_witnesses_and_likely_by_silence(
    report: LivenessReport, views: list[VehicleView], expected: Death | None
) -> None:
    assert death(report, views) is expected


@pytest.mark.parametrize(
    ("found", "left", "words"),
    [
        (Death.PROVEN, timedelta(hours=1), "renews its token no more: TWCManager is cut off from Tesla from 2026-11"),
        (Death.PROVEN, timedelta(hours=-1), "is cut off from Tesla since 2026-11-29T11:00:00Z"),
        (Death.PROVEN, None, "at a time that is not known"),
        (Death.LIKELY, timedelta(hours=1), "silent about every car: if it is gone, TWCManager is cut off from"),
    ],
)  # fmt: skip
def test_time_at_which_twcmanager_is_cut_off_is_told(found: Death, left: timedelta | None, words: str) -> None:
    told = cut_off(found, None if left is None else NOW + left, NOW)
    assert told.cause is Cause.TESLAMATE_GONE
    assert words in told.message


class StillClock:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, _seconds: float) -> None:
        raise AssertionError


def trouble(message: str, cause: Cause = Cause.EXPIRED, *, critical: bool = False) -> RatedProblem:
    return rated(problem(cause, message), critical=critical)


def test_a_problem_is_told_once_and_again_when_more_than_its_numbers_change() -> None:
    told: list[Event] = []
    board = Board(StillClock(), told.append)
    for found in (
        trouble("expired 1 min ago"), trouble("expired 2 min ago"), trouble("expired 2 min ago", critical=True),
        trouble("other", Cause.EXPIRES_SOON), None, None,
    ):  # fmt: skip
        board.put("token", found)
    assert [(one.fields["state"], one.fields["cause"], one.fields["severity"]) for one in told] == [
        ("raised", "expired", "warning"),
        ("raised", "expired", "critical"),
        ("cleared", "expired", "critical"),
        ("raised", "expires-soon", "warning"),
        ("cleared", "expires-soon", "warning"),
    ]
    assert board.problems() == ()


def test_problems_of_one_teller_are_replaced_together_and_the_worst_come_first() -> None:
    board = Board(StillClock(), lambda _: None)
    board.put("other", trouble("kept", critical=True))
    board.put_all("publish", [trouble("a"), trouble("b")])
    board.put_all("publish", [trouble("b")])
    assert [one.problem.message for one in board.problems()] == ["kept", "b"]
    board.put_all("publish", [])
    assert [one.problem.message for one in board.problems()] == ["kept"]
