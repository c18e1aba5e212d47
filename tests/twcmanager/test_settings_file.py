"""settings.json: what comes of it when it is strange, when others write too, and when the process is killed."""

import errno
import fcntl
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.twcmanager.surgery import EXPIRY, save_like_twcmanager
from tmsync.core.causes import Cause
from tmsync.core.clock import SystemClock
from tmsync.core.errors import DeliveryError
from tmsync.core.files import replace, swap
from tmsync.core.twcmanager import settings_file
from tmsync.core.twcmanager.settings_content import TokenFields
from tmsync.core.twcmanager.settings_file import SettingsFile

FIELDS = TokenFields("new-token", "", EXPIRY)
NEW = {"carApiBearerToken": "new-token", "carApiRefreshToken": "", "carApiTokenExpireTime": EXPIRY}
OLD: dict[str, Any] = {
    "carApiBearerToken": "old-token",
    "carApiRefreshToken": "old-refresh",
    "carApiTokenExpireTime": 1,
    "chargeNowAmps": 32,
    "Vehicles": {"5YJ": {"name": "Blau ä 🚗"}},
    "big": 12345678901234567890123,
    "float": 0.1,
    "counter": 1,
}
ROOT = os.geteuid() == 0


def write(path: Path, fields: TokenFields = FIELDS) -> settings_file.Written:
    return SettingsFile(path).write(fields, SystemClock())


def refused(path: Path, cause: Cause) -> DeliveryError:
    """Writing fails with `cause` and leaves everything as it was."""
    before = snapshot(path.parent)
    with pytest.raises(DeliveryError) as caught:
        write(path)
    assert caught.value.cause is cause
    assert caught.value.problem.hint
    assert snapshot(path.parent) == before
    return caught.value


def snapshot(folder: Path) -> dict[str, object]:
    if not folder.is_dir():
        return {}
    return {path.name: path.read_bytes() if path.is_file() else None for path in folder.iterdir()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A settings.json as TWCManager writes it."""
    made = tmp_path / "settings.json"
    made.write_text(json.dumps(OLD))
    return made


# -- strange files are never overwritten


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"  \n", b"{", b'{"a": 1,}', b"[]", b'"text"', b"null", b"\xff\xfe{}"),
        *(b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"),
    ],
    ids=["empty", "blank", "half", "comma", "list", "string", "null", "not-utf8", "too-deep", "huge-number"],
)
def test_what_is_no_json_object_is_refused_and_untouched(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused(path, Cause.SETTINGS_UNREADABLE)


def test_folder_in_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "settings.json").mkdir()
    refused(tmp_path / "settings.json", Cause.SETTINGS_UNREADABLE)


def test_pipe_in_place_of_the_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "settings.json")
    refused(tmp_path / "settings.json", Cause.SETTINGS_UNREADABLE)


def test_missing_folder(tmp_path: Path) -> None:
    error = refused(tmp_path / "nowhere" / "settings.json", Cause.SETTINGS_UNWRITABLE)
    assert "folder does not exist" in str(error)


def test_endless_symbolic_link(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.symlink_to(path)
    refused(path, Cause.SETTINGS_UNREADABLE)


@pytest.mark.skipif(ROOT, reason="root may read and write everything")
def test_unreadable_file_and_unwritable_folder(path: Path) -> None:
    path.chmod(0)
    refused_cause = Cause.SETTINGS_UNREADABLE
    with pytest.raises(DeliveryError) as caught:
        write(path)
    assert caught.value.cause is refused_cause
    path.chmod(0o600)
    path.parent.chmod(0o500)
    try:
        refused(path, Cause.SETTINGS_UNWRITABLE)
    finally:
        path.parent.chmod(0o700)


@pytest.mark.root
def test_unreadable_and_unwritable_for_another_user(path: Path) -> None:
    os.chown(path, 65534, 65534)
    path.chmod(0o600)
    for folder in path.parents:
        if folder.stat().st_mode & stat.S_IXOTH == 0 and folder != Path("/root"):
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    script = (
        "import os, sys; from pathlib import Path; from tests.twcmanager.test_settings_file import write;"
        "from tmsync.core.errors import DeliveryError\n"
        "os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))\n"
        "try: write(Path(sys.argv[1]))\n"
        "except DeliveryError as error: print(error.cause)\n"
    )
    run = lambda uid: subprocess.run(  # noqa: E731
        [sys.executable, "-c", script, str(path), uid], capture_output=True, text=True
    ).stdout.strip()
    assert run("65533") == "settings-unreadable"
    assert run("65534") == "settings-unwritable"
    assert json.loads(path.read_text()) == OLD


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_disk_full_or_read_only_leaves_nothing_behind(path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    refused(path, Cause.SETTINGS_UNWRITABLE)


# -- the good write


def test_three_keys_change_and_everything_else_survives(path: Path) -> None:
    written = write(path)
    assert json.loads(path.read_text()) == {**OLD, **NEW}
    assert written.changed
    assert written.backup == path.with_name("settings.json.backup")
    assert json.loads(written.backup.read_text()) == OLD
    assert sorted(snapshot(path.parent)) == ["settings.json", "settings.json.backup"]


def test_nothing_is_written_when_nothing_changed(path: Path) -> None:
    write(path)
    before = {name: (path.parent / name).stat() for name in snapshot(path.parent)}
    assert not write(path).changed
    after = {name: (path.parent / name).stat() for name in snapshot(path.parent)}
    assert {name: (found.st_ino, found.st_mtime_ns) for name, found in before.items()} == {
        name: (found.st_ino, found.st_mtime_ns) for name, found in after.items()
    }


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o444, 0o400])
def test_mode_is_kept(path: Path, mode: int) -> None:
    path.chmod(mode)
    write(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert stat.S_IMODE(path.with_name("settings.json.backup").stat().st_mode) == mode


@pytest.mark.root
def test_owner_and_group_are_kept(path: Path) -> None:
    os.chown(path, 65534, 12345)
    write(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 12345)


def test_missing_file_is_made_with_mode_0600(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    written = write(path)
    assert json.loads(path.read_text()) == NEW
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert written.backup is None
    assert list(snapshot(tmp_path)) == ["settings.json"]


@pytest.mark.root
def test_missing_file_made_by_root_belongs_to_the_folders_owner(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    write(tmp_path / "settings.json")
    assert (tmp_path / "settings.json").stat().st_uid == 65534


def test_missing_file_beside_a_backup_starts_from_the_backup(path: Path) -> None:
    path.rename(path.with_name("settings.json.backup"))
    written = write(path)
    assert json.loads(path.read_text()) == {**OLD, **NEW}
    assert [warning.cause for warning in written.warnings] == [Cause.SETTINGS_RESTORED]


def test_symbolic_link_stays_one_and_its_target_is_written(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "real.json"
    target.parent.mkdir()
    path.rename(target)
    path.symlink_to(target)
    write(path)
    assert path.is_symlink()
    assert json.loads(target.read_text()) == {**OLD, **NEW}
    assert json.loads((target.parent / "real.json.backup").read_text()) == OLD


def test_planted_backup_link_is_replaced_and_not_followed(path: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.with_name("settings.json.backup").symlink_to(victim)
    write(path)
    assert victim.read_text() == "precious"
    assert not path.with_name("settings.json.backup").is_symlink()


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "b": "\\u00e4"}',
        '{\n    "a": 1,\n    "b": "ä"\n}\n',
        '{\n  "a": [\n    1\n  ]\n}',
        '{"a":"\\ud800","b":"ä"}',
    ],
    ids=["one-line", "four-blanks", "two-blanks", "lone-surrogate"],
)
def test_layout_is_kept(path: Path, text: str) -> None:
    path.write_text(text)
    before = json.loads(text)
    write(path)
    after = path.read_text()
    assert json.loads(after) == {**before, **NEW}
    assert after.count("\n") == (text.count("\n") + 3 if "\n" in text else 0)
    assert after.endswith("\n") == text.endswith("\n")


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=10,
        ),
    )
)
def test_any_other_settings_survive(tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("any") / "settings.json"
    path.write_text(json.dumps(data))
    write(path)
    assert json.loads(path.read_text()) == {**data, **NEW}
    assert json.loads(path.with_name("settings.json.backup").read_text()) == data


@pytest.mark.parametrize(
    "held",
    [
        {**NEW, "carApiTokenExpireTime": str(EXPIRY)},
        {**NEW, "carApiTokenExpireTime": float(EXPIRY)},
        {key: value for key, value in NEW.items() if key != "carApiRefreshToken"},
        {**NEW, "carApiRefreshToken": None},
    ],
)
def test_keys_of_another_type_count_as_a_difference(path: Path, held: dict[str, Any]) -> None:
    path.write_text(json.dumps(held))
    assert write(path).changed
    assert json.loads(path.read_text()) == NEW


# -- other ways into place


@pytest.fixture(params=["exchange", "rename"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "rename":

        def unsupported(*_: object) -> None:
            raise replace.ExchangeUnsupported

        monkeypatch.setattr(swap, "exchange", unsupported)
    return str(request.param)


def test_either_way_keeps_backup_and_mode(path: Path, way: str) -> None:
    path.chmod(0o640)
    write(path)
    assert json.loads(path.read_text()) == {**OLD, **NEW}
    assert json.loads(path.with_name("settings.json.backup").read_text()) == OLD
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.root
def test_bind_mounted_single_file_is_written_in_place(path: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    outside.write_text(json.dumps({**OLD, "long": "x" * 9000}))
    path.parent.chmod(0o755)
    script = (
        f"mount --bind {outside} {path} && exec {sys.executable} -c 'from pathlib import Path;"
        "from tests.twcmanager.test_settings_file import write;"
        f'done = write(Path("{path}")); print([warning.cause.value for warning in done.warnings], done.changed)\''
    )
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("this surrounding does not let us mount")
    assert done.stdout.strip() == "['not-atomic'] True", done.stderr
    assert json.loads(outside.read_text()) == {**OLD, "long": "x" * 9000, **NEW}
    assert json.loads(path.with_name("settings.json.backup").read_text()) == {**OLD, "long": "x" * 9000}


def mounted(outside: Path, path: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Python script where `outside` is mounted as `path`."""
    mount = f'mount --bind {outside} {path} && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", mount, "sh", sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


SAVING = """
import json, subprocess, sys, time
from pathlib import Path
from tests.twcmanager.test_settings_file import OLD, FIELDS, NEW
from tmsync.core.clock import SystemClock
from tmsync.core.twcmanager.settings_content import TokenFields
from tmsync.core.twcmanager.settings_file import SettingsFile
path = Path(sys.argv[1])
saver = (
    "import json, pathlib, sys, time\\nnumber = 1\\n"
    "while number < 101 or not pathlib.Path(sys.argv[3]).exists():\\n"
    "  number += 1\\n"
    "  with open(sys.argv[1], 'w') as file: json.dump({**json.loads(sys.argv[2]), 'counter': number}, file)\\n"
    "  time.sleep(0.005)\\n"
    "  assert json.load(open(sys.argv[1]))['counter'] == number, number\\n"
    "print(number)\\n"
)
enough = path.with_name("enough")
process = subprocess.Popen(
    [sys.executable, "-c", saver, str(path), json.dumps(OLD), str(enough)], stdout=subprocess.PIPE, text=True
)
number = 0
while process.poll() is None:
    number += 1
    SettingsFile(path).write(TokenFields(f"token-{number}", "", 1), SystemClock())
    if number == 30:
        enough.touch()
SettingsFile(path).write(FIELDS, SystemClock())
assert process.returncode == 0, "a save was lost, or the file was damaged"
assert json.loads(path.read_bytes()) == {**OLD, **NEW, "counter": int(process.stdout.read())}
"""


@pytest.mark.root
def test_no_save_into_a_bind_mounted_file_is_lost(path: Path, tmp_path: Path) -> None:
    """TWCManager 1.3.2 truncates it and writes it anew, a hundred times, while at least 30 tokens are written."""
    outside = tmp_path / "outside.json"
    outside.write_text(json.dumps(OLD))
    done = mounted(outside, path, SAVING, str(path))
    assert done.returncode == 0, done.stderr


@pytest.mark.root
def test_mount_of_a_file_that_another_one_has_replaced_is_told(path: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside" / "settings.json"
    outside.parent.mkdir()
    outside.write_text(json.dumps(OLD))
    script = (
        "import sys; from pathlib import Path; from tests.twcmanager.surgery import save_like_twcmanager;"
        "from tests.twcmanager.test_settings_file import write;"
        "from tmsync.core.errors import DeliveryError\n"
        "for _ in range(int(sys.argv[3])): save_like_twcmanager(Path(sys.argv[1]), counter=2)\n"
        "try: write(Path(sys.argv[2]))\n"
        "except DeliveryError as error: print(error.cause, error)\n"
    )
    for saves in "12":
        done = mounted(outside, path, script, str(outside), str(path), saves)
        assert done.stdout.startswith("settings-unreadable "), done
        assert "another file has taken its place" in done.stdout
        assert json.loads(outside.read_text()) == {**OLD, "counter": 2}


def test_python_without_ctypes_writes_too_and_leaves_nothing_behind(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert write(path).changed
    assert json.loads(path.read_text()) == {**OLD, **NEW}
    assert sorted(snapshot(path.parent)) == ["settings.json", "settings.json.backup"]


def test_file_that_another_program_keeps_open_without_saving(path: Path) -> None:
    with path.open("r+"):
        assert write(path).changed
    assert json.loads(path.read_text()) == {**OLD, **NEW}
    assert sorted(snapshot(path.parent)) == ["settings.json", "settings.json.backup"]


def test_what_the_new_file_does_not_share_is_told(path: Path) -> None:
    path.with_name("other-name").hardlink_to(path)
    os.setxattr(path, "user.note", b"mine")
    (warning,) = write(path).warnings
    assert warning.cause is Cause.NOT_KEPT
    assert "hard links: 1" in warning.message
    assert os.getxattr(path, "user.note") == b"mine"


@pytest.mark.root
def test_root_is_told_of_an_immutable_file(path: Path) -> None:
    if subprocess.run(["chattr", "+i", path], capture_output=True).returncode:
        pytest.skip("this file system knows no immutable files")
    try:
        error = refused(path, Cause.SETTINGS_UNWRITABLE)
    finally:
        subprocess.run(["chattr", "-i", path], check=True)
    assert "was not changed" in str(error)
    assert "immutable" in error.problem.hint
    assert not any("sudo -u" in step.command for step in error.problem.fix)


def test_broken_backup_is_not_recommended(path: Path) -> None:
    path.write_text("{")
    backup = path.with_name("settings.json.backup")
    for content, advised in (("{", False), (json.dumps(OLD), True)):
        backup.write_text(content)
        assert ("copy settings.json.backup" in refused(path, Cause.SETTINGS_UNREADABLE).problem.hint) is advised


# -- others write too


def test_save_between_look_and_swap_is_merged_not_lost(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, saves = replace.exchange, iter(range(2, 5))

    def raced(one: Path, other: Path) -> None:
        counter = next(saves, None)
        if counter is not None:
            save_like_twcmanager(other, counter=counter)
        real(one, other)

    monkeypatch.setattr(swap, "exchange", raced)
    write(path)
    assert json.loads(path.read_text()) == {**OLD, **NEW, "counter": 4}
    assert sorted(snapshot(path.parent)) == ["settings.json", "settings.json.backup"]


def test_look_into_the_gap_of_a_save_waits_for_its_end(path: Path) -> None:
    backup, temporary = path.with_name("settings.json.backup"), path.with_name("settings.json.tmp")
    temporary.write_text(json.dumps({**OLD, "counter": 2}))
    path.rename(backup)
    timer = threading.Timer(0.2, temporary.rename, [path])
    timer.start()
    written = write(path)
    timer.join()
    assert json.loads(path.read_text()) == {**OLD, **NEW, "counter": 2}
    assert written.warnings == ()


def test_save_that_has_opened_the_old_file_before_the_swap_is_merged_not_lost(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TWCManager 1.3.2 truncates the file it has opened, whatever became of its name meanwhile."""
    real = replace.exchange
    savers: list[subprocess.Popen[bytes]] = []
    script = (
        "import json, os, sys; file = open(sys.argv[1], 'w');"
        f"file.write(json.dumps({{**{OLD!r}, 'counter': 2}})); file.close()"
    )

    def raced(one: Path, other: Path) -> None:
        if not savers:
            savers.append(subprocess.Popen([sys.executable, "-c", script, str(other)]))
            waiting = Path(f"/proc/{savers[0].pid}/wchan")
            while savers[0].poll() is None and "break_lease" not in waiting.read_text():
                pass
        real(one, other)

    monkeypatch.setattr(swap, "exchange", raced)
    write(path)
    assert savers[0].wait(timeout=30) == 0
    assert json.loads(path.read_text()) == {**OLD, **NEW, "counter": 2}
    assert sorted(snapshot(path.parent)) == ["settings.json", "settings.json.backup"]


def test_half_a_file_is_read_again_while_somebody_writes_it(path: Path) -> None:
    with path.open("w") as file:
        file.write(json.dumps(OLD)[:40])
        file.flush()
        timer = threading.Timer(0.2, lambda: (file.write(json.dumps(OLD)[40:]), file.close()))
        timer.start()
        written = write(path)
        timer.join()
    assert written.changed
    assert json.loads(path.read_text()) == {**OLD, **NEW}


def test_without_leases_a_late_write_into_the_old_file_is_seen(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, saves = replace.exchange, iter(range(2, 4))

    def raced(one: Path, other: Path) -> None:
        counter = next(saves, None)
        with other.open("r+") as file:
            real(one, other)
            if counter is not None:
                file.truncate()
                file.write(json.dumps({**OLD, "counter": counter}))

    monkeypatch.delattr(fcntl, "F_SETLEASE")
    monkeypatch.setattr(swap, "exchange", raced)
    write(path)
    assert json.loads(path.read_text()) == {**OLD, **NEW, "counter": 3}


# -- killed


def killed(path: Path, step: int, moment: str, mode: str) -> bool:
    """Run a write that is killed at that point; False when it came to its end."""
    command = [sys.executable, "-m", "tests.twcmanager.surgery", str(path), "new-token", str(step), moment, mode]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (0, -9), done.stderr
    return done.returncode != 0


@pytest.mark.parametrize("mode", ["exchange", "rename", "in-place"])
def test_killed_anywhere_the_file_is_the_old_or_the_new_one_and_the_next_run_finishes(
    tmp_path: Path, mode: str
) -> None:
    steps = 0
    while True:
        steps += 1
        alive = []
        for moment in ("before", "after"):
            folder = tmp_path / f"{steps}-{moment}"
            folder.mkdir()
            path = folder / "settings.json"
            path.write_text(json.dumps(OLD))
            alive.append(killed(path, steps, moment, mode))
            assert json.loads(path.read_text()) in (OLD, {**OLD, **NEW})
            write(path)
            assert json.loads(path.read_text()) == {**OLD, **NEW}
            assert set(snapshot(folder)) <= {"settings.json", "settings.json.backup"}
        if not any(alive):
            break
    assert steps > 6


def test_killed_between_taking_a_newer_file_and_giving_it_back_loses_no_setting(tmp_path: Path) -> None:
    steps = 0
    while True:
        steps += 1
        folder = tmp_path / str(steps)
        folder.mkdir()
        path = folder / "settings.json"
        path.write_text(json.dumps(OLD))
        alive = killed(path, steps, "after", "raced")
        saved = any('"counter": 2' in found.read_text() for found in folder.iterdir())
        write(path)
        assert json.loads(path.read_text()) == {**OLD, **NEW, "counter": 2 if saved else 1}
        assert set(snapshot(folder)) <= {"settings.json", "settings.json.backup"}
        if not alive:
            break
    assert steps > 6
