"""The demo, as a person runs it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.surroundings import tmsync, tmsync_process


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A temporary folder of our own, so that other demos on this machine do not disturb."""
    folder = Path(tempfile.mkdtemp(prefix="t-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


PLOT = [
    "PostgreSQL",
    "MQTT broker: ",
    "fail  pg-hba",
    "host teslamate teslamate 127.0.0.1/32 scram-sha-256",
    "can read TeslaMate's tokens",
    "out of sync: TWCManager holds no token",
    "pushed to TWCManager at http://127.0.0.1:",
    '"carApiRefreshToken": ""',
    "$ tmsync watch-mqtt",
]


def test_demo_tells_its_story_and_leaves_no_trace(temporary: Path) -> None:
    environ = {"TMPDIR": str(temporary), "TMSYNC_DATABASE_HOST": "never.asked.invalid", "TMSYNC_CONFIG": "/nonexistent"}
    run = tmsync_process("demo", environ=environ, timeout=120)
    assert run.code == 0, run.out[-2000:] + run.err
    assert run.err == ""
    plot = [*PLOT, "TeslaMate reports Green unhealthy. Switching back to TeslaAPI"]
    plot += [
        "Data from TeslaMate for Silver is stale. Switching back to TeslaAPI",
        "$ tmsync status",
        "All is well: ",
        "$ tmsync serve",
        "TWCManager asks for Blue: Charging, from TeslaMate",
        "TeslaMate is killed",
        "critical teslamate-gone: ",
        "TeslaMate is started again",
        "TWCManager asks for Blue: Disconnected, from TeslaMate",
        "calls saved",
    ]
    assert [event for event in plot if event not in run.out] == [], run.out
    at = [run.out.index(event) for event in plot]
    assert at == sorted(at)
    assert "TWCManager asks for Blue: Disconnected, from Tesla\n" in run.out
    assert "Vehicle Blue telemetry being provided by TeslaMate" in run.out
    for name in ("Green", "Silver"):
        assert f"Vehicle {name} telemetry has resumed being provided by TeslaMate" in run.out
    assert leftovers(temporary) == []


@pytest.mark.slow
def test_kept_demo_answers_to_the_printed_environment_until_interrupted(temporary: Path) -> None:
    clean = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "tmsync", "demo", "--keep"]
    process = subprocess.Popen(command, env=clean, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = ""
    for line in process.stdout:
        told += line
        if "Ctrl-C ends it" in line:
            break
    config = next(line.partition("=")[2] for line in told.splitlines() if "export TMSYNC_CONFIG=" in line)
    tried = [line.split()[1:] for line in told.splitlines() if line.startswith("  tmsync ")]
    assert ["status"] in tried
    for arguments in tried:
        end = ["--duration", "2"] if arguments == ["watch-mqtt"] else []
        run = tmsync(*arguments, *end, environ={"TMSYNC_CONFIG": config})
        assert run.code == 0, run.out + run.err
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in err) == (130, False)
    assert leftovers(temporary) == []


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.15, 0.4, 0.8, 1.5, 4.0, 9.0])
def test_interrupted_demo_stops_its_server(temporary: Path, seconds: float) -> None:
    clean = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TMPDIR": str(temporary)}
    process = subprocess.Popen(
        [sys.executable, "-m", "tmsync", "demo"], env=clean, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=30)
    assert "Traceback" not in told
    assert process.returncode == 130
    assert leftovers(temporary) == []


def leftovers(temporary: Path) -> list[str]:
    """Files, and processes that name the folder or work in it."""
    found = [path.name for path in temporary.iterdir()]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            traces = process.joinpath("cmdline").read_bytes() + bytes(process.joinpath("cwd").readlink())
        except OSError:
            continue
        found += [str(process)] if str(temporary).encode() in traces else []
    return found
