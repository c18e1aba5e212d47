"""`tmsync serve --unpublish`: nothing is left, of this run, of earlier ones, and of Home Assistant's devices."""

from pathlib import Path

import pytest

from tests.publish.scene import held, listening, publishing, settings, state, until, view
from tests.publish.test_endings import LOGIN, PASSWORDS
from tests.support.brokers import broker, needs_mosquitto
from tmsync.core.causes import Cause
from tmsync.core.clock import SystemClock
from tmsync.core.errors import BrokerError
from tmsync.core.publish.unpublish import unpublish
from tmsync.demo.server import free_port

pytestmark = needs_mosquitto

STRANGERS = {
    "teslamate/cars/1/state": "online",
    "homeassistant/device/teslamate_1/config": '{"origin": {"name": "TeslaMate"}, "availability": []}',
    "homeassistant/device/tmsync_7/config": '{"origin": {"name": "tmsync"}, "availability": [{"topic": "b/status"}]}',
    "homeassistant/device/odd/config": "[",
    "tmsync2/status": "online",
}


def test_nothing_is_left_but_what_is_others(tmp_path: Path) -> None:
    with broker() as mosquitto, listening(mosquitto.port) as heard:
        for topic, text in STRANGERS.items():
            mosquitto.publisher.send(topic, text, retain=True)
        mosquitto.publisher.send("tmsync/cars/9/verdict", "fresh", retain=True)
        for prefix in ("former", "tmsync"):
            with publishing(settings(mosquitto.port, tmp_path, TMSYNC_PUBLISH_PREFIX=prefix)) as (publisher, _):
                publisher.update(state(view(1), view(2, namespace="garage"), settled=False))
                until(lambda prefix=prefix: heard.retained.get(f"{prefix}/status") == "online")
        done = unpublish(settings(mosquitto.port, tmp_path), SystemClock())
        assert held(mosquitto.port) == STRANGERS
        assert done.warning is None
        assert done.message == "17 topics cleared; nothing is left below tmsync/"
        again = unpublish(settings(mosquitto.port, tmp_path), SystemClock())
        assert (again.topics, again.warning) == ((), None)
        assert again.message == "0 topics cleared; nothing is left below tmsync/"


def test_a_run_that_publishes_meanwhile_is_told(tmp_path: Path) -> None:
    with broker() as mosquitto, listening(mosquitto.port) as heard:
        with publishing(settings(mosquitto.port, tmp_path)) as (publisher, _):
            publisher.update(state())
            until(lambda: heard.retained.get("tmsync/status") == "online")
            done = unpublish(settings(mosquitto.port, tmp_path), SystemClock())
        assert done.warning is not None
        assert done.warning.cause is Cause.LOCKED


def test_broker_that_lets_nothing_be_cleared_is_an_error(tmp_path: Path) -> None:
    acl = "user tmsync\ntopic read #\nuser other\ntopic readwrite #\n"
    extra = ["max_queued_messages 1000"]
    with broker(passwords=PASSWORDS, publisher="other", acl=acl, extra=extra) as mosquitto:
        mosquitto.publisher.send("tmsync/status", "offline", retain=True)
        with pytest.raises(BrokerError) as raised:
            unpublish(settings(mosquitto.port, tmp_path, **LOGIN), SystemClock())
        assert raised.value.problem.cause is Cause.NOT_AUTHORISED
        assert "tmsync/#" in raised.value.problem.message


def test_broker_out_of_reach_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BrokerError) as raised:
        unpublish(settings(free_port(), tmp_path), SystemClock())
    assert raised.value.problem.cause is Cause.REFUSED
