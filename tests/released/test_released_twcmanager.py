"""sync-tokens and the released TWCManager 1.3.2 itself: `make test-twcmanager`. What Tesla's API sees is the proof."""

import json
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.released.program import Program, Tesla, tesla
from tests.support.surroundings import Run, TeslaMate, tmsync
from tmsync.core.clock import SystemClock
from tmsync.core.twcmanager.settings_content import TokenFields
from tmsync.core.twcmanager.settings_file import SettingsFile
from tmsync.demo.teslamate import access_token

PYTHON = os.environ.get("TMSYNC_TEST_TWCMANAGER", "")
if not PYTHON:
    pytest.skip("TWCManager itself: make test-twcmanager", allow_module_level=True)

SETTINGS = {
    "carApiBearerToken": "stale",
    "carApiRefreshToken": "",
    "carApiTokenExpireTime": 1_900_000_000,
    "chargeNowAmps": 0,
    "myOwn": {"kept": "ä"},
}


@pytest.fixture
def api() -> Iterator[Tesla]:
    with tesla() as found:
        yield found


@pytest.fixture
def program(tmp_path: Path, api: Tesla) -> Iterator[Program]:
    folder = tmp_path / "twcmanager"
    folder.mkdir()
    found = Program(PYTHON, folder, api.port)
    found.settings.write_text(json.dumps(SETTINGS))
    yield found
    found.stop(signal.SIGKILL)


def asked_with(program: Program, api: Tesla) -> str:
    """The token TWCManager uses now."""
    api.tokens.clear()
    program.show_start_page()
    return api.tokens[-1]


def sync(teslamate: TeslaMate, program: Program, *arguments: str, **changes: str | None) -> Run:
    environ = teslamate.environ(TMSYNC_TWCMANAGER_CONFIG_FILE=str(program.config), **changes)
    return tmsync("sync-tokens", "--json", *arguments, environ=environ)


def told(run: Run) -> tuple[Any, ...]:
    delivery = run.json["delivery"]
    return run.json["result"], run.code, delivery["via"], delivery["verified"], delivery["twcmanager"]


def test_running_twcmanager_uses_the_new_token_at_once_and_after_a_restart(
    teslamate: TeslaMate, program: Program, api: Tesla
) -> None:
    program.start()
    assert asked_with(program, api) == "stale"
    assert told(sync(teslamate, program, "--check")) == ("out-of-sync", 3, "http", None, "running")
    assert asked_with(program, api) == "stale"

    assert told(sync(teslamate, program)) == ("pushed", 0, "http", True, "running")
    assert asked_with(program, api) == teslamate.access
    assert program.read()["myOwn"] == SETTINGS["myOwn"]
    assert told(sync(teslamate, program))[:2] == ("unchanged", 0)

    program.stop()
    program.start()
    assert asked_with(program, api) == teslamate.access

    teslamate.store(access_token(datetime.now(UTC) + timedelta(hours=8)))
    assert told(sync(teslamate, program)) == ("pushed", 0, "http", True, "running")
    assert asked_with(program, api) == teslamate.access


def test_stopped_twcmanager_starts_with_the_new_token(teslamate: TeslaMate, program: Program, api: Tesla) -> None:
    assert told(sync(teslamate, program)) == ("written", 0, "file", True, "stopped")
    program.start()
    assert asked_with(program, api) == teslamate.access
    assert program.read()["myOwn"] == SETTINGS["myOwn"]
    assert told(sync(teslamate, program))[:2] == ("unchanged", 0)


def test_file_under_a_running_twcmanager_is_not_taken_for_a_token_in_use(
    teslamate: TeslaMate, program: Program, api: Tesla
) -> None:
    program.start()
    run = sync(teslamate, program, "--via", "file")
    assert told(run) == ("written", 1, "file", True, "running")
    assert [warning["cause"] for warning in run.json["warnings"]] == ["twcmanager-running"]
    assert asked_with(program, api) == "stale"
    assert told(sync(teslamate, program)) == ("pushed", 0, "http", True, "running")
    assert asked_with(program, api) == teslamate.access


def test_push_into_a_twcmanager_that_is_just_starting(teslamate: TeslaMate, program: Program, api: Tesla) -> None:
    program.start(ready=False)
    assert told(sync(teslamate, program)) == ("pushed", 0, "http", True, "running")
    assert asked_with(program, api) == teslamate.access
    assert program.read()["myOwn"] == SETTINGS["myOwn"]


def test_refresh_token_it_holds_is_told_with_steps_that_clear_it(
    teslamate: TeslaMate, program: Program, api: Tesla
) -> None:
    # Its expiry is far away, so that it has no reason to use it.
    program.start()
    program.post(carApiRefreshToken="its-own-SECRET")
    deadline = time.monotonic() + 10
    while program.read()["carApiRefreshToken"] != "its-own-SECRET" and time.monotonic() < deadline:
        time.sleep(0.1)
    run = sync(teslamate, program)
    assert told(run) == ("pushed", 0, "http", True, "running")
    assert [warning["cause"] for warning in run.json["warnings"]] == ["holds-refresh-token"]
    program.stop()
    assert told(sync(teslamate, program, "--via", "file"))[:2] == ("written", 0)
    program.start()
    assert asked_with(program, api) == teslamate.access
    assert program.read()["carApiRefreshToken"] == ""


def test_its_saves_and_our_writes_at_the_same_time_lose_nothing(program: Program) -> None:
    program.start()
    clock = SystemClock()
    rounds = 60
    for number in range(1, rounds + 1):
        # It saves a moment after it has answered, in another thread, while this one goes on.
        program.post(counter=number)
        SettingsFile(program.settings).write(TokenFields(f"token-{number}", "", 1_900_000_000), clock)
    deadline = time.monotonic() + 20
    while program.read().get("counter") != rounds and time.monotonic() < deadline:
        time.sleep(0.1)
    program.stop()
    SettingsFile(program.settings).write(TokenFields("the-last", "", 1_900_000_000), clock)
    held = program.read()
    assert (held["counter"], held["carApiBearerToken"], held["myOwn"]) == (rounds, "the-last", SETTINGS["myOwn"])
