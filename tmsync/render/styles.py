"""Every style that tmsync prints in. Each can be read on a dark and on a light background.

What is to be read stands in the terminal's own colour. A colour marks a short word that says the same without it. No
letters in yellow, cyan, white or a bright colour without a background of their own: on white they are hardly seen; nor
in blue, which black swallows.
"""

from typing import Final

PLAIN: Final = ""
STRONG: Final = "bold"
"""Heads, and lines to paste."""
FAINT: Final = "dim"
"""What nobody misses who cannot see it: placeholders, the time of day, checks that were not reached."""
GOOD: Final = "green"
WARN: Final = "black on yellow"
"""Brings its own background: yellow letters are lost on white."""
BAD: Final = "bold red"
CRITICAL: Final = "bold white on red"
"""The heads of critical problems: not fainter than those of warnings."""

HELP: Final = {
    "STYLE_OPTION": STRONG,
    "STYLE_SWITCH": STRONG,
    "STYLE_NEGATIVE_OPTION": STRONG,
    "STYLE_NEGATIVE_SWITCH": STRONG,
    "STYLE_TYPES": PLAIN,
    "STYLE_TYPES_SEPARATOR": PLAIN,
    "STYLE_METAVAR": PLAIN,
    "STYLE_METAVAR_SEPARATOR": PLAIN,
    "STYLE_USAGE": STRONG,
    "STYLE_HELPTEXT": PLAIN,
    "STYLE_OPTION_DEFAULT": PLAIN,
    "STYLE_COMMANDS_TABLE_FIRST_COLUMN": STRONG,
}
"""Typer's names for the parts of a help text -> style. Its own are yellow, cyan, and dim for most of the text.

Source: typer/rich_utils.py; its older releases say METAVAR where later ones say TYPES.
"""
