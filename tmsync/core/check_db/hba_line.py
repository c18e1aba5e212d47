"""The pg_hba.conf line that lets this host in, and how a changed file takes effect.

Source: PostgreSQL documentation, "The pg_hba.conf File" and "Server Signaling Functions".
"""

from tmsync.core.fixes import Steps
from tmsync.core.fixes.hba import RELOAD


def line_for(database: str, user: str, address: str | None) -> str | None:
    """The narrowest line that lets `user` in with a password; `address` None is the Unix socket.

    None for a name that pg_hba.conf cannot hold (one with a line break).
    """
    from tmsync.core.hba import Client, entry_for

    try:
        return entry_for(Client(user, database, address))
    except ValueError:
        return None


def reload_steps() -> Steps:
    """How to make the server read its files again."""
    return RELOAD
