"""Cars as tmsync sees them, a listener on the broker, and a publisher on a real one."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tests.support import waiting
from tmsync.core.clock import SystemClock
from tmsync.core.config.load import load_settings
from tmsync.core.config.settings import Settings
from tmsync.core.errors import Problem
from tmsync.core.publish.publisher import Publisher
from tmsync.core.publish.topics import State
from tmsync.core.telemetry.health import Judgement, Thresholds, Verdict
from tmsync.core.telemetry.views import VehicleView
from tmsync.core.teslamate.topics import Value

AT = datetime(2026, 11, 29, 12, 0, 0, tzinfo=UTC)
EXPIRES = datetime(2026, 11, 29, 20, 0, 0, tzinfo=UTC)
SECONDS = 20.0


def view(car_id: int = 1, verdict: Verdict = Verdict.FRESH, **changes: Any) -> VehicleView:
    telemetry: dict[str, Value] = {"display_name": "Blue", "state": "charging", "battery_level": 63, "plugged_in": True}
    found = VehicleView(
        at=AT,
        car_id=car_id,
        namespace="",
        name="Blue",
        names=("Blue",),
        state="charging",
        since=AT,
        healthy=True,
        judgement=Judgement(verdict, f"{verdict}, as it seems", Thresholds(100, 360), None),
        last_heartbeat_at=AT,
        silence_s=1.0,
        retained_only=False,
        unparsable=0,
        telemetry=telemetry,
    )
    return found._replace(**changes)


def state(*views: VehicleView, **changes: Any) -> State:
    known = State("", views or (view(),), settled=True, token_expires_at=EXPIRES, in_sync=True)
    return known._replace(**changes)


def car_topics(car_id: int = 1, namespace: str = "") -> list[str]:
    """All that is retained of a car."""
    keys = ("verdict", "source", "reason", "trusted", "last_heartbeat_at")
    node = "_".join(filter(None, ("tmsync", namespace, str(car_id))))
    place = "/".join(filter(None, ("tmsync", namespace, "cars", str(car_id))))
    return [f"homeassistant/device/{node}/config", *(f"{place}/{key}" for key in keys)]


class Listener:
    """Hears what is published in `topics`, and keeps what is retained now."""

    def __init__(self, port: int, *topics: str, user: tuple[str, str] | None = None) -> None:
        self.retained: dict[str, str] = {}
        self.heard: list[tuple[str, str, bool]] = []
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2)
        if user is not None:
            self.client.username_pw_set(*user)
        self.client.max_inflight_messages_set(0)
        self.client.on_message = self._message
        self.client.connect("127.0.0.1", port)
        # Version 3.1.1 flags as retained only what was there before the subscription.
        self.client.subscribe([(topic, 1) for topic in topics or ("#",)])
        self.client.loop_start()

    def _message(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        text = message.payload.decode()
        self.heard.append((message.topic, text, message.retain))
        self.retained[message.topic] = text
        if not text:
            del self.retained[message.topic]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@contextlib.contextmanager
def listening(port: int, *topics: str, **options: Any) -> Iterator[Listener]:
    listener = Listener(port, *topics, **options)
    try:
        yield listener
    finally:
        listener.close()


def until(true: Callable[[], object], seconds: float = SECONDS) -> None:
    """Wait for something to come true on the broker."""
    waiting.until(true, seconds)


MARK = "scene/mark"


def held(port: int, *topics: str) -> dict[str, str]:
    """What a newcomer gets: the retained messages, which come before anything that is published after."""
    with listening(port, *(topics or ("#",)), MARK) as listener:
        listener.client.publish(MARK, "here", qos=1)
        until(lambda: any(topic == MARK for topic, _, _ in listener.heard))
        return {topic: text for topic, text, retained in listener.heard if retained}


def settings(port: int, state_dir: Path, **environ: str) -> Settings:
    known = {
        "TMSYNC_MQTT_HOST": "127.0.0.1",
        "TMSYNC_MQTT_PORT": str(port),
        "TMSYNC_SERVE_STATE_DIR": str(state_dir),
        "TMSYNC_PUBLISH_ENABLED": "true",
        **environ,
    }
    return load_settings(environ=known)


@contextlib.contextmanager
def publishing(options: Settings, **more: Any) -> Iterator[tuple[Publisher, list[tuple[Problem, ...]]]]:
    problems: list[tuple[Problem, ...]] = []
    publisher = Publisher(options, SystemClock(), problems.append, **more)
    publisher.start()
    try:
        yield publisher, problems
    finally:
        publisher.stop()
