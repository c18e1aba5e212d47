"""Rules as text again, to prove that nothing of them is lost in parsing."""

from __future__ import annotations

import re

from tmsync.core.hba import Rule, Token
from tmsync.core.hba.model import Field

_BARE = re.compile(r"[\w.+*:/=-]+\Z", re.ASCII)


def format_token(token: Token) -> str:
    """Text that reads back as this very token, its quotedness included."""
    if not token.quoted and _BARE.match(token.text):
        return token.text
    # an unquoted token may hold anything behind its first character, as in  a" b"
    lead, rest = ("", token.text) if token.quoted else (token.text[:1], token.text[1:])
    return lead + '"' + rest.replace('"', '""') + '"' if rest or token.quoted else lead


def format_rule(rule: Rule) -> str:
    """The rule as one line without line end. Parsing it gives the same columns; comments and spacing are gone."""
    columns = [rule.type.value, _format_field(rule.databases), _format_field(rule.users)]
    columns += [format_token(token) for token in (rule.address, rule.mask) if token is not None]
    columns.append(rule.method.value)
    columns += [format_token(Token(f"{name}={value}", quoted=True)) for name, value in rule.options]
    return " ".join(columns)


def _format_field(field: Field) -> str:
    return ",".join(format_token(token) for token in field)
