"""Findings about a file's rules, whoever connects."""

from __future__ import annotations

import pytest

from tmsync.core.hba import LintKind, Roles, lint_rules, parse_hba

K = LintKind


def _findings(text: str, roles: Roles | None = None) -> list[tuple[int, LintKind]]:
    return [(finding.line, finding.kind) for finding in lint_rules(parse_hba(text), roles)]


@pytest.mark.parametrize(
    ("earlier", "later", "covered"),
    [
        ("host all all all reject", "host d u 10.0.0.1/32 reject", True),
        ("host all all all reject", "hostssl d u nas.lan reject", True),
        ("host all all all reject", "local all all reject", False),
        ("hostssl all all all reject", "host d u 10.0.0.1/32 reject", False),
        ("hostnossl all all all reject", "hostgssenc d u 10.0.0.1/32 reject", True),
        ("host all all 10.0.0.0/8 reject", "host d u 10.9.0.0/16 reject", True),
        ("host all all 10.9.0.0/16 reject", "host d u 10.0.0.0/8 reject", False),
        ("host all all 0.0.0.0/0 reject", "host d u ::1/128 reject", False),
        ("host all all all reject", "host replication u all reject", False),
        ("host replication all all reject", "host replication u all reject", True),
        ("host all all all reject", "host all,replication u all reject", False),
        ("host d,e u,v all reject", "host e v all reject", True),
        ("host d u all reject", "host d,e u all reject", False),
        ("host d +u all reject", "host d u all reject", True),
        ('host "all" all all reject', "host d all all reject", False),
        ("host /^d all all reject", "host db u all reject", True),
        ("host /^d all all reject", "host x u all reject", False),
        ("host samerole all all reject", "host samegroup u all reject", True),
        ("host samerole all all reject", "host sameuser u all reject", True),
        ("host sameuser all all reject", "host samerole u all reject", False),
        ("host all all nas.lan reject", "host d u nas.lan reject", True),
        ("host all all samenet reject", "host d u samehost reject", False),
    ],
)
def test_a_rule_that_an_earlier_one_takes_wholly_is_unreachable(earlier: str, later: str, covered: bool) -> None:
    found = [finding for finding in lint_rules(parse_hba(f"{earlier}\n{later}\n")) if finding.kind is K.UNREACHABLE]
    assert [(finding.line, finding.by and finding.by.line) for finding in found] == ([(2, 1)] if covered else [])


def test_the_first_covering_rule_is_named() -> None:
    text = "host all u all reject\nhost d all all reject\nhost d u 10.0.0.0/8 reject\n"
    (finding,) = lint_rules(parse_hba(text))
    assert finding.message == "never reached: line 1 `host all u all reject` takes every connection it could match"


def test_trust_and_cleartext_over_the_network_are_found() -> None:
    text = """\
host d u 10.0.0.0/8 trust
host d v 10.0.0.0/8 password
hostssl d w 10.0.0.0/8 password
host d x 127.0.0.0/8 trust
host d y ::1/128 password
local d z trust
"""
    assert _findings(text) == [(1, K.TRUST_OVER_NETWORK), (2, K.CLEARTEXT_OVER_NETWORK)]


@pytest.mark.parametrize("address", ["0.0.0.0/0", "::/0", "all", "10.0.0.1/0"])
def test_entries_open_to_any_address_are_found(address: str) -> None:
    (finding,) = lint_rules(parse_hba(f"host all all {address} scram-sha-256"))
    assert finding.kind is K.ANY_ADDRESS
    assert "every user and database" in finding.message
    assert _findings(f"host all all {address} reject") == []


def test_md5_is_found_unless_a_stored_password_needs_it() -> None:
    text = "host d u,v 10.0.0.0/8 md5"
    assert _findings(text) == [(1, K.MD5)]
    assert _findings(text, Roles({}, frozenset({"x"}))) == [(1, K.MD5)]
    assert _findings(text, Roles({}, frozenset({"v"}))) == []


def test_mapped_networks_never_match() -> None:
    assert _findings("host d u ::ffff:10.0.0.0/104 scram-sha-256") == [(1, K.NEVER_MATCHES)]
    assert _findings("host d u ::/0 reject") == []
