"""Writes what is made from the program itself: completions/, and in README.md the help texts and the settings.

`python -m tests.generate` writes them, `make completions` for short; a test fails when they are out of date.
"""

import re
from pathlib import Path

from tests.completion_scripts import SCRIPTS
from tests.support.surroundings import tmsync
from tmsync.cli import COMMANDS
from tmsync.core.config.kinds import Kind
from tmsync.core.config.schema import HEALTH_GROUPS, SETTINGS, VEHICLE_STATES, Setting

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
HELP = re.compile(r"(?s)(<!-- help: ([a-z-]*) -->\n```text\n)(?:(?!<!-- ).)*?(\n```\n<!-- end of help -->)")

TABLE = re.compile(r"(?s)(<!-- settings -->\n).*?(<!-- end of settings -->)")


def completions() -> dict[Path, str]:
    """File -> content."""
    return {ROOT / "completions" / name: make() for name, make in SCRIPTS.items()}


def readme() -> str:
    """README.md with every help text and every setting as the program has it now."""
    text = TABLE.sub(lambda found: found[1] + settings_table() + found[2], README.read_text("utf-8"))
    return HELP.sub(lambda found: found[1] + help_of(found[2]) + found[3], text)


def settings_table() -> str:
    """Every setting: what it is, its default, and where else it comes from."""
    rows = [
        f"| `{shown_name(one)}` | {one.help}{' (secret)' * one.secret} | {default_of(one)} | {elsewhere(one)} |"
        for one in SETTINGS
        if not one.key.endswith(tuple(f".{state}" for state in VEHICLE_STATES[1:]))
    ]
    return "\n".join(["| setting | what it is | default | also from |", "|---|---|---|---|", *rows, ""])


def shown_name(setting: Setting) -> str:
    return re.sub(rf"({'|'.join(HEALTH_GROUPS)})\.\w+", r"\1.<state>", setting.name)


def default_of(setting: Setting) -> str:
    choices = f" ({', '.join(setting.choices)})" if setting.choices else ""
    if "<state>" in shown_name(setting):
        table = HEALTH_GROUPS[setting.key.partition(".")[0]]
        return ", ".join(f"{state} {seconds}" for state, seconds in table.items()) + ", else 0"
    if setting.otherwise:
        return setting.otherwise + choices
    if setting.default is None:
        return ""
    return (str(setting.default).lower() if setting.kind is Kind.FLAG else str(setting.default) or "empty") + choices


def elsewhere(setting: Setting) -> str:
    """Its flag, its place in TWCManager's config.json, and libpq's variable."""
    return ", ".join(f"`{one}`" for one in (setting.flag, setting.twc, setting.libpq) if one)


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
    print(f"written: {', '.join(SCRIPTS)}, and the settings and the help of {len(COMMANDS) + 1} commands in README.md")


if __name__ == "__main__":
    main()
