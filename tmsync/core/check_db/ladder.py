"""The ladder: can this host read TeslaMate's database, and if not, on which rung does it fail?

Each rung stands on evidence that does not hang on the server's language: socket errors, the wire handshake, SQLSTATEs.
"""

import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final

from tmsync.core.check_db import fixes as advice
from tmsync.core.check_db.hba_line import line_for
from tmsync.core.check_db.hba_live import tell_live_rules
from tmsync.core.check_db.report import Check, CheckId, Diagnosis, Status
from tmsync.core.clock import Clock, iso
from tmsync.core.config.libpq import find_password
from tmsync.core.config.settings import DatabaseSettings, Settings
from tmsync.core.errors import Cause, ConfigError, DecryptionFailed, Problem, Step, TmsyncError
from tmsync.core.net.dial import Dialled, dial, is_socket_folder, resolve, source_address
from tmsync.core.postgres.login import LoginFailure, address_seen, hba_cause, log_in
from tmsync.core.postgres.probe import Probe, Prober
from tmsync.core.postgres.session import Session
from tmsync.core.postgres.tls import NEEDS_TLS, ROUTES
from tmsync.core.postgres.wire import PASSWORD_METHODS, Demand, Method, ServerError
from tmsync.core.secret import Secret
from tmsync.core.teslamate.claims import EXPIRES_SOON, Api, Claims, read_claims
from tmsync.core.teslamate.token_store import Location, TokenRow, is_plain, locate, open_token, read_row
from tmsync.core.words import in_words

# Which failed connection says most, when a name has several addresses and none answers.
TELLING: Final = (Cause.REFUSED, Cause.TIMEOUT, Cause.UNREACHABLE)
API_WORDS: Final = {Api.FLEET: "Fleet API", Api.OWNER: "retired Owner API", Api.UNKNOWN: "unknown API"}


def diagnose(settings: Settings | ConfigError, *, clock: Clock, environ: Mapping[str, str]) -> Diagnosis:
    """Run all checks; those after the first failure are skipped. Never raises for what it is there to find."""
    return _Doctor(settings, clock, environ).run()


class _Doctor:
    target: DatabaseSettings
    dialled: list[Dialled]
    prober: Prober
    probe: Probe
    session: Session | None = None
    location: Location
    row: TokenRow
    access: Secret

    def __init__(self, settings: Settings | ConfigError, clock: Clock, environ: Mapping[str, str]) -> None:
        self.settings = settings
        self.clock = clock
        self.environ = environ
        self.found = Diagnosis()

    def run(self) -> Diagnosis:
        rungs: tuple[tuple[CheckId, Callable[[], Check]], ...] = (
            (CheckId.CONFIG, self.config),
            (CheckId.RESOLVE, self.resolve),
            (CheckId.CONNECT, self.connect),
            (CheckId.PROTOCOL, self.protocol),
            (CheckId.TLS, self.tls),
            (CheckId.PG_HBA, self.pg_hba),
            (CheckId.LOGIN, self.login),
            (CheckId.SCHEMA, self.schema),
            (CheckId.TOKENS, self.tokens),
            (CheckId.DECRYPT, self.decrypt),
            (CheckId.CLAIMS, self.claims),
        )
        try:
            for check_id, rung in rungs:
                if not self.found.ok:
                    self.found.checks.append(Check(check_id, Status.SKIP, "not reached"))
                    continue
                begun = self.clock.monotonic()
                check = rung()
                self.found.checks.append(replace(check, elapsed_s=self.clock.monotonic() - begun))
        finally:
            if self.session is not None:
                self.session.close()
        return self.found

    # -- rungs

    def config(self) -> Check:
        if isinstance(self.settings, ConfigError):
            return _failed(CheckId.CONFIG, self.settings.problem)
        self.found.aim(self.settings)
        try:
            self.target = self.settings.database()
        except ConfigError as error:
            return _failed(CheckId.CONFIG, error.problem)
        target = self.target
        summary = f"{target.user} at {_place(target)}, database {target.name}"
        warnings = self.settings.warnings
        if not warnings:
            return Check(CheckId.CONFIG, Status.PASS, summary)
        loose = [problem for problem in warnings if problem.cause is Cause.LOOSE_PERMISSIONS]
        first = (loose or list(warnings))[0]
        steps = tuple(
            Step("", problem.hint) if problem.cause is Cause.LOOSE_PERMISSIONS else Step(problem.hint)
            for problem in warnings
        )
        return Check(
            CheckId.CONFIG, Status.WARN, summary, first.cause, "\n".join(problem.message for problem in warnings), steps
        )

    def resolve(self) -> Check:
        target = self.target
        try:
            self.addresses = resolve(target.host, target.port, target.connect_timeout)
        except (OSError, UnicodeError) as error:
            words = error.strerror if isinstance(error, OSError) else "not a host name"
            return Check(
                CheckId.RESOLVE,
                Status.FAIL,
                f"{target.host} does not resolve to an address",
                Cause.UNRESOLVABLE,
                str(words),
                advice.network_steps(Cause.UNRESOLVABLE, target),
            )
        texts = [address.text for address in self.addresses]
        if is_socket_folder(target.host):
            summary = f"Unix socket {texts[0]}"
        elif texts == [target.host]:
            summary = f"{target.host} is an address"
        else:
            summary = f"{target.host} is {', '.join(texts)}"
        return Check(CheckId.RESOLVE, Status.PASS, summary)

    def connect(self) -> Check:
        target = self.target
        self.dialled = dial(self.addresses, target.connect_timeout, self.clock.monotonic)
        open_ones = [one for one in self.dialled if one.sock is not None]
        detail = "\n".join(
            f"{one.address.text}: {'connected' if one.sock else one.error.lower()}" for one in self.dialled
        )
        if not open_ones:
            cause = min((one.cause or Cause.UNREACHABLE for one in self.dialled), key=TELLING.index)
            what = {
                Cause.REFUSED: "refuses the connection: nothing listens there",
                Cause.TIMEOUT: f"does not answer within {target.connect_timeout:g} s",
                Cause.UNREACHABLE: "cannot be reached from here",
            }[cause]
            steps = advice.network_steps(cause, target)
            return Check(CheckId.CONNECT, Status.FAIL, f"{_place(target)} {what}", cause, detail, steps)
        chosen = open_ones[0]
        for spare in open_ones[1:]:
            _close(spare.sock)
        assert chosen.sock is not None  # noqa: S101 - open_ones holds only those
        self.first = chosen.sock
        self.prober = Prober(target, chosen.address, self.clock.monotonic)
        self.found.source_address = source_address(chosen.sock)
        came = f" from {self.found.source_address}" if self.found.source_address else ""
        several = detail if len(self.dialled) > 1 else ""
        return Check(CheckId.CONNECT, Status.PASS, f"connected to {chosen.address.text}{came}", None, several)

    def protocol(self) -> Check:
        self.probe = self.prober.probe(self.first)
        self.found.offers_tls = self.probe.offers_tls
        failure = self.probe.protocol
        if failure is None:
            return Check(CheckId.PROTOCOL, Status.PASS, "a PostgreSQL server answers")
        place = _place(self.target)
        what = {
            Cause.NOT_POSTGRESQL: f"{place} is not PostgreSQL",
            Cause.NO_ANSWER: f"{place} accepts the connection, then stays silent",
            Cause.STARTING_UP: "the server is starting up, shutting down or recovering",
            Cause.TOO_MANY_CONNECTIONS: "the server has no connection left",
        }.get(failure.cause, f"{place} breaks the handshake off")
        steps = advice.protocol_steps(failure.cause, self.target)
        return Check(CheckId.PROTOCOL, Status.FAIL, what, failure.cause, failure.words, steps)

    def tls(self) -> Check:
        probe, mode = self.probe, self.target.sslmode
        if probe.offers_tls is None:
            return Check(CheckId.TLS, Status.PASS, "a Unix socket needs none")
        if probe.tls_version:
            self.found.server_tls = probe.tls_version
        if mode in NEEDS_TLS and not probe.offers_tls:
            return self._tls_failed(Cause.TLS_UNAVAILABLE, f"the server offers no TLS, but sslmode is {mode}", "")
        if probe.tls is not None and mode in NEEDS_TLS:
            what = {
                Cause.TLS_UNTRUSTED: "the server's certificate is not trusted",
                Cause.TLS_NAME_MISMATCH: f"the server's certificate is not for {self.target.host}",
            }.get(probe.tls.cause, "the TLS handshake fails")
            return self._tls_failed(probe.tls.cause, what, probe.tls.words)
        if mode == "disable":
            return Check(CheckId.TLS, Status.PASS, "not used (sslmode disable)")
        if not probe.offers_tls:
            return Check(CheckId.TLS, Status.PASS, f"not offered; sslmode {mode} goes on without")
        if probe.tls is not None:
            summary = f"does not come about; sslmode {mode} goes on without"
            return Check(CheckId.TLS, Status.PASS, summary, None, probe.tls.words)
        checked = {"verify-ca": ", issuer checked", "verify-full": ", issuer and name checked"}.get(mode, "")
        return Check(CheckId.TLS, Status.PASS, f"{probe.tls_version or 'offered'}{checked}")

    def pg_hba(self) -> Check:
        demanded = self.probe.demand(self.target.sslmode)
        if demanded is not None:
            self.tls_route, demand = demanded
            self.method = demand.method
            if demand.method not in PASSWORD_METHODS and demand.method is not Method.TRUST:
                words = f"it demands {demand.method}"
                return self._hba_failed(Cause.NO_PASSWORD_METHOD, self.found.source_address, [words])
            route = "over the Unix socket" if is_socket_folder(self.target.host) else _route(self.tls_route)
            asks = f"asks for {demand.method}" if demand.method in PASSWORD_METHODS else f"method {demand.method}"
            return Check(CheckId.PG_HBA, Status.PASS, f"lets this host in {route}; {asks}")
        return self._hba_refused()

    def login(self) -> Check:
        target = self.target
        outcome = log_in(target, self.prober, self.method, tls=self.tls_route, environ=self.environ)
        if isinstance(outcome, Session):
            self.session = outcome
            self.found.server_version = outcome.server_version
            self.found.server_tls = outcome.tls_version
            tell_live_rules(outcome, self.found)
            return Check(CheckId.LOGIN, Status.PASS, f"{target.user} logs in; PostgreSQL {outcome.server_version}")
        what = _login_words(outcome, target)
        steps = advice.login_steps(outcome.cause, target, outcome.words, outcome.ignored)
        detail = [outcome.words]
        if outcome.cause is Cause.BAD_CREDENTIALS:
            detail += self._origin("database.password", find_password(target, self.environ).origin)
        return Check(CheckId.LOGIN, Status.FAIL, what, outcome.cause, "\n".join(detail), steps)

    def schema(self) -> Check:
        assert self.session is not None  # noqa: S101 - login passed
        try:
            self.location = location = locate(self.session)
        except TmsyncError as error:
            return self._store_failed(CheckId.SCHEMA, error)
        self.found.schema_level = location.schema_level
        self.found.tokens_table = location.table
        try:
            self.row_or_error: TokenRow | TmsyncError = read_row(self.session, location)
        except TmsyncError as error:
            if error.cause not in (Cause.SIGNED_OUT, Cause.SEVERAL_ROWS):
                return self._store_failed(CheckId.SCHEMA, error)
            self.row_or_error = error
        level = f", schema level {location.schema_level}" if location.schema_level else ""
        return Check(CheckId.SCHEMA, Status.PASS, f"{location.table} is readable{level}")

    def tokens(self) -> Check:
        if isinstance(self.row_or_error, TmsyncError):
            return self._store_failed(CheckId.TOKENS, self.row_or_error)
        self.row = self.row_or_error
        return Check(CheckId.TOKENS, Status.PASS, f"one row, written {iso(self.row.updated_at)}")

    def decrypt(self) -> Check:
        assert isinstance(self.settings, Settings)  # noqa: S101 - config passed
        key, row = self.settings.encryption_key, self.row
        try:
            self.access = open_token(row.access, key, row.refresh)
        except DecryptionFailed as error:
            detail = self._origin("teslamate.encryption_key") if error.cause is Cause.WRONG_KEY else []
            return replace(self._store_failed(CheckId.DECRYPT, error), detail="\n".join(detail))
        if is_plain(row.access):
            steps = advice.store_steps(Cause.PLAIN_TEXT, self.target, self.location.table)
            summary = "the tokens are stored in plain text"
            return Check(CheckId.DECRYPT, Status.WARN, summary, Cause.PLAIN_TEXT, "", steps)
        try:
            if row.refresh is not None:
                open_token(row.refresh, key)
        except DecryptionFailed as error:
            summary = "the access token decrypts, the refresh token does not"
            return Check(CheckId.DECRYPT, Status.WARN, summary, Cause.CORRUPT, str(error), advice.SIGN_IN_STEPS)
        return Check(CheckId.DECRYPT, Status.PASS, "the encryption key opens the tokens")

    def claims(self) -> Check:
        claims = read_claims(self.access.reveal())
        cause, status = judge_claims(claims, self.clock)
        steps = advice.store_steps(cause, self.target, self.location.table) if cause else ()
        return Check(CheckId.CLAIMS, status, describe_claims(claims, self.clock), cause, "", steps)

    # -- what failed

    def _origin(self, name: str, otherwise: str = "") -> list[str]:
        """A line that tells where the value of a setting comes from; none where an answer to init gave it."""
        assert isinstance(self.settings, Settings)  # noqa: S101 - config passed
        value = self.settings.values[name]
        origin = otherwise if value.value is None else value.origin
        return [f"{name} comes from {origin}"] if origin else []

    def _hba_refused(self) -> Check:
        target, probe = self.target, self.probe
        usual = ROUTES[target.sslmode]
        refusals = {tls: a for tls, a in probe.answers.items() if isinstance(a, ServerError)}
        first = next(refusals[tls] for tls in (*usual, True, False) if tls in refusals)
        others = [answer for tls, answer in probe.answers.items() if tls not in usual and isinstance(answer, Demand)]
        cause = hba_cause(first)
        if others and cause in (Cause.NO_ENTRY, Cause.REJECTED):
            cause = Cause.PLAIN_ONLY if usual[0] else Cause.TLS_ONLY
        own = self.found.source_address
        seen = address_seen(first) if own is not None else None
        address = self.found.seen_address = seen or own
        detail = [f"{_route(tls)}: {answer.message}" for tls, answer in refusals.items()]
        if seen and seen != own:
            detail.append(
                f"This host is {own}, the server sees {seen}: addresses are translated between them, as Docker's bridge"
                " does for a published port"
            )
        return self._hba_failed(cause, address, detail)

    def _hba_failed(self, cause: Cause, address: str | None, detail: list[str]) -> Check:
        target = self.target
        who = f"{target.user}, database {target.name}, from {address or 'the Unix socket'}"
        what = {
            Cause.NO_ENTRY: f"no line lets in {who}",
            Cause.REJECTED: f"a reject line shuts out {who}",
            Cause.TLS_ONLY: f"only TLS is let in for {who}, and sslmode is {target.sslmode}",
            Cause.PLAIN_ONLY: f"only connections without TLS are let in for {who}, and sslmode is {target.sslmode}",
            Cause.CLIENT_CERTIFICATE: f"the line for {who} demands a client certificate",
        }.get(cause, f"the line for {who} uses a method without password")
        line = line_for(target.name, target.user, address)
        steps = advice.hba_steps(cause, target, line)
        return Check(CheckId.PG_HBA, Status.FAIL, what, cause, "\n".join(detail), steps, line)

    def _tls_failed(self, cause: Cause, what: str, words: str) -> Check:
        return Check(CheckId.TLS, Status.FAIL, what, cause, words, advice.tls_steps(cause, self.target))

    def _store_failed(self, check_id: CheckId, error: TmsyncError) -> Check:
        table = self.found.tokens_table or ""
        steps = advice.store_steps(error.cause, self.target, table) or (Step(error.problem.hint),)
        return Check(check_id, Status.FAIL, str(error), error.cause, "", steps)


def judge_claims(claims: Claims | None, clock: Clock) -> tuple[Cause | None, Status]:
    """The most pressing thing about a token, and how bad it is."""
    if claims is None or claims.expires_at is None:
        return Cause.NO_JWT, Status.WARN
    left = claims.expires_at - clock.now()
    if left <= timedelta(0):
        return Cause.EXPIRED, Status.FAIL
    if left < EXPIRES_SOON:
        return Cause.EXPIRES_SOON, Status.WARN
    if claims.api is Api.OWNER:
        return Cause.OWNER_API, Status.WARN
    return None, Status.PASS


def describe_claims(claims: Claims | None, clock: Clock) -> str:
    """In words: which API, which region, how long it still lives."""
    if claims is None or claims.expires_at is None:
        return "the access token is no JWT: its expiry is unknown"
    left = claims.expires_at - clock.now()
    when = f"expires in {in_words(left)}" if left > timedelta(0) else f"expired {in_words(-left)} ago"
    region = f", {claims.region}" if claims.region else ""
    return f"{API_WORDS[claims.api]}{region}, {when} ({iso(claims.expires_at)})"


def _failed(check_id: CheckId, problem: Problem) -> Check:
    return Check(check_id, Status.FAIL, problem.message, problem.cause, "", (Step(problem.hint),))


def _login_words(failure: LoginFailure, target: DatabaseSettings) -> str:
    return {
        Cause.NO_PASSWORD: "the server asks for a password, and none is configured",
        Cause.BAD_CREDENTIALS: f"the server does not accept this password for {target.user}",
        Cause.UNKNOWN_ROLE: f"the role {target.user} does not exist",
        Cause.NO_LOGIN: f"the role {target.user} may not log in (NOLOGIN)",
        Cause.NO_DATABASE: f"the database {target.name} does not exist",
        Cause.NO_CONNECT_PRIVILEGE: f"{target.user} may not connect to the database {target.name}",
        Cause.NOT_ACCEPTING: f"the database {target.name} accepts no connections",
        Cause.TOO_MANY_CONNECTIONS: "the server, the role or the database has no connection left",
        Cause.STARTING_UP: "the server is starting up, shutting down or recovering",
    }.get(failure.cause, f"{target.user} cannot log in")


def _place(target: DatabaseSettings) -> str:
    return target.host if is_socket_folder(target.host) else f"{target.host} port {target.port}"


def _route(tls: bool) -> str:
    return "with TLS" if tls else "without TLS"


def _close(sock: socket.socket | None) -> None:
    if sock is not None:
        sock.close()
