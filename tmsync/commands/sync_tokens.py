"""`tmsync sync-tokens`."""

import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

from tmsync.commands import output
from tmsync.commands.globals import Globals
from tmsync.commands.options import (
    DbHost,
    DbName,
    DbPort,
    DbUser,
    Json,
    Ssl,
    Timeout,
    TwcConfigFile,
    TwcSettingsFile,
    TwcUrl,
    database_flags,
    twc_flags,
)
from tmsync.core.clock import SystemClock
from tmsync.core.errors import Cause, ConfigError
from tmsync.core.sync import Report, sync
from tmsync.core.twcmanager.deliver import Result
from tmsync.core.twcmanager.plan import SyncOptions, Via

# Told once by check-db; a cron job that repeats them every five minutes would only be switched off.
STANDING: frozenset[Cause] = frozenset({Cause.LOOSE_PERMISSIONS, Cause.CUT_BY_COMMENT, Cause.OWNER_API})


class Format(StrEnum):
    """How the result is printed."""

    TEXT = "text"
    JSON = "json"


def sync_tokens(
    ctx: typer.Context,
    via: Annotated[
        Via | None, typer.Option("--via", help="Way of delivery (default auto: web control if it runs, else file).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be done, and do nothing.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Compare only; exit code 3 when TWCManager's token is not TeslaMate's.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Export an expired token, too.")] = False,
    twc_config: TwcConfigFile = None,
    twc_settings: TwcSettingsFile = None,
    twc_url: TwcUrl = None,
    host: DbHost = None,
    port: DbPort = None,
    name: DbName = None,
    user: DbUser = None,
    sslmode: Ssl = None,
    timeout: Timeout = None,
    fmt: Annotated[Format, typer.Option("--format", help="How to print the result.")] = Format.TEXT,
    as_json: Json = False,
) -> None:
    """Export TeslaMate's Tesla API token into TWCManager, which then never has to refresh one.

    Made for cron: a line per change, silence otherwise. The refresh token stays with TeslaMate.

    Example: tmsync sync-tokens --dry-run
    """
    options: Globals = ctx.obj
    flags = database_flags(host=host, port=port, name=name, user=user, ssl=sslmode, timeout=timeout)
    flags |= {**twc_flags(twc_config, twc_settings, twc_url), "twcmanager.deliver": via.value if via else None}
    clock = SystemClock()
    try:
        settings = options.settings(flags)
    except ConfigError as error:
        report = Report(error=error)
    else:
        asked = SyncOptions(Via(settings.get("twcmanager.deliver")), dry_run=dry_run, check=check, force=force)
        report = sync(settings, asked, clock=clock, environ=os.environ)
    _show(report, options, clock, as_json=as_json or fmt is Format.JSON)
    raise typer.Exit(report.exit_code)


def _show(report: Report, options: Globals, clock: SystemClock, *, as_json: bool) -> None:
    if as_json:
        from tmsync.render.document import document

        output.result(document("sync-tokens", report.as_json(clock.now())))
    else:
        from tmsync.render.sync_tokens import line

        text = line(report, clock.now())
        wanted = report.result is not Result.UNCHANGED or options.verbose or sys.stdout.isatty()
        if text and wanted and not options.quiet:
            output.sentence(text)
    for warning in report.warnings:
        if options.verbose or not (warning.cause in STANDING or as_json):
            output.problem(warning, "warning")
    if report.error is not None:
        output.problem(report.error.problem)
