"""What a docker compose project tells of its services: images, environments, names, published ports.

Where Docker is at hand, `docker compose config` is the reader; no engine has to run for that. Else the project is read
here, as compose reads it. Nothing of it is run, and no tag of Python's is obeyed.

Source: Compose specification ("Services": environment, env_file, links, networks, ports, profiles); Docker manual,
"docker compose config".
"""

import logging
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from tmsync.core.causes import Cause
from tmsync.core.errors import Problem
from tmsync.core.files.paths import is_file
from tmsync.core.fixes import problem
from tmsync.core.setup.compose_yaml import documents
from tmsync.core.setup.project import BASES, Project, chain, env_file
from tmsync.core.setup.variables import Text

log = logging.getLogger(__name__)

LOOPBACK: Final = ("127.", "::1", "localhost")
DOCKER_LIMIT_S: Final = 10.0
"""For `docker compose config`."""


@dataclass(frozen=True, slots=True)
class Port:
    """A container's port on the outside. published: None where Docker picks one anew each time."""

    target: int
    published: int | None
    address: str

    @property
    def is_local(self) -> bool:
        """Whether only its own machine can use it."""
        return self.address.startswith(LOOPBACK)


@dataclass(frozen=True, slots=True)
class Service:
    """One service."""

    name: str
    image: str = ""
    """Without registry host, tag and digest."""
    names: frozenset[str] = frozenset()
    """What other containers call it."""
    environment: Mapping[str, Text] = field(default_factory=dict)
    ports: tuple[Port, ...] = ()
    port_variables: tuple[Text, ...] = ()
    """Ports as they are written, for the variables in them."""
    on_host_network: bool = False
    links: Mapping[str, str] = field(default_factory=dict)
    """Name inside this container -> service."""
    hosts: Mapping[str, str] = field(default_factory=dict)
    """Name inside this container -> address."""
    meets_strangers: bool = False
    """Whether it shares a network with containers of other projects."""

    def value(self, variable: str) -> str:
        """A variable of its environment; empty where it has none."""
        return self.environment.get(variable, Text("")).text

    def port(self, target: int) -> Port | None:
        """Where `target` is published."""
        if self.on_host_network:
            return Port(target, target, "")
        return next((port for port in self.ports if port.target == target and port.published), None)


@dataclass(frozen=True, slots=True)
class ComposeFile:
    """All services, and what could not be made use of."""

    path: Path
    services: tuple[Service, ...]
    warnings: tuple[Problem, ...] = ()
    dotenv: Path | None = None
    """The .env file that is not there, although it belongs there."""

    def called(self, name: str, by: Service) -> Service | None:
        """The service that the container of `by` reaches by `name`."""
        linked = by.links.get(name)
        return next(
            (one for one in self.services if one.name == linked or (linked is None and name in one.names)), None
        )


def find_compose(folder: Path) -> Path | None:
    """The file docker compose would take in `folder`."""
    return next((folder / name for name in BASES if is_file(folder / name)), None)


def read_compose(path: Path, environ: Mapping[str, str] | None = None) -> ComposeFile:
    """Read the project of the file (or the folder) `path`, with its .env, its env_files, and all files it names.

    environ: variables that win over .env, as the shell's do for compose.
    Raises: ConfigError (unreadable-file, bad-syntax).
    """
    environ = environ or {}
    project = Project.read(path, environ)
    found = _Services(project)
    own = found.services()
    resolved = _by_docker(project, environ)
    # Variables without a value are told by the files themselves.
    services = own if resolved is None else tuple(_with_notes(service, own) for service in resolved)
    absent = next((file for file in project.dotenv if not is_file(file)), None)
    return ComposeFile(project.files[0], services, tuple(project.warnings), absent)


def _by_docker(project: Project, environ: Mapping[str, str]) -> tuple[Service, ...] | None:
    """The services as `docker compose config` resolves them; None where there is no Docker Compose, or it refuses."""
    files = [part for file in project.files for part in ("-f", str(file.absolute()))] if project.named else []
    command = ["docker", "compose", *files, "config"]
    try:
        done = subprocess.run(
            command, check=False, cwd=project.home, env=dict(environ), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=DOCKER_LIMIT_S,
        )  # fmt: skip
        text = done.stdout.decode("utf-8")
        if done.returncode != 0:
            log.info("docker compose config gives no answer: the files are read here")
            return None
        [document] = documents(text)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if not isinstance(document, dict) or "services" not in document:
        return None
    log.info("the files are resolved by docker compose config")
    resolved = Project.of(document, project.home)
    return _Services(resolved).services()


def _with_notes(service: Service, own: tuple[Service, ...]) -> Service:
    """The same service, with the variables that its files name."""
    same = next((one for one in own if one.name == service.name), None)
    if same is None:
        return service
    known = same.environment
    environment = {
        name: value._replace(unset=known[name].unset, defaults=known[name].defaults) if name in known else value
        for name, value in service.environment.items()
    }
    return replace(service, environment=environment, port_variables=same.port_variables)


class _Services:
    """Makes services of a project's tree."""

    def __init__(self, project: Project) -> None:
        self.project = project
        networks = _pairs(project.tree, "networks").items()
        self.strangers = {name for name, node in networks if isinstance(node, dict) and _is_external(node)}

    def services(self) -> tuple[Service, ...]:
        """Those of the profiles that are active."""
        tree = _pairs(self.project.tree, "services")
        active = set(filter(None, (self.project.lookup("COMPOSE_PROFILES") or "").split(",")))
        return tuple(
            self._service(name, node)
            for name, node in tree.items()
            if isinstance(node, dict) and self._runs(node, active)
        )

    def _runs(self, node: dict[str, Any], active: set[str]) -> bool:
        profiles = {item.text for item in _items(node, "profiles")}
        return not profiles or "*" in active or bool(profiles & active)

    def _service(self, name: str, node: dict[str, Any]) -> Service:
        networks = _pairs(node, "networks")
        aliases = [item.text for one in networks.values() if isinstance(one, dict) for item in _items(one, "aliases")]
        names = {name, *aliases, *(_text(node, key) for key in ("container_name", "hostname"))} - {""}
        links = dict(_link(item.text) for item in _items(node, "links"))
        hosts = _pairs(node, "extra_hosts")
        ports = _items(node, "ports")
        return Service(
            name=name,
            image=_bare(_text(node, "image")),
            names=frozenset(names),
            environment=self._environment(name, node),
            ports=tuple(dict.fromkeys(port for item in ports for port in _published(item))),
            port_variables=tuple(text for item in ports for text in _texts(item)),
            on_host_network=_text(node, "network_mode") == "host",
            links=links,
            hosts={host: text.text.strip("[]") for host, text in hosts.items() if isinstance(text, Text)},
            meets_strangers=bool(self.strangers & networks.keys() or node.get("external_links")),
        )

    def _environment(self, name: str, node: dict[str, Any]) -> dict[str, Text]:
        given = _pairs(node, "environment")
        own: dict[str, Text] = {}
        for key, value in given.items():
            # Without a value it is handed through from the shell, or from .env.
            handed = self.project.lookup(key) if value is None else ""
            passed = Text(handed or "") if handed is not None else Text("", (key,), absent=True)
            own[key] = value if isinstance(value, Text) else passed
        plain = {key: value.text for key, value in own.items() if not value.absent}
        # One that is named twice counts where it stood first, and as it was written last.
        files = {entry["path"]: entry for entry in _items(node, "env_file") if isinstance(entry, dict)}
        found: dict[str, str] = {}
        for entry in files.values():
            found |= self._env_file(name, entry, chain(self.project.lookup, plain.get), found)
        return {**{key: Text(value) for key, value in found.items()}, **own}

    def _env_file(self, name: str, entry: dict[str, Any], lookup: Any, seen: Mapping[str, str]) -> dict[str, str]:
        path = entry["path"]
        if is_file(path):
            return env_file(path, lookup, raw=_text(entry, "format") == "raw", seen=seen)
        if _text(entry, "required") != "false":
            message = f"{path}, the env_file of {name}, is not there"
            self.project.warnings.append(problem(Cause.BAD_SYNTAX, message, variant="env-file", folder=path.parent))
        return {}


def _items(node: Mapping[str, Any], key: str) -> list[Any]:
    found = node.get(key)
    return found if isinstance(found, list) else []


def _pairs(node: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = node.get(key)
    return found if isinstance(found, dict) else {}


def _text(node: Mapping[str, Any], key: str) -> str:
    found = node.get(key)
    return found.text if isinstance(found, Text) else ""


def _texts(node: Any) -> list[Text]:
    if isinstance(node, dict):
        return [value for value in node.values() if isinstance(value, Text)]
    return [node] if isinstance(node, Text) else []


def _is_external(network: Mapping[str, Any]) -> bool:
    external = network.get("external")
    # Older files give its name there.
    return isinstance(external, dict) or external == "true"


def _link(text: str) -> tuple[str, str]:
    service, _, alias = text.partition(":")
    return alias or service, service


def _published(node: Any) -> Iterator[Port]:
    if isinstance(node, dict):
        target, published = _number(_text(node, "target")), _range(_text(node, "published"))
        if target and (_text(node, "protocol") or "tcp").lower() == "tcp":
            yield Port(target, published[0] if published else None, _text(node, "host_ip"))
    elif isinstance(node, Text):
        yield from _short_port(node.text)


def _short_port(text: str) -> Iterator[Port]:
    """`[[ADDRESS:]PUBLISHED:]TARGET[/PROTOCOL]`, either with a range; of one that Docker chooses from, the first."""
    ports, _, protocol = text.strip().partition("/")
    if protocol.lower() not in ("", "tcp"):
        return
    address, outside, inside = ["", "", *ports.rsplit(":", 2)][-3:]
    targets, published, address = _range(inside), _range(outside), address.strip("[]")
    if len(published) not in (0, len(targets)) and len(targets) != 1:
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
