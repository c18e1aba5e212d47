"""What a fleet makes of messages: states without data, dead zones, remnants of an older TeslaMate, names."""

import re

import pytest
from rich.console import Console

from tests.telemetry.following import BEGIN, Followed, car
from tmsync.core.causes import Cause
from tmsync.core.clock import Instant
from tmsync.core.telemetry.health import Evidence, Verdict
from tmsync.core.telemetry.liveness import LivenessReport
from tmsync.core.teslamate.records import CarRecord
from tmsync.render.watch import once_table


def test_what_the_broker_may_have_lost_is_no_longer_told(followed: Followed) -> None:
    followed.says(state="driving", shift_state="D", battery_level="63", retained=True)
    followed.says(shift_state="")
    assert followed.view().told == {"state", "shift_state", "battery_level"}
    followed.fleet.lost(1.0)
    assert followed.view().told == frozenset()
    followed.fleet.connected(2.0)
    followed.says(state="driving", battery_level="no number")
    assert followed.view().told == {"state"}
    assert followed.view().telemetry["battery_level"] == 63, "the last that could be read"


def test_a_look_at_a_vehicle_hides_no_change_of_source(followed: Followed) -> None:
    followed.says(display_name="Blue", state="online", healthy="true")
    followed.at += 361
    assert followed.verdict() is Verdict.STALE
    view = followed.fleet.view(1, followed.now)
    assert view is not None
    assert view.judgement.verdict is Verdict.STALE
    followed.look()
    assert followed.told[-1] == "Data from TeslaMate for Blue is stale. Switching back to TeslaAPI"


def test_one_vehicle_is_seen_as_among_all(followed: Followed) -> None:
    followed.says(7, state="online", healthy="true")
    assert followed.fleet.view(7, followed.now) == followed.view(7)
    assert followed.fleet.view(8, followed.now) is None


@pytest.mark.parametrize("state", ["start", "unavailable"])
def test_a_teslamate_without_data_is_not_trusted_for_longer_than_two_minutes(followed: Followed, state: str) -> None:
    followed.says(display_name="Blue", state="online", healthy="true")
    assert followed.verdict() is Verdict.FRESH
    followed.says(state=state)
    followed.wait(119, heartbeat=30)
    assert followed.verdict() is Verdict.FRESH
    followed.wait(2, heartbeat=1)
    assert followed.verdict() is Verdict.BLIND
    assert followed.view().judgement.cause is Cause.BLIND
    assert followed.told[-1] == "TeslaMate gets no data of Blue from Tesla. Switching back to TeslaAPI"
    followed.says(state="online", healthy="true")
    followed.wait(119, heartbeat=30)
    assert followed.verdict() is Verdict.BLIND
    followed.wait(31, heartbeat=30)
    assert followed.verdict() is Verdict.FRESH
    assert followed.told[-1] == "Vehicle Blue telemetry has resumed being provided by TeslaMate"


def test_a_state_without_data_from_the_beginning_is_waited_for(followed: Followed) -> None:
    followed.says(display_name="Blue", state="start", healthy="true")
    followed.wait(60, heartbeat=30)
    assert followed.verdict() is Verdict.WAITING
    followed.wait(61, heartbeat=30)
    assert followed.verdict() is Verdict.BLIND


def test_the_ten_seconds_of_a_single_failure_change_nothing(followed: Followed) -> None:
    followed.says(display_name="Blue", state="online", healthy="true")
    followed.says(state="start")
    followed.wait(10)
    followed.says(state="asleep", healthy="true")
    assert followed.verdict() is Verdict.FRESH
    assert len(followed.told) == 1


def test_the_empty_healthy_at_teslamates_start_is_no_heartbeat(followed: Followed) -> None:
    followed.says(retained=True, display_name="Blue", state="asleep")
    followed.says(healthy="")
    assert followed.verdict() is Verdict.WAITING
    followed.wait(361)
    assert followed.verdict() is Verdict.STALE


def test_offline_in_a_drive_is_a_dead_zone_of_fifteen_minutes(followed: Followed) -> None:
    followed.says(display_name="Blue", state="driving", healthy="true")
    followed.says(state="offline", healthy="true")
    followed.wait(900)
    assert followed.verdict() in (Verdict.LATE, Verdict.FRESH)
    followed.wait(61)
    assert followed.verdict() is Verdict.STALE
    followed.says(state="asleep", healthy="true")
    followed.says(state="offline", healthy="true")
    followed.wait(361)
    assert followed.verdict() is Verdict.STALE


@pytest.mark.parametrize(("recorded", "stale"), [("driving", False), ("offline", True)])
def test_a_dead_zone_that_nobody_saw_begin_is_known_by_the_open_drive(
    followed: Followed, recorded: str, stale: bool
) -> None:
    record = CarRecord(1, "Blue", None, None, True, True, BEGIN, recorded, BEGIN)
    followed.says(retained=True, display_name="Blue", state="offline", since="2026-11-24T17:00:00Z")
    followed.fleet.hear(LivenessReport(cars={1: record}, database_at=BEGIN))
    followed.wait(500)
    assert (followed.verdict() is Verdict.STALE) is stale


def test_living_sessions_vouch_for_ten_minutes_of_silence_at_most(followed: Followed) -> None:
    followed.says(display_name="Blue", state="asleep", healthy="true")
    followed.wait(400)
    followed.fleet.hear(LivenessReport(Evidence(400.0), sessions=True))
    followed.look()
    assert followed.verdict() is Verdict.LATE
    followed.wait(200.9)
    assert followed.verdict() is Verdict.LATE
    followed.wait(0.2)
    assert followed.verdict() is Verdict.STALE


def test_a_state_that_the_broker_lost_is_taken_from_the_records(followed: Followed) -> None:
    followed.says(healthy="true")
    followed.fleet.hear(LivenessReport(cars={1: car(state="charging", state_since=BEGIN)}, database_at=BEGIN))
    followed.wait(101)
    assert followed.verdict() is Verdict.LATE
    followed.wait(260)
    assert followed.verdict() is Verdict.STALE
    assert "while charging by its records" in followed.view().judgement.reason


def test_a_recorded_online_may_be_suspended(followed: Followed) -> None:
    followed.says(healthy="true")
    followed.fleet.hear(LivenessReport(cars={1: car(state="online", state_since=BEGIN)}, database_at=BEGIN))
    followed.wait(10_000)
    assert followed.verdict() is Verdict.QUIET
    gone = Evidence(gone_at=10_000.0, words=("gone",))
    followed.fleet.hear(LivenessReport(gone, {1: car(state="online")}, sessions=False, database_at=BEGIN))
    followed.look()
    assert followed.verdict() is Verdict.STALE


def test_without_records_a_lost_state_has_the_widest_thresholds(followed: Followed) -> None:
    followed.says(healthy="true")
    followed.wait(600, heartbeat=600)
    followed.wait(1199)
    assert followed.verdict() is Verdict.LATE
    followed.wait(2)
    assert followed.verdict() is Verdict.STALE


def test_a_remnant_of_an_older_teslamate_is_no_witness_of_its_age(followed: Followed) -> None:
    followed.says(1, retained=True, display_name="Old", state="asleep", healthy="true")
    followed.says(2, retained=True, display_name="New", state="asleep")
    followed.wait(361, heartbeat=30, car_id=2)
    assert (followed.verdict(1), followed.verdict(2)) == (Verdict.STALE, Verdict.FRESH)


@pytest.mark.parametrize(("level", "verdict"), [(20250407155134, Verdict.QUIET), (20250613133700, Verdict.STALE)])
def test_the_schema_tells_how_old_teslamate_is(followed: Followed, level: int, verdict: Verdict) -> None:
    """Whether an older one starts while nothing was retained, or a newer one left a retained `healthy` behind."""
    followed.fleet.hear(LivenessReport(schema_level=level))
    followed.says(1, display_name="Blue", state="asleep", healthy="true")
    followed.says(2, retained=True, display_name="Red", state="asleep", healthy="true")
    followed.says(2, battery_level="60")
    followed.wait(361)
    assert (followed.verdict(1), followed.verdict(2)) == (verdict, verdict)


def test_an_older_teslamate_that_says_healthy_again_at_its_start_is_still_older(followed: Followed) -> None:
    followed.says(1, retained=True, display_name="Blue", state="asleep", healthy="true")
    followed.says(1, healthy="true")
    followed.wait(5)
    followed.says(1, healthy="true")
    followed.wait(4000)
    assert followed.verdict() is Verdict.QUIET


def test_a_change_of_source_carries_the_name_whatever_comes_first(followed: Followed) -> None:
    followed.says(healthy="true")
    assert followed.told == []
    followed.at = 0.01
    followed.says(state="online")
    assert followed.told == []
    followed.says(display_name="Blue")
    assert followed.told == ["Vehicle Blue telemetry being provided by TeslaMate"]


def test_a_car_without_a_name_has_that_of_the_database_and_is_told_after_half_a_second(followed: Followed) -> None:
    record = CarRecord(1, "Blue", None, None, True, True, BEGIN)
    followed.fleet.hear(LivenessReport(cars={1: record}, database_at=BEGIN))
    followed.says(state="online", healthy="true")
    assert followed.told == []
    followed.wait(0.6)
    assert followed.told == ["Vehicle Blue telemetry being provided by TeslaMate"]
    assert not followed.view().name_is_made_up


def test_silence_is_never_negative(followed: Followed) -> None:
    """A message may come between a look at the clock and the look at the vehicles."""
    followed.at = 10.0
    followed.says(display_name="Blue", state="online", healthy="true")
    (view,) = followed.fleet.views(Instant(BEGIN, 9.99))
    assert view.silence_s == 0


@pytest.mark.parametrize(
    ("states", "shown"),
    [(("online", "offline"), "offline 1 h"), (("driving", "offline"), "offline"), (("start",), "start")],
)
def test_an_age_is_shown_only_of_a_state_whose_beginning_teslamate_tells(
    followed: Followed, states: tuple[str, ...], shown: str
) -> None:
    for state in states:
        followed.says(display_name="Blue", since="2026-11-24T17:00:00Z", state=state, healthy="true")
    _, row, *_ = once_table([followed.view()], Console(width=120), BEGIN).splitlines()
    assert re.split(r"\s{2,}", row)[1] == shown
