"""The steps that fix a problem, as lines of text: numbered, each command to paste on a line of its own."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from tmsync.core.errors import PLACES, Step
from tmsync.render.text import printable, wrapped

NUMBER_CELLS: Final = 5
"""Columns for "  1. " before the words of a step."""


class Line(NamedTuple):
    """A line of text. to_paste: a command, which is never broken, so that it is whole when copied."""

    text: str
    to_paste: bool = False


def step_lines(steps: Sequence[Step], width: int, indent: str = "") -> Iterator[Line]:
    """The steps in `width` columns. Those for one place only stand under a heading, and are counted by themselves."""
    placed = False
    for place, group in groupby(steps, lambda step: step.place):
        if place in PLACES:
            yield Line(f"{indent}{PLACES[place]}:")
        elif placed:
            yield Line(f"{indent}In either case:")
        placed = place in PLACES
        number = 0
        for step in group:
            if step.words:
                number += 1
                margin = indent + " " * NUMBER_CELLS
                first, *others = wrapped(printable(step.words), width, margin).split("\n")
                yield Line(f"{indent}{number:>3}. {first.lstrip()}")
                yield from map(Line, others)
            for command in step.command.splitlines():
                yield Line(f"{indent}{' ' * NUMBER_CELLS}  {printable(command)}", to_paste=True)
