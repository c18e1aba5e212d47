"""A short form of `make soak`, and that its judge is no rubber stamp."""

import pytest

from tests.soak.oracle import Diary, Span
from tests.soak.run import soak
from tests.support.brokers import needs_mosquitto

AT = 1000.0
SPEED = 20.0


@pytest.mark.slow
@needs_mosquitto
def test_every_trouble_once_without_a_wrong_verdict_a_missed_transition_or_growth() -> None:
    found = soak(cars=60, speed=40, duration=36, cycle=36)
    assert found.problems() == []
    assert set(found.done) == {
        "restart_broker", "cut", "restart_postgres", "die", "start_again", "api_outage", "api_recovers"
    }  # fmt: skip
    # They died while most of them are heard of in seconds, and came back; a third called themselves unhealthy.
    assert found.told["TeslaAPI"] > 20
    assert found.told["TeslaMate"] > 60
    assert set(found.verdicts) == {"waiting", "fresh", "late", "quiet", "stale", "unhealthy"}


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


def test_unhealthy_holds_until_it_has_been_better_for_long_enough() -> None:
    ill = diary("online", 8)
    ill.note("teslamate/cars/1/healthy", b"false", False, AT - 7)
    assert ill.allowed(1, AT) == {"unhealthy"}
    ill.note("teslamate/cars/1/healthy", b"true", False, AT - 6)
    assert ill.allowed(1, AT - 2.5) == {"unhealthy"}
    assert "fresh" in ill.allowed(1, AT)


def test_what_is_sent_while_the_network_is_cut_may_never_arrive() -> None:
    cut = diary("online", 1)
    assert cut.allowed(1, AT) == {"fresh"}
    cut.cuts.append(Span(AT - 12, AT - 1))
    assert cut.allowed(1, AT) == {"fresh", "late"}
