"""`tmsync init`."""

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from tmsync import signals
from tmsync.commands import asking, output
from tmsync.commands.options import Call, takes
from tmsync.commands.values import named
from tmsync.core.causes import Cause
from tmsync.core.clock import SystemClock
from tmsync.core.config.schema import Setting
from tmsync.core.config.settings import Settings
from tmsync.core.errors import ConfigError, ExitCode
from tmsync.core.files.paths import expanded, is_file
from tmsync.core.fixes import problem
from tmsync.render.text import printable

INTRODUCTION: Final = """\
init asks for what tmsync needs, tries every answer at once, and in the end writes {path}.
Enter takes what stands in brackets. Ctrl-C ends it at any time, and writes nothing.
"""


@takes("database", "mqtt", "twcmanager", "serve", ends_with=signals.INTERRUPTED)
def init(
    call: Call,
    from_twcmanager: Annotated[
        str | None,
        typer.Option(
            "--from-twcmanager",
            metavar="FILE",
            callback=named("a file name"),
            help="Take over TWCManager's config.json (default /etc/twcmanager/config.json, if it exists).",
        ),
    ] = None,
    from_compose: Annotated[
        str | None,
        typer.Option(
            "--from-compose",
            metavar="FILE",
            callback=named("a file name"),
            help="Take over TeslaMate's docker-compose.yml, and the .env beside it.",
        ),
    ] = None,
    compose_service: Annotated[
        str,
        typer.Option("--compose-service", metavar="NAME", help="Which service of it is TeslaMate, where several are."),
    ] = "",
    output_file: Annotated[
        str | None,
        typer.Option(
            "--output",
            metavar="FILE",
            callback=named("a file name"),
            help="Write here (default ~/.config/tmsync/config.toml).",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file; keep it as a backup.")] = False,
    non_interactive: Annotated[
        bool,
        typer.Option(
            "--non-interactive", help="Ask nothing: flags, files and TMSYNC_... variables say it all (secrets, too)."
        ),
    ] = False,
) -> None:
    """Set tmsync up: take over what TWCManager's and TeslaMate's files say, ask for the rest, try every answer.

    Writes a private TOML file (mode 0600), then runs check-db. Secrets are asked for, or come from the environment.

    Example: tmsync init

    Example: tmsync init --from-compose docker-compose.yml

    Example: TMSYNC_DATABASE_PASSWORD_FILE=/run/secrets/db tmsync init --non-interactive --db-host 192.168.1.5
    """
    from tmsync.commands.at_hand import read_taken, which
    from tmsync.commands.interview import Interview, Sources
    from tmsync.commands.serving import offer, take_over_proxy
    from tmsync.core.setup.takeover import Taken
    from tmsync.core.setup.write import default_output, refuse_existing, sweep_leftovers

    path = expanded(output_file or call.config_file or default_output(os.environ)).absolute()
    sweep_leftovers(path)
    if not force:
        refuse_existing(path)
    if not (non_interactive or asking.is_possible()):
        message = "init asks questions, and nobody is there to answer: standard input or standard error is no terminal"
        raise ConfigError(problem(Cause.USAGE, message, variant="no-terminal"))
    flags = _flags(call, from_twcmanager)
    compose = expanded(from_compose) if from_compose else None
    if non_interactive:
        taken = read_taken(compose, os.environ, compose_service) if compose else Taken()
        interview = Interview(Sources(os.environ, flags, taken), SystemClock())
        if not call.quiet:
            interview.tell_taken()
        take_over_proxy(interview)
        code = _write(interview.settings, interview.sources.environ, path, force=force)
        raise typer.Exit(code)
    try:
        asking.say(INTRODUCTION.format(path=printable(str(path))))
        taken = read_taken(compose, os.environ, compose_service, which) if compose else Taken()
        interview = Interview(Sources(os.environ, flags, taken, _present(path), compose_service), SystemClock())
        if compose is None:
            interview.compose()
        interview.twcmanagers_file()
        interview.review()
        interview.twcmanager()
        interview.database()
        interview.broker()
        offer(interview)
        take_over_proxy(interview)
        _confirm(interview.kept, path)
    except (KeyboardInterrupt, asking.EndOfAnswers) as ended:
        asking.say("\ntmsync: nothing was written")
        if isinstance(ended, KeyboardInterrupt):
            raise
        raise typer.Exit(ExitCode.PROBLEM) from None
    raise typer.Exit(_write(interview.settings, interview.sources.environ, path, force=force))


def _present(path: Path) -> tuple[tuple[Setting, str, str], ...]:
    """What the configuration that is to be replaced says; nothing of one that cannot be read."""
    from tmsync.commands.at_hand import present_values

    if not is_file(path):
        return ()
    try:
        return present_values(path)
    except ConfigError as error:
        output.warning(error.problem)
        return ()


def _flags(call: Call, from_twcmanager: str | None) -> dict[str, object]:
    flags = dict(call.flags)
    if from_twcmanager and "twcmanager.config_file" in flags:
        raise typer.BadParameter("--from-twcmanager and --twc-config name the same file: give one")
    if from_twcmanager:
        flags["twcmanager.config_file"] = from_twcmanager
    for name in ("twcmanager.config_file", "twcmanager.settings_file"):
        if name in flags:
            # As it will be found from any folder.
            flags[name] = str(expanded(flags[name]).absolute())
    return flags


def _confirm(kept: list[str], path: Path) -> None:
    asking.say()
    if kept:
        asking.say("Kept although it does not work yet:")
        asking.say("\n".join(f"  {printable(line)}" for line in kept))
    if asking.choose(f"Write {printable(str(path))}?", (("", "writes it"), ("n", "leaves it"))) == "n":
        raise asking.EndOfAnswers


def _write(settings: Settings, environ: Mapping[str, str], path: Path, *, force: bool) -> ExitCode:
    """Write the file and try what it says; 1 when that does not work yet."""
    from tmsync.core.config.load import load_settings
    from tmsync.core.setup.write import as_toml, write_private

    has_database, has_broker = (settings.get(f"{section}.host") is not None for section in ("database", "mqtt"))
    if not (has_database or has_broker):
        message = "neither database.host nor mqtt.host is known; nothing was written"
        raise ConfigError(problem(Cause.MISSING_SETTING, message, variant="neither"))
    backup = write_private(path, as_toml(settings, environ), force=force)
    asking.say(f"Written: {printable(str(path))}" + (f" (before: {printable(str(backup))})" if backup else ""))
    # What stands in the file now, and nothing else, is what is tried; only libpq's own variables are looked at besides.
    libpqs = {name: value for name, value in environ.items() if name.startswith("PG") or name == "HOME"}
    written = load_settings(environ=libpqs, config_file=str(path))
    code = _check_database(written) if has_database else ExitCode.GOOD
    if has_broker and not _check_broker(written):
        code = max(code, ExitCode.PROBLEM)
    _tell_next(written, path, environ, database=has_database, broker=has_broker)
    return code


def _check_database(settings: Settings) -> ExitCode:
    from tmsync.core.check_db.examine import examine
    from tmsync.render.check_db import render
    from tmsync.render.console import console

    asking.say("\n$ tmsync check-db")
    found = examine(settings, None, clock=SystemClock(), environ=os.environ)
    output.result(render(found, console(sys.stdout)))
    return found.exit_code


def _check_broker(settings: Settings) -> bool:
    from tmsync.core.setup.trial import try_broker

    problem = try_broker(settings, SystemClock()).problem
    if problem is None:
        asking.say(f"\nMQTT: TeslaMate's cars are on the broker at {printable(str(settings.get('mqtt.host')))}.")
    else:
        output.problem(problem)
    return problem is None


def _tell_next(settings: Settings, path: Path, environ: Mapping[str, str], *, database: bool, broker: bool) -> None:
    from tmsync.commands.serving import write_units
    from tmsync.core.setup.schedule import schedule, survey
    from tmsync.core.setup.write import default_output
    from tmsync.render.console import console
    from tmsync.render.problems import step_lines

    usual = {default_output(environ).absolute(), Path("/etc/tmsync/config.toml")}
    program = "tmsync" if path in usual else f"tmsync --config {shlex.quote(str(path))}"
    lines = [f"{program} sync-tokens --dry-run"] * database + [f"{program} watch-mqtt"] * broker
    asking.say("\nNext:\n" + "\n".join(f"  {printable(line)}" for line in [*lines, f"{program} status"]))
    place = survey(path, settings.twcmanager().settings_file.parent)
    if settings.get("serve.listen") is not None:
        steps = write_units(settings, place, path.parent)
    elif database:
        steps = schedule(place)
    else:
        return
    asking.say("\nWhen that is as it should be:")
    asking.show("\n".join(line.text for line in step_lines(steps, console(sys.stderr).width)))
