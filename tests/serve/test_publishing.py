"""What tmsync serve publishes, from the message of TeslaMate's to the topic."""

import json
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.publish.scene import listening, until
from tests.publish.test_endings import GOES_ON, LOGIN, PASSWORDS, WRITES_NOTHING
from tests.serve.service import Serving, serving
from tests.support.brokers import BLUE, broker, needs_mosquitto
from tests.support.surroundings import clean_environ, tmsync
from tmsync.core.errors import TmsyncError
from tmsync.core.serve import alone
from tmsync.core.telemetry.connection import KEEPALIVE_S
from tmsync.demo.server import free_port

pytestmark = needs_mosquitto


def environ(port: int, folder: Path, **more: str) -> dict[str, str]:
    known = {"TMSYNC_MQTT_HOST": "127.0.0.1", "TMSYNC_MQTT_PORT": str(port), "TMSYNC_SERVE_STATE_DIR": str(folder),
             "TMSYNC_PUBLISH_ENABLED": "true"}  # fmt: skip
    return known | more


def test_serve_publishes_what_teslamate_says_and_whether_to_trust_it(tmp_path: Path) -> None:
    options = environ(0, tmp_path, TMSYNC_PUBLISH_VALUES="true", TMSYNC_HEALTH_STALE_AFTER_CHARGING="2")
    with broker() as mosquitto, listening(mosquitto.port, "tmsync/#") as heard:
        mosquitto.publisher.car(**BLUE)
        with serving(options | {"TMSYNC_MQTT_PORT": str(mosquitto.port)}):
            until(lambda: heard.retained.get("tmsync/cars/1/trusted") == "false")
            until(lambda: heard.retained.get("tmsync/cars/1/verdict") == "waiting")
            assert "tmsync/cars/1/battery_level" not in heard.retained
            mosquitto.publisher.healthy()
            until(lambda: heard.retained["tmsync/cars/1/trusted"] == "true")
            until(lambda: heard.retained.get("tmsync/cars/1/battery_level") == "63")
            assert heard.retained["tmsync/status"] == "online"
            until(lambda: heard.retained["tmsync/cars/1/source"] == "TeslaAPI")
            until(lambda: "stale" in [found["cause"] for found in json.loads(heard.retained["tmsync/problems"])])
        until(lambda: heard.retained["tmsync/status"] == "offline")


def test_broker_that_refuses_publishing_is_told_once_and_the_judging_goes_on(tmp_path: Path) -> None:
    with broker(passwords=PASSWORDS, publisher="other", acl=WRITES_NOTHING, extra=GOES_ON) as mosquitto:
        mosquitto.publisher.car(**BLUE)
        with serving(environ(mosquitto.port, tmp_path, **LOGIN)) as serve:
            raised = serve.problem("not-authorised")
            assert (raised["severity"], raised["part"]) == ("warning", "broker")
            mosquitto.publisher.healthy()
            serve.until(lambda event: event["to"] == "TeslaMate", "source")
            mosquitto.publisher.healthy("false")
            serve.until(lambda event: event["to"] == "TeslaAPI", "source")
            told = [event.fields["cause"] for event in serve.events if event.kind == "problem"]
            assert told.count("not-authorised") == 1
            serve.reload(TMSYNC_PUBLISH_ENABLED="false")
            serve.problem("not-authorised", "cleared")


def test_serve_never_subscribes_to_its_own_prefix(tmp_path: Path) -> None:
    with broker(extra=["log_type all"]) as mosquitto:
        mosquitto.publisher.car(**BLUE)
        with serving(environ(mosquitto.port, tmp_path)):
            until(lambda: "'tmsync/status'" in mosquitto.server.log_file.read_text())
        log = mosquitto.server.log_file.read_text()
        subscribed = set(re.findall(r"(?m)^\S+ \t(\S+) \(QoS", log))
        assert subscribed == {"teslamate/cars/+/+", "homeassistant/status"}


def test_a_broker_that_comes_late_makes_no_car_look_gone(tmp_path: Path) -> None:
    with broker(persistence=True) as mosquitto:
        options = environ(mosquitto.port, tmp_path)
        mosquitto.publisher.car(**BLUE)
        with serving(options), listening(mosquitto.port) as heard:
            until(lambda: heard.retained.get("tmsync/cars/1/verdict") == "waiting")
        mosquitto.publisher.close()
        mosquitto.server.stop()
        with serving(options) as serve:
            serve.until(lambda event: event["state"] == "disconnected", "broker")
            mosquitto.server.start()
            with listening(mosquitto.port) as heard:
                until(lambda: heard.retained.get("tmsync/status") == "online")
                assert [topic for topic, text, _ in heard.heard if not text] == []


def test_second_serve_in_the_same_folder_ends_and_disturbs_the_first_in_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alone, "PATIENCE_S", 0.3)
    with broker() as mosquitto, listening(mosquitto.port, "tmsync/status") as heard:
        with serving(environ(mosquitto.port, tmp_path)) as first:
            until(lambda: heard.retained.get("tmsync/status") == "online")
            second = Serving(environ(mosquitto.port, tmp_path))
            second._thread.join(20)
            assert isinstance(second.error, TmsyncError)
            assert (second.error.exit_code, second.error.problem.cause, second.error.problem.message) == (
                1, "locked", f"another tmsync serve has used {tmp_path} for 0.3 s",
            )  # fmt: skip
            # One that is told to use it from now on stays where it is.
            with serving(environ(mosquitto.port, tmp_path / "other", TMSYNC_PUBLISH_PREFIX="other")) as third:
                third.environ["TMSYNC_SERVE_STATE_DIR"] = str(tmp_path)
                third.service.ask_reload()
                kept = third.until(lambda event: event["state"] == "kept", "serve")
                assert str(tmp_path) in kept["message"]
            assert "connection-lost" not in [event.fields["cause"] for event in first.events if event.kind == "problem"]
        until(lambda: heard.retained["tmsync/status"] == "offline")
        assert [payload for _, payload, _ in heard.heard] == ["online", "offline"]


def test_serve_waits_for_one_that_is_still_ending(tmp_path: Path) -> None:
    with ExitStack() as first:
        first.enter_context(serving(environ(1, tmp_path)))
        second = Serving(environ(1, tmp_path))
        time.sleep(0.3)
        assert second.events == []
        first.close()
        second.until(lambda event: event["state"] == "ready", "serve")
        second.end()


def test_unpublish_takes_everything_back_from_a_broker_that_is_configured_no_more_as_well(tmp_path: Path) -> None:
    with broker() as mosquitto, listening(mosquitto.port, "tmsync/#", "homeassistant/#") as heard:
        options = environ(mosquitto.port, tmp_path)
        mosquitto.publisher.car(**BLUE)
        with serving(options):
            until(lambda: heard.retained.keys() >= {"tmsync/status", "tmsync/cars/1/verdict"})
        moved, former = environ(free_port(), tmp_path), ("--mqtt-host", "127.0.0.1", "--mqtt-port", str(mosquitto.port))
        done = tmsync("serve", "--unpublish", "--format", "json", *former, environ=moved)
        assert (done.code, done.err) == (0, "")
        event = json.loads(done.out)
        assert (event["event"], event["state"]) == ("serve", "unpublished")
        assert event["message"] == "7 topics cleared; nothing is left below tmsync/"
        assert heard.retained == {}


def test_unpublish_needs_a_broker(tmp_path: Path) -> None:
    done = tmsync("serve", "--unpublish", environ={"TMSYNC_SERVE_STATE_DIR": str(tmp_path)})
    assert done.code == 2
    assert "mqtt.host is not set" in done.err


@pytest.mark.slow
@pytest.mark.parametrize(("how", "most_s"), [(signal.SIGKILL, 1), (signal.SIGSTOP, 1.5 * KEEPALIVE_S + 6)])
def test_a_serve_that_dies_or_hangs_is_offline(how: signal.Signals, most_s: float, tmp_path: Path) -> None:
    """Mosquitto before 2.0.19 looks for clients that are silent every 5 seconds only."""
    with broker() as mosquitto, listening(mosquitto.port, "tmsync/status") as heard:
        command = [sys.executable, "-m", "tmsync", "serve"]
        process = subprocess.Popen(command, env=clean_environ(environ(mosquitto.port, tmp_path)))
        try:
            until(lambda: heard.retained.get("tmsync/status") == "online")
            process.send_signal(how)
            until(lambda: heard.retained["tmsync/status"] == "offline", most_s)
        finally:
            process.kill()
            process.wait()
