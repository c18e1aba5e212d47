"""TWCManager's web control: is it there, and the live push of a token.

Talks to the configured host alone: nothing is redirected, no proxy is asked, so a token goes nowhere else.

Source: TWCManager lib/TWCManager/Control/HTTPControl.py (do_API_GET getStatus; do_POST /settings/save applies and saves
the posted keys and answers 302 whether it took them or not).
"""

import http.client
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from tmsync.core.errors import Cause, DeliveryError

MAX_ANSWER_BYTES: Final = 1 << 20
TAKEN: Final = frozenset({200, 302, 303})


def answers_as_twcmanager(url: str, timeout: float) -> bool:
    """Whether TWCManager's status page answers at `url`, and not just any web server."""
    try:
        status, body = _request(url, "GET", "/api/getStatus", timeout)
        return status == 200 and isinstance(json.loads(body), dict)
    except (OSError, ValueError, RecursionError, http.client.HTTPException):
        return False


def push(url: str, form: Mapping[str, str], timeout: float) -> None:
    """Post settings to a running TWCManager. That it answers well proves nothing: read its settings back.

    Raises: DeliveryError (twcmanager-unreachable, twcmanager-refused).
    """
    try:
        status, _ = _request(url, "POST", "/settings/save", timeout, urlencode(form))
    except (OSError, ValueError, http.client.HTTPException) as error:
        words = getattr(error, "strerror", None) or type(error).__name__
        raise DeliveryError(
            Cause.TWCMANAGER_UNREACHABLE,
            f"TWCManager's web control at {url} does not answer: {words}",
            "Check twcmanager.url and whether TWCManager runs, or deliver with --via file while it is stopped.",
        ) from None
    if status not in TAKEN:
        raise DeliveryError(
            Cause.TWCMANAGER_REFUSED,
            f"TWCManager's web control at {url} answers with HTTP status {status}",
            "Check that twcmanager.url is TWCManager's.",
        )


def _request(url: str, method: str, path: str, timeout: float, body: str | None = None) -> tuple[int, bytes]:
    parts = urlsplit(url)
    kind: Any = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=timeout)
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
    try:
        connection.request(method, parts.path.rstrip("/") + path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(MAX_ANSWER_BYTES)
    finally:
        connection.close()
