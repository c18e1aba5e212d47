"""What TeslaMate said last, and what only looks like it: nothing older is answered."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.serve.stage import BEGIN, DATA, ONLINE, STATE, Stage, staged


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staged() as found:
        yield found


def broker_restarts(stage: Stage, **retained: str) -> None:
    """It comes back with what it saved, and TeslaMate goes on with heartbeats."""
    stage.fleet.lost(stage.running)
    stage.wait(2)
    stage.fleet.connected(stage.running)
    for key, value in retained.items():
        stage.fleet.message(f"teslamate/cars/1/{key}", value.encode(), stage.running, retained=True)
    stage.says()


def test_values_that_a_killed_broker_restores_are_not_believed_until_they_come_live(stage: Stage) -> None:
    stage.says(charging_state="Stopped", charge_limit_soc="90")
    broker_restarts(stage, **ONLINE)
    assert stage.ask(DATA).source == "tesla"
    stage.says(charging_state="Disconnected")
    assert stage.ask(DATA).source == "tesla", "the limit is still the one that was saved"
    stage.says(charge_limit_soc="80")
    assert stage.ask(DATA).source == "teslamate"


def test_a_place_that_a_killed_broker_restores_is_not_believed(stage: Stage) -> None:
    stage.says(latitude="48.1")
    broker_restarts(stage, **ONLINE)
    assert stage.ask(DATA).source == "tesla", "the car was at home when the broker was saved"
    stage.says(latitude="48.1")
    assert stage.ask(DATA).source == "teslamate"


def test_a_state_that_changed_while_the_broker_was_away_is_believed_once_the_database_says_the_same(
    stage: Stage,
) -> None:
    stage.record = stage.record._replace(state="asleep", state_since=BEGIN)
    stage.read_database()
    broker_restarts(stage, **ONLINE | {"state": "asleep"})
    assert stage.ask(STATE).source == "tesla", "what the database said before may be as old"
    stage.wait(1)
    stage.read_database()
    assert stage.ask(STATE).document["response"]["state"] == "asleep"
    assert stage.ask(STATE).source == "teslamate"


def test_values_that_outlived_the_broker_unchanged_are_believed(stage: Stage) -> None:
    broker_restarts(stage, **ONLINE)
    assert stage.ask(DATA).source == "teslamate"


def test_a_state_that_the_database_contradicts_is_not_believed_however_often_the_heart_beats(stage: Stage) -> None:
    stage.says(since="2026-11-24T16:00:00Z")
    for seconds, source in ((100, "teslamate"), (130, "tesla")):
        begun = BEGIN + timedelta(seconds=stage.running - 1000 - seconds)
        stage.record = stage.record._replace(state="charging", state_since=begun)
        stage.read_database()
        assert (stage.ask(STATE).source, stage.ask(DATA).source) == (source, source)
    stage.says(since="2026-11-24T18:00:00Z")
    assert stage.ask(STATE).source == "teslamate", "the state began after the record, which was never closed"
