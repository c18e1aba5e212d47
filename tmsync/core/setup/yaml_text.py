"""YAML in which every scalar is the text that stands there: no numbers, dates or yes and no, as compose sees it."""

from typing import Any, Final

import yaml

MAX_ENTRIES: Final = 20_000
"""Of one mapping, once what it merges (`<<`) is put in: merges of merges multiply."""

_KNOWN: Final = ("tag:yaml.org,2002:merge", "tag:yaml.org,2002:null")
_RESOLVERS: Final = {
    first: [one for one in resolvers if one[0] in _KNOWN]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class TextLoader(yaml.SafeLoader):
    """A safe loader that knows merges and null besides text; tags of the file's own are passed over."""

    yaml_implicit_resolvers = _RESOLVERS

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Put merged keys in, within bounds."""
        super().flatten_mapping(node)
        if len(node.value) > MAX_ENTRIES:
            raise yaml.constructor.ConstructorError(None, None, "merges multiply beyond all bounds", node.start_mark)


def _as_if_untagged(loader: TextLoader, _: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)  # type: ignore[arg-type]


def _as_text(loader: TextLoader, node: yaml.ScalarNode) -> Any:
    return loader.construct_scalar(node)


TextLoader.add_multi_constructor("!", _as_if_untagged)
for _kind in ("int", "float", "bool", "timestamp", "binary"):
    # Asked for by name (`!!int`), these would be made, and fail, after all.
    TextLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", _as_text)
