"""docs/examples, each tried; Home Assistant's in tests/homeassistant."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.publish.scene import AT, car_topics, listening, publishing, settings, state, until, view
from tests.publish.test_endings import GOES_ON
from tests.reference.pages import ROOT, metrics_page
from tests.support.brokers import BLUE, Broker, broker, needs_mosquitto
from tmsync.core.clock import SystemClock
from tmsync.core.publish.unpublish import unpublish
from tmsync.core.telemetry.health import Verdict
from tmsync.core.teslamate.topics import PARSERS, parse_value
from tmsync.core.twcmanager.delivery import Result

EXAMPLES = ROOT / "docs" / "examples"
LOGINS = {"tmsync": "secret", "other": "secret"}


def test_every_example_is_tried_and_told_of() -> None:
    pages = "".join(path.read_text() for path in (ROOT / "docs").rglob("*.md"))
    names = {path.name for path in EXAMPLES.iterdir()}
    assert names == {"home-assistant.yaml", "evcc.yaml", "mosquitto.acl", "prometheus-alerts.yaml"}
    assert {name for name in names if f"examples/{name})" not in pages} == set()


# -- evcc


def sources(part: Any) -> Iterator[dict[str, Any]]:
    """Every plugin `mqtt` in evcc's configuration."""
    if isinstance(part, dict):
        if part.get("source") == "mqtt":
            yield part
        for below in part.values():
            yield from sources(below)


@needs_mosquitto
def test_evcc_hears_every_value_again_and_again_and_none_that_is_not_to_be_trusted(tmp_path: Path) -> None:
    (vehicle,) = yaml.safe_load((EXAMPLES / "evcc.yaml").read_text())["vehicles"]
    found = list(sources(vehicle))
    topics = {source["topic"] for source in found}
    assert {source["timeout"] for source in found} == {"30m"}
    numbers = {key: parse_value(key, b"63" if PARSERS[key].__name__ == "_number" else b"true") for key in (
        "usable_battery_level", "rated_battery_range_km", "odometer", "charge_limit_soc", "is_preconditioning",
        "plugged_in")}  # fmt: skip
    car = view(telemetry={**numbers, "charging_state": "Charging"})
    with broker() as mosquitto, listening(mosquitto.port, *topics) as evcc:
        options = settings(mosquitto.port, tmp_path, TMSYNC_PUBLISH_VALUES="true")
        with publishing(options) as (publisher, _):
            for beat in range(3):
                publisher.update(state(car._replace(last_heartbeat_at=AT + timedelta(seconds=20 * beat))))
                until(lambda beat=beat: len(evcc.heard) == len(topics) * (beat + 1))
            assert {topic for topic, _, _ in evcc.heard} == topics
            assert {retained for _, _, retained in evcc.heard} == {False}
            untrusted = view(verdict=Verdict.STALE, last_heartbeat_at=AT + timedelta(seconds=60))
            with listening(mosquitto.port, "tmsync/cars/1/trusted") as other:
                publisher.update(state(untrusted._replace(telemetry=car.telemetry)))
                until(lambda: other.retained.get("tmsync/cars/1/trusted") == "false")
            assert len(evcc.heard) == len(topics) * 3


def test_evcc_understands_the_one_value_that_is_a_word() -> None:
    """evcc's pipeline (plugin/pipeline/pipeline.go): `quote` makes the payload a string of JSON, which jq compares."""
    (vehicle,) = yaml.safe_load((EXAMPLES / "evcc.yaml").read_text())["vehicles"]
    odd = [source for source in sources(vehicle) if "jq" in source]
    assert [(source["topic"], source["quote"], source["jq"]) for source in odd] == [
        ("tmsync/cars/1/charging_state", True, '. == "Charging"')
    ]


# -- Mosquitto


@pytest.fixture
def guarded() -> Iterator[Broker]:
    """A broker with the example's access list."""
    acl = (EXAMPLES / "mosquitto.acl").read_text() + "user other\ntopic readwrite #\n"
    with broker(passwords=LOGINS, publisher="other", acl=acl, extra=GOES_ON) as found:
        yield found


@needs_mosquitto
def test_mosquittos_access_list_lets_tmsync_do_its_work_and_nothing_else(guarded: Broker, tmp_path: Path) -> None:
    login = {"TMSYNC_MQTT_USERNAME": "tmsync", "TMSYNC_MQTT_PASSWORD": "secret"}
    guarded.publisher.car(**BLUE)
    options = settings(guarded.port, tmp_path, **login)
    with listening(guarded.port, user=("other", "secret")) as heard:
        with publishing(options) as (publisher, problems):
            publisher.update(state())
            until(lambda: heard.retained.get("tmsync/status") == "online")
            until(lambda: set(heard.retained) >= set(car_topics(1)))
            guarded.publisher.send("homeassistant/status", "online", retain=False)
            until(lambda: [topic for topic, _, _ in heard.heard].count("homeassistant/device/tmsync_1/config") == 2)
            assert problems == []
        assert unpublish(options, SystemClock()).warning is None
        own = ("tmsync/", "homeassistant/device/")
        until(lambda: not any(topic.startswith(own) for topic in heard.retained))
    assert "Blue" in guarded.once(environ=login).out
    with listening(guarded.port, "teslamate/#", "homeassistant/#", user=("other", "secret")) as heard:
        with listening(guarded.port, user=("tmsync", "secret")) as stranger:
            for topic in ("teslamate/cars/1/state", "homeassistant/status", "homeassistant/light/lamp/config", "any"):
                stranger.client.publish(topic, "x", qos=1).wait_for_publish(5)
            until(lambda: stranger.retained)
            assert {topic.split("/")[0] for topic in stranger.retained} == {"teslamate"}
        guarded.publisher.send("teslamate/end", "end", retain=False)
        until(lambda: heard.heard and heard.heard[-1][0] == "teslamate/end")
        assert "x" not in [payload for _, payload, _ in heard.heard]


# -- Prometheus


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((EXAMPLES / "prometheus-alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_every_metric_and_label_of_the_alerts_exists() -> None:
    cells = [[cell.strip(" `") for cell in row.split("|")[1:5]] for row in metrics_page().splitlines()[2:]]
    labels = {name: set(re.findall(r"\w+", words)) for name, _, words, _ in cells}
    for rule in rules():
        (metric,) = re.findall(r"\btmsync_\w+", rule["expr"])
        assert metric in labels, rule["expr"]
        named = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        named |= set(re.findall(r'(\w+)="', rule["expr"]))
        assert named <= labels[metric], rule["alert"]
        assert set(re.findall(r'result="([^"]*)"', rule["expr"])) <= {result.value for result in Result}
        assert rule["labels"]["severity"] in ("critical", "warning")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool: sudo apt-get install prometheus")
def test_prometheus_takes_the_alerts() -> None:
    checked = subprocess.run(["promtool", "check", "rules", EXAMPLES / "prometheus-alerts.yaml"], capture_output=True)
    assert checked.returncode == 0, checked.stdout
