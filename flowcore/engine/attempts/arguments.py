"""Arguments of a node's function, worked out before it is called.

In: a node's ``with``, what is upstream. Out: the arguments, as they are or packed. Not here: which
parameter gets which (binding).
"""

from collections.abc import Mapping
from typing import Any, cast

from flowcore.engine.attempts.attempt import AttemptContext
from flowcore.engine.attempts.binding import bind
from flowcore.engine.attempts.preparation import PreparedNode
from flowcore.engine.attempts.secrets import read_secrets
from flowcore.engine.values.redaction import redactor_of
from flowcore.expr.secrets import SECRETS
from flowcore.expr.template import Template, compile_template
from flowcore.nodes.context import Context
from flowcore.run.wire import pack

__all__ = ["given_of", "packed_arguments", "rendered"]


def rendered(template: Template, work: AttemptContext) -> Mapping[str, Any]:
    """Render a node's ``with``."""
    if template.still:
        return work.plan.params[work.node]
    context = work.upstream.context(template.node_refs, names=template.names, node=work.node)
    if SECRETS in template.names:
        values = read_secrets(work.plan.params[work.node], work.secrets)
        work.redactor = redactor_of(frozenset(values.values()))
        context[SECRETS] = values
    # A template has the shape of what it was made from: here, a map.
    return cast("Mapping[str, Any]", template.render(context))


def given_of(work: AttemptContext) -> Mapping[str, Any]:
    """Render the node's ``with``, also of a node that could not be prepared."""
    return rendered(compile_template(work.plan.params[work.node]), work)


def packed_arguments(prepared: PreparedNode, work: AttemptContext, context: Context) -> bytes:
    """The arguments of the node's function, but for its context, packed."""
    plan, node = work.plan, work.node
    args, kwargs = bind(
        prepared.signature,
        rendered(prepared.template, work),
        plan=plan,
        node=node,
        upstream=work.upstream,
        context=context,
    )
    told = [
        [value for value in args if not isinstance(value, Context)],
        {name: kwargs[name] for name in sorted(kwargs) if not isinstance(kwargs[name], Context)},
    ]
    what = f"the arguments of node {work.name!r}, which its cache goes by (give it a 'key')"
    return pack([plan.policy(node).uses, *told], what=what)
