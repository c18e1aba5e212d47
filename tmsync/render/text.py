"""Text for a screen: foreign text made harmless, long text broken into lines."""

import re
from typing import Final

_TO_PASTE: Final = (
    r"(?:docker compose|sudo|chmod|chown|pip install) [^;,()]*?(?=[;,()]|[.:](?:\s|$)|$)"
    r"|tmsync(?: --config \S+)? [a-z]+(?:-[a-z]+)?(?: --[a-z-]+)*"
)
"""A command within a sentence, up to where the sentence goes on."""
_HELD: Final = "\x00"
"""Stands for a blank at which no line ends; printable text has none."""


def printable(text: str) -> str:
    """`text` on one line, with everything that could move a cursor or break a line shown as an escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def wrapped(text: str, width: int, indent: str = "") -> str:
    """`text` in lines of `width` columns at most, broken between words but never inside a command to paste.

    What is too long for a line stands on one of its own, for the terminal to break: copied, it is whole.
    """
    # Most runs have nothing to wrap, and need not pay for this when they start.
    import textwrap

    held = re.sub(_TO_PASTE, lambda found: found[0].replace(" ", _HELD), text)
    lines = textwrap.wrap(
        held,
        max(width, 1),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines).replace(_HELD, " ")
