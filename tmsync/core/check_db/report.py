"""The results of check-db: plain data, for any renderer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

from tmsync.core.causes import Cause
from tmsync.core.config.settings import Settings
from tmsync.core.errors import ExitCode, Problem, Step


class Stage(StrEnum):
    """What a check is about, in order: init asks its questions stage by stage."""

    REACH = "reach"
    """Is there a PostgreSQL server, and does TLS come about?"""
    ENTER = "enter"
    """Does it let this client in, and may the client read the tokens?"""
    OPEN = "open"
    """Does the encryption key fit?"""
    USE = "use"
    """Is the token good for anything?"""
    FILE = "file"
    """What a pg_hba.conf at hand says. Not part of the ladder."""


class CheckId(StrEnum):
    """The checks, in order; each belongs to a stage."""

    stage: Stage

    def __new__(cls, value: str, stage: Stage) -> Self:
        """Name and stage."""
        made = str.__new__(cls, value)
        made._value_ = value
        made.stage = stage
        return made

    CONFIG = "config", Stage.REACH
    RESOLVE = "resolve", Stage.REACH
    CONNECT = "connect", Stage.REACH
    PROTOCOL = "protocol", Stage.REACH
    TLS = "tls", Stage.REACH
    PG_HBA = "pg-hba", Stage.ENTER
    LOGIN = "login", Stage.ENTER
    SCHEMA = "schema", Stage.ENTER
    TOKENS = "tokens", Stage.ENTER
    DECRYPT = "decrypt", Stage.OPEN
    CLAIMS = "claims", Stage.USE
    HBA_FILE = "hba-file", Stage.FILE


LADDER: Final = tuple(check_id for check_id in CheckId if check_id.stage is not Stage.FILE)


class Status(StrEnum):
    """How a check ended."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Check:
    """One check's result. said: what it found, in one line, where nothing is wrong; notes: more lines."""

    id: CheckId
    status: Status
    said: str = ""
    problem: Problem | None = None
    notes: tuple[str, ...] = ()
    then: tuple[Step, ...] = ()
    """What is left to do, although nothing is wrong."""
    hba_line: str | None = None
    elapsed_s: float = 0.0
    more: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the document that only this check has."""

    @property
    def summary(self) -> str:
        """The result in one line."""
        return self.problem.message if self.problem else self.said

    @property
    def details(self) -> tuple[str, ...]:
        """What more is known, line by line."""
        return (*(self.problem.details if self.problem else ()), *self.notes)

    @property
    def cause(self) -> Cause | None:
        """What is wrong."""
        return self.problem.cause if self.problem else None

    @property
    def fix(self) -> tuple[Step, ...]:
        """What to do about it."""
        return self.problem.fix if self.problem else self.then

    def as_json(self) -> dict[str, Any]:
        """The check as check-db prints it.

        Fields:
            id (CheckId): the check
            status (CheckStatus): how it ended; `skip` after an earlier one failed
            cause (Cause or null): what is wrong
            summary (text): the result in one line
            detail (text): what more is known, lines joined by line breaks
            fix (list of text): the steps, as in an error
            hba_line (text or null): the line that makes the check pass, ahead of what shadows it in pg_hba.conf
            elapsed_s (number, s): how long the check took
            hba_file (text, optional): pg-hba: where the server keeps its pg_hba.conf, where the role may see that
        """
        return {
            "id": self.id.value,
            "status": self.status.value,
            "cause": self.cause.value if self.cause else None,
            "summary": self.summary,
            "detail": "\n".join(self.details),
            "fix": [line for step in self.fix for line in step.as_lines()],
            "hba_line": self.hba_line,
            "elapsed_s": round(self.elapsed_s, 4),
            **self.more,
        }


@dataclass(slots=True)
class Diagnosis:
    """Everything check-db found out."""

    target: dict[str, Any] | None = None
    source_address: str | None = None
    server_version: str | None = None
    server_tls: str | None = None
    seen_address: str | None = None
    """This host as the server sees it, where its own words told; behind a translation it is not `source_address`."""
    offers_tls: bool | None = None
    schema_level: int | None = None
    tokens_table: str | None = None
    checks: list[Check] = field(default_factory=list)

    def aim(self, settings: Settings) -> None:
        """Note what is to be reached; `host` is None where it is not set."""
        self.target = {key: settings.get(f"database.{key}") for key in ("host", "port", "name", "user", "sslmode")}

    @property
    def failure(self) -> Check | None:
        """The first check that failed."""
        return next((check for check in self.checks if check.status is Status.FAIL), None)

    @property
    def ok(self) -> bool:
        """Whether TeslaMate's tokens can be read; warnings do not count."""
        return self.failure is None

    @property
    def exit_code(self) -> ExitCode:
        """2 for a faulty configuration, 1 for any other failure."""
        if self.failure is None:
            return ExitCode.GOOD
        faulty = self.failure.id is CheckId.CONFIG or self.failure.cause in (Cause.UNREADABLE_FILE, Cause.USAGE)
        return ExitCode.USAGE if faulty else ExitCode.PROBLEM

    def of(self, check_id: CheckId) -> Check | None:
        """One check's result."""
        return next((check for check in self.checks if check.id is check_id), None)

    def amend(self, check: Check) -> None:
        """Put `check` in place of the one of the same id."""
        self.checks = [check if one.id is check.id else one for one in self.checks]

    def as_json(self) -> dict[str, Any]:
        """The document's fields, without command and version.

        Fields:
            ok (boolean): whether TeslaMate's tokens can be read; warnings do not count
            target (object or null): what is to be reached; null with --offline or an unreadable configuration
            target.host (text or null): `database.host`
            target.port (integer): `database.port`
            target.name (text): `database.name`
            target.user (text): `database.user`
            target.sslmode (text): `database.sslmode`
            source_address (text or null): this host's own address on the connection
            server (object): the PostgreSQL server
            server.version (text or null): its version
            server.tls (text or null): the TLS version of the session, null without TLS
            teslamate (object): TeslaMate's tables
            teslamate.schema_level (integer or null): the newest of TeslaMate's migrations, YYYYMMDDhhmmss
            teslamate.tokens_table (text or null): schema and name of the table that holds the tokens
            checks (list of Check): every check, in order
        """
        return {
            "ok": self.ok,
            "target": self.target,
            "source_address": self.source_address,
            "server": {"version": self.server_version, "tls": self.server_tls},
            "teslamate": {"schema_level": self.schema_level, "tokens_table": self.tokens_table},
            "checks": [check.as_json() for check in self.checks],
        }
