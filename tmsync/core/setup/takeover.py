"""What TeslaMate's docker-compose.yml says of tmsync's settings, and what it leaves to be asked.

Source: TeslaMate docs/installation/docker.md (services database, mosquitto and teslamate; only port 4000 is
published), docs/configuration/environment_variables.md, config/runtime.exs (which variables it reads; nothing but
"true" switches one on). Images: teslamate/teslamate and ghcr.io/teslamate-org/teslamate, mirrored and built by many.
"""

import ipaddress
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from tmsync.core.causes import Cause
from tmsync.core.config.schema import BY_NAME, LATE_AFTER_S, STALE_AFTER_S, Setting
from tmsync.core.errors import ConfigError, Step
from tmsync.core.fixes import problem
from tmsync.core.setup.compose import ComposeFile, Service

IMAGE: Final = "teslamate"
"""The last part of its image's name, whoever publishes it."""
DIRECT: Final = {
    "DATABASE_NAME": "database.name",
    "DATABASE_USER": "database.user",
    "DATABASE_PASS": "database.password",
    "ENCRYPTION_KEY": "teslamate.encryption_key",
    "MQTT_USERNAME": "mqtt.username",
    "MQTT_PASSWORD": "mqtt.password",
}
"""TeslaMate's variables that are tmsync's settings as they stand."""
WITHOUT_EFFECT: Final = {
    "DATABASE_PASSWORD": "DATABASE_PASS",
    "DATABASE_USERNAME": "DATABASE_USER",
    "DATABASE": "DATABASE_NAME",
    "DATABASE_DB": "DATABASE_NAME",
    "MQTT_USER": "MQTT_USERNAME",
    "MQTT_PASS": "MQTT_PASSWORD",
    "MQTT_PASSWD": "MQTT_PASSWORD",
    "MQTT_PREFIX": "MQTT_NAMESPACE",
    "TESLAMATE_ENCRYPTION_KEY": "ENCRYPTION_KEY",
}
"""What people set, and what TeslaMate reads."""
SLOW_REQUEST_S: Final = 80
"""That a look at a vehicle may take (two requests of 35 s and a wait of 10 s for a connection): beyond it, late."""
STALE_S: Final = 300
"""Beyond the longest pause that is normal: stale."""
ASLEEP_INTERVAL: Final = "POLLING_ASLEEP_INTERVAL"
RESTING: Final = ("asleep", "offline")
_LEAST: Final = {"POLLING_MINIMUM_INTERVAL": 1}
PAUSES: Final[Mapping[str, Mapping[str, float]]] = {
    # A vehicle that streams is asked half as often; POLLING_ONLINE_INTERVAL counts in service alone, which is silent.
    "online": {"POLLING_DEFAULT_INTERVAL": 2, **_LEAST},
    "charging": {"POLLING_CHARGING_INTERVAL": 1, **_LEAST},
    # While the stream says nothing, it is asked as often as one that stands.
    "driving": {"POLLING_DRIVING_INTERVAL": 1, "POLLING_DEFAULT_INTERVAL": 1, **_LEAST},
    **dict.fromkeys(RESTING, _LEAST),
}
"""State -> the intervals that lengthen the pause between two heartbeats in it, and how many times.

Source: TeslaMate lib/teslamate/vehicles/vehicle.ex (schedule_fetch, try_to_suspend, determince_interval; the same in
1.30.0 to 4.2-dev), lib/tesla_api.ex (receive_timeout), lib/teslamate/http.ex (pool_timeout).
"""


class Link(NamedTuple):
    """A server that TeslaMate uses: which variables name it, its usual port, and whose settings that makes."""

    section: str
    what: str
    host_variable: str
    port_variable: str
    port: int

    @property
    def flag(self) -> str:
        """The flag that names it to tmsync."""
        return BY_NAME[f"{self.section}.host"].flag


DATABASE: Final = Link("database", "database", "DATABASE_HOST", "DATABASE_PORT", 5432)
BROKER: Final = Link("mqtt", "MQTT broker", "MQTT_HOST", "MQTT_PORT", 1883)


@dataclass(frozen=True, slots=True)
class Taken:
    """found: settings with their text and origin. notes: what to tell, and lines to add where a port is not published.

    container_names: what the containers call each other, of no use from outside.
    """

    found: tuple[tuple[Setting, str, str], ...] = ()
    notes: tuple[Step, ...] = ()
    container_names: frozenset[str] = frozenset()


def teslamates(compose: ComposeFile) -> list[Service]:
    """Services that are TeslaMate: by the image, else, for one that was built, by what only TeslaMate reads.

    Grafana, teslamateapi and other add-ons have DATABASE_..., some of them ENCRYPTION_KEY and MQTT_HOST, too.
    """
    by_image = [one for one in compose.services if one.image.rpartition("/")[2] == IMAGE]
    return by_image or [one for one in compose.services if _looks_like_teslamate(one)]


def _looks_like_teslamate(service: Service) -> bool:
    addon = IMAGE in service.image.rpartition("/")[2]
    own = "ENCRYPTION_KEY" in service.environment and {"MQTT_HOST", "DISABLE_MQTT"} & service.environment.keys()
    return bool(own) and not addon


def take_over(compose: ComposeFile, name: str = "") -> Taken:
    """What TeslaMate's service says. name: of the service, where several are TeslaMate, or it is not recognised.

    Raises: ConfigError when no service is TeslaMate, several are and none is named, or there is none of that name.
    """
    found = [one for one in compose.services if one.name == name] if name else teslamates(compose)
    if not found and name:
        names = ", ".join(one.name for one in compose.services)
        message = f"{compose.path} has no service {name}; it has: {names or 'none that starts'}"
        raise ConfigError(problem(Cause.BAD_SYNTAX, message, variant="compose-service"))
    if not found:
        message = f"{compose.path}: no service has the image teslamate/teslamate, or ENCRYPTION_KEY with MQTT_HOST"
        raise ConfigError(problem(Cause.BAD_SYNTAX, message, variant="compose-no-teslamate"))
    if len(found) > 1:
        names = ", ".join(one.name for one in found)
        message = f"{compose.path}: {len(found)} services are TeslaMate: {names}"
        raise ConfigError(problem(Cause.BAD_SYNTAX, message, variant="compose-two", service=found[0].name))
    return _Takeover(compose, found[0]).taken()


class _Takeover:
    def __init__(self, compose: ComposeFile, teslamate: Service) -> None:
        self.compose = compose
        self.teslamate = teslamate
        self.found: dict[str, tuple[Setting, str, str]] = {}
        self.notes: list[Step] = []
        self.used: list[Service] = []
        """Services whose published ports count."""

    def taken(self) -> Taken:
        self._tell_choice()
        for variable, name in DIRECT.items():
            if text := self._value(variable):
                self._put(name, text, variable)
        if not self._value("ENCRYPTION_KEY"):
            self.notes.append(Step("ENCRYPTION_KEY is not in it; tmsync needs it to read the tokens."))
        self._link(DATABASE)
        if self._is_on("DISABLE_MQTT"):
            self.notes.append(Step("TeslaMate runs with DISABLE_MQTT: it publishes no telemetry."))
        else:
            self._link(BROKER)
            self._put("mqtt.namespace", self._value("MQTT_NAMESPACE"), "MQTT_NAMESPACE")
            self._polling()
        self._tell_variables()
        self._tell_without_effect()
        names = frozenset(name for service in self.compose.services for name in service.names)
        return Taken(tuple(self.found.values()), tuple(self.notes), names | self.teslamate.links.keys())

    def _value(self, variable: str) -> str:
        return self.teslamate.value(variable)

    def _put(self, name: str, text: str, variable: str) -> None:
        self.found[name] = BY_NAME[name], text, f"{self.compose.path} ({variable})"

    # -- servers

    def _link(self, link: Link) -> None:
        host = self._value(link.host_variable)
        if link is DATABASE and self._value("DATABASE_SOCKET_DIR"):
            host = "localhost"
        service = self.compose.called(host, self.teslamate) if host else None
        host = self.teslamate.hosts.get(host, host)
        tls = link is BROKER and self._is_on("MQTT_TLS")
        inner = self._value(link.port_variable)
        port = int(inner) if inner.isascii() and inner.isdigit() and len(inner) < 6 else 8883 if tls else link.port
        if service is not None:
            self._container(link, host, service, port)
        elif _is_own(host):
            say = f"TeslaMate reaches its {link.what} at {host}, its own machine; tmsync needs that machine's name or"
            self.notes.append(Step(f"{say} address ({link.flag})."))
            self._put_port(link, port)
        elif host and self.teslamate.meets_strangers and _is_label(host):
            say = (
                f'"{host}" is no service of this file, and TeslaMate shares a network with other projects: what'
                f" containers call the {link.what} there means nothing outside Docker. tmsync needs the name or address"
                f" of its machine ({link.flag}), and the port that its own docker-compose.yml publishes."
            )
            self.notes.append(Step(say))
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
        self.used.append(service)
        outside = service.port(port)
        name = (
            f'"{host}" is what containers call the {link.what}. That name means nothing outside Docker; tmsync'
            f" needs the name or address of TeslaMate's machine ({link.flag})."
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
        if link is DATABASE:
            self._compare_passwords(service)

    def _compare_passwords(self, service: Service) -> None:
        theirs, ours = service.value("POSTGRES_PASSWORD"), self._value("DATABASE_PASS")
        user = service.value("POSTGRES_USER") or "postgres"
        if theirs and ours and theirs != ours and user == self._value("DATABASE_USER"):
            say = (
                f"POSTGRES_PASSWORD of the service {service.name} is not DATABASE_PASS of TeslaMate. It counts at the"
                " first start of the database's volume only; DATABASE_PASS is taken."
            )
            self.notes.append(Step(say))

    # -- telemetry

    def _polling(self) -> None:
        """TeslaMate's own intervals, where they make it silent for longer than tmsync takes for normal."""
        if self._seconds(ASLEEP_INTERVAL) > 30:
            # One message, then silence until the vehicle wakes.
            for state in RESTING:
                self._put_limits(state, 0, 0, ASLEEP_INTERVAL)
        for state, intervals in PAUSES.items():
            if f"health.late_after.{state}" in self.found:
                continue
            variable, pause = max(
                ((name, share * self._seconds(name)) for name, share in intervals.items()), key=operator.itemgetter(1)
            )
            if pause + SLOW_REQUEST_S >= STALE_AFTER_S[state]:
                self._put_limits(state, pause + SLOW_REQUEST_S, pause + STALE_S, variable)
            elif pause + SLOW_REQUEST_S > LATE_AFTER_S[state]:
                self._put(f"health.late_after.{state}", f"{pause + SLOW_REQUEST_S:g}", variable)

    def _put_limits(self, state: str, late: float, stale: float, variable: str) -> None:
        self._put(f"health.late_after.{state}", f"{late:g}", variable)
        self._put(f"health.stale_after.{state}", f"{stale:g}", variable)

    def _seconds(self, variable: str) -> float:
        try:
            seconds = float(self._value(variable))
        except ValueError:
            return 0
        return seconds if 0 <= seconds < 1e6 else 0

    # -- what to tell

    def _tell_choice(self) -> None:
        others = [
            one.name
            for one in self.compose.services
            if one is not self.teslamate and ("ENCRYPTION_KEY" in one.environment or "DATABASE_USER" in one.environment)
        ]
        if others:
            image = f", image {self.teslamate.image}" if self.teslamate.image else ""
            say = f"Taken from the service {self.teslamate.name}{image}; not from {', '.join(others)}."
            self.notes.append(Step(say))

    def _tell_variables(self) -> None:
        wanted = [*DIRECT, "DATABASE_HOST", "DATABASE_PORT", "MQTT_HOST", "MQTT_PORT", "MQTT_NAMESPACE", "MQTT_TLS"]
        environment = self.teslamate.environment
        texts = [environment[name] for name in wanted if name in environment]
        texts += [text for service in self.used for text in service.port_variables]
        unset, defaults = (list(dict.fromkeys(name for text in texts for name in getattr(text, kind)))
                           for kind in ("unset", "defaults"))  # fmt: skip
        absent = self.compose.dotenv
        why = f": {absent} is not there" if absent else f": {self.compose.path.parent / '.env'} does not set them"
        if unset:
            self.notes.append(
                Step(f"Variables without a value: {', '.join(unset)}{why}. tmsync needs what they stand for.")
            )
        if defaults:
            say = f"The file's own defaults are taken for {', '.join(defaults)}{why}. Change those that differ."
            self.notes.append(Step(say))

    def _tell_without_effect(self) -> None:
        for variable, right in WITHOUT_EFFECT.items():
            if variable in self.teslamate.environment:
                also = "" if self._value(right) else f", which is not set; {variable} is not taken over"
                self.notes.append(Step(f"{variable} does nothing in TeslaMate: it reads {right}{also}."))

    def _is_on(self, variable: str) -> bool:
        return self._value(variable) == "true"


def _is_own(host: str) -> bool:
    """Whether the name means the machine it is used on."""
    if host in ("localhost", "host.docker.internal", "gateway.docker.internal", "host-gateway"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_label(host: str) -> bool:
    """Whether it is a name without a domain, such as a container's."""
    return "." not in host and ":" not in host


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
