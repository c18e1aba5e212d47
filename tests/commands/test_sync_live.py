"""sync-tokens and a TWCManager that runs, or may run: which way, what proof, what stands in the way."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_sync_tokens import OTHER, UNCHANGED, WRITTEN, expect_error, expiry, outcome
from tests.support.standin import running
from tests.support.surroundings import NOWHERE, Run, TeslaMate, TwcFolder, tmsync
from tmsync.core.causes import Cause
from tmsync.core.clock import SystemClock
from tmsync.core.config.load import load_settings
from tmsync.core.process import run_command
from tmsync.core.twcmanager.held import held_by_twcmanager
from tmsync.demo.teslamate import access_token

PUSHED = ("pushed", 0)


def causes(run: Run) -> list[str]:
    return [warning["cause"] for warning in run.json["warnings"]]


def delivery(run: Run) -> tuple[str, bool | None, str]:
    found = run.json["delivery"]
    return found["via"], found["verified"], found["twcmanager"]


# -- a running TWCManager


def test_running_twcmanager_gets_the_token_by_its_web_control(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    with running(twc.settings, port=twc.port) as manager:
        assert outcome(teslamate.sync(twc, "--check")) == ("out-of-sync", 3)
        run = teslamate.sync(twc)
        assert outcome(run) == ("pushed", 0)
        delivery = run.json["delivery"]
        assert (delivery["via"], delivery["verified"], delivery["twcmanager"]) == ("http", True, "running")
        assert manager.memory["carApiBearerToken"] == teslamate.access
        # A refresh token is never sent, not even an empty one.
        assert "carApiRefreshToken" not in manager.memory
        assert outcome(teslamate.sync(twc)) == UNCHANGED
        assert outcome(teslamate.sync(twc, "--check")) == UNCHANGED
        assert [request for request in manager.requests if request[0] == "POST"] == [("POST", "/settings/save")]
        manager.save(counter=2)
        assert outcome(teslamate.sync(twc)) == UNCHANGED


def test_twcmanagers_own_save_of_the_token_is_not_taken_for_one_that_it_has_not_read(
    teslamate: TeslaMate, twc: TwcFolder
) -> None:
    """Later versions replace the file as tmsync does, and go by the token's own expiry."""
    twc.write({**OTHER, "carApiRefreshToken": ""})
    with running(twc.settings, port=twc.port) as manager:
        manager.expiry = expiry(teslamate)
        assert [outcome(teslamate.sync(twc)) for _ in range(3)] == [PUSHED, UNCHANGED, UNCHANGED]
        assert len(manager.bodies) == 1


def test_blind_302_is_not_taken_for_acceptance(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    with running(twc.settings, "ignores", twc.port):
        expect_error(teslamate.sync(twc), "twcmanager-refused")


def test_redirect_to_another_host_is_not_followed(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    with running(twc.settings, "redirects", twc.port) as manager:
        expect_error(teslamate.sync(twc), "twcmanager-refused")
        assert ("POST", "/settings/save") in manager.requests


def test_push_without_a_readable_settings_file_is_unproven_and_says_so(teslamate: TeslaMate, twc: TwcFolder) -> None:
    elsewhere = twc.path / "remote"
    elsewhere.mkdir()
    with running(elsewhere / "settings.json") as manager:
        arguments = ("--via", "http", "--twc-url", f"http://127.0.0.1:{manager.port}")
        run = teslamate.sync(twc, *arguments)
        assert outcome(run) == ("pushed", 0)
        assert run.json["delivery"]["verified"] is None
        environ = teslamate.environ(TMSYNC_TWCMANAGER_CONFIG_FILE=str(twc.config))
        assert "cannot be verified from here" in tmsync("sync-tokens", *arguments, environ=environ).out


def test_twcmanager_on_another_host_needs_its_address_only(teslamate: TeslaMate, tmp_path: Path) -> None:
    far = tmp_path / "far"
    far.mkdir()
    with running(far / "settings.json") as manager:
        environ = teslamate.environ(TMSYNC_TWCMANAGER_SETTINGS_FILE=f"{NOWHERE}/settings.json")
        arguments = ("sync-tokens", "--json", "--twc-url", f"http://127.0.0.1:{manager.port}")
        run = tmsync(*arguments, environ=environ)
        assert outcome(run) == ("pushed", 0)
        assert run.json["delivery"]["verified"] is None
        assert manager.memory["carApiBearerToken"] == teslamate.access
        expect_error(tmsync(*arguments, "--check", environ=environ), "settings-unreadable")
    expect_error(tmsync(*arguments, environ=environ), "settings-unwritable")


def test_web_control_that_was_named_and_is_down_is_what_is_told(teslamate: TeslaMate, twc: TwcFolder) -> None:
    """Nobody named a settings file, so the folder where one usually is has nothing to do with it."""
    url = f"http://127.0.0.1:{twc.port}"
    for more in ((), ("--dry-run",)):
        run = tmsync("sync-tokens", "--json", "--twc-url", url, *more, environ=teslamate.environ())
        assert url in expect_error(run, "twcmanager-unreachable")["message"]
    held = held_by_twcmanager(load_settings(environ={}, flags={"twcmanager.url": url}), None, SystemClock())
    assert held.problem is not None
    assert held.problem.cause is Cause.TWCMANAGER_UNREACHABLE


def test_nobody_at_the_web_control(teslamate: TeslaMate, twc: TwcFolder) -> None:
    expect_error(teslamate.sync(twc, "--via", "http"), "twcmanager-unreachable")


def test_refresh_token_held_by_a_running_twcmanager_is_a_warning(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write({**OTHER, "carApiRefreshToken": "its-own"})
    with running(twc.settings, port=twc.port):
        run = teslamate.sync(twc)
    assert outcome(run) == ("pushed", 0)
    assert [warning["cause"] for warning in run.json["warnings"]] == ["holds-refresh-token"]
    assert "its-own" not in run.out + run.err
    assert outcome(teslamate.sync(twc, "--via", "file")) == WRITTEN
    assert twc.read()["carApiRefreshToken"] == ""


def start(twc: TwcFolder) -> "subprocess.Popen[bytes]":
    """A process that looks like TWCManager and has written its pid file, but has no web control."""
    program = twc.path.parent / "TWCManager.py"
    program.write_text("import time\ntime.sleep(60)\n")
    started = subprocess.Popen([sys.executable, str(program)], cwd=twc.path)
    (twc.path / "TWCManager.pid").write_text(str(started.pid))
    return started


@pytest.fixture
def process(twc: TwcFolder) -> Iterator["subprocess.Popen[bytes]"]:
    started = start(twc)
    yield started
    started.kill()
    started.wait()


def test_running_but_unreachable_gets_the_file_and_a_warning(
    teslamate: TeslaMate, twc: TwcFolder, process: subprocess.Popen[bytes]
) -> None:
    twc.write(OTHER)
    run = teslamate.sync(twc)
    assert outcome(run) == ("written", 1)
    assert [warning["cause"] for warning in run.json["warnings"]] == ["twcmanager-running"]
    assert (run.json["ok"], run.json["delivery"]["twcmanager"]) == (False, "running")
    assert twc.read()["carApiBearerToken"] == teslamate.access
    process.kill()
    process.wait()
    # The pid file stays behind, the process does not.
    twc.write(OTHER)
    assert teslamate.sync(twc).json["delivery"]["twcmanager"] == "stopped"


@pytest.mark.usefixtures("process", "charges")
def test_restart_command_makes_the_file_last(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    marker = twc.path / "restarted"
    run = teslamate.sync(twc, TMSYNC_TWCMANAGER_RESTART_COMMAND=f"touch '{marker}'")
    assert outcome(run) == WRITTEN
    assert marker.exists()


@pytest.mark.usefixtures("process", "charges")
@pytest.mark.parametrize("way", ["auto", "file"])
def test_twcmanager_is_not_restarted_while_a_car_charges(teslamate: TeslaMate, twc: TwcFolder, way: str) -> None:
    """Its wall connectors would stop after 30 s without a master, and a car takes that three times a session."""
    twc.write(OTHER)
    marker = twc.path / "restarted"
    command = f"touch '{marker}'"
    teslamate.sql("insert into public.charging_processes values (1, 1, now() - interval '1 hour', null)")
    waits = [teslamate.sync(twc, "--via", way, TMSYNC_TWCMANAGER_RESTART_COMMAND=command) for _ in range(3)]
    assert [outcome(run) for run in waits] == [("written", 1), ("unchanged", 1), ("unchanged", 1)]
    assert [causes(run) for run in waits] == [["restart-waits"]] * 3
    assert "a car is charging" in waits[0].json["warnings"][0]["message"]
    assert twc.read()["carApiBearerToken"] == teslamate.access
    assert not marker.exists()
    teslamate.sql("update public.charging_processes set end_date = now()")
    run = teslamate.sync(twc, "--via", way, TMSYNC_TWCMANAGER_RESTART_COMMAND=command)
    assert (outcome(run), causes(run), marker.exists()) == (UNCHANGED, [], True)


@pytest.mark.usefixtures("process")
def test_where_nothing_tells_whether_a_car_charges_one_run_waits(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    marker = twc.path / "restarted"
    command = f"touch '{marker}'"
    first = teslamate.sync(twc, TMSYNC_TWCMANAGER_RESTART_COMMAND=command)
    assert (outcome(first), causes(first), marker.exists()) == (("written", 1), ["restart-waits"], False)
    assert "the next run restarts it" in first.json["warnings"][0]["message"]
    second = teslamate.sync(twc, TMSYNC_TWCMANAGER_RESTART_COMMAND=command)
    assert (outcome(second), causes(second), marker.exists()) == (UNCHANGED, [], True)


@pytest.mark.usefixtures("process")
def test_twcmanager_itself_says_best_whether_a_car_charges(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    marker = twc.path / "restarted"
    command = f"touch '{marker}'"
    for charging, done in ((1, False), (0, True)):
        with running(twc.settings, port=twc.port) as manager:
            manager.status["carsCharging"] = charging
            run = teslamate.sync(twc, "--via", "file", TMSYNC_TWCMANAGER_RESTART_COMMAND=command)
        assert (causes(run), marker.exists()) == ([] if done else ["restart-waits"], done)


@pytest.mark.usefixtures("process", "charges")
@pytest.mark.parametrize("command", ["false", "/nonexistent/restart", "sh -c 'echo no such unit >&2; exit 5'"])
def test_failing_restart_command_is_told(teslamate: TeslaMate, twc: TwcFolder, command: str) -> None:
    twc.write(OTHER)
    error = expect_error(teslamate.sync(twc, TMSYNC_TWCMANAGER_RESTART_COMMAND=command), "twcmanager-running")
    assert ("no such unit" in error["message"]) == ("unit" in command)


def test_other_web_server_on_the_port_is_not_taken_for_twcmanager(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    with running(twc.settings, "other", twc.port):
        run = teslamate.sync(twc)
    assert outcome(run) == WRITTEN
    assert run.json["delivery"]["twcmanager"] == "stopped"


# -- is it running, and where?


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_web_control_is_found_on_either_loopback_address(teslamate: TeslaMate, twc: TwcFolder, host: str) -> None:
    twc.write(OTHER)
    with running(twc.settings, port=twc.port, host=host):
        run = teslamate.sync(twc)
    assert outcome(run) == PUSHED
    assert delivery(run) == ("http", True, "running")


def test_token_is_not_sent_to_another_web_server(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    with running(twc.settings, "other", twc.port) as other:
        error = expect_error(teslamate.sync(twc, "--via", "http"), "twcmanager-unreachable")
        assert "another web server" in error["message"]
    assert other.bodies == []


def test_far_twcmanager_that_does_not_answer_is_not_called_stopped(teslamate: TeslaMate, twc: TwcFolder) -> None:
    """Its own settings file cannot be seen, and an old one that lies here is not its."""
    twc.write(OTHER)
    environ = teslamate.environ(TMSYNC_TWCMANAGER_CONFIG_FILE=str(twc.config))
    # 192.0.2.0/24 is nobody's; TWCManager is asked for by name, which nobody knows.
    run = tmsync("sync-tokens", "--json", "--twc-url", "http://twcmanager.invalid:8080", environ=environ)
    expect_error(run, "twcmanager-unreachable")
    assert delivery(run) == ("http", None, "unknown")
    assert twc.read() == OTHER


def test_settings_file_that_twcmanager_names_itself_is_the_proof(teslamate: TeslaMate, open_folder: Path) -> None:
    """Started in its own folder with ./config.json, which nobody told us of; its address is enough."""
    (open_folder / "settings.json").write_text(json.dumps(OTHER))
    with running(open_folder / "settings.json") as manager:
        arguments = ("sync-tokens", "--json", "--twc-url", f"http://127.0.0.1:{manager.port}")
        run = tmsync(*arguments, environ=teslamate.environ())
        assert outcome(run) == PUSHED
        assert delivery(run) == ("http", True, "running")
        assert [causes(run), str(open_folder) in run.out] == [["loose-permissions"], True]
        assert outcome(tmsync(*arguments, environ=teslamate.environ())) == UNCHANGED


def test_settings_file_that_was_named_is_looked_at_whatever_twcmanager_names(
    teslamate: TeslaMate, twc: TwcFolder, tmp_path: Path
) -> None:
    (tmp_path / "settings.json").write_text(json.dumps(OTHER))
    environ = teslamate.environ(TMSYNC_TWCMANAGER_SETTINGS_FILE=str(twc.settings))
    with running(tmp_path / "settings.json") as manager:
        run = tmsync("sync-tokens", "--json", "--twc-url", f"http://127.0.0.1:{manager.port}", environ=environ)
    assert (outcome(run), delivery(run)) == (PUSHED, ("http", None, "running"))


# -- conflicts, told before anything is sent

ON = {"TeslaMate": {"enabled": True, "syncTokens": True, "db_pass": "its-SECRET-password"}}
CUT = '{"config": {"a": 1}, "vehicle": {"TeslaMate": {"enabled": true, "syncTokens": true}}, "x": {"y": }'


@pytest.mark.parametrize("config", [{"vehicle": ON}, CUT], ids=["whole", "cut by its own scrubbing of passwords"])
def test_own_sync_of_a_running_twcmanager_is_told_by_its_api(
    teslamate: TeslaMate, twc: TwcFolder, config: dict[str, Any] | str
) -> None:
    twc.write(OTHER)
    environ = teslamate.environ(TMSYNC_TWCMANAGER_SETTINGS_FILE=str(twc.settings))
    with running(twc.settings) as manager:
        manager.config = config
        url = f"http://127.0.0.1:{manager.port}"
        expect_error(tmsync("sync-tokens", "--json", "--twc-url", url, environ=environ), "sync-enabled-in-twcmanager")
        told = tmsync("-v", "sync-tokens", "--twc-url", url, environ=environ)
        assert "its-SECRET-password" not in told.out + told.err
        assert twc.read() == OTHER
        # Nor does it help that the token stands in the file already.
        assert outcome(tmsync("sync-tokens", "--json", environ=environ)) == WRITTEN
        expect_error(tmsync("sync-tokens", "--json", "--twc-url", url, environ=environ), "sync-enabled-in-twcmanager")
    assert manager.bodies == []


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_newer_token_that_twcmanager_holds_has_teslamates_read_again(
    teslamate: TeslaMate, twc: TwcFolder, state: str
) -> None:
    """Another run may have brought it, while this one had read the token before."""
    twc.write({**OTHER, "carApiBearerToken": access_token(datetime.now(UTC) + timedelta(hours=8))})
    environ = teslamate.environ(TMSYNC_TWCMANAGER_CONFIG_FILE=str(twc.config))
    with running(twc.settings, port=twc.port) if state == "running" else nullcontext():
        run = tmsync("-v", "sync-tokens", "--json", environ=environ)
    assert outcome(run) == (PUSHED if state == "running" else WRITTEN)
    assert "TWCManager holds a newer token than the one just read; reading TeslaMate's again" in run.err


def test_proxy_that_allows_reading_only(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    with running(twc.settings, "denies", twc.port):
        error = expect_error(teslamate.sync(twc), "twcmanager-refused")
    assert "does not let tmsync change" in error["message"]
    assert twc.read() == OTHER


def test_web_control_that_breaks_off(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    with running(twc.settings, "breaks off", twc.port):
        expect_error(teslamate.sync(twc), "twcmanager-unreachable")


def test_refresh_token_warning_tells_the_steps_that_clear_it(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write({**OTHER, "carApiRefreshToken": "its-own"})
    with running(twc.settings, port=twc.port) as manager:
        run = teslamate.sync(twc, "--dry-run")
        assert manager.bodies == []
    (warning,) = run.json["warnings"]
    assert warning["cause"] == "holds-refresh-token"
    steps = ["stop twcmanager", "sync-tokens --via file", "start twcmanager"]
    assert [any(step in line for line in warning["fix"]) for step in steps] == [True] * 3


# -- in use, and not only in the file


def test_token_in_the_file_that_the_running_twcmanager_has_not_read(teslamate: TeslaMate, twc: TwcFolder) -> None:
    """Written while its web control was down: the next run does not take the file for the proof."""
    twc.write(OTHER)
    first = start(twc)
    try:
        assert (outcome(teslamate.sync(twc)), causes(teslamate.sync(twc))) == (("written", 1), ["twcmanager-running"])
        again = teslamate.sync(twc)
        assert (outcome(again), causes(again)) == (("unchanged", 1), ["twcmanager-running"])
        with running(twc.settings, port=twc.port) as manager:
            manager.memory = dict(OTHER)
            assert outcome(teslamate.sync(twc, "--check")) == ("out-of-sync", 3)
            run = teslamate.sync(twc)
            assert outcome(run) == PUSHED
            assert delivery(run) == ("http", True, "running")
            assert manager.memory["carApiBearerToken"] == teslamate.access
            assert outcome(teslamate.sync(twc)) == UNCHANGED
            assert len(manager.bodies) == 1
    finally:
        first.kill()
        first.wait()


def test_token_read_at_a_later_start_is_in_use(teslamate: TeslaMate, twc: TwcFolder) -> None:
    assert outcome(teslamate.sync(twc)) == WRITTEN
    # The system tells a process's start in hundredths of a second.
    time.sleep(0.05)
    later = start(twc)
    try:
        run = teslamate.sync(twc)
        assert (outcome(run), causes(run)) == (UNCHANGED, [])
        assert delivery(run) == ("file", True, "running")
    finally:
        later.kill()
        later.wait()


# -- a dry run tries all but the last step


def dry(teslamate: TeslaMate, twc: TwcFolder, **more: str) -> tuple[tuple[str, int], list[str]]:
    before = untouched(twc)
    run = teslamate.sync(twc, "--dry-run", **more)
    assert untouched(twc) == before
    return outcome(run), causes(run)


def untouched(twc: TwcFolder) -> tuple[Any, ...]:
    """What a write would change; a read changes only when the file was last read."""
    found = twc.settings.stat()
    return found.st_ino, found.st_mode, found.st_uid, found.st_mtime_ns, found.st_ctime_ns, twc.read(), twc.listing()


@pytest.mark.usefixtures("process", "charges")
def test_dry_run_of_a_restart_promises_nothing_that_the_run_could_not_do(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    marker = twc.path / "restarted"
    assert dry(teslamate, twc) == (("dry-run", 1), ["twcmanager-running"])
    assert dry(teslamate, twc, TMSYNC_TWCMANAGER_RESTART_COMMAND=f"touch '{marker}'") == (("dry-run", 0), [])
    for command in ("/nonexistent/restart now", "no-such-program", str(twc.settings)):
        run = teslamate.sync(twc, "--dry-run", TMSYNC_TWCMANAGER_RESTART_COMMAND=command)
        assert "is not a program that this user can run" in expect_error(run, "twcmanager-running")["message"]
    teslamate.sql("insert into public.charging_processes values (1, 1, now(), null)")
    assert dry(teslamate, twc, TMSYNC_TWCMANAGER_RESTART_COMMAND="touch") == (("dry-run", 1), ["restart-waits"])
    assert not marker.exists()


def test_dry_run_of_a_push_finds_twcmanagers_own_sync(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    with running(twc.settings, port=twc.port) as manager:
        assert dry(teslamate, twc) == (("dry-run", 0), [])
        manager.config = {"vehicle": {"TeslaMate": {"enabled": True, "syncTokens": True}}}
        expect_error(teslamate.sync(twc, "--dry-run"), "sync-enabled-in-twcmanager")
        assert manager.bodies == []


# -- the restart command


def restarts_that_save(twc: TwcFolder, *texts: str) -> tuple[str, Path]:
    """A restart_command that each time puts the next text into settings.json, and the file that counts its runs."""
    script, count = twc.path.parent / "restart.py", twc.path.parent / "count"
    script.write_text(
        "import pathlib, sys\n"
        "count = pathlib.Path(sys.argv[2])\n"
        "done = int(count.read_text()) if count.exists() else 0\n"
        "count.write_text(str(done + 1))\n"
        f"if done < {len(texts)}: pathlib.Path(sys.argv[1]).write_text({texts!r}[done])\n"
    )
    return f"{sys.executable} {script} {twc.settings} {count}", count


@pytest.mark.usefixtures("process", "charges")
def test_restart_that_saves_the_old_token_is_done_once_more(teslamate: TeslaMate, twc: TwcFolder) -> None:
    """TWCManager 1.3.2 saves what it has in memory when it is interrupted."""
    twc.write(OTHER)
    command, count = restarts_that_save(twc, json.dumps(OTHER))
    run = teslamate.sync(twc, TMSYNC_TWCMANAGER_RESTART_COMMAND=command)
    assert outcome(run) == WRITTEN
    assert delivery(run) == ("file", True, "running")
    assert count.read_text() == "2"
    assert twc.read()["carApiBearerToken"] == teslamate.access


@pytest.mark.usefixtures("process", "charges")
@pytest.mark.parametrize("before", ["another token", "the token, which the running one has not read"])
@pytest.mark.parametrize(("last", "cause"), [(json.dumps(OTHER), "twcmanager-running"), ("{", "settings-unreadable")])
def test_token_that_restarts_leave_nothing_of_is_not_taken_for_held(
    teslamate: TeslaMate, twc: TwcFolder, before: str, last: str, cause: str
) -> None:
    twc.write(OTHER)
    taken_up = before != "another token"
    if taken_up:
        assert outcome(teslamate.sync(twc)) == ("written", 1)
    command, count = restarts_that_save(twc, json.dumps(OTHER), last)
    run = teslamate.sync(twc, TMSYNC_TWCMANAGER_RESTART_COMMAND=command)
    expect_error(run, cause)
    assert delivery(run) == ("file", False if cause == "twcmanager-running" else None, "running")
    assert (count.read_text(), bool(run.json["delivery"]["backup"])) == ("2", not taken_up)


@pytest.mark.usefixtures("process", "charges")
def test_secrets_in_the_output_of_a_failed_restart_are_masked(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    command = f"sh -c 'cat {twc.settings}; echo no such unit; exit 5'"
    run = teslamate.sync(twc, TMSYNC_TWCMANAGER_RESTART_COMMAND=command)
    error = expect_error(run, "twcmanager-running")
    assert "no such unit" in error["message"]
    assert "exit code 5" in error["message"]
    assert teslamate.access not in run.out + run.err
    assert teslamate.access[-40:] not in run.out + run.err


def test_command_that_takes_too_long_is_ended_and_its_last_words_are_told_without_secrets() -> None:
    command = (sys.executable, "-c", "import time; print('waiting for my-SECRET', flush=True); time.sleep(60)")
    words = run_command(command, environ={}, timeout_s=0.5, secrets=["my-SECRET"])
    assert words == "it did not end within 0.5 s: waiting for ********"


def test_command_that_leaves_a_child_behind_is_not_waited_for_any_longer_than_itself() -> None:
    command = ("sh", "-c", "sleep 60 & echo started")
    begun = time.monotonic()
    assert run_command(command, environ=os.environ, timeout_s=20) == ""
    assert time.monotonic() - begun < 10


# -- no token but where it belongs


def test_redirecting_server_sends_the_token_nowhere(teslamate: TeslaMate, twc: TwcFolder, tmp_path: Path) -> None:
    twc.write(OTHER)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with (
        running(elsewhere / "settings.json") as other,
        running(twc.settings, "redirects", twc.port) as manager,
    ):
        manager.redirect_to = f"http://127.0.0.1:{other.port}/settings/save"
        run = teslamate.sync(twc)
    expect_error(run, "twcmanager-refused")
    assert other.requests == []
    assert len(manager.bodies) == 1
    assert teslamate.access not in run.out + run.err
