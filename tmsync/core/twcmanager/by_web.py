"""Carries out what is planned for a token by TWCManager's web control, and looks for the proof in its settings file.

Source: TWCManager lib/TWCManager/Control/HTTPControl.py.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.errors import DeliveryError
from tmsync.core.files.lock import exclusive
from tmsync.core.files.paths import is_file, is_there
from tmsync.core.fixes import problem
from tmsync.core.twcmanager.delivery import (
    Delivery,
    Failed,
    Job,
    Result,
    answered,
    fingerprint_of,
    holds_refresh_token,
    refuse_older,
    syncs_itself,
)
from tmsync.core.twcmanager.presence import STATUS_TIMEOUT_S, is_here
from tmsync.core.twcmanager.settings_content import BEARER, REFRESH, Snapshot
from tmsync.core.twcmanager.settings_file import SettingsFile

log = logging.getLogger(__name__)

HTTP_TIMEOUT_S: Final = 5.0
PROOF_S: Final = 3.0
"""How long TWCManager may take to save what was pushed."""


def at_its_own_file(job: Job, url: str) -> Job:
    """Where nobody named a settings file and none is found: with the one TWCManager on this host says it uses.

    Raises: DeliveryError, also where TWCManager refuses other tokens.
    """
    from tmsync.core.twcmanager.http import reveal

    revealed = reveal(url, STATUS_TIMEOUT_S, job.users)
    if revealed.syncs_itself:
        raise DeliveryError(syncs_itself(url))
    told = revealed.settings_file
    known = job.twc.settings_given or job.twc.config is not None or is_there(job.file.real)
    if told is None or known or job.far or not is_here(url) or not is_file(told):
        return job
    log.info("TWCManager says that its settings are in %s", told)
    return replace(job, file=SettingsFile(told))


def push(job: Job, begun: Delivery, *, again: bool) -> Delivery:
    """Hand the token to the web control, unless TWCManager holds it.

    again: although settings.json holds it.
    Raises: DeliveryError, Failed, NewerTokenHeld.
    """
    url = begun.target
    snapshot = _seen(job)
    if snapshot is not None:
        warned = not job.wanted.shared and bool(snapshot.held(REFRESH))
        begun = replace(begun, held=fingerprint_of(snapshot), warnings=(holds_refresh_token(),) if warned else ())
    if snapshot is not None and _is_held(job, snapshot) and not again:
        return replace(begun, result=Result.UNCHANGED, verified=True)
    if job.options.check and snapshot is None:
        told = problem(
            Cause.SETTINGS_UNREADABLE,
            f"{job.file.path} cannot be read here, so it is not known which token TWCManager holds",
            variant="for-check",
        )
        raise Failed(begun, DeliveryError(told))
    if job.options.check:
        return answered(begun, job.options)
    with _alone(job, snapshot):
        if job.options.dry_run:
            return answered(begun, job.options)
        verified = _pushed(job, url)
    if verified is False:
        told = problem(
            Cause.TWCMANAGER_REFUSED,
            f"TWCManager at {url} answered, but {job.file.path} does not hold the new token",
            variant="not-taken",
        )
        raise Failed(replace(begun, verified=False), DeliveryError(told))
    return replace(begun, result=Result.PUSHED, verified=verified)


def _pushed(job: Job, url: str) -> bool | None:
    """Push, and look for the proof; None where there is none to be had."""
    from tmsync.core.twcmanager import http

    form = {BEARER: job.wanted.fields.bearer}
    if job.wanted.shared:
        form[REFRESH] = job.wanted.fields.refresh
    before = _seen(job)
    if before is not None:
        refuse_older(job.wanted, before)
    http.push(url, form, HTTP_TIMEOUT_S, job.users)
    if before is None:
        return None
    proven = _proof(job, before)
    if proven is False and _has_saved_since(job, before):
        # Its web control answers before its settings are loaded, and loading them undoes what was pushed.
        log.info("TWCManager saved another token, as it does when it is just starting; once more")
        http.push(url, form, HTTP_TIMEOUT_S, job.users)
        proven = _proof(job, before)
    if proven:
        job.file.note_save_by_twcmanager()
    return proven


@contextmanager
def _alone(job: Job, snapshot: Snapshot | None) -> Iterator[None]:
    """Where a settings file is to be seen, no other run pushes or writes at the same time.

    Raises: DeliveryError (locked).
    """
    with ExitStack() as stack:
        if snapshot is not None:
            try:
                stack.enter_context(exclusive(job.file.real, job.clock))
            except OSError as error:
                log.info("no lock beside %s: %s", job.file.real, error.strerror)
        yield


def _seen(job: Job) -> Snapshot | None:
    if job.far:
        log.info("no proof by file: TWCManager is on another host")
        return None
    try:
        snapshot = job.file.read(job.clock)
    except DeliveryError as error:
        log.info("no proof by file: %s", error)
        return None
    return snapshot if snapshot.stat is not None else None


def _is_held(job: Job, snapshot: Snapshot) -> bool:
    """What counts in a running TWCManager; the expiry it works out by itself."""
    fields = job.wanted.fields
    refresh = not job.wanted.shared or snapshot.held(REFRESH) == fields.refresh
    return snapshot.held(BEARER) == fields.bearer and refresh


def _proof(job: Job, before: Snapshot) -> bool | None:
    """Whether TWCManager has saved since, and what it saved holds the token; None where that cannot be read."""
    deadline = job.clock.monotonic() + PROOF_S
    pause = 0.01
    while True:
        snapshot = _seen(job)
        if snapshot is not None and _is_held(job, snapshot) and snapshot.moment != before.moment:
            return True
        if job.clock.monotonic() >= deadline:
            return None if snapshot is None else False
        job.clock.sleep(pause)
        pause = min(2 * pause, 0.2)


def _has_saved_since(job: Job, before: Snapshot) -> bool:
    now = _seen(job)
    return now is not None and now.moment != before.moment
