"""A broker that sends anything: the feed says why the connection ended, comes again, and never dies."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hostile.effort import examples
from tests.support.listeners import listener
from tmsync.core.causes import Cause
from tmsync.core.clock import SystemClock
from tmsync.core.config.settings import MqttSettings
from tmsync.core.telemetry import connection as feed
from tmsync.core.telemetry import diagnosis
from tmsync.core.telemetry.connection import BrokerConnection, Link

SECONDS = 20.0
CONNACK = b"\x20\x02\x00\x00"


def length(number: int) -> bytes:
    """MQTT's remaining length."""
    out = b""
    while True:
        number, low = divmod(number, 128)
        out += bytes([low | (128 if number else 0)])
        if not number:
            return out


def packet(kind: int, body: bytes, announced: int | None = None) -> bytes:
    return bytes([kind]) + length(len(body) if announced is None else announced) + body


GOOD = CONNACK + packet(0x30, struct.pack("!H", 22) + b"teslamate/cars/1/state" + b"online")


class Patient:
    """A feed on a server, with what came of it."""

    def __init__(self, port: int) -> None:
        self.links: list[Link] = []
        self.arrived = threading.Event()
        self.messages: list[tuple[str, bytes, bool]] = []
        target = MqttSettings("127.0.0.1", port, None, None, "", False, None, None, None, False)
        self.feed = BrokerConnection(target, ["teslamate/cars/+/+"], self._message, self.links.append, SystemClock())

    def _message(self, topic: str, payload: bytes, retained: bool) -> None:
        self.messages.append((topic, payload, retained))
        if (topic, payload) == ("teslamate/cars/1/state", b"online"):
            self.arrived.set()

    @property
    def causes(self) -> list[Cause]:
        return [link.problem.cause for link in self.links if link.problem is not None]


@contextlib.contextmanager
def broker(*answers: Callable[[socket.socket], None]) -> Iterator[Patient]:
    """A feed on a broker that gives each connection of the feed's the next answer, the last one for ever."""
    left = list(answers)

    def answer(sock: socket.socket) -> None:
        hello = sock.recv(1024)
        # What comes from the diagnosis, which asks once more by hand, is hung up on.
        if b"tmsync-" in hello:
            (left.pop(0) if len(left) > 1 else left[0])(sock)
        sock.close()

    with listener(answer) as port:
        patient = Patient(port)
        patient.feed.start()
        try:
            yield patient
        finally:
            patient.feed.stop()
            assert not patient.feed._thread.is_alive()


def sends(data: bytes) -> Callable[[socket.socket], None]:
    """Send and hang up, in good order."""

    def answer(sock: socket.socket) -> None:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(SECONDS)
        while sock.recv(4096):
            pass

    return answer


def stays(data: bytes) -> Callable[[socket.socket], None]:
    """Send and wait until the other side has had enough."""

    def answer(sock: socket.socket) -> None:
        sock.sendall(data)
        sock.settimeout(SECONDS)
        while sock.recv(4096):
            pass

    return answer


def endless(data: bytes) -> Callable[[socket.socket], None]:
    """Send the same for as long as it is taken."""

    def answer(sock: socket.socket) -> None:
        sock.settimeout(SECONDS)
        while True:
            sock.sendall(data)

    return answer


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed, "RETRY_FIRST_S", 0.001)
        patch.setattr(feed, "RETRY_MOST_S", 0.01)
        patch.setattr(diagnosis, "ASK_AGAIN_S", 0.5)
        yield


GARBAGE = {
    "publish-without-topic": packet(0x30, b""),
    "publish-topic-too-long": packet(0x30, b"\xff\xffab"),
    "publish-empty-topic": packet(0x30, b"\x00\x00x"),
    "publish-qos-3": packet(0x36, b"\x00\x01a\x00\x01"),
    "publish-no-mid": packet(0x32, b"\x00\x01a"),
    "suback-empty": packet(0x90, b""),
    "suback-unknown-code": packet(0x90, b"\x00\x01\x55"),
    "connack-short": packet(0x20, b""),
    "connack-long": packet(0x20, b"\x00\x00\x00"),
    "reserved": packet(0xF0, b"abc"),
    "pubrel": packet(0x62, b"\x00"),
    "overlong-length": b"\x30\xff\xff\xff\xff\x01",
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "zeros": b"\x00" * 64,
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
@pytest.mark.parametrize("accepted", [b"", CONNACK], ids=["at-once", "once-accepted"])
def test_garbage_ends_the_connection_and_not_the_feed(accepted: bytes, garbage: bytes) -> None:
    with broker(sends(accepted + garbage), stays(GOOD)) as patient:
        assert patient.arrived.wait(SECONDS)


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6, 0x7F, 0xFF])
def test_every_refusal_is_told_and_tried_again(code: int) -> None:
    with broker(sends(packet(0x20, bytes([0, code]))), stays(GOOD)) as patient:
        assert patient.arrived.wait(SECONDS)
        assert patient.causes[0] in (Cause.REFUSED, Cause.NOT_AUTHORISED, Cause.NOT_MQTT)


def test_huge_packet_is_not_waited_for() -> None:
    with broker(stays(CONNACK + packet(0x30, b"\x00\x01a", 268_435_455)), stays(GOOD)) as patient:
        assert patient.arrived.wait(SECONDS)
        assert patient.causes[0] is Cause.CONNECTION_LOST


REFUSED = CONNACK + packet(0x90, b"\x00\x01\x80")
GRANTED = CONNACK + packet(0x90, b"\x00\x01\x00")


@pytest.mark.parametrize("refuses", [stays(REFUSED), sends(CONNACK)], ids=["suback-0x80", "closes-on-subscribe"])
def test_a_refused_subscription_is_told_as_that(refuses: Callable[[socket.socket], None]) -> None:
    with broker(refuses, stays(GOOD)) as patient:
        assert patient.arrived.wait(SECONDS)
        problem = patient.links[1].problem
        assert problem is not None
        assert problem.cause is Cause.NOT_AUTHORISED
        assert "to teslamate/cars/+/+: its access list must let anonymous clients read it" in problem.message
        assert [step.command for step in problem.fix] == [
            "topic read teslamate/#",
            '{allow, all, subscribe, ["teslamate/#"]}.',
        ]
        assert patient.feed.answered.is_set()


@pytest.mark.parametrize("answer", [stays(REFUSED), sends(CONNACK)], ids=["suback-0x80", "closes-on-subscribe"])
def test_a_broker_that_keeps_refusing_is_asked_less_and_less(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[socket.socket], None]
) -> None:
    monkeypatch.setattr(feed, "RETRY_FIRST_S", 0.2)
    monkeypatch.setattr(feed, "RETRY_MOST_S", 60)
    with broker(answer) as patient:
        time.sleep(3)
        # At 0, 0.2, 0.6, 1.4 and 3 s; one every 0.2 s would be 15.
        assert 3 <= len(patient.causes) <= 5
        assert patient.feed.retry_at is not None


def test_a_broker_that_grants_and_goes_away_is_asked_at_once() -> None:
    with broker(sends(GRANTED), stays(GOOD)) as patient:
        assert patient.arrived.wait(SECONDS)
        assert patient.causes == [Cause.CONNECTION_LOST]


def test_endless_acceptance_is_none() -> None:
    with broker(endless(CONNACK * 100), stays(GOOD)) as patient:
        assert patient.arrived.wait(SECONDS)
        assert [link.connected for link in patient.links[:3]] == [True, False, True]


def test_topics_that_are_no_text_are_passed_over() -> None:
    bad = b"".join(
        packet(0x30, struct.pack("!H", len(topic)) + topic + b"x") for topic in (b"\xff\xfe", b"\xed\xa0\x80")
    )
    with broker(stays(CONNACK + bad + GOOD.removeprefix(CONNACK))) as patient:
        assert patient.arrived.wait(SECONDS)
        assert [topic for topic, _, _ in patient.messages] == ["teslamate/cars/1/state"]
        assert patient.causes == []


def test_dripping_broker_keeps_nobody_from_stopping() -> None:
    def drip(sock: socket.socket) -> None:
        for byte in CONNACK + packet(0x30, b"\x00\x01a" + b"x" * 10_000):
            sock.sendall(bytes([byte]))
            time.sleep(0.01)

    with broker(drip) as patient:
        while not patient.links:
            time.sleep(0.01)
        assert patient.links[0].connected


PACKETS = st.one_of(
    st.binary(max_size=40),
    st.builds(packet, st.integers(0, 255), st.binary(max_size=40)),
    st.builds(packet, st.integers(0, 255), st.binary(max_size=40), st.integers(0, 268_435_455)),
    st.builds(packet, st.sampled_from([0x30, 0x31, 0x32, 0x34, 0x20, 0x90, 0x40, 0x50, 0x62, 0x70, 0xB0, 0xD0, 0xE0]),
              st.binary(max_size=12)),
    st.sampled_from([CONNACK, *GARBAGE.values()]),
)  # fmt: skip


@examples(30)
@given(st.booleans(), st.lists(PACKETS, max_size=6).map(b"".join))
def test_nothing_a_broker_sends_keeps_the_feed_from_coming_again(accepted: bool, data: bytes) -> None:
    with broker(sends((CONNACK if accepted else b"") + data), stays(GOOD)) as patient:
        assert patient.arrived.wait(SECONDS)
