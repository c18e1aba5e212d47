"""Wrong usage in plain words: what was given, what is allowed, and the command as it should have been."""

import itertools
import re
import shlex
from collections.abc import Collection, Sequence
from typing import Any, Final

from tmsync.core.config.schema import SETTINGS, allowed
from tmsync.core.errors import Cause, Problem
from tmsync.core.fixes import problem
from tmsync.core.secret import redacted

TAKES_VALUE: Final = "--config"
"""The one global option that does."""
GLOBAL_OPTIONS: Final = (TAKES_VALUE, "--verbose", "-v", "--quiet", "-q", "--version")
SECRET: Final = re.compile("pass|secret|key|token", re.IGNORECASE)
HUSH: Final = re.compile(rf"^-.*({SECRET.pattern})|://[^/]*@", re.IGNORECASE)
"""An argument that names a secret, or an address that holds one."""
NUMBER: Final = r"([0-9]+(?:\.[0-9]+)?)"
ALLOWED: Final = (
    (re.compile(r"valid integer"), "a whole number"),
    (re.compile(r"valid (?:number|float)"), "a number"),
    (re.compile(rf"{NUMBER}<=x<={NUMBER}"), "{0} to {1}"),
    (re.compile(rf"(?:greater than or equal to |x>=){NUMBER}"), "{0} or more"),
    (re.compile(rf"(?:less than or equal to |x<=){NUMBER}"), "{0} or less"),
    (re.compile(r"not one of (.+?)\.?$"), "one of {0}"),
)
"""How Typer's releases, with pydantic or without, say what an option takes; and how we do."""


def wrong_usage(error: Any, arguments: Sequence[str], commands: Collection[str]) -> Problem:
    """The problem behind one of Typer's usage errors."""
    command = command_in(arguments, commands)
    hint = f"{' '.join(filter(None, ('tmsync', command)))} --help tells how."
    message = " ".join(error.format_message().split())
    name = getattr(error, "option_name", "") or ""
    param = getattr(error, "param", None)
    if hasattr(error, "possibilities") and name:
        if command and name in GLOBAL_OPTIONS:
            message, hint = f"{name} stands before the command", _in_order(name, arguments)
        elif SECRET.search(name):
            variables = ", ".join(setting.env for setting in SETTINGS if setting.secret)
            message = f"there is no option {name}: other users can see what a command is given"
            hint = f"Secrets come from the configuration file or from {variables}; tmsync init asks for them."
    elif param is not None:
        name = max(param.opts, key=len)
        given = values(arguments, name)
        what = _allowed(name, message)
        if what:
            shown = repr(redacted(given[0])) if len(given) == 1 else "one of its values"
            message, hint = f"{name}: {shown} is not allowed", f"It takes: {what}. {hint}"
    elif type(error).__name__ == "BadParameter":
        # One of our own, which says it all.
        message = error.message
    return problem(Cause.USAGE, redacted(message), hint=redacted(hint) or None)


def command_in(arguments: Sequence[str], commands: Collection[str]) -> str:
    """The command that was given; empty where none was."""
    return next((argument for argument in arguments if argument in commands), "")


def values(arguments: Sequence[str], flag: str) -> list[str]:
    """Every value given to `flag`, whether as two arguments or with `=`."""
    after = [value for name, value in itertools.pairwise(arguments) if name == flag]
    return after + [argument.removeprefix(f"{flag}=") for argument in arguments if argument.startswith(f"{flag}=")]


def _allowed(name: str, message: str) -> str:
    """What an option takes; empty where that is not known."""
    setting = next((setting for setting in SETTINGS if setting.flag == name), None)
    if setting is not None:
        return allowed(setting)
    for pattern, words in ALLOWED:
        if found := pattern.search(message):
            return words.format(*(group.replace("'", "") for group in found.groups()))
    return ""


def _in_order(name: str, arguments: Sequence[str]) -> str:
    """The command line with a global option where it belongs; not one that may hold a secret."""
    rest = list(arguments)
    at = next((at for at, argument in enumerate(rest) if argument.partition("=")[0] == name), None)
    if at is None or any(HUSH.search(argument) for argument in rest):
        return f"tmsync {name} ..."
    width = 2 if rest[at] == TAKES_VALUE else 1
    moved, rest[at : at + width] = rest[at : at + width], []
    return shlex.join(["tmsync", *moved, *rest])
