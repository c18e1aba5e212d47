"""From text to tokens: physical lines, continuations, quotes, comments, @file and the include directives.

Source: PostgreSQL src/backend/libpq/hba.c (next_token, next_field_expand, tokenize_auth_file) and
src/backend/utils/misc/conffiles.c. Differences between versions, 12 to 18, are named where they matter.
"""

from __future__ import annotations

import errno
import os
import posixpath
import re
from typing import NamedTuple

from tmsync.core.hba.files import MAX_BYTES, FileReader
from tmsync.core.hba.model import Field, Token

CONTINUATION_SINCE = 14
INCLUDE_SINCE = 16
REGEX_SINCE = 16

_MAX_DEPTH = 10  # CONF_FILE_MAX_DEPTH
_MAX_DEPTH_BEFORE_16 = 100  # there the server stops when it runs out of file descriptors
_MAX_TOKEN_BYTES = 10239  # MAX_TOKEN - 1, up to 15
_LEAST_COST = 16384  # what the smallest file counts for among MAX_BYTES, so that their number is limited, too
_MAX_LINE_BYTES = 20478  # MAX_LINE - 2, up to 13

_SEPARATORS = re.compile(r"[ \t\r,]*")
_WORD = re.compile(r'(?:[^ \t\r,#"]|"[^"]*(?:"|\Z))+')
_ODD = re.compile(r'["#@]|,(?=[ \t\r,]|\Z)|(?:\A|[ \t\r]),')
"""What makes more of a line than words between blanks: quotes, comments, files, and commas at a word's end."""
_PLAIN_WORD = re.compile(r"[^ \t\r]+")
_SHORT = 1000  # characters; longer lines meet the limits of old servers
_AFTER_NUL = re.compile(r"\0[^\n]*\n?")


class Source(NamedTuple):
    """One open file. depth: 0 for the main file. main_line: line of the main file that led here (0 for itself)."""

    path: str
    lines: list[str]
    depth: int = 0
    main_line: int = 0


class LogicalLine(NamedTuple):
    """One line as the server sees it; `after` is the index of the physical line that follows it.

    included: files whose lines stand in place of this one (before its error, if it has one too).
    """

    text: str
    after: int
    fields: list[Field]
    error: str | None = None
    included: tuple[Source, ...] = ()


def split_lines(text: str, server_major: int) -> list[str]:
    """Physical lines without their line feed. A NUL ends a line for the server; since 14 it swallows the line feed."""
    if "\0" in text:
        kept = "" if server_major >= CONTINUATION_SINCE else "\n"
        text = _AFTER_NUL.sub(kept, text)
    return text.split("\n")


def join_continued(lines: list[str], index: int, server_major: int) -> tuple[str, int]:
    """Logical line that begins at `index`, and the index behind it.

    A backslash before the line end continues the line (since 14), even within quotes and comments.
    """
    text = lines[index].rstrip("\r")
    index += 1
    if text[-1:] != "\\":
        return text, index
    if server_major >= CONTINUATION_SINCE:
        kept = 0  # a backslash before this position was left by an earlier continuation
        while len(text) > kept and text[-1] == "\\":
            text = text[:-1]
            kept = len(text)
            if index == len(lines) or (index == len(lines) - 1 and not lines[index]):
                break  # nothing follows but the end of the file
            text = (text + lines[index]).rstrip("\r")
            index += 1
    return text, index


def _plain_field(word: str) -> Field:
    return tuple(map(Token, word.split(","))) if "," in word else (Token(word),)


def unquote(raw: str) -> Token:
    """Token of a raw word: quotes removed, a doubled quote within quotes kept as one."""
    if '"' not in raw:
        return Token(raw)
    parts = raw.split('"')  # odd ones were inside quotes
    last = len(parts) - 1
    text = "".join('"' if not part and 0 < i < last and i % 2 == 0 else part for i, part in enumerate(parts))
    return Token(text, raw[0] == '"')


class Tokenizer:
    """Turns logical lines into fields, opening the files they name through `reader`."""

    def __init__(self, reader: FileReader, server_major: int) -> None:
        self._reader = reader
        self._major = server_major
        self.left = MAX_BYTES
        """Bytes that may still be included; below 0 reading has stopped."""
        self._max_depth = _MAX_DEPTH if server_major >= INCLUDE_SINCE else _MAX_DEPTH_BEFORE_16

    def read_line(self, source: Source, index: int) -> LogicalLine:
        """Logical line that begins at physical line `index` (from 0) of `source`."""
        text, after = join_continued(source.lines, index, self._major)
        main_line = source.main_line or index + 1
        if self._major < CONTINUATION_SINCE and len(_encoded(text)) > _MAX_LINE_BYTES:
            return LogicalLine(text, after, [], "authentication file line too long")
        fields, error = self._fields(text, source, main_line)
        if error is None and len(fields) == 2 and self._major >= INCLUDE_SINCE:
            include = _INCLUDES.get(fields[0][0].text)
            if include is not None:
                included, error = include(self, fields[1][0].text, source, main_line)
                return LogicalLine(text, after, [], error, included)
        return LogicalLine(text, after, fields, error)

    def _fields(self, text: str, source: Source, main_line: int) -> tuple[list[Field], str | None]:
        if len(text) < _SHORT and not _ODD.search(text):
            # Nothing to unquote, to open or to leave out, as in nearly every line of a large file.
            return [_plain_field(word) for word in _PLAIN_WORD.findall(text)], None
        fields: list[Field] = []
        words: list[Token] = []
        position, end, error = 0, len(text), None
        while error is None:
            position = _SEPARATORS.match(text, position).end()  # type: ignore[union-attr]  # matches the empty string
            word = _WORD.match(text, position)
            if word is not None:
                position = word.end()
                error = self._add(words, word.group(), source, main_line)
            # a comma right behind the word goes on with the list; one behind a blank does not
            if words and (word is None or error or text[position : position + 1] != ","):
                fields.append(tuple(words))
                words = []
            if word is None or position == end:
                break
        if words:
            fields.append(tuple(words))
        return fields, error

    def _add(self, words: list[Token], raw: str, source: Source, main_line: int) -> str | None:
        token = unquote(raw)
        if self._major < INCLUDE_SINCE and len(_encoded(token.text)) > _MAX_TOKEN_BYTES:
            return "authentication file token too long"
        if token.quoted or len(token.text) < 2 or token.text[0] != "@":
            words.append(token)
            return None
        return self._expand(words, token.text[1:], source, main_line)

    def _expand(self, words: list[Token], name: str, source: Source, main_line: int) -> str | None:
        """Append every word of the file `name`; the error of its first bad line ends that."""
        opened = self._open(name, source, main_line)
        if not isinstance(opened, Source):
            if self._major < INCLUDE_SINCE:
                path, problem = _absolute(name, source.path), opened[1]
                return f'could not open secondary authentication file "@{name}" as "{path}": {problem}'
            return opened[0]
        return self._expand_source(words, opened)

    def _expand_source(self, words: list[Token], source: Source) -> str | None:
        index = 0
        while index < len(source.lines):
            line = self.read_line(source, index)
            for child in line.included:
                error = self._expand_source(words, child)
                if error is not None:
                    return error
            if line.error is not None:
                return line.error
            for field in line.fields:
                words.extend(field)
            index = line.after
        return None

    def _open(self, name: str, source: Source, main_line: int) -> Source | tuple[str, str]:
        """The file, or (the server's message, the bare reason)."""
        path = _absolute(name, source.path)
        if source.depth + 1 > self._max_depth:
            return f'could not open file "{path}": maximum nesting depth exceeded', "maximum nesting depth exceeded"
        try:
            text = self._reader.read_text(path)
        except IsADirectoryError:
            if self._major >= CONTINUATION_SINCE:
                return Source(path, [], source.depth + 1, main_line)  # the server opens it, reads nothing, says nothing
            return f'could not read file "{path}": {_DIRECTORY}', _DIRECTORY
        except FileNotFoundError:
            return f'could not open file "{path}": {_MISSING}', _MISSING
        except (OSError, ValueError) as problem:
            reason = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
            return f'could not open file "{path}": {reason}', reason
        self.left -= max(len(text), _LEAST_COST)
        if self.left < 0:
            return f'could not open file "{path}": {_TOO_MUCH}', _TOO_MUCH
        return Source(path, split_lines(text, self._major), source.depth + 1, main_line)

    def include(self, name: str, source: Source, main_line: int) -> tuple[tuple[Source, ...], str | None]:
        """`include FILE`."""
        opened = self._open(name, source, main_line)
        return ((opened,), None) if isinstance(opened, Source) else ((), opened[0])

    def include_if_exists(self, name: str, source: Source, main_line: int) -> tuple[tuple[Source, ...], str | None]:
        """`include_if_exists FILE`."""
        opened = self._open(name, source, main_line)
        if isinstance(opened, Source):
            return (opened,), None
        return (), None if opened[1] == _MISSING else opened[0]

    def include_dir(self, name: str, source: Source, main_line: int) -> tuple[tuple[Source, ...], str | None]:
        """`include_dir FOLDER`: its *.conf files in byte order of their names, dot files left out."""
        if not name.strip(" \t\r\n"):
            return (), "empty configuration directory name"
        folder = _absolute(name, source.path)
        try:
            names = self._reader.list_dir(folder)
        except (OSError, ValueError):
            return (), f'could not open directory "{folder}"'
        wanted = [n for n in names if len(n) > 5 and n.endswith(".conf") and not n.startswith(".")]
        opened = [self._open(posixpath.join(folder, n), source, main_line) for n in sorted(wanted, key=_encoded)]
        errors = [each[0] for each in opened if not isinstance(each, Source)]
        return tuple(each for each in opened if isinstance(each, Source)), "\n".join(errors) or None


_MISSING = os.strerror(errno.ENOENT)
_DIRECTORY = os.strerror(errno.EISDIR)
_TOO_MUCH = "more is included than tmsync reads (16 MiB or 1,024 files)"
_INCLUDES = {
    "include": Tokenizer.include,
    "include_if_exists": Tokenizer.include_if_exists,
    "include_dir": Tokenizer.include_dir,
}


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape" if not text.isascii() else "strict")


def _absolute(name: str, including: str) -> str:
    """Relative names count from the folder of the including file. Source: AbsoluteConfigLocation."""
    return name if name.startswith("/") else posixpath.normpath(posixpath.join(posixpath.dirname(including), name))
