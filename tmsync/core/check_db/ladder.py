"""The ladder: can this host read TeslaMate's database, and if not, on which rung does it fail?

Each rung takes what the one before found out, and stands on evidence that does not hang on the server's language:
socket errors, the wire handshake, SQLSTATEs.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec, TypeVar

from tmsync.core.causes import Cause
from tmsync.core.check_db.hba_live import tell_live_rules
from tmsync.core.check_db.refused import Refusal, refused, route, shut_out
from tmsync.core.check_db.report import LADDER, Check, CheckId, Diagnosis, Status
from tmsync.core.clock import Clock, iso
from tmsync.core.config.settings import DatabaseSettings, Settings
from tmsync.core.errors import ConfigError, DecryptionFailed, Problem, TmsyncError
from tmsync.core.fixes import problem, unforeseen
from tmsync.core.fixes.network import DATABASE, where
from tmsync.core.net.dial import Address, dial, is_socket_folder, resolve, source_address
from tmsync.core.postgres.login import LoginFailed, log_in
from tmsync.core.postgres.probe import Probe, Prober
from tmsync.core.postgres.refusals import is_poolers, start_cause
from tmsync.core.postgres.session import Session, sql_names
from tmsync.core.postgres.tls import NEEDS_TLS, ROUTES
from tmsync.core.postgres.wire import PASSWORD_METHODS, Method, ServerError
from tmsync.core.secret import Secret
from tmsync.core.teslamate.assessment import assess, plain_text
from tmsync.core.teslamate.claims import NO_CLAIMS, read_claims
from tmsync.core.teslamate.token_store import TokenRow, is_plain, locate, only_row, open_token, read_rows

P = ParamSpec("P")
T = TypeVar("T")

MOST_TELLING_FIRST: Final = (Cause.REFUSED, Cause.TIMEOUT, Cause.UNREACHABLE)
"""Which failed connection says most, when a name has several addresses and none answers."""


UNEXPLAINED: Final = frozenset({Cause.POOLER, Cause.SERVER_ERROR, Cause.TOO_MANY_CONNECTIONS, Cause.STARTING_UP})
"""Refusals that are about neither pg_hba.conf nor the login."""


def diagnose(settings: Settings | ConfigError, *, clock: Clock, environ: Mapping[str, str]) -> Diagnosis:
    """Run all checks; those after the first failure are skipped. Never raises for what it is there to find."""
    found = Diagnosis()
    with ExitStack() as resources:
        run = CheckRun(clock, environ, found, resources)
        try:
            run.all_checks(settings)
        except Failed as failed:
            found.checks.append(failed.check)
    found.checks += [Check(check_id, Status.SKIP, "not reached") for check_id in LADDER[len(found.checks) :]]
    return found


class Failed(Exception):
    """The check that failed."""

    def __init__(self, check_id: CheckId, problem: Problem, hba_line: str | None = None) -> None:
        super().__init__(problem.message)
        self.check = Check(check_id, Status.FAIL, problem=problem, hba_line=hba_line)


class Configured(NamedTuple):
    """After config."""

    settings: Settings
    target: DatabaseSettings

    @property
    def network(self) -> dict[str, Any]:
        """What the fixes of the network need."""
        return where(DATABASE, self.target.host, self.target.port)

    def origin(self, name: str, otherwise: str = "") -> tuple[str, ...]:
        """A line that tells where the value of a setting comes from; none where an answer to init gave it."""
        value = self.settings.values[name]
        origin = otherwise if value.value is None else value.origin
        return (f"{name} comes from {origin}",) if origin else ()


class Answered(NamedTuple):
    """After protocol and tls: PostgreSQL, and what it answered."""

    prober: Prober
    probe: Probe

    def refusal(self, sslmode: str) -> tuple[bool, ServerError] | None:
        """The first route that libpq would take, and how it is refused; None where another one is open."""
        if self.probe.demand(sslmode) is not None:
            return None
        answers = ((route, self.probe.answers.get(route)) for route in (*ROUTES[sslmode], True, False))
        return next(((route, answer) for route, answer in answers if isinstance(answer, ServerError)), None)


class Admitted(NamedTuple):
    """After pg-hba. tls: the route libpq takes; method: what is demanded on it."""

    prober: Prober
    tls: bool
    method: Method


@dataclass(frozen=True, slots=True)
class CheckRun:
    """One run. A rung returns its check and what the next one needs, or raises Failed."""

    clock: Clock
    environ: Mapping[str, str]
    found: Diagnosis
    resources: ExitStack

    def all_checks(self, settings: Settings | ConfigError) -> None:
        """Raises: Failed."""
        here = self.step(config, settings)
        addresses = self.step(resolve_name, here)
        prober = self.step(connect, here, addresses)
        answered = self.step(protocol, here, prober)
        self.step(tls, here, answered)
        admitted = self.step(pg_hba, here, answered)
        session = self.step(login, here, admitted)
        rows = self.step(schema, session)
        row = self.step(tokens, rows)
        access = self.step(decrypt, here, row)
        self.step(claims, access)

    def step(self, rung: "Callable[Concatenate[CheckRun, P], tuple[Check, T]]", *args: P.args, **kwargs: P.kwargs) -> T:
        """Raises: Failed."""
        begun = self.clock.monotonic()
        try:
            check, result = rung(self, *args, **kwargs)
        except Failed as failed:
            failed.check = replace(failed.check, elapsed_s=self.clock.monotonic() - begun)
            raise
        except Exception as error:
            raise Failed(LADDER[len(self.found.checks)], unforeseen(error)) from error
        self.found.checks.append(replace(check, elapsed_s=self.clock.monotonic() - begun))
        return result


# -- rungs


def config(run: CheckRun, settings: Settings | ConfigError) -> tuple[Check, Configured]:
    """Is everything set?"""
    if isinstance(settings, ConfigError):
        raise Failed(CheckId.CONFIG, settings.problem)
    run.found.aim(settings)
    try:
        here = Configured(settings, settings.database())
    except ConfigError as error:
        raise Failed(CheckId.CONFIG, error.problem) from None
    summary = f"{here.target.user} at {here.target.place}, database {here.target.name}"
    warnings = settings.warnings
    if not warnings:
        return Check(CheckId.CONFIG, Status.PASS, summary), here
    loose = [warning for warning in warnings if warning.cause is Cause.LOOSE_PERMISSIONS]
    cause = (loose or list(warnings))[0].cause
    fix = tuple(step for warning in warnings for step in warning.fix)
    unwise = Problem(cause, summary, fix, tuple(warning.message for warning in warnings))
    return Check(CheckId.CONFIG, Status.WARN, problem=unwise), here


def resolve_name(_: CheckRun, here: Configured) -> tuple[Check, list[Address]]:
    """Does the name have an address?"""
    host = here.target.host
    try:
        addresses = resolve(host, here.target.port, here.target.connect_timeout)
    except (OSError, UnicodeError) as error:
        words = str(error.strerror if isinstance(error, OSError) else "not a host name")
        message = f"{host} does not resolve to an address"
        raise Failed(CheckId.RESOLVE, problem(Cause.UNRESOLVABLE, message, details=(words,), **here.network)) from None
    texts = [address.text for address in addresses]
    if is_socket_folder(host):
        summary = f"Unix socket {texts[0]}"
    elif texts == [host]:
        summary = f"{host} is an address"
    else:
        summary = f"{host} is {', '.join(texts)}"
    return Check(CheckId.RESOLVE, Status.PASS, summary), addresses


def connect(run: CheckRun, here: Configured, addresses: list[Address]) -> tuple[Check, Prober]:
    """Does the port accept connections?"""
    target = here.target
    dialled = dial(addresses, target.connect_timeout, run.clock.monotonic)
    details = tuple(f"{one.address.text}: {'connected' if one.sock else one.error.lower()}" for one in dialled)
    open_ones = [(one.address, one.sock) for one in dialled if one.sock is not None]
    if not open_ones:
        cause = min((one.cause or Cause.UNREACHABLE for one in dialled), key=MOST_TELLING_FIRST.index)
        what = {
            Cause.REFUSED: "refuses the connection: nothing listens there",
            Cause.TIMEOUT: f"does not answer within {target.connect_timeout:g} s",
            Cause.UNREACHABLE: "cannot be reached from here",
        }[cause]
        raise Failed(CheckId.CONNECT, problem(cause, f"{here.target.place} {what}", details=details, **here.network))
    for _, spare in open_ones[1:]:
        spare.close()
    address, sock = open_ones[0]
    run.resources.callback(sock.close)
    run.found.source_address = source_address(sock)
    came = f" from {run.found.source_address}" if run.found.source_address else ""
    check = Check(
        CheckId.CONNECT,
        Status.PASS,
        f"connected to {address.text}{came}",
        notes=details if len(dialled) > 1 else (),
    )
    return check, Prober(target, address, sock, run.clock.monotonic, run.environ)


def protocol(run: CheckRun, here: Configured, prober: Prober) -> tuple[Check, Answered]:
    """Does a PostgreSQL server answer that has a connection to give?"""
    probe = prober.probe()
    run.found.offers_tls = probe.offers_tls
    failure = probe.protocol
    values = here.network | sql_names(here.target.user, here.target.name)
    if failure is not None:
        what = {
            Cause.NOT_POSTGRESQL: f"{here.target.place} is not PostgreSQL",
            Cause.NO_ANSWER: f"{here.target.place} accepts the connection and sends nothing",
            Cause.STARTING_UP: "PostgreSQL is starting up, shutting down or recovering",
            Cause.TOO_MANY_CONNECTIONS: "PostgreSQL has no connection left",
        }.get(failure.cause, f"{here.target.place} ends the handshake")
        raise Failed(CheckId.PROTOCOL, problem(failure.cause, what, details=(failure.words,), **values))
    answered = Answered(prober, probe)
    _, refusal = answered.refusal(here.target.sslmode) or (False, None)
    pooler = refusal is not None and is_poolers(refusal)
    if refusal is not None and (cause := start_cause(refusal)) in UNEXPLAINED:
        who = f"a pooler or proxy at {here.target.place}" if pooler else f"PostgreSQL at {here.target.place}"
        what = f"{who} refuses: {refusal.message}"
        variant = "pooler" if pooler and cause is not Cause.POOLER else ""
        raise Failed(CheckId.PROTOCOL, problem(cause, what, variant=variant, **values))
    answers = f"a {'pooler or proxy' if pooler else 'PostgreSQL server'} answers"
    return Check(CheckId.PROTOCOL, Status.PASS, answers), answered


def tls(run: CheckRun, here: Configured, answered: Answered) -> tuple[Check, None]:
    """Does TLS come about as far as the sslmode wants it?"""
    probe, mode = answered.probe, here.target.sslmode

    def good(summary: str, *notes: str) -> tuple[Check, None]:
        return Check(CheckId.TLS, Status.PASS, summary, notes=notes), None

    if probe.offers_tls is None:
        return good("not needed on a Unix socket")
    run.found.server_tls = probe.tls_version
    if mode in NEEDS_TLS and not probe.offers_tls:
        message = f"PostgreSQL offers no TLS here, but sslmode is {mode}"
        raise Failed(CheckId.TLS, problem(Cause.TLS_UNAVAILABLE, message))
    if probe.tls is not None and mode in NEEDS_TLS:
        cause, words = probe.tls
        what = {
            Cause.TLS_UNTRUSTED: "PostgreSQL's certificate is not trusted",
            Cause.TLS_NAME_MISMATCH: f"PostgreSQL's certificate is not for {here.target.host}",
        }.get(cause, "the TLS handshake with PostgreSQL fails")
        raise Failed(CheckId.TLS, problem(cause, what, details=(words,), **here.network))
    if mode == "disable":
        return good("not used (sslmode disable)")
    if not probe.offers_tls:
        return good(f"not offered; sslmode {mode} connects without")
    if probe.tls is not None:
        return good(f"failed; sslmode {mode} connects without", probe.tls.words)
    checked = {"verify-ca": ", issuer checked", "verify-full": ", issuer and name checked"}.get(mode, "")
    return good(f"{probe.tls_version or 'offered'}{checked}")


def pg_hba(run: CheckRun, here: Configured, answered: Answered) -> tuple[Check, Admitted]:
    """Does pg_hba.conf let this client in, with a password?"""
    demanded = answered.probe.demand(here.target.sslmode)
    if demanded is None:
        refusal = answered.refusal(here.target.sslmode)
        assert refusal is not None  # noqa: S101 - a route is open or refused
        with_tls, first = refusal
        if is_poolers(first):
            check = Check(CheckId.PG_HBA, Status.PASS, "a pooler or proxy has rules of its own")
            return check, Admitted(answered.prober, with_tls, Method.OTHER)
        raise _shut_out(run, refused(here.target, answered.probe, first, run.found.source_address))
    with_tls, demand = demanded
    if demand.method not in PASSWORD_METHODS and demand.method is not Method.TRUST:
        details = (f"it asks for {demand.method}",)
        raise _shut_out(run, shut_out(here.target, Cause.NO_PASSWORD_METHOD, run.found.source_address, details))
    way = "over the Unix socket" if is_socket_folder(here.target.host) else route(with_tls)
    asks = f"asks for {demand.method}" if demand.method in PASSWORD_METHODS else f"method {demand.method}"
    check = Check(CheckId.PG_HBA, Status.PASS, f"lets this host in {way}; {asks}")
    return check, Admitted(answered.prober, with_tls, demand.method)


def _shut_out(run: CheckRun, refusal: Refusal) -> Failed:
    run.found.seen_address = refusal.address
    return Failed(CheckId.PG_HBA, refusal.problem, refusal.line)


def login(run: CheckRun, here: Configured, admitted: Admitted) -> tuple[Check, Session]:
    """Does the server let the user in?"""
    target = here.target
    try:
        session = log_in(target, admitted.prober, admitted.method, tls=admitted.tls)
    except LoginFailed as error:
        wrong = error.problem
        if wrong.cause is Cause.BAD_CREDENTIALS:
            origin = here.origin("database.password")
            wrong = Problem(wrong.cause, wrong.message, wrong.fix, wrong.details + origin)
        raise Failed(CheckId.LOGIN, wrong) from None
    run.resources.callback(session.close)
    run.found.server_version = session.server_version
    run.found.server_tls = session.tls_version
    tell_live_rules(session, run.found)
    return Check(CheckId.LOGIN, Status.PASS, f"{target.user} logs in; PostgreSQL {session.server_version}"), session


def schema(run: CheckRun, session: Session) -> tuple[Check, Callable[[], TokenRow]]:
    """Is TeslaMate's token table there, and may this role read it?"""
    try:
        location = locate(session)
        run.found.schema_level = location.schema_level
        run.found.tokens_table = location.table
        rows = read_rows(session, location)
    except TmsyncError as error:
        raise Failed(CheckId.SCHEMA, error.problem) from None
    level = f", schema level {location.schema_level}" if location.schema_level else ""
    check = Check(CheckId.SCHEMA, Status.PASS, f"{location.table} is readable{level}")
    return check, lambda: only_row(rows, session, location)


def tokens(_: CheckRun, the_row: Callable[[], TokenRow]) -> tuple[Check, TokenRow]:
    """Is TeslaMate signed in?"""
    try:
        row = the_row()
    except TmsyncError as error:
        raise Failed(CheckId.TOKENS, error.problem) from None
    return Check(CheckId.TOKENS, Status.PASS, f"one row, written {iso(row.updated_at)}"), row


def decrypt(_: CheckRun, here: Configured, row: TokenRow) -> tuple[Check, Secret]:
    """Does the encryption key fit?"""
    key = here.settings.encryption_key
    try:
        access = open_token(row.access, key, row.refresh)
    except DecryptionFailed as error:
        wrong = error.problem
        if wrong.cause is Cause.WRONG_KEY:
            wrong = Problem(wrong.cause, wrong.message, wrong.fix, here.origin("teslamate.encryption_key"))
        raise Failed(CheckId.DECRYPT, wrong) from None
    if is_plain(row.access):
        return Check(CheckId.DECRYPT, Status.WARN, problem=plain_text()), access
    try:
        if row.refresh is not None:
            open_token(row.refresh, key)
    except DecryptionFailed as error:
        message = "the access token decrypts, the refresh token does not"
        damaged = problem(Cause.CORRUPT, message, details=(str(error),))
        return Check(CheckId.DECRYPT, Status.WARN, problem=damaged), access
    return Check(CheckId.DECRYPT, Status.PASS, "the encryption key opens the tokens"), access


def claims(run: CheckRun, access: Secret) -> tuple[Check, None]:
    """Is the token still good?"""
    words, wrong = assess(read_claims(access.reveal()) or NO_CLAIMS, run.clock.now())
    if wrong is None:
        return Check(CheckId.CLAIMS, Status.PASS, words), None
    if wrong.cause is Cause.EXPIRED:
        raise Failed(CheckId.CLAIMS, wrong)
    return Check(CheckId.CLAIMS, Status.WARN, problem=wrong), None
