"""The values that TeslaMate's database holds of each car."""

from collections.abc import Iterator

import pytest

from tests.support.surroundings import TeslaMate
from tmsync.core.config.load import load_settings
from tmsync.core.postgres.session import connect
from tmsync.core.teslamate.last_values import FILLED, read_last_values
from tmsync.core.teslamate.topics import PARSERS, Value

RECORDS = """
set role teslamate;
create table public.positions (
  id serial primary key, date timestamp not null, latitude numeric(8,6), longitude numeric(9,6), elevation smallint,
  odometer double precision, ideal_battery_range_km numeric(6,2), battery_level smallint, usable_battery_level smallint,
  outside_temp numeric(4,1), is_climate_on boolean, speed smallint, car_id smallint, tpms_pressure_fl numeric(4,1)
);
create table public.charging_processes (id serial primary key, car_id smallint, end_date timestamp);
create table public.charges (
  id serial primary key, date timestamp, charging_process_id integer, charger_power smallint, charger_voltage smallint,
  charger_phases smallint, charge_energy_added numeric(8,2), battery_level smallint
);
create table public.updates (id serial primary key, car_id smallint, end_date timestamp, version varchar(255));
insert into public.car_settings (id) values (1), (2), (3);
insert into public.cars (id, eid, vid, vin, name, model, settings_id)
  values (1, 1, 1, 'V1', 'Blue', '3', 1), (2, 2, 2, 'V2', 'Red', null, 2), (3, 3, 3, 'V3', null, null, 3);
insert into public.positions (date, latitude, longitude, odometer, ideal_battery_range_km, battery_level, outside_temp,
    is_climate_on, speed, car_id) values
  ('2026-11-29 10:00', 50, 8, 1000.5, 300, 80, 5.5, true, 50, 1), ('2026-11-29 11:00', 51.5, 8.25, 1653.53, 250.75, 64,
   null, false, 0, 1), ('2026-11-29 11:30', 52, 8.5, null, null, null, null, null, 30, 1);
insert into public.charging_processes (id, car_id, end_date) values (1, 1, null), (2, 2, null), (3, 2, '2026-11-29');
insert into public.charges
    (date, charging_process_id, charger_power, charger_voltage, charge_energy_added, battery_level)
  values ('2026-11-29 11:50', 1, 11, 230, 1.5, 65), ('2026-11-29 11:40', 1, 10, 229, 1.1, 64),
         ('2026-11-28 11:50', 3, 11, 230, 9, 90);
insert into public.updates (car_id, end_date, version)
  values (1, '2026-01-01', '2026.2 abc'), (1, '2026-10-01', '2026.38.8 0a1b2c3d'), (1, null, '2026.44');
"""
EMPTY = "drop table if exists public.charges, public.charging_processes, public.positions, public.updates;"


@pytest.fixture
def recorded(teslamate: TeslaMate) -> Iterator[TeslaMate]:
    teslamate.sql(EMPTY + RECORDS)
    yield teslamate
    teslamate.sql(EMPTY + "delete from public.cars; delete from public.car_settings")


def read(teslamate: TeslaMate) -> dict[int, dict[str, Value]]:
    with connect(load_settings(environ=teslamate.environ()).database()) as session:
        return read_last_values(session)


def test_newest_whole_position_and_a_charge_that_goes_on_tell_the_values(recorded: TeslaMate) -> None:
    assert read(recorded) == {
        1: {"display_name": "Blue", "model": "3", "version": "2026.38.8", "latitude": 51.5, "longitude": 8.25,
            "odometer": 1653.53, "ideal_battery_range_km": 250.75, "battery_level": 65, "is_climate_on": False,
            "charger_power": 11, "charger_voltage": 230, "charge_energy_added": 1.5, "state": "charging",
            "charging_state": "Charging", "plugged_in": True},
        2: {"display_name": "Red"},
        3: {},
    }  # fmt: skip


def test_older_and_smaller_schemas_tell_what_they_have(recorded: TeslaMate) -> None:
    recorded.sql("set role teslamate; drop table public.charges, public.updates; alter table public.positions"
                 " drop column odometer, drop column outside_temp")  # fmt: skip
    assert read(recorded)[1] == {
        "display_name": "Blue", "model": "3", "latitude": 51.5, "longitude": 8.25, "ideal_battery_range_km": 250.75,
        "battery_level": 64, "is_climate_on": False,
    }  # fmt: skip


def test_role_that_may_read_nothing_is_told_nothing(recorded: TeslaMate) -> None:
    recorded.sql("revoke select on all tables in schema public from teslamate")
    try:
        assert read(recorded) == {}
    finally:
        recorded.sql("grant select on all tables in schema public to teslamate")


def test_every_key_is_one_of_teslamates_topics() -> None:
    assert set(PARSERS) >= FILLED
