"""Which token TWCManager holds, since when, and what stands in its way. Nothing is sent and nothing is changed.

Source: TWCManager lib/TWCManager/TWCMaster.py (saveSettings writes the tokens it holds in memory).
"""

from datetime import UTC, datetime
from typing import NamedTuple

from tmsync.core.clock import Clock
from tmsync.core.config.settings import Settings, TwcSettings
from tmsync.core.errors import DeliveryError, Problem
from tmsync.core.files.state import StateError
from tmsync.core.teslamate.assessment import fingerprint
from tmsync.core.teslamate.claims import read_claims
from tmsync.core.twcmanager.facade import TwcFacts, facts_of
from tmsync.core.twcmanager.http import Revealed
from tmsync.core.twcmanager.local_token import LocalBearers
from tmsync.core.twcmanager.presence import STATUS_TIMEOUT_S, Presence, asks_fleet_api, is_far, look_for, users_of
from tmsync.core.twcmanager.settings_content import BEARER, REFRESH, Snapshot, exposed, parse, read_raw
from tmsync.core.twcmanager.settings_file import SettingsFile


class Held(NamedTuple):
    """What is known; None where it cannot be told from here."""

    presence: Presence
    reason: str
    """What `presence` rests on, in words."""
    url: str | None
    """Where its web control answers."""
    settings_file: str
    fingerprint: str | None = None
    """Of the access token in its settings; None when it holds none, or `problem` keeps it from being read."""
    in_sync: bool | None = None
    """Whether that is the token asked about."""
    since: datetime | None = None
    """UTC. It was there at this time, and came then or before: the oldest save at hand that holds it."""
    expires_at: datetime | None = None
    """UTC, by the token's own claims."""
    holds_refresh_token: bool | None = None
    sync_enabled: bool | None = None
    """Whether its own token sync is on, by its configuration file, else by what its web control tells."""
    needs_fleet_token: bool = False
    """Whether it is known to be newer than 1.3.2, which talks to the Fleet API alone, and asks Tesla directly."""
    problem: Problem | None = None
    """Why its settings cannot be read."""
    facts: TwcFacts = TwcFacts()
    """Where its configuration sends its requests, and what else counts for tmsync serve."""
    accepted: bool | None = None
    """Whether tmsync serve accepts the token it holds; None where it gets TeslaMate's, or that cannot be told."""
    exposed: Problem | None = None
    """That every user of this machine can read the token."""

    @property
    def readable(self) -> bool:
        """Whether its settings could be read, so that no token means that it holds none."""
        return self.holds_refresh_token is not None


def held_by_twcmanager(settings: Settings, current: str | None, clock: Clock) -> Held:
    """Look at TWCManager's settings and at TWCManager itself.

    current: fingerprint of TeslaMate's token; None when that is not known, and then `in_sync` is not either.
    Never raises for what it is there to tell. May take four seconds when nobody answers at its address.
    """
    twc = settings.twcmanager()
    file = SettingsFile(twc.settings_file)
    sighting = look_for(twc, file.real)
    revealed = Revealed() if sighting.url is None else _ask(twc, sighting.url, file)
    from_file = twc.config is not None and revealed.facts.proxy is None
    found = Held(
        sighting.presence,
        sighting.reason,
        sighting.url,
        str(twc.settings_file),
        sync_enabled=twc.config.sync_tokens if twc.config is not None else revealed.syncs_itself,
        needs_fleet_token=asks_fleet_api(sighting, twc.config),
        facts=facts_of(twc.config.data) if twc.config is not None and from_file else revealed.facts,
    )
    if is_far(twc):
        return found
    try:
        snapshot = file.read(clock)
    except DeliveryError as error:
        if twc.only_url_is_named:
            # Nobody has said that there is a file on this machine.
            from tmsync.core.twcmanager.http import why_not

            return found if sighting.url else found._replace(problem=why_not(twc.url, STATUS_TIMEOUT_S).problem)
        return found._replace(problem=error.problem)
    token = snapshot.held(BEARER)
    claims = read_claims(token)
    known = fingerprint(token) if token else None
    return found._replace(
        fingerprint=known,
        in_sync=None if current is None else known == current,
        expires_at=claims.expires_at if claims else None,
        since=_since(file, snapshot) if token else None,
        holds_refresh_token=bool(snapshot.held(REFRESH)),
        accepted=_accepted(settings, token),
        exposed=exposed(file.real, soon=twc.local_token) if token else None,
    )


def _ask(twc: TwcSettings, url: str, file: SettingsFile) -> Revealed:
    from tmsync.core.twcmanager.http import reveal

    return reveal(url, STATUS_TIMEOUT_S, users_of(twc, file.real))


def _accepted(settings: Settings, token: str) -> bool | None:
    if not settings.twcmanager().local_token:
        return None
    try:
        return LocalBearers(settings.state_dir).known().accepts(token)
    except StateError:
        return None


def _since(file: SettingsFile, snapshot: Snapshot) -> datetime | None:
    times = [snapshot.stat.st_mtime] if snapshot.stat is not None else []
    try:
        raw, found = read_raw(file.backup)
        before = parse(file.backup, raw, file.backup) if found is not None else {}
    except DeliveryError:
        found, before = None, {}
    if found is not None and before.get(BEARER) == snapshot.held(BEARER):
        times.append(found.st_mtime)
    return datetime.fromtimestamp(int(min(times)), UTC) if times else None
