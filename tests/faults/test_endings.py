"""Ctrl-C, SIGTERM and readers that go away: every command ends soon, quietly, with the exit code it should have."""

import fcntl
import os
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest

from tests.support.brokers import BLUE, Broker, broker, needs_mosquitto
from tests.support.listeners import listener, silence
from tests.support.surroundings import KEY, PASSWORD, TeslaMate, TwcFolder
from tests.support.terminal import terminal

PROGRAM = "import sys, tmsync.__main__ as program; print('begun', flush=True); program.main()"
"""What comes before that is Python's own start."""
MOMENTS = (0.0, 0.15, 0.6)
"""Seconds: while modules are imported, while names are looked up, while a server is waited for."""
SOON_S = 8.0
TMSYNC = f"'{sys.executable}' -m tmsync"


def clean(environ: dict[str, str]) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", **environ}


def wait_until_in_charge(pid: int) -> None:
    """Until tmsync has said how signals are to be dealt with: Python alone catches SIGINT and not SIGTERM."""
    deadline = time.monotonic() + SOON_S
    while time.monotonic() < deadline:
        text = Path(f"/proc/{pid}/status").read_text()
        caught = int(next(line for line in text.splitlines() if line.startswith("SigCgt")).split()[1], 16)
        if (caught >> (signal.SIGINT - 1) & 1) == (caught >> (signal.SIGTERM - 1) & 1):
            return
        time.sleep(0.001)


def ended(arguments: list[str], environ: dict[str, str], number: signal.Signals, moment: float) -> tuple[int, str, str]:
    """Exit code (negative: of which signal it died) and what it said."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=clean(environ),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            wait_until_in_charge(process.pid)
            time.sleep(moment)
            process.send_signal(number)
            out, err = process.communicate(timeout=SOON_S)
        finally:
            process.kill()
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("arguments", "interrupted", "terminated"),
    [
        (["check-db"], -signal.SIGINT, -signal.SIGTERM),
        (["sync-tokens"], -signal.SIGINT, -signal.SIGTERM),
        (["status", "--format", "nagios"], -signal.SIGINT, -signal.SIGTERM),
        (["watch-mqtt"], 0, 0),
        (["watch-mqtt", "--json", "--wait", "--with-db"], 0, 0),
        (["--verbose", "watch-mqtt", "--once"], 0, 0),
    ],
)
def test_interrupted_at_any_moment_it_ends_without_a_word(
    twc: TwcFolder, arguments: list[str], interrupted: int, terminated: int
) -> None:
    """All of them wait for a server that says nothing. A shell calls a death by signal 128 + its number: 130, 143."""
    twc.write({"carApiBearerToken": "old"})
    with listener(silence) as port:
        environ = {
            "TMSYNC_DATABASE_HOST": "127.0.0.1",
            "TMSYNC_DATABASE_PORT": str(port),
            "TMSYNC_DATABASE_PASSWORD": PASSWORD,
            "TMSYNC_TESLAMATE_ENCRYPTION_KEY": KEY,
            "TMSYNC_MQTT_HOST": "127.0.0.1",
            "TMSYNC_MQTT_PORT": str(port),
            "TMSYNC_TWCMANAGER_CONFIG_FILE": str(twc.config),
        }
        cases = list(product(((signal.SIGINT, interrupted), (signal.SIGTERM, terminated)), MOMENTS))
        with ThreadPoolExecutor(4) as side_by_side:
            found = list(side_by_side.map(lambda case: ended(arguments, environ, case[0][0], case[1]), cases))
    assert [code for code, _, _ in found] == [code for (_, code), _ in cases]
    assert {out + ("" if "--verbose" in arguments else err) for _, out, err in found} == {""}
    assert "Traceback" not in "".join(err for *_, err in found)
    assert (twc.read(), twc.listing()) == ({"carApiBearerToken": "old"}, ["config.json", "settings.json"])


def test_sync_tokens_killed_by_a_signal_leaves_the_settings_whole(teslamate: TeslaMate, twc: TwcFolder) -> None:
    """At moments all along its work; the next run finds nothing that disturbs it."""
    twc.write({"carApiBearerToken": "old", "chargeNowAmps": 32})
    environ = teslamate.environ(TMSYNC_TWCMANAGER_CONFIG_FILE=str(twc.config))
    for number in range(8):
        ended(["sync-tokens"], environ, signal.SIGTERM, 0.1 + number * 0.04)
        assert twc.read()["chargeNowAmps"] == 32
        assert twc.read()["carApiBearerToken"] in ("old", teslamate.access)
    assert teslamate.sync(twc).code == 0
    assert twc.read()["carApiBearerToken"] == teslamate.access


def test_a_signal_that_is_to_be_ignored_stays_ignored() -> None:
    """nohup, and jobs that a script puts into the background, start us with SIGINT ignored."""
    with listener(silence) as port:
        for arguments in ("check-db --timeout 1 --db-host", "watch-mqtt --wait --duration 2 --mqtt-host"):
            option = "--db-port" if "check-db" in arguments else "--mqtt-port"
            command = f"{TMSYNC} {arguments} 127.0.0.1 {option} {port}"
            command = f"trap '' INT; {command} & sleep 0.7; kill -INT $!; wait $!"
            done = subprocess.run(["sh", "-c", command], env=clean({}), capture_output=True, text=True, timeout=60)
            # It went on to its own end.
            assert (done.returncode, "Traceback" in done.stderr) == (int("check-db" in arguments), False), done.stderr


# -- nobody reads


@pytest.fixture(scope="module")
def mosquitto() -> Iterator[Broker]:
    with broker() as running:
        running.publisher.car(**BLUE)
        yield running


@needs_mosquitto
@pytest.mark.parametrize("form", ["--json", "--format log", "--once --json", "--once"])
def test_watch_mqtt_ends_when_its_reader_has_gone(mosquitto: Broker, form: str) -> None:
    """The log has no further line to find it out by."""
    command = f"{{ {TMSYNC} watch-mqtt {form}; echo code $? >&2; }} | head -1"
    begun = time.monotonic()
    done = subprocess.run(
        ["sh", "-c", command], env=clean(mosquitto.environ()), capture_output=True, text=True, timeout=30
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr == "code 0\n"
    assert time.monotonic() - begun < SOON_S


@needs_mosquitto
def test_no_space_behind_standard_output_ends_watch_mqtt_with_one_line(mosquitto: Broker) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tmsync", "watch-mqtt", "--json"],
            env=clean(mosquitto.environ()),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
        )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 2)
    assert "standard output cannot be written: No space left on device" in done.stderr


PIPE_BYTES = 4096
"""The smallest that Linux gives: a few lines fill it."""


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="pipes of a chosen size are Linux's")
@needs_mosquitto
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("arguments", [["--json"], ["--json", "--exec", "sleep 0.1"], ["-v", "--json"]])
def test_reader_that_does_not_read_holds_up_no_end(
    mosquitto: Broker, number: signal.Signals, arguments: list[str]
) -> None:
    """Both pipes are full, and stay open."""
    ends = [os.pipe(), os.pipe()]
    for _, writer in ends:
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    process = subprocess.Popen(
        [sys.executable, "-m", "tmsync", "watch-mqtt", "--interval", "0.1", *arguments],
        env=clean(mosquitto.environ()),
        stdin=subprocess.DEVNULL,
        stdout=ends[0][1],
        stderr=ends[1][1],
    )
    try:
        deadline = time.monotonic() + SOON_S
        while is_writable(ends[0][1]) and time.monotonic() < deadline:
            mosquitto.publisher.car(battery_level=str(int(time.monotonic() * 10) % 100))
        assert not is_writable(ends[0][1])
        for level in range(15):
            # Until it waits to write a line.
            time.sleep(0.15)
            mosquitto.publisher.car(battery_level=str(level))
        begun = time.monotonic()
        process.send_signal(number)
        assert process.wait(SOON_S) == 0
        assert time.monotonic() - begun < 1.5
    finally:
        process.kill()
        process.wait()
        for end in (end for both in ends for end in both):
            os.close(end)


def is_writable(writer: int) -> bool:
    poller = select.poll()
    poller.register(writer, select.POLLOUT)
    return bool(poller.poll(0))


# -- terminals


@needs_mosquitto
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_live_screen_gives_the_terminal_back(mosquitto: Broker, number: signal.Signals) -> None:
    with terminal(["watch-mqtt"], mosquitto.environ()) as screen:
        screen.wait_for(lambda lines: any("waiting" in line for line in lines))
        screen.process.send_signal(number)
        assert screen.process.wait(20) == 0
        time.sleep(0.2)
        assert screen.raw.count(b"\x1b[?1049h") == screen.raw.count(b"\x1b[?1049l") == 1
        assert screen.raw.rindex(b"\x1b[?25h") > screen.raw.rindex(b"\x1b[?25l")
        assert termios.tcgetattr(screen.slave)[:4] == screen.before[:4]
        assert b"Traceback" not in screen.raw


POOR = {
    "c-locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "dumb": {"TERM": "dumb"},
    "narrow": {"COLUMNS": "40"},
    "nonsense": {"COLUMNS": "x", "LINES": "-1", "TERM": "no-such-terminal", "LC_ALL": "xx_YY.nonsense"},
}


@needs_mosquitto
@pytest.mark.parametrize("poor", POOR)
def test_poor_surroundings_change_no_exit_code(
    teslamate: TeslaMate, mosquitto: Broker, twc: TwcFolder, poor: str
) -> None:
    twc.write({"carApiBearerToken": teslamate.access})
    mosquitto.publisher.car(2, display_name="Mü\N{BLUE HEART}", state="asleep")
    environ = {**teslamate.environ(TMSYNC_TWCMANAGER_CONFIG_FILE=str(twc.config)), **mosquitto.environ()}
    assert teslamate.sync(twc).code == 0
    surroundings = {"PATH": os.environ["PATH"], **environ, **POOR[poor]}  # and no HOME
    commands = [
        ["status", "--wait", "1"],
        ["watch-mqtt", "--once"],
        ["watch-mqtt", "--duration", "2"],
        ["watch-mqtt", "--help"],
    ]

    def run(arguments: list[str]) -> "subprocess.CompletedProcess[bytes]":
        command = [sys.executable, "-m", "tmsync", *arguments]
        return subprocess.run(
            command, env=surroundings, capture_output=True, cwd="/", stdin=subprocess.DEVNULL, timeout=60
        )

    # A dead TeslaMate would be a reason for another exit code.
    with teslamate.logged_in(), ThreadPoolExecutor(4) as side_by_side:
        for arguments, done in zip(commands, side_by_side.map(run, commands), strict=True):
            told = (done.stdout + done.stderr).decode()
            assert done.returncode == 0, told
            assert "Traceback" not in told
            assert "\x1b" not in told
            if poor == "narrow" and arguments[-1] in ("1", "--once"):
                assert max(len(line) for line in done.stdout.decode().splitlines()) <= 40, told
