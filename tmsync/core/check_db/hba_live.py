"""The rules of the running server, for those who may look: which line let this host in, and whether the file is sound.

Source: PostgreSQL documentation, "pg_hba_file_rules" and "Generic File Access Functions"; they need a superuser, or
grants and the roles pg_read_all_settings and pg_read_server_files.
"""

import logging
from dataclasses import replace
from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.check_db.report import CheckId, Diagnosis, Status
from tmsync.core.fixes import problem
from tmsync.core.hba import Client, Hba, HbaError, Roles, evaluate, parse_hba, place
from tmsync.core.hba.model import shown
from tmsync.core.postgres.session import QueryFailed, Session

log = logging.getLogger(__name__)

# A superuser may do all of it; others need each of these.
_RIGHTS: Final = """
select has_table_privilege('pg_catalog.pg_hba_file_rules', 'select')
         and has_function_privilege('pg_catalog.pg_hba_file_rules()', 'execute')
         and pg_has_role('pg_read_all_settings', 'usage'),
       has_function_privilege('pg_catalog.pg_read_binary_file(text)', 'execute')
         and pg_has_role('pg_read_server_files', 'usage')
"""
_WHO: Final = """
select current_setting('hba_file'), current_user::text, current_database()::text, host(inet_client_addr()),
       current_setting('server_version_num')::int / 10000
"""
_MEMBER_OF: Final = """
select member.rolname, granted.rolname from pg_catalog.pg_auth_members
join pg_catalog.pg_roles member on member.oid = member join pg_catalog.pg_roles granted on granted.oid = roleid
"""
_ERRORS: Final = """
select line_number, error, {file} from pg_catalog.pg_hba_file_rules where error is not null
order by {file} = {main} desc, line_number
"""
_MAIN: Final = "current_setting('hba_file')"
# encode() because a text file of the server may hold any bytes, and the session's encoding may not take them.
_FILE: Final = "select encode(pg_read_binary_file(%s), 'hex')"
NAMES_FILES_SINCE: Final = 16
"""The server version from which on each rule names its file."""


class ServerFiles:
    """The files of the server's machine, through its own eyes."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def read_text(self, path: str) -> str:
        """Raises OSError where the server cannot read it."""
        try:
            return bytes.fromhex(self._session.query(_FILE, (path,))[0][0]).decode("utf-8", "surrogateescape")
        except QueryFailed as error:
            raise OSError(str(error)) from None

    def list_dir(self, path: str) -> list[str]:
        """Raises OSError where the server cannot read it."""
        try:
            return [name for (name,) in self._session.query("select pg_ls_dir(%s)", (path,))]
        except QueryFailed as error:
            raise OSError(str(error)) from None


def tell_live_rules(session: Session, found: Diagnosis) -> None:
    """Add to the check pg-hba what this role may see: the file, its errors, which line decided. Never fails."""
    check = found.of(CheckId.PG_HBA)
    if check is None:
        return
    hba = None
    try:
        may_ask, may_read = (True, True) if session.is_superuser else session.query(_RIGHTS)[0]
        if not may_ask:
            return
        path, user, database, address, major = session.query(_WHO)[0]
        errors = session.query(_ERRORS.format(main=_MAIN, file="file_name" if major >= NAMES_FILES_SINCE else _MAIN))
        members = session.query(_MEMBER_OF)
        reader = ServerFiles(session)
        if may_read:
            hba = parse_hba(reader.read_text(path), path=path, server_major=major, reader=reader)
    except (QueryFailed, OSError) as error:
        log.info(f"the server's own rules cannot be read: {error}")
        return
    check = replace(check, more={**check.more, "hba_file": path})
    if errors:
        line, message, file = errors[0]
        texts = [own.text for own in hba.errors if (own.line, own.file) == (line, file)] if hba else []
        first = HbaError(line, message, file, texts[0] if texts else "", included=file != path)
        detail = f"{first}; the server goes by its former rules, and would not start again with these"
        broken = problem(Cause.SYNTAX_ERROR, check.summary, details=(detail,))
        found.amend(replace(check, status=Status.WARN, problem=broken))
        return
    if hba is None:
        found.amend(check)
        return
    memberships: dict[str, list[str]] = {}
    for member, granted in members:
        memberships.setdefault(member, []).append(granted)
    client = Client(user, database, address, tls=session.tls_version is not None)
    found.amend(replace(check, notes=_decided(hba, client, Roles(memberships))))


def _decided(hba: Hba, client: Client, roles: Roles) -> tuple[str, ...]:
    result = evaluate(hba, client, roles)
    if result.rule is None or result.doubts:
        return ()
    return (f"{place(result.rule)} of {hba.path} decides: {shown(result.rule)}",)
