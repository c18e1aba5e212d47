"""What tmsync is made of: the lock for development, known holes in it, and the licences of what it needs at run time.

`python -m tests.supply lock` writes tests/requirements-dev.lock from what is installed in .venv (`make lock`);
`... audit` asks for known holes in it (`make audit`). The lock stands in tests/, since only those who work on it want
it: `pip install -c tests/requirements-dev.lock -e '.[dev]'`. Whoever installs tmsync gets the bounds of pyproject.toml.

Source: pip documentation, "Constraints Files"; Core metadata specifications, License-Expression and License.
"""

import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "reference" / "licences.md"
LOCK: Final = ROOT / "tests" / "requirements-dev.lock"
HEAD: Final = "# Made by `make lock` (Linux, Python 3.11): what tmsync was last developed and tested with.\n"
PINNED: Final = re.compile(r"([A-Za-z0-9._-]+)==(\S+)")
TABLE: Final = re.compile(r"(?s)(<!-- licences -->\n).*?(<!-- end of licences -->)")
FAMILIES: Final = ("MIT-0", "MIT", "BSD", "Apache", "LGPL", "EPL", "ISC", "PSF", "MPL")
"""Each leaves everybody free to use tmsync with it. A dependency under anything else wants a decision first."""
AUDIT_S: Final = 120


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def run_time() -> list[str]:
    """Every package that comes with tmsync, whatever brings it, as installed here."""
    from packaging.requirements import Requirement

    found: set[str] = set()
    left = ["tmsync"]
    while left:
        for text in importlib.metadata.requires(left.pop()) or []:
            wanted = Requirement(text)
            name = normal(wanted.name)
            needed = wanted.marker is None or any(wanted.marker.evaluate({"extra": one}) for one in ("", "serve"))
            if needed and name not in found:
                found.add(name)
                left.append(name)
    return sorted(found)


def licence(name: str) -> str:
    """By the package's own metadata."""
    about = importlib.metadata.metadata(name)
    named = about.get("License-Expression") or about.get("License") or ""
    if not named or len(named) > 40:
        trove = [one for one in about.get_all("Classifier") or [] if one.startswith("License ::")]
        named = trove[0].rpartition(":: ")[2] if trove else "unknown"
    return named.removesuffix(" License")


def licences() -> str:
    """The table in docs/reference/licences.md."""
    rows = [f"| {name} | {licence(name)} |" for name in run_time()]
    return "\n".join(["| package | licence |", "|---|---|", *rows]) + "\n"


def pins(text: str) -> dict[str, str]:
    """Package -> version, of a lock."""
    return {normal(found[1]): found[2] for found in map(PINNED.fullmatch, text.splitlines()) if found}


def lock() -> int:
    """Write the lock, and the table of licences."""
    freeze = [sys.executable, "-m", "pip", "--disable-pip-version-check", "freeze", "--exclude-editable"]
    told = subprocess.run(freeze, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    LOCK.write_text(HEAD + "".join(f"{name}=={version}\n" for name, version in sorted(pins(told).items())), "utf-8")
    text = PAGE.read_text("utf-8")
    PAGE.write_text(TABLE.sub(lambda found: found[1] + licences() + found[2], text), "utf-8")
    print(f"written: {LOCK.relative_to(ROOT)}, and {PAGE.relative_to(ROOT)}")
    return 0


def audit() -> int:
    """Ask for known holes: 1 when there are some, 0 when there are none, or when nobody can be asked."""
    from tests.versions import lower_bounds

    oldest = "".join(f"{name}=={version}\n" for name, version in lower_bounds().items())
    code = 0
    for what, text in (("locked", LOCK.read_text("utf-8")), ("the oldest allowed", oldest)):
        try:
            told = _ask(text)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            print(f"audit: nothing was audited: pip-audit cannot be had or cannot ask ({type(error).__name__})")
            break
        code = max(code, report(told, what))
    print(f"audit: unknown to it: holes nobody has published, Debian's packages, C libraries in wheels: {bundled()}")
    return code


def bundled() -> str:
    """The C libraries that wheels bring along, which have holes, and versions, of their own."""
    import psycopg2
    import yaml
    from cryptography.hazmat.backends.openssl.backend import backend

    libpq = psycopg2.extensions.libpq_version()
    found = {
        "libpq (and an OpenSSL) in psycopg2-binary": f"{libpq // 10000}.{libpq % 10000}",
        "OpenSSL in cryptography": backend.openssl_version_text().split()[1],
        "libyaml in PyYAML": yaml._yaml.get_version_string() if yaml.__with_libyaml__ else "none",
    }
    return ", ".join(f"{name} {version}" for name, version in found.items())


def report(told: dict[str, Any], what: str) -> int:
    """Tell what pip-audit found. what: which versions it was asked for."""
    known = told.get("dependencies", [])
    asked = [one for one in known if "skip_reason" not in one]
    holes = [(one, hole) for one in asked for hole in one.get("vulns", [])]
    for one, hole in holes:
        fixed = ", ".join(hole.get("fix_versions") or ["none yet"])
        print(f"audit: {one['name']} {one['version']} ({what}): {hole['id']}, fixed in {fixed}")
    if not asked:
        print(f"audit: nothing was audited: the service that knows of holes cannot be asked ({len(known)} packages)")
    elif not holes:
        print(
            f"audit: no known hole in {len(asked)} packages ({what}), {len(known) - len(asked)} could not be asked for"
        )
    return 1 if holes else 0


def _ask(pinned: str) -> dict[str, Any]:
    folder = ROOT / ".venv-audit"
    tool = folder / "bin" / "pip-audit"
    if not tool.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "pip-audit"]
        subprocess.run(pip, check=True, timeout=AUDIT_S, stderr=subprocess.DEVNULL)
    # Nothing is resolved or installed: every package is named.
    options = ["--format", "json", "--progress-spinner", "off", "--no-deps", "--disable-pip", "--timeout", "10"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(pinned)
        file.flush()
        done = subprocess.run([tool, *options, "-r", file.name], capture_output=True, text=True, timeout=AUDIT_S)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> int:
    return {"lock": lock, "audit": audit}[sys.argv[1]]()


if __name__ == "__main__":
    sys.exit(main())
