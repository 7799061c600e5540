"""Check a definition: every rule, all problems at once.

In: a Document. Out: CheckedFlow, whose existence proves that every rule holds.
Not here: numbers and policies (plan).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from flowcore.check.draft import Draft
from flowcore.check.rules_expressions import check_expressions
from flowcore.check.rules_graph import Graph, check_graph
from flowcore.check.rules_shape import check_shape
from flowcore.check.rules_uses import check_uses
from flowcore.graph.diagnostic import InvalidFlowError, refuse
from flowcore.graph.flow import Config, FlowDefinition
from flowcore.graph.source import Document

__all__ = ["CheckedFlow", "InvalidFlowError", "check"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFlow:
    """A flow without problems. Only ``check`` makes one.

    Attributes:
        definition: The flow.
        order: Ids in canonical topological order: by layer (longest path from a start), then
            in the author's order.
        needs: For each node, in that order, the ids it waits for: needs and edges, each once.
        when: Conditions of edges, by (source, target).
    """

    definition: FlowDefinition
    order: tuple[str, ...]
    needs: Mapping[str, tuple[str, ...]]
    when: Mapping[tuple[str, str], str]


def check(
    document: Document, *, resolve: bool = True, allowed: frozenset[str] = frozenset()
) -> CheckedFlow:
    """Check a definition.

    Args:
        document: What ``load_file``, ``load_text`` or ``load_tree`` gave.
        resolve: Whether every `uses` has to be found here. It imports the modules named, so
            leave it out where a definition comes from someone who may not run code.
        allowed: Module prefixes that `uses` may name; empty allows all but the standard library.

    Returns:
        The checked flow.

    Raises:
        InvalidFlowError: It has problems; all of them are listed.
    """
    draft = Draft(document=document)
    check_shape(draft)
    graph = check_graph(draft)
    check_expressions(draft, graph)
    check_uses(draft, allowed, imports=resolve)
    if draft.problems.found:
        raise refuse(document, draft.problems.found)
    return _checked(draft, graph)


def _checked(draft: Draft, graph: Graph) -> CheckedFlow:
    ids = graph.ids
    definition = FlowDefinition.model_validate(
        {
            **draft.head,
            "nodes": {key: raw.model for key, raw in draft.nodes.items()},
            "edges": tuple(raw.edge for raw in draft.edges),
            "config": draft.config or Config(),
        }
    )
    order = graph.order()
    return CheckedFlow(
        definition=definition,
        order=tuple(ids[node] for node in order),
        needs={ids[node]: tuple(ids[before] for before in graph.pred[node]) for node in order},
        when={(ids[source], ids[node]): text for (source, node), text in graph.when.items()},
    )
