"""What is left to do after init: who runs sync-tokens every five minutes, and from which configuration.

Source: crontab(5) (% and the user's column of /etc/cron.d), install(1), systemd.timer(5).
"""

import os
import shlex
import shutil
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tmsync.core.errors import Step
from tmsync.core.files.paths import is_folder
from tmsync.core.process import user_name

SYSTEM: Final = Path("/etc/tmsync/config.toml")
EVERY: Final = "*/5 * * * *"


@dataclass(frozen=True, slots=True)
class Place:
    """This machine, as far as it matters.

    me: who runs init. runner: whom TWCManager's settings belong to. program: tmsync, as an absolute path or a command.
    reachable: whether the runner may run it. has_cron: else systemd is meant.
    """

    config: Path
    me: str
    runner: str
    program: str
    reachable: bool = True
    has_cron: bool = True


def schedule(place: Place) -> list[Step]:
    """The steps that let sync-tokens run again and again, in order, with what to paste."""
    steps, program, config = prepare(place)
    run = f"{program} --config {shlex.quote(str(config))} sync-tokens"
    as_whom = f", as {place.runner}" if place.runner != place.me else ""
    words = f"Let sync-tokens run every five minutes{as_whom}."
    steps.append(Step(words, _cron(place, run) if place.has_cron else _timer(place, run)))
    return steps


def prepare(place: Place, extra: str = "") -> tuple[list[Step], str, Path]:
    """What lets the runner run tmsync; and the program and the configuration that it then has.

    extra: of the package, such as [serve].
    """
    steps: list[Step] = []
    program, config = place.program, place.config
    if not place.reachable:
        words = f"{place.runner} cannot run {place.program}: install tmsync for all users, from its own folder."
        install = f"sudo /opt/tmsync/bin/pip install {shlex.quote(f'.{extra}')}"
        steps.append(Step(words, f"sudo python3 -m venv /opt/tmsync\n{install}"))
        program = "/opt/tmsync/bin/tmsync"
    if place.runner != place.me:
        config = SYSTEM
        group = f"$(id -gn {shlex.quote(place.runner)})"
        give = f"sudo install -D -m 0600 -o {shlex.quote(place.runner)} -g {group}"
        words = f"TWCManager's settings belong to {place.runner}: give that user the configuration."
        steps.append(Step(words, f"{give} {shlex.quote(str(place.config))} {config}"))
    return steps, program, config


def survey(config: Path, owned: Path | None) -> Place:
    """This machine. owned: the folder of TWCManager's settings, None where it is not here."""
    program = shutil.which("tmsync") or f"{sys.executable} -m tmsync"
    users = os.geteuid(), owned.stat().st_uid if owned is not None and is_folder(owned) else os.geteuid()
    me, runner = (user_name(user) or str(user) for user in users)
    runner = me if runner == "root" else runner
    reachable = runner == me or _is_for_all(Path(program.partition(" ")[0]))
    has_cron = bool(shutil.which("crontab")) or is_folder(Path("/etc/cron.d")) or not shutil.which("systemctl")
    return Place(config, me, runner, program, reachable, has_cron)


def _is_for_all(program: Path) -> bool:
    """Whether any user may run it, links followed."""
    real = Path(os.path.realpath(program))
    try:
        return all(one.stat().st_mode & stat.S_IXOTH for one in (real, *real.parents))
    except OSError:
        return False


def _cron(place: Place, run: str) -> str:
    # cron takes an unescaped % for the end of the command.
    line = run.replace("%", r"\%")
    if place.runner == place.me:
        return f"(crontab -l 2>/dev/null; echo {shlex.quote(f'{EVERY} {line}')}) | crontab -"
    return f"echo {shlex.quote(f'{EVERY} {place.runner} {line}')} | sudo tee /etc/cron.d/tmsync"


def _timer(place: Place, run: str) -> str:
    """Two units, written and started; % is systemd's own sign, too."""
    line = run.replace("%", "%%")
    service = f"[Service]\\nType=oneshot\\nUser={place.runner}\\nStateDirectory=tmsync\\nExecStart={line}\\n"
    timer = "[Timer]\\nOnCalendar=*:0/5\\nPersistent=true\\n[Install]\\nWantedBy=timers.target\\n"
    return "\n".join((
        f"printf '%b' {shlex.quote(service)} | sudo tee /etc/systemd/system/tmsync-sync.service",
        f"printf '%b' {shlex.quote(timer)} | sudo tee /etc/systemd/system/tmsync-sync.timer",
        "sudo systemctl daemon-reload && sudo systemctl enable --now tmsync-sync.timer",
    ))  # fmt: skip
