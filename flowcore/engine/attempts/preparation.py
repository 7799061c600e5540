"""PREPARE: what is known of a node before it runs, worked out once per process.

In: a plan's node. Out: its function, and how it is called. Not here: calling it (worker.executor).
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import BaseModel

from flowcore.engine.attempts.coercion import coerced
from flowcore.engine.attempts.generators import is_generator
from flowcore.engine.attempts.output_validation import model_of
from flowcore.expr.template import Template, compile_template
from flowcore.nodes.resolve import resolve
from flowcore.nodes.signature import Signature, signature_of
from flowcore.nodes.types.celery_task import PREFIX
from flowcore.plan.plan import Plan

__all__ = ["NodePreparer", "PreparedNode", "Substitute"]

#: Given a plan, a node and what finds its function: what is called, and what that is called like.
Substitute: TypeAlias = Callable[
    [Plan, int, Callable[[], Callable[..., Any]]], tuple[Callable[..., Any], Callable[..., Any]]
]

_BARE = Signature()

#: Outputs of more predecessors than this are fetched apart, a portion at a time.
_WITH_CLAIM = 16

#: A bound on memory.
_MOST = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedNode:
    """A node and how it is called."""

    function: Callable[..., Any]
    signature: Signature
    template: Template
    wanted: tuple[int, ...]
    """Nodes whose outputs it will most likely read."""
    bare: bool
    """Takes no arguments at all."""
    chunks: bool
    """Gives its output in chunks."""
    condition: str | None
    """Whether it runs at all."""
    schema: Mapping[str, Any] | None = None
    """What its definition says it gives."""
    model: type[BaseModel] | None = None
    """What its function says it returns, if that can be checked."""


class NodePreparer:
    """Prepares the nodes of a process, each once."""

    def __init__(
        self,
        substitute: Substitute | None = None,
        importing: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Prepare nothing yet.

        Args:
            substitute: Puts another function in the place of a node's, for tests, each time that
                it is called: nothing is remembered.
            importing: Surrounds the import of a function's module.
        """
        self._substitute = substitute
        self._importing = importing
        self._known: dict[tuple[str, int], PreparedNode] = {}

    def known(self, plan: Plan, node: int) -> PreparedNode | None:
        """Return a node that was prepared already: it imports nothing."""
        return self._known.get((plan.hash, node))

    def of(self, plan: Plan, node: int) -> PreparedNode:
        """Prepare a node.

        Raises:
            UnresolvedError: Its function cannot be found, or may not be called.
        """
        key = (plan.hash, node)
        found = self._known.get(key)
        if found is not None:
            return found
        policy, given = plan.policy(node), plan.params[node]
        function, like = self._function(plan, node)
        signature, chunks = signature_of(like), is_generator(function)
        template = compile_template(given)
        open_ = [name for name in (*signature.required, *signature.optional) if name not in given]
        refs = template.node_refs
        wanted = [source for source in plan.pred[node] if open_ or plan.ids[source] in refs]
        if not signature.known and not given:
            wanted = list(plan.pred[node])
        if ":" in policy.uses and not policy.uses.startswith(PREFIX):
            function = coerced(function, like=like, uses=policy.uses, node=plan.label(node))
        prepared = PreparedNode(
            function=function,
            signature=signature,
            template=template,
            wanted=tuple(wanted[-_WITH_CLAIM:]),
            bare=signature == _BARE and not given and not chunks,
            chunks=chunks,
            condition=policy.condition,
            schema=policy.output,
            model=model_of(like),
        )
        if self._substitute is not None:
            return prepared
        if len(self._known) > _MOST:
            self._known.clear()
        self._known[key] = prepared
        return prepared

    def _function(self, plan: Plan, node: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """Return the callable, and the function whose parameters and type of output count."""

        def find() -> Callable[..., Any]:
            with self._importing():
                return resolve(plan.policy(node).uses).function

        if self._substitute is not None:
            return self._substitute(plan, node, find)
        return (function := find()), function
