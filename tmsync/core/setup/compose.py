"""A docker-compose.yml as far as it tells how to reach TeslaMate: services, images, environments, published ports.

Read safely and within bounds: no tags of Python's are obeyed, every scalar is text as compose would see it, aliases
that multiply are refused, and nothing is run.

Source: Compose specification ("Services": environment, env_file, ports; "Merge": override files).
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from tmsync.core.errors import Cause, ConfigError, Problem
from tmsync.core.files.paths import is_file, is_folder, read_regular
from tmsync.core.fixes import problem
from tmsync.core.setup.variables import BadInterpolation, interpolated, read_variables

MAX_BYTES: Final = 1 << 20
NAMES: Final = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDE: Final = ".override"
LOOPBACK: Final = ("127.", "::1", "localhost")


class Port(NamedTuple):
    """A container's port on the outside. published: None where Docker picks one anew each time."""

    target: int
    published: int | None
    address: str

    @property
    def is_local(self) -> bool:
        """Whether only its own machine can use it."""
        return self.address.startswith(LOOPBACK)


class Service(NamedTuple):
    """One service. image: without registry host, tag and digest."""

    name: str
    image: str
    names: frozenset[str]
    """What other containers call it."""
    environment: Mapping[str, str]
    ports: tuple[Port, ...]
    on_host_network: bool

    def port(self, target: int) -> Port | None:
        """Where `target` is published."""
        if self.on_host_network:
            return Port(target, target, "")
        return next((port for port in self.ports if port.target == target and port.published), None)


class ComposeFile(NamedTuple):
    """All services, and what could not be made use of."""

    path: Path
    services: tuple[Service, ...]
    warnings: tuple[Problem, ...]

    def called(self, name: str) -> Service | None:
        """The service that containers reach by `name`."""
        return next((service for service in self.services if name in service.names), None)


def find_compose(folder: Path) -> Path | None:
    """The file docker compose would take in `folder`."""
    return next((folder / name for name in NAMES if is_file(folder / name)), None)


def read_compose(path: Path) -> ComposeFile:
    """Read the file (or the one in the folder) `path`, with its .env, its env_files and its override file.

    Raises: ConfigError (unreadable-file, bad-syntax).
    """
    if is_folder(path):
        inside = find_compose(path)
        if inside is None:
            message = f"{path} holds no docker-compose.yml"
            raise ConfigError(problem(Cause.UNREADABLE_FILE, message, variant="compose"))
        path = inside
    return _Reader(path).read()


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.parent
        self.warnings: list[Problem] = []
        self.variables: dict[str, str] = {}

    def read(self) -> ComposeFile:
        files = [self.path]
        override = self.path.with_name(f"{self.path.stem}{OVERRIDE}{self.path.suffix}")
        if self.path.name in NAMES and is_file(override):
            files.append(override)
        tables = [_services(file) for file in files]
        if is_file(self.folder / ".env"):
            self.variables = read_variables(_text(self.folder / ".env"))
        names = list(dict.fromkeys(name for table in tables for name in table))
        found = [self._service(name, [table[name] for table in tables if name in table]) for name in names]
        return ComposeFile(self.path, tuple(found), tuple(self.warnings))

    def _service(self, name: str, layers: list[Mapping[str, Any]]) -> Service:
        environment: dict[str, str] = {}
        ports: list[Port] = []
        names, image, network = {name}, "", ""
        for layer in layers:
            for file in self._env_files(name, layer.get("env_file")):
                environment |= read_variables(_text(file), self.variables)
        for layer in layers:
            environment |= self._environment(name, layer.get("environment"))
            ports += self._ports(name, layer.get("ports"))
            names |= {self._put_in(name, layer[key]) for key in ("container_name", "hostname") if _is_text(layer, key)}
            image = self._put_in(name, layer["image"]) if _is_text(layer, "image") else image
            network = str(layer.get("network_mode") or network)
        return Service(name, _bare(image), frozenset(names), environment, tuple(ports), network == "host")

    def _environment(self, name: str, node: Any) -> Iterator[tuple[str, str]]:
        pairs: list[tuple[str, str | None]] = []
        if isinstance(node, Mapping):
            pairs = [(str(key), value) for key, value in node.items() if value is None or isinstance(value, str)]
        elif isinstance(node, list):
            for item in node:
                key, equals, rest = item.partition("=") if isinstance(item, str) else ("", "", "")
                pairs.append((key, rest if equals else None))
        for key, value in pairs:
            # Without a value it is handed through from .env.
            text = self.variables.get(key) if value is None else self._put_in(f"{name}: {key}", value)
            if key and text is not None:
                yield key, text

    def _env_files(self, name: str, node: Any) -> Iterator[Path]:
        for item in node if isinstance(node, list) else [node]:
            text = item.get("path") if isinstance(item, Mapping) else item
            if not isinstance(text, str):
                continue
            file = self.folder / self._put_in(name, text)
            if is_file(file):
                yield file
            else:
                message = f"{self.path}: the env_file {text} of {name} is not there"
                self._warn(message, "env-file")

    def _ports(self, name: str, node: Any) -> Iterator[Port]:
        for item in node if isinstance(node, list) else []:
            if isinstance(item, Mapping):
                target, published = (_number(self._put_in(name, item.get(key))) for key in ("target", "published"))
                address = self._put_in(name, item.get("host_ip"))
                if target and item.get("protocol", "tcp") == "tcp":
                    yield Port(target, published, address)
            elif isinstance(item, str):
                yield from _short_port(self._put_in(name, item))

    def _put_in(self, where: str, text: Any) -> str:
        try:
            return interpolated(text, self.variables) if isinstance(text, str) else ""
        except BadInterpolation as error:
            self._warn(f"{self.path}, {where}: {error}", "compose-value")
            return ""

    def _warn(self, message: str, variant: str) -> None:
        self.warnings.append(problem(Cause.BAD_SYNTAX, message, variant=variant))


_SHORT_PORT: Final = re.compile(
    r"(?:(?P<address>\[[0-9a-fA-F:.]*\]|[^:\[\]]*):)??(?:(?P<published>\d*(?:-\d+)?):)?(?P<target>\d+(?:-\d+)?)"
    r"(?:/(?P<protocol>\w+))?"
)


def _short_port(text: str) -> Iterator[Port]:
    """`[[ADDRESS:]PUBLISHED:]TARGET[/PROTOCOL]`, either with a range."""
    found = _SHORT_PORT.fullmatch(text.strip())
    if found is None or (found["protocol"] or "tcp") != "tcp":
        return
    targets, published = _range(found["target"]), _range(found["published"] or "")
    address = (found["address"] or "").strip("[]")
    if len(published) not in (0, len(targets)):
        return
    for index, target in enumerate(targets):
        yield Port(target, published[index] if published else None, address)


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    begin, end = _number(first), _number(last or first)
    return range(begin, end + 1) if begin and end else range(0)


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch("[0-9]{1,5}", text) and 1 <= int(text) <= 65535 else None


def _bare(image: str) -> str:
    """`docker.io/teslamate/teslamate:latest@sha256:...` -> `teslamate/teslamate`."""
    name = image.partition("@")[0]
    host, slash, rest = name.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        name = rest
    return name.rpartition(":")[0] or name


def _is_text(layer: Mapping[str, Any], key: str) -> bool:
    return isinstance(layer.get(key), str)


def _services(path: Path) -> dict[str, Mapping[str, Any]]:
    data = _parsed(path, _text(path))
    services = data.get("services") if isinstance(data, Mapping) else None
    if not isinstance(services, Mapping):
        raise ConfigError(problem(Cause.BAD_SYNTAX, f"{path} lists no services", variant="compose"))
    return {str(name): service for name, service in services.items() if isinstance(service, Mapping)}


def _text(path: Path) -> str:
    try:
        raw, _ = read_regular(path, MAX_BYTES)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise ConfigError(problem(Cause.UNREADABLE_FILE, message, variant="compose-denied")) from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(problem(Cause.BAD_SYNTAX, f"{path} is larger than 1 MiB", variant="compose"))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(problem(Cause.BAD_SYNTAX, f"{path} is not UTF-8 text", variant="compose")) from None


def _parsed(path: Path, text: str) -> Any:
    import yaml

    from tmsync.core.setup.yaml_text import TextLoader

    try:
        return yaml.load(text, TextLoader)  # noqa: S506 - a SafeLoader that makes nothing but text
    except yaml.MarkedYAMLError as error:
        # Only the parser's own words: the line itself may hold a password.
        place = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        what = error.problem or "syntax error"
    except (yaml.YAMLError, ValueError, RecursionError):
        place, what = "", "not readable as YAML"
    raise ConfigError(problem(Cause.BAD_SYNTAX, f"{path}{place}: {what}", variant="compose-yaml"))
