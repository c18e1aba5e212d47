"""Options behind the method (name=value): which go with which method and connection type, and their values.

Source: PostgreSQL src/backend/libpq/hba.c (parse_hba_auth_opt and the end of parse_hba_line).
"""

from __future__ import annotations

import re

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

_SEARCH_BIND = ("ldapbasedn", "ldapbinddn", "ldapbindpasswd", "ldapsearchattribute", "ldapsearchfilter")
_RADIUS_LISTS = {
    "radiusservers": "server", "radiusports": "port", "radiussecrets": "secret", "radiusidentifiers": "identifiers",
}  # fmt: skip
_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)")
_LDAP_URL = re.compile(
    r"(?P<enclosed><?)(?:URL:)?(?P<scheme>ldap[si]?)://(?P<host>[^/]*)(?P<slash>/?)(?P<tail>.*)\Z",
    re.IGNORECASE | re.DOTALL,
)
_LDAP_HOST = re.compile(r"(?:\[[^\]]*\]|(?!\[)[^:]*)(?::[0-9]+(?:\?.*)?)?\Z", re.DOTALL)
_LDAP_URL_PARTS = 5
_LDAP_SCOPES = ("", "base", "one", "onelevel", "sub", "subtree", "subordinate", "children")
_BLANK = " \t\n\r\f\v"


def check_options(
    kind: ConnectionType, method: Method, words: list[Token], server_major: int
) -> tuple[tuple[str, str], ...] | str:
    """(name, value) pairs in the order written, or the server's message against the first bad one.

    Not checked, since only the server can: whether RADIUS server names resolve and which OAuth validators it allows.
    """
    pairs: list[tuple[str, str]] = []
    seen: dict[str, str] = {}
    for word in words:
        name, equals, value = word.text.partition("=")
        if not equals:
            return f"authentication option not in name=value format: {word.text}"
        error = _check(kind, method, name, value, server_major)
        if error is not None:
            return error
        pairs.append((name, value))
        seen.update(_implied(name, value))
    required = _REQUIRED.get(method)
    error = required(seen, server_major) if required is not None else None
    return error if error is not None else tuple(pairs)


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
    if name == "ldapport" and _c_int(value) == 0:
        return f'invalid LDAP port number: "{value}"'
    if name == "ldapurl":
        return _check_ldap_url(value)
    if name in _RADIUS_LISTS:
        return _check_radius_list(name, value)
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


def _check_ldap_url(value: str) -> str | None:
    found = _LDAP_URL.match(value)
    # sic: the server prints the numbers of URL errors as if they were LDAP result codes
    if found is None:
        return f'could not parse LDAP URL "{value}": Time limit exceeded'
    if found["enclosed"] and not value.endswith(">"):
        return f'could not parse LDAP URL "{value}": Size limit exceeded'
    parts = _parts(found)
    if not _LDAP_HOST.match(_host(found)):
        return f'could not parse LDAP URL "{value}": Compare False'
    if parts[2:3] and parts[2].lower() not in _LDAP_SCOPES:
        return f'could not parse LDAP URL "{value}": Strong(er) authentication required'
    if len(parts) > _LDAP_URL_PARTS:
        return f'could not parse LDAP URL "{value}": Compare False'
    if parts[4:] == [""]:
        return f'could not parse LDAP URL "{value}": Referral'
    if found["scheme"].lower() == "ldapi":
        return "unsupported LDAP URL scheme: ldapi"
    return None


def _check_radius_list(name: str, value: str) -> str | None:
    items = split_guc_list(value)
    if name == "radiusports" and (items is None or any(_c_int(item) == 0 for item in items)):
        return f'invalid RADIUS port number: "{value}"'
    return f'could not parse RADIUS {_RADIUS_LISTS[name]} list "{value}"' if items is None else None


def _implied(name: str, value: str) -> dict[str, str]:
    """Options set by this one: an LDAP URL stands for several."""
    if name != "ldapurl":
        return {name: value}
    found = _LDAP_URL.match(value)
    if found is None:
        return {}
    dn, *more = _parts(found)
    implied = {"ldapserver": _host(found)}
    if found["slash"]:
        implied["ldapbasedn"] = dn  # an empty one is one, too
    if more and more[0]:
        implied["ldapsearchattribute"] = more[0].split(",")[0]
    if len(more) > 2 and more[2]:
        implied["ldapsearchfilter"] = more[2]
    return implied


def _host(url: re.Match[str]) -> str:
    return url["host"].removesuffix(">") if url["enclosed"] and not url["slash"] else url["host"]


def _parts(url: re.Match[str]) -> list[str]:
    """Name, attributes, scope, filter and extensions of an LDAP URL."""
    return (url["tail"].removesuffix(">") if url["enclosed"] else url["tail"]).split("?")


def _require_ldap(seen: dict[str, str], server_major: int) -> str | None:
    if "ldapprefix" in seen or "ldapsuffix" in seen:
        if any(name in seen for name in _SEARCH_BIND):
            if server_major >= 18:
                return "cannot mix options for simple bind and search+bind modes"
            return (
                "cannot use ldapbasedn, ldapbinddn, ldapbindpasswd, ldapsearchattribute, ldapsearchfilter, "
                "or ldapurl together with ldapprefix"
            )
    elif "ldapbasedn" not in seen:
        return 'authentication method "ldap" requires argument "ldapbasedn", "ldapprefix", or "ldapsuffix" to be set'
    if "ldapsearchattribute" in seen and "ldapsearchfilter" in seen:
        return "cannot use ldapsearchattribute together with ldapsearchfilter"
    return None


def _require_radius(seen: dict[str, str], _server_major: int) -> str | None:
    lists = {name: split_guc_list(seen.get(name, "")) or [] for name in _RADIUS_LISTS}
    for name in ("radiusservers", "radiussecrets"):
        if not lists[name]:
            return f'authentication method "radius" requires argument "{name}" to be set'
    servers = len(lists["radiusservers"])
    for name, label in (("radiussecrets", "secrets"), ("radiusports", "ports"), ("radiusidentifiers", "identifiers")):
        if len(lists[name]) not in (0, 1, servers):
            return (
                f"the number of RADIUS {label} ({len(lists[name])}) must be 1 "
                f"or the same as the number of RADIUS servers ({servers})"
            )
    return None


def _require_oauth(seen: dict[str, str], _server_major: int) -> str | None:
    for name in ("scope", "issuer"):
        if name not in seen:
            return f'authentication method "oauth" requires argument "{name}" to be set'
    if seen.get("delegate_ident_mapping") == "1" and "map" in seen:
        return "map cannot be used in combination with delegate_ident_mapping"
    return None


_REQUIRED = {Method.LDAP: _require_ldap, Method.RADIUS: _require_radius, Method.OAUTH: _require_oauth}


def _c_int(text: str) -> int:
    """C's atoi: leading digits count, anything else is 0."""
    found = _NUMBER.match(text)
    return int(found[1][:20]) if found else 0


def split_guc_list(text: str) -> list[str] | None:
    """Comma-separated values, each bare or in double quotes; None when malformed. Source: varlena.c, SplitGUCList."""
    text = text.lstrip(_BLANK)
    items: list[str] = []
    while text or items:
        if text.startswith('"'):
            found = re.compile(r'"((?:[^"]|"")*)"').match(text)
            if found is None:
                return None
            items.append(found[1].replace('""', '"'))
            text = text[found.end() :]
        else:
            word = re.split(r"[,\s]", text, maxsplit=1)[0]
            if not word:
                return None
            items.append(word)
            text = text[len(word) :]
        text = text.lstrip(_BLANK)
        if not text:
            break
        if text[0] != ",":
            return None
        text = text[1:].lstrip(_BLANK)
    return items
