"""The simulated TeslaMate does what the genuine 4.2-dev was recorded to do; the numbers are the recording's."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from tests.demo.simulation import (
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
    told,
    values,
)
from tests.support.full_teslamate import FullTeslaMate
from tmsync.demo.simulator import Phase, SimulatedCar, State


def states(messages: list) -> list[str]:
    return [message.payload.decode() for message in messages if key(message) == "state"]


# -- its start


def test_at_its_start_it_clears_healthy_and_what_home_assistant_might_hold() -> None:
    cars = [SimulatedCar(number, "Blue", (Phase(State.ASLEEP, hours(9)),)) for number in (1, 2)]
    first = list(simulate(*cars).until(START))
    assert {(message.payload, message.retain) for message in first} == {(b"", True)}
    assert [message.topic for message in first if key(message) == "healthy"] == [
        "teslamate/cars/1/healthy", "teslamate/cars/2/healthy"
    ]  # fmt: skip
    cleared = [message.topic for message in first if message.topic.startswith("homeassistant/")]
    assert len(set(cleared)) == len(cleared) == 2 * 63
    assert list(simulate(*cars, live=False).until(START)) == []


@pytest.mark.parametrize(
    ("car", "least", "most"),
    [
        pytest.param(for_ever(State.ASLEEP), 10, 12, id="asleep: 12.1 s"),
        pytest.param(for_ever(State.ONLINE), 30, 32.3, id="online: 32.2 s"),
        pytest.param(for_ever(State.CHARGING), 30, 32.3, id="charging: 32.3 s"),
        pytest.param(for_ever(State.UPDATING), 30, 32.3, id="updating: 32.2 s"),
        pytest.param(for_ever(State.ONLINE, streaming=False), 15, 17, id="polled"),
        pytest.param(for_ever(State.DRIVING), 0, 3.4, id="driving, which the stream shows: 3.4 s"),
    ],
)
def test_its_first_values_come_with_the_second_look(car: SimulatedCar, least: float, most: float) -> None:
    messages = run(simulate(car), minutes(1))
    assert told(messages[:1]) == [("healthy", b"")]
    assert least <= (messages[1].at - START).total_seconds() <= most
    assert "start" not in states(messages)


@pytest.mark.parametrize("state", [State.CHARGING, State.DRIVING, State.UPDATING, State.SUSPENDED])
def test_a_car_that_is_awake_at_its_start_is_online_first(state: State) -> None:
    messages = run(simulate(for_ever(state)), minutes(1))
    assert states(messages) == ["online", state.value]
    assert beats(messages)[0] == beats(messages)[1]


def test_the_values_of_a_burst_come_in_random_order() -> None:
    orders = set()
    for seed in range(8):
        burst = [name for name, _ in told(run(simulate(for_ever(State.ASLEEP), seed=seed), seconds(20))[1:])]
        orders.add(tuple(sorted(("state", "display_name", "healthy"), key=burst.index)))
    assert len(orders) > 3


# -- its pace


@pytest.mark.parametrize(("power", "every"), [(11, 20), (50, 5)])
def test_it_looks_the_more_often_the_faster_a_car_charges(power: int, every: float) -> None:
    car = SimulatedCar(1, "Blue", (Phase(State.CHARGING, hours(9)),), charger_kw=power)
    found = gaps(beats(run(settled(car), minutes(20))))
    assert every < sorted(found)[len(found) // 2] < every + 1.6


def test_an_update_is_silent_once_it_has_begun() -> None:
    assert run(settled(for_ever(State.UPDATING)), hours(4)) == []


# -- what keeps it from looking


def test_a_dead_zone_is_offline_81_s_after_the_last_frame_with_one_heartbeat_and_the_drives_since() -> None:
    teslamate = settled(for_ever(State.DRIVING))
    teslamate.lose_reach(1, minutes(14))
    lost = teslamate.now
    assert sorted(told(silence := run(teslamate, minutes(14) - seconds(1)))) == [
        ("healthy", b"true"), ("state", b"offline")
    ]  # fmt: skip
    assert 80 <= (silence[0].at - lost).total_seconds() <= 82
    back = run(teslamate, seconds(2))
    assert states(back) == ["driving"]
    assert "since" not in dict(told(back))


def test_a_drive_is_closed_after_15_minutes_and_the_car_offline_since_then() -> None:
    teslamate = settled(for_ever(State.DRIVING))
    teslamate.lose_reach(1, minutes(40))
    messages = run(teslamate, minutes(39))
    found = beats(messages)
    assert 815 <= (found[1] - found[0]).total_seconds() <= 850
    assert all(30 <= gap <= 32 for gap in gaps(found[1:]))
    assert [message.at for message in messages if key(message) == "since"] == [found[1]]
    assert states(run(teslamate, minutes(2))) == ["driving"]


def test_a_charge_out_of_reach_is_silence() -> None:
    teslamate = settled(for_ever(State.CHARGING))
    teslamate.lose_reach(1, seconds(129))
    assert run(teslamate, seconds(128)) == []
    assert len(beats(run(teslamate, seconds(30)))) >= 2


def test_a_wait_that_429_asks_for_is_one_heartbeat_and_600_s_of_silence() -> None:
    teslamate = settled(for_ever(State.ONLINE))
    teslamate.rate_limited(1, 600)
    messages = run(teslamate, seconds(601))
    assert told(messages[:1]) == [("healthy", b"true")]
    assert gaps(beats(messages)) == [600.0]


def test_a_car_that_wakes_by_itself_stays_asleep_and_its_heartbeats_stop() -> None:
    teslamate = settled(for_ever(State.ASLEEP))
    teslamate.wake_by_itself(1, seconds(510))
    assert run(teslamate, seconds(509)) == []
    assert told(run(teslamate, seconds(32)))[:1] == [("healthy", b"true")]


def test_errors_of_the_api_make_it_unhealthy_at_the_fourth_for_300_s_and_healthy_for_three_more() -> None:
    """Recorded at 92, 112, 132 (true), 152 to 433 (false), 453, 473, 493 (true), and so on."""
    teslamate = settled(for_ever(State.ONLINE))
    teslamate.api_outage()
    messages = run(teslamate, minutes(13))
    said = [message.payload for message in messages]
    turns = [index for index, (one, other) in enumerate(pairwise(said), 1) if one != other]
    assert {key(message) for message in messages} == {"healthy"}
    assert said[:4] == [b"true", b"true", b"true", b"false"]
    assert turns[2] - turns[1] == 4 - 1
    assert 300 <= (messages[turns[1]].at - messages[turns[0]].at).total_seconds() <= 325
    assert all(20 <= gap <= 22 for gap in gaps(beats(messages)) if gap < 30)


def test_timeouts_leave_it_healthy_while_every_value_stands_still() -> None:
    teslamate = settled(for_ever(State.CHARGING))
    teslamate.api_outage(counted=False)
    messages = run(teslamate, hours(1))
    assert set(told(messages)) == {("healthy", b"true")}
    assert len(messages) > 200
    newest = teslamate.records()[1].last_record_at
    assert newest is not None
    assert teslamate.now - newest >= hours(1)


def test_refused_tokens_end_in_a_sign_out() -> None:
    """401 never counts as an error; the sixth within ten minutes signs TeslaMate out."""
    teslamate = settled(for_ever(State.ONLINE))
    teslamate.refuse_tokens()
    messages = run(teslamate, hours(3))
    assert told(messages)[:5] == [("healthy", b"true")] * 5
    assert sorted(told(messages)[5:]) == [("healthy", b"false"), ("state", b"start")]


def test_a_sign_out_before_the_first_data_is_unavailable() -> None:
    teslamate = simulate(for_ever(State.ONLINE))
    run(teslamate, seconds(5))
    teslamate.sign_out()
    assert sorted(told(run(teslamate, hours(3)))) == [("healthy", b"false"), ("state", b"unavailable")]


def test_a_single_failure_before_sleep_is_ten_seconds_of_start() -> None:
    teslamate = settled(for_ever(State.ONLINE))
    teslamate.stumble(1)
    messages = run(teslamate, seconds(40))
    assert states(messages) == ["start", "asleep"]
    assert gaps(message.at for message in messages if key(message) == "state") == [10.0]


def test_a_lost_link_is_silence_while_records_go_on() -> None:
    teslamate = settled(for_ever(State.CHARGING))
    teslamate.lose_link()
    assert run(teslamate, hours(1)) == []
    newest = teslamate.records()[1].last_record_at
    assert newest is not None
    assert teslamate.now - newest < minutes(2)
    teslamate.regain_link()
    assert "battery_level" in values(run(teslamate, minutes(2)))


# -- how it writes


def test_no_update_is_an_empty_version_and_an_update_names_it() -> None:
    teslamate = simulate(for_ever(State.ONLINE))
    assert ("update_version", b"") in told(run(teslamate, minutes(1)))
    teslamate.force(1, State.UPDATING)
    assert "update_version" in values(run(teslamate, minutes(1)))


def test_the_speed_of_a_drive_stays_when_it_is_over() -> None:
    teslamate = settled(for_ever(State.DRIVING))
    held = values(run(teslamate, minutes(5)))
    assert int(held["speed"]) > 0
    teslamate.force(1, State.ONLINE)
    after = told(run(teslamate, minutes(5)))
    assert ("shift_state", b"") in after
    assert int(dict(after).get("speed", held["speed"])) > 0


@pytest.mark.parametrize("trouble", [FullTeslaMate.sign_out, FullTeslaMate.refuse_tokens, FullTeslaMate.lose_link])
def test_a_restart_after_signing_in_ends_every_trouble(trouble: Callable[[FullTeslaMate], None]) -> None:
    teslamate = settled(for_ever(State.ONLINE))
    trouble(teslamate)
    run(teslamate, hours(1))
    teslamate.regain_link()
    teslamate.sign_in()
    teslamate.start_again()
    assert states(run(teslamate, minutes(2)))[-1:] == ["online"]
