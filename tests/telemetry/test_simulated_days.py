"""Days and weeks of a simulated TeslaMate: no false alarm while all is well, and every real one in time."""

from datetime import timedelta

import pytest

from tests.demo.simulation import for_ever, hours, minutes, seconds, simulate
from tests.telemetry.following import Follower, report
from tmsync.core.config.schema import STALE_AFTER_S
from tmsync.core.telemetry.health import Evidence, Source, Verdict
from tmsync.demo.simulator import Attention, SimulatedCar, State

ALIVE = "TeslaMate's database sessions are there"
GONE = "TeslaMate's database sessions are gone"


def witness(follower_alive: list[bool]) -> object:
    def say(at: float) -> Evidence:
        return Evidence(at, None, (ALIVE,)) if follower_alive[0] else Evidence(None, at, (GONE,))

    return say


@pytest.mark.slow
def test_a_healthy_week_has_not_one_false_alarm() -> None:
    cars = [SimulatedCar(number, f"Car {number}", streaming=number % 2 == 0) for number in range(1, 5)]
    follower = Follower(simulate(*cars, seed=11), polling=dict.fromkeys((1, 3, 5), 21))
    follower.follow(timedelta(days=7))
    # They begin with `start`, of which nothing is said for two minutes.
    assert [verdict for _, _, verdict in follower.verdicts[: len(cars)]] == [Verdict.WAITING] * len(cars)
    later = {verdict for _, _, verdict in follower.verdicts[len(cars) :]}
    assert later <= {Verdict.FRESH, Verdict.LATE, Verdict.QUIET}
    assert [change.after for change in follower.changes] == [Source.TESLAMATE] * len(cars)


def test_a_healthy_week_of_an_older_teslamate_has_no_false_alarm_while_cars_rest() -> None:
    """Before 2.1.0 `healthy` is retained and sent on change; silence while asleep, offline, suspended is normal."""
    cars = [
        SimulatedCar(number, f"Car {number}", phases=for_ever(state).phases)
        for number, state in enumerate((State.ASLEEP, State.OFFLINE, State.SUSPENDED), start=1)
    ]
    follower = Follower(simulate(*cars, live=False))
    follower.connect({})
    follower.follow(minutes(1))
    # A subscriber that comes now is handed `healthy` as a retained value, and so knows the kind.
    follower.connect({f"teslamate/cars/{number}/healthy": b"true" for number in (1, 2, 3)})
    follower.follow(timedelta(days=7))
    assert Verdict.STALE not in {verdict for _, _, verdict in follower.verdicts}
    assert [follower.view(number).judgement.verdict for number in (1, 2, 3)] == [Verdict.QUIET] * 3


@pytest.mark.parametrize("state", [State.ONLINE, State.CHARGING, State.DRIVING, State.ASLEEP, State.OFFLINE])
def test_death_is_told_within_stale_after_and_two_seconds(state: State) -> None:
    follower = Follower(simulate(for_ever(state)))
    follower.follow(minutes(47))
    died = follower.teslamate.now
    follower.teslamate.die()
    follower.follow(hours(1))
    assert follower.told()[-2:] == [Verdict.LATE, Verdict.STALE]
    changes = follower.changes
    assert [change.message for change in changes] == [
        "Vehicle Blue telemetry being provided by TeslaMate",
        "Data from TeslaMate for Blue is stale. Switching back to TeslaAPI",
    ]
    assert (changes[1].at - died).total_seconds() <= STALE_AFTER_S[state] + 2


@pytest.mark.parametrize("state", [State.SUSPENDED, State.UPDATING])
def test_death_is_told_by_a_second_witness_within_two_minutes(state: State) -> None:
    alive = [True]
    follower = Follower(simulate(for_ever(state)), witness=witness(alive))  # type: ignore[arg-type]
    follower.follow(minutes(47))
    assert follower.view().judgement.verdict is Verdict.QUIET
    assert ALIVE in follower.view().judgement.reason
    died = follower.teslamate.now
    follower.teslamate.die()
    alive[0] = False
    follower.follow(minutes(10))
    assert follower.told()[-1] is Verdict.STALE
    assert GONE in follower.view().judgement.reason
    assert follower.changes[-1].after is Source.TESLA_API
    assert (follower.changes[-1].at - died).total_seconds() <= 120


@pytest.mark.parametrize("state", [State.SUSPENDED, State.UPDATING])
def test_death_without_a_witness_proves_nothing_there(state: State) -> None:
    follower = Follower(simulate(for_ever(state)))
    follower.follow(minutes(5))
    follower.teslamate.die()
    follower.follow(hours(10))
    assert follower.view().judgement.verdict is Verdict.QUIET
    assert follower.sources() == [Source.TESLAMATE]


def test_suspended_and_polled_death_is_told_after_the_polls_pace() -> None:
    follower = Follower(simulate(for_ever(State.SUSPENDED, streaming=False, suspend_min=15)), polling={1: 15})
    follower.fleet.hear(report(Evidence(), {1: 15}))
    follower.follow(hours(3))
    assert follower.sources() == [Source.TESLAMATE]
    died = follower.teslamate.now
    follower.teslamate.die()
    follower.follow(hours(2))
    assert follower.told()[-1] is Verdict.STALE
    assert (follower.changes[-1].at - died).total_seconds() <= 15 * 60 + 300 + 2


def test_restart_resumes_with_its_own_words() -> None:
    follower = Follower(simulate(for_ever(State.CHARGING)))
    follower.follow(minutes(5))
    follower.teslamate.die()
    follower.follow(minutes(20))
    follower.teslamate.start_again()
    follower.follow(minutes(5))
    assert [change.message for change in follower.changes] == [
        "Vehicle Blue telemetry being provided by TeslaMate",
        "Data from TeslaMate for Blue is stale. Switching back to TeslaAPI",
        "Vehicle Blue telemetry has resumed being provided by TeslaMate",
    ]
    assert follower.view().judgement.verdict is Verdict.FRESH


def test_an_outage_of_teslas_api_does_not_flap_between_sources() -> None:
    """`healthy` is false for five minutes, then true for 90 seconds, again and again: not long enough to be trusted."""
    follower = Follower(simulate(for_ever(State.ONLINE)))
    follower.follow(minutes(5))
    follower.teslamate.api_outage()
    follower.follow(hours(3))
    assert follower.sources() == [Source.TESLAMATE, Source.TESLA_API]
    assert follower.view().judgement.verdict in (Verdict.UNHEALTHY, Verdict.STALE)
    recovered = follower.teslamate.now
    follower.teslamate.api_recovers()
    follower.follow(minutes(30))
    assert follower.sources() == [Source.TESLAMATE, Source.TESLA_API, Source.TESLAMATE]
    assert (follower.changes[-1].at - recovered).total_seconds() >= 120


def test_signed_out_is_unhealthy_however_long_it_is_silent() -> None:
    follower = Follower(simulate(for_ever(State.SUSPENDED)))
    follower.follow(minutes(5))
    follower.teslamate.sign_out()
    follower.follow(hours(1))
    assert follower.changes[-1].message == "TeslaMate reports Blue unhealthy. Switching back to TeslaAPI"
    assert follower.view().judgement.source is Source.TESLA_API


def test_a_pause_asked_for_by_tesla_is_late_and_not_stale() -> None:
    follower = Follower(simulate(for_ever(State.ONLINE, Attention.USER_PRESENT)))
    follower.follow(minutes(5))
    follower.teslamate.rate_limited(1, 300)
    follower.follow(minutes(20))
    assert follower.told()[-2:] == [Verdict.LATE, Verdict.FRESH]
    assert follower.sources() == [Source.TESLAMATE]


def test_asleep_with_a_long_polling_interval_is_quiet_when_told_so() -> None:
    """POLLING_ASLEEP_INTERVAL above 30: one message, then silence until it wakes."""
    from tests.telemetry.following import default_rules
    from tmsync.core.telemetry.health import Thresholds

    rules = default_rules()
    rules = rules._replace(by_state={**rules.by_state, "asleep": Thresholds(0, 0)})
    follower = Follower(simulate(for_ever(State.ASLEEP, polling_asleep_interval_s=120)), rules)
    follower.follow(hours(20))
    assert follower.told()[-1] is Verdict.QUIET
    assert follower.sources() == [Source.TESLAMATE]


def test_a_dead_zone_of_fourteen_minutes_is_not_stale() -> None:
    follower = Follower(simulate(for_ever(State.DRIVING)))
    follower.follow(minutes(5))
    follower.teslamate.lose_reach(1, minutes(14))
    follower.follow(minutes(30))
    assert follower.sources() == [Source.TESLAMATE]
    assert Verdict.LATE in follower.told()
    assert follower.view().silence_s < seconds(20).total_seconds()
