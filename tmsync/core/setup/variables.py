"""Variables as docker compose knows them: `.env` and env_file files, and `${NAME:-default}` in other texts.

No Python library reads them all as compose does: python-dotenv, among others, starts a comment at a leading `#`, and
knows no `KEY: value`. This reader is held against compose's own answers, live and recorded
(tests/setup/test_agrees_with_compose.py).

Source: Compose specification, "Interpolation"; Docker manual, "Set environment variables" (syntax of env files); where
they are silent, runs of Docker Compose 2.40.3.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeAlias

Lookup: TypeAlias = Callable[[str], str | None]
"""The value of a variable; None where it is not set."""

NOTHING: Final[Lookup] = lambda _name: None  # noqa: E731 - a lookup that knows no variable
DEEPEST: Final = 16
"""Defaults within defaults: limit against hostile input."""
BLANKS: Final = "\t\v\f\r \x85\xa0"
"""Between the parts of a line."""
WHITE: Final = (
    f"{BLANKS}\n\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
"""Around lines and values. Source: Unicode, White_Space."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EXPORT: Final = re.compile(rf"export(?=[\t\n\f\r ])[{BLANKS}]*")
_KEY: Final = re.compile(rf"[\w.\-\[\]{BLANKS}]*")
_SKIP: Final = re.compile(rf"(?:[{WHITE}]+|#[^\n]*)*")
_BRACE_OR_LINE: Final = re.compile(r"[{}\n]")
_ESCAPE: Final = re.compile(r"\\([abfnrtv\"\\$]|0[0-9]{0,3})")
_ESCAPED: Final = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", '"': '"', "\\": "\\", "$": "$$",
}  # fmt: skip


class BadInterpolation(ValueError):
    """A text whose `${...}` cannot be made sense of; compose refuses it, too."""


class BadLine(ValueError):
    """A line of an env file that compose refuses. line: its number, from 1. The text is not told: it may be secret."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(f"line {line}: {what}")
        self.line = line


class Text(NamedTuple):
    """A text with its variables put in.

    unset: variables that have no value, and no default, where they stand. defaults: variables that have no value, whose
    default was taken. absent: there is no such text at all, rather than an empty one.
    """

    text: str
    unset: tuple[str, ...] = ()
    defaults: tuple[str, ...] = ()
    absent: bool = False


def interpolate(text: str, lookup: Lookup) -> Text:
    """`text` with its variables put in; one that is not set is empty, and `$$` is a dollar sign.

    Raises: BadInterpolation.
    """
    put_in = _Interpolation(lookup)
    done = put_in.text(text, 0)
    return Text(done, tuple(dict.fromkeys(put_in.unset)), tuple(dict.fromkeys(put_in.defaults)))


class _Interpolation:
    def __init__(self, lookup: Lookup) -> None:
        self.lookup = lookup
        self.unset: list[str] = []
        self.defaults: list[str] = []

    def text(self, text: str, depth: int) -> str:
        if depth > DEEPEST:
            raise BadInterpolation("defaults are nested too deeply")
        done: list[str] = []
        at = 0
        while (dollar := text.find("$", at)) >= 0:
            done.append(text[at:dollar])
            piece, at = self._variable(text, dollar + 1, depth)
            done.append(piece)
        done.append(text[at:])
        return "".join(done)

    def _variable(self, text: str, at: int, depth: int) -> tuple[str, int]:
        """What stands for the variable whose `$` is just before `at`, and where the text goes on."""
        if text.startswith("$", at):
            return "$", at + 1
        if not text.startswith("{", at):
            name = _NAME.match(text, at)
            return (self._plain(name[0]), name.end()) if name else ("$", at)
        name = _NAME.match(text, at + 1)
        if name is None:
            raise BadInterpolation("a ${...} names no variable")
        if text.startswith("}", name.end()):
            return self._plain(name[0]), name.end() + 1
        end = _closing(text, at)
        return self._chosen(name[0], text[name.end() : end], depth), end + 1

    def _plain(self, name: str) -> str:
        value = self.lookup(name)
        if value is None:
            self.unset.append(name)
        return value or ""

    def _chosen(self, name: str, rest: str, depth: int) -> str:
        # With a colon an empty variable counts as one that is not set.
        operator, other = rest.removeprefix(":")[:1], rest.removeprefix(":")[1:]
        if operator not in ("-", "+", "?"):
            raise BadInterpolation(f"${{{name}...}} has an operator that compose does not know")
        value = self.lookup(name)
        given = bool(value) if rest.startswith(":") else value is not None
        known = len(self.unset), len(self.defaults)
        # Compose works out the other text even where it does not take it, and refuses a bad one.
        instead = self.text(other, depth + 1)
        taken = given if operator == "+" else not given
        if not taken or operator == "?":
            del self.unset[known[0] :], self.defaults[known[1] :]
        if operator == "+":
            return instead if given else ""
        if given:
            return value or ""
        (self.defaults if operator == "-" and other else self.unset).append(name)
        return instead if operator == "-" else ""


def _closing(text: str, at: int) -> int:
    """Where the brace that opens at `at` closes; where none does, the last that closes on its line."""
    depth = 0
    for found in _BRACE_OR_LINE.finditer(text, at):
        if found[0] == "\n":
            break
        depth += 1 if found[0] == "{" else -1
        if not depth:
            return found.start()
    end = text.find("\n", at)
    last = text.rfind("}", at, end if end >= 0 else len(text))
    if last < 0:
        raise BadInterpolation("a ${ is not closed")
    return last


def read_variables(text: str, lookup: Lookup = NOTHING, seen: Mapping[str, str] | None = None) -> dict[str, str]:
    """The assignments of a `.env` or env_file file.

    lookup: variables that come before those of the file itself wherever a value refers to one; also what a line that
    names a variable without a value takes over. seen: variables that come after those of the file.
    Raises: BadLine.
    """
    found: dict[str, str] = {}
    at = 0

    def known(name: str) -> str | None:
        value = lookup(name)
        return found.get(name, (seen or {}).get(name)) if value is None else value

    while (at := _skipped(text, at)) < len(text):
        export = _EXPORT.match(text, at)
        begin = export.end() if export else at
        key = _KEY.match(text, begin)
        end = key.end() if key else begin
        if end == len(text):
            # A name without a value on the last line, without its line break, is nothing to compose.
            break
        name, sign = text[begin:end].rstrip(WHITE), text[end]
        if sign not in "=:\n":
            raise _bad(text, at, "a variable's name holds a character that is not allowed")
        if " " in name:
            raise _bad(text, at, "a variable's name holds a blank")
        if sign == "\n":
            at = end + 1
            value = lookup(name)
        else:
            value, at = _value(text, end + 1, known)
        if value is not None:
            found[name] = value
    return found


def read_raw(text: str, lookup: Lookup = NOTHING) -> dict[str, str]:
    """The assignments of an env_file in format raw: what stands behind the `=` as it is, quotes and all.

    Raises: BadLine.
    """
    found: dict[str, str] = {}
    for number, whole in enumerate(text.split("\n"), 1):
        line = whole.removesuffix("\r").lstrip(WHITE)
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not name or " " in name or "\t" in name:
            raise BadLine(number, "a variable's name is empty or holds a blank")
        taken = value if equals else lookup(name)
        if taken is not None:
            found[name] = taken
    return found


def _skipped(text: str, at: int) -> int:
    """Where the next statement begins, past blanks, empty lines and comments."""
    skipped = _SKIP.match(text, at)
    return skipped.end() if skipped else at


def _value(text: str, at: int, known: Lookup) -> tuple[str, int]:
    """The value that begins behind the sign before `at`, and where the text goes on."""
    while at < len(text) and text[at] in BLANKS:
        at += 1
    quote = text[at : at + 1]
    begun = at
    if quote in ("'", '"') and quote:
        inner, at = _quoted(text, at)
        value = inner if quote == "'" else _ESCAPE.sub(_unescaped, inner)
    else:
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        # Nothing but a blank before it makes a # a comment; a tab does not.
        value = text[at:end].partition(" #")[0].rstrip(WHITE)
        at = min(end + 1, len(text))
    if quote == "'":
        return value, at
    try:
        return interpolate(value, known).text, at
    except BadInterpolation as error:
        raise _bad(text, begun, str(error)) from None


def _quoted(text: str, at: int) -> tuple[str, int]:
    """What stands between the quotes, the first at `at`, over as many lines as it takes; and where the text goes on."""
    quote, begun = text[at], at
    pieces: list[str] = []
    stop = re.compile(rf"[\\{quote}]")
    at += 1
    while found := stop.search(text, at):
        pieces.append(text[at : found.start()])
        at = found.end()
        if found[0] == quote:
            return "".join(pieces), at
        # A backslash hides the quote; before anything else it stays for what reads the value next.
        pieces.append(text[at : at + 1] if text.startswith(quote, at) else f"\\{text[at : at + 1]}")
        at += 1
    raise _bad(text, begun, "a quoted value does not end")


def _unescaped(found: re.Match[str]) -> str:
    sign = found[1]
    if not sign.startswith("0"):
        return _ESCAPED[sign]
    code = int(sign[1:], 8) if re.fullmatch("[0-7]{3}", sign[1:]) else 256
    return chr(code) if code < 256 else found[0].replace("\\0", "\\")


def _bad(text: str, at: int, what: str) -> BadLine:
    return BadLine(text.count("\n", 0, at) + 1, what)
