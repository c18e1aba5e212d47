"""The Debian package: built, unpacked and run from there; as root installed, changed, removed and purged."""

import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reference.pages import ROOT
from tests.support.bring import add_to_path
from tmsync import __version__

pytestmark = pytest.mark.slow
SYSTEM = Path("/usr/bin/python3")
CONFIG = Path("/etc/tmsync/config.toml")
NO_HOME = "/proc/nothing"
"""Where not even root can make a folder."""


def run(*command: object, check: bool = True, home: object = NO_HOME) -> "subprocess.CompletedProcess[str]":
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
    }
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environ, cwd="/", timeout=400)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def has_debians_packages() -> bool:
    ask = "import psycopg2, cryptography, yaml"
    return SYSTEM.exists() and not run(SYSTEM, "-I", "-c", ask, check=False).returncode


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("no dpkg-deb at hand")
    folder = tmp_path_factory.mktemp("deb")
    # pip, and what builds wheels for it, want one.
    built = run(sys.executable, ROOT / "packaging" / "deb.py", folder, home=folder)
    return Path(built.stdout.strip())


def test_it_runs_from_where_it_was_unpacked(deb: Path, tmp_path: Path) -> None:
    if not has_debians_packages():
        pytest.skip("needs Debian's python3-psycopg2, python3-cryptography and python3-yaml")
    run("dpkg-deb", "-x", deb, tmp_path)
    python = tmp_path / "usr/lib/tmsync/bin/python3"
    python.unlink()
    python.symlink_to(SYSTEM)
    assert run(python, "-I", "-m", "tmsync", "--version").stdout == f"tmsync {__version__}\n"
    told = run(python, "-I", "-m", "tmsync", "config", "--json", check=False).stdout
    assert '"ok": true' in told
    where = run(
        python, "-I", "-c", "import tmsync, typer, rich, paho.mqtt, psycopg2; print(typer.__file__, psycopg2.__file__)"
    )
    assert where.stdout.split()[0].startswith(str(tmp_path))
    assert where.stdout.split()[1].startswith("/usr/lib/python3/dist-packages/")


def test_what_is_in_it(deb: Path) -> None:
    listed = run("dpkg-deb", "-c", deb).stdout.splitlines()
    files = {line.split()[5].removeprefix("."): line.split()[0] for line in listed}
    assert files["/etc/tmsync/"] == files["/var/lib/tmsync/"] == "drwx------"
    assert files["/etc/tmsync/config.toml"] == "-rw-------"
    for path in (
        "/usr/bin/tmsync", "/usr/share/man/man1/tmsync-check-db.1.gz", "/usr/share/man/man5/tmsync.toml.5.gz",
        "/usr/share/bash-completion/completions/tmsync", "/usr/share/zsh/vendor-completions/_tmsync",
        "/usr/share/fish/vendor_completions.d/tmsync.fish", "/usr/lib/systemd/system/tmsync-sync.timer",
        "/usr/share/doc/tmsync/examples/config.toml", "/usr/share/doc/tmsync/docs/README.md",
    ):  # fmt: skip
        assert path in files, path
    assert not [path for path in files if path.endswith(".so")]
    assert (
        run("dpkg-deb", "-f", deb, "Version", "Architecture").stdout == f"Version: {__version__}\nArchitecture: all\n"
    )


@pytest.fixture
def machine(deb: Path) -> Iterator[Path]:
    """This machine, if it may be used and can be left as it was."""
    if shutil.which("apt-get") is None or run("dpkg", "-s", "tmsync", check=False).returncode == 0 or CONFIG.exists():
        pytest.skip("tmsync is installed on this machine, or no apt-get is")
    there, before = users(), packages()
    if run("apt-get", "install", "-y", "--no-install-recommends", deb, check=False).returncode:
        pytest.skip("Debian's packages cannot be had")
    yield deb
    run("dpkg", "--purge", *(packages() - before), check=False)
    for name in users() - there:
        run("userdel", name)


def users() -> set[str]:
    return {user.pw_name for user in pwd.getpwall()}


def packages() -> set[str]:
    return set(run("dpkg-query", "-W", "-f", "${Package}\\n").stdout.split())


@pytest.mark.root
@pytest.mark.machine
def test_install_configure_upgrade_remove_purge(machine: Path) -> None:
    assert run("tmsync", "--version").stdout == f"tmsync {__version__}\n"
    for path, mode in ((CONFIG, 0o600), (CONFIG.parent, 0o700), (Path("/var/lib/tmsync"), 0o700)):
        assert (path.owner(), stat.S_IMODE(path.stat().st_mode)) == ("twcmanager", mode)
    if shutil.which("systemctl"):
        assert run("systemctl", "is-enabled", "tmsync-sync.timer", check=False).stdout.strip() == "disabled"
    if shutil.which("systemd-analyze"):
        run("systemd-analyze", "verify", "/usr/lib/systemd/system/tmsync-sync.timer")
    as_user = ("runuser", "-u", "twcmanager", "--", "tmsync", "--config", CONFIG)
    assert "lacks" in run(*as_user, "config").stdout

    CONFIG.write_text('[database]\nhost = "127.0.0.1"\nport = 1\npassword = "x"\n')
    assert '"cause": "refused"' in run(*as_user, "sync-tokens", "--json", check=False).stdout
    run("dpkg", "-i", machine)
    assert 'password = "x"' in CONFIG.read_text()
    assert (CONFIG.owner(), stat.S_IMODE(CONFIG.stat().st_mode)) == ("twcmanager", 0o600)

    add_to_path()
    demo = run("tmsync", "demo", "--duration", "5")
    assert demo.stdout.endswith("The servers are stopped and everything is removed.\n")

    run("dpkg", "--remove", "tmsync")
    assert not Path("/usr/lib/tmsync").exists()
    assert CONFIG.exists()
    run("dpkg", "--purge", "tmsync")
    assert not CONFIG.parent.exists()
    assert not Path("/var/lib/tmsync").exists()
