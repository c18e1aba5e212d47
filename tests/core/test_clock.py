"""The machine's clocks as tmsync reads them."""

import os
import subprocess
import sys

import pytest

from tmsync.core.clock import SystemClock

SLEPT_S = 100_000


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a time namespace")
def test_time_that_the_machine_slept_counts() -> None:
    """A suspend moves CLOCK_BOOTTIME past CLOCK_MONOTONIC; so does a time namespace (time_namespaces(7))."""
    code = "from tmsync.core.clock import SystemClock; print(SystemClock().monotonic())"
    shifted = ["unshare", "--time", "--boottime", str(SLEPT_S), sys.executable, "-c", code]
    before = SystemClock().monotonic()
    told = float(subprocess.run(shifted, capture_output=True, text=True, check=True).stdout)
    assert before + SLEPT_S <= told <= SystemClock().monotonic() + SLEPT_S
