"""The suite on the oldest and on the newest versions of what tmsync needs that pyproject.toml allows, and on Debian's.

`python -m tests.versions oldest|newest|debian [PYTEST ARGUMENTS]`, `make test-versions` for all: each in an environment
of its own, `.venv-oldest` and so on, so that the one for development stays as it is. Debian's is made as on a 32-bit
machine, with its python3-psycopg2, python3-cryptography and python3-yaml; aiohttp is without parts in C, as in the
Debian package.
"""

import os
import platform
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

from packaging.markers import Marker

ROOT: Final = Path(__file__).resolve().parent.parent
PROJECT: Final = ROOT / "pyproject.toml"
LOWER_BOUND: Final = re.compile(r"([A-Za-z0-9._-]+)>=([0-9.]+)(,<[0-9.]+)?(; .*)?")
ENDS: Final = ("oldest", "newest", "debian")
DEBIAN: Final = ("/usr/bin/setarch", "i686", "/usr/bin/python3")
"""Debian's own Python, on a machine that says it has 32 bits."""


def lower_bounds(machine: str = platform.machine()) -> dict[str, str]:
    """Package -> the oldest version allowed on such a machine, of everything that comes with `tmsync[serve]`."""
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    bounds = {}
    for requirement in (*project["dependencies"], *project["optional-dependencies"]["serve"]):
        read = LOWER_BOUND.fullmatch(requirement)
        assert read, f"no plain lower bound: {requirement}"
        if read[4] is None or Marker(read[4].removeprefix("; ")).evaluate({"platform_machine": machine}):
            bounds[read[1]] = read[2]
    return bounds


def install(end: str) -> Path:
    """Make the environment anew; its Python."""
    folder = ROOT / f".venv-{end}"
    python = folder / "bin" / "python"
    if end == "debian":
        subprocess.run([*DEBIAN, "-m", "venv", "--clear", "--system-site-packages", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        pure = runpy.run_path(str(ROOT / "packaging" / "deb.py"))["PURE"]
        environ = os.environ | {f"{name.upper()}_NO_EXTENSIONS": "1" for name in pure}
        own = [*DEBIAN[:2], *pip, "--no-binary", ",".join(pure), "--editable", ".[serve]"]
        subprocess.run(own, check=True, cwd=ROOT, env=environ)
        # The tools have their own needs, of the machine as it is.
        tools = tomllib.loads(PROJECT.read_text("utf-8"))["project"]["optional-dependencies"]["dev"]
        subprocess.run([*pip, *(one for one in tools if not one.startswith("tmsync"))], check=True, cwd=ROOT)
        subprocess.run([python, "-m", "tests.support.bring"], check=True, cwd=ROOT)
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    oldest = [f"{name}=={version}" for name, version in lower_bounds().items()]
    if end == "oldest":
        # Alone first: it shows that the lower bounds can be installed together.
        subprocess.run([*pip, "--editable", ".", *oldest], check=True, cwd=ROOT)
    subprocess.run([*pip, "--upgrade", "--upgrade-strategy", "eager", "--editable", ".[dev]"], check=True, cwd=ROOT)
    if end == "oldest":
        # The demo's own needs may lie above; they are tried with these all the same.
        subprocess.run([*pip, "--no-deps", *oldest], check=True, cwd=ROOT)
    return python


def installed(python: Path) -> str:
    """What is tried, in words."""
    ask = "import importlib.metadata as m, sys; print(*(f'{n} {m.version(n)}' for n in sys.argv[1:]), sep=', ')"
    names = lower_bounds("i686" if python.parts[-3] == ".venv-debian" else platform.machine())
    return subprocess.run([python, "-c", ask, *names], check=True, capture_output=True, text=True).stdout.strip()


def main() -> int:
    end, arguments = sys.argv[1], sys.argv[2:]
    assert end in ENDS, f"one of {', '.join(ENDS)}"
    if end == "debian" and not list(Path("/usr/lib/python3/dist-packages").glob("psycopg2")):
        print("debian: skipped: it needs sudo apt-get install python3-psycopg2 python3-cryptography python3-yaml")
        return 0
    print(f"Installing the {end} versions allowed into .venv-{end} ...", flush=True)
    python = install(end)
    print(f"{end}: {installed(python)}", flush=True)
    return subprocess.run([python, "-m", "pytest", *arguments], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
