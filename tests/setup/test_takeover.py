"""Which service is TeslaMate, what its names mean outside Docker, and what is told of the rest."""

from pathlib import Path

import pytest

from tmsync.core.errors import ConfigError
from tmsync.core.setup.compose import read_compose
from tmsync.core.setup.takeover import Taken, take_over

OWN = "ENCRYPTION_KEY: k, DATABASE_USER: teslamate, DATABASE_PASS: real, DATABASE_HOST: database"
GRAFANA = "{image: teslamate/grafana, environment: {DATABASE_USER: ro, DATABASE_PASS: other, DATABASE_HOST: database}}"
API = "{image: tobiasehlert/teslamateapi, environment: {ENCRYPTION_KEY: api, DATABASE_USER: api, MQTT_HOST: mqtt}}"


def taken(folder: Path, text: str, env: str | None = None, service: str = "") -> Taken:
    (folder / "docker-compose.yml").write_text(text)
    if env is not None:
        (folder / ".env").write_text(env)
    return take_over(read_compose(folder), service)


def settings(found: Taken) -> dict[str, str]:
    return {setting.name: text for setting, text, _ in found.found}


def told(found: Taken) -> str:
    return "\n".join(note.words for note in found.notes)


# -- which service is TeslaMate


@pytest.mark.parametrize(
    "image",
    [
        "teslamate/teslamate", "teslamate/teslamate:4.1", "ghcr.io/teslamate-org/teslamate:latest",
        "docker.io/teslamate/teslamate@sha256:abc", "registry.home:5000/mirror/teslamate", "localhost/teslamate:dev",
        "teslamate", "me/teslamate:1",
    ],
)  # fmt: skip
def test_service_is_known_by_the_last_part_of_its_image(tmp_path: Path, image: str) -> None:
    text = (
        f"services: {{g: {GRAFANA}, api: {API}, t: {{image: '{image}', environment: {{{OWN}, DISABLE_MQTT: 'true'}}}}}}"
    )
    found = taken(tmp_path, text)
    assert settings(found)["database.password"] == "real"
    assert "Taken from the service t, image" in told(found)
    assert "not from g, api." in told(found)


@pytest.mark.parametrize("more", ["MQTT_HOST: mqtt", "DISABLE_MQTT: 'true'"])
def test_service_that_was_built_is_known_by_what_only_teslamate_reads(tmp_path: Path, more: str) -> None:
    text = f"services: {{g: {GRAFANA}, api: {API}, t: {{build: ., environment: {{{OWN}, {more}}}}}}}"
    assert settings(taken(tmp_path, text))["teslamate.encryption_key"] == "k"


def test_database_variables_alone_are_nobodys(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        taken(tmp_path, f"services: {{g: {GRAFANA}, api: {API}, b: {{image: x, environment: {{DATABASE_USER: x}}}}}}")
    assert "no service has the image teslamate/teslamate" in str(caught.value)


def test_two_teslamates_are_an_error_that_names_them(tmp_path: Path) -> None:
    mine = f"{{image: teslamate/teslamate, environment: {{{OWN}}}}}"
    text = f"services: {{mine: {mine}, hers: {mine.replace('real', 'hers')}}}"
    with pytest.raises(ConfigError) as caught:
        taken(tmp_path, text)
    assert str(caught.value).endswith("2 services are TeslaMate: mine, hers")
    assert "--compose-service mine" in caught.value.problem.hint
    assert settings(taken(tmp_path, text, service="hers"))["database.password"] == "hers"


def test_service_that_was_named_is_taken_whatever_it_looks_like(tmp_path: Path) -> None:
    text = f"services: {{g: {GRAFANA}, odd: {{image: x, environment: {{DATABASE_USER: mine}}}}}}"
    assert settings(taken(tmp_path, text, service="odd"))["database.user"] == "mine"
    with pytest.raises(ConfigError) as caught:
        taken(tmp_path, text, service="teslamate")
    assert str(caught.value).endswith("has no service teslamate; it has: g, odd")


# -- names


def server(extra: str, host: str = "pg", *, more: str = "", networks: str = "") -> str:
    """A database with `extra`, and a TeslaMate that calls it `host`."""
    own = OWN.replace("DATABASE_HOST: database", f"DATABASE_HOST: {host}")
    return (
        f"services: {{t: {{image: teslamate/teslamate, {more} environment: {{{own}, DISABLE_MQTT: 'true'}}}}, "
        f"db: {{image: postgres, ports: ['5433:5432'], {extra}}}}}\n{networks}"
    )


@pytest.mark.parametrize(
    ("extra", "more", "networks"),
    [
        ("container_name: pg", "", ""),
        ("hostname: pg", "", ""),
        ("networks: {n: {aliases: [x, pg]}}", "", "networks: {n: }"),
        ("", "links: ['db:pg']", ""),
    ],
)
def test_container_by_any_of_its_names_is_asked_for_with_its_published_port(
    tmp_path: Path, extra: str, more: str, networks: str
) -> None:
    found = taken(tmp_path, server(extra, more=more and f"{more},", networks=networks))
    assert "database.host" not in settings(found)
    assert settings(found)["database.port"] == "5433"
    assert '"pg" is what containers call the database' in told(found)
    assert "pg" in found.container_names


@pytest.mark.parametrize("external", ["{external: true}", "{external: {name: shared}}"])
def test_container_of_another_project_is_asked_for_with_its_port(tmp_path: Path, external: str) -> None:
    text = server("", "postgres-main", more="networks: [shared],", networks=f"networks: {{shared: {external}}}")
    found = taken(tmp_path, text)
    assert settings(found).keys() & {"database.host", "database.port"} == set()
    assert '"postgres-main" is no service of this file' in told(found)


def test_external_link_is_asked_for(tmp_path: Path) -> None:
    found = taken(tmp_path, server("", "pgx", more="external_links: ['other_db_1:pgx'],"))
    assert "database.host" not in settings(found)


@pytest.mark.parametrize(
    ("more", "host", "expected"),
    [
        ("", "192.168.1.7", "192.168.1.7"),
        ("", "db.home.lan", "db.home.lan"),
        ("", "nas", "nas"),
        ("networks: [shared],", "192.168.1.7", "192.168.1.7"),
        ("extra_hosts: ['pg:192.168.1.9'],", "pg", "192.168.1.9"),
        ("extra_hosts: {pg: 192.168.1.9},", "pg", "192.168.1.9"),
        ("extra_hosts: ['pg=[fd00::9]'],", "pg", "fd00::9"),
        ("extra_hosts: ['pg:host-gateway'],", "pg", None),
        ("", "localhost", None),
    ],
)
def test_host_outside_is_taken_over_by_an_address_that_means_something_here(
    tmp_path: Path, more: str, host: str, expected: str | None
) -> None:
    found = taken(tmp_path, server("", host, more=more, networks="networks: {shared: {external: true}}"))
    assert settings(found).get("database.host") == expected
    assert ("its own machine" in told(found)) is (expected is None)


def test_database_by_a_socket_is_on_its_own_machine(tmp_path: Path) -> None:
    own = "ENCRYPTION_KEY: k, DATABASE_USER: u, DATABASE_PASS: p, DATABASE_SOCKET_DIR: /run/pg, DISABLE_MQTT: 'true'"
    found = taken(tmp_path, f"services: {{t: {{image: teslamate/teslamate, environment: {{{own}}}}}}}")
    assert "its own machine" in told(found)


# -- variables


def test_every_variable_without_a_value_is_named_with_the_file_that_is_not_there(tmp_path: Path) -> None:
    text = """
services:
  teslamate:
    image: teslamate/teslamate
    environment: [ENCRYPTION_KEY, 'DATABASE_PASS=${TM_PASS}', 'DATABASE_USER=${U:?x}', DATABASE_HOST=db, MQTT_HOST=m]
    labels: ['${NOT_OURS}']
  db: {image: postgres, ports: ['${DB_PORT}:5432'], environment: ['POSTGRES_PASSWORD=${NEITHER}']}
"""
    found = taken(tmp_path, text)
    line = next(note.words for note in found.notes if note.words.startswith("Variables"))
    assert line == (
        f"Variables without a value: U, TM_PASS, ENCRYPTION_KEY, DB_PORT: {tmp_path / '.env'} is not there."
        " tmsync needs what they stand for."
    )
    there = taken(tmp_path, text, "U=u\nTM_PASS=p\nDB_PORT=5433\n")
    line = next(note.words for note in there.notes if note.words.startswith("Variables"))
    assert "without a value: ENCRYPTION_KEY: " in line
    assert "does not set them" in line
    assert settings(there)["database.port"] == "5433"


def test_defaults_of_the_file_are_told(tmp_path: Path) -> None:
    text = """
services:
  teslamate:
    image: teslamate/teslamate
    environment: ['ENCRYPTION_KEY=${K:-change-me}', 'DATABASE_PASS=${P-secret}', DATABASE_HOST=db, DISABLE_MQTT=true]
  db: {image: postgres, ports: ['${DB_PORT:-5439}:5432']}
"""
    found = taken(tmp_path, text)
    assert settings(found)["database.password"] == "secret"
    assert f"own defaults are taken for P, K, DB_PORT: {tmp_path / '.env'} is not there" in told(found)
    assert "defaults" not in told(taken(tmp_path, text, "K=k\nP=p\nDB_PORT=1\n"))


def test_missing_env_file_is_named_with_its_true_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "base.yml").write_text(
        "services: {b: {image: teslamate/teslamate, env_file: [secrets/tm.env]}}"
    )
    (tmp_path / "compose.yml").write_text("services: {t: {extends: {file: sub/base.yml, service: b}}}")
    [warning] = read_compose(tmp_path).warnings
    assert str(tmp_path / "sub" / "secrets" / "tm.env") in warning.message
    assert str(tmp_path / "sub" / "secrets") in warning.hint


def test_what_is_not_followed_is_told_with_the_way_round_it(tmp_path: Path) -> None:
    text = "include: ['https://github.com/a/b.git']\nservices: {t: {image: teslamate/teslamate}}"
    (tmp_path / "compose.yml").write_text(text)
    [warning] = read_compose(tmp_path).warnings
    assert "includes what is no file on this machine" in warning.message
    assert warning.fix[0].command == "docker compose config > all.yml"


@pytest.mark.parametrize(
    ("variable", "right"),
    [("MQTT_USER", "MQTT_USERNAME"), ("MQTT_PASSWD", "MQTT_PASSWORD"), ("DATABASE_PASSWORD", "DATABASE_PASS")],
)
def test_variable_that_does_nothing_is_named(tmp_path: Path, variable: str, right: str) -> None:
    text = f"services: {{t: {{image: teslamate/teslamate, environment: {{ENCRYPTION_KEY: k, {variable}: hidden}}}}}}"
    found = taken(tmp_path, text)
    assert f"{variable} does nothing in TeslaMate: it reads {right}, which is not set" in told(found)
    assert "hidden" not in told(found)
    assert "hidden" not in settings(found).values()


@pytest.mark.parametrize(
    ("environment", "differs"),
    [
        ("{POSTGRES_USER: teslamate, POSTGRES_PASSWORD: hidden}", True),
        ("{POSTGRES_USER: teslamate, POSTGRES_PASSWORD: real}", False),
        ("{POSTGRES_PASSWORD: hidden}", False),
        ("{POSTGRES_USER: teslamate}", False),
    ],
)
def test_passwords_of_the_database_and_of_teslamate_are_compared(
    tmp_path: Path, environment: str, differs: bool
) -> None:
    found = taken(tmp_path, server(f"container_name: pg, environment: {environment}"))
    assert ("POSTGRES_PASSWORD of the service db is not DATABASE_PASS" in told(found)) is differs
    assert "hidden" not in told(found)
    assert settings(found)["database.password"] == "real"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ("POLLING_ASLEEP_INTERVAL: 30", {}),
        ("POLLING_ASLEEP_INTERVAL: 60", {f"health.{group}.{state}": "0" for group in ("late_after", "stale_after")
                                        for state in ("asleep", "offline")}),
        ("POLLING_DEFAULT_INTERVAL: 15", {}),
        # An interval that TeslaMate knows is never shorter than its default.
        ("POLLING_DEFAULT_INTERVAL: 5", {}),
        ("POLLING_DEFAULT_INTERVAL: 30", {"health.late_after.driving": "110"}),
        ("POLLING_DEFAULT_INTERVAL: 60", {"health.late_after.online": "200", "health.late_after.driving": "140"}),
        ("POLLING_DEFAULT_INTERVAL: 139", {"health.late_after.online": "358", "health.late_after.driving": "219"}),
        # With one slow request the pause of a streaming car is 360 s from 140 s on; without any, 362 s from 181 s on.
        ("POLLING_DEFAULT_INTERVAL: 140", {"health.late_after.online": "360", "health.stale_after.online": "580",
                                           "health.late_after.driving": "220"}),
        ("POLLING_DEFAULT_INTERVAL: 181", {"health.late_after.online": "442", "health.stale_after.online": "662",
                                           "health.late_after.driving": "261"}),
        ("POLLING_DEFAULT_INTERVAL: 361", {"health.late_after.online": "802", "health.stale_after.online": "1022",
                                           "health.late_after.driving": "441"}),
        ("POLLING_ONLINE_INTERVAL: 400", {}),
        ("POLLING_MINIMUM_INTERVAL: 30", {"health.late_after.charging": "110", "health.late_after.driving": "110"}),
        ("POLLING_MINIMUM_INTERVAL: 300, POLLING_ASLEEP_INTERVAL: 60",
         {"health.late_after.asleep": "0", "health.stale_after.asleep": "0",
          "health.late_after.offline": "0", "health.stale_after.offline": "0",
          **{f"health.late_after.{state}": "380" for state in ("online", "charging", "driving")},
          **{f"health.stale_after.{state}": "600" for state in ("online", "charging")}}),
        # Every look is told of, only later.
        ("POLLING_MINIMUM_INTERVAL: 100",
         {f"health.late_after.{state}": "180" for state in ("online", "charging", "driving", "asleep", "offline")}),
        ("POLLING_CHARGING_INTERVAL: 300", {"health.late_after.charging": "380", "health.stale_after.charging": "600"}),
        ("POLLING_DRIVING_INTERVAL: 20", {"health.late_after.driving": "100"}),
        ("POLLING_DEFAULT_INTERVAL: nonsense", {}),
        ("POLLING_ASLEEP_INTERVAL: 1e999", {}),
    ],
)  # fmt: skip
def test_longer_intervals_of_teslamate_make_longer_limits(
    tmp_path: Path, variables: str, expected: dict[str, str]
) -> None:
    own = f"ENCRYPTION_KEY: k, DATABASE_HOST: h, MQTT_HOST: m, {variables}"
    found = taken(tmp_path, f"services: {{t: {{image: teslamate/teslamate, environment: {{{own}}}}}}}")
    assert {name: text for name, text in settings(found).items() if name.startswith("health.")} == expected
