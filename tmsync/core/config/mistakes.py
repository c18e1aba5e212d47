"""What is wrong with a setting, as an error that tells where, what, and what is allowed."""

from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.config.kinds import LISTS, TYPED, Kind
from tmsync.core.config.schema import (
    ENV_PREFIX,
    FILE_SUFFIX,
    SECTIONS,
    SETTINGS,
    VEHICLE_STATES,
    Setting,
)
from tmsync.core.errors import ConfigError
from tmsync.core.fixes import problem
from tmsync.core.secret import redacted

IN_QUOTES: Final = ", in quotes"
HUGE: Final = 10**18
"""Integers beyond are not spelt out: Python refuses to, from 4300 digits on."""
MANY_NAMES: Final = 25
"""More allowed names than this are told by their sections."""


def unknown_section(name: str, where: str, value: object) -> ConfigError:
    """For what stands at the top of a file and is no section; perhaps a setting that has lost its own."""
    keys = (name, name.removesuffix(FILE_SUFFIX))
    homes = [f"[{setting.section}]" for setting in SETTINGS if setting.key in keys]
    if isinstance(value, dict) or not homes:
        return unknown(name, where, list(SECTIONS), "section")
    message = f"{where}: {name} stands outside its section"
    return ConfigError(problem(Cause.UNKNOWN_KEY, message, variant="outside", sections=" or ".join(homes)))


def unknown(name: str, where: str, names: list[str], what: str = "key") -> ConfigError:
    """For a name that is none of `names`. what: what is so called."""
    near = _nearest(name, names)
    if len(names) > MANY_NAMES:
        names = [f"{ENV_PREFIX}{section.upper()}_*" for section in SECTIONS]
    parent = name.rpartition(".")[0]
    named = dict.fromkeys(one if one.rpartition(".")[0] == parent else _any_state(one) for one in names)
    message = f"{where}: unknown {what} {_shown(name)}"
    return ConfigError(problem(Cause.UNKNOWN_KEY, message, near=near, names=", ".join(named)))


def _nearest(name: str, names: list[str]) -> str | None:
    """Compared without what all begin with, which would make any two look alike."""
    import difflib

    begin = next((at for at, chars in enumerate(zip(name, *names, strict=False)) if len(set(chars)) > 1), 0)
    near = difflib.get_close_matches(name[begin:], [one[begin:] for one in names], n=1)
    return name[:begin] + near[0] if near else None


def _any_state(name: str) -> str:
    group, _, state = name.rpartition(".")
    return f"{group}.<state>" if state in VEHICLE_STATES else name


def wrong_type(name: str, where: str, what: str, how: str = "") -> ConfigError:
    """what: what the setting takes; how: see `how_written`."""
    return ConfigError(problem(Cause.WRONG_TYPE, f"{where}: {name} has the wrong type", how=how, allowed=what))


def how_written(setting: Setting, value: object) -> str:
    """How TOML wants the value written, where quotes are what is wrong."""
    if setting.kind in TYPED:
        return ", without quotes" if isinstance(value, str) else ""
    return "" if setting.kind in LISTS else IN_QUOTES


def bad_value(setting: Setting, where: str, value: object, what: str) -> ConfigError:
    """what: what the setting takes; a value that is or holds a secret is not shown."""
    named = where if where in (setting.flag, setting.env, setting.libpq) else f"{where}: {setting.name}"
    if value in ("", []):
        return empty(named, what)
    if isinstance(value, int) and abs(value) > HUGE:
        shown = "a huge number"
    elif setting.secret or setting.kind is Kind.ARGUMENTS:
        shown = "the value (not shown)"
    else:
        shown = _shown(str(value).removesuffix(".0") if isinstance(value, float) else str(value))
    return ConfigError(problem(Cause.BAD_VALUE, f"{named}: {shown} is not allowed", allowed=what))


def empty(named: str, what: str) -> ConfigError:
    """what: what the setting takes."""
    return ConfigError(problem(Cause.BAD_VALUE, f"{named} is empty", variant="empty", allowed=what))


def _shown(text: str) -> str:
    """A short, quoted, printable form."""
    text = redacted(text)
    return ascii(text if len(text) <= 80 else text[:77] + "...")
