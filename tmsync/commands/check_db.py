"""`tmsync check-db`."""

import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

from tmsync.commands import output
from tmsync.commands.globals import Globals
from tmsync.commands.options import DbHost, DbName, DbPort, DbUser, Json, Ssl, Timeout, TwcConfigFile, database_flags
from tmsync.core.config.settings import Settings
from tmsync.core.errors import ConfigError
from tmsync.core.postgres.checks import Diagnosis
from tmsync.core.postgres.doctor import diagnose
from tmsync.render.document import document
from tmsync.system import SystemClock


class Format(StrEnum):
    """How the result is printed."""

    TABLE = "table"
    JSON = "json"


def check_db(
    ctx: typer.Context,
    host: DbHost = None,
    port: DbPort = None,
    name: DbName = None,
    user: DbUser = None,
    sslmode: Ssl = None,
    timeout: Timeout = None,
    twc_config: TwcConfigFile = None,
    fmt: Annotated[Format, typer.Option("--format", help="How to print the result.")] = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Say why this host cannot read TeslaMate's database, and how to mend it.

    Eleven checks, from the configuration up to the token's expiry; the first that fails is explained.

    Example: tmsync check-db --db-host 192.168.1.5
    """
    options: Globals = ctx.obj
    flags = database_flags(host=host, port=port, name=name, user=user, ssl=sslmode, timeout=timeout)
    settings: Settings | ConfigError
    try:
        settings = options.settings({**flags, "twcmanager.config_file": twc_config})
    except ConfigError as error:
        settings = error
    found = diagnose(settings, clock=SystemClock(), environ=os.environ)
    _show(found, as_json=as_json or fmt is Format.JSON, quiet=options.quiet)
    raise typer.Exit(found.exit_code)


def _show(found: Diagnosis, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        output.result(document("check-db", found.as_json()))
        return
    from tmsync.render.check_db import render
    from tmsync.render.console import console

    output.result(render(found, console(sys.stdout), quiet=quiet))
