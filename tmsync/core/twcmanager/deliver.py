"""Brings a token to TWCManager: look, decide, carry out."""

import logging
from dataclasses import replace
from datetime import datetime

from tmsync.core.clock import Clock
from tmsync.core.config.settings import TwcSettings
from tmsync.core.errors import DeliveryError
from tmsync.core.twcmanager import by_file
from tmsync.core.twcmanager.delivery import (
    STATUS_TIMEOUT_S,
    Delivery,
    Failed,
    Order,
    Result,
    WantedToken,
    fingerprint_of,
)
from tmsync.core.twcmanager.plan import Action, Plan, Situation, SyncOptions, Via, decide
from tmsync.core.twcmanager.presence import (
    ANYBODY,
    Presence,
    Sighting,
    asks_fleet_api,
    is_far,
    look,
    started_at,
    trusted_users,
)
from tmsync.core.twcmanager.restart import Restart
from tmsync.core.twcmanager.settings_content import Snapshot, exposed
from tmsync.core.twcmanager.settings_file import SettingsFile

log = logging.getLogger(__name__)


def deliver(twc: TwcSettings, wanted: WantedToken, options: SyncOptions, clock: Clock, restart: Restart) -> Delivery:
    """Make TWCManager use the token. An error is in the delivery, with all that came before it.

    Raises: NewerTokenHeld.
    """
    file = SettingsFile(twc.settings_file)
    users = ANYBODY if twc.url_given else trusted_users(file.real)
    order = Order(twc, wanted, options, clock, restart, file, users, is_far(twc))
    situation = survey(order)
    plan = decide(situation, wanted.fields, options)
    begun = _begun(order, situation, plan)
    try:
        if plan.action in (Action.PUSH, Action.PUSH_AGAIN):
            from tmsync.core.twcmanager.by_web import at_its_own_file

            order = at_its_own_file(order, begun.target)
        done = carry_out(plan, situation, order, begun)
    except Failed as failed:
        done = replace(failed.delivery, result=Result.FAILED, error=failed.error)
    except DeliveryError as error:
        done = replace(begun, error=error)
    loose = None if order.far else exposed(order.file.real)
    return done if loose is None else replace(done, warnings=(*done.warnings, loose))


def survey(order: Order) -> Situation:
    """What is known of TWCManager; whether it runs is looked for only where the plan depends on it."""
    held, unreadable = None, None
    if order.options.via is not Via.HTTP and not (order.far and order.options.via is Via.AUTO):
        try:
            held = order.file.read(order.clock)
        except DeliveryError as error:
            log.info("%s", error)
            unreadable = error
    ours = held is not None and held.holds(order.wanted.fields) and order.file.is_ours(held)
    situation = Situation(held, ours, far=order.far, unreadable=unreadable)
    if decide(situation, order.wanted.fields, order.options).action is not Action.LOOK:
        return situation
    config_file = order.twc.config.path if order.twc.config else None
    seen = look(order.file.real, config_file, order.twc.urls, STATUS_TIMEOUT_S, given=order.twc.url_given)
    log.info("TWCManager is %s: %s", seen.presence, seen.reason)
    return replace(situation, seen=seen, has_read=_has_read(seen, held, order.clock.now()))


def carry_out(plan: Plan, situation: Situation, order: Order, begun: Delivery) -> Delivery:
    """Do what is planned; what came of it.

    Raises: DeliveryError, Failed, NewerTokenHeld.
    """
    match plan.action:
        case Action.KEEP:
            return by_file.keep(order, begun)
        case Action.WRITE:
            return by_file.write(order, begun, situation.seen)
        case Action.TAKE_UP:
            return by_file.take_up(order, begun, situation.seen)
        case Action.PUSH | Action.PUSH_AGAIN:
            from tmsync.core.twcmanager.by_web import push

            return push(order, begun, again=plan.action is Action.PUSH_AGAIN)
        case _:
            raise _no_way(situation, order)


def _no_way(situation: Situation, order: Order) -> DeliveryError:
    if situation.unreadable is not None and not order.twc.only_url_is_named:
        return situation.unreadable
    from tmsync.core.twcmanager.http import why_not

    return why_not(order.twc.url, STATUS_TIMEOUT_S, order.users)


def _begun(order: Order, situation: Situation, plan: Plan) -> Delivery:
    seen = situation.seen
    return Delivery(
        plan.via,
        str(order.file.path) if plan.via is Via.FILE else (seen and seen.url) or order.twc.url,
        twcmanager=seen.presence if seen else Presence.UNKNOWN,
        held=fingerprint_of(situation.held),
        fleet_only=seen is not None and asks_fleet_api(seen, order.twc.config),
    )


def _has_read(seen: Sighting, snapshot: Snapshot | None, now: datetime) -> bool:
    """Whether TWCManager was started after the file was put into place."""
    begun = started_at(seen.process, now) if seen.process is not None else None
    stat = snapshot.stat if snapshot is not None else None
    return begun is not None and stat is not None and begun.timestamp() > stat.st_ctime
