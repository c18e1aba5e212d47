"""Asks a running `tmsync serve`, which has listened for longer than status can wait."""

import json
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from tmsync.core.causes import Cause
from tmsync.core.config.settings import ANY_ADDRESS, ServeSettings
from tmsync.core.errors import Place, Problem, Step
from tmsync.core.fixes import problem
from tmsync.core.net.http import FAILURES, request, why
from tmsync.core.net.listeners import Stranger, must_belong_to, server_users
from tmsync.core.status.report import Facade, Part, RatedProblem, Severity
from tmsync.core.telemetry.health import Judgement, Thresholds, Verdict
from tmsync.core.telemetry.views import VehicleView
from tmsync.core.twcmanager.presence import trusted_users

PATH: Final = "/tmsync/vehicles"
TIMEOUT_S: Final = 3.0


class Told(NamedTuple):
    """What a running serve says. vehicles: None where it does not know better than a look of one's own."""

    facade: Facade
    where: str | None = None
    """The broker that it listens to."""
    vehicles: tuple[VehicleView, ...] | None = None
    sessions: bool | None = None
    problems: tuple[RatedProblem, ...] = ()
    """Those that it alone can know, or why it does not answer."""


def ask(serve: ServeSettings, settings_file: Path, state_dir: Path) -> Told:
    """Ask the serve that these settings are for.

    settings_file: TWCManager's, whose owner serve may run as; state_dir: serve's own.
    """
    silent = Facade(serve.address)
    try:
        status, body = request(
            _url(serve),
            "GET",
            PATH,
            TIMEOUT_S,
            check=_check(settings_file, state_dir),
            context=_context(serve),
        )
    except Stranger as error:
        words = error.strerror or ""
    except FAILURES as error:
        words = why(error)
    else:
        try:
            return _told(json.loads(body))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            words = f"what answers there is not tmsync (HTTP status {status})"
    found = problem(Cause.SERVE_NOT_RUNNING, f"tmsync serve does not answer at {serve.address}: {words}")
    return Told(silent, problems=(RatedProblem(Severity.CRITICAL, Part.FACADE, found),))


def _check(settings_file: Path, state_dir: Path) -> Callable[[socket.socket], None]:
    """Who listens there gets TWCManager's token. Where nothing tells whose server that is, nothing is said of it."""
    users = set(trusted_users(settings_file))
    with suppress(OSError):
        users.add(state_dir.stat().st_uid)

    def check(sock: socket.socket) -> None:
        if server_users(sock):
            must_belong_to(frozenset(users))(sock)

    return check


def _url(serve: ServeSettings) -> str:
    """Where it can be asked from this host."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what to ask in place of them
    host = here[serve.host] if serve.host in ANY_ADDRESS else serve.host
    return serve._replace(host=host, names=()).url


def _context(serve: ServeSettings) -> ssl.SSLContext | None:
    """One that trusts serve's own certificate, whatever its name: whose server answers is looked at besides."""
    if serve.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(serve.tls_cert)
    return context


def _told(document: Any) -> Told:
    """Raises: ValueError, TypeError, KeyError, AttributeError."""
    facade = document["facade"]
    views = tuple(map(_view, document["vehicles"]))
    return Told(
        Facade(
            facade["listen"],
            facade["upstream"],
            _time(facade["last_call_at"]),
            facade["answered"],
            facade["forwarded"],
        ),
        document["broker"]["where"],
        views if document["broker"]["ok"] and views else None,
        document["database"]["sessions"],
        tuple(_rated(document["own_problems"])),
    )


def _view(one: Mapping[str, Any]) -> VehicleView:
    thresholds = Thresholds(one["late_after_s"], one["stale_after_s"])
    cause = Cause(one["cause"]) if one["cause"] else None
    at = datetime.fromisoformat(one["at"])
    return VehicleView(
        at=at,
        car_id=one["car_id"],
        namespace=one["namespace"],
        name=one["name"],
        names=tuple(one["names"]),
        state=one["state"],
        since=_time(one["since"]),
        healthy=one["healthy"],
        judgement=Judgement(Verdict(one["verdict"]), one["reason"], thresholds, None, cause),
        last_heartbeat_at=_time(one["last_heartbeat_at"]),
        silence_s=one["silence_s"],
        retained_only=one["retained_only"],
        unparsable=one["unparsable"],
        telemetry=dict(one["telemetry"]),
    )


def _rated(found: list[Mapping[str, Any]]) -> Iterator[RatedProblem]:
    for one in found:
        steps = tuple(Step(words, command, Place(place)) for words, command, place in one["steps"])
        told = Problem(Cause(one["cause"]), one["message"], steps)
        yield RatedProblem(Severity(one["severity"]), Part(one["part"]), told, tuple(one["car_ids"]))


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
