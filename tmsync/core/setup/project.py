"""A compose project read file by file: variables put in, files merged, `extends` and `include` followed.

What comes of it is one dict of services whose leaves are Text; no more of the specification than init needs.

Source: Compose specification ("Interpolation", "Merge", "Extends", "Include", "Environment variables", "Profiles");
Docker manual, "Environment variables precedence", "COMPOSE_FILE"; runs of Docker Compose 2.40.3.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tmsync.core.causes import Cause
from tmsync.core.errors import ConfigError, Problem
from tmsync.core.files.paths import is_file, is_folder, read_regular
from tmsync.core.fixes import problem
from tmsync.core.setup.compose_yaml import BadYaml, Override, Reset, documents
from tmsync.core.setup.variables import (
    NOTHING,
    BadInterpolation,
    BadLine,
    Lookup,
    Text,
    interpolate,
    read_raw,
    read_variables,
)

MAX_BYTES: Final = 1 << 20
MAX_FILES: Final = 60
"""Of a project: limit against hostile input."""
BASES: Final = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDES: Final = (
    "compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml",
)  # fmt: skip
"""Any of them goes with any of BASES; the first that is there counts."""
KEYS: Final = (
    "image", "container_name", "hostname", "environment", "env_file", "ports", "networks", "network_mode",
    "links", "external_links", "extra_hosts", "profiles", "extends",
)  # fmt: skip
"""What init looks at in a service. Elsewhere no variable is put in, and so none is missed."""
PAIRS: Final = {"environment": "=", "extra_hosts": "=:"}
"""Keys that may be a mapping or a list of texts, and what stands between name and value in the list."""
LISTS: Final = ("networks", "env_file", "profiles")
"""Keys that may be a list or something shorter."""


class Listed(dict[str, Any]):
    """Pairs that were written as a list: no `!reset` of one of them has an effect."""


class Source(NamedTuple):
    """Where a part of the project stands. folder: what relative names are seen from; lookup: its variables."""

    file: Path
    folder: Path
    lookup: Lookup


class Project:
    """The files of one project, and the tree that comes of them: `services` and `networks`."""

    def __init__(self, home: Path, environ: Mapping[str, str]) -> None:
        """home: the folder whose .env counts. environ: wins over .env, as the shell's does for compose."""
        self.home = home
        self.environ = environ
        self.warnings: list[Problem] = []
        self.variables: dict[str, str] = {}
        named = [home / name for name in filter(None, environ.get("COMPOSE_ENV_FILES", "").split(","))]
        self.dotenv = named or [home / ".env"]
        self.files: list[Path] = []
        self.named = False
        """Whether compose has to be told the files."""
        self.tree: dict[str, Any] = {}
        self._read = 0

    @classmethod
    def read(cls, path: Path, environ: Mapping[str, str]) -> "Project":
        """The project of a compose file, or of the folder it lies in.

        Raises: ConfigError (unreadable-file, bad-syntax).
        """
        project = cls(path if is_folder(path) else path.parent, environ)
        project.variables = project._variables(project.dotenv, environ.get)
        project.files, project.named = project._choose(path)
        # Relative names are seen from where the first file is.
        project.tree = project._merged(project.files, project.files[0].parent, project.lookup)
        return project

    @classmethod
    def of(cls, document: Any, home: Path) -> "Project":
        """A document whose variables are resolved already."""
        project = cls(home, {})
        project.tree = project._merge_in(
            {}, document if isinstance(document, dict) else {}, Source(home, home, NOTHING)
        )
        return project

    def lookup(self, name: str) -> str | None:
        """A variable of the shell, else of .env."""
        value = self.environ.get(name)
        return self.variables.get(name) if value is None else value

    def _choose(self, path: Path) -> tuple[list[Path], bool]:
        """The files, and whether compose would take others by itself."""
        usual = is_folder(path) or path.name in BASES
        told = self.lookup("COMPOSE_FILE")
        if usual and told:
            separator = self.lookup("COMPOSE_PATH_SEPARATOR") or ":"
            listed = [self.home / name for name in told.split(separator) if name]
            if listed and (is_folder(path) or path in listed):
                return listed, False
        base = next((path / name for name in BASES if is_file(path / name)), None) if is_folder(path) else path
        if base is None:
            message = f"{path} holds no docker-compose.yml"
            raise ConfigError(problem(Cause.UNREADABLE_FILE, message, variant="compose"))
        more = next((file for name in OVERRIDES if is_file(file := base.with_name(name))), None)
        return [base, more] if usual and more else [base], not is_folder(path)

    def _variables(self, files: Sequence[Path], lookup: Lookup) -> dict[str, str]:
        found: dict[str, str] = {}
        for file in files:
            if is_file(file):
                found |= env_file(file, chain(lookup, found.get))
        return found

    # -- files

    def _merged(self, files: Sequence[Path], folder: Path, lookup: Lookup) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for file in files:
            for document in self._documents(file):
                tree = self._merge_in(tree, document, Source(file, folder, lookup))
        return tree

    def _merge_in(self, tree: dict[str, Any], document: dict[str, Any], source: Source) -> dict[str, Any]:
        for included in self._included(document.get("include"), source):
            tree = merged(tree, included)
        services = document.get("services")
        if isinstance(services, dict):
            services = {name: self._service(name, services, source, ()) for name in services}
        found: dict[str, Any] = merged(tree, {"services": services, "networks": document.get("networks")})
        return found

    def _documents(self, file: Path) -> list[dict[str, Any]]:
        self._read += 1
        if self._read > MAX_FILES:
            raise ConfigError(problem(Cause.BAD_SYNTAX, f"{file}: too many files are included", variant="compose"))
        try:
            found = list(documents(text_of(file)))
        except BadYaml as error:
            raise ConfigError(problem(Cause.BAD_SYNTAX, f"{file}{error}", variant="compose-yaml")) from None
        if not any(isinstance(one, dict) and (one.get("services") or one.get("include")) for one in found):
            raise ConfigError(problem(Cause.BAD_SYNTAX, f"{file} lists no services", variant="compose"))
        return [one for one in found if isinstance(one, dict)]

    def _included(self, node: Any, source: Source) -> Iterator[dict[str, Any]]:
        def names(texts: Any) -> list[str]:
            return [self._text(f"{source.file}, include", text, source.lookup).text for text in _list(texts)]

        for item in _list(node):
            entry = item if isinstance(item, dict) else {"path": item}
            paths = names(entry.get("path"))
            if not all(paths) or any("://" in path or path.startswith("git@") for path in paths):
                self._warn(f"{source.file} includes what is no file on this machine", "compose-include")
                continue
            files = [source.folder / path for path in paths]
            homes = names(entry.get("project_directory")) or [str(file.parent) for file in files]
            home = source.folder / homes[0]
            named = [source.folder / name for name in names(entry.get("env_file"))]
            own = self._variables(named or [home / ".env"], source.lookup)
            yield self._merged(files, home, chain(source.lookup, own.get))

    # -- services

    def _service(self, name: str, services: Any, source: Source, above: tuple[tuple[Path, str], ...]) -> Any:
        """The service with what it extends. above: what extends it."""
        node = services[name]
        if isinstance(node, Override):
            return Override(self._service(name, {**services, name: node.value}, source, above))
        if not isinstance(node, dict):
            return node
        found = {}
        for key in KEYS:
            if key in node:
                put_in = self._put_in(f"{source.file}, {name}: {key}", node[key], source.lookup)
                found[key] = self._shaped(key, put_in, source.folder)
        base = found.pop("extends", None)
        if isinstance(base, Text):
            base = {"service": base}
        return merged(self._extended(name, base, services, source, above), found) if isinstance(base, dict) else found

    def _extended(
        self, name: str, base: Mapping[str, Text], services: Any, source: Source, above: tuple[tuple[Path, str], ...]
    ) -> Any:
        file, service = ((base.get(key) or Text("")).text for key in ("file", "service"))
        if file:
            source = source._replace(file=source.folder / file, folder=(source.folder / file).parent)
            services = {}
            for document in self._documents(source.file):
                services = merged(services, document.get("services"))
        place = source.file, service
        if place in above or len(above) >= MAX_FILES:
            message = f"{source.file}: service {service} extends itself"
            raise ConfigError(problem(Cause.BAD_SYNTAX, message, variant="compose-include"))
        if not isinstance(services, dict) or service not in services:
            message = f"service {name} extends {service}, which is not in {source.file}"
            raise ConfigError(problem(Cause.BAD_SYNTAX, message, variant="compose-include"))
        return self._service(service, services, source, (*above, place))

    def _put_in(self, where: str, node: Any, lookup: Lookup) -> Any:
        """The same with variables put in: every text becomes a Text."""
        if isinstance(node, Override):
            return Override(self._put_in(where, node.value, lookup))
        if isinstance(node, dict):
            return {key: self._put_in(f"{where}.{key}", value, lookup) for key, value in node.items()}
        if isinstance(node, list):
            return [self._put_in(where, item, lookup) for item in node]
        return self._text(where, node, lookup) if isinstance(node, str) else node

    def _text(self, where: str, node: Any, lookup: Lookup) -> Text:
        try:
            return interpolate(node if isinstance(node, str) else "", lookup)
        except BadInterpolation as error:
            self._warn(f"{where}: {error}", "compose-value")
            return Text("")

    def _shaped(self, key: str, node: Any, folder: Path) -> Any:
        """The long form of what may be written shorter."""
        if isinstance(node, Override):
            return Override(self._shaped(key, node.value, folder))
        if key in PAIRS and isinstance(node, list):
            return Listed(_pair(item, PAIRS[key]) for item in node if isinstance(item, Text))
        if key in LISTS and isinstance(node, Text):
            node = [node]
        if key == "networks" and isinstance(node, list):
            return {item.text: None for item in node if isinstance(item, Text)}
        if key == "env_file" and isinstance(node, list):
            entries = [item if isinstance(item, dict) else {"path": item} for item in node]
            return [
                {**entry, "path": folder / entry["path"].text}
                for entry in entries
                if isinstance(entry.get("path"), Text)
            ]
        return node

    def _warn(self, message: str, variant: str) -> None:
        self.warnings.append(problem(Cause.BAD_SYNTAX, message, variant=variant))


def merged(old: Any, new: Any) -> Any:
    """`new` on top of `old`, as compose merges files: mappings key by key, lists one after the other."""
    if isinstance(new, Override):
        return merged(None, new.value)
    if isinstance(new, dict):
        listed = isinstance(old, Listed) or isinstance(new, Listed)
        found: dict[str, Any] = (Listed if listed else dict)(old if isinstance(old, dict) else {})
        for key, value in new.items():
            if isinstance(value, Reset):
                if not isinstance(old, Listed):
                    found.pop(key, None)
            elif key in found and value is None and isinstance(found[key], dict | list):
                continue
            else:
                found[key] = merged(found.get(key), value)
        return found
    if isinstance(new, list) and isinstance(old, list):
        return old + new
    return new


def chain(*lookups: Lookup) -> Lookup:
    """The first that knows a variable gives its value."""

    def lookup(name: str) -> str | None:
        return next((value for one in lookups if (value := one(name)) is not None), None)

    return lookup


def _list(node: Any) -> list[Any]:
    return node if isinstance(node, list) else [] if node is None else [node]


def _pair(item: Text, signs: str) -> tuple[str, Text | None]:
    """`NAME=value` as name and value; None where there is none."""
    at = min((found for sign in signs if (found := item.text.find(sign)) >= 0), default=-1)
    return (item.text, None) if at < 0 else (item.text[:at], item._replace(text=item.text[at + 1 :]))


def env_file(path: Path, lookup: Lookup, *, raw: bool = False, seen: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of a `.env` or env_file file.

    seen: what earlier files set, for values that refer to it.
    Raises: ConfigError.
    """
    try:
        text = text_of(path, strict=False)
        return read_raw(text, lookup) if raw else read_variables(text, lookup, seen or {})
    except BadLine as error:
        raise ConfigError(problem(Cause.BAD_SYNTAX, f"{path}, {error}", variant="env-line")) from None


def text_of(path: Path, *, strict: bool = True) -> str:
    """The text of a file of the project. strict: refuse what is not UTF-8.

    Raises: ConfigError.
    """
    try:
        raw, _ = read_regular(path, MAX_BYTES)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise ConfigError(problem(Cause.UNREADABLE_FILE, message, variant="compose-denied")) from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(problem(Cause.BAD_SYNTAX, f"{path} is larger than 1 MiB", variant="compose"))
    try:
        return raw.decode("utf-8-sig", "strict" if strict else "surrogateescape")
    except UnicodeDecodeError:
        raise ConfigError(problem(Cause.BAD_SYNTAX, f"{path} is not UTF-8 text", variant="compose")) from None
