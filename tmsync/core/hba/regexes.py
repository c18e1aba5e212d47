"""`/regex` in the database and user columns (PostgreSQL 16 and newer): the simple ones are decided, the others are not.

PostgreSQL compiles them as POSIX advanced regular expressions. What people write in pg_hba.conf (`/^tesla.*$`,
`/^(a|b)_[0-9]+$`) means the same to Python; for anything beyond, only the server can tell.
Source: PostgreSQL documentation, section 9.7.3; src/backend/regex/regcomp.c, whose messages these are.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

_PIECE = re.compile(
    r"(?P<atom>[\w #@%&,:;<=>!~`'\"/\x80-\xff-]|\.|\\[dws]|\\[^\w\x80-\xff]|\[\^?[\w .@-]+\])"
    r"|(?P<anchor>[\^$])|(?P<open>\((?!\?))|(?P<close>\))|(?P<bar>\|)|(?P<times>[*+?]|\{[0-9]{1,2}(?:,[0-9]{0,2})?\})",
    re.ASCII,
)
"""The pieces that both read alike. A bracket holds plain characters and ranges, no classes and no escapes.

A backslash before what is neither a letter nor a digit takes its meaning away.
"""
_MOST_REPEATS = 3
_RANGE = re.compile(r"(.)-(.)")


class InvalidRegex(ValueError):
    """The server refuses the pattern; the text is its reason."""


@lru_cache(maxsize=1024)
def compile_regex(pattern: str) -> re.Pattern[str] | None:
    """Python's pattern for the text behind the slash; None where only the server can tell. It matches `as_bytes`.

    Raises: InvalidRegex for a simple pattern that is wrong.
    """
    pattern = as_bytes(pattern)
    pieces = list(_PIECE.finditer(pattern))
    # Three asterisks at the beginning choose another kind of expression.
    if pattern.startswith("***") or "".join(piece[0] for piece in pieces) != pattern:
        return None
    repeats = [before for before, piece in pairwise(["", *(piece.lastgroup for piece in pieces)]) if piece == "times"]
    if len(repeats) > _MOST_REPEATS or ("close" in repeats and len(repeats) > 1):
        # Python tries the ways in which these can match one by one.
        return None
    depth, before = 0, ""
    for piece in pieces:
        kind, text = piece.lastgroup or "", piece[0]
        if (kind, before) == ("times", "times") or (text[0] == "[" and not _is_plain_bracket(text)):
            return None
        if kind == "times":
            _check_quantifier(text, before)
        depth += {"open": 1, "close": -1}.get(kind, 0)
        if depth < 0:
            break
        before = kind
    if depth:
        raise InvalidRegex("parentheses () not balanced")
    return re.compile("".join(r"\Z" if piece[0] == "$" else piece[0] for piece in pieces), re.ASCII | re.DOTALL)


def _check_quantifier(text: str, before: str) -> None:
    if before not in ("atom", "close"):
        raise InvalidRegex("quantifier operand invalid")
    low, _, high = text.strip("{}").partition(",")
    if high and int(high) < int(low):
        raise InvalidRegex("invalid repetition count(s)")


def _is_plain_bracket(text: str) -> bool:
    inner = text[1:-1].removeprefix("^")
    ranges = _RANGE.findall(inner)
    # A hyphen that is no range's, and two ranges in a row with one end in common, are read in different ways.
    return inner.count("-") == len(ranges) and all(low <= high and low.isalnum() for low, high in ranges)


def as_bytes(text: str) -> str:
    """A character for each byte of UTF-8: when it reads the rules the server has no database, and so no encoding."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def matches_regex(pattern: str, name: str) -> bool | None:
    """Whether the pattern matches anywhere in `name`; None where only the server can tell."""
    try:
        compiled = compile_regex(pattern)
    except InvalidRegex:
        return False
    return None if compiled is None else compiled.search(as_bytes(name)) is not None
