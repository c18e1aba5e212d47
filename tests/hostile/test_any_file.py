"""Any content of the files tmsync reads: refused in one line or used, within bounds, and nothing lost."""

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hostile.effort import NASTY, examples, is_clean
from tmsync.core.causes import Cause
from tmsync.core.clock import SystemClock
from tmsync.core.config.load import load_settings
from tmsync.core.config.twc_json import read_twc_config
from tmsync.core.errors import ConfigError, DeliveryError
from tmsync.core.setup.compose import read_compose
from tmsync.core.setup.takeover import take_over
from tmsync.core.twcmanager.settings_content import TokenFields
from tmsync.core.twcmanager.settings_file import SettingsFile
from tmsync.render.text import printable

FIELDS = TokenFields("new-token", "", 1_800_000_000)
YAML_PIECES = st.sampled_from([
    "a: ", "&a ", "*a", "<<: ", "<<: *a", "[*a, *a]", "{", "}", "[", "]", ", ", ": ", "- ", "? ", "\n", "  ", "\t",
    "|\n", ">",
    "'", '"', "#", "//", "!!int ", "!!float ", "!!bool ", "!!timestamp ", "!!binary ", "!!set ", "!!omap ", "!!pairs ",
    "!!python/object/apply:os.system [id]", "!x ", "1:2:3", "0x", "0xff", "0b1", ".inf", ".nan", "2001-13-45", "1e999",
    "2001-01-01T00:00:00+99:99", "9" * 5000, "0x" + "f" * 5000, "null", "~", "yes", "%YAML 1.1", "---", "...", "\\",
    "\0", "\ufeff",
    '"vehicle"', "vehicle", "TeslaMate", "db_host", "db_port", "mqtt_host", "enabled", "config", "settingsPath",
    "control",
    "HTTP", "listenPort", "\x1b[31m", "\u2028",
])  # fmt: skip
YAML = st.one_of(
    st.lists(YAML_PIECES, max_size=30).map("".join),
    st.builds(
        lambda key, value: f"vehicle:\n  TeslaMate:\n    {key}: {value}\n",
        st.sampled_from(["db_host", "db_name", "db_pass", "encryption_key", "mqtt_host", "mqtt_prefix", "syncTokens"]),
        YAML_PIECES,
    ),
    st.builds("config: {{settingsPath: {}}}\ncontrol: {{HTTP: {{listenPort: {}}}}}\n".format, YAML_PIECES, YAML_PIECES),
    NASTY,
)  # fmt: skip
TOML_PIECES = st.sampled_from([
    "[database]\n", "[health.late_after]\n", "[[mqtt]]\n", "[twcmanager]\n", "host = ", "port = ", "connect_timeout = ",
    "password = ", "password_file = ", "online = ", "restart_command = ", "tls = ", "namespace = ", "\n", "1", "-1",
    "1.5", "inf",
    "nan", "true", '"x"', "'x'", '"""', "'''", "[", "]", "{", "}", "=", ".", "#", "9" * 5000, "0x" + "f" * 5000,
    "1979-05-27",
    "07:32:00", '"\\ud800"', '"\\u0000"', '"\\u001b[31m"', '"\\n"', "\x1b", "\0", "\r", "database.host = ", '"a b" = ',
    "1e400", "[" * 2000, "{a=" * 500,
])  # fmt: skip
TOML = st.one_of(st.lists(TOML_PIECES, max_size=16).map("".join), NASTY)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | NASTY,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NASTY, inner, max_size=4),
    max_leaves=20,
)


def one_line(error: ConfigError | DeliveryError) -> None:
    assert is_clean(printable(error.problem.message))
    assert "\n" not in printable(error.problem.message + error.problem.hint)


def is_unreadable(error: DeliveryError) -> None:
    one_line(error)
    assert error.problem.cause is Cause.SETTINGS_UNREADABLE


def put(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    path.chmod(0o600)
    return path


def take_config(path: Path) -> None:
    """Load it as TWCManager's configuration, and use what is in it."""
    environ = {"TMSYNC_TWCMANAGER_CONFIG_FILE": str(path), "HOME": "/nonexistent"}
    try:
        settings = load_settings(environ=environ)
        settings.twcmanager()
    except ConfigError as error:
        one_line(error)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile") / "file"


# -- TeslaMate's docker-compose.yml

PORTS = st.from_regex("[0-9.:/-]{0,12}", fullmatch=True)
SERVICE = st.builds(
    "services:\n  tm:\n    image: teslamate/teslamate\n    environment: {}\n"
    "  database:\n    image: postgres\n    ports: {}\n    environment: {}\n".format,
    YAML_PIECES,
    st.one_of(
        YAML_PIECES, st.builds('["{}:{}"]'.format, st.from_regex("[0-9.:/-]{0,12}", fullmatch=True), st.integers())
    ),
    st.one_of(YAML_PIECES, st.builds("{{A: '${{{}}}'}}".format, st.text("AB:-?+$}{", max_size=8))),
)


@examples(400)
@given(st.one_of(YAML, SERVICE, st.binary(max_size=100)))
def test_no_compose_file_does_more_than_be_refused(path: Path, text: str | bytes) -> None:
    with contextlib.suppress(ConfigError):
        take_over(read_compose(put(path, text)))


@pytest.mark.parametrize(
    "text",
    [
        'services: {tm: {image: teslamate/teslamate}, database: {image: postgres, ports: ["000009%s:5432"]}}'
        % ("9" * 5000),
        'services: {tm: {image: teslamate/teslamate, environment: {A: !!int "", B: !!bool x, C: !!timestamp x}}}',
    ],
)
def test_odd_numbers_and_tags_in_a_compose_file_are_text(path: Path, text: str) -> None:
    assert read_compose(put(path, text)).path == path


# -- TWCManager's config.json


@examples(400)
@given(st.one_of(YAML, st.binary(max_size=100)))
def test_no_config_json_does_more_than_be_refused(path: Path, text: str | bytes) -> None:
    take_config(put(path, text))


def bomb(levels: int, width: int, merge: str) -> str:
    lines = ["a0: &a0 {k: v}"]
    for level in range(1, levels):
        lines += [f"a{level}: &a{level} {merge}".format(", ".join([f"*a{level - 1}"] * width))]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [bomb(200, 2, "{{<<: [{}]}}"), bomb(13, 9, "{{<<: [{}]}}"), bomb(40, 9, "[{}]"), bomb(30, 9, "{{? [{}] : 1}}")],
    ids=["merges", "wide-merges", "lists", "keys"],
)
def test_alias_bombs_are_refused(path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_twc_config(put(path, text))
    assert caught.value.cause is Cause.BAD_SYNTAX


def test_a_few_aliases_and_merges_are_read(path: Path) -> None:
    text = "base: &b {db_host: nas, db_user: tm}\nvehicle:\n  TeslaMate:\n    <<: *b\n    db_user: other\n"
    config = read_twc_config(put(path, text))
    assert config.get("vehicle.TeslaMate") == {"db_host": "nas", "db_user": "other"}


@pytest.mark.parametrize(
    "value",
    [
        '!!int ""',
        '!!float ""',
        "!!bool maybe",
        "!!timestamp never",
        "0x" + "f" * 50_000,
        "9" * 5000,
        "1:" * 50_000 + "1",
    ],
    ids=["no-int", "no-float", "no-bool", "no-time", "hex", "digits", "sixties"],
)
def test_values_that_yaml_chokes_on_are_refused(path: Path, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_twc_config(put(path, f"vehicle: {{TeslaMate: {{db_host: {value}}}}}\n"))
    assert caught.value.cause is Cause.BAD_SYNTAX


# -- TOML


@examples(400)
@given(st.one_of(TOML, st.binary(max_size=100)))
def test_no_toml_does_more_than_be_refused(path: Path, text: str | bytes) -> None:
    try:
        load_settings(environ={"HOME": "/nonexistent"}, config_file=str(put(path, text)))
    except ConfigError as error:
        one_line(error)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("[database]\nport = " + "9" * 5000, Cause.BAD_SYNTAX),
        ("[database]\nport = 0x" + "f" * 5000, Cause.BAD_VALUE),
        ("[database]\nconnect_timeout = 0x" + "f" * 5000, Cause.BAD_VALUE),
        ("[health.stale_after]\nonline = 0x" + "f" * 5000, Cause.BAD_VALUE),
        ("a = " + "[" * 20_000, Cause.BAD_SYNTAX),
        ("a." * 30_000 + "a = 1", Cause.BAD_SYNTAX),
    ],
    ids=["digits", "hex-port", "hex-timeout", "hex-seconds", "deep", "large"],
)
def test_toml_that_chokes_its_reader_is_refused(path: Path, text: str, cause: Cause) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(environ={"HOME": "/nonexistent"}, config_file=str(put(path, text)))
    assert caught.value.cause is cause
    one_line(caught.value)


# -- settings.json


@examples(100)
@given(st.dictionaries(NASTY, JSON, max_size=6), st.sampled_from([None, 0, 2]), st.booleans())
def test_every_other_setting_survives(
    tmp_path: Path, data: dict[str, Any], indent: int | None, ascii_only: bool
) -> None:
    path = tmp_path / "settings.json"
    text = json.dumps(data, indent=indent, ensure_ascii=ascii_only)
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raw = json.dumps(data, indent=indent).encode()
    put(path, raw)
    SettingsFile(path).write(FIELDS, SystemClock())
    assert json.loads(path.read_bytes()) == {**json.loads(raw), **FIELDS.as_settings()}


@examples(150)
@given(st.one_of(st.binary(max_size=80), NASTY, JSON.filter(lambda value: not isinstance(value, dict)).map(json.dumps)))
def test_settings_that_are_no_object_are_never_touched(path: Path, text: str | bytes) -> None:
    path = put(path, text)
    before = path.read_bytes()
    try:
        SettingsFile(path).write(FIELDS, SystemClock())
    except DeliveryError as error:
        is_unreadable(error)
        assert path.read_bytes() == before


@pytest.mark.parametrize("depth", [300, 900, 960, 985, 5000, 200_000])
def test_deep_settings_are_written_whole_or_refused(tmp_path: Path, depth: int) -> None:
    path = put(tmp_path / "settings.json", '{\n  "deep": ' + "[" * depth + "]" * depth + "\n}\n")
    before = path.read_bytes()
    try:
        SettingsFile(path).write(FIELDS, SystemClock())
    except DeliveryError as error:
        is_unreadable(error)
        assert path.read_bytes() == before
        assert [entry.name for entry in tmp_path.iterdir()] == ["settings.json"]
    else:
        assert json.loads(path.read_bytes())["carApiBearerToken"] == "new-token"


# -- times


@pytest.mark.parametrize(("year", "expected"), [(1, "0001"), (999, "0999"), (9999, "9999")])
def test_times_of_any_year_are_iso_8601(year: int, expected: str) -> None:
    from tmsync.core.clock import iso

    assert iso(datetime(year, 2, 3, 4, 5, 6, tzinfo=UTC)) == f"{expected}-02-03T04:05:06Z"
