"""`tmsync watch-mqtt`."""

import shlex
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
    MqttHost,
    MqttPort,
    MqttTls,
    MqttUser,
    Namespace,
    Ssl,
    Timeout,
    TwcConfigFile,
    database_flags,
    mqtt_flags,
)
from tmsync.core.errors import ExitCode, Problem

DEFAULT_INTERVAL_S = 1.0


class Format(StrEnum):
    """How the result is printed."""

    TABLE = "table"
    JSON = "json"
    LOG = "log"


def watch_mqtt(
    ctx: typer.Context,
    car: Annotated[
        list[int] | None, typer.Option("--car", metavar="ID", min=0, help="Only this car; may be repeated.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print what the broker holds now, and end.")] = False,
    duration: Annotated[
        float | None, typer.Option("--duration", metavar="S", min=0, help="End after so many seconds.")
    ] = None,
    interval: Annotated[
        float, typer.Option("--interval", metavar="S", min=0.1, help="Seconds between two lines of a car.")
    ] = DEFAULT_INTERVAL_S,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for a broker that cannot be reached yet.")] = False,
    with_db: Annotated[
        bool, typer.Option("--with-db", help="Ask TeslaMate's database where silence proves nothing.")
    ] = False,
    command: Annotated[
        str | None,
        typer.Option("--exec", metavar="CMD", help="Run CMD on every change of source, with the event as JSON."),
    ] = None,
    mqtt_host: MqttHost = None,
    mqtt_port: MqttPort = None,
    mqtt_user: MqttUser = None,
    mqtt_tls: MqttTls = None,
    namespace: Namespace = None,
    twc_config: TwcConfigFile = None,
    host: DbHost = None,
    port: DbPort = None,
    name: DbName = None,
    user: DbUser = None,
    sslmode: Ssl = None,
    timeout: Timeout = None,
    fmt: Annotated[
        Format | None, typer.Option("--format", help="How to print (default table; log where there is no terminal).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show each vehicle's telemetry as it comes, and whether to trust TeslaMate or to ask the Tesla API.

    Ends with Ctrl-C.

    Example: tmsync watch-mqtt --mqtt-host 192.168.1.5

    Example: tmsync watch-mqtt --once --json
    """
    from tmsync.commands.watching import Options, Watcher

    options: Globals = ctx.obj
    flags = database_flags(host=host, port=port, name=name, user=user, ssl=sslmode, timeout=timeout)
    flags |= mqtt_flags(host=mqtt_host, port=mqtt_port, user=mqtt_user, tls=mqtt_tls, namespace=namespace)
    settings = options.settings({**flags, "twcmanager.config_file": twc_config})
    wanted = Options(
        form=_form(fmt, as_json=as_json, once=once),
        cars=tuple(car or ()),
        once=once,
        duration=duration,
        interval=interval,
        wait=wait,
        with_db=with_db,
        command=_words(command),
    )
    watcher = Watcher(settings, wanted, _warn)
    for warning in watcher.warnings:
        _warn(warning)
    try:
        code = watcher.run()
    except KeyboardInterrupt:
        code = ExitCode.GOOD
    raise typer.Exit(code)


def _form(fmt: Format | None, *, as_json: bool, once: bool) -> str:
    if as_json:
        return Format.JSON
    drawable = sys.stdout.isatty() and output.can_move_cursor()
    if fmt is None:
        fmt = Format.TABLE if drawable or once else Format.LOG
    # A table that is drawn again and again needs a screen to be drawn on.
    return Format.LOG if fmt is Format.TABLE and not (drawable or once) else fmt


def _words(command: str | None) -> tuple[str, ...]:
    if command is None:
        return ()
    try:
        words = tuple(shlex.split(command))
    except ValueError:
        words = ()
    if not words:
        raise typer.BadParameter("--exec takes a command, quoted as in a shell")
    return words


def _warn(found: Problem) -> None:
    output.problem(found, "warning")
