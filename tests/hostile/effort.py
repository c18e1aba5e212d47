"""How hard the tests of hostile input try, and what they have in common.

`make fuzz SECONDS=600` runs them again and again, each with other inputs: `python -m tests.hostile.effort SECONDS`.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EFFORT: Final = int(os.environ.get("TMSYNC_TEST_EFFORT", "1"))
NOW: Final = datetime(2026, 11, 24, 18, 0, tzinfo=UTC)
_PIECES: Final = (
    "\x1b[31m", "\x1b]0;title\x07", "\x9b2J", "\x00", "\x07", "\x08", "\r", "\n", "\t", "\x7f", "\u2028", "\u0085",
    "[red]",
    "[/]", "[link=x]", ":car:", '"', "'", "\\", "\\n", "{", "}", "|", "||", "#", "%s", "`id`", "$(id)", "; rm",
    "<b>", "&",
    "\u202e", "\u2066", "\u200b", "\u200d", "\ufeff", "e\u0301", "\u0301" * 9, "\u8eca", "\uff21", "\U0001f697",
    "\u2764\ufe0f",
    "\ud800", "\udcff", "\ue000", "\U000e0001", " ", "", "Blue", "=", ",", "teslamate", "\U0001f1e9\U0001f1ea",
)  # fmt: skip
NASTY: Final = st.one_of(st.lists(st.sampled_from(_PIECES), max_size=12).map("".join), st.text(max_size=80))
"""Names that somebody may give a car, and worse: escape sequences, markup, line breaks, quotes, bidi controls, wide and
combining characters, lone surrogates."""


def examples(count: int) -> Callable[[Any], Any]:
    """Try so many inputs, times the effort asked for."""
    calm = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    return settings(max_examples=count * EFFORT, deadline=None, suppress_health_check=calm)


def is_clean(text: str) -> bool:
    """Whether it holds nothing that moves a cursor, changes a colour or hides: line breaks aside."""
    return all(line.isprintable() for line in text.split("\n"))


def main() -> int:
    """Rounds of four times the usual effort until the time is over; the first that fails ends it."""
    seconds = float(sys.argv[1])
    end = time.monotonic() + seconds
    environ = {**os.environ, "TMSYNC_TEST_EFFORT": "4"}
    done = 0
    while (left := end - time.monotonic()) > 0:
        seed = int.from_bytes(os.urandom(4), "big")
        command = [sys.executable, "-m", "pytest", "-qx", str(Path(__file__).parent), f"--hypothesis-seed={seed}"]
        with subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as round_:
            try:
                said, _ = round_.communicate(timeout=left)
            except subprocess.TimeoutExpired:
                round_.terminate()
                break
        if round_.returncode:
            print(said, f"fuzz: found something with --hypothesis-seed={seed}", sep="\n")
            return 1
        done += 1
        print(f"fuzz: round {done} found nothing, {max(end - time.monotonic(), 0):.0f} s left", flush=True)
    print(f"fuzz: nothing found in {seconds:g} s, {done} whole rounds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
