"""watch-mqtt on a real Mosquitto: what it shows, what it decides, and what it says when the broker is the trouble."""

import itertools
import json
import signal
import socket
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.brokers import BLUE, Broker, broker, needs_mosquitto, watching
from tests.support.certificates import Authority
from tests.support.listeners import listener, silence, web_server
from tests.support.surroundings import TeslaMate, tmsync, tmsync_process
from tmsync.demo.server import free_port

pytestmark = needs_mosquitto
PASSWORD = "mqtt-SECRET-pass"
QUICK = {
    f"TMSYNC_HEALTH_{group}_AFTER_{state}": seconds
    for group, seconds in (("LATE", "1"), ("STALE", "2.5"))
    for state in ("ONLINE", "CHARGING", "DRIVING", "ASLEEP", "OFFLINE")
} | {"TMSYNC_HEALTH_RECOVER_AFTER": "2"}


@pytest.fixture(scope="module")
def shared() -> Iterator[Broker]:
    with broker() as running:
        yield running


@pytest.fixture
def mosquitto() -> Iterator[Broker]:
    with broker() as running:
        yield running


# -- one look


def test_once_gives_every_value_with_its_type(mosquitto: Broker) -> None:
    mosquitto.publisher.car(**BLUE, healthy=b"", unheard_of="1", active_route_destination="nil")
    run = mosquitto.once("--json")
    assert run.code == 0, run.err
    vehicle = run.json
    telemetry = vehicle.pop("telemetry")
    assert telemetry == {
        "display_name": "Blue",
        "state": "charging",
        "since": "2026-11-24T16:00:00Z",
        "battery_level": 63,
        "charge_limit_soc": 80,
        "charger_power": 11,
        "charger_actual_current": 16,
        "time_to_full_charge": 1.25,
        "plugged_in": True,
        "odometer": 1653.5,
        "geofence": "Home",
        "active_route_destination": None,
    }
    assert vehicle.pop("at").endswith("Z")
    assert 0 <= vehicle.pop("silence_s") < 10
    assert vehicle == {
        "event": "vehicle",
        "car_id": 1,
        "namespace": "",
        "name": "Blue",
        "state": "charging",
        "since": "2026-11-24T16:00:00Z",
        "healthy": None,
        "verdict": "waiting",
        "source": "undecided",
        "reason": "only retained values so far; a heartbeat is due within 6 min (status --wait 361 decides)",
        "last_heartbeat_at": None,
        "late_after_s": 100,
        "stale_after_s": 360,
        "retained_only": True,
        "unparsable": 0,
    }


def test_once_as_table_and_as_log(mosquitto: Broker) -> None:
    mosquitto.publisher.car(**BLUE)
    mosquitto.publisher.car(2, display_name="[red]x[/]\x1b[31m\n", state="asleep", battery_level="9")
    table = mosquitto.once(environ={"COLUMNS": "80"}).out
    lines = table.splitlines()
    assert lines[0].split() == ["Vehicle", "State", "Battery", "Charging", "OK", "Beat", "Verdict", "Source"]
    assert "63/80%" in lines[1]
    assert "11kW 1h15" in lines[1]
    assert lines[2] == "    only retained values so far; a heartbeat is due within 6 min (status --wait"
    assert lines[3] == "    361 decides)"
    assert lines[4].startswith(r"[red]x[/]\x1b")
    assert "\x1b" not in table
    assert max(map(len, lines)) <= 80
    log = mosquitto.once("--format", "log").out.splitlines()
    why = "waiting: only retained values so far; a heartbeat is due within 6 min (status --wait 361 decides)"
    assert log[0].endswith(f"Z Vehicle Blue is undecided ({why})")
    assert r"Vehicle [red]x[/]\x1b[31m\n is undecided" in log[1]


def test_once_says_what_decides_about_a_car_that_waits(mosquitto: Broker) -> None:
    mosquitto.publisher.car(1, display_name="Blue", state="driving")
    mosquitto.publisher.car(2, display_name="Red", state="suspended")
    told = [json.loads(line)["reason"] for line in mosquitto.once("--json").out.splitlines()]
    assert told == [
        "only retained values so far; a heartbeat is due within 16 min (status --wait 961 decides)",
        "only retained values so far; suspended: silence proves nothing; TeslaMate's database decides (--with-db)",
    ]


def test_reasons_stand_below_the_row_where_there_is_no_room_beside_it(mosquitto: Broker) -> None:
    mosquitto.publisher.car(**BLUE)
    reason = "only retained values so far; a heartbeat is due within 6 min (status --wait 361 decides)"
    head, row = mosquitto.once(environ={"COLUMNS": "220"}).out.splitlines()
    assert row.index(reason) == head.index("Reason")
    head, _, below = mosquitto.once(environ={"COLUMNS": "160"}).out.splitlines()
    assert "Reason" not in head
    assert below == f"    {reason}"
    lines = mosquitto.once(environ={"COLUMNS": "50"}).out.splitlines()
    assert " ".join(line.strip() for line in lines[2:]) == reason
    assert max(map(len, lines)) <= 50


def test_columns_are_left_out_before_a_name_is_cut(mosquitto: Broker) -> None:
    name = "Model Y Long Range AWD of the family 2"
    mosquitto.publisher.car(**{**BLUE, "display_name": name})
    for columns in (80, 60, 50):
        head, row, *_ = mosquitto.once(environ={"COLUMNS": str(columns)}).out.splitlines()
        assert row.startswith(f"{name} ")
        assert {"Vehicle", "Verdict"} <= set(head.split())
        assert len(row) <= columns


def test_no_car_names_the_namespaces_in_which_there_are_some(mosquitto: Broker) -> None:
    mosquitto.publisher.car(**BLUE)
    mosquitto.publisher.car(3, namespace="garage", state="online")
    run = mosquitto.once("--json", "--namespace", "teslamate")
    assert (run.code, run.json["error"]["cause"]) == (1, "no-vehicles")
    assert "Cars were seen without a namespace and in namespace garage: " in run.json["error"]["hint"]
    assert 'set mqtt.namespace (--namespace) to "" or "garage".' in run.json["error"]["hint"]
    assert mosquitto.once("--namespace", "garage", "--json").json["namespace"] == "garage"


def test_twcmanagers_prefix_teslamate_is_the_root_unless_cars_are_below_it(mosquitto: Broker, tmp_path: Path) -> None:
    twc = tmp_path / "config.json"
    twc.write_text('{"vehicle": {"TeslaMate": {"mqtt_prefix": "teslamate"}}}')
    environ = {"TMSYNC_TWCMANAGER_CONFIG_FILE": str(twc)}
    mosquitto.publisher.car(**BLUE)
    assert mosquitto.once("--json", environ=environ).json["namespace"] == ""
    mosquitto.publisher.car(7, namespace="teslamate", **BLUE)
    below = mosquitto.once("--json", environ=environ).json
    assert (below["namespace"], below["car_id"]) == ("teslamate", 7)
    assert mosquitto.once("--json", "--car", "7", environ=environ).json["namespace"] == "teslamate"
    assert mosquitto.once("--json", "--namespace", "", environ=environ).json["car_id"] == 1


def test_no_car_at_all_points_at_teslamate_and_the_access_list(mosquitto: Broker) -> None:
    run = mosquitto.once()
    assert (run.code, run.out) == (1, "")
    assert "no car is known" in run.err
    assert "access list" in run.err


def test_only_the_cars_asked_for(mosquitto: Broker) -> None:
    for car_id in (1, 2, 3):
        mosquitto.publisher.car(car_id, state="online")
    run = mosquitto.once("--json", "--car", "3", "--car", "1", "--car", "9")
    assert [json.loads(line)["car_id"] for line in run.out.splitlines()] == [1, 3]
    assert "car 9 is not known to the broker\n  Give --car one that is there (1, 2, 3), or no --car." in run.err
    nobody = mosquitto.once("--json", "--car", "9", "--car", "8")
    assert (nobody.code, nobody.json["error"]) == (
        1,
        {
            "cause": "no-vehicles",
            "message": "cars 8, 9 are not known to the broker",
            "hint": "Give --car one that is there (1, 2, 3), or no --car.",
            "fix": ["Give --car one that is there (1, 2, 3), or no --car."],
        },
    )


def test_what_is_not_teslamates_breaks_nothing(mosquitto: Broker) -> None:
    send = mosquitto.publisher.send
    mosquitto.publisher.car(**BLUE)
    for topic, payload in {
        "teslamate/cars/1/battery_level": b"\xff\xfe",
        "teslamate/cars/1/charger_power": b"9" * 200_000,
        "teslamate/cars/1/plugged_in": b"maybe",
        "teslamate/cars/1/since": b"yesterday",
        "teslamate/cars/1/odometer": b"nan",
        "teslamate/cars/1/geofence": b"\xc3\x28",
        "teslamate/cars/1/new_in_2031": b"7",
        "teslamate/cars/99999999999/state": b"online",
        "teslamate/cars/-1/state": b"online",
        "teslamate/cars/01/state": b"online",
        "teslamate/cars/x/state": b"online",
        "teslamate/cars/\N{ARABIC-INDIC DIGIT ONE}/state": b"online",
        "teslamate/cars/5/unknown_key": b"1",
    }.items():
        send(topic, payload, retain=False)
        send(topic, payload, retain=True)
    run = mosquitto.once("--json")
    assert run.code == 0, run.err
    assert [json.loads(line)["car_id"] for line in run.out.splitlines()] == [1]
    with mosquitto.watch() as watch:
        mosquitto.publisher.car(battery_level="50", charger_power="7")
        watch.event(lambda e: e["event"] == "vehicle" and e["telemetry"].get("charger_power") == 7)
        for payload in (b"\xff\xfe", b"1_0", b" 12 ", b"9" * 200_000, b"true"):
            send("teslamate/cars/1/battery_level", payload, retain=False)
        send("teslamate/cars/1/speed", b"3", retain=False)
        event = watch.event(lambda e: e["event"] == "vehicle" and e["telemetry"].get("speed") == 3)
    assert event["telemetry"]["battery_level"] == 50
    # Those of the five, and the retained ones that greeted us.
    assert event["unparsable"] >= 5


def test_a_deleted_topic_is_null_and_a_deleted_car_is_gone(mosquitto: Broker) -> None:
    mosquitto.publisher.car(**BLUE)
    mosquitto.publisher.car(2, state="online")
    with mosquitto.watch() as watch:
        watch.event(lambda e: e["event"] == "vehicle" and e["car_id"] == 2)
        mosquitto.publisher.car(charger_power="", geofence="")
        event = watch.event(lambda e: e["event"] == "vehicle" and e["telemetry"].get("geofence", "") is None)
        assert event["telemetry"]["charger_power"] is None
        mosquitto.publisher.car(2, state="")
        mosquitto.publisher.car(battery_level="64")
        watch.event(lambda e: e["event"] == "vehicle" and e["telemetry"].get("battery_level") == 64)
    assert [json.loads(line)["car_id"] for line in mosquitto.once("--json").out.splitlines()] == [1]


# -- verdicts and sources


def test_every_turn_of_a_heartbeat_state_has_its_verdict_and_its_words(mosquitto: Broker) -> None:
    publisher = mosquitto.publisher
    publisher.car(**BLUE)
    with mosquitto.watch(**QUICK) as watch:
        first = watch.broker("connected")
        assert first["cause"] is None
        assert watch.verdict("waiting")["source"] == "undecided"
        publisher.healthy()
        told = watch.source()
        assert (told["from"], told["to"], told["verdict"]) == ("undecided", "TeslaMate", "fresh")
        assert told["message"] == "Vehicle Blue telemetry being provided by TeslaMate"
        assert watch.verdict("fresh")["retained_only"] is False
        assert watch.verdict("late")["source"] == "TeslaMate"
        told = watch.source()
        assert (told["from"], told["to"], told["verdict"]) == ("TeslaMate", "TeslaAPI", "stale")
        assert told["message"] == "Data from TeslaMate for Blue is stale. Switching back to TeslaAPI"
        stale = watch.verdict("stale")
        assert stale["silence_s"] >= 2.5
        assert "no heartbeat for 2 s while charging" in stale["reason"]
        publisher.healthy()
        assert watch.source()["message"] == "Vehicle Blue telemetry has resumed being provided by TeslaMate"
        publisher.healthy("false")
        told = watch.source()
        assert told["message"] == "TeslaMate reports Blue unhealthy. Switching back to TeslaAPI"
        assert watch.verdict("unhealthy")["healthy"] is False
        publisher.healthy("true")
        recovering = watch.event(lambda e: e["event"] == "vehicle" and e["healthy"])
        assert recovering["verdict"] == "unhealthy"
        deadline = time.monotonic() + 10
        while not any(e["event"] == "source" and e["to"] == "TeslaMate" for e in watch.seen[-1:]):
            publisher.healthy("true")
            watch.event(lambda _: True)
            assert time.monotonic() < deadline
        assert watch.end() == (0, "")


@pytest.mark.parametrize("state", ["online", "charging", "driving", "asleep", "offline"])
def test_retained_values_alone_are_waited_for_and_then_stale(shared: Broker, state: str) -> None:
    car_id = ["online", "charging", "driving", "asleep", "offline"].index(state) + 10
    shared.publisher.car(car_id, display_name=state, state=state)
    with shared.watch("--car", str(car_id), **QUICK) as watch:
        assert watch.verdict("waiting", car_id)["retained_only"] is True
        told = watch.source()
        assert (told["from"], told["to"], told["verdict"]) == ("undecided", "TeslaAPI", "stale")


@pytest.mark.parametrize("state", ["suspended", "updating", "something-new"])
def test_silence_proves_nothing_in_the_other_states(shared: Broker, state: str) -> None:
    car_id = ["suspended", "updating", "something-new"].index(state) + 20
    shared.publisher.car(car_id, display_name=state, state=state)
    with shared.watch("--car", str(car_id), "--duration", "6", **QUICK) as watch:
        watch.verdict("waiting", car_id)
        shared.publisher.healthy(car_id=car_id)
        assert watch.source()["message"] == f"Vehicle {state} telemetry being provided by TeslaMate"
        quiet = watch.verdict("quiet", car_id)
        assert quiet["reason"] == f"{state}: silence proves nothing"
        assert quiet["stale_after_s"] == 0
        assert watch.process.wait(20) == 0
    assert not [event for event in watch.seen if event.get("verdict") == "stale"]


def test_an_older_teslamate_may_be_silent_asleep_and_not_while_charging(mosquitto: Broker) -> None:
    mosquitto.publisher.car(1, display_name="Old", state="asleep", healthy="true")
    mosquitto.publisher.car(2, display_name="Older", state="charging", healthy="true")
    with mosquitto.watch(**QUICK) as watch:
        watch.verdict("waiting", 2)
        mosquitto.publisher.send("teslamate/cars/1/odometer", "5", retain=True)
        mosquitto.publisher.send("teslamate/cars/2/odometer", "5", retain=True)
        watch.verdict("quiet", 1)
        told = watch.event(lambda e: e["event"] == "source" and e["verdict"] == "stale")
        assert told["name"] == "Older"
        assert not [e for e in watch.seen if e.get("car_id") == 1 and e.get("verdict") == "stale"]


def test_log_lines_begin_with_the_time(mosquitto: Broker) -> None:
    mosquitto.publisher.car(**BLUE)
    with watching([], mosquitto.environ(**QUICK)) as watch:
        assert "Z connected to the broker at 127.0.0.1 port" in watch.line()
        mosquitto.publisher.healthy()
        at, message = watch.line().rstrip("\n").split(" ", 1)
        assert message == "Vehicle Blue telemetry being provided by TeslaMate"
        assert at.endswith("Z")
        assert "stale. Switching back to TeslaAPI" in watch.line()
        assert watch.end(signal.SIGTERM) == (0, "")


def test_lines_come_at_most_once_per_interval(mosquitto: Broker) -> None:
    mosquitto.publisher.car(**BLUE)
    arguments = ["--json", "--interval", "2", "--duration", "5"]
    with watching(arguments, mosquitto.environ()) as watch:
        watch.event(lambda e: e["event"] == "vehicle")
        while watch.process.poll() is None:
            mosquitto.publisher.car(odometer=str(time.monotonic()))
            time.sleep(0.02)
        lines = []
        while (line := watch.lines.get(timeout=5)) is not None:
            lines.append(json.loads(line))
    assert 1 <= len([event for event in lines if event["event"] == "vehicle"]) <= 2


def test_exec_gets_every_source_event_and_none_of_our_secrets(mosquitto: Broker, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    script = tmp_path / "on change.sh"
    script.write_text(f"#!/bin/sh\ncat >> '{seen}'\nenv >> '{seen}.env'\necho noise\n")
    script.chmod(stat.S_IRWXU)
    mosquitto.publisher.car(**{**BLUE, "display_name": 'Bl"ue $(touch /tmp/x) \x1b[31m'})
    secret = {"TMSYNC_DATABASE_PASSWORD": PASSWORD, "PGPASSWORD": PASSWORD}
    with mosquitto.watch("--exec", f"'{script}' argument", **QUICK, **secret) as watch:
        watch.verdict("waiting")
        mosquitto.publisher.healthy()
        events = [watch.source(), watch.source()]
        assert watch.end() == (0, "")
    assert [json.loads(line) for line in seen.read_text().splitlines()] == events
    assert PASSWORD not in Path(f"{seen}.env").read_text()
    assert "noise" not in json.dumps(watch.seen)


def test_exec_that_fails_is_told_and_stops_nothing(mosquitto: Broker) -> None:
    mosquitto.publisher.car(**BLUE)
    with mosquitto.watch("--exec", "/bin/sh -c 'echo broken >&2; exit 3'", **QUICK) as watch:
        watch.verdict("waiting")
        mosquitto.publisher.healthy()
        watch.source()
        watch.source()
        code, told = watch.end()
    assert code == 0
    assert told.count("warning: --exec /bin/sh: exit code 3: broken") == 2


# -- the broker as the trouble


def test_broker_restart_and_loss_are_shown_and_survived(mosquitto: Broker) -> None:
    mosquitto.publisher.car(**BLUE)
    with mosquitto.watch(**QUICK) as watch:
        watch.verdict("waiting")
        mosquitto.server.stop()
        lost = watch.broker("disconnected")
        assert lost["cause"] == "connection-lost"
        gone = watch.broker("disconnected")
        assert gone["cause"] == "refused"
        assert watch.source()["to"] == "TeslaAPI"
        mosquitto.server.start()
        watch.broker("connected", 40)
        deadline = time.monotonic() + SECONDS_TO_RECONNECT
        while time.monotonic() < deadline and not mosquitto.publisher.client.is_connected():
            time.sleep(0.1)
        mosquitto.publisher.car(**BLUE)
        mosquitto.publisher.healthy()
        assert "has resumed being provided" in watch.source()["message"]
        assert watch.end() == (0, "")


SECONDS_TO_RECONNECT = 40


def test_wait_waits_for_a_broker_that_comes_later() -> None:
    port = free_port()
    environ = {"TMSYNC_MQTT_HOST": "127.0.0.1", "TMSYNC_MQTT_PORT": str(port)}
    with watching(["--json", "--wait"], environ) as watch:
        assert watch.broker("disconnected")["cause"] == "refused"
        with (
            watching(["--json", "--wait", "--once"], environ) as once,
            broker(port=port) as running,
        ):
            running.publisher.car(**BLUE)
            watch.broker("connected", 40)
            watch.event(lambda e: e["event"] == "vehicle")
            assert once.event(lambda e: e["event"] == "vehicle", 40)["name"] == "Blue"


Trouble = Callable[[pytest.FixtureRequest], Any]


def refused(cause: str, environ: dict[str, str], *words: str) -> None:
    """watch-mqtt ends with this cause, in every format, without a traceback or a secret."""
    run = tmsync("watch-mqtt", "--json", environ=environ)
    assert run.out.count("\n") == 1
    error = run.json["error"]
    assert (run.code, error["cause"]) == (1, cause), run.out + run.err
    for word in words:
        assert word in f"{error['message']} {error['fix']}"
    assert error["hint"]
    assert "Traceback" not in run.err
    assert PASSWORD not in run.out + run.err
    plain = tmsync("-v", "watch-mqtt", "--once", environ=environ)
    assert (plain.code, plain.out) == (1, "")
    assert error["message"] in plain.err
    assert PASSWORD not in plain.err


def at(port: int, **more: str) -> dict[str, str]:
    return {"TMSYNC_MQTT_HOST": "127.0.0.1", "TMSYNC_MQTT_PORT": str(port), **more}


def test_closed_port_unknown_name_and_odd_addresses() -> None:
    refused("refused", at(free_port()), "publishes no port")
    refused("unresolvable", {"TMSYNC_MQTT_HOST": "no-such-host.invalid"}, "Docker")
    refused("unresolvable", {"TMSYNC_MQTT_HOST": "a..b"})


def test_wrong_password_missing_password_and_a_list_that_hides_everything() -> None:
    with broker(
        passwords={"tm": PASSWORD, "blind": PASSWORD}, acl="user tm\ntopic readwrite #\n", publisher="tm"
    ) as running:
        running.publisher.car(**BLUE)
        login = {"TMSYNC_MQTT_USERNAME": "tm", "TMSYNC_MQTT_PASSWORD": PASSWORD}
        assert running.once("--json", environ=login).json["name"] == "Blue"
        wrong = {**login, "TMSYNC_MQTT_PASSWORD": f"{PASSWORD}-wrong"}
        refused("not-authorised", at(running.port, **wrong), "user tm", "mosquitto_passwd")
        refused("not-authorised", at(running.port), "anonymous clients")
        run = running.once("--json", environ={**login, "TMSYNC_MQTT_USERNAME": "blind"})
        assert (run.code, run.json["error"]["cause"]) == (1, "no-vehicles")
        assert any("acl_file" in line or "access list" in line for line in run.json["error"]["fix"])


@pytest.mark.slow
@pytest.mark.parametrize("after", [b"\x90\x03\x00\x01\x80", b""], ids=["suback-0x80", "closes"])
def test_a_refused_subscription_is_not_called_a_broker_without_cars(after: bytes) -> None:
    def answer(sock: socket.socket) -> None:
        sock.recv(1024)
        sock.sendall(b"\x20\x02\x00\x00")
        sock.recv(1024)
        sock.sendall(after)
        if after:
            silence(sock)
        sock.close()

    with listener(answer) as port:
        refused("not-authorised", at(port), "access list", "topic read teslamate/#")
        live = tmsync("watch-mqtt", "--json", "--duration", "20", environ=at(port))
        assert (live.code, live.json["error"]["cause"]) == (1, "not-authorised")


@pytest.mark.slow
def test_a_silent_port_a_web_server_and_one_that_hangs_up() -> None:
    with listener(silence) as port:
        refused("timeout", at(port), "says nothing")
    with web_server() as port:
        refused("not-mqtt", at(port))
    with listener(lambda sock: sock.close()) as port:
        refused("not-mqtt", at(port))


@pytest.mark.parametrize("tls", [False, True])
def test_a_broker_that_answers_at_the_second_attempt_is_one(authority: Authority, *, tls: bool) -> None:
    """It is being started, or has just been let go on."""
    context, attempts = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), itertools.count()
    context.load_cert_chain(*authority.issue("localhost"))

    def answer(sock: socket.socket) -> None:
        end = context.wrap_socket(sock, server_side=True) if tls else sock
        end.recv(1024)
        if next(attempts) % 2:
            end.sendall(b"\x20\x02\x00\x00")
        end.close()

    trusted = {"TMSYNC_MQTT_TLS": "true", "TMSYNC_MQTT_CA_FILE": str(authority.root), "TMSYNC_MQTT_HOST": "localhost"}
    with listener(answer) as port:
        refused("timeout", at(port) | (trusted if tls else {}), "Try again")


@pytest.mark.slow
def test_tls_in_all_the_ways_it_can_go_wrong(authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger")
    trusted = {"TMSYNC_MQTT_TLS": "true", "TMSYNC_MQTT_CA_FILE": str(authority.root), "TMSYNC_MQTT_HOST": "localhost"}
    with broker(tls=authority.issue("localhost")) as secure:
        good = tmsync("watch-mqtt", "--once", environ=at(secure.port) | trusted)
        assert "no car is known" in good.err
        refused("tls-mismatch", at(secure.port), "mqtt.tls")
        refused("tls-untrusted", at(secure.port) | trusted | {"TMSYNC_MQTT_CA_FILE": str(stranger.root)})
        refused("tls-name-mismatch", at(secure.port) | trusted | {"TMSYNC_MQTT_HOST": "127.0.0.1"})
        refused("unreadable-file", at(secure.port) | trusted | {"TMSYNC_MQTT_CA_FILE": "/nonexistent.pem"})
        unverified = tmsync(
            "watch-mqtt", "--once", environ=at(secure.port, TMSYNC_MQTT_TLS="true", TMSYNC_MQTT_INSECURE="true")
        )
        assert "certificate is not verified" in unverified.err
        assert "no car is known" in unverified.err
    with broker() as plain:
        refused("tls-mismatch", at(plain.port) | trusted, "speaks no TLS")
    with listener(silence) as port:
        refused("timeout", at(port) | trusted)


def test_client_certificates(authority: Authority, tmp_path: Path) -> None:
    with broker(tls=authority.issue("localhost"), client_ca=authority.root) as secure:
        trusted = at(secure.port, TMSYNC_MQTT_TLS="true", TMSYNC_MQTT_CA_FILE=str(authority.root))
        trusted["TMSYNC_MQTT_HOST"] = "localhost"
        certificate, key = authority.issue("client")
        pair = {"TMSYNC_MQTT_CERT_FILE": str(certificate), "TMSYNC_MQTT_KEY_FILE": str(key)}
        assert "no car is known" in tmsync("watch-mqtt", "--once", environ=trusted | pair).err
        refused("tls-untrusted", trusted, "cert_file")


def test_bad_usage_is_one_clear_line() -> None:
    for arguments, code in (
        (["--car", "x"], 2),
        (["--interval", "0"], 2),
        (["--exec", "'unclosed"], 2),
        (["--exec", ""], 2),
        ([], 2),
    ):
        run = tmsync("watch-mqtt", *arguments)
        assert run.code == code
        assert run.out == ""
        assert "Traceback" not in run.err
        assert run.err.startswith("tmsync: error: ")


# -- with TeslaMate's database as a witness


@pytest.mark.slow
def test_with_db_death_is_told_where_silence_proves_nothing(mosquitto: Broker, teslamate: TeslaMate) -> None:
    """Suspended: alive while TeslaMate's sessions are there; once they are gone, stale within two minutes."""
    mosquitto.publisher.car(1, display_name="Blue", state="suspended")
    environ = {**mosquitto.environ(), **teslamate.environ()}
    session = teslamate.logged_in()
    with watching(["--json", "--with-db"], environ) as watch:
        with session:
            once = tmsync("watch-mqtt", "--once", "--json", "--with-db", environ=environ).json
            assert (once["verdict"], once["source"]) == ("quiet", "TeslaMate")
            assert once["reason"] == "no heartbeat in this look; by its database sessions alone"
            assert watch.source(65)["to"] == "TeslaMate"
        told = watch.source(125)
        assert (told["to"], told["verdict"]) == ("TeslaAPI", "stale")
        mosquitto.publisher.healthy()
        assert watch.source()["message"] == "Vehicle Blue telemetry has resumed being provided by TeslaMate"
    once = tmsync("watch-mqtt", "--once", "--json", "--with-db", environ=environ).json
    assert (once["verdict"], once["source"]) == ("stale", "TeslaAPI")
    assert once["reason"] == "TeslaMate's database sessions are gone"


def test_a_teslamate_that_sees_nothing_is_blind_in_watch_mqtt_and_in_status(
    mosquitto: Broker, teslamate: TeslaMate
) -> None:
    """Heartbeats go on; the newest record and every value stand still."""
    teslamate.sql(
        "set role teslamate; create table public.states (car_id smallint, state text, start_date timestamp, end_date"
        " timestamp); insert into public.car_settings (id) values (1);"
        " insert into public.cars (id, eid, vid, vin, name, settings_id) values (1, 1, 1, 'VIN1', 'Blue', 1);"
        " insert into public.states values (1, 'online', now() at time zone 'utc' - interval '1 h', null)"
    )
    mosquitto.publisher.car(**{**BLUE, "state": "online"})
    environ = {**mosquitto.environ(), **teslamate.environ(TMSYNC_HEALTH_BLIND_AFTER="2")}
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(0.2):
            mosquitto.publisher.healthy()

    heart = threading.Thread(target=beat)
    heart.start()
    try:
        with teslamate.logged_in(), watching(["--json", "--with-db"], environ) as watch:
            told = [watch.source(), watch.source()]
            status = tmsync_process("status", "--json", environ={**environ, "TMSYNC_HEALTH_BLIND_AFTER": "0.1"})
    finally:
        ended.set()
        heart.join()
        teslamate.sql("drop table public.states; delete from public.cars; delete from public.car_settings")
    assert [(change["to"], change["verdict"]) for change in told] == [("TeslaMate", "fresh"), ("TeslaAPI", "blind")]
    assert told[1]["message"] == "TeslaMate gets no data of Blue from Tesla. Switching back to TeslaAPI"
    found = status.json
    assert (status.code, found["vehicles"][0]["verdict"]) == (1, "blind")
    assert ("critical", "blind") in [(one["severity"], one["cause"]) for one in found["problems"]]


def test_a_broken_witness_holds_nobody_up(mosquitto: Broker, teslamate: TeslaMate) -> None:
    mosquitto.publisher.car(**BLUE)
    with listener(silence) as port:
        environ = {**mosquitto.environ(), **teslamate.environ(TMSYNC_DATABASE_PORT=str(port))}
        with watching(["--json", "--with-db"], environ) as watch:
            watch.verdict("waiting", seconds=4)
            mosquitto.publisher.healthy()
            watch.verdict("fresh", seconds=4)
            assert watch.end()[0] == 0
    run = tmsync("watch-mqtt", "--once", "--with-db", environ=mosquitto.environ())
    assert (run.code, "database.host is not set" in run.err) == (2, True)
