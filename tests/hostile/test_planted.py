"""What somebody else may have put into a folder that is shared: links, files and locks under the names tmsync uses."""

import json
import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tmsync.core.causes import Cause
from tmsync.core.check_db.hba_apply import HbaNotWritten, write_insertion
from tmsync.core.clock import SystemClock
from tmsync.core.errors import DeliveryError
from tmsync.core.files.lease import lease
from tmsync.core.files.lock import exclusive, lock_path
from tmsync.core.files.replace import write_beside
from tmsync.core.hba import Insertion, MatchResult
from tmsync.core.twcmanager.settings_content import TokenFields
from tmsync.core.twcmanager.settings_file import SettingsFile

FIELDS = TokenFields("new-token", "", 1_800_000_000)
NOBODY = 65534
SECRET = '{"root-SECRET": 1}'
as_root = pytest.mark.root


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file that is none of tmsync's business."""
    path = tmp_path / "victim"
    path.write_text(SECRET)
    path.chmod(0o600)
    return path


def untouched(victim: Path) -> bool:
    found = victim.stat()
    return victim.read_text() == SECRET and (found.st_mode & 0o777, found.st_uid) == (0o600, os.geteuid())


def test_a_planted_backup_is_replaced_and_not_written_through(shared_folder: Path, victim: Path) -> None:
    settings = shared_folder / "settings.json"
    settings.write_text('{"keep": 1}')
    backup = shared_folder / "settings.json.backup"
    backup.symlink_to(victim)
    SettingsFile(settings).write(FIELDS, SystemClock())
    assert untouched(victim)
    assert not backup.is_symlink()
    assert json.loads(backup.read_text()) == {"keep": 1}


def test_a_planted_backup_is_not_read_either(shared_folder: Path, victim: Path) -> None:
    (shared_folder / "settings.json.backup").symlink_to(victim)
    settings = shared_folder / "settings.json"
    SettingsFile(settings).write(FIELDS, SystemClock())
    assert json.loads(settings.read_text()) == FIELDS.as_settings()
    assert untouched(victim)


def test_settings_that_become_a_link_are_not_followed(shared_folder: Path, victim: Path) -> None:
    settings = shared_folder / "settings.json"
    settings.write_text("{}")
    file = SettingsFile(settings)
    settings.unlink()
    settings.symlink_to(victim)
    with pytest.raises(DeliveryError) as caught:
        file.write(FIELDS, SystemClock())
    assert caught.value.cause is Cause.SETTINGS_UNREADABLE
    assert "SECRET" not in str(caught.value)
    with pytest.raises(OSError, match="symbolic links"), lease(settings):
        pass
    assert untouched(victim)


@as_root
@pytest.mark.parametrize("there", [True, False], ids=["roots-file", "no-file"])
def test_root_follows_no_link_that_somebody_else_planted(shared_folder: Path, victim: Path, there: bool) -> None:
    if not there:
        victim.unlink()
    settings = shared_folder / "settings.json"
    settings.symlink_to(victim)
    os.chown(settings, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(DeliveryError) as caught:
        SettingsFile(settings).write(FIELDS, SystemClock())
    assert caught.value.cause is Cause.SETTINGS_UNREADABLE
    assert "symbolic link of another user's" in str(caught.value)
    assert "--twc-settings" in caught.value.problem.hint
    assert victim.exists() is there
    assert [path.name for path in shared_folder.iterdir()] == ["settings.json"]
    assert not there or untouched(victim)


@as_root
def test_root_follows_the_link_of_the_files_own_owner(shared_folder: Path, tmp_path: Path) -> None:
    real = tmp_path / "real.json"
    real.write_text('{"keep": 1}')
    settings = shared_folder / "settings.json"
    settings.symlink_to(real)
    for path in (settings, real):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    SettingsFile(settings).write(FIELDS, SystemClock())
    assert settings.is_symlink()
    assert json.loads(real.read_text()) == {"keep": 1, **FIELDS.as_settings()}


@as_root
def test_a_lock_that_root_left_shuts_nobody_out(shared_folder: Path) -> None:
    os.chown(shared_folder, NOBODY, NOBODY)
    settings = shared_folder / "settings.json"
    lock = lock_path(settings)
    lock.touch(0o600)

    class Later(SystemClock):
        def now(self) -> datetime:
            return super().now() + timedelta(minutes=2)

    os.seteuid(NOBODY)
    try:
        with pytest.raises(PermissionError), exclusive(settings, SystemClock()):
            pass
        with exclusive(settings, Later()):
            assert lock.stat().st_uid == NOBODY
    finally:
        os.seteuid(0)
    with exclusive(settings, SystemClock()):
        # Held by root: it stays, however old it looks.
        os.chown(lock, 0, 0)
        os.seteuid(NOBODY)
        try:
            with pytest.raises(PermissionError), exclusive(settings, Later()):
                pass
        finally:
            os.seteuid(0)
        assert lock.exists()


def test_a_planted_lock_is_not_followed(shared_folder: Path, victim: Path) -> None:
    settings = shared_folder / "settings.json"
    settings.write_text("{}")
    lock_path(settings).symlink_to(victim)
    with pytest.raises(DeliveryError) as caught:
        SettingsFile(settings).write(FIELDS, SystemClock())
    assert caught.value.cause is Cause.SETTINGS_UNWRITABLE
    assert untouched(victim)
    assert settings.read_text() == "{}"


@as_root
def test_a_lock_that_is_another_name_of_roots_file_is_not_given_away(shared_folder: Path) -> None:
    os.chown(shared_folder, NOBODY, NOBODY)
    victim = shared_folder / "victim"
    victim.write_text(SECRET)
    victim.chmod(0o600)
    settings = shared_folder / "settings.json"
    lock_path(settings).hardlink_to(victim)
    with exclusive(settings, SystemClock()):
        pass
    assert untouched(victim)


@as_root
def test_a_lock_of_our_own_goes_to_the_folders_owner(shared_folder: Path) -> None:
    os.chown(shared_folder, NOBODY, NOBODY)
    settings = shared_folder / "settings.json"
    with exclusive(settings, SystemClock()):
        assert lock_path(settings).stat().st_uid == NOBODY
    assert not lock_path(settings).exists()


def planted_leftover(settings: Path, content: str) -> Path:
    """A file whose name claims that it was taken away for the one in place: a run that believes it swaps them."""
    there = settings.stat()
    name = f".{settings.name}.tmsync-swap-{there.st_ino}-{there.st_mtime_ns}-1-1"
    planted = settings.with_name(name)
    planted.write_text(content)
    return planted


@as_root
@pytest.mark.parametrize("link", [False, True], ids=["file", "link"])
def test_somebody_elses_leftover_is_not_put_into_place(shared_folder: Path, victim: Path, link: bool) -> None:
    settings = shared_folder / "settings.json"
    settings.write_text('{"keep": 1}')
    planted = planted_leftover(settings, '{"planted": 1}')
    if link:
        planted.unlink()
        planted.symlink_to(victim)
    os.chown(planted, 1234, 1234, follow_symlinks=False)
    SettingsFile(settings).write(FIELDS, SystemClock())
    assert json.loads(settings.read_text()) == {"keep": 1, **FIELDS.as_settings()}
    assert not settings.is_symlink()
    assert untouched(victim)


@as_root
def test_a_leftover_of_the_owners_is_still_finished(shared_folder: Path) -> None:
    settings = shared_folder / "settings.json"
    settings.write_text('{"older": 1}')
    os.chown(settings, NOBODY, NOBODY)
    os.chown(planted_leftover(settings, '{"newer": 1}'), NOBODY, NOBODY)
    SettingsFile(settings).write(FIELDS, SystemClock())
    assert json.loads(settings.read_text()) == {"newer": 1, **FIELDS.as_settings()}


def test_temporary_files_take_no_name_that_is_there(
    shared_folder: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "urandom", lambda count: b"\0" * count)
    (shared_folder / f".x.tmsync-{'00' * 6}").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_beside(shared_folder / "x", b"new", None, ".x.tmsync-")
    assert untouched(victim)


def test_a_planted_backup_of_pg_hba_is_left_alone_and_not_written_through(shared_folder: Path, victim: Path) -> None:
    hba = shared_folder / "pg_hba.conf"
    hba.write_text("local all all trust\n")
    backup = shared_folder / "pg_hba.conf.backup"
    backup.symlink_to(victim)
    change = Insertion("", 1, "local all all peer\n", "")
    written = write_insertion(hba, "local all all trust\n", change)
    assert untouched(victim)
    assert backup.is_symlink()
    assert written.backup == shared_folder / "pg_hba.conf.backup.1"
    assert (hba.read_text(), written.backup.read_text()) == ("local all all peer\n", "local all all trust\n")


@as_root
def test_root_writes_no_pg_hba_through_a_link_that_somebody_else_planted(shared_folder: Path, victim: Path) -> None:
    hba = shared_folder / "pg_hba.conf"
    hba.symlink_to(victim)
    os.chown(hba, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(HbaNotWritten, match=r"was not changed: .* symbolic link of another user's") as caught:
        write_insertion(hba, SECRET, Insertion("", 1, "local all all peer\n", MatchResult(None)))
    assert "--pg-hba" in caught.value.problem.hint
    assert untouched(victim)
    assert [path.name for path in shared_folder.iterdir()] == ["pg_hba.conf"]
