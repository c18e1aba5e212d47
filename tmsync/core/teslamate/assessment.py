"""TeslaMate's tokens, read and judged, ready to be handed on."""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from tmsync.core.clock import Clock, iso
from tmsync.core.config.settings import Settings
from tmsync.core.errors import Cause, Problem, StoreError
from tmsync.core.postgres.session import Session, connect
from tmsync.core.secret import Secret
from tmsync.core.teslamate.claims import EXPIRES_SOON, NO_CLAIMS, Api, Claims, read_claims
from tmsync.core.teslamate.token_store import TokenRow, is_plain, locate, open_token, read_row
from tmsync.core.words import in_words

LIFETIME: Final = timedelta(hours=8)
"""How long Tesla's access tokens live; used for one that does not say itself."""


class Tokens(NamedTuple):
    """The row in the clear. refresh is None unless it was asked for."""

    access: Secret
    refresh: Secret | None
    claims: Claims
    expires_at: datetime
    """UTC; the token's own `exp`, else when TeslaMate stored it plus eight hours."""
    plain_text: bool

    @property
    def fingerprint(self) -> str:
        """Tells tokens apart without telling them."""
        return fingerprint(self.access.reveal())

    def as_json(self, now: datetime) -> dict[str, Any]:
        """The document's `token`."""
        known = self.claims.expires_at
        return {
            "fingerprint": self.fingerprint,
            "expires_at": iso(known) if known else None,
            "expires_in_s": int((known - now).total_seconds()) if known else None,
            "audience": list(self.claims.audience),
            "region": self.claims.region,
            "api": self.claims.api.value,
        }

    def warnings(self, now: datetime) -> list[Problem]:
        """What is wrong with the token without keeping it from being used."""
        found = []
        left = self.expires_at - now
        log = "See why TeslaMate does not renew it: docker compose logs --tail 50 teslamate"
        if self.claims.expires_at is None:
            message = "the access token is no JWT; eight hours from when TeslaMate stored it count as its life"
            found.append(Problem(Cause.NO_JWT, message, "Sign in again on TeslaMate's web page if Tesla refuses it."))
        elif left <= timedelta(0):
            found.append(Problem(Cause.EXPIRED, f"the token expired {in_words(-left)} ago", log))
        elif left < EXPIRES_SOON:
            found.append(Problem(Cause.EXPIRES_SOON, f"TeslaMate's token expires in {in_words(left)}", log))
        if self.claims.api is Api.OWNER:
            message = "the token is for the retired Owner API"
            found.append(Problem(Cause.OWNER_API, message, "Give TeslaMate Fleet API access and sign in again."))
        if self.plain_text:
            message = "TeslaMate stores its tokens in plain text"
            found.append(Problem(Cause.PLAIN_TEXT, message, "Update TeslaMate: it encrypts them since 1.27.0."))
        return found


def fingerprint(token: str) -> str:
    """`sha256:` and the first 12 hex digits."""
    return "sha256:" + hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def read_tokens(settings: Settings, *, clock: Clock, environ: Mapping[str, str], with_refresh: bool) -> Tokens:
    """Log in and read, as a cron job does it; only when that fails, find out why.

    Raises: ConfigError, StoreError and DecryptionFailed with check-db's causes.
    """
    import psycopg2

    target = settings.database()
    try:
        session = connect(target)
    except psycopg2.Error:
        raise _why(settings, clock, environ) from None
    with session:
        row = _row(session)
    access = open_token(row.access, settings.encryption_key, row.refresh)
    refresh = None
    if with_refresh:
        if row.refresh is None:
            raise StoreError(
                Cause.NO_REFRESH_TOKEN,
                "TeslaMate holds no refresh token to share",
                'Set twcmanager.refresh_token to "withhold", or sign in again on TeslaMate\'s web page.',
            )
        refresh = open_token(row.refresh, settings.encryption_key)
    claims = read_claims(access.reveal()) or NO_CLAIMS
    return Tokens(access, refresh, claims, claims.expires_at or row.updated_at + LIFETIME, is_plain(row.access))


def _row(session: Session) -> TokenRow:
    return read_row(session, locate(session))


def _why(settings: Settings, clock: Clock, environ: Mapping[str, str]) -> StoreError:
    from tmsync.core.check_db.ladder import diagnose

    failure = diagnose(settings, clock=clock, environ=environ).failure
    if failure is None or failure.cause is None:
        return StoreError(
            Cause.SERVER_ERROR,
            "TeslaMate's database: the login failed, and a second one worked",
            "Nothing to do unless it happens often.",
        )
    hint = "tmsync check-db, with the same flags, tells what to do."
    return StoreError(failure.cause, f"TeslaMate's database: {failure.summary}", hint)
