"""Trials of what was answered: does the database let us in, does the broker, and are cars there?"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from tmsync.core.causes import Cause
from tmsync.core.check_db.report import CheckId, Diagnosis, Stage, Status
from tmsync.core.clock import Clock
from tmsync.core.config.settings import Settings, TwcSettings
from tmsync.core.errors import BrokerError, Problem

LIMIT_S: Final = 2.0
"""For each look at a web server."""


class TrialResult(NamedTuple):
    """A trial's outcome. failure: what is to blame; reached: whether the trial came as far as this question."""

    good: str = ""
    failure: Problem | None = None
    reached: bool = True


def try_database(settings: Settings, stage: Stage, clock: Clock, environ: Mapping[str, str]) -> TrialResult:
    """Climb check-db's ladder; only `stage` counts, since what comes after it has not been asked for yet."""
    from tmsync.core.check_db.ladder import diagnose

    found = diagnose(settings, clock=clock, environ=environ)
    failure = found.failure
    stages = list(Stage)
    if failure is not None and failure.id.stage is stage:
        return TrialResult(failure=failure.problem)
    if failure is not None and stages.index(failure.id.stage) < stages.index(stage):
        return TrialResult(reached=False)
    return TrialResult(good="; ".join(_good(found, stage)))


def _good(found: Diagnosis, stage: Stage) -> list[str]:
    """What the stage's checks said, without those that only repeat."""
    telling = {CheckId.CONNECT, CheckId.PROTOCOL, CheckId.LOGIN, CheckId.DECRYPT}
    passed = (Status.PASS, Status.WARN)
    return [
        check.summary
        for check in found.checks
        if check.id.stage is stage and check.id in telling and check.status in passed
    ]


def try_web_control(twc: TwcSettings) -> TrialResult:
    """Whether TWCManager, and not another web server, answers where its web control is said to be."""
    from tmsync.core.twcmanager.http import first_answering, why_not

    url = first_answering(twc.urls, LIMIT_S)
    if url is None:
        return TrialResult(failure=why_not(twc.url, LIMIT_S).problem)
    return TrialResult(f"TWCManager answers at {url}")


class BrokerTrial(NamedTuple):
    """problem: None when there are cars; namespaces: where there are some instead, if only there."""

    problem: Problem | None
    namespaces: list[str]

    @property
    def is_about_namespace(self) -> bool:
        """Whether the broker lets us in, and shows no cars where we look."""
        return self.problem is not None and self.problem.cause is Cause.NO_VEHICLES


def try_broker(settings: Settings, clock: Clock) -> BrokerTrial:
    """Connect and look for cars. The causes are watch-mqtt's."""
    from tmsync.core.telemetry.monitor import TelemetryMonitor, rules_of

    try:
        with TelemetryMonitor(settings.mqtt(), rules_of(settings), clock) as monitor:
            monitor.wait_connected()
            monitor.wait_settled()
            problem = None if len(monitor.fleet) else monitor.explore()
            return BrokerTrial(problem, monitor.other_namespaces)
    except BrokerError as error:
        return BrokerTrial(error.problem, [])
