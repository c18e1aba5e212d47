"""`tmsync demo`."""

from typing import Annotated

import typer

from tmsync import signals
from tmsync.commands import output
from tmsync.commands.options import Call, takes
from tmsync.commands.values import number
from tmsync.core.clock import SystemClock


@takes(ends_with=signals.INTERRUPTED)
def demo(
    _call: Call,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave it running afterwards, to try commands by hand, until Ctrl-C.")
    ] = False,
    duration: Annotated[
        float | None,
        typer.Option(
            "--duration",
            metavar="S",
            callback=number(float, 1, 86400),
            help="Seconds to watch the cars live (default 27); with --keep, seconds to leave it running.",
        ),
    ] = None,
) -> None:
    """Run everything on private servers, in less than a minute, and leave no trace.

    PostgreSQL, an MQTT broker, six simulated cars, a stand-in for TWCManager: nothing of yours is touched.

    Example: tmsync demo

    Example: tmsync demo --keep
    """
    from tmsync.demo.story import Story

    code = Story(_tell, SystemClock().now(), keep=keep, duration=duration).run()
    raise typer.Exit(code)


def _tell(text: str) -> None:
    signals.raise_if_asked()
    output.sentence(text)
