"""TWCManager saving and sync-tokens writing at the same time, for thousands of rounds, and kill -9 into it.

`python -m tests.twcmanager.hammer [--rounds N] [--kills N]`, `make hammer` for short: 10,000 rounds and 500 kills.
"""

import argparse
import json
import mmap
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tmsync.core.clock import SystemClock
from tmsync.core.twcmanager.settings_content import TokenFields
from tmsync.core.twcmanager.settings_file import SettingsFile

EXPIRY = 1_800_000_000
OLD: dict[str, Any] = {
    "carApiBearerToken": "its-own",
    "carApiRefreshToken": "",
    "carApiTokenExpireTime": 1,
    "chargeNowAmps": 32,
    "Vehicles": {"5YJ": {"name": "Blau ä 🚗"}},
    "history": [["2026-11-24T10:00:00", number] for number in range(400)],
}
PAUSE_S = 0.004
CLOCK = SystemClock()


def by_rename(path: Path, data: dict[str, Any]) -> None:
    """The save of TWCManager's later versions; no lock."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(json.dumps(data))
    path.rename(path.with_name(f"{path.name}.backup"))
    temporary.rename(path)


def in_place(path: Path, data: dict[str, Any]) -> None:
    """The save of the released 1.3.2: the file is truncated and written anew."""
    with path.open("w") as file:
        json.dump(data, file)


SAVES = {"by-rename": by_rename, "in-place": in_place}


class Board:
    """What the processes tell each other: the counter saved last, a request to stop or to pause, and its echo."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(32))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 32)

    def __getitem__(self, slot: int) -> int:
        return int(struct.unpack_from("q", self._memory, 8 * slot)[0])

    def __setitem__(self, slot: int, value: int) -> None:
        struct.pack_into("q", self._memory, 8 * slot, value)


SAVED, STOP, PAUSE, PAUSED = range(4)


def twcmanager(path: Path, board: Board, save: str, *, watch: bool) -> None:
    """Save a growing counter until told to stop. watch: nobody else may have changed it since."""
    counter = board[SAVED]
    while not board[STOP]:
        board[PAUSED] = board[PAUSE]
        if board[PAUSE]:
            time.sleep(0.001)
            continue
        if watch:
            unchanged(path, counter)
        counter += 1
        SAVES[save](path, {**OLD, "counter": counter})
        board[SAVED] = counter
        time.sleep(random.uniform(0, PAUSE_S))


def unchanged(path: Path, counter: int) -> None:
    """The file is there, whole, and holds what was saved last; the swap back may take a moment."""
    deadline = time.monotonic() + 2
    while (found := json.loads(path.read_bytes())["counter"]) != counter:
        if time.monotonic() > deadline:
            raise AssertionError(f"saved {counter}, and the file holds {found}")


def victim(path: Path) -> None:
    """Write growing tokens until killed."""
    print("ready", flush=True)
    for number in range(1_000_000):
        put(path, f"token-{number}")


def put(path: Path, token: str) -> None:
    SettingsFile(path).write(TokenFields(token, "", EXPIRY), CLOCK)


@contextmanager
def saving(path: Path, save: str, *, watch: bool) -> Iterator[Board]:
    """A TWCManager that saves all the time; it must come to a good end."""
    path.write_text(json.dumps({**OLD, "counter": 0}))
    board_file = path.parent.parent / "board"
    board = Board(board_file)
    role = [sys.executable, "-m", "tests.twcmanager.hammer", "--role"]
    process = subprocess.Popen([*role, "watcher" if watch else "saver", str(path), str(board_file), save])
    try:
        yield board
    finally:
        board[STOP] = 1
        ended = process.wait(timeout=60)
    assert ended == 0, "TWCManager found its settings changed, missing or damaged"


def together(folder: Path, save: str, rounds: int) -> tuple[int, int]:
    """Both write at once. Returns how often each did; raises AssertionError for a lost counter or token."""
    path = make(folder)
    with saving(path, save, watch=True) as board:
        while not board[SAVED]:
            time.sleep(0.001)
        for number in range(rounds):
            known = board[SAVED]
            put(path, f"token-{number}")
            counter = SettingsFile(path).read(CLOCK).data["counter"]
            assert counter >= known, f"{known} had been saved, and the file holds {counter}"
        # The last rounds of both: whoever was faster, what is left is the last counter and the last token.
    put(path, "the-last")
    assert json.loads(path.read_bytes()) == merged(board[SAVED], "the-last")
    leftovers(path)
    return board[SAVED], rounds


def killed(folder: Path, save: str, kills: int) -> int:
    """kill -9 at any moment. Returns how many of the runs were killed while at work."""
    path = make(folder)
    hit = 0
    with saving(path, save, watch=False) as board:
        for number in range(kills):
            command = [sys.executable, "-m", "tests.twcmanager.hammer", "--role", "victim", str(path)]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                process.stdout.readline()
                time.sleep(random.uniform(0, 0.03))
                process.kill()
            hit += process.returncode == -9
            board[PAUSE] = 1
            while not board[PAUSED]:
                time.sleep(0.001)
            data = json.loads(path.read_bytes())
            assert data["counter"] <= board[SAVED]
            assert data == merged(data["counter"], data["carApiBearerToken"]) or data == {
                **OLD,
                "counter": data["counter"],
            }
            put(path, f"after-{number}")
            assert json.loads(path.read_bytes()) == merged(board[SAVED], f"after-{number}")
            leftovers(path)
            board[PAUSE] = 0
    return hit


def merged(counter: int, token: str) -> dict[str, Any]:
    ours = {"carApiBearerToken": token, "carApiRefreshToken": "", "carApiTokenExpireTime": EXPIRY}
    return {**OLD, "counter": counter, **ours}


def leftovers(path: Path) -> None:
    known = {path.name, f"{path.name}.backup", f"{path.name}.tmp", f"{path.name}.lock"}
    assert {found.name for found in path.parent.iterdir()} <= known


def make(folder: Path) -> Path:
    inner = folder / "twcmanager"
    inner.mkdir()
    return inner / "settings.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--role", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.role is not None:
        role, path, *rest = asked.role
        if role == "victim":
            victim(Path(path))
        else:
            twcmanager(Path(path), Board(Path(rest[0])), rest[1], watch=role == "watcher")
        return
    for save in SAVES:
        with tempfile.TemporaryDirectory(prefix="tmsync-hammer-") as name:
            begun = time.monotonic()
            saves, writes = together(Path(name), save, asked.rounds)
            print(f"{save}: {writes} tokens against {saves} saves, none lost ({time.monotonic() - begun:.0f} s)")
        with tempfile.TemporaryDirectory(prefix="tmsync-hammer-") as name:
            begun = time.monotonic()
            hit = killed(Path(name), save, asked.kills)
            print(f"{save}: {hit} of {asked.kills} runs killed, nothing lost ({time.monotonic() - begun:.0f} s)")


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[3])
    main()
