"""Is TWCManager running?

Source: TWCManager lib/TWCManager/TWCManager.py (it reads /etc/twcmanager/config.json, else ./config.json;
TWCManager.pid in settingsPath, left behind after exit; the released 1.3.2 writes none),
lib/TWCManager/Control/HTTPControl.py (it listens on every IPv4 address).
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from tmsync.core.config.schema import SYSTEM_TWC_CONFIG, SYSTEM_TWC_SETTINGS_PATH
from tmsync.core.config.settings import TwcSettings
from tmsync.core.config.twc_json import TwcConfig, read_twc_config
from tmsync.core.errors import ConfigError
from tmsync.core.files.paths import is_folder, read_regular

PID_FILE: Final = "TWCManager.pid"
STATUS_TIMEOUT_S: Final = 2.0
"""How long TWCManager's web control may take to say that it is there."""
PROC: Final = Path("/proc")
TAKE_A_VALUE: Final = frozenset({"-W", "-X"})
"""Options of Python whose value stands in the next argument."""


Users: TypeAlias = frozenset[int] | None
"""Whose TWCManager is meant; None, ANYBODY: somebody named its address, and so knows who answers there."""
ANYBODY: Final = None


class Presence(StrEnum):
    """Whether TWCManager runs."""

    RUNNING = "running"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


class Sighting(NamedTuple):
    """The verdict and, in words, what it rests on."""

    presence: Presence
    reason: str
    url: str | None = None
    """Where its web control answers."""
    process: int | None = None
    writes_pid_file: bool = False
    """Whether TWCManager.pid names its living process: it is newer than 1.3.2."""


def trusted_users(settings_file: Path) -> frozenset[int]:
    """Whose TWCManager may get the token of `settings_file`: root's, this user's, and that of the file's owner, or of
    its folder's where there is no file."""
    users = {0, os.geteuid()}
    for path in (settings_file, settings_file.parent):
        with suppress(OSError):
            users.add(path.lstat().st_uid)
            break
    return frozenset(users)


def users_of(twc: TwcSettings, settings_file: Path) -> Users:
    """Whose TWCManager may get the token of `settings_file`, by the settings."""
    return ANYBODY if twc.url_given else trusted_users(settings_file)


def look_for(twc: TwcSettings, settings_file: Path) -> Sighting:
    """Look for the TWCManager that is meant by the settings."""
    config_file = twc.config.path if twc.config else None
    return look(settings_file, config_file, twc.urls, STATUS_TIMEOUT_S, given=twc.url_given)


def look(
    settings_file: Path, config_file: Path | None, urls: Sequence[str], timeout: float, *, given: bool = False
) -> Sighting:
    """Look for the TWCManager that uses these files or answers at one of `urls`, and belongs to whom it should.

    timeout: seconds for each address. given: whether somebody named it, and so knows who answers there.
    """
    from tmsync.core.twcmanager.http import first_answering

    users = trusted_users(settings_file)
    url = first_answering(urls, timeout, ANYBODY if given else users)
    if not any(map(is_here, urls)):
        host = urlsplit(urls[0]).hostname
        if url is None:
            return Sighting(Presence.UNKNOWN, f"it is on another host, and no web control answers there ({host})")
        return Sighting(Presence.RUNNING, f"its web control answers at {url}", url)
    process, named = _find(settings_file.parent / PID_FILE, config_file, users)
    if url is not None:
        return Sighting(Presence.RUNNING, f"its web control answers at {url}", url, process, named)
    if process is not None:
        by = f", named by {PID_FILE}," if named else ""
        return Sighting(Presence.RUNNING, f"process {process}{by} is TWCManager", None, process, named)
    if not is_folder(settings_file.parent):
        reason = f"no web control answers, and no folder {settings_file.parent} is to be seen here"
        return Sighting(Presence.UNKNOWN, reason)
    if not PROC.is_dir():
        return Sighting(Presence.UNKNOWN, "this system does not show its processes")
    if _hides_processes() and settings_file.parent.stat().st_uid != os.geteuid():
        return Sighting(Presence.UNKNOWN, "this system shows nobody other users' processes")
    return Sighting(Presence.STOPPED, "no such process, and no web control answers")


def is_far(twc: TwcSettings) -> bool:
    """Whether it runs on another host, so that no settings file here is its own."""
    return twc.url_given and not twc.settings_given and not is_here(twc.url)


def asks_fleet_api(seen: Sighting, config: TwcConfig | None) -> bool:
    """Whether it is known to be newer than 1.3.2, which talks to the Fleet API alone, and to ask Tesla directly."""
    return seen.writes_pid_file and config is not None and not config.get("config.teslaProxy")


def is_here(url: str) -> bool:
    """Whether `url` names this machine. No name service is asked."""
    import ipaddress
    import socket

    host = urlsplit(url).hostname or ""
    if host in ("localhost", socket.gethostname().lower()):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if address.is_loopback:
        return True
    # Only an address of one's own can be bound to.
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def started_at(process: int, now: datetime) -> datetime | None:
    """When a process was started; None when the system does not tell.

    Source: proc(5): field 22 of /proc/PID/stat, in clock ticks since boot; /proc/uptime, seconds.
    """
    try:
        fields = (PROC / str(process) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        uptime = float((PROC / "uptime").read_text().split()[0])
        return now - timedelta(seconds=uptime - int(fields[19]) / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return None


def _find(pid_file: Path, config_file: Path | None, users: frozenset[int]) -> tuple[int | None, bool]:
    """The process, and whether the pid file names it."""

    def is_twcmanager(process: Path) -> bool:
        return _is_twcmanager(process) and _users_of(process) <= users

    pid = _pid_from_file(pid_file)
    if pid is not None and is_twcmanager(PROC / str(pid)):
        return pid, True
    if not PROC.is_dir():
        return None, False
    processes = (entry for entry in PROC.iterdir() if entry.name.isdigit() and is_twcmanager(entry))
    return next((int(entry.name) for entry in processes if _is_meant(entry, config_file, pid_file.parent)), None), False


def _is_meant(process: Path, config_file: Path | None, folder: Path) -> bool:
    """Whether this TWCManager reads our config.json; where we know of none, whether it keeps its settings in `folder`.

    It reads the system's config.json, else ./config.json. A container's is looked up in the container.
    """
    if config_file == Path(SYSTEM_TWC_CONFIG):
        return True
    root, working = process / "root", process / "cwd"
    try:
        if config_file is not None:
            return (working / "config.json").samefile(config_file)
        system = root / SYSTEM_TWC_CONFIG.lstrip("/")
        its = system if system.exists() else working / "config.json"
        if not its.exists():
            return False
        path = read_twc_config(its).get("config.settingsPath") or SYSTEM_TWC_SETTINGS_PATH
        return (root / str(path).lstrip("/") if str(path).startswith("/") else working / str(path)).samefile(folder)
    except (PermissionError, ConfigError):
        # Another user's process does not tell its folder. One TWCManager to a machine is the rule.
        return True
    except OSError:
        return False


def _pid_from_file(path: Path) -> int | None:
    try:
        text = read_regular(path, 32)[0].strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _hides_processes() -> bool:
    """Whether /proc is mounted with hidepid: then not even the first process is to be seen."""
    return not (PROC / "1").is_dir()


def _users_of(process: Path) -> set[int]:
    """The user who started it, and those it acts for. Any program may call itself TWCManager, one of setuid root, too.

    Source: proc_pid_status(5), Uid.
    """
    try:
        lines = (process / "status").read_text("utf-8", "replace").splitlines()
        return {int(user) for line in lines if line.startswith("Uid:") for user in line.split()[1:]}
    except (OSError, ValueError):
        return {-1}


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
        if not argument.startswith("-") and flag not in TAKE_A_VALUE:
            return Path(argument).name in ("TWCManager.py", "TWCManager")
    return False
