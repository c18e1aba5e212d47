"""The configuration file: private from its first byte, whole or not at all, never over another unasked."""

import contextlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tmsync.core.causes import Cause
from tmsync.core.config.schema import BY_NAME, FILE_SUFFIX, SECTIONS, SETTINGS, Setting
from tmsync.core.config.settings import Layer, Settings
from tmsync.core.errors import ConfigError
from tmsync.core.files.paths import expanded
from tmsync.core.files.replace import only_writer, sweep, sync_folder, write_beside
from tmsync.core.fixes import problem
from tmsync.core.secret import Secret

MARKER: Final = ".tmsync-config-"
HEAD: Final = "# tmsync's configuration, written by tmsync init. tmsync config shows what comes of it.\n"
PRIVATE: Final = 0o600


def default_output(environ: Mapping[str, str]) -> Path:
    """Where tmsync will look for it: $TMSYNC_CONFIG, else the user's own place."""
    if environ.get("TMSYNC_CONFIG"):
        return expanded(environ["TMSYNC_CONFIG"])
    home = environ.get("HOME") or str(expanded("~"))
    return Path(environ.get("XDG_CONFIG_HOME") or f"{home}/.config") / "tmsync" / "config.toml"


def refuse_existing(path: Path) -> None:
    """Raises: ConfigError when there is something at `path` already."""
    if os.path.lexists(path):
        message = f"{path} exists already; nothing was written"
        raise ConfigError(problem(Cause.BAD_VALUE, message, variant="exists"))


def as_toml(settings: Settings, environ: Mapping[str, str]) -> str:
    """The text of a file that says what `settings` say beyond the defaults.

    A secret that came from a file stays there: the file is named, by its absolute path.
    Raises: ConfigError for a secret that no TOML can hold.
    """
    import tomli_w

    tables: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for setting in SETTINGS:
        value, layer, origin = settings.values[setting.name]
        # What hangs on TWCManager's config.json is worked out anew at every run.
        derived = layer is Layer.TWCMANAGER and setting.section == "twcmanager"
        if value is None or layer <= Layer.LIBPQ or derived:
            continue
        if setting.name == "mqtt.password" and settings.get("mqtt.username") == "":
            continue
        table, key = tables[setting.section], setting.key
        if setting.section == "health" and "." in key:
            group, _, key = key.partition(".")
            table = table.setdefault(group, {})
        named = f" ({setting.name}{FILE_SUFFIX})"
        if setting.secret and origin == setting.env + FILE_SUFFIX.upper():
            key, value = key + FILE_SUFFIX, str(expanded(environ[origin]).absolute())
        elif setting.secret and origin.endswith(named):
            key, value = key + FILE_SUFFIX, _named_in(Path(origin.removesuffix(named)), setting)
        table[key] = _plain(setting.name, value)
    return HEAD + tomli_w.dumps({section: table for section, table in tables.items() if table})


def _named_in(config: Path, setting: Setting) -> str:
    """The file that a configuration names for a secret."""
    import tomllib

    table: Any = tomllib.loads(config.read_text("utf-8-sig"))[setting.section]
    return str((config.parent / expanded(table[setting.key + FILE_SUFFIX])).absolute())


def sweep_leftovers(path: Path) -> None:
    """Remove what killed runs left beside `path`, with passwords and key in it."""
    with only_writer(path.parent) as alone:
        if alone:
            sweep(path, MARKER)


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    text = value.reveal() if isinstance(value, Secret) else value
    if isinstance(text, str):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            message = f"{name} holds bytes that are no UTF-8, which a TOML file cannot hold"
            told = problem(Cause.BAD_VALUE, message, variant="not-utf-8", variable=BY_NAME[name].env)
            raise ConfigError(told) from None
    return text


def write_private(path: Path, text: str, *, force: bool) -> Path | None:
    """Write the file with mode 0600; folders that are missing are made with 0700. The backup of a replaced one.

    Raises: ConfigError when it exists and `force` is not given, or cannot be written.
    """
    if not force:
        refuse_existing(path)
    try:
        path = path.resolve() if path.is_symlink() else path
        _make_folder(path.parent)
        like = _private(path) if path.exists() else None
        with only_writer(path.parent) as alone:
            if alone:
                sweep(path, MARKER)
            temporary = write_beside(path, text.encode("utf-8"), like, MARKER)
            if not alone:
                sweep(path, MARKER, temporary)
            try:
                backup = _put_in_place(temporary, path, force=force)
            finally:
                with contextlib.suppress(OSError):
                    temporary.unlink()
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror or error}"
        raise ConfigError(problem(Cause.UNREADABLE_FILE, message, variant="output")) from None
    # The file is there by now, whatever is said of its folder.
    with contextlib.suppress(OSError):
        sync_folder(path.parent)
    return backup


def _make_folder(folder: Path) -> None:
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=0o700)


def _private(path: Path) -> os.stat_result:
    """The same owner and group, for nobody else to read.

    Raises: OSError for what is no file, such as /dev/null: root would take it away from everybody.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError("it is not a regular file")
    return os.stat_result((0o100000 | PRIVATE, *tuple(found)[1:10]))


def _put_in_place(temporary: Path, path: Path, *, force: bool) -> Path | None:
    if not force:
        try:
            # Fails where somebody else has made the file meanwhile, which a rename would not.
            path.hardlink_to(temporary)
        except FileExistsError:
            refuse_existing(path)
        except OSError:
            # A file system without links.
            refuse_existing(path)
            temporary.rename(path)
        return None
    backup = None
    if path.exists():
        backup = path.with_name(f"{path.name}.backup")
        backup.unlink(missing_ok=True)
        try:
            # A second name, so that there is a whole file at `path` at every moment.
            backup.hardlink_to(path)
        except OSError:
            # A file system without links: a copy.
            write_beside(path, path.read_bytes(), None, MARKER, backup)
        backup.chmod(PRIVATE)
    temporary.rename(path)
    return backup
