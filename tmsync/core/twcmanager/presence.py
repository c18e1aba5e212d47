"""Is TWCManager running?

Source: TWCManager lib/TWCManager/TWCManager.py (TWCManager.pid in settingsPath, left behind after exit; the released
1.3.2 writes none), lib/TWCManager/Control/HTTPControl.py (GET /api/getStatus).
"""

from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from tmsync.core.config.schema import SYSTEM_TWC_CONFIG

PID_FILE: Final = "TWCManager.pid"
PROC: Final = Path("/proc")


class Presence(StrEnum):
    """Whether TWCManager runs."""

    RUNNING = "running"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


class Sighting(NamedTuple):
    """The verdict and, in words, what it rests on."""

    presence: Presence
    reason: str
    reachable: bool
    """Whether its web control answers."""


def look(settings_file: Path, config_file: Path | None, url: str, timeout: float) -> Sighting:
    """Look for a TWCManager that uses these files or answers at `url`. timeout: seconds for the web control."""
    from tmsync.core.twcmanager.http import answers_as_twcmanager

    if answers_as_twcmanager(url, timeout):
        return Sighting(Presence.RUNNING, f"its web control answers at {url}", reachable=True)
    pid = _pid_from_file(settings_file.parent / PID_FILE)
    if pid is not None and _is_twcmanager(PROC / str(pid)):
        return Sighting(Presence.RUNNING, f"process {pid}, named by {PID_FILE}, is TWCManager", reachable=False)
    if not PROC.is_dir():
        return Sighting(Presence.UNKNOWN, "this system does not show its processes", reachable=False)
    processes = (entry for entry in PROC.iterdir() if entry.name.isdigit() and _is_twcmanager(entry))
    other = next((entry.name for entry in processes if _reads(entry, config_file)), None)
    if other is not None:
        return Sighting(Presence.RUNNING, f"process {other} is TWCManager", reachable=False)
    return Sighting(Presence.STOPPED, "no such process, and no web control answers", reachable=False)


def _reads(process: Path, config_file: Path | None) -> bool:
    """Whether this TWCManager can be the one meant: it reads ./config.json, else the system's."""
    if config_file is None or config_file == Path(SYSTEM_TWC_CONFIG):
        return True
    try:
        return (process / "cwd" / "config.json").samefile(config_file)
    except OSError:
        return False


def _pid_from_file(path: Path) -> int | None:
    try:
        with path.open("rb") as file:
            text = file.read(32).strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _is_twcmanager(process: Path) -> bool:
    """Whether the process is a Python interpreter that runs TWCManager (an editor or a log viewer is not)."""
    try:
        arguments = (process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return False
    if not Path(arguments[0]).name.startswith("python"):
        return Path(arguments[0]).name == "TWCManager"
    rest = [argument for argument in arguments[1:] if argument]
    for flag, argument in zip(["", *rest], rest, strict=False):
        if flag == "-m":
            return argument.split(".", maxsplit=1)[0] == "TWCManager"
        if flag == "-c":
            return "import TWCManager" in argument
        if not argument.startswith("-"):
            return Path(argument).name in ("TWCManager.py", "TWCManager")
    return False
