"""SPAWN: a node that starts a run of its own, and what it gives on when that has ended.

In: an attempt of a structured node. Out: that it waits for the run, or its output, or a failure.
Not here: the plans of such runs (plan.children), what their nodes see (attempts.scope), recording
it.

A node's first turn starts the run and ends by waiting for it, without a worker; the end of that run
gives the node its next turn. The run's id is made of this one's and the node's, so that a second
attempt finds the run that the first has started, whatever became of the attempt.
"""

from dataclasses import dataclass, replace
from typing import Any

from flowcore.engine.attempts.attempt import AttemptContext
from flowcore.engine.child_runs.child_run import (
    Children,
    ChildRunFailed,
    child_run_id,
    failure_of,
    may_retry_child,
    outer_scope,
    parent_of,
    wait_for_child,
)
from flowcore.engine.child_runs.item_feed import MOST_ITEMS
from flowcore.engine.child_runs.streamed_map import StreamedMaps
from flowcore.engine.runs.compensation import Undone, outputs_of, undone
from flowcore.engine.runs.inputs import accept_input, select_declared
from flowcore.engine.values.output_batches import portions
from flowcore.engine.values.payloads import Payloads
from flowcore.errors import (
    ChildRunError,
    ExpressionError,
    LoopLimitError,
    OrphanError,
    UsageError,
)
from flowcore.expr.cel import compile_expression
from flowcore.expr.template import compile_template
from flowcore.plan.children import (
    branches_plan,
    epilogue_plan,
    flow_plan,
    loop_plan,
    map_plan,
    segment,
)
from flowcore.plan.plan import Plan
from flowcore.plan.policy import StructuredSpec
from flowcore.ports.store import Outcome, RunReader
from flowcore.run.record import RunSummary
from flowcore.run.status import NodeState, RunState
from flowcore.run.wire import COMBINED, is_same, pack

__all__ = ["StructuredNodes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Started:
    """A run to start: or, without a plan, one that would have nothing to do."""

    id: str
    plan: Plan | None
    input: Any = None
    reason: str = ""


class StructuredNodes:
    """Runs structured nodes."""

    def __init__(self, reader: RunReader, payloads: Payloads, children: Children) -> None:
        """Keep the ports."""
        self._reader = reader
        self._payloads = payloads
        self._children = children
        self.sources = StreamedMaps(reader, payloads, children)

    def turn(self, work: AttemptContext, body: StructuredSpec) -> Any:
        """Have a structured node's turn.

        Args:
            work: The attempt.
            body: What the node starts.

        Returns:
            The node's output; or an ``Outcome``: it waits.

        Raises:
            ChildRunFailed: The run that it has started has failed.
            FlowcoreError: The run cannot be started, or was cancelled, or is gone.
        """
        if work.resumed is not None:
            return self._go_on(work, body, work.resumed.decode())
        what = self._first(work, body)
        over = self._reader.summary(work.run)
        if over is None or not over.resumes or what.plan is None:
            return self._start(work, body, what)
        return self._start_again(work, body, what, over.resumes)

    def arguments(self, work: AttemptContext, body: StructuredSpec) -> bytes:
        """Return the plan that a structured node starts and its arguments, packed."""
        what = self._first(work, body)
        of = what.plan.hash if what.plan is not None else ""
        return pack([of, what.input], what=f"what node {work.name!r} is given", deepest=COMBINED)

    # ── starting ────────────────────────────────────────────────────────────────────────────────

    def _start(self, work: AttemptContext, body: StructuredSpec, what: _Started) -> Any:
        if what.plan is None:
            return [] if body.kind == "map" else None
        if work.before_emit is not None:
            work.before_emit()  # the store has to know that this attempt is running
        try:
            submitted = self._children.start(what.id, what.plan, what.input, parent_of(work))
        except OrphanError:
            return Outcome(kind="cancelled")  # somebody else has the node
        if not submitted.created:
            if submitted.state is RunState.SUCCEEDED:
                return self._go_on(work, body, what.id)
            if submitted.state.is_terminal:
                return self._again(work, body, what.id)
        return wait_for_child(what.id, what.reason)

    def _again(self, work: AttemptContext, body: StructuredSpec, id: str) -> Any:
        """Let a run go on that has ended badly, if the node has another chance.

        One that has undone what it did begins anew.
        """
        summary = self._reader.summary(id)
        if summary is not None and not may_retry_child(work, summary):
            raise failure_of(work, body, summary)
        if not self._has_undone(work, body, id):
            self._children.resume(id, parent_of(work))
            return wait_for_child(id, "goes on")
        fresh = f"{child_run_id(work)}@t{work.chance}"
        return self._start(work, body, replace(self._first(work, body), id=fresh))

    def _has_undone(self, work: AttemptContext, body: StructuredSpec, id: str) -> bool:
        if body.kind != "flow":
            return False
        plan = flow_plan(body.plan, work.plan.policy(work.node).timeout)
        return bool(undone(self._reader, id, plan))

    def _start_again(
        self, work: AttemptContext, body: StructuredSpec, what: _Started, life: int
    ) -> Any:
        """Have the first turn in a run that has ended before and goes on.

        What the node started then goes on, too, if it is the same work and has not succeeded: a
        node that has succeeded runs again only because something before it does.
        """
        earlier = None if body.kind == "epilogue" else self._earlier(work, what, life)
        if earlier is None:
            return self._start(work, body, replace(what, id=f"{what.id}@r{life}"))
        if earlier.state.is_terminal:
            return self._again(work, body, earlier.id)
        return wait_for_child(earlier.id, "goes on")

    def _earlier(self, work: AttemptContext, what: _Started, life: int) -> RunSummary | None:
        """The run that the node has started before and that can go on; of a loop, the last one."""
        known = self._reader.children(work.run)
        roots = [*(f"{what.id}@r{number}" for number in range(life - 1, 0, -1)), what.id]
        root = next((id for id in roots if id in known), None)
        first = self._reader.summary(root) if root is not None else None
        if root is None or first is None or what.plan is None or first.plan != what.plan.hash:
            return None
        blob = self._reader.input(root)
        before = self._payloads.unpack(blob, what="input of the run")
        if not is_same(before, _as_started(what.plan, what.input)):
            return None
        parts = [id for id in known if _iteration(id) and id.rpartition("@")[0] == root]
        last = self._reader.summary(max(parts, key=_iteration)) if parts else first
        return None if last is None or last.state is RunState.SUCCEEDED else last

    def _first(self, work: AttemptContext, body: StructuredSpec) -> _Started:
        """Return what a node starts in its first step."""
        plan, node, id = work.plan, work.node, child_run_id(work)
        if body.kind == "flow":
            sub, given = self._sub_flow(work, body)
            return _Started(id=id, plan=sub, input=given, reason=f"runs the flow {sub.flow}")
        if body.kind == "map":
            items = _chunks(self._items(work, body), body.chunk_size)
            if not items:
                return _Started(id=id, plan=None)
            given = {**outer_scope(work, body), "items": items}
            reason = f"runs {len(items)} item{'s' if len(items) > 1 else ''}"
            made = map_plan(plan, node, body, len(items))
            return _Started(id=id, plan=made, input=given, reason=reason)
        if body.kind == "epilogue":
            return self._epilogue(work, body, id)
        if body.kind == "loop":
            state = work.upstream.value_of(node)
            if body.initial:
                state = _rendered(body.initial[0], work)
            return self._segment(work, body, 0, state)
        given = {**outer_scope(work, body), "upstream": work.upstream.value_of(node)}
        reason = f"runs {len(body.ids)} branches"
        return _Started(id=id, plan=branches_plan(plan, node, body), input=given, reason=reason)

    def _epilogue(self, work: AttemptContext, body: StructuredSpec, id: str) -> _Started:
        """Return the work to do at the end of this very run."""
        summary = self._reader.summary(work.run)
        failed = summary is not None and summary.error is not None
        cancelled = summary is not None and summary.stop is not None
        parts: list[Undone] = []
        if failed or cancelled:
            parts = self._own(work, summary, undone(self._reader, work.run, work.plan))[::-1]
        names = [(part.label, part.name) for part in parts]
        plan = epilogue_plan(work.plan, body, names, failed=failed and not cancelled)
        if plan is None:
            return _Started(id=id, plan=None)
        error = summary.error if summary is not None else None
        state = "cancelled" if cancelled else "failed" if failed else "succeeded"
        told = error.as_dict() if error is not None else None
        given = {
            **outer_scope(work, body),
            "undone": outputs_of(self._reader, self._payloads, parts),
            "run": {"id": work.run, "flow": work.plan.flow, "state": state, "error": told},
        }
        return _Started(id=id, plan=plan, input=given, reason="runs what is to be done at the end")

    def _own(
        self, work: AttemptContext, summary: RunSummary | None, parts: list[Undone]
    ) -> list[Undone]:
        """Those that this very run has run: what it has taken over is its origin's to undo."""
        if summary is None or summary.origin is None:
            return parts
        record = self._reader.record(work.run)
        return [one for one in parts if record is None or record.nodes[one.name].attempts]

    def _segment(
        self, work: AttemptContext, body: StructuredSpec, first: int, state: Any, root: str = ""
    ) -> _Started:
        """The iterations of a loop that are run together, from one on."""
        id = root or child_run_id(work)
        count = segment(body, first)
        return _Started(
            id=f"{id}@{first}" if first else id,
            plan=loop_plan(work.plan, work.node, body, first, count),
            input={**outer_scope(work, body), "state": state},
            reason=f"runs iterations from {first}",
        )

    def _sub_flow(self, work: AttemptContext, body: StructuredSpec) -> tuple[Plan, Any]:
        if not body.plan:
            msg = f"the flow {body.name!r} was not looked up when the run was started"
            raise UsageError(msg)
        plan = flow_plan(body.plan, work.plan.policy(work.node).timeout)
        given = work.plan.params[work.node]
        if given:
            return plan, _rendered(given, work)
        return plan, select_declared(plan.inputs, work.upstream.value_of(work.node))

    def _items(self, work: AttemptContext, body: StructuredSpec) -> list[Any]:
        items = _rendered(body.over, work)
        if isinstance(items, list | tuple):
            if len(items) > MOST_ITEMS:
                msg = (
                    f"'for_each' of node {work.name!r} gave {len(items):,} items; at most "
                    f"{MOST_ITEMS:,} can be one map: give it lists of items"
                )
                raise UsageError(msg)
            return list(items)
        kind = "nothing" if items is None else type(items).__name__
        raise UsageError(f"'for_each' of node {work.name!r} needs a list, and gave {kind}")

    # ── the end ─────────────────────────────────────────────────────────────────────────────────

    def _go_on(self, work: AttemptContext, body: StructuredSpec, child: str) -> Any:
        summary = self._reader.summary(child)
        if summary is None:
            raise ChildRunError(f"run {child!r} is no longer kept")
        if not summary.state.is_terminal:
            return wait_for_child(child, "goes on")
        if summary.state is not RunState.SUCCEEDED:
            return self._again(work, body, child)
        if body.kind == "loop":
            return self._iterated(work, body, child, summary)
        return self._collected(work, body, child, summary)

    def _collected(
        self, work: AttemptContext, body: StructuredSpec, child: str, summary: RunSummary
    ) -> Any:
        """Collect the outputs of a child run as the output of the node that started it."""
        if body.kind == "epilogue":
            return self._closed(child, summary)
        plan = self._plan(work, body, summary)
        outputs = self._outputs(child, plan)
        if body.kind == "map":
            return [outputs.get(at) for at in range(summary.total)]
        if body.kind == "parallel":
            return {name: outputs[at] for at, name in enumerate(body.ids) if at in outputs}
        sinks = plan.sinks
        if len(sinks) == 1:
            return outputs.get(sinks[0])
        return {plan.ids[sink]: outputs[sink] for sink in sinks if sink in outputs}

    def _closed(self, child: str, summary: RunSummary) -> None:
        """Raise when a part of what was to be done at the end has failed, though others went on."""
        states = self._reader.states(child, range(summary.total))
        if NodeState.FAILED not in states.values():
            return
        record = self._reader.record(child)
        for node in record.nodes.values() if record else ():
            if node.error is not None:
                raise ChildRunFailed(node.error)

    def _plan(self, work: AttemptContext, body: StructuredSpec, summary: RunSummary) -> Plan:
        if body.kind == "flow":
            return flow_plan(body.plan, work.plan.policy(work.node).timeout)
        if body.kind == "map":
            return map_plan(work.plan, work.node, body, summary.total)
        return branches_plan(work.plan, work.node, body)

    def _outputs(self, child: str, plan: Plan) -> dict[int, Any]:
        wanted = list(plan.sinks)
        return {
            node: self._payloads.unpack(blob, what=f"output of node {plan.ids[node]!r}")
            for part in portions(self._reader, child, wanted)
            for node, blob in part.items()
        }

    def _iterated(
        self, work: AttemptContext, body: StructuredSpec, child: str, summary: RunSummary
    ) -> Any:
        """A part of a loop has ended: was that the whole?"""
        first = _iteration(child)
        states = self._reader.states(child, range(summary.total))
        last = max(at for at, state in states.items() if state is NodeState.SUCCEEDED)
        name = f"output of node {work.name!r}"
        wanted = [at for at in (last - 1, last) if at >= 0]
        blobs = self._reader.outputs(child, wanted)
        value = self._payloads.unpack(blobs[last], what=name)
        if last + 1 < summary.total:
            return value  # the rest was skipped: its condition holds
        done = first + summary.total
        if body.until is not None:
            if last:
                state = self._payloads.unpack(blobs[last - 1], what=name)
            else:
                blob = self._reader.input(child)
                state = self._payloads.unpack(blob, what="input of the run")["state"]
            if _holds(work, body.until, output=value, state=state, iteration=done - 1):
                return value
            if done == body.most:
                msg = f"node {work.name!r} has run {done} times, and {body.until!r} does not hold"
                raise LoopLimitError(msg)
        elif done == body.most:
            return value
        root = child.rpartition("@")[0] if first else child
        return self._start(work, body, self._segment(work, body, done, value, root))


def _iteration(child: str) -> int:
    """The first iteration of a part of a loop, from its id."""
    last = child.rpartition("/")[2].rpartition("@")[2]
    return int(last) if last.isdigit() and "@" in child.rpartition("/")[2] else 0


def _chunks(items: list[Any], size: int | None) -> list[Any]:
    if size is None:
        return items
    return [items[at : at + size] for at in range(0, len(items), size)]


def _as_started(plan: Plan, given: Any) -> Any:
    """Return what a run is stored with when it is given this: with the defaults of its inputs."""
    try:
        return accept_input(plan.inputs, given)
    except UsageError:
        return given  # refused by the start that follows


def _rendered(given: Any, work: AttemptContext) -> Any:
    template = compile_template(given)
    if template.still:
        return given
    return template.render(
        work.upstream.context(template.node_refs, names=template.names, node=work.node)
    )


def _holds(work: AttemptContext, until: str, **own: Any) -> bool:
    """Return whether a loop's condition holds for the last iteration that was planned."""
    expression = compile_expression(until)
    names = expression.names
    refs = names - own.keys()
    context = work.upstream.context(refs, names=names, node=work.node)
    found = expression.evaluate({**context, **own})
    if not isinstance(found, bool):
        what = f"'until' of node {work.name!r}, {until!r}, gave {found!r}"
        raise ExpressionError(f"{what} instead of true or false")
    return found
