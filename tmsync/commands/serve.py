"""`tmsync serve`."""

import os
from collections.abc import Callable
from typing import Annotated

import typer

from tmsync import signals
from tmsync.commands import output
from tmsync.commands.options import Call, Format, takes
from tmsync.core.causes import Cause
from tmsync.core.clock import SystemClock
from tmsync.core.errors import ConfigError, ExitCode
from tmsync.core.serve.board import Event, ServiceChange


@takes(
    "serve",
    "mqtt",
    "twcmanager.config_file",
    "twcmanager.settings_file",
    "twcmanager.url",
    "database",
    formats=(Format.LOG, Format.JSON),
    usual=Format.LOG,
    ends_with=ExitCode.GOOD,
    reloads=True,
)
def serve(
    call: Call,
    renew: Annotated[
        bool,
        typer.Option(
            "--renew-local-token", help="Give TWCManager another local token, accept no earlier one any more, and end."
        ),
    ] = False,
    take_back: Annotated[
        bool, typer.Option("--unpublish", help="Clear all that was published by MQTT and is retained there, and end.")
    ] = False,
) -> None:
    """Serve Tesla's API to TWCManager from TeslaMate, deliver tokens, publish verdicts: the link as a service.

    Ends with Ctrl-C or SIGTERM, reads its settings again on SIGHUP. Made for systemd and for Docker.

    Example: tmsync serve --listen 127.0.0.1:8089
    """
    if renew:
        raise typer.Exit(_renew(call))
    if take_back:
        _unpublish(call)
        return
    from tmsync.core.serve.service import Service
    from tmsync.render.monitoring import openmetrics

    service = Service(
        call.settings,
        _undaunted(_teller(call)),
        openmetrics,
        clock=SystemClock(),
        environ=os.environ,
        process=os.getpid(),
    )
    signals.on_hangup(service.ask_reload)
    for warning in call.settings().warnings:
        output.warning(warning)
    service.run()


def _teller(call: Call) -> Callable[[Event], None]:
    from tmsync.render.watch import json_line, log_line

    def tell(event: Event) -> None:
        if call.form is Format.JSON:
            text = json_line(event.kind, event.fields)
        elif call.quiet and event.kind not in ("problem", "source"):
            return
        else:
            text = log_line(event.at, event.message)
        output.result(text)

    return tell


def _undaunted(tell: Callable[[Event], None]) -> Callable[[Event], None]:
    """`tell`, for a service that its callers need more than its log."""

    def go_on(event: Event) -> None:
        try:
            tell(event)
        except output.Unwritable as full:
            # Standard output leads nowhere from now on: this is said once.
            output.warning(full.problem)

    return go_on


def _unpublish(call: Call) -> None:
    from tmsync.core.publish.unpublish import unpublish

    clock = SystemClock()
    done = unpublish(call.settings(), clock)
    now = clock.now()
    _teller(call)(Event(now, "serve", done.message, ServiceChange.as_json(now, "unpublished", done.message)))
    if done.warning is not None:
        output.warning(done.warning)


def _renew(call: Call) -> int:
    from tmsync.commands.sync_tokens import show
    from tmsync.core.outage import News
    from tmsync.core.sync import sync
    from tmsync.core.twcmanager.plan import SyncOptions, Via

    settings = call.settings()
    if not settings.twcmanager().local_token:
        from tmsync.core.fixes import problem

        message = 'there is no local token to renew: twcmanager.token is "tesla"'
        raise ConfigError(problem(Cause.BAD_VALUE, message, variant="no-local-token"))
    options = SyncOptions(Via(settings.get("twcmanager.deliver")))
    clock = SystemClock()
    report = sync(settings, options, clock=clock, environ=os.environ, renew=True)
    show(report, call, clock, News())
    return report.exit_code
