"""One HTTP request takes no longer than it may, whatever the other side does."""

import socket
import time
from collections.abc import Callable

import pytest

from tests.support.listeners import listener, says, silence
from tmsync.core.net.http import FAILURES, MAX_ANSWER_BYTES, request, why

TIMEOUT_S = 0.6
STEP_S = 0.1
"""Each step is far below the timeout."""
TLS_HANDSHAKE = b"\x16\x03\x03\x40\x00"
"""The head of a TLS record that announces 16 KiB."""


def drips(first: bytes, then: bytes) -> Callable[[socket.socket], None]:
    """Answer with `first` and then for ever with `then`, a little at a time."""

    def answer(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(first)
        while True:
            time.sleep(STEP_S)
            sock.sendall(then)

    return answer


@pytest.mark.parametrize(
    ("scheme", "answer"),
    [
        ("http", drips(b"HTTP/1.1 2", b"0")),
        ("http", drips(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n")),
        ("http", drips(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"a")),
        ("http", drips(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n")),
        ("http", drips(b"HTTP/1.0 200 OK\r\n\r\n", b"a")),
        ("http", drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n")),
        ("http", silence),
        ("https", drips(TLS_HANDSHAKE, b"\x02")),
        ("https", silence),
    ],
)
def test_answer_that_drips_is_given_up_when_the_time_is_over(
    scheme: str, answer: Callable[[socket.socket], None]
) -> None:
    with listener(answer) as port:
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            request(f"{scheme}://127.0.0.1:{port}", "GET", "/", TIMEOUT_S)
    # Dripping would go on for hours; a busy machine may take a few seconds more.
    assert time.monotonic() - begun < TIMEOUT_S + 5


def test_answer_without_a_length_is_read_to_its_end() -> None:
    def answer(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(b"HTTP/1.0 200 OK\r\n\r\nfirst ")
        time.sleep(STEP_S)
        sock.sendall(b"second")
        sock.shutdown(socket.SHUT_RDWR)

    with listener(answer) as port:
        assert request(f"http://127.0.0.1:{port}/below/", "GET", "/path", 5) == (200, b"first second")


def test_answer_is_read_up_to_its_limit_alone() -> None:
    with listener(says(b"HTTP/1.0 200 OK\r\n\r\n" + b"a" * (MAX_ANSWER_BYTES + 1000))) as port:
        status, body = request(f"http://127.0.0.1:{port}", "GET", "/", 5)
    assert (status, len(body)) == (200, MAX_ANSWER_BYTES)


def test_failure_that_is_no_timeout_keeps_its_kind() -> None:
    with listener(says(b"SSH-2.0-OpenSSH_9.2p1\r\n")) as port, pytest.raises(FAILURES) as found:
        request(f"http://127.0.0.1:{port}", "GET", "/", 5)
    assert type(found.value).__name__ == "BadStatusLine"


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [CHUNKED + b"-5\r\nabc", CHUNKED + b"zz\r\nabc", b"HTTP/1.1 2\r\n\r\n", b"\x80\xff\r\n\r\n"],
)
def test_a_broken_answer_is_never_blamed_on_the_address(answer: bytes) -> None:
    with listener(says(answer)) as port, pytest.raises(FAILURES) as found:
        request(f"http://127.0.0.1:{port}", "GET", "/", 5)
    assert why(found.value) == "what answers there is not a web server"
