"""Options behind the method (name=value): which go with which method and connection type, and their values.

Source: PostgreSQL src/backend/libpq/hba.c (parse_hba_auth_opt and the end of parse_hba_line).
"""

from __future__ import annotations

from tmsync.core.hba.model import ConnectionType, Method, Token

_M = Method
_GSSAPI = (frozenset({_M.GSS, _M.SSPI}), "gssapi and sspi")
_BELONGS: dict[str, tuple[frozenset[Method], str]] = {
    "krb_realm": _GSSAPI,
    "include_realm": _GSSAPI,
    **{
        name: (frozenset({method}), label)
        for method, label, names in (
            (_M.PAM, "pam", "pamservice pam_use_hostname"),
            (_M.SSPI, "sspi", "compat_realm upn_username"),
            (_M.RADIUS, "radius", "radiusservers radiusports radiussecrets radiusidentifiers"),
            (
                _M.LDAP, "ldap", (
                    "ldapurl ldaptls ldapscheme ldapserver ldapport ldapbinddn ldapbindpasswd "
                    "ldapsearchattribute ldapsearchfilter ldapbasedn ldapprefix ldapsuffix"
                ),
            ),
        )
        for name in names.split()
    },
}  # fmt: skip
_OAUTH_OPTIONS = dict.fromkeys(
    ("issuer", "scope", "validator", "delegate_ident_mapping"), (frozenset({_M.OAUTH}), "oauth")
)
_MAPPED = frozenset({_M.IDENT, _M.PEER, _M.GSS, _M.SSPI, _M.CERT})
_MAP = (_MAPPED, "ident, peer, gssapi, sspi, and cert")
_MAP_SINCE_18 = (_MAPPED | {_M.OAUTH}, "ident, peer, gssapi, sspi, cert, and oauth")


def check_options(
    kind: ConnectionType, method: Method, words: list[Token], server_major: int
) -> tuple[tuple[str, str], ...] | str:
    """(name, value) pairs in the order written, or the server's message against the first bad one.

    Which options go with which method is checked, and those of client certificates. What the options of LDAP, RADIUS
    and OAuth say, and whether all that these methods need are there, only the server can tell: no server of TeslaMate's
    was seen with any.
    """
    pairs: list[tuple[str, str]] = []
    for word in words:
        name, equals, value = word.text.partition("=")
        if not equals:
            return f"authentication option not in name=value format: {word.text}"
        error = _check(kind, method, name, value, server_major)
        if error is not None:
            return error
        pairs.append((name, value))
    return tuple(pairs)


def _check(kind: ConnectionType, method: Method, name: str, value: str, server_major: int) -> str | None:
    if name == "clientcert" or (name == "clientname" and server_major >= 14):
        return _check_client_certificate(kind, method, name, value, server_major)
    belongs = _BELONGS.get(name)
    if name == "map":
        belongs = _MAP if server_major < 18 else _MAP_SINCE_18
    elif belongs is None and server_major >= 18:
        belongs = _OAUTH_OPTIONS.get(name)
    if belongs is None:
        return f'unrecognized authentication option name: "{name}"'
    if method not in belongs[0]:
        return f'authentication option "{name}" is only valid for authentication methods {belongs[1]}'
    return None


def _check_client_certificate(
    kind: ConnectionType, method: Method, name: str, value: str, server_major: int
) -> str | None:
    if kind is not ConnectionType.HOSTSSL:
        return f'{name} can only be configured for "hostssl" rows'
    bad = f'invalid value for {name}: "{value}"'
    if name == "clientname":
        return None if value in ("CN", "DN") else bad
    if server_major >= 14:
        if value == "verify-ca" and method is Method.CERT:
            return 'clientcert can only be set to "verify-full" when using "cert" authentication'
        return None if value in ("verify-full", "verify-ca") else bad
    if value in ("0", "no-verify") and method is Method.CERT:
        return 'clientcert cannot be set to "no-verify" when using "cert" authentication'
    return None if value in ("1", "0", "verify-ca", "verify-full", "no-verify") else bad
