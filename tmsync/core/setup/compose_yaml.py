"""YAML as docker compose reads it, made into dicts, lists and texts, within bounds and without running anything.

A plain scalar that is a number is shown as compose hands it on: `0123` is 83, `1.50` is 1.5. Merges (`<<`) are put in
here, since PyYAML 6.0.4 lets the last of several win, and compose the first. `!reset` and `!override` are kept, and a
merge brings them to where it stands; other tags are passed over.

Source: YAML 1.2; Compose specification, "Fragments", "Merge" (!reset, !override); compose-go loader/reset.go
(resolveReset); runs of Docker Compose 2.40.3, whose numbers are those of go-yaml (Go's strconv.ParseInt with base 0,
FormatFloat with 'g').
"""

import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final, NamedTuple

import yaml

from tmsync.core.secret import without_quotations

MAX_NODES: Final = 50_000
"""With aliases put in: limit against hostile input, since aliases of aliases multiply."""
DEEPEST: Final = 100
PLAIN: Final = "plain"
"""The tag given to a scalar that has neither quotes nor a tag."""
_STANDARD: Final = "tag:yaml.org,2002:"
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_SPECIAL: Final = {
    **dict.fromkeys(("true", "True", "TRUE"), "true"),
    **dict.fromkeys(("false", "False", "FALSE"), "false"),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), "NaN"),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), "+Inf"),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), "-Inf"),
}
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INTEGERS: Final = (
    (re.compile(r"[-+]?0[xX][0-9a-fA-F]+"), 16),
    (re.compile(r"[-+]?0[bB][01]+"), 2),
    (re.compile(r"[-+]?0[oO]?[0-7]+"), 8),
    (re.compile(r"[-+]?(0|[1-9][0-9]*)"), 10),
)
_PREFIX: Final = re.compile(r"^([-+]?)0[xXbBoO]?(?=.)")
_MAX_DIGITS: Final = 400
"""Of a number; longer ones are text."""


class BadYaml(ValueError):
    """The text is no YAML, or too much of it. The message holds nothing of the text: it may be secret."""


class Override(NamedTuple):
    """`!override`: stands in place of what earlier files say, rather than being merged with it."""

    value: Any


class Reset(NamedTuple):
    """`!reset`: takes away what earlier files say."""


def documents(text: str) -> Iterator[Any]:
    """Every document: dicts, lists, texts and None, with Override and Reset where the text has these tags.

    Raises: BadYaml.
    """
    made = _Maker()
    try:
        for node in yaml.compose_all(text, _Loader):
            yield made.value(node, 0)
    except yaml.composer.ComposerError as error:
        # Its words hold the alias, which may be half a password: `ENCRYPTION_KEY: *abc`.
        raise BadYaml(_placed("an alias (*) or an anchor (&) that is none; put the value in quotes", error)) from None
    except yaml.MarkedYAMLError as error:
        raise BadYaml(_placed(without_quotations(error.problem or "syntax error"), error)) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadYaml(str(error) if isinstance(error, BadYaml) else ": not readable as YAML") from None


def _placed(what: str, error: yaml.MarkedYAMLError) -> str:
    return f", line {error.problem_mark.line + 1}: {what}" if error.problem_mark else f": {what}"


class _Loader(yaml.SafeLoader):
    """Tells plain scalars from quoted ones, and makes of them nothing yet."""

    def resolve(self, kind: Any, _value: Any, implicit: Any) -> Any:
        """The tag of a node without one."""
        if kind is yaml.ScalarNode and implicit[0]:
            return PLAIN
        return {yaml.SequenceNode: f"{_STANDARD}seq", yaml.MappingNode: f"{_STANDARD}map"}.get(kind, f"{_STANDARD}str")


class _Maker:
    def __init__(self) -> None:
        self.nodes = 0

    def value(self, node: yaml.Node | None, depth: int) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES or depth > DEEPEST:
            raise BadYaml(": aliases multiply, or lists nest, beyond all bounds")
        if node is None:
            return None
        if node.tag == "!reset":
            return Reset()
        if isinstance(node, yaml.MappingNode):
            made = self._mapping(node, depth)
        elif isinstance(node, yaml.SequenceNode):
            made = [one for item in node.value if not isinstance(one := self.value(item, depth + 1), Reset)]
        else:
            made = _scalar(node.tag, node.value)
        return Override(made) if node.tag == "!override" and not isinstance(made, Override) else made

    def _mapping(self, node: yaml.MappingNode, depth: int) -> Any:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        replaces = False
        kept = []
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.tag == PLAIN and key.value == "<<":
                listed = isinstance(value, yaml.SequenceNode)
                for one in value.value if listed else [value]:
                    found = self.value(one, depth + 1)
                    replaces = replaces or (isinstance(found, Override | Reset) and not listed)
                    found = found.value if isinstance(found, Override) else found
                    # The first that has a key gives its value.
                    merged = (found if isinstance(found, dict) else {}) | merged
                kept.append((key, value))
            else:
                own[key.value] = self.value(value, depth + 1)
                if not isinstance(own[key.value], Reset):
                    kept.append((key, value))
        # A !reset counts where it stands, and no more where an alias brings it a second time.
        node.value = kept
        for key in own.keys() & merged.keys():
            if isinstance(own[key], Reset):
                own[key] = Override(merged[key])
        made = merged | own
        return Override(made) if replaces else made


def _scalar(tag: str, text: str) -> str | None:
    kind = tag.removeprefix(_STANDARD)
    if kind == "null" or (tag == PLAIN and text in _NULL):
        return None
    return _as_go(text) if tag == PLAIN or kind in ("int", "float", "bool") else text


def _as_go(text: str) -> str:
    """A plain scalar as compose hands it on."""
    if text in _SPECIAL:
        return _SPECIAL[text]
    digits = text.replace("_", "")
    if (not text[:1].isdigit() and text[:1] not in ("+", "-", ".")) or len(digits) > _MAX_DIGITS:
        return text
    for pattern, base in _INTEGERS:
        if pattern.fullmatch(digits):
            number = int(_PREFIX.sub(r"\1", digits), base)
            if -(1 << 63) <= number < 1 << 64:
                return str(number)
    if _FLOAT.fullmatch(digits) is None or math.isinf(float(digits)):
        return text
    return _float(float(digits))


def _float(number: float) -> str:
    """The shortest text that is this number, with an exponent from a million up."""
    sign, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    power = len(digits) - 1 + int(exponent)
    if not number:
        return "-0" if sign else "0"
    if -4 <= power < 6:
        return repr(number).removesuffix(".0")
    mantissa = "".join(map(str, digits))
    point = f".{mantissa[1:]}" if len(mantissa) > 1 else ""
    return f"{'-' * sign}{mantissa[0]}{point}e{'-' if power < 0 else '+'}{abs(power):02d}"
