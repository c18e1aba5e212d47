"""The Typer app: global options, one lazily imported module per command, errors to exit codes."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from tmsync import __version__
from tmsync.commands import output
from tmsync.core.errors import ExitCode, Problem, TmsyncError

COMMANDS: Final = {
    "init": "tmsync.commands.init:init",
    "config": "tmsync.commands.config:config",
    "check-db": "tmsync.commands.check_db:check_db",
    "sync-tokens": "tmsync.commands.sync_tokens:sync_tokens",
    "watch-mqtt": "tmsync.commands.watch_mqtt:watch_mqtt",
    "status": "tmsync.commands.status:status",
    "demo": "tmsync.commands.demo:demo",
}
"""Command -> module:function, in the order of the help."""


class _LazyCommands(Mapping[str, Any]):
    """Imports a command's module when the command is asked for: start-up stays fast however many there are."""

    def __getitem__(self, name: str) -> Any:
        module, _, function = COMMANDS[name].partition(":")
        single = typer.Typer(add_completion=False, rich_markup_mode="rich", context_settings=CONTEXT)
        single.command(name, cls=_Command)(getattr(importlib.import_module(module), function))
        command = typer.main.get_command(single)
        command.name = name
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Command(TyperCommand):
    def format_help(self, ctx: Any, formatter: Any) -> None:
        _style_help()
        super().format_help(ctx, formatter)


class _LazyGroup(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _LazyCommands()  # type: ignore[assignment]

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the framework's signature
        return list(COMMANDS)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _style_help()
        super().format_help(ctx, formatter)


def _style_help() -> None:
    """Let Typer print its help texts in styles that can be read on any background."""
    from typer import rich_utils

    from tmsync.render.styles import HELP

    for name, style in HELP.items():
        setattr(rich_utils, name, style)


CONTEXT: Final = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    cls=_LazyGroup,
    name="tmsync",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings=CONTEXT,
)


def _version(asked: bool) -> None:
    if asked:
        output.result(f"tmsync {__version__}\n")
        raise typer.Exit


@app.callback()
def main_options(
    ctx: typer.Context,
    config: Annotated[
        str | None,
        typer.Option("--config", metavar="FILE", help="Configuration file (default: ~/.config/tmsync/config.toml)."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tell what happens, on standard error.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Tell nothing but what is wrong.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Link TeslaMate to TWCManager: API tokens, and a plain word on what is wrong.

    Example: tmsync init

    Example: tmsync check-db
    """
    from tmsync.commands.globals import Globals

    del version
    if verbose:
        output.log_to_stderr()
    ctx.obj = Globals(config, verbose, quiet)


def run(arguments: Sequence[str]) -> int:
    """Run the command line; the exit code. Nothing escapes as a traceback."""
    output.prepare()
    try:
        code = app(list(arguments), prog_name="tmsync", standalone_mode=False)
    except TmsyncError as error:
        return _fail(arguments, error.problem, error.exit_code)
    except typer.Abort:
        output.message("tmsync: aborted")
        return ExitCode.PROBLEM
    except Exception as error:  # noqa: BLE001 - the last line of defence against tracebacks
        # Typer writes its help texts by itself.
        if isinstance(error, OSError) and (full := output.unwritable()) is not None:
            return _fail(arguments, full, ExitCode.PROBLEM)
        if isinstance(error, _CLICK_EXCEPTION):
            return _usage_error(arguments, error)
        from tmsync.core.fixes import unforeseen

        return _fail(arguments, unforeseen(error), ExitCode.PROBLEM)
    return code if isinstance(code, int) else ExitCode.GOOD


# Typer vendors click; the base of all its usage errors is reached through the one exception Typer exports.
_CLICK_EXCEPTION: Final = typer.BadParameter.__mro__[2]


def _usage_error(arguments: Sequence[str], error: Any) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return ExitCode.USAGE
    from tmsync.commands.usage import wrong_usage

    return _fail(arguments, wrong_usage(error, arguments, COMMANDS), ExitCode.USAGE)


def _fail(arguments: Sequence[str], found: Problem, code: int) -> int:
    from tmsync.commands.usage import command_in, values

    output.problem(found)
    command = command_in(arguments, COMMANDS)
    if "--json" in arguments or "json" in values(arguments, "--format"):
        from tmsync.render.document import document

        output.result(document(command, {"ok": False, "error": found.as_json()}))
    elif command == "status" and "nagios" in values(arguments, "--format"):
        from tmsync.render.monitoring import nagios_unknown

        text, code = nagios_unknown(found)
        output.result(text)
    return code
