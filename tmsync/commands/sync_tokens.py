"""`tmsync sync-tokens`."""

import os
import sys
from typing import Annotated

import typer

from tmsync.commands import output
from tmsync.commands.options import Call, Format, takes
from tmsync.core.causes import Cause
from tmsync.core.clock import SystemClock
from tmsync.core.errors import ConfigError
from tmsync.core.outage import News, Telling, news
from tmsync.core.sync import Report, sync
from tmsync.core.twcmanager.delivery import Result
from tmsync.core.twcmanager.plan import SyncOptions, Via

# Told by check-db and status; a cron job that repeats them every five minutes would only be switched off.
STANDING: frozenset[Cause] = frozenset({Cause.LOOSE_PERMISSIONS, Cause.CUT_BY_COMMENT})
LASTING: frozenset[Cause] = frozenset({Cause.OWNER_API, Cause.RESTART_WAITS})
"""Told when a token goes over, and not again by each run that finds it there."""


@takes("twcmanager", "database", formats=(Format.TEXT, Format.JSON), usual=Format.TEXT)
def sync_tokens(
    call: Call,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Try everything but the last step, and change nothing.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Compare only; exit code 3 when TWCManager's token is not TeslaMate's.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Export an expired token, too.")] = False,
) -> None:
    """Export TeslaMate's Tesla API token into TWCManager, which then never has to refresh one.

    Made for cron: a line per change, silence otherwise. The refresh token stays with TeslaMate.

    Example: tmsync sync-tokens --dry-run
    """
    clock = SystemClock()
    outage = News()
    try:
        settings = call.settings()
    except ConfigError as error:
        report = Report(error=error)
    else:
        asked = SyncOptions(Via(settings.get("twcmanager.deliver")), dry_run=dry_run, check=check, force=force)
        report = sync(settings, asked, clock=clock, environ=os.environ)
        watched = sys.stdout.isatty() or sys.stderr.isatty()
        if not (watched or dry_run or check or call.form is Format.JSON):
            outage = news(report, settings, clock)
    show(report, call, clock, outage)
    raise typer.Exit(report.exit_code)


def show(report: Report, call: Call, clock: SystemClock, outage: News) -> None:
    """Print what came of it."""
    idle = report.result is Result.UNCHANGED and not sys.stdout.isatty()
    if call.form is Format.JSON:
        from tmsync.render.document import document

        output.result(document("sync-tokens", report.as_json(clock.now())))
    else:
        from tmsync.render.sync_tokens import about, line

        text = line(report, clock.now())
        if outage.telling is Telling.OVER and not call.quiet:
            output.sentence(about(outage, clock.now()))
        if text and (call.verbose or not idle) and not call.quiet:
            output.sentence(text)
    standing = STANDING | LASTING if idle else STANDING
    for warning in report.warnings:
        if call.verbose or not (warning.cause in standing or call.form is Format.JSON):
            output.warning(warning)
    if report.error is not None and (call.verbose or outage.telling is not Telling.SILENT):
        output.problem(report.error.problem)
        if outage.telling in (Telling.BEGINS, Telling.LOW):
            from tmsync.render.sync_tokens import about

            output.say(f"  {about(outage, clock.now())}")
