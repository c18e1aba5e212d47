"""`tmsync check-db`."""

import os
import sys
from typing import Annotated

import typer

from tmsync.commands import output
from tmsync.commands.options import Call, Format, takes
from tmsync.commands.values import named
from tmsync.core.check_db.examine import HbaRequest, examine
from tmsync.core.check_db.report import Diagnosis
from tmsync.core.clock import SystemClock
from tmsync.core.config.settings import Settings
from tmsync.core.errors import ConfigError
from tmsync.core.files.paths import expanded
from tmsync.render.document import document

HBA_PANEL = "pg_hba.conf"


@takes("database", "twcmanager.config_file", formats=(Format.TABLE, Format.JSON), usual=Format.TABLE)
def check_db(
    call: Call,
    pg_hba: Annotated[
        str | None,
        typer.Option(
            "--pg-hba",
            metavar="FILE",
            callback=named("a file name"),
            help="Check this pg_hba.conf, too.",
            rich_help_panel=HBA_PANEL,
        ),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Check the file alone; contact nothing.", rich_help_panel=HBA_PANEL)
    ] = False,
    client_address: Annotated[
        str | None,
        typer.Option(
            "--client-address",
            metavar="IP",
            callback=named("an address, or local"),
            help="The client as the server sees it, or local (default this host).",
            rich_help_panel=HBA_PANEL,
        ),
    ] = None,
    client_tls: Annotated[
        bool | None,
        typer.Option(
            "--client-tls/--no-client-tls",
            help="Whether the client uses TLS (default what sslmode tries).",
            rich_help_panel=HBA_PANEL,
        ),
    ] = None,
    member_of: Annotated[
        list[str] | None,
        typer.Option(
            "--member-of",
            metavar="ROLE",
            callback=named("a name"),
            help="A role the user is a member of, for +role entries; may be repeated.",
            rich_help_panel=HBA_PANEL,
        ),
    ] = None,
    apply: Annotated[
        bool,
        typer.Option(
            "--apply", help="Write the line into the file, keep a backup, and reload.", rich_help_panel=HBA_PANEL
        ),
    ] = False,
) -> None:
    """Say why this host cannot read TeslaMate's database, and how to fix it.

    Checks from the configuration up to the token's expiry; the first that fails is explained.

    Example: tmsync check-db --db-host 192.168.1.5

    Example: tmsync check-db --pg-hba pg_hba.conf --offline --client-address 192.168.1.50
    """
    request = _hba_request(pg_hba, offline, client_address, client_tls, member_of, apply)
    settings: Settings | ConfigError
    try:
        settings = call.settings()
    except ConfigError as error:
        settings = error
    found = examine(settings, request, clock=SystemClock(), environ=os.environ)
    _show(found, call)
    raise typer.Exit(found.exit_code)


def _hba_request(
    pg_hba: str | None,
    offline: bool,
    client_address: str | None,
    client_tls: bool | None,
    member_of: list[str] | None,
    apply: bool,
) -> HbaRequest | None:
    if pg_hba is None:
        companions = {
            "--offline": offline,
            "--client-address": client_address,
            "--client-tls": client_tls is not None,
            "--member-of": member_of,
            "--apply": apply,
        }
        given = [flag for flag, value in companions.items() if value]
        if given:
            raise typer.BadParameter(f"{given[0]} goes with --pg-hba FILE")
        return None
    return HbaRequest(expanded(pg_hba), offline, client_address, client_tls, tuple(member_of or ()), apply)


def _show(found: Diagnosis, call: Call) -> None:
    if call.form is Format.JSON:
        output.result(document("check-db", found.as_json()))
        return
    from tmsync.render.check_db import render
    from tmsync.render.console import console

    output.result(render(found, console(sys.stdout), quiet=call.quiet))
