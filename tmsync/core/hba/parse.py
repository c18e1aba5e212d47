"""A whole pg_hba.conf: rules in the order in which the server tries them, and every error.

Source: PostgreSQL src/backend/libpq/hba.c (load_hba).
"""

from __future__ import annotations

from typing import NamedTuple

from tmsync.core.hba.files import DiskReader, FileReader
from tmsync.core.hba.model import HbaError, Method, Rule
from tmsync.core.hba.rules import NOT_IN_LINUX_BUILDS, parse_fields
from tmsync.core.hba.tokens import Source, Tokenizer, split_lines


class Hba(NamedTuple):
    """A parsed file.

    rules: every valid rule, first tried first, those of included files among them.
    errors: why the server refuses the file: with any of them a running server keeps its old rules, and a starting one
    does not start. The rules of the good lines are there all the same.
    """

    path: str
    text: str
    server_major: int
    rules: tuple[Rule, ...]
    errors: tuple[HbaError, ...]
    reader: FileReader
    unsupported: frozenset[Method] = NOT_IN_LINUX_BUILDS


def read_hba(path: str, server_major: int = 17, reader: FileReader | None = None) -> Hba:
    """Read and parse the file at `path`. Raises OSError when it cannot be read (included files become errors)."""
    reader = reader or DiskReader()
    return parse_hba(reader.read_text(path), path=path, server_major=server_major, reader=reader)


def parse_hba(
    text: str,
    *,
    path: str = "pg_hba.conf",
    server_major: int = 17,
    reader: FileReader | None = None,
    unsupported: frozenset[Method] = NOT_IN_LINUX_BUILDS,
) -> Hba:
    """Parse the text of the file at `path`; never raises for any text.

    server_major: version whose rules apply, 12 to 18; a newer one is read as 18.
    reader: where `@file` and include directives find their files, relative to `path`; default is the disk.
    unsupported: methods that the server was built without.
    """
    reader = reader or DiskReader()
    loader = _Loader(Tokenizer(reader, server_major), server_major, unsupported)
    loader.load(Source(path, split_lines(text, server_major)))
    if not loader.errors and not loader.rules:
        loader.errors.append(HbaError(0, f'configuration file "{path}" contains no entries', path))
    return Hba(path, text, server_major, tuple(loader.rules), tuple(loader.errors), reader, unsupported)


class _Loader:
    def __init__(self, tokenizer: Tokenizer, server_major: int, unsupported: frozenset[Method]) -> None:
        self._tokenizer = tokenizer
        self._major = server_major
        self._unsupported = unsupported
        self.rules: list[Rule] = []
        self.errors: list[HbaError] = []

    def load(self, source: Source) -> None:
        """Collect rules and errors of one file and of those it includes."""
        included, index = source.depth > 0, 0
        while index < len(source.lines) and self._tokenizer.left >= 0:
            line = self._tokenizer.read_line(source, index)
            for child in line.included:
                self.load(child)
            error = line.error
            if error is None and line.fields:
                parsed = parse_fields(line.fields, self._major, self._unsupported)
                if isinstance(parsed, str):
                    error = parsed
                else:
                    main_line = source.main_line or index + 1
                    self.rules.append(
                        Rule(index + 1, line.after, source.path, line.text, main_line, *parsed, included=included)
                    )
            if error is not None:
                self.errors.append(HbaError(index + 1, error, source.path, line.text, included))
            index = line.after
