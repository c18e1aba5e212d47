"""The fix of every cause, written once: whichever command tells a problem, its advice is the same.

A fix is data: steps whose words and commands hold `{placeholders}`. A step is left out where one of its values is None.
Where one cause comes in several situations, each is a variant with a name of its own.

`problem` is how the package makes a Problem: where the cause is known, with the values that the fix needs.
"""

from collections.abc import Mapping
from functools import cache
from string import Formatter
from typing import Final, TypeAlias

from tmsync.core.causes import Cause
from tmsync.core.errors import Problem, Step

Steps: TypeAlias = tuple[Step, ...]
Fixes: TypeAlias = Mapping[Cause | tuple[Cause, str], Steps]
"""Cause, or (cause, variant) -> steps."""


@cache
def catalogue() -> Fixes:
    """Every fix there is. Imported when the first problem is told: most runs have none."""
    from tmsync.core.fixes import broker, config, database, hba, network, setup, tesla, tokens, twcmanager, vehicles

    areas = (config, network, database, hba, tokens, twcmanager, broker, vehicles, tesla, setup)
    merged = {key: steps for area in areas for key, steps in area.FIXES.items()}
    if len(merged) != sum(len(area.FIXES) for area in areas):
        raise AssertionError("a cause has two fixes")
    return merged


def placeholders(step: Step) -> frozenset[str]:
    """The names of the values that a step needs."""
    texts = (step.words, step.command)
    return frozenset(name for text in texts for _, name, _, _ in Formatter().parse(text) if name)


def fix(cause: Cause, variant: str = "", **values: object) -> Steps:
    """The steps that fix `cause`, with `values` put in; those that lack one (None) are left out."""
    steps = catalogue()[(cause, variant) if variant else cause]
    return tuple(
        Step(step.words.format_map(values), step.command.format_map(values), step.place)
        for step in steps
        if all(values[name] is not None for name in placeholders(step))
    )


def problem(
    cause: Cause, message: str, *, variant: str = "", details: tuple[str, ...] = (), **values: object
) -> Problem:
    """A problem with its fix. values: what the placeholders of the fix stand for."""
    return Problem(cause, message, fix(cause, variant, **values), details)


REPORT: Final = Step("Please report this line with what you did.")


def unforeseen(error: Exception) -> Problem:
    """An error nobody foresaw, told without its text or its values: they might be secret."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}" if trace is not None else "unknown place"
    return Problem(Cause.INTERNAL, f"unforeseen {type(error).__name__} in {place}", (REPORT,))
