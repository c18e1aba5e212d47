"""A disk that is full, a file system that is read-only, a limit on files: one clear line, and nothing is damaged."""

import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.surroundings import TeslaMate, TwcFolder, tmsync
from tmsync.demo.server import free_port

pytestmark = pytest.mark.root
OLD = {"carApiBearerToken": "old", "chargeNowAmps": 32, "history": ["x" * 80] * 40}
PAGES = 16


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """A file system of a few pages in memory."""
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={PAGES * 4}k", "tmsync-test", place], capture_output=True
    )
    if made.returncode:
        pytest.skip("only root may make a small file system")
    try:
        yield place
    finally:
        # Lazily: whoever looks into it at this moment must not keep it here.
        subprocess.run(["umount", "-l", place], check=True)


def fill(place: Path) -> Path:
    """Until not a byte more goes in."""
    ballast = place / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    return ballast


def failed(run: Any, cause: str) -> None:
    assert (run.code, run.json["error"]["cause"]) == (1, cause), run.out + run.err
    assert run.json["error"]["hint"]
    assert "Traceback" not in run.err


def test_full_disk_is_told_and_the_next_run_does_it(teslamate: TeslaMate, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as place:
        twc = TwcFolder(place, free_port())
        twc.write(OLD)
        before = twc.settings.read_bytes()
        ballast = fill(place)
        failed(teslamate.sync(twc), "settings-unwritable")
        assert twc.settings.read_bytes() == before
        assert set(twc.listing()) <= {"ballast", "config.json", "settings.json", "settings.json.lock"}
        ballast.unlink()
        run = teslamate.sync(twc)
        assert (run.code, run.json["result"]) == (0, "written")
        assert twc.read() == {**OLD, **{key: twc.read()[key] for key in twc.read() if key.startswith("carApi")}}
        assert twc.read()["carApiBearerToken"] == teslamate.access


def test_read_only_file_system_is_told(teslamate: TeslaMate, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as place:
        twc = TwcFolder(place, free_port())
        twc.write(OLD)
        listing = twc.listing()
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        failed(teslamate.sync(twc), "settings-unwritable")
        assert teslamate.sync(twc, "--check").code == 3
        assert (twc.read(), twc.listing()) == (OLD, listing)


def test_init_on_a_full_disk_leaves_no_half_a_file(teslamate: TeslaMate, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as place:
        fill(place)
        written = place / "config.toml"
        run = tmsync("init", "--non-interactive", "--output", str(written), environ=teslamate.environ())
        assert run.code in (1, 2), run.out + run.err
        assert "Traceback" not in run.err
        assert "unforeseen" not in run.err
        assert os.listdir(place) == ["ballast"]  # noqa: PTH208


def test_limit_on_the_size_of_files_is_told(teslamate: TeslaMate, twc: TwcFolder) -> None:
    """As a full disk, for those who may not mount one."""
    twc.write(OLD)
    before = twc.settings.read_bytes()
    environ = teslamate.environ(TMSYNC_TWCMANAGER_CONFIG_FILE=str(twc.config))
    done = subprocess.run(
        [sys.executable, "-B", "-m", "tmsync", "sync-tokens"],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environ},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
        capture_output=True,
        text=True,
        cwd="/",
        timeout=60,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "File too large" in done.stderr
    assert twc.settings.read_bytes() == before
    assert set(twc.listing()) <= {"config.json", "settings.json", "settings.json.lock"}
