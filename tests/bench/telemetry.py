"""watch-mqtt measured against a bare paho subscriber that only counts, on one private Mosquitto."""

import fcntl
import json
import os
import pty
import random
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tmsync.core.teslamate.topics import PARSERS
from tmsync.demo.broker import PrivateMosquitto

TOPICS = 60
CARS = (1, 10, 100, 200, 1000)
GOAL_CARS = 200
MESSAGES = 60_000
MEMORY_FROM, MEMORY_TO = 10_000, 500_000
TABLE_CARS = 20
TABLE_SECONDS = 20.0
MEGABYTE = 1024 * 1024
PUBLISH_FROM, PUBLISH_TO, PUBLISH_ROUNDS = 100_000, 300_000, 5
PUBLISH_LIMIT = 0.15


class Reading(NamedTuple):
    """A figure with its spread between the quartiles, and what must hold. better: "more" or "less"."""

    name: str
    value: float
    spread: float
    unit: str
    limit: float | None = None
    better: str = "less"

    @property
    def ok(self) -> bool:
        if self.limit is None:
            return True
        return self.value <= self.limit if self.better == "less" else self.value >= self.limit

    def as_json(self) -> dict[str, Any]:
        return {**self._asdict(), "ok": self.ok}


def readings(rounds: int) -> list[Reading]:
    """All figures. rounds: of each pair of subscribers."""
    with tempfile.TemporaryDirectory(prefix="tmsync-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        (folder / "broker").mkdir()
        with PrivateMosquitto(folder / "broker") as broker:
            found = [reading for cars in CARS for reading in rates(broker.port, cars, rounds)]
            found.append(memory(broker.port))
            found += publishing(broker.port)
            found.append(table_cost(broker.port))
            found.append(first_row(broker.port, rounds))
    return found


def rates(port: int, cars: int, rounds: int) -> list[Reading]:
    """Messages a second of both, in turn, so that a busy machine slows both alike."""
    if cars != GOAL_CARS:
        rounds = 7
    messages = list(stream(cars, MESSAGES))
    ratios, mine, theirs = [], [], []
    for _ in range(rounds):
        bare = MESSAGES / subscribe("bare", port, messages)["seconds"]
        ours = MESSAGES / subscribe("tmsync", port, messages)["seconds"]
        mine.append(ours)
        theirs.append(bare)
        ratios.append(ours / bare)
    goal = 0.85 if cars == GOAL_CARS else None
    label = f"{cars:,} car{'s' if cars > 1 else ''} of {TOPICS} topics"
    return [
        Reading(f"bare paho, {label}", statistics.median(theirs), spread(theirs), "messages/s"),
        Reading(f"watch-mqtt, {label}", statistics.median(mine), spread(mine), "messages/s"),
        Reading(f"watch-mqtt / bare paho, {label}", statistics.median(ratios), spread(ratios), "x", goal, "more"),
    ]


def memory(port: int) -> Reading:
    messages = list(stream(GOAL_CARS, MEMORY_TO))
    grown = subscribe("tmsync", port, messages, MEMORY_FROM)["grown_bytes"] / MEGABYTE
    name = f"memory from the {MEMORY_FROM:,}th to the {MEMORY_TO:,}th message"
    return Reading(name, grown, 0.0, "MiB", 5.0)


def publishing(port: int) -> Iterator[Reading]:
    """Processor time that publishing adds to that of taking messages in at full speed, once all has been published."""
    messages = list(stream(GOAL_CARS, PUBLISH_TO))
    # All values of all cars change between any two heartbeats here: that is the most there can be, and has no limit.
    names = {"publishing": ("verdicts", PUBLISH_LIMIT), "publishing values": ("verdicts and values", None)}
    shares: dict[str, list[float]] = {kind: [] for kind in names}
    for _ in range(PUBLISH_ROUNDS):
        alone = subscribe("judging", port, messages, PUBLISH_FROM)["cpu_per_message"]
        for kind, found in shares.items():
            found.append(subscribe(kind, port, messages, PUBLISH_FROM)["cpu_per_message"] / alone - 1)
    for kind, found in shares.items():
        what, limit = names[kind]
        name = f"publishing {what}, {GOAL_CARS} cars, of the intake"
        yield Reading(name, statistics.median(found), spread(found), "x", limit)


def subscribe(kind: str, port: int, messages: list[bytes], mark: int = 10) -> dict[str, float]:
    """Let one subscriber take all of `messages`."""
    command = [sys.executable, "-m", "tests.bench.subscriber", kind, str(port), str(len(messages)), str(mark)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    with connection(port) as sock:
        for begin in range(0, len(messages), 500):
            sock.sendall(b"".join(messages[begin : begin + 500]))
        told: dict[str, float] = json.loads(process.stdout.readline())
    process.wait()
    process.stdout.close()
    return told


def stream(cars: int, count: int) -> Iterator[bytes]:
    """PUBLISH packets, QoS 0: every topic in turn, with values that change."""
    keys = [key for key in PARSERS if key not in ("healthy", "state", "since", "display_name")][: TOPICS - 2]
    topics = [f"teslamate/cars/{car}/{key}" for car in range(1, cars + 1) for key in [*keys, "healthy", "state"]]
    draw = random.Random(cars)
    for number in range(count):
        topic = topics[number % len(topics)]
        yield publish_packet(topic, payload(topic, number, draw))


def payload(topic: str, number: int, draw: random.Random) -> bytes:
    key = topic.rsplit("/", 1)[1]
    kind = PARSERS[key].__name__
    if key == "state":
        return b"driving"
    if key == "healthy" or kind == "_boolean":
        return b"true" if key == "healthy" or draw.random() < 0.5 else b"false"
    if kind == "_number":
        return f"{draw.uniform(0, 400):.2f}".encode()
    return b"2026-11-24T16:%02d:%02dZ" % (number // 60 % 60, number % 60) if kind == "_time" else b"text %d" % number


def publish_packet(topic: str, value: bytes) -> bytes:
    body = struct.pack("!H", len(topic)) + topic.encode() + value
    length, encoded = len(body), b""
    while True:
        length, digit = divmod(length, 128)
        encoded += bytes([digit | (0x80 if length else 0)])
        if not length:
            return b"\x30" + encoded + body


@contextmanager
def connection(port: int) -> Iterator[socket.socket]:
    """An MQTT session by hand: paho could not publish as fast as a subscriber can count."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"\x10\x11\x00\x04MQTT\x04\x02\x00\x00\x00\x05bench")
        assert sock.recv(4)[0] == 0x20
        yield sock


# -- the screen


def retain(port: int, cars: int, topics: int, state: str) -> None:
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.max_queued_messages_set(0)
    client.connect("127.0.0.1", port)
    client.loop_start()
    keys = [key for key in PARSERS if PARSERS[key].__name__ == "_number"]
    keys = ["state", "display_name", *keys, *(f"other_{number}" for number in range(topics))][:topics]
    last = None
    for car in range(1, cars + 1):
        for key in keys:
            value = {"state": state, "display_name": f"Car {car}"}.get(key, "63")
            last = client.publish(f"teslamate/cars/{car}/{key}", value, qos=1, retain=True)
    if last is not None:
        last.wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


def forget(port: int, cars: int) -> None:
    """Take all retained values back."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    held: list[str] = []
    client.on_message = lambda _client, _data, message: held.append(message.topic)
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.subscribe("teslamate/#")
    time.sleep(1 + cars / 100)
    for topic in held:
        client.publish(topic, b"", qos=1, retain=True)
    time.sleep(1 + cars / 100)
    client.disconnect()
    client.loop_stop()


class Screen:
    """`tmsync watch-mqtt` on a terminal of 140 x 40."""

    def __init__(self, port: int) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))
        tmsync = Path(sys.executable).with_name("tmsync")
        self.begun = time.perf_counter()
        self.process = subprocess.Popen(
            [tmsync, "watch-mqtt", "--mqtt-host", "127.0.0.1", "--mqtt-port", str(port)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm-256color"},
        )
        os.close(slave)
        self.row_after: float | None = None
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        tail = b""
        while True:
            try:
                tail = (tail + os.read(self.master, 65536))[-200_000:]
            except OSError:
                return
            if self.row_after is None and b"Car 1 " in tail:
                self.row_after = time.perf_counter() - self.begun

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.thread.join(5)
        os.close(self.master)


@contextmanager
def quiet_cars(port: int) -> Iterator[None]:
    """Cars that are asleep, with a heartbeat each every 30 s."""
    retain(port, TABLE_CARS, TOPICS, "asleep")
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    ended = threading.Event()

    def beat() -> None:
        while not ended.is_set():
            for car in range(1, TABLE_CARS + 1):
                client.publish(f"teslamate/cars/{car}/healthy", "true", qos=1)
                ended.wait(30 / TABLE_CARS)

    beats = threading.Thread(target=beat, daemon=True)
    beats.start()
    try:
        yield
    finally:
        ended.set()
        beats.join()
        client.disconnect()
        client.loop_stop()
        forget(port, TABLE_CARS)


def shares_of_a_core(pid: int) -> list[float]:
    """Percent of a core that a process takes, again and again."""
    shares = []
    for _ in range(7):
        before = cpu_seconds(pid)
        time.sleep(TABLE_SECONDS / 7)
        shares.append((cpu_seconds(pid) - before) / (TABLE_SECONDS / 7) * 100)
    return shares


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def table_cost(port: int) -> Reading:
    """CPU of the live table with quiet cars."""
    with quiet_cars(port):
        screen = Screen(port)
        time.sleep(4)
        shares = shares_of_a_core(screen.process.pid)
        screen.close()
    name = f"live table, {TABLE_CARS} quiet cars"
    return Reading(name, statistics.mean(shares), spread(shares), "% of a core", 4.0)


def first_row(port: int, rounds: int) -> Reading:
    """Seconds from the start of the process to the first row, beside 12,000 retained messages."""
    retain(port, GOAL_CARS, TOPICS, "asleep")
    taken = []
    for _ in range(max(7, min(rounds, 15)) + 1):
        screen = Screen(port)
        deadline = time.perf_counter() + 20
        while screen.row_after is None and time.perf_counter() < deadline:
            time.sleep(0.005)
        screen.close()
        if screen.row_after is None:
            raise RuntimeError("watch-mqtt showed no row")
        taken.append(screen.row_after)
    forget(port, GOAL_CARS)
    name = f"first row, {GOAL_CARS * TOPICS:,} retained messages"
    return Reading(name, statistics.median(taken[1:]), spread(taken[1:]), "s", 0.5)


def spread(values: list[float]) -> float:
    quartiles = statistics.quantiles(values, n=4)
    return quartiles[2] - quartiles[0]


def show(found: list[Reading]) -> None:
    print(f"\n{'what':<57}{'figure':>10}{'spread':>9}  {'unit':<12}{'limit':>8}")
    for reading in found:
        limit = "-" if reading.limit is None else f"{'<=' if reading.better == 'less' else '>='} {reading.limit:g}"
        digits = 0 if reading.value >= 1000 else 3
        verdict = "" if reading.ok else "  missed"
        figure = f"{reading.value:>10,.{digits}f}{reading.spread:>9,.{digits}f}"
        print(f"{reading.name:<57}{figure}  {reading.unit:<12}{limit:>8}{verdict}")


if __name__ == "__main__":
    show(readings(7))
