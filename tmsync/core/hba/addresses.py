"""The address column: what the server takes for an address, a mask, a keyword or a host name.

Source: PostgreSQL src/backend/libpq/hba.c (parse_hba_line), src/backend/libpq/ifaddr.c (pg_sockaddr_cidr_mask) and
getaddrinfo(3) with AI_NUMERICHOST as glibc does it, which reads `127.1`, `0x7f.1` and `010.0.0.1` (octal) too.
"""

from __future__ import annotations

import re

from tmsync.core.hba.model import MAPPED_PREFIX, Family, Network

ALL_ONES_V4 = (1 << 32) - 1
ALL_ONES_V6 = (1 << 128) - 1
LOCAL: Network = (Family.LOCAL, 0, 0, "")
KEYWORDS: dict[str, Network] = {
    "all": (Family.ALL, 0, 0, ""),
    "samehost": (Family.SAMEHOST, 0, 0, ""),
    "samenet": (Family.SAMENET, 0, 0, ""),
}

_OCTET = {str(n): n for n in range(256)}
_MASKS_V4 = {str(n): ALL_ONES_V4 & ~(ALL_ONES_V4 >> n) for n in range(33)}
_STRTOL = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)")
_ZONE = re.compile("[0-9]{1,10}", re.ASCII)
_C_NUMBER = re.compile(r"(0[xX][0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*)")


def parse_ip(text: str) -> tuple[Family, int] | None:
    """Family and number of a numeric address, None when it is none. A zone (`%eth0`) is dropped."""
    parts = text.split(".")
    if len(parts) == 4:
        try:
            a, b, c, d = parts
            return Family.IPV4, _OCTET[a] << 24 | _OCTET[b] << 16 | _OCTET[c] << 8 | _OCTET[d]
        except KeyError:
            pass
    if ":" in text:
        return _parse_ipv6(text)
    return _parse_loose_ipv4(parts)


def _parse_ipv6(text: str) -> tuple[Family, int] | None:
    import socket  # here, since few files need it and it takes 7 ms to load

    address, percent, zone = text.partition("%")
    try:
        number = int.from_bytes(socket.inet_pton(socket.AF_INET6, address), "big")
    except (OSError, ValueError):
        return None
    if percent and not (_ZONE.fullmatch(zone) and int(zone) < 1 << 32):
        # Elsewhere than on the link, glibc takes no name of an interface; which names there are, only the server knows.
        on_link = number >> 118 == 0xFE80 >> 6 or number >> 112 & 0xFF0F == 0xFF02
        if not zone or not on_link:
            return None
    return Family.IPV6, number


def _parse_loose_ipv4(parts: list[str]) -> tuple[Family, int] | None:
    """One to four numbers, decimal, octal or hexadecimal; the last one fills the bytes that remain (inet_aton)."""
    if len(parts) > 4:
        return None
    numbers = []
    for part in parts:
        found = _C_NUMBER.fullmatch(part)
        if found is None:
            return None
        numbers.append(int(part, 16 if found[1] else 8 if found[2] else 10))
    *leading, last = numbers
    if any(n > 255 for n in leading) or last >= 1 << 8 * (5 - len(parts)):
        return None
    for place, n in enumerate(leading):
        last |= n << 8 * (3 - place)
    return Family.IPV4, last


def parse_network(text: str) -> Network | str:
    """`ADDRESS/BITS`, or the server's message. Host bits that are set do no harm: the server masks both sides."""
    address, _, bits = text.partition("/")
    ip = parse_ip(address)
    if ip is None:
        return f'specifying both host name and CIDR mask is invalid: "{text}"'
    family, number = ip
    mask = _MASKS_V4.get(bits) if family is Family.IPV4 else None
    if mask is None:
        mask = _odd_mask(family, bits)
        if mask is None:
            return f'invalid CIDR mask in address "{text}"'
    return family, number & mask, mask, ""


def _odd_mask(family: Family, bits: str) -> int | None:
    """Mask for a bit count the way strtol reads it: leading blanks and a sign are fine, anything behind is not."""
    found = _STRTOL.fullmatch(bits)
    if found is None:
        return None
    width, ones = (32, ALL_ONES_V4) if family is Family.IPV4 else (128, ALL_ONES_V6)
    digits = found[1].lstrip("+-0") or "0"
    count = int(digits) if len(digits) < 4 else width + 1
    if count > width or (found[1][0] == "-" and count):
        return None
    return ones & ~(ones >> count)


def parse_masked(address: tuple[Family, int], mask: str) -> Network | str:
    """`ADDRESS MASK`, or the server's message. The mask need not be contiguous."""
    ip = parse_ip(mask)
    if ip is None:
        return f'invalid IP mask "{mask}": Name or service not known'
    family, bits = ip
    if family is not address[0]:
        return "IP address and mask do not match"
    return family, address[1] & bits, bits, ""


def client_ip(text: str) -> tuple[Family, int]:
    """Address of a client as the server sees it; raises ValueError when `text` is no numeric address.

    The server listens with IPV6_V6ONLY, so a client known as ::ffff:a.b.c.d reaches it as plain a.b.c.d.
    Source: PostgreSQL src/backend/libpq/pqcomm.c (ListenServerPort).
    """
    ip = parse_ip(text)
    if ip is None:
        raise ValueError(f"not a numeric IP address: {text!r}")
    family, number = ip
    if family is Family.IPV6 and number & ~ALL_ONES_V4 == MAPPED_PREFIX:
        return Family.IPV4, number & ALL_ONES_V4
    return ip


def format_ip(family: Family, number: int) -> str:
    """Usual notation of an address."""
    if family is Family.IPV4:
        return ".".join(str(byte) for byte in number.to_bytes(4, "big"))
    import socket  # see _parse_ipv6

    return socket.inet_ntop(socket.AF_INET6, number.to_bytes(16, "big"))
