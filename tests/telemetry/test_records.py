"""What TeslaMate's records say against, and for, what the broker holds: blindness, a lost link, remnants, waits."""

from datetime import datetime, timedelta

import pytest

from tests.telemetry.following import BEGIN, NOWHERE, Followed, car
from tmsync.core.causes import Cause
from tmsync.core.config.load import load_settings
from tmsync.core.telemetry.health import Evidence, Source, Verdict
from tmsync.core.telemetry.liveness import LivenessReport
from tmsync.core.telemetry.monitor import rules_of
from tmsync.core.telemetry.recorded import contradiction, left_over
from tmsync.core.teslamate.records import CarRecord


def levels(*pairs: tuple[int, int]) -> tuple[tuple[datetime, int], ...]:
    """Minutes before now, and percent."""
    return tuple((BEGIN - timedelta(minutes=minutes), level) for minutes, level in pairs)


@pytest.mark.parametrize(
    ("state", "level", "record", "told"),
    [
        ("asleep", 60, car(state="online", state_since=BEGIN - timedelta(minutes=5)), True),
        ("asleep", 60, car(state="online", state_since=BEGIN - timedelta(seconds=100)), False),
        ("suspended", 60, car(state="online", state_since=BEGIN - timedelta(hours=5)), False),
        ("offline", 60, car(state="driving", state_since=BEGIN - timedelta(hours=5)), False),
        ("charging", 60, car(state="online", state_since=BEGIN - timedelta(minutes=5)), True),
        ("start", 60, car(state="online", state_since=BEGIN - timedelta(minutes=5)), False),
        # The broker has the level of a record before the newest.
        ("online", 60, car(levels=levels((3, 58), (8, 59), (13, 60))), True),
        # It changed just now.
        ("online", 60, car(levels=levels((1, 59), (13, 60))), False),
        # The broker is ahead of the records, which are written every five minutes.
        ("online", 57, car(levels=levels((3, 58), (8, 59))), False),
        ("online", 58, car(levels=levels((3, 58), (8, 59))), False),
        (
            "online",
            None,
            car(
                levels=levels(
                    (3, 58),
                )
            ),
            False,
        ),
        ("online", 60, None, False),
    ],
)
def test_records_contradict_the_broker(state: str, level: int | None, record: CarRecord | None, told: bool) -> None:
    assert bool(contradiction(state, None, level, record, BEGIN)) is told


def test_left_over_by_the_age_of_its_newest_record() -> None:
    old = car(last_record_at=BEGIN - timedelta(days=100))
    cars = {1: old, 2: car(car_id=2)}
    assert left_over(1, "online", cars) == "left over: its newest record is 100 d older than another car's"
    assert left_over(1, "asleep", cars) == left_over(2, "online", cars) == left_over(1, "online", {}) == ""
    assert left_over(3, "asleep", cars) == "left over: TeslaMate's database does not hold this car"


def test_one_that_beats_is_never_left_over(followed: Followed) -> None:
    followed.says(7, display_name="Unknown", state="online", healthy="true")
    followed.fleet.hear(LivenessReport(cars={1: car()}, database_at=BEGIN))
    followed.look()
    assert followed.view(7).judgement.source is Source.TESLAMATE


# -- alive but blind


def still(followed: Followed, seconds: float, *, age_s: float | None = None, heartbeat: float = 30) -> None:
    """Heartbeats go on for so long, and the database is read each minute: nothing new in it, or the newest so old."""
    until = followed.at + seconds
    while followed.at < until:
        followed.wait(min(60.0, until - followed.at), heartbeat=heartbeat)
        newest = BEGIN if age_s is None else followed.now.wall - timedelta(seconds=age_s)
        report = LivenessReport(
            Evidence(followed.at), {1: car(last_record_at=newest)}, sessions=True, database_at=followed.now.wall,
            asked_at=followed.at,
        )  # fmt: skip
        followed.fleet.hear(report)
        followed.look()


@pytest.mark.parametrize(("state", "limit"), [("charging", 900), ("driving", 900), ("online", 1800)])
def test_heartbeats_while_records_and_values_stand_still_are_blind(followed: Followed, state: str, limit: int) -> None:
    followed.says(display_name="Blue", state=state, battery_level="60", healthy="true")
    still(followed, limit - 60)
    # What says nothing of the car itself is no news, and neither is a value that is only said again.
    followed.says(healthy="true", since="2026-11-24T18:29:00Z", battery_level="60")
    still(followed, 59)
    assert followed.verdict() is Verdict.FRESH
    still(followed, 1)
    found = followed.view().judgement
    span = f"{limit // 60} min"
    assert (found.verdict, found.source, found.cause) == (Verdict.BLIND, Source.TESLA_API, Cause.BLIND)
    assert found.reason == (
        f"no value has changed for {span} while {state}; its newest record is {span} old; "
        "TeslaMate gets no data from Tesla"
    )
    assert followed.told[-1] == "TeslaMate gets no data of Blue from Tesla. Switching back to TeslaAPI"


@pytest.mark.parametrize("state", ["asleep", "offline", "suspended", "updating"])
def test_where_nothing_happens_nobody_is_blind(followed: Followed, state: str) -> None:
    followed.says(display_name="Blue", state=state, healthy="true")
    still(followed, 4000)
    assert followed.verdict() in (Verdict.FRESH, Verdict.QUIET)


def test_a_car_that_slept_for_long_is_not_blind_when_it_wakes(followed: Followed) -> None:
    followed.says(display_name="Blue", state="asleep", healthy="true")
    still(followed, 8 * 3600)
    # The values of a burst come in random order, and the records are read once a minute.
    followed.says(state="online")
    assert followed.verdict() is Verdict.FRESH
    still(followed, 1740)
    assert followed.verdict() is Verdict.FRESH
    # A moment without data is no news.
    followed.says(state="start")
    followed.says(state="online")
    still(followed, 60)
    assert followed.verdict() is Verdict.BLIND


def test_new_records_alone_and_new_values_alone_are_enough_to_see(followed: Followed) -> None:
    """After `suspended` no position is recorded for hours; and what is published may not change for as long."""
    followed.says(display_name="Blue", state="online", healthy="true")
    still(followed, 4000, age_s=290)
    assert followed.verdict() is Verdict.FRESH
    for level in range(40, 50):
        followed.says(battery_level=str(level))
        still(followed, 1790)
        assert followed.verdict() is Verdict.FRESH


def test_without_the_database_nobody_is_called_blind(followed: Followed) -> None:
    followed.says(display_name="Blue", state="charging", healthy="true")
    followed.wait(4000, heartbeat=20)
    assert followed.verdict() is Verdict.FRESH


def test_a_database_that_answers_no_more_makes_no_record_older(followed: Followed) -> None:
    followed.says(display_name="Blue", state="charging", healthy="true")
    still(followed, 840)
    followed.wait(4000, heartbeat=20)
    assert followed.verdict() is Verdict.FRESH


def test_silence_goes_before_blindness(followed: Followed) -> None:
    followed.says(display_name="Blue", state="online", healthy="true")
    still(followed, 1800)
    assert followed.verdict() is Verdict.BLIND
    followed.wait(200)
    assert followed.verdict() is Verdict.BLIND
    followed.wait(402)
    assert followed.verdict() is Verdict.STALE


@pytest.mark.parametrize("news", [{"battery_level": "61"}, {"state": "asleep"}])
def test_blindness_is_recovered_from_before_teslamate_is_trusted_again(
    followed: Followed, news: dict[str, str]
) -> None:
    followed.says(display_name="Blue", state="charging", battery_level="60", healthy="true")
    still(followed, 900)
    followed.says(healthy="true", **news)
    followed.wait(119, heartbeat=20)
    assert followed.view().judgement.reason == "data from Tesla again for less than 2 min"
    assert followed.verdict() is Verdict.BLIND
    followed.wait(1)
    assert followed.verdict() is Verdict.FRESH
    assert followed.told[1:] == [
        "TeslaMate gets no data of Blue from Tesla. Switching back to TeslaAPI",
        "Vehicle Blue telemetry has resumed being provided by TeslaMate",
    ]


@pytest.mark.parametrize(("given", "limits"), [("0", (0, 0)), ("300", (300, 300)), (None, (900, 1800))])
def test_blind_after_is_one_setting_for_all_states(given: str | None, limits: tuple[float, float]) -> None:
    environ = NOWHERE if given is None else {**NOWHERE, "TMSYNC_HEALTH_BLIND_AFTER": given}
    rules = rules_of(load_settings(environ=environ))
    assert (rules.blind_after_s["charging"], rules.blind_after_s["online"]) == limits
    assert set(rules.blind_after_s) == {"charging", "driving", "online"}


def test_blind_after_0_is_never(followed: Followed) -> None:
    followed.fleet.rules = followed.fleet.rules._replace(blind_after_s=dict.fromkeys(("charging", "online"), 0))
    followed.says(display_name="Blue", state="charging", healthy="true")
    still(followed, 4000)
    assert followed.verdict() is Verdict.FRESH


# -- alive and silent


def silent(followed: Followed, state: str, seconds: float, *, newest_s: float, record_state: str | None = None) -> None:
    """One heartbeat, then silence, with living sessions; the newest record was made so long after the heartbeat."""
    followed.says(display_name="Blue", state=state, since="2026-11-24T17:00:00Z", battery_level="60", healthy="true")
    record = car(last_record_at=BEGIN + timedelta(seconds=newest_s), state=record_state, state_since=BEGIN)
    for pause in (0, seconds):
        followed.wait(pause)
        evidence = Evidence(followed.at, words=("TeslaMate's database sessions are there",))
        report = LivenessReport(evidence, {1: record}, True, None, followed.now.wall, asked_at=followed.at)
        followed.fleet.hear(report)
        followed.look()


@pytest.mark.parametrize("state", ["online", "charging", "driving"])
def test_a_wait_that_teslas_api_asked_for_is_told_as_that(followed: Followed, state: str) -> None:
    silent(followed, state, 300, newest_s=-20)
    found = followed.view().judgement
    assert found.verdict is Verdict.LATE
    assert found.reason.startswith(
        f"no heartbeat for 5 min while {state}; TeslaMate's database sessions are there; it "
    )
    assert "Tesla's API has told it to wait (HTTP 429, up to 15 min)" in found.reason


def test_the_longest_wait_seen_is_not_stale_while_teslamate_lives(followed: Followed) -> None:
    """Retry-After was 600 s, and the next heartbeat came 600.016 s after the last."""
    silent(followed, "online", 590, newest_s=-20)
    followed.wait(10.016)
    assert followed.verdict() is Verdict.LATE
    followed.says(healthy="true")
    assert followed.told == ["Vehicle Blue telemetry being provided by TeslaMate"]


def test_a_car_awake_by_itself_is_told_as_that_and_not_stale(followed: Followed) -> None:
    silent(followed, "asleep", 510, newest_s=-3600)
    found = followed.view().judgement
    assert found.verdict is Verdict.LATE
    assert found.reason.endswith("the car may have woken by itself, which TeslaMate does not report")


def test_a_witness_is_told_with_its_age(followed: Followed) -> None:
    silent(followed, "online", 300, newest_s=-20)
    followed.wait(50)
    assert "TeslaMate's database sessions are there, 50 s ago;" in followed.view().judgement.reason


def test_records_that_go_on_without_heartbeats_tell_of_a_lost_link(followed: Followed) -> None:
    silent(followed, "charging", 355, newest_s=340)
    assert followed.verdict() is Verdict.LATE
    followed.wait(4.9)
    # Nothing is said of a record that was read just now: what is published with it may be under way.
    assert followed.verdict() is Verdict.LATE
    followed.wait(5.1)
    found = followed.view().judgement
    assert (found.verdict, found.cause) == (Verdict.STALE, Cause.MQTT_LINK_LOST)
    assert found.reason == "TeslaMate does not reach this broker; its newest record is newer than the last heartbeat"


def test_a_lost_link_is_told_where_silence_proves_nothing(followed: Followed) -> None:
    silent(followed, "suspended", 119, newest_s=-20, record_state="driving")
    assert followed.verdict() is Verdict.QUIET
    followed.wait(2)
    followed.says(battery_level="60")
    silent(followed, "suspended", 121, newest_s=-20, record_state="driving")
    assert followed.view().judgement.cause is Cause.MQTT_LINK_LOST
    assert followed.told[-1] == "Data from TeslaMate for Blue is stale. Switching back to TeslaAPI"


def test_a_drive_that_was_never_closed_contradicts_nobody() -> None:
    """TeslaMate was restarted in its midst; the car has been suspended since, and was published as that."""
    record = car(state="driving", state_since=BEGIN - timedelta(hours=2))
    assert contradiction("suspended", BEGIN - timedelta(hours=3), None, record, BEGIN)
    assert not contradiction("suspended", BEGIN - timedelta(hours=1), None, record, BEGIN)
