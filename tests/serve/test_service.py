"""tmsync serve as a whole: with real servers around it, or without them."""

import itertools
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_sync_local import configure
from tests.conftest import server_folder
from tests.serve.service import Serving, serving
from tests.support.brokers import BLUE, Broker, broker, needs_mosquitto
from tests.support.certificates import Authority
from tests.support.standin import running as standin
from tests.support.surroundings import TeslaMate, TwcFolder, clean_environ, tmsync
from tests.support.tesla import VIN, Tesla, reply, tesla
from tests.support.waiting import until
from tmsync.core.clock import Instant, SystemClock
from tmsync.core.config.load import load_settings
from tmsync.core.errors import ConfigError, TmsyncError
from tmsync.core.serve import facade, tokens
from tmsync.core.serve import service as service_module
from tmsync.core.serve.listening import open_sockets, read_certificate
from tmsync.core.telemetry import liveness
from tmsync.core.telemetry.fleet import Fleet
from tmsync.core.telemetry.views import VehicleView
from tmsync.core.twcmanager.facade import TwcFacts, not_sent_here
from tmsync.core.twcmanager.held import held_by_twcmanager
from tmsync.demo.server import free_port
from tmsync.demo.teslamate import access_token

LIST = "/api/1/vehicles"
STATE = f"/api/1/vehicles/{VIN}"


@pytest.fixture
def api() -> Iterator[Tesla]:
    with tesla() as found:
        yield found


@pytest.fixture
def environ(teslamate: TeslaMate, twc: TwcFolder, tmp_path: Path, api: Tesla) -> dict[str, str]:
    """A facade with TeslaMate's database, and no broker."""
    twc.path.chmod(0o750)
    return teslamate.environ(
        TMSYNC_TWCMANAGER_CONFIG_FILE=str(twc.config),
        TMSYNC_SERVE_LISTEN=f"127.0.0.1:{free_port()}",
        TMSYNC_SERVE_STATE_DIR=str(tmp_path / "state"),
        TMSYNC_SERVE_UPSTREAM=api.url,
    )


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "READ_EVERY_S", 0.1)
    monkeypatch.setattr(tokens, "DELIVER_EVERY_S", 0.3)
    monkeypatch.setattr(liveness, "MISSING_S", 0.0)
    monkeypatch.setattr(liveness, "SERVER_START", timedelta(0))
    monkeypatch.setattr(service_module, "ASK_EVERY_S", 0.2)


def fails(environ: dict[str, str]) -> TmsyncError:
    """Why it cannot even begin."""
    found = Serving(environ)
    found._thread.join(20)
    assert isinstance(found.error, TmsyncError)
    return found.error


def address(environ: dict[str, str]) -> tuple[str, int]:
    host, _, port = environ["TMSYNC_SERVE_LISTEN"].rpartition(":")
    return host, int(port)


def beat(it: Serving, mosquitto: Broker) -> None:
    """A heartbeat, once serve listens."""
    until(lambda: it.document()["vehicles"])
    mosquitto.publisher.healthy()


# -- it cannot begin


def test_nothing_to_serve_is_no_configuration(twc: TwcFolder) -> None:
    error = fails({"TMSYNC_TWCMANAGER_CONFIG_FILE": str(twc.config)})
    assert isinstance(error, ConfigError)
    assert error.cause == "missing-setting"


def test_facade_without_a_database_would_know_no_caller(environ: dict[str, str]) -> None:
    without = {name: value for name, value in environ.items() if not name.startswith("TMSYNC_DATABASE_")}
    error = fails(without)
    assert (error.cause, error.exit_code) == ("missing-setting", 2)
    local = {"TMSYNC_TWCMANAGER_TOKEN": "local", "TMSYNC_SERVE_UPSTREAM_TOKEN": "of-a-proxy-of-tesla's"}
    with serving({**without, **local}) as it:
        assert it.get(LIST, "a.stranger's.token")[0] == 401


def test_refusal_of_a_known_caller_is_logged_and_that_of_a_stranger_is_not(
    environ: dict[str, str], teslamate: TeslaMate
) -> None:
    with serving(environ) as it:
        it.until(lambda event: event["result"] == "written", "token")
    with serving({**environ, "TMSYNC_DATABASE_PORT": str(free_port())}) as it:
        it.problem("refused")
        assert it.get(LIST, "a.stranger's.token")[0] == 503
        assert it.get(LIST, teslamate.access)[0] == 503
        told = it.until(lambda event: event["code"] == 503, "request")
        assert told["reason"] == "no token of TeslaMate's is known"
        assert [event.kind for event in it.events].count("request") == 1


def test_taken_port_is_told(environ: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        error = fails({**environ, "TMSYNC_SERVE_LISTEN": f"127.0.0.1:{other.getsockname()[1]}"})
    assert (error.cause, error.exit_code) == ("listen-failed", 1)
    assert error.problem.fix[0].command == "sudo ss -ltnp"


def test_address_of_another_machine_is_told_as_that(environ: dict[str, str]) -> None:
    """Nobody listens there, so a list of those who do would be of no use."""
    error = fails({**environ, "TMSYNC_SERVE_LISTEN": "192.0.2.1:8089", "TMSYNC_SERVE_INSECURE": "true"})
    assert (error.cause, error.problem.fix[0].command) == ("listen-failed", "ip -brief address")


def test_unusable_certificate_is_told(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("no certificate")
    files = {name: str(tmp_path / "cert.pem") for name in ("TMSYNC_SERVE_TLS_CERT", "TMSYNC_SERVE_TLS_KEY")}
    error = fails({**environ, **files})
    assert (error.cause, error.exit_code) == ("unreadable-file", 2)
    away = tmp_path / "key.pem"
    error = fails({**environ, **files, "TMSYNC_SERVE_TLS_KEY": str(away)})
    assert str(error) == f"serve.tls_key: {away} cannot be read: No such file or directory"


def test_unusable_authorities_of_the_upstream_are_told_at_the_start_and_change_nothing_later(
    environ: dict[str, str], tmp_path: Path, teslamate: TeslaMate
) -> None:
    missing = {"TMSYNC_SERVE_UPSTREAM_CA_FILE": str(tmp_path / "missing.pem")}
    error = fails({**environ, **missing})
    assert (error.cause, error.exit_code) == ("unreadable-file", 2)
    with serving(environ) as it:
        it.until(lambda event: event["result"] == "written", "token")
        it.environ.update(missing)
        it.service.ask_reload()
        assert "missing.pem cannot be used" in it.until(lambda event: event["state"] == "kept", "serve")["message"]
        assert it.get(LIST, teslamate.access)[0] == 200


# -- callers


def test_strangers_get_nothing_and_teslamates_token_is_forwarded(
    environ: dict[str, str], teslamate: TeslaMate, api: Tesla
) -> None:
    with serving(environ) as it:
        it.until(lambda event: event["result"] == "written", "token")
        assert it.get(LIST)[0] == 401
        assert it.get(LIST, "a.stranger's.token")[0] == 401
        assert it.get(LIST, teslamate.access, Host="evil.example")[0] == 403
        assert api.calls == []
        assert it.get(LIST, teslamate.access)[0] == 200
        first = teslamate.access
        teslamate.store(access_token(datetime.now(UTC) + timedelta(hours=8)))
        it.until(lambda event: event["fingerprint"] != it.events[0] and event is not None, "token")
        until(lambda: it.service.check(teslamate.access).value == "known")
        # TWCManager goes on with the last one until it has the current one, and with none that came before.
        assert it.get(LIST, first)[0] == 200
        teslamate.store(access_token(datetime.now(UTC) + timedelta(hours=9)))
        until(lambda: it.service.check(first).value == "unknown")
        assert it.get(LIST, first)[0] == 401


def test_while_the_database_is_away_strangers_are_undecided_and_known_bearers_outlive_a_restart(
    environ: dict[str, str], teslamate: TeslaMate
) -> None:
    with serving(environ) as it:
        it.until(lambda event: event["result"] == "written", "token")
    away = {**environ, "TMSYNC_DATABASE_PORT": str(free_port())}
    with serving(away) as it:
        it.problem("refused")
        assert it.get("/readyz") == (503, "out of reach: database\n")
        assert it.get("/healthz") == (200, "ok\n")
        assert "whether this token is known" in it.get(LIST, "a.stranger's.token")[1]
        # It is known; what lacks is a token to forward it with.
        status, told = it.get(LIST, teslamate.access)
        assert status == 503
        assert "whether this token is known" not in told
    kept = (Path(environ["TMSYNC_SERVE_STATE_DIR"]) / "tesla-bearers.json").read_text()
    assert teslamate.access not in kept


def test_local_token_is_accepted_as_soon_as_it_is_delivered_and_until_it_is_renewed(
    environ: dict[str, str], teslamate: TeslaMate, twc: TwcFolder
) -> None:
    local = {**environ, "TMSYNC_TWCMANAGER_TOKEN": "local"}
    with serving(local) as it:
        assert it.problem("facade-not-configured")["severity"] == "critical"
        configure(twc, teslaProxy=f"http://{environ['TMSYNC_SERVE_LISTEN']}")
        it.until(lambda event: event["result"] == "written", "token")
        it.problem("facade-not-configured", "cleared")
        bearer = twc.read()["carApiBearerToken"]
        assert it.get(LIST, bearer)[0] == 200
        assert it.get(LIST, teslamate.access)[0] == 401
        configured = {"TMSYNC_TWCMANAGER_CONFIG_FILE": str(twc.config), **local}
        assert tmsync("status", "--json", environ=configured).json["tokens"]["in_sync"]
        told = tmsync("status", environ=configured).out
        assert "it holds a token of tmsync's own since" in told
        renewed = tmsync("serve", "--renew-local-token", "--json", environ=local)
        assert renewed.json["result"] == "written"
        assert it.get(LIST, bearer)[0] == 401
        assert it.get(LIST, twc.read()["carApiBearerToken"])[0] == 200
    told = json.dumps([event.fields for event in it.events])
    assert bearer not in told + renewed.out + renewed.err


def test_request_that_comes_back_is_told_of_by_the_token_that_went_up_and_not_at_a_strangers_word(
    environ: dict[str, str], teslamate: TeslaMate
) -> None:
    own = "of-a-proxy-of-tesla's"
    with serving({**environ, "TMSYNC_TWCMANAGER_TOKEN": "local", "TMSYNC_SERVE_UPSTREAM_TOKEN": own}) as it:
        until(lambda: it.service.check(teslamate.access).value == "ours")
        loops = {"Via": "1.1 tmsync"}, {"User-Agent": "TeslaMate/4.2.0"}
        assert [it.get(LIST, "a.stranger's.token", **loop)[0] for loop in loops] == [508, 508]
        told = it.document()
        assert "request-loop" not in [one["cause"] for one in told["problems"]]
        assert told["facade"]["last_call_at"] is None
        for bearer in (own, teslamate.access):
            assert it.get(LIST, bearer)[0] == 401
            assert it.get(LIST, bearer, **loops[0])[0] == 508
        assert it.problem("request-loop")["severity"] == "critical"


def test_local_tokens_that_cannot_be_read_are_no_fault_of_the_database(
    environ: dict[str, str], twc: TwcFolder, tmp_path: Path
) -> None:
    configure(twc, teslaProxy=f"http://{environ['TMSYNC_SERVE_LISTEN']}")
    with serving({**environ, "TMSYNC_TWCMANAGER_TOKEN": "local"}) as it:
        it.until(lambda event: event["result"] == "written", "token")
        (tmp_path / "state" / "local-bearers.json").write_text("x" * (2 << 20))
        status, told = it.get(LIST, twc.read()["carApiBearerToken"])
    assert (status, "database" in told) == (503, False)


def test_without_local_tokens_there_is_none_to_renew(environ: dict[str, str]) -> None:
    run = tmsync("serve", "--renew-local-token", environ=environ)
    assert run.code == 2
    assert "there is no local token to renew" in run.err


# -- telemetry, death, pages


@pytest.fixture
def mosquitto() -> Iterator[Broker]:
    with broker() as running:
        yield running


@needs_mosquitto
def test_teslamates_death_is_critical_at_once_with_the_time_at_which_its_token_ends(
    environ: dict[str, str], teslamate: TeslaMate, mosquitto: Broker
) -> None:
    mosquitto.publisher.car(**BLUE)
    soon = {"TMSYNC_HEALTH_LATE_AFTER_CHARGING": "2", "TMSYNC_HEALTH_STALE_AFTER_CHARGING": "4"}
    with ExitStack() as life:
        life.enter_context(teslamate.logged_in())
        with serving({**environ, **mosquitto.environ(), **soon}) as it:
            beat(it, mosquitto)
            it.until(lambda event: event["to"] == "TeslaMate", "source")
            life.close()
            found = it.problem("teslamate-gone")
            expires = it.document()["tokens"]["expires_at"]
            assert found["severity"] == "critical"
            assert found["message"].endswith(f"TWCManager is cut off from Tesla from {expires} on")
            assert "teslamate-gone" in [one["cause"] for one in it.document()["problems"]]
            it.until(lambda event: event["to"] == "TeslaAPI", "source")
            metrics = it.get("/metrics")[1]
            assert 'tmsync_source_changes_total{car_id="1",to="TeslaAPI"} 1' in metrics
            assert 'tmsync_problems{severity="critical",cause="teslamate-gone"} 1' in metrics
            with teslamate.logged_in():
                it.problem("teslamate-gone", "cleared")


@needs_mosquitto
def test_a_flood_of_messages_is_looked_at_twice_a_second_and_a_change_of_source_is_told_at_once(
    mosquitto: Broker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looks = list[float]()

    def views(fleet: Fleet, now: Instant, of: Callable[[Fleet, Instant], list[VehicleView]] = Fleet.views) -> Any:
        looks.append(time.monotonic())
        return of(fleet, now)

    monkeypatch.setattr(Fleet, "views", views)
    mosquitto.publisher.car(**BLUE)
    with serving({**mosquitto.environ(), "TMSYNC_SERVE_STATE_DIR": str(tmp_path)}) as it:
        until(lambda: len(it.service._parts.monitor.fleet))  # type: ignore[union-attr, arg-type]
        mosquitto.publisher.healthy()
        it.until(lambda event: event["to"] == "TeslaMate", "source")
        began = time.monotonic()
        while time.monotonic() - began < 2:
            mosquitto.publisher.healthy()
            time.sleep(0.02)
        assert 2 <= len([at for at in looks if at >= began]) <= 6
        mosquitto.publisher.healthy("false")
        began = time.monotonic()
        it.until(lambda event: event["to"] == "TeslaAPI", "source")
        assert time.monotonic() - began < 0.4


@needs_mosquitto
def test_pages_tell_no_position_without_a_bearer_and_no_secret_at_all(
    environ: dict[str, str], teslamate: TeslaMate, mosquitto: Broker, twc: TwcFolder
) -> None:
    mosquitto.publisher.car(**BLUE, latitude="52.5", longitude="13.25", location='{"latitude": 52.5}')
    with serving({**environ, **mosquitto.environ()}) as it:
        it.until(lambda event: event["result"] == "written", "token")
        beat(it, mosquitto)
        it.until(lambda event: event["to"] == "TeslaMate", "source")
        (stranger,) = it.document()["vehicles"]
        (known,) = it.document(teslamate.access)["vehicles"]
        assert known["telemetry"]["latitude"] == 52.5
        gone = {"latitude", "longitude", "location", "geofence"}
        assert stranger["telemetry"].keys() == known["telemetry"].keys() - gone
        assert it.get("/readyz") == (200, "ready\n")
        assert it.get("/tmsync/other", teslamate.access)[0] == 404
        told = "".join(it.get(path, teslamate.access)[1] for path in ("/metrics", "/tmsync/vehicles"))
        run = tmsync("status", "--json", environ=it.environ)
        assert run.json["facade"]["upstream"] == environ["TMSYNC_SERVE_UPSTREAM"]
        assert [one["verdict"] for one in run.json["vehicles"]] == ["fresh"]
        told += run.out + run.err + json.dumps([[event.message, event.fields] for event in it.events])
    assert [secret for secret in teslamate.secrets if secret in told] == []


NO_DATABASE = {"TMSYNC_DATABASE_PORT": "1"}
NO_DELIVERY = {"TMSYNC_SERVE_DELIVER_TOKENS": "false"}


@pytest.mark.parametrize(
    ("more", "hint"),
    [
        ({}, "tmsync serve brings it over within 15 s."),
        (NO_DATABASE, "Fix the database: tmsync serve then brings the token over by itself."),
        (NO_DELIVERY, "Bring the token over now:"),
        (NO_DATABASE | NO_DELIVERY, "Fix the database first, then bring the token over:"),
    ],
)
def test_status_advises_no_timer_where_serve_delivers(
    environ: dict[str, str], twc: TwcFolder, monkeypatch: pytest.MonkeyPatch, more: dict[str, str], hint: str
) -> None:
    monkeypatch.setattr(tokens, "DELIVER_EVERY_S", 60.0)
    with serving(environ | more) as it:
        until(lambda: it.service._keeper.held)
        twc.write({"carApiBearerToken": access_token(datetime.now(UTC) - timedelta(hours=1))})
        run = tmsync("status", "--json", environ=it.environ)
        it.service._keeper.held = held_by_twcmanager(it.service._parts.settings, None, SystemClock())
        for document in (run.json, it.document()):
            (found,) = (one for one in document["problems"] if one["cause"] == "out-of-sync")
            assert hint in found["hint"]


def test_status_tells_a_serve_that_does_not_answer(environ: dict[str, str]) -> None:
    run = tmsync("status", "--json", environ=environ)
    assert run.code == 1
    critical = [one["cause"] for one in run.json["problems"] if one["severity"] == "critical"]
    assert critical == ["out-of-sync", "serve-not-running"]
    unknown = dict.fromkeys(("upstream", "last_call_at", "answered", "forwarded"))
    assert run.json["facade"] == {"listen": environ["TMSYNC_SERVE_LISTEN"], **unknown}


def test_port_that_a_reload_gives_up_is_closed_and_open_again_when_it_is_wanted(environ: dict[str, str]) -> None:
    with serving(environ) as it:
        for listen, ready in (("", False), (environ["TMSYNC_SERVE_LISTEN"], True)):
            it.environ["TMSYNC_SERVE_LISTEN"] = listen
            before = len(it.events)
            it.service.ask_reload()
            until(lambda: any(event.fields.get("state") == "reloaded" for event in it.events[before:]))  # noqa: B023
            if ready:
                assert it.get("/healthz")[0] == 200
                continue
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address(environ), timeout=5)


def test_status_hides_no_server_behind_another_and_shows_the_steps_of_serve_as_its_own(
    environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("no folder")
    away = {
        **environ,
        "TMSYNC_DATABASE_PORT": str(free_port()),
        "TMSYNC_MQTT_HOST": "127.0.0.1",
        "TMSYNC_MQTT_PORT": str(free_port()),
    }
    with serving(away) as it:
        it.problem("refused")
        it.problem("state-unusable")
        run = tmsync("status", environ=away)
    assert f"127.0.0.1 port {away['TMSYNC_DATABASE_PORT']} refuses the connection" in run.out
    assert f"critical refused: no broker listens at 127.0.0.1 port {away['TMSYNC_MQTT_PORT']}" in run.out
    assert f"\n         ls -ld {tmp_path}/state\n" in run.out


@pytest.mark.parametrize(
    ("certified", "names", "says"),
    [
        ("127.0.0.1", "", ""),
        ("other.lan", "", "serve.tls_cert is for other.lan, and not for 127.0.0.1"),
        ("*.lan", "Pi.lan", ""),
        ("*.lan", "a.pi.lan", "serve.tls_cert is for *.lan, and not for 127.0.0.1 and a.pi.lan"),
    ],
)
def test_certificate_for_another_name_is_told(
    environ: dict[str, str], authority: Authority, certified: str, names: str, says: str
) -> None:
    certificate, key = authority.issue("tmsync", [certified])
    tls = {"TMSYNC_SERVE_TLS_CERT": str(certificate), "TMSYNC_SERVE_TLS_KEY": str(key), "TMSYNC_SERVE_NAMES": names}
    serve = load_settings(environ=clean_environ({**environ, **tls})).serve()
    assert serve is not None
    found = read_certificate(serve.tls_cert).problem(serve, datetime.now(UTC))
    assert (found.message if found else "") == says
    ended = read_certificate(serve.tls_cert).problem(serve, datetime.now(UTC) + timedelta(days=9999))
    assert ended is not None
    assert ended.cause == "tls-untrusted"
    if says and not names:
        with serving({**environ, **tls}) as it:
            assert it.problem("tls-name-mismatch")["severity"] == "critical"


def test_twcmanager_may_call_by_a_name_that_is_configured() -> None:
    environ = {"TMSYNC_SERVE_LISTEN": "192.0.2.5:8089", "TMSYNC_SERVE_NAMES": "pi.lan", "TMSYNC_SERVE_INSECURE": "true"}
    serve = load_settings(environ=clean_environ(environ)).serve()
    assert serve is not None
    assert not_sent_here(TwcFacts("http://pi.lan:8089"), serve) is None
    assert not_sent_here(TwcFacts("http://192.0.2.5:8089"), serve) is None
    assert not_sent_here(TwcFacts("http://other.lan:8089"), serve) is not None
    assert serve._replace(tls_cert="cert.pem").url == "https://pi.lan:8089"


def test_role_that_sees_no_vehicles_is_told_since_every_request_goes_to_tesla(
    environ: dict[str, str], teslamate: TeslaMate
) -> None:
    teslamate.sql("grant usage on schema private to twc; grant select on private.tokens to twc")
    little = {**environ, "TMSYNC_DATABASE_USER": "twc"}
    with serving(little) as it:
        until(lambda: "no-privilege" in [one["cause"] for one in it.document()["problems"]])
    run = tmsync("status", "--json", environ=little)
    (told,) = [one for one in run.json["problems"] if one["cause"] == "no-privilege"]
    assert told["message"] == "the role twc sees none of TeslaMate's cars, so every request goes to Tesla"
    assert told["fix"][1].endswith("charges, updates TO twc;")


def test_whoever_begins_no_tls_is_hung_up_on(
    environ: dict[str, str], authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facade, "HANDSHAKE_S", 0.2)
    certificate, key = authority.issue("tmsync", ["tmsync"])
    tls = {"TMSYNC_SERVE_TLS_CERT": str(certificate), "TMSYNC_SERVE_TLS_KEY": str(key)}
    with serving({**environ, **tls}), socket.create_connection(address(environ), timeout=5) as silent:
        assert silent.recv(1) == b""


class ListeningAt(socket.socket):
    """Where systemd has it listen, without doing so."""

    at = ("", 0)

    def getsockname(self) -> tuple[str, int]:
        return self.at


def test_systemds_socket_for_localhost_must_be_a_loopback_one() -> None:
    serve = load_settings(environ=clean_environ({"TMSYNC_SERVE_LISTEN": "localhost:8089"})).serve()
    assert serve is not None
    with ListeningAt() as listening:
        listening.at = ("127.0.0.1", 8089)
        (found,) = open_sockets(serve, [listening])
        found.close()
        listening.at = ("0.0.0.0", 8089)
        with pytest.raises(ConfigError, match=r"systemd's socket listens at 0\.0\.0\.0 port 8089"):
            open_sockets(serve, [listening])


def test_status_asks_over_tls_whoever_signed_the_certificate(environ: dict[str, str], authority: Authority) -> None:
    certificate, key = authority.issue("tmsync", ["tmsync"])
    tls = {"TMSYNC_SERVE_TLS_CERT": str(certificate), "TMSYNC_SERVE_TLS_KEY": str(key)}
    with serving({**environ, **tls}):
        run = tmsync("status", "--json", environ={**environ, **tls})
        assert run.json["facade"]["answered"] == 0
        other = authority.issue("other")[0]
        run = tmsync("status", "--json", environ={**environ, **tls, "TMSYNC_SERVE_TLS_CERT": str(other)})
        assert "serve-not-running" in [one["cause"] for one in run.json["problems"]]


def test_another_server_in_serves_place_is_told(environ: dict[str, str], twc: TwcFolder) -> None:
    with standin(twc.settings) as manager:
        run = tmsync("status", "--json", environ={**environ, "TMSYNC_SERVE_LISTEN": f"127.0.0.1:{manager.port}"})
    found = next(one for one in run.json["problems"] if one["cause"] == "serve-not-running")
    assert found["message"].endswith("what answers there is not tmsync (HTTP status 404)")


def test_what_stands_against_a_local_token_is_critical(environ: dict[str, str], twc: TwcFolder) -> None:
    configure(
        twc,
        {"TeslaMate": {"enabled": True, "syncTelemetry": True}},
        {"Powerwall2": {"enabled": True, "serverIP": "192.168.1.9"}},
        teslaProxy="http://127.0.0.1:1",
    )
    twc.write({"carApiBearerToken": "other", "carApiRefreshToken": "its-own"})
    seen = {}
    for token in ("local", "tesla"):
        run = tmsync("status", "--json", environ={**environ, "TMSYNC_TWCMANAGER_TOKEN": token})
        seen[token] = {one["cause"]: one["severity"] for one in run.json["problems"]}
    assert seen["local"] == {
        "holds-refresh-token": "critical", "out-of-sync": "critical", "facade-not-configured": "critical",
        "powerwall": "critical", "serve-not-running": "critical", "own-telemetry": "warning",
        "no-privilege": "warning",
    }  # fmt: skip
    assert seen["tesla"] == {
        "out-of-sync": "warning", "serve-not-running": "critical", "holds-refresh-token": "warning",
        "facade-not-configured": "warning", "own-telemetry": "warning", "no-privilege": "warning",
    }  # fmt: skip


def test_open_settings_folder_is_critical_with_a_local_token_whatever_the_files_mode(environ: dict[str, str]) -> None:
    with server_folder() as folder:
        twc = TwcFolder(folder, free_port())
        found = {}
        for token, door, mode in itertools.product(("local", "tesla"), (0o755, 0o750), (0o644, 0o600)):
            folder.chmod(door)
            twc.write({"carApiBearerToken": "other"}, mode)
            there = {"TMSYNC_TWCMANAGER_TOKEN": token, "TMSYNC_TWCMANAGER_CONFIG_FILE": str(twc.config)}
            run = tmsync("status", "--json", environ={**environ, **there})
            loose = [one["severity"] for one in run.json["problems"] if one["cause"] == "loose-permissions"]
            found[token, door, mode] = "".join(loose)
    assert {key: severity for key, severity in found.items() if severity} == {
        ("local", 0o755, 0o644): "critical", ("local", 0o755, 0o600): "critical", ("tesla", 0o755, 0o644): "warning",
    }  # fmt: skip


# -- reload


@needs_mosquitto
def test_reload_forgets_nothing_of_a_vehicle_and_connects_to_no_broker_again(
    environ: dict[str, str], mosquitto: Broker, teslamate: TeslaMate
) -> None:
    mosquitto.publisher.car(**BLUE)
    with serving({**environ, **mosquitto.environ()}) as it:
        beat(it, mosquitto)
        it.until(lambda event: event["to"] == "TeslaMate", "source")
        it.environ["TMSYNC_SERVE_ALLOW"] = "/api/1/users/me"
        it.service.ask_reload()
        it.until(lambda event: event["state"] == "reloaded", "serve")
        # TeslaMate's token is known, too, from the first request on.
        assert it.get("/api/1/users/me", teslamate.access)[0] == 200
        assert [one["verdict"] for one in it.document()["vehicles"]] == ["fresh"]
        assert [event.kind for event in it.events].count("source") == 1
        assert "tmsync_broker_reconnects_total 0" in it.get("/metrics")[1]
        it.environ["TMSYNC_HEALTH_RECOVER_AFTER"] = "1"
        it.service.ask_reload()
        until(lambda: [event.fields.get("state") for event in it.events].count("reloaded") == 2)
        until(lambda: [one["verdict"] for one in it.document()["vehicles"]] == ["waiting"])


def test_publishing_without_a_broker_is_no_configuration(environ: dict[str, str]) -> None:
    error = fails({**environ, "TMSYNC_PUBLISH_ENABLED": "true"})
    assert (error.cause, error.exit_code) == ("missing-setting", 2)
    assert "mqtt.host" in str(error)


def test_bad_file_keeps_the_settings_and_a_good_one_keeps_the_port(
    environ: dict[str, str], teslamate: TeslaMate
) -> None:
    with serving(environ) as it:
        it.until(lambda event: event["result"] == "written", "token")
        it.environ["TMSYNC_SERVE_LISTEN"] = "nowhere"
        it.service.ask_reload()
        assert "nowhere" in it.until(lambda event: event["state"] == "kept", "serve")["message"]
        assert it.problem("bad-value")["severity"] == "warning"
        it.environ["TMSYNC_SERVE_LISTEN"] = environ["TMSYNC_SERVE_LISTEN"]
        assert it.get(LIST, teslamate.access)[0] == 200
        it.environ["TMSYNC_SERVE_ALLOW"] = "/api/1/users/me"
        it.service.ask_reload()
        it.problem("bad-value", "cleared")
        it.until(lambda event: event["state"] == "reloaded", "serve")
        assert it.get("/api/1/users/me", teslamate.access)[0] == 200
        with socket.create_server(("127.0.0.1", 0)) as other:
            it.environ["TMSYNC_SERVE_LISTEN"] = f"127.0.0.1:{other.getsockname()[1]}"
            it.service.ask_reload()
            it.problem("listen-failed")
        it.environ["TMSYNC_SERVE_LISTEN"] = environ["TMSYNC_SERVE_LISTEN"]
        assert load_settings(environ=it.environ).serve() is not None
        assert it.get(LIST, teslamate.access)[0] == 200


def test_an_unforeseen_error_is_over_with_the_next_delivery_that_succeeds(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver, errors = tokens.sync, [ValueError("of ours")]

    def breaks_once(*given: Any, **more: Any) -> Any:
        if errors:
            raise errors.pop()
        return deliver(*given, **more)

    monkeypatch.setattr(tokens, "sync", breaks_once)
    with serving(environ) as it:
        it.problem("internal")
        it.until(lambda event: event["result"] == "written", "token")
        it.problem("internal", "cleared")


def test_what_the_settings_do_without_since_a_reload_is_no_problem_any_more(
    environ: dict[str, str], teslamate: TeslaMate, tmp_path: Path, api: Tesla
) -> None:
    with serving({**environ, "TMSYNC_TWCMANAGER_SETTINGS_FILE": str(tmp_path / "away" / "settings.json")}) as it:
        it.problem("settings-unwritable")
        it.reload(TMSYNC_SERVE_DELIVER_TOKENS="false")
        it.problem("settings-unwritable", "cleared")
        api.says["POST charge_stop"] = reply(403, {})
        assert it.get(f"{STATE}/command/charge_stop", teslamate.access, method="POST")[0] == 403
        it.problem("client-refused")
        it.reload("TMSYNC_SERVE_LISTEN")
        it.problem("client-refused", "cleared")
    local = {"TMSYNC_TWCMANAGER_TOKEN": "local", "TMSYNC_SERVE_UPSTREAM_TOKEN": "of-a-proxy-of-teslas"}
    with serving({**environ, **local, "TMSYNC_DATABASE_PORT": str(free_port())}) as it:
        it.problem("refused")
        it.reload("TMSYNC_DATABASE_")
        it.problem("refused", "cleared")
        assert it.get("/readyz") == (200, "ready\n")


@needs_mosquitto
def test_reload_forgets_neither_a_command_nor_a_problem_where_nothing_can_be_saved(
    environ: dict[str, str], teslamate: TeslaMate, mosquitto: Broker, tmp_path: Path, api: Tesla
) -> None:
    (tmp_path / "state").write_text("no folder")
    mosquitto.publisher.car(**BLUE)
    with serving({**environ, **mosquitto.environ()}) as it:
        it.until(lambda event: event["result"] == "written", "token")
        beat(it, mosquitto)
        it.until(lambda event: event["to"] == "TeslaMate", "source")
        api.says["POST charge_stop"] = reply(403, {})
        assert it.get(f"{STATE}/command/charge_stop", teslamate.access, method="POST")[0] == 403
        it.problem("client-refused")
        it.service.ask_reload()
        it.until(lambda event: event["state"] == "reloaded", "serve")
        beat(it, mosquitto)
        assert it.get(STATE, teslamate.access)[0] == 200
        assert [call.what for call in api.calls] == ["POST charge_stop", f"GET {VIN}"]
        it.problem("client-refused", "cleared")
