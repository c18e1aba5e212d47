"""Names as SQL wants them written.

Source: PostgreSQL documentation, "Identifiers and Key Words".
"""

import re
from typing import Final

_SQL_PLAIN: Final = re.compile(r"[a-z_][a-z0-9_]*")
# The reserved words of PostgreSQL 12 to 18 that may not stand bare as a role's or a database's name.
_RESERVED_WORDS: Final = """
    all analyse analyze and any array as asc asymmetric authorization between binary both case cast check collate
    collation column concurrently constraint create cross current_catalog current_date current_role current_schema
    current_time current_timestamp current_user default deferrable desc distinct do else end except false fetch for
    foreign freeze from full grant group having ilike in initially inner intersect into is isnull join lateral leading
    left like limit localtime localtimestamp natural none not notnull null offset on only or order outer overlaps
    placing primary public references returning right select session_user similar some symmetric system_user table
    tablesample then to trailing true union unique user using variadic verbose when where window with
"""
SQL_RESERVED: Final = frozenset(_RESERVED_WORDS.split())


def sql_name(name: str) -> str:
    """An SQL identifier, quoted where it must be."""
    if _SQL_PLAIN.fullmatch(name) and name not in SQL_RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'
