"""check-db for people: a line per check, the fix under the first failure."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tmsync.core.check_db.report import Check, CheckId, Diagnosis, Status
from tmsync.core.errors import Problem, Step
from tmsync.render.console import trimmed
from tmsync.render.problems import step_lines
from tmsync.render.styles import BAD, FAINT, GOOD, PLAIN, STRONG, WARN
from tmsync.render.text import printable, wrapped

STYLES: Final = {Status.PASS: GOOD, Status.WARN: WARN, Status.FAIL: BAD, Status.SKIP: FAINT}


def render(found: Diagnosis, screen: Console, *, quiet: bool = False) -> str:
    """The whole result as text for `screen`. quiet: nothing but what is wrong."""
    parts: list[RenderableType] = []
    shown = [check for check in found.checks if not quiet or check.status in (Status.WARN, Status.FAIL)]
    if shown:
        parts.append(_table(shown))
    advised = [check for check in shown if check.fix and check.status in (Status.WARN, Status.PASS)]
    parts += [part for check in advised for part in _fix(check, screen)]
    for failure in _explained(found):
        parts += _fix(failure, screen)
    if found.ok and not quiet:
        warnings = sum(check.status is Status.WARN for check in found.checks)
        told = f", with {warnings} warning{'s' if warnings > 1 else ''}" if warnings else ""
        offline = found.of(CheckId.CLAIMS) is None
        good = "The file lets this client in" if offline else "This host can read TeslaMate's tokens"
        parts.append(Text(f"\n{good}{told}."))
    with screen.capture() as capture:
        for part in parts:
            screen.print(part, soft_wrap=isinstance(part, _Paste))
    return trimmed(screen, capture.get())


def explain(problem: Problem, screen: Console) -> str:
    """A problem with its details and its fix, as text for `screen`."""
    with screen.capture() as capture:
        screen.print(Text.assemble((problem.cause, BAD), f": {printable(problem.message)}"))
        for detail in problem.details:
            screen.print(Text(f"      {printable(detail)}"))
        for line in step_lines(problem.fix, screen.width):
            screen.print(_Paste(line.text, style=STRONG) if line.to_paste else Text(line.text), soft_wrap=line.to_paste)
    return trimmed(screen, capture.get())


def steps(these: Sequence[Step], screen: Console) -> str:
    """Things to do or to know, with the lines to paste."""
    with screen.capture() as capture:
        for step in these:
            words = wrapped(printable(step.words), screen.width, "  ")
            screen.print(Text(f"- {words.removeprefix('  ')}"))
            for line in step.command.splitlines():
                screen.print(_Paste(f"       {printable(line)}", style=STRONG), soft_wrap=True)
    return trimmed(screen, capture.get())


def _explained(found: Diagnosis) -> list[Check]:
    """The first failure; what the file says of it knows the very line, so it speaks in its stead."""
    failed = [check for check in found.checks if check.status is Status.FAIL]
    if len(failed) == 2 and failed[0].id is CheckId.PG_HBA and failed[1].fix:
        return failed[1:]
    return failed


class _Paste(Text):
    """A line to paste: never wrapped."""


def _table(checks: list[Check]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        style = STYLES[check.status]
        words = FAINT if check.status is Status.SKIP else PLAIN
        lines: list[RenderableType] = [Text(printable(check.summary), style=words)]
        lines += [Text(printable(line)) for text in check.details for line in text.splitlines()]
        table.add_row(Text(check.status, style=style), Text(check.id, style=words), Group(*lines))
    return table


def _fix(check: Check, screen: Console) -> list[RenderableType]:
    about = f"{check.id} ({check.cause})" if check.cause else check.id
    lines = step_lines(check.fix, screen.width)
    told = [_Paste(line.text, style=STRONG) if line.to_paste else Text(line.text) for line in lines]
    return [Text(f"\nWhat to do about {about}:", style=STRONG), *told]
