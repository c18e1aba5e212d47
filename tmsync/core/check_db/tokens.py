"""Reads the tokens as a cron job does: log in, read, decrypt. Only a login that fails is explained, by the ladder."""

from collections.abc import Mapping

from tmsync.core.causes import Cause
from tmsync.core.clock import Clock
from tmsync.core.config.settings import Settings
from tmsync.core.errors import StoreError
from tmsync.core.fixes import problem
from tmsync.core.postgres.session import ConnectFailed, connect
from tmsync.core.teslamate.assessment import LIFETIME, Tokens
from tmsync.core.teslamate.claims import NO_CLAIMS, read_claims
from tmsync.core.teslamate.token_store import is_plain, open_token, read_row


def read_tokens(settings: Settings, *, clock: Clock, environ: Mapping[str, str], with_refresh: bool) -> Tokens:
    """TeslaMate's tokens in the clear.

    Raises: ConfigError, StoreError and DecryptionFailed, with the problem that check-db shows.
    """
    target = settings.database()
    try:
        session = connect(target)
    except ConnectFailed:
        raise _explained(settings, clock, environ) from None
    with session:
        row = read_row(session)
    access = open_token(row.access, settings.encryption_key, row.refresh)
    refresh = None
    if with_refresh:
        if row.refresh is None:
            raise StoreError(problem(Cause.NO_REFRESH_TOKEN, "TeslaMate holds no refresh token to share"))
        refresh = open_token(row.refresh, settings.encryption_key)
    claims = read_claims(access.reveal()) or NO_CLAIMS
    expires_at = claims.expires_at or row.updated_at + LIFETIME
    return Tokens(access, refresh, claims, expires_at, is_plain(row.access), row.updated_at)


def _explained(settings: Settings, clock: Clock, environ: Mapping[str, str]) -> StoreError:
    from tmsync.core.check_db.ladder import diagnose

    failure = diagnose(settings, clock=clock, environ=environ).failure
    if failure is None or failure.problem is None:
        return StoreError(problem(Cause.SERVER_ERROR, "the database refused a login, and accepted the next one"))
    return StoreError(failure.problem)
