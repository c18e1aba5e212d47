"""Home Assistant itself, run by the Python that it is installed in; says in JSON lines what happens in it.

`python driver.py FOLDER`: FOLDER holds configuration.yaml, and .storage with the MQTT integration set up. It imports
nothing of tmsync's.
"""

import asyncio
import json
import logging
import sys
from typing import Any

from homeassistant import bootstrap, loader
from homeassistant import config as configuration
from homeassistant.const import EVENT_CALL_SERVICE, EVENT_STATE_CHANGED, __version__
from homeassistant.core import Event, HomeAssistant, callback
from homeassistant.helpers import device_registry, entity_registry


def say(**what: Any) -> None:
    print(json.dumps(what, default=str), flush=True)


async def main(folder: str) -> None:
    hass = HomeAssistant(folder)
    loader.async_setup(hass)
    # What is needed is installed, and the frontend is not: it would demand speech recognition and cameras.
    hass.config.skip_pip = True
    if await bootstrap.async_from_config_dict(await configuration.async_hass_config_yaml(hass), hass) is None:
        sys.exit("Home Assistant does not start")
    entities, devices = entity_registry.async_get(hass), device_registry.async_get(hass)

    @callback
    def changed(event: Event) -> None:
        entity_id, state = event.data["entity_id"], event.data["new_state"]
        entry = entities.async_get(entity_id)
        device = devices.async_get(entry.device_id) if entry and entry.device_id else None
        say(
            entity=entity_id,
            unique_id=entry.unique_id if entry else None,
            state=state.state if state else None,
            attributes=dict(state.attributes) if state else {},
            device_id=device.id if device else None,
            device=device.name if device else None,
        )

    @callback
    def called(event: Event) -> None:
        say(service=f"{event.data['domain']}.{event.data['service']}", data=event.data["service_data"])

    hass.bus.async_listen(EVENT_STATE_CHANGED, changed)
    hass.bus.async_listen(EVENT_CALL_SERVICE, called)
    await hass.async_start()
    say(started=__version__)
    await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(main(sys.argv[1]))
