"""status on real servers: every part by itself, together, in every format."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.brokers import BLUE, Broker, broker, needs_mosquitto
from tests.support.certificates import Authority
from tests.support.standin import running
from tests.support.surroundings import KEY, LOCAL, PASSWORD, Run, TeslaMate, TwcFolder, tmsync
from tmsync.core.telemetry import liveness
from tmsync.demo.server import free_port
from tmsync.demo.teslamate import access_token

pytestmark = needs_mosquitto
LOOSE = "loose-permissions"
CARS = """
delete from public.cars; delete from public.car_settings;
insert into public.car_settings (id, enabled) values (1, true), (2, false), (3, true);
insert into public.cars (id, eid, vid, vin, name, settings_id)
  values (1, 1, 1, 'VIN1', 'Blue', 1), (2, 2, 2, 'VIN2', 'Red', 2), (3, 3, 3, 'VIN3', 'Green', 3);
"""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing sessions are gone after a second rather than 30."""
    monkeypatch.setattr(liveness, "MISSING_S", 1.0)
    monkeypatch.setattr(liveness, "SOON_S", 0.3)
    monkeypatch.setattr(liveness, "SERVER_START", timedelta(0))


@pytest.fixture
def mosquitto() -> Iterator[Broker]:
    with broker() as running_broker:
        yield running_broker


@pytest.fixture
def cars(teslamate: TeslaMate) -> Iterator[None]:
    teslamate.sql(f"set role teslamate; {CARS}")
    yield
    teslamate.sql("delete from public.cars; delete from public.car_settings")


def status(
    *arguments: str, teslamate: TeslaMate | None = None, mosquitto: Broker | None = None, twc: TwcFolder | None = None,
    **changes: str,
) -> Run:  # fmt: skip
    environ = {**(teslamate.environ() if teslamate else {}), **(mosquitto.environ() if mosquitto else {})}
    if twc is not None:
        environ["TMSYNC_TWCMANAGER_CONFIG_FILE"] = str(twc.config)
    return tmsync("status", "--wait", "2", *arguments, environ={**environ, **changes})


def problems(run: Run) -> list[tuple[str, str]]:
    return [(problem["severity"], problem["cause"]) for problem in run.json["problems"]]


def test_all_is_well(teslamate: TeslaMate, mosquitto: Broker, twc: TwcFolder, cars: None) -> None:
    twc.write({"carApiBearerToken": teslamate.access, "carApiRefreshToken": ""})
    teslamate.sql("update public.car_settings set enabled = true; delete from public.cars where id > 1")
    mosquitto.publisher.car(**BLUE)
    with teslamate.logged_in():
        run = status("--json", teslamate=teslamate, mosquitto=mosquitto, twc=twc)
        table = status(teslamate=teslamate, mosquitto=mosquitto, twc=twc)
        nagios = status("--format", "nagios", teslamate=teslamate, mosquitto=mosquitto, twc=twc)
        quiet = tmsync("-q", "status", environ={**teslamate.environ(), **mosquitto.environ()})
    assert run.code == 0, run.out + run.err
    found = run.json
    assert (found["command"], found["ok"], found["problems"]) == ("status", True, [])
    database = f"127.0.0.1 port {teslamate.postgres.port}"
    good = {"ok": True, "cause": None, "message": None}
    assert found["database"] == {**good, "where": database, "cars": 1, "sessions": True}
    broker = f"127.0.0.1 port {mosquitto.port}"
    assert found["broker"] == {**good, "where": broker, "namespace": ""}
    assert found["facade"] is None
    assert {key: found["summary"][key] for key in ("critical", "warning", "waiting")} == {
        "critical": 0,
        "warning": 0,
        "waiting": 0,
    }
    tokens = found["tokens"]
    assert tokens["in_sync"] is True
    assert tokens["fingerprint"] == tokens["held_by_twcmanager"]
    assert tokens["fingerprint"].startswith("sha256:")
    assert 0 < tokens["expires_in_s"] <= 7 * 3600
    twcmanager = found["twcmanager"]
    assert (twcmanager["state"], twcmanager["sync_enabled"], twcmanager["holds_refresh_token"]) == (
        "stopped",
        False,
        False,
    )
    assert twcmanager["settings_file"] == str(twc.settings)
    (vehicle,) = found["vehicles"]
    assert (vehicle["name"], vehicle["vin"], vehicle["enabled"], vehicle["verdict"]) == (
        "Blue",
        "VIN1",
        True,
        "quiet",
    )
    assert vehicle["reason"] == "no heartbeat in this look; by its database sessions alone"
    assert vehicle["last_record_at"] is None
    assert table.code == 0
    well = "All is well: token good for 6 h 59 min, the same in TWCManager; 1 of 1 vehicle by TeslaMate"
    assert found["summary"]["text"] == well
    assert table.out.startswith(f"✓ {well}\n")
    assert nagios.code == 0
    assert re.fullmatch(rf"TMSYNC OK - {well} \| token_expires_s=25\d\d\d vehicles=1 problems=0\n", nagios.out)
    assert "it holds TeslaMate's token since" in table.out
    assert database in table.out
    assert broker in table.out
    assert quiet.code == 0


def test_heartbeats_within_the_wait_are_seen(mosquitto: Broker) -> None:
    mosquitto.publisher.car(**BLUE)
    environ = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **mosquitto.environ()}
    command = [sys.executable, "-m", "tmsync", "status", "--wait", "30", "--json"]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True, cwd="/")
    while process.poll() is None:
        mosquitto.publisher.healthy()
    assert process.stdout is not None
    found = json.loads(process.stdout.read())
    process.stdout.close()
    assert found["vehicles"][0]["verdict"] == "fresh"
    assert found["ok"] is True


def test_tokens_alone_and_telemetry_alone_are_normal(teslamate: TeslaMate, mosquitto: Broker, twc: TwcFolder) -> None:
    twc.write({"carApiBearerToken": teslamate.access})
    run = status("--json", teslamate=teslamate, twc=twc)
    assert (run.code, run.json["broker"]["ok"], run.json["vehicles"], problems(run)) == (0, None, [], [])
    mosquitto.publisher.car(**BLUE)
    run = status("--json", mosquitto=mosquitto)
    assert (run.code, run.json["database"]["ok"], run.json["tokens"]["fingerprint"]) == (0, None, None)
    assert problems(run) == []
    assert run.json["vehicles"][0]["name"] == "Blue"


def test_nothing_configured_is_an_error_of_configuration() -> None:
    run = tmsync("status", "--json")
    assert (run.code, run.json["error"]["cause"]) == (2, "missing-setting")
    run = tmsync("status", "--format", "nagios")
    assert (run.code, run.out) == (3, "TMSYNC UNKNOWN - neither database.host nor mqtt.host is set\n")


def test_one_part_that_fails_hides_no_other(teslamate: TeslaMate, mosquitto: Broker, twc: TwcFolder) -> None:
    twc.write({"carApiBearerToken": teslamate.access})
    mosquitto.publisher.car(**BLUE)
    run = status(
        "--json", teslamate=teslamate, twc=twc, TMSYNC_MQTT_HOST="127.0.0.1", TMSYNC_MQTT_PORT=str(free_port())
    )
    assert (run.code, run.json["broker"]["cause"], run.json["tokens"]["in_sync"]) == (1, "refused", True)
    assert problems(run) == [("critical", "refused")]
    teslamate.hba(LOCAL)
    run = status("--json", teslamate=teslamate, mosquitto=mosquitto, twc=twc)
    assert (run.code, run.json["database"]["cause"]) == (1, "no-entry")
    assert run.json["vehicles"][0]["name"] == "Blue"
    assert problems(run)[0] == ("critical", "no-entry")
    assert "TWCManager holds" not in json.dumps(run.json["problems"])


def test_tokens_in_all_their_troubles(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write({"carApiBearerToken": "older", "carApiRefreshToken": "mine-SECRET"})
    run = status("--json", teslamate=teslamate, twc=twc)
    assert (run.code, run.json["tokens"]["in_sync"]) == (0, False)
    assert problems(run) == [("warning", "holds-refresh-token"), ("warning", "out-of-sync")]
    assert "mine-SECRET" not in run.out
    twc.write({"carApiBearerToken": access_token(datetime.now(UTC) - timedelta(hours=1))})
    run = status("--json", teslamate=teslamate, twc=twc)
    assert (run.code, problems(run)) == (1, [("critical", "out-of-sync")])
    twc.configure(syncTokens=True)
    twc.write({"carApiBearerToken": teslamate.access})
    run = status("--json", teslamate=teslamate, twc=twc)
    assert (run.code, problems(run)) == (1, [("critical", "sync-enabled-in-twcmanager")])
    twc.configure()
    teslamate.store(access_token(datetime.now(UTC) + timedelta(minutes=20)))
    twc.write({"carApiBearerToken": teslamate.access})
    run = status("--json", teslamate=teslamate, twc=twc)
    assert (run.code, problems(run)) == (0, [("warning", "expires-soon")])
    teslamate.store(access_token(datetime.now(UTC) - timedelta(minutes=20)))
    run = status("--json", teslamate=teslamate, twc=twc)
    assert ("critical", "expired") in problems(run)
    run = status("--json", teslamate=teslamate, twc=twc, TMSYNC_TESLAMATE_ENCRYPTION_KEY="other")
    assert (run.code, problems(run)) == (1, [("critical", "wrong-key")])


def test_a_token_that_was_not_renewed_in_time_is_a_warning(teslamate: TeslaMate, twc: TwcFolder) -> None:
    token = access_token(datetime.now(UTC) + timedelta(minutes=80))
    teslamate.store(token)
    twc.write({"carApiBearerToken": token})
    teslamate.sql("update private.tokens set updated_at = now() at time zone 'utc' - interval '400 min'")
    run = status("--json", teslamate=teslamate, twc=twc)
    assert (run.code, problems(run)) == (0, [("warning", "not-renewed")])
    assert re.match(
        r"TeslaMate has not renewed its token, which is 6 h (39|40) min old; that was due (19|20) min ago ",
        run.json["problems"][0]["message"],
    )
    # TeslaMate renews at half of the eight hours, older versions at three quarters.
    teslamate.store(access_token(datetime.now(UTC) + timedelta(minutes=150)))
    teslamate.sql("update private.tokens set updated_at = now() at time zone 'utc' - interval '330 min'")
    assert "not-renewed" not in str(problems(status("--json", teslamate=teslamate, twc=twc)))


def test_a_teslamate_without_data_of_any_car_is_a_problem_at_once(teslamate: TeslaMate, mosquitto: Broker) -> None:
    mosquitto.publisher.car(1, display_name="Blue", state="start")
    mosquitto.publisher.car(2, display_name="Red", state="unavailable")
    with teslamate.logged_in():
        run = status("--json", teslamate=teslamate, mosquitto=mosquitto)
        assert (run.code, ("warning", "blind") in problems(run)) == (0, True)
        teslamate.store(access_token(datetime.now(UTC) - timedelta(hours=1)))
        run = status("--json", teslamate=teslamate, mosquitto=mosquitto)
        assert (run.code, ("critical", "blind") in problems(run)) == (1, True)
        (blind,) = [problem for problem in run.json["problems"] if problem["cause"] == "blind"]
        assert blind["message"] == "Blue and Red: TeslaMate says start and unavailable, so it has no data from Tesla"
        mosquitto.publisher.car(2, state="asleep")
        run = status("--json", teslamate=teslamate, mosquitto=mosquitto)
        assert "blind" not in str(problems(run))


def test_an_owner_api_token_is_a_warning_only_where_twcmanager_cannot_use_it(
    teslamate: TeslaMate, twc: TwcFolder
) -> None:
    token = access_token(datetime.now(UTC) + timedelta(hours=7), audience="https://owner-api.teslamotors.com/")
    teslamate.store(token)
    twc.write({"carApiBearerToken": token})
    assert problems(status("--json", teslamate=teslamate, twc=twc)) == []
    (twc.path / "TWCManager.py").write_text("import time\ntime.sleep(60)\n")
    with subprocess.Popen([sys.executable, "TWCManager.py"], cwd=twc.path) as process:
        try:
            while b"TWCManager" not in Path(f"/proc/{process.pid}/cmdline").read_bytes():
                time.sleep(0.01)
            # TWCManager 1.3.2, which can use it, writes no such file.
            assert problems(status("--json", teslamate=teslamate, twc=twc)) == []
            (twc.path / "TWCManager.pid").write_text(f"{process.pid}\n")
            told = status("--json", teslamate=teslamate, twc=twc)
            assert problems(told) == [("warning", "owner-api")]
            twc.write({"carApiBearerToken": "old"})
            synced = teslamate.sync(twc, "--dry-run").json["warnings"]
            assert [warning["cause"] for warning in synced] == ["owner-api", "twcmanager-running"]
            # In the same words.
            assert {**told.json["problems"][0], **synced[0]} == told.json["problems"][0]
            twc.write({"carApiBearerToken": token})
            config = json.loads(twc.config.read_text())
            config["config"]["teslaProxy"] = "http://127.0.0.1:8089"
            twc.config.write_text(json.dumps(config))
            assert problems(status("--json", teslamate=teslamate, twc=twc)) == []
        finally:
            process.kill()


def test_a_running_twcmanager_is_seen(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write({"carApiBearerToken": teslamate.access})
    with running(twc.settings, "takes", twc.port):
        run = status("--json", teslamate=teslamate, twc=twc)
    assert (run.code, run.json["twcmanager"]["state"]) == (0, "running")
    assert "web control answers" in run.json["twcmanager"]["reason"]


def test_vehicles_in_all_their_troubles(teslamate: TeslaMate, mosquitto: Broker, twc: TwcFolder, cars: None) -> None:
    twc.write({"carApiBearerToken": teslamate.access})
    mosquitto.publisher.car(1, display_name="Twin", state="suspended")
    mosquitto.publisher.car(2, display_name="Red", state="asleep")
    mosquitto.publisher.car(4, display_name="Twin", state="updating", healthy="false")
    teslamate.sql("insert into public.car_settings (id) values (4)")
    teslamate.sql("insert into public.cars (id, eid, vid, vin, name, settings_id) values (4, 4, 4, 'VIN4', 'Twin', 4)")
    run = status("--json", teslamate=teslamate, mosquitto=mosquitto, twc=twc)
    assert run.code == 1
    assert problems(run) == [
        ("critical", "stale"),  # 1 and 4: whatever their state, TeslaMate's sessions are gone
        ("warning", "left-over"),  # 2: its logging is switched off
        ("warning", "duplicate-name"),
        ("warning", "renamed"),  # 1 is Blue in the database
        ("warning", "not-published"),  # 3
    ]
    stale = run.json["problems"][0]
    assert (stale["car_ids"], stale["part"]) == ([1, 4], "vehicles")
    assert stale["message"] == "Twin and Twin: TeslaMate's database sessions are gone"
    with teslamate.logged_in():
        run = status("--json", teslamate=teslamate, mosquitto=mosquitto, twc=twc)
    verdicts = {vehicle["car_id"]: vehicle["verdict"] for vehicle in run.json["vehicles"]}
    assert verdicts == {1: "quiet", 2: "stale", 4: "unhealthy"}
    assert ("warning", "unhealthy") in problems(run)
    assert run.code == 0


STATES = ("online", "suspended", "asleep", "offline", "charging", "driving", "updating")


def test_a_dead_teslamate_is_critical_whatever_the_state_was(
    teslamate: TeslaMate, mosquitto: Broker, twc: TwcFolder
) -> None:
    twc.write({"carApiBearerToken": teslamate.access})
    for car_id, state in enumerate(STATES, 1):
        mosquitto.publisher.car(car_id, display_name=state, state=state)
    run = status("--json", teslamate=teslamate, mosquitto=mosquitto, twc=twc)
    assert (run.code, problems(run)) == (1, [("critical", "stale")])
    assert {vehicle["verdict"] for vehicle in run.json["vehicles"]} == {"stale"}
    assert run.json["problems"][0]["car_ids"] == list(range(1, len(STATES) + 1))
    assert (run.json["summary"]["text"], run.json["summary"]["waiting"]) == ("1 critical", 0)
    nagios = status("--format", "nagios", teslamate=teslamate, mosquitto=mosquitto, twc=twc)
    assert nagios.code == 2
    assert nagios.out.startswith(
        "TMSYNC CRITICAL - 1 critical: online, suspended, asleep, offline, charging, driving and"
    )
    with teslamate.logged_in():
        run = status("--json", teslamate=teslamate, mosquitto=mosquitto, twc=twc)
    assert (run.code, problems(run)) == (0, [])
    assert {vehicle["verdict"] for vehicle in run.json["vehicles"]} == {"quiet"}


@pytest.mark.slow
def test_a_dead_teslamate_is_critical_within_35_seconds(teslamate: TeslaMate, mosquitto: Broker) -> None:
    mosquitto.publisher.car(1, display_name="Blue", state="suspended")
    environ = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **teslamate.environ(), **mosquitto.environ()}
    command = [sys.executable, "-m", "tmsync", "status", "--json"]
    # PostgreSQL itself may have been started less than a minute ago.
    time.sleep(max(0, 61 - server_age(teslamate)))
    begun = time.monotonic()
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, text=True, cwd="/", check=False)
    assert 30 <= time.monotonic() - begun < 35
    found = json.loads(done.stdout)
    assert (done.returncode, found["vehicles"][0]["verdict"]) == (1, "stale")


def server_age(teslamate: TeslaMate) -> float:
    ((seconds,),) = teslamate.sql("select extract(epoch from clock_timestamp() - pg_postmaster_start_time())::float")
    return float(str(seconds))


def test_a_living_teslamate_that_lost_the_broker_is_told_as_that(
    teslamate: TeslaMate, mosquitto: Broker, cars: None
) -> None:
    mosquitto.publisher.car(1, display_name="Blue", state="asleep")
    mosquitto.publisher.car(3, display_name="Green", state="asleep")
    teslamate.sql(
        "set role teslamate; create table public.states (car_id smallint, state text, start_date timestamp, end_date"
        " timestamp); insert into public.states values"
        " (1, 'online', now() at time zone 'utc' - interval '10 min', null),"
        " (3, 'online', now() at time zone 'utc' - interval '100 s', null)"
    )
    try:
        with teslamate.logged_in():
            run = status("--json", teslamate=teslamate, mosquitto=mosquitto)
    finally:
        teslamate.sql("drop table public.states")
    assert {vehicle["name"]: vehicle["verdict"] for vehicle in run.json["vehicles"]} == {
        "Blue": "stale",
        "Green": "quiet",
    }
    assert (run.code, ("critical", "mqtt-link-lost") in problems(run)) == (1, True)
    assert run.json["problems"][0]["message"].startswith(
        "Blue: TeslaMate does not reach this broker; its database has had the car online for 10 min, the broker says "
    )


def test_a_broker_that_holds_nothing_of_a_living_teslamate(teslamate: TeslaMate, mosquitto: Broker, cars: None) -> None:
    with teslamate.logged_in():
        run = status("--json", teslamate=teslamate, mosquitto=mosquitto)
    assert (run.code, ("critical", "not-published") in problems(run)) == (1, True)
    told = run.json["problems"][0]
    assert told["message"].startswith("TeslaMate runs and logs Blue and Green, but the broker at 127.0.0.1 ")
    assert told["hint"].endswith("Restart TeslaMate, which then publishes every value again:")
    assert "persistence true" in told["fix"]
    # Without TeslaMate, the broker's own side is what there is to look at.
    run = status("--json", teslamate=teslamate, mosquitto=mosquitto)
    assert ("critical", "no-vehicles") in problems(run)


def test_cars_that_teslamate_logs_no_more_are_left_over(teslamate: TeslaMate, mosquitto: Broker, cars: None) -> None:
    for car_id, name in ((1, "Blue"), (2, "Red"), (7, "Old"), (3, "Green")):
        mosquitto.publisher.car(car_id, display_name=name, state="online")
    with teslamate.logged_in():
        run = status("--json", teslamate=teslamate, mosquitto=mosquitto)
    told = {vehicle["name"]: vehicle["reason"] for vehicle in run.json["vehicles"]}
    assert told["Red"] == "left over: its logging is switched off in TeslaMate"
    assert told["Old"] == "left over: TeslaMate's database does not hold this car"
    (left,) = [problem for problem in run.json["problems"] if problem["cause"] == "left-over"]
    assert (left["severity"], left["car_ids"]) == ("warning", [2, 7])
    assert "mosquitto_sub -h localhost -t 'teslamate/cars/2/#' -t 'teslamate/cars/7/#'" in "".join(left["fix"])
    assert "rename" not in json.dumps(run.json["problems"])


def test_a_broker_that_lost_what_it_held_is_told_as_that(mosquitto: Broker) -> None:
    mosquitto.publisher.car(1, display_name="Blue", battery_level="50")
    run = status("--json", mosquitto=mosquitto)
    assert (run.code, problems(run)) == (0, [("warning", "retained-lost")])
    assert "persistence true" in run.json["problems"][0]["fix"]


def test_two_nameless_cars_are_a_warning(mosquitto: Broker) -> None:
    mosquitto.publisher.car(1, state="asleep")
    mosquitto.publisher.car(3, state="asleep", display_name="")
    run = status("--json", mosquitto=mosquitto)
    assert (run.code, problems(run)) == (0, [("warning", "nameless")])
    assert run.json["problems"][0]["message"] == "cars 1 and 3 have no name"


def test_twcmanagers_token_is_told_while_the_database_is_down(teslamate: TeslaMate, twc: TwcFolder) -> None:
    twc.write({"carApiBearerToken": access_token(datetime.now(UTC) + timedelta(hours=2, minutes=1))})
    down = {"TMSYNC_DATABASE_PORT": str(free_port())}
    run = status(teslamate=teslamate, twc=twc, **down)
    assert re.search(r"it holds sha256:[0-9a-f]{12}, which expires in 2 h\b", run.out)
    tokens = status("--json", teslamate=teslamate, twc=twc, **down).json["tokens"]
    assert (tokens["fingerprint"], tokens["in_sync"]) == (None, None)
    assert tokens["held_by_twcmanager"].startswith("sha256:")
    assert tokens["held_expires_at"] > datetime.now(UTC).isoformat()
    twc.write({"carApiBearerToken": access_token(datetime.now(UTC) - timedelta(hours=2))})
    run = status("--json", teslamate=teslamate, twc=twc, **down)
    assert problems(run) == [("critical", "refused"), ("critical", "out-of-sync")]
    assert "which expired 2 h ago, and TeslaMate's cannot be read" in run.json["problems"][1]["message"]


def test_an_unverified_broker_is_a_warning(authority: Authority) -> None:
    with broker(tls=authority.issue("localhost")) as secure:
        unverified = {"TMSYNC_MQTT_TLS": "true", "TMSYNC_MQTT_INSECURE": "true"}
        run = status("--json", mosquitto=secure, **unverified)
    assert run.json["broker"]["ok"] is True
    assert ("warning", "tls-not-verified") in problems(run)


def test_no_vehicles_is_a_problem_of_its_own(mosquitto: Broker) -> None:
    mosquitto.publisher.car(1, namespace="garage", **BLUE)
    run = status("--json", mosquitto=mosquitto)
    assert (run.code, run.json["broker"]["ok"], problems(run)) == (1, True, [("critical", "no-vehicles")])
    assert '"garage"' in run.json["problems"][0]["hint"]


NASTY = 'Bl"ue|\\ [red]\x1b[31m\n{}'


def test_nagios_in_one_line_with_performance_data(teslamate: TeslaMate, mosquitto: Broker, twc: TwcFolder) -> None:
    twc.write({"carApiBearerToken": teslamate.access})
    mosquitto.publisher.car(**BLUE)
    mosquitto.publisher.car(2, display_name=NASTY, state="asleep", healthy="false")
    with teslamate.logged_in():
        run = status("--format", "nagios", teslamate=teslamate, mosquitto=mosquitto, twc=twc)
    assert run.code == 1
    first, second = run.out.splitlines()
    assert first.startswith(
        r'TMSYNC WARNING - 1 warning: Bl"ue/\ [red]\x1b[31m\n{}: TeslaMate reports healthy=false | '
    )
    assert first.count("|") == 1
    assert second.startswith("warning unhealthy: ")
    run = status("--format", "nagios", mosquitto=mosquitto, TMSYNC_MQTT_PORT=str(free_port()))
    assert run.code == 2
    assert run.out.startswith("TMSYNC CRITICAL - 1 critical: no broker listens at 127.0.0.1")


def test_prometheus_text_for_the_textfile_collector(teslamate: TeslaMate, mosquitto: Broker, twc: TwcFolder) -> None:
    twc.write({"carApiBearerToken": teslamate.access})
    mosquitto.publisher.car(**{**BLUE, "display_name": NASTY})
    with teslamate.logged_in():
        run = status("--format", "prometheus", teslamate=teslamate, mosquitto=mosquitto, twc=twc)
    assert run.code == 0
    samples = {}
    for line in run.out.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            samples[name] = float(value)
    label = '{car_id="1",name="Bl\\"ue|\\\\ [red]\\\\x1b[31m\\\\n{}"}'
    expiry = samples.pop("tmsync_token_expiry_timestamp_seconds")
    assert expiry > datetime.now(UTC).timestamp()
    assert samples == {
        "tmsync_database_up": 1,
        "tmsync_broker_up": 1,
        "tmsync_tokens_in_sync": 1,
        f"tmsync_vehicle_source_teslamate{label}": 1,
        f"tmsync_vehicle_battery_level_percent{label}": 63,
    }
    helped = re.findall(r"^# (HELP|TYPE) (\S+)", run.out, re.MULTILINE)
    assert len(helped) == 2 * len({name for _, name in helped})
    if shutil.which("promtool"):
        assert subprocess.run(["promtool", "check", "metrics"], input=run.out, text=True).returncode == 0


def test_no_secret_is_told(teslamate: TeslaMate, mosquitto: Broker, twc: TwcFolder) -> None:
    twc.write({"carApiBearerToken": "held-SECRET", "carApiRefreshToken": "refresh-SECRET"}, 0o600)
    mosquitto.publisher.car(**BLUE)
    secrets = [*teslamate.secrets, "held-SECRET", "refresh-SECRET", KEY, PASSWORD]
    for form in ("table", "json", "nagios", "prometheus"):
        environ = {**teslamate.environ(), **mosquitto.environ(), "TMSYNC_MQTT_PASSWORD": PASSWORD}
        run = tmsync("-v", "status", "--wait", "1", "--format", form, environ=environ)
        told: Any = run.out + run.err
        assert not [secret for secret in secrets if secret in told]


@pytest.mark.parametrize(
    ("token", "modes", "told"),
    [
        ("a", (0o755, 0o644), True),
        ("a", (0o750, 0o644), False),
        ("a", (0o755, 0o640), False),
        ("", (0o755, 0o644), False),
    ],
)
def test_a_token_that_every_user_can_read_is_a_warning_of_status_and_sync_tokens(
    teslamate: TeslaMate, open_folder: Path, token: str, modes: tuple[int, int], told: bool
) -> None:
    twc = TwcFolder(open_folder, 1)
    twc.write({"carApiBearerToken": token and teslamate.access, "carApiRefreshToken": ""}, mode=modes[1])
    open_folder.chmod(modes[0])
    found = [one for one in status("--json", teslamate=teslamate, twc=twc).json["problems"] if one["cause"] == LOOSE]
    assert [(one["severity"], one["fix"][-1]) for one in found] == (
        [("warning", f"sudo chmod 750 {open_folder}")] if told else []
    )
    if token:
        run = teslamate.sync(twc, "--via", "file")
        assert [warning["cause"] for warning in run.json["warnings"]] == ([LOOSE] if told else [])
