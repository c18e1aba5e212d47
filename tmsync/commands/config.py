"""`tmsync config`."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from tmsync.commands import output
from tmsync.commands.globals import Globals
from tmsync.commands.options import Json
from tmsync.core.config.survey import survey


class Format(StrEnum):
    """How the result is printed."""

    TABLE = "table"
    JSON = "json"


def config(
    ctx: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Defaults, too.")] = False,
    fmt: Annotated[Format, typer.Option("--format", help="How to print the result.")] = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Show what is set, its value and where it came from, and what is missing for which command.

    Contacts nothing, and shows no secret: only whether it is set.

    Example: tmsync config

    Example: tmsync --config /etc/tmsync/config.toml config --all --json
    """
    options: Globals = ctx.obj
    found = survey(options.settings({}), with_defaults=everything)
    if as_json or fmt is Format.JSON:
        from tmsync.render.document import document

        output.result(document("config", found.as_json()))
    else:
        from tmsync.render.config import render
        from tmsync.render.console import console

        output.result(render(found, console(sys.stdout)))
    for warning in found.warnings:
        output.problem(warning, "warning")
