"""What Home Assistant is told of a car, so that tmsync's entities appear inside TeslaMate's own device. Pure.

Source: Home Assistant documentation, "MQTT", "Device discovery payload" (homeassistant/components/mqtt/schemas.py,
MQTT_ORIGIN_INFO_SCHEMA, DEVICE_DISCOVERY_SCHEMA), and "Sensor", "Binary sensor" (device classes); TeslaMate
lib/teslamate/mqtt/pubsub/home_assistant.ex (device_identifier, device).
"""

import json
from functools import lru_cache
from typing import Any, Final

from tmsync import __version__
from tmsync.core.telemetry.fleet import MAX_VEHICLES
from tmsync.core.telemetry.health import Source, Verdict

ORIGIN: Final = {"name": "tmsync", "sw_version": __version__}
DIAGNOSTIC: Final = "diagnostic"
OR_UNKNOWN: Final = "{{ value or None }}"
"""A topic that is cleared makes an entity unknown; without this Home Assistant keeps its state, with a warning."""


@lru_cache(MAX_VEHICLES)
def device_payload(namespace: str, car_id: int, name: str | None, place: str, prefix: str) -> str:
    """The retained payload of one car, as JSON. name: None without one. place: what the car's topics begin with."""
    car = "_".join(filter(None, (namespace, str(car_id))))
    return json.dumps({
        "device": {
            "identifiers": ["_".join(filter(None, ("teslamate", namespace, "car", str(car_id))))],
            "manufacturer": "Tesla",
            # As TeslaMate calls one without a name: both describe the same device, and the last one to speak wins.
            "name": name or f"Tesla #{car_id}",
        },
        "origin": ORIGIN,
        "availability": [{"topic": f"{prefix}/status"}],
        "components": {key: {"unique_id": f"tmsync_{car}_{key}", "value_template": OR_UNKNOWN, **parts}
                       for key, parts in _components(place, prefix).items()},
    })  # fmt: skip


def _components(place: str, prefix: str) -> dict[str, dict[str, Any]]:
    return {
        "verdict": {
            "platform": "sensor",
            "name": "Telemetry verdict",
            "device_class": "enum",
            "options": [verdict.value for verdict in Verdict],
            "state_topic": f"{place}/verdict",
            # No entity of its own: Home Assistant refuses a state of more than 255 characters.
            "json_attributes_topic": f"{place}/reason",
            "json_attributes_template": "{{ {'reason': value} | tojson }}",
        },
        "trusted": {
            "platform": "binary_sensor",
            "name": "Telemetry trusted",
            "state_topic": f"{place}/trusted",
            "payload_on": "true",
            "payload_off": "false",
        },
        "problem": {
            "platform": "binary_sensor",
            "name": "Telemetry problem",
            "device_class": "problem",
            "state_topic": f"{place}/source",
            "value_template": f"{{{{ {{'{Source.TESLA_API}': 'ON', '{Source.TESLAMATE}': 'OFF'}}.get(value) }}}}",
        },
        "last_heartbeat": {
            "platform": "sensor",
            "name": "Last heartbeat",
            "device_class": "timestamp",
            "entity_category": DIAGNOSTIC,
            "state_topic": f"{place}/last_heartbeat_at",
        },
        "token_expiry": {
            "platform": "sensor",
            "name": "Token expiry",
            "device_class": "timestamp",
            "entity_category": DIAGNOSTIC,
            "state_topic": f"{prefix}/token/expires_at",
        },
        "token_out_of_sync": {
            "platform": "binary_sensor",
            "name": "Token out of sync",
            "device_class": "problem",
            "entity_category": DIAGNOSTIC,
            "state_topic": f"{prefix}/token/in_sync",
            "payload_on": "false",
            "payload_off": "true",
        },
    }
