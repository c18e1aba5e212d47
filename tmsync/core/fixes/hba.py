"""Fixes for pg_hba.conf.

Source: PostgreSQL documentation, "The pg_hba.conf File" and "Server Signaling Functions"; the official postgres image,
which lets every host in with a password until its pg_hba.conf is changed.
"""

from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.errors import Place, Step
from tmsync.core.fixes import Fixes, Steps

RELOAD: Final[Steps] = (
    Step("Any server, as a superuser in psql:", "SELECT pg_reload_conf();"),
    Step(
        "Then reload; open connections stay open:",
        "docker compose exec database psql -U teslamate teslamate -c 'SELECT pg_reload_conf()'",
        Place.DOCKER,
    ),
    Step("Then reload; open connections stay open:", "sudo systemctl reload postgresql", Place.NATIVE),
)
ADD: Final = "dd this line to the server's pg_hba.conf, above all others (the first line that matches decides):"
WHERE: Final[Steps] = (
    Step("This command adds the line to the container's file:", "{docker_insert}", Place.DOCKER),
    RELOAD[1],
    Step(
        "Debian keeps the file at /etc/postgresql/<version>/main/pg_hba.conf; any server tells a superuser where it"
        " is:",
        "SHOW hba_file;",
        Place.NATIVE,
    ),
    RELOAD[2],
)
INSERT: Final[Steps] = (
    Step("Insert this line {at} of {path} (--apply does it):", "{line}"),
    Step("As a diff:", "{diff}"),
    *RELOAD,
)
UNNAMEABLE: Final = Step("No pg_hba.conf can name the role {unnameable}: use another one.")

FIXES: Final[Fixes] = {
    Cause.NO_ENTRY: (UNNAMEABLE, Step("A" + ADD, "{line}"), *WHERE),
    Cause.REJECTED: (UNNAMEABLE, Step("A" + ADD, "{line}"), *WHERE),
    Cause.TLS_ONLY: (
        UNNAMEABLE,
        Step(
            "Use TLS, which the server's rules let through, under [database] in tmsync's configuration file:",
            'sslmode = "prefer"',
        ),
        Step("Or let this host in without TLS: a" + ADD, "{line}"),
        *WHERE,
    ),
    Cause.PLAIN_ONLY: (
        UNNAMEABLE,
        Step(
            "Connect without TLS, which the server's rules let through, under [database] in tmsync's configuration"
            " file:",
            'sslmode = "prefer"',
        ),
        Step("Or let this host in with TLS: a" + ADD, "{line}"),
        *WHERE,
    ),
    Cause.CLIENT_CERTIFICATE: (UNNAMEABLE, Step("A" + ADD, "{line}"), *WHERE),
    Cause.NO_PASSWORD_METHOD: (UNNAMEABLE, Step("A" + ADD, "{line}"), *WHERE),
    (Cause.NO_ENTRY, "file"): INSERT,
    (Cause.REJECTED, "file"): INSERT,
    (Cause.NO_PASSWORD_METHOD, "file"): INSERT,
    Cause.SYNTAX_ERROR: (
        Step(
            "Fix the lines named. Until then a running server keeps the rules it had, whatever the file says, and one"
            " that is started refuses to start."
        ),
        Step("The server's own view, as a superuser in psql:", "SELECT line_number, error FROM pg_hba_file_rules;"),
    ),
    Cause.TOO_WIDE: (Step("Narrow that line: one database, one role, one address, scram-sha-256."),),
    (Cause.UNREADABLE_FILE, "hba"): (Step("Name a file that this user can read, or run tmsync as root."),),
    (Cause.UNREADABLE_FILE, "hba-missing"): (
        Step(
            "TeslaMate's Docker volume keeps it at /var/lib/docker/volumes/<project>_teslamate-db/_data/pg_hba.conf"
            " (with the image of PostgreSQL 18 in .../_data/18/docker/).",
            place=Place.DOCKER,
        ),
        Step(
            "Debian keeps it at /etc/postgresql/<version>/main/pg_hba.conf; a superuser can ask any server where:",
            "SHOW hba_file;",
            Place.NATIVE,
        ),
    ),
    Cause.HBA_UNWRITABLE: (
        Step("Run the same command as a user who may write the file:", "sudo tmsync check-db --pg-hba {path} --apply"),
    ),
    (Cause.HBA_UNWRITABLE, "changed"): (Step("Look at the file, and try again."),),
    (Cause.HBA_UNWRITABLE, "immutable"): (
        Step("Not even root may write it: it is immutable, or its file system is read-only.", "lsattr {path}"),
    ),
    (Cause.HBA_UNWRITABLE, "link"): (
        Step("Name the file itself with --pg-hba, or let the link belong to root or to the owner of the file."),
    ),
    (Cause.HBA_UNWRITABLE, "unsynced"): (
        Step("Check the disk, and that the file holds the line. Its former content is in {backup}."),
    ),
    (Cause.HBA_UNWRITABLE, "damaged"): (
        Step("Copy its former content over it; until then do not restart the server:", "sudo cp {backup} {path}"),
    ),
    (Cause.HBA_UNWRITABLE, "full"): (Step("Free some space; the file was not changed."),),
    (Cause.USAGE, "no-address"): (Step("Name it: --client-address 192.168.1.50 (or local, for the Unix socket)."),),
    (Cause.USAGE, "bad-address"): (Step("Give a numeric address, such as 192.168.1.50 or fd00::5."),),
}
