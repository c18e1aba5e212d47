"""What Home Assistant is told of a car, so that tmsync's entities appear inside TeslaMate's own device. Pure.

Source: Home Assistant documentation, "MQTT", "Device discovery payload" (homeassistant/components/mqtt/schemas.py,
MQTT_ORIGIN_INFO_SCHEMA, DEVICE_DISCOVERY_SCHEMA), and "Sensor", "Binary sensor" (device classes); TeslaMate
lib/teslamate/mqtt/pubsub/home_assistant.ex (device_identifier, device).
"""

import json
from typing import Any, Final

from tmsync import __version__
from tmsync.core.telemetry.fleet import VehicleView
from tmsync.core.telemetry.health import Source, Verdict

ORIGIN: Final = {"name": "tmsync", "sw_version": __version__}
DIAGNOSTIC: Final = "diagnostic"
LONGEST_STATE: Final = 255
"""Home Assistant refuses a longer state, hence the reason is an attribute."""


def device_payload(view: VehicleView, place: str, prefix: str) -> str:
    """The retained payload of one car, as JSON. place: what the car's topics begin with."""
    car = "_".join(filter(None, (view.namespace, str(view.car_id))))
    return json.dumps({
        "device": {
            "identifiers": ["_".join(filter(None, ("teslamate", view.namespace, "car", str(view.car_id))))],
            "manufacturer": "Tesla",
            # As TeslaMate calls one without a name: both describe the same device, and the last one to speak wins.
            "name": f"Tesla #{view.car_id}" if view.name_is_made_up else view.name,
        },
        "origin": ORIGIN,
        "availability": [{"topic": f"{prefix}/status"}],
        "components": {key: {"unique_id": f"tmsync_{car}_{key}", **parts}
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
            "value_template": f"{{{{ 'ON' if value == '{Source.TESLA_API}' else 'OFF' }}}}",
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
