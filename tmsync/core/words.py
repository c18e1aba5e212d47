"""Spans of time in words."""

from datetime import timedelta


def in_words(span: timedelta) -> str:
    """Two units at most: "7 h 46 min", "12 min", "40 s", "3 d 2 h"."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes, hours, days = seconds // 60 % 60, seconds // 3600 % 24, seconds // 86400
    parts = [(days, "d"), (hours, "h"), (minutes, "min")]
    shown = [f"{count} {unit}" for count, unit in parts if count]
    return " ".join(shown[:2])
