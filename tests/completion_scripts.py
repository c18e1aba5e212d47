"""Makes the completion scripts from the program's own options: all words are in them, so that TAB starts nothing."""

from collections.abc import Iterator

from tests.reference.commands import Command, Option, commands
from tmsync.cli import COMMANDS

HEAD = "# Completion of tmsync for {shell}, made from its options by `make completions`."
# -- bash

_BASH = """\
{head}
_tmsync() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} command="" words="" i
    # To bash, --name=value is three words.
    if [[ $cur == "=" ]]; then
        cur=""
    elif [[ $prev == "=" ]]; then
        prev=${{COMP_WORDS[COMP_CWORD-2]}}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]}} in
            {global_values}) [[ ${{COMP_WORDS[i+1]}} == "=" ]] && ((i++)); ((i++)) ;;
            -*) ;;
            *) command=${{COMP_WORDS[i]}}; break ;;
        esac
    done
    case "$command $prev" in
        {files})
            local IFS=$'\\n'
            compopt -o filenames 2>/dev/null
            COMPREPLY=($(compgen -f -- "$cur"))
            return ;;
{choices}
        {values})
            return ;;
        *)
            case $command in
{options}
            esac ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -F _tmsync tmsync
"""


def bash() -> str:
    """The script for bash."""
    all_commands = commands()
    pairs = [(command, option) for command in all_commands for option in command.options if option.takes_value]
    choosing: dict[tuple[str, ...], list[str]] = {}
    for command, option in pairs:
        if option.choices:
            choosing.setdefault(option.choices, []).extend(_cases(command, option))
    choices = [f'        {"|".join(cases)}) words="{" ".join(words)}" ;;' for words, cases in choosing.items()]
    words = {command.name: [name for option in command.options for name in option.names] for command in all_commands}
    words[""] = [*COMMANDS, *words[""]]
    options = [f'                {name or chr(34) * 2}) words="{" ".join(of)}" ;;' for name, of in words.items()]
    return _BASH.format(
        head=HEAD.format(shell="bash"),
        global_values=_global_values(all_commands[0], "|"),
        files="|".join(case for command, option in pairs if option.is_file for case in _cases(command, option)),
        choices="\n".join(choices),
        values="|".join(
            case for command, one in pairs if not (one.is_file or one.choices) for case in _cases(command, one)
        ),
        options="\n".join(options),
    )


def _global_values(itself: Command, between: str) -> str:
    """The options before the command's name that take a value."""
    return between.join(name for one in itself.options if one.takes_value for name in one.names)


def _cases(command: Command, option: Option) -> list[str]:
    return [f'"{command.name} {name}"' for name in option.names]


# -- zsh

_ZSH = """\
#compdef tmsync
{head}
_tmsync() {{
    local curcontext="$curcontext" state line
    typeset -A opt_args
    _arguments -C \\
{globals}
        '1:command:->command' \\
        '*::argument:->arguments'
    case $state in
        command)
            local -a commands=(
{commands}
            )
            _describe command commands ;;
        arguments)
            case $words[1] in
{arguments}
            esac ;;
    esac
}}
if [ "$funcstack[1]" = "_tmsync" ]; then
    _tmsync "$@"
else
    compdef _tmsync tmsync
fi
"""


def zsh() -> str:
    """The script for zsh."""
    itself, *others = commands()
    arguments = []
    for command in others:
        lines = " \\\n".join(f"                    {spec}" for option in command.options for spec in _zsh_specs(option))
        arguments.append(f"                {command.name}) _arguments \\\n{lines} ;;")
    return _ZSH.format(
        head=HEAD.format(shell="zsh"),
        globals="\n".join(f"        {spec} \\" for option in itself.options for spec in _zsh_specs(option)),
        commands="\n".join(f"                {_quoted(f'{one.name}:{one.help}')}" for one in others),
        arguments="\n".join(arguments),
    )


def _zsh_specs(option: Option) -> Iterator[str]:
    told = option.help.replace("[", "(").replace("]", ")").replace(":", ";")
    follows = ""
    if option.takes_value:
        action = f"({' '.join(option.choices)})" if option.choices else "_files" if option.is_file else " "
        follows = f":{option.metavar or 'value'}:{action}"
    for name in option.names:
        repeated = "*" if option.metavar in ("ID", "ROLE") and "repeated" in option.help else ""
        # Both `--name value` and `--name=value`.
        equals = "=" if option.takes_value and name.startswith("--") else ""
        yield _quoted(f"{repeated}{name}{equals}[{told}]{follows}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


# -- fish

_FISH_AT = """\
# Whether the command that was typed is $argv[1]; without it, whether none was typed yet.
function __tmsync_at
    set -l words (commandline -opc)
    set -l skip 1
    for word in $words
        if test $skip = 1
            set skip 0
            continue
        end
        switch $word
            case {values}
                set skip 1
            case '-*'
            case '*'
                test "$word" = "$argv[1]"
                return
        end
    end
    test -z "$argv[1]"
end"""


def fish() -> str:
    """The script for fish."""
    itself, *others = commands()
    lines = [HEAD.format(shell="fish"), _FISH_AT.format(values=_global_values(itself, " ")), "complete -c tmsync -f"]
    lines += [f"complete -c tmsync -n __tmsync_at -a {one.name} -d {_fish_text(one.help)}" for one in others]
    for command in (itself, *others):
        when = f"'__tmsync_at {command.name}'" if command.name else "__tmsync_at"
        lines += [f"complete -c tmsync -n {when} {_fish_option(option)}" for option in command.options]
    return "\n".join(lines) + "\n"


def _fish_option(option: Option) -> str:
    parts = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names]
    if option.choices:
        parts.append(f"-x -a {_fish_text(' '.join(option.choices))}")
    elif option.takes_value:
        parts.append("-r -F" if option.is_file else "-x")
    return " ".join([*parts, f"-d {_fish_text(option.help)}"])


def _fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SCRIPTS = {"tmsync.bash": bash, "_tmsync": zsh, "tmsync.fish": fish}
"""File in completions/ -> what makes it."""
