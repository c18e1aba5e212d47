"""The connection that publishes: last will, a few messages under way at a time, and what the broker refuses.

MQTT 5 where the broker speaks it, as it says there which messages it refuses; with MQTT 3.1.1 it drops them without a
word.

Source: MQTT 5.0 specification, 3.1.2.5 (Will Flag), 3.3.4 (Receive Maximum), 3.4.2.1 (PUBACK reason codes); Mosquitto
src/handle_publish.c (a message that its access list refuses is acknowledged with 135).
"""

import contextlib
import socket
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from tmsync.core.causes import Cause
from tmsync.core.clock import Clock
from tmsync.core.config.settings import MqttSettings
from tmsync.core.errors import Problem
from tmsync.core.publish.outbox import Message, Outbox
from tmsync.core.publish.topics import OFFLINE, ONLINE, Layout
from tmsync.core.telemetry import diagnosis
from tmsync.core.telemetry.connection import BATCH, WAIT_S, Connection, Link

if TYPE_CHECKING:
    from paho.mqtt.client import Client

WINDOW: Final = 20
"""Messages under way, unacknowledged: what a broker takes at least as they are set up by default."""


VALUES: Final = 500
"""Values sent at once."""


@lru_cache(32_768)
def _head(topic: str, *, version_5: bool) -> bytes:
    """What stands before the payload: the topic with its length, and in version 5 that there are no properties."""
    encoded = topic.encode()
    return len(encoded).to_bytes(2, "big") + encoded + (b"\0" if version_5 else b"")


def publish_packet(message: Message, *, version_5: bool) -> bytes:
    """PUBLISH with QoS 0, not retained.

    Source: MQTT 5.0 specification, 3.3 (PUBLISH), 1.5.5 (Variable Byte Integer), 2.2.2 (Properties).
    """
    body = _head(message.topic, version_5=version_5) + message.payload.encode()
    length, encoded = len(body), b"\x30"
    while length > 127:
        encoded += bytes((length & 127 | 128,))
        length >>= 7
    return encoded + bytes((length,)) + body


class PublishingConnection(Connection):
    """Sends what `outbox` holds. All but `ring` happens in its own thread.

    refresh: called at each turn; fills the outbox and says after how many seconds to call again at the latest.
    on_birth: Home Assistant has said that it is there.
    on_refused: the broker refuses a message in these topics, a filter.
    """

    name = "publish"

    def __init__(
        self,
        target: MqttSettings,
        layout: Layout,
        client_id: str,
        outbox: Outbox,
        clock: Clock,
        *,
        keepalive_s: int,
        refresh: Callable[[], float],
        on_link: Callable[[Link], None],
        on_birth: Callable[[], None],
        on_refused: Callable[[str], None],
    ) -> None:
        super().__init__(target, on_link, clock)
        self.keepalive_s = keepalive_s
        self._layout = layout
        self._client_id = client_id
        self._outbox = outbox
        self._refresh = refresh
        self._on_birth = on_birth
        self._on_refused = on_refused
        self._window = WINDOW
        self._under_way: dict[int, Message] = {}
        self._version_5 = True
        self.falls_back = False
        """Whether the broker is about to be asked again, with the older version of the protocol."""
        self._heard, self._rope = socket.socketpair()
        self._heard.setblocking(False)
        self._rope.setblocking(False)
        self._bell = self._heard

    @property
    def is_idle(self) -> bool:
        """Whether all that was sent is acknowledged."""
        return not self._under_way

    def ring(self) -> None:
        """There is something to send. Safe in any thread, and never waits."""
        with contextlib.suppress(OSError):
            self._rope.send(b"!")

    def stop(self) -> None:
        """Say "offline", disconnect, and wait for the thread to end."""
        self._stopping.set()
        self.ring()
        super().stop()
        self._heard.close()
        self._rope.close()

    # -- the thread

    def _make_client(self) -> "Client":
        self._under_way = {}
        self._window = WINDOW
        self.falls_back = False
        # The same name at every connection: the broker then ends the one before, its last will included, first.
        client = self._new_client(self._client_id, version_5=self._version_5)
        client.will_set(self._layout.status, OFFLINE, qos=1, retain=True)
        # Ours is the smaller limit, and "offline" must not wait behind it.
        client.max_inflight_messages_set(0)
        client.on_publish = self._acknowledged
        client.on_message = self._message
        return client

    def _connected(self, client: "Client", userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._window = min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW))
        super()._connected(client, userdata, flags, reason, properties)

    def _begin(self, client: "Client") -> None:
        client.subscribe(self._layout.birth)
        self._outbox.connected()

    def _listen(self, client: "Client") -> None:
        try:
            super()._listen(client)
        finally:
            refused = self._refusal is not None and self._refusal.cause is Cause.NOT_AUTHORISED
            self.falls_back = self._version_5 and not self._accepted and not refused
            self._version_5 = self._accepted or refused or not self._version_5

    def _turn(self) -> float:
        with contextlib.suppress(BlockingIOError):
            self._heard.recv(4096)
        wait_s = min(self._refresh(), WAIT_S)
        client = self._client
        if client is None:
            return wait_s
        for _ in range(BATCH):
            if client.want_write() or len(self._under_way) >= self._window:
                return wait_s
            message = self._outbox.next(self._clock.monotonic())
            if message is None:
                return 0 if self._send_values(client) else wait_s
            sent = client.publish(message.topic, message.payload, qos=1, retain=True)
            self._under_way[sent.mid] = message
            if sent.rc != 0:
                self._hung_up = True
                return wait_s
        return 0

    def _send_values(self, client: "Client") -> bool:
        """Send some of the values, without acknowledgement; whether there were any.

        paho asks the operating system once for each message, and makes three objects for it: that costs ten times what
        the message does. It has no public place for several at once; where a version of it has not the one used here,
        all goes on as with other messages.
        """
        values = self._outbox.values(VALUES)
        queue = getattr(client, "_packet_queue", None)
        if queue is None:
            for topic, payload in values:
                client.publish(topic, payload)
        elif values:
            queue(0, b"".join(publish_packet(message, version_5=self._version_5) for message in values), 0, 0)
        return bool(values)

    def _acknowledged(self, _client: "Client", _userdata: Any, mid: int, reason: Any, _properties: Any) -> None:
        message = self._under_way.pop(mid, None)
        if message is None:
            return
        if reason.is_failure:
            self._on_refused(self._layout.filter_of(message.topic))
            return
        self._granted = True
        self._outbox.acknowledged(message)

    def _message(self, _client: "Client", _userdata: Any, message: Any) -> None:
        if message.payload == ONLINE.encode():
            self._on_birth()

    def _refused_after_all(self) -> Problem | None:
        first = next(iter(self._under_way.values()), None)
        return first and diagnosis.of_refused_publishing(self.target, [self._layout.filter_of(first.topic)])

    def _close(self, client: "Client") -> None:
        if self._stopping.is_set() and self._accepted:
            with contextlib.suppress(Exception):
                client.publish(self._layout.status, OFFLINE, qos=0, retain=True)
        super()._close(client)
