"""`/regex` in the database and user columns (PostgreSQL 16 and newer), approximated with Python's `re`.

PostgreSQL compiles them as POSIX advanced regular expressions (REG_ADVANCED, C collation). Syntax is checked the
way its compiler does for what people write; matching is Python's, which agrees on whether a name matches except for
exotic constructs (look-behind of variable width, collating elements, back references in alternatives).
Source: PostgreSQL src/backend/regex/regcomp.c, regc_lex.c; documentation, section 9.7.3.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_CLASSES = {
    "alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "xdigit": "0-9a-fA-F",
    "space": " \\t\\n\\r\\f\\v", "blank": " \\t", "punct": "!-/:-@\\[-`{-~", "cntrl": "\\x00-\\x1f\\x7f",
    "print": " -~", "graph": "!-~", "word": "a-zA-Z0-9_",
}  # fmt: skip
_ESCAPES = {
    "d": r"\d", "D": r"\D", "s": r"\s", "S": r"\S", "w": r"\w", "W": r"\W", "a": r"\x07", "b": r"\x08", "B": r"\\",
    "e": r"\x1b", "f": r"\f", "n": r"\n", "r": r"\r", "t": r"\t", "v": r"\v",
}  # fmt: skip
_CONSTRAINTS = {
    "A": r"\A", "Z": r"\Z", "m": r"\b(?=\w)", "M": r"\b(?<=\w)", "y": r"\b", "Y": r"(?!\b)",
}  # fmt: skip
_COLLATING = {
    "alert": "\a", "backspace": "\b", "tab": "\t", "newline": "\n", "vertical-tab": "\v", "form-feed": "\f",
    "carriage-return": "\r", "space": " ", "exclamation-mark": "!", "quotation-mark": '"', "number-sign": "#",
    "dollar-sign": "$", "percent-sign": "%", "ampersand": "&", "apostrophe": "'", "left-parenthesis": "(",
    "right-parenthesis": ")", "asterisk": "*", "plus-sign": "+", "comma": ",", "hyphen": "-", "hyphen-minus": "-",
    "period": ".", "full-stop": ".", "slash": "/", "solidus": "/", "colon": ":", "semicolon": ";",
    "less-than-sign": "<", "equals-sign": "=", "greater-than-sign": ">", "question-mark": "?", "commercial-at": "@",
    "left-square-bracket": "[", "backslash": "\\", "reverse-solidus": "\\", "right-square-bracket": "]",
    "circumflex": "^", "circumflex-accent": "^", "underscore": "_", "low-line": "_", "grave-accent": "`",
    "left-brace": "{", "left-curly-bracket": "{", "vertical-line": "|", "right-brace": "}",
    "right-curly-bracket": "}", "tilde": "~",
    "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7",
    "eight": "8", "nine": "9",
}  # fmt: skip
_HEX_LENGTH = {"u": 4, "U": 8}
_SYMBOLS = {"^": "^", "$": r"\Z", "|": "|", ".": "."}
_BOUND = re.compile(r"\{([0-9]+)(,([0-9]*))?\}")
_BOUND_BEGUN = re.compile(r"\{[0-9]+(,[0-9]*)?")
_BACK_REFERENCE = re.compile("[1-9][0-9]*")
_OCTAL = re.compile("[0-7]{1,3}")
_OPTIONS = re.compile(r"\(\?([a-z]+)\)")
_MAX_REPEAT = 255
_GROUPS = ("(?:", "(?=", "(?!", "(?<=", "(?<!")

_OPERAND = "quantifier operand invalid"
_REPETITION = "invalid repetition count(s)"
_ESCAPE = "invalid escape \\ sequence"
_RANGE = "invalid character range"
_BRACKETS = "brackets [] not balanced"
_PARENTHESES = "parentheses () not balanced"


class _RefusedError(Exception):
    """PostgreSQL's reason against a pattern."""


class Regex(NamedTuple):
    """A compiled pattern.

    error: PostgreSQL's message, None for a valid pattern.  program: None when Python cannot express it: no match then.
    """

    error: str | None
    program: re.Pattern[str] | None = None

    def matches(self, name: str) -> bool:
        """True when the pattern matches anywhere in `name`."""
        return self.program is not None and self.program.search(name) is not None


@lru_cache(maxsize=1024)
def compile_regex(pattern: str) -> Regex:
    """Regex for the text behind the slash."""
    try:
        text, flags = _Translator(pattern).run()
    except _RefusedError as refused:
        return Regex(f'invalid regular expression "{pattern}": {refused}')
    try:
        return Regex(None, re.compile(text, flags | re.ASCII | re.DOTALL))
    except (re.error, OverflowError, RecursionError):
        return Regex(None)


class _Translator:
    """One pass over a pattern; `operand` tells whether a quantifier may follow."""

    def __init__(self, pattern: str) -> None:
        self._p = pattern
        self._i = 0
        self._out: list[str] = []
        self._open: list[tuple[bool, int]] = []  # (is a constraint, number of the capturing group or 0)
        self._groups = 0
        self._closed: set[int] = set()
        self._expanded = False
        self._operand = False
        self._symbols = _SYMBOLS
        self._spared = ""  # what a negated bracket does not match besides

    def run(self) -> tuple[str, int]:
        """Python's pattern and flags; raises _RefusedError."""
        flags = self._prefix()
        if flags is None:
            return re.escape(self._p[self._i :]), 0
        while self._i < len(self._p):
            self._step(self._p[self._i])
        if self._open:
            raise _RefusedError(_PARENTHESES)
        return "".join(self._out), flags

    def _prefix(self) -> int | None:
        """Directors and embedded options at the front. None: the rest is a literal."""
        if self._p.startswith("***"):
            self._i = 4
            if self._p[3:4] == "=":
                return None
            if self._p[3:4] != ":":
                raise _RefusedError(_OPERAND)
        found = _OPTIONS.match(self._p, self._i)
        if found is None:
            if self._p.startswith("(?", self._i) and self._p[self._i + 2 : self._i + 3].isalpha():
                raise _RefusedError("invalid embedded option")
            return 0
        self._i = found.end()
        if set(found[1]) - set("bceimnpqstwx"):
            raise _RefusedError("invalid embedded option")
        if "q" in found[1]:
            return None
        self._expanded = "x" in found[1]
        self._lines([letter for letter in found[1] if letter in "mnpsw"][-1:])
        return int(re.IGNORECASE) if "i" in found[1] else 0

    def _lines(self, last: list[str]) -> None:
        """What `.`, `[^...]`, `^` and `$` make of line feeds; the last such option counts."""
        if last and last[0] in "mnp":
            self._symbols, self._spared = {**self._symbols, ".": r"[^\n]"}, r"\n"
        if last and last[0] in "mnw":
            self._symbols = {**self._symbols, "^": "(?m:^)", "$": "(?m:$)"}

    def _emit(self, text: str, *, operand: bool) -> None:
        self._out.append(text)
        self._operand = operand

    def _step(self, c: str) -> None:
        if self._expanded and (c.isspace() or c == "#"):
            end = self._p.find("\n", self._i) if c == "#" else self._i
            self._i = len(self._p) if end < 0 else end + 1
        elif c == "\\":
            self._escape()
        elif c == "[":
            self._bracket()
        elif c == "(":
            self._group()
        elif c == ")":
            if not self._open:
                raise _RefusedError(_PARENTHESES)
            self._i += 1
            constraint, group = self._open.pop()
            self._closed.add(group)
            self._emit(")", operand=not constraint)
        elif c in "*+?" or (c == "{" and self._p[self._i + 1 : self._i + 2].isdigit()):
            self._quantifier(c)
        else:
            self._i += 1
            self._emit(self._symbols.get(c) or re.escape(c), operand=c not in "^$|")

    def _quantifier(self, c: str) -> None:
        if not self._operand:
            raise _RefusedError(_OPERAND)
        if c == "{":
            found = _BOUND.match(self._p, self._i)
            if found is None:
                cut_off = _BOUND_BEGUN.fullmatch(self._p, self._i)
                raise _RefusedError("braces {} not balanced" if cut_off else _REPETITION)
            low, high = int(found[1][:5]), int((found[3] or found[1])[:5])
            if max(low, high) > _MAX_REPEAT or low > high:
                raise _RefusedError(_REPETITION)
            self._i = found.end()
            c = found[0]
        else:
            self._i += 1
        if self._p[self._i : self._i + 1] == "?":
            self._i += 1
            c += "?"
        self._emit(c, operand=False)

    def _group(self) -> None:
        if self._p.startswith("(?#", self._i):
            end = self._p.find(")", self._i)
            self._i = len(self._p) if end < 0 else end + 1
            return
        opening = next((g for g in _GROUPS if self._p.startswith(g, self._i)), "(")
        if opening == "(":
            if self._p.startswith("(?", self._i):
                raise _RefusedError(_OPERAND)
            self._groups += 1
        self._i += len(opening)
        self._open.append((opening not in ("(", "(?:"), self._groups if opening == "(" else 0))
        self._emit(opening, operand=False)

    def _escape(self) -> None:
        c = self._p[self._i + 1 : self._i + 2]
        if not c:
            raise _RefusedError(_ESCAPE)
        if c in _CONSTRAINTS:
            self._i += 2
            self._emit(_CONSTRAINTS[c], operand=False)
        elif (number := self._back_reference()) is not None:
            if number not in self._closed:
                raise _RefusedError("invalid backreference number")
            self._i += 1 + len(str(number))
            self._emit(f"(?:\\{number})", operand=True)
        else:
            self._emit(self._escaped_character(), operand=True)

    def _back_reference(self) -> int | None:
        """Number behind the backslash; one of several digits that counts no group is an octal character instead."""
        digits = _BACK_REFERENCE.match(self._p, self._i + 1)
        if digits is None:
            return None
        number = int(digits[0][:4])
        return number if len(digits[0]) == 1 or number <= self._groups else None

    def _octal(self) -> str:
        """`\\0` and up to two more digits, which end before they pass one byte."""
        digits = _OCTAL.match(self._p, self._i - 1)
        if digits is None:
            raise _RefusedError(_ESCAPE)
        text = digits[0] if int(digits[0], 8) <= 0xFF else digits[0][:2]
        self._i += len(text) - 1
        return re.escape(chr(int(text, 8)))

    def _escaped_character(self) -> str:
        """Escape that stands for one character or a class, at `_i`; moves behind it."""
        c = self._p[self._i + 1 : self._i + 2]
        self._i += 2
        if c in _ESCAPES:
            return _ESCAPES[c]
        if c and c in "0123456789":
            return self._octal()
        if c == "c" and self._i < len(self._p):
            self._i += 1
            return re.escape(chr(ord(self._p[self._i - 1]) & 0x1F))
        if c and c in "xuU":
            length = _HEX_LENGTH.get(c, 255)
            digits = re.compile(f"[0-9a-fA-F]{{1,{length}}}").match(self._p, self._i)
            if digits is None or (c != "x" and len(digits[0]) != length) or int(digits[0], 16) > 0x10FFFF:
                raise _RefusedError(_ESCAPE)
            self._i = digits.end()
            return re.escape(chr(int(digits[0], 16)))
        if not c or (c.isascii() and c.isalnum()):
            raise _RefusedError(_ESCAPE)
        return re.escape(c)

    def _bracket(self) -> None:
        for word, constraint in (("[[:<:]]", r"\b(?=\w)"), ("[[:>:]]", r"\b(?<=\w)")):
            if self._p.startswith(word, self._i):
                self._i += len(word)
                self._emit(constraint, operand=False)
                return
        self._i += 1
        out = "["
        if self._p[self._i : self._i + 1] == "^":
            self._i += 1
            out += "^" + self._spared
        first = True
        while first or self._p[self._i : self._i + 1] != "]":
            if not first and self._p[self._i : self._i + 1] == "-" and self._p[self._i + 1 : self._i + 2] != "]":
                raise _RefusedError(_RANGE)  # one range behind another, as in [a-c-e]
            low, plain = self._bracket_item()
            out += low
            first = False
            if self._p[self._i : self._i + 1] == "-" and self._p[self._i + 1 : self._i + 2] != "]":
                self._i += 1
                if not plain or self._p.startswith(("[:", "[="), self._i):
                    raise _RefusedError(_RANGE)
                high, high_plain = self._bracket_item()
                if self._i == len(self._p):
                    raise _RefusedError(_BRACKETS)
                if not high_plain or _character(high) < _character(low):
                    raise _RefusedError(_RANGE)
                out += "-" + high
        self._i += 1
        self._emit(out + "]", operand=True)

    def _bracket_item(self) -> tuple[str, bool]:
        """(Python's spelling, whether it is a single character), moving behind it."""
        c = self._p[self._i : self._i + 1]
        if not c:
            raise _RefusedError(_BRACKETS)
        if c == "\\":
            if self._back_reference() is not None:
                raise _RefusedError(_ESCAPE)
            text = self._escaped_character()
            return text, not re.fullmatch(r"\\[dDsSwW]", text)
        kind = self._p[self._i + 1 : self._i + 2]
        if c == "[" and kind and kind in ":.=":
            end = self._p.find(kind + "]", self._i + 2)
            if end < 0:
                raise _RefusedError(_BRACKETS)
            name = self._p[self._i + 2 : end]
            self._i = end + 2
            if kind == ":":
                if name not in _CLASSES:
                    raise _RefusedError("invalid character class")
                return _CLASSES[name], False
            name = _COLLATING.get(name, name)
            if len(name) != 1:
                raise _RefusedError("invalid collating element")
            return re.escape(name), kind == "."
        self._i += 1
        return ("\\" + c if c in "[]^-&~|\\" else c), True


def _character(spelled: str) -> str:
    """The character that one escaped or plain item of a bracket stands for."""
    if len(spelled) == 1:
        return spelled
    simple = {"\\f": "\f", "\\n": "\n", "\\r": "\r", "\\t": "\t", "\\v": "\v"}
    if spelled[:2] == "\\x":
        return chr(int("0" + spelled[1:], 16))
    return simple.get(spelled, spelled[-1])
