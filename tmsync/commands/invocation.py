"""What stands before the command or behind it, and what an error needs to know that comes before the command begins."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeAlias

import typer

from tmsync.commands.values import named

Option: TypeAlias = tuple[Any, Any]
"""An option as Typer takes it: its annotation, and its default."""
EVERYWHERE: Final = "Before the command or behind it"
"""The head of the options that every command takes."""


@dataclass(slots=True)
class Invocation:
    """What is known of a run before its command begins: for errors that come first, and for the command.

    form: the form of output as it was asked for, allowed or not; empty where it was not.
    """

    command: str = ""
    form: str = ""
    config_file: str | None = None
    verbose: bool = False
    quiet: bool = False

    def add(self, config_file: str | None, verbose: bool, quiet: bool) -> None:
        """Take what stands before the command, then what stands behind it."""
        if verbose and not self.verbose:
            from tmsync.commands.verbose import log_to_stderr

            log_to_stderr()
        self.config_file = config_file or self.config_file
        self.verbose |= verbose
        self.quiet |= quiet


ConfigFile = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        callback=named("a file name"),
        help="Configuration file (default ~/.config/tmsync/config.toml).",
        rich_help_panel=EVERYWHERE,
    ),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Tell what happens, on standard error.", rich_help_panel=EVERYWHERE)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.", rich_help_panel=EVERYWHERE)]
COMMON: Final[Mapping[str, Option]] = {
    "config_file": (ConfigFile, None),
    "verbose": (Verbose, False),
    "quiet": (Quiet, False),
}
"""In the order of `Invocation.add`."""
