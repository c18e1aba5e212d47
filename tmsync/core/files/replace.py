"""Replacing a file that somebody else may replace at the same moment.

What is guaranteed, and why:

* Whole or not at all. The new content is written to a temporary file in the same folder and synced to disk; one
  rename puts it in place; the folder is synced after that. Whoever opens the file sees the old or the new one.
* What was replaced is in hand. `exchange` swaps two names in one step (Linux renameat2 with RENAME_EXCHANGE), so if it
  is not what the new content was made from, it can go back at once and the work start again from it. Where the system
  has no such call, the file is looked at once more right before the rename; another program's write between that look
  and the rename, some microseconds, would be lost.
* The previous content stays as `<name>.backup`.

Source: rename(2); TWCManager lib/TWCManager/TWCMaster.py (saveSettings): temporary file, rename of the old file to
`.backup`, rename of the new one into place, no lock.
"""

import errno
import fcntl
import os
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

RENAME_EXCHANGE: Final = 2
AT_FDCWD: Final = -100
UNSUPPORTED: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV})
NO_HARD_LINKS: Final = frozenset({errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK})
FS_IOC_GETFLAGS: Final = 0x80006601 | struct.calcsize("l") << 16
FS_IMMUTABLE: Final = 0x10
FS_APPEND: Final = 0x20
COPIED_ATTRIBUTES: Final = ("system.posix_acl_access", "security.selinux")


class ExchangeUnsupported(Exception):
    """This system or file system cannot swap two names in one step."""


def exchange(one: Path, other: Path) -> None:
    """Swap two files' names atomically.

    Raises: ExchangeUnsupported, OSError.
    """
    try:
        import ctypes

        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (ImportError, AttributeError, OSError):
        # Some builds of Python come without ctypes.
        raise ExchangeUnsupported from None
    if renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
        return
    code = ctypes.get_errno()
    if code in UNSUPPORTED:
        raise ExchangeUnsupported
    raise OSError(code, os.strerror(code), str(other))


def write_beside(path: Path, data: bytes, like: os.stat_result | None, marker: str, name: Path | None = None) -> Path:
    """A synced temporary file in the folder of `path`, with owner, group, mode and access list of the file it is like.

    like: the file it will replace; None for a new one: mode 0600, owned by the folder's owner where we may say so.
    marker: begins the temporary file's name, so that what a crash leaves behind is known as ours.
    name: its whole path in place of one made of the marker.
    Raises: OSError (FileExistsError where `name` is taken); nothing is left behind then.
    """
    temporary = name or path.with_name(f"{marker}{os.urandom(6).hex()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if like is None:
                give_to_owner_of(path.parent, descriptor)
            else:
                _make_alike(path, descriptor, like)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    return temporary


def refuse_unchangeable(path: Path) -> None:
    """Say what a write of `path` would say of a read-only mount, and of what not even root may change.

    Source: statvfs(3); ioctl_iflags(2), FS_IOC_GETFLAGS.
    Raises: OSError; nothing where there is no such file, or nobody tells.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if os.fstatvfs(descriptor).f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        try:
            flags = int.from_bytes(fcntl.ioctl(descriptor, FS_IOC_GETFLAGS, bytes(8))[:4], sys.byteorder)
        except OSError:
            return
        if flags & (FS_IMMUTABLE | FS_APPEND):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
    finally:
        os.close(descriptor)


SWEEP_AFTER_S: Final = 60.0
"""A temporary file that is older was left behind by a run that was killed."""


@contextmanager
def only_writer(folder: Path) -> Iterator[bool]:
    """Whether no other run holds `folder` so; none will while the block runs. False also where that cannot be told."""
    descriptor, alone = -1, False
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alone = True
    try:
        yield alone
    finally:
        with suppress(OSError):
            os.close(descriptor)


def sweep(path: Path, marker: str, ours: Path | None = None) -> None:
    """Remove what killed runs left beside `path` under names that begin with `marker`.

    ours: where other runs may be at work, a file just made there: only what is far older than it is removed.
    """
    with suppress(OSError):
        before = None if ours is None else ours.lstat().st_mtime - SWEEP_AFTER_S
        for left in path.parent.iterdir():
            if left.name.startswith(marker) and is_ours(left, path):
                with suppress(OSError):
                    if before is None or left.lstat().st_mtime < before:
                        left.unlink()


def is_ours(path: Path, beside: Path) -> bool:
    """Whether one we trust made the file: this user, root, or the owner of the folder or of the file `beside`, whom
    `write_beside` gives its files to. In a folder that others may write to, somebody else could have planted a file, or
    a link to one, under a name that looks like ours.
    """
    trusted = {os.geteuid(), 0}
    for owned in (path.parent, beside):
        with suppress(OSError):
            trusted.add(owned.lstat().st_uid)
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_uid in trusted


def give_to_owner_of(folder: Path, descriptor: int) -> None:
    """Let a new file belong to whoever owns its folder, where we may say so.

    Raises: OSError.
    """
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _make_alike(path: Path, descriptor: int, like: os.stat_result) -> None:
    now = os.fstat(descriptor)
    if (now.st_uid, now.st_gid) != (like.st_uid, like.st_gid):
        os.fchown(descriptor, like.st_uid, like.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(like.st_mode))
    if not hasattr(os, "getxattr"):
        return
    own = [name for name in attributes(path) if name.startswith("user.")]
    for name in (*COPIED_ATTRIBUTES, *own):
        with suppress(OSError):
            os.setxattr(descriptor, name, os.getxattr(path, name))


def attributes(path: Path) -> list[str]:
    """Names of the file's extended attributes; none where there are none."""
    try:
        return os.listxattr(path)
    except (OSError, AttributeError):
        return []


def not_kept(path: Path, temporary: Path, found: os.stat_result) -> tuple[str, ...]:
    """What `temporary`, once it takes the place of `path`, does not share with it, in words."""
    notes = []
    if found.st_nlink > 1:
        notes.append(f"other names of the file (hard links: {found.st_nlink - 1}) keep the former content")
    lost = sorted(set(attributes(path)) - set(attributes(temporary)))
    if lost:
        notes.append(f"extended attributes that could not be kept: {', '.join(lost)}")
    return tuple(notes)


def sync_folder(folder: Path, *, strict: bool = False) -> None:
    """Make renames in `folder` durable; file systems that cannot do that are left alone.

    strict: tell the disk's own errors (EIO, ENOSPC), too.
    Raises: OSError.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if strict and error.errno not in UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)
