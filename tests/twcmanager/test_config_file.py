"""TWCManager's config.json, read the way TWCManager reads it."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmsync.core.causes import Cause
from tmsync.core.config.load import load_settings
from tmsync.core.config.twc_json import TwcConfig, read_twc_config
from tmsync.core.errors import ConfigError

SAMPLE = """{
\t"config": {
\t\t# where settings.json lives
\t\t"settingsPath": "/srv/twc",   # trailing comment
\t\t// an older comment
\t\t"wiringMaxAmpsAllTWCs": 48,
\t},
\t"control": {"HTTP": {"enabled": true, "listenPort": 8088}},
\t"vehicle": {
\t\t"TeslaMate": {
\t\t\t"enabled": true, "syncTokens": false,
\t\t\t"db_host": "192.168.1.1", "db_name": "tm", "db_user": 'single', "db_pass": 12345,
\t\t\t"mqtt_host": "", "mqtt_prefix": "teslamate",
\t\t}
\t}
}
"""


def read(path: Path, text: str | bytes) -> TwcConfig:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_twc_config(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.json"


@pytest.mark.parametrize(
    "text", ["{", "[]", "a: [", "\x00", b"\xff\xfe", "x" * 300_000, "[" * 5000, "a: &a [*a, *b]"],
    ids=["half", "list", "open", "nul", "bytes", "huge", "deep", "alias"],
)  # fmt: skip
def test_what_is_no_configuration_is_refused_in_one_line(path: Path, text: str | bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        read(path, text)
    assert caught.value.cause is Cause.BAD_SYNTAX
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_comma_is_told_as_that(path: Path) -> None:
    """As in TWCManager's own sample of 2026-08."""
    with pytest.raises(ConfigError) as caught:
        read(path, '{"vehicle": {\n"HomeAssistant": {"enabled": false}\n\n# TeslaMate\n"TeslaMate": {}}}')
    assert "line 5: there is no comma between this value and the one before it" in str(caught.value)


@pytest.mark.parametrize("stray", ["*abcSECRET", "&aSECRET &bSECRET x", "!SECRET!x y", "*it'sSECRET", "@SECRET"])
def test_password_that_is_no_yaml_is_not_shown(path: Path, stray: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(path, f'{{"vehicle": {{"TeslaMate": {{"db_pass": {stray}}}}}}}')
    assert "line 1: " in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_missing_file_is_refused(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_twc_config(path)
    assert caught.value.cause is Cause.UNREADABLE_FILE


def test_comments_tabs_and_yaml_are_read(path: Path) -> None:
    path.write_text(SAMPLE)
    environ = {"TMSYNC_TWCMANAGER_CONFIG_FILE": str(path), "HOME": "/nonexistent"}
    settings = load_settings(environ=environ)
    expected: dict[str, Any] = {
        "database.host": "192.168.1.1",
        "database.name": "tm",
        "database.user": "single",
        "mqtt.host": None,
        "mqtt.namespace": "",
        "twcmanager.settings_file": "/srv/twc/settings.json",
        "twcmanager.url": "http://127.0.0.1:8088",
    }
    assert {name: settings.get(name) for name in expected} == expected
    assert settings.get("database.password").reveal() == "12345"
    assert settings.values["twcmanager.url"].origin == f"{path} (control.HTTP.listenPort)"


def test_plain_json_with_an_exponent_is_left_to_yaml(path: Path) -> None:
    assert read(path, '{"a": "x", "b": 1e3}').get("b") == "1e3"
    assert read(path, '{"b": 1.5}').get("b") == 1.5


def test_hash_inside_quotes_is_cut_as_twcmanager_cuts_it_and_told(path: Path) -> None:
    config = read(path, 'vehicle:\n  TeslaMate:\n    db_user: "a" # fine\n    db_pass: ab#cd\n')
    assert config.get("vehicle.TeslaMate.db_pass") == "ab"
    assert config.warnings == ()
    with pytest.raises(ConfigError, match=r"line 2: TWCManager cuts the line at its '#'") as caught:
        read(path, '{"vehicle": {"TeslaMate": {\n"db_pass": "ab#SECRET",\n"db_user": "x"}}}')
    assert "SECRET" not in f"{caught.value} {caught.value.problem.hint}"


@pytest.mark.parametrize(
    ("teslamate", "on"),
    [
        ('{"syncTokens": true}', True),
        ('{"enabled": true, "syncTokens": true}', True),
        ('{"enabled": false, "syncTokens": true}', False),
        ('{"enabled": true, "syncTokens": false}', False),
        ('{"enabled": true}', False),
        ("null", False),
    ],
)
def test_whether_twcmanagers_own_sync_is_on(path: Path, teslamate: str, on: bool) -> None:
    assert read(path, f'{{"vehicle": {{"TeslaMate": {teslamate}}}}}').sync_tokens is on


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=100))
def test_no_text_whatever_does_more_than_be_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("twc") / "config.json"
    with contextlib.suppress(ConfigError):
        read(path, text)
