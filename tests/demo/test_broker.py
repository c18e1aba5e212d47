"""The private brokers, seen through a real client."""

import contextlib
import os
import shutil
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from tests.conftest import server_folder
from tests.support.certificates import Authority
from tests.support.mosquitto import Mosquitto, password_line
from tmsync.demo.broker import (
    PrivateMosquitto,
    PurePythonBroker,
    find_mosquitto,
    mosquitto_version,
    private_broker,
)
from tmsync.demo.server import DemoError, PrivateServer, free_port

PASSWORD = "pass:SECRET $word"
needs_mosquitto = pytest.mark.skipif(find_mosquitto() is None, reason="needs Mosquitto: sudo apt-get install mosquitto")
Message = tuple[str, bytes, bool]


class Client:
    """A paho client in a thread; `answer` is the broker's word on the connection."""

    def __init__(self, broker: PrivateServer, prepare: Callable[[mqtt.Client], object] = lambda _: None) -> None:
        self.mqtt = mqtt.Client(CallbackAPIVersion.VERSION2)
        self.answer = ""
        self.answered = threading.Event()
        self.messages: list[Message] = []
        self.news = threading.Condition()
        self.mqtt.on_connect = self._connected
        self.mqtt.on_message = self._message
        prepare(self.mqtt)
        self.mqtt.connect("localhost", broker.port)
        self.mqtt.loop_start()
        assert self.answered.wait(20)

    def _connected(self, *arguments: object) -> None:
        reason = arguments[3]
        assert isinstance(reason, ReasonCode)
        self.answer = str(reason)
        self.answered.set()

    def _message(self, _: mqtt.Client, __: object, message: mqtt.MQTTMessage) -> None:
        with self.news:
            self.messages.append((message.topic, message.payload, message.retain))
            self.news.notify_all()

    def publish(self, topic: str, payload: bytes, *, retain: bool = True) -> None:
        self.mqtt.publish(topic, payload, qos=1, retain=retain).wait_for_publish(20)

    def wait_for(self, count: int) -> list[Message]:
        with self.news:
            self.news.wait_for(lambda: len(self.messages) >= count, 20)
            return list(self.messages)

    def close(self) -> None:
        self.mqtt.disconnect()
        self.mqtt.loop_stop()


@contextlib.contextmanager
def client(broker: PrivateServer, prepare: Callable[[mqtt.Client], object] = lambda _: None) -> Iterator[Client]:
    made = Client(broker, prepare)
    try:
        yield made
    finally:
        made.close()


def as_user(name: str, password: str = PASSWORD) -> Callable[[mqtt.Client], None]:
    return lambda made: made.username_pw_set(name, password)


def talk_tls(port: int, context: ssl.SSLContext) -> bytes:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as wrapped,
    ):
        return wrapped.recv(1)


@pytest.fixture
def folder() -> Iterator[Path]:
    with server_folder() as path:
        yield path


@needs_mosquitto
def test_missing_and_wrong_passwords_are_refused_and_the_right_one_let_in(folder: Path) -> None:
    with Mosquitto(folder, passwords={"tess": PASSWORD}) as broker:
        with client(broker) as nobody:
            assert nobody.answer == "Not authorized"
        with client(broker, as_user("tess", "wrong")) as wrong:
            assert wrong.answer == "Not authorized"
        with client(broker, as_user("tess")) as right:
            assert right.answer == "Success"
        arguments = Path(f"/proc/{broker.process.pid}/cmdline").read_bytes() if broker.process else b""
        assert arguments.endswith(b"mosquitto\0-c\0mosquitto.conf\0")
        assert PASSWORD not in repr(broker)
    for path in folder.iterdir():
        assert PASSWORD not in path.read_text(), path.name
        assert path.name == "server.log" or path.stat().st_mode & 0o077 == 0, path.name


@needs_mosquitto
def test_acl_hides_what_it_does_not_name(folder: Path) -> None:
    acl = "user tess\ntopic readwrite seen/#\n\nuser mate\ntopic readwrite #\n"
    with Mosquitto(folder, passwords={"tess": PASSWORD, "mate": PASSWORD}, acl=acl) as broker:
        with client(broker, as_user("mate")) as writer:
            writer.publish("hidden/x", b"1")
            writer.publish("seen/x", b"2")
        with client(broker, as_user("tess")) as reader:
            reader.mqtt.subscribe("#", qos=1)
            assert reader.wait_for(1) == [("seen/x", b"2", True)]


@needs_mosquitto
def test_tls_is_verified_against_the_authority(folder: Path, authority: Authority) -> None:
    with Mosquitto(folder, tls=authority.issue("localhost")) as broker:
        with client(broker, lambda made: made.tls_set(str(authority.root))) as trusting:
            assert trusting.answer == "Success"
        with pytest.raises(ssl.SSLCertVerificationError):
            talk_tls(broker.port, ssl.create_default_context())


@needs_mosquitto
def test_client_certificate_is_demanded(folder: Path, authority: Authority) -> None:
    certificate, key = authority.issue("client.invalid")
    with Mosquitto(folder, tls=authority.issue("localhost"), client_ca=authority.root) as broker:
        with client(broker, lambda made: made.tls_set(str(authority.root), str(certificate), str(key))) as known:
            assert known.answer == "Success"
        context = ssl.create_default_context(cafile=str(authority.root))
        with pytest.raises(ssl.SSLError, match=r"(?i)certificate required"):
            talk_tls(broker.port, context)


@needs_mosquitto
def test_thousands_of_retained_values_reach_a_late_subscriber(folder: Path) -> None:
    expected = {(f"t/{number}", str(number).encode(), True) for number in range(12_000)}
    with Mosquitto(folder) as broker, client(broker) as writer:
        for topic, payload, retain in expected:
            writer.mqtt.publish(topic, payload, qos=1, retain=retain)
        writer.publish("end", b"")
        with client(broker) as reader:
            reader.mqtt.subscribe("t/#", qos=1)
            assert set(reader.wait_for(len(expected))) == expected


@needs_mosquitto
@pytest.mark.parametrize(
    ("persistence", "how", "kept"),
    [(True, signal.SIGTERM, True), (False, signal.SIGTERM, False), (True, signal.SIGKILL, False)],
)
def test_retained_values_outlive_an_orderly_restart_with_persistence(
    folder: Path, persistence: bool, how: signal.Signals, kept: bool
) -> None:
    with Mosquitto(folder, persistence=persistence) as broker:
        port = broker.port
        with client(broker) as writer:
            writer.publish("kept", b"1")
        broker.restart(how)
        assert broker.port == port
        with client(broker) as reader:
            reader.mqtt.subscribe("#", qos=1)
            reader.publish("live", b"2", retain=False)
            expected = [("kept", b"1", True)] if kept else []
            assert sorted(reader.wait_for(len(expected) + 1)) == [*expected, ("live", b"2", False)]


@needs_mosquitto
def test_sys_topics_come_quickly(folder: Path) -> None:
    with Mosquitto(folder) as broker, client(broker) as reader:
        reader.mqtt.subscribe("$SYS/broker/clients/connected", qos=1)
        assert reader.wait_for(1)[0][0] == "$SYS/broker/clients/connected"


@needs_mosquitto
def test_changed_fields_take_effect_at_restart(folder: Path) -> None:
    with Mosquitto(folder) as broker:
        broker.passwords = {"tess": PASSWORD}
        broker.restart()
        with client(broker) as nobody:
            assert nobody.answer == "Not authorized"


@needs_mosquitto
def test_broker_does_not_run_as_root(folder: Path) -> None:
    with Mosquitto(folder) as broker:
        assert broker.process is not None
        assert (broker.user is None) == (os.geteuid() != 0)
        assert Path(f"/proc/{broker.process.pid}").stat().st_uid != 0


@needs_mosquitto
def test_broker_that_cannot_start_says_why(folder: Path) -> None:
    with pytest.raises(DemoError, match=r"private Mosquitto broker did not start: .*bananas"):
        Mosquitto(folder, extra=["bananas true"]).start()
    with socket.create_server(("127.0.0.1", 0)) as other:
        broker = Mosquitto(folder, port=other.getsockname()[1])
        with pytest.raises(DemoError, match=r"did not start: .*Address already in use"):
            broker.start()
    assert broker.process is None


def test_no_mosquitto_is_told_with_what_to_install(folder: Path) -> None:
    with pytest.raises(DemoError) as caught:
        Mosquitto(folder, program=None).start()
    assert "apt-get install mosquitto" in caught.value.problem.fix[0].command


def test_mosquitto_is_found_beside_the_search_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr("tmsync.demo.broker.USUAL_FOLDERS", (folder / "none", folder / "sbin"))
    assert find_mosquitto() is None
    program = folder / "sbin" / "mosquitto"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho mosquitto version 9.9.9\nexit 3\n")
    assert find_mosquitto() is None
    program.chmod(0o755)
    assert find_mosquitto() == program
    assert mosquitto_version(program) == "9.9.9"
    assert Mosquitto(folder).origin == f"Mosquitto 9.9.9 ({program})"


@pytest.mark.skipif(shutil.which("mosquitto_passwd") is None, reason="needs mosquitto_passwd")
def test_password_lines_look_like_mosquittos_own(folder: Path) -> None:
    line = password_line("tess", PASSWORD)
    assert [len(part) for part in line.strip().split("$")] == [5, 1, 3, 16, 88]
    assert line != password_line("tess", PASSWORD)


@pytest.mark.parametrize("kind", [pytest.param(PrivateMosquitto, marks=needs_mosquitto), PurePythonBroker])
def test_broker_delivers_and_is_gone_after_its_stop(
    folder: Path, kind: type[PrivateMosquitto] | type[PurePythonBroker]
) -> None:
    port = free_port()
    with kind(folder, port=port) as broker:
        process = broker.process
        assert process is not None
        with client(broker) as writer, client(broker) as reader:
            writer.publish("kept", b"1")
            reader.mqtt.subscribe("#", qos=1)
            reader.wait_for(1)
            writer.publish("live", b"2", retain=False)
            reader.wait_for(2)
            # A set: amqtt may deliver a retained value twice.
            assert set(reader.wait_for(2)) >= {("kept", b"1", True)}
        broker.restart()
        with client(broker) as again:
            assert again.answer == "Success"
        assert process.poll() is not None
        process = broker.process
        assert process is not None
    assert process.poll() is not None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    broker.stop()


def test_mosquitto_is_preferred_and_amqtt_serves_without_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if find_mosquitto() is not None:
        assert isinstance(private_broker(folder), PrivateMosquitto)
    monkeypatch.setattr("tmsync.demo.broker.find_mosquitto", lambda: None)
    broker = private_broker(folder)
    assert isinstance(broker, PurePythonBroker)
    assert broker.origin.startswith("amqtt 0.")
    monkeypatch.setattr(PurePythonBroker, "available", staticmethod(lambda: False))
    with pytest.raises(DemoError, match="no MQTT broker"):
        private_broker(folder)
