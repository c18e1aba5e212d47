"""Short forms of `make soak` and `make soak-watch`, and that the judge of verdicts is no rubber stamp."""

import pytest

from tests.soak import serve, watch
from tests.soak.oracle import Diary, Span
from tests.support.brokers import needs_mosquitto

AT = 1000.0
SPEED = 20.0


@pytest.mark.slow
@needs_mosquitto
@pytest.mark.parametrize(("witness", "to_tesla"), [(True, 8), (False, 20)])
def test_every_trouble_once_without_a_wrong_verdict_a_missed_transition_or_growth(witness: bool, to_tesla: int) -> None:
    found = watch.soak(cars=60, speed=40, duration=48, cycle=48, witness=witness)
    assert found.problems() == []
    assert set(found.done) == {
        "restart_broker", "cut", "restart_postgres", "die", "start_again", "api_outage", "api_recovers"
    }  # fmt: skip
    # A third called themselves unhealthy. TeslaMate was dead for 480 s of its own, longer than most states may be
    # silent: where its sessions were seen in the minute before they still vouch for it.
    assert found.told["TeslaAPI"] > to_tesla
    assert found.told["TeslaMate"] > 60
    assert {"waiting", "fresh", "late", "quiet", "unhealthy"} <= set(found.verdicts)
    assert witness or "stale" in found.verdicts


@pytest.mark.slow
@needs_mosquitto
def test_every_trouble_once_without_a_wrong_answer_a_needless_call_or_a_lost_command() -> None:
    found = serve.soak(cars=60, speed=40, duration=36, cycle=36, witness=False)
    assert found.problems() == []
    assert set(found.done) == {what for _, what in serve.PLAN}
    assert found.answers["by teslamate"] > 200
    assert found.answers["by tesla"] > 200
    assert sum(found.commands.values()) > 5
    assert {"waiting", "fresh", "late", "quiet", "unhealthy"} <= set(found.verdicts)


def diary(state: str, silence: float, *, witness: bool = False) -> Diary:
    """A car that sent heartbeats every second until `silence` seconds before AT."""
    made = Diary(SPEED, witness=witness)
    made.note("teslamate/cars/1/state", state.encode(), True, AT - 200)
    for number in range(int(200 - silence) + 1):
        made.note("teslamate/cars/1/healthy", b"true", False, AT - 200 + number)
    return made


@pytest.mark.parametrize(
    ("state", "silence", "allowed"),
    [
        ("online", 1, {"fresh"}),
        ("online", 7, {"fresh", "late"}),
        ("online", 12, {"late"}),
        ("online", 18, {"late", "stale"}),
        ("online", 30, {"stale"}),
        ("driving", 30, {"late"}),
        ("driving", 60, {"stale"}),
        ("suspended", 100, {"quiet"}),
    ],
)
def test_silence_allows_what_the_contract_says(state: str, silence: float, allowed: set[str]) -> None:
    assert diary(state, silence).allowed(1, AT) == allowed


def test_a_witness_may_tell_and_after_two_questions_must() -> None:
    seen = diary("suspended", 150, witness=True)
    seen.deaths.append(Span(AT - 50))
    assert seen.allowed(1, AT) == {"quiet", "stale"}
    seen.deaths[0].begin = AT - 140
    assert seen.allowed(1, AT) == {"stale"}
    seen.deaths[0].end = AT - 70
    assert seen.allowed(1, AT) == {"quiet"}
    seen.deaths[0] = Span(AT - 140)
    seen.database_downs.append(Span(AT - 150, AT - 145))
    assert seen.allowed(1, AT) == {"quiet", "stale"}
    vouched = diary("online", 30, witness=True)
    assert vouched.allowed(1, AT) == {"late", "stale"}
    vouched.deaths.append(Span(AT - 140))
    assert vouched.allowed(1, AT) == {"stale"}


def test_unhealthy_holds_until_it_has_been_better_for_long_enough() -> None:
    ill = diary("online", 8)
    ill.note("teslamate/cars/1/healthy", b"false", False, AT - 7)
    assert ill.allowed(1, AT) == {"unhealthy"}
    ill.note("teslamate/cars/1/healthy", b"true", False, AT - 6)
    assert ill.allowed(1, AT - 2.5) == {"unhealthy"}
    assert "fresh" in ill.allowed(1, AT)


def told(*states: tuple[str, float]) -> Diary:
    """A car that sent heartbeats every second until it said the second of `states`; each so long before AT."""
    made = diary(states[0][0], states[1][1])
    for state, before in states[1:]:
        made.note("teslamate/cars/1/state", state.encode(), True, AT - before)
    return made


@pytest.mark.parametrize("state", ["start", "unavailable"])
def test_without_data_the_verdict_before_holds_for_two_minutes_then_it_is_blind(state: str) -> None:
    assert told(("online", 200), (state, 100)).allowed(1, AT) == {"fresh"}
    assert told(("online", 200), (state, 119)).allowed(1, AT) == {"fresh"}
    assert told(("online", 200), (state, 121)).allowed(1, AT) == {"fresh", "blind"}
    assert told(("online", 200), (state, 125)).allowed(1, AT) == {"blind"}
    assert told(("online", 200), ("start", 125), ("unavailable", 60)).allowed(1, AT) == {"blind"}


def test_without_data_it_stays_late_stale_or_waiting_and_may_become_unhealthy() -> None:
    late = diary("online", 44)
    late.note("teslamate/cars/1/state", b"start", True, AT - 30)
    assert late.allowed(1, AT) == {"late"}
    late.deaths.append(Span(AT - 31, AT - 29))
    late.witness = True
    assert late.allowed(1, AT) == {"late", "stale"}
    first = Diary(SPEED, witness=False)
    first.note("teslamate/cars/1/state", b"start", True, AT - 30)
    assert first.allowed(1, AT) == {"waiting"}
    first.note("teslamate/cars/1/healthy", b"false", False, AT - 5)
    assert first.allowed(1, AT) == {"unhealthy"}


def test_blind_holds_until_there_was_data_for_long_enough() -> None:
    seeing = told(("online", 200), ("start", 150), ("online", 3))
    seeing.note("teslamate/cars/1/healthy", b"true", False, AT - 3)
    assert "blind" in seeing.allowed(1, AT)
    assert "blind" not in seeing.allowed(1, AT + 8)
    short = told(("online", 200), ("start", 100), ("online", 3))
    assert "blind" not in short.allowed(1, AT)


def test_what_is_sent_while_the_network_is_cut_may_never_arrive() -> None:
    cut = diary("online", 1)
    assert cut.allowed(1, AT) == {"fresh"}
    cut.cuts.append(Span(AT - 12, AT - 1))
    assert cut.allowed(1, AT) == {"fresh", "late"}


def test_a_process_trusts_nobody_before_it_has_heard_something_live() -> None:
    dead = diary("online", 10)
    dead.restarts.append(AT - 5)
    assert dead.allowed(1, AT) == {"waiting"}
    dead.note("teslamate/cars/1/healthy", b"true", False, AT - 4.5)
    assert dead.allowed(1, AT) == {"fresh"}
    ill = diary("online", 8)
    ill.note("teslamate/cars/1/healthy", b"false", False, AT - 7)
    ill.restarts.append(AT - 6)
    ill.note("teslamate/cars/1/healthy", b"true", False, AT - 5)
    assert ill.allowed(1, AT) == {"fresh"}


def test_a_drive_in_a_dead_zone_may_be_silent_for_as_long_as_a_drive() -> None:
    drive = told(("driving", 200), ("offline", 30))
    assert drive.allowed(1, AT) == {"late", "stale"}
    assert diary("offline", 30, witness=True).allowed(1, AT) == {"late", "stale"}


def test_a_heartbeat_lost_in_a_cut_is_not_the_newest_that_surely_came() -> None:
    cut = diary("online", 20)
    assert cut.newest_beat(1, AT, AT)[0] == AT - 20
    cut.note("teslamate/cars/1/healthy", b"true", False, AT - 10)
    assert cut.newest_beat(1, AT, AT) == (AT - 10, AT - 8)
    cut.cuts.append(Span(AT - 11, AT - 9))
    assert cut.newest_beat(1, AT, AT)[0] == AT - 20
