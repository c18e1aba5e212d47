"""What is shown of a vehicle, and of a change of its source."""

from datetime import datetime
from typing import Any, NamedTuple

from tmsync.core.clock import iso
from tmsync.core.telemetry.health import Judgement, Source, Verdict
from tmsync.core.teslamate.topics import Value


class VehicleView(NamedTuple):
    """A vehicle at one moment, for any renderer. Times are UTC, spans are seconds."""

    at: datetime
    car_id: int
    namespace: str
    name: str
    names: tuple[str, ...]
    """Every display name it has had since we listen, in order."""
    state: str | None
    since: datetime | None
    healthy: bool | None
    judgement: Judgement
    last_heartbeat_at: datetime | None
    silence_s: float
    retained_only: bool
    unparsable: int
    telemetry: dict[str, Value]
    told: frozenset[str] = frozenset()
    """The keys of it that came since the broker was last lost: it may have lost all others."""
    heard_at: float | None = None
    """The last heartbeat, in seconds of running time."""
    connected_at: float = 0.0
    """When the present subscription began, or the last one, in seconds of running time."""
    cut_off_until: float = 0.0
    """Until when the broker was last out of reach, in seconds of running time; infinite while it is."""
    in_drive: bool = False
    """Whether it is offline in a drive, whose beginning `since` still tells."""

    def without_time(self) -> tuple[Any, ...]:
        """What makes two views tell different things: all but the spans that grow by themselves."""
        judged = (self.judgement.verdict, self.judgement.thresholds)
        known = (self.name, self.state, self.since, self.healthy, self.last_heartbeat_at, self.retained_only)
        return (*known, *judged, self.unparsable, self.telemetry)

    @property
    def name_is_made_up(self) -> bool:
        """Whether TeslaMate has told no display name."""
        return self.name == f"car {self.car_id}"

    def as_json(self) -> dict[str, Any]:
        """The vehicle event's fields, without `event`.

        Fields:
            at (time): the moment all this is true of
            car_id (integer): TeslaMate's id, as in its topics
            namespace (text): TeslaMate's MQTT_NAMESPACE; empty without one
            name (text): its display name, else "car ID"
            state (text or null): TeslaMate's word for what the car does
            since (time or null): since when it does that, by TeslaMate
            healthy (boolean or null): TeslaMate's health flag
            verdict (Verdict): what is to be thought of its telemetry
            source (Source): whom to ask
            reason (text): what the verdict rests on
            last_heartbeat_at (time or null): when TeslaMate last looked at it
            silence_s (number, s): since the last heartbeat, or since its state changed
            late_after_s (number, s): silence that makes it late; 0: none does
            stale_after_s (number, s): silence that makes it stale; 0: none does
            retained_only (boolean): whether nothing live has come yet
            unparsable (integer): values that were not of their topic's type, and not taken
            telemetry (object): topic -> value, of every known topic that was seen
            telemetry.* (any): typed as the list of topics says; null once the topic is deleted
        """
        return {
            "at": iso(self.at),
            "car_id": self.car_id,
            "namespace": self.namespace,
            "name": self.name,
            "state": self.state,
            "since": iso(self.since) if self.since else None,
            "healthy": self.healthy,
            "verdict": self.judgement.verdict.value,
            "source": self.judgement.source.value,
            "reason": self.judgement.reason,
            "last_heartbeat_at": iso(self.last_heartbeat_at) if self.last_heartbeat_at else None,
            "silence_s": round(self.silence_s, 1),
            "late_after_s": self.judgement.thresholds.late_after_s,
            "stale_after_s": self.judgement.thresholds.stale_after_s,
            "retained_only": self.retained_only,
            "unparsable": self.unparsable,
            "telemetry": {key: iso(v) if isinstance(v, datetime) else v for key, v in self.telemetry.items()},
        }


class SourceChange(NamedTuple):
    """Another source is to be used for a vehicle from now on."""

    at: datetime
    car_id: int
    name: str
    before: Source
    after: Source
    verdict: Verdict
    message: str

    def as_json(self) -> dict[str, Any]:
        """The source event's fields, without `event`.

        Fields:
            at (time): when
            car_id (integer): TeslaMate's id
            name (text): its display name, else "car ID"
            from (Source): whom to ask until now
            to (Source): whom to ask from now on
            verdict (Verdict): why
            message (text): the same in TWCManager's words
        """
        return {
            "at": iso(self.at),
            "car_id": self.car_id,
            "name": self.name,
            "from": self.before.value,
            "to": self.after.value,
            "verdict": self.verdict.value,
            "message": self.message,
        }


def source_message(name: str, after: Source, verdict: Verdict, *, again: bool) -> str:
    """TWCManager's own words where it has them.

    again: whether TeslaMate was distrusted before.
    Source: TWCManager lib/TWCManager/Vehicle/TeslaMateVehicle.py (its log lines).
    """
    if after is Source.TESLAMATE:
        resumed = "has resumed being provided" if again else "being provided"
        return f"Vehicle {name} telemetry {resumed} by TeslaMate"
    if verdict is Verdict.BLIND:
        return f"TeslaMate gets no data of {name} from Tesla. Switching back to TeslaAPI"
    if verdict is Verdict.UNHEALTHY:
        return f"TeslaMate reports {name} unhealthy. Switching back to TeslaAPI"
    return f"Data from TeslaMate for {name} is stale. Switching back to TeslaAPI"
