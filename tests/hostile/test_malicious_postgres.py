"""A server that pretends to be PostgreSQL and sends anything: told in time, in one document, without a traceback."""

import json
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hostile.effort import NASTY, examples, is_clean
from tests.support.listeners import listener, loses_odd_words, silence
from tests.support.surroundings import Run, tmsync
from tmsync.core.postgres.wire import SSL_REQUEST, AuthRequest, Closed, ProtocolError, Wire

HOSTILE = (ProtocolError, Closed, OSError)
"""All that a conversation may end with; TimeoutError is an OSError."""


def message(kind: bytes, body: bytes, announced: int | None = None) -> bytes:
    return kind + struct.pack("!i", len(body) + 4 if announced is None else announced) + body


def demand(code: int, data: bytes = b"") -> bytes:
    return message(b"R", struct.pack("!i", code) + data)


READY = message(b"Z", b"I")
GREETING = (
    demand(0)
    + b"".join(message(b"S", one) for one in (b"client_encoding\0UTF8\0", b"server_version\x0017.0\0"))
    + message(b"S", b"standard_conforming_strings\0on\0")
    + message(b"K", b"\0\0\0\1\0\0\0\1")
)

KINDS = st.one_of(st.sampled_from([b"R", b"E", b"N", b"S", b"K", b"Z", b"v"]), st.binary(min_size=1, max_size=1))
FIELDS = st.lists(st.tuples(st.sampled_from("SVCMDHRLF\xff"), NASTY), max_size=8).map(
    lambda fields: b"".join(f"{key}{text}\0".encode("utf-8", "surrogatepass") for key, text in fields) + b"\0"
)
MESSAGES = st.one_of(
    st.builds(message, KINDS, st.binary(max_size=60)),
    st.builds(message, KINDS, st.binary(max_size=60), st.integers(-(2**31), 2**31 - 1)),
    st.builds(message, st.sampled_from([b"E", b"N"]), FIELDS),
    st.builds(demand, st.integers(-1, 13), st.binary(max_size=40)),
    st.binary(max_size=40),
    st.just(READY),
)
STREAMS = st.tuples(st.sampled_from([b"", b"S", b"N", b"E"]), st.lists(MESSAGES, max_size=8).map(b"".join)).map(
    b"".join
)


def wire_on(data: bytes) -> tuple[Wire, socket.socket]:
    """A wire whose other end has said all this and hung up."""
    ours, theirs = socket.socketpair()
    theirs.sendall(data)
    theirs.shutdown(socket.SHUT_WR)
    return Wire(ours, time.monotonic() + 10, time.monotonic), theirs


@examples(250)
@given(STREAMS, st.booleans())
def test_no_stream_does_more_than_end_the_conversation(stream: bytes, asks: bool) -> None:
    wire, theirs = wire_on(stream)
    with theirs, wire.sock:
        try:
            first: object = wire.ask_tls() if asks else False
            if isinstance(first, bool):
                answer = wire.start("teslamate", "teslamate")
                if isinstance(answer, AuthRequest):
                    wire.until_ready()
        except HOSTILE:
            pass


# -- whole commands on real sockets


def speaks(*parts: bytes | Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    """Decline TLS, then say all this to the StartupMessage, and wait."""

    def answer(sock: socket.socket) -> None:
        hello = sock.recv(8)
        if hello == SSL_REQUEST:
            sock.sendall(b"N")
        sock.recv(4096)
        for part in parts:
            if callable(part):
                part(sock)
            else:
                sock.sendall(part)
        silence(sock)

    return answer


def endless(data: bytes) -> Callable[[socket.socket], None]:
    def answer(sock: socket.socket) -> None:
        while True:
            sock.sendall(data)

    return answer


def drip(data: bytes) -> Callable[[socket.socket], None]:
    def answer(sock: socket.socket) -> None:
        for byte in data:
            sock.sendall(bytes([byte]))
            time.sleep(0.05)

    return answer


def tls_offered_and_then(data: bytes) -> Callable[[socket.socket], None]:
    def answer(sock: socket.socket) -> None:
        sock.recv(8)
        sock.sendall(b"S")
        sock.recv(4096)
        endless(data)(sock)

    return answer


def then(answer: bytes) -> Callable[[socket.socket], None]:
    """Wait for the client's next message, and answer it."""

    def speak(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(answer)

    return speak


NO_UTF8 = message(b"E", b"SFATAL\0VFATAL\0C28P01\0Rauth_failed\0L334\0Mf\xfcr \xff\xfe niemand\0\0")
ERROR = message(b"E", b"SFATAL\0VFATAL\0C28P01\0Rauth_failed\0M\x1b[31m\x9b2J\r\nspoofed: pass\xe2\x80\xae\0\0")
SERVERS: dict[str, tuple[Callable[[socket.socket], None], set[str]]] = {
    "endless-notices": (speaks(endless(message(b"N", b"SNOTICE\0\0"))), {"no-answer"}),
    "dripping-error": (speaks(drip(message(b"E", b"C28000\0" + b"M" * 20_000 + b"\0\0"))), {"no-answer"}),
    "huge-length": (speaks(message(b"R", b"", 2**31 - 1)), {"not-postgresql"}),
    "negative-length": (speaks(message(b"E", b"", -1)), {"not-postgresql"}),
    "unknown-method": (speaks(demand(77)), {"no-password-method"}),
    "never-ready": (speaks(GREETING, endless(message(b"S", b"a\0b\0"))), {"server-error"}),
    "stalls-behind-the-login": (speaks(GREETING, message(b"S", b"DateStyle\0SQL, DMY\0"), READY), {"no-answer"}),
    "stalls-at-the-first-query": (speaks(GREETING, message(b"S", b"DateStyle\0ISO, DMY\0"), READY), {"server-error"}),
    "scram-for-ever": (
        speaks(demand(10, b"SCRAM-SHA-256\0\0"), endless(demand(11, b"r=x,s=AAAA,i=9"))),
        {"login-failed"},
    ),
    "no-utf-8-at-once": (speaks(NO_UTF8), {"no-password-method"}),
    "no-utf-8-for-a-password": (speaks(demand(5, b"salt"), then(NO_UTF8)), {"bad-credentials"}),
    "no-utf-8-for-a-cleartext-password": (speaks(demand(3), then(NO_UTF8)), {"bad-credentials"}),
    "no-utf-8-behind-the-login": (speaks(GREETING + NO_UTF8), {"bad-credentials", "login-failed"}),
    "no-utf-8-for-a-query": (
        speaks(GREETING, message(b"S", b"DateStyle\0ISO, DMY\0"), READY, then(NO_UTF8)),
        {"server-error"},
    ),
    "no-utf-8-in-a-parameter": (
        speaks(GREETING, message(b"S", b"server_version\0\xff\xfe\0DateStyle\0ISO\0"), READY),
        {"no-answer", "login-failed", "server-error"},
    ),
    "error-full-of-escapes": (speaks(ERROR), {"no-password-method"}),
    "tls-garbage": (
        tls_offered_and_then(b"\x16\x03\x01\xff\xff" + b"\xff" * 1000),
        {"tls-failed", "no-answer", "not-postgresql"},
    ),
}  # fmt: skip


def check_db(port: int, *arguments: str) -> Run:
    environ = {
        "TMSYNC_DATABASE_HOST": "127.0.0.1",
        "TMSYNC_DATABASE_PORT": str(port),
        "TMSYNC_DATABASE_PASSWORD": "pass-SECRET-word",
        "TMSYNC_DATABASE_CONNECT_TIMEOUT": "0.5",
        "TMSYNC_TESLAMATE_ENCRYPTION_KEY": "key-SECRET",
    }
    return tmsync("check-db", *arguments, environ=environ)


@pytest.mark.parametrize(("server", "causes"), SERVERS.values(), ids=SERVERS)
def test_whole_check_ends_in_time_with_one_document(server: Callable[[socket.socket], None], causes: set[str]) -> None:
    with listener(server) as port:
        run = check_db(port, "--json")
        told: dict[str, Any] = json.loads(run.out)
        assert run.code == 1
        assert run.failed is not None
        # Without the server's words nothing tells that the password is what it refuses.
        assert run.failed["cause"] in causes | ({"login-failed"} if loses_odd_words() else set())
        assert told["ok"] is False
        assert "Traceback" not in run.err
        assert "SECRET" not in run.out + run.err


def test_what_the_server_says_cannot_draw_on_the_screen() -> None:
    with listener(SERVERS["error-full-of-escapes"][0]) as port:
        run = check_db(port)
    assert run.code == 1
    assert is_clean(run.out)
    assert is_clean(run.err)
