"""What libpq takes from its environment and from its password file: the lowest layer above the defaults.

Source: PostgreSQL documentation, "The Password File" and "Environment Variables" (libpq).
"""

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from tmsync.core.files.paths import expanded, read_regular
from tmsync.core.net.dial import is_socket_folder

OTHER_TARGETS: Final = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGDATABASE", "PGSERVICE", "PGOPTIONS")
"""Not obeyed: what an administrator's shell points at is not TeslaMate's database."""
PASSFILE: Final = "PGPASSFILE"
MAX_BYTES: Final = 256 * 1024
FIELDS: Final = 5
"""Of a line: host, port, database, user, password."""


class Found(NamedTuple):
    """What the password file holds for one login. ignored: the file, where libpq refuses it as others can read it."""

    password: str | None = None
    origin: str = ""
    ignored: Path | None = None


def password_from_file(host: str, port: int, name: str, user: str, environ: Mapping[str, str]) -> Found:
    """The password that libpq would take from its password file."""
    named = environ.get(PASSFILE) or "~/.pgpass"
    home = environ.get("HOME")
    path = Path(home, named[2:]) if home and named.startswith("~/") else expanded(named)
    try:
        raw, status = read_regular(path, MAX_BYTES)
    except OSError:
        return Found()
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return Found(ignored=path)
    hosts = ("localhost", host) if is_socket_folder(host) else (host,)
    wanted = (hosts, (str(port),), (name,), (user,))
    for fields in _lines(raw.decode("utf-8", "surrogateescape")):
        if all(field == "*" or field in values for field, values in zip(fields, wanted, strict=False)):
            return Found(fields[-1], f"{named} ({PASSFILE})" if environ.get(PASSFILE) else named)
    return Found()


def _lines(text: str) -> Iterator[list[str]]:
    for line in text.split("\n"):
        fields = _split(line.removesuffix("\r"))
        if len(fields) == FIELDS and not line.startswith("#"):
            yield fields


def _split(line: str) -> list[str]:
    fields = [""]
    chars = iter(line)
    for char in chars:
        if char == "\\":
            fields[-1] += next(chars, "")
        elif char == ":" and len(fields) < FIELDS:
            fields.append("")
        else:
            fields[-1] += char
    return fields
