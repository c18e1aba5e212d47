"""`tmsync status`."""

import os
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
    MqttHost,
    MqttPort,
    MqttTls,
    MqttUser,
    Namespace,
    Ssl,
    Timeout,
    TwcConfigFile,
    TwcSettingsFile,
    TwcUrl,
    database_flags,
    mqtt_flags,
    twc_flags,
)
from tmsync.core.clock import SystemClock
from tmsync.core.errors import ConfigError
from tmsync.core.status.report import Status

DEFAULT_WAIT_S = 3.0


class Format(StrEnum):
    """How the result is printed."""

    TABLE = "table"
    JSON = "json"
    NAGIOS = "nagios"
    PROMETHEUS = "prometheus"


def status(
    ctx: typer.Context,
    wait: Annotated[
        float,
        typer.Option("--wait", metavar="S", min=0, max=3600, help="Seconds to wait for values and heartbeats."),
    ] = DEFAULT_WAIT_S,
    mqtt_host: MqttHost = None,
    mqtt_port: MqttPort = None,
    mqtt_user: MqttUser = None,
    mqtt_tls: MqttTls = None,
    namespace: Namespace = None,
    twc_config: TwcConfigFile = None,
    twc_settings: TwcSettingsFile = None,
    twc_url: TwcUrl = None,
    host: DbHost = None,
    port: DbPort = None,
    name: DbName = None,
    user: DbUser = None,
    sslmode: Ssl = None,
    timeout: Timeout = None,
    fmt: Annotated[Format, typer.Option("--format", help="How to print the result.")] = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Look at everything once: database, token, TWCManager, broker, vehicles, and what is wrong.

    Example: tmsync status

    Example: tmsync status --format prometheus
    """
    from tmsync.core.status.look import look

    options: Globals = ctx.obj
    flags = database_flags(host=host, port=port, name=name, user=user, ssl=sslmode, timeout=timeout)
    flags |= mqtt_flags(host=mqtt_host, port=mqtt_port, user=mqtt_user, tls=mqtt_tls, namespace=namespace)
    flags |= twc_flags(twc_config, twc_settings, twc_url)
    fmt = Format.JSON if as_json else fmt
    try:
        found = look(options.settings(flags), wait_s=wait, clock=SystemClock(), environ=os.environ)
    except ConfigError as error:
        if fmt is not Format.NAGIOS:
            raise
        from tmsync.render.monitoring import nagios_unknown

        text, code = nagios_unknown(error.problem)
        output.result(text)
        raise typer.Exit(code) from None
    raise typer.Exit(_show(found, fmt, quiet=options.quiet))


def _show(found: Status, fmt: Format, *, quiet: bool) -> int:
    """Print the result; the exit code."""
    if fmt is Format.JSON:
        from tmsync.render.document import document

        output.result(document("status", found.as_json()))
        return found.exit_code
    if fmt is Format.TABLE:
        from tmsync.render.console import console
        from tmsync.render.status import render

        output.result(render(found, console(), quiet=quiet))
        return found.exit_code
    from tmsync.render.monitoring import nagios, prometheus

    if fmt is Format.PROMETHEUS:
        output.result(prometheus(found))
        return found.exit_code
    text, code = nagios(found)
    output.result(text)
    return code
