"""Settings from every layer, each with its origin, and every mistake named."""

import contextlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmsync.core.causes import Cause
from tmsync.core.config import settings as settings_module
from tmsync.core.config.load import load_settings
from tmsync.core.config.schema import SETTINGS
from tmsync.core.config.settings import DatabaseSettings, Layer, PublishSettings, ServeSettings, Settings
from tmsync.core.errors import ConfigError
from tmsync.core.secret import Secret

LATE = {"online": 140, "charging": 100, "driving": 95, "asleep": 110, "offline": 110, "suspended": 0, "updating": 0}
NOWHERE = {"XDG_CONFIG_HOME": "/nonexistent", "HOME": "/nonexistent"}


def load(environ: dict[str, str] | None = None, config: Path | None = None, **flags: Any) -> Settings:
    named = {name.replace("__", "."): value for name, value in flags.items()}
    return load_settings(
        environ={**NOWHERE, **(environ or {})}, flags=named, config_file=str(config) if config else None
    )


def refused(cause: Cause, *parts: str, **arguments: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(**arguments)
    assert caught.value.cause is cause, caught.value
    told = " ".join([str(caught.value), *(line for step in caught.value.problem.fix for line in step.as_lines())])
    for part in parts:
        assert part in told
    assert "\n" not in told
    assert caught.value.exit_code == 2
    return caught.value


# -- mistakes


@pytest.mark.parametrize(
    ("text", "cause", "parts"),
    [
        ("database", Cause.BAD_SYNTAX, ["Expected '='"]),
        ("[database]\nhost = 'a'\nhost = 'b'\n", Cause.BAD_SYNTAX, ["line 3"]),
        ("[databse]\n", Cause.UNKNOWN_KEY, ["databse", "Did you mean database?"]),
        ("[database]\nhots = 'a'\n", Cause.UNKNOWN_KEY, ["database.hots", "Did you mean database.host?"]),
        ("[health.late_after]\nparking = 5\n", Cause.UNKNOWN_KEY, ["health.late_after.parking"]),
        ("[health]\nrecover = 5\n", Cause.UNKNOWN_KEY, ["health.recover_after?", "health.late_after.<state>,"]),
        ("[health]\nlate_after = 5\n", Cause.WRONG_TYPE, ["[health.late_after]"]),
        ("host = 'a'\n", Cause.UNKNOWN_KEY, ["host stands outside its section", "[database] or [mqtt]"]),
        ("[database]\nhost = 192.168.1.5\n", Cause.BAD_SYNTAX, ["line 2", 'host = "192.168.1.5"']),
        ("database = 5\n", Cause.WRONG_TYPE, ["database", "a table"]),
        ("[database]\nport = '5432'\n", Cause.WRONG_TYPE, ["database.port", "without quotes: a whole number from 1"]),
        ("[database]\nport = true\n", Cause.WRONG_TYPE, ["database.port"]),
        ("[database]\nport = 70000\n", Cause.BAD_VALUE, ["database.port", "70000", "1 to 65535"]),
        ("[database]\nhost = ''\n", Cause.BAD_VALUE, ["database.host is empty"]),
        ("[database]\npassword_file = ''\n", Cause.BAD_VALUE, ["database.password_file is empty"]),
        ("[database]\nhost = 'a b'\n", Cause.BAD_VALUE, ["database.host"]),
        ("[database]\nhost = 'a,b'\n", Cause.BAD_VALUE, ["database.host"]),
        ("[database]\nsslmode = 'on'\n", Cause.BAD_VALUE, ["disable, allow, prefer, require"]),
        ("[database]\nconnect_timeout = 0\n", Cause.BAD_VALUE, ["above 0"]),
        ("[database]\nconnect_timeout = nan\n", Cause.BAD_VALUE, ["above 0"]),
        ("[database]\npassword = 5\n", Cause.WRONG_TYPE, ["database.password", "in quotes"]),
        ("[database]\npassword = 'a'\npassword_file = 'b'\n", Cause.BAD_VALUE, ["password_file", "Keep one"]),
        ("[database]\npassword_file = '/tmp/nonexistent'\n", Cause.UNREADABLE_FILE, ["/tmp/nonexistent"]),
        ("[mqtt]\nnamespace = 'a/b'\n", Cause.BAD_VALUE, ["mqtt.namespace", "MQTT_NAMESPACE"]),
        ("[mqtt]\ntls = 'yes'\n", Cause.WRONG_TYPE, ["mqtt.tls", "true or false"]),
        ("[twcmanager]\nurl = 'twc.local'\n", Cause.BAD_VALUE, ["http://"]),
        ("[twcmanager]\nurl = 'http:///path'\n", Cause.BAD_VALUE, ["http://"]),
        ("[twcmanager]\nurl = 'http://:8080'\n", Cause.BAD_VALUE, ["http://"]),
        ("[twcmanager]\nurl = 'http://pi:99999'\n", Cause.BAD_VALUE, ["http://"]),
        ("[twcmanager]\ndeliver = 'post'\n", Cause.BAD_VALUE, ["auto, file, http"]),
        ("[twcmanager]\nrestart_command = 'x'\n", Cause.WRONG_TYPE, ["list of arguments"]),
        ("[twcmanager]\ntoken = 'none'\n", Cause.BAD_VALUE, ["tesla, local"]),
        ("[twcmanager]\ntoken = 'local'\n", Cause.MISSING_SETTING, ["serve.listen"]),
        ("[serve]\nlisten = '127.0.0.1'\n", Cause.BAD_VALUE, ["serve.listen", "a port"]),
        ("[serve]\nlisten = '::1:8089'\n", Cause.BAD_VALUE, ["[::1]:8089"]),
        ("[serve]\nlisten = 'host:8089'\n", Cause.BAD_VALUE, ["serve.listen"]),
        ("[serve]\nlisten = '127.0.0.1:0'\n", Cause.BAD_VALUE, ["serve.listen"]),
        ("[serve]\nlisten = '192.168.1.5:8089'\n", Cause.BAD_VALUE, ["other hosts", "serve.tls_cert"]),
        ("[serve]\nlisten = '[::]:8089'\n", Cause.BAD_VALUE, ["other hosts", "serve.insecure = true"]),
        ("[serve]\nlisten = '[::1]:8089'\ntls_cert = 'a'\n", Cause.MISSING_SETTING, ["serve.tls_key"]),
        ("[serve]\nlisten = '[::1]:8089'\ntls_key = 'a'\n", Cause.MISSING_SETTING, ["serve.tls_cert"]),
        ("[serve]\nupstream = 'http://192.168.1.5'\n", Cause.BAD_VALUE, ["serve.upstream", "https://"]),
        ("[serve]\nupstream = 'https://u:p@tesla'\n", Cause.BAD_VALUE, ["no password"]),
        ("[serve]\nupstream = 'https://[tesla'\n", Cause.BAD_VALUE, ["serve.upstream"]),
        ("[serve]\nupstream = 'https://tesla?a=b'\n", Cause.BAD_VALUE, ["serve.upstream"]),
        ("[serve]\nupstream = 'https://tesla:99999'\n", Cause.BAD_VALUE, ["serve.upstream"]),
        ("[serve]\nlisten = '127.0.0.1:80'\nupstream = 'http://localhost/'\n", Cause.BAD_VALUE, ["is serve.listen"]),
        ("[serve]\nnames = ['http://pi']\n", Cause.BAD_VALUE, ["serve.names", "host names"]),
        ("[serve]\nallow = '/api/1/x'\n", Cause.WRONG_TYPE, ["a list of paths"]),
        ("[serve]\nallow = ['/api/1/../x']\n", Cause.BAD_VALUE, ["serve.allow"]),
        ("[serve]\nallow = ['/api/1/a%2fb']\n", Cause.BAD_VALUE, ["serve.allow"]),
        ("[publish]\nprefix = 'teslamate'\n", Cause.BAD_VALUE, ["publish.prefix", "not below teslamate"]),
        ("[publish]\nprefix = 'teslamate/tmsync'\n", Cause.BAD_VALUE, ["publish.prefix"]),
        ("[publish]\nprefix = 'a/#'\n", Cause.BAD_VALUE, ["without + and #"]),
        ("[publish]\nprefix = '/a'\n", Cause.BAD_VALUE, ["publish.prefix"]),
        ("[publish]\nprefix = 'a/+/b'\n", Cause.BAD_VALUE, ["without + and #"]),
        ("[publish]\nprefix = '$SYS/a'\n", Cause.BAD_VALUE, ["not beginning with $"]),
        ("[publish]\nprefix = 'homeassistant'\n", Cause.BAD_VALUE, ["lie one in the other", '"tmsync"']),
        ("[publish]\nprefix = 'homeassistant/a'\n", Cause.BAD_VALUE, ["lie one in the other"]),
        ("[publish]\nprefix = 'a'\ndiscovery_prefix = 'a/b'\n", Cause.BAD_VALUE, ["lie one in the other"]),
        ("[health.stale_after]\nonline = -1\n", Cause.BAD_VALUE, ["health.stale_after.online", "0 or more"]),
    ],
)
def test_mistake_in_toml_is_named_with_file_key_and_what_is_allowed(
    make_config: Callable[..., Path], text: str, cause: Cause, parts: list[str]
) -> None:
    path = make_config(text)
    refused(cause, str(path), *parts, config=path)


@pytest.mark.parametrize(
    ("variable", "value", "cause"),
    [
        ("TMSYNC_DATABASE_HOTS", "x", Cause.UNKNOWN_KEY),
        ("TMSYNC_DATABASE_PORT", "x", Cause.BAD_VALUE),
        ("TMSYNC_DATABASE_PORT", "0", Cause.BAD_VALUE),
        ("TMSYNC_DATABASE_SSLMODE", "on", Cause.BAD_VALUE),
        ("TMSYNC_MQTT_TLS", "maybe", Cause.BAD_VALUE),
        ("TMSYNC_TWCMANAGER_RESTART_COMMAND", "sh -c 'open", Cause.BAD_VALUE),
        ("TMSYNC_HEALTH_STALE_AFTER_ONLINE", "soon", Cause.BAD_VALUE),
        ("TMSYNC_DATABASE_PASSWORD_FILE", "/nonexistent/x", Cause.UNREADABLE_FILE),
        ("TMSYNC_CONFIG", "/nonexistent/x.toml", Cause.UNREADABLE_FILE),
    ],
)
def test_mistake_in_the_environment_is_named(variable: str, value: str, cause: Cause) -> None:
    refused(cause, variable, environ={variable: value})


def test_service_has_its_settings(tmp_path: Path) -> None:
    assert load().serve() is None
    assert load().publish() == PublishSettings(
        enabled=False, prefix="tmsync", discovery_prefix="homeassistant", values=False
    )
    environ = {
        "TMSYNC_SERVE_LISTEN": "[::]:8089",
        "TMSYNC_SERVE_TLS_CERT": "/cert",
        "TMSYNC_SERVE_TLS_KEY": "/key",
        "TMSYNC_SERVE_NAMES": "tmsync",
        "TMSYNC_SERVE_UPSTREAM": "http://127.0.0.1:4443/",
        "TMSYNC_SERVE_ALLOW": "/api/1/users/me /api/1/vehicles/{vehicle}/command/honk_horn",
    }
    found = load(environ).serve()
    allowed = ("/api/1/users/me", "/api/1/vehicles/{vehicle}/command/honk_horn")
    assert found == ServeSettings(
        "::", 8089, ("tmsync",), "http://127.0.0.1:4443", None, None, allowed, "/cert", "/key", insecure=False
    )
    assert found.url == "https://tmsync:8089"
    assert found._replace(names=()).url == "https://[::]:8089"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"STATE_DIRECTORY": "/run/one:/run/two", "XDG_STATE_HOME": "/home/state"}, "/run/one"),
        ({"XDG_STATE_HOME": "/home/state"}, "/home/state/tmsync"),
        ({"XDG_STATE_HOME": "/home/state", "TMSYNC_SERVE_STATE_DIR": "/mine"}, "/mine"),
    ],
)
def test_state_has_its_folder(environ: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_module, "SYSTEM_STATE_DIR", "/nonexistent/tmsync")
    assert load(environ).state_dir == Path(expected)


def test_secret_with_a_mistake_is_not_shown() -> None:
    error = refused(Cause.BAD_VALUE, "TMSYNC_DATABASE_PASSWORD", environ={"TMSYNC_DATABASE_PASSWORD": "se\0cret"})
    assert "cret" not in str(error)


def test_missing_setting_names_every_place() -> None:
    with pytest.raises(ConfigError) as caught:
        load().database()
    assert caught.value.cause is Cause.MISSING_SETTING
    for place in ("--db-host", "TMSYNC_DATABASE_HOST", "[database]", "config.toml"):
        assert place in caught.value.problem.hint


def test_file_that_is_named_must_exist(tmp_path: Path) -> None:
    refused(Cause.UNREADABLE_FILE, "--config", config=tmp_path / "none.toml")
    refused(Cause.UNREADABLE_FILE, config=tmp_path)


def test_nothing_far_off_is_suggested(make_config: Callable[..., Path]) -> None:
    for error in (
        refused(Cause.UNKNOWN_KEY, config=make_config("[teslamate]\nkey = 'x'\n")),
        refused(Cause.UNKNOWN_KEY, environ={"TMSYNC_FOO_BAR": "x"}),
    ):
        assert "Did you mean" not in str(error.problem.as_json())


def test_mark_at_the_beginning_of_a_file_does_no_harm(make_config: Callable[..., Path]) -> None:
    assert load(config=make_config("\ufeff[database]\nhost = 'a'\n")).get("database.host") == "a"


def test_who_named_twcmanagers_configuration_is_told(make_config: Callable[..., Path]) -> None:
    path = make_config("[twcmanager]\nconfig_file = '/nonexistent'\n")
    refused(Cause.UNREADABLE_FILE, f"named by twcmanager.config_file in {path}", config=path)
    refused(Cause.UNREADABLE_FILE, "TMSYNC_TWCMANAGER_CONFIG_FILE", environ={"TMSYNC_TWCMANAGER_CONFIG_FILE": "/none"})


def test_empty_secret_file(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("\n")
    refused(Cause.BAD_VALUE, "is empty", environ={"TMSYNC_MQTT_PASSWORD_FILE": str(tmp_path / "s")})


# -- layers


def test_defaults_are_the_documented_ones() -> None:
    values = {name: value.value for name, value in load().values.items()}
    assert values["database.port"] == 5432
    assert (values["database.name"], values["database.user"], values["database.sslmode"]) == (
        "teslamate", "teslamate", "prefer",
    )  # fmt: skip
    assert values["database.connect_timeout"] == 5
    assert (values["mqtt.port"], values["mqtt.namespace"], values["mqtt.tls"]) == (1883, "", False)
    assert values["twcmanager.settings_file"] == "/etc/twcmanager/settings.json"
    assert values["twcmanager.url"] == "http://127.0.0.1:8080"
    assert (values["twcmanager.deliver"], values["twcmanager.refresh_token"]) == ("auto", "withhold")
    late = {state: values[f"health.late_after.{state}"] for state in LATE}
    assert late == LATE
    assert values["health.stale_after.driving"] == 960
    assert values["health.stale_after.updating"] == 0
    assert values["health.recover_after"] == 120
    assert load(environ={"TMSYNC_MQTT_TLS": "true"}).get("mqtt.port") == 8883


def test_higher_layer_wins_and_the_origin_is_kept(make_config: Callable[..., Path], tmp_path: Path) -> None:
    twc = tmp_path / "config.json"
    twc.write_text(json.dumps({"vehicle": {"TeslaMate": {"db_host": "twc", "db_name": "twc", "db_user": "twc"}}}))
    path = make_config(
        f'[database]\nhost = "toml"\nname = "toml"\nport = 1\n[twcmanager]\nconfig_file = "{twc}"\n[mqtt]\nport = 1\n'
    )
    environ = {"TMSYNC_DATABASE_HOST": "env", "TMSYNC_DATABASE_PORT": "2"}
    values = load(environ, path, database__host="flag").values
    assert tuple(values["database.host"]) == ("flag", Layer.FLAG, "--db-host")
    assert tuple(values["database.port"]) == (2, Layer.ENVIRONMENT, "TMSYNC_DATABASE_PORT")
    assert tuple(values["database.name"]) == ("toml", Layer.TOML, str(path))
    assert tuple(values["database.user"]) == ("twc", Layer.TWCMANAGER, f"{twc} (vehicle.TeslaMate.db_user)")
    assert tuple(values["database.sslmode"]) == ("prefer", Layer.DEFAULT, "default")


def test_secret_file_of_a_higher_layer_beats_a_value_of_a_lower_one(
    make_config: Callable[..., Path], tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from-file\n")
    secret.chmod(0o600)
    path = make_config('[database]\npassword = "from-toml"\n')
    settings = load({"TMSYNC_DATABASE_PASSWORD_FILE": str(secret)}, path)
    assert settings.get("database.password") == Secret("from-file", ("from-file\n",))
    assert settings.values["database.password"].origin == "TMSYNC_DATABASE_PASSWORD_FILE"


def test_secret_file_in_toml_is_relative_to_the_toml_file(make_config: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k")
    (tmp_path / "key").chmod(0o600)
    settings = load(config=make_config('[teslamate]\nencryption_key_file = "key"\n'))
    assert settings.encryption_key == Secret("k")


@pytest.mark.parametrize("place", ["TMSYNC_CONFIG", "XDG_CONFIG_HOME", "HOME"])
def test_toml_is_found_in_its_places(tmp_path: Path, place: str) -> None:
    folder = {"XDG_CONFIG_HOME": tmp_path / "tmsync", "HOME": tmp_path / ".config" / "tmsync"}.get(place, tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.toml"
    path.write_text('[database]\nhost = "found"\n')
    environ = {place: str(path if place == "TMSYNC_CONFIG" else tmp_path)}
    if place == "HOME":
        environ["XDG_CONFIG_HOME"] = ""
    assert load(environ).get("database.host") == "found"


def test_empty_variable_is_not_set_but_an_empty_namespace_is(tmp_path: Path) -> None:
    twc = tmp_path / "config.json"
    twc.write_text('{"vehicle": {"TeslaMate": {"mqtt_prefix": "home", "db_host": "twc"}}}')
    environ = {"TMSYNC_TWCMANAGER_CONFIG_FILE": str(twc), "TMSYNC_DATABASE_HOST": ""}
    assert load(environ).get("database.host") == "twc"
    assert load(environ).get("mqtt.namespace") == "home"
    assert load({**environ, "TMSYNC_MQTT_NAMESPACE": ""}).get("mqtt.namespace") == ""


def test_mqtt_prefix_teslamate_means_no_namespace_unless_cars_say_otherwise(tmp_path: Path) -> None:
    twc = tmp_path / "config.json"
    twc.write_text('{"vehicle": {"TeslaMate": {"mqtt_prefix": "teslamate", "mqtt_host": "nas"}}}')
    environ = {"TMSYNC_TWCMANAGER_CONFIG_FILE": str(twc)}
    found = load(environ)
    assert (found.mqtt().namespace, found.mqtt().may_be_root) == ("", True)
    assert found.values["mqtt.namespace"].origin == (
        f'{twc} (vehicle.TeslaMate.mqtt_prefix "teslamate": TeslaMate\'s root)'
    )
    for said in ("", "teslamate"):
        meant = load({**environ, "TMSYNC_MQTT_NAMESPACE": said}).mqtt()
        assert (meant.namespace, meant.may_be_root) == (said, False)


def test_variables_of_others_are_left_alone() -> None:
    others = {"TMSYNC_VERSION": "9", "TMSYNC": "x", "DATABASE_HOST": "x", "TMSYNC_PORT_80_TCP": "x"}
    assert load({**others, "TMSYNC_SERVICE_HOST": "x"}).get("database.host") is None


def test_misspelt_section_in_the_environment_is_told() -> None:
    with pytest.raises(ConfigError) as caught:
        load({"TMSYNC_DATABSE_HOST": "x"})
    sections = ("DATABASE", "TESLAMATE", "MQTT", "TWCMANAGER", "SERVE", "PUBLISH", "HEALTH")
    allowed = ", ".join(f"TMSYNC_{section}_*" for section in sections)
    assert caught.value.problem.as_json() == {
        "cause": "unknown-key",
        "message": "the environment: unknown variable 'TMSYNC_DATABSE_HOST'",
        "hint": "Did you mean TMSYNC_DATABASE_HOST?",
        "fix": ["Did you mean TMSYNC_DATABASE_HOST?", f"Allowed: {allowed}."],
    }


@pytest.mark.parametrize("host", ["mqtt://pi", "pi:1883", "[::1]", "a,b", "pi/", "a b", "", "/run/mosquitto"])
def test_what_is_no_broker_is_told_before_anything_is_looked_up(host: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({}, **{"mqtt.host": host})
    assert caught.value.cause is Cause.BAD_VALUE


@pytest.mark.parametrize("host", ["pi", "192.168.1.5", "::1", "fe80::1%eth0", "pi.local."])
def test_names_and_addresses_of_a_broker(host: str) -> None:
    assert load({"TMSYNC_MQTT_HOST": host}).mqtt().host == host


@pytest.mark.parametrize("host", ["http://pi", "pi:5432", "[::1]", "a,b", "pi/", "a b", ""])
def test_what_is_no_host_is_told_before_anything_is_looked_up(host: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({}, **{"database.host": host})
    assert caught.value.cause is Cause.BAD_VALUE


@pytest.mark.parametrize(
    "host", ["pi", "192.168.1.5", "::1", "fe80::1%eth0", "/run/postgresql", "@pg", "m\u00fc.example"]
)
def test_every_kind_of_host_is_taken(host: str) -> None:
    assert load({}, **{"database.host": host}).get("database.host") == host


def test_every_setting_can_come_from_the_environment() -> None:
    good = {"database.port": "1", "mqtt.port": "2", "database.sslmode": "require", "twcmanager.deliver": "file"}
    good |= {"twcmanager.refresh_token": "share", "teslamate.url": "http://x:4000/", "twcmanager.url": "https://y"}
    good |= {"database.channel_binding": "require", "database.gssencmode": "disable"}
    good |= {"twcmanager.token": "tesla", "serve.listen": "[::1]:1", "serve.upstream": "https://x"}
    good |= {"serve.allow": "/api/1/x"}
    for setting in SETTINGS:
        if setting.name == "twcmanager.config_file":
            continue
        settings = load({setting.env: good.get(setting.name, "1")})
        assert settings.values[setting.name].layer is Layer.ENVIRONMENT
        assert settings.values[setting.name].origin == setting.env


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True), (0o604, True)])
def test_file_with_secrets_that_others_can_read_is_a_warning(
    make_config: Callable[..., Path], mode: int, warned: bool
) -> None:
    settings = load(config=make_config('[database]\npassword = "x"\n', mode))
    assert [warning.cause for warning in settings.warnings] == [Cause.LOOSE_PERMISSIONS] * warned
    harmless = load(config=make_config('[database]\nhost = "x"\n', mode))
    assert harmless.warnings == ()


# -- secrets stay secret


def test_secret_shows_itself_nowhere() -> None:
    secret = Secret("hush", ("hush\n",))
    for text in (str(secret), repr(secret), f"{secret}", f"{secret:>20}", f"{secret!r}", str([secret]), f"{(secret,)}"):
        assert "hush" not in text
    with pytest.raises(TypeError):
        pickle.dumps(secret)


# -- any text whatever


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_no_toml_whatever_does_more_than_be_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("toml") / "config.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(ConfigError):
        load(config=path)


@given(st.sampled_from(SETTINGS), st.text(max_size=30))
def test_no_value_whatever_does_more_than_be_refused(setting: Any, text: str) -> None:
    if setting.name == "twcmanager.config_file":
        return
    with contextlib.suppress(ConfigError):
        load({setting.env: text})


# -- libpq's own


def test_libpqs_environment_is_the_lowest_layer(tmp_path: Path) -> None:
    twc = tmp_path / "config.json"
    twc.write_text('{"vehicle": {"TeslaMate": {"db_host": "twc", "db_pass": "from-twc"}}}')
    libpq = {
        "PGPASSWORD": "from-libpq",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "system",
        "PGREQUIREAUTH": "scram",
    }
    found = load({**libpq, "PGHOST": "elsewhere", "TMSYNC_DATABASE_HOST": "here"})
    assert found.database() == DatabaseSettings(
        "here", 5432, "teslamate", "teslamate", Secret("from-libpq"), "verify-full", "system", 5, require_auth="scram"
    )
    assert tuple(found.values["database.sslmode"]) == ("verify-full", Layer.LIBPQ, "PGSSLMODE")
    higher = load({**libpq, "TMSYNC_TWCMANAGER_CONFIG_FILE": str(twc)}, database__sslmode="require").database()
    assert (higher.password, higher.sslmode) == (Secret("from-twc"), "require")


def test_libpqs_target_is_not_ours_and_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tmsync")
    elsewhere = {"PGHOSTADDR": "10.0.0.1", "PGPORT": "5433", "PGUSER": "admin", "PGDATABASE": "other", "PGSERVICE": "x"}
    found = load({**elsewhere, "PGOPTIONS": "-c x=y", "PGHOST": "h"}).values
    assert (found["database.host"].value, found["database.port"].value) == (None, 5432)
    told = [name for name in (*elsewhere, "PGOPTIONS", "PGHOST") if f"{name} is set, and ignored" in caplog.text]
    assert told == [*elsewhere, "PGOPTIONS", "PGHOST"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("h:5432:teslamate:teslamate:pass\\:wo\\\\rd:x", "pass:wo\\rd:x"),
        ("*:*:*:*:any", "any"),
        ("other:*:*:*:no\nh:*:*:teslamate:second\r", "second"),
        ("#h:*:*:*:comment\n\nh:5433:*:*:port", None),
        ("h:*:*:*", None),
    ],
)
def test_password_file_is_read_as_libpq_does(tmp_path: Path, line: str, found: str | None) -> None:
    path = tmp_path / ".pgpass"
    path.write_text(line)
    path.chmod(0o600)
    settings = load({"HOME": str(tmp_path), "TMSYNC_DATABASE_HOST": "h"})
    assert settings.get("database.password") == (Secret(found) if found else None)
    named = load({"PGPASSFILE": str(path), "TMSYNC_DATABASE_HOST": "h"}).values["database.password"]
    assert named.origin == (f"{path} (PGPASSFILE)" if found else "default")


def test_password_file_that_others_can_read_is_not_used_and_a_warning(tmp_path: Path) -> None:
    path = tmp_path / ".pgpass"
    path.write_text("*:*:*:*:any")
    path.chmod(0o640)
    settings = load({"HOME": str(tmp_path), "TMSYNC_DATABASE_HOST": "h"})
    assert (settings.get("database.password"), settings.database().ignored_passfile) == (None, path)
    assert [warning.fix[0].command for warning in settings.warnings] == [f"chmod 0600 {path}"]


# -- files of other programs


def test_bad_value_of_another_program_is_an_error_unless_a_higher_layer_sets_the_key(tmp_path: Path) -> None:
    twc = tmp_path / "config.json"
    twc.write_text('{"vehicle": {"TeslaMate": {"db_host": "postgres://pi:5432"}}}')
    environ = {"TMSYNC_TWCMANAGER_CONFIG_FILE": str(twc), "PGSSLMODE": "sometimes"}
    refused(Cause.BAD_VALUE, "PGSSLMODE", environ=environ, database__host="pi")
    refused(Cause.BAD_VALUE, str(twc), environ=environ, database__sslmode="require")
    settings = load(environ, database__host="pi", database__sslmode="require")
    assert settings.get("database.host") == "pi"
    assert [warning.message for warning in settings.warnings] == [
        "PGSSLMODE: 'sometimes' is not allowed",
        f"{twc} (vehicle.TeslaMate.db_host): database.host: 'postgres://pi:5432' is not allowed",
    ]


SAMPLE = {
    "enabled": False, "syncTokens": False, "db_host": "192.168.1.1", "db_name": "teslamate", "db_user": "teslamate",
    "db_pass": "teslamate", "encryption_key": "chanegme", "mqtt_host": "192.168.1.1", "mqtt_user": "teslamate",
    "mqtt_pass": "teslamate", "mqtt_prefix": "teslamate",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "taken"),
    [
        ({}, {}),
        ({"db_host": "192.168.1.5"}, {"database.host": "192.168.1.5", "teslamate.encryption_key": None}),
        ({"enabled": True}, {"database.host": "192.168.1.1", "teslamate.encryption_key": None}),
        ({"db_pass": "mine"}, {"database.host": "192.168.1.1", "database.password": Secret("mine")}),
    ],
)
def test_untouched_sample_of_twcmanager_is_nobodys_answer(
    tmp_path: Path, changes: dict[str, Any], taken: dict[str, Any]
) -> None:
    twc = tmp_path / "config.json"
    twc.write_text(json.dumps({"vehicle": {"TeslaMate": {**SAMPLE, **changes}}}))
    values = load({"TMSYNC_TWCMANAGER_CONFIG_FILE": str(twc)}).values
    assert {name: values[name].value for name in taken} == taken
    from_twc = {name for name, value in values.items() if value.layer is Layer.TWCMANAGER}
    assert bool(from_twc) is bool(taken)
    assert "teslamate.encryption_key" not in from_twc


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('"db_host":"h", // the host\n"db_pass":"x"', Cause.CUT_BY_COMMENT),
        ('"db_host": "h", // the host\n"db_pass": "x"', Cause.BAD_SYNTAX),
        ('"db_pass": "x" // end', Cause.BAD_SYNTAX),
    ],
)
def test_comment_after_a_value_that_is_none_to_twcmanager_is_told(tmp_path: Path, text: str, cause: Cause) -> None:
    twc = tmp_path / "config.json"
    twc.write_text('{"vehicle": {"TeslaMate": {"x": "http://a//b", # fine\n// fine\n' + text + "}}}")
    try:
        found = load({"TMSYNC_TWCMANAGER_CONFIG_FILE": str(twc)}).warnings
    except ConfigError as error:
        found = (error.problem,)
    assert [(one.cause, "line 3: TWCManager does not take //" in one.message) for one in found] == [(cause, True)]


@pytest.mark.parametrize("place", ["config", "secret", "twcmanager", "passfile"])
def test_fifo_in_place_of_a_file_hangs_nobody(tmp_path: Path, place: str) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    environ = {"TMSYNC_DATABASE_HOST": "h"}
    if place == "passfile":
        assert load({**environ, "PGPASSFILE": str(fifo)}).get("database.password") is None
        return
    variable = {
        "config": "TMSYNC_CONFIG", "secret": "TMSYNC_MQTT_PASSWORD_FILE", "twcmanager": "TMSYNC_TWCMANAGER_CONFIG_FILE",
    }[place]  # fmt: skip
    refused(Cause.UNREADABLE_FILE, "not a regular file", environ={**environ, variable: str(fifo)})


def test_devnull_is_a_configuration_without_settings() -> None:
    assert load(config=Path(os.devnull)).get("database.host") is None


def test_secret_may_come_through_a_pipe_of_ones_own() -> None:
    """As in TMSYNC_DATABASE_PASSWORD_FILE=<(pass show teslamate)."""
    reader, writer = os.pipe()
    os.write(writer, b"piped")
    os.close(writer)
    environ = {"TMSYNC_DATABASE_PASSWORD_FILE": f"/dev/fd/{reader}"}
    assert load(environ).get("database.password") == Secret("piped")
    os.close(reader)


# -- secrets in the wrong place


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database.host", "host=pi password=hush-hush"),
        ("database.host", "postgres://teslamate:hush hush@pi/teslamate"),
        ("database.name", "postgres://teslamate:hush-hush@pi/teslamate"),
        ("database.name", "teslamate?password=hush-hush"),
        ("database.user", "teslamate:hush-hush@pi"),
        ("mqtt.username", "mqtt://me:hush-hush@pi"),
        ("database.password_file", "hush-hush"),
        ("database.password_file", "/hush-hush"),
        ("teslamate.encryption_key_file", "hush/hush+=="),
        ("twcmanager.restart_command", "curl -H 'Bearer hush"),
    ],
)
def test_secret_in_the_wrong_place_is_refused_and_not_shown(
    make_config: Callable[..., Path], name: str, value: str
) -> None:
    section, _, key = name.partition(".")
    path = make_config(f"[{section}]\n{key} = {json.dumps(value)}\n")
    variable = f"TMSYNC_{name.replace('.', '_').upper()}"
    for arguments in ({"config": path}, {"environ": {variable: value}}):
        with pytest.raises(ConfigError) as caught:
            load(**arguments)
        assert "hush" not in str(caught.value.problem.as_json())
