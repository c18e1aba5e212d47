"""Hostile callers on raw sockets: nothing goes up that should not, nothing secret comes out, and memory is bounded."""

import gzip
import http.client
import json
import logging
import resource
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.serve.stage import BEARER, COMMAND, DATA, STATE, Stage, staged
from tmsync.core.serve import connection, facade
from tmsync.core.serve.ports import Page, Standing

HOST = "Host: 127.0.0.1\r\n"
BEARS = f"Authorization: Bearer {BEARER}\r\n"
STOP = COMMAND + "charge_stop"
CHUNKED = "Transfer-Encoding: chunked\r\n"
LONG = "Content-Length: 99999\r\n"
BOMB = gzip.compress(b"0" * (32 << 20))


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(connection, "IDLE_S", 3.0)
    monkeypatch.setattr(connection, "LINGER_S", 0.2)
    monkeypatch.setattr(facade, "BODY_S", 0.3)
    with staged() as found:
        yield found


def send(stage: Stage, data: bytes | str, wait_s: float = 5) -> bytes:
    """All that comes back until the other side hangs up, or says no more."""
    with socket.create_connection(("127.0.0.1", stage.port), timeout=wait_s) as sock:
        found = b""
        try:
            sock.sendall(data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data)
            while block := sock.recv(65536):
                found += block
        except OSError:
            pass
        return found


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ")[1]) if answer.startswith(b"HTTP/1.") else 0


def is_whole(answer: bytes) -> bool:
    """Whether it has all that every answer has, whatever it was asked."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ") for line in lines)
    words = json.loads(body)
    assert first.startswith("HTTP/1.1 ")
    assert headers["X-Tmsync-Age"].isdecimal()
    assert headers["Content-Type"].startswith("application/json")
    assert (words.keys(), words["response"], words["error"]) == (
        {"response", "error", "error_description"}, None, f"tmsync: {words['error_description']}",
    )  # fmt: skip
    return (headers["X-Tmsync-Source"], headers["Connection"]) == ("tmsync", "close")


def request(line: str, headers: str = HOST + BEARS, body: str = "") -> str:
    return f"{line} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n{body}"


NONSENSE: dict[str, tuple[bytes | str, set[int]]] = {
    "connect": (request("CONNECT owner-api.teslamotors.com:443"), {400, 404}),
    "absolute": (request(f"GET http://owner-api.teslamotors.com{STATE}"), {404}),
    "absolute to us": (request(f"GET http://127.0.0.1{STATE}"), {404}),
    "options *": (request("OPTIONS *"), {400, 404}),
    "dots": (request("GET /api/1/vehicles/../users/me"), {404}),
    "backslash": (request("GET /api/1\\vehicles"), {400, 404}),
    "not ASCII": (request("GET /api/1/vehicles/\udcff\udce4"), {400, 404}),
    "NUL": (request("GET /api/1/vehicles\0"), {400, 404}),
    "bare line feeds": (request(f"GET {STATE}").replace("\r\n", "\n"), {200, 400, 403, 404}),
    "another method": (request(f"DELETE {STATE}"), {404}),
    "invented method": (request(f"STOP {STATE}"), {400, 404}),
    "HTTP/0.9": (f"GET {STATE}\r\n\r\n", {0, 400, 403}),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {0, 400, 403, 404}),
    "HTTP/3.7": (f"GET {STATE} HTTP/3.7\r\n{HOST}{BEARS}\r\n", {0, 400, 403, 404, 505}),
    "TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(512), {0, 400}),
    "two hosts": (request(f"GET {STATE}", HOST * 2 + BEARS), {400, 403}),
    "no host": (request(f"GET {STATE}", BEARS), {400, 403}),
    "host with a login": (request(f"GET {STATE}", "Host: 127.0.0.1@evil.example\r\n" + BEARS), {400, 403}),
    "foreign host": (request(f"GET {STATE}", "Host: evil.example\r\n" + BEARS), {403}),
    "two bearers": (request(f"GET {STATE}", HOST + BEARS * 2), {400, 401}),
    "no bearer": (request(f"GET {STATE}", HOST), {401}),
    "folded bearer": (request(f"GET {STATE}", f"{HOST}Authorization: Bearer\r\n {BEARER}\r\n"), {400, 401}),
    "bearer with NUL": (request(f"GET {STATE}", f"{HOST}Authorization: Bearer {BEARER}\0\r\n"), {400, 401}),
    "header without a name": (request(f"GET {STATE}", f"{HOST}: Bearer {BEARER}\r\n"), {400}),
    "header with a blank": (request(f"GET {STATE}", f"{HOST}Authorization : Bearer {BEARER}\r\n"), {400}),
    "long header": (request(f"GET {STATE}", f"{HOST}{BEARS}X: {BEARER * 2000}\r\n"), {400}),
    "many headers": (request(f"GET {STATE}", HOST + BEARS + "".join(f"X{n}: {BEARER}\r\n" for n in range(500))), {400}),
    "long target": (request(f"GET {STATE}{'a' * 40000}"), {400}),
    "two lengths": (request(f"POST {STOP}", HOST + BEARS + "Content-Length: 2\r\nContent-Length: 3\r\n", "{}"), {400}),
    "length and chunks": (
        request(f"POST {STOP}", HOST + BEARS + "Content-Length: 3\r\n" + CHUNKED, "0\r\n\r\n"), {400},
    ),
    "negative length": (request(f"POST {STOP}", HOST + BEARS + "Content-Length: -1\r\n"), {400}),
    "no length at all": (request(f"POST {STOP}", HOST + BEARS + "Content-Length: many\r\n"), {400}),
    "unknown coding": (request(f"POST {STOP}", HOST + BEARS + "Transfer-Encoding: rot13\r\n", "{}"), {400}),
    "broken chunks": (request(f"POST {STOP}", HOST + BEARS + CHUNKED, "zz\r\n{}"), {0, 400, 413}),
    "half a body": (request(f"POST {STOP}", HOST + BEARS + "Content-Length: 100\r\n", "{}"), {408}),
    "long body": (request(f"POST {STOP}", HOST + BEARS + LONG, " " * 99999), {413}),
    "encoded body": (
        request(f"POST {STOP}", HOST + BEARS + f"Content-Encoding: gzip\r\nContent-Length: {len(BOMB)}\r\n").encode()
        + BOMB,
        {415},
    ),
    "websocket": (
        request(f"GET {STATE}/x", HOST + BEARS + "Upgrade: websocket\r\nSec-WebSocket-Key: eHh4eHh4eHh4eHh4eA==\r\n"),
        {404},
    ),
    "h2c": (request(f"GET {STATE}/x", HOST + BEARS + "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"), {404}),
}  # fmt: skip


@pytest.mark.parametrize("name", NONSENSE)
def test_what_is_no_request_goes_nowhere_and_is_quoted_nowhere(
    stage: Stage, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    caplog.set_level(logging.DEBUG)
    data, statuses = NONSENSE[name]
    answer = send(stage, data)
    assert status_of(answer) in statuses, answer[:200]
    assert not answer or is_whole(answer)
    assert [told.status for told in stage.requests] == ([status_of(answer)] if answer else []), "each is counted once"
    assert stage.api.calls == []
    for text in (answer.decode("latin1"), caplog.text, *capfd.readouterr(), repr(stage.requests)):
        assert BEARER not in text
        assert "Traceback" not in text
    assert stage.ask(STATE)[:2] == (200, "teslamate"), "others are served all the same"


@pytest.mark.parametrize(
    ("head", "rest", "statuses"),
    [
        (f"POST {STOP} HTTP/1.1\r\n{HOST}{BEARS}{CHUNKED}", "2\r\n{}zz\r\n\r\n", {400, 408}),
        (f"POST {STOP} HTTP/1.1\r\n{HOST}{BEARS}{LONG}", "{}", {408}),
        (f"POST {STOP} HTTP/1.1\r\n{HOST}{LONG}", "{}", {401}),
        (f"GET {STATE}/x HTTP/1.0\r\n{HOST}{BEARS}{LONG}Connection: keep-alive\r\n", "{}", {404}),
    ],
)
def test_after_a_request_whose_rest_was_not_read_the_connection_is_closed_and_that_is_said(
    stage: Stage, head: str, rest: str, statuses: set[int]
) -> None:
    with socket.create_connection(("127.0.0.1", stage.port), timeout=5) as sock:
        sock.sendall(f"{head}\r\n".encode())
        time.sleep(0.05)
        sock.sendall(rest.encode())
        answer = b"".join(iter(lambda: _received(sock), b""))
    assert status_of(answer) in statuses
    assert is_whole(answer)
    assert stage.api.calls == []


def test_nothing_secret_is_told_when_the_facade_itself_fails(
    stage: Stage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)

    def broken(bearer: str) -> Standing:
        raise ValueError(bearer)

    monkeypatch.setattr(stage, "check", broken)
    told = stage.ask(STATE)
    assert told[:2] == (500, "tmsync")
    assert [(told.path, told.status) for told in stage.requests] == [("other", 500)]
    assert BEARER not in caplog.text + str(told)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == [
        "unforeseen ValueError while answering"
    ]


def test_a_caller_that_dawdles_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IDLE_S", 1.0)
    monkeypatch.setattr(facade, "BODY_S", 0.5)
    head = request(f"POST {STOP}", HOST + BEARS + "Content-Length: 9000\r\n")
    with staged() as stage, ExitStack() as stack:
        silent, slow, body, between = (
            stack.enter_context(socket.create_connection(("127.0.0.1", stage.port), timeout=8)) for _ in range(4)
        )
        body.sendall(head.encode())
        between.sendall(f"GET {STATE} HTTP/1.1\r\n{HOST}{BEARS}\r\n".encode())
        began = time.monotonic()
        dripping = {slow: f"GET {STATE} HTTP/1.1\r\nX-Long: ".encode() + b"a" * 99, body: b" " * 99}
        for at in range(99):
            for sock, text in dripping.items():
                try:
                    sock.sendall(text[at : at + 1])
                except OSError:
                    continue
            time.sleep(0.03)
        answers = [b"".join(iter(lambda sock=sock: _received(sock), b"")) for sock in (silent, slow, body, between)]
        assert time.monotonic() - began < 6
        assert [status_of(answer) for answer in answers][:2] == [0, 0]
        assert status_of(answers[2]) == 408
        assert status_of(answers[3]) == 200
        assert stage.api.calls == []


def _received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65536)
    except ConnectionError:
        return b""


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def test_500_connections_that_say_half_a_request_cost_little_and_hinder_nobody(stage: Stage) -> None:
    stage.ask(STATE)
    before = resident_bytes()
    with ExitStack() as stack:
        half = f"GET {STATE} HTTP/1.1\r\n{HOST}X: {'a' * 12000}".encode()
        socks = [
            stack.enter_context(socket.create_connection(("127.0.0.1", stage.port), timeout=8)) for _ in range(500)
        ]
        for sock in socks:
            sock.sendall(half)
        assert stage.ask(STATE)[:2] == (200, "teslamate")
        assert stage.post("charge_stop")[:2] == (200, "tesla")
        place = "127.0.0.1", stage.port
        socks += [stack.enter_context(socket.create_connection(place, timeout=1)) for _ in range(100)]
        assert stage.ask(STATE)[:2] == (200, "tesla"), "the newest may always speak"
        assert [_received(sock) for sock in socks[:80]] == [b""] * 80, "those that said nothing for the longest"
        with pytest.raises(TimeoutError):
            _received(socks[-1])
        assert resident_bytes() - before < 40 << 20
    assert stage.ask(STATE)[:2] == (200, "tesla"), "commanded"


def test_a_flood_of_requests_in_one_connection_is_answered_in_order_and_within_bounds(stage: Stage) -> None:
    before = resident_bytes()
    one = f"GET {STATE} HTTP/1.1\r\n{HOST}{BEARS}\r\n".encode()
    with socket.create_connection(("127.0.0.1", stage.port), timeout=10) as sock:
        sock.settimeout(0.2)
        sent = 0
        try:
            for _ in range(40000):
                sock.sendall(one)
                sent += 1
        except TimeoutError:
            pass
        found = sock.recv(65536)
        assert found.startswith(b"HTTP/1.1 200 OK\r\n")
    assert resident_bytes() - before < 40 << 20
    assert stage.ask(STATE)[:2] == (200, "teslamate")


@pytest.mark.parametrize(
    ("version", "asked", "told", "stays"),
    [
        ("1.1", "", "", True), ("1.1", "Connection: keep-alive\r\n", "", True),
        ("1.1", "Connection: close\r\n", "close", False), ("1.0", "", "close", False),
        ("1.0", "Connection: keep-alive\r\n", "keep-alive", True),
    ],
)  # fmt: skip
def test_the_connection_is_kept_as_asked(stage: Stage, version: str, asked: str, told: str, stays: bool) -> None:
    with socket.create_connection(("127.0.0.1", stage.port), timeout=5) as sock:
        for turn in range(2):
            sock.sendall(f"GET {DATA} HTTP/{version}\r\n{HOST}{BEARS}{asked}\r\n".encode())
            answer = http.client.HTTPResponse(sock)
            answer.begin()
            answer.read()
            assert (answer.version, answer.status, (answer.getheader("Connection") or "").lower()) == (11, 200, told)
            if turn == 0 and not stays:
                assert sock.recv(1) == b""
                return


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200), ("127.0.0.1:8089", 200), ("LOCALHOST:1", 200), ("[::1]", 200), ("[::1]:8089", 200),
        ("127.0.0.1:8089@evil.example", 403), ("127.0.0.1:evil", 403), ("127.0.0.1:", 403), ("[::1]evil.example", 403),
        ("::1", 403), ("[127.0.0.1", 403), ("127.0.0.1/evil", 403), ("", 403),
    ],
)  # fmt: skip
def test_a_host_is_a_name_or_an_address_with_or_without_a_port(stage: Stage, host: str, status: int) -> None:
    assert status_of(send(stage, request(f"GET {STATE}", f"Host: {host}\r\n{BEARS}"))) == status


def test_a_page_of_tmsyncs_own_needs_no_bearer_but_the_right_name(stage: Stage) -> None:
    assert stage.ask("/healthz")[:4] == (200, "tmsync", b"known", 0)
    assert stage.ask("/healthz", Authorization="").document == b"anybody"
    assert stage.ask("/healthz", Host="evil.example").status == 403
    assert stage.ask("/metrics").status == 404


def test_a_page_that_takes_long_hinders_no_request_and_is_made_once_for_all_who_wait(stage: Stage) -> None:
    made, release = list[str](), threading.Event()

    def slow(path: str, *, known: bool) -> Page:
        made.append(path)
        release.wait(10)
        return Page(200, "text/plain", b"long" if known else b"short")

    stage.page = slow  # type: ignore[method-assign]
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(stage.ask, "/metrics") for _ in range(8)]
        while not made:
            time.sleep(0.01)
        assert stage.ask(STATE)[:2] == (200, "teslamate")
        release.set()
        assert {found.result().document for found in waiting} == {b"long"}
    assert len(made) < 8
