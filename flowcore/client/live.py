"""Checks for a run: against live workers, or against what can be imported here.

In: a definition, perhaps a session. Out: a checked flow, or its problems. Not here: the rules
(check), what a worker announces (worker_info).
"""

from collections.abc import Callable

from flowcore.assembly.peers import worker_command
from flowcore.assembly.session import Session
from flowcore.check.check import CheckedFlow, check
from flowcore.engine.runs.deployments import pinned
from flowcore.errors import ServiceError
from flowcore.graph.diagnostic import Diagnostic, InvalidFlowError, refuse
from flowcore.graph.document import Document
from flowcore.plan.compile import compile_plan
from flowcore.plan.plan import Plan

__all__ = ["check_here", "check_live", "whole"]

#: Codes of names that are not found here, or may not be imported here, also in a file of its own.
_ELSEWHERE = frozenset({"FC210", "FC221", "FC224"})


def check_here(document: Document) -> CheckedFlow:
    """Check a definition with what can be imported of it; the rest is for the workers to find.

    Raises:
        InvalidFlowError: It has problems; shows all of them.
    """
    try:
        return check(document)
    except InvalidFlowError as error:
        if not any(found.code in _ELSEWHERE for found in error.diagnostics):
            raise
    return check(document, resolve=False)


def check_live(document: Document, session: Session) -> CheckedFlow:
    """Check a definition against what live workers have; nothing is imported.

    Raises:
        InvalidFlowError: It has problems: names that no live worker announces are some, and
            queues that none serves, those inside sub-flows and branches too.
        ServiceError: There is no live worker to ask.
    """
    board = session.runtime.board
    if not board.workers():
        raise ServiceError("there is no live worker to check against; start one: flowcore worker")
    checked = check(document, announced=board.callables(), queues=session.served())
    unserved = session.unserved(whole(compile_plan(checked), session).queues)
    if unserved:
        names = ", ".join(sorted(unserved))
        what = f"no live worker serves {names}, where nodes without a queue of their own wait"
        command = worker_command(unserved, session.runtime.settings.namespace)
        hint = f"start one: {command}"
        raise refuse(
            document, [Diagnostic(code="FC230", message=what, path=("nodes",), suggestion=hint)]
        )
    return checked


def whole(plan: Plan, session: Session) -> Plan:
    """A plan with the deployed flows that it runs by name: their queues are some of its own."""
    get_plan: Callable[[str], Plan] = session.runtime.store.get_plan
    return pinned(plan, session.runtime.flows, get_plan)
