"""Which password libpq would find by itself: PGPASSWORD, then the password file.

Needed only to tell "no password configured" from "wrong password", and to repeat a failed login by hand.

Source: PostgreSQL documentation, "The Password File" and "Environment Variables" (libpq).
"""

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tmsync.core.config.settings import DatabaseSettings
from tmsync.core.files.paths import expanded
from tmsync.core.net.dial import is_socket_folder


class Found(NamedTuple):
    """`password` is None when there is none; `ignored` names a password file that libpq refuses to use.

    origin: where libpq finds the password by itself; empty for a configured one.
    """

    password: str | None
    ignored: Path | None
    origin: str = ""


def find_password(target: DatabaseSettings, environ: Mapping[str, str]) -> Found:
    """The password the login uses: configured, from the environment, or from the password file."""
    if target.password is not None:
        return Found(target.password.reveal(), None)
    if environ.get("PGPASSWORD"):
        return Found(environ["PGPASSWORD"], None, "PGPASSWORD")
    file = environ.get("PGPASSFILE") or "~/.pgpass"
    path = expanded(file)
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            return Found(None, None)
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            return Found(None, path)
        text = path.read_text("utf-8", "surrogateescape")
    except OSError:
        return Found(None, None)
    host = "localhost" if is_socket_folder(target.host) else target.host
    wanted = (host, str(target.port), target.name, target.user)
    for line in text.splitlines():
        fields = _split(line)
        if len(fields) == 5 and not line.startswith("#") and _matches(fields, wanted):
            return Found(fields[4], None, file)
    return Found(None, None)


def _matches(fields: list[str], wanted: tuple[str, ...]) -> bool:
    return all(field in ("*", value) for field, value in zip(fields[:4], wanted, strict=True))


def _split(line: str) -> list[str]:
    fields = [""]
    chars = iter(line)
    for char in chars:
        if char == "\\":
            fields[-1] += next(chars, "")
        elif char == ":" and len(fields) < 5:
            fields.append("")
        else:
            fields[-1] += char
    return fields
