"""The raw target's grammar: what is a request, and what is none however it is spelled."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tesla import EID, VIN
from tmsync.core.serve.request import COMMANDS, ApiRequest, Grammar, Kind, RateClass

CAR = f"/api/1/vehicles/{VIN}"
GRAMMAR = Grammar()
ALLOWING = Grammar(("/api/1/vehicles/{vehicle}/command/honk_horn", "/api/1/energy_sites/{digits}/site_info"))
REQUESTS = [
    ApiRequest("GET", "/api/1/vehicles", Kind.LIST, "vehicles"),
    ApiRequest("GET", "/api/1/products", Kind.PRODUCTS, "products"),
    ApiRequest("GET", "/api/1/energy_sites/4711/live_status", Kind.LIVE_STATUS, "live_status"),
    ApiRequest("GET", CAR, Kind.STATE, "vehicle", VIN),
    ApiRequest("GET", f"/api/1/vehicles/{EID}", Kind.STATE, "vehicle", str(EID)),
    ApiRequest("GET", f"{CAR}/vehicle_data", Kind.DATA, "vehicle_data", VIN),
    ApiRequest(
        "GET", f"{CAR}/vehicle_data?endpoints=charge_state%3Bdrive_state", Kind.DATA, "vehicle_data", VIN,
        frozenset({"charge_state", "drive_state"}),
    ),
    ApiRequest(
        "GET", f"{CAR}/vehicle_data?endpoints=%63harge_state%3b", Kind.DATA, "vehicle_data", VIN,
        frozenset({"charge_state", ""}),
    ),
    ApiRequest("POST", f"{CAR}/wake_up", Kind.WAKE, "wake_up", VIN),
    *(ApiRequest("POST", f"{CAR}/command/{name}", Kind.COMMAND, name, VIN) for name in COMMANDS),
]  # fmt: skip


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: f"{one.method} {one.target}")
def test_every_request_of_twcmanager_is_read_as_what_it_is(request_: ApiRequest) -> None:
    assert GRAMMAR.read(request_.method, request_.target) == request_
    assert ALLOWING.read(request_.method, request_.target) == request_


@pytest.mark.parametrize(
    "target",
    [
        "", "/", "*", "/api/1", "/api/1/", "/api/1/vehicles/", "/api/1//vehicles", "//api/1/vehicles", "api/1/vehicles",
        "/api/2/vehicles", "/API/1/vehicles", "/api/1/vehicles?", "/api/1/vehicles?page=2", "/api/1/vehicles#x",
        "/api/1/vehicles\n", "/api/1/vehicles ", "/api/1/vehicles\x00", "/api/1/vehicle%73", "/api/1/./vehicles",
        "/api/1/users/me", "/api/1/vehicles/../users/me", "/api/1/vehicles/..", "/api/1/vehicles/%2e%2e/users/me",
        "/api/1/vehicles;x", "/api/1\\vehicles", f"/api/1/vehicles\\{VIN}", f"{CAR}/", f"{CAR};x", f"{CAR}%00",
        f"{CAR}/..", f"{CAR}/vehicle_data/", f"{CAR}/vehicle_data?", f"{CAR}/vehicle_data?endpoints=",
        f"{CAR}/vehicle_data?endpoints=charge_state;drive_state", f"{CAR}/vehicle_data?endpoints=a&endpoints=b",
        f"{CAR}/vehicle_data?let_sleep=true", f"{CAR}/vehicle_data?endpoints=a&b=c", f"{CAR}/vehicle_data?endpoints=%3",
        f"{CAR}/vehicle_data?endpoints=%zz", f"{CAR}/vehicle_data?endpoints=a/../b", f"{CAR}/vehicle%5Fdata",
        f"{CAR}/vehicle_data?endpoints={'a' * 2000}", f"{CAR}/vehicle_data?ENDPOINTS=a", f"{CAR}/nearby_charging_sites",
        f"{CAR}/command/charge_stop", f"{CAR}/wake_up", "/api/1/vehicles/5YJ3E1EA7KF00000", f"{CAR}1",
        f"/api/1/vehicles/{VIN.lower()}", "/api/1/vehicles/5YJ3E1EA7KF00000%31", "/api/1/vehicles/-1",
        "/api/1/vehicles/\u0663\u0664", "/api/1/vehicles/" + "9" * 21, "/api/1/energy_sites/a/live_status",
        "/api/1/energy_sites/1/site_info", "/api/1/energy_sites/1/live_status?x", "/api/1/energy_sites//live_status",
        f"http://owner-api.teslamotors.com{CAR}", f"http:{CAR}", "owner-api.teslamotors.com:443", f"@evil{CAR}",
        f"{CAR}\r\nX: y", f"{CAR}\udce4",
    ],
)  # fmt: skip
def test_whatever_is_spelled_otherwise_is_no_request(target: str) -> None:
    assert GRAMMAR.read("GET", target) is None


@pytest.mark.parametrize("target", [
    "/api/1/vehicles", CAR, f"{CAR}/vehicle_data", f"{CAR}/command", f"{CAR}/command/", f"{CAR}/command/honk_horn",
    f"{CAR}/command/charge_stop?x", f"{CAR}/command/charge_stop/", f"{CAR}/command/../wake_up", f"{CAR}/wake_up?",
    f"{CAR}/command/charge%5Fstop", f"{CAR}/command/CHARGE_STOP", f"{CAR}//wake_up",
    f"{CAR}/command/remote_start_drive",
])  # fmt: skip
def test_no_other_command_is_a_request(target: str) -> None:
    assert GRAMMAR.read("POST", target) is None


@pytest.mark.parametrize(
    "method", ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "get", "POST ", ""]
)
def test_no_other_method_is_a_request(method: str) -> None:
    assert [GRAMMAR.read(method, one.target) for one in REQUESTS] == [None] * len(REQUESTS)
    assert ALLOWING.read(method, f"{CAR}/command/honk_horn") is None


def test_further_paths_are_allowed_by_name_alone() -> None:
    honk = ALLOWING.read("POST", f"{CAR}/command/honk_horn")
    assert honk == ApiRequest("POST", f"{CAR}/command/honk_horn", Kind.EXTRA, "extra", VIN)
    site = ALLOWING.read("GET", "/api/1/energy_sites/12/site_info")
    assert site == ApiRequest("GET", "/api/1/energy_sites/12/site_info", Kind.EXTRA, "extra")
    for target in (f"{CAR}/command/honk_horn?x", f"{CAR}/command/honk_hornx", "/api/1/energy_sites/12x/site_info"):
        assert (ALLOWING.read("POST", target), ALLOWING.read("GET", target)) == (None, None)


def test_classes_are_those_that_tesla_limits() -> None:
    assert {one.name: one.rate_class for one in REQUESTS if one.method == "POST"} == {
        "wake_up": RateClass.WAKE, **dict.fromkeys(COMMANDS, RateClass.COMMAND),
    }  # fmt: skip
    assert {one.rate_class for one in REQUESTS if one.method == "GET"} == {RateClass.DATA}


def test_the_owner_api_gets_the_id_where_the_vin_stood() -> None:
    read = [GRAMMAR.read(one.method, one.target) for one in REQUESTS]
    assert [one.by_id(EID) for one in read if one is not None] == [
        one.target.replace(VIN, str(EID)) for one in REQUESTS
    ]


@given(st.text(alphabet="/api1vehcles%2e.;\\?=&#@:" + VIN, max_size=60), st.sampled_from(["GET", "POST"]))
def test_nothing_but_the_listed_characters_ever_goes_up(text: str, method: str) -> None:
    for target in (text, "/api/1/" + text, CAR + text, f"{CAR}/vehicle_data?endpoints={text}"):
        found = GRAMMAR.read(method, target)
        if found is not None:
            path, _, query = target.partition("?")
            assert not set(path) & set("%;\\@:#&=?")
            assert ".." not in path
            assert "//" not in path
            assert query == "" or (query.startswith("endpoints=") and not set(query[10:]) & set("/;\\&#=?@."))
