"""sync-tokens with twcmanager.token = "local": a bearer of tmsync's own, once, and only where serve gets it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_sync_tokens import OTHER, UNCHANGED, WRITTEN, expect_error, outcome
from tests.conftest import server_folder
from tests.support.standin import TwcManager, running
from tests.support.surroundings import Run, TwcFolder, tmsync
from tmsync.core.config import settings as settings_module
from tmsync.core.twcmanager.local_token import LocalBearers
from tmsync.demo.server import free_port

URL = "http://127.0.0.1:8089"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def closed(twc: TwcFolder) -> TwcFolder:
    """Its folder is closed to other users, and it sends its requests to serve."""
    twc.path.chmod(0o750)
    configure(twc, teslaProxy=URL)
    return twc


def configure(twc: TwcFolder, vehicle: Any = None, sources: Any = None, **config: Any) -> None:
    document = {
        "config": {"settingsPath": str(twc.path), **config},
        "control": {"HTTP": {"listenPort": twc.port}},
        "vehicle": vehicle or {},
        "sources": sources or {},
    }
    twc.config.write_text(json.dumps(document))


def sync(twc: TwcFolder, state: Path, *arguments: str, form: str = "--json", **changes: str) -> Run:
    environ = {
        "TMSYNC_TWCMANAGER_TOKEN": "local",
        "TMSYNC_TWCMANAGER_CONFIG_FILE": str(twc.config),
        "TMSYNC_SERVE_LISTEN": "127.0.0.1:8089",
        "TMSYNC_SERVE_STATE_DIR": str(state),
        **changes,
    }
    return tmsync("sync-tokens", *([form] if form else []), *arguments, environ=environ)


def configured(manager: TwcManager, **config: Any) -> None:
    manager.config = {"config": {"settingsPath": str(manager.settings.parent), **config}, "vehicle": {}}


# -- what stands in the way


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ({}, "config.teslaProxy is not set"),
        ({"teslaProxy": ""}, "config.teslaProxy is not set"),
        ({"teslaProxy": "http://127.0.0.1:8090"}, "is http://127.0.0.1:8090, and tmsync serve is at"),
        ({"teslaProxy": "https://127.0.0.1:8089"}, "and tmsync serve is at"),
        ({"teslaProxy": "http://192.168.1.5:8089"}, "and tmsync serve is at"),
        ({"teslaProxy": f"{URL}/proxy"}, "and tmsync serve is at"),
        ({"teslaProxy": "http://me:hunter2@127.0.0.1:8090"}, "and tmsync serve is at"),
        ({"teslaProxy": f"{URL}/"}, "ends in a slash"),
    ],
)
def test_twcmanager_that_asks_elsewhere_gets_nothing(
    closed: TwcFolder, state: Path, proxy: dict[str, str], words: str
) -> None:
    configure(closed, **proxy)
    closed.write(OTHER)
    error = expect_error(sync(closed, state), "facade-not-configured")
    assert words in error["message"]
    assert "hunter2" not in json.dumps(error)
    assert closed.read() == OTHER
    assert not state.exists()


def test_line_for_its_config_is_told_to_paste(closed: TwcFolder, state: Path, tmp_path: Path) -> None:
    configure(closed)
    tls = {"TMSYNC_SERVE_TLS_CERT": "/etc/tmsync/cert.pem", "TMSYNC_SERVE_TLS_KEY": str(tmp_path / "key")}
    fix = expect_error(sync(closed, state, **tls), "facade-not-configured")["fix"]
    assert '"teslaProxy": "https://127.0.0.1:8089",' in fix
    assert '"teslaProxyCert": "/etc/tmsync/cert.pem",' in fix


def test_refresh_token_in_its_hands_is_an_error(closed: TwcFolder, state: Path) -> None:
    closed.write({**OTHER, "carApiRefreshToken": "its-own"})
    run = sync(closed, state)
    expect_error(run, "holds-refresh-token")
    assert "its-own" not in run.out + run.err
    assert closed.read()["carApiBearerToken"] == "old"


def test_its_own_sync_is_an_error(closed: TwcFolder, state: Path) -> None:
    closed.write(OTHER)
    configure(closed, {"TeslaMate": {"enabled": True, "syncTokens": True}}, teslaProxy=URL)
    expect_error(sync(closed, state), "sync-enabled-in-twcmanager")


def test_1_3_2_with_a_powerwall_gets_no_local_token(closed: TwcFolder, state: Path) -> None:
    closed.write(OTHER)
    configure(closed, sources={"Powerwall2": {"enabled": True, "serverIP": "192.168.1.9"}}, teslaProxy=URL)
    expect_error(sync(closed, state), "powerwall")
    # Later versions, which write this file, ask for it by way of teslaProxy, too.
    (closed.path / "TWCManager.pid").write_text("1")
    assert outcome(sync(closed, state)) == WRITTEN


def test_what_counts_is_the_running_configuration_not_its_file(closed: TwcFolder, state: Path) -> None:
    closed.write(OTHER)
    with running(closed.settings, port=closed.port) as manager:
        expect_error(sync(closed, state), "facade-not-configured")
        manager.config = '{"config": {"apiKey": "x", "teslaProxy": "http://localhost:8089", }'
        assert outcome(sync(closed, state)) == ("pushed", 0)


def test_without_an_address_to_serve_it_is_no_configuration(closed: TwcFolder, state: Path) -> None:
    expect_error(sync(closed, state, TMSYNC_SERVE_LISTEN=""), "missing-setting", code=2)


@pytest.mark.parametrize("kind", ["link", "folder of others", "file"])
def test_state_that_others_can_reach_is_not_trusted(closed: TwcFolder, state: Path, tmp_path: Path, kind: str) -> None:
    closed.write(OTHER)
    match kind:
        case "link":
            state.mkdir(mode=0o700)
            (tmp_path / "elsewhere").write_text("{}")
            (state / "local-bearers.json").symlink_to(tmp_path / "elsewhere")
        case "folder of others":
            state.mkdir()
            state.chmod(0o777)
        case "file":
            state.write_text("")
    expect_error(sync(closed, state), "state-unusable")
    assert closed.read() == OTHER


def test_no_home_folder_is_made_for_the_state(closed: TwcFolder, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_module, "SYSTEM_STATE_DIR", "/nonexistent/tmsync")
    closed.write(OTHER)
    home = {"HOME": str(state / "home"), "TMSYNC_SERVE_STATE_DIR": "", "STATE_DIRECTORY": ""}
    expect_error(sync(closed, state, **home), "state-unusable")
    assert not state.exists()
    (state / "home").mkdir(parents=True)
    assert outcome(sync(closed, state, **home)) == WRITTEN
    assert LocalBearers(state / "home" / ".local" / "state" / "tmsync").known().delivered


# -- delivery


def test_local_token_is_delivered_once_and_nothing_of_it_is_kept_but_its_sum(closed: TwcFolder, state: Path) -> None:
    closed.write(OTHER)
    state.mkdir()
    state.chmod(0o755)
    assert outcome(sync(closed, state, "--check")) == ("out-of-sync", 3)
    assert outcome(sync(closed, state, "--dry-run")) == ("dry-run", 0)
    assert closed.read() == OTHER
    run = sync(closed, state)
    assert outcome(run) == WRITTEN
    held = closed.read()
    bearer = held["carApiBearerToken"]
    assert held == {**OTHER, **{key: held[key] for key in held if key.startswith("carApi")}}
    assert (held["carApiRefreshToken"], held["carApiTokenExpireTime"]) == ("", 4_102_444_800)
    assert run.json["token"]["expires_at"] == "2100-01-01T00:00:00Z"
    found = hashlib.sha256(bearer.encode()).hexdigest()
    assert run.json["token"]["fingerprint"] == f"sha256:{found[:12]}"
    assert LocalBearers(state).known() == ((found,), True)
    assert state.stat().st_mode & 0o777 == 0o700
    assert (state / "local-bearers.json").stat().st_mode & 0o777 == 0o600
    for text in (run.out, run.err, *(path.read_text() for path in state.iterdir())):
        assert bearer not in text
        assert bearer.split(".")[2] not in text
    for arguments in ((), ("--check",)):
        assert outcome(sync(closed, state, *arguments)) == UNCHANGED
    assert closed.read() == held


def test_another_token_in_its_hands_is_replaced(closed: TwcFolder, state: Path) -> None:
    closed.write(OTHER)
    assert sync(closed, state, form="").out == f"local token written to {closed.settings}\n"
    first = closed.read()["carApiBearerToken"]
    closed.write(OTHER)
    told = sync(closed, state, "--check", form="")
    assert (told.code, told.out[:35]) == (3, "out of sync: TWCManager holds sha25")
    assert outcome(sync(closed, state)) == WRITTEN
    # It may still be at work with the first one.
    assert LocalBearers(state).known().accepts(first)
    assert LocalBearers(state).known().accepts(closed.read()["carApiBearerToken"])
    assert not LocalBearers(state).known().accepts("")


def test_running_twcmanager_gets_it_by_its_web_control(closed: TwcFolder, state: Path) -> None:
    closed.write(OTHER)
    with running(closed.settings, port=closed.port) as manager:
        configured(manager, teslaProxy=URL)
        assert outcome(sync(closed, state)) == ("pushed", 0)
        assert LocalBearers(state).known().accepts(manager.memory["carApiBearerToken"])
        assert outcome(sync(closed, state)) == UNCHANGED
        assert len([one for one in manager.requests if one[0] == "POST"]) == 1


def test_on_another_host_it_is_delivered_once(state: Path, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    with running(tmp_path / "far" / "settings.json") as manager:
        configured(manager, teslaProxy=URL)
        environ = {
            "TMSYNC_TWCMANAGER_TOKEN": "local",
            "TMSYNC_TWCMANAGER_SETTINGS_FILE": "/nonexistent/settings.json",
            "TMSYNC_SERVE_LISTEN": "127.0.0.1:8089",
            "TMSYNC_SERVE_STATE_DIR": str(state),
        }
        arguments = ("sync-tokens", "--json", "--twc-url", f"http://127.0.0.1:{manager.port}")
        assert outcome(tmsync(*arguments, environ=environ)) == ("pushed", 0)
        assert outcome(tmsync(*arguments, environ=environ)) == UNCHANGED
        assert outcome(tmsync(*arguments, "--check", environ=environ)) == UNCHANGED


def test_token_that_it_refuses_is_not_accepted(closed: TwcFolder, state: Path) -> None:
    closed.write(OTHER)
    with running(closed.settings, "ignores", closed.port) as manager:
        configured(manager, teslaProxy=URL)
        expect_error(sync(closed, state), "twcmanager-refused")
    assert LocalBearers(state).known() == ((), False)


def test_open_settings_folder_is_told(state: Path) -> None:
    with server_folder() as folder:
        folder.chmod(0o755)
        twc = TwcFolder(folder, free_port())
        configure(twc, teslaProxy=URL)
        twc.write(OTHER)
        (warning,) = sync(twc, state).json["warnings"]
        assert warning["cause"] == "loose-permissions"
        assert f"sudo chmod 750 {folder}" in warning["fix"]
        folder.chmod(0o750)
        assert sync(twc, state).json["warnings"] == []
