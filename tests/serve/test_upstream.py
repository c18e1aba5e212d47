"""Tesla's API behind the facade, in every mood: what goes up, how often, what is passed on, and what is told."""

import gzip
import json
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.serve.stage import BEARER, CHARGING, DATA, FLEET_CLAIMS, LIST, STATE, Stage, serving, staged
from tests.support.certificates import Authority
from tests.support.listeners import listener
from tests.support.tesla import CAR, Answer, reply, reset
from tmsync.core.causes import Cause
from tmsync.core.files.state import StateFolder
from tmsync.core.serve import facade, forward, keeping, upstream
from tmsync.core.serve.decide import Origin
from tmsync.core.serve.hosts import host_of
from tmsync.core.serve.ports import FacadeOptions
from tmsync.core.teslamate.claims import NO_CLAIMS, Api, Claims


@pytest.fixture
def stage() -> Iterator[Stage]:
    """TeslaMate died: all goes up."""
    with staged() as found:
        found.wait(400)
        yield found


UNAUTHORISED = reply(401, {"response": None, "error": "token expired (401)", "error_description": "Expired"})
LIMITED = reply(429, b"Retry in 40 seconds", "Content-Type: text/plain\r\nRetry-After: 40\r\n")


def test_a_refused_token_is_read_again_and_the_request_repeated_once(stage: Stage) -> None:
    stage.renewed = ["teslas-second-token"]
    stage.api.says = {"GET vehicles": [UNAUTHORISED], "POST charge_stop": [UNAUTHORISED]}
    assert stage.ask(LIST)[:2] == (200, "tesla")
    stage.renewed = ["teslas-third-token"]
    assert stage.post("charge_stop")[:2] == (200, "tesla")
    assert {call.headers.get("connection") for call in stage.api.calls if call.method == "POST"} == {"close"}, (
        "a kept connection may have been closed at the other end, and a POST is not repeated"
    )
    assert [(call.what, call.headers["authorization"].removeprefix("Bearer teslas-")) for call in stage.api.calls] == [
        ("GET vehicles", "first-token"), ("GET vehicles", "second-token"),
        ("POST charge_stop", "second-token"), ("POST charge_stop", "third-token"),
    ]  # fmt: skip
    assert stage.events == []


def test_a_token_refused_twice_is_not_tried_again_but_for_a_stop(stage: Stage) -> None:
    stage.api.says = {"GET vehicles": UNAUTHORISED, "POST charge_stop": UNAUTHORISED}
    for _ in range(3):
        told = stage.ask(LIST)
        assert told[:2] == (503, "tmsync")
        assert "expired" not in json.dumps(told.document).lower()
    assert stage.api.asked == ["GET vehicles"] * 2
    assert stage.post("charge_start")[:2] == (503, "tmsync")
    assert stage.post("charge_stop")[:2] == (503, "tmsync")
    assert stage.api.asked[2:] == ["POST charge_stop"] * 2
    assert stage.events == [("critical", Cause.TOKEN_REFUSED)]
    stage.api.says.clear()
    stage.token = "teslas-next-token"
    assert stage.ask(LIST)[:2] == (200, "tesla")
    assert stage.events[1:] == [("cleared", Cause.TOKEN_REFUSED)]


@pytest.mark.parametrize(
    ("status", "error", "cause"),
    [
        (403, "Unauthorized missing scopes", Cause.CLIENT_REFUSED),
        (412, "Account must be registered in the current region", Cause.CLIENT_REFUSED),
        (421, "user out of region", Cause.WRONG_REGION),
        (422, "Tesla Vehicle Command Protocol required, please refer to the documentation", Cause.SIGNED_COMMANDS),
        (403, "Tesla Vehicle Command Protocol required", Cause.SIGNED_COMMANDS),
        (200, "Tesla Vehicle Command Protocol required", Cause.SIGNED_COMMANDS),
    ],
)
def test_teslas_refusals_are_passed_on_and_told(stage: Stage, status: int, error: str, cause: Cause) -> None:
    document = {"response": None, "error": error, "error_description": ""}
    stage.api.says["POST charge_start"] = [reply(status, document)] * 2
    for _ in range(2):
        assert stage.post("charge_start")[:3] == (status, "tesla", document)
    assert stage.events == [("critical", cause)]
    assert stage.facade is not None
    (raised,) = stage.facade.problems()
    assert (raised.critical, str(status) in raised.problem.message) == (True, True)
    assert stage.post("charge_start")[:2] == (200, "tesla")
    assert (stage.events[1:], stage.facade.problems()) == ([("cleared", cause)], ())


def test_that_tesla_hides_a_powerwall_is_no_reason_to_fear_for_commands(stage: Stage) -> None:
    live = "/api/1/energy_sites/12/live_status"
    stage.api.says["GET live_status"] = reply(403, {"error": "missing scopes"})
    for _ in range(2):
        assert stage.ask(live)[:2] == (403, "tesla")
        assert stage.ask(LIST)[:2] == (200, "tesla")
    assert stage.events == [("warning", Cause.CLIENT_REFUSED)], "told once, however often another request succeeds"
    assert stage.facade is not None
    (raised,) = stage.facade.problems()
    assert (raised.critical, "energy_device_data" in raised.problem.hint) == (False, True)
    stage.api.says.clear()
    assert stage.ask(live)[:2] == (200, "tesla")
    assert stage.events[1:] == [("cleared", Cause.CLIENT_REFUSED)]


@pytest.mark.parametrize("status", [400, 404, 405, 408, 422, 500, 502, 504, 540])
def test_any_other_answer_is_passed_on(stage: Stage, status: int) -> None:
    body = b"<html>EXCEEDED_LIMIT\xff"
    stage.api.says["GET vehicle_data"] = reply(status, body, "Content-Type: text/html; charset=latin1\r\n")
    told = stage.ask(DATA)
    assert (told.status, told.source, told.document) == (status, "tesla", body)
    assert told.headers["content-type"] == "text/html; charset=latin1"
    assert stage.events == []


@pytest.mark.parametrize("kind", ["application/\xe4", "text/plain; title=" + "x" * 200])
def test_a_content_type_that_may_break_a_header_is_told_as_json(stage: Stage, kind: str) -> None:
    stage.api.says["GET vehicle_data"] = reply(500, b"{}", f"Content-Type: {kind}\r\n")
    told = stage.ask(DATA)
    assert (told.status, told.headers["content-type"]) == (500, "application/json")


def test_a_limit_holds_back_its_class_and_is_told_as_no_429_to_who_asks_for_data(stage: Stage) -> None:
    stage.wait(600)  # too long for last values
    stage.api.says["GET vehicle_data"] = [LIMITED]
    told = stage.ask(DATA)
    assert (told.status, told.source, told.headers["retry-after"]) == (503, "tmsync", "40")
    stage.wait(39)
    for target in (DATA, STATE, LIST):
        assert stage.ask(target)[:2] == (503, "tmsync")
    assert stage.post("charge_start")[:2] == (200, "tesla"), "another class"
    assert stage.events == [("warning", Cause.RATE_LIMITED)]
    stage.wait(1)
    assert stage.ask(STATE)[:2] == (200, "tesla")
    assert stage.api.asked == ["GET vehicle_data", "POST charge_start", "GET 5YJ3E1EA7KF000001"]
    assert stage.events[1:] == [("cleared", Cause.RATE_LIMITED)]


def test_no_429_reaches_a_request_for_data_or_a_wake_up_and_the_shortest_wait_is_a_second(stage: Stage) -> None:
    """Either would make TWCManager refuse the car for ten minutes, and call a stop done that it never sent."""
    at_once = reply(429, b"", "Retry-After: 0\r\n")
    stage.api.says = {"GET vehicles": at_once, "POST wake_up": at_once}
    for told in (stage.ask(LIST), stage.post("wake_up")):
        assert (told.status, told.headers["retry-after"]) == (503, "1")
        assert told.document["error"] == "tmsync: Tesla limits requests: none goes up for 1 s"
    assert [call.what for call in stage.api.calls] == ["GET vehicles", "POST wake_up"]


def test_a_stop_always_goes_up(stage: Stage) -> None:
    stage.api.says = {"POST charge_start": LIMITED, "POST charge_stop": [LIMITED, LIMITED], "POST wake_up": LIMITED}
    told = stage.post("charge_start")
    assert (told.status, told.source, told.document) == (429, "tesla", b"Retry in 40 seconds")
    assert stage.post("charge_start")[:2] == (503, "tmsync")
    assert stage.post("set_charging_amps", charging_amps=5)[:2] == (503, "tmsync")
    told = stage.post("wake_up")
    assert (told.status, told.source, told.headers["retry-after"]) == (503, "tesla", "40"), "a class of its own"
    assert [stage.post("charge_stop").status for _ in range(3)] == [429, 429, 200]
    assert stage.api.asked == ["POST charge_start", "POST wake_up", *["POST charge_stop"] * 3]
    assert stage.post("charge_start")[:2] == (503, "tmsync"), "a stop that went through ends no hold"


def test_an_account_over_its_limit_is_left_alone_for_a_quarter_of_an_hour(stage: Stage) -> None:
    stage.wait(600)
    stage.api.says["GET vehicles"] = [reply(403, {"error": "account disabled: EXCEEDED_LIMIT"})]
    assert [stage.ask(LIST).status for _ in range(2)] == [503, 503]
    stage.wait(899)
    assert stage.ask(LIST).status == 503
    stage.wait(2)
    assert stage.ask(LIST)[:2] == (200, "tesla")
    assert stage.api.asked == ["GET vehicles"] * 2


def test_while_tesla_limits_last_values_stand_in_for_a_car_at_rest(stage: Stage) -> None:
    stage.api.says = {"GET 5YJ3E1EA7KF000001": LIMITED, "GET vehicle_data": LIMITED}
    assert stage.ask(STATE)[:2] == (503, "tmsync"), "the request that met the limit"
    told = stage.ask(DATA)
    assert (told.status, told.source, told.age) == (200, "teslamate", 400)
    assert told.document["response"]["charge_state"]["battery_level"] == 63
    stage.api.says["POST charge_start"] = reset
    assert stage.post("charge_start").status == 503
    assert stage.ask(DATA)[:2] == (503, "tmsync"), "it was commanded"
    assert stage.api.asked == ["GET 5YJ3E1EA7KF000001", "POST charge_start"]


def test_while_tesla_limits_nothing_stands_in_for_a_car_that_charges(stage: Stage) -> None:
    stage.says(**CHARGING)
    stage.wait(400)
    stage.api.says["GET vehicle_data"] = LIMITED
    assert [stage.ask(target)[:2] for target in (DATA, DATA, STATE)] == [(503, "tmsync")] * 3
    assert stage.api.asked == ["GET vehicle_data"]


def test_last_values_stand_in_no_longer_than_a_quarter_of_an_hour(stage: Stage) -> None:
    stage.says()
    stage.says(state="suspended")
    stage.fleet.lost(stage.running)
    stage.fleet.connected(stage.running)
    stage.says(state="suspended", charging_state="Disconnected", retained=True)
    limited = reply(429, {}, "Retry-After: 3600\r\n")
    stage.api.says["GET 5YJ3E1EA7KF000001"] = limited
    assert [stage.ask(STATE)[:2] for _ in range(2)] == [(503, "tmsync"), (200, "teslamate")]
    stage.wait(899)
    assert stage.ask(STATE)[:2] == (200, "teslamate")
    stage.wait(2)
    assert stage.ask(STATE)[:2] == (503, "tmsync")


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": "token expired", "response": null}', b'{"error": "Token EXPIRED (401)"}',
        b'{"response": {"display_name": "Expired Milk \\\\expired"}}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [200, 400, 403, 500])
def test_no_answer_holds_the_word_that_makes_twcmanager_refresh_its_token(
    stage: Stage, status: int, body: bytes
) -> None:
    stage.api.says["GET vehicle_data"] = reply(status, body)
    told = stage.ask(DATA)
    assert (told.status, told.document) == (status, json.loads(body)), "the same document, spelled otherwise"
    with socket.create_connection(("127.0.0.1", stage.port)) as sock:
        line = f"GET {DATA} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {BEARER}\r\n\r\n"
        sock.sendall(line.encode())
        raw = b"".join(iter(lambda: sock.recv(65536), b""))
    assert b"expired" not in raw.lower()


def test_an_error_page_with_that_word_is_replaced(stage: Stage) -> None:
    stage.api.says["GET vehicle_data"] = reply(403, b"<html>token expired", "Content-Type: text/html\r\n")
    told = stage.ask(DATA)
    assert (told.status, told.source) == (403, "tmsync")
    assert "expired" not in json.dumps(told.document)


def raw(text: str, body: bytes = b"") -> Answer:
    return text.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body


BOMB = gzip.compress(b"0" * (64 << 20))
NO_ANSWERS: dict[str, Answer] = {
    "reset": reset,
    "hangs up": lambda sock: sock.close(),
    "no web server": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "breaks off": raw("HTTP/1.1 200 OK\nContent-Length: 100", b"{"),
    "no length, breaks off in a chunk": raw("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"5\r\n{}"),
    "huge": raw(f"HTTP/1.1 200 OK\nContent-Length: {8 << 20}", b" " * (8 << 20)),
    "endless header": b"HTTP/1.1 200 OK\r\nX: " + b"y" * (1 << 20),
    "bomb": raw(f"HTTP/1.1 200 OK\nContent-Encoding: gzip\nContent-Length: {len(BOMB)}", BOMB),
    "no gzip": raw("HTTP/1.1 200 OK\nContent-Encoding: gzip\nContent-Length: 2", b"{}"),
    "half a gzip": raw("HTTP/1.1 200 OK\nContent-Encoding: gzip\nContent-Length: 20", gzip.compress(b"{}" * 9)[:20]),
    "brotli": raw("HTTP/1.1 200 OK\nContent-Encoding: br\nContent-Length: 2", b"{}"),
}


@pytest.mark.parametrize("name", NO_ANSWERS)
def test_what_is_no_answer_is_a_503_and_a_problem(name: str) -> None:
    answer = NO_ANSWERS[name]

    def once(sock: socket.socket) -> None:
        if callable(answer):
            answer(sock)
        else:
            sock.sendall(answer)
            sock.close()

    with staged() as stage:
        stage.wait(400)
        stage.api.says = {"GET vehicle_data": once, "POST charge_stop": once}
        for told in (stage.ask(DATA), stage.post("charge_stop")):
            assert told[:2] == (503, "tmsync")
            assert told.document["error"].startswith("tmsync: Tesla's API does not answer: ")
        assert stage.api.asked.count("POST charge_stop") == 1, "it may have got through"
        assert stage.events == [("critical", Cause.UPSTREAM_UNREACHABLE)]
        assert stage.ask(LIST).status == 200
        assert stage.events[1:] == [("cleared", Cause.UPSTREAM_UNREACHABLE)]
        stage.says()
        stage.wait(121, heartbeat=30)
        assert stage.ask(STATE).source == "tesla", "commanded, for all we know"


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "identity"])
def test_an_answer_encoded_all_the_same_is_decoded(stage: Stage, encoding: str) -> None:
    text = json.dumps({"response": CAR}).encode()
    body = {"deflate": zlib.compress, "identity": bytes}.get(encoding, gzip.compress)(text)
    stage.api.says["GET vehicle_data"] = reply(200, body, f"Content-Encoding: {encoding}\r\n")
    told = stage.ask(DATA)
    assert (told.status, told.document, "content-encoding" in told.headers) == (200, {"response": CAR}, False)


def test_a_silent_upstream_is_waited_for_within_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "WHOLE_S", 0.3)

    def drip(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(100):
            sock.sendall(b" ")
            time.sleep(0.05)

    with staged() as stage:
        stage.wait(400)
        stage.api.says = {"GET vehicle_data": drip, "POST charge_stop": lambda _: time.sleep(5)}
        began = time.monotonic()
        for told in (stage.ask(DATA), stage.post("charge_stop")):
            assert told[:2] == (503, "tmsync")
            assert "no whole answer within 0.3 s" in told.document["error"]
        assert time.monotonic() - began < 4
        assert stage.api.asked == ["GET vehicle_data", "POST charge_stop"]


def test_nobody_listens(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with staged(upstream_ca_file=None) as other:
        other.wait(400)
        other.options = FacadeOptions(upstream=f"http://127.0.0.1:{port}")
        with serving(other):
            told = other.post("charge_stop")
            assert (told.status, "refused or unreachable" in told.document["error"]) == (503, True)
            other.says()
            other.wait(130, heartbeat=30)
            assert other.ask(STATE).source == "teslamate", "it never went up"


@pytest.mark.parametrize(
    ("host", "trusted", "words"),
    [("127.0.0.1", True, ""), ("elsewhere.example", True, "TLS"), ("127.0.0.1", False, "TLS")],
)
def test_certificates_are_verified_against_the_configured_authority(
    tmp_path: Path, host: str, trusted: bool, words: str
) -> None:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(host))
    with staged() as stage:
        stage.wait(400)

        def encrypted(sock: socket.socket) -> None:
            with sock, context.wrap_socket(sock, server_side=True) as wrapped:
                stage.api.serve(wrapped)

        with listener(encrypted) as port:
            ca_file = str(authority.root) if trusted else None
            stage.options = FacadeOptions(upstream=f"https://127.0.0.1:{port}", upstream_ca_file=ca_file)
            with serving(stage):
                told = stage.ask(DATA)
        assert (told.status, told.source) == ((503, "tmsync") if words else (200, "tesla"))
        assert words in json.dumps(told.document)
        assert bool(stage.api.calls) is not bool(words)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_no_redirect_is_followed(stage: Stage, status: int) -> None:
    stage.api.says["GET vehicle_data"] = reply(status, {}, f"Location: {stage.api.url}/api/1/users/me\r\n")
    told = stage.ask(DATA)
    assert (told[:2], "location" in told.headers) == ((503, "tmsync"), False)
    assert stage.api.asked == ["GET vehicle_data"]


def test_neither_a_proxy_nor_a_netrc_of_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login spy password spy\ndefault login spy password spy\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with staged() as stage:
        assert stage.ask(LIST)[:2] == (200, "tesla")
        assert [call.headers["authorization"] for call in stage.api.calls] == ["Bearer teslas-first-token"]


def test_another_protocol_is_not_changed_to(stage: Stage) -> None:
    stage.api.says["GET vehicles"] = b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    assert stage.ask(LIST)[:2] == (503, "tmsync")


def test_cookies_of_tesla_are_neither_kept_nor_passed_on(stage: Stage) -> None:
    stage.api.says["GET vehicles"] = [reply(200, {"response": []}, "Set-Cookie: a=b\r\nX-Secret: c\r\n")]
    # aiohttp would keep none for a bare address anyway.
    stage.options = FacadeOptions(upstream=f"http://localhost:{stage.api.port}")
    with serving(stage):
        assert not {"set-cookie", "x-secret"} & set(stage.ask(LIST).headers)
        stage.ask(LIST)
    assert "cookie" not in stage.api.calls[1].headers


def test_equal_requests_under_way_share_one_answer_and_commands_never(stage: Stage) -> None:
    def wait(sock: socket.socket) -> None:
        time.sleep(0.5)
        sock.sendall(reply(200, {"response": CAR}))

    stage.api.says = {"GET vehicles": wait, "POST charge_start": wait}
    with ThreadPoolExecutor(16) as pool:
        told = list(pool.map(lambda _: stage.ask(LIST).document, range(8)))
        sent = list(pool.map(lambda _: stage.post("charge_start").status, range(3)))
    assert (told, sent) == ([{"response": CAR}] * 8, [200] * 3)
    assert stage.api.asked == ["GET vehicles", *["POST charge_start"] * 3]


def test_what_was_asked_before_a_command_is_no_answer_after_it(stage: Stage) -> None:
    release = threading.Event()

    def slow(sock: socket.socket) -> None:
        release.wait(10)
        sock.sendall(reply(200, {"response": {**CAR, "state": "before"}}))

    stage.api.says["GET vehicle_data"] = [slow]
    with ThreadPoolExecutor(2) as pool:
        before = pool.submit(stage.ask, DATA)
        while not stage.api.calls:
            time.sleep(0.01)
        stage.post("charge_stop")
        after = stage.ask(DATA).document["response"]["state"]
        release.set()
        assert (before.result().document["response"]["state"], after) == ("before", "online")
    assert stage.ask(DATA).document["response"]["state"] == "online"


def test_a_look_from_before_a_command_is_not_remembered_after_it() -> None:
    release = threading.Event()

    def slow(sock: socket.socket) -> None:
        release.wait(10)
        sock.sendall(reply(200, {"response": {**CAR, "state": "before"}}))

    with staged() as stage, ThreadPoolExecutor(1) as pool:
        stage.says(charging_state="Stopped")
        stage.api.says["GET vehicle_data"] = [slow]
        look = pool.submit(stage.ask, DATA)
        while not stage.api.calls:
            time.sleep(0.01)
        stage.post("set_charging_amps", charging_amps=8)
        release.set()
        assert look.result().document["response"]["state"] == "before"
        stage.wait(6)
        stage.teslamate_sees(charging_state="Stopped")
        assert stage.ask(STATE).source == "teslamate", "the command has been seen"
        assert stage.ask(DATA).document["response"]["state"] == "online"
        assert stage.api.asked == ["GET vehicle_data", "POST set_charging_amps", "GET vehicle_data"]


def test_while_a_command_is_under_way_tesla_is_asked(stage: Stage) -> None:
    stage.says()
    stage.wait(121, heartbeat=30)
    assert stage.ask(STATE).source == "teslamate"
    release = threading.Event()
    stage.api.says["POST charge_start"] = lambda sock: (release.wait(10), sock.sendall(reply(200, {})))
    with ThreadPoolExecutor(1) as pool:
        command = pool.submit(stage.post, "charge_start")
        while not stage.api.calls:
            time.sleep(0.01)
        assert stage.ask(STATE).source == "tesla"
        release.set()
        assert command.result().status == 200


def test_what_was_commanded_outlives_a_restart(tmp_path: Path) -> None:
    with staged(state_dir=tmp_path) as stage:
        stage.ask(LIST)
        stage.post("charge_stop")
        assert stage.ask(STATE).source == "tesla"
        held = (tmp_path / "facade.json").read_text()
        assert (tmp_path / "facade.json").stat().st_mode & 0o777 == 0o600
        for secret in (BEARER, "teslas-first-token", "no-one"):
            assert secret not in held
        stage.wait(30)
        stage.teslamate_sees()
        with serving(stage):
            assert stage.ask(STATE).source == "tesla", "another process knows only that there was a command"
            stage.api.says["GET vehicles"] = reset
            assert stage.ask(LIST)[:2] == (200, "tmsync")
            stage.wait(6)
            stage.teslamate_sees()
            assert stage.ask(STATE).source == "teslamate"
        with serving(stage):
            assert stage.ask(STATE).source == "teslamate"


def test_a_damaged_state_file_hinders_nobody(tmp_path: Path) -> None:
    for content in (
        b"",
        b"[]",
        b'{"commanded": {"x": 1, "y": {"limit": "z"}}, "listed": [[], 3, [1, 2]]}',
        b"\xff" * 99,
    ):
        (tmp_path / "facade.json").write_bytes(content)
        with staged(state_dir=tmp_path) as stage:
            assert stage.ask(STATE)[:2] == (200, "teslamate")


def test_a_folder_that_cannot_be_written_keeps_no_charge_from_being_stopped() -> None:
    with staged(state_dir=Path("/proc/nowhere")) as stage:
        assert stage.post("charge_stop")[:2] == (200, "tesla")
        assert stage.events == [("critical", Cause.STATE_UNUSABLE)]


def test_nothing_is_believed_that_others_may_have_put_into_the_state_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "facade.json").write_text(json.dumps({"listed": [[1, "5YJ3E1EA7KF666666", "Evil"]]}))
    for mode, listed in ((0o700, True), (0o777, False)):
        tmp_path.chmod(mode)
        with staged(state_dir=tmp_path) as stage:
            stage.api.says["GET vehicles"] = reset
            assert ("Evil" in str(stage.ask(LIST).document)) is listed


def test_the_first_request_waits_until_the_token_was_read(stage: Stage) -> None:
    stage.token, stage.renewed = None, ["first-read"]
    with serving(stage):
        assert stage.post("charge_stop")[:2] == (200, "tesla")
    assert stage.api.calls[0].headers["authorization"] == "Bearer first-read"


def test_a_limit_that_is_over_is_no_problem_any_more(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facade, "FORGET_EVERY_S", 0.01)
    with serving(stage):
        stage.api.says["POST wake_up"] = reply(429, {}, "Retry-After: 60\r\n")
        assert stage.post("wake_up")[:2] == (503, "tesla")
        stage.wait(59)
        time.sleep(0.05)
        assert stage.events == [("warning", Cause.RATE_LIMITED)]
        stage.wait(2)
        deadline = time.monotonic() + 5
        while len(stage.events) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert stage.events == [("warning", Cause.RATE_LIMITED), ("cleared", Cause.RATE_LIMITED)]


def test_a_disk_that_hangs_keeps_no_charge_from_being_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "WAIT_S", 0.2)
    release = threading.Event()
    write = StateFolder.write

    def hangs(folder: StateFolder, name: str, data: bytes) -> None:
        release.wait(10)
        write(folder, name, data)

    monkeypatch.setattr(StateFolder, "write", hangs)
    with staged(state_dir=tmp_path) as stage:
        began = time.monotonic()
        assert stage.post("charge_stop")[:2] == (200, "tesla")
        assert stage.ask(STATE).source == "tesla"
        assert time.monotonic() - began < 3
        release.set()
        stage.post("charge_stop")
        assert json.loads((tmp_path / "facade.json").read_text())["commanded"] == {
            name: {"limit": None} for name in (str(CAR["id"]), CAR["vin"])
        }


def test_without_a_token_nothing_goes_up(stage: Stage) -> None:
    stage.token = None
    assert [stage.ask(LIST)[:2], stage.post("charge_stop")[:2]] == [(503, "tmsync")] * 2
    assert stage.api.calls == []


@pytest.mark.parametrize(
    ("claims", "host"),
    [
        (FLEET_CLAIMS, "https://fleet-api.prd.eu.vn.cloud.tesla.com"),
        (FLEET_CLAIMS._replace(region="NA"), "https://fleet-api.prd.na.vn.cloud.tesla.com"),
        (FLEET_CLAIMS._replace(region="CN"), "https://fleet-api.prd.cn.vn.cloud.tesla.cn"),
        (Claims(None, (), "EU", Api.OWNER, "https://auth.tesla.com/oauth2/v3"), "https://owner-api.teslamotors.com"),
        (Claims(None, (), "CN", Api.OWNER, "https://auth.tesla.cn/oauth2/v3"), "https://owner-api.vn.cloud.tesla.cn"),
        (Claims(None, (), None, Api.OWNER, "https://auth.tesla.cn/oauth2/v3"), "https://owner-api.vn.cloud.tesla.cn"),
        (Claims(None, (), "CN", Api.OWNER, "https://auth.tesla.com/oauth2/v3"), "https://owner-api.teslamotors.com"),
        (Claims(None, (), "CN", Api.OWNER), "https://owner-api.vn.cloud.tesla.cn"),
        (Claims(None, (), "EU", Api.OWNER, "https://[evil"), "https://owner-api.teslamotors.com"),
        (Claims(None, ("https://evil.example",), "NA", Api.UNKNOWN), "https://fleet-api.prd.na.vn.cloud.tesla.com"),
        (FLEET_CLAIMS._replace(region=None), None),
        (NO_CLAIMS, None),
    ],
)
def test_a_token_goes_to_the_host_that_fits_and_to_no_other(claims: Claims, host: str | None) -> None:
    assert host_of(claims) == host


def test_a_token_that_tells_no_region_goes_nowhere() -> None:
    with staged() as stage:
        stage.options = FacadeOptions()
        stage.claims = NO_CLAIMS
        with serving(stage):
            assert stage.ask(LIST)[:2] == (503, "tmsync")
            assert stage.post("charge_stop")[:2] == (503, "tmsync")
            assert stage.events == [("critical", Cause.UPSTREAM_UNKNOWN)]
            stage.says()
            assert stage.ask(STATE).source == Origin.TESLAMATE, "nothing was commanded"


def test_an_unread_database_keeps_the_owner_api_from_a_guess() -> None:
    with staged() as stage:
        stage.claims = Claims(None, (), "EU", Api.OWNER)
        stage.report = stage.report._replace(cars={}, database_at=None)
        assert stage.ask(STATE)[:2] == (503, "tmsync")
        assert stage.ask("/api/1/vehicles/4711")[:2] == (503, "tmsync")
        stage.ask(LIST)
        assert stage.ask(STATE)[:2] == (200, "tesla"), "Tesla's list told the id"
        assert [call.target for call in stage.api.calls] == [LIST, f"/api/1/vehicles/{CAR['id']}"]


def test_commands_that_are_written_down_at_once_hinder_each_other_in_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = StateFolder.write

    def slowly(folder: StateFolder, name: str, data: bytes) -> None:
        time.sleep(0.05)
        write(folder, name, data)

    monkeypatch.setattr(StateFolder, "write", slowly)
    with staged(tmp_path / "state") as stage, ThreadPoolExecutor(8) as callers:
        targets = [f"/api/1/vehicles/5YJ3E1EA7KF{number:06}/wake_up" for number in range(10, 34)]
        told = list(callers.map(lambda target: stage.ask(target, "POST"), targets))
        assert [one.status for one in told] == [200] * 24
        assert sorted(call.target for call in stage.api.calls) == targets


def test_a_command_that_an_error_kept_from_going_up_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(_: object) -> None:
        raise RuntimeError

    with staged() as stage:
        with monkeypatch.context() as broken:
            broken.setattr(forward.Forwarder, "_save", fails)
            assert stage.post("charge_stop").status == 500
        assert (stage.api.calls, stage.ask(STATE).source) == ([], "teslamate")
