"""What stands on a real broker: every topic, and nothing that is out of date."""

import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tests.publish.scene import AT, Listener, car_topics, held, listening, publishing, settings, state, until, view
from tests.reference.pages import ROOT
from tests.support.brokers import Broker, broker, needs_mosquitto
from tests.support.surroundings import TeslaMate
from tmsync.core.publish.publisher import Publisher
from tmsync.core.telemetry.health import SOURCES, Verdict

pytestmark = needs_mosquitto

DISCOVERY = "homeassistant/device/tmsync_1/config"
ONE_CAR = {
    "tmsync/status": "online",
    "tmsync/cars/1/verdict": "fresh",
    "tmsync/cars/1/source": "TeslaMate",
    "tmsync/cars/1/reason": "fresh, as it seems",
    "tmsync/cars/1/trusted": "true",
    "tmsync/cars/1/last_heartbeat_at": "2026-11-29T12:00:00Z",
    "tmsync/token/expires_at": "2026-11-29T20:00:00Z",
    "tmsync/token/in_sync": "true",
    "tmsync/problems": "[]",
}


@pytest.fixture(scope="module")
def open_broker() -> Iterator[Broker]:
    with broker() as found:
        yield found


@pytest.fixture
def mosquitto(open_broker: Broker) -> Iterator[Broker]:
    yield open_broker
    for topic in held(open_broker.port):
        open_broker.publisher.send(topic, b"", retain=True)


@contextmanager
def online(mosquitto: Broker, folder: Path, heard: Listener, **environ: str) -> Iterator[Publisher]:
    """A publisher that has said everything about one fresh car; offline after that."""
    status = f"{environ.get('TMSYNC_PUBLISH_PREFIX', 'tmsync')}/status"
    with publishing(settings(mosquitto.port, folder, **environ)) as (publisher, _):
        publisher.update(state())
        until(lambda: heard.retained.get(status) == "online")
        yield publisher
    if heard.client.is_connected():
        until(lambda: heard.retained[status] == "offline")


def test_retained_topics_are_those_of_the_documentation(mosquitto: Broker, tmp_path: Path) -> None:
    with listening(mosquitto.port) as heard, online(mosquitto, tmp_path, heard):
        found = held(mosquitto.port)
        discovery = found.pop(DISCOVERY)
        assert found == ONE_CAR
        assert '"identifiers": ["teslamate_car_1"]' in discovery
    assert held(mosquitto.port) == {**ONE_CAR, "tmsync/status": "offline", DISCOVERY: discovery}


def test_documentation_lists_every_topic() -> None:
    page = (ROOT / "docs" / "reference" / "topics.md").read_text().partition("# Topics of tmsync's")[2]
    documented = re.findall(r"(?m)^\| `([^`]+)` \|", page)
    assert [topic.replace("ID", "1") for topic in documented] == [*ONE_CAR, DISCOVERY]


def test_nothing_is_said_before_there_is_something_to_say(mosquitto: Broker, tmp_path: Path) -> None:
    with listening(mosquitto.port) as heard, publishing(settings(mosquitto.port, tmp_path)) as (publisher, _):
        until(lambda: publisher._connection._accepted)
        time.sleep(0.3)
        assert heard.heard == []


def test_every_change_arrives_and_nothing_twice(mosquitto: Broker, tmp_path: Path) -> None:
    with listening(mosquitto.port, "tmsync/#") as heard, online(mosquitto, tmp_path, heard) as publisher:
        seen = len(heard.heard)
        stale = state(view(verdict=Verdict.STALE), in_sync=False)
        for _ in range(3):
            publisher.update(stale)
        until(lambda: heard.retained["tmsync/cars/1/trusted"] == "false")
        publisher.update(stale._replace(in_sync=None))
        until(lambda: "tmsync/token/in_sync" not in heard.retained)
        assert sorted(heard.heard[seen:]) == [
            ("tmsync/cars/1/reason", "stale, as it seems", False),
            ("tmsync/cars/1/source", "TeslaAPI", False),
            ("tmsync/cars/1/trusted", "false", False),
            ("tmsync/cars/1/verdict", "stale", False),
            ("tmsync/token/in_sync", "", False),
            ("tmsync/token/in_sync", "false", False),
        ]


def test_newest_state_arrives_whatever_came_before(mosquitto: Broker, tmp_path: Path) -> None:
    with listening(mosquitto.port, "tmsync/#") as heard, online(mosquitto, tmp_path, heard) as publisher:
        for number in range(20_000):
            publisher.update(state(view(verdict=Verdict.LATE if number % 2 else Verdict.STALE)))
        publisher.update(state(view(verdict=Verdict.BLIND)))
        until(lambda: heard.retained["tmsync/cars/1/verdict"] == "blind")
        assert len(heard.heard) < 500


def test_every_topic_of_200_cars_ends_at_its_newest_state(mosquitto: Broker, tmp_path: Path) -> None:
    draw = random.Random(200)
    verdicts: dict[int, Verdict] = {}
    with listening(mosquitto.port, "tmsync/#") as heard, online(mosquitto, tmp_path, heard) as publisher:
        for step in range(200):
            verdicts = {car_id: draw.choice(list(Verdict)) for car_id in range(1, 201)}
            seen = [view(car_id, verdict, last_heartbeat_at=AT + timedelta(seconds=step))
                    for car_id, verdict in verdicts.items()]  # fmt: skip
            publisher.update(state(*seen))
        newest = {f"tmsync/cars/{car_id}/last_heartbeat_at": "2026-11-29T12:03:19Z" for car_id in verdicts}
        for car_id, verdict in verdicts.items():
            newest[f"tmsync/cars/{car_id}/verdict"] = verdict.value
            newest[f"tmsync/cars/{car_id}/source"] = SOURCES[verdict].value
        until(lambda: newest.items() <= heard.retained.items())


def test_car_that_goes_leaves_nothing(mosquitto: Broker, tmp_path: Path) -> None:
    with listening(mosquitto.port) as heard, online(mosquitto, tmp_path, heard) as publisher:
        publisher.update(state(view(1), view(2)))
        until(lambda: set(heard.retained) >= set(car_topics(2)))
        publisher.update(state(view(2)))
        until(lambda: not set(heard.retained) & set(car_topics(1)))
        assert set(held(mosquitto.port)) & set(car_topics(1)) == set()


def test_another_prefix_leaves_nothing_of_the_former_one(mosquitto: Broker, tmp_path: Path) -> None:
    with listening(mosquitto.port) as heard:
        with online(mosquitto, tmp_path, heard):
            pass
        with online(mosquitto, tmp_path, heard, TMSYNC_PUBLISH_PREFIX="solar/tesla"):
            until(lambda: not any(topic.startswith("tmsync/") for topic in heard.retained))
            found = held(mosquitto.port)
    assert found.pop(DISCOVERY).count("solar/tesla/") == 8
    assert found == {topic.replace("tmsync", "solar/tesla"): text for topic, text in ONE_CAR.items()}


def test_restart_says_what_an_earlier_run_knew_only_where_it_still_holds(mosquitto: Broker, tmp_path: Path) -> None:
    with listening(mosquitto.port) as heard:
        with online(mosquitto, tmp_path, heard):
            pass
        with publishing(settings(mosquitto.port, tmp_path)) as (publisher, _):
            publisher.update(state(settled=False)._replace(vehicles=()))
            until(lambda: heard.retained["tmsync/status"] == "online")
            assert heard.retained["tmsync/cars/1/trusted"] == "false"
            assert heard.retained["tmsync/cars/1/verdict"] == "waiting"
            assert heard.retained["tmsync/cars/1/last_heartbeat_at"] == "2026-11-29T12:00:00Z"
            publisher.update(state()._replace(vehicles=()))
            until(lambda: not set(heard.retained) & set(car_topics(1)))


def test_broker_that_restarts_without_persistence_gets_everything_again(tmp_path: Path) -> None:
    with broker() as mosquitto:
        with listening(mosquitto.port) as heard, online(mosquitto, tmp_path, heard):
            before = held(mosquitto.port)
            heard.close()
            mosquitto.publisher.close()
            mosquitto.server.restart()
            assert not held(mosquitto.port).keys() & ONE_CAR.keys()
            until(lambda: held(mosquitto.port) == before)
        assert before["tmsync/status"] == "online"


def test_home_assistant_is_told_again_when_it_starts(mosquitto: Broker, tmp_path: Path) -> None:
    with listening(mosquitto.port, "homeassistant/device/#") as devices, listening(mosquitto.port) as heard:
        with online(mosquitto, tmp_path, heard):
            assert len(devices.heard) == 1
            mosquitto.publisher.send("homeassistant/status", "online", retain=False)
            until(lambda: len(devices.heard) == 2)
            mosquitto.publisher.send("homeassistant/status", "offline", retain=False)
            time.sleep(0.3)
        assert [topic for topic, _, _ in devices.heard] == [DISCOVERY] * 2
        assert devices.heard[0] == devices.heard[1]


def test_values_come_with_every_heartbeat_and_are_not_retained(mosquitto: Broker, tmp_path: Path) -> None:
    values = {"battery_level": "63", "display_name": "Blue", "plugged_in": "true", "state": "charging"}

    def levels() -> list[str]:
        return [text for topic, text, _ in heard.heard if topic == "tmsync/cars/1/battery_level"]

    with (
        listening(mosquitto.port) as heard,
        online(mosquitto, tmp_path, heard, TMSYNC_PUBLISH_VALUES="true") as publisher,
    ):
        until(lambda: levels() == ["63"])
        publisher.update(state(view(last_heartbeat_at=AT + timedelta(seconds=20))))
        until(lambda: levels() == ["63", "63"])
        later = AT + timedelta(seconds=40)
        publisher.update(state(view(verdict=Verdict.UNHEALTHY, last_heartbeat_at=later)))
        until(lambda: heard.retained["tmsync/cars/1/trusted"] == "false")
        time.sleep(0.3)
        assert levels() == ["63", "63"]
        for key, text in values.items():
            assert [told for topic, told, _ in heard.heard if topic == f"tmsync/cars/1/{key}"] == [text] * 2
        assert not {f"tmsync/cars/1/{key}" for key in values} & set(held(mosquitto.port))


def test_values_that_the_broker_has_lost_come_from_the_database(
    mosquitto: Broker, teslamate: TeslaMate, tmp_path: Path
) -> None:
    teslamate.sql(
        "insert into public.car_settings (id) values (1); insert into public.cars (id, eid, vid, vin, name, model,"
        " settings_id) values (1, 1, 1, 'V1', 'Blue', '3', 1)"
    )
    lost = view(telemetry={"healthy": True, "battery_level": 63})
    environ = {name: text for name, text in teslamate.environ().items() if name.startswith("TMSYNC_DATABASE_")}
    try:
        with (
            listening(mosquitto.port, "tmsync/#") as heard,
            online(mosquitto, tmp_path, heard, TMSYNC_PUBLISH_VALUES="true", **environ) as publisher,
        ):
            publisher.update(state(lost))
            until(lambda: publisher._recorded is not None and publisher._recorded.values)
            publisher.update(state(lost._replace(last_heartbeat_at=AT + timedelta(seconds=20))))
            until(lambda: ("tmsync/cars/1/model", "3", False) in heard.heard)
    finally:
        teslamate.sql("delete from public.cars; delete from public.car_settings")


def test_values_are_sent_one_by_one_where_paho_cannot_send_several(mosquitto: Broker, tmp_path: Path) -> None:
    class OtherPaho:
        def __init__(self) -> None:
            self.sent: list[tuple[str, str]] = []

        def publish(self, topic: str, payload: str) -> None:
            self.sent.append((topic, payload))

    other = OtherPaho()
    with publishing(settings(mosquitto.port, tmp_path)) as (publisher, _):
        publisher._outbox.repeat({"tmsync/cars/1/state": "online", "tmsync/cars/1/odometer": "12.5"})
        assert publisher._connection._send_values(other)  # type: ignore[arg-type]
    assert other.sent == [("tmsync/cars/1/state", "online"), ("tmsync/cars/1/odometer", "12.5")]


@pytest.mark.parametrize("length", [1, 90, 110, 200, 4096, 20_000])
def test_values_of_any_length_arrive(mosquitto: Broker, tmp_path: Path, length: int) -> None:
    """The length is told in one, two or three bytes."""
    with listening(mosquitto.port, "tmsync/#") as heard, online(mosquitto, tmp_path, heard) as publisher:
        publisher._outbox.repeat({"tmsync/cars/1/location": "é" * length, "tmsync/cars/1/state": "online"})
        until(lambda: ("tmsync/cars/1/state", "online", False) in heard.heard)
        assert ("tmsync/cars/1/location", "é" * length, False) in heard.heard
