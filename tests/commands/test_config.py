"""config: everything that is set, where from, and what is missing; a secret is never shown."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.surroundings import Run, tmsync
from tmsync import __version__
from tmsync.core.config.schema import SETTINGS

TEXT = """
[database]
host = "192.168.1.5"
password = "from-toml-SECRET"
[twcmanager]
restart_command = ["systemctl", "restart", "twcmanager"]
"""


def setting(run: Run, name: str) -> dict[str, Any]:
    return next(entry for entry in run.json["settings"] if entry["name"] == name)


def test_broken_configuration_is_one_error_and_a_document(make_config: Callable[..., Path]) -> None:
    path = make_config("[databse]\nhost = 'x'\n")
    run = tmsync("--config", str(path), "config", "--json")
    assert run.code == 2
    assert (run.json["command"], run.json["version"], run.json["ok"]) == ("config", __version__, False)
    assert run.json["error"]["cause"] == "unknown-key"
    assert "databse" in run.err
    assert "Traceback" not in run.err
    assert tmsync("--config", str(path), "config").out == ""


def test_nothing_configured_tells_what_each_command_lacks() -> None:
    run = tmsync("config", "--json")
    database = ["database.host", "database.password", "teslamate.encryption_key"]
    assert run.code == 0
    assert run.json["config_file"] is None
    assert run.json["commands"] == {
        "check-db": {"ready": False, "missing": database},
        "sync-tokens": {"ready": False, "missing": database},
        "watch-mqtt": {"ready": False, "missing": ["mqtt.host"]},
        "status": {"ready": False, "missing": [*database, "mqtt.host"]},
        "serve": {"ready": False, "missing": ["serve.listen", *database, "mqtt.host"]},
    }


def test_every_setting_its_value_and_origin(make_config: Callable[..., Path], tmp_path: Path) -> None:
    twc = tmp_path / "config.json"
    twc.write_text(json.dumps({"vehicle": {"TeslaMate": {"db_name": "twc", "mqtt_pass": "twc-SECRET"}}}))
    twc.chmod(0o600)
    path = make_config(TEXT)
    secret = tmp_path / "key"
    secret.write_text("file-SECRET\n")
    secret.chmod(0o600)
    environ = {
        "TMSYNC_MQTT_HOST": "broker",
        "TMSYNC_TESLAMATE_ENCRYPTION_KEY_FILE": str(secret),
        "TMSYNC_TWCMANAGER_CONFIG_FILE": str(twc),
    }
    run = tmsync("--config", str(path), "config", "--all", "--json", environ=environ)
    assert [entry["name"] for entry in run.json["settings"]] == [setting.name for setting in SETTINGS]
    told = {name: (setting(run, name)["value"], setting(run, name)["layer"], setting(run, name)["origin"]) for name in (
        "database.host", "database.port", "database.name", "database.password", "teslamate.encryption_key",
        "mqtt.host", "mqtt.password", "mqtt.username", "twcmanager.restart_command",
    )}  # fmt: skip
    assert told == {
        "database.host": ("192.168.1.5", "toml", str(path)),
        "database.port": (5432, "default", "default"),
        "database.name": ("twc", "twcmanager", f"{twc} (vehicle.TeslaMate.db_name)"),
        "database.password": ("********", "toml", str(path)),
        "teslamate.encryption_key": ("********", "environment", "TMSYNC_TESLAMATE_ENCRYPTION_KEY_FILE"),
        "mqtt.host": ("broker", "environment", "TMSYNC_MQTT_HOST"),
        "mqtt.password": ("********", "twcmanager", f"{twc} (vehicle.TeslaMate.mqtt_pass)"),
        "mqtt.username": (None, "default", "default"),
        "twcmanager.restart_command": (["systemctl", "restart", "twcmanager"], "toml", str(path)),
    }
    assert run.json["config_file"] == str(path)
    assert run.json["commands"]["status"] == {"ready": True, "missing": []}
    for form in ([], ["--json"]):
        shown = tmsync("-v", "--config", str(path), "config", *form, environ={**environ, "COLUMNS": "80"})
        assert "SECRET" not in shown.out + shown.err


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_defaults_are_hidden_unless_all_is_asked_for(make_config: Callable[..., Path], form: list[str]) -> None:
    path = str(make_config(TEXT))
    few = tmsync("--config", path, "config", *form, environ={"PGSSLMODE": "require"})
    every = tmsync("--config", path, "config", "--all", *form)
    assert "database.port" not in few.out
    assert "database.port" in every.out
    if form:
        told = {entry["name"]: entry["layer"] for entry in few.json["settings"]}
        assert told == {
            "database.host": "toml",
            "database.password": "toml",
            "database.sslmode": "libpq",
            "twcmanager.restart_command": "toml",
        }
        assert few.json["commands"] == every.json["commands"]


def test_nothing_set_is_no_table() -> None:
    run = tmsync("config", environ={"COLUMNS": "80"})
    assert (run.code, "Defaults are not shown: tmsync config --all." in run.out) == (0, True)


LONG = "/a/very/long/path/that/fits/beside/nothing/at/all/and/goes/on/and/on/and/on/to/its/end.pem"


@pytest.mark.parametrize("width", ["40", "80", "140"])
def test_no_word_is_broken_however_narrow_the_screen(make_config: Callable[..., Path], width: str) -> None:
    path = make_config(f'{TEXT}\n[mqtt]\nhost = "nas"\nca_file = "{LONG}"\n')
    arguments = ["--config", str(path), "config", "--all"]
    wide, narrow = (tmsync(*arguments, environ={"COLUMNS": columns}).out for columns in ("1000", width))
    assert narrow.split() == wide.split()
    whole = ("mqtt.ca_file", LONG, str(path), "twcmanager.settings_file", "/etc/twcmanager/settings.json")
    for line in narrow.splitlines():
        assert len(line) <= int(width) or any(word in line for word in whole)


@pytest.mark.parametrize(
    "command",
    [
        ["curl", "-H", "Authorization: Bearer hush-hush", "http://localhost"],
        ["mysql", "-p", "hush"],
        ["restart", "--token", "hush"],
        ["ssh", "pi", "X=hush1234567890 restart"],
        ["restart", "eyJhbGciOiJIUzI1NiJ9.hush.x"],
    ],
)
def test_restart_command_that_may_hold_a_secret_shows_its_program_only(
    make_config: Callable[..., Path], command: list[str]
) -> None:
    path = make_config(f"[twcmanager]\nrestart_command = {json.dumps(command)}\n")
    for form in ([], ["--json"]):
        run = tmsync("-v", "--config", str(path), "config", *form)
        assert run.code == 0
        assert command[0] in run.out
        assert "hush" not in run.out + run.err


@pytest.mark.parametrize("width", ["80", "140"])
def test_table_fits_the_screen(make_config: Callable[..., Path], width: str) -> None:
    path = make_config(TEXT)
    run = tmsync("--config", str(path), "config", "--all", environ={"COLUMNS": width})
    assert run.code == 0
    assert max(len(line) for line in run.out.splitlines() if str(path) not in line) <= int(width)
    lines = [line.split() for line in run.out.splitlines()]
    assert ["database.password", "set,", "not", "shown", "configuration", "file"] in lines
    assert ["teslamate.encryption_key", "not", "set"] in lines


def test_loose_permissions_are_a_warning(make_config: Callable[..., Path]) -> None:
    path = make_config(TEXT, 0o644)
    run = tmsync("--config", str(path), "config", "--json")
    assert [warning["cause"] for warning in run.json["warnings"]] == ["loose-permissions"]
    assert run.json["ok"] is True
    assert f"chmod o-rwx {path}" in run.err


def test_password_that_libpq_finds_counts(make_config: Callable[..., Path]) -> None:
    path = make_config('[database]\nhost = "192.168.1.5"\n')
    run = tmsync("--config", str(path), "config", "--json", environ={"PGPASSWORD": "pg-SECRET"})
    assert setting(run, "database.password")["origin"] == "PGPASSWORD"
    assert run.json["commands"]["check-db"]["missing"] == ["teslamate.encryption_key"]
    assert "SECRET" not in run.out
