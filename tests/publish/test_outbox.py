"""Which messages are due: the newest of every topic, and what clears those that are gone."""

from tests.publish.scene import AT, EXPIRES, car_topics, state, view
from tmsync.core.causes import Cause
from tmsync.core.errors import Problem
from tmsync.core.publish.outbox import WORDING_S, Message, Outbox
from tmsync.core.publish.topics import Layout
from tmsync.core.status.report import Part, RatedProblem, Severity
from tmsync.core.telemetry.health import Judgement, Thresholds, Verdict

LAYOUT = Layout("tmsync", "homeassistant")
DISCOVERY = "homeassistant/device/tmsync_1/config"
GONE_CAR = set(car_topics(2))


def drained(outbox: Outbox, now: float = 0.0, *, acknowledge: bool = True) -> dict[str, str]:
    """Everything that is due, without the long payload of Home Assistant's."""
    found = {}
    while (message := outbox.next(now)) is not None:
        assert message.topic not in found, "sent twice"
        found[message.topic] = "..." if message.payload.startswith("{") else message.payload
        if acknowledge:
            outbox.acknowledged(message)
    return found


def started(*known: str) -> Outbox:
    outbox = Outbox(LAYOUT, known)
    outbox.connected()
    return outbox


def test_online_comes_last_and_once_for_each_connection() -> None:
    outbox = started()
    assert drained(outbox) == {}
    outbox.update(state(), 0)
    assert list(drained(outbox))[-1] == "tmsync/status"
    outbox.update(state(in_sync=False), 1)
    assert drained(outbox) == {"tmsync/token/in_sync": "false"}
    outbox.connected()
    assert list(drained(outbox))[-1] == "tmsync/status"


def test_topics_are_written_down_before_they_are_sent() -> None:
    outbox = started()
    outbox.update(state(), 0)
    assert outbox.published == {*car_topics(1), "tmsync/status", "tmsync/problems", "tmsync/token/expires_at",
                                "tmsync/token/in_sync"}  # fmt: skip


def test_a_broker_that_comes_back_empty_gets_everything_again() -> None:
    outbox = started()
    outbox.update(state(), 0)
    first = drained(outbox)
    outbox.connected()
    assert drained(outbox) == first


def test_only_the_newest_payload_of_a_topic_is_sent() -> None:
    outbox = started()
    for verdict in (Verdict.FRESH, Verdict.LATE, Verdict.STALE):
        outbox.update(state(view(verdict=verdict)), 0)
    assert drained(outbox)["tmsync/cars/1/verdict"] == "stale"


def test_a_car_that_goes_is_cleared_with_what_home_assistant_knows_of_it() -> None:
    outbox = started()
    outbox.update(state(view(1), view(2)), 0)
    drained(outbox)
    outbox.update(state(view(1)), 1)
    found = drained(outbox)
    assert found == dict.fromkeys(GONE_CAR, "")
    assert next(iter(found)) == "homeassistant/device/tmsync_2/config"
    assert outbox.published & GONE_CAR == set()


def test_clearing_is_tried_again_until_the_broker_has_it() -> None:
    outbox = started(*GONE_CAR)
    outbox.update(state(), 0)
    drained(outbox, acknowledge=False)
    assert outbox.published >= GONE_CAR
    outbox.connected()
    assert drained(outbox).items() >= dict.fromkeys(GONE_CAR, "").items()


def test_earlier_run_s_words_do_not_hold_until_the_car_is_seen() -> None:
    outbox = started(*GONE_CAR, "old/status")
    outbox.update(state(settled=False), 0)
    found = {topic: text for topic, text in drained(outbox).items() if topic in GONE_CAR or topic.startswith("old")}
    assert found == {
        "tmsync/cars/2/verdict": "waiting",
        "tmsync/cars/2/source": "undecided",
        "tmsync/cars/2/reason": "tmsync has just started, and has not seen the car yet",
        "tmsync/cars/2/trusted": "false",
    }
    outbox.update(state(), 1)
    assert drained(outbox) == {**dict.fromkeys(GONE_CAR, ""), "old/status": ""}


def test_what_is_not_of_this_namespace_waits_to_be_cleared() -> None:
    others = ["tmsync/garage/cars/2/verdict", "old/cars/2/verdict", "tmsync/cars/two/verdict"]
    outbox = started(*others)
    outbox.update(state(settled=False), 0)
    assert drained(outbox).keys().isdisjoint(others)
    outbox.update(state(), 1)
    assert drained(outbox) == dict.fromkeys(others, "")


def test_last_heartbeat_of_an_earlier_run_stays_until_there_is_a_newer_one() -> None:
    outbox = started(*car_topics(1))
    outbox.update(state(view(last_heartbeat_at=None)), 0)
    assert "tmsync/cars/1/last_heartbeat_at" not in drained(outbox)
    outbox.update(state(view(last_heartbeat_at=AT)), 1)
    assert drained(outbox) == {"tmsync/cars/1/last_heartbeat_at": "2026-11-29T12:00:00Z"}


def test_another_namespace_clears_the_former_one_s() -> None:
    outbox = started()
    outbox.update(state(), 0)
    drained(outbox)
    outbox.update(state(view(namespace="garage"), namespace="garage"), 1)
    found = drained(outbox)
    assert {topic for topic, text in found.items() if not text} == set(car_topics(1))
    assert {topic for topic, text in found.items() if text} == set(car_topics(1, "garage"))


def test_token_that_is_no_longer_known_is_cleared() -> None:
    outbox = started()
    outbox.update(state(token_expires_at=EXPIRES, in_sync=True), 0)
    drained(outbox)
    outbox.update(state(token_expires_at=None, in_sync=None), 1)
    assert drained(outbox) == {"tmsync/token/expires_at": "", "tmsync/token/in_sync": ""}


def test_a_span_that_grows_in_a_reason_is_no_news_for_a_minute() -> None:
    def silent(seconds: int, verdict: Verdict = Verdict.LATE) -> Outbox:
        judgement = Judgement(verdict, f"no heartbeat for {seconds} s", Thresholds(100, 360), None)
        outbox.update(state(view(judgement=judgement)), seconds)
        return outbox

    outbox = started()
    drained(silent(100), 100)
    assert drained(silent(101), 101) == {}
    assert drained(silent(99 + int(WORDING_S)), 99 + WORDING_S) == {}
    assert drained(silent(160), 160) == {"tmsync/cars/1/reason": "no heartbeat for 160 s"}
    assert drained(silent(161, Verdict.STALE), 161)["tmsync/cars/1/reason"] == "no heartbeat for 161 s"


def test_problems_are_news_when_others_hold() -> None:
    def rated(words: str, cause: Cause = Cause.STALE) -> RatedProblem:
        return RatedProblem(Severity.CRITICAL, Part.VEHICLES, Problem(cause, words), (1,))

    outbox = started()
    outbox.update(state(problems=[rated("Blue: silent for 6 min")]), 0)
    assert drained(outbox)["tmsync/problems"].startswith('[{"severity": "critical", "cause": "stale"')
    outbox.update(state(problems=[rated("Blue: silent for 7 min")]), 1)
    assert drained(outbox, 1) == {}
    outbox.update(state(problems=[rated("Blue: unhealthy", Cause.UNHEALTHY)]), 2)
    assert list(drained(outbox, 2)) == ["tmsync/problems"]


def test_home_assistant_gets_its_payload_again_when_it_comes_back() -> None:
    outbox = started()
    outbox.update(state(), 0)
    drained(outbox)
    outbox.again([DISCOVERY, "homeassistant/device/tmsync_9/config"])
    assert drained(outbox) == {DISCOVERY: "..."}


def test_home_assistant_waits_for_a_name_while_there_may_be_one_to_come() -> None:
    outbox = started()
    nameless = view(name="car 1", names=())
    outbox.update(state(nameless, settled=False), 0)
    assert DISCOVERY not in drained(outbox)
    outbox.update(state(nameless), 1)
    assert drained(outbox) == {DISCOVERY: "..."}


def test_values_are_sent_once_the_newest_and_not_kept_for_another_connection() -> None:
    outbox = started()
    outbox.repeat({"tmsync/cars/1/battery_level": "63", "tmsync/cars/1/odometer": "12.5"})
    outbox.repeat({"tmsync/cars/1/battery_level": "64"})
    assert outbox.values(1) == [Message("tmsync/cars/1/battery_level", "64")]
    assert outbox.values(5) == [Message("tmsync/cars/1/odometer", "12.5")]
    assert outbox.values(5) == []
    assert outbox.published == set()
    outbox.repeat({"tmsync/cars/1/battery_level": "65"})
    outbox.connected()
    assert outbox.values(5) == []


def test_what_was_cleared_is_said_again_when_it_is_known_again() -> None:
    outbox = started()
    outbox.update(state(in_sync=True), 0)
    drained(outbox)
    outbox.update(state(in_sync=None), 1)
    drained(outbox)
    outbox.update(state(in_sync=True), 2)
    assert drained(outbox) == {"tmsync/token/in_sync": "true"}


def test_a_car_that_comes_back_while_it_is_being_cleared_stays() -> None:
    outbox = started()
    outbox.update(state(view(1), view(2)), 0)
    drained(outbox)
    outbox.update(state(view(1)), 1)
    under_way = [message for _ in GONE_CAR if (message := outbox.next(1)) is not None]
    outbox.update(state(view(1), view(2)), 2)
    for message in under_way:
        outbox.acknowledged(message)
    assert drained(outbox).keys() == GONE_CAR
    assert outbox.published >= GONE_CAR
