"""Whole processes timed side by side: one run of each in turn, so that a busy machine slows all of them alike."""

import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Figure(NamedTuple):
    """Milliseconds over all rounds: median, least, and the spread between the quartiles."""

    median: float
    least: float
    spread: float


def side_by_side(commands: Mapping[str, Sequence[str]], environ: Mapping[str, str], rounds: int) -> dict[str, Figure]:
    """Run every command `rounds` times, interleaved.

    Raises: RuntimeError when a command fails: a figure of something that did not work is none.
    """
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            begun = time.perf_counter()
            done = subprocess.run(command, check=False, env=environ, capture_output=True, text=True)
            elapsed = (time.perf_counter() - begun) * 1000
            if done.returncode:
                raise RuntimeError(f"{name} ended with {done.returncode}: {done.stdout} {done.stderr}")
            if number:  # the first round only warms the caches
                taken[name].append(elapsed)
    return {name: _figure(times) for name, times in taken.items()}


def _figure(times: list[float]) -> Figure:
    quartiles = statistics.quantiles(times, n=4)
    return Figure(statistics.median(times), min(times), quartiles[2] - quartiles[0])
