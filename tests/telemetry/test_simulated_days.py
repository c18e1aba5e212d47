"""Days and weeks of a simulated TeslaMate: no false alarm while all is well, and every real one in time."""

from datetime import timedelta

import pytest

from tests.demo.simulation import for_ever, hours, minutes, seconds, simulate
from tests.support.full_teslamate import FullTeslaMate
from tests.telemetry.following import Follower, retained
from tmsync.core.causes import Cause
from tmsync.core.config.schema import STALE_AFTER_S
from tmsync.core.telemetry.health import Source, Verdict
from tmsync.demo.simulator import Attention, SimulatedCar, State


@pytest.mark.slow
@pytest.mark.parametrize("database", [True, False])
def test_a_healthy_week_has_not_one_false_alarm(database: bool) -> None:
    cars = [SimulatedCar(number, f"Car {number}", streaming=number % 2 == 0) for number in range(1, 5)]
    follower = Follower(simulate(*cars, seed=11), database=database)
    follower.follow(timedelta(days=7))
    assert {verdict for _, _, verdict in follower.verdicts} <= {Verdict.FRESH, Verdict.LATE, Verdict.QUIET}
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


WITHOUT_PROOF_S = 60 + 30 + 5
"""Sessions are asked once a minute, and gone when they were missing for half a minute."""
WIDEST_S = STALE_AFTER_S["driving"]
POLLED = "suspended, polled every 15 min"
DEAD_ZONE = "offline in a drive"
CARS = {
    **{state.value: for_ever(state) for state in State if state not in (State.START, State.UNAVAILABLE)},
    POLLED: for_ever(State.SUSPENDED, streaming=False, suspend_min=15),
    DEAD_ZONE: for_ever(State.DRIVING),
}
SILENT = ("suspended", "updating", POLLED)
LIMITS = {**STALE_AFTER_S, POLLED: 15 * 60 + 300, DEAD_ZONE: STALE_AFTER_S["driving"]}


def alive(state: str) -> tuple[FullTeslaMate, dict[str, bytes]]:
    """TeslaMate after 47 minutes with a car in `state`, and what the broker holds of it."""
    teslamate = simulate(CARS[state])
    held = retained(teslamate.until(teslamate.now + minutes(45)))
    if state == DEAD_ZONE:
        teslamate.lose_reach(1, hours(5))
    return teslamate, {**held, **retained(teslamate.until(teslamate.now + minutes(2)))}


@pytest.mark.parametrize("lost", [False, True], ids=["retained kept", "retained lost"])
@pytest.mark.parametrize("database", [False, True], ids=["without database", "with database"])
@pytest.mark.parametrize("state", CARS)
def test_no_false_alarm_while_it_lives_and_every_death_in_time(state: str, database: bool, lost: bool) -> None:
    teslamate, held = alive(state)
    follower = Follower(teslamate, database=database)
    follower.connect({} if lost else held)
    follower.follow(minutes(11))
    assert {change.after for change in follower.changes} <= {Source.TESLAMATE}
    heard = bool(len(follower.fleet))
    died = teslamate.now
    teslamate.die()
    follower.follow(hours(2))
    if not heard:
        # The broker holds nothing, and nothing came: nobody knows of a car.
        assert lost
        assert state in (*SILENT, DEAD_ZONE)
        return
    if state in SILENT and not database:
        assert follower.view().judgement.verdict in (Verdict.QUIET, Verdict.WAITING)
        return
    limit = LIMITS.get(state, WITHOUT_PROOF_S)
    if lost and not database:
        limit = WIDEST_S
    assert follower.changes[-1].after is Source.TESLA_API, follower.view().judgement
    assert follower.changes[-1].verdict is Verdict.STALE
    assert (follower.changes[-1].at - died).total_seconds() <= limit + 2


@pytest.mark.parametrize("database", [False, True], ids=["without database", "with database"])
@pytest.mark.parametrize("state", CARS)
def test_a_teslamate_that_died_before_is_told_in_time(state: str, database: bool) -> None:
    teslamate, held = alive(state)
    teslamate.die()
    list(teslamate.until(teslamate.now + minutes(30)))
    follower = Follower(teslamate, database=database)
    follower.connect(held)
    begun = teslamate.now
    follower.follow(hours(2))
    if not database and state not in (*STALE_AFTER_S, DEAD_ZONE):
        assert follower.told() == [Verdict.WAITING]
        return
    assert follower.told() == [Verdict.WAITING, Verdict.STALE]
    limit = LIMITS.get(state, WITHOUT_PROOF_S)
    if not database and state == "offline":
        # It may be a dead zone: it is not 24 h old.
        limit = LIMITS[DEAD_ZONE]
    assert (follower.changes[-1].at - begun).total_seconds() <= limit + 2


@pytest.mark.parametrize("state", ["online", "charging", "driving", "asleep", "suspended"])
def test_a_teslamate_that_loses_the_broker_is_told_as_that(state: str) -> None:
    """Where it has something to record; where not, it is stale by its silence, or nothing is amiss."""
    teslamate, held = alive(state)
    follower = Follower(teslamate, database=True)
    follower.connect(held)
    follower.follow(minutes(5))
    teslamate.lose_link()
    lost = teslamate.now
    follower.follow(minutes(1))
    if state in ("asleep", "suspended"):
        teslamate.force(1, State.DRIVING)
    follower.follow(minutes(16))
    assert [change.after for change in follower.changes] == [Source.TESLAMATE, Source.TESLA_API]
    assert follower.view().judgement.cause is Cause.MQTT_LINK_LOST
    assert (follower.changes[-1].at - lost).total_seconds() <= max(LIMITS.get(state, 0), 300) + 60 + 2


def test_a_sleeper_that_wakes_by_itself_each_hour_is_never_stale_while_its_sessions_are_there() -> None:
    teslamate = simulate(CARS["asleep"])
    follower = Follower(teslamate, database=True)
    for _ in range(24):
        follower.follow(minutes(50))
        teslamate.wake_by_itself(1, seconds(510))
        follower.follow(minutes(10))
    assert follower.sources() == [Source.TESLAMATE]
    assert set(follower.told()) == {Verdict.FRESH, Verdict.LATE}


@pytest.mark.parametrize("database", [False, True])
def test_refused_tokens_are_unhealthy_and_for_who_comes_later_blind(database: bool) -> None:
    teslamate, held = alive("online")
    follower = Follower(teslamate, database=database)
    follower.connect(held)
    follower.follow(minutes(5))
    teslamate.refuse_tokens()
    messages = list(teslamate.until(teslamate.now + minutes(10)))
    later = Follower(teslamate, database=database)
    later.connect({**held, **retained(messages)})
    later.follow(minutes(3))
    assert later.told() == [Verdict.WAITING, Verdict.BLIND]


def test_timeouts_are_blind_with_the_database_and_not_told_without() -> None:
    for database in (True, False):
        teslamate, held = alive("charging")
        follower = Follower(teslamate, database=database)
        follower.connect(held)
        follower.follow(minutes(5))
        teslamate.api_outage(counted=False)
        begun = teslamate.now
        follower.follow(minutes(20))
        assert follower.sources() == [Source.TESLAMATE, *[Source.TESLA_API] * database]
        if database:
            assert follower.told()[-1] is Verdict.BLIND
            assert 880 <= (follower.changes[-1].at - begun).total_seconds() <= 900 + 62
        teslamate.api_recovers()
        follower.follow(minutes(10))
        assert follower.told()[-1] is Verdict.FRESH


def test_suspended_and_polled_death_is_told_after_the_polls_pace() -> None:
    follower = Follower(simulate(CARS[POLLED]), database=True, readable=False)
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
