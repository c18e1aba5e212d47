"""`tmsync watch-mqtt`."""

import shlex
import sys
from typing import Annotated

import typer

from tmsync.commands import output
from tmsync.commands.options import Call, Format, takes
from tmsync.commands.values import number
from tmsync.core.errors import ExitCode

DEFAULT_INTERVAL_S = 1.0


@takes(
    "mqtt",
    "database",
    "twcmanager.config_file",
    formats=(Format.TABLE, Format.JSON, Format.LOG),
    ends_with=ExitCode.GOOD,
)
def watch_mqtt(
    call: Call,
    car: Annotated[
        list[int] | None,
        typer.Option("--car", metavar="ID", callback=number(int, 0), help="Only this car; may be repeated."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print what the broker holds now, and end.")] = False,
    duration: Annotated[
        float | None,
        typer.Option("--duration", metavar="S", callback=number(float, 0), help="End after so many seconds."),
    ] = None,
    interval: Annotated[
        float,
        typer.Option(
            "--interval",
            metavar="S",
            callback=number(float, 0.1),
            show_default=False,
            help=f"Seconds between two lines of a car (default {DEFAULT_INTERVAL_S:g}).",
        ),
    ] = DEFAULT_INTERVAL_S,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for a broker that cannot be reached yet.")] = False,
    with_db: Annotated[
        bool, typer.Option("--with-db", help="Ask TeslaMate's database where silence proves nothing.")
    ] = False,
    command: Annotated[
        str | None,
        typer.Option("--exec", metavar="CMD", help="Run CMD on every change of source, with the event as JSON."),
    ] = None,
) -> None:
    """Show each vehicle's telemetry as it comes, and whether to trust TeslaMate or to ask the Tesla API.

    Ends with Ctrl-C.

    Example: tmsync watch-mqtt --mqtt-host 192.168.1.5

    Example: tmsync watch-mqtt --once --json
    """
    from tmsync.commands.watching import Options, Watcher

    settings = call.settings()
    wanted = Options(
        form=_form(call.form, once=once),
        cars=tuple(car or ()),
        once=once,
        duration=duration,
        interval=interval,
        wait=wait,
        with_db=with_db,
        command=_words(command),
    )
    watcher = Watcher(settings, wanted, output.warning)
    for warning in watcher.warnings:
        output.warning(warning)
    try:
        code = watcher.run()
    except KeyboardInterrupt:
        code = ExitCode.GOOD
    raise typer.Exit(code)


def _form(fmt: Format | None, *, once: bool) -> Format:
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
