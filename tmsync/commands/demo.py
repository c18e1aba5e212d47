"""`tmsync demo`."""

import signal
from types import FrameType
from typing import Annotated

import typer

from tmsync.commands import output
from tmsync.core.clock import SystemClock


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave it running afterwards, to try commands by hand, until Ctrl-C.")
    ] = False,
    duration: Annotated[
        float | None,
        typer.Option(
            "--duration",
            metavar="S",
            min=1,
            max=86400,
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

    stop = _Stop()
    # Either way of ending it stops the servers and removes the folder on the way out.
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)
    code = Story(stop.tell, SystemClock().now(), keep=keep, duration=duration).run()
    raise typer.Exit(code)


class _Stop:
    """Ends the story at once, or at its next sentence should the exception get lost in somebody's code."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, _signal: int, _frame: FrameType | None) -> None:
        self.asked = True
        raise KeyboardInterrupt

    def tell(self, text: str) -> None:
        if self.asked:
            raise KeyboardInterrupt
        output.sentence(text)
