"""Looks at every part at once, so that the whole takes no longer than its slowest part."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from tmsync.core.causes import Cause
from tmsync.core.clock import Clock
from tmsync.core.config.settings import Settings
from tmsync.core.errors import ConfigError, TmsyncError
from tmsync.core.fixes import problem, unforeseen
from tmsync.core.status.problems import merged, problems, unreadable
from tmsync.core.status.report import Broker, Database, Status
from tmsync.core.status.running import ask
from tmsync.core.telemetry.liveness import LivenessProbe, LivenessReport
from tmsync.core.twcmanager.held import held_by_twcmanager

log = logging.getLogger(__name__)

Part = TypeVar("Part")


def look(settings: Settings, *, wait_s: float, clock: Clock, environ: Mapping[str, str]) -> Status:
    """One look. wait_s: seconds to wait for retained values and heartbeats.

    Raises: ConfigError when neither a database nor a broker is configured.
    """
    has_database = settings.get("database.host") is not None
    has_broker = settings.get("mqtt.host") is not None
    serve = settings.serve()
    if not has_database and not has_broker:
        message = "neither database.host nor mqtt.host is set"
        raise ConfigError(problem(Cause.MISSING_SETTING, message, variant="nothing"))
    with ThreadPoolExecutor(max_workers=4, thread_name_prefix="status") as pool:

        def begin(work: Callable[[], Part], nothing: Part, *, wanted: bool) -> "Future[Part]":
            if wanted:
                return pool.submit(work)
            done: Future[Part] = Future()
            done.set_result(nothing)
            return done

        tokens = begin(lambda: _tokens(settings, clock, environ), Database(), wanted=has_database)
        held = pool.submit(held_by_twcmanager, settings, None, clock)
        told = None if serve is None else ask(serve, settings.twcmanager().settings_file, settings.state_dir)
        views = told.vehicles if told is not None else None
        listens = has_broker and views is None
        heard = begin(lambda: _broker(settings, wait_s, clock), (Broker(), LivenessReport()), wanted=listens)
        asked = begin(lambda: _liveness(settings, clock), LivenessReport(), wanted=has_database and not listens)
        broker, report = heard.result()
        report = report if listens else asked.result()
        sessions = report.sessions
        if told is not None and views is not None:
            broker = Broker(True, told.where, None, views[0].namespace, vehicles=views)
            sessions = told.sessions
        unread = unreadable(report, settings.database()) if has_database else None
        database = replace(tokens.result(), cars=report.cars, sessions=sessions, unread=unread)
        config_file = str(settings.config_path) if settings.config_path else None
        local = settings.twcmanager().local_token
        facade = told.facade if told is not None else None
        # The counts are those of one that answers.
        delivers = facade is not None and facade.answered is not None and settings.get("serve.deliver_tokens")
        status = Status(
            clock.now(), config_file, database, held.result(), broker,
            facade=facade, serve=serve, local_token=local, delivers=delivers,
        )  # fmt: skip
    unwise = (*settings.warnings, *(settings.mqtt().warnings if has_broker else ()))
    found = problems(status, unwise)
    return replace(status, problems=found if told is None else merged(found, told.problems))


def _probe(settings: Settings, clock: Clock) -> LivenessProbe:
    database = settings.database() if settings.get("database.host") is not None else None
    return LivenessProbe(database, settings.get("teslamate.url"), clock)


def _liveness(settings: Settings, clock: Clock) -> LivenessReport:
    try:
        return _probe(settings, clock).ask()
    except Exception as error:  # noqa: BLE001 - whatever a library raises, the other parts are told
        log.info(unforeseen(error).message)
        return LivenessReport()


def _tokens(settings: Settings, clock: Clock, environ: Mapping[str, str]) -> Database:
    from tmsync.core.check_db.tokens import read_tokens

    target = settings.database()
    try:
        tokens = read_tokens(settings, clock=clock, environ=environ, with_refresh=False)
    except TmsyncError as error:
        return Database(False, target.place, error.problem)
    except Exception as error:  # noqa: BLE001 - whatever a library raises, the other parts are told
        return Database(False, target.place, unforeseen(error))
    return Database(True, target.place, tokens=tokens)


def _broker(settings: Settings, wait_s: float, clock: Clock) -> tuple[Broker, LivenessReport]:
    target = settings.mqtt()
    try:
        return _listen(settings, wait_s, clock)
    except Exception as error:  # noqa: BLE001 - as above
        return Broker(False, target.place, unforeseen(error), target.namespace), LivenessReport()


def _listen(settings: Settings, wait_s: float, clock: Clock) -> tuple[Broker, LivenessReport]:
    from tmsync.core.telemetry.monitor import SETTLE_MOST_S, TelemetryMonitor, rules_of

    probe = _probe(settings, clock)
    target = settings.mqtt()
    with TelemetryMonitor(target, rules_of(settings), clock, probe=probe) as monitor:
        try:
            monitor.wait_connected()
        except TmsyncError as error:
            monitor.wait_reported()
            return Broker(False, target.place, error.problem, monitor.fleet.namespace), monitor.report
        views = monitor.single_look(wait_s, min(wait_s, SETTLE_MOST_S))
        no_vehicles = None if views else monitor.explore()
        namespace, elsewhere = monitor.fleet.namespace, bool(monitor.other_namespaces)
        return Broker(True, target.place, None, namespace, no_vehicles, elsewhere, tuple(views)), monitor.report
