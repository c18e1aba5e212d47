"""How one facade ends, and what the next one takes over."""

import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.serve.stage import BEARER, LIST, STATE, serving, staged
from tests.support.tesla import reply, tesla
from tests.support.waiting import until
from tmsync.core.causes import Cause
from tmsync.core.serve import facade

LIMITED = reply(429, {}, "Retry-After: 3600\r\n")


def test_another_way_to_tesla_begins_without_the_limits_and_refusals_of_the_one_before() -> None:
    with staged() as stage, tesla() as other:
        stage.api.says = {"GET vehicles": LIMITED, "POST charge_start": [reply(403, {})]}
        assert (stage.ask(LIST).status, stage.post("charge_start").status) == (503, 403)
        told = [("warning", Cause.RATE_LIMITED), ("critical", Cause.CLIENT_REFUSED)]
        assert stage.events == told
        with serving(stage, stage.facade):
            assert (stage.ask(LIST).status, stage.events) == (503, told), "the same way, as after a reload"
            stage.options = replace(stage.options, upstream=other.url)
            with serving(stage, stage.facade):
                assert set(stage.events[2:]) == {("cleared", Cause.RATE_LIMITED), ("cleared", Cause.CLIENT_REFUSED)}
                assert stage.ask(LIST)[:2] == (200, "tesla")
                assert stage.ask(STATE).source == "tesla", "the car was commanded all the same"
        assert (stage.api.asked, other.asked) == (
            ["GET vehicles", "POST charge_start"],
            ["GET vehicles", f"GET {STATE[-17:]}"],
        )


def test_a_command_under_way_is_answered_before_the_end() -> None:
    told = threading.Event()

    def slowly(sock: socket.socket) -> None:
        told.wait(10)
        sock.sendall(reply(200, {"response": {"result": True, "reason": ""}}))

    with staged() as stage, ThreadPoolExecutor(1) as pool:
        stage.api.says["POST charge_stop"] = slowly
        with serving(stage):
            answer = pool.submit(stage.post, "charge_stop")
            until(lambda: stage.api.calls)
            threading.Timer(0.3, told.set).start()
        assert answer.result(10)[:3] == (200, "tesla", {"response": {"result": True, "reason": ""}})


def test_whoever_was_let_in_right_before_the_end_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facade, "LET_IN_S", 1.0)

    def ask(caller: http.client.HTTPConnection) -> tuple[int, str | None, object]:
        time.sleep(0.3)
        caller.request("GET", STATE, headers={"Authorization": f"Bearer {BEARER}"})
        answer = caller.getresponse()
        return answer.status, answer.headers["X-Tmsync-Source"], json.loads(answer.read())["response"]["state"]

    with staged() as stage, ThreadPoolExecutor(1) as pool:
        with serving(stage):
            caller = http.client.HTTPConnection("127.0.0.1", stage.port, timeout=5)
            caller.connect()
            until(lambda: stage.facade is not None and stage.facade._server.connections)
            answer = pool.submit(ask, caller)
        assert answer.result(10) == (200, "teslamate", "online")
        caller.close()
