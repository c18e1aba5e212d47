"""sync-tokens from a real database into TWCManager's settings, by file and by web control."""

import fcntl
import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.surroundings import KEY, LOCAL, Run, TeslaMate, TwcFolder, tmsync
from tmsync.demo.teslamate import access_token

OTHER = {"chargeNowAmps": 32, "Vehicles": {"5YJ3": {"name": "Blue"}}, "carApiBearerToken": "old", "counter": 1}
WRITTEN, UNCHANGED = ("written", 0), ("unchanged", 0)


def outcome(run: Run) -> tuple[str, int]:
    return run.json["result"], run.code


def expect_error(run: Run, cause: str, code: int = 1) -> dict[str, Any]:
    document = run.json
    assert document["error"] is not None, run.out
    assert (document["error"]["cause"], document["result"], document["ok"], run.code) == (cause, "failed", False, code)
    assert document["error"]["hint"]
    assert document["error"]["message"] in run.err
    error: dict[str, Any] = document["error"]
    return error


def expiry(teslamate: TeslaMate) -> int:
    import base64

    body = teslamate.access.split(".")[1]
    return int(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"])


# -- nothing to export


@pytest.mark.parametrize(
    ("statement", "cause"),
    [
        ("drop table private.tokens", "no-tokens-table"),
        ("delete from private.tokens", "signed-out"),
        ("insert into private.tokens (inserted_at, updated_at) values (now(), now())", "several-rows"),
    ],
)
def test_database_faults_are_told_with_check_dbs_causes(
    teslamate: TeslaMate, twc: TwcFolder, statement: str, cause: str
) -> None:
    twc.write(OTHER)
    teslamate.sql(statement)
    expect_error(teslamate.sync(twc), cause)
    assert twc.read() == OTHER


def test_login_faults_are_told_with_check_dbs_causes(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    expect_error(teslamate.sync(twc, TMSYNC_DATABASE_PASSWORD="wrong"), "bad-credentials")
    expect_error(teslamate.sync(twc, TMSYNC_DATABASE_PASSWORD=None), "no-password")
    expect_error(teslamate.sync(twc, TMSYNC_TESLAMATE_ENCRYPTION_KEY="wrong"), "wrong-key")
    expect_error(teslamate.sync(twc, TMSYNC_TESLAMATE_ENCRYPTION_KEY=None), "no-key")
    expect_error(teslamate.sync(twc, TMSYNC_DATABASE_PORT="1"), "refused")
    expect_error(teslamate.sync(twc, TMSYNC_DATABASE_HOST=None), "missing-setting", code=2)
    teslamate.hba(LOCAL)
    expect_error(teslamate.sync(twc), "no-entry")
    assert twc.read() == OTHER
    assert twc.listing() == ["config.json", "settings.json"]


def test_expired_token_is_not_exported_unless_forced(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    teslamate.store(access_token(datetime.now(UTC) - timedelta(minutes=10)))
    error = expect_error(teslamate.sync(twc), "expired")
    assert "10 min ago" in error["message"]
    assert twc.read() == OTHER
    forced = teslamate.sync(twc, "--force")
    assert outcome(forced) == WRITTEN
    assert [warning["cause"] for warning in forced.json["warnings"]] == ["expired"]
    assert twc.read()["carApiBearerToken"] == teslamate.access


def test_sync_enabled_in_twcmanager_refuses_ours(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    twc.configure(enabled=True, syncTokens=True)
    expect_error(teslamate.sync(twc), "sync-enabled-in-twcmanager")
    assert twc.read() == OTHER
    twc.configure(enabled=False, syncTokens=True)
    assert outcome(teslamate.sync(twc)) == WRITTEN


@pytest.mark.parametrize("content", ["", "not json", "[1]"])
def test_settings_that_are_no_json_object_are_never_overwritten(
    teslamate: TeslaMate, twc: TwcFolder, content: str
) -> None:
    twc.write(content)
    expect_error(teslamate.sync(twc), "settings-unreadable")
    assert twc.settings.read_text() == content


def test_missing_folder_is_told(teslamate: TeslaMate, twc: TwcFolder) -> None:
    run = teslamate.sync(twc, "--twc-settings", str(twc.path / "nowhere" / "settings.json"))
    expect_error(run, "settings-unwritable")


# -- the file


def test_first_export_writes_three_keys_and_nothing_else(every_teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER, mode=0o640)
    run = every_teslamate.sync(twc, "--via", "file")
    assert outcome(run) == WRITTEN, run.out
    exp = expiry(every_teslamate)
    ours = {
        "carApiBearerToken": every_teslamate.access,
        "carApiRefreshToken": "",
        "carApiTokenExpireTime": exp,
    }
    assert twc.read() == {**OTHER, **ours}
    assert twc.settings.stat().st_mode & 0o7777 == 0o640
    assert json.loads((twc.path / "settings.json.backup").read_text()) == OTHER
    document = run.json
    assert list(document) == [
        "command", "version", "ok", "result", "token", "refresh_token", "delivery", "warnings", "error",
    ]  # fmt: skip
    left = document["token"].pop("expires_in_s")
    assert 6.9 * 3600 < left <= 7 * 3600
    assert document["token"] == {
        "fingerprint": "sha256:" + hashlib.sha256(every_teslamate.access.encode()).hexdigest()[:12],
        "expires_at": datetime.fromtimestamp(exp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "audience": ["https://fleet-api.prd.eu.vn.cloud.tesla.com"],
        "region": "EU",
        "api": "fleet",
    }
    assert document["refresh_token"] == "withheld"
    assert document["delivery"] == {
        "via": "file",
        "target": str(twc.settings),
        "verified": True,
        "twcmanager": "stopped",
        "backup": str(twc.path / "settings.json.backup"),
    }
    assert (document["ok"], document["warnings"], document["error"]) == (True, [], None)


def test_second_run_changes_nothing_and_says_nothing(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    environ = teslamate.environ(TMSYNC_TWCMANAGER_CONFIG_FILE=str(twc.config))
    first = tmsync("sync-tokens", environ=environ)
    assert first.code == 0
    assert first.out.startswith("token sha256:")
    assert first.out.count("\n") == 1
    assert first.err == ""
    before = [(path.name, path.stat().st_mtime_ns, path.stat().st_ino) for path in twc.path.iterdir()]
    second = tmsync("sync-tokens", environ=environ)
    assert (second.code, second.out, second.err) == (0, "", "")
    assert [(path.name, path.stat().st_mtime_ns, path.stat().st_ino) for path in twc.path.iterdir()] == before
    assert "unchanged" in tmsync("--verbose", "sync-tokens", environ=environ).out


def test_renewed_token_replaces_the_old_one(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    assert outcome(teslamate.sync(twc)) == WRITTEN
    teslamate.store(access_token(datetime.now(UTC) + timedelta(hours=8)))
    assert outcome(teslamate.sync(twc)) == WRITTEN
    assert twc.read()["carApiBearerToken"] == teslamate.access


def test_check_and_dry_run_write_nothing(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    listing = twc.listing()
    assert outcome(teslamate.sync(twc, "--check")) == ("out-of-sync", 3)
    assert outcome(teslamate.sync(twc, "--dry-run")) == ("dry-run", 0)
    assert (twc.read(), twc.listing()) == (OTHER, listing)
    assert outcome(teslamate.sync(twc)) == WRITTEN
    lock = twc.path / "settings.json.lock"
    lock.touch()  # As a killed run leaves it.
    assert outcome(teslamate.sync(twc, "--check")) == UNCHANGED
    assert outcome(teslamate.sync(twc, "--dry-run")) == UNCHANGED
    assert lock.exists()
    assert outcome(teslamate.sync(twc)) == UNCHANGED
    assert not lock.exists()


def test_the_right_token_with_a_wrong_expiry_is_told_as_that(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write({"carApiBearerToken": teslamate.access, "carApiRefreshToken": "", "carApiTokenExpireTime": 1})
    environ = teslamate.environ(TMSYNC_TWCMANAGER_CONFIG_FILE=str(twc.config))
    run = tmsync("sync-tokens", "--check", environ=environ)
    fingerprint = "sha256:" + hashlib.sha256(teslamate.access.encode()).hexdigest()[:12]
    why = "but its refresh token or expiry is not as it should be"
    assert (run.code, run.out) == (3, f"out of sync: TWCManager holds {fingerprint} as TeslaMate does, {why}\n")


def test_missing_settings_file_is_made(teslamate: TeslaMate, twc: TwcFolder) -> None:
    run = teslamate.sync(twc)
    assert outcome(run) == WRITTEN
    assert run.json["delivery"]["backup"] is None
    assert twc.settings.stat().st_mode & 0o7777 == 0o600
    assert sorted(twc.read()) == ["carApiBearerToken", "carApiRefreshToken", "carApiTokenExpireTime"]


def test_shared_refresh_token_comes_with_a_far_away_expiry(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    run = teslamate.sync(twc, TMSYNC_TWCMANAGER_REFRESH_TOKEN="share")
    assert outcome(run) == WRITTEN
    assert run.json["refresh_token"] == "shared"
    held = twc.read()
    assert held["carApiRefreshToken"] == teslamate.refresh
    assert held["carApiTokenExpireTime"] > datetime.now(UTC).timestamp() + 10 * 365 * 86400
    # Back to withholding: the refresh token goes, the true expiry comes back.
    assert outcome(teslamate.sync(twc)) == WRITTEN
    assert (twc.read()["carApiRefreshToken"], twc.read()["carApiTokenExpireTime"]) == ("", expiry(teslamate))
    teslamate.sql("update private.tokens set refresh = null")
    expect_error(teslamate.sync(twc, TMSYNC_TWCMANAGER_REFRESH_TOKEN="share"), "no-refresh-token")


def test_token_without_expiry_counts_eight_hours_from_when_it_was_stored(teslamate: TeslaMate, twc: TwcFolder) -> None:
    teslamate.store("EU_opaque")
    run = teslamate.sync(twc)
    assert outcome(run) == WRITTEN
    assert run.json["token"]["expires_at"] is None
    assert [warning["cause"] for warning in run.json["warnings"]] == ["no-jwt"]
    # PostgreSQL rounds updated_at to the nearest second.
    stored = datetime.now(UTC).timestamp() + 1
    assert stored + 7.9 * 3600 < twc.read()["carApiTokenExpireTime"] <= stored + 8 * 3600
    assert outcome(teslamate.sync(twc)) == UNCHANGED


def test_warning_before_a_token_expires_that_teslamate_does_not_renew(teslamate: TeslaMate, twc: TwcFolder) -> None:
    teslamate.store(access_token(datetime.now(UTC) + timedelta(minutes=30)))
    run = tmsync("sync-tokens", environ=teslamate.environ(TMSYNC_TWCMANAGER_CONFIG_FILE=str(twc.config)))
    assert run.code == 0
    assert run.err.startswith("tmsync: warning: TeslaMate's access token expires in 29 min")


# -- one at a time


@pytest.mark.slow
def test_second_run_waits_for_the_first_and_then_gives_up(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    lock = twc.path / "settings.json.lock"
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        expect_error(teslamate.sync(twc), "locked")
        assert twc.read() == OTHER
    finally:
        os.close(descriptor)
    assert outcome(teslamate.sync(twc)) == WRITTEN
    assert twc.listing() == ["config.json", "settings.json", "settings.json.backup"]


def test_many_runs_at_once_end_well(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write(OTHER)
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        **teslamate.environ(TMSYNC_TWCMANAGER_CONFIG_FILE=str(twc.config)),
    }
    command = [sys.executable, "-m", "tmsync", "sync-tokens", "--json"]
    runs = [subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    results = sorted(json.loads(run.communicate(timeout=60)[0])["result"] for run in runs)
    assert results == ["unchanged"] * 5 + ["written"]
    assert twc.read()["carApiBearerToken"] == teslamate.access


def test_key_from_a_file_with_a_line_break(teslamate: TeslaMate, twc: TwcFolder, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(f"{KEY}\n")
    key.chmod(0o600)
    changes = {"TMSYNC_TESLAMATE_ENCRYPTION_KEY": None, "TMSYNC_TESLAMATE_ENCRYPTION_KEY_FILE": str(key)}
    assert outcome(teslamate.sync(twc, **changes)) == WRITTEN
    teslamate.store(access_token(datetime.now(UTC) + timedelta(hours=6)), key=f"{KEY}\n")
    assert outcome(teslamate.sync(twc, **changes)) == WRITTEN
