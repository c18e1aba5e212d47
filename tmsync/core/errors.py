"""Errors a person can act on: what happened, where, and what to do next. None of them ever carries a secret."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, Final, NamedTuple


class ExitCode(IntEnum):
    """Exit codes of every command."""

    GOOD = 0
    PROBLEM = 1
    """A problem was found, or the job could not be done."""
    USAGE = 2
    """Wrong usage or wrong configuration."""
    OUT_OF_SYNC = 3
    """`sync-tokens --check` only."""


class Cause(StrEnum):
    """Machine-readable names of everything that can be wrong; people script against them."""

    # configuration
    MISSING_SETTING = "missing-setting"
    LOOSE_PERMISSIONS = "loose-permissions"
    UNKNOWN_KEY = "unknown-key"
    WRONG_TYPE = "wrong-type"
    BAD_VALUE = "bad-value"
    UNREADABLE_FILE = "unreadable-file"
    BAD_SYNTAX = "bad-syntax"
    CUT_BY_COMMENT = "cut-by-comment"
    USAGE = "usage"
    # network
    UNRESOLVABLE = "unresolvable"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    # PostgreSQL protocol
    NOT_POSTGRESQL = "not-postgresql"
    NO_ANSWER = "no-answer"
    STARTING_UP = "starting-up"
    TOO_MANY_CONNECTIONS = "too-many-connections"
    POOLER = "pooler"
    SERVER_ERROR = "server-error"
    # TLS
    TLS_UNAVAILABLE = "tls-unavailable"
    TLS_UNTRUSTED = "tls-untrusted"
    TLS_NAME_MISMATCH = "tls-name-mismatch"
    TLS_FAILED = "tls-failed"
    # pg_hba.conf
    NO_ENTRY = "no-entry"
    REJECTED = "rejected"
    TLS_ONLY = "tls-only"
    PLAIN_ONLY = "plain-only"
    CLIENT_CERTIFICATE = "client-certificate"
    NO_PASSWORD_METHOD = "no-password-method"
    SYNTAX_ERROR = "syntax-error"
    TOO_WIDE = "too-wide"
    HBA_UNWRITABLE = "hba-unwritable"
    # login
    NO_PASSWORD = "no-password"
    BAD_CREDENTIALS = "bad-credentials"
    UNKNOWN_ROLE = "unknown-role"
    NO_LOGIN = "no-login"
    NO_DATABASE = "no-database"
    NO_CONNECT_PRIVILEGE = "no-connect-privilege"
    NOT_ACCEPTING = "not-accepting"
    LOGIN_FAILED = "login-failed"
    # TeslaMate's tables
    NOT_TESLAMATE = "not-teslamate"
    NO_TOKENS_TABLE = "no-tokens-table"
    NO_PRIVILEGE = "no-privilege"
    SIGNED_OUT = "signed-out"
    SEVERAL_ROWS = "several-rows"
    # tokens
    NO_KEY = "no-key"
    WRONG_KEY = "wrong-key"
    CORRUPT = "corrupt"
    PLAIN_TEXT = "plain-text"
    EXPIRED = "expired"
    EXPIRES_SOON = "expires-soon"
    NOT_RENEWED = "not-renewed"
    OWNER_API = "owner-api"
    NO_JWT = "no-jwt"
    # delivery to TWCManager
    SYNC_ENABLED_IN_TWCMANAGER = "sync-enabled-in-twcmanager"
    SETTINGS_UNREADABLE = "settings-unreadable"
    SETTINGS_UNWRITABLE = "settings-unwritable"
    SETTINGS_RESTORED = "settings-restored"
    TWCMANAGER_RUNNING = "twcmanager-running"
    HOLDS_REFRESH_TOKEN = "holds-refresh-token"
    NO_REFRESH_TOKEN = "no-refresh-token"
    NOT_ATOMIC = "not-atomic"
    NOT_KEPT = "not-kept"
    TWCMANAGER_REFUSED = "twcmanager-refused"
    TWCMANAGER_UNREACHABLE = "twcmanager-unreachable"
    LOCKED = "locked"
    # MQTT
    NOT_MQTT = "not-mqtt"
    NOT_AUTHORISED = "not-authorised"
    TLS_MISMATCH = "tls-mismatch"
    CONNECTION_LOST = "connection-lost"
    TLS_NOT_VERIFIED = "tls-not-verified"
    COMMAND_FAILED = "command-failed"
    # vehicles
    NO_VEHICLES = "no-vehicles"
    STALE = "stale"
    UNHEALTHY = "unhealthy"
    BLIND = "blind"
    LEFT_OVER = "left-over"
    MQTT_LINK_LOST = "mqtt-link-lost"
    DUPLICATE_NAME = "duplicate-name"
    NAMELESS = "nameless"
    RENAMED = "renamed"
    NOT_PUBLISHED = "not-published"
    RETAINED_LOST = "retained-lost"
    OUT_OF_SYNC = "out-of-sync"
    OUTPUT_UNWRITABLE = "output-unwritable"
    INTERNAL = "internal"


class Place(StrEnum):
    """Which readers a step is for."""

    ANYWHERE = "anywhere"
    DOCKER = "docker"
    """TeslaMate and its servers run in Docker."""
    NATIVE = "native"
    """They do not."""


PLACES: Final = {Place.DOCKER: "TeslaMate in Docker", Place.NATIVE: "Not in Docker"}


class Step(NamedTuple):
    """One step of a fix: what to do in words, and apart from them what to paste, one or more lines."""

    words: str
    command: str = ""
    place: Place = Place.ANYWHERE

    def as_lines(self) -> list[str]:
        """The words, then every line to paste by itself, as JSON's `fix` lists them."""
        return [line for line in (self.told, *self.command.splitlines()) if line]

    @property
    def told(self) -> str:
        """The words, with the place in front where the step is for one place only."""
        return f"{PLACES[self.place]}: {self.words}" if self.words and self.place in PLACES else self.words


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: its cause, one sentence, what more is known of it, and the steps that fix it.

    It is made where the cause is known, and shown alike by every command.
    """

    cause: Cause
    message: str
    fix: tuple[Step, ...] = ()
    details: tuple[str, ...] = ()

    @property
    def hint(self) -> str:
        """The first step's words; empty where nothing can be done."""
        return self.fix[0].told if self.fix else ""

    def as_json(self) -> dict[str, Any]:
        """The error object of every JSON document: `{"cause", "message", "hint", "fix"}`."""
        return {
            "cause": self.cause.value,
            "message": self.message,
            "hint": self.hint,
            "fix": [line for step in self.fix for line in step.as_lines()],
        }


class TmsyncError(Exception):
    """Base of all errors that are told in one line and never as a traceback. Carries one Problem."""

    exit_code = ExitCode.PROBLEM

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem

    @property
    def cause(self) -> Cause:
        """What went wrong, for scripts."""
        return self.problem.cause


class ConfigError(TmsyncError):
    """A setting is missing, unknown or of no use."""

    exit_code = ExitCode.USAGE


class DecryptionFailed(TmsyncError):
    """A token column does not decrypt (causes wrong-key, corrupt, plain-text, no-key)."""


class StoreError(TmsyncError):
    """TeslaMate's token row cannot be read."""


class DeliveryError(TmsyncError):
    """The token could not be put into TWCManager."""


class BrokerError(TmsyncError):
    """The MQTT broker cannot be reached, or does not let tmsync in."""
