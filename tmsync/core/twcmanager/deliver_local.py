"""Gives TWCManager a bearer of tmsync's own: once, and only when its requests come to tmsync serve.

A local bearer that goes to Tesla is refused there, and one held beside a refresh token is replaced by TWCManager.
"""

from typing import NamedTuple

from tmsync.core.clock import Clock
from tmsync.core.config.settings import ServeSettings, TwcSettings
from tmsync.core.errors import DeliveryError, Problem
from tmsync.core.secret import Secret
from tmsync.core.twcmanager.deliver import deliver
from tmsync.core.twcmanager.delivery import (
    Delivery,
    Result,
    WantedToken,
    holds_refresh_token,
    syncs_itself,
)
from tmsync.core.twcmanager.facade import TwcFacts, facts_of, not_sent_here, powerwall
from tmsync.core.twcmanager.local_token import FAR_AWAY, LocalBearers, make_bearer
from tmsync.core.twcmanager.plan import SyncOptions, Via
from tmsync.core.twcmanager.presence import STATUS_TIMEOUT_S, Presence, is_far, look_for, users_of
from tmsync.core.twcmanager.restart import Restart
from tmsync.core.twcmanager.settings_content import BEARER, REFRESH, Snapshot, TokenFields
from tmsync.core.twcmanager.settings_file import SettingsFile


class Running(NamedTuple):
    """What TWCManager was found to be, and to be configured to."""

    presence: Presence
    facts: TwcFacts
    syncs_itself: bool | None


def deliver_local(
    twc: TwcSettings,
    serve: ServeSettings,
    bearers: LocalBearers,
    options: SyncOptions,
    *,
    clock: Clock,
    restart: Restart,
    renew: bool = False,
) -> tuple[Delivery, Secret | None]:
    """Make TWCManager use a bearer that serve accepts; and that bearer, where it is known.

    renew: give it another one, and accept no earlier one any more.
    Raises: DeliveryError, StateError.
    """
    held = _held(twc, clock)
    bearer = Secret(held.held(BEARER)) if held is not None and held.held(BEARER) else None
    known = bearers.known()
    if not renew and not options.force:
        if bearer is not None and known.accepts(bearer.reveal()):
            return deliver(twc, _wanted(bearer), options, clock, restart), bearer
        if held is None and known.delivered:
            # Nothing tells what it holds; what was delivered once stays good.
            return Delivery(Via.HTTP, twc.url, Result.UNCHANGED), None
    trouble = in_the_way(twc, serve, held, running(twc))
    if trouble is not None:
        raise DeliveryError(trouble)
    bearer = make_bearer()
    if options.check or options.dry_run:
        return deliver(twc, _wanted(bearer), options, clock, restart), None
    # Accepted first: TWCManager may use it at once.
    bearers.add(bearer)
    delivery = deliver(twc, _wanted(bearer), options, clock, restart)
    if delivery.result is Result.FAILED:
        bearers.drop(bearer)
    else:
        bearers.delivered(bearer, alone=renew and delivery.lasting)
    return delivery, bearer


def in_the_way(twc: TwcSettings, serve: ServeSettings, held: Snapshot | None, found: Running) -> Problem | None:
    """Why TWCManager must not be given a local bearer."""
    if found.syncs_itself:
        return syncs_itself("its configuration")
    if held is not None and held.held(REFRESH):
        return holds_refresh_token(local=True)
    return not_sent_here(found.facts, serve) or powerwall(found.facts, twc.settings_file)


def running(twc: TwcSettings) -> Running:
    """TWCManager's configuration: as it runs, by its web control; where it is stopped, as its file has it."""
    from tmsync.core.twcmanager.http import reveal

    real = SettingsFile(twc.settings_file).real
    seen = look_for(twc, real)
    if seen.url is not None:
        revealed = reveal(seen.url, STATUS_TIMEOUT_S, users_of(twc, real))
        return Running(seen.presence, revealed.facts, revealed.syncs_itself)
    if seen.presence is Presence.STOPPED and twc.config is not None:
        return Running(seen.presence, facts_of(twc.config.data), twc.config.sync_tokens)
    return Running(seen.presence, TwcFacts(), None)


def _held(twc: TwcSettings, clock: Clock) -> Snapshot | None:
    """TWCManager's settings, where they can be read."""
    if is_far(twc):
        return None
    try:
        found = SettingsFile(twc.settings_file).read(clock)
    except DeliveryError:
        return None
    return found if found.stat is not None else None


def _wanted(bearer: Secret) -> WantedToken:
    return WantedToken(TokenFields(bearer.reveal(), "", FAR_AWAY), shared=False, replaces_until=None)
