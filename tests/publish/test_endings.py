"""What others learn when tmsync dies, hangs, or is cut off; and when the broker wants nothing from it."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.conftest import server_folder
from tests.faults.proxy import proxy
from tests.publish.scene import Listener, listening, publishing, settings, state, until, view
from tests.support.brokers import Broker, broker, needs_mosquitto
from tmsync.core.causes import Cause
from tmsync.core.telemetry.health import Verdict
from tmsync.demo.broker import PurePythonBroker

pytestmark = needs_mosquitto

KEEPALIVE_S = 2
SLACK_S = 6.0
"""Mosquitto before 2.0.19 looks for clients that are silent every 5 seconds only."""


PASSWORDS = {"tmsync": "secret", "other": "secret"}
LOGIN = {"TMSYNC_MQTT_USERNAME": "tmsync", "TMSYNC_MQTT_PASSWORD": "secret"}
WRITES_NOTHING = "user tmsync\ntopic read teslamate/#\nuser other\ntopic readwrite #\n"
HANGS_UP: list[str] = []
"""PrivateMosquitto sets max_queued_messages to 0; there Mosquitto before 2.1 hangs up on a client that it refuses."""
GOES_ON = ["max_queued_messages 1000"]


@pytest.fixture(scope="module")
def mosquitto() -> Iterator[Broker]:
    with broker() as found:
        yield found


@contextmanager
def process(port: int, folder: Path, heard: Listener) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that publishes, from the moment that it is online."""
    command = [sys.executable, "-m", "tests.publish.process", str(port), str(folder), str(KEEPALIVE_S)]
    found = subprocess.Popen(command)
    try:
        until(lambda: heard.retained.get("tmsync/status") == "online")
        yield found
    finally:
        found.send_signal(signal.SIGCONT)
        found.kill()
        found.wait()
        until(lambda: heard.retained["tmsync/status"] == "offline")


def seconds_to_offline(heard: Listener) -> float:
    begun = time.monotonic()
    until(lambda: heard.retained["tmsync/status"] == "offline")
    return time.monotonic() - begun


def test_killed_it_is_offline_at_once(mosquitto: Broker, tmp_path: Path) -> None:
    with listening(mosquitto.port, "tmsync/status") as heard, process(mosquitto.port, tmp_path, heard) as one:
        one.send_signal(signal.SIGKILL)
        assert seconds_to_offline(heard) < 0.5


@pytest.mark.slow
def test_stopped_it_is_offline_within_one_and_a_half_keepalives_and_online_when_it_goes_on(
    mosquitto: Broker, tmp_path: Path
) -> None:
    with listening(mosquitto.port, "tmsync/status") as heard, process(mosquitto.port, tmp_path, heard) as one:
        one.send_signal(signal.SIGSTOP)
        assert seconds_to_offline(heard) < 1.5 * KEEPALIVE_S + SLACK_S
        one.send_signal(signal.SIGCONT)
        until(lambda: heard.retained["tmsync/status"] == "online")


@pytest.mark.slow
def test_cut_off_it_is_offline_within_one_and_a_half_keepalives_and_online_when_it_is_back(
    mosquitto: Broker, tmp_path: Path
) -> None:
    with (
        listening(mosquitto.port, "tmsync/status") as heard,
        proxy(mosquitto.port) as network,
        process(network.port, tmp_path, heard),
    ):
        network.dark = True
        assert seconds_to_offline(heard) < 1.5 * KEEPALIVE_S + SLACK_S
        network.dark = False
        until(lambda: heard.retained["tmsync/status"] == "online")


def test_network_that_goes_holds_up_nobody_who_hands_in_states(mosquitto: Broker, tmp_path: Path) -> None:
    with (
        listening(mosquitto.port, "tmsync/cars/1/+") as heard,
        proxy(mosquitto.port) as network,
        publishing(settings(network.port, tmp_path), keepalive_s=KEEPALIVE_S) as (publisher, _),
    ):
        publisher.update(state())
        until(lambda: heard.retained.get("tmsync/cars/1/verdict") == "fresh")
        network.dark = True
        begun = time.monotonic()
        for verdict in [Verdict.LATE, Verdict.STALE] * 1000:
            publisher.update(state(view(verdict=verdict)))
        assert time.monotonic() - begun < KEEPALIVE_S
        publisher.update(state(view(verdict=Verdict.BLIND)))
        network.dark = False
        until(lambda: heard.retained["tmsync/cars/1/verdict"] == "blind")


@pytest.mark.slow
def test_last_will_of_a_run_that_hangs_does_not_outlive_the_next_run_s_beginning(
    mosquitto: Broker, tmp_path: Path
) -> None:
    with listening(mosquitto.port, "tmsync/status") as heard, process(mosquitto.port, tmp_path, heard) as one:
        one.send_signal(signal.SIGSTOP)
        with publishing(settings(mosquitto.port, tmp_path)) as (publisher, _):
            publisher.update(state())
            until(lambda: [text for _, text, _ in heard.heard][-2:] == ["offline", "online"])
            time.sleep(1.5 * KEEPALIVE_S + SLACK_S)
            assert heard.retained["tmsync/status"] == "online"
            one.kill()


@pytest.mark.parametrize("extra", [GOES_ON, HANGS_UP], ids=["goes on", "hangs up"])
def test_broker_that_refuses_publishing_is_told_once_and_all_is_said_when_it_allows_it(
    extra: list[str], tmp_path: Path
) -> None:
    with ExitStack() as stack:
        mosquitto = stack.enter_context(broker(passwords=PASSWORDS, publisher="other", acl=WRITES_NOTHING, extra=extra))
        publisher, problems = stack.enter_context(publishing(settings(mosquitto.port, tmp_path, **LOGIN)))
        for verdict in (Verdict.FRESH, Verdict.LATE, Verdict.STALE, Verdict.FRESH):
            publisher.update(state(view(verdict=verdict)))
            time.sleep(0.4)
        topics = "homeassistant/device/+/config and tmsync/#" if extra == GOES_ON else "tmsync/#"
        message = f"the broker at 127.0.0.1 port {mosquitto.port} takes nothing that is published in {topics}"
        message += ": its access list must let user tmsync write there"
        told = [[(found.cause, found.message) for found in at_once] for at_once in problems]
        assert told == [[(Cause.NOT_AUTHORISED, message)]]
        mosquitto.publisher.close()
        allowed = problems[-1][0].fix[0].command
        mosquitto.server.acl = f"{allowed}\ntopic write homeassistant/#\n{WRITES_NOTHING}"
        mosquitto.server.restart()
        until(lambda: problems[-1] == ())
        with listening(mosquitto.port, user=("other", "secret")) as heard:
            until(lambda: heard.retained.get("tmsync/status") == "online")
            assert heard.retained["tmsync/cars/1/verdict"] == "fresh"


@pytest.mark.slow
def test_broker_that_speaks_mqtt_3_1_1_alone_is_spoken_to_so(tmp_path: Path) -> None:
    with (
        server_folder() as folder,
        PurePythonBroker(folder) as amqtt,
        listening(amqtt.port, "tmsync/#") as heard,
        publishing(settings(amqtt.port, tmp_path, TMSYNC_PUBLISH_VALUES="true")) as (publisher, problems),
    ):
        publisher.update(state())
        until(lambda: heard.retained.get("tmsync/status") == "online")
        assert heard.retained["tmsync/cars/1/verdict"] == "fresh"
        until(lambda: heard.retained.get("tmsync/cars/1/battery_level") == "63")
        assert problems == []


def test_state_folder_that_cannot_be_used_is_told_and_publishing_goes_on(mosquitto: Broker, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        listening(mosquitto.port) as heard,
        publishing(settings(mosquitto.port, tmp_path / "file")) as (publisher, problems),
    ):
        publisher.update(state())
        until(lambda: heard.retained.get("tmsync/status") == "online")
        assert [[found.cause for found in told] for told in problems] == [[Cause.STATE_UNUSABLE]]
