"""What Home Assistant is told, and where. Home Assistant itself reads it in tests/homeassistant."""

import json

import pytest

from tests.publish.scene import view
from tmsync import __version__
from tmsync.core.publish.topics import Layout, discovery

LAYOUT = Layout("solar/tmsync", "ha")


def told(**changes: object) -> dict[str, object]:
    found = view(7, **changes)
    payload: dict[str, object] = json.loads(discovery(found, LAYOUT).text)
    return payload


def test_device_is_teslamate_s_own() -> None:
    assert told()["device"] == {"identifiers": ["teslamate_car_7"], "manufacturer": "Tesla", "name": "Blue"}
    assert told(namespace="garage")["device"] == {
        "identifiers": ["teslamate_garage_car_7"], "manufacturer": "Tesla", "name": "Blue",
    }  # fmt: skip
    assert told(name="car 7")["device"] == {
        "identifiers": ["teslamate_car_7"], "manufacturer": "Tesla", "name": "Tesla #7",
    }  # fmt: skip


def test_availability_hangs_on_tmsync_and_origin_is_named() -> None:
    payload = told()
    assert payload["availability"] == [{"topic": "solar/tmsync/status"}]
    assert payload["origin"] == {"name": "tmsync", "sw_version": __version__}


@pytest.mark.parametrize(("namespace", "place", "node"), [("", "cars/7", "7"), ("garage", "garage/cars/7", "garage_7")])
def test_every_entity_has_a_name_for_ever_and_a_topic_that_is_published(namespace: str, place: str, node: str) -> None:
    found = told(namespace=namespace)["components"]
    assert isinstance(found, dict)
    assert {(key, parts["platform"], parts.get("device_class"), parts["unique_id"], parts["state_topic"])
            for key, parts in found.items()} == {
        ("verdict", "sensor", "enum", f"tmsync_{node}_verdict", f"solar/tmsync/{place}/verdict"),
        ("trusted", "binary_sensor", None, f"tmsync_{node}_trusted", f"solar/tmsync/{place}/trusted"),
        ("problem", "binary_sensor", "problem", f"tmsync_{node}_problem", f"solar/tmsync/{place}/source"),
        ("last_heartbeat", "sensor", "timestamp", f"tmsync_{node}_last_heartbeat",
         f"solar/tmsync/{place}/last_heartbeat_at"),
        ("token_expiry", "sensor", "timestamp", f"tmsync_{node}_token_expiry", "solar/tmsync/token/expires_at"),
        ("token_out_of_sync", "binary_sensor", "problem", f"tmsync_{node}_token_out_of_sync",
         "solar/tmsync/token/in_sync"),
    }  # fmt: skip


def test_topic_is_one_that_home_assistant_looks_at() -> None:
    topics = [LAYOUT.discovery(namespace, 7) for namespace in ("", "garage", "mein.Haus 2")]
    assert topics == [f"ha/device/{node}/config" for node in ("tmsync_7", "tmsync_garage_7", "tmsync_mein_Haus_2_7")]
