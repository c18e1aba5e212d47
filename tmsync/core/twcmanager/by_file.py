"""Carries out what is planned for a token by TWCManager's settings file, with a restart where TWCManager runs."""

import logging
from dataclasses import replace
from functools import partial

from tmsync.core.causes import Cause
from tmsync.core.errors import DeliveryError
from tmsync.core.fixes import problem
from tmsync.core.twcmanager.delivery import Delivery, Failed, Job, Result, answered, refuse_older
from tmsync.core.twcmanager.plan import Action
from tmsync.core.twcmanager.presence import Presence, Sighting

log = logging.getLogger(__name__)


def keep(job: Job, begun: Delivery) -> Delivery:
    """TWCManager holds the token."""
    if not job.only_asked:  # A killed run may have left something to finish.
        job.file.write(job.wanted.fields, job.clock)
    return replace(begun, result=Result.UNCHANGED, verified=True)


def write(job: Job, begun: Delivery, seen: Sighting | None) -> Delivery:
    """Write settings.json, and restart a running TWCManager.

    Raises: DeliveryError, Failed, NewerTokenHeld.
    """
    refuse = partial(refuse_older, job.wanted)
    if job.options.dry_run:
        job.file.rehearse(job.wanted.fields, job.clock, refuse)
    if job.only_asked:
        return _restarted(job, answered(begun, job.options), seen, Action.WRITE)
    written = job.file.write(job.wanted.fields, job.clock, refuse)
    done = replace(
        begun,
        result=Result.WRITTEN if written.changed else Result.UNCHANGED,
        warnings=written.warnings,
        backup=str(written.backup) if written.backup else None,
    )
    return _proven(job, _restarted(job, done, seen, Action.WRITE))


def take_up(job: Job, begun: Delivery, seen: Sighting | None) -> Delivery:
    """settings.json is right, and the running TWCManager has not read it.

    Raises: DeliveryError, Failed.
    """
    if job.only_asked:
        return _restarted(job, answered(begun, job.options), seen, Action.TAKE_UP)
    return _proven(job, _restarted(job, replace(keep(job, begun), verified=None), seen, Action.TAKE_UP))


def _restarted(job: Job, done: Delivery, seen: Sighting | None, action: Action) -> Delivery:
    """A running TWCManager reads the file at its start only, and writes its own token over it at its next save."""
    if job.options.check or seen is None or seen.presence is not Presence.RUNNING:
        return done
    obstacle = job.restart.obstacle(seen, job.users, action)
    if obstacle is not None:
        return replace(done, lasting=False, warnings=(*done.warnings, obstacle))
    fields = job.wanted.fields
    secrets = fields.bearer, fields.refresh
    try:
        if job.options.dry_run:
            job.restart.check()
            return done
        job.restart.run(secrets)
        if not job.file.read(job.clock).holds(fields):
            log.info("TWCManager saved its old token when it was stopped; once more")
            job.file.write(fields, job.clock)
            job.restart.run(secrets)
    except DeliveryError as error:
        raise Failed(done, error) from None
    return replace(done, twcmanager=Presence.RUNNING)


def _proven(job: Job, done: Delivery) -> Delivery:
    """Whatever came after the write, settings.json holds the token.

    Raises: Failed.
    """
    try:
        held = job.file.read(job.clock)
    except DeliveryError as error:
        raise Failed(done, error) from None
    if held.holds(job.wanted.fields):
        return replace(done, verified=True)
    told = problem(
        Cause.TWCMANAGER_RUNNING,
        f"{job.file.path} was written, and another program put another token there at once",
        variant="overwrites",
    )
    raise Failed(replace(done, verified=False), DeliveryError(told))
