"""The a2a backend as the registry makes it.

In: options of the requirement page. Out: workflows whose nodes are agents: each node that has
settled sends its successors their messages, and nobody coordinates.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from flowcore.backends.celery_based import CeleryBackend
from flowcore.celery.agents.node_dispatcher import node_queue
from flowcore.client.flow import Definition, Flow, document_of

__all__ = ["A2ABackend"]

#: Where a definition has nodes.
_PARTS = ("nodes", "on_failure", "finally")


class A2ABackend(CeleryBackend):
    """Runs flows as messages between agents on Celery workers; same definition, same results."""

    name: ClassVar[str] = "a2a"
    status: ClassVar[str] = "experimental"

    def _flow(self, definition: Definition) -> Flow:
        """Give every node to an agent: that of its queue."""
        tree = document_of(super()._flow(definition)).tree
        return Flow.load(_hosted(tree))


def _hosted(tree: Any) -> Any:
    """Give the nodes of a definition to agents, those of its end and of flows inside it, too."""
    if not isinstance(tree, Mapping):
        return tree
    queue = _default_queue(tree)
    parts = {key: _nodes(tree[key], queue) for key in _PARTS if key in tree}
    return {**tree, **parts}


def _nodes(nodes: Any, default: Any) -> Any:
    if isinstance(nodes, Mapping):
        return {name: _node(each, default) for name, each in nodes.items()}
    return [_node(each, default) for each in nodes] if isinstance(nodes, list) else nodes


def _default_queue(tree: Mapping[str, Any]) -> Any:
    """Return the queue of ``defaults``, at the top or in ``config``."""
    config = tree.get("config")
    found = tree.get("defaults") or (isinstance(config, Mapping) and config.get("defaults"))
    return found.get("queue") if isinstance(found, Mapping) else None


def _node(node: Any, default: Any) -> Any:
    if not isinstance(node, Mapping):
        return node
    queue = node.get("queue", default)
    if queue is not None and not isinstance(queue, str):
        return node
    inside: dict[str, Any] = {}
    if isinstance(node.get("flow"), Mapping):
        inside["flow"] = _hosted(node["flow"])
    if "branches" in node:
        inside["branches"] = _nodes(node["branches"], default)
    if isinstance(node.get("undo"), Mapping):
        inside["undo"] = _node(node["undo"], default)
    return {**node, **inside, "queue": node_queue(queue)}
