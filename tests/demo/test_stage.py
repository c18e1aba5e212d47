"""The demo's database and its broker tell the same of each car, as TeslaMate's do."""

import pytest

from tmsync.core.clock import SystemClock
from tmsync.core.config.load import load_settings
from tmsync.core.postgres.session import connect
from tmsync.core.telemetry.recorded import RECORDED_AS
from tmsync.core.teslamate.records import is_any_charging, read_cars
from tmsync.demo.stage import CARS, CHARGING, SHUT, Stage


@pytest.mark.slow
def test_records_agree_with_what_is_published() -> None:
    """Else a kept demo looks, after two minutes, like a TeslaMate that has lost its broker."""
    with Stage(lambda _: None, SystemClock().now()) as stage:
        stage.let_in(SHUT.replace("postgres postgres", "all all"))
        with connect(load_settings(environ={}, config_file=str(stage.config)).database()) as session:
            records = read_cars(session)
            assert is_any_charging(session) is True
            stage.kill_teslamate()
            stage.start_teslamate()
            driving_off = read_cars(session)[CHARGING]
    assert {car.name: record.state for car in CARS for record in [records[car.car_id]]} == {
        car.name: RECORDED_AS[car.phases[0].state] for car in CARS
    }
    assert driving_off.state == "driving"
