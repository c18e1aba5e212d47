"""The simulated TeslaMate publishes as a real one does, and its day takes no day."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.demo.recorded import RECORDED_KEYS
from tests.demo.simulation import (
    START,
    beats,
    for_ever,
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
from tmsync.demo.simulator import SENT_WHEN_NIL, Phase, Publication, SimulatedCar, SimulatedTeslaMate, State

Control = Callable[[FullTeslaMate], object]


def test_first_publications_are_an_empty_healthy_and_then_all_values_in_teslamates_form() -> None:
    messages = run(simulate(SimulatedCar(7, "Blue", (Phase(State.ASLEEP, hours(1)),)), namespace="home"), seconds(20))
    assert {message.topic.rsplit("/", 1)[0] for message in messages} == {"teslamate/home/cars/7"}
    assert told(messages[:1]) == [("healthy", b"")]
    assert messages[1].at - START > seconds(10)
    held = values(messages)
    assert set(held) <= RECORDED_KEYS.keys()
    assert held["state"] == b"asleep"
    assert held["active_route_destination"] == b"nil"
    assert json.loads(held["location"]) == {
        "latitude": float(held["latitude"]),
        "longitude": float(held["longitude"]),
    }
    assert json.loads(held["active_route"]) == {"error": "No active route available"}
    assert b"None" not in [value for name, value in held.items() if name != "spoiler_type"]


KINDS = (
    ("empty", r""),
    ("boolean", r"true|false"),
    ("whole number", r"-?[0-9]+"),
    ("decimal number", r"-?[0-9]+\.[0-9]+(e-?[0-9]+)?"),
    ("time", r"2026-[0-9-]+T[0-9:]+(\.[0-9]{6})?Z"),
    ("JSON", r"\{.*\}"),
    ("text", r".*"),
)


def kind(value: str) -> str:
    return next(name for name, pattern in KINDS if re.fullmatch(pattern, value))


def test_every_key_that_was_recorded_is_published_in_a_form_that_was_recorded() -> None:
    cars = [SimulatedCar(number, f"Car {number}") for number in range(1, 9)]
    seen: dict[str, set[str]] = defaultdict(set)
    for message in run(simulate(*cars, seed=2), timedelta(days=10)):
        seen[key(message)].add(kind(message.payload.decode()))
    assert set(seen) == set(RECORDED_KEYS)
    # What the recorded cars had not: a geofence, a roof that is shut, another model.
    more = {"geofence": {"text"}, "sun_roof_percent_open": {"whole number"}, "model": {"text"}}
    recorded = {
        name: {kind(value) for value in values} | more.get(name, set()) for name, values in RECORDED_KEYS.items()
    }
    assert {name: kinds - recorded[name] for name, kinds in seen.items() if kinds - recorded[name]} == {}


def test_everything_is_retained_but_healthy_and_told_on_change_only() -> None:
    messages = run(simulate(SimulatedCar(1, "Blue"), SimulatedCar(2, "Red"), seed=2), timedelta(days=5))
    assert [m.at for m in messages] == sorted(m.at for m in messages)
    held: dict[str, bytes] = {}
    for message in messages:
        if key(message) == "healthy":
            assert message.retain == (message.payload == b"")
            continue
        assert message.retain
        assert held.get(message.topic) != message.payload, message
        held[message.topic] = message.payload
        if message.payload == b"":
            assert key(message) in SENT_WHEN_NIL | {"update_version"}


def test_every_key_that_becomes_nil_is_deleted_by_an_empty_payload() -> None:
    cars = (SimulatedCar(1, "Blue", trim_badging=None), SimulatedCar(2, "Red"))
    emptied, full = set(), set()
    for message in run(simulate(*cars, seed=2), timedelta(days=10)):
        if key(message) != "healthy":
            (full if message.payload else emptied).add(key(message))
    assert emptied == SENT_WHEN_NIL | {"update_version"}
    assert emptied <= full


def test_battery_rises_while_charging_and_falls_while_driving() -> None:
    teslamate = simulate(for_ever(State.DRIVING))
    driving = values(run(teslamate, hours(1)))
    assert driving["shift_state"] == b"D"
    assert "geofence" not in driving
    lower = values(run(teslamate, hours(1)))
    assert int(lower["battery_level"]) < int(driving["battery_level"])
    assert float(lower["odometer"]) > float(driving["odometer"])
    teslamate.force(1, State.CHARGING)
    charging = run(teslamate, hours(2))
    held = values(charging)
    assert held["charging_state"] == b"Charging"
    assert held["charger_power"] == b"11"
    assert held["since"] == b"2026-11-02T08:00:00Z"
    assert int(held["battery_level"]) > int(lower["battery_level"])
    assert [payload for name, payload in told(charging) if name == "shift_state"] == [b""]
    teslamate.force(1, State.ONLINE)
    after = told(run(teslamate, minutes(1)))
    assert ("charger_power", b"") in after
    assert ("time_to_full_charge", b"") in after
    assert ("state", b"online") in after


def test_rename_and_update_are_told() -> None:
    teslamate = settled(for_ever(State.ONLINE))
    teslamate.rename(1, "Böse [red]")
    assert {("display_name", "Böse [red]".encode()), ("healthy", b"true")} <= set(told(run(teslamate, seconds(0))))
    teslamate.force(1, State.UPDATING)
    assert ("update_available", b"true") in told(run(teslamate, hours(1)))
    teslamate.force(1, State.ONLINE)
    assert "version" in dict(told(run(teslamate, minutes(1))))


# -- faults and controls


def test_death_is_silence_whatever_the_car_does() -> None:
    teslamate = settled(SimulatedCar(1, "Blue"))
    teslamate.die()
    teslamate.force(1, State.DRIVING)
    teslamate.rename(1, "Red")
    teslamate.api_outage()
    teslamate.api_recovers()
    teslamate.sign_out()
    teslamate.sign_in()
    teslamate.rate_limited(1)
    teslamate.resume(1)
    assert run(teslamate, timedelta(days=2)) == []


def test_start_empties_healthy_then_tells_everything_again() -> None:
    teslamate = settled(for_ever(State.CHARGING))
    before = run(teslamate, hours(1))
    teslamate.die()
    run(teslamate, hours(1))
    teslamate.force(1, State.ONLINE)
    teslamate.start_again()
    messages = run(teslamate, seconds(33))
    assert (told(messages[:1]), messages[0].retain) == ([("healthy", b"")], True)
    assert messages[1].at - messages[0].at > seconds(30)
    assert len(before) > 100
    held = values(messages)
    assert held["state"] == b"online"
    assert 65 <= len(held) <= 80
    assert ("charger_power", b"") in told(messages)
    assert b"start" not in [payload for _, payload in told(messages)]


def test_added_car_has_no_publisher_before_a_restart() -> None:
    teslamate = settled(for_ever(State.ONLINE))
    teslamate.add_car(SimulatedCar(2, "Red", (Phase(State.ONLINE, hours(1)),)))
    assert beats(run(teslamate, hours(1)), car_id=2) == []
    teslamate.start_again()
    assert len(beats(run(teslamate, hours(1)), car_id=2)) > 100
    with pytest.raises(ValueError, match="car 2 already"):
        teslamate.add_car(SimulatedCar(2, "Red"))


def spans(messages: Iterable[Publication]) -> Iterator[tuple[bytes, float]]:
    """How long `healthy` said the same, as (payload, seconds), without the last."""
    turns = [(m.at, m.payload) for m in messages if key(m) == "healthy"]
    changes = [turns[0], *(later for earlier, later in pairwise(turns) if earlier[1] != later[1])]
    for (at, payload), (then, _) in pairwise(changes):
        yield payload, (then - at).total_seconds()


def test_outage_flaps_and_brings_nothing_new() -> None:
    teslamate = settled(for_ever(State.CHARGING))
    teslamate.api_outage()
    messages = run(teslamate, hours(2))
    assert {key(message) for message in messages} == {"healthy"}
    found = list(spans(messages))
    assert len(found) > 15
    for payload, length in found:
        assert (300 <= length <= 400) if payload == b"false" else (40 <= length <= 190), (payload, length)
    teslamate.api_recovers()
    after = run(teslamate, minutes(10))
    assert "battery_level" in values(after)
    assert [m.payload for m in after if key(m) == "healthy"][-1] == b"true"


def test_outage_of_one_car_ends_by_itself_and_leaves_the_other_alone() -> None:
    cars = [SimulatedCar(number, "Blue", (Phase(State.ASLEEP, hours(9)),)) for number in (1, 2)]
    teslamate = settled(*cars)
    teslamate.api_outage(1, minutes(20))
    messages = run(teslamate, hours(1))
    payloads = {number: {m.payload for m in messages if f"/cars/{number}/" in m.topic} for number in (1, 2)}
    assert payloads == {1: {b"true", b"false"}, 2: {b"true"}}
    late = [m.payload for m in messages if m.at > START + minutes(36) and "/cars/1/" in m.topic]
    assert set(late) == {b"true"}


def test_suspended_car_does_not_notice_an_outage() -> None:
    teslamate = settled(for_ever(State.SUSPENDED))
    teslamate.api_outage()
    assert run(teslamate, hours(1)) == []


def test_rate_limit_is_one_summary_then_silence() -> None:
    teslamate = settled(for_ever(State.DRIVING))
    teslamate.rate_limited(1, 300)
    assert len(beats(run(teslamate, seconds(0)))) == 1
    teslamate.force(1, State.CHARGING)
    assert run(teslamate, seconds(299)) == []
    assert ("state", b"charging") in told(run(teslamate, seconds(1)))
    assert len(beats(run(teslamate, minutes(5)))) >= 4


def test_what_waits_for_a_moment_does_not_look_for_ever_just_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sum of seconds that passes a power of two is not rounded as the same moment is: the demo hung for that."""
    looks = 0
    look = SimulatedTeslaMate._look

    def counted(*arguments: Any) -> None:
        nonlocal looks
        looks += 1
        assert looks < 10_000, "it looks for ever"
        look(*arguments)

    monkeypatch.setattr(SimulatedTeslaMate, "_look", counted)
    for step in range(20):
        teslamate = settled(for_ever(State.ONLINE))
        run(teslamate, START + timedelta(seconds=1024 - 15, microseconds=123_457 * step) - teslamate.now)
        teslamate.rate_limited(1, 30)
        assert beats(run(teslamate, seconds(180))) != []


def test_signed_out_is_one_unhealthy_then_silence() -> None:
    teslamate = settled(for_ever(State.ONLINE))
    teslamate.sign_out()
    assert sorted(told(run(teslamate, hours(5)))) == [("healthy", b"false"), ("state", b"start")]
    teslamate.sign_in()
    assert len(beats(run(teslamate, minutes(10)))) >= 5


FAULTS: list[tuple[Control, Control]] = [
    (lambda tm: tm.rate_limited(1, 30), lambda _: None),
    (lambda tm: tm.api_outage(), lambda tm: tm.api_recovers()),
    (lambda tm: tm.sign_out(), lambda tm: tm.sign_in()),
    (lambda tm: tm.lose_reach(1, seconds(30)), lambda _: None),
    (lambda tm: tm.die(), lambda tm: tm.start_again()),
]


@pytest.mark.parametrize("at", [0.0, 0.5, 20.0])
@pytest.mark.parametrize("fault", range(len(FAULTS)))
def test_every_fault_is_overcome_also_one_during_the_start(fault: int, at: float) -> None:
    teslamate = simulate(for_ever(State.ONLINE))
    messages = run(teslamate, seconds(at))
    begin, end = FAULTS[fault]
    begin(teslamate)
    messages += run(teslamate, minutes(2))
    end(teslamate)
    messages += run(teslamate, minutes(10))
    assert values(messages)["state"] == b"online"
    assert len([at for at in beats(messages) if at > START + minutes(3)]) >= 10


def test_teslamate_before_2_1_0_retains_healthy_and_tells_changes_only() -> None:
    teslamate = simulate(for_ever(State.ONLINE), live=False)
    messages = run(teslamate, hours(5) - seconds(5))
    assert [(m.payload, m.retain) for m in messages if key(m) == "healthy"] == [(b"true", True)]
    teslamate.force(1, State.CHARGING)
    run(teslamate, minutes(1))
    teslamate.api_outage()
    flaps = [(m.payload, m.retain) for m in run(teslamate, minutes(12)) if key(m) == "healthy"]
    assert flaps == [(b"false", True), (b"true", True), (b"false", True)]


# -- the clock


def test_same_seed_same_publications_in_steps_of_any_size() -> None:
    cars = [SimulatedCar(number, f"Car {number}") for number in (1, 2)]
    whole = run(simulate(*cars, seed=4), timedelta(days=1))
    stepped = simulate(*cars, seed=4)
    assert [message for _ in range(24 * 12) for message in run(stepped, minutes(5))] == whole
    assert run(simulate(*cars, seed=5), timedelta(days=1)) != whole
    alone = run(simulate(cars[0], seed=4), timedelta(days=1))
    assert alone == [message for message in whole if "/cars/1/" in message.topic]


def test_next_due_tells_when_to_ask_again() -> None:
    teslamate = simulate(for_ever(State.ASLEEP))
    assert teslamate.next_due() == START
    run(teslamate, seconds(0))
    due = teslamate.next_due()
    assert due is not None
    assert list(teslamate.until(due - timedelta(milliseconds=1))) == []
    assert list(teslamate.until(due)) != []
    assert SimulatedTeslaMate((), START).next_due() is None


@pytest.mark.slow
def test_week_of_twenty_cars_just_runs() -> None:
    cars = [SimulatedCar(number, f"Car {number}", streaming=number % 3 > 0) for number in range(1, 21)]
    last: dict[str, datetime] = {}
    for message in simulate(*cars).until(START + timedelta(days=7)):
        last[message.topic] = message.at
    assert sum(topic.endswith("/healthy") for topic in last) == 20
    assert min(last[f"teslamate/cars/{car.car_id}/healthy"] for car in cars) > START + timedelta(days=6)
