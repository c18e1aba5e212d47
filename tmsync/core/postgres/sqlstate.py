"""What a refusal at login means. By SQLSTATE and routine wherever they tell; by text only where nothing else does.

Source: PostgreSQL src/backend/libpq/auth.c (ClientAuthentication, auth_failed), src/backend/utils/init/miscinit.c
(InitializeSessionUserId), src/backend/utils/init/postinit.c; the phrases: its message catalogues (src/backend/po).
"""

import ipaddress
import re
from typing import Final

from tmsync.core.errors import Cause
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

# "no entry" and "a reject line matched" share SQLSTATE and routine; only the words differ. An unknown language counts
# as "no entry": the cure is the same line at the same place.
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


def hba_cause(refusal: ServerError) -> Cause:
    """Why pg_hba.conf did not let the client through to the password."""
    if refusal.sqlstate == INVALID_AUTHORIZATION and refusal.routine == "ClientAuthentication":
        if any(phrase in refusal.message for phrase in REJECTS):
            return Cause.REJECTED
        if any(phrase in refusal.message for phrase in WANTS_CERTIFICATE):
            return Cause.CLIENT_CERTIFICATE
        return Cause.NO_ENTRY
    return Cause.NO_PASSWORD_METHOD


def login_cause(refusal: ServerError) -> Cause:
    """Why the login failed, after pg_hba.conf had let the client through; a NOLOGIN role counts as unknown-role yet."""
    if refusal.sqlstate == INVALID_AUTHORIZATION:
        known = refusal.routine == "InitializeSessionUserId"
        return Cause.UNKNOWN_ROLE if known else Cause.BAD_CREDENTIALS
    return LOGIN_CAUSES.get(refusal.sqlstate, Cause.LOGIN_FAILED)


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
