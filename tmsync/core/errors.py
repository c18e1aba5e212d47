"""Errors a person can act on: what happened, where, and what to do next. None of them ever carries a secret."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from tmsync.core.causes import Cause


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

    cause: "Cause"
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
    def cause(self) -> "Cause":
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
