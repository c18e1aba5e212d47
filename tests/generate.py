"""Writes what is made from the program itself: completions/ and the help texts in README.md.

`python -m tests.generate` writes them, `make completions` for short; a test fails when they are out of date.
"""

import re
from pathlib import Path

from tests.completion_scripts import SCRIPTS
from tests.support.surroundings import tmsync
from tmsync.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
HELP = re.compile(r"(?s)(<!-- help: ([a-z-]*) -->\n```text\n)(?:(?!<!-- ).)*?(\n```\n<!-- end of help -->)")


def completions() -> dict[Path, str]:
    """File -> content."""
    return {ROOT / "completions" / name: make() for name, make in SCRIPTS.items()}


def readme() -> str:
    """README.md with every help text as the program prints it now."""
    return HELP.sub(lambda found: found[1] + help_of(found[2]) + found[3], README.read_text("utf-8"))


def help_of(command: str) -> str:
    arguments = [*([command] if command else []), "--help"]
    lines = tmsync(*arguments, environ={"COLUMNS": "100"}).out.splitlines()
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def documented() -> set[str]:
    """The commands whose help stands in README.md; "" is tmsync itself."""
    return {found[2] for found in HELP.finditer(README.read_text("utf-8"))}


def main() -> None:
    for path, text in completions().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    README.write_text(readme(), "utf-8")
    print(f"written: {', '.join(SCRIPTS)}, and the help of {len(COMMANDS) + 1} commands in README.md")


if __name__ == "__main__":
    main()
