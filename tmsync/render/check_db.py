"""check-db for people: a line per check, the fix under the first failure."""

from typing import Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tmsync.core.postgres.checks import Check, Diagnosis, Status, Step
from tmsync.render.console import trimmed
from tmsync.render.text import printable

STYLES: Final = {Status.PASS: "green", Status.WARN: "yellow", Status.FAIL: "bold red", Status.SKIP: "dim"}


def render(found: Diagnosis, screen: Console, *, quiet: bool = False) -> str:
    """The whole result as text for `screen`. quiet: nothing but what is wrong."""
    parts: list[RenderableType] = []
    shown = [check for check in found.checks if not quiet or check.status in (Status.WARN, Status.FAIL)]
    if shown:
        parts.append(_table(shown))
    parts += [part for check in shown if check.status is Status.WARN and check.fix for part in _fix(check)]
    if found.failure is not None:
        parts += _fix(found.failure)
    elif not quiet:
        warnings = sum(check.status is Status.WARN for check in found.checks)
        told = f", with {warnings} warning{'s' if warnings > 1 else ''}" if warnings else ""
        parts.append(Text(f"\nThis host can read TeslaMate's tokens{told}."))
    with screen.capture() as capture:
        for part in parts:
            screen.print(part, soft_wrap=isinstance(part, _Paste))
    return trimmed(screen, capture.get())


class _Paste(Text):
    """A line to paste: never wrapped."""


def _table(checks: list[Check]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        style = STYLES[check.status]
        words = "dim" if check.status is Status.SKIP else ""
        lines: list[RenderableType] = [Text(printable(check.summary), style=words)]
        lines += [Text(printable(line), style="dim") for line in check.detail.splitlines()]
        table.add_row(
            Text(check.status, style=style), Text(check.id, style="dim" if style == "dim" else ""), Group(*lines)
        )
    return table


def _fix(check: Check) -> list[RenderableType]:
    parts: list[RenderableType] = [Text(f"\nWhat to do about {check.id} ({check.cause}):", style="bold")]
    number = 0
    for step in check.fix:
        number += bool(step.say)
        parts += _step(step, number)
    return parts


def _step(step: Step, number: int) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if step.say:
        said = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
        said.add_column(no_wrap=True, width=4, justify="right")
        said.add_column(overflow="fold")
        said.add_row(f"{number}.", Text(printable(step.say)))
        parts.append(said)
    parts += [_Paste(f"       {printable(line)}", style="cyan") for line in step.paste]
    return parts
