"""A night without TeslaMate's database: three messages, whatever the runs find in the folder where they keep that."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.commands.test_sync_for_ever import cron, fresh, lines
from tests.commands.test_sync_tokens import OTHER
from tests.support.surroundings import Run, TeslaMate, TwcFolder, clean_environ, tmsync
from tmsync.core.causes import Cause
from tmsync.core.outage import Memory, News, Telling, decide

NOW = datetime(2026, 11, 29, 3, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
SILENCE = (1, 0, 0)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "home" / "state" / "tmsync"


@pytest.fixture
def night(teslamate: TeslaMate, twc: TwcFolder, state: Path) -> Callable[..., Run]:
    """A run of the timer; the database is out of reach unless `up`."""

    def run(*arguments: str, up: bool = False, **changes: str | None) -> Run:
        port = {} if up else {"TMSYNC_DATABASE_PORT": "1"}
        return cron(teslamate, twc, *arguments, **{"STATE_DIRECTORY": str(state), **port, **changes})

    return run


def test_a_night_is_three_messages(teslamate: TeslaMate, twc: TwcFolder, night: Callable[..., Run]) -> None:
    twc.write(OTHER)
    teslamate.store(fresh(hours=5))
    assert night(up=True).code == 0
    begins = night()
    assert lines(begins) == (1, 0, 1)
    assert "or an hour before TWCManager's token expires (in 4 h 59 min)" in begins.err
    assert [lines(night()) for _ in range(3)] == [SILENCE] * 3
    # Another fault of the same night.
    assert lines(night(TMSYNC_DATABASE_HOST="no-such-host.invalid")) == SILENCE
    twc.write({**OTHER, "carApiBearerToken": fresh(minutes=50)})
    low = night()
    assert lines(low) == (1, 0, 1)
    assert "It has been out of reach for" in low.err
    assert "TWCManager's token expires in 49 min" in low.err
    assert [lines(night()) for _ in range(3)] == [SILENCE] * 3
    over = night(up=True)
    assert (over.code, over.err) == (0, "")
    assert over.out.startswith("TeslaMate's database answers again, after ")
    assert [lines(night(up=True)) for _ in range(2)] == [(0, 0, 0)] * 2
    assert lines(night()) == (1, 0, 1)


def test_a_run_that_somebody_watches_tells_everything(
    teslamate: TeslaMate, twc: TwcFolder, night: Callable[..., Run], state: Path
) -> None:
    twc.write(OTHER)
    assert lines(night()) == (1, 0, 1)
    for more in ((), ("-q",)):
        assert lines(night(*more)) == SILENCE
    for loud in (("-v",), ("--check",), ("--dry-run",)):
        assert "refuses the connection" in night(*loud).err
    told = night("--json")
    assert (told.code, told.json["error"]["cause"]) == (1, "refused")
    environ = teslamate.environ(TMSYNC_TWCMANAGER_CONFIG_FILE=str(twc.config), TMSYNC_DATABASE_PORT="1")
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "tmsync", "sync-tokens"]
    environ["STATE_DIRECTORY"] = str(state)
    done = subprocess.run(command, env=clean_environ(environ), stdout=subprocess.PIPE, stderr=slave, timeout=60)
    shown = os.read(master, 4096).decode()
    assert (done.returncode, "refuses the connection" in shown) == (1, True)
    assert "The next message" not in shown


def test_faults_that_somebody_has_to_mend_are_told_each_time(night: Callable[..., Run], twc: TwcFolder) -> None:
    twc.write(OTHER)
    for _ in range(2):
        assert lines(night(up=True, TMSYNC_DATABASE_PASSWORD="wrong")) == (1, 0, 1)


@pytest.mark.parametrize(
    "left", [b"", b"\0\xff", b"[]", b'{"since": 5}', b'{"since": "9999-12-31T23:59:59Z"}', b"[" * 100_000, b'{"low": 1']
)
def test_what_cannot_be_read_is_as_if_nothing_were_there(
    night: Callable[..., Run], twc: TwcFolder, state: Path, left: bytes
) -> None:
    twc.write(OTHER)
    assert lines(night()) == (1, 0, 1)
    [kept] = state.iterdir()
    kept.write_bytes(left)
    assert [lines(night()) for _ in range(2)] == [(1, 0, 1), SILENCE]


def link_to_elsewhere(state: Path) -> None:
    [kept] = state.iterdir()
    outside = state.parent / "outside"
    outside.write_text("mine")
    kept.unlink()
    kept.symlink_to(outside)


def folder_in_its_place(state: Path) -> None:
    [kept] = state.iterdir()
    kept.unlink()
    (kept / "in it").mkdir(parents=True)


def pipe_in_its_place(state: Path) -> None:
    [kept] = state.iterdir()
    kept.unlink()
    os.mkfifo(kept)


def writable_by_others(state: Path) -> None:
    state.chmod(0o777)


def file_in_place_of_the_folder(state: Path) -> None:
    [kept] = state.iterdir()
    kept.unlink()
    state.rmdir()
    state.write_text("mine")


@pytest.mark.parametrize(
    "spoil",
    [link_to_elsewhere, folder_in_its_place, pipe_in_its_place, writable_by_others, file_in_place_of_the_folder],
)
def test_where_nothing_can_be_kept_each_run_tells(
    night: Callable[..., Run], twc: TwcFolder, state: Path, spoil: Callable[[Path], None]
) -> None:
    twc.write(OTHER)
    assert lines(night()) == (1, 0, 1)
    spoil(state)
    for _ in range(2):
        down = night()
        assert lines(down) == (1, 0, 1)
        # Nothing is promised that cannot be kept.
        assert "The next message" not in down.err
    assert lines(night(up=True)) == (0, 1, 0)
    if (outside := state.parent / "outside").exists():
        assert outside.read_text() == "mine"


def test_two_configurations_do_not_share_what_they_remember(
    night: Callable[..., Run], twc: TwcFolder, tmp_path: Path
) -> None:
    twc.write(OTHER)
    assert lines(night()) == (1, 0, 1)
    other = tmp_path / "other" / "settings.json"
    other.parent.mkdir()
    assert lines(night("--twc-settings", str(other))) == (1, 0, 1)
    assert lines(night()) == SILENCE


def test_without_a_home_folder_each_run_tells(teslamate: TeslaMate, twc: TwcFolder) -> None:
    environ = teslamate.environ(TMSYNC_TWCMANAGER_CONFIG_FILE=str(twc.config), TMSYNC_DATABASE_PORT="1")
    for _ in range(2):
        assert lines(tmsync("sync-tokens", environ=environ)) == (1, 0, 1)


BEGUN, TOLD = Memory(NOW - 5 * HOUR), Memory(NOW - 5 * HOUR, low=True)


@pytest.mark.parametrize(
    ("memory", "cause", "left", "telling", "since", "low"),
    [
        (Memory(), None, 5 * HOUR, Telling.AS_EVER, None, False),
        (Memory(), Cause.BAD_CREDENTIALS, 5 * HOUR, Telling.AS_EVER, None, False),
        (Memory(), Cause.TIMEOUT, 5 * HOUR, Telling.BEGINS, NOW, False),
        (Memory(), Cause.TIMEOUT, None, Telling.BEGINS, NOW, False),
        (Memory(), Cause.TIMEOUT, HOUR / 2, Telling.BEGINS, NOW, True),
        (BEGUN, Cause.REFUSED, 5 * HOUR, Telling.SILENT, BEGUN.since, False),
        (BEGUN, Cause.REFUSED, None, Telling.SILENT, BEGUN.since, False),
        (BEGUN, Cause.STARTING_UP, HOUR / 2, Telling.LOW, BEGUN.since, True),
        (BEGUN, Cause.REFUSED, -HOUR, Telling.LOW, BEGUN.since, True),
        (TOLD, Cause.REFUSED, -HOUR, Telling.SILENT, BEGUN.since, True),
        (BEGUN, None, 5 * HOUR, Telling.OVER, None, False),
        (TOLD, None, 5 * HOUR, Telling.OVER, None, False),
        # It answers, with something else to tell.
        (BEGUN, Cause.WRONG_KEY, 5 * HOUR, Telling.AS_EVER, None, False),
    ],
)
def test_what_is_said_and_remembered(
    memory: Memory, cause: Cause | None, left: timedelta | None, *, telling: Telling, since: datetime | None, low: bool
) -> None:
    expires_at = NOW + left if left is not None else None
    remembered, said = decide(memory, cause, expires_at, NOW)
    assert (remembered, said.telling) == (Memory(since, low, expires_at), telling)
    assert isinstance(said, News)
    assert Memory.of(remembered.as_json(), NOW) == remembered
