"""`tmsync demo`."""

import signal
from types import FrameType

import typer

from tmsync.commands import output
from tmsync.system import SystemClock


def demo() -> None:
    """Run everything on private servers: a TeslaMate database, a TWCManager folder. Takes seconds, leaves no trace.

    Example: tmsync demo
    """
    from tmsync.demo.story import Story

    stop = _Stop()
    # Either way of ending it stops the servers and removes the folder on the way out.
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)
    code = Story(stop.tell, SystemClock().now()).run()
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
        output.result(f"{text}\n")
