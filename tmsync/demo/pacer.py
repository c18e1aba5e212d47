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

from tmsync.core.causes import Cause
from tmsync.core.fixes import problem
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
        self._login = username, password
        self._client: mqtt.Client | None = None

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
        client = self._make_client()
        try:
            client.connect("127.0.0.1", self.port)
        except OSError as error:
            message = f"the private broker on port {self.port} is not reached: {error}"
            raise DemoError(problem(Cause.INTERNAL, message, variant="demo")) from None
        client.loop_start()
        if not self._connected.wait(CONNECT_SECONDS):
            client.loop_stop()
            message = f"the private broker on port {self.port} does not let us in"
            raise DemoError(problem(Cause.INTERNAL, message, variant="demo"))
        self._client = client
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
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()

    @contextlib.contextmanager
    def steering(self) -> Iterator[SimulatedTeslaMate]:
        """The TeslaMate at this very moment, held still until its controls have been used."""
        with self._news:
            self._catch_up()
            yield self.teslamate
            self._catch_up()
            self._news.notify()

    # -- inside

    def _make_client(self) -> mqtt.Client:
        """One for each run: paho's own does not survive a second `loop_start` without leaking sockets."""
        self._connected.clear()
        # Without an id the broker makes one of its own: two simulations never kick each other out.
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.username_pw_set(*self._login)
        # Zero is no limit: a flood goes out as fast as the broker takes it, and nothing is dropped.
        client.max_inflight_messages_set(0)
        client.max_queued_messages_set(0)
        client.reconnect_delay_set(1, 2)
        client.on_connect = self._on_connect
        return client

    def _on_connect(self, _: mqtt.Client, __: object, ___: object, reason: ReasonCode, ____: object) -> None:
        if not reason.is_failure:
            self._connected.set()

    def _run(self) -> None:
        with self._news:
            while not self._ended:
                self._catch_up()
                self._news.wait(self._pause())

    def _catch_up(self) -> None:
        """Publish what has fallen due; nothing while we do not run."""
        if self._thread is None or self._client is None:
            return
        moment = self._from + timedelta(seconds=(time.monotonic() - self._begun) * self.speed)
        publish = self._client.publish
        for message in self.teslamate.until(moment):
            publish(message.topic, message.payload, 1, message.retain)

    def _pause(self) -> float | None:
        due = self.teslamate.next_due()
        if due is None:
            return None
        return max(LEAST_WAIT_S, (due - self.teslamate.now).total_seconds() / self.speed)
