"""What init reads from a compose project is what Docker Compose itself makes of it, over some 400 forms."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.setup.compose_forms import ANSWERS, ask, find_compose_program, forms, write
from tmsync.core.errors import ConfigError
from tmsync.core.setup.compose import read_compose

FORMS = list(forms())
RECORDED: list[Any] = json.loads(ANSWERS.read_text())


def ours(project: dict[str, str], folder: Path) -> Any:
    """As `ask` tells Docker Compose's answer; None where the project is refused, or a value of it."""
    write(project, folder)
    try:
        compose = read_compose(folder)
    except ConfigError:
        return None
    if compose.warnings:
        return None
    return {
        service.name: {
            "image": service.image,
            "environment": {name: value.text for name, value in service.environment.items() if not value.absent},
            "ports": sorted(([port.target, port.published, port.address] for port in service.ports), key=str),
        }
        for service in compose.services
    }


def test_every_form_has_its_recorded_answer() -> None:
    assert len(FORMS) == len(RECORDED)
    assert len(FORMS) > 300
    assert sum(".env" in one or "e.env" in one for one in FORMS) > 150


@pytest.mark.parametrize("number", range(len(FORMS)))
def test_recorded_answer(number: int, tmp_path: Path) -> None:
    assert ours(FORMS[number], tmp_path) == RECORDED[number], FORMS[number]


@pytest.mark.slow
def test_recorded_answers_are_those_of_docker_compose() -> None:
    program = find_compose_program()
    if program is None:
        pytest.skip("no Docker Compose of the recorded version here (make .venv/brought)")
    for project, recorded in zip(FORMS, RECORDED, strict=True):
        assert ask(program, project) == recorded, project


def test_docker_compose_itself_is_the_reader_where_it_is_at_hand(tmp_path: Path) -> None:
    """A `docker` that has the plugin; it alone knows what the project of a Git repository holds."""
    program = find_compose_program()
    if program is None:
        pytest.skip("no Docker Compose here (make .venv/brought)")
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(f'#!/bin/sh\n[ "$1" = compose ] && shift && echo "$@" >{tmp_path}/asked && exec {program} "$@"\n')
    docker.chmod(0o755)
    project = {
        "compose.yaml": "services:\n  a:\n    image: x/y\n    environment: {P: '${P}', Q: '${Q:-d}', D: a$$b, N: }\n"
        "    configs: [c]\nconfigs: {c: {content: z}}\n",
        ".env": "P='$x'\n",
    }
    write(project, tmp_path)
    environ = {"PATH": f"{docker.parent}:/usr/bin:/bin", "HOME": str(tmp_path), "N": "from-the-shell"}
    compose = read_compose(tmp_path, environ)
    assert (tmp_path / "asked").read_text() == "config\n"
    [service] = compose.services
    assert {name: value.text for name, value in service.environment.items()} == {
        "P": "$x", "Q": "d", "D": "a$b", "N": "from-the-shell",
    }  # fmt: skip
    assert service.environment["Q"].defaults == ("Q",)
    # A file by a name of its own is named to it.
    (tmp_path / "mine.yml").write_text(project["compose.yaml"])
    assert read_compose(tmp_path / "mine.yml", environ).services == compose.services
    assert (tmp_path / "asked").read_text() == f"-f {tmp_path / 'mine.yml'} config\n"


@pytest.mark.parametrize(
    "script", ["exit 1", "echo 'services: ['", "echo '- x'", "printf '\\377'", "sleep 100"], ids=str
)
def test_docker_that_gives_no_answer_is_done_without(
    tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmsync.core.setup.compose.DOCKER_LIMIT_S", 0.5)
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(f"#!/bin/sh\n{script}\n")
    docker.chmod(0o755)
    write({"compose.yaml": "services: {a: {environment: [P=own]}}"}, tmp_path)
    [service] = read_compose(tmp_path, {"PATH": f"{docker.parent}:/usr/bin:/bin"}).services
    assert service.value("P") == "own"


def test_resolved_file_of_docker_compose_is_valid_input(tmp_path: Path) -> None:
    """As `docker compose config > all.yml` writes it."""
    text = """name: x
services:
  teslamate:
    environment:
      DATABASE_PASS: a$$b
      ENCRYPTION_KEY: "0123"
      UNSET: null
    image: teslamate/teslamate:latest
    networks:
      default: null
    ports:
      - mode: ingress
        target: 4000
        published: "4001"
        protocol: tcp
networks:
  default:
    name: x_default
"""
    (tmp_path / "all.yml").write_text(text)
    [service] = read_compose(tmp_path / "all.yml").services
    assert (service.value("DATABASE_PASS"), service.value("ENCRYPTION_KEY")) == ("a$b", "0123")
    port = service.port(4000)
    assert port is not None
    assert port.published == 4001
