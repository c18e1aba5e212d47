"""The live table on a real terminal."""

import os
import re
import shlex
import sys
import termios
from collections.abc import Callable, Iterator

import pytest

from tests.support.brokers import BLUE, Broker, broker, needs_mosquitto
from tests.support.terminal import terminal

pytestmark = needs_mosquitto
QUICK = {"TMSYNC_HEALTH_LATE_AFTER_CHARGING": "1", "TMSYNC_HEALTH_STALE_AFTER_CHARGING": "3"}
EVENT = "connected to the broker"
"""Stands at the foot of the screen, so that all above it is drawn."""


@pytest.fixture
def mosquitto() -> Iterator[Broker]:
    with broker() as running:
        running.publisher.car(**BLUE)
        running.publisher.car(2, display_name="[red]x[/]\x1b[31m\x07", state="asleep", battery_level="9")
        yield running


def shows(*words: str, without: str = "\0") -> Callable[[list[str]], bool]:
    """Whether a screen that is drawn to its end has all of `words`, and nowhere what it is to be `without`."""
    return lambda lines: (
        all(any(word in line for line in lines) for word in words) and not any(without in line for line in lines)
    )


def test_at_80_columns_each_vehicle_has_its_line(mosquitto: Broker) -> None:
    with terminal(["watch-mqtt"], mosquitto.environ()) as screen:
        lines = screen.wait_for(lambda lines: sum("waiting" in line for line in lines) == 2)
        assert lines[0].startswith(f"tmsync broker 127.0.0.1 port {mosquitto.port} connected, no namespace, ")
        head = next(line for line in lines if line.startswith("Vehicle"))
        assert head.split() == ["Vehicle", "State", "Battery", "Charging", "OK", "Beat", "Verdict", "Source"]
        blue = next(line for line in lines if line.startswith("Blue"))
        for part in ("charging ", "63/80%", "11kW 1h15", "waiting", "undecided"):
            assert part in blue
        assert any(line.startswith(r"[red]x[/]\x1b") for line in lines)
        assert not any(line.endswith("…") for line in lines)
        mosquitto.publisher.healthy()
        lines = screen.wait_for(lambda lines: any("being provided by TeslaMate" in line for line in lines))
        assert "fresh" in next(line for line in lines if line.startswith("Blue"))
        screen.wait_for(lambda lines: any(line.startswith("Blue") and " 2s " in line for line in lines))
        assert b"\x1b[31m\x07" not in screen.raw
        assert screen.end() == 0


def test_reasons_stand_beside_the_rows_or_below_them(mosquitto: Broker) -> None:
    with terminal(["watch-mqtt"], mosquitto.environ(), 220, 40) as screen:
        screen.wait_for(shows("Reason", "Blue", "11 kW 16 A 1 h 15 min left", "only retained values so far", EVENT))
        screen.resize(140, 40)
        screen.wait_for(shows("11 kW 16 A 1 h 15 min left", "    only retained values so far", EVENT, without="Reason"))
        screen.resize(80, 24)
        screen.wait_for(shows("Blue", "11kW 1h15", "    only retained values so far", EVENT, without="Reason"))
        assert screen.end() == 0


def test_at_40_columns_the_state_of_the_broker_and_whole_events_are_told(mosquitto: Broker) -> None:
    with terminal(["watch-mqtt"], mosquitto.environ(), 40, 24) as screen:
        lines = screen.wait_for(lambda lines: any("waiting" in line for line in lines) and "connected" in lines[0])
        assert all(len(line) <= 40 for line in lines)
        mosquitto.publisher.healthy()
        lines = screen.wait_for(shows("Vehicle Blue telemetry being", "         provided by TeslaMate"))
        assert screen.end() == 0


def test_stale_is_seen_with_its_reason(mosquitto: Broker) -> None:
    with terminal(["watch-mqtt"], mosquitto.environ(**QUICK)) as screen:
        lines = screen.wait_for(lambda lines: any("stale. Switching back to TeslaAPI" in line for line in lines))
        assert "TeslaAPI" in next(line for line in lines if line.startswith("Blue"))
        blue = next(index for index, line in enumerate(lines) if line.startswith("Blue"))
        assert lines[blue + 1].startswith("    no heartbeat for ")
        mosquitto.server.stop()
        screen.wait_for(lambda lines: "lost" in lines[0])
        mosquitto.server.start()
        screen.wait_for(lambda lines: "connected" in lines[0], 40)
        assert screen.end() == 0


def test_thirty_cars_are_folded_with_trouble_on_top(mosquitto: Broker) -> None:
    for car_id in range(3, 33):
        mosquitto.publisher.car(car_id, display_name=f"Car {car_id}", state="online", healthy="true")
    mosquitto.publisher.car(32, healthy="false")
    with terminal(["watch-mqtt"], mosquitto.environ(), 80, 24) as screen:
        lines = screen.wait_for(lambda lines: any("more: " in line for line in lines))
        lines = screen.wait_for(lambda lines: any("Car 32" in line and "unhealthy" in line for line in lines))
        folded = next(line for line in lines if "more: " in line)
        assert folded.endswith("waiting")
        rows = [line for line in lines if line.endswith(("undecided", "TeslaAPI")) and "Switching" not in line]
        assert len(rows) + int(folded.split()[2]) == 32
        screen.resize(80, 48)
        screen.wait_for(lambda lines: any(line.startswith("Car 31 ") for line in lines) and "more: " not in str(lines))
        assert screen.end() == 0


@pytest.mark.parametrize("size", [(20, 5), (1, 1), (400, 100)])
def test_no_terminal_is_too_small_or_too_large(mosquitto: Broker, size: tuple[int, int]) -> None:
    with terminal(["watch-mqtt", "--duration", "3"], mosquitto.environ(), *size) as screen:
        assert screen.process.wait(30) == 0
        assert b"Traceback" not in screen.raw


def test_ctrl_c_leaves_the_terminal_as_it_was(mosquitto: Broker) -> None:
    with terminal(["watch-mqtt"], mosquitto.environ()) as screen:
        screen.wait_for(lambda lines: any("waiting" in line for line in lines))
        assert screen.end() == 0
        assert screen.raw.count(b"\x1b[?1049h") == screen.raw.count(b"\x1b[?1049l") == 1
        assert screen.raw.rindex(b"\x1b[?25h") > screen.raw.rindex(b"\x1b[?25l")
        assert b"Verdict" not in screen.raw[screen.raw.rindex(b"\x1b[?1049l") :]
        assert termios.tcgetattr(screen.slave)[:4] == screen.before[:4]
        assert b"Traceback" not in screen.raw


@pytest.mark.parametrize("key", [b"q", b"xyQ"])
def test_q_ends_it_and_the_last_events_stay_on_the_screen(mosquitto: Broker, key: bytes) -> None:
    with terminal(["watch-mqtt"], mosquitto.environ(**QUICK)) as screen:
        screen.wait_for(shows("stale. Switching back to TeslaAPI", "q ends"))
        os.write(screen.master, key)
        assert screen.process.wait(10) == 0
        screen.wait_for(lambda _: b"\x1b[?1049l" in screen.raw)
        left = screen.raw[screen.raw.rindex(b"\x1b[?1049l") :].decode()
        assert "connected to the broker" in left
        assert "Data from TeslaMate for Blue is stale. Switching back to TeslaAPI" in left
        assert key.decode() not in left
        assert termios.tcgetattr(screen.slave)[:4] == screen.before[:4]


def test_when_the_broker_is_tried_again_is_told(mosquitto: Broker) -> None:
    with terminal(["watch-mqtt"], mosquitto.environ()) as screen:
        screen.wait_for(lambda lines: "connected" in lines[0])
        mosquitto.server.stop()
        screen.wait_for(lambda lines: re.search(r" lost, next try in [2-8] s, ", lines[0]) is not None)
        assert screen.end() == 0


def test_without_a_keyboard_ctrl_c_ends_it(mosquitto: Broker) -> None:
    command = ["sh", "-c", f"exec {shlex.quote(sys.executable)} -m tmsync watch-mqtt </dev/null"]
    with terminal([], mosquitto.environ(), command=command) as screen:
        screen.wait_for(shows("Ctrl-C ends", "Blue"))
        assert screen.end() == 0


def test_a_command_that_fails_is_told_below_the_table(mosquitto: Broker) -> None:
    arguments = ["watch-mqtt", "--exec", "/bin/sh -c 'echo broken >&2; exit 3'"]
    with terminal(arguments, mosquitto.environ(**QUICK), 100, 24) as screen:
        lines = screen.wait_for(lambda lines: any("exit code 3: broken" in line for line in lines))
        assert lines[0].startswith("tmsync broker")
        assert any(line.startswith("Blue") for line in lines)
        assert b"tmsync: warning" not in screen.raw
        assert screen.end() == 0


def test_a_dumb_terminal_gets_log_lines(mosquitto: Broker) -> None:
    with terminal(["watch-mqtt", "--duration", "2"], mosquitto.environ(TERM="dumb")) as screen:
        assert screen.process.wait(30) == 0
        assert b"\x1b" not in screen.raw
        assert b"connected to the broker" in screen.raw


def test_nobody_there_yet_is_explained(mosquitto: Broker) -> None:
    with terminal(["watch-mqtt", "--namespace", "elsewhere"], mosquitto.environ()) as screen:
        screen.wait_for(lambda lines: any("No car yet" in line for line in lines))
        lines = screen.wait_for(lambda lines: any("Cars were seen without a namespace" in line for line in lines))
        assert 'set mqtt.namespace (--namespace) to "".' in " ".join(lines)
        assert screen.end() == 0
