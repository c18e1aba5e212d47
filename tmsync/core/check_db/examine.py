"""check-db as a whole: the ladder, the file, and what the one tells of the other."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from tmsync.core.causes import Cause
from tmsync.core.check_db.hba_file import HbaFileResult, HbaQuery, check_file
from tmsync.core.check_db.report import Check, CheckId, Diagnosis, Status
from tmsync.core.clock import Clock
from tmsync.core.config.settings import Settings
from tmsync.core.errors import ConfigError, Problem, TmsyncError
from tmsync.core.fixes import problem

LOCAL: Final = "local"
"""As --client-address: the Unix socket."""
RELOAD_TRIES: Final = 20
RELOAD_PAUSE_S: Final = 0.1


class HbaRequest(NamedTuple):
    """What --pg-hba and its companions ask for. client_tls: None where neither flag was given."""

    path: Path
    offline: bool = False
    client_address: str | None = None
    client_tls: bool | None = None
    member_of: tuple[str, ...] = ()
    apply: bool = False


def examine(
    settings: Settings | ConfigError, request: HbaRequest | None, *, clock: Clock, environ: Mapping[str, str]
) -> Diagnosis:
    """Run the ladder, and the check hba-file where it is asked for. Never raises for what it is there to find."""
    if request is not None and request.offline:
        return _offline(settings, request, clock)
    from tmsync.core.check_db.ladder import diagnose

    found = diagnose(settings, clock=clock, environ=environ)
    if request is None or isinstance(settings, ConfigError):
        return found
    result, query = _check_file(settings, request, found, clock)
    if query is None or not request.apply:
        return _beside(found, result.check)
    if result.insertion is not None:
        check, told = _apply(query, result, settings)
    elif _is_stale(found, result.check):
        check, told = result.check, _reload(settings, query.path) is not None
    else:
        _leave(query)
        return _beside(found, result.check)
    if not told:
        return _beside(found, check)
    # The file is right and the server has been told: does the ladder agree?
    for _ in range(RELOAD_TRIES):
        found = diagnose(settings, clock=clock, environ=environ)
        hba = found.of(CheckId.PG_HBA)
        if hba is None or hba.status is not Status.FAIL:
            break
        clock.sleep(RELOAD_PAUSE_S)
    return _beside(found, check)


def _is_stale(found: Diagnosis, check: Check) -> bool:
    """Whether the file lets this client in and the server does not: it has not read this version yet."""
    hba = found.of(CheckId.PG_HBA)
    return hba is not None and hba.status is Status.FAIL and check.status in (Status.PASS, Status.WARN)


def _offline(settings: Settings | ConfigError, request: HbaRequest, clock: Clock) -> Diagnosis:
    found = Diagnosis()
    if isinstance(settings, ConfigError):
        found.checks.append(Check(CheckId.CONFIG, Status.FAIL, problem=settings.problem))
        return found
    found.aim(settings)
    result, query = _check_file(settings, request, found, clock)
    check = result.check
    if query is not None and request.apply:
        if result.insertion is not None:
            check, _ = _apply(query, result, None)
        else:
            _leave(query)
    found.checks.append(check)
    return found


def _check_file(
    settings: Settings, request: HbaRequest, found: Diagnosis, clock: Clock
) -> tuple[HbaFileResult, HbaQuery | None]:
    begun = clock.monotonic()
    address = request.client_address or found.seen_address or found.source_address
    connect = found.of(CheckId.CONNECT)
    by_socket = connect is not None and connect.status is Status.PASS and found.source_address is None
    if address is None and not by_socket:
        summary = "this host's address, as the server sees it, is not known"
        if not request.offline:
            return HbaFileResult(Check(CheckId.HBA_FILE, Status.SKIP, summary)), None
        unknown = problem(Cause.USAGE, summary, variant="no-address")
        return HbaFileResult(Check(CheckId.HBA_FILE, Status.FAIL, problem=unknown)), None
    from tmsync.core.hba import Client

    user, database = settings.get("database.user"), settings.get("database.name")
    socket = address is None or address == LOCAL
    routes = [False] if socket else _routes(request, settings.get("database.sslmode"), found.offers_tls)
    clients = tuple(Client(user, database, None if socket else address, tls=tls) for tls in routes)
    major = int(found.server_version.split(".", maxsplit=1)[0]) if found.server_version else None
    query = HbaQuery(request.path, clients, request.member_of, major)
    try:
        result = check_file(query)
    except ValueError:
        wrong = problem(Cause.USAGE, f"--client-address: {address!r} is not an IP address", variant="bad-address")
        return HbaFileResult(Check(CheckId.HBA_FILE, Status.FAIL, problem=wrong)), None
    return result._replace(check=replace(result.check, elapsed_s=clock.monotonic() - begun)), query


def _routes(request: HbaRequest, sslmode: str, offers_tls: bool | None) -> list[bool]:
    """With TLS (True) and without, in the order libpq tries them."""
    from tmsync.core.postgres.tls import ROUTES

    if request.client_tls is not None:
        return [request.client_tls]
    routes = [tls for tls in ROUTES[sslmode] if not tls or offers_tls is not False]
    return routes or [True]


def _apply(query: HbaQuery, result: HbaFileResult, settings: Settings | None) -> tuple[Check, bool]:
    """Write the insertion and reload (unless `settings` is None: then nothing is contacted)."""
    from tmsync.core.check_db.hba_apply import write_insertion
    from tmsync.core.fixes.hba import RELOAD

    change, check = result.insertion, result.check
    assert change is not None  # noqa: S101 - callers have looked
    try:
        written = write_insertion(query.path, result.text, change)
    except TmsyncError as error:
        failed = error.problem
        failed = Problem(failed.cause, failed.message, failed.fix + check.fix, check.details)
        return replace(check, problem=failed), False
    told = None if settings is None else _reload(settings, query.path)
    after = check_file(query).check
    more = {**after.more, "applied": True, "backup": str(written.backup), "reloaded": told is not None}
    more |= {key: check.more[key] for key in ("insert_before_line", "diff") if key in check.more}
    line, backup = change.insert_before_line, written.backup.name
    summary = f"line {line} of {query.path} is now `{change.line}`; backup in {backup}"
    details = (told or "the server has not been told yet: it reads the file when it is reloaded", *written.notes)
    then = () if told else RELOAD
    done = Check(CheckId.HBA_FILE, Status.PASS, summary, None, details, then, change.line, check.elapsed_s, more)
    return done, told is not None


def _leave(query: HbaQuery) -> None:
    """Nothing is to be written."""
    from tmsync.core.check_db.hba_apply import sweep_leftovers

    sweep_leftovers(query.path)


def _reload(settings: Settings, path: Path) -> str | None:
    """Make the server read its files; in words how, None where it cannot be done from here."""
    from tmsync.core.check_db.hba_apply import signal_server

    return _reload_by_sql(settings) or signal_server(path)


def _reload_by_sql(settings: Settings) -> str | None:
    from tmsync.core.postgres.session import ConnectFailed, QueryFailed, connect

    try:
        with connect(settings.database()) as session:
            session.query("select pg_reload_conf()")
    except (ConnectFailed, QueryFailed, ConfigError):
        return None
    return "reloaded by pg_reload_conf()"


def _beside(found: Diagnosis, check: Check) -> Diagnosis:
    """The file's result beside the server's: what the file says explains what the server did, or contradicts it."""
    hba = found.of(CheckId.PG_HBA)
    if hba is not None and hba.status in (Status.PASS, Status.FAIL) and check.status is not Status.SKIP:
        shut = check.status is Status.FAIL
        agree = shut == (hba.status is Status.FAIL)
        notes = (*hba.notes, f"By the file: {check.summary}")
        if not agree:
            notes += ("The server disagrees: it has not read this version yet (reload it), or it uses another file",)
        found.amend(replace(hba, notes=notes))
    found.checks.append(check)
    return found
