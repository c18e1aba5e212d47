"""A whole pg_hba.conf: rules in the order in which the server tries them, and every error.

Plain lines, the bulk of any large file, are validated all at once by one pattern and stay text; their `Rule` is made
when somebody asks for it. Every other line goes through the tokenizer, word by word as the server does.
Source: PostgreSQL src/backend/libpq/hba.c (load_hba).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from tmsync.core.hba.addresses import parse_network
from tmsync.core.hba.files import DiskReader, FileReader
from tmsync.core.hba.model import ConnectionType, HbaError, Method, Rule, Token
from tmsync.core.hba.rules import NOT_IN_LINUX_BUILDS, format_rule, parse_fields, parse_options
from tmsync.core.hba.tokens import LogicalLine, Source, Tokenizer, split_lines

OLDEST_SERVER = 12
NEWEST_SERVER = 18

Row = tuple[str, str, str, str, str, str, str]
"""(type, databases, users, address, method, options, rest) of one physical line, as written. A plain rule has no rest,
any other line that means something has nothing but the rest, a blank line or a comment has nothing at all."""

_NOTHING: Row = ("", "", "", "", "", "", "")
_LONG = 2500  # characters; longer lines meet the length limits of old servers, which the tokenizer knows

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{0,2}|[1-9][0-9]?|0)"
_IPV4 = rf"{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}"
_NAME = r"\w[\w.-]*"
_QUOTED = r'"(?!/)[^"\\\r\n]*"'  # a slash within quotes still makes a regular expression
_DATABASE = rf"(?:{_NAME}|{_QUOTED})"
_USER = rf"(?:\+?{_NAME}|{_QUOTED})"
_ROW = re.compile(
    r"^(?:[ \t]*(host|hostssl|hostnossl|hostgssenc|hostnogssenc)[ \t]+"
    rf"({_DATABASE}(?:,[ \t]*{_DATABASE})*)[ \t]+"
    rf"({_USER}(?:,[ \t]*{_USER})*)[ \t]+"
    rf"({_IPV4}(?:/(?:3[0-2]|[12][0-9]?|[0-9])|[ \t]+{_IPV4})|[a-zA-Z.][\w.-]*|[0-9a-f]*:[0-9a-f.:]*/[0-9]+)[ \t]+"
    r"(scram-sha-256|md5|reject|trust|password)((?:[ \t]+\w+=[\w.:/-]*)*)[ \t\r]*(?:#[^\\\n]*)?"
    r"|[ \t\r]*(?:#[^\\\n]*)?|(.*))$",
    re.ASCII | re.MULTILINE,
)


class Sheet(NamedTuple):
    """One file. special: by index of the row, what stands there: a rule that is not plain, or included files."""

    source: Source
    rows: list[Row]
    special: dict[int, list[Rule | Sheet]]


class Hba(NamedTuple):
    """A parsed file.

    errors: why the server refuses the file: with any of them a running server keeps its old rules, and a starting one
    does not start. The rules of the good lines are there all the same.
    """

    path: str
    text: str
    server_major: int
    sheet: Sheet
    errors: tuple[HbaError, ...]
    reader: FileReader
    unsupported: frozenset[Method] = NOT_IN_LINUX_BUILDS

    @property
    def rules(self) -> Iterator[Rule]:
        """Every valid rule, first tried first."""
        return self._rules_of(self.sheet)

    def _rules_of(self, sheet: Sheet) -> Iterator[Rule]:
        for index, row in enumerate(sheet.rows):
            if row[0]:
                yield self.rule_at(sheet, index)
            elif row[6]:
                for item in sheet.special.get(index, ()):
                    if isinstance(item, Rule):
                        yield item
                    else:
                        yield from self._rules_of(item)

    def rule_at(self, sheet: Sheet, index: int) -> Rule:
        """The plain rule in row `index` of `sheet`."""
        line = Tokenizer(self.reader, self.server_major).read_line(sheet.source, index)
        made = _make_rule(sheet.source, index, line, self.server_major, self.unsupported)
        if isinstance(made, str):  # the property tests hold the fast path against the tokenizer
            message = f"the tokenizer refuses a line that the fast path took: {made}"
            raise AssertionError(message)  # noqa: TRY004
        return made

    def format(self) -> str:
        """All rules as one text without comments and includes; parsing it gives the same columns again."""
        return "".join(format_rule(rule) + "\n" for rule in self.rules)


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
    sheet = loader.load(Source(path, split_lines(text, server_major)))
    errors = loader.errors
    if not errors and not loader.found_rules:
        errors.append(HbaError(0, f'configuration file "{path}" contains no entries', path))
    return Hba(path, text, server_major, sheet, tuple(errors), reader, unsupported)


class _Loader:
    def __init__(self, tokenizer: Tokenizer, server_major: int, unsupported: frozenset[Method]) -> None:
        self._tokenizer = tokenizer
        self._major = server_major
        self._unsupported = unsupported
        self.errors: list[HbaError] = []
        self.found_rules = False
        self._fine: dict[tuple[str, str, str], bool] = {}

    def load(self, source: Source) -> Sheet:
        """Rules and errors of one file and of those it includes."""
        lines = source.lines
        rows: list[Row] = _ROW.findall("\n".join(lines)) if lines else []
        if max(map(len, lines), default=0) > _LONG:
            rows = [_other(line) if len(line) > _LONG else row for line, row in zip(lines, rows, strict=True)]
        sheet = Sheet(source, rows, {})
        done = 0
        for index in [i for i, row in enumerate(rows) if row[6] or row[5] or ":" in row[3]]:
            if index >= done and not self._is_fine(rows[index]):
                rows[index] = _other(lines[index])
                done = self._load_any(sheet, index)
                rows[index + 1 : done] = [_NOTHING] * (done - index - 1)
        self.found_rules = self.found_rules or any(row[0] for row in rows)
        return sheet

    def _is_fine(self, row: Row) -> bool:
        """Checks of a plain row that its pattern cannot make: IPv6 networks and options."""
        kind, _, _, address, method, options, rest = row
        if rest or (":" in address and isinstance(parse_network(address), str)):
            return False
        if not options:
            return True
        key = (kind, method, options)
        fine = self._fine.get(key)
        if fine is None:
            words = [Token(word) for word in options.split()]
            checked = parse_options(ConnectionType(kind), Method(method), words, self._major)
            fine = self._fine[key] = not isinstance(checked, str)
        return fine

    def _load_any(self, sheet: Sheet, index: int) -> int:
        """One logical line of any kind; returns the index behind it."""
        source = sheet.source
        line = self._tokenizer.read_line(source, index)
        items: list[Rule | Sheet] = [self.load(child) for child in line.included]
        if line.error is not None:
            self._refuse(source, index, line, line.error)
        elif line.fields:
            made = _make_rule(source, index, line, self._major, self._unsupported)
            if isinstance(made, str):
                self._refuse(source, index, line, made)
            else:
                items.append(made)
                self.found_rules = True
        if items:
            sheet.special[index] = items
        return line.after

    def _refuse(self, source: Source, index: int, line: LogicalLine, message: str) -> None:
        self.errors.append(HbaError(index + 1, message, source.path, line.text, included=source.depth > 0))


def _other(line: str) -> Row:
    return ("", "", "", "", "", "", line)


def _make_rule(
    source: Source, index: int, line: LogicalLine, server_major: int, unsupported: frozenset[Method]
) -> Rule | str:
    parsed = parse_fields(line.fields, server_major, unsupported)
    if isinstance(parsed, str):
        return parsed
    return Rule(
        line=index + 1,
        last_line=line.after,
        file=source.path,
        text=line.text,
        main_line=source.main_line or index + 1,
        type=parsed.type,
        databases=parsed.databases,
        users=parsed.users,
        address=parsed.address,
        mask=parsed.mask,
        net=parsed.net,
        method=parsed.method,
        options=parsed.options,
        included=source.depth > 0,
    )
