"""What options take: callbacks that check and convert what one was given, each value where it may be repeated."""

import math
from collections.abc import Callable
from typing import Any

import typer

from tmsync.core.secret import redacted


class NotAllowed(typer.BadParameter):
    """An option got a value that it does not take. allowed: what it takes."""

    def __init__(self, value: object, allowed: str) -> None:
        super().__init__(f"{redacted(str(value))!r} is not allowed")
        self.allowed = allowed


def converted(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A callback that converts by `convert`, which may raise NotAllowed."""

    def called(value: Any) -> Any:
        if value is None or isinstance(value, list | tuple):
            return value and [convert(one) for one in value]
        return convert(value)

    return called


def number(kind: type[int] | type[float], low: float, high: float = math.inf) -> Callable[[Any], Any]:
    """A callback for numbers from `low` to `high`."""
    what = "a whole number" if kind is int else "a number"
    bounds = f"from {low:g} to {high:g}" if high < math.inf else f"of {low:g} or more"

    def parsed(text: Any) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high or value == math.inf:
            raise NotAllowed(text, f"{what} {bounds}")
        return value

    return converted(parsed)


def named(what: str) -> Callable[[Any], Any]:
    """A callback for names: an empty one is a variable of a script that was not set. what: what is named."""

    def checked(text: str) -> str:
        if not text:
            raise NotAllowed(text, what)
        return text

    return converted(checked)
