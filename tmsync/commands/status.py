"""`tmsync status`."""

import os
from typing import Annotated

import typer

from tmsync.commands import output
from tmsync.commands.options import Call, Format, takes
from tmsync.commands.values import number
from tmsync.core.clock import SystemClock
from tmsync.core.errors import ConfigError
from tmsync.core.status.report import Status

DEFAULT_WAIT_S = 3.0


@takes(
    "mqtt",
    "twcmanager.config_file",
    "twcmanager.settings_file",
    "twcmanager.url",
    "database",
    formats=(Format.TABLE, Format.JSON, Format.NAGIOS, Format.PROMETHEUS),
    usual=Format.TABLE,
)
def status(
    call: Call,
    wait: Annotated[
        float,
        typer.Option(
            "--wait",
            metavar="S",
            callback=number(float, 0, 3600),
            show_default=False,
            help=f"Seconds to wait for values and heartbeats (default {DEFAULT_WAIT_S:g}).",
        ),
    ] = DEFAULT_WAIT_S,
) -> None:
    """Look at everything once: database, token, TWCManager, broker, vehicles, and what is wrong.

    Example: tmsync status

    Example: tmsync status --format prometheus
    """
    from tmsync.core.status.look import look

    try:
        found = look(call.settings(), wait_s=wait, clock=SystemClock(), environ=os.environ)
    except ConfigError as error:
        if call.form is not Format.NAGIOS:
            raise
        from tmsync.render.monitoring import nagios_unknown

        text, code = nagios_unknown(error.problem)
        output.result(text)
        raise typer.Exit(code) from None
    raise typer.Exit(_show(found, call))


def _show(found: Status, call: Call) -> int:
    """Print the result; the exit code."""
    if call.form is Format.JSON:
        from tmsync.render.document import document

        output.result(document("status", found.as_json()))
        return found.exit_code
    if call.form is Format.TABLE:
        from tmsync.render.console import console
        from tmsync.render.status import render

        output.result(render(found, console(), quiet=call.quiet))
        return found.exit_code
    from tmsync.render.monitoring import nagios, prometheus

    if call.form is Format.PROMETHEUS:
        output.result(prometheus(found))
        return found.exit_code
    text, code = nagios(found)
    output.result(text)
    return code
