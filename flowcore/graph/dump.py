"""Write a definition as YAML: the way back from ``load``.

In: the raw tree of a definition. Out: text that ``load_text`` reads as the same tree.
Not here: converting other formats (importers).
"""

from typing import Any

import yaml

from flowcore.graph.load import load_tree
from flowcore.graph.yaml_spaces import space_in_scalar

__all__ = ["to_yaml"]

_WIDTH = 100

#: Where a text could be a number: PyYAML quotes what YAML 1.1 takes for one, and ``load`` reads
#: more as numbers than that (``1e5``, ``08``).
_NUMERIC = frozenset("+-.0123456789")

_Base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_Base):  # type: ignore[misc]  # which of the two classes it is, shows at run time
    """Writes neither anchors nor texts that would be read as something else."""

    def ignore_aliases(self, data: object) -> bool:
        """Write out what occurs twice: definitions have no anchors."""
        del data
        return True


def _text(dumper: Any, text: str) -> Any:
    style = '"' if text and (text[0] in _NUMERIC or space_in_scalar(text)) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(tree: object) -> str:
    """Write a definition as YAML.

    Args:
        tree: Mappings, lists or tuples, and scalars, in the schema of definitions or not.

    Returns:
        YAML text with the keys in the tree's order; the innermost maps and lists stand on a line.

    Raises:
        DefinitionError: The tree holds what JSON cannot.
    """
    text: str = yaml.dump(
        load_tree(tree).tree,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=_WIDTH,
    )
    return text
