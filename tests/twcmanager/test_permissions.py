"""settings.json that this user may not read, or not replace: whose it is is told, and a step that gets out of it.

Every fix is tried: what it says to paste is pasted, and then the write succeeds.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.twcmanager.test_settings_file import FIELDS, OLD
from tmsync.core.causes import Cause
from tmsync.core.clock import SystemClock
from tmsync.core.errors import DeliveryError
from tmsync.core.twcmanager.settings_content import Snapshot
from tmsync.core.twcmanager.settings_file import SettingsFile

NOBODY, DAEMON = 65534, 1
pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")]


@contextmanager
def being(user: int) -> Iterator[None]:
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(user)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def rehearse(path: Path) -> None:
    def check(_: Snapshot) -> None:
        pass

    SettingsFile(path).rehearse(FIELDS, SystemClock(), check)


def write(path: Path) -> None:
    SettingsFile(path).write(FIELDS, SystemClock())


def refused(path: Path, how: Callable[[Path], None]) -> DeliveryError:
    before = path.stat(), sorted(path.parent.iterdir())
    with being(NOBODY), pytest.raises(DeliveryError) as caught:
        how(path)
    assert (path.stat(), sorted(path.parent.iterdir())) == before
    return caught.value


@pytest.mark.parametrize("how", [rehearse, write])
@pytest.mark.parametrize(
    ("owners", "mode", "cause", "command"),
    [
        # Root has touched it: TWCManager cannot read it either.
        ((NOBODY, 0), 0o600, "settings-unreadable", "sudo chown nobody: {path}"),
        # Readable, but nobody can make another file that is root's.
        ((NOBODY, 0), 0o644, "settings-unwritable", "sudo chown nobody: {path}"),
        ((DAEMON, DAEMON), 0o600, "settings-unreadable",
         "sudo -u daemon tmsync --config /etc/tmsync/config.toml sync-tokens"),
        ((DAEMON, NOBODY), 0o600, "settings-unwritable", "sudo chown nobody: {folder}"),
        ((NOBODY, NOBODY), 0o000, "settings-unreadable", "sudo chmod u+rwx {folder}"),
    ],
)  # fmt: skip
def test_whose_the_file_is_and_how_to_get_out(
    open_folder: Path, how: Callable[[Path], None], *, owners: tuple[int, int], mode: int, cause: str, command: str
) -> None:
    folder_owner, owner = owners
    path = open_folder / "settings.json"
    path.write_text(json.dumps(OLD))
    path.chmod(mode)
    os.chown(path, owner, owner)
    os.chown(open_folder, folder_owner, folder_owner)
    error = refused(path, how)
    names = {0: "root", NOBODY: "nobody", DAEMON: "daemon"}
    told = f"(it belongs to {names[owner]}, its folder to {names[folder_owner]}; tmsync runs as nobody)"
    assert (error.cause.value, told in str(error)) == (cause, True), error
    step = error.problem.fix[0]
    assert step.command.splitlines()[0] == command.format(path=path, folder=open_folder)
    if "sudo -u" in step.command:
        return
    for one in error.problem.fix[:2]:
        if "sudo -u" not in one.command:
            subprocess.run(one.command.replace("sudo ", ""), shell=True, check=True)
    with being(NOBODY):
        write(path)
    assert json.loads(path.read_text())["carApiBearerToken"] == "new-token"


def test_what_is_mounted_read_only_fails_in_a_dry_run_too(open_folder: Path) -> None:
    """As with `-v settings.json:/etc/twcmanager/settings.json:ro`: the folder takes files, the file itself does not."""
    path, source = open_folder / "settings.json", open_folder / "source.json"
    for one in (path, source):
        one.write_text(json.dumps(OLD))
    if subprocess.run(["mount", "--bind", "-o", "ro", source, path], check=False, capture_output=True).returncode:
        pytest.skip("no mounts here")
    try:
        for how in (rehearse, write):
            with pytest.raises(DeliveryError) as caught:
                how(path)
            assert (caught.value.cause, "mounted read-only" in caught.value.problem.hint) == (
                Cause.SETTINGS_UNWRITABLE, True,
            )  # fmt: skip
        assert sorted(one.name for one in open_folder.iterdir()) == ["settings.json", "source.json"]
    finally:
        subprocess.run(["umount", path], check=True)


def test_dry_run_of_a_file_that_root_may_not_change(open_folder: Path) -> None:
    path = open_folder / "settings.json"
    path.write_text(json.dumps(OLD))
    for frozen in (path, open_folder):
        if subprocess.run(["chattr", "+i", frozen], capture_output=True, check=False).returncode:
            pytest.skip("this file system knows no immutable files")
        try:
            with pytest.raises(DeliveryError) as caught:
                rehearse(path)
        finally:
            subprocess.run(["chattr", "-i", frozen], check=True)
        assert "immutable" in caught.value.problem.hint
    rehearse(path)
    assert json.loads(path.read_text()) == OLD


def test_what_this_user_could_not_have_written_is_not_taken_for_ours(open_folder: Path) -> None:
    """So that who may read settings.json, and no more, does not push a token anew that TWCManager has saved itself."""
    path = open_folder / "settings.json"
    path.write_text(json.dumps(OLD))
    os.chown(path, DAEMON, DAEMON)
    write(path)
    path.chmod(0o644)
    file = SettingsFile(path)
    assert file.is_ours(file.read(SystemClock()))
    with being(NOBODY):
        assert not file.is_ours(file.read(SystemClock()))
