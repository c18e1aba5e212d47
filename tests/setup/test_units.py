"""serve's units: whole, closed, and what TWCManager's configuration has to do with them."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.reference.pages import ROOT
from tests.support.bring import FOLDER, find_program
from tmsync.core.config.load import load_settings
from tmsync.core.config.settings import ServeSettings
from tmsync.core.config.twc_json import TwcConfig
from tmsync.core.setup.units import UnitPlace, former_proxy, twcmanagers_lines, units


def serve(listen: str = "127.0.0.1:8089", **environ: str) -> ServeSettings:
    found = load_settings(environ={"HOME": "/nonexistent", "TMSYNC_SERVE_LISTEN": listen, **environ}).serve()
    assert found is not None
    return found


def place(**changes: Any) -> UnitPlace:
    values = {
        "user": "root", "program": "/bin/true", "config": Path("/etc/tmsync/config.toml"),
        "settings": Path("/etc/twcmanager"), "serve": serve(), **changes,
    }  # fmt: skip
    return UnitPlace(**values)


@pytest.fixture
def analyze() -> str:
    found = find_program("systemd-analyze")
    if found is None:
        pytest.skip("no systemd-analyze at hand")
    return str(found)


@pytest.mark.parametrize("changes", [{}, {"serve": None}, {"config": Path("/a b/c%.toml"), "settings": Path("/c d%")}])
def test_units_are_clean_and_exposed_below_four(analyze: str, tmp_path: Path, changes: dict[str, Any]) -> None:
    made = units(place(**changes))
    for name, text in made.items():
        (tmp_path / name).write_text(text)
    # Where systemd was brought along, its own units were, too; what follows the colon are the system's.
    environ = {**os.environ, "SYSTEMD_UNIT_PATH": f"{FOLDER / 'lib/systemd/system'}:"}
    command = [analyze, "verify", *map(str, tmp_path.iterdir())]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert [line for line in done.stderr.splitlines() if "tmsync" in line] == []
    command = [analyze, "security", "--offline=true", str(tmp_path / "tmsync.service")]
    told = subprocess.run(command, capture_output=True, text=True).stdout
    level = re.search(r"Overall exposure level for tmsync.service: ([0-9.]+)", told)
    assert level is not None, told
    assert float(level[1]) < 4


def test_what_hangs_on_the_machine_is_in_them() -> None:
    made = units(
        place(user="pi", program="/opt/50% of/tmsync", config=Path("/a b/c.toml"), settings=Path("/home/pi/twc"))
    )
    service = made["tmsync.service"]
    for line in (
        "User=pi",
        'ExecStart="/opt/50%% of/tmsync" --config ${CREDENTIALS_DIRECTORY}/config.toml serve',
        "LoadCredential=config.toml:/a b/c.toml",
        "ReadWritePaths=-/home/pi/twc",
        "ProtectHome=no",
        "Requires=tmsync.socket",
        "LimitCORE=0",  # a core would hold the tokens
    ):
        assert f"\n{line}\n" in service
    assert "ListenStream=127.0.0.1:8089\n" in made["tmsync.socket"]
    assert "tmsync.socket" not in units(place(serve=None))["tmsync.service"]


@pytest.mark.parametrize(
    ("program", "settings", "expected"),
    [
        ("/usr/bin/tmsync", "/etc/twcmanager", "yes"),
        ("/home/pi/.local/bin/tmsync", "/etc/twcmanager", "read-only"),
        ("/root/venv/bin/python -m tmsync", "/etc/twcmanager", "read-only"),
        ("/usr/bin/tmsync", "/home/pi/twc", "no"),
    ],
)
def test_homes_are_as_closed_as_what_lies_there_allows(program: str, settings: str, expected: str) -> None:
    made = units(place(program=program, settings=Path(settings)))
    assert f"\nProtectHome={expected}\n" in made["tmsync.service"]


def test_python_that_runs_the_module_is_one_word_and_the_rest_are_others() -> None:
    made = units(place(program="/opt/my env/bin/python -m tmsync"))["tmsync.service"]
    assert '\nExecStart="/opt/my env/bin/python" -m tmsync --config ' in made


def test_program_in_a_home_by_a_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "tmsync").symlink_to("/home/pi/.local/bin/tmsync")
    assert "\nProtectHome=read-only\n" in units(place(program=str(tmp_path / "tmsync")))["tmsync.service"]


def test_lines_for_twcmanager_are_valid_and_name_what_can_be_reached() -> None:
    assert twcmanagers_lines(serve()) == ['"teslaProxy": "http://127.0.0.1:8089",']
    tls = {
        "TMSYNC_SERVE_TLS_CERT": "/etc/tmsync/cert.pem",
        "TMSYNC_SERVE_TLS_KEY": "/k",
        "TMSYNC_SERVE_NAMES": "tmsync",
    }
    assert twcmanagers_lines(serve("0.0.0.0:8089", **tls)) == [
        '"teslaProxy": "https://tmsync:8089",', '"teslaProxyCert": "/etc/tmsync/cert.pem",',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "found", "note"),
    [
        ({}, {}, ""),
        ({"teslaProxy": ""}, {}, ""),
        ({"teslaProxy": "http://127.0.0.1:8089/"}, {}, ""),
        ({"teslaProxy": "https://localhost:4443/"}, {"serve.upstream": "https://localhost:4443"}, ""),
        (
            {"teslaProxy": "https://pi:4443", "teslaProxyCert": "/key.pem"},
            {"serve.upstream": "https://pi:4443", "serve.upstream_ca_file": "/key.pem"},
            "",
        ),
        ({"teslaProxy": "https://pi", "teslaProxyCert": False}, {"serve.upstream": "https://pi"}, "does not verify"),
        ({"teslaProxy": "http://pi:4443"}, {}, "is not taken over"),
        ({"teslaProxy": "https://me:secret@pi"}, {}, "is not taken over"),
        ({"teslaProxy": 5}, {}, ""),
    ],
)  # fmt: skip
def test_its_present_proxy_becomes_the_upstream(config: dict[str, Any], found: dict[str, Any], note: str) -> None:
    taken, notes = former_proxy(TwcConfig(Path("/c"), {"config": config}, (), 0o600), serve())
    assert taken == found
    words = "".join(one.words for one in notes)
    assert (note in words) if note else words == ""
    assert "secret" not in words


def test_compose_service_is_healthy_by_its_own_page_and_speaks_tls() -> None:
    (service,) = yaml.safe_load((ROOT / "packaging" / "compose-serve.yaml").read_text())["services"].values()
    environ = dict(line.split("=", 1) for line in service["environment"])
    settings = load_settings(environ={**environ, "HOME": "/nonexistent"})
    found = settings.serve()
    assert found is not None
    assert found.url == "https://tmsync:8089"
    probe = service["healthcheck"]["test"]
    assert "https://127.0.0.1:8089/healthz" in probe[-1]
    compile(probe[-1], "healthcheck", "exec")
    assert shutil.which(probe[1]) is not None
