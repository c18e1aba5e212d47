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

from tests.surroundings import tmsync


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A temporary folder of our own, so that other demos on this machine do not disturb."""
    folder = Path(tempfile.mkdtemp(prefix="t-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_demo_tells_its_story_and_leaves_no_trace(temporary: Path) -> None:
    run = tmsync("demo", environ={"TMPDIR": str(temporary), "TMSYNC_DATABASE_HOST": "never.asked.invalid"})
    assert run.code == 0, run.err
    plot = ["fail  pg-hba", "host teslamate teslamate 127.0.0.1/32 scram-sha-256", "can read TeslaMate's tokens"]
    plot += ["out of sync: TWCManager holds no token", "written to", "unchanged:"]
    at = [run.out.index(event) for event in plot]
    assert at == sorted(at)
    assert leftovers(temporary) == []


@pytest.mark.parametrize("seconds", [0.0, 0.15, 0.4, 0.8, 1.5])
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
