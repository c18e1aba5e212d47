"""The reference pages are made from the code, and hold what tmsync really prints: all of it, and nothing else."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.reference import fields
from tests.support.brokers import BLUE, Broker, broker, needs_mosquitto, watching
from tests.support.surroundings import OPEN, TeslaMate, TwcFolder, tmsync
from tests.support.tesla import tesla
from tmsync.demo.server import free_port

HBA = """\
include more.conf
host all all all
host all all 10.0.0.0/8 trust
host teslamate teslamate 10.0.0.1/32 scram-sha-256
"""


CAR = """
insert into public.car_settings (id, enabled) values (1, true);
insert into public.cars (id, eid, vid, vin, name, settings_id) values (1, 1, 1, 'VIN1', 'Blue', 1);
"""
NO_CAR = "delete from public.cars; delete from public.car_settings"


@pytest.fixture
def mosquitto() -> Iterator[Broker]:
    with broker() as running:
        yield running


def hba_documents(folder: Path) -> Iterator[str]:
    """check-db on files that are wrong in every way that has fields of its own."""
    path = folder / "pg_hba.conf"
    path.write_text(HBA)
    (folder / "more.conf").write_text("nonsense\nhost all all 10.0.0.2/32 trust\n")
    offline = ("check-db", "--json", "--pg-hba", str(path), "--offline", "--client-address")
    yield tmsync(*offline, "10.0.0.2").out
    path.write_text("host all all 10.0.0.0/8 trust\n")
    yield tmsync(*offline, "10.0.0.1").out
    path.write_text(OPEN.replace("all scram", "10.0.0.0/8 reject\n#"))
    yield tmsync(*offline, "10.0.0.1").out
    yield tmsync(*offline, "10.0.0.1", "--apply").out


def serving(environ: dict[str, str], twc: TwcFolder, teslamate: TeslaMate) -> Iterator[str]:
    """serve, with every event that it has, and status of it."""
    port = free_port()
    # A file in place of a folder: a problem, and a token that is delivered all the same.
    served = {**environ, "TMSYNC_SERVE_STATE_DIR": str(twc.config), "TMSYNC_SERVE_LISTEN": f"127.0.0.1:{port}"}
    with tesla() as api:
        served["TMSYNC_SERVE_UPSTREAM"] = f"http://127.0.0.1:{api.port}"
        with watching(["--json"], served, command="serve") as serve:
            serve.event(lambda event: event["event"] == "token")
            serve.event(lambda event: event["event"] == "problem")
            headers = {"Authorization": f"Bearer {teslamate.access}"}
            request = Request(f"http://127.0.0.1:{port}/api/1/vehicles", headers=headers)
            urlopen(request).close()
            serve.event(lambda event: event["event"] == "request")
            yield tmsync("status", "--json", environ=served).out
            serve.end(signal.SIGTERM)
            yield from map(json.dumps, serve.seen)


@needs_mosquitto
def test_every_documented_field_is_printed_and_every_printed_field_is_documented(
    teslamate: TeslaMate, twc: TwcFolder, mosquitto: Broker, tmp_path: Path
) -> None:
    environ = {
        **teslamate.environ(), **mosquitto.environ(), "TMSYNC_TWCMANAGER_CONFIG_FILE": str(twc.config),
        "TMSYNC_HEALTH_LATE_AFTER_CHARGING": "0.5", "TMSYNC_HEALTH_STALE_AFTER_CHARGING": "1",
    }  # fmt: skip
    twc.write({"carApiBearerToken": "x", "carApiRefreshToken": "y"}, mode=0o666)
    teslamate.sql(CAR)
    mosquitto.publisher.car(**BLUE)
    texts = list(hba_documents(tmp_path))
    texts.append(tmsync("config", "--all", "--json", environ=environ).out)
    texts.append(tmsync("status", "--wait", "2", "--json", environ=environ).out)
    texts += serving(environ, twc, teslamate)
    texts.append(tmsync("sync-tokens", "--json", environ=environ).out)
    texts.append(tmsync("status", "--bad", "--json").out)
    teslamate.sql("alter role teslamate superuser", "postgres")
    texts.append(tmsync("check-db", "--json", environ=environ).out)
    teslamate.sql(f"alter role teslamate nosuperuser; {NO_CAR}")
    with mosquitto.watch(**{key: value for key, value in environ.items() if "HEALTH" in key}) as watch:
        watch.broker("connected")
        mosquitto.publisher.healthy()
        watch.source()
        watch.end(signal.SIGTERM)
        texts += map(json.dumps, watch.seen)
    found: set[str] = set()
    for text in texts:
        value, what, makers = fields.printed(text)
        assert fields.mistakes(value, makers, what) == []
        found |= fields.seen(value, makers, what)
    assert fields.every_field() - found == set()


def test_undocumented_missing_and_mistyped_fields_are_found() -> None:
    whole = {"cause": "stale", "message": "m", "hint": "h", "fix": ["f"]}
    makers = fields.OBJECTS["Error"][1]
    assert fields.mistakes(whole, makers) == []
    assert fields.mistakes({**whole, "more": 1}, makers) == [": more is not documented"]
    assert fields.mistakes({**whole, "hint": None}, makers) == [": hint is None, no text"]
    assert fields.mistakes({**whole, "cause": "odd"}, makers) == [": cause is 'odd', no Cause"]
    assert fields.mistakes({**whole, "fix": [1]}, makers) == [": fix[] is 1, no text"]
    del whole["fix"]
    assert fields.mistakes(whole, makers) == [": fix is missing"]
