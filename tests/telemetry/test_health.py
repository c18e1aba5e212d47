"""Every verdict, from facts alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.telemetry.following import default_rules
from tmsync.core.telemetry.health import (
    NO_EVIDENCE,
    SOURCES,
    Evidence,
    Judgement,
    Recorded,
    Source,
    Thresholds,
    Verdict,
)
from tmsync.core.telemetry.judging import BROKER_PATIENCE_S, judge
from tmsync.core.telemetry.vehicle import Facts

RULES = default_rules()
ALIVE = Evidence(alive_at=900.0, words=("TeslaMate's database sessions are there",))
GONE = Evidence(gone_at=990.0, words=("TeslaMate's database sessions are gone",))
SILENT_STATES = ("suspended", "updating", "start", "unavailable", "brand-new")


def facts(state: str | None, silence: float = 5, *, heard: bool = True, **more: object) -> Facts:
    at = 1000.0 - silence
    base = Facts(state, at, at if heard else None, healthy=None, healthy_since=None, legacy=False)
    return base._replace(**more)


def verdict(found: Facts, evidence: Evidence = NO_EVIDENCE, polling: int | None = None) -> Judgement:
    return judge(found, 1000.0, RULES, evidence, Recorded(polling))


@pytest.mark.parametrize(
    ("state", "late", "stale"),
    [
        ("online", 140, 360),
        ("charging", 100, 360),
        ("driving", 95, 960),
        ("asleep", 110, 360),
        ("offline", 110, 360),
    ],
)
def test_silence_in_states_with_a_heartbeat(state: str, late: int, stale: int) -> None:
    expected = [(0, Verdict.FRESH), (late - 0.1, Verdict.FRESH), (late, Verdict.LATE), (stale - 0.1, Verdict.LATE)]
    for silence, wanted in [*expected, (stale, Verdict.STALE), (1e6, Verdict.STALE)]:
        found = verdict(facts(state, silence))
        assert found.verdict is wanted, silence
        assert found.thresholds == Thresholds(late, stale)
        assert found.source is (Source.TESLA_API if wanted is Verdict.STALE else Source.TESLAMATE)
    assert verdict(facts(state, 420 + stale)).reason == f"no heartbeat for {(420 + stale) // 60} min while {state}"


@pytest.mark.parametrize("state", SILENT_STATES)
def test_silence_that_proves_nothing(state: str | None) -> None:
    for silence in (0.0, 1e5):
        assert verdict(facts(state, silence)).verdict is Verdict.QUIET
    assert verdict(facts(state, heard=False)).verdict is Verdict.WAITING
    assert verdict(facts(state, heard=False), ALIVE).verdict is Verdict.QUIET
    gone = verdict(facts(state, 600), GONE)
    assert gone.verdict is Verdict.STALE
    assert gone.reason.endswith("; TeslaMate's database sessions are gone")
    assert gone.reason.startswith("no heartbeat for 10 min")
    assert verdict(facts(state, heard=False), GONE).verdict is Verdict.STALE


def test_a_heartbeat_newer_than_the_witness_refutes_it() -> None:
    assert verdict(facts("suspended", 5), GONE).verdict is Verdict.QUIET
    assert verdict(facts("suspended", 50), GONE._replace(alive_at=995.0)).verdict is Verdict.QUIET


def test_a_witness_does_not_overrule_heartbeats_on_time_but_shortens_silence() -> None:
    assert verdict(facts("charging", 20), GONE).verdict is Verdict.FRESH
    assert verdict(facts("charging", 120), GONE).verdict is Verdict.STALE
    assert verdict(facts("charging", 120), ALIVE).verdict is Verdict.LATE
    assert verdict(facts("charging", 400), ALIVE).verdict is Verdict.STALE


def test_retained_values_alone_are_waited_for() -> None:
    assert verdict(facts("online", 300, heard=False)).verdict is Verdict.WAITING
    assert verdict(facts("online", 360, heard=False)).verdict is Verdict.STALE
    assert verdict(facts("online", 300, heard=False)).source is Source.UNDECIDED
    assert verdict(facts("online", 10, heard=False), GONE).verdict is Verdict.WAITING


def test_suspended_and_polled_has_the_polls_pace() -> None:
    for silence, wanted in ((1339, Verdict.FRESH), (1340, Verdict.LATE), (1559, Verdict.LATE), (1560, Verdict.STALE)):
        assert verdict(facts("suspended", silence), polling=21).verdict is wanted
    configured = RULES._replace(by_state={**RULES.by_state, "suspended": Thresholds(10, 20)})
    assert judge(facts("suspended", 15), 1000.0, configured, recorded=Recorded(21)).verdict is Verdict.LATE


def test_an_older_teslamate_is_quiet_while_asleep_offline_or_suspended() -> None:
    for state in ("asleep", "offline", "suspended"):
        assert verdict(facts(state, 1e5, legacy=True)).verdict is Verdict.QUIET
    assert verdict(facts("charging", 400, legacy=True)).verdict is Verdict.STALE


def test_unhealthy_until_it_was_healthy_long_enough() -> None:
    assert verdict(facts("online", healthy=False)).verdict is Verdict.UNHEALTHY
    assert verdict(facts("suspended", 1e5, healthy=False)).verdict is Verdict.UNHEALTHY
    assert verdict(facts("online", healthy=True, healthy_since=881.0)).verdict is Verdict.UNHEALTHY
    assert verdict(facts("online", healthy=True, healthy_since=880.0)).verdict is Verdict.FRESH
    assert verdict(facts("online", 360, healthy=False)).verdict is Verdict.STALE


def test_a_lost_broker_is_a_witness_after_a_minute() -> None:
    lost = Evidence(broker_lost_at=1000.0 - BROKER_PATIENCE_S)
    assert verdict(facts("suspended", 500), lost).reason == "the broker has been lost for 1 min"
    assert verdict(facts("suspended", 500), lost._replace(broker_lost_at=950.0)).verdict is Verdict.QUIET
    assert verdict(facts("online", 50), lost).verdict is Verdict.FRESH
    assert verdict(facts("online", 141), lost).verdict is Verdict.STALE
    assert verdict(facts("online", 400), lost).reason.endswith("; the broker is lost") is False


def test_a_restart_of_the_broker_takes_no_witness_away() -> None:
    vouched = ALIVE._replace(sessions=True)
    assert verdict(facts("online", 500), vouched).verdict is Verdict.LATE
    lost = vouched._replace(broker_lost_at=1000.0 - BROKER_PATIENCE_S + 1)
    assert verdict(facts("online", 500), lost).verdict is Verdict.LATE
    assert verdict(facts("online", 500), lost._replace(broker_lost_at=900.0)).verdict is Verdict.STALE


def test_long_sleep_with_a_living_teslamate_is_explained() -> None:
    found = verdict(facts("asleep", 400), ALIVE)
    assert found.verdict is Verdict.STALE
    assert "POLLING_ASLEEP_INTERVAL" in found.reason


NUMBERS = st.floats(0, 1e7, allow_nan=False)
STATES = st.sampled_from([*RULES.by_state, "odd", None])


@given(
    state=STATES,
    silence=NUMBERS,
    heard=st.booleans(),
    healthy=st.sampled_from([True, False, None]),
    since=st.none() | NUMBERS,
    legacy=st.booleans(),
    alive=st.none() | NUMBERS,
    gone=st.none() | NUMBERS,
    lost=st.none() | NUMBERS,
    polling=st.none() | st.integers(12, 90),
)
def test_a_judgement_holds_until_it_says_it_may_change(  # noqa: PLR0917 - a parameter per fact
    state: str | None,
    silence: float,
    heard: bool,
    healthy: bool | None,
    since: float | None,
    legacy: bool,
    alive: float | None,
    gone: float | None,
    lost: float | None,
    polling: int | None,
) -> None:
    now = 1e7
    anchor = now - silence
    told = Facts(state, anchor, anchor if heard else None, healthy, since if healthy else None, legacy)
    evidence = Evidence(alive, gone, ("words",), lost)
    found = judge(told, now, RULES, evidence, Recorded(polling))
    assert found.source is SOURCES[found.verdict]
    assert found.reason
    last = now + 1e6 if found.change_at is None else found.change_at
    assert last > now
    for moment in (now + (last - now) / 2, last - min(1e-3, (last - now) / 2)):
        assert judge(told, moment, RULES, evidence, Recorded(polling)).verdict is found.verdict
