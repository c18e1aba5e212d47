"""Home Assistant as a process of its own, and what is known of its entities."""

import contextlib
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.publish.scene import until

START_S = 60.0
CONFIGURATION = """
homeassistant:
  name: Test
  unit_system: metric
  time_zone: UTC
"""


class Entity(NamedTuple):
    """As Home Assistant has it now."""

    state: str
    attributes: dict[str, Any]
    device_id: str
    device: str


class HomeAssistant:
    """Its entities by unique id, as they change; and the services that were called."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.entities: dict[str, Entity] = {}
        self.ids: dict[str, str] = {}
        """Unique id -> entity id."""
        self.services: list[tuple[str, dict[str, Any]]] = []
        self.version = ""
        self._process = process
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            if "started" in told:
                self.version = told["started"]
            elif "service" in told:
                self.services.append((told["service"], told["data"]))
            elif told["state"] is None:
                self.entities = {key: one for key, one in self.entities.items() if self.ids[key] != told["entity"]}
            elif told["unique_id"] is not None:
                self.ids[told["unique_id"]] = told["entity"]
                entity = Entity(told["state"], told["attributes"], told["device_id"], told["device"])
                self.entities |= {told["unique_id"]: entity}

    def states(self, of: str) -> dict[str, str]:
        """What follows `of` in a unique id -> its state."""
        return {key.removeprefix(of): one.state for key, one in self.entities.items() if key.startswith(of)}

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextlib.contextmanager
def home_assistant(python: str, folder: Path, port: int, configuration: str = "") -> Iterator[HomeAssistant]:
    """Started, with its MQTT integration on the broker at `port`."""
    (folder / ".storage").mkdir(parents=True)
    (folder / "configuration.yaml").write_text(CONFIGURATION + configuration)
    entry = {"entry_id": "mqtt", "version": 1, "minor_version": 1, "domain": "mqtt", "title": "broker",
             "data": {"broker": "127.0.0.1", "port": port}, "options": {}, "source": "user", "unique_id": None,
             "disabled_by": None, "pref_disable_new_entities": False, "pref_disable_polling": False}  # fmt: skip
    stored = {"version": 1, "minor_version": 1, "key": "core.config_entries", "data": {"entries": [entry]}}
    (folder / ".storage" / "core.config_entries").write_text(json.dumps(stored))
    driver = Path(__file__).with_name("driver.py")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([python, driver, folder], stdout=subprocess.PIPE, stderr=log, text=True)
    found = HomeAssistant(process)
    try:
        until(lambda: found.version or process.poll() is not None, START_S)
        assert found.version, (folder / "log").read_text()[-2000:]
        yield found
    finally:
        found.close()
