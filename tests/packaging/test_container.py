"""The image and the service for Docker Compose: as written, and built where buildah is at hand."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.reference.pages import ROOT
from tmsync import __version__
from tmsync.core.config.schema import ENV_PREFIX, SETTINGS

FILE = ROOT / "Containerfile"
MIRRORS = ("/etc/ssl/certs", "/etc/pip.conf", "/root/.config/pip")
"""Where this machine says how packages are reached."""


def instructions() -> list[tuple[str, str]]:
    """(name, rest) of each, continued lines joined."""
    lines = [line for line in FILE.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines())]


def test_image_is_as_it_should_be() -> None:
    told = dict(instructions())
    assert set(told) <= {
        "ARG",
        "FROM",
        "COPY",
        "RUN",
        "LABEL",
        "ENV",
        "USER",
        "VOLUME",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    }
    assert told["USER"] == "10001:10001"
    assert json.loads(told["ENTRYPOINT"]) == ["tini", "--", "tmsync"]
    assert "CMD [" in told["HEALTHCHECK"]
    assert "org.opencontainers.image.licenses" in told["LABEL"]
    assert told["ARG"].endswith("-slim")


def test_everything_that_is_copied_is_there_and_sent() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    for name, rest in instructions():
        if name == "COPY" and "--from" not in rest:
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in ignored


def test_service_for_compose_configures_what_exists() -> None:
    service = yaml.safe_load((ROOT / "packaging" / "compose.yaml").read_text("utf-8"))["services"]["tmsync"]
    variables = {line.partition("=")[0] for line in service["environment"]}
    assert variables <= {setting.env for setting in SETTINGS}
    assert all(variable.startswith(ENV_PREFIX) for variable in variables)
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])


@pytest.fixture
def buildah(tmp_path: Path) -> Iterator[list[str]]:
    if shutil.which("buildah") is None or shutil.which("debootstrap") is None:
        pytest.skip("needs sudo apt-get install buildah debootstrap")
    command = [
        "buildah",
        "--storage-driver",
        "vfs",
        "--root",
        str(tmp_path / "store"),
        "--runroot",
        str(tmp_path / "run"),
    ]
    yield command
    shutil.rmtree(tmp_path / "store", ignore_errors=True)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.root
def test_image_is_built_and_runs(buildah: list[str], tmp_path: Path) -> None:
    """On Debian in place of python:3.13-slim, which no registry need be at hand for."""
    system = tmp_path / "system"
    packages = "--include=python3,python3-venv,ca-certificates"
    run("debootstrap", "--variant=minbase", packages, "bookworm", str(system), "http://deb.debian.org/debian")
    base = run(*buildah, "from", "scratch")
    run(*buildah, "add", "--quiet", base, str(system), "/")
    run(*buildah, "commit", "--quiet", base, "localhost/base")
    volumes = [f"--volume={path}:{path}:ro" for path in MIRRORS if os.path.exists(path)]  # noqa: PTH110
    offline = ["--isolation", "chroot", "--network", "host", "--build-arg", "BASE=localhost/base", *volumes]
    run(*buildah, "bud", "--format", "docker", *offline, "--tag", "tmsync", "--file", str(FILE), str(ROOT))
    about = json.loads(run(*buildah, "inspect", "--type", "image", "tmsync"))["Docker"]["config"]
    assert (about["User"], about["Entrypoint"]) == ("10001:10001", ["tini", "--", "tmsync"])
    assert about["Healthcheck"]["Test"][0] == "CMD"
    container = run(*buildah, "from", "tmsync")
    inside = (*buildah, "run", "--isolation", "chroot", container, "--")
    assert run(*inside, "tini", "--", "tmsync", "--version") == f"tmsync {__version__}"
    assert run(*inside, "id", "-u") == "10001"
    assert run(*inside, "stat", "-c", "%U %a", "/var/lib/tmsync") == "tmsync 700"
