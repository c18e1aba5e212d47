"""Runs twcmanager.restart_command: no shell, a time limit, nothing of ours handed on, its last words kept."""

import logging
from collections.abc import Iterable, Mapping
from typing import Final

from tmsync.core.errors import Cause, DeliveryError
from tmsync.core.process import without_secrets
from tmsync.core.secret import MASK

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 60.0
LAST_WORDS: Final = 300
"""Characters of a failed command's output that are told."""


def restart(command: tuple[str, ...], environ: Mapping[str, str], secrets: Iterable[str]) -> None:
    """Run it to its end.

    secrets: what must not be told, should it stand in the command's output.
    Raises: DeliveryError (twcmanager-running) when it fails or takes longer than a minute; it is ended then.
    """
    import subprocess

    log.info(f"restarting TWCManager: {command[0]}")
    try:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            env=without_secrets(environ),
        )
    except subprocess.TimeoutExpired as late:
        words = f"it did not end within {TIMEOUT_S:g} s" + _last_words(late.output, secrets)
    except OSError as error:
        words = error.strerror or "it cannot be started"
    else:
        if done.returncode == 0:
            return
        ended = f"exit code {done.returncode}" if done.returncode > 0 else f"ended by signal {-done.returncode}"
        words = ended + _last_words(done.stdout, secrets)
    raise DeliveryError(
        Cause.TWCMANAGER_RUNNING,
        f"the file was written, but twcmanager.restart_command ({command[0]}) failed: {words}",
        "Restart TWCManager by hand; its next save would write its old token over the new one.",
    )


def _last_words(output: bytes | None, secrets: Iterable[str]) -> str:
    text = " ".join((output or b"").decode("utf-8", "replace").split())
    for secret in secrets:
        if secret:
            text = text.replace(secret, MASK)
    if not text:
        return ""
    return f": {text}" if len(text) <= LAST_WORDS else f": ... {text[-LAST_WORDS:]}"
