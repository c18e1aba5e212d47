"""Running other programs: no shell, a time limit, nothing of ours handed on, no wait for what they leave behind.

Output goes to a file and the process itself is waited for: a child that stays, as a daemon's does, keeps a pipe open
for as long as it lives.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tmsync.core.secret import MASK

OURS: Final = ("TMSYNC_", "PG")
"""Variables that may hold secrets and are nobody else's business."""
LAST_CHARS: Final = 300
"""Characters of a failed command's output that are told."""


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a program of somebody else's."""
    return {name: value for name, value in environ.items() if not name.startswith(OURS)}


def run_command(
    command: Sequence[str],
    *,
    environ: Mapping[str, str],
    timeout_s: float,
    given: bytes = b"",
    secrets: Iterable[str] = (),
) -> str:
    """Run it to its end; in words what went wrong, empty when nothing did.

    environ: of which it gets what holds no secret of ours. given: its standard input. secrets: masked, should they
    stand in its output. After `timeout_s` seconds it is killed.
    """
    import subprocess
    import tempfile

    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as handed:
        handed.write(given)
        handed.seek(0)
        try:
            with subprocess.Popen(
                command, stdin=handed, stdout=output, stderr=subprocess.STDOUT, env=without_secrets(environ)
            ) as process:
                try:
                    code = process.wait(timeout_s)
                except subprocess.TimeoutExpired:
                    process.kill()
                    code = None
        except OSError as error:
            return error.strerror or "it cannot be started"
        if code == 0:
            return ""
        if code is None:
            ended = f"it did not end within {timeout_s:g} s"
        else:
            ended = f"exit code {code}" if code > 0 else f"ended by signal {-code}"
        output.seek(0, 2)
        output.seek(max(output.tell() - 16 * LAST_CHARS, 0))
        return ended + _told(output.read(), secrets)


def _told(output: bytes, secrets: Iterable[str]) -> str:
    text = " ".join(output.decode("utf-8", "replace").split())
    for secret in filter(None, secrets):
        text = text.replace(secret, MASK)
    if not text:
        return ""
    return f": {text}" if len(text) <= LAST_CHARS else f": ... {text[-LAST_CHARS:]}"


def user_name(user: int) -> str | None:
    """The account's name on this machine; None where it has none, as many a container's."""
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return None
