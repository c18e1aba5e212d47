"""Writes what is made from the program itself: completions/, man/, packaging/config.toml, and in the
documents all that repeats the code.

`python -m tests.generate` writes them, `make completions` for short; a test fails when they are out of date.
"""

from pathlib import Path

from tests.completion_scripts import SCRIPTS
from tests.reference.manual import manuals
from tests.reference.pages import ROOT, filled, pages
from tests.reference.sample import PATH, sample


def documents() -> dict[Path, str]:
    """Every document that holds something made; file -> content."""
    texts = {path: path.read_text("utf-8") for path in pages()}
    return {path: filled(text) for path, text in texts.items() if "<!-- made: " in text}


def completions() -> dict[Path, str]:
    """File -> content."""
    return {ROOT / "completions" / name: make() for name, make in SCRIPTS.items()}


def everything() -> dict[Path, str]:
    """File -> content."""
    return completions() | documents() | manuals() | {PATH: sample()}


def main() -> None:
    for path, text in everything().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        print(f"written: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
