"""The simulated heartbeat keeps a real one's pace, and its silences."""

from collections import defaultdict
from datetime import datetime, timedelta
from itertools import groupby

import pytest

from tests.demo.simulation import (
    SLOW,
    START,
    beats,
    for_ever,
    gaps,
    hours,
    key,
    minutes,
    run,
    seconds,
    settled,
    simulate,
    values,
)
from tmsync.demo.simulator import Attention, Phase, SimulatedCar, State

PACES = [
    pytest.param(for_ever(State.ONLINE), 30, 30, id="online, streaming"),
    pytest.param(for_ever(State.ONLINE, Attention.USER_PRESENT), 15, 15, id="online, streaming, user present"),
    pytest.param(for_ever(State.ONLINE, Attention.SENTRY), 60, 60, id="online, streaming, sentry"),
    pytest.param(for_ever(State.ONLINE, Attention.PRECONDITIONING), 60, 60, id="online, streaming, preconditioning"),
    pytest.param(for_ever(State.ONLINE, Attention.DOG_MODE), 60, 60, id="online, streaming, dog mode"),
    pytest.param(for_ever(State.ONLINE, streaming=False), 15, 15, id="online, polling"),
    pytest.param(for_ever(State.ONLINE, Attention.SENTRY, streaming=False), 30, 30, id="online, polling, sentry"),
    pytest.param(for_ever(State.CHARGING), 5, 20, id="charging"),
    pytest.param(for_ever(State.DRIVING), 2.5, 15, id="driving"),
    pytest.param(for_ever(State.ASLEEP), 30, 30, id="asleep"),
    pytest.param(for_ever(State.OFFLINE), 30, 30, id="offline"),
    pytest.param(for_ever(State.SUSPENDED, streaming=False, suspend_min=12), 720, 720, id="suspended, polling"),
]


@pytest.mark.parametrize(("car", "least", "most"), PACES)
def test_heartbeat_keeps_the_states_pace(car: SimulatedCar, least: float, most: float) -> None:
    # Phases of the one state follow each other: the look that begins the next comes early, and counts for nothing.
    found = gaps(beats(run(simulate(car), timedelta(days=3))))
    in_phase = [gap for gap in found if gap >= least]
    assert len(in_phase) >= len(found) - 3 * 24 / 5 - 1
    assert max(found) <= most + SLOW
    assert sorted(in_phase)[len(in_phase) // 2] <= most + 2
    if len(in_phase) > 2000:
        assert max(in_phase) > most + 10, "no slow request in days"


@pytest.mark.parametrize(
    "car",
    [
        pytest.param(for_ever(State.SUSPENDED), id="suspended, streaming"),
        pytest.param(for_ever(State.UPDATING), id="updating"),
        pytest.param(for_ever(State.UNAVAILABLE), id="unavailable"),
        pytest.param(for_ever(State.ASLEEP, polling_asleep_interval_s=600), id="asleep, POLLING_ASLEEP_INTERVAL"),
        pytest.param(for_ever(State.OFFLINE, polling_asleep_interval_s=31), id="offline, POLLING_ASLEEP_INTERVAL"),
    ],
)
def test_silent_states_tell_their_beginning_and_no_more(car: SimulatedCar) -> None:
    messages = run(simulate(car), hours(4))
    assert len(set(beats(messages))) == 1
    assert messages[-1].at - START < seconds(32)


def test_sleeper_with_a_long_polling_interval_is_heard_again_when_it_wakes() -> None:
    teslamate = settled(for_ever(State.ASLEEP, polling_asleep_interval_s=600))
    teslamate.force(1, State.ONLINE)
    assert len(beats(run(teslamate, minutes(10)))) > 5


@pytest.mark.parametrize(("state", "silent"), [(State.DRIVING, 14 * 60 - 80), (State.CHARGING, 14 * 60)])
def test_nothing_comes_while_the_car_is_out_of_reach(state: State, silent: float) -> None:
    """But for one heartbeat when a car that drives is called offline."""
    phase = Phase(state, minutes(40), reachable_for=minutes(5), out_of_reach=minutes(14))
    messages = run(simulate(SimulatedCar(1, "Blue", (phase,))), minutes(39))
    longest = max(gaps(message.at for message in messages))
    assert silent <= longest <= silent + 20 + SLOW
    assert max(beats(messages)) > START + minutes(37)


def test_reach_is_lost_and_regained_by_hand() -> None:
    teslamate = settled(for_ever(State.CHARGING))
    teslamate.lose_reach(1, minutes(20))
    assert run(teslamate, minutes(20) - seconds(1)) == []
    assert len(beats(run(teslamate, minutes(5)))) >= 4


LONGEST = {
    **dict.fromkeys(("online", "asleep"), 60.0),
    "offline": 14 * 60 - 80.0,
    "charging": 20.0,
    "driving": 80.0 + 5,
}


def test_healthy_life_has_every_state_and_never_more_than_its_normal_silence() -> None:
    cars = [SimulatedCar(number, f"Car {number}", streaming=number % 2 == 0) for number in (1, 2, 3, 4)]
    state: dict[str, str] = {}
    last: dict[str, tuple[str, datetime]] = {}
    seen: dict[str, float] = defaultdict(float)
    messages = run(simulate(*cars, seed=5), timedelta(days=14))
    for (at, car), burst in groupby(messages, lambda message: (message.at, message.topic.rsplit("/", 1)[0])):
        held = values(burst := list(burst))
        state[car] = held.get("state", b"").decode() or state.get(car, "")
        if any(key(message) == "healthy" and message.payload for message in burst):
            if car in last:
                then, before = last[car]
                seen[then] = max(seen[then], (at - before).total_seconds())
            last[car] = state[car], at
    assert set(seen) == {*LONGEST, "suspended", "updating"}
    assert {name: gap for name, gap in seen.items() if gap > LONGEST.get(name, 1e9) + SLOW} == {}
    assert seen["offline"] > 12 * 60, "no dead zone in two weeks of four cars"
