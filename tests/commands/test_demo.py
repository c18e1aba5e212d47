"""The demo, as a person runs it."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.surroundings import tmsync


def test_demo_tells_its_story_and_leaves_no_trace(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    for folder in tmp_path.parents:
        if folder == Path(tempfile.gettempdir()):
            break
        folder.chmod(folder.stat().st_mode | 0o011)
    run = tmsync("demo", environ={"TMPDIR": tempfile.gettempdir(), "TMSYNC_DATABASE_HOST": "never.asked.invalid"})
    assert run.code == 0, run.err
    plot = ["fail  pg-hba", "host teslamate teslamate 127.0.0.1/32 scram-sha-256", "can read TeslaMate's tokens"]
    plot += ["out of sync: TWCManager holds no token", "written to", "unchanged:"]
    at = [run.out.index(event) for event in plot]
    assert at == sorted(at)
    assert leftovers() == []


def test_interrupted_demo_stops_its_server() -> None:
    clean = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tmsync", "demo"], env=clean, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=30)
    assert "Traceback" not in told
    assert process.returncode != 0
    assert leftovers() == []


def leftovers() -> list[str]:
    found = [str(path) for path in Path(tempfile.gettempdir()).glob("tmsync-demo-*")]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_bytes()
        except OSError:
            continue
        found += [str(process)] if b"tmsync-demo-" in command and b"postgres" in command else []
    return found
