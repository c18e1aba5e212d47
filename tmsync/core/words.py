"""Spans of time and lists of names in words."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

MOST_NAMED: Final = 20


def in_words(span: timedelta) -> str:
    """Two units at most: "7 h 46 min", "12 min", "40 s", "3 d 2 h"."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes, hours, days = seconds // 60 % 60, seconds // 3600 % 24, seconds // 86400
    parts = [(days, "d"), (hours, "h"), (minutes, "min")]
    shown = [f"{count} {unit}" for count, unit in parts if count]
    return " ".join(shown[:2])


def life(left: timedelta) -> str:
    """ "expires in 7 h 46 min", "expired 2 d 3 h ago"."""
    return f"expires in {in_words(left)}" if left > timedelta(0) else f"expired {in_words(-left)} ago"


def listed(names: Sequence[object], most: int = MOST_NAMED) -> str:
    """ "a", "a and b", "a, b and c", "a, b and 7 more"."""
    shown = [str(name) for name in names[:most]]
    if len(names) > most:
        shown.append(f"{len(names) - most} more")
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1]))) if shown else ""


def counted(count: int, noun: str) -> str:
    """ "1 vehicle", "2 vehicles"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
