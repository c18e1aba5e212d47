"""The facade as TWCManager meets it: what is answered from TeslaMate, what goes up, and what comes of it."""

import json
import socket
from collections.abc import Iterator

import pytest

from tests.serve.stage import BEARER, CHARGING, DATA, LIST, ONLINE, OWNER_CLAIMS, STATE, Stage, staged
from tests.support.tesla import CAR, EID, VIN, reply
from tests.support.tesla import DATA as TESLAS_DATA
from tmsync.core.causes import Cause
from tmsync.core.serve.ports import Standing


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staged() as found:
        yield found


CAR_DOCUMENT = {"id": EID, "id_s": str(EID), "vin": VIN, "display_name": "Blue", "state": "online"}


def test_a_trusted_car_is_answered_without_a_call(stage: Stage) -> None:
    stage.wait(30)
    assert stage.ask(STATE)[:4] == (200, "teslamate", {"response": CAR_DOCUMENT}, 30)
    told = stage.ask(DATA)
    assert told[:4] == (200, "teslamate", {"response": {
        **CAR_DOCUMENT,
        "drive_state": {"latitude": 52.5, "longitude": 13.25, "gps_as_of": 1795543200, "shift_state": None},
        "charge_state": {
            "charge_limit_soc": 80, "battery_level": 63, "charging_state": "Disconnected", "time_to_full_charge": 0.0,
        },
    }}, 30)  # fmt: skip
    assert stage.api.calls == []


def test_a_charging_car_has_its_currents_and_never_a_null(stage: Stage) -> None:
    stage.says(**CHARGING | {"charger_phases": ""})
    assert stage.ask(DATA).document["response"]["charge_state"] == {
        "charge_limit_soc": 80, "battery_level": 63, "charging_state": "Charging", "time_to_full_charge": 1.5,
        "charger_actual_current": 16, "charger_power": 11, "charger_voltage": 230, "charger_pilot_current": 32,
    }  # fmt: skip


def test_a_car_named_like_a_dead_token_makes_twcmanager_refresh_none(stage: Stage) -> None:
    stage.says(display_name="Expired \\ expired")
    with socket.create_connection(("127.0.0.1", stage.port)) as sock:
        sock.sendall(f"GET {STATE} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {BEARER}\r\n\r\n".encode())
        assert b"expired" not in sock.recv(65536).lower()
    assert stage.ask(STATE).document["response"]["display_name"] == "Expired \\ expired"


def test_a_sleeping_car_is_unavailable_in_teslas_own_words(stage: Stage) -> None:
    stage.says(state="asleep")
    assert stage.ask(STATE).document["response"]["state"] == "asleep"
    assert stage.ask(DATA)[:3] == (408, "teslamate", {
        "response": None, "error": 'vehicle unavailable: {:error=>"vehicle unavailable:"}', "error_description": "",
    })  # fmt: skip
    assert stage.api.calls == []


def test_the_first_request_after_the_verdict_goes_up_and_none_after_recovery(stage: Stage) -> None:
    stage.wait(361)
    assert stage.ask(STATE)[:3] == (200, "tesla", {"response": CAR})
    assert stage.ask(DATA)[:3] == (200, "tesla", {"response": TESLAS_DATA})
    (call, _) = stage.api.calls
    assert (call.method, call.target, call.body) == ("GET", STATE, b"")
    assert call.headers == {
        "host": f"127.0.0.1:{stage.api.port}", "authorization": "Bearer teslas-first-token",
        "accept": "application/json", "accept-encoding": "identity", "via": "1.1 tmsync",
        "user-agent": call.headers["user-agent"],
    }  # fmt: skip
    stage.says()
    stage.wait(150, heartbeat=30)
    assert stage.ask(DATA).source == "teslamate"
    assert len(stage.api.calls) == 2


def test_a_command_goes_up_once_and_as_it_came(stage: Stage) -> None:
    assert stage.post("set_charging_amps", charging_amps=13)[:3] == (
        200, "tesla", {"response": {"result": True, "reason": ""}},
    )  # fmt: skip
    (call,) = stage.api.calls
    assert (call.what, call.body) == ("POST set_charging_amps", b'{"charging_amps": 13}')
    assert call.headers["content-type"] == "application/json"


def test_after_a_command_tesla_is_asked_until_teslamate_has_seen_what_came_of_it(stage: Stage) -> None:
    stage.says(**CHARGING)
    stage.post("charge_stop")
    stage.teslamate_sees(**CHARGING)
    assert stage.ask(DATA).source == "tesla", "a summary 5 s or more after the command"
    stage.wait(20, heartbeat=5)
    stage.read_database()
    stage.wait(2)
    assert stage.ask(DATA)[1:4] == ("tesla", {"response": TESLAS_DATA}, 22), "a newer record; but no second call yet"
    assert stage.ask(STATE).source == "tesla"
    assert stage.api.asked == ["POST charge_stop", "GET vehicle_data", f"GET {VIN}"]
    stage.wait(3600, heartbeat=20)
    assert stage.ask(DATA).source == "tesla", "time alone never ends it"
    stage.teslamate_sees(**ONLINE | {"charging_state": "Complete"})
    assert stage.ask(DATA)[:2] == (200, "teslamate")
    assert stage.api.asked[3:] == ["GET vehicle_data"]


def test_a_summary_from_before_the_broker_was_lost_does_not_show_what_came_of_a_command(stage: Stage) -> None:
    """The next one has gone astray, and its record is in the database all the same."""
    stage.post("charge_stop")
    stage.wait(6)
    stage.says()
    stage.fleet.lost(stage.running)
    stage.wait(5)
    stage.read_database(position_at=stage.now())
    stage.wait(1.5)
    assert stage.ask(STATE).source == "tesla"
    stage.fleet.connected(stage.running)
    for key, value in ONLINE.items():
        stage.fleet.message(f"teslamate/cars/1/{key}", value.encode(), stage.running, retained=True)
    assert (stage.ask(STATE).source, stage.ask(DATA).source) == ("tesla", "tesla")
    stage.wait(1)
    stage.says()
    assert (stage.ask(STATE).source, stage.ask(DATA).source) == ("teslamate", "teslamate")


def test_after_a_new_limit_teslamate_must_show_it(stage: Stage) -> None:
    stage.post("set_charge_limit", percent=70)
    stage.wait(10)
    stage.teslamate_sees(charge_limit_soc="80")
    assert stage.ask(STATE).source == "tesla"
    stage.teslamate_sees(charge_limit_soc="70")
    assert stage.ask(STATE).source == "teslamate"


def test_a_limit_that_is_no_limit_is_forwarded_like_any(stage: Stage) -> None:
    """JSON as Python writes it may hold Infinity, which is no whole number."""
    assert stage.post("set_charge_limit", percent=float("inf"))[:2] == (200, "tesla")
    stage.wait(10)
    stage.teslamate_sees()
    assert stage.ask(STATE).source == "teslamate"


def test_a_limit_that_somebody_has_changed_again_is_the_one_to_be_shown(stage: Stage) -> None:
    stage.post("set_charge_limit", percent=70)
    stage.wait(10)
    stage.teslamate_sees(charge_limit_soc="90")
    assert stage.ask(DATA).source == "tesla", "its 90 % may be older than the command"
    assert stage.ask(STATE).source == "tesla"
    stage.wait(60)
    stage.teslamate_sees()
    assert stage.ask(DATA).document["response"]["charge_state"]["charge_limit_soc"] == 90
    assert stage.ask(STATE).source == "teslamate"


def test_after_a_wake_up_a_car_still_asleep_is_believed_after_two_minutes(stage: Stage) -> None:
    stage.says(state="asleep")
    stage.post("wake_up")
    stage.wait(110, heartbeat=30)
    assert stage.ask(STATE).source == "tesla"
    stage.wait(31, heartbeat=30)
    assert stage.ask(STATE)[:2] == (200, "teslamate")


def test_a_schedule_in_the_car_is_asked_of_tesla_every_five_minutes(stage: Stage) -> None:
    stage.says(charging_state="Stopped")
    assert stage.ask(STATE).source == "teslamate"
    for age in (0, 100, 200, 299):
        assert stage.ask(DATA)[:4] == (200, "tesla", {"response": TESLAS_DATA}, age)
        stage.wait(100 if age < 200 else 99 if age == 200 else 1, heartbeat=20)
        stage.says()
    assert stage.ask(DATA)[:4] == (200, "tesla", {"response": TESLAS_DATA}, 0)
    assert stage.api.asked == ["GET vehicle_data"] * 2


def test_the_list_is_always_asked_and_stands_in_only_when_tesla_is_out_of_reach(stage: Stage) -> None:
    listed = [{**CAR, "display_name": None}, {**CAR, "id": 7, "vin": "7" * 17, "display_name": "Red"}]
    stage.api.says["GET vehicles"] = [
        reply(200, {"response": listed, "count": 2}),
        reply(500, unkept := {"response": [{**CAR, "id": 8}], "error": "x"}),
        reply(200, ["no", "list"]),
    ]
    assert stage.ask(LIST)[:3] == (200, "tesla", {"response": listed, "count": 2})
    assert stage.ask(LIST)[:3] == (500, "tesla", unkept)
    assert stage.ask(LIST)[:3] == (200, "tesla", ["no", "list"])
    stage.api.says["GET vehicles"] = lambda sock: sock.close()
    assert stage.ask(LIST)[:3] == (200, "tmsync", {"response": [
        {"id": EID, "id_s": str(EID), "vin": VIN, "display_name": VIN, "state": "online"},
        {"id": 7, "id_s": "7", "vin": "7" * 17, "display_name": "Red", "state": "unknown"},
    ], "count": 2})  # fmt: skip


def test_the_owner_api_is_asked_by_id(stage: Stage) -> None:
    stage.claims = OWNER_CLAIMS
    stage.wait(400)
    stage.ask(DATA)
    stage.post("charge_stop")
    assert [call.target for call in stage.api.calls] == [
        DATA.replace(VIN, str(EID)), f"/api/1/vehicles/{EID}/command/charge_stop",
    ]  # fmt: skip


def test_vehicle_id_is_no_id(stage: Stage) -> None:
    assert stage.ask("/api/1/vehicles/4711")[:2] == (404, "tmsync")
    assert stage.ask(f"/api/1/vehicles/{EID}")[:2] == (200, "teslamate")
    assert stage.api.calls == []


@pytest.mark.parametrize(
    ("standing", "headers", "status"),
    [
        (Standing.KNOWN, {}, 200), (Standing.UNKNOWN, {}, 401), (Standing.UNDECIDED, {}, 503),
        (Standing.KNOWN, {"Authorization": "Bearer other"}, 401), (Standing.KNOWN, {"Authorization": BEARER}, 401),
        (Standing.KNOWN, {"Authorization": f"Basic {BEARER}"}, 401), (Standing.KNOWN, {"Authorization": ""}, 401),
        (Standing.KNOWN, {"Host": "evil.example"}, 403), (Standing.KNOWN, {"Host": "127.0.0.1.evil.example"}, 403),
        (Standing.KNOWN, {"Host": "localhost:1"}, 200), (Standing.KNOWN, {"Host": "[::1]:8089"}, 200),
        (Standing.KNOWN, {"Via": "1.1 proxy, 1.1 tmsync"}, 508), (Standing.KNOWN, {"Via": "1.1 proxy"}, 200),
        (Standing.KNOWN, {"User-Agent": "TeslaMate/4.2.0"}, 508),
        (Standing.OURS, {"Via": "1.1 tmsync"}, 508), (Standing.OURS, {"User-Agent": "TeslaMate/4.2.0"}, 508),
        (Standing.UNKNOWN, {"Via": "1.1 tmsync"}, 508), (Standing.UNKNOWN, {"User-Agent": "TeslaMate/4.2.0"}, 508),
        (Standing.UNDECIDED, {"Via": "1.1 tmsync"}, 508), (Standing.OURS, {}, 401),
    ],
)  # fmt: skip
def test_who_may_ask(stage: Stage, standing: Standing, headers: dict[str, str], status: int) -> None:
    stage.standing = standing
    told = stage.ask(STATE, **{name.replace("-", "_"): value for name, value in headers.items()})
    assert (told.status, told.source) == (status, "teslamate" if status == 200 else "tmsync")
    assert "expired" not in json.dumps(told.document)
    alarming = status == 508 and standing in (Standing.KNOWN, Standing.OURS)
    assert stage.events == ([("critical", Cause.REQUEST_LOOP)] if alarming else [])
    assert stage.facade is not None
    assert (stage.facade.status().last_call_at is not None) is (status == 200), "who is not let in is not TWCManager"
    assert stage.api.calls == []
