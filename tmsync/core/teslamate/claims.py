"""What a Tesla access token says of itself. Read without verifying the signature: Tesla is the one who checks it.

Source: Tesla Fleet API documentation, "Third-party tokens"; TeslaMate lib/tesla_api/auth.ex.
"""

import base64
import binascii
import json
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple

MAX_TOKEN_CHARS: Final = 64 * 1024
EXPIRES_SOON: Final = timedelta(hours=1)
"""TeslaMate renews an eight-hour token well before its last hour; one that is in it was probably not renewed."""
OWNER_API_HOSTS: Final = ("owner-api.teslamotors.com", "owner-api.vn.cloud.tesla.cn")
FLEET_API_HOST: Final = "https://fleet-api.prd."
REGIONS: Final = ("NA", "EU", "CN")


class Api(StrEnum):
    """Which of Tesla's APIs a token is for."""

    FLEET = "fleet"
    OWNER = "owner"
    """What individual users have by default."""
    UNKNOWN = "unknown"


class Claims(NamedTuple):
    """The claims that matter. `expires_at` is None when the token names no readable `exp`."""

    expires_at: datetime | None
    audience: tuple[str, ...]
    region: str | None
    api: Api
    issuer: str = ""
    """Who issued it, an address; its country tells the Owner API's host."""


NO_CLAIMS: Final = Claims(None, (), None, Api.UNKNOWN)


def read_claims(token: str) -> Claims | None:
    """The claims of a JWT; None when `token` is none."""
    payload = _payload(token)
    if payload is None:
        return None
    aud = payload.get("aud")
    audience = tuple(item for item in (aud if isinstance(aud, list) else [aud]) if isinstance(item, str))
    region, issuer = _region(payload.get("ou_code"), audience), payload.get("iss")
    return Claims(
        _moment(payload.get("exp")), audience, region, _api(audience), issuer if isinstance(issuer, str) else ""
    )


def _payload(token: str) -> dict[str, Any] | None:
    parts = token.split(".")
    if len(token) > MAX_TOKEN_CHARS or len(parts) != 3 or not all(parts[:2]):
        return None
    try:
        raw = base64.b64decode(parts[1] + "=" * (-len(parts[1]) % 4), altchars=b"-_", validate=True)
        payload = json.loads(raw)
    except (ValueError, binascii.Error, RecursionError):
        return None
    return payload if isinstance(payload, dict) else None


def _moment(exp: object) -> datetime | None:
    if isinstance(exp, bool) or not isinstance(exp, int | float):
        return None
    try:
        return datetime.fromtimestamp(int(exp), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _api(audience: tuple[str, ...]) -> Api:
    if any(item.startswith(FLEET_API_HOST) for item in audience):
        return Api.FLEET
    if any(host in item for host in OWNER_API_HOSTS for item in audience):
        return Api.OWNER
    return Api.UNKNOWN


def _region(ou_code: object, audience: tuple[str, ...]) -> str | None:
    if isinstance(ou_code, str) and ou_code.upper() in REGIONS:
        return ou_code.upper()
    for item in audience:
        if item.startswith(FLEET_API_HOST):
            region = item.removeprefix(FLEET_API_HOST)[:2].upper()
            return region if region in REGIONS else None
    return None
