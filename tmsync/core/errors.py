"""Errors a person can act on: what happened, where, and what to do next. None of them ever carries a secret."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, Final, NamedTuple


class ExitCode(IntEnum):
    """Exit codes of every command."""

    GOOD = 0
    """All is well, or the job is done; warnings do not count. Ctrl-C ends watch-mqtt with it, too."""
    PROBLEM = 1
    """A problem was found, or the job could not be done."""
    USAGE = 2
    """Wrong usage or wrong configuration."""
    OUT_OF_SYNC = 3
    """From `sync-tokens --check` alone: TWCManager holds another token than TeslaMate."""


class Cause(StrEnum):
    """Machine-readable names of everything that can be wrong, each with its meaning; people script against them."""

    # configuration
    MISSING_SETTING = "missing-setting"
    """A setting that the command cannot do without is not set."""
    LOOSE_PERMISSIONS = "loose-permissions"
    """A file that holds secrets can be read by others."""
    UNKNOWN_KEY = "unknown-key"
    """A setting that does not exist, mostly a misspelt one."""
    WRONG_TYPE = "wrong-type"
    """A setting has a value of another type, such as text instead of a number."""
    BAD_VALUE = "bad-value"
    """A setting has a value that is not allowed."""
    UNREADABLE_FILE = "unreadable-file"
    """A file that was named cannot be read."""
    BAD_SYNTAX = "bad-syntax"
    """A configuration file is no valid TOML, or TWCManager's no valid JSON."""
    CUT_BY_COMMENT = "cut-by-comment"
    """TWCManager cuts a value in its config.json short, at a `#` or `//` in it."""
    USAGE = "usage"
    """The command line is wrong."""
    MISSING_PACKAGE = "missing-package"
    """A Python package that this needs is not installed."""
    # network
    UNRESOLVABLE = "unresolvable"
    """A host name has no address here."""
    REFUSED = "refused"
    """Nothing listens at that address and port, or the broker refuses the connection."""
    TIMEOUT = "timeout"
    """No answer in time: a firewall drops it, or the machine is off."""
    UNREACHABLE = "unreachable"
    """There is no route to that address."""
    # PostgreSQL protocol
    NOT_POSTGRESQL = "not-postgresql"
    """Another kind of server listens there."""
    NO_ANSWER = "no-answer"
    """The connection is accepted, and then nothing is said."""
    STARTING_UP = "starting-up"
    """The server is starting, shutting down or recovering."""
    TOO_MANY_CONNECTIONS = "too-many-connections"
    """The server, the database or the role has no connection left."""
    POOLER = "pooler"
    """A pooler or proxy answers instead of PostgreSQL, and refuses by rules of its own."""
    SERVER_ERROR = "server-error"
    """Any other refusal by the server, quoted."""
    # TLS
    TLS_UNAVAILABLE = "tls-unavailable"
    """TLS is demanded, and the server offers none."""
    TLS_UNTRUSTED = "tls-untrusted"
    """The server's certificate is signed by nobody who is trusted."""
    TLS_NAME_MISMATCH = "tls-name-mismatch"
    """The server's certificate is for another name."""
    TLS_FAILED = "tls-failed"
    """The TLS handshake failed for another reason, quoted."""
    # pg_hba.conf
    NO_ENTRY = "no-entry"
    """No line of pg_hba.conf matches this host, role and database."""
    REJECTED = "rejected"
    """A `reject` line of pg_hba.conf matches first."""
    TLS_ONLY = "tls-only"
    """pg_hba.conf lets this host in with TLS alone."""
    PLAIN_ONLY = "plain-only"
    """pg_hba.conf lets this host in without TLS alone."""
    CLIENT_CERTIFICATE = "client-certificate"
    """The server wants a certificate of this client."""
    NO_PASSWORD_METHOD = "no-password-method"
    """The line that matches asks for something else than a password, such as peer or cert."""
    SYNTAX_ERROR = "syntax-error"
    """pg_hba.conf holds errors; the server goes by its former rules."""
    TOO_WIDE = "too-wide"
    """The line that lets this host in is wider or weaker than needed."""
    HBA_UNWRITABLE = "hba-unwritable"
    """`--apply` cannot write pg_hba.conf."""
    # login
    NO_PASSWORD = "no-password"
    """No password is configured, and the server wants one."""
    BAD_CREDENTIALS = "bad-credentials"
    """The server does not accept role and password; it hides which of them is wrong."""
    UNKNOWN_ROLE = "unknown-role"
    """The role does not exist."""
    NO_LOGIN = "no-login"
    """The role may not log in."""
    NO_DATABASE = "no-database"
    """The database does not exist."""
    NO_CONNECT_PRIVILEGE = "no-connect-privilege"
    """The role may not connect to the database."""
    NOT_ACCEPTING = "not-accepting"
    """The database takes no connections."""
    LOGIN_FAILED = "login-failed"
    """The PostgreSQL client library refuses to log in, quoted."""
    # TeslaMate's tables
    NOT_TESLAMATE = "not-teslamate"
    """The database is not TeslaMate's."""
    NO_TOKENS_TABLE = "no-tokens-table"
    """TeslaMate's tables are there, the one that holds the tokens is not."""
    NO_PRIVILEGE = "no-privilege"
    """The role may not read the table."""
    SIGNED_OUT = "signed-out"
    """TeslaMate holds no token."""
    SEVERAL_ROWS = "several-rows"
    """TeslaMate's table holds more than one token, where it wants one."""
    # tokens
    NO_KEY = "no-key"
    """No encryption key is configured."""
    WRONG_KEY = "wrong-key"
    """The encryption key does not open the tokens."""
    CORRUPT = "corrupt"
    """The stored token is damaged."""
    PLAIN_TEXT = "plain-text"
    """TeslaMate is so old that it stores its tokens unencrypted."""
    EXPIRED = "expired"
    """TeslaMate's access token has expired, and was not renewed."""
    EXPIRES_SOON = "expires-soon"
    """TeslaMate's access token expires within the hour."""
    NOT_RENEWED = "not-renewed"
    """TeslaMate should have renewed its token by now, and has not."""
    OWNER_API = "owner-api"
    """The token is for the Owner API, which this version of TWCManager does not use."""
    NO_JWT = "no-jwt"
    """The token is no JWT, so it does not tell when it expires."""
    # delivery to TWCManager
    SYNC_ENABLED_IN_TWCMANAGER = "sync-enabled-in-twcmanager"
    """TWCManager's own token sync is on; it then refuses every other token."""
    SETTINGS_UNREADABLE = "settings-unreadable"
    """TWCManager's settings.json cannot be read, or is no JSON object; it is left as it is."""
    SETTINGS_UNWRITABLE = "settings-unwritable"
    """TWCManager's settings.json cannot be written."""
    SETTINGS_RESTORED = "settings-restored"
    """settings.json was missing, and was made from the backup that TWCManager keeps beside it."""
    TWCMANAGER_RUNNING = "twcmanager-running"
    """TWCManager runs and does not read the file before its next start; its next save overwrites it."""
    RESTART_WAITS = "restart-waits"
    """TWCManager is not restarted while a car charges, or one run long where nothing tells whether one does."""
    HOLDS_REFRESH_TOKEN = "holds-refresh-token"
    """TWCManager holds a refresh token and would refresh the token by itself, which signs TeslaMate out."""
    NO_REFRESH_TOKEN = "no-refresh-token"
    """The refresh token is to be shared, and TeslaMate holds none."""
    NOT_ATOMIC = "not-atomic"
    """settings.json could not be replaced in one step, and was written in place."""
    NOT_KEPT = "not-kept"
    """settings.json is a new file now, and lost what the old one had, such as a second name (a hard link)."""
    TWCMANAGER_REFUSED = "twcmanager-refused"
    """TWCManager did not take the token, although it answered."""
    TWCMANAGER_UNREACHABLE = "twcmanager-unreachable"
    """TWCManager's web control does not answer, or is not known to be TWCManager's."""
    LOCKED = "locked"
    """Another tmsync is at work on the same settings.json."""
    FACADE_NOT_CONFIGURED = "facade-not-configured"
    """TWCManager does not send its requests to `tmsync serve`."""
    OWN_TELEMETRY = "own-telemetry"
    """TWCManager takes TeslaMate's telemetry by itself, and believes it when TeslaMate has died."""
    POWERWALL = "powerwall"
    """TWCManager 1.3.2 asks Tesla itself for its Powerwall, where a token of tmsync's own is of no use."""
    TESLAMATE_GONE = "teslamate-gone"
    """TeslaMate is gone, and nobody renews its token: TWCManager will be cut off from Tesla."""
    SERVE_NOT_RUNNING = "serve-not-running"
    """`tmsync serve` does not answer where it is configured to."""
    LISTEN_FAILED = "listen-failed"
    """`tmsync serve` cannot listen at its address."""
    STATE_UNUSABLE = "state-unusable"
    """`serve.state_dir` cannot be used, or others can change what is in it."""
    # MQTT
    NOT_MQTT = "not-mqtt"
    """Another kind of server listens there."""
    NOT_AUTHORISED = "not-authorised"
    """The broker does not accept user and password, or does not let this user read TeslaMate's topics."""
    TLS_MISMATCH = "tls-mismatch"
    """One side speaks TLS, the other does not."""
    CONNECTION_LOST = "connection-lost"
    """The connection ended before the job was done."""
    TLS_NOT_VERIFIED = "tls-not-verified"
    """The broker's certificate is not verified, because `mqtt.insecure` is set."""
    COMMAND_FAILED = "command-failed"
    """The command of `--exec` failed."""
    # vehicles
    NO_VEHICLES = "no-vehicles"
    """The broker holds no vehicle of TeslaMate's in this namespace."""
    STALE = "stale"
    """TeslaMate is silent for longer than the car's state allows, or is known to be gone."""
    UNHEALTHY = "unhealthy"
    """TeslaMate says that Tesla's API fails for this car."""
    BLIND = "blind"
    """TeslaMate lives, and has no data from Tesla."""
    LEFT_OVER = "left-over"
    """The broker still holds values of a car that TeslaMate logs no more."""
    MQTT_LINK_LOST = "mqtt-link-lost"
    """TeslaMate lives, and its values do not reach this broker."""
    DUPLICATE_NAME = "duplicate-name"
    """Two vehicles have one display name, and TWCManager tells them apart by it."""
    NAMELESS = "nameless"
    """Several vehicles have no display name, and TWCManager tells them apart by it."""
    RENAMED = "renamed"
    """A vehicle was renamed; TWCManager knows it by the old name until it is restarted."""
    NOT_PUBLISHED = "not-published"
    """TeslaMate logs a car, and publishes nothing of it."""
    RETAINED_LOST = "retained-lost"
    """The broker has lost the values that TeslaMate sends only when they change."""
    OUT_OF_SYNC = "out-of-sync"
    """TWCManager holds another token than TeslaMate."""
    # Tesla's API, behind tmsync serve
    SIGNED_COMMANDS = "signed-commands"
    """Tesla takes only commands that are signed with a key of the car's."""
    WRONG_REGION = "wrong-region"
    """Tesla serves the account in another region."""
    CLIENT_REFUSED = "client-refused"
    """Tesla refuses this client, or what it asks for."""
    TOKEN_REFUSED = "token-refused"
    """Tesla refuses the token, also after it was read again."""
    RATE_LIMITED = "rate-limited"
    """Tesla wants no requests for some time."""
    UPSTREAM_UNREACHABLE = "upstream-unreachable"
    """Tesla's API, or what serve.upstream names, does not answer."""
    UPSTREAM_UNKNOWN = "upstream-unknown"
    """The token does not tell which of Tesla's hosts it is for."""
    REQUEST_LOOP = "request-loop"
    """Requests come back to tmsync, or TeslaMate sends its own there."""
    OUTPUT_UNWRITABLE = "output-unwritable"
    """Standard output takes no more, as on a full disk."""
    INTERNAL = "internal"
    """An error nobody foresaw."""


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
        """The error object of every JSON document.

        Fields:
            cause (Cause): what is wrong, for scripts
            message (text): what is wrong, in one sentence
            hint (text): the first step's words; empty where nothing can be done
            fix (list of text): every step in order; each line to paste stands by itself
        """
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
