"""The suite on the oldest and on the newest versions of what tmsync needs that pyproject.toml allows.

`python -m tests.versions oldest|newest [PYTEST ARGUMENTS]`, `make test-versions` for both: each in an environment
of its own, `.venv-oldest` and `.venv-newest`, so that the one for development stays as it is.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
LOWER_BOUND: Final = re.compile(r"([A-Za-z0-9._-]+)>=([0-9.]+)")
ENDS: Final = ("oldest", "newest")


def lower_bounds() -> dict[str, str]:
    """Package -> the oldest version allowed, of everything tmsync needs at run time."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    found = [LOWER_BOUND.fullmatch(requirement) for requirement in project["dependencies"]]
    assert all(found), f"no plain lower bound: {project['dependencies']}"
    return {match[1]: match[2] for match in found if match}


def install(end: str) -> Path:
    """Make the environment anew; its Python."""
    folder = ROOT / f".venv-{end}"
    python = folder / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
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
    return subprocess.run(
        [python, "-c", ask, *lower_bounds()], check=True, capture_output=True, text=True
    ).stdout.strip()


def main() -> int:
    end, arguments = sys.argv[1], sys.argv[2:]
    assert end in ENDS, f"one of {', '.join(ENDS)}"
    print(f"Installing the {end} versions allowed into .venv-{end} ...", flush=True)
    python = install(end)
    print(f"{end}: {installed(python)}", flush=True)
    return subprocess.run([python, "-m", "pytest", *arguments], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
