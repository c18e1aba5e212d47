"""Writes what is made from the program itself: completions/, man/, packaging/config.toml, serve's units, and in the
documents all that repeats the code.

`python -m tests.generate` writes them, `make completions` for short; a test fails when they are out of date.
"""

from pathlib import Path

from tests.completion_scripts import SCRIPTS
from tests.reference.manual import manuals
from tests.reference.pages import ROOT, filled, pages
from tests.reference.sample import PATH, sample
from tmsync.commands.serving import USUAL
from tmsync.core.config.load import load_settings
from tmsync.core.setup.schedule import SYSTEM
from tmsync.core.setup.units import UnitPlace
from tmsync.core.setup.units import units as made


def documents() -> dict[Path, str]:
    """Every document that holds something made; file -> content."""
    texts = {path: path.read_text("utf-8") for path in pages()}
    return {path: filled(text) for path, text in texts.items() if "<!-- made: " in text}


def completions() -> dict[Path, str]:
    """File -> content."""
    return {ROOT / "completions" / name: make() for name, make in SCRIPTS.items()}


def units() -> dict[Path, str]:
    """serve's, as the Debian package has them; file -> content."""
    serve = load_settings(environ={"TMSYNC_SERVE_LISTEN": USUAL, "HOME": "/nonexistent"}).serve()
    place = UnitPlace("twcmanager", "/usr/bin/tmsync", SYSTEM, Path("/etc/twcmanager"), serve)
    return {ROOT / "packaging" / "systemd" / name: text for name, text in made(place).items()}


def everything() -> dict[Path, str]:
    """File -> content."""
    return completions() | documents() | manuals() | units() | {PATH: sample()}


def main() -> None:
    for path, text in everything().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        print(f"written: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
