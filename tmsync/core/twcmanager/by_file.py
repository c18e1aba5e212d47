"""Carries out what is planned for a token by TWCManager's settings file, with a restart where TWCManager runs."""

import logging
from dataclasses import replace

from tmsync.core.causes import Cause
from tmsync.core.errors import DeliveryError
from tmsync.core.fixes import problem
from tmsync.core.twcmanager.delivery import Delivery, Failed, Order, Result, answered, refuse_older
from tmsync.core.twcmanager.plan import Action
from tmsync.core.twcmanager.presence import Presence, Sighting
from tmsync.core.twcmanager.settings_content import Snapshot

log = logging.getLogger(__name__)


def keep(order: Order, begun: Delivery) -> Delivery:
    """TWCManager holds the token."""
    if not order.only_asked:  # A killed run may have left something to finish.
        order.file.write(order.wanted.fields, order.clock)
    return replace(begun, result=Result.UNCHANGED, verified=True)


def write(order: Order, begun: Delivery, seen: Sighting | None) -> Delivery:
    """Write settings.json, and restart a running TWCManager.

    Raises: DeliveryError, Failed, NewerTokenHeld.
    """

    def refuse(held: Snapshot) -> None:
        refuse_older(order.wanted, held)

    if order.options.dry_run:
        order.file.rehearse(order.wanted.fields, order.clock, refuse)
    if order.only_asked:
        return _restarted(order, answered(begun, order.options), seen, Action.WRITE)
    written = order.file.write(order.wanted.fields, order.clock, refuse)
    done = replace(
        begun,
        result=Result.WRITTEN if written.changed else Result.UNCHANGED,
        warnings=written.warnings,
        backup=str(written.backup) if written.backup else None,
    )
    done = _restarted(order, done, seen, Action.WRITE)
    if not order.file.read(order.clock).holds(order.wanted.fields):
        told = problem(
            Cause.TWCMANAGER_RUNNING,
            f"{order.file.path} was written, and another program put another token there at once",
            variant="overwrites",
        )
        raise Failed(replace(done, verified=False), DeliveryError(told))
    return replace(done, verified=True)


def take_up(order: Order, begun: Delivery, seen: Sighting | None) -> Delivery:
    """settings.json is right, and the running TWCManager has not read it.

    Raises: DeliveryError, Failed.
    """
    begun = answered(begun, order.options) if order.only_asked else keep(order, begun)
    return _restarted(order, begun, seen, Action.TAKE_UP)


def _restarted(order: Order, done: Delivery, seen: Sighting | None, action: Action) -> Delivery:
    """A running TWCManager reads the file at its start only, and writes its own token over it at its next save."""
    if order.options.check or seen is None or seen.presence is not Presence.RUNNING:
        return done
    obstacle = order.restart.obstacle(seen, order.users, action)
    if obstacle is not None:
        return replace(done, lasting=False, warnings=(*done.warnings, obstacle))
    fields = order.wanted.fields
    secrets = fields.bearer, fields.refresh
    try:
        if order.options.dry_run:
            order.restart.check()
            return done
        order.restart.run(secrets)
        if not order.file.read(order.clock).holds(fields):
            log.info("TWCManager saved its old token when it was stopped; once more")
            order.file.write(fields, order.clock)
            order.restart.run(secrets)
    except DeliveryError as error:
        raise Failed(done, error) from None
    return replace(done, twcmanager=Presence.RUNNING)
