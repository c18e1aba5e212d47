"""Whether TWCManager runs, and where: what can be told, and what cannot."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tmsync.core.twcmanager.presence import Presence, is_here, look, started_at
from tmsync.demo.postgres import free_port


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:8080", True),
        ("http://localhost:8080", True),
        ("http://192.0.2.1:8080", False),
        ("http://[2001:db8::1]:8080", False),
        ("http://twcmanager.invalid:8080", False),
    ],
)
def test_which_addresses_are_this_machine(url: str, here: bool) -> None:
    assert is_here(url) is here


def test_pipe_in_place_of_the_process_id_hangs_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "TWCManager.pid")
    seen = look(tmp_path / "settings.json", tmp_path / "config.json", [f"http://127.0.0.1:{free_port()}"], 2)
    assert seen.presence is Presence.STOPPED


def test_nothing_is_called_stopped_where_no_folder_is_to_be_seen(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    config = tmp_path / "config.json"
    seen = look(tmp_path / "settings.json", config, [url], 2)
    assert (seen.presence, seen.url, seen.process) == (Presence.STOPPED, None, None)
    unseen = look(tmp_path / "nowhere" / "settings.json", config, [url], 2)
    assert unseen.presence is Presence.UNKNOWN
    assert "no folder" in unseen.reason


@pytest.mark.parametrize(
    ("arguments", "presence"),
    [
        (["-W", "ignore", "TWCManager.py"], Presence.RUNNING),
        (["-u", "-m", "TWCManager.TWCManager"], Presence.RUNNING),
        (["-c", "import TWCManager.TWCManager"], Presence.RUNNING),
        (["editor.py", "TWCManager.py"], Presence.STOPPED),
        (["-c", "import time; time.sleep(60)", "TWCManager.py"], Presence.STOPPED),
    ],
)
def test_process_named_by_the_pid_file_must_be_twcmanager(
    tmp_path: Path, arguments: list[str], presence: Presence
) -> None:
    sleep = "import time\ntime.sleep(60)\n"
    (tmp_path / "TWCManager").mkdir()
    (tmp_path / "TWCManager" / "__init__.py").touch()
    for name in ("TWCManager.py", "editor.py", "TWCManager/TWCManager.py"):
        (tmp_path / name).write_text(sleep)
    with subprocess.Popen([sys.executable, *arguments], cwd=tmp_path) as process:
        try:
            # Right after its start a process has no arguments yet.
            while not Path(f"/proc/{process.pid}/cmdline").read_bytes():
                pass
            (tmp_path / "TWCManager.pid").write_text(f"{process.pid}\n")
            url = f"http://127.0.0.1:{free_port()}"
            seen = look(tmp_path / "settings.json", tmp_path / "config.json", [url], 2)
        finally:
            process.kill()
    expected = process.pid if presence is Presence.RUNNING else None
    assert (seen.presence, seen.process) == (presence, expected)


def test_start_of_a_process_is_told() -> None:
    now = datetime.now(UTC)
    begun = started_at(os.getpid(), now)
    assert begun is not None
    assert now - timedelta(hours=3) < begun < now
    assert started_at(2**22 + 1, now) is None


def test_twcmanager_is_known_by_the_settings_folder_its_own_configuration_names(tmp_path: Path) -> None:
    """Where neither a pid file nor a configuration of ours tells which one is meant."""
    working, ours, other = tmp_path / "opt", tmp_path / "ours", tmp_path / "other"
    for folder in (working, ours, other):
        folder.mkdir()
    (working / "TWCManager.py").write_text("import time\ntime.sleep(60)\n")
    (working / "config.json").write_text(f'# its own\n{{"config": {{"settingsPath": "{ours}"}}}}\n')
    urls = [f"http://127.0.0.1:{free_port()}"]
    with subprocess.Popen([sys.executable, "TWCManager.py"], cwd=working) as process:
        try:
            while not Path(f"/proc/{process.pid}/cmdline").read_bytes():
                pass
            seen = [look(folder / "settings.json", None, urls, 2) for folder in (ours, other)]
        finally:
            process.kill()
    assert [(one.presence, one.process) for one in seen] == [
        (Presence.RUNNING, process.pid),
        (Presence.STOPPED, None),
    ]
