"""`tmsync sync-tokens`."""

import os
import sys
from typing import Annotated

import typer

from tmsync.commands import output
from tmsync.commands.options import Call, Format, takes
from tmsync.core.clock import SystemClock
from tmsync.core.errors import Cause, ConfigError
from tmsync.core.sync import Report, sync
from tmsync.core.twcmanager.deliver import Result
from tmsync.core.twcmanager.plan import SyncOptions, Via

# Told by check-db and status; a cron job that repeats them every five minutes would only be switched off.
STANDING: frozenset[Cause] = frozenset({Cause.LOOSE_PERMISSIONS, Cause.CUT_BY_COMMENT})


@takes("twcmanager", "database", formats=(Format.TEXT, Format.JSON), usual=Format.TEXT)
def sync_tokens(
    call: Call,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be done, and do nothing.")] = False,
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
    try:
        settings = call.settings()
    except ConfigError as error:
        report = Report(error=error)
    else:
        asked = SyncOptions(Via(settings.get("twcmanager.deliver")), dry_run=dry_run, check=check, force=force)
        report = sync(settings, asked, clock=clock, environ=os.environ)
    _show(report, call, clock)
    raise typer.Exit(report.exit_code)


def _show(report: Report, call: Call, clock: SystemClock) -> None:
    if call.form is Format.JSON:
        from tmsync.render.document import document

        output.result(document("sync-tokens", report.as_json(clock.now())))
    else:
        from tmsync.render.sync_tokens import line

        text = line(report, clock.now())
        wanted = report.result is not Result.UNCHANGED or call.verbose or sys.stdout.isatty()
        if text and wanted and not call.quiet:
            output.sentence(text)
    for warning in report.warnings:
        if call.verbose or not (warning.cause in STANDING or call.form is Format.JSON):
            output.warning(warning)
    if report.error is not None:
        output.problem(report.error.problem)
