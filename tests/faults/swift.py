"""tmsync in worker processes that have everything imported: hundreds of runs in the time that a few would take."""

import contextlib
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from tests.support.surroundings import Run

WORKERS = 16
"""Most of the time they wait for a server that says nothing."""
MOST_S = 60
"""No run may take so long."""
PRELOADED = ["tmsync.cli", "tmsync.commands.check_db", "tmsync.commands.sync_tokens", "tmsync.commands.watching"]


@dataclass
class Timed(Run):
    """A run and how long it took, in seconds."""

    seconds: float


@contextlib.contextmanager
def workers() -> Iterator[Callable[[Sequence[str], Mapping[str, str]], Timed]]:
    """A function that runs tmsync; may be called from several threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, "psycopg2", "paho.mqtt.client"])
    pool = ProcessPoolExecutor(WORKERS, mp_context=context)

    def swiftly(arguments: Sequence[str], environ: Mapping[str, str]) -> Timed:
        return pool.submit(_run, list(arguments), dict(environ)).result(MOST_S)

    try:
        yield swiftly
    finally:
        # A run that hangs is a finding, and must not hold up the suite for ever as well.
        for process in list((pool._processes or {}).values()):
            process.kill()
        pool.shutdown(wait=True, cancel_futures=True)


def _run(arguments: list[str], environ: dict[str, str]) -> Timed:
    from tmsync.cli import run

    os.environ.clear()
    os.environ.update({"HOME": "/nonexistent", "PATH": "/usr/bin:/bin", **environ})
    begun = time.monotonic()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(arguments)
        seconds = time.monotonic() - begun
        for stream in (out, err):
            stream.seek(0)
        return Timed(code, out.read(), err.read(), seconds)
