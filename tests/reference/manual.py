"""The manual pages, made from the commands, the settings table and the pages in docs/reference.

Source: man-pages(7), groff_man(7).
"""

import re
from collections.abc import Iterable
from pathlib import Path

from tests.reference.commands import Command, commands
from tests.reference.pages import (
    COMMON,
    MADE,
    ROOT,
    default_of,
    is_first_state,
    shown_name,
    told_of,
)
from tmsync.core.config.schema import SECTIONS, SETTINGS, TITLES, Setting, allowed
from tmsync.core.errors import ExitCode

FOLDER = ROOT / "man"
ABOUT = "TeslaMate's tokens and telemetry for TWCManager"


def manuals() -> dict[Path, str]:
    """File -> content."""
    itself, *others = commands()
    pages = {"man1/tmsync.1": overview(itself, others), "man5/tmsync.toml.5": settings()}
    pages |= {f"man1/tmsync-{one.name}.1": command_page(one) for one in others}
    return {FOLDER / name: text for name, text in pages.items()}


def overview(itself: Command, others: list[Command]) -> str:
    parts = [
        title("TMSYNC", 1), section("NAME"), f"tmsync \\- {plain(ABOUT)}\n",
        section("SYNOPSIS"), ".B tmsync\n[\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]\n",
        section("DESCRIPTION"), paragraphs(itself.paragraphs),
        section("COMMANDS"), *(tagged(bold(f"tmsync-{one.name}") + "(1)", f"{one.help}.") for one in others),
        section("OPTIONS"), *options(itself, with_common=True),
        section("FILES"), tagged(italic("~/.config/tmsync/config.toml"), "The configuration, tmsync.toml(5)."),
        tagged(italic("/etc/tmsync/config.toml"), "The same, where there is no other."),
        exit_status(), examples(itself.examples),
        see_also(["tmsync.toml(5)", *(f"tmsync-{one.name}(1)" for one in others)]),
    ]  # fmt: skip
    return "".join(parts)


def command_page(command: Command) -> str:
    parts = [
        title(f"TMSYNC-{command.name.upper()}", 1), section("NAME"),
        f"tmsync\\-{plain(command.name)} \\- {plain(command.help)}\n",
        section("SYNOPSIS"), f".B tmsync {plain(command.name)}\n[\\fIOPTIONS\\fR]\n",
        section("DESCRIPTION"), paragraphs(command.paragraphs),
        section("OPTIONS"), *options(command),
        exit_status(), examples(command.examples), see_also(["tmsync(1)", "tmsync.toml(5)"]),
    ]  # fmt: skip
    return "".join(parts)


def settings() -> str:
    """tmsync.toml(5): what stands before the tables in docs/reference/settings.md, and every setting."""
    before = MADE.split((ROOT / "docs" / "reference" / "settings.md").read_text("utf-8"))[0]
    _, _, prose = before.partition("\n")
    parts = [
        title("TMSYNC.TOML", 5), section("NAME"), "tmsync.toml \\- configuration of tmsync(1)\n",
        section("DESCRIPTION"), from_markdown(prose),
    ]  # fmt: skip
    for name in SECTIONS:
        parts.append(section(f"[{name}]") + f"{plain(TITLES[name])}.\n")
        parts += [setting(one) for one in SETTINGS if one.section == name and is_first_state(one)]
    return "".join([*parts, see_also(["tmsync(1)"])])


def setting(one: Setting) -> str:
    facts = [f"{one.help}.", f"Takes {allowed(one)}."]
    facts += [f"Default: {default_of(one)}."] * bool(default_of(one))
    facts += [f"Flag: {one.flag}."] * bool(one.flag)
    elsewhere = [f"{one.twc} in TWCManager's config.json"] * bool(one.twc) + [one.libpq] * bool(one.libpq)
    facts += [f"Also from {' and '.join(elsewhere)}."] * bool(elsewhere)
    return tagged(bold(shown_name(one).partition(".")[2]), " ".join(facts))


# -- roff


def title(name: str, number: int) -> str:
    head = ".\\\" Made from the program's own options by `make completions`."
    return f'{head}\n.TH "{name}" {number} "" "tmsync" "tmsync"\n.nh\n.ad l\n'


def section(name: str) -> str:
    return f'.SH "{plain(name)}"\n'


def paragraphs(texts: Iterable[str]) -> str:
    return ".PP\n".join(f"{plain(text)}\n" for text in texts)


def options(command: Command, *, with_common: bool = False) -> Iterable[str]:
    for head, found in command.panels.items():
        if head == COMMON and not with_common:
            yield ".PP\n\\fB\\-\\-config\\fR, \\fB\\-\\-verbose\\fR and \\fB\\-\\-quiet\\fR: see tmsync(1).\n"
            continue
        yield f'.SS "{plain(head)}"\n'
        for one in found:
            names = ", ".join(map(bold, one.names)) + (f" {italic(one.metavar)}" if one.takes_value else "")
            yield tagged(names, f"{one.help}.")


def exit_status() -> str:
    told = told_of(ExitCode)
    return section("EXIT STATUS") + "".join(
        tagged(bold(str(code.value)), told[code.name].replace("`", "")) for code in ExitCode
    )


def examples(lines: Iterable[str]) -> str:
    return section("EXAMPLES") + ".EX\n" + "".join(f"{plain(line)}\n" for line in lines) + ".EE\n"


def see_also(names: Iterable[str]) -> str:
    return section("SEE ALSO") + ", ".join(bold(name[:-3]) + name[-3:] for name in names) + "\n"


def tagged(tag: str, text: str) -> str:
    return f".TP\n{tag}\n{plain(text)}\n"


def bold(text: str) -> str:
    return f"\\fB{plain(text)}\\fR"


def italic(text: str) -> str:
    return f"\\fI{plain(text)}\\fR"


def plain(text: str) -> str:
    """Text in which nothing is a request or an escape."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("~", "\\(ti")
    return re.sub(r"^([.'])", r"\\&\1", text)


def from_markdown(text: str) -> str:
    """Paragraphs, lists, code and links; nothing else stands in what is taken over."""
    blocks = []
    for block in re.split(r"\n\s*\n|\n(?=- )", text.strip()):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(block.removeprefix("- ").split()))
        marked = "".join(bold(piece) if index % 2 else plain(piece) for index, piece in enumerate(re.split("`", words)))
        blocks.append((".IP \\(bu 2\n" if block.startswith("- ") else ".PP\n") + marked + "\n")
    return "".join(blocks).removeprefix(".PP\n")
