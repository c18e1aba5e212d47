"""Brings a token to TWCManager: look, decide, carry out."""

import logging
from dataclasses import replace
from datetime import datetime

from tmsync.core.clock import Clock
from tmsync.core.config.settings import TwcSettings
from tmsync.core.errors import DeliveryError
from tmsync.core.twcmanager import by_file
from tmsync.core.twcmanager.delivery import Delivery, Failed, Job, Result, WantedToken, fingerprint_of
from tmsync.core.twcmanager.plan import Action, Plan, Situation, SyncOptions, Via, decide
from tmsync.core.twcmanager.presence import (
    STATUS_TIMEOUT_S,
    Presence,
    Sighting,
    asks_fleet_api,
    is_far,
    look_for,
    started_at,
    users_of,
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
    job = Job(twc, wanted, options, clock, restart, file, users_of(twc, file.real), is_far(twc))
    situation = survey(job)
    plan = decide(situation, wanted.fields, options)
    if plan.action is Action.LOOK:
        situation = _with_sighting(job, situation)
        plan = decide(situation, wanted.fields, options)
    begun = _begun(job, situation, plan)
    try:
        if plan.action in (Action.PUSH, Action.PUSH_AGAIN):
            from tmsync.core.twcmanager.by_web import at_its_own_file

            job = at_its_own_file(job, begun.target)
        done = carry_out(plan, situation, job, begun)
    except Failed as failed:
        done = replace(failed.delivery, result=Result.FAILED, error=failed.error)
    except DeliveryError as error:
        done = replace(begun, error=error)
    loose = None if job.far else exposed(job.file.real)
    return done if loose is None else replace(done, warnings=(*done.warnings, loose))


def survey(job: Job) -> Situation:
    """What is known of TWCManager before anybody has looked whether it runs."""
    held, unreadable = None, None
    if job.options.via is not Via.HTTP and not (job.far and job.options.via is Via.AUTO):
        try:
            held = job.file.read(job.clock)
        except DeliveryError as error:
            log.info("%s", error)
            unreadable = error
    ours = held is not None and held.holds(job.wanted.fields) and job.file.is_ours(held)
    return Situation(held, ours, far=job.far, unreadable=unreadable)


def _with_sighting(job: Job, situation: Situation) -> Situation:
    seen = look_for(job.twc, job.file.real)
    log.info("TWCManager is %s: %s", seen.presence, seen.reason)
    return replace(situation, seen=seen, has_read=_has_read(seen, situation.held, job.clock.now()))


def carry_out(plan: Plan, situation: Situation, job: Job, begun: Delivery) -> Delivery:
    """Do what is planned; what came of it.

    Raises: DeliveryError, Failed, NewerTokenHeld.
    """
    match plan.action:
        case Action.KEEP:
            return by_file.keep(job, begun)
        case Action.WRITE:
            return by_file.write(job, begun, situation.seen)
        case Action.TAKE_UP:
            return by_file.take_up(job, begun, situation.seen)
        case Action.PUSH | Action.PUSH_AGAIN:
            from tmsync.core.twcmanager.by_web import push

            return push(job, begun, again=plan.action is Action.PUSH_AGAIN)
        case _:
            raise _no_way(situation, job)


def _no_way(situation: Situation, job: Job) -> DeliveryError:
    if situation.unreadable is not None and not job.twc.only_url_is_named:
        return situation.unreadable
    from tmsync.core.twcmanager.http import why_not

    return why_not(job.twc.url, STATUS_TIMEOUT_S, job.users)


def _begun(job: Job, situation: Situation, plan: Plan) -> Delivery:
    seen = situation.seen
    return Delivery(
        plan.via,
        str(job.file.path) if plan.via is Via.FILE else (seen and seen.url) or job.twc.url,
        twcmanager=seen.presence if seen else Presence.UNKNOWN,
        held=fingerprint_of(situation.held),
        fleet_only=seen is not None and asks_fleet_api(seen, job.twc.config),
    )


def _has_read(seen: Sighting, snapshot: Snapshot | None, now: datetime) -> bool:
    """Whether TWCManager was started after the file was put into place."""
    begun = started_at(seen.process, now) if seen.process is not None else None
    stat = snapshot.stat if snapshot is not None else None
    return begun is not None and stat is not None and begun.timestamp() > stat.st_ctime
