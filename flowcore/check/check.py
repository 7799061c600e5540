"""Check a definition: every rule, all problems at once.

In: a Document. Out: CheckedFlow, whose existence proves that every rule holds.
Not here: numbers and policies (plan).
"""

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flowcore.check.draft import Draft
from flowcore.check.expression_size import check_expression_size
from flowcore.check.naming import Naming
from flowcore.check.rules.arguments import check_with
from flowcore.check.rules.decorators import give_marks
from flowcore.check.rules.expressions import check_expressions
from flowcore.check.rules.finalizers import check_closing
from flowcore.check.rules.graph import Graph, check_graph
from flowcore.check.rules.limits import check_limits
from flowcore.check.rules.secrets import check_secrets
from flowcore.check.rules.shape import check_shape
from flowcore.check.rules.structure import check_sources, check_structure
from flowcore.check.rules.uses import check_queues, check_uses
from flowcore.check.rules.values import check_given
from flowcore.graph.decorators import POLICIES
from flowcore.graph.diagnostic import InvalidFlowError, refuse
from flowcore.graph.document import Document
from flowcore.graph.flow import Config, FlowDefinition

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
        flows: The flows inside it, by the node that runs them; a deployed one by its name.
        closing: What runs at the end: ``undo`` (by the node undone), ``on_failure``, ``finally``.
        sources: Functions that give maps their items, by the map's node.
        unknown: Nodes of whose functions' decorators nothing is known here.
        marked: By node: the policies that its function's decorator says.
    """

    definition: FlowDefinition
    order: tuple[str, ...]
    needs: Mapping[str, tuple[str, ...]]
    when: Mapping[tuple[str, str], str]
    flows: Mapping[str, "CheckedFlow | str"] = field(default_factory=dict)
    closing: Mapping[str, "CheckedFlow"] = field(default_factory=dict)
    sources: "CheckedFlow | None" = None
    unknown: frozenset[str] = frozenset()
    marked: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def check(
    document: Document,
    *,
    resolve: bool = True,
    allowed: Iterable[str] | None = None,
    announced: Iterable[str] | None = None,
    queues: Iterable[str] | None = None,
) -> CheckedFlow:
    """Check a definition.

    Args:
        document: What ``load_file``, ``load_text`` or ``load_tree`` gave.
        resolve: Whether every `uses` has to be found here. It imports the modules named, so
            leave it out where a definition comes from someone who may not run code.
        allowed: Prefixes of modules, such as ``acme.nodes``, and of Celery tasks: with a list, even
            an empty one, nothing else may be named, whether it is found here or not. None: what
            ``nodes.permission`` allows; with ``resolve=False``, names are not judged then.
        announced: Names that live workers say that they have, such as ``acme.nodes:fetch``:
            nothing else may be named, but for what ``allowed`` lists, and nothing is imported.
        queues: Queues that live workers serve: a node on another one is refused, for it would wait
            for ever.

    Returns:
        The checked flow.

    Raises:
        InvalidFlowError: It has problems; all of them are listed.
    """
    naming = Naming.of(resolve=resolve, allowed=allowed, announced=announced, queues=queues)
    return _check(document, naming)


def _check(
    document: Document,
    naming: Naming,
    *,
    branches: bool = False,
    keys: Collection[str] = POLICIES,
    within: tuple[str, ...] = (),
) -> CheckedFlow:
    """Check a definition, or one inside another.

    Args:
        document: The definition.
        naming: How names of callables are judged.
        branches: It is of nodes whose expressions are those of the flow around them.
        keys: What the decorators of its nodes' functions may say of them.
        within: The files it is inside of.
    """
    check_expression_size(document)
    draft = Draft(document=document, is_foreign=naming.is_strict)
    place = document.source.name if document.source else ""
    if place and (place := os.path.realpath(place)) in within:
        raise RecursionError(place)

    def nested(
        document: Document, *, branches: bool = False, keys: Collection[str] = POLICIES
    ) -> CheckedFlow:
        inside = (*within, place)
        return _check(document, naming, branches=branches, keys=keys, within=inside)

    check_shape(draft)
    check_uses(draft, naming)
    check_queues(draft, naming)
    give_marks(draft, keys)
    graph = check_graph(draft)
    flows = check_structure(draft, graph, nested)
    closing = check_closing(draft, nested)
    sources = check_sources(draft, nested)
    if not branches:
        check_expressions(draft, graph)
    check_with(draft, naming)
    check_given(
        draft,
        {
            id: sub.definition.inputs
            for id, sub in flows.items()
            if isinstance(sub, CheckedFlow) and draft.nodes[id].fields.get("uses") != "parallel"
        },
    )
    check_limits(draft)
    check_secrets(draft)
    if draft.problems.found:
        raise refuse(document, draft.problems.found)
    return _checked(draft, graph, flows=flows, closing=closing, sources=sources)


def _checked(
    draft: Draft,
    graph: Graph,
    **inside: Any,
) -> CheckedFlow:
    """Make the flow; ``inside`` are those inside it, as ``CheckedFlow`` names them."""
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
        unknown=frozenset(draft.unknown),
        marked=dict(draft.marked),
        **inside,
    )
