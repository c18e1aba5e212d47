"""sync-tokens as cron runs it, for months: restarts, outages, clocks that jump, tokens that change under its hands."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.commands.test_sync_tokens import OTHER, expiry
from tests.support.standin import running
from tests.support.surroundings import LOCAL, OPEN, Run, TeslaMate, TwcFolder, tmsync
from tmsync.core.causes import Cause
from tmsync.core.clock import SystemClock
from tmsync.core.config.load import load_settings
from tmsync.core.config.settings import Settings
from tmsync.core.sync import Report, sync
from tmsync.core.teslamate.assessment import fingerprint
from tmsync.core.twcmanager.delivery import Result
from tmsync.core.twcmanager.facade import TwcFacts
from tmsync.core.twcmanager.held import Held, held_by_twcmanager
from tmsync.core.twcmanager.plan import SyncOptions, Via
from tmsync.core.twcmanager.presence import Presence
from tmsync.core.twcmanager.settings_file import SettingsFile
from tmsync.demo.teslamate import access_token


def cron(teslamate: TeslaMate, twc: TwcFolder, *arguments: str, **changes: str | None) -> Run:
    """As a timer runs it: text, no terminal."""
    environ = teslamate.environ(TMSYNC_TWCMANAGER_CONFIG_FILE=str(twc.config), **changes)
    return tmsync("sync-tokens", *arguments, environ=environ)


def lines(run: Run) -> tuple[int, int, int]:
    """Exit code, and how many lines went to standard output, and how many problems to standard error."""
    return run.code, len(run.out.splitlines()), sum(line.startswith("tmsync: ") for line in run.err.splitlines())


def fresh(**left: float) -> str:
    return access_token(datetime.now(UTC) + timedelta(**left))


def settings_of(teslamate: TeslaMate, twc: TwcFolder) -> Settings:
    environ = teslamate.environ(TMSYNC_TWCMANAGER_CONFIG_FILE=str(twc.config))
    return load_settings(environ={**environ, "HOME": "/nonexistent"}, flags={}, config_file=None)


class Jumping(SystemClock):
    """A wall clock that is wrong by `off`; the running time is not touched by that."""

    def __init__(self, off: timedelta) -> None:
        self.off = off

    def now(self) -> datetime:
        return super().now() + self.off


def run_with(clock: SystemClock, teslamate: TeslaMate, twc: TwcFolder) -> Report:
    return sync(settings_of(teslamate, twc), SyncOptions(Via.AUTO), clock=clock, environ={})


# -- outages


def test_outage_is_a_line_each_time_and_silence_when_it_is_over(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    assert lines(cron(teslamate, twc)) == (0, 1, 0)
    before = twc.read()
    for _ in range(3):
        down = cron(teslamate, twc, TMSYNC_DATABASE_PORT="1")
        assert lines(down) == (1, 0, 1)
        assert down.err.startswith("tmsync: error: ")
    assert twc.read() == before
    assert lines(cron(teslamate, twc)) == (0, 0, 0)


def test_teslamate_that_is_just_being_restarted(teslamate: TeslaMate, twc: TwcFolder) -> None:
    """Its database takes nobody for a while; then the token it renewed meanwhile goes over."""
    twc.write(OTHER)
    assert cron(teslamate, twc).code == 0
    teslamate.hba(LOCAL)
    assert lines(cron(teslamate, twc)) == (1, 0, 1)
    teslamate.hba(OPEN)
    teslamate.store(fresh(hours=8))
    assert lines(cron(teslamate, twc)) == (0, 1, 0)
    assert twc.read()["carApiBearerToken"] == teslamate.access


def test_token_that_is_not_renewed_is_a_warning_in_its_last_hour_and_then_a_problem(
    teslamate: TeslaMate, twc: TwcFolder
) -> None:
    teslamate.store(fresh(minutes=90))
    assert lines(cron(teslamate, twc)) == (0, 1, 0)
    teslamate.store(fresh(minutes=30))
    assert lines(cron(teslamate, twc)) == (0, 1, 1)
    # Also when there is nothing else to tell: the run that says nothing decides nothing silently.
    again = cron(teslamate, twc)
    assert lines(again) == (0, 0, 1)
    assert "expires in 29 min" in again.err
    teslamate.store(fresh(minutes=-1))
    expired = cron(teslamate, twc)
    assert lines(expired) == (1, 0, 1)
    assert "expired 1 min ago" in expired.err


# -- clocks


def test_clock_that_jumps_ahead_is_told_and_costs_nothing(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    report = run_with(Jumping(timedelta(days=2)), teslamate, twc)
    assert report.error is not None
    assert report.error.cause is Cause.EXPIRED
    assert twc.read() == OTHER
    assert run_with(SystemClock(), teslamate, twc).result is Result.WRITTEN


def test_clock_that_jumps_back_changes_nothing_about_the_token(teslamate: TeslaMate, twc: TwcFolder) -> None:
    """A Raspberry Pi without a clock wakes up in the past."""
    twc.write(OTHER)
    report = run_with(Jumping(timedelta(days=-20_000)), teslamate, twc)
    assert (report.result, report.warnings) == (Result.WRITTEN, ())
    assert twc.read()["carApiTokenExpireTime"] == expiry(teslamate)
    assert run_with(SystemClock(), teslamate, twc).result is Result.UNCHANGED


# -- tokens that change under its hands


def overtake(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None]) -> None:
    """Once, right before our next write takes its look under the lock."""
    write = SettingsFile.write
    done: list[bool] = []

    def late(self: SettingsFile, *arguments: Any) -> Any:
        if not done:
            done.append(True)
            meanwhile()
        return write(self, *arguments)

    monkeypatch.setattr(SettingsFile, "write", late)


def test_older_token_never_replaces_the_one_another_run_has_just_brought(
    teslamate: TeslaMate, twc: TwcFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    twc.write(OTHER)

    def another_run() -> None:
        teslamate.store(fresh(hours=8))
        assert cron(teslamate, twc).code == 0

    overtake(monkeypatch, another_run)
    report = run_with(SystemClock(), teslamate, twc)
    assert report.result is Result.UNCHANGED
    assert twc.read()["carApiBearerToken"] == teslamate.access


def test_token_rotated_between_read_and_write_goes_over_with_the_next_run(
    teslamate: TeslaMate, twc: TwcFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    twc.write(OTHER)
    overtake(monkeypatch, lambda: teslamate.store(fresh(hours=8)))
    assert run_with(SystemClock(), teslamate, twc).result is Result.WRITTEN
    assert twc.read()["carApiBearerToken"] != teslamate.access
    assert run_with(SystemClock(), teslamate, twc).result is Result.WRITTEN
    assert twc.read()["carApiBearerToken"] == teslamate.access


def test_token_that_teslamate_has_not_wins_over_no_token_of_teslamate(teslamate: TeslaMate, twc: TwcFolder) -> None:
    """One that lives longer, as TWCManager got it by a refresh of its own: TeslaMate's is the one that counts."""
    twc.write({**OTHER, "carApiBearerToken": fresh(hours=20)})
    assert cron(teslamate, twc).code == 0
    assert twc.read()["carApiBearerToken"] == teslamate.access


def test_two_timers_at_once_push_one_after_the_other(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    environ = {"PATH": "/usr/bin:/bin", **teslamate.environ(TMSYNC_TWCMANAGER_CONFIG_FILE=str(twc.config))}
    with running(twc.settings, port=twc.port) as manager:
        manager.delay_s = 0.5
        command = [sys.executable, "-m", "tmsync", "sync-tokens", "--json"]
        runs = [subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        results = [json.loads(run.communicate(timeout=60)[0])["result"] for run in runs]
        time.sleep(0.6)
    assert set(results) <= {"pushed", "unchanged"}
    assert "pushed" in results
    assert len(manager.bodies) == results.count("pushed")
    assert twc.read()["carApiBearerToken"] == teslamate.access
    assert twc.listing() == ["config.json", "settings.json", "settings.json.backup"]


# -- what status is told


def look(teslamate: TeslaMate, twc: TwcFolder, current: str | None = None) -> Held:
    return held_by_twcmanager(settings_of(teslamate, twc), current, SystemClock())


def test_what_twcmanager_holds_is_told_without_sending_anything(teslamate: TeslaMate, twc: TwcFolder) -> None:
    current = fingerprint(teslamate.access)
    twc.write({**OTHER, "carApiRefreshToken": "its-own"})
    stopped = look(teslamate, twc, current)
    assert stopped._replace(since=None) == Held(
        Presence.STOPPED,
        "no such process, and no web control answers",
        None,
        str(twc.settings),
        fingerprint("old"),
        in_sync=False,
        since=None,
        holds_refresh_token=True,
        sync_enabled=False,
        facts=TwcFacts("", "", powerwall=False),
    )
    assert cron(teslamate, twc).code == 0
    begun = datetime.now(UTC).replace(microsecond=0)
    with running(twc.settings, port=twc.port) as manager:
        manager.save(counter=1)
        now = look(teslamate, twc, current)
        assert manager.bodies == []
    assert (now.presence, now.url) == (Presence.RUNNING, f"http://127.0.0.1:{twc.port}")
    assert (now.fingerprint, now.in_sync, now.holds_refresh_token) == (current, True, False)
    assert now.since is not None
    assert begun - timedelta(seconds=5) <= now.since <= begun


def test_held_where_nothing_is_to_be_seen(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write("half a {")
    broken = look(teslamate, twc)
    assert broken.problem is not None
    assert broken.problem.cause is Cause.SETTINGS_UNREADABLE
    assert (broken.fingerprint, broken.in_sync, broken.since) == (None, None, None)
    twc.settings.unlink()
    missing = look(teslamate, twc, "sha256:0")
    assert (missing.fingerprint, missing.in_sync, missing.since) == (None, False, None)
    assert (missing.expires_at, missing.holds_refresh_token) == (None, False)


def test_own_sync_of_twcmanager_is_told_to_status(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    twc.configure(enabled=True, syncTokens=True)
    assert look(teslamate, twc).sync_enabled is True
