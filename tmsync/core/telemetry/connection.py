"""The connection to the broker: opened, watched, reopened for ever, closed.

paho-mqtt speaks the protocol; the loop around it is ours, because paho knows no deadline for the broker's answer,
retries wrong credentials every second, and asks the operating system twice for every message.

Source: paho-mqtt documentation, "Network loop"; MQTT 3.1.1 specification, 3.1 and 3.2.
"""

import contextlib
import logging
import os
import select
import socket
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from tmsync.core.causes import Cause
from tmsync.core.clock import Clock
from tmsync.core.config.settings import MqttSettings
from tmsync.core.errors import Problem
from tmsync.core.fixes import problem
from tmsync.core.telemetry import diagnosis

if TYPE_CHECKING:
    from paho.mqtt.client import Client

log = logging.getLogger(__name__)

ANSWER_S: Final = 5.0
"""How long the broker may take for each of: the TCP connection, the TLS handshake, CONNACK."""
KEEPALIVE_S: Final = 30
STOP_S: Final = 1.0
RETRY_FIRST_S: Final = 1.0
RETRY_MOST_S: Final = 30.0
WAIT_S: Final = 0.25
STOOD_STILL_S: Final = 5.0
"""A process that did not come round for so long was stopped, or its machine: what lies in the socket may be as old."""
BATCH: Final = 64
"""Packets read per look at the socket."""
CHUNK_BYTES: Final = 64 * 1024
MQTT_ERR_CONN_LOST: Final = 7
"""paho's code for a connection that the other side closed."""
MAX_PACKET_BYTES: Final = 1 << 20
"""TeslaMate's largest message is far below; the protocol would allow a broker to send 256 MiB in one."""
QOS: Final = 0
"""What comes live is repeated with the next summary; acknowledging it would only make the broker keep queues."""

OnMessage: TypeAlias = Callable[[str, bytes, bool], None]


class Link(NamedTuple):
    """The state of the connection: `problem` is None while it stands."""

    connected: bool
    problem: Problem | None = None


class Connection:
    """A connection to the broker in a thread of its own: opened, watched, reopened for ever.

    What goes through it is up to a subclass.
    on_link: told of every change of the connection, from that thread.
    """

    keepalive_s: int = KEEPALIVE_S
    name = "mqtt"

    def __init__(self, target: MqttSettings, on_link: Callable[[Link], None], clock: Clock) -> None:
        self.target = target
        self._on_link = on_link
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._received = 0
        self._accepted = False
        self.answered = threading.Event()
        """Set once the broker has granted what the connection is for, or a connection has ended."""
        self.retry_at: float | None = None
        """Seconds of running time at which the broker is tried again; None while it is being tried, or connected."""
        self._granted = False
        """Whether the broker lets this connection do what it is for."""
        self._hung_up = False
        self._refusal: Problem | None = None
        self._client: Client | None = None
        self._bell: socket.socket | None = None
        """What ends the wait for the broker early, once it can be read."""

    def start(self) -> None:
        """Connect, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Disconnect and wait for the thread to end, unless it waits for a name service or a broker that is silent."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    # -- what a subclass adds, called in the thread

    def _make_client(self) -> "Client":
        """A client of paho's, with its callbacks."""
        return self._new_client(f"tmsync-{os.urandom(8).hex()}")

    def _begin(self, client: "Client") -> None:
        """The broker has accepted the connection."""

    def _turn(self) -> float:
        """Do what is to be done now; how many seconds to wait for the broker at most until the next turn."""
        return WAIT_S

    def _refused_after_all(self) -> Problem | None:
        """The problem of a connection that was accepted, and closed instead of granted what it is for."""
        return None

    # -- the thread

    def _run(self) -> None:
        pause = RETRY_FIRST_S
        while not self._stopping.is_set():
            problem = self._connect_and_listen()
            if self._stopping.is_set():
                return
            self._on_link(Link(connected=False, problem=problem))
            self.answered.set()
            if self._granted:
                # A broker that lets in and then refuses the subscription is not asked every second for ever.
                pause = RETRY_FIRST_S
            self.retry_at = self._clock.monotonic() + pause
            self._stopping.wait(pause)
            self.retry_at = None
            pause = min(pause * 2, RETRY_MOST_S)

    def _connect_and_listen(self) -> Problem:
        """One connection, from its beginning to its end; why it ended."""
        self._accepted, self._refusal, self._granted, self._hung_up = False, None, False, False
        received = self._received
        try:
            self._client = client = self._make_client()
            diagnosis.resolve_name(self.target, ANSWER_S)
            client.connect(self.target.host, self.target.port, self.keepalive_s)
        except Exception as error:  # noqa: BLE001 - paho and OpenSSL raise whatever they like here
            return diagnosis.of_exception(error, self.target)
        try:
            self._listen(client)
        except Exception as error:  # noqa: BLE001 - paho takes packets apart unchecked; nothing may end this thread
            log.info(f"the broker sent something that is not MQTT ({type(error).__name__})")
        finally:
            self._close(client)
        if self._refusal is not None:
            return self._refusal
        refused = None
        if self._hung_up and self._accepted and not self._granted and received == self._received:
            refused = self._refused_after_all()
        if refused is not None:
            return refused
        if self._accepted:
            message = f"the broker at {self.target.place} closed the connection"
            return problem(Cause.CONNECTION_LOST, message, variant="broker")
        return diagnosis.of_silence(self.target)

    def _listen(self, client: "Client") -> None:
        came_round_at = self._clock.monotonic()
        deadline = came_round_at + ANSWER_S
        sock = client.socket()
        if sock is None:
            return
        poller = select.poll()
        poller.register(sock, select.POLLIN)
        if self._bell is not None:
            poller.register(self._bell, select.POLLIN)
        held = _Buffer.put_into(client)
        while not self._stopping.is_set() and client.socket() is sock:
            wait_s = self._turn() if self._accepted else WAIT_S
            poller.modify(sock, select.POLLIN | (select.POLLOUT if client.want_write() else 0))
            ready = held or _pending(sock) or poller.poll(wait_s * 1000)
            before, came_round_at = came_round_at, self._clock.monotonic()
            if (lost_s := came_round_at - before - wait_s) > STOOD_STILL_S:
                # An old heartbeat would count as new, and vouch for a TeslaMate that may have died since.
                message = f"tmsync stood still for {lost_s:.0f} s: what the broker sent meanwhile does not count"
                self._refusal = problem(Cause.CONNECTION_LOST, message, variant="stood-still")
                return
            if ready and not self._read(client):
                return
            if client.want_write() and client.loop_write() != 0:
                self._hung_up = True
                return
            if client.loop_misc() != 0:
                return
            if not self._accepted and (self._refusal or self._clock.monotonic() >= deadline):
                return

    def _read(self, client: "Client") -> bool:
        for _ in range(BATCH):
            before = self._received
            code = client.loop_read()
            self._hung_up = code == MQTT_ERR_CONN_LOST
            if code != 0 or self._refusal is not None or _announced(client) > MAX_PACKET_BYTES:
                return False
            if self._received == before:
                return True
        return True

    def _close(self, client: "Client") -> None:
        with contextlib.suppress(Exception):
            client.disconnect()
            client.loop_write()
        self._client = None

    def _new_client(self, client_id: str, *, version_5: bool = False) -> "Client":
        from paho.mqtt.client import Client, MQTTv5, MQTTv311
        from paho.mqtt.enums import CallbackAPIVersion

        target = self.target
        client = Client(
            CallbackAPIVersion.VERSION2,
            # Two clients of one name would throw each other out for ever.
            client_id=client_id,
            clean_session=None if version_5 else True,
            protocol=MQTTv5 if version_5 else MQTTv311,
            # Else paho opens a second connection by itself to a broker that wants another version.
            reconnect_on_failure=False,
        )
        client.connect_timeout = ANSWER_S
        if target.username is not None or target.password is not None:
            client.username_pw_set(target.username or "", target.password.reveal() if target.password else None)
        if target.tls:
            client.tls_set_context(diagnosis.tls_context(target))
        client.on_connect = self._connected
        return client

    def _connected(self, client: "Client", _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if self._accepted:
            raise _Nonsense
        if reason.is_failure:
            self._refusal = diagnosis.of_refusal(reason.value, str(reason), self.target)
            return
        self._accepted = True
        log.info(f"connected to the broker at {self.target.place}")
        self._on_link(Link(connected=True))
        self._begin(client)


class BrokerConnection(Connection):
    """Subscribes to `topics` and hands every message to `on_message(topic, payload, retained)`."""

    def __init__(
        self,
        target: MqttSettings,
        topics: Sequence[str],
        on_message: OnMessage,
        on_link: Callable[[Link], None],
        clock: Clock,
    ) -> None:
        super().__init__(target, on_link, clock)
        self._topics = list(topics)
        self._on_message = on_message
        self.subscribed = False
        """Whether the broker has acknowledged the newest subscription."""
        self._first_subscription: int | None = None

    def subscribe(self, topics: Sequence[str]) -> None:
        """Subscribe to more, now and after every reconnect."""
        self._topics += topics
        client = self._client
        if client is not None and self._accepted:
            self.subscribed = False
            client.subscribe([(topic, QOS) for topic in topics])

    def _make_client(self) -> "Client":
        self.subscribed, self._first_subscription = False, None
        client = super()._make_client()
        client.on_subscribe = self._subscribed
        client.on_message = self._message
        return client

    def _begin(self, client: "Client") -> None:
        _, self._first_subscription = client.subscribe([(topic, QOS) for topic in self._topics])

    def _refused_after_all(self) -> Problem | None:
        return diagnosis.of_refused_subscription(self.target, self._topics[0], closed=True)

    def _subscribed(self, _client: "Client", _userdata: Any, mid: int, reasons: Any, _properties: Any) -> None:
        self.subscribed = True
        if mid != self._first_subscription:
            return
        if all(reason.is_failure for reason in reasons):
            self._refusal = diagnosis.of_refused_subscription(self.target, self._topics[0], closed=False)
            return
        self._granted = True
        self.answered.set()

    def _message(self, _client: "Client", _userdata: Any, message: Any) -> None:
        self._received += 1
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        self._on_message(topic, message.payload, message.retain)


class _Buffer:
    """Reads ahead for paho, which asks the operating system for every header byte by itself.

    That is a third of what a message costs. paho has no public place for this; where a version of it has not the one
    used here, all goes on as before, only slower.
    """

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        self._receive = receive
        self._held = b""
        self._at = 0

    @classmethod
    def put_into(cls, client: "Client") -> "_Buffer":
        """Make `client` read through a buffer; true while that holds bytes."""
        receive = getattr(client, "_sock_recv", None)
        found = cls(receive or (lambda _: b""))
        if receive is not None:
            client._sock_recv = found.take  # type: ignore[method-assign]  # noqa: SLF001
        return found

    def take(self, bufsize: int) -> bytes:
        """At most `bufsize` bytes, as `recv` would give them: none at the end of the stream.

        Raises: what `recv` raises.
        """
        if not self:
            self._held = self._receive(CHUNK_BYTES)
            self._at = 0
        begin = self._at
        self._at = begin + bufsize
        return self._held[begin : self._at]

    def __bool__(self) -> bool:
        return self._at < len(self._held)


class _Nonsense(Exception):
    """The broker does what no broker may: it accepts a connection twice."""


def _announced(client: "Client") -> int:
    """How many bytes the packet that is under way shall have; paho itself knows no limit, and no public name for it."""
    under_way: dict[str, int] = getattr(client, "_in_packet", {})
    return under_way.get("remaining_length", 0)


def _pending(sock: Any) -> bool:
    """Whether TLS holds bytes that the operating system no longer knows of."""
    pending = getattr(sock, "pending", None)
    return pending is not None and pending() > 0
