"""TeslaMate's tokens in the clear, and what is to be said of one."""

import hashlib
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from tmsync.core.causes import Cause
from tmsync.core.clock import iso
from tmsync.core.errors import Problem
from tmsync.core.fixes import problem
from tmsync.core.secret import Secret
from tmsync.core.teslamate.claims import EXPIRES_SOON, Api, Claims
from tmsync.core.words import in_words, life

LIFETIME: Final = timedelta(hours=8)
"""How long Tesla's access tokens live; used for one that does not say itself."""
RENEWED_BY: Final = 0.75
RETRIES: Final = timedelta(minutes=20)
API_WORDS: Final = {Api.FLEET: "Fleet API", Api.OWNER: "Owner API", Api.UNKNOWN: "unknown API"}


class Assessment(NamedTuple):
    """A token at one moment. problem: expired, expires-soon or no-jwt; how bad that is, the caller decides."""

    words: str
    """Which API, which region, how long it still lives."""
    problem: Problem | None


def assess(claims: Claims, now: datetime) -> Assessment:
    """What is to be said of an access token. That it is for the Owner API is no problem by itself: see `owner_api`."""
    if claims.expires_at is None:
        message = "the access token is not a JWT: it is taken to live eight hours from when TeslaMate stored it"
        return Assessment("unknown expiry", problem(Cause.NO_JWT, message))
    left = claims.expires_at - now
    when = life(left)
    about = ", ".join(filter(None, (API_WORDS[claims.api], claims.region)))
    words = f"{about}, {when} ({iso(claims.expires_at)})"
    if left >= EXPIRES_SOON:
        return Assessment(words, None)
    cause = Cause.EXPIRES_SOON if left > timedelta(0) else Cause.EXPIRED
    return Assessment(words, problem(cause, f"TeslaMate's access token {when}", details=(words,)))


def overdue(claims: Claims, stored_at: datetime, now: datetime) -> Problem | None:
    """The problem of a token that TeslaMate should have renewed: it does so at half of a token's life.

    Older versions did at three quarters, and a failed attempt is repeated every five minutes.
    Source: TeslaMate lib/teslamate/api.ex (schedule_refresh).
    """
    if claims.expires_at is None or now >= claims.expires_at:
        return None
    due = stored_at + (claims.expires_at - stored_at) * RENEWED_BY + RETRIES
    if now < due:
        return None
    age, late = in_words(now - stored_at), in_words(now - due)
    message = f"TeslaMate has not renewed its token, which is {age} old; that was due {late} ago at the latest"
    return problem(Cause.NOT_RENEWED, message)


def owner_api(claims: Claims) -> Problem | None:
    """The problem of a consumer that cannot use tokens for the Owner API; None for another token."""
    if claims.api is not Api.OWNER:
        return None
    return problem(Cause.OWNER_API, "the token is for the Owner API, which this TWCManager does not use")


def plain_text() -> Problem:
    """That TeslaMate does not encrypt."""
    return problem(Cause.PLAIN_TEXT, "TeslaMate stores its tokens in plain text")


class Tokens(NamedTuple):
    """The row in the clear. refresh is None unless it was asked for."""

    access: Secret
    refresh: Secret | None
    claims: Claims
    expires_at: datetime
    """UTC; the token's own `exp`, else when TeslaMate stored it plus eight hours."""
    plain_text: bool
    stored_at: datetime
    """UTC; when TeslaMate wrote the row."""

    @property
    def fingerprint(self) -> str:
        """Tells tokens apart without telling them."""
        return fingerprint(self.access.reveal())

    def as_json(self, now: datetime) -> dict[str, Any]:
        """The document's `token`.

        Fields:
            fingerprint (text): `sha256:` and the first 12 hex digits of the access token's SHA-256
            expires_at (time or null): by the token's own claims; null where it has none
            expires_in_s (integer or null, s): until then; negative afterwards
            audience (list of text): the services it is for
            region (text or null): Tesla's region: NA, EU or CN
            api (Api): which of Tesla's APIs it is for
        """
        known = self.claims.expires_at
        return {
            "fingerprint": self.fingerprint,
            "expires_at": iso(known) if known else None,
            "expires_in_s": int((known - now).total_seconds()) if known else None,
            "audience": list(self.claims.audience),
            "region": self.claims.region,
            "api": self.claims.api.value,
        }

    def problems(self, now: datetime) -> list[Problem]:
        """What is wrong with the token, although it can be read."""
        found = (assess(self.claims, now).problem, plain_text() if self.plain_text else None)
        return [one for one in found if one is not None]


def fingerprint(token: str) -> str:
    """`sha256:` and the first 12 hex digits."""
    return "sha256:" + hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()[:12]
