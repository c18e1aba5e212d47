"""Variables as docker compose knows them: `.env` files, and `${NAME:-default}` in the text of others.

Source: Compose specification, "Interpolation" and "Environment variables / .env file".
"""

import re
from collections.abc import Mapping
from typing import Final

DEEPEST: Final = 16
"""Defaults within defaults; beyond, the text is somebody's joke."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(.*?)\s*$")
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$$"}


class BadInterpolation(ValueError):
    """A text whose `${...}` cannot be made sense of."""


def interpolated(text: str, variables: Mapping[str, str], depth: int = 0) -> str:
    """`text` with its variables put in; one that is not set is empty, and `$$` is a dollar sign.

    Raises: BadInterpolation.
    """
    if depth > DEEPEST:
        raise BadInterpolation("defaults are nested too deeply")
    done: list[str] = []
    at = 0
    while (dollar := text.find("$", at)) >= 0:
        done.append(text[at:dollar])
        piece, at = _variable(text, dollar + 1, variables, depth)
        done.append(piece)
    done.append(text[at:])
    return "".join(done)


def _variable(text: str, at: int, variables: Mapping[str, str], depth: int) -> tuple[str, int]:
    """What stands for the variable whose `$` is just before `at`, and where the text goes on."""
    if text.startswith("$", at):
        return "$", at + 1
    if not text.startswith("{", at):
        name = _NAME.match(text, at)
        return (variables.get(name[0], ""), name.end()) if name else ("$", at)
    end = _closing(text, at + 1)
    name = _NAME.match(text, at + 1)
    if name is None:
        raise BadInterpolation("a ${...} names no variable")
    return _chosen(name[0], text[name.end() : end], variables, depth), end + 1


def _chosen(name: str, rest: str, variables: Mapping[str, str], depth: int) -> str:
    value = variables.get(name)
    # With a colon an empty variable counts as one that is not set.
    given = bool(value) if rest.startswith(":") else value is not None
    operator, other = rest.removeprefix(":")[:1], rest.removeprefix(":")[1:]
    match operator:
        case "":
            return value or ""
        case "-":
            return (value or "") if given else interpolated(other, variables, depth + 1)
        case "+":
            return interpolated(other, variables, depth + 1) if given else ""
        case "?":
            return value or ""
        case _:
            raise BadInterpolation(f"${{{name}...}} has an operator that compose does not know")


def _closing(text: str, at: int) -> int:
    """Where the brace opened before `at` closes."""
    open_braces = 1
    while at < len(text):
        if text.startswith("${", at):
            open_braces += 1
            at += 1
        elif text[at] == "}":
            open_braces -= 1
            if not open_braces:
                return at
        at += 1
    raise BadInterpolation("a ${ is not closed")


def read_variables(text: str, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """The assignments of a `.env` file; lines that are none are passed over, as are the values they would have.

    known: variables that the values may refer to besides those above them.
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            continue
        assignment = _ASSIGNMENT.match(line)
        if assignment is None:
            continue
        name, raw = assignment.groups()
        try:
            found[name] = _value(raw, {**(known or {}), **found})
        except BadInterpolation:
            continue
    return found


def _value(raw: str, variables: Mapping[str, str]) -> str:
    quote = raw[:1]
    if quote == "'" and (end := raw.find("'", 1)) > 0:
        return raw[1:end]
    if quote == '"' and (end := _end_of_quotes(raw)) > 0:
        inner = re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), raw[1:end])
        return interpolated(inner, variables)
    if raw.startswith("#"):
        return ""
    # Within an unquoted value a comment begins with a blank before its #.
    return interpolated(re.split(r"\s#", raw, maxsplit=1)[0].rstrip(), variables)


def _end_of_quotes(raw: str) -> int:
    at = 1
    while at < len(raw):
        if raw[at] == "\\":
            at += 1
        elif raw[at] == '"':
            return at
        at += 1
    return -1
