"""How long Tesla must not be asked, by the class of a request. Pure but for what it keeps; times are passed in.

Source: Tesla Fleet API documentation, "Billing and Limits" (429 with Retry-After, by class); TeslaMate
lib/tesla_api/vehicle.ex (300 s where 429 names no time; 403 "account disabled: EXCEEDED_LIMIT", which names none, 900).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

from tmsync.core.serve.request import RateClass

UNNAMED_S: Final = 300.0
EXCEEDED_S: Final = 900.0
MOST_S: Final = 86400.0


class Hold(NamedTuple):
    """Seconds of running time."""

    since: float
    """The first refusal since Tesla last answered a request of the class."""
    until: float

    def left(self, now: float) -> float:
        """Seconds until it is over, with a begun one counted as whole."""
        return self.until - now + 1


def retry_after(header: str | None, now: datetime, otherwise: float) -> float:
    """Seconds to wait. header: Retry-After, a number or a date. otherwise: where it says nothing that can be read."""
    text = (header or "").strip()
    if text.isascii() and text.isdecimal() and len(text) <= 9:
        return min(float(text), MOST_S)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return otherwise
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return min(max((moment - now).total_seconds(), 0.0), MOST_S)


class Limits:
    """What Tesla has limited."""

    def __init__(self) -> None:
        self._holds: dict[RateClass, Hold] = {}

    def refused(self, rate_class: RateClass, now: float, seconds: float) -> None:
        """Tesla has refused a request, for so many seconds."""
        before = self._holds.get(rate_class, Hold(now, now))
        self._holds[rate_class] = Hold(before.since, max(before.until, now + seconds))

    def accepted(self, rate_class: RateClass, now: float) -> None:
        """Tesla has answered one. While a hold lasts that ends nothing: the request was under way before it."""
        hold = self._holds.get(rate_class)
        if hold is not None and hold.until <= now:
            del self._holds[rate_class]

    def at(self, now: float) -> Mapping[RateClass, Hold]:
        """The holds that last."""
        return {rate_class: hold for rate_class, hold in self._holds.items() if hold.until > now}
