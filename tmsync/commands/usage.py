"""Wrong usage in plain words: what was given, what is allowed, and where to read on."""

import re
from typing import Any, Final

from tmsync.commands.values import NotAllowed
from tmsync.core.causes import Cause
from tmsync.core.config.schema import SETTINGS
from tmsync.core.errors import Problem
from tmsync.core.fixes import problem
from tmsync.core.secret import redacted

SECRET: Final = re.compile("pass|secret|key|token", re.IGNORECASE)


def wrong_usage(error: Any, command: str) -> Problem:
    """The problem behind one of Typer's usage errors. command: the one that was called; empty where none was."""
    program = f"tmsync {command}".strip()
    option = getattr(error, "option_name", "") or ""
    if isinstance(error, NotAllowed):
        message = f"{max(error.param.opts, key=len)}: {error.message}" if error.param else error.message
        return problem(Cause.USAGE, message, variant="value", allowed=error.allowed, program=program)
    if hasattr(error, "possibilities") and SECRET.search(option):
        message = f"there is no option {option}: other users can see what a command is given"
        variables = ", ".join(setting.env for setting in SETTINGS if setting.secret)
        return problem(Cause.USAGE, message, variant="secret", variables=variables)
    # One of our own says it all; Typer puts the name of the option before it.
    ours = type(error).__name__ == "BadParameter" and not error.param
    message = error.message if ours else " ".join(error.format_message().split())
    return problem(Cause.USAGE, redacted(message), program=program)
