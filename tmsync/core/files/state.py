"""A folder of our own for what outlives a restart: nobody else can read it, nor put anything into it."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.errors import TmsyncError
from tmsync.core.files.paths import expanded, follow, is_folder
from tmsync.core.files.replace import give_to_owner_of, sweep, sync_folder, write_beside
from tmsync.core.fixes import problem

MAX_BYTES: Final = 1 << 20
MARKER: Final = ".tmsync-"


class StateError(TmsyncError):
    """The folder, or a file in it, cannot be used or trusted."""


class StateFolder:
    """The folder at `path`, made with mode 0700 when it is first needed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> bytes:
        """The file's content; nothing where there is no such file, or no folder.

        Raises: StateError.
        """
        try:
            folder = self._open()
        except FileNotFoundError:
            return b""
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise self._error(f"{name} in it is not a regular file")
                found = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise self._failed(error, name) from None
        finally:
            os.close(folder)
        if len(found) > MAX_BYTES:
            raise self._error(f"{name} in it is larger than 1 MiB")
        return found

    def moment(self, name: str) -> tuple[int, int] | None:
        """Tells one state of a file from the next; None where there is none."""
        try:
            found = os.lstat(self.path / name)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def write(self, name: str, data: bytes) -> None:
        """Put the file in place, whole and durable, readable by the folder's owner alone.

        Raises: StateError.
        """
        try:
            os.close(self._made())
            target = self.path / name
            write_beside(target, data, None, MARKER).replace(target)
            sync_folder(self.path)
            sweep(target, MARKER, target)
        except OSError as error:
            raise self._failed(error, name) from None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let no other run change anything meanwhile.

        Raises: StateError.
        """
        try:
            folder = self._made()
        except OSError as error:
            raise self._failed(error) from None
        try:
            flock(folder, LOCK_EX)
            yield
        finally:
            os.close(folder)

    def hold(self, name: str) -> int | None:
        """A descriptor that keeps this file in it locked until it is closed; None while another one does.

        Raises: StateError.
        """
        flags, new = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, os.O_CREAT | os.O_EXCL
        with ExitStack() as stack:
            try:
                stack.callback(os.close, folder := self._made())
                try:
                    stack.callback(os.close, file := os.open(name, flags | new, 0o600, dir_fd=folder))
                    give_to_owner_of(self.path, file)
                except FileExistsError:
                    stack.callback(os.close, file := os.open(name, flags, dir_fd=folder))
                flock(file, LOCK_EX | LOCK_NB)
                return os.dup(file)
            except BlockingIOError:
                return None
            except OSError as error:
                raise self._failed(error, name) from None

    def _made(self) -> int:
        try:
            return self._open()
        except FileNotFoundError:
            home = expanded("~")
            if home in self.path.parents and not is_folder(home):
                # Whoever runs as a user without one (a container's, Debian's /nonexistent) is not to be given one.
                raise
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            return self._open()

    def _open(self) -> int:
        """Raises: FileNotFoundError, StateError."""
        real, why_not = follow(self.path)
        if why_not is not None:
            raise self._error(why_not)
        try:
            descriptor = os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._failed(error) from None
        found = os.fstat(descriptor)
        mine = os.geteuid() in (0, found.st_uid)
        if mine and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                os.fchmod(descriptor, 0o700)
            return descriptor
        os.close(descriptor)
        raise self._error("others may write to it" if mine else "it belongs to another user")

    def _failed(self, error: OSError, name: str = "") -> StateError:
        words = "a symbolic link stands there" if error.errno == errno.ELOOP else error.strerror or "unknown error"
        return self._error(f"{name}: {words}" if name else words)

    def _error(self, words: str) -> StateError:
        return StateError(problem(Cause.STATE_UNUSABLE, f"{self.path} cannot be used: {words}", path=self.path))
