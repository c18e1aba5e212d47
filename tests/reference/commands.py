"""tmsync's commands and their options as Typer has them, for completion scripts, pages and manuals."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import typer

from tmsync.cli import COMMANDS, app
from tmsync.core.config.schema import SETTINGS

FILE_METAVAR = "FILE"
EXAMPLE = "Example: "


class Option(NamedTuple):
    """An option: all its names, what it is for, and what may follow. choices: None where it takes no value."""

    names: tuple[str, ...]
    help: str
    takes_value: bool
    choices: tuple[str, ...] = ()
    is_file: bool = False
    metavar: str = ""
    panel: str = ""
    """The head under which the help shows it."""


class Command(NamedTuple):
    """A command; the first of all, without a name, is tmsync itself."""

    name: str
    paragraphs: tuple[str, ...]
    """What it does; the first is for lists."""
    examples: tuple[str, ...]
    options: tuple[Option, ...]

    @property
    def help(self) -> str:
        """What it does, in a few words without a full stop."""
        return self.paragraphs[0].rstrip(".")

    @property
    def call(self) -> str:
        """How it is called."""
        return f"tmsync {self.name}".strip()

    @property
    def panels(self) -> dict[str, list[Option]]:
        """Its options under their heads, in the order of the help; the negative of a switch stands with it."""
        found: dict[str, list[Option]] = {}
        for option in self.options:
            found.setdefault(option.panel or "Options", []).append(option)
        return found


def commands() -> list[Command]:
    """tmsync itself, and all its commands."""
    group: Any = typer.main.get_command(app)
    return [_command("", group), *(_command(name, group.commands[name]) for name in COMMANDS)]


def _command(name: str, command: Any) -> Command:
    with command.make_context(name or "tmsync", [], resilient_parsing=True) as context:
        options = tuple(_options(command.get_params(context)))
    paragraphs = [" ".join(part.split()) for part in command.help.split("\n\n")]
    examples = tuple(part.removeprefix(EXAMPLE) for part in paragraphs if part.startswith(EXAMPLE))
    return Command(name, tuple(part for part in paragraphs if not part.startswith(EXAMPLE)), examples, options)


def _options(parameters: Any) -> Iterator[Option]:
    for parameter in parameters:
        told, metavar = " ".join((parameter.help or "").split()).rstrip("."), parameter.metavar or ""
        names = tuple(sorted(parameter.opts, key=len, reverse=True))
        panel = getattr(parameter, "rich_help_panel", None) or ""
        choices = _choices(names[0], metavar)
        yield Option(names, told, not parameter.is_flag, choices, metavar == FILE_METAVAR, metavar, panel)
        if parameter.secondary_opts:
            yield Option(tuple(parameter.secondary_opts), f"Not {names[0]}", takes_value=False, panel=panel)


def _choices(name: str, metavar: str) -> tuple[str, ...]:
    """The values that an option may have: those of its setting, or as its help lists them."""
    setting = next((setting for setting in SETTINGS if setting.flag == name), None)
    return setting.choices if setting else tuple(metavar.split("|")) if "|" in metavar else ()
