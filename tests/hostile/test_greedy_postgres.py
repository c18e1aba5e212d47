"""A server that sends without end: tmsync gives up early, and takes little memory for it."""

import socket
import struct
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.hostile.test_malicious_postgres import GREETING, READY, demand, endless, message, speaks
from tests.support.listeners import listener
from tests.support.surroundings import Run, TeslaMate, clean_environ

MOST_MB = 128
# The peak of getrusage begins at the parent's size: another program's, before this one was put in its place.
MEASURED = """
import sys
from pathlib import Path
from tmsync.cli import run
code = run(sys.argv[1:])
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print("peak", int(peak.split()[1]) >> 10, file=sys.stderr)
sys.exit(int(code))
"""
OPEN = (GREETING, message(b"S", b"DateStyle\0ISO, DMY\0"), READY)
COLUMNS = message(b"T", struct.pack("!h", 1) + b"a\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0))
ONE_GB = 1 << 30


def to_a_query(*parts: bytes | Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    def answer(sock: socket.socket) -> None:
        sock.recv(4096)
        for part in parts:
            if callable(part):
                part(sock)
            else:
                sock.sendall(part)

    return answer


def row(size: int) -> bytes:
    return message(b"D", struct.pack("!hi", 1, size) + b"x" * size)


MANY_COLUMNS = message(b"T", struct.pack("!h", 1600) + COLUMNS[7:] * 1600)
NULLS = message(b"D", struct.pack("!h", 1600) + struct.pack("!i", -1) * 1600)
ATTACKS = {
    "parameters": (*OPEN[:1], endless(b"".join(message(b"S", b"a%d\0b\0" % n) for n in range(9999)))),
    "notices": (demand(0), endless(message(b"N", b"SNOTICE\0M" + b"x" * 20_000 + b"\0\0") * 50)),
    "small-notices": (demand(0), endless(message(b"N", b"SNOTICE\0\0") * 10_000)),
    "notices-to-a-query": (*OPEN, to_a_query(endless(message(b"N", b"SNOTICE\0M" + b"x" * 20_000 + b"\0\0") * 50))),
    "small-notices-to-a-query": (*OPEN, to_a_query(endless(message(b"N", b"SNOTICE\0\0") * 10_000))),
    "rows": (*OPEN, to_a_query(COLUMNS, endless(row(10_000) * 100))),
    "small-rows": (*OPEN, to_a_query(COLUMNS, endless(row(0) * 10_000))),
    "one-row": (
        *OPEN,
        to_a_query(COLUMNS, b"D" + struct.pack("!ihi", ONE_GB - 100, 1, ONE_GB - 110), endless(b"z" * 1_000_000)),
    ),
    "one-parameter": (*OPEN[:1], message(b"S", b"", ONE_GB), endless(b"x" * 1_000_000)),
    "nulls": (*OPEN, to_a_query(MANY_COLUMNS, endless(NULLS * 100))),
    "copy": (*OPEN, to_a_query(message(b"H", b"\0\0\1\0\0"), endless(message(b"d", b"x" * 1000) * 100))),
    "results": (*OPEN, to_a_query(endless((COLUMNS + message(b"C", b"SELECT 0\0")) * 10_000))),
    "columns": (*OPEN, to_a_query(endless(COLUMNS * 10_000))),
}


def measured(port: int, **environ: str) -> tuple[Run, int]:
    """check-db, and its peak in MB."""
    values = {
        "TMSYNC_DATABASE_HOST": "127.0.0.1",
        "TMSYNC_DATABASE_PORT": str(port),
        "TMSYNC_DATABASE_PASSWORD": "pass-SECRET-word",
        "TMSYNC_TESLAMATE_ENCRYPTION_KEY": "key-SECRET",
        "TMSYNC_DATABASE_CONNECT_TIMEOUT": "3",
        **environ,
    }
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "check-db", "--json"],
        env=clean_environ(values), capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return Run(done.returncode, done.stdout, done.stderr), int(done.stderr.split()[-1])


@pytest.fixture(scope="module")
def usual_mb(server: TeslaMate) -> int:
    server.fresh()
    run, peak = measured(server.postgres.port, **server.environ())
    assert run.code == 0, run.out
    return peak


@pytest.mark.parametrize("attack", ATTACKS)
def test_endless_answers_take_little_memory(attack: str, usual_mb: int) -> None:
    with listener(speaks(*ATTACKS[attack])) as port:
        run, peak = measured(port)
    assert run.code == 1
    assert run.failed is not None
    assert run.failed["cause"] == "server-error", run.failed
    assert peak - usual_mb < MOST_MB
