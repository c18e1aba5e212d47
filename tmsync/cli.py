"""The Typer app: global options, one lazily imported module per command, errors to exit codes."""

import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from tmsync import __version__, signals
from tmsync.commands import output
from tmsync.commands.invocation import ConfigFile, Invocation, Quiet, Verbose
from tmsync.core.errors import ExitCode, Problem, TmsyncError

COMMANDS: Final = {
    "init": "tmsync.commands.init:init",
    "config": "tmsync.commands.config:config",
    "check-db": "tmsync.commands.check_db:check_db",
    "sync-tokens": "tmsync.commands.sync_tokens:sync_tokens",
    "watch-mqtt": "tmsync.commands.watch_mqtt:watch_mqtt",
    "status": "tmsync.commands.status:status",
    "serve": "tmsync.commands.serve:serve",
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


class _Ours:
    """Help texts in our styles; a flag takes no value, and shows none. A callback converts what an option is given.

    Typer itself would load pydantic for that, even for an option that is not given: as long as all else of a run takes.
    """

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _style_help()
        super().format_help(ctx, formatter)  # type: ignore[misc]

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if getattr(param, "is_flag", False):
                param.metavar = ""
            param.process_value = partial(_process, param)
        return params


def _process(param: Any, ctx: Any, value: Any) -> Any:
    return value if param.callback is None else param.callback(ctx, param, value)


class _Command(_Ours, TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if isinstance(ctx.obj, Invocation):
            ctx.obj.form = _form(_leniently(self, ctx, args)[0])
        return super().parse_args(ctx, args)


class _Group(_Ours, TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _LazyCommands()  # type: ignore[assignment]

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the framework's signature
        return list(COMMANDS)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, list(args))
        except Exception:
            self._guess(ctx, _leniently(self, ctx, args)[1])
            raise

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] in COMMANDS:
            ctx.obj.command = args[0]
        else:
            self._guess(ctx, args)
        return super().resolve_command(ctx, args)

    def _guess(self, ctx: Any, rest: list[str]) -> None:
        """What is to be run, and in which form it would have printed, although something is wrong before it."""
        name = next((word for word in rest if word in COMMANDS), None)
        if name is None:
            ctx.obj.form = "json" if "--json" in rest else ""
            return
        ctx.obj.command = name
        ctx.obj.form = _form(_leniently(self.get_command(ctx, name), ctx, rest[rest.index(name) + 1 :])[0])


def _leniently(command: Any, ctx: Any, args: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The options among `args` and the rest, as far as they can be told where something is wrong with them."""
    before = ctx.resilient_parsing, ctx.ignore_unknown_options
    ctx.resilient_parsing = ctx.ignore_unknown_options = True
    try:
        options, rest, _ = command.make_parser(ctx).parse_args(list(args))
    finally:
        ctx.resilient_parsing, ctx.ignore_unknown_options = before
    return options, rest


def _form(options: Mapping[str, Any]) -> str:
    return "json" if options.get("as_json") else options.get("form") or ""


def _style_help() -> None:
    """Let Typer print its help texts in styles that can be read on any background."""
    from typer import rich_utils

    from tmsync.render.styles import HELP

    for name, style in HELP.items():
        setattr(rich_utils, name, style)


CONTEXT: Final = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    cls=_Group,
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
    config_file: ConfigFile = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Link TeslaMate to TWCManager: API tokens, and a plain word on what is wrong.

    Example: tmsync init

    Example: tmsync check-db
    """
    del version
    ctx.obj.add(config_file, verbose, quiet)


def run(arguments: Sequence[str]) -> int:
    """Run the command line; the exit code. Nothing escapes as a traceback."""
    output.prepare()
    # Python's ssl, in aiohttp, too, writes there what every connection can be read with, tokens and all.
    os.environ.pop("SSLKEYLOGFILE", None)
    invocation = Invocation()
    try:
        code = app(list(arguments), prog_name="tmsync", standalone_mode=False, obj=invocation)
    except TmsyncError as error:
        return _fail(invocation, error.problem, error.exit_code)
    except typer.Abort:
        output.message("tmsync: aborted")
        return ExitCode.PROBLEM
    except Exception as error:  # noqa: BLE001 - the last line of defence against tracebacks
        # Typer writes its help texts by itself.
        if isinstance(error, OSError) and (full := output.unwritable(error)) is not None:
            return _fail(invocation, full, ExitCode.PROBLEM)
        if isinstance(error, _CLICK_EXCEPTION):
            return _usage_error(invocation, error)
        # A signal that comes while Python's own locks change hands comes out as an error of theirs.
        signals.raise_if_asked()
        from tmsync.core.fixes import unforeseen

        return _fail(invocation, unforeseen(error), ExitCode.PROBLEM)
    return code if isinstance(code, int) else ExitCode.GOOD


# Typer vendors click; the base of all its usage errors is reached through the one exception Typer exports.
_CLICK_EXCEPTION: Final = typer.BadParameter.__mro__[2]


def _usage_error(invocation: Invocation, error: Any) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return ExitCode.USAGE
    from tmsync.commands.usage import wrong_usage

    return _fail(invocation, wrong_usage(error, invocation.command), ExitCode.USAGE)


def _fail(invocation: Invocation, found: Problem, code: int) -> int:
    output.problem(found)
    if invocation.form == "json":
        from tmsync.render.document import document

        text = document(invocation.command, {"ok": False, "error": found.as_json()})
    elif invocation.form == "nagios" and invocation.command == "status":
        from tmsync.render.monitoring import nagios_unknown

        text, code = nagios_unknown(found)
    else:
        return code
    try:
        output.result(text)
    except output.Unwritable as full:
        output.problem(full.problem)
    return code
