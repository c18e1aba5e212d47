"""TWCManager's web control: is it there, what does it tell of itself, and the live push of a token.

Talks to the configured host alone: nothing is redirected, no proxy is asked, so a token goes nowhere else. Where nobody
configured it, whoever listens there on this machine must be a user whom the token is no secret to.

Source: TWCManager lib/TWCManager/Control/HTTPControl.py (do_API_GET getStatus, getConfig; do_POST /settings/save
applies and saves the posted keys and answers 302 whether it took them or not; 1.3.2 and master have no read-only mode
and no authentication), lib/TWCManager/TWCMaster.py (getStatus).
"""

import json
import re
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from tmsync.core.causes import Cause
from tmsync.core.errors import DeliveryError
from tmsync.core.fixes import problem
from tmsync.core.net.http import FAILURES, request, why
from tmsync.core.net.listeners import Stranger, must_belong_to
from tmsync.core.twcmanager.facade import TwcFacts, facts_of
from tmsync.core.twcmanager.presence import ANYBODY, Users

TAKEN: Final = frozenset({200, 302, 303})
DENIED: Final = frozenset({401, 403, 405, 501})
"""A proxy in front of it that lets nobody, or nobody unknown, change anything."""
STATUS_KEYS: Final = frozenset({
    "carsCharging", "chargerLoadAmps", "chargerLoadWatts", "consumptionAmps", "consumptionWatts", "currentPolicy",
    "generationAmps", "generationWatts", "isGreenPolicy", "maxAmpsToDivideAmongSlaves", "ScheduledCharging",
    "scheduledChargingStartHour",
})  # fmt: skip
"""What getStatus tells, and no other web server does."""
CONFIG_KEYS: Final = ("config", "control", "vehicle")
_TESLAMATE: Final = re.compile(r'"TeslaMate"\s*:\s*(\{[^{}]*\})')

_PROXY: Final = re.compile(r'"teslaProxy"\s*:\s*"([^"]*)"')


class Revealed(NamedTuple):
    """What a TWCManager tells of its configuration, as far as it matters here. The rest, which holds every password,
    is dropped where it arrives."""

    syncs_itself: bool | None = None
    """Whether vehicle.TeslaMate.syncTokens is on; None when it does not tell."""
    settings_file: Path | None = None
    facts: TwcFacts = TwcFacts()


def first_answering(urls: Iterable[str], timeout: float, users: Users = ANYBODY) -> str | None:
    """The first of these addresses where TWCManager, and not just any web server, answers. timeout: seconds each."""
    return next((url for url in urls if answers_as_twcmanager(url, timeout, users)), None)


def answers_as_twcmanager(url: str, timeout: float, users: Users = ANYBODY) -> bool:
    """Whether what answers at `url` tells what only TWCManager tells."""
    try:
        status = _json(_get(url, "/api/getStatus", timeout, users))
        if isinstance(status, dict) and not STATUS_KEYS.isdisjoint(status):
            return True
        config = _json(_get(url, "/api/getConfig", timeout, users))
    except FAILURES:
        return False
    return isinstance(config, dict) and any(isinstance(config.get(key), dict) for key in CONFIG_KEYS)


def cars_charging(url: str, timeout: float, users: Users) -> int | None:
    """How many wall connectors charge a car; None where it does not tell."""
    try:
        status = _json(_get(url, "/api/getStatus", timeout, users))
    except FAILURES:
        return None
    count = status.get("carsCharging") if isinstance(status, dict) else None
    return count if isinstance(count, int) else None


def reveal(url: str, timeout: float, users: Users = ANYBODY) -> Revealed:
    """Ask TWCManager for what stands in the way of a push, and where it keeps its settings."""
    try:
        text = _get(url, "/api/getConfig", timeout, users)
    except FAILURES:
        return Revealed()
    config = _json(text)
    if not isinstance(config, dict):
        # TWCManager cuts passwords out of the text, and more than those where one stands last in its section.
        found = _TESLAMATE.search(text.decode("utf-8", "replace"))
        proxy = _PROXY.search(text.decode("utf-8", "replace"))
        return Revealed(_syncs(_json(found[1].encode()) if found else None), None, TwcFacts(proxy and proxy[1]))
    folder = _section(config, "config").get("settingsPath")
    known = isinstance(folder, str) and folder.startswith("/")
    return Revealed(
        _syncs(_section(config, "vehicle").get("TeslaMate", {})),
        Path(str(folder)) / "settings.json" if known else None,
        facts_of(config),
    )


def push(url: str, form: Mapping[str, str], timeout: float, users: Users) -> None:
    """Post settings to a running TWCManager. That it answers well proves nothing: read its settings back.

    Raises: DeliveryError (twcmanager-unreachable, twcmanager-refused).
    """
    try:
        status, _ = request(url, "POST", "/settings/save", timeout, urlencode(form), check=_check(users))
    except FAILURES as error:
        raise _failed(url, error) from None
    if status in DENIED:
        message = f"TWCManager's web control at {url} does not let tmsync change its settings (HTTP status {status})"
        raise DeliveryError(problem(Cause.TWCMANAGER_REFUSED, message, variant="read-only"))
    if status not in TAKEN:
        message = f"TWCManager's web control at {url} answers with HTTP status {status}"
        raise DeliveryError(problem(Cause.TWCMANAGER_REFUSED, message))


def why_not(url: str, timeout: float, users: Users = ANYBODY) -> DeliveryError:
    """Why `first_answering` found nothing at `url`."""
    try:
        status, _ = request(url, "GET", "/api/getStatus", timeout, check=_check(users))
    except FAILURES as error:
        return _failed(url, error)
    return _unreachable(url, f"another web server does (HTTP status {status}), so no token was sent to it")


def _failed(url: str, error: Exception) -> DeliveryError:
    if isinstance(error, Stranger):
        message = f"nothing was sent to {url}: {error.strerror}"
        return DeliveryError(problem(Cause.TWCMANAGER_UNREACHABLE, message, variant="stranger", url=url))
    return _unreachable(url, why(error))


def _unreachable(url: str, words: str) -> DeliveryError:
    message = f"TWCManager's web control at {url} does not answer: {words}"
    return DeliveryError(problem(Cause.TWCMANAGER_UNREACHABLE, message))


def _check(users: Users) -> Callable[[socket.socket], None] | None:
    return None if users is None else must_belong_to(users)


def _syncs(section: object) -> bool | None:
    if not isinstance(section, dict):
        return None
    return bool(section.get("syncTokens")) and section.get("enabled") is not False


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def _json(text: bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _get(url: str, path: str, timeout: float, users: Users) -> bytes:
    status, body = request(url, "GET", path, timeout, check=_check(users))
    return body if status == 200 else b""
