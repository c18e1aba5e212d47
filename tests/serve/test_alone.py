"""One serve at a time in each state folder."""

import os
from pathlib import Path

import pytest

from tmsync.core.clock import SystemClock
from tmsync.core.serve.alone import FILE, PATIENCE_S, InUse, StateLock


class Passing(SystemClock):
    """Sleeping takes no time."""

    slept_s = 0.0

    def monotonic(self) -> float:
        return self.slept_s

    def sleep(self, seconds: float) -> None:
        self.slept_s += seconds


def test_one_at_a_time_holds_a_folder_and_the_next_one_waits_some_seconds(tmp_path: Path) -> None:
    clock = Passing()
    first, second = StateLock(clock), StateLock(clock)
    first.hold(tmp_path)
    first.hold(tmp_path)
    with pytest.raises(InUse) as error:
        second.hold(tmp_path)
    assert (error.value.problem.cause, error.value.exit_code) == ("locked", 1)
    assert PATIENCE_S <= clock.slept_s < PATIENCE_S + 1
    first.release()
    second.hold(tmp_path)


def test_who_moves_lets_go_only_once_there_is_another_place(tmp_path: Path) -> None:
    first, second, third = (StateLock(Passing()) for _ in range(3))
    first.hold(tmp_path / "a")
    second.hold(tmp_path / "b")
    with pytest.raises(InUse):
        first.hold(tmp_path / "b")
    with pytest.raises(InUse):
        third.hold(tmp_path / "a")
    first.hold(tmp_path / "c")
    third.hold(tmp_path / "a")


@pytest.mark.parametrize("what", ["file", "link", "open to others"])
def test_a_folder_that_cannot_be_used_keeps_nobody_from_serving(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "state"
    if what == "file":
        folder.write_text("no folder")
    else:
        folder.mkdir()
        (folder / FILE).symlink_to(tmp_path / "elsewhere")
        folder.chmod(0o777 if what == "open to others" else 0o700)
    first, second = StateLock(Passing()), StateLock(Passing())
    first.hold(tmp_path / "before")
    for lock in (first, second):
        lock.hold(folder)
    assert not (tmp_path / "elsewhere").exists()
    second.hold(tmp_path / "before")
    second.release()
    second.hold(tmp_path / "before")
    with pytest.raises(InUse):
        first.hold(tmp_path / "before")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_what_root_leaves_behind_belongs_to_the_folders_owner_and_what_was_there_stays_whose_it_is(
    tmp_path: Path,
) -> None:
    os.chown(tmp_path, 65534, 65534)
    StateLock(Passing()).hold(tmp_path)
    assert (tmp_path / FILE).stat().st_uid == 65534
    roots = tmp_path / "roots"
    roots.write_text("")
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).hardlink_to(roots)
    StateLock(Passing()).hold(tmp_path)
    assert roots.stat().st_uid == 0
