"""`tmsync config`."""

import sys
from typing import Annotated

import typer

from tmsync.commands import output
from tmsync.commands.options import Call, Format, takes
from tmsync.core.config.survey import survey


@takes(formats=(Format.TABLE, Format.JSON), usual=Format.TABLE)
def config(
    call: Call,
    everything: Annotated[bool, typer.Option("--all", help="Defaults, too.")] = False,
) -> None:
    """Show what is set, its value and where it came from, and what is missing for which command.

    Contacts nothing, and shows no secret: only whether it is set.

    Example: tmsync config

    Example: tmsync --config /etc/tmsync/config.toml config --all --json
    """
    found = survey(call.settings(), with_defaults=everything)
    if call.form is Format.JSON:
        from tmsync.render.document import document

        output.result(document("config", found.as_json()))
    else:
        from tmsync.render.config import render
        from tmsync.render.console import console

        output.result(render(found, console(sys.stdout)))
    for warning in found.warnings:
        output.warning(warning)
