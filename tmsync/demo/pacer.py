"""Lets a simulated TeslaMate publish to a real broker, at its own or a faster pace."""

import contextlib
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from tmsync.core.errors import Cause
from tmsync.demo.server import DemoError
from tmsync.demo.simulator import SimulatedTeslaMate

LEAST_WAIT_S: Final = 0.02
"""What falls due within this time is published together: hundreds of cars must not wake us for each message."""
CONNECT_SECONDS: Final = 20


class Pacer:
    """Publishes what `teslamate` says, `speed` simulated seconds in each second, from `start` to `stop`.

    Controls go through `steering`, from any thread: `with pacer.steering() as teslamate: teslamate.die()`.
    """

    def __init__(
        self,
        teslamate: SimulatedTeslaMate,
        port: int,
        *,
        speed: float = 1.0,
        username: str | None = None,
        password: str | None = None,
    ) -> None:
        self.teslamate = teslamate
        self.port = port
        self.speed = speed
        self._news = threading.Condition()
        self._ended = False
        self._thread: threading.Thread | None = None
        self._connected = threading.Event()
        # TeslaMate's own kind of client id, which paho makes unique when it is empty.
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=True)
        self._client.username_pw_set(username, password)
        self._client.max_inflight_messages_set(0)
        self._client.max_queued_messages_set(0)
        self._client.reconnect_delay_set(1, 2)
        self._client.on_connect = self._on_connect

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Connect to 127.0.0.1 and begin at the simulated time reached.

        Raises: DemoError when the broker does not take us.
        """
        try:
            self._client.connect("127.0.0.1", self.port)
        except OSError as error:
            raise DemoError(Cause.INTERNAL, f"the private broker on port {self.port} is not reached: {error}") from None
        self._client.loop_start()
        if not self._connected.wait(CONNECT_SECONDS):
            self._client.loop_stop()
            raise DemoError(Cause.INTERNAL, f"the private broker on port {self.port} does not let us in")
        self._begun = time.monotonic()
        self._from = self.teslamate.now
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="simulated TeslaMate", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Publish no more, and disconnect; may be repeated."""
        with self._news:
            self._ended = True
            self._news.notify()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
            self._client.disconnect()
            self._client.loop_stop()

    @contextlib.contextmanager
    def steering(self) -> Iterator[SimulatedTeslaMate]:
        """The TeslaMate at this very moment, held still until its controls have been used."""
        with self._news:
            self._catch_up()
            yield self.teslamate
            self._catch_up()
            self._news.notify()

    # -- inside

    def _on_connect(self, _: mqtt.Client, __: object, ___: object, reason: ReasonCode, ____: object) -> None:
        if not reason.is_failure:
            self._connected.set()

    def _run(self) -> None:
        with self._news:
            while not self._ended:
                self._catch_up()
                self._news.wait(self._pause())

    def _catch_up(self) -> None:
        """Publish what has fallen due."""
        moment = self._from + timedelta(seconds=(time.monotonic() - self._begun) * self.speed)
        publish = self._client.publish
        for message in self.teslamate.until(moment):
            publish(message.topic, message.payload, 1, message.retain)

    def _pause(self) -> float | None:
        due = self.teslamate.next_due()
        if due is None:
            return None
        return max(LEAST_WAIT_S, (due - self.teslamate.now).total_seconds() / self.speed)
