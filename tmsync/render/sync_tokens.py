"""sync-tokens for people and for cron's mails: one line per change, silence otherwise."""

from datetime import datetime

from tmsync.core.outage import News, Telling
from tmsync.core.sync import Report
from tmsync.core.teslamate.claims import EXPIRES_SOON
from tmsync.core.twcmanager.delivery import Delivery, Result
from tmsync.core.twcmanager.plan import Via
from tmsync.core.twcmanager.presence import Presence
from tmsync.core.words import in_words, life


def line(report: Report, now: datetime) -> str:
    """What happened, in one line; empty when the error says it all."""
    tokens, delivery = report.tokens, report.delivery
    if report.local and delivery is not None and report.error is None:
        return _local(delivery)
    if tokens is None or delivery is None or report.error is not None:
        return ""
    token = f"token {tokens.fingerprint}"
    left = f", {life(tokens.expires_at - now)}"
    target = delivery.target if delivery.via is Via.FILE else f"TWCManager at {delivery.target}"
    held = f"TWCManager holds {delivery.held}" if delivery.held else "TWCManager holds no token"
    differs = f"{held}, TeslaMate {tokens.fingerprint}"
    if delivery.held == tokens.fingerprint:
        differs = f"{held} as TeslaMate does, but its refresh token or expiry is not as it should be"
    unseen = delivery.twcmanager is Presence.UNKNOWN
    start = (
        "; if TWCManager is running, which cannot be seen from here, it reads the file at its next start"
        if unseen
        else ""
    )
    proof = "" if delivery.verified else " (whether TWCManager took it cannot be verified from here)"
    return {
        Result.WRITTEN: f"{token} written to {target}{left}{start}",
        Result.PUSHED: f"{token} pushed to {target}{left}{proof}",
        Result.UNCHANGED: f"unchanged: {target} holds {token}{left}",
        Result.DRY_RUN: f"dry run: {token} would go to {target}{left}; {held}",
        Result.OUT_OF_SYNC: f"out of sync: {differs}",
    }[report.result]


def about(outage: News, now: datetime) -> str:
    """What is said of an outage of TeslaMate's database besides the error itself."""
    lasted = in_words(now - outage.since) if outage.since is not None else ""
    if outage.telling is Telling.OVER:
        return f"TeslaMate's database answers again, after {lasted}"
    told = "The next message comes when it answers again"
    if outage.expires_at is None:
        return f"{told}."
    left = outage.expires_at - now
    if outage.telling is Telling.LOW:
        return f"It has been out of reach for {lasted}, and TWCManager's token {life(left)}. {told}."
    if left < EXPIRES_SOON:
        return f"TWCManager's token {life(left)}. {told}."
    return f"{told}, or an hour before TWCManager's token expires (in {in_words(left)})."


def _local(delivery: Delivery) -> str:
    """Of a token of tmsync's own, which does not expire."""
    target = delivery.target if delivery.via is Via.FILE else f"TWCManager at {delivery.target}"
    held = f"TWCManager holds {delivery.held}" if delivery.held else "TWCManager holds no token"
    return {
        Result.WRITTEN: f"local token written to {target}",
        Result.PUSHED: f"local token pushed to {target}",
        Result.UNCHANGED: f"unchanged: {target} holds a local token",
        Result.DRY_RUN: f"dry run: a local token would go to {target}; {held}",
        Result.OUT_OF_SYNC: f"out of sync: {held}, which is none of tmsync serve's",
    }[delivery.result]
