"""That the judge of `make soak` is no rubber stamp: each kind of wrong answer, call and command is told."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from tests.soak.answers import KEYS, UNAVAILABLE, Judge
from tests.soak.callers import Exchange
from tests.soak.cars import SoakCar
from tests.soak.oracle import Diary, Record, Span
from tests.support.cars import Call, Tesla
from tmsync.demo.pacer import Pacer

AT = 1000.0
RECORDED = datetime(2026, 11, 24, 18, tzinfo=UTC)
VALUES = {
    "display_name": "Car 1", "state": "online", "latitude": "52.5", "longitude": "13.25", "charge_limit_soc": "80",
    "battery_level": "63", "charging_state": "Disconnected", "shift_state": "", "time_to_full_charge": "",
}  # fmt: skip
LOCATION = {"latitude": 52.5, "longitude": 13.25, "gps_as_of": int(RECORDED.timestamp())}
CHARGE = {
    "charge_limit_soc": 80, "battery_level": 63, "charging_state": "Disconnected", "time_to_full_charge": 0.0
}  # fmt: skip


class Court:
    """A car that sent heartbeats every second until `silence` seconds before AT, its judge, and what it found."""

    def __init__(self, silence: float = 0, **values: str) -> None:
        self.wrong: list[str] = []
        self.diary = Diary(20, witness=False)
        self.diary.keys = KEYS
        self.car = SoakCar(1, "5YJ3E1EA7KF000001", 1_000_001, cast("Pacer", None))
        self.api = Tesla([self.car])
        self.judge = Judge(self.diary, self.api, lambda what, _car, _at: self.wrong.append(what))
        self.says(AT - 200, **VALUES | values)
        for number in range(int(200 - silence) + 1):
            self.says(AT - 200 + number)
        self.diary.cars[1].records.append(Record(AT - 200, RECORDED, AT - 200, AT - 200))

    def says(self, at: float, **values: str) -> None:
        for key, value in values.items():
            self.diary.note(f"teslamate/cars/1/{key}", value.encode(), True, at)
        self.diary.note("teslamate/cars/1/healthy", b"true", False, at)
        self.diary.cars[1].beats.sort()

    def looks(self, at: float, **values: str) -> None:
        """TeslaMate gets data from Tesla, publishes it, and records a position of the same moment as the first."""
        self.diary.look(1, at)
        self.says(at, **values)
        self.diary.end_look(at)
        self.diary.cars[1].records.append(Record(at, RECORDED, at, at + 0.1))

    def commanded(self, at: float, arrivals: int = 1) -> None:
        """A command was answered by Tesla within a tenth of a second."""
        calls = [Call("set_charge_limit", self.car.vin, "", "", {"number": 7}, at) for _ in range(arrivals)]
        self.api.calls += calls
        self.car.obeyed_at[7] = at
        self.takes("set_charge_limit", begin=at, end=at + 0.1, source="tesla", document={"response": {}}, number=7)

    def takes(self, kind: str, **fields: Any) -> None:
        given = {"begin": AT, "end": AT + 0.01, "status": 200, "source": "teslamate", "connected_at": AT - 300}
        self.judge.take(Exchange(self.car, kind, **given | fields))

    def found(self) -> str:
        self.judge.check(AT + 1)
        self.judge.check_at_the_end()
        return "; ".join(self.wrong)


def state(name: str = "online") -> dict[str, Any]:
    ids = {"id": 1_000_001, "id_s": "1000001", "vin": "5YJ3E1EA7KF000001"}
    return {"response": {**ids, "display_name": "Car 1", "state": name}}


def data(**changes: Any) -> dict[str, Any]:
    drive = {**LOCATION, "shift_state": None}
    charge = {**CHARGE, **changes}
    return {"response": {**state()["response"], "drive_state": drive, "charge_state": charge}}


def test_right_answers_are_right() -> None:
    court = Court()
    court.takes("vehicle_data", document=data())
    court.takes("state", document=state())
    assert court.found() == ""
    asleep = Court(state="asleep")
    asleep.takes("vehicle_data", status=408, document=UNAVAILABLE)
    assert asleep.found() == ""


def test_an_answer_may_be_as_old_as_what_was_sent_two_seconds_ago() -> None:
    for ago, wrong in ((1, ""), (1.9, ""), (2.1, "battery_level is 63, not [64.0]")):
        court = Court()
        court.diary.note("teslamate/cars/1/battery_level", b"64", True, AT - ago)
        court.takes("vehicle_data", document=data())
        assert wrong in court.found()
        assert bool(court.wrong) is bool(wrong)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"charge_limit_soc": 90}, "charge_limit_soc is 90"),
        ({"charging_state": "Charging"}, "charging_state is Charging"),
        ({"time_to_full_charge": 1.5}, "time_to_full_charge is 1.5"),
        ({"charger_power": 11}, "charger_power is 11 while Disconnected"),
        ({"scheduled_charging_pending": False}, "unknown fields"),
    ],
)
def test_a_field_that_teslamate_did_not_say_is_wrong(changes: dict[str, Any], wrong: str) -> None:
    court = Court()
    court.takes("vehicle_data", document=data(**changes))
    assert wrong in court.found()


@pytest.mark.parametrize(
    ("silence", "said", "fields", "wrong"),
    [
        (0, {}, {"document": state("asleep")}, "wanted"),
        (0, {}, {"document": state(), "age": 9}, "older than the last summary by"),
        (9, {}, {"document": state(), "age": 1}, "nothing came for 7.0 s"),
        (30, {}, {"document": state(), "age": 30}, "answered from TeslaMate, which is stale"),
        (0, {"state": "suspended"}, {"document": state()}, "answered from TeslaMate, which is quiet"),
        (0, {}, {"source": "tmsync", "status": 503, "document": {}}, "tmsync answered 503"),
        (0, {}, {"source": "", "status": 0, "error": "refused"}, "no answer: refused"),
        (0, {}, {"source": "tesla", "document": {"response": {"told": 5}}}, "Tesla never told this"),
    ],
)
def test_a_wrong_state_age_or_source_is_told(
    silence: float, said: dict[str, str], fields: dict[str, Any], wrong: str
) -> None:
    court = Court(silence, **said)
    court.takes("state", **fields)
    assert wrong in court.found()


def test_what_waits_for_a_schedule_in_the_car_is_not_teslamates_to_answer() -> None:
    court = Court(charging_state="Stopped")
    court.takes("vehicle_data", document=data(charging_state="Stopped"))
    assert "charging_state is Stopped" in court.found()


@pytest.mark.parametrize(
    ("commanded", "looked", "limit", "wrong"),
    [
        (30, 20, "70", ""),
        (30, 20, "80", "charge_limit_soc is 80, not [70.0]"),
        (30, None, "80", "before it could know"),
        (3, 2, "70", "before it could know"),
        (130, None, "80", ""),
    ],
)
def test_teslamate_answers_after_a_command_once_it_can_know(
    commanded: float, looked: float | None, limit: str, wrong: str
) -> None:
    court = Court()
    court.commanded(AT - commanded)
    if looked is not None:
        court.looks(AT - looked, charge_limit_soc="70")
    court.takes("vehicle_data", document=data(charge_limit_soc=int(limit)))
    assert wrong in court.found()
    assert bool(court.wrong) is bool(wrong)


def test_teslas_answer_may_be_given_again_but_not_after_a_command_nor_without_need() -> None:
    for values, commanded, wrong in (
        ({"charging_state": "Stopped"}, None, ""),
        ({"charging_state": "Stopped"}, AT - 10, "is older than the set_charge_limit"),
        ({}, None, "without need"),
    ):
        court = Court(**values)
        court.car.told_at[5] = AT - 100
        if commanded is not None:
            court.commanded(commanded)
        court.takes("vehicle_data", source="tesla", age=100, document={"response": {"told": 5}})
        assert wrong in court.found()
        assert bool(court.wrong) is bool(wrong)


@pytest.mark.parametrize(("silence", "wrong"), [(0, True), (30, False)])
def test_what_teslamate_shows_after_a_command_counts_once_it_is_found_trusted(silence: float, wrong: bool) -> None:
    court = Court(silence)
    court.commanded(AT - 150)
    court.looks(AT - 140, charge_limit_soc="70")
    court.car.told_at[5] = AT - 20
    court.takes("vehicle_data", source="tesla", age=20, document={"response": {"told": 5}})
    assert ("given again without need" in court.found()) is wrong


def test_a_value_may_be_left_out_until_one_that_was_sent_after_an_interruption_has_surely_arrived() -> None:
    charging = {
        "state": "charging",
        "charging_state": "Charging",
        "time_to_full_charge": "1.5",
        "charger_voltage": "230",
    }
    for ago, wrong in ((1.9, False), (2.1, True)):
        court = Court(**charging)
        court.diary.cuts.append(Span(AT - 31, AT - 29))
        court.diary.note("teslamate/cars/1/charger_voltage", b"231", True, AT - 30)
        court.diary.note("teslamate/cars/1/charger_voltage", b"232", True, AT - ago)
        court.takes("vehicle_data", document=data(charging_state="Charging", time_to_full_charge=1.5))
        assert ("charger_voltage is None" in court.found()) is wrong


def test_a_command_reaches_tesla_once() -> None:
    for arrivals in (0, 2):
        court = Court()
        court.commanded(AT - 50, arrivals)
        assert f"reached Tesla {arrivals} times" in court.found()


@pytest.mark.parametrize(
    ("values", "kind", "wrong"),
    [
        ({}, "state", True),
        ({}, "vehicle_data", True),
        ({"state": "asleep"}, "vehicle_data", True),
        ({"state": "suspended"}, "state", False),
        ({"charging_state": "Stopped"}, "vehicle_data", False),
        ({"charging_state": "Stopped"}, "state", True),
    ],
)
def test_tesla_is_asked_for_a_trusted_car_only_for_its_schedule(values: dict[str, str], kind: str, wrong: bool) -> None:
    court = Court(**values)
    court.api.calls.append(Call(kind, court.car.vin, "", "", {}, AT))
    assert ("without need" in court.found()) is wrong


def test_tesla_may_be_asked_while_a_value_is_not_certain_that_changed_in_an_interruption() -> None:
    for ago, wrong in ((30, False), (20, True)):
        court = Court()
        court.diary.cuts.append(Span(AT - 31, AT - 29))
        court.diary.note("teslamate/cars/1/battery_level", b"62", True, AT - ago)
        court.api.calls.append(Call("vehicle_data", court.car.vin, "", "", {}, AT))
        assert ("without need" in court.found()) is wrong


def test_tesla_is_asked_for_a_schedule_every_five_minutes_and_after_a_command_every_minute() -> None:
    court = Court(charging_state="Stopped")
    court.api.calls += [Call("vehicle_data", court.car.vin, "", "", {}, AT - ago) for ago in (100, 50)]
    assert court.found() == "Tesla was asked for vehicle_data without need"
    court = Court()
    court.commanded(AT - 60)
    court.api.calls += [Call("vehicle_data", court.car.vin, "", "", {}, AT - ago) for ago in (59, 30, 20)]
    assert court.found() == "; ".join(["Tesla was asked for vehicle_data without need"] * 2)


def test_what_is_interrupted_is_excused() -> None:
    court = Court()
    court.judge.tesla_downs.append(Span(AT - 1, AT))
    court.takes("state", source="tmsync", status=503, document={})
    court.judge.serve_downs.append(Span(AT - 1, AT))
    court.takes("state", source="", status=0)
    assert court.found() == ""
