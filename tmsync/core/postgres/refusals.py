"""What a refusal means: by SQLSTATE and routine wherever they tell, by text only where nothing else does.

Source: PostgreSQL src/backend/libpq/auth.c (ClientAuthentication, auth_failed), src/backend/utils/init/miscinit.c
(InitializeSessionUserId), src/backend/utils/init/postinit.c; the phrases: its message catalogues (src/backend/po).
PgBouncer src/client.c, src/objects.c (disconnect_client).
"""

import ipaddress
import re
from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.postgres.wire import ServerError

LOGIN_CAUSES: Final = {
    "28P01": Cause.BAD_CREDENTIALS,
    "3D000": Cause.NO_DATABASE,
    "42501": Cause.NO_CONNECT_PRIVILEGE,
    "55000": Cause.NOT_ACCEPTING,
    "53300": Cause.TOO_MANY_CONNECTIONS,
    "57P03": Cause.STARTING_UP,
}
INVALID_AUTHORIZATION: Final = "28000"
CONFIG_FILE_ERROR: Final = "F0000"

# "no entry" and "a reject line matched" share SQLSTATE and routine; only the words differ. An unknown language counts
# as "no entry": the same line at the same place fixes both.
REJECTS: Final = (
    "pg_hba.conf rejects", "pg_hba.conf lehnt", "pg_hba.conf rechaza", "pg_hba.conf rejette", "pg_hba.conf rifiuta",
    "pg_hba.conf отвергает", "pg_hba.conf avvisar", "pg_hba.conf відхиляє", "pg_hba.conf უარყოფს", "拒否しました",
    "거부됩니다", "记录拒绝",
)  # fmt: skip
WANTS_CERTIFICATE: Final = (
    "valid client certificate", "gültiges Client-Zertifikat", "certificado de cliente válido",
    "certificat client valide", "certificato valido per il client", "有効なクライアント証明",
    "კლიენტის სწორი სერტიფიკატი",
    "유효한 클라이언트 인증서", "годный сертификат клиента", "giltigt klientcertifikat",
    "припустимий сертифікат клієнта",
    "有效的客户端认证",
)  # fmt: skip
NOT_PERMITTED: Final = (
    "not permitted to log in", "keine Berechtigung zum Einloggen", "no se le permite conectarse",
    "n'est pas autorisé à se connecter", "non è consentito effettuare il login", "ログインが許可されません",
    "შესვლის უფლება არ აქვს", "접속을 허용하지 않음", "вход запрещён", "tillåts inte logga in", "вхід не дозволений",
    "不允许角色",
)  # fmt: skip

POOLER_WORDS: Final = {
    "pg_hba.conf": Cause.POOLER,
    "certificate authentication failed": Cause.POOLER,
    "SASL authentication failed": Cause.BAD_CREDENTIALS,
    "authentication failed": Cause.BAD_CREDENTIALS,
    "no such user": Cause.BAD_CREDENTIALS,
    "no such database": Cause.NO_DATABASE,
    "no more connections allowed": Cause.TOO_MANY_CONNECTIONS,
}
"""PgBouncer's, which older versions send with one SQLSTATE for all; the first that fits counts. Once a password was
asked for, only a pooler can quote pg_hba.conf."""


_SERVERS: Final = re.compile(r"(?:^|failed: )(?P<severity>[^\s:]+):  (?:(?P<sqlstate>[0-9A-Z]{5}): )?(?P<message>.*)")
_LOCATION: Final = re.compile(r"^[^\s:]+:  (?P<routine>\w+), [^:\n]+:(?P<line>\d+)$", re.MULTILINE)


def server_error_in(words: str) -> ServerError | None:
    """The server's error in what libpq says of a failed login; None where the words are libpq's own.

    SQLSTATE and routine are empty unless libpq was told to be verbose.

    Source: PostgreSQL src/interfaces/libpq/fe-protocol3.c (pqBuildErrorMessage3).
    """
    told = _SERVERS.search(words)
    if told is None:
        return None
    where = _LOCATION.search(words, told.end())
    routine, line = (where["routine"], where["line"]) if where else ("", "")
    return ServerError(told["severity"], told["sqlstate"] or "", routine, line, told["message"].strip(), "")


def is_poolers(refusal: ServerError) -> bool:
    """Whether a pooler or proxy made it: PostgreSQL always says in which routine it was raised."""
    return bool(refusal.sqlstate) and not refusal.routine


def start_cause(refusal: ServerError) -> Cause:
    """Why the StartupMessage was refused, before a password was asked for."""
    if is_poolers(refusal):
        return _poolers_cause(refusal)
    if refusal.sqlstate == CONFIG_FILE_ERROR:
        # A line that wants a client certificate, on a server that has no authority to check one by.
        return Cause.CLIENT_CERTIFICATE
    if refusal.sqlstate == INVALID_AUTHORIZATION and refusal.routine == "ClientAuthentication":
        if any(phrase in refusal.message for phrase in REJECTS):
            return Cause.REJECTED
        if any(phrase in refusal.message for phrase in WANTS_CERTIFICATE):
            return Cause.CLIENT_CERTIFICATE
        return Cause.NO_ENTRY
    return Cause.NO_PASSWORD_METHOD if refusal.routine == "auth_failed" else Cause.SERVER_ERROR


def login_cause(refusal: ServerError) -> Cause:
    """Why the login failed, after pg_hba.conf had let the client through; a NOLOGIN role counts as unknown-role yet."""
    if is_poolers(refusal):
        return _poolers_cause(refusal)
    if not refusal.sqlstate:
        return _by_words(refusal, Cause.SERVER_ERROR)
    if refusal.sqlstate == INVALID_AUTHORIZATION:
        known = refusal.routine == "InitializeSessionUserId"
        return Cause.UNKNOWN_ROLE if known else Cause.BAD_CREDENTIALS
    return LOGIN_CAUSES.get(refusal.sqlstate, Cause.SERVER_ERROR)


def _poolers_cause(refusal: ServerError) -> Cause:
    if refusal.sqlstate in LOGIN_CAUSES:
        return LOGIN_CAUSES[refusal.sqlstate]
    return _by_words(refusal, Cause.POOLER)


def _by_words(refusal: ServerError, otherwise: Cause) -> Cause:
    if says_not_permitted(refusal):
        return Cause.NO_LOGIN
    return next((cause for words, cause in POOLER_WORDS.items() if words in refusal.message), otherwise)


def says_not_permitted(refusal: ServerError) -> bool:
    """Whether the words are those for a NOLOGIN role, in a language known here."""
    return any(phrase in refusal.message for phrase in NOT_PERMITTED)


def address_seen(refusal: ServerError) -> str | None:
    """This client's address as the server sees it: its refusal quotes it, whatever the language."""
    for word in re.findall(r"[0-9A-Fa-f:.]{3,45}", refusal.message):
        try:
            return str(ipaddress.ip_address(word.strip(".")))
        except ValueError:
            continue
    return None
