"""Random pg_hba.conf files, from well-formed to broken, the same for the same seed."""

from __future__ import annotations

import random

USERS = ["teslamate", "twc", "grafana", "deep", "boss", "Mixed Case", "a,b", "all", "nobody"]
DATABASES = ["teslamate", "twc", "grafana", "postgres", "Tesla Mate", "a,b", "all", "replication", "readers", "admins"]
ADDRESSES = ["127.0.0.1", "127.0.0.2", "127.0.0.77", "127.0.1.5", "127.9.8.7", "127.128.0.9", "127.200.0.1"]
FILES = {
    "dbs.txt": 'teslamate\n"Tesla Mate", postgres\n# x\n',
    "users.txt": "+readers, boss \\\n grafana @more/deep.txt\n",
    "more/deep.txt": '"a,b"\n@leaf.txt',
    "more/leaf.txt": "deep all,x\n",
    "empty.txt": "# nothing\n\n",
    "inc.conf": 'host teslamate "twc" 127.0.0.2/32 password\n\nhost @dbs.txt +admins 127.0.0.0/16 md5 # x\n',
    "nested.conf": "include inc.conf\ninclude_if_exists missing.conf\nhost grafana all 127.9.0.0/16 reject\n",
    "dir/b.conf": "host postgres all samehost trust\n",
    "dir/a.conf": "host postgres boss all scram-sha-256\n",
    "dir/c.txt": "bad\n",
    "dir/.d.conf": "bad\n",
}

_TYPES = ["host"] * 8 + 2 * ["hostssl", "hostnossl"] + ["hostgssenc", "hostnogssenc", '"host"', "local"]
_DATABASE_WORDS = [
    *["all"] * 12, "sameuser", "samerole", "samegroup", "replication", "teslamate", "twc", "grafana", "postgres",
    '"all"', '"replication"', '"Tesla Mate"', '"a,b"', '"teslamate"', "@dbs.txt", "@", "readers", '"sameuser"',
]  # fmt: skip
_USER_WORDS = [
    *["all"] * 12, "teslamate", "twc", "grafana", "boss", "deep", "nobody", "+readers", "+admins", "+mid", "+teslamate",
    '"+readers"', '"all"', '"Mixed Case"', '"a,b"', "@users.txt", 'Mixed" Case"', 'tesla"mate"', '""', '"x""y"', "+",
]  # fmt: skip
_ADDRESSES = [
    *["all"] * 8, *["127.0.0.0/8"] * 4, "samehost", "samenet", "127.0.0.1/32", "127.0.0.0/8", "127.0.0.0/24",
    "127.0.1.5/16", "127.1/8",
    "127.128.0.9/9", "0.0.0.0/0", "127.0.1.5/0", "::/0", "::1/128", "::ffff:0:0/96", "::ffff:127.0.0.0/104",
    "192.168.1.0/24", "127.0.0.0 255.255.255.0", "127.9.8.7\t255.255.255.255", "127.0.0.1 255.0.0.255", "localhost",
    "0x7f.0.0.1/32", "fe80::/10 ", '"127.0.0.0/8"', ".localdomain", "0177.0.0.1/+32",
]  # fmt: skip
_METHODS = ["trust", "reject", "md5", "md5", "password", "scram-sha-256", "scram-sha-256", '"md5"']
_REGEXES = [
    "/^t", '"/^(twc|deep)$"', "/a$", '"/^Mixed[[:space:]]C"', "/.", "/[[:upper:]]", '"/^[a-g]{4,}"', "/\\mdeep\\M",
    '"/(?i)MIXED"', "/***=a,b", "/^.{3}$", '"/^(?!t)"', "/^\\w+$",
]  # fmt: skip
REGEX_NAMES = [
    "teslamate",
    "twc",
    "Tesla Mate",
    "a",
    "b",
    "",
    "ab",
    "abab",
    "a-b",
    "t1",
    "t\u00e9st",
    "T",
    "a.b",
    "a\nb",
]
REGEX_PIECES = [
    *["a", "b", "t", "T", "-", "_", "1", " ", "twc", "tesla", "\u00e9", "=", ",", "@", "!", "~", "&", "#", "/", '"'],
    *[".", "^", "$", "|", "(", ")", "(?:", "(?=", "(?!", "(a|b)", "*", "+", "?", "*?", "+?", "??", "{2}", "{1,}"],
    *["[ab]", "[^a]", "[a-t]", "[[:alpha:]]", "[[:digit:]_]", "[^[:upper:]]", "[\u00e9]"],
    *["{0,1}", "{1,3}", "{", "}", "{,2}", "[-a]", "[a&&b]", "[a||b]", "[!-~]", "[\\w-]"],
    *["[\\d]", "[]", "]", "[[:<:]]", "[[:>:]]", "[[.hyphen.]]"],
    *["[[.-.]]", "[[=a=]]", "[[.space.]-z]", "\\d", "\\D", "\\w", "\\W", "\\s", "\\m", "\\M", "\\y", "\\Y", "\\A"],
    *["\\Z", "\\.", "\\1", "\\x61", "\\u0061", "\\101", "\\061", "\\B", "\\e", "(?i)", "(?x)", "(?n)", "(?p)", "(?w)"],
    *["(?s)", "(?q)", "***:", "***="],
]  # fmt: skip
_INCLUDES = [
    "include inc.conf", 'include "nested.conf"', "include_if_exists missing.conf", "include_dir dir",
    "include_dir  ./dir/",
]  # fmt: skip
_BROKEN_ADDRESSES = [
    "127.0.0.1/33", "127.0.0.1", "127.0.0.1 255.0.0.0.0", "foo/8", "127.0.0.1,127.0.0.2", "::1/129", "256.1.1.1/8",
    "127.0.0.1/", "127.0.0.1 ::1", "/8", "08.1.1.1/8", "127.0.0.1/8/8", "", "127.0.0.1/-1", "127.0.0.1/ 8",
]  # fmt: skip
_BROKEN_METHODS = [
    "sspi", "bsd", "gss", "peer", "cert", "krb5", "trust,md5", "", "MD5", "ident x=1", "md5 map=x",
    "md5 clientcert=verify-ca", "cert clientcert=verify-ca", "cert clientcert=1", "cert clientname=XY",
    "ident map=x", "gss krb_realm=x include_realm=0", "md5 foo", "pam pamservice=x", "pam ldaptls=1", "trust =",
    "password issuer=a", "md5 compat_realm=1", "@empty.txt", "scram-sha-256 @empty.txt",
    "cert map=a clientname=DN clientcert=verify-full",
]  # fmt: skip
_BROKEN_REGEXES = [  # what is wrong with others only the server can tell
    "/(", "/a)", "/*", '"/a{3,1}"', "/^+", "/(|*)",
]  # fmt: skip
_BROKEN_LINES = [
    "host", "host all", "host all all", "local all all", "bad", "include", "include missing.conf",
    "include_dir missing",
    "include a b c", "host,local all all all md5", "host all all all", '"host all all all md5', "@empty.txt",
    "@dbs.txt",
    "host @missing.txt all all md5", "host all all all md5 @", "include_dir ''", 'include_dir ""',
    "host all @empty.txt all md5",
    "host all\\", "host all # all all md5", "\\", "\\\\", "host\u00a0all all all md5", "h\u00f6st all all all md5",
]  # fmt: skip


class Wild:
    """Source of random lines. Versions before 16 get no include lines; regular expressions are plain names there."""

    def __init__(self, seed: int, server_major: int) -> None:
        self._random = random.Random(seed)
        self._major = server_major
        self.chance = self._random.random

    def pick(self, choices: list[str]) -> str:
        return self._random.choice(choices)

    def _blank(self) -> str:
        blank = self.pick([" ", " ", "   ", "\t", "  \t "])
        return self.pick([" \\\n ", "\\\n\t", "\\\r\n "]) if self.chance() < 0.03 else blank

    def _list(self, words: list[str], regexes: list[str], *, broken: bool) -> str:
        pool = words + (regexes if self.chance() < 0.3 else [])
        chosen = [self.pick(pool) for _ in range(self.pick_count())]
        comma = self.pick([",", ",", ", ", ",\t", ",,", *([" ,", " , "] if broken else [])])
        return comma.join(chosen)

    def pick_count(self) -> int:
        return self._random.choice([1, 1, 1, 2, 3])

    def rule(self, *, broken: bool = False) -> str:
        if broken and self.chance() < 0.3:
            return self.pick(_BROKEN_LINES)
        regexes = _REGEXES + (_BROKEN_REGEXES if broken else [])
        kind = self.pick(_TYPES)
        columns = [kind, self._list(_DATABASE_WORDS, regexes, broken=broken)]
        columns.append(self._list(_USER_WORDS, regexes, broken=broken))
        if kind != "local":
            columns.append(self.pick(_ADDRESSES + (_BROKEN_ADDRESSES if broken else [])))
        columns.append(self.pick(_METHODS + (_BROKEN_METHODS if broken else [])))
        line = self.pick(["", "", " ", "\t"]) + columns[0]
        for column in columns[1:]:
            line += self._blank() + column
        return line + self.pick(["", "", " ", "\t", " # x", "# y \\ z", "\r"])

    def file(self, *, broken: bool = False) -> str:
        lines = []
        for _ in range(self._random.randrange(3, 9)):
            if self.chance() < 0.15:
                lines.append(self.pick(["", "  ", "# host all all all reject", "\t# x"]))
            if self._major >= 16 and self.chance() < 0.12:
                lines.append(self.pick(_INCLUDES))
            lines.append(self.rule(broken=broken))
        return self.pick(["\n", "\n", "\r\n"]).join(lines) + self.pick(["\n", "", "\n\n", "\\\n"])
