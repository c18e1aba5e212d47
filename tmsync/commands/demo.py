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

    # SIGTERM ends the demo like Ctrl-C does: the servers are stopped and the folder is removed on the way out.
    signal.signal(signal.SIGTERM, _interrupt)
    code = Story(lambda text: output.result(f"{text}\n"), SystemClock().now()).run()
    raise typer.Exit(code)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
