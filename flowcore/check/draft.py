"""A definition on its way through the rules.

In: a document. Out: Draft, which rules fill in one after another. Lives for one check only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flowcore.check.diagnostic import Problems
from flowcore.graph.document import Document, Path
from flowcore.graph.flow import Config, Edge, NodeDefinition

__all__ = ["Draft", "RawEdge", "RawNode"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawNode:
    """A node as written; ``model`` is None if its fields are wrong."""

    path: Path
    fields: Mapping[str, Any]
    model: NodeDefinition | None

    def needs(self) -> Iterator[tuple[str, Path]]:
        """The ids it names, even if other fields are wrong, with their places."""
        needs = self.fields.get("needs")
        if isinstance(needs, list):
            for index, source in enumerate(needs):
                if isinstance(source, str):
                    yield source, (*self.path, "needs", index)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawEdge:
    """An edge whose fields are right, and the places of its ends."""

    path: Path
    edge: Edge
    source_path: Path
    target_path: Path


@dataclass(slots=True, kw_only=True)
class Draft:
    """The checker's knowledge so far."""

    document: Document
    is_foreign: bool = False
    """It comes from somebody who may read no files here."""
    problems: Problems = field(default_factory=Problems)
    nodes: dict[str, RawNode] = field(default_factory=dict)
    """By id, in the author's order; nodes with problems are kept, so that naming them is none."""
    edges: list[RawEdge] = field(default_factory=list)
    head: dict[str, Any] = field(default_factory=dict)
    """Id, version, description and inputs."""
    config: Config | None = None
    unknown: set[str] = field(default_factory=set)
    """Nodes whose functions are in modules that were not imported here."""
    marked: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By node: the policies that its function's decorator says."""

    def config_path(self, *keys: str | int) -> Path:
        """The place of something of the config, whose keys may stand at the top, too."""
        tree = self.document.tree
        block = tree.get("config") if isinstance(tree, Mapping) else None
        inside = isinstance(block, Mapping) and keys[0] in block
        return (*(("config",) if inside else ()), *keys)

    def memory_path(self, key: str) -> Path:
        """The place of a key of the config's memory."""
        return self.config_path("memory", key)
