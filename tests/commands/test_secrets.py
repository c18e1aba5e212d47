"""Marked secrets, every command, every format and verbosity, in success and in failure: nothing may show them."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import pytest

from tests.support.standin import running
from tests.support.surroundings import KEY, LOCAL, PASSWORD, Run, TeslaMate, TwcFolder, tmsync, tmsync_process
from tmsync.demo.teslamate import access_token

FAULTS: dict[str, Callable[[TeslaMate, TwcFolder], dict[str, str | None]]] = {}


def fault(made: Callable[[TeslaMate, TwcFolder], dict[str, str | None] | None]) -> None:
    """Register a way things can be wrong; what it returns changes the environment."""
    FAULTS[made.__name__] = lambda teslamate, twc: made(teslamate, twc) or {}


@fault
def nothing(_: TeslaMate, __: TwcFolder) -> None:
    pass


@fault
def no_entry(teslamate: TeslaMate, _: TwcFolder) -> None:
    teslamate.hba(LOCAL)


@fault
def wrong_password(teslamate: TeslaMate, _: TwcFolder) -> dict[str, str | None]:
    teslamate.secrets.append("other-SECRET")
    return {"TMSYNC_DATABASE_PASSWORD": "other-SECRET"}


@fault
def password_with_odd_characters(teslamate: TeslaMate, _: TwcFolder) -> dict[str, str | None]:
    odd = "SECRET ' \\ \" = \t\x1b[31m é"
    teslamate.secrets.append(odd)
    return {"TMSYNC_DATABASE_PASSWORD": odd}


@fault
def cleartext_method(teslamate: TeslaMate, _: TwcFolder) -> None:
    teslamate.hba(f"{LOCAL}host all all all password\n")
    teslamate.sql("alter role teslamate nologin", "postgres")


@fault
def missing_database(_: TeslaMate, __: TwcFolder) -> dict[str, str | None]:
    return {"TMSYNC_DATABASE_NAME": "nix"}


@fault
def wrong_key(teslamate: TeslaMate, _: TwcFolder) -> dict[str, str | None]:
    teslamate.secrets.append("another-SECRET-key")
    return {"TMSYNC_TESLAMATE_ENCRYPTION_KEY": "another-SECRET-key"}


@fault
def key_nearly_right(_: TeslaMate, __: TwcFolder) -> dict[str, str | None]:
    return {"TMSYNC_TESLAMATE_ENCRYPTION_KEY": f"'{KEY}'"}


@fault
def expired(teslamate: TeslaMate, _: TwcFolder) -> None:
    teslamate.store(access_token(datetime.now(UTC) - timedelta(hours=1)))


@fault
def opaque_token(teslamate: TeslaMate, _: TwcFolder) -> None:
    teslamate.store("EU_opaque-SECRET-token")


@fault
def shared(_: TeslaMate, __: TwcFolder) -> dict[str, str | None]:
    return {"TMSYNC_TWCMANAGER_REFRESH_TOKEN": "share"}


@fault
def settings_are_no_json(teslamate: TeslaMate, twc: TwcFolder) -> None:
    teslamate.secrets.append("held-SECRET")
    twc.write('{"carApiBearerToken": "held-SECRET",', 0o600)


@fault
def config_holds_secrets_and_a_mistake(teslamate: TeslaMate, twc: TwcFolder) -> None:
    teslamate.secrets.append("twc-SECRET")
    twc.config.write_text('{"vehicle": {"TeslaMate": {"db_pass": "twc-SECRET#x", "encryption_key": twc-SECRET: [}}}')


@fault
def bad_value_beside_secrets(_: TeslaMate, __: TwcFolder) -> dict[str, str | None]:
    return {"TMSYNC_DATABASE_PORT": "no"}


def ways(commands: list[list[str]]) -> Iterator[list[str]]:
    """Every command in every verbosity and format."""
    for verbosity, command, form in product([[], ["--verbose"]], commands, [[], ["--json"]]):
        yield [*verbosity, *command, *form]


def private(paths: list[Path], secrets: list[str]) -> None:
    """No file that others can read holds a secret."""
    for path in paths:
        if path.is_file() and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            text = path.read_text(errors="replace")
            assert not [secret for secret in secrets if secret in text], path


def silent(run: Run, secrets: list[str]) -> None:
    told = run.out + run.err
    assert "Traceback" not in told
    assert "unforeseen" not in told
    for secret in secrets:
        assert secret not in told
        # Nor a recognisable piece: a JWT's payload names the account.
        assert secret.count(".") != 2 or secret.split(".")[1][:40] not in told


@pytest.mark.parametrize("name", FAULTS)
def test_no_secret_in_any_output(teslamate: TeslaMate, twc: TwcFolder, name: str) -> None:
    teslamate.secrets[2:] = []
    twc.write({"carApiBearerToken": "held-before-SECRET", "carApiRefreshToken": "refresh-before-SECRET"}, 0o600)
    teslamate.store(teslamate.access, teslamate.refresh)
    changes = FAULTS[name](teslamate, twc)
    secrets = [*teslamate.secrets, "held-before-SECRET", "refresh-before-SECRET"]
    environ = teslamate.environ(TMSYNC_TWCMANAGER_CONFIG_FILE=str(twc.config), **changes)
    reading = [["check-db"], ["sync-tokens", "--check"], ["sync-tokens", "--dry-run"]]
    with ThreadPoolExecutor(os.cpu_count()) as side_by_side:
        for run in side_by_side.map(lambda words: tmsync(*words, environ=environ), ways(reading)):
            silent(run, secrets)
    for words in ways([["sync-tokens"]]):
        silent(tmsync(*words, environ=environ), secrets)
    private([path for path in twc.path.rglob("*") if path != twc.config], secrets)


def test_no_secret_when_pushed(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write({"carApiBearerToken": "held-before-SECRET"}, 0o600)
    environ = teslamate.environ(TMSYNC_TWCMANAGER_CONFIG_FILE=str(twc.config))
    for mode in ("takes", "ignores", "redirects"):
        teslamate.store(access_token(datetime.now(UTC) + timedelta(hours=5)))
        with running(twc.settings, mode, twc.port) as manager:
            silent(tmsync("-v", "sync-tokens", environ=environ), teslamate.secrets)
            assert not [path for _, path in manager.requests if teslamate.access in path]


@pytest.mark.usefixtures("charges")
def test_secrets_are_not_in_arguments_nor_handed_to_the_restart_command(teslamate: TeslaMate, twc: TwcFolder) -> None:
    """The one program sync-tokens starts, restart_command, gets nothing of ours."""
    twc.write({})
    seen = twc.path / "seen"
    program = twc.path.parent / "TWCManager.py"
    program.write_text("import time\ntime.sleep(60)\n")
    script = twc.path.parent / "restart.sh"
    script.write_text(f"#!/bin/sh\ncat /proc/$PPID/cmdline /proc/$$/cmdline /proc/$$/environ > '{seen}'\n")
    script.chmod(0o700)
    process = subprocess.Popen([sys.executable, str(program)], cwd=twc.path)
    try:
        environ = teslamate.environ(
            TMSYNC_TWCMANAGER_CONFIG_FILE=str(twc.config), TMSYNC_TWCMANAGER_RESTART_COMMAND=str(script)
        )
        assert tmsync_process("sync-tokens", environ=environ).code == 0
    finally:
        process.kill()
        process.wait()
    arguments = seen.read_bytes().decode()
    assert "sync-tokens" in arguments
    for secret in (PASSWORD, KEY, teslamate.access, teslamate.refresh):
        assert secret not in arguments
