"""What Tesla's answers come to: what is passed on, what is told as a problem, how long not to ask. Pure.

Source: TWCManager lib/TWCManager/Vehicle/TeslaAPI.py (get_car_api: a 401 that holds "expired" makes it refresh its
token, a 429 makes it refuse the car for ten minutes, in which it says of a stop that it was sent; wakeVehicle likewise,
car_api_charge reads no status); Tesla Fleet API documentation, "Response Codes".
"""

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NamedTuple

from tmsync.core.causes import Cause
from tmsync.core.errors import Problem
from tmsync.core.fixes import problem
from tmsync.core.serve.decide import Answer, Origin, held_back, refusal, unsaid
from tmsync.core.serve.limits import EXCEEDED_S, UNNAMED_S, retry_after
from tmsync.core.serve.request import ApiRequest, Kind

COMMAND_PROTOCOL: Final = b"Vehicle Command Protocol required"
EXCEEDED_LIMIT: Final = b"EXCEEDED_LIMIT"
_PRINTABLE: Final = re.compile(r"[ -~]{1,200}")


class Reply(NamedTuple):
    """An answer of the upstream, decoded."""

    status: int
    body: bytes
    content_type: str = "application/json"
    retry_after: str | None = None


class Outcome(NamedTuple):
    """What an answer comes to."""

    answer: Answer
    problem: Problem | None = None
    hold_s: float | None = None
    """How long not to ask Tesla again, where it said so."""
    critical: bool = False
    """Whether the problem is."""


def outcome(request: ApiRequest, reply: Reply, now: datetime, reason: str) -> Outcome:
    """What Tesla's answer to `request` comes to. reason: why it was asked, for the log."""
    if reply.status == 429:
        return _limited(request, reply, retry_after(reply.retry_after, now, UNNAMED_S), reason)
    if reply.status == 403 and EXCEEDED_LIMIT in reply.body:
        return _limited(request, reply, retry_after(reply.retry_after, now, EXCEEDED_S), reason)
    if 300 <= reply.status < 400:
        return Outcome(refusal(503, "Tesla's API sends elsewhere, which is not followed", reason))
    if reply.status < 200:
        return Outcome(refusal(503, "Tesla's API speaks another protocol than was asked for", reason))
    told, critical = _refused(request, reply) or (None, False)
    return Outcome(_passed_on(reply, reason), told, critical=critical)


def _limited(request: ApiRequest, reply: Reply, seconds: float, reason: str) -> Outcome:
    told = problem(
        Cause.RATE_LIMITED,
        f"Tesla limits requests of the class {request.rate_class} (HTTP status {reply.status}) for {seconds:.0f} s",
    )
    answer = _passed_on(reply, reason)
    if request.method == "GET" or (request.kind is Kind.WAKE and reply.status == 429):
        origin = Origin.TMSYNC if request.method == "GET" else Origin.TESLA
        answer = held_back(seconds, reason)._replace(origin=origin)
    return Outcome(answer, told, seconds)


def _passed_on(reply: Reply, reason: str) -> Answer:
    kind = reply.content_type if _PRINTABLE.fullmatch(reply.content_type) else "application/json"
    body = unsaid(reply.body)
    if body is not reply.body and not _is_json(body):
        return refusal(reply.status, f"Tesla's API answers with HTTP status {reply.status}", reason)
    return Answer(reply.status, body, Origin.TESLA, reason, content_type=kind)


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


ENERGY: Final = frozenset({Kind.PRODUCTS, Kind.LIVE_STATUS})


class _Refusal(NamedTuple):
    fits: Callable[[ApiRequest, Reply], bool]
    cause: Cause
    variant: str
    words: str
    critical: bool = True


_REFUSALS: Final = (
    _Refusal(
        lambda _, reply: COMMAND_PROTOCOL in reply.body,
        Cause.SIGNED_COMMANDS, "", "Tesla takes only signed commands for this car",
    ),
    _Refusal(
        lambda _, reply: reply.status == 421, Cause.WRONG_REGION, "", "Tesla serves this account in another region"
    ),
    _Refusal(
        lambda _, reply: reply.status == 412, Cause.CLIENT_REFUSED, "", "Tesla refuses this client in this region"
    ),
    _Refusal(
        lambda request, reply: reply.status == 403 and request.kind in ENERGY,
        Cause.CLIENT_REFUSED, "energy", "Tesla refuses to tell TWCManager of a Powerwall", critical=False,
    ),
    _Refusal(
        lambda _, reply: reply.status == 403, Cause.CLIENT_REFUSED, "scopes", "Tesla refuses a request of this client"
    ),
)  # fmt: skip
"""The first that fits: its cause, the variant of its fix, and what is wrong in words."""


def _refused(request: ApiRequest, reply: Reply) -> tuple[Problem, bool] | None:
    """The problem, and whether it is critical."""
    found = next((one for one in _REFUSALS if one.fits(request, reply)), None)
    if found is None:
        return None
    message = f"{found.words} ({request.name}, HTTP status {reply.status})"
    return problem(found.cause, message, variant=found.variant), found.critical


def document_of(answer: Answer) -> Any:
    """An answer's `response`, where it is one of success and JSON; else None."""
    if answer.status != 200:
        return None
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return found.get("response") if isinstance(found, dict) else None
