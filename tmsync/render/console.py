"""A Rich console for results: no markup in foreign text, no colour where none belongs, no wrapped lines in a pipe."""

import os
import sys
from typing import Final, TextIO

from rich.console import Console

PIPE_WIDTH: Final = 1000
"""Columns where nobody's screen limits them and COLUMNS does not either."""


def console(file: TextIO | None = None) -> Console:
    """A console on `file` (standard output unless given). NO_COLOR, FORCE_COLOR and COLUMNS are Rich's own."""
    file = file or sys.stdout
    piped = not file.isatty() and not os.environ.get("COLUMNS", "").isdigit()
    return Console(
        file=file, width=PIPE_WIDTH if piped else None, markup=False, emoji=False, highlight=False, soft_wrap=False
    )


def trimmed(screen: Console, captured: str) -> str:
    """Captured output without the blanks Rich fills its last column with, unless colours hold them."""
    return captured if screen.color_system else "\n".join(line.rstrip() for line in captured.split("\n"))


def can_show_blocks(screen: Console) -> bool:
    """Whether the terminal's encoding has block characters and marks."""
    return screen.encoding.lower().replace("-", "").startswith("utf")
