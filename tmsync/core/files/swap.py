"""Compare and swap: new content takes a file's place only if nobody has saved the file in between.

Other programs save it at any moment and without a lock, in two ways: they truncate the file and write it anew, or they
rename a temporary file over it. On Linux what is guaranteed against both is:

* Old or new, never half, never missing by our doing. The new content is a synced file of its own before it gets the
  name (`tmsync.core.files.replace`), and it gets it in one step.
* No save is lost. Our file is exchanged with the one in place, so what was replaced stays in hand. It counts as the
  previous content only if, after the exchange and a sync of the folder, it is still byte by byte what the new content
  was made from, nobody has it open for writing, and nobody waits to (`core.files.lease`). Else it is exchanged back,
  and what came out is kept as long as somebody may still write into it. For the microseconds between those two
  exchanges a reader sees the older content.
* A killed run costs nothing. The file in hand carries in its name what was being exchanged; the next run, which has
  the lock, finishes or undoes it.

What remains open: a writer of the first kind that has looked up the name, but has not yet come to open the file, all
the while the folder is synced. Where names cannot be exchanged (not Linux, some network file systems, a Python without
ctypes), the file is compared right before a plain rename: a save within the microseconds between the two is lost. Where
leases are not to be had, or somebody keeps the file open and does not change it, the content alone decides, and the
file in hand is compared once more after a pause.

A file that is a mount point by itself can be written in place only: under a write lease, so that whoever opens it in
that moment waits; without one, it is compared right before and after.

Source: rename(2), fcntl(2), mount_namespaces(7), proc_pid_mountinfo(5).
"""

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from tmsync.core.clock import Clock
from tmsync.core.files.lease import Lease, lease
from tmsync.core.files.lock import exclusive
from tmsync.core.files.paths import is_there
from tmsync.core.files.replace import (
    ExchangeUnsupported,
    exchange,
    is_ours,
    not_kept,
    refuse_unchangeable,
    sync_folder,
    write_beside,
)

PAUSE_S: Final = 0.02
PAUSES: Final = 50
"""A save leaves a moment without the file, or with half of one; after this many looks that is how it is."""
SETTLE_S: Final = 0.005
"""Where no lease tells whether somebody still writes: how long one waits to see."""
OF_ONE_RUN_S: Final = 60.0
MOUNTS: Final = Path("/proc/self/mountinfo")

Identity: TypeAlias = tuple[int, int]
"""Inode and time of the last change: tells one save from the next."""


class Overtaken(Exception):
    """Another program has saved the file, or waits to: start again from what it holds now."""


class Busy(Exception):
    """Another program has the file open. What it holds has not changed."""


class Placed(NamedTuple):
    """How new content got there. backup: holds the previous content, None where there was none.

    in_place: it was written over the old content. guarded: no other program could write at that moment.
    not_kept: what the new file does not share with the old one, in words.
    """

    backup: Path | None
    in_place: bool = False
    guarded: bool = True
    not_kept: tuple[str, ...] = ()


class SharedFile:
    """A file that other programs save, too.

    end_of: the length of a text without what comes behind its end, None where it has none: tells a whole content from
    a damaged one.
    """

    def __init__(self, path: Path, end_of: Callable[[bytes], int | None]) -> None:
        self.path = path
        self.backup = path.with_name(f"{path.name}.backup")
        self._end_of = end_of
        self._marker = f".{path.name}.tmsync-"
        self._draft: tuple[bytes, Identity, Path] | None = None

    @contextmanager
    def writing(self, clock: Clock) -> Iterator[None]:
        """Within, no other run writes. What a killed one left is finished first; nothing is left behind.

        Raises: DeliveryError (locked), OSError.
        """
        with exclusive(self.path, clock):
            self._recover(clock)
            self._sweep()
            try:
                yield
            finally:
                with suppress(OSError):
                    self._recover(clock)
                    self._sweep()

    def put(self, new: bytes, raw: bytes, found: os.stat_result | None, clock: Clock, *, by_content: bool) -> Placed:
        """Let `new` take the place of `raw`; `found` is the status of the file that held it, None where there is none.

        by_content: go on although another program has the file open.
        Raises: Overtaken, Busy: nothing was changed. OSError: what is there now has to be looked at.
        """
        if found is None:
            return self._put_new(new)
        try:
            try:
                return self._exchange(new, raw, found, clock, by_content=by_content)
            except ExchangeUnsupported:
                return self._rename(new, raw, found, by_content=by_content)
        except FileNotFoundError:
            raise Overtaken from None
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
        return self._write_in_place(new, raw, found, clock, by_content=by_content)

    def rehearse(self, new: bytes, found: os.stat_result | None, clock: Clock) -> None:
        """All that `put` does before anything is changed: the lock, and the new content beside the file.

        Raises: DeliveryError (locked), OSError.
        """
        with exclusive(self.path, clock):
            for path in (self.path, self.path.parent):
                refuse_unchangeable(path)
            write_beside(self.path, new, found, self._marker).unlink()

    def left_behind(self) -> list[Path]:
        """What a killed run left beside the file."""
        try:
            left = [path for path in self.path.parent.iterdir() if path.name.startswith(self._marker)]
        except OSError:
            return []
        return [path for path in left if is_ours(path, self.path)]

    def is_lost_mount(self) -> bool:
        """Whether this is a file mounted by itself that has lost its name where it came from.

        Whoever saves it there by a rename has put another file into its place, which is not seen here.
        """
        with suppress(OSError):
            for line in MOUNTS.read_bytes().splitlines():
                root, point = (_unescaped(field) for field in line.split(b" ")[3:5])
                if point == os.fsencode(self.path):
                    return root.endswith((b"//deleted", b"/" + os.fsencode(self.backup.name)))
        return False

    # -- into place

    def _put_new(self, new: bytes) -> Placed:
        draft = write_beside(self.path, new, None, self._marker)
        try:
            os.link(draft, self.path)
        except FileExistsError:
            raise Overtaken from None
        except OSError:
            # A file system without hard links.
            if is_there(self.path):
                raise Overtaken from None
            draft.rename(self.path)
        sync_folder(self.path.parent, strict=True)
        return Placed(None)

    def _compare(self, raw: bytes, found: os.stat_result, held: Lease, *, by_content: bool) -> None:
        """Raises: Overtaken, Busy, OSError."""
        same = _identity(self.path) == _identity_of(found) == _identity_of(held.status)
        if not same or held.wanted or held.content() != raw:
            raise Overtaken
        if held.busy and not by_content:
            raise Busy

    def _drafted(self, new: bytes, like: os.stat_result) -> Path:
        """A file with the new content; the one of the last attempt, where that is still right."""
        if self._draft is not None:
            content, of, draft = self._draft
            if (content, of) == (new, _identity_of(like)) and is_there(draft):
                return draft
            draft.unlink(missing_ok=True)
        draft = write_beside(self.path, new, like, self._marker)
        self._draft = new, _identity_of(like), draft
        return draft

    def _exchange(self, new: bytes, raw: bytes, found: os.stat_result, clock: Clock, *, by_content: bool) -> Placed:
        draft = self._drafted(new, found)
        lost = not_kept(self.path, draft, found)
        with lease(self.path) as held:
            self._compare(raw, found, held, by_content=by_content)
            journal = self._journal(draft, found)
            draft.rename(journal)
            try:
                exchange(journal, self.path)
            except (ExchangeUnsupported, OSError):
                journal.rename(draft)
                raise
            sync_folder(self.path.parent, strict=True)
            if not held.granted:
                clock.sleep(SETTLE_S)
            if journal.read_bytes() == raw and not held.wanted:
                journal.rename(self.backup)
                sync_folder(self.path.parent, strict=True)
                return Placed(self.backup, not_kept=lost)
            self._give_back(journal, new, clock)
            raise Overtaken

    def _give_back(self, journal: Path, put: bytes, clock: Clock) -> None:
        """Another program saved between our look and our swap: what we took away is newer, so it goes back.

        put: what we have put into place. If the swap back brings out something else, that program has saved once more
        in between, and what is in hand now is newer still: it goes back likewise.
        """
        while True:
            taken = journal.read_bytes()
            try:
                exchange(journal, self.path)
            except FileNotFoundError:
                # In the gap of a save; what comes next is newer, and replaces this.
                with suppress(OSError):
                    os.link(journal, self.path)
                break
            self._await_writers(journal, clock)
            if journal.read_bytes() == put:
                break
            put = taken
        journal.unlink()

    def _await_writers(self, path: Path, clock: Clock) -> None:
        """Until nobody has `path` open for writing, or for a second."""
        for _ in range(PAUSES):
            with lease(path) as held:
                if not held.busy:
                    return
            clock.sleep(PAUSE_S)

    def _rename(self, new: bytes, raw: bytes, found: os.stat_result, *, by_content: bool) -> Placed:
        draft = self._drafted(new, found)
        lost = not_kept(self.path, draft, found)
        with lease(self.path) as held:
            self._compare(raw, found, held, by_content=by_content)
        write_beside(self.path, raw, found, self._marker).replace(self.backup)
        sync_folder(self.path.parent, strict=True)
        with lease(self.path) as held:
            self._compare(raw, found, held, by_content=by_content)
            draft.replace(self.path)
        sync_folder(self.path.parent, strict=True)
        return Placed(self.backup, not_kept=lost)

    def _write_in_place(
        self, new: bytes, raw: bytes, found: os.stat_result, clock: Clock, *, by_content: bool
    ) -> Placed:
        journal = self.path.with_name(f"{self._marker}place-{found.st_ino}")
        with lease(self.path, to_write=True) as held:
            self._compare(raw, found, held, by_content=by_content)
            journal.unlink(missing_ok=True)
            write_beside(self.path, raw, found, "", journal)
            sync_folder(self.path.parent)
            self._compare(raw, found, held, by_content=True)
            padded = held.put(new, raw)
            if not held.granted:
                self._settle(held, padded, clock)
        journal.rename(self.backup)
        sync_folder(self.path.parent, strict=True)
        return Placed(self.backup, in_place=True, guarded=held.granted)

    def _settle(self, held: Lease, padded: bytes, clock: Clock) -> None:
        """See that what we have written stands and is whole, where no lease kept others from writing meanwhile.

        Raises: Overtaken.
        """
        content = b""
        for _ in range(PAUSES):
            clock.sleep(SETTLE_S)
            content = held.content()
            if content == padded:
                return
            if self._is_whole(content):
                raise Overtaken
            clock.sleep(PAUSE_S)
        end = self._end_of(content)
        if end is not None and content[end:] == padded[end:]:
            # A save that had truncated the file before we wrote: the rest, behind its end, is ours.
            held.cut(end)
            raise Overtaken
        held.overwrite(padded)
        held.cut(len(padded))

    def _is_whole(self, content: bytes) -> bool:
        end = self._end_of(content)
        return end is not None and not content[end:].strip()

    # -- what a killed run may have left

    def _journal(self, draft: Path, found: os.stat_result) -> Path:
        """A name that tells, after a crash, what was about to be swapped: our file, and the one it was made from."""
        numbers = (*_identity_of(draft.stat()), *_identity_of(found))
        return draft.with_name(self._marker + "-".join(map(str, ("swap", *numbers))))

    def _recover(self, clock: Clock) -> None:
        """Finish what a killed run left: only a run that holds the lock makes such files, and we hold it now."""
        for left in self.left_behind():
            kind, *numbers = left.name.removeprefix(self._marker).split("-")
            if not all(map(str.isdecimal, numbers)):
                continue
            if kind == "swap" and len(numbers) == 4:
                ours_inode, ours_time, base_inode, base_time = map(int, numbers)
                self._finish_swap(left, (ours_inode, ours_time), (base_inode, base_time))
            elif kind == "place" and len(numbers) == 1:
                self._finish_writing(left, int(numbers[0]), clock)

    def _finish_swap(self, left: Path, ours: Identity, base: Identity) -> None:
        brought_out, there = _identity(left), _identity(self.path)
        if there == ours and brought_out == base:
            left.rename(self.backup)
        elif there == ours and brought_out != ours:
            # Killed between taking away another program's newer file and giving it back.
            left.replace(self.path)

    def _finish_writing(self, left: Path, inode: int, clock: Clock) -> None:
        before, (there, changed_ns) = left.read_bytes(), _identity(self.path) or (0, 0)
        if there != inode:
            return
        for _ in range(PAUSES):
            content = self.path.read_bytes()
            if self._is_whole(content):
                break
            clock.sleep(PAUSE_S)
        else:
            if abs(changed_ns - left.stat().st_mtime_ns) < OF_ONE_RUN_S * 1e9:
                with lease(self.path, to_write=True) as held:
                    held.overwrite(before)
                    held.cut(len(before))
            return
        if content != before:
            left.rename(self.backup)

    def _sweep(self) -> None:
        self._draft = None
        for left in self.left_behind():
            with suppress(OSError):
                left.unlink()


def _identity(path: Path) -> Identity | None:
    try:
        return _identity_of(path.stat())
    except FileNotFoundError:
        return None


def _identity_of(found: os.stat_result) -> Identity:
    return found.st_ino, found.st_mtime_ns


def _unescaped(field: bytes) -> bytes:
    """Of mountinfo, which writes blanks, tabs, line breaks and backslashes as octal numbers."""
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), field)
