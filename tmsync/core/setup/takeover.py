"""What TeslaMate's docker-compose.yml says of tmsync's settings, and what it leaves to be asked.

Source: TeslaMate docs/installation/docker.md (services database, mosquitto and teslamate; only port 4000 is
published), docs/configuration/environment_variables.md.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from tmsync.core.config.schema import BY_NAME, Setting
from tmsync.core.errors import Cause, ConfigError, Step
from tmsync.core.fixes import problem
from tmsync.core.setup.compose import ComposeFile, Service

TESLAMATE: Final = "teslamate/teslamate"
TRUE: Final = ("true", "1", "yes", "on")
DIRECT: Final = {
    "DATABASE_NAME": "database.name",
    "DATABASE_USER": "database.user",
    "DATABASE_PASS": "database.password",
    "ENCRYPTION_KEY": "teslamate.encryption_key",
    "MQTT_USERNAME": "mqtt.username",
    "MQTT_PASSWORD": "mqtt.password",
}
"""TeslaMate's variables that are tmsync's settings as they stand."""


class Link(NamedTuple):
    """A server that TeslaMate uses: which variables name it, its usual port, and whose settings that makes."""

    section: str
    what: str
    host_variable: str
    port_variable: str
    port: int


DATABASE: Final = Link("database", "database", "DATABASE_HOST", "DATABASE_PORT", 5432)
BROKER: Final = Link("mqtt", "MQTT broker", "MQTT_HOST", "MQTT_PORT", 1883)


class Taken(NamedTuple):
    """found: settings with their text and origin. notes: what to tell, and lines to add where a port is not published.

    container_names: what the containers call each other, of no use from outside.
    """

    found: tuple[tuple[Setting, str, str], ...] = ()
    notes: tuple[Step, ...] = ()
    container_names: frozenset[str] = frozenset()


def take_over(compose: ComposeFile) -> Taken:
    """Find TeslaMate in the file.

    Raises: ConfigError when no service is TeslaMate.
    """
    teslamate = next((one for one in compose.services if one.image == TESLAMATE), None) or next(
        # A fork, or one built from source.
        (one for one in compose.services if {"DATABASE_HOST", "DATABASE_USER"} <= one.environment.keys()),
        None,
    )
    if teslamate is None:
        message = f"{compose.path}: no service has the image {TESLAMATE}"
        raise ConfigError(problem(Cause.BAD_SYNTAX, message, variant="compose"))
    return _Takeover(compose, teslamate).taken()


class _Takeover:
    def __init__(self, compose: ComposeFile, teslamate: Service) -> None:
        self.compose = compose
        self.environment: Mapping[str, str] = teslamate.environment
        self.found: dict[str, tuple[Setting, str, str]] = {}
        self.notes: list[Step] = []
        self.container_names = frozenset(name for service in compose.services for name in service.names)

    def taken(self) -> Taken:
        for variable, name in DIRECT.items():
            if self.environment.get(variable):
                self._put(name, self.environment[variable], variable)
        if not self.environment.get("ENCRYPTION_KEY"):
            self.notes.append(Step("ENCRYPTION_KEY is not in it: it is asked for."))
        self._link(DATABASE)
        if self._is_on("DISABLE_MQTT"):
            self.notes.append(Step("TeslaMate runs with DISABLE_MQTT: it publishes no telemetry."))
        else:
            self._link(BROKER)
            self._put("mqtt.namespace", self.environment.get("MQTT_NAMESPACE", ""), "MQTT_NAMESPACE")
        return Taken(tuple(self.found.values()), tuple(self.notes), self.container_names)

    def _put(self, name: str, text: str, variable: str) -> None:
        self.found[name] = BY_NAME[name], text, f"{self.compose.path} ({variable})"

    def _link(self, link: Link) -> None:
        host = self.environment.get(link.host_variable, "")
        service = self.compose.called(host)
        tls = link is BROKER and self._is_on("MQTT_TLS")
        inner = self.environment.get(link.port_variable, "")
        port = int(inner) if inner.isascii() and inner.isdigit() and len(inner) < 6 else 8883 if tls else link.port
        if service is not None:
            self._container(link, host, service, port)
        elif _is_own(host):
            say = f"TeslaMate reaches its {link.what} at {host}, its own machine:"
            self.notes.append(Step(f"{say} that machine's name or address is wanted."))
            self._put_port(link, port)
        elif host:
            self._put(f"{link.section}.host", host, link.host_variable)
            self._put_port(link, port)
        if tls and service is None:
            self._put("mqtt.tls", "true", "MQTT_TLS")
            if self._is_on("MQTT_TLS_ACCEPT_INVALID_CERTS"):
                self._put("mqtt.insecure", "true", "MQTT_TLS_ACCEPT_INVALID_CERTS")

    def _put_port(self, link: Link, port: int) -> None:
        self._put(f"{link.section}.port", str(port), link.port_variable)

    def _container(self, link: Link, host: str, service: Service, port: int) -> None:
        outside = service.port(port)
        name = (
            f'"{host}" is what containers call the {link.what}. That name means nothing outside Docker: the name or'
            " address of TeslaMate's machine is asked for."
        )
        self.notes.append(Step(name))
        if outside is None:
            say = (
                f"The port of service {service.name} is not published, so nothing outside Docker can reach the"
                f" {link.what}. On TeslaMate's machine, add to the service {service.name}, and start it again:"
            )
        elif outside.is_local:
            say = (
                f"The port of service {service.name} is published on {outside.address} alone. Unless tmsync runs on"
                f" that machine, change it in the service {service.name}, and start it again:"
            )
        else:
            say = ""
        if say:
            published = outside.published if outside else port
            lines = f'    ports:\n      - "{published}:{port}"\ndocker compose up -d {service.name}'
            self.notes.append(Step(say, lines))
        self._put(f"{link.section}.port", str(outside.published if outside else port), f"service {service.name}")

    def _is_on(self, variable: str) -> bool:
        return self.environment.get(variable, "").lower() in TRUE


def _is_own(host: str) -> bool:
    """Whether the name means the machine it is used on."""
    if host in ("localhost", "host.docker.internal", "gateway.docker.internal", "host-gateway"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def differences(taken: Taken, told: Mapping[str, str]) -> Iterator[Step]:
    """Where TWCManager's own configuration says otherwise than TeslaMate's. told: setting -> TWCManager's value."""
    for setting, text, _ in taken.found:
        theirs = told.get(setting.name)
        if theirs is None or theirs == text or setting.secret:
            continue
        ours = f'"{text}"' if text else "none"
        say = (
            f'TWCManager has {setting.twc.rpartition(".")[2]} "{theirs}"; TeslaMate itself has {ours}, which is taken.'
        )
        yield Step(say)
