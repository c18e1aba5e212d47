"""A private broker with somebody who publishes, and watch-mqtt on it as a process of its own."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.conftest import server_folder
from tests.support.mosquitto import Mosquitto
from tests.support.surroundings import Run, tmsync
from tmsync.demo.broker import find_mosquitto

needs_mosquitto = pytest.mark.skipif(find_mosquitto() is None, reason="needs Mosquitto: sudo apt-get install mosquitto")
SECONDS = 20.0
BLUE = {
    "display_name": "Blue",
    "state": "charging",
    "since": "2026-11-24T16:00:00Z",
    "battery_level": "63",
    "charge_limit_soc": "80",
    "charger_power": "11",
    "charger_actual_current": "16",
    "time_to_full_charge": "1.25",
    "plugged_in": "true",
    "odometer": "1653.5",
    "geofence": "Home",
}


class Publisher:
    """Publishes as TeslaMate does: retained but for `healthy`, and waits until the broker has it."""

    def __init__(self, port: int, user: str | None = None, password: str | None = None) -> None:
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2)
        if user is not None:
            self.client.username_pw_set(user, password)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def send(self, topic: str, payload: str | bytes, *, retain: bool) -> None:
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(SECONDS)

    def car(self, car_id: int = 1, namespace: str = "", **values: str | bytes) -> None:
        before = f"teslamate/{namespace}/cars" if namespace else "teslamate/cars"
        for key, value in values.items():
            self.send(f"{before}/{car_id}/{key}", value, retain=True)

    def healthy(self, value: str = "true", car_id: int = 1) -> None:
        self.send(f"teslamate/cars/{car_id}/healthy", value, retain=False)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Broker:
    """A running Mosquitto and its publisher."""

    def __init__(self, server: Mosquitto, publisher: Publisher) -> None:
        self.server = server
        self.publisher = publisher

    @property
    def port(self) -> int:
        return self.server.port

    def environ(self, **changes: str) -> dict[str, str]:
        return {"TMSYNC_MQTT_HOST": "127.0.0.1", "TMSYNC_MQTT_PORT": str(self.port), **changes}

    def once(self, *arguments: str, environ: Mapping[str, str] | None = None) -> Run:
        return tmsync("watch-mqtt", "--once", *arguments, environ={**self.environ(), **(environ or {})})

    def watch(self, *arguments: str, **environ: str) -> "contextlib.AbstractContextManager[Watching]":
        return watching(["--json", "--interval", "0.1", *arguments], self.environ(**environ))


@contextlib.contextmanager
def broker(**options: Any) -> Iterator[Broker]:
    user = options.pop("publisher", None)
    with server_folder() as folder:
        (folder / "broker").mkdir()
        with Mosquitto(folder / "broker", **options) as server:
            if options.get("tls"):
                yield Broker(server, None)  # type: ignore[arg-type]
                return
            publisher = Publisher(server.port, *((user, options["passwords"][user]) if user else ()))
            try:
                yield Broker(server, publisher)
            finally:
                publisher.close()


class Watching:
    """A watch-mqtt under way, its output line by line."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.seen: list[Any] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def line(self, seconds: float = SECONDS) -> str:
        found = self.lines.get(timeout=seconds)
        assert found is not None, f"it has ended: {self.process.stderr.read() if self.process.stderr else ''}"
        return found

    def event(self, wanted: Callable[[dict[str, Any]], bool], seconds: float = SECONDS) -> dict[str, Any]:
        """The next event that is wanted; the others are kept in `seen`."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                event: dict[str, Any] = json.loads(self.line(left))
                self.seen.append(event)
                if wanted(event):
                    return event
        raise AssertionError(f"no such event; seen: {self.seen[-5:]}")

    def verdict(self, wanted: str, car_id: int = 1, seconds: float = SECONDS) -> dict[str, Any]:
        return self.event(
            lambda event: event["event"] == "vehicle" and event["car_id"] == car_id and event["verdict"] == wanted,
            seconds,
        )

    def source(self, seconds: float = SECONDS) -> dict[str, Any]:
        return self.event(lambda event: event["event"] == "source", seconds)

    def broker(self, state: str, seconds: float = SECONDS) -> dict[str, Any]:
        return self.event(lambda event: event["event"] == "broker" and event["state"] == state, seconds)

    def end(self, how: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """Stop it; exit code and what it said on standard error."""
        self.process.send_signal(how)
        assert self.process.stderr is not None
        code = self.process.wait(SECONDS)
        return code, self.process.stderr.read()


@contextlib.contextmanager
def watching(
    arguments: list[str],
    environ: Mapping[str, str],
    cwd: Path = Path("/"),
    module: str = "tmsync",
    command: str = "watch-mqtt",
    **options: Any,
) -> Iterator[Watching]:
    """module: what to run, as `python -m` knows it. command: watch-mqtt or serve. options: of Popen."""
    clean = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", **environ}
    process = subprocess.Popen(
        [sys.executable, "-m", module, command, *arguments],
        env=clean,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    watch = Watching(process)
    try:
        yield watch
    finally:
        process.kill()
        process.wait()
        watch.reader.join(SECONDS)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
