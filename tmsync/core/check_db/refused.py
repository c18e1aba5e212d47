"""What to tell, and to do, when pg_hba.conf does not let this client in with a password."""

import re
from typing import NamedTuple

from tmsync.core.causes import Cause
from tmsync.core.config.settings import DatabaseSettings
from tmsync.core.errors import Problem
from tmsync.core.fixes import problem
from tmsync.core.postgres.probe import Probe
from tmsync.core.postgres.refusals import address_seen, start_cause
from tmsync.core.postgres.tls import ROUTES
from tmsync.core.postgres.wire import AuthRequest, ServerError


class Refusal(NamedTuple):
    """line: what lets this client in, None for names that pg_hba.conf cannot hold. address: this client's, as seen."""

    problem: Problem
    line: str | None
    address: str | None


def refused(target: DatabaseSettings, probe: Probe, first: ServerError, own: str | None) -> Refusal:
    """All routes are refused; `first` is the refusal of the one that libpq takes first. own: this host's address."""
    usual = ROUTES[target.sslmode]
    cause = start_cause(first)
    other_is_open = any(isinstance(answer, AuthRequest) for tls, answer in probe.answers.items() if tls not in usual)
    if other_is_open and cause in (Cause.NO_ENTRY, Cause.REJECTED):
        cause = Cause.PLAIN_ONLY if usual[0] else Cause.TLS_ONLY
    seen = address_seen(first) if own is not None else None
    details = [f"{route(tls)}: {told.message}" for tls, told in probe.answers.items() if isinstance(told, ServerError)]
    if seen and seen != own:
        details.append(
            f"This host is {own}, the server sees {seen}: addresses are translated between them, as Docker's bridge"
            " does for a published port"
        )
    return shut_out(target, cause, seen or own, tuple(details))


def shut_out(target: DatabaseSettings, cause: Cause, address: str | None, details: tuple[str, ...]) -> Refusal:
    """Whatever the cause, the same line at the top of the file lets this client in."""
    who = f"{target.user}, database {target.name}, from {address or 'the Unix socket'}"
    what = {
        Cause.NO_ENTRY: f"no line of pg_hba.conf lets in {who}",
        Cause.REJECTED: f"a reject line of pg_hba.conf shuts out {who}",
        Cause.TLS_ONLY: f"pg_hba.conf lets in {who} only with TLS, but sslmode is {target.sslmode}",
        Cause.PLAIN_ONLY: f"pg_hba.conf lets in {who} only without TLS, but sslmode is {target.sslmode}",
        Cause.CLIENT_CERTIFICATE: f"the line of pg_hba.conf for {who} demands a client certificate",
    }.get(cause, f"the line of pg_hba.conf for {who} uses a method without password")
    line = _line_for(target.name, target.user, address)
    told = problem(
        cause,
        what,
        details=details,
        line=line,
        docker_insert=_docker_insert(line),
        unnameable=None if line else repr(target.user),
    )
    return Refusal(told, line, address)


def route(with_tls: bool) -> str:
    """In words."""
    return "with TLS" if with_tls else "without TLS"


def _line_for(database: str, user: str, address: str | None) -> str | None:
    """The narrowest line that lets `user` in with a password; `address` None is the Unix socket."""
    from tmsync.core.hba import Client, entry_for

    try:
        return entry_for(Client(user, database, address))
    except ValueError:
        return None


def _docker_insert(line: str | None) -> str | None:
    """The line put in by one command; none for names that a shell or sed would read otherwise."""
    if line is None or not re.fullmatch(r"[A-Za-z0-9_ ./:-]+", line):
        return None
    return f'docker compose exec database sh -c \'sed -i "1i {line}" "$PGDATA/pg_hba.conf"\''
