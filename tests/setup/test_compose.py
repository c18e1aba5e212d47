"""What a docker-compose.yml tells, whatever its style; and that a bad one costs nothing but a clear error."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmsync.core.causes import Cause
from tmsync.core.errors import ConfigError
from tmsync.core.setup.compose import Port, read_compose
from tmsync.core.setup.takeover import take_over
from tmsync.core.setup.variables import BadInterpolation, BadLine, interpolate, read_raw, read_variables

DOCUMENTED = """
services:
  teslamate:
    image: teslamate/teslamate:latest
    restart: always
    environment:
      - ENCRYPTION_KEY=${KEY:?set it}
      - DATABASE_USER=teslamate
      - DATABASE_PASS=${TM_DB_PASS:-pass-SECRET}
      - DATABASE_NAME=teslamate
      - DATABASE_HOST=database
      - MQTT_HOST=mosquitto
    ports:
      - 4000:4000
  database:
    image: postgres:18-trixie
    environment:
      - POSTGRES_USER=teslamate
  mosquitto:
    image: eclipse-mosquitto:2
    # ports:
    #   - 1883:1883
"""
OTHER_STYLE = """
x-common: &common {DATABASE_USER: tm, DATABASE_NAME: 0123}
services:
  app:
    image: "docker.io/teslamate/teslamate:4.1@sha256:abc"
    env_file: [{path: tm.env}]
    environment:
      <<: *common
      DATABASE_HOST: ${DB_HOST}
      DATABASE_PORT: 6543
      MQTT_HOST: localhost
      MQTT_NAMESPACE: home
      MQTT_TLS: true
      ENCRYPTION_KEY:
"""


def compose(folder: Path, text: str, env: str = "", **others: str) -> Path:
    path = folder / "docker-compose.yml"
    path.write_text(text)
    if env:
        (folder / ".env").write_text(env)
    for name, content in others.items():
        (folder / name.replace("_", ".")).write_text(content)
    return path


def found(path: Path) -> dict[str, str]:
    return {setting.name: text for setting, text, _ in take_over(read_compose(path)).found}


# -- faults


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("services: [", "line 1"),
        ("services:\n  a: {b: 'SECRET\n", "line "),
        ("- a\n", "lists no services"),
        ("services:\n", "lists no services"),
        ("services: {a: {environment: {ENCRYPTION_KEY: *SECRET}}}", "line 1: an alias (*)"),
        ("services: {a: {environment: {ENCRYPTION_KEY: &SECRET &SECRET x}}}", "line 1"),
        ('services: {a: {environment: {K: "\\SECRET"}}}', "line 1"),
        ("services: {a: {environment: {K: !SECRET!SECRET x}}}", "line 1"),
        ("services: {a: {environment: {K: @SECRET}}}", "line 1"),
        ("services: {a: {environment: {K: %SECRET}}}", "line 1"),
        ("services: {a: {extends: a}}", "extends itself"),
        ("services: {a: {extends: b}}", "which is not in"),
        ("services: {a: {extends: {file: no.yml, service: b}}}", "no.yml cannot be read"),
        ("include: [no.yml]", "no.yml cannot be read"),
        ("include: [docker-compose.yml]", "too many files are included"),
        ("services: {web: {image: nginx}}", "no service has the image teslamate/teslamate"),
        ("a: " + "[" * 5000, "not readable as YAML"),
        ("services: !!python/object/apply:os.system [id]", "no service has the image"),
        ("x" * (1 << 20) + "y", "larger than 1 MiB"),
    ],
)
def test_file_of_no_use_is_one_clear_error(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        found(compose(tmp_path, text))
    assert words in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "SECRET" not in f"{caught.value} {caught.value.problem.hint}"
    assert "\n" not in str(caught.value)


def test_merges_that_multiply_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 {" + ", ".join(f"k{n}: v" for n in range(10)) + "}"]
    lines += [f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(ConfigError) as caught:
        read_compose(compose(tmp_path, "\n".join(lines)))
    assert "multiply" in str(caught.value)


def test_missing_file_and_folder_without_one(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yml", tmp_path):
        with pytest.raises(ConfigError) as caught:
            read_compose(path)
        assert caught.value.cause is Cause.UNREADABLE_FILE


@pytest.mark.parametrize("text", ["${", "${A:-${B}", "${}", "${A;b}", "${A:-" * 40 + "}" * 40])
def test_interpolation_that_makes_no_sense(text: str) -> None:
    with pytest.raises(BadInterpolation):
        interpolate(text, {}.get)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=120))
def test_no_text_whatever_does_more_than_be_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    with contextlib.suppress(BadLine):
        read_variables(text)
    with contextlib.suppress(BadLine):
        read_raw(text)
    with contextlib.suppress(BadInterpolation):
        interpolate(text, {"A": "b"}.get)
    path = tmp_path_factory.mktemp("compose") / "compose.yml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(ConfigError):
        take_over(read_compose(path))


# -- variables


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A ${A} $$A", "a a $A"),
        ("${N:-d}${N-d}${E:-d}${E-d}", "dd" + "d"),
        ("${A:+yes}${E:+yes}${E+yes}", "yesyes"),
        ("${N:-${A}}/${N:-${E:-x}}", "a/x"),
        ("${A:?must}${N?}", "a"),
        ("cost $ 5", "cost $ 5"),
    ],
)
def test_variables_are_put_in_as_compose_does(text: str, expected: str) -> None:
    assert interpolate(text, {"A": "a", "E": ""}.get).text == expected


def test_env_file() -> None:
    text = """
# a comment
A=1
export B = two words # and a comment
C='lit $A #x'
D="in $A \\"q\\" \\n$$"
E=a#b
F=
G=${A}${B}
"""
    assert read_variables(text) == {
        "A": "1", "B": "two words", "C": "lit $A #x", "D": 'in 1 "q" \n$', "E": "a#b", "F": "", "G": "1two words",
    }  # fmt: skip


# -- TeslaMate's own file, and other people's


def test_documented_file_publishes_nothing(tmp_path: Path) -> None:
    taken = take_over(read_compose(compose(tmp_path, DOCUMENTED, "KEY=key-SECRET\n")))
    assert {setting.name: (text, origin.rpartition(" (")[2]) for setting, text, origin in taken.found} == {
        "database.name": ("teslamate", "DATABASE_NAME)"),
        "database.user": ("teslamate", "DATABASE_USER)"),
        "database.password": ("pass-SECRET", "DATABASE_PASS)"),
        "teslamate.encryption_key": ("key-SECRET", "ENCRYPTION_KEY)"),
        "database.port": ("5432", "service database)"),
        "mqtt.port": ("1883", "service mosquitto)"),
        "mqtt.namespace": ("", "MQTT_NAMESPACE)"),
    }
    assert taken.container_names == {"teslamate", "database", "mosquitto"}
    pastes = [tuple(step.command.splitlines()) for step in taken.notes if step.command]
    assert pastes == [
        ("    ports:", '      - "5432:5432"', "docker compose up -d database"),
        ("    ports:", '      - "1883:1883"', "docker compose up -d mosquitto"),
    ]


@pytest.mark.parametrize(
    ("ports", "port", "told"),
    [
        ('["5433:5432"]', "5433", None),
        ('["127.0.0.1:5433:5432"]', "5433", "127.0.0.1 alone"),
        ('["[::1]:5433:5432"]', "5433", "::1 alone"),
        ('["192.168.1.5:5433:5432/tcp"]', "5433", None),
        ("[{target: 5432, published: '5433'}]", "5433", None),
        ('["5430-5434:5430-5434"]', "5432", None),
        ('["${DB_PORT:-5439}:5432"]', "5439", None),
        ('["5432"]', "5432", "is not published"),
        ('["5432:5432/udp"]', "5432", "is not published"),
        ('["nonsense", 5, null, "9:8:7:6"]', "5432", "is not published"),
    ],
)
def test_published_port(tmp_path: Path, ports: str, port: str, told: str | None) -> None:
    text = DOCUMENTED.replace("image: postgres:18-trixie", f"image: postgres:18\n    ports: {ports}")
    taken = take_over(read_compose(compose(tmp_path, text)))
    assert {setting.name: text for setting, text, _ in taken.found}["database.port"] == port
    notes = [step.words for step in taken.notes if "service database" in step.words]
    assert [told in note for note in notes if told] == [True] * bool(told)
    assert bool(notes) is bool(told)


def test_other_style_with_env_file_merge_and_a_database_elsewhere(tmp_path: Path) -> None:
    path = compose(
        tmp_path, OTHER_STYLE, "DB_HOST=192.168.1.7\nENCRYPTION_KEY=handed-SECRET\n", tm_env="MQTT_USERNAME=u"
    )
    assert found(path) == {
        "database.name": "83",
        "database.user": "tm",
        "database.host": "192.168.1.7",
        "database.port": "6543",
        "teslamate.encryption_key": "handed-SECRET",
        "mqtt.username": "u",
        "mqtt.port": "8883",
        "mqtt.tls": "true",
        "mqtt.namespace": "home",
    }


def test_override_file_is_read_too(tmp_path: Path) -> None:
    path = compose(tmp_path, DOCUMENTED)
    (tmp_path / "docker-compose.override.yml").write_text(
        "services: {database: {ports: !override ['6000:5432']}, teslamate: {environment: {DATABASE_USER: other}}}"
    )
    assert (found(path)["database.port"], found(path)["database.user"]) == ("6000", "other")


def test_host_network_needs_no_published_port(tmp_path: Path) -> None:
    text = DOCUMENTED.replace("image: postgres:18-trixie", "image: postgres:18\n    network_mode: host")
    compose_file = read_compose(compose(tmp_path, text))
    assert compose_file.services[1].port(5432) == Port(5432, 5432, "")
    assert not [step for step in take_over(compose_file).notes if "service database" in step.words]


def test_missing_env_file_is_told(tmp_path: Path) -> None:
    text = DOCUMENTED.replace("restart: always", "env_file: gone.env")
    warnings = read_compose(compose(tmp_path, text)).warnings
    assert ["gone.env" in warning.message for warning in warnings] == [True]
