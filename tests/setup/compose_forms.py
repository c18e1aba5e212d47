"""Compose projects of every form, and what Docker Compose itself makes of them.

`python -m tests.setup.compose_forms` asks the genuine Docker Compose 2.40.3 and writes its answers beside this file, so
that the comparison also holds where there is none.
"""

# ruff: noqa: E501 - data: a form is easier to read on one line

import json
import random
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.support.bring import find_program

VERSION: Final = "2.40.3"
ANSWERS: Final = Path(__file__).with_name("compose_answers.json")
NAME: Final = "compose.yaml"
SHOWS_TWO: Final = 'services:\n  a:\n    image: x/y\n    environment:\n      A: "${A-UNSET}"\n      B: "${B-UNSET}"\n'
"""Shows two variables of .env."""
BARE: Final = "services:\n  a:\n    image: x/y\n"

ENV_FORMS: Final = (
    "A=a b", "A = 1", "A=1\r\nB=2\r\n", 'A="x"y\nB=2', "A='x' B=2", 'A="x" # c\nB=2', "A='it\\'s'", "A=a\\nb",
    'A="a\\nb\\"c\\$A\\\\n"', "A=x\t# c", "A=x # c", "A=x#c", "A='x#y'#c\nB=1", "A", "A\nB=2", "export A=1",
    "export\tA=1", "exportA=1\nA=2", "A:1", "A: 1", 'A: "q"', "# c\nA=1", "  A=1", "A=$B\nB=1", "B=1\nA=${B}2$B",
    "A=${B:-d}", "A=${", "A=$", "A=$1", "A=a$b$", 'A="${B:-\n}"', "A='${B}'", 'A="unterminated\nB=1', "A='unterm\nB=1",
    'A=""', "A=", "A= ", "A=\nB=1", "A==x", "A=a=b", "\ufeffA=1", "A B=1", "1A=1", "A-B=1\nA=2", "A.B=1\nA=2",
    "\u00e4=1\nA=1", "A=\u00a0x", "A=x\u00a0# c", "A=x\u00a0", "A=x \\\nB=1", "A=`x`", "A='a\nb'\nB=1", "A=a\nA=b",
    'A="a\\0101\\x41\\u0041\\t\\e"', "A=a\nB=${A}\nA=c", 'A="x""y"\nB=1', "A='x''y'", "A=x\rB=y", "=x", "A=x\\ #y",
    'A="$$B"', "A=$$B", "A=\\$B", 'A="\\$B"', "A={{x}}", "A=x;B=1", "A[0]=1\nA=2", 'A="a # b"', "A=' x '", "A= x ",
    'A=\\"x', "A=${B:+y}", "A=${A}", "A=${A:-1}", "A:\nB=1", "A: # c", "A=#x", "A=  #x", "A=\t#x", 'A="x" y',
    'A="x"#y', "A='\\n'", "A='\\\\'", 'A="\\\\"', 'A="\\\'"', "A='\\\"'", 'A="\\a\\b\\c\\f\\r\\v\\0\\07\\400"', "$A=1",
    'A="${B-a"b}"', "A=1\n\n\n#c\n  # d\nB=2", "A=1 B=2", "A =\n", "export A\nB=1", "export", "A=\u20281\u3000",
)  # fmt: skip
PIECES: Final = (
    "A", "B", "A=", "B=", "B:", "A=", "\n", "\n", "\n", "'", '"', "\\", "$", "${A}", "${B:-", "}", "$A", " #", "#", " ",
    "\t", "x", "y z", "\\n", '\\"', "\\'", "export ", "=", ":", "\u00a0", "\r\n", "$$", "{", "'q'", '"q"', "-", "0",
    "\\0101", "\\$", "\u00e9", "[", "${", ":+", "+",
)  # fmt: skip
TEMPLATES: Final = (
    "${N:-{x}}", "${N:-{x}", "${N:-x}}", "${N:-${A}", "${A:-${B}", "${A:-${N:-{}}z", "${n}", "${N:-$$}", "${N:-a$}b",
    "${N-a:-b}", "${N-a?b}", "${N+x}y", "${A+x}y", "${E+x}${E:+y}", "${A:+${N:-q}}", "$A$", "$A_x", "${A}_x", "a${", "${}",
    "${A b}", "${A:b}", "$", "$$$A", "$$$$A", "${N:-a}${", "${1}", "$1", "${_X:-1}", "${N:-'q'}", '${N:-"q"}', "${E?x}",
    "${N:-${M:-${L:-z}}}", "${N:-}", "${N-}", "${A:-b}}", "{${A}}", "${N:-a b # c}", "${A-}x${N-y}", "$\u00e9",
    "${A\u00e9}", "$A\u00e9", "%{A}", "${N:-$A}", "${N:-$}", "${N:-${A}-${N:-w}}", "${N:-{a}{b}}", "${A:=x}", "${A=x}",
    "${A/x/y}", "${A:0:1}", "${N:-a\nb}", "x\n${A}\n${N:-q}", "${A}\n}", "${N:-a}\nb}", "${A:-a\n}",
)  # fmt: skip
SCALARS: Final = (
    "0123", "0o17", "0x1F", "1e3", "1.50", "1_000", "true", "True", "yes", "no", "on", "null", "~", "", ".5", "1e400",
    "12345678901234567890", "123456789012345678901234", "0b11", "-0", "+5", "08", "09.5", ".inf", ".nan", "1__0", "0x",
    "_1", "1:30", "=", "<<", "1e+21", "1.0", "100000000.0", "1234567.5", "123456.5", "1e-7", "007", "1.e5", "1E6",
    "12e03", "-0x1F", "0o8", "0b2", "!!str 0123", "!!int '5'", '"0123"', "'yes'", "0xG", "0x0b1", "1_", "'it''s'",
    '"a\\tb"', "!x foo",
)  # fmt: skip
PORTS: Final = (
    '"5433:5432"', '"127.0.0.1::80"', '"9"', "{target: 3, published: '4-6'}", '"7-8:9-10"', '"[::1]:11:12"', '"::1:3:4"',
    '"20-22:20"', '"0.0.0.0:1:2"', '"1.2.3.4:5000-5002:6000-6002"', '"5432:5432/TCP"', '"1:2/udp"', "5432",
    "{target: '3', published: '44', host_ip: 1.2.3.4}", '"${N:-33}:34"', "{target: 3}",
)  # fmt: skip
PROJECTS: Final[tuple[dict[str, str], ...]] = (
    {NAME: BARE + "    env_file: [e1, e2]\n    environment: {Q: q, N: }\n", "e1": "A=1\nQ2=${Q}\n",
     "e2": "B=${A}\nC=${D}\nN2=${N}\nA2=$A\n", ".env": "D=dotenv\nA=fromenv\nN=nn\n"},
    {NAME: BARE + "    env_file: [e1, e2]\n    environment: {Q: q}\n", "e1": "A=1\n", "e2": "B=${A}\nA=2\nC=${A}\nD=$Q\n"},
    {NAME: BARE + "    env_file: [e1, e2]\n    environment: {Q: q}\n", "e1": "A=1\nZ\nQ\n", "e2": "A\nZ\n", ".env": "Z=z\n"},
    {NAME: BARE + "    env_file: ${F}\n", "e1": "A=1\n", ".env": "F=e1\n"},
    {NAME: BARE + "    env_file:\n      - e1\n      - path: e2\n        required: false\n      - {path: e3}\n",
     "e1": "A=1\n", "e3": "C=1"},
    {NAME: BARE + "    env_file: [e1, e2]\n  b:\n    extends: a\n    env_file: e1\n", "e1": "X=1\n", "e2": "X=2\n"},
    {NAME: BARE + "    env_file: [{path: e2, format: raw}]\n", "e1": "X='1'\n", "e2": "X='2'\n",
     "compose.override.yaml": "services: {a: {env_file: [e1, e2]}}"},
    {NAME: BARE + "    environment: ['E=${E}', 'F=${F:-}', G]\n"},
    {"docker-compose.yml": BARE, "compose.override.yml": "services: {a: {environment: [A=1]}}",
     "docker-compose.override.yaml": "services: {a: {environment: [A=2, B=2]}}"},
    {"docker-compose.yml": BARE, "docker-compose.override.yaml": "services: {a: {environment: [A=2, B=2]}}"},
    {"docker-compose.yml": BARE, "compose.yml": BARE.replace("x/y", "y/z")},
    {NAME: BARE + "    environment: [A=1, B=2]\n    ports: ['1:1']\n    env_file: e1\n", "e1": "E=1\n", "e2": "E=2\nA=5\n",
     "compose.override.yaml": "services: {a: {environment: {A: 3, B: }, ports: ['2:1', '1:1'], env_file: e2}}"},
    {NAME: BARE + "    environment: [A=1, B=2]\n    ports: ['1:1']\n",
     "compose.override.yaml": "services: {a: {environment: {A: !reset null}, ports: !reset []}}"},
    {NAME: BARE + "    environment: {A: 1, B: 2}\n", "compose.override.yaml": "services: {a: {environment: {A: !reset null}}}"},
    {NAME: BARE + "    environment: {A: !reset 1, B: 2}\n"},
    {NAME: BARE + "    environment: [A=1, B=2]\n    ports: ['1:1']\n",
     "compose.override.yaml": "services: {a: {environment: !override {C: 3}, ports: !override ['6:7']}}"},
    {NAME: BARE + "    environment: [A=1]\n",
     "compose.override.yaml": "services: {a: !override {image: z, environment: [B=2]}}"},
    {NAME: BARE + "  b: {image: y}\n", "compose.override.yaml": "services: {b: !reset null}"},
    {NAME: BARE + "    environment: [Y=1]\n---\nservices:\n  a:\n    environment: {Z: 1}\n    ports: ['1:1']\n"},
    {NAME: BARE + "  b: {image: y, profiles: [p]}\n"},
    {NAME: BARE + "  b: {image: y, profiles: [p]}\n", ".env": "COMPOSE_PROFILES=q,p\n"},
    {"m.yml": BARE, "n.yml": "services: {a: {environment: [A=1]}}", ".env": "COMPOSE_FILE=m.yml:n.yml\n", NAME: BARE},
    {"m.yml": BARE, "n.yml": "services: {a: {environment: [A=1]}}", NAME: BARE.replace("x/y", "wrong"),
     ".env": "COMPOSE_PATH_SEPARATOR=,\nCOMPOSE_FILE=m.yml,n.yml\n"},
    {"s/m.yml": BARE + "    env_file: e\n", "s/e": "X=${Y}\n", ".env": "COMPOSE_FILE=s/m.yml\nY=top\n", "s/.env": "Y=sub\n"},
    {NAME: BARE + "    environment: [A=1, B=2]\n    ports: ['1:1']\n    env_file: e\n  b:\n    extends: a\n"
     "    environment: {A: 9}\n    ports: ['5:5']\n", "e": "EE=1\n"},
    {NAME: "services:\n  a:\n    extends: {file: s/c.yml, service: q}\n    environment: [A=$V]\n",
     "s/c.yml": "services:\n  q:\n    image: i\n    env_file: e\n    environment: {W: $V, R: '${Q-none}'}\n    ports: [$P]\n",
     "s/e": "EE=$V\n", ".env": "V=top\nP=5:6\n", "s/.env": "V=sub\nQ=sub\n"},
    {NAME: BARE + "    environment: {A: 1, B: 2}\n  b:\n    extends: {service: a}\n    environment: {A: , B: !reset null}\n"},
    {NAME: "include: [s/c.yml]\n" + BARE + "    environment: [A=$V]\n",
     "s/c.yml": "services:\n  q:\n    image: i\n    env_file: e\n    environment: {W: $V, R: '${Q-none}'}\n",
     "s/e": "EE=$V\n", ".env": "V=top\n", "s/.env": "V=sub\nQ=sub\n"},
    {NAME: "include: [{path: [s/c.yml, s/d.yml], env_file: o.env, project_directory: t}]\n",
     "s/c.yml": "services:\n  q:\n    image: i\n    env_file: e\n    environment: {W: $V, R: '${Q-none}'}\n",
     "s/d.yml": "services: {q: {environment: {D: d}}}", "t/e": "EE=$V\n", "s/e": "EE=s\n", ".env": "V=top\n",
     "s/.env": "V=sub\nQ=sub\n", "o.env": "V=o\nQ=o\n"},
    {NAME: "include: [c.yml]\n", "c.yml": "services:\n  q:\n    image: i\n    environment: {W: 1}\n",
     "compose.override.yaml": "services: {q: {environment: {W: 2}}}"},
    {NAME: "x-a: &a {A: 1, B: 1}\nx-b: &b {A: 2, B: 2, C: 2}\nservices:\n  a:\n    image: x\n    environment:\n"
     "      B: own\n      <<: [*a, *b]\n"},
    {NAME: "x-a: &a\n  image: x\n  environment: [A=1]\nservices:\n  a:\n    <<: *a\n    environment: [B=1]\n"},
    {NAME: "x-a: &a {A: 1, B: 1}\nx-b: &b\n  <<: *a\n  B: 2\nservices:\n  a:\n    image: x\n    environment:\n      <<: *b\n"},
    {NAME: BARE + "    environment: [A=1, A=2, B]\n", ".env": "B=3\n"},
    {NAME: BARE + "    environment: ['$K=1', 'L=a=b', 'M= x ', 'N=\"q\"']\n", ".env": "K=kk\n"},
    {NAME: BARE + "    environment: {'$K': 1}\n", ".env": "K=kk\n"},
)  # fmt: skip


TAGGED: Final = BARE + "    environment: {A: '1', B: '2'}\n    ports: ['1:1']\n"
B_VALUES: Final = "  b: {image: z, environment: {A: '8', Z: '1'}}\n"
B_PORT: Final = "  b: {image: z, ports: ['2:2']}\n"
TAGS: Final[tuple[tuple[str, str], ...]] = (
    ("", "x-e: &e {P: '7', A: '9'}\nservices: {a: {environment: !override {<<: *e, C: '3'}}}"),
    ("", "x-e: &e !override {P: '7'}\nservices: {a: {environment: *e}}"),
    ("", "x-e: &e !override {P: '7'}\nservices: {a: {environment: {<<: *e, C: '3'}}}"),
    ("", "x-e: &e {A: !reset null}\nservices: {a: {environment: {<<: *e, C: '3'}}}"),
    ("", "x-e: &e {A: !reset null}\nservices: {a: {environment: *e}}"),
    ("", "x-s: &s {environment: !override {P: '7'}}\nservices: {a: {<<: *s}}"),
    ("", "x-s: &s {environment: !reset null}\nservices: {a: {<<: *s}}"),
    ("", "x-s: &s {ports: !reset []}\nservices: {a: {<<: *s, image: y}}"),
    ("", "x-s: &s {ports: !override ['5:5']}\nservices: {a: {<<: *s, image: y}}"),
    ("", "x-e: &e {P: '7', A: '9'}\nservices: {a: {environment: {<<: !override *e}}}"),
    ("", "x-e: &e {P: '7', A: '9'}\nservices: {a: {environment: {<<: *e, P: !reset null}}}"),
    ("", "x-e: &e {P: '7', A: '9'}\nservices: {a: {environment: {<<: *e, A: !reset null}}}"),
    ("", "x-e: &e {P: '7', A: '9'}\nservices: {a: {environment: {<<: [*e], A: !override '5'}}}"),
    ("", "services: {a: !override {<<: {image: y}, environment: [Q=1]}}"),
    ("", "x-e: &e !reset null\nservices: {a: {environment: *e}}"),
    ("", "services: {a: {environment: {A: &r !reset null, B: *r}}}"),
    ("", "services: {a: {environment: &o !override {A: '5'}}, b: {image: z, environment: *o}}"),
    (B_VALUES, "services: {a: {environment: &o !override {A: '5'}}, b: {environment: *o}}"),
    (B_VALUES, "services: {a: {environment: &o !override {A: '5'}}, b: {environment: {<<: *o}}}"),
    (B_VALUES, "services: {a: {environment: &o {A: !reset null}}, b: {environment: {<<: *o, Y: '1'}}}"),
    (B_VALUES, "services: {a: {environment: &o {A: !reset null}}, b: {environment: *o}}"),
    (B_PORT, "services: {a: &o {ports: !override ['5:5']}, b: *o}"),
    (B_PORT, "services: {a: &o {ports: !reset []}, b: {<<: *o, image: w}}"),
    ("", "x-e: &e !reset {P: '7'}\nservices: {a: {environment: {<<: *e, C: '3'}}}"),
    ("", "x-e: &e !reset {P: '7'}\nx-f: &f !override {F: '7'}\nservices: {a: {environment: {<<: [*e, *f], C: '3'}}}"),
    ("", "x-s: &s {environment: {K: '1'}}\nservices: {a: {<<: *s, environment: !reset null}}"),
    ("", "services: {a: {ports: ['3:3', !reset '1:1']}}"),
)  # fmt: skip
"""What TAGGED holds besides, and what overrides it: `!reset` and `!override` with aliases and merges."""
TAGS_ALONE: Final = (
    "x-e: &e {P: '7', A: !reset null}\nservices: {a: {image: x, environment: {<<: *e, C: '3'}}}",
    "x-e: &e !override {P: '7'}\nservices: {a: {image: x, environment: {<<: *e, C: '3'}}}",
    "x-e: &e !reset {P: '7'}\nservices: {a: {image: x, environment: {<<: *e, C: '3'}}}",
    "x-e: &e !reset {P: '7'}\nservices: {a: {image: x, environment: *e}}",
    "services: {a: &a {image: x, environment: !reset {P: '7'}}, b: {<<: *a, image: y}}",
    "services: {a: &a {image: x, environment: !override {P: '7'}}, b: {<<: *a, environment: {Q: '1'}}}",
    "services: {a: &a {image: x, environment: {P: '7', Q: !reset '1'}}, b: {<<: *a, image: y}, c: {<<: *a, environment: {P: '1'}}}",
)  # fmt: skip


def forms() -> Iterator[dict[str, str]]:
    """Projects: file name -> text."""
    yield from ({NAME: SHOWS_TWO, ".env": text} for text in ENV_FORMS)
    wild = random.Random(2026)
    for number in range(120):
        first = wild.choice(("", "A=", 'A="', "A='", "A:", "export A="))
        last = wild.choice(("", "\n", '"\n', "'\n", "\nB=2\n"))
        text = first + "".join(wild.choice(PIECES) for _ in range(wild.randint(1, 9))) + last
        if number % 2:
            # Either format by turns.
            raw = "\n        format: raw" if number % 4 == 1 else ""
            yield {NAME: f"{BARE}    env_file:\n      - path: e.env{raw}\n", "e.env": text, ".env": "B=env\n"}
        else:
            yield {NAME: SHOWS_TWO, ".env": text}
    for text in TEMPLATES:
        yield {NAME: f"{BARE}    environment:\n      P: {json.dumps(text)}\n", ".env": "A=a\nE=\n"}
    yield from ({NAME: f"{BARE}    environment:\n      P: {text}\n"} for text in SCALARS)
    yield from ({NAME: f"{BARE}    ports: [{text}]\n"} for text in PORTS)
    yield from PROJECTS
    yield from ({NAME: TAGGED + more, "compose.override.yaml": text} for more, text in TAGS)
    yield from ({NAME: text} for text in TAGS_ALONE)


def write(project: dict[str, str], folder: Path) -> None:
    for name, text in project.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


def find_compose_program() -> Path | None:
    """Docker Compose of the version whose answers are recorded."""
    program = find_program("docker-compose")
    if program is None:
        return None
    done = subprocess.run([program, "version", "--short"], capture_output=True, text=True, check=False)
    return program if VERSION in done.stdout else None


def ask(program: Path, project: dict[str, str]) -> Any:
    """Docker Compose's answer: service -> image, environment, ports; None where it refuses the project."""
    with tempfile.TemporaryDirectory() as name:
        write(project, Path(name))
        command = [program, "config", "--format", "json"]
        environ = {"PATH": "/bin", "HOME": name}
        done = subprocess.run(command, cwd=name, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    return {service: _told(node) for service, node in json.loads(done.stdout)["services"].items()}


def _told(node: dict[str, Any]) -> Any:
    # It prints what could be read again: with every dollar sign doubled.
    environment = {
        key.replace("$$", "$"): value.replace("$$", "$")
        for key, value in (node.get("environment") or {}).items()
        if value is not None
    }
    ports = [
        [one["target"], int(one.get("published", "0").partition("-")[0]) or None, one.get("host_ip", "")]
        for one in node.get("ports", [])
        if one["protocol"] == "tcp"
    ]
    return {"image": node.get("image", ""), "environment": environment, "ports": sorted(ports, key=str)}


def main() -> None:
    program = find_compose_program()
    if program is None:
        raise SystemExit(f"there is no Docker Compose {VERSION}: make .venv/brought")
    answers = [ask(program, project) for project in forms()]
    ANSWERS.write_text("[\n" + ",\n".join(json.dumps(one, sort_keys=True) for one in answers) + "\n]\n")
    print(f"{len(answers)} answers in {ANSWERS}")


if __name__ == "__main__":
    main()
