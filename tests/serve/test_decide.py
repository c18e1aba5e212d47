"""The decision table: state x verdict x fields x after a command x path, whole answers compared."""

import itertools
import json
import math
from datetime import timedelta
from typing import Any

import pytest

from tests.serve.stage import BEGIN, CHARGING, DATA, LIST, ONLINE, STATE
from tests.support.tesla import EID, VIN
from tmsync.core.clock import Instant
from tmsync.core.serve.commands import PendingCommand
from tmsync.core.serve.decide import (
    UNAVAILABLE,
    Answer,
    Decision,
    Forward,
    KeptAnswer,
    Origin,
    Purpose,
    Situation,
    decide,
    encoded,
    refusal,
)
from tmsync.core.serve.limits import Hold
from tmsync.core.serve.request import ApiRequest, Grammar, RateClass
from tmsync.core.telemetry.health import Judgement, Thresholds, Verdict
from tmsync.core.telemetry.liveness import LivenessReport
from tmsync.core.telemetry.views import VehicleView
from tmsync.core.teslamate.records import CarRecord
from tmsync.core.teslamate.topics import parse_value

NOW = Instant(BEGIN, 1000.0)
HEARD_AT = 990.0
CAR = CarRecord(
    1, "Blue", VIN, 21, use_streaming_api=True, enabled=True, last_record_at=BEGIN, eid=EID,
    position_at=BEGIN - timedelta(seconds=10), pilot_current=32,
)  # fmt: skip
REPORT = LivenessReport(cars={1: CAR}, database_at=BEGIN, asked_at=998.0, read_at=998.5)
STATES = ("online", "charging", "driving", "asleep", "offline", "suspended", "updating", "start", "unavailable", None)
AS_TESLA = {"online": "online", "charging": "online", "driving": "online", "asleep": "asleep", "offline": "offline"}


def read(method: str, target: str) -> ApiRequest:
    found = Grammar().read(method, target)
    assert found is not None
    return found


PATHS = {
    "list": read("GET", LIST),
    "products": read("GET", "/api/1/products"),
    "state": read("GET", STATE),
    "data": read("GET", DATA),
    "all sections": read("GET", DATA + "%3Bvehicle_state"),
    "wider": read("GET", DATA + "%3Bclimate_state"),
    "unnamed": read("GET", f"{STATE}/vehicle_data"),
    "wake_up": read("POST", f"{STATE}/wake_up"),
    "charge_stop": read("POST", f"{STATE}/command/charge_stop"),
}


def view(state: str | None, verdict: Verdict = Verdict.FRESH, **changed: str | None) -> VehicleView:
    """None: a value that the broker may have lost."""
    values = dict(CHARGING if state == "charging" else ONLINE, **changed, **({} if state is None else {"state": state}))
    if state is None:
        del values["state"]
    telemetry = {key: parse_value(key, (value or "").encode()) for key, value in values.items()}
    held = dict(CHARGING if state == "charging" else ONLINE)
    telemetry |= {key: parse_value(key, held[key].encode()) for key, value in changed.items() if value is None}
    return VehicleView(
        NOW.wall, 1, "", "Blue", ("Blue",), state, None, True, Judgement(verdict, "", Thresholds(0, 0), None), BEGIN,
        NOW.running - HEARD_AT, False, 0, telemetry, told=frozenset(k for k, v in values.items() if v is not None),
        heard_at=HEARD_AT,
    )  # fmt: skip


def case(of: VehicleView | None, **more: Any) -> Situation:
    return Situation(NOW, more.pop("report", REPORT), more.pop("car", CAR), of, **more)


def teslamate(document: dict[str, Any], why: str = "fresh", status: int = 200) -> Answer:
    return Answer(status, encoded(document), Origin.TESLAMATE, why, 10.0)


HEAD = {"id": EID, "id_s": str(EID), "vin": VIN, "display_name": "Blue"}
PLACE = {"latitude": 52.5, "longitude": 13.25, "gps_as_of": int(BEGIN.timestamp()) - 10, "shift_state": None}
CHARGE = {
    "Disconnected": {
        "charge_limit_soc": 80, "battery_level": 63, "charging_state": "Disconnected", "time_to_full_charge": 0.0,
    },
    "Charging": {
        "charge_limit_soc": 80, "battery_level": 63, "charging_state": "Charging", "time_to_full_charge": 1.5,
        "charger_actual_current": 16, "charger_phases": 3, "charger_power": 11, "charger_voltage": 230,
        "charger_pilot_current": 32,
    },
}  # fmt: skip
COMMANDS = {
    "none": None,
    "under way": PendingCommand(1),
    "just answered": PendingCommand(0, HEARD_AT - 4.9),
    "seen in a summary, in no record": PendingCommand(0, HEARD_AT),
    "shown": PendingCommand(0, HEARD_AT - 5, record_at=BEGIN - timedelta(seconds=16)),
    "asleep since": PendingCommand(0, HEARD_AT - 120),
}


def is_over(command: str, state: str | None) -> bool:
    if command in ("none", "asleep since"):
        return True
    return command == "shown" and state in ("online", "charging", "driving")


def expected(state: str | None, verdict: Verdict, command: str, path: str) -> Decision:
    """The table, written once more and in other words."""
    if path in ("list", "products"):
        return Forward("only Tesla knows")
    if path in ("wake_up", "charge_stop"):
        return Forward("a command")
    trusted = verdict in (Verdict.FRESH, Verdict.LATE)
    if command != "none" and not (trusted and state in AS_TESLA and is_over(command, state)):
        return Forward("it was commanded", None if path == "state" else Purpose.COMMAND)
    if not trusted:
        return Forward(f"TeslaMate is not trusted: {verdict}")
    if state is None:
        return Forward("the broker has lost the state")
    if state not in AS_TESLA:
        return Forward(f"TeslaMate says {state}")
    head = {**HEAD, "state": AS_TESLA[state]}
    if path == "state":
        return teslamate({"response": head}, verdict)
    if path in ("wider", "unnamed"):
        return Forward("more is asked for than TeslaMate knows")
    if state in ("asleep", "offline"):
        return teslamate(UNAVAILABLE, verdict, 408)
    sections = {"drive_state": PLACE, "charge_state": CHARGE["Charging" if state == "charging" else "Disconnected"]}
    sections |= {"vehicle_state": {"vehicle_name": "Blue"}} if path == "all sections" else {}
    return teslamate({"response": head | sections}, verdict)


TABLE = list(itertools.product(STATES, Verdict, COMMANDS, PATHS))


def test_every_row_of_the_table_is_decided_as_written() -> None:
    wrong = []
    for state, verdict, command, path in TABLE:
        found = decide(PATHS[path], case(view(state, verdict), command=COMMANDS[command]))
        wanted = expected(state, verdict, command, path)
        if found != wanted:
            wrong.append((state, verdict, command, path, found, wanted))
    assert (len(TABLE), wrong) == (3780, [])


SAMPLE = {"online": "Disconnected", "charging": "Charging", "driving": "Disconnected"}
NEEDED = ("latitude", "longitude", "charge_limit_soc", "battery_level", "charging_state")


@pytest.mark.parametrize("state", SAMPLE)
@pytest.mark.parametrize("key", NEEDED)
@pytest.mark.parametrize("value", [None, ""])
def test_a_needed_field_that_is_not_known_is_never_guessed(state: str, key: str, value: str | None) -> None:
    found = view(state, **{key: value})
    assert decide(PATHS["data"], case(found)) == Forward(f"{key} is not known")
    assert decide(PATHS["state"], case(found)) == teslamate({"response": {**HEAD, "state": "online"}})


@pytest.mark.parametrize(
    ("state", "left", "told"),
    [
        ("online", "", 0.0), ("online", None, 0.0), ("online", "2.5", 2.5), ("driving", "", 0.0),
        ("charging", "", "not known"), ("charging", None, "not known"), ("charging", "0.0", 0.0),
    ],
)  # fmt: skip
def test_time_to_full_charge_is_nought_where_nothing_charges(state: str, left: str | None, told: object) -> None:
    found = decide(PATHS["data"], case(view(state, time_to_full_charge=left)))
    if told == "not known":
        assert found == Forward("time_to_full_charge is not known")
    else:
        assert isinstance(found, Answer)
        assert json.loads(found.body)["response"]["charge_state"]["time_to_full_charge"] == told


@pytest.mark.parametrize(("value", "told"), [("", {"shift_state": None}), ("D", {"shift_state": "D"}), (None, {})])
def test_shift_state_is_null_only_where_its_deletion_was_seen(value: str | None, told: dict[str, Any]) -> None:
    found = decide(PATHS["data"], case(view("driving", shift_state=value)))
    assert isinstance(found, Answer)
    drive = json.loads(found.body)["response"]["drive_state"]
    assert {key: drive[key] for key in drive if key == "shift_state"} == told


@pytest.mark.parametrize(("age", "told"), [(120, 32), (120.1, None)])
def test_a_pilot_current_that_was_read_two_minutes_ago_is_none(age: float, told: int | None) -> None:
    found = decide(PATHS["data"], case(view("charging"), report=REPORT._replace(read_at=NOW.running - age)))
    assert isinstance(found, Answer)
    assert json.loads(found.body)["response"]["charge_state"].get("charger_pilot_current") == told


@pytest.mark.parametrize("value", ["", None])
def test_currents_that_are_not_known_are_left_out(value: str | None) -> None:
    keys = ("charger_actual_current", "charger_phases", "charger_power", "charger_voltage")
    stale = REPORT._replace(read_at=NOW.running - 121)
    found = decide(PATHS["data"], case(view("charging", **dict.fromkeys(keys, value)), report=stale))
    assert isinstance(found, Answer)
    charge = json.loads(found.body)["response"]["charge_state"]
    assert [key for key in charge if key.startswith("charger_")] == []


@pytest.mark.parametrize(
    ("car", "reason"),
    [
        (None, "the database has not told the car's VIN and id"),
        (CAR._replace(vin=None), "the database has not told the car's VIN and id"),
        (CAR._replace(eid=None), "the database has not told the car's VIN and id"),
        (CAR._replace(position_at=None), "gps_as_of is not known"),
    ],
)
def test_what_the_database_has_not_told_is_never_guessed(car: CarRecord | None, reason: str) -> None:
    assert decide(PATHS["data"], case(view("online"), car=car)) == Forward(reason)


def test_a_car_that_teslamate_does_not_log_is_asked_of_tesla() -> None:
    reason = "nothing is heard of the car from TeslaMate"
    assert decide(PATHS["state"], case(None, car=None)) == Forward(reason)


def test_a_commanded_car_of_which_nothing_is_heard_from_teslamate_is_asked_of_tesla() -> None:
    for path, purpose in (("state", None), ("data", Purpose.COMMAND)):
        found = decide(PATHS[path], case(None, command=COMMANDS["shown"]))
        assert found == Forward("it was commanded", purpose)


@pytest.mark.parametrize(
    ("car", "connected_at", "counts"),
    [
        (CAR._replace(state="online"), 997.9, True),
        (CAR._replace(state="online"), 998.0, False),
        (CAR._replace(state="asleep"), 997.9, False),
        (CAR._replace(state=None), 997.9, False),
        (None, 997.9, False),
    ],
)
def test_a_state_that_the_broker_may_have_lost_counts_once_the_database_says_the_same(
    car: CarRecord | None, connected_at: float, counts: bool
) -> None:
    heard = view("online")
    lost = heard._replace(told=heard.told - {"state"}, connected_at=connected_at)
    answer = teslamate({"response": {**HEAD, "state": "online"}})
    found = decide(PATHS["state"], case(lost, car=car))
    assert found == (answer if counts else Forward("the broker has lost the state"))
    found = decide(PATHS["state"], case(lost, car=car, command=COMMANDS["shown"]))
    assert found == (answer if counts else Forward("it was commanded")), "nor does it show what came of a command"


def test_a_car_without_a_name_goes_by_its_vin() -> None:
    found = decide(PATHS["state"], case(view("online")._replace(name="car 1")))
    assert found == teslamate({"response": {**HEAD, "display_name": VIN, "state": "online"}})


TOLD = Answer(200, b'{"response": {}}', Origin.TESLA, "asked")


@pytest.mark.parametrize("charging_state", ["Stopped", "NoPower"])
@pytest.mark.parametrize(
    ("age", "status", "asked_again"),
    [(0, 200, False), (299.9, 200, False), (300, 200, True), (59, 408, False), (60, 408, True)],
)
def test_a_schedule_is_asked_of_tesla_and_remembered(
    charging_state: str, age: float, status: int, asked_again: bool
) -> None:
    request = PATHS["data"]
    told = TOLD._replace(status=status)
    kept = {(request.endpoints, Purpose.SCHEDULE): KeptAnswer(NOW.running - age, told)}
    found = decide(request, case(view("online", charging_state=charging_state), kept=kept))
    reason = "whether a schedule in the car is pending only Tesla knows"
    if asked_again:
        assert found == Forward(reason, Purpose.SCHEDULE)
    else:
        assert found == told._replace(age_s=pytest.approx(age), reason=f"{reason}; asked {int(age)} s ago")
    elsewhere = {(PATHS["all sections"].endpoints, Purpose.SCHEDULE): KeptAnswer(NOW.running, TOLD)}
    asks = decide(request, case(view("online", charging_state=charging_state), kept=elsewhere))
    assert asks == Forward(reason, Purpose.SCHEDULE), "what other sections said is no answer"


@pytest.mark.parametrize(("age", "asked_again"), [(0, False), (59.9, False), (60, True)])
def test_after_a_command_one_vehicle_data_a_minute_goes_up(age: float, asked_again: bool) -> None:
    request = PATHS["data"]
    kept = {(request.endpoints, Purpose.COMMAND): KeptAnswer(NOW.running - age, TOLD)}
    found = decide(request, case(view("online"), command=COMMANDS["just answered"], kept=kept))
    if asked_again:
        assert found == Forward("it was commanded", Purpose.COMMAND)
    else:
        assert isinstance(found, Answer)
        assert (found.body, found.origin, found.age_s) == (TOLD.body, Origin.TESLA, pytest.approx(age))
    of_schedule = {(request.endpoints, Purpose.SCHEDULE): KeptAnswer(NOW.running, TOLD)}
    asks = decide(request, case(view("online"), command=COMMANDS["just answered"], kept=of_schedule))
    assert asks == Forward("it was commanded", Purpose.COMMAND)


@pytest.mark.parametrize(
    ("limit", "shown", "over"), [(80, "80", True), (70, "80", False), (80, None, False), (80, "", False)]
)
def test_a_new_limit_must_be_shown(limit: int, shown: str | None, over: bool) -> None:
    command = COMMANDS["shown"]
    assert command is not None
    found = decide(PATHS["state"], case(view("online", charge_limit_soc=shown), command=command._replace(limit=limit)))
    assert (found == teslamate({"response": {**HEAD, "state": "online"}})) is over


@pytest.mark.parametrize(
    ("report", "record_at"),
    [
        # Read so recently that the rest of the summary may still be on its way.
        (REPORT._replace(read_at=999.5), None),
        (REPORT, BEGIN - timedelta(seconds=10)),
        # By the database's clock the record is as old as the command.
        (REPORT._replace(database_at=BEGIN + timedelta(seconds=5)), None),
        (REPORT._replace(database_at=None), None),
    ],
)  # fmt: skip
def test_only_a_record_newer_than_the_command_shows_what_came_of_it(report: LivenessReport, record_at: Any) -> None:
    command = PendingCommand(0, HEARD_AT - 5, record_at=record_at)
    found = decide(PATHS["state"], case(view("online"), command=command, report=report))
    assert found == Forward("it was commanded")


def test_a_refusal_tells_the_log_why_and_the_caller_only_what() -> None:
    body = b'{"response":null,"error":"tmsync: not now","error_description":"not now"}'
    assert refusal(503, "not now") == Answer(503, body, Origin.TMSYNC, "not now")
    assert refusal(503, "not now", "it was commanded") == Answer(503, body, Origin.TMSYNC, "it was commanded")


@pytest.mark.parametrize(("until", "over"), [(HEARD_AT, True), (HEARD_AT + 0.1, False), (math.inf, False)])
@pytest.mark.parametrize(("state", "command"), [("online", "shown"), ("asleep", "asleep since")])
def test_what_was_heard_before_the_broker_was_lost_shows_nothing_although_a_record_is_newer(
    until: float, state: str, command: str, *, over: bool
) -> None:
    found = view(state)._replace(cut_off_until=until)
    wanted = teslamate({"response": {**HEAD, "state": AS_TESLA[state]}}) if over else Forward("it was commanded")
    assert decide(PATHS["state"], case(found, command=COMMANDS[command])) == wanted


HELD = {RateClass.DATA: Hold(700.0, 1100.0)}
LIMITED = refusal(503, "Tesla limits requests: none goes up for 101 s")._replace(retry_after_s=101)
LAST = "the last values, since Tesla limits requests"


def limited(state: str | None, verdict: Verdict, path: str) -> Decision:
    """The same table while Tesla limits requests for data."""
    trusted = expected(state, verdict, "none", path)
    if path in ("wake_up", "charge_stop") or isinstance(trusted, Answer):
        return trusted
    at_rest = state in {*AS_TESLA, "suspended", "updating"} - {"charging"}
    told_by_both = verdict in (Verdict.FRESH, Verdict.LATE) and state in AS_TESLA
    if path in ("list", "products", "wider", "unnamed") or not at_rest or told_by_both:
        return LIMITED
    as_if_trusted = expected(state if state in AS_TESLA else "online", Verdict.FRESH, "none", path)
    assert isinstance(as_if_trusted, Answer)
    return as_if_trusted._replace(reason=LAST)


def test_while_tesla_limits_only_a_car_at_rest_is_answered() -> None:
    wrong = []
    for state, verdict, path in itertools.product(STATES, Verdict, PATHS):
        found = decide(PATHS[path], case(view(state, verdict), holds=HELD))
        wanted = limited(state, verdict, path)
        if found != wanted:
            wrong.append((state, verdict, path, found, wanted))
    assert wrong == []


@pytest.mark.parametrize(
    ("of", "more"),
    [
        (view("online", Verdict.STALE), {"holds": {RateClass.DATA: Hold(99.0, 1100.0)}}),
        (view("online", Verdict.STALE), {"tesla_at": HEARD_AT + 1}),
        (view("online", Verdict.STALE), {"command": COMMANDS["asleep since"]}),
        (view("online", Verdict.STALE)._replace(heard_at=99.0), {}),
        (view("online", Verdict.WAITING)._replace(heard_at=None), {}),
        (view("online", Verdict.STALE, charging_state="Charging"), {}),
        (view("online", Verdict.STALE, charging_state=None), {}),
        (view("online", Verdict.STALE, charging_state="Stopped"), {}),
        (view("online", Verdict.STALE, latitude=None), {}),
        (None, {}),
    ],
)
def test_last_values_are_none_that_are_old_or_contradicted(of: VehicleView | None, more: dict[str, Any]) -> None:
    assert decide(PATHS["data"], case(of, **{"holds": HELD, **more})) == LIMITED


def test_each_class_is_held_for_itself_and_a_stop_never() -> None:
    holds = dict.fromkeys(RateClass, Hold(700.0, 1100.0))
    assert decide(PATHS["wake_up"], case(view("online"), holds=holds)) == LIMITED
    assert decide(PATHS["charge_stop"], case(view("online"), holds=holds)) == Forward("a command")
    assert decide(PATHS["wake_up"], case(view("online"), holds=HELD)) == Forward("a command")
