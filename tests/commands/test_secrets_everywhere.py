"""Marked secrets once more: status, watch-mqtt, config and init, in every format, and what the commands start."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest

from tests.commands.test_secrets import FAULTS, private, silent
from tests.faults.swift import Timed, workers
from tests.support.brokers import BLUE, Broker, broker, needs_mosquitto
from tests.support.certificates import Authority
from tests.support.surroundings import KEY, PASSWORD, TeslaMate, TwcFolder, tmsync
from tmsync.demo.server import free_port

pytestmark = needs_mosquitto
MQTT_PASSWORD = "mqtt-SECRET-pass"
VERBOSITY: list[list[str]] = [[], ["--verbose"]]
STATUS = [["status", "--wait", "0", "--format", form] for form in ("table", "json", "nagios", "prometheus")]
WATCH = [["watch-mqtt", "--once", "--format", form] for form in ("table", "json", "log")]
WITH_DB = ["watch-mqtt", "--once", "--with-db", "--json"]
CONFIG = [["config", "--format", form] for form in ("table", "json")]
Swiftly = Callable[[list[str], Mapping[str, str]], Timed]


@pytest.fixture(scope="module")
def swiftly() -> Iterator[Swiftly]:
    with workers() as made:
        yield made


@pytest.fixture(scope="module")
def mosquitto() -> Iterator[Broker]:
    with broker(passwords={"tm": MQTT_PASSWORD}, publisher="tm") as running:
        running.publisher.car(**BLUE)
        yield running


def told_by_all(swiftly: Swiftly, commands: list[list[str]], environ: Mapping[str, str]) -> list[Timed]:
    """Every command in every verbosity."""
    ways = [[*verbosity, *command] for verbosity, command in product(VERBOSITY, commands)]
    with ThreadPoolExecutor(8) as side_by_side:
        return list(side_by_side.map(lambda words: swiftly(words, environ), ways))


@pytest.mark.parametrize("name", FAULTS)
def test_no_secret_whatever_is_wrong_with_the_database(  # noqa: PLR0917
    swiftly: Swiftly, teslamate: TeslaMate, mosquitto: Broker, twc: TwcFolder, tmp_path: Path, name: str
) -> None:
    teslamate.secrets[2:] = []
    twc.write({"carApiBearerToken": "held-before-SECRET", "carApiRefreshToken": "refresh-before-SECRET"}, 0o600)
    teslamate.store(teslamate.access, teslamate.refresh)
    # Where it can be reached, TeslaMate is there: each look that finds its sessions missing would take half a minute.
    alive = teslamate.logged_in()
    changes = FAULTS[name](teslamate, twc)
    secrets = [*teslamate.secrets, MQTT_PASSWORD, "held-before-SECRET", "refresh-before-SECRET"]
    login = {"TMSYNC_MQTT_USERNAME": "tm", "TMSYNC_MQTT_PASSWORD": MQTT_PASSWORD}
    environ = teslamate.environ(TMSYNC_TWCMANAGER_CONFIG_FILE=str(twc.config), **changes)
    environ |= {**mosquitto.environ(), **login, "HOME": str(tmp_path / "home")}
    written = tmp_path / "new.toml"
    init = [["init", "--non-interactive", "--force", "--output", str(written)]]
    with alive:
        found = told_by_all(swiftly, [*STATUS, *CONFIG, WITH_DB], environ)
        found += [swiftly(words, environ) for words in init]
    for run in found:
        silent(run, secrets)
    private([path for path in tmp_path.rglob("*") if path != twc.config], secrets)


@pytest.mark.parametrize(
    "trouble", ["wrong password", "closed port", "no tls", "untrusted", "bad key file", "insecure"]
)
def test_no_secret_whatever_is_wrong_with_the_broker(
    swiftly: Swiftly, mosquitto: Broker, authority: Authority, tmp_path: Path, trouble: str
) -> None:
    key_file = tmp_path / "client.key"
    key_file.write_text("-----BEGIN PRIVATE KEY-----\nkey-file-SECRET\n-----END PRIVATE KEY-----\n")
    key_file.chmod(0o600)
    login = {"TMSYNC_MQTT_USERNAME": "tm", "TMSYNC_MQTT_PASSWORD": MQTT_PASSWORD}
    tls = {"TMSYNC_MQTT_TLS": "true", "TMSYNC_MQTT_CA_FILE": str(authority.root)}
    with broker(tls=authority.issue("localhost")) as secure:
        changes = {
            "wrong password": {"TMSYNC_MQTT_PASSWORD": f"{MQTT_PASSWORD}-wrong"},
            "closed port": {"TMSYNC_MQTT_PORT": str(free_port())},
            "no tls": tls,
            "untrusted": {"TMSYNC_MQTT_TLS": "true", "TMSYNC_MQTT_PORT": str(secure.port)},
            "bad key file": {**tls, "TMSYNC_MQTT_CERT_FILE": str(key_file), "TMSYNC_MQTT_KEY_FILE": str(key_file)},
            "insecure": {
                "TMSYNC_MQTT_TLS": "true", "TMSYNC_MQTT_PORT": str(secure.port), "TMSYNC_MQTT_INSECURE": "true"
            },
        }[trouble]  # fmt: skip
        environ = {**mosquitto.environ(), **login, **changes}
        found = told_by_all(swiftly, [*STATUS, *WATCH, *CONFIG, ["watch-mqtt", "--json", "--duration", "1"]], environ)
    for run in found:
        silent(run, [MQTT_PASSWORD, "key-file-SECRET"])
    if trouble == "insecure":
        # Verification is on unless it is switched off by name, and then every run of watch-mqtt and status says so.
        warned = [run for run in found if "not verified" in run.out + run.err]
        assert len(warned) >= len(VERBOSITY) * len(WATCH)


def spied_on(arguments: list[str], environ: Mapping[str, str]) -> tuple[str, int]:
    """Arguments and environment of the process and of all that it starts, looked at again and again; how many."""
    seen: dict[int, set[bytes]] = {}
    with subprocess.Popen(
        [sys.executable, "-m", "tmsync", *arguments],
        env={"PATH": "/usr/bin:/bin", **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    ) as process:
        while process.poll() is None:
            for pid in family(process.pid):
                for name in ("cmdline", "environ"):
                    try:
                        seen.setdefault(pid, set()).add(Path(f"/proc/{pid}/{name}").read_bytes())
                    except OSError:
                        continue
            time.sleep(0.005)
    return b"".join(text for texts in seen.values() for text in texts).decode(errors="replace"), len(seen)


def family(pid: int) -> Iterator[int]:
    yield pid
    try:
        for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in tasks.read_text().split():
                yield from family(int(child))
    except OSError:
        return


@pytest.mark.usefixtures("charges")
def test_what_runs_shows_no_secret_in_its_arguments_or_environment(
    teslamate: TeslaMate, mosquitto: Broker, twc: TwcFolder, make_config: Callable[..., Path], tmp_path: Path
) -> None:
    """The secrets come from a file that only its owner can read, and from there they go nowhere but to the servers."""
    twc.write({})
    script = tmp_path / "slow.sh"
    script.write_text("#!/bin/sh\nsleep 0.3\n")
    script.chmod(0o700)
    config = make_config(
        f'[database]\nhost = "127.0.0.1"\nport = {teslamate.postgres.port}\npassword = "{PASSWORD}"\n'
        f'[teslamate]\nencryption_key = "{KEY}"\n'
        f'[mqtt]\nhost = "127.0.0.1"\nport = {mosquitto.port}\nusername = "tm"\npassword = "{MQTT_PASSWORD}"\n'
        f'[twcmanager]\nconfig_file = "{twc.config}"\nrestart_command = ["{script}"]\n'
    )
    program = tmp_path / "TWCManager.py"
    program.write_text("import time\ntime.sleep(60)\n")
    given = ["--config", str(config), "--verbose"]
    quick = {"TMSYNC_HEALTH_LATE_AFTER_CHARGING": "0.2", "TMSYNC_HEALTH_STALE_AFTER_CHARGING": "0.5"}
    with subprocess.Popen([sys.executable, str(program)], cwd=twc.path) as twcmanager:
        try:
            # Nothing tells whether a car charges, so the first run does not restart it.
            tmsync(*given, "sync-tokens", "--via", "file")
            restarted, started = spied_on([*given, "sync-tokens", "--via", "file"], {})
        finally:
            twcmanager.kill()
    hooked, hooks = spied_on([*given, "watch-mqtt", "--duration", "2", "--with-db", "--exec", str(script)], quick)
    with teslamate.logged_in():
        others = [spied_on([*given, *words], {})[0] for words in (["check-db"], ["status", "--wait", "1"], ["config"])]
    # The restart command and the hook were there to be looked at.
    assert (started, hooks) >= (2, 2)
    for told in (restarted, hooked, *others):
        assert "tmsync" in told
        for secret in (*teslamate.secrets, MQTT_PASSWORD):
            assert secret not in told


def test_tls_is_verified_unless_it_is_switched_off_by_name_and_then_warned_about(authority: Authority) -> None:
    with broker(tls=authority.issue("localhost")) as secure:
        environ = {"TMSYNC_MQTT_HOST": "localhost", "TMSYNC_MQTT_PORT": str(secure.port), "TMSYNC_MQTT_TLS": "true"}
        assert "is not trusted" in tmsync("watch-mqtt", "--once", environ=environ).err
        trusted = {**environ, "TMSYNC_MQTT_CA_FILE": str(authority.root)}
        assert "not verified" not in tmsync("watch-mqtt", "--once", environ=trusted).err
        insecure = tmsync("watch-mqtt", "--once", environ={**environ, "TMSYNC_MQTT_INSECURE": "true"})
        assert "the broker's certificate is not verified" in insecure.err
