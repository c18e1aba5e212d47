"""init: asked on a terminal with wrong answers first, and told everything by flags, files and variables."""

import io
import json
import os
import signal
import stat
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import server_folder
from tests.support.conversation import Conversation
from tests.support.surroundings import KEY, LOCAL, PASSWORD, Run, TeslaMate, tmsync
from tmsync.commands import asking
from tmsync.demo.broker import private_broker
from tmsync.demo.pacer import Pacer
from tmsync.demo.server import free_port
from tmsync.demo.simulator import SimulatedCar, SimulatedTeslaMate

COMPOSE = """
services:
  teslamate:
    image: teslamate/teslamate:latest
    environment:
      - ENCRYPTION_KEY=${KEY}
      - DATABASE_USER=teslamate
      - DATABASE_PASS=${PASS:-wrong-SECRET}
      - DATABASE_NAME=teslamate
      - DATABASE_HOST=database
      - MQTT_HOST=mosquitto
  database:
    image: postgres:18-trixie
  mosquitto:
    image: eclipse-mosquitto:2
    ports: ["${MQTT_PORT}:1883"]
"""

UNITS = (".service", ".socket")


@pytest.fixture(scope="module")
def broker() -> Iterator[int]:
    """A broker with a car in the namespace `home`."""
    with server_folder() as folder:
        folder.chmod(0o711)
        car = SimulatedCar(1, "Blue")
        with private_broker(folder) as server:
            teslamate = SimulatedTeslaMate([car], datetime.now(UTC), namespace="home")
            # What it says first comes half a minute after its start.
            with Pacer(teslamate, server.port, speed=200):
                yield server.port


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def init(home: Path, *arguments: str, **environ: str) -> Run:
    return tmsync("init", *arguments, environ={"HOME": str(home), "TMSYNC_DATABASE_CONNECT_TIMEOUT": "2", **environ})


def written(home: Path) -> dict[str, Any]:
    path = home / ".config" / "tmsync" / "config.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [one.name for one in path.parent.iterdir() if one.suffix not in (".backup", *UNITS)] == ["config.toml"]
    return tomllib.loads(path.read_text())


# -- on a terminal


def test_wrong_answers_are_told_at_once_and_corrected(teslamate: TeslaMate, broker: int, home: Path) -> None:
    dead = free_port()
    with Conversation("init", environ={"HOME": str(home), "TMSYNC_DATABASE_CONNECT_TIMEOUT": "2"}) as screen:
        screen.answer("A copy of it here", "/nonexistent/docker-compose.yml")
        assert "Ctrl-C ends it at any time, and writes nothing" in screen.told
        assert "/nonexistent/docker-compose.yml cannot be read" in screen.answer("A copy of it here", "")
        screen.answer("Its name (- for none)", "")
        told = screen.answer("a number changes that line", "")
        assert "From the environment:\n  1  database.connect_timeout  2  TMSYNC_DATABASE_CONNECT_TIMEOUT\n" in told
        screen.answer("Its web control", f"127.0.0.1:{dead}")
        told = screen.answer("What now?", "c")
        assert f"TWCManager's web control at http://127.0.0.1:{dead} does not answer" in told
        screen.answer("Its web control", "ftp://me")
        assert "It takes: an address that begins with http://" in screen.answer("Its web control", "127.0.0.1:9")
        screen.answer("What now?", "k")
        screen.answer("Its host", "http://127.0.0.1:4000/")
        screen.answer("Its port [5432]", "seventy")
        assert "It takes: a whole number" in screen.answer("Its port [5432]", str(dead))
        refused = screen.answer("What now?", "c")
        assert f"127.0.0.1 port {dead} refuses the connection" in refused
        assert '- "' + str(dead) + ':5432"' in refused
        screen.answer("Its host (name or address, - for none) [127.0.0.1]", "")
        screen.answer(f"Its port [{dead}]", str(teslamate.postgres.port))
        assert "ok: connected to 127.0.0.1" in screen.answer("Database user (DATABASE_USER) [teslamate]", "")
        screen.answer("Database name (DATABASE_NAME) [teslamate]", "")
        screen.answer("Password", "")
        assert "Nothing was typed." in screen.answer("Password", "wrong-SECRET")
        assert "bad-credentials" in screen.answer("What now?", "c")
        screen.answer("Database user (DATABASE_USER) [teslamate]", "")
        screen.answer("Database name (DATABASE_NAME) [teslamate]", "")
        screen.answer("Password", f"{PASSWORD} ")
        assert "It begins or ends with a blank" in screen.answer("Which is right?", "")
        assert "ok: teslamate logs in" in screen.answer("ENCRYPTION_KEY", f"'{KEY}'")
        assert "without the quotes around it" in screen.answer("What now?", "c")
        screen.answer("ENCRYPTION_KEY", f"      - ENCRYPTION_KEY={KEY}")
        assert "ok: the encryption key opens the tokens" in screen.answer(
            "Its host (name or address, - for none) [127.0.0.1]", ""
        )
        screen.answer("Its port [1883]", str(broker))
        screen.answer("User (MQTT_USERNAME; - for none)", "-")
        namespace = screen.answer("What now?", "c")
        assert 'Cars were seen in namespace home: set mqtt.namespace (--namespace) to "home".' in namespace
        # What was seen is offered: Enter takes it.
        screen.answer("MQTT_NAMESPACE of TeslaMate (- for none) [home]", "")
        told = screen.answer("Let tmsync answer TWCManager's Tesla API calls?", "")
        assert "ok: TeslaMate's cars are there" in told
        screen.answer("Write ", "")
        assert screen.end() == 0
        assert "This host can read TeslaMate's tokens" in screen.told
        for secret in (PASSWORD, KEY, "wrong-SECRET"):
            assert secret not in screen.told
    assert written(home) == {
        "database": {
            "connect_timeout": 2.0,
            "host": "127.0.0.1",
            "name": "teslamate",
            "password": PASSWORD,
            "port": teslamate.postgres.port,
            "user": "teslamate",
        },
        "teslamate": {"encryption_key": KEY},
        "mqtt": {"host": "127.0.0.1", "port": broker, "username": "", "namespace": "home"},
        "twcmanager": {"url": "http://127.0.0.1:9"},
    }
    assert tmsync("watch-mqtt", "--once", environ={"HOME": str(home)}).code == 0


def test_a_fix_applied_meanwhile_is_tried_again_and_a_wrong_answer_can_be_kept(
    teslamate: TeslaMate, home: Path
) -> None:
    teslamate.hba(LOCAL)
    environ = {
        "HOME": str(home),
        "TMSYNC_DATABASE_HOST": "127.0.0.1",
        "TMSYNC_DATABASE_PORT": str(teslamate.postgres.port),
        "TMSYNC_DATABASE_PASSWORD": PASSWORD,
        "TMSYNC_DATABASE_USER": "teslamate",
        "TMSYNC_DATABASE_NAME": "teslamate",
    }
    with Conversation("init", environ=environ) as screen:
        screen.answer("A copy of it here", "")
        screen.answer("Its name (- for none)", "")
        assert "database.password  set, not shown  TMSYNC_DATABASE_PASSWORD" in screen.answer("a number changes", "")
        screen.answer("Its web control", "-")
        line = "host teslamate teslamate 127.0.0.1/32 scram-sha-256"
        assert line in screen.wait_for("What now?")
        teslamate.hba(f"{LOCAL}{line}\n")
        screen.type("\n")
        assert "ok: teslamate logs in" in screen.answer("ENCRYPTION_KEY", "wrong-SECRET")
        assert "wrong-key" in screen.answer("What now?", "k")
        screen.answer("Its host", "-")
        assert "Kept although it does not work yet:\n  the stored token does not decrypt" in screen.answer("Write ", "")
        assert screen.end() == 1
    assert written(home)["teslamate"] == {"encryption_key": "wrong-SECRET"}


def test_everything_taken_over_is_shown_once_with_its_source_and_can_be_changed(
    teslamate: TeslaMate, broker: int, home: Path, tmp_path: Path
) -> None:
    """On a second run: the present configuration, TWCManager's file and TeslaMate's, in the order in which they win."""
    present = home / ".config" / "tmsync" / "config.toml"
    present.parent.mkdir(parents=True, mode=0o700)
    (tmp_path / "key").write_text(f"{KEY}\n")
    (tmp_path / "key").chmod(0o600)
    present.write_text(
        f"[database]\nhost = '127.0.0.1'\nuser = 'old'\n[teslamate]\nencryption_key_file = '{tmp_path / 'key'}'\n"
        "[twcmanager]\nrestart_command = ['a', 'b c']\n"
    )
    present.chmod(0o600)
    (tmp_path / "docker-compose.yml").write_text(COMPOSE.replace("${KEY}", ""))
    (tmp_path / ".env").write_text(f"PASS={PASSWORD}\nMQTT_PORT={broker}\n")
    twc = tmp_path / "config.json"
    link = {"mqtt_host": "127.0.0.1", "mqtt_user": "nobody", "mqtt_pass": "nothing-SECRET"}
    proxy = {"settingsPath": str(tmp_path), "teslaProxy": "https://pi:4443"}
    twc.write_text(json.dumps({"config": proxy, "vehicle": {"TeslaMate": link}}))
    twc.chmod(0o600)
    arguments = ("--force", "--from-compose", str(tmp_path), "--from-twcmanager", str(twc))
    with Conversation("init", *arguments, environ={"HOME": str(home)}) as screen:
        told = screen.wait_for("a number changes that line")
        groups = {
            (lines := group.splitlines())[0].removesuffix(":"): [
                " ".join(line.split()) for line in lines[1:] if line.strip()
            ]
            for group in told.partition("\n- ")[0].split("\nFrom ")[1:]
        }
        assert groups == {
            str(present): [
                "1 database.host 127.0.0.1",
                "2 teslamate.encryption_key set, not shown teslamate.encryption_key_file",
                "3 twcmanager.restart_command a ********",
            ],
            str(tmp_path / "docker-compose.yml"): [
                "4 database.port 5432 service database",
                "5 database.name teslamate DATABASE_NAME",
                "6 database.user teslamate DATABASE_USER",
                "7 database.password set, not shown DATABASE_PASS",
                f"8 mqtt.port {broker} service mosquitto",
                "9 mqtt.namespace (empty) MQTT_NAMESPACE",
            ],
            str(twc): [
                "10 mqtt.host 127.0.0.1 vehicle.TeslaMate.mqtt_host",
                "11 mqtt.username nobody vehicle.TeslaMate.mqtt_user",
                "12 mqtt.password set, not shown vehicle.TeslaMate.mqtt_pass",
                f"13 twcmanager.settings_file {tmp_path / 'settings.json'} config.settingsPath",
            ],
        }
        screen.type("11\n")
        screen.answer("User (MQTT_USERNAME; - for none) [nobody]", "-")
        assert "11  mqtt.username  (empty)  your answer" in screen.wait_for("a number changes that line")
        screen.type("4\n")
        screen.answer("Its port [5432]", str(teslamate.postgres.port))
        screen.answer("a number changes that line", "99")
        screen.answer("a number changes that line", "")
        assert "ok: the encryption key opens the tokens" in screen.wait_for("What now?")
        screen.type("c\n")
        screen.answer("MQTT_NAMESPACE", "")
        screen.answer("Let tmsync answer TWCManager's Tesla API calls?", "y")
        screen.answer("Where tmsync listens [127.0.0.1:8089]", "everywhere")
        assert "It takes: an address of this machine" in screen.answer("Where tmsync listens", "127.0.0.1:8090")
        assert "serve.upstream = https://pi:4443, from TWCManager's config.json" in screen.answer("Write ", "")
        assert screen.end() == 0
        assert "SECRET" not in screen.told
        assert '"teslaProxy": "http://127.0.0.1:8090",' in screen.told
        assert "sudo systemctl enable --now tmsync.socket tmsync.service" in screen.told
    assert sorted(one.name for one in present.parent.iterdir() if one.suffix in UNITS) == [
        "tmsync.service",
        "tmsync.socket",
    ]
    assert "ListenStream=127.0.0.1:8090" in (present.parent / "tmsync.socket").read_text()
    assert written(home) == {
        "database": {
            "host": "127.0.0.1", "port": teslamate.postgres.port, "name": "teslamate", "user": "teslamate",
            "password": PASSWORD,
        },
        "teslamate": {"encryption_key_file": str(tmp_path / "key")},
        "mqtt": {"host": "127.0.0.1", "port": broker, "username": "", "namespace": "home"},
        "twcmanager": {"config_file": str(twc), "restart_command": ["a", "b c"]},
        "serve": {"listen": "127.0.0.1:8090", "upstream": "https://pi:4443"},
    }  # fmt: skip
    # "-" for no user is not overruled by TWCManager's file.
    assert tmsync("watch-mqtt", "--once", environ={"HOME": str(home)}).code == 0


@pytest.mark.parametrize(
    ("typed", "offered", "chosen"),
    [
        ("y", "n", ""),
        ("yes", "n", ""),
        ("n", "n", "n"),
        ("no", "n", "n"),
        ("n", "y", ""),
        ("Y", "y", "y"),
        ("", "y", ""),
    ],
)
def test_yes_and_no_are_answers_to_what_enter_alone_answers(
    monkeypatch: pytest.MonkeyPatch, typed: str, offered: str, chosen: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"what?\n{typed}\n"))
    assert asking.choose("Sure?", (("", "goes on"), (offered, "does the other"))) == chosen


def test_two_teslamates_are_a_question(home: Path, tmp_path: Path) -> None:
    mine = "{image: teslamate/teslamate, environment: {ENCRYPTION_KEY: k, DATABASE_USER: mine, DISABLE_MQTT: 'true'}}"
    text = f"services: {{mine: {mine}, hers: {mine.replace('mine', 'hers')}}}"
    (tmp_path / "docker-compose.yml").write_text(text)
    with Conversation("init", "--from-compose", str(tmp_path), environ={"HOME": str(home)}) as screen:
        screen.answer("Which one is meant? [mine]", "nobody")
        screen.answer("Which one is meant? [mine]", "hers")
        screen.answer("Its name (- for none)", "-")
        told = screen.wait_for("a number changes that line")
        assert "database.user" in told
        assert "hers" in told
        screen.type("\x03")
        assert screen.end() == 130
    run = init(home, "--non-interactive", "--from-compose", str(tmp_path), "--db-host", "127.0.0.1")
    assert run.code == 2
    assert "2 services are TeslaMate: mine, hers" in run.err
    assert "--compose-service mine" in run.err
    assert not home.exists()
    chosen = "--compose-service", "hers"
    init(
        home, "--non-interactive", "--from-compose", str(tmp_path), *chosen, "--db-host", "127.0.0.1", "--db-port", "1"
    )
    assert written(home)["database"]["user"] == "hers"


@pytest.mark.parametrize("how", ["ctrl-c", "ctrl-d", "sigterm", "hidden ctrl-c"])
def test_leaving_in_the_middle_writes_nothing(home: Path, how: str) -> None:
    import os

    with Conversation("init", environ={"HOME": str(home)}) as screen:
        screen.wait_for("A copy of it here")
        if how == "sigterm":
            os.kill(screen.pid, signal.SIGTERM)
        elif how == "hidden ctrl-c":
            screen.type("\n\n\n127.0.0.1\n9\n")
            screen.answer("What now?", "k")
            screen.type("\n\n")
            screen.wait_for("Password")
            screen.type("\x03")
        else:
            screen.type({"ctrl-c": "\x03", "ctrl-d": "\x04"}[how])
        code = screen.end()
        assert code == (1 if how == "ctrl-d" else 130)
        assert "nothing was written" in screen.told
        assert "Traceback" not in screen.told
    assert not home.exists()


# -- without anybody to answer


def test_no_terminal_is_a_clear_error(home: Path) -> None:
    run = init(home)
    assert (run.code, run.out) == (2, "")
    assert "nobody is there to answer" in run.err
    assert "--non-interactive" in run.err
    assert not home.exists()


def test_nothing_known_writes_nothing(home: Path) -> None:
    run = init(home, "--non-interactive")
    assert run.code == 2
    assert "neither database.host nor mqtt.host is known" in run.err
    assert not home.exists()


def test_flags_variables_and_secret_files(teslamate: TeslaMate, broker: int, home: Path, tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text(f"{KEY}\n")
    secret.chmod(0o600)
    port = str(teslamate.postgres.port)
    run = init(
        home, "--non-interactive", "--db-host", "127.0.0.1", "--db-port", port, "--mqtt-host", "127.0.0.1",
        "--mqtt-port", str(broker), "--namespace", "home", "--twc-url", "http://127.0.0.1:9",
        TMSYNC_DATABASE_PASSWORD=PASSWORD, TMSYNC_TESLAMATE_ENCRYPTION_KEY_FILE=str(secret),
    )  # fmt: skip
    assert run.code == 0, run.err
    assert "This host can read TeslaMate's tokens" in run.out
    assert written(home) == {
        "database": {"host": "127.0.0.1", "port": int(port), "password": PASSWORD, "connect_timeout": 2.0},
        "teslamate": {"encryption_key_file": str(secret)},
        "mqtt": {"host": "127.0.0.1", "port": broker, "namespace": "home"},
        "twcmanager": {"url": "http://127.0.0.1:9"},
    }
    assert "SECRET" not in run.out + run.err


def test_compose_and_twcmanager_are_taken_over(teslamate: TeslaMate, broker: int, home: Path, tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").write_text(COMPOSE)
    (tmp_path / ".env").write_text(f"KEY={KEY}\nPASS='{PASSWORD}'\nMQTT_PORT={broker}\n")
    twc = tmp_path / "config.json"
    link = {"db_host": "127.0.0.1", "mqtt_host": "127.0.0.1", "mqtt_prefix": "teslamate", "db_pass": "old-SECRET"}
    twc.write_text(json.dumps({"config": {"settingsPath": str(tmp_path)}, "vehicle": {"TeslaMate": link}}))
    twc.chmod(0o600)
    run = init(
        home, "--non-interactive", "--from-compose", str(tmp_path / "docker-compose.yml"), "--from-twcmanager",
        str(twc), "--db-port", str(teslamate.postgres.port), "--namespace", "home",
    )  # fmt: skip
    assert run.code == 0, run.err
    assert '"database" is what containers call the database' in run.err
    assert "docker compose up -d database" in run.err
    assert "docker compose up -d mosquitto" not in run.err
    assert written(home) == {
        "database": {
            "host": "127.0.0.1", "port": teslamate.postgres.port, "name": "teslamate", "user": "teslamate",
            "password": PASSWORD, "connect_timeout": 2.0,
        },
        "teslamate": {"encryption_key": KEY},
        "mqtt": {"host": "127.0.0.1", "port": broker, "namespace": "home"},
        "twcmanager": {"config_file": str(twc)},
    }  # fmt: skip
    assert "SECRET" not in run.out + run.err


def test_twcmanagers_prefix_for_the_root_is_not_called_wrong(home: Path, tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").write_text(COMPOSE)
    twc = tmp_path / "config.json"
    twc.write_text('{"vehicle": {"TeslaMate": {"mqtt_host": "127.0.0.1", "mqtt_prefix": "teslamate"}}}')
    run = init(
        home, "--non-interactive", "--from-compose", str(tmp_path), "--from-twcmanager", str(twc), "--mqtt-port",
        str(free_port()),
    )  # fmt: skip
    assert run.code == 1
    assert "mqtt_prefix" not in run.err
    assert written(home)["mqtt"]["namespace"] == ""


def test_what_does_not_work_yet_is_written_and_exit_code_1(home: Path) -> None:
    run = init(home, "--non-interactive", "--db-host", "127.0.0.1", "--db-port", str(free_port()))
    assert run.code == 1
    assert "What to do about connect (refused)" in run.out
    assert written(home)["database"]["host"] == "127.0.0.1"


def test_serve_by_flag_takes_the_present_proxy_over_and_follows_no_planted_link(home: Path, tmp_path: Path) -> None:
    twc = tmp_path / "config.json"
    config = {"teslaProxy": "https://localhost:4443", "teslaProxyCert": "/etc/twcmanager/key.pem"}
    twc.write_text(json.dumps({"config": config}))
    folder = home / ".config" / "tmsync"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "tmsync.service").symlink_to(tmp_path / "other")
    arguments: tuple[str, ...] = ("--mqtt-host", "127.0.0.1", "--mqtt-port", str(free_port()))
    arguments += ("--listen", "127.0.0.1:8089")
    run = init(home, "--non-interactive", *arguments, "--from-twcmanager", str(twc))
    assert run.code == 1
    assert written(home)["serve"] == {
        "listen": "127.0.0.1:8089",
        "upstream": "https://localhost:4443",
        "upstream_ca_file": "/etc/twcmanager/key.pem",
    }
    assert not (tmp_path / "other").exists()
    assert "ReadWritePaths=-/etc/twcmanager" in (folder / "tmsync.service").read_text()
    again = init(
        home, "--non-interactive", "--force", *arguments, "--upstream", "https://pi", "--from-twcmanager", str(twc)
    )
    assert written(home)["serve"] == {"listen": "127.0.0.1:8089", "upstream": "https://pi"}
    assert "from TWCManager's config.json" not in again.err


# -- the file


def test_existing_file_is_left_alone_without_force(home: Path) -> None:
    path = home / ".config" / "tmsync" / "config.toml"
    path.parent.mkdir(parents=True, mode=0o700)
    path.write_text("# mine\n")
    path.chmod(0o644)
    arguments = ("--non-interactive", "--mqtt-host", "127.0.0.1", "--mqtt-port", str(free_port()))
    run = init(home, *arguments)
    assert run.code == 2
    assert f"{path} exists already" in run.err
    assert path.read_text() == "# mine\n"
    assert init(home, *arguments, "--force").code == 1
    assert written(home)["mqtt"]["host"] == "127.0.0.1"
    backup = path.with_name("config.toml.backup")
    assert (backup.read_text(), stat.S_IMODE(backup.stat().st_mode)) == ("# mine\n", 0o600)


def test_what_is_no_file_is_not_replaced_even_with_force(home: Path, tmp_path: Path) -> None:
    """As root, --output /dev/null --force would take that away from the whole machine."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    run = init(home, "--non-interactive", "--mqtt-host", "127.0.0.1", "--output", str(pipe), "--force")
    assert (run.code, run.out) == (2, "")
    assert f"{pipe} cannot be written: it is not a regular file" in run.err
    assert (pipe.is_fifo(), [one.name for one in tmp_path.iterdir()]) == (True, ["pipe"])


def test_token_in_a_restart_command_is_written_and_not_shown(home: Path) -> None:
    command = 'curl -H "Authorization: Bearer mark-SECRET" http://localhost/restart'
    arguments = ("--non-interactive", "--mqtt-host", "127.0.0.1", "--mqtt-port", str(free_port()))
    run = init(home, *arguments, TMSYNC_TWCMANAGER_RESTART_COMMAND=command)
    assert written(home)["twcmanager"]["restart_command"][2] == "Authorization: Bearer mark-SECRET"
    assert "curl" in run.out + run.err
    assert "SECRET" not in run.out + run.err


def test_other_place_and_a_folder_that_is_none(home: Path, tmp_path: Path) -> None:
    arguments = ("--non-interactive", "--mqtt-host", "127.0.0.1", "--mqtt-port", str(free_port()))
    path = tmp_path / "elsewhere" / "t.toml"
    assert init(home, *arguments, "--output", str(path)).code == 1
    assert tomllib.loads(path.read_text())["mqtt"]["host"] == "127.0.0.1"
    (tmp_path / "file").write_text("")
    run = init(home, *arguments, "--output", str(tmp_path / "file" / "t.toml"))
    assert run.code == 2
    assert "cannot be written" in run.err
    assert not home.exists()


@pytest.mark.parametrize("then", ["writes", "is refused"])
def test_leftovers_of_a_killed_run_are_swept_by_the_next(home: Path, then: str) -> None:
    """Killed by SIGKILL between the temporary file and its place: it holds every password."""
    import subprocess
    import sys

    kill = "import os, pathlib; pathlib.Path.hardlink_to = lambda *_: os.kill(os.getpid(), 9)"
    script = f"{kill}; from tmsync.cli import run; run(['init', '--non-interactive', '--db-host', '127.0.0.1'])"
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(home), "TMSYNC_DATABASE_PASSWORD": PASSWORD}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    folder = home / ".config" / "tmsync"
    [left] = folder.iterdir()
    assert PASSWORD in left.read_text()
    if then == "is refused":
        (folder / "config.toml").write_text("")
    run = init(home, "--non-interactive", "--db-host", "127.0.0.1", "--db-port", str(free_port()))
    assert run.code == (1 if then == "writes" else 2)
    assert [path.name for path in folder.iterdir()] == ["config.toml"]


@pytest.mark.parametrize("stray", ["*abcSECRET", "&abcSECRET &x y", "!abcSECRET!x", "@abcSECRET", "`abcSECRET"])
def test_key_that_is_no_yaml_is_not_shown(home: Path, tmp_path: Path, stray: str) -> None:
    text = f"services:\n  t:\n    image: teslamate/teslamate\n    environment:\n      ENCRYPTION_KEY: {stray}\n"
    (tmp_path / "docker-compose.yml").write_text(text)
    run = init(home, "--non-interactive", "--from-compose", str(tmp_path), "--db-host", "127.0.0.1")
    assert run.code == 2
    assert "docker-compose.yml, line 5: " in run.err
    assert "SECRET" not in run.out + run.err
    assert not home.exists()


def test_key_that_no_toml_can_hold(home: Path) -> None:
    import os
    import subprocess
    import sys

    environ = {
        b"PATH": os.environb[b"PATH"],
        b"HOME": str(home).encode(),
        b"TMSYNC_TESLAMATE_ENCRYPTION_KEY": b"\xff\xfe",
    }
    command = [sys.executable, "-m", "tmsync", "init", "--non-interactive", "--db-host", "127.0.0.1"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert done.returncode == 2
    assert "TMSYNC_TESLAMATE_ENCRYPTION_KEY_FILE" in done.stderr
    assert not home.exists()
